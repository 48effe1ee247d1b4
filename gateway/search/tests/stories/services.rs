//! Calls of HTTP services: found by what they have, and taken for nothing that they are not.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::event::{Called, RecordKind, Request};
use search::{AuditRole, Found, Hides, Pseudonyms, Reach, Scope, View};

use crate::world::{ALICE, BOB, GRAFANA, ROBOT, World, acts, on, path, search, search_as};

const WIKI: Called<'static> = Called {
    name: Some("wiki"),
    host: "wiki.example.com",
    public: false,
};
const PUBLIC: Called<'static> = Called {
    public: true,
    ..GRAFANA
};

#[test]
fn a_call_of_a_service_is_told_by_method_host_and_path_and_found_by_each() {
    let world = World::new();
    world.call_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"), 200);
    world.call_of(WIKI, Some(&BOB), ("POST", "/pages"), 201);
    world.call(&ALICE, on("get", "pods", Some("web-0")), 200);
    let (dashboard, page) = ("GET grafana.example.com/d/7", "POST wiki.example.com/pages");
    for (query, found) in [
        ("service:*", &[page, dashboard][..]),
        ("service:grafana", &[dashboard]),
        ("svc:WIKI,none", &[page]),
        ("host:grafana.example.com", &[dashboard]),
        ("host:*.example.com -host:wiki.*", &[dashboard]),
        ("method:post", &[page]),
        ("path:/d/*", &[dashboard]),
        ("service:* user:alice status:2xx", &[dashboard]),
        ("grafana", &[dashboard]),
        ("public:false", &[page, dashboard]),
        ("public:true", &[]),
        ("cluster:prod", &["kubectl get pods web-0 -n shop"]),
        ("-service:*", &["kubectl get pods web-0 -n shop"]),
        ("verb:get", &["kubectl get pods web-0 -n shop"]),
        ("host:prod", &[]),
    ] {
        assert_eq!(world.acts(query), found, "{query}");
    }
    let near = world.search("service:grafan");
    assert_eq!(near.nearest[0].candidates, ["grafana"]);
    let near = world.search("host:wiki.exampel.com");
    assert_eq!(
        (near.nearest[0].key, &*near.nearest[0].candidates),
        ("host", &["wiki.example.com".to_owned()][..])
    );
}

#[test]
fn who_asks_about_a_path_is_shown_the_calls_whose_rest_is_left_out_and_may_be_it() {
    let world = World::new();
    for path in ["/reports/2026-11/Q3%20final.pdf", "/reports/…", "/hooks/…", "/hooks/"] {
        world.call_of(GRAFANA, Some(&ALICE), ("GET", path), 200);
    }
    for (query, found) in [
        ("path:/hooks/a8Kd72Lq/run", &["/hooks/…"][..]),
        ("path:/Hooks/a8Kd72Lq", &["/hooks/…"]),
        ("path:/hooks/", &["/hooks/", "/hooks/…"]),
        ("path:/hook", &[]),
        ("path:/hooks/*", &["/hooks/", "/hooks/…"]),
        ("path:/hooks/a*", &[]),
        (
            "path:/reports/2026-11/Q3%20final.pdf",
            &["/reports/…", "/reports/2026-11/Q3%20final.pdf"],
        ),
        ("\"path:/reports/2026-11/Q3 final.pdf\"", &[]),
        (
            "path:\"/reports/2026-11/Q3 final.pdf\"",
            &["/reports/…", "/reports/2026-11/Q3%20final.pdf"],
        ),
        ("-path:/hooks/a8Kd72Lq path:/hooks/*", &["/hooks/", "/hooks/…"]),
        ("-path:/hooks/… path:/hooks/*", &["/hooks/"]),
    ] {
        let page = world.search(query);
        let paths: Vec<&str> = page.rows.iter().map(|row| row.path.as_str()).collect();
        assert_eq!(paths, found, "{query}");
    }
}

