use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use state::{EndReason, Standing};

use super::surfer::{GRAFANA, Surfer};
use super::world::{Browser, Seen, Setup, URL, World, merge, query, world};
use crate::What;
use crate::form::{encode, with_query};

async fn posted(world: &World, path: &str, name: &str, value: &str) -> Seen {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    world.send(request, format!("{name}={}", encode(value))).await
}

fn logout_token(world: &World, changes: &Value) -> String {
    let now = world.idp.seconds();
    let mut claims = json!({
        "iss": world.idp.issuer, "aud": "gate-client", "iat": now, "exp": now + 120, "jti": "first",
        "sid": "provider-sid", "sub": "alice", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    merge(&mut claims, changes);
    world.idp.sign(json!({"typ": "logout+jwt"}), &claims)
}

/// SES-02.
#[tokio::test]
async fn ses_02_what_signed_out_stays_out_and_the_provider_is_told() {
    let world = world(Setup::One);
    let answer = world.signed_in().await;
    let handle = answer["refresh_token"].as_str().unwrap();
    let before = world.idp.requests.load(Ordering::SeqCst);
    let seen = posted(&world, "/revoke", "token", handle).await;
    assert_eq!(
        (seen.status, seen.json()),
        (StatusCode::OK, json!({"revoked": true, "provider": "revoked"}))
    );
    assert_eq!(world.idp.requests.load(Ordering::SeqCst), before + 1);
    assert_eq!(world.renew(handle, None).await.json()["error"], "invalid_grant");
    let unknown = posted(&world, "/revoke", "token", "gsh1.x").await;
    assert_eq!(
        unknown.status,
        StatusCode::OK,
        "RFC 7009: unknown is as good as revoked"
    );
    assert!(world.events().contains(&(What::SignedOut, Some("signedOut"))));
}

/// W-05.
#[tokio::test]
async fn a_browser_signs_out_by_a_click_here_and_then_at_the_provider() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.get("/signin").await.location();
    let code = world.idp.code_for(&away);
    browser.come_back(&away, &code).await;
    let held = browser.cookies["__Host-gatescribe-session"].clone();
    let asked = browser.get("/logout").await;
    assert!(asked.body.contains("alice") && browser.cookies.contains_key("__Host-gatescribe-session"));
    assert_eq!(
        browser.post("/logout", &[], "cross-site").await.status,
        StatusCode::FORBIDDEN
    );
    let location = browser
        .post("/logout", &[("answer", "yes")], "same-origin")
        .await
        .location();
    assert!(location.starts_with("https://idp.example/end?"), "{location}");
    assert_eq!(
        query(&location, "post_logout_redirect_uri"),
        Some(format!("{URL}/signed-out"))
    );
    assert!(query(&location, "id_token_hint").is_some());
    assert!(!browser.cookies.contains_key("__Host-gatescribe-session"));
    browser.cookies.insert("__Host-gatescribe-session".to_owned(), held);
    let replayed = browser.get("/logout").await;
    assert!(replayed.body.contains("You are signed out"), "{}", replayed.body);
}

/// Also where the provider tells nobody of it.
#[tokio::test]
async fn n_09_a_browser_that_signs_out_takes_the_terminals_with_it_that_signed_in_by_it_and_no_others() {
    let world = world(Setup::One);
    let handle = |answer: Value| answer["refresh_token"].as_str().unwrap().to_owned();
    let by_it = handle(world.signed_in().await);
    *world.idp.claims.lock().unwrap() = json!({"sid": "of-another-browser"});
    let by_another = handle(world.signed_in().await);
    *world.idp.claims.lock().unwrap() = json!({"sid": null});
    let by_nobody_knows = handle(world.signed_in().await);
    *world.idp.claims.lock().unwrap() = json!({});
    let mut browser = Browser::new(&world);
    let away = browser.get("/signin").await.location();
    let code = world.idp.code_for(&away);
    browser.come_back(&away, &code).await;
    let seen = browser.post("/logout", &[("answer", "yes")], "same-origin").await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER);
    assert_eq!(world.renew(&by_it, None).await.json()["error"], "invalid_grant");
    for handle in [by_another, by_nobody_knows] {
        assert_eq!(world.renew(&handle, None).await.status, StatusCode::OK);
    }
    let signed_out = world.events().into_iter().filter(|(what, _)| *what == What::SignedOut);
    let whys: Vec<_> = signed_out.map(|(_, why)| why).collect();
    assert_eq!(whys, [Some("signedOut"), Some("providerLogout")]);
}

