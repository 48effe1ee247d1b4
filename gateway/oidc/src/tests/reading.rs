//! The shape of a token, and that nothing of it is ever told.

use proptest::prelude::*;
use serde_json::json;

use super::kit::*;
use crate::encoding::{decode, encode};
use crate::{Algorithm, MAX_TOKEN_BYTES, Purpose, TokenError, Unverified, fuzz_jwt_preparse};

/// The members of an object without its opening brace.
fn members(object: &str) -> &str {
    object.strip_prefix('{').unwrap()
}

#[test]
fn oidc_18_what_two_readers_could_read_differently_is_refused() {
    let good = claims().to_string();
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let code = |header: &str, payload: &[u8]| refusal(&raw(header, payload, Algorithm::ES256));
    for member in [
        r#""sub":"u-2""#,
        r#""groups":["system:masters"]"#,
        r#""iss":"https://idp.corp.example""#,
        r#""s\u0075b":"u-2""#,
    ] {
        assert_eq!(
            code(header, format!("{{{member},{}", members(&good)).as_bytes()),
            "json",
            "{member}"
        );
    }
    assert_eq!(
        code(r#"{"alg":"ES256","kid":"ec","alg":"ES256"}"#, good.as_bytes()),
        "json"
    );
    let nested = format!("{{\"a\":{{\"b\":1,\"b\":2}},{}", members(&good));
    assert_eq!(code(header, nested.as_bytes()), "json");
    let deep = format!(
        "{{\"a\":{}1{},{}",
        "[".repeat(10_000),
        "]".repeat(10_000),
        members(&good)
    );
    assert_eq!(code(header, deep.as_bytes()), "json");
    let wide = format!("{{\"a\":[{}1],{}", "1,".repeat(20_000), members(&good));
    assert_eq!(code(header, wide.as_bytes()), "json");
    assert_eq!(code(header, &[good.as_bytes(), b" {}"].concat()), "json");
    assert_eq!(code(header, &["\u{feff}".as_bytes(), good.as_bytes()].concat()), "json");
    assert_eq!(
        code(header, &[b"{\"x\":\"\xff\",", members(&good).as_bytes()].concat()),
        "json"
    );
    assert_eq!(
        code(header, format!("{{\"x\":\"\\ud800\",{}", members(&good)).as_bytes()),
        "json"
    );
    assert_eq!(code(header, b"[]"), "json");
    assert_eq!(code(header, b""), "json");
    assert_eq!(refusal(&"a".repeat(5 << 20)), "token_too_large");
    assert_eq!(
        Unverified::parse(&"a".repeat(MAX_TOKEN_BYTES)).unwrap_err(),
        TokenError::NotThreeParts
    );
}

#[test]
fn oidc_18_only_canonical_base64url_is_read() {
    let good = signed(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let join = |at: usize, part: String| {
        let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        parts[at] = part;
        parts.join(".")
    };
    for (at, part) in parts.iter().enumerate() {
        for odd in [
            format!("{part}="),
            format!("{part} "),
            format!("{part}\n"),
            format!("{part}+/"),
        ] {
            assert_eq!(refusal(&join(at, odd)), "encoding");
        }
    }
    // Other trailing bits of the last character decode to the same bytes elsewhere, not here.
    let signature = parts[2];
    assert_eq!(signature.len() % 4, 2);
    let (start, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let position = alphabet.find(last).unwrap();
    assert_eq!(position % 16, 0);
    let twin = alphabet.chars().nth(position + 1).unwrap();
    assert_eq!(refusal(&join(2, format!("{start}{twin}"))), "encoding");
    assert_eq!(refusal(&format!(" {good}")), "encoding");
    assert_eq!(refusal(&format!("Bearer {good}")), "encoding");
}

#[test]
fn no_refusal_contains_anything_of_the_token() {
    const CANARY: &str = "canary-7f3a";
    let mut refusals = Vec::new();
    for claim in claims()
        .as_object()
        .unwrap()
        .keys()
        .chain(["azp", "nonce", "_claim_names", "name"].map(str::to_owned).iter())
    {
        for value in [json!(CANARY), json!([CANARY]), json!({CANARY: CANARY})] {
            let token = signed(&claims_with(json!({ claim: value })));
            refusals.extend(verify(&token).err());
            let by_email = issuer(json!({"usernameClaim": "email", "emailDomains": ["corp.example"]}));
            refusals.extend(verify_as(&by_email, &token, Purpose::Bearer).err());
        }
    }
    for header in [
        json!({"alg": CANARY}),
        json!({"alg": "ES256", "typ": CANARY}),
        json!({"alg": "ES256", "kid": CANARY}),
    ] {
        refusals.extend(verify(&token(&header, &claims())).err());
    }
    refusals.extend(verify(CANARY).err());
    assert!(refusals.len() > 20);
    for refusal in refusals {
        assert!(!refusal.to_string().contains(CANARY), "{refusal}");
        assert!(!refusal.code().contains(CANARY));
    }
    let token = verify(&signed(&claims())).unwrap();
    assert!(!format!("{:?}", Unverified::parse(&signed(&claims())).unwrap()).contains("u-1"));
    drop(token);
}

#[test]
fn o_25_another_configuration_has_another_fingerprint() {
    let base = *issuer(json!({})).fingerprint();
    assert_eq!(base, *issuer(json!({})).fingerprint());
    for change in [
        json!({"audiences": ["x"]}),
        json!({"usernamePrefix": "x:"}),
        json!({"maxGroups": 5}),
        json!({"leewaySeconds": 0}),
        json!({"userRules": [{"expression": "true"}]}),
        json!({"algorithms": ["ES256"]}),
        json!({"accessTokens": true}),
    ] {
        assert_ne!(base, *issuer(change.clone()).fingerprint(), "{change}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_first_reader_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_jwt_preparse(&data);
    }

    #[test]
    fn no_json_in_three_parts_makes_anything_panic(header in "[\\[\\]{}\":,a-z0-9.e+-]{0,60}", payload in "[\\[\\]{}\":,a-z0-9.e+-]{0,100}") {
        let token = format!("{}.{}.AAAA", encode(header.as_bytes()), encode(payload.as_bytes()));
        fuzz_jwt_preparse(token.as_bytes());
        let _ = verify(&token);
    }

    #[test]
    fn one_changed_byte_of_a_good_token_is_never_accepted(at in 0usize..400, with in "[A-Za-z0-9_.-]") {
        let good = signed(&claims());
        let at = at % good.len();
        let mut bad = good.clone();
        bad.replace_range(at..=at, &with);
        prop_assume!(bad != good);
        prop_assert_ne!(refusal(&bad), "accepted");
    }

    #[test]
    fn base64url_that_decodes_encodes_to_itself(text in "[A-Za-z0-9_=+/ -]{0,40}") {
        if let Some(bytes) = decode(&text) {
            prop_assert_eq!(encode(&bytes), text);
        }
    }
}
