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
//! - Each call is counted by exactly one gap, and by none whose record may have been written before: that one is sealed first, under
//!   the lock under which calls are counted. So a record that a kill leaves in the ledger says all of its gap.
//! - A gap stays in the file until a signature covers its record. What nobody had signed when a process was killed excuses nothing
//!   afterwards, so the next start writes it once more, under the same id. No call waits for a signature.

mod bound;
mod keeper;
mod record;
mod signed;
mod station;
mod tally;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::{AppendError, Disk, Ledger, Lost};
use model::event::{Answer, ByClass, Ends};
use model::subject::SubjectId;
use model::time::Timestamp;
use tokio::sync::oneshot;

use self::bound::Bound;
use self::keeper::{Keeper, Kept};
use self::tally::{Counted, Found, Gap, Tally, Window};
use super::RequestId;
use crate::clock::Reading;

use self::signed::Recorded;
pub use self::signed::SignedSize;
pub(super) use self::station::Otherwise;
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
    /// For how long they do, from the first of them. After that long with a ledger that takes records, and an hour at least, the
    /// bound is whole again.
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
            | AppendError::NotSealed
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
    signed: SignedSize,
    state: Mutex<State>,
    keeper: Keeper,
    /// Whoever writes gap records has it.
    recording: Arc<tokio::sync::Mutex<()>>,
    /// Something was counted since the ledger was last seen to be well. Set and cleared under the lock of `state`.
    is_troubled: AtomicBool,
    passed: [AtomicU64; 2],
}

#[derive(Debug)]
struct State {
    counted: Counted,
    recorded: Recorded,
    bound: Bound,
    /// The gaps are those that the process before this one has left. Until they are recorded, nothing is counted.
    is_of_earlier_run: bool,
}

impl State {
    /// What the file is to say.
    fn in_file(&self) -> Counted {
        self.recorded.beside(&self.counted)
    }
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
        }
    }
}

