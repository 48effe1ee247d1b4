//! [`Tiles`]: any tile, bundle or hash of the tree out of the files of a ledger, beside its writer or without one.
//!
//! Which file says a hash:
//! - of a leaf, the side file of its segment, if the segment has a successor or a footer and the file is whole; else the
//!   segment, walked once and hashed;
//! - of a subtree before the last segment that has no footer, the level's file; where that is short, the level below;
//! - of one that the last segment completes, that segment, walked once and hashed.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bundle::push_entry;
use super::path::{TileKind, TilePath};
use super::tail::Walked;
use super::{TILE_HEIGHT, count_at, perfect_root, tiles_name};
use crate::disk::{Disk, RealDisk, read_range};
use crate::error::ReadError;
use crate::options::to_u64;
use crate::queue::Shared;
use crate::reader::{Reader, Records, SegmentInfo, Spot};
use crate::tree::{Hash, Node, Nodes};

/// Segments of which a walk is remembered: the last, and those that somebody reads bundles of.
const WALKED_MAX: usize = 4;

/// Asked now and then by what takes long; `false` ends it with [`TilesError::Stopped`].
pub(crate) type GoOn<'a> = &'a dyn Fn() -> bool;

/// Goes on to the end.
const TO_THE_END: GoOn<'static> = &|| true;

/// Why a tile or hash cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// No tree that large is durable.
    #[error("a tree of {wanted} records is asked for and {have} are durable")]
    Beyond {
        /// Records that the tile, bundle or hash needs.
        wanted: u64,
        /// Durable records.
        have: u64,
    },
    /// No tree can have such a tile: its numbers are beyond 64 bits.
    #[error("no tree has such a tile")]
    Nowhere,
    /// A record that the tile, bundle or hash needs is not in the folder.
    #[error("record {index} is not there")]
    Missing {
        /// The record.
        index: u64,
    },
    /// Whoever asked waits no longer.
    #[error("there was no time to read so much of the ledger")]
    Stopped,
    /// The ledger's files cannot be read, or are damaged.
    #[error("the ledger cannot be read")]
    Read(#[from] ReadError),
}

/// The tree of a ledger as tiles, entry bundles and hashes ([`Nodes`]). Clones share what they have learnt; any number of
/// threads may ask at once, beside a writer in this process or another.
///
/// What it hands out is not checked against a root: it is as true as the folder's files are. Whoever needs to know makes a
/// proof and checks it, or verifies the ledger.
///
/// Without a writer at hand it does not know what is durable: ask for no more than a head that you have says, such as a
/// checkpoint's. Records behind it may still be torn off and replaced by others.
#[derive(Clone, Debug)]
pub struct Tiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    /// Says what is durable.
    writer: Option<Arc<Shared>>,
    /// Levels of the tree that a level's file spans.
    height: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reader: Arc<Reader>,
    /// The segments of a tree of this size are all among the reader's.
    known: u64,
    /// The last used one at the back.
    walked: VecDeque<Walked>,
}

/// The segments of a tree, and up to where the files say what is so.
struct Segments {
    reader: Arc<Reader>,
    /// The first record of the last segment, if that may still grow; else the one behind it.
    trusted: u64,
}

