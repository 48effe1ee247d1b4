//! The gateway's own tokens.

use std::time::Duration;

use model::time::Timestamp;
use serde_json::{Value, json};

use super::kit::{NOW, now};
use crate::encoding::{decode, encode};
use crate::gateway::{GatewayClaims, GatewayVerifier, Mint, MintError, ProviderIdentity, SigningKey};
use crate::{KeySet, TokenError, Unverified};

const URL: &str = "https://gate.corp.example";

fn claims() -> GatewayClaims {
    GatewayClaims {
        issuer: URL.into(),
        audience: "production".into(),
        subject: "0123456789abcdef0123456789abcdef".into(),
        session: "s-1".into(),
        token_id: "t-1".into(),
        issued_at: now(),
        expires_at: now().plus(Duration::from_secs(600)),
        auth_time: Timestamp::from_unix_seconds(NOW - 100),
        acr: Some("mfa".into()),
        identity: ProviderIdentity {
            iss: "https://idp.corp.example".into(),
            sub: "u-1".into(),
            username: "ann".into(),
            groups: vec!["dev".into()],
            uid: Some("7".into()),
            email: Some("ann@corp.example".into()),
            extra: [("example.org/team".to_owned(), vec!["a".to_owned()])].into(),
        },
    }
}

fn mint() -> Mint {
    Mint::new(SigningKey::generate().unwrap().0)
}

fn verifier(mint: &Mint) -> GatewayVerifier {
    GatewayVerifier::new(URL, SigningKey::key_set([mint.key()]).unwrap(), Duration::from_secs(2))
}

/// The refusal of a token with some claims replaced (`null` removes), signed by the right key.
fn refusal(mint: &Mint, header: Value, changes: Value) -> String {
    let good = mint.sign(&claims()).unwrap();
    let payload = decode(good.split('.').nth(1).unwrap()).unwrap();
    let mut payload: Value = serde_json::from_slice(&payload).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            payload.as_object_mut().unwrap().remove(name);
        } else {
            payload[name] = value.clone();
        }
    }
    let mut full = json!({"alg": "ES256", "typ": "at+jwt", "kid": mint.key().kid()});
    for (name, value) in header.as_object().unwrap() {
        full[name] = value.clone();
    }
    let signed = format!(
        "{}.{}",
        encode(full.to_string().as_bytes()),
        encode(payload.to_string().as_bytes())
    );
    let signature = mint.key().sign_for_tests(signed.as_bytes());
    let token = format!("{signed}.{signature}");
    let parsed = match Unverified::parse(&token) {
        Ok(parsed) => parsed,
        Err(error) => return error.code().to_owned(),
    };
    verifier(mint)
        .verify(&parsed, "production", now())
        .map_or_else(|error| error.code(), |_| "accepted")
        .to_owned()
}

#[test]
fn a_token_says_after_verification_what_was_signed() {
    let mint = mint();
    let token = mint.sign(&claims()).unwrap();
    let parsed = Unverified::parse(&token).unwrap();
    assert!(verifier(&mint).is_ours(&parsed));
    assert_eq!(
        verifier(&mint).verify(&parsed, "production", now()).unwrap().claims,
        claims()
    );
}

