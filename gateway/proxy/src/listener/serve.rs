//! One accepted connection from its first byte to its last: handshake, protocol, requests, end.
//!
//! Invariant: each connection ends with exactly one reason, counted, and every refusal that no request carries is told
//! to the handler.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use futures::FutureExt;
use http::{Request, Response, StatusCode, Version, header::CONTENT_LENGTH};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Refused,
    accept::Lease,
    body::{Inbound, Outbound},
    config::ListenerConfig,
    conn::{Alpn, Conn, TlsFacts, TlsVersion, Wire},
    guard::{io::GuardedIo, machine::Machine, target::Scheme},
    head::Head,
    http2::{StreamExecutor, StreamProgress, io::WatchedIo},
    metrics::{CloseReason, ListenerMetrics},
    settle::{Asked, is_refusal, reason_of, settle_http1, settle_http2},
    shared::{InFlight, Parts, Shared},
    tls::{Configurations, TlsFailure},
    violation::Violation,
};

/// What all connections of a listener share.
pub(crate) struct Serving<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) deadlines: Arc<super::config::Deadlines>,
    pub(crate) tls: Option<Configurations>,
    pub(crate) metrics: Arc<ListenerMetrics>,
    pub(crate) draining: CancellationToken,
    pub(crate) cut: CancellationToken,
}

/// One socket before anything was read from it.
pub(crate) struct Accepted {
    pub(crate) id: u64,
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) lease: Lease,
}

impl<H: Handler> Serving<H> {
    /// Serves one connection to its end; what was upgraded lives on without this future.
    ///
    /// A connection is there for hours, with a watch on which nothing happens. So what only its handshake or the way to an answer
    /// needed is in boxes of its own and given back behind that, and what goes on is held once.
    pub(crate) async fn connection(self: Arc<Self>, accepted: Accepted) {
        let Accepted {
            id,
            stream,
            peer,
            local,
            lease,
        } = accepted;
        let conn = Conn::new(id, peer, local, self.config.name.clone(), self.draining.clone());
        let Some(tls) = &self.tls else {
            return self.clone().http1(stream, Arc::new(conn), lease).await;
        };
        let shaken = tokio::select! {
            shaken = Box::pin(self.handshake(tls, stream)) => shaken,
            () = self.cut.cancelled() => return self.metrics.count_close(CloseReason::DrainDeadline),
        };
        match shaken {
            Err(failure) => {
                self.metrics.count_tls_failure(failure);
                self.handler.connection_refused(&conn, Refused::Tls(failure));
            }
            Ok((stream, sni)) => {
                self.metrics.tls_handshakes.inc();
                let (facts, chain) = describe(&stream, sni);
                let alpn = facts.alpn;
                let conn = Arc::new(conn.with_tls(facts, chain, tls.rules()));
                // The protocol follows ALPN alone: guessing it from bytes is a second way to read them.
                match alpn {
                    Some(Alpn::Http2) => self.clone().http2(stream, conn, lease).await,
                    Some(Alpn::Http11) | None => self.clone().http1(stream, conn, lease).await,
                }
            }
        }
    }

