//! The `gap` record: sealed, written, and found again by a start behind a kill.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ledger::{Disk, Reader};
use model::event::{ByClass, Record, RecordKind, Unrecorded};

use super::tally::Gap;
use super::{FailMode, Unkept, Why};
use crate::audit::Station;

impl Unkept {
    /// Writes the gap records that are due, if the ledger takes records. Not to be cancelled in the middle: a record would be
    /// written twice, under one id.
    pub(super) async fn settle(self: &Arc<Self>, station: &Station) {
        if !self.is_troubled() {
            return;
        }
        let _recording = self.recording.lock().await;
        // One that an earlier attempt has sealed, and one that went on meanwhile.
        for _ in 0..2 {
            if station.ledger.trouble().is_some() {
                return;
            }
            let Some(gap) = self.seal() else { break };
            if !self.is_there(&gap).await && !self.record(&gap, station).await {
                return;
            }
            tracing::warn!(
                reads = gap.passed.reads,
                effects = gap.passed.effects,
                "the ledger takes records again, and a gap record says how many calls went on without one"
            );
            let mut state = self.state();
            state.counted.sealed = None;
            self.keeper.keep(&state.counted);
        }
        let mut state = self.state();
        if !state.counted.has_gap() {
            state.is_of_earlier_run = false;
            self.is_troubled.store(false, Ordering::SeqCst);
            // Also where the only call that was counted did not go on.
            self.keeper.keep(&state.counted);
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

    /// Whether a process that ended before it could note that has written the record of this gap.
    async fn is_there(&self, gap: &Gap) -> bool {
        if !self.state().is_of_earlier_run {
            return false; // what was lost in this run is not there
        }
        let (ledger, behind, id) = (Arc::clone(&self.ledger), gap.behind, text(gap.id));
        let looked = tokio::task::spawn_blocking(move || stands_in(ledger, behind, &id));
        looked.await.unwrap_or(false)
    }

    /// True: it is durable.
    async fn record(&self, gap: &Gap, station: &Station) -> bool {
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
        let Ok(body) = record.body() else { return false };
        match station.ledger.append(RecordKind::Gap, body, Vec::new()) {
            Ok(ticket) => ticket.await.is_ok(),
            Err(_) => false,
        }
    }
}

fn text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).hyphenated().to_string()
}

/// Whether a gap record of this id stands in the ledger behind so many others.
fn stands_in(ledger: Arc<dyn Disk>, behind: u64, id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let Ok(reader) = Reader::open_on(ledger) else {
        return false;
    };
    let mut records = reader.records_from(behind).map_while(Result::ok);
    records.any(|record| {
        record.kind == RecordKind::Gap && serde_json::from_slice(&record.leaf).is_ok_and(|leaf: Named| leaf.id == id)
    })
}
