//! Where blocks of records begin and between which times they lie: enough to read a segment from its end and to skip what
//! lies outside a range of time. Derived from the records; forgetting it costs time only.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{ReadError, Reader, Record, SegmentInfo};
use model::event::RecordKind;
use model::time::Timestamp;

use crate::leaf;

/// A block ends after so many records or bytes.
const BLOCK_RECORDS: u64 = 1_024;
const BLOCK_BYTES: u64 = 1 << 20;
/// Segments that are remembered; the oldest go first. At 64 MiB each that is a ledger of 256 GiB.
const MOST_SEGMENTS: usize = 4_096;

/// Consecutive records of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: u64,
    pub(crate) offset: u64,
    /// The first record after it.
    pub(crate) next: u64,
    /// Bytes of its leaves.
    pub(crate) bytes: u64,
    /// Earliest and latest time in it; clocks may jump, so these are exact and not those of its ends.
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// The blocks of one segment as far as they were looked at, oldest first.
pub(crate) type Index = Arc<[Block]>;

pub(crate) struct Indexed {
    pub(crate) index: Index,
    /// Whether the look reached the end of the segment, or what can be read of it.
    pub(crate) whole: bool,
    /// What cannot be read behind the last block.
    pub(crate) unread: Option<Unread>,
}

/// Records that should be there and cannot be read.
#[derive(Debug)]
pub(crate) struct Unread {
    /// The first of them.
    pub(crate) first: u64,
    /// The first number behind them; `None`: nothing says how many there were.
    pub(crate) next: Option<u64>,
    /// Why; `None`: the files end before them.
    pub(crate) why: Option<ReadError>,
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    segments: BTreeMap<u64, Index>,
    begins: BTreeMap<u64, Timestamp>,
}

impl Catalog {
    pub(super) fn known(&self, segment: u64) -> Option<Index> {
        self.segments.get(&segment).cloned()
    }

    pub(super) fn keep(&mut self, segment: u64, index: Index) {
        let newer = |old: &Index| old.last().map(|block| block.next) >= index.last().map(|block| block.next);
        if self.segments.get(&segment).is_some_and(newer) {
            return;
        }
        self.segments.insert(segment, index);
        while self.segments.len() > MOST_SEGMENTS {
            self.segments.pop_first();
        }
    }

    pub(super) fn begin_of(&self, segment: u64) -> Option<Timestamp> {
        self.begins.get(&segment).copied()
    }

    pub(super) fn keep_begin(&mut self, segment: u64, time: Timestamp) {
        self.begins.insert(segment, time);
        while self.begins.len() > MOST_SEGMENTS {
            self.begins.pop_first();
        }
    }
}

/// Goes on with the map of a segment from its last block, which may have grown.
pub(super) fn extend(
    known: Option<Index>,
    reader: &Reader,
    segment: SegmentInfo,
    end: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Indexed {
    let wanted = segment.next_seq.unwrap_or(u64::MAX).min(end);
    if let Some(index) = &known
        && index.last().is_some_and(|block| block.next >= wanted)
    {
        let index = Arc::clone(index);
        return Indexed {
            index,
            whole: true,
            unread: None,
        };
    }
    let mut blocks: Vec<Block> = known.as_deref().unwrap_or_default().to_vec();
    let walk = match blocks.pop() {
        Some(last) => reader.records_in_from(segment, last.first, last.offset),
        None => reader.records_in(segment),
    };
    let (mut whole, mut trouble, mut open) = (true, None, None);
    for record in walk.until(wanted) {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                trouble = Some(error);
                break;
            }
        };
        if let Some(block) = open.take_if(|block| is_full(block, &record)) {
            blocks.push(block);
            if !go_on() {
                whole = false;
                break;
            }
        }
        add(open.get_or_insert_with(|| begin(&record)), &record);
    }
    blocks.extend(open);
    let reached = blocks.last().map_or(segment.first_seq, |block| block.next);
    // A file that ends early, or is not there, is as silent as one that was read to its end.
    let is_cut = whole && wanted != u64::MAX && reached < wanted;
    Indexed {
        index: blocks.into(),
        whole,
        unread: (trouble.is_some() || is_cut).then(|| Unread {
            first: reached,
            next: Some(wanted).filter(|wanted| *wanted != u64::MAX),
            why: trouble,
        }),
    }
}

fn is_full(block: &Block, record: &Record) -> bool {
    block.next - block.first >= BLOCK_RECORDS || record.offset.saturating_sub(block.offset) >= BLOCK_BYTES
}

fn begin(record: &Record) -> Block {
    Block {
        first: record.seq,
        offset: record.offset,
        next: record.seq,
        bytes: 0,
        from: Timestamp::MAX,
        to: Timestamp::EPOCH,
    }
}

fn add(block: &mut Block, record: &Record) {
    block.next = record.seq + 1;
    block.bytes += u64::try_from(record.leaf.len()).unwrap_or(u64::MAX);
    // A record without a readable time may lie in any range: its block is never skipped.
    let (from, to) = match leaf::time_of(&record.leaf) {
        Some(time) => (time, time),
        None => (Timestamp::EPOCH, Timestamp::MAX),
    };
    block.from = block.from.min(from);
    block.to = block.to.max(to);
}

/// One record of a block, without its parts.
pub(crate) struct Leaf {
    pub(crate) seq: u64,
    pub(crate) kind: RecordKind,
    pub(crate) bytes: Vec<u8>,
}

/// The records of a block, oldest first, as far as they can be read; and those behind them that cannot.
pub(crate) fn read_block(reader: &Reader, segment: SegmentInfo, block: &Block) -> (Vec<Leaf>, Option<Unread>) {
    let (mut leaves, mut why, mut reached) = (Vec::new(), None, block.first);
    let records = reader.records_in_from(segment, block.first, block.offset);
    for record in records.until(block.next) {
        match record {
            Ok(record) => {
                reached = record.seq + 1;
                leaves.push(Leaf {
                    seq: record.seq,
                    kind: record.kind,
                    bytes: record.leaf,
                });
            }
            Err(error) => why = Some(error),
        }
    }
    let unread = (reached < block.next).then_some(Unread {
        first: reached,
        next: Some(block.next),
        why,
    });
    (leaves, unread)
}
