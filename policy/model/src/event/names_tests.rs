//! Records of every sort with a name wherever somebody can be named: taken apart, and put together again.

use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ALICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const CAROL: &str = "cccccccccccccccccccccccccccccccc";
/// Stands in every place of a record where somebody may be named.
const CANARY: &str = "alice@example.com";

/// Turns digits round, and knows who is leaving.
struct Turned;

fn turned(id: &str) -> String {
    id.replace('a', "1").replace('b', "2").replace('c', "3")
}

impl Pseudonyms for Turned {
    type Error = Infallible;

    fn pseudonym(&mut self, subject: &SubjectId, leaving: bool) -> Result<String, Infallible> {
        let pseudonym = turned(subject.as_str());
        Ok(if leaving {
            pseudonym.replacen('1', "9", 1)
        } else {
            pseudonym
        })
    }
}

impl Known for Turned {
    fn subject(&self, pseudonym: &str) -> Option<SubjectId> {
        let id = pseudonym.replace(['1', '9'], "a").replace('2', "b").replace('3', "c");
        SubjectId::parse(&id)
    }

    fn unnamed(&self, pseudonym: &str) -> String {
        erased_name(pseudonym)
    }
}

/// Nobody is known any more.
struct Gone;

impl Known for Gone {
    fn subject(&self, _: &str) -> Option<SubjectId> {
        None
    }

    fn unnamed(&self, pseudonym: &str) -> String {
        erased_name(pseudonym)
    }
}

fn parted(kind: RecordKind, body: &Value) -> Split {
    split(kind, body.to_string().as_bytes(), &mut Turned).unwrap().unwrap()
}

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn by(id: &str) -> Value {
    json!({"id": id, "kind": "person", "iss": "https://idp", "sub": CANARY, "user": CANARY, "email": CANARY, "groups_hash": "00",
        "session": "s", "credential": "cookie", "credential_id": "JTI=1", "auth_time": 7, "origin": CANARY, "acr": "x"})
}

