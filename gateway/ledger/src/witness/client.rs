//! The asker's side: what to send one witness about a ledger, and what its answer means.
//!
//! What a witness refuses can mean three things that must not be confused: that it knows another size than we thought, which the
//! next request mends; that it has seen another history under our name; that it has forgotten what it cosigned. The second is an
//! alarm: either somebody signs another ledger with this key, or this ledger was put back from an older copy and goes on. So is the
//! third, for somebody may have made it forget.

use model::chain::chain;
use thiserror::Error;

use super::{FOLLOWED, SIZE_TYPE};
use crate::checkpoint::{Checkpoint, decimal};
use crate::consistency::Consistency;
use crate::note::{Algorithm, KeyError, Note, Signature, VerifierKey, parse_signatures};
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

/// What an answer that is no refusal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
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
pub enum NotCosigned {
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
    /// It was shown that another key followed ours, and not by us: with a change that the thief of our key states he would have the witness refuse us, and not
    /// see that what it cosigns goes on from another history.
    #[error(
        "it was shown that the key `{newer}` followed this ledger's, which is none of ours: somebody else signs with this ledger's key"
    )]
    Followed {
        /// `NAME+ID`, as the witness says it.
        newer: String,
    },
    /// It knows fewer records than it has cosigned: its memory was emptied, or an older copy of it was put back. It would cosign another
    /// history now, so it is not fed with this one as if nothing were.
    #[error(
        "it has cosigned {cosigned} records of this ledger, and knows of {known} now: it has forgotten them, and would cosign another \
         history. Let whoever runs it put its newest memory back, or begin it with a new key"
    )]
    Forgot {
        /// What it has cosigned, by its own signature.
        cosigned: u64,
        /// What it says that it knows.
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

impl NotCosigned {
    /// Whether the witness has seen another history under this ledger's name.
    #[must_use]
    pub const fn is_other_history(&self) -> bool {
        matches!(
            self,
            Self::Ahead { .. } | Self::Forked { .. } | Self::Inconsistent { .. } | Self::Followed { .. }
        )
    }

    /// Whether the witness was reached and said no to what was asked, for a reason that asking the same again does not change.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Answer | Self::Signature { .. } => true,
            Self::Status { status } => matches!(status, 400..=499) && *status != 429,
            _ => false,
        }
    }

    /// Whether it says that somebody could tell another history, or does: an alarm, and not a trouble that passes.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        self.is_other_history() || matches!(self, Self::Forgot { .. })
    }
}

/// Why a text is no key of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoWitnessKey {
    /// It is no key.
    #[error(transparent)]
    Text(#[from] KeyError),
    /// It is a log's.
    #[error("it is the key of a log; a witness's key is of type 0x04")]
    OfLog,
}

/// The public key of a witness, `NAME+ID+KEY`.
///
/// # Errors
/// [`NoWitnessKey`].
pub fn key_of(text: &str) -> Result<VerifierKey, NoWitnessKey> {
    let key: VerifierKey = text.trim().parse()?;
    match key.algorithm() {
        Algorithm::Cosignature => Ok(key),
        Algorithm::Ed25519 => Err(NoWitnessKey::OfLog),
    }
}

/// Asks one witness about one ledger.
#[derive(Clone, Debug)]
pub struct Asker {
    key: VerifierKey,
    /// The size that the witness knows, as far as was learnt.
    known: u64,
    /// The largest size that it has cosigned, by its signature.
    cosigned: u64,
    /// The keys that this log has had, `NAME+ID`.
    own: Vec<String>,
}

impl Asker {
    /// For the witness of this key; `None` where it is no key of cosignatures. `kept` are checkpoints of this ledger that were kept: it
    /// begins with the largest that this witness has cosigned, or with "nothing known", which the witness corrects.
    #[must_use]
    pub fn new(key: VerifierKey, kept: &[Note]) -> Option<Self> {
        let cosigned = kept.iter().filter(|note| note.verify([&key]).is_ok());
        let sizes = cosigned.filter_map(|note| Checkpoint::parse(note.text()).ok());
        let known = sizes.map(|checkpoint| checkpoint.size).max().unwrap_or(0);
        let cosigned = known;
        let own = Vec::new();
        (key.algorithm() == Algorithm::Cosignature).then_some(Self {
            key,
            known,
            cosigned,
            own,
        })
    }

