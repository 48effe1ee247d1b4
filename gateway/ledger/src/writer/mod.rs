//! The one writer: takes what is queued, frames and hashes it, writes once, syncs once, answers all. Not the queue
//! (`queue`), not the search for what an earlier run left (`recovery`).
//!
//! Order of life: encode → frame → leaf hash → write → `fdatasync` → publish the head → wake. There is no fixed delay: the sync in
//! progress is the window in which the next batch gathers.
//!
//! Invariants:
//! - Nobody is told "durable" before the sync that covers his record returned.
//! - After a failed write or sync the same file is never written or synced again (the kernel may have dropped the pages and
//!   forgotten the error): the segment is abandoned where its last durable record ends, what was durable is read back and
//!   compared, and a new segment begins.
//! - Before an ordinary record is written, there is room on the disk, already allocated, for every outcome still to come.

mod commit;
mod own;
mod rotate;
mod side;
mod space;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::disk::{Disk, DiskFile};
use crate::options::Options;
use crate::queue::{Health, Item, Load, Role, Shared, Wait};
use crate::segment::OpenSet;
use crate::ticket::{Durable, Lost};
use crate::tiles::{TileFiles, Tiles};
use crate::tree::{Frontier, Hash};

pub(crate) use own::{Dropped, Unknown};
pub(crate) use side::Side;
pub(crate) use space::Spare;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) first_seq: u64,
    /// Where the last durable record ends.
    pub(crate) pos: u64,
    /// Where the footer must begin at the latest.
    pub(crate) limit: u64,
    /// As in its header: where an abandoned predecessor's records end.
    pub(crate) abandoned_at: Option<u64>,
}

/// What the next segment follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing, or a sealed segment.
    Sealed,
    /// A segment whose records end here.
    Abandoned(u64),
}

/// Records that were promised nothing and are missing, until a `gap` record says so.
#[derive(Clone, Debug)]
struct Missing {
    why: &'static str,
    from: model::time::Timestamp,
    lost: u64,
}

/// The state of the writer.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Option<Active>,
    pub(crate) follows: Follows,
    pub(crate) spares: VecDeque<Spare>,
    /// The tree with the batch in `buf`, and as it is durable.
    pub(crate) frontier: Frontier,
    pub(crate) durable: Frontier,
    /// How many records there were before the first of this writer.
    pub(crate) found: u64,
    /// Whether this writer has tried to write a record: one that failed may stand on the disk all the same.
    has_written: bool,
    /// Unfinished calls as they are durable, and how many the batch adds.
    pub(crate) open: OpenSet,
    opening: usize,
    pub(crate) side: Side,
    pub(crate) tiles: TileFiles,
    buf: Vec<u8>,
    batch: Vec<(u64, Item)>,
    hashes: Vec<Hash>,
    /// Hashes that the batch completes in the tree's upper levels, with their level.
    nodes: Vec<(u32, Hash)>,
    /// Reserved records that wait for a disk.
    held: VecDeque<Item>,
    missing: Option<Missing>,
    inbox: Vec<Item>,
    load: Load,
    spare_serial: u64,
    next_probe: Option<Instant>,
    /// Whether nothing was committed since the last abandoned segment; then a new one waits for the probe, so that a disk
    /// that fails every batch costs one segment a second and no spinning.
    failed_last: bool,
}

/// Whether the writer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Again,
    Stopped,
}

/// What a recovery hands over.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) active: Option<Active>,
    pub(crate) spares: VecDeque<Spare>,
    pub(crate) frontier: Frontier,
    pub(crate) open: OpenSet,
    pub(crate) side: Side,
    pub(crate) tiles: TileFiles,
}

impl Engine {
    pub(crate) fn new(disk: Arc<dyn Disk>, options: Options, shared: Arc<Shared>, start: Start) -> Self {
        let spare_serial = start.spares.iter().map(Spare::serial).max().map_or(0, |last| last + 1);
        let engine = Self {
            disk,
            options,
            shared,
            active: start.active,
            follows: Follows::Sealed,
            spares: start.spares,
            durable: start.frontier.clone(),
            found: start.frontier.size(),
            has_written: false,
            frontier: start.frontier,
            open: start.open,
            opening: 0,
            side: start.side,
            tiles: start.tiles,
            buf: Vec::new(),
            batch: Vec::new(),
            hashes: Vec::new(),
            nodes: Vec::new(),
            held: VecDeque::new(),
            missing: None,
            inbox: Vec::new(),
            load: Load::default(),
            spare_serial,
            next_probe: None,
            failed_last: false,
        };
        engine.publish();
        engine
    }

    /// The tree for readers beside this writer.
    pub(crate) fn view(&self) -> Tiles {
        let (disk, shared) = (Arc::clone(&self.disk), Arc::clone(&self.shared));
        Tiles::on(disk, Some(shared), self.tiles.height())
    }

    /// Runs until the ledger is closed.
    pub(crate) fn run(mut self) {
        while self.step(true) == Step::Again {}
    }

    /// One round: take, write, sync, answer.
    pub(crate) fn step(&mut self, may_wait: bool) -> Step {
        let wait = match (may_wait, self.next_probe) {
            (false, _) => Wait::No,
            (true, None) => Wait::Forever,
            (true, Some(at)) => Wait::Until(at),
        };
        let mut inbox = std::mem::take(&mut self.inbox);
        let taken = self.shared.take(&mut inbox, self.load, wait);
        self.load = taken.load;
        if taken.probe || self.next_probe.is_some_and(|at| at <= Instant::now()) {
            self.probe();
        }
        for item in inbox.drain(..) {
            self.place(item);
        }
        self.inbox = inbox;
        self.flush_all();
        if taken.closing {
            self.finish();
            return Step::Stopped;
        }
        self.keep_spare();
        self.schedule_probe();
        Step::Again
    }

