//! Searching a real ledger: folding, the default view, queries, pages, scopes, damage.

use crate::world::{ALICE, BEGIN, BOB, ROBOT, World, acts, in_run, on, path, search, search_as};
use model::event::{ByClass, Ends, Person as SessionPerson, RecordKind, Summed, Unrecorded};
use model::time::Timestamp;
use search::{Archive, Budget, Found, Page, Query, Scope, Search, Stopped, View};

#[test]
fn the_records_of_one_request_are_one_row() {
    let world = World::new();
    let id = world.call(&ALICE, on("delete", "pods", Some("web-0")), 200);
    let page = world.search("");
    let [row] = page.rows.as_slice() else {
        panic!("{page:?}")
    };
    assert_eq!(row.act, "kubectl delete pod web-0 -n shop");
    assert_eq!(
        (row.id.as_str(), row.kind, row.count, row.refused),
        (id, "intent", 1, false)
    );
    let who = row.who.as_ref().unwrap();
    assert_eq!(
        (who.user.as_str(), who.email.as_deref(), who.sub.as_str()),
        ("alice", Some("alice.lee@example.com"), "u-17")
    );
    let outcome = row.outcome.as_ref().unwrap();
    assert_eq!(
        (outcome.end.as_str(), outcome.status, outcome.took_us),
        ("answered", Some(200), Some(1_000))
    );
    assert_eq!(row.decision.as_ref().unwrap().rules[0]["name"], "shop-developers");
    assert_eq!((page.stopped, page.next, page.trouble), (Stopped::Complete, None, None));
}

#[test]
fn a_call_without_an_end_is_in_flight_while_its_gateway_runs_and_unknown_after() {
    let world = World::new();
    let end = |world: &World, query: &str| {
        world
            .search(query)
            .rows
            .iter()
            .map(|row| row.outcome.as_ref().unwrap().end.clone())
            .collect::<Vec<_>>()
    };
    world.write(
        RecordKind::Intent,
        &world.asked(world.id(), &ALICE, on("delete", "pods", Some("a"))),
    );
    world.write(
        RecordKind::Access,
        &world.asked(world.id(), &ALICE, on("list", "pods", None)),
    );
    assert_eq!(end(&world, ""), ["inFlight", "inFlight"]);
    assert_eq!(end(&world, "outcome:inflight verb:delete"), ["inFlight"]);
    let files = search(&Archive::of_dir(world.dir.path()), "verb:delete", world.time(), |_| {});
    let outcome = files.rows[0].outcome.as_ref().unwrap();
    assert_eq!(
        (outcome.end.as_str(), outcome.why.as_deref()),
        (
            "unknown",
            Some("no end stands in these files; the gateway may still have been at work on it")
        )
    );
    world.crash();
    world.call(&ALICE, on("get", "pods", Some("b")), 200);
    assert_eq!(end(&world, "-name:b"), ["notRecorded", "unknown"]);
    assert_eq!(end(&world, "outcome:unknown"), ["unknown"]);
}

#[test]
fn what_is_no_human_act_is_folded_with_exact_counts_and_all_unfolds_it() {
    let world = World::new();
    for target in ["/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/version"] {
        world.call(&ALICE, path(target), 200);
    }
    world.call(&ALICE, on("list", "pods", None), 200);
    for _ in 0..7 {
        world.call(&ROBOT, on("patch", "configmaps", Some("lock")), 200);
    }
    world.refused(&ROBOT, on("get", "secrets", Some("x")));
    world.call(&ALICE, path("/healthz"), 200);
    let page = world.search("");
    assert_eq!(acts(&page), ["GET /healthz", "kubectl get pods -n shop"]);
    let folded = &page.folded;
    assert_eq!((folded.discovery, folded.machines, folded.machines_refused), (5, 8, 1));
    assert_eq!(
        (folded.busiest[0].user.as_str(), folded.busiest[0].count),
        ("system:serviceaccount:ci:robot", 8)
    );
    let all = search(&world.archive(), "", world.time(), |search| search.view = View::All);
    assert_eq!((all.rows.len(), all.folded.total()), (15, 0));
    assert_eq!(world.acts("user:*robot verb:get"), ["kubectl get secrets x -n shop"]);
}

