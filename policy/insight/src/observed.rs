//! Records of what `gatescribe observe` has read, as the events that they were made of: a ledger of them stands for the API server's log.

use std::collections::{HashMap, VecDeque};

use model::event::RecordKind;
use model::time::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use crate::{More, ServerEvent, Stage};

/// Calls whose other events may still come. **When it is full** the oldest is forgotten, and its end, should it come, is one that cannot be
/// read.
const MOST_CALLS: usize = 500_000;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// An event, as far as joining needs it: queries are not kept.
    Event(Box<ServerEvent>),
    /// So many lines or events could not be read.
    Unreadable(u64),
    /// Between these times the log had, or may have had, more than was read.
    Gap(Timestamp, Timestamp),
}

/// Why a record says nothing that could be joined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObservedError {
    /// It is not JSON, or a member is missing or of another type.
    #[error("it is no record of an event: {0}")]
    Malformed(String),
    /// A gateway has written it.
    #[error("it is a record of a gateway, and not of what was read of an API server's log")]
    NotIngested,
    /// It is of another cluster.
    #[error("it is of cluster `{0}`")]
    OtherCluster(String),
    /// It ends a call that has not begun, or so long ago that it is forgotten.
    #[error("it ends a call whose beginning is not here")]
    NotBegun,
}

#[derive(Deserialize)]
struct Leaf {
    #[serde(default)]
    id: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    cluster: String,
    by: Option<Person>,
    #[serde(rename = "as")]
    effective: Option<Person>,
    net: Option<Net>,
    req: Option<Request>,
    outcome: Option<Outcome>,
    ingested: Option<Ingested>,
    sum: Option<Sum>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct Net {
    ip: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    path: String,
    #[serde(default)]
    verb: String,
    agent: Option<String>,
}

#[derive(Deserialize)]
struct Outcome {
    status: Option<u16>,
}

#[derive(Deserialize)]
struct Ingested {
    audit_id: String,
    stage: Stage,
    received: Timestamp,
    stamped: Timestamp,
}

#[derive(Deserialize)]
struct Sum {
    count: u64,
    from: Timestamp,
    to: Timestamp,
    what: String,
}

/// A ledger of one cluster's events, record by record.
#[derive(Debug)]
pub struct ObservedLog {
    cluster: String,
    calls: HashMap<String, ServerEvent>,
    order: VecDeque<String>,
}

impl ObservedLog {
    /// Of this cluster.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            calls: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes the next record, oldest first; nothing where it is about the ledger itself.
    ///
    /// # Errors
    /// See [`ObservedError`].
    pub fn push(&mut self, kind: RecordKind, leaf: &[u8]) -> Result<Option<Observed>, ObservedError> {
        match kind {
            RecordKind::Start | RecordKind::Access | RecordKind::Close | RecordKind::Summary => {}
            RecordKind::Intent | RecordKind::Outcome | RecordKind::Open => return Err(ObservedError::NotIngested),
            _ => return Ok(None),
        }
        let leaf: Leaf = serde_json::from_slice(leaf).map_err(|error| ObservedError::Malformed(error.to_string()))?;
        if leaf.source != "ingested" {
            return Err(ObservedError::NotIngested);
        }
        if leaf.cluster != self.cluster {
            return Err(ObservedError::OtherCluster(leaf.cluster.chars().take(64).collect()));
        }
        match kind {
            RecordKind::Access => self.begins(leaf).map(Some),
            RecordKind::Close => self.ends(leaf).map(Some),
            RecordKind::Summary => Ok(leaf.sum.and_then(summed)),
            _ => Ok(None),
        }
    }

    fn begins(&mut self, leaf: Leaf) -> Result<Observed, ObservedError> {
        let missing = |what: &str| ObservedError::Malformed(format!("`{what}` is missing"));
        let said = leaf.ingested.ok_or_else(|| missing("ingested"))?;
        let asked = leaf.req.ok_or_else(|| missing("req"))?;
        let event = ServerEvent {
            audit_id: said.audit_id,
            stage: said.stage,
            verb: asked.verb,
            uri: asked.path,
            user: leaf.by.map(|by| by.user).unwrap_or_default(),
            impersonated: leaf.effective.map(|effective| effective.user),
            code: leaf.outcome.and_then(|outcome| outcome.status),
            received: said.received,
            at: said.stamped,
            peer: leaf.net.and_then(|net| net.ip),
            agent: asked.agent,
            more: Box::new(More::default()),
        };
        if self.calls.insert(leaf.id.clone(), event.clone()).is_none() {
            self.order.push_back(leaf.id);
        }
        if self.order.len() > MOST_CALLS
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
        Ok(Observed::Event(Box::new(event)))
    }

