//! The connections of one class: who may use which, who waits, when another one is opened.
//!
//! Not here: HTTP. Invariants, all kept under one short lock that is never held across an await:
//! - an HTTP/2 connection has at most as many open streams as its peer allows now, and at most [`Limits::streams`];
//! - sockets open or being opened never exceed the class's limit;
//! - capacity goes to whoever waits longest; a newcomer never overtakes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use reach::{Destination, Protocol, ReachError, Security};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::Why;
use super::http1::{self, Http1Connection};
use super::http2::{self, Http2Connection};
use super::metrics::{ByClass, ByClassAndProtocol};
use super::outgoing::SendBody;
use super::pool::Limits;
use super::socket::{Slot, Socket};
use super::{StreamClass, UpstreamMetrics};

/// What all lanes of a pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) destination: Destination,
    pub(super) limits: Limits,
    pub(super) metrics: UpstreamMetrics,
}

/// All connections of one class.
pub(super) struct Lane<B: SendBody> {
    class: StreamClass,
    sockets: usize,
    shared: Arc<Shared>,
    /// Streams open of this class: found once, as each request counts itself there twice.
    streams: Gauge,
    state: Mutex<State<B>>,
}

struct State<B: SendBody> {
    http2: Vec<Arc<Http2Connection>>,
    idle: Vec<Http1Connection<B>>,
    /// Open or being opened.
    sockets: usize,
    dialing: usize,
    waiters: VecDeque<oneshot::Sender<Result<Lease<B>, ReachError>>>,
    /// How many waiters one more connection will probably serve.
    expected_streams: usize,
}

/// The right to send one request on one connection. Given back when dropped.
pub(super) enum Lease<B: SendBody> {
    Http1(Http1Lease<B>),
    Http2(Http2Lease<B>),
}

enum Asked<B: SendBody> {
    Now(Lease<B>),
    Later(oneshot::Receiver<Result<Lease<B>, ReachError>>),
}

impl<B: SendBody> Lane<B> {
    pub(super) fn new(class: StreamClass, shared: Arc<Shared>) -> Arc<Self> {
        let sockets = shared.limits.sockets(class);
        let expected_streams = match class {
            StreamClass::Short | StreamClass::Watch => shared.limits.streams,
            StreamClass::FollowLog | StreamClass::Proxied | StreamClass::Upgrade => 1,
        };
        let state = State {
            http2: Vec::new(),
            idle: Vec::new(),
            sockets: 0,
            dialing: 0,
            waiters: VecDeque::new(),
            expected_streams,
        };
        Arc::new(Self {
            class,
            sockets,
            streams: shared.metrics.streams(class),
            shared,
            state: Mutex::new(state),
        })
    }

    /// Waits for a connection with room. Cancel-safe: whoever leaves the queue costs nothing.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<B>, Why> {
        let turn = match self.ask() {
            Some(Asked::Now(lease)) => return Ok(lease),
            Some(Asked::Later(turn)) => turn,
            None => return Err(self.turned_away(Why::QueueFull)),
        };
        let within = self.shared.limits.wait;
        match tokio::time::timeout(within, turn).await {
            Ok(Ok(Ok(lease))) => Ok(lease),
            Ok(Ok(Err(error))) => Err(Why::Reach(error)),
            Ok(Err(_)) => Err(Why::Closed),
            Err(_) => Err(self.turned_away(Why::WaitedTooLong { within })),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiters.iter().filter(|waiter| !waiter.is_closed()).count()
    }

    fn turned_away(&self, why: Why) -> Why {
        self.shared
            .metrics
            .turned_away
            .get_or_create(&ByClass::of(self.class))
            .inc();
        why
    }

    /// `None`: the queue is full.
    fn ask(self: &Arc<Self>) -> Option<Asked<B>> {
        let (turn, dials) = {
            let mut state = self.lock();
            state.waiters.retain(|waiter| !waiter.is_closed());
            if state.waiters.is_empty()
                && let Some(lease) = self.take(&mut state)
            {
                return Some(Asked::Now(lease));
            }
            if state.waiters.len() >= self.shared.limits.waiters {
                return None;
            }
            let (waiter, turn) = oneshot::channel();
            state.waiters.push_back(waiter);
            (turn, self.plan(&mut state))
        };
        self.dial(dials);
        Some(Asked::Later(turn))
    }

