//! The bodies at the edge: what a handler reads and what hyper writes.
//!
//! Neither boxes, buffers or decodes. Invariant: no trailer of a client reaches a handler, a body whose framing breaks
//! ends in an error and never in a clean end, and a client that announced a body and does not send it is not waited for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    http2::StreamProgress,
    metrics::CloseReason,
    shared::{InFlight, Shared},
    timer::{Deadline, Ending},
    violation::Violation,
};

/// A request body.
#[derive(Debug)]
pub struct Inbound {
    incoming: Incoming,
    shared: Arc<Shared>,
    received: u64,
    progress_deadline: Option<Duration>,
    waiting_since: Option<Instant>,
    deadline: Deadline,
    stream: Option<Arc<StreamProgress>>,
}

/// Whether the client takes the answer to one request; outlives the request.
#[derive(Clone, Debug)]
pub struct Taking {
    shared: Arc<Shared>,
    stream: Option<Arc<StreamProgress>>,
}

impl Taking {
    /// Has the answer given up soon after `ending` demands it where the client takes nothing: the answer itself ends where it does.
    pub fn ends_by(&self, ending: Arc<dyn Ending>) {
        match &self.stream {
            Some(stream) => stream.ends_by(ending),
            None => self.shared.ends_by(ending),
        }
    }

    /// Whether the answer was given up because the client took nothing of it for too long. A client that left did not stall.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let stream_stalled = self.stream.as_ref().is_some_and(|stream| stream.is_given_up());
        stream_stalled || self.shared.close_reason() == Some(CloseReason::WriteProgress)
    }
}

/// Why a request body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    /// The client sent no byte of the announced body for the body deadline; 408 is due.
    #[error("the client stopped sending the request body")]
    Stalled,
    /// The framing of the body is broken; 400 is due, and the connection closes.
    #[error("the request body is not framed soundly: {0}")]
    Malformed(Violation),
    /// The connection or the stream ended before the body did.
    #[error("the client left before the end of the request body")]
    Disconnected(#[source] hyper::Error),
}

impl Inbound {
    pub(crate) fn new(
        incoming: Incoming,
        shared: Arc<Shared>,
        progress_deadline: Duration,
        stream: Option<Arc<StreamProgress>>,
    ) -> Self {
        Self {
            incoming,
            stream,
            shared,
            received: 0,
            progress_deadline: Some(progress_deadline),
            waiting_since: None,
            deadline: Deadline::default(),
        }
    }

    /// Bytes of data handed on so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What will say whether the client takes the answer.
    #[must_use]
    pub fn taking(&self) -> Taking {
        Taking {
            shared: Arc::clone(&self.shared),
            stream: self.stream.clone(),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        let Some(limit) = self.progress_deadline else {
            return Poll::Pending;
        };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if self.deadline.poll(since.checked_add(limit), cx) {
            return Poll::Ready(Some(Err(InboundError::Stalled)));
        }
        Poll::Pending
    }

    fn error(&self, error: hyper::Error) -> InboundError {
        self.shared
            .broken()
            .map_or(InboundError::Disconnected(error), InboundError::Malformed)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
                return this.poll_deadline(cx);
            };
            this.waiting_since = None;
            match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(this.error(error)))),
                Some(Ok(frame)) => {
                    // Trailers are dropped: they come after the decision and must not become headers (RFC 9110 §6.5.1).
                    if let Ok(data) = frame.into_data() {
                        this.received += data.len() as u64;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// An answer's body on its way to hyper: the handler's own, or none when the listener itself had to answer.
#[derive(Debug)]
pub(crate) struct Outbound<B> {
    body: Option<B>,
    progress: Option<Arc<StreamProgress>>,
    /// Nothing but the end of the connection tells the end of this one.
    ends_with: Option<Arc<Shared>>,
    _in_flight: InFlight,
}

impl<B> Outbound<B> {
    pub(crate) fn new(body: Option<B>, progress: Option<Arc<StreamProgress>>, in_flight: InFlight) -> Self {
        if let Some(progress) = &progress {
            progress.delivered();
        }
        Self {
            body,
            progress,
            ends_with: None,
            _in_flight: in_flight,
        }
    }

    /// The same for an answer by HTTP/1.0 without a length: until it is over, the connection may not end as if it were.
    pub(crate) fn ending_with(mut self, connection: Option<Arc<Shared>>) -> Self {
        self.ends_with = connection;
        self
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outbound<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let Some(progress) = &this.progress {
            if polled.is_pending() {
                progress.awaits_body()
            } else {
                progress.delivered()
            }
        }
        if let Some(connection) = &this.ends_with {
            let is_over = match &polled {
                Poll::Ready(None) => true,
                Poll::Ready(Some(Ok(_))) => this.body.as_ref().is_none_or(Body::is_end_stream),
                Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            };
            connection.set_owes_end(!is_over);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