    async fn handshake(&self, tls: &Configurations, stream: TcpStream) -> Result<Shaken, TlsFailure> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let hello = timeout(self.deadlines.client_hello, hello)
            .await
            .map_err(|_| TlsFailure::ClientHelloDeadline)?
            .map_err(|error| TlsFailure::from_error(&error))?;
        let sni: Option<Arc<str>> = hello
            .client_hello()
            .server_name()
            .map(|name| name.to_ascii_lowercase().into());
        let stream = timeout(self.deadlines.handshake, hello.into_stream(tls.choose(sni.as_deref())))
            .await
            .map_err(|_| TlsFailure::HandshakeDeadline)?
            .map_err(|error| TlsFailure::from_error(&error))?;
        Ok((stream, sni))
    }

    fn http1<W: Wire>(self: Arc<Self>, wire: W, conn: Arc<Conn>, lease: Lease) -> impl Future<Output = ()> + Send {
        let parts = self.parts(conn);
        let machine = Machine::new(self.config.head.clone(), self.scheme());
        let io = GuardedIo::new(wire, machine, parts.clone(), self.cut.clone().cancelled_owned(), lease);
        let (serving, context) = (self.clone(), parts.clone());
        let service = service_fn(move |request| {
            serving.metrics.http1.inc();
            let in_flight = context.shared.begin_request();
            Box::pin(serving.clone().answer(context.clone(), request, None, in_flight))
        });
        let connection = self
            .http1_builder()
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        let connection = Box::pin(connection);
        async move {
            let idle = std::future::pending();
            self.drive(connection, |connection| connection.graceful_shutdown(), &parts, idle)
                .await;
        }
    }

    fn http2<W: Wire>(self: Arc<Self>, wire: W, conn: Arc<Conn>, lease: Lease) -> impl Future<Output = ()> + Send {
        let parts = self.parts(conn);
        let io = WatchedIo::new(wire, self.config.limits.http2_idle_frames, parts.clone(), lease);
        let streams = StreamExecutor::new(self.deadlines.write_progress, self.metrics.clone());
        let builder = self.http2_builder(streams.clone());
        let (serving, context) = (self.clone(), parts.clone());
        let service = service_fn(move |request| {
            serving.metrics.http2.inc();
            let in_flight = context.shared.begin_request();
            let stream = Some(streams.next_stream());
            Box::pin(serving.clone().answer(context.clone(), request, stream, in_flight))
        });
        let connection = Box::pin(builder.serve_connection(TokioIo::new(io), service));
        async move {
            let idle = no_stream_for(parts.shared.clone(), self.deadlines.http2_idle);
            self.drive(connection, |connection| connection.graceful_shutdown(), &parts, idle)
                .await;
        }
    }

    fn parts(&self, conn: Arc<Conn>) -> Parts {
        Parts {
            conn,
            shared: Shared::new(),
            deadlines: self.deadlines.clone(),
        }
    }

    fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// hyper's own head deadline stays off: the guard holds unfinished heads back, so it would measure idle time.
    fn http1_builder(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(self.config.head.header_lines)
            .max_buf_size(self.config.head.head_bytes + READ_AHEAD_BYTES);
        builder
    }

    /// Extended CONNECT stays off (protocol A-20).
    fn http2_builder(&self, streams: StreamExecutor) -> http2::Builder<StreamExecutor> {
        let limits = &self.config.limits;
        let mut builder = http2::Builder::new(streams);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            .initial_stream_window_size(limits.http2_stream_window)
            .initial_connection_window_size(limits.http2_connection_window)
            .max_send_buf_size(limits.http2_send_buffer)
            .max_header_list_size(limits.http2_header_list)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .keep_alive_interval(self.deadlines.http2_ping_interval)
            .keep_alive_timeout(self.deadlines.http2_ping_timeout);
        builder
    }

    /// Runs a connection until it ends, is asked to end, or is cut at the drain deadline.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<Box<C>>,
        ask_to_end: impl Fn(Pin<&mut C>),
        parts: &Parts,
        idle: impl Future<Output = ()>,
    ) {
        let shared = &parts.shared;
        let asked = Notify::new();
        let given_up = async {
            asked.notified().await;
            no_stream_for(shared.clone(), self.deadlines.go_away).await;
        };
        let (mut idle, mut given_up) = (pin!(idle), pin!(given_up));
        let (mut is_draining, mut is_going, mut was_idle) = (false, false, false);
        let result = loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => break result,
                () = self.cut.cancelled() => {
                    shared.close_because(CloseReason::DrainDeadline);
                    break Ok(());
                }
                // A peer that does not answer a GOAWAY would keep its connection for ever.
                () = &mut given_up => break Ok(()),
                () = self.draining.cancelled(), if !is_draining => is_draining = true,
                () = shared.go_away.notified(), if !is_going => {
                    is_going = true;
                    self.metrics.go_aways.inc();
                }
                () = &mut idle, if !was_idle => was_idle = true,
            }
            ask_to_end(connection.as_mut());
            asked.notify_one();
        };
        let reason = shared.close_reason().unwrap_or_else(|| reason_of(&result, was_idle));
        self.ended(parts, reason);
    }

    fn ended(&self, parts: &Parts, reason: CloseReason) {
        self.metrics.count_close(reason);
        if let Some(violation) = parts.shared.broken() {
            self.metrics.count_violation(violation);
            self.handler.connection_refused(&parts.conn, Refused::Body(violation));
        } else if is_refusal(reason) {
            self.handler.connection_refused(&parts.conn, Refused::Closed(reason));
        }
    }

    /// Answers one request; never fails, as every failure is an answer.
    async fn answer(
        self: Arc<Self>,
        parts: Parts,
        mut request: Request<Incoming>,
        stream: Option<Arc<StreamProgress>>,
        in_flight: InFlight,
    ) -> Result<Response<Outbound<H::Body>>, Infallible> {
        let mut head = self.head(&parts, &mut request, stream.is_some());
        if head.violation.is_none() && self.is_misdirected(&parts.conn, &head) {
            head.violation = Some(Violation::MisdirectedHost);
        }
        if let Some(violation) = head.violation {
            self.metrics.count_violation(violation);
        }
        parts.conn.counters().add_request();
        let asked = Asked {
            is_upgrade: head.upgrade.is_some(),
            is_violation: head.violation.is_some(),
        };
        let (body_progress, version) = (self.deadlines.body_progress, request.version());
        let request = request.map(|body| Inbound::new(body, parts.shared.clone(), body_progress, stream.clone()));
        let handling = async { self.handler.handle(parts.conn.clone(), head, request).await };
        let mut response = match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(response) => response.map(Some),
            Err(_) => self.after_panic(),
        };
        if stream.is_some() {
            settle_http2(&mut response, &asked, &parts.shared);
        } else {
            settle_http1(&mut response, &asked, &parts.shared);
        }
        let ends_with = ends_with_connection(version, &response).then(|| parts.shared.clone());
        Ok(response.map(|body| Outbound::new(body, stream, in_flight).ending_with(ends_with)))
    }

    fn head(&self, parts: &Parts, request: &mut Request<Incoming>, is_http2: bool) -> Head {
        if is_http2 {
            let scheme = (!H::ANY_SCHEME).then(|| self.scheme());
            return super::http2::check(request, &self.config.head, scheme);
        }
        let queued = parts.shared.pop_head();
        let parsed = request
            .uri()
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str)
            .unwrap_or_default();
        match queued {
            Some(head) if head.violation.is_some() || head.target == parsed.as_bytes() => head,
            Some(head) => Head::refused(Violation::HeadsDisagree, head.target, head.host, head.header_bytes),
            None => Head::refused(Violation::HeadsDisagree, bytes::Bytes::new(), None, 0),
        }
    }

    fn is_misdirected(&self, conn: &Conn, head: &Head) -> bool {
        let (Some(tls), Some(facts), Some(host)) = (&self.tls, conn.tls(), &head.host) else {
            return false;
        };
        tls.is_misdirected(facts.sni.as_deref(), host.name())
    }

    fn after_panic(&self) -> Response<Option<H::Body>> {
        self.metrics.handler_panics.inc();
        let mut response = Response::new(None);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }
}