    /// Hands capacity to whoever waits, and opens connections for the rest.
    fn serve(self: &Arc<Self>) {
        let (unused, dials) = {
            let mut state = self.lock();
            let mut unused = None;
            while let Some(waiter) = state.waiters.pop_front() {
                if waiter.is_closed() {
                    continue;
                }
                let Some(lease) = unused.take().or_else(|| self.take(&mut state)) else {
                    state.waiters.push_front(waiter);
                    break;
                };
                // The waiter left between the two lines: the next one gets it.
                if let Err(Ok(lease)) = waiter.send(Ok(lease)) {
                    unused = Some(lease);
                }
            }
            if self.class == StreamClass::Upgrade {
                // Opened for someone who left: nobody else is ever given a connection meant for an upgrade.
                state.idle.clear();
            }
            (unused, self.plan(&mut state))
        };
        drop(unused);
        self.dial(dials);
    }

    fn take(self: &Arc<Self>, state: &mut State<B>) -> Option<Lease<B>> {
        let generation = self.shared.destination.current().generation();
        // What leaves the list closes by itself when its last stream ends.
        state
            .http2
            .retain(|connection| connection.is_usable(generation) && self.leads_there(connection.place()));
        let most = self.shared.limits.streams;
        if let Some(connection) = state.http2.iter().find(|connection| connection.reserve(most)) {
            let connection = Arc::clone(connection);
            return Some(Lease::Http2(Http2Lease {
                connection,
                open: self.opened(),
            }));
        }
        while let Some(connection) = state.idle.pop() {
            if connection.is_usable(generation) && self.leads_there(connection.place()) {
                let open = self.opened();
                return Some(Lease::Http1(Http1Lease {
                    connection: Some(connection),
                    open,
                }));
            }
        }
        None
    }

    /// How many connections to open now; counts them as being opened.
    fn plan(&self, state: &mut State<B>) -> usize {
        let mut dials = 0;
        while state.waiters.len() > state.dialing * state.expected_streams && state.sockets < self.sockets {
            state.dialing += 1;
            state.sockets += 1;
            dials += 1;
        }
        let by_class = ByClass::of(self.class);
        let added = i64::try_from(dials).unwrap_or(i64::MAX);
        self.shared
            .metrics
            .open_connections
            .get_or_create(&by_class)
            .inc_by(added);
        if self.class == StreamClass::Upgrade {
            self.shared.metrics.open_streams.get_or_create(&by_class).inc_by(added);
        }
        dials
    }

    fn dial(self: &Arc<Self>, dials: usize) {
        for _ in 0..dials {
            // Ends by itself within the dial's time limit. Not tied to the request that caused it, which may leave while
            // others already wait for the same connection.
            tokio::spawn(Arc::clone(self).open());
        }
    }

    async fn open(self: Arc<Self>) {
        let opened = self.connect().await;
        let by_class = ByClass::of(self.class);
        let failed = {
            let mut state = self.lock();
            state.dialing = state.dialing.saturating_sub(1);
            match opened {
                Ok(Opened::Http1(connection)) => {
                    state.expected_streams = 1;
                    state.idle.push(connection);
                    None
                }
                Ok(Opened::Http2(connection)) => {
                    state.expected_streams = connection.limit(self.shared.limits.streams).max(1);
                    state.http2.push(connection);
                    None
                }
                Err(error) => {
                    let served = state.expected_streams.min(state.waiters.len());
                    Some((error, state.waiters.drain(..served).collect::<Vec<_>>()))
                }
            }
        };
        if let Some((error, waiters)) = failed {
            self.shared.metrics.connection_failures.get_or_create(&by_class).inc();
            for waiter in waiters {
                // Whoever left needs no answer.
                let _ = waiter.send(Err(error.clone()));
            }
        }
        self.serve();
    }

