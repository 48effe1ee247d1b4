//! Who signed a token, and what may stand in its header.

use model::time::Timestamp;
use serde_json::{Value, json};

use super::kit::*;
use crate::encoding::{decode, encode};
use crate::{Algorithm, Issuers, Purpose, TokenError, Unverified};

#[test]
fn a_good_token_names_its_person() {
    let token = verify(&signed(&claims_with(json!({
        "name": "Ann", "auth_time": NOW - 60, "acr": "mfa", "amr": ["pwd", "otp"], "sid": "s-1",
    }))))
    .unwrap();
    assert_eq!(
        (&*token.issuer, &*token.subject, &*token.username),
        (ISSUER, "u-1", "u-1")
    );
    assert_eq!(token.groups, ["dev", "ops"]);
    assert_eq!(token.email.as_deref(), Some("ann@corp.example"));
    assert_eq!(token.display_name.as_deref(), Some("Ann"));
    assert_eq!(
        (token.acr.as_deref(), token.session.as_deref()),
        (Some("mfa"), Some("s-1"))
    );
    assert_eq!(token.amr, ["pwd", "otp"]);
    assert_eq!(token.auth_time, Some(Timestamp::from_unix_seconds(NOW - 60)));
    assert_eq!(token.expires_at, Timestamp::from_unix_seconds(NOW + 300));
    assert_eq!(token.not_before, Some(Timestamp::from_unix_seconds(NOW - 5)));
}

#[test]
fn o_04_every_allowed_algorithm_verifies_with_its_own_key() {
    for (algorithm, kid) in [
        (Algorithm::RS256, "rsa"),
        (Algorithm::PS256, "rsa"),
        (Algorithm::ES256, "ec"),
        (Algorithm::EdDSA, "ed"),
    ] {
        let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
        let token = raw(&header, claims().to_string().as_bytes(), algorithm);
        assert_eq!(refusal(&token), "accepted", "{algorithm}");
    }
}

#[test]
fn o_03_the_issuer_is_chosen_byte_for_byte_and_an_unknown_one_is_refused() {
    let issuers = Issuers::new([issuer(json!({}))]).unwrap();
    let parsed = signed(&claims());
    assert!(issuers.select(&Unverified::parse(&parsed).unwrap()).is_ok());
    for iss in [
        "https://idp.corp.example/",
        "https://IDP.corp.example",
        "http://idp.corp.example",
        "https://idp.corp.example:443",
        "https://idp.corp.example.evil",
        "https://idp。corp.example",
        "",
    ] {
        let token = signed(&claims_with(json!({ "iss": iss })));
        let token = Unverified::parse(&token).unwrap();
        assert!(
            matches!(
                issuers.select(&token),
                Err(TokenError::UnknownIssuer | TokenError::MissingClaim(_))
            ),
            "{iss}"
        );
    }
}

#[test]
fn oidc_11_a_token_of_another_issuer_is_refused_even_under_the_right_verifier() {
    for iss in [
        "https://idp.corp.example/",
        "https://IDP.corp.example",
        "https://idp.corp.example:443",
    ] {
        assert_eq!(refusal_with(json!({ "iss": iss })), "unknown_issuer");
    }
}

#[test]
fn o_05_only_the_types_that_may_sign_in_are_accepted() {
    let with_type = |typ: Value| token(&json!({"alg": "ES256", "kid": "ec", "typ": typ}), &claims());
    for typ in ["JWT", "jwt", "application/jwt"] {
        assert_eq!(refusal(&with_type(json!(typ))), "accepted", "{typ}");
    }
    assert_eq!(
        refusal(&token(&json!({"alg": "ES256", "kid": "ec"}), &claims())),
        "accepted"
    );
    for typ in ["dpop+jwt", "secevent+jwt", "JOSE", "", "at+jwt"] {
        assert_eq!(refusal(&with_type(json!(typ))), "type", "{typ}");
    }
    assert_eq!(refusal(&with_type(json!("logout+jwt"))), "logout_token");
    assert_eq!(refusal(&with_type(json!(7))), "header");
    let access = issuer(json!({"accessTokens": true}));
    assert!(verify_as(&access, &with_type(json!("at+jwt")), Purpose::Bearer).is_ok());
}

