//! Witnesses ([C2SP tlog-witness], [C2SP tlog-cosignature]): somebody who remembers the newest checkpoint of a log and cosigns the
//! next one only when it is shown to go on from there. Whoever has the log's key can then not tell two stories any more, because
//! one of them lacks the cosignatures.
//!
//! Both sides, without sockets: [`Witness`] judges a request and signs, [`Asker`] makes requests of a ledger and judges answers,
//! [`Rounds`] gathers the cosignatures of one checkpoint. Who speaks HTTP is the binary's matter.
//!
//! What a witness has cosigned it knows from its memory alone; that it has one is also said beside its key (`begun`), so that an emptied
//! folder is not taken for a new witness's, and known to the log, which asks from where it was ([`NotCosigned::Forgot`]).
//!
//! A log's key changes by a statement that its old and its next key sign, which is a checkpoint as well: the log asks for a cosignature of it, and a
//! witness of ours remembers from then on that the next key alone counts. Whoever has stolen the old one has nothing cosigned any more.
//!
//! Invariant of a witness: before a cosignature leaves, the checkpoint under it is durable as the newest of its log; so whatever
//! happens, it never cosigns two trees of which one does not begin with the other.
//!
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness
//! [C2SP tlog-cosignature]: https://c2sp.org/tlog-cosignature

mod begun;
mod client;
mod memory;
mod rounds;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use model::time::Timestamp;
use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::consistency::{Consistency, ConsistencyError};
use crate::disk::{Disk, DiskLock};
use crate::note::{Algorithm, KeyTurn, Note, SignError, Signature, Signer, VerifierKey};
use crate::tree::{Head, ProofError, check_consistency, empty_root};
use begun::{Begun, Said};
pub use begun::{Place, begin};
pub use client::{Answer, Asker, NoWitnessKey, NotCosigned, Reply, key_of};
use memory::{MOST_CHANGES, Memory};
pub use memory::{MemoryError, cosigned_in};
pub use rounds::{Rounds, Told};

/// What the answer with a size is called in HTTP: "The response MUST have a `Content-Type` of `text/x.tlog.size`."
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// By this the asker knows [`Refused::Retired`] from any other 403, which stands before the newer key.
const FOLLOWED: &str = "and the newer key `";

/// Why a witness does not begin.
#[derive(Debug, Error)]
pub enum NoWitness {
    /// Its key is not one of cosignatures.
    #[error("the key `{key}` is no key of a witness: a witness signs with type 0x04, a log with type 0x01")]
    Key {
        /// `NAME+ID`.
        key: String,
    },
    /// A log's key is a witness's.
    #[error("the key `{key}` is no key of a log: a log signs with type 0x01, a witness with type 0x04")]
    LogKey {
        /// `NAME+ID`.
        key: String,
    },
    /// No log was given.
    #[error("no log is given: there is nothing to witness")]
    NoLog,
    /// It is to begin anew, and remembers all that it has cosigned.
    #[error("nothing that this witness's key has cosigned is forgotten, so there is nothing to begin anew")]
    NothingForgotten,
    /// What it remembers cannot be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What a witness does whose folder knows less than its key has cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenForgotten {
    /// It does not begin.
    Refuse,
    /// It begins with what the folder knows, and could so cosign another history of what it has forgotten. Refused where nothing is: nobody
    /// leaves it switched on.
    DangerBeginAnew,
}

