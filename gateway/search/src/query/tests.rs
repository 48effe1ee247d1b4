//! Queries as people type them, what they find, and what is said of wrong ones.

use model::event::RecordKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::leaf::Leaf;
use crate::row::Row;

fn row(changes: Value) -> Row {
    let mut leaf = json!({
        "id": "01996f3a-0000-7000-8000-000000000001", "t": "2026-11-21T10:00:00Z", "boot": "b", "cluster": "prod",
        "by": {"id": "00", "kind": "person", "iss": "https://idp.example", "sub": "u-17", "user": "alice",
               "email": "Alice.Lee@example.com", "credential": "gatewayToken", "session": "s1"},
        "net": {"ip": "10.1.2.3"},
        "req": {"method": "GET", "path": "/api/v1/namespaces/shop/pods/web-0/exec", "verb": "get", "action": "exec",
                "group": "", "resource": "pods", "subresource": "exec", "namespace": "shop", "name": "web-0",
                "agent": "kubectl/v1.36.3 (linux/amd64)"},
        "outcome": {"end": "answered", "status": 101},
    });
    for (name, value) in changes.as_object().unwrap() {
        leaf[name] = value.clone();
    }
    Row::begin(7, RecordKind::Intent, Leaf::read(leaf.to_string().as_bytes()).unwrap())
}

fn finds(query: &str) -> bool {
    Query::parse(query).unwrap().matches(&row(json!({})))
}

#[test]
fn a_person_is_found_by_user_name_e_mail_and_subject() {
    for found in [
        "user:alice",
        "user:ALICE",
        "user:alice.lee",
        "user:alice.lee@example.com",
        "user:u-17",
        "user:al*",
        "who:bob,alice",
        "alice",
    ] {
        assert!(finds(found), "{found}");
    }
    for not_found in ["user:ali", "user:lee", "user:example.com", "-user:alice", "user:bob"] {
        assert!(!finds(not_found), "{not_found}");
    }
}

#[test]
fn each_key_finds_its_member_and_a_dash_turns_it_round() {
    for found in [
        "verb:get",
        "verb:exec",
        "verb:delete,exec",
        "resource:pods",
        "resource:pod",
        "resource:pods/exec",
        "res:pods/*",
        "group:core",
        "ns:shop",
        "namespace:sh*",
        "name:web-0",
        "cluster:prod",
        "status:101",
        "status:1xx",
        "status:<400",
        "status:200,101",
        "outcome:ok",
        "outcome:answered",
        "kind:intent",
        "id:01996f3a-*",
        "ip:10.1.2.3",
        "ip:10.1.*",
        "ip:10.0.0.0/8",
        "agent:kubectl",
        "session:s1",
        "source:gateway",
        "\"kubectl exec\"",
        "exec web-0",
        "-verb:delete",
    ] {
        assert!(finds(found), "{found}");
    }
    for not_found in [
        "verb:list",
        "resource:pods/log",
        "resource:secrets",
        "group:apps",
        "status:4xx",
        "status:>=400",
        "outcome:refused",
        "outcome:unknown",
        "kind:access",
        "ip:10.2.0.0/16",
        "\"exec kubectl\"",
        "-exec",
        "ns:shop ns:other",
        "name:\"web-*\"",
    ] {
        assert!(!finds(not_found), "{not_found}");
    }
}

#[test]
fn sessions_are_found_by_whether_they_were_recorded_and_what_is_no_session_by_neither() {
    let session = |recording: Value| {
        let leaf = json!({"id": "a", "t": "2026-11-21T10:00:00Z", "boot": "b", "recording": recording});
        Row::begin(7, RecordKind::Open, Leaf::read(leaf.to_string().as_bytes()).unwrap())
    };
    let kept = session(json!({"chunks": 1, "frames": 1, "bytes": 9, "hash": "00"}));
    for (row, is_found) in [
        (kept, [true, false]),
        (session(Value::Null), [false, true]),
        (row(json!({})), [false, false]),
    ] {
        let found = ["recorded:true", "recorded:False"].map(|query| Query::parse(query).unwrap().matches(&row));
        assert_eq!(found, is_found);
    }
    let told = Query::parse("recorded:yes").unwrap_err().to_string();
    assert!(told.contains("true") && told.contains("false"), "{told}");
}

#[test]
fn whether_the_public_did_it_is_true_or_false_and_said_of_services_only() {
    let told = Query::parse("public:yes").unwrap_err().to_string();
    assert!(told.contains("true") && told.contains("false"), "{told}");
    for value in ["true", "false", "*"] {
        assert!(!finds(&format!("public:{value}")), "{value}");
    }
}

#[test]
fn refusals_are_found_whoever_refused() {
    let gateway = row(json!({
        "decision": {"allowed": false, "who": "gateway", "reason": "noRule"}, "outcome": {"end": "refused", "status": 403}
    }));
    let cluster = row(json!({"outcome": {"end": "answered", "status": 403, "reason": "Forbidden"}}));
    for (row, by, reason) in [(&gateway, "gateway", "noRule"), (&cluster, "cluster", "Forbidden")] {
        assert_eq!((row.refused_by, row.reason.as_deref()), (Some(by), Some(reason)));
        assert!(Query::parse("outcome:refused status:403").unwrap().matches(row));
        assert!(Query::parse(&format!("reason:{reason}")).unwrap().matches(row));
        assert!(!Query::parse("outcome:ok,failed").unwrap().matches(row));
    }
}

