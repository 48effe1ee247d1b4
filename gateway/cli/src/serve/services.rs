//! The services that the rule files publish, and those that owners of Services may publish by annotations: for each the connections to it,
//! and the rules about all of them.
//!
//! Compiled off the request path whenever files or annotations change. Files count whole or not at all: documents that cannot be served as
//! they are written leave what was published before, and the log and `/readyz` say why. An annotated Service counts alone, and never
//! keeps files from counting. What has not changed keeps its connections.

mod clusters;
mod standing;
mod told;
mod trial;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use access::rule::{KubernetesService, Published, RuleSet, Services, Unpublished, UpstreamPlace, UpstreamProtocol};
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
use proxy::upstream::{Limits, MOST_SOCKETS, Pool, UpstreamMetrics};
use reach::{
    Authorities, CredentialSource, Endpoints, ServiceConnection, ServicePlace, ServiceProtocol, ServiceSource, Tuning,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::clusters::Clusters;
pub(super) use self::clusters::has_clusters_of;
pub(super) use self::standing::Standing;
pub(super) use self::told::Told;
use super::cluster::Joined;
use super::outline::{Entry, PolicySet};
use super::recorder::{self, short_digest};

/// Between two readings of certificate files.
const REREAD_EVERY: Duration = Duration::from_secs(30);
/// Annotations that change close together count together: whoever applies a folder of Services makes one change.
const SETTLE: Duration = Duration::from_millis(100);

/// What is published, and what keeps it fresh.
struct Publisher {
    sites: Arc<Sites>,
    front: Front,
    metrics: UpstreamMetrics,
    clusters: Clusters,
    connections: HashMap<ServiceName, Made>,
    told: Vec<Unpublished>,
    version: u64,
}

/// What stands behind a service's name.
#[derive(Clone)]
struct Made {
    gate: Arc<ServiceGate>,
    connection: Arc<ServiceConnection>,
    pods: Option<watch::Receiver<Endpoints>>,
}

/// One set of files and annotations, compiled.
struct Compiled {
    table: Arc<ServiceTable>,
    rules: Arc<ServiceRules>,
    set: Arc<PolicySet>,
    standing: Standing,
}

/// What publishing needs.
pub(super) struct Parts<'a> {
    pub(super) url: &'a GatewayUrl,
    pub(super) sites: Arc<Sites>,
    pub(super) files: watch::Receiver<Arc<RuleFiles>>,
    pub(super) metrics: UpstreamMetrics,
    pub(super) audit: Arc<Station>,
    pub(super) keys: Arc<GatewayKeys>,
    /// The one cluster whose accounts are believed.
    pub(super) only: Option<ClusterId>,
    pub(super) clusters: &'a [Joined],
    pub(super) stop: &'a CancellationToken,
}

/// Publishes what the files say and what annotations may say, and follows them until the process ends. Within a tokio runtime.
///
/// # Errors
/// A service cannot be served as it is written.
pub(super) fn publish(parts: Parts<'_>) -> anyhow::Result<(ServiceSide, watch::Receiver<Arc<Standing>>)> {
    let Parts {
        url,
        sites,
        mut files,
        metrics,
        audit,
        keys,
        only,
        clusters,
        stop,
    } = parts;
    let news = Arc::new(Notify::new());
    let connections = clusters.iter().map(|joined| Arc::clone(&joined.connection));
    let mut publisher = Publisher {
        sites,
        front: url.front(),
        metrics,
        clusters: Clusters::new(connections, Arc::clone(&news)),
        connections: HashMap::new(),
        told: Vec::new(),
        version: 0,
    };
    let good = Arc::clone(&files.borrow_and_update());
    let first = publisher.compile(&good)?;
    let (tables, table) = watch::channel(first.table);
    let (all_rules, rules) = watch::channel(first.rules);
    let (sets, set) = watch::channel(first.set);
    let (says, standing) = watch::channel(Arc::new(first.standing));
    tokio::spawn(recorder::policies(audit, None, set));
    let following = Following {
        publisher,
        good,
        files,
        news,
        all_rules,
        tables,
        sets,
        says,
    };
    tokio::spawn(following.run(stop.clone()));
    let side = ServiceSide {
        table: table.clone(),
        station: Arc::new(ServiceStation::new(rules)),
        front: url.front(),
        assertions: Some(Arc::new(Assertions::new(Arc::new(Signer(Arc::clone(&keys)))))),
        chains: Some(Arc::new(Judge { keys, table, only })),
        gateway: url.as_str().into(),
    };
    Ok((side, standing))
}

