//! The station before a real ledger whose writer is driven by hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::task::Poll;

use ledger::{Options, Reader, RealDisk};
use serde_json::Value;

use super::*;

fn station(folder: &Path) -> (Arc<Station>, Arc<Ledger>) {
    let (ledger, _) = Ledger::open_by_hand(folder, Options::default(), Arc::new(RealDisk::new(folder))).unwrap();
    let ledger = Arc::new(ledger);
    let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
    let station = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
    (station, ledger)
}

fn trail(station: &Station) -> Arc<Trail> {
    let peer = Peer {
        ip: "127.0.0.1".into(),
        port: 1,
        listener: "test".into(),
    };
    let headers = http::HeaderMap::new();
    Arc::new(Trail::new(
        station.clock().read(),
        peer,
        "HTTP/1.1",
        http::Method::POST,
        &headers,
    ))
}

fn records(folder: &Path) -> Vec<Value> {
    let reader = Reader::open(folder).unwrap();
    reader
        .records_from(0)
        .map(|record| serde_json::from_slice(&record.unwrap().leaf).unwrap())
        .collect()
}

#[tokio::test]
async fn whoever_leaves_while_the_intent_is_synced_leaves_no_open_call() {
    let folder = tempfile::tempdir().unwrap();
    let (station, ledger) = station(folder.path());
    for _ in 0..3 {
        let trail = trail(&station);
        let (ticket, slot) = ledger.append_intent(br#"{"id":"a"}"#.to_vec(), Vec::new()).unwrap();
        let end = End::of_effect(Arc::clone(&station), trail, slot, RecordKind::Intent);
        let mut waiting = Box::pin(Station::intended(ticket, end));
        assert!(matches!(futures::poll!(&mut waiting), Poll::Pending));
        drop(waiting); // the client has gone
    }
    ledger.drive();
    let ended = |records: &[Value]| records.iter().filter(|record| record["kind"] == "outcome").count();
    for turn in 0.. {
        if ended(&records(folder.path())) == 3 {
            break;
        }
        assert!(turn < 1_000, "calls stay open: {:?}", records(folder.path()));
        tokio::task::yield_now().await;
        ledger.drive();
    }
    let records = records(folder.path());
    for intent in records.iter().filter(|record| record["kind"] == "intent") {
        let outcome = records.iter().find(|record| record["pair"] == intent["seq"]).unwrap();
        assert_eq!(outcome["outcome"]["end"], "notSent", "{outcome}");
    }
}

/// Behind an upgrade a backend may answer 403 for reasons of its own: only the API server's `Status` contradicts the gateway.
#[tokio::test]
async fn a_403_behind_an_upgrade_contradicts_the_gateway_in_the_clusters_own_words_alone() {
    const FORBIDDEN: &[u8] =
        br#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}"#;
    let folder = tempfile::tempdir().unwrap();
    let (station, ledger) = station(folder.path());
    let json = http::HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    )]);
    let cases = [
        (RecordKind::Open, FORBIDDEN, true),
        (RecordKind::Open, br#"{"error":"not yours"}"#, false),
        (RecordKind::Open, b"", false),
        (RecordKind::Intent, b"", true),
    ];
    for (kind, said, _) in cases {
        let body = br#"{"id":"a"}"#.to_vec();
        let appended = match kind {
            RecordKind::Open => ledger.append_open(body, Vec::new()),
            _ => ledger.append_intent(body, Vec::new()),
        };
        let (ticket, slot) = appended.unwrap();
        ledger.drive();
        let end = End::of_effect(Arc::clone(&station), trail(&station), slot, kind);
        let (_, mut end) = Station::intended(ticket, end).await.unwrap();
        end.answered(403);
        end.scans(Scan::new(&json, Want::Names));
        end.passed(said);
        end.settle(Answer::Answered, None);
        ledger.drive();
    }
    let ends = records(folder.path())
        .into_iter()
        .filter(|record| record.get("outcome").is_some());
    let diverged: Vec<bool> = ends.map(|end| end["outcome"]["diverged"] == true).collect();
    assert_eq!(diverged, cases.map(|(_, _, diverged)| diverged));
}

