//! The standing check: beside requests, and as slowly as it is told to (`ledger.checkRate`), a running gateway reads its own ledger
//! again and compares it with what it signed. What does not hold is an alarm: a record, a line of `/readyz`, a metric, the log.
//!
//! It takes the gateway out of nothing: records that come are durable all the same, and whoever changed older ones would else have
//! found a switch that turns the gateway off.
//!
//! A check that breaks is an alarm, too, and begins again: what breaks it stands in the files, and whoever could end it without a word would have
//! found a switch that turns it off.
//!
//! Full: the first [`MOST`] findings are told apart and recorded; what is found above them is counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::note::VerifierKey;
use ledger::verify::{Fault, StandingCheck, Step};
use ledger::{Disk, Ledger};
use proxy::audit::Station;
use proxy::observe::number;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::admin::Health;
use super::alarms::Alarms;
use super::unsigned;

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
    /// Why nothing is looked at any more.
    ended: Mutex<Option<String>>,
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
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ended = ended.filter(|ended| seen.first.as_ref() != Some(ended));
        let found = seen.first.as_ref().map(|first| {
            let more = match seen.count {
                0 | 1 => String::new(),
                count => format!(", and {} more", count.saturating_sub(1)),
            };
            format!("{first}{more}; `gatescribe ledger verify` says all")
        });
        let all: Vec<String> = ended.into_iter().chain(found).collect();
        if all.is_empty() {
            Health::Good
        } else {
            Health::But(all.join("; "))
        }
    }

    /// An alarm: said once, counted, and to be recorded.
    fn alarm(&self, words: String) {
        if self.take(&words) {
            tracing::error!(finding = words, "the standing check of the ledger raises an alarm");
            self.unrecorded.put(words);
        }
    }

    /// An alarm that is logged and recorded already.
    pub(super) fn say(&self, words: &str) {
        self.take(words);
    }

    /// Waits for the end of the task that checks: before the gateway stops, nobody else would say that it is gone.
    async fn watch(&self, checking: JoinHandle<()>, audit: &Station, stop: &CancellationToken) {
        let ended = checking.await;
        if !stop.is_cancelled() {
            self.end(&ended.map_or_else(why, |()| "by itself".to_owned()));
            self.unrecorded.record(audit).await;
        }
    }

    /// Nothing is looked at from now on.
    fn end(&self, why: &str) {
        let words = format!(
            "the check of the ledger has ended ({why}): its files are not looked at until the gateway is started again"
        );
        self.alarm(words.clone());
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
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
    pub(super) disk: Arc<dyn Disk>,
    /// Where it is written how far the check has come.
    pub(super) kept: PathBuf,
    /// Who signs the ledger.
    pub(super) keys: Vec<VerifierKey>,
    /// Bytes per second, above zero.
    pub(super) rate: u64,
    pub(super) found: Arc<Found>,
}

impl Checker {
    /// Goes round until the gateway stops. Should it end before, that is said.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (found, audit) = (Arc::clone(&self.found), Arc::clone(&self.audit));
        let checking = tokio::spawn(self.go_round(stop.clone()));
        found.watch(checking, &audit, &stop).await;
    }

    async fn go_round(self, stop: CancellationToken) {
        let from = reached(&self.kept);
        let mut check = self.check(from);
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
                    let why = why(error);
                    let words = format!(
                        "the check of the ledger broke in the segment of record {kept}, and begins anew: {why}"
                    );
                    self.found.alarm(words);
                    self.found.unrecorded.record(&self.audit).await;
                    check = self.check(0);
                    if !waited(ROUND_AT_LEAST, &stop).await {
                        return;
                    }
                    begun = tokio::time::Instant::now();
                    continue;
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
            if !waited(pause, &stop).await {
                return;
            }
            if step.is_over {
                begun = tokio::time::Instant::now();
            }
        }
    }

    fn check(&self, from: u64) -> StandingCheck {
        StandingCheck::new(Arc::clone(&self.disk), self.keys.clone(), from)
    }

    async fn tell(&self, step: &Step) {
        self.found.bytes.fetch_add(step.bytes, Ordering::Relaxed);
        for finding in &step.findings {
            self.found.alarm(match finding.fault {
                // What a start has said of them is the same alarm.
                Fault::AfterEnd { .. } => unsigned::in_words(&finding.records),
                // These are the records that were signed: what they say of others is too much to be told one by one.
                Fault::More { .. } => finding.to_string(),
                _ => format!("the ledger is not the one that was signed: {finding}"),
            });
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

/// False where the gateway is told to stop meanwhile.
async fn waited(pause: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = stop.cancelled() => false,
    }
}

/// What a task that broke says, without its number: the same fault is one alarm, however often it comes.
fn why(error: JoinError) -> String {
    let Ok(said) = error.try_into_panic() else {
        return "its task was cancelled".to_owned();
    };
    let text = said.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| said.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "its task panicked".to_owned())
}

fn reached(kept: &Path) -> u64 {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    text.trim_end().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
