//! ID tokens of a sign-in and of a renewal.

use std::time::Duration;

use serde_json::{Value, json};

use super::kit::*;
use crate::Purpose;
use crate::encoding::encode;

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
