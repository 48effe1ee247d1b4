//! One open file of a log, read by whole lines.
//!
//! - What was read counts only if the file still begins as before when it is there: a file that is cut and written anew while it is
//!   read hands out the middle of another text.
//! - A place that is kept stands before a line, also before one that is too long to be held: its beginning is read again after a restart,
//!   and nothing in its middle is taken for a line.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use super::beside::{self, Beside, Form, HEAD, Itself};
use super::intake::Intake;
use super::keep::Place;
use crate::server_log::{LONGEST_LINE, TooLong};

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 1 << 20;

/// An open file and how far it is read.
pub(super) struct Reading {
    pub(super) file: File,
    /// Where it is read from, if not from the file as it is.
    unpacked: Option<Box<dyn Read + Send>>,
    pub(super) name: PathBuf,
    /// Zeros before all else.
    hole: u64,
    /// The first bytes behind them, as they were read.
    head: Vec<u8>,
    /// All before it was taken. A line begins here.
    pub(super) offset: u64,
    /// Behind it, the beginning of a line that has no end yet.
    pub(super) pending: Vec<u8>,
    /// Or that of one that is too long to be held.
    long: Option<TooLong>,
}

/// What a reading has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was something, and there may be more.
    Something,
    /// There is no more for now.
    End,
    /// The file has something else than was read of it: it was cut.
    Other,
}

/// A packed file that cannot be unpacked to its end.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be unpacked from byte {1} on: {2}")]
pub(super) struct Broken(String, u64, std::io::Error);

impl Reading {
    /// From its beginning.
    pub(super) fn new(file: File, name: &Path) -> Self {
        Self {
            file,
            unpacked: None,
            name: name.to_owned(),
            hole: 0,
            head: Vec::new(),
            offset: 0,
            pending: Vec::new(),
            long: None,
        }
    }

    /// From a place on, if the file is the one of the place and has what was read of it; else from its beginning, and `false`.
    pub(super) fn from(file: File, name: &Path, place: &Place) -> std::io::Result<(Self, bool)> {
        let head = beside::head_at(&file, place)?;
        let mut reading = Self::new(file, name);
        let is_it = head.is_some();
        // Where nothing was taken, there may be less of a hole by now.
        if let Some(head) = head.filter(|head| !head.is_empty()) {
            reading.hole = place.hole;
            reading.head = head;
            reading.offset = place.offset;
        }
        Ok((reading, is_it))
    }

    /// A file beside the log; `None` where another one stands there by now.
    pub(super) fn beside(one: &Beside, place: &Place) -> std::io::Result<Option<Self>> {
        let Some(file) = beside::there(File::open(&one.path).map(Some))? else {
            return Ok(None);
        };
        if Itself::of(&file.metadata()?) != one.itself {
            return Ok(None);
        }
        if one.form == Form::Plain {
            return Ok(Some(Self::from(file, &one.path, place)?.0));
        }
        let mut reading = Self::new(file, &one.path);
        reading.unpacked = Some(Box::new(beside::unpacked(reading.file.try_clone()?)));
        Ok(Some(reading))
    }