#[test]
fn the_payload_has_the_agreed_members() {
    let token = mint().sign(&claims()).unwrap();
    let payload: Value = serde_json::from_slice(&decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(
        payload,
        json!({
            "iss": URL, "aud": "production", "sub": "0123456789abcdef0123456789abcdef", "sid": "s-1", "jti": "t-1", "iat": NOW,
            "nbf": NOW, "exp": NOW + 600, "auth_time": NOW - 100, "acr": "mfa",
            "gs": {"iss": "https://idp.corp.example", "sub": "u-1", "username": "ann", "groups": ["dev"], "uid": "7",
                   "email": "ann@corp.example", "extra": {"example.org/team": ["a"]}},
        })
    );
}

#[test]
fn a_key_survives_its_bytes_and_its_public_half_verifies() {
    let (key, bytes) = SigningKey::generate().unwrap();
    let again = SigningKey::from_pkcs8(&bytes).unwrap();
    assert_eq!(key.kid(), again.kid());
    let published = SigningKey::render_jwks([&key]);
    assert!(!published.contains("\"d\""));
    let keys = KeySet::parse(published.as_bytes()).unwrap();
    let token = Mint::new(again).sign(&claims()).unwrap();
    let verifier = GatewayVerifier::new(URL, keys, Duration::ZERO);
    assert!(
        verifier
            .verify(&Unverified::parse(&token).unwrap(), "production", now())
            .is_ok()
    );
    assert_eq!(SigningKey::from_pkcs8(&bytes[1..]).unwrap_err(), MintError::Key);
    assert!(!format!("{key:?}").contains(&encode(&bytes[36..68])));
}

#[test]
fn a_token_of_the_previous_key_is_good_while_the_key_is_published() {
    let (old, new) = (mint(), mint());
    let token = old.sign(&claims()).unwrap();
    let parsed = Unverified::parse(&token).unwrap();
    let both = GatewayVerifier::new(
        URL,
        SigningKey::key_set([new.key(), old.key()]).unwrap(),
        Duration::ZERO,
    );
    assert!(both.verify(&parsed, "production", now()).is_ok());
    let refused = verifier(&new).verify(&parsed, "production", now()).unwrap_err();
    assert_eq!(refused, TokenError::RetiredKey);
    assert_eq!(
        refused.to_string(),
        "the token is signed with a key that is none of the gateway's any more; sign in again"
    );
}

#[test]
fn a_token_for_one_cluster_is_good_for_no_other() {
    let mint = mint();
    let token = mint.sign(&claims()).unwrap();
    let parsed = Unverified::parse(&token).unwrap();
    for audience in ["staging", "gatescribe-api", "productio", "production2", ""] {
        assert_eq!(
            verifier(&mint).verify(&parsed, audience, now()).unwrap_err(),
            TokenError::Audience {
                accepted: audience.into()
            }
        );
    }
    assert_eq!(
        refusal(&mint, json!({}), json!({"aud": ["production", "staging"]})),
        "wrong_type"
    );
}

#[test]
fn a_token_lives_ten_minutes_at_most_and_ends_on_time() {
    let mint = mint();
    let long = GatewayClaims {
        expires_at: now().plus(Duration::from_secs(601)),
        ..claims()
    };
    assert_eq!(mint.sign(&long).unwrap_err(), MintError::Claims);
    assert_eq!(refusal(&mint, json!({}), json!({"exp": NOW + 601})), "lifetime");
    assert_eq!(refusal(&mint, json!({}), json!({"iat": NOW - 10})), "lifetime");
    let token = mint.sign(&claims()).unwrap();
    let parsed = Unverified::parse(&token).unwrap();
    let at = |seconds: i64| verifier(&mint).verify(&parsed, "production", Timestamp::from_unix_seconds(NOW + seconds));
    assert!(at(601).is_ok());
    assert_eq!(at(602).unwrap_err(), TokenError::Expired);
    assert!(at(-2).is_ok());
    assert_eq!(at(-3).unwrap_err(), TokenError::NotYetValid);
}

#[test]
fn every_claim_of_a_gateway_token_is_demanded() {
    let mint = mint();
    assert_eq!(refusal(&mint, json!({}), json!({})), "accepted");
    for claim in ["iss", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time", "gs"] {
        assert_eq!(
            refusal(&mint, json!({}), json!({ claim: null })),
            "missing_claim",
            "{claim}"
        );
    }
    assert_eq!(refusal(&mint, json!({}), json!({"aud": null})), "audience");
    assert_eq!(
        refusal(&mint, json!({}), json!({"iss": "https://gate.corp.example/"})),
        "unknown_issuer"
    );
    for gs in [
        json!("ann"),
        json!({}),
        json!({"iss": "i", "sub": "s", "username": "u", "groups": "dev"}),
        json!({"iss": "i", "sub": "s", "username": "u", "groups": [], "admin": true}),
    ] {
        assert_eq!(refusal(&mint, json!({}), json!({ "gs": gs })), "wrong_type");
    }
    assert_eq!(
        refusal(
            &mint,
            json!({}),
            json!({"gs": {"iss": "i", "sub": "s", "username": "", "groups": []}})
        ),
        "empty_username"
    );
}

#[test]
fn only_access_tokens_signed_with_es256_are_gateway_tokens() {
    let mint = mint();
    for (header, code) in [
        (json!({"typ": "JWT"}), "type"),
        (json!({"typ": "logout+jwt"}), "type"),
        (json!({"alg": "RS256"}), "algorithm"),
        (json!({"alg": "none"}), "algorithm"),
        (json!({"alg": "HS256"}), "algorithm"),
        (json!({"kid": "other"}), "retired_key"),
        (json!({"crit": []}), "critical_extension"),
    ] {
        assert_eq!(refusal(&mint, header.clone(), json!({})), code, "{header}");
    }
    let foreign = self::mint().sign(&claims()).unwrap();
    let own = mint.sign(&claims()).unwrap();
    let spliced = format!(
        "{}.{}",
        own.rsplit_once('.').unwrap().0,
        foreign.rsplit_once('.').unwrap().1
    );
    let refused = verifier(&mint)
        .verify(&Unverified::parse(&spliced).unwrap(), "production", now())
        .unwrap_err();
    assert_eq!(refused, TokenError::Signature);
}

#[test]
fn claims_that_the_verifier_would_refuse_are_never_signed() {
    let mint = mint();
    for broken in [
        GatewayClaims {
            audience: String::new(),
            ..claims()
        },
        GatewayClaims {
            subject: String::new(),
            ..claims()
        },
        GatewayClaims {
            session: String::new(),
            ..claims()
        },
        GatewayClaims {
            token_id: String::new(),
            ..claims()
        },
        GatewayClaims {
            expires_at: now(),
            ..claims()
        },
        GatewayClaims {
            identity: ProviderIdentity {
                username: String::new(),
                ..claims().identity
            },
            ..claims()
        },
    ] {
        assert_eq!(mint.sign(&broken).unwrap_err(), MintError::Claims);
    }
}
