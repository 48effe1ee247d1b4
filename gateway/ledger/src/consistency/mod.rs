//! Consistency proofs as a text: that a signed tree goes on from an earlier one, of which somebody kept the checkpoint. Nothing
//! in between was changed then, and who checks needs neither ledger nor gateway.
//!
//! ```text
//! old <size of the earlier tree>
//! <hashes of RFC 6962 §2.1.2, base64, one a line>
//!
//! <the signed checkpoint of the later tree>
//! ```
//!
//! C2SP has no format for such a file; this is the body that [C2SP tlog-witness] sends to a witness (`add-checkpoint`), so that any
//! witness takes it as it is. One parser reads both, with one limit: a longest note that is read anywhere here, and a longest proof.
//! A narrower one for witnesses would let a ledger publish, and everybody verify, what none of them could cosign.
//!
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::note::{Bond, ChainError, KeyChain, MAX_NOTE_LEN, Note, NoteError, VerifierKey, VerifyError, Vouched};
use crate::tiles::{Tiles, TilesError};
use crate::tree::{Hash, Head, ProofError, ProveError, check_consistency, consistency_proof};

/// What the first line begins with.
const OLD: &str = "old ";
/// Two trees of at most 2^63 leaves have no longer a proof (C2SP tlog-witness, "add-checkpoint").
const MAX_PROOF: usize = 63;
/// The longest text that is read, in bytes.
pub const MAX_CONSISTENCY_LEN: usize = MAX_NOTE_LEN + (MAX_PROOF + 1) * 64;

/// Why a text is no consistency proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConsistencyError {
    /// More than [`MAX_CONSISTENCY_LEN`] bytes.
    #[error("it is longer than {MAX_CONSISTENCY_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or its first line is not `old` and a plain decimal.
    #[error("its first line is not `old` and the size of the earlier tree")]
    Old,
    /// A line of the proof is not a hash of 32 bytes in base64, or there are too many.
    #[error("line {line} of its proof is no hash")]
    Proof {
        /// Counted from 1.
        line: usize,
    },
    /// No empty line between the proof and the checkpoint.
    #[error("no empty line stands between its proof and its checkpoint")]
    NoCheckpoint,
    /// What follows is no signed note.
    #[error("its checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("its checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Inconsistent {
    /// A checkpoint is not signed by a key that was given.
    #[error("no key that you gave has signed the {which} checkpoint")]
    Signature {
        /// `earlier` or `later`.
        which: &'static str,
        /// What the check said.
        source: VerifyError,
    },
    /// A checkpoint is of a log that no given key is of, or the two are of different logs.
    #[error(
        "the {which} checkpoint is of the log `{origin}`, and not of one whose key you gave, or the other is of another log"
    )]
    Origin {
        /// `earlier` or `later`.
        which: &'static str,
        /// What it says.
        origin: String,
    },
    /// What was given as the earlier checkpoint is none.
    #[error("the earlier checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
    /// The proof begins at another size than the earlier checkpoint.
    #[error("the proof goes on from {proof} records, and the earlier checkpoint has {earlier}")]
    Size {
        /// What the proof says.
        proof: u64,
        /// What the checkpoint says.
        earlier: u64,
    },
    /// The later tree does not begin with the earlier one: one of the two tells another story.
    #[error("the later checkpoint does not go on from the earlier one")]
    Proof(#[from] ProofError),
    /// The key that signed a checkpoint counts for nothing.
    #[error("the key that signed the {which} checkpoint is not believed")]
    Chain {
        /// `earlier` or `later`.
        which: &'static str,
        /// Which key, and why.
        source: ChainError,
    },
}

/// Why no proof can be made.
#[derive(Debug, Error)]
pub enum NoConsistency {
    /// The later note is no checkpoint.
    #[error("the newest checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
    /// The two are of different logs.
    #[error("the earlier checkpoint is of the log `{earlier}` and the newest one of `{newest}`")]
    Origin {
        /// Of the earlier one.
        earlier: String,
        /// Of the newest one.
        newest: String,
    },
    /// Fewer records are signed than the earlier checkpoint has: it is newer, or an older copy of the ledger was put back.
    #[error(
        "the earlier checkpoint has {earlier} records and the newest one {newest}: an older copy of the ledger lies here"
    )]
    Shrunk {
        /// Of the earlier one.
        earlier: u64,
        /// Of the newest one.
        newest: u64,
    },
    /// Hashes cannot be had.
    #[error(transparent)]
    Tiles(#[from] TilesError),
    /// The ledger's files do not lead from one to the other: it was changed, or one of the checkpoints is of another story.
    #[error(
        "the ledger does not go on from the earlier checkpoint; `gatescribe ledger verify --remembered` says where they differ"
    )]
    Differs(#[source] ProofError),
}

/// That one tree begins with another. Unproved until [`Consistency::verify_along`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// The size of the earlier tree; of a request, what the witness is thought to have cosigned.
    pub(crate) old: u64,
    pub(crate) proof: Vec<Hash>,
    pub(crate) note: Note,
    pub(crate) checkpoint: Checkpoint,
}

