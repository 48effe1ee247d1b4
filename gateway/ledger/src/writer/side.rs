//! Level-0 hashes of the active segment on their way to the side file. Derived: no failure here fails anything, and readers hash
//! again.
//!
//! Invariant: when the segment is sealed or given up, the side file is synced whole, or it is not as long as the whole.

use crate::disk::DiskFile;
use crate::options::to_u64;
use crate::tree::Hash;

/// Hashes are handed to the file in pieces of about this many bytes.
const CHUNK: usize = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) file: Option<Box<dyn DiskFile>>,
    pub(crate) offset: u64,
    pub(crate) pending: Vec<u8>,
}

impl Side {
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

    /// Writes and syncs all. What a sync has failed on may seem to be there until the power goes, so it is cut off.
    pub(crate) fn settle(&mut self) {
        self.write();
        if self.file.as_ref().is_some_and(|file| file.sync_all().is_err()) {
            self.give_up();
        }
        self.file = None;
    }

    fn give_up(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = file.set_len(0);
        }
    }
}
