//! The two bodies of a forwarded call: what goes up, counted and digested; what comes down, counted to its end.
//!
//! Neither buffers or boxes. Invariant: the body that goes down carries the duty to write the end of its request, so that
//! an answer that stops, for whatever reason, is recorded as what it was.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use model::event::Answer;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::audit::{End, Place};
use crate::listener::{Inbound, InboundError, Taking};
use crate::session::LongCall;
use crate::upstream::{BodyError, UpstreamBody};

/// A request body on its way up.
pub struct Uplink {
    inbound: Inbound,
    count: Arc<AtomicU64>,
    digest: Option<(digest::Context, Arc<DigestCell>)>,
    copy: Option<(Vec<u8>, usize, Arc<CopyCell>)>,
}

impl std::fmt::Debug for Uplink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uplink")
            .field("inbound", &self.inbound)
            .finish_non_exhaustive()
    }
}

/// Where the digest of a whole request body is put.
pub type DigestCell = std::sync::OnceLock<[u8; 32]>;
/// Where the copy of a whole short request body is put.
pub type CopyCell = std::sync::OnceLock<Vec<u8>>;

impl Uplink {
    /// Counts into `count`.
    #[must_use]
    pub const fn new(inbound: Inbound, count: Arc<AtomicU64>) -> Self {
        Self {
            inbound,
            count,
            digest: None,
            copy: None,
        }
    }

    /// Also digests the bytes (SHA-256); the digest is put into `cell` when the body ends cleanly.
    #[must_use]
    pub fn digested(mut self, cell: Arc<DigestCell>) -> Self {
        if !self.inbound.is_end_stream() {
            self.digest = Some((digest::Context::new(&digest::SHA256), cell));
        }
        self
    }

    /// Also copies the bytes, if they are no more than `most`; the copy is put into `cell` when the body ends cleanly.
    #[must_use]
    pub fn copied(mut self, most: usize, cell: Arc<CopyCell>) -> Self {
        self.copy = Some((Vec::new(), most, cell));
        self
    }

    fn finish(&mut self) {
        if let Some((bytes, _, cell)) = self.copy.take() {
            // As below.
            let _ = cell.set(bytes);
        }
        if let Some((context, cell)) = self.digest.take()
            && let Ok(digest) = context.finish().as_ref().try_into()
        {
            // Set once: the body ends once.
            let _ = cell.set(digest);
        }
    }
}

impl Body for Uplink {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inbound).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.count
                        .fetch_add(u64::try_from(data.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
                    if let Some((context, _)) = &mut this.digest {
                        context.update(data);
                    }
                    if let Some((bytes, most, _)) = &mut this.copy {
                        if bytes.len().saturating_add(data.len()) <= *most {
                            bytes.extend_from_slice(data);
                        } else {
                            this.copy = None;
                        }
                    }
                }
                if this.inbound.is_end_stream() {
                    this.finish();
                }
            }
            Poll::Ready(None) => this.finish(),
            Poll::Ready(Some(Err(_))) => {
                this.digest = None;
                this.copy = None;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inbound.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inbound.size_hint()
    }
}

/// A body whose kind the gateway host chooses; not on the byte path of a cluster.
pub type HostBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// An answer's body.
pub struct Outbound {
    from: From,
}

enum From {
    Bytes(Option<Bytes>),
    Cluster(Box<Passing>),
    Host(HostBody),
}

/// An answer of a cluster on its way down.
struct Passing {
    body: UpstreamBody<Uplink>,
    end: Option<End>,
    place: Option<Place>,
    ender: Option<Ender>,
    taking: Taking,
}

/// Why an answer ended that its client took no more of (G-09).
const STALLED: &str = "ended by the gateway: stalled: the client takes no more of the answer";

/// A call that goes on, and what wakes it when it has to end.
struct Ender {
    call: LongCall,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The last byte that passed ended a line: events of a watch and lines of a log do, so that here nobody is cut short.
    at_boundary: bool,
    /// What has passed since it had to end.
    surplus: usize,
}

/// A call that has to end may finish what it began to say, up to this.
const MAX_SURPLUS: usize = 64 * 1024;

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.from {
            From::Bytes(_) => "Outbound::Bytes",
            From::Cluster(_) => "Outbound::Cluster",
            From::Host(_) => "Outbound::Host",
        })
    }
}

