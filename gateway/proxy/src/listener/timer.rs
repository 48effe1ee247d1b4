//! Deadlines that cost nothing while they move.
//!
//! A timer wheel entry is changed only when a deadline comes nearer or fires too early; a deadline that moves away, as
//! with every byte of a busy connection, is only a comparison. Invariant: [`Deadline::poll`] is true at or after the
//! target instant it is given and never before.

use std::{
    fmt::Debug,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// One lazily kept deadline.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Whether `target` has passed; else the task is woken then, or earlier. Without target there is no deadline.
    pub(crate) fn poll(&mut self, target: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(target) = target else { return false };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(target)));
        if sleep.deadline() > target {
            sleep.as_mut().reset(target);
        }
        loop {
            match sleep.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(()) if sleep.deadline() >= target => return true,
                Poll::Ready(()) => sleep.as_mut().reset(target),
            }
        }
    }
}

/// What may demand from outside that an answer ends. Its body is asked to end where a client reads; where none does, nobody asks
/// it.
pub trait Ending: Send + Sync + Debug {
    /// Cancelled when it has to end; for other reasons, too.
    fn ender(&self) -> &CancellationToken;
    /// Whether it has to end now.
    fn is_over(&self) -> bool;
}

/// Who takes nothing of an answer that has to end is given so long. Together with the second in which a change of rules is seen,
/// an end takes at most two seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

type Cancelled = Pin<Box<WaitForCancellationFutureOwned>>;

/// Notices that an answer has to end.
#[derive(Debug, Default)]
pub(crate) struct EndWatch {
    asked: Option<(Arc<dyn Ending>, Cancelled)>,
    over_since: Option<Instant>,
}

impl EndWatch {
    /// When a reader who takes nothing is waited for no longer: `since` then, for `limit`; less where the answer has to end. The
    /// task is woken when that comes to be so.
    pub(crate) fn until(
        &mut self,
        since: Instant,
        limit: Duration,
        ending: Option<Arc<dyn Ending>>,
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        let usual = since.checked_add(limit);
        let over = self.over_since(ending, cx).map(|over| over.max(since));
        let shorter = over.and_then(|over| over.checked_add(ENDS_WITHIN.min(limit)));
        usual.into_iter().chain(shorter).min()
    }

    fn over_since(&mut self, ending: Option<Arc<dyn Ending>>, cx: &mut Context<'_>) -> Option<Instant> {
        let ending = ending?;
        if !self
            .asked
            .as_ref()
            .is_some_and(|(asked, _)| Arc::ptr_eq(asked, &ending))
        {
            let cancelled = Box::pin(ending.ender().clone().cancelled_owned());
            (self.asked, self.over_since) = (Some((ending, cancelled)), None);
        }
        let (ending, cancelled) = self.asked.as_mut()?;
        if cancelled.as_mut().poll(cx).is_ready() && ending.is_over() {
            self.over_since.get_or_insert_with(Instant::now);
        }
        self.over_since
    }
}

/// Notices when a peer stops taking what we write.
#[derive(Debug, Default)]
pub(crate) struct WriteWatch {
    stalled_since: Option<Instant>,
    deadline: Deadline,
    end: EndWatch,
}

impl WriteWatch {
    /// Takes the result of one write or flush; true when the peer has taken nothing for `limit`, by our clock or by that of
    /// the system, whose user timeout is as long; less where what is written has to end.
    pub(crate) fn observe<T>(
        &mut self,
        result: &Poll<io::Result<T>>,
        limit: Duration,
        ending: Option<Arc<dyn Ending>>,
        cx: &mut Context<'_>,
    ) -> bool {
        if let Poll::Ready(result) = result {
            self.stalled_since = None;
            return result.as_ref().is_err_and(timed_out);
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let until = self.end.until(since, limit, ending, cx);
        self.deadline.poll(until, cx)
    }
}

impl WriteWatch {
    /// Whether a failure to read tells that the peer takes nothing of what waits to be written: whoever asks the socket first
    /// is told. Where nothing waits, the peer has merely gone.
    pub(crate) fn explains(&self, error: &io::Error) -> bool {
        self.stalled_since.is_some() && timed_out(error)
    }
}

fn timed_out(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_away_fires_at_its_last_target() {
        let start = Instant::now();
        let mut deadline = Deadline::default();
        let mut target = start + Duration::from_secs(1);
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            if deadline.poll(Some(target), cx) {
                return Poll::Ready(());
            }
            target = start + Duration::from_secs(5);
            Poll::Pending
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(polls <= 3);
    }
}
