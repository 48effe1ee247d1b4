//! Follows a log file that the API server writes, and turns over or copies away from under us.
//!
//! Where reading left off is kept after the events before it are durable. So what may be read twice after a crash is known by its
//! content ([`super::intake`]), and nothing is left out: of a file that is renamed the rest is read, by its inode; of one that is
//! cut to nothing (copytruncate), the copies beside it are read.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use aws_lc_rs::digest;

use super::intake::{BATCH, Intake};
use super::keep::{Place, State};
use crate::server_log::{LONGEST_LINE, TooLong};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// By so many first bytes a file is known again.
const HEAD: u64 = 256;

/// One followed file.
pub(super) struct Follower {
    path: PathBuf,
    key: String,
    kept: Option<PathBuf>,
    state: State,
    intake: Arc<Mutex<Intake>>,
    open: Option<Reading>,
}

/// An open file and how far it is read.
struct Reading {
    file: File,
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
        Ok(Self {
            path: path.to_owned(),
            key: full.display().to_string(),
            kept,
            state,
            intake,
            open: None,
        })
    }

    /// Reads what is there, some of it.
    ///
    /// # Errors
    /// A file cannot be read, or the ledger takes nothing.
    pub(super) fn step(&mut self) -> anyhow::Result<Step> {
        if self.open.is_none() && !self.begin()? {
            return Ok(Step::Nothing);
        }
        let Some(mut reading) = self.open.take() else {
            return Ok(Step::Nothing);
        };
        if !self.is_the_same(&reading)? {
            // Cut to nothing and written anew: what it had is in a copy beside it, if anywhere.
            self.catch_up(None)?;
            self.state.files.remove(&self.key);
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
            self.catch_up(Some(&reading))?;
            self.state.files.remove(&self.key);
            return Ok(Step::Read);
        }
        self.open = Some(reading);
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
        if let Some(place) = self.state.files.get(&self.key).cloned() {
            let is_it = is_at(&file, &place).with_context(|| cannot(&self.path))?;
            if is_it {
                offset = place.offset;
            } else {
                self.catch_up(None)?;
            }
        }
        let reading = Reading::new(file, &self.path, offset);
        self.keep(&reading)?;
        self.open = Some(reading);
        Ok(true)
    }

    /// Reads what the files beside it have that came after the place where reading left off: what was turned over meanwhile.
    fn catch_up(&self, done: Option<&Reading>) -> anyhow::Result<()> {
        let Some(place) = self.state.files.get(&self.key) else {
            return Ok(());
        };
        let identity = |file: &File| -> std::io::Result<(u64, u64)> {
            let about = file.metadata()?;
            Ok((about.dev(), about.ino()))
        };
        let current = File::open(&self.path).ok().map(|file| identity(&file)).transpose()?;
        let done = done.map(|reading| identity(&reading.file)).transpose()?;
        for path in turned_over(&self.path, place.written).with_context(|| cannot(&self.path))? {
            let file = File::open(&path).with_context(|| cannot(&path))?;
            let own = identity(&file).with_context(|| cannot(&path))?;
            if Some(own) == current || Some(own) == done {
                continue;
            }
            let offset = if is_at(&file, place).with_context(|| cannot(&path))? {
                place.offset
            } else {
                0
            };
            let mut reading = Reading::new(file, &path, offset);
            while reading.read(&self.intake, false)? {}
            reading.read(&self.intake, true)?;
        }
        Ok(())
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
        match &self.kept {
            Some(kept) => self.state.write(kept),
            None => Ok(()),
        }
    }
}

impl Reading {
    fn new(file: File, name: &Path, offset: u64) -> Self {
        Self {
            file,
            name: name.to_owned(),
            offset,
            pending: Vec::new(),
            skips: false,
        }
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
            written: about
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(about.mtime_nsec()),
        })
    }

    /// Takes the lines of the next piece; with `last`, the rest that has no end, too. `false`: there was nothing more.
    fn read(&mut self, intake: &Mutex<Intake>, last: bool) -> anyhow::Result<bool> {
        let waiting = to_u64(self.pending.len());
        let before = self.pending.len();
        self.pending.resize(before + CHUNK, 0);
        let room = self.pending.get_mut(before..).unwrap_or_default();
        let read = self.file.read_at(room, self.offset + waiting);
        let read = read.with_context(|| cannot(&self.name))?;
        self.pending.truncate(before + read);
        let ends = self
            .pending
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let taken = if last { self.pending.len() } else { ends };
        if taken > 0 {
            self.take(intake, taken)?;
            self.pending.drain(..taken);
            self.offset += to_u64(taken);
        }
        if self.pending.len() > LONGEST_LINE {
            let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::replace(&mut self.skips, true) {
                intake.unreadable(&self.spot(0), &TooLong.to_string());
            }
            self.offset += to_u64(self.pending.len());
            self.pending.clear();
        }
        Ok(read > 0)
    }

    fn take(&mut self, intake: &Mutex<Intake>, taken: usize) -> anyhow::Result<()> {
        let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
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
            if skips && at == 0 {
                at += line.len();
                continue;
            }
            match insight::read_each(line) {
                Ok(read) => {
                    for event in read {
                        match event {
                            Ok(event) => events.push(event),
                            Err(error) => intake.unreadable(&self.spot(at), &error.to_string()),
                        }
                    }
                }
                Err(error) => intake.unreadable(&self.spot(at), &error.to_string()),
            }
            at += line.len();
            if events.len() >= BATCH {
                intake.take(&events)?;
                events.clear();
            }
        }
        self.skips = false;
        intake.take(&events)
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

/// The digest of a file's first bytes; empty where it has fewer.
fn head(file: &File, length: u64) -> std::io::Result<String> {
    let mut bytes = vec![0; usize::try_from(length.min(HEAD)).unwrap_or_default()];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(hex::encode(digest::digest(&digest::SHA256, &bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Whether it is the file of the place, and still has what was read of it.
fn is_at(file: &File, place: &Place) -> std::io::Result<bool> {
    let about = file.metadata()?;
    let is_it = (about.dev(), about.ino()) == (place.device, place.inode) && about.len() >= place.offset;
    Ok(is_it && head(file, place.head_len)? == place.head)
}

/// Files beside the log that are named after it and were written since, oldest first: `audit-2026-….log` (the API server's own way),
/// `audit.log.1` (logrotate's). Compressed ones are not read.
fn turned_over(path: &Path, since: i64) -> std::io::Result<Vec<PathBuf>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&stem).unwrap_or_default();
        let is_packed = [".gz", ".zst", ".bz2", ".xz"].iter().any(|end| rest.ends_with(end));
        if !rest.starts_with(['-', '.', '_']) || is_packed || Some(name.as_ref()) == path.file_name() {
            continue;
        }
        let about = entry.metadata()?;
        let written = about
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(about.mtime_nsec());
        if about.is_file() && written >= since {
            found.push((written, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
