//! The writer's side of the tile files: hashes gather in memory while a segment is written, and are written and synced when it
//! is sealed or given up, before its successor begins. The files are derived: one that cannot be written is made anew at the next start.
//!
//! Invariant: behind what is on the disk for good a file has no bytes, when a segment is sealed or followed. A start believes as much of a
//! file as the segments before the last one have hashes for, and what a failed write or sync has left would be among that later.

use std::io;
use std::sync::Arc;

use super::mend::{Mender, Missing, Progress, Watch};
use super::{count_at, note, parse_tiles_name, tiles_name};
use crate::disk::{Disk, DiskFile, read_range};
use crate::options::to_u64;
use crate::tree::{Frontier, Hash};

/// What may wait for a level's file before the level is given up until the next start, in bytes: the hashes of 8 M records.
const PENDING_MAX: usize = 1 << 20;

/// How tile files are kept. Tests have lower tiles and break the promise of the sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// Levels of the tree that a level of ours spans.
    pub(crate) height: u32,
    pub(crate) syncs: bool,
}

/// The files of all levels from 1 up.
#[derive(Debug)]
pub(crate) struct TileFiles {
    disk: Arc<dyn Disk>,
    keeping: Keeping,
    /// Level 1 first.
    levels: Vec<Level>,
    mender: Option<Mender>,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Level {
    state: State,
    /// Hashes that are on the disk for good, or will be when they are mended.
    written: u64,
    /// Those that follow.
    pending: Vec<u8>,
    /// The file may have bytes behind what is written, and nobody knows which.
    uncut: bool,
}

#[derive(Debug)]
enum State {
    /// There is no file yet, and none is needed.
    Unborn,
    File(Box<dyn DiskFile>),
    /// Older hashes are missing and are being computed.
    Mending,
    /// Nothing is written any more until the next start.
    GivenUp,
}

impl TileFiles {
    /// The files of a new ledger.
    pub(crate) fn new(disk: Arc<dyn Disk>, keeping: Keeping) -> Self {
        Self {
            disk,
            keeping,
            levels: Vec::new(),
            mender: None,
            watch: None,
        }
    }

    /// Brings the files to where the last segment begins or, where it is sealed, ends; what it adds comes from the hashes of
    /// its leaves. Older hashes that are missing are the [`Mender`]'s work.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        keeping: Keeping,
        begin: &Frontier,
        leaves: &[Hash],
        is_sealed: bool,
    ) -> Self {
        let mut files = Self::new(disk, keeping);
        let mut frontier = begin.clone();
        let mut nodes = Vec::new();
        for leaf in leaves {
            frontier.push_with(*leaf, |height, node| note(&mut nodes, keeping.height, height, node));
        }
        let count = |size, level| count_at(size, keeping.height, level);
        for level in (1..).take_while(|level| count(frontier.size(), *level) > 0) {
            let added = nodes.iter().filter(|(of, _)| *of == level);
            let opened = Level {
                state: State::Unborn,
                written: count(begin.size(), level),
                pending: added.flat_map(|(_, node)| *node).collect(),
                uncut: false,
            };
            let opened = files.settle_at_start(level, opened, is_sealed);
            files.levels.push(opened);
        }
        files.remove_strays();
        files
    }

