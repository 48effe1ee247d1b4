//! Keys and tokens for the tests: anything that a provider or a forger could send.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
};
use model::time::Timestamp;
use serde_json::{Value, json};

use crate::encoding::encode;
use crate::issuer::Provider;
use crate::{Algorithm, Issuer, KeySet, Purpose, TokenError, Unverified, VerifiedToken};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://idp.corp.example";
pub(crate) const CLIENT: &str = "gatescribe";

pub(crate) static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
pub(crate) static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
pub(crate) static EC384: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap());
pub(crate) static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW)
}

/// Modulus and exponent out of `RSAPublicKey ::= SEQUENCE { INTEGER, INTEGER }`.
pub(crate) fn rsa_numbers(pair: &RsaKeyPair) -> (Vec<u8>, Vec<u8>) {
    let der = pair.public_key().as_ref().to_vec();
    let (body, _) = der_value(&der);
    let (modulus, rest) = der_value(&body);
    let (exponent, _) = der_value(&rest);
    let trim = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    (trim(modulus), trim(exponent))
}

fn der_value(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (length, start) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
    };
    (der[start..start + length].to_vec(), der[start + length..].to_vec())
}

pub(crate) fn rsa_jwk(kid: &str) -> Value {
    let (modulus, exponent) = rsa_numbers(&RSA);
    json!({"kty": "RSA", "kid": kid, "use": "sig", "n": encode(&modulus), "e": encode(&exponent)})
}

pub(crate) fn ec_jwk(pair: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    let point = pair.public_key().as_ref();
    let half = (point.len() - 1) / 2;
    json!({"kty": "EC", "crv": curve, "kid": kid, "x": encode(&point[1..=half]), "y": encode(&point[half + 1..])})
}

pub(crate) fn ed_jwk(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(ED.public_key().as_ref())})
}

pub(crate) fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// The provider's usual set.
pub(crate) static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    key_set(&[
        rsa_jwk("rsa"),
        ec_jwk(&EC, "P-256", "ec"),
        ec_jwk(&EC384, "P-384", "ec384"),
        ed_jwk("ed"),
    ])
});

pub(crate) fn sign_with(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::ES256 => EC.sign(&random, message).unwrap().as_ref().to_vec(),
        Algorithm::ES384 => EC384.sign(&random, message).unwrap().as_ref().to_vec(),
        Algorithm::EdDSA => ED.sign(message).as_ref().to_vec(),
        rsa => {
            let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match rsa {
                Algorithm::PS256 => &RSA_PSS_SHA256,
                Algorithm::RS512 => &RSA_PKCS1_SHA512,
                _ => &RSA_PKCS1_SHA256,
            };
            let mut signature = vec![0; RSA.public_modulus_len()];
            RSA.sign(padding, &random, message, &mut signature).unwrap();
            signature
        }
    }
}

/// A token of exactly these bytes, properly signed with ES256 unless the header says otherwise to the reader.
pub(crate) fn raw(header: &str, payload: &[u8], algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload));
    let signature = sign_with(algorithm, signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}

pub(crate) fn token(header: &Value, claims: &Value) -> String {
    raw(&header.to_string(), claims.to_string().as_bytes(), Algorithm::ES256)
}

/// A token as it should be.
pub(crate) fn signed(claims: &Value) -> String {
    token(&json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}), claims)
}

/// Claims as they should be.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "u-1", "exp": NOW + 300, "iat": NOW - 5, "nbf": NOW - 5,
        "email": "ann@corp.example", "email_verified": true, "groups": ["dev", "ops"], "jti": "t-1",
    })
}

/// Claims with some replaced; `null` removes.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

pub(crate) fn provider(changes: Value) -> Provider {
    let mut settings = json!({
        "name": "corp", "issuer": ISSUER, "clientID": CLIENT, "groupsClaim": "groups", "usernamePrefix": "-",
        "algorithms": ["RS256", "ES256", "PS256", "EdDSA"],
    });
    for (name, value) in changes.as_object().unwrap() {
        settings[name] = value.clone();
    }
    serde_json::from_value(settings).unwrap()
}

pub(crate) fn issuer(changes: Value) -> Issuer {
    provider(changes).compile().unwrap()
}

pub(crate) fn verify_as(issuer: &Issuer, token: &str, purpose: Purpose<'_>) -> Result<VerifiedToken, TokenError> {
    issuer.verify(&Unverified::parse(token)?, &KEYS, now(), purpose)
}

pub(crate) fn verify(token: &str) -> Result<VerifiedToken, TokenError> {
    verify_as(&issuer(json!({})), token, Purpose::Bearer)
}

pub(crate) fn refusal(token: &str) -> &'static str {
    verify(token).map_or_else(|error| error.code(), |_| "accepted")
}

/// The refusal of otherwise good claims with these changes.
pub(crate) fn refusal_with(changes: Value) -> &'static str {
    refusal(&signed(&claims_with(changes)))
}

pub(crate) fn pem() -> String {
    let der = EC.public_key().as_der().unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref());
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
