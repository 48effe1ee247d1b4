//! Whether what stays in the clear could join two pseudonyms of one person: each member that stays is decided about here, in a closed list, and
//! records with every member that there is are held to it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cluster::ClusterId;
use crate::decision::{RuleEffect, RuleKind, RuleRef};
use crate::erasure::{Actor, Scope};
use crate::event::{
    Answer, Audited, BodySeen, By, ByClass, Called, ClockStep, ConfigChange, Decided, DiffSeen, Effective, Ends,
    ErasedKey, Erasing, Held, Ingested, Issued, ItemsSeen, Network, Outcome, Passed, Person, PolicyChange, Presented,
    Reading, Record, Recorded, Request, Served, Source, Span, Started, Summed, Unrecorded, Unsigned, Workload,
};
use crate::subject::SubjectKind;
use crate::time::Timestamp;

const ALICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const CAROL: &str = "cccccccccccccccccccccccccccccccc";

/// Why a member that stays joins nothing that was with what came after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    /// A pseudonym itself.
    Pseudonym,
    /// The name of a key, and of what lies beside: keys go out of use in the moment in which a pseudonym does.
    Key,
    /// An id of one call, of one request for an erasure or of one hold: all of its records that name somebody name them by one pseudonym.
    Once,
    /// The same for everybody, for as long as the gateway runs or a file of rules stands.
    Everybodys,
    /// A word of a short list, a count, a time.
    Plain,
    /// What happened, to what, and from which machine: it stays, and the page says so.
    Happened,
}