impl Consistency {
    /// Proves that the tree of this checkpoint goes on from the earlier one. What is handed back was checked against both roots;
    /// signatures were not looked at.
    ///
    /// # Errors
    /// [`NoConsistency`].
    pub fn make(tiles: &Tiles, earlier: &Checkpoint, note: Note) -> Result<Self, NoConsistency> {
        let checkpoint = Checkpoint::parse(note.text())?;
        if earlier.origin != checkpoint.origin {
            return Err(NoConsistency::Origin {
                earlier: earlier.origin.clone(),
                newest: checkpoint.origin,
            });
        }
        let shrunk = NoConsistency::Shrunk {
            earlier: earlier.size,
            newest: checkpoint.size,
        };
        if earlier.size > checkpoint.size {
            return Err(shrunk);
        }
        let proof = consistency_proof(tiles, earlier.size, checkpoint.size).map_err(|error| match error {
            ProveError::Nodes(error) => NoConsistency::Tiles(error),
            ProveError::Shrunk { .. } => shrunk,
            // No leaf is asked for, and this source gives one hash for each node.
            ProveError::Outside { .. } | ProveError::Count { .. } => NoConsistency::Tiles(TilesError::Nowhere),
        })?;
        let made = Self::unproved(earlier.size, proof, note)?;
        made.check(earlier).map_err(NoConsistency::Differs)?;
        Ok(made)
    }

    /// Puts one together that nobody has checked: what a log asks a witness with.
    pub(crate) fn unproved(old: u64, proof: Vec<Hash>, note: Note) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self {
            old,
            proof,
            note,
            checkpoint,
        })
    }

    /// Reads a proof; it shows nothing yet.
    ///
    /// # Errors
    /// [`ConsistencyError`], by the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConsistencyError> {
        if bytes.len() > MAX_CONSISTENCY_LEN {
            return Err(ConsistencyError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ConsistencyError::Old)?;
        let (first, mut rest) = text.split_once('\n').ok_or(ConsistencyError::Old)?;
        let old = first.strip_prefix(OLD).and_then(decimal);
        let old = old.ok_or(ConsistencyError::Old)?;
        let mut proof = Vec::new();
        loop {
            let (line, behind) = rest.split_once('\n').ok_or(ConsistencyError::NoCheckpoint)?;
            rest = behind;
            if line.is_empty() {
                break;
            }
            let number = proof.len() + 1;
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            let hash = hash.filter(|_| number <= MAX_PROOF);
            proof.push(hash.ok_or(ConsistencyError::Proof { line: number })?);
        }
        let note = Note::parse(rest.as_bytes())?;
        Ok(Self::unproved(old, proof, note)?)
    }

    /// Whether these bytes mean to be a consistency proof.
    #[must_use]
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.starts_with(OLD.as_bytes())
    }

    /// Checks that both checkpoints are signed for one log by a key that was given, and that the later goes on from the earlier.
    /// Gives who vouches for the later one. Not for outside: these keys are believed without end, also where another one followed.
    ///
    /// # Errors
    /// [`Inconsistent`].
    pub(crate) fn verify<'a>(&self, keys: &'a [VerifierKey], earlier: &Note) -> Result<Vec<Vouched<'a>>, Inconsistent> {
        let signed_by = |which: &'static str, note: &Note, origin: &str| {
            let vouched = note.verify(keys);
            let vouched = vouched.map_err(|source| Inconsistent::Signature { which, source })?;
            if vouched.iter().any(|by| by.key.is_of_log(origin)) && origin == self.checkpoint.origin {
                Ok(vouched)
            } else {
                let origin = origin.to_owned();
                Err(Inconsistent::Origin { which, origin })
            }
        };
        let vouched = signed_by("later", &self.note, &self.checkpoint.origin)?;
        let before = Checkpoint::parse(earlier.text())?;
        signed_by("earlier", earlier, &before.origin)?;
        if before.size != self.old {
            return Err(Inconsistent::Size {
                proof: self.old,
                earlier: before.size,
            });
        }
        self.check(&before)?;
        Ok(vouched)
    }

    /// Checks that both checkpoints are signed for one log by keys that changes of the log's key lead to from those that are known, and that
    /// the later goes on from the earlier. The one may be from before a change and the other from after it; that the earlier one is of the
    /// history of which the later one is, this proof itself shows. Gives who vouches for the later one.
    ///
    /// # Errors
    /// [`Inconsistent`].
    pub fn verify_along<'a>(&self, chain: &'a KeyChain, earlier: &Note) -> Result<Vec<Vouched<'a>>, Inconsistent> {
        let vouched = self.verify(chain.keys(), earlier)?;
        let not_believed = |which| move |source| Inconsistent::Chain { which, source };
        chain.admit(&self.checkpoint, &vouched).map_err(not_believed("later"))?;
        let before = Checkpoint::parse(earlier.text())?;
        let by = earlier.verify(chain.keys()).unwrap_or_default();
        let bond = self.bond();
        chain
            .admit_by(&before, &by, Some(&bond))
            .map_err(not_believed("earlier"))?;
        Ok(vouched)
    }

    /// Has this proof count for what retired keys of the chain signed of the earlier tree, where the chain believes what was signed of the
    /// later one.
    pub fn bind(&self, chain: &mut KeyChain) {
        chain.bind(self.bond());
    }

    fn bond(&self) -> Bond {
        Bond {
            old: self.old,
            proof: self.proof.clone(),
            later: self.note.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    fn check(&self, earlier: &Checkpoint) -> Result<(), ProofError> {
        let head = |of: &Checkpoint| Head {
            size: of.size,
            root: of.root,
        };
        check_consistency(&head(earlier), &head(&self.checkpoint), &self.proof)
    }

    /// The size of the earlier tree.
    #[must_use]
    pub const fn old(&self) -> u64 {
        self.old
    }

    /// The signed checkpoint of the later tree.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What the log says of its later tree.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{OLD}{}", self.old)?;
        for hash in &self.proof {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.note)
    }
}

/// Reads foreign bytes as a consistency proof. Never panics; what is read is written the same.
pub fn fuzz_consistency(data: &[u8]) {
    if let Ok(proof) = Consistency::parse(data) {
        assert_eq!(
            proof.to_string().as_bytes(),
            data,
            "a consistency proof is written as it was read"
        );
        let _ = proof.verify(&[], &proof.note);
    }
}

#[cfg(test)]
mod tests;
