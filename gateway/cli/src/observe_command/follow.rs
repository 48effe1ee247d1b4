//! Follows a log file that the API server writes, and turns over or copies away from under us.
//!
//! Where reading left off is kept after the events before it are durable. So what may be read twice after a crash is known by its
//! content ([`super::intake`]), and nothing is left out: the file itself is opened before it is looked what stands beside it, so that one
//! that is turned over meanwhile is held open; every file beside it that was not read is read, however late it appears; and where the file
//! in which reading left off is found no more, that is a gap, which is told and recorded.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use super::beside::{self, Beside, Form, HEAD, head, is_at};
use super::intake::Intake;
use super::keep::{Place, State};
use crate::server_log::{LONGEST_LINE, TooLong};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// One followed file.
pub(super) struct Follower {
    path: PathBuf,
    key: String,
    kept: Option<PathBuf>,
    state: State,
    /// As it was written last.
    stands: Option<State>,
    intake: Arc<Mutex<Intake>>,
    open: Option<Reading>,
    /// A file beside it that is being read.
    behind: Option<Reading>,
    /// Whether there may be something new beside it.
    looks: bool,
    /// When its folder was last changed, as it was last looked at.
    folder: Option<i64>,
    /// There is a ledger, and nothing says where its reading left off.
    unsure: bool,
    /// Files beside it that are not read, as this is the first time.
    pub(super) older: usize,
}

/// An open file and how far it is read.
struct Reading {
    file: File,
    /// Where it is read from, if not from the file as it is.
    unpacked: Option<Box<dyn Read + Send>>,
    name: PathBuf,
    /// All before it was taken.
    offset: u64,
    /// Behind it, the beginning of a line that has no end yet.
    pending: Vec<u8>,
    /// In the middle of a line that is too long.
    skips: bool,
}

/// What a look at the file has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There was something, and there may be more.
    Read,
    /// Nothing new for now.
    Nothing,
}

