//! The public file format `age-encryption.org/v1` (C2SP age), as far as a backup needs it: X25519 recipients, no armor. A file that is
//! written here is opened by any age program, and one that such a program encrypted again is read here.

use std::fmt;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::bech32;
use crate::secret::random_bytes;

const FIRST_LINE: &str = "age-encryption.org/v1";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
/// Plain bytes of one chunk of the payload.
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const FILE_KEY: usize = 16;
const NONCE: usize = 16;
/// Characters of a full line of base64.
const LINE: usize = 64;
/// Stanzas that are read of one header.
const MOST_STANZAS: usize = 1_000;

/// To whom a file is encrypted: the public half, `age1…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// Reads `age1…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = bech32::decode("age", text)?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// Who can open a file: the secret half, `AGE-SECRET-KEY-1…`.
pub struct Identity {
    secret: PrivateKey,
    public: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// Reads `AGE-SECRET-KEY-1…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = bech32::decode("age-secret-key-", text)?;
        let secret = PrivateKey::from_private_key(&X25519, &bytes).ok()?;
        let public = secret.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { secret, public })
    }

    /// All of a file as `age-keygen` writes it: one in each line, and lines that begin with `#`. `None`: a line is something else, or there
    /// is none.
    #[must_use]
    pub fn parse_file(text: &str) -> Option<Vec<Self>> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let all: Vec<Self> = lines.map(Self::parse).collect::<Option<_>>()?;
        (!all.is_empty()).then_some(all)
    }
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unopened {
    /// Not of this format, or damaged in its head.
    #[error(
        "it is no file of the format `{}`, or its head is damaged (what is armored has to be decoded first)",
        FIRST_LINE
    )]
    Format,
    /// None of the identities is one it was encrypted to.
    #[error("it was encrypted to other recipients than these")]
    Recipient,
    /// Changed or cut.
    #[error("it was changed or cut since it was written")]
    Changed,
}

/// Encrypts to all of these; each alone can open it. `None`: there is no recipient or no random number, or cryptography says no.
pub(super) fn seal(plain: &[u8], recipients: &[Recipient]) -> Option<Vec<u8>> {
    if recipients.is_empty() {
        return None;
    }
    let file_key = random_bytes::<FILE_KEY>().ok()?;
    let mut head = format!("{FIRST_LINE}\n");
    for recipient in recipients {
        let (share, wrapped) = wrap(&file_key, recipient)?;
        head.push_str(&format!(
            "-> X25519 {}\n{}\n",
            STANDARD_NO_PAD.encode(share),
            STANDARD_NO_PAD.encode(wrapped)
        ));
    }
    head.push_str("---");
    let mac = hmac::sign(&head_key(&file_key)?, head.as_bytes());
    head.push_str(&format!(" {}\n", STANDARD_NO_PAD.encode(mac)));
    let nonce = random_bytes::<NONCE>().ok()?;
    let key = payload_key(&file_key, &nonce)?;
    let mut sealed = head.into_bytes();
    sealed.extend(nonce);
    let mut chunks = plain.chunks(CHUNK).enumerate().peekable();
    if chunks.peek().is_none() {
        put(&key, 0, true, &[], &mut sealed)?;
    }
    while let Some((number, chunk)) = chunks.next() {
        put(&key, number, chunks.peek().is_none(), chunk, &mut sealed)?;
    }
    Some(sealed)
}

/// Decrypts a whole file, or nothing of it.
///
/// # Errors
/// In three sorts, see [`Unopened`].
pub(super) fn open(sealed: &[u8], identities: &[Identity]) -> Result<Vec<u8>, Unopened> {
    let head = Head::read(sealed).ok_or(Unopened::Format)?;
    let unwrapped = head
        .stanzas
        .iter()
        .find_map(|stanza| identities.iter().find_map(|identity| unwrap(stanza, identity)));
    let file_key = unwrapped.ok_or(Unopened::Recipient)?;
    let mac_key = head_key(&file_key).ok_or(Unopened::Changed)?;
    hmac::verify(&mac_key, head.signed, &head.mac).map_err(|_| Unopened::Changed)?;
    payload(head.payload, &file_key).ok_or(Unopened::Changed)
}

