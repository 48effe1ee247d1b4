//! What a ledger's folder holds, at a glance: headers, footers, the last segment and the newest checkpoint are read, and nothing
//! is proved. Beside a live writer or without one; changes nothing.
//!
//! Not here: whether it holds ([`crate::verify`]).

use std::ops::Range;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::disk::{Disk, read_range};
use crate::error::ReadError;
use crate::note::{MAX_NOTE_LEN, Note, NoteError};
use crate::reader::{Reader, SegmentInfo};
use crate::segment::segment_name;
use crate::verify::{NEWEST_CHECKPOINT, WITNESSED};

/// What a folder holds.
#[derive(Clone, Debug)]
pub struct Status {
    /// The first record that is here.
    pub first: u64,
    /// The number after the last whole record.
    pub size: u64,
    /// Segments, by their first record.
    pub segments: Vec<SegmentStatus>,
    /// Records that no segment has, between those that are here or before them.
    pub missing: Vec<Range<u64>>,
    /// The newest checkpoint; `None` where nothing was signed.
    pub checkpoint: Option<Newest>,
    /// The newest checkpoint that enough witnesses cosigned; `None` where there is none.
    pub witnessed: Option<Newest>,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStatus {
    /// Its first record.
    pub first: u64,
    /// The number after its last record.
    pub next: u64,
    /// Whether it has a footer: nothing is written to it any more.
    pub is_sealed: bool,
    /// Bytes of its file, preallocated ones included.
    pub bytes: u64,
}

/// A checkpoint as it says itself. Whether the signatures hold is not looked at.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The note.
    pub note: Note,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// Why a folder's status cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The folder or a file in it cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of the newest checkpoints is no signed note.
    #[error("`{file}` is no signed checkpoint")]
    Note {
        /// The file.
        file: String,
        /// What is wrong.
        source: NoteError,
    },
    /// It is a note and no checkpoint.
    #[error("`{file}` is no checkpoint")]
    Checkpoint {
        /// The file.
        file: String,
        /// What is wrong.
        source: CheckpointError,
    },
}

impl Status {
    /// Looks at the folder. The last segment is walked where it has no footer; of all others only the ends are read.
    ///
    /// # Errors
    /// [`StatusError`].
    pub fn of(disk: &Arc<dyn Disk>) -> Result<Self, StatusError> {
        // Read first: records that come in between are then not covered, and none that were signed seem to be gone.
        let checkpoint = newest(&**disk, NEWEST_CHECKPOINT)?;
        let witnessed = newest(&**disk, WITNESSED)?;
        let reader = Reader::open_on(Arc::clone(disk))?;
        let (mut segments, mut missing) = (Vec::new(), Vec::new());
        let mut reached = 0;
        for info in reader.segments() {
            let segment = SegmentStatus::of(disk, &reader, *info)?;
            if segment.first > reached {
                missing.push(reached..segment.first);
            }
            reached = segment.next.max(reached);
            segments.push(segment);
        }
        Ok(Self {
            first: segments.first().map_or(0, |segment| segment.first),
            size: reached,
            segments,
            missing,
            checkpoint,
            witnessed,
        })
    }

    /// The records that the newest checkpoint does not cover.
    #[must_use]
    pub fn uncovered(&self) -> Range<u64> {
        let signed = self.checkpoint.as_ref().map_or(0, |newest| newest.checkpoint.size);
        signed.max(self.first).min(self.size)..self.size
    }

    /// How many records were signed and are not here any more.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        let signed = self.checkpoint.as_ref().map_or(0, |newest| newest.checkpoint.size);
        signed.saturating_sub(self.size)
    }
}

impl SegmentStatus {
    fn of(disk: &Arc<dyn Disk>, reader: &Reader, info: SegmentInfo) -> Result<Self, ReadError> {
        let name = segment_name(info.first_seq);
        let len = disk.open_read(&name).and_then(|file| file.len());
        let bytes = len.map_err(|source| ReadError::Io {
            file: disk.display(&name),
            source,
        })?;
        let sealed = reader.sealed_end(info);
        let next = match sealed {
            Some(next) => next,
            None => match reader.records_in(info).last().transpose()? {
                Some(record) => record.seq.saturating_add(1),
                None => info.first_seq,
            },
        };
        Ok(Self {
            first: info.first_seq,
            next,
            is_sealed: sealed.is_some(),
            bytes,
        })
    }
}

fn newest(disk: &dyn Disk, name: &str) -> Result<Option<Newest>, StatusError> {
    let file = disk.display(name);
    let read = disk
        .open_read(name)
        .and_then(|file| read_range(&*file, 0, MAX_NOTE_LEN + 1));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Io { file, source }.into()),
    };
    let note = Note::parse(&bytes).map_err(|source| StatusError::Note {
        file: file.clone(),
        source,
    })?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|source| StatusError::Checkpoint { file, source })?;
    Ok(Some(Newest { note, checkpoint }))
}

#[cfg(test)]
mod tests;
