//! What an audit role shows: acts in its clusters and namespaces, without what it hides, and nothing that could be found out by
//! asking.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::event::{Effective, RecordKind, Request};
use model::time::Timestamp;
use proptest::prelude::*;
use search::{
    Archive, AuditRole, Begun, Found, Hides, May, Page, Pseudonyms, Query, Reach, Scope, Survey, Surveyed, Tail, View,
};

use crate::world::{ALICE, BOB, Person, ROBOT, World, acts, on, path, search_as};

fn role(namespaces: Option<&[&str]>, hides: &[Hides], may: &[May]) -> AuditRole {
    AuditRole {
        name: "payments".to_owned(),
        clusters: None,
        namespaces: namespaces.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        hides: hides.iter().copied().collect(),
        may: may.iter().copied().collect(),
        pseudonyms: Pseudonyms::new([7; 32]),
    }
}

fn scope(own: &Person, roles: Vec<AuditRole>) -> Scope {
    Scope::Roles(Arc::new(Reach {
        own: own.id.clone(),
        roles: roles.into_iter().map(Arc::new).collect(),
    }))
}

/// What `--as bob` leaves in a record.
fn as_bob() -> Option<Effective<'static>> {
    Some(Effective {
        user: "bob",
        uid: None,
        groups: &[],
        groups_count: None,
        groups_hash: None,
        extra_keys: Vec::new(),
        extra_count: None,
    })
}

fn within(namespace: &'static str, verb: &'static str, resource: &'static str, name: &'static str) -> Request<'static> {
    Request {
        namespace: Some(namespace),
        ..on(verb, resource, Some(name))
    }
}

fn page(world: &World, scope: &Scope, query: &str) -> Page {
    search_as(scope, &world.archive(), query, world.time(), |search| {
        search.view = View::All
    })
}

fn shown(archive: &Archive, id: &str, scope: &Scope) -> Found {
    archive.show(id, scope, &mut || true).unwrap()
}

#[test]
fn a_role_shows_the_acts_in_its_namespaces_and_ones_own_and_no_others() {
    let world = World::new();
    let mine = world.call(&BOB, within("web", "get", "pods", "mine"), 200);
    let theirs = world.call(&ALICE, within("payments", "get", "pods", "theirs"), 200);
    let prefixed = world.call(&ALICE, within("team-a", "get", "pods", "prefixed"), 200);
    let elsewhere = world.call(&ALICE, within("web", "get", "pods", "elsewhere"), 200);
    let alike = world.call(&ALICE, within("payments-2", "get", "pods", "alike"), 200);
    let nowhere = world.call(&ALICE, path("/api/v1/secrets"), 200);
    let through_node = Request {
        pod: Some("payments/db"),
        ..on("create", "nodes", Some("n1"))
    };
    let entered = world.call(
        &ALICE,
        Request {
            namespace: None,
            ..through_node.clone()
        },
        200,
    );
    let beside = Request {
        pod: Some("web/db"),
        namespace: None,
        ..through_node
    };
    let beside = world.call(&ALICE, beside, 200);
    let scope = scope(&BOB, vec![role(Some(&["payments", "team-*"]), &[], &[])]);
    let found = page(&world, &scope, "");
    let ids: BTreeSet<&str> = found.rows.iter().map(|row| &*row.id).collect();
    assert_eq!(ids, BTreeSet::from([mine, theirs, prefixed, entered]));
    assert_eq!(found.scope, "roles");
    assert!(found.note.unwrap().contains("what the audit role payments shows"));
    let archive = world.archive();
    for id in [elsewhere, alike, nowhere, beside] {
        assert!(matches!(shown(&archive, id, &scope), Found::No), "{id}");
        assert!(
            matches!(archive.going_on(id, &scope, &mut || true).unwrap(), Begun::No),
            "{id}"
        );
    }
    for id in [mine, theirs, prefixed, entered] {
        let Found::Yes(shown) = shown(&archive, id, &scope) else {
            panic!("{id}")
        };
        assert_eq!(shown.records.len(), 2, "nothing is hidden, so the records are shown");
    }
}

