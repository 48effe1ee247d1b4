//! Computing again what a tile file lacks: after it was deleted, in a ledger of an older release, or where a full or failing
//! disk did not take it. Beside the writer, in a thread of its own, because it reads the hashes of all older records: 100 M of
//! them take seconds. Until it is done, readers compute what they need from the level below.
//!
//! A file is made anew under another name, synced and renamed, so that at no time a part of it has to be trusted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;

use super::view::{Tiles, TilesError};
use super::{draft_name, tiles_name};
use crate::disk::{Disk, read_range};
use crate::options::to_u64;

/// The bytes that are held before they are written.
const CHUNK: usize = 1 << 16;

/// What one level lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) level: u32,
    /// Hashes that the file has.
    pub(super) have: u64,
    /// And should have.
    pub(super) want: u64,
}

/// How far the mender has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Running,
    Done,
    Failed,
}

/// The writer's look at the mender.
#[derive(Debug)]
pub(super) struct Watch(Arc<AtomicU8>);

impl Watch {
    pub(super) fn progress(&self) -> Progress {
        match self.0.load(Ordering::SeqCst) {
            RUNNING => Progress::Running,
            DONE => Progress::Done,
            _ => Progress::Failed,
        }
    }
}

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// The work. Dropped before it is done, it has failed.
#[derive(Debug)]
pub(crate) struct Mender {
    disk: Arc<dyn Disk>,
    height: u32,
    /// The lowest level first: each is computed from the one below.
    missing: Vec<Missing>,
    progress: Arc<AtomicU8>,
}

#[derive(Debug, thiserror::Error)]
enum MendError {
    #[error("a tile file cannot be written")]
    Io(#[from] io::Error),
    #[error("hashes below cannot be had")]
    Tiles(#[from] TilesError),
    #[error("the ledger is being closed")]
    Stopped,
}

impl Mender {
    pub(super) fn new(disk: Arc<dyn Disk>, height: u32) -> (Self, Watch) {
        let progress = Arc::new(AtomicU8::new(RUNNING));
        let watch = Watch(Arc::clone(&progress));
        let mender = Self {
            disk,
            height,
            missing: Vec::new(),
            progress,
        };
        (mender, watch)
    }

    pub(super) fn with(mut self, missing: Missing) -> Self {
        self.missing.push(missing);
        self
    }

    /// Does it in a thread of its own.
    pub(crate) fn spawn(self) -> io::Result<Mending> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("ledger-tiles".to_owned())
            .spawn(move || self.run(&stopped))?;
        Ok(Mending { stop, thread })
    }

    /// Does it here.
    pub(crate) fn run(self, stop: &AtomicBool) {
        let tiles = Tiles::on(Arc::clone(&self.disk), None, self.height);
        let mut mended = self.missing.iter().map(|missing| self.mend(&tiles, *missing, stop));
        if mended.all(|result| result.is_ok()) {
            self.progress.store(DONE, Ordering::SeqCst);
        }
    }

    fn mend(&self, tiles: &Tiles, missing: Missing, stop: &AtomicBool) -> Result<(), MendError> {
        let Missing { level, have, want } = missing;
        let (name, draft) = (tiles_name(level), draft_name(level));
        let file = self.disk.create(&draft)?;
        let mut at = 0;
        if have > 0 {
            let old = self.disk.open_read(&name)?;
            while at < have * 32 {
                let len = usize::try_from(have * 32 - at).unwrap_or(CHUNK).min(CHUNK);
                let bytes = read_range(&*old, at, len)?;
                if bytes.len() < len {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                file.write_at(&bytes, at)?;
                at += to_u64(len);
            }
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        for index in have..want {
            if stop.load(Ordering::SeqCst) {
                return Err(MendError::Stopped);
            }
            chunk.extend_from_slice(&tiles.root_below(level, index, &|| !stop.load(Ordering::SeqCst))?);
            if chunk.len() >= CHUNK || index + 1 == want {
                file.write_at(&chunk, at)?;
                at += to_u64(chunk.len());
                chunk.clear();
            }
        }
        file.sync_all()?;
        // Before the rename, which must not take the draft that an earlier kill has left in its place.
        self.disk.sync_dir()?;
        self.disk.rename(&draft, &name)?;
        Ok(self.disk.sync_dir()?)
    }
}

impl Drop for Mender {
    fn drop(&mut self) {
        // Nothing where it was done.
        let _ = self
            .progress
            .compare_exchange(RUNNING, FAILED, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A mender at work beside the writer.
#[derive(Debug)]
pub(crate) struct Mending {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Mending {
    /// Stops it and waits until nothing of it writes any more; what it had not finished, the next start begins again.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        // One that panicked has failed, which its drop has said.
        let _ = self.thread.join();
    }

    /// Waits until it is done.
    #[cfg(test)]
    pub(crate) fn wait(self) {
        self.thread.join().unwrap();
    }
}