#[test]
fn when_everything_found_is_folded_the_answer_says_so() {
    let world = World::new();
    world.call(&ROBOT, on("list", "pods", None), 200);
    let page = world.search("verb:list");
    assert!(page.rows.is_empty() && page.nearest.is_empty());
    assert_eq!(
        page.note.as_deref(),
        Some("All 1 that were found are discovery, made by programs, or traces of searches; `--all` shows them.")
    );
}

#[test]
fn the_calls_of_one_kubectl_run_are_one_row_led_by_the_most_telling() {
    let world = World::new();
    world.call(&ALICE, in_run("r1", on("get", "pods", Some("web-0"))), 200);
    let exec = world_exec("r1");
    world.call(&ALICE, exec, 101);
    world.call(&ALICE, in_run("r2", on("get", "deployments", Some("web"))), 200);
    world.call(&ALICE, in_run("r2", on("list", "events", None)), 200);
    let page = world.search("");
    assert_eq!(
        acts(&page),
        ["kubectl get deployments web -n shop", "kubectl exec web-0 -n shop"]
    );
    assert_eq!(
        page.rows
            .iter()
            .map(|row| (row.count, row.calls.len()))
            .collect::<Vec<_>>(),
        [(2, 2), (2, 2)]
    );
}

fn world_exec(run: &'static str) -> model::event::Request<'static> {
    in_run(
        run,
        model::event::Request {
            action: Some("exec"),
            subresource: Some("exec"),
            ..on("get", "pods", Some("web-0"))
        },
    )
}

#[test]
fn a_session_that_was_asked_for_over_two_protocols_is_one_act_told_by_the_second() {
    let world = World::new();
    let exec = |fallback_of| model::event::Request {
        action: Some("exec"),
        subresource: Some("exec"),
        fallback_of,
        ..on("create", "pods", Some("web-0"))
    };
    let first = world.call(&ALICE, exec(None), 403);
    world.call(&ALICE, on("list", "pods", None), 200);
    let second = world.call(&ALICE, exec(Some(first)), 101);
    let alone = world.call(&ALICE, exec(None), 403);
    let told = |page: &Page| -> Vec<_> {
        let rows = page.rows.iter().filter(|row| row.action.is_some());
        rows.map(|row| (row.id.clone(), row.refused, row.count, row.calls.len()))
            .collect()
    };
    let folded = [(alone.to_owned(), true, 1, 0), (second.to_owned(), false, 1, 2)];
    let page = world.search("");
    assert_eq!(told(&page), folded);
    assert_eq!(
        page.rows
            .iter()
            .flat_map(|row| &row.calls)
            .map(|call| &call.id)
            .collect::<Vec<_>>(),
        [second, first]
    );
    let in_view = |view| search(&world.archive(), "", world.time(), |search| search.view = view);
    assert_eq!(told(&in_view(View::Sessions)), folded);
    assert_eq!(told(&in_view(View::All)).len(), 3);
    // Who asks for refusals alone is told of the attempt.
    let refused: Vec<_> = told(&world.search("outcome:refused"))
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(refused, [alone, first]);
}

/// `kubectl cp` opens several streams in one run, and each of them may have been asked for twice.
#[test]
fn streams_of_one_run_that_were_asked_for_over_two_protocols_are_one_act() {
    let world = World::new();
    let exec = |fallback_of| model::event::Request {
        action: Some("exec"),
        subresource: Some("exec"),
        fallback_of,
        ..in_run("r", on("create", "pods", Some("web-0")))
    };
    let twice = || {
        let attempt = world.call(&ALICE, exec(None), 403);
        world.call(&ALICE, exec(Some(attempt)), 101)
    };
    // Of streams that weigh the same the first one tells the act.
    let (first, _) = (twice(), twice());
    let page = world.search("");
    let told: Vec<_> = page
        .rows
        .iter()
        .map(|row| (&*row.id, row.refused, row.calls.len()))
        .collect();
    assert_eq!(told, [(first, false, 4)]);
}

#[test]
fn a_forged_run_hides_no_other_change_no_refusal_and_nobody_else() {
    let world = World::new();
    world.call(&ALICE, in_run("r", on("get", "pods", None)), 200);
    world.call(&ALICE, in_run("r", on("get", "secrets", Some("key"))), 200);
    world.call(&ALICE, in_run("r", on("delete", "secrets", Some("key"))), 200);
    world.refused(&ALICE, in_run("r", on("delete", "secrets", Some("other"))));
    world.call(&BOB, in_run("r", on("get", "pods", None)), 200);
    assert_eq!(
        world.acts(""),
        [
            "kubectl get pods -n shop",
            "kubectl delete secret other -n shop",
            "kubectl delete secret key -n shop",
            "kubectl get pods -n shop"
        ]
    );
}

#[test]
fn a_workload_that_acts_for_somebody_hides_nothing_behind_what_they_did_themselves() {
    let world = World::new();
    let secrets = || in_run("r", on("get", "secrets", None));
    world.call(&ALICE, secrets(), 200);
    for _ in 0..2 {
        let asked = World::through(world.asked(world.id(), &ALICE, secrets()));
        let seq = world.write(RecordKind::Access, &asked);
        world.write(RecordKind::Close, &world.ended(asked.id, seq, 200));
    }
    let page = world.search("");
    let told: Vec<_> = page.rows.iter().map(|row| (row.count, row.via.len())).collect();
    assert_eq!(told, [(1, 2), (1, 2), (1, 0)]);
    let users: Vec<_> = page.rows[0].via.iter().map(search::Acting::short).collect();
    assert_eq!(
        users,
        ["ci/robot", "spiffe://example.org/stock"],
        "who asked comes last"
    );
    for (query, count) in [
        ("via:ci/robot", 2),
        ("via:system:serviceaccount:ci:robot", 2),
        ("via:spiffe://example.org/*", 2),
        ("user:alice -via:*", 1),
        ("via:robot", 0),
        ("example.org", 2),
    ] {
        assert_eq!(world.search(query).rows.len(), count, "{query}");
    }
}

#[test]
fn a_forged_run_hides_no_other_object_behind_one_of_the_same_kind() {
    let world = World::new();
    let elsewhere = |request: model::event::Request<'static>| model::event::Request {
        namespace: Some("payments"),
        ..request
    };
    for verb in ["get", "delete"] {
        world.call(&ALICE, in_run("r", on(verb, "secrets", Some("mine"))), 200);
        world.call(&ALICE, in_run("r", on(verb, "secrets", Some("theirs"))), 200);
        world.call(&ALICE, in_run("r", elsewhere(on(verb, "secrets", Some("mine")))), 200);
    }
    world.call(&ALICE, in_run("r", elsewhere(on("list", "events", None))), 200);
    assert_eq!(
        world.acts(""),
        [
            "kubectl get secrets mine -n payments",
            "kubectl delete secret mine -n payments",
            "kubectl delete secret theirs -n shop",
            "kubectl delete secret mine -n shop",
        ],
        "looking at an object is led by what was done to that very one, or leads its events"
    );
    world.call(&ALICE, in_run("s", on("list", "pods", None)), 200);
    world.call(&ALICE, in_run("s", elsewhere(on("list", "pods", None))), 200);
    world.call(&ALICE, in_run("s", on("get", "pods", Some("web-0"))), 200);
    assert_eq!(
        world.acts("resource:pods"),
        ["kubectl get pods -n shop", "kubectl get pods -n payments"],
        "whoever listed them all has seen each"
    );
}

