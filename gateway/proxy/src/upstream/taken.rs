//! How much of a request's body the other side has taken, and since when it is its turn.
//!
//! The time for an answer is the other side's. While it waits for the client, the client's own limits hold (`body_progress` of the
//! listener), or every upload that takes longer than an answer may would break off half-way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Shared by a body, which goes where it is sent, and by whoever waits for the answer to it.
#[derive(Debug)]
pub(super) struct Taken {
    all: AtomicBool,
    /// Since when nothing but the other side keeps the exchange from going on; none while it waits for the client.
    its_turn: Mutex<Option<Instant>>,
    turned: Notify,
}

impl Taken {
    /// Of a body that has not been sent yet, and may have nothing to send.
    pub(super) fn new(is_empty: bool) -> Self {
        Self {
            all: AtomicBool::new(is_empty),
            its_turn: Mutex::new(None),
            turned: Notify::new(),
        }
    }

    /// Whether all of it has been taken.
    pub(super) fn is_all(&self) -> bool {
        self.all.load(Ordering::Acquire)
    }

    /// It goes out, for the first time or again.
    pub(super) fn begins(&self, is_empty: bool) {
        self.all.store(is_empty, Ordering::Release);
        self.turn(Some(Instant::now()));
    }

    /// A piece was taken: what is left of the time begins anew.
    pub(super) fn goes_on(&self) {
        self.turn(Some(Instant::now()));
    }

    /// The last piece was taken, or there is none any more.
    pub(super) fn ends(&self) {
        if !self.all.swap(true, Ordering::AcqRel) {
            self.turn(Some(Instant::now()));
        }
    }

    /// The other side would take more, and the client has sent none.
    pub(super) fn waits_for_client(&self) {
        if !self.is_all() {
            self.turn(None);
        }
    }

    /// Resolves when the other side has had its turn for so long. Cancel-safe.
    pub(super) async fn is_overdue(&self, limit: Duration) {
        loop {
            let turned = self.turned.notified();
            match self.since().map(|since| since.checked_add(limit)) {
                Some(Some(due)) if due <= Instant::now() => return,
                // It may have taken a piece meanwhile: looked at once more.
                Some(Some(due)) => sleep_until(due).await,
                // Later than any clock goes.
                Some(None) => return std::future::pending().await,
                None => turned.await,
            }
        }
    }

    fn since(&self) -> Option<Instant> {
        *self.its_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, since: Option<Instant>) {
        let before = std::mem::replace(
            &mut *self.its_turn.lock().unwrap_or_else(PoisonError::into_inner),
            since,
        );
        if before.is_none() {
            // One waits at most; a permit that nobody takes costs one more look.
            self.turned.notify_one();
        }
    }
}

/// What comes before the other side has had its turn for `limit`; none: it has.
pub(super) async fn within<T>(limit: Option<Duration>, taken: &Taken, answer: impl Future<Output = T>) -> Option<T> {
    let Some(limit) = limit else {
        return Some(answer.await);
    };
    tokio::select! {
        // First: what has come counts, however late it is looked at.
        biased;
        answer = answer => Some(answer),
        () = taken.is_overdue(limit) => None,
    }
}
