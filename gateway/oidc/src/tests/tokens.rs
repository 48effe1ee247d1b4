//! Verification of provider tokens.

use std::time::Duration;

use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::*;
use crate::encoding::{decode, encode};
use crate::{Algorithm, Issuers, MAX_TOKEN_BYTES, Purpose, TokenError, Unverified, fuzz_jwt_preparse};

/// The members of an object without its opening brace.
fn members(object: &str) -> &str {
    object.strip_prefix('{').unwrap()
}

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

#[test]
fn oidc_09_times_of_another_type_are_errors_and_never_absent() {
    for claim in ["exp", "nbf", "iat", "auth_time"] {
        for value in [
            json!("1800000100"),
            json!(-1),
            json!(true),
            json!([NOW]),
            json!({}),
            json!(9_223_372_036_854_775_808_u64),
            json!(1e300),
            json!(-0.5),
        ] {
            assert_eq!(refusal_with(json!({ claim: value })), "wrong_type", "{claim} {value}");
        }
        let text = claims_with(json!({ claim: null })).to_string();
        let with = |value: &str| format!("{{\"{claim}\":{value},{}", members(&text));
        let refused = |value: &str| {
            refusal(&raw(
                r#"{"alg":"ES256","kid":"ec"}"#,
                with(value).as_bytes(),
                Algorithm::ES256,
            ))
        };
        assert_eq!(refused("null"), "wrong_type");
        assert_eq!(refused("1e400"), "json");
        assert_eq!(refused("NaN"), "json");
        assert_eq!(refused("01"), "json");
    }
}

#[test]
fn o_10_times_with_fractions_are_accepted_and_odd_types_are_not() {
    assert_eq!(
        refusal_with(json!({"exp": NOW as f64 + 100.5, "nbf": NOW as f64 - 0.25, "iat": NOW as f64 - 1.5})),
        "accepted"
    );
    for (claim, value) in [
        ("iss", json!(1)),
        ("sub", json!(1)),
        ("aud", json!(1)),
        ("aud", json!(["gatescribe", 1])),
        ("azp", json!([])),
        ("jti", json!(1)),
        ("sid", json!(1)),
        ("acr", json!(1)),
        ("amr", json!([1])),
        ("email", json!(1)),
        ("name", json!({})),
    ] {
        assert_eq!(refusal_with(json!({ claim: value })), "wrong_type", "{claim}");
    }
}

#[test]
fn o_06_a_token_without_a_required_claim_is_refused() {
    for claim in ["iss", "aud", "exp", "sub"] {
        assert_eq!(
            verify(&signed(&claims_with(json!({ claim: null })))).unwrap_err(),
            TokenError::MissingClaim(claim.into())
        );
    }
    assert_eq!(refusal_with(json!({"aud": []})), "missing_claim");
    assert_eq!(refusal_with(json!({"sub": ""})), "missing_claim");
}

#[test]
fn o_07_o_08_oidc_10_edges_of_time_follow_one_leeway() {
    for leeway in [0, 10, 60] {
        let strict = issuer(json!({"leewaySeconds": leeway}));
        let code = |claim: &str, at: i64| {
            let token = signed(&claims_with(json!({ claim: at })));
            verify_as(&strict, &token, Purpose::Bearer).map_or_else(|error| error.code(), |_| "accepted")
        };
        assert_eq!(code("exp", NOW - leeway), "expired");
        assert_eq!(code("exp", NOW - leeway + 1), "accepted");
        assert_eq!(code("nbf", NOW + leeway), "accepted");
        assert_eq!(code("nbf", NOW + leeway + 1), "not_yet_valid");
        assert_eq!(code("iat", NOW + leeway), "accepted");
        assert_eq!(code("iat", NOW + leeway + 1), "issued_in_future");
        assert_eq!(code("iat", NOW + 86_400), "issued_in_future");
    }
    assert_eq!(provider(json!({"leewaySeconds": 61})).compile().unwrap_err().len(), 1);
}