    async fn connect(self: &Arc<Self>) -> Result<Opened<B>, ReachError> {
        let slot = Slot::new(Arc::downgrade(self));
        let security = match self.class {
            StreamClass::Short | StreamClass::Watch => Security::Either,
            StreamClass::FollowLog | StreamClass::Proxied | StreamClass::Upgrade => Security::Http1Only,
        };
        let established = self.shared.destination.dial(security).await?;
        let place = Place {
            server: established.server,
            peer: established.peer,
            local: established.local,
            generation: established.generation,
        };
        // Without one more descriptor it is a session that ends when its pod pauses for half a minute.
        let patience = match self.class {
            StreamClass::Upgrade => established.stream.patience().ok(),
            StreamClass::Short | StreamClass::Watch | StreamClass::FollowLog | StreamClass::Proxied => None,
        };
        let socket = Socket::new(established.stream, slot);
        let opened = match established.protocol {
            Protocol::Http1 => Opened::Http1(http1::start(socket, place, patience).await?),
            Protocol::Http2 => Opened::Http2(http2::start(socket, place, &self.shared, self.class).await?),
        };
        let by = ByClassAndProtocol::of(self.class, established.protocol);
        self.shared.metrics.connections.get_or_create(&by).inc();
        Ok(opened)
    }

    /// Called when a socket of this lane is gone, however it went.
    pub(super) fn socket_closed(self: &Arc<Self>) {
        {
            let mut state = self.lock();
            state.sockets = state.sockets.saturating_sub(1);
        }
        let by_class = ByClass::of(self.class);
        self.shared.metrics.open_connections.get_or_create(&by_class).dec();
        if self.class == StreamClass::Upgrade {
            self.shared.metrics.open_streams.get_or_create(&by_class).dec();
        }
        self.serve();
    }

    fn keep(self: &Arc<Self>, connection: Http1Connection<B>) {
        if self.class == StreamClass::Upgrade {
            return;
        }
        self.lock().idle.push(connection);
        self.serve();
    }

    /// Closes what was idle for too long, and what no new request may use.
    pub(super) fn reap(&self, now: Instant) {
        let generation = self.shared.destination.current().generation();
        let most = self.shared.limits.idle;
        let mut state = self.lock();
        state
            .http2
            .retain(|one| one.is_usable(generation) && self.leads_there(one.place()) && !one.is_idle_for(most, now));
        state
            .idle
            .retain(|one| one.is_usable(generation) && self.leads_there(one.place()) && !one.is_idle_for(most, now));
    }

    /// Whether the other end is still one of those that are dialled.
    fn leads_there(&self, place: &Place) -> bool {
        self.shared.destination.has(place.peer)
    }

    fn opened(self: &Arc<Self>) -> OpenStream<B> {
        if self.class != StreamClass::Upgrade {
            self.streams.inc();
        }
        OpenStream { lane: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing between lock and unlock can panic half-way through a change that matters: counts only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Opened<B: SendBody> {
    Http1(Http1Connection<B>),
    Http2(Arc<Http2Connection>),
}

/// Where a connection leads and under which credential it was opened.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) server: Arc<reach::Server>,
    pub(super) peer: reach::Peer,
    pub(super) local: reach::Peer,
    pub(super) generation: u64,
}

/// One open stream in the gauge. Upgrades are counted by their socket, which outlives the answer.
struct OpenStream<B: SendBody> {
    lane: Arc<Lane<B>>,
}

impl<B: SendBody> Drop for OpenStream<B> {
    fn drop(&mut self) {
        if self.lane.class != StreamClass::Upgrade {
            self.lane.streams.dec();
        }
    }
}

/// An HTTP/1.1 connection for one request. Dropped without [`Http1Lease::finish`], the connection is destroyed.
pub(super) struct Http1Lease<B: SendBody> {
    connection: Option<Http1Connection<B>>,
    open: OpenStream<B>,
}

impl<B: SendBody> Http1Lease<B> {
    pub(super) fn connection(&mut self) -> Option<&mut Http1Connection<B>> {
        self.connection.as_mut()
    }

    /// Both sides ended cleanly: the next request may use the connection.
    pub(super) fn finish(mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.rested();
            self.open.lane.keep(connection);
        }
    }

    /// The connection has become something else than HTTP and belongs to whoever takes the upgrade.
    pub(super) fn hand_over(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.detach();
        }
    }
}

/// One stream on a shared HTTP/2 connection.
pub(super) struct Http2Lease<B: SendBody> {
    connection: Arc<Http2Connection>,
    open: OpenStream<B>,
}

impl<B: SendBody> Http2Lease<B> {
    pub(super) fn connection(&self) -> &Arc<Http2Connection> {
        &self.connection
    }
}

impl<B: SendBody> Drop for Http2Lease<B> {
    fn drop(&mut self) {
        self.connection.release();
        self.open.lane.serve();
    }
}
