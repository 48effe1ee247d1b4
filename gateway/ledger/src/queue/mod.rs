//! What callers and the writer share: the bounded queue, the reserved places, the durable head.
//!
//! **When it is full:** ordinary records are refused at once ([`AppendError::Full`]) above `queue_bytes` or
//! `queue_records`. Outcomes are counted apart, by the slots given out (`max_open`), and are never refused for room.
//!
//! Invariant: the writer is notified only while it is parked, so a busy writer costs its callers no wake-up. While somebody
//! gathers ([`crate::Ledger::gather`]), it is notified when they say so, or when very much has come together.

mod slot;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use model::event::RecordKind;

pub use slot::OutcomeSlot;
pub(crate) use slot::Place;

use crate::error::AppendError;
use crate::names::Sealing;
use crate::ticket::Promise;
use crate::tree::{Frontier, Head};

/// Bytes that belong to a record (a body, query values, exec arguments), already sealed by the caller. Written before the
/// record and synced with it; no leaf of the tree, so the record's body has to commit to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// At most [`crate::frame::MAX_PART_LEN`] bytes.
    pub bytes: Vec<u8>,
}

/// What the ledger has done since it was opened, and what it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Durable records, those of earlier runs included.
    pub records: u64,
    /// Batches written and synced.
    pub syncs: u64,
    /// Bytes of those batches.
    pub bytes: u64,
    /// Records that wait for the disk, outcomes in their reserved places apart.
    pub waiting: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
    /// Records that were not taken: the queue or the disk was full, the disk failed, or the ledger was closed.
    pub refused: u64,
    /// How often it stopped taking records since it was opened.
    pub troubles: u64,
}

/// One record on its way.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: RecordKind,
    pub(crate) body: Vec<u8>,
    pub(crate) parts: Vec<Part>,
    pub(crate) promise: Option<Promise>,
    pub(crate) role: Role,
}

/// What the record means for the set of unfinished calls, and whether its place is reserved.
#[derive(Debug)]
pub(crate) enum Role {
    /// Neither.
    Plain,
    /// An intent or open.
    Begins { id: String, place: Arc<Place> },
    /// Its end, in its reserved place.
    Ends { intent: u64, place: Arc<Place> },
    /// The ledger's own record, in its own reserve; may end an intent of an earlier run.
    Own { ends: Option<u64> },
}

impl Item {
    pub(crate) fn is_reserved(&self) -> bool {
        matches!(self.role, Role::Ends { .. } | Role::Own { .. })
    }

    /// Bytes in memory, about.
    fn weight(&self) -> usize {
        self.body.len() + self.parts.iter().map(|part| part.bytes.len() + 64).sum::<usize>() + 192
    }
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    DiskFull,
    DiskFailed,
    Corrupt,
    Closed,
}

impl Health {
    fn refusal(self) -> Option<AppendError> {
        match self {
            Self::Healthy => None,
            Self::DiskFull => Some(AppendError::DiskFull),
            Self::DiskFailed => Some(AppendError::DiskFailed),
            Self::Corrupt => Some(AppendError::Corrupt),
            Self::Closed => Some(AppendError::Closed),
        }
    }
}

/// Shared by the handle, the slots and the writer.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    limits: Limits,
    /// Slots given out and neither dropped nor durable.
    slots: AtomicUsize,
    /// Entries in the writer's set of unfinished calls, abandoned ones included.
    pub(crate) open: AtomicUsize,
    /// The writer has ended and has put nothing behind what it found.
    pub(crate) is_left_as_found: AtomicBool,
    head: Mutex<Frontier>,
    advanced: Condvar,
    listeners: RwLock<Vec<Listener>>,
    gatherer: RwLock<Option<Gatherer>>,
    syncs: AtomicU64,
    written: AtomicU64,
    /// How names get into the log.
    pub(crate) sealing: Sealing,
}

/// That something waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pending {
    /// Nobody waits for it.
    Unawaited,
    /// Somebody does.
    Awaited,
}

type Gatherer = Box<dyn Fn(Pending) + Send + Sync>;
type Listener = Box<dyn Fn(u64) + Send + Sync>;

/// The bounds of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
    pub(crate) open: usize,
    pub(crate) outcome: usize,
}

#[derive(Debug)]
struct Queue {
    items: Vec<Item>,
    bytes: usize,
    records: usize,
    refused: u64,
    refused_in_all: u64,
    troubles: u64,
    health: Health,
    parked: bool,
    closing: bool,
    probe: bool,
    /// Whether somebody says when it is time to write, whether they have, and what they were told of.
    gathers: bool,
    nudged: bool,
    announced: Option<Pending>,
}

