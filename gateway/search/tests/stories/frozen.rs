//! Leaves of version 1 as `model::event::Record` writes them, frozen, and the rows they must always become.

use std::path::Path;

use crate::world::{ALICE, BOB, GRAFANA, ROBOT, World, in_run, on, path, search};
use ledger::Reader;
use model::event::{
    Answer, Called, Outcome, Passed, Person as SessionPerson, Presented, Record, RecordKind, Recorded, Request, Source,
    Summed,
};
use search::{Archive, View};

/// One of everything that the gateway writes.
fn write(world: &World) {
    let session = SessionPerson {
        what: "signedIn",
        session: Some("5e551011"),
        provider: Some("corp"),
        why: None,
        amr: &[],
    };
    let mut record = world.asked(world.id(), &ALICE, Request::default());
    (record.req, record.decision, record.person) = (None, None, Some(session));
    world.write(RecordKind::Session, &record);
    world.pass(1);
    world.call(&ALICE, path("/apis"), 200);
    world.call(&ALICE, in_run("run-1", on("list", "pods", None)), 200);
    world.call(&ALICE, in_run("run-2", on("patch", "deployments", Some("web"))), 200);
    world.call(&ROBOT, on("create", "configmaps", None), 201);
    world.refused(&BOB, on("delete", "secrets", Some("key")));
    world.call(&BOB, on("delete", "pods", Some("web-0")), 403);
    let exec = Request {
        action: Some("exec"),
        subresource: Some("exec"),
        ..on("get", "pods", Some("web-0"))
    };
    let id = world.id();
    world.write(RecordKind::Open, &world.asked(id, &ALICE, exec));
    let id = world.id();
    let sample = Record {
        source: Source::Sample,
        ..world.asked(id, &BOB, on("get", "services", Some("web")))
    };
    world.write(RecordKind::Access, &sample);
    let sum = Summed {
        count: 41,
        from: world.time(),
        to: world.time(),
        what: "limited requests of strangers",
        by: &[("429", 41)],
    };
    let id = world.id();
    world.write(
        RecordKind::Summary,
        &Record {
            sum: Some(sum),
            ..world.record(id)
        },
    );
    let id = world.id();
    let mut read = world.asked(id, &ALICE, path("/api/v1/audit/records"));
    (read.decision, read.note) = (None, Some("searched for `user:bob`: 2 results"));
    world.write(RecordKind::AuditRead, &read);
    world.close();
}

/// Sessions: one that was recorded and exited, one that a person ended, one that goes on.
fn write_sessions(world: &World) {
    let exec = Request {
        action: Some("exec"),
        subresource: Some("exec"),
        ..on("create", "pods", Some("web-0"))
    };
    let begins = |recorded: bool| {
        let id = world.id();
        let open = Record {
            recording: recorded.then_some(kept(0, "00", false)),
            ..world.asked(id, &ALICE, exec.clone())
        };
        (id, world.write(RecordKind::Open, &open))
    };
    let (id, open) = begins(true);
    let goes_on = |id, open, recording, bytes_out| Record {
        pair: Some(open),
        recording,
        passed: Some(Passed {
            bytes_in: 40,
            bytes_out,
        }),
        ..world.record(id)
    };
    world.heartbeat(&goes_on(id, open, Some(kept(1, "11", false)), 700));
    world.heartbeat(&goes_on(id, open, None, 900));
    world.pass(60);
    let mut close = Record {
        recording: Some(kept(2, "22", false)),
        ..world.ended(id, open, 101)
    };
    close.outcome = close.outcome.map(|outcome| Outcome {
        exit_code: Some(3),
        bytes_in: 41,
        ..outcome
    });
    world.write(RecordKind::Close, &close);
    let (id, open) = begins(true);
    let mut close = Record {
        recording: Some(kept(1, "33", true)),
        ..world.ended(id, open, 101)
    };
    close.outcome = close.outcome.map(|outcome| Outcome {
        end: Answer::Ended,
        why: Some("ended by the gateway: ended by oidc:bob: the change is done"),
        ..outcome
    });
    world.write(RecordKind::Close, &close);
    let (id, open) = begins(true);
    world.heartbeat(&goes_on(id, open, Some(kept(1, "44", false)), 10));
    world.heartbeat(&goes_on(id, open, None, 20));
    begins(false);
    world.close();
}

