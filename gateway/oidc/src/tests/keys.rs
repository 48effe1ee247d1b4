//! Key sets, discovery documents, and when keys are fetched.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::*;
use crate::encoding::encode;
use crate::keys::{Fetched, KeyAlarm, KeySetError, UnknownKey};
use crate::{Answer, Discovery, DiscoveryError, KeySet, KeyState};

fn parse(keys: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn later(seconds: u64) -> Timestamp {
    now().plus(Duration::from_secs(seconds))
}

/// Hands an answer to `then`.
fn answered<T>(status: u16, max_age: Option<&str>, body: &str, then: impl FnOnce(&Answer<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    if let Some(control) = max_age {
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_str(control).unwrap());
    }
    then(&Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        body: body.as_bytes(),
    })
}

fn set_of(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn ready(keys: &[Value]) -> KeyState {
    let mut state = KeyState::new();
    assert!(state.due(now()));
    answered(200, None, &set_of(keys), |answer| state.fetched(Some(answer), now()));
    state
}

#[test]
fn oidc_06_weak_keys_are_skipped_with_an_alarm_and_the_others_kept() {
    let short = with(rsa_jwk("short"), "n", json!(encode(&[0xc1; 64])));
    let thousand = with(rsa_jwk("1024"), "n", json!(encode(&[0xc1; 128])));
    let huge = with(rsa_jwk("huge"), "n", json!(encode(&[0xc1; 1025])));
    let set = parse(&json!([short, thousand, huge, rsa_jwk("good")])).unwrap();
    assert_eq!(set.len(), 1);
    assert_eq!(
        set.alarms(),
        [
            KeyAlarm::WeakRsa { bits: 512 },
            KeyAlarm::WeakRsa { bits: 1024 },
            KeyAlarm::WeakRsa { bits: 8200 }
        ]
    );
    for exponent in [&[1_u8][..], &[2], &[0, 1], &[1, 0, 0, 0, 1]] {
        let key = with(rsa_jwk("e"), "e", json!(encode(exponent)));
        assert_eq!(
            parse(&json!([key, rsa_jwk("good")])).unwrap().alarms(),
            [KeyAlarm::Exponent]
        );
    }
    let off_curve = with(ec_jwk(&EC, "P-256", "off"), "y", json!(encode(&[7; 32])));
    let wrong_curve = with(ec_jwk(&EC, "P-384", "wrong"), "kid", json!("w"));
    let zero = with(
        with(ec_jwk(&EC, "P-256", "zero"), "x", json!(encode(&[0; 32]))),
        "y",
        json!(encode(&[0; 32])),
    );
    let set = parse(&json!([off_curve, wrong_curve, zero, rsa_jwk("good")])).unwrap();
    assert_eq!(set.alarms(), [KeyAlarm::Point, KeyAlarm::Malformed, KeyAlarm::Point]);
}

#[test]
fn oidc_06_ed25519_keys_of_small_order_are_skipped() {
    let mut one = [0; 32];
    one[0] = 1;
    let mut negative = one;
    negative[31] = 0x80;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    for x in [[0; 32], one, negative, minus_one] {
        let key = with(ed_jwk("small"), "x", json!(encode(&x)));
        assert_eq!(
            parse(&json!([key, ed_jwk("good")])).unwrap().alarms(),
            [KeyAlarm::Point]
        );
    }
}

#[test]
fn o_04_private_material_refuses_the_whole_set() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let key = with(rsa_jwk("leaked"), member, json!("AQAB"));
        assert_eq!(
            parse(&json!([rsa_jwk("good"), key])).unwrap_err(),
            KeySetError::PrivateKey
        );
    }
    let set = parse(&json!([{"kty": "oct", "kid": "s", "k": "AAAA"}, rsa_jwk("good")])).unwrap();
    assert_eq!((set.len(), set.alarms()), (1, &[KeyAlarm::Symmetric][..]));
}

