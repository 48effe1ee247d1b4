//! The ledger as its callers see it, on the simulated disk, driven by hand.

mod appending;
mod erasing;
mod faults;
mod gathering;
mod proving;
mod reading;
mod recovering;
mod resuming;
mod retired;
mod turning;

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use model::time::Timestamp;

use crate::sim::SimDisk;
use crate::{Durable, Ledger, OpenError, Options, OutcomeSlot, Reader, Record, Recovery, Ticket};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        // Probes come by hand.
        probe_every: std::time::Duration::MAX,
        clock: Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000)),
        boot: Arc::from("b1"),
        ..Options::default()
    }
}

fn try_open(disk: &SimDisk) -> Result<(Ledger, Recovery), OpenError> {
    Ledger::open_by_hand(Path::new("ledger"), options(), Arc::new(disk.clone()))
}

fn open(disk: &SimDisk) -> (Ledger, Recovery) {
    try_open(disk).unwrap()
}

fn body(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\"}}").into_bytes()
}

fn big(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"note\":\"{}\"}}", "n".repeat(4000)).into_bytes()
}

fn outcome(slot: &OutcomeSlot) -> Vec<u8> {
    format!(
        "{{\"pair\":{},\"outcome\":{{\"end\":\"answered\"}}}}",
        slot.intent().unwrap()
    )
    .into_bytes()
}

/// Appends one record and makes it durable.
fn append(ledger: &Ledger, body: Vec<u8>) -> u64 {
    let ticket = ledger.append(RecordKind::Access, body, Vec::new()).unwrap();
    ledger.drive();
    seq(&ticket)
}

fn seq(ticket: &Ticket) -> u64 {
    let Durable { seq } = ticket.result().unwrap().unwrap();
    seq
}

fn records(disk: &SimDisk) -> Vec<Record> {
    Reader::open_on(Arc::new(disk.clone()))
        .unwrap()
        .records_from(0)
        .map(Result::unwrap)
        .collect()
}

fn leaves(disk: &SimDisk, kind: RecordKind) -> Vec<String> {
    let of_kind = records(disk).into_iter().filter(|record| record.kind == kind);
    of_kind.map(|record| String::from_utf8(record.leaf).unwrap()).collect()
}
