//! Verified tokens, remembered: bounded, keyed by a MAC so that no token is kept, and checked against time on each hit.
//!
//! Key: HMAC-SHA-256 under a key of this process over the length-prefixed audience and token.
//! An entry is served only while its token, its session check and its key set still stand. What was looked up before a
//! revocation is not remembered after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use model::time::Timestamp;
use quick_cache::sync::Cache;

use super::Identity;
use crate::observe::{Tally, closed};

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

impl Known {
    fn holds(&self, now: Timestamp, generation: u64) -> bool {
        let (Self::Good {
            until, generation: of, ..
        }
        | Self::Bad {
            until, generation: of, ..
        }) = self;
        now < *until && generation == *of
    }
}

/// The table of known tokens.
pub struct TokenCache {
    key: hmac::Key,
    good: Cache<Fingerprint, Known>,
    bad: Cache<Fingerprint, Known>,
    /// How often all was forgotten.
    epoch: AtomicU64,
    counts: Tally<{ Lookup::ALL.len() }>,
}

closed! {
    /// What looking a token up came to.
    Lookup {
        /// It was known to be good.
        Good = "good",
        /// It was known to be bad.
        Bad = "bad",
        /// It had to be verified.
        Miss = "miss",
    }
}

/// What was forgotten until now, read before something is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// How often all was forgotten.
    pub(super) const fn ends(self) -> u64 {
        self.0
    }
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
            epoch: AtomicU64::new(0),
            counts: Tally::default(),
        })
    }

    /// The MAC of `token` as presented to `audience`.
    #[must_use]
    pub(super) fn fingerprint(&self, audience: &str, token: &str) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [audience, token] {
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
        let known = self.good.get(fingerprint).or_else(|| self.bad.get(fingerprint));
        let known = known.filter(|known| known.holds(now, generation));
        self.counts.add(match &known {
            Some(Known::Good { .. }) => Lookup::Good,
            Some(Known::Bad { .. }) => Lookup::Bad,
            None => Lookup::Miss,
        } as usize);
        known
    }

    /// How often a look-up came to this.
    #[must_use]
    pub fn looked_up(&self, to: Lookup) -> u64 {
        self.counts.of(to as usize)
    }

    /// Tokens that are remembered: good and bad ones.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.good.len(), self.bad.len())
    }

    /// To be read before a look-up whose result is to be remembered.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Remembers what was looked up since `began`, unless all was forgotten in between: the look-up may be older than the
    /// revocation. Looked at after the insertion, so that one of the two sees the other whatever their order.
    pub(super) fn put(&self, fingerprint: Fingerprint, known: Known, began: Epoch) {
        let table = match known {
            Known::Good { .. } => &self.good,
            Known::Bad { .. } => &self.bad,
        };
        table.insert(fingerprint, known);
        if self.epoch() != began {
            table.remove(&fingerprint);
        }
    }

    /// Forgets all that is known: used when a session or a person is revoked.
    pub fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.good.clear();
        self.bad.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_before_a_revocation_is_not_remembered_after_it() {
        let cache = TokenCache::new(10).unwrap();
        let fingerprint = cache.fingerprint("prod", "token");
        let known = || Known::Good {
            identity: Arc::new(crate::identity::for_bench(
                "ann",
                &[],
                crate::identity::Credential::GatewayToken,
            )),
            until: Timestamp::MAX,
            generation: 1,
        };
        let began = cache.epoch();
        cache.clear();
        cache.put(fingerprint, known(), began);
        assert!(cache.get(&fingerprint, Timestamp::EPOCH, 1).is_none());
        cache.put(fingerprint, known(), cache.epoch());
        assert!(cache.get(&fingerprint, Timestamp::EPOCH, 1).is_some());
        cache.clear();
        assert!(cache.get(&fingerprint, Timestamp::EPOCH, 1).is_none());
    }
}
