//! Where a ledger begins, and several that a gateway had one after another.

use model::event::RecordKind;
use serde_json::json;

use super::{at, begins, ends, event, framed, problems, report, unknown};
use crate::reconcile::Problem;
use crate::{Calls, ServerEvent};

/// A run of the gateway begins, and the ledger with it, or goes on.
fn starts(calls: &mut Calls, seq: u64, second: i64) {
    calls.push(seq, RecordKind::Start, json!({"t": at(second)}).to_string().as_bytes());
}

fn one_call(calls: &mut Calls, seq: u64, id: &str, second: i64) {
    calls.push(seq, RecordKind::Access, begins(id, second).to_string().as_bytes());
    let end = ends(id, second, "answered").to_string();
    calls.push(seq + 1, RecordKind::Close, end.as_bytes());
}

#[test]
fn promise_4_calls_from_before_a_ledger_s_first_record_accuse_nobody_and_are_counted() {
    let mut calls = Calls::of("prod");
    starts(&mut calls, 0, 10);
    one_call(&mut calls, 1, "a", 12);
    let events = vec![
        event("old", -50),
        event("older", -60),
        event("a", 12),
        event("late", 20),
    ];
    let said = report(&calls, framed(events));
    assert_eq!(problems(&said), [("late", &Problem::NotInLedger)]);
    assert_eq!((said.begins, said.unknown), (Some(at(10)), unknown(0, 2)));
    // An id that was used before hides no use of it since.
    let said = report(
        &calls,
        framed(vec![event("late", -50), event("a", 12), event("late", 20)]),
    );
    assert_eq!(problems(&said), [("late", &Problem::NotInLedger)]);
    assert_eq!((said.findings[0].at, said.unknown), (at(20), unknown(0, 1)));
}

#[test]
fn promise_4_a_first_record_with_a_wrong_time_hides_nothing_behind_the_first_call_that_both_logs_have() {
    let mut calls = Calls::of("prod");
    starts(&mut calls, 0, 1_000_000);
    one_call(&mut calls, 1, "a", 12);
    let stolen = event("stolen", 20);
    let said = report(&calls, framed(vec![event("old", -50), event("a", 12), stolen.clone()]));
    assert_eq!(problems(&said), [("stolen", &Problem::NotInLedger)]);
    assert_eq!((said.begins, said.unknown), (Some(at(12)), unknown(0, 1)));
    // Somebody else's use of the id says nothing of when the ledger began.
    let borrowed = ServerEvent {
        user: "mallory".to_owned(),
        ..event("a", -90)
    };
    let said = report(&calls, framed(vec![borrowed, event("old", -50)]));
    assert_eq!((said.begins, said.unknown), (Some(at(1_000_000)), unknown(0, 1)));
    // Where no call is in both, all that is hidden is counted, and the time is told.
    let said = report(&calls, framed(vec![stolen]));
    assert_eq!((said.begins, said.unknown), (Some(at(1_000_000)), unknown(0, 1)));
}

#[test]
fn promise_4_ledgers_that_a_gateway_had_one_after_another_are_one() {
    let both = |order: [bool; 2], seq, breaks_off: bool| {
        let mut calls = Calls::of("prod");
        for (n, is_old) in order.into_iter().enumerate() {
            if n > 0 {
                calls.next_ledger();
            }
            if is_old {
                starts(&mut calls, 0, -90);
                one_call(&mut calls, 1, "old", -60);
                if breaks_off {
                    calls.break_off();
                }
            } else {
                starts(&mut calls, seq, 0);
                one_call(&mut calls, seq + 1, "new", 10);
            }
        }
        calls
    };
    let events = || {
        let between = [event("x", -80), event("y", -30), event("z", 20)];
        framed(
            [
                vec![event("first", -95), event("old", -60), event("new", 10)],
                between.to_vec(),
            ]
            .concat(),
        )
    };
    for order in [[true, false], [false, true]] {
        for (seq, breaks_off, found, unknown) in [
            (0, false, vec!["x", "y", "z"], unknown(0, 1)),
            // The later one has lost its first records, or the earlier one its last: of what is between them nobody knows.
            (7, false, vec!["x", "z"], unknown(1, 1)),
            (0, true, vec!["x", "z"], unknown(1, 1)),
        ] {
            let said = report(&both(order, seq, breaks_off), events());
            let ids: Vec<&str> = problems(&said).iter().map(|(id, _)| *id).collect();
            assert_eq!(
                (ids, said.unknown, said.joined),
                (found, unknown, 2),
                "{order:?} {seq} {breaks_off}"
            );
        }
    }
    // A call that the one began is not ended by a record of the other's with the same number.
    let mut calls = Calls::of("prod");
    calls.push(0, RecordKind::Intent, begins("a", 0).to_string().as_bytes());
    calls.next_ledger();
    let end = json!({"pair": 0, "t": at(1), "outcome": {"end": "notSent"}});
    calls.push(1, RecordKind::Outcome, end.to_string().as_bytes());
    assert_eq!(calls.find("a").unwrap().1.sent, crate::Sent::Unknown);
}
