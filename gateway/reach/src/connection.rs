//! One cluster, reachable: its servers, its two identities, and how they stay fresh.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::cluster::ClusterId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::address::{AddressBook, Resolve, SystemResolver};
use crate::destination::ServiceProtocol;
use crate::dial::{self, Dial, Limits, Speak};
use crate::guard::Guard;
use crate::identity::Identity;
use crate::source::{Authorities, ClusterSource, CredentialSource, Explicit, InCluster};
use crate::stream::{Established, Security};
use crate::{ReachError, Server, kubeconfig};

/// Time limits, all with working defaults.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// For a whole dial, over all addresses.
    pub connect_timeout: Duration,
    /// For TLS on one address.
    pub handshake_timeout: Duration,
    /// The head start of one address before the next is tried beside it (RFC 8305 §5).
    pub stagger: Duration,
    /// For one name resolution.
    pub resolve_timeout: Duration,
    /// How long a failing address is avoided the first time; doubles up to thirty times this.
    pub back_off: Duration,
    /// Between two readings of the credential files.
    pub reread_every: Duration,
    /// Between two readings caused by refused credentials.
    pub reread_cool_down: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(8),
            handshake_timeout: Duration::from_secs(3),
            stagger: Duration::from_millis(250),
            resolve_timeout: Duration::from_secs(2),
            back_off: Duration::from_secs(1),
            // Half of the minute that is promised: one missed turn stays within it.
            reread_every: Duration::from_secs(30),
            reread_cool_down: Duration::from_secs(1),
        }
    }
}

/// One cluster and all that is needed to open connections to it.
#[derive(Debug)]
pub struct ClusterConnection {
    id: ClusterId,
    book: Arc<AddressBook>,
    impersonator: Identity,
    observer: Identity,
    reread: Arc<Notify>,
    tuning: Tuning,
}

/// What one reading of the files found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The impersonator has a new snapshot.
    pub impersonator: bool,
    /// The observer has a new snapshot.
    pub observer: bool,
}

impl ClusterConnection {
    /// Reads and checks everything; opens no connection. Blocking (files), meant for start and reload.
    ///
    /// # Errors
    /// Anything of [`ReachError`] whose fault is the operator's.
    pub fn new(id: ClusterId, source: ClusterSource, tuning: Tuning) -> Result<Self, ReachError> {
        Self::with_resolver(id, source, tuning, Arc::new(SystemResolver))
    }

    /// As [`ClusterConnection::new`], with another resolver.
    ///
    /// # Errors
    /// As [`ClusterConnection::new`].
    pub fn with_resolver(
        id: ClusterId,
        source: ClusterSource,
        tuning: Tuning,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ReachError> {
        let explicit = match source {
            ClusterSource::Explicit(explicit) => explicit,
            ClusterSource::InCluster(pod) => in_cluster(pod),
            ClusterSource::Kubeconfig {
                path,
                context,
                observer_context,
            } => kubeconfig::read(&path, context.as_deref(), observer_context.as_deref())?,
        };
        Self::build(id, explicit, tuning, resolver)
    }

    fn build(
        id: ClusterId,
        explicit: Explicit,
        tuning: Tuning,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, ReachError> {
        let Explicit {
            servers,
            authorities,
            tls_server_name,
            impersonator,
            observer,
        } = explicit;
        let name = tls_server_name.as_deref();
        let servers = servers
            .iter()
            .map(|url| Server::parse(url, name))
            .collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(ReachError::NoServer);
        }
        let reread = Arc::new(Notify::new());
        Ok(Self {
            id,
            book: Arc::new(AddressBook::new(
                servers,
                Guard::Cluster,
                resolver,
                tuning.resolve_timeout,
                tuning.back_off,
            )),
            impersonator: Identity::load(authorities.clone(), impersonator, Arc::clone(&reread))?,
            observer: Identity::load(authorities, observer, Arc::clone(&reread))?,
            reread,
            tuning,
        })
    }

    /// Which cluster this is.
    #[must_use]
    pub fn id(&self) -> &ClusterId {
        &self.id
    }

    /// The credential that may impersonate and nothing else.
    #[must_use]
    pub fn impersonator(&self) -> &Identity {
        &self.impersonator
    }

    /// The credential that may watch what the feeds need.
    #[must_use]
    pub fn observer(&self) -> &Identity {
        &self.observer
    }

    /// Opens a connection as `identity`. Cancel-safe.
    ///
    /// # Errors
    /// [`ReachError`] of the last address tried.
    pub async fn dial(&self, identity: &Identity, security: Security) -> Result<Established, ReachError> {
        dial_within(
            Dial::Tcp(&self.book),
            identity,
            (security, ServiceProtocol::Auto),
            &self.tuning,
        )
        .await
    }

    /// Every address in the order the next dial would try them.
    ///
    /// # Errors
    /// No name resolved, now or earlier; a plain http name that is not this machine.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, ReachError> {
        Ok(self
            .book
            .candidates()
            .await?
            .into_iter()
            .map(|candidate| candidate.address)
            .collect())
    }

