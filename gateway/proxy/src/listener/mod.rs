//! Station 1: from a socket to one request that has exactly one reading.
//!
//! accept → limits → TLS → deadlines → the guard (HTTP/1) or frame watch (HTTP/2) → hyper → checks → [`Handler`].
//! The listener knows no identity, route or policy, writes no record and builds no body: it hands every request on with
//! its facts, refused ones included, and tells the handler about connections that never came to a request. hyper and h2
//! do the parsing; what they forgive or wait for without end is refused and ended here.
//!
//! Invariants: every phase of a connection has a deadline; every request that reaches the handler without a violation
//! names one host and has the target bytes that arrived; nothing of one connection touches another.

mod accept;
mod body;
mod config;
mod conn;
mod guard;
mod head;
mod host;
mod http2;
mod metrics;
mod serve;
mod settle;
mod shared;
mod timer;
pub mod tls;
mod violation;

use std::{error::Error, future::Future, sync::Arc};

use bytes::Bytes;

pub use accept::{DrainReport, ListenError, Listener, Running};
pub use body::{Inbound, InboundError, Taking};
pub use config::{Deadlines, Limits, ListenerConfig, Security};
pub use conn::{Alpn, ClientCertificate, Conn, Counters, TlsFacts, TlsVersion};
pub(crate) use guard::lines::check_method;
pub use guard::target::Scheme;
pub use head::{Head, HeadLimits, Upgrade};
pub use host::Host;
pub use metrics::{CloseReason, ListenerMetrics};
pub use timer::Ending;
pub use violation::Violation;

/// What answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    /// The body of its answers; the listener writes it as it is, without boxing.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Whether an HTTP/2 request may name another scheme than the listener speaks: where nothing follows from it, for programs that always
    /// name the same.
    const ANY_SCHEME: bool = false;

    /// Answers one request.
    ///
    /// A request whose `head.violation` is set must be refused with [`Violation::status`] and never forwarded. The future is dropped when the client leaves (HTTP/1: closes, HTTP/2: resets
    /// the stream), and a panic in it is answered with 500. An answer of 101 is passed only if `head.upgrade` is set;
    /// the upgraded stream is then to be had from `hyper::upgrade::on`.
    fn handle(
        &self,
        conn: Arc<Conn>,
        head: Head,
        request: http::Request<Inbound>,
    ) -> impl Future<Output = http::Response<Self::Body>> + Send;

    /// Takes note of a connection that was refused or ended without a request that could tell of it, for the record.
    /// Must not block.
    fn connection_refused(&self, conn: &Conn, reason: Refused);
}

/// Why a connection ended other than by a request's own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The TLS handshake failed.
    Tls(tls::TlsFailure),
    /// The address has too many open connections.
    AddressLimit,
    /// A deadline passed, or the peer broke the protocol so that no request could be made of it.
    Closed(CloseReason),
    /// The framing of a request body broke; that request's body ended in an error.
    Body(Violation),
}

impl Refused {
    /// For the record. What is written there stays: a text is never changed, only added.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::AddressLimit => "the address has too many open connections",
            Self::Body(violation) => violation.text(),
            Self::Tls(failure) => match failure {
                tls::TlsFailure::ClientHelloDeadline => "TLS: no whole ClientHello came in time",
                tls::TlsFailure::HandshakeDeadline => "TLS: the handshake did not end in time",
                tls::TlsFailure::Disconnected => "TLS: the peer left during the handshake",
                tls::TlsFailure::NotTls => "TLS: the bytes were no TLS",
                tls::TlsFailure::NothingInCommon => "TLS: no version, cipher suite or protocol in common",
                tls::TlsFailure::AlertReceived => "TLS: the peer ended the handshake with an alert",
                tls::TlsFailure::ClientCertificate => "TLS: the client's certificate or its proof was malformed",
                tls::TlsFailure::ProtocolError => "TLS: the peer broke the protocol",
            },
            Self::Closed(reason) => reason.in_words(),
        }
    }
}

/// Runs the HTTP/1 guard over arbitrary bytes, split in two places that the data chooses; for fuzzing.
pub fn fuzz_head_guard(data: &[u8]) {
    guard::machine::fuzz(data);
}
