//! The life of one request, top to bottom. The only file that knows the order.
//!
//! ```text
//! head ─► site ─► target ─► identity ─► facts ─► budget ─► decision ─► strip ─► intent or access ─► add ─► upstream ─► answer
//! ```
//!
//! What becomes of an upgrade behind the decision stands in `request/upgrade.rs`, what of an answer in `request/answer.rs`.
//!
//! Invariants: every path through here ends in one answer and one recorded end (promise 1, 4); what is decided, recorded and
//! forwarded is one parsed target (promise 2); nothing is sent for an effect before its intent is durable and nothing is
//! shown of a read before its access record is (promise 4).

mod answer;
mod called;
mod service;
mod service_refusal;
#[cfg(test)]
mod tests;
mod upgrade;
pub mod verdict;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::header::WARNING;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use model::ask::{PodAnswer, PodQuestion};
use model::cluster::ClusterId;
use model::decision::Unmet;
use model::go_duration::parse_go_duration;
use model::request::{Action, RequestFacts, Target, Wire};
use model::service::HostName;
use model::time::Timestamp;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::answer::{deliver, end_by_rules, end_warning};
pub(crate) use self::upgrade::Switch;
use self::upgrade::refused_as_unrecorded;
use crate::ask::Ask;
use crate::audit::{self, Alone, DecisionTrail, End, Fallbacks, Peer, Place, Trail};
use crate::body::{Begun, CopyCell, DigestCell, Outbound, Uplink};
use crate::decision::{self, Anew, Decided, Effect, Permit, Permitted, PureRead};
use crate::headers::{self, RequestedImpersonation};
use crate::identity::{self, Audience, Authenticated};
use crate::listener::{Conn, Handler, Head, Inbound, Refused, Taking};
use crate::observe::{Requests, Series};
use crate::own_rights::{self, About, MOST_QUESTION, Question};
use crate::refusal::{self, Asked, Refusal};
use crate::sending::{Answered, Behind, Sending, unanswered};
use crate::services::ServiceSide;
use crate::session::tunnel::{Bounds, Recordings, never_switches};
use crate::session::{Grounds, LongCall, Registry};
use crate::site::{GatewayHost, Site, Sites, WELL_KNOWN};
use crate::upstream::{self, Call, Expected, NoAnswer, Pool, StreamClass};

/// What an answer waits that is above a budget, one after another: a connection has twenty of them a second then, however many
/// streams it has, at next to no cost.
const ABOVE_A_BUDGET: Duration = Duration::from_millis(50);
/// Logs that one subject reads at the same time, and plain requests through `proxy` subresources: an eighth of the connections
/// that are for each of them to one cluster.
const ALONE_OF_ONE: u32 = 128;

/// What stands behind one cluster's name.
#[derive(Debug)]
pub struct ClusterGate {
    /// Connections to it.
    pub pool: Pool<Uplink>,
    /// Decisions about it.
    pub decision: Arc<decision::Station>,
    /// Asks on which node a pod runs.
    pub pods: Ask<PodQuestion, PodAnswer>,
    /// Where its requests are counted.
    pub series: Arc<Series>,
}

/// Everything a request passes through.
pub struct Gate {
    sites: Arc<Sites>,
    identity: Arc<identity::Station>,
    audit: Arc<audit::Station>,
    clusters: HashMap<ClusterId, Arc<ClusterGate>>,
    calls: Arc<Registry>,
    services: ServiceSide,
    host: Arc<dyn GatewayHost>,
    sign_in: Arc<str>,
    /// Where requests are counted that are no cluster's.
    observed: Arc<Requests>,
    /// Effects that are being sent. They outlive their clients and have to be waited for before the ledger is closed.
    sending: TaskTracker,
    /// How long a tunnel may last.
    bounds: Bounds,
    /// How sessions are recorded, if they can be.
    recordings: Option<Recordings>,
    fallbacks: Fallbacks,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("clusters", &self.clusters.keys())
            .finish_non_exhaustive()
    }
}

