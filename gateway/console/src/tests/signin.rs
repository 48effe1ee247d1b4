use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use state::{SessionId, Standing};

use super::world::{Browser, LOOPBACK, Setup, URL, VERIFIER, authorize, query, world};
use crate::What;
use crate::form::with_query;

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .unwrap(),
    )
    .unwrap()
}

#[tokio::test]
async fn the_command_line_signs_in_and_gets_a_token_for_one_cluster() {
    let world = world(Setup::One);
    let back = Browser::new(&world).sign_in().await;
    assert!(back.starts_with(&format!("{LOOPBACK}?")), "{back}");
    assert_eq!(query(&back, "state").as_deref(), Some("client-state"));
    assert_eq!(query(&back, "iss").as_deref(), Some(URL));
    let seen = world.redeem(&query(&back, "code").unwrap(), VERIFIER, LOOPBACK).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    let answer = seen.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert!(answer["expires_in"].as_i64().unwrap() <= 600);
    let said = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&said["iss"], &said["aud"]), (&json!(URL), &json!("prod")));
    assert_eq!(said["gs"]["username"], "alice");
    assert_eq!(said["gs"]["groups"], json!(["dev"]));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
    assert_eq!(world.events(), vec![(What::SignedIn, None)]);
    let event = world.ledger.events.lock().unwrap()[0].clone();
    assert_eq!(event.session.unwrap().as_str(), said["sid"]);
    assert_eq!(event.peer.unwrap().ip.to_string(), "192.0.2.7");
    assert!(!seen.body.contains("refresh-0") && !seen.body.contains("provider-access-token"));
}

#[tokio::test]
async fn a_provider_that_does_not_say_when_people_signed_in_proves_no_recent_sign_in() {
    let world = world(Setup::One);
    *world.idp.claims.lock().unwrap() = json!({"auth_time": null});
    let answer = world.signed_in().await;
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["auth_time"], 0);
}

#[tokio::test]
async fn the_record_of_a_sign_in_says_by_which_means_and_in_which_context_it_was() {
    let world = world(Setup::One);
    *world.idp.claims.lock().unwrap() = json!({"amr": ["pwd", "hwk"], "acr": "phr"});
    world.signed_in().await;
    let event = world.ledger.events.lock().unwrap()[0].clone();
    assert_eq!(
        (event.what, event.amr.join(" ")),
        (What::SignedIn, "pwd hwk".to_owned())
    );
    let who = event.who.unwrap();
    assert_eq!(who.acr.as_deref(), Some("phr"));
    assert!(who.auth_time.is_some());
}

/// OIDC-13: state missing, empty, replayed, unknown, from another browser.
#[tokio::test]
async fn oidc_13_an_answer_without_its_own_state_and_browser_signs_nobody_in_and_burns_the_attempt() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let (code, state) = (world.idp.code_for(&away), query(&away, "state").unwrap());
    for target in [
        with_query("/callback", &[("code", &code)]),
        with_query("/callback", &[("code", &code), ("state", "")]),
        with_query("/callback", &[("code", &code), ("state", "unknown")]),
        format!(
            "{}&state={state}",
            with_query("/callback", &[("code", &code), ("state", &state)])
        ),
    ] {
        let seen = browser.get(&target).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{target}");
        assert!(seen.body.contains("gatescribe login"), "the page says what to do");
    }
    let mut thief = Browser::new(&world);
    thief.leave().await;
    assert_eq!(thief.come_back(&away, &code).await.status, StatusCode::BAD_REQUEST);
    // The attempt is burnt: its own browser cannot use it any more either.
    assert_eq!(browser.come_back(&away, &code).await.status, StatusCode::BAD_REQUEST);
    assert!(world.events().iter().all(|(what, _)| *what == What::SignInRefused));
    assert_eq!(
        world.idp.requests.load(Ordering::SeqCst),
        0,
        "no code was sent anywhere"
    );
}

#[tokio::test]
async fn the_same_answer_twice_signs_in_once() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let code = world.idp.code_for(&away);
    assert_eq!(browser.come_back(&away, &code).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.come_back(&away, &code).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        world.events(),
        vec![(What::SignedIn, None), (What::SignInRefused, Some("unknown_or_used"))]
    );
}