/// OIDC-25.
#[tokio::test]
async fn oidc_25_only_a_valid_logout_token_ends_sessions_and_only_once() {
    let world = world(Setup::One);
    let answer = world.signed_in().await;
    let handle = answer["refresh_token"].as_str().unwrap().to_owned();
    for (changes, what) in [
        (json!({"nonce": "x"}), "nonce"),
        (json!({"aud": "other"}), "audience"),
        (json!({"iss": "https://other-idp.example"}), "issuer"),
        (json!({"events": {}}), "events"),
        (json!({"events": null}), "no events"),
        (json!({"sid": null, "sub": null}), "nobody"),
        (json!({"jti": null}), "jti"),
        (json!({"iat": 1}), "old"),
        (json!({"exp": 1}), "expired"),
    ] {
        let seen = posted(
            &world,
            "/backchannel-logout",
            "logout_token",
            &logout_token(&world, &changes),
        )
        .await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{what}");
        assert_eq!(seen.headers[header::CACHE_CONTROL], "no-store");
    }
    let unsigned = format!("{}.", logout_token(&world, &json!({})).rsplit_once('.').unwrap().0);
    let forged = format!("{unsigned}{}", "A".repeat(86));
    for token in [unsigned.as_str(), forged.as_str(), "", "a.b.c"] {
        let seen = posted(&world, "/backchannel-logout", "logout_token", token).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    }
    let elsewhere = logout_token(
        &world,
        &json!({"sid": "another-session", "sub": null, "jti": "elsewhere"}),
    );
    assert_eq!(
        posted(&world, "/backchannel-logout", "logout_token", &elsewhere)
            .await
            .status,
        StatusCode::OK
    );
    let next = world.renew(&handle, None).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();

    let valid = logout_token(&world, &json!({}));
    assert_eq!(
        posted(&world, "/backchannel-logout", "logout_token", &valid)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(world.renew(&next, None).await.json()["error"], "invalid_grant");
    assert!(
        world
            .events()
            .contains(&(What::SignedOutByProvider, Some("providerLogout")))
    );

    world.pass(Duration::from_secs(1));
    let again = world.signed_in().await;
    assert_eq!(
        posted(&world, "/backchannel-logout", "logout_token", &valid)
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
    let handle = again["refresh_token"].as_str().unwrap();
    assert_eq!(
        world.renew(handle, None).await.status,
        StatusCode::OK,
        "a replayed token ends nothing new"
    );
}

#[tokio::test]
async fn a_logout_token_is_no_way_to_sign_in() {
    let world = world(Setup::One);
    let events = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    *world.idp.claims.lock().unwrap() = json!({"events": events});
    let back = Browser::new(&world).sign_in().await;
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(world.events(), vec![(What::SignInRefused, Some("logout_token"))]);
}

#[tokio::test]
async fn a_provider_signs_out_by_a_frame_with_its_name_of_the_session() {
    let world = world(Setup::One);
    let sid = "3f1c7a52-77c1-4b0e-9a44-0c9c5bb2f0aa";
    *world.idp.claims.lock().unwrap() = json!({"sid": sid});
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let out = |iss: &str, sid: &str| with_query("/frontchannel-logout", &[("iss", iss), ("sid", sid)]);
    let idp = "https://idp.example";
    for (address, status) in [
        ("/frontchannel-logout".to_owned(), StatusCode::BAD_REQUEST),
        (
            with_query("/frontchannel-logout", &[("sid", sid)]),
            StatusCode::BAD_REQUEST,
        ),
        (
            with_query("/frontchannel-logout", &[("iss", idp)]),
            StatusCode::BAD_REQUEST,
        ),
        (out("https://other-idp.example", sid), StatusCode::BAD_REQUEST),
        (out("https://idp.example/", sid), StatusCode::BAD_REQUEST),
        (out(idp, "short"), StatusCode::BAD_REQUEST),
        (out(idp, "3f1c7a52-77c1-4b0e-9a44-0c9c5bb2f0ab"), StatusCode::OK),
        (out(idp, "%"), StatusCode::BAD_REQUEST),
    ] {
        // Also in the browser itself: its cookie alone signs nobody out.
        assert_eq!(surfer.gate.get(&address).await.status, status, "{address}");
        assert!(surfer.is_in(GRAFANA), "{address}");
    }
    // A frame of another site is sent no cookie.
    let seen = Browser::new(&world).get(&out(idp, sid)).await;
    assert_eq!(
        (seen.status, &seen.headers[header::CACHE_CONTROL]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    assert_eq!(
        surfer.session(GRAFANA).unwrap().standing,
        Standing::Ended(EndReason::ProviderLogout)
    );
    assert!(
        world
            .events()
            .contains(&(What::SignedOutByProvider, Some("providerLogout")))
    );
}

#[tokio::test]
async fn a_session_whose_name_anybody_could_guess_is_not_ended_by_it() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let pairs = [("iss", "https://idp.example"), ("sid", "provider-sid")];
    let seen = surfer.gate.get(&with_query("/frontchannel-logout", &pairs)).await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    assert!(
        seen.body.contains("too short") && surfer.is_in(GRAFANA),
        "{}",
        seen.body
    );
}
