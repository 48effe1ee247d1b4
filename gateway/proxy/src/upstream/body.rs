//! The body of an answer. It holds the stream it came by: the count, and the right to use the connection again.
//!
//! Invariant: it ends cleanly only if the upstream ended it cleanly. Dropped before its end, the upstream hears at once: an HTTP/2
//! stream is reset, an HTTP/1.1 connection closed.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use super::lane::{Http1Lease, Http2Lease};
use super::outgoing::SendBody;
use crate::whom::Whom;

/// Why an answer broke off. As text it is of a cluster; [`BodyError::in_words`] says it of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words(Whom::Cluster))]
pub enum BodyError {
    /// The connection ended before the answer did.
    Truncated,
    /// The upstream reset the stream, for whatever reason: also CANCEL and NO_ERROR are no end.
    Reset(Reason),
    /// Pings went unanswered.
    Silent,
}

impl BodyError {
    /// The same of whose answer it is.
    #[must_use]
    pub fn in_words(self, whom: Whom) -> String {
        match self {
            Self::Truncated => format!("{whom}'s answer broke off"),
            Self::Reset(reason) => format!("{whom} reset its answer: {reason}"),
            Self::Silent => format!("the connection to {whom} went silent"),
        }
    }
}

/// The body of an answer.
pub struct UpstreamBody<B: SendBody> {
    by: By<B>,
}

enum By<B: SendBody> {
    Http1 {
        incoming: Incoming,
        lease: Option<Http1Lease<B>>,
        fit: bool,
    },
    Http2 {
        stream: RecvStream,
        upload: Option<AbortHandle>,
        lease: Option<Http2Lease<B>>,
        has_data: bool,
    },
    Empty,
}

impl<B: SendBody> UpstreamBody<B> {
    pub(super) fn empty() -> Self {
        Self { by: By::Empty }
    }

    /// `fit`: the connection may serve another request if this body ends cleanly.
    pub(super) fn http1(incoming: Incoming, lease: Http1Lease<B>, fit: bool) -> Self {
        let mut by = By::Http1 {
            incoming,
            lease: Some(lease),
            fit,
        };
        by.finish_if_ended();
        Self { by }
    }

    pub(super) fn http2(stream: RecvStream, upload: Option<AbortHandle>, lease: Http2Lease<B>) -> Self {
        let mut by = By::Http2 {
            stream,
            upload,
            lease: Some(lease),
            has_data: true,
        };
        by.finish_if_ended();
        Self { by }
    }
}

impl<B: SendBody> By<B> {
    /// Readers stop polling once the length is reached, so the end is noticed here and not only by a last poll.
    fn finish_if_ended(&mut self) {
        let ended = match self {
            Self::Http1 { incoming, .. } => incoming.is_end_stream(),
            Self::Http2 { stream, .. } => stream.is_end_stream(),
            Self::Empty => false,
        };
        if ended {
            self.finish();
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Http1 { lease, fit, .. } => {
                if let Some(lease) = lease.take()
                    && *fit
                {
                    lease.finish();
                }
            }
            Self::Http2 { upload, lease, .. } => {
                if let Some(upload) = upload.take() {
                    upload.abort();
                }
                *lease = None;
            }
            Self::Empty => {}
        }
    }

    /// After an error nothing of the connection (HTTP/1.1) or stream (HTTP/2) is used again.
    fn destroy(&mut self) {
        *self = Self::Empty;
    }
}

impl<B: SendBody> Drop for By<B> {
    fn drop(&mut self) {
        // The upload holds its stream open; without this a reset would wait for its end.
        if let Self::Http2 {
            upload: Some(upload), ..
        } = self
        {
            upload.abort();
        }
    }
}

impl<B: SendBody> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let by = &mut self.get_mut().by;
        let frame = match by {
            By::Http1 { incoming, .. } => {
                ready!(Pin::new(incoming).poll_frame(cx)).map(|frame| frame.map_err(|_| BodyError::Truncated))
            }
            By::Http2 {
                stream,
                lease,
                has_data,
                ..
            } => {
                let is_silent = || lease.as_ref().is_some_and(|lease| lease.connection().is_silent());
                ready!(poll_stream(stream, has_data, cx))
                    .map(|frame| frame.map_err(|error| broken(&error, is_silent())))
            }
            By::Empty => None,
        };
        match &frame {
            Some(Ok(_)) => by.finish_if_ended(),
            Some(Err(_)) => by.destroy(),
            None => by.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.by {
            By::Http1 { incoming, .. } => incoming.is_end_stream(),
            By::Http2 { stream, .. } => stream.is_end_stream(),
            By::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.by {
            By::Http1 { incoming, .. } => incoming.size_hint(),
            By::Http2 { .. } => SizeHint::new(),
            By::Empty => SizeHint::with_exact(0),
        }
    }
}

fn poll_stream(
    stream: &mut RecvStream,
    has_data: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
    if *has_data {
        match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Given back as it is taken: a reader that stops taking stops its own stream and no other.
                let released = stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(released.map(|()| Frame::data(data))));
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => *has_data = false,
        }
    }
    match ready!(stream.poll_trailers(cx)) {
        Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
        Ok(None) => Poll::Ready(None),
        Err(error) => Poll::Ready(Some(Err(error))),
    }
}

fn broken(error: &h2::Error, is_silent: bool) -> BodyError {
    match error.reason() {
        _ if is_silent => BodyError::Silent,
        Some(reason) if error.is_reset() => BodyError::Reset(reason),
        Some(_) | None => BodyError::Truncated,
    }
}

impl<B: SendBody> fmt::Debug for UpstreamBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.by {
            By::Http1 { .. } => "UpstreamBody::Http1",
            By::Http2 { .. } => "UpstreamBody::Http2",
            By::Empty => "UpstreamBody::Empty",
        })
    }
}
