//! Sending a request to one cluster or service: a lane, a connection, and again only where that is provably harmless.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use reach::{Destination, Peer, Protocol};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::error::{Failed, NoAnswer, SendError, Why};
use super::lane::{Lane, Lease, Shared};
use super::metrics::ByClass;
use super::outgoing::{Outgoing, SendBody};
use super::{Call, StreamClass, UpstreamMetrics, http1, http2};

/// Most sockets of one class to one service, and of upgrades to a cluster. What all of the public may hold open at the same time stays below
/// half of it, so that a service has room for people whatever the public does.
pub const MOST_SOCKETS: usize = 4_096;

/// What a pool may use. All of it is bounded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets for short requests: on HTTP/1.1 this is also how many run at once.
    pub short_sockets: usize,
    /// Sockets for watches.
    pub watch_sockets: usize,
    /// Sockets for followed logs, one each.
    pub follow_log_sockets: usize,
    /// Sockets for requests through `proxy` subresources, one each.
    pub proxied_sockets: usize,
    /// Sockets for upgrades, one each.
    pub upgrade_sockets: usize,
    /// Streams on one HTTP/2 connection, where the peer allows more; never above 256.
    pub streams: usize,
    /// Requests that may wait for a connection, per class.
    pub waiters: usize,
    /// How long each of them may wait.
    pub wait: Duration,
    /// How long a connection stays open unused.
    pub idle: Duration,
    /// Between HTTP/2 pings.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            short_sockets: 128,
            watch_sockets: 512,
            follow_log_sockets: 1_024,
            proxied_sockets: 1_024,
            upgrade_sockets: MOST_SOCKETS,
            streams: 200,
            waiters: 1_024,
            wait: Duration::from_secs(10),
            idle: Duration::from_secs(90),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    pub(super) fn sockets(&self, class: StreamClass) -> usize {
        match class {
            StreamClass::Short => self.short_sockets,
            StreamClass::Watch => self.watch_sockets,
            StreamClass::FollowLog => self.follow_log_sockets,
            StreamClass::Proxied => self.proxied_sockets,
            StreamClass::Upgrade => self.upgrade_sockets,
        }
    }
}

/// By which connection an answer came; an extension of each response, for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub peer: Peer,
    /// Our end.
    pub local: Peer,
    pub protocol: Protocol,
    /// How often the request went out before this time.
    pub resends: u32,
}

/// The connections to one cluster or service. `B` is the type of request bodies.
pub struct Pool<B: SendBody> {
    shared: Arc<Shared>,
    short: Arc<Lane<B>>,
    watch: Arc<Lane<B>>,
    follow_log: Arc<Lane<B>>,
    proxied: Arc<Lane<B>>,
    upgrade: Arc<Lane<B>>,
    reaper: AbortHandle,
}

impl<B: SendBody> Pool<B> {
    /// An empty pool; opens nothing yet. To be called within a tokio runtime: one small task closes what is idle, and ends
    /// with the pool.
    #[must_use]
    pub fn new(destination: impl Into<Destination>, limits: Limits, metrics: UpstreamMetrics) -> Self {
        let shared = Arc::new(Shared {
            destination: destination.into(),
            limits,
            metrics,
        });
        let lane = |class| Lane::new(class, Arc::clone(&shared));
        let (short, watch) = (lane(StreamClass::Short), lane(StreamClass::Watch));
        let (follow_log, proxied) = (lane(StreamClass::FollowLog), lane(StreamClass::Proxied));
        let upgrade = lane(StreamClass::Upgrade);
        let kept = [&short, &watch, &follow_log, &proxied].map(Arc::clone);
        let reaper = tokio::spawn(reap(kept, limits.idle)).abort_handle();
        Self {
            shared,
            short,
            watch,
            follow_log,
            proxied,
            upgrade,
            reaper,
        }
    }