impl Tiles {
    /// Looks at the ledger in this folder.
    ///
    /// # Errors
    /// None before the first question: the folder is read when something is asked.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        Self::open_on(Arc::new(RealDisk::new(dir)))
    }

    /// As [`Tiles::open`], on any disk.
    #[must_use]
    pub fn open_on(disk: Arc<dyn Disk>) -> Self {
        Self::on(disk, None, TILE_HEIGHT)
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, writer: Option<Arc<Shared>>, height: u32) -> Self {
        let reader = Arc::new(Reader::unread(Arc::clone(&disk)));
        let state = Mutex::new(State {
            reader,
            known: 0,
            walked: VecDeque::new(),
        });
        Self(Arc::new(Inner {
            disk,
            writer,
            height,
            state,
        }))
    }

    /// The bytes of this tile or bundle.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn read(&self, tile: &TilePath) -> Result<Vec<u8>, TilesError> {
        self.read_while(tile, TO_THE_END)
    }

    /// As [`Tiles::read`], for as long as `go_on` says so: where no file has the hashes, a segment is walked. A later question goes
    /// on where this one was ended. Whoever waits for the walk of another is asked when that has ended.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn read_while(&self, tile: &TilePath, go_on: &dyn Fn() -> bool) -> Result<Vec<u8>, TilesError> {
        match tile.what() {
            TileKind::Hashes { level } => self.hashes_of(level, tile.index(), tile.width(), go_on),
            TileKind::Entries => self.entries_of(tile.index(), tile.width(), go_on),
        }
    }

    /// The first `width` (1 to 256) hashes of tile `index` on `level`, as one string of bytes.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, TilesError> {
        self.hashes_of(level, index, width, TO_THE_END)
    }

    fn hashes_of(&self, level: u8, index: u64, width: u16, go_on: GoOn<'_>) -> Result<Vec<u8>, TilesError> {
        let tile = TilePath::new(TileKind::Hashes { level }, index, width).map_err(|_| TilesError::Nowhere)?;
        tile.tree_size().ok_or(TilesError::Nowhere)?;
        let from = index << TILE_HEIGHT;
        // A level of ours may be lower than a tile, in tests; then some of ours are one of theirs.
        let level = (u32::from(level) * TILE_HEIGHT)
            .checked_div(self.0.height)
            .ok_or(TilesError::Nowhere)?;
        let row = self.row(level, from, from.saturating_add(u64::from(width)), go_on)?;
        Ok(row.into_flattened())
    }

    /// The first `width` (1 to 256) entries of bundle `index`, each behind its length.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn entries(&self, index: u64, width: u16) -> Result<Vec<u8>, TilesError> {
        self.entries_of(index, width, TO_THE_END)
    }

    fn entries_of(&self, index: u64, width: u16, go_on: GoOn<'_>) -> Result<Vec<u8>, TilesError> {
        let tile = TilePath::new(TileKind::Entries, index, width).map_err(|_| TilesError::Nowhere)?;
        let to = tile.tree_size().ok_or(TilesError::Nowhere)?;
        let segments = self.segments(to)?;
        let mut bundle = Vec::new();
        let mut at = index << TILE_HEIGHT;
        while at < to {
            let segment = segments.holding(at).ok_or(TilesError::Missing { index: at })?;
            let records = if at == segment.first_seq {
                segments.reader.records_in(segment)
            } else {
                let offset = self.walked(&segments, segment, false)?.offset(at, go_on)?;
                segments.reader.records_in_from(segment, at, offset)
            };
            let end = segment.next_seq.unwrap_or(to).min(to);
            for record in records.until(end) {
                push_entry(&mut bundle, &record?.leaf).ok_or(TilesError::Nowhere)?;
                at = at.saturating_add(1);
            }
            if at < end {
                return Err(self.forget(at));
            }
        }
        Ok(bundle)
    }

    /// The leaf of record `seq` in the tree of `size` records. Walks its segment up to it.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn record(&self, seq: u64, size: u64) -> Result<Vec<u8>, TilesError> {
        let segments = self.segments(size)?;
        let missing = TilesError::Missing { index: seq };
        let record = segments.reader.record(seq)?.filter(|_| seq < size);
        record.map(|record| record.leaf).ok_or(missing)
    }

    /// The leaf of the record that stands here: one read.
    ///
    /// # Errors
    /// See [`TilesError`].
    pub fn record_at(&self, spot: Spot) -> Result<Vec<u8>, TilesError> {
        let size = spot.seq.checked_add(1).ok_or(TilesError::Nowhere)?;
        let reader = self.segments(size)?.reader;
        let record = reader.record_at(spot.segment, spot.offset)?;
        let missing = TilesError::Missing { index: spot.seq };
        (record.seq == spot.seq).then_some(record.leaf).ok_or(missing)
    }

    /// Hashes of the tree for as long as `go_on` says so, as [`Tiles::read_while`].
    #[must_use]
    pub fn nodes_while<'a>(&'a self, go_on: &'a dyn Fn() -> bool) -> NodesWhile<'a> {
        NodesWhile { tiles: self, go_on }
    }

    /// The records `from .. to`, in order.
    pub(super) fn records(&self, from: u64, to: u64) -> Result<Records, TilesError> {
        Ok(self.segments(to)?.reader.records_from(from).until(to))
    }

    /// The hashes `from .. to` on a level of the files; level 0 are the leaves'.
    fn row(&self, level: u32, from: u64, to: u64, go_on: GoOn<'_>) -> Result<Vec<Hash>, TilesError> {
        let span = level
            .checked_mul(self.0.height)
            .and_then(|bits| 1_u64.checked_shl(bits));
        let size = span.and_then(|span| to.checked_mul(span)).ok_or(TilesError::Nowhere)?;
        let segments = self.segments(size)?;
        if level == 0 {
            return self.leaves(&segments, from, to, go_on);
        }
        let trusted = count_at(segments.trusted, self.0.height, level);
        let mut row = Vec::new();
        if from < trusted {
            row = self.stored(level, from, to.min(trusted));
            let have = from.saturating_add(to_u64(row.len()));
            for index in have..to.min(trusted) {
                if !go_on() {
                    return Err(TilesError::Stopped);
                }
                row.push(self.root_below(level, index, go_on)?);
            }
        }
        if to > trusted {
            let tail = segments.last().ok_or(TilesError::Missing { index: 0 })?;
            let walked = self.walked(&segments, tail, true)?;
            let nodes = walked.nodes(level, from.max(trusted), to, size, go_on);
            row.extend(nodes.map_err(|error| self.passed_on(error))?);
        }
        Ok(row)
    }

    /// What the level's file says of `from .. to`: all, or as many from the front as it has.
    fn stored(&self, level: u32, from: u64, to: u64) -> Vec<Hash> {
        let len = to.checked_sub(from).and_then(|hashes| hashes.checked_mul(32));
        let len = len.and_then(|len| usize::try_from(len).ok());
        let (Some(at), Some(len)) = (from.checked_mul(32), len) else {
            return Vec::new();
        };
        let name = tiles_name(level);
        let bytes = self
            .0
            .disk
            .open_read(&name)
            .and_then(|file| read_range(&*file, at, len));
        bytes.map_or_else(|_| Vec::new(), |bytes| bytes.as_chunks().0.to_vec())
    }

    /// One hash of a level, computed from the level below.
    pub(super) fn root_below(&self, level: u32, index: u64, go_on: GoOn<'_>) -> Result<Hash, TilesError> {
        let below = level.checked_sub(1).ok_or(TilesError::Nowhere)?;
        let wide = 1_u64.checked_shl(self.0.height).ok_or(TilesError::Nowhere)?;
        let from = index.checked_mul(wide).ok_or(TilesError::Nowhere)?;
        let to = from.checked_add(wide).ok_or(TilesError::Nowhere)?;
        let row = self.row(below, from, to, go_on)?;
        Ok(perfect_root(&row))
    }

    fn leaves(&self, segments: &Segments, from: u64, to: u64, go_on: GoOn<'_>) -> Result<Vec<Hash>, TilesError> {
        let mut row = Vec::new();
        let mut at = from;
        while at < to {
            let segment = segments.holding(at).ok_or(TilesError::Missing { index: at })?;
            let ended = segment.next_seq.or((at < segments.trusted).then_some(segments.trusted));
            let end = ended.unwrap_or(to).min(to);
            let side = ended.and_then(|ended| segments.reader.side_hashes(segment.first_seq, ended, at..end));
            match side {
                Some(hashes) => row.extend(hashes),
                None => {
                    let walked = self.walked(segments, segment, true)?;
                    let leaves = walked.leaves(at, end, go_on);
                    row.extend(leaves.map_err(|error| self.passed_on(error))?);
                }
            }
            at = end;
        }
        Ok(row)
    }

    /// The segments of a tree of this size.
    fn segments(&self, size: u64) -> Result<Segments, TilesError> {
        if let Some(writer) = &self.0.writer {
            let have = writer.size();
            if size > have {
                return Err(TilesError::Beyond { wanted: size, have });
            }
        }
        let mut state = self.state();
        if size > state.known {
            let mut reader = Reader::clone(&state.reader);
            reader.refresh()?;
            state.reader = Arc::new(reader);
            state.known = size;
        }
        let reader = Arc::clone(&state.reader);
        drop(state);
        let last = reader.segments().last().copied();
        let trusted = last.map_or(0, |last| reader.sealed_end(last).unwrap_or(last.first_seq));
        Ok(Segments { reader, trusted })
    }

    /// The memory of a segment's walk, begun if there is none.
    fn walked(&self, segments: &Segments, segment: SegmentInfo, hashes: bool) -> Result<Walked, TilesError> {
        let is_it = |walked: &Walked| walked.first == segment.first_seq && walked.hashes == hashes;
        let mut state = self.state();
        let found = state.walked.iter().position(is_it);
        let walked = match found.and_then(|place| state.walked.remove(place)) {
            Some(walked) => walked,
            None => Walked::new(&segments.reader, segment, hashes.then_some(self.0.height))?,
        };
        while state.walked.len() >= WALKED_MAX {
            state.walked.pop_front();
        }
        state.walked.push_back(walked.clone());
        Ok(walked)
    }

    /// A record was not where it should be: the next question looks at the folder again.
    fn forget(&self, index: u64) -> TilesError {
        let mut state = self.state();
        state.known = 0;
        state.walked.clear();
        TilesError::Missing { index }
    }

    fn passed_on(&self, error: TilesError) -> TilesError {
        match error {
            TilesError::Missing { index } => self.forget(index),
            error => error,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segments {
    fn last(&self) -> Option<SegmentInfo> {
        self.reader.segments().last().copied()
    }

    /// The segment that this record stands in, if it is there.
    fn holding(&self, seq: u64) -> Option<SegmentInfo> {
        let all = self.reader.segments();
        let after = all.partition_point(|segment| segment.first_seq <= seq);
        all.get(after.checked_sub(1)?).copied()
    }
}

/// The tree's hashes for as long as somebody waits: [`Tiles::nodes_while`].
#[derive(Clone, Copy)]
pub struct NodesWhile<'a> {
    tiles: &'a Tiles,
    go_on: GoOn<'a>,
}

impl std::fmt::Debug for NodesWhile<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NodesWhile")
    }
}

