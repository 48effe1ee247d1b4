//! Checks a log that somebody else serves as [C2SP tlog-tiles]: its newest checkpoint, every entry, every tile of hashes. Says of it what
//! [`super::verify`] says of a folder, as far as that can be seen from outside: there are no frames, parts, segments or older checkpoints.
//!
//! The server is believed nothing but what leads to a signed root. It is asked for exactly what a tree of the signed size has, each
//! piece with the most bytes that it may have; so what it can do is to say no, to be slow, or to be found out.
//!
//! Not here: connections, retries and time ([`Source`]).
//!
//! [C2SP tlog-tiles]: https://c2sp.org/tlog-tiles

mod served;

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use model::event::RecordKind;

use super::erased::Erasures;
use super::heads::{Head, Heads};
use super::turns::{AllTold, Keys, Told, Unsettled};
use super::{FINDINGS_MAX, Fault, Finding, Report, Stretches, Trust, add};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::frame::MAX_LEAF_LEN;
use crate::leaf;
use crate::note::{MAX_NOTE_LEN, Note, NoteError};
use crate::options::to_u64;
use crate::tiles::{TILE_HEIGHT, TILE_WIDTH, TileKind, TilePath, bundle_entries};
use crate::tree::{Frontier, Hash, leaf_hash};
pub use served::fuzz_remote;

/// The most pieces that are asked for at once.
pub const THREADS_MAX: usize = 16;
/// Pieces that one thread is ahead of the check, as hashes.
const AHEAD: usize = 4;
/// How many spans of differing hashes are told apart; the rest is one more.
const RUNS_MAX: usize = 1_000;
const CHECKPOINT: &str = "checkpoint";

/// A server of a log, or something in its place. Asked from several threads.
pub trait Source: Sync {
    /// The bytes behind this path, which stands behind the log's address, and at most `most` of them.
    ///
    /// # Errors
    /// [`SourceError`], after as many tries as are worth it.
    fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError>;
}

/// Why a source gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It says that there is no such thing.
    #[error("it is not there")]
    Missing,
    /// It says more than such a thing can be.
    #[error("it is longer than {most} bytes")]
    TooLong {
        /// What was asked for at most.
        most: usize,
    },
    /// It gives a tile that was cut off, or that has something behind it: an answer, and a wrong one.
    #[error("the tile is cut, or more stands behind it: it has {have} bytes and not {want}")]
    Cut {
        /// Bytes that came.
        have: usize,
        /// Bytes that so many hashes have.
        want: usize,
    },
    /// It cannot be asked, or does not answer in time, or says no.
    #[error("{0}")]
    Failed(String),
}

/// Why a log could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Something that a log of this size has cannot be had.
    #[error("`{path}` cannot be had; {proved} of {size} records were proved before it")]
    Fetch {
        /// What.
        path: String,
        /// Up to where the records were compared with a signed root.
        proved: u64,
        /// How many the newest checkpoint has; 0 where that is what is missing.
        size: u64,
        /// Why.
        source: SourceError,
    },
    /// The newest checkpoint is no signed note.
    #[error("what the server gives as its newest checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// It is a note and no checkpoint.
    #[error("what the server gives as its newest checkpoint is none")]
    Checkpoint(#[from] CheckpointError),
}

