//! Which site a request is for: the gateway host or one cluster. Decided by the host name and the raw path prefix alone,
//! before anything reads the target (DESIGN, "Hosts").

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use model::cluster::ClusterId;
use model::request::split_cluster_prefix;

use crate::audit::Trail;
use crate::body::Outbound;
use crate::listener::{Head, Inbound};

/// What answers for the gateway host: sign-in, tokens, our API.
pub trait GatewayHost: Send + Sync + 'static {
    /// Answers one request. It authenticates and records by itself.
    fn serve<'a>(&'a self, trail: &'a Trail, request: Request<Inbound>) -> BoxFuture<'a, Response<Outbound>>;
}

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The gateway host.
    Gateway,
    /// A cluster, and the target that it is to see.
    Cluster {
        /// Which.
        id: ClusterId,
        /// The raw target without the prefix.
        target: Bytes,
    },
    /// Nothing here has that name.
    Unknown,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serves {
    /// The gateway host.
    pub gateway: bool,
    /// Clusters.
    pub kubernetes: bool,
}

/// All names of the process.
#[derive(Clone, Debug)]
pub struct Sites {
    gateway_host: String,
    clusters: HashSet<ClusterId>,
    listeners: HashMap<Arc<str>, Serves>,
}

/// The one path that is answered without identity on a listener that serves clusters alone.
pub const WELL_KNOWN: &str = "/.well-known/gatescribe";

impl Sites {
    /// `gateway_host` is the host of the configured `url`, without port.
    #[must_use]
    pub fn new(
        gateway_host: &str,
        clusters: impl IntoIterator<Item = ClusterId>,
        listeners: HashMap<Arc<str>, Serves>,
    ) -> Self {
        Self {
            gateway_host: gateway_host.to_ascii_lowercase(),
            clusters: clusters.into_iter().collect(),
            listeners,
        }
    }

    /// Where this head belongs.
    #[must_use]
    pub fn site(&self, listener: &Arc<str>, head: &Head) -> Site {
        let (Some(host), Some(serves)) = (&head.host, self.listeners.get(listener)) else {
            return Site::Unknown;
        };
        let name = host.name();
        if serves.kubernetes
            && let Some(id) = self.by_name(name)
        {
            return Site::Cluster {
                id,
                target: head.target.clone(),
            };
        }
        let is_gateway = name == self.gateway_host;
        let is_address = host.ip().is_some() || name == "localhost";
        if serves.kubernetes && (is_gateway || is_address) {
            if let Some(prefixed) = split_cluster_prefix(&head.target) {
                return self.by_path(prefixed.cluster, head.target.slice_ref(prefixed.rest));
            }
            if path(&head.target) == WELL_KNOWN.as_bytes() {
                return Site::Gateway;
            }
        }
        if serves.gateway && (is_gateway || is_address) {
            Site::Gateway
        } else {
            Site::Unknown
        }
    }

    fn by_name(&self, name: &str) -> Option<ClusterId> {
        let label = name.strip_suffix(&self.gateway_host)?.strip_suffix('.')?;
        ClusterId::new(label).ok().filter(|id| self.clusters.contains(id))
    }

    fn by_path(&self, name: &str, target: Bytes) -> Site {
        match ClusterId::new(name).ok().filter(|id| self.clusters.contains(id)) {
            Some(id) => Site::Cluster { id, target },
            None => Site::Unknown,
        }
    }
}

fn path(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}