#[test]
fn oidc_22_hostile_key_sets_are_refused() {
    assert_eq!(
        KeySet::parse(&vec![b' '; (1 << 20) + 1]).unwrap_err(),
        KeySetError::TooLarge
    );
    assert_eq!(
        parse(&json!(vec![json!({"kty": "EC"}); 101])).unwrap_err(),
        KeySetError::TooManyKeys
    );
    for body in [
        "<html></html>",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(
            KeySet::parse(body.as_bytes()).unwrap_err(),
            KeySetError::Malformed,
            "{body}"
        );
    }
    assert_eq!(parse(&json!([])).unwrap_err(), KeySetError::NoUsableKey);
    for status in [204, 301, 302, 307, 404, 500] {
        let error = answered(status, None, &set_of(&[rsa_jwk("a")]), |answer| {
            KeySet::from_answer(answer).unwrap_err()
        });
        assert_eq!(error, KeySetError::Status(status));
    }
}

#[test]
fn oidc_22_keys_for_other_uses_are_not_for_signatures() {
    let others = [
        with(rsa_jwk("enc"), "use", json!("enc")),
        with(rsa_jwk("use"), "use", json!(7)),
        with(rsa_jwk("ops"), "key_ops", json!(["encrypt"])),
        with(rsa_jwk("alg"), "alg", json!("RSA-OAEP")),
        json!({"kty": "OKP", "crv": "X25519", "x": encode(&[9; 32])}),
        json!({"kty": "EC", "crv": "secp256k1", "x": encode(&[9; 32]), "y": encode(&[9; 32])}),
        json!({"kty": "LMS"}),
    ];
    assert_eq!(parse(&json!(others)).unwrap_err(), KeySetError::NoUsableKey);
    let fine = with(rsa_jwk("ops"), "key_ops", json!(["verify"]));
    assert_eq!(parse(&json!([fine])).unwrap().len(), 1);
    let mismatched = with(ec_jwk(&EC, "P-256", "x"), "alg", json!("RS256"));
    assert_eq!(
        parse(&json!([mismatched, rsa_jwk("a")])).unwrap().alarms(),
        [KeyAlarm::Malformed]
    );
}

#[test]
fn oidc_05_a_name_that_stands_for_two_keys_uses_the_first_and_tells() {
    let other = with(rsa_jwk("same"), "e", json!(encode(&[3])));
    let set = parse(&json!([rsa_jwk("same"), other])).unwrap();
    assert_eq!((set.len(), set.alarms()), (1, &[KeyAlarm::DuplicateName][..]));
    let twice = parse(&json!([rsa_jwk("same"), rsa_jwk("same")])).unwrap();
    assert_eq!((twice.len(), twice.alarms().len()), (1, 0));
    let kinds = parse(&json!([rsa_jwk("same"), ec_jwk(&EC, "P-256", "same")])).unwrap();
    assert_eq!(
        (kinds.len(), kinds.alarms().len()),
        (2, 0),
        "the algorithm tells them apart"
    );
}

#[test]
fn o_13_a_new_key_is_fetched_by_the_first_token_that_names_it_and_the_others_wait() {
    let mut state = ready(&[rsa_jwk("old")]);
    assert_eq!(state.on_unknown_kid("new", later(31)), UnknownKey::Fetch);
    for _ in 0..50 {
        assert_eq!(state.on_unknown_kid("new", later(31)), UnknownKey::Wait);
    }
    let keys = [rsa_jwk("old"), ec_jwk(&EC, "P-256", "new")];
    let changed = answered(200, None, &set_of(&keys), |answer| {
        state.fetched(Some(answer), later(32))
    });
    assert_eq!(
        changed,
        Fetched::Changed {
            removed: vec![],
            reused_names: vec![]
        }
    );
    assert_eq!((state.keys().unwrap().len(), state.generation()), (2, 2));
}

