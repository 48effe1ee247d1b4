//! A request that wants to become something else than HTTP: its recording stands ready, its intent is durable, the cluster is
//! asked, and behind its 101 a tunnel begins.
//!
//! ```text
//! permit ─► recording ─► intent ─► upstream ─┬─ 101 ─► our 101, tunnel
//!                                            └─ else ─► its answer, and no tunnel
//! ```
//!
//! Invariant: a session that has to be recorded is asked for only when its recording is there (promise 3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{SEC_WEBSOCKET_EXTENSIONS, WARNING};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use model::ask::PodAnswer;
use model::decision::{Denial, Denied, Obligations, Unmet};
use model::request::{Action, RequestFacts};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::answer::{deliver, note_connection, own_audit_id};
use super::{ClusterGate, Duties, Gate, Stop, call, with_own_headers};
use crate::audit::{End, Place, Readied, Scan, Trail, Want};
use crate::body::{Outbound, Uplink};
use crate::decision::{Effect, Permit};
use crate::headers;
use crate::listener::{Inbound, Upgrade};
use crate::refusal::Refusal;
use crate::sending::{Answered, Behind, Sending};
use crate::session::tunnel::{
    Bounds, Recording, ServerFrames, SessionsToRecord, Sides, Tunnel, Unrecorded, may_be_read, runs_a_command, tap_for,
};
use crate::upstream::UpstreamBody;

/// What stands ready when an upgrade is asked for, and begins the tunnel behind the cluster's 101.
pub(crate) struct Switch {
    client: OnUpgrade,
    upgrade: Upgrade,
    bounds: Bounds,
    recording: Option<(Recording, Readied)>,
    trail: Arc<Trail>,
    tunnels: TaskTracker,
}

impl Switch {
    /// The same, bounded by these, too.
    pub(super) fn bounded_by(mut self, idle: Duration, longest: Option<Duration>) -> Self {
        self.bounds.idle = self.bounds.idle.min(idle);
        self.bounds.longest = self.bounds.longest.into_iter().chain(longest).min();
        self
    }

    /// Carries what follows the cluster's 101; ours, with its words (H-04).
    ///
    /// # Errors
    /// There is no place for the session; its end is written.
    pub(crate) fn begin(
        self,
        to: &Behind,
        mut response: Response<UpstreamBody<Uplink>>,
        mut end: End,
        duties: Duties,
    ) -> Result<Response<Outbound>, Refusal> {
        let trail = &self.trail;
        note_connection(&response, &mut end);
        let Duties {
            warning,
            place,
            call: Some(call),
            taking: _,
        } = duties
        else {
            // Every upgrade stands in the table of calls that go on.
            let refusal = Refusal::Internal;
            end.settle_instead(
                refusal.status().as_u16(),
                "the session had no place in the table of sessions",
            );
            return Err(refusal);
        };
        let upstream = hyper::upgrade::on(&mut response);
        let (mut parts, _) = response.into_parts();
        let tap = tap_for(trail, &parts.headers);
        // The sender has compared it with what was asked.
        let is_websocket = self.upgrade == Upgrade::WebSocket;
        let frames = (matches!(to, Behind::Service(_)) && is_websocket).then(ServerFrames::new);
        match to {
            Behind::Cluster(_) => headers::strip_response_to_upgrade(&mut parts.headers),
            Behind::Service(gate) => gate.confine_switch(&mut parts.headers),
        }
        if own_audit_id(&mut parts.headers, trail) {
            end.audit_id_differs();
        }
        parts.headers.extend(warning.map(|text| (WARNING, text)));
        let recording = self.recording.map(|(recording, readied)| {
            readied.begins();
            recording
        });
        let tunnel = Tunnel {
            sides: Sides {
                client: self.client,
                upstream,
            },
            tap,
            frames,
            recording,
            bounds: self.bounds,
            node: node_is_learnt(to, trail),
            end,
            call,
            place,
        };
        self.tunnels.spawn(tunnel.run());
        Ok(Response::from_parts(parts, Outbound::bytes(Bytes::new())))
    }
}