#[test]
fn times_are_bounds_and_relative_ones_are_resolved_late() {
    let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
    let bounds = |text: &str| {
        let (since, until) = Query::parse(text).unwrap().times(now);
        (since.map(|time| time.to_string()), until.map(|time| time.to_string()))
    };
    assert_eq!(bounds("since:2h"), (Some("2026-11-21T10:00:00.000000Z".into()), None));
    assert_eq!(
        bounds("since:2026-11-01 until:2026-11-02T10:30"),
        (
            Some("2026-11-01T00:00:00.000000Z".into()),
            Some("2026-11-02T10:30:00.000000Z".into())
        )
    );
    assert_eq!(
        bounds("until:2026-11-21T12:00:00+01:00").1.unwrap(),
        "2026-11-21T11:00:00.000000Z"
    );
    assert_eq!(
        bounds("since:yesterday until:Today"),
        (
            Some("2026-11-20T00:00:00.000000Z".into()),
            Some("2026-11-21T00:00:00.000000Z".into())
        )
    );
    assert_eq!(bounds("pods"), (None, None));
    let twice = Query::parse("since:1h").unwrap().within(read_time("2h"), None);
    assert_eq!(twice, Err("since"));
}

#[test]
fn a_wrong_query_says_what_and_where() {
    let wrong = |text: &str| {
        let error = Query::parse(text).unwrap_err();
        (error.at, error.len, error.to_string())
    };
    assert_eq!(
        wrong("ns:shop usr:alice"),
        (
            8,
            3,
            "position 9: `usr:` is no key (did you mean `user`?); known are user, as, via, verb, resource, group, ns, name, \
             cluster, service, host, method, path, public, status, outcome, kind, id, ip, reason, agent, session, source, recorded, since, until; to search for this \
             text, put it in quotes"
                .to_owned()
        )
    );
    assert_eq!(wrong("é ns:").2, "position 3: a value is missing after `ns:`");
    assert_eq!(wrong("ns:a,").2, "position 1: a value is missing after `ns:`");
    assert_eq!(wrong("pods \"open").2, "position 6: this quote has no end");
    assert_eq!(
        wrong("\"a\"b").2,
        "position 4: a space is missing after the closing quote"
    );
    assert_eq!(
        wrong("pods -").2,
        "position 6: nothing stands after `-`; to search for a dash, put it in quotes"
    );
    assert_eq!(
        wrong("since:1h since:2h").2,
        "position 10: `since:` can stand once, with one value and without `-`"
    );
    assert_eq!(
        wrong("-until:1h").2,
        "position 1: `until:` can stand once, with one value and without `-`"
    );
    assert_eq!(
        wrong("since:soon").2,
        "position 7: `soon` cannot stand after `since:`; it takes 5m, 2h, 7d, yesterday, a day such as 2026-11-01, or a time \
         such as 2026-11-01T10:30:00Z"
    );
    assert_eq!(
        wrong("status:abc").2,
        "position 8: `abc` cannot stand after `status:`; it takes a status such as 403, a class such as 4xx, or a bound \
         such as >=400"
    );
    assert!(wrong("outcome:refuse").2.contains("(did you mean `refused`?)"));
    assert!(wrong("kind:acess").2.contains("(did you mean `access`?)"));
    assert!(wrong("ip:here").2.contains("it takes an address"));
    assert_eq!(
        wrong(&"a ".repeat(300)).2,
        "position 513: the query is longer than 256 words and values"
    );
    assert_eq!(
        wrong(&"a".repeat(5000)).2,
        "position 1: the query is longer than 4096 bytes"
    );
}

#[test]
fn quotes_keep_spaces_commas_and_stars() {
    let query = Query::parse(r#"name:"a,b *\"c\\",d "#).unwrap();
    let values: Vec<&str> = query.wanted(Key::Name).map(Pattern::text).collect();
    assert_eq!(values, [r#"a,b *"c\"#, "d"]);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,200}") {
        fuzz_query(text.as_bytes());
    }

    #[test]
    fn no_likely_text_makes_it_panic(text in r#"(-?(user|ns|status|ip|since|outcome|kind|x)?:?["a-z0-9*,./:\\é -]{0,12} ?){0,8}"#) {
        fuzz_query(text.as_bytes());
    }

    #[test]
    fn a_value_in_quotes_finds_exactly_itself(name in "[a-zA-Z0-9 *,:\"\\\\é._-]{1,30}") {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let query = Query::parse(&format!("name:\"{quoted}\"")).unwrap();
        let mut found = row(json!({}));
        found.name = Some(name.clone());
        prop_assert!(query.matches(&found));
        found.name = Some(format!("{name}x"));
        prop_assert!(!query.matches(&found));
    }

    #[test]
    fn a_star_stands_for_anything(before in "[a-z]{0,5}", middle in "[a-z]{0,5}", after in "[a-z]{0,5}") {
        prop_assume!(!before.is_empty() || !after.is_empty());
        let query = Query::parse(&format!("name:{before}*{after}")).unwrap();
        let mut found = row(json!({}));
        found.name = Some(format!("{before}{middle}{after}"));
        prop_assert!(query.matches(&found));
    }
}