/// What the writer got.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) closing: bool,
    pub(crate) probe: bool,
    /// Of the ordinary records among the items; given back with the next take.
    pub(crate) load: Load,
}

/// Queue space in use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    bytes: usize,
    records: usize,
}

/// How long the writer waits for work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    No,
    Forever,
    Until(Instant),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Self {
        let queue = Queue {
            items: Vec::new(),
            bytes: 0,
            records: 0,
            refused: 0,
            refused_in_all: 0,
            troubles: 0,
            health: Health::Healthy,
            parked: false,
            closing: false,
            probe: false,
            gathers: false,
            nudged: false,
            announced: None,
        };
        Self {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            limits,
            slots: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            is_left_as_found: AtomicBool::new(false),
            head: Mutex::new(Frontier::default()),
            advanced: Condvar::new(),
            listeners: RwLock::new(Vec::new()),
            gatherer: RwLock::new(None),
            syncs: AtomicU64::new(0),
            written: AtomicU64::new(0),
            sealing: Sealing::default(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }

    /// Queues an ordinary record or an intent, or refuses it.
    pub(crate) fn push(&self, item: Item) -> Result<(), AppendError> {
        let mut queue = lock(&self.queue);
        let weight = item.weight();
        if let Some(refusal) = queue.refusal(self.limits, weight) {
            queue.refused_in_all += 1;
            queue.refused += u64::from(matches!(refusal, AppendError::DiskFull | AppendError::DiskFailed));
            return Err(refusal);
        }
        queue.bytes += weight;
        queue.records += 1;
        self.enqueue(queue, item);
        Ok(())
    }

    /// Queues an outcome; its place is its slot's. Gives it back when no writer will ever take it.
    pub(crate) fn push_reserved(&self, item: Item) -> Result<(), Item> {
        let queue = lock(&self.queue);
        if queue.closing || matches!(queue.health, Health::Closed | Health::Corrupt) {
            return Err(item);
        }
        self.enqueue(queue, item);
        Ok(())
    }

    fn enqueue(&self, mut queue: MutexGuard<'_, Queue>, item: Item) {
        let pending = match item.promise {
            Some(_) => Pending::Awaited,
            None => Pending::Unawaited,
        };
        queue.items.push(item);
        if queue.gathers && queue.items.len() < GATHERED_AT_MOST {
            let is_news = queue.announced.is_none_or(|announced| announced < pending);
            queue.announced = queue.announced.max(Some(pending));
            drop(queue);
            if is_news {
                self.tell(pending);
            }
            return;
        }
        queue.nudged = true;
        self.wake(queue);
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let wake = std::mem::take(&mut queue.parked);
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    fn tell(&self, pending: Pending) {
        let gatherer = self.gatherer.read().unwrap_or_else(PoisonError::into_inner);
        match &*gatherer {
            Some(gatherer) => gatherer(pending),
            // It went away in between.
            None => self.nudge(),
        }
    }

    /// From now on somebody else says when it is time to write; without one, every record says so.
    pub(crate) fn gather(&self, gatherer: Option<Gatherer>) {
        let gathers = gatherer.is_some();
        *self.gatherer.write().unwrap_or_else(PoisonError::into_inner) = gatherer;
        lock(&self.queue).gathers = gathers;
        self.nudge();
    }

    /// It is time to write what has come together.
    pub(crate) fn nudge(&self) {
        let mut queue = lock(&self.queue);
        if !queue.items.is_empty() {
            queue.nudged = true;
            self.wake(queue);
        }
    }

    /// Takes a place for an outcome, if there is one.
    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Arc<Place>, AppendError> {
        let limit = self.limits.open;
        let abandoned_too = self.open.load(Ordering::SeqCst);
        let taken = self.slots.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |slots| {
            (slots.max(abandoned_too) < limit).then_some(slots + 1)
        });
        match taken {
            Ok(_) => Ok(Arc::new(Place::new(Arc::clone(self)))),
            Err(_) => Err(AppendError::TooManyOpen { limit }),
        }
    }

    fn release_slot(&self) {
        self.slots.fetch_sub(1, Ordering::SeqCst);
    }

    /// Asks the writer to drain and stop.
    pub(crate) fn begin_close(&self) {
        lock(&self.queue).closing = true;
        self.work.notify_one();
    }

    /// Asks the writer to try a full or failing disk again now.
    pub(crate) fn ask_probe(&self) {
        let mut queue = lock(&self.queue);
        queue.probe = true;
        queue.parked = false;
        drop(queue);
        self.work.notify_one();
    }

    /// Swaps all queued items into `inbox` (empty) and gives the last batch's room back.
    pub(crate) fn take(&self, inbox: &mut Vec<Item>, done: Load, wait: Wait) -> Taken {
        let mut queue = lock(&self.queue);
        queue.bytes = queue.bytes.saturating_sub(done.bytes);
        queue.records = queue.records.saturating_sub(done.records);
        while !queue.is_due() && !queue.closing && !queue.probe {
            let timeout = match wait {
                Wait::No => break,
                Wait::Forever => None,
                Wait::Until(at) => Some(at.saturating_duration_since(Instant::now())),
            };
            if timeout == Some(Duration::ZERO) {
                queue.probe = true;
                break;
            }
            queue.parked = true;
            queue = self.park(queue, timeout);
            queue.parked = false;
        }
        std::mem::swap(&mut queue.items, inbox);
        (queue.nudged, queue.announced) = (false, None);
        let load = Load {
            bytes: queue.bytes,
            records: queue.records,
        };
        Taken {
            closing: queue.closing,
            probe: std::mem::take(&mut queue.probe),
            load,
        }
    }

    fn park<'a>(&self, queue: MutexGuard<'a, Queue>, timeout: Option<Duration>) -> MutexGuard<'a, Queue> {
        match timeout {
            None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                self.work
                    .wait_timeout(queue, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }

    /// Says whether records are taken from now on.
    pub(crate) fn set_health(&self, health: Health) {
        let mut queue = lock(&self.queue);
        queue.troubles += u64::from(queue.health == Health::Healthy && health != Health::Healthy);
        queue.health = health;
    }

    pub(crate) fn health(&self) -> Health {
        lock(&self.queue).health
    }

    /// Why ordinary records are refused at the moment.
    pub(crate) fn trouble(&self) -> Option<AppendError> {
        self.health().refusal()
    }

    /// Ends the queue: nothing is taken any more, and what still waited is given back to be answered.
    pub(crate) fn shut(&self, health: Health) -> Vec<Item> {
        let mut queue = lock(&self.queue);
        queue.health = health;
        std::mem::take(&mut queue.items)
    }

    /// How many records were refused since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        std::mem::take(&mut lock(&self.queue).refused)
    }

    /// One batch of so many bytes was written and synced.
    pub(crate) fn synced(&self, bytes: u64) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What operators see of it.
    pub(crate) fn counts(&self) -> Counts {
        let records = lock(&self.head).size();
        let queue = lock(&self.queue);
        Counts {
            records,
            syncs: self.syncs.load(Ordering::Relaxed),
            bytes: self.written.load(Ordering::Relaxed),
            waiting: queue.records,
            waiting_bytes: queue.bytes,
            refused: queue.refused_in_all,
            troubles: queue.troubles,
        }
    }

    /// Publishes the durable head; the frontier is copied into a buffer that is already there.
    pub(crate) fn publish(&self, frontier: &Frontier) {
        lock(&self.head).copy_from(frontier);
        self.advanced.notify_all();
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(frontier.size());
        }
    }

    /// How many records are durable.
    pub(crate) fn size(&self) -> u64 {
        lock(&self.head).size()
    }

    pub(crate) fn head(&self) -> Head {
        let frontier = lock(&self.head).clone();
        Head {
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    pub(crate) fn wait_beyond(&self, size: u64, timeout: Duration) -> u64 {
        let head = lock(&self.head);
        let (head, _) = self
            .advanced
            .wait_timeout_while(head, timeout, |head| head.size() <= size)
            .unwrap_or_else(PoisonError::into_inner);
        head.size()
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }
}

/// More than this is written without being told.
const GATHERED_AT_MOST: usize = 1_024;

impl Queue {
    fn is_due(&self) -> bool {
        !self.items.is_empty() && (self.nudged || !self.gathers)
    }

    fn refusal(&self, limits: Limits, weight: usize) -> Option<AppendError> {
        if self.closing {
            return Some(AppendError::Closed);
        }
        let is_full = self.records >= limits.records || self.bytes.saturating_add(weight) > limits.bytes;
        self.health.refusal().or(is_full.then_some(AppendError::Full))
    }
}

/// A poisoned lock means that a listener or waker panicked; the data under it is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
