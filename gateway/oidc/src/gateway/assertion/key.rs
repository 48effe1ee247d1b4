//! The key that signs assertions: another one than that of the gateway's tokens, and made from it.
//!
//! Another one, because not every service looks at `typ` and `aud`: with the keys that stand in the assertions' key set, no
//! token of the gateway verifies, and with those of `/jwks` no assertion (RFC 8725 §3.12). Made from it (HKDF, RFC 5869), so
//! that there is one list of keys to keep and to turn, all replicas that share it have the same, and what is done about a token
//! key that leaked is done about this one. From this one, nobody finds the token key.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::KeySet;
use crate::gateway::{MintError, SigningKey};

const SALT: &[u8] = b"gatescribe";
/// What the key is for; another use of the same token key takes other words. The counter stands behind it.
const INFO: &[u8] = b"assertion signing key, P-256, 1:";

/// A P-256 key pair that signs assertions.
#[derive(Debug)]
pub struct AssertionKey(SigningKey);

impl AssertionKey {
    /// The one that belongs to a token key; always the same.
    ///
    /// # Errors
    /// The library failed.
    pub fn of(token_key: &SigningKey) -> Result<Self, MintError> {
        let failed = |_| MintError::Library;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, token_key.private_bytes())
            .map_err(|_| MintError::Library)?;
        let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(failed)?;
        let derived = Salt::new(HKDF_SHA256, SALT).extract(secret.as_ref());
        let mut number = [0; 32];
        // One in 2^32 numbers is none below the curve's order; then the next one is taken.
        for counter in 0..=u8::MAX {
            let info: [&[u8]; 2] = [INFO, &[counter]];
            let expanded = derived.expand(&info, HKDF_SHA256).map_err(failed)?;
            expanded.fill(&mut number).map_err(failed)?;
            if let Ok(private) = PrivateKey::from_private_key(&ECDH_P256, &number) {
                let bytes: Pkcs8V1Der<'_> = private.as_der().map_err(failed)?;
                return SigningKey::from_pkcs8(bytes.as_ref()).map(Self);
            }
        }
        Err(MintError::Library)
    }

    /// Its name: the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.0.kid()
    }

    /// The public halves as a JSON Web Key Set, for the assertions' own address. Keep the previous key in it while tokens of
    /// the previous token key are accepted: five times as long as an assertion lives.
    pub fn render_jwks<'k>(keys: impl IntoIterator<Item = &'k Self>) -> String {
        SigningKey::render_jwks(keys.into_iter().map(|key| &key.0))
    }

    /// The public halves as a set to verify with.
    ///
    /// # Errors
    /// There are no keys.
    pub fn key_set<'k>(keys: impl IntoIterator<Item = &'k Self>) -> Result<KeySet, MintError> {
        SigningKey::key_set(keys.into_iter().map(|key| &key.0))
    }

    pub(super) fn signing(&self) -> &SigningKey {
        &self.0
    }

    /// Signs what the mint would never sign.
    #[cfg(test)]
    pub(crate) fn sign_for_tests(&self, message: &[u8]) -> String {
        self.0.sign_for_tests(message)
    }
}
