//! Which site a request is for: the gateway host or one cluster. Decided by the host name and the raw path prefix alone,
//! before anything reads the target.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use model::cluster::ClusterId;
use model::request::split_cluster_prefix;
use model::service::HostName;

use crate::audit::Trail;
use crate::body::Outbound;
use crate::listener::{Head, Inbound};

/// What answers for the gateway host: sign-in, tokens, our API.
pub trait GatewayHost: Send + Sync + 'static {
    /// Answers one request. It authenticates and records by itself.
    fn serve<'a>(&'a self, trail: &'a Trail, request: Request<Inbound>) -> BoxFuture<'a, Response<Outbound>>;

    /// Answers one request for a path of ours ([`OWN_PATHS`]) on a host of services: a sign-in arrives there and ends there. It
    /// authenticates and records by itself.
    fn serve_at_service<'a>(
        &'a self,
        trail: &'a Trail,
        host: &'a HostName,
        request: Request<Inbound>,
    ) -> BoxFuture<'a, Response<Outbound>>;

    /// The page that tells a person whose browser asked a service why it is not served; with the headers of our own pages.
    fn refusal_page(&self, told: &Told<'_>) -> Response<Bytes>;
}

/// What a page of refusal says.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// Why, as one sentence.
    pub why: &'a str,
    /// What to do about it, as one sentence; none where nothing is known.
    pub remedy: Option<&'a str>,
    /// Which service.
    pub service: Option<&'a str>,
    /// As whom they are signed in.
    pub user: Option<&'a str>,
    /// The request's `Audit-ID`, where there is a record under it.
    pub id: Option<&'a str>,
    /// Where to sign in and come back, where that helps.
    pub sign_in: Option<&'a str>,
}

