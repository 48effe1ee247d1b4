//! When an issuer's keys are fetched: at most one fetch at a time, at most one per cool-down, whatever tokens arrive.
//!
//! The state machine of O-12 to O-15: a new key is found by the first token that names it, a flood of invented names
//! costs one fetch per cool-down, a failing provider changes nothing for tokens whose keys are known, and a key that the
//! provider withdrew stops at the next fetch. Time is always an argument; the caller sends what [`KeyState`] says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::time::Timestamp;

use super::{Key, KeySet, KeySetError};
use crate::Answer;

/// Between two fetches that tokens cause.
pub(crate) const COOL_DOWN: Duration = Duration::from_secs(30);
/// Between two fetches in any case.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// A fetch that has not reported by then is taken for lost, so that a dropped task cannot stop all fetching.
const FETCH_DEADLINE: Duration = Duration::from_secs(20);
/// Names remembered as unknown. When full the one that ends first makes room; the cool-down still holds.
const MAX_NEGATIVE: usize = 256;

/// What to do with a token whose `kid` is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKey {
    /// Fetch the set now, report by [`KeyState::fetched`], then verify again.
    Fetch,
    /// Another token's fetch is under way: wait for it, then verify again.
    Wait,
    /// Refuse at once: asked for lately, and it was not there.
    Negative,
}

/// What a fetch changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Same keys.
    Unchanged,
    /// Other keys: the generation went up, and results under removed keys must go.
    Changed {
        /// RFC 7638 thumbprints that are gone.
        removed: Vec<[u8; 32]>,
        /// Names that now stand for another key: a provider never does that in a rotation, so somebody should look.
        reused_names: Vec<String>,
    },
    /// Nothing: the last good set stays.
    Failed(KeySetError),
}

/// The keys of one issuer and the times that matter.
#[derive(Debug)]
pub struct KeyState {
    set: Option<Arc<KeySet>>,
    generation: u64,
    in_flight_since: Option<Timestamp>,
    last_fetch: Option<Timestamp>,
    last_success: Option<Timestamp>,
    next_refresh: Timestamp,
    failures: u32,
    /// Somebody wanted the keys while a fetch was under way, which may have seen the old ones.
    wanted_again: bool,
    negative: BTreeMap<Box<str>, Timestamp>,
}