    fn ends(&self, leaf: Leaf) -> Result<Observed, ObservedError> {
        let said = leaf
            .ingested
            .ok_or_else(|| ObservedError::Malformed("`ingested` is missing".to_owned()))?;
        let begun = self.calls.get(&leaf.id).ok_or(ObservedError::NotBegun)?;
        Ok(Observed::Event(Box::new(ServerEvent {
            stage: said.stage,
            code: leaf.outcome.and_then(|outcome| outcome.status),
            at: said.stamped,
            ..begun.clone()
        })))
    }
}

fn summed(sum: Sum) -> Option<Observed> {
    match sum.what.as_str() {
        "unreadableEvents" => Some(Observed::Unreadable(sum.count)),
        "logGap" => Some(Observed::Gap(sum.from, sum.to)),
        _ => None,
    }
}

/// Fuzz target: no record, one to a line, makes it panic; what is read of one has the id that stands in it, and an end says of its call what
/// its beginning said.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_observed_records(data: &[u8]) {
    for kind in [RecordKind::Access, RecordKind::Close, RecordKind::Summary] {
        let mut log = ObservedLog::of("prod");
        for leaf in data.split(|byte| *byte == b'\n') {
            // What begins a call may be ended by the line behind it.
            for kind in [RecordKind::Access, kind] {
                let Ok(Some(Observed::Event(event))) = log.push(kind, leaf) else {
                    continue;
                };
                let begun = log.calls.values().any(|begun| {
                    (&begun.audit_id, &begun.verb, &begun.uri, &begun.user, begun.received)
                        == (&event.audit_id, &event.verb, &event.uri, &event.user, event.received)
                });
                assert!(begun, "{event:?}");
            }
        }
        assert!(log.calls.len() <= log.order.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn access(id: &str, ends: bool) -> serde_json::Value {
        let mut record = json!({"id": id, "source": "ingested", "cluster": "prod", "by": {"user": "gate"}, "as": {"user": "alice"},
            "net": {"ip": "10.0.0.9"}, "req": {"verb": "watch", "path": "/api/v1/pods", "agent": "kubectl"},
            "ingested": {"audit_id": "a", "stage": if ends { "ResponseComplete" } else { "ResponseStarted" },
                "received": "2026-11-22T10:00:00Z", "stamped": "2026-11-22T10:00:01Z"}});
        if ends {
            record["outcome"] = json!({"status": 200});
        }
        record
    }

    fn close(id: &str) -> serde_json::Value {
        json!({"id": id, "source": "ingested", "cluster": "prod", "outcome": {"status": 200},
            "ingested": {"audit_id": "a", "stage": "ResponseComplete", "received": "2026-11-22T10:00:00Z",
                "stamped": "2026-11-22T11:00:00Z"}})
    }

    fn push(
        log: &mut ObservedLog,
        kind: RecordKind,
        leaf: &serde_json::Value,
    ) -> Result<Option<Observed>, ObservedError> {
        log.push(kind, leaf.to_string().as_bytes())
    }

    #[test]
    fn a_call_that_goes_on_is_its_two_events_again_and_a_second_end_is_one() {
        let mut log = ObservedLog::of("prod");
        let Ok(Some(Observed::Event(begun))) = push(&mut log, RecordKind::Access, &access("1", false)) else {
            panic!()
        };
        assert_eq!((begun.stage, begun.code), (Stage::ResponseStarted, None));
        for _ in 0..2 {
            let Ok(Some(Observed::Event(ended))) = push(&mut log, RecordKind::Close, &close("1")) else {
                panic!()
            };
            assert_eq!((ended.stage, ended.code), (Stage::ResponseComplete, Some(200)));
            assert_eq!(
                (&ended.user, ended.impersonated.as_deref()),
                (&"gate".to_owned(), Some("alice"))
            );
            assert_eq!((ended.uri.as_str(), ended.received), ("/api/v1/pods", begun.received));
        }
        assert_eq!(
            push(&mut log, RecordKind::Close, &close("2")),
            Err(ObservedError::NotBegun)
        );
    }

    #[test]
    fn what_a_gateway_wrote_and_what_is_of_another_cluster_stands_for_no_log() {
        let mut log = ObservedLog::of("prod");
        let mut record = access("1", true);
        record["cluster"] = "dev".into();
        let other = push(&mut log, RecordKind::Access, &record).unwrap_err();
        assert_eq!(other.to_string(), "it is of cluster `dev`");
        record["source"] = serde_json::Value::Null;
        record.as_object_mut().unwrap().remove("source");
        assert_eq!(
            push(&mut log, RecordKind::Access, &record),
            Err(ObservedError::NotIngested)
        );
        assert_eq!(
            push(&mut log, RecordKind::Intent, &access("1", true)),
            Err(ObservedError::NotIngested)
        );
        assert_eq!(push(&mut log, RecordKind::Heartbeat, &record), Ok(None));
    }

    #[test]
    fn what_could_not_be_read_and_gaps_are_said() {
        let mut log = ObservedLog::of("prod");
        let mut sum = json!({"source": "ingested", "cluster": "prod", "sum": {"count": 3, "from": "2026-11-22T10:00:00Z",
            "to": "2026-11-22T11:00:00Z", "what": "unreadableEvents"}});
        assert_eq!(
            push(&mut log, RecordKind::Summary, &sum),
            Ok(Some(Observed::Unreadable(3)))
        );
        sum["sum"]["what"] = "logGap".into();
        assert!(matches!(push(&mut log, RecordKind::Summary, &sum), Ok(Some(Observed::Gap(from, to))) if from < to));
    }

    proptest! {
        #[test]
        fn no_record_is_more_than_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0..600_usize,
            at in 0..600_usize,
            byte in any::<u8>(),
        ) {
            fuzz_observed_records(&bytes);
            let mut text = format!("{}\n{}", access("1", false), close("1")).into_bytes();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            text.truncate(text.len().saturating_sub(cut));
            fuzz_observed_records(&text);
        }
    }
}