/// Why a request is not served, and whether that has been written down.
enum Stop {
    /// Not yet: a refusal record is due.
    Refused(Refusal),
    /// The end of an opened record says it.
    Ended(Refusal),
    /// It is above a limit and was counted.
    Counted(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Gate {
    /// Joins the stations. `sign_in` is the command that a refused caller is told to run.
    #[must_use]
    pub fn new(
        sites: Arc<Sites>,
        identity: Arc<identity::Station>,
        audit: Arc<audit::Station>,
        clusters: HashMap<ClusterId, Arc<ClusterGate>>,
        calls: Arc<Registry>,
        host: Arc<dyn GatewayHost>,
        sign_in: Arc<str>,
    ) -> Self {
        Self {
            sites,
            identity,
            audit,
            clusters,
            calls,
            services: ServiceSide::none(),
            host,
            sign_in,
            observed: Arc::new(Requests::new([])),
            sending: TaskTracker::new(),
            bounds: Bounds::default(),
            recordings: None,
            fallbacks: Fallbacks::default(),
        }
    }

    /// Records sessions so. Without it a session that has to be recorded is refused.
    #[must_use]
    pub fn recording_sessions(mut self, recordings: Recordings) -> Self {
        self.recordings = Some(recordings);
        self
    }

    /// Serves these services, too.
    #[must_use]
    pub fn publishing(mut self, services: ServiceSide) -> Self {
        self.services = services;
        self
    }

    /// Counts requests here. Without it those that are no cluster's are counted where nobody looks.
    #[must_use]
    pub fn observed_by(mut self, requests: Arc<Requests>) -> Self {
        self.observed = requests;
        self
    }

    /// Waits until every effect that was sent has its end: half a minute at most after its client has left. To be called
    /// when no new requests come.
    pub async fn ended(&self) {
        self.sending.close();
        self.sending.wait().await;
        self.audit.ends_written().await;
    }

    /// From a head to an answer, station by station.
    async fn serve(
        &self,
        conn: &Arc<Conn>,
        head: Head,
        mut request: Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Response<Outbound>, Stop> {
        if let Some(violation) = head.violation {
            return Err(Refusal::Malformed(violation).into());
        }
        let is_published = |host: &HostName| self.services.table.borrow().has_host(host);
        let (cluster, raw) = match self.sites.site(conn.listener(), &head, is_published) {
            Site::Gateway => return self.gateway_host(conn, &head, request, trail).await,
            Site::Cluster { id, target } => (id, target),
            Site::Service(host) => return self.service(conn, host, &head, request, trail).await,
            Site::Unknown => return Err(Refusal::UnknownHost.into()),
        };
        let (gate, target) = self.addressed(&cluster, &raw, unshared(trail)?)?;
        let who = self.proved(conn, &cluster, &mut request, trail).await?;
        let read = self.read_head(&request, &target, &who, unshared(trail)?);
        // Whatever is wrong with the rest of the head, its refusal is a record too and costs the same budget.
        let place = self.within_budgets(&who, trail)?;
        // Here and not earlier: the record says who it was.
        no_new_ones(conn)?;
        let facts = read.sound(unshared(trail)?)?;
        self.on_behalf(Some(&who), request.headers(), trail).await?;
        let decided = gate
            .decision
            .decide(&who, trail.effective.as_ref(), &facts, trail)
            .await;
        trail.passed_decision(self.audit.clock().mono());
        let Decided {
            permit,
            rules,
            policy,
            sent_groups_hash,
            grounds,
        } = decided?;
        unshared(trail)?.decision = Some(DecisionTrail {
            rules,
            policy,
            sent_groups_hash,
        });
        prepare(&mut request, &target, trail)?;
        self.may_stay_plain(&permit, trail)?;
        let (call, warning) = self.long_call(gate, conn, trail, &permit, grounds)?.unzip();
        let duties = Duties {
            warning: warning.flatten(),
            call,
            place,
            taking: request.body().taking(),
        };
        match (permit, head.upgrade) {
            (Permitted::Read(permit), None) => self.read(gate, permit, request, trail, duties).await,
            (Permitted::Effect(permit), None) => self.effect(gate, permit, request, trail, duties).await,
            (Permitted::Effect(permit), Some(upgrade)) => {
                self.upgrade(gate, permit, upgrade, request, trail, duties).await
            }
            // The classifier calls every upgrade an effect.
            (Permitted::Read(_), Some(_)) => Err(Refusal::Internal.into()),
        }
    }

    /// What the head is addressed to.
    fn addressed(
        &self,
        cluster: &ClusterId,
        raw: &[u8],
        trail: &mut Trail,
    ) -> Result<(&Arc<ClusterGate>, Target), Refusal> {
        trail.cluster = Some(cluster.clone());
        let target = Target::parse(raw).map_err(Refusal::Target)?;
        trail.target = Some(target.clone());
        let gate = self.clusters.get(cluster).ok_or(Refusal::UnknownHost)?;
        trail.counted_in(&gate.series);
        Ok((gate, target))
    }

    /// Who sent it. What proved them is taken from the request.
    async fn proved(
        &self,
        conn: &Conn,
        cluster: &ClusterId,
        request: &mut Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Authenticated, Stop> {
        let proved = self
            .identity
            .authenticate(conn, Audience::Cluster(cluster), request.headers_mut(), trail.received)
            .await;
        let who = match proved {
            Ok(who) => who,
            Err(unproved) => return Err(self.turned_back(unproved, unshared(trail)?)),
        };
        unshared(trail)?.identity = Some(Arc::clone(who.identity()));
        unshared(trail)?.links_to(request.headers());
        trail.passed_identity(self.audit.clock().mono());
        Ok(who)
    }

    /// What the head asks for, as far as it can be read; all of that stands in the trail.
    fn read_head(
        &self,
        request: &Request<Inbound>,
        target: &Target,
        who: &Authenticated,
        trail: &mut Trail,
    ) -> ReadHead {
        let impersonation = RequestedImpersonation::read(request.headers());
        let stated = impersonation.as_ref().ok().and_then(Option::as_ref);
        let stated = stated.and_then(|asked| asked.reason.as_deref()).map(Arc::from);
        let known = who.identity().stated_reason(trail.received.wall).cloned();
        trail.stated_reason = stated.or(known);
        let own = who.identity().subject().username();
        let impersonation = impersonation.map(|asked| asked.and_then(|asked| asked.unless_only_reason(own)));
        let wire = Wire {
            method: request.method().as_str(),
            wants_upgrade: trail.upgrade.is_some(),
            impersonates: matches!(impersonation, Ok(Some(_))),
        };
        let facts = RequestFacts::classify(target, wire);
        trail.facts = facts.as_ref().ok().cloned();
        trail.fallback_of = self.fallbacks.first_attempt(trail, self.audit.clock().mono());
        ReadHead {
            impersonation: impersonation.map_err(|error| Refusal::Headers(error.to_string())),
            facts: facts.map_err(|error| Refusal::Headers(error.to_string())),
        }
    }

    /// A place of the caller's own, if they have one left.
    fn within_budgets(&self, who: &Authenticated, trail: &Trail) -> Result<Place, Stop> {
        let subject = who.identity().subject().id();
        let place = self.audit.budgets().enter(subject, goes_on(trail), trail.received);
        let place = place.and_then(|place| match trail.facts.as_ref().and_then(takes_a_connection) {
            // A session takes one by other limits.
            Some(Alone::Proxied) if trail.upgrade.is_some() => Ok(place),
            Some(what) => place.alone(what, ALONE_OF_ONE, trail.received),
            None => Ok(place),
        });
        place.map_err(Refusal::Limit).map_err(Stop::Counted)
    }

    /// A plain request may do no more than one that has to be recorded.
    fn may_stay_plain(&self, permit: &Permitted, trail: &Trail) -> Result<(), Refusal> {
        let is_plain = trail.upgrade.is_none() || trail.target.as_ref().is_some_and(never_switches);
        if is_plain && self.must_be_a_session(permit.obligations(), trail) {
            return Err(refused_as_unrecorded(trail, Unmet::NoSession));
        }
        Ok(())
    }

    /// A call that goes on has a place in the table of those, and its end a name where that is known.
    fn long_call(
        &self,
        gate: &ClusterGate,
        conn: &Arc<Conn>,
        trail: &Arc<Trail>,
        permit: &Permitted,
        grounds: Grounds,
    ) -> Result<Option<(LongCall, Option<HeaderValue>)>, Refusal> {
        if !goes_on(trail) {
            return Ok(None);
        }
        let now = trail.received.wall;
        let proof_ends = trail.identity.as_deref().map(|who| self.identity.known_end(who, now));
        let rules_end = end_by_rules(permit, grounds, now);
        let warning = end_warning(rules_end, proof_ends.unwrap_or(Timestamp::MAX), now);
        let call = self.enter_table(conn, trail, grounds)?;
        unless_lost(&call, gate, trail, grounds)?;
        // A tunnel keeps the limits of the rules by itself.
        let of_rules = permit.obligations().longest_seconds.filter(|_| trail.upgrade.is_none());
        let of_chain = self.chain_ends(trail).map(|ends| ends.since(now));
        if let Some(longest) = of_rules.map(Duration::from_secs).into_iter().chain(of_chain).min() {
            call.lasts_at_most(longest);
        }
        Ok(Some((call, warning)))
    }

    /// Who is proved and locked out stands in the record, and their refusals cost their own budget.
    fn turned_back(&self, unproved: identity::Unproved, trail: &mut Trail) -> Stop {
        let Some(known) = unproved.known else {
            trail.presented = Some((unproved.credential, unproved.issuer));
            return unproved.refusal.into();
        };
        let of_theirs = self
            .audit
            .budgets()
            .enter(known.subject().id(), false, trail.received)
            .err();
        trail.identity = Some(known);
        match of_theirs {
            Some(limit) => Stop::Counted(Refusal::Limit(limit)),
            None => unproved.refusal.into(),
        }
    }

    /// A call that goes on stands in the table before it is sent, so that no change of rules passes it by.
    fn enter_table(&self, conn: &Arc<Conn>, trail: &Arc<Trail>, grounds: Grounds) -> Result<LongCall, Refusal> {
        let entered = self
            .calls
            .enter(Arc::clone(trail), Some(Arc::clone(conn)), conn.draining(), grounds);
        entered.map_err(|full| Refusal::Limit(full.into()))
    }

    /// The gateway host authenticates and records what people do there by itself; the one path that is answered without
    /// identity on every listener is recorded here.
    async fn gateway_host(
        &self,
        conn: &Conn,
        head: &Head,
        request: Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Response<Outbound>, Stop> {
        unshared(trail)?.target = Target::parse(&head.target).ok();
        unshared(trail)?.counted_in(self.observed.host());
        no_new_ones(conn)?;
        trail.tells_elsewhere();
        let serving = self.host.serve(trail, request);
        // People sign in here, seldom: whatever is logged meanwhile carries the id.
        let span = tracing::error_span!("request", request.id = trail.id.as_str());
        let response = serving.instrument(span).await;
        trail.told_end(Some(response.status().as_u16()), self.audit.clock().mono());
        if trail
            .target
            .as_ref()
            .is_some_and(|target| target.path_raw() == WELL_KNOWN)
        {
            self.audit.visited(trail, response.status().as_u16());
        }
        Ok(response)
    }

    /// A pure read: asked upstream while its record goes to the disk; the answer is held until that is durable.
    async fn read(
        &self,
        gate: &ClusterGate,
        permit: Permit<PureRead>,
        request: Request<Inbound>,
        trail: &Arc<Trail>,
        duties: Duties,
    ) -> Result<Response<Outbound>, Stop> {
        let (access, mut end) = self.audit.access(trail, &permit).await?;
        let request = with_own_headers(request, permit.outgoing(), trail, &end, None);
        let call = call(trail, &permit).pure_read();
        end.sent();
        trail.leaves(self.audit.clock().mono());
        let answer = upstream::read(&gate.pool, &call, permit, request).await;
        if answer.is_ok() {
            trail.first_byte(self.audit.clock().mono());
        }
        // Held also where there is none: what its end says belongs to a record that is there.
        let (answer, evidence) = match access.hold(answer).open().await {
            Ok(opened) => opened,
            Err(refusal) => {
                end.withdraw();
                return Err(Stop::Refused(refusal));
            }
        };
        trail.opened(self.audit.clock().mono());
        end.stands_on(evidence);
        match answer {
            Ok(response) => deliver(response, end, duties, trail),
            Err(NoAnswer { error, attempts }) => Err(Stop::Ended(unanswered(end, error, attempts))),
        }
    }

    /// An effect: nothing leaves before its intent is durable, and it goes on without its client to learn how it ended.
    async fn effect(
        &self,
        gate: &Arc<ClusterGate>,
        permit: Permit<Effect>,
        request: Request<Inbound>,
        trail: &Arc<Trail>,
        duties: Duties,
    ) -> Result<Response<Outbound>, Stop> {
        let request = self.audit.begins(trail, request).await;
        let (recorded, end) = self.audit.intend(trail, permit).await?;
        trail.passed_intent(self.audit.clock().mono());
        let digest = Arc::new(DigestCell::new());
        let wanted = trail.may_be_digested().then_some(&digest);
        let mut request = with_own_headers(request, recorded.permit().outgoing(), trail, &end, wanted);
        let about = trail.facts.as_ref().and_then(About::of);
        let asked = Arc::new(CopyCell::new());
        if about.is_some() {
            request = request.map(|body| body.copied(MOST_QUESTION, Arc::clone(&asked)));
        }
        let call = call(trail, recorded.permit());
        let sending = Sending {
            to: Behind::Cluster(Arc::clone(gate)),
            call,
            recorded,
            request,
            end,
            digest,
            limit: None,
            duties,
            switch: None,
        };
        let Answered::Plainly(response, end, duties) = self.send(sending).await? else {
            // Nothing was asked to switch.
            return Err(Stop::Ended(Refusal::Internal));
        };
        let mut response = deliver(response, end, duties, trail)?;
        if let Some(about) = about.filter(|_| response.status().is_success()) {
            let question = asked.get().and_then(|body| Question::read(body));
            let foreseen = gate.decision.foresees(about, question.as_ref(), trail);
            if let Some(warning) = foreseen.and_then(|text| own_rights::warning(&text)) {
                response.headers_mut().append(WARNING, warning);
            }
        }
        Ok(response)
    }

    /// Sends an effect in a task of its own, so that it is ended and recorded whether its client waits or not.
    async fn send(&self, sending: Sending) -> Result<Answered, Stop> {
        let (answer, answered) = oneshot::channel();
        self.sending.spawn(sending.run(answer));
        match answered.await {
            Ok(Ok(sent)) => Ok(sent),
            Ok(Err(refusal)) => Err(Stop::Ended(refusal)),
            Err(_) => Err(Stop::Ended(Refusal::Internal)),
        }
    }

    /// What is known of a request whose head has arrived.
    fn arrived(&self, conn: &Conn, head: &Head, request: &Request<Inbound>) -> Trail {
        let peer = Peer {
            ip: Arc::clone(conn.peer_ip()),
            port: conn.peer().port(),
            listener: Arc::clone(conn.listener()),
        };
        let http = if request.version() == http::Version::HTTP_2 {
            "HTTP/2.0"
        } else {
            "HTTP/1.1"
        };
        let now = self.audit.clock().read();
        let mut trail = Trail::new(now, peer, http, request.method().clone(), request.headers());
        trail.counted_in(self.observed.nobody());
        if self.audit.seals_names() {
            trail.names_nobody();
        }
        trail.upgrade = head.upgrade;
        trail
    }

    /// The refusal, and whether there is a record that says it.
    fn written(&self, stop: Stop, trail: &Trail) -> (Refusal, bool) {
        match stop {
            Stop::Refused(refusal) => {
                let recorded = self.audit.refuse(trail, &refusal);
                // The disk has just not taken a record. Whether it takes this one is not known when the answer is sent.
                let is_known = !matches!(refusal, Refusal::LedgerRefuses(_));
                (refusal, recorded && is_known)
            }
            Stop::Ended(refusal) => (refusal, !trail.is_unrecorded()),
            Stop::Counted(refusal) => (refusal, false),
        }
    }

    fn refuse(&self, trail: &Trail, refusal: &Refusal, recorded: bool) -> Response<Outbound> {
        if let Some(called) = &trail.service {
            return self
                .refuse_at_service(called, trail, refusal, recorded)
                .map(Outbound::bytes);
        }
        let identity = trail.identity.as_deref();
        let asked = Asked {
            id: trail.id.as_str(),
            user: identity.map(|identity| identity.subject().username()),
            groups: identity.map_or(&[], |identity| identity.subject().groups()),
            facts: trail.facts.as_ref(),
            signed_in: identity.is_some_and(|identity| identity.credential() == identity::Credential::GatewayToken),
            recorded,
            sign_in: &self.sign_in,
        };
        refusal::answer(refusal, &asked).map(Outbound::bytes)
    }
}

impl Handler for Gate {
    type Body = Outbound;

    async fn handle(&self, conn: Arc<Conn>, head: Head, request: Request<Inbound>) -> Response<Outbound> {
        let mut waiting = Waiting {
            audit: &self.audit,
            conn: &conn,
            trail: Arc::new(self.arrived(&conn, &head, &request)),
        };
        let served = AssertUnwindSafe(self.serve(&conn, head, request, &mut waiting.trail))
            .catch_unwind()
            .await;
        let trail = waiting.over();
        let led_nowhere = match &served {
            Ok(Ok(response)) => response.status() != StatusCode::SWITCHING_PROTOCOLS,
            // Without a record there is nothing to name.
            Ok(Err(stop)) => !matches!(stop, Stop::Counted(_)),
            Err(_) => true,
        };
        if led_nowhere {
            self.fallbacks.failed(&trail, self.audit.clock().mono());
        }
        let stop = match served {
            Ok(Ok(response)) => return response,
            Ok(Err(stop)) => stop,
            // The panic hook has told where; the caller learns only the id.
            Err(_) => {
                tracing::error!(request.id = trail.id.as_str(), "a request panicked");
                Stop::Refused(Refusal::Internal)
            }
        };
        let (refusal, recorded) = self.written(stop, &trail);
        let now = self.audit.clock().mono();
        trail.turned_down(&refusal, now);
        trail.told_end(Some(refusal.status().as_u16()), now);
        if !recorded {
            // Who is above a budget goes on slowly, so that a flood leaves the processor to everybody else (promise 8); so does a
            // refusal that a full ledger could not take. Nobody else waits here, and no stop of the gateway does.
            conn.hold_back(ABOVE_A_BUDGET).await;
        }
        self.refuse(&trail, &refusal, recorded)
    }

    fn connection_refused(&self, conn: &Conn, reason: Refused) {
        self.audit.connection_refused(conn, reason);
    }
}

/// A request that nobody has answered or opened yet. When its client leaves meanwhile, dropping this says so: identity and
/// policy may have to ask somebody, and whoever breaks off then would leave no trace.
struct Waiting<'a> {
    audit: &'a audit::Station,
    conn: &'a Conn,
    trail: Arc<Trail>,
}

impl Waiting<'_> {
    fn over(self) -> Arc<Trail> {
        self.trail.tells_elsewhere();
        Arc::clone(&self.trail)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.trail.is_told() {
            self.trail.told_end(None, self.audit.clock().mono());
            self.audit.left(&self.trail, self.conn.draining().is_cancelled());
        }
    }
}

/// What ends with the answer: the subject's place, and for a call that goes on its place in the table of those.
pub(crate) struct Duties {
    /// Names the end of a call that goes on, where it is known at its beginning.
    warning: Option<HeaderValue>,
    place: Place,
    call: Option<LongCall>,
    taking: Taking,
}

impl Duties {
    /// Why it may not be sent any more. What it was allowed on may be gone since: its record had to become durable, its recording
    /// to be made ready, and the cluster to be asked.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.call.as_ref().and_then(LongCall::refusal)
    }

    /// Its place among the calls that go on; none where nothing ends it.
    pub(crate) const fn long_call(&self) -> Option<&LongCall> {
        self.call.as_ref()
    }
}

/// The trail is still ours alone: nothing has been opened on it.
fn unshared(trail: &mut Arc<Trail>) -> Result<&mut Trail, Refusal> {
    Arc::get_mut(trail).ok_or(Refusal::Internal)
}

/// A drain takes no new requests, not on connections that were there before it either. HTTP/2 lets a client send some until
/// it has seen GOAWAY; they are safe to send again, elsewhere.
fn no_new_ones(conn: &Conn) -> Result<(), Refusal> {
    if conn.draining().is_cancelled() {
        return Err(Refusal::Draining);
    }
    Ok(())
}

/// What a head asks for. What is wrong with it is told behind the budget and not before.
struct ReadHead {
    impersonation: Result<Option<RequestedImpersonation>, Refusal>,
    facts: Result<RequestFacts, Refusal>,
}

impl ReadHead {
    fn sound(self, trail: &mut Trail) -> Result<RequestFacts, Refusal> {
        let (effective, facts) = (self.impersonation?, self.facts?);
        trail.effective = effective;
        Ok(facts)
    }
}

/// Whether what it was allowed on is there still, now that it stands in the table: what is lost from here on finds it there. What
/// was lost before, while somebody had to be asked, passed it by.
fn unless_lost(call: &LongCall, gate: &ClusterGate, trail: &Trail, grounds: Grounds) -> Result<(), Refusal> {
    if let Some(refusal) = call.refusal() {
        return Err(refusal); // its sign-in has ended, or they are locked out
    }
    if gate.decision.version() == grounds.version {
        return Ok(());
    }
    match gate
        .decision
        .anew(trail, trail.identity.as_deref(), trail.received.wall)
    {
        Anew::Refused(refusal) => Err(refusal),
        // What it owes by now, and what the cluster has to be asked, the keeper looks at.
        Anew::Stands(_) | Anew::Ask(_) => Ok(()),
    }
}

/// Whether it goes on until somebody ends it: a watch, a followed log, an upgrade.
fn goes_on(trail: &Trail) -> bool {
    trail.upgrade.is_some() || trail.facts.as_ref().is_some_and(RequestFacts::long_running)
}

/// Takes from the request what only the gateway may say, and what proved its caller; what goes up is what was decided on.
fn prepare(request: &mut Request<Inbound>, target: &Target, trail: &Trail) -> Result<(), Refusal> {
    let _ = headers::strip(request.headers_mut(), &[]);
    headers::strip_credentials(request.headers_mut(), trail.upgrade);
    if trail.asks_for_token() || trail.asks_for_certificate() {
        // A table has names alone, unless its rows are asked for whole; a token comes in none.
        let tables = !trail.asks_for_token() && !trail.asks_for_whole_rows();
        headers::ask_readably(request.headers_mut(), tables).map_err(|error| Refusal::Headers(error.to_string()))?;
    }
    *request.uri_mut() = forwarded(target)?;
    Ok(())
}

fn forwarded(target: &Target) -> Result<Uri, Refusal> {
    let path_and_query = PathAndQuery::try_from(target.raw())
        .map_err(|_| Refusal::Headers("the target cannot be forwarded as it came".to_owned()))?;
    Ok(Uri::from(path_and_query))
}

/// Adds what only the gateway may say, after everything of that kind was stripped.
fn with_own_headers(
    request: Request<impl Into<Begun>>,
    outgoing: &decision::Outgoing,
    trail: &Trail,
    end: &End,
    digest: Option<&Arc<DigestCell>>,
) -> Request<Uplink> {
    let mut request = request.map(|body| {
        let uplink = Uplink::new(body, end.bytes_in());
        match digest {
            Some(cell) => uplink.digested(Arc::clone(cell)),
            None => uplink,
        }
    });
    let headers = request.headers_mut();
    outgoing.add_to(headers);
    for (name, text) in [("audit-id", trail.id.as_str()), ("x-forwarded-for", &trail.peer.ip)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    request
}

/// Whether the answer takes a connection for itself: somebody else than the API server chooses its pieces.
fn takes_a_connection(facts: &RequestFacts) -> Option<Alone> {
    if facts.subresource() == "log" {
        Some(Alone::Log)
    } else if facts.action() == Action::Proxy {
        Some(Alone::Proxied)
    } else {
        None
    }
}

fn call<K>(trail: &Trail, permit: &Permit<K>) -> Call {
    let facts = trail.facts.as_ref();
    let class = match (facts.and_then(takes_a_connection), facts) {
        (Some(Alone::Log), _) => StreamClass::FollowLog,
        (Some(Alone::Proxied), _) => StreamClass::Proxied,
        (None, Some(facts)) if facts.long_running() => StreamClass::Watch,
        _ => StreamClass::Short,
    };
    let user = permit.outgoing().user();
    let expected = user.map_or(Expected::Nobody, |user| Expected::User(user.clone()));
    let mut call = Call::new(class, expected);
    if let (Some(limit), Some(asked)) = (call.answer_within, trail.target.as_ref().and_then(timeout)) {
        // The cluster's own 504 must arrive, not ours (G-04).
        call.answer_within = Some(limit.max(asked.saturating_add(Duration::from_secs(15))));
    }
    call
}

/// `timeout=` of the query, a day at most.
fn timeout(target: &Target) -> Option<Duration> {
    let value = target.query().first("timeout")?;
    let nanos = parse_go_duration(std::str::from_utf8(&value).ok()?)?;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?).min(Duration::from_secs(86_400)))
}

/// A whole answer of ours.
#[must_use]
pub fn plain(status: StatusCode, body: Bytes) -> Response<Outbound> {
    let mut response = Response::new(Outbound::bytes(body));
    *response.status_mut() = status;
    response
}
