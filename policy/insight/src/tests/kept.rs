//! What a record has of a path or a name, against all of it.

use model::cluster::ClusterId;
use model::event::{Effective, Part, Record, RecordKind, Request};
use proptest::prelude::*;

use super::{at, ends, event, framed, report};
use crate::reconcile::{Finding, Problem};
use crate::{Calls, ServerEvent};

/// A call as a gateway records it, with whatever path and name.
fn recorded(path: &str, sealed: Option<usize>, user: &str) -> Calls {
    let part = |len: usize| Part {
        name: "path",
        len: len.try_into().unwrap(),
        commitment: String::new(),
        class: "path",
        key: String::new(),
        sealed: String::new(),
    };
    let cluster = ClusterId::new("prod").unwrap();
    let parts: Vec<Part> = sealed.map(part).into_iter().collect();
    let effective = Effective {
        user,
        uid: None,
        groups: &[],
        groups_count: None,
        groups_hash: None,
        extra_keys: Vec::new(),
        extra_count: None,
    };
    let begin = Record {
        id: "a",
        t: at(0),
        cluster: Some(&cluster),
        effective: Some(effective),
        req: Some(Request {
            verb: "get",
            path,
            ..Request::default()
        }),
        parts: &parts,
        ..Record::default()
    };
    let mut calls = Calls::of("prod");
    calls.push(0, RecordKind::Access, &begin.body().unwrap());
    calls.push(1, RecordKind::Close, ends("a", 0, "answered").to_string().as_bytes());
    calls
}

/// What differs of it, where the API server has this.
fn differing(calls: &Calls, uri: &str, user: &str) -> Vec<&'static str> {
    let event = ServerEvent {
        verb: "get".to_owned(),
        uri: uri.to_owned(),
        impersonated: Some(user.to_owned()),
        ..event("a", 0)
    };
    let what = |finding: &Finding| match finding.problem {
        Problem::Differs { what, .. } => what,
        _ => "other",
    };
    report(calls, framed(vec![event])).findings.iter().map(what).collect()
}

#[test]
fn promise_4_a_path_or_a_name_of_any_length_that_both_logs_have_accuses_nobody() {
    let long = format!("/openapi{}", "/a".repeat(596));
    assert_eq!(long.len(), 1_200);
    let longer = format!("{long}/a");
    for prefix in ["", "/clusters/prod"] {
        for sealed in [None, Some(prefix.len() + 1_200), Some(1_300)] {
            let calls = recorded(&format!("{prefix}{long}"), sealed, "alice");
            let differs = |path: &str| differing(&calls, path, "alice");
            assert_eq!(differs(&format!("{long}?x=y")), [""; 0], "{sealed:?} {prefix}");
            // Another one is found: by a letter that the record has, and by its length.
            for other in [
                &long.replacen("/a", "/b", 1),
                long.strip_suffix('a').unwrap(),
                "/openapi",
            ] {
                assert_eq!(differs(other), ["path"], "{sealed:?} {prefix} {other}");
            }
            // Where an end is sealed that the record does not have, there is one.
            assert_eq!(
                differs(&longer).is_empty(),
                sealed == Some(1_300),
                "{sealed:?} {prefix}"
            );
        }
    }
    let name = "é".repeat(700);
    let calls = recorded("/version", None, &name);
    assert_eq!(differing(&calls, "/version", &name), [""; 0]);
    for other in [format!("{name}x"), "é".repeat(699), format!("x{}", "é".repeat(699))] {
        assert_eq!(differing(&calls, "/version", &other), ["user"], "{other}");
    }
    // As a ledger of `observe` has it, whose records are cut as well.
    let cut = format!("{}… (1400 bytes)", "é".repeat(512));
    assert_eq!(differing(&calls, "/version", &cut), [""; 0]);
    let cut = format!("{}… (1200 bytes)", long.get(..1_024).unwrap());
    for sealed in [None, Some(1_200), Some(1_300)] {
        assert_eq!(
            differing(&recorded(&long, sealed, "alice"), &cut, "alice"),
            [""; 0],
            "{sealed:?}"
        );
    }
    // Whoever is called like a name that was cut is nobody else.
    let calls = recorded("/version", None, "alice… (1200 bytes)");
    assert_eq!(differing(&calls, "/version", "alice… (1200 bytes)"), [""; 0]);
    let other = format!("alice{}", "x".repeat(1_195));
    assert_eq!(differing(&calls, "/version", &other), ["user"]);
}

