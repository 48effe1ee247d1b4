//! Level-0 hashes of the active segment on their way to the side file. Derived: where they cannot be written, readers hash again.
//!
//! Invariant: when the segment is sealed or given up, the side file is synced whole under its name, or it is not as long as the
//! whole. Readers trust a file of the whole length then, so one that could not be made or written must not stay as it is: a crash may
//! have left an older one there, torn and of the right length. Only a disk that does not even let it be emptied holds up the seal.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::options::to_u64;
use crate::segment::hashes_name;
use crate::tree::Hash;

/// Hashes are handed to the file in pieces of about this many bytes.
const CHUNK: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Side {
    file: Option<Box<dyn DiskFile>>,
    /// A name whose file may say anything.
    untrusted: Option<String>,
    name: String,
    offset: u64,
    pending: Vec<u8>,
}

impl Side {
    /// Begins the side file of a segment with these hashes; an older one of its name goes.
    pub(crate) fn begin(disk: &dyn Disk, first_seq: u64, hashes: &[u8]) -> Self {
        let name = hashes_name(first_seq);
        let made = disk
            .create(&name)
            .and_then(|file| file.write_at(hashes, 0).map(|()| file));
        let (file, untrusted) = match made {
            Ok(file) => (Some(file), None),
            Err(_) => (None, Some(name.clone())),
        };
        Self {
            file,
            untrusted,
            name,
            offset: to_u64(hashes.len()),
            pending: Vec::new(),
        }
    }

    /// Takes the hashes of a batch that is durable.
    pub(super) fn keep(&mut self, hashes: &[Hash]) {
        if self.file.is_some() {
            self.pending.extend_from_slice(hashes.as_flattened());
        }
        if self.pending.len() >= CHUNK {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        if file.write_at(&self.pending, self.offset).is_ok() {
            self.offset += to_u64(self.pending.len());
        } else {
            self.give_up();
        }
        self.pending.clear();
    }

    /// Writes and syncs all, name included. What could not be written, and what a sync has failed on and may seem to be there until the
    /// power goes, is emptied.
    ///
    /// # Errors
    /// It could not be emptied either, so the segment must not be sealed or followed by another: call this again first.
    pub(crate) fn settle(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.write();
        }
        if let Some(file) = &self.file
            && file.sync_all().and_then(|()| disk.sync_dir()).is_err()
        {
            self.give_up();
        }
        self.file = None;
        if let Some(name) = &self.untrusted {
            empty(disk, name)?;
        }
        self.untrusted = None;
        Ok(())
    }

    fn give_up(&mut self) {
        self.file = None;
        self.untrusted = Some(self.name.clone());
    }
}

fn empty(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.open(name) {
        Ok(file) => {
            file.set_len(0)?;
            file.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    disk.sync_dir()
}
