//! What is kept of one gateway: one small JSON file, replaced whole, for its owner only.
//!
//! Readers need no lock, as the file is only ever replaced. Whoever changes it holds the [`Lock`] from reading to
//! writing; the lock is the operating system's (advisory, on a file beside it), so a process that dies lets go.
//! Invariant: a rotated handle is in the file before the token that came with it is used, and the key of an exchange is
//! in the file before the exchange is sent, so that a process that dies in between can be finished by the next.

mod atomic;
mod kept;
mod lock;
mod told;

pub(crate) use atomic::{StoreError, private_folder, write_private, write_through};
pub(crate) use kept::{Kept, Secret, Session, Token};
pub(crate) use lock::{Holder, Lock, Patience};
pub(crate) use told::Refusal;

use std::path::{Path, PathBuf};

/// The file of one gateway, the lock beside it, and what was told a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    file: PathBuf,
    lock: PathBuf,
    told: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf, name: &str) -> Self {
        Self {
            file: folder.join(format!("{name}.json")),
            lock: folder.join(format!("{name}.lock")),
            told: folder.join(format!("{name}.told")),
        }
    }

    /// The file, for words.
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// What is kept; `None` before the first sign-in.
    pub(crate) fn read(&self) -> Result<Option<Kept>, StoreError> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.unreadable(cause)),
        };
        Kept::parse(&text).map(Some).map_err(|cause| StoreError::Foreign {
            path: self.file.clone(),
            cause,
        })
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self, patience: &Patience) -> Result<Lock, StoreError> {
        private_folder(self.folder())?;
        Lock::take(&self.lock, patience)
    }

    /// Replaces what is kept. Asking for the lock here makes it impossible to write without it.
    pub(crate) fn write(&self, kept: &Kept, _held: &Lock) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(kept).map_err(|cause| StoreError::Unwritable {
            path: self.file.clone(),
            cause: cause.into(),
        })?;
        write_private(&self.file, &text)
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    fn unreadable(&self, cause: std::io::Error) -> StoreError {
        StoreError::Unreadable {
            path: self.file.clone(),
            cause,
        }
    }
}

#[cfg(test)]
mod tests;
