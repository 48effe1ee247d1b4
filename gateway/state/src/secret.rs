//! Random secrets and the hashes under which they are stored.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::StateError;

/// A bearer secret in its text form. Never displayed, never in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// 256 random bits, base64url.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<Self, StateError> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?)))
    }

    /// As a client presented it.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, to hand it to the one client that may hold it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The public name of a session (`sid`): the first 16 bytes of SHA-256 over its secret, hexadecimal. It stands in
/// tokens and records and opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// The name of the session that this secret belongs to.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let digest = hash("session", secret.reveal());
        Self(hex::encode(digest.get(..16).unwrap_or_default()))
    }

    /// Reads 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 over a purpose and the secret. The purpose keeps a secret of one kind from being good as another.
pub(crate) fn hash(purpose: &'static str, secret: &str) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(purpose.as_bytes());
    context.update(&[0]);
    context.update(secret.as_bytes());
    context.finish().as_ref().to_vec()
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], StateError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StateError::Random)?;
    Ok(bytes)
}

/// The letters of user codes: no vowels, so that no words appear, and nothing that looks alike (RFC 8628 §6.1).
const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Eight letters shown as `BCDF-GHJK`: 34.5 bits.
pub(crate) fn random_user_code() -> Result<String, StateError> {
    let mut letters = String::with_capacity(8);
    while letters.len() < 8 {
        for byte in random_bytes::<16>()? {
            // Bytes from 240 on would make the first letters likelier.
            if byte < 240 && letters.len() < 8 {
                let letter = USER_CODE_LETTERS.get(usize::from(byte % 20)).copied().unwrap_or(b'B');
                letters.push(char::from(letter));
            }
        }
    }
    Ok(show_user_code(&letters))
}

/// What a person typed, in the one form that is stored: upper case, in two groups. `None` when it cannot be a code.
#[must_use]
pub fn user_code_form(typed: &str) -> Option<String> {
    let letters: String = typed
        .chars()
        .take(64)
        .filter(|letter| !matches!(letter, '-' | ' '))
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let fits = letters.len() == 8 && letters.bytes().all(|letter| USER_CODE_LETTERS.contains(&letter));
    fits.then(|| show_user_code(&letters))
}

fn show_user_code(letters: &str) -> String {
    let (first, second) = letters.split_at_checked(4).unwrap_or((letters, ""));
    format!("{first}-{second}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = random_user_code().unwrap();
        assert_eq!(user_code_form(&code).unwrap(), code);
        assert_eq!(user_code_form(&code.to_lowercase().replace('-', " ")).unwrap(), code);
        assert_eq!(user_code_form("AAAA-AAAA"), None);
        assert_eq!(user_code_form("BCDF-GHJ"), None);
        assert_eq!(user_code_form("BCDF-GHJKL"), None);
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let secret = Secret::random().unwrap();
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        assert_eq!(secret.reveal().len(), 43);
    }

    #[test]
    fn a_secret_of_one_purpose_is_not_good_for_another() {
        assert_ne!(hash("code", "x"), hash("state", "x"));
    }
}