#[test]
fn a_role_of_a_cluster_shows_neither_others_nor_what_goes_to_none() {
    let world = World::new();
    world.call(&ALICE, within("shop", "get", "pods", "a"), 200);
    world.write(RecordKind::Session, &world.record(world.id()));
    let of = |clusters: Option<&[&str]>| {
        let clusters = clusters.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let role = AuditRole {
            clusters,
            ..role(None, &[], &[])
        };
        page(&world, &scope(&BOB, vec![role]), "").rows.len()
    };
    assert_eq!((of(None), of(Some(&["prod"])), of(Some(&["test"]))), (2, 1, 0));
}

#[test]
fn what_one_role_hides_another_one_shows_and_what_both_hide_stays_hidden() {
    let world = World::new();
    let id = world.call(&ALICE, within("payments", "get", "pods", "a"), 200);
    let archive = world.archive();
    let people = role(None, &[Hides::People, Hides::Agents], &[]);
    let places = role(Some(&["payments"]), &[Hides::Addresses, Hides::Agents], &[]);
    let Found::Yes(shown) = shown(&archive, id, &scope(&BOB, vec![people, places])) else {
        panic!()
    };
    assert_eq!(shown.sight.hides, BTreeSet::from([Hides::Agents]));
    assert_eq!(shown.record.who.unwrap().user, "alice");
    assert!(shown.record.net.is_some() && shown.record.agent.is_none());
    assert!(shown.records.is_empty() && shown.note.unwrap().contains("hides agents"));
}

#[test]
fn what_may_be_done_is_what_some_role_allows_and_with_ones_own_everything() {
    let world = World::new();
    let (theirs, mine) = (
        world.call(&ALICE, within("payments", "get", "pods", "a"), 200),
        world.call(&BOB, path("/x"), 200),
    );
    let archive = world.archive();
    let recordings = role(Some(&["payments"]), &[], &[May::Recordings]);
    let elsewhere = role(Some(&["web"]), &[], &[May::Receipts]);
    let scope = scope(&BOB, vec![recordings, elsewhere, role(None, &[], &[])]);
    let may = |id| match shown(&archive, id, &scope) {
        Found::Yes(shown) => shown.sight.may,
        other => panic!("{other:?}"),
    };
    assert_eq!(may(theirs), BTreeSet::from([May::Recordings]));
    assert_eq!(may(mine).len(), 3);
}

/// Everything that a hidden name could be read off, or guessed by.
#[test]
fn of_hidden_people_no_name_is_shown_and_none_is_found_by_asking_for_it() {
    let world = World::new();
    let stated = world.id();
    let mut record = world.asked(stated, &ALICE, within("payments", "delete", "pods", "a"));
    record.decision.as_mut().unwrap().stated_reason = Some("alice asked me");
    let seq = world.write(RecordKind::Intent, &record);
    world.write(RecordKind::Outcome, &world.ended(stated, seq, 200));
    world.refused(&ALICE, within("payments", "get", "secrets", "b"));
    let note = world.id();
    world.write(
        RecordKind::AuditRead,
        &model::event::Record {
            note: Some("searched all records for `user:alice`: 3 shown"),
            ..world.asked(note, &ALICE, path("/api/v1/audit/records"))
        },
    );
    let acting = world.id();
    let mut acts = world.asked(acting, &ALICE, within("payments", "create", "pods", "x"));
    acts.effective = as_bob();
    let seq = world.write(RecordKind::Intent, &acts);
    world.write(RecordKind::Outcome, &world.named(acting, seq, "x"));
    world.call(&ROBOT, within("payments", "get", "pods", "c"), 200);
    let scope = scope(&BOB, vec![role(None, &[Hides::People], &[])]);
    let all = page(&world, &scope, "");
    assert_eq!(all.rows.len(), 5);
    let text = serde_json::to_string(&all).unwrap().to_lowercase();
    for name in ["alice", "u-17", "idp.example"] {
        let kept = text.replace("https://idp.example\",\"sub\":\"robot", "");
        assert!(!kept.contains(name), "{name} in {text}");
    }
    // Whoever knows what an issuer calls her can compute the id of the records.
    assert!(!text.contains(ALICE.id.as_str()) && text.contains("ci:robot"), "{text}");
    assert!(!text.contains("5e551011") && !text.contains("v1.36.3 (linux"), "{text}");
    let hers = all.rows[1].who.as_ref().unwrap().id.clone();
    for query in [
        "user:alice",
        "alice",
        "user:u-17",
        "alice.lee",
        "asked",
        "user:*alice*",
        "as:bob",
        "session:5e551011",
    ] {
        assert!(page(&world, &scope, query).rows.is_empty(), "{query}");
        // What turns it round finds all, as it does for a name that nobody has.
        if query.contains(':') {
            assert_eq!(page(&world, &scope, &format!("-{query}")).rows.len(), 5, "-{query}");
        }
    }
    assert!(page(&world, &scope, &format!("user:{}", ALICE.id)).rows.is_empty());
    assert_eq!(
        page(&world, &scope, &format!("user:{hers}")).rows.len(),
        4,
        "what stands for her is found"
    );
    for row in &all.rows {
        let Found::Yes(shown) = shown(&world.archive(), &row.id, &scope) else {
            panic!()
        };
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("alice") && !text.contains("asked me"), "{text}");
        assert!(shown.sealed.is_empty());
    }
}

