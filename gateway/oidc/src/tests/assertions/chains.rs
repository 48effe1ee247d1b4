//! Who acts for whom: never deeper than three, never round again, never longer than it began.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

#[test]
fn no_chain_is_deeper_than_three() {
    let act = |number: u8, through: Value| {
        let mut act = json!({"sub": subject(number), "preferred_username": "w", "service": format!("s{number}")});
        merge(&mut act, &json!({ "act": through }));
        act
    };
    let three = act(3, act(2, act(1, json!(null))));
    assert_eq!(refusal(json!({}), json!({ "act": three })), "accepted");
    assert_eq!(
        refusal(json!({}), json!({ "act": act(4, three.clone()) })),
        "assertion_too_deep"
    );
    // Deeper than the tokens' reader goes.
    let deep = (5..30).fold(three, |through, number| act(number, through));
    assert_eq!(refusal(json!({}), json!({ "act": deep })), "assertion_unreadable");
    assert_eq!(
        Chain::new(vec![actor(4), actor(3), actor(2), actor(1)]).unwrap_err(),
        ChainFault::TooDeep
    );

    for wrong in [
        json!("w"),
        json!([]),
        json!({}),
        json!({"sub": "w", "preferred_username": "w", "service": "s1"}),
        json!({"sub": subject(1), "preferred_username": "", "service": "s1"}),
        json!({"sub": subject(1), "preferred_username": "w", "service": "service:s1"}),
        json!({"sub": subject(1), "preferred_username": "w", "service": "s1", "exp": NOW}),
        json!({"sub": subject(1), "preferred_username": "w", "service": "s1", "act": "w"}),
    ] {
        assert_eq!(
            refusal(json!({}), json!({ "act": wrong })),
            "assertion_claim",
            "{wrong}"
        );
    }
    let plain = payload_of(&signed(&mint(), &claims())).to_string();
    let empty = format!(r#"{{"act":null,{}"#, plain.strip_prefix('{').unwrap());
    assert_eq!(signed_payload(&empty), "assertion_claim", "null is no chain");
}

#[test]
fn no_chain_comes_round_again() {
    let also = |number: u8, workload: u8| Actor {
        workload: subject(workload),
        ..actor(number)
    };
    for (actors, fault) in [
        (vec![actor(1), actor(1)], ChainFault::WorkloadTwice),
        (vec![also(2, 1), actor(1)], ChainFault::WorkloadTwice),
        (vec![actor(1), actor(2), also(3, 1)], ChainFault::WorkloadTwice),
        (vec![actor(1), also(1, 2)], ChainFault::ServiceTwice(service("s1"))),
    ] {
        assert_eq!(Chain::new(actors).unwrap_err(), fault);
    }

    let act = |name: &str, workload: u8, through: Value| {
        let mut act = json!({"sub": subject(workload), "preferred_username": "w", "service": name});
        merge(&mut act, &json!({ "act": through }));
        act
    };
    let none = || json!(null);
    for looped in [
        act("s2", 1, act("s1", 1, none())),
        act("s1", 2, act("s1", 1, none())),
        // The audience, and the caller itself.
        act("grafana", 1, none()),
        act("s2", 2, act("grafana", 1, none())),
        act("s1", 0xaa, none()),
    ] {
        assert_eq!(
            refusal(json!({}), json!({ "act": looped })),
            "assertion_loop",
            "{looped}"
        );
    }
    let mint = mint();
    let back = AssertionClaims {
        audience: service("s1"),
        chain: chain(&[2, 1]),
        ..claims()
    };
    assert_eq!(
        mint.sign(&back, now()).unwrap_err(),
        AssertionMintError::Chain(ChainFault::ServiceTwice(service("s1")))
    );
    let itself = AssertionClaims {
        identity: AssertedIdentity {
            id: subject(1),
            ..claims().identity
        },
        chain: chain(&[1]),
        ..claims()
    };
    assert_eq!(
        mint.sign(&itself, now()).unwrap_err(),
        AssertionMintError::Chain(ChainFault::ForItself)
    );
}

#[test]
fn a_chain_grows_by_who_presents_an_assertion_and_ends_with_it() {
    let mint = mint();
    let verifier = verifier(&mint);
    let mut at = now();
    let first = AssertionClaims {
        audience: service("s1"),
        ends: now().plus(Duration::from_secs(90)),
        ..claims()
    };
    let mut made = mint.sign(&first, at).unwrap();
    for hop in 1..=3_u8 {
        let presenter = actor(hop);
        let held = verifier
            .verify(made.token.expose_secret(), &presenter.service, at)
            .unwrap();
        assert_eq!(held.claims().ends, first.ends, "hop {hop}");
        at = at.plus(Duration::from_secs(20));
        let next = actor(hop + 1).service;
        let onward = held
            .onward(presenter.workload, &presenter.username, next, format!("t-{hop}"))
            .unwrap();
        let through: Vec<u8> = (1..=hop).rev().collect();
        assert_eq!(onward.chain, chain(&through));
        assert_eq!(onward.identity, first.identity);
        assert_eq!((&onward.session, onward.auth_time), (&first.session, first.auth_time));
        made = mint.sign(&onward, at).unwrap();
        assert_eq!(made.expires_at, first.ends, "hop {hop}");
    }
    let held = verifier.verify(made.token.expose_secret(), &service("s4"), at).unwrap();
    let fourth = actor(4);
    assert_eq!(
        held.acting(fourth.workload.clone(), &fourth.username).unwrap_err(),
        ChainFault::TooDeep
    );
    assert_eq!(
        held.onward(fourth.workload, &fourth.username, service("s5"), "t".into())
            .unwrap_err(),
        ChainFault::TooDeep
    );
    assert_eq!(
        verifier
            .verify(made.token.expose_secret(), &service("s4"), first.ends)
            .unwrap_err(),
        AssertionError::Expired
    );
}

#[test]
fn who_acts_goes_neither_back_nor_to_itself_nor_twice() {
    let mint = mint();
    let held = |claims: &AssertionClaims| {
        verifier(&mint)
            .verify(&signed(&mint, claims), &claims.audience, now())
            .unwrap()
    };
    let second = held(&AssertionClaims {
        audience: service("s2"),
        chain: chain(&[1]),
        ..claims()
    });
    let onward = |workload: u8, to: &str| second.onward(subject(workload), "w", service(to), "t".into());
    assert!(onward(2, "s3").is_ok());
    assert_eq!(
        onward(2, "s1").unwrap_err(),
        ChainFault::ServiceTwice(service("s1")),
        "back"
    );
    assert_eq!(
        onward(2, "s2").unwrap_err(),
        ChainFault::ServiceTwice(service("s2")),
        "to itself"
    );
    assert_eq!(onward(1, "s3").unwrap_err(), ChainFault::WorkloadTwice);
    assert_eq!(onward(0xaa, "s3").unwrap_err(), ChainFault::ForItself);
    // The last hop goes out without an assertion; its record has the same chain, and the same is refused.
    let acting = |workload: u8| second.acting(subject(workload), "w").unwrap_err();
    assert_eq!(acting(1), ChainFault::WorkloadTwice);
    assert_eq!(acting(0xaa), ChainFault::ForItself);
    assert_eq!(
        second.acting(subject(2), "system:serviceaccount:team:s2").unwrap(),
        chain(&[2, 1])
    );
}
