//! Times, required claims and audiences of a token.

use model::time::Timestamp;
use serde_json::json;

use super::kit::*;
use crate::{Algorithm, Purpose, TokenError, Unverified};

/// The members of an object without its opening brace.
fn members(object: &str) -> &str {
    object.strip_prefix('{').unwrap()
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