/// An effect is answered where it was sent and once more where its answer is passed on, which may be later.
#[tokio::test]
async fn the_first_byte_of_an_answer_came_when_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(folder.path()));
    let (ledger, _) = Ledger::open_by_hand(folder.path(), Options::default(), disk).unwrap();
    let ledger = Arc::new(ledger);
    let (clock, hand) = Clock::manual(1_790_000_000_000_000_000);
    let station = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
    let mut end = End::of_read(Arc::clone(&station), trail(&station));
    let later = |milliseconds: i64| hand.fetch_add(milliseconds * 1_000_000, std::sync::atomic::Ordering::Relaxed);
    later(5);
    end.answered(200);
    later(70);
    end.answered(200);
    later(1);
    end.settle(Answer::Answered, None);
    ledger.drive();
    let records = records(folder.path());
    assert_eq!(
        records[0]["outcome"]["took"],
        serde_json::json!({"first": 5_000, "total": 76_000}),
        "{records:?}"
    );
}

/// The end of a call whose intent is durable.
async fn intended(station: &Arc<Station>, ledger: &Arc<Ledger>, trail: &Arc<Trail>) -> End {
    let (ticket, slot) = ledger.append_intent(br#"{"id":"a"}"#.to_vec(), Vec::new()).unwrap();
    ledger.drive();
    let end = End::of_effect(Arc::clone(station), Arc::clone(trail), slot, RecordKind::Intent);
    Station::intended(ticket, end).await.unwrap().1
}

fn ends(folder: &Path) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = records(folder)
        .into_iter()
        .filter(|record| record.get("outcome").is_some());
    all.map(|record| (text(&record["kind"]), text(&record["outcome"]["end"])))
        .collect()
}

/// A fault unwinds through whoever holds the end, and the request is refused as any that panicked.
#[tokio::test]
async fn promise_4_a_fault_behind_an_intent_leaves_one_end() {
    for (is_sent, how) in [(false, "notSent"), (true, "unknown")] {
        let folder = tempfile::tempdir().unwrap();
        let (station, ledger) = station(folder.path());
        let trail = trail(&station);
        let mut end = intended(&station, &ledger, &trail).await;
        let fault = catch_unwind(AssertUnwindSafe(move || {
            if is_sent {
                end.sent();
            }
            panic!("a fault of ours");
        }));
        assert!(fault.is_err());
        assert!(station.refuse(&trail, &Refusal::Internal), "its id leads to a record");
        station.left(&trail, false);
        ledger.drive();
        assert_eq!(ends(folder.path()), [("outcome".to_owned(), how.to_owned())]);
    }
}

/// What never became durable has no end, so the refusal is the one record.
#[tokio::test]
async fn promise_4_what_was_taken_back_is_refused_with_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (station, ledger) = station(folder.path());
    let trail = trail(&station);
    End::of_read(Arc::clone(&station), Arc::clone(&trail)).withdraw();
    assert!(station.refuse(&trail, &Refusal::Internal));
    ledger.drive();
    assert_eq!(ends(folder.path()), [("refusal".to_owned(), "refused".to_owned())]);
}

#[tokio::test]
async fn promise_4_a_fault_in_reading_an_answer_costs_what_was_read_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let (station, ledger) = station(folder.path());
    let trail = trail(&station);
    let mut end = intended(&station, &ledger, &trail).await;
    end.answered(200);
    end.scans(Scan::broken());
    end.passed(b"{}");
    end.settle(Answer::Answered, None);
    ledger.drive();
    assert_eq!(ends(folder.path()), [("outcome".to_owned(), "answered".to_owned())]);
    let records = records(folder.path());
    assert_eq!(records[1]["outcome"]["unread"], "a fault of the gateway", "{records:?}");
}