impl Follower {
    /// `kept` is the state file; without one, each run begins at the file's beginning.
    pub(super) fn new(path: &Path, kept: Option<PathBuf>, intake: Arc<Mutex<Intake>>) -> anyhow::Result<Self> {
        let state = kept.as_deref().map(State::read).transpose()?.unwrap_or_default();
        let full = std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display()))?;
        let key = full.display().to_string();
        let is_known = state.files.contains_key(&key) || state.left.contains_key(&key) || state.done.contains_key(&key);
        let is_fresh = lock(&intake).is_fresh();
        let mut follower = Self {
            path: path.to_owned(),
            key,
            kept,
            state,
            stands: None,
            intake,
            open: None,
            behind: None,
            looks: true,
            folder: None,
            unsure: !is_known && !is_fresh,
            older: 0,
        };
        // Opened at once: whatever is read first, what stands in it now is not lost when it is turned over meanwhile.
        if !is_known && is_fresh {
            let all = beside::all(path).with_context(|| cannot(path))?;
            follower.older = all.len();
            let all = all.iter().map(Beside::whole).collect();
            follower.state.done.insert(follower.key.clone(), all);
            follower.write()?;
        }
        follower.begin()?;
        Ok(follower)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there, some of it.
    ///
    /// # Errors
    /// A file cannot be read, or the ledger takes nothing.
    pub(super) fn step(&mut self) -> anyhow::Result<Step> {
        if self.open.is_none() && !self.begin()? {
            return Ok(Step::Nothing);
        }
        if let Some(reading) = self.behind.take() {
            return self.read_behind(reading).map(|()| Step::Read);
        }
        if self.looks {
            self.look()?;
            return Ok(Step::Read);
        }
        let Some(mut reading) = self.open.take() else {
            return Ok(Step::Nothing);
        };
        if !self.is_the_same(&reading)? {
            // Cut to nothing and written anew: what it had is in a copy beside it, if anywhere.
            self.leave()?;
            return Ok(Step::Read);
        }
        if reading.read(&self.intake, false)? {
            self.keep(&reading)?;
            self.open = Some(reading);
            return Ok(Step::Read);
        }
        if self.is_turned_over(&reading)? {
            // The server writes to another file by now. What it had written to this one is there.
            while reading.read(&self.intake, false)? {}
            reading.read(&self.intake, true)?;
            self.keep(&reading)?;
            self.leave()?;
            return Ok(Step::Read);
        }
        self.open = Some(reading);
        self.quiet()
    }

    /// All that is there was read.
    fn quiet(&mut self) -> anyhow::Result<Step> {
        if std::mem::take(&mut self.unsure) {
            let mut intake = lock(&self.intake);
            if intake.counts.known == 0 {
                intake.gap(&format!(
                    "where reading of `{}` left off is not known, and neither it nor a file beside it has anything that the ledger has: \
                     what was written between is not here",
                    self.path.display()
                ))?;
            }
        }
        let about = fs::metadata(beside::folder(&self.path)).with_context(|| cannot(&self.path))?;
        let written = Some(beside::written(&about));
        if std::mem::replace(&mut self.folder, written) != written {
            self.looks = true;
            return Ok(Step::Read);
        }
        Ok(Step::Nothing)
    }

    /// Opens the file, where the last run left off if it is the same; `false` where there is none.
    fn begin(&mut self) -> anyhow::Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(|| cannot(&self.path)),
        };
        let mut offset = 0;
        if let Some(place) = self.state.files.get(&self.key) {
            if is_at(&file, place).with_context(|| cannot(&self.path))? {
                offset = place.offset;
            } else {
                self.leave()?;
            }
        }
        let reading = Reading::new(file, &self.path, offset);
        self.keep(&reading)?;
        self.open = Some(reading);
        Ok(true)
    }

    /// What was read of the file so far stands in another one now, which is looked for beside it.
    fn leave(&mut self) -> anyhow::Result<()> {
        self.looks = true;
        if let Some(place) = self.state.files.remove(&self.key)
            // The file of an earlier one is still looked for: the later one is whole, and found like any other.
            && !self.state.left.contains_key(&self.key)
        {
            self.state.left.insert(self.key.clone(), place);
            self.write()?;
        }
        Ok(())
    }

    /// Looks for a file beside it that was not read, and begins it.
    fn look(&mut self) -> anyhow::Result<()> {
        let current = self.open.as_ref().map(|reading| reading.file.metadata()).transpose();
        let current = current
            .with_context(|| cannot(&self.path))?
            .map(|about| (about.dev(), about.ino()));
        let all = beside::all(&self.path).with_context(|| cannot(&self.path))?;
        let mut done = self.state.done.remove(&self.key).unwrap_or_default();
        let (mut left, mut found) = (self.state.left.get(&self.key).cloned(), None);
        for one in &all {
            if current == Some((one.device, one.inode)) {
                continue;
            }
            let is_left = left.as_ref().is_some_and(|place| one.is_of(place));
            let at_end = |place: &Place| one.is_of(place) && one.ends_at(place);
            if done.iter().any(&at_end) || left.as_ref().is_some_and(&at_end) {
                let itself = |place: &Place| (place.device, place.inode) == (one.device, one.inode);
                if !done.iter().any(|place| itself(place) && at_end(place)) {
                    done.push(one.whole());
                }
            } else if found.is_none() {
                let from = left.as_ref().filter(|_| is_left && one.form == Form::Plain);
                found = Some((one, from.map_or(0, |place| place.offset)));
            } else {
                continue;
            }
            if is_left {
                left = None;
            }
        }
        done.retain(|place| {
            all.iter()
                .any(|one| (one.device, one.inode) == (place.device, place.inode))
        });
        let found = match found {
            Some((one, _)) if one.form == Form::Unread => {
                done.push(one.whole());
                self.gap(&format!("`{}` is packed in a way that is not read", one.path.display()))?;
                None
            }
            Some((one, offset)) => Some(Reading::beside(one, offset).with_context(|| cannot(&one.path))?),
            None => {
                self.looks = false;
                None
            }
        };
        self.state.done.insert(self.key.clone(), done);
        match left {
            // All was looked at.
            Some(place) if !self.looks => {
                self.gap(&format!(
                    "the file that was `{}` when {} bytes of it were read is not beside it any more: if more was written to it, or another \
                     file came between, that is not here",
                    self.path.display(),
                    place.offset
                ))?;
                self.state.left.remove(&self.key);
            }
            Some(_) => {}
            // Kept until what is behind it was read, so that a crash finds it again.
            None if found.is_none() => {
                self.state.left.remove(&self.key);
            }
            None => {}
        }
        self.behind = found;
        self.write()
    }

    /// Reads some of a file beside it.
    fn read_behind(&mut self, mut reading: Reading) -> anyhow::Result<()> {
        let packed = reading.unpacked.is_some();
        match reading.read(&self.intake, false) {
            Ok(true) => {
                self.behind = Some(reading);
                return Ok(());
            }
            Ok(false) => {}
            Err(error) if packed && error.is::<Broken>() => self.gap(&format!("{error:#}"))?,
            Err(error) => return Err(error),
        }
        reading.read_rest(&self.intake)?;
        let mut place = reading.place().with_context(|| cannot(&reading.name))?;
        if packed {
            place = beside::all(&self.path)
                .with_context(|| cannot(&self.path))?
                .iter()
                .find(|one| (one.device, one.inode) == (place.device, place.inode))
                .map_or(place, Beside::whole);
        }
        // What was left off in it is read now. Where reading is stays known until all beside it was looked at: if this one is gone by then,
        // others may be that nobody has seen.
        if let Some(left) = self.state.left.get_mut(&self.key)
            && ((left.device, left.inode) == (place.device, place.inode)
                || (left.head_len == place.head_len && left.head == place.head))
        {
            left.clone_from(&place);
        }
        self.state.done.entry(self.key.clone()).or_default().push(place);
        self.write()
    }

    fn gap(&self, what: &str) -> anyhow::Result<()> {
        lock(&self.intake).gap(what)
    }

    /// Whether the open file still has what was read of it.
    fn is_the_same(&self, reading: &Reading) -> anyhow::Result<bool> {
        let Some(place) = self.state.files.get(&self.key) else {
            return Ok(true);
        };
        is_at(&reading.file, place).with_context(|| cannot(&self.path))
    }

    /// Whether the path leads to another file, which is there already.
    fn is_turned_over(&self, reading: &Reading) -> anyhow::Result<bool> {
        let own = reading.file.metadata().with_context(|| cannot(&self.path))?;
        match fs::metadata(&self.path) {
            Ok(other) => Ok((own.dev(), own.ino()) != (other.dev(), other.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| cannot(&self.path)),
        }
    }

    /// Notes how far all is durable.
    fn keep(&mut self, reading: &Reading) -> anyhow::Result<()> {
        let place = reading.place().with_context(|| cannot(&self.path))?;
        if self.state.files.get(&self.key) == Some(&place) {
            return Ok(());
        }
        self.state.files.insert(self.key.clone(), place);
        self.write()
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.stands.as_ref() != Some(&self.state)) {
            self.state.write(kept)?;
            self.stands = Some(self.state.clone());
        }
        Ok(())
    }
}

