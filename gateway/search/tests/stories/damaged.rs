//! A ledger of which something cannot be read: whatever is asked, what is missing is named by its numbers, and nothing is said of it
//! that nobody knows.

use std::fs;
use std::path::{Path, PathBuf};

use model::event::RecordKind;
use search::{Archive, Found, Hole, Scope, Survey, Surveyed, View};

use crate::world::{ALICE, BOB, World, on, search, search_as};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    names.sort();
    names
}

/// Several files of records; how many records there are. Of a hundred only the last one is waited for.
fn filled(world: &World) -> u64 {
    let ledger = world.ledger();
    for number in 0..1_400 {
        let who = if number % 2 == 0 { &*ALICE } else { &*BOB };
        let read = world.asked(world.id(), who, on("get", "pods", Some("web-0")));
        let ticket = ledger
            .append(RecordKind::Access, read.body().unwrap(), Vec::new())
            .unwrap();
        if number % 100 == 99 {
            ticket.wait().unwrap();
            world.pass(60);
        }
    }
    ledger.durable().size
}

/// The files of a ledger that nobody writes any more, to be broken.
fn copied(world: &World) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(world.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn flip(path: &PathBuf, at: impl FnOnce(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0xff;
    fs::write(path, &bytes).unwrap();
}

/// Breaks a ledger of which so many files are there.
type Break = fn(&[PathBuf]);

const BREAKS: [(&str, Break); 6] = [
    ("a flipped byte", |files| flip(&files[1], |len| len / 2)),
    ("a broken header", |files| flip(&files[1], |_| 20)),
    ("a file in the middle that is gone", |files| {
        fs::remove_file(&files[1]).unwrap()
    }),
    ("a first file that is gone", |files| fs::remove_file(&files[0]).unwrap()),
    ("a file in the middle that is cut", |files| {
        let len = fs::metadata(&files[1]).unwrap().len();
        fs::File::options()
            .write(true)
            .open(&files[1])
            .unwrap()
            .set_len(len / 3)
            .unwrap();
    }),
    ("two of them", |files| {
        flip(&files[0], |len| len / 2);
        flip(&files[2], |len| len / 2);
    }),
];

fn holds(hole: &Hole, seq: u64) -> bool {
    seq >= hole.first && hole.last.is_none_or(|last| seq <= last)
}

/// Every number is a record that is shown, or stands in a hole that the search tells and that is told to who asks for it.
#[test]
fn what_cannot_be_read_is_named_by_its_numbers_and_nothing_else_is_missing() {
    let world = World::new();
    let end = filled(&world);
    world.close();
    for (what, break_it) in BREAKS {
        let copy = copied(&world);
        break_it(&segments(copy.path()));
        let archive = Archive::of_dir(copy.path());
        let page = search(&archive, "", world.time(), |search| {
            (search.limit, search.view) = (5_000, View::All);
        });
        assert!(!page.holes.is_empty(), "{what}: nothing is told");
        assert!(
            page.holes.iter().all(|hole| hole.why.is_some()),
            "{what}: {:?}",
            page.holes
        );
        let (mut shown, mut missing) = (0, 0);
        let edges = page.holes.iter().flat_map(|hole| {
            let last = hole.last.unwrap_or(end - 1);
            [hole.first.saturating_sub(1), hole.first, last, last + 1]
        });
        for seq in (0..end).step_by(23).chain(edges).filter(|seq| *seq < end) {
            let in_hole = page.holes.iter().any(|hole| holds(hole, seq));
            match archive.show(&seq.to_string(), &Scope::All, &mut || true).unwrap() {
                Found::Yes(_) => {
                    assert!(!in_hole, "{what}: {seq} can be read");
                    shown += 1;
                }
                Found::Unread(holes) => {
                    assert!(in_hole, "{what}: {seq} is told by nobody: {:?}", page.holes);
                    assert!(holes.len() == 1 && holds(&holes[0], seq), "{what}: {holes:?}");
                    missing += 1;
                }
                other => panic!("{what}: {seq}: {other:?}"),
            }
        }
        assert!(shown > 20 && missing > 2, "{what}: {shown} and {missing}");
        // The same again, from what the first search has remembered.
        let again = search(&archive, "", world.time(), |search| {
            (search.limit, search.view) = (5_000, View::All);
        });
        assert_eq!((again.holes, again.rows.len()), (page.holes, page.rows.len()), "{what}");
    }
}

#[test]
fn an_act_that_may_stand_in_a_hole_is_not_said_to_be_nowhere() {
    let world = World::new();
    let lost = world.call(&ALICE, on("delete", "pods", Some("lost")), 200);
    filled(&world);
    world.close();
    let whole = Archive::of_dir(world.dir.path());
    let show = |archive: &Archive, id: &str, scope: &Scope| archive.show(id, scope, &mut || true).unwrap();
    assert!(matches!(show(&whole, lost, &Scope::All), Found::Yes(_)));
    fs::remove_file(&segments(world.dir.path())[0]).unwrap();
    let archive = Archive::of_dir(world.dir.path());
    let Found::Unread(holes) = show(&archive, lost, &Scope::All) else {
        panic!("nothing is said")
    };
    assert_eq!((holes.len(), holes[0].first), (1, 0));
    assert!(
        holes[0].in_words().contains("their file is gone or ends before them"),
        "{holes:?}"
    );
    // Whoever sees a part is told the same numbers, whosever act it was and whether there is one or not, and no file's name.
    for id in [lost, world.id()] {
        for who in [&*ALICE, &*BOB] {
            let Found::Unread(told) = show(&archive, id, &Scope::Own(who.id.clone())) else {
                panic!("nothing is said")
            };
            assert_eq!((told[0].first, told[0].last, &told[0].why), (0, holes[0].last, &None));
        }
    }
    let own = Scope::Own(BOB.id.clone());
    let page = search_as(&own, &archive, "name:lost", world.time(), |_| {});
    assert_eq!(page.holes.iter().map(|hole| &hole.why).collect::<Vec<_>>(), [&None]);
    let note = page.note.unwrap();
    let words = format!(
        "Nothing was found in this range of what can be read. Part of the ledger cannot be read: records 0 to {}.",
        holes[0].last.unwrap()
    );
    assert!(note.ends_with(&words), "{note}");
}

#[test]
fn an_end_that_may_stand_in_a_hole_is_not_read_and_nobody_says_that_the_gateway_stopped() {
    let world = World::new();
    let id = world.id();
    let begin = world.asked(id, &ALICE, on("delete", "pods", Some("long")));
    let seq = world.write(RecordKind::Intent, &begin);
    // Its end stands in a later file.
    filled(&world);
    world.write(RecordKind::Outcome, &world.ended(id, seq, 200));
    filled(&world);
    world.close();
    // In one of the files behind the first one the end stands.
    let ways: [fn(&PathBuf); 3] = [
        |file| flip(file, |len| len / 8),
        |file| flip(file, |_| 20),
        |file| fs::remove_file(file).unwrap(),
    ];
    let mut unread = 0;
    let last = segments(world.dir.path()).len() - 1;
    for broken in 1..=last {
        for (way, break_it) in ways.into_iter().enumerate() {
            let copy = copied(&world);
            break_it(&segments(copy.path())[broken]);
            let archive = Archive::of_dir(copy.path());
            let page = search(&archive, "name:long", world.time(), |_| {});
            let told = page.rows[0].outcome.as_ref().unwrap();
            let end = told.end.as_str();
            if (broken, way, end) == (last, 2, "unknown") {
                // Nothing of a last file that is gone says that it was there: nobody is said to have stopped.
                let why = told.why.as_deref().unwrap();
                assert!(why.starts_with("no end stands in these files"), "{why}");
                continue;
            }
            assert!(matches!(end, "answered" | "notRead"), "file {broken}, way {way}: {end}");
            unread += u64::from(end == "notRead");
            let Found::Yes(shown) = archive.show(id, &Scope::All, &mut || true).unwrap() else {
                panic!("file {broken}: its begin can be read")
            };
            let (end, note) = (&shown.record.outcome.as_ref().unwrap().end, shown.note.as_deref());
            let is_said = note.is_some_and(|note| note.contains("part of the ledger cannot be read: record"));
            assert!(
                end == "answered" || end == "notRead" && is_said,
                "file {broken}, way {way}: {end} {note:?}"
            );
        }
    }
    assert!(unread >= 3, "its end stood in a hole {unread} times");
}

/// Of the ledger that a process writes, it is known how far it goes.
#[test]
fn a_file_that_was_cut_under_its_gateway_is_told_by_the_next_search() {
    let world = World::new();
    let end = filled(&world);
    let archive = world.archive();
    assert_eq!(search(&archive, "", world.time(), |_| {}).holes, []);
    let last = segments(world.dir.path()).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(len / 64)
        .unwrap();
    for archive in [archive, world.archive()] {
        let page = search(&archive, "", world.time(), |_| {});
        assert_eq!(page.holes.len(), 1, "{:?}", page.holes);
        assert_eq!(page.holes[0].last, Some(end - 1));
        let told = archive.show(&(end - 1).to_string(), &Scope::All, &mut || true).unwrap();
        assert!(matches!(told, Found::Unread(_)), "{told:?}");
    }
}

#[test]
fn nothing_is_counted_in_a_ledger_of_which_a_file_is_gone() {
    let world = World::new();
    filled(&world);
    world.close();
    let survey = |archive: &Archive| {
        let query = search::Query::parse("").unwrap();
        let survey = Survey {
            query: &query,
            scope: &Scope::All,
            now: world.time(),
        };
        archive.survey(&survey, &mut || true)
    };
    assert!(matches!(
        survey(&Archive::of_dir(world.dir.path())),
        Ok(Surveyed::Whole(_))
    ));
    fs::remove_file(&segments(world.dir.path())[1]).unwrap();
    let refused = survey(&Archive::of_dir(world.dir.path())).unwrap_err();
    let words = refused.to_string();
    assert!(
        words.contains("lacks records from ") && words.ends_with("their file is gone or ends before them"),
        "{words}"
    );
}
