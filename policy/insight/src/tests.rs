//! Each finding by itself: two logs that agree but for one thing, and what is said of it.

use std::time::Duration;

use model::event::RecordKind;
use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::reconcile::{CallerKind, Given, Problem, Reconciliation, Report};
use crate::{Calls, ServerEvent, ServerLogError, Stage, read_line};

mod kept;
mod several;
mod stolen;

const GATE: &str = "system:serviceaccount:gatescribe:impersonator";

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_795_000_000 + second)
}

fn event(id: &str, second: i64) -> ServerEvent {
    ServerEvent {
        audit_id: id.to_owned(),
        stage: Stage::ResponseComplete,
        verb: "list".to_owned(),
        uri: "/api/v1/pods?limit=500".to_owned(),
        user: GATE.to_owned(),
        impersonated: Some("alice".to_owned()),
        code: Some(200),
        received: at(second),
        at: at(second),
        peer: Some("10.0.0.9".to_owned()),
        agent: None,
        more: Box::new(crate::More {
            level: Some("Metadata".to_owned()),
            forwarded: vec!["1.2.3.4".to_owned()],
            ..crate::More::default()
        }),
    }
}

fn begins(id: &str, second: i64) -> serde_json::Value {
    json!({"id": id, "t": at(second), "cluster": "prod", "by": {"user": "alice"},
        "req": {"verb": "list", "path": "/clusters/prod/api/v1/pods"}})
}

fn ends(id: &str, second: i64, end: &str) -> serde_json::Value {
    json!({"id": id, "t": at(second), "upstream": {"address": "10.0.0.1:6443"}, "outcome": {"end": end, "status": 200}})
}

/// Calls with these ids, a second apart from the first on, each answered.
fn calls(ids: &[&str]) -> Calls {
    let mut calls = Calls::of("prod");
    for (seq, id) in (0..).step_by(2).zip(ids) {
        let second = i64::try_from(seq).unwrap();
        calls.push(seq, RecordKind::Access, begins(id, second).to_string().as_bytes());
        calls.push(
            seq + 1,
            RecordKind::Close,
            ends(id, second, "answered").to_string().as_bytes(),
        );
    }
    calls
}

fn report(calls: &Calls, events: impl IntoIterator<Item = ServerEvent>) -> Report {
    let given = Given {
        accounts: [GATE.to_owned()].into(),
        own: ["system:serviceaccount:gatescribe:observer".to_owned()].into(),
        slack: Duration::from_secs(1),
        examples: 2,
    };
    let mut both = Reconciliation::of(calls, given);
    events.into_iter().for_each(|event| both.push(event));
    both.finish()
}

fn problems(report: &Report) -> Vec<(&str, &Problem)> {
    report
        .findings
        .iter()
        .map(|one| (one.id.as_str(), &one.problem))
        .collect()
}

/// What frames the calls, so that the log covers them.
fn framed(events: Vec<ServerEvent>) -> Vec<ServerEvent> {
    let edge = |second| ServerEvent {
        user: "system:serviceaccount:gatescribe:observer".to_owned(),
        impersonated: None,
        ..event("edge", second)
    };
    let mut all = vec![edge(-100)];
    all.extend(events);
    all.push(edge(100));
    all
}

#[test]
fn what_both_say_is_joined_and_the_gateways_own_reads_are_nobodys() {
    let report = report(&calls(&["a", "b"]), framed(vec![event("a", 0), event("b", 2)]));
    assert_eq!(problems(&report), []);
    assert_eq!((report.joined, report.own, report.events), (2, 2, 4));
    assert!(report.around.is_empty());
}

#[test]
fn the_gateways_credential_in_other_hands_is_found_once_for_each_call() {
    let begun = ServerEvent {
        stage: Stage::ResponseStarted,
        ..event("stolen", 3)
    };
    let report = report(&calls(&["a"]), framed(vec![event("a", 0), begun, event("stolen", 4)]));
    assert_eq!(problems(&report), [("stolen", &Problem::NotInLedger)]);
    assert_eq!(report.findings[0].peer.as_deref(), Some("10.0.0.9"));
}

