//! The asker's side: what to send one witness about a ledger, and what its answer means.
//!
//! What a witness refuses can mean two things that must not be confused: that it knows another size than we thought, which the
//! next request mends, or that it has seen another history under our name. The second is an alarm: either somebody signs another
//! ledger with this key, or this ledger was put back from an older copy and goes on.

use model::chain::chain;
use thiserror::Error;

use super::SIZE_TYPE;
use super::request::AddCheckpoint;
use crate::checkpoint::decimal;
use crate::note::{Algorithm, Signature, VerifierKey, parse_signatures};
use crate::publish::Published;
use crate::tree::{Head, Nodes, ProofError, ProveError, check_consistency, consistency_proof, root_at};

/// What came back over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The `Content-Type`; empty where there is none.
    pub content_type: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

/// What an answer is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The witness cosigned. The signature was checked.
    Cosigned {
        /// Its line of the note.
        signature: Signature,
        /// When, in seconds since 1970, as the witness says.
        time: u64,
    },
    /// It knows another size: the next request, of the newest checkpoint, begins there.
    Again,
}

/// Why there is no cosignature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAsked {
    /// It cosigned more records than were ever signed here.
    #[error(
        "it has cosigned {known} records under this ledger's name, and {signed} were signed here: either an older copy of this \
         ledger was put back and signed on, or somebody else signs with its key"
    )]
    Ahead {
        /// Its size.
        known: u64,
        /// The newest size of ours.
        signed: u64,
    },
    /// It cosigned another root of the same size.
    #[error("it has cosigned other {size} records under this ledger's name: somebody else signs with its key")]
    Forked {
        /// The size.
        size: u64,
    },
    /// It does not find its checkpoint at the beginning of our tree, though the proof from that size holds here.
    #[error(
        "the {known} records that it cosigned under this ledger's name are not the first {known} here: somebody else signs with its key"
    )]
    Inconsistent {
        /// Its size.
        known: u64,
    },
    /// 404, or 403: it is not configured for this log and key.
    #[error("it does not witness this ledger, or not with this key ({status}): give it the ledger's public key")]
    Unknown {
        /// 403 or 404.
        status: u16,
    },
    /// Any other refusal.
    #[error("it answers {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It says 200 or 409 and something that cannot be read, or that makes no sense.
    #[error("its answer cannot be understood")]
    Answer,
    /// It says 200, and no signature of the key that it was configured with belongs to the checkpoint.
    #[error("its answer holds no cosignature by its key `{key}`")]
    Signature {
        /// `NAME+ID`.
        key: String,
    },
    /// The proof cannot be made: files of the ledger cannot be read.
    #[error("the proof for it cannot be made: {why}")]
    Files {
        /// What the files say.
        why: String,
    },
    /// The proof was made and does not hold: the ledger's files are not what was signed.
    #[error("the ledger's files do not lead to what was signed: `gatescribe ledger verify` says where they differ")]
    Proof(#[from] ProofError),
}

impl NotAsked {
    /// Whether the witness has seen another history under this ledger's name.
    #[must_use]
    pub const fn is_other_history(&self) -> bool {
        matches!(
            self,
            Self::Ahead { .. } | Self::Forked { .. } | Self::Inconsistent { .. }
        )
    }
}

/// Asks one witness about one ledger.
#[derive(Clone, Debug)]
pub struct Asker {
    key: VerifierKey,
    /// The size that the witness knows, as far as was learnt.
    known: u64,
}

impl Asker {
    /// For the witness of this key; `None` where it is no key of cosignatures. Begins with "nothing known", which the witness
    /// corrects.
    #[must_use]
    pub fn new(key: VerifierKey) -> Option<Self> {
        (key.algorithm() == Algorithm::Cosignature).then_some(Self { key, known: 0 })
    }

