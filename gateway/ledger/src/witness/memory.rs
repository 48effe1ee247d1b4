//! What a witness remembers of one log: the newest checkpoint that it cosigned, as the signed note itself, in one file that is
//! replaced whole. So the memory is evidence that anybody can check, and `ledger verify --remembered` takes it as it is.
//!
//! Where the log has shown that its key changed, the statements of that stand behind the checkpoint in the same file, below a line of their own, each
//! cosigned. They are no file of their own, so that none can be taken away, or put back, without the other.
//!
//! A file that cannot be read, or that this witness's key did not sign, is never taken for "nothing cosigned yet": the witness
//! does not begin then.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;

use super::nothing;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::disk::{Disk, DiskLock, LockError, read_range};
use crate::note::{KeyTurn, MAX_NOTE_LEN, Note, NoteError, VerifierKey, VerifyError};
use crate::tree::Head;
use crate::verify::notes;

const ENDING: &str = ".cosigned";
const NEW: &str = ".new";
/// The line between the checkpoint and the changes of the log's key.
const CHANGES: &str = "gatescribe.dev/key-changes\n";
/// Changes of a log's key that are followed from the newest one that is listed.
pub(super) const MOST_CHANGES: usize = 64;
/// The longest statement of a change that is remembered, in bytes, with its signatures: four lines and three signatures.
const MAX_CHANGE_LEN: usize = 4096;
/// The longest file.
const MAX_LEN: usize = MAX_NOTE_LEN + CHANGES.len() + MOST_CHANGES * MAX_CHANGE_LEN;

/// Why a memory cannot be had or kept.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// The folder is another witness's at the moment, or cannot be made.
    #[error("the witness's folder cannot be had")]
    Lock(#[source] LockError),
    /// The disk said no.
    #[error("cannot {what} `{file}`")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        file: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// It is no signed note.
    #[error("`{file}`, which the witness remembers a log by, is no signed checkpoint: put a whole copy back")]
    Note {
        /// The file.
        file: String,
        /// What is wrong.
        source: NoteError,
    },
    /// The note is no checkpoint.
    #[error("`{file}`, which the witness remembers a log by, is no checkpoint: put a whole copy back")]
    Checkpoint {
        /// The file.
        file: String,
        /// What is wrong.
        source: CheckpointError,
    },
    /// It is of another log.
    #[error("`{file}` is of the log `{found}` and not of `{origin}`")]
    Origin {
        /// The file.
        file: String,
        /// What it says.
        found: String,
        /// What its name says.
        origin: String,
    },
    /// What stands behind the checkpoint is no change of this log's key that this witness cosigned.
    #[error(
        "`{file}` ends with something that is no change of the log's key, or that this witness's key did not cosign: put a whole copy back"
    )]
    Change {
        /// The file.
        file: String,
    },
    /// The marker knows a newer key of the log.
    #[error(
        "`{file}` says that `{newest}` is the newest key of its log that this witness knew of, and `{listed}` would be it now: put the newest copy of \
         the folder back, or name that key last with `--log`. Whoever holds a key that another followed could have other records cosigned"
    )]
    OlderKey {
        /// The marker.
        file: String,
        /// `NAME+ID` of the newest key.
        newest: String,
        /// `NAME+ID` of the last one that list and folder lead to.
        listed: String,
    },
    /// This witness's key did not sign it.
    #[error("`{file}` was not cosigned by this witness's key `{key}`: it is another witness's memory")]
    OtherKey {
        /// The file.
        file: String,
        /// `NAME+ID` of the key.
        key: String,
        /// What the check of the signature said.
        source: VerifyError,
    },
    /// The marker beside the key cannot be read.
    #[error("`{file}`, which says how far this witness's key has cosigned, cannot be read: put a whole copy back")]
    Marker {
        /// The file.
        file: String,
    },
    /// The marker is another key's.
    #[error("`{file}` says how far the key `{of}` has cosigned, and the key is `{key}`: put the two back together")]
    MarkerKey {
        /// The file.
        file: String,
        /// Whose it is, `NAME+ID`.
        of: String,
        /// `NAME+ID` of the key.
        key: String,
    },
    /// There is a key, and neither marker nor memory.
    #[error(
        "the key `{key}` is no new one, and neither `{file}` nor the folder says what it has cosigned: put them back, or begin with a \
         new key under a new name. Without its memory a witness would cosign another history"
    )]
    NoMarker {
        /// The marker that is not there.
        file: String,
        /// `NAME+ID` of the key.
        key: String,
    },
    /// The folder knows less than was cosigned.
    #[error(
        "`{file}` says that {cosigned} records of the log `{origin}` were cosigned, and the folder knows of {known}: it was emptied, or is an \
         older copy. Put the newest copy back, or begin with a new key under a new name. Without its memory a witness would cosign \
         another history"
    )]
    Forgotten {
        /// The marker.
        file: String,
        /// The log.
        origin: String,
        /// How many the marker says.
        cosigned: u64,
        /// How many the folder says.
        known: u64,
    },
}