#[test]
fn clk_03_far_times_do_not_overflow() {
    for exp in [2_147_483_648_i64, 4_294_967_296, 253_402_300_799] {
        assert_eq!(refusal_with(json!({ "exp": exp })), "accepted");
    }
    let token = signed(&claims());
    let parsed = Unverified::parse(&token).unwrap();
    for at in [i64::MIN, i64::MAX] {
        assert!(
            issuer(json!({}))
                .verify(&parsed, &KEYS, Timestamp::from_unix_nanos(at), Purpose::Bearer)
                .is_err()
        );
    }
}

#[test]
fn o_09_oidc_12_a_token_for_others_as_well_needs_a_known_party() {
    for (aud, azp, code) in [
        (json!("gatescribe"), json!(null), "accepted"),
        (json!(["gatescribe"]), json!(null), "accepted"),
        (json!(["gatescribe"]), json!("another"), "accepted"),
        (json!(["gatescribe", "other"]), json!(null), "authorized_party"),
        (json!(["gatescribe", "other"]), json!("other"), "authorized_party"),
        (json!(["gatescribe", "other"]), json!("gatescribe"), "accepted"),
        (json!(["gatescribe", "other"]), json!("kubelogin"), "accepted"),
        (json!("gatescrib"), json!(null), "audience"),
        (json!("gatescribe-evil"), json!(null), "audience"),
        (json!(["other"]), json!("gatescribe"), "audience"),
    ] {
        let known = issuer(json!({"authorizedParties": ["kubelogin"]}));
        let token = signed(&claims_with(json!({"aud": aud, "azp": azp})));
        let result = verify_as(&known, &token, Purpose::Bearer).map_or_else(|error| error.code(), |_| "accepted");
        assert_eq!(result, code, "{aud} {azp}");
    }
    let several = issuer(json!({"audiences": ["gatescribe", "kube"]}));
    let token = signed(&claims_with(json!({"aud": ["kube", "gatescribe"]})));
    assert!(verify_as(&several, &token, Purpose::Bearer).is_ok());
}

#[test]
fn o_11_a_token_for_the_providers_own_api_is_named_as_such() {
    let header = json!({"alg": "ES256", "kid": "ec", "nonce": "abc"});
    assert_eq!(refusal(&token(&header, &claims())), "foreign_api");
}

#[test]
fn o_16_the_username_has_its_prefix_and_is_never_empty() {
    let prefixed = issuer(json!({"usernamePrefix": "corp:", "groupsPrefix": "corp:"}));
    let token = verify_as(&prefixed, &signed(&claims()), Purpose::Bearer).unwrap();
    assert_eq!(
        (&*token.username, &token.groups[..]),
        ("corp:u-1", &["corp:dev".to_owned(), "corp:ops".to_owned()][..])
    );
    let mut default = provider(json!({}));
    default.username_prefix = None;
    let token = verify_as(&default.compile().unwrap(), &signed(&claims()), Purpose::Bearer).unwrap();
    assert_eq!(token.username, "https://idp.corp.example#u-1");
    let by_name = issuer(json!({"usernameClaim": "preferred_username", "usernamePrefix": "corp:"}));
    for (name, code) in [
        (json!(""), "empty_username"),
        (json!(null), "missing_claim"),
        (json!(["ann"]), "wrong_type"),
        (json!("ann"), "accepted"),
    ] {
        let token = signed(&claims_with(json!({"preferred_username": name})));
        assert_eq!(
            verify_as(&by_name, &token, Purpose::Bearer).map_or_else(|error| error.code(), |_| "accepted"),
            code,
            "{name}"
        );
    }
}

