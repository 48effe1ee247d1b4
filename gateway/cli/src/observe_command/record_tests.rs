//! What of an event may stand in a record, and that nobody mistakes it for one of the gateway's own.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_000_000);

fn event() -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "7d5f0a8e-0000-4000-8000-000000000001",
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/n/secrets/s?pretty=true", "verb": "get",
        "user": {"username": "alice", "uid": "u1", "groups": ["dev"], "extra": {"authentication.kubernetes.io/credential-id": ["JTI=0a-1b"]}},
        "sourceIPs": ["1.2.3.4", "10.0.0.9"], "userAgent": "kubectl/v1.36.0 (linux/amd64)", "responseStatus": {"code": 200},
        "objectRef": {"resource": "secrets", "namespace": "n", "name": "s", "apiVersion": "v1"},
        "requestReceivedTimestamp": "2026-11-18T10:00:00.000000Z", "stageTimestamp": "2026-11-18T10:00:00.250000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"}})
}

fn written_as(event: &Value, begun: bool) -> (RecordKind, Value) {
    let read = insight::read_line(event.to_string().as_bytes()).unwrap().remove(0);
    let cluster = ClusterId::new("prod").unwrap();
    let here = Here {
        cluster: &cluster,
        boot: "boot",
        now: NOW,
    };
    let written = write(here, &read, digest_of(&cluster, &read), begun).unwrap();
    assert!(written.body.len() <= (16 << 10) - 64, "{}", written.body.len());
    (written.kind, serde_json::from_slice(&written.body).unwrap())
}

fn written(event: &Value) -> Value {
    written_as(event, false).1
}

#[test]
fn who_did_what_when_from_where_and_how_it_ended_stands_in_one_record() {
    let (kind, record) = written_as(&event(), false);
    assert_eq!(kind, RecordKind::Access);
    for (member, value) in [
        ("/source", json!("ingested")),
        ("/cluster", json!("prod")),
        ("/t", json!("2026-11-18T10:00:00.000000Z")),
        ("/by/user", json!("alice")),
        ("/by/kind", json!("person")),
        ("/by/iss", json!("observed:prod")),
        ("/by/credential", json!("notSeen")),
        ("/by/credential_id", json!("JTI=0a-1b")),
        ("/net/ip", json!("10.0.0.9")),
        ("/req/verb", json!("get")),
        ("/req/method", json!("GET")),
        ("/req/resource", json!("secrets")),
        ("/req/namespace", json!("n")),
        ("/req/name", json!("s")),
        ("/req/options", json!("pretty=true")),
        ("/req/agent", json!("kubectl/v1.36.0 (linux/amd64)")),
        ("/outcome/end", json!("answered")),
        ("/outcome/status", json!(200)),
        ("/outcome/took/total", json!(250_000)),
        ("/decision/who", json!("cluster")),
        ("/ingested/audit_id", json!("7d5f0a8e-0000-4000-8000-000000000001")),
        ("/ingested/stage", json!("ResponseComplete")),
        ("/ingested/groups", json!(["dev"])),
        ("/ingested/forwarded", json!(["1.2.3.4"])),
        ("/ingested/stamped", json!("2026-11-18T10:00:00.250000Z")),
    ] {
        assert_eq!(record.pointer(member), Some(&value), "{member}: {record:#}");
    }
}

#[test]
fn promise_6_no_body_no_value_of_a_query_and_no_odd_word_reaches_a_record() {
    const SECRET: &str = "hunter2";
    let mut said = event();
    said["requestURI"] =
        format!("/api/v1/namespaces/n/pods/p/exec?command={SECRET}&{SECRET}%20x=1&container={SECRET}").into();
    said["requestObject"] = json!({"data": {"password": SECRET}});
    said["responseObject"] = json!({"data": {"password": SECRET}});
    said["userAgent"] = format!("kubectl/v1 Bearer:{SECRET}").into();
    said["annotations"]["x"] = SECRET.into();
    said["user"]["extra"]["token"] = json!([SECRET]);
    said["user"]["extra"]["authentication.kubernetes.io/credential-id"] = json!([format!("JTI={SECRET}")]);
    said["responseStatus"]["message"] = format!("no {SECRET}").into();
    said["responseStatus"]["reason"] = SECRET.into();
    said["sourceIPs"] = json!([SECRET, SECRET]);
    said["level"] = SECRET.into();
    said["impersonatedUser"] = json!({"username": "bob", "extra": {"k": [SECRET]}});
    for uri in [
        said["requestURI"].clone(),
        format!("/api/v1/namespaces/n/services/s/proxy/reset/{SECRET}").into(),
        format!("/healthz/a%20{SECRET}").into(),
    ] {
        said["requestURI"] = uri;
        let record = written(&said);
        assert!(!record.to_string().contains(SECRET), "{record}");
        assert_eq!(record["as"]["user"], "bob");
    }
}

