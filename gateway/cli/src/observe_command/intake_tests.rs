//! Each event once: read twice, in another run, after a crash, and under an id that somebody else chose.

use serde_json::{Value, json};

use super::super::keep::Kept;
use super::*;

fn event(n: usize, stage: &str) -> ServerEvent {
    let said = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("id-{n}"), "stage": stage,
        "requestURI": "/api/v1/pods?watch=true", "verb": "watch", "user": {"username": format!("user-{n}")},
        "responseStatus": {"code": 200}, "requestReceivedTimestamp": "2026-11-18T10:00:00.000000Z",
        "stageTimestamp": "2026-11-18T10:00:01.000000Z"});
    insight::read_line(said.to_string().as_bytes()).unwrap().remove(0)
}

fn small() -> ledger::Options {
    ledger::Options {
        segment_bytes: 256 << 10,
        max_open: 16,
        ..ledger::Options::default()
    }
}

fn cluster() -> ClusterId {
    ClusterId::new("prod").unwrap()
}

fn intake(book: Option<Book>, memory: Memory) -> Intake {
    Intake::new(cluster(), book, memory, None, Arc::new(crate::serve::now))
}

fn opened(folder: &std::path::Path) -> (Kept, Intake) {
    let (kept, book, memory) = Kept::open_with(folder, &cluster(), small(), || {}).unwrap();
    (kept, intake(Some(book), memory))
}

/// What was ingested, by kind: access and close.
fn records(folder: &std::path::Path) -> Vec<(RecordKind, Value)> {
    let reader = ledger::Reader::open(folder).unwrap();
    let records = reader.records_from(0).map(Result::unwrap);
    records
        .filter(|record| {
            matches!(
                record.kind,
                RecordKind::Access | RecordKind::Close | RecordKind::Summary
            )
        })
        .map(|record| (record.kind, serde_json::from_slice(&record.leaf).unwrap()))
        .collect()
}

#[test]
fn an_event_that_comes_again_is_written_once_and_a_second_call_under_its_id_is_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let (kept, mut taken) = opened(&at);
    let first = event(1, "ResponseComplete");
    let same_id = ServerEvent {
        user: "mallory".to_owned(),
        ..first.clone()
    };
    let received = event(1, "RequestReceived");
    taken
        .take(&[received, first.clone(), first.clone(), same_id.clone()])
        .unwrap();
    taken.take(std::slice::from_ref(&first)).unwrap();
    let counts = &taken.counts;
    assert_eq!(
        (
            counts.events,
            counts.written,
            counts.known,
            counts.announced,
            counts.calls
        ),
        (5, 2, 2, 1, 2)
    );
    drop(taken);
    kept.close().unwrap();
    let written = records(&at);
    let users: Vec<_> = written
        .iter()
        .map(|(_, record)| record["by"]["user"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["user-1", "mallory"]);

    // In a later run they are known, and counted for its summary.
    let (kept, mut again) = opened(&at);
    again.take(&[first.clone(), first, same_id]).unwrap();
    assert_eq!(
        (again.counts.written, again.counts.known, again.counts.calls),
        (0, 3, 2)
    );
    drop(again);
    kept.close().unwrap();
    assert_eq!(records(&at).len(), 2);
}

#[test]
fn a_long_call_has_its_beginning_and_its_end_also_when_a_run_lies_between() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, ended) = (event(1, "ResponseStarted"), event(1, "ResponseComplete"));
    for apart in [false, true] {
        let at = folder.path().join(format!("observed-{apart}"));
        let (kept, mut taken) = opened(&at);
        taken.take(std::slice::from_ref(&begun)).unwrap();
        if !apart {
            taken.take(std::slice::from_ref(&ended)).unwrap();
        }
        drop(taken);
        kept.close().unwrap();
        if apart {
            let (kept, mut later) = opened(&at);
            later.take(&[begun.clone(), ended.clone()]).unwrap();
            drop(later);
            kept.close().unwrap();
        }
        let written = records(&at);
        let kinds: Vec<_> = written.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [RecordKind::Access, RecordKind::Close]);
        assert_eq!(written[0].1["id"], written[1].1["id"]);
    }
}

