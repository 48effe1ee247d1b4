//! The body of `add-checkpoint`: the size that the witness is thought to know, a consistency proof from there, and the signed
//! checkpoint ([C2SP tlog-witness]).
//!
//! ```text
//! old <size>
//! <hashes of the proof, base64, one a line>
//!
//! <the signed checkpoint>
//! ```
//!
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::note::{Note, NoteError};
use crate::tree::Hash;

/// "The client MUST NOT send more than 63 consistency proof lines."
const MAX_PROOF: usize = 63;
/// The longest request that is read, in bytes: the longest proof, and a checkpoint with a dozen signatures of the longest kind.
pub const MAX_REQUEST_LEN: usize = 64 * 1024;

/// Why bytes are no request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// More than [`MAX_REQUEST_LEN`] bytes.
    #[error("it is longer than {MAX_REQUEST_LEN} bytes")]
    TooLong,
    /// The first line is not `old` and a plain decimal.
    #[error("its first line is not `old` and a size")]
    Old,
    /// A line of the proof is no hash of 32 bytes in base64, or there are more than 63.
    #[error("line {line} of its proof is no hash")]
    Proof {
        /// Counted from 1.
        line: usize,
    },
    /// No empty line behind the proof.
    #[error("no empty line stands between its proof and its checkpoint")]
    NoCheckpoint,
    /// What follows is no signed note.
    #[error("its checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("its checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
}

/// What a log asks a witness. Nothing in it is believed before [`super::Witness::add_checkpoint`] has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the newest checkpoint of this log that the witness cosigned, as the asker believes.
    pub(super) old: u64,
    /// That the new tree begins with the old one.
    pub(super) proof: Vec<Hash>,
    pub(super) note: Note,
    pub(super) checkpoint: Checkpoint,
}

impl AddCheckpoint {
    /// Asks for a cosignature of this checkpoint, with the proof from `old`.
    ///
    /// # Errors
    /// The note is no checkpoint.
    pub fn new(old: u64, proof: Vec<Hash>, note: Note) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self {
            old,
            proof,
            note,
            checkpoint,
        })
    }

    /// Reads a request; it proves nothing yet.
    ///
    /// # Errors
    /// [`RequestError`], by the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_REQUEST_LEN {
            return Err(RequestError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RequestError::Note(NoteError::NotText))?;
        let (first, mut rest) = text.split_once('\n').ok_or(RequestError::Old)?;
        let old = first.strip_prefix("old ").and_then(decimal).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let (line, behind) = rest.split_once('\n').ok_or(RequestError::NoCheckpoint)?;
            rest = behind;
            if line.is_empty() {
                break;
            }
            let number = proof.len() + 1;
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            let hash = hash.filter(|_| number <= MAX_PROOF);
            proof.push(hash.ok_or(RequestError::Proof { line: number })?);
        }
        let note = Note::parse(rest.as_bytes())?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self {
            old,
            proof,
            note,
            checkpoint,
        })
    }

    /// What the log says of itself.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for AddCheckpoint {
    /// The body as it is sent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.note)
    }
}

/// Reads foreign bytes as the body of `add-checkpoint`. Never panics; what is read is written the same.
pub fn fuzz_add_checkpoint(data: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(
            request.to_string().as_bytes(),
            data,
            "a request is written as it was read"
        );
    }
    let _ = super::client::fuzz_answer(data);
}
