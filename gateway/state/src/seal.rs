//! Sealing of what must be read again: AES-256-GCM, bound to table and row.
//!
//! Form: version (1 byte) · key id (4 bytes) · nonce (12 bytes) · ciphertext and tag. The additional data is the table,
//! a zero byte and the row's id, so that a value moved to another row does not open (security SES-05, SES-07).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;

use crate::StateError;
use crate::secret::random_bytes;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;

/// One AES-256 key. Made from 32 bytes that the caller keeps (dataDir, mode 0600).
pub struct SealingKey {
    id: [u8; KEY_ID_LEN],
    key: LessSafeKey,
}

impl SealingKey {
    /// From the key's 32 bytes; `None` never happens for 32 bytes, but the cryptography's own answer is passed on.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"gatescribe sealing key id\0");
        context.update(bytes);
        let id = context.finish().as_ref().first_chunk().copied()?;
        Some(Self { id, key })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({:02x?})", self.id)
    }
}

/// The key that seals, and the ones that still open what was sealed before a change of keys.
#[derive(Debug)]
pub struct SealingKeys {
    current: SealingKey,
    previous: Vec<SealingKey>,
}

impl SealingKeys {
    /// `previous` only opens.
    #[must_use]
    pub const fn new(current: SealingKey, previous: Vec<SealingKey>) -> Self {
        Self { current, previous }
    }

    /// By which a sealed value names the key that seals.
    pub(crate) const fn current_id(&self) -> [u8; KEY_ID_LEN] {
        self.current.id
    }

    pub(crate) fn seal(&self, table: &'static str, row: &str, plain: &[u8]) -> Result<Vec<u8>, StateError> {
        let nonce = random_bytes::<NONCE_LEN>()?;
        let mut body = plain.to_vec();
        self.current
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(table, row), &mut body)
            .map_err(|_| StateError::Sealed { table })?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID_LEN + NONCE_LEN + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Ok(sealed)
    }

    pub(crate) fn open(&self, table: &'static str, row: &str, sealed: &[u8]) -> Result<Vec<u8>, StateError> {
        self.try_open(table, row, sealed).ok_or(StateError::Sealed { table })
    }

    fn try_open(&self, table: &'static str, row: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&version, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_first_chunk::<KEY_ID_LEN>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let key = std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| key.id == *id)?;
        let mut body = body.to_vec();
        let plain = key
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), bound_to(table, row), &mut body)
            .ok()?
            .len();
        body.truncate(plain);
        Some(body)
    }
}

fn bound_to(table: &'static str, row: &str) -> Aad<Vec<u8>> {
    let mut bytes = table.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(row.as_bytes());
    Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8, previous: &[u8]) -> SealingKeys {
        let key = |byte| SealingKey::new(&[byte; 32]).unwrap();
        SealingKeys::new(key(byte), previous.iter().map(|byte| key(*byte)).collect())
    }

    #[test]
    fn ses_05_ses_07_what_is_sealed_opens_only_in_its_own_row_and_table() {
        let keys = keys(1, &[]);
        let sealed = keys.seal("sessions", "a", b"token").unwrap();
        assert_eq!(keys.open("sessions", "a", &sealed).unwrap(), b"token");
        assert!(keys.open("sessions", "b", &sealed).is_err());
        assert!(keys.open("devices", "a", &sealed).is_err());
    }

    #[test]
    fn ses_05_any_flipped_bit_and_any_cut_is_refused() {
        let keys = keys(1, &[]);
        let sealed = keys.seal("sessions", "a", b"token").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(keys.open("sessions", "a", &changed).is_err(), "byte {index}");
            assert!(keys.open("sessions", "a", &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn a_previous_key_still_opens_and_a_dropped_one_does_not() {
        let sealed = keys(1, &[]).seal("sessions", "a", b"token").unwrap();
        assert_eq!(keys(2, &[1]).open("sessions", "a", &sealed).unwrap(), b"token");
        assert!(keys(2, &[]).open("sessions", "a", &sealed).is_err());
    }
}
