//! What the reading side of a connection, its service and its driver tell one another.
//!
//! Not a queue of work: the heads in it belong to bytes that hyper has not parsed yet. Invariant: heads leave in the
//! order in which they came, and an upgrade is decided once.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
};

use tokio::{sync::Notify, time::Instant};

use super::{guard::machine::Heads, head::Head, metrics::CloseReason, timer::Ending, violation::Violation};

/// The shared state of one connection.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    in_flight: AtomicUsize,
    /// An answer whose end only the end of the connection tells has begun and is not over.
    owes_end: AtomicBool,
    /// Asks the driver to end the connection once the running requests are answered.
    pub(crate) go_away: Notify,
}

#[derive(Debug)]
struct State {
    heads: VecDeque<Head>,
    reader: Option<Waker>,
    upgrade: UpgradeDecision,
    idle_since: Instant,
    close_reason: Option<CloseReason>,
    broken: Option<Violation>,
    /// What may demand that the answer under way ends.
    ending: Option<Arc<dyn Ending>>,
}

/// What became of an upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeDecision {
    Undecided,
    Granted,
    Denied,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            heads: VecDeque::new(),
            reader: None,
            upgrade: UpgradeDecision::Undecided,
            idle_since: Instant::now(),
            close_reason: None,
            broken: None,
            ending: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            in_flight: AtomicUsize::new(0),
            owes_end: AtomicBool::new(false),
            go_away: Notify::new(),
        })
    }

    /// No critical section can panic half-way, so a poisoned lock holds a sound state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest head; the reader may go on if it waited for room.
    pub(crate) fn pop_head(&self) -> Option<Head> {
        let mut state = self.state();
        let head = state.heads.pop_front();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        head
    }

    /// Runs a scan with the queue of heads.
    pub(crate) fn with_heads<T>(&self, scan: impl FnOnce(&mut HeadQueue<'_>) -> T) -> T {
        scan(&mut HeadQueue(&mut self.state().heads))
    }

    /// Wakes the reader at the next popped head or at the decision of an upgrade.
    pub(crate) fn wait_as_reader(&self, cx: &Context<'_>) {
        self.state().reader = Some(cx.waker().clone());
    }

    pub(crate) fn has_room(&self) -> bool {
        self.state().heads.len() < MAX_QUEUED_HEADS
    }

    pub(crate) fn decide_upgrade(&self, decision: UpgradeDecision) {
        let mut state = self.state();
        if state.upgrade == UpgradeDecision::Undecided {
            state.upgrade = decision;
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(crate) fn upgrade(&self) -> UpgradeDecision {
        self.state().upgrade
    }

    /// Counts one request in flight until the returned value is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// Says whether an answer is under way whose end is that of the connection: closed now, it would look complete.
    pub(crate) fn set_owes_end(&self, owes: bool) {
        self.owes_end.store(owes, Ordering::Release);
    }

    pub(crate) fn owes_end(&self) -> bool {
        self.owes_end.load(Ordering::Acquire)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Since when no request is in flight; only meaningful while that is so.
    pub(crate) fn idle_since(&self) -> Instant {
        self.state().idle_since
    }

    /// Keeps the first reason for which we ended the connection.
    pub(crate) fn close_because(&self, reason: CloseReason) {
        self.state().close_reason.get_or_insert(reason);
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.state().close_reason
    }

    pub(crate) fn break_body(&self, violation: Violation) {
        let mut state = self.state();
        state.broken.get_or_insert(violation);
        state.close_reason.get_or_insert(CloseReason::Violation);
    }

    /// From now on, and until it is given, the answer ends when this demands it.
    pub(crate) fn ends_by(&self, ending: Arc<dyn Ending>) {
        self.state().ending = Some(ending);
    }

    pub(crate) fn ending(&self) -> Option<Arc<dyn Ending>> {
        self.state().ending.clone()
    }

    /// The violation in the framing of a body, if there was one.
    pub(crate) fn broken(&self) -> Option<Violation> {
        self.state().broken
    }
}

/// The queue as the machine sees it.
pub(crate) struct HeadQueue<'a>(&'a mut VecDeque<Head>);

impl Heads for HeadQueue<'_> {
    fn has_room(&self) -> bool {
        self.0.len() < MAX_QUEUED_HEADS
    }

    fn push(&mut self, head: Head) {
        self.0.push_back(head);
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = self.0.state();
            state.idle_since = Instant::now();
            let ended = state.ending.take();
            drop(state);
            drop(ended);
        }
    }
}

/// Pipelined requests whose bytes may lie in front of the parser; the rest waits in the socket.
const MAX_QUEUED_HEADS: usize = 64;

/// What both kinds of guarded streams share with the rest of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) conn: Arc<super::conn::Conn>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadlines: Arc<super::config::Deadlines>,
}