#[test]
fn o_17_oidc_17_an_address_names_a_person_only_when_verified_and_plain() {
    let by_email = |changes: Value| {
        let issuer = issuer(json!({"usernameClaim": "email", "emailDomains": ["corp.example"]}));
        verify_as(&issuer, &signed(&claims_with(changes)), Purpose::Bearer)
            .map_or_else(|error| error.code(), |_| "accepted")
    };
    assert_eq!(by_email(json!({})), "accepted");
    assert_eq!(by_email(json!({"email": "A@CORP.example"})), "accepted");
    for verified in [json!(null), json!(false)] {
        assert_eq!(by_email(json!({"email_verified": verified})), "email_not_verified");
    }
    for verified in [json!("true"), json!(1)] {
        assert_eq!(by_email(json!({"email_verified": verified})), "wrong_type");
    }
    for email in [
        "a@evil.example@corp.example",
        "a@corp.example.",
        "\"a\"@corp.example",
        "a(x)@corp.example",
        "a@cörp.example",
        "@corp.example",
        "a@",
        "a",
        "a b@corp.example",
    ] {
        assert_eq!(by_email(json!({ "email": email })), "email_syntax", "{email}");
    }
    for email in ["a@corp.example.evil", "a@evil.example", "a@xn--crp-sna.example"] {
        assert_eq!(by_email(json!({ "email": email })), "email_domain", "{email}");
    }
    // For display, an unverified address does not exist.
    assert_eq!(
        verify(&signed(&claims_with(json!({"email_verified": false}))))
            .unwrap()
            .email,
        None
    );
    assert_eq!(
        verify(&signed(&claims_with(json!({"email_verified": "true"}))))
            .unwrap()
            .email,
        None
    );
}

#[test]
fn o_19_oidc_19_groups_have_one_type_rule_and_limits() {
    for (groups, code) in [
        (json!("dev"), "accepted"),
        (json!(["a,b"]), "accepted"),
        (json!([]), "accepted"),
        (json!(7), "wrong_type"),
        (json!({"a": 1}), "wrong_type"),
        (json!(["dev", 7]), "wrong_type"),
        (json!(["dev", null]), "wrong_type"),
        (json!([["dev"]]), "wrong_type"),
    ] {
        assert_eq!(refusal_with(json!({ "groups": groups })), code, "{groups}");
    }
    let text = claims_with(json!({"groups": null})).to_string();
    let null = format!("{{\"groups\":null,{}", members(&text));
    assert_eq!(
        refusal(&raw(r#"{"alg":"ES256","kid":"ec"}"#, null.as_bytes(), Algorithm::ES256)),
        "wrong_type"
    );
    let whole = verify(&signed(&claims_with(json!({"groups": "a, b"})))).unwrap();
    assert_eq!(whole.groups, ["a, b"], "a comma joins nothing and separates nothing");
    let many: Vec<String> = (0..5000).map(|n| format!("g{n}")).collect();
    assert_eq!(
        verify(&signed(&claims_with(json!({ "groups": many })))).unwrap_err(),
        TokenError::TooManyGroups { limit: 1000 }
    );
    let long: Vec<String> = (0..45).map(|n| format!("{n}{}", "g".repeat(1000))).collect();
    let wide = issuer(json!({"groupsPrefix": "p".repeat(800)}));
    let error = verify_as(&wide, &signed(&claims_with(json!({ "groups": long }))), Purpose::Bearer).unwrap_err();
    assert_eq!(error, TokenError::GroupsTooLarge { limit: 65_536 });
    assert_eq!(
        verify(&signed(&claims_with(json!({"groups": ["b", "a", "b", ""]}))))
            .unwrap()
            .groups,
        ["b", "a"]
    );
}

#[test]
fn o_20_o_21_claims_that_are_only_pointed_at_are_refused_and_never_fetched() {
    let pointer = json!({"groups": null, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "http://169.254.169.254/"}}});
    assert_eq!(
        verify(&signed(&claims_with(pointer.clone()))).unwrap_err(),
        TokenError::GroupsOverage
    );
    assert_eq!(
        refusal_with(json!({"groups": null, "hasgroups": true})),
        "groups_overage"
    );
    assert_eq!(
        refusal_with(json!({"groups": null})),
        "accepted",
        "no groups is a fact when nothing says otherwise"
    );
    assert_eq!(
        refusal_with(json!({"groups": null, "_claim_names": "groups"})),
        "wrong_type"
    );
    let roles = issuer(json!({"groupsClaim": "roles"}));
    let token = signed(&claims_with(json!({"_claim_names": {"roles": "src1"}})));
    assert_eq!(
        verify_as(&roles, &token, Purpose::Bearer).unwrap_err(),
        TokenError::DistributedClaim("roles".into())
    );
    assert!(
        verify_as(&roles, &signed(&claims_with(pointer)), Purpose::Bearer).is_ok(),
        "a pointer to what is not read matters to nobody"
    );
}