#[test]
fn people_are_found_by_each_of_their_names() {
    let world = World::new();
    world.call(&ALICE, on("list", "pods", None), 200);
    world.call(&BOB, on("list", "services", None), 200);
    for query in [
        "user:alice",
        "user:alice.lee",
        "user:ALICE.LEE@example.com",
        "user:u-17",
        "-user:u-18",
    ] {
        assert_eq!(world.acts(query), ["kubectl get pods -n shop"], "{query}");
    }
    for query in ["user:bob", "user:oidc:bob", "user:*bob"] {
        assert_eq!(world.acts(query), ["kubectl get services -n shop"], "{query}");
    }
}

#[test]
fn refusals_are_found_with_their_reason_whoever_refused() {
    let world = World::new();
    world.refused(&ALICE, on("delete", "secrets", Some("a")));
    let id = world.id();
    let seq = world.write(
        RecordKind::Intent,
        &world.asked(id, &ALICE, on("delete", "secrets", Some("b"))),
    );
    let mut no = world.ended(id, seq, 403);
    if let Some(outcome) = &mut no.outcome {
        outcome.diverged = true;
    }
    world.write(RecordKind::Outcome, &no);
    world.call(&ALICE, on("delete", "secrets", Some("c")), 200);
    let page = world.search("outcome:refused");
    let by: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.refused_by.unwrap(), row.reason.as_deref().unwrap()))
        .collect();
    assert_eq!(by, [("cluster", "Forbidden"), ("gateway", "noRule")]);
    let diverged: Vec<_> = page
        .rows
        .iter()
        .map(|row| row.outcome.as_ref().unwrap().diverged)
        .collect();
    assert_eq!(diverged, [true, false], "our yes met the cluster's no");
    assert_eq!(
        world.acts("reason:noRule status:4xx"),
        ["kubectl delete secret a -n shop"]
    );
    assert_eq!(world.acts("\"no rule allows\""), ["kubectl delete secret a -n shop"]);
}