#[test]
fn o_14_oidc_20_ten_thousand_invented_names_cost_one_fetch_per_cool_down() {
    let mut state = ready(&[rsa_jwk("good")]);
    let mut fetches = Vec::new();
    for token in 0..10_000_u64 {
        let at = now().plus(Duration::from_millis(31_000 + token * 9));
        if state.on_unknown_kid(&format!("kid-{token}"), at) == UnknownKey::Fetch {
            fetches.push(at);
            // In turn: an empty set, an error, no answer at all, the true set.
            match fetches.len() % 4 {
                1 => answered(200, None, r#"{"keys":[]}"#, |answer| state.fetched(Some(answer), at)),
                2 => answered(500, None, "", |answer| state.fetched(Some(answer), at)),
                3 => state.fetched(None, at),
                _ => answered(200, None, &set_of(&[rsa_jwk("good")]), |answer| {
                    state.fetched(Some(answer), at)
                }),
            };
        }
        assert_eq!(state.keys().unwrap().len(), 1, "known keys are kept");
    }
    assert_eq!(fetches.len(), 3, "90 seconds hold three cool-downs");
    assert!(
        fetches
            .windows(2)
            .all(|pair| pair[1].since(pair[0]) >= Duration::from_secs(30))
    );
    assert_eq!(state.generation(), 1);
}

#[test]
fn o_14_a_name_that_was_not_there_is_refused_at_once_for_a_while() {
    let mut state = ready(&[rsa_jwk("good")]);
    assert_eq!(state.on_unknown_kid("x", later(31)), UnknownKey::Fetch);
    answered(200, None, &set_of(&[rsa_jwk("good")]), |answer| {
        state.fetched(Some(answer), later(31))
    });
    assert_eq!(state.on_unknown_kid("x", later(60)), UnknownKey::Negative);
    assert_eq!(state.on_unknown_kid("x", later(62)), UnknownKey::Fetch);
}

#[test]
fn o_14_a_failed_fetch_starts_the_cool_down_as_well() {
    let mut state = ready(&[rsa_jwk("good")]);
    assert_eq!(state.on_unknown_kid("x", later(31)), UnknownKey::Fetch);
    assert_eq!(
        state.fetched(None, later(32)),
        Fetched::Failed(KeySetError::Unreachable)
    );
    assert_eq!(state.on_unknown_kid("y", later(33)), UnknownKey::Negative);
    assert!(!state.due(later(33)));
    assert_eq!(state.failures(), 1);
}

#[test]
fn a_fetch_that_never_reports_does_not_stop_fetching_for_ever() {
    let mut state = ready(&[rsa_jwk("good")]);
    assert_eq!(state.on_unknown_kid("x", later(31)), UnknownKey::Fetch);
    assert_eq!(state.on_unknown_kid("y", later(50)), UnknownKey::Wait);
    assert_eq!(state.on_unknown_kid("y", later(52)), UnknownKey::Negative);
    assert!(state.due(later(61)));
}

#[test]
fn o_12_the_set_is_refreshed_at_the_answers_age_and_hourly_at_the_latest() {
    for (control, seconds) in [
        (Some("max-age=600"), 600),
        (Some("public, max-age=600, must-revalidate"), 600),
        (Some("max-age=1"), 30),
        (Some("max-age=999999"), 3600),
        (Some("no-cache"), 3600),
        (None, 3600),
        (Some("max-age=-1"), 3600),
    ] {
        let mut state = KeyState::new();
        assert!(state.due(now()));
        assert!(!state.due(now()), "once per fetch");
        answered(200, control, &set_of(&[rsa_jwk("a")]), |answer| {
            state.fetched(Some(answer), now())
        });
        assert!(!state.due(later(seconds - 1)), "{control:?}");
        assert!(state.due(later(seconds)), "{control:?}");
    }
}

/// Within the cool-down, too: it holds against tokens, not against whoever runs the gateway.
#[test]
fn o_15_an_operator_who_wants_the_keys_gets_them_as_they_are_then() {
    let mut state = ready(&[rsa_jwk("a")]);
    assert!(!state.due(later(1)));
    state.want(later(1));
    assert!(state.due(later(1)), "at once");
    assert!(!state.due(later(1)), "once");
    // While it is under way somebody wants them again: what it brings may be what was there before.
    state.want(later(2));
    assert!(!state.due(later(2)));
    answered(200, None, &set_of(&[rsa_jwk("a")]), |answer| {
        state.fetched(Some(answer), later(3))
    });
    assert!(state.due(later(3)), "behind it");
    answered(200, None, &set_of(&[rsa_jwk("b")]), |answer| {
        state.fetched(Some(answer), later(4))
    });
    assert!(!state.due(later(5)));
    assert_eq!(
        state.on_unknown_kid("x", later(5)),
        UnknownKey::Negative,
        "it counts as any other"
    );
}

#[test]
fn o_02_a_provider_that_is_down_is_asked_again_at_growing_intervals() {
    let mut state = KeyState::new();
    let (mut at, mut gaps) = (now(), Vec::new());
    for _ in 0..6 {
        assert!(state.due(at));
        state.fetched(None, at);
        let next = state.next_refresh();
        gaps.push(next.since(at).as_secs());
        assert!(!state.due(next.minus(Duration::from_secs(1))));
        at = next;
    }
    assert_eq!(gaps, [30, 60, 120, 240, 300, 300]);
    assert!(state.keys().is_none() && state.last_success().is_none());
}

#[test]
fn o_15_oidc_21_a_withdrawn_key_goes_and_a_reused_name_is_told() {
    let mut state = ready(&[rsa_jwk("a"), ec_jwk(&EC, "P-256", "b")]);
    assert_eq!(state.generation(), 1);
    let before = state.keys().unwrap().keys()[1].thumbprint;
    let changed = answered(200, None, &set_of(&[rsa_jwk("a")]), |answer| {
        state.fetched(Some(answer), later(60))
    });
    assert_eq!(
        changed,
        Fetched::Changed {
            removed: vec![before],
            reused_names: vec![]
        }
    );
    let before = Arc::clone(state.keys().unwrap());
    let same = answered(200, None, &set_of(&[rsa_jwk("a")]), |answer| {
        state.fetched(Some(answer), later(120))
    });
    assert_eq!((same, state.generation()), (Fetched::Unchanged, 2));
    assert!(
        Arc::ptr_eq(&before, state.keys().unwrap()),
        "nobody has to forget anything"
    );
    let replaced = with(rsa_jwk("a"), "e", json!(encode(&[3])));
    let changed = answered(200, None, &set_of(&[replaced]), |answer| {
        state.fetched(Some(answer), later(180))
    });
    assert!(matches!(changed, Fetched::Changed { reused_names, .. } if reused_names == ["a"]));
}

#[test]
fn clk_01_a_clock_set_back_does_not_stop_fetching() {
    let mut state = ready(&[rsa_jwk("a")]);
    let back = now().minus(Duration::from_secs(7200));
    assert_eq!(state.on_unknown_kid("x", back), UnknownKey::Negative);
    assert_eq!(
        state.on_unknown_kid("x", back.plus(Duration::from_secs(31))),
        UnknownKey::Fetch
    );
    assert!(state.next_refresh() <= back.plus(Duration::from_secs(3700)));
}

fn discovery(changes: Value) -> Value {
    let mut document = json!({
        "issuer": ISSUER, "jwks_uri": "https://idp.corp.example/jwks", "authorization_endpoint": "https://idp.corp.example/auth",
        "token_endpoint": "https://idp.corp.example/token", "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true, "end_session_endpoint": "https://idp.corp.example/end?x=1",
        "revocation_endpoint": "https://idp.corp.example/revoke",
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn discover(document: &str) -> Result<Discovery, DiscoveryError> {
    answered(200, None, document, |answer| {
        Discovery::read(&issuer(json!({})), answer)
    })
}

#[test]
fn o_01_the_discovery_document_is_the_issuers_own_byte_for_byte() {
    let issuer = issuer(json!({}));
    let request = Discovery::request(&issuer);
    assert_eq!(
        request.uri(),
        "https://idp.corp.example/.well-known/openid-configuration"
    );
    let found = discover(&discovery(json!({})).to_string()).unwrap();
    assert_eq!(found.keys_request().uri(), "https://idp.corp.example/jwks");
    assert!(found.answers_with_issuer);
    for other in [
        "https://idp.corp.example/",
        "https://evil.example",
        "",
        "https://IDP.corp.example",
    ] {
        let error = discover(&discovery(json!({"issuer": other})).to_string()).unwrap_err();
        assert!(matches!(error, DiscoveryError::Issuer { .. }), "{other}");
    }
}

#[test]
fn oidc_23_endpoints_must_be_https_or_loopback_and_redirects_are_not_followed() {
    for uri in [
        "http://idp.corp.example/jwks",
        "ftp://x/",
        "/jwks",
        "https://u:p@idp.corp.example/",
        "https://idp.corp.example/#a",
        "file:///etc/passwd",
        "https:///x",
        "http://169.254.169.254/",
        "https://x/\r\n",
    ] {
        let error = discover(&discovery(json!({"jwks_uri": uri})).to_string()).unwrap_err();
        assert_eq!(error, DiscoveryError::Endpoint("jwks_uri"), "{uri}");
        let error = discover(&discovery(json!({"token_endpoint": uri})).to_string()).unwrap_err();
        assert_eq!(error, DiscoveryError::Endpoint("token_endpoint"), "{uri}");
    }
    for uri in [
        "http://127.0.0.1:1/jwks",
        "http://[::1]:1/jwks",
        "http://localhost:1/jwks",
    ] {
        let document = discovery(json!({"jwks_uri": uri})).to_string();
        assert_eq!(
            discover(&document).unwrap_err(),
            DiscoveryError::Endpoint("jwks_uri"),
            "an issuer far away names a service of this machine: {uri}"
        );
        let near = issuer(json!({"issuer": "http://127.0.0.1:1"}));
        let document = document.replace(ISSUER, "http://127.0.0.1:1");
        assert!(answered(200, None, &document, |answer| Discovery::read(&near, answer)).is_ok());
    }
    assert_eq!(
        discover(&discovery(json!({"code_challenge_methods_supported": ["plain"]})).to_string()).unwrap_err(),
        DiscoveryError::ChallengeMethod
    );
    assert_eq!(discover("<html>").unwrap_err(), DiscoveryError::Malformed);
    assert_eq!(
        discover(&" ".repeat((1 << 20) + 1)).unwrap_err(),
        DiscoveryError::TooLarge
    );
    let error = answered(302, None, "", |answer| {
        Discovery::read(&issuer(json!({})), answer).unwrap_err()
    });
    assert_eq!(error, DiscoveryError::Status(302));
}

proptest! {
    #[test]
    fn whatever_happens_two_fetches_lie_a_cool_down_apart(steps in proptest::collection::vec((0_u64..40, 0_u8..5), 1..200)) {
        let (mut state, mut at, mut last) = (KeyState::new(), now(), None::<Timestamp>);
        for (seconds, what) in steps {
            at = at.plus(Duration::from_secs(seconds));
            let fetches = match what {
                0 => state.due(at),
                1 => { state.fetched(None, at); false }
                2 => { answered(200, Some("max-age=1"), &set_of(&[rsa_jwk("a")]), |answer| state.fetched(Some(answer), at)); false }
                _ => state.on_unknown_kid(&format!("k{seconds}"), at) == UnknownKey::Fetch,
            };
            if fetches {
                prop_assert!(last.is_none_or(|last| at.since(last) >= Duration::from_secs(30)));
                last = Some(at);
            }
        }
    }

    #[test]
    fn no_document_makes_the_readers_panic(document in "[\\[\\]{}\":,a-zA-Z0-9._-]{0,200}") {
        let _ = KeySet::parse(document.as_bytes());
        let _ = discover(&document);
    }
}
