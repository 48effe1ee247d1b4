//! Calls that go on while the ledger cannot take their record, because the operator has chosen so in words
//! (`ledger.dangerFailModes`; decision 0016). Each is counted in a file beside the ledger before it goes on, and once the ledger takes
//! records again, a `gap` record with the counts is written before any call that begins then.
//!
//! Invariants:
//! - Nothing goes on here but by a disk that is full or fails. A queue that is full, too many open calls, a record that is too long:
//!   all of that a client can bring about, and it stays closed (promise 8).
//! - In a bounded class no call goes on that is not in the file, and none above the bound, also after a crash.
//! - A count is taken back only for a call that did not go on; so what the gap says is never too little, but where the file could
//!   not be written in an open class and the process ended.
//! - Admission and the writing of the gap record exclude one another: each call is counted by exactly one gap.

mod tally;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::{AppendError, Disk, Lost, Reader};
use model::event::{Answer, ByClass, Ends, Record, RecordKind, Unrecorded};
use model::subject::SubjectId;
use model::time::Timestamp;

use self::tally::{Counted, Found, Gap, Tally, Window};
use super::{RequestId, Station};
use crate::clock::Reading;

pub use self::tally::fuzz_unrecorded_calls;

/// What becomes of calls of one class while the ledger cannot take their record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// They are refused.
    #[default]
    Closed,
    /// So many of them go on, for so long; then they are refused.
    Bounded,
    /// They go on.
    Open,
}

impl FailMode {
    /// The word in configuration and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Bounded => "bounded",
            Self::Open => "open",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Bounded => 1,
            Self::Open => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Closed, Self::Bounded, Self::Open]
            .into_iter()
            .find(|mode| mode.code() == code)
    }
}

/// What the operator has chosen. The default refuses everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailModes {
    /// For pure reads and for what may change something.
    pub modes: ByClass<FailMode>,
    /// How many calls of each bounded class go on.
    pub most: u64,
    /// For how long they do, from the first of them. After that long with a ledger that takes records, the bound is whole again.
    pub within: Duration,
}

impl Default for FailModes {
    fn default() -> Self {
        Self {
            modes: ByClass::default(),
            most: 0,
            within: Duration::ZERO,
        }
    }
}

impl FailModes {
    /// Whether something may go on without a record.
    #[must_use]
    pub fn are_weakened(&self) -> bool {
        self.modes != ByClass::default()
    }
}

/// Classes of calls that can be told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    Reads,
    Effects,
}

impl CallClass {
    const fn of<T: Copy>(self, each: &ByClass<T>) -> T {
        match self {
            Self::Reads => each.reads,
            Self::Effects => each.effects,
        }
    }

    const fn of_mut<T>(self, each: &mut ByClass<T>) -> &mut T {
        match self {
            Self::Reads => &mut each.reads,
            Self::Effects => &mut each.effects,
        }
    }
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    DiskFull,
    DiskFailed,
    /// The file that counts cannot be read, so calls may have gone on that nobody counts.
    CountDamaged,
}

impl Why {
    /// What kept a record out, where it is the disk; everything else stays closed.
    pub(super) const fn of_append(error: &AppendError) -> Option<Self> {
        match error {
            AppendError::DiskFull => Some(Self::DiskFull),
            AppendError::DiskFailed => Some(Self::DiskFailed),
            // A client can bring about the first ones. A disk that does not hold what was written to it is a finding and no
            // shortage: somebody has to look. A ledger that is closed belongs to a gateway that ends, or to a fault of ours.
            AppendError::Full
            | AppendError::TooManyOpen { .. }
            | AppendError::TooLong { .. }
            | AppendError::EmptyPart
            | AppendError::NotAnObject
            | AppendError::NeedsSlot
            | AppendError::Corrupt
            | AppendError::Closed => None,
        }
    }

