//! Signs the durable end of a ledger while it grows: the newest checkpoint in one file, others kept all along, so that a
//! verifier knows between which two signed sizes something was changed. Nobody who appends waits for it.
//!
//! A log never signs what contradicts an earlier signature ([C2SP tlog-checkpoint], "Signatures"). So before the first
//! signature of a run the newest one of the run before is held against the records: a ledger that has fewer than were
//! signed, or others, is not signed any more.
//!
//! [C2SP tlog-checkpoint]: https://c2sp.org/tlog-checkpoint

mod before;
mod mend;
mod turn;
mod unsigned;
mod witnessed;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::chain::chain;
use model::time::Timestamp;

use crate::Ledger;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::disk::{Disk, read_range};
use crate::error::{AppendError, ReadError};
use crate::note::{MAX_NOTE_LEN, Note, NoteError, SignError, Signer, TurnError, VerifierKey, VerifyError};
use crate::reader::Reader;
use crate::segment::{parse_segment_name, segment_name};
use crate::tree::Head;
use crate::verify::{KEPT, NEWEST_CHECKPOINT as NEWEST, key_changes};
use before::root_at;
pub use mend::Cut;
pub(crate) use mend::torn_end;
pub use unsigned::Tail;
pub(crate) use unsigned::note_found;

/// How long a checkpoint may be old while records come.
const EVERY: Duration = Duration::from_secs(1);
/// How often one is kept for good.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// After so long a signer that does not answer is said. A key in a file takes 36 µs, a key management service some 100 ms.
const SLOW: Duration = Duration::from_secs(5);

/// Why a ledger is not signed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk said no.
    #[error("cannot {what} `{file}`")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        file: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// Records of the ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoint of the run before is no signed note.
    #[error("`{file}` is no signed checkpoint")]
    Note {
        /// The file.
        file: String,
        /// What is wrong.
        source: NoteError,
    },
    /// It is a note and no checkpoint.
    #[error("`{file}` is no checkpoint")]
    Checkpoint {
        /// The file.
        file: String,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The file beside the key that says where the last run ended is damaged.
    #[error(
        "`{file}` does not say where the last run ended: take it away; the start then records that nothing proves who wrote what was not signed"
    )]
    Closed {
        /// The file.
        file: String,
        /// What is wrong.
        source: CheckpointError,
    },
    /// It was signed by another key, or by nobody.
    #[error(
        "`{file}` was not signed by this ledger's key `{key}`: put the key back, or begin a new ledger in an empty folder, \
         with a new key: move the key and the `checkpoint` beside it away"
    )]
    OtherKey {
        /// The file.
        file: String,
        /// `NAME+ID` of the key that is there now.
        key: String,
        /// What the check of the signature said.
        source: VerifyError,
    },
    /// More records were signed than are there: the disk lost some, or an older copy was put back.
    #[error(
        "{signed} records of this ledger were signed and {have} are here: the disk lost some, or an older copy was put back. \
         Put the newest copy back, or keep this one as evidence and begin a new ledger in an empty folder, with a new key: move the key \
         and the `checkpoint` beside it away"
    )]
    Behind {
        /// The signed size.
        signed: u64,
        /// How many there are.
        have: u64,
    },
    /// The records are not those that were signed.
    #[error(
        "the first {size} records are not those that were signed: `gatescribe ledger verify` says where they differ"
    )]
    Differs {
        /// The signed size.
        size: u64,
    },
    /// The key that is there signs no more: the ledger has a record that another one followed it.
    #[error("the key `{key}` signs this ledger no more: `{next}` followed it. Put that key in its place")]
    Followed {
        /// `NAME+ID`.
        key: String,
        /// Which followed it.
        next: String,
    },
    /// The two keys cannot follow one another, or one did not sign that.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// A record that has to stand there before anything is signed was not taken.
    #[error("what has to be recorded before anything is signed cannot be recorded")]
    Append(#[from] AppendError),
    /// It was taken and lost: the disk failed.
    #[error("the record of the key's change was lost")]
    Unrecorded,
    /// So was that of the records that nobody had signed.
    #[error("the record of what nobody had signed before was lost")]
    Unsaid,
    /// A key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The thread that signs could not be started.
    #[error("cannot start the thread that signs checkpoints")]
    Thread(#[source] std::io::Error),
}

/// What is signed at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The signed note, as it stands in the file `checkpoint`.
    pub note: Note,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// When it was signed, on the wall clock.
    pub at: Timestamp,
}