#[tokio::test]
async fn an_answer_after_ten_minutes_is_too_late() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let code = world.idp.code_for(&away);
    world.pass(Duration::from_secs(600));
    assert_eq!(browser.come_back(&away, &code).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.events(), vec![(What::SignInRefused, Some("too_late"))]);
}

/// OIDC-13, X-09, OIDC-30: what our own authorization endpoint accepts.
#[tokio::test]
async fn oidc_13_oidc_30_a_sign_in_needs_our_client_a_loopback_address_and_a_sha256_challenge() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    for changes in [
        [("client_id", "other")],
        [("redirect_uri", "https://evil.example/")],
        [("redirect_uri", "http://localhost:41000/")],
        [("redirect_uri", "http://127.0.0.1:41000/?x=y")],
        [("redirect_uri", "")],
    ] {
        let seen = browser.get(&authorize(&changes)).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{changes:?}");
        assert!(
            seen.headers.get(header::LOCATION).is_none(),
            "nobody is sent to an address that was not checked"
        );
    }
    for (changes, error) in [
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("code_challenge_method", "")], "invalid_request"),
        ([("code_challenge", "short")], "invalid_request"),
        ([("response_type", "token")], "unsupported_response_type"),
        ([("state", "")], "invalid_request"),
    ] {
        let location = browser.get(&authorize(&changes)).await.location();
        assert!(location.starts_with(LOOPBACK), "{location}");
        assert_eq!(query(&location, "error").as_deref(), Some(error), "{changes:?}");
    }
}

/// OIDC-14: the answer of another provider, with and without `iss`.
#[tokio::test]
async fn oidc_14_a_code_never_reaches_the_token_endpoint_of_another_provider() {
    for (setup, callback, iss) in [
        (Setup::Two, "/callback", Some("https://other-idp.example")),
        (Setup::Two, "/callback", None),
        (Setup::One, "/callback", Some("https://idp.example/")),
        (Setup::One, "/callback", Some("https://idp.example.evil.example")),
        (Setup::TwoSilentApart, "/callback/other", None),
        (Setup::TwoSilentApart, "/callback", None),
        (Setup::Silent, "/callback", Some("https://other-idp.example")),
    ] {
        let world = world(setup);
        let mut browser = Browser::new(&world);
        let away = browser.get(&authorize(&[("provider", "corp")])).await.location();
        assert!(away.starts_with("https://idp.example/auth?"), "{away}");
        let (code, state) = (world.idp.code_for(&away), query(&away, "state").unwrap());
        let mut pairs = vec![("code", code.as_str()), ("state", state.as_str())];
        pairs.extend(iss.map(|iss| ("iss", iss)));
        let back = browser.get(&with_query(callback, &pairs)).await.location();
        assert_eq!(
            query(&back, "error").as_deref(),
            Some("access_denied"),
            "{setup:?} {callback} {iss:?}"
        );
        for idp in [&world.idp, &world.other] {
            assert_eq!(idp.requests.load(Ordering::SeqCst), 0, "{setup:?} {callback} {iss:?}");
        }
    }
}

