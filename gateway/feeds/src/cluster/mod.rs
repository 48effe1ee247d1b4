//! What decisions need to know of a cluster: RBAC objects, namespaces and our own access rules, watched as the observer.

mod collect;

use std::sync::Arc;
use std::time::Duration;

use access::rbac::Objects;
use futures::StreamExt;
use futures::stream::SelectAll;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use model::cluster::ClusterId;
use reach::ClusterConnection;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use self::collect::Collected;
pub(crate) use self::collect::Kind;
pub use self::collect::Namespace;
use crate::observer::{self, Heard, Pulse};

/// What is known of a cluster at one point in time. A view shares with the one before it whatever has not changed, down to
/// each RBAC object, so that a comparison of references tells what has.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Its RBAC objects.
    pub objects: Arc<Objects>,
    /// Its namespaces and their labels.
    pub namespaces: Arc<[Namespace]>,
    /// Its `AccessRule` objects as written; each is read alone, as it may be invalid.
    pub access_rules: Arc<[Value]>,
    /// Its `ClusterAccessRule` objects, in the same way.
    pub cluster_access_rules: Arc<[Value]>,
    /// Rises with each view.
    pub version: u64,
    /// Whether every kind has been listed at least once; before that nothing may be decided on it.
    pub complete: bool,
    /// The kinds that have not been listed yet.
    pub missing: Arc<[&'static str]>,
}

/// Changes that come close together become one view: a hundred bindings applied at once are compiled once.
const SETTLE: Duration = Duration::from_millis(50);
/// A stream of changes that never settles is shown at least this often.
const AT_LEAST: Duration = Duration::from_millis(500);

/// The first, empty view of a cluster and the channel on which the others come.
#[must_use]
pub fn channel(cluster: ClusterId) -> (watch::Sender<Arc<ClusterView>>, watch::Receiver<Arc<ClusterView>>) {
    let nothing = ClusterView {
        cluster,
        objects: Arc::default(),
        namespaces: Arc::default(),
        access_rules: Arc::default(),
        cluster_access_rules: Arc::default(),
        version: 0,
        complete: false,
        missing: Arc::default(),
    };
    watch::channel(Arc::new(nothing))
}

/// Watches until nobody listens. Errors of the watch are told by log and repaired by listing again; what is known stays
/// until something newer comes, and [`Heard`] says how old it is.
pub async fn observe(connection: Arc<ClusterConnection>, heard: Heard, views: watch::Sender<Arc<ClusterView>>) {
    observe_with(|pulse| observer::watching(&connection, pulse), heard, views).await;
}

async fn observe_with(client: impl Fn(Pulse) -> kube::Client, heard: Heard, views: watch::Sender<Arc<ClusterView>>) {
    let streams = Kind::ALL
        .into_iter()
        .map(|kind| stream(client(heard.pulse(kind)), kind));
    let mut events: SelectAll<_> = streams.collect();
    let mut collected = Collected::default();
    let mut dirty: Option<(Instant, Instant)> = None;
    loop {
        // Nothing is decided before everything was listed once: whoever starts waits for nothing more.
        let is_first = collected.is_complete() && !views.borrow().complete;
        let due = dirty.map(|(first, last)| {
            if is_first {
                first
            } else {
                (last + SETTLE).min(first + AT_LEAST)
            }
        });
        tokio::select! {
            event = events.next() => {
                let Some((kind, event)) = event else { return };
                let changed = match event {
                    Ok(event) => Ok(collected.apply(kind, event)),
                    Err(error) if kind.is_optional() && is_unknown(&error) => {
                        let changed = collected.is_absent(kind);
                        if changed {
                            tracing::info!(kind = kind.name(), "the cluster does not know this kind (deploy/kubernetes/access-rules.yaml defines it): rules come from files alone");
                        }
                        Ok(changed)
                    }
                    Err(error) => Err(error),
                };
                match changed {
                    Ok(true) => {
                        let now = Instant::now();
                        dirty = Some((dirty.map_or(now, |(first, _)| first), now));
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(kind = kind.name(), error = %error, cluster.heard = %heard.last(), "the watch of a kind broke; it is listed again"),
                }
            }
            () = sleep_until(due) => {
                dirty = None;
                let version = views.borrow().version.saturating_add(1);
                let cluster = views.borrow().cluster.clone();
                if views.send(Arc::new(collected.view(cluster, version))).is_err() {
                    return;
                }
            }
            () = views.closed() => return,
        }
    }
}

/// The API server has no such resource: 404 to a listing of all of them.
fn is_unknown(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Objects in one page of a listing; a page is a round trip.
const PAGE: u32 = 5_000;

type Events = futures::stream::BoxStream<'static, (Kind, Result<Event<DynamicObject>, watcher::Error>)>;

/// A watch ends so often by itself. An API server sends a bookmark each minute only where something of the kind has
/// changed since its own start; that it takes the watch up again is the sign of life that never fails.
pub(crate) const WATCH_SECONDS: u32 = 60;

fn stream(client: kube::Client, kind: Kind) -> Events {
    let (group, version, name, plural) = kind.resource();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural);
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    watch_objects(api, config)
        .default_backoff()
        .map(move |event| (kind, event))
        .boxed()
}

#[cfg(test)]
mod tests;