/// A packed file that cannot be unpacked to its end.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be unpacked from byte {1} on: {2}")]
struct Broken(String, u64, std::io::Error);

fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reading {
    fn new(file: File, name: &Path, offset: u64) -> Self {
        Self {
            file,
            unpacked: None,
            name: name.to_owned(),
            offset,
            pending: Vec::new(),
            skips: false,
        }
    }

    fn beside(one: &Beside, offset: u64) -> std::io::Result<Self> {
        let file = File::open(&one.path)?;
        let mut reading = Self::new(file, &one.path, offset);
        if one.form == Form::Gzip {
            reading.unpacked = Some(Box::new(beside::unpacked(reading.file.try_clone()?)));
        }
        Ok(reading)
    }

    fn place(&self) -> std::io::Result<Place> {
        let about = self.file.metadata()?;
        let head_len = about.len().min(HEAD).min(self.offset);
        Ok(Place {
            device: about.dev(),
            inode: about.ino(),
            head: head(&self.file, head_len)?,
            head_len,
            offset: self.offset,
            written: beside::written(&about),
        })
    }

    /// Takes the lines of the next piece; with `last`, the rest that has no end, too. `false`: there was nothing more.
    fn read(&mut self, intake: &Mutex<Intake>, last: bool) -> anyhow::Result<bool> {
        let waiting = to_u64(self.pending.len());
        let before = self.pending.len();
        self.pending.resize(before + CHUNK, 0);
        let room = self.pending.get_mut(before..).unwrap_or_default();
        let read = match &mut self.unpacked {
            None => self.file.read_at(room, self.offset + waiting),
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
        let ends = self
            .pending
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        self.take(intake, if last { self.pending.len() } else { ends })?;
        if self.pending.len() > LONGEST_LINE {
            if !std::mem::replace(&mut self.skips, true) {
                let mut intake = lock(intake);
                intake.unreadable(&self.spot(0), (self.offset, 0), b"too long", &TooLong.to_string());
            }
            self.offset += to_u64(self.pending.len());
            self.pending.clear();
        }
        Ok(read > 0)
    }

    /// Takes what has no end and will have none.
    fn read_rest(&mut self, intake: &Mutex<Intake>) -> anyhow::Result<()> {
        let rest = self.pending.len();
        self.take(intake, rest)
    }

    fn take(&mut self, intake: &Mutex<Intake>, taken: usize) -> anyhow::Result<()> {
        if taken == 0 {
            return Ok(());
        }
        let mut intake = lock(intake);
        let mut events = Vec::new();
        let mut at = 0;
        let skips = self.skips;
        for line in self
            .pending
            .get(..taken)
            .unwrap_or_default()
            .split_inclusive(|byte| *byte == b'\n')
        {
            // The end of a line whose beginning was too long.
            if !(skips && at == 0) {
                let place = |_| self.spot(at);
                intake.line(&mut events, self.offset + to_u64(at), line, &place)?;
            }
            at += line.len();
        }
        intake.take(&events)?;
        self.skips = false;
        self.pending.drain(..taken);
        self.offset += to_u64(taken);
        Ok(())
    }

    fn spot(&self, at: usize) -> String {
        format!("{} at byte {}", self.name.display(), self.offset + to_u64(at))
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot read `{}`", path.display())
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
