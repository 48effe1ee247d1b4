//! Tails, and places that are taken.

use super::*;

#[tokio::test]
async fn a_tail_gives_what_becomes_durable_and_both_its_ends_are_recorded() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    world.read("a-0", 1, "alice", "services");
    let mut lines = follow(&world, &token, "/api/v1/audit/tail?q=verb:list").await;
    let begin = lines.next().await.unwrap();
    assert_eq!(begin["begin"]["scope"], "own");
    assert_eq!(world.read_sentences(), ["began to follow own records for `verb:list`"]);
    world.read("b-1", 2, "bob", "secrets");
    world.read("a-1", 1, "alice", "pods");
    let line = lines.next().await.unwrap();
    assert_eq!(
        (&line["record"]["id"], &line["record"]["outcome"]["end"]),
        (&json!("a-1"), &json!("answered"))
    );
    let position = line["position"].as_u64().unwrap();
    world.read("a-2", 1, "alice", "nodes");
    assert_eq!(lines.next().await.unwrap()["record"]["id"], "a-2");
    world.notes.wrote.notified().await; // that of the begin
    drop(lines);
    world.notes.wrote.notified().await;
    assert_eq!(
        world.read_sentences()[1],
        "followed own records for `verb:list`: 2 shown"
    );
    let mut again = follow(&world, &token, &format!("/api/v1/audit/tail?after={position}")).await;
    again.next().await.unwrap();
    assert_eq!(again.next().await.unwrap()["record"]["id"], "a-2");
}

#[tokio::test]
async fn a_tail_ends_with_its_session() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    let mut lines = follow(&world, &world.bearer(&alice), "/api/v1/audit/tail").await;
    lines.next().await.unwrap();
    world
        .store
        .end_session(&alice.id, EndReason::Locked, world.time())
        .unwrap();
    world.read("a-1", 1, "alice", "pods");
    assert_eq!(
        lines.next().await.unwrap(),
        json!({"end": "the session has ended: an administrator has locked this account", "code": "invalid_token"})
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_tail_ends_where_other_records_may_be_seen_than_when_it_began() {
    let world = world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let mut lines = follow(&world, &world.bearer(&eve), "/api/v1/audit/tail").await;
    lines.next().await.unwrap();
    world.leaves_all_groups(&eve);
    // Whoever is locked out changes what the store says, and so does every sign of life.
    let other = world.signed_in(1, "alice", &[]);
    world
        .store
        .end_session(&other.id, EndReason::Locked, world.time())
        .unwrap();
    world.read("a-1", 1, "alice", "pods");
    let told = json!({"end": "what you may see has changed; begin again", "code": "scope_changed"});
    assert_eq!(lines.next().await.unwrap(), told);
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_is_told_so_at_once() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    let held = [
        world.api.searches.take(&subject(1)).unwrap(),
        world.api.searches.take(&subject(1)).unwrap(),
    ];
    let (status, answer) = world.get(&world.bearer(&alice), "/api/v1/audit/records").await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("busy"))
    );
    let bob = world.signed_in(2, "bob", &[]);
    assert_eq!(
        world.get(&world.bearer(&bob), "/api/v1/audit/records").await.0,
        StatusCode::OK
    );
    drop(held);
    assert_eq!(
        world.get(&world.bearer(&alice), "/api/v1/audit/records").await.0,
        StatusCode::OK
    );
}