    /// A connection to `peer` went silent: new ones go elsewhere for a while.
    pub fn report_lost(&self, peer: SocketAddr) {
        self.book.failed(peer);
    }

    /// Reads the credential files again, now. Blocking.
    ///
    /// # Errors
    /// The first of the two failures; the other identity is read nevertheless, and what failed stays as it was.
    pub fn refresh(&self) -> Result<Refreshed, ReachError> {
        let impersonator = self.impersonator.reread();
        let observer = self.observer.reread();
        Ok(Refreshed {
            impersonator: impersonator?,
            observer: observer?,
        })
    }

    /// Keeps both credentials fresh until dropped: every [`Tuning::reread_every`], and soon after
    /// [`Identity::was_refused`]. The caller owns the task this runs in.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            let began = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(self.tuning.reread_every) => {}
                () = self.reread.notified() => {}
            }
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.refresh()).await {
                Ok(Ok(Refreshed {
                    impersonator: false,
                    observer: false,
                })) => {}
                Ok(Ok(refreshed)) => tracing::info!(
                    cluster = %self.id,
                    credential.impersonator = refreshed.impersonator,
                    credential.observer = refreshed.observer,
                    "cluster credentials read anew"
                ),
                Ok(Err(error)) => tracing::error!(
                    cluster = %self.id,
                    error = &error as &dyn std::error::Error,
                    "cluster credentials cannot be read anew; the previous ones stay in use"
                ),
                Err(_) => tracing::error!(cluster = %self.id, "reading cluster credentials ended unexpectedly"),
            }
            // A storm of 401 answers costs one reading per cool-down.
            tokio::time::sleep_until(began + self.tuning.reread_cool_down).await;
        }
    }
}

/// Opens a connection within the limits of `tuning`. Cancel-safe.
pub(crate) async fn dial_within(
    way: Dial<'_>,
    identity: &Identity,
    (security, protocol): (Security, ServiceProtocol),
    tuning: &Tuning,
) -> Result<Established, ReachError> {
    let within = tuning.connect_timeout;
    let limits = Limits {
        handshake: tuning.handshake_timeout,
        stagger: tuning.stagger,
    };
    let snapshot = identity.current();
    let speak = Speak {
        snapshot: &snapshot,
        security,
        protocol,
    };
    tokio::time::timeout(within, dial::dial(way, speak, limits))
        .await
        .unwrap_or(Err(ReachError::TimedOut { within }))
}

fn in_cluster(pod: InCluster) -> Explicit {
    let InCluster {
        host,
        port,
        ca_file,
        token_file,
        observer_token_file,
    } = pod;
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host
    };
    Explicit {
        servers: vec![format!("https://{host}:{port}")],
        authorities: Authorities::File(ca_file),
        tls_server_name: None,
        impersonator: CredentialSource::TokenFile(token_file),
        observer: CredentialSource::TokenFile(observer_token_file),
    }
}