#[test]
fn oidc_01_unsigned_tokens_are_refused() {
    let payload = encode(claims().to_string().as_bytes());
    for alg in [
        json!("none"),
        json!("nOnE"),
        json!("NONE"),
        json!(""),
        json!(["ES256"]),
        Value::Null,
    ] {
        let header = encode(json!({"alg": alg, "kid": "ec"}).to_string().as_bytes());
        for signature in ["", "AA"] {
            let code = refusal(&format!("{header}.{payload}.{signature}"));
            assert!(matches!(code, "algorithm" | "signature" | "header"), "{alg} {code}");
        }
    }
    let header = encode(br#"{"kid":"ec"}"#);
    assert_eq!(refusal(&format!("{header}.{payload}.AA")), "header");
    let good = signed(&claims());
    let (two_parts, _) = good.rsplit_once('.').unwrap();
    assert_eq!(refusal(two_parts), "not_a_token");
    assert_eq!(refusal(&format!("{two_parts}.")), "signature");
}

#[test]
fn oidc_02_a_symmetric_signature_with_the_public_key_is_refused() {
    use aws_lc_rs::hmac;
    let public = [rsa_jwk("rsa").to_string(), pem(), pem().trim_end().to_owned()];
    for secret in public.iter().map(String::as_bytes).chain([&rsa_numbers(&RSA).0[..]]) {
        for alg in ["HS256", "HS384", "HS512", "RS256"] {
            let header = json!({"alg": alg, "kid": "rsa"}).to_string();
            let message = format!(
                "{}.{}",
                encode(header.as_bytes()),
                encode(claims().to_string().as_bytes())
            );
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            let code = refusal(&format!("{message}.{}", encode(tag.as_ref())));
            assert_eq!(code, if alg == "RS256" { "signature" } else { "algorithm" });
        }
    }
}

#[test]
fn oidc_03_a_good_signature_by_an_algorithm_outside_the_list_is_refused() {
    let narrow = issuer(json!({"algorithms": ["RS256"]}));
    for (algorithm, kid) in [
        (Algorithm::PS256, "rsa"),
        (Algorithm::RS512, "rsa"),
        (Algorithm::ES256, "ec"),
        (Algorithm::EdDSA, "ed"),
    ] {
        let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
        let token = raw(&header, claims().to_string().as_bytes(), algorithm);
        assert_eq!(
            verify_as(&narrow, &token, Purpose::Bearer).unwrap_err(),
            TokenError::Algorithm {
                accepted: "RS256".into()
            }
        );
    }
    // The key's own `alg` binds as well.
    let mut bound = rsa_jwk("rsa");
    bound["alg"] = json!("PS256");
    let token = raw(
        r#"{"alg":"RS256","kid":"rsa"}"#,
        claims().to_string().as_bytes(),
        Algorithm::RS256,
    );
    let parsed = Unverified::parse(&token).unwrap();
    let refused = narrow
        .verify(&parsed, &key_set(&[bound]), now(), Purpose::Bearer)
        .unwrap_err();
    assert_eq!(refused, TokenError::KeyMismatch);
    assert_eq!(
        refusal(&raw(r#"{"alg":"ES256K","kid":"ec"}"#, b"{}", Algorithm::ES256)),
        "algorithm"
    );
}

#[test]
fn oidc_04_keys_and_addresses_in_the_header_are_never_used() {
    let attacker =
        aws_lc_rs::signature::EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let header = json!({
        "alg": "ES256", "kid": "ec", "jwk": ec_jwk(&attacker, "P-256", "ec"), "jku": "https://evil.example/jwks",
        "x5u": "http://169.254.169.254/", "x5c": ["AAAA"],
    });
    let message = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims().to_string().as_bytes())
    );
    let signature = attacker
        .sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes())
        .unwrap();
    assert_eq!(
        refusal(&format!("{message}.{}", encode(signature.as_ref()))),
        "signature"
    );
    assert_eq!(
        refusal(&token(&header, &claims())),
        "accepted",
        "signed by the published key, the rest is ignored"
    );
}