/// Calls of services, one record of each kind that they have: by a person, the public and a stranger; one that the service refused, one that the
/// gateway refused, one that goes nowhere; a WebSocket; what another proxy asked about.
fn write_services(world: &World) {
    world.call_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"), 200);
    world.call_of(GRAFANA, Some(&ALICE), ("POST", "/api/b%C3%BCcher"), 403);
    let public = Called {
        public: true,
        ..GRAFANA
    };
    world.call_of(public, None, ("GET", "/logo.png"), 200);
    let refused = |service: Called<'static>, who, reason| {
        let mut record = world.asked_of(service, who, ("DELETE", "/admin/users/7"));
        if let Some(decision) = &mut record.decision {
            (decision.allowed, decision.reason, decision.rules) = (false, Some(reason), &[]);
        }
        record.outcome = world.ended("", 0, 403).outcome.map(|outcome| Outcome {
            end: Answer::Refused,
            reason: None,
            ..outcome
        });
        record
    };
    world.write(RecordKind::Refusal, &refused(GRAFANA, Some(&BOB), "noRule"));
    let nowhere = Called {
        name: None,
        host: "apps.example.com",
        public: false,
    };
    let mut stranger = refused(nowhere, None, "unauthenticated");
    stranger.presented = Some(Presented {
        credential: "none",
        iss: None,
    });
    world.write(RecordKind::Refusal, &stranger);
    let open = world.asked_of(GRAFANA, Some(&ALICE), ("GET", "/api/live/ws"));
    let seq = world.write(RecordKind::Open, &open);
    world.heartbeat(&Record {
        pair: Some(seq),
        service: Some(GRAFANA),
        passed: Some(Passed {
            bytes_in: 40,
            bytes_out: 700,
        }),
        ..world.record(open.id)
    });
    let mut close = world.ended(open.id, seq, 101);
    close.service = Some(GRAFANA);
    world.write(RecordKind::Close, &close);
    let verdict = Record {
        source: Source::Verdict,
        ..world.asked_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"))
    };
    world.write(RecordKind::Verdict, &verdict);
    let chained = World::through(refused(GRAFANA, Some(&ALICE), "noRule"));
    world.write(RecordKind::Refusal, &chained);
    world.close();
}

fn kept(chunks: u64, hash: &'static str, incomplete: bool) -> Recorded<'static> {
    Recorded {
        chunks,
        frames: chunks * 5,
        bytes: 28 + chunks * 400,
        hash,
        incomplete,
    }
}

fn leaves(dir: &Path) -> String {
    let mut text = String::new();
    for record in Reader::open(dir).unwrap().records_from(0) {
        text.push_str(std::str::from_utf8(&record.unwrap().leaf).unwrap());
        text.push('\n');
    }
    text
}

fn same_as_frozen(name: &str, now: &str) {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/v1").join(name);
    let then = std::fs::read_to_string(&frozen).unwrap_or_default();
    if now != then {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&kept, now).unwrap();
        panic!(
            "{name} differs from the frozen one; what is made now is in {}",
            kept.display()
        );
    }
}

#[test]
fn leaves_of_version_1_are_written_as_they_were_frozen() {
    let world = World::new();
    write(&world);
    same_as_frozen("leaves.ndjson", &leaves(world.dir.path()));
}

#[test]
fn leaves_of_version_1_become_the_rows_that_were_frozen() {
    let world = World::new();
    write(&world);
    let archive = Archive::of_dir(world.dir.path());
    let mut text = String::new();
    for view in [View::Acts, View::All] {
        let page = search(&archive, "", world.time(), |search| search.view = view);
        text.push_str(&serde_json::to_string_pretty(&page).unwrap());
        text.push('\n');
    }
    same_as_frozen("rows.json", &text);
}

#[test]
fn sessions_of_version_1_are_written_as_they_were_frozen_and_become_the_same_rows() {
    let world = World::new();
    write_sessions(&world);
    same_as_frozen("sessions.ndjson", &leaves(world.dir.path()));
    let archive = Archive::of_dir(world.dir.path());
    let page = search(&archive, "kind:open", world.time(), |search| search.view = View::All);
    same_as_frozen(
        "session-rows.json",
        &format!("{}\n", serde_json::to_string_pretty(&page).unwrap()),
    );
}

#[test]
fn calls_of_services_of_version_1_are_written_as_they_were_frozen_and_become_the_same_rows() {
    let world = World::new();
    write_services(&world);
    same_as_frozen("services.ndjson", &leaves(world.dir.path()));
    let archive = Archive::of_dir(world.dir.path());
    let mut text = String::new();
    for view in [View::Acts, View::All, View::Sessions] {
        let page = search(&archive, "", world.time(), |search| search.view = view);
        text.push_str(&serde_json::to_string_pretty(&page).unwrap());
        text.push('\n');
    }
    same_as_frozen("service-rows.json", &text);
}