#[test]
fn who_refused_a_call_of_a_service_is_the_gateway_or_the_service_and_no_cluster() {
    let world = World::new();
    world.call_of(GRAFANA, Some(&ALICE), ("GET", "/admin"), 403);
    world.call_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"), 401);
    let page = world.search("service:grafana outcome:refused");
    let [row] = page.rows.as_slice() else {
        panic!("{:?}", page.rows)
    };
    assert_eq!(
        (row.refused_by, row.reason.as_deref(), row.cluster.as_deref()),
        (Some("service"), None, None)
    );
}

/// Paths that clients of Kubernetes ask for by themselves are, at a service, what somebody asked for.
#[test]
fn what_is_discovery_at_a_cluster_is_an_act_at_a_service() {
    let world = World::new();
    for target in ["/version", "/api", "/apis/apps/v1", "/openapi/v3"] {
        world.call(&ALICE, path(target), 200);
        world.call_of(GRAFANA, Some(&ALICE), ("GET", target), 200);
    }
    let page = world.search("");
    assert_eq!(page.folded.discovery, 4);
    assert_eq!(page.rows.len(), 4, "{:?}", acts(&page));
}

/// Whoever calls a service chooses its headers, `Kubectl-Session` among them.
#[test]
fn no_word_of_the_caller_joins_calls_of_services() {
    let world = World::new();
    for (service, path) in [(GRAFANA, "/a"), (GRAFANA, "/b"), (WIKI, "/c")] {
        let mut record = world.asked_of(service, Some(&ALICE), ("POST", path));
        let req = record.req.take().unwrap();
        record.req = Some(Request {
            kubectl_session: Some("run-1"),
            kubectl_command: Some("kubectl get"),
            ..req
        });
        world.write(RecordKind::Intent, &record);
    }
    let list = Request {
        kubectl_session: Some("run-1"),
        ..on("list", "pods", None)
    };
    world.call(&ALICE, list, 200);
    let expected = [
        "kubectl get pods -n shop",
        "POST wiki.example.com/c",
        "POST grafana.example.com/b",
        "POST grafana.example.com/a",
    ];
    assert_eq!(world.acts(""), expected);
}

/// Whoever has not signed in may call as often as they like where the public is let in; what people did is not behind that.
#[test]
fn what_the_public_did_is_counted_and_shown_to_whoever_asks() {
    let world = World::new();
    for _ in 0..5 {
        world.call_of(PUBLIC, None, ("GET", "/logo.png"), 200);
    }
    world.call_of(PUBLIC, None, ("GET", "/gone"), 403);
    world.call_of(GRAFANA, Some(&ALICE), ("GET", "/logo.png"), 200);
    let page = world.search("");
    assert_eq!(acts(&page), ["GET grafana.example.com/logo.png"]);
    assert_eq!((page.folded.public, page.folded.total()), (6, 6));
    for (query, rows) in [
        ("public:true", 6),
        ("public:true path:/gone", 1),
        ("service:grafana", 7),
        ("host:grafana.example.com public:false", 1),
        ("kind:intent", 7),
        ("user:public", 6),
    ] {
        let page = world.search(query);
        assert_eq!((page.rows.len(), page.folded.total()), (rows, 0), "{query}");
    }
    let all = search(&world.archive(), "", world.time(), |search| search.view = View::All);
    assert_eq!((all.rows.len(), all.folded.total()), (7, 0));
    let none = world.search("-user:alice");
    assert_eq!(
        none.note.as_deref(),
        Some(
            "All 6 that were found are discovery, made by programs or by the public, or traces of searches; `--all` shows them."
        )
    );
    let row = &world.search("public:true").rows[0];
    assert!(row.is_public() && row.who.as_ref().is_some_and(|who| who.kind == "public"));
    assert_eq!(row.decision.as_ref().unwrap().rules[0]["name"], "dashboards");
}

