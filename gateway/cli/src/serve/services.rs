//! The services that the rule files publish: for each the connections to it, and the rules about all of them.
//!
//! Compiled off the request path whenever the files change, whole or not at all: documents that cannot be served as they are written leave
//! what was published before, and the log says why. What has not changed keeps its connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use access::rule::{Published, RuleSet, UpstreamPlace, UpstreamProtocol};
use anyhow::Context as _;
use console::{GatewayKeys, GatewayUrl};
use feeds::rules::RuleFiles;
use model::chain::chain;
use model::cluster::ClusterId;
use model::origin::Front;
use model::service::{HostName, ServiceName};
use model::time::Timestamp;
use oidc::gateway::assertion::{
    AssertionClaims, AssertionError, AssertionMintError, SignedAssertion, VerifiedAssertion,
};
use proxy::asserted::{Assertions, Asserts};
use proxy::audit::Station;
use proxy::chain::Assertive;
use proxy::decision::{ServiceRules, ServiceStation};
use proxy::identity::Identity;
use proxy::services::{NotServed, ServiceGate, ServiceSide, ServiceTable};
use proxy::site::Sites;
use proxy::upstream::{Limits, Pool, UpstreamMetrics};
use reach::{Authorities, CredentialSource, ServiceConnection, ServicePlace, ServiceProtocol, ServiceSource, Tuning};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outline::{Entry, PolicySet};
use super::recorder::{self, short_digest};

/// Between two readings of certificate files.
const REREAD_EVERY: Duration = Duration::from_secs(30);
/// Requests of one service at the same time over HTTP/1.1: how long an answer goes on is known by nobody, so that all have their place here.
const MOST_SOCKETS: usize = 4_096;

/// What is published, and what keeps it fresh.
struct Publisher {
    sites: Arc<Sites>,
    front: Front,
    metrics: UpstreamMetrics,
    connections: HashMap<ServiceName, (Arc<ServiceGate>, Arc<ServiceConnection>)>,
    version: u64,
}

/// One set of files, compiled.
struct Compiled {
    table: Arc<ServiceTable>,
    rules: Arc<ServiceRules>,
    set: Arc<PolicySet>,
}

/// Publishes what the files say, and follows them until the process ends. Within a tokio runtime.
///
/// # Errors
/// A service cannot be served as it is written.
pub(super) fn publish(
    url: &GatewayUrl,
    sites: Arc<Sites>,
    mut files: watch::Receiver<Arc<RuleFiles>>,
    metrics: UpstreamMetrics,
    audit: Arc<Station>,
    (keys, only): (Arc<GatewayKeys>, Option<ClusterId>),
    stop: &CancellationToken,
) -> anyhow::Result<ServiceSide> {
    let mut publisher = Publisher {
        sites,
        front: url.front(),
        metrics,
        connections: HashMap::new(),
        version: 0,
    };
    let first = publisher.compile(&files.borrow_and_update())?;
    let (tables, table) = watch::channel(first.table);
    let (all_rules, rules) = watch::channel(first.rules);
    let (sets, set) = watch::channel(first.set);
    tokio::spawn(recorder::policies(audit, None, set));
    let stop = stop.clone();
    tokio::spawn(async move {
        let mut reread = tokio::time::interval(REREAD_EVERY);
        loop {
            tokio::select! {
                changed = files.changed() => if changed.is_err() { return },
                _ = reread.tick() => {
                    publisher.reread().await;
                    continue;
                }
                () = stop.cancelled() => return,
            }
            let newest = Arc::clone(&files.borrow_and_update());
            match publisher.compile(&newest) {
                // The rules first: nothing is served by rules of before that its own file has narrowed.
                Ok(Compiled { table, rules, set }) => {
                    all_rules.send_replace(rules);
                    tables.send_replace(table);
                    sets.send_replace(set);
                }
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "services cannot be published so; what was published before stays"
                    );
                }
            }
        }
    });
    Ok(ServiceSide {
        table: table.clone(),
        station: Arc::new(ServiceStation::new(rules)),
        front: url.front(),
        assertions: Some(Arc::new(Assertions::new(Arc::new(Signer(Arc::clone(&keys)))))),
        chains: Some(Arc::new(Judge { keys, table, only })),
        gateway: url.as_str().into(),
    })
}

/// Whether a service is published on a host now, for whoever sends browsers there.
pub(super) fn published(services: &ServiceSide) -> Arc<dyn Fn(&HostName) -> bool + Send + Sync> {
    let table = services.table.clone();
    Arc::new(move |host| table.borrow().has_host(host))
}

/// Signs with the gateway's keys as they are in force.
struct Signer(Arc<GatewayKeys>);

impl Asserts for Signer {
    fn assert(&self, claims: &AssertionClaims, now: Timestamp) -> Result<SignedAssertion, AssertionMintError> {
        self.0.assert(claims, now)
    }
}

/// Judges what workloads hand back, by the keys and documents that are in force.
struct Judge {
    keys: Arc<GatewayKeys>,
    table: watch::Receiver<Arc<ServiceTable>>,
    /// The one cluster whose accounts are believed.
    only: Option<ClusterId>,
}

impl Assertive for Judge {
    fn verify(
        &self,
        token: &str,
        presented_by: &ServiceName,
        now: Timestamp,
    ) -> Result<VerifiedAssertion, AssertionError> {
        self.keys.assertion_verifier().verify(token, presented_by, now)
    }

