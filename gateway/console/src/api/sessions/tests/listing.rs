//! The list, page by page and under a budget, and one session by the end of its id.

use super::*;
use crate::api::tests::world_with;

const FIRST: &str = "0192f0c1-7c3e-7d00-a000-00000000aa01";
const SECOND: &str = "0192f0c1-7c3e-7d00-a000-00000000bb02";
const OF_BOB: &str = "0192f0c1-7c3e-7d00-a000-00000001aa01";

fn told(answer: &Value) -> Vec<(String, bool)> {
    ids(answer)
        .into_iter()
        .map(|(id, live)| (id.to_owned(), live))
        .collect()
}

/// All pages, asked for as an answer says.
async fn pages(world: &World, token: &str, asked: &str, between: impl Fn()) -> Vec<Vec<(String, bool)>> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let (status, page) = world.get(token, &format!("/api/v1/sessions?{asked}{next}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        all.push(told(&page));
        let Some(after) = page["next"].as_u64() else {
            assert_eq!(page["next_live"], Value::Null, "{page}");
            return all;
        };
        next = format!("&after={after}&after_live={}", page["next_live"].as_u64().unwrap());
        between();
    }
}

fn named(of: &[(&str, bool)]) -> Vec<(String, bool)> {
    of.iter().map(|(id, live)| ((*id).to_owned(), *live)).collect()
}