    /// As [`Why::of_append`], of a record that had been taken.
    pub(super) const fn of_lost(lost: Lost) -> Option<Self> {
        match lost {
            Lost::DiskFull => Some(Self::DiskFull),
            Lost::DiskFailed => Some(Self::DiskFailed),
            Lost::Closed => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "diskFull",
            Self::DiskFailed => "diskFailed",
            Self::CountDamaged => "countDamaged",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::DiskFull => 1,
            Self::DiskFailed => 2,
            Self::CountDamaged => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::DiskFull, Self::DiskFailed, Self::CountDamaged]
            .into_iter()
            .find(|why| why.code() == code)
    }
}

/// What operators see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What was chosen.
    pub chosen: FailModes,
    /// Calls that went on without a record since the process began.
    pub passed: ByClass<u64>,
    /// Calls that no record counts yet, and since when.
    pub gap: Option<(ByClass<u64>, Timestamp)>,
    /// Whether a call of the class would go on now, if the ledger did not take its record.
    pub goes_on: ByClass<bool>,
}

/// Lets calls go on without a record, and counts them.
#[derive(Debug)]
pub struct Unkept {
    chosen: FailModes,
    ledger: Arc<dyn Disk>,
    state: Mutex<State>,
    file: Mutex<Kept>,
    /// Admissions share it, whoever writes the gap record has it alone.
    turn: tokio::sync::RwLock<()>,
    /// A call has met with trouble since the ledger was last seen to be well.
    is_troubled: AtomicBool,
    passed: [AtomicU64; 2],
}

#[derive(Debug)]
struct State {
    counted: Counted,
    /// Changes of `counted`.
    changes: u64,
    /// When the window began and since when the ledger takes records, as monotonic time; a window of an earlier run began before.
    window_began: i128,
    well_since: Option<u64>,
    /// What each subject took of this window.
    shares: HashMap<Option<SubjectId>, ByClass<u64>>,
    /// The gap is one that the process before this one has left.
    is_of_earlier_run: bool,
}

#[derive(Debug)]
struct Kept {
    tally: Option<Tally>,
    /// The change up to which the file says it.
    changes: u64,
}

/// The place of one call in the count. It says how the call ended.
#[derive(Debug)]
pub(super) struct Pass {
    unkept: Arc<Unkept>,
    gap: [u8; 16],
}

impl Pass {
    /// The call has ended so.
    pub(super) fn ended(self, end: Answer) {
        let mut state = self.unkept.state();
        // Of a call that outlives its gap, that record says that it goes on.
        if let Some(gap) = state.counted.gap.as_mut().filter(|gap| gap.id == self.gap) {
            *gap.ended.of(end) += 1;
            state.changes += 1;
        }
    }
}

