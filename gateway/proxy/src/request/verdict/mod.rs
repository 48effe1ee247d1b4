//! Forward-auth: an ingress that forwards by itself asks about each call whether it may, and is told so. A verdict passes the same readers, the
//! same identity and the same decision as a call that passes here, and each is one record.
//!
//! ```text
//! question ─► ingress ─► what it tells ─► stations of `called.rs` ─► record ─► answer
//! ```
//!
//! What it is not: a way for a call. What becomes of the call nobody here sees; how long a stream goes on is the ingress's to say. So a
//! verdict is evidence of an answer of ours and never counts as coverage.
//!
//! Invariants: nothing but `Yes` makes an answer of 2xx, and it takes the evidence that the record is durable; only a configured ingress is
//! told anything; these listeners have nothing else on them, so that no host, path or header leads a browser here.

mod envoy;
mod peer;
mod said;
mod told;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

pub use self::envoy::fuzz_envoy_check;
pub use self::peer::{BadSecret, LEAST_SECRET, PEER_SECRET, Peers, Secrets};
use self::said::Said;
pub use self::told::fuzz_ingress_told;
use self::told::{Told, Words};
use super::called::{Asked, Came, Passed};
use super::{ABOVE_A_BUDGET, Gate, Stop, Waiting};
use crate::audit::{Peer, RecordedVerdict, Trail};
use crate::chain::ASSERTION;
use crate::headers::{self, Named, ServiceHeaders};
use crate::identity::Authenticated;
use crate::listener::{Conn, Handler, Head, Inbound, Refused};
use crate::refusal::Refusal;
use crate::whom::Whom;

use access::rule::Published;

/// The cookies of the call without ours, for the ingress to hand on instead of those that came.
pub static OTHER_COOKIES: HeaderName = HeaderName::from_static("x-gatescribe-cookie");

/// What a listener for verdicts serves.
#[derive(Debug)]
pub struct Verdicts {
    gate: Arc<Gate>,
    peers: Arc<Peers>,
}

impl Verdicts {
    /// Verdicts by the stations of `gate`, for `peers` alone.
    #[must_use]
    pub const fn new(gate: Arc<Gate>, peers: Arc<Peers>) -> Self {
        Self { gate, peers }
    }

    /// From a question to a yes, station by station.
    async fn judge(
        &self,
        conn: &Conn,
        head: &Head,
        request: Request<Inbound>,
        trail: &mut Arc<Trail>,
    ) -> Result<Yes, Stop> {
        if let Some(violation) = head.violation {
            return Err(Refusal::Malformed(violation).into());
        }
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        let peer = self.peers.proved(conn, &mut headers)?;
        let words = Words::at(&head.target).ok_or(Refusal::UnknownHost)?;
        let body = match words {
            Words::Envoy => whole(body).await?,
            Words::Nginx | Words::Forward => Bytes::new(), // what came with the call is nothing that is looked at
        };
        let told = words
            .read(headers, &body)
            .map_err(|untold| Refusal::Headers(untold.to_string()))?;
        *trail = Arc::new(self.gate.told_trail(conn, &peer, &told, trail));
        self.gate.judge(conn, told, trail).await
    }
}

impl Gate {
    /// What is known of a call that came to an ingress.
    fn told_trail(&self, conn: &Conn, ingress: &str, told: &Told, question: &Trail) -> Trail {
        let peer = Peer {
            ip: told.from.to_string().into(),
            port: 0, // the ingress's to know
            listener: Arc::clone(conn.listener()),
        };
        // By which HTTP the caller spoke to the ingress is not told.
        let mut trail = Trail::new(question.received, peer, "", told.method.clone(), &told.headers);
        trail.counted_in(self.observed.services());
        if self.audit.seals_names() {
            trail.names_nobody();
        }
        trail.upgrade = told.upgrade;
        let asked_from = conn.peer_ip();
        trail.told_by =
            Some(format!("asked by the ingress {ingress} from {asked_from}, which forwards by itself").into());
        trail
    }

