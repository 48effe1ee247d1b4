//! Everything that is counted, in one registry, and the traces.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use proxy::listener::ListenerMetrics;
use proxy::observe::Requests;
use proxy::session::{LongCallMetrics, Registry as LongCalls};
use proxy::upstream::UpstreamMetrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{metrics, telemetry};
use crate::config::Config;

/// The counters of all stations. The registry shows them; the others are handed to who counts.
pub(super) struct Measures {
    pub(super) registry: Registry,
    pub(super) listeners: Arc<ListenerMetrics>,
    pub(super) upstream: UpstreamMetrics,
    pub(super) policy: metrics::PolicyMetrics,
    pub(super) reload: metrics::ReloadMetrics,
    pub(super) requests: Arc<Requests>,
    pub(super) calls: Arc<LongCalls>,
    /// What sends traces.
    pub(super) traces: Option<JoinHandle<()>>,
}

impl Measures {
    /// Registers all of them, and begins to send traces where that is configured.
    ///
    /// # Errors
    /// The collector's address cannot be used.
    pub(super) fn begin(config: &Config, stop: &CancellationToken) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        let (listeners, upstream) = (Arc::new(ListenerMetrics::default()), UpstreamMetrics::default());
        let (long_calls, policy, reload) = (
            LongCallMetrics::default(),
            metrics::PolicyMetrics::default(),
            metrics::ReloadMetrics::default(),
        );
        listeners.register(&mut registry);
        upstream.register(&mut registry);
        long_calls.register(&mut registry);
        policy.register(&mut registry);
        reload.register(&mut registry);
        registry.register_collector(Box::new(metrics::Process::new()));
        let telemetry = telemetry::begin(&config.telemetry, stop.clone())?;
        registry.register_collector(Box::new(telemetry.counts));
        let names = config.clusters.iter().map(|cluster| cluster.name.as_str());
        let requests = Arc::new(Requests::traced(names, telemetry.spans.as_ref()));
        registry.register_collector(Box::new(Arc::clone(&requests)));
        let most = usize::try_from(config.limits.long_calls).unwrap_or(usize::MAX);
        Ok(Self {
            registry,
            listeners,
            upstream,
            policy,
            reload,
            requests,
            calls: LongCalls::new(most, long_calls),
            traces: telemetry.sender,
        })
    }
}
