//! The handle: open, append, ask for the head, close. All work is done by the writer.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::event::RecordKind;
use model::subject::SubjectId;

use crate::disk::{Disk, DiskLock, LockError};
use crate::error::{AppendError, OpenError};
use crate::frame::{MAX_LEAF_LEN, MAX_PART_LEN};
use crate::leaf::{self, PREFIX_MAX};
use crate::names::Names;
use crate::options::Options;
use crate::publish::note_found;
use crate::queue::{Counts, Item, Limits, OutcomeSlot, Part, Pending, Role, Shared};
use crate::recovery::{Recovered, Recovery, recover};
use crate::ticket::{Promise, Ticket, ticket};
use crate::tiles::{Mending, Tiles};
use crate::tree::Head;
use crate::writer::Engine;

/// An open ledger: the one writer of its folder. Share it in an `Arc`; dropping it closes it.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer>>,
    mending: Mutex<Option<Mending>>,
    group_max: usize,
    tiles: Tiles,
    found: u64,
}

#[derive(Debug)]
enum Writer {
    Thread(JoinHandle<()>, Box<dyn DiskLock>),
    /// Driven by hand, so that the crash rounds are the same for the same seed.
    #[cfg(any(test, feature = "sim"))]
    ByHand(Box<Engine>, Box<dyn DiskLock>),
}

impl Ledger {
    /// Opens the folder on `disk` for writing, or makes a new ledger there. `dir` serves messages only.
    ///
    /// Blocks for the recovery (≤ 1 s for a whole segment) and for two preallocations.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process writes there, `Damaged` when something that was durable does not hold any more,
    /// `Io`, `Beside` and `Options` as they say. Nothing is appended then.
    pub fn open(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<(Self, Recovery), OpenError> {
        let (mut engine, lock, report) = start(dir, options, disk)?;
        // Without its thread nothing is mended, and readers compute what is missing.
        let mending = engine.tiles.take_mender().and_then(|mender| mender.spawn().ok());
        let (shared, group_max) = (Arc::clone(&engine.shared), engine.options.group_max());
        let (tiles, found) = (engine.view(), engine.found);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || engine.run())
            .map_err(|source| OpenError::Io {
                what: "start the writer of",
                file: dir.display().to_string(),
                source,
            })?;
        let writer = Mutex::new(Some(Writer::Thread(thread, lock)));
        Ok((
            Self {
                shared,
                writer,
                mending: Mutex::new(mending),
                group_max,
                tiles,
                found,
            },
            report,
        ))
    }

    /// As [`Ledger::open`], but nothing is written until [`Ledger::drive`] is called.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    #[cfg(any(test, feature = "sim"))]
    pub fn open_by_hand(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<(Self, Recovery), OpenError> {
        let (mut engine, lock, report) = start(dir, options, disk)?;
        if let Some(mender) = engine.tiles.take_mender() {
            mender.run(&std::sync::atomic::AtomicBool::new(false));
        }
        let (shared, group_max) = (Arc::clone(&engine.shared), engine.options.group_max());
        let (tiles, found) = (engine.view(), engine.found);
        let writer = Mutex::new(Some(Writer::ByHand(Box::new(engine), lock)));
        Ok((
            Self {
                shared,
                writer,
                mending: Mutex::new(None),
                group_max,
                tiles,
                found,
            },
            report,
        ))
    }

    /// One round of the writer, in this thread. Does nothing where a thread writes.
    #[cfg(any(test, feature = "sim"))]
    pub fn drive(&self) {
        if let Some(Writer::ByHand(engine, _)) = &mut *self.writer() {
            engine.step(false);
        }
    }

    /// Waits until the files that were missing at the start are made anew.
    #[cfg(test)]
    pub(crate) fn wait_mended(&self) {
        if let Some(mending) = self.mending.lock().unwrap_or_else(PoisonError::into_inner).take() {
            mending.wait();
        }
    }

    /// Drops a ledger as a kill would: without draining, without a checkpoint.
    #[cfg(any(test, feature = "sim"))]
    pub fn kill(self) {
        if let Some(Writer::ByHand(engine, lock)) = self.writer().take() {
            drop((engine, lock));
        }
    }

    /// Appends a record that has no reserved end: anything but intent, open and outcome. The close of a pure read goes here,
    /// that of a stream through its slot.
    ///
    /// `body` is a compact JSON object; `"v"`, `"kind"` and `"seq"` are put in front of its members. Never blocks.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was queued then.
    pub fn append(&self, kind: RecordKind, body: Vec<u8>, parts: Vec<Part>) -> Result<Ticket, AppendError> {
        let (promise, ticket) = ticket();
        self.push_plain(kind, body, parts, Some(promise))?;
        Ok(ticket)
    }

    /// As [`Ledger::append`], for records that nobody waits for.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn append_forget(&self, kind: RecordKind, body: Vec<u8>, parts: Vec<Part>) -> Result<(), AppendError> {
        self.push_plain(kind, body, parts, None)
    }