#[test]
fn sessions_gaps_and_summaries_are_rows_and_checkpoints_are_counted() {
    let world = World::new();
    let session = SessionPerson {
        what: "signedIn",
        session: Some("5e55"),
        provider: Some("corp"),
        why: None,
        amr: &[],
    };
    let mut record = world.asked(world.id(), &ALICE, path(""));
    (record.req, record.decision, record.person) = (None, None, Some(session));
    world.write(RecordKind::Session, &record);
    let sum = Summed {
        count: 41,
        from: world.time(),
        to: world.time(),
        what: "limited requests of strangers",
        by: &[],
    };
    let id = world.id();
    world.write(
        RecordKind::Summary,
        &model::event::Record {
            sum: Some(sum),
            ..world.record(id)
        },
    );
    world.close();
    let page = search(&Archive::of_dir(world.dir.path()), "", world.time(), |_| {});
    assert_eq!(acts(&page), ["41 × limited requests of strangers", "signed in at corp"]);
    assert_eq!((page.rows[0].count, page.folded.checkpoints), (41, 1));
}

#[test]
fn a_gap_says_how_many_calls_went_on_without_a_record() {
    let world = World::new();
    for (at_least, why) in [(false, "diskFull"), (true, "diskFailed")] {
        let gap = Unrecorded {
            why,
            from: world.time(),
            to: world.time(),
            passed: ByClass { reads: 12, effects: 3 },
            modes: ByClass {
                reads: "open",
                effects: "bounded",
            },
            ended: Ends::default(),
            unfinished: 15,
            at_least,
        };
        let id = world.id();
        let record = model::event::Record {
            gap: Some(gap),
            ..world.record(id)
        };
        world.write(RecordKind::Gap, &record);
    }
    assert_eq!(
        world.acts("kind:gap"),
        [
            "gap in the ledger: at least 12 reads and 3 calls that may change something went on without a record (diskFailed)",
            "gap in the ledger: 12 reads and 3 calls that may change something went on without a record (diskFull)",
        ]
    );
}

