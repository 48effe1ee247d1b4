//! Following a ledger while it is written. Time is the world's; nothing waits.

use std::sync::Arc;

use crate::world::{ALICE, BOB, ROBOT, World, in_run, on, path};
use model::event::RecordKind;
use search::{Query, Row, Scope, Tail, View};

fn tail(world: &World, query: &str, scope: Scope, after: Option<u64>) -> Tail {
    Tail::new(
        Arc::new(world.archive()),
        Query::parse(query).unwrap(),
        scope,
        View::Acts,
        after,
    )
    .unwrap()
}

fn poll(tail: &mut Tail, world: &World) -> Vec<(String, String)> {
    let rows = tail.poll(world.time(), 100, 10_000).unwrap();
    rows.into_iter()
        .map(|row: Row| (row.act, row.outcome.map(|outcome| outcome.end).unwrap_or_default()))
        .collect()
}

fn seen(act: &str, end: &str) -> (String, String) {
    (act.to_owned(), end.to_owned())
}

#[test]
fn only_what_comes_after_the_beginning_is_given_and_each_act_once() {
    let world = World::new();
    world.call(&ALICE, on("list", "pods", None), 200);
    let mut tail = tail(&world, "", Scope::All, None);
    assert!(poll(&mut tail, &world).is_empty());
    world.call(&ALICE, on("delete", "pods", Some("a")), 200);
    world.call(&ROBOT, on("delete", "pods", Some("b")), 200);
    world.call(&ALICE, path("/apis"), 200);
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl delete pod a -n shop", "answered")]
    );
    assert!(poll(&mut tail, &world).is_empty());
    assert_eq!((tail.folded().machines, tail.folded().discovery), (1, 1));
}

#[test]
fn a_slow_call_is_given_as_running_and_again_at_its_end() {
    let world = World::new();
    let mut tail = tail(&world, "", Scope::All, None);
    let id = world.id();
    let seq = world.write(
        RecordKind::Intent,
        &world.asked(id, &ALICE, on("delete", "pods", Some("a"))),
    );
    assert!(poll(&mut tail, &world).is_empty());
    assert_eq!(tail.due().unwrap().unix_seconds(), world.now.get() + 2);
    world.pass(2);
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl delete pod a -n shop", "inFlight")]
    );
    assert_eq!(tail.due(), None);
    world.write(RecordKind::Outcome, &world.ended(id, seq, 200));
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl delete pod a -n shop", "answered")]
    );
}

#[test]
fn a_stream_is_given_when_it_opens_and_when_it_closes() {
    let world = World::new();
    let mut tail = tail(&world, "", Scope::All, None);
    let id = world.id();
    let seq = world.write(RecordKind::Open, &world.asked(id, &ALICE, on("watch", "pods", None)));
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl get pods -n shop --watch", "inFlight")]
    );
    world.write(RecordKind::Close, &world.ended(id, seq, 200));
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl get pods -n shop --watch", "answered")]
    );
}

#[test]
fn a_query_about_the_end_is_judged_at_the_end() {
    let world = World::new();
    let mut tail = tail(&world, "status:403", Scope::All, None);
    let id = world.id();
    let seq = world.write(
        RecordKind::Intent,
        &world.asked(id, &ALICE, on("delete", "pods", Some("a"))),
    );
    world.pass(5);
    assert!(poll(&mut tail, &world).is_empty());
    world.write(RecordKind::Outcome, &world.ended(id, seq, 403));
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl delete pod a -n shop", "answered")]
    );
}

#[test]
fn one_sees_ones_own_acts_only_without_an_audit_role() {
    let world = World::new();
    let mut tail = tail(&world, "", Scope::Own(ALICE.id.clone()), None);
    world.call(&BOB, on("delete", "pods", Some("a")), 200);
    world.call(&ROBOT, on("delete", "pods", Some("a")), 200);
    world.call(&ALICE, on("delete", "pods", Some("c")), 200);
    assert_eq!(
        poll(&mut tail, &world),
        [seen("kubectl delete pod c -n shop", "answered")]
    );
    assert_eq!(tail.folded().total(), 0, "other people's programs are not even counted");
}

#[test]
fn reads_of_one_object_in_a_run_are_given_once_and_its_changes_each() {
    let world = World::new();
    let mut tail = tail(&world, "", Scope::All, None);
    for name in ["a", "b", "a"] {
        world.call(&ALICE, in_run("r", on("get", "pods", Some(name))), 200);
    }
    for name in ["a", "b"] {
        world.call(&ALICE, in_run("r", on("delete", "pods", Some(name))), 200);
    }
    let acts: Vec<String> = poll(&mut tail, &world).into_iter().map(|(act, _)| act).collect();
    assert_eq!(
        acts,
        [
            "kubectl get pods a -n shop",
            "kubectl get pods b -n shop",
            "kubectl delete pod a -n shop",
            "kubectl delete pod b -n shop"
        ]
    );
}

#[test]
fn a_tail_goes_on_behind_the_place_where_it_was_broken_off() {
    let world = World::new();
    let mut first = tail(&world, "", Scope::All, None);
    world.call(&ALICE, on("delete", "pods", Some("a")), 200);
    assert_eq!(poll(&mut first, &world).len(), 1);
    let place = first.position();
    world.call(&ALICE, on("delete", "pods", Some("b")), 200);
    let mut second = tail(&world, "", Scope::All, place);
    assert_eq!(
        poll(&mut second, &world),
        [seen("kubectl delete pod b -n shop", "answered")]
    );
}

#[test]
fn rows_come_in_portions_and_none_is_lost() {
    let world = World::new();
    let mut tail = tail(&world, "", Scope::All, None);
    for _ in 0..25 {
        world.call(&ALICE, on("delete", "pods", Some("a")), 200);
    }
    let sizes: Vec<usize> = (0..4)
        .map(|_| tail.poll(world.time(), 10, 10_000).unwrap().len())
        .collect();
    assert_eq!(sizes, [10, 10, 5, 0]);
}

#[test]
fn a_slow_creation_gets_its_name_at_its_end_and_is_then_found_by_it() {
    let world = World::new();
    let (mut all, mut named) = (
        tail(&world, "", Scope::All, None),
        tail(&world, "name:settings", Scope::All, None),
    );
    let id = world.id();
    let seq = world.write(
        RecordKind::Intent,
        &world.asked(id, &ALICE, on("create", "configmaps", None)),
    );
    world.pass(2);
    assert_eq!(
        poll(&mut all, &world),
        [seen("kubectl create configmap -n shop", "inFlight")]
    );
    assert!(poll(&mut named, &world).is_empty());
    world.write(RecordKind::Outcome, &world.named(id, seq, "settings"));
    let whole = [seen("kubectl create configmap settings -n shop", "answered")];
    assert_eq!(poll(&mut all, &world), whole);
    assert_eq!(poll(&mut named, &world), whole);
}
