use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;

use super::world::{Renewal, Setup, World, world};
use crate::What;

const REQUEST: &str = "one-request-of-the-command-line";

async fn handle(world: &World) -> String {
    world.signed_in().await["refresh_token"].as_str().unwrap().to_owned()
}

fn asked(world: &World) -> usize {
    world.idp.requests.load(Ordering::SeqCst) - 1 // the code's exchange
}

/// OIDC-24, W-04.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_24_fifty_renewals_at_once_ask_the_provider_once() {
    let world = world(Setup::One);
    let handle = handle(&world).await;
    world.pass(Duration::from_secs(300));
    world.idp.gate.forget_permits(Semaphore::MAX_PERMITS);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (world, handle) = (world.clone(), handle.clone());
            tokio::spawn(async move { world.renew(&handle, Some(REQUEST)).await })
        })
        .collect();
    while asked(&world) == 0 {
        tokio::task::yield_now().await;
    }
    world.idp.gate.add_permits(1);
    let mut handles = std::collections::BTreeSet::new();
    for task in tasks {
        let seen = task.await.unwrap();
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
        handles.insert(seen.json()["refresh_token"].as_str().unwrap().to_owned());
    }
    assert_eq!((asked(&world), handles.len()), (1, 1));
}

#[tokio::test]
async fn the_provider_is_asked_only_when_its_word_is_old_and_each_rotated_token_is_used() {
    let world = world(Setup::One);
    let mut handle = handle(&world).await;
    for round in 1..=5 {
        for _ in 0..2 {
            let seen = world.renew(&handle, None).await;
            assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
            handle = seen.json()["refresh_token"].as_str().unwrap().to_owned();
        }
        assert_eq!(asked(&world), round - 1);
        world.pass(Duration::from_secs(300));
    }
    assert_eq!(*world.idp.refresh.lock().unwrap(), "refresh-0xxxx");
}

#[tokio::test]
async fn invalid_grant_ends_the_session() {
    let world = world(Setup::One);
    let handle = handle(&world).await;
    world.pass(Duration::from_secs(300));
    *world.idp.renewal.lock().unwrap() = Renewal::InvalidGrant;
    let seen = world.renew(&handle, None).await;
    assert_eq!(seen.json()["error"], "invalid_grant");
    *world.idp.renewal.lock().unwrap() = Renewal::Rotate;
    assert_eq!(world.renew(&handle, None).await.json()["error"], "invalid_grant");
    assert!(world.events().contains(&(What::ProviderRefused, Some("invalid_grant"))));
}

#[tokio::test]
async fn a_provider_that_fails_costs_nothing_for_an_hour_and_then_no_session() {
    for failure in [Renewal::NoAnswer, Renewal::Status(500), Renewal::Status(429)] {
        let world = world(Setup::One);
        let mut handle = handle(&world).await;
        *world.idp.renewal.lock().unwrap() = failure;
        for _ in 0..11 {
            world.pass(Duration::from_secs(300));
            let seen = world.renew(&handle, None).await;
            assert_eq!(seen.status, StatusCode::OK, "{failure:?} {}", seen.body);
            handle = seen.json()["refresh_token"].as_str().unwrap().to_owned();
        }
        world.pass(Duration::from_secs(300));
        let seen = world.renew(&handle, None).await;
        assert_eq!(
            (seen.status, &seen.json()["error"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("temporarily_unavailable"))
        );
        *world.idp.renewal.lock().unwrap() = Renewal::Rotate;
        assert_eq!(
            world.renew(&handle, None).await.status,
            StatusCode::OK,
            "the same handle is still good"
        );
    }
}

#[tokio::test]
async fn groups_are_read_again_and_a_change_is_recorded() {
    let world = world(Setup::One);
    let handle = handle(&world).await;
    world.pass(Duration::from_secs(300));
    *world.idp.renewed_claims.lock().unwrap() = json!({"groups": ["sre", "oncall"]});
    let seen = world.renew(&handle, None).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    let event = world.ledger.events.lock().unwrap().last().cloned().unwrap();
    assert_eq!(event.what, What::IdentityChanged);
    assert_eq!(event.who.unwrap().identity.groups, ["sre", "oncall"]);
    world.pass(Duration::from_secs(300));
    let next = seen.json()["refresh_token"].as_str().unwrap().to_owned();
    *world.idp.renewed_claims.lock().unwrap() = json!({"groups": ["oncall", "sre"]});
    assert_eq!(world.renew(&next, None).await.status, StatusCode::OK);
    assert_eq!(
        world
            .events()
            .iter()
            .filter(|(what, _)| *what == What::IdentityChanged)
            .count(),
        1,
        "order is no change"
    );
}

#[tokio::test]
async fn somebody_elses_token_or_a_broken_rule_at_renewal_ends_the_session() {
    for (changes, why) in [
        (json!({"sub": "mallory"}), "subject_changed"),
        (json!({"nonce": "another"}), "nonce"),
        (json!({"banned": true}), "rule_refused"),
    ] {
        let world = world(Setup::One);
        let handle = handle(&world).await;
        world.pass(Duration::from_secs(300));
        *world.idp.renewed_claims.lock().unwrap() = changes;
        assert_eq!(world.renew(&handle, None).await.json()["error"], "invalid_grant");
        assert!(
            world.events().contains(&(What::ProviderRefused, Some(why))),
            "{:?}",
            world.events()
        );
    }
}

#[tokio::test]
async fn a_rotated_token_is_kept_even_when_the_id_token_beside_it_does_not_hold() {
    let world = world(Setup::One);
    let handle = handle(&world).await;
    world.pass(Duration::from_secs(300));
    *world.idp.renewed_claims.lock().unwrap() = json!({"exp": 1});
    let seen = world.renew(&handle, None).await;
    assert_eq!(
        seen.status,
        StatusCode::OK,
        "the old word counts for an hour: {}",
        seen.body
    );
    *world.idp.renewed_claims.lock().unwrap() = json!({});
    let next = seen.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.renew(&next, None).await.status, StatusCode::OK);
    assert_eq!(
        *world.idp.refresh.lock().unwrap(),
        "refresh-0xx",
        "the second renewal used the rotated token"
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_loses_nothing() {
    let world = world(Setup::One);
    let handle = handle(&world).await;
    world.pass(Duration::from_secs(300));
    world.idp.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (leaving, held) = (world.clone(), handle.clone());
    let task = tokio::spawn(async move { leaving.renew(&held, Some(REQUEST)).await });
    while asked(&world) == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()));
    world.idp.gate.add_permits(1);
    // It asks again: the renewal that was under way is finished first, and not asked for a second time.
    let seen = world.renew(&handle, Some(REQUEST)).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    assert_eq!(
        (asked(&world), world.idp.refresh.lock().unwrap().as_str()),
        (1, "refresh-0x")
    );
}

#[tokio::test]
async fn a_used_handle_ends_the_session_and_a_repeated_request_does_not() {
    let world = world(Setup::One);
    let first = handle(&world).await;
    let second = world.renew(&first, Some(REQUEST)).await.json();
    let again = world.renew(&first, Some(REQUEST)).await.json();
    assert_eq!(second["refresh_token"], again["refresh_token"]);
    let thief = world.renew(&first, Some("another-request-by-another")).await;
    assert_eq!(thief.json()["error"], "invalid_grant");
    let owner = world.renew(second["refresh_token"].as_str().unwrap(), None).await;
    assert_eq!(owner.json()["error"], "invalid_grant");
    assert!(world.events().contains(&(What::HandleReused, Some("handleReused"))));
}