impl Unkept {
    /// Reads what an earlier run counted and did not record, and makes the file on `disk` where something may be counted now. `None`:
    /// there is neither. In the folder on `ledger` it is looked whether a gap has its record.
    ///
    /// # Errors
    /// The disk says no.
    pub fn open(
        disk: &dyn Disk,
        ledger: Arc<dyn Disk>,
        chosen: FailModes,
        now: Reading,
    ) -> io::Result<Option<Arc<Self>>> {
        let (mut tally, found) = Tally::look(disk)?;
        let counted = match found {
            Found::Nothing if !chosen.are_weakened() => return Ok(None),
            Found::Nothing => Counted::default(),
            Found::Counts(counted) => counted,
            Found::Damaged => Counted {
                gap: Some(damaged(chosen, now)),
                window: None,
            },
        };
        if tally.is_none() {
            tally = Some(Tally::make(disk, &counted)?);
        }
        let elapsed = counted
            .window
            .map_or(Duration::ZERO, |window| now.wall.since(window.began));
        let state = State {
            window_began: i128::from(now.mono) - i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX),
            counted,
            changes: 0,
            // It took the records of its start.
            well_since: Some(now.mono),
            shares: HashMap::new(),
            is_of_earlier_run: counted.gap.is_some(),
        };
        Ok(Some(Arc::new(Self {
            chosen,
            ledger,
            is_troubled: AtomicBool::new(counted.gap.is_some()),
            state: Mutex::new(state),
            file: Mutex::new(Kept { tally, changes: 0 }),
            turn: tokio::sync::RwLock::default(),
            passed: Default::default(),
        })))
    }

    /// What operators see of it.
    #[must_use]
    pub fn standing(&self, now: Reading) -> Standing {
        let state = self.state();
        let goes_on = |class: CallClass| match class.of(&self.chosen.modes) {
            FailMode::Closed => false,
            FailMode::Open => true,
            FailMode::Bounded => self.has_room(&state, class, now),
        };
        let [reads, effects] = &self.passed;
        Standing {
            chosen: self.chosen,
            passed: ByClass {
                reads: reads.load(Ordering::Relaxed),
                effects: effects.load(Ordering::Relaxed),
            },
            gap: state.counted.gap.map(|gap| (gap.passed, gap.from)),
            goes_on: ByClass {
                reads: goes_on(CallClass::Reads),
                effects: goes_on(CallClass::Effects),
            },
        }
    }

    /// The place of a call of this class in the count, if it may go on. It is on the disk then; where an open class is counted and
    /// the disk does not take that either, in memory alone, which is said.
    ///
    /// Cancellation takes the count back: whoever left did not go on.
    pub(super) async fn admit(
        self: &Arc<Self>,
        class: CallClass,
        subject: Option<&SubjectId>,
        why: Why,
        now: Reading,
    ) -> Option<Pass> {
        let mode = class.of(&self.chosen.modes);
        if mode == FailMode::Closed {
            return None;
        }
        let _turn = self.turn.read().await;
        let mut counting = self.count(class, subject, why, now)?;
        let (unkept, change) = (Arc::clone(self), counting.change);
        let kept = tokio::task::spawn_blocking(move || unkept.keep(change)).await;
        match kept.unwrap_or_else(|fault| Err(io::Error::other(fault))) {
            Ok(()) => {}
            Err(error) if mode == FailMode::Open => {
                tracing::error!(error = %error, "DANGER: a call goes on without a record, and the file that counts those cannot be written: should this process be killed, nobody knows of it");
            }
            Err(error) => {
                tracing::error!(error = %error, "no call goes on without a record, as the file that counts those cannot be written");
                return None;
            }
        }
        counting.goes_on = true;
        let [reads, effects] = &self.passed;
        let passed = match class {
            CallClass::Reads => reads,
            CallClass::Effects => effects,
        };
        passed.fetch_add(1, Ordering::Relaxed);
        Some(Pass {
            unkept: Arc::clone(self),
            gap: counting.gap,
        })
    }

    /// Counts it in memory, if the bound allows.
    fn count<'a>(
        self: &'a Arc<Self>,
        class: CallClass,
        subject: Option<&SubjectId>,
        why: Why,
        now: Reading,
    ) -> Option<Counting<'a>> {
        self.is_troubled.store(true, Ordering::SeqCst);
        let mut state = self.state();
        self.renew(&mut state, now);
        state.well_since = None;
        let subject = subject.cloned();
        let is_bounded = class.of(&self.chosen.modes) == FailMode::Bounded;
        if is_bounded {
            let taken = state.shares.get(&subject).map_or(0, |taken| class.of(taken));
            if !self.has_room(&state, class, now) || taken >= self.share() {
                return None;
            }
            if state.counted.window.is_none() {
                state.window_began = i128::from(now.mono);
            }
            let window = state.counted.window.get_or_insert(Window {
                began: now.wall,
                spent: ByClass::default(),
            });
            *class.of_mut(&mut window.spent) += 1;
            *class.of_mut(state.shares.entry(subject.clone()).or_default()) += 1;
        }
        if state.counted.gap.is_none() {
            let modes = self.chosen.modes;
            tracing::error!(
                why = why.name(),
                reads = modes.reads.name(),
                effects = modes.effects.name(),
                "DANGER: calls go on without a record, as `ledger.dangerFailModes` says"
            );
        }
        let gap = state.counted.gap.get_or_insert_with(|| Gap {
            id: RequestId::new().bytes(),
            why,
            modes: self.chosen.modes,
            from: now.wall,
            to: now.wall,
            passed: ByClass::default(),
            ended: Ends::default(),
            looked_for_from: None,
        });
        gap.to = now.wall;
        *class.of_mut(&mut gap.passed) += 1;
        let id = gap.id;
        state.changes += 1;
        Some(Counting {
            unkept: self,
            class,
            bounded: is_bounded.then_some(subject),
            gap: id,
            change: state.changes,
            goes_on: false,
        })
    }

    /// Of one bound no subject takes more than a quarter, so that nobody uses up what others need.
    fn share(&self) -> u64 {
        self.chosen.most.div_ceil(4)
    }

    fn has_room(&self, state: &State, class: CallClass, now: Reading) -> bool {
        let Some(window) = &state.counted.window else {
            return self.chosen.most > 0;
        };
        if self.is_over(state, now) {
            return self.chosen.most > 0;
        }
        let elapsed = i128::from(now.mono) - state.window_began;
        let within = i128::try_from(self.chosen.within.as_nanos()).unwrap_or(i128::MAX);
        class.of(&window.spent) < self.chosen.most && elapsed < within
    }

    /// Whether the ledger has taken records for so long that the bound is whole again. A disk that comes and goes shares one.
    fn is_over(&self, state: &State, now: Reading) -> bool {
        let within = u64::try_from(self.chosen.within.as_nanos()).unwrap_or(u64::MAX);
        state
            .well_since
            .is_some_and(|since| now.mono.saturating_sub(since) >= within)
    }

    fn renew(&self, state: &mut State, now: Reading) {
        if self.is_over(state, now) {
            state.counted.window = None;
            state.shares.clear();
            state.changes += 1;
        }
    }

    /// Has the file say what was counted up to this change. Whoever comes while another writes shares the next writing.
    fn keep(&self, change: u64) -> io::Result<()> {
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes >= change {
            return Ok(());
        }
        let (counted, changes) = {
            let state = self.state();
            (state.counted, state.changes)
        };
        let Some(tally) = &mut kept.tally else {
            return Err(io::ErrorKind::NotFound.into());
        };
        tally.keep(&counted)?;
        kept.changes = changes;
        Ok(())
    }

    /// Writes the gap record, if there is a gap and the ledger takes records. Not to be cancelled in the middle: it would be
    /// written twice.
    pub(super) async fn settle(self: &Arc<Self>, station: &Station) {
        if !self.is_troubled.load(Ordering::SeqCst) {
            return;
        }
        let _turn = self.turn.write().await;
        if !self.is_troubled.load(Ordering::SeqCst) || station.ledger.trouble().is_some() {
            return;
        }
        let gap = self.state().counted.gap;
        if let Some(gap) = gap {
            if !self.is_there(&gap).await && !self.record(&gap, station).await {
                return;
            }
            tracing::warn!(
                reads = gap.passed.reads,
                effects = gap.passed.effects,
                "the ledger takes records again, and a gap record says how many calls went on without one"
            );
        }
        let change = {
            let mut state = self.state();
            state.counted.gap = None;
            state.is_of_earlier_run = false;
            state.well_since = Some(station.clock.mono());
            state.changes += 1;
            state.changes
        };
        self.is_troubled.store(false, Ordering::SeqCst);
        if let Err(error) = self.keeping(change).await {
            tracing::error!(error = %error, "the file that counts calls without a record cannot be written");
        }
    }

    /// Whether there is something to settle.
    pub(super) fn is_troubled(&self) -> bool {
        self.is_troubled.load(Ordering::SeqCst)
    }

    /// Whether a gap waits for its record.
    pub(super) fn has_gap(&self) -> bool {
        self.state().counted.gap.is_some()
    }

    async fn keeping(self: &Arc<Self>, change: u64) -> io::Result<()> {
        let unkept = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || unkept.keep(change)).await;
        kept.unwrap_or_else(|fault| Err(io::Error::other(fault)))
    }

    /// Whether a process that ended before it could note that has written the record of this gap.
    async fn is_there(&self, gap: &Gap) -> bool {
        if !self.state().is_of_earlier_run {
            return false; // what was lost in this run is not there
        }
        let Some(from) = gap.looked_for_from else { return false };
        let (ledger, id) = (Arc::clone(&self.ledger), text(gap.id));
        let looked = tokio::task::spawn_blocking(move || stands_in(ledger, from, &id));
        looked.await.unwrap_or(false)
    }

    /// True: it is durable.
    async fn record(self: &Arc<Self>, gap: &Gap, station: &Station) -> bool {
        let (change, is_of_earlier_run) = {
            let mut state = self.state();
            if let Some(gap) = &mut state.counted.gap {
                gap.looked_for_from = Some(station.ledger.durable().size);
            }
            state.changes += 1;
            (state.changes, state.is_of_earlier_run)
        };
        if let Err(error) = self.keeping(change).await {
            tracing::error!(error = %error, "the file that counts calls without a record cannot be written: after a crash, a gap may be recorded twice, under one id");
        }
        let (id, now) = (text(gap.id), station.clock.read());
        let counted = gap.passed.reads.saturating_add(gap.passed.effects);
        let ended = gap.ended.counts().into_iter().fold(0, u64::saturating_add);
        let unrecorded = Unrecorded {
            why: gap.why.name(),
            from: gap.from,
            to: gap.to,
            passed: gap.passed,
            modes: ByClass {
                reads: gap.modes.reads.name(),
                effects: gap.modes.effects.name(),
            },
            ended: gap.ended,
            unfinished: counted.saturating_sub(ended),
            // What is open may have gone on without the file.
            at_least: is_of_earlier_run
                && (gap.why == Why::CountDamaged || [gap.modes.reads, gap.modes.effects].contains(&FailMode::Open)),
        };
        let record = Record {
            id: &id,
            t: now.wall,
            mono: now.mono,
            boot: station.boot(),
            gap: Some(unrecorded),
            ..Record::default()
        };
        let Ok(body) = record.body() else { return false };
        match station.ledger.append(RecordKind::Gap, body, Vec::new()) {
            Ok(ticket) => ticket.await.is_ok(),
            Err(_) => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under the lock is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was counted and has not gone on yet.
struct Counting<'a> {
    unkept: &'a Unkept,
    class: CallClass,
    /// Whose share of the bound it took, if it is bounded.
    bounded: Option<Option<SubjectId>>,
    gap: [u8; 16],
    change: u64,
    goes_on: bool,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        let mut state = self.unkept.state();
        let less = |each: &mut ByClass<u64>| {
            let count = self.class.of_mut(each);
            *count = count.saturating_sub(1);
        };
        if let Some(gap) = state.counted.gap.as_mut().filter(|gap| gap.id == self.gap) {
            less(&mut gap.passed);
            if gap.passed == ByClass::default() {
                state.counted.gap = None;
            }
        }
        if let Some(subject) = &self.bounded {
            state
                .counted
                .window
                .iter_mut()
                .for_each(|window| less(&mut window.spent));
            state.shares.get_mut(subject).into_iter().for_each(less);
        }
        state.changes += 1;
    }
}

fn text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).hyphenated().to_string()
}

/// Nobody knows what the file said.
fn damaged(chosen: FailModes, now: Reading) -> Gap {
    tracing::error!(
        "DANGER: the file that counts calls without a record cannot be read: whatever it counted is not known"
    );
    Gap {
        id: RequestId::new().bytes(),
        why: Why::CountDamaged,
        modes: chosen.modes,
        from: now.wall,
        to: now.wall,
        passed: ByClass::default(),
        ended: Ends::default(),
        looked_for_from: None,
    }
}

/// Whether a gap record of this id stands in the ledger, from this number on.
fn stands_in(ledger: Arc<dyn Disk>, from: u64, id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let Ok(reader) = Reader::open_on(ledger) else {
        return false;
    };
    let mut records = reader.records_from(from).map_while(Result::ok);
    records.any(|record| {
        record.kind == RecordKind::Gap && serde_json::from_slice(&record.leaf).is_ok_and(|leaf: Named| leaf.id == id)
    })
}
