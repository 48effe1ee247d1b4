//! A request on its way out, able to go out again.
//!
//! The head is kept and each attempt gets a copy with this connection's host, framing and credential. The body remembers its
//! first 64 KiB while it streams (references to the same bytes, no copy), so that an upstream's refusal costs the caller nothing for
//! ordinary objects. Invariant: [`Outgoing::rewind`] succeeds only if a second sending is byte for byte the first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, request};
use http_body::{Body, Frame, SizeHint};
use reach::{Protocol, Server};

use super::error::{SendError, Why};
use super::identity::{assert_identity, assert_no_credential};
use super::taken::Taken;
use super::{Call, IdentityBroken, Repeat, StreamClass};

/// What request bodies must be able to do; every body of bytes that may move between tasks does.
pub trait SendBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}
impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> SendBody for B {}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The request with its way back.
pub(super) struct Outgoing<B> {
    head: request::Parts,
    body: Replayed<B>,
}

impl<B: SendBody> Outgoing<B> {
    pub(super) fn new(request: Request<B>) -> Self {
        let (head, body) = request.into_parts();
        Self {
            head,
            body: Replayed::new(body),
        }
    }

    /// The first check, before anything waits for a connection.
    pub(super) fn check(&self, call: &Call) -> Result<(), IdentityBroken> {
        assert_no_credential(&self.head.headers)?;
        assert_identity(&self.head.headers, &call.expected)
    }