/// Why an answer's body stopped.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The cluster's side.
    #[error(transparent)]
    Cluster(#[from] BodyError),
    /// The gateway host's side.
    #[error("the gateway's own answer broke off")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Outbound {
    /// A whole answer.
    #[must_use]
    pub const fn bytes(bytes: Bytes) -> Self {
        Self {
            from: From::Bytes(Some(bytes)),
        }
    }

    /// An answer of the gateway host.
    #[must_use]
    pub const fn host(body: HostBody) -> Self {
        Self { from: From::Host(body) }
    }

    /// An answer of a cluster with the duties that end with it. When `call` has to end, the answer ends cleanly between two
    /// events, so that a client lists again and meets the refusal there (G-10).
    #[must_use]
    pub fn cluster(
        body: UpstreamBody<Uplink>,
        end: End,
        place: Option<Place>,
        call: Option<LongCall>,
        taking: Taking,
    ) -> Self {
        let ender = call.map(|call| Ender {
            cancelled: Box::pin(call.ender().clone().cancelled_owned()),
            call,
            at_boundary: true,
            surplus: 0,
        });
        let mut passing = Passing {
            body,
            end: Some(end),
            place,
            ender,
            taking,
        };
        if passing.body.is_end_stream() {
            passing.settle(Answer::Answered, None);
        }
        Self {
            from: From::Cluster(Box::new(passing)),
        }
    }
}

impl Ender {
    fn is_over(&self) -> bool {
        self.call.is_over() || self.call.ender().is_cancelled()
    }

    fn passed(&mut self, data: &Bytes) {
        self.at_boundary = data.last().is_none_or(|last| *last == b'\n');
        if self.call.is_over() {
            self.surplus = self.surplus.saturating_add(data.len());
        }
    }
}

impl Passing {
    fn settle(&mut self, answer: Answer, why: Option<&str>) {
        self.place = None;
        self.ender = None;
        if let Some(end) = self.end.take() {
            end.settle(answer, why);
        }
    }

    /// Ends the answer if it has to end and nobody is in the middle of a sentence.
    fn ends_here(&mut self, cx: &mut Context<'_>, nothing_comes: bool) -> bool {
        let Some(ender) = &mut self.ender else {
            return false;
        };
        if nothing_comes {
            // Also asks to be woken.
            let _ = ender.cancelled.as_mut().poll(cx);
        }
        if !ender.is_over() || !(nothing_comes || ender.at_boundary || ender.surplus > MAX_SURPLUS) {
            return false;
        }
        let why = ender.call.why();
        self.settle(Answer::Ended, Some(&why));
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        if self.end.is_none() || self.ends_here(cx, false) {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(end), Some(data)) = (&mut self.end, frame.data_ref()) {
                    end.passed(data);
                }
                if let (Some(ender), Some(data)) = (&mut self.ender, frame.data_ref()) {
                    ender.passed(data);
                }
                if self.body.is_end_stream() {
                    self.settle(Answer::Answered, None);
                }
            }
            Poll::Ready(None) => self.settle(Answer::Answered, None),
            Poll::Ready(Some(Err(error))) => self.settle(Answer::UpstreamLost, Some(&error.to_string())),
            Poll::Pending => {
                if self.ends_here(cx, true) {
                    return Poll::Ready(None);
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(OutboundError::from)))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // Whoever left has its own end: that of a dropped one.
        if self.end.is_some() && self.taking.is_stalled() {
            let over = self.ender.as_ref().filter(|ender| ender.call.is_over());
            let why = over.map_or_else(|| STALLED.to_owned(), |ender| ender.call.why());
            self.settle(Answer::Ended, Some(&why));
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        match &mut self.get_mut().from {
            From::Bytes(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|bytes| !bytes.is_empty())
                    .map(|bytes| Ok(Frame::data(bytes))),
            ),
            From::Cluster(passing) => passing.poll(cx),
            From::Host(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(OutboundError::Host))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            From::Cluster(passing) => passing.end.is_none(),
            From::Host(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Bytes(bytes) => SizeHint::with_exact(
                bytes
                    .as_ref()
                    .map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            From::Cluster(passing) => passing.body.size_hint(),
            From::Host(body) => body.size_hint(),
        }
    }
}
