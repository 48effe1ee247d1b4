//! The standing check: beside requests, and as slowly as it is told to (`ledger.checkRate`), a running gateway reads its own ledger
//! again and compares it with what it signed. What does not hold is an alarm: a record, a line of `/readyz`, a metric, the log.
//!
//! It takes the gateway out of nothing: records that come are durable all the same, and whoever changed older ones would else have
//! found a switch that turns the gateway off.
//!
//! Full: the first [`MOST`] findings are told apart and recorded; what is found above them is counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::note::VerifierKey;
use ledger::verify::{StandingCheck, Step};
use ledger::{Disk, Ledger, RealDisk};
use proxy::audit::Station;
use proxy::observe::number;
use tokio_util::sync::CancellationToken;

use super::admin::Health;
use super::alarms::Alarms;

/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;
/// No round begins sooner after the one before, however small the ledger is.
const ROUND_AT_LEAST: Duration = Duration::from_secs(10);
/// Findings that are told apart.
const MOST: usize = 100;

/// What the check has found since the start of the process. A finding stays: somebody has to look, also when it does not show again.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether it is looked for at all.
    is_on: bool,
    seen: Mutex<Seen>,
    /// Those of them that are not recorded yet.
    unrecorded: Alarms,
    bytes: AtomicU64,
    rounds: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    /// The first one in words.
    first: Option<String>,
    known: BTreeSet<String>,
    count: u64,
}

impl Found {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// Whether the check is configured to run.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether this one is new, and told apart from others.
    fn take(&self, words: &str) -> bool {
        let mut seen = self.seen();
        if seen.known.contains(words) {
            return false;
        }
        seen.count += 1;
        seen.first.get_or_insert_with(|| words.to_owned());
        seen.known.len() < MOST && seen.known.insert(words.to_owned())
    }

    /// How many things did not hold; above [`MOST`] the same one may be counted again in each round.
    pub(super) fn count(&self) -> u64 {
        self.seen().count
    }

    /// Bytes that were read again.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Times that all durable records were looked at.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// The line of `/readyz`.
    pub(super) fn health(&self) -> Health {
        let seen = self.seen();
        seen.first.as_ref().map_or(Health::Good, |first| {
            let more = match seen.count {
                0 | 1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            Health::But(format!(
                "the ledger is not the one that was signed: {first}{more}; `gatescribe ledger verify` says all"
            ))
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chore.
#[derive(Debug)]
pub(super) struct Checker {
    pub(super) ledger: Arc<Ledger>,
    pub(super) audit: Arc<Station>,
    /// Where the ledger lies.
    pub(super) dir: PathBuf,
    /// Where it is written how far the check has come.
    pub(super) kept: PathBuf,
    /// Who signs the ledger.
    pub(super) keys: Vec<VerifierKey>,
    /// Bytes per second, above zero.
    pub(super) rate: u64,
    pub(super) found: Arc<Found>,
}

impl Checker {
    /// Goes round until the gateway stops.
    pub(super) async fn run(self, stop: CancellationToken) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&self.dir));
        let from = reached(&self.kept);
        let mut check = StandingCheck::new(disk, self.keys.clone(), from);
        let (mut begun, mut kept) = (tokio::time::Instant::now(), from);
        loop {
            let live = self.ledger.durable();
            let stepped = tokio::task::spawn_blocking(move || {
                let step = check.step(PIECE, live);
                (check, step)
            });
            let step;
            (check, step) = match stepped.await {
                Ok(stepped) => stepped,
                Err(error) => {
                    tracing::error!(error = %error, "the check of the ledger broke; it begins again when the gateway does");
                    return;
                }
            };
            self.tell(&step).await;
            if step.reached != kept {
                kept = step.reached;
                self.keep(kept);
            }
            let mut pause = Duration::from_secs_f64(number(step.bytes) / number(self.rate.max(1)));
            if step.is_over {
                pause = pause.max(ROUND_AT_LEAST.saturating_sub(begun.elapsed()));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            if step.is_over {
                begun = tokio::time::Instant::now();
            }
        }
    }

    async fn tell(&self, step: &Step) {
        self.found.bytes.fetch_add(step.bytes, Ordering::Relaxed);
        for finding in &step.findings {
            let words = finding.to_string();
            if self.found.take(&words) {
                tracing::error!(finding = words, "the ledger is not the one that was signed");
                let words = format!("the ledger is not the one that was signed: {words}");
                self.found.unrecorded.put(words);
            }
        }
        self.found.unrecorded.record(&self.audit).await;
        // Last: whoever sees the number of rounds rise sees what they found.
        self.found.rounds.fetch_add(u64::from(step.is_over), Ordering::Relaxed);
    }

    /// A note that is lost costs a part of a round, and no finding: the next one looks at everything.
    fn keep(&self, reached: u64) {
        let draft = self.kept.with_extension("new");
        let written = std::fs::write(&draft, format!("{reached}\n")).and_then(|()| std::fs::rename(&draft, &self.kept));
        if let Err(error) = written {
            tracing::warn!(file = %self.kept.display(), error = %error, "how far the check of the ledger has come cannot be kept");
        }
    }
}

fn reached(kept: &Path) -> u64 {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    text.trim_end().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
