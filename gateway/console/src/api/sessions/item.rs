//! A session as it stands in an answer.

use model::live::LiveSession;
use model::time::Timestamp;
use search::{Acting, Called, Kept, Outcome, Row};
use serde::Serialize;

/// A session in an answer.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    id: String,
    t: Timestamp,
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Whose>,
    /// The workloads that act for that person, the one that asked last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    via: Vec<Acting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// The HTTP service, of a call that asked one for another protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Called>,
    /// The path, of a service alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stated_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    /// From its request to its end, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    refused: bool,
    /// Whether the gateway saw it: `gateway`, `ingested`, `sample`.
    source: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Whose {
    id: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

impl Item {
    pub(super) fn of_live(live: LiveSession, now: Timestamp) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            t: live.since,
            live: true,
            who: Some(Whose {
                id: live.subject.to_string(),
                user: live.user,
                email: live.email,
            }),
            via: Vec::new(),
            cluster: some(live.cluster),
            path: live.service.as_ref().map(|service| service.path.clone()),
            service: live.service.map(|service| Called {
                name: service.name,
                host: service.host,
                public: service.is_public,
            }),
            namespace: some(live.namespace),
            resource: some(live.resource),
            name: some(live.name),
            container: live.container,
            pod: live.pod,
            node: live.node,
            action: some(live.action),
            stated_reason: live.stated_reason,
            bytes_in: Some(live.bytes_in),
            bytes_out: Some(live.bytes_out),
            took_us: u64::try_from(now.since(live.since).as_micros()).ok(),
            recorded: live.is_recorded,
            recording: None,
            outcome: None,
            refused: false,
            source: "gateway".to_owned(),
            id: live.id,
        }
    }

    fn of_row(row: Row) -> Self {
        Self {
            t: row.t,
            live: false,
            who: row.who.map(|who| Whose {
                id: who.id,
                user: who.user,
                email: who.email,
            }),
            cluster: row.cluster,
            path: row.service.is_some().then_some(row.path),
            service: row.service,
            via: row.via,
            namespace: row.namespace,
            resource: row.resource,
            name: row.name,
            container: row.container,
            pod: row.pod,
            node: row.node,
            action: row.action,
            stated_reason: row.decision.and_then(|decision| decision.stated_reason),
            bytes_in: row.passed.map(|passed| passed.bytes_in),
            bytes_out: row.passed.map(|passed| passed.bytes_out),
            took_us: row.outcome.as_ref().and_then(|outcome| outcome.took_us),
            recorded: row.recording.is_some(),
            recording: row.recording,
            outcome: row.outcome,
            refused: row.refused,
            source: row.source,
            id: row.id,
        }
    }

    /// What the ledger knows, and what is true at this moment where it goes on.
    pub(super) fn of(row: Row, live: Option<LiveSession>, now: Timestamp) -> Self {
        let Some(live) = live else { return Self::of_row(row) };
        Self {
            recording: row.recording,
            via: row.via,
            ..Self::of_live(live, now)
        }
    }
}