impl Unkept {
    /// Reads what an earlier run counted and did not record, and makes the file on `disk` where something may be counted now. `None`:
    /// there is neither. In the folder on `ledger`, which has `durable` records, it is looked whether a gap has its record. What stands
    /// there and nobody had signed before this run has to be said in the ledger by then, and to be signed.
    ///
    /// # Errors
    /// The disk says no.
    pub fn open(
        disk: &Arc<dyn Disk>,
        (ledger, durable): (Arc<dyn Disk>, u64),
        signed: SignedSize,
        chosen: FailModes,
        now: Reading,
    ) -> io::Result<Option<Arc<Self>>> {
        let (tally, found) = Tally::look(disk)?;
        let counted = match found {
            Found::Nothing if !chosen.are_weakened() => return Ok(None),
            Found::Nothing => Counted::default(),
            Found::Counts(counted) => *counted,
            Found::Damaged => damaged(chosen, durable, now),
        };
        let tally = tally.map_or_else(|| Tally::make(disk, &counted), Ok)?;
        let state = State {
            bound: Bound::new(&chosen, counted.window.as_ref(), now),
            is_of_earlier_run: counted.has_gap(),
            counted,
            recorded: Recorded::default(),
        };
        Ok(Some(Arc::new(Self {
            chosen,
            ledger,
            signed,
            is_troubled: AtomicBool::new(counted.has_gap()),
            state: Mutex::new(state),
            keeper: Keeper::start(tally)?,
            recording: Arc::default(),
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
            FailMode::Bounded => state.bound.has_room(state.counted.window.as_ref(), class, now),
        };
        let [reads, effects] = &self.passed;
        Standing {
            chosen: self.chosen,
            passed: ByClass {
                reads: reads.load(Ordering::Relaxed),
                effects: effects.load(Ordering::Relaxed),
            },
            gap: state.counted.waiting(),
            goes_on: ByClass {
                reads: goes_on(CallClass::Reads),
                effects: goes_on(CallClass::Effects),
            },
        }
    }

    /// The place of a call of this class in the count, if it may go on. It is on the disk then; where an open class is counted and
    /// the disk does not take that either, in memory alone, which is said. `durable`: so many records the ledger has.
    ///
    /// Cancellation takes the count back: whoever left did not go on. Where its gap is being recorded just then, it stays counted.
    pub(super) async fn admit(
        self: &Arc<Self>,
        (class, subject): (CallClass, Option<&SubjectId>),
        why: Why,
        durable: u64,
        now: Reading,
    ) -> Option<Pass> {
        let mode = class.of(&self.chosen.modes);
        if mode == FailMode::Closed {
            return None;
        }
        let (mut counting, told) = self.count((class, subject), why, durable, now)?;
        match told
            .await
            .unwrap_or_else(|fault| Err(Arc::new(io::Error::other(fault))))
        {
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

    /// Counts it in memory, if the bound allows, and has that written.
    fn count<'a>(
        self: &'a Arc<Self>,
        (class, subject): (CallClass, Option<&'a SubjectId>),
        why: Why,
        durable: u64,
        now: Reading,
    ) -> Option<(Counting<'a>, oneshot::Receiver<Kept>)> {
        let mut state = self.state();
        let State {
            counted,
            recorded,
            bound,
            is_of_earlier_run,
        } = &mut *state;
        bound.is_troubled();
        if *is_of_earlier_run {
            return None;
        }
        let is_bounded = class.of(&self.chosen.modes) == FailMode::Bounded;
        if is_bounded && !bound.take(&mut counted.window, class, subject, now) {
            return None;
        }
        self.is_troubled.store(true, Ordering::SeqCst);
        let gap = counted.gap.get_or_insert_with(|| self.begins(why, durable, now));
        // Calls that wait at the same time do not come in the order of their times.
        gap.from = gap.from.min(now.wall);
        gap.to = gap.to.max(now.wall);
        *class.of_mut(&mut gap.passed) += 1;
        let counting = Counting {
            unkept: self,
            class,
            bounded: is_bounded.then_some(subject),
            gap: gap.id,
            goes_on: false,
        };
        // In the order in which they were counted: handed over under the lock.
        let told = self.keeper.keep_and_tell(&recorded.beside(counted));
        drop(state);
        if told.is_none() {
            tracing::error!(
                "no more calls go on without a record: too many wait for the file that counts those, or it is written no more"
            );
        }
        // Without, the count is taken back here.
        told.map(|told| (counting, told))
    }

    /// The first call of a gap.
    fn begins(&self, why: Why, durable: u64, now: Reading) -> Gap {
        let modes = self.chosen.modes;
        tracing::error!(
            why = why.name(),
            reads = modes.reads.name(),
            effects = modes.effects.name(),
            "DANGER: calls go on without a record, as `ledger.dangerFailModes` says"
        );
        Gap {
            id: RequestId::new().bytes(),
            why,
            modes,
            from: now.wall,
            to: now.wall,
            passed: ByClass::default(),
            ended: Ends::default(),
            behind: durable,
        }
    }

    /// Looks how the ledger is: a bound becomes whole by health that is seen, and a gap whose record is signed by now is forgotten. While
    /// calls wait for their record, or that for its signature, has the count written once more: so the ends of calls are in it, too, and a
    /// file that was taken away is noticed.
    fn look(&self, ledger: &Ledger, now: Reading) {
        // Before: what fails from here on is seen by the next look.
        let troubles = ledger.counts().troubles;
        let is_well = ledger.trouble().is_none();
        let signed = self.signed.now();
        let mut state = self.state();
        let State {
            counted,
            recorded,
            bound,
            ..
        } = &mut *state;
        let waits = counted.has_gap();
        let is_whole = bound.sees(&mut counted.window, (is_well && !waits).then_some(troubles), now);
        let waited = !recorded.is_empty();
        recorded.forget_below(signed);
        if waits || waited || is_whole {
            self.keeper.keep(&state.in_file());
        }
    }

    /// Whether there may be something to record.
    fn is_troubled(&self) -> bool {
        self.is_troubled.load(Ordering::SeqCst)
    }

    /// Whether a gap waits for its record.
    fn has_gap(&self) -> bool {
        self.state().counted.has_gap()
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
    bounded: Option<Option<&'a SubjectId>>,
    gap: [u8; 16],
    goes_on: bool,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        let mut state = self.unkept.state();
        let State { counted, bound, .. } = &mut *state;
        if let Some(subject) = self.bounded {
            bound.give_back(&mut counted.window, self.class, subject);
        }
        let Some(gap) = counted.gap.as_mut().filter(|gap| gap.id == self.gap) else {
            return; // its record may have been written: it says one too many
        };
        let count = self.class.of_mut(&mut gap.passed);
        *count = count.saturating_sub(1);
        if gap.passed == ByClass::default() {
            counted.gap = None;
        }
    }
}

/// Nobody knows what the file said: there is a gap, and of the bound nothing is left.
fn damaged(chosen: FailModes, durable: u64, now: Reading) -> Counted {
    tracing::error!(
        "DANGER: the file that counts calls without a record cannot be read: whatever it counted is not known"
    );
    let gap = Gap {
        id: RequestId::new().bytes(),
        why: Why::CountDamaged,
        modes: chosen.modes,
        from: now.wall,
        to: now.wall,
        passed: ByClass::default(),
        ended: Ends::default(),
        behind: durable,
    };
    let spent = ByClass {
        reads: chosen.most,
        effects: chosen.most,
    };
    let began = now.wall;
    Counted {
        sealed: None,
        gap: Some(gap),
        window: Some(Window { began, spent }),
    }
}
