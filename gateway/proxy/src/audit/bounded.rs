//! The station on a real ledger in a folder of its own: what it writes of what strangers and upstreams may say.

use http::{HeaderMap, Method};
use ledger::{Options, Reader, RealDisk};
use serde_json::Value;

use super::*;

struct World {
    station: Arc<Station>,
    folder: tempfile::TempDir,
}

impl World {
    fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let options = Options {
            outcome_bytes: 512,
            ..Options::default()
        };
        let (ledger, _) = Ledger::open(folder.path(), options, disk).unwrap();
        let station = Station::new(Arc::new(ledger), Clock::system(), "boot".into(), limits);
        Self { station, folder }
    }

    fn trail(&self) -> Trail {
        let peer = Peer {
            ip: "192.0.2.1".into(),
            port: 4_711,
            listener: "kubernetes".into(),
        };
        let received = self.station.clock().read();
        Trail::new(received, peer, "HTTP/2.0", Method::GET, &HeaderMap::new())
    }

    /// All records, once what was appended until now is durable.
    fn records(&self) -> Vec<Value> {
        let id = RequestId::new();
        let marker = blank(&id, self.station.boot(), self.station.clock().read());
        let body = marker.body().unwrap();
        let ticket = self.station.ledger.append(RecordKind::Start, body, Vec::new()).unwrap();
        ticket.wait().unwrap();
        let reader = Reader::open(self.folder.path()).unwrap();
        reader
            .records_from(0)
            .map(|record| serde_json::from_slice(&record.unwrap().leaf).unwrap())
            .collect()
    }
}

/// A call that was opened and sent.
fn sent(world: &World) -> End {
    let trail = Arc::new(world.trail());
    let body = trail.head(world.station.boot(), trail.received).body().unwrap();
    let (ticket, slot) = world.station.ledger.append_intent(body, Vec::new()).unwrap();
    let durable = ticket.wait().unwrap();
    let mut end = End::of_effect(Arc::clone(&world.station), trail, slot, RecordKind::Intent);
    end.pairs_with(durable.seq);
    end.sent();
    end
}

#[test]
fn an_outcome_with_10_kb_of_error_text_still_ends_its_call() {
    let world = World::new(Limits::default());
    let why = format!("x{}", "\u{1}".repeat(10_000));
    sent(&world).settle(Answer::Unknown, Some(&why));
    let records = world.records();
    let outcome = records.iter().find(|record| record["kind"] == "outcome").unwrap();
    assert_eq!(
        (&outcome["pair"], &outcome["outcome"]["end"]),
        (&records[0]["seq"], &"unknown".into())
    );
    let said = outcome["outcome"]["why"].as_str().unwrap();
    assert!(
        said.starts_with("x\u{1}") && said.ends_with("… (10001 bytes)"),
        "{said}"
    );
}

#[test]
fn a_flood_of_long_targets_stays_within_the_strangers_bytes_and_is_counted_to_the_last_one() {
    let world = World::new(Limits {
        strangers_per_second: 1_000_000,
        strangers_bytes_per_second: 10,
        ..Limits::default()
    });
    let mut trail = world.trail();
    let path = format!("/api/v1/namespaces/{}", "a".repeat(60_000));
    trail.target = Some(model::request::Target::parse(path.as_bytes()).unwrap());
    let recorded = (0..100)
        .filter(|_| world.station.refuse(&trail, &Refusal::NoCredential))
        .count();
    world.station.write_summaries();
    let records = world.records();
    let refusals: Vec<usize> = records
        .iter()
        .filter(|record| record["kind"] == "refusal")
        .map(|record| record.to_string().len())
        .collect();
    assert_eq!(refusals.len(), recorded);
    assert_eq!(recorded, 1, "it alone is more than five seconds' worth");
    assert!(refusals.iter().all(|length| *length < 4_096), "{refusals:?}");
    let summary = records.iter().find(|record| record["kind"] == "summary").unwrap();
    assert_eq!(summary["sum"]["count"], 100 - recorded);
}