#[test]
fn pages_follow_one_another_without_loss_or_repetition_across_segments() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..700 {
        world.pass(1);
        ids.push(world.call(&ALICE, on("delete", "pods", Some("web-0")), 200));
    }
    assert!(
        std::fs::read_dir(world.dir.path()).unwrap().count() > 6,
        "several segments are needed here"
    );
    ids.reverse();
    let (archive, mut seen, mut after) = (world.archive(), Vec::new(), None);
    loop {
        let page = search(&archive, "outcome:ok", world.time(), |search| {
            (search.limit, search.after) = (64, after)
        });
        assert_eq!(page.unread_ends, 0);
        seen.extend(page.rows.iter().map(|row| row.id.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert_eq!((page.rows.len(), page.stopped), (64, Stopped::Limit));
    }
    assert_eq!(seen, ids);
}

#[test]
fn bounds_in_time_hold_and_ends_behind_them_are_still_found() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..500 {
        world.pass(60);
        ids.push(world.call(&ALICE, on("delete", "pods", Some("web-0")), 200));
    }
    let id = world.id();
    let seq = world.write(RecordKind::Open, &world.asked(id, &ALICE, on("watch", "pods", None)));
    world.pass(3_600);
    for _ in 0..20 {
        world.pass(60);
        world.call(&ALICE, on("delete", "pods", Some("late")), 200);
    }
    world.write(RecordKind::Close, &world.ended(id, seq, 200));
    let before = world.search("since:2026-11-17 until:2026-11-18T10:00");
    assert!(before.rows.is_empty());
    let (from, to) = (BEGIN + 60 * 100, BEGIN + 60 * 200);
    let at = |seconds| Timestamp::from_unix_seconds(seconds);
    let query = format!("since:{} until:{}", at(from), at(to));
    let page = world.search(&query);
    let expected: Vec<&str> = ids[99..199].iter().rev().copied().collect();
    assert_eq!(
        page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        expected
    );
    assert!(
        page.rows
            .iter()
            .all(|row| row.outcome.as_ref().unwrap().end == "answered")
    );
    assert_eq!((page.range.from, page.range.to), (Some(at(from)), at(to)));
    let before_close = world.search(&format!("verb:watch until:{}", at(BEGIN + 60 * 501)));
    assert_eq!(before_close.rows[0].outcome.as_ref().unwrap().end, "answered");
}

#[test]
fn a_search_ends_with_its_budget_and_says_where_to_go_on() {
    let world = World::new();
    for _ in 0..700 {
        world.call(&ALICE, on("delete", "pods", Some("web-0")), 200);
    }
    let (archive, query, scope) = (world.archive(), Query::parse("name:nothing").unwrap(), Scope::All);
    let search = |after, bytes, turns: usize| {
        let mut left = turns;
        let mut go_on = || {
            left = left.saturating_sub(1);
            left > 0
        };
        let search = Search {
            query: &query,
            scope: &scope,
            view: View::Acts,
            limit: 10,
            after,
            now: world.time(),
        };
        archive
            .search(
                &search,
                Budget {
                    bytes,
                    go_on: &mut go_on,
                },
            )
            .unwrap()
    };
    let first = search(None, 1, usize::MAX);
    assert_eq!(first.stopped, Stopped::Budget);
    assert!(first.note.unwrap().contains("ended early"));
    let (mut after, mut pages) = (first.next, 1);
    while let Some(place) = after {
        after = search(Some(place), 1, usize::MAX).next;
        pages += 1;
        assert!(after.is_none_or(|after| after < place), "each page goes further");
    }
    assert!(pages > 2, "{pages}");
    let fresh = world.archive();
    let mut none = || false;
    let search = Search {
        query: &query,
        scope: &scope,
        view: View::Acts,
        limit: 10,
        after: None,
        now: world.time(),
    };
    let page = fresh
        .search(
            &search,
            Budget {
                bytes: u64::MAX,
                go_on: &mut none,
            },
        )
        .unwrap();
    assert_eq!(page.stopped, Stopped::Budget);
}

#[test]
fn without_an_audit_role_one_sees_ones_own_and_learns_no_name_of_others() {
    let world = World::new();
    for _ in 0..50 {
        world.call(&BOB, on("delete", "secrets", Some("hidden")), 200);
        world.call(&ALICE, on("list", "pods", None), 200);
    }
    let own = Scope::Own(ALICE.id.clone());
    let archive = world.archive();
    let page = search_as(&own, &archive, "", world.time(), |_| {});
    assert_eq!((page.rows.len(), page.scope), (50, "own"));
    assert!(page.rows.iter().all(|row| row.who.as_ref().unwrap().user == "alice"));
    assert!(
        page.rows
            .iter()
            .all(|row| row.outcome.as_ref().unwrap().end == "answered")
    );
    let page = search_as(&own, &archive, "name:hiden", world.time(), |_| {});
    assert!(
        page.rows.is_empty() && page.nearest[0].candidates.is_empty(),
        "{page:?}"
    );
    let bobs = world.search("user:u-18").rows[0].id.clone();
    assert!(matches!(archive.show(&bobs, &own, &mut || true).unwrap(), Found::No));
    assert!(matches!(
        archive.show(&bobs, &Scope::All, &mut || true).unwrap(),
        Found::Yes(_)
    ));
}