/// One record of each sort in which people are named, with whoever each aside is for.
fn records() -> Vec<(RecordKind, Value, Vec<Whose>)> {
    let subject = |id: &str| Whose::Subject(SubjectId::parse(id).unwrap());
    let leaving = |id: &str| Whose::Leaving(SubjectId::parse(id).unwrap());
    let actor = |id: &str| json!({"subject": id, "user": CANARY, "issuer": "https://idp", "email": CANARY});
    let scope = |id: &str| json!({"subject": id, "kind": "person", "user": CANARY, "email": CANARY});
    let of_a_class =
        |id: &str| json!({"subject": id, "kind": "person", "user": CANARY, "email": CANARY, "classes": ["query"]});
    let call = json!({"id": "r1", "t": "2026-01-01T00:00:00Z", "mono": 5, "boot": "b", "cluster": "c", "by": by(ALICE),
        "as": {"user": CANARY, "groups": [CANARY]}, "act": [{"id": BOB, "user": CANARY}], "net": {"ip": "10.0.0.1", "port": 49152}, "audit": {"level": "Metadata", "rule": 49152, "policy": "d"},
        "req": {"method": "GET", "path": "/api", "verb": "get", "name": "web", "agent": CANARY, "kubectl_command": CANARY,
            "kubectl_session": CANARY, "client_audit_id": CANARY, "fallback_of": CANARY},
        "decision": {"allowed": true, "who": "gateway", "rules": [{"name": CANARY}], "policy": "p", "sent_groups_hash": "11",
            "stated_reason": CANARY},
        "parts": [{"name": "query", "class": "query"}], "note": CANARY, "unheard-of": CANARY});
    let issued = json!({"id": "r2", "by": by(ALICE), "issued": {"id": "JTI=2", "what": "token", "account": CANARY, "expires": 9, "origin": CANARY}});
    let session = json!({"id": "r3", "by": by(ALICE), "person": {"what": "signedIn", "session": "s", "why": CANARY}, "note": CANARY});
    let stranger = json!({"id": "r4", "person": {"what": "signInRefused", "why": CANARY}, "note": CANARY});
    let refused = json!({"id": "r5", "by": by(ALICE), "outcome": {"end": "refused", "status": 403, "reason": "Forbidden", "why": CANARY}});
    let ended = json!({"id": "r6", "pair": 5, "outcome": {"end": "ended", "why": CANARY}, "note": CANARY});
    let rules = json!({"id": "r7", "policy": {"digest": "d", "added": 1, "names": [CANARY]}, "config": {"digest": "d", "refused": CANARY}});
    let read =
        json!({"id": "r8", "by": by(ALICE), "req": {"method": "GET", "path": "/api/v1/records"}, "note": CANARY});
    let sum = json!({"id": "r9", "sum": {"count": 3, "what": format!("limited requests of subject {ALICE}")}});
    let erased = json!({"id": "ra", "by": by(BOB), "req": {"agent": CANARY}, "erasure": {"what": "erased", "request": "q", "of": scope(ALICE),
        "asked": actor(CAROL), "agreed": actor(BOB), "why": CANARY, "keys": [{"id": "k", "class": "name"}], "more": 1}, "note": CANARY});
    let refused_to = json!({"id": "rd", "by": by(BOB), "erasure": {"what": "refused", "request": "q", "of": of_a_class(ALICE), "asked": actor(CAROL),
        "why": CANARY, "refused": CANARY, "hold": CANARY}, "note": CANARY});
    let held = json!({"id": "rb", "by": by(BOB), "hold": {"what": "created", "id": "rb", "of": of_a_class(ALICE), "set_by": CANARY, "why": CANARY}, "note": CANARY});
    let foreign = json!({"id": "rc", "by": by(ALICE), "ingested": {"format": "x", "groups": [CANARY]}});
    vec![
        (RecordKind::Access, call, vec![subject(ALICE)]),
        (RecordKind::Issued, issued, vec![subject(ALICE)]),
        (RecordKind::Session, session, vec![subject(ALICE)]),
        (RecordKind::Session, stranger, vec![Whose::Nobody]),
        (RecordKind::Refusal, refused, vec![subject(ALICE)]),
        (RecordKind::Outcome, ended, vec![]),
        (RecordKind::Policy, rules, vec![Whose::Nobody]),
        (RecordKind::AuditRead, read, vec![subject(ALICE)]),
        (RecordKind::Summary, sum, vec![]),
        (
            RecordKind::Erasure,
            erased,
            vec![subject(BOB), subject(CAROL), leaving(ALICE)],
        ),
        (
            RecordKind::Erasure,
            refused_to,
            vec![subject(ALICE), subject(BOB), subject(CAROL)],
        ),
        (RecordKind::Hold, held, vec![subject(ALICE), subject(BOB)]),
        (RecordKind::Access, foreign, vec![subject(ALICE)]),
    ]
}

#[test]
fn promise_6_nothing_that_may_name_somebody_stays_in_any_kind_of_record() {
    for (kind, body, whose) in records() {
        let parted = parted(kind, &body);
        let owners: Vec<Whose> = parted.asides.iter().map(|(whose, _)| whose.clone()).collect();
        assert_eq!(owners, whose, "{body}");
        let clear = String::from_utf8(parted.body(&[])).unwrap();
        for named in [
            CANARY,
            ALICE,
            BOB,
            CAROL,
            "https://idp",
            "JTI=",
            "\"00\"",
            "\"11\"",
            "unheard-of",
            "49152",
        ] {
            assert!(!clear.contains(named), "{named} in {clear}");
        }
    }
}

#[test]
fn whoever_may_see_names_reads_the_record_as_if_they_stood_in_it() {
    for (kind, body, _) in records() {
        let parted = parted(kind, &body);
        let asides: Vec<Vec<u8>> = parted.asides.iter().map(|(_, aside)| aside.clone()).collect();
        let whole = read(&join(&parted.body(&[]), &asides, &Turned).unwrap());
        match kind {
            // Nothing lies beside the end of a call, and a summary's sentence says the pseudonym.
            RecordKind::Outcome => assert_eq!(whole, json!({"id": "r6", "pair": 5, "outcome": {"end": "ended"}})),
            RecordKind::Summary => assert_eq!(
                whole["sum"]["what"],
                format!("limited requests of subject {}", turned(ALICE))
            ),
            _ => assert_eq!(whole, body),
        }
    }
}

