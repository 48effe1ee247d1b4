//! What a view of a session may cost: a recording takes as long to look through as its file is long.

use std::time::Duration;

use super::*;
use crate::api::places::Places;
use crate::api::tests::{Lines, world_with};

/// So that nothing but the reader's going ends it.
const LONG: Duration = Duration::from_secs(100_000);

fn endless(changed: impl FnOnce(&mut crate::api::Inner)) -> (World, String, Taped) {
    let world = world_with(changed);
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let taped = Taped::begin(&world);
    world.closed(&taped.name(), 0, Some(taped.kept()));
    world.sessions.is_endless.store(true, Ordering::SeqCst);
    (world, token, taped)
}

fn at_work(world: &World) -> usize {
    world.sessions.at_work.load(Ordering::SeqCst)
}

#[tokio::test]
async fn whoever_goes_away_leaves_no_work_behind_and_no_search_waits_for_it() {
    let (world, token, taped) = endless(|api| {
        (api.examine_time, api.open_time) = (LONG, LONG);
        (api.searches, api.examinations, api.plays) = (Places::new(1, 1), Places::new(1, 1), Places::new(1, 1));
    });
    for rest in ["", "/recording", "/recording?format=text"] {
        let path = taped.path(rest);
        let mut asked = Box::pin(world.get(&token, &path));
        tokio::select! {
            (status, answer) = &mut asked => panic!("{rest}: it came to an end: {status} {answer}"),
            () = until(|| at_work(&world) == 1) => {}
        }
        let (status, _) = world.get(&token, "/api/v1/audit/records").await;
        assert_eq!(status, StatusCode::OK, "a search has its place beside it");
        drop(asked);
        until(|| at_work(&world) == 0).await;
        let me = subject(1);
        until(|| world.api.examinations.take(&me).is_ok() && world.api.plays.take(&me).is_ok()).await;
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_view_is_neither_whole_nor_damaged_and_the_rest_is_told() {
    let (world, token, taped) = endless(|api| (api.examine_time, api.open_time) = (Duration::ZERO, Duration::ZERO));
    let (status, shown) = world.get(&token, &taped.path("")).await;
    assert_eq!(
        (status, &shown["session"]["id"]),
        (StatusCode::OK, &json!(taped.name()))
    );
    assert_eq!(
        shown["recording"],
        json!({"standing": "unknown", "why": CannotOpen::GivenUp.to_string()})
    );
    let (status, refused) = world.get(&token, &taped.path("/recording")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused["error_description"], CannotOpen::GivenUp.to_string());
    assert_eq!(at_work(&world), 0);
}

#[tokio::test]
async fn a_session_is_shown_also_while_no_more_recordings_may_be_looked_through() {
    let (world, token, taped) = endless(|api| api.examinations = Places::new(1, 1));
    let held = world.api.examinations.take(&subject(1)).unwrap();
    let (status, shown) = world.get(&token, &taped.path("")).await;
    assert_eq!(
        (status, &shown["session"]["id"]),
        (StatusCode::OK, &json!(taped.name()))
    );
    assert_eq!(shown["recording"]["standing"], "unknown", "{shown}");
    let why = shown["recording"]["why"].as_str().unwrap();
    assert!(why.contains("still running"), "{why}");
    drop(held);
}

/// A recording that is long and comes to no text: all of it stands in a control string (in a cast, in messages) that does not end.
fn silent(world: &World, is_message: bool) -> Taped {
    let mut taped = Taped::begin(world);
    let (first, more): (_, &[u8]) = match is_message {
        true => (Channel::Message { is_text: true }, b"{}"),
        false => (Channel::Stdout, b"never shown"),
    };
    taped.carries(1, first, b"\x1b]");
    (2..40).for_each(|second| taped.carries(second, first, more));
    taped.finish();
    world.closed(&taped.name(), 0, Some(taped.kept()));
    taped
}

async fn signs_of_life(lines: &mut Lines, count: usize) {
    assert!(lines.next().await.unwrap()["begin"].is_object());
    for _ in 0..count {
        assert_eq!(lines.next().await.unwrap(), json!({"alive": true}));
    }
}

const SILENT: [(&str, bool); 2] = [("text", false), ("asciicast", true)];

#[tokio::test]
async fn promise_8_whoever_reads_what_shows_nothing_leaves_no_work_behind() {
    let world = world_with(|api| {
        (api.sign_of_life, api.plays) = (Duration::ZERO, Places::new(1, 1));
    });
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    for (format, is_message) in SILENT {
        let taped = silent(&world, is_message);
        let mut lines = follow(&world, &token, &taped.path(&format!("/recording?format={format}"))).await;
        signs_of_life(&mut lines, 2).await;
        assert!(world.api.plays.take(&subject(1)).is_err(), "it is under way");
        drop(lines);
        until(|| world.api.plays.take(&subject(1)).is_ok()).await;
    }
}

#[tokio::test]
async fn who_may_see_no_more_reads_no_further_also_where_nothing_is_shown() {
    let world = world_with(|api| api.sign_of_life = Duration::ZERO);
    for (format, is_message) in SILENT {
        let taped = silent(&world, is_message);
        let eve = world.signed_in(3, "eve", &["auditors"]);
        let target = taped.path(&format!("/recording?format={format}"));
        let mut lines = follow(&world, &world.bearer(&eve), &target).await;
        signs_of_life(&mut lines, 2).await;
        let ended = world.store.end_session(&eve.id, state::EndReason::Locked, world.time());
        ended.unwrap();
        let mut last = lines.next().await.unwrap();
        while last["alive"].is_boolean() {
            last = lines.next().await.unwrap();
        }
        assert_eq!(last["code"], "invalid_token", "{format}: {last}");
        assert_eq!(lines.next().await, None);
    }
}
