//! RBAC clause by clause, with the names of what allowed.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use model::decision::RuleRef;
use model::request::{RequestFacts, Target, Wire};
use serde_json::json;

use super::*;

fn objects(value: serde_json::Value) -> Objects {
    serde_json::from_value(value).unwrap()
}

fn facts(method: &str, raw: &str) -> RequestFacts {
    let target = Target::parse(raw.as_bytes()).unwrap();
    RequestFacts::classify(
        &target,
        Wire {
            method,
            wants_upgrade: false,
            impersonates: false,
        },
    )
    .unwrap()
}

fn groups(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn world() -> Snapshot {
    Snapshot::new(&objects(json!({
        "clusterRoles": [
            {"metadata": {"name": "view"}, "rules": [
                {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]},
            {"metadata": {"name": "admin"}, "rules": [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]}]},
            {"metadata": {"name": "empty"}, "rules": null},
        ],
        "roles": [
            {"metadata": {"name": "shell", "namespace": "a"}, "rules": [
                {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"]}]},
            {"metadata": {"name": "lost"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]},
        ],
        "roleBindings": [
            {"metadata": {"name": "dev-view", "namespace": "a"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
             "subjects": [{"kind": "Group", "name": "dev"}]},
            {"metadata": {"name": "dev-shell", "namespace": "a"}, "roleRef": {"kind": "Role", "name": "shell"},
             "subjects": [{"kind": "ServiceAccount", "name": "bot"}, {"kind": "User", "name": "sam"}]},
            {"metadata": {"name": "broken", "namespace": "a"}, "roleRef": {"kind": "Role", "name": "gone"},
             "subjects": [{"kind": "User", "name": "eve"}]},
            {"metadata": {"name": "nowhere"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
             "subjects": [{"kind": "User", "name": "eve"}]},
        ],
        "clusterRoleBindings": [
            {"metadata": {"name": "admins"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
             "subjects": [{"kind": "Group", "name": "ops"}]},
            {"metadata": {"name": "lost"}, "roleRef": {"kind": "Role", "name": "lost"},
             "subjects": [{"kind": "User", "name": "eve"}]},
        ],
    })))
}

fn allowed(user: &str, in_groups: &[&str], method: &str, raw: &str) -> Option<String> {
    let groups = groups(in_groups);
    let verdict = decide(&world(), &SubjectView::impersonated(user, &groups), &facts(method, raw));
    verdict.allowed_by.map(|rule| rule.to_string())
}

#[test]
fn the_binding_that_allows_is_named_with_its_role() {
    let read = "/api/v1/namespaces/a/pods/p";
    assert_eq!(
        allowed("x", &["dev"], "GET", read).unwrap(),
        "RoleBinding a/dev-view → ClusterRole/view"
    );
    assert_eq!(
        allowed("x", &["ops"], "PUT", read).unwrap(),
        "ClusterRoleBinding admins → ClusterRole/admin"
    );
    assert_eq!(allowed("x", &["dev"], "GET", "/api/v1/namespaces/b/pods/p"), None);
    assert_eq!(
        allowed("dev", &[], "GET", read),
        None,
        "a user is not the group of that name"
    );
}

#[test]
fn exec_needs_create_on_every_transport() {
    let exec = "/api/v1/namespaces/a/pods/p/exec?command=id";
    for method in ["GET", "POST"] {
        assert!(allowed("sam", &[], method, exec).is_some(), "{method}");
        assert!(
            allowed("x", &["dev"], method, exec).is_none(),
            "a right to get pods is none to enter them"
        );
    }
}

#[test]
fn an_unknown_verb_is_allowed_only_by_a_star_and_decided_as_the_api_server_decides() {
    assert!(allowed("x", &["dev"], "PROPFIND", "/api/v1/namespaces/a/pods").is_none());
    assert!(allowed("x", &["ops"], "PROPFIND", "/api/v1/namespaces/a/pods").is_some());
}

#[test]
fn a_service_account_is_found_by_its_user_name_in_the_bindings_own_namespace() {
    let exec = "/api/v1/namespaces/a/pods/p/exec";
    assert!(allowed("system:serviceaccount:a:bot", &[], "POST", exec).is_some());
    assert!(allowed("system:serviceaccount:b:bot", &[], "POST", exec).is_none());
    assert!(allowed("bot", &[], "POST", exec).is_none());
}

#[test]
fn objects_of_no_namespace_never_reach_the_whole_cluster() {
    assert_eq!(allowed("eve", &[], "GET", "/api/v1/nodes"), None);
    assert_eq!(allowed("eve", &[], "GET", "/api/v1/namespaces/a/pods"), None);
}

#[test]
fn roles_that_cannot_be_resolved_are_told() {
    let verdict = decide(
        &world(),
        &SubjectView::exactly("eve", &[]),
        &facts("GET", "/api/v1/namespaces/a/pods"),
    );
    let errors: Vec<_> = verdict.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "ClusterRoleBinding lost → Role/lost: Role/lost is a role of a namespace, which a cluster role binding \
             cannot name",
            "RoleBinding a/broken → Role/gone: Role/gone does not exist",
        ]
    );
}

#[test]
fn imp_14_the_groups_are_those_that_the_api_server_will_see() {
    let seen = |user: &str, names: &[&str]| {
        let groups = groups(names);
        SubjectView::impersonated(user, &groups)
            .groups()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(seen("alice", &["dev"]), ["dev", "system:authenticated"]);
    assert_eq!(seen("alice", &["system:unauthenticated"]), ["system:unauthenticated"]);
    let account = [
        "system:authenticated",
        "system:serviceaccounts",
        "system:serviceaccounts:a",
    ];
    assert_eq!(seen("system:serviceaccount:a:b.c", &[]), account);
    for not_one in [
        "system:serviceaccount:a",
        "system:serviceaccount:A:b",
        "system:serviceaccount:a:b:c",
    ] {
        assert_eq!(seen(not_one, &[]), ["system:authenticated"], "{not_one}");
    }
}

#[test]
fn the_nearest_role_is_the_narrowest_that_is_bound_and_may_be_seen() {
    let world = world();
    let exec = facts("POST", "/api/v1/namespaces/a/pods/p/exec");
    let asked = Attributes::of(&exec);
    let role =
        |may_see: &dyn Fn(Candidate<'_>) -> bool| world.nearest(&asked, may_see).map(|near| near.role.to_string());
    assert_eq!(role(&|_| true).unwrap(), "Role/shell");
    assert_eq!(
        role(&|candidate| candidate.namespace.is_none()).unwrap(),
        "ClusterRole/admin"
    );
    assert_eq!(role(&|_| false).unwrap(), "ClusterRole/admin", "everybody knows of it");
    let ops = groups(&["ops"]);
    assert!(world.may_see(
        &SubjectView::impersonated("x", &ops),
        Candidate {
            role: "Role/shell",
            namespace: Some("a")
        }
    ));
    assert!(!world.may_see(
        &SubjectView::impersonated("x", &[]),
        Candidate {
            role: "ClusterRole/admin",
            namespace: None
        }
    ));
}

#[test]
fn a_suggestion_costs_one_look_at_each_role_and_no_more_than_a_bound() {
    let role = |name: String| json!({"metadata": {"name": name}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    let binding = |name: String, role: String, namespace: &str| {
        json!({"metadata": {"name": name, "namespace": namespace},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
               "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]})
    };
    let looks = |roles: usize, bindings: usize| {
        let snapshot = Snapshot::new(&objects(json!({
            "clusterRoles": (0..roles).map(|i| role(format!("r{i}"))).collect::<Vec<_>>(),
            "roleBindings": (0..bindings).map(|i| binding(format!("b{i}"), format!("r{}", i % roles), "a")).collect::<Vec<_>>(),
        })));
        assert!(!snapshot.has_suggested(), "made for nobody");
        let looks = std::cell::Cell::new(0);
        let facts = facts("GET", "/api/v1/namespaces/a/pods/p");
        let near = snapshot.nearest(&Attributes::of(&facts), |_| {
            looks.set(looks.get() + 1);
            false
        });
        assert!(near.is_none() && snapshot.has_suggested());
        looks.get()
    };
    assert_eq!(looks(3, 5_000), 3, "each role once, however often it is bound");
    assert_eq!(looks(LOOKED_AT + 500, LOOKED_AT + 500), LOOKED_AT);
}

#[test]
fn the_roles_that_every_cluster_has_for_people_are_named_to_everybody() {
    let role = |name: &str, verbs: &[&str]| json!({"metadata": {"name": name}, "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]});
    let snapshot = Snapshot::new(&objects(json!({"clusterRoles": [
        role("admin", &["*"]), role("edit", &["get", "delete"]), role("view", &["get"]), role("aaa", &["*"]),
        role("cluster-admin", &["*", "x"]),
    ]})));
    let nearest = |method: &str, target: &str| {
        let facts = facts(method, target);
        let near = snapshot.nearest(&Attributes::of(&facts), |_| false);
        near.map(|near| (near.role.to_string(), near.namespace.unwrap().to_string()))
    };
    let found = |role: &str| Some((format!("ClusterRole/{role}"), "a".to_owned()));
    assert_eq!(nearest("GET", "/api/v1/namespaces/a/pods/p"), found("view"));
    assert_eq!(nearest("DELETE", "/api/v1/namespaces/a/pods/p"), found("edit"));
    assert_eq!(nearest("PATCH", "/api/v1/namespaces/a/pods/p"), found("admin"));
    assert_eq!(
        nearest("GET", "/api/v1/namespaces/a/secrets/s"),
        None,
        "none of them would do"
    );
    assert_eq!(nearest("GET", "/api/v1/pods"), None, "they are for namespaces");
}

#[test]
fn aggregated_roles_of_files_are_put_together_from_those_selected() {
    let mut roles: Vec<Arc<Role>> = serde_json::from_value(json!([
        {"metadata": {"name": "all"}, "rules": [{"verbs": ["old"]}],
         "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}},
        {"metadata": {"name": "one", "labels": {"to": "all"}}, "rules": [{"verbs": ["get"]}]},
        {"metadata": {"name": "two", "labels": {"to": "all"}}, "rules": [],
         "aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "to", "operator": "In", "values": ["two"]}]}]}},
        {"metadata": {"name": "three", "labels": {"to": "two"}}, "rules": [{"verbs": ["list"]}]},
    ]))
    .unwrap();
    aggregate(&mut roles);
    let verbs: Vec<_> = roles[0].rules.iter().map(|rule| rule.verbs[0].to_string()).collect();
    assert_eq!(verbs, ["get", "list"]);
}

#[test]
fn two_questions_share_a_cache_key_only_when_they_are_the_same() {
    let key = |method: &str, raw: &str| CacheKey::of(&Attributes::of(&facts(method, raw)));
    let base = key("GET", "/api/v1/namespaces/a/pods/p");
    assert_eq!(base, key("HEAD", "/api/v1/namespaces/a/pods/p/"));
    let (same, hasher) = (facts("HEAD", "/api/v1/namespaces/a/pods/p/"), RandomState::new());
    let asked = Attributes::of(&same);
    assert!(base.is_of(&asked));
    let mut hashed = hasher.build_hasher();
    asked.hash_as_key(&mut hashed);
    assert_eq!(
        hasher.hash_one(&base),
        hashed.finish(),
        "a look-up finds what was put in"
    );
    for (method, raw) in [
        ("PUT", "/api/v1/namespaces/a/pods/p"),
        ("GET", "/api/v1/namespaces/b/pods/p"),
        ("GET", "/api/v1/namespaces/a/pods/q"),
        ("GET", "/api/v1/namespaces/a/pods/p/log"),
        ("GET", "/apis/g/v1/namespaces/a/pods/p"),
        ("GET", "/api/v1/namespaces/a/services/p"),
        ("GET", "/api/v1/namespaces/a/pods"),
    ] {
        assert_ne!(base, key(method, raw), "{method} {raw}");
        assert!(!base.is_of(&Attributes::of(&facts(method, raw))), "{method} {raw}");
    }
    assert_ne!(key("GET", "/healthz"), key("GET", "/livez"));
}

#[test]
fn the_next_snapshot_shares_what_stayed_and_decides_as_a_new_one() {
    let binding = |namespace: &str, name: &str, role: &str, user: &str| -> Arc<Binding> {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": user}]}))
        .unwrap()
    };
    let mut now = objects(json!({"clusterRoles": [
        {"metadata": {"name": "view"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}]}));
    now.role_bindings = vec![binding("a", "one", "view", "ann"), binding("b", "one", "view", "bob")];
    let first = Snapshot::new(&now);
    let allows = |snapshot: &Snapshot, user: &str, namespace: &str| {
        let facts = facts("GET", &format!("/api/v1/namespaces/{namespace}/pods/p"));
        decide(snapshot, &SubjectView::exactly(user, &[]), &facts)
            .allowed_by
            .is_some()
    };
    assert!(allows(&first, "ann", "a") && allows(&first, "bob", "b"));
    // One binding is another, one is new, the other namespace is as it was.
    now.role_bindings[0] = binding("a", "one", "view", "eve");
    now.role_bindings.push(binding("a", "two", "view", "kim"));
    let second = first.next(&now);
    assert!(second.shares("b", &first) && !second.shares("a", &first));
    assert!(!allows(&second, "ann", "a") && allows(&second, "eve", "a") && allows(&second, "kim", "a"));
    assert!(
        allows(&second, "bob", "b") && allows(&first, "ann", "a"),
        "the old one stays as it was"
    );
    // What a role grants counts everywhere; a namespace without bindings is gone.
    now.cluster_roles[0] = Role::default().into();
    now.role_bindings.remove(1);
    let third = second.next(&now);
    assert!(!third.shares("b", &second) && !allows(&third, "eve", "a") && !allows(&third, "bob", "b"));
}

#[test]
fn the_bindings_of_a_subject_say_by_which_name_they_bind() {
    let world = world();
    let told = |user: &str, of: &[&str]| -> Vec<String> {
        let (user, of) = (user.to_owned(), groups(of));
        let bindings = world.bindings_of(&SubjectView::impersonated(&user, &of));
        let text = |(rule, by): (RuleRef, Option<Arc<str>>)| format!("{rule} by {}", by.as_deref().unwrap_or("name"));
        bindings.into_iter().map(text).collect()
    };
    assert_eq!(
        told("sam", &["dev", "ops"]),
        [
            "ClusterRoleBinding admins → ClusterRole/admin by ops",
            "RoleBinding a/dev-shell → Role/shell by name",
            "RoleBinding a/dev-view → ClusterRole/view by dev",
        ]
    );
    assert_eq!(
        told("system:serviceaccount:a:bot", &[]),
        ["RoleBinding a/dev-shell → Role/shell by name"]
    );
    assert!(told("nobody", &[]).is_empty());
}
