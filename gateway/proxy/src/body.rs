//! The two bodies of a forwarded call: what goes up, counted and digested; what comes down, counted to its end.
//!
//! Neither buffers or boxes. Invariant: the body that goes down carries the duty to write the end of its request, so that
//! an answer that stops, for whatever reason, is recorded as what it was.

mod begun;
mod border;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use model::event::Answer;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

pub(crate) use self::begun::Beginning;
pub use self::begun::Begun;
use self::border::Border;
use crate::audit::{End, Place};
use crate::headers::strip_trailers;
use crate::listener::{InboundError, Taking};
use crate::session::LongCall;
use crate::upstream::{BodyError, UpstreamBody};
use crate::whom::Whom;

/// A request body on its way up.
pub struct Uplink {
    inbound: Begun,
    count: Arc<AtomicU64>,
    digest: Option<(digest::Context, Arc<DigestCell>)>,
    copy: Option<(Vec<u8>, usize, Arc<CopyCell>)>,
    limit: Option<(u64, Arc<BodyLimit>)>,
}

/// The most that passes of a request body.
#[derive(Debug)]
pub struct BodyLimit {
    /// In bytes.
    pub most: u64,
    /// A body was longer. Whoever sends may not be told so by the connection, which just ends.
    pub was_met: AtomicBool,
}

impl BodyLimit {
    /// So many bytes.
    #[must_use]
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            most,
            was_met: AtomicBool::new(false),
        })
    }
}

/// A request body did not pass.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// It broke off.
    #[error(transparent)]
    Inbound(#[from] InboundError),
    /// It is larger than the service's document lets pass.
    #[error("the request's body is larger than the {most} bytes that the service takes")]
    TooLarge {
        /// How much passes.
        most: u64,
    },
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
    pub fn new(inbound: impl Into<Begun>, count: Arc<AtomicU64>) -> Self {
        Self {
            inbound: inbound.into(),
            count,
            digest: None,
            copy: None,
            limit: None,
        }
    }

    /// What is longer breaks off.
    #[must_use]
    pub fn at_most(mut self, limit: Option<Arc<BodyLimit>>) -> Self {
        self.limit = limit.map(|limit| (limit.most, limit));
        self
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
    type Error = UplinkError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UplinkError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inbound).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    if let Some((left, limit)) = &mut this.limit {
                        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                        let Some(rest) = left.checked_sub(length) else {
                            limit.was_met.store(true, Ordering::Release);
                            return Poll::Ready(Some(Err(UplinkError::TooLarge { most: limit.most })));
                        };
                        *left = rest;
                    }
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
        polled.map_err(UplinkError::Inbound)
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

type Polled = Poll<Option<Result<Frame<Bytes>, OutboundError>>>;

/// An answer of a cluster on its way down.
struct Passing {
    body: UpstreamBody<Uplink>,
    end: Option<End>,
    place: Option<Place>,
    ender: Option<Ender>,
    taking: Taking,
    of_service: bool,
    idle: Option<Idle>,
}

/// Ends an answer of which nothing comes for too long.
struct Idle {
    most: Duration,
    silent: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(most: Duration) -> Self {
        Self {
            most,
            silent: Box::pin(sleep(most)),
        }
    }

    fn hears(&mut self) {
        let until = tokio::time::Instant::now() + self.most;
        self.silent.as_mut().reset(until);
    }
}

/// Why an answer ended that its client took no more of (G-09).
const STALLED: &str = "ended by the gateway: stalled: the client takes no more of the answer";

/// A call that goes on, where its answer may end, and what wakes it when it has to. Whoever reads is told so by the answer's
/// end; where nobody reads, nobody asks this, and the listener gives the answer up ([`Taking::ends_by`]).
pub(crate) struct Ender {
    call: LongCall,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    border: Border,
    /// Since it has to end within an event: until when the event may.
    late: Option<Pin<Box<Sleep>>>,
    /// What has passed since it had to end.
    surplus: usize,
    manner: Manner,
}

/// How a call ends that has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Cleanly where it can, and also when the gateway drains: whoever watches lists again.
    Whole,
    /// Broken off, so that nobody takes a part for the whole (promise 7); a drain waits for it.
    BrokenOff,
}