impl Nodes for NodesWhile<'_> {
    type Error = TilesError;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, TilesError> {
        self.tiles.nodes(nodes, self.go_on)
    }
}

impl Nodes for Tiles {
    type Error = TilesError;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, TilesError> {
        self.nodes(nodes, TO_THE_END)
    }
}

impl Tiles {
    /// Hashes of one tile are read with one read.
    fn nodes(&self, nodes: &[Node], go_on: GoOn<'_>) -> Result<Vec<Hash>, TilesError> {
        let height = self.0.height;
        let mut wanted = Vec::new();
        let mut tiles = BTreeMap::new();
        for node in nodes {
            let (level, within) = (u32::from(node.level) / height, u32::from(node.level) % height);
            let count = 1_u64 << within;
            let from = node.index.checked_mul(count).ok_or(TilesError::Nowhere)?;
            let to = from.checked_add(count).ok_or(TilesError::Nowhere)?;
            let tile = tiles.entry((level, from >> height)).or_insert((from, to));
            *tile = (tile.0.min(from), tile.1.max(to));
            wanted.push((level, from, to));
        }
        let mut rows = BTreeMap::new();
        for ((level, tile), (from, to)) in tiles {
            rows.insert((level, tile), (from, self.row(level, from, to, go_on)?));
        }
        let root = |(level, from, to): (u32, u64, u64)| {
            let (begin, row) = rows.get(&(level, from >> height))?;
            let (from, to) = (usize::try_from(from - begin), usize::try_from(to - begin));
            row.get(from.ok()?..to.ok()?).map(perfect_root)
        };
        let found = wanted.into_iter().map(|node| root(node).ok_or(TilesError::Nowhere));
        found.collect()
    }
}
