//! The `gap` record: sealed, written, and found again by a start behind a kill.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ledger::verify::Statements;
use ledger::{Disk, ReadError, Reader};
use model::event::{ByClass, Record, RecordKind, Unrecorded};
use tokio::sync::OwnedMutexGuard;

use super::tally::Gap;
use super::{FailMode, Unkept, Why};
use crate::audit::Station;

impl Unkept {
    /// Writes the gap records that are due, if the ledger takes records. Not to be cancelled in the middle: a record would be
    /// written twice, under one id. Whoever has `_recording` is the only one who does.
    pub(super) async fn settle(self: &Arc<Self>, station: &Station, _recording: OwnedMutexGuard<()>) {
        // One that an earlier attempt has sealed, and one that went on meanwhile.
        for _ in 0..2 {
            if station.ledger.trouble().is_some() {
                return;
            }
            let Some(gap) = self.seal() else { break };
            let stands = match self.look_for(&gap, station.ledger.durable().size).await {
                Ok(stands) => stands,
                Err(error) => {
                    tracing::error!(
                        error = %in_full(&error),
                        "whether the record of a gap stands in the ledger cannot be read, so none is written: it would stand there twice; see \
                         `gatescribe ledger verify`"
                    );
                    return;
                }
            };
            let recorded = match stands {
                Stands::Proved => None,
                Stands::Nowhere | Stands::Unproved => match self.record(&gap, station).await {
                    None => return,
                    recorded => recorded,
                },
            };
            tracing::warn!(
                reads = gap.passed.reads,
                effects = gap.passed.effects,
                "the ledger takes records again, and a gap record says how many calls went on without one"
            );
            let mut state = self.state();
            state.counted.sealed = None;
            if let Some(seq) = recorded {
                state.recorded.push(gap, seq);
            }
            self.keeper.keep(&state.in_file());
        }
        let mut state = self.state();
        if !state.counted.has_gap() {
            state.is_of_earlier_run = false;
            self.is_troubled.store(false, Ordering::SeqCst);
            // Also where the only call that was counted did not go on.
            self.keeper.keep(&state.in_file());
        }
    }

    /// The gap whose record is next. From now on nothing is counted there. Nobody waits for the file to say so: whatever it says of
    /// this gap is no more than its record does.
    fn seal(&self) -> Option<Gap> {
        let mut state = self.state();
        let counted = &mut state.counted;
        if counted.sealed.is_none() {
            counted.sealed = counted.gap.take();
        }
        counted.sealed
    }

    /// Whether a process that ended before it could note that has written the record of this gap. The ledger has `durable` records.
    async fn look_for(&self, gap: &Gap, durable: u64) -> Result<Stands, Unread> {
        if !self.state().is_of_earlier_run {
            return Ok(Stands::Nowhere); // what was lost in this run is not there
        }
        let (ledger, behind, id) = (Arc::clone(&self.ledger), gap.behind, text(gap.id));
        let looked = tokio::task::spawn_blocking(move || stands_in(ledger, behind..durable, &id));
        let stands = looked.await.unwrap_or(Err(Unread::Ended))?;
        if stands == Stands::Unproved {
            tracing::warn!(
                id = text(gap.id),
                "the record of a gap stands where nothing proves who wrote it, as a kill leaves it: it is written again, under its id"
            );
        }
        Ok(stands)
    }

    /// The number of the record. It is durable.
    async fn record(&self, gap: &Gap, station: &Station) -> Option<u64> {
        let (id, now) = (text(gap.id), station.clock.read());
        let counted = gap.passed.reads.saturating_add(gap.passed.effects);
        let ended = gap.ended.counts().into_iter().fold(0, u64::saturating_add);
        let unrecorded = Unrecorded {
            why: gap.why.name(),
            from: gap.from,
            to: gap.to,
            passed: gap.passed,
            modes: ByClass {
                reads: gap.modes.reads.name(),
                effects: gap.modes.effects.name(),
            },
            ended: gap.ended,
            unfinished: counted.saturating_sub(ended),
            // What is open may have gone on without the file.
            at_least: self.state().is_of_earlier_run
                && (gap.why == Why::CountDamaged || [gap.modes.reads, gap.modes.effects].contains(&FailMode::Open)),
        };
        let record = Record {
            id: &id,
            t: now.wall,
            mono: now.mono,
            boot: station.boot(),
            gap: Some(unrecorded),
            ..Record::default()
        };
        let body = record.body().ok()?;
        let ticket = station.ledger.append(RecordKind::Gap, body, Vec::new()).ok()?;
        ticket.await.ok().map(|durable| durable.seq)
    }
}

fn text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).hyphenated().to_string()
}

/// Why nobody knows what stands in the ledger.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// A record, or its file.
    #[error("the ledger cannot be read")]
    Failed(#[from] ReadError),
    /// The walk has ended, and nothing says why.
    #[error("of {durable} records of the ledger only those before {reached} can be read")]
    Short { reached: u64, durable: u64 },
    /// Whoever looked has not come back.
    #[error("reading the ledger has ended in the middle")]
    Ended,
}

fn in_full(error: &Unread) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Where the record of a gap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Nowhere,
    /// Among records that nobody had signed when a run ended, alone: the gateway's, or of whoever can write the ledger's files.
    Unproved,
    Proved,
}

/// Where the record of the gap of this id stands among these records. That something cannot be read never says that it is not there: it
/// would be written twice.
fn stands_in(ledger: Arc<dyn Disk>, among: Range<u64>, id: &str) -> Result<Stands, Unread> {
    let reader = Reader::open_on(ledger)?;
    let (mut statements, mut is_there) = (Statements::default(), false);
    each(&reader, &among, |record| {
        statements.read(record.kind, &record.leaf, record.seq);
        is_there |= is_of_gap(record, id);
    })?;
    if !is_there {
        return Ok(Stands::Nowhere);
    }
    // Gone through once more: what is said of a record comes behind it, and whoever can write the ledger's files can put in any number of
    // copies, which nobody holds. All of the ledger is signed by now, the last of what starts said of it, too.
    let unsigned = statements.counting(u64::MAX).all();
    let mut is_proved = false;
    each(&reader, &among, |record| {
        is_proved |= is_of_gap(record, id) && !unsigned.has(record.seq);
    })?;
    Ok(if is_proved { Stands::Proved } else { Stands::Unproved })
}

fn each(reader: &Reader, among: &Range<u64>, mut read: impl FnMut(&ledger::Record)) -> Result<(), Unread> {
    let mut records = reader.records_from(among.start);
    for record in &mut records {
        read(&record?);
    }
    let (reached, durable) = (records.position(), among.end);
    if reached < durable {
        return Err(Unread::Short { reached, durable });
    }
    Ok(())
}

fn is_of_gap(record: &ledger::Record, id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    record.kind == RecordKind::Gap && serde_json::from_slice(&record.leaf).is_ok_and(|leaf: Named| leaf.id == id)
}