/// The thread that signs. Dropping it ends it without a last signature; [`Publisher::finish`] makes one.
#[derive(Debug)]
pub struct Publisher {
    desk: Arc<Desk>,
    mended: Vec<Cut>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What thread and handle share.
#[derive(Debug)]
struct Desk {
    ledger: Arc<Ledger>,
    disk: Arc<dyn Disk>,
    /// Another folder that keeps the newest checkpoint, too: who can write the ledger's alone could take its own away.
    beside: Option<Arc<dyn Disk>>,
    signers: Vec<Arc<dyn Signer>>,
    clock: Clock,
    state: Mutex<State>,
    /// Held while files are replaced, so that what is signed and what is witnessed do not overtake one another.
    writing: Mutex<()>,
    /// The thread is told that it is over.
    woken: Condvar,
    /// Those who wait are told that something was signed.
    signed: Condvar,
}

struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Arc<Published>>,
    kept: Option<(Instant, u64)>,
    /// The newest one with the cosignatures that are asked for.
    witnessed: Option<Arc<Published>>,
    /// What was handed out last to whoever asks for the log.
    served: Option<Arc<Published>>,
    kept_witnessed: Option<(Instant, u64)>,
    /// A file of kept checkpoints to which an append broke off and could not be taken back, and its length before.
    torn: Option<(String, u64)>,
    /// Why the last try failed; empty while all is well.
    trouble: Option<String>,
    /// Since when a signer is asked, on the wall clock, and its key.
    asked: Option<(Timestamp, String)>,
    is_over: bool,
}

impl Publisher {
    /// Holds the ledger against what was signed before, signs its end, and goes on signing whenever it has grown, once a
    /// second at most. The first signer's name is the origin; all of them sign. `beside` is a folder where the newest checkpoint
    /// is kept a second time and looked for, such as that of the key: without it, whoever can write the ledger's folder while
    /// nobody signs can take the checkpoints away and have other records signed. Whatever stands behind what was signed is signed now, so whoever starts records it before
    /// ([`Publisher::say_unsigned`]).
    ///
    /// # Errors
    /// [`PublishError`]; nothing is signed then.
    pub fn start(
        ledger: &Arc<Ledger>,
        disk: Arc<dyn Disk>,
        beside: Option<Arc<dyn Disk>>,
        signers: Vec<Arc<dyn Signer>>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, PublishError> {
        let desk = Arc::new(Desk::new(ledger, disk, beside, signers, clock));
        desk.compare()?;
        desk.refuse_followed()?;
        let mended = mend::mend(&*desk.disk, &desk.origin())?;
        desk.publish(true)?;
        let at_work = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("ledger-signer".to_owned())
            .spawn(move || at_work.work())
            .map_err(PublishError::Thread)?;
        let publisher = Self {
            desk,
            mended,
            thread: Mutex::new(Some(thread)),
        };
        // At the very last: a start that fails before leaves what says where the last run ended.
        publisher.desk.forget_closed()?;
        Ok(publisher)
    }

    /// The largest tree that was signed by these keys before, as the newest checkpoints say it, here and `beside`, and those that are kept along
    /// the ledger: none is one without a record. The signature is checked, and the root against what the segment leads to that it reaches
    /// into; whether each earlier record is the one that was signed is not ([`Reader::proved`]). Whoever took the newest ones away, or put
    /// older ones in their place, has to take those that are kept away, too. Signs nothing.
    ///
    /// # Errors
    /// [`PublishError`], as [`Publisher::start`] would say it.
    pub fn signed_before(
        ledger: &Ledger,
        disk: &Arc<dyn Disk>,
        beside: Option<&Arc<dyn Disk>>,
        keys: &[&VerifierKey],
    ) -> Result<Head, PublishError> {
        before::signed(ledger, disk, beside, keys)
    }

    /// Torn ends that the start has cut off the files of kept checkpoints: what a crash, or a full disk, in the middle of an append
    /// had left. Whoever starts says so.
    #[must_use]
    pub fn mended(&self) -> &[Cut] {
        &self.mended
    }

    /// The public keys of those who sign.
    #[must_use]
    pub fn keys(&self) -> Vec<VerifierKey> {
        self.desk.signers.iter().map(|signer| signer.key().clone()).collect()
    }

    /// The changes of this ledger's key, the oldest first, each as both keys signed it.
    ///
    /// # Errors
    /// The file of them cannot be read.
    pub fn key_changes(&self) -> Result<Vec<Note>, PublishError> {
        Ok(key_changes(&*self.desk.disk)?)
    }

    /// The newest checkpoint; `None` while there is no record.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Published>> {
        self.desk.state().newest.clone()
    }

