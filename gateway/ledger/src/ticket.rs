//! The promise that a record will be durable, or a reason why it will not. No async runtime: `std::task` only.
//!
//! Dropping a [`Ticket`] cancels nothing: the record is written all the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// The record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Its sequence number, which is also its index in the tree.
    pub seq: u64,
}

/// The record is not on the disk, or it cannot be said that it is. Whoever needed it must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// There was no space.
    #[error("the audit disk is full")]
    DiskFull,
    /// Writing or syncing failed.
    #[error("the audit disk failed")]
    DiskFailed,
    /// The ledger was closed, or its writer ended, before the record was written.
    #[error("the ledger was closed first")]
    Closed,
}

/// Resolves when the record is durable or lost. May be polled again after it resolved.
#[derive(Debug)]
pub struct Ticket {
    cell: Arc<Cell>,
}

impl Ticket {
    /// Blocks the thread until the record is durable or lost. Not for use inside an async task.
    ///
    /// # Errors
    /// [`Lost`], when it is.
    pub fn wait(self) -> Result<Durable, Lost> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(result) = self.cell.poll(&waker) {
                return result;
            }
            std::thread::park();
        }
    }

    /// The result, if it is known already.
    #[must_use]
    pub fn result(&self) -> Option<Result<Durable, Lost>> {
        match &*self.cell.lock() {
            State::Waiting(_) => None,
            State::Done(result) => Some(*result),
        }
    }
}

impl Future for Ticket {
    type Output = Result<Durable, Lost>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll(context.waker())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The writer's end of a [`Ticket`]. Dropping it unanswered answers [`Lost::Closed`], so nobody waits for a writer that is gone.
#[derive(Debug)]
pub(crate) struct Promise(Option<Arc<Cell>>);

impl Promise {
    pub(crate) fn complete(mut self, result: Result<Durable, Lost>) {
        if let Some(cell) = self.0.take() {
            cell.complete(result);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.complete(Err(Lost::Closed));
        }
    }
}

/// Both ends.
pub(crate) fn ticket() -> (Promise, Ticket) {
    let cell = Arc::new(Cell(Mutex::new(State::Waiting(None))));
    (Promise(Some(Arc::clone(&cell))), Ticket { cell })
}

#[derive(Debug)]
struct Cell(Mutex<State>);

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Durable, Lost>),
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, waker: &Waker) -> Poll<Result<Durable, Lost>> {
        match &mut *self.lock() {
            State::Done(result) => Poll::Ready(*result),
            State::Waiting(Some(old)) if old.will_wake(waker) => Poll::Pending,
            State::Waiting(slot) => {
                *slot = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    fn complete(&self, result: Result<Durable, Lost>) {
        let old = std::mem::replace(&mut *self.lock(), State::Done(result));
        // Woken outside the lock, so that the woken thread does not run into it.
        if let State::Waiting(Some(waker)) = old {
            waker.wake();
        }
    }
}
