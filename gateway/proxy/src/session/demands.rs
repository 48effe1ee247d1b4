//! What the rules demand by now of a call under way, beside what they demanded when it began.
//!
//! It ends nothing: the keeper asks and ends. Invariant: a limit only ever becomes shorter than the one that a call began
//! with; one that rules take back is the old one again, so that nobody is told two ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures::task::AtomicWaker;
use model::decision::Obligations;

/// What is demanded by the rules that allowed a call last; nothing before they are asked anew.
#[derive(Debug, Default)]
pub(super) struct Demands {
    record: AtomicBool,
    /// Seconds; 0 when no rule demands it.
    idle: AtomicU64,
    longest: AtomicU64,
    /// Whoever waits for the end of the idle time that was demanded last.
    waiting: AtomicWaker,
}

impl Demands {
    /// Takes what is demanded from now on.
    pub(super) fn take(&self, owed: &Obligations) {
        self.record.store(owed.record, Ordering::Release);
        self.longest
            .store(owed.longest_seconds.unwrap_or_default(), Ordering::Release);
        let idle = owed.idle_seconds.unwrap_or_default();
        if self.idle.swap(idle, Ordering::AcqRel) != idle {
            self.waiting.wake();
        }
    }

    pub(super) fn record(&self) -> bool {
        self.record.load(Ordering::Acquire)
    }

    pub(super) fn longest(&self) -> Option<Duration> {
        span(&self.longest)
    }

    /// Whoever waits is woken when it changes.
    pub(super) fn idle(&self, waker: &Waker) -> Option<Duration> {
        self.waiting.register(waker);
        span(&self.idle)
    }
}

fn span(seconds: &AtomicU64) -> Option<Duration> {
    Some(seconds.load(Ordering::Acquire))
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}