    async fn judge(&self, conn: &Conn, mut told: Told, trail: &mut Arc<Trail>) -> Result<Yes, Stop> {
        let asked = Asked {
            host: told.host,
            method: told.method,
            target: &told.target,
            upgrade: told.upgrade,
            came: Came::ToIngress(conn, told.from),
        };
        let passed = self.passed(asked, &mut told.headers, trail).await?;
        // It keeps its place until the record is written.
        let Passed {
            found,
            who,
            place: _place,
            ..
        } = passed;
        let published = found.published();
        let said = self.said_to_ingress(published, who.as_ref(), trail)?;
        let headers = ServiceHeaders::of(published).map_err(|_| Refusal::Internal)?;
        let recorded = self.audit.verdict(trail).await?;
        Ok(Yes::of(&recorded, said, &headers, told.headers))
    }

    /// The headers that say who calls, for the ingress to set.
    fn said_to_ingress(
        &self,
        published: &Published,
        who: Option<&Authenticated>,
        trail: &Trail,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        // Whom a workload acts for, where it does.
        let identity = who.and(trail.identity.as_deref());
        let (Some(identity), Some(assertions)) = (identity, &self.services.assertions) else {
            return Ok(Vec::new());
        };
        let assertion = self.assertion(assertions, identity, published.name(), trail)?;
        let headers = ServiceHeaders::of(published).map_err(|_| Refusal::Internal)?;
        let subject = identity.subject();
        let named = Named {
            user: subject.username(),
            groups: subject.groups().iter().map(|group| &**group),
            email: subject.email(),
            assertion,
        };
        headers
            .said(named)
            .map_err(|error| Refusal::NotAsserted(error.to_string()))
    }

    /// What an ingress is told where the answer is no. None of it is a yes to any ingress.
    fn no(&self, words: Option<Words>, trail: &Trail, refusal: &Refusal, recorded: bool) -> Response<Said> {
        let (Some(called), Some(words)) = (&trail.service, words) else {
            return in_plain_words(refusal).map(Said::of);
        };
        let mut response = self.refuse_at_service(called, trail, refusal, recorded);
        let status = response.status();
        *response.status_mut() = match words {
            // Of anything else nginx makes a fault of its own, and shows no page of ours either way.
            Words::Nginx if status == StatusCode::SEE_OTHER || status == StatusCode::UNAUTHORIZED => {
                StatusCode::UNAUTHORIZED
            }
            Words::Nginx if status.is_client_error() => StatusCode::FORBIDDEN,
            // gRPC says no inside a 200, which an ingress takes for a yes.
            _ if status.is_success() || status.is_informational() => no_of(refusal),
            _ => status,
        };
        match words {
            Words::Envoy => Said::grpc(envoy::no(&response)),
            Words::Nginx | Words::Forward => response.map(Said::of),
        }
    }
}

/// The status of a refusal, which is none of success.
fn no_of(refusal: &Refusal) -> StatusCode {
    Some(refusal.status())
        .filter(|status| status.is_client_error() || status.is_server_error())
        .unwrap_or(StatusCode::FORBIDDEN)
}