/// Whether the folder holds what was cosigned of any log.
pub(super) fn is_any(disk: &dyn Disk) -> Result<bool, MemoryError> {
    let names = disk.list().map_err(|source| io(disk, "list", ".", source))?;
    Ok(names.iter().any(|name| name.ends_with(ENDING)))
}

/// Makes durable under which names memories were found: a rename that was never synced could be undone by the next power cut.
pub(super) fn settle(disk: &dyn Disk) -> Result<(), MemoryError> {
    disk.sync_dir().map_err(|source| io(disk, "sync", ".", source))
}

/// Takes the folder for this process.
pub(super) fn lock(disk: &dyn Disk) -> Result<Box<dyn DiskLock>, MemoryError> {
    disk.lock().map_err(MemoryError::Lock)
}

/// The memory of one log.
#[derive(Debug)]
pub(super) struct Memory {
    disk: Arc<dyn Disk>,
    name: String,
    head: Head,
    /// What was cosigned, with the signatures of its log; `None` while nothing was.
    note: Option<Note>,
    /// How the key of the log changed, the oldest first, each with a cosignature.
    changes: Vec<Note>,
}

impl Memory {
    /// Reads what was cosigned of the log `origin`.
    pub(super) fn read(disk: &Arc<dyn Disk>, origin: &str, key: &VerifierKey) -> Result<Self, MemoryError> {
        let name = file_name(origin);
        let bytes = match disk.open_read(&name) {
            Ok(file) => Some(read_range(&*file, 0, MAX_LEN + 1)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        };
        let bytes = bytes.transpose().map_err(|source| io(&**disk, "read", &name, source))?;
        let mut memory = Self {
            disk: Arc::clone(disk),
            name,
            head: nothing(),
            note: None,
            changes: Vec::new(),
        };
        if let Some(bytes) = bytes {
            let file = disk.display(&memory.name);
            let (newest, changes) = parted(&bytes);
            let (head, note) = cosigned(newest, &file, origin, key)?;
            memory.changes = changes_in(changes, origin, key).ok_or(MemoryError::Change { file })?;
            (memory.head, memory.note) = (head, Some(note));
        }
        Ok(memory)
    }

    /// The keys of the log, the newest last: those that are listed, and behind them those that the changes lead to. A change that leads to a
    /// listed one makes that one the newest, wherever it stands on the list. Changes that lead nowhere from there are forgotten.
    pub(super) fn follow(&mut self, listed: Vec<VerifierKey>) -> Vec<VerifierKey> {
        let (mut keys, mut followed) = (listed, Vec::new());
        let mut ahead = std::mem::take(&mut self.changes);
        while let Some((at, next)) = ahead.iter().enumerate().find_map(|(at, note)| {
            let change = KeyTurn::read(note)?;
            (Some(&change.old) == keys.last()).then_some((at, change.next))
        }) {
            keys.retain(|key| *key != next);
            keys.push(next);
            followed.push(ahead.remove(at));
        }
        self.changes = followed;
        keys
    }

    /// Whether a change of the log's key was shown that leads to this one.
    pub(super) fn is_shown(&self, next: &VerifierKey) -> bool {
        self.changes
            .iter()
            .any(|note| KeyTurn::read(note).is_some_and(|change| change.next == *next))
    }

    /// Whether one change more can be remembered.
    pub(super) const fn has_room(&self) -> bool {
        self.changes.len() < MOST_CHANGES
    }

    /// The tree that was cosigned last.
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// Whether nothing was cosigned yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.note.is_none()
    }

    /// The newest of these keys of the log, the oldest first, that signed what was cosigned last: its place among them.
    pub(super) fn newest_signer(&self, keys: &[VerifierKey]) -> Option<usize> {
        newest_signer(self.note.as_ref()?, keys)
    }

