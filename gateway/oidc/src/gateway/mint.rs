//! Signing keys as bytes, and tokens signed with them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::MAX_LIFETIME;
use crate::KeySet;

/// A P-256 key pair of the gateway.
pub struct SigningKey {
    key: EncodingKey,
    kid: String,
    public: Jwk,
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
        // With a second backend in the tree the library would panic for want of a choice. A default that somebody set
        // before is this one or a mistake that the next line shows.
        let _ = DEFAULT_PROVIDER.install_default();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| MintError::Key)?;
        let key = EncodingKey::from_ec_der(bytes);
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| MintError::Key)?;
        let kid = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| MintError::Library)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, kid, public })
    }

    /// Its name: the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public halves as a JSON Web Key Set, for `/jwks`. Keep the previous key in it for ten minutes after a change.
    pub fn render_jwks<'k>(keys: impl IntoIterator<Item = &'k Self>) -> String {
        let keys: Vec<_> = keys.into_iter().map(|key| &key.public).collect();
        serde_json::json!({ "keys": keys }).to_string()
    }

    /// The public halves as a set to verify with.
    ///
    /// # Errors
    /// There are no keys.
    pub fn key_set<'k>(keys: impl IntoIterator<Item = &'k Self>) -> Result<KeySet, MintError> {
        KeySet::parse(Self::render_jwks(keys).as_bytes()).map_err(|_| MintError::Key)
    }

    /// The private half as it was read, for what is made from it.
    pub(super) fn private_bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// A token of this type with these claims.
    pub(super) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, MintError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| MintError::Library)
    }

    /// Signs what the mint would never sign.
    #[cfg(test)]
    pub(crate) fn sign_for_tests(&self, message: &[u8]) -> String {
        jsonwebtoken::crypto::sign(message, &self.key, Algorithm::ES256).expect("signs")
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
        self.key.sign("at+jwt", &payload)
    }
}