#[test]
fn a_search_without_a_hit_names_range_lag_and_what_is_most_alike() {
    let world = World::new();
    world.call(&ALICE, on("list", "pods", None), 200);
    world.pass(90);
    let page = world.search("user:alcie resource:pods ns:shoop");
    let nearest: Vec<_> = page
        .nearest
        .iter()
        .map(|near| (near.key, near.value.as_str(), near.candidates.clone()))
        .collect();
    assert_eq!(
        nearest,
        [
            ("user", "alcie", vec!["alice".to_owned()]),
            ("ns", "shoop", vec!["shop".to_owned()])
        ]
    );
    assert_eq!(page.lag.unwrap().as_secs(), 90);
    assert_eq!(
        (page.range.from, page.range.to),
        (Some(Timestamp::from_unix_seconds(BEGIN)), world.time())
    );
    assert_eq!(page.note.as_deref(), Some("Nothing was found in this range."));
}

#[test]
fn one_act_is_shown_with_its_records_as_they_stand() {
    let world = World::new();
    for _ in 0..300 {
        world.pass(40);
        world.call(&BOB, on("list", "pods", None), 200);
    }
    let id = world.call(&ALICE, on("delete", "pods", Some("web-0")), 200);
    for _ in 0..300 {
        world.call(&BOB, on("list", "pods", None), 200);
    }
    let Found::Yes(shown) = world.archive().show(id, &Scope::All, &mut || true).unwrap() else {
        panic!()
    };
    assert_eq!(shown.record.act, "kubectl delete pod web-0 -n shop");
    assert_eq!(shown.record.outcome.as_ref().unwrap().status, Some(200));
    let raw: Vec<&str> = shown.records.iter().map(|raw| raw.get()).collect();
    assert_eq!(raw.len(), 2);
    assert!(
        raw[0].starts_with("{\"v\":1,\"kind\":\"intent\",\"seq\":600,"),
        "{}",
        raw[0]
    );
    let Found::Yes(by_number) = world.archive().show("600", &Scope::All, &mut || true).unwrap() else {
        panic!()
    };
    assert_eq!(by_number.record, shown.record);
    for nothing in ["0199b000-0000-7000-8000-000000000000", "99999999", "", "\"", "last"] {
        assert!(
            matches!(
                world.archive().show(nothing, &Scope::All, &mut || true).unwrap(),
                Found::No
            ),
            "{nothing}"
        );
    }
}

#[test]
fn members_and_values_unknown_to_this_version_are_kept_and_an_unreadable_record_is_shown() {
    let world = World::new();
    let ledger = world.ledger();
    let new = br#"{"id":"new-1","t":"2026-11-18T10:00:00Z","boot":"b","by":{"id":"1","kind":"hologram","user":"zoe","iss":"i","sub":"s","credential":"c","aura":7},"req":{"method":"GET","path":"/x","verb":"get"},"later":{"a":[1]}}"#;
    ledger
        .append(RecordKind::Access, new.to_vec(), Vec::new())
        .unwrap()
        .wait()
        .unwrap();
    let odd = br#"{"id":"odd-1","t":"2026-11-18T10:00:00Z","by":"somebody"}"#;
    let seq = ledger
        .append(RecordKind::Access, odd.to_vec(), Vec::new())
        .unwrap()
        .wait()
        .unwrap()
        .seq;
    let page = world.search("");
    assert_eq!(
        acts(&page),
        [
            format!("(record {seq} cannot be read by this version)"),
            "GET /x".to_owned()
        ]
    );
    let Found::Yes(shown) = world.archive().show("new-1", &Scope::All, &mut || true).unwrap() else {
        panic!()
    };
    assert!(shown.records[0].get().contains("\"later\":{\"a\":[1]}"));
}

