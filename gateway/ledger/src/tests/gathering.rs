//! Somebody else says when it is time to write. These run with the writer's own thread.

use std::sync::mpsc;

use super::*;
use crate::Pending;

fn with_thread(disk: &SimDisk) -> Arc<Ledger> {
    let (ledger, _) = Ledger::open(Path::new("ledger"), options(), Arc::new(disk.clone())).unwrap();
    Arc::new(ledger)
}

fn append(ledger: &Ledger, id: &str) -> Ticket {
    ledger.append(RecordKind::Access, body(id), Vec::new()).unwrap()
}

#[test]
fn what_comes_together_is_told_once_and_synced_once_when_it_is_time() {
    let disk = SimDisk::new(1);
    let ledger = with_thread(&disk);
    let (told, tellings) = mpsc::channel();
    let _gathering = ledger.gather(move |pending| told.send(pending).unwrap());
    let (size, syncs) = (ledger.durable().size, disk.syncs());
    ledger
        .append_forget(RecordKind::Access, body("forgotten"), Vec::new())
        .unwrap();
    let tickets: Vec<Ticket> = (0..50).map(|n| append(&ledger, &n.to_string())).collect();
    assert_eq!(
        tellings.try_iter().collect::<Vec<_>>(),
        [Pending::Unawaited, Pending::Awaited]
    );
    assert_eq!(
        (ledger.durable().size, disk.syncs()),
        (size, syncs),
        "nobody has said that it is time"
    );
    ledger.nudge();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!((ledger.durable().size, disk.syncs()), (size + 51, syncs + 1));
    append(&ledger, "next");
    assert_eq!(tellings.try_iter().collect::<Vec<_>>(), [Pending::Awaited]);
}

#[test]
fn nothing_waits_for_a_gatherer_that_is_gone_or_for_a_ledger_that_closes() {
    let ledger = with_thread(&SimDisk::new(1));
    let gathering = ledger.gather(|_| {});
    let before = append(&ledger, "before");
    drop(gathering);
    before.wait().unwrap();
    append(&ledger, "after").wait().unwrap();
    let _gathering = ledger.gather(|_| {});
    let last = append(&ledger, "last");
    ledger.close();
    last.wait().unwrap();
}

#[test]
fn very_much_is_written_without_being_told() {
    let ledger = with_thread(&SimDisk::new(1));
    let _gathering = ledger.gather(|_| {});
    let tickets: Vec<Ticket> = (0..2_000).map(|n| append(&ledger, &n.to_string())).collect();
    for ticket in tickets.into_iter().take(1_000) {
        ticket.wait().unwrap();
    }
}
