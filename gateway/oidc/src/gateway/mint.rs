//! Signing keys as bytes, and tokens signed with them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::MAX_LIFETIME;
use crate::KeySet;
use crate::crypto::sha256;
use crate::encoding::encode;

/// A P-256 key pair of the gateway.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
    coordinates: (String, String),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Why no token or key was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The bytes are no PKCS#8 P-256 key.
    #[error("the signing key cannot be read: it is not a P-256 key in PKCS#8 form")]
    Key,
    /// The system's random generator or the library failed.
    #[error("the cryptographic library failed")]
    Library,
    /// A claim is empty, or the token would live longer than ten minutes or not at all.
    #[error("a gateway token must name issuer, audience, subject, session and id, and live at most ten minutes")]
    Claims,
}

impl SigningKey {
    /// A new key and its PKCS#8 form to keep (mode 0600).
    ///
    /// # Errors
    /// The library failed.
    pub fn generate() -> Result<(Self, Vec<u8>), MintError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| MintError::Library)?;
        let bytes = document.as_ref().to_vec();
        Ok((Self::from_pkcs8(&bytes)?, bytes))
    }

    /// Reads what [`Self::generate`] gave.
    ///
    /// # Errors
    /// The bytes are no such key.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, MintError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| MintError::Key)?;
        // The point is 0x04, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref().to_vec();
        let coordinates = point.get(1..33).zip(point.get(33..65)).ok_or(MintError::Key)?;
        let coordinates = (encode(coordinates.0), encode(coordinates.1));
        let canonical = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            coordinates.0, coordinates.1
        );
        Ok(Self {
            pair,
            kid: encode(&sha256(canonical.as_bytes())),
            coordinates,
        })
    }

    /// Its name: the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public halves as a JSON Web Key Set, for `/jwks`. Keep the previous key in it for ten minutes after a change.
    pub fn render_jwks<'k>(keys: impl IntoIterator<Item = &'k Self>) -> String {
        let keys: Vec<_> = keys.into_iter().map(Self::jwk).collect();
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// The public halves as a set to verify with.
    ///
    /// # Errors
    /// There are no keys.
    pub fn key_set<'k>(keys: impl IntoIterator<Item = &'k Self>) -> Result<KeySet, MintError> {
        KeySet::parse(Self::render_jwks(keys).as_bytes()).map_err(|_| MintError::Key)
    }

    fn jwk(&self) -> serde_json::Value {
        let (x, y) = &self.coordinates;
        serde_json::json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "use": "sig", "alg": "ES256",
        })
    }

    /// Signs what the mint would never sign.
    #[cfg(test)]
    pub(crate) fn sign_for_tests(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message).expect("signs")
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| MintError::Library)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Whom the provider named: the `gs` claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderIdentity {
    /// The provider's issuer URL.
    pub iss: String,
    /// The account there.
    pub sub: String,
    /// The Kubernetes user name.
    pub username: String,
    /// The Kubernetes groups.
    pub groups: Vec<String>,
    /// The Kubernetes uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// A verified address, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The Kubernetes extras.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a gateway token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayClaims {
    /// The gateway's URL.
    pub issuer: String,
    /// A cluster's name, or `gatescribe-api`.
    pub audience: String,
    /// The subject's opaque id.
    pub subject: String,
    /// The session.
    pub session: String,
    /// The token's own id.
    pub token_id: String,
    /// From when it is good.
    pub issued_at: Timestamp,
    /// Until when; at most ten minutes later.
    pub expires_at: Timestamp,
    /// When the person last proved who they are.
    pub auth_time: Timestamp,
    /// How.
    pub acr: Option<String>,
    /// Who it is.
    pub identity: ProviderIdentity,
}

#[derive(Serialize)]
struct Header<'m> {
    alg: &'static str,
    typ: &'static str,
    kid: &'m str,
}

#[derive(Serialize)]
struct Payload<'m> {
    iss: &'m str,
    aud: &'m str,
    sub: &'m str,
    sid: &'m str,
    jti: &'m str,
    iat: i64,
    nbf: i64,
    exp: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'m str>,
    gs: &'m ProviderIdentity,
}

/// Makes gateway tokens.
#[derive(Debug)]
pub struct Mint {
    key: SigningKey,
}

impl Mint {
    /// With the current key.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self { key }
    }

    /// The key in use.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs a token.
    ///
    /// # Errors
    /// The claims make no token that [`super::GatewayVerifier`] would take, or the library failed.
    pub fn sign(&self, claims: &GatewayClaims) -> Result<String, MintError> {
        let seconds = (claims.issued_at.unix_seconds(), claims.expires_at.unix_seconds());
        let named = [
            &claims.issuer,
            &claims.audience,
            &claims.subject,
            &claims.session,
            &claims.token_id,
        ];
        let lives = seconds.1 > seconds.0 && claims.expires_at <= claims.issued_at.plus(MAX_LIFETIME);
        if named.iter().any(|text| text.is_empty()) || !lives || claims.identity.username.is_empty() {
            return Err(MintError::Claims);
        }
        let payload = Payload {
            iss: &claims.issuer,
            aud: &claims.audience,
            sub: &claims.subject,
            sid: &claims.session,
            jti: &claims.token_id,
            iat: seconds.0,
            nbf: seconds.0,
            exp: seconds.1,
            auth_time: claims.auth_time.unix_seconds(),
            acr: claims.acr.as_deref(),
            gs: &claims.identity,
        };
        let header = Header {
            alg: "ES256",
            typ: "at+jwt",
            kid: &self.key.kid,
        };
        let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| encode(&json)).map_err(|_| MintError::Claims);
        let signed = format!(
            "{}.{}",
            part(serde_json::to_vec(&header))?,
            part(serde_json::to_vec(&payload))?
        );
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}