/// Follows the files and the annotations.
struct Following {
    publisher: Publisher,
    /// The files that are in force.
    good: Arc<RuleFiles>,
    files: watch::Receiver<Arc<RuleFiles>>,
    news: Arc<Notify>,
    all_rules: watch::Sender<Arc<ServiceRules>>,
    tables: watch::Sender<Arc<ServiceTable>>,
    sets: watch::Sender<Arc<PolicySet>>,
    says: watch::Sender<Arc<Standing>>,
}

impl Following {
    async fn run(mut self, stop: CancellationToken) {
        let mut reread = tokio::time::interval(REREAD_EVERY);
        // When what is annotated now counts.
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                changed = self.files.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = Arc::clone(&self.files.borrow_and_update());
                    self.take(newest);
                }
                () = self.news.notified() => {
                    due.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                () = until(due) => {
                    due = None;
                    // By the files that are in force: newer ones may have been refused.
                    self.take(Arc::clone(&self.good));
                }
                _ = reread.tick() => self.publisher.reread().await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn take(&mut self, files: Arc<RuleFiles>) {
        match self.publisher.compile(&files) {
            // The rules first: nothing is served by rules of before that its own file has narrowed.
            Ok(compiled) => {
                let is_newest = Arc::ptr_eq(&files, &self.files.borrow());
                let refused = self.says.borrow().refused.clone().filter(|_| !is_newest);
                self.good = files;
                self.all_rules.send_replace(compiled.rules);
                self.tables.send_replace(compiled.table);
                self.sets.send_replace(compiled.set);
                self.says.send_replace(Arc::new(Standing {
                    refused,
                    ..compiled.standing
                }));
            }
            Err(error) => {
                let why = format!("{error:#}");
                tracing::error!(
                    error = why,
                    "services cannot be published so; what was published before stays"
                );
                self.says.send_modify(|standing| {
                    Arc::make_mut(standing).refused = Some(why.into());
                });
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
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
        let policy = &files.policy;
        self.clusters.has_all_of(policy)?;
        for published in policy.services.iter() {
            self.has_a_host_of_its_own(published)?;
        }
        self.clusters.follow(&policy.publications)?;
        let annotated = self.clusters.annotated(&policy.publications);
        let refused = |host: &HostName| self.refused(host);
        let (services, unpublished) = policy
            .services
            .with_annotated(&policy.publications, &annotated, refused);
        self.connect(&services)?;
        let is_used = |watched: &KubernetesService| {
            let mut all = services.iter().map(|published| published.upstream().place());
            all.any(|place| matches!(place, UpstreamPlace::Kubernetes(service) if service == watched))
        };
        self.clusters.keep(&policy.publications, is_used);
        self.tell(&unpublished);
        self.version = self.version.wrapping_add(1);
        Ok(self.compiled(files, services, unpublished))
    }

    /// Makes the ways to all of them; of what has not changed the old ones stay.
    fn connect(&mut self, services: &Services) -> anyhow::Result<()> {
        let mut connections = HashMap::new();
        for published in services.iter() {
            if published.is_behind_ingress() {
                continue; // nothing goes there from here
            }
            let name = published.name();
            let kept = self
                .connections
                .get(name)
                .filter(|made| made.gate.published == *published);
            let made = match kept {
                Some(made) => made.clone(),
                None => self.gate(published).with_context(|| format!("service `{name}`"))?,
            };
            connections.insert(name.clone(), made);
        }
        self.connections = connections;
        Ok(())
    }

    fn compiled(&self, files: &RuleFiles, services: Services, unpublished: Vec<Unpublished>) -> Compiled {
        let policy = &files.policy;
        let objects = entries(files, &services);
        let contents = objects.iter().map(|entry| entry.content.as_bytes());
        let digest: Arc<str> = short_digest(contents).into();
        let (services, of_files) = (Arc::new(services), Arc::new(policy.services.clone()));
        let made = self.connections.iter();
        let pods = made
            .clone()
            .filter_map(|(name, made)| Some((name.clone(), made.pods.clone()?)));
        let ways = made
            .clone()
            .map(|(name, made)| (name.clone(), Arc::clone(&made.connection)));
        let standing = Standing {
            services: Arc::clone(&services),
            of_files,
            connections: ways.collect(),
            pods: pods.collect(),
            unpublished: unpublished.into(),
            publications: policy.publications.clone().into(),
            namespaces: self.clusters.heard(),
            refused: None,
        };
        let gates = made.map(|(_, made)| Arc::clone(&made.gate));
        Compiled {
            table: Arc::new(ServiceTable::new(Services::clone(&services), gates)),
            rules: Arc::new(ServiceRules {
                rules: Arc::new(RuleSet::new(policy.rules.clone())),
                services,
                digest: Arc::clone(&digest),
                version: self.version,
            }),
            set: Arc::new(PolicySet { digest, objects }),
            standing,
        }
    }

    /// Says once why an annotated Service is not published.
    fn tell(&mut self, unpublished: &[Unpublished]) {
        for one in unpublished.iter().filter(|one| !self.told.contains(one)) {
            let Unpublished {
                cluster,
                namespace,
                name,
                what,
            } = one;
            tracing::warn!(%cluster, namespace, name, why = what, "an annotated Service is not published");
        }
        self.told = unpublished.to_vec();
    }

    fn gate(&mut self, published: &Published) -> anyhow::Result<Made> {
        let name = published.name();
        let timeouts = published.passing().timeouts;
        let tuning = Tuning {
            connect_timeout: timeouts.connect,
            ..Tuning::default()
        };
        let pods = match published.upstream().place() {
            UpstreamPlace::Kubernetes(service) => Some(self.clusters.pods(service)?),
            _ => None,
        };
        let source = source(published, pods.clone())?;
        let connection = Arc::new(ServiceConnection::new(name.clone(), source, tuning)?);
        let limits = Limits {
            // How long an answer goes on is known by nobody, so that all have their place here.
            short_sockets: MOST_SOCKETS,
            ..Limits::default()
        };
        let pool = Pool::new(Arc::clone(&connection), limits, self.metrics.clone());
        let gate = Arc::new(ServiceGate::new(published.clone(), pool, self.front)?);
        Ok(Made { gate, connection, pods })
    }

    /// Why no annotation gets this host.
    fn refused(&self, host: &HostName) -> Option<String> {
        if self.sites.has(host) {
            return Some(format!(
                "`{host}` leads to the gateway itself or to a cluster: take another host"
            ));
        }
        let has_origin = self.front.origin_of(host).is_some();
        (!has_origin).then(|| NotServed::NoOrigin(host.clone()).to_string())
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
        for (name, made) in &self.connections {
            let (name, connection) = (name.clone(), Arc::clone(&made.connection));
            let read = tokio::task::spawn_blocking(move || connection.refresh()).await;
            if let Ok(Err(error)) = read {
                tracing::warn!(service = %name, error = chain(&error), "certificates of a service cannot be read; the old ones stay");
            }
        }
    }
}

/// What the rules about services consist of: the files as a whole, and each Service that its owner publishes.
fn entries(files: &RuleFiles, services: &Services) -> Vec<Arc<Entry>> {
    let of_files = Entry {
        name: "rule files".to_owned(),
        content: short_digest([files.digest.as_bytes()]),
    };
    let annotated = services.iter().filter_map(|published| {
        let is_of_files = files.policy.services.named(published.name().as_str()).is_some();
        let UpstreamPlace::Kubernetes(service) = published.upstream().place() else {
            return None;
        };
        (!is_of_files).then(|| Entry {
            name: format!("annotated Service {service}"),
            content: short_digest([format!("{published:?}").as_bytes()]),
        })
    });
    // Rules that are about no service decide nothing here, and are recorded with the cluster's.
    let publishes = !files.policy.services.is_empty() || !files.policy.publications.is_empty();
    let of_files = publishes.then_some(of_files).into_iter();
    of_files.chain(annotated).map(Arc::new).collect()
}

/// How a service is reached, as its document says.
fn source(published: &Published, pods: Option<watch::Receiver<Endpoints>>) -> anyhow::Result<ServiceSource> {
    let upstream = published.upstream();
    let place = match upstream.place() {
        UpstreamPlace::Url(url) => ServicePlace::Servers(vec![url.to_string()]),
        UpstreamPlace::Unix(path) => ServicePlace::Socket {
            path: path.to_string().into(),
            url: upstream.asked_as(),
        },
        UpstreamPlace::Ingress => anyhow::bail!("an ingress forwards its calls: nothing is sent there from here"),
        UpstreamPlace::Kubernetes(_) => ServicePlace::Pods {
            url: upstream.asked_as(),
            endpoints: pods.context("its pods are not watched")?,
        },
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
