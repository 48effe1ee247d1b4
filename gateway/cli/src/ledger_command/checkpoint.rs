//! Checkpoints as they stand in files.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use ledger::disk::read_file;
use ledger::note::{MAX_NOTE_LEN, Note};
use ledger::{Checkpoint, NEWEST_CHECKPOINT};

use super::{Refused, not_there};
use crate::Exit;

/// A checkpoint with its signatures, which nobody has checked yet, and what it says.
pub(super) type Signed = (Note, Checkpoint);

/// The newest one of the ledger in this folder.
pub(super) fn newest(dir: &Path) -> Result<Signed, Refused> {
    match checkpoint_at(&dir.join(NEWEST_CHECKPOINT))? {
        Some(newest) => Ok(newest),
        None if dir.is_dir() => {
            let what = format!("`{}` has no checkpoint: nothing of it was signed", dir.display());
            Err((Exit::NotFound, anyhow::anyhow!(what)))
        }
        None => Err((
            Exit::NotFound,
            not_there(format!("there is no folder `{}`", dir.display())),
        )),
    }
}

/// The one in a file; `None` where there is no such file.
pub(super) fn checkpoint_at(file: &Path) -> Result<Option<Signed>, Refused> {
    let bytes = match read_file(file, MAX_NOTE_LEN) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let error = anyhow::Error::new(error).context(format!("cannot read `{}`", file.display()));
            return Err((Exit::Fault, error));
        }
    };
    let read = Note::parse(&bytes).map_err(anyhow::Error::new);
    let read = read.and_then(|note| Ok(Checkpoint::parse(note.text()).map(|stated| (note, stated))?));
    let read = read.with_context(|| format!("`{}` is no signed checkpoint", file.display()));
    read.map(Some).map_err(|error| (Exit::Integrity, error))
}
