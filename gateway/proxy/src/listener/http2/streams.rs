//! Streams whose answers nobody takes.
//!
//! A client can open a stream, close its window and so pin an answer for ever (H2-15); hyper and h2 wait.
//! Each stream's future is therefore run here with a deadline on being read, a short one where the answer has to end: its body
//! is asked for nothing then, and could not end by itself. Invariant: a stream that waits for its peer longer than the deadline
//! is dropped, which resets it; one that waits for its handler or its body is not.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::Instant;

use super::super::{
    metrics::ListenerMetrics,
    timer::{Deadline, EndWatch, Ending},
};

/// How far one answer has come; written by its body, read by the task that runs the stream.
#[derive(Debug, Default)]
pub(crate) struct StreamProgress {
    /// Twice the number of deliveries, plus one while the body has nothing to deliver.
    state: AtomicU64,
    is_given_up: AtomicBool,
    /// What may demand that it ends.
    ending: OnceLock<Arc<dyn Ending>>,
}

impl StreamProgress {
    /// It ends when this demands it.
    pub(crate) fn ends_by(&self, ending: Arc<dyn Ending>) {
        // Set once: a stream has one answer.
        let _ = self.ending.set(ending);
    }

    /// The body has handed out something that the peer must take before the next.
    pub(crate) fn delivered(&self) {
        let state = self.state.load(Ordering::Relaxed);
        self.state.store((state | 1).wrapping_add(1), Ordering::Relaxed);
    }

    /// The body waits for its own source.
    pub(crate) fn awaits_body(&self) {
        self.state.fetch_or(1, Ordering::Relaxed);
    }

    /// Whether the answer was dropped because the peer took nothing of it.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// The delivery that waits for the peer, if one does.
    fn waiting_delivery(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Relaxed);
        (state != 0 && state & 1 == 0).then_some(state)
    }
}

/// Runs the streams of one connection.
///
/// hyper calls the service and then, before anything else, this executor with the future of the same stream; the slot
/// between them carries the progress of that stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor {
    slot: Arc<Mutex<Option<Arc<StreamProgress>>>>,
    limit: Duration,
    metrics: Arc<ListenerMetrics>,
}

impl StreamExecutor {
    pub(crate) fn new(limit: Duration, metrics: Arc<ListenerMetrics>) -> Self {
        Self {
            slot: Arc::default(),
            limit,
            metrics,
        }
    }

    /// Makes the progress of the stream whose future comes next.
    pub(crate) fn next_stream(&self) -> Arc<StreamProgress> {
        let progress = Arc::new(StreamProgress::default());
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        progress
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let progress = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(Stream {
            future: Box::pin(future),
            progress,
            waiting: None,
            deadline: Deadline::default(),
            end: EndWatch::default(),
            limit: self.limit,
            metrics: self.metrics.clone(),
        });
    }
}

struct Stream<F> {
    future: Pin<Box<F>>,
    progress: Option<Arc<StreamProgress>>,
    waiting: Option<(u64, Instant)>,
    deadline: Deadline,
    end: EndWatch,
    limit: Duration,
    metrics: Arc<ListenerMetrics>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let delivery = this.progress.as_ref().and_then(|progress| progress.waiting_delivery());
        this.waiting = match (delivery, this.waiting) {
            (None, _) => None,
            (Some(delivery), Some((same, since))) if same == delivery => Some((same, since)),
            (Some(delivery), _) => Some((delivery, Instant::now())),
        };
        let target = this.waiting.and_then(|(_, since)| {
            let ending = this.progress.as_ref().and_then(|progress| progress.ending.get());
            this.end.until(since, this.limit, ending.cloned(), cx)
        });
        if this.deadline.poll(target, cx) {
            this.metrics.stalled_streams.inc();
            if let Some(progress) = &this.progress {
                // Before the answer is dropped, which happens next: its end says why.
                progress.is_given_up.store(true, Ordering::Release);
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_delivery_waits_for_the_peer() {
        let progress = StreamProgress::default();
        assert_eq!(progress.waiting_delivery(), None, "the handler has not answered");
        progress.delivered();
        let first = progress.waiting_delivery();
        assert!(first.is_some());
        progress.awaits_body();
        assert_eq!(progress.waiting_delivery(), None, "the body has nothing to deliver");
        progress.delivered();
        assert!(progress.waiting_delivery().is_some() && progress.waiting_delivery() != first);
        progress.delivered();
        assert!(progress.waiting_delivery() > first);
    }
}
