//! A disk of which a test says, at each look, what it has.

use std::sync::Arc;
use std::{fmt, io};

use crate::disk::{Disk, DiskFile, DiskLock, LockError};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<'n> {
    /// The folder.
    Folder,
    /// A file, to be read.
    File(&'n str),
    /// Whatever else.
    Other,
}

/// A disk that asks before each look which disk answers it. For tests: a look may fail, break whoever looks, or see what another disk has.
pub struct Answered<F> {
    by: F,
}

impl<F: Fn(Look<'_>) -> io::Result<Arc<dyn Disk>> + Send + Sync> Answered<F> {
    /// `by` is asked before each look, and says which disk answers it, or that none does.
    pub const fn new(by: F) -> Self {
        Self { by }
    }
}

impl<F> fmt::Debug for Answered<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answered")
    }
}

impl<F: Fn(Look<'_>) -> io::Result<Arc<dyn Disk>> + Send + Sync> Disk for Answered<F> {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        (self.by)(Look::Other)?.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        (self.by)(Look::Folder)?.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (self.by)(Look::Other)?.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (self.by)(Look::Other)?.open(name)
    }
    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        (self.by)(Look::File(name))?.open_read(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.by)(Look::Other)?.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        (self.by)(Look::Other)?.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        (self.by)(Look::Other)?.sync_dir()
    }
    fn display(&self, name: &str) -> String {
        (self.by)(Look::Other).map_or_else(|_| name.to_owned(), |disk| disk.display(name))
    }
}