    fn settle_at_start(&mut self, level: u32, mut opened: Level, is_sealed: bool) -> Level {
        let found = match self.disk.open(&tiles_name(level)) {
            Ok(file) => file.len().map(|len| Some((file, len))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let base = opened.written;
        match found {
            Err(_) => {
                opened.give_up();
                opened.uncut = true;
            }
            Ok(found) if found.as_ref().map_or(0, |(_, len)| len / 32) < base => {
                let have = found.map_or(0, |(_, len)| len / 32);
                if is_sealed {
                    // Its records can be read like all older ones.
                    opened.written += to_u64(opened.pending.len() / 32);
                    opened.pending.clear();
                }
                opened.state = State::Mending;
                let want = opened.written;
                self.mend(Missing { level, have, want });
            }
            Ok(None) => {}
            Ok(Some((file, len))) => {
                // What the seal wrote stays as it is: then a start changes nothing.
                if is_sealed && opened.is_written(&*file, len) {
                    opened.written += to_u64(opened.pending.len() / 32);
                    opened.pending.clear();
                } else if len > base * 32 && file.set_len(base * 32).is_err() {
                    opened.give_up();
                    opened.uncut = true;
                    return opened;
                }
                opened.state = State::File(file);
            }
        }
        if is_sealed {
            // What cannot be cut now is cut before the next segment begins.
            let _ = opened.settle(&*self.disk, level, self.keeping.syncs);
        }
        opened
    }

    fn mend(&mut self, missing: Missing) {
        let mender = match self.mender.take() {
            Some(mender) => mender,
            None => {
                let (mender, watch) = Mender::new(Arc::clone(&self.disk), self.keeping.height);
                self.watch = Some(watch);
                mender
            }
        };
        self.mender = Some(mender.with(missing));
    }

    /// What a kill in the middle of mending left, and levels that the tree does not reach.
    fn remove_strays(&self) {
        let levels = u32::try_from(self.levels.len()).unwrap_or(u32::MAX);
        for name in self.disk.list().unwrap_or_default() {
            let is_draft = name.strip_suffix(".new").and_then(parse_tiles_name).is_some();
            if is_draft || parse_tiles_name(&name).is_some_and(|level| level > levels) {
                // Nobody reads it; the next start tries again.
                let _ = self.disk.remove(&name);
            }
        }
    }

    /// Takes the mending that has to be done beside the writer, if there is any.
    pub(crate) fn take_mender(&mut self) -> Option<Mender> {
        self.mender.take()
    }

    /// Levels of the tree that a level of ours spans.
    pub(crate) fn height(&self) -> u32 {
        self.keeping.height
    }

    /// Takes the hashes of a batch that is durable.
    pub(crate) fn keep(&mut self, nodes: impl Iterator<Item = (u32, Hash)>) {
        for (level, node) in nodes {
            let Some(place) = level.checked_sub(1).and_then(|place| usize::try_from(place).ok()) else {
                continue;
            };
            // A level's first hash comes after one of the level below.
            if self.levels.len() <= place {
                self.levels.resize_with(place + 1, Level::unborn);
            }
            if let Some(level) = self.levels.get_mut(place) {
                level.keep(&node);
            }
        }
    }

    /// Writes what has gathered and syncs it. What cannot be made durable is cut off again.
    ///
    /// # Errors
    /// It cannot be cut off, so the segment must not be sealed or followed by another: call this again first.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let progress = self.watch.as_ref().map_or(Progress::Done, Watch::progress);
        for (number, level) in (1..).zip(&mut self.levels) {
            level.take_over(&*self.disk, number, progress);
            level.settle(&*self.disk, number, self.keeping.syncs)?;
        }
        Ok(())
    }
}

impl Level {
    fn unborn() -> Self {
        Self {
            state: State::Unborn,
            written: 0,
            pending: Vec::new(),
            uncut: false,
        }
    }

    fn give_up(&mut self) {
        self.state = State::GivenUp;
        self.pending = Vec::new();
    }

    fn keep(&mut self, node: &Hash) {
        match self.state {
            State::GivenUp => {}
            _ if self.pending.len() >= PENDING_MAX => self.give_up(),
            _ => self.pending.extend_from_slice(node),
        }
    }

    /// Whether the file holds exactly what was written and what follows.
    fn is_written(&self, file: &dyn DiskFile, len: u64) -> bool {
        let at = self.written * 32;
        len == at + to_u64(self.pending.len())
            && read_range(file, at, self.pending.len()).is_ok_and(|bytes| bytes == self.pending)
    }

    /// Goes on with the file that the mender made.
    fn take_over(&mut self, disk: &dyn Disk, level: u32, progress: Progress) {
        match (&self.state, progress) {
            (State::Mending, Progress::Done) => match disk.open(&tiles_name(level)) {
                Ok(file) => self.state = State::File(file),
                Err(_) => self.give_up(),
            },
            (State::Mending, Progress::Failed) => self.give_up(),
            _ => {}
        }
    }

    fn settle(&mut self, disk: &dyn Disk, level: u32, syncs: bool) -> io::Result<()> {
        self.cut(disk, level)?;
        if self.pending.is_empty() {
            return Ok(());
        }
        if let State::Unborn = self.state
            && let Ok(file) = disk.create(&tiles_name(level))
        {
            self.state = State::File(file);
        }
        // Without a file there may be one next time.
        let State::File(file) = &self.state else {
            return Ok(());
        };
        if file.write_at(&self.pending, self.written * 32).is_err() {
            // How much was written is not known. A full disk passes: next time it is written again.
            self.uncut = true;
        } else if syncs && file.sync_all().is_err() {
            // What a sync has failed on may seem to be there until the power goes.
            self.uncut = true;
            self.give_up();
        } else {
            self.written += to_u64(self.pending.len() / 32);
            self.pending.clear();
        }
        self.cut(disk, level)
    }

    /// Takes away, for good, what a failed write or sync has left.
    fn cut(&mut self, disk: &dyn Disk, level: u32) -> io::Result<()> {
        if !self.uncut {
            return Ok(());
        }
        match disk.open(&tiles_name(level)) {
            Ok(file) => {
                // A shorter one stays as it is: the next start sees that it lacks something.
                if file.len()? > self.written * 32 {
                    file.set_len(self.written * 32)?;
                }
                file.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.uncut = false;
        Ok(())
    }
}
