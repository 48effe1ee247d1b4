//! What the rules demand of a session by now: a recording, an end.

use super::*;

/// RBAC of the world lets nobody enter, so a rule allows it; `demands` is what a second one demands of everybody.
fn entering(demands: Option<serde_json::Value>) -> Vec<serde_json::Value> {
    let rule = |name: &str, demands: serde_json::Value| {
        json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": name},
            "spec": {"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": demands,
                     "kubernetes": {"actions": ["enter"]}}})
    };
    let demanding = demands.map(|demands| rule("demanding", demands));
    std::iter::once(rule("entering", json!({}))).chain(demanding).collect()
}

fn an_anchor() -> Anchor {
    Anchor::of(&::recording::Root {
        chunks: 1,
        frames: 0,
        bytes: 64,
        hash: [7; 32],
    })
}

const UNRECORDED: &str = "ended by the gateway: the rules now demand that it be recorded";

#[tokio::test]
async fn a_session_that_has_to_be_recorded_by_now_and_is_not_ends_and_says_so() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &entering(None));
    let of = |name: &str| world.call(person(name, "dev"), EXEC, true);
    let (bare, kept) = (of("al"), of("bo"));
    let _ = kept.recording.set(an_anchor());
    let (bare, kept) = (world.enter(&bare), world.enter(&kept));
    let watch = world.enter(&world.watch(person("al", "dev"), "shop"));
    let (is_over, goes_on) = (bare.becomes_session(counted()), kept.becomes_session(counted()));
    world.rules(&["dev"], &entering(Some(json!({"idle": "1h"}))));
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(
        open(&[&bare, &kept, &watch]),
        [true, true, true],
        "nothing of the kind is demanded"
    );
    world.rules(&["dev"], &entering(Some(json!({"record": true}))));
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(open(&[&bare, &kept, &watch]), [false, true, true]);
    assert_eq!(bare.why(), UNRECORDED);
    assert!(is_over.is_cancelled() && !goes_on.is_cancelled());
    assert_eq!(world.registry.metrics.ended_for(Cause::Rules), 1);
}

#[tokio::test]
async fn what_becomes_a_session_after_the_demand_ends_unless_its_recording_is_there() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &entering(None));
    let trails = ["al", "bo"].map(|name| world.call(person(name, "dev"), EXEC, true));
    let [bare, kept] = [&trails[0], &trails[1]].map(|trail| world.enter(trail));
    world.rules(&["dev"], &entering(Some(json!({"record": true}))));
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(open(&[&bare, &kept]), [true, true], "a recording may be about to begin");
    let _ = trails[1].recording.set(an_anchor());
    let (is_over, goes_on) = (bare.becomes_session(counted()), kept.becomes_session(counted()));
    assert_eq!(open(&[&bare, &kept]), [false, true]);
    assert!(is_over.is_cancelled() && !goes_on.is_cancelled());
    assert_eq!(bare.why(), UNRECORDED);
}

#[tokio::test]
async fn a_plain_request_through_a_proxy_ends_when_what_enters_has_to_be_recorded() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &entering(None));
    let proxied = |wants_upgrade| {
        let raw = "/api/v1/namespaces/shop/services/web:80/proxy/events";
        world.enter(&world.call(person("al", "dev"), raw, wants_upgrade))
    };
    let (plain, answered, waiting) = (proxied(false), proxied(true), proxied(true));
    answered.stays_plain();
    assert_eq!(open(&[&plain, &answered, &waiting]), [true, true, true]);
    world.rules(&["dev"], &entering(Some(json!({"record": true}))));
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(open(&[&plain, &answered, &waiting]), [false, false, true]);
    waiting.stays_plain();
    assert_eq!(
        open(&[&waiting]),
        [false],
        "asked for before the demand and answered after it"
    );
    assert_eq!(waiting.why(), UNRECORDED);
}

#[tokio::test]
async fn a_recording_made_ready_for_what_then_is_no_session_meets_no_demand() {
    // As with `recording.sessions: all`, where no rule demands it yet.
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &entering(None));
    let offers = || {
        let trail = world.call(
            person("al", "dev"),
            "/api/v1/namespaces/shop/services/web:80/proxy/events",
            true,
        );
        let _ = trail.recording.set(an_anchor());
        world.enter(&trail)
    };
    let (answered, session) = (offers(), offers());
    answered.stays_plain();
    let _ = session.becomes_session(counted());
    world.rules(&["dev"], &entering(Some(json!({"record": true}))));
    world.keeper.rules_changed(&world.cluster).await;
    assert_eq!(
        open(&[&answered, &session]),
        [false, true],
        "what is answered plainly passes in no recording"
    );
    assert_eq!(answered.why(), UNRECORDED);
}

#[tokio::test]
async fn what_the_cluster_alone_allows_is_held_to_the_demands_too() {
    let mut world = World::new(8, Authorization::Confirm);
    world.rules(&["dev"], &[]);
    let call = world.enter(&world.call(person("al", "dev"), EXEC, true));
    let _ = call.becomes_session(counted());
    let mut demands = entering(Some(json!({"record": true})));
    // By its condition it can grant nothing; what it demands is owed.
    demands[1]["spec"]["when"] = json!("source.ip == ip('10.0.0.1') || auth.acr == 'x'");
    world.rules(&["dev"], &demands[1..]);
    world.keeper.rules_changed(&world.cluster).await;
    let (_, reply) = world.reviews.recv().await.unwrap();
    reply.send(AccessAnswer::Yes { reason: None }).unwrap();
    call.ender().cancelled().await;
    assert_eq!(call.why(), UNRECORDED);
}

#[tokio::test]
async fn a_shorter_longest_counts_for_what_is_under_way_and_a_longer_one_does_not() {
    let world = World::new(8, Authorization::Enforce);
    let by_rules = |longest: &str| world.rules(&["dev"], &entering(Some(json!({"longest": longest}))));
    by_rules("2h");
    // Not a person with a sign-in, who would be looked up each minute.
    let account = || Arc::new(for_bench("al", &["dev"], Credential::ServiceAccount));
    let enter = || world.enter(&world.call(account(), EXEC, true));
    let (session, plain) = (enter(), enter());
    let _ = session.becomes_session(counted());
    plain.lasts_at_most(Duration::from_secs(2 * 3_600));
    by_rules("1h");
    world.keeper.rules_changed(&world.cluster).await;
    by_rules("3h");
    world.keeper.rules_changed(&world.cluster).await;
    for (minutes, expected) in [(61, [true, true]), (121, [true, false])] {
        advance(&world, Duration::from_secs(minutes * 60));
        world.keeper.time_passed(&world.cluster).await;
        assert_eq!(open(&[&session, &plain]), expected, "after {minutes} min");
    }
    by_rules("90m");
    world.keeper.rules_changed(&world.cluster).await;
    world.keeper.time_passed(&world.cluster).await;
    assert!(session.is_over());
    assert_eq!(session.why(), "ended by the gateway: it has lasted 90 min, its limit");
}
