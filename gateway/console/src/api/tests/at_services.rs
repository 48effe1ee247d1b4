//! What people are told of calls of HTTP services.

use ledger::OutcomeSlot;
use model::live::LiveService;

use super::*;

fn called(id: &str, at: Timestamp, more: Value) -> Value {
    let mut record = json!({"id": id, "t": at, "boot": "b", "service": {"name": "grafana", "host": "grafana.example.com"},
        "req": {"method": "POST", "path": "/d/7"},
        "decision": {"allowed": true, "who": "gateway", "policy": "p",
            "rules": [{"kind": "accessRule", "name": "dashboards", "effect": "allow"}]}});
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

/// A call that begins, and where its end goes.
fn begins(world: &World, kind: RecordKind, body: Value) -> OutcomeSlot {
    let body = body.to_string().into_bytes();
    let (ticket, slot) = match kind {
        RecordKind::Open => world.ledger.append_open(body, Vec::new()),
        _ => world.ledger.append_intent(body, Vec::new()),
    }
    .unwrap();
    ticket.wait().unwrap();
    slot
}

#[tokio::test]
async fn why_of_a_call_of_a_service_names_the_service_its_rule_and_who_said_no() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let begun = called("a-1", world.time(), json!({"by": by(1, "alice")}));
    let slot = begins(&world, RecordKind::Intent, begun);
    let end =
        json!({"id": "a-1", "pair": 0, "t": world.time(), "boot": "b", "outcome": {"end": "answered", "status": 403}});
    slot.fill(RecordKind::Outcome, end.to_string().into_bytes())
        .unwrap()
        .wait()
        .unwrap();
    let (_, why) = world.get(&token, "/api/v1/why/last").await;
    assert_eq!(
        (&why["refused_by"], &why["act"]),
        (&json!("service"), &json!("POST grafana.example.com/d/7"))
    );
    assert_eq!(
        why["words"],
        json!([
            "The gateway allowed it, and the service refused it.",
            "It was a call of the service `grafana` at `grafana.example.com`.",
            "AccessRule dashboards allows it.",
            "The policy was p."
        ])
    );
    let denied = json!({"allowed": false, "who": "gateway", "reason": "noRule", "policy": "p"});
    let refused = called("a-2", world.time(), json!({"by": by(1, "alice"), "decision": denied}));
    world.append(RecordKind::Refusal, refused);
    let (_, why) = world.get(&token, "/api/v1/why/a-2").await;
    assert_eq!(
        why["words"],
        json!([
            "The gateway refused it (noRule).",
            "It was a call of the service `grafana` at `grafana.example.com`.",
            "No rule matched.",
            "The policy was p."
        ])
    );
    let nowhere = json!({"by": by(1, "alice"), "service": {"host": "apps.example.com"}, "decision": null});
    world.append(RecordKind::Refusal, called("a-3", world.time(), nowhere));
    let (_, why) = world.get(&token, "/api/v1/why/a-3").await;
    assert_eq!(
        why["words"][1],
        "At `apps.example.com` no service is published at this path."
    );
}

#[tokio::test]
async fn why_of_what_workloads_did_for_somebody_names_them_and_is_theirs_to_ask() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let actors = json!([{"id": "s8", "user": "system:serviceaccount:shop:front"}, {"id": "s9", "user": "spiffe://example.org/stock"}]);
    let of = |id: &str, actors: &Value| {
        let more = json!({"by": by(1, "alice"), "act": actors, "source": "verdict"});
        called(id, world.time(), more)
    };
    world.append(RecordKind::Verdict, of("c-1", &actors));
    world.append(RecordKind::Verdict, of("c-2", &json!([actors[0]])));
    for (id, words) in [
        (
            "c-1",
            "It was done for that person by `spiffe://example.org/stock`, which was called through `system:serviceaccount:shop:front`.",
        ),
        (
            "c-2",
            "It was done for that person by `system:serviceaccount:shop:front`.",
        ),
    ] {
        let (_, why) = world.get(&token, &format!("/api/v1/why/{id}")).await;
        assert_eq!(
            (&why["words"][0], &why["words"][1], &why["words"][2]),
            (
                &json!("The gateway allowed it."),
                &json!("An ingress asked for that, and forwards by itself: what became of the call is not known here."),
                &json!(words)
            )
        );
    }
    for (query, ids) in [
        ("via:shop/front", vec!["c-2", "c-1"]),
        ("via:spiffe://example.org/*", vec!["c-1"]),
        ("-via:spiffe://example.org/stock", vec!["c-2"]),
        ("via:shop/stock", vec![]),
    ] {
        let (_, found) = world.get(&token, &format!("/api/v1/audit/records?q={query}")).await;
        let rows = found["records"].as_array().unwrap().iter();
        let found: Vec<&str> = rows.filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(found, ids, "{query}");
    }
}

