//! A Kubernetes API look-alike: enough of the API server that real kubectl feels at home, in a fixed little world.
//!
//! Discovery, server-side tables, get, list, watch, create, update, patch, delete, logs, reviews, RBAC and impersonation
//! over seventeen kinds; controllers' work is done at once inside the write. What is missing answers "not in the demo":
//! exec, attach, port-forward, proxy, server-side apply, eviction, custom resources, admission.
//!
//! It is the *other side* of the gateway: it authenticates the gateway's two tokens, honours impersonation and decides
//! again by its own objects. Bounded: objects, watchers, body size, remembered changes; each limit says what happens then.

mod body;
mod caller;
mod controllers;
mod defaults;
mod discovery;
mod endpoints;
mod events;
mod json;
mod kinds;
mod list;
mod logs;
mod openapi;
mod operations;
mod patch;
mod query;
mod rbac;
mod reviews;
mod rights;
mod schema;
mod selector;
mod serve;
mod status;
mod store;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod watch;
mod world;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::time::Timestamp;
use tokio::sync::Semaphore;

pub use caller::{Credentials, IMPERSONATOR, OBSERVER, User};
pub use rbac::{Attributes, Authorizer, RbacObjects, StoredRbac, Verdict};
pub use world::{NAMESPACES, NETWORK_POLICIES, PODS};

use crate::loopback::{self, Listening, StartError};
use crate::{Clock, system_clock};
use store::Store;

/// Objects of all kinds; one more is refused with 403.
pub const MOST_OBJECTS: usize = 5000;

/// How the look-alike starts.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The server's TLS; without it plain http, over which kubectl sends no credentials.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The gateway's two tokens.
    pub credentials: Credentials,
    /// Who decides; [`StoredRbac`] unless told otherwise.
    pub authorizer: Arc<dyn Authorizer>,
    /// The clock. Ages in the world count back from what it says at the start.
    pub clock: Clock,
    /// How often a followed log has a new line.
    pub log_interval: Duration,
}

impl Options {
    /// Plain http on the given address, deciding by its own RBAC objects, by the machine's clock.
    #[must_use]
    pub fn on(address: SocketAddr, credentials: Credentials) -> Self {
        Self {
            address,
            tls: None,
            credentials,
            authorizer: Arc::new(StoredRbac),
            clock: system_clock(),
            log_interval: Duration::from_secs(3),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("has_tls", &self.tls.is_some())
            .field("log_interval", &self.log_interval)
            .finish_non_exhaustive()
    }
}

/// A running look-alike. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    has_tls: bool,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// The address is not loopback or is taken.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (listener, address) = loopback::bind(options.address).await?;
        let (tls, has_tls) = (options.tls.clone(), options.tls.is_some());
        let listening = loopback::serve(listener, address, tls, serve::router(Cluster::new(options)));
        Ok(Self { listening, has_tls })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.has_tls { "https" } else { "http" }, self.address())
    }

    /// Ends it and waits until every connection is gone.
    pub async fn stop(self) {
        self.listening.stop().await;
    }
}

/// Everything a request needs.
struct Cluster {
    store: Store,
    credentials: Credentials,
    authorizer: Arc<dyn Authorizer>,
    clock: Clock,
    log_interval: Duration,
    places: Arc<Semaphore>,
}

impl Cluster {
    fn new(options: Options) -> Arc<Self> {
        let world = world::build((options.clock)(), MOST_OBJECTS);
        Arc::new(Self {
            store: Store::new(world),
            credentials: options.credentials,
            authorizer: options.authorizer,
            clock: options.clock,
            log_interval: options.log_interval,
            places: Arc::new(Semaphore::new(watch::WATCHERS)),
        })
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// What the history needs to know of the fixed world: who may do what, and which pods there are.
pub(crate) struct Known {
    pub(crate) rights: RbacObjects,
    /// Namespace and name.
    pub(crate) pods: Vec<(String, String)>,
}

/// The fixed world, as far as the history needs it. The same at every call.
pub(crate) fn known() -> Known {
    let world = world::build(Timestamp::EPOCH, MOST_OBJECTS);
    let pods = store::Scope {
        kind: kinds::PODS,
        namespace: None,
    };
    let pods = world
        .scope(&pods)
        .map(|(key, _)| (key.namespace.clone(), key.name.clone()))
        .collect();
    Known {
        rights: serve::rbac(&world),
        pods,
    }
}

/// `metav1.Time`: RFC 3339 with whole seconds.
fn rfc3339(at: Timestamp) -> String {
    Timestamp::from_unix_seconds(at.unix_seconds())
        .to_string()
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end_matches('Z')
        .to_owned()
        + "Z"
}
