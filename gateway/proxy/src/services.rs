//! What is published: for each service the connections to it, found by host and path.
//!
//! One table at a time, immutable; a change of the documents is a new one, and a request goes on with the one that it began with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use access::rule::{Published, Services};
use http::HeaderMap;
use model::origin::{Front, Origin};
use model::service::{HostName, ServiceName};
use tokio::sync::watch;

use crate::asserted::Assertions;
use crate::body::Uplink;
use crate::chain::Assertive;
use crate::decision::ServiceStation;
use crate::headers::{NoHeader, Rewriting, ServiceHeaders, confine_switch};
use crate::upstream::Pool;

/// What stands behind one service's name.
#[derive(Debug)]
pub struct ServiceGate {
    /// What its document says.
    pub published: Published,
    /// Connections to it.
    pub pool: Pool<Uplink>,
    /// What its document says of headers.
    pub(crate) headers: ServiceHeaders,
    /// How its addresses are written anew, by host; empty where the document does not ask for it.
    pub(crate) rewriting: Vec<(HostName, Rewriting)>,
}

/// A service cannot be served as its document says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// It names headers that are none.
    #[error(transparent)]
    Headers(#[from] NoHeader),
    /// Browsers could not be sent there: plain http stays on this machine.
    #[error("`{0}` cannot be published by a gateway that speaks plain http: only `localhost` and names below it can")]
    NoOrigin(HostName),
}

impl ServiceGate {
    /// What stands behind the name of a published service, reached by `pool`.
    ///
    /// # Errors
    /// See [`NotServed`].
    pub fn new(published: Published, pool: Pool<Uplink>, front: Front) -> Result<Self, NotServed> {
        let mut rewriting = Vec::new();
        for host in published.hosts() {
            let origin = front.origin_of(host).ok_or_else(|| NotServed::NoOrigin(host.clone()))?;
            rewriting.extend(Rewriting::of(&published, &origin).map(|anew| (host.clone(), anew)));
        }
        Ok(Self {
            headers: ServiceHeaders::of(&published)?,
            published,
            pool,
            rewriting,
        })
    }

    /// What of its switch of protocols reaches the client.
    pub(crate) fn confine_switch(&self, headers: &mut HeaderMap) {
        confine_switch(headers, !self.published.path().is_empty());
        self.headers.to_client(headers);
    }

    /// How its addresses are written anew for who asked on this host.
    pub(crate) fn rewriting(&self, host: &HostName) -> Option<&Rewriting> {
        self.rewriting.iter().find(|(of, _)| of == host).map(|(_, anew)| anew)
    }
}

/// All published services.
#[derive(Default)]
pub struct ServiceTable {
    services: Services,
    gates: HashMap<ServiceName, Arc<ServiceGate>>,
}

impl fmt::Debug for ServiceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTable")
            .field("services", &self.gates.keys())
            .finish_non_exhaustive()
    }
}

impl ServiceTable {
    /// The services and what stands behind each. One without connections is answered as one that cannot be reached.
    #[must_use]
    pub fn new(services: Services, gates: impl IntoIterator<Item = Arc<ServiceGate>>) -> Self {
        let gates = gates.into_iter().map(|gate| (gate.published.name().clone(), gate));
        Self {
            services,
            gates: gates.collect(),
        }
    }

    /// Whether any service stands on this host.
    #[must_use]
    pub fn has_host(&self, host: &HostName) -> bool {
        self.services.has_host(host)
    }

    /// What is published under a name, wherever its calls pass.
    #[must_use]
    pub fn published(&self, name: &ServiceName) -> Option<&Published> {
        self.services.named(name.as_str())
    }

    /// The service that answers for a decoded path on a host, and is reached from here.
    #[must_use]
    pub fn find(&self, host: &HostName, path: &str) -> Option<&Arc<ServiceGate>> {
        self.gates.get(self.services.find(host, path)?.name())
    }

    /// The service of a decoded path on a host, where an ingress forwards its calls and asks here about them.
    #[must_use]
    pub fn judged(&self, host: &HostName, path: &str) -> Option<&Published> {
        self.services
            .find(host, path)
            .filter(|published| published.is_behind_ingress())
    }
}

/// What the gate needs for calls of services.
#[derive(Clone)]
pub struct ServiceSide {
    /// What is published.
    pub table: watch::Receiver<Arc<ServiceTable>>,
    /// Who may do what there.
    pub station: Arc<ServiceStation>,
    /// Where browsers find what is published.
    pub front: Front,
    /// What tells services who calls; none: nothing does.
    pub assertions: Option<Arc<Assertions>>,
    /// Judges what workloads hand back; none: nobody acts for anybody.
    pub chains: Option<Arc<dyn Assertive>>,
    /// The origin of the gateway's URL, without a slash at its end.
    pub gateway: Arc<str>,
}

impl fmt::Debug for ServiceSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSide")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

impl ServiceSide {
    /// A gateway that publishes nothing.
    #[must_use]
    pub fn none() -> Self {
        let (_, table) = watch::channel(Arc::default());
        let (_, rules) = watch::channel(Arc::default());
        Self {
            table,
            station: Arc::new(ServiceStation::new(rules)),
            front: Front::new(model::origin::Scheme::Https, None),
            assertions: None,
            chains: None,
            gateway: "".into(),
        }
    }

    /// What is published now.
    #[must_use]
    pub fn now(&self) -> Arc<ServiceTable> {
        Arc::clone(&self.table.borrow())
    }

    /// The origin of a host of services, as browsers write it.
    #[must_use]
    pub fn origin_of(&self, host: &HostName) -> Option<Origin> {
        self.front.origin_of(host)
    }

    /// Whether cookies are set over https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.gateway.starts_with("https://")
    }
}

#[cfg(test)]
mod tests {
    use access::rule::load_files;

    use super::*;

    #[test]
    fn a_service_behind_an_ingress_is_known_by_its_name_and_nothing_is_sent_there() {
        let text = "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {name: web}\n\
                    spec: {hosts: [web.example], upstream: {ingress: true}, workloads: [shop/web]}\n";
        let services = load_files([("services.yaml", text)]).unwrap().services;
        let table = ServiceTable::new(services, []);
        let (host, name) = (HostName::new("web.example").unwrap(), ServiceName::new("web").unwrap());
        assert!(table.published(&name).is_some(), "its workloads act by what it is told");
        assert!(table.find(&host, "/").is_none() && table.judged(&host, "/").is_some());
    }
}
