//! How long an assertion lives, how long it is, and by which keys it counts.

use std::time::Duration;

use model::time::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

#[test]
fn an_assertion_counts_for_two_minutes_and_never_beyond_the_sign_in() {
    let mint = mint();
    let made = mint.sign(&claims(), now()).unwrap();
    let token = made.token.expose_secret();
    assert_eq!(made.expires_at, now().plus(Duration::from_secs(120)));
    assert_eq!(made.reuse_until, now().plus(Duration::from_secs(60)));
    let at = |seconds: i64, leeway: u64| {
        let keys = AssertionKey::key_set([mint.key()]).unwrap();
        AssertionVerifier::new(URL, keys, Duration::from_secs(leeway))
            .verify(token, &service("grafana"), Timestamp::from_unix_seconds(NOW + seconds))
            .map_or_else(|error| error.code(), |_| "accepted")
    };
    assert_eq!(at(0, 0), "accepted");
    assert_eq!(at(119, 0), "accepted");
    assert_eq!(at(120, 0), "assertion_expired");
    assert_eq!(at(-1, 0), "assertion_issued_in_future");
    assert_eq!(at(121, 2), "accepted");
    assert_eq!(at(122, 2), "assertion_expired");
    assert_eq!(at(-2, 2), "accepted");
    assert_eq!(at(-3, 2), "assertion_issued_in_future");

    let ends_in = |nanos: i64| AssertionClaims {
        ends: Timestamp::from_unix_nanos(now().unix_nanos() + nanos),
        ..claims()
    };
    let made = mint.sign(&ends_in(30_900_000_000), now()).unwrap();
    assert_eq!(
        made.expires_at,
        now().plus(Duration::from_secs(30)),
        "a second less, not more"
    );
    assert_eq!(made.reuse_until, now().plus(Duration::from_secs(15)));
    for ended in [999_999_999, 0, -1, -1_000_000_000] {
        assert_eq!(
            mint.sign(&ends_in(ended), now()).unwrap_err(),
            AssertionMintError::Ended
        );
    }
    // Begun in the middle of a second it ends no later.
    let between = Timestamp::from_unix_nanos(now().unix_nanos() + 700_000_000);
    assert_eq!(
        mint.sign(&claims(), between).unwrap().expires_at,
        now().plus(Duration::from_secs(120))
    );
}

#[test]
fn a_turn_of_the_token_keys_loses_no_assertion_and_a_leaked_one_counts_no_more() {
    let (old, new) = (token_key(), token_key());
    let before = AssertionMint::new(URL, AssertionKey::of(&old).unwrap());
    let token = signed(&before, &claims());
    // Both are listed, the new one first: as the token keys of a turn are.
    let listed: Vec<AssertionKey> = [&new, &old].map(|key| AssertionKey::of(key).unwrap()).into();
    let both = AssertionVerifier::new(URL, AssertionKey::key_set(&listed).unwrap(), Duration::ZERO);
    let end = Timestamp::from_unix_seconds(NOW + 119);
    assert!(both.verify(&token, &service("grafana"), end).is_ok());
    let after = AssertionMint::new(URL, AssertionKey::of(&new).unwrap());
    assert!(
        both.verify(&signed(&after, &claims()), &service("grafana"), now())
            .is_ok()
    );
    // The new one alone: as it is named when the other has leaked.
    assert_eq!(verdict(&after, &token).unwrap_err(), AssertionError::UnknownKey);
}

#[test]
fn the_key_of_assertions_follows_the_token_key_and_is_always_the_same() {
    // PKCS#8 of the private number 0x0102…20; both names computed by another program (RFC 5869, RFC 7638).
    let bytes = decode(
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyChRANCAARRXD1uueOWuQTT_sp_VP3NDMHpl783XcpRWtCmw7QDX0U2vjpQ8xj7-aVHWQKiIVAr7w1X4IxTsswKVvF9n5NU",
    )
    .unwrap();
    let token_key = SigningKey::from_pkcs8(&bytes).unwrap();
    assert_eq!(token_key.kid(), "6UoWwDCkLjV0J-pQG8c0THxbVhBcpR0AZDift1Yl5DM");
    let key = AssertionKey::of(&token_key).unwrap();
    assert_eq!(key.kid(), "yD7y9Z8x05uXJQmPY1SUSLKQztIMk7kGBwhq_pT_c3c");
    let published: Value = serde_json::from_str(&AssertionKey::render_jwks([&key])).unwrap();
    let members = &published["keys"][0];
    assert_eq!(
        (&members["kid"], &members["use"], &members["kty"], &members["crv"]),
        (&json!(key.kid()), &json!("sig"), &json!("EC"), &json!("P-256"))
    );
    assert_eq!(members.get("d"), None, "nothing private");
    assert_eq!(published["keys"].as_array().unwrap().len(), 1, "and no token key");
    assert!(!format!("{key:?}").contains(&encode(&bytes[36..68])));
    assert!(AssertionKey::key_set([]).is_err());
}

