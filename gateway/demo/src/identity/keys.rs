//! The provider's signing keys: ES256 (RFC 7518 §3.4), made at start, rotated on demand, never written anywhere.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::StartError;
use crate::random;

/// Public keys kept in the key set after rotation, so that tokens signed a moment ago still verify.
const KEPT: usize = 2;

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

/// The current key first, then the ones before it.
pub(super) struct Keys {
    keys: Vec<Key>,
}

impl Keys {
    pub(super) fn generate() -> Result<Self, StartError> {
        Ok(Self {
            keys: vec![Key::generate()?],
        })
    }

    /// Signs with a new key from now on. Returns its id.
    pub(super) fn rotate(&mut self) -> Result<String, StartError> {
        let key = Key::generate()?;
        let id = key.id.clone();
        self.keys.insert(0, key);
        self.keys.truncate(KEPT);
        Ok(id)
    }

    /// The key set (RFC 7517 §5).
    pub(super) fn set(&self) -> Value {
        json!({"keys": self.keys.iter().filter_map(Key::public).collect::<Vec<_>>()})
    }

    /// Signs the claims (RFC 7515 §3.1). `None` when signing fails, which is the random source failing.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let key = self.keys.first()?;
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": key.id});
        let input = format!("{}.{}", encode(&header), encode(claims));
        let signature = key.pair.sign(&SystemRandom::new(), input.as_bytes()).ok()?;
        Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Key {
    fn generate() -> Result<Self, StartError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| StartError::Key)?;
        let id = random::token().map_err(|_| StartError::Key)?.chars().take(12).collect();
        Ok(Self { id, pair })
    }

    fn public(&self) -> Option<Value> {
        // Uncompressed point: 0x04, x (32 bytes), y (32 bytes).
        let (x, y) = self.pair.public_key().as_ref().get(1..65)?.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Some(json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y}))
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