/// A copy of a ledger that is being written is what a crash leaves. A file that goes meanwhile is one that was not renamed yet, as
/// checkpoints are.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if let Err(error) = std::fs::copy(entry.path(), to.join(entry.file_name())) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

#[test]
fn promise_4_after_a_crash_anywhere_nothing_is_lost_and_nothing_is_there_twice() {
    const EVENTS: usize = 12;
    let all: Vec<ServerEvent> = (0..EVENTS)
        .map(|n| {
            event(
                n / 2,
                if n % 2 == 0 {
                    "ResponseStarted"
                } else {
                    "ResponseComplete"
                },
            )
        })
        .collect();
    for before in 0..=EVENTS {
        let folder = tempfile::tempdir().unwrap();
        let (at, crashed) = (folder.path().join("a/observed"), folder.path().join("b/observed"));
        let (kept, mut taken) = opened(&at);
        taken.take(&all[..before]).unwrap();
        // Taken means durable: the copy is made of files alone.
        copy(&folder.path().join("a"), &folder.path().join("b"));
        drop((taken, kept));
        let (kept, mut later) = opened(&crashed);
        later.take(&all).unwrap();
        assert_eq!(
            later.counts.written,
            u64::try_from(EVENTS - before).unwrap(),
            "{before}"
        );
        drop(later);
        kept.close().unwrap();
        let mut known: Vec<_> = records(&crashed)
            .into_iter()
            .map(|(_, record)| record["ingested"]["event"].as_str().unwrap().to_owned())
            .collect();
        known.sort();
        known.dedup();
        assert_eq!((known.len(), records(&crashed).len()), (EVENTS, EVENTS), "{before}");
    }
}

#[test]
fn promise_8_what_is_remembered_is_bounded_and_what_is_forgotten_is_told() {
    let mut taken = intake(None, Memory::default()).remembering(10);
    let all: Vec<ServerEvent> = (0..25).map(|n| event(n, "ResponseComplete")).collect();
    taken.take(&all).unwrap();
    assert_eq!(
        (
            taken.memory.events.len(),
            taken.memory.order.len(),
            taken.counts.forgotten
        ),
        (10, 10, 15)
    );
    taken.take(&all[24..]).unwrap();
    assert_eq!(taken.counts.known, 1);
}

#[test]
fn what_could_not_be_read_is_named_counted_and_recorded_without_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let (kept, mut taken) = opened(&at);
    for n in 0..7 {
        taken.unreadable(
            &format!("audit.log:{n}"),
            (n, 0),
            &sha256(b"hunter2"),
            "hunter2 is no event",
        );
    }
    taken.take(&[]).unwrap();
    // The same again, as where a webhook sends a list again, is the same.
    taken.unreadable("audit.log:6", (6, 0), &sha256(b"hunter2"), "hunter2 is no event");
    taken.take(&[]).unwrap();
    assert_eq!((taken.counts.unreadable, taken.counts.named.len()), (7, 5));
    drop(taken);
    kept.close().unwrap();
    let written = records(&at);
    assert_eq!(written.len(), 1, "told once");
    assert_eq!(
        (written[0].0, &written[0].1["sum"]["count"]),
        (RecordKind::Summary, &json!(7))
    );
    assert!(!written[0].1.to_string().contains("hunter2"));

    // A later run that reads it again has not read it either, and the ledger says so once.
    let (kept, mut again) = opened(&at);
    for n in 0..7 {
        again.unreadable(
            &format!("audit.log:{n}"),
            (n, 0),
            &sha256(b"hunter2"),
            "hunter2 is no event",
        );
    }
    again.take(&[]).unwrap();
    assert_eq!(again.counts.unreadable, 7);
    drop(again);
    kept.close().unwrap();
    assert_eq!(records(&at).len(), 1);
}

