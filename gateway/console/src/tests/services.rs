//! One sign-in for every service: from a service's host to the gateway and back, as a browser goes that keeps cookies for each host.

use std::time::Duration;

use http::{Request, StatusCode, header};
use model::cookie::Cookie;
use serde_json::json;
use state::{EndReason, Standing};

use super::surfer::{GRAFANA, Surfer, WIKI};
use super::world::{Browser, Seen, Setup, URL, query, world};
use crate::What;
use crate::form::with_query;
use crate::signin::Arrival;

fn sets_a_cookie(seen: &Seen) -> bool {
    seen.headers.contains_key(header::SET_COOKIE)
}

#[tokio::test]
async fn a_sign_in_leads_back_to_the_page_of_the_service_and_the_next_service_asks_nobody() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    let address = surfer
        .open(GRAFANA, "/d/x?orgId=1&from=now-6h")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    assert_eq!(address, "https://grafana.example/d/x?orgId=1&from=now-6h");
    assert!(surfer.is_in(GRAFANA) && !surfer.is_in(WIKI));
    assert_eq!(surfer.rounds, 1);
    let address = surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    assert_eq!(address, "https://wiki.example/");
    assert!(surfer.is_in(WIKI));
    assert_eq!(surfer.rounds, 1, "one sign-in serves every service");
    let sessions = [surfer.session(GRAFANA).unwrap().id, surfer.session(WIKI).unwrap().id];
    assert_eq!(sessions[0], sessions[1]);
    assert_eq!(world.events(), vec![(What::SignedIn, None)]);
}

/// SES-13, SES-04.
#[tokio::test]
async fn ses_13_the_cookie_of_one_service_is_worth_nothing_at_another() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let name = Cookie::Service.name(true);
    let stolen = surfer.host(GRAFANA).cookies[name].clone();
    surfer.host(WIKI).cookies.insert(name.to_owned(), stolen.clone());
    assert!(surfer.is_in(GRAFANA) && !surfer.is_in(WIKI));
    assert_ne!(stolen, surfer.gate.cookies[Cookie::Session.name(true)]);
    let session = surfer.session(GRAFANA).unwrap();
    assert!(!stolen.contains(session.id.as_str()));
}

/// SES-02: each of these names the session, so each ends it everywhere.
#[tokio::test]
async fn n_09_one_logout_ends_the_sign_in_at_every_service() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    for host in [GRAFANA, WIKI] {
        surfer
            .open(host, "/")
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
    }
    let seen = surfer.host(GRAFANA).get("/.gatescribe/signout").await;
    assert_eq!(seen.location(), format!("{URL}/logout"));
    assert!(surfer.is_in(GRAFANA), "a link signs nobody out");
    surfer.gate.post("/logout", &[("answer", "yes")], "same-origin").await;
    for host in [GRAFANA, WIKI] {
        let session = surfer.session(host).unwrap();
        assert_eq!(session.standing, Standing::Ended(EndReason::SignedOut), "{host}");
    }
    let away = surfer.code(GRAFANA, "/").await;
    assert!(away.starts_with("https://idp.example/auth?"), "{away}");
}

/// WEB-03.
#[tokio::test]
async fn web_03_only_a_page_of_the_service_takes_its_own_cookie_away() {
    let world = world(Setup::One);
    for (method, site, goes) in [
        ("GET", Some("same-origin"), true),
        ("POST", Some("same-origin"), true),
        ("GET", Some("cross-site"), false),
        ("POST", Some("same-site"), false),
        ("POST", Some("cross-site"), false),
        ("GET", None, false),
    ] {
        let request = Request::builder().method(method).uri("/.gatescribe/signout");
        let request = match site {
            Some(site) => request.header("sec-fetch-site", site),
            None => request,
        };
        let seen = world.send_at(GRAFANA, request, String::new()).await;
        assert_eq!(
            (seen.status, seen.location()),
            (StatusCode::SEE_OTHER, format!("{URL}/logout"))
        );
        assert_eq!(sets_a_cookie(&seen), goes, "{method} {site:?}");
    }
}