#[tokio::test]
async fn what_goes_on_stands_once_on_the_pages_also_where_the_first_has_no_room_for_it() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    for id in ["a-1", "a-2", "a-3", "a-4"] {
        world.session(id, 1, "alice", None);
        world.live(id, 1, "alice");
        world.pass(1);
    }
    world.session("a-5", 1, "alice", None);
    world.closed("a-5", 0, None);
    for id in ["a-2", "a-3"] {
        world.closed(id, 0, None);
        assert!(world.sessions.end(id, "over"));
    }
    // All that go on are on the first page, and on no later one.
    assert_eq!(
        pages(&world, &token, "limit=2", || ()).await,
        [
            named(&[("a-4", true), ("a-1", true), ("a-5", false)]),
            named(&[("a-3", false), ("a-2", false)]),
            named(&[]),
        ]
    );
    // One has no room there: it stands where it began.
    assert_eq!(
        pages(&world, &token, "limit=1", || ()).await,
        [
            named(&[("a-4", true), ("a-5", false)]),
            named(&[]),
            named(&[("a-3", false)]),
            named(&[("a-2", false)]),
            named(&[("a-1", true)]),
        ]
    );
    // Who ends meanwhile was told; who begins is nobody of these pages.
    let between = || {
        world.sessions.end("a-4", "over");
        world.live("a-9", 1, "alice");
    };
    let pages = pages(&world, &token, "limit=2", between).await;
    assert!(
        pages[1..].iter().flatten().all(|(id, _)| id != "a-1" && id != "a-9"),
        "{pages:?}"
    );
    for wrong in ["after_live=1", "live=true&after=3"] {
        let (status, _) = world.get(&token, &format!("/api/v1/sessions?{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn what_goes_on_and_was_not_compared_with_the_query_is_counted() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    for id in ["a-1", "a-2"] {
        world.session(id, 1, "alice", None);
        world.live(id, 1, "alice");
    }
    let (_, all) = world.get(&token, "/api/v1/sessions?live=true&q=ns:shop").await;
    assert_eq!(
        (&all["live"], &all["live_unread"], &all["stopped"]),
        (&json!(2), &Value::Null, &Value::Null)
    );
    // Its record is not there yet.
    world.live("a-3", 1, "alice");
    let (_, found) = world.get(&token, "/api/v1/sessions?live=true&q=ns:shop").await;
    assert_eq!(ids(&found), [("a-2", true), ("a-1", true)]);
    assert_eq!(
        (&found["live"], &found["live_unread"], &found["stopped"]),
        (&json!(2), &json!(1), &json!("budget"))
    );
    // Without words there is nothing to compare.
    let (_, all) = world.get(&token, "/api/v1/sessions?live=true").await;
    assert_eq!((ids(&all).len(), &all["live_unread"]), (3, &Value::Null));
    let (_, other) = world.get(&token, "/api/v1/sessions?live=true&q=ns:other").await;
    assert_eq!(
        (ids(&other).len(), &other["live"], &other["live_unread"]),
        (0, &json!(0), &json!(1))
    );
}

#[tokio::test]
async fn what_a_budget_left_uncompared_is_no_session_that_is_not_there() {
    let world = world_with(|api| api.search_time = std::time::Duration::ZERO);
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    for id in ["a-1", "a-2"] {
        world.session(id, 1, "alice", None);
        world.live(id, 1, "alice");
    }
    for asked in ["live=true&q=ns:shop", "q=ns:shop"] {
        let (status, found) = world.get(&token, &format!("/api/v1/sessions?{asked}")).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        assert_eq!(
            (&found["live"], &found["live_unread"], &found["stopped"]),
            (&json!(0), &json!(2), &json!("budget")),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn a_session_is_found_by_the_end_of_its_id_and_that_is_what_is_recorded() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let (alice, eve) = (world.bearer(&alice), world.bearer(&eve));
    for (id, number, name) in [(FIRST, 1, "alice"), (SECOND, 1, "alice"), (OF_BOB, 2, "bob")] {
        world.session(id, number, name, None);
    }
    world.closed(FIRST, 0, None);
    world.closed(OF_BOB, 0, None);
    world.live(SECOND, 1, "alice");
    let get = async |token: &str, id: &str| world.get(token, &format!("/api/v1/sessions?id={id}")).await;
    let (_, found) = get(&alice, "AA01").await;
    assert_eq!((ids(&found), &found["scope"]), (vec![(FIRST, false)], &json!("own")));
    assert_eq!((&found["stopped"], &found["live"]), (&json!("complete"), &json!(0)));
    assert_eq!(ids(&get(&eve, "aa01").await.1), [(OF_BOB, false), (FIRST, false)]);
    assert_eq!(ids(&get(&eve, "0001aa01").await.1), [(OF_BOB, false)]);
    let (_, live) = get(&alice, SECOND).await;
    assert_eq!((ids(&live), &live["live"]), (vec![(SECOND, true)], &json!(1)));
    assert_eq!(ids(&get(&alice, "0-a000-00000000bb02").await.1), [(SECOND, true)]);
    assert_eq!(ids(&get(&alice, "cc03").await.1), []);
    assert_eq!(
        world.read_sentences(),
        [
            "looked for a session by `…aa01` among own sessions: 1 shown".to_owned(),
            "looked for a session by `…aa01` among all sessions: 2 shown".to_owned(),
            "looked for a session by `…0001aa01` among all sessions: 1 shown".to_owned(),
            format!("looked for a session by `…{SECOND}` among own sessions: 1 shown"),
            "looked for a session by `…0-a000-00000000bb02` among own sessions: 1 shown".to_owned(),
            "looked for a session by `…cc03` among own sessions: 0 shown".to_owned(),
        ]
    );
    let too_long = format!("0{FIRST}");
    for wrong in [
        "",
        "a01",
        "xyz1",
        "aa%2001",
        too_long.as_str(),
        "aa01&live=true",
        "aa01&limit=5",
        "aa01&id=bb02",
    ] {
        assert_eq!(get(&alice, wrong).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

/// More than are looked at: it is said that there are older ones.
#[tokio::test]
async fn the_newest_sessions_are_looked_at_for_an_ending_and_that_there_are_more_is_said() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    world.session(FIRST, 1, "alice", None);
    world.closed(FIRST, 0, None);
    let mut begun = Vec::new();
    for number in 0..list::MOST {
        let id = format!("0192f0c1-7c3e-7d00-a000-0000{number:08x}");
        let open = world.opening(&id, 1, "alice").to_string();
        begun.push(world.ledger.append_open(open.into_bytes(), Vec::new()).unwrap());
    }
    // Durable with the last of them.
    world.session(OF_BOB, 2, "bob", None);
    let (_, found) = world.get(&token, "/api/v1/sessions?id=aa01").await;
    assert_eq!((ids(&found), &found["stopped"]), (vec![], &json!("limit")));
    assert!(found["next"].is_u64(), "{found}");
}
