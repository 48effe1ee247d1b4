//! Which addresses a cluster or a service has, and which of them to try first.
//!
//! Names are resolved anew at each dial (dials are rare; I-08), an answer that fails or stalls falls back to the
//! last good one. An address that failed is avoided for a back-off that doubles, yet tried last rather than never: with all
//! of them failing, trying is the only way to notice that one is back.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::endpoints::{self, Endpoints};
use crate::guard::Guard;
use crate::{ReachError, Server};

/// Turns a name into addresses.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of `host`, each with `port`.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static>>;
}

/// The operating system's resolver, on tokio's blocking pool: a slow answer stalls no worker thread.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// One address of one server.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
}

/// All that is known of a cluster's addresses.
#[derive(Debug)]
pub(crate) struct AddressBook {
    source: Source,
    guard: Guard,
    resolver: Arc<dyn Resolve>,
    resolve_timeout: Duration,
    back_off: Duration,
    next: AtomicUsize,
    known: Mutex<Known>,
}

/// Where addresses come from.
#[derive(Debug)]
enum Source {
    /// Servers by name or address.
    Servers(Vec<Arc<Server>>),
    /// The pods of a Service as its cluster says them.
    Pods(Arc<Server>, watch::Receiver<Endpoints>),
}

#[derive(Debug, Default)]
struct Known {
    /// The last good answer per server, by its place in the list.
    answers: HashMap<usize, Vec<SocketAddr>>,
    failing: HashMap<SocketAddr, Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    until: Instant,
    back_off: Duration,
}

impl AddressBook {
    pub(crate) fn new(
        servers: Vec<Server>,
        guard: Guard,
        resolver: Arc<dyn Resolve>,
        resolve_timeout: Duration,
        back_off: Duration,
    ) -> Self {
        Self {
            source: Source::Servers(servers.into_iter().map(Arc::new).collect()),
            guard,
            resolver,
            resolve_timeout,
            back_off,
            next: AtomicUsize::new(0),
            known: Mutex::default(),
        }
    }

    /// The pods of a Service, known to be asked as `server`.
    pub(crate) fn of_pods(
        server: Server,
        pods: watch::Receiver<Endpoints>,
        resolve_timeout: Duration,
        back_off: Duration,
    ) -> Self {
        Self {
            source: Source::Pods(Arc::new(server), pods),
            guard: Guard::Service,
            resolver: Arc::new(SystemResolver),
            resolve_timeout,
            back_off,
            next: AtomicUsize::new(0),
            known: Mutex::default(),
        }
    }