/// Checks a whole log against what `trust` believes, with `threads` questions at once ([`THREADS_MAX`] at most). `progress` is called with
/// the records that were compared and how many there are.
///
/// Where no key of `trust` signed the newest checkpoint, nothing more is asked for: there is no signed size, and who has no key could
/// serve records without end.
///
/// # Errors
/// [`RemoteError`]. What can be had and does not hold is a finding.
pub fn verify_remote(
    source: &dyn Source,
    trust: &Trust,
    threads: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<Report, RemoteError> {
    let bytes = source
        .fetch(CHECKPOINT, MAX_NOTE_LEN)
        .map_err(|source| RemoteError::Fetch {
            path: CHECKPOINT.to_owned(),
            proved: 0,
            size: 0,
            source,
        })?;
    let note = Note::parse(&bytes)?;
    let newest = Checkpoint::parse(note.text())?;
    let mut trust = trust.clone();
    loop {
        let heads = Heads::of(&note, CHECKPOINT, &trust);
        // Another root of the newest size that is remembered may stand in its place: that is a fork, and found.
        let is_signed = heads.list.iter().any(|head| head.size == newest.size);
        let mut check = Check::new(source, newest.size, heads);
        if is_signed {
            check.walk(threads.clamp(1, THREADS_MAX), progress)?;
        }
        // A server has its newest checkpoint alone, so an earlier change of the key stands in its record only. Known from there, the
        // root that both keys stated is compared on the way, too.
        let learnt = check.keys.learns(&check.told);
        if learnt.is_empty() {
            return Ok(check.end());
        }
        trust.remembered.extend(learnt);
    }
}

/// 256 entries, or as many as the last bundle has, and the tile of their hashes.
struct Piece {
    /// What the entries hash to; nothing where they are no entry bundle.
    own: Result<Vec<Hash>, String>,
    /// What the tile says.
    said: Vec<Hash>,
    bytes: u64,
    foreign: u64,
    /// Records that say what is missing.
    gaps: u64,
    /// Records of changes of the key.
    told: Vec<Told>,
    /// What starts said of the records before them.
    said_of: Erasures,
}

struct Check<'a> {
    source: &'a dyn Source,
    size: u64,
    heads: Vec<Head>,
    keys: Keys,
    unsettled: Unsettled,
    told: AllTold,
    /// What starts said of the records before them.
    said_of: Erasures,
    report: Report,
    /// What the entries lead to; `None` behind some that cannot be read.
    own: Option<Frontier>,
    /// What the tiles of the leaves' hashes lead to.
    said: Frontier,
    /// For each level above the leaves: what the level below leads to, as far as it fills no tile; by the tiles of the leaves' hashes, and by the
    /// entries, of which the next signed root says which are right.
    rows: Vec<Vec<(Hash, Option<Hash>)>>,
    /// Where entries and hashes differ, since the last signed root that held.
    runs: Vec<Range<u64>>,
    /// A root did not hold, and every later one fails for the same reason until one holds again.
    is_off: bool,
}

impl<'a> Check<'a> {
    fn new(source: &'a dyn Source, size: u64, heads: Heads) -> Self {
        Self {
            source,
            size,
            heads: heads.list,
            keys: heads.keys,
            unsettled: Unsettled::default(),
            told: AllTold::default(),
            said_of: Erasures::default(),
            report: Report {
                findings: heads.findings,
                strange: heads.strange,
                size,
                ..Report::default()
            },
            own: Some(Frontier::default()),
            said: Frontier::default(),
            rows: Vec::new(),
            runs: Vec::new(),
            is_off: false,
        }
    }

    fn walk(&mut self, threads: usize, progress: &dyn Fn(u64, u64)) -> Result<(), RemoteError> {
        let (source, size) = (self.source, self.size);
        let pieces = size.div_ceil(u64::from(TILE_WIDTH));
        std::thread::scope(|scope| {
            let lines: Vec<_> = (0..threads)
                .map(|thread| {
                    let (give, take) = sync_channel(AHEAD);
                    scope.spawn(move || fetch_pieces(source, size, (to_u64(thread)..pieces).step_by(threads), &give));
                    take
                })
                .collect();
            self.judge_heads();
            // A fetching thread ends by itself when its receiver is gone.
            let done = self.take_all(&lines, pieces, progress);
            drop(lines);
            done
        })?;
        self.upper_ends()
    }

    fn take_all(
        &mut self,
        lines: &[Receiver<Result<Piece, RemoteError>>],
        pieces: u64,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), RemoteError> {
        for (index, line) in (0..pieces).zip(lines.iter().cycle()) {
            let ended = || Err(self.failed("tile/entries", SourceError::Failed("its thread ended".to_owned())));
            let piece = line.recv().unwrap_or_else(|_| ended());
            let piece = piece.map_err(|error| self.so_far(error))?;
            self.take(index, piece)?;
            progress(self.said.size(), self.size);
        }
        Ok(())
    }