fn payload(sealed: &[u8], file_key: &[u8; FILE_KEY]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let key = payload_key(file_key, nonce)?;
    let mut plain = Vec::with_capacity(sealed.len());
    let mut chunks = sealed.chunks(CHUNK + TAG).enumerate().peekable();
    chunks.peek()?;
    while let Some((number, chunk)) = chunks.next() {
        let is_last = chunks.peek().is_none();
        let mut chunk = chunk.to_vec();
        let opened = key
            .open_in_place(place(number, is_last)?, Aad::empty(), &mut chunk)
            .ok()?;
        // Only of an empty file is the last chunk empty.
        if opened.is_empty() && number > 0 {
            return None;
        }
        plain.extend_from_slice(opened);
    }
    Some(plain)
}

fn put(key: &LessSafeKey, number: usize, is_last: bool, chunk: &[u8], sealed: &mut Vec<u8>) -> Option<()> {
    let mut chunk = chunk.to_vec();
    key.seal_in_place_append_tag(place(number, is_last)?, Aad::empty(), &mut chunk)
        .ok()?;
    sealed.append(&mut chunk);
    Some(())
}

/// The nonce of a chunk: its number in 11 bytes, and whether it is the last.
fn place(number: usize, is_last: bool) -> Option<Nonce> {
    let number = u64::try_from(number).ok()?.to_be_bytes();
    let mut nonce = [0; NONCE_LEN];
    nonce.get_mut(3..11)?.copy_from_slice(&number);
    *nonce.last_mut()? = u8::from(is_last);
    Some(Nonce::assume_unique_for_key(nonce))
}

/// The wrapped file key as it stands in a head.
struct Stanza {
    share: [u8; 32],
    wrapped: [u8; FILE_KEY + TAG],
}

struct Head<'a> {
    stanzas: Vec<Stanza>,
    /// What the code over the head covers.
    signed: &'a [u8],
    mac: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let mut lines = Lines { file, at: 0 };
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut stanzas = Vec::new();
        for _ in 0..MOST_STANZAS {
            let begins = lines.at;
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix("--- ") {
                return Some(Self {
                    stanzas,
                    signed: file.get(..begins.checked_add(3)?)?,
                    mac: STANDARD_NO_PAD.decode(mac).ok()?,
                    payload: file.get(lines.at..)?,
                });
            }
            let mut words = line.strip_prefix("-> ")?.split(' ');
            let (kind, share, more) = (words.next()?, words.next(), words.next());
            let body = body(&mut lines)?;
            if kind == "X25519" {
                let share = STANDARD_NO_PAD.decode(share?).ok()?.try_into().ok()?;
                let wrapped = body.try_into().ok()?;
                more.is_none().then_some(())?;
                stanzas.push(Stanza { share, wrapped });
            }
        }
        None
    }
}

/// Full lines, and one that is shorter: perhaps empty.
fn body(lines: &mut Lines<'_>) -> Option<Vec<u8>> {
    let mut text = String::new();
    loop {
        let line = lines.next()?;
        if line.len() > LINE {
            return None;
        }
        text.push_str(line);
        if line.len() < LINE {
            return STANDARD_NO_PAD.decode(text).ok();
        }
    }
}

struct Lines<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.file.get(self.at..)?;
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        self.at = self.at.checked_add(end)?.checked_add(1)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}

fn wrap(file_key: &[u8; FILE_KEY], recipient: &Recipient) -> Option<([u8; 32], Vec<u8>)> {
    let once = PrivateKey::generate(&X25519).ok()?;
    let share: [u8; 32] = once.compute_public_key().ok()?.as_ref().try_into().ok()?;
    let key = wrapping_key(&once, &recipient.0, &[&share, &recipient.0])?;
    let mut wrapped = file_key.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), &mut wrapped)
        .ok()?;
    Some((share, wrapped))
}

fn unwrap(stanza: &Stanza, identity: &Identity) -> Option<[u8; FILE_KEY]> {
    let key = wrapping_key(&identity.secret, &stanza.share, &[&stanza.share, &identity.public])?;
    let mut wrapped = stanza.wrapped;
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let file_key = key.open_in_place(nonce, Aad::empty(), &mut wrapped).ok()?;
    (&*file_key).try_into().ok()
}

fn wrapping_key(secret: &PrivateKey, public: &[u8; 32], salt: &[&[u8; 32]; 2]) -> Option<LessSafeKey> {
    let salt: Vec<u8> = salt.iter().flat_map(|half| half.iter().copied()).collect();
    let agreed = agree(secret, UnparsedPublicKey::new(&X25519, public), (), |shared| {
        derived(&salt, shared, INFO).ok_or(())
    });
    agreed.ok().and_then(cipher)
}

