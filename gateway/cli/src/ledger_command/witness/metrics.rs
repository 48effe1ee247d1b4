//! What a witness counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ledger::witness::Witness;
use model::time::Timestamp;
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
    /// A log contradicts what it showed before: its own key has signed that.
    Contradiction,
    /// Its key signed it, and what came with it proves nothing: the log forked, or a stranger sent a wrong proof.
    Unproved,
    /// Too many at once.
    Full,
    /// The disk or the key failed.
    Fault,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Cosigned,
        Self::Malformed,
        Self::Unknown,
        Self::Conflict,
        Self::Contradiction,
        Self::Unproved,
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
            Self::Unproved => "unproved",
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
            Self::Unproved => 5,
            Self::Full => 6,
            Self::Fault => 7,
        }
    }
}

/// What stands for the log of a request that names none of ours.
const NO_LOG: &str = "(none)";

/// Counts requests by their log and by how they ended.
#[derive(Debug)]
pub(crate) struct Counts {
    witness: Arc<Witness>,
    logs: BTreeMap<String, OfLog>,
    /// Of no log that is witnessed here.
    others: Outcomes,
    clock: fn() -> Timestamp,
}

type Outcomes = [AtomicU64; Outcome::ALL.len()];

#[derive(Debug)]
struct OfLog {
    outcomes: Outcomes,
    /// Since when nothing of it was cosigned: the last time, or the start; in seconds since 1970.
    since: AtomicI64,
}

impl Counts {
    pub(crate) fn new(witness: Arc<Witness>, clock: fn() -> Timestamp) -> Self {
        let since = clock().unix_seconds();
        let of_log = |(log, _): (String, u64)| {
            let counts = OfLog {
                outcomes: Outcomes::default(),
                since: AtomicI64::new(since),
            };
            (log, counts)
        };
        let logs = witness.known().into_iter().map(of_log).collect();
        Self {
            witness,
            logs,
            others: Outcomes::default(),
            clock,
        }
    }

    /// One more that ended so, and of which log it said that it is, if that is one of ours.
    pub(super) fn count(&self, log: Option<&str>, outcome: Outcome) {
        let of_log = log.and_then(|log| self.logs.get(log));
        if let Some(of_log) = of_log.filter(|_| outcome == Outcome::Cosigned) {
            of_log.since.store((self.clock)().unix_seconds(), Ordering::Relaxed);
        }
        let outcomes = of_log.map_or(&self.others, |of_log| &of_log.outcomes);
        if let Some(count) = outcomes.get(outcome.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each row of requests.
    fn rows(&self) -> Vec<([(&'static str, String); 2], f64)> {
        let logs = self.logs.iter().map(|(log, of_log)| (log.as_str(), &of_log.outcomes));
        let all = logs.chain(std::iter::once((NO_LOG, &self.others)));
        let each = |(log, outcomes): (&str, &Outcomes)| {
            let row = |(outcome, count): (&Outcome, &AtomicU64)| {
                let labels = [("log", log.to_owned()), ("outcome", outcome.as_str().to_owned())];
                (labels, number(count.load(Ordering::Relaxed)))
            };
            Outcome::ALL.iter().zip(outcomes).map(row).collect::<Vec<_>>()
        };
        all.flat_map(each).collect()
    }
}

impl Collector for Counts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        sheet.counters(REQUESTS, self.rows())?;
        let known = self.witness.known();
        let rows = known.into_iter().map(|(log, size)| ([("log", log)], number(size)));
        sheet.gauges(KNOWN, rows)?;
        let now = (self.clock)();
        let age = |of_log: &OfLog| {
            let since = Timestamp::from_unix_seconds(of_log.since.load(Ordering::Relaxed));
            now.since(since).as_secs_f64()
        };
        let rows = self
            .logs
            .iter()
            .map(|(log, of_log)| ([("log", log.clone())], age(of_log)));
        sheet.gauges(AGE, rows)
    }
}

const REQUESTS: Name = Name {
    name: "gateway_witness_requests",
    says: "Requests to this witness, by the log that they name and by how they ended. `contradiction` is a log that shows two histories, as its own key has signed; `unproved` is one as well, or somebody who sent an honest checkpoint with a wrong proof.",
};
const KNOWN: Name = Name {
    name: "gateway_witness_known_records",
    says: "Records under the newest checkpoint of a log that this witness has cosigned.",
};
const AGE: Name = Name {
    name: "gateway_witness_age_seconds",
    says: "Since this witness has cosigned something of a log; about a minute at most while the log asks. Before the first, since the start.",
};

#[cfg(test)]
mod tests {
    use ledger::note::{Algorithm, KeyName, Signer as _, SigningKey};
    use ledger::witness::WhenForgotten;
    use ledger::{Disk, RealDisk};

    use super::super::marker;
    use super::*;

    #[test]
    fn a_request_counts_for_its_log_alone_and_what_is_cosigned_makes_that_one_young() {
        static NOW: AtomicI64 = AtomicI64::new(1_790_000_000);
        let clock = || Timestamp::from_unix_seconds(NOW.load(Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str, algorithm| SigningKey::generate(KeyName::new(name).unwrap(), algorithm).unwrap();
        let (own, marker) = (key("w", Algorithm::Cosignature), marker(&folder.path().join("w.key")));
        ledger::witness::begin(&marker, own.key()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
        let logs = ["log.example/a", "log.example/b"].map(|name| key(name, Algorithm::Ed25519).key().clone());
        let opened = Witness::open(
            &disk,
            &marker,
            Arc::new(own),
            logs.into(),
            Arc::new(clock),
            WhenForgotten::Refuse,
        );
        let counts = Counts::new(Arc::new(opened.unwrap()), clock);
        NOW.fetch_add(300, Ordering::Relaxed);
        counts.count(Some("log.example/a"), Outcome::Cosigned);
        counts.count(Some("log.example/b"), Outcome::Unproved);
        counts.count(None, Outcome::Malformed);
        counts.count(Some("log.example/c"), Outcome::Malformed);
        NOW.fetch_add(7, Ordering::Relaxed);
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Arc::new(counts)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let moved: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.ends_with(" 0.0"))
            .collect();
        assert_eq!(
            moved,
            [
                "gateway_witness_requests_total{log=\"log.example/a\",outcome=\"cosigned\"} 1.0",
                "gateway_witness_requests_total{log=\"log.example/b\",outcome=\"unproved\"} 1.0",
                "gateway_witness_requests_total{log=\"(none)\",outcome=\"malformed\"} 2.0",
                "gateway_witness_age_seconds{log=\"log.example/a\"} 7.0",
                "gateway_witness_age_seconds{log=\"log.example/b\"} 307.0",
            ]
        );
    }
}
