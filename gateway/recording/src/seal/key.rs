//! The key of one session.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::format::{COVERED, TAG, associated, nonce};

/// A key of 32 random bytes for one session, never used for another; wiped when dropped.
///
/// The file does not hold it. Whoever destroys it erases the recording.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<[u8; 32]>);

impl SessionKey {
    /// From bytes that a caller drew at random for this session alone.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for whoever stores them wrapped.
    #[must_use]
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// None only if the cipher refuses a key of the right length, which it does not.
    pub(crate) fn cipher(&self) -> Option<Cipher> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice())
            .ok()
            .map(|key| Cipher(LessSafeKey::new(key)))
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey")
    }
}

/// Seals and opens the chunks of one session.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    /// Encrypts `bytes` but for the last [`TAG`], which become the tag. None when there are fewer, or the cipher refuses.
    pub(crate) fn seal(&self, session: Uuid, number: u64, covered: &[u8; COVERED], bytes: &mut [u8]) -> Option<()> {
        let (plain, place) = bytes.split_last_chunk_mut::<TAG>()?;
        let aad = Aad::from(associated(session, covered));
        let nonce = Nonce::assume_unique_for_key(nonce(number));
        let tag = self.0.seal_in_place_separate_tag(nonce, aad, plain).ok()?;
        *place = *tag.as_ref().first_chunk()?;
        Some(())
    }

    /// Decrypts in place and cuts the tag off; false, and the bytes are worthless, when they are not authentic.
    pub(crate) fn open(&self, session: Uuid, number: u64, covered: &[u8; COVERED], bytes: &mut Vec<u8>) -> bool {
        let aad = Aad::from(associated(session, covered));
        let nonce = Nonce::assume_unique_for_key(nonce(number));
        let is_authentic = self.0.open_in_place(nonce, aad, bytes).is_ok();
        bytes.truncate(bytes.len().saturating_sub(TAG));
        is_authentic
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}