    /// For a log that has had these keys: that one of them followed another is no alarm.
    #[must_use]
    pub fn of_log<'k>(mut self, keys: impl IntoIterator<Item = &'k VerifierKey>) -> Self {
        self.own.extend(keys.into_iter().map(VerifierKey::short));
        self
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
    /// [`NotCosigned::Files`], [`NotCosigned::Proof`]; [`NotCosigned::Ahead`] where the witness knows more than this checkpoint has.
    pub fn request<N: Nodes>(&self, nodes: &N, published: &Published) -> Result<Consistency, NotCosigned> {
        let checkpoint = &published.checkpoint;
        let new = Head {
            size: checkpoint.size,
            root: checkpoint.root,
        };
        if self.known > new.size {
            return Err(NotCosigned::Ahead {
                known: self.known,
                signed: new.size,
            });
        }
        let files = |error: ProveError<N::Error>| NotCosigned::Files { why: chain(&error) };
        let proof = if self.known == new.size {
            Vec::new()
        } else {
            let proof = consistency_proof(nodes, self.known, new.size).map_err(files)?;
            let root = root_at(nodes, self.known).map_err(files)?;
            let old = Head { size: self.known, root };
            check_consistency(&old, &new, &proof)?;
            proof
        };
        Consistency::unproved(self.known, proof, published.note.clone()).map_err(|_| NotCosigned::Answer)
    }

    /// What the answer to the request of this checkpoint means. `newest` is the size of the newest checkpoint that was signed
    /// here when the answer came: somebody else may have shown the witness one that was not the newest when it was asked.
    ///
    /// # Errors
    /// [`NotCosigned`].
    pub fn take(&mut self, published: &Published, newest: u64, answer: &Answer<'_>) -> Result<Reply, NotCosigned> {
        let size = published.checkpoint.size;
        match answer.status {
            200 => self.cosigned(published, answer.body),
            409 => self.conflict(size, newest, answer),
            // Some witnesses answer 422 where the specification says 409.
            422 if self.known == size => Err(NotCosigned::Forked { size }),
            422 => Err(NotCosigned::Inconsistent { known: self.known }),
            status @ (403 | 404) => Err(match followed_by(answer.body) {
                Some(newer) if status == 403 && !self.is_own(published, newer) => {
                    let newer = newer.to_owned();
                    NotCosigned::Followed { newer }
                }
                _ => NotCosigned::Unknown { status },
            }),
            status => Err(NotCosigned::Status { status }),
        }
    }

    /// Whether the key of this name is one of this log's.
    fn is_own(&self, published: &Published, key: &str) -> bool {
        let mut signatures = published.note.signatures().iter();
        let has_signed = signatures.any(|one| format!("{}+{:08x}", one.name(), one.id()) == key);
        has_signed || self.own.iter().any(|own| own == key)
    }

    fn cosigned(&mut self, published: &Published, body: &[u8]) -> Result<Reply, NotCosigned> {
        let text = std::str::from_utf8(body).map_err(|_| NotCosigned::Answer)?;
        let signatures = parse_signatures(text).map_err(|_| NotCosigned::Answer)?;
        for signature in signatures.into_iter().filter(|one| one.claims(&self.key)) {
            let mut note = published.note.clone();
            note.add(signature.clone());
            let vouched = note.verify([&self.key]).ok();
            let time = vouched.and_then(|vouched| vouched.first().and_then(|by| by.time));
            if let Some(time) = time {
                self.known = published.checkpoint.size;
                self.cosigned = self.cosigned.max(self.known);
                return Ok(Reply::Cosigned { signature, time });
            }
        }
        Err(NotCosigned::Signature { key: self.key.short() })
    }

    fn conflict(&mut self, size: u64, newest: u64, answer: &Answer<'_>) -> Result<Reply, NotCosigned> {
        let Some(known) = known_size(answer) else {
            // "If they don't match, the witness MUST respond with a 409", of which no body is said.
            let is_fork = self.known == size;
            return Err(if is_fork {
                NotCosigned::Forked { size }
            } else {
                NotCosigned::Answer
            });
        };
        if known < self.cosigned {
            let cosigned = self.cosigned;
            return Err(NotCosigned::Forgot { cosigned, known });
        }
        if known > newest {
            return Err(NotCosigned::Ahead { known, signed: newest });
        }
        if known == self.known {
            let is_fork = known == size;
            return Err(if is_fork {
                NotCosigned::Forked { size }
            } else {
                NotCosigned::Answer
            });
        }
        self.known = known;
        Ok(Reply::Again)
    }
}

/// The newer key that a 403 names, `NAME+ID`.
fn followed_by(body: &[u8]) -> Option<&str> {
    let (_, behind) = std::str::from_utf8(body).ok()?.split_once(FOLLOWED)?;
    behind.split_once('`').map(|(newer, _)| newer)
}

/// The size in a 409.
fn known_size(answer: &Answer<'_>) -> Option<u64> {
    let is_size = answer.content_type.split(';').next().map(str::trim) == Some(SIZE_TYPE);
    let text = std::str::from_utf8(answer.body).ok().filter(|_| is_size)?;
    decimal(text.strip_suffix('\n')?)
}

/// Reads foreign bytes as the answers of a witness.
pub(super) fn fuzz_answer(data: &[u8]) {
    let _ = parse_signatures(std::str::from_utf8(data).unwrap_or_default());
    let size = known_size(&Answer {
        status: 409,
        content_type: SIZE_TYPE,
        body: data,
    });
    let _ = followed_by(data);
    if let Some(size) = size {
        assert_eq!(format!("{size}\n").as_bytes(), data, "a size is written as it was read");
    }
}