impl Gate {
    /// An upgrade: an effect whose answer, if it is the cluster's 101, begins a tunnel. Our own 101 follows the cluster's,
    /// with its words (H-04).
    pub(super) async fn upgrade(
        &self,
        gate: &Arc<ClusterGate>,
        permit: Permit<Effect>,
        upgrade: Upgrade,
        mut request: Request<Inbound>,
        trail: &Arc<Trail>,
        duties: Duties,
    ) -> Result<Response<Outbound>, Stop> {
        let recording = self
            .recording(permit.obligations(), upgrade, trail, &duties.place)
            .await?;
        let is_recorded = recording.is_some();
        let (recorded, end) = self.audit.intend(trail, permit).await?;
        trail.passed_intent(self.audit.clock().mono());
        let switch = self.switch(
            (&mut request, upgrade),
            recorded.permit().obligations(),
            recording,
            trail,
        );
        let must_switch = self.must_be_a_session(recorded.permit().obligations(), trail);
        let longest = recorded.permit().obligations().longest_seconds.map(Duration::from_secs);
        let mut request = with_own_headers(request, recorded.permit().outgoing(), trail, &end, None);
        headers::ask_upgrade(request.headers_mut(), upgrade);
        if is_recorded {
            // What is compressed cannot be read, so nobody is asked whether it may be (RFC 7692).
            request.headers_mut().remove(SEC_WEBSOCKET_EXTENSIONS);
        }
        let call = call(trail, recorded.permit()).upgraded();
        let sending = Sending {
            to: Behind::Cluster(Arc::clone(gate)),
            call,
            recorded,
            request,
            end,
            digest: Arc::default(),
            limit: None,
            duties,
            switch: Some(switch),
        };
        let (response, end, duties) = match self.send(sending).await? {
            Answered::Switched(response) => return Ok(response),
            Answered::Plainly(response, end, duties) => (response, end, duties),
        };
        if must_switch {
            // Whatever it is: what answers here is not the API server alone, and passes in no recording.
            return withheld(end, instead_of(response).await);
        }
        if is_no_answer_to_upgrade(response.status(), trail) {
            return withheld(end, answered_with(response.status()));
        }
        // A plain answer that may go on, like a watch whose client offered to switch.
        if let Some(call) = &duties.call {
            call.stays_plain();
            if let Some(longest) = longest {
                call.lasts_at_most(longest);
            }
        }
        deliver(response, end, duties, trail)
    }

    /// What begins the tunnel of this request, if it is answered with a switch.
    pub(super) fn switch(
        &self,
        (request, upgrade): (&mut Request<Inbound>, Upgrade),
        owed: &Obligations,
        recording: Option<(Recording, Readied)>,
        trail: &Arc<Trail>,
    ) -> Switch {
        Switch {
            client: hyper::upgrade::on(request),
            upgrade,
            bounds: self.bounds.within(owed),
            recording,
            trail: Arc::clone(trail),
            tunnels: self.sending.clone(),
        }
    }

    /// Whether this plain request has to be a session, so that what it does is in a recording. What enters by a plain request
    /// leaves no more than its head in the ledger.
    pub(super) fn must_be_a_session(&self, owed: &Obligations, trail: &Trail) -> bool {
        let is_proxied = |facts: &RequestFacts| facts.action() == Action::Proxy;
        let runs_a_command = || trail.target.as_ref().is_some_and(runs_a_command);
        trail.facts.as_ref().is_some_and(is_proxied) && (owed.record || (self.records_all() && runs_a_command()))
    }

    fn records_all(&self) -> bool {
        let recordings = self.recordings.as_ref();
        recordings.is_some_and(|recordings| recordings.which == SessionsToRecord::All)
    }

    /// The recording of a session that has to have one. It stands ready before anything is asked of the cluster.
    async fn recording(
        &self,
        owed: &Obligations,
        upgrade: Upgrade,
        trail: &Arc<Trail>,
        place: &Place,
    ) -> Result<Option<(Recording, Readied)>, Stop> {
        if !(owed.record || self.records_all() && trail.facts.as_ref().is_some_and(may_become_a_session)) {
            return Ok(None);
        }
        let Some(recordings) = &self.recordings else {
            return Err(refused_as_unrecorded(trail, Unmet::Recording).into());
        };
        let unrecorded = |why: Unrecorded| {
            recordings.metrics.refused(trail, &why);
            refused_as_unrecorded(trail, Unmet::Recording)
        };
        if !may_be_read(trail, upgrade) {
            return Err(unrecorded(Unrecorded::Protocol).into());
        }
        let readied = place.readies_recording(trail.received);
        let readied = readied.map_err(Refusal::Limit).map_err(Stop::Counted)?;
        let begun = recordings.begin(trail, self.audit.clock().mono()).await;
        let recording = begun.map_err(unrecorded)?;
        // Set once: a trail has one recording.
        let _ = trail.recording.set(recording.anchor());
        Ok(Some((recording, readied)))
    }
}

/// Whether what this request becomes is a session: anything but a stream of what could be read by a plain request as well.
fn may_become_a_session(facts: &RequestFacts) -> bool {
    let is_watch = facts.authorization_verb() == "watch" && facts.subresource().is_empty();
    !is_watch && facts.action() != Action::Log
}

/// The caller is told these words in place of an answer that does not pass.
fn withheld(end: End, words: String) -> Result<Response<Outbound>, Stop> {
    let refusal = Refusal::UpstreamLost(words.clone());
    end.settle_instead(refusal.status().as_u16(), &words);
    Err(Stop::Ended(refusal))
}

/// Asks on which node the pod runs that is entered, for the record. Nothing waits for that but the end of the session.
fn node_is_learnt(to: &Behind, trail: &Arc<Trail>) -> Option<JoinHandle<()>> {
    let question = trail.pod()?;
    let (pods, trail) = (to.pods()?.clone(), Arc::clone(trail));
    Some(tokio::spawn(async move {
        if let PodAnswer::Node(node) = pods.ask(question).await {
            // Set once: a trail has one pod.
            let _ = trail.node.set(node);
        }
    }))
}

