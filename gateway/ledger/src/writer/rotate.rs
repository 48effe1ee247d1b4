//! From one segment to the next: sealing, beginning, and abandoning one whose disk failed.
//!
//! Steps of a turn, each durable before the next begins, so that a kill between any two leaves the old set or the new:
//! the batch (its own sync); the hashes derived from it, sync; the footer, sync, cut behind it, sync; a spare takes the
//! segment's name, folder sync; the header, sync; records.

use std::io;

use super::{Active, Engine, Follows, Side};
use crate::disk::{is_full, read_range};
use crate::options::to_u64;
use crate::queue::Health;
use crate::segment::{FOOTER_LEN, Footer, Header, scan, segment_name};
use crate::ticket::Lost;

impl Engine {
    /// Seals the active segment and begins the next. On failure there is no active segment and health says why.
    pub(super) fn rotate(&mut self) {
        if !self.flush() {
            return;
        }
        match self.seal() {
            Ok(()) => {
                self.active = None;
                self.follows = Follows::Sealed;
                if let Err(error) = self.begin_segment() {
                    self.suspend(lost_by(&error));
                }
            }
            Err(error) => self.abandon(lost_by(&error)),
        }
    }

    /// Writes the footer. Cutting the file behind it only gives space back: a failure there changes nothing.
    fn seal(&mut self) -> io::Result<()> {
        if self.active.is_some() {
            self.settle_derived()?;
        }
        let Some(active) = &self.active else { return Ok(()) };
        let footer = Footer {
            first_seq: active.first_seq,
            next_seq: self.durable.size(),
            data_end: active.pos,
            root: self.durable.root(),
        };
        active.file.write_at(&footer.encode(), active.pos)?;
        active.file.sync_data()?;
        let _ = active
            .file
            .set_len(active.pos + to_u64(FOOTER_LEN))
            .and_then(|()| active.file.sync_all());
        Ok(())
    }

    /// Makes durable what is derived from the segment's records: readers trust it once the segment has a footer or a successor.
    fn settle_derived(&mut self) -> io::Result<()> {
        self.tiles.settle()?;
        self.side.settle(&*self.disk)
    }

    /// Seals at close. A segment that cannot be sealed stays as it is: all its records are durable, and the next start scans it.
    pub(super) fn seal_for_good(&mut self) {
        let _ = self.seal();
        self.active = None;
    }

    /// Makes a spare the next segment.
    pub(crate) fn begin_segment(&mut self) -> io::Result<()> {
        self.settle_derived()?;
        if self.spares.is_empty() {
            self.add_spare()?;
        }
        let Some(spare) = self.spares.pop_front() else {
            return Err(io::ErrorKind::StorageFull.into());
        };
        let abandoned_at = match self.follows {
            Follows::Sealed => None,
            Follows::Abandoned(end) => Some(end),
        };
        let header = Header {
            frontier: self.durable.clone(),
            open: self.open.clone(),
            abandoned_at,
        };
        let (first_seq, bytes) = (header.first_seq(), header.encode());
        self.disk.rename(&spare.name, &segment_name(first_seq))?;
        self.sync_dir()?;
        spare.file.write_at(&bytes, 0)?;
        spare.file.sync_data()?;
        self.side = Side::begin(&*self.disk, first_seq, &[]);
        let (pos, limit) = (to_u64(bytes.len()), spare.len.saturating_sub(to_u64(FOOTER_LEN)));
        self.active = Some(Active {
            file: spare.file,
            first_seq,
            pos,
            limit,
            abandoned_at,
        });
        Ok(())
    }

    /// Gives the active segment up after a failed write or sync, at the end of its last durable record.
    pub(super) fn abandon(&mut self, lost: Lost) {
        let Some(active) = self.active.take() else {
            return self.suspend(lost);
        };
        // What is left of it is done before the next segment begins.
        let _ = self.settle_derived();
        if !self.tail_is_whole(&active) {
            return self.corrupt();
        }
        // A segment without a durable record is replaced under its own name, so its successor follows what it followed.
        self.follows = match active.abandoned_at {
            _ if active.first_seq < self.durable.size() => Follows::Abandoned(active.pos),
            Some(end) => Follows::Abandoned(end),
            None => Follows::Sealed,
        };
        drop(active);
        self.suspend(lost);
        if !std::mem::replace(&mut self.failed_last, true) {
            self.resume();
        }
    }

    /// Reads back from the disk what was acknowledged and compares its tree with the one in memory.
    fn tail_is_whole(&self, active: &Active) -> bool {
        let Ok(len) = usize::try_from(active.pos) else {
            return false;
        };
        let read = self
            .disk
            .open_read(&segment_name(active.first_seq))
            .and_then(|file| read_range(&*file, 0, len));
        match read.map(|bytes| scan(&bytes)) {
            Ok(Ok(Some(scan))) => scan.end == len && scan.frontier == self.durable,
            _ => false,
        }
    }

    /// Tries to go on in a new segment.
    pub(super) fn resume(&mut self) {
        match self.begin_segment() {
            Ok(()) => self.recovered(),
            Err(error) => self.suspend(lost_by(&error)),
        }
    }

    fn suspend(&mut self, lost: Lost) {
        self.active = None;
        self.begin_missing(lost);
        self.shared.set_health(if lost == Lost::DiskFull {
            Health::DiskFull
        } else {
            Health::DiskFailed
        });
    }

    /// What was durable is not there any more. Nothing is written after that.
    fn corrupt(&mut self) {
        for item in self
            .shared
            .shut(Health::Corrupt)
            .into_iter()
            .chain(std::mem::take(&mut self.held))
        {
            self.lose(item, Lost::DiskFailed);
        }
    }
}

fn lost_by(error: &io::Error) -> Lost {
    if is_full(error) {
        Lost::DiskFull
    } else {
        Lost::DiskFailed
    }
}
