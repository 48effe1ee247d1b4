//! The station before a real ledger whose writer is driven by hand.

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