#[test]
fn an_id_that_somebody_chose_for_many_acts_hides_none_of_them() {
    let act = |verb: &str, uri: &str| ServerEvent {
        verb: verb.to_owned(),
        uri: uri.to_owned(),
        ..event("x", 3)
    };
    let deleted = act("delete", "/api/v1/namespaces/shop");
    let report = report(
        &calls(&["a"]),
        framed(vec![event("a", 0), act("get", "/version"), deleted.clone(), deleted]),
    );
    let found: Vec<(&str, u64)> = report
        .findings
        .iter()
        .map(|one| (one.verb.as_str(), one.times))
        .collect();
    assert_eq!(found, [("delete", 2), ("get", 1)]);
}

#[test]
fn a_path_whose_end_is_sealed_is_compared_as_far_as_the_record_has_it() {
    let proxied = |uri: &str| ServerEvent {
        uri: uri.to_owned(),
        ..event("a", 0)
    };
    for (is_cut, uri, differs) in [
        (true, "/api/v1/nodes/n/proxy/metrics?x=y", false),
        (true, "/api/v1/nodes/m/proxy/metrics", true),
        (false, "/api/v1/nodes/n/proxy/metrics", true),
    ] {
        let mut calls = Calls::of("prod");
        let mut begin = begins("a", 0);
        begin["req"]["path"] = "/clusters/prod/api/v1/nodes/n/proxy/".into();
        begin["req"]["verb"] = "list".into();
        if is_cut {
            begin["parts"] = json!([{"name": "path"}]);
        }
        calls.push(0, RecordKind::Access, begin.to_string().as_bytes());
        calls.push(1, RecordKind::Close, ends("a", 0, "answered").to_string().as_bytes());
        let report = report(&calls, framed(vec![proxied(uri)]));
        assert_eq!(!report.findings.is_empty(), differs, "{uri}");
    }
}

#[test]
fn the_gateways_other_credential_is_its_own_only_at_what_it_is_for() {
    let observer = |verb: &str, uri: &str, impersonated: Option<&str>| ServerEvent {
        user: "system:serviceaccount:gatescribe:observer".to_owned(),
        verb: verb.to_owned(),
        uri: uri.to_owned(),
        impersonated: impersonated.map(str::to_owned),
        ..event("o", 3)
    };
    for (event, own) in [
        (observer("watch", "/api/v1/pods", None), 1),
        (
            observer("create", "/apis/authentication.k8s.io/v1/tokenreviews", None),
            1,
        ),
        (observer("create", "/api/v1/namespaces/a/pods", None), 0),
        (observer("delete", "/api/v1/namespaces/a", None), 0),
        (observer("get", "/api/v1/secrets", Some("root")), 0),
    ] {
        let report = report(&calls(&[]), [event]);
        assert_eq!((report.own, report.around(CallerKind::ServiceAccount)), (own, 1 - own));
    }
}

#[test]
fn a_call_sent_again_by_somebody_is_told_from_one_that_the_gateway_repeated() {
    let calls_once = calls(&["a"]);
    let again = report(&calls_once, framed(vec![event("a", 0), event("a", 50)]));
    assert_eq!(problems(&again), [("a", &Problem::Repeated { sent: 1, arrived: 2 })]);
    let mut twice = Calls::of("prod");
    twice.push(0, RecordKind::Access, begins("a", 0).to_string().as_bytes());
    let mut end = ends("a", 0, "answered");
    end["upstream"]["attempts"] = 2.into();
    twice.push(1, RecordKind::Close, end.to_string().as_bytes());
    assert_eq!(
        problems(&report(&twice, framed(vec![event("a", 0), event("a", 0)]))),
        []
    );
}