    /// The newest checkpoint, once so many records are signed. Blocks until then, at most for `within`, which is over too
    /// when nothing is signed any more.
    #[must_use]
    pub fn covering(&self, size: u64, within: Duration) -> Option<Arc<Published>> {
        let lacks = |state: &mut State| {
            let has = state.newest.as_ref().map_or(0, |newest| newest.checkpoint.size);
            has < size && !state.is_over
        };
        let waited = self.desk.signed.wait_timeout_while(self.desk.state(), within, lacks);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let newest = state.newest.clone();
        newest.filter(|newest| newest.checkpoint.size >= size)
    }

    /// Why records are not signed at the moment; `None` while they are. That a signer does not answer is said while it is waited for.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let now = (self.desk.clock.0)();
        let state = self.desk.state();
        let slow = state.asked.as_ref().and_then(|(since, key)| {
            let waited = now.since(*since);
            (waited >= SLOW).then(|| format!("the key `{key}` has not signed for {} s", waited.as_secs()))
        });
        slow.or_else(|| state.trouble.clone())
    }

    /// Ends the thread and signs the ledger's end once more; call it in [`Ledger::close_and`]. Then it is written down beside the key that the run has ended there, so that what
    /// the next start finds behind it is known to be somebody else's. A second call does nothing.
    ///
    /// # Errors
    /// As [`Publisher::start`].
    pub fn finish(&self) -> Result<(), PublishError> {
        if !self.stop() {
            return Ok(());
        }
        // Where the newest checkpoint is over all, the end is a whole one, whatever could not be kept along the ledger.
        let published = self.desk.publish(true);
        let closed = self.desk.keep_closed();
        published.and(closed)
    }

    fn stop(&self) -> bool {
        self.desk.state().is_over = true;
        self.desk.woken.notify_all();
        self.desk.signed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has signed nothing wrong; its last signature stands.
        thread.is_some_and(|thread| thread.join().is_ok())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    /// Nothing is looked at, signed or written yet.
    fn new(
        ledger: &Arc<Ledger>,
        disk: Arc<dyn Disk>,
        beside: Option<Arc<dyn Disk>>,
        signers: Vec<Arc<dyn Signer>>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            disk,
            beside,
            signers,
            clock: Clock(clock),
            state: Mutex::default(),
            writing: Mutex::default(),
            woken: Condvar::new(),
            signed: Condvar::new(),
        }
    }

    /// Signs when there is something new, not more often than once in [`EVERY`].
    fn work(&self) {
        let mut state = self.state();
        while !state.is_over {
            drop(state);
            let tried = self.publish(false);
            state = self.state();
            state.trouble = tried.err().map(|error| chain(&error));
            let waited = self.woken.wait_timeout_while(state, EVERY, |state| !state.is_over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A key that another one has followed signs nothing more, even where the new one has signed nothing yet.
    fn refuse_followed(&self) -> Result<(), PublishError> {
        let Some(signer) = self.signers.first() else {
            return Ok(());
        };
        match self.turn_from(signer.key())? {
            None => Ok(()),
            Some(turn) => Err(PublishError::Followed {
                key: turn.old.short(),
                next: turn.next.short(),
            }),
        }
    }

    /// The newest signatures of an earlier run must be over these very records.
    fn compare(&self) -> Result<(), PublishError> {
        let keys: Vec<_> = self.signers.iter().map(|signer| signer.key()).collect();
        Publisher::signed_before(&self.ledger, &self.disk, self.beside.as_ref(), &keys).map(drop)
    }

    /// Signs the durable end, if it is not signed yet, and writes it down; `keep` also where it is not time to keep one.
    fn publish(&self, keep: bool) -> Result<(), PublishError> {
        let _writing = self.writing();
        let head = self.ledger.durable();
        let newest = self.state().newest.clone();
        let has_grown = newest.as_ref().is_none_or(|newest| newest.checkpoint.size < head.size);
        if head.size == 0 {
            return Ok(());
        }
        let published = match newest {
            Some(newest) if !has_grown => newest,
            _ => {
                let published = Arc::new(self.sign(&head)?);
                let text = published.note.to_string();
                std::iter::once(&self.disk)
                    .chain(&self.beside)
                    .try_for_each(|disk| replace(&**disk, NEWEST, text.as_bytes()))?;
                self.state().newest = Some(Arc::clone(&published));
                self.signed.notify_all();
                published
            }
        };
        let size = published.checkpoint.size;
        let is_time = match self.state().kept {
            Some((_, kept)) if kept == size => false,
            Some((at, _)) => keep || at.elapsed() >= KEEP_EVERY,
            None => true,
        };
        if is_time {
            self.keep(size, published.note.to_string().as_bytes())?;
            self.state().kept = Some((Instant::now(), size));
        }
        Ok(())
    }

    fn origin(&self) -> String {
        let origin = self.signers.first().map(|signer| signer.key().name().to_string());
        origin.unwrap_or_default()
    }

    fn sign(&self, head: &Head) -> Result<Published, SignError> {
        let at = (self.clock.0)();
        let checkpoint = Checkpoint {
            origin: self.origin(),
            size: head.size,
            root: head.root,
        };
        let refused = |error: NoteError| SignError {
            key: checkpoint.origin.clone(),
            why: error.to_string(),
        };
        let mut note = Note::new(checkpoint.to_string()).map_err(refused)?;
        let seconds = u64::try_from(at.unix_seconds()).unwrap_or_default();
        for signer in &self.signers {
            self.state().asked = Some((at, signer.key().short()));
            let signed = note.sign(&**signer, seconds);
            self.state().asked = None;
            signed?;
        }
        Ok(Published { note, checkpoint, at })
    }

    /// Adds it to those that stay, beside the segment that it reaches into.
    fn keep(&self, size: u64, bytes: &[u8]) -> Result<(), PublishError> {
        let names = self
            .disk
            .list()
            .map_err(|source| io(&*self.disk, "list", ".", source))?;
        let firsts = names.iter().filter_map(|name| parse_segment_name(name));
        let first = firsts.filter(|first| *first < size).max().unwrap_or(0);
        let name = segment_name(first).replace(".seg", KEPT);
        let is_new = !names.contains(&name);
        let append = || -> std::io::Result<()> {
            self.take_back()?;
            let file = if is_new {
                self.disk.create(&name)?
            } else {
                self.disk.open(&name)?
            };
            let before = file.len()?;
            let appended = file.write_at(bytes, before).and_then(|()| file.sync_all());
            if appended.is_err() {
                // Half a checkpoint would be damage to every verification.
                self.state().torn = Some((name.clone(), before));
                // What cannot be taken back now is before the next append, or by the next start.
                let _ = self.take_back();
            }
            appended?;
            if is_new { self.disk.sync_dir() } else { Ok(()) }
        };
        append().map_err(|source| io(&*self.disk, "write", &name, source))
    }

    /// Cuts an append that broke off.
    fn take_back(&self) -> std::io::Result<()> {
        let torn = self.state().torn.clone();
        if let Some((name, before)) = torn {
            let file = self.disk.open(&name)?;
            file.set_len(before)?;
            file.sync_all()?;
            self.state().torn = None;
        }
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the newest one in place of the one before, whole or not at all.
fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
    let new = new_name(name);
    let write = || -> std::io::Result<()> {
        let file = disk.create(&new)?;
        file.write_at(bytes, 0)?;
        file.sync_all()?;
        disk.rename(&new, name)?;
        disk.sync_dir()
    };
    write().map_err(|source| io(disk, "write", name, source))
}

/// What a file is called until it is whole.
fn new_name(name: &str) -> String {
    format!("{name}.new")
}

fn read(disk: &dyn Disk, name: &str) -> Result<Option<Vec<u8>>, PublishError> {
    match disk.open_read(name) {
        Ok(file) => read_range(&*file, 0, MAX_NOTE_LEN + 1)
            .map(Some)
            .map_err(|source| io(disk, "read", name, source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io(disk, "read", name, source)),
    }
}

fn io(disk: &dyn Disk, what: &'static str, name: &str, source: std::io::Error) -> PublishError {
    PublishError::Io {
        what,
        file: disk.display(name),
        source,
    }
}

#[cfg(test)]
mod tests;
