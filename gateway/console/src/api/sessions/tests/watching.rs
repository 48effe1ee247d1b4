//! Who reads on while a session does: what comes, a right that is lost meanwhile, and what the end is worth.

use super::*;
use crate::api::tests::Lines;

async fn next_out(lines: &mut Lines) -> String {
    loop {
        let line = lines.next().await.unwrap();
        if line["out"].is_string() {
            return out(&[line]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_followed_until_it_ends_and_then_held_against_the_ledger() {
    let world = world();
    let token = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    taped.says(1, "one");
    let mut lines = follow(&world, &token, &taped.path("/recording?follow=true")).await;
    let begin = lines.next().await.unwrap();
    assert_eq!(
        (&begin["begin"]["standing"], &begin["begin"]["live"]),
        (&json!("goesOn"), &json!(true))
    );
    assert_eq!(next_out(&mut lines).await, "one");
    assert_eq!(lines.next().await.unwrap(), json!({"alive": true}));
    taped.says(40, "two");
    assert_eq!(next_out(&mut lines).await, "two");
    assert!(world.sessions.end(&taped.name(), "it ends"));
    taped.finish();
    world.closed(&taped.name(), 0, Some(taped.kept()));
    let mut last = lines.next().await.unwrap();
    while last["end"].is_null() {
        last = lines.next().await.unwrap();
    }
    assert_eq!(last, json!({"end": {"standing": "whole"}}));
    assert_eq!(lines.next().await, None);
    assert_eq!(
        world.read_sentences(),
        [format!("watched session `{}`, of all sessions: 1", taped.name())]
    );
}

#[tokio::test(start_paused = true)]
async fn damage_ends_a_watch_as_damage_also_while_the_session_goes_on() {
    let world = world();
    let token = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    taped.says(1, "one");
    let mut lines = follow(&world, &token, &taped.path("/recording?follow=true")).await;
    assert_eq!(next_out(&mut lines).await, "one");
    let file = world.sessions.file(taped.id);
    let upto = std::fs::metadata(&file).unwrap().len();
    taped.says(2, "two");
    taped.says(3, "three");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[usize::try_from(upto).unwrap() + 84] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut last = lines.next().await.unwrap();
    while last["alive"].is_boolean() {
        last = lines.next().await.unwrap();
    }
    assert_eq!(
        last["end"],
        json!({"standing": "damaged", "upto": 0, "why": "the bytes of chunk 2 are damaged; up to chunk 0 it is as the ledger says"})
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_does_not_come_is_waited_for_and_then_said_to_be_unknown() {
    let world = world();
    let token = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    let mut lines = follow(&world, &token, &taped.path("/recording?follow=true")).await;
    lines.next().await.unwrap();
    assert!(world.sessions.end(&taped.name(), "it ends"));
    taped.finish();
    let (mut last, mut signs) = (lines.next().await.unwrap(), 0);
    while last["end"].is_null() {
        signs += u32::from(last["alive"].is_boolean());
        last = lines.next().await.unwrap();
    }
    assert_eq!(signs, 1, "between waiting for more and waiting for the ledger");
    assert_eq!(
        last["end"],
        json!({"standing": "unknown", "why": "the ledger does not have its end yet, which was waited for"})
    );
}

#[tokio::test(start_paused = true)]
async fn who_may_see_no_more_follows_no_further() {
    let world = world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    taped.says(1, "one");
    let mut lines = follow(&world, &world.bearer(&eve), &taped.path("/recording?follow=true")).await;
    assert_eq!(next_out(&mut lines).await, "one");
    world
        .store
        .end_session(&eve.id, state::EndReason::Locked, world.time())
        .unwrap();
    taped.says(2, "two");
    let mut last = lines.next().await.unwrap();
    while last["alive"].is_boolean() {
        last = lines.next().await.unwrap();
    }
    assert_eq!(
        last,
        json!({"stopped": "the session has ended: an administrator has locked this account", "code": "invalid_token"})
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn who_may_see_no_more_exports_no_further() {
    let world = world();
    let mut taped = Taped::begin(&world);
    let text = "sixteen letters\n".repeat(8 << 10);
    (1..=10).for_each(|second| taped.says(second, &text));
    taped.finish();
    world.closed(&taped.name(), 0, Some(taped.kept()));
    for format in ["text", "asciicast"] {
        let eve = world.signed_in(3, "eve", &["auditors"]);
        let target = taped.path(&format!("/recording?format={format}"));
        let mut lines = follow(&world, &world.bearer(&eve), &target).await;
        let mut texts = 0;
        let last = loop {
            let line = lines.next().await.unwrap();
            if line["text"].is_null() && line["begin"].is_null() {
                break line;
            }
            texts += usize::from(line["text"].is_string());
            if texts == 1 {
                let ended = world.store.end_session(&eve.id, state::EndReason::Locked, world.time());
                ended.unwrap();
            }
        };
        let told = json!({"stopped": "the session has ended: an administrator has locked this account", "code": "invalid_token"});
        assert_eq!(last, told, "{format}");
        assert!(texts <= 4, "what was under way and no more: {texts} pieces of {format}");
        assert_eq!(lines.next().await, None);
    }
}

/// The first line behind signs of life.
async fn last(lines: &mut Lines) -> Value {
    for _ in 0..10 {
        let line = lines.next().await.unwrap();
        if !line["alive"].is_boolean() {
            return line;
        }
    }
    panic!("it goes on")
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_reader_loses_the_right_to_it() {
    let world = world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    taped.says(1, "one");
    let mut lines = follow(&world, &world.bearer(&eve), &taped.path("/recording?follow=true")).await;
    assert_eq!(next_out(&mut lines).await, "one");
    let revision = world.store.revision();
    world.leaves_all_groups(&eve);
    assert!(world.store.revision() > revision, "the store tells of it");
    let told = json!({"stopped": "what you may see has changed; begin again", "code": "scope_changed"});
    assert_eq!(last(&mut lines).await, told);
    assert_eq!(lines.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_readers_sign_in_has_lasted_as_long_as_it_may() {
    let world = world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    let mut taped = Taped::begin(&world);
    world.live(&taped.name(), 1, "alice");
    taped.says(1, "one");
    let mut lines = follow(&world, &world.bearer(&eve), &taped.path("/recording?follow=true")).await;
    assert_eq!(next_out(&mut lines).await, "one");
    world.pass(36_001);
    let stopped = last(&mut lines).await;
    assert_eq!(stopped["code"], "invalid_token", "{stopped}");
    assert_eq!(lines.next().await, None);
}

/// The gateway stopped behind the second chunk; the ledger was told of the first.
#[tokio::test]
async fn what_has_no_end_says_how_far_the_ledger_knows_it() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let mut taped = Taped::begin(&world);
    taped.says(1, "one");
    let mut kept = taped.kept();
    kept["incomplete"] = json!(true);
    taped.says(2, "two");
    world.closed(&taped.name(), 0, Some(kept));
    let (_, shown) = world.get(&token, &taped.path("")).await;
    let recording = &shown["recording"];
    assert_eq!(
        (&recording["standing"], &recording["upto"]),
        (&json!("incomplete"), &json!(1))
    );
    let why = recording["why"].as_str().unwrap();
    assert!(why.ends_with("; up to chunk 1 it is as the ledger says"), "{why}");
    let lines = world.lines(&token, &taped.path("/recording")).await;
    assert_eq!(out(&lines), "onetwo");
    assert_eq!(lines.last().unwrap()["end"]["upto"], 1);
}
