//! One act, as people read it: what the records of one request say together.

use std::collections::BTreeSet;

use model::event::RecordKind;
use model::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::act::{self, Unnamed};
use crate::leaf::{Acting, Called, Decided, Ended, Kept, Leaf, Passed, Request};
use crate::scope::Hides;

/// Who made the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Opaque and stable.
    pub id: String,
    /// `person`, `serviceAccount`, `workload`, `public`.
    pub kind: String,
    /// The Kubernetes user name.
    pub user: String,
    /// For display and search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Who vouches.
    pub iss: String,
    /// The issuer's name for the subject.
    pub sub: String,
    /// Which sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What was presented.
    pub credential: String,
    /// The person a laundered credential was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Who {
    /// Whether it is a program and no human.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        matches!(self.kind.as_str(), "serviceAccount" | "workload")
    }

    /// Whether it is nobody in particular: whoever calls from an address without a sign-in.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.kind == "public"
    }
}

/// Where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The client's address.
    pub ip: String,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// As in the record (`answered`, `refused`, `unknown`, …), or, when no end stands in the ledger: `inFlight` (it still
    /// runs), `unknown` (the gateway stopped first), `notRecorded` (a read whose end was lost; the read itself was
    /// recorded), `notRead` (the end may lie further on than was read).
    pub end: String,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `reason` of a Kubernetes `Status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In words, when it did not simply answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// From the request's head to its end, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// The exit code of a session's command, where the cluster said one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Our yes met the cluster's no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub diverged: bool,
}

/// What was decided and why, as it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether the gateway allowed it.
    pub allowed: bool,
    /// `gateway` or `cluster`.
    pub who: String,
    /// Stable code of the reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rules that mattered, as recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Value>,
    /// Digest of the policy that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// The reason that the caller stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_reason: Option<String>,
}

/// One of several calls that a row stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// Its sequence number.
    pub seq: u64,
    /// What it was.
    pub act: String,
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Joins the records of the request; empty for the ledger's own records.
    pub id: String,
    /// Sequence number of the oldest record in it.
    pub first_seq: u64,
    /// Of a call that was read from another system's log: its id there, which its caller may have chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<String>,
    /// When it began.
    pub t: Timestamp,
    /// The kind of its first record.
    pub kind: &'static str,
    /// Who; absent for strangers and for the gateway itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// The user it was evaluated and forwarded as (`--as`).
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub effective: Option<String>,
    /// The workloads that did it for that person, the one that asked last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Acting>,
    /// About the command line that leads to this call, or the request itself when none fits.
    pub act: String,
    /// Kubernetes verb.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// HTTP method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Path as received.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// API group; empty for core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// API version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Resource, plural.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The container that was entered, where the client named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// `NAMESPACE/NAME` of the pod that was entered through a node's kubelet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node of the pod that was entered, where the cluster said it to the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The HTTP service that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Called>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<Network>,
    /// `User-Agent`; the client's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How it ended; absent where nothing ends (sessions, the ledger's own records).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Bytes of a session up to its end, or up to its last sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
    /// What was last known of a session's recording; absent where it was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Kept>,
    /// Whether it was refused, by the gateway, by the cluster or by the service.
    pub refused: bool,
    /// `gateway`, `cluster` or `service`, when refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<&'static str>,
    /// Stable code of the reason, when refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The decision that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// How many calls (or, in a summary, events) this row stands for.
    pub count: u64,
    /// The calls, when there are several: the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// `gateway`, `ingested`, `verdict`, `sample`.
    pub source: String,
    /// One sentence, where the record has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The client's word on which kubectl run it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl_session: Option<String>,
    /// Id of the WebSocket attempt that led nowhere and that this call repeated over SPDY/3.1; the gateway's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_of: Option<String>,
    /// What sort of act, beyond the verb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip)]
    pub(crate) kinds: Vec<RecordKind>,
    #[serde(skip)]
    unnamed: Option<Box<Unnamed>>,
    /// What of it is hidden.
    #[serde(skip)]
    pub(crate) hidden: BTreeSet<Hides>,
    /// Its namespace is what an answer said.
    #[serde(skip)]
    pub(crate) is_placed_by_answer: bool,
}

impl Row {
    /// A row from the record that begins an act.
    pub(crate) fn begin(seq: u64, kind: RecordKind, leaf: Leaf) -> Self {
        let (act, unnamed) = (act::line(kind, &leaf), Unnamed::of(kind, &leaf));
        let Leaf {
            id,
            t,
            cluster,
            service,
            source,
            by,
            effective,
            via,
            net,
            req,
            decision,
            outcome,
            object,
            recording,
            passed,
            person,
            sum,
            ingested,
            note,
            ..
        } = leaf;
        let req = req.unwrap_or_default();
        let session = person.as_ref().and_then(|person| person.session.clone());
        let who = by.map(|by| Who {
            id: by.id,
            kind: by.kind,
            user: by.user,
            email: by.email,
            iss: by.iss,
            sub: by.sub,
            session: by.session.or(session),
            credential: by.credential,
            origin: by.origin,
        });
        let mut row = Self {
            audit_id: ingested.map(|ingested| ingested.audit_id),
            effective: effective.map(|effective| effective.user),
            net: net.filter(|net| !net.ip.is_empty()).map(|net| Network { ip: net.ip }),
            count: sum.as_ref().map_or(1, |sum| sum.count),
            outcome: outcome.map(Into::into),
            decision: decision.map(Into::into),
            source: source.unwrap_or_else(|| "gateway".to_owned()),
            t: t.unwrap_or_default(),
            note: note.or_else(|| person.and_then(|person| person.why)),
            recording,
            passed,
            id,
            cluster,
            service,
            who,
            via,
            unnamed,
            ..Self::of_request(seq, kind, act, req)
        };
        if let Some(object) = object {
            row.learn_object(object);
        }
        row.judge();
        row
    }

    /// A record whose leaf this version cannot read: shown, not left out.
    pub(crate) fn unreadable(seq: u64, kind: RecordKind, t: Option<Timestamp>) -> Self {
        let act = format!("(record {seq} cannot be read by this version)");
        let mut row = Self::of_request(seq, kind, act, Request::default());
        row.t = t.unwrap_or_default();
        row
    }

    fn of_request(seq: u64, kind: RecordKind, act: String, req: Request) -> Self {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            id: String::new(),
            audit_id: None,
            first_seq: seq,
            t: Timestamp::EPOCH,
            kind: kind.name(),
            who: None,
            effective: None,
            via: Vec::new(),
            act,
            verb: req.verb,
            method: req.method,
            path: req.path,
            group: req.group,
            version: some(req.version),
            resource: some(req.resource),
            subresource: some(req.subresource),
            namespace: some(req.namespace),
            name: some(req.name),
            container: some(req.container),
            pod: some(req.pod),
            node: None,
            cluster: None,
            service: None,
            net: None,
            agent: some(req.agent),
            outcome: None,
            passed: None,
            recording: None,
            refused: false,
            refused_by: None,
            reason: None,
            decision: None,
            count: 1,
            calls: Vec::new(),
            source: "gateway".to_owned(),
            note: None,
            kubectl_session: some(req.kubectl_session),
            fallback_of: some(req.fallback_of),
            action: some(req.action),
            kinds: vec![kind],
            unnamed: None,
            hidden: BTreeSet::new(),
            is_placed_by_answer: false,
        }
    }

    /// What an answer says of its object. What the request said counts more: it was decided on.
    pub(crate) fn learn_object(&mut self, object: crate::leaf::Object) {
        if self.name.is_none() {
            self.name = object.name.filter(|name| !name.is_empty());
        }
        if self.namespace.is_none() {
            self.namespace = object.namespace.filter(|name| !name.is_empty());
            self.is_placed_by_answer = self.namespace.is_some();
        }
        if let Some(name) = &self.name
            && let Some(unnamed) = self.unnamed.take()
        {
            self.act = unnamed.line(name, self.namespace.as_deref());
        }
    }

    /// When its name is learned, the line says nothing of whom it was done as.
    pub(crate) fn forget_effective(&mut self) {
        if let Some(unnamed) = &mut self.unnamed {
            unnamed.forget_effective();
        }
    }

    /// Whether only the end of the call can say which object it was about.
    pub(crate) const fn awaits_name(&self) -> bool {
        self.unnamed.is_some()
    }

    /// Whether it promises a record of its end.
    pub(crate) fn awaits_end(&self) -> bool {
        self.outcome.is_none()
            && matches!(
                self.kinds.first(),
                Some(RecordKind::Intent | RecordKind::Open | RecordKind::Access)
            )
    }

    /// Whether it is a session: a call that became something else than HTTP, whatever came of it.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.kinds.first() == Some(&RecordKind::Open)
    }

    /// Whether nobody had signed in, and a rule lets the public do it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        let is_said = self.service.as_ref().is_some_and(|called| called.public);
        is_said || self.who.as_ref().is_some_and(Who::is_public)
    }

    /// Whether nobody can say yet how it ended.
    pub(crate) fn end_is(&self, end: &str) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.end == end)
    }

    pub(crate) fn set_end(&mut self, end: &str, why: Option<&str>) {
        self.outcome = Some(Outcome {
            end: end.to_owned(),
            why: why.map(str::to_owned),
            ..Outcome::default()
        });
    }

    /// Says whether it was refused and by whom, from all that is known.
    pub(crate) fn judge(&mut self) {
        let status = self.outcome.as_ref().and_then(|outcome| outcome.status);
        let by_gateway = self.kinds.contains(&RecordKind::Refusal)
            || self.end_is("refused")
            || self.decision.as_ref().is_some_and(|decision| !decision.allowed);
        self.refused_by = if by_gateway {
            let cluster = self.decision.as_ref().is_some_and(|decision| decision.who == "cluster");
            Some(if cluster { "cluster" } else { "gateway" })
        } else {
            let upstream = if self.service.is_some() { "service" } else { "cluster" };
            (status == Some(403)).then_some(upstream)
        };
        self.refused = self.refused_by.is_some();
        self.reason = match (&self.decision, self.refused) {
            (_, false) => None,
            (Some(Decision { reason: Some(code), .. }), true) => Some(code.clone()),
            _ => self.outcome.as_ref().and_then(|outcome| outcome.reason.clone()),
        };
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        Self {
            end: ended.end,
            status: ended.status,
            reason: ended.reason,
            why: ended.why,
            took_us: ended.took.map(|took| took.total),
            exit_code: ended.exit_code,
            diverged: ended.diverged,
        }
    }
}

impl From<Decided> for Decision {
    fn from(decided: Decided) -> Self {
        Self {
            allowed: decided.allowed,
            who: decided.who,
            reason: decided.reason,
            rules: decided.rules,
            policy: decided.policy,
            stated_reason: decided.stated_reason,
        }
    }
}