/// Batches of a webhook come side by side, and what failed after its answer has two ends.
#[test]
fn a_call_begins_once_in_whatever_order_its_events_come() {
    let (started, ended, failed) = (
        event(1, "ResponseStarted"),
        event(1, "ResponseComplete"),
        event(1, "Panic"),
    );
    let close = RecordKind::Close;
    for (order, expected) in [
        (vec![&started, &ended], vec![close]),
        (vec![&ended, &started], vec![]),
        (vec![&ended, &failed, &started], vec![close]),
        (vec![&failed, &ended], vec![close]),
        (vec![&started, &failed, &ended], vec![close, close]),
    ] {
        for (together, between) in [(true, false), (false, false), (false, true)] {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("observed");
            let (mut kept, mut taken) = opened(&at);
            let all: Vec<ServerEvent> = order.iter().map(|event| (*event).clone()).collect();
            if together {
                taken.take(&all).unwrap();
            }
            for one in all.iter().filter(|_| !together) {
                taken.take(std::slice::from_ref(one)).unwrap();
                if between {
                    drop(taken);
                    kept.close().unwrap();
                    (kept, taken) = opened(&at);
                }
            }
            let calls = taken.counts.calls;
            drop(taken);
            kept.close().unwrap();
            let kinds: Vec<RecordKind> = records(&at).into_iter().map(|(kind, _)| kind).collect();
            let stages: Vec<&str> = order.iter().map(|event| event.stage.as_str()).collect();
            assert_eq!(kinds.first(), Some(&RecordKind::Access), "{stages:?}");
            assert_eq!(kinds[1..], expected, "{stages:?}, together {together}");
            assert!(between || calls == 1, "{stages:?}: {calls}");
        }
    }
}

#[test]
fn promise_8_a_list_of_any_number_of_items_is_taken_some_at_a_time() {
    let item = |n: usize| {
        format!(
            r#"{{"auditID":"id-{n}","stage":"ResponseComplete","requestURI":"/version","verb":"get","user":{{"username":"user"}},"requestReceivedTimestamp":"2026-11-18T10:00:00Z","stageTimestamp":"2026-11-18T10:00:01Z"}}"#
        )
    };
    let items: Vec<String> = (0..3 * BATCH).flat_map(|n| [item(n), "0".to_owned()]).collect();
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{}]}}"#,
        items.join(",")
    );
    let mut taken = intake(None, Memory::default());
    let mut waiting = Vec::new();
    let place = |number| format!("peer: event {number} of a list");
    let wrong = taken.line(&mut waiting, 0, list.as_bytes(), &place).unwrap();
    assert!(wrong.is_none() && waiting.len() < BATCH && waiting.capacity() <= 2 * BATCH);
    taken.take(&waiting).unwrap();
    let all = u64::try_from(3 * BATCH).unwrap();
    assert_eq!((taken.counts.calls, taken.counts.unreadable), (all, all));
    assert!(
        taken.counts.named[0].starts_with("peer: event 2 of a list: "),
        "{:?}",
        taken.counts.named
    );
    // Sent again, as after an answer that was lost: nothing of it counts again.
    taken.line(&mut Vec::new(), 0, list.as_bytes(), &place).unwrap();
    assert_eq!((taken.counts.calls, taken.counts.unreadable), (all, all));
    let why = taken.line(&mut Vec::new(), 0, b"{\"kind\":", &place).unwrap();
    assert!(why.is_some_and(|why| why.contains("no audit event")));
}

/// What another observer wrote meanwhile would be unknown to us, and be written twice.
#[test]
fn what_a_ledger_has_is_read_when_nobody_else_can_write_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let (kept, mut taken) = opened(&at);
    taken.take(&[event(1, "ResponseComplete")]).unwrap();
    let other = move || {
        taken.take(&[event(2, "ResponseComplete")]).unwrap();
        drop(taken);
        kept.close().unwrap();
    };
    let (kept, book, memory) = Kept::open_with(&at, &cluster(), small(), other).unwrap();
    let mut taken = intake(Some(book), memory);
    taken
        .take(&[event(1, "ResponseComplete"), event(2, "ResponseComplete")])
        .unwrap();
    assert_eq!((taken.counts.written, taken.counts.known), (0, 2));
    drop(taken);
    kept.close().unwrap();
    assert_eq!(records(&at).len(), 2);
}

fn verified(at: &std::path::Path) -> ledger::verify::Report {
    let key = std::fs::read_to_string(at.with_extension("keys").join("ledger.pub")).unwrap();
    let trust = ledger::verify::Trust {
        keys: vec![key.trim().parse().unwrap()],
        remembered: Vec::new(),
    };
    let disk: Arc<dyn ledger::Disk> = Arc::new(ledger::RealDisk::new(at));
    ledger::verify::verify(&disk, &trust, 1, &|_| {}).unwrap()
}

