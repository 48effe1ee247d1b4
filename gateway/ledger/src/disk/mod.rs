//! What the ledger needs of a disk, so that a simulated one can lose what was not synced. Names are plain file names
//! inside the ledger's one folder; nothing here knows what they hold.
//!
//! The contract is that of POSIX at its weakest: written bytes may be lost, torn or reordered until [`DiskFile::sync_data`]
//! returns, sizes until [`DiskFile::sync_all`], names until [`Disk::sync_dir`].

mod known;
mod real;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::time::SystemTime;

use crate::options::to_u64;

pub use known::Unknowable;
pub use real::{RealDisk, read_file};

/// One folder on a disk.
pub trait Disk: Send + Sync + Debug {
    /// Creates the folder if needed and takes the writer's lock on it for as long as the returned value lives.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process (or another ledger in this one) has it.
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError>;
    /// The names of all files in the folder, in no order.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates an empty file, or empties an old one, for reading and writing.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading only.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name; an old file of that name goes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_dir(&self) -> io::Result<()>;
    /// What to call a file in a message to a human.
    fn display(&self, name: &str) -> String;
}

/// An open file.
pub trait DiskFile: Send + Debug {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Whatever the disk says; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the written bytes durable (`fdatasync`).
    ///
    /// # Errors
    /// Whatever the disk says. After an error the same pages are never synced again: the kernel may have dropped them.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes and size durable (`fsync`).
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Reserves `len` bytes that read as zero.
    ///
    /// # Errors
    /// Out of space, or whatever else the disk says.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The file's size in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Words that are the same for as long as this is the same file and nobody has changed it, for who has read it and wants to know it again. May sync the file.
    ///
    /// # Errors
    /// Why they would not say every change.
    fn identity(&self, _now: SystemTime) -> Result<String, Unknowable> {
        Err(Unknowable::Untold)
    }
}

/// The writer's lock; released when dropped.
pub trait DiskLock: Send + Sync + Debug {}

/// Why the folder cannot be had for writing.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else writes there.
    #[error("another process writes to this folder")]
    Held,
    /// The folder or its lock file could not be made.
    #[error("cannot lock the folder")]
    Io(#[from] io::Error),
}

/// Whether the error says that there is no space, which passes, and not that the disk is at fault.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Reads exactly `len` bytes at `offset`, or as many as the file has.
pub(crate) fn read_range(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_range_into(file, offset..offset.saturating_add(to_u64(len)), &mut bytes, &|_| {})?;
    Ok(bytes)
}

/// As [`read_range_into`], of the first `len` bytes of a file to which somebody may be writing, from the end to the beginning: whatever of his is found in a piece,
/// what he wrote before it is found in the pieces before. Upwards a piece could be read before he writes to it, and the next one after: a hole that never was.
/// Bytes that the file lost meanwhile are zeros. `reached` is told how many bytes were read.
pub(crate) fn read_down_into(
    file: &dyn DiskFile,
    len: u64,
    bytes: &mut Vec<u8>,
    reached: &dyn Fn(u64),
) -> io::Result<()> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if bytes.capacity() < len {
        *bytes = vec![0; len];
    } else {
        bytes.resize(len, 0);
    }
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(1) / PIECE * PIECE;
        let mut have = begin;
        while let Some(rest) = bytes.get_mut(have..end).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, to_u64(have))? {
                0 => {
                    rest.fill(0);
                    break;
                }
                read => have = have.saturating_add(read),
            }
        }
        end = begin;
        reached(to_u64(len.saturating_sub(end)));
    }
    Ok(())
}

/// Bytes that are read at once where somebody is told of them.
const PIECE: usize = 256 << 10;

/// As [`read_range`], into a buffer that was used before: what it held is gone. Whoever reads many files with one buffer is
/// spared the page faults of a new one, which cost about as much as the reading. `reached` is told up to which byte of the file was read, piece by piece.
pub(crate) fn read_range_into(
    file: &dyn DiskFile,
    range: Range<u64>,
    bytes: &mut Vec<u8>,
    reached: &dyn Fn(u64),
) -> io::Result<()> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    if bytes.capacity() < len {
        *bytes = vec![0; len];
    } else {
        bytes.resize(len, 0);
    }
    let mut have = 0_usize;
    while let Some(rest) = bytes
        .get_mut(have..have.saturating_add(PIECE).min(len))
        .filter(|rest| !rest.is_empty())
    {
        match file.read_at(rest, range.start.saturating_add(to_u64(have)))? {
            0 => break,
            read => have = have.saturating_add(read),
        }
        reached(range.start.saturating_add(to_u64(have)));
    }
    bytes.truncate(have);
    Ok(())
}