    fn take(&mut self, index: u64, piece: Piece) -> Result<(), RemoteError> {
        let first = self.said.size();
        self.report.bytes += piece.bytes;
        self.report.tiles += 1;
        self.report.foreign += piece.foreign;
        self.report.gaps += piece.gaps;
        self.told.take(&self.keys, piece.told);
        self.said_of.add(piece.said_of);
        if let Err(why) = &piece.own {
            let last = first.saturating_add(to_u64(piece.said.len()));
            let path = bundle(index, TILE_WIDTH);
            self.find(Fault::Unreadable(why.clone()), first..last, path);
            self.own = None;
        }
        let own = piece.own.unwrap_or_default();
        self.report.records += to_u64(own.len());
        for (at, said) in piece.said.iter().enumerate() {
            let seq = self.said.size();
            let mut by_entries = Vec::new();
            if let Some(own) = own.get(at) {
                if own != said {
                    self.differs(seq);
                }
                if let Some(frontier) = &mut self.own {
                    by_entries = completed(frontier, *own);
                }
            }
            for (index, (level, node)) in completed(&mut self.said, *said).into_iter().enumerate() {
                self.upper(level, (node, by_entries.get(index).map(|(_, node)| *node)))?;
            }
            self.judge_heads();
        }
        Ok(())
    }

    fn differs(&mut self, seq: u64) {
        let is_full = self.runs.len() >= RUNS_MAX;
        match self.runs.last_mut() {
            Some(run) if run.end == seq || is_full => run.end = seq.saturating_add(1),
            _ => self.runs.push(seq..seq.saturating_add(1)),
        }
    }

    /// Compares with the root that was signed at this size, if one was.
    fn judge_heads(&mut self) {
        let size = self.said.size();
        let Ok(index) = self.heads.binary_search_by_key(&size, |head| head.size) else {
            return;
        };
        let Some(head) = self.heads.get(index).cloned() else {
            return;
        };
        if self.own.as_ref().is_some_and(|own| own.root() == head.root) {
            // The records hold; so it is the tiles that do not.
            self.tell_runs(&Fault::Tile, "tile/0");
            self.holds(&head);
            if self.said.root() != head.root
                && let Some(own) = &self.own
            {
                self.said = own.clone();
            }
        } else if self.said.root() == head.root {
            // What an entry says that is not the one that was signed is the server's word.
            let altered = Stretches::of(self.runs.iter().cloned());
            self.said_of.pass_over(|seq| altered.has(seq));
            self.tell_runs(&Fault::Altered, "tile/entries");
            self.own = Some(self.said.clone());
            self.holds(&head);
        } else if !std::mem::replace(&mut self.is_off, true) {
            let from = self.report.proved.max(self.unsettled.held()).min(size);
            self.find(Fault::Root { size }, from..size, head.file);
        }
    }

    fn holds(&mut self, head: &Head) {
        self.is_off = false;
        self.report.checkpoints += 1;
        self.unsettled.take(head, &mut self.report);
    }

    fn tell_runs(&mut self, fault: &Fault, file: &str) {
        for records in std::mem::take(&mut self.runs) {
            self.find(fault.clone(), records, file.to_owned());
        }
    }

    /// A hash of a level above the leaves; compares a tile of that level when it is full.
    fn upper(&mut self, level: u32, node: (Hash, Option<Hash>)) -> Result<(), RemoteError> {
        let at = usize::try_from(level.saturating_sub(1)).unwrap_or(usize::MAX);
        if self.rows.len() <= at {
            self.rows.resize(at + 1, Vec::new());
        }
        let Some(row) = self.rows.get_mut(at) else {
            return Ok(());
        };
        row.push(node);
        if row.len() < usize::from(TILE_WIDTH) {
            return Ok(());
        }
        let row = std::mem::take(row);
        self.compare_upper(level, &row)
    }

    /// The tiles that are not full at the end.
    fn upper_ends(&mut self) -> Result<(), RemoteError> {
        let rows = std::mem::take(&mut self.rows);
        for (level, row) in (1..).zip(rows) {
            if !row.is_empty() {
                self.compare_upper(level, &row)?;
            }
        }
        Ok(())
    }

