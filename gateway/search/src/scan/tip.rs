//! The newest end of the ledger, and what it says about acts without an end.

use ledger::{ReadError, Reader};
use model::event::RecordKind;
use model::time::Timestamp;

use crate::archive::{Archive, read_block};
use crate::leaf;
use crate::row::Row;

/// What the end of the ledger says.
#[derive(Debug, Default)]
pub(crate) struct Tip {
    /// The first sequence number that is not there yet.
    pub(crate) end: u64,
    pub(crate) time: Option<Timestamp>,
    boot: String,
    /// Nothing is in flight: a process closed the ledger and none began since.
    closed: bool,
}

impl Tip {
    /// Says how an act stands whose end is not in the ledger.
    pub(crate) fn settle(&self, row: &mut Row, boot: &str, live: bool) {
        if !row.awaits_end() && !row.end_is("inFlight") && !row.end_is("notRead") {
            return;
        }
        let may_run = boot == self.boot && !self.closed;
        match (live && may_run, row.kind == RecordKind::Access.name()) {
            (true, _) => row.set_end("inFlight", None),
            (false, true) => row.set_end("notRecorded", Some("the read was recorded, its end was not")),
            (false, false) if may_run => {
                row.set_end(
                    "unknown",
                    Some("no end stands in these files; the gateway may still have been at work on it"),
                );
            }
            (false, false) => row.set_end("unknown", Some("the gateway stopped before the end was recorded")),
        }
    }
}

/// The newest record that may be read. `None`: the budget ended first.
pub(crate) fn tip(
    archive: &Archive,
    reader: &Reader,
    go_on: &mut dyn FnMut() -> bool,
) -> (Option<Tip>, Option<ReadError>) {
    let end = archive.end();
    let mut trouble = None;
    for segment in reader.segments().iter().rev().filter(|one| one.first_seq < end) {
        let indexed = archive.blocks(reader, *segment, end, go_on);
        if !indexed.whole {
            return (None, indexed.trouble);
        }
        trouble = trouble.or(indexed.trouble);
        let Some(block) = indexed.index.last() else { continue };
        match read_block(reader, *segment, block) {
            Ok(leaves) => {
                let tip = leaves.last().map(|last| {
                    let read = leaf::Leaf::read(&last.bytes);
                    Tip {
                        end: last.seq + 1,
                        time: leaf::time_of(&last.bytes),
                        boot: read.map(|leaf| leaf.boot).unwrap_or_default(),
                        closed: last.kind == RecordKind::Checkpoint,
                    }
                });
                return (tip.or_else(|| Some(Tip::default())), trouble);
            }
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    (Some(Tip::default()), trouble)
}
