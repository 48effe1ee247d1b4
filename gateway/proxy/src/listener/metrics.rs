//! The listener's own counters, since hyper has none.
//!
//! Invariant: all labels come from closed enums, so that nobody outside can make a series; the counters of the hot path
//! are resolved once.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{tls::TlsFailure, violation::Violation};
use crate::observe::listed;

/// Counters of one listener. Register each listener in a sub-registry with its name as a label.
#[derive(Debug)]
pub struct ListenerMetrics {
    pub(crate) accepted: Counter,
    pub(crate) open: Gauge,
    pub(crate) over_address_limit: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) stalled_streams: Counter,
    pub(crate) handler_panics: Counter,
    pub(crate) go_aways: Counter,
    pub(crate) http1: Counter,
    pub(crate) http2: Counter,
    pub(crate) tls_handshakes: Counter,
    requests: Family<ProtocolLabel, Counter>,
    tls_failures: Family<TlsFailureLabel, Counter>,
    closed: Family<CloseLabel, Counter>,
    violations: Family<ViolationLabel, Counter>,
}

listed! {
    /// Why a connection ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
    pub enum CloseReason {
        /// In the ordinary way, by either side.
        Finished,
        /// The peer vanished or cut the connection in the middle.
        Disconnected,
        /// The bytes were not the protocol that was agreed on.
        ProtocolError,
        /// A request was refused for its bytes.
        Violation,
        /// No first byte in time.
        FirstByte,
        /// No whole request head in time.
        RequestHead,
        /// No next request in time.
        KeepAliveIdle,
        /// The peer took no byte for too long.
        WriteProgress,
        /// An HTTP/2 frame or header block was not finished in time.
        Http2Frame,
        /// No HTTP/2 stream was opened in time.
        Http2FirstStream,
        /// No HTTP/2 stream was open for too long.
        Http2Idle,
        /// An HTTP/2 PING was not answered.
        Http2Ping,
        /// Too many HTTP/2 frames without use.
        Http2Flood,
        /// The connection was open at the drain deadline.
        DrainDeadline,
    }
}

impl CloseReason {
    /// For the record. What is written there stays: a text is never changed, only added.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Finished => "the connection ended in the ordinary way",
            Self::Disconnected => "the peer left in the middle",
            Self::ProtocolError => "the bytes were not the protocol that was agreed on",
            Self::Violation => "a request was refused for its bytes",
            Self::FirstByte => "no first byte came in time",
            Self::RequestHead => "no whole request head came in time",
            Self::KeepAliveIdle => "no next request came in time",
            Self::WriteProgress => "the peer took no byte for too long",
            Self::Http2Frame => "an HTTP/2 frame or header block was not finished in time",
            Self::Http2FirstStream => "no HTTP/2 stream was opened in time",
            Self::Http2Idle => "no HTTP/2 stream was open for too long",
            Self::Http2Ping => "an HTTP/2 PING was not answered",
            Self::Http2Flood => "too many HTTP/2 frames without use",
            Self::DrainDeadline => "the connection was open at the drain deadline",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TlsFailureLabel {
    reason: TlsFailure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    reason: CloseReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ViolationLabel {
    violation: Violation,
}

impl Default for ListenerMetrics {
    fn default() -> Self {
        let requests = Family::<ProtocolLabel, Counter>::default();
        Self {
            accepted: Counter::default(),
            open: Gauge::default(),
            over_address_limit: Counter::default(),
            accept_errors: Counter::default(),
            stalled_streams: Counter::default(),
            handler_panics: Counter::default(),
            go_aways: Counter::default(),
            http1: requests.get_or_create_owned(&ProtocolLabel {
                protocol: Protocol::Http1,
            }),
            http2: requests.get_or_create_owned(&ProtocolLabel {
                protocol: Protocol::Http2,
            }),
            requests,
            tls_handshakes: Counter::default(),
            tls_failures: each(TlsFailure::ALL, |reason| TlsFailureLabel { reason }),
            closed: each(CloseReason::ALL, |reason| CloseLabel { reason }),
            violations: each(Violation::ALL, |violation| ViolationLabel { violation }),
        }
    }
}

impl ListenerMetrics {
    /// Registers all counters under `gateway_listener_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gateway_listener");
        registry.register("connections_accepted", "Connections accepted", self.accepted.clone());
        registry.register(
            "connections_open",
            "Connections open now, tunnels included",
            self.open.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections ended, by reason",
            self.closed.clone(),
        );
        registry.register(
            "connections_over_address_limit",
            "Connections closed at once because their address had too many",
            self.over_address_limit.clone(),
        );
        registry.register(
            "accept_errors",
            "Failures to accept, such as no free descriptor",
            self.accept_errors.clone(),
        );
        registry.register(
            "tls_handshakes",
            "TLS handshakes that succeeded",
            self.tls_handshakes.clone(),
        );
        registry.register(
            "tls_failures",
            "TLS handshakes that failed, by reason",
            self.tls_failures.clone(),
        );
        registry.register(
            "violations",
            "Requests refused for their bytes, by kind",
            self.violations.clone(),
        );
        registry.register(
            "requests",
            "Requests received, refused ones included, by protocol",
            self.requests.clone(),
        );
        registry.register(
            "streams_stalled",
            "HTTP/2 answers reset because nobody took them",
            self.stalled_streams.clone(),
        );
        registry.register(
            "go_aways",
            "HTTP/2 connections asked to end after a refusal",
            self.go_aways.clone(),
        );
        registry.register(
            "handler_panics",
            "Panics while answering a request",
            self.handler_panics.clone(),
        );
    }

    /// Connections open now, tunnels included.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.open.get()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// Failures to accept so far.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.get()
    }

    /// Connections ended for `reason` so far.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed
            .get(&CloseLabel { reason })
            .map_or(0, |counter| counter.get())
    }

    /// Handshakes failed for `reason` so far.
    #[must_use]
    pub fn tls_failures(&self, reason: TlsFailure) -> u64 {
        self.tls_failures
            .get(&TlsFailureLabel { reason })
            .map_or(0, |counter| counter.get())
    }

    /// Requests refused for `violation` so far.
    #[must_use]
    pub fn violations(&self, violation: Violation) -> u64 {
        self.violations
            .get(&ViolationLabel { violation })
            .map_or(0, |counter| counter.get())
    }

    /// HTTP/2 answers reset because nobody took them, so far.
    #[must_use]
    pub fn stalled_streams(&self) -> u64 {
        self.stalled_streams.get()
    }

    /// Connections closed at once because their address had too many, so far.
    #[must_use]
    pub fn over_address_limit(&self) -> u64 {
        self.over_address_limit.get()
    }

    /// Handshakes that succeeded so far.
    #[must_use]
    pub fn tls_handshakes(&self) -> u64 {
        self.tls_handshakes.get()
    }

    pub(crate) fn count_close(&self, reason: CloseReason) {
        self.closed.get_or_create(&CloseLabel { reason }).inc();
    }

    pub(crate) fn count_tls_failure(&self, reason: TlsFailure) {
        self.tls_failures.get_or_create(&TlsFailureLabel { reason }).inc();
    }

    pub(crate) fn count_violation(&self, violation: Violation) {
        self.violations.get_or_create(&ViolationLabel { violation }).inc();
    }
}

/// A family with all its series.
fn each<T: Copy, L: Clone + std::hash::Hash + Eq>(members: &[T], label: impl Fn(T) -> L) -> Family<L, Counter> {
    let family = Family::default();
    for member in members {
        drop(family.get_or_create_owned(&label(*member)));
    }
    family
}