    fn is_service(&self, workload: &Identity, service: &ServiceName) -> bool {
        let only = self.only.as_ref().map(ClusterId::as_str);
        let table = Arc::clone(&self.table.borrow());
        let published = table.published(service);
        published.is_some_and(|published| published.runs_as(workload.subject(), only))
    }
}

impl Publisher {
    fn compile(&mut self, files: &RuleFiles) -> anyhow::Result<Compiled> {
        let services = &files.policy.services;
        let mut connections = HashMap::new();
        for published in services.iter() {
            self.has_a_host_of_its_own(published)?;
            if published.is_behind_ingress() {
                continue; // nothing goes there from here
            }
            let name = published.name();
            let kept = self
                .connections
                .get(name)
                .filter(|(gate, _)| gate.published == *published);
            let made = match kept {
                Some((gate, connection)) => (Arc::clone(gate), Arc::clone(connection)),
                None => self.gate(published)?,
            };
            connections.insert(name.clone(), made);
        }
        self.connections = connections;
        self.version = self.version.wrapping_add(1);
        let gates = self.connections.values().map(|(gate, _)| Arc::clone(gate));
        let entry = Entry {
            name: "rule files".to_owned(),
            content: short_digest([files.digest.as_bytes()]),
        };
        let digest: Arc<str> = short_digest([entry.content.as_bytes()]).into();
        Ok(Compiled {
            table: Arc::new(ServiceTable::new(services.clone(), gates)),
            rules: Arc::new(ServiceRules {
                rules: Arc::new(RuleSet::new(files.policy.rules.clone())),
                services: Arc::new(services.clone()),
                digest: Arc::clone(&digest),
                version: self.version,
            }),
            set: Arc::new(PolicySet {
                digest,
                objects: vec![Arc::new(entry)],
            }),
        })
    }

    fn gate(&self, published: &Published) -> anyhow::Result<(Arc<ServiceGate>, Arc<ServiceConnection>)> {
        let name = published.name();
        let timeouts = published.passing().timeouts;
        let tuning = Tuning {
            connect_timeout: timeouts.connect,
            ..Tuning::default()
        };
        let source = source(published).with_context(|| format!("service `{name}`"))?;
        let connection = ServiceConnection::new(name.clone(), source, tuning);
        let connection = Arc::new(connection.with_context(|| format!("service `{name}`"))?);
        let limits = Limits {
            short_sockets: MOST_SOCKETS,
            ..Limits::default()
        };
        let pool = Pool::new(Arc::clone(&connection), limits, self.metrics.clone());
        let gate =
            ServiceGate::new(published.clone(), pool, self.front).with_context(|| format!("service `{name}`"))?;
        Ok((Arc::new(gate), connection))
    }

    fn has_a_host_of_its_own(&self, published: &Published) -> anyhow::Result<()> {
        let name = published.name();
        if let Some(host) = published.hosts().iter().find(|host| self.sites.has(host)) {
            anyhow::bail!(
                "service `{name}`: `{host}` leads to the gateway itself or to a cluster; give the service a host of its own"
            );
        }
        match published
            .hosts()
            .iter()
            .find(|host| self.front.origin_of(host).is_none())
        {
            Some(host) => Err(NotServed::NoOrigin(host.clone())).with_context(|| format!("service `{name}`")),
            None => Ok(()),
        }
    }

    async fn reread(&self) {
        for (name, (_, connection)) in &self.connections {
            let (name, connection) = (name.clone(), Arc::clone(connection));
            let read = tokio::task::spawn_blocking(move || connection.refresh()).await;
            if let Ok(Err(error)) = read {
                tracing::warn!(service = %name, error = chain(&error), "certificates of a service cannot be read; the old ones stay");
            }
        }
    }
}

/// How a service is reached, as its document says.
fn source(published: &Published) -> anyhow::Result<ServiceSource> {
    let upstream = published.upstream();
    let place = match upstream.place() {
        UpstreamPlace::Url(url) => ServicePlace::Servers(vec![url.to_string()]),
        UpstreamPlace::Unix(path) => ServicePlace::Socket {
            path: path.to_string().into(),
            url: upstream.asked_as(),
        },
        UpstreamPlace::Ingress => anyhow::bail!("an ingress forwards its calls: nothing is sent there from here"),
        UpstreamPlace::Kubernetes(_) => anyhow::bail!("its pods cannot be watched by this gateway yet; name a URL"),
    };
    let tls = upstream.tls();
    let ca_file = tls.and_then(|tls| tls.ca_file.as_ref());
    let certificate = tls.and_then(|tls| tls.client_certificate.as_ref());
    Ok(ServiceSource {
        place,
        protocol: match upstream.protocol() {
            UpstreamProtocol::Auto => ServiceProtocol::Auto,
            UpstreamProtocol::Http1 => ServiceProtocol::Http1,
            UpstreamProtocol::H2 => ServiceProtocol::H2,
            UpstreamProtocol::H2c => ServiceProtocol::H2c,
        },
        authorities: ca_file.map_or(Authorities::System, |file| Authorities::File(file.into())),
        tls_server_name: tls.and_then(|tls| tls.server_name.clone()),
        certificate: certificate.map(|(certificate, key)| CredentialSource::CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
    })
}