#[tokio::test]
async fn providers_that_could_be_mistaken_for_one_another_are_not_used() {
    let world = world(Setup::TwoSilentTogether);
    let seen = Browser::new(&world).get(&authorize(&[("provider", "corp")])).await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_silent_provider_with_its_own_address_signs_in() {
    let world = world(Setup::TwoSilentApart);
    let mut browser = Browser::new(&world);
    let away = browser.get(&authorize(&[("provider", "corp")])).await.location();
    let (code, state) = (world.idp.code_for(&away), query(&away, "state").unwrap());
    let back = browser
        .get(&with_query("/callback/corp", &[("code", &code), ("state", &state)]))
        .await
        .location();
    assert!(query(&back, "code").is_some(), "{back}");
}

#[tokio::test]
async fn with_several_providers_the_person_chooses() {
    let world = world(Setup::Two);
    let mut browser = Browser::new(&world);
    let seen = browser.get(&authorize(&[])).await;
    assert_eq!(seen.status, StatusCode::OK);
    let link = seen
        .body
        .split("href=\"")
        .nth(2)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let away = browser.get(&link).await.location();
    assert!(away.starts_with("https://other-idp.example/auth?"), "{away}");
}

/// OIDC-15: a code that belongs to another sign-in.
#[tokio::test]
async fn oidc_15_a_code_of_another_sign_in_is_refused() {
    let world = world(Setup::One);
    let (mut victim, mut attacker) = (Browser::new(&world), Browser::new(&world));
    let (victims, attackers) = (victim.leave().await, attacker.leave().await);
    let injected = world.idp.code_for(&attackers);
    let back = victim.come_back(&victims, &injected).await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(world.events(), vec![(What::SignInRefused, Some("code_refused"))]);
}

#[tokio::test]
async fn an_id_token_with_another_nonce_or_of_nobody_is_refused() {
    for (changes, code) in [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"aud": "other-client"}), "audience"),
        (json!({"iss": "https://idp.example/"}), "unknown_issuer"),
        (json!({"sub": null}), "missing_claim"),
        (json!({"groups": [1]}), "wrong_type"),
        (json!({"sub": "system:admin"}), "system_name"),
        (json!({"banned": true}), "rule_refused"),
    ] {
        let world = world(Setup::One);
        *world.idp.claims.lock().unwrap() = changes.clone();
        let back = Browser::new(&world).sign_in().await;
        assert_eq!(query(&back, "error").as_deref(), Some("access_denied"), "{changes}");
        assert_eq!(world.events(), vec![(What::SignInRefused, Some(code))], "{changes}");
    }
}

#[tokio::test]
async fn our_code_is_good_once_for_a_minute_and_only_with_its_proof() {
    for (verifier, redirect) in [
        ("another-verifier-another-verifier-another-ver", LOOPBACK),
        ("", LOOPBACK),
        (VERIFIER, "http://127.0.0.1:41001/callback"),
        (VERIFIER, "http://[::1]:41000/callback"),
        (VERIFIER, ""),
    ] {
        let world = world(Setup::One);
        let code = query(&Browser::new(&world).sign_in().await, "code").unwrap();
        let refused = world.redeem(&code, verifier, redirect).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
        );
        let burnt = world.redeem(&code, VERIFIER, LOOPBACK).await;
        assert_eq!(burnt.status, StatusCode::BAD_REQUEST, "a wrong guess uses the code up");
    }
    let world = world(Setup::One);
    let code = query(&Browser::new(&world).sign_in().await, "code").unwrap();
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.redeem(&code, VERIFIER, LOOPBACK).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_code_that_comes_twice_ends_the_session_it_led_to() {
    let world = world(Setup::One);
    let code = query(&Browser::new(&world).sign_in().await, "code").unwrap();
    let first = world.redeem(&code, VERIFIER, LOOPBACK).await.json();
    assert_eq!(
        world.redeem(&code, VERIFIER, LOOPBACK).await.status,
        StatusCode::BAD_REQUEST
    );
    let refused = world.renew(first["refresh_token"].as_str().unwrap(), None).await;
    assert_eq!(refused.json()["error"], "invalid_grant");
    assert!(world.events().contains(&(What::CodeReused, Some("codeReused"))));
}

/// OIDC-26: what the provider, or whoever forges its answer, writes.
#[tokio::test]
async fn oidc_26_text_of_an_error_answer_is_neither_shown_nor_passed_on() {
    let world = world(Setup::One);
    let evil = "<script>alert(1)</script>";
    let long = "x".repeat(5_000);
    for description in [evil, "a\r\nSet-Cookie: x=y", &long] {
        let mut browser = Browser::new(&world);
        let state = query(&browser.leave().await, "state").unwrap();
        let pairs = [
            ("error", "access_denied"),
            ("error_description", description),
            ("error_uri", evil),
            ("state", &state),
        ];
        let pairs: Vec<_> = pairs.into_iter().chain([("iss", "https://idp.example")]).collect();
        let seen = browser.get(&with_query("/callback", &pairs)).await;
        let told = format!("{:?}{}", seen.headers, seen.body);
        assert!(
            !told.contains("alert") && !told.contains("xxxx") && !told.contains("x=y"),
            "{told}"
        );
        assert!(seen.headers.get(header::SET_COOKIE).is_none());
    }
    // A browser's own sign-in ends on a page, not on an address of the command line.
    let mut browser = Browser::new(&world);
    let state = query(&browser.get("/signin").await.location(), "state").unwrap();
    let pairs = [
        ("error", evil),
        ("error_description", evil),
        ("state", &state),
        ("iss", "https://idp.example"),
    ];
    let seen = browser.get(&with_query("/callback", &pairs)).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    assert!(!seen.body.contains("<script"));
    assert_eq!(seen.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
}

/// SES-10: tabs.
#[tokio::test]
async fn ses_10_fifty_sign_ins_in_tabs_of_one_browser_all_finish_in_any_order_with_one_cookie() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let mut tabs = Vec::new();
    for _ in 0..50 {
        tabs.push(browser.leave().await);
    }
    assert_eq!(browser.cookies.len(), 1, "{:?}", browser.cookies.keys());
    tabs.reverse();
    for away in tabs {
        let code = world.idp.code_for(&away);
        let back = browser.come_back(&away, &code).await.location();
        assert!(query(&back, "code").is_some(), "{back}");
    }
    assert_eq!(world.events(), vec![(What::SignedIn, None); 50]);
}