#[test]
fn names_of_the_cluster_itself_never_come_from_a_claim() {
    for name in ["system:masters", "system:node:a", "System:Masters", "system:"] {
        assert_eq!(refusal_with(json!({"sub": name})), "system_name");
        assert_eq!(refusal_with(json!({"groups": ["dev", name]})), "system_name");
        let prefixed = issuer(json!({"usernamePrefix": "corp:", "groupsPrefix": "corp:"}));
        let token = signed(&claims_with(json!({"sub": name, "groups": [name]})));
        assert!(verify_as(&prefixed, &token, Purpose::Bearer).is_ok());
    }
}

#[test]
fn names_that_could_deceive_or_split_a_header_are_refused() {
    for name in [
        "a\r\nImpersonate-Group: system:masters",
        "a\nb",
        "a\0",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{2028}b",
        "ann\u{200b}",
        "\u{202e}nna",
        "a\u{feff}",
        " ann",
        "ann ",
        "\u{a0}ann",
        "\u{3000}ann",
        "a\tb",
        &"a".repeat(1025),
    ] {
        assert_eq!(refusal_with(json!({"sub": name})), "name_characters", "{name:?}");
        assert_eq!(refusal_with(json!({"groups": [name]})), "name_characters", "{name:?}");
    }
    for name in ["Ann Example", "Änne", "安", "мария", "a+b@c/d:e", "ann,ops"] {
        assert_eq!(
            refusal_with(json!({"sub": name, "groups": [name]})),
            "accepted",
            "{name}"
        );
    }
}

#[test]
fn o_26_the_credential_id_is_set_as_the_api_server_sets_it() {
    let token = verify(&signed(&claims())).unwrap();
    assert_eq!(token.extra["authentication.kubernetes.io/credential-id"], ["JTI=t-1"]);
    assert!(
        verify(&signed(&claims_with(json!({"jti": null}))))
            .unwrap()
            .extra
            .is_empty()
    );
}

