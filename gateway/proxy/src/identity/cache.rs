//! Verified tokens, remembered: bounded, keyed by a MAC so that no token is kept, and checked against time on each hit.
//!
//! Key: HMAC-SHA-256 under a key of this process over the length-prefixed token and cluster (protocol.md R-01).
//! An entry is served only while its token, its session check and its key set still stand.

use std::sync::Arc;

use aws_lc_rs::hmac;
use model::cluster::ClusterId;
use model::time::Timestamp;
use quick_cache::sync::Cache;

use super::Identity;

/// The MAC that stands for a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// What was found out about a token.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It proves this identity until `until`, while the keys are of `generation`.
    Good {
        /// Whom it proves.
        identity: Arc<Identity>,
        /// The earlier of the token's end and the next look at its session.
        until: Timestamp,
        /// The generation of the issuers' keys that verified it.
        generation: u64,
    },
    /// It was refused, in these words; remembered for a moment so that repeating it costs nothing.
    Bad {
        /// Words for the caller, without the token.
        why: Arc<str>,
        /// Until when this is remembered.
        until: Timestamp,
        /// The generation of keys that refused it.
        generation: u64,
    },
}

/// The table of known tokens.
pub struct TokenCache {
    key: hmac::Key,
    good: Cache<Fingerprint, Known>,
    bad: Cache<Fingerprint, Known>,
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache")
            .field("good", &self.good.len())
            .field("bad", &self.bad.len())
            .finish_non_exhaustive()
    }
}

/// The random key could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes for the key of the token cache")]
pub struct NoRandom;

impl TokenCache {
    /// A table for `entries` good tokens; refused ones have a table of their own, so that a flood of garbage evicts no
    /// good one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new(entries: usize) -> Result<Self, NoRandom> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| NoRandom)?;
        Ok(Self {
            key,
            good: Cache::new(entries),
            bad: Cache::new(entries.min(10_000)),
        })
    }

    /// The MAC of `token` as presented to `cluster`.
    #[must_use]
    pub(super) fn fingerprint(&self, cluster: &ClusterId, token: &str) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [cluster.as_str(), token] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Fingerprint(bytes)
    }

    /// What is known, if it still holds at `now` under keys of `generation`.
    #[must_use]
    pub(super) fn get(&self, fingerprint: &Fingerprint, now: Timestamp, generation: u64) -> Option<Known> {
        let known = self.good.get(fingerprint).or_else(|| self.bad.get(fingerprint))?;
        let (Known::Good {
            until, generation: of, ..
        }
        | Known::Bad {
            until, generation: of, ..
        }) = &known;
        (now < *until && generation == *of).then_some(known)
    }

    /// Remembers.
    pub(super) fn put(&self, fingerprint: Fingerprint, known: Known) {
        match known {
            Known::Good { .. } => self.good.insert(fingerprint, known),
            Known::Bad { .. } => self.bad.insert(fingerprint, known),
        }
    }

    /// Forgets all that is known: used when a session or a person is revoked.
    pub fn clear(&self) {
        self.good.clear();
        self.bad.clear();
    }
}