/// Somebody without the key, between two runs.
fn puts_in(at: &std::path::Path) -> std::ops::Range<u64> {
    let (ledger, _) = Ledger::open(at, small(), Arc::new(ledger::RealDisk::new(at))).unwrap();
    let forged = br#"{"id":"forged","source":"ingested","cluster":"prod","by":{"user":"alice"}}"#.to_vec();
    let ticket = ledger.append(RecordKind::Access, forged, Vec::new()).unwrap();
    let seq = ticket.wait().unwrap().seq;
    ledger.close();
    // With the record of the end of its own run.
    seq..ledger.durable().size
}

#[test]
fn promise_5_a_run_of_observe_that_fails_at_its_start_accuses_nobody_and_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let run = |event: ServerEvent| {
        let (kept, mut taken) = opened(&at);
        taken.take(&[event]).unwrap();
        drop(taken);
        kept.close().unwrap();
    };
    // A folder stands where its public key goes, as if the disk were full.
    let public = folder.path().join("observed.keys/ledger.pub");
    let fails = || {
        std::fs::remove_file(&public).unwrap();
        std::fs::create_dir(&public).unwrap();
        let error = Kept::open_with(&at, &cluster(), small(), || {}).err().unwrap();
        assert!(format!("{error:#}").contains("ledger.pub"), "{error:#}");
        std::fs::remove_dir(&public).unwrap();
    };
    run(event(1, "ResponseComplete"));
    fails();
    run(event(2, "ResponseComplete"));
    let report = verified(&at);
    assert!(
        report.is_proved() && report.unsigned == ledger::verify::Unsigned::default(),
        "{report:?}"
    );
    fails();
    let put_in = puts_in(&at);
    run(event(3, "ResponseComplete"));
    let report = verified(&at);
    let found = report.findings.iter().map(|finding| finding.records.clone());
    assert_eq!(found.collect::<Vec<_>>(), [put_in]);
}

/// A run signs whatever stands in its ledger: so before that it is recorded what nobody had signed.
#[test]
fn promise_5_what_is_put_into_a_ledger_of_observe_between_two_runs_is_not_signed_as_if_it_had_been_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let run = |event: ServerEvent| {
        let (kept, mut taken) = opened(&at);
        taken.take(&[event]).unwrap();
        drop(taken);
        kept.close().unwrap();
    };
    let verified = || verified(&at);
    run(event(1, "ResponseComplete"));
    run(event(2, "ResponseComplete"));
    let honest = verified();
    assert!(
        honest.is_proved() && honest.unsigned == ledger::verify::Unsigned::default(),
        "{honest:?}"
    );

    let put_in = puts_in(&at);
    for n in 3..5 {
        run(event(n, "ResponseComplete"));
        let report = verified();
        assert_eq!(report.proved, report.size);
        assert!(!report.is_proved());
        let found = report.findings.iter().map(|finding| finding.records.clone());
        assert_eq!(found.collect::<Vec<_>>(), std::slice::from_ref(&put_in));
        assert_eq!(report.unsigned.foreign.len(), 1, "{:?}", report.unsigned);
    }
}

/// Appends to a ledger's files without its key.
fn put_in(at: &std::path::Path, records: Vec<(RecordKind, Vec<u8>)>) {
    let (ledger, _) = Ledger::open(at, small(), Arc::new(ledger::RealDisk::new(at))).unwrap();
    for (kind, body) in records {
        ledger.append(kind, body, Vec::new()).unwrap().wait().unwrap();
    }
    ledger.close();
}

/// A record by which `event` would count as read, with what `says` says in it.
fn of_event(event: &ServerEvent, says: &ServerEvent, begun: bool) -> (RecordKind, Vec<u8>) {
    let here = Here {
        cluster: &cluster(),
        boot: "forged",
        now: crate::serve::now(),
    };
    let written = record::write(here, says, record::digest_of(&cluster(), event), begun).unwrap();
    (written.kind, written.body)
}

/// The same call as if somebody else had made it.
fn by_mallory(event: &ServerEvent) -> ServerEvent {
    ServerEvent {
        user: "mallory".to_owned(),
        ..event.clone()
    }
}

