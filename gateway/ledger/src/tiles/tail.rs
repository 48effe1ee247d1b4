//! What a reader knows of one segment from having walked it: where each 256th record begins, and, where no file may be
//! trusted, the hashes of its leaves and of what they complete. A walk goes on where the last one ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::view::{GoOn, TilesError};
use super::{TILE_WIDTH, count_at, note};
use crate::reader::{Reader, Records, SegmentInfo};
use crate::segment::segment_name;
use crate::tree::{Frontier, Hash, leaf_hash};

/// Records between two questions whether to go on.
const ASK_EVERY: u64 = 1_024;

/// One segment, shared by whoever reads it.
#[derive(Clone, Debug)]
pub(super) struct Walked {
    pub(super) first: u64,
    /// Whether it hashes, too.
    pub(super) hashes: bool,
    walk: Arc<Mutex<Walk>>,
}

#[derive(Debug)]
struct Walk {
    records: Records,
    /// The record that the walk comes to next.
    next: u64,
    /// Where the records begin whose number divides by 256, beginning with the first such.
    marks: Vec<u64>,
    tree: Option<Tree>,
}

#[derive(Debug)]
struct Tree {
    /// Levels of the tree that a level of the nodes spans.
    height: u32,
    frontier: Frontier,
    leaves: Vec<Hash>,
    /// Completed by the segment's leaves, with their level, in the order in which they were.
    nodes: Vec<(u32, Hash)>,
}

impl Walked {
    pub(super) fn new(reader: &Reader, segment: SegmentInfo, hashes_at: Option<u32>) -> Result<Self, TilesError> {
        let first = segment.first_seq;
        let tree = match hashes_at {
            None => None,
            Some(height) => Some(Tree {
                height,
                frontier: reader.header(&segment_name(first))?.frontier,
                leaves: Vec::new(),
                nodes: Vec::new(),
            }),
        };
        Ok(Self {
            first,
            hashes: tree.is_some(),
            walk: Arc::new(Mutex::new(Walk {
                records: reader.records_in(segment),
                next: first,
                marks: Vec::new(),
                tree,
            })),
        })
    }

    /// The hashes of the leaves `from .. to` of this segment.
    pub(super) fn leaves(&self, from: u64, to: u64, go_on: GoOn<'_>) -> Result<Vec<Hash>, TilesError> {
        let mut walk = self.walk();
        walk.reach(to, go_on)?;
        let (from, to) = (
            place(from.saturating_sub(self.first)),
            place(to.saturating_sub(self.first)),
        );
        let leaves = walk.tree.as_ref().and_then(|tree| tree.leaves.get(from..to));
        Ok(leaves.unwrap_or_default().to_vec())
    }

    /// The hashes `from .. to` of this level, all of them completed in this segment. The tree has to have `size` leaves for
    /// them.
    pub(super) fn nodes(
        &self,
        level: u32,
        from: u64,
        to: u64,
        size: u64,
        go_on: GoOn<'_>,
    ) -> Result<Vec<Hash>, TilesError> {
        let mut walk = self.walk();
        walk.reach(size, go_on)?;
        let Some(tree) = &walk.tree else { return Ok(Vec::new()) };
        let base = count_at(self.first, tree.height, level);
        let of_level = tree.nodes.iter().filter(|(of, _)| *of == level).map(|(_, node)| *node);
        Ok(of_level
            .skip(place(from.saturating_sub(base)))
            .take(place(to.saturating_sub(from)))
            .collect())
    }

    /// Where the record begins, whose number divides by 256.
    pub(super) fn offset(&self, seq: u64, go_on: GoOn<'_>) -> Result<u64, TilesError> {
        let mut walk = self.walk();
        walk.reach(seq.saturating_add(1), go_on)?;
        let width = u64::from(TILE_WIDTH);
        let mark = (seq / width).checked_sub(self.first.div_ceil(width));
        mark.and_then(|mark| walk.marks.get(place(mark)).copied())
            .ok_or(TilesError::Missing { index: seq })
    }

    fn walk(&self) -> MutexGuard<'_, Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Walk {
    /// Walks until the record `end` is the next. What was walked when there is no more time is kept.
    fn reach(&mut self, end: u64, go_on: GoOn<'_>) -> Result<(), TilesError> {
        self.records.set_until(end.max(self.next));
        for at in 0_u64.. {
            if self.next >= end {
                break;
            }
            if at % ASK_EVERY == 0 && !go_on() {
                return Err(TilesError::Stopped);
            }
            let Some(record) = self.records.next() else {
                return Err(TilesError::Missing { index: self.next });
            };
            let record = record?;
            if record.seq % u64::from(TILE_WIDTH) == 0 {
                self.marks.push(record.offset);
            }
            if let Some(tree) = &mut self.tree {
                let hash = leaf_hash(&record.leaf);
                let (span, nodes) = (tree.height, &mut tree.nodes);
                tree.frontier
                    .push_with(hash, |height, node| note(nodes, span, height, node));
                tree.leaves.push(hash);
            }
            self.next = record.seq.saturating_add(1);
        }
        Ok(())
    }
}

/// A count of records in one segment fits into memory.
fn place(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
