//! What the pool counts. Labels come from closed enums only.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reach::Protocol;

use super::StreamClass;

/// The pool's metrics; cheap to clone, shared by all clusters' pools.
#[derive(Clone, Debug, Default)]
pub struct UpstreamMetrics {
    pub(super) open_streams: Family<ByClass, Gauge>,
    pub(super) open_connections: Family<ByClass, Gauge>,
    pub(super) connections: Family<ByClassAndProtocol, Counter>,
    pub(super) connection_failures: Family<ByClass, Counter>,
    pub(super) silent_connections: Family<ByClass, Counter>,
    pub(super) resends: Family<ByClass, Counter>,
    pub(super) turned_away: Family<ByClass, Counter>,
    pub(super) unauthorized: Counter,
}

impl UpstreamMetrics {
    /// Declares all of them.
    pub fn register(&self, registry: &mut Registry) {
        self.create_all();
        let open = "Streams now open to clusters, upgrades counted until their socket closes";
        registry.register("gateway_upstream_open_streams", open, self.open_streams.clone());
        let sockets = "Connections to clusters now open or being opened";
        registry.register(
            "gateway_upstream_open_connections",
            sockets,
            self.open_connections.clone(),
        );
        registry.register(
            "gateway_upstream_connections",
            "Connections opened to clusters",
            self.connections.clone(),
        );
        let failures = "Connections to clusters that could not be opened";
        registry.register(
            "gateway_upstream_connection_failures",
            failures,
            self.connection_failures.clone(),
        );
        let silent = "Connections to clusters given up because pings were not answered";
        registry.register(
            "gateway_upstream_silent_connections",
            silent,
            self.silent_connections.clone(),
        );
        let resends =
            "Requests sent again after the cluster provably did not process them, or pure reads without answer";
        registry.register("gateway_upstream_resends", resends, self.resends.clone());
        let turned_away = "Requests turned away because too many waited, or too long, for a connection";
        registry.register("gateway_upstream_turned_away", turned_away, self.turned_away.clone());
        let unauthorized = "Answers 401 to the gateway's own credential";
        registry.register("gateway_upstream_unauthorized", unauthorized, self.unauthorized.clone());
    }

    /// All series, from the start.
    fn create_all(&self) {
        for class in StreamClass::ALL {
            let label = ByClass::of(*class);
            for gauges in [&self.open_streams, &self.open_connections] {
                drop(gauges.get_or_create_owned(&label));
            }
            for counters in [
                &self.connection_failures,
                &self.silent_connections,
                &self.resends,
                &self.turned_away,
            ] {
                drop(counters.get_or_create_owned(&label));
            }
            for protocol in [Protocol::Http1, Protocol::Http2] {
                drop(
                    self.connections
                        .get_or_create_owned(&ByClassAndProtocol::of(*class, protocol)),
                );
            }
        }
    }

    /// The gauge of streams of one class, for those who count each of them.
    pub(super) fn streams(&self, class: StreamClass) -> Gauge {
        self.open_streams.get_or_create_owned(&ByClass::of(class))
    }

    /// Streams open now, in one class.
    #[must_use]
    pub fn open_streams(&self, class: StreamClass) -> i64 {
        self.open_streams.get_or_create(&ByClass::of(class)).get()
    }

    /// Connections opened so far, in one class over both protocols.
    #[must_use]
    pub fn connections(&self, class: StreamClass) -> u64 {
        let of = |protocol| {
            self.connections
                .get_or_create(&ByClassAndProtocol::of(class, protocol))
                .get()
        };
        of(Protocol::Http1) + of(Protocol::Http2)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByClass {
    class: Class,
}

impl ByClass {
    pub(super) fn of(class: StreamClass) -> Self {
        Self { class: class.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByClassAndProtocol {
    class: Class,
    protocol: ProtocolLabel,
}

impl ByClassAndProtocol {
    pub(super) fn of(class: StreamClass, protocol: Protocol) -> Self {
        let protocol = match protocol {
            Protocol::Http1 => ProtocolLabel::Http1,
            Protocol::Http2 => ProtocolLabel::Http2,
        };
        Self {
            class: class.into(),
            protocol,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Class {
    Short,
    Watch,
    FollowLog,
    Proxied,
    Upgrade,
}

impl From<StreamClass> for Class {
    fn from(class: StreamClass) -> Self {
        match class {
            StreamClass::Short => Self::Short,
            StreamClass::Watch => Self::Watch,
            StreamClass::FollowLog => Self::FollowLog,
            StreamClass::Proxied => Self::Proxied,
            StreamClass::Upgrade => Self::Upgrade,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ProtocolLabel {
    Http1,
    Http2,
}