#[test]
fn oidc_05_key_names_are_compared_exactly_and_bounded() {
    for kid in ["../../dev/null", "ec'; DROP TABLE keys", "EC", "ec ", "e"] {
        let refused = verify(&token(&json!({"alg": "ES256", "kid": kid}), &claims())).unwrap_err();
        assert_eq!(refused, TokenError::UnknownKey { kid: kid.into() });
    }
    for kid in [
        json!("x".repeat(8192)),
        json!("e\u{0}c"),
        json!(7),
        json!(null),
        json!(""),
    ] {
        assert_eq!(
            refusal(&token(&json!({"alg": "ES256", "kid": kid}), &claims())),
            "header"
        );
    }
    // Without a name one fitting key will do, several will not.
    assert_eq!(refusal(&token(&json!({"alg": "ES256"}), &claims())), "accepted");
    let two = key_set(&[
        ec_jwk(&EC, "P-256", "a"),
        json!({"kty": "EC", "crv": "P-256", "kid": "b",
        "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}),
    ]);
    let unnamed = token(&json!({"alg": "ES256"}), &claims());
    let parsed = Unverified::parse(&unnamed).unwrap();
    assert_eq!(
        issuer(json!({}))
            .verify(&parsed, &two, now(), Purpose::Bearer)
            .unwrap_err(),
        TokenError::KeyNotNamed
    );
}

#[test]
fn oidc_06_degenerate_signatures_are_refused() {
    let header = encode(br#"{"alg":"ES256","kid":"ec"}"#);
    let message = format!("{header}.{}", encode(claims().to_string().as_bytes()));
    let order = decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    for (r, s) in [
        (vec![0; 32], vec![0; 32]),
        (order.clone(), order.clone()),
        (vec![0; 32], order),
        (vec![1; 32], vec![0; 32]),
    ] {
        assert_eq!(refusal(&format!("{message}.{}", encode(&[r, s].concat()))), "signature");
    }
    // P-384 key with ES256, ASN.1 form instead of the fixed one, shorter and longer ones.
    assert_eq!(
        refusal(&raw(
            r#"{"alg":"ES256","kid":"ec384"}"#,
            claims().to_string().as_bytes(),
            Algorithm::ES384
        )),
        "key_mismatch"
    );
    let good = sign_with(Algorithm::ES256, message.as_bytes());
    for signature in [&good[..63], &[&good[..], &[0]].concat()] {
        assert_eq!(refusal(&format!("{message}.{}", encode(signature))), "signature");
    }
}

#[test]
fn oidc_07_critical_extensions_and_unencoded_payloads_are_refused() {
    for (header, code) in [
        (
            json!({"alg": "ES256", "kid": "ec", "crit": ["exp"], "exp": 1}),
            "critical_extension",
        ),
        (json!({"alg": "ES256", "kid": "ec", "crit": []}), "critical_extension"),
        (json!({"alg": "ES256", "kid": "ec", "b64": false}), "unencoded_payload"),
        (
            json!({"alg": "ES256", "kid": "ec", "b64": false, "crit": ["b64"]}),
            "critical_extension",
        ),
    ] {
        assert_eq!(refusal(&token(&header, &claims())), code);
    }
    let logout = claims_with(json!({"events": {crate::verify::LOGOUT_EVENT: {}}}));
    assert_eq!(refusal(&signed(&logout)), "logout_token");
}

#[test]
fn oidc_08_encrypted_tokens_are_refused_before_any_work() {
    let header = encode(br#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"zip":"DEF"}"#);
    assert_eq!(refusal(&format!("{header}.AA.AA.AA.AA")), "encrypted");
    assert_eq!(refusal(&format!("{header}.e30.AA")), "encrypted");
}