#[tokio::test]
async fn which_rule_let_the_public_in_is_told_to_auditors_and_to_nobody_else() {
    let world = world();
    let (alice, eve) = (
        world.bearer(&world.signed_in(1, "alice", &[])),
        world.bearer(&world.signed_in(3, "eve", &["auditors"])),
    );
    let service = json!({"name": "grafana", "host": "grafana.example.com", "public": true});
    let _slot = begins(
        &world,
        RecordKind::Intent,
        called("p-1", world.time(), json!({"service": service})),
    );
    assert_eq!(world.get(&alice, "/api/v1/why/p-1").await.0, StatusCode::NOT_FOUND);
    let (_, why) = world.get(&eve, "/api/v1/why/p-1").await;
    assert_eq!(
        why["words"],
        json!([
            "The gateway allowed it.",
            "It was a call of the service `grafana` at `grafana.example.com`. Nobody had signed in: a rule lets the public do this.",
            "AccessRule dashboards allows it.",
            "The policy was p."
        ])
    );
    let (_, found) = world.get(&eve, "/api/v1/audit/records?q=public:true").await;
    assert_eq!(
        (acts(&found), &found["records"][0]["decision"]["rules"][0]["name"]),
        (vec!["POST grafana.example.com/d/7"], &json!("dashboards"))
    );
}

#[tokio::test]
async fn can_is_asked_of_a_service_by_host_method_and_path_and_by_nothing_else() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let at = |query: &str| format!("/api/v1/can?{query}");
    for (query, allowed) in [
        ("host=grafana.example.com&method=GET&path=/d/7", true),
        ("host=grafana.example.com&method=GET&path=/d/7&public=false", true),
        ("host=grafana.example.com&method=POST&path=/d/7", false),
    ] {
        let (status, told) = world.get(&token, &at(query)).await;
        assert_eq!((status, &told["allowed"]), (StatusCode::OK, &json!(allowed)), "{query}");
    }
    for wrong in [
        "host=grafana.example.com&path=/d/7",
        "host=grafana.example.com&method=GET",
        "host=grafana.example.com&method=GET&path=d",
        "method=GET&path=/d/7",
        "public=true&path=/d/7",
        "verb=get&path=/d/7&public=true",
        "verb=get&host=grafana.example.com&method=GET&path=/d/7",
        "host=grafana.example.com&method=GET&path=/d/7&cluster=prod",
        "host=grafana.example.com&method=GET&path=/d/7&namespace=shop",
        "host=grafana.example.com&method=GET&path=/d/7&public=yes",
    ] {
        let (status, told) = world.get(&token, &at(wrong)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {told}");
    }
}

#[tokio::test]
async fn a_websocket_of_a_service_is_a_session_at_its_host_and_path() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let begun = called("s-1", world.time(), json!({"by": by(1, "alice")}));
    let _slot = begins(&world, RecordKind::Open, begun);
    let (_, list) = world.get(&token, "/api/v1/sessions").await;
    let session = &list["sessions"][0];
    assert_eq!(
        (&session["service"], &session["path"], &session["cluster"]),
        (
            &json!({"name": "grafana", "host": "grafana.example.com"}),
            &json!("/d/7"),
            &Value::Null
        )
    );
}

#[tokio::test]
async fn one_that_goes_on_is_told_with_its_place_and_its_end_names_it() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    world.live("0192f0c1-7c3e-7d00-a000-0000000007f3", 1, "alice");
    let service = LiveService {
        name: Some("grafana".to_owned()),
        host: "grafana.example.com".to_owned(),
        path: "/api/live/ws".to_owned(),
        is_public: false,
    };
    for live in world.sessions.live.lock().unwrap().iter_mut() {
        (live.cluster, live.service) = (String::new(), Some(service.clone()));
        assert_eq!(sessions::place(live), "grafana.example.com/api/live/ws");
    }
    let (_, list) = world.get(&token, "/api/v1/sessions?live=true").await;
    let session = &list["sessions"][0];
    assert_eq!(
        (
            &session["live"],
            &session["service"]["name"],
            &session["path"],
            &session["cluster"]
        ),
        (&json!(true), &json!("grafana"), &json!("/api/live/ws"), &Value::Null)
    );
}
