//! The kubeconfig: which file, what we put into it, and that nothing else in it changes.
//!
//! We own items that carry our mark (a user whose exec plugin is `kube credential --gateway`), and nothing else. The
//! text is edited in place; before it is written, old and new are read again and compared: every item that is not ours
//! must be the same, in the same order. What cannot be edited so is refused, never rewritten.

mod edit;
mod emit;
mod entry;
mod tree;

pub(crate) use edit::EditError;
pub(crate) use entry::Entry;

use std::path::{Path, PathBuf};

use crate::Exit;
use crate::client::store::write_through;
use crate::client::trouble::{Trouble, chain};

/// The file that is written.
#[derive(Clone, Debug)]
pub(crate) struct Kubeconfig {
    path: PathBuf,
}

/// What writing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Contexts that are in the file now.
    pub(crate) contexts: Vec<String>,
    /// The context that became the current one.
    pub(crate) made_current: Option<String>,
    /// The file as it was before; `None` where nothing changed or nothing was there.
    pub(crate) backup: Option<PathBuf>,
    /// Whether anything changed.
    pub(crate) changed: bool,
}

/// Why it is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubeconfigError {
    /// The operating system refuses.
    #[error("`{}` cannot be {verb}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Its content cannot be edited in place.
    #[error("`{}` is left as it is", path.display())]
    Edit {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: EditError,
    },
    /// Neither KUBECONFIG nor a home folder.
    #[error("neither KUBECONFIG nor HOME is set")]
    Nowhere,
}

impl From<KubeconfigError> for Trouble {
    fn from(error: KubeconfigError) -> Self {
        let what = "the kubeconfig is not written";
        match &error {
            KubeconfigError::Edit {
                cause: EditError::NotOurs { .. },
                ..
            } => Self::new(Exit::Conflict, what)
                .because(chain(&error))
                .remedy("choose other names: gatescribe login URL --context-prefix gate-"),
            KubeconfigError::Edit { .. } => Self::new(Exit::Conflict, what)
                .because(chain(&error))
                .remedy("write another file: gatescribe login URL --kubeconfig FILE, then KUBECONFIG=FILE kubectl …"),
            KubeconfigError::File { .. } | KubeconfigError::Nowhere => Self::new(Exit::Fault, what)
                .because(chain(&error))
                .remedy("name a file that you can write: gatescribe login URL --kubeconfig FILE"),
        }
    }
}

impl Kubeconfig {
    /// The file that kubectl itself would write: the named one; else of `KUBECONFIG` the first that exists, else its
    /// first; else `~/.kube/config`.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, KubeconfigError> {
        if let Some(path) = named {
            return Ok(Self { path: path.to_owned() });
        }
        let list = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let home = std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
        Self::of(&list, home.map(PathBuf::from)).ok_or(KubeconfigError::Nowhere)
    }

    fn of(list: &std::ffi::OsStr, home: Option<PathBuf>) -> Option<Self> {
        let listed: Vec<PathBuf> = std::env::split_paths(list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        let existing = listed.iter().find(|path| path.exists()).or(listed.first()).cloned();
        existing
            .or_else(|| home.map(|home| home.join(".kube").join("config")))
            .map(|path| Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it could be written, without writing: asked before a person is sent to sign in.
    pub(crate) fn check(&self, entries: &[Entry]) -> Result<(), KubeconfigError> {
        self.edited(&self.read()?, entries, None).map(drop)
    }

    /// Puts the entries in. The old file stays beside it under a name with the time.
    pub(crate) fn write(&self, entries: &[Entry], set_current: bool, time: &str) -> Result<Written, KubeconfigError> {
        let before = self.read()?;
        let has_current = edit::current_context(&before).is_some();
        let first = entries.first().map(|entry| entry.context.as_str());
        let made_current = first.filter(|_| set_current || !has_current);
        let after = self.edited(&before, entries, made_current)?;
        let changed = after != before;
        let backup = if changed { self.back_up(&before, time)? } else { None };
        if changed {
            self.create_folder()?;
            write_through(&self.path, after.as_bytes()).map_err(|cause| self.failed("written", cause))?;
        }
        Ok(Written {
            contexts: entries.iter().map(|entry| entry.context.clone()).collect(),
            made_current: made_current.filter(|_| changed).map(str::to_owned),
            backup,
            changed,
        })
    }

    fn edited(&self, before: &str, entries: &[Entry], current: Option<&str>) -> Result<String, KubeconfigError> {
        edit::put(before, entries, current).map_err(|cause| KubeconfigError::Edit {
            path: self.path.clone(),
            cause,
        })
    }

    fn read(&self) -> Result<String, KubeconfigError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(cause) => Err(self.failed("read", cause)),
        }
    }

    fn back_up(&self, before: &str, time: &str) -> Result<Option<PathBuf>, KubeconfigError> {
        if before.is_empty() {
            return Ok(None);
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let backup = self.path.with_file_name(format!("{name}.{time}.bak"));
        write_through(&backup, before.as_bytes()).map_err(|cause| self.failed("written", cause))?;
        Ok(Some(backup))
    }

    fn create_folder(&self) -> Result<(), KubeconfigError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let made = folder
            .filter(|folder| !folder.exists())
            .map_or(Ok(()), std::fs::create_dir_all);
        made.map_err(|cause| self.failed("written", cause))
    }

    fn failed(&self, verb: &'static str, cause: std::io::Error) -> KubeconfigError {
        KubeconfigError::File {
            path: self.path.clone(),
            verb,
            cause,
        }
    }
}

#[cfg(test)]
mod tests;
