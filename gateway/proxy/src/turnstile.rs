//! How often, and how many at a time, each asker may make the gateway ask somebody else (promise 8).
//!
//! Not here: the question, and what the asker is told. Invariants: a place belongs to one asker and is given back only when
//! its question is done, whether or not anybody still waits for the answer; whoever uses up their own share takes nothing
//! from anybody else's; the table of askers is bounded, and one that is forgotten had been still for longest.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::time::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one asker may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Questions a second.
    pub(crate) per_second: u32,
    /// How many seconds' worth of questions may come at once.
    pub(crate) burst_seconds: u32,
    /// Questions under way at the same time; more wait.
    pub(crate) at_once: usize,
    /// How long they wait.
    pub(crate) wait: Duration,
    /// Askers that are remembered.
    pub(crate) askers: usize,
}

/// One turnstile for each asker.
pub(crate) struct Turnstile<K> {
    pace: Pace,
    askers: Cache<K, Arc<Asker>>,
}

/// The asker has used up its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnedAway;

#[derive(Debug)]
struct Asker {
    places: Arc<Semaphore>,
    /// When the next question is due at an even pace (GCRA), in nanoseconds since the epoch.
    due: AtomicU64,
}

impl<K> std::fmt::Debug for Turnstile<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turnstile")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash> Turnstile<K> {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            askers: Cache::new(pace.askers),
        }
    }

    /// A place for one question of `asker`; to be kept until the question is done. Cancel-safe.
    ///
    /// # Errors
    /// The asker's rate is used up, or no question of it ended in time.
    pub(crate) async fn pass(&self, asker: &K, now: Timestamp) -> Result<OwnedSemaphorePermit, TurnedAway> {
        let fresh = || {
            Ok::<_, TurnedAway>(Arc::new(Asker {
                places: Arc::new(Semaphore::new(self.pace.at_once)),
                due: AtomicU64::new(0),
            }))
        };
        let asker = self.askers.get_or_insert_with(asker, fresh)?;
        if !asker.is_due(now, &self.pace) {
            return Err(TurnedAway);
        }
        let place = Arc::clone(&asker.places).acquire_owned();
        match tokio::time::timeout(self.pace.wait, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(TurnedAway),
        }
    }
}

impl Asker {
    fn is_due(&self, now: Timestamp, pace: &Pace) -> bool {
        let now = u64::try_from(now.unix_nanos()).unwrap_or(0);
        let interval = 1_000_000_000 / u64::from(pace.per_second.max(1));
        let burst = u64::from(pace.burst_seconds) * 1_000_000_000;
        let next = |due: u64| {
            // Further ahead than that only after the clock was set back, which must shut nobody out.
            let is_possible = due <= now.saturating_add(burst).saturating_add(interval);
            let due = if is_possible { due.max(now) } else { now };
            (due.saturating_sub(now) <= burst).then(|| due.saturating_add(interval))
        };
        self.due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_second: 10,
        burst_seconds: 1,
        at_once: 2,
        wait: Duration::from_secs(5),
        askers: 100,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[tokio::test]
    async fn the_rate_of_one_is_nobody_elses_and_comes_back_with_time() {
        let turnstile = Turnstile::new(PACE);
        let mut passed = 0;
        while turnstile.pass(&"a", at(5)).await.is_ok() {
            passed += 1;
        }
        assert_eq!(passed, 11, "one second's worth at once and the one that is due");
        assert!(turnstile.pass(&"b", at(5)).await.is_ok());
        assert!(turnstile.pass(&"a", at(6)).await.is_ok());
        assert!(
            turnstile.pass(&"a", at(1)).await.is_ok(),
            "a clock that was set back shuts nobody out"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_when_its_question_is_done_and_not_before() {
        let turnstile = Turnstile::new(PACE);
        let first = turnstile.pass(&"a", at(5)).await.unwrap();
        let _second = turnstile.pass(&"a", at(5)).await.unwrap();
        assert_eq!(turnstile.pass(&"a", at(5)).await.unwrap_err(), TurnedAway);
        assert!(turnstile.pass(&"b", at(5)).await.is_ok());
        drop(first);
        assert!(turnstile.pass(&"a", at(5)).await.is_ok());
    }
}