/// Whoever is signed in can send a byte that may not stand in a path; the API server's log has it otherwise, with all of the path.
#[test]
fn promise_4_a_path_that_the_api_server_writes_anew_accuses_nobody() {
    for (came, logged) in [
        ("/openapi/|(", "/openapi/%7C%28"),
        ("/clusters/prod/openapi/^", "/openapi/%5E"),
    ] {
        let calls = recorded(came, None, "alice");
        assert_eq!(differing(&calls, &format!("{logged}?x={{"), "alice"), [""; 0], "{came}");
        for other in [
            logged.to_owned() + "a",
            logged.replace("openapi", "apis"),
            "/openapi/(".to_owned(),
        ] {
            assert_eq!(differing(&calls, &other, "alice"), ["path"], "{came}: {other}");
        }
    }
    // Where the record has the beginning alone, what makes it be written anew may stand behind.
    let long = format!("/openapi/({}|", "/a".repeat(600));
    let calls = recorded(&long, Some(long.len()), "alice");
    let logged = format!("/openapi/%28{}%7C", "/a".repeat(600));
    assert_eq!(differing(&calls, &logged, "alice"), [""; 0]);
    assert_eq!(differing(&calls, &logged.replacen("/a", "/b", 1), "alice"), ["path"]);
}

#[test]
fn a_path_of_the_api_server_that_begins_like_a_cluster_s_is_the_same_in_both_logs() {
    let calls = recorded("/clusters/prod/x", None, "alice");
    assert_eq!(differing(&calls, "/clusters/prod/x", "alice"), [""; 0]);
    assert_eq!(differing(&calls, "/clusters/prod/y", "alice"), ["path"]);
}

proptest! {
    #[test]
    fn promise_4_a_path_is_compared_as_far_as_its_record_has_it_whatever_its_length(
        path in prop_oneof!["/openapi(/[a-c]{1,3}){1,20}", "/openapi(/[a-c]{1,9}){180,400}", "/api/v1/nodes/[a-c]{950,1100}/proxy"],
        tail in prop_oneof![Just(String::new()), "/%20[a-z]{0,9}".prop_map(String::from)],
        other in "/openapi(/[a-c]{1,9}){1,300}",
        place in any::<prop::sample::Index>(),
    ) {
        // As the gateway does it: what is behind is sealed, and all of it where the record has not all of the beginning.
        let beginning = if tail.is_empty() { path.clone() } else { format!("{path}/") };
        let whole = format!("{path}{tail}");
        let beside = if beginning.len() > 1_024 { whole.len() } else { whole.len() - beginning.len() };
        let calls = recorded(&beginning, Some(beside).filter(|len| *len > 0), "alice");
        prop_assert!(differing(&calls, &whole, "alice").is_empty());
        let mut changed = whole.clone().into_bytes();
        let at = place.index(beginning.len().min(1_000));
        changed[at] = b'~';
        prop_assert_eq!(differing(&calls, &String::from_utf8(changed).unwrap(), "alice"), ["path"]);
        if !other.starts_with(beginning.get(..1_000).unwrap_or(&beginning)) {
            prop_assert_eq!(differing(&calls, &other, "alice"), ["path"]);
        }
        let longer = differing(&calls, &format!("{whole}/a"), "alice");
        prop_assert_eq!(longer.is_empty(), !tail.is_empty(), "a backend's path is sealed");
        let shorter = beginning.get(..beginning.len() - 1).unwrap();
        prop_assert_eq!(differing(&calls, shorter, "alice"), ["path"]);
    }
}
