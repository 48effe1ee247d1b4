//! Gaps whose record is durable and not signed yet: they stay in the file that counts, so that the next start writes those again whose
//! record nothing proves.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::tally::{Counted, Gap};

/// The file has room for two gaps.
///
/// **When it is full:** those whose calls no record counts come first, and of the others the latest. So one is left out only where a
/// third begins before a signature covers the record of the first, which takes a second; were the process killed then, its record would
/// excuse nothing.
const MOST: usize = 2;

/// Tells how many records of the ledger are signed at the moment.
#[derive(Clone)]
pub struct SignedSize(Arc<dyn Fn() -> u64 + Send + Sync>);

impl SignedSize {
    /// Asks this each second or so while the record of a gap waits for its signature. A signature counts once it would be there after a
    /// crash.
    pub fn new(size: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(size))
    }

    pub(super) fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for SignedSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SignedSize")
    }
}

/// Gaps whose record is durable and not known to be signed, the oldest first; each says to be behind so many records as its own is.
#[derive(Debug, Default)]
pub(super) struct Recorded(VecDeque<Gap>);

impl Recorded {
    /// The record of this gap is durable, under this number.
    pub(super) fn push(&mut self, gap: Gap, seq: u64) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Gap { behind: seq, ..gap });
    }

    /// So many records are signed.
    pub(super) fn forget_below(&mut self, signed: u64) {
        self.0.retain(|gap| gap.behind >= signed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is counted, and these where it leaves room. A start looks for the record of each gap in the file, in whichever place it
    /// stands.
    pub(super) fn beside(&self, counted: &Counted) -> Counted {
        let mut latest = self.0.iter().rev().copied();
        let mut all = *counted;
        for place in [&mut all.gap, &mut all.sealed] {
            if place.is_none() {
                *place = latest.next();
            }
        }
        all
    }
}
