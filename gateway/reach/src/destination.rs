//! Where a request goes: to a cluster as its impersonator, or to one published service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::chain::chain;
use model::service::ServiceName;
use tokio::sync::{Notify, watch};

use crate::address::{AddressBook, Resolve, SystemResolver};
use crate::connection::{ClusterConnection, Tuning, dial_within};
use crate::credential::Snapshot;
use crate::dial::Dial;
use crate::endpoints::Endpoints;
use crate::guard::Guard;
use crate::identity::Identity;
use crate::source::{Authorities, CredentialSource};
use crate::stream::{Established, Peer, Security};
use crate::{ReachError, Scheme, Server};

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
            Self::Service(service) => {
                let way = match &service.way {
                    Way::Addresses(book) => Dial::Tcp(book),
                    Way::Socket { path, server } => Dial::Unix { path, server },
                };
                let dialled = dial_within(way, &service.identity, (security, service.protocol), &service.tuning).await;
                service.note(dialled.as_ref().err());
                dialled
            }
        }
    }

    /// Whether a connection to `peer` that stands still leads there. Not to a pod that the cluster no longer says is ready: it may stand
    /// for years, and what was taken out of a Service is to get no more calls.
    #[must_use]
    pub fn has(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Service(service), Peer::Tcp(address)) => match &service.way {
                Way::Addresses(book) => book.has(address),
                Way::Socket { .. } => true,
            },
            (Self::Cluster(_), _) | (_, Peer::Unix) => true,
        }
    }

    /// A connection to `peer` went silent: new ones go elsewhere for a while.
    pub fn report_lost(&self, peer: Peer) {
        match (self, peer) {
            (Self::Cluster(cluster), Peer::Tcp(address)) => cluster.report_lost(address),
            (Self::Service(service), Peer::Tcp(address)) => {
                if let Way::Addresses(book) = &service.way {
                    book.failed(address);
                }
            }
            // There is no other way to a socket of this machine.
            (_, Peer::Unix) => {}
        }
    }
}

/// What the composition root says about a service. Plain values.
#[derive(Clone, Debug)]
pub struct ServiceSource {
    /// Where it is.
    pub place: ServicePlace,
    /// Which HTTP it speaks.
    pub protocol: ServiceProtocol,
    /// Which certificate authorities vouch for it; not looked at where TLS is not spoken.
    pub authorities: Authorities,
    /// The name in its certificate, where that is not the host of the URL.
    pub tls_server_name: Option<String>,
    /// The client certificate that we show it, where it asks for one.
    pub certificate: Option<CredentialSource>,
}

/// Where a service is. Its URL is `http://host[:port][/prefix]` or `https://…`.
#[derive(Clone, Debug)]
pub enum ServicePlace {
    /// At one or several URLs.
    Servers(Vec<String>),
    /// At the pods of a Service of a cluster.
    Pods {
        /// What it is asked as, such as `http://web.shop.svc:80`. Its host is not resolved and its port not dialled.
        url: String,
        /// Where they are. It ends when this connection is dropped, as nobody listens then.
        endpoints: watch::Receiver<Endpoints>,
    },
    /// At a socket of this machine.
    Socket {
        /// Its absolute path.
        path: PathBuf,
        /// What it is asked as, such as `http://localhost`.
        url: String,
    },
}

/// Which HTTP a service speaks. A connection that is to be switched ([`Security::Http1Only`]) speaks HTTP/1.1 whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceProtocol {
    /// Over TLS what it chooses (ALPN), in clear text HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 over TLS; who does not choose it is not spoken to.
    H2,
    /// HTTP/2 in clear text with prior knowledge (RFC 9113 §3.3); over TLS as [`ServiceProtocol::Auto`].
    H2c,
}

/// One published service, reachable.
#[derive(Debug)]
pub struct ServiceConnection {
    name: ServiceName,
    way: Way,
    protocol: ServiceProtocol,
    identity: Identity,
    tuning: Tuning,
    /// Why the last dial failed.
    trouble: Mutex<Option<Arc<str>>>,
}

#[derive(Debug)]
enum Way {
    Addresses(Arc<AddressBook>),
    Socket { path: PathBuf, server: Arc<Server> },
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
        let ServiceSource {
            place,
            protocol,
            authorities,
            tls_server_name,
            certificate,
        } = source;
        let (way, speaks_tls) = way(place, tls_server_name.as_deref(), &tuning, resolver)?;
        let authorities = if speaks_tls { authorities } else { Authorities::None };
        let certificate = certificate.unwrap_or(CredentialSource::None);
        Ok(Self {
            name,
            way,
            protocol,
            identity: Identity::load(authorities, certificate, Arc::new(Notify::new()))?,
            tuning,
            trouble: Mutex::default(),
        })
    }

    /// Which service this is.
    #[must_use]
    pub const fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Every end in the order the next dial would try them.
    ///
    /// # Errors
    /// No name resolved, now or earlier; an address that no service may be behind; no pod.
    pub async fn peers(&self) -> Result<Vec<Peer>, ReachError> {
        match &self.way {
            Way::Addresses(book) => {
                let found = book.candidates().await?;
                Ok(found
                    .into_iter()
                    .map(|candidate| Peer::Tcp(candidate.address))
                    .collect())
            }
            Way::Socket { .. } => Ok(vec![Peer::Unix]),
        }
    }

    /// Why the last dial failed, with its causes; none once one succeeds.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: Option<&ReachError>) {
        let told = error.map(|error| chain(error).into());
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// Reads the certificate files again, now. Blocking.
    ///
    /// # Errors
    /// They cannot be read or used; what was read before stays in use.
    pub fn refresh(&self) -> Result<bool, ReachError> {
        self.identity.reread()
    }
}

/// How a service is dialled, and whether TLS is spoken then.
fn way(
    place: ServicePlace,
    tls_name: Option<&str>,
    tuning: &Tuning,
    resolver: Arc<dyn Resolve>,
) -> Result<(Way, bool), ReachError> {
    let (resolve_timeout, back_off) = (tuning.resolve_timeout, tuning.back_off);
    let is_tls = |server: &Server| server.scheme() == Scheme::Https;
    match place {
        ServicePlace::Servers(urls) => {
            let servers = urls.iter().map(|url| Server::of_service(url, tls_name));
            let servers = servers.collect::<Result<Vec<_>, _>>()?;
            if servers.is_empty() {
                return Err(ReachError::NoServer);
            }
            let speaks_tls = servers.iter().any(is_tls);
            let book = AddressBook::new(servers, Guard::Service, resolver, resolve_timeout, back_off);
            Ok((Way::Addresses(Arc::new(book)), speaks_tls))
        }
        ServicePlace::Pods { url, endpoints } => {
            let server = Server::of_service(&url, tls_name)?;
            let speaks_tls = is_tls(&server);
            let book = AddressBook::of_pods(server, endpoints, resolve_timeout, back_off);
            Ok((Way::Addresses(Arc::new(book)), speaks_tls))
        }
        ServicePlace::Socket { path, url } => {
            let server = Server::of_service(&url, tls_name)?;
            is_absolute(&path)?;
            let speaks_tls = is_tls(&server);
            let server = Arc::new(server);
            Ok((Way::Socket { path, server }, speaks_tls))
        }
    }
}

/// A relative path would lead elsewhere with the folder in which the gateway was started.
fn is_absolute(path: &Path) -> Result<(), ReachError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(ReachError::ServerUrl {
        url: path.display().to_string(),
        reason: "the path of a socket is absolute",
    })
}