    /// Every address once: healthy ones first, beginning with another one at each call, so that connections spread.
    pub(crate) async fn candidates(&self) -> Result<Vec<Candidate>, ReachError> {
        let found = match &self.source {
            Source::Servers(servers) => self.resolve_all(servers).await?,
            Source::Pods(server, pods) => self.pods(server, pods.clone()).await?,
        };
        let now = Instant::now();
        let known = self.lock();
        let is_failing = |candidate: &Candidate| {
            known
                .failing
                .get(&candidate.address)
                .filter(|failing| failing.until > now)
                .map(|failing| failing.until)
        };
        let (mut failing, mut healthy): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| is_failing(one).is_some());
        failing.sort_by_key(is_failing);
        if !healthy.is_empty() {
            let start = self.next.fetch_add(1, Ordering::Relaxed) % healthy.len();
            healthy.rotate_left(start);
        }
        healthy.append(&mut failing);
        healthy.truncate(MOST_CANDIDATES);
        Ok(healthy)
    }

    /// Whether the address is one of the pods that are dialled now. What a name led to once, it leads to still.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        let Source::Pods(_, pods) = &self.source else {
            return true;
        };
        let pods = pods.borrow();
        pods.ready.contains(&address) || (pods.ready.is_empty() && pods.ending.contains(&address))
    }

    /// The address failed: avoid it for a while, longer each time.
    pub(crate) fn failed(&self, address: SocketAddr) {
        let now = Instant::now();
        let mut known = self.lock();
        let back_off = match known.failing.get(&address) {
            Some(before) => (before.back_off * 2).min(self.back_off * LONGEST_BACK_OFF),
            None => self.back_off,
        };
        if known.failing.len() >= MOST_REMEMBERED {
            known.failing.retain(|_, failing| failing.until > now);
        }
        // Full of current failures: forgetting one is harmless, it is tried again and remembered then.
        if known.failing.len() < MOST_REMEMBERED || known.failing.contains_key(&address) {
            known.failing.insert(
                address,
                Failing {
                    until: now + back_off,
                    back_off,
                },
            );
        }
    }

    /// The address works.
    pub(crate) fn works(&self, address: SocketAddr) {
        self.lock().failing.remove(&address);
    }

    /// The pods that may be dialled, those that are ready alone while there are any.
    async fn pods(
        &self,
        server: &Arc<Server>,
        mut pods: watch::Receiver<Endpoints>,
    ) -> Result<Vec<Candidate>, ReachError> {
        // Just started: the first listing is on its way, unless something is known to be in it.
        let listed = pods.wait_for(|pods| pods.is_known || pods.trouble.is_some());
        let pods = match tokio::time::timeout(self.resolve_timeout, listed).await {
            Ok(Ok(pods)) => pods.clone(),
            Ok(Err(_)) | Err(_) => Endpoints::default(),
        };
        let usable = |addresses: &[SocketAddr]| -> (Vec<Candidate>, Option<ReachError>) {
            let mut refused = None;
            let mut usable = Vec::new();
            for address in addresses {
                // What stands in a namespace, somebody of that namespace may have written (N-10).
                match self.guard.check(server, *address) {
                    Ok(()) => usable.push(Candidate {
                        server: Arc::clone(server),
                        address: *address,
                    }),
                    Err(error) => refused = Some(error),
                }
            }
            (usable, refused)
        };
        let (ready, refused) = usable(&pods.ready);
        if !ready.is_empty() {
            return Ok(ready);
        }
        match usable(&pods.ending) {
            (ending, _) if !ending.is_empty() => Ok(ending),
            (_, also_refused) => Err(refused
                .or(also_refused)
                .unwrap_or_else(|| endpoints::none(server, pods.trouble))),
        }
    }

    async fn resolve_all(&self, servers: &[Arc<Server>]) -> Result<Vec<Candidate>, ReachError> {
        let mut asks = JoinSet::new();
        for (place, server) in servers.iter().enumerate() {
            let ask = self.ask(server);
            asks.spawn(async move { (place, ask.await) });
        }
        let mut answers: Vec<_> = asks.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        let mut found: Vec<Candidate> = Vec::new();
        let mut failure = ReachError::NoServer;
        for (place, answer) in answers {
            let Some(server) = servers.get(place) else {
                continue;
            };
            match self.accept(place, server, answer) {
                Ok(addresses) => found.extend(addresses),
                Err(error) => failure = error,
            }
        }
        if found.is_empty() { Err(failure) } else { Ok(found) }
    }

    fn ask(&self, server: &Server) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        let literal = server
            .host()
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, server.port()));
        let name = literal
            .is_none()
            .then(|| self.resolver.resolve(server.host().to_owned(), server.port()));
        let within = self.resolve_timeout;
        async move {
            match (literal, name) {
                (Some(address), _) => Ok(vec![address]),
                (None, Some(answer)) => tokio::time::timeout(within, answer).await?,
                (None, None) => Ok(Vec::new()),
            }
        }
    }

    /// Takes a good answer, or the last good one in place of a bad one.
    fn accept(
        &self,
        place: usize,
        server: &Arc<Server>,
        answer: io::Result<Vec<SocketAddr>>,
    ) -> Result<Vec<Candidate>, ReachError> {
        let mut known = self.lock();
        let addresses = match answer {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.truncate(MOST_PER_NAME);
                known.answers.insert(place, addresses.clone());
                addresses
            }
            other => match known.answers.get(&place) {
                Some(last) => last.clone(),
                None => return Err(unresolved(server, other.err())),
            },
        };
        drop(known);
        for address in &addresses {
            self.guard.check(server, *address)?;
        }
        Ok(addresses
            .into_iter()
            .map(|address| Candidate {
                server: Arc::clone(server),
                address,
            })
            .collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Every change under the lock is one insert or remove: a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unresolved(server: &Server, cause: Option<io::Error>) -> ReachError {
    let cause = cause.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    ReachError::Resolve {
        host: server.host().to_owned(),
        cause: Arc::new(cause),
    }
}

/// More addresses in one answer are left out: a name with a thousand of them is a mistake or an attack (UPS-06).
const MOST_PER_NAME: usize = 16;
/// Tried in one dial.
const MOST_CANDIDATES: usize = 32;
/// Failing addresses remembered; names whose answers change each time must not grow the table.
const MOST_REMEMBERED: usize = 256;
/// The longest back-off, as a multiple of the first.
const LONGEST_BACK_OFF: u32 = 30;