/// Where nobody knows what an event is, a call that has to end may say so much until the end of a line.
const MAX_SURPLUS: usize = 64 * 1024;
/// An event that has begun may end within this. Together with the second in which a change of rules is seen, an end takes at most
/// two seconds.
const FINISHES_WITHIN: Duration = Duration::from_millis(500);

/// What is due of a call that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    GoesOn,
    /// It has to end, and here is where it may.
    Ends,
    /// It has to end within an event whose rest does not come: no whole answer, so that nobody takes it for one.
    BreaksOff,
}

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
    /// Ours: nothing came for too long.
    #[error("the answer was silent for too long")]
    Silent,
    /// Ours: it had to end, and the rest of an event did not come.
    #[error("the answer had to end within an event")]
    WithinEvent,
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

    /// An answer of a cluster with the duties that end with it. When a call has to end, its answer ends cleanly between two
    /// events, so that a client lists again and meets the refusal there (G-10).
    #[must_use]
    pub(crate) fn cluster(
        body: UpstreamBody<Uplink>,
        end: End,
        place: Option<Place>,
        ender: Option<Ender>,
        taking: Taking,
    ) -> Self {
        let mut passing = Passing {
            body,
            end: Some(end),
            place,
            ender,
            taking,
            of_service: false,
            idle: None,
        };
        if passing.body.is_end_stream() {
            passing.settle(Answer::Answered, None);
        }
        Self {
            from: From::Cluster(Box::new(passing)),
        }
    }

    /// The same, of a service: its trailers pass, but for those that none may set, and it may be silent for so long at most.
    #[must_use]
    pub(crate) fn of_service(mut self, idle: Duration) -> Self {
        if let From::Cluster(passing) = &mut self.from
            && passing.end.is_some()
        {
            passing.of_service = true;
            passing.idle = Some(Idle::new(idle));
        }
        self
    }
}

impl Ender {
    /// Of an answer whose events cannot be told apart.
    pub(crate) fn new(call: LongCall) -> Self {
        Self {
            cancelled: Box::pin(call.ender().clone().cancelled_owned()),
            call,
            border: Border::unknown(),
            late: None,
            surplus: 0,
            manner: Manner::Whole,
        }
    }

    /// Of an answer that has an end of its own: what came until then is no whole answer.
    pub(crate) fn of_whole(call: LongCall) -> Self {
        Self {
            // A drain lets it go on, and an end within that has to wake whoever waits for a silent service.
            cancelled: Box::pin(call.over().clone().cancelled_owned()),
            manner: Manner::BrokenOff,
            ..Self::new(call)
        }
    }

    /// Of a watch whose answer has these headers.
    pub(crate) fn of_watch(call: LongCall, headers: &HeaderMap) -> Self {
        let border = Border::of_watch(headers);
        Self {
            border,
            ..Self::new(call)
        }
    }

    fn is_over(&self) -> bool {
        self.call.is_over() || (self.manner == Manner::Whole && self.call.ender().is_cancelled())
    }