/// All that stays, in any kind of record.
const STAYS: &[(&str, Because)] = {
    use Because::{Everybodys, Happened, Key, Once, Plain, Pseudonym};
    &[
        ("audit.asked", Plain),
        ("audit.level", Plain),
        ("audit.policy", Everybodys),
        ("body.alarms", Plain),
        ("body.bytes", Happened),
        ("body.cut_at", Plain),
        ("body.duplicates", Plain),
        ("body.kept", Plain),
        ("body.key", Everybodys),
        ("body.kind", Happened),
        ("body.masked", Plain),
        ("body.read", Plain),
        ("body.type", Plain),
        ("body.why", Plain),
        ("boot", Everybodys),
        ("by.credential", Plain),
        ("by.id", Pseudonym),
        ("by.kind", Plain),
        ("clock.from", Plain),
        ("clock.millis", Plain),
        ("clock.to", Plain),
        ("cluster", Everybodys),
        ("config.digest", Everybodys),
        ("decision.allowed", Plain),
        ("decision.policy", Everybodys),
        ("decision.reason", Plain),
        ("decision.rules_count", Plain),
        ("decision.who", Plain),
        ("diff.changes", Plain),
        ("diff.since", Happened),
        ("diff.why", Plain),
        ("erasure.agreed.subject", Pseudonym),
        ("erasure.asked.subject", Pseudonym),
        ("erasure.keys[].class", Key),
        ("erasure.keys[].id", Key),
        ("erasure.more", Plain),
        ("erasure.of.classes[]", Plain),
        ("erasure.of.from", Plain),
        ("erasure.of.kind", Plain),
        ("erasure.of.recording", Once),
        ("erasure.of.subject", Pseudonym),
        ("erasure.of.to", Plain),
        ("erasure.request", Once),
        ("erasure.until", Plain),
        ("erasure.what", Plain),
        ("gap.at_least", Plain),
        ("gap.ended.answered", Plain),
        ("gap.ended.clientGone", Plain),
        ("gap.ended.ended", Plain),
        ("gap.ended.notSent", Plain),
        ("gap.ended.refused", Plain),
        ("gap.ended.unknown", Plain),
        ("gap.ended.upstreamLost", Plain),
        ("gap.from", Plain),
        ("gap.modes.effects", Everybodys),
        ("gap.modes.reads", Everybodys),
        ("gap.passed.effects", Plain),
        ("gap.passed.reads", Plain),
        ("gap.to", Plain),
        ("gap.unfinished", Plain),
        ("gap.why", Plain),
        ("hold.id", Once),
        ("hold.of.classes[]", Plain),
        ("hold.of.from", Plain),
        ("hold.of.kind", Plain),
        ("hold.of.recording", Once),
        ("hold.of.subject", Pseudonym),
        ("hold.of.to", Plain),
        ("hold.what", Plain),
        ("id", Once),
        ("issued.expires", Plain),
        ("issued.what", Plain),
        ("items.count", Happened),
        ("items.first", Happened),
        ("items.last", Happened),
        ("mono", Plain),
        ("net.http", Plain),
        ("net.ip", Happened),
        ("net.listener", Everybodys),
        ("object.name", Happened),
        ("object.namespace", Happened),
        ("object.resource_version", Happened),
        ("object.uid", Happened),
        ("outcome.body_hmac", Happened),
        ("outcome.body_sha256", Happened),
        ("outcome.bytes_in", Happened),
        ("outcome.bytes_out", Happened),
        ("outcome.diverged", Plain),
        ("outcome.end", Plain),
        ("outcome.exit_code", Plain),
        ("outcome.reason", Plain),
        ("outcome.status", Plain),
        ("outcome.took.first", Plain),
        ("outcome.took.total", Plain),
        ("outcome.unread", Plain),
        ("pair", Once),
        ("parts[].class", Plain),
        ("parts[].commitment", Once),
        ("parts[].key", Key),
        ("parts[].len", Happened),
        ("parts[].name", Plain),
        ("parts[].sealed", Once),
        ("passed.bytes_in", Happened),
        ("passed.bytes_out", Happened),
        ("person.provider", Everybodys),
        ("person.what", Plain),
        ("policy.added", Plain),
        ("policy.before", Everybodys),
        ("policy.changed", Plain),
        ("policy.digest", Everybodys),
        ("policy.removed", Plain),
        ("presented.credential", Plain),
        ("presented.iss", Everybodys),
        ("recording.bytes", Once),
        ("recording.chunks", Once),
        ("recording.frames", Once),
        ("recording.hash", Once),
        ("recording.incomplete", Plain),
        ("refused[]", Plain),
        ("req.action", Plain),
        ("req.container", Happened),
        ("req.content_type", Plain),
        ("req.dry_run", Plain),
        ("req.group", Happened),
        ("req.method", Plain),
        ("req.name", Happened),
        ("req.namespace", Happened),
        ("req.options", Happened),
        ("req.path", Happened),
        ("req.pod", Happened),
        ("req.query_count", Happened),
        ("req.query_keys[]", Happened),
        ("req.resource", Happened),
        ("req.subresource", Happened),
        ("req.verb", Plain),
        ("req.version", Happened),
        ("service.host", Happened),
        ("service.name", Happened),
        ("service.public", Plain),
        ("source", Plain),
        ("start.epoch", Everybodys),
        ("start.names", Everybodys),
        ("start.origin", Everybodys),
        ("start.version", Everybodys),
        ("sum.by[][]", Plain),
        ("sum.count", Plain),
        ("sum.from", Plain),
        ("sum.to", Plain),
        ("sum.what", Pseudonym),
        ("t", Plain),
        ("unsigned.from", Plain),
        ("unsigned.until", Plain),
        ("upstream.address", Everybodys),
        ("upstream.attempts", Plain),
        ("upstream.audit_id_differs", Plain),
        ("upstream.local_port", Everybodys),
        ("upstream.node", Happened),
        ("upstream.status", Plain),
    ]
};

/// Gives out a pseudonym of the time: what was before an erasure was asked for, and what comes after.
struct InTime(char);

impl Pseudonyms for InTime {
    type Error = Infallible;

    fn pseudonym(&mut self, subject: &SubjectId, leaving: bool) -> Result<String, Infallible> {
        let time = if leaving { '1' } else { self.0 };
        Ok(subject.as_str().replacen(['a', 'c'], &time.to_string(), 1))
    }
}

/// Paths of all values, with the values.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(value, &path, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                leaves(value, &format!("{path}[]"), found);
            }
        }
        value => found.push((path.to_owned(), value.clone())),
    }
}

fn clear(kind: RecordKind, body: &Value, time: char) -> Vec<(String, Value)> {
    let split = split(kind, body.to_string().as_bytes(), &mut InTime(time))
        .unwrap()
        .unwrap();
    let body: Value = serde_json::from_slice(&split.body(&[])).unwrap();
    let mut found = Vec::new();
    leaves(&body, "", &mut found);
    found
}

fn actor(id: &str) -> Actor {
    Actor {
        subject: SubjectId::parse(id).unwrap(),
        user: "carol".to_owned(),
        issuer: "https://idp".to_owned(),
        email: Some("carol@example.com".to_owned()),
    }
}

