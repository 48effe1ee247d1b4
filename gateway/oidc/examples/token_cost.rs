//! What a token costs: `cargo xtask bench token_cost`. Verifying provider tokens by algorithm, verifying and minting the
//! gateway's own, all on one thread and without any cache. Each figure is the best of several rounds, since everything
//! that disturbs makes it larger.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::time::Timestamp;
use oidc::gateway::{GatewayClaims, GatewayVerifier, Mint, ProviderIdentity, SigningKey};
use oidc::issuer::Provider;
use oidc::{Issuer, KeySet, Purpose, Unverified};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.corp.example";
const NOW: i64 = 1_800_000_000;

type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, each) = if quick { (3, 200) } else { (15, 2_000) };
    let issuer = issuer()?;
    let now = Timestamp::from_unix_seconds(NOW);
    let mut line = "token_cost".to_owned();
    for (name, (token, keys)) in [("rs256", rs256()?), ("es256", es256()?), ("eddsa", eddsa()?)] {
        let cost = best(rounds, each, || {
            let token = Unverified::parse(black_box(&token))?;
            issuer.verify(&token, &keys, now, Purpose::Bearer)?;
            Ok(())
        })?;
        line.push_str(&format!(" {name}_verify_us={:.2}", micros(cost)));
    }
    let (key, _) = SigningKey::generate()?;
    let verifier = GatewayVerifier::new(ISSUER, SigningKey::key_set([&key])?, Duration::ZERO);
    let mint = Mint::new(key);
    let claims = gateway_claims();
    let token = mint.sign(&claims)?;
    let verify = best(rounds, each, || {
        let token = Unverified::parse(black_box(&token))?;
        verifier.verify(&token, "prod", now)?;
        Ok(())
    })?;
    let sign = best(rounds, each, || {
        black_box(mint.sign(black_box(&claims))?);
        Ok(())
    })?;
    line.push_str(&format!(
        " own_verify_us={:.2} own_mint_us={:.2}",
        micros(verify),
        micros(sign)
    ));
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The mean of the best round.
fn best(rounds: u32, each: u32, mut work: impl FnMut() -> Result<(), Failed>) -> Result<Duration, Failed> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let began = Instant::now();
        for _ in 0..each {
            work()?;
        }
        best = best.min(began.elapsed() / each);
    }
    Ok(best)
}

fn issuer() -> Result<Issuer, Failed> {
    let provider: Provider = serde_json::from_value(json!({
        "name": "corp", "issuer": ISSUER, "clientID": "gatescribe", "groupsClaim": "groups",
        "algorithms": ["RS256", "ES256", "EdDSA"],
    }))?;
    provider
        .compile()
        .map_err(|_| "the provider's settings do not hold".into())
}

fn unsigned(algorithm: &str) -> String {
    let groups: Vec<_> = (0..20).map(|n| format!("team-{n:02}")).collect();
    let header = json!({"alg": algorithm, "kid": "k", "typ": "JWT"});
    let claims = json!({
        "iss": ISSUER, "aud": "gatescribe", "sub": "u-1", "exp": NOW + 300, "iat": NOW - 5, "nbf": NOW - 5,
        "email": "ann@corp.example", "email_verified": true, "groups": groups, "jti": "t-1", "name": "Ann",
    });
    format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    )
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn with(signed: &str, signature: &[u8], key: &Value) -> Result<(String, KeySet), Failed> {
    let keys = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes())?;
    Ok((format!("{signed}.{}", encode(signature)), keys))
}

fn rs256() -> Result<(String, KeySet), Failed> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let signed = unsigned("RS256");
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )?;
    // RSAPublicKey of 2048 bits: two heads of four bytes and a zero, the modulus, a head of two, the exponent 65537.
    let der = pair.public_key().as_ref();
    let (modulus, exponent) = der.get(9..265).zip(der.get(267..)).ok_or("no key of 2048 bits")?;
    let key = json!({"kty": "RSA", "kid": "k", "n": encode(modulus), "e": encode(exponent)});
    with(&signed, &signature, &key)
}

fn es256() -> Result<(String, KeySet), Failed> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let signed = unsigned("ES256");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes())?;
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..33).zip(point.get(33..65)).ok_or("no point")?;
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(x), "y": encode(y)});
    with(&signed, signature.as_ref(), &key)
}

fn eddsa() -> Result<(String, KeySet), Failed> {
    let pair = Ed25519KeyPair::generate()?;
    let signed = unsigned("EdDSA");
    let signature = pair.sign(signed.as_bytes());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(pair.public_key().as_ref())});
    with(&signed, signature.as_ref(), &key)
}

fn gateway_claims() -> GatewayClaims {
    GatewayClaims {
        issuer: ISSUER.to_owned(),
        audience: "prod".to_owned(),
        subject: "s-1".to_owned(),
        session: "session".to_owned(),
        token_id: "t-1".to_owned(),
        issued_at: Timestamp::from_unix_seconds(NOW),
        expires_at: Timestamp::from_unix_seconds(NOW + 600),
        auth_time: Timestamp::from_unix_seconds(NOW),
        acr: None,
        identity: ProviderIdentity {
            iss: ISSUER.to_owned(),
            sub: "u-1".to_owned(),
            username: "ann@corp.example".to_owned(),
            groups: (0..20).map(|n| format!("team-{n:02}")).collect(),
            uid: None,
            email: None,
            extra: std::collections::BTreeMap::new(),
        },
    }
}
