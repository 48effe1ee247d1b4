//! Files that are there whole or not at all, and that nobody else may read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::lock::Holder;
use crate::Exit;
use crate::client::trouble::{Trouble, chain};

/// Why something could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The operating system refuses to read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The operating system refuses to write.
    #[error("`{}` cannot be written", path.display())]
    Unwritable {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It does not hold what this version writes.
    #[error("`{}` was not written by this version of gatescribe", path.display())]
    Foreign {
        /// What.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// Another process has a person sign in, and nobody here can wait for that.
    #[error("somebody is signing in with another gatescribe{holder}")]
    SigningIn {
        /// Who, if it said so.
        holder: Holder,
    },
    /// Another process does not let go.
    #[error("another gatescribe{holder} is still busy with this gateway after {seconds} s")]
    Busy {
        /// Who, if it said so.
        holder: Holder,
        /// How long was waited.
        seconds: u64,
    },
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        let remedy = match &error {
            StoreError::Unreadable { path, .. } | StoreError::Unwritable { path, .. } => {
                format!(
                    "make `{}` yours and writable, or set GATESCRIBE_HOME to another folder",
                    path.display()
                )
            }
            StoreError::Foreign { path, .. } => {
                format!("update gatescribe, or remove `{}` and sign in again", path.display())
            }
            StoreError::Busy { .. } | StoreError::SigningIn { .. } => {
                return Self::new(Exit::SignIn, "the sign-in was not finished")
                    .because(error.to_string())
                    .remedy(
                        "finish or cancel the sign-in that is open in the other terminal, then run the command again",
                    );
            }
        };
        Self::new(Exit::Fault, "the session cannot be kept")
            .because(chain(&error))
            .remedy(remedy)
    }
}

/// Replaces a file: a temporary one of our own beside it (mode 0600), synced, renamed over it, the folder synced. After
/// a crash at any point the old or the new content is there, never a part.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    private_folder(folder)?;
    replace(path, content, private_options()).map_err(|cause| StoreError::Unwritable {
        path: path.to_owned(),
        cause,
    })
}

/// Creates a folder that only its owner may enter; one that is there and open to others is closed.
pub(crate) fn private_folder(folder: &Path) -> Result<(), StoreError> {
    let unwritable = |cause| StoreError::Unwritable {
        path: folder.to_owned(),
        cause,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        builder.mode(0o700).create(folder).map_err(unwritable)?;
        let mode = std::fs::metadata(folder).map_err(unwritable)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(unwritable)?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(folder).map_err(unwritable)
}

pub(super) fn private_options() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn replace(path: &Path, content: &[u8], options: std::fs::OpenOptions) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // One with our own process id is left of a process that died with that id before.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = options.open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // What matters is why it was not written; a left-over is removed by the next process with this id.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    // A folder cannot be opened for syncing there; the rename itself is ordered by the file system's log.
    Ok(())
}

/// Replaces a file that belongs to somebody else's format (a kubeconfig): as [`write_private`], with the mode that the
/// file has, and without touching the folder. A link is followed, so that it stays a link.
pub(crate) fn write_through(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let kept_mode = std::fs::metadata(&real).ok().map(|metadata| metadata.permissions());
    replace(&real, content, private_options())?;
    kept_mode.map_or(Ok(()), |mode| std::fs::set_permissions(&real, mode))
}
