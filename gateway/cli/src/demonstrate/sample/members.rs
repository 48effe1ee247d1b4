//! The members of the history's records: plain values from plain values.

use demo::history::{Act, Decision, Happening};
use model::decision::RuleRef;
use model::event::{Answer, By, Decided, Network, Object, Outcome, RecordKind, Request};
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;

/// The actor of a record.
pub(super) struct Who {
    pub(super) id: SubjectId,
    pub(super) kind: SubjectKind,
    pub(super) issuer: String,
    pub(super) subject: &'static str,
    pub(super) user: &'static str,
    pub(super) email: Option<&'static str>,
    pub(super) session: Option<String>,
    pub(super) credential: &'static str,
    pub(super) auth_time: Option<i64>,
}

impl Who {
    pub(super) fn by(&self) -> By<'_> {
        By {
            email: self.email,
            session: self.session.as_deref(),
            credential: self.credential,
            auth_time: self.auth_time,
            ..by(&self.id, self.kind, (&self.issuer, self.subject), self.user)
        }
    }
}

pub(super) fn by<'a>(id: &'a SubjectId, kind: SubjectKind, (iss, sub): (&'a str, &'a str), user: &'a str) -> By<'a> {
    By {
        id,
        kind,
        iss,
        sub,
        user,
        email: None,
        groups_hash: "",
        session: None,
        credential: "",
        credential_id: None,
        auth_time: None,
        origin: None,
        acr: None,
    }
}

/// UUIDv7 of the act's own time; what is random elsewhere counts here.
pub(super) fn id(at: Timestamp, number: usize) -> String {
    let millis = u64::try_from(at.unix_nanos() / 1_000_000).unwrap_or(0);
    let mut rest = [0; 10];
    let low = u64::try_from(number).unwrap_or(0).to_be_bytes();
    for (to, from) in rest.iter_mut().rev().zip(low.iter().rev()) {
        *to = *from;
    }
    uuid::Builder::from_unix_timestamp_millis(millis, &rest)
        .into_uuid()
        .to_string()
}

pub(super) fn name_of(session: u32) -> String {
    format!("sample-{session}")
}

pub(super) fn kind(happening: &Happening) -> RecordKind {
    let act = &happening.act;
    match (&happening.decision, act.verb, act.subresource) {
        (Decision::Refused, _, _) => RecordKind::Refusal,
        (_, _, "exec" | "attach" | "portforward") => RecordKind::Open,
        (_, "get" | "list" | "watch", _) => RecordKind::Access,
        _ => RecordKind::Intent,
    }
}

pub(super) fn query_keys(act: &Act) -> Vec<&'static str> {
    match (act.verb, act.subresource) {
        (_, "exec") => vec!["command", "container", "stdout"],
        ("watch", _) => vec!["watch"],
        ("patch", _) => vec!["fieldManager"],
        _ => Vec::new(),
    }
}

pub(super) fn request<'a>(act: &'a Act, path: &'a str, query_keys: &'a [&'a str], agent: &'a str) -> Request<'a> {
    let some = |text: &'a str| (!text.is_empty()).then_some(text);
    Request {
        method: act.method(),
        path,
        query_keys,
        verb: act.verb,
        action: some(act.subresource).filter(|action| matches!(*action, "exec" | "portforward" | "log")),
        group: Some(act.group),
        version: Some("v1"),
        resource: Some(act.resource),
        subresource: some(act.subresource),
        namespace: some(act.namespace),
        name: some(act.name_in_path()),
        agent: some(agent),
        ..Request::default()
    }
}

/// The new object, as a scan of the answer would have found it.
pub(super) fn made(act: &Act, status: u16) -> Option<Object<'_>> {
    let is_made = act.name_in_path().is_empty() && !act.name.is_empty() && status == 201;
    is_made.then(|| Object {
        name: Some(&act.name),
        namespace: Some(act.namespace).filter(|namespace| !namespace.is_empty()),
        uid: None,
        resource_version: None,
    })
}

pub(super) fn decided(decision: &Decision) -> Decided<'_> {
    let (allowed, rules): (bool, &[RuleRef]) = match decision {
        Decision::Allowed(rule) => (true, std::slice::from_ref(rule)),
        Decision::Refused => (false, &[]),
    };
    Decided {
        allowed,
        who: "gateway",
        reason: (!allowed).then_some("clusterSaysNo"),
        rules,
        rules_count: None,
        policy: "",
        sent_groups_hash: "",
        stated_reason: None,
    }
}

pub(super) const fn refused() -> Outcome<'static> {
    Outcome {
        end: Answer::Refused,
        status: Some(403),
        reason: Some("Forbidden"),
        bytes_in: 0,
        bytes_out: 0,
        took: None,
        body_sha256: None,
        body_hmac: None,
        exit_code: None,
        unread: None,
        why: None,
        diverged: false,
    }
}

pub(super) const fn network<'a>(ip: &'a str, listener: &'a str) -> Network<'a> {
    Network {
        ip,
        port: 0,
        http: "HTTP/2.0",
        listener,
    }
}
