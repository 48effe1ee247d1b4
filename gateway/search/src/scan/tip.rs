//! The newest end of the ledger, and what it says about acts without an end.

use ledger::Reader;
use model::event::RecordKind;
use model::time::Timestamp;

use crate::archive::{Archive, Leaf, Unread, read_block};
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
    fn of(last: &Leaf) -> Self {
        let read = leaf::Leaf::read(&last.bytes);
        Self {
            end: last.seq + 1,
            time: leaf::time_of(&last.bytes),
            boot: read.map(|leaf| leaf.boot).unwrap_or_default(),
            closed: last.kind == RecordKind::Checkpoint,
        }
    }

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

/// The newest record that can be read and may be, and what behind it cannot. `None`: the budget ended first.
pub(crate) fn tip(archive: &Archive, reader: &Reader, go_on: &mut dyn FnMut() -> bool) -> (Option<Tip>, Vec<Unread>) {
    let end = archive.end();
    let mut unread = Vec::new();
    for segment in reader.segments().iter().rev().filter(|one| one.first_seq < end) {
        let indexed = archive.blocks(reader, *segment, end, go_on);
        unread.extend(indexed.unread);
        if !indexed.whole {
            return (None, unread);
        }
        for block in indexed.index.iter().rev() {
            let (leaves, behind) = read_block(reader, *segment, block);
            unread.extend(behind);
            if let Some(last) = leaves.last() {
                return (Some(Tip::of(last)), unread);
            }
        }
    }
    (Some(Tip::default()), unread)
}
