//! One act by its id: what is said of an end that was not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::world::{ALICE, BOB, World, on};
use model::event::RecordKind;
use search::{Archive, Begun, Found, Scope, Shown};

/// Records that are walked between two looks at the budget, and in a block.
const MANY: usize = 1_100;

/// A session that goes on, with a sign of life.
fn session(world: &World) -> &'static str {
    let id = world.id();
    world.write(RecordKind::Open, &world.asked(id, &ALICE, on("create", "pods", None)));
    world.heartbeat(&world.record(id));
    id
}

fn show(archive: &Archive, id: &str, go_on: &mut dyn FnMut() -> bool) -> Shown {
    match archive.show(id, &Scope::All, go_on).unwrap() {
        Found::Yes(shown) => *shown,
        other => panic!("{other:?}"),
    }
}

fn end(shown: &Shown) -> &str {
    shown.record.outcome.as_ref().unwrap().end.as_str()
}

/// Whoever sends the `Audit-ID` of another call does not hide it, nor is hidden by it.
#[test]
fn all_acts_of_an_id_that_callers_chose_are_shown_in_their_order() {
    let world = World::in_segments(256 << 10);
    let ledger = world.ledger();
    let write = |kind, text: String| {
        ledger
            .append(kind, text.into_bytes(), Vec::new())
            .unwrap()
            .wait()
            .unwrap()
    };
    let read = |id: &str, audit_id: &str, user: &str, ended: bool| {
        let outcome = if ended {
            r#","outcome":{"end":"answered","status":200}"#
        } else {
            ""
        };
        format!(
            r#"{{"id":"{id}","t":"2026-11-18T10:00:00Z","boot":"b","source":"ingested","by":{{"id":"1","kind":"person","user":"{user}","iss":"i","sub":"s","credential":"notSeen"}},"req":{{"method":"GET","path":"/x","verb":"get"}},"ingested":{{"audit_id":"{audit_id}","stage":"ResponseComplete"}}{outcome}}}"#
        )
    };
    write(RecordKind::Access, read("own-1", "chosen", "alice", false));
    write(RecordKind::Access, read("own-2", "other", "alice", true));
    for _ in 0..MANY {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    write(RecordKind::Access, read("own-3", "chosen", "mallory", true));
    write(RecordKind::Close, read("own-1", "chosen", "alice", true));
    write(RecordKind::Access, read("own-4", "chosen", "bob", true));
    let archive = world.archive();
    let shown = show(&archive, "chosen", &mut || true);
    let users: Vec<_> = std::iter::once(&shown)
        .chain(&shown.others)
        .map(|one| (one.record.id.as_str(), one.records.len(), end(one)))
        .collect();
    assert_eq!(
        users,
        [
            ("own-1", 2, "answered"),
            ("own-3", 1, "answered"),
            ("own-4", 1, "answered")
        ]
    );
    assert_eq!(
        shown.note.as_deref(),
        Some("3 acts have this id, which callers choose: each is shown, oldest first")
    );
    for (id, own) in [("other", "own-2"), ("own-3", "own-3")] {
        let one = show(&archive, id, &mut || true);
        assert_eq!((one.record.id.as_str(), one.others.len(), &one.note), (own, 0, &None));
    }
}

#[test]
fn an_end_that_was_not_looked_for_is_not_read_also_behind_a_sign_of_life() {
    let world = World::new();
    let id = session(&world);
    for _ in 0..MANY {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    let archive = world.archive();
    let whole = show(&archive, id, &mut || true);
    assert_eq!((end(&whole), &whole.note), ("inFlight", &None));
    // All blocks were looked at: the first question comes before the one that is read, the next ones on the way to the end.
    let mut left = 0;
    let looks = |left: &mut usize| std::mem::replace(left, left.saturating_sub(1)) > 0;
    let cut = loop {
        left += 1;
        let mut budget = left;
        if let Found::Yes(shown) = archive.show(id, &Scope::All, &mut || looks(&mut budget)).unwrap() {
            break *shown;
        }
    };
    assert_eq!(end(&cut), "notRead");
    assert_eq!(
        cut.note.as_deref(),
        Some("its end was not looked for to the end of the ledger")
    );
}

#[test]
fn whether_a_gateway_still_runs_is_not_guessed_when_the_newest_record_was_not_looked_up() {
    let world = World::in_segments(8 << 20);
    let id = session(&world);
    let (ledger, asked) = (world.ledger(), Arc::new(AtomicUsize::new(0)));
    let then = ledger.durable().size;
    for _ in 0..MANY {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    // The ledger grows between the walk to its end (asked twice how long it is) and the look at its newest record.
    let archive = {
        let asked = Arc::clone(&asked);
        Archive::live(world.dir.path(), move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => then,
            _ => ledger.durable().size,
        })
    };
    let shown = show(&archive, id, &mut || asked.load(Ordering::Relaxed) < 3);
    assert_eq!(end(&shown), "notRead");
    assert_eq!(
        shown.note.as_deref(),
        Some("whether its gateway still runs was not looked up")
    );
}

/// A list compares each session that goes on with its query: an old one must not cost the whole ledger behind it.
#[test]
fn of_what_goes_on_the_record_that_begins_it_is_read_and_nothing_behind_it() {
    let world = World::in_segments(8 << 20);
    let id = session(&world);
    for _ in 0..MANY {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    let archive = world.archive();
    // The blocks are known then.
    show(&archive, id, &mut || true);
    let cost = |look: &mut dyn FnMut(&mut dyn FnMut() -> bool)| {
        let mut asked = 0;
        look(&mut || {
            asked += 1;
            true
        });
        asked
    };
    let begun = cost(&mut |go_on| {
        let Begun::Yes(row) = archive.going_on(id, &Scope::All, go_on).unwrap() else {
            panic!("it is there")
        };
        assert_eq!(
            (row.id.as_str(), row.outcome.as_ref().unwrap().end.as_str()),
            (id, "inFlight")
        );
    });
    let shown = cost(&mut |go_on| drop(show(&archive, id, go_on)));
    assert!(
        begun < shown,
        "{begun} looks for the record that begins it, {shown} for all of it"
    );

    let of = |id: &str, scope: &Scope| archive.going_on(id, scope, &mut || true).unwrap();
    assert!(matches!(of(id, &Scope::Own(ALICE.id.clone())), Begun::Yes(_)));
    assert!(matches!(of(id, &Scope::Own(BOB.id.clone())), Begun::No));
    assert!(matches!(of(world.id(), &Scope::All), Begun::No));
    let cut = archive.going_on(id, &Scope::All, &mut || false).unwrap();
    assert!(matches!(cut, Begun::NotYet), "{cut:?}");
}