#[test]
fn groups_are_all_named_or_counted_and_never_cut() {
    let groups = |count: usize| -> Vec<String> { (0..count).map(|number| format!("team-{number:02}")).collect() };
    let mint = mint();
    let payload = |groups: &[String]| {
        let claims = AssertionClaims {
            identity: AssertedIdentity {
                groups: AssertedGroups::of(groups),
                ..claims().identity
            },
            ..claims()
        };
        let token = signed(&mint, &claims);
        let read = verdict(&mint, &token).unwrap();
        assert_eq!(read.claims().identity.groups.count(), groups.len());
        payload_of(&token)
    };
    let most = payload(&groups(64));
    assert_eq!(most["groups"], json!(groups(64)));
    assert_eq!((most.get("groups_count"), most.get("groups_hash")), (None, None));
    let mut above = groups(65);
    above.reverse();
    let above = payload(&above);
    assert_eq!(above.get("groups"), None);
    assert_eq!(above["groups_count"], json!(65));
    // As records have it: computed by another program.
    assert_eq!(above["groups_hash"], json!("00859f0e0e1007dfe401b365443fdff5"));

    // 1,280 bytes of JSON are named, one more is not; what JSON escapes counts as it is written.
    let of_length = |bytes: usize| AssertedGroups::of(&["a".repeat(bytes - 4)]);
    assert!(of_length(1280).named().is_some());
    assert!(of_length(1281).named().is_none());
    assert!(AssertedGroups::of(&["\"".repeat(638)]).named().is_some());
    assert!(AssertedGroups::of(&["\"".repeat(639)]).named().is_none());
}

#[test]
fn an_assertion_that_would_be_too_long_is_not_made_and_says_what_is_too_long() {
    let mint = mint();
    let named = |username: &str, email: Option<String>| AssertionClaims {
        identity: AssertedIdentity {
            username: username.to_owned(),
            email,
            ..claims().identity
        },
        ..claims()
    };
    let longest = (1..4096)
        .rev()
        .find(|length| mint.sign(&named(&"n".repeat(*length), None), now()).is_ok())
        .unwrap();
    assert!(signed(&mint, &named(&"n".repeat(longest), None)).len() <= MAX_ASSERTION_BYTES);
    let refused = mint.sign(&named(&"n".repeat(longest + 1), None), now()).unwrap_err();
    let AssertionMintError::TooLarge {
        bytes,
        longest: what,
        of,
    } = &refused
    else {
        panic!("{refused}");
    };
    assert!((4097..=4100).contains(bytes), "{bytes}");
    assert_eq!((*what, *of), ("user name", longest + 1));

    let refused = mint
        .sign(&named("ann", Some("e".repeat(5000))), now())
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused.split_once(" bytes long").unwrap().1,
        ", and 4096 are the most; what is longest in it is the e-mail address (5000 bytes): shorten it where it is set"
    );
    let far = AssertionClaims {
        chain: Chain::new(vec![Actor {
            username: "w".repeat(4000),
            ..actor(1)
        }])
        .unwrap(),
        ..claims()
    };
    let refused = mint.sign(&far, now()).unwrap_err();
    assert!(
        matches!(
            refused,
            AssertionMintError::TooLarge {
                longest: "chain of workloads",
                ..
            }
        ),
        "{refused}"
    );
    // What groups there are never makes one too long, with long names and a chain of long ones, too.
    let usual = AssertionClaims {
        identity: AssertedIdentity {
            issuer: format!("https://{}.example", "i".repeat(100)),
            subject: "s".repeat(64),
            username: "u".repeat(100),
            email: Some("e".repeat(100)),
            groups: AssertedGroups::of(&["g".repeat(1276)]),
            ..claims().identity
        },
        chain: Chain::new(
            (1..=3)
                .map(|number| Actor {
                    username: format!("system:serviceaccount:{}:{}", "n".repeat(63), "a".repeat(63)),
                    ..actor(number)
                })
                .collect(),
        )
        .unwrap(),
        ..claims()
    };
    assert!(signed(&mint, &usual).len() <= MAX_ASSERTION_BYTES);
}