    /// Appends the intent of a call that can change something, and reserves the place of its outcome in memory and on the
    /// disk. The reservation holds from the moment the ticket says durable. `body` has the request id as `"id"`.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was queued or reserved then.
    pub fn append_intent(&self, body: Vec<u8>, parts: Vec<Part>) -> Result<(Ticket, OutcomeSlot), AppendError> {
        self.push_begin(RecordKind::Intent, body, parts)
    }

    /// As [`Ledger::append_intent`], for a stream: its slot takes the `close`.
    ///
    /// # Errors
    /// As [`Ledger::append_intent`].
    pub fn append_open(&self, body: Vec<u8>, parts: Vec<Part>) -> Result<(Ticket, OutcomeSlot), AppendError> {
        self.push_begin(RecordKind::Open, body, parts)
    }

    fn push_plain(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Vec<Part>,
        promise: Option<Promise>,
    ) -> Result<(), AppendError> {
        if kind.promises_an_end() || kind == RecordKind::Outcome {
            return Err(AppendError::NeedsSlot);
        }
        if !leaf::is_object(&body) {
            return Err(AppendError::NotAnObject);
        }
        let pushed = self.shared.sealing.with(kind, body, Some(parts), |body, parts| {
            self.check(&body, &parts)?;
            self.shared.push(Item {
                kind,
                body,
                parts,
                promise,
                role: Role::Plain,
            })
        });
        pushed.unwrap_or(Err(AppendError::NotSealed))
    }

    fn push_begin(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Vec<Part>,
    ) -> Result<(Ticket, OutcomeSlot), AppendError> {
        if !leaf::is_object(&body) {
            return Err(AppendError::NotAnObject);
        }
        let pushed = self.shared.sealing.with(kind, body, Some(parts), |body, parts| {
            self.push_begin_as_it_is(kind, body, parts)
        });
        pushed.unwrap_or(Err(AppendError::NotSealed))
    }

    fn push_begin_as_it_is(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Vec<Part>,
    ) -> Result<(Ticket, OutcomeSlot), AppendError> {
        self.check(&body, &parts)?;
        let id = leaf::facts(&body)
            .map(|facts| facts.id.into_owned())
            .ok_or(AppendError::NotAnObject)?;
        let (promise, ticket) = ticket();
        let place = self.shared.reserve()?;
        let slot = OutcomeSlot::new(Arc::clone(&place));
        let role = Role::Begins { id, place };
        self.shared.push(Item {
            kind,
            body,
            parts,
            promise: Some(promise),
            role,
        })?;
        Ok((ticket, slot))
    }

    fn check(&self, body: &[u8], parts: &[Part]) -> Result<(), AppendError> {
        if !leaf::is_object(body) {
            return Err(AppendError::NotAnObject);
        }
        let too_long = |len, limit| {
            if len > limit {
                Err(AppendError::TooLong { len, limit })
            } else {
                Ok(())
            }
        };
        too_long(body.len(), MAX_LEAF_LEN - PREFIX_MAX)?;
        let mut group = body.len() + 2 * PREFIX_MAX;
        for part in parts {
            if part.bytes.is_empty() {
                return Err(AppendError::EmptyPart);
            }
            too_long(part.bytes.len(), MAX_PART_LEN)?;
            group += part.bytes.len() + PREFIX_MAX;
        }
        too_long(group, self.group_max)
    }

    /// Has names sealed in all records that are appended from now on. Once, before the first record: a ledger does not change how it
    /// names people. What the ledger writes itself names nobody.
    pub fn seal_names(&self, names: Arc<dyn Names>) {
        self.shared.sealing.begin(names);
    }

    /// Whether names are sealed in what is appended.
    #[must_use]
    pub fn seals_names(&self) -> bool {
        self.shared.sealing.is_on()
    }

    /// Under which name records of this subject stand that are appended now. `None`: under their own, or it cannot be had.
    #[must_use]
    pub fn pseudonym(&self, subject: &SubjectId) -> Option<String> {
        self.shared.sealing.pseudonym(subject)
    }

    /// Keys of names were taken out of use: when this returns, whatever was sealed under them has been handed to the writer, and nothing
    /// more will be.
    pub fn forget_name_keys(&self) {
        self.forget_name_keys_and(|| ());
    }

    /// The same, where `act` takes them out of use: no record is sealed between the two. Whoever appends waits for it, so `act` is short, and does not
    /// append here.
    pub fn forget_name_keys_and(&self, act: impl FnOnce()) {
        self.shared.sealing.forget_and(act);
    }

    /// The durable end: size and root.
    #[must_use]
    pub fn durable(&self) -> Head {
        self.shared.head()
    }

