//! HTTP/2 connections, by the `h2` crate: the live stream limit, windows, pings, exact causes of failure.
//!
//! Windows (I-04): 256 KiB per stream and 64 MiB per connection carry 256 stalled readers without slowing anyone,
//! so [`MOST_STREAMS`] is a ceiling for configuration, too. `h2` has a budget for frames under 256 bytes that wait to be read: half
//! the connection window, 32 MiB here. A stalled reader of 50-byte frames takes about 1 MiB of it, so one does no harm
//! (I-05); some thirty, or one whose frames hold a single byte, end the connection and everything on it. Hence nothing comes here
//! whose pieces somebody chooses: neither follow-logs nor what a backend answers through a `proxy` subresource.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Response;
use http_body::Body as _;
use reach::{Protocol, ReachError};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::answer;
use super::body::UpstreamBody;
use super::error::{BadAnswer, Failed, Why};
use super::lane::{Http2Lease, Place, Shared};
use super::metrics::ByClass;
use super::outgoing::{Outgoing, SendBody, head_for};
use super::socket::Socket;
use super::taken::within;
use super::upload::{Upload, UploadBroken};
use super::{Call, StreamClass};

/// One connection. When the last reference goes it says GOAWAY and closes.
#[derive(Debug)]
pub(super) struct Http2Connection {
    sender: SendRequest<Bytes>,
    place: Place,
    open: AtomicUsize,
    silent: Arc<AtomicBool>,
    idle_since: Mutex<Instant>,
}

impl Http2Connection {
    /// Whether a new request may go here: same credential, no GOAWAY, not closed.
    pub(super) fn is_usable(&self, generation: u64) -> bool {
        if self.place.generation != generation {
            return false;
        }
        let mut sender = self.sender.clone();
        !matches!(
            sender.poll_ready(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Err(_))
        )
    }

    /// Streams allowed now: the peer's limit may change at any time.
    pub(super) fn limit(&self, most: usize) -> usize {
        self.sender.current_max_send_streams().min(most).min(MOST_STREAMS)
    }

    /// Takes one stream if there is room. Called under the lane's lock, which orders it against other reservations.
    pub(super) fn reserve(&self, most: usize) -> bool {
        let has_room = self.open.load(Ordering::Acquire) < self.limit(most);
        if has_room {
            self.open.fetch_add(1, Ordering::AcqRel);
        }
        has_room
    }

    pub(super) fn release(&self) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_idle_for(&self, most: Duration, now: Instant) -> bool {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.load(Ordering::Acquire) == 0 && now.saturating_duration_since(since) >= most
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The pings went unanswered.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }
}