/// A record with every member that there is. Nothing is left to a default: whoever adds a member is asked for it here.
#[expect(clippy::too_many_lines, reason = "a list of all members")]
fn with_every_member() -> Value {
    let (alice, cluster) = (SubjectId::parse(ALICE).unwrap(), ClusterId::new("prod").unwrap());
    let at = Timestamp::from_unix_seconds(1_800_000_000);
    let texts = ["x".to_owned()];
    let of = Scope {
        subject: alice.clone(),
        kind: SubjectKind::Person,
        user: "alice".to_owned(),
        email: Some("alice@example.com".to_owned()),
        classes: vec!["query".to_owned()],
        recording: Some("r".to_owned()),
        from: Some(at),
        to: Some(at),
    };
    let (asked, agreed) = (actor(CAROL), actor(CAROL));
    let rules = [RuleRef {
        kind: RuleKind::AccessRule,
        name: "of-alice".into(),
        namespace: Some("n".into()),
        role: Some("r".into()),
        effect: RuleEffect::Allow,
        why: Some("w".into()),
    }];
    let workload = [Workload {
        id: &alice,
        user: "robot",
    }];
    let body = BodySeen {
        kept: "document",
        media: Some("m".into()),
        read: Some("json"),
        why: Some("w"),
        bytes: Some(1),
        kind: Some("k".into()),
        masked: 1,
        alarms: 1,
        duplicates: 1,
        cut_at: Some(1),
        key: Some("k".into()),
    };
    let diff = DiffSeen {
        changes: Some(1),
        since: Some("7".into()),
        why: Some("w"),
    };
    let parts = [Part {
        name: "query",
        len: 1,
        commitment: "c".to_owned(),
        class: "query",
        key: "k".to_owned(),
        sealed: "s".to_owned(),
    }];
    let keys = [ErasedKey {
        id: "k",
        class: "query",
    }];
    let record = Record {
        id: "i",
        pair: Some(1),
        t: at,
        mono: 1,
        boot: "b",
        cluster: Some(&cluster),
        service: Some(Called {
            name: Some("web"),
            host: "web.example",
            public: true,
        }),
        source: Source::Ingested,
        by: Some(By {
            id: &alice,
            kind: SubjectKind::Person,
            iss: "https://idp",
            sub: "s",
            user: "alice",
            email: Some("alice@example.com"),
            groups_hash: "00",
            session: Some("s"),
            credential: "cookie",
            credential_id: Some("JTI=1"),
            auth_time: Some(1),
            origin: Some("alice"),
            acr: Some("a"),
        }),
        effective: Some(Effective {
            user: "bob",
            uid: Some("u"),
            groups: &texts,
            groups_count: Some(1),
            groups_hash: Some("h".into()),
            extra_keys: vec!["x"],
            extra_count: Some(1),
        }),
        act: workload.to_vec(),
        presented: Some(Presented {
            credential: "token",
            iss: Some("https://idp"),
        }),
        net: Some(Network {
            ip: "10.0.0.1",
            port: 1,
            http: "HTTP/2.0",
            listener: "l",
        }),
        req: Some(Request {
            method: "GET",
            path: "/api",
            query_keys: &["limit"],
            query_count: Some(2),
            options: "limit=1",
            verb: "list",
            action: Some("exec"),
            group: Some("g"),
            version: Some("v1"),
            resource: Some("pods"),
            subresource: Some("exec"),
            namespace: Some("n"),
            name: Some("web"),
            content_type: Some("application/json"),
            dry_run: true,
            agent: Some("kubectl"),
            kubectl_command: Some("get"),
            kubectl_session: Some("s"),
            client_audit_id: Some("c"),
            container: Some("c"),
            pod: Some("n/p"),
            fallback_of: Some("f"),
        }),
        decision: Some(Decided {
            allowed: true,
            who: "gateway",
            reason: Some("denied"),
            rules: &rules,
            rules_count: Some(9),
            policy: "p",
            sent_groups_hash: "h",
            stated_reason: Some("because"),
        }),
        audit: Some(Audited {
            level: "Metadata",
            asked: Some("Request"),
            rule: Some(3),
            policy: "p",
        }),
        upstream: Some(Served {
            address: Some("10.0.0.2:443"),
            local_port: Some(1),
            attempts: Some(2),
            audit_id_differs: true,
            status: Some(401),
            node: Some("n"),
        }),
        outcome: Some(Outcome {
            end: Answer::Answered,
            status: Some(200),
            reason: Some("Forbidden"),
            bytes_in: 1,
            bytes_out: 1,
            took: Some(Span { first: 1, total: 1 }),
            body_sha256: Some("s"),
            body_hmac: Some("h"),
            exit_code: Some(1),
            unread: Some("tooLong"),
            diverged: true,
            why: Some("why"),
        }),
        object: Some(crate::event::Object {
            name: Some("web"),
            namespace: Some("n"),
            uid: Some("u"),
            resource_version: Some("7"),
        }),
        items: Some(ItemsSeen {
            count: 1,
            first: Some("a"),
            last: Some("z"),
        }),
        recording: Some(Recorded {
            chunks: 1,
            frames: 1,
            bytes: 1,
            hash: "h",
            incomplete: true,
        }),
        passed: Some(Passed {
            bytes_in: 1,
            bytes_out: 1,
        }),
        person: Some(Person {
            what: "signedIn",
            session: Some("s"),
            provider: Some("p"),
            why: Some("why"),
            amr: &texts,
        }),
        sum: Some(Summed {
            count: 1,
            from: at,
            to: at,
            what: "limited requests of subject aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            by: &[("x", 1)],
        }),
        gap: Some(Unrecorded {
            why: "diskFull",
            from: at,
            to: at,
            passed: ByClass { reads: 1, effects: 1 },
            modes: ByClass {
                reads: "open",
                effects: "open",
            },
            ended: Ends::from_counts([1; 7]),
            unfinished: 1,
            at_least: true,
        }),
        issued: Some(Issued {
            id: "JTI=2",
            what: "token",
            account: Some("robot"),
            serial: Some("1"),
            expires: Some(1),
            origin: "alice",
        }),
        policy: Some(PolicyChange {
            digest: "d",
            before: "b",
            added: 1,
            changed: 1,
            removed: 1,
            names: &texts,
            refused: Some("why"),
        }),
        config: Some(ConfigChange {
            digest: "d",
            refused: Some("why"),
        }),
        start: Some(Started {
            version: "1",
            origin: "https://gate",
            epoch: 1,
            names: Some("sealed"),
        }),
        clock: Some(ClockStep {
            from: at,
            to: at,
            millis: 1,
        }),
        erasure: Some(Erasing {
            what: "erased",
            request: "q",
            of: &of,
            asked: &asked,
            agreed: Some(&agreed),
            why: "why",
            refused: Some("why"),
            hold: Some("h"),
            until: Some(at),
            keys: &keys,
            more: 1,
        }),
        hold: Some(Held {
            what: "created",
            id: "h",
            of: &of,
            set_by: "carol",
            why: "why",
            released: Some("over"),
            refused: Some("no"),
        }),
        read: Some(Reading {
            what: "searched",
            scope: "all",
            roles: Some("r"),
            query: "user:alice",
            results: 1,
        }),
        body: Some(&body),
        diff: Some(&diff),
        ingested: Some(Ingested {
            format: "audit.k8s.io/v1",
            audit_id: "a",
            stage: "ResponseComplete",
            level: Some("Metadata"),
            event: "e",
            received: at,
            stamped: at,
            read: at,
            groups: &texts,
            groups_count: Some(1),
            forwarded: &texts,
        }),
        refused: &[7],
        unsigned: Some(Unsigned { from: 7, until: 9 }),
        parts: &parts,
        note: Some("note"),
    };
    serde_json::from_slice(&record.body().unwrap()).unwrap()
}

