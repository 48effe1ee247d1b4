//! Where a request goes: to a cluster as its impersonator, or to one published service.

use std::net::SocketAddr;
use std::sync::Arc;

use model::service::ServiceName;
use tokio::sync::Notify;

use crate::address::{AddressBook, Resolve, SystemResolver};
use crate::connection::{ClusterConnection, Tuning, dial_within};
use crate::credential::Snapshot;
use crate::guard::Guard;
use crate::identity::Identity;
use crate::source::{Authorities, CredentialSource};
use crate::stream::{Established, Security};
use crate::{ReachError, Server};

/// One of the two kinds of upstream, for whoever opens connections.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A cluster, by the credential that may impersonate.
    Cluster(Arc<ClusterConnection>),
    /// A service, with no credential but a client certificate.
    Service(Arc<ServiceConnection>),
}

impl From<Arc<ClusterConnection>> for Destination {
    fn from(cluster: Arc<ClusterConnection>) -> Self {
        Self::Cluster(cluster)
    }
}

impl From<Arc<ServiceConnection>> for Destination {
    fn from(service: Arc<ServiceConnection>) -> Self {
        Self::Service(service)
    }
}

impl Destination {
    /// The name of the cluster or the service.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => cluster.id().as_str(),
            Self::Service(service) => service.name.as_str(),
        }
    }

    /// What proves us there.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Cluster(cluster) => cluster.impersonator(),
            Self::Service(service) => &service.identity,
        }
    }

    /// The credential as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.identity().current()
    }

    /// Opens a connection. Cancel-safe.
    ///
    /// # Errors
    /// [`ReachError`] of the last address tried.
    pub async fn dial(&self, security: Security) -> Result<Established, ReachError> {
        match self {
            Self::Cluster(cluster) => cluster.dial(cluster.impersonator(), security).await,
            Self::Service(service) => dial_within(&service.book, &service.identity, security, &service.tuning).await,
        }
    }

    /// A connection to `peer` went silent: new ones go elsewhere for a while.
    pub fn report_lost(&self, peer: SocketAddr) {
        match self {
            Self::Cluster(cluster) => cluster.report_lost(peer),
            Self::Service(service) => service.book.failed(peer),
        }
    }
}

/// What the composition root says about a service. Plain values.
#[derive(Clone, Debug)]
pub struct ServiceSource {
    /// `http://host[:port][/prefix]` or `https://…`, one or several of the same service.
    pub servers: Vec<String>,
    /// Which certificate authorities vouch for it.
    pub authorities: Authorities,
    /// The name in its certificate, where that is not the host of the URL.
    pub tls_server_name: Option<String>,
    /// The client certificate that we show it, where it asks for one.
    pub certificate: Option<CredentialSource>,
}

/// One published service, reachable.
#[derive(Debug)]
pub struct ServiceConnection {
    name: ServiceName,
    book: Arc<AddressBook>,
    identity: Identity,
    tuning: Tuning,
}

impl ServiceConnection {
    /// Reads and checks everything; opens no connection. Blocking (files), meant for start and reload.
    ///
    /// # Errors
    /// Anything of [`ReachError`] whose fault is the operator's.
    pub fn new(name: ServiceName, source: ServiceSource, tuning: Tuning) -> Result<Self, ReachError> {
        Self::with_resolver(name, source, tuning, Arc::new(SystemResolver))
    }

    /// As [`ServiceConnection::new`], with another resolver.
    ///
    /// # Errors
    /// As [`ServiceConnection::new`].
    pub fn with_resolver(
        name: ServiceName,
        source: ServiceSource,
        tuning: Tuning,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ReachError> {
        let tls_name = source.tls_server_name.as_deref();
        let servers = source.servers.iter().map(|url| Server::of_service(url, tls_name));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(ReachError::NoServer);
        }
        let certificate = source.certificate.unwrap_or(CredentialSource::None);
        let book = AddressBook::new(
            servers,
            Guard::Service,
            resolver,
            tuning.resolve_timeout,
            tuning.back_off,
        );
        Ok(Self {
            name,
            book: Arc::new(book),
            identity: Identity::load(source.authorities, certificate, Arc::new(Notify::new()))?,
            tuning,
        })
    }

    /// Which service this is.
    #[must_use]
    pub const fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Every address in the order the next dial would try them.
    ///
    /// # Errors
    /// No name resolved, now or earlier; an address that no service may be behind.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, ReachError> {
        let found = self.book.candidates().await?;
        Ok(found.into_iter().map(|candidate| candidate.address).collect())
    }

    /// Reads the certificate files again, now. Blocking.
    ///
    /// # Errors
    /// They cannot be read or used; what was read before stays in use.
    pub fn refresh(&self) -> Result<bool, ReachError> {
        self.identity.reread()
    }
}