fn hides() -> impl Strategy<Value = Vec<Hides>> {
    let all = vec![Hides::People, Hides::Addresses, Hides::Agents, Hides::Texts];
    prop::sample::subsequence(all, 1..=4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Searches and surveys agree, and none finds by what is hidden.
    #[test]
    fn hidden_fields_are_found_by_no_query(hides in hides(), status in prop::sample::select(vec![200_u16, 403])) {
        let world = World::new();
        world.call(&ALICE, within("payments", "get", "pods", "a"), status);
        world.call(&BOB, within("web", "get", "pods", "b"), status);
        let archive = Arc::new(world.archive());
        let reader = scope(&ROBOT, vec![role(None, &hides, &[])]);
        // A client's word on its program may have its person's name.
        let is_hidden = |what| hides.contains(&what) || (what == Hides::Agents && hides.contains(&Hides::People));
        for (hidden, query) in [
            (Hides::People, "user:alice"),
            (Hides::Addresses, "ip:10.1.2.3"),
            (Hides::Addresses, "ip:10.0.0.0/8"),
            (Hides::Agents, "agent:kubectl"),
        ] {
            let expected = match (is_hidden(hidden), query) {
                (true, _) => 0,
                (false, "user:alice") => 1,
                (false, _) => 2,
            };
            let found = page(&world, &reader, query);
            prop_assert_eq!(found.rows.len(), expected, "{} with {:?}", query, hides);
            let parsed = Query::parse(query).unwrap();
            let survey = Survey { query: &parsed, scope: &reader, now: world.time() };
            let Surveyed::Whole(population) = archive.survey(&survey, &mut || true).unwrap() else { panic!() };
            prop_assert_eq!(population.matched.len(), expected);
        }
        let everything = serde_json::to_string(&page(&world, &reader, "")).unwrap();
        for (hidden, text) in [(Hides::People, "alice"), (Hides::Addresses, "10.1.2.3"), (Hides::Agents, "v1.36.3")] {
            prop_assert_eq!(everything.contains(text), !is_hidden(hidden), "{} with {:?}", text, hides);
        }
    }
}

#[test]
fn a_follower_sees_what_a_search_shows() {
    let world = World::new();
    let archive = Arc::new(world.archive());
    let reader = scope(
        &BOB,
        vec![role(Some(&["payments"]), &[Hides::People, Hides::Addresses], &[])],
    );
    let follow = |query: &str| {
        Tail::new(
            Arc::clone(&archive),
            Query::parse(query).unwrap(),
            reader.clone(),
            View::All,
            None,
        )
        .unwrap()
    };
    let (mut all, mut alices) = (follow(""), follow("user:alice"));
    let id = world.id();
    let open = world.asked(id, &ALICE, within("payments", "create", "pods", "a"));
    let seq = world.write(RecordKind::Open, &open);
    world.call(&ALICE, within("web", "get", "pods", "b"), 200);
    let later = world.time().plus(std::time::Duration::from_mins(1));
    let rows = |tail: &mut Tail, now: Timestamp| tail.poll(now, 100, 1_000).unwrap();
    let first = rows(&mut all, later);
    assert_eq!(first.len(), 1);
    world.write(RecordKind::Close, &world.ended(id, seq, 101));
    let then = rows(&mut all, later);
    assert_eq!(then.len(), 1);
    for row in first.iter().chain(&then) {
        assert_eq!((&*row.id, row.who.as_ref().unwrap().user.as_str()), (id, "(hidden)"));
        assert!(row.net.is_none());
    }
    assert!(rows(&mut alices, later).is_empty());
    assert_eq!(acts(&page(&world, &reader, "")).len(), 1);
}

/// What an end says comes to the row after it was masked where the end stands far behind it.
#[test]
fn an_end_that_is_found_later_brings_nothing_that_is_hidden() {
    let world = World::in_segments(8 << 20);
    let (open, made) = (world.id(), world.id());
    let begun = world.asked(open, &ALICE, within("payments", "create", "pods", "a"));
    let seq = world.write(RecordKind::Open, &begun);
    let mut creates = world.asked(made, &ALICE, within("payments", "create", "pods", "x"));
    creates.req.as_mut().unwrap().name = None;
    creates.effective = as_bob();
    let pair = world.write(RecordKind::Intent, &creates);
    // Further than a search looks for ends behind the place where it begins.
    let filler = world.record("").body().unwrap();
    for _ in 0..9_000 {
        while world
            .ledger()
            .append_forget(RecordKind::Summary, filler.clone(), Vec::new())
            .is_err()
        {
            std::thread::yield_now();
        }
    }
    let mut ended = world.ended(open, seq, 403);
    let outcome = ended.outcome.as_mut().unwrap();
    (outcome.why, outcome.reason) = (Some("ended by carol: alice was seen"), Some("alice may not"));
    world.write(RecordKind::Close, &ended);
    world.write(RecordKind::Outcome, &world.named(made, pair, "web"));
    let of = |scope: &Scope| {
        search_as(scope, &world.archive(), "", world.time(), |search| {
            search.view = View::All;
            search.after = Some(pair + 1);
        })
    };
    let all = serde_json::to_string(&of(&Scope::All)).unwrap();
    for words in ["ended by carol", "alice may not", "--as bob"] {
        assert!(all.contains(words), "the ends are found: no `{words}` in {all}");
    }
    for hides in [&[Hides::People][..], &[Hides::Texts, Hides::People]] {
        let text = serde_json::to_string(&of(&scope(&BOB, vec![role(None, hides, &[])]))).unwrap();
        for words in ["carol", "alice", "bob"] {
            assert!(!text.contains(words), "{words} in {text}");
        }
        assert!(text.contains("web"), "the object's name is none that is hidden: {text}");
    }
}

/// Whoever may not see an act and asks for it by its id waits as long for the same answer as where there is none: the ids of others
/// stand in logs, tickets and answers.
#[test]
fn what_is_hidden_is_looked_for_as_long_as_what_is_not_there() {
    let world = World::in_segments(8 << 20);
    let hidden = world.call(&ALICE, within("web", "delete", "pods", "a"), 200);
    // Made at the same time, and there is no such act.
    let absent = world.id();
    for _ in 0..700 {
        world.pass(60);
        world.call(&ALICE, within("web", "get", "pods", "b"), 200);
    }
    let archive = world.archive();
    let scopes = [
        Scope::Own(BOB.id.clone()),
        scope(&BOB, vec![role(Some(&["payments"]), &[], &[May::Receipts])]),
    ];
    for scope in scopes {
        let cost = |id: &str| {
            let mut asked = 0;
            let found = archive.show(id, &scope, &mut || {
                asked += 1;
                true
            });
            assert!(matches!(found.unwrap(), Found::No), "{id}");
            let begun = archive.going_on(id, &scope, &mut || {
                asked += 1;
                true
            });
            assert!(matches!(begun.unwrap(), Begun::No), "{id}");
            asked
        };
        // The blocks are known then.
        cost(absent);
        assert_eq!(cost(hidden), cost(absent));
        // Where there is no time for all, neither is said to be nowhere.
        for id in [hidden, absent] {
            let mut left = 2;
            let found = archive.show(id, &scope, &mut || {
                left -= 1;
                left > 0
            });
            assert!(matches!(found.unwrap(), Found::NotYet), "{id}");
        }
    }
}

/// An answer is the cluster's word, and comes after the decision.
#[test]
fn a_namespace_that_only_the_answer_says_gives_no_role_sight() {
    let world = World::new();
    let req = Request {
        namespace: None,
        path: "/apis/example.com/v1/things",
        ..on("create", "things", None)
    };
    let id = world.made(&ALICE, req, "made");
    let role = role(Some(&["shop"]), &[], &[]);
    let scope = scope(&BOB, vec![role]);
    assert_eq!(page(&world, &scope, "").rows.len(), 0);
    assert!(matches!(shown(&world.archive(), id, &scope), Found::No));
    assert_eq!(page(&world, &Scope::All, "name:made").rows.len(), 1);
}