    pub(super) fn is_packed(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Where it is; of a packed file as if it were not. The beginning of a line that has no end yet is among what it is known by.
    pub(super) fn place(&self) -> std::io::Result<Place> {
        let about = self.file.metadata()?;
        let itself = Itself::of(&about);
        Ok(Place {
            device: itself.device,
            inode: itself.inode,
            born: itself.born,
            hole: self.hole,
            head: beside::digest_of(&self.head),
            head_len: to_u64(self.head.len()),
            offset: self.offset,
            rest: 0,
            written: beside::written(&about),
        })
    }

    /// Takes the lines of the next piece. `before_taking` is what may happen between the reading and the taking.
    ///
    /// # Errors
    /// It cannot be read ([`Broken`] where it cannot be unpacked), or the ledger takes nothing.
    pub(super) fn read(&mut self, intake: &Mutex<Intake>, before_taking: impl FnOnce()) -> anyhow::Result<Found> {
        let before = self.pending.len();
        let at = self.position();
        self.pending.resize(before + CHUNK, 0);
        let room = self.pending.get_mut(before..).unwrap_or_default();
        let read = match &mut self.unpacked {
            None => self.file.read_at(room, at),
            Some(unpacked) => unpacked.read(room),
        };
        let read = match read {
            Err(error) if self.unpacked.is_some() => {
                self.pending.truncate(before);
                return Err(Broken(self.name.display().to_string(), self.offset, error).into());
            }
            read => read.with_context(|| cannot(&self.name))?,
        };
        self.pending.truncate(before + read);
        before_taking();
        let is_the_same = self
            .is_the_same(at + to_u64(read))
            .with_context(|| cannot(&self.name))?;
        if !is_the_same && !self.head.is_empty() {
            return Ok(Found::Other);
        }
        // Also of a file that was cut before anything of it was known: by this it is found beside the log.
        self.pass_zeros();
        self.remember_head();
        if !is_the_same {
            return Ok(Found::Other);
        }
        self.take_lines(intake, read)?;
        Ok(if read > 0 { Found::Something } else { Found::End })
    }

    /// Up to where the file was read.
    fn position(&self) -> u64 {
        let long = self.long.as_ref().map_or(0, TooLong::bytes);
        self.offset + long + to_u64(self.pending.len())
    }

    /// Whether the file begins as it did, and has all that was read of it. A packed file is read by its own state.
    fn is_the_same(&self, read_to: u64) -> std::io::Result<bool> {
        if self.unpacked.is_some() {
            return Ok(true);
        }
        // Where there is nothing but zeros yet, the last of them.
        let (expected, at) = match self.hole.checked_sub(1) {
            Some(before) if self.head.is_empty() => (&[0][..], before),
            _ => (&*self.head, self.hole),
        };
        let mut have = vec![0xff; expected.len()];
        let is_long = self.file.metadata()?.len() >= read_to;
        Ok(is_long && beside::read_whole_at(&self.file, &mut have, at)? && have == expected)
    }

    /// A log that was cut while its writer goes on where it was begins with zeros, and no event does.
    fn pass_zeros(&mut self) {
        if self.long.is_some() {
            return;
        }
        let zeros = self.pending.iter().take_while(|byte| **byte == 0).count();
        if self.head.is_empty() {
            self.hole += to_u64(zeros);
        }
        self.pending.drain(..zeros);
        self.offset += to_u64(zeros);
    }

    /// The first bytes, as far as they are there.
    fn remember_head(&mut self) {
        let known = self.hole + to_u64(self.head.len());
        if to_u64(self.head.len()) < HEAD && self.long.is_none() && known >= self.offset {
            let from = self.pending.get(to_usize(known - self.offset)..).unwrap_or_default();
            let missing = to_usize(HEAD) - self.head.len();
            self.head.extend(from.iter().take(missing));
        }
    }

    /// Takes all that has an end; what was not there before the last so many bytes has none.
    fn take_lines(&mut self, intake: &Mutex<Intake>, new: usize) -> anyhow::Result<()> {
        self.end_long(intake)?;
        let before = self.pending.len().saturating_sub(new);
        let last = self.pending.get(before..).unwrap_or_default();
        let ends = last.iter().rposition(|byte| *byte == b'\n');
        self.take(intake, ends.map_or(0, |at| before + at + 1))?;
        if self.long.is_some() || self.pending.len() > LONGEST_LINE {
            self.long.get_or_insert_default().push(&self.pending);
            self.pending.clear();
        }
        Ok(())
    }

    /// Tells of a line that is too long when its end is there.
    fn end_long(&mut self, intake: &Mutex<Intake>) -> anyhow::Result<()> {
        let end = self.pending.iter().position(|byte| *byte == b'\n');
        let (Some(end), true) = (end, self.long.is_some()) else {
            return Ok(());
        };
        let Some(mut long) = self.long.take() else {
            return Ok(());
        };
        long.push(self.pending.get(..end).unwrap_or_default());
        self.tell_long(intake, &long)?;
        self.offset += long.bytes() + 1;
        self.pending.drain(..=end);
        Ok(())
    }

    fn tell_long(&self, intake: &Mutex<Intake>, long: &TooLong) -> anyhow::Result<()> {
        let mut intake = lock(intake);
        intake.unreadable(&self.spot(0), (self.offset, 0), &long.digest(), &long.to_string());
        intake.take(&[])
    }

    /// Takes what has no end, as if it had one.
    ///
    /// # Errors
    /// The ledger takes nothing.
    pub(super) fn take_rest(&mut self, intake: &Mutex<Intake>) -> anyhow::Result<()> {
        if let Some(long) = self.long.take() {
            self.tell_long(intake, &long)?;
            self.offset += long.bytes();
        }
        let rest = self.pending.len();
        self.take(intake, rest)
    }

    /// Bytes of a line that has no end yet.
    pub(super) fn rest(&self) -> u64 {
        self.position() - self.offset
    }

    fn take(&mut self, intake: &Mutex<Intake>, taken: usize) -> anyhow::Result<()> {
        if taken == 0 {
            return Ok(());
        }
        let mut intake = lock(intake);
        let mut events = Vec::new();
        let mut at = 0;
        let lines = self.pending.get(..taken).unwrap_or_default();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let zeros = line.iter().take_while(|byte| **byte == 0).count();
            let begin = at + zeros;
            let place = |_| self.spot(begin);
            let text = line.get(zeros..).unwrap_or_default();
            intake.line(&mut events, self.offset + to_u64(begin), text, &place)?;
            at += line.len();
        }
        intake.take(&events)?;
        self.pending.drain(..taken);
        self.offset += to_u64(taken);
        Ok(())
    }

    fn spot(&self, at: usize) -> String {
        format!("{} at byte {}", self.name.display(), self.offset + to_u64(at))
    }
}

pub(super) fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn cannot(path: &Path) -> String {
    format!("cannot read `{}`", path.display())
}

pub(super) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
