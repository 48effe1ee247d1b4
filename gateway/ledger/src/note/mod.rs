//! Signed notes ([C2SP signed-note]): a text and who signs it. What checkpoints, cosignatures and receipts are made of.
//! Not what a text means (`checkpoint`), not where keys are kept.
//!
//! A [`Note`] that was parsed says nothing yet: its text counts only as far as [`Note::verify`] names keys that the caller
//! trusts.
//!
//! [C2SP signed-note]: https://c2sp.org/signed-note

mod chain;
mod key;
mod turn;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

pub(crate) use chain::Bond;
pub use chain::{ChainError, KeyChain};
pub use key::{Algorithm, KeyError, KeyName, SignError, Signer, SigningKey, VerifierKey};
pub use turn::{KeyTurn, TurnError};

/// The longest note that is read, in bytes: 16 signatures of the longest kind and a text beside them.
pub const MAX_NOTE_LEN: usize = 128 * 1024;

/// The most signatures that a note may carry. Verifiers have to take 16 (signed-note, "Format").
pub const MAX_SIGNATURES: usize = 64;

const SIGNATURE_START: &str = "\u{2014} ";

/// Why bytes are no signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE_LEN`] bytes.
    #[error("the note is longer than {MAX_NOTE_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or an ASCII control character other than newline.
    #[error("the note is not plain UTF-8 text")]
    NotText,
    /// No empty line between text and signatures, or the text does not end with a newline.
    #[error("the note has no empty line between its text and its signatures")]
    NoSignatures,
    /// A line behind the empty one is not `— NAME BASE64`. Counted from 1.
    #[error("signature line {line} of the note is not `\u{2014} NAME BASE64`")]
    SignatureLine {
        /// Which of the signature lines.
        line: usize,
    },
    /// More than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
}

/// Why no key vouches for a note.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// None of the signatures is by a key that was given.
    #[error("no signature is by a trusted key (signed by {})", .signed_by.join(", "))]
    Unknown {
        /// `NAME+KEYID` of each signature, as it says of itself.
        signed_by: Vec<String>,
    },
    /// A signature says it is by a key that was given, and is not.
    #[error("the signature of `{key}` does not belong to this text")]
    Invalid {
        /// `NAME+KEYID`.
        key: String,
    },
}

/// One signature line: who says to have signed, and the signature. Unproved until [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    id: u32,
    bytes: Vec<u8>,
}

impl Signature {
    /// Puts a signature line together; `bytes` are what the key's algorithm says (64 of Ed25519).
    #[must_use]
    pub fn new(name: KeyName, id: u32, bytes: Vec<u8>) -> Self {
        Self { name, id, bytes }
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of that key: the first four bytes of a hash over name, algorithm and key, big-endian.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether it says to be by this key.
    #[must_use]
    pub fn claims(&self, key: &VerifierKey) -> bool {
        self.name == *key.name() && self.id == key.id()
    }

    /// When it was made, in seconds since 1970, if it has the form of a cosignature (C2SP tlog-cosignature: a time and 64 bytes).
    /// Unproved, as all of it.
    #[must_use]
    pub fn claimed_time(&self) -> Option<u64> {
        let (time, signature) = self.bytes.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        (signature.len() == 64 && i64::try_from(time).is_ok()).then_some(time)
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_START)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = decoded.split_first_chunk::<4>()?;
        (!bytes.is_empty()).then_some(())?;
        Some(Self {
            name: KeyName::new(name).ok()?,
            id: u32::from_be_bytes(*id),
            bytes: bytes.to_vec(),
        })
    }
}

impl fmt::Display for Signature {
    /// `— NAME BASE64`, without the newline.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(formatter, "{SIGNATURE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A signature that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouched<'a> {
    /// By which key.
    pub key: &'a VerifierKey,
    /// When, in seconds since 1970, as the signer says; only cosignatures say it.
    pub time: Option<u64>,
}