/// WEB-14, SES-01 (GHSA-f24x): whoever has begun a sign-in hands its end to somebody else.
#[tokio::test]
async fn n_04_an_address_of_somebody_elses_arrival_signs_nobody_in() {
    let world = world(Setup::One);
    let mut attacker = Surfer::new(&world);
    attacker
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    for holds in [false, true] {
        let address = attacker.code(GRAFANA, "/attack").await;
        assert!(
            address.starts_with("https://grafana.example/.gatescribe/arrive?code="),
            "{address}"
        );
        let mut victim = Surfer::new(&world);
        if holds {
            victim.turned_away(GRAFANA, "/own");
        }
        let seen = victim.get(&address).await;
        assert!(!victim.is_in(GRAFANA));
        // It begins anew, as this browser: with its own cookie, and as nobody yet.
        let location = seen.location();
        assert!(location.starts_with("https://gate.example/signin?"), "{location}");
        assert_eq!(query(&location, "return_host").as_deref(), Some(GRAFANA));
        let kept = victim.host(GRAFANA).cookies[Cookie::Arrival.name(true)].clone();
        let own = Arrival::of(&state::Secret::presented(&kept));
        assert_eq!(query(&location, "arrival").as_deref(), Some(own.as_str()));
        let location = victim.get(&location).await.location();
        assert!(location.starts_with("https://idp.example/auth?"), "{location}");
        // And it is used up: not even the browser that began is given a cookie for it.
        let seen = attacker.get(&address).await;
        assert_eq!(seen.location(), "https://grafana.example/attack");
        assert!(!sets_a_cookie(&seen) && !attacker.is_in(GRAFANA));
    }
    assert!(attacker.is_in(WIKI), "a second presentation ends no session");
}

#[tokio::test]
async fn web_13_a_code_is_good_for_one_cookie_for_a_minute_and_a_browser_that_asks_twice_loses_nothing() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let address = surfer.code(GRAFANA, "/d/x").await;
    let first = surfer.get(&address).await;
    assert!(sets_a_cookie(&first) && surfer.is_in(GRAFANA));
    for _ in 0..3 {
        let again = surfer.get(&address).await;
        assert_eq!(again.location(), "https://grafana.example/d/x");
        assert!(!sets_a_cookie(&again) && surfer.is_in(GRAFANA));
    }
    let late = surfer.code(GRAFANA, "/d/x").await;
    world.pass(Duration::from_secs(60));
    for address in [late.as_str(), address.as_str()] {
        let seen = surfer.get(address).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST);
        assert!(
            !sets_a_cookie(&seen) && seen.body.contains("href=\"https://grafana.example/\""),
            "{}",
            seen.body
        );
    }
    assert!(surfer.is_in(GRAFANA) && surfer.is_in(WIKI));
}

#[tokio::test]
async fn web_13_a_code_of_one_service_is_used_up_at_another_and_gives_nothing_there() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let address = surfer.code(GRAFANA, "/").await;
    // The hostile service even holds the same cookie.
    let kept = surfer.host(GRAFANA).cookies[Cookie::Arrival.name(true)].clone();
    surfer
        .host(WIKI)
        .cookies
        .insert(Cookie::Arrival.name(true).to_owned(), kept);
    let moved = address.replace(GRAFANA, WIKI);
    let seen = surfer.get(&moved).await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    assert!(!sets_a_cookie(&seen));
    assert!(!sets_a_cookie(&surfer.get(&address).await));
    for code in ["", "x", &"A".repeat(43), &"A".repeat(44), "%00"] {
        let seen = surfer
            .get(&format!("https://{WIKI}/.gatescribe/arrive?code={code}"))
            .await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{code}");
    }
    // The command line's code is none of a browser's, nor the other way round.
    let cli = query(&Browser::new(&world).sign_in().await, "code").unwrap();
    let seen = surfer
        .get(&format!("https://{WIKI}/.gatescribe/arrive?code={cli}"))
        .await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        world
            .redeem(&cli, super::world::VERIFIER, super::world::LOOPBACK)
            .await
            .status,
        StatusCode::OK
    );
    let address = surfer.code(GRAFANA, "/").await;
    let code = query(&address, "code").unwrap();
    let seen = world
        .redeem(&code, super::world::VERIFIER, super::world::LOOPBACK)
        .await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST);
    assert!(sets_a_cookie(&surfer.get(&address).await), "and was not used up there");
}