    /// Puts one record into the batch, or says why not.
    fn place(&mut self, item: Item) {
        match self.admit(&item) {
            Ok(()) => {
                self.encode(item);
                if self.buf.len() >= self.options.batch_bytes {
                    self.flush();
                }
            }
            Err(_) if item.is_reserved() && self.shared.health() != Health::Corrupt => self.held.push_back(item),
            Err(lost) => self.lose(item, lost),
        }
    }

    /// Tells whoever waits that the record is not there, and counts it for the gap record.
    fn lose(&mut self, item: Item, lost: Lost) {
        self.begin_missing(lost).lost += 1;
        match &item.role {
            Role::Begins { place, .. } => place.lost(),
            Role::Ends { place, .. } => place.release(),
            Role::Plain | Role::Own { .. } => {}
        }
        if let Some(promise) = item.promise {
            promise.complete(Err(lost));
        }
    }

    /// From here on records may be missing.
    fn begin_missing(&mut self, lost: Lost) -> &mut Missing {
        let why = match lost {
            Lost::DiskFull => "diskFull",
            Lost::DiskFailed => "diskFailed",
            Lost::Closed => "closed",
        };
        let clock = &self.options.clock;
        self.missing.get_or_insert_with(|| Missing {
            why,
            from: clock(),
            lost: 0,
        })
    }

    /// Tries a full or failing disk again.
    fn probe(&mut self) {
        self.next_probe = None;
        match self.shared.health() {
            Health::Corrupt | Health::Closed => {}
            _ if self.active.is_none() => self.resume(),
            Health::Healthy if !self.spares.is_empty() => {}
            Health::Healthy | Health::DiskFull | Health::DiskFailed => {
                if self.add_spare().is_ok() {
                    self.recovered();
                }
            }
        }
    }

    /// The disk takes records again: says first what is missing, then writes what was held.
    fn recovered(&mut self) {
        self.shared.set_health(Health::Healthy);
        let refused = self.shared.take_refused();
        #[cfg(any(test, feature = "sim"))]
        let refused = refused.saturating_sub(u64::from(self.options.mutant == Some(crate::sim::Mutant::ForgetsOne)));
        if let Some(missing) = self.missing.take() {
            let item = own::gap(&self.options, missing.why, missing.from, missing.lost, refused);
            self.place(item);
        }
        for item in std::mem::take(&mut self.held) {
            self.place(item);
        }
    }

    fn schedule_probe(&mut self) {
        let is_wanted = match self.shared.health() {
            Health::Healthy => self.spares.is_empty(),
            Health::DiskFull | Health::DiskFailed => true,
            Health::Corrupt | Health::Closed => false,
        };
        if !is_wanted {
            self.next_probe = None;
        } else if self.next_probe.is_none() {
            self.next_probe = Instant::now().checked_add(self.options.probe_every);
        }
    }

    /// The last acts: a checkpoint of all records before it, the footer, and an answer to everyone who still waits.
    fn finish(&mut self) {
        if self.is_untouched() {
            // As a kill would leave it.
            self.active = None;
            self.shared.is_left_as_found.store(true, Ordering::SeqCst);
        } else {
            self.write_checkpoint();
        }
        self.seal_for_good();
        let left = self.shared.shut(Health::Closed);
        for item in std::mem::take(&mut self.held).into_iter().chain(left) {
            self.lose(item, Lost::Closed);
        }
    }

    fn write_checkpoint(&mut self) {
        if self.active.is_none() && self.shared.health() != Health::Corrupt {
            self.resume();
        }
        if self.active.is_some() {
            let head = self.shared.head();
            self.place(own::checkpoint(&self.options, &head));
            self.flush_all();
        }
    }

    /// Whether this writer has put nothing behind what it found. A start that broke off writes nothing at its end either: behind an end that was signed whole,
    /// whatever stands there is somebody else's work (`publish::unsigned`).
    const fn is_untouched(&self) -> bool {
        self.found > 0 && !self.has_written
    }

    /// Writes the ledger's own first records of this run.
    pub(crate) fn begin(&mut self, dropped: Option<Dropped>, unknown: Vec<Unknown>) {
        if let Some(dropped) = dropped {
            self.place(own::recovery(&self.options, &dropped, self.durable.size()));
        }
        for call in unknown {
            self.place(own::unknown(&self.options, &call));
        }
        self.flush_all();
        self.keep_spare();
        self.schedule_probe();
    }

    /// Whether all reserved records could be written.
    pub(crate) fn is_ready(&self) -> bool {
        self.active.is_some() && self.batch.is_empty() && self.held.is_empty()
    }

    fn publish(&self) {
        self.shared.open.store(self.open.len(), Ordering::SeqCst);
        self.shared.publish(&self.durable);
    }
}

impl Drop for Engine {
    /// Also after a panic of the writer: nobody may wait for a record that will never come. What is queued or in the
    /// batch answers `Lost::Closed` when dropped.
    fn drop(&mut self) {
        drop(self.shared.shut(Health::Closed));
    }
}

fn durable(seq: u64) -> Result<Durable, Lost> {
    Ok(Durable { seq })
}
