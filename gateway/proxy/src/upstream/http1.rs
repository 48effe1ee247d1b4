//! HTTP/1.1 connections, by `hyper::client::conn::http1`: one request at a time, none ever pipelined.
//!
//! hyper notices bytes on an idle connection and closes it. What it cannot know is whether *we* are content with how the last
//! exchange ended; that is decided here and in `body.rs`, and only a connection that ended cleanly on both sides goes back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use reach::{Patience, Protocol, ReachError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer;
use super::body::UpstreamBody;
use super::error::{BadAnswer, Failed, Why};
use super::lane::{Http1Lease, Place};
use super::outgoing::{BoxError, Outgoing, Replayed, SendBody, head_for};
use super::socket::Socket;
use super::taken::within;
use super::{Call, StreamClass};

/// One connection; destroyed when dropped.
pub(super) struct Http1Connection<B> {
    sender: SendRequest<Http1Body<B>>,
    task: Option<AbortHandle>,
    place: Place,
    idle_since: Instant,
    /// Of a connection that becomes something else.
    patience: Option<Patience>,
}

impl<B> Http1Connection<B> {
    pub(super) fn is_usable(&self, generation: u64) -> bool {
        self.place.generation == generation && !self.sender.is_closed()
    }

    pub(super) fn is_idle_for(&self, most: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.idle_since) >= most
    }

    pub(super) fn rested(&mut self) {
        self.idle_since = Instant::now();
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// It is a session from now on, in which the other side may pause.
    pub(super) fn detach(mut self) {
        self.task = None;
        if let Some(Err(error)) = self.patience.take().map(Patience::lift) {
            tracing::debug!(error = %error, "the limit of a session's connection could not be lifted");
        }
    }
}

impl<B> Drop for Http1Connection<B> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Speaks HTTP/1.1 on an open socket.
pub(super) async fn start<B: SendBody>(
    socket: Socket<B>,
    place: Place,
    patience: Option<Patience>,
) -> Result<Http1Connection<B>, ReachError> {
    let address = place.peer;
    let failed = |cause| ReachError::Handshake {
        address,
        cause: Arc::new(io::Error::other(cause)),
    };
    let (sender, connection) = Builder::new()
        .handshake::<_, Http1Body<B>>(TokioIo::new(socket))
        .await
        .map_err(failed)?;
    let task = tokio::spawn(async move {
        // Whoever holds a request on it learns the error; between requests nobody needs to.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "upstream connection ended");
        }
    });
    Ok(Http1Connection {
        sender,
        task: Some(task.abort_handle()),
        place,
        idle_since: Instant::now(),
        patience,
    })
}