/// A rule or the configuration wants it recorded, and it cannot be (promise 3).
pub(super) fn refused_as_unrecorded(trail: &Trail, unmet: Unmet) -> Refusal {
    let rules = trail.decision.as_ref().map(|decision| decision.rules.to_vec());
    Refusal::Denied(Box::new(Denied {
        denial: Denial::Obligation(unmet),
        rules: rules.unwrap_or_default(),
        nearest: None,
    }))
}

/// Whether an answer to an upgrade is neither the switch nor a refusal (H-06): a redirect would lead the credential elsewhere. A plain
/// answer to a plain read that also offered to switch is one (RFC 9110 §7.8).
fn is_no_answer_to_upgrade(status: StatusCode, trail: &Trail) -> bool {
    let streams = trail.facts.as_ref().is_some_and(|facts| facts.action().streams());
    status.is_informational() || status.is_redirection() || (streams && status.is_success())
}

fn answered_with(status: StatusCode) -> String {
    format!("it answered a request to switch protocols with {}", status.as_u16())
}

/// What the caller is told in place of a plain answer that may not pass: its status and, where it is a `Status` with one of the
/// reasons of Kubernetes, that one. It may be a backend's word and no API server's; a word of a closed list carries nothing else.
async fn instead_of<B: Body<Data = Bytes> + Unpin>(response: Response<B>) -> String {
    let (parts, mut body) = response.into_parts();
    let mut scan = Scan::new(&parts.headers, Want::Names);
    let reading = async {
        let mut left = MOST_OF_A_STATUS;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            left = left.checked_sub(data.len())?;
            scan.feed(data);
        }
        let seen = scan.finish().ok()?;
        REASONS.into_iter().find(|reason| seen.reason() == Some(*reason))
    };
    let reason = tokio::time::timeout(READS_A_STATUS_WITHIN, reading).await;
    let words = answered_with(parts.status);
    match reason.ok().flatten() {
        Some(reason) => format!("{words} ({reason}), and that answer passes in no session"),
        None => format!("{words}, and that answer passes in no session"),
    }
}

/// An API server's own is a few hundred bytes.
const MOST_OF_A_STATUS: usize = 16 << 10;
const READS_A_STATUS_WITHIN: Duration = Duration::from_secs(2);
/// Why an API server refuses to connect somebody to a backend (`StatusReason`, k8s.io/apimachinery `pkg/apis/meta/v1/types.go`).
const REASONS: [&str; 9] = [
    "BadRequest",
    "Forbidden",
    "InternalError",
    "MethodNotAllowed",
    "NotFound",
    "ServiceUnavailable",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
];

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use model::request::{Target, Wire};

    use super::*;

    #[test]
    fn all_but_watches_and_logs_may_become_a_session() {
        let vm = "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/vm";
        for (path, may) in [
            ("/api/v1/namespaces/a/pods/web/exec", true),
            ("/api/v1/namespaces/a/services/web/proxy/x", true),
            (&format!("{vm}/console"), true),
            (&format!("{vm}/vnc?watch=true"), true),
            (
                &format!("{vm}/console?watch=true&fieldSelector=metadata.name%3Dvm"),
                true,
            ),
            ("/somewhere/else", true),
            ("/api/v1/namespaces/a/pods?watch=true", false),
            ("/api/v1/watch/namespaces/a/pods", false),
            ("/api/v1/namespaces/a/pods/web/log?follow=true", false),
        ] {
            let target = Target::parse(path.as_bytes()).unwrap();
            let wire = Wire {
                method: "GET",
                wants_upgrade: true,
                impersonates: false,
            };
            let facts = RequestFacts::classify(&target, wire).unwrap();
            assert_eq!(may_become_a_session(&facts), may, "{path}");
        }
    }

    #[tokio::test]
    async fn promise_3_of_an_answer_that_may_not_pass_its_status_is_told_and_a_known_reason() {
        let told = async |status: u16, media: &str, body: &str| {
            let answer = Response::builder().status(status).header("content-type", media);
            instead_of(answer.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
        };
        let json = "application/json";
        let long = format!(
            r#"{{"kind":"Status","x":"{}","reason":"NotFound"}}"#,
            "x".repeat(MOST_OF_A_STATUS)
        );
        for (status, media, body, words) in [
            (
                404,
                json,
                r#"{"kind":"Status","reason":"NotFound","message":"secret"}"#,
                "404 (NotFound)",
            ),
            (403, json, r#"{"kind":"Status","reason":"secret"}"#, "403"),
            (500, json, r#"{"kind":"Pod","reason":"NotFound"}"#, "500"),
            (500, json, &long, "500"),
            (401, "text/plain", "secret", "401"),
        ] {
            let expected =
                format!("it answered a request to switch protocols with {words}, and that answer passes in no session");
            assert_eq!(told(status, media, body).await, expected);
        }
    }
}