/// HTTP/1.0 has no chunks: where no length is known, the body ends where the connection does (RFC 9112 §6.3).
fn ends_with_connection<B: Body>(version: Version, response: &Response<Option<B>>) -> bool {
    let is_known = response
        .body()
        .as_ref()
        .is_none_or(|body| body.size_hint().exact().is_some());
    version == Version::HTTP_10 && !is_known && !response.headers().contains_key(CONTENT_LENGTH)
}

type Shaken = (TlsStream<TcpStream>, Option<Arc<str>>);

fn describe(
    stream: &TlsStream<TcpStream>,
    sni: Option<Arc<str>>,
) -> (TlsFacts, Option<Arc<[CertificateDer<'static>]>>) {
    let (_, tls) = stream.get_ref();
    let facts = TlsFacts {
        version: match tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        },
        cipher: tls
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown"),
        sni,
        alpn: match tls.alpn_protocol() {
            Some(b"h2") => Some(Alpn::Http2),
            Some(_) => Some(Alpn::Http11),
            None => None,
        },
        is_resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    };
    let chain = tls
        .peer_certificates()
        .map(|chain| chain.iter().map(|der| der.clone().into_owned()).collect());
    (facts, chain)
}

/// Resolves once no stream has been open for `limit`.
async fn no_stream_for(shared: Arc<Shared>, limit: std::time::Duration) {
    loop {
        if shared.in_flight() > 0 {
            sleep(limit).await;
            continue;
        }
        let Some(until) = shared.idle_since().checked_add(limit) else {
            return std::future::pending().await;
        };
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// Room for body bytes behind the largest head.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// Streams that a peer opened and reset before we looked at them (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that a peer made us reset (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Gate;

    fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_connection_has_no_room_for_what_is_over() {
        let task = size_of_future(Serving::<Gate>::connection);
        assert!(task <= 4_096, "{task} bytes for each connection");
    }
}