#[test]
fn of_somebody_erased_only_the_beginning_of_a_pseudonym_is_left_and_others_keep_their_names() {
    let (kind, body, _) = records()
        .into_iter()
        .find(|(kind, ..)| *kind == RecordKind::Erasure)
        .unwrap();
    let parted = parted(kind, &body);
    let kept = parted
        .asides
        .iter()
        .filter(|(whose, _)| !matches!(whose, Whose::Leaving(_)));
    let kept: Vec<Vec<u8>> = kept.map(|(_, aside)| aside.clone()).collect();
    let whole = read(&join(&parted.body(&[]), &kept, &Gone).unwrap());
    assert_eq!(
        whole["erasure"]["of"],
        json!({"subject": turned(ALICE).replacen('1', "9", 1), "kind": "person", "user": "erased person 91111111"})
    );
    assert_eq!(whole["erasure"]["agreed"]["user"], CANARY);
    assert_eq!(whole["by"]["user"], CANARY);
    assert!(whole.get("note").is_none());
    let none = read(&join(br#"{"id":"a","by":{"id":"1234567890","kind":"person"}}"#, &[], &Gone).unwrap());
    assert_eq!(
        none["by"],
        json!({"id": "1234567890", "kind": "person", "user": "erased person 12345678", "iss": "", "sub": ""})
    );
}

#[test]
fn parts_come_behind_those_that_the_record_had() {
    let part = |name: &'static str| Part {
        name,
        len: 1,
        commitment: String::new(),
        class: NAME_CLASS,
        key: "k".to_owned(),
        sealed: String::new(),
    };
    for (had, names) in [
        (json!([{"name": "query"}]), vec!["query", "a", "b"]),
        (json!([]), vec!["a", "b"]),
    ] {
        let split = parted(
            RecordKind::Access,
            &json!({"id": "r", "parts": had, "body": {"kept": "none"}}),
        );
        let body = read(&split.body(&[part("a"), part("b")]));
        let found: Vec<&str> = body["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["name"].as_str().unwrap())
            .collect();
        assert_eq!(found, names);
    }
    let split = parted(RecordKind::Access, &json!({"id": "r"}));
    assert_eq!(split.body(&[]), br#"{"id":"r"}"#);
}

#[test]
fn what_a_leaf_says_itself_is_not_changed_by_what_lies_beside_it() {
    let aside = br#"{"by":{"id":"x","kind":"public","user":"u"},"req":7,"t":"never"}"#.to_vec();
    let leaf = br#"{"t":"now","by":{"id":"11111111","kind":"person"},"req":{"verb":"get"}}"#;
    let whole = read(&join(leaf, &[aside], &Gone).unwrap());
    assert_eq!(whole["t"], "now");
    assert_eq!(whole["by"]["id"], "11111111");
    assert_eq!(whole["by"]["kind"], "person");
    assert_eq!(whole["by"]["user"], "u");
    assert_eq!(whole["req"]["verb"], "get");
}

#[test]
fn an_id_that_is_none_does_not_stay() {
    let split = parted(
        RecordKind::Access,
        &json!({"by": {"id": CANARY, "kind": "person", "user": CANARY}}),
    );
    assert_eq!(
        split.asides.iter().map(|(whose, _)| whose.clone()).collect::<Vec<_>>(),
        [Whose::Nobody]
    );
    assert_eq!(read(&split.body(&[])), json!({"by": {"id": "", "kind": "person"}}));
}

proptest! {
    #[test]
    fn any_object_is_parted_and_joined_again_and_anything_else_is_none(
        names in prop::collection::vec("[a-z]{1,8}|by|req|note|erasure|of|subject|what|user", 0..12),
        text in "\\PC{0,40}",
        foreign in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        fuzz_names(&foreign);
        let inner: serde_json::Map<String, Value> = names.iter().map(|name| (name.clone(), json!(text))).collect();
        let body: serde_json::Map<String, Value> = names.iter().enumerate().map(|(at, name)| {
            (name.clone(), if at % 2 == 0 { json!(text) } else { Value::Object(inner.clone()) })
        }).collect();
        let body = Value::Object(body);
        fuzz_names(body.to_string().as_bytes());
        let parted = parted(RecordKind::Session, &body);
        let asides: Vec<Vec<u8>> = parted.asides.iter().map(|(_, aside)| aside.clone()).collect();
        let whole = read(&join(&parted.body(&[]), &asides, &Gone).unwrap());
        for (name, value) in body.as_object().unwrap() {
            match value {
                Value::String(_) => prop_assert_eq!(&whole[name], value),
                _ => prop_assert!(whole[name].is_object() || value.as_object().is_some_and(serde_json::Map::is_empty)),
            }
        }
    }
}
