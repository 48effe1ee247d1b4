//! Audit roles at every route that shows records.

use std::sync::Arc;

use http::StatusCode;
use search::{AuditRole, Hides, May, Pseudonyms};
use serde_json::{Value, json};

use super::RoleOf;
use crate::api::tests::world;

/// Of `shop`, of everything without people and addresses, of recordings, and of a namespace in which nothing happens.
pub(in crate::api) fn roles() -> Vec<RoleOf> {
    let role = |name: &str, namespaces: Option<&str>, hides: &[Hides], may: &[May]| RoleOf {
        // Nobody here is in the second one: of a role's groups each is told the own ones.
        groups: vec![format!("{name}-readers"), format!("{name}-council")],
        role: Arc::new(AuditRole {
            name: name.to_owned(),
            clusters: None,
            namespaces: namespaces.map(|name| vec![name.to_owned()]),
            hides: hides.iter().copied().collect(),
            may: may.iter().copied().collect(),
            pseudonyms: Pseudonyms::new([7; 32]),
        }),
    };
    vec![
        role("shop", Some("shop"), &[], &[May::Receipts]),
        role("council", None, &[Hides::People, Hides::Addresses], &[]),
        role("films", None, &[], &[May::Recordings, May::Details]),
        role("web", Some("web"), &[], &[May::Receipts]),
    ]
}