#[test]
fn each_word_that_differs_is_named_with_both() {
    let cases = [
        (
            "verb",
            ServerEvent {
                verb: "deletecollection".to_owned(),
                ..event("a", 0)
            },
            "list",
            "deletecollection",
        ),
        (
            "path",
            ServerEvent {
                uri: "/api/v1/secrets".to_owned(),
                ..event("a", 0)
            },
            "/api/v1/pods",
            "/api/v1/secrets",
        ),
        (
            "user",
            ServerEvent {
                impersonated: Some("root".to_owned()),
                ..event("a", 0)
            },
            "alice",
            "root",
        ),
        (
            "user",
            ServerEvent {
                impersonated: None,
                ..event("a", 0)
            },
            "alice",
            GATE,
        ),
        (
            "status",
            ServerEvent {
                code: Some(403),
                ..event("a", 0)
            },
            "200",
            "403",
        ),
    ];
    let calls = calls(&["a"]);
    for (what, event, ledger, server) in cases {
        let report = report(&calls, framed(vec![event]));
        let differs = Problem::Differs {
            what,
            ledger: ledger.to_owned(),
            server: server.to_owned(),
        };
        assert_eq!(problems(&report), [("a", &differs)]);
        assert_eq!(report.joined, 0);
    }
    let borrowed = ServerEvent {
        user: "mallory".to_owned(),
        ..event("a", 0)
    };
    let report = report(&calls, framed(vec![event("a", 0), borrowed]));
    assert!(
        matches!(report.findings[0].problem, Problem::Repeated { .. }),
        "{report:?}"
    );
    assert!(
        matches!(report.findings[1].problem, Problem::Differs { what: "account", .. }),
        "{report:?}"
    );
}

#[test]
fn a_call_that_never_arrived_is_missed_only_where_the_log_reaches() {
    let calls = calls(&["a", "b", "c"]);
    let all = report(&calls, framed(vec![event("a", 0), event("c", 4)]));
    assert_eq!(problems(&all), [("b", &Problem::NeverArrived)]);
    // The log ends within the slack of what is missing.
    let short = report(&calls, [event("a", 0), event("edge", 2)]);
    assert_eq!(problems(&short), [("edge", &Problem::NotInLedger)]);
    assert_eq!(short.outside, 2);
    assert_eq!(report(&calls, []).outside, 3, "a log without an event covers nothing");
}

#[test]
fn what_the_ledger_says_was_not_sent_must_not_have_arrived() {
    for (end, problems_expected, undecided) in [
        ("notSent", vec![Problem::SaidNotSent], 0),
        ("refused", vec![Problem::SaidNotSent], 0),
        ("unknown", vec![], 1),
        ("clientGone", vec![], 1),
    ] {
        let mut calls = Calls::of("prod");
        calls.push(0, RecordKind::Intent, begins("a", 0).to_string().as_bytes());
        calls.push(
            1,
            RecordKind::Outcome,
            json!({"pair": 0, "t": at(1), "outcome": {"end": end}})
                .to_string()
                .as_bytes(),
        );
        let arrived = report(&calls, framed(vec![event("a", 0)]));
        let found: Vec<Problem> = arrived.findings.into_iter().map(|one| one.problem).collect();
        assert_eq!(found, problems_expected, "{end}");
        let missing = report(&calls, framed(vec![]));
        assert_eq!((missing.findings.len(), missing.undecided), (0, undecided), "{end}");
    }
}

#[test]
fn calls_that_may_have_been_sent_are_named_in_the_ledgers_order_and_the_rest_is_counted() {
    let unsure = |count: i64| {
        let mut calls = Calls::of("prod");
        for seq in 0..count {
            let call = begins(&format!("id-{seq}"), seq);
            calls.push(seq.unsigned_abs(), RecordKind::Intent, call.to_string().as_bytes());
        }
        calls
    };
    // As many as are named, none, and more: a map has no order, and each has to come out the same.
    for count in [0, 2, 40] {
        let report = report(&unsure(count), framed(vec![]));
        let named: Vec<(&str, u64)> = report
            .undecided_calls
            .iter()
            .map(|one| (one.id.as_str(), one.seq))
            .collect();
        let first: &[(&str, u64)] = if count == 0 { &[] } else { &[("id-0", 0), ("id-1", 1)] };
        assert_eq!((report.undecided, named.as_slice()), (count.unsigned_abs(), first));
        assert_eq!(problems(&report), []);
    }
    let one = &report(&unsure(1), framed(vec![])).undecided_calls[0];
    assert_eq!(
        (one.user.as_str(), one.verb.as_str(), one.path.as_str(), one.at),
        ("alice", "list", "/api/v1/pods", at(0))
    );
    // What the other log has is not among them, nor what lies outside of it or in its gap.
    let arrived = report(&unsure(2), framed(vec![event("id-0", 0), event("id-1", 1)]));
    assert_eq!((arrived.undecided, arrived.undecided_calls.len()), (0, 0));
    let outside = report(&unsure(2), []);
    assert_eq!((outside.outside, outside.undecided_calls.len()), (2, 0));
}

