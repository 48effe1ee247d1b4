//! A key set as one answer gave it. Whole or not at all where it is hostile; key by key where it is merely odd.

use serde_json::Value;

use super::jwk::Read;
use super::{Key, KeyAlarm};
use crate::encoding::object;
use crate::preparse::Header;
use crate::{Algorithm, Answer, TokenError};

/// Longest document in bytes.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 1 << 20;
const MAX_KEYS: usize = 100;

/// The usable public keys of an issuer.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    alarms: Vec<KeyAlarm>,
}

/// Why an answer gives no key set. The last good one stays in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Another status than 200; a redirect is one, too.
    #[error("the key set was answered with status {0}")]
    Status(u16),
    /// Over 1 MiB.
    #[error("the key set is longer than 1 MiB")]
    TooLarge,
    /// Not `{"keys": [{…}, …]}`.
    #[error("the answer is not a JSON key set")]
    Malformed,
    /// Over 100 keys.
    #[error("the key set has more than 100 keys")]
    TooManyKeys,
    /// A private key was published: whoever read it can sign.
    #[error("the key set contains private key material; the provider must replace these keys at once")]
    PrivateKey,
    /// Nothing that could verify a token.
    #[error("the key set has no usable signature key")]
    NoUsableKey,
    /// No answer came.
    #[error("the key set could not be fetched")]
    Unreachable,
}

impl KeySet {
    /// Reads the answer of a `jwks_uri`.
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn from_answer(answer: &Answer<'_>) -> Result<Self, KeySetError> {
        if answer.status != http::StatusCode::OK {
            return Err(KeySetError::Status(answer.status.as_u16()));
        }
        Self::parse(answer.body)
    }

    /// Reads a key set document (RFC 7517 §5).
    ///
    /// # Errors
    /// See [`KeySetError`]; a single odd key is no error but an alarm.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let members = object(document).map_err(|_| KeySetError::Malformed)?;
        let list = members
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::Malformed)?;
        if list.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut set = Self {
            keys: Vec::new(),
            alarms: Vec::new(),
        };
        for entry in list {
            match Key::read(entry.as_object().ok_or(KeySetError::Malformed)?) {
                Read::Usable(key) => set.add(key),
                Read::Other => {}
                Read::Private => return Err(KeySetError::PrivateKey),
                Read::Alarm(alarm) => set.alarms.push(alarm),
            }
        }
        if set.keys.is_empty() {
            Err(KeySetError::NoUsableKey)
        } else {
            Ok(set)
        }
    }

    fn add(&mut self, key: Key) {
        if self
            .keys
            .iter()
            .any(|known| known.thumbprint == key.thumbprint && known.kid == key.kid)
        {
            return;
        }
        if self.keys.iter().any(|known| known.conflicts(&key)) {
            self.alarms.push(KeyAlarm::DuplicateName);
            return;
        }
        self.keys.push(key);
    }

    /// What is odd about the set, for the operator.
    #[must_use]
    pub fn alarms(&self) -> &[KeyAlarm] {
        &self.alarms
    }

    /// How many keys are usable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none; never so for a set that was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key of this RFC 7638 thumbprint is in it.
    #[must_use]
    pub fn holds(&self, thumbprint: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.thumbprint == *thumbprint)
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key for a token. Names are compared exactly; without a name only a single fitting key will do.
    pub(crate) fn choose(&self, header: &Header, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let Some(kid) = &header.kid else {
            let mut fitting = self.keys.iter().filter(|key| key.serves(algorithm));
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(TokenError::KeyMismatch),
                _ => Err(TokenError::KeyNotNamed),
            };
        };
        let mut named = self
            .keys
            .iter()
            .filter(|key| key.kid.as_deref() == Some(kid))
            .peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey {
                kid: kid.as_str().into(),
            });
        }
        named.find(|key| key.serves(algorithm)).ok_or(TokenError::KeyMismatch)
    }
}