impl Default for KeyState {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyState {
    /// No keys yet; the first [`Self::due`] asks for them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: None,
            generation: 0,
            in_flight_since: None,
            last_fetch: None,
            last_success: None,
            next_refresh: Timestamp::from_unix_nanos(i64::MIN),
            failures: 0,
            wanted_again: false,
            negative: BTreeMap::new(),
        }
    }

    /// The keys in use, if there ever were any.
    #[must_use]
    pub fn keys(&self) -> Option<&Arc<KeySet>> {
        self.set.as_ref()
    }

    /// Goes up whenever the keys change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the keys were last fetched well; `None`: never, the issuer is not ready.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }

    /// Fetches that failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When to ask [`Self::due`] next.
    #[must_use]
    pub fn next_refresh(&self) -> Timestamp {
        self.next_refresh
    }

    /// Whether the background should fetch now; answers `true` once per fetch.
    pub fn due(&mut self, now: Timestamp) -> bool {
        self.notice_clock(now);
        let due = now >= self.next_refresh && !self.is_in_flight(now);
        if due {
            self.start(now);
        }
        due
    }

    /// An operator wants the keys as they are now: no cool-down holds that up, as nobody else can ask for it. The next
    /// [`Self::due`] answers `true`; behind a fetch that is under way, it does when that has reported.
    pub fn want(&mut self, now: Timestamp) {
        self.wanted_again = self.is_in_flight(now);
        self.next_refresh = now;
    }

    /// A token names a key that is not in the set.
    pub fn on_unknown_kid(&mut self, kid: &str, now: Timestamp) -> UnknownKey {
        self.notice_clock(now);
        if self.is_in_flight(now) {
            return UnknownKey::Wait;
        }
        if self.negative.get(kid).is_some_and(|until| now < *until) {
            return UnknownKey::Negative;
        }
        if self.last_fetch.is_some_and(|last| now < last.plus(COOL_DOWN)) {
            return UnknownKey::Negative;
        }
        self.remember(kid, now);
        self.start(now);
        UnknownKey::Fetch
    }

    /// Reports a fetch. `None`: no answer came.
    pub fn fetched(&mut self, answer: Option<&Answer<'_>>, now: Timestamp) -> Fetched {
        self.in_flight_since = None;
        let wanted_again = std::mem::take(&mut self.wanted_again);
        let read = answer.ok_or(KeySetError::Unreachable).and_then(KeySet::from_answer);
        let fetched = match read {
            Ok(set) => {
                self.failures = 0;
                self.last_success = Some(now);
                self.next_refresh = now.plus(answer.map_or(LONGEST_INTERVAL, interval));
                self.replace(set)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.next_refresh = now.plus(backoff(self.failures));
                Fetched::Failed(error)
            }
        };
        if wanted_again {
            self.next_refresh = now;
        }
        fetched
    }

    /// The same keys stay the same `Arc`: whoever compares by it forgets nothing then.
    fn replace(&mut self, new: KeySet) -> Fetched {
        let Some(old) = self.set.clone() else {
            self.set = Some(Arc::new(new));
            self.generation += 1;
            return Fetched::Changed {
                removed: Vec::new(),
                reused_names: Vec::new(),
            };
        };
        for key in new.keys() {
            if let Some(kid) = &key.kid {
                self.negative.remove(kid.as_str());
            }
        }
        let has = |set: &KeySet, key: &Key| set.keys().iter().any(|other| other.is_same(key));
        let removed: Vec<_> = old.keys().iter().filter(|key| !has(&new, key)).collect();
        let added: Vec<_> = new.keys().iter().filter(|key| !has(&old, key)).collect();
        if removed.is_empty() && added.is_empty() {
            return Fetched::Unchanged;
        }
        let removed = removed.into_iter().map(|key| key.thumbprint).collect();
        let reused_names = added
            .iter()
            .filter(|key| {
                old.keys()
                    .iter()
                    .any(|known| known.conflicts(key) && known.thumbprint != key.thumbprint)
            })
            .filter_map(|key| key.kid.clone())
            .collect();
        self.set = Some(Arc::new(new));
        self.generation += 1;
        Fetched::Changed { removed, reused_names }
    }

    fn start(&mut self, now: Timestamp) {
        self.in_flight_since = Some(now);
        self.last_fetch = Some(now);
        // A fetch that gets lost is tried again as a failed one would be.
        self.next_refresh = now.plus(COOL_DOWN);
    }

    fn is_in_flight(&self, now: Timestamp) -> bool {
        self.in_flight_since
            .is_some_and(|since| now < since.plus(FETCH_DEADLINE))
    }

    fn remember(&mut self, kid: &str, now: Timestamp) {
        self.negative.retain(|_, until| now < *until);
        if self.negative.len() >= MAX_NEGATIVE {
            let first = self
                .negative
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(kid, _)| kid.clone());
            first.and_then(|kid| self.negative.remove(&kid));
        }
        self.negative.insert(kid.into(), now.plus(COOL_DOWN));
    }

    /// A clock that was set back must not stretch a pause by the size of the step.
    fn notice_clock(&mut self, now: Timestamp) {
        if self.last_fetch.is_some_and(|last| now < last) {
            self.last_fetch = Some(now);
            self.in_flight_since = self.in_flight_since.map(|_| now);
            self.negative.clear();
        }
        self.next_refresh = self.next_refresh.min(now.plus(LONGEST_INTERVAL));
    }
}

/// 30 seconds, doubling up to 5 minutes.
fn backoff(failures: u32) -> Duration {
    COOL_DOWN
        .saturating_mul(1 << failures.saturating_sub(1).min(4))
        .min(Duration::from_secs(300))
}

/// `max-age` of the answer, between the cool-down and an hour.
fn interval(answer: &Answer<'_>) -> Duration {
    let control = answer
        .headers
        .get(http::header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    let seconds = control.and_then(|control| {
        control.split(',').find_map(|directive| {
            directive
                .trim()
                .strip_prefix("max-age=")?
                .trim_matches('"')
                .parse()
                .ok()
        })
    });
    seconds
        .map_or(LONGEST_INTERVAL, Duration::from_secs)
        .clamp(COOL_DOWN, LONGEST_INTERVAL)
}