/// To somebody who is no ingress of ours, or is misconfigured.
fn in_plain_words(refusal: &Refusal) -> Response<Bytes> {
    let mut response = Response::new(format!("{}\n", refusal.in_words_of(Whom::Service)).into());
    *response.status_mut() = no_of(refusal);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The one thing that lets a call pass: who calls, and the cookies that are not ours.
struct Yes {
    /// Each header that says who calls; empty where there is nothing to say.
    said: Vec<(HeaderName, HeaderValue)>,
    cookies: HeaderValue,
    /// Names of which the gateway alone has the word to this service.
    own: Vec<HeaderName>,
    /// The caller's own headers.
    asked: HeaderMap,
}

impl Yes {
    fn of(
        _: &RecordedVerdict,
        said: Vec<(HeaderName, HeaderValue)>,
        names: &ServiceHeaders,
        mut asked: HeaderMap,
    ) -> Self {
        headers::strip_own_cookies(&mut asked);
        let left: Vec<&[u8]> = asked.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        // Values of headers, joined by plain text, are one.
        let mut cookies = HeaderValue::from_bytes(&left.join(&b"; "[..])).unwrap_or(HeaderValue::from_static(""));
        cookies.set_sensitive(true);
        Self {
            said: completed(said, names),
            cookies,
            own: names.own().to_vec(),
            asked,
        }
    }

    fn answer(self, words: Words, trail: &Trail) -> Response<Said> {
        if words == Words::Envoy {
            return Said::grpc(envoy::yes(&self, trail.id.as_str()));
        }
        let mut response = Response::new(Said::of(Bytes::new()));
        let headers = response.headers_mut();
        headers.extend(self.said.into_iter().map(|(name, value)| (Some(name), value)));
        headers.insert(&OTHER_COOKIES, self.cookies);
        if let Ok(id) = HeaderValue::from_str(trail.id.as_str()) {
            headers.insert("audit-id", id);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// With every header that says who calls: an ingress that copies one which is not there may leave what the caller wrote in it.
fn completed(mut said: Vec<(HeaderName, HeaderValue)>, names: &ServiceHeaders) -> Vec<(HeaderName, HeaderValue)> {
    for name in names.of_the_caller().chain([&ASSERTION]) {
        if !said.iter().any(|(own, _)| own == name) {
            said.push((name.clone(), HeaderValue::from_static("")));
        }
    }
    said
}

/// The body of a question, which is one message.
async fn whole(body: Inbound) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, envoy::LARGEST).collect().await;
    let collected =
        collected.map_err(|_| Refusal::Headers("the question is too long, or ends too early".to_owned()))?;
    Ok(collected.to_bytes())
}

impl Handler for Verdicts {
    type Body = Said;

    /// Envoy names `http` also over TLS, and no origin is read from it.
    const ANY_SCHEME: bool = true;

    async fn handle(&self, conn: Arc<Conn>, head: Head, request: Request<Inbound>) -> Response<Said> {
        let gate = &self.gate;
        let words = Words::at(&head.target);
        let mut waiting = Waiting {
            audit: &gate.audit,
            conn: &conn,
            trail: Arc::new(gate.arrived(&conn, &head, &request)),
        };
        let judging = self.judge(&conn, &head, request, &mut waiting.trail);
        let judged = AssertUnwindSafe(judging).catch_unwind().await;
        let trail = waiting.over();
        let now = gate.audit.clock().mono();
        let stop = match (judged, words) {
            (Ok(Ok(yes)), Some(words)) => {
                trail.told_end(Some(StatusCode::OK.as_u16()), now);
                return yes.answer(words, &trail);
            }
            (Ok(Err(stop)), _) => stop,
            (Err(_) | Ok(Ok(_)), _) => {
                tracing::error!(request.id = trail.id.as_str(), "a request panicked");
                Stop::Refused(Refusal::Internal)
            }
        };
        let (refusal, recorded) = gate.written(stop, &trail);
        trail.turned_down(&refusal, now);
        let response = gate.no(words, &trail, &refusal, recorded);
        trail.told_end(Some(response.status().as_u16()), now);
        if !recorded && trail.told_by.is_none() {
            // An ingress has all its callers on one connection: none of them holds the others back.
            conn.hold_back(ABOVE_A_BUDGET).await;
        }
        response
    }

    fn connection_refused(&self, conn: &Conn, reason: Refused) {
        self.gate.audit.connection_refused(conn, reason);
    }
}

#[cfg(test)]
mod tests {
    use access::rule::load_files;

    use super::*;

    #[test]
    fn n_01_a_yes_has_every_header_that_says_who_calls_empty_where_nothing_is_said() {
        let text = "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  hosts: [web.example]\n  \
                    upstream: {ingress: true}\n  identityHeaders: {user: X-User, groups: X-Groups, email: X-Email}\n";
        let services = load_files([("services.yaml", text)]).unwrap().services;
        let names = ServiceHeaders::of(services.named("web").unwrap()).unwrap();
        let user = (HeaderName::from_static("x-user"), HeaderValue::from_static("al"));
        for (said, of_user) in [(vec![], ""), (vec![user], "al")] {
            let mut all: Vec<_> = completed(said, &names)
                .into_iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            all.sort_unstable();
            let user = format!("x-user: {of_user}");
            assert_eq!(all, ["x-email: ", "x-gatescribe-assertion: ", "x-groups: ", &user]);
        }
    }
}