    fn compare_upper(&mut self, level: u32, row: &[(Hash, Option<Hash>)]) -> Result<(), RemoteError> {
        let height = level.saturating_mul(TILE_HEIGHT);
        let hashes = self.said.size().checked_shr(height).unwrap_or(0);
        let index = hashes.saturating_sub(1) / u64::from(TILE_WIDTH);
        let width = u16::try_from(row.len()).unwrap_or(TILE_WIDTH);
        let kind = TileKind::Hashes {
            level: u8::try_from(level).unwrap_or(u8::MAX),
        };
        let Ok(tile) = TilePath::new(kind, index, width) else {
            return Ok(());
        };
        let (said, bytes) = tile_hashes(self.source, &tile).map_err(|error| self.so_far(error))?;
        self.report.tiles += 1;
        self.report.bytes += bytes;
        let first = index.saturating_mul(u64::from(TILE_WIDTH));
        let span = |at: usize| {
            let leaves = 1_u64.checked_shl(height).unwrap_or(u64::MAX);
            first.saturating_add(to_u64(at)).saturating_mul(leaves)
        };
        let differs = |at: &usize| {
            let Some((by_tiles, by_entries)) = row.get(*at) else {
                return false;
            };
            let said = said.get(*at);
            said != Some(by_tiles) && (said.is_none() || said != by_entries.as_ref())
        };
        let differing = (0..row.len()).filter(differs);
        for at in differing.collect::<Vec<_>>() {
            self.find(Fault::Tile, span(at)..span(at.saturating_add(1)), tile.to_string());
        }
        Ok(())
    }

    fn end(mut self) -> Report {
        let have = self.size;
        let largest = self
            .heads
            .iter()
            .filter(|head| head.size > have)
            .max_by_key(|head| head.size);
        if let Some(head) = largest {
            let (signed, file, held) = (head.size, head.file.clone(), self.report.proved.min(have));
            self.find(Fault::Cut { signed, have, held }, held..signed, file);
        }
        let left = std::mem::take(&mut self.unsettled).end(&self.keys, &self.report);
        self.report.findings.extend(left);
        if !self.heads.is_empty() {
            let (turns, findings) = self.keys.compare(&self.told, &(0..self.report.proved));
            self.report.turns = turns;
            self.report.findings.extend(findings);
        }
        // Differences behind the last signed root, where no root says which side is right.
        self.tell_runs(&Fault::Tile, "tile/0");
        self.find_unsigned();
        let findings = &mut self.report.findings;
        findings.sort_by_key(|finding| finding.records.start);
        self.report
    }

    /// Says which records the gateway found and had not written, as of a folder: the entries are the whole records, and hold what its starts said.
    fn find_unsigned(&mut self) {
        let unsigned = self.said_of.unsigned(self.report.proved);
        for (fault, records) in unsigned.faults() {
            let file = self.bundle_of(records.start);
            self.find(fault, records, file);
        }
        self.report.unsigned = unsigned;
    }

    /// The entry bundle that has this record.
    fn bundle_of(&self, seq: u64) -> String {
        let index = seq / u64::from(TILE_WIDTH);
        bundle(index, width_at(self.size, index))
    }

    /// A server may be wrong in as many places as there are records.
    fn find(&mut self, fault: Fault, records: Range<u64>, file: String) {
        let found = Finding {
            fault,
            records,
            file,
            offset: 0,
        };
        add(&mut self.report.findings, found, FINDINGS_MAX);
    }

    fn failed(&self, path: &str, source: SourceError) -> RemoteError {
        RemoteError::Fetch {
            path: path.to_owned(),
            proved: self.report.proved,
            size: self.size,
            source,
        }
    }

    /// The same error, with what is known here.
    fn so_far(&self, error: RemoteError) -> RemoteError {
        match error {
            RemoteError::Fetch { path, source, .. } => self.failed(&path, source),
            error => error,
        }
    }
}

/// Adds a leaf's hash; gives the subtrees that it completes and that are hashes of a tile, by their level of tiles.
fn completed(frontier: &mut Frontier, leaf: Hash) -> Vec<(u32, Hash)> {
    let mut nodes = Vec::new();
    frontier.push_with(leaf, |height, node| {
        if height % TILE_HEIGHT == 0 {
            nodes.push((height / TILE_HEIGHT, *node));
        }
    });
    nodes
}

fn fetch_pieces(
    source: &dyn Source,
    size: u64,
    indexes: impl Iterator<Item = u64>,
    give: &SyncSender<Result<Piece, RemoteError>>,
) {
    for index in indexes {
        let piece = fetch_piece(source, size, index);
        let failed = piece.is_err();
        if give.send(piece).is_err() || failed {
            return;
        }
    }
}