#[test]
fn whoever_goes_around_the_gate_is_counted_once_for_each_call_people_first() {
    let by = |user: &str, id: &str, stage| ServerEvent {
        user: user.to_owned(),
        impersonated: None,
        stage,
        ..event(id, 5)
    };
    let last = Stage::ResponseComplete;
    let report = report(
        &calls(&[]),
        [
            by("system:node:n1", "1", last),
            by("kubernetes-admin", "2", Stage::RequestReceived),
            by("kubernetes-admin", "2", last),
            by("kubernetes-admin", "3", Stage::ResponseStarted),
            by("kubernetes-admin", "4", last),
            by("system:serviceaccount:ci:deployer", "5", Stage::Panic),
            by("", "6", Stage::ResponseStarted),
        ],
    );
    let all: Vec<(&str, CallerKind, u64, usize)> = report
        .around
        .iter()
        .map(|one| (one.user.as_str(), one.kind, one.calls, one.examples.len()))
        .collect();
    assert_eq!(
        all,
        [
            ("kubernetes-admin", CallerKind::Person, 3, 2),
            ("system:serviceaccount:ci:deployer", CallerKind::ServiceAccount, 1, 1),
            ("system:node:n1", CallerKind::Component, 1, 1),
            ("", CallerKind::Anonymous, 1, 1),
        ]
    );
    assert_eq!(report.around(CallerKind::Person), 3);
}

#[test]
fn a_call_around_the_gate_is_counted_once_in_whatever_order_its_events_come() {
    let of = |id: &str, uri: &str, stage| ServerEvent {
        user: "mallory".to_owned(),
        impersonated: None,
        uri: uri.to_owned(),
        stage,
        ..event(id, 5)
    };
    let (received, started, last) = (Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete);
    for order in [
        [received, started, last],
        [last, started, received],
        [started, last, received],
        [last, received, last],
    ] {
        let said = report(&calls(&[]), order.map(|stage| of("x", "/a", stage)));
        assert_eq!(said.around(CallerKind::Person), 1, "{order:?}");
    }
    // The end of one call is not the end of another under the same id, which is its caller's choice.
    let two = report(&calls(&[]), [of("x", "/a", started), of("x", "/b", last)]);
    assert_eq!(two.around(CallerKind::Person), 2);
}

#[test]
fn calls_to_another_cluster_and_ingested_ones_are_not_joined() {
    let mut calls = Calls::of("prod");
    let mut other = begins("a", 0);
    other["cluster"] = "test".into();
    calls.push(0, RecordKind::Access, other.to_string().as_bytes());
    let mut ingested = begins("b", 0);
    ingested["source"] = "ingested".into();
    calls.push(1, RecordKind::Access, ingested.to_string().as_bytes());
    calls.push(2, RecordKind::Access, b"{");
    assert_eq!((calls.len(), calls.unreadable()), (0, 1));
}

