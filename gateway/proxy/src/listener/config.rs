//! What can be set on a listener, with defaults for a gateway that faces strangers.
//!
//! Invariant: every phase of a connection has a deadline and every count a limit; none can be switched off.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    head::HeadLimits,
    tls::{CertificateStore, ClientCertificateRules},
};

/// Everything a listener needs to start.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// The bounded name in metrics and records, such as `kubernetes` or `gateway`.
    pub name: Arc<str>,
    /// The address to bind; port 0 takes a free one.
    pub address: SocketAddr,
    /// TLS, or plain HTTP on loopback.
    pub security: Security,
    /// Deadlines of the phases of a connection.
    pub deadlines: Deadlines,
    /// Limits of connections and HTTP/2.
    pub limits: Limits,
    /// Limits of request heads.
    pub head: HeadLimits,
}

impl ListenerConfig {
    /// A listener with default deadlines and limits.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, security: Security) -> Self {
        Self {
            name: name.into(),
            address,
            security,
            deadlines: Deadlines::default(),
            limits: Limits::default(),
            head: HeadLimits::default(),
        }
    }
}

/// How the bytes of a listener are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// Plain HTTP; refused on any address that is not loopback.
    PlainLoopback,
    /// TLS 1.3 and 1.2.
    Tls {
        /// Serving certificates, reloadable.
        certificates: Arc<CertificateStore>,
        /// Whether and for which hosts client certificates are asked for.
        client_certificates: Option<ClientCertificateRules>,
    },
}

/// Deadlines of each phase of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From accept to a whole ClientHello.
    pub client_hello: Duration,
    /// From the ClientHello to the end of the handshake.
    pub handshake: Duration,
    /// From the end of the handshake to the first byte of the first request (HTTP/1), or to the client's preface,
    /// SETTINGS and acknowledgement of ours (HTTP/2).
    pub first_byte: Duration,
    /// From the first to the last byte of a request head.
    pub request_head: Duration,
    /// Between two bytes of a request head.
    pub head_progress: Duration,
    /// Between the end of an answer and the first byte of the next request on HTTP/1.
    pub keep_alive_idle: Duration,
    /// Between two pieces of a request body that a handler waits for.
    pub body_progress: Duration,
    /// During which a peer takes no byte of what we have to write; per connection, and per stream on HTTP/2.
    pub write_progress: Duration,
    /// From the first byte of an HTTP/2 frame that is no DATA, or of a header block, to its last byte.
    pub http2_frame: Duration,
    /// From the end of the handshake to the first HTTP/2 stream.
    pub http2_first_stream: Duration,
    /// Without any open HTTP/2 stream.
    pub http2_idle: Duration,
    /// Of silence before an HTTP/2 PING.
    pub http2_ping_interval: Duration,
    /// For the answer to that PING.
    pub http2_ping_timeout: Duration,
    /// From a GOAWAY, given for a reason of the connection, to the end.
    pub go_away: Duration,
    /// For reading on after a refusal, so that a reset does not destroy the answer on its way.
    pub linger: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            client_hello: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            request_head: Duration::from_secs(32),
            head_progress: Duration::from_secs(10),
            keep_alive_idle: Duration::from_secs(120),
            body_progress: Duration::from_secs(30),
            write_progress: Duration::from_secs(60),
            http2_frame: Duration::from_secs(10),
            http2_first_stream: Duration::from_secs(15),
            http2_idle: Duration::from_secs(180),
            http2_ping_interval: Duration::from_secs(30),
            http2_ping_timeout: Duration::from_secs(15),
            go_away: Duration::from_secs(5),
            linger: Duration::from_secs(2),
        }
    }
}

/// Limits of a listener. When full: see each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of the listener. When full, nothing is accepted until one closes; the kernel queues or refuses.
    pub connections: usize,
    /// Open connections of one IPv4 address or IPv6 /64. When full, further ones are closed at once and counted.
    pub connections_per_address: usize,
    /// Length of the kernel's accept queue.
    pub backlog: u32,
    /// Concurrent HTTP/2 streams of one connection. When full, further ones are refused with REFUSED_STREAM.
    pub http2_streams: u32,
    /// HTTP/2 receive window of one stream, bytes.
    pub http2_stream_window: u32,
    /// HTTP/2 receive window of one connection, bytes.
    pub http2_connection_window: u32,
    /// Bytes that HTTP/2 buffers for sending on one stream.
    pub http2_send_buffer: usize,
    /// Largest HTTP/2 header list, 32 bytes per field added (RFC 9113 §6.5.2). When exceeded, 431 on that stream.
    pub http2_header_list: u32,
    /// HTTP/2 frames without use (PING, SETTINGS, PRIORITY, unknown, empty DATA) in one burst; then as many per second as
    /// a tenth of it. When exceeded, the connection is closed.
    pub http2_idle_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 2_000,
            backlog: 1024,
            http2_streams: 250,
            http2_stream_window: 256 * 1024,
            http2_connection_window: 4 * 1024 * 1024,
            http2_send_buffer: 64 * 1024,
            http2_header_list: 128 * 1024,
            http2_idle_frames: 5_000,
        }
    }
}