#[test]
fn programs_that_call_services_are_folded_as_programs() {
    let world = World::new();
    world.call_of(GRAFANA, Some(&ROBOT), ("GET", "/metrics"), 200);
    let page = world.search("");
    assert_eq!((page.rows.len(), page.folded.machines), (0, 1));
    assert_eq!(world.acts("user:*robot"), ["GET grafana.example.com/metrics"]);
}

fn scope(clusters: Option<&[&str]>, namespaces: Option<&[&str]>, hides: &[Hides]) -> Scope {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let role = AuditRole {
        name: "payments".to_owned(),
        clusters: clusters.map(owned),
        namespaces: namespaces.map(owned),
        hides: hides.iter().copied().collect(),
        may: BTreeSet::new(),
        pseudonyms: Pseudonyms::new([7; 32]),
    };
    Scope::Roles(Arc::new(Reach {
        own: BOB.id.clone(),
        roles: vec![Arc::new(role)],
    }))
}

#[test]
fn a_role_of_clusters_or_namespaces_shows_no_call_of_a_service_but_ones_own() {
    let world = World::new();
    let theirs = world.call_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"), 200);
    let publics = world.call_of(PUBLIC, None, ("GET", "/logo.png"), 200);
    world.call_of(WIKI, Some(&BOB), ("GET", "/mine"), 200);
    let own = Scope::Own(BOB.id.clone());
    let (of_cluster, of_namespace) = (scope(Some(&["prod"]), None, &[]), scope(None, Some(&["*"]), &[]));
    for scope in [&own, &of_cluster, &of_namespace] {
        let page = search_as(scope, &world.archive(), "", world.time(), |search| {
            search.view = View::All
        });
        assert_eq!(acts(&page), ["GET wiki.example.com/mine"]);
        for id in [theirs, publics] {
            assert!(matches!(
                world.archive().show(id, scope, &mut || true).unwrap(),
                Found::No
            ));
        }
        let near = search_as(scope, &world.archive(), "service:grafan", world.time(), |_| {});
        assert!(
            near.nearest.iter().all(|near| near.candidates.is_empty()),
            "{:?}",
            near.nearest
        );
    }
    let everywhere = scope(None, None, &[]);
    let page = search_as(&everywhere, &world.archive(), "", world.time(), |search| {
        search.view = View::All
    });
    assert_eq!(page.rows.len(), 3);
}

#[test]
fn what_a_role_hides_of_people_it_hides_of_their_calls_of_services() {
    let world = World::new();
    let id = world.call_of(GRAFANA, Some(&ALICE), ("GET", "/d/7"), 200);
    let scope = scope(None, None, &[Hides::People, Hides::Addresses]);
    let Found::Yes(shown) = world.archive().show(id, &scope, &mut || true).unwrap() else {
        panic!("{id}")
    };
    let text = serde_json::to_string(&shown).unwrap();
    assert_eq!(shown.record.act, "GET grafana.example.com/d/7");
    for hidden in ["alice", "u-17", "10.1.2.3", "Mozilla"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert_eq!(
        search_as(&scope, &world.archive(), "user:alice", world.time(), |_| {}).rows,
        []
    );
}

/// What a record has in place of a name there is made of the address.
#[test]
fn who_may_not_see_addresses_sees_nothing_that_is_made_of_one() {
    let world = World::new();
    let id = world.call_of(PUBLIC, None, ("GET", "/logo.png"), 200);
    let made_of_it = "09".repeat(16);
    for (hides, is_there) in [(&[][..], true), (&[Hides::Addresses], false), (&[Hides::People], false)] {
        let scope = scope(None, None, hides);
        let Found::Yes(shown) = world.archive().show(id, &scope, &mut || true).unwrap() else {
            panic!("{id}")
        };
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(text.contains(&made_of_it), is_there, "{text}");
        for key in ["user", "session"] {
            let page = search_as(
                &scope,
                &world.archive(),
                &format!("{key}:{made_of_it}"),
                world.time(),
                |search| {
                    search.view = View::All;
                },
            );
            assert_eq!(page.rows.len(), usize::from(is_there), "nor is it found by it");
        }
    }
}