/// SES-10: both were sent away before either answer's cookie was kept, so that the later cookie is the one that stays.
#[tokio::test]
async fn ses_10_two_tabs_that_leave_at_the_same_time_both_arrive() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let one = surfer.turned_away(GRAFANA, "/one");
    surfer.host(GRAFANA).cookies.clear();
    let two = surfer.turned_away(GRAFANA, "/two");
    for (address, end) in [(one, "one"), (two, "two")] {
        let arrived = surfer
            .follow(address)
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
        assert_eq!(arrived, format!("https://grafana.example/{end}"));
        assert!(surfer.is_in(GRAFANA));
    }
}

#[tokio::test]
async fn nobody_is_led_in_circles() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    // Somebody changes the cookie each time.
    let name = Cookie::Arrival.name(true).to_owned();
    let mut address = surfer.turned_away(GRAFANA, "/");
    let mut hops = 0;
    let last = loop {
        let fresh = state::Secret::random().unwrap().reveal().to_owned();
        surfer.host(GRAFANA).cookies.insert(name.clone(), fresh);
        let seen = surfer.get(&address).await;
        if seen.status != StatusCode::SEE_OTHER {
            break seen;
        }
        address = seen.location();
        hops += 1;
        assert!(hops < 10);
    };
    assert_eq!(last.status, StatusCode::BAD_REQUEST);
    assert!(last.body.contains("begun elsewhere"), "{}", last.body);
    assert!(!surfer.is_in(GRAFANA));
}

#[tokio::test]
async fn who_does_not_say_which_browser_left_is_led_home() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    for arrival in ["", "x", &"A".repeat(42), &"=".repeat(43), &"B".repeat(43)] {
        let pairs = [("return_host", GRAFANA), ("return_to", "/d"), ("arrival", arrival)];
        let away = surfer.gate.get(&with_query("/signin", &pairs)).await.location();
        let code = world.idp.code_for(&away);
        let back = surfer.gate.come_back(&away, &code).await;
        assert_eq!(back.location(), format!("{URL}/"), "{arrival}");
    }
}

#[tokio::test]
async fn a_service_that_is_withdrawn_is_led_to_by_nobody() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let address = surfer.code(GRAFANA, "/").await;
    let away = surfer.turned_away(GRAFANA, "/");
    world.published.lock().unwrap().retain(|host| *host != GRAFANA);
    let seen = surfer.get(&address).await;
    assert_eq!(seen.status, StatusCode::MISDIRECTED_REQUEST);
    let away = surfer.gate.get(&away).await.location();
    assert!(away.starts_with("https://idp.example/auth?"), "{away}");
    let code = world.idp.code_for(&away);
    assert_eq!(surfer.gate.come_back(&away, &code).await.location(), format!("{URL}/"));
}

#[tokio::test]
async fn a_sign_in_that_was_asked_to_be_stricter_goes_to_the_provider() {
    let world = world(Setup::One);
    *world.idp.claims.lock().unwrap() = json!({"acr": "phr"});
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    world.pass(Duration::from_secs(60));
    for (name, value, goes) in [
        ("prompt", "login", true),
        ("max_age", "30", true),
        ("max_age", "600", false),
        ("acr_values", "phrh", true),
        ("acr_values", "phr", false),
        ("acr_values", "phrh%20phr", true),
        ("provider", "corp", true),
    ] {
        let away = surfer.turned_away(GRAFANA, "/");
        let address = surfer.gate.get(&format!("{away}&{name}={value}")).await.location();
        assert_eq!(
            address.starts_with("https://idp.example/auth?"),
            goes,
            "{name}={value}: {address}"
        );
    }
}

