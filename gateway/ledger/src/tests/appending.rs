//! Appending: what is taken, what is refused, what waiting costs.

use std::future::Future as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::{AppendError, FillWhy, Frontier, Lost, Part, leaf_hash};

#[test]
fn one_sync_makes_all_waiting_records_durable() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let tickets: Vec<Ticket> = (0..50)
        .map(|n| {
            ledger
                .append(RecordKind::Access, body(&n.to_string()), Vec::new())
                .unwrap()
        })
        .collect();
    let before = disk.syncs();
    ledger.drive();
    assert_eq!(disk.syncs() - before, 1);
    assert_eq!(tickets.iter().map(seq).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
}

#[test]
fn nobody_is_told_durable_before_the_writer_ran() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let ticket = ledger.append(RecordKind::Access, body("a"), Vec::new()).unwrap();
    assert_eq!(ticket.result(), None);
    ledger.drive();
    assert_eq!(seq(&ticket), 0);
}

#[test]
fn the_leaf_carries_version_kind_and_sequence_before_the_members_of_the_body() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, b"{}".to_vec());
    append(&ledger, body("a"));
    assert_eq!(
        leaves(&disk, RecordKind::Access),
        [
            "{\"v\":1,\"kind\":\"access\",\"seq\":0}",
            "{\"v\":1,\"kind\":\"access\",\"seq\":1,\"id\":\"a\"}"
        ]
    );
}

#[test]
fn the_head_has_the_root_over_all_durable_leaves() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    for n in 0..40 {
        append(&ledger, big(&n.to_string()));
    }
    let mut frontier = Frontier::default();
    for record in records(&disk) {
        frontier.push(leaf_hash(&record.leaf));
    }
    assert_eq!((ledger.durable().size, ledger.durable().root), (40, frontier.root()));
    assert_eq!(ledger.durable().last_seq(), Some(39));
}

#[test]
fn parts_stand_before_their_record_and_are_no_leaves() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let parts = vec![
        Part { bytes: vec![1, 2, 3] },
        Part {
            bytes: vec![0; 70_000 % 9000],
        },
    ];
    let ticket = ledger.append(RecordKind::Access, body("a"), parts.clone()).unwrap();
    let syncs = disk.syncs();
    ledger.drive();
    assert_eq!((seq(&ticket), ledger.durable().size, disk.syncs() - syncs), (0, 1, 1));
    let found: Vec<Part> = records(&disk)
        .remove(0)
        .parts
        .into_iter()
        .map(|bytes| Part { bytes })
        .collect();
    assert_eq!(found, parts);
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_when_it_was_written() {
    let disk = SimDisk::new(1);
    let options = Options {
        queue_records: 3,
        ..options()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk)).unwrap();
    let append = || ledger.append(RecordKind::Access, body("a"), Vec::new());
    let tickets = [append().unwrap(), append().unwrap(), append().unwrap()];
    assert_eq!(append().unwrap_err(), AppendError::Full);
    ledger.drive();
    assert!(tickets.iter().all(|ticket| ticket.result().unwrap().is_ok()));
    // The room comes back when the writer returns to the queue.
    ledger.drive();
    append().unwrap();
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let disk = SimDisk::new(1);
    let options = Options {
        queue_bytes: 10_000,
        ..options()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk)).unwrap();
    ledger.append_forget(RecordKind::Access, big("a"), Vec::new()).unwrap();
    ledger.append_forget(RecordKind::Access, big("b"), Vec::new()).unwrap();
    assert_eq!(
        ledger
            .append_forget(RecordKind::Access, big("c"), Vec::new())
            .unwrap_err(),
        AppendError::Full
    );
}

#[test]
fn an_outcome_has_its_place_in_a_full_queue() {
    let disk = SimDisk::new(1);
    let options = Options {
        queue_records: 1,
        ..options()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk)).unwrap();
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    ledger.drive();
    ledger.drive();
    ledger.append_forget(RecordKind::Access, body("b"), Vec::new()).unwrap();
    assert_eq!(
        ledger
            .append_forget(RecordKind::Access, body("c"), Vec::new())
            .unwrap_err(),
        AppendError::Full
    );
    let body = outcome(&slot);
    let ticket = slot.fill(RecordKind::Outcome, body).unwrap();
    ledger.drive();
    assert_eq!(seq(&ticket), 2);
}

#[test]
fn places_of_outcomes_are_counted_and_come_back() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let mut slots: Vec<OutcomeSlot> = (0..32)
        .map(|n| ledger.append_intent(body(&n.to_string()), Vec::new()).unwrap().1)
        .collect();
    assert_eq!(
        ledger.append_intent(body("more"), Vec::new()).unwrap_err(),
        AppendError::TooManyOpen { limit: 32 }
    );
    ledger.drive();
    let slot = slots.remove(0);
    let body_of = outcome(&slot);
    slot.fill(RecordKind::Outcome, body_of).unwrap();
    ledger.drive();
    assert_eq!(ledger.in_flight(), 31);
    let again = ledger.append_intent(body("again"), Vec::new()).unwrap();
    assert_eq!(ledger.in_flight(), 32);
    drop(again);
}

#[test]
fn a_dropped_slot_gives_its_place_back_before_and_after_its_intent_is_durable() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    drop(ledger.append_intent(body("a"), Vec::new()).unwrap());
    assert_eq!(ledger.in_flight(), 0);
    let (_, slot) = ledger.append_intent(body("b"), Vec::new()).unwrap();
    ledger.drive();
    drop(slot);
    assert_eq!(ledger.in_flight(), 0);
}

