//! What the listener knows of one request head besides the parsed request: the facts that stations decide on.
//!
//! Invariant: a [`Head`] without violation has one host and the very target bytes that arrived.

use bytes::Bytes;

use super::{host::Host, violation::Violation};

/// The facts of one request head, in the order in which the requests arrived.
#[derive(Clone, Debug)]
pub struct Head {
    /// Path and query byte for byte as they arrived (without scheme and authority of an absolute target), or `*`. For a
    /// refused head as far as it was read, perhaps empty.
    pub target: Bytes,
    /// The one host of the request. Missing only beside a violation.
    pub host: Option<Host>,
    /// Why the request must be refused and never forwarded. On HTTP/1 the request beside it is a stand-in of our own
    /// without content, save for [`Violation::MisdirectedHost`]; on HTTP/2 it is the request as it came.
    pub violation: Option<Violation>,
    /// Number of header lines (fields on HTTP/2).
    pub header_lines: usize,
    /// Bytes of the head (names and values on HTTP/2).
    pub header_bytes: usize,
    /// The protocol to which the client wants to switch; only on HTTP/1.1, with `Connection: upgrade` and without body.
    pub upgrade: Option<Upgrade>,
}

impl Head {
    pub(crate) fn refused(violation: Violation, target: Bytes, host: Option<Host>, bytes: usize) -> Self {
        Self {
            target,
            host,
            violation: Some(violation),
            header_lines: 0,
            header_bytes: bytes,
            upgrade: None,
        }
    }
}

/// The protocols to which a connection may be upgraded; kubectl uses both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
    /// SPDY/3.1, as Kubernetes streams it.
    Spdy31,
}

impl Upgrade {
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"websocket") {
            Some(Self::WebSocket)
        } else if value.eq_ignore_ascii_case(b"SPDY/3.1") {
            Some(Self::Spdy31)
        } else {
            None
        }
    }
}

/// Limits of a request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest target; `http::Uri` holds no more than 65,534 bytes.
    pub target_bytes: usize,
    /// Longest single header line.
    pub header_line_bytes: usize,
    /// Most header lines (fields on HTTP/2).
    pub header_lines: usize,
    /// Largest head as a whole, request line included.
    pub head_bytes: usize,
}

impl Default for HeadLimits {
    /// Room for a 48 KiB bearer token, 300 header lines and a 64 KiB query (protocol A-09, C-09).
    fn default() -> Self {
        Self {
            target_bytes: 65_534,
            header_line_bytes: 64 * 1024,
            header_lines: 400,
            head_bytes: 192 * 1024,
        }
    }
}