/// SES-01: whoever signs in once more has a new session, and the one before is over, with all of its cookies.
#[tokio::test]
async fn ses_01_a_stricter_sign_in_takes_the_place_of_the_one_before_at_every_service() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    for host in [GRAFANA, WIKI] {
        surfer
            .open(host, "/")
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
    }
    let before = surfer.session(GRAFANA).unwrap();
    world.pass(Duration::from_secs(1));
    *world.idp.claims.lock().unwrap() = json!({"acr": "phr"});
    let away = format!("{}&acr_values=phr&prompt=login", surfer.turned_away(GRAFANA, "/admin"));
    let arrived = surfer.follow(away).await.unwrap_or_else(|seen| panic!("{}", seen.body));
    assert_eq!(arrived, "https://grafana.example/admin");
    let after = surfer.session(GRAFANA).unwrap();
    assert_ne!(after.id, before.id);
    assert_eq!((after.standing, after.acr.as_deref()), (Standing::Live, Some("phr")));
    assert_eq!(
        surfer.session(WIKI).unwrap().standing,
        Standing::Ended(EndReason::Replaced)
    );
    let rounds = surfer.rounds;
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    assert_eq!((surfer.session(WIKI).unwrap().id, surfer.rounds), (after.id, rounds));
}

/// Promise 8: each makes a row.
#[tokio::test]
async fn who_goes_on_too_often_waits() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let away = surfer.turned_away(GRAFANA, "/");
    let mut seen = surfer.gate.get(&away).await;
    for _ in 0..120 {
        if seen.status != StatusCode::SEE_OTHER {
            break;
        }
        seen = surfer.gate.get(&away).await;
    }
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn what_is_no_path_of_ours_is_not_there() {
    let world = world(Setup::One);
    for (method, path, status) in [
        ("GET", "/.gatescribe/", StatusCode::NOT_FOUND),
        ("GET", "/.gatescribe/arrive/x", StatusCode::NOT_FOUND),
        ("HEAD", "/.gatescribe/arrive?code=x", StatusCode::NOT_FOUND),
        ("POST", "/.gatescribe/arrive", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/signin", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder().method(method).uri(path);
        let seen = world.send_at(GRAFANA, request, String::new()).await;
        assert_eq!(seen.status, status, "{method} {path}");
        assert_eq!(seen.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(seen.headers[header::X_FRAME_OPTIONS], "DENY");
    }
    let unknown = world
        .send_at("elsewhere.example", Request::get("/.gatescribe/signout"), String::new())
        .await;
    assert_eq!(unknown.status, StatusCode::MISDIRECTED_REQUEST);
}

/// N-12: a browser renews nothing by itself.
#[tokio::test]
async fn n_12_the_provider_is_asked_before_an_old_word_of_it_is_used() {
    use super::world::Renewal;
    use crate::Word;
    let patience = Duration::from_secs(1);
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let session = surfer.session(GRAFANA).unwrap();
    assert_eq!(world.renewals.before_use(&session, patience).await, Word::Fresh);
    world.pass(Duration::from_secs(300));
    *world.idp.renewed_claims.lock().unwrap() = json!({"groups": ["ops"]});
    assert_eq!(world.renewals.before_use(&session, patience).await, Word::AskedFor);
    let session = surfer.session(GRAFANA).unwrap();
    assert_eq!(session.identity.groups, ["ops"]);
    // Down: its last word counts for an hour.
    *world.idp.renewal.lock().unwrap() = Renewal::NoAnswer;
    world.pass(Duration::from_secs(3_599));
    assert_eq!(world.renewals.before_use(&session, patience).await, Word::AskedFor);
    assert!(surfer.is_in(GRAFANA));
    world.pass(Duration::from_secs(1));
    assert!(matches!(
        world.renewals.before_use(&session, patience).await,
        Word::Silent(_)
    ));
    *world.idp.renewal.lock().unwrap() = Renewal::InvalidGrant;
    assert_eq!(world.renewals.before_use(&session, patience).await, Word::AskedFor);
    let ended = surfer.session(GRAFANA).unwrap();
    assert_eq!(ended.standing, Standing::Ended(EndReason::ProviderRefused));
    assert_eq!(world.renewals.before_use(&ended, patience).await, Word::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_keeps_nobody_waiting_longer_than_they_would() {
    use crate::Word;
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let session = surfer.session(GRAFANA).unwrap();
    world.idp.gate.forget_permits(usize::MAX >> 3);
    let before = world.idp.requests.load(std::sync::atomic::Ordering::SeqCst);
    for (passed, silent) in [(300, false), (3_300, true)] {
        world.pass(Duration::from_secs(passed));
        for _ in 0..20 {
            let word = world.renewals.before_use(&session, Duration::from_secs(1)).await;
            assert_eq!(matches!(word, Word::Silent(_)), silent, "{word:?}");
        }
    }
    let asked = world.idp.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(asked, before + 1, "nobody queues up behind the first");
}

/// A page asks for many things at once. After hours the first of them asks the provider, and what it says counts for all.
#[tokio::test]
async fn who_waits_behind_somebody_who_asks_the_provider_is_let_in_by_what_it_says() {
    use crate::Word;
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let session = surfer.session(GRAFANA).unwrap();
    world.pass(Duration::from_secs(2 * 3_600));
    let requests = || world.idp.requests.load(std::sync::atomic::Ordering::SeqCst);
    let (before, held) = (requests(), world.idp.gate.forget_permits(usize::MAX >> 3));
    let patience = Duration::from_secs(60);
    let mut first = std::pin::pin!(world.renewals.before_use(&session, patience));
    while requests() == before {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut second = std::pin::pin!(world.renewals.before_use(&session, patience));
    assert!(futures::poll!(&mut second).is_pending());
    world.idp.gate.add_permits(held);
    assert_eq!(tokio::join!(first, second), (Word::AskedFor, Word::AskedFor));
    assert_eq!(requests(), before + 1);
}

/// The provider does not do what was asked of it, and what was asked for would ask again.
#[tokio::test]
async fn who_signs_in_by_another_kind_than_is_asked_for_is_told_so_and_not_led_in_circles() {
    let world = world(Setup::One);
    for (acr, found) in [
        (
            json!({"acr": "<b>pwd</b>"}),
            "that it was by <code>&lt;b&gt;pwd&lt;/b&gt;</code>",
        ),
        (json!({}), "does not say by which kind"),
    ] {
        *world.idp.claims.lock().unwrap() = acr;
        let mut surfer = Surfer::new(&world);
        let away = format!(
            "{}&acr_values=phr%20phrh&prompt=login",
            surfer.turned_away(GRAFANA, "/admin")
        );
        let seen = surfer.follow(away).await.unwrap_err();
        assert_eq!(seen.status, StatusCode::FORBIDDEN);
        assert!(
            seen.body.contains("<code>phr</code>, <code>phrh</code>") && seen.body.contains(found),
            "{}",
            seen.body
        );
        assert!(
            seen.body.contains("href=\"https://grafana.example/admin\""),
            "{}",
            seen.body
        );
        assert!(!surfer.is_in(GRAFANA));
        // It is a sign-in all the same, as any other one.
        surfer
            .open(WIKI, "/")
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
        assert_eq!(surfer.rounds, 1);
    }
}

/// SES-10: as a browser does that opens the tabs of yesterday.
#[tokio::test]
async fn ses_10_tabs_that_a_browser_opens_all_at_once_all_arrive_and_keep_one_session() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    let mut away = Vec::new();
    for (host, target) in [(GRAFANA, "/a"), (GRAFANA, "/b"), (WIKI, "/c")] {
        let address = surfer.turned_away(host, target);
        // None of them has the cookie of the others' answers yet.
        surfer.gate.cookies.clear();
        away.push((surfer.gate.get(&address).await.location(), host, target));
    }
    world.pass(Duration::from_secs(20));
    for (address, host, target) in away {
        let arrived = surfer
            .follow(address)
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
        assert_eq!(arrived, format!("https://{host}{target}"));
        world.pass(Duration::from_secs(1));
    }
    let sessions = [GRAFANA, WIKI].map(|host| surfer.session(host).unwrap());
    assert_eq!(
        sessions[0].id, sessions[1].id,
        "a later tab ends nothing of an earlier one"
    );
    assert!(sessions.iter().all(|session| session.standing == Standing::Live));
    let signed_in = world
        .events()
        .iter()
        .filter(|(what, _)| *what == What::SignedIn)
        .count();
    assert_eq!(signed_in, 1);
}

#[tokio::test]
async fn a_tab_that_comes_later_with_somebody_else_or_something_stricter_has_a_session_of_its_own() {
    let world = world(Setup::One);
    for (claims, wish, same) in [
        (json!({}), "", true),
        (json!({"sub": "bob"}), "", false),
        (json!({"groups": ["ops"]}), "", false),
        (json!({}), "&prompt=login", false),
        (json!({}), "&max_age=600", false),
    ] {
        *world.idp.claims.lock().unwrap() = json!({});
        let mut surfer = Surfer::new(&world);
        let address = format!("{}{wish}", surfer.turned_away(WIKI, "/"));
        let late = surfer.gate.get(&address).await.location();
        world.pass(Duration::from_secs(1));
        surfer
            .open(GRAFANA, "/")
            .await
            .unwrap_or_else(|seen| panic!("{}", seen.body));
        *world.idp.claims.lock().unwrap() = claims.clone();
        surfer.follow(late).await.unwrap_or_else(|seen| panic!("{}", seen.body));
        let ids = [GRAFANA, WIKI].map(|host| surfer.session(host).unwrap().id);
        assert_eq!(ids[0] == ids[1], same, "{claims} {wish}");
        assert_eq!(surfer.is_in(GRAFANA), same, "{claims} {wish}");
    }
}

/// What came in somebody else's browser is begun anew there, once, and signs nobody in by itself.
#[tokio::test]
async fn n_04_a_sign_in_that_another_browser_began_is_begun_anew_as_this_browser() {
    let world = world(Setup::One);
    let mut attacker = Surfer::new(&world);
    let away = attacker.turned_away(GRAFANA, "/attack");
    let away = attacker.gate.get(&away).await.location();
    let code = world.idp.code_for(&away);
    let mut victim = Surfer::new(&world);
    let seen = victim.gate.come_back(&away, &code).await;
    assert_eq!(seen.status, StatusCode::BAD_REQUEST, "it holds no cookie at all");
    let away = attacker.turned_away(GRAFANA, "/attack");
    let away = attacker.gate.get(&format!("{away}&prompt=login")).await.location();
    let code = world.idp.code_for(&away);
    victim.gate.get("/signin").await;
    let seen = victim.gate.come_back(&away, &code).await;
    let anew = seen.location();
    assert!(
        anew.starts_with("https://gate.example/signin?return_to=%2Fattack&again=1&"),
        "{anew}"
    );
    assert_eq!(query(&anew, "prompt").as_deref(), Some("login"));
    assert!(!victim.gate.cookies.contains_key(Cookie::Session.name(true)));
    // A second time there is the page.
    let away = victim.gate.get(&anew).await.location();
    let code = world.idp.code_for(&away);
    victim
        .gate
        .cookies
        .insert(Cookie::Browser.name(true).to_owned(), "A".repeat(43));
    assert_eq!(
        victim.gate.come_back(&away, &code).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn without_a_provider_a_new_sign_in_gets_a_page_and_who_is_signed_in_goes_on() {
    let world = world(Setup::One);
    let mut known = Surfer::new(&world);
    known
        .open(GRAFANA, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    // It has sent the browser back, and does not answer the gateway any more.
    let mut stranger = Surfer::new(&world);
    let away = stranger.turned_away(GRAFANA, "/d/x");
    let away = stranger.gate.get(&away).await.location();
    let elsewhere = stranger.gate.get("/signin?return_to=/audit").await.location();
    world.idp.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
    let code = world.idp.code_for(&away);
    let seen = stranger.gate.come_back(&away, &code).await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.headers[header::RETRY_AFTER], "5");
    assert!(seen.body.contains("Nobody can sign in right now"), "{}", seen.body);
    assert!(
        seen.body.contains("href=\"https://grafana.example/d/x\""),
        "{}",
        seen.body
    );
    let code = world.idp.code_for(&elsewhere);
    let seen = stranger.gate.come_back(&elsewhere, &code).await;
    assert!(
        seen.body
            .contains("href=\"https://gate.example/signin?return_to=%2Faudit\""),
        "{}",
        seen.body
    );
    world.providers.lock().unwrap().clear();
    let away = stranger.turned_away(GRAFANA, "/d/x");
    let seen = stranger.gate.get(&away).await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    let again = away.replace('&', "&amp;");
    assert!(
        seen.body.contains(&format!("href=\"{again}\"")),
        "{again} {}",
        seen.body
    );
    world.pass(Duration::from_secs(600));
    known
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    assert!(known.is_in(WIKI) && known.is_in(GRAFANA));
}

#[tokio::test]
async fn who_keeps_no_cookies_is_told_so_and_not_led_in_circles() {
    let world = world(Setup::One);
    let mut surfer = Surfer::new(&world);
    surfer
        .open(WIKI, "/")
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    let mut address = surfer.code(GRAFANA, "/").await;
    let mut hops = 0;
    let last = loop {
        surfer.host(GRAFANA).cookies.clear();
        let seen = surfer.get(&address).await;
        if seen.status != StatusCode::SEE_OTHER {
            break seen;
        }
        address = seen.location();
        hops += 1;
        assert!(hops < 10);
    };
    assert_eq!(last.status, StatusCode::BAD_REQUEST);
    assert!(
        last.body.contains("keeps no cookies for grafana.example"),
        "{}",
        last.body
    );
    assert!(world.events().contains(&(What::SignInRefused, Some("no_cookie"))));
    assert!(!surfer.is_in(GRAFANA));
    // One whose cookie was over when it came back is let in.
    let address = surfer.code(GRAFANA, "/late").await;
    surfer.host(GRAFANA).cookies.clear();
    let arrived = surfer
        .follow(address)
        .await
        .unwrap_or_else(|seen| panic!("{}", seen.body));
    assert_eq!(arrived, "https://grafana.example/late");
    assert!(surfer.is_in(GRAFANA));
}

#[tokio::test]
async fn who_was_to_sign_in_anew_and_was_not_asked_is_told_so_and_not_led_in_circles() {
    let world = world(Setup::One);
    let now = world.at().unix_seconds();
    for (claims, wish, goes_on) in [
        (json!({}), "&prompt=login", true),
        (json!({"auth_time": now - 600}), "&prompt=login", false),
        (json!({"auth_time": null}), "&prompt=login", false),
        (
            json!({"auth_time": null, "acr": "phr"}),
            "&prompt=login&acr_values=phr",
            true,
        ),
        (
            json!({"auth_time": now - 600, "acr": "phr"}),
            "&prompt=login&acr_values=phr",
            false,
        ),
        (json!({"auth_time": now - 600}), "", true),
    ] {
        *world.idp.claims.lock().unwrap() = claims.clone();
        let mut surfer = Surfer::new(&world);
        let away = format!("{}{wish}", surfer.turned_away(GRAFANA, "/admin"));
        match surfer.follow(away).await {
            Ok(_) => assert!(goes_on, "{claims} {wish}"),
            Err(seen) => {
                assert!(
                    !goes_on && seen.body.contains("no fresh sign-in"),
                    "{claims} {wish}: {}",
                    seen.body
                );
                assert_eq!(seen.status, StatusCode::FORBIDDEN);
            }
        }
    }
}