/// Why nothing was cosigned.
#[derive(Debug, Error)]
pub enum Refused {
    /// It is no request.
    #[error("this is no request for a cosignature")]
    Malformed(#[from] ConsistencyError),
    /// The log is not one of those that are witnessed.
    #[error("the log `{origin}` is not known here")]
    UnknownLog {
        /// What the checkpoint says.
        origin: String,
    },
    /// No key of that log signed it.
    #[error("the checkpoint is not signed by a key of its log that is known here")]
    Signature,
    /// Only an older key of that log signed it, after a newer one, or after a change to that one was shown: whoever changed a key signs with the old
    /// one no more.
    #[error("the checkpoint is signed by `{key}`, {FOLLOWED}{newer}` of that log has followed it")]
    Retired {
        /// `NAME+ID`.
        key: String,
        /// `NAME+ID`.
        newer: String,
        /// Whether it goes beyond what was cosigned: no older one that anybody shows again, but newly signed by the old key.
        is_beyond: bool,
    },
    /// A newer key of the log is listed, and not that one signed: the older one may be stolen by now, and nothing that it signs from then on is
    /// cosigned.
    #[error(
        "the checkpoint is signed by `{key}`, and not by the newest key of its log that is known here, `{newest}`: what that one signs is cosigned, \
         and the change to it, once the log shows it"
    )]
    NotNewest {
        /// `NAME+ID`.
        key: String,
        /// `NAME+ID`.
        newest: String,
    },
    /// So many changes of the log's key were shown that no more are followed.
    #[error(
        "the key of this log changed {MOST_CHANGES} times since the one that is listed here: its newest key has to be listed"
    )]
    Changes,
    /// The checkpoint is older than the asker says that the witness's is.
    #[error("the checkpoint has {new} records, fewer than the old size {old}")]
    Shrunk {
        /// The size that was named.
        old: u64,
        /// The checkpoint's.
        new: u64,
    },
    /// The newest cosigned checkpoint has another size than the asker believes.
    #[error("the newest cosigned checkpoint of this log has {known} records")]
    Conflict {
        /// Its size.
        known: u64,
    },
    /// Two roots of one size: the log forked.
    #[error("another root was cosigned for {size} records: the log forked")]
    Forked {
        /// The size.
        size: u64,
        /// The checkpoint with the signatures of its log alone: evidence.
        signed: String,
    },
    /// The new tree is not shown to begin with the one that was cosigned. The log's key signed it, and what was sent with it proves nothing: the log forked, or
    /// somebody who has an honest checkpoint that is newer than the one known here sent it with a wrong proof. Held against the log it says which.
    #[error("the new tree is not shown to begin with the {known} records that were cosigned")]
    Inconsistent {
        /// How many.
        known: u64,
        /// The checkpoint with the signatures of its log alone; `None` where it is in no doubt: of the very tree that was cosigned, or of any where nothing
        /// was.
        signed: Option<String>,
        /// What is wrong with the proof.
        source: ProofError,
    },
    /// The checkpoint could not be made durable, or the key did not sign.
    #[error("the checkpoint could not be kept")]
    Memory(#[from] MemoryError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Refused {
    /// The HTTP status that the specification gives this.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Shrunk { .. } => 400,
            Self::Signature | Self::Retired { .. } | Self::NotNewest { .. } | Self::Changes => 403,
            Self::UnknownLog { .. } => 404,
            Self::Conflict { .. } | Self::Forked { .. } => 409,
            Self::Inconsistent { .. } => 422,
            Self::Memory(_) | Self::Sign(_) => 500,
        }
    }

    /// The size that a 409 tells, in [`SIZE_TYPE`].
    #[must_use]
    pub const fn known_size(&self) -> Option<u64> {
        match self {
            Self::Conflict { known } => Some(*known),
            _ => None,
        }
    }

    /// Whether it proves by itself that a log does not keep its promises: its key signed what contradicts what it signed before. Nobody without the
    /// log's key can cause it, whatever they send.
    #[must_use]
    pub const fn is_contradiction(&self) -> bool {
        matches!(self, Self::Forked { .. } | Self::Retired { is_beyond: true, .. })
    }

    /// The checkpoint that was refused, with the signatures of its log alone, where it, held against the log, shows whether that forked.
    #[must_use]
    pub fn evidence(&self) -> Option<&str> {
        match self {
            Self::Forked { signed, .. } => Some(signed),
            Self::Inconsistent { signed, .. } => signed.as_deref(),
            _ => None,
        }
    }
}

/// A witness of some logs.
#[derive(Debug)]
pub struct Witness {
    signer: Arc<dyn Signer>,
    logs: BTreeMap<String, Log>,
    begun: Mutex<Begun>,
    clock: Clock,
    _lock: Box<dyn DiskLock>,
}

struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}

#[derive(Debug)]
struct Log {
    /// The newest last, which alone counts. Changed by whoever holds the memory.
    keys: RwLock<Arc<[VerifierKey]>>,
    /// The size that is remembered, for whoever only looks: a disk that hangs must not hold them up.
    known: AtomicU64,
    /// Held from the look at the known size until the new one is durable: "must be performed atomically".
    memory: Mutex<Memory>,
}

impl Witness {
    /// Begins to witness the logs of these keys; the name of a key is the origin of its log, and one log may have several, the newest
    /// last: what that one signs is cosigned, or one that followed it since, and nothing of the others. What was cosigned before is read from `disk`, which belongs to this witness alone while it lives, and held against the marker at `beside`, which
    /// [`begin`] has left there when the key was made.
    ///
    /// # Errors
    /// [`NoWitness`]; a memory that cannot be read is never taken for an empty one, nor is one that was emptied.
    pub fn open(
        disk: &Arc<dyn Disk>,
        beside: &Place,
        signer: Arc<dyn Signer>,
        logs: Vec<VerifierKey>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        forgotten: WhenForgotten,
    ) -> Result<Self, NoWitness> {
        if signer.key().algorithm() != Algorithm::Cosignature {
            let key = signer.key().short();
            return Err(NoWitness::Key { key });
        }
        let lock = memory::lock(&**disk)?;
        let mut keys: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for key in logs {
            let origin = key.name().as_str().to_owned();
            if !key.is_of_log(&origin) {
                return Err(NoWitness::LogKey { key: key.short() });
            }
            keys.entry(origin).or_default().push(key);
        }
        if keys.is_empty() {
            return Err(NoWitness::NoLog);
        }
        let mut logs = BTreeMap::new();
        for (origin, listed) in keys {
            let mut memory = Memory::read(disk, &origin, signer.key())?;
            let keys = RwLock::new(memory.follow(listed).into());
            let known = AtomicU64::new(memory.head().size);
            let memory = Mutex::new(memory);
            logs.insert(origin, Log { keys, known, memory });
        }
        let begun = hold_against(&**disk, beside, signer.key(), &logs, forgotten)?;
        Ok(Self {
            signer,
            logs,
            begun: Mutex::new(begun),
            clock: Clock(clock),
            _lock: lock,
        })
    }

