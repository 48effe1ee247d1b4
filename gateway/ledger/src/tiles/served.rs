//! The tree with its signed checkpoint as a folder that any web server can serve, and that is a whole log at every moment: the checkpoint comes last, when
//! all that it speaks of is synced, and a later one takes its place at once.
//!
//! Before anything is written, the folder has to be empty, or of this log: each checkpoint in it, also the one that an export was about to write when it ended, is one that
//! this ledger goes on from. So tiles of two histories never stand beside one another.

use std::io;
use std::path::Path;

use super::export::{Export, ExportError, Exported, failed};
use super::path::TilePath;
use super::view::Tiles;
use crate::checkpoint::Checkpoint;
use crate::disk::read_file;
use crate::note::{MAX_NOTE_LEN, Note};
use crate::tree::{Hash, Head};

/// The file of the checkpoint, as C2SP tlog-tiles has it.
const CHECKPOINT: &str = "checkpoint";
/// The one that becomes it, while tiles are written.
const NEXT: &str = ".checkpoint";
/// What else an export has in its folder before there is a checkpoint.
const OWN: [&str; 2] = [".lock", ".draft"];

impl Tiles {
    /// Brings the folder `dir` to the tree that this checkpoint is of, and puts the checkpoint beside it at the end; what is there already stays. No signature is
    /// looked at: that is for who reads the folder.
    ///
    /// Blocks for as long as it takes to read what is new of the ledger and to sync each file.
    ///
    /// # Errors
    /// See [`ExportError`]; nothing was written where the folder is not this log's, or the ledger is not what was signed.
    pub fn export_signed(&self, dir: &Path, note: &Note) -> Result<Exported, ExportError> {
        let newest = parsed(note, &dir.join(CHECKPOINT))?;
        if self.root_of(newest.size)? != newest.root {
            return Err(ExportError::NotSigned { size: newest.size });
        }
        // Nothing is made in a folder that is somebody else's.
        is_free(dir)?;
        let mut export = Export::begin(self, dir, newest.size)?;
        for name in [CHECKPOINT, NEXT] {
            self.goes_on(&dir.join(name), &newest)?;
        }
        let (next, last) = (dir.join(NEXT), dir.join(CHECKPOINT));
        export.put(&next, note.to_string().as_bytes())?;
        export.sync_folder(dir)?;
        for tile in TilePath::of_tree(newest.size) {
            export.tile(&tile)?;
        }
        export.sync_folders()?;
        std::fs::rename(&next, &last).map_err(|source| failed(&last, source))?;
        export.sync_folder(dir)?;
        let Checkpoint { size, root, .. } = newest;
        Ok(export.done(Head { size, root }))
    }

    /// The checkpoint in this file, if there is one, has to be of this log and of a tree that this ledger goes on from.
    fn goes_on(&self, file: &Path, newest: &Checkpoint) -> Result<(), ExportError> {
        let Some(bytes) = read(file)? else { return Ok(()) };
        let there = Note::parse(&bytes).map_err(|error| no_checkpoint(file, &error))?;
        let there = parsed(&there, file)?;
        if there.origin != newest.origin {
            return Err(ExportError::AnotherLog {
                file: file.to_owned(),
                found: there.origin,
                origin: newest.origin.clone(),
            });
        }
        let is_older = there.size <= newest.size;
        if is_older && self.root_of(there.size)? == there.root {
            return Ok(());
        }
        Err(ExportError::NotGoingOn {
            file: file.to_owned(),
            size: there.size,
        })
    }

    fn root_of(&self, size: u64) -> Result<Hash, ExportError> {
        Ok(super::export::root(self, size)?)
    }
}

/// A folder is an export's if it has a checkpoint, or becomes one if it has nothing.
fn is_free(dir: &Path) -> Result<(), ExportError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|source| failed(dir, source))?,
    };
    let mut is_empty = true;
    for entry in entries {
        let name = entry.map_err(|source| failed(dir, source))?.file_name();
        if name == CHECKPOINT || name == NEXT {
            return Ok(());
        }
        is_empty &= OWN.iter().any(|own| name == *own);
    }
    if is_empty {
        return Ok(());
    }
    Err(ExportError::Strange { dir: dir.to_owned() })
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    match read_file(file, MAX_NOTE_LEN) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(file, source)),
    }
}

fn parsed(note: &Note, file: &Path) -> Result<Checkpoint, ExportError> {
    Checkpoint::parse(note.text()).map_err(|error| no_checkpoint(file, &error))
}

fn no_checkpoint(file: &Path, error: &dyn std::error::Error) -> ExportError {
    ExportError::NoCheckpoint {
        file: file.to_owned(),
        why: error.to_string(),
    }
}