/// A text with signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// An unsigned note; `text` ends with a newline.
    ///
    /// # Errors
    /// [`NoteError::NotText`] for control characters, [`NoteError::NoSignatures`] where the last newline is missing,
    /// [`NoteError::TooLong`].
    pub fn new(text: String) -> Result<Self, NoteError> {
        check_text(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a note; the last empty line parts text and signatures.
    ///
    /// # Errors
    /// [`NoteError`], by the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = check_text(bytes)?;
        let at = whole.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = whole.split_at_checked(at + 1).ok_or(NoteError::NoSignatures)?;
        let lines = rest.strip_prefix('\n').unwrap_or(rest);
        Ok(Self {
            text: text.to_owned(),
            signatures: parse_signatures(lines)?,
        })
    }

    /// What was signed, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, unproved.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs the text, in place of an earlier signature of the same key. `time` is in seconds since 1970, for algorithms
    /// that sign it along. What the signer gives is checked: a wrong signature never leaves.
    ///
    /// # Errors
    /// [`SignError`] of the signer, or of what it gave.
    pub fn sign(&mut self, signer: &dyn Signer, time: u64) -> Result<(), SignError> {
        let key = signer.key();
        let signed = key.algorithm().signed(&self.text, time);
        let bytes = key.algorithm().wrap(&signer.sign(&signed)?, time);
        if key.algorithm().verify(key, &self.text, &bytes).is_none() {
            return Err(SignError {
                key: key.short(),
                why: "what it gave is no signature of this key over this text".to_owned(),
            });
        }
        self.add(Signature::new(key.name().clone(), key.id(), bytes));
        Ok(())
    }

    /// Adds a signature from elsewhere (a witness's), in place of an earlier one of the same key.
    pub fn add(&mut self, signature: Signature) {
        self.signatures
            .retain(|have| have.name != signature.name || have.id != signature.id);
        self.signatures.push(signature);
    }

    /// The same text with the signatures alone that claim these keys, one of each, in the order of the keys; unproved as before.
    #[must_use]
    pub fn with_signatures_of(&self, keys: &[VerifierKey]) -> Self {
        let mut other = Self {
            text: self.text.clone(),
            signatures: Vec::new(),
        };
        for key in keys {
            let claiming = self.signatures.iter().find(|signature| signature.claims(key));
            claiming.into_iter().for_each(|one| other.add(one.clone()));
        }
        other
    }

    /// Which of these keys vouch for the text, in the order of the keys. Signatures of other keys are passed over, as the
    /// specification demands: so keys can be changed, and witnesses added.
    ///
    /// # Errors
    /// [`VerifyError::Invalid`] when any signature that claims a given key is not by it; [`VerifyError::Unknown`] when none
    /// claims one.
    pub fn verify<'a>(&self, keys: impl IntoIterator<Item = &'a VerifierKey>) -> Result<Vec<Vouched<'a>>, VerifyError> {
        let mut vouched = Vec::new();
        for key in keys {
            let mut time = None;
            let mut found = false;
            for signature in self.signatures.iter().filter(|signature| signature.claims(key)) {
                time = key
                    .algorithm()
                    .verify(key, &self.text, &signature.bytes)
                    .ok_or_else(|| VerifyError::Invalid { key: key.short() })?;
                found = true;
            }
            if found {
                vouched.push(Vouched { key, time });
            }
        }
        if vouched.is_empty() {
            let name = |signature: &Signature| format!("{}+{:08x}", signature.name, signature.id);
            return Err(VerifyError::Unknown {
                signed_by: self.signatures.iter().map(name).collect(),
            });
        }
        Ok(vouched)
    }
}

impl fmt::Display for Note {
    /// The note as it is stored and sent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(formatter, "{signature}"))
    }
}

/// Reads signature lines alone, as a witness answers them. Each ends with a newline.
///
/// # Errors
/// [`NoteError::SignatureLine`], [`NoteError::TooManySignatures`], [`NoteError::NoSignatures`] when there is none.
pub fn parse_signatures(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
    let mut signatures = Vec::new();
    for (index, line) in lines.split('\n').enumerate() {
        if signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signature = Signature::parse(line).ok_or(NoteError::SignatureLine { line: index + 1 })?;
        signatures.push(signature);
    }
    Ok(signatures)
}

fn check_text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_NOTE_LEN {
        return Err(NoteError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::NotText);
    }
    Ok(text)
}

/// Reads foreign bytes as a note, a checkpoint, signature lines and keys. Never panics; what is read is written the same.
pub fn fuzz_note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "a note is written as it was read");
        let _ = KeyTurn::read(&note);
        if let Ok(checkpoint) = crate::Checkpoint::parse(note.text()) {
            assert!(
                note.text().starts_with(&checkpoint.to_string()),
                "a checkpoint is written as it was read"
            );
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = parse_signatures(text);
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(
            key.to_string().to_ascii_lowercase(),
            text.to_ascii_lowercase(),
            "a key is written as it was read"
        );
    }
    let _ = text.parse::<SigningKey>();
}

#[cfg(test)]
mod tests;