    /// With which key it cosigns.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        self.signer.key()
    }

    /// The logs, each with the size of the newest checkpoint that was cosigned; 0 where none was.
    #[must_use]
    pub fn known(&self) -> Vec<(String, u64)> {
        let size = |log: &Log| log.known.load(Ordering::Relaxed);
        self.logs
            .iter()
            .map(|(origin, log)| (origin.clone(), size(log)))
            .collect()
    }

    /// The key of each log that counts, which is the newest one that was listed or that a change has led to.
    #[must_use]
    pub fn newest_keys(&self) -> Vec<VerifierKey> {
        self.logs
            .values()
            .filter_map(|log| log.keys().last().cloned())
            .collect()
    }

    /// Of which log a request says that it is, where that is one of ours. Nothing of it is checked, and it need not be a request at all: for counting.
    #[must_use]
    pub fn log_of(&self, body: &[u8]) -> Option<&str> {
        let at = body.windows(2).position(|pair| pair == b"\n\n")?;
        let origin = body.get(at + 2..)?.split(|byte| *byte == b'\n').next()?;
        let (origin, _) = self.logs.get_key_value(std::str::from_utf8(origin).ok()?)?;
        Some(origin)
    }

    /// Judges a request and cosigns its checkpoint, which is durable as the newest one when this returns, and so is the change of the log's key that
    /// it states. Blocks for the disk.
    ///
    /// # Errors
    /// [`Refused`]; nothing is remembered and nothing was signed that anybody has.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Signature, Refused> {
        let request = Consistency::parse(body)?;
        let Checkpoint { origin, size, root } = &request.checkpoint;
        let unknown = || Refused::UnknownLog { origin: origin.clone() };
        let log = self.logs.get(origin).ok_or_else(unknown)?;
        request.note.verify(&*log.keys()).map_err(|_| Refused::Signature)?;
        if request.old > *size {
            return Err(Refused::Shrunk {
                old: request.old,
                new: *size,
            });
        }
        let mut memory = log.memory();
        let mut keys = log.keys().to_vec();
        let change = follows(&request, &keys, &memory)?;
        let known = memory.head();
        let head = Head {
            size: *size,
            root: *root,
        };
        judge(&known, &head, &request, &keys)?;
        keys.extend(change.as_ref().map(|change| change.next.clone()));
        let (signed, signature) = self.cosign(&request.note, &keys)?;
        // A second cosignature of what is known already changes nothing that has to be remembered.
        let is_of_older = memory.newest_signer(&keys).map(|at| at + 1) != Some(keys.len());
        if known.size != head.size || memory.is_empty() || is_of_older || change.is_some() {
            memory.keep(head, &signed, change.is_some())?;
            log.known.store(head.size, Ordering::Relaxed);
            log.put_keys(&keys);
        }
        self.mark(origin, head.size, &keys)?;
        Ok(signature)
    }

    /// Has the marker say that this log was cosigned, and which key of it counts: before the first cosignature leaves of either.
    fn mark(&self, origin: &str, size: u64, keys: &[VerifierKey]) -> Result<(), MemoryError> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = begun.said().clone();
        if said.size(origin).is_none() {
            said.put_size(origin, Some(size));
        }
        said.put_keys(origin, keys);
        if said == *begun.said() {
            return Ok(());
        }
        begun.put(said)
    }

    /// The checkpoint with the signatures of its log and with ours; and ours alone. What others have signed is left out: whoever
    /// asks may put in as many as a note holds, and with ours it could not be read again.
    fn cosign(&self, note: &Note, log: &[VerifierKey]) -> Result<(Note, Signature), Refused> {
        let time = u64::try_from((self.clock.0)().unix_seconds()).unwrap_or_default();
        let mut signed = note.with_signatures_of(log);
        signed.sign(&*self.signer, time)?;
        let ours = signed
            .signatures()
            .iter()
            .find(|one| one.claims(self.signer.key()))
            .cloned();
        let none = || SignError {
            key: self.signer.key().short(),
            why: "its signature is not in the note".to_owned(),
        };
        Ok((signed, ours.ok_or_else(none)?))
    }
}

/// Holds what the folder knows of each log against the marker, and raises the marker to it.
fn hold_against(
    disk: &dyn Disk,
    beside: &Place,
    key: &VerifierKey,
    logs: &BTreeMap<String, Log>,
    forgotten: WhenForgotten,
) -> Result<Begun, NoWitness> {
    let is_anew = forgotten == WhenForgotten::DangerBeginAnew;
    let read = Begun::read(beside, key)?;
    let mut is_forgotten = read.is_none() && !memory::is_any(disk)?;
    let is_there = read.is_some();
    let mut begun = read.unwrap_or_else(|| Begun::new(beside, key));
    let file = begun.file();
    if is_forgotten && !is_anew {
        let key = key.short();
        return Err(MemoryError::NoMarker { file, key }.into());
    }
    let mut said = begun.said().clone();
    for (origin, log) in logs {
        let (known, keys) = (log.remembered(), log.keys());
        if let Err(error) = is_remembered(&file, &said, origin, (known, &keys)) {
            is_forgotten = true;
            if !is_anew {
                return Err(error.into());
            }
            said.forget(origin);
        }
        said.put_size(origin, known);
        said.put_keys(origin, &keys);
    }
    if is_anew && !is_forgotten {
        return Err(NoWitness::NothingForgotten);
    }
    memory::settle(disk)?;
    if is_there && said == *begun.said() {
        // Not written anew, so that a full disk stops nobody who has nothing new to say; the last run's may not be durable yet.
        begun.settle()?;
    } else {
        begun.put(said)?;
    }
    Ok(begun)
}

