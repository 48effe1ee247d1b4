//! The gateway's credential in other hands, with ids of its holder's choice.

use model::event::RecordKind;
use model::time::Timestamp;

use super::{at, begins, calls, ends, event, framed, gap_of_the_ledger, problems, report};
use crate::reconcile::Problem;
use crate::{Calls, ServerEvent, Stage};

/// Whoever has the gateway's credential may choose an id, and have used it when nobody can say whose call it was.
#[test]
fn promise_4_a_call_that_nobody_can_know_of_hides_none_that_came_later_under_its_id() {
    let mut gap = gap_of_the_ledger(20, 30, 0);
    gap["gap"]["at_least"] = true.into();
    let mut with_gap = calls(&["a"]);
    with_gap.push(9, RecordKind::Gap, gap.to_string().as_bytes());
    let mut without_its_beginning = Calls::of("prod");
    without_its_beginning.push(7, RecordKind::Access, begins("a", 26).to_string().as_bytes());
    let end = ends("a", 26, "answered").to_string();
    without_its_beginning.push(8, RecordKind::Close, end.as_bytes());
    for calls in [with_gap, without_its_beginning] {
        let report = report(&calls, framed(vec![event("x", 25), event("x", 60), event("x", 70)]));
        let found = report.findings.iter().filter(|one| one.id == "x");
        let found: Vec<(Timestamp, u64)> = found.map(|one| (one.at, one.times)).collect();
        assert_eq!(found, [(at(60), 2)]);
        assert_eq!(report.unknown.all(), 1);
        assert_eq!((report.coverage.all.around, report.coverage.all.unknown), (2, 1));
    }
}

/// A start writes a gap again under its id, from the file that counts: there may have been more then, or fewer are counted.
#[test]
fn promise_4_a_gap_that_stands_twice_under_its_id_is_one_gap_and_no_copy_makes_it_wider() {
    let gap = |id: &str, [from, to]: [i64; 2], passed, at_least: bool| {
        let mut gap = gap_of_the_ledger(from, to, passed);
        gap["id"] = id.into();
        gap["gap"]["at_least"] = at_least.into();
        gap.to_string()
    };
    let first = gap("one", [20, 30], 2, false);
    let again = gap("one", [20, 29], 1, true);
    let put_in = gap("one", [0, 60], 9, false);
    let stolen = |gaps: &[&String]| {
        let mut calls = calls(&["a"]);
        for (seq, gap) in (9..).zip(gaps) {
            calls.push(seq, RecordKind::Gap, gap.as_bytes());
        }
        assert_eq!(calls.gaps().len(), 1);
        let more = event("z", 28);
        [vec![], vec![more]].map(|more| {
            let events = vec![event("a", 0), event("x", 22), event("y", 27)];
            report(&calls, framed([events, more].concat())).findings.len()
        })
    };
    for gaps in [
        &[&first][..],
        &[&first, &again],
        &[&again, &first],
        &[&first, &put_in],
        &[&first, &again, &put_in],
    ] {
        assert_eq!(stolen(gaps), [0, 3]);
    }
    assert_eq!(stolen(&[&again, &again]), [0, 0], "there may have been more");
    let narrower = gap("one", [28, 28], 0, false);
    assert_eq!(
        stolen(&[&again, &narrower]),
        [0, 0],
        "what says less takes nothing from it"
    );
    // Of two gaps each has its own.
    let mut two = calls(&["a"]);
    for (seq, gap) in (9..).zip([gap("one", [20, 23], 1, false), gap("two", [26, 29], 1, false)]) {
        two.push(seq, RecordKind::Gap, gap.as_bytes());
    }
    assert_eq!(two.gaps().len(), 2);
    let events = vec![event("a", 0), event("x", 22), event("y", 27)];
    assert_eq!(report(&two, framed(events)).findings.len(), 0);
}

#[test]
fn promise_4_calls_that_go_on_are_counted_in_a_gap_of_the_ledger_each() {
    let watch = |second| ServerEvent {
        stage: Stage::ResponseStarted,
        ..event("x", second)
    };
    for (watches, stolen) in [(vec![watch(21), watch(21)], 0), (vec![watch(21), watch(22)], 1)] {
        let mut calls = calls(&["a"]);
        calls.push(9, RecordKind::Gap, gap_of_the_ledger(20, 30, 1).to_string().as_bytes());
        let begun = watches.iter().map(|one| ServerEvent {
            stage: Stage::RequestReceived,
            ..one.clone()
        });
        let events: Vec<ServerEvent> = begun.chain(watches.clone()).chain([event("a", 0)]).collect();
        let report = report(&calls, framed(events));
        let times: Vec<u64> = report.findings.iter().map(|one| one.times).collect();
        assert_eq!(times, vec![2; stolen]);
    }
}

/// Its path, its verb and its person are right, its query is compared with nothing, and it has no end yet.
#[test]
fn promise_4_a_call_under_a_true_one_s_id_is_found_while_it_goes_on() {
    let stage = |stage, second| ServerEvent {
        stage,
        uri: "/api/v1/pods?watch=true".to_owned(),
        ..event("a", second)
    };
    let (received, started) = (Stage::RequestReceived, Stage::ResponseStarted);
    let calls = calls(&["a"]);
    let true_one = vec![stage(received, 0), stage(started, 0), event("a", 0)];
    assert_eq!(problems(&report(&calls, framed(true_one.clone()))), []);
    for more in [vec![stage(started, 50)], vec![stage(received, 50), stage(started, 50)]] {
        let report = report(&calls, framed([true_one.clone(), more].concat()));
        assert_eq!(problems(&report), [("a", &Problem::Repeated { sent: 1, arrived: 2 })]);
    }
    // The true one goes on as well; and however many there are, so many are told apart.
    let open = (0..1_000).map(|second| stage(started, second)).collect();
    let report = report(&calls, framed(open));
    assert_eq!(problems(&report), [("a", &Problem::Repeated { sent: 1, arrived: 65 })]);
}
