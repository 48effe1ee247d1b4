//! The groups in an assertion: all of them, or how many there are and their hash. Never some of them: a service that refuses a
//! group would let in whom a cut list does not name.

use std::fmt::Write as _;

use serde_json::Value;

use crate::claims::Claims;
use crate::crypto::sha256;

/// Most groups that are named.
const MAX_NAMED: usize = 64;
/// Most bytes of theirs as JSON.
const MAX_NAMED_BYTES: usize = 1280;

/// The groups of whom an assertion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertedGroups(Told);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    All(Vec<String>),
    Counted { count: usize, hash: String },
}

impl AssertedGroups {
    /// All mapped groups. They are named where they are 64 and 1,280 bytes (as a JSON list) at most; else they are told as
    /// records tell them, by their number and hash.
    #[must_use]
    pub fn of<G: AsRef<str>>(groups: &[G]) -> Self {
        let named: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
        if named.len() <= MAX_NAMED && json_bytes(&named) <= MAX_NAMED_BYTES {
            return Self(Told::All(named.into_iter().map(str::to_owned).collect()));
        }
        Self(Told::Counted {
            count: named.len(),
            hash: hash(&named),
        })
    }

    /// All of them; `None`: there are more than are named.
    #[must_use]
    pub fn named(&self) -> Option<&[String]> {
        match &self.0 {
            Told::All(groups) => Some(groups),
            Told::Counted { .. } => None,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.0 {
            Told::All(groups) => groups.len(),
            Told::Counted { count, .. } => *count,
        }
    }

    /// Their hash where they are not named: SHA-256 over all, sorted, each followed by 0x00; hexadecimal, first 16 bytes. So
    /// stands it in records as `groups_hash`, too.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        match &self.0 {
            Told::All(_) => None,
            Told::Counted { hash, .. } => Some(hash),
        }
    }

    /// How many bytes of the payload they take.
    pub(super) fn json_bytes(&self) -> usize {
        self.named().map_or(0, json_bytes)
    }

    /// As the gateway writes them; `None` where the claims say it in another way, or in both.
    pub(super) fn read(claims: &Claims) -> Option<Self> {
        let told = (
            claims.value("groups"),
            claims.value("groups_count"),
            claims.value("groups_hash"),
        );
        match told {
            (Some(Value::Array(groups)), None, None) => {
                let groups = groups.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
                Some(Self::of(&groups)).filter(|groups| groups.named().is_some())
            }
            (None, Some(count), Some(Value::String(hash))) if is_hash(hash) => Some(Self(Told::Counted {
                count: usize::try_from(count.as_u64()?).ok()?,
                hash: hash.clone(),
            })),
            _ => None,
        }
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(groups: &[&str]) -> String {
    let mut sorted = groups.to_vec();
    sorted.sort_unstable();
    let mut all = Vec::new();
    for group in sorted {
        all.extend_from_slice(group.as_bytes());
        all.push(0);
    }
    let mut text = String::with_capacity(32);
    for byte in sha256(&all).iter().take(16) {
        // Writing to text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The length of a list of texts in JSON.
fn json_bytes<G: AsRef<str>>(groups: &[G]) -> usize {
    let texts: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
    // A list of texts always becomes JSON; one that did not would be too long to be named.
    serde_json::to_vec(&texts).map_or(usize::MAX, |json| json.len())
}
