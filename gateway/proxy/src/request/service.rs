//! The way of a call to a published service: the same stations, in the same order.
//!
//! ```text
//! head ─► stations of `called.rs` ─► strip ─► intent ─► add ─► upstream ─► answer
//! ```
//!
//! Every call is an effect (decision 0021), and each stands in the table of calls that go on from before it is sent: which of them
//! will go on only its answer tells. What is refused is told in a form that whoever asks can read: `service_refusal.rs`.

use std::sync::Arc;
use std::time::Duration;

use access::rule::{HostSpec, Published};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, COOKIE, EXPECT, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use model::cookie::Cookie;
use model::origin::Origin;
use model::request::Target;
use model::service::{HostName, ServiceName};
use model::time::Timestamp;
use tracing::Instrument as _;

use super::answer::{note_connection, own_audit_id};
use super::called::{Asked, Came as CameTo, Found, Passed};
use super::{Duties, Gate, Stop, forwarded, no_new_ones, unshared};
use crate::asserted::Assertions;
use crate::audit::{DecisionTrail, End, Place, Trail};
use crate::body::{BodyLimit, Ender, Outbound, Uplink};
use crate::chain;
use crate::decision::{Effect, Moment, Outgoing, Permit, ServiceDecided};
use crate::headers::{self, Came, Named, Shown};
use crate::identity::{Authenticated, Credential, Identity, public};
use crate::listener::{Conn, Head, Inbound, Upgrade};
use crate::page_origin::{ForeignPage, changes_from_own_page, is_of_own_page};
use crate::refusal::Refusal;
use crate::sending::{Answered, Behind, Sending};
use crate::services::ServiceGate;
use crate::session::LongCall;
use crate::sign_in_first::is_grpc;
use crate::site::OWN_PATHS;
use crate::upstream::{Call, Expected, StreamClass, UpstreamBody};

/// Whether browsers send of themselves what proved it.
pub(super) fn is_of_browser(who: &Authenticated) -> bool {
    matches!(
        who.identity().credential(),
        Credential::Cookie | Credential::Certificate
    )
}

