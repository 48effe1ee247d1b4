//! What the two libraries do not do, so that our own code stands in their place (docs/decisions/0004). When one of these
//! tests fails, a library has learnt it, and our part can go.

use std::str::FromStr as _;

use openidconnect::core::{CoreClient, CoreJsonWebKeySet, CoreProviderMetadata, CoreRevocableToken, CoreTokenResponse};
use openidconnect::{ClientId, ConfigurationError, IssuerUrl, JsonWebKeySet, RefreshToken, RevocationUrl};
use serde_json::json;

use super::kit::*;
use crate::KeySet;
use crate::encoding::encode;

#[test]
fn jsonwebtoken_knows_no_es512() {
    assert!(jsonwebtoken::Algorithm::from_str("ES512").is_err());
    assert!(crate::crypto::known(crate::Algorithm::ES512).is_none());
}

#[test]
fn jsonwebtoken_takes_a_member_that_stands_twice() {
    let header = encode(br#"{"alg":"HS256","alg":"ES256","kid":"ec"}"#);
    let token = format!("{header}.e30.AA");
    assert!(
        jsonwebtoken::decode_header(&token).is_err(),
        "a known member twice is refused"
    );
    let payload = encode(format!(r#"{{"exp":{},"sub":"a","sub":"b"}}"#, NOW * 2).as_bytes());
    let token = format!("{}.{payload}.AA", encode(br#"{"alg":"ES256"}"#));
    let read: jsonwebtoken::TokenData<serde_json::Value> = jsonwebtoken::dangerous::insecure_decode(&token).unwrap();
    assert_eq!(read.claims["sub"], "b", "the last one wins, without a word");
}

#[test]
fn jsonwebtoken_finds_a_weak_key_only_with_a_token() {
    let weak = json!({"kty": "RSA", "kid": "weak", "n": encode(&[0xff; 64]), "e": "AQAB"});
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(weak.clone()).unwrap();
    assert!(jsonwebtoken::DecodingKey::from_jwk(&jwk).is_ok());
    assert!(KeySet::parse(json!({ "keys": [weak] }).to_string().as_bytes()).is_err());
}

#[test]
fn openidconnect_takes_published_private_keys_and_any_number_of_keys() {
    let mut key = rsa_jwk("k");
    key["d"] = json!("AQAB");
    let one = json!({ "keys": [key] }).to_string();
    assert!(serde_json::from_str::<CoreJsonWebKeySet>(&one).is_ok());
    let many: Vec<_> = (0..101).map(|n| ed_jwk(&n.to_string())).collect();
    let many = json!({ "keys": many }).to_string();
    assert!(serde_json::from_str::<CoreJsonWebKeySet>(&many).is_ok());
    assert!(KeySet::parse(one.as_bytes()).is_err() && KeySet::parse(many.as_bytes()).is_err());
}

#[test]
fn openidconnect_reads_no_document_of_an_issuer_that_only_signs() {
    // What an API server publishes for its ServiceAccount tokens, and CI systems for their jobs.
    let document = json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
    });
    let error = serde_json::from_value::<CoreProviderMetadata>(document).unwrap_err();
    assert!(error.to_string().contains("authorization_endpoint"), "{error}");
}

#[test]
fn openidconnect_reads_no_quoted_lifetime() {
    let answer = json!({"access_token": "a", "token_type": "Bearer", "expires_in": "3599"});
    assert!(serde_json::from_value::<CoreTokenResponse>(answer).is_err());
}

#[test]
fn openidconnect_revokes_nothing_on_loopback_http() {
    let client = CoreClient::new(
        ClientId::new("c".into()),
        IssuerUrl::new("http://127.0.0.1:1".into()).unwrap(),
        JsonWebKeySet::default(),
    )
    .set_revocation_url(RevocationUrl::new("http://127.0.0.1:1/revoke".into()).unwrap());
    let token = CoreRevocableToken::RefreshToken(RefreshToken::new("r".into()));
    assert!(matches!(
        client.revoke_token(token).map(|_| ()),
        Err(ConfigurationError::InsecureUrl("revocation"))
    ));
}