/// Whether the folder knows of this log what the marker says that it knew.
fn is_remembered(
    file: &str,
    said: &Said,
    origin: &str,
    (known, keys): (Option<u64>, &[VerifierKey]),
) -> Result<(), MemoryError> {
    let cosigned = said.size(origin);
    if cosigned > known {
        return Err(MemoryError::Forgotten {
            file: file.to_owned(),
            origin: origin.to_owned(),
            cosigned: cosigned.unwrap_or_default(),
            known: known.unwrap_or_default(),
        });
    }
    let (before, listed) = (said.keys(origin), keys.last());
    // One that another followed is not the newest again, and the newest one is not left out.
    let is_newer = listed.is_some_and(|listed| !before.contains(listed));
    let goes_on = before.last().is_none_or(|newest| keys.contains(newest));
    if before.last() == listed || before.is_empty() || (is_newer && goes_on) {
        return Ok(());
    }
    let short = |key: Option<&VerifierKey>| key.map(VerifierKey::short).unwrap_or_default();
    Err(MemoryError::OlderKey {
        file: file.to_owned(),
        newest: short(before.last()),
        listed: short(listed),
    })
}

/// Refuses what the newest key of the log, the last of these, did not sign. Gives the change of the key that the checkpoint states, where that leads on
/// from the newest one.
fn follows(request: &Consistency, keys: &[VerifierKey], memory: &Memory) -> Result<Option<KeyTurn>, Refused> {
    let change = memory::change_of(&request.note);
    let leads_on = |change: &KeyTurn| keys.last() == Some(&change.old) && !keys.contains(&change.next);
    if let Some(change) = change.filter(leads_on) {
        return memory.has_room().then_some(Some(change)).ok_or(Refused::Changes);
    }
    let by = memory::newest_signer(&request.note, keys).ok_or(Refused::Signature)?;
    if by + 1 == keys.len() {
        return Ok(None);
    }
    let short = |at: usize| keys.get(at).map(VerifierKey::short).unwrap_or_default();
    let shown = keys.iter().rposition(|key| memory.is_shown(key));
    let (key, newer) = (short(by), shown.max(memory.newest_signer(keys)));
    Err(match newer.filter(|newer| *newer > by) {
        Some(newer) => Refused::Retired {
            key,
            newer: short(newer),
            is_beyond: request.checkpoint.size > memory.head().size,
        },
        None => Refused::NotNewest {
            key,
            newest: short(keys.len() - 1),
        },
    })
}

/// The checks of the specification, in its order, after those of origin and signature.
fn judge(known: &Head, new: &Head, request: &Consistency, keys: &[VerifierKey]) -> Result<(), Refused> {
    let signed = || request.note.with_signatures_of(keys).to_string();
    if request.old != known.size {
        return Err(Refused::Conflict { known: known.size });
    }
    if known.size == new.size && known.root != new.root {
        let size = known.size;
        return Err(Refused::Forked { size, signed: signed() });
    }
    check_consistency(known, new, &request.proof).map_err(|source| Refused::Inconsistent {
        known: known.size,
        signed: (known.size != 0 && known.size != new.size).then(signed),
        source,
    })
}

impl Log {
    /// A panic between is none of the memory: what it says is what is durable.
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> Arc<[VerifierKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_keys(&self, keys: &[VerifierKey]) {
        let mut known = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if **known != *keys {
            *known = keys.into();
        }
    }

    /// The size that was cosigned; `None` where none was.
    fn remembered(&self) -> Option<u64> {
        let memory = self.memory();
        (!memory.is_empty()).then(|| memory.head().size)
    }
}

/// Reads foreign bytes as what passes between a log and a witness. Never panics; a request that is read is written the same.
pub fn fuzz_add_checkpoint(data: &[u8]) {
    crate::consistency::fuzz_consistency(data);
    client::fuzz_answer(data);
}

/// The tree of a log of which nothing was cosigned.
fn nothing() -> Head {
    Head {
        size: 0,
        root: empty_root(),
    }
}

#[cfg(test)]
mod tests;
