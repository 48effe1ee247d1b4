//! A disk whose syncs hang for as long as it is told to, and of whose reads one fails.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use ledger::disk::{Disk, DiskFile, DiskLock, LockError};
use ledger::sim::SimDisk;

#[derive(Clone, Debug)]
pub(super) struct Hangs {
    disk: SimDisk,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    /// How many syncs it lets pass; `None`: all.
    lets: Mutex<Option<u64>>,
    moves: Condvar,
    /// Looks at the folder, openings of files and reads that are left until one fails; 0: none does.
    until_fails: AtomicU64,
}

impl Hangs {
    pub(super) fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            gate: Arc::default(),
        }
    }

    pub(super) fn shut(&self) {
        self.lets(Some(0));
    }

    pub(super) fn open(&self) {
        self.lets(None);
    }

    pub(super) fn lets_one(&self) {
        self.lets(Some(1));
    }

    /// The read behind so many others fails, and no other one.
    pub(super) fn read_fails_after(&self, others: u64) {
        self.gate.until_fails.store(others + 1, Ordering::SeqCst);
    }

    /// Whether no read has failed since.
    pub(super) fn has_read_all(&self) -> bool {
        self.gate.until_fails.swap(0, Ordering::SeqCst) > 0
    }

    fn lets(&self, syncs: Option<u64>) {
        *self.gate.lets.lock().unwrap() = syncs;
        self.gate.moves.notify_all();
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let gate = Arc::clone(&self.gate);
        Box::new(HangingFile { file, gate })
    }
}

impl Gate {
    fn reads(&self) -> io::Result<()> {
        let count = |left: u64| Some(left.saturating_sub(1));
        match self.until_fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
            Ok(1) => Err(io::Error::other("the disk does not read this")),
            _ => Ok(()),
        }
    }
}

impl Disk for Hangs {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.gate.reads()?;
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.gate.reads()?;
        self.disk.open_read(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn display(&self, name: &str) -> String {
        self.disk.display(name)
    }
}

#[derive(Debug)]
struct HangingFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for HangingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.reads()?;
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let lets = self.gate.lets.lock().unwrap();
        let mut lets = self.gate.moves.wait_while(lets, |lets| *lets == Some(0)).unwrap();
        *lets = lets.map(|left| left - 1);
        drop(lets);
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