#[test]
fn o_22_rules_judge_claims_and_users() {
    let ruled = issuer(json!({
        "claimRules": [{"expression": "claims.hd == 'corp.example'", "message": "use your work account"}, {"expression": "claims.exp - claims.nbf <= 86400"}],
        "userRules": [{"expression": "!user.username.startsWith('admin') && user.groups.all(g, g != 'guests') && user.uid == ''"}],
    }));
    let code = |changes: Value| {
        verify_as(&ruled, &signed(&claims_with(changes)), Purpose::Bearer)
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(code(json!({"hd": "corp.example"})), "");
    assert_eq!(
        code(json!({"hd": "evil.example"})),
        "the rule `claims.hd == 'corp.example'` of the configuration refuses this token: use your work account"
    );
    assert_eq!(
        code(json!({})),
        "the expression `claims.hd == 'corp.example'` of the configuration failed on this token: no such key; ask with `has(…)` or `.?` first"
    );
    assert!(code(json!({"hd": "corp.example", "exp": NOW + 90_000})).contains("86400"));
    assert!(code(json!({"hd": "corp.example", "sub": "admin-1"})).contains("startsWith"));
    assert!(code(json!({"hd": "corp.example", "groups": ["guests"]})).contains("guests"));
}

#[test]
fn a_token_cannot_make_a_rule_slow() {
    let ruled = issuer(
        json!({"claimRules": [{"expression": "claims.l.all(a, claims.l.all(b, claims.l.all(c, a + b + c >= 0.0)))"}]}),
    );
    let token = signed(&claims_with(json!({"l": vec![1; 2000]})));
    let error = verify_as(&ruled, &token, Purpose::Bearer).unwrap_err();
    assert_eq!(error.code(), "rule_failed");
    assert!(
        error.to_string().contains("took more than the 100000 steps allowed"),
        "{error}"
    );
}

#[test]
fn oidc_13_oidc_15_the_nonce_binds_a_token_to_its_sign_in() {
    let purpose = |nonce| Purpose::SignIn {
        client_id: CLIENT,
        nonce,
        access_token: None,
        max_age: None,
    };
    let code = |claims: Value, nonce| {
        verify_as(&issuer(json!({})), &signed(&claims_with(claims)), purpose(nonce))
            .map_or_else(|error| error.code(), |_| "accepted")
    };
    assert_eq!(code(json!({"nonce": "n1"}), "n1"), "accepted");
    assert_eq!(code(json!({"nonce": "n2"}), "n1"), "nonce");
    assert_eq!(code(json!({"nonce": ""}), "n1"), "nonce");
    assert_eq!(code(json!({}), "n1"), "nonce");
    assert_eq!(code(json!({"nonce": 1}), "n1"), "wrong_type");
    assert_eq!(code(json!({"nonce": "n1", "azp": "other"}), "n1"), "authorized_party");
    assert_eq!(
        code(json!({"nonce": "n1", "aud": ["gatescribe", "other"]}), "n1"),
        "authorized_party"
    );
    assert_eq!(code(json!({"nonce": "n1", "aud": "other"}), "n1"), "audience");
}

#[test]
fn oidc_16_the_access_token_must_be_the_one_the_id_token_vouches_for() {
    let hash = encode(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"access").as_ref()[..16]);
    for (at_hash, access, code) in [
        (json!(hash), Some("access"), "accepted"),
        (json!(hash), Some("other"), "access_token_hash"),
        (json!("AAAA"), Some("access"), "access_token_hash"),
        (json!(null), Some("access"), "accepted"),
        (json!(hash), None, "accepted"),
        (json!(1), Some("access"), "wrong_type"),
    ] {
        let purpose = Purpose::SignIn {
            client_id: CLIENT,
            nonce: "n",
            access_token: access,
            max_age: None,
        };
        let token = signed(&claims_with(json!({"nonce": "n", "at_hash": at_hash})));
        assert_eq!(
            verify_as(&issuer(json!({})), &token, purpose).map_or_else(|error| error.code(), |_| "accepted"),
            code
        );
    }
}

#[test]
fn idp_07_a_demanded_recent_sign_in_must_be_proved() {
    for (auth_time, code) in [
        (json!(NOW - 60), "accepted"),
        (json!(NOW - 910), "accepted"),
        (json!(NOW - 911), "sign_in_too_old"),
        (json!(null), "sign_in_too_old"),
        (json!(NOW + 600), "sign_in_too_old"),
    ] {
        let purpose = Purpose::SignIn {
            client_id: CLIENT,
            nonce: "n",
            access_token: None,
            max_age: Some(Duration::from_secs(900)),
        };
        let token = signed(&claims_with(json!({"nonce": "n", "auth_time": auth_time})));
        assert_eq!(
            verify_as(&issuer(json!({})), &token, purpose).map_or_else(|error| error.code(), |_| "accepted"),
            code,
            "{auth_time}"
        );
    }
}

#[test]
fn w_04_a_renewed_token_keeps_its_person() {
    let purpose = Purpose::Renewal {
        client_id: CLIENT,
        subject: "u-1",
        nonce: "n",
    };
    let code = |changes: Value| {
        verify_as(&issuer(json!({})), &signed(&claims_with(changes)), purpose)
            .map_or_else(|error| error.code(), |_| "accepted")
    };
    assert_eq!(code(json!({})), "accepted");
    assert_eq!(code(json!({"nonce": "n"})), "accepted");
    assert_eq!(code(json!({"nonce": "other"})), "nonce");
    assert_eq!(code(json!({"sub": "u-2"})), "subject_changed");
    assert_eq!(code(json!({"aud": "other"})), "audience");
    assert_eq!(code(json!({"iss": "https://other.example"})), "unknown_issuer");
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
