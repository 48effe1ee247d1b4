//! The file that chunks are appended to.
//!
//! Large chunks whose place and length are whole blocks go to the disk directly (`O_DIRECT`). Through the page cache each of their
//! bytes is copied once more, into pages that nobody reads; that was half of what recording cost. It changes nothing about what is
//! durable when: [`Output::sync`] is waited for either way.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use super::room::BLOCK;

/// Chunks with fewer bytes on the disk go through the cache: most of them are terminals', and somebody may be watching.
pub(super) const LARGE: usize = 64 << 10;

pub(super) struct Output {
    file: File,
    passing: Passing,
}

/// Which way what is written next takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Through,
    Past,
    /// The file system takes nothing past the cache.
    AlwaysThrough,
}

impl Output {
    pub(super) const fn new(file: File) -> Self {
        let passing = Passing::Through;
        Self { file, passing }
    }

    /// Writes `bytes` behind the first `end` ones of the file, which is where it stands.
    ///
    /// # Errors
    /// Some of them may have been written.
    pub(super) fn append(&mut self, bytes: &[u8], end: u64) -> io::Result<()> {
        self.choose(bytes, end);
        self.write(bytes, end)
    }

    fn write(&mut self, bytes: &[u8], end: u64) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Err(error) if self.passing == Passing::Past && error.kind() == io::ErrorKind::InvalidInput => {
                // Blocks of this disk are others.
                set_past_cache(&self.file, false)?;
                self.passing = Passing::AlwaysThrough;
                self.take_back(end)?;
                self.file.write_all(bytes)
            }
            written => written,
        }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Makes it durable with all that the file system knows about the file.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Cuts off what stands behind the first `end` bytes.
    pub(super) fn take_back(&mut self, end: u64) -> io::Result<()> {
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end)).map(drop)
    }

    /// Bytes of its disk that may still be used.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = nix::sys::statvfs::fstatvfs(&self.file)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    fn choose(&mut self, bytes: &[u8], end: u64) {
        let is_whole = bytes.len().is_multiple_of(BLOCK) && bytes.as_ptr().align_offset(BLOCK) == 0;
        let is_at_a_block = usize::try_from(end).is_ok_and(|end| end.is_multiple_of(BLOCK));
        let wanted = if is_whole && is_at_a_block && bytes.len() >= LARGE {
            Passing::Past
        } else {
            Passing::Through
        };
        if self.passing == wanted || self.passing == Passing::AlwaysThrough {
            return;
        }
        self.passing = match set_past_cache(&self.file, wanted == Passing::Past) {
            Ok(()) => wanted,
            Err(_) => Passing::AlwaysThrough,
        };
    }
}

#[cfg(target_os = "linux")]
fn set_past_cache(file: &File, is_past: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let mut flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_DIRECT, is_past);
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn set_past_cache(_: &File, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::room::Room;

    #[test]
    fn what_is_written_either_way_stands_in_the_file_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::new(File::create_new(&path).unwrap());
        let mut expected = Vec::new();
        let (mut large, mut room) = (vec![0; 2 * LARGE], Room::default());
        for (place, byte) in large.iter_mut().enumerate() {
            *byte = u8::try_from(place % 251).unwrap();
        }
        for (number, length) in [2 * LARGE, LARGE, 5, BLOCK - 5, LARGE, LARGE + 1, 1]
            .into_iter()
            .enumerate()
        {
            let bytes = room.of(length).unwrap();
            bytes.copy_from_slice(&large[number..][..length]);
            output.append(bytes, expected.len() as u64).unwrap();
            output.sync().unwrap();
            expected.extend_from_slice(bytes);
            assert_eq!(std::fs::read(&path).unwrap(), expected);
        }
    }

    #[test]
    fn a_disk_that_wants_other_blocks_gets_all_through_the_cache_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::new(File::create_new(&path).unwrap());
        output.append(b"12345", 0).unwrap();
        let is_refused = set_past_cache(&output.file, true).is_ok();
        if is_refused {
            output.passing = Passing::Past;
        }
        let bytes = vec![b'x'; LARGE + 3];
        output.write(&bytes[1..], 5).unwrap();
        assert_ne!(output.passing, Passing::Past, "a place and a length that are no blocks");
        output.append(b"6", 5 + bytes.len() as u64 - 1).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [b"12345", &bytes[1..], b"6"].concat());
    }
}