/// SES-01: planted identifiers, and what was held before.
#[tokio::test]
async fn ses_01_a_browser_session_is_always_new_and_a_planted_or_former_one_is_dead() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let planted = "A".repeat(43);
    browser
        .cookies
        .insert("__Host-gatescribe-session".to_owned(), planted.clone());
    let sign_in = async |browser: &mut Browser<'_>| {
        let away = browser.get("/signin?return_to=/device").await.location();
        let code = world.idp.code_for(&away);
        let seen = browser.come_back(&away, &code).await;
        assert_eq!(seen.location(), format!("{URL}/device"));
        browser.cookies["__Host-gatescribe-session"].clone()
    };
    let first = sign_in(&mut browser).await;
    let second = sign_in(&mut browser).await;
    assert!(first != planted && second != first);
    let standing = |secret: &str| {
        let id = SessionId::of(&state::Secret::presented(secret));
        let now = model::time::Timestamp::from_unix_seconds(world.idp.seconds());
        world.store.session(&id, now).unwrap().map(|session| session.standing)
    };
    assert_eq!(standing(&planted), None);
    assert!(matches!(standing(&first), Some(Standing::Ended(_))));
    assert_eq!(standing(&second), Some(Standing::Live));
}

#[tokio::test]
async fn a_return_address_elsewhere_is_dropped() {
    let world = world(Setup::One);
    for evil in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/%0d%0aLocation:x\r\n",
    ] {
        let mut browser = Browser::new(&world);
        let away = browser
            .get(&with_query("/signin", &[("return_to", evil)]))
            .await
            .location();
        let code = world.idp.code_for(&away);
        let location = browser.come_back(&away, &code).await.location();
        assert_eq!(location, format!("{URL}/"), "{evil}");
    }
    for host in ["evil.example", "127.0.0.1", "evil.example/", "@evil.example", ""] {
        let mut browser = Browser::new(&world);
        let asked = with_query("/signin", &[("return_host", host), ("return_to", "/device")]);
        let away = browser.get(&asked).await.location();
        let code = world.idp.code_for(&away);
        let location = browser.come_back(&away, &code).await.location();
        // Nothing said is the gateway's own host.
        let expected = if host.is_empty() { "/device" } else { "/" };
        assert_eq!(location, format!("{URL}{expected}"), "{host}");
    }
}

/// SES-10: each tab is a sign-in of its own, whichever comes back first.
#[tokio::test]
async fn each_tab_comes_back_to_the_page_that_it_came_from() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let mut tabs = Vec::new();
    for page in ["/device", "/audit?q=a%20b&n='1'", "/@me/%C3%BCber"] {
        let asked = with_query("/signin", &[("return_to", page)]);
        tabs.push((page, browser.get(&asked).await.location()));
    }
    for (page, away) in tabs.iter().rev() {
        let code = world.idp.code_for(away);
        assert_eq!(browser.come_back(away, &code).await.location(), format!("{URL}{page}"));
        let again = browser.come_back(away, &code).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST, "{page}: an answer counts once");
    }
}

