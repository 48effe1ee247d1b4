//! Erasures that have begun and are not done.

use super::*;

#[tokio::test]
async fn an_erasure_that_has_begun_is_finished_and_not_withdrawn() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    let request = scene.world.store.erasures().unwrap().remove(0);
    // Its record was written, and then the store failed.
    scene
        .world
        .store
        .begin_erasure(&request, 1, scene.world.time())
        .unwrap();
    let path = format!("/api/v1/erasures/{id}/withdraw");
    let (status, told) = scene.world.posts(&scene.carol, &path, &json!({})).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("begun")),
        "{told}"
    );
    assert_eq!(
        told["error_description"],
        format!(
            "the erasure `{id}` has begun, and the ledger may say already that it was done: agree once more (`gatescribe ledger erase --agree {id}`), or start the \
             gateway again, which finishes it, or has it open again where no record says so"
        )
    );
    assert_eq!(scene.world.store.erasures_begun().unwrap(), Some(1));
    let said = scene.world.erases.said();
    assert_eq!(said.len(), 1, "no record says that it was withdrawn: {said:?}");
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::OK);
    assert!(scene.keys().is_empty());
}

#[tokio::test]
async fn keys_in_memory_are_forgotten_and_it_is_said_how_many_are_destroyed_also_where_a_later_record_fails() {
    let classes: Vec<String> = (0..KEYS_IN_RECORD + 1)
        .map(|number| format!("recording:{number}"))
        .collect();
    let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    let scene = scene(&classes);
    let id = scene.asked(json!({"who": "alice", "reason": "old"})).await;
    scene.world.erases.fails_behind.store(2, Ordering::SeqCst);
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert_eq!(
        told["error_description"],
        format!(
            "100 of 101 keys are destroyed, and the others are not: their end could not be recorded. Agree once more (`gatescribe ledger erase --agree {id}`)"
        )
    );
    let forgot = scene.world.erases.forgot.load(Ordering::SeqCst);
    assert_eq!(forgot, 3, "asked for, agreed to, and when it broke off");
    assert_eq!(scene.keys().len(), 1);
    scene.world.erases.fails_behind.store(usize::MAX, Ordering::SeqCst);
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!((status, &told["keys"]), (StatusCode::OK, &json!(1)), "{told}");
}

/// Its keys are out of use and may be recorded as gone: without this only a start would end it.
#[tokio::test]
async fn an_erasure_that_began_in_time_is_finished_by_agreeing_once_more_after_it_has_expired() {
    for has_begun in [false, true] {
        let scene = scene(&["command"]);
        let id = scene.asked(commands()).await;
        if has_begun {
            // A second human agrees, and no record can be written.
            scene.world.erases.fails.store(true, Ordering::SeqCst);
            let (status, told) = scene.agrees(&scene.dave, &id).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
            scene.world.erases.fails.store(false, Ordering::SeqCst);
        }
        scene.world.pass(7 * 86_400);
        let [carol, dave] = [(3, "carol"), (4, "dave")]
            .map(|(number, name)| scene.world.bearer(&scene.world.signed_in(number, name, &["auditors"])));
        scene.is_refused(&carol, &id, "not_another").await;
        if has_begun {
            let (status, told) = scene.agrees(&dave, &id).await;
            assert_eq!((status, &told["keys"]), (StatusCode::OK, &json!(1)), "{told}");
            assert!(scene.keys().is_empty() && scene.world.store.erasures().unwrap().is_empty());
        } else {
            scene.is_refused(&dave, &id, "expired").await;
        }
    }
}

/// Else a record in between could have a key of before and a pseudonym of since.
#[tokio::test]
async fn what_is_asked_for_and_agreed_to_is_taken_out_of_use_in_the_moment_in_which_nothing_is_sealed() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::OK);
    let moments = scene.world.erases.moments.lock().unwrap();
    assert_eq!(
        *moments,
        [[(0, false), (1, false)], [(1, false), (1, true)]],
        "asked for, and agreed to"
    );
}
