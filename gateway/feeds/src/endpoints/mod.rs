//! Where the pods of a Kubernetes Service are: one Service and its EndpointSlices (`discovery.k8s.io/v1`), watched as the observer.
//!
//! Only Services that a document names are watched, each by its name and by the label `kubernetes.io/service-name`. Nothing is
//! resolved: a Service of type `ExternalName` and slices of names lead nowhere (N-10), and whoever dials looks at each address once
//! more.
//!
//! Invariant: what was once learnt of a Service counts while its cluster is silent, and [`Endpoints::trouble`] says so.

mod collect;

use std::sync::Arc;
use std::time::Duration;

use access::rule::KubernetesService;
use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use reach::{ClusterConnection, Endpoints};
use tokio::sync::watch;

use self::collect::{Collected, Part};
use crate::cluster::WATCH_SECONDS;
use crate::observer::{self, Pulse};

/// The channel of a Service of which nothing is known yet.
#[must_use]
pub fn channel() -> (watch::Sender<Endpoints>, watch::Receiver<Endpoints>) {
    watch::channel(Endpoints::default())
}

/// Watches until nobody listens. It takes two connections to the API server for as long.
///
/// Needs `list` and `watch` on `services` and on `endpointslices` of `discovery.k8s.io` in the Service's namespace
/// (`deploy/kubernetes/observer-services.yaml`); without them nothing is known, and the trouble names the file.
pub async fn observe(
    connection: Arc<ClusterConnection>,
    service: KubernetesService,
    endpoints: watch::Sender<Endpoints>,
) {
    observe_with(|pulse| observer::watching(&connection, pulse), service, endpoints).await;
}

async fn observe_with(
    client: impl Fn(Pulse) -> kube::Client,
    service: KubernetesService,
    endpoints: watch::Sender<Endpoints>,
) {
    let mut lives = [Life::new(Part::Service), Life::new(Part::Slices)];
    let watched = lives
        .each_ref()
        .map(|life| stream(client(life.pulse.clone()), &service, life.part));
    let mut events = select_all(watched);
    let mut collected = Collected::new(service.clone());
    loop {
        let is_broken = lives.iter().any(|life| life.broken_at.is_some());
        tokio::select! {
            event = events.next() => match event {
                Some((part, Ok(event))) => collected.apply(part, event),
                Some((part, Err(error))) => {
                    tracing::warn!(service = %service, error = %error, "the watch of a service's pods broke; it begins again");
                    collected.failed(part, is_forbidden(&error), &error.to_string());
                    lives.iter_mut().filter(|life| life.part == part).for_each(Life::breaks);
                }
                None => return,
            },
            // A watch that is taken up again where it broke says nothing until something changes.
            () = tokio::time::sleep(LOOK), if is_broken => {
                for life in lives.iter_mut().filter(|life| life.is_back()) {
                    life.broken_at = None;
                    collected.works(life.part);
                }
            }
            () = endpoints.closed() => return,
        }
        let now = collected.endpoints();
        endpoints.send_if_modified(|known| {
            let is_news = *known != now;
            if is_news {
                *known = now;
            }
            is_news
        });
    }
}

/// How soon it is seen that a watch that broke is back.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a watch is well.
struct Life {
    part: Part,
    pulse: Pulse,
    /// How often it had beaten when it broke.
    broken_at: Option<i64>,
}

impl Life {
    fn new(part: Part) -> Self {
        Self {
            part,
            pulse: Pulse::alone(),
            broken_at: None,
        }
    }

    fn breaks(&mut self) {
        self.broken_at = Some(self.pulse.beats());
    }

    fn is_back(&self) -> bool {
        self.broken_at.is_some_and(|beats| beats != self.pulse.beats())
    }
}

/// The observer has no such right.
pub(crate) fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

type Events = BoxStream<'static, (Part, Result<Event<DynamicObject>, watcher::Error>)>;

fn stream(client: kube::Client, service: &KubernetesService, part: Part) -> Events {
    let (group, kind, plural) = part.resource();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client, service.namespace(), &resource);
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let config = match part {
        Part::Service => config.fields(&format!("metadata.name={}", service.name())),
        Part::Slices => config.labels(&format!("kubernetes.io/service-name={}", service.name())),
    };
    watch_objects(api, config)
        .default_backoff()
        .map(move |event| (part, event))
        .boxed()
}

#[cfg(test)]
mod tests;
