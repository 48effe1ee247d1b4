//! What stands beside an open erasure, and under which names somebody is looked for.

use model::event::names::NAME_CLASS;

use super::*;

/// Alice, Carol and Dave stand in records under pseudonyms; hers is given.
fn pseudonym(scene: &Scene) -> String {
    scene.world.erases.seals_names.store(true, Ordering::SeqCst);
    let given = [3, 4, 1].map(|number| {
        let made = scene.world.store.pseudonym(&subject(number), scene.world.time());
        made.unwrap().to_string()
    });
    given[2].clone()
}

fn all_of_her() -> Value {
    json!({"who": "alice", "reason": "she left"})
}

/// promise_6: an erasure of all is written under the pseudonym that it ends. What is asked for beside it names keys of both, or is written under the one and told
/// of under the other.
#[tokio::test]
async fn promise_6_beside_an_erasure_of_a_sealed_name_nothing_else_of_that_person_is_asked_for() {
    let scene = scene(&["command", NAME_CLASS]);
    let pseudonym = pseudonym(&scene);
    let first = scene.asked(all_of_her()).await;
    scene.world.pass(60);
    // She comes back: under another pseudonym, with other keys.
    let later = scene.world.store.pseudonym(&subject(1), scene.world.time()).unwrap();
    assert_ne!(later.as_str(), pseudonym);
    for class in ["command", NAME_CLASS] {
        scene
            .world
            .store
            .part_key(subject(1).as_str(), class, scene.world.time())
            .unwrap();
    }
    let steps = scene.world.erases.said().len();
    for asked in [all_of_her(), commands()] {
        let (status, told) = scene.asks(asked).await;
        assert_eq!(
            (status, &told["error"], &told["request"]),
            (StatusCode::CONFLICT, &json!("already_asked"), &json!(first)),
            "{told}"
        );
        assert_eq!(
            told["error_description"],
            format!(
                "{first} asks for all that is sealed of them already, and their name with it: agree to it or withdraw it first (`gatescribe ledger erase --list`). Two at \
                 once would tell that what came before and what came since is of one person"
            )
        );
    }
    assert_eq!(scene.world.erases.said().len(), steps, "nothing of it is recorded");
    assert_eq!(
        scene.world.store.pseudonym(&subject(1), scene.world.time()).unwrap(),
        later,
        "nothing more is taken out of use"
    );
    assert_eq!(scene.agrees(&scene.dave, &first).await.0, StatusCode::OK);
    assert_eq!(scene.keys(), ["command", NAME_CLASS], "what came since stays");
    // One of a class, then all: the other way round.
    let second = scene.asked(commands()).await;
    let (status, told) = scene.asks(all_of_her()).await;
    assert_eq!(
        (status, &told["request"]),
        (StatusCode::CONFLICT, &json!(second)),
        "{told}"
    );
    let words = told["error_description"].as_str().unwrap();
    assert!(
        words.starts_with(&format!("{second} asks for command of them already: ")),
        "{words}"
    );
    let another = scene.asked(commands()).await;
    assert_ne!(another, second, "two of classes are in nobody's way");
}

#[tokio::test]
async fn where_names_stand_in_the_clear_two_requests_are_two() {
    let scene = scene(&["command"]);
    let first = scene.asked(all_of_her()).await;
    assert_ne!(scene.asked(all_of_her()).await, first);
}

/// promise_6: what somebody looks for is sealed under their own key, and stays when hers is destroyed.
#[tokio::test]
async fn promise_6_where_names_are_sealed_nobody_is_looked_for_by_name_in_the_record_of_an_erasure() {
    let scene = scene(&["command", NAME_CLASS]);
    scene.world.refused("a-1", 1, "alice");
    let pseudonym = pseudonym(&scene);
    let because = |who: &str| json!({"who": who, "reason": "case 7"});
    let her_id = subject(1).to_string();
    for who in ["alice", "alice@example.com", &her_id] {
        let (status, told) = scene.world.posts(&scene.carol, "/api/v1/holds", &because(who)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        let path = "/api/v1/part-keys/rotate";
        let (status, told) = scene.world.posts(&scene.carol, path, &because(who)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
    }
    for nobody in ["alice.was.here", subject(77).as_str()] {
        let (status, told) = scene.asks(because(nobody)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{told}");
    }
    // Somebody else of her name, who may stay when she is erased.
    let other = scene.world.store.pseudonym(&subject(9), scene.world.time()).unwrap();
    scene.world.read("a-2", 9, "alice", "pods");
    let (status, told) = scene.asks(because("alice")).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("ambiguous")),
        "{told}"
    );
    let mut said = scene.world.read_sentences();
    let last = said.last().unwrap();
    assert!(last.contains("for `a name that several have` to"), "{last}");
    assert!(said.iter().all(|one| !one.contains(other.as_str())), "{said:?}");
    assert!(
        said.iter()
            .any(|one| one.contains(&format!("for `user:\"{pseudonym}\"` to"))),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|one| one.contains("for `somebody who is not known here` to")),
        "{said:?}"
    );
    let rotated = scene.world.events.said().into_iter().map(|(_, note)| note);
    said.extend(rotated);
    let named = said.iter().filter(|one| one.contains(&pseudonym)).count();
    assert!(named >= 4, "{said:?}");
    for told in ["alice", subject(1).as_str(), subject(77).as_str()] {
        assert!(said.iter().all(|one| !one.contains(told)), "{told}: {said:?}");
    }
}

/// As behind the loss of the state file: the first who is looked for is no exception.
#[tokio::test]
async fn promise_6_where_names_are_sealed_and_nobody_has_a_pseudonym_yet_nobody_is_looked_for_by_name() {
    let scene = scene(&["command", NAME_CLASS]);
    scene.world.erases.seals_names.store(true, Ordering::SeqCst);
    scene.world.refused("a-1", 1, "alice");
    for who in ["alice", "alicia"] {
        scene.asks(json!({"who": who, "reason": "case 7"})).await;
    }
    let said = scene.world.read_sentences();
    assert!(said.len() >= 2, "{said:?}");
    for one in said {
        assert!(one.contains("for `somebody who is not known here` to"), "{one}");
    }
}

#[tokio::test]
async fn where_names_stand_in_the_clear_it_is_recorded_whom_an_auditor_looked_for() {
    let scene = scene(&["command"]);
    scene.world.refused("a-1", 1, "alice");
    scene.asked(commands()).await;
    scene.asks(json!({"who": "alicia", "reason": "case 7"})).await;
    let said = scene.world.read_sentences();
    for who in ["alice", "alicia"] {
        assert!(
            said.iter().any(|one| one.contains(&format!("for `user:\"{who}\"` to"))),
            "{said:?}"
        );
    }
}