    /// What is due before more is asked for, or when `nothing_comes` for now: then it wakes whoever waits.
    fn due(&mut self, cx: &mut Context<'_>, nothing_comes: bool) -> Due {
        if nothing_comes && !self.is_over() {
            // Only asks to be woken.
            let _ = self.cancelled.as_mut().poll(cx);
        }
        if !self.is_over() {
            return Due::GoesOn;
        }
        if self.manner == Manner::BrokenOff {
            return Due::BreaksOff;
        }
        if self.border.is_here() {
            return Due::Ends;
        }
        if !self.border.is_known() {
            let may_end = nothing_comes || self.surplus > MAX_SURPLUS;
            return if may_end { Due::Ends } else { Due::GoesOn };
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(FINISHES_WITHIN)));
        match late.as_mut().poll(cx) {
            Poll::Ready(()) => Due::BreaksOff,
            Poll::Pending => Due::GoesOn,
        }
    }

    /// So much of what came may pass. Of what has to end nothing passes behind the event that had begun.
    fn passes(&mut self, data: &[u8]) -> usize {
        if self.border.is_known() && self.is_over() {
            return self.border.pass_to_next(data);
        }
        self.border.pass(data);
        if self.is_over() {
            self.surplus = self.surplus.saturating_add(data.len());
        }
        data.len()
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

    /// Pending unless the answer has to end, and may or can wait no longer.
    fn ends_here(&mut self, cx: &mut Context<'_>, nothing_comes: bool) -> Polled {
        let Some(ender) = &mut self.ender else {
            return Poll::Pending;
        };
        match ender.due(cx, nothing_comes) {
            Due::GoesOn => Poll::Pending,
            Due::Ends => {
                let why = ender.call.why();
                self.settle(Answer::Ended, Some(&why));
                Poll::Ready(None)
            }
            Due::BreaksOff => {
                let why = match ender.manner {
                    Manner::BrokenOff => ender.call.why(),
                    Manner::Whole => format!("{}, within an event whose rest did not come", ender.call.why()),
                };
                self.settle(Answer::Ended, Some(&why));
                Poll::Ready(Some(Err(OutboundError::WithinEvent)))
            }
        }
    }

    /// What of a piece that came is passed on.
    fn passed(&mut self, mut data: Bytes) -> Bytes {
        let came = data.len();
        if let Some(ender) = &mut self.ender {
            data.truncate(ender.passes(&data));
        }
        if let Some(end) = &mut self.end {
            end.passed(&data);
        }
        if data.len() < came {
            // Behind the event that had begun, others are withheld: here it ends, whatever the cluster says of its own end.
            let why = self.ender.as_ref().map(|ender| ender.call.why());
            self.settle(Answer::Ended, why.as_deref());
        }
        data
    }

    /// Pending unless nothing has come for too long: then it breaks off, so that nobody takes a part for the whole.
    fn is_silent(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(idle) = &mut self.idle else {
            return Poll::Pending;
        };
        if idle.silent.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.settle(
            Answer::UpstreamLost,
            Some("nothing came for longer than the service's document allows"),
        );
        Poll::Ready(Some(Err(OutboundError::Silent)))
    }

    /// Those of a cluster are left as they are.
    fn trailers(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(mut trailers) => {
                if self.of_service {
                    strip_trailers(&mut trailers);
                }
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.end.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(last) = self.ends_here(cx, false) {
            return Poll::Ready(last);
        }
        let Poll::Ready(came) = Pin::new(&mut self.body).poll_frame(cx) else {
            if let Poll::Ready(last) = self.ends_here(cx, true) {
                return Poll::Ready(last);
            }
            return self.is_silent(cx);
        };
        if let Some(idle) = &mut self.idle {
            idle.hears();
        }
        Poll::Ready(match came {
            Some(Ok(frame)) => {
                let frame = match frame.into_data() {
                    Ok(data) => Frame::data(self.passed(data)),
                    Err(frame) => self.trailers(frame),
                };
                if self.body.is_end_stream() {
                    self.settle(Answer::Answered, None);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let whom = if self.of_service { Whom::Service } else { Whom::Cluster };
                self.settle(Answer::UpstreamLost, Some(&error.in_words(whom)));
                Some(Err(error.into()))
            }
            None => {
                self.settle(Answer::Answered, None);
                None
            }
        })
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

/// The borders of events hold however an answer is cut; for the fuzzer.
pub fn fuzz_event_border(data: &[u8]) {
    border::fuzz(data);
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use access::decide::Authorization;
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::identity::{Credential, for_bench};
    use crate::session::bench::{BEGIN, World};

    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf;stream=watch";

    fn watch(world: &World, kind: &'static str) -> Ender {
        let al = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Ender::of_watch(world.enter(&world.watch(al, "shop")), &headers)
    }

    fn lose_rights(world: &World) {
        let al = for_bench("al", &["dev"], Credential::GatewayToken);
        world.registry.end_sign_in(al.sign_in(), "over", BEGIN);
    }

    fn due(ender: &mut Ender, nothing_comes: bool) -> Due {
        ender.due(&mut Context::from_waker(Waker::noop()), nothing_comes)
    }

    /// An event in two pieces, with the beginning of a next one behind it.
    const EVENTS: [(&str, &[u8], &[u8], usize); 2] = [
        (JSON, b"{\"event\":", b"1}\n{\"event\":2}\n{", 3),
        (PROTOBUF, b"\0\0\0\x05he\n", b"lo\0\0\0\x01x\0", 2),
    ];

    #[tokio::test(start_paused = true)]
    async fn g_10_what_has_to_end_within_an_event_ends_behind_it_and_not_where_a_transport_cut_it() {
        for (kind, begun, rest, of_event) in EVENTS {
            let world = World::new(8, Authorization::Enforce);
            let mut ender = watch(&world, kind);
            assert_eq!(ender.passes(begun), begun.len(), "{kind}");
            assert_eq!(due(&mut ender, true), Due::GoesOn, "{kind}");
            lose_rights(&world);
            for nothing_comes in [true, false] {
                assert_eq!(due(&mut ender, nothing_comes), Due::GoesOn, "{kind}");
            }
            tokio::time::advance(FINISHES_WITHIN - Duration::from_millis(1)).await;
            assert_eq!(due(&mut ender, true), Due::GoesOn, "{kind}");
            assert_eq!(ender.passes(rest), of_event, "{kind}: no other event");
            assert_eq!(due(&mut ender, false), Due::Ends, "{kind}");
        }
    }

    /// No event that is longer than the wait keeps it, also where its pieces never pause.
    #[tokio::test(start_paused = true)]
    async fn g_10_what_has_to_end_within_an_event_whose_rest_does_not_come_is_no_whole_answer() {
        for (kind, begun, ..) in EVENTS {
            for nothing_comes in [true, false] {
                let world = World::new(8, Authorization::Enforce);
                let mut ender = watch(&world, kind);
                ender.passes(begun);
                lose_rights(&world);
                assert_eq!(due(&mut ender, nothing_comes), Due::GoesOn, "{kind}");
                tokio::time::advance(FINISHES_WITHIN + Duration::from_millis(1)).await;
                assert_eq!(due(&mut ender, nothing_comes), Due::BreaksOff, "{kind}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn g_10_between_two_events_and_where_nobody_knows_what_one_is_it_ends_at_once() {
        for (kind, begun, nothing_comes) in [
            (JSON, b"{}\n".as_slice(), false),
            (PROTOBUF, b"\0\0\0\x01x", false),
            (PROTOBUF, b"", false),
            ("application/cbor-seq", b"x", true),
            ("text/plain", b"half a line", true),
        ] {
            let world = World::new(8, Authorization::Enforce);
            let mut ender = watch(&world, kind);
            ender.passes(begun);
            assert_eq!(due(&mut ender, true), Due::GoesOn, "{kind}");
            lose_rights(&world);
            assert_eq!(due(&mut ender, nothing_comes), Due::Ends, "{kind}");
        }
    }

    /// In a drain the answer of a service goes on, and of a silent one nothing but its end wakes who waits for it.
    #[tokio::test]
    async fn what_has_to_end_within_a_drain_wakes_who_waits_for_a_silent_service() {
        let world = World::new(8, Authorization::Enforce);
        let al = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let mut ender = Ender::of_whole(world.enter(&world.watch(al, "shop")));
        world.draining.cancel();
        assert_eq!(due(&mut ender, true), Due::GoesOn, "a drain breaks nothing off");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(ender.due(&mut Context::from_waker(&waker), true), Due::GoesOn);
        assert!(!woken.0.load(Ordering::Relaxed));
        lose_rights(&world);
        assert!(woken.0.load(Ordering::Relaxed), "who waits is told");
        assert_eq!(due(&mut ender, true), Due::BreaksOff);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A log that pours within one line does not go on because of it.
    #[tokio::test(start_paused = true)]
    async fn where_nobody_knows_what_an_event_is_so_much_of_a_line_passes_and_no_more() {
        let drain = |world: &World| world.draining.cancel();
        for has_to_end in [lose_rights as fn(&World), drain] {
            let world = World::new(8, Authorization::Enforce);
            let mut ender = watch(&world, "text/plain");
            ender.passes(b"x");
            has_to_end(&world);
            assert_eq!(due(&mut ender, false), Due::GoesOn, "up to the end of the line");
            ender.passes(&[b'x'; MAX_SURPLUS]);
            assert_eq!(due(&mut ender, false), Due::GoesOn);
            ender.passes(b"x");
            assert_eq!(due(&mut ender, false), Due::Ends);
        }
    }
}