/// Sends one request and waits for the head of its answer.
pub(super) async fn send<B: SendBody>(
    mut lease: Http1Lease<B>,
    call: &Call,
    credential: Option<&http::HeaderValue>,
    outgoing: Outgoing<B>,
) -> Result<Response<UpstreamBody<B>>, Failed<Outgoing<B>>> {
    let Some(connection) = lease.connection() else {
        return Err(Failed::Unprocessed {
            outgoing,
            why: Why::Closed,
        });
    };
    // Ready at once, unless the end of the last answer was seen a moment before the connection itself saw it.
    let ready = tokio::time::timeout(READY_WITHIN, connection.sender.ready()).await;
    if !matches!(ready, Ok(Ok(()))) {
        return Err(Failed::Unprocessed {
            outgoing,
            why: Why::Closed,
        });
    }
    let repeats = outgoing.repeats_unanswered(call);
    let (head, body) = outgoing.into_parts();
    let server = &connection.place().server;
    let request = match head_for(&head, &body.size_hint(), server, Protocol::Http1, credential, call) {
        Ok(request) => request,
        Err(why) => return Err(Failed::Final { why }),
    };
    let taken = body.begins();
    let in_doubt = call.leaves_in_doubt(body.size_hint().exact() == Some(0));
    let (sent_body, kept_body) = if body.is_end_stream() {
        (Http1Body::Empty, Some(body))
    } else {
        (Http1Body::Full(body), None)
    };
    let mut request = request.map(|()| sent_body);
    let flood = Flood::watch(&mut request);

    let answer = connection.sender.try_send_request(request);
    let limit = call.answer_within;
    let answer = tokio::select! {
        // First: the flood and the answer behind it may come in one read.
        biased;
        () = flood.noticed() => return Err(Failed::Final { why: BadAnswer::TooManyInterim.into() }),
        answer = within(limit, &taken, answer) => answer,
    };
    let response = match answer {
        None => {
            return Err(Failed::Final {
                why: Why::AnswerTimedOut {
                    within: limit.unwrap_or_default(),
                },
            });
        }
        Some(Ok(response)) => response,
        Some(Err(mut error)) => {
            return Err(match (error.take_message().map(Request::into_body), kept_body) {
                // hyper gives the message back only if nothing of it was written.
                (Some(Http1Body::Full(body)), _) | (Some(Http1Body::Empty), Some(body)) => Failed::Unprocessed {
                    outgoing: Outgoing::from_parts(head, body),
                    why: Why::Closed,
                },
                (_, kept) => {
                    let outgoing = kept.filter(|_| repeats).map(|body| Outgoing::from_parts(head, body));
                    failed(error.error(), outgoing)
                }
            });
        }
    };
    // An answer before the request's end leaves the framing of what follows in doubt, too.
    let may_go_on = !in_doubt && taken.is_all();
    accept(lease, call.class, &head.headers, response, may_go_on)
}

fn failed<T>(error: &hyper::Error, outgoing: Option<T>) -> Failed<T> {
    if error.is_user() {
        Failed::Final { why: Why::RequestBody }
    } else if error.is_parse() {
        Failed::Final {
            why: BadAnswer::Malformed.into(),
        }
    } else {
        Failed::Unanswered {
            outgoing,
            why: Why::Lost,
        }
    }
}

/// Looks at the head and decides whether the connection may ever serve another request; `may_go_on`: what was sent lets it.
fn accept<B: SendBody, T>(
    lease: Http1Lease<B>,
    class: StreamClass,
    asked: &http::HeaderMap,
    response: Response<Incoming>,
    may_go_on: bool,
) -> Result<Response<UpstreamBody<B>>, Failed<T>> {
    let (mut head, incoming) = response.into_parts();
    // The version is that of one connection (RFC 9110 §2.5): with an old server's our client would be told no end, and take half an answer for all of it.
    head.version = Version::HTTP_11;
    let checked = answer::check_status(head.status, class, asked, &head.headers).and_then(|()| {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            Ok(())
        } else {
            answer::check_framing(&head.headers)
        }
    });
    if let Err(bad) = checked {
        return Err(Failed::Final { why: bad.into() });
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        lease.hand_over();
        return Ok(Response::from_parts(head, UpstreamBody::empty()));
    }
    let fit = class != StreamClass::Upgrade && may_go_on && !answer::authenticates_connection(&head.headers);
    Ok(Response::from_parts(head, UpstreamBody::http1(incoming, lease, fit)))
}

/// Counts interim answers, which hyper skips without end.
struct Flood(Arc<Notify>);

impl Flood {
    fn watch<T>(request: &mut Request<T>) -> Self {
        let noticed = Arc::new(Notify::new());
        let seen = AtomicUsize::new(0);
        let notify = Arc::clone(&noticed);
        hyper::ext::on_informational(request, move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) >= answer::MOST_INTERIM {
                notify.notify_one();
            }
        });
        Self(noticed)
    }

    async fn noticed(&self) {
        self.0.notified().await;
    }
}

/// What hyper gets as a body. An empty one is not handed over, so that the request stays whole here.
#[derive(Debug)]
pub(super) enum Http1Body<B> {
    Empty,
    Full(Replayed<B>),
}

impl<B: SendBody> Body for Http1Body<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(body) => body.size_hint(),
        }
    }
}

const READY_WITHIN: Duration = Duration::from_secs(1);
