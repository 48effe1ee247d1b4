//! Surveys: everything within the bounds, counted, with each record of each act.

use model::event::{Record, RecordKind};
use model::time::Timestamp;
use search::{Archive, Matched, Population, Query, Scope, SearchError, Survey, Surveyed, View};

use super::world::{ALICE, BEGIN, BOB, World, on, search_as};

fn survey(archive: &Archive, scope: &Scope, query: &str, now: Timestamp) -> Population {
    match surveyed(archive, scope, query, now, &mut || true).unwrap() {
        Surveyed::Whole(population) => population,
        other => panic!("{other:?}"),
    }
}

fn surveyed(
    archive: &Archive,
    scope: &Scope,
    query: &str,
    now: Timestamp,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Surveyed, SearchError> {
    let query = Query::parse(query).unwrap();
    let survey = Survey {
        query: &query,
        scope,
        now,
    };
    archive.survey(&survey, go_on)
}

fn numbers(population: &Population) -> Vec<Vec<u64>> {
    let acts = population.matched.iter();
    acts.map(|act: &Matched| act.records.iter().map(|spot| spot.seq).collect())
        .collect()
}

/// Calls of two people, a refusal, a session with signs of life that goes on, and one whose process ended first.
fn busy() -> World {
    let world = World::new();
    world.call(&ALICE, on("delete", "pods", Some("web-0")), 200);
    let lost = world.id();
    world.write(
        RecordKind::Access,
        &world.asked(lost, &BOB, on("get", "secrets", Some("key"))),
    );
    world.crash();
    world.pass(60);
    world.call(&BOB, on("list", "pods", None), 403);
    world.refused(&ALICE, on("delete", "secrets", Some("key")));
    let session = world.id();
    let pair = world.write(
        RecordKind::Open,
        &world.asked(session, &ALICE, on("create", "pods", Some("web-0"))),
    );
    for _ in 0..3 {
        world.heartbeat(&Record {
            pair: Some(pair),
            ..world.record(session)
        });
        world.pass(60);
        world.call(&BOB, on("list", "configmaps", None), 200);
    }
    world
}

#[test]
fn a_survey_finds_what_a_search_without_folding_finds_and_every_record_of_it() {
    let world = busy();
    let (archive, now) = (world.archive(), world.time());
    let own = Scope::Own(BOB.id.clone());
    for scope in [&Scope::All, &own] {
        for query in [
            "",
            "user:alice",
            "verb:list",
            "-verb:list",
            "outcome:unknown",
            "outcome:refused",
            "status:403",
            "kind:open",
            "ns:shop resource:pods",
            "since:61s",
            "until:61s",
            "since:3m until:1m",
        ] {
            let page = search_as(scope, &archive, query, now, |search| {
                (search.view, search.limit) = (View::All, 10_000);
            });
            let mut found: Vec<u64> = page.rows.iter().map(|row| row.first_seq).collect();
            found.sort_unstable();
            let population = survey(&archive, scope, query, now);
            let firsts: Vec<u64> = population.matched.iter().map(Matched::first).collect();
            assert_eq!(firsts, found, "{query} in {scope:?}");
            let everything = survey(&archive, scope, "", now);
            if !query.contains("since") && !query.contains("until") {
                assert_eq!(
                    population.range,
                    u64::try_from(everything.matched.len()).unwrap(),
                    "{query}"
                );
            }
        }
    }
    let all = survey(&archive, &Scope::All, "", now);
    let mut every: Vec<u64> = numbers(&all).into_iter().flatten().collect();
    every.sort_unstable();
    let written: Vec<u64> = (all.first..all.end).collect();
    assert_eq!(every, written, "each record of the ledger belongs to one act");
    assert_eq!((all.within, all.first), (all.end, 0));
}

#[test]
fn the_ends_of_what_began_within_the_bounds_are_found_behind_them() {
    let world = World::new();
    let id = world.id();
    let pair = world.write(
        RecordKind::Open,
        &world.asked(id, &ALICE, on("create", "pods", Some("web-0"))),
    );
    world.pass(7_200);
    for _ in 0..3 {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    let end = world.write(RecordKind::Close, &world.ended(id, pair, 200));
    world.pass(7_200);
    world.call(&BOB, on("list", "secrets", None), 200);
    let now = world.time();
    let found = survey(&world.archive(), &Scope::All, "until:3h", now);
    assert_eq!(numbers(&found), [vec![pair, end]]);
    assert_eq!((found.range, found.within), (1, 1));
    assert_eq!(found.to, Timestamp::from_unix_seconds(BEGIN + 3_600));
    assert!(found.end > end, "it was read up to the end of what began");
}

/// The machine's clock was wrong once, in either direction, for the length of some segments and within one.
#[test]
fn a_clock_that_was_wrong_once_hides_nothing_from_a_count() {
    const DAY: i64 = 86_400;
    for wrong in [-1_000 * DAY, 1_000 * DAY] {
        for (bytes, calls) in [(64 << 10, 100), (64 << 20, 3)] {
            let world = World::in_segments(bytes);
            let run = |verb| {
                for _ in 0..calls {
                    world.call(&ALICE, on(verb, "pods", None), 200);
                }
            };
            run("get");
            world.pass(wrong);
            run("list");
            world.pass(-wrong);
            run("watch");
            world.pass(2 * DAY);
            run("delete");
            let (archive, now) = (world.archive(), world.time());
            let found = |query: &str| survey(&archive, &Scope::All, query, now).matched.len();
            // Before and after the wrong hour, as the bounds ask; and what has its times, by them.
            assert_eq!(found("since:3d until:1d verb:get"), calls, "{wrong} {bytes}");
            assert_eq!(found("since:3d until:1d verb:watch"), calls, "{wrong} {bytes}");
            assert_eq!(found("since:3d until:1d"), 2 * calls, "{wrong} {bytes}");
            assert_eq!(found("verb:list"), calls, "{wrong} {bytes}");
            assert_eq!(
                found("since:1d"),
                if wrong > 0 { 2 * calls } else { calls },
                "{wrong} {bytes}"
            );
        }
    }
}

#[test]
fn a_survey_that_has_no_time_or_cannot_read_gives_nothing() {
    let world = busy();
    let (archive, now) = (world.archive(), world.time());
    let ended = surveyed(&archive, &Scope::All, "", now, &mut || false).unwrap();
    assert!(matches!(ended, Surveyed::NotYet), "{ended:?}");
    let empty = tempfile::tempdir().unwrap();
    let nothing = survey(&Archive::of_dir(empty.path()), &Scope::All, "", now);
    assert_eq!((nothing.range, nothing.end, nothing.matched.len()), (0, 0, 0));
}