/// Whoever puts a record in before a call is made would otherwise keep it from being recorded.
#[test]
fn promise_4_an_event_that_somebody_put_into_the_ledger_between_two_runs_is_recorded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let all: Vec<ServerEvent> = (1..4).map(|n| event(n, "ResponseComplete")).collect();
    let run = |written: u64| {
        let (kept, mut taken) = opened(&at);
        taken.unreadable("audit.log:1", (1, 0), &sha256(b"no event"), "why");
        taken.take(&all).unwrap();
        assert_eq!((taken.counts.written, taken.counts.calls), (written, 3));
        drop(taken);
        kept.close().unwrap();
    };
    let (kept, mut taken) = opened(&at);
    taken.take(&all[..1]).unwrap();
    drop(taken);
    kept.close().unwrap();

    let line = record::digest_of_text(&cluster(), (1, 0), &sha256(b"no event")).to_hex();
    let sum = json!({"source": "ingested", "sum": {"what": "unreadableEvents", "by": [[line, 1]]}});
    put_in(
        &at,
        vec![
            of_event(&all[1], &by_mallory(&all[1]), false),
            // To the byte what an honest run writes: the report of a verification says that it is none of its records.
            of_event(&all[2], &all[2], false),
            (RecordKind::Summary, sum.to_string().into_bytes()),
        ],
    );
    run(2);
    // What was put in stays what it is, and what this command has written since is known.
    run(0);
    let users: Vec<_> = records(&at)
        .into_iter()
        .filter_map(|(_, record)| record["by"]["user"].as_str().map(ToOwned::to_owned))
        .collect();
    assert_eq!(users, ["user-1", "mallory", "user-3", "user-2", "user-3"]);
    let sums = records(&at)
        .into_iter()
        .filter(|(kind, _)| *kind == RecordKind::Summary);
    assert_eq!(sums.count(), 2, "the line that could not be read is told");
}

/// After a kill nothing tells the records of the killed run from those that were put in: so each counts by what it says.
#[test]
fn promise_4_after_a_kill_an_event_counts_as_recorded_only_by_a_record_that_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (at, crashed) = (folder.path().join("a/observed"), folder.path().join("b/observed"));
    let line = |n: u8| sha256(&[b'?', n]);
    let of_line = |n: u8| record::digest_of_text(&cluster(), (u64::from(n), 0), &line(n)).to_hex();
    let unreadable = |taken: &mut Intake, n: u8| taken.unreadable("audit.log", (u64::from(n), 0), &line(n), "why");
    let (started, ended) = (|n| event(n, "ResponseStarted"), |n| event(n, "ResponseComplete"));
    let (kept, mut taken) = opened(&at);
    // One that came and went, one that goes on, and a line.
    unreadable(&mut taken, 1);
    taken.take(&[ended(1), started(2), started(3), ended(3)]).unwrap();
    copy(&folder.path().join("a"), &folder.path().join("b"));
    drop((taken, kept));

    let cluster = cluster();
    let of_seventh = record::digest_of(&cluster, &ended(7)).to_hex();
    let here = Here {
        cluster: &cluster,
        boot: "forged",
        now: crate::serve::now(),
    };
    let sum = json!({"id": "", "source": "ingested", "sum": {"count": 0, "what": "unreadableEvents", "by": [[of_line(2), 1]]}});
    put_in(
        &crashed,
        vec![
            of_event(&ended(4), &by_mallory(&ended(4)), false),
            of_event(&started(5), &by_mallory(&started(5)), false),
            // An end says of its call only which one it is: with a beginning of somebody else's it would be theirs.
            of_event(&started(6), &by_mallory(&started(6)), false),
            of_event(&ended(6), &ended(6), true),
            (RecordKind::Summary, sum.to_string().into_bytes()),
            // An event is no line that could not be read.
            (RecordKind::Summary, unreadable_body(here, "", &[of_seventh]).unwrap()),
        ],
    );
    for (run, written) in [(1, 6), (2, 0)] {
        let (kept, mut later) = opened(&crashed);
        unreadable(&mut later, 1);
        unreadable(&mut later, 2);
        // Of the third call its end alone comes again.
        later
            .take(&[
                ended(1),
                ended(2),
                ended(3),
                ended(4),
                started(5),
                ended(5),
                ended(6),
                ended(7),
            ])
            .unwrap();
        assert_eq!(
            (later.counts.written, later.counts.known),
            (written, 8 - written),
            "{run}"
        );
        assert_eq!((later.counts.calls, later.counts.unreadable), (7, 2), "{run}");
        drop(later);
        kept.close().unwrap();
    }
    let written = records(&crashed);
    let put_in = written
        .iter()
        .position(|(_, record)| record["boot"] == "forged")
        .unwrap();
    let since = &written[put_in + 6..];
    let (access, close) = (RecordKind::Access, RecordKind::Close);
    let said: Vec<_> = since
        .iter()
        .map(|(kind, record)| (*kind, record["by"]["user"].as_str()))
        .collect();
    assert_eq!(
        said,
        [
            // The call that went on ends in order.
            (close, None),
            (access, Some("user-4")),
            (access, Some("user-5")),
            (close, None),
            (access, Some("user-6")),
            (access, Some("user-7")),
            (RecordKind::Summary, None),
        ]
    );
    assert_eq!(
        since[6].1["sum"]["by"],
        json!([[of_line(2), 1]]),
        "the other line stands there"
    );
}