#[test]
fn promise_5_nothing_that_an_event_says_makes_it_a_record_of_the_gateway() {
    let mut said = event();
    // The id of a record of the gateway's own, and members that only its records have.
    said["auditID"] = "0192f0c1-7c3e-7d00-a000-0000000007f3".into();
    said["source"] = "gateway".into();
    said["decision"] = json!({"allowed": true, "who": "gateway"});
    said["pair"] = 3.into();
    said["user"] = json!({"username": "gatescribe", "groups": ["gatescribe"]});
    said["userAgent"] = "gatescribe/0.1.0".into();
    let record = written(&said);
    assert_eq!(
        (&record["source"], &record["decision"]["who"], &record["pair"]),
        (&json!("ingested"), &json!("cluster"), &Value::Null)
    );
    let id = uuid::Uuid::parse_str(record["id"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 8, "the gateway's own are of version 7");
    assert_eq!(record["ingested"]["audit_id"], said["auditID"]);
    // Whoever sends the Audit-ID of another call does not get its record's id.
    let mut other = said.clone();
    other["user"]["username"] = "mallory".into();
    assert_ne!(written(&other)["id"], record["id"]);
    assert_ne!(written(&other)["ingested"]["event"], record["ingested"]["event"]);
}

#[test]
fn a_time_that_cannot_be_is_not_believed_and_not_lost() {
    for (told, believed) in [
        ("2026-11-18T10:00:00Z", true),
        ("1970-01-01T00:00:00Z", false),
        ("2261-01-01T00:00:00Z", false),
        ("2013-01-01T00:00:00Z", false),
    ] {
        let mut said = event();
        said["requestReceivedTimestamp"] = told.into();
        said["stageTimestamp"] = told.into();
        let record = written(&said);
        assert_eq!(record["t"] != json!(NOW), believed, "{told}: {record}");
        assert_eq!(record["note"].is_null(), believed);
        assert!(
            record["ingested"]["received"]
                .as_str()
                .unwrap()
                .starts_with(told.trim_end_matches('Z')),
            "{record}"
        );
    }
}

#[test]
fn a_long_call_begins_and_ends_in_two_records_of_one_id() {
    let mut begun = event();
    begun["stage"] = "ResponseStarted".into();
    let (kind, first) = written_as(&begun, false);
    assert_eq!((kind, &first["outcome"]), (RecordKind::Access, &Value::Null));
    let (kind, last) = written_as(&event(), true);
    assert_eq!(
        (kind, &last["outcome"]["status"], &last["by"]),
        (RecordKind::Close, &json!(200), &Value::Null)
    );
    assert_eq!(first["id"], last["id"]);
    assert_ne!(first["ingested"]["event"], last["ingested"]["event"]);
    let mut panicked = event();
    panicked["stage"] = "Panic".into();
    assert_eq!(written(&panicked)["outcome"]["end"], "upstreamLost");
}

proptest! {
    #[test]
    fn whatever_an_event_says_its_record_is_whole_and_bounded(
        uri in ".{0,3000}", user in ".{1,3000}", id in ".{0,200}", agent in ".{0,400}", verb in ".{0,40}",
        groups in prop::collection::vec(".{0,300}", 0..80), name in ".{0,3000}",
    ) {
        let mut said = event();
        said["requestURI"] = uri.into();
        said["user"] = json!({"username": user, "groups": groups});
        said["impersonatedUser"] = json!({"username": user, "groups": groups, "extra": {&name: ["v"]}});
        said["auditID"] = id.into();
        said["userAgent"] = agent.into();
        said["verb"] = verb.into();
        said["objectRef"]["name"] = name.into();
        let record = written(&said);
        prop_assert_eq!(&record["source"], "ingested");
        let version = uuid::Uuid::parse_str(record["id"].as_str().unwrap()).unwrap().get_version_num();
        prop_assert_eq!(version, 8);
    }
}