#[test]
fn damage_is_told_and_hides_nothing_that_can_be_read() {
    let world = World::new();
    for _ in 0..700 {
        world.call(&ALICE, on("delete", "pods", Some("web-0")), 200);
    }
    world.close();
    let whole = search(&Archive::of_dir(world.dir.path()), "", world.time(), |search| {
        search.limit = 1_000
    })
    .rows
    .len();
    assert_eq!(whole, 700);
    let mut names: Vec<_> = std::fs::read_dir(world.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    names.sort();
    let mut bytes = std::fs::read(&names[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&names[1], &bytes).unwrap();
    let page = search(&Archive::of_dir(world.dir.path()), "", world.time(), |search| {
        search.limit = 1_000
    });
    assert!(page.rows.len() < 700 && page.rows.len() > 400, "{}", page.rows.len());
    let hole = &page.holes[0];
    let (first, last) = (hole.first, hole.last.unwrap());
    assert!(page.trouble.unwrap().contains("is damaged at byte"));
    let note = page.note.unwrap();
    let words = format!("Part of the ledger cannot be read: records {first} to {last} (");
    assert!(note.contains(&words), "{note}");
}

#[test]
fn a_creation_is_shown_and_found_by_the_name_that_its_answer_says() {
    let world = World::new();
    world.made(&ALICE, on("create", "configmaps", None), "settings");
    world.made(&ALICE, on("create", "jobs", None), "nightly-x7k2p");
    world.call(&ALICE, on("create", "pods", None), 201);
    assert_eq!(
        world.acts("verb:create"),
        [
            "kubectl create pod -n shop",
            "kubectl create job nightly-x7k2p -n shop",
            "kubectl create configmap settings -n shop"
        ]
    );
    assert_eq!(
        world.acts("name:settings"),
        ["kubectl create configmap settings -n shop"]
    );
    assert_eq!(
        world.acts("name:nightly-*"),
        ["kubectl create job nightly-x7k2p -n shop"]
    );
    assert_eq!(
        world.acts("\"job nightly\""),
        ["kubectl create job nightly-x7k2p -n shop"]
    );
    let page = world.search("name:setings");
    assert_eq!(page.nearest[0].candidates, ["settings"]);
    // A run that made two things names both.
    for name in ["one", "two"] {
        world.made(&ALICE, in_run("run-1", on("create", "secrets", None)), name);
    }
    assert_eq!(
        world.acts("resource:secrets"),
        ["kubectl create secret two -n shop", "kubectl create secret one -n shop"]
    );
}

#[test]
fn a_name_that_stands_far_behind_is_looked_up_or_said_to_be_missing() {
    let world = World::new();
    let id = world.id();
    let seq = world.write(
        RecordKind::Intent,
        &world.asked(id, &ALICE, on("create", "configmaps", None)),
    );
    // More records than are looked at ahead. One sync is enough for all.
    let ledger = world.ledger();
    let mut last = None;
    for _ in 0..8_500 {
        world.pass(1);
        let read = world.asked(world.id(), &BOB, on("get", "pods", Some("web-0")));
        let body = read.body().unwrap();
        last = Some(ledger.append(RecordKind::Access, body, Vec::new()).unwrap());
    }
    last.unwrap().wait().unwrap();
    world.write(RecordKind::Outcome, &world.named(id, seq, "settings"));
    let until = Timestamp::from_unix_seconds(BEGIN + 1);
    assert_eq!(
        world.acts(&format!("verb:create until:{until}")),
        ["kubectl create configmap settings -n shop"]
    );
    let page = world.search(&format!("name:settings until:{until}"));
    assert_eq!((page.rows.len(), page.unread_ends), (0, 1));
    assert!(page.note.unwrap().contains("or the name of what they made"));
    assert_eq!(world.search(&format!("name:web-0 until:{until}")).rows.len(), 0);
}