/// Paths of ours on the hosts of services; no service is asked for them.
pub const OWN_PATHS: &str = "/.gatescribe/";

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
    /// A host of services.
    Service(HostName),
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
    /// Published services.
    pub services: bool,
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

    /// Where this head belongs. `is_published` says whether services stand on a host; none takes a name of the gateway's or a
    /// cluster's.
    #[must_use]
    pub fn site(&self, listener: &Arc<str>, head: &Head, is_published: impl Fn(&HostName) -> bool) -> Site {
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
            return Site::Gateway;
        }
        let is_ours = is_gateway || is_address || self.by_name(name).is_some();
        if serves.services
            && !is_ours
            && let Some(host) = HostName::new(name).ok().filter(is_published)
        {
            return Site::Service(host);
        }
        Site::Unknown
    }

    /// Whether a host name leads to the gateway itself or to a cluster, so that no service can stand there.
    #[must_use]
    pub fn has(&self, host: &HostName) -> bool {
        let name = host.as_str();
        name == self.gateway_host || name == "localhost" || self.by_name(name).is_some()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Host;

    const PODS: &str = "/api/v1/pods?limit=1";
    const PREFIXED: &str = "/clusters/prod/api/v1/pods?limit=1";

    /// What `listener` of a gateway at `Gate.Example` with the clusters `prod` and `dev` makes of a host and a target.
    fn site(listener: &str, host: &str, target: &'static str) -> Site {
        let serves = |gateway, kubernetes| Serves {
            gateway,
            kubernetes,
            services: gateway,
        };
        let listeners = [
            ("both", serves(true, true)),
            ("gateway", serves(true, false)),
            ("kubernetes", serves(false, true)),
        ];
        let listeners = listeners.map(|(name, serves)| (Arc::from(name), serves)).into();
        let clusters = ["prod", "dev"].map(|name| ClusterId::new(name).unwrap());
        let head = Head {
            target: Bytes::from_static(target.as_bytes()),
            host: Host::parse(host.as_bytes()).ok(),
            violation: None,
            header_lines: 1,
            header_bytes: 1,
            upgrade: None,
        };
        let published = ["shop.example", "prod.gate.example", "gate.example", "localhost"];
        let is_published = |host: &HostName| published.contains(&host.as_str());
        Sites::new("Gate.Example", clusters, listeners).site(&Arc::from(listener), &head, is_published)
    }

    fn cluster(name: &str, target: &'static str) -> Site {
        Site::Cluster {
            id: ClusterId::new(name).unwrap(),
            target: Bytes::from_static(target.as_bytes()),
        }
    }

    #[test]
    fn a_clusters_host_name_in_any_spelling_is_that_cluster_with_the_whole_target() {
        for host in [
            "prod.gate.example",
            "PROD.Gate.EXAMPLE",
            "prod.gate.example:8443",
            "prod.gate.example.",
        ] {
            assert_eq!(site("both", host, PODS), cluster("prod", PODS), "{host}");
            assert_eq!(site("kubernetes", host, PODS), cluster("prod", PODS), "{host}");
        }
        assert_eq!(site("both", "dev.gate.example", PODS), cluster("dev", PODS));
        let foreign = site("both", "dev.gate.example", PREFIXED);
        assert_eq!(
            foreign,
            cluster("dev", PREFIXED),
            "a prefix on a cluster's host is the API server's path, no choice"
        );
        let own = site("both", "prod.gate.example", WELL_KNOWN);
        assert_eq!(own, cluster("prod", WELL_KNOWN), "and so is every path of ours");
    }

    #[test]
    fn a_host_of_services_is_one_where_they_are_served_and_never_a_name_of_ours() {
        let shop = Site::Service(HostName::new("shop.example").unwrap());
        for host in ["shop.example", "SHOP.example:8443", "shop.example."] {
            for target in [PODS, PREFIXED, WELL_KNOWN] {
                assert_eq!(site("both", host, target), shop, "{host}{target}");
                assert_eq!(site("kubernetes", host, target), Site::Unknown, "{host}{target}");
            }
        }
        assert_eq!(site("both", "a.shop.example", PODS), Site::Unknown);
        assert_eq!(site("gateway", "prod.gate.example", PODS), Site::Unknown, "a cluster's");
        assert_eq!(site("both", "gate.example", PODS), Site::Gateway);
        assert_eq!(site("both", "localhost", PODS), Site::Gateway);
    }

    #[test]
    fn a_name_that_only_looks_like_a_clusters_is_unknown_on_every_listener() {
        for host in [
            "other.gate.example",
            "a.prod.gate.example",
            "prodgate.example",
            "prod-gate.example",
            "prod.gate.example.evil.example",
            "gate.example.prod",
            "evil.example",
            "prod",
        ] {
            for listener in ["both", "gateway", "kubernetes", "no-such-listener"] {
                for target in [PODS, PREFIXED, WELL_KNOWN] {
                    assert_eq!(site(listener, host, target), Site::Unknown, "{listener} {host}{target}");
                }
            }
        }
        assert_eq!(
            site("gateway", "prod.gate.example", PODS),
            Site::Unknown,
            "no cluster is served there"
        );
    }

    #[test]
    fn a_prefix_chooses_on_the_gateways_own_name_and_on_addresses() {
        for host in ["gate.example", "127.0.0.1:8443", "[::1]:8443", "localhost"] {
            for listener in ["both", "kubernetes"] {
                assert_eq!(
                    site(listener, host, PREFIXED),
                    cluster("prod", PODS),
                    "{listener} {host}"
                );
                assert_eq!(
                    site(listener, host, "/clusters/other/api"),
                    Site::Unknown,
                    "{listener} {host}"
                );
                assert_eq!(site(listener, host, WELL_KNOWN), Site::Gateway, "{listener} {host}");
            }
            assert_eq!(site("gateway", host, PREFIXED), Site::Gateway, "{host}");
            assert_eq!(site("both", host, "/authorize"), Site::Gateway, "{host}");
            assert_eq!(site("kubernetes", host, "/authorize"), Site::Unknown, "{host}");
        }
    }
}