/// Whatever else a record says: what went to a service has not gone to the cluster.
#[test]
fn calls_of_services_are_none_of_the_cluster_s() {
    let mut both = calls(&["a", "b"]);
    for (seq, (id, cluster)) in [(10, ("s", json!(null))), (12, ("t", json!("prod")))] {
        let mut call = begins(id, 1);
        (call["cluster"], call["service"]) = (cluster, json!({"name": "web", "host": "web.example"}));
        both.push(seq, RecordKind::Intent, call.to_string().as_bytes());
        both.push(
            seq + 1,
            RecordKind::Outcome,
            ends(id, 2, "answered").to_string().as_bytes(),
        );
    }
    assert_eq!((both.len(), both.unreadable()), (2, 0));
    let told = report(&both, framed(vec![event("a", 0), event("b", 2)]));
    assert_eq!(
        (problems(&told), told.joined, told.outside),
        (vec![], 2, 0),
        "none is missing there"
    );
    let told = report(&both, framed(vec![event("a", 0), event("t", 1), event("b", 2)]));
    assert_eq!(
        problems(&told),
        [("t", &Problem::NotInLedger)],
        "nor does one vouch for what was done there"
    );
}

/// A verdict says what was answered, and not what came of it.
#[test]
fn a_verdict_never_counts_as_coverage() {
    let mut known = calls(&["a"]);
    // The kind alone keeps it out, and what it says of its source alone.
    for (seq, (id, kind, cluster, source)) in [
        (10, ("v", RecordKind::Verdict, json!(null), json!("verdict"))),
        (11, ("w", RecordKind::Verdict, json!("prod"), json!(null))),
        (12, ("x", RecordKind::Refusal, json!("prod"), json!("verdict"))),
        (13, ("y", RecordKind::Access, json!("prod"), json!("verdict"))),
    ] {
        let mut verdict = begins(id, 1);
        (verdict["cluster"], verdict["source"]) = (cluster, source);
        known.push(seq, kind, verdict.to_string().as_bytes());
    }
    assert_eq!((known.len(), known.unreadable()), (1, 0));
    let told = report(
        &known,
        framed(vec![event("a", 0), event("v", 1), event("w", 2), event("y", 3)]),
    );
    assert_eq!(
        problems(&told),
        [
            ("v", &Problem::NotInLedger),
            ("w", &Problem::NotInLedger),
            ("y", &Problem::NotInLedger)
        ],
        "it vouches for nothing that was done"
    );
    assert_eq!((told.joined, told.coverage.all.through), (1, 1));
}

#[test]
fn a_cluster_that_has_the_name_of_another_at_its_beginning_keeps_its_path() {
    let mut calls = Calls::of("prod");
    let mut call = begins("a", 0);
    call["req"]["path"] = "/clusters/production/api".into();
    calls.push(0, RecordKind::Access, call.to_string().as_bytes());
    assert_eq!(calls.find("a").unwrap().1.path(), "/clusters/production/api");
}

fn written(event: &ServerEvent) -> serde_json::Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": event.audit_id,
        "stage": format!("{:?}", event.stage), "requestURI": event.uri, "verb": event.verb, "user": {"username": event.user},
        "impersonatedUser": event.impersonated.as_ref().map(|name| json!({"username": name})),
        "responseStatus": {"metadata": {}, "code": event.code}, "sourceIPs": ["1.2.3.4", event.peer],
        "requestReceivedTimestamp": event.received, "stageTimestamp": event.at})
}

#[test]
fn a_line_is_an_event_or_a_list_of_them() {
    let one = event("a", 0);
    assert_eq!(
        read_line(written(&one).to_string().as_bytes()).unwrap(),
        std::slice::from_ref(&one)
    );
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [written(&one), written(&event("b", 1))]});
    assert_eq!(read_line(list.to_string().as_bytes()).unwrap(), [one, event("b", 1)]);
    assert_eq!(read_line(b" \r\n").unwrap(), []);
}

#[test]
fn one_event_of_a_list_that_cannot_be_read_takes_no_other_with_it() {
    let mut bad = written(&event("b", 1));
    bad["stage"] = "Later".into();
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1",
        "items": [written(&event("a", 0)), bad, 7, written(&event("c", 2))]});
    let read = crate::read_each(list.to_string().as_bytes()).unwrap();
    let ids: Vec<_> = read
        .iter()
        .map(|one| one.as_ref().ok().map(|one| one.audit_id.as_str()))
        .collect();
    assert_eq!(ids, [Some("a"), None, None, Some("c")]);
}

