//! Keys of notes: names, ids, their texts, and who signs.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

/// How a key of this name signs (signed-note, "Signature types"). Only what is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `0x01`: Ed25519 (RFC 8032) over the text. Logs sign with it.
    Ed25519,
    /// `0x04`: Ed25519 over `cosignature/v1`, a time and the text (C2SP tlog-cosignature). Witnesses sign with it.
    Cosignature,
}

const COSIGNATURE_HEADER: &str = "cosignature/v1\ntime ";

impl Algorithm {
    const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature]
            .into_iter()
            .find(|algorithm| algorithm.code() == code)
    }

    /// The bytes that Ed25519 signs.
    pub(super) fn signed(self, text: &str, time: u64) -> Vec<u8> {
        match self {
            Self::Ed25519 => text.as_bytes().to_vec(),
            Self::Cosignature => format!("{COSIGNATURE_HEADER}{time}\n{text}").into_bytes(),
        }
    }

    /// What stands in the signature line behind the key's id.
    pub(super) fn wrap(self, signature: &[u8], time: u64) -> Vec<u8> {
        match self {
            Self::Ed25519 => signature.to_vec(),
            Self::Cosignature => [&time.to_be_bytes(), signature].concat(),
        }
    }

    /// `Some(time)` when the signature is the key's; the time where the algorithm signs one.
    pub(super) fn verify(self, key: &VerifierKey, text: &str, bytes: &[u8]) -> Option<Option<u64>> {
        let (time, signature) = match self {
            Self::Ed25519 => (None, bytes),
            Self::Cosignature => {
                let (time, signature) = bytes.split_first_chunk::<8>()?;
                (Some(u64::from_be_bytes(*time)), signature)
            }
        };
        // "It MUST NOT exceed 2^63 - 1" (tlog-cosignature, "Format").
        if time.is_some_and(|time| i64::try_from(time).is_err()) {
            return None;
        }
        let signed = self.signed(text, time.unwrap_or_default());
        UnparsedPublicKey::new(&ED25519, &key.public)
            .verify(&signed, signature)
            .ok()?;
        Some(time)
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Empty, or with a space or a plus.
    #[error("a key's name must not be empty and has no space and no `+`")]
    Name,
    /// Not the three parts `NAME+ID+KEY`.
    #[error("a verifier key is `NAME+ID+KEY`: a name, eight hexadecimal digits, base64")]
    Form,
    /// Not `PRIVATE+KEY+NAME+ID+KEY`.
    #[error("a signing key is `PRIVATE+KEY+NAME+ID+KEY`: a name, eight hexadecimal digits, base64")]
    PrivateForm,
    /// A kind of key that is not read here, by its number in signed-note.
    #[error("keys of type {0:#04x} are not supported; Ed25519 (0x01) and Ed25519 cosignatures (0x04) are")]
    Algorithm(u8),
    /// The id is not that of this name and key, so one of them was mistyped or exchanged.
    #[error("the key's id does not belong to its name and key: it was mistyped or exchanged")]
    Id,
}

/// The name of a key, which for a log is its origin: not empty, no Unicode space, no `+`, no control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let is_bad = |char: char| char.is_whitespace() || char.is_control() || char == '+';
        if name.is_empty() || name.chars().any(is_bad) {
            return Err(KeyError::Name);
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a verifier is configured with: `NAME+ID+KEY` (signed-note, "Verifier keys").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: Algorithm,
    public: [u8; 32],
    id: u32,
}