impl Gate {
    /// From a host of services to an answer, station by station.
    pub(super) async fn service(
        &self,
        conn: &Arc<Conn>,
        host: HostName,
        head: &Head,
        mut request: Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Response<Outbound>, Stop> {
        if head.target.starts_with(OWN_PATHS.as_bytes()) {
            return self.at_service(conn, &host, head, request, trail).await;
        }
        let asked = Asked {
            host,
            method: request.method().clone(),
            target: &head.target,
            upgrade: head.upgrade,
            came: CameTo::Here(conn),
        };
        let passed = self.passed(asked, request.headers_mut(), trail).await?;
        let Passed {
            found: Found::Here(gate),
            target,
            decided,
            place,
            ..
        } = passed
        else {
            return Err(Refusal::Internal.into());
        };
        let permit = decided.permit(Arc::new(Outgoing::to_service(Vec::new())), self.proof_ends(trail));
        let call = self.prepared(&gate, &target, &mut request, trail)?;
        let duties = Duties {
            warning: None,
            call: Some(self.call_of_service(conn, trail, &decided, gate.published.passing().timeouts.longest)?),
            place,
            taking: request.body().taking(),
        };
        self.send_to_service(gate, (permit, call), head.upgrade, request, trail, duties)
            .await
    }

    /// One of our own paths on a host of services: what is there authenticates and records by itself.
    async fn at_service(
        &self,
        conn: &Conn,
        host: &HostName,
        head: &Head,
        request: Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Response<Outbound>, Stop> {
        unshared(trail)?.target = Target::parse(&head.target).ok();
        unshared(trail)?.counted_in(self.observed.host());
        no_new_ones(conn)?;
        trail.tells_elsewhere();
        let serving = self.host.serve_at_service(trail, host, request);
        let span = tracing::error_span!("request", request.id = trail.id.as_str());
        let response = serving.instrument(span).await;
        trail.told_end(Some(response.status().as_u16()), self.audit.clock().mono());
        Ok(response)
    }

    /// A cookie is sent with whatever any page asks for: what changes something, and what goes on, counts from the service's own pages alone.
    pub(super) fn is_asked_by_own_page(
        &self,
        host: &HostName,
        method: &Method,
        headers: &HeaderMap,
        upgrade: Option<Upgrade>,
    ) -> Result<(), Refusal> {
        let Some(origin) = self.services.origin_of(host) else {
            return Err(Refusal::ForeignPage(ForeignPage::Other));
        };
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let asked = match (upgrade, is_safe) {
            (Some(_), _) => is_of_own_page(headers, &origin),
            (None, false) => changes_from_own_page(headers, &origin),
            (None, true) => Ok(()),
        };
        asked.map_err(Refusal::ForeignPage)
    }

    /// Takes the assertion that a workload shows: from here on it is the person who calls, through that workload.
    pub(super) async fn on_behalf(
        &self,
        who: Option<&Authenticated>,
        headers: &HeaderMap,
        trail: &mut Arc<Trail>,
    ) -> Result<(), Refusal> {
        let Some(token) = chain::shown(headers)? else {
            return Ok(());
        };
        let now = trail.received.wall;
        let workload = who.map(Authenticated::identity).ok_or(Refusal::NoCredential)?;
        let judge = self.services.chains.as_deref();
        let judge = judge.ok_or_else(|| Refusal::NotOnBehalf("nobody acts for anybody at this gateway".to_owned()))?;
        let taken = chain::take(judge, workload, token, now)?;
        // Of who calls now the station of identity has asked already; those before it have no proof of theirs here.
        if let Some(lock) = taken.workloads().find_map(|one| self.identity.lock_over(one, now)) {
            return Err(Refusal::Locked(lock.in_words()));
        }
        let person = self.identity.of_assertion(taken.shown.claims(), now).await?;
        let known = unshared(trail)?;
        known.stated_reason = person.stated_reason(now).cloned();
        known.identity = Some(person);
        known.on_behalf = Some(Arc::new(taken));
        Ok(())
    }

    pub(super) fn decided(
        &self,
        published: &Published,
        who: Option<&Authenticated>,
        target: &Target,
        trail: &mut Arc<Trail>,
    ) -> Result<ServiceDecided, Refusal> {
        let Some(called) = trail.service.clone() else {
            return Err(Refusal::Internal);
        };
        let call = published.call(&called.host, trail.method.as_str(), path(target)?);
        let moment = Moment {
            source: trail.peer.ip.parse().ok(),
            reason_stated: trail.stated_reason.is_some(),
            now: trail.received.wall,
        };
        let station = &self.services.station;
        let decided = match (&trail.on_behalf, &trail.identity) {
            (Some(on_behalf), Some(person)) => station.decide_on_behalf(person, on_behalf, &call, moment)?,
            _ => station.decide(who, &call, moment)?,
        };
        unshared(trail)?.decision = Some(DecisionTrail {
            rules: Arc::clone(&decided.rules),
            policy: Arc::clone(&decided.policy),
            sent_groups_hash: "".into(),
        });
        Ok(decided)
    }

    /// The public has budgets of its own, apart from what people need.
    pub(super) fn place_of_public(&self, trail: &mut Arc<Trail>) -> Result<Place, Stop> {
        let nobody = Arc::new(public(&trail.peer.ip)?);
        let known = unshared(trail)?;
        known.identity = Some(Arc::clone(&nobody));
        if let Some(called) = &mut known.service {
            called.is_public = true;
        }
        let goes_on = trail.upgrade.is_some();
        let place = self
            .audit
            .budgets()
            .enter_public(nobody.subject().id(), goes_on, trail.received);
        place.map_err(Refusal::Limit).map_err(Stop::Counted)
    }

    /// Until when the caller's proof holds; the public's is none that could end.
    fn proof_ends(&self, trail: &Trail) -> Timestamp {
        let who = trail.identity.as_deref();
        let ends = who.map_or(Timestamp::MAX, |who| self.identity.known_end(who, trail.received.wall));
        ends.min(self.chain_ends(trail).unwrap_or(Timestamp::MAX))
    }

    /// Until when a workload may go on for somebody: nothing that a person began goes on by itself, and no proof is outlived.
    pub(super) fn chain_ends(&self, trail: &Trail) -> Option<Timestamp> {
        let on_behalf = trail.on_behalf.as_deref()?;
        let proved = self.identity.known_end(&on_behalf.workload, trail.received.wall);
        Some(on_behalf.ends().min(proved))
    }

    /// The word of who calls, for this service.
    pub(super) fn assertion(
        &self,
        assertions: &Assertions,
        who: &Identity,
        service: &ServiceName,
        trail: &Trail,
    ) -> Result<HeaderValue, Refusal> {
        let now = trail.received.wall;
        match &trail.on_behalf {
            Some(on_behalf) => assertions.onward(on_behalf, who, service, now),
            None => assertions.of(who, service, self.proof_ends(trail).min(who.expires_at()), now),
        }
    }

    /// Takes from the request what only the gateway may say, what proved its caller, and our cookies, and adds what the service is told; what
    /// goes up is what was decided on. How it is sent.
    fn prepared(
        &self,
        gate: &ServiceGate,
        target: &Target,
        request: &mut Request<Inbound>,
        trail: &Trail,
    ) -> Result<Call, Refusal> {
        let called = trail.service.as_ref().ok_or(Refusal::Internal)?;
        let passing = gate.published.passing();
        if let Some(most) = passing
            .largest_body
            .filter(|most| request.body().size_hint().lower() > *most)
        {
            return Err(Refusal::TooLarge(most));
        }
        let is_grpc = is_grpc(request.headers());
        let mut call = Call::new(StreamClass::Short, Expected::Nobody);
        // The first word of a gRPC stream may take as long as it likes.
        call.answer_within = (!is_grpc).then_some(passing.timeouts.answer);
        let origin = self.services.origin_of(&called.host).ok_or(Refusal::Internal)?;
        if passing.host == HostSpec::Keep {
            call = call.of_host(host_of(&origin)?);
        }
        let who = trail.identity.as_deref().filter(|_| !called.is_public);
        let assertion = match (who, &self.services.assertions) {
            (Some(who), Some(assertions)) => Some(self.assertion(assertions, who, gate.published.name(), trail)?),
            _ => None,
        };
        let named = who.zip(assertion).map(|(who, assertion)| Named {
            user: who.subject().username(),
            groups: who.subject().groups().iter().map(AsRef::as_ref),
            email: who.subject().email(),
            assertion,
        });
        let came = Came {
            from: trail.peer.ip.parse().map_err(|_| Refusal::Internal)?,
            to: &origin,
        };
        let headers = request.headers_mut();
        let shown = Shown::of(headers, self.services.is_secure());
        let _ = headers::strip(headers, gate.headers.own());
        headers::strip_own_cookies(headers);
        headers::strip_own_protocols(headers, &shown, &|token| self.identity.is_own_token(token));
        // The listener has met it: the body follows at once.
        headers.remove(EXPECT);
        let told = gate.headers.to_service(headers, came, named);
        told.map_err(|error| Refusal::NotAsserted(error.to_string()))?;
        if is_grpc {
            // What it means is the next hop's; without it servers of gRPC send no trailers.
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let target = gate.published.forwarded(target).map_err(Refusal::Target)?;
        *request.uri_mut() = forwarded(&target)?;
        Ok(call)
    }

    /// Its place in the table of calls that go on, before it is sent: what it was allowed on may be lost while it is recorded.
    fn call_of_service(
        &self,
        conn: &Arc<Conn>,
        trail: &Arc<Trail>,
        decided: &ServiceDecided,
        longest: Option<Duration>,
    ) -> Result<LongCall, Refusal> {
        let call = self.enter_table(conn, trail, decided.grounds)?;
        if let Some(refusal) = call.refusal() {
            return Err(refusal);
        }
        let station = &self.services.station;
        if station.version() != decided.grounds.version {
            station.anew(trail, trail.identity.as_deref(), trail.received.wall)?;
        }
        let demanded = decided.obligations().longest_seconds.map(Duration::from_secs);
        // What became something else than HTTP keeps these limits by itself; that of the chain counts of it, too.
        let of_rules = demanded.into_iter().chain(longest).filter(|_| trail.upgrade.is_none());
        let of_chain = self.chain_ends(trail).map(|ends| ends.since(trail.received.wall));
        if let Some(longest) = of_rules.chain(of_chain).min() {
            call.lasts_at_most(longest);
        }
        Ok(call)
    }

    /// Nothing leaves before its intent is durable, and it goes on without its client to learn how it ended.
    async fn send_to_service(
        &self,
        gate: Arc<ServiceGate>,
        (permit, call): (Permit<Effect>, Call),
        upgrade: Option<Upgrade>,
        mut request: Request<Inbound>,
        trail: &Arc<Trail>,
        duties: Duties,
    ) -> Result<Response<Outbound>, Stop> {
        let (recorded, end) = self.audit.intend(trail, permit).await?;
        trail.passed_intent(self.audit.clock().mono());
        let owed = recorded.permit().obligations();
        let switch = upgrade.map(|upgrade| self.switch((&mut request, upgrade), owed, None, trail));
        let passing = gate.published.passing();
        let timeouts = passing.timeouts;
        let switch = switch.map(|switch| switch.bounded_by(timeouts.idle, timeouts.longest));
        let limit = passing.largest_body.map(BodyLimit::new);
        let mut request = with_id(request, trail, &end, limit.clone());
        let call = match upgrade {
            Some(upgrade) => {
                headers::ask_upgrade(request.headers_mut(), upgrade);
                call.upgraded()
            }
            None => call,
        };
        let sending = Sending {
            to: Behind::Service(Arc::clone(&gate)),
            call,
            recorded,
            request,
            end,
            digest: Arc::default(),
            limit,
            duties,
            switch,
        };
        match self.send(sending).await? {
            Answered::Switched(response) => Ok(response),
            Answered::Plainly(response, end, duties) => Ok(deliver(response, end, duties, trail, &gate)),
        }
    }
}

/// Hands the service's answer on, with the duties that end with it.
fn deliver(
    response: Response<UpstreamBody<Uplink>>,
    mut end: End,
    duties: Duties,
    trail: &Trail,
    gate: &ServiceGate,
) -> Response<Outbound> {
    note_connection(&response, &mut end);
    end.answered(response.status().as_u16());
    let (mut parts, body) = response.into_parts();
    let Duties {
        call, place, taking, ..
    } = duties;
    if let Some(call) = &call {
        taking.ends_by(call.ending());
        if trail.upgrade.is_some() {
            call.stays_plain();
        }
    }
    let ender = call.map(|call| {
        if is_event_stream(&parts.headers) {
            Ender::new(call)
        } else {
            Ender::of_whole(call)
        }
    });
    headers::confine_response(&mut parts.headers, !gate.published.path().is_empty());
    gate.headers.to_client(&mut parts.headers);
    if let Some(anew) = trail.service.as_ref().and_then(|called| gate.rewriting(&called.host)) {
        anew.apply(&mut parts.headers);
    }
    // The service's own word of that name is not ours.
    let _ = own_audit_id(&mut parts.headers, trail);
    let idle = gate.published.passing().timeouts.idle;
    let body = Outbound::cluster(body, end, Some(place), ender, taking).of_service(idle);
    Response::from_parts(parts, body)
}

/// Server-sent events go on until somebody ends them, and their reader asks again.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// The decoded path, which is text.
pub(super) fn path(target: &Target) -> Result<&str, Refusal> {
    std::str::from_utf8(target.path()).map_err(|_| Refusal::Internal)
}

/// As browsers write the published address: one spelling, and the port that it is published under. What the client wrote may lead a server of
/// several sites to another one than was decided on.
fn host_of(origin: &Origin) -> Result<HeaderValue, Refusal> {
    let (_, authority) = origin.as_str().split_once("://").ok_or(Refusal::Internal)?;
    HeaderValue::from_str(authority).map_err(|_| Refusal::Internal)
}

/// The request with its id; all else that the service is told stands in it already.
fn with_id(request: Request<Inbound>, trail: &Trail, end: &End, limit: Option<Arc<BodyLimit>>) -> Request<Uplink> {
    let mut request = request.map(|body| Uplink::new(body, end.bytes_in()).at_most(limit));
    if let Ok(id) = HeaderValue::from_str(trail.id.as_str()) {
        request.headers_mut().insert("audit-id", id);
    }
    request
}

/// The hash of what binds a sign-in to this browser, if it holds that.
pub(super) fn arrival_of(headers: &HeaderMap, secure: bool) -> Option<Box<str>> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    Cookie::Arrival.find(lines, secure).map(hash)
}

/// SHA-256 as base64url, without padding.
pub(super) fn hash(value: &str) -> Box<str> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value.as_bytes());
    URL_SAFE_NO_PAD.encode(digest).into()
}