/// Promise 4: fail closed.
#[tokio::test]
async fn a_sign_in_that_cannot_be_recorded_did_not_happen() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let away = browser.leave().await;
    let code = world.idp.code_for(&away);
    *world.ledger.full.lock().unwrap() = true;
    let seen = browser.come_back(&away, &code).await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(seen.headers.get(header::LOCATION).is_none());
    let mut browser_sign_in = Browser::new(&world);
    let away = browser_sign_in.get("/signin").await.location();
    let code = world.idp.code_for(&away);
    assert_eq!(
        browser_sign_in.come_back(&away, &code).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert!(!browser_sign_in.cookies.contains_key("__Host-gatescribe-session"));
    let revoked = world.store.revocations_since(0, 10).unwrap();
    assert_eq!(
        revoked.iter().map(|end| end.why.as_str()).collect::<Vec<_>>(),
        ["notRecorded", "notRecorded"]
    );
}

#[tokio::test]
async fn a_locked_person_is_told_so_and_gets_nothing() {
    let world = world(Setup::One);
    let answer = world.signed_in().await;
    let subject = claims(answer["access_token"].as_str().unwrap())["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    let subject = model::subject::SubjectId::parse(&subject).unwrap();
    let now = model::time::Timestamp::from_unix_seconds(world.idp.seconds());
    let lock = model::lock::Lock {
        subject,
        kind: model::subject::SubjectKind::Person,
        user: "alice@example.com".to_owned(),
        email: None,
        until: model::time::Timestamp::MAX,
        why: "left the company".to_owned(),
        by: "carol@example.com".to_owned(),
        at: now,
    };
    world.store.lock(&lock).unwrap();
    let back = Browser::new(&world).sign_in().await;
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert!(query(&back, "error_description").unwrap().contains("left the company"));
    let refused = world.renew(answer["refresh_token"].as_str().unwrap(), None).await;
    assert_eq!(refused.json()["error"], "invalid_grant");
    assert!(world.events().contains(&(What::SignInRefused, Some("locked"))));
}

#[tokio::test]
async fn wishes_are_passed_on_and_a_recent_sign_in_is_then_demanded() {
    let world = world(Setup::One);
    let mut browser = Browser::new(&world);
    let wishes = [
        ("max_age", "60"),
        ("acr_values", "mfa"),
        ("prompt", "login"),
        ("login_hint", "alice"),
    ];
    let away = browser.get(&authorize(&wishes)).await.location();
    for (name, value) in wishes {
        assert_eq!(query(&away, name).as_deref(), Some(value));
    }
    *world.idp.claims.lock().unwrap() = json!({"auth_time": world.idp.seconds() - 600});
    let code = world.idp.code_for(&away);
    let back = browser.come_back(&away, &code).await.location();
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(world.events(), vec![(What::SignInRefused, Some("sign_in_too_old"))]);
}

#[tokio::test]
async fn web_06_web_10_every_answer_is_uncached_unframed_and_of_this_host_alone() {
    let world = world(Setup::One);
    for target in [
        "/",
        "/authorize",
        "/callback",
        "/device",
        "/logout",
        "/signed-out",
        "/nothing",
        "/userinfo",
    ] {
        let seen = world.send(Request::get(target), String::new()).await;
        assert_eq!(seen.headers[header::CACHE_CONTROL], "no-store", "{target}");
        assert_eq!(seen.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{target}");
        let policy = seen.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
    }
    for host in ["evil.example", "gate.example.evil.example", "gate.example:8443"] {
        let seen = world
            .send(
                Request::get("/callback?code=x&state=y").header(header::HOST, host),
                String::new(),
            )
            .await;
        assert_eq!(seen.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
}

#[tokio::test]
async fn discovery_names_every_endpoint_and_the_keys_hold_no_private_part() {
    let world = world(Setup::One);
    let document = world
        .send(Request::get("/.well-known/gatescribe"), String::new())
        .await
        .json();
    for name in [
        "authorizationEndpoint",
        "tokenEndpoint",
        "deviceAuthorizationEndpoint",
        "revocationEndpoint",
        "jwksUri",
    ] {
        assert!(document[name].as_str().unwrap().starts_with(URL), "{name}");
    }
    assert_eq!(
        document["clusters"],
        json!([{"name": "prod", "server": "https://prod.gate.example"}])
    );
    let keys = world.send(Request::get("/jwks"), String::new()).await.json();
    assert!(keys["keys"][0]["x"].is_string() && keys["keys"][0].get("d").is_none());
}

#[tokio::test]
async fn web_12_whoami_tells_the_claims_and_never_a_token_of_the_provider() {
    let world = world(Setup::One);
    let handle = world.signed_in().await["refresh_token"].as_str().unwrap().to_owned();
    let for_api = world
        .token(&[("grant_type", "refresh_token"), ("refresh_token", &handle)])
        .await
        .json();
    let ask = async |token: &str| {
        let request = Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {token}"));
        world.send(request, String::new()).await
    };
    let seen = ask(for_api["access_token"].as_str().unwrap()).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    let told = seen.json();
    assert_eq!(
        (&told["username"], &told["claims"]["sid"]),
        (&json!("alice"), &json!("provider-sid"))
    );
    let mapping = told["mapping"].as_str().unwrap();
    assert!(mapping.starts_with("user name from claim `"), "{mapping}");
    assert_eq!((&told["droppedGroups"], &told["overage"]), (&json!([]), &json!(false)));
    for secret in ["refresh-0", "provider-access-token", "eyJ"] {
        assert!(!seen.body.contains(secret), "{}", seen.body);
    }
    let next = for_api["refresh_token"].as_str().unwrap();
    let for_cluster = world.renew(next, None).await.json();
    let refused = ask(for_cluster["access_token"].as_str().unwrap()).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "a cluster's token is not good for the API"
    );
    world.pass(Duration::from_secs(600));
    assert_eq!(
        ask(for_api["access_token"].as_str().unwrap()).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_token_is_for_a_known_audience_only() {
    let world = world(Setup::One);
    let handle = world.signed_in().await["refresh_token"].as_str().unwrap().to_owned();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", handle.as_str()),
        ("audience", "staging"),
    ];
    assert_eq!(world.token(&fields).await.json()["error"], "invalid_target");
    assert_eq!(
        world.renew(&handle, None).await.status,
        StatusCode::OK,
        "the handle was not used up"
    );
}

#[tokio::test]
async fn ses_14_wrong_credentials_are_slowed_down_by_source() {
    let world = world(Setup::One);
    let mut last = StatusCode::OK;
    for _ in 0..61 {
        last = world.renew("gsh1.nonsense", None).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        *world.ledger.counted.lock().unwrap(),
        [None],
        "the one without a record"
    );
    world.pass(Duration::from_secs(2));
    assert_eq!(world.renew("gsh1.nonsense", None).await.status, StatusCode::BAD_REQUEST);
}

/// Where nothing answers, people would stand before their browser's own error page, which says nothing of a gateway.
#[tokio::test(start_paused = true)]
async fn no_browser_is_sent_to_a_provider_that_is_not_there_and_all_wait_for_one_look() {
    let world = world(Setup::One);
    let looks = || world.idp.looks.load(Ordering::SeqCst);
    let address = "/signin?return_to=%2Faudit%3Fa%3Db&prompt=login";
    world.idp.is_down.store(true, Ordering::SeqCst);
    let seen = Browser::new(&world).get(address).await;
    assert_eq!(
        (seen.status, &seen.headers[header::RETRY_AFTER]),
        (StatusCode::SERVICE_UNAVAILABLE, &http::HeaderValue::from(5))
    );
    let again = "href=\"/signin?return_to=%2Faudit%3Fa%3Db&amp;prompt=login\"";
    assert!(seen.body.contains(again), "{}", seen.body);
    world.idp.is_down.store(false, Ordering::SeqCst);
    assert_eq!(
        Browser::new(&world).get(address).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(looks(), 1);
    // Who waits as long as they are told to gets through as soon as it is back.
    tokio::time::advance(Duration::from_secs(5)).await;
    for _ in 0..3 {
        let away = Browser::new(&world).get(address).await.location();
        assert!(away.starts_with("https://idp.example/auth?"), "{away}");
    }
    assert_eq!(looks(), 2);
    tokio::time::advance(Duration::from_secs(10)).await;
    world.idp.gate.forget_permits(usize::MAX >> 3);
    let (mut one, mut other) = (Browser::new(&world), Browser::new(&world));
    let (one, other) = tokio::join!(one.get(address), other.get(address));
    assert_eq!([one.status, other.status], [StatusCode::SERVICE_UNAVAILABLE; 2]);
    assert_eq!(looks(), 3, "one that hangs is waited for once");
}
