//! New keys for parts.

use super::*;

#[tokio::test]
async fn new_keys_seal_from_now_on_and_what_was_sealed_before_is_erased_all_the_same() {
    let scene = scene(&["command", "recording:a"]);
    let key = |world: &World| {
        world
            .store
            .part_key(subject(1).as_str(), "command", world.time())
            .unwrap()
    };
    let old = key(&scene.world);
    let asked = json!({"who": "alice", "reason": "each quarter"});
    let path = "/api/v1/part-keys/rotate";
    let (status, told) = scene.world.posts(&scene.carol, path, &asked).await;
    assert_eq!(
        (status, &told["keys"]),
        (StatusCode::OK, &json!(1)),
        "a recording keeps its own: {told}"
    );
    assert_eq!(scene.world.erases.forgot.load(Ordering::SeqCst), 1);
    let new = key(&scene.world);
    assert_ne!(new.id, old.id);
    let alice = subject(1);
    let said = format!("new keys for the parts of alice ({alice}) from now on: each quarter");
    assert_eq!(scene.world.events.said(), [("partKeysRotated", said)]);
    let (_, told) = scene.world.posts(&scene.carol, path, &json!({"reason": "all"})).await;
    assert_eq!(told["keys"], 1);
    let id = scene.asked(commands()).await;
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!(
        (status, &told["keys"]),
        (StatusCode::OK, &json!(2)),
        "the old ones, too: {told}"
    );
    assert_eq!(scene.keys(), ["recording:a"]);
    scene.world.events.fails(true);
    let newest = key(&scene.world);
    let (status, _) = scene.world.posts(&scene.carol, path, &json!({"reason": "all"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(key(&scene.world).id, newest.id, "what cannot be recorded is not done");
    let bob = scene.world.bearer(&scene.world.signed_in(2, "bob", &[]));
    assert_eq!(
        scene.world.posts(&bob, path, &json!({"reason": "x"})).await.0,
        StatusCode::FORBIDDEN
    );
}