    pub(super) fn is_bodiless(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Whether it may go out again although it may have been processed.
    pub(super) fn repeats_unanswered(&self, call: &Call) -> bool {
        call.repeat == Repeat::IfUnanswered
            && call.class != StreamClass::Upgrade
            && matches!(self.head.method, Method::GET | Method::HEAD)
            && self.is_bodiless()
    }

    /// Takes head and body apart for HTTP/1.1, whose connection takes the body with it.
    pub(super) fn into_parts(self) -> (request::Parts, Replayed<B>) {
        (self.head, self.body)
    }

    pub(super) fn from_parts(head: request::Parts, body: Replayed<B>) -> Self {
        Self { head, body }
    }

    /// Puts the body back to its beginning. `false`: more of it is gone than was kept.
    pub(super) fn rewind(&mut self) -> bool {
        self.body.rewind()
    }

    /// The request as it came, if its body is untouched.
    pub(super) fn give_back(self, why: Why) -> SendError<B> {
        match self.body.untouched() {
            Some(body) => SendError::NotSent {
                request: Box::new(Request::from_parts(self.head, body)),
                why,
            },
            None => SendError::Unprocessed { why },
        }
    }
}

/// The head for one attempt on one connection: target and host of this server, framing and credential of ours.
pub(super) fn head_for(
    head: &request::Parts,
    length: &SizeHint,
    server: &Server,
    protocol: Protocol,
    credential: Option<&HeaderValue>,
    call: &Call,
) -> Result<Request<()>, Why> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(&head.uri, server, protocol, call)?;
    *request.headers_mut() = head.headers.clone();
    let headers = request.headers_mut();
    frame(headers, &head.method, length, protocol);
    headers.remove(HOST);
    match protocol {
        Protocol::Http1 => {
            headers.insert(HOST, call.host.as_ref().unwrap_or(server.host_header()).clone());
            if call.leaves_in_doubt(length.exact() == Some(0)) {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            *request.version_mut() = Version::HTTP_11;
        }
        Protocol::Http2 => {
            strip_connection_fields(headers);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    if let Some(credential) = credential {
        // The snapshot marks it sensitive: never indexed by HPACK (I-13), never in a debug text.
        request.headers_mut().insert(AUTHORIZATION, credential.clone());
    }
    assert_identity(request.headers(), &call.expected)?;
    Ok(request)
}

/// Path and query byte for byte, behind the server's own prefix where it has one.
fn target(uri: &Uri, server: &Server, protocol: Protocol, call: &Call) -> Result<Uri, Why> {
    let path = uri.path_and_query().ok_or(Why::Head)?;
    let path = if server.prefix().is_empty() {
        path.clone()
    } else {
        PathAndQuery::try_from(format!("{}{path}", server.prefix())).map_err(|_| Why::Head)?
    };
    match protocol {
        Protocol::Http1 => Ok(Uri::from(path)),
        Protocol::Http2 => {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(match server.scheme() {
                reach::Scheme::Https => Scheme::HTTPS,
                // Some servers refuse a `:scheme` that is not that of the connection.
                reach::Scheme::Http => Scheme::HTTP,
            });
            let named = call.host.as_ref().map(|host| Authority::try_from(host.as_bytes()));
            let named = named.transpose().map_err(|_| Why::Head)?;
            parts.authority = Some(named.unwrap_or_else(|| server.authority().clone()));
            parts.path_and_query = Some(path);
            Uri::from_parts(parts).map_err(|_| Why::Head)
        }
    }
}

/// Framing is generated here from the body itself and never copied from the client (I8 of the threat model).
fn frame(headers: &mut HeaderMap, method: &Method, length: &SizeHint, protocol: Protocol) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let expects_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match (length.exact(), protocol) {
        (Some(length), _) if length > 0 || expects_body => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Else hyper leaves the body of a GET or HEAD out without a word, and another request would arrive than was recorded.
        (None, Protocol::Http1) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        _ => {}
    }
}

/// RFC 9113 §8.2.2: fields of an HTTP/1.1 connection have no meaning here, and `h2` refuses to send them.
fn strip_connection_fields(headers: &mut HeaderMap) {
    const OTHERS: [HeaderName; 2] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in [CONNECTION, UPGRADE].iter().chain(&OTHERS) {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        headers.remove(TE);
        headers.remove(TRAILER);
    }
}

/// A body that can begin again as long as little of it has passed.
#[derive(Debug)]
pub(super) struct Replayed<B> {
    again: VecDeque<Bytes>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    rest: B,
    state: State,
    taken: Arc<Taken>,
    remaining: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    Kept,
    Gone,
}

impl<B: SendBody> Replayed<B> {
    fn new(rest: B) -> Self {
        let remaining = rest.size_hint().exact();
        let taken = Arc::new(Taken::new(rest.is_end_stream()));
        Self {
            again: VecDeque::new(),
            kept: Vec::new(),
            kept_bytes: 0,
            rest,
            state: State::Untouched,
            taken,
            remaining,
        }
    }

    /// It goes out from now. Tells, wherever the body is then, how much of it was taken.
    pub(super) fn begins(&self) -> Arc<Taken> {
        self.taken.begins(self.is_end_stream());
        Arc::clone(&self.taken)
    }

    fn untouched(self) -> Option<B> {
        (self.state == State::Untouched).then_some(self.rest)
    }

    fn rewind(&mut self) -> bool {
        match self.state {
            State::Untouched => true,
            State::Gone => false,
            State::Kept => {
                // What is still to be replayed follows what was just sent.
                let mut again: VecDeque<_> = self.kept.drain(..).collect();
                again.append(&mut self.again);
                self.again = again;
                self.kept_bytes = 0;
                self.remaining = self.size_hint().exact();
                true
            }
        }
    }

    fn keep(&mut self, data: &Bytes) {
        self.kept_bytes = self.kept_bytes.saturating_add(data.len());
        if self.state == State::Gone || self.kept_bytes > MOST_KEPT {
            self.state = State::Gone;
            self.kept = Vec::new();
        } else {
            self.state = State::Kept;
            self.kept.push(data.clone());
        }
    }

    fn count(&mut self, data: &Bytes) {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.remaining = self.remaining.map(|left| left.saturating_sub(length));
        if self.remaining == Some(0) || self.is_end_stream() {
            self.taken.ends();
        } else {
            self.taken.goes_on();
        }
    }
}

impl<B: SendBody> Body for Replayed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(data) = this.again.pop_front() {
            this.keep(&data);
            this.count(&data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.rest).poll_frame(cx) else {
            this.taken.waits_for_client();
            return Poll::Pending;
        };
        match &frame {
            None => this.taken.ends(),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => {
                    let data = data.clone();
                    this.keep(&data);
                    this.count(&data);
                }
                None => {
                    this.state = State::Gone;
                    this.taken.ends();
                }
            },
            Some(Err(_)) => this.state = State::Gone,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let again = self.again.iter().fold(0_u64, |sum, one| {
            sum.saturating_add(u64::try_from(one.len()).unwrap_or(u64::MAX))
        });
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(again));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(again));
        }
        hint
    }
}

/// As much of a body as is kept for a second sending: every ordinary object, no upload.
const MOST_KEPT: usize = 64 * 1024;
