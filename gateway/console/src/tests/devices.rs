use std::time::Duration;

use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::world::{Browser, Setup, World, query, world};
use crate::What;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn begin(world: &World) -> Value {
    let request =
        Request::post("/device_authorization").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    world
        .send(
            request,
            "client_id=gatescribe-cli&device_name=%3Cb%3Ebuild-7".to_owned(),
        )
        .await
        .json()
}

async fn poll(world: &World, device: &Value) -> Value {
    let code = device["device_code"].as_str().unwrap();
    world
        .token(&[("grant_type", GRANT), ("device_code", code), ("audience", "prod")])
        .await
        .json()
}

/// Types the code and signs in; the page with the question.
async fn question(world: &World, browser: &mut Browser<'_>, device: &Value) -> String {
    let code = device["user_code"].as_str().unwrap().to_lowercase();
    let away = browser
        .post("/device", &[("user_code", &code)], "same-origin")
        .await
        .location();
    let provider_code = world.idp.code_for(&away);
    let seen = browser.come_back(&away, &provider_code).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    seen.body
}

fn ticket(page: &str) -> String {
    page.split("name=\"ticket\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_terminal_is_signed_in_after_the_person_read_who_asks_and_said_yes() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    assert_eq!(poll(&world, &device).await["error"], "authorization_pending");
    let mut browser = Browser::new(&world);
    let page = question(&world, &mut browser, &device).await;
    assert!(
        page.contains("alice") && page.contains("192.0.2.7") && page.contains("&lt;b&gt;build-7"),
        "{page}"
    );
    world.pass(Duration::from_secs(5));
    assert_eq!(
        poll(&world, &device).await["error"],
        "authorization_pending",
        "signing in alone approves nothing"
    );
    let seen = browser
        .post(
            "/device/answer",
            &[("ticket", &ticket(&page)), ("answer", "yes")],
            "same-origin",
        )
        .await;
    assert!(seen.body.contains("signed in"), "{}", seen.body);
    world.pass(Duration::from_secs(5));
    let answer = poll(&world, &device).await;
    assert!(answer["access_token"].is_string(), "{answer}");
    assert_eq!(
        poll(&world, &device).await["error"],
        "invalid_grant",
        "the answer is given once"
    );
    let told: Vec<What> = world.events().into_iter().map(|(what, _)| what).collect();
    assert_eq!(told[..2], [What::SignedIn, What::DeviceApproved]);
}

#[tokio::test]
async fn a_no_is_told_to_the_terminal_and_recorded() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    let mut browser = Browser::new(&world);
    let page = question(&world, &mut browser, &device).await;
    browser
        .post(
            "/device/answer",
            &[("ticket", &ticket(&page)), ("answer", "no")],
            "same-origin",
        )
        .await;
    assert_eq!(poll(&world, &device).await["error"], "access_denied");
    assert_eq!(world.events(), vec![(What::DeviceDenied, Some("denied"))]);
}

/// WEB-03: a form of another page, a ticket in another browser, a link alone.
#[tokio::test]
async fn web_03_nothing_but_the_persons_own_click_approves() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    let mut browser = Browser::new(&world);
    let page = question(&world, &mut browser, &device).await;
    let answer = [("ticket", ticket(&page)), ("answer", "yes".to_owned())];
    let answer: Vec<(&str, &str)> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(
            browser.post("/device/answer", &answer, site).await.status,
            StatusCode::FORBIDDEN,
            "{site}"
        );
        let code = device["user_code"].as_str().unwrap();
        assert_eq!(
            browser.post("/device", &[("user_code", code)], site).await.status,
            StatusCode::FORBIDDEN,
            "{site}"
        );
    }
    let mut other = Browser::new(&world);
    other.leave().await;
    assert_eq!(
        other.post("/device/answer", &answer, "same-origin").await.status,
        StatusCode::BAD_REQUEST
    );
    let complete = device["verification_uri_complete"].as_str().unwrap();
    let seen = browser.get(complete).await;
    assert!(
        seen.status == StatusCode::OK && seen.body.contains("<form"),
        "a link only fills the code in"
    );
    assert_eq!(poll(&world, &device).await["error"], "authorization_pending");
    assert_eq!(
        browser.post("/device/answer", &answer, "same-origin").await.status,
        StatusCode::OK
    );
    assert_eq!(
        browser.post("/device/answer", &answer, "same-origin").await.status,
        StatusCode::BAD_REQUEST,
        "once"
    );
}

#[tokio::test]
async fn oidc_30_codes_cannot_be_guessed_and_expire() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    let mut browser = Browser::new(&world);
    for _ in 0..10 {
        let seen = browser
            .post("/device", &[("user_code", "BBBB-BBBB")], "same-origin")
            .await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    }
    let right = [("user_code", device["user_code"].as_str().unwrap())];
    assert_eq!(
        browser.post("/device", &right, "same-origin").await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    world.pass(Duration::from_secs(600));
    assert_eq!(
        browser.post("/device", &right, "same-origin").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(poll(&world, &device).await["error"], "expired_token");
}

#[tokio::test]
async fn an_impatient_terminal_is_slowed_down() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    poll(&world, &device).await;
    let slowed = poll(&world, &device).await;
    assert_eq!(
        (&slowed["error"], &slowed["interval"]),
        (&json!("slow_down"), &json!(10))
    );
}

#[tokio::test]
async fn an_approval_that_cannot_be_recorded_signs_nothing_in() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    let mut browser = Browser::new(&world);
    let page = question(&world, &mut browser, &device).await;
    *world.ledger.full.lock().unwrap() = true;
    let seen = browser
        .post(
            "/device/answer",
            &[("ticket", &ticket(&page)), ("answer", "yes")],
            "same-origin",
        )
        .await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    *world.ledger.full.lock().unwrap() = false;
    assert_eq!(poll(&world, &device).await["error"], "authorization_pending");
}

/// `gatescribe login --fresh --device`: the terminal's wishes are in the address that it shows.
#[tokio::test]
async fn a_terminal_can_wish_for_a_fresh_sign_in_and_the_page_passes_it_on() {
    let world = world(Setup::One);
    let device = begin(&world).await;
    let mut browser = Browser::new(&world);
    let page = browser
        .get("/device?prompt=login&max_age=600&acr_values=mfa%20%22hw")
        .await;
    for hidden in [
        "name=\"prompt\" value=\"login\"",
        "name=\"max_age\" value=\"600\"",
        "name=\"acr_values\" value=\"mfa &quot;hw\"",
    ] {
        assert!(page.body.contains(hidden), "{hidden}: {}", page.body);
    }
    let code = device["user_code"].as_str().unwrap();
    let sent = [
        ("user_code", code),
        ("prompt", "login"),
        ("max_age", "600"),
        ("acr_values", "mfa"),
    ];
    let away = browser.post("/device", &sent, "same-origin").await.location();
    for (name, value) in &sent[1..] {
        assert_eq!(query(&away, name).as_deref(), Some(*value));
    }
}