impl VerifierKey {
    /// The key of this name.
    #[must_use]
    pub fn new(name: KeyName, algorithm: Algorithm, public: [u8; 32]) -> Self {
        let id = key_id(&name, algorithm, &public);
        Self {
            name,
            algorithm,
            public,
            id,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its id: the first four bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ key)`, big-endian.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is the key of the log of this name. A key vouches for the log of its own name: what it signs over another
    /// origin says nothing about either, and a witness's key is no log's.
    #[must_use]
    pub fn is_of_log(&self, origin: &str) -> bool {
        self.algorithm == Algorithm::Ed25519 && self.name.as_str() == origin
    }

    /// `NAME+ID`, for people.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}+{:08x}", self.name, self.id)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([&[self.algorithm.code()], self.public.as_slice()].concat());
        write!(formatter, "{}+{:08x}+{encoded}", self.name, self.id)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, algorithm, public) = parts(text, KeyError::Form)?;
        let key = Self::new(name, algorithm, *public);
        (key.id == id).then_some(key).ok_or(KeyError::Id)
    }
}

/// Why nothing was signed.
#[derive(Debug, Error)]
#[error("the key `{key}` did not sign: {why}")]
pub struct SignError {
    /// `NAME+ID`.
    pub key: String,
    /// What the signer says.
    pub why: String,
}

/// Whoever holds a private key: a file here, a key management service elsewhere. Called on threads that may block, and no record waits for it. What it gives is
/// checked with its public half. One that is remote gives up by itself after some seconds: a stop waits for the last signature.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public half.
    fn key(&self) -> &VerifierKey;

    /// The Ed25519 signature (RFC 8032, 64 bytes) of exactly these bytes.
    ///
    /// # Errors
    /// [`SignError`], such as a service that cannot be reached.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A private key in memory. Its text is `PRIVATE+KEY+NAME+ID+KEY`, as `golang.org/x/mod/sumdb/note` writes and reads it.
pub struct SigningKey {
    key: VerifierKey,
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

const PRIVATE_START: &str = "PRIVATE+KEY+";

impl SigningKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`SignError`] when there is no randomness.
    pub fn generate(name: KeyName, algorithm: Algorithm) -> Result<Self, SignError> {
        let refused = |name: &KeyName| SignError {
            key: name.to_string(),
            why: "no randomness from the system".to_owned(),
        };
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| refused(&name))?;
        Self::from_seed(name.clone(), algorithm, seed).ok_or_else(|| refused(&name))
    }

    fn from_seed(name: KeyName, algorithm: Algorithm, seed: Zeroizing<[u8; 32]>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(Self {
            key: VerifierKey::new(name, algorithm, public),
            seed,
            pair,
        })
    }

    /// The text of the key, for a file that only its owner can read.
    #[must_use]
    pub fn to_private_text(&self) -> Zeroizing<String> {
        let code = self.key.algorithm.code();
        let bytes = Zeroizing::new([&[code], self.seed.as_slice()].concat());
        let encoded = Zeroizing::new(STANDARD.encode(&bytes));
        Zeroizing::new(format!(
            "{PRIVATE_START}{}+{:08x}+{}",
            self.key.name,
            self.key.id,
            encoded.as_str()
        ))
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PRIVATE_START).ok_or(KeyError::PrivateForm)?;
        let (name, id, algorithm, seed) = parts(rest, KeyError::PrivateForm)?;
        let key = Self::from_seed(name, algorithm, seed).ok_or(KeyError::PrivateForm)?;
        (key.key.id == id).then_some(key).ok_or(KeyError::Id)
    }
}

impl Signer for SigningKey {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    /// The public half only.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("SigningKey")
            .field(&format_args!("{}", self.key))
            .finish()
    }
}

type Parts = (KeyName, u32, Algorithm, Zeroizing<[u8; 32]>);

/// Takes `NAME+ID+BASE64(type ‖ 32 bytes)` apart. The id is compared by the caller, who knows what it is of.
fn parts(text: &str, form: KeyError) -> Result<Parts, KeyError> {
    let mut pieces = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (pieces.next(), pieces.next(), pieces.next()) else {
        return Err(form);
    };
    let is_hex = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u32::from_str_radix(id, 16).ok().filter(|_| is_hex).ok_or(form)?;
    let decoded = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| form)?);
    let (code, bytes) = decoded.split_first().ok_or(form)?;
    let algorithm = Algorithm::from_code(*code).ok_or(KeyError::Algorithm(*code))?;
    let mut key = Zeroizing::new([0; 32]);
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| form)?;
    key.copy_from_slice(bytes);
    Ok((KeyName::new(name)?, id, algorithm, key))
}

fn key_id(name: &KeyName, algorithm: Algorithm, public: &[u8; 32]) -> u32 {
    let mut message = format!("{name}\n").into_bytes();
    message.push(algorithm.code());
    message.extend_from_slice(public);
    let hash = digest(&SHA256, &message);
    hash.as_ref().first_chunk().copied().map_or(0, u32::from_be_bytes)
}