fn fetch_piece(source: &dyn Source, size: u64, index: u64) -> Result<Piece, RemoteError> {
    let first = index.saturating_mul(u64::from(TILE_WIDTH));
    let width = width_at(size, index);
    let path = |kind| TilePath::new(kind, index, width);
    let (Ok(hashes), Ok(entries)) = (path(TileKind::Hashes { level: 0 }), path(TileKind::Entries)) else {
        return Err(not_had(
            CHECKPOINT,
            SourceError::Failed("no tree is that large".to_owned()),
        ));
    };
    let (said, tile_bytes) = tile_hashes(source, &hashes)?;
    let (bytes, own_width) = fetch(source, &entries, BUNDLE_MAX)?;
    let path_of_entries = entries.to_string();
    let (mut foreign, mut gaps, mut own, mut told) = (0, 0, Vec::new(), Vec::new());
    let mut said_of = Erasures::default();
    let read = bundle_entries(&bytes, own_width).map(|entries| {
        for (seq, entry) in (first..).zip(entries.into_iter().take(usize::from(width))) {
            own.push(leaf_hash(entry));
            match leaf::kind_of(entry, seq) {
                None => foreign += 1,
                Some(RecordKind::Gap) => gaps += 1,
                Some(RecordKind::Key) => told.push(Told::read(entry, seq, &path_of_entries, 0)),
                // Erasures are not told from afar: which parts stand beside the records is not served.
                Some(kind @ (RecordKind::Damage | RecordKind::Recovery)) => said_of.read_of_others(kind, entry, seq),
                Some(_) => {}
            }
        }
    });
    Ok(Piece {
        own: read.map(|()| own).map_err(|error| error.to_string()),
        said,
        bytes: tile_bytes + to_u64(bytes.len()),
        foreign,
        gaps,
        told,
        said_of,
    })
}

/// How many entries this bundle of a tree has.
fn width_at(size: u64, index: u64) -> u16 {
    let first = index.saturating_mul(u64::from(TILE_WIDTH));
    let width = size.saturating_sub(first).min(u64::from(TILE_WIDTH));
    u16::try_from(width).unwrap_or(TILE_WIDTH)
}

/// The most bytes of a bundle: each entry behind two bytes of length.
const BUNDLE_MAX: usize = (TILE_WIDTH as usize) * (MAX_LEAF_LEN + 2);

/// The hashes of a tile, exactly as many as it has.
fn tile_hashes(source: &dyn Source, tile: &TilePath) -> Result<(Vec<Hash>, u64), RemoteError> {
    let (bytes, width) = fetch(source, tile, usize::from(TILE_WIDTH) * 32)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        let (have, want) = (bytes.len(), usize::from(width) * 32);
        return Err(not_had(&tile.to_string(), SourceError::Cut { have, want }));
    }
    let wanted = hashes.get(..usize::from(tile.width())).unwrap_or_default();
    Ok((wanted.to_vec(), to_u64(bytes.len())))
}

/// The bytes of a tile or bundle, and how many hashes or entries they have to be: a log that has grown may keep the whole tile in place of
/// the partial one (C2SP tlog-tiles, "Partial Tiles").
fn fetch(source: &dyn Source, tile: &TilePath, most: usize) -> Result<(Vec<u8>, u16), RemoteError> {
    let whole = TilePath::new(tile.what(), tile.index(), TILE_WIDTH);
    let path = tile.to_string();
    match (source.fetch(&path, most), whole) {
        (Ok(bytes), _) if bytes.len() > most => Err(not_had(&path, SourceError::TooLong { most })),
        (Ok(bytes), _) => Ok((bytes, tile.width())),
        (Err(SourceError::Missing), Ok(whole)) if tile.width() < TILE_WIDTH => {
            let bytes = source
                .fetch(&whole.to_string(), most)
                .map_err(|error| not_had(&path, error))?;
            Ok((bytes, TILE_WIDTH))
        }
        (Err(error), _) => Err(not_had(&path, error)),
    }
}

fn not_had(path: &str, source: SourceError) -> RemoteError {
    RemoteError::Fetch {
        path: path.to_owned(),
        proved: 0,
        size: 0,
        source,
    }
}

fn bundle(index: u64, width: u16) -> String {
    TilePath::new(TileKind::Entries, index, width).map_or_else(|_| "tile/entries".to_owned(), |path| path.to_string())
}

#[cfg(test)]
mod tests;