/// However many there are, one is held at a time; whoever has enough is asked no more.
#[test]
fn promise_8_items_of_a_list_are_handed_on_one_by_one() {
    let (head, one) = (
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#,
        written(&event("a", 0)),
    );
    let list = format!("{head}{one},{}0]}}", "0,".repeat(300_000));
    let (mut good, mut bad) = (0, 0);
    crate::for_each(list.as_bytes(), &mut |text, read| {
        match read {
            Ok(_) => good += 1,
            Err(_) => bad += usize::from(text == "0"),
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((good, bad), (1, 300_001));
    let mut asked = 0;
    crate::for_each(list.as_bytes(), &mut |_, _| {
        asked += 1;
        std::ops::ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(asked, 1);
    for (items, read) in [("null", true), ("[]", true), ("7", false), ("[],\"items\":[]", false)] {
        let list = format!(r#"{{"items":{items},"kind":"EventList","apiVersion":"audit.k8s.io/v1"}}"#);
        assert_eq!(read_line(list.as_bytes()).is_ok(), read, "{items}");
    }
}

/// The API server writes a patch into `requestObject` byte for byte.
#[test]
fn a_byte_that_is_no_text_takes_nobodys_event_with_it() {
    let mut patched = written(&event("b", 1));
    patched["requestObject"] = json!([{"op": "add", "path": "/x", "value": "BYTE"}]);
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1",
        "items": [written(&event("a", 0)), patched, written(&event("c", 2))]});
    let mut bytes = list.to_string().into_bytes();
    let at = bytes.windows(4).position(|part| part == b"BYTE").unwrap();
    bytes[at] = 0xff;
    assert_eq!(
        read_line(&bytes).unwrap(),
        [event("a", 0), event("b", 1), event("c", 2)]
    );
}

#[test]
fn what_an_event_says_of_both_users_and_the_object_is_read_and_no_body_is() {
    let mut said = written(&event("a", 0));
    said["user"] = json!({"username": GATE, "uid": "u", "groups": ["g"], "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]}});
    said["impersonatedUser"] =
        json!({"username": "alice", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v"]}});
    said["objectRef"] = json!({"resource": "secrets", "namespace": "n", "name": "s", "resourceVersion": "7"});
    said["responseStatus"] = json!({"code": 403, "reason": "Forbidden"});
    said["annotations"] = json!({"authorization.k8s.io/decision": "forbid"});
    said["requestObject"] = json!({"data": {"password": "aHVudGVyMg=="}});
    said["responseObject"] = json!({"data": {"password": "aHVudGVyMg=="}});
    let read = read_line(said.to_string().as_bytes()).unwrap().remove(0);
    assert_eq!(
        (read.user.as_str(), read.impersonated.as_deref(), read.code),
        (GATE, Some("alice"), Some(403))
    );
    let more = &read.more;
    assert_eq!(
        (more.user.uid.as_deref(), more.credential.as_deref()),
        (Some("u"), Some("JTI=1"))
    );
    assert_eq!(more.impersonated.groups, ["dev", "system:authenticated"]);
    assert_eq!((more.reason.as_deref(), more.allowed), (Some("Forbidden"), Some(false)));
    let object = more.object.as_ref().unwrap();
    assert_eq!(
        (
            object.namespace.as_deref(),
            object.name.as_deref(),
            object.resource_version.as_deref()
        ),
        (Some("n"), Some("s"), Some("7"))
    );
    assert!(!format!("{read:?}").contains("aHVudGVyMg"), "{read:?}");
}

#[test]
fn another_object_and_a_torn_line_are_refused_with_the_reason() {
    let old = read_line(br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1"}"#).unwrap_err();
    assert!(matches!(old, ServerLogError::Other { .. }), "{old}");
    assert!(old.to_string().contains("`Event` of `audit.k8s.io/v1beta1`"), "{old}");
    let text = written(&event("a", 0)).to_string();
    for cut in [1, 20, text.len() - 1] {
        assert!(matches!(
            read_line(&text.as_bytes()[..cut]),
            Err(ServerLogError::Malformed(_))
        ));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_more_than_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz_server_log(&bytes);
    }

    #[test]
    fn a_log_in_any_order_says_the_same(order in Just((0..18_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let ids = ["a", "b", "c", "d", "e"];
        let mut events = framed(vec![event("a", 0), event("a", 1), event("b", 2), event("x", 3), event("d", 6)]);
        for (n, user) in ["bob", "bob", "carol"].into_iter().enumerate() {
            events.push(ServerEvent { user: user.to_owned(), ..event(&format!("around{n}"), 7) });
        }
        events.push(ServerEvent { code: Some(500), ..event("e", 8) });
        events.push(ServerEvent { stage: Stage::ResponseStarted, ..event("e", 8) });
        // Stolen ones that go on, one that ends, and one of which nobody can know.
        for (stage, second) in [(Stage::ResponseStarted, 3), (Stage::ResponseStarted, 50), (Stage::RequestReceived, 51),
            (Stage::ResponseStarted, 51), (Stage::ResponseComplete, 51), (Stage::ResponseComplete, 70)] {
            let peer = Some(format!("10.0.0.{}", second.max(9)));
            events.push(ServerEvent { stage, peer, ..event("x", second) });
        }
        prop_assert_eq!(events.len(), order.len());
        let mut calls = calls(&ids);
        calls.push(99, RecordKind::Gap, gap_of_the_ledger(69, 71, 1).to_string().as_bytes());
        let mut expected = report(&calls, events.clone());
        let mut found = report(&calls, order.iter().map(|n| events[*n].clone()));
        for one in expected.around.iter_mut().chain(&mut found.around) {
            one.examples.clear();
        }
        prop_assert_eq!(found, expected);
    }
}

fn gap_of_the_ledger(from: i64, to: i64, passed: u64) -> serde_json::Value {
    json!({"t": at(to), "gap": {"why": "diskFull", "from": at(from), "to": at(to), "passed": {"reads": passed, "effects": 0},
        "modes": {"reads": "bounded", "effects": "closed"}, "unfinished": 0}})
}

#[test]
fn promise_4_calls_in_a_gap_of_the_ledger_are_unknown_as_far_as_it_counts_them_and_beyond_that_stolen() {
    for (passed, stolen) in [(2, false), (1, true)] {
        let mut calls = calls(&["a"]);
        calls.push(
            9,
            RecordKind::Gap,
            gap_of_the_ledger(20, 30, passed).to_string().as_bytes(),
        );
        let events = vec![event("a", 0), event("x", 21), event("y", 29), event("z", 50)];
        let report = report(&calls, framed(events));
        let found: Vec<&str> = problems(&report).iter().map(|(id, _)| *id).collect();
        assert_eq!(found, if stolen { vec!["x", "y", "z"] } else { vec!["z"] });
        assert_eq!(report.unknown.without_record, if stolen { 0 } else { 2 });
        assert_eq!(report.gaps.len(), 1);
        assert_eq!(report.gaps[0].calls, Some(passed));
        let all = report.coverage.all;
        assert_eq!(
            (all.through, all.around, all.unknown),
            if stolen { (1, 3, 0) } else { (1, 1, 2) }
        );
    }
    // Nobody knows how many: none of them is found, and that is said.
    let mut calls = calls(&["a"]);
    let mut gap = gap_of_the_ledger(20, 30, 0);
    gap["gap"]["at_least"] = true.into();
    calls.push(9, RecordKind::Gap, gap.to_string().as_bytes());
    let report = report(&calls, framed(vec![event("a", 0), event("x", 25)]));
    assert_eq!((problems(&report).len(), report.unknown.without_record), (0, 1));
}

#[test]
fn promise_4_where_records_are_not_there_any_more_a_call_without_one_is_unknown() {
    // Older records were taken away: the first that is there is not the first.
    let mut calls = Calls::of("prod");
    calls.push(7, RecordKind::Access, begins("a", 10).to_string().as_bytes());
    calls.push(8, RecordKind::Close, ends("a", 10, "answered").to_string().as_bytes());
    let events = || framed(vec![event("old", 5), event("a", 10), event("late", 20)]);
    let first = report(&calls, events());
    assert_eq!((problems(&first)[0].0, first.unknown.before_ledger), ("late", 1));
    assert_eq!((first.begins, first.unknown.without_record), (Some(at(10)), 0));
    // And the rest cannot be read.
    calls.break_off();
    let broken = report(&calls, events());
    assert_eq!((problems(&broken).len(), broken.unknown), (0, unknown(1, 1)));
}

fn unknown(without_record: u64, before_ledger: u64) -> crate::reconcile::Unknown {
    crate::reconcile::Unknown {
        without_record,
        before_ledger,
        without_event: 0,
    }
}

#[test]
fn promise_4_calls_in_a_gap_of_the_server_s_log_are_unknown_and_not_missing() {
    let calls = calls(&["a", "b", "c"]);
    let given = Given {
        accounts: [GATE.to_owned()].into(),
        own: ["system:serviceaccount:gatescribe:observer".to_owned()].into(),
        slack: Duration::ZERO,
        examples: 2,
    };
    let mut both = Reconciliation::of(&calls, given);
    framed(vec![event("a", 0)])
        .into_iter()
        .for_each(|event| both.push(event));
    both.gap(at(2), at(3));
    let report = both.finish();
    assert_eq!(problems(&report), [("c", &Problem::NeverArrived)]);
    assert_eq!(report.unknown.without_event, 1);
    assert_eq!(report.gaps.len(), 1);
}

#[test]
fn the_share_that_came_through_the_gate_is_said_by_caller_verb_resource_and_day() {
    let of = |id: &str, user: &str, verb: &str, uri: &str, second| ServerEvent {
        user: user.to_owned(),
        impersonated: None,
        verb: verb.to_owned(),
        uri: uri.to_owned(),
        ..event(id, second)
    };
    let account = "system:serviceaccount:shop:cart";
    let day = 86_400;
    let events = vec![
        event("a", 0),
        event("a", 0),
        of("1", "mallory", "list", "/api/v1/pods", day),
        of("2", account, "get", "/apis/apps/v1/namespaces/shop/deployments/cart", 1),
        of("3", account, "get", "/version", 1),
    ];
    let coverage = report(&calls(&["a"]), events).coverage;
    let share = |through, around| crate::coverage::Share {
        through,
        around,
        unknown: 0,
    };
    assert_eq!(coverage.all, share(1, 3));
    assert_eq!(coverage.all.per_mille(), 250);
    let callers: Vec<_> = coverage.callers.into_iter().collect();
    assert_eq!(
        callers,
        [
            (CallerKind::Person, share(1, 1)),
            (CallerKind::ServiceAccount, share(0, 2))
        ]
    );
    let named = |shares: std::collections::BTreeMap<String, crate::coverage::Share>| {
        let all = shares
            .into_iter()
            .map(|(name, share)| (name, share.through, share.around));
        all.collect::<Vec<_>>()
    };
    let row = |name: &str, through, around| (name.to_owned(), through, around);
    assert_eq!(named(coverage.verbs), [row("get", 0, 2), row("list", 1, 1)]);
    assert_eq!(
        named(coverage.resources),
        [row("(none)", 0, 1), row("deployments.apps", 0, 1), row("pods", 1, 1)]
    );
    let days: Vec<u64> = coverage.days.values().map(|share| share.all()).collect();
    assert_eq!(days, [3, 1]);
}

#[test]
fn promise_8_verbs_that_a_caller_makes_up_are_counted_together_above_a_bound() {
    let events = (0..2_000).map(|n| ServerEvent {
        user: "mallory".to_owned(),
        verb: format!("verb{n}"),
        uri: "/version".to_owned(),
        ..event(&format!("id-{n}"), n)
    });
    let coverage = report(&calls(&[]), events).coverage;
    assert!(coverage.verbs.len() <= 1_001, "{}", coverage.verbs.len());
    assert_eq!(coverage.verbs[crate::coverage::OTHERS].around, 1_000);
}