#[test]
fn an_outcome_is_refused_with_its_reason_and_the_slot_comes_back() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    let error = slot.fill(RecordKind::Outcome, b"{\"pair\":0}".to_vec()).unwrap_err();
    assert_eq!(error.why, FillWhy::IntentNotDurable);
    ledger.drive();
    let error = error
        .slot
        .fill(RecordKind::Outcome, b"{\"pair\":1}".to_vec())
        .unwrap_err();
    assert_eq!(error.why, FillWhy::WrongPair { expected: 0 });
    let error = error
        .slot
        .fill(RecordKind::Outcome, b"{\"deep\":{\"pair\":0}}".to_vec())
        .unwrap_err();
    assert_eq!(error.why, FillWhy::WrongPair { expected: 0 });
    let error = error
        .slot
        .fill(RecordKind::Access, b"{\"pair\":0}".to_vec())
        .unwrap_err();
    assert_eq!(error.why, FillWhy::WrongKind);
    let error = error.slot.fill(RecordKind::Outcome, vec![b' '; 513]).unwrap_err();
    assert_eq!(error.why, FillWhy::TooLong { len: 513, limit: 512 });
    assert_eq!(
        error.to_string(),
        "the outcome is 513 bytes long and 512 are reserved for it"
    );
    let ticket = error.slot.fill(RecordKind::Outcome, b"{\"pair\":0}".to_vec()).unwrap();
    ledger.drive();
    assert_eq!((seq(&ticket), ledger.in_flight()), (1, 0));
}

#[test]
fn what_cannot_be_a_record_is_refused() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let append = |kind, body: &[u8], parts| ledger.append(kind, body.to_vec(), parts).unwrap_err();
    assert_eq!(append(RecordKind::Intent, b"{}", Vec::new()), AppendError::NeedsSlot);
    assert_eq!(append(RecordKind::Open, b"{}", Vec::new()), AppendError::NeedsSlot);
    assert_eq!(append(RecordKind::Outcome, b"{}", Vec::new()), AppendError::NeedsSlot);
    for no_object in [&b""[..], b"[]", b"{", b"{ }", b"\"a\"", b"{\"a\":1"] {
        assert_eq!(
            append(RecordKind::Access, no_object, Vec::new()),
            AppendError::NotAnObject
        );
    }
    assert_eq!(
        ledger.append_intent(b"{\"a\":}".to_vec(), Vec::new()).unwrap_err(),
        AppendError::NotAnObject
    );
    assert_eq!(
        append(RecordKind::Access, b"{}", vec![Part { bytes: Vec::new() }]),
        AppendError::EmptyPart
    );
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(
        append(RecordKind::Access, long.as_bytes(), Vec::new()),
        AppendError::TooLong {
            len: 70_008,
            limit: 65_471
        }
    );
    let parts = vec![Part { bytes: vec![1; 33_000] }];
    assert!(matches!(
        append(RecordKind::Access, b"{}", parts),
        AppendError::TooLong { limit: 32_768, .. }
    ));
}

#[test]
fn a_ticket_is_a_future_that_wakes_its_task_once() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut ticket = pin!(ledger.append(RecordKind::Access, body("a"), Vec::new()).unwrap());
    assert_eq!(ticket.as_mut().poll(&mut context), Poll::Pending);
    ledger.drive();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(ticket.as_mut().poll(&mut context), Poll::Ready(Ok(Durable { seq: 0 })));
    assert_eq!(ticket.as_mut().poll(&mut context), Poll::Ready(Ok(Durable { seq: 0 })));
}

#[test]
fn listeners_learn_the_new_size_of_each_batch() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    ledger.on_durable(move |size| seen.lock().unwrap().push(size));
    append(&ledger, body("a"));
    append(&ledger, body("b"));
    assert_eq!(*sizes.lock().unwrap(), [1, 2]);
    assert_eq!(ledger.wait_beyond(1, std::time::Duration::MAX), 2);
}

#[test]
fn closing_writes_what_is_queued_a_checkpoint_and_refuses_the_rest() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    ledger.close();
    assert_eq!(
        ledger.append(RecordKind::Access, body("b"), Vec::new()).unwrap_err(),
        AppendError::Closed
    );
    let late = outcome(&slot);
    assert_eq!(slot.fill(RecordKind::Outcome, late).unwrap_err().why, FillWhy::Closed);
    let checkpoint: serde_json::Value = serde_json::from_str(&leaves(&disk, RecordKind::Checkpoint)[0]).unwrap();
    assert_eq!(
        (&checkpoint["seq"], &checkpoint["checkpoint"]["size"]),
        (&1.into(), &1.into())
    );
    assert_eq!(ledger.durable().size, 2);
}

#[test]
fn whoever_waits_for_a_writer_that_is_gone_is_told_so() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let ticket = ledger.append(RecordKind::Access, body("a"), Vec::new()).unwrap();
    ledger.kill();
    assert_eq!(ticket.wait(), Err(Lost::Closed));
}

#[test]
fn options_that_do_not_fit_together_are_refused() {
    let open = |options| {
        Ledger::open_by_hand(Path::new("l"), options, Arc::new(SimDisk::new(1)))
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        open(Options {
            max_open: 100_000,
            ..options()
        }),
        "the ledger's options do not fit together: segment_bytes is too small for max_open and outcome_bytes"
    );
    assert!(
        open(Options {
            segment_bytes: 1,
            ..options()
        })
        .contains("between 64 KiB and 1 GiB")
    );
    assert!(
        open(Options {
            outcome_bytes: 65_500,
            ..options()
        })
        .contains("between 256 and 65,000")
    );
    assert!(
        open(Options {
            queue_records: 0,
            ..options()
        })
        .contains("must not be zero")
    );
}