    /// Sends a request and returns the head of its answer as soon as it is there.
    ///
    /// The request must carry the identity headers of `call` and no `Authorization`, which is added here from the
    /// cluster's current impersonator. Its target goes out byte for byte; host and framing are generated here.
    ///
    /// Dropped before it is done, the request is cancelled upstream; whether it had its effect is then unknown.
    ///
    /// # Errors
    /// [`NoAnswer`]: what it says about the effect is exact.
    pub(crate) async fn send(
        &self,
        call: &Call,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody<B>>, NoAnswer<B>> {
        let mut attempts = 0;
        let sent = self.send_counted(call, request, &mut attempts).await;
        sent.map_err(|error| NoAnswer { error, attempts })
    }

    async fn send_counted(
        &self,
        call: &Call,
        request: Request<B>,
        attempts: &mut u32,
    ) -> Result<Response<UpstreamBody<B>>, SendError<B>> {
        let mut outgoing = Outgoing::new(request);
        if let Err(broken) = outgoing.check(call) {
            return Err(outgoing.give_back(broken.into()));
        }
        let mut resends = Resends::default();
        loop {
            let lease = match self.lane(call.class).lease().await {
                Ok(lease) => lease,
                Err(why) => return Err(resends.give_up(outgoing, why)),
            };
            *attempts = attempts.saturating_add(1);
            match self.attempt(lease, call, outgoing, resends.total()).await {
                Ok(response) => return Ok(response),
                Err(Failed::Unprocessed {
                    outgoing: mut again,
                    why,
                }) => {
                    if !again.rewind() {
                        return Err(SendError::Unprocessed { why });
                    }
                    if resends.unprocessed >= MOST_RESENDS {
                        return Err(resends.give_up(again, why));
                    }
                    resends.unprocessed += 1;
                    outgoing = again;
                }
                Err(Failed::Unanswered {
                    outgoing: Some(again), ..
                }) if !resends.unanswered => {
                    resends.unanswered = true;
                    outgoing = again;
                }
                Err(Failed::Unanswered { why, .. } | Failed::Final { why }) => return Err(unknown(why)),
            }
            self.shared
                .metrics
                .resends
                .get_or_create(&ByClass::of(call.class))
                .inc();
        }
    }

    /// Streams open now, over all classes.
    #[must_use]
    pub fn open_streams(&self) -> i64 {
        let classes = [
            StreamClass::Short,
            StreamClass::Watch,
            StreamClass::FollowLog,
            StreamClass::Proxied,
            StreamClass::Upgrade,
        ];
        classes
            .into_iter()
            .map(|class| self.shared.metrics.open_streams(class))
            .sum()
    }

    /// Requests waiting for a connection now, in one class.
    #[must_use]
    pub fn waiting(&self, class: StreamClass) -> usize {
        self.lane(class).waiting()
    }

    /// What this pool counts.
    #[must_use]
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.shared.metrics
    }

    /// Where this pool leads to.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.shared.destination
    }

    async fn attempt(
        &self,
        lease: Lease<B>,
        call: &Call,
        outgoing: Outgoing<B>,
        resends: u32,
    ) -> Result<Response<UpstreamBody<B>>, Failed<Outgoing<B>>> {
        let current = self.shared.destination.current();
        let credential = current.authorization();
        let (facts, answered) = match lease {
            Lease::Http1(mut lease) => {
                let place = lease
                    .connection()
                    .map(|connection| (connection.place().peer, connection.place().local));
                (
                    place.map(|place| (place, Protocol::Http1)),
                    http1::send(lease, call, credential, outgoing).await,
                )
            }
            Lease::Http2(lease) => {
                let place = lease.connection().place();
                let facts = ((place.peer, place.local), Protocol::Http2);
                (Some(facts), http2::send(lease, call, credential, outgoing).await)
            }
        };
        let mut response = answered?;
        if let Some(((peer, local), protocol)) = facts {
            response.extensions_mut().insert(Facts {
                peer,
                local,
                protocol,
                resends,
            });
        }
        // What a service says so is said to the caller; nothing of ours was refused.
        if let Destination::Cluster(cluster) = &self.shared.destination {
            if response.status() == StatusCode::UNAUTHORIZED {
                // Our credential, not the caller's: have its file read again at once (F-10).
                self.shared.metrics.unauthorized.inc();
                cluster.impersonator().was_refused();
            } else {
                cluster.impersonator().was_accepted();
            }
        }
        Ok(response)
    }

    fn lane(&self, class: StreamClass) -> &Arc<Lane<B>> {
        match class {
            StreamClass::Short => &self.short,
            StreamClass::Watch => &self.watch,
            StreamClass::FollowLog => &self.follow_log,
            StreamClass::Proxied => &self.proxied,
            StreamClass::Upgrade => &self.upgrade,
        }
    }
}

/// What was never sent because it could not be is no unknown outcome, yet the request is spent; all else is unknown.
fn unknown<B>(why: Why) -> SendError<B> {
    match why {
        Why::Identity(_) | Why::Head => SendError::Unprocessed { why },
        Why::Reach(_)
        | Why::QueueFull
        | Why::WaitedTooLong { .. }
        | Why::Closed
        | Why::Refused
        | Why::Lost
        | Why::Silent
        | Why::Reset { .. }
        | Why::AnswerTimedOut { .. }
        | Why::RequestBody
        | Why::BadAnswer(_) => SendError::Unknown { why },
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Resends {
    unprocessed: u32,
    unanswered: bool,
}

impl Resends {
    fn total(self) -> u32 {
        self.unprocessed + u32::from(self.unanswered)
    }

    /// After a sending whose outcome is open, "not sent" would be a lie, whatever the last attempt came to.
    fn give_up<B: SendBody>(self, outgoing: Outgoing<B>, why: Why) -> SendError<B> {
        if self.unanswered {
            SendError::Unknown { why }
        } else {
            outgoing.give_back(why)
        }
    }
}

async fn reap<B: SendBody>(lanes: [Arc<Lane<B>>; 4], idle: Duration) {
    // Half the limit: nothing stays open for more than one and a half times as long.
    let mut turns = tokio::time::interval((idle / 2).max(Duration::from_millis(10)));
    loop {
        turns.tick().await;
        for lane in &lanes {
            lane.reap(Instant::now());
        }
    }
}

impl<B: SendBody> Drop for Pool<B> {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

impl<B: SendBody> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("to", &self.shared.destination.name())
            .finish_non_exhaustive()
    }
}

/// After so many connections that did not take a request, the cluster is in trouble and more attempts would add to it.
const MOST_RESENDS: u32 = 4;
