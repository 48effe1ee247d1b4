//! Which checkpoints that came without a proof are written into the log: who has honest ones could fill it, and who fills it must not hide those of another
//! ledger, nor of another day.
//!
//! **When it is full:** of each ledger, [`MOST`] are written that came within [`WITHIN`] of the first of them. Further ones are counted, as all are, and the next
//! of them begins a new count when that time is over. What was written then is written again if it still comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use model::time::Timestamp;

/// Checkpoints of one ledger that are written at most, from the first of them on.
const MOST: usize = 100;
/// For so long.
const WITHIN: Duration = Duration::from_hours(1);

/// What was written of each ledger lately. There are as many as are witnessed: of no other is anything in doubt.
#[derive(Debug, Default)]
pub(super) struct Unproved {
    logs: Mutex<BTreeMap<String, Written>>,
}

#[derive(Debug)]
struct Written {
    since: Timestamp,
    /// SHA-256 of each: how long a checkpoint is, its ledger says.
    checkpoints: BTreeSet<Vec<u8>>,
}

impl Unproved {
    /// Whether this checkpoint of the ledger `log` is to be written; from then on it was.
    pub(super) fn is_new(&self, log: &str, checkpoint: &str, now: Timestamp) -> bool {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = || Written {
            since: now,
            checkpoints: BTreeSet::new(),
        };
        let written = logs.entry(log.to_owned()).or_insert_with(begun);
        // A clock that was set back silences nobody until it is where it was.
        if now < written.since || now.since(written.since) >= WITHIN {
            *written = begun();
        }
        let hash = digest(&SHA256, checkpoint.as_bytes());
        written.checkpoints.len() < MOST && written.checkpoints.insert(hash.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At this second.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_790_000_000 + second)
    }

    /// How many of these many different ones of `log` are written at this second.
    fn written(unproved: &Unproved, log: &str, many: usize, second: i64) -> usize {
        (0..many)
            .filter(|number| unproved.is_new(log, &format!("{log}\n{second} {number}\n"), at(second)))
            .count()
    }

    #[test]
    fn promise_5_a_ledger_whose_checkpoints_fill_the_log_silences_no_other_and_itself_for_an_hour_at_most() {
        let unproved = Unproved::default();
        assert_eq!(written(&unproved, "noisy", 1_000, 0), MOST);
        assert_eq!(written(&unproved, "noisy", 1, 3_599), 0);
        assert_eq!(written(&unproved, "quiet", 1, 10), 1, "the fork of another is written");
        assert_eq!(
            written(&unproved, "noisy", 1_000, 3_600),
            MOST,
            "and its own later, too"
        );
        assert_eq!(written(&unproved, "noisy", 1, 3_601), 0);
        assert_eq!(written(&unproved, "noisy", 1, -7_200), 1, "a clock was set back");
    }

    #[test]
    fn a_checkpoint_that_comes_again_and_again_is_written_once_an_hour() {
        let unproved = Unproved::default();
        let comes = |second: i64| unproved.is_new("a", "the same", at(second));
        let written: Vec<i64> = (0..10_800).step_by(60).filter(|second| comes(*second)).collect();
        assert_eq!(written, [0, 3_600, 7_200]);
        assert!(unproved.is_new("b", "the same", at(10_800)));
    }
}