fn head_key(file_key: &[u8; FILE_KEY]) -> Option<hmac::Key> {
    Some(hmac::Key::new(hmac::HMAC_SHA256, &derived(&[], file_key, b"header")?))
}

fn payload_key(file_key: &[u8; FILE_KEY], nonce: &[u8; NONCE]) -> Option<LessSafeKey> {
    cipher(derived(nonce, file_key, b"payload")?)
}

fn cipher(key: [u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?))
}

/// HKDF-SHA-256 (RFC 5869).
fn derived(salt: &[u8], secret: &[u8], info: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let from = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    from.expand(&[info], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A secret half, and its public one.
    pub(crate) fn pair(number: u8) -> (Identity, Recipient) {
        let text = bech32::encode("age-secret-key-", &[number; 32]);
        let identity = Identity::parse(&text.to_uppercase()).unwrap();
        let recipient = Recipient::parse(&bech32::encode("age", &identity.public)).unwrap();
        (identity, recipient)
    }

    /// Made by `filippo.io/age` 1.2.1 with a key of its own.
    #[test]
    fn a_file_of_another_age_program_is_opened() {
        let identities = Identity::parse_file(include_str!("foreign.key")).unwrap();
        let plain = open(include_bytes!("foreign.age"), &identities).unwrap();
        assert_eq!(plain, b"one line of plain text\n");
        let named = "age1gyk3fjxz8ew36ynuaxgn8vvsrzrcavxvg7dtndecctps5ven950ql2mjv5";
        assert_eq!(Recipient::parse(named).unwrap().0, identities[0].public);
    }

    #[test]
    fn each_recipient_alone_opens_it_and_nobody_else_at_every_length_of_the_last_chunk() {
        let ((alice, to_alice), (bob, to_bob), (eve, _)) = (pair(1), pair(2), pair(3));
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK] {
            let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let sealed = seal(&plain, &[to_alice.clone(), to_bob.clone()]).unwrap();
            assert_eq!(open(&sealed, std::slice::from_ref(&alice)).unwrap(), plain, "{length}");
            assert_eq!(open(&sealed, std::slice::from_ref(&bob)).unwrap(), plain, "{length}");
            assert_eq!(open(&sealed, std::slice::from_ref(&eve)), Err(Unopened::Recipient));
        }
        assert_eq!(seal(b"plain", &[]), None, "to nobody is to everybody who loses it");
    }

    #[test]
    fn each_changed_bit_and_each_cut_is_found() {
        let (identity, recipient) = pair(1);
        let identities = [identity];
        let sealed = seal(&[7; 300], &[recipient]).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &identities).is_err(), "byte {at}");
            assert!(open(&sealed[..at], &identities).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn whole_chunks_that_are_missing_or_stand_elsewhere_are_found() {
        let (identity, recipient) = pair(1);
        let identities = [identity];
        let sealed = seal(&vec![7; 3 * CHUNK], &[recipient]).unwrap();
        let chunk = CHUNK + TAG;
        let (head, chunks) = sealed.split_at(sealed.len() - 3 * chunk);
        let of = |order: &[usize]| -> Vec<u8> {
            let chunks = order.iter().flat_map(|&at| &chunks[at * chunk..(at + 1) * chunk]);
            head.iter().chain(chunks).copied().collect()
        };
        assert!(open(&of(&[0, 1, 2]), &identities).is_ok());
        for order in [&[0, 1][..], &[1, 0, 2], &[0, 2], &[2], &[]] {
            assert_eq!(open(&of(order), &identities), Err(Unopened::Changed), "{order:?}");
        }
    }

    #[test]
    fn a_file_of_identities_has_nothing_else_in_it() {
        let one = bech32::encode("age-secret-key-", &[1; 32]).to_uppercase();
        assert_eq!(
            Identity::parse_file(&format!("# a comment\n\n{one}\n{one}\n"))
                .unwrap()
                .len(),
            2
        );
        for wrong in ["", "# only a comment\n", "age1qqq\n", &format!("{one}\nno key\n")] {
            assert!(Identity::parse_file(wrong).is_none(), "{wrong}");
        }
    }
}
