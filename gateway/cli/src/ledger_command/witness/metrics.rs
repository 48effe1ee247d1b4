//! What a witness counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::witness::Witness;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proxy::observe::{Name, Sheet, number};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With a cosignature.
    Cosigned,
    /// No request of the protocol.
    Malformed,
    /// Of another log, or signed by another key.
    Unknown,
    /// From another size than the known one; the log asks again.
    Conflict,
    /// A log contradicts what it showed before.
    Contradiction,
    /// Too many at once.
    Full,
    /// The disk or the key failed.
    Fault,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Cosigned,
        Self::Malformed,
        Self::Unknown,
        Self::Conflict,
        Self::Contradiction,
        Self::Full,
        Self::Fault,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Cosigned => "cosigned",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Conflict => "conflict",
            Self::Contradiction => "contradiction",
            Self::Full => "full",
            Self::Fault => "fault",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Cosigned => 0,
            Self::Malformed => 1,
            Self::Unknown => 2,
            Self::Conflict => 3,
            Self::Contradiction => 4,
            Self::Full => 5,
            Self::Fault => 6,
        }
    }
}

/// Counts requests by how they ended.
#[derive(Debug)]
pub(crate) struct Counts {
    witness: Arc<Witness>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Counts {
    pub(crate) fn new(witness: Arc<Witness>) -> Self {
        Self {
            witness,
            outcomes: Default::default(),
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(count) = self.outcomes.get(outcome.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Collector for Counts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        let counts = Outcome::ALL.iter().zip(&self.outcomes);
        let rows = counts.map(|(outcome, count)| {
            let label = [("outcome", outcome.as_str())];
            (label, number(count.load(Ordering::Relaxed)))
        });
        sheet.counters(REQUESTS, rows)?;
        let known = self.witness.known();
        let rows = known.into_iter().map(|(log, size)| ([("log", log)], number(size)));
        sheet.gauges(KNOWN, rows)
    }
}

const REQUESTS: Name = Name {
    name: "gateway_witness_requests",
    says: "Requests to this witness, by how they ended; any `contradiction` is a log that shows two histories, or somebody who sends wrong proofs.",
};
const KNOWN: Name = Name {
    name: "gateway_witness_known_records",
    says: "Records under the newest checkpoint of a log that this witness has cosigned.",
};