    /// How many records stood there when it was opened, before its own first ones.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Calls that have no end in the records: after [`Ledger::close`] the next start says of each that its end is unknown.
    pub(crate) fn without_end(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Whether it is closed, and nothing was put behind what was found, not even in vain.
    pub(crate) fn is_left_as_found(&self) -> bool {
        self.shared.is_left_as_found.load(Ordering::SeqCst)
    }

    /// The tree as tiles, entry bundles and hashes for proofs, up to the durable end. Clones share what they learn, so ask once and
    /// keep it.
    #[must_use]
    pub fn tiles(&self) -> Tiles {
        self.tiles.clone()
    }

    /// Calls `listener` with the new size after each batch that became durable, on the writer's thread: it must return at
    /// once (send into a channel, set a `watch`) and not call this ledger. Stays for the ledger's life.
    pub fn on_durable(&self, listener: impl Fn(u64) + Send + Sync + 'static) {
        self.shared.listen(Box::new(listener));
    }

    /// Lets the caller say when it is time to write, which is worth much where records come in bursts: the writer's thread would
    /// else take the processor from whoever is about to bring the next record, and sync each alone. `pending` is called once
    /// when something waits to be written, and once more when something comes that somebody waits for; it must return at
    /// once and see to it that [`Ledger::nudge`] is called soon. Ends when the returned value is dropped.
    #[must_use = "dropping it ends the gathering"]
    pub fn gather(self: &Arc<Self>, pending: impl Fn(Pending) + Send + Sync + 'static) -> Gathering {
        self.shared.gather(Some(Box::new(pending)));
        Gathering(Arc::clone(&self.shared))
    }

    /// Has what has come together written now.
    pub fn nudge(&self) {
        self.shared.nudge();
    }

    /// Blocks until more than `size` records are durable or the time is over; returns the durable size.
    #[must_use]
    pub fn wait_beyond(&self, size: u64, timeout: Duration) -> u64 {
        self.shared.wait_beyond(size, timeout)
    }

    /// Why ordinary records are refused at the moment; `None` while they are taken.
    #[must_use]
    pub fn trouble(&self) -> Option<AppendError> {
        self.shared.trouble()
    }

    /// Intents and streams whose slot is still held.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.slots()
    }

    /// What was done since the ledger was opened, and what waits.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Asks the writer to try a full or failing disk again now and not only when `Options::probe_every` is over.
    pub fn probe(&self) {
        self.shared.ask_probe();
    }

    /// Writes all that is queued, a checkpoint record and the footer, and stops: where nothing was appended since it was opened, none of them. Blocks until that is done. A second call
    /// does nothing. Slots that are still held find the ledger closed; the next start lists their calls as unknown.
    pub fn close(&self) {
        drop(self.end());
    }

    /// The same, and then `last`, while nobody else can open the folder yet: here its end is signed. Whoever came in between would find records that nobody
    /// signed, and the checkpoint of this run would take the place of theirs. A second call runs `last` alone, and holds nobody off.
    pub fn close_and<T>(&self, last: impl FnOnce() -> T) -> T {
        let lock = self.end();
        let done = last();
        drop(lock);
        done
    }

    /// Ends the writer and hands on its lock, for as long as nobody else may come in; `None` where it has ended already.
    fn end(&self) -> Option<Box<dyn DiskLock>> {
        let writer = self.writer().take()?;
        self.shared.begin_close();
        let mending = self.mending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mending) = mending {
            mending.end();
        }
        Some(match writer {
            Writer::Thread(thread, lock) => {
                // A writer that panicked has answered everyone (`Engine`'s drop); there is nothing more to save.
                let _ = thread.join();
                lock
            }
            #[cfg(any(test, feature = "sim"))]
            Writer::ByHand(mut engine, lock) => {
                engine.step(false);
                lock
            }
        })
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody says when it is time to write; see [`Ledger::gather`].
#[derive(Debug)]
pub struct Gathering(Arc<Shared>);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.gather(None);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

type Started = (Engine, Box<dyn DiskLock>, Recovery);

fn start(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<Started, OpenError> {
    options.check().map_err(OpenError::Options)?;
    let shown = || dir.display().to_string();
    let lock = disk.lock().map_err(|error| match error {
        LockError::Held => OpenError::InUse { dir: shown() },
        LockError::Io(source) => OpenError::Io {
            what: "lock",
            file: shown(),
            source,
        },
    })?;
    let Recovered {
        start,
        report,
        dropped,
        unknown,
    } = recover(&disk, &options)?;
    let limits = Limits {
        bytes: options.queue_bytes,
        records: options.queue_records,
        open: options.max_open,
        outcome: options.outcome_bytes,
    };
    let has_active = start.active.is_some();
    let says_more = dropped.is_some() || !unknown.is_empty();
    let mut engine = Engine::new(disk, options, Arc::new(Shared::new(limits)), start);
    let io = |source| OpenError::Io {
        what: "begin a segment in",
        file: shown(),
        source,
    };
    if !has_active {
        engine.begin_segment().map_err(io)?;
    }
    if let Some(beside) = engine.options.beside.as_ref().filter(|_| says_more) {
        note_found(engine.found, &**beside).map_err(|error| OpenError::Beside(Box::new(error)))?;
    }
    engine.begin(dropped, unknown);
    if !engine.is_ready() {
        return Err(io(std::io::Error::other("the first records could not be written")));
    }
    Ok((engine, lock, report))
}