#[test]
fn promise_6_of_every_member_that_stays_it_is_decided_what_it_could_join() {
    let (body, listed) = (with_every_member(), STAYS.iter().map(|(path, _)| (*path).to_owned()));
    let listed: BTreeSet<String> = listed.collect();
    let mut stayed = BTreeSet::new();
    for kind in RecordKind::ALL {
        // In both a sentence is the gateway's about itself.
        let ours = matches!(kind, RecordKind::Start | RecordKind::Damage);
        let paths = clear(kind, &body, '1').into_iter().map(|(path, _)| path);
        let paths: BTreeSet<String> = paths.filter(|path| !(ours && path == "note")).collect();
        let undecided: Vec<&String> = paths.difference(&listed).collect();
        assert!(undecided.is_empty(), "{kind:?}: {undecided:?}");
        stayed.extend(paths);
    }
    let gone: Vec<&String> = listed.difference(&stayed).collect();
    assert!(gone.is_empty(), "they stay nowhere: {gone:?}");
}

/// What a person brings along, as it would be in a record before and in one after their erasure was asked for: all of it is the same, but for
/// what the list says is new by then.
fn seen_twice(kinds: [RecordKind; 2], members: &[usize]) -> Vec<String> {
    let every = with_every_member();
    let names: Vec<&String> = every.as_object().unwrap().keys().collect();
    let chosen: BTreeSet<&str> = members.iter().map(|at| names[at % names.len()].as_str()).collect();
    let body: serde_json::Map<String, Value> = every
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| chosen.contains(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let body = Value::Object(body);
    let [before, after] = [(kinds[0], '1'), (kinds[1], '2')].map(|(kind, time)| clear(kind, &body, time));
    let after: BTreeMap<String, Value> = after.into_iter().collect();
    let same = before
        .into_iter()
        .filter(|(path, value)| after.get(path) == Some(value));
    same.map(|(path, _)| path).collect()
}

proptest! {
    /// What tells one person from others is never the same in two records under two pseudonyms.
    #[test]
    fn promise_6_nothing_that_a_person_brings_along_joins_their_pseudonyms(
        kinds in prop::array::uniform2(prop::sample::select(RecordKind::ALL.to_vec())),
        members in prop::collection::vec(0_usize..64, 1..40),
    ) {
        for path in seen_twice(kinds, &members) {
            let because = STAYS.iter().find(|(listed, _)| *listed == path).map(|(_, because)| *because);
            let is_ours = path == "note" && kinds.iter().all(|kind| matches!(kind, RecordKind::Start | RecordKind::Damage));
            prop_assert!(is_ours || because.is_some_and(|because| because != Because::Pseudonym), "{path}: {because:?}");
        }
    }
}

#[test]
fn promise_6_a_hold_a_connection_an_attempt_and_a_rule_for_one_person_join_no_pseudonyms() {
    let body = json!({"id": "i", "by": {"id": ALICE, "kind": "person"}, "net": {"ip": "10.0.0.1", "port": 49152},
        "req": {"verb": "get", "fallback_of": "the-call-before"}, "audit": {"level": "Metadata", "rule": 49153, "policy": "p"},
        "erasure": {"what": "refused", "request": "q", "of": {"subject": ALICE, "kind": "person", "user": "alice"}, "hold": "the-hold"}});
    for kind in RecordKind::ALL {
        let clear = clear(kind, &body, '2');
        for value in [json!(49152), json!(49153), json!("the-call-before"), json!("the-hold")] {
            assert!(
                !clear.iter().any(|(_, found)| *found == value),
                "{value} in {kind:?}: {clear:?}"
            );
        }
    }
}

/// An erasure that leaves the name leaves the pseudonym: its record is under the one that is in use, as are the keys that it names.
#[test]
fn promise_6_only_an_erasure_of_everything_stands_under_the_pseudonym_that_it_ends() {
    let of = |more: Value| {
        let mut of = json!({"subject": ALICE, "kind": "person", "user": "alice"});
        of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"id": "i", "note": "about alice", "erasure": {"what": "erased", "request": "q", "of": of}})
    };
    let whole = [json!({}), json!({"classes": []})];
    let of_some = [
        json!({"classes": ["query"]}),
        json!({"recording": "r"}),
        json!({"from": "2026-01-01T00:00:00Z"}),
        json!({"to": "2026-01-01T00:00:00Z"}),
    ];
    let said = |more: &Value| {
        let body = of(more.clone());
        let owners = split(RecordKind::Erasure, body.to_string().as_bytes(), &mut InTime('2'));
        let owners = owners
            .unwrap()
            .unwrap()
            .asides
            .into_iter()
            .map(|(whose, _)| whose)
            .collect();
        let clear: BTreeMap<String, Value> = clear(RecordKind::Erasure, &body, '2').into_iter().collect();
        (clear["erasure.of.subject"].clone(), owners)
    };
    let alice = SubjectId::parse(ALICE).unwrap();
    let pseudonym = |time: char| json!(ALICE.replacen('a', &time.to_string(), 1));
    for more in whole {
        assert_eq!(
            said(&more),
            (pseudonym('1'), vec![Whose::Leaving(alice.clone())]),
            "{more}"
        );
    }
    for more in of_some {
        assert_eq!(
            said(&more),
            (pseudonym('2'), vec![Whose::Subject(alice.clone())]),
            "{more}"
        );
    }
}
