use http::{Request, StatusCode, header};
use serde_json::Value;

use super::world::{Browser, LOOPBACK, Seen, Setup, VERIFIER, World, query, world};
use crate::What;

async fn userinfo(world: &World, token: &str) -> Seen {
    let request = Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
    world.send(request, String::new()).await
}

async fn revoke(world: &World, handle: &str) -> Seen {
    let request = Request::post("/revoke").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    world.send(request, format!("token={handle}")).await
}

async fn for_api(world: &World, handle: &str) -> Value {
    let seen = world
        .token(&[("grant_type", "refresh_token"), ("refresh_token", handle)])
        .await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    seen.json()
}

fn text<'v>(answer: &'v Value, member: &str) -> &'v str {
    answer[member].as_str().unwrap()
}

fn counted(world: &World) -> usize {
    world.ledger.counted.lock().unwrap().len()
}

#[tokio::test]
async fn ses_14_whoever_holds_a_good_secret_is_served_however_many_wrong_ones_come_from_the_same_address() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let first = world.signed_in().await;
    for _ in 0..100 {
        world.renew("gsh1.nonsense", None).await;
    }
    assert_eq!(
        world.renew("gsh1.nonsense", None).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    let answer = for_api(&world, text(&first, "refresh_token")).await;
    assert_eq!(
        userinfo(&world, text(&answer, "access_token")).await.status,
        StatusCode::OK
    );
    let code = world.idp.code_for(&away);
    let back = browser.come_back(&away, &code).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "a sign-in under way is finished");
    let code = query(&back.location(), "code").unwrap();
    assert_eq!(world.redeem(&code, VERIFIER, LOOPBACK).await.status, StatusCode::OK);
    let out = revoke(&world, text(&answer, "refresh_token")).await;
    assert_eq!(
        (out.status, out.json()["provider"].clone()),
        (StatusCode::OK, "revoked".into())
    );
}

#[tokio::test]
async fn a_thousand_replays_of_an_ended_handle_leave_few_records_and_an_exact_count() {
    let world = world(Setup::One);
    let answer = world.signed_in().await;
    let handle = text(&answer, "refresh_token");
    revoke(&world, handle).await;
    let before = world.events().len();
    for _ in 0..1_000 {
        let seen = world.renew(handle, None).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "its holder learns why, always");
        assert!(seen.body.contains("you signed out"), "{}", seen.body);
    }
    let written = world.events().len() - before;
    assert!(written <= 61, "{written}");
    assert_eq!(written + counted(&world), 1_000);
    let event = world.ledger.events.lock().unwrap().last().cloned().unwrap();
    assert!(
        event.who.is_some() && event.is_by_stranger(),
        "whose it was, in the strangers' budget"
    );
}

#[tokio::test]
async fn a_used_code_that_comes_again_and_again_ends_the_session_once() {
    let world = world(Setup::One);
    let back = Browser::new(&world).sign_in().await;
    let code = query(&back, "code").unwrap();
    world.redeem(&code, VERIFIER, LOOPBACK).await;
    let before = world.events().len();
    for _ in 0..1_000 {
        assert_ne!(world.redeem(&code, VERIFIER, LOOPBACK).await.status, StatusCode::OK);
    }
    let events = world.events();
    let ends = events.iter().filter(|(what, _)| *what == What::CodeReused).count();
    assert_eq!(ends, 1);
    let written = events.len() - before - ends;
    assert!(written <= 61, "{written}");
    assert_eq!(written + counted(&world), 1_000);
}

#[tokio::test]
async fn each_refusal_of_the_host_is_recorded_up_to_a_rate() {
    let world = world(Setup::One);
    userinfo(&world, "nonsense").await;
    revoke(&world, "gsh1.nonsense").await;
    let mut browser = Browser::new(&world);
    browser
        .post("/device", &[("user_code", "BBBB-BBBB")], "same-origin")
        .await;
    browser.get("/wp-login.php?password=hunter2").await;
    let elsewhere = Request::get("/").header(header::HOST, "evil.example");
    world.send(elsewhere, String::new()).await;
    assert_eq!(
        world.events(),
        [
            (What::CredentialRefused, Some("invalid_token")),
            (What::CredentialRefused, Some("unknown_credential")),
            (What::CredentialRefused, Some("unknown_user_code")),
            (What::RequestRefused, Some("unknown_path")),
            (What::RequestRefused, Some("other_host")),
        ]
    );
    let events = format!("{:?}", world.ledger.events.lock().unwrap());
    assert!(!events.contains("hunter2") && !events.contains("nonsense"), "{events}");
    for _ in 0..100 {
        assert_eq!(browser.get("/favicon.ico").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.events().len() + counted(&world), 105);
    assert!(world.events().len() <= 66);
    assert_eq!(userinfo(&world, "nonsense").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        world.events().last(),
        Some(&(What::CredentialRefused, Some("invalid_token"))),
        "strays do not use up what wrong credentials have"
    );
}

#[tokio::test]
async fn one_person_renews_so_often_and_it_is_counted_as_theirs() {
    let world = world(Setup::One);
    let mut answer = world.signed_in().await;
    let subject = world.ledger.events.lock().unwrap()[0].who.clone().unwrap().subject_id;
    let mut handle = text(&answer, "refresh_token").to_owned();
    for _ in 0..120 {
        answer = world.renew(&handle, None).await.json();
        handle = text(&answer, "refresh_token").to_owned();
    }
    let seen = world.renew(&handle, None).await;
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(seen.body.contains("of yours") && seen.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(*world.ledger.counted.lock().unwrap(), [Some(subject)]);
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(
        world.renew(&handle, None).await.status,
        StatusCode::OK,
        "the handle was not used up"
    );
}
