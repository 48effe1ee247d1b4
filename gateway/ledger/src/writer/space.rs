//! Room on the disk: which record may be written where, so that every outcome still to come has its place.
//!
//! Places are counted exactly: a stretch of `free` bytes holds `free / slot_len` outcomes, whatever their order, because none
//! is longer than `slot_len`. An ordinary record is admitted only if, after it, the places in the active segment and
//! the spares are at least the slots given out plus the ledger's own few.

use std::io;

use super::Engine;
use crate::disk::{DiskFile, is_full};
use crate::frame::FRAME_HEADER_LEN;
use crate::leaf::PREFIX_MAX;
use crate::options::{OWN_SLOTS, to_u64};
use crate::queue::{Health, Item, Role};
use crate::segment::{FOOTER_LEN, max_header_len};
use crate::ticket::Lost;

/// A preallocated file of zeros that waits to become a segment.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) len: u64,
}

impl Spare {
    /// Whether a file of this name is a spare.
    pub(crate) fn is_name(name: &str) -> bool {
        name.strip_prefix("spare-")
            .is_some_and(|digits| digits.parse::<u64>().is_ok())
    }

    pub(crate) fn serial(&self) -> u64 {
        self.name
            .strip_prefix("spare-")
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    }
}

enum Room {
    Here,
    Next,
    Nowhere,
}

impl Engine {
    /// Makes sure that the record has its place in the active segment, turning to the next one if it must.
    pub(super) fn admit(&mut self, item: &Item) -> Result<(), Lost> {
        loop {
            if self.active.is_none() {
                return Err(self.suspended());
            }
            match self.room(item) {
                Room::Here => return Ok(()),
                Room::Next => self.rotate(),
                Room::Nowhere => self.reserve_room(item)?,
            }
        }
    }

    fn suspended(&self) -> Lost {
        match self.shared.health() {
            Health::DiskFull => Lost::DiskFull,
            Health::Closed => Lost::Closed,
            Health::Healthy | Health::DiskFailed | Health::Corrupt => Lost::DiskFailed,
        }
    }

    /// Allocates one more spare, or closes the ledger for ordinary records until there is space again.
    fn reserve_room(&mut self, item: &Item) -> Result<(), Lost> {
        if self.shared.health() != Health::Healthy {
            return Err(self.suspended());
        }
        let Err(error) = self.add_spare() else { return Ok(()) };
        let (health, lost) = match is_full(&error) {
            true => (Health::DiskFull, Lost::DiskFull),
            false => (Health::DiskFailed, Lost::DiskFailed),
        };
        if !item.is_reserved() {
            self.shared.set_health(health);
        }
        Err(lost)
    }

    fn room(&self, item: &Item) -> Room {
        let Some(active) = &self.active else {
            return Room::Nowhere;
        };
        let len = group_len(item);
        let here = active.limit.saturating_sub(active.pos + to_u64(self.buf.len()));
        let slot = self.options.slot_len();
        let begins = usize::from(matches!(item.role, Role::Begins { .. }));
        let spare = self.spare_room(self.open.len() + self.opening + begins);
        let later = self.spares.len();
        let is_reserved = item.is_reserved();
        let wanted = if is_reserved {
            0
        } else {
            to_u64(self.shared.slots()) + OWN_SLOTS
        };
        if len <= here {
            let places = (here - len) / slot + to_u64(later).saturating_mul(spare / slot);
            return if places >= wanted { Room::Here } else { Room::Nowhere };
        }
        match later.checked_sub(1) {
            Some(others) if len <= spare => {
                let places = (spare - len) / slot + to_u64(others).saturating_mul(spare / slot);
                if places >= wanted { Room::Next } else { Room::Nowhere }
            }
            _ => Room::Nowhere,
        }
    }

    /// Bytes for frames in a spare once it has become a segment with this many unfinished calls in its header.
    fn spare_room(&self, open: usize) -> u64 {
        self.options
            .segment_bytes
            .saturating_sub(to_u64(max_header_len(open) + FOOTER_LEN))
    }

    /// Allocates one more spare and makes it durable.
    pub(super) fn add_spare(&mut self) -> io::Result<()> {
        let name = format!("spare-{}", self.spare_serial);
        self.spare_serial += 1;
        let len = self.options.segment_bytes;
        let made = self.disk.create(&name).and_then(|file| {
            file.allocate(len)?;
            file.sync_all()?;
            self.sync_dir()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                self.spares.push_back(Spare { file, name, len });
                Ok(())
            }
            Err(error) => {
                // Half a spare only takes space away from others; if it cannot be removed, the next start does it.
                let _ = self.disk.remove(&name);
                Err(error)
            }
        }
    }

    /// Keeps one spare ready, so that turning to a new segment costs no allocation. A failure is tried again later.
    pub(super) fn keep_spare(&mut self) {
        let is_due = self.next_probe.is_none();
        if self.spares.is_empty() && is_due && self.shared.health() == Health::Healthy {
            let _ = self.add_spare();
        }
    }

    /// Makes names durable.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        #[cfg(any(test, feature = "sim"))]
        if self.options.mutant == Some(crate::sim::Mutant::NoDirectorySync) {
            return Ok(());
        }
        self.disk.sync_dir()
    }
}

/// Bytes on the disk that the record and its parts need at most.
fn group_len(item: &Item) -> u64 {
    let parts: usize = item.parts.iter().map(|part| part.bytes.len() + FRAME_HEADER_LEN).sum();
    to_u64(item.body.len() + PREFIX_MAX + FRAME_HEADER_LEN + parts)
}
