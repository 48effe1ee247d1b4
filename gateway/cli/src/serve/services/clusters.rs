//! What clusters say of services: where the pods of named ones are, and which ones bear annotations. Watched as far as documents name
//! it, and no further.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use access::rule::{AnnotatedService, FilePolicy, KubernetesService, Publication, UpstreamPlace};
use feeds::annotated::Annotated;
use model::cluster::ClusterId;
use reach::{ClusterConnection, Endpoints};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A namespace of a cluster.
type Place = (ClusterId, Box<str>);

/// What is watched.
pub(super) struct Clusters {
    known: BTreeMap<ClusterId, Arc<ClusterConnection>>,
    pods: HashMap<KubernetesService, watch::Receiver<Endpoints>>,
    annotated: BTreeMap<Place, Watched>,
    news: Arc<Notify>,
}

/// A namespace whose Services are looked at.
struct Watched {
    heard: watch::Receiver<Annotated>,
    /// The watch ends with it.
    _end: DropGuard,
}

impl Clusters {
    /// Of these clusters. `news` is told whenever an annotated Service comes, goes or changes.
    pub(super) fn new(connections: impl IntoIterator<Item = Arc<ClusterConnection>>, news: Arc<Notify>) -> Self {
        let known = connections
            .into_iter()
            .map(|connection| (connection.id().clone(), connection));
        Self {
            known: known.collect(),
            pods: HashMap::new(),
            annotated: BTreeMap::new(),
            news,
        }
    }

    /// # Errors
    /// A document names a cluster that the configuration does not have.
    pub(super) fn has_all_of(&self, policy: &FilePolicy) -> anyhow::Result<()> {
        has_clusters_of(policy, &self.known.keys().collect::<Vec<_>>())
    }

    /// Where the pods of a Service are; watched from now on.
    ///
    /// # Errors
    /// There is no such cluster.
    pub(super) fn pods(&mut self, service: &KubernetesService) -> anyhow::Result<watch::Receiver<Endpoints>> {
        if let Some(watched) = self.pods.get(service) {
            return Ok(watched.clone());
        }
        let connection = self.connection(service.cluster())?;
        let (says, heard) = feeds::endpoints::channel();
        // It ends when nobody listens.
        tokio::spawn(feeds::endpoints::observe(connection, service.clone(), says));
        self.pods.insert(service.clone(), heard.clone());
        Ok(heard)
    }

    /// Watches the namespaces of these documents, beside those that are watched already.
    ///
    /// # Errors
    /// There is no such cluster.
    pub(super) fn follow(&mut self, publications: &[Publication]) -> anyhow::Result<()> {
        for (cluster, namespace) in places(publications) {
            let connection = self.connection(&cluster)?;
            let news = Arc::clone(&self.news);
            self.annotated
                .entry((cluster, namespace.clone()))
                .or_insert_with(|| watched(connection, namespace, news));
        }
        Ok(())
    }

    /// The annotated Services of these documents' namespaces, as far as they are known.
    pub(super) fn annotated(&self, publications: &[Publication]) -> Vec<AnnotatedService> {
        let mut found = Vec::new();
        for place in places(publications) {
            if let Some(watched) = self.annotated.get(&place) {
                found.extend(watched.heard.borrow().services.iter().cloned());
            }
        }
        found
    }

    /// What is known of each namespace that is watched.
    pub(super) fn heard(&self) -> BTreeMap<Place, watch::Receiver<Annotated>> {
        let heard = self.annotated.iter();
        heard
            .map(|(place, watched)| (place.clone(), watched.heard.clone()))
            .collect()
    }

    /// Ends the watches that nothing in force needs.
    pub(super) fn keep(&mut self, publications: &[Publication], is_used: impl Fn(&KubernetesService) -> bool) {
        let needed: Vec<Place> = places(publications).collect();
        self.annotated.retain(|place, _| needed.contains(place));
        self.pods.retain(|service, _| is_used(service));
    }

    fn connection(&self, cluster: &ClusterId) -> anyhow::Result<Arc<ClusterConnection>> {
        let found = self.known.get(cluster).map(Arc::clone);
        found.ok_or_else(|| no_such(cluster, &self.known.keys().collect::<Vec<_>>()))
    }
}

/// # Errors
/// A document names a cluster that is not among these.
pub(in super::super) fn has_clusters_of(policy: &FilePolicy, known: &[&ClusterId]) -> anyhow::Result<()> {
    for published in policy.services.iter() {
        if let UpstreamPlace::Kubernetes(service) = published.upstream().place()
            && !known.contains(&service.cluster())
        {
            let error = no_such(service.cluster(), known);
            return Err(error.context(format!("service `{}`", published.name())));
        }
    }
    let mut clusters = policy.publications.iter().map(Publication::cluster);
    match clusters.find(|cluster| !known.contains(cluster)) {
        Some(cluster) => Err(no_such(cluster, known).context("a `ServicePublication`")),
        None => Ok(()),
    }
}

fn no_such(cluster: &ClusterId, known: &[&ClusterId]) -> anyhow::Error {
    let names: Vec<String> = known.iter().map(|id| format!("`{id}`")).collect();
    anyhow::anyhow!(
        "there is no cluster `{cluster}`; the configuration has {}",
        names.join(", ")
    )
}

fn places(publications: &[Publication]) -> impl Iterator<Item = Place> {
    publications.iter().flat_map(|publication| {
        let cluster = publication.cluster();
        publication
            .namespaces()
            .map(move |namespace| (cluster.clone(), Box::from(namespace)))
    })
}

fn watched(connection: Arc<ClusterConnection>, namespace: Box<str>, news: Arc<Notify>) -> Watched {
    let (says, heard) = feeds::annotated::channel();
    let end = CancellationToken::new();
    let (ended, mut told) = (end.clone(), heard.clone());
    tokio::spawn(async move {
        let observing = feeds::annotated::observe(connection, namespace.into(), says);
        ended.run_until_cancelled(observing).await;
    });
    // It ends with the one above, which has the other end.
    tokio::spawn(async move {
        while told.changed().await.is_ok() {
            news.notify_one();
        }
    });
    Watched {
        heard,
        _end: end.drop_guard(),
    }
}