/// Speaks HTTP/2 on an open socket; done when the peer's SETTINGS are here, so that its limit is known before it counts.
pub(super) async fn start<B: SendBody>(
    socket: Socket<B>,
    place: Place,
    shared: &Arc<Shared>,
    class: StreamClass,
) -> Result<Arc<Http2Connection>, ReachError> {
    let address = place.peer;
    let failed = |cause: h2::Error| ReachError::Handshake {
        address,
        cause: Arc::new(io::Error::other(cause)),
    };
    let (sender, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(UNKNOWN)
        .max_header_list_size(MOST_HEADER_BYTES)
        .enable_push(false)
        .handshake::<_, Bytes>(socket)
        .await
        .map_err(failed)?;
    let silent = Arc::new(AtomicBool::new(false));
    let (settled, when_settled) = oneshot::channel();
    let limits = &shared.limits;
    let ping_pong = connection.ping_pong();
    let keep_alive = ping_pong.map(|ping| KeepAlive::new(ping, limits.ping_interval, limits.ping_timeout));
    let driver = Driver {
        connection,
        keep_alive,
        settled: Some(settled),
    };
    let (watched, peer, shared) = (Arc::clone(&silent), place.peer, Arc::clone(shared));
    tokio::spawn(async move {
        if driver.run(&watched).await == Ended::Silent {
            shared.destination.report_lost(peer);
            shared
                .metrics
                .silent_connections
                .get_or_create(&ByClass::of(class))
                .inc();
            tracing::warn!(upstream.name = shared.destination.name(), upstream.peer = %peer, "upstream connection went silent");
        }
    });
    match tokio::time::timeout(SETTLED_WITHIN, when_settled).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => {
            let cause = Arc::new(io::Error::from(io::ErrorKind::UnexpectedEof));
            return Err(ReachError::Handshake { address, cause });
        }
        Err(_) => return Err(ReachError::TimedOut { within: SETTLED_WITHIN }),
    }
    let idle_since = Mutex::new(Instant::now());
    Ok(Arc::new(Http2Connection {
        sender,
        place,
        open: AtomicUsize::new(0),
        silent,
        idle_since,
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Closed,
    Silent,
}

/// Moves the connection's bytes until it ends or goes silent. Dropping it ends every stream with an error.
struct Driver<B: SendBody> {
    connection: Connection<Socket<B>, Bytes>,
    keep_alive: Option<KeepAlive>,
    settled: Option<oneshot::Sender<()>>,
}

impl<B: SendBody> Driver<B> {
    async fn run(mut self, silent: &AtomicBool) -> Ended {
        poll_fn(|cx| {
            if Pin::new(&mut self.connection).poll(cx).is_ready() {
                return Poll::Ready(Ended::Closed);
            }
            // A peer that allows no stream at all is not usable yet.
            let limit = self.connection.max_concurrent_send_streams();
            if limit != UNKNOWN
                && limit > 0
                && let Some(settled) = self.settled.take()
            {
                // Nobody waits any more: then the sender is gone too and the connection closes by itself.
                let _ = settled.send(());
            }
            match self.keep_alive.as_mut().map(|keep_alive| keep_alive.poll(cx)) {
                Some(Poll::Ready(())) => {
                    // Before the streams hear of it, so that they can say why.
                    silent.store(true, Ordering::Release);
                    Poll::Ready(Ended::Silent)
                }
                Some(Poll::Pending) | None => Poll::Pending,
            }
        })
        .await
    }
}

/// A ping every interval, also while idle: a dead connection is found before a request is put on it (I-08).
struct KeepAlive {
    ping: PingPong,
    timer: Pin<Box<Sleep>>,
    interval: Duration,
    timeout: Duration,
    waits: bool,
}

impl KeepAlive {
    fn new(ping: PingPong, interval: Duration, timeout: Duration) -> Self {
        Self {
            ping,
            timer: Box::pin(tokio::time::sleep(interval)),
            interval,
            timeout,
            waits: false,
        }
    }

    /// Ready: no answer in time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waits && matches!(self.ping.poll_pong(cx), Poll::Ready(Ok(_))) {
                self.waits = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.waits {
                return Poll::Ready(());
            }
            if self.ping.send_ping(Ping::opaque()).is_err() {
                // The connection is closing; its own future says so.
                return Poll::Pending;
            }
            self.waits = true;
            self.timer.as_mut().reset(Instant::now() + self.timeout);
        }
    }
}

/// Sends one request and waits for the head of its answer. Dropped half-way, the stream is reset (RFC 9113 §5.4.2).
pub(super) async fn send<B: SendBody>(
    lease: Http2Lease<B>,
    call: &Call,
    credential: Option<&http::HeaderValue>,
    outgoing: Outgoing<B>,
) -> Result<Response<UpstreamBody<B>>, Failed<Outgoing<B>>> {
    let repeats = outgoing.repeats_unanswered(call);
    let (head, body) = outgoing.into_parts();
    let server = &lease.connection().place().server;
    let request = match head_for(&head, &body.size_hint(), server, Protocol::Http2, credential, call) {
        Ok(request) => request,
        Err(why) => return Err(Failed::Final { why }),
    };
    let mut sender = lease.connection().sender.clone();
    let (answer, stream) = match sender.send_request(request, body.is_end_stream()) {
        Ok(opened) => opened,
        // The connection takes no more streams: nothing was even queued.
        Err(error) if error.is_go_away() || error.is_io() => {
            return Err(Failed::Unprocessed {
                outgoing: Outgoing::from_parts(head, body),
                why: Why::Closed,
            });
        }
        Err(_) => return Err(Failed::Final { why: Why::Head }),
    };
    let taken = body.begins();
    let mut exchange = Exchange {
        answer,
        interim: 0,
        upload: Upload::new(stream, body),
    };
    let Some(answered) = within(call.answer_within, &taken, exchange.run()).await else {
        return Err(Failed::Final {
            why: Why::AnswerTimedOut {
                within: call.answer_within.unwrap_or_default(),
            },
        });
    };
    match answered {
        Ok(response) => accept(lease, call.class, &head.headers, response, exchange.upload),
        Err(Broken::Stream(error)) => {
            let is_bodiless = exchange.upload.is_bodiless();
            let outgoing = Outgoing::from_parts(head, exchange.upload.into_body());
            Err(failed(
                &error,
                lease.connection().is_silent(),
                outgoing,
                repeats && is_bodiless,
            ))
        }
        Err(Broken::RequestBody) => Err(Failed::Final { why: Why::RequestBody }),
        Err(Broken::TooManyInterim) => Err(Failed::Final {
            why: BadAnswer::TooManyInterim.into(),
        }),
    }
}

/// RFC 9113 §8.7 names two proofs that a request was not processed: REFUSED_STREAM, and a GOAWAY whose last stream is lower. `h2`
/// gives a stream the peer's GOAWAY as its error in exactly the second case; every other end of a connection is an I/O error.
fn failed<T>(error: &h2::Error, is_silent: bool, outgoing: T, repeats: bool) -> Failed<T> {
    let is_refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    if is_refused || (error.is_go_away() && error.is_remote()) {
        return Failed::Unprocessed {
            outgoing,
            why: Why::Refused,
        };
    }
    let why = match error.reason() {
        _ if is_silent => Why::Silent,
        // Our own `h2` found the answer malformed.
        Some(Reason::PROTOCOL_ERROR) if !error.is_remote() => {
            return Failed::Final {
                why: BadAnswer::Malformed.into(),
            };
        }
        Some(reason) if error.is_reset() => Why::Reset { reason },
        Some(_) | None => Why::Lost,
    };
    Failed::Unanswered {
        outgoing: repeats.then_some(outgoing),
        why,
    }
}

fn accept<B: SendBody, T>(
    lease: Http2Lease<B>,
    class: StreamClass,
    asked: &http::HeaderMap,
    response: Response<RecvStream>,
    upload: Upload<B>,
) -> Result<Response<UpstreamBody<B>>, Failed<T>> {
    let (head, stream) = response.into_parts();
    if let Err(bad) = answer::check_status(head.status, class, asked, &head.headers) {
        return Err(Failed::Final { why: bad.into() });
    }
    // The answer began before the request ended, which HTTP/2 allows: the rest goes on beside it, owned by the body.
    let upload = (!upload.is_done()).then(|| tokio::spawn(upload.run()).abort_handle());
    Ok(Response::from_parts(head, UpstreamBody::http2(stream, upload, lease)))
}

enum Broken {
    Stream(h2::Error),
    RequestBody,
    TooManyInterim,
}

struct Exchange<B> {
    answer: ResponseFuture,
    interim: usize,
    upload: Upload<B>,
}

impl<B: SendBody> Exchange<B> {
    async fn run(&mut self) -> Result<Response<RecvStream>, Broken> {
        poll_fn(|cx| {
            while let Poll::Ready(Some(interim)) = self.answer.poll_informational(cx) {
                interim.map_err(Broken::Stream)?;
                self.interim += 1;
                if self.interim > answer::MOST_INTERIM {
                    return Poll::Ready(Err(Broken::TooManyInterim));
                }
            }
            if let Poll::Ready(answered) = Pin::new(&mut self.answer).poll(cx) {
                return Poll::Ready(answered.map_err(Broken::Stream));
            }
            match self.upload.poll(cx) {
                Poll::Ready(Err(UploadBroken::Body)) => Poll::Ready(Err(Broken::RequestBody)),
                // The stream's own end reaches the answer, which knows whether something was answered before.
                Poll::Ready(Ok(()) | Err(UploadBroken::Stream)) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// More streams than this on one connection could stall it (see the windows above).
pub(super) const MOST_STREAMS: usize = 256;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
const MOST_HEADER_BYTES: u32 = 64 * 1024;
/// Stands for "no SETTINGS yet"; no peer can announce it, a SETTINGS value has 32 bits.
const UNKNOWN: usize = usize::MAX - 1;
const SETTLED_WITHIN: Duration = Duration::from_secs(3);
