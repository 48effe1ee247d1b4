//! The answers that sign somebody in or out, refuse it, or hold a reason name the record of it, and no other answer names one.

use http::{Request, StatusCode, header};

use super::world::{Browser, LOOPBACK, Renewal, Seen, Setup, VERIFIER, World, query, world};
use crate::What;

async fn posted(world: &World, target: &str, form: &str) -> Seen {
    let request = Request::post(target).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    world.send(request, form.to_owned()).await
}

async fn got(world: &World, target: &str) -> Seen {
    world.send(Request::get(target), String::new()).await
}

#[tokio::test]
async fn promise_5_the_answer_to_a_sign_in_names_its_record_and_so_does_each_that_ends_or_refuses_one() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let idp_code = world.idp.code_for(&away);
    let back = browser.come_back(&away, &idp_code).await;
    assert_eq!(
        (back.status, back.named(&world)),
        (StatusCode::SEE_OTHER, Some(What::SignedIn))
    );
    let again = browser.come_back(&away, &idp_code).await;
    assert_ne!(again.status, StatusCode::SEE_OTHER);
    assert_eq!(again.named(&world), Some(What::SignInRefused), "{}", again.body);

    let code = query(&back.location(), "code").unwrap();
    let given = world.redeem(&code, VERIFIER, LOOPBACK).await;
    assert_eq!(
        (given.status, given.named(&world)),
        (StatusCode::OK, None),
        "no record was written"
    );
    let handle = given.json()["refresh_token"].as_str().unwrap().to_owned();
    let renewed = world.renew(&handle, None).await;
    assert_eq!((renewed.status, renewed.named(&world)), (StatusCode::OK, None));
    let out = posted(
        &world,
        "/revoke",
        &format!("token={}", renewed.json()["refresh_token"].as_str().unwrap()),
    )
    .await;
    assert_eq!((out.status, out.named(&world)), (StatusCode::OK, Some(What::SignedOut)));

    let wrong = world.renew("gsh1.nonsense", None).await;
    assert_eq!(wrong.named(&world), Some(What::CredentialRefused));
    let nothing = got(&world, "/nothing-here").await;
    assert_eq!(nothing.named(&world), Some(What::RequestRefused));
    for target in ["/jwks", "/.well-known/gatescribe"] {
        let told = got(&world, target).await;
        assert_eq!((told.status, told.named(&world)), (StatusCode::OK, None), "{target}");
    }
}

/// The attack: somebody who saw the code redeems it once more, while the session that it led to goes on.
#[tokio::test]
async fn of_two_records_behind_one_answer_the_first_is_named() {
    let world = world(Setup::One);
    let code = query(&Browser::new(&world).sign_in().await, "code").unwrap();
    assert_eq!(world.redeem(&code, VERIFIER, LOOPBACK).await.status, StatusCode::OK);
    let before = world.events().len();
    let thief = world.redeem(&code, VERIFIER, LOOPBACK).await;
    let events = world.events();
    let written: Vec<What> = events.iter().skip(before).map(|(what, _)| *what).collect();
    assert_eq!(written, [What::CodeReused, What::CredentialRefused]);
    assert_eq!(
        (thief.status, thief.named(&world)),
        (StatusCode::BAD_REQUEST, Some(What::CodeReused))
    );
}

/// It is asked on a task of its own, so that whoever goes away loses nothing.
#[tokio::test]
async fn the_answer_to_a_renewal_that_the_provider_refuses_names_the_record_of_that() {
    let world = world(Setup::One);
    let given = world.signed_in().await;
    *world.idp.renewal.lock().unwrap() = Renewal::InvalidGrant;
    world.pass(std::time::Duration::from_secs(300));
    let refused = world.renew(given["refresh_token"].as_str().unwrap(), None).await;
    assert_eq!(
        (refused.status, refused.named(&world)),
        (StatusCode::BAD_REQUEST, Some(What::ProviderRefused)),
        "{}",
        refused.body
    );
}

/// What the reason is for is done on a task of its own, so that it is done whole; the answer names the record all the same.
#[tokio::test]
async fn the_answer_to_a_stated_reason_names_its_record() {
    let world = world(Setup::One);
    let given = world.signed_in().await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", given["refresh_token"].as_str().unwrap()),
    ];
    let token = world.token(&form).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let request = Request::post("/api/v1/reason")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    let stated = world
        .send(request, r#"{"text":"TICKET-1","seconds":60}"#.to_owned())
        .await;
    assert_eq!(stated.status, StatusCode::OK, "{}", stated.body);
    assert_eq!(stated.named(&world), Some(What::ReasonStated));
}

/// The attack: whoever asks above the rate, or while nothing can be written, is given no record that is not there.
#[tokio::test]
async fn an_answer_without_a_record_of_its_own_names_none() {
    let world = world(Setup::One);
    let mut named = 0;
    for _ in 0..200 {
        let before = world.events().len();
        let refused = world.renew("gsh1.nonsense", None).await;
        assert_eq!(
            refused.named(&world).is_some(),
            world.events().len() > before,
            "{}",
            refused.status
        );
        named += usize::from(refused.named(&world).is_some());
    }
    assert!((1..200).contains(&named), "{named}");
    *world.ledger.full.lock().unwrap() = true;
    let lost = got(&world, "/nothing-here").await;
    assert_eq!(lost.named(&world), None);
}
