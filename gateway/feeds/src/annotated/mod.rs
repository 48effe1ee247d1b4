//! Services of one namespace whose owners ask by annotations that they are published, watched as the observer.
//!
//! Only namespaces that a `ServicePublication` names are watched. What the annotations may have is decided elsewhere
//! (`access::rule::Services::with_annotated`); whoever writes them is a tenant, and what is kept of them is bounded.
//!
//! Invariant: what was once learnt of a namespace counts while its cluster is silent, and [`Annotated::trouble`] says so.

mod collect;

use std::sync::Arc;
use std::time::Duration;

use access::rule::AnnotatedService;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use reach::ClusterConnection;
use tokio::sync::watch;

use self::collect::Collected;
use crate::cluster::WATCH_SECONDS;
use crate::endpoints::is_forbidden;
use crate::observer::{self, Pulse};

/// The annotated Services of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotated {
    /// They, by name.
    pub services: Arc<[AnnotatedService]>,
    /// Whether the cluster has said them once.
    pub is_known: bool,
    /// Why there may be others, in words for the operator.
    pub trouble: Option<Arc<str>>,
}

/// The channel of a namespace of which nothing is known yet.
#[must_use]
pub fn channel() -> (watch::Sender<Annotated>, watch::Receiver<Annotated>) {
    watch::channel(Annotated::default())
}

/// Watches a namespace until nobody listens. It takes one connection to the API server for as long.
///
/// Needs `list` and `watch` on `services` there (`deploy/kubernetes/observer-services.yaml`); without them nothing is known, and
/// the trouble names the file.
pub async fn observe(connection: Arc<ClusterConnection>, namespace: String, says: watch::Sender<Annotated>) {
    let cluster = connection.id().clone();
    let client = |pulse: Pulse| observer::watching(&connection, pulse);
    observe_with(client, Collected::new(cluster, namespace), says).await;
}

/// How soon it is seen that a watch that broke is back.
const LOOK: Duration = Duration::from_secs(1);

async fn observe_with(
    client: impl Fn(Pulse) -> kube::Client,
    mut collected: Collected,
    says: watch::Sender<Annotated>,
) {
    let pulse = Pulse::alone();
    let mut events = stream(client(pulse.clone()), collected.namespace());
    // How often it had beaten when it broke.
    let mut broken_at: Option<i64> = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => collected.apply(event),
                Some(Err(error)) => {
                    let namespace = collected.namespace();
                    tracing::warn!(namespace, error = %error, "the watch of annotated Services broke; it begins again");
                    collected.failed(is_forbidden(&error), &error.to_string());
                    broken_at = Some(pulse.beats());
                }
                None => return,
            },
            // A watch that is taken up again where it broke says nothing until something changes.
            () = tokio::time::sleep(LOOK), if broken_at.is_some() => {
                if broken_at != Some(pulse.beats()) {
                    broken_at = None;
                    collected.works();
                }
            }
            () = says.closed() => return,
        }
        if let Some(now) = collected.news() {
            says.send_if_modified(|known| {
                let is_news = *known != now;
                if is_news {
                    *known = now;
                }
                is_news
            });
        }
    }
}

type Events = BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>>;

fn stream(client: kube::Client, namespace: &str) -> Events {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Service"), "services");
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    watch_objects(api, config).default_backoff().boxed()
}

#[cfg(test)]
mod tests;