    /// The witness's key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The size that the witness is thought to know.
    #[must_use]
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// The request for a cosignature of this checkpoint. The proof is checked before it leaves, so that a refusal of it says
    /// something of the witness and not of us.
    ///
    /// # Errors
    /// [`NotAsked::Files`], [`NotAsked::Proof`]; [`NotAsked::Ahead`] where the witness knows more than this checkpoint has.
    pub fn request<N: Nodes>(&self, nodes: &N, published: &Published) -> Result<AddCheckpoint, NotAsked> {
        let checkpoint = &published.checkpoint;
        let new = Head {
            size: checkpoint.size,
            root: checkpoint.root,
        };
        if self.known > new.size {
            return Err(NotAsked::Ahead {
                known: self.known,
                signed: new.size,
            });
        }
        let files = |error: ProveError<N::Error>| NotAsked::Files { why: chain(&error) };
        let proof = if self.known == new.size {
            Vec::new()
        } else {
            let proof = consistency_proof(nodes, self.known, new.size).map_err(files)?;
            let root = root_at(nodes, self.known).map_err(files)?;
            let old = Head { size: self.known, root };
            check_consistency(&old, &new, &proof)?;
            proof
        };
        AddCheckpoint::new(self.known, proof, published.note.clone()).map_err(|_| NotAsked::Answer)
    }

    /// What the answer to the request of this checkpoint means. `newest` is the size of the newest checkpoint that was signed
    /// here when the answer came: somebody else may have shown the witness one that was not the newest when it was asked.
    ///
    /// # Errors
    /// [`NotAsked`].
    pub fn take(&mut self, published: &Published, newest: u64, answer: &Answer<'_>) -> Result<Asked, NotAsked> {
        let size = published.checkpoint.size;
        match answer.status {
            200 => self.cosigned(published, answer.body),
            409 => self.conflict(size, newest, answer),
            // Some witnesses answer 422 where the specification says 409.
            422 if self.known == size => Err(NotAsked::Forked { size }),
            422 => Err(NotAsked::Inconsistent { known: self.known }),
            status @ (403 | 404) => Err(NotAsked::Unknown { status }),
            status => Err(NotAsked::Status { status }),
        }
    }

    fn cosigned(&mut self, published: &Published, body: &[u8]) -> Result<Asked, NotAsked> {
        let text = std::str::from_utf8(body).map_err(|_| NotAsked::Answer)?;
        let signatures = parse_signatures(text).map_err(|_| NotAsked::Answer)?;
        for signature in signatures.into_iter().filter(|one| one.claims(&self.key)) {
            let mut note = published.note.clone();
            note.add(signature.clone());
            let vouched = note.verify([&self.key]).ok();
            let time = vouched.and_then(|vouched| vouched.first().and_then(|by| by.time));
            if let Some(time) = time {
                self.known = published.checkpoint.size;
                return Ok(Asked::Cosigned { signature, time });
            }
        }
        Err(NotAsked::Signature { key: self.key.short() })
    }

    fn conflict(&mut self, size: u64, newest: u64, answer: &Answer<'_>) -> Result<Asked, NotAsked> {
        let Some(known) = known_size(answer) else {
            // "If they don't match, the witness MUST respond with a 409", of which no body is said.
            let is_fork = self.known == size;
            return Err(if is_fork {
                NotAsked::Forked { size }
            } else {
                NotAsked::Answer
            });
        };
        if known > newest {
            return Err(NotAsked::Ahead { known, signed: newest });
        }
        if known == self.known {
            let is_fork = known == size;
            return Err(if is_fork {
                NotAsked::Forked { size }
            } else {
                NotAsked::Answer
            });
        }
        self.known = known;
        Ok(Asked::Again)
    }
}

/// The size in a 409.
fn known_size(answer: &Answer<'_>) -> Option<u64> {
    let is_size = answer.content_type.split(';').next().map(str::trim) == Some(SIZE_TYPE);
    let text = std::str::from_utf8(answer.body).ok().filter(|_| is_size)?;
    decimal(text.strip_suffix('\n')?)
}

/// Reads foreign bytes as the answers of a witness.
pub(super) fn fuzz_answer(data: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let _ = parse_signatures(text);
    known_size(&Answer {
        status: 409,
        content_type: SIZE_TYPE,
        body: data,
    })
}