    /// Makes this the newest one, durably, which is a change of the log's key, too, if `is_change`. After an error the file may say the one or the
    /// other; nobody has a cosignature of the new one, so what is remembered here stays the old one.
    pub(super) fn keep(&mut self, head: Head, note: &Note, is_change: bool) -> Result<(), MemoryError> {
        let mut changes = self.changes.clone();
        changes.extend(is_change.then(|| note.clone()));
        let mut text = note.to_string();
        if !changes.is_empty() {
            text.push_str(CHANGES);
            changes.iter().for_each(|change| text.push_str(&change.to_string()));
        }
        let new = format!("{}{NEW}", self.name);
        let write = || -> std::io::Result<()> {
            let file = self.disk.create(&new)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync_all()?;
            self.disk.rename(&new, &self.name)?;
            self.disk.sync_dir()
        };
        write().map_err(|source| io(&*self.disk, "write", &self.name, source))?;
        (self.head, self.note, self.changes) = (head, Some(note.clone()), changes);
        Ok(())
    }
}

/// Whether this states a change of a log's key in the form in which it is remembered: no line more than it takes, and not longer than there is room for.
pub(super) fn change_of(note: &Note) -> Option<KeyTurn> {
    let is_plain = note.text().lines().count() == 4 && note.text().len() < MAX_CHANGE_LEN / 2;
    is_plain.then(|| KeyTurn::read(note)).flatten()
}

/// The checkpoint in a witness's file, for whoever holds a ledger against it. Nothing of it is proved.
#[must_use]
pub fn cosigned_in(bytes: &[u8]) -> Option<Note> {
    let (newest, changes) = parted(bytes);
    let changes = notes(changes).into_iter();
    let are_changes = changes
        .map(|(_, bytes)| Note::parse(bytes))
        .all(|note| note.is_ok_and(|note| change_of(&note).is_some()));
    are_changes.then(|| Note::parse(newest).ok()).flatten()
}

/// The checkpoint, and the changes behind it. A checkpoint's own text has no empty line, so that what stands before a line in it that looks like ours is no note.
fn parted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let place = text
        .rfind(CHANGES)
        .and_then(|at| Some((text.get(..at)?, text.get(at + CHANGES.len()..)?)));
    let parts = place.filter(|(newest, _)| newest.ends_with('\n') && Note::parse(newest.as_bytes()).is_ok());
    parts.map_or((bytes, &[]), |(newest, changes)| {
        (newest.as_bytes(), changes.as_bytes())
    })
}

/// The changes of this log's key that this witness cosigned; `None` where one is none.
fn changes_in(bytes: &[u8], origin: &str, key: &VerifierKey) -> Option<Vec<Note>> {
    let one = |(_, bytes): (u64, &[u8])| {
        let note = Note::parse(bytes).ok()?;
        let change = change_of(&note)?;
        (change.old.is_of_log(origin) && note.verify([key]).is_ok()).then_some(note)
    };
    notes(bytes).into_iter().map(one).collect()
}

/// The newest of these keys, the oldest first, that signed this note.
pub(super) fn newest_signer(note: &Note, keys: &[VerifierKey]) -> Option<usize> {
    keys.iter().rposition(|key| note.verify([key]).is_ok())
}

fn cosigned(bytes: &[u8], file: &str, origin: &str, key: &VerifierKey) -> Result<(Head, Note), MemoryError> {
    let file = file.to_owned();
    let note = Note::parse(bytes).map_err(|source| MemoryError::Note {
        file: file.clone(),
        source,
    })?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|source| MemoryError::Checkpoint {
        file: file.clone(),
        source,
    })?;
    if checkpoint.origin != origin {
        return Err(MemoryError::Origin {
            file,
            found: checkpoint.origin,
            origin: origin.to_owned(),
        });
    }
    note.verify([key]).map_err(|source| MemoryError::OtherKey {
        file,
        key: key.short(),
        source,
    })?;
    let head = Head {
        size: checkpoint.size,
        root: checkpoint.root,
    };
    Ok((head, note))
}

/// An origin may hold any character; its hash is a name for every disk.
fn file_name(origin: &str) -> String {
    let hash = digest(&SHA256, origin.as_bytes());
    let hex = hash.as_ref().iter().take(16).fold(String::new(), |mut hex, byte| {
        hex.push_str(&format!("{byte:02x}"));
        hex
    });
    format!("{hex}{ENDING}")
}

fn io(disk: &dyn Disk, what: &'static str, name: &str, source: std::io::Error) -> MemoryError {
    MemoryError::Io {
        what,
        file: disk.display(name),
        source,
    }
}