fn ids(answer: &Value, list: &str) -> Vec<String> {
    let rows = answer[list].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_role_shows_its_part_at_every_route_and_each_reading_says_which_role() {
    let world = world();
    let shop = world.bearer(&world.signed_in(4, "dan", &["shop-readers"]));
    let web = world.bearer(&world.signed_in(5, "eva", &["web-readers"]));
    world.read("a-1", 1, "alice", "pods");
    world.refused("b-1", 2, "bob");
    world.session("s-1", 1, "alice", None);
    world.closed("s-1", 0, None);
    for (token, expected) in [(&shop, vec!["s-1", "b-1", "a-1"]), (&web, vec![])] {
        let (_, found) = world.get(token, "/api/v1/audit/records").await;
        assert_eq!(
            (ids(&found, "records"), &found["scope"]),
            (expected.iter().map(|id| (*id).to_owned()).collect(), &json!("roles"))
        );
        let (_, listed) = world.get(token, "/api/v1/sessions").await;
        assert_eq!(
            ids(&listed, "sessions").len(),
            expected.iter().filter(|id| id.starts_with('s')).count()
        );
        let expected = if expected.is_empty() {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::OK
        };
        for target in [
            "audit/records/a-1",
            "audit/records/a-1/receipt",
            "why/b-1",
            "sessions/s-1",
        ] {
            let (status, _) = world.get(token, &format!("/api/v1/{target}")).await;
            assert_eq!(status, expected, "{target}");
        }
        // Not by any role: these are for members of an audit group.
        for target in ["users/locks", "ledger/tile/entries/000.p/1"] {
            let (status, _) = world.get(token, &format!("/api/v1/{target}")).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{target}");
        }
    }
    let said = world.read_sentences();
    assert!(
        said.contains(&"searched own and shop's records for ``: 3 shown".to_owned()),
        "{said:?}"
    );
    assert!(
        said.contains(&"took the receipt of record `a-1` among own and web's records: 0 found".to_owned()),
        "{said:?}"
    );
}

/// What is sealed, receipts and recordings are each for roles that say so.
#[tokio::test]
async fn what_a_role_may_not_do_is_refused_and_recorded_as_nothing_shown() {
    let world = world();
    let shop = world.bearer(&world.signed_in(4, "dan", &["shop-readers"]));
    let films = world.bearer(&world.signed_in(5, "eva", &["films-readers"]));
    world.read("a-1", 1, "alice", "pods");
    world.session("s-1", 1, "alice", None);
    world.closed("s-1", 0, None);
    for (token, target, expected) in [
        (&shop, "sessions/s-1/recording", StatusCode::FORBIDDEN),
        (&films, "audit/records/a-1/receipt", StatusCode::FORBIDDEN),
        (&shop, "audit/records/a-1/receipt", StatusCode::OK),
    ] {
        let (status, answer) = world.get(token, &format!("/api/v1/{target}")).await;
        assert_eq!(status, expected, "{target}: {answer}");
        if expected == StatusCode::FORBIDDEN {
            assert_eq!(answer["error"], "insufficient_scope", "{answer}");
        }
    }
    let said = world.read_sentences();
    assert!(
        said.contains(&"took the receipt of record `a-1` among own and films's records: 0 found".to_owned()),
        "{said:?}"
    );
    let (_, shown) = world.get(&shop, "/api/v1/sessions/s-1").await;
    assert!(shown["command"].is_null(), "{shown}");
    world.live("s-1", 1, "alice");
    let (status, answer) = world
        .posts(&films, "/api/v1/sessions/s-1/end", &json!({"reason": "enough of it"}))
        .await;
    assert_eq!((status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    assert!(world.sessions.ended.lock().unwrap().is_empty());
}

/// promise_1: whoever reads without names learns none, by whatever route, and by no question.
#[tokio::test]
async fn a_reader_without_names_learns_none() {
    let world = world();
    let token = world.bearer(&world.signed_in(4, "dan", &["council-readers"]));
    world.read("a-1", 1, "alice", "pods");
    world.refused("a-2", 1, "alice");
    world.session("s-1", 1, "alice", None);
    world.live("s-1", 1, "alice");
    for target in [
        "audit/records",
        "audit/records?all=true",
        "audit/records/a-1",
        "audit/records/a-2",
        "why/a-2",
        "sessions",
        "sessions/s-1",
    ] {
        let (status, answer) = world.get(&token, &format!("/api/v1/{target}")).await;
        let text = answer.to_string();
        assert!(status.is_success(), "{target}: {text}");
        assert!(!text.contains("alice") && !text.contains("192.0.2"), "{target}: {text}");
    }
    for query in ["user:alice", "alice", "user:u-1"] {
        let (_, found) = world.get(&token, &format!("/api/v1/audit/records?q={query}")).await;
        assert_eq!(ids(&found, "records"), [""; 0], "{query}");
    }
    let (status, _) = world.get(&token, "/api/v1/audit/records/a-1/receipt").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a receipt is the whole record");
}

#[tokio::test]
async fn everybody_is_told_what_they_may_read_and_an_auditor_who_else_may() {
    let world = world();
    let of = async |number, name, groups: &[&str]| {
        let token = world.bearer(&world.signed_in(number, name, groups));
        world.get(&token, "/api/v1/audit/can").await.1
    };
    let none = of(1, "alice", &["dev"]).await;
    assert_eq!(
        (&none["all"], &none["allBy"], &none["roles"], &none["configured"]),
        (&json!(false), &json!([]), &json!([]), &Value::Null)
    );
    assert_eq!(none["user"], "alice");
    let some = of(4, "dan", &["shop-readers", "dev"]).await;
    let role =
        json!({"name": "shop", "namespaces": ["shop"], "hides": [], "may": ["receipts"], "by": ["shop-readers"]});
    assert_eq!((&some["roles"], &some["configured"]), (&json!([role]), &Value::Null));
    let all = of(3, "eve", &["auditors"]).await;
    assert_eq!((&all["all"], &all["allBy"]), (&json!(true), &json!(["auditors"])));
    assert_eq!(all["configured"]["auditGroups"], json!(["auditors"]));
    assert_eq!(all["configured"]["roles"].as_array().unwrap().len(), 4);
    assert_eq!(
        all["configured"]["roles"][0]["groups"],
        json!(["shop-readers", "shop-council"])
    );
    assert_eq!(all["configured"]["roles"][1]["hides"], json!(["people", "addresses"]));
    let told = |count| format!("asked which records they may read: {count} roles told");
    assert_eq!(world.read_sentences(), [told(0), told(1), told(4)]);
}

#[tokio::test]
async fn a_role_that_is_lost_shows_nothing_more() {
    let world = world();
    let session = world.signed_in(4, "dan", &["shop-readers"]);
    let token = world.bearer(&session);
    world.read("a-1", 1, "alice", "pods");
    let (_, found) = world.get(&token, "/api/v1/audit/records").await;
    assert_eq!(ids(&found, "records"), ["a-1"]);
    world.leaves_all_groups(&session);
    let (_, found) = world.get(&token, "/api/v1/audit/records").await;
    assert_eq!((ids(&found, "records").len(), &found["scope"]), (0, &json!("own")));
}

/// What is hidden is answered as what is not there, with the same words but for the id, whatever is asked.
#[tokio::test]
async fn what_a_role_does_not_show_is_answered_everywhere_as_what_is_not_there() {
    let world = world();
    let tokens = [
        world.bearer(&world.signed_in(5, "eva", &["web-readers"])),
        world.bearer(&world.signed_in(6, "fay", &["dev"])),
    ];
    world.read("hidden-1", 1, "alice", "pods");
    world.refused("hidden-2", 2, "bob");
    world.session("hidden-3", 1, "alice", None);
    world.live("hidden-3", 1, "alice");
    let told = async |token: &str, target: String| {
        let (status, answer) = world.get(token, &target).await;
        (status, answer.to_string().replace("hidden", "absent"))
    };
    for token in &tokens {
        for number in 1..=3 {
            for rest in [
                "audit/records/ID",
                "audit/records/ID/receipt",
                "audit/records/ID/receipt?of=end",
                "why/ID",
                "sessions/ID",
                "sessions/ID/recording?format=text",
            ] {
                let of = |word: &str| format!("/api/v1/{}", rest.replace("ID", &format!("{word}-{number}")));
                let (hidden, absent) = (told(token, of("hidden")).await, told(token, of("absent")).await);
                assert_eq!(hidden, absent, "{rest} {number}");
                assert_eq!(hidden.0, StatusCode::NOT_FOUND, "{rest} {number}: {}", hidden.1);
            }
        }
        for query in [
            "id:hidden-1",
            "user:alice",
            "user:alise",
            "ns:shop",
            "ns:shopp",
            "name:key",
            "kind:open",
        ] {
            let (_, found) = world
                .get(token, &format!("/api/v1/audit/records?q={query}&all=true"))
                .await;
            assert_eq!(ids(&found, "records"), [""; 0], "{query}");
            let candidates = found["nearest"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| &one["candidates"]);
            assert!(candidates.clone().all(|none| *none == json!([])), "{query}: {found}");
            assert!(
                found["next"].is_null() && found["folded"]["machines"] == 0,
                "{query}: {found}"
            );
        }
        let (_, listed) = world.get(token, "/api/v1/sessions?q=user:alice").await;
        assert_eq!(
            (&listed["sessions"], &listed["live"], &listed["live_unread"]),
            (&json!([]), &json!(0), &Value::Null)
        );
    }
    // Who asked and found nothing is recorded alike, too.
    let said = world.read_sentences();
    let of = |word: &str| {
        said.iter()
            .filter(|said| said.contains(&format!("`{word}-")))
            .map(|said| said.replace(word, ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("hidden"), of("absent"));
    assert!(!of("hidden").is_empty());
}

/// Every answer about records names the record that says so, a refusal as well.
#[tokio::test]
async fn each_answer_that_is_recorded_names_its_record_and_no_other_does() {
    let world = world();
    let token = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.read("a-1", 1, "alice", "pods");
    let named = async |target: &str| {
        let response = world.send(&token, target).await;
        let record = response.headers().get("gatescribe-record").cloned();
        record.map(|id| id.to_str().unwrap().to_owned())
    };
    for target in [
        "audit/records",
        "audit/records/a-1",
        "audit/records/nowhere",
        "audit/records/a-1/receipt",
        "audit/can",
        "audit/tail",
        "why/a-1",
        "why/last",
        "sessions",
        "sessions?id=abcd",
        "sessions/nowhere",
        "sessions/nowhere/recording?format=text",
        "users/locks",
        "erasures",
        "holds",
    ] {
        assert_eq!(
            named(&format!("/api/v1/{target}")).await.as_deref(),
            Some("r"),
            "{target}"
        );
    }
    for target in [
        "ledger/checkpoint",
        "audit/records?limit=x",
        "can?verb=get&resource=pods",
    ] {
        assert_eq!(named(&format!("/api/v1/{target}")).await, None, "{target}");
    }
}