#[test]
fn promise_5_a_ledger_of_a_gateway_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("ledger");
    let (ledger, _) = Ledger::open(&at, small(), Arc::new(ledger::RealDisk::new(&at))).unwrap();
    let own = |kind, body: &str| {
        ledger
            .append(kind, body.as_bytes().to_vec(), Vec::new())
            .unwrap()
            .wait()
            .unwrap()
    };
    own(
        RecordKind::Start,
        r#"{"id":"0192f0c1-7c3e-7d00-a000-000000000001","start":{"origin":"https://gate.example"}}"#,
    );
    ledger.close();
    drop(ledger);
    let before = ledger::Reader::open(&at).unwrap().records_from(0).count();
    let error = Kept::open_with(&at, &cluster(), small(), || {}).err().unwrap();
    assert!(error.to_string().contains("is the ledger of a gateway"), "{error:#}");
    assert_eq!(ledger::Reader::open(&at).unwrap().records_from(0).count(), before);
    assert!(!folder.path().join("ledger.keys").exists(), "nothing is made for it");
}

#[test]
fn what_is_older_than_its_ledger_is_found_by_its_own_time_and_by_the_server_s_id() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("observed");
    let (kept, mut taken) = opened(&at);
    let far = Timestamp::parse("2026-11-10T10:00:00Z").unwrap();
    let older = ServerEvent {
        received: far,
        at: far,
        ..event(2, "ResponseComplete")
    };
    // Read in the wrong order, too.
    taken.take(&[event(1, "ResponseComplete"), older]).unwrap();
    drop(taken);
    kept.close().unwrap();
    let archive = search::Archive::of_dir(&at);
    for (query, expected) in [
        ("until:2026-11-11", vec!["id-2"]),
        ("since:2026-11-17 until:2026-11-19", vec!["id-1"]),
        ("id:id-2", vec!["id-2"]),
        ("source:ingested kind:access", vec!["id-2", "id-1"]),
        ("source:gateway", vec![]),
    ] {
        let query = search::Query::parse(query).unwrap();
        let asked = search::Search {
            query: &query,
            scope: &search::Scope::All,
            view: search::View::All,
            limit: 10,
            after: None,
            now: crate::serve::now(),
        };
        let budget = search::Budget {
            bytes: u64::MAX,
            go_on: &mut || true,
        };
        let page = archive.search(&asked, budget).unwrap();
        let calls = page.rows.iter().filter(|row| row.kind == "access");
        let found: Vec<_> = calls.filter_map(|row| row.audit_id.as_deref()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
    let query = search::Query::parse("until:2026-11-19").unwrap();
    let survey = search::Survey {
        query: &query,
        scope: &search::Scope::All,
        now: crate::serve::now(),
    };
    match archive.survey(&survey, &mut || true).unwrap() {
        search::Surveyed::Whole(found) => assert_eq!(found.range, 2),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        archive.show("id-2", &search::Scope::All, &mut || true).unwrap(),
        search::Found::Yes(_)
    ));
}
