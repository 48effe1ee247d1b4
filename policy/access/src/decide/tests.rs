//! Decisions as tables and as laws: forbid wins, silence forbids, obligations are owed.

use std::collections::BTreeMap;

use model::request::{RequestFacts, Target, Wire};
use model::subject::{SubjectId, SubjectParts};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rbac::Objects;
use crate::rule::{NamespaceLabels, Rules, load_objects};

mod duties;
mod tenants;

/// Everything a query borrows.
struct World {
    snapshot: Snapshot,
    rules: RuleSet,
    labels: NamespaceLabels,
    now: Timestamp,
    signed_in: Option<Timestamp>,
    authorization: Authorization,
    freshness: Freshness,
    reason: bool,
    acr: Option<&'static str>,
}

impl World {
    fn new(rules: &[Value]) -> Self {
        let objects: Objects = serde_json::from_value(json!({
            "clusterRoles": [
                {"metadata": {"name": "view"}, "rules": [
                    {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]},
                    {"verbs": ["get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}]},
                {"metadata": {"name": "shell"}, "rules": [
                    {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"]}]},
                {"metadata": {"name": "borrow"}, "rules": [
                    {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"]},
                    {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["system:auditors"]}]},
            ],
            "clusterRoleBindings": [
                {"metadata": {"name": "view"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
                 "subjects": [{"kind": "Group", "name": "dev"}]},
                {"metadata": {"name": "shell"}, "roleRef": {"kind": "ClusterRole", "name": "shell"},
                 "subjects": [{"kind": "Group", "name": "shell"}]},
                {"metadata": {"name": "borrow"}, "roleRef": {"kind": "ClusterRole", "name": "borrow"},
                 "subjects": [{"kind": "User", "name": "lead"}]},
            ],
        }))
        .unwrap();
        Self {
            snapshot: Snapshot::new(&objects),
            rules: RuleSet::new(compiled(rules)),
            labels: NamespaceLabels::from([("a".into(), BTreeMap::from([("tier".into(), "gold".into())]))]),
            now: Timestamp::from_unix_seconds(1_000_000),
            signed_in: Some(Timestamp::from_unix_seconds(999_000)),
            authorization: Authorization::Enforce,
            freshness: Freshness::Fresh,
            reason: false,
            acr: None,
        }
    }

    fn decide(&self, user: &str, groups: &[&str], method: &str, raw: &str) -> Decision {
        self.decide_as(user, groups, method, raw, None)
    }

    fn decide_as(
        &self,
        user: &str,
        groups: &[&str],
        method: &str,
        raw: &str,
        wanted: Option<&Impersonation>,
    ) -> Decision {
        let subject = person(user, groups);
        let target = Target::parse(raw.as_bytes()).unwrap();
        let wire = Wire {
            method,
            wants_upgrade: false,
            impersonates: wanted.is_some(),
        };
        let facts = RequestFacts::classify(&target, wire).unwrap();
        let situation = self.situation();
        decide(&self.query(&facts, &subject, &situation, wanted))
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            now: self.now,
            source: None,
            signed_in: self.signed_in,
            acr: self.acr,
            namespaces: &self.labels,
            reason_stated: self.reason,
            approved_by: &[],
        }
    }

    fn query<'a>(
        &'a self,
        facts: &'a RequestFacts,
        subject: &'a Subject,
        situation: &'a Situation<'a>,
        impersonation: Option<&'a Impersonation>,
    ) -> Query<'a> {
        Query {
            call: Call::of("prod", facts),
            subject,
            impersonation,
            situation,
            snapshot: &self.snapshot,
            freshness: self.freshness,
            rules: &self.rules,
            authorization: self.authorization,
            max_groups: 4,
        }
    }
}

fn person(user: &str, groups: &[&str]) -> Subject {
    Subject::new(SubjectParts {
        id: SubjectId::from_digest([1; 16]),
        kind: SubjectKind::Person,
        issuer: "https://idp.example".into(),
        subject: user.into(),
        username: user.into(),
        uid: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        extra: BTreeMap::new(),
        email: None,
    })
    .unwrap()
}

fn compiled(rules: &[Value]) -> Rules {
    let objects: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(at, spec)| object(&format!("r{at}"), spec))
        .collect();
    let (rules, problems) = load_objects(&objects);
    assert!(problems.is_empty(), "{problems:?}");
    rules
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": name}, "spec": spec})
}

fn forbid(people: &str, kubernetes: &Value) -> Value {
    json!({"effect": "forbid", "subjects": {"people": [people]}, "kubernetes": kubernetes})
}

fn say(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Allow(allowed) => format!("allow by {}", allowed.rules[0]),
        Verdict::Deny(denied) => format!("deny {:?}", denied.denial),
        Verdict::AskCluster { if_no, .. } => format!("ask, else {:?}", if_no.denial),
    }
}

const POD: &str = "/api/v1/namespaces/a/pods/p";
const EXEC: &str = "/api/v1/namespaces/a/pods/p/exec";

#[test]
fn rbac_allows_and_silence_forbids() {
    let world = World::new(&[]);
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "allow by ClusterRoleBinding view → ClusterRole/view"
    );
    assert_eq!(say(&world.decide("al", &["dev"], "POST", EXEC)), "deny NoRule");
    assert_eq!(say(&world.decide("al", &[], "GET", POD)), "deny NoGroups");
    assert_eq!(say(&world.decide("al", &["dev"], "BREW", POD)), "deny UnknownVerb");
}

#[test]
fn what_silence_means_is_the_clusters_mode() {
    let mut world = World::new(&[]);
    world.authorization = Authorization::Confirm;
    assert_eq!(say(&world.decide("al", &["dev"], "POST", EXEC)), "ask, else NoRule");
    world.authorization = Authorization::Observe;
    assert_eq!(
        say(&world.decide("al", &["dev"], "POST", EXEC)),
        "allow by built-in observe"
    );
}

#[test]
fn a_forbid_wins_over_rbac_discovery_and_every_mode() {
    let all = json!({"verbs": ["*"], "resources": ["*"], "paths": ["*"]});
    let mut world = World::new(&[forbid("al", &all)]);
    for authorization in [Authorization::Confirm, Authorization::Enforce, Authorization::Observe] {
        world.authorization = authorization;
        for raw in [POD, "/api", "/apis/apps", "/version"] {
            let decision = world.decide("al", &["dev"], "GET", raw);
            assert_eq!(say(&decision), "deny Forbidden", "{raw}");
            let Verdict::Deny(denied) = decision.verdict else {
                panic!("it was refused")
            };
            assert_eq!(denied.rules[0].to_string(), "AccessRule r0");
        }
    }
}

#[test]
fn discovery_is_open_to_whoever_signed_in_and_nothing_beside_it() {
    let world = World::new(&[]);
    for raw in ["/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/version", "/version/"] {
        assert_eq!(
            say(&world.decide("al", &[], "GET", raw)),
            "allow by built-in discovery",
            "{raw}"
        );
        assert_eq!(say(&world.decide("al", &[], "POST", raw)), "deny NoGroups", "{raw}");
    }
    for raw in ["/healthz", "/metrics", "/apiserver", "/", "/versions", "/api/v1/pods"] {
        assert_ne!(
            say(&world.decide("al", &[], "GET", raw)),
            "allow by built-in discovery",
            "{raw}"
        );
    }
}

#[test]
fn a_rule_beyond_rbac_takes_on_the_groups_with_which_the_cluster_allows_it() {
    let enter = |groups: Value| {
        json!({"effect": "allow", "subjects": {"people": ["al"]}, "as": {"groups": groups},
               "kubernetes": {"actions": ["exec"], "namespaces": ["a"]}})
    };
    let world = World::new(&[enter(json!(["other"])), enter(json!(["shell"]))]);
    let decision = world.decide("al", &["dev"], "GET", EXEC);
    let Verdict::Allow(allowed) = decision.verdict else {
        panic!("{decision:?}")
    };
    assert_eq!(*allowed.upstream.groups, ["dev".into(), "shell".into()]);
    let read = world.decide("al", &["dev"], "GET", POD);
    let Verdict::Allow(allowed) = read.verdict else {
        panic!("{read:?}")
    };
    assert_eq!(
        *allowed.upstream.groups,
        ["dev".into()],
        "where RBAC allows, nothing is taken on"
    );
}

#[test]
fn a_namespaces_unknown_to_the_snapshot_is_forbidden_and_not_allowed() {
    let gold = json!({"verbs": ["get", "list"], "resources": ["pods"],
                      "namespaceSelector": {"matchLabels": {"tier": "gold"}}});
    let world = World::new(&[forbid("al", &gold)]);
    for (raw, said) in [
        (POD, "deny Forbidden"),
        ("/api/v1/namespaces/new/pods/p", "deny Forbidden"),
        ("/api/v1/pods", "deny Forbidden"),
    ] {
        assert_eq!(say(&world.decide("al", &["dev"], "GET", raw)), said, "{raw}");
    }
    let allow = json!({"effect": "allow", "subjects": {"people": ["al"]}, "kubernetes": gold});
    let world = World::new(&[allow]);
    assert!(say(&world.decide("al", &["x"], "GET", POD)).starts_with("allow"));
    assert_eq!(
        say(&world.decide("al", &["x"], "GET", "/api/v1/namespaces/new/pods/p")),
        "deny NoRule"
    );
    assert_eq!(say(&world.decide("al", &["x"], "GET", "/api/v1/pods")), "deny NoRule");
}

#[test]
fn a_forbid_of_one_namespace_leaves_the_nodes_alone() {
    let world = World::new(&[forbid(
        "al",
        &json!({"verbs": ["*"], "resources": ["*"], "namespaces": ["a"]}),
    )]);
    assert_eq!(say(&world.decide("al", &["x"], "GET", "/api/v1/nodes")), "deny NoRule");
    assert_eq!(
        say(&world.decide("al", &["x"], "GET", "/api/v1/secrets")),
        "deny Forbidden"
    );
    assert_eq!(
        say(&world.decide("al", &["x"], "GET", "/api/v1/namespaces/a")),
        "deny Forbidden"
    );
    assert_eq!(
        say(&world.decide("al", &["x"], "GET", "/api/v1/namespaces/b/secrets")),
        "deny NoRule"
    );
}

#[test]
fn a_forbid_of_one_name_also_meets_calls_whose_name_is_not_known() {
    let world = World::new(&[forbid(
        "al",
        &json!({"verbs": ["get", "deletecollection"], "resources": ["pods"], "names": ["p"]}),
    )]);
    assert_eq!(say(&world.decide("al", &["dev"], "GET", POD)), "deny Forbidden");
    assert_eq!(
        say(&world.decide("al", &["dev"], "DELETE", "/api/v1/namespaces/a/pods")),
        "deny Forbidden"
    );
    assert!(say(&world.decide("al", &["dev"], "GET", "/api/v1/namespaces/a/pods/q")).starts_with("allow"));
    assert!(
        say(&world.decide("al", &["dev"], "GET", "/api/v1/namespaces/a/pods")).starts_with("allow"),
        "verb list"
    );
}

#[test]
fn an_erroring_forbid_forbids_and_an_erroring_allow_grants_nothing() {
    let when = "source.ip == ip('10.0.0.1')";
    let scope = json!({"verbs": ["*"], "resources": ["*"]});
    let world =
        World::new(&[json!({"effect": "forbid", "subjects": {"people": ["al"]}, "kubernetes": scope, "when": when})]);
    let decision = world.decide("al", &["dev"], "GET", POD);
    assert_eq!(say(&decision), "deny Forbidden");
    assert!(!decision.cacheable);
    let Verdict::Deny(denied) = decision.verdict else {
        panic!("it was refused")
    };
    assert!(
        denied.rules[0]
            .why
            .as_ref()
            .unwrap()
            .starts_with("its condition failed"),
        "{:?}",
        denied.rules
    );
    let world =
        World::new(&[json!({"effect": "allow", "subjects": {"people": ["al"]}, "kubernetes": scope, "when": when})]);
    let decision = world.decide("al", &["x"], "GET", POD);
    assert_eq!(say(&decision), "deny NoRule");
    let Verdict::Deny(denied) = decision.verdict else {
        panic!("it was refused")
    };
    assert!(
        denied.rules[0].why.is_some(),
        "the person sees why the rule did not help"
    );
}

#[test]
fn an_unreadable_forbid_of_the_cluster_forbids_what_can_be_read_of_it() {
    let mut world = World::new(&[]);
    let broken = json!({"effect": "forbid", "subjects": {"people": ["al"]},
                        "kubernetes": {"verbs": ["get"], "resources": ["p*ds"], "namespaces": ["a"]}, "wen": "true"});
    let (rules, problems) = load_objects([&object("broken", &broken)]);
    assert!(!problems.is_empty());
    world.rules = RuleSet::new(rules);
    assert_eq!(say(&world.decide("al", &["dev"], "GET", POD)), "deny Forbidden");
    assert!(say(&world.decide("al", &["dev"], "GET", "/api/v1/namespaces/b/pods/p")).starts_with("allow"));
    assert!(say(&world.decide("bo", &["dev"], "GET", POD)).starts_with("allow"));
}

#[test]
fn shadow_rules_are_reported_without_effect() {
    let mut spec = forbid("al", &json!({"verbs": ["*"], "resources": ["*"]}));
    spec["mode"] = json!("shadow");
    let decision = World::new(&[spec]).decide("al", &["dev"], "GET", POD);
    let Verdict::Allow(allowed) = decision.verdict else {
        panic!("{decision:?}")
    };
    assert_eq!(allowed.rules.last().unwrap().effect, RuleEffect::WouldForbid);
}

#[test]
fn a_rule_ends_at_its_moment_and_the_permit_with_it() {
    let until = "1970-01-12T13:46:41Z";
    let spec = json!({"effect": "allow", "subjects": {"people": ["al"]}, "until": until,
                      "kubernetes": {"verbs": ["delete"], "resources": ["pods"]}});
    let mut world = World::new(&[spec]);
    let decision = world.decide("al", &["dev"], "DELETE", POD);
    let Verdict::Allow(allowed) = &decision.verdict else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (allowed.not_after, decision.cacheable),
        (Timestamp::parse(until).unwrap(), false)
    );
    world.now = Timestamp::parse(until).unwrap();
    assert_eq!(
        say(&world.decide("al", &["dev"], "DELETE", POD)),
        "deny NoRule",
        "half-open"
    );
}

#[test]
fn obligations_are_owed_even_where_rbac_allows() {
    let owed = |obligations: Value| {
        json!({"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": obligations,
               "kubernetes": {"verbs": ["get", "watch"], "resources": ["pods"]}})
    };
    let mut world = World::new(&[
        owed(json!({"reason": true, "record": true})),
        owed(json!({"stepUp": {"maxAge": "30m"}})),
    ]);
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "deny Obligation(Reason)"
    );
    world.reason = true;
    let decision = world.decide("al", &["dev"], "GET", POD);
    let Verdict::Allow(allowed) = decision.verdict else {
        panic!("{decision:?}")
    };
    assert!(allowed.obligations.record);
    assert_eq!(allowed.not_after, Timestamp::from_unix_seconds(999_000 + 1_800));
    world.now = allowed.not_after;
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "deny Obligation(StepUp { acr: [] })"
    );
    world.signed_in = None;
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "deny Obligation(StepUp { acr: [] })"
    );
}

#[test]
fn of_several_rules_about_a_session_the_strictest_counts_in_each_part() {
    let owed = |obligations: Value| {
        json!({"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": obligations,
               "kubernetes": {"actions": ["enter"], "namespaces": ["a"]}})
    };
    let of = |rules: &[Value]| {
        let decision = World::new(rules).decide("al", &["shell"], "POST", "/api/v1/namespaces/a/pods/p/exec");
        let Verdict::Allow(allowed) = decision.verdict else {
            panic!("{decision:?}")
        };
        let owed = allowed.obligations;
        (owed.record, owed.idle_seconds, owed.longest_seconds)
    };
    let (short, long) = (
        owed(json!({"idle": "90s", "longest": "2d"})),
        owed(json!({"idle": "15m", "longest": "8h", "record": true})),
    );
    assert_eq!(of(&[]), (false, None, None));
    assert_eq!(of(std::slice::from_ref(&short)), (false, Some(90), Some(172_800)));
    let both = (true, Some(90), Some(28_800));
    assert_eq!(of(&[short.clone(), long.clone()]), both);
    assert_eq!(of(&[long, short]), both, "in any order");
    // A rule about something else demands nothing here.
    let elsewhere = json!({"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": {"idle": "1s"},
                           "kubernetes": {"actions": ["enter"], "namespaces": ["b"]}});
    assert_eq!(of(&[elsewhere]), (false, None, None));
}

#[test]
fn two_rules_that_demand_different_contexts_are_both_owed() {
    let owed = |acr: &str| {
        json!({"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": {"stepUp": {"acr": acr}},
               "kubernetes": {"verbs": ["get"], "resources": ["pods"]}})
    };
    for (rules, met) in [
        (vec![owed("basic")], true),
        (vec![owed("basic"), owed("basic")], true),
        (vec![owed("basic"), owed("hardware")], false),
        (vec![owed("hardware"), owed("basic")], false),
    ] {
        let mut world = World::new(&rules);
        world.acr = Some("basic");
        let said = say(&world.decide("al", &["dev"], "GET", POD));
        assert_eq!(said.starts_with("deny Obligation(StepUp"), !met, "{rules:?}: {said}");
    }
}

#[test]
fn a_stale_snapshot_grants_nothing() {
    let mut world = World::new(&[]);
    world.freshness = Freshness::Stale { age_seconds: Some(91) };
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "deny StaleSnapshot { age_seconds: Some(91) }"
    );
    world.authorization = Authorization::Confirm;
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "ask, else StaleSnapshot { age_seconds: Some(91) }"
    );
}

#[test]
fn imp_08_too_many_groups_are_refused_and_never_cut() {
    let groups = ["dev", "b", "c", "d", "e"];
    let world = World::new(&[]);
    assert_eq!(
        say(&world.decide("al", &groups, "GET", POD)),
        "deny TooManyGroups { have: 5, limit: 4 }"
    );
    assert!(say(&world.decide("al", &groups[..4], "GET", POD)).starts_with("allow"));
}

#[test]
fn before_everything_was_listed_once_nothing_is_decided_for_nobody_knows_what_is_forbidden() {
    let allow = json!({"effect": "allow", "subjects": {"people": ["al"]},
        "kubernetes": {"verbs": ["*"], "resources": ["*"], "paths": ["*"]}});
    let mut world = World::new(&[allow]);
    world.freshness = Freshness::Stale { age_seconds: None };
    for authorization in [Authorization::Confirm, Authorization::Observe, Authorization::Enforce] {
        world.authorization = authorization;
        for raw in [POD, "/api", "/healthz"] {
            assert_eq!(
                say(&world.decide("al", &["dev"], "GET", raw)),
                "deny StaleSnapshot { age_seconds: None }",
                "{authorization:?} {raw}"
            );
        }
    }
}

fn wanting(user: &str, groups: &[&str]) -> Impersonation {
    Impersonation {
        user: user.into(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        ..Impersonation::default()
    }
}

#[test]
fn each_borrowed_value_must_be_granted_and_the_borrowed_person_is_decided() {
    let world = World::new(&[]);
    let act = |caller, wanted: &Impersonation| say(&world.decide_as(caller, &["staff"], "GET", POD, Some(wanted)));
    assert!(act("lead", &wanting("al", &["dev"])).starts_with("allow by ClusterRoleBinding view"));
    assert_eq!(
        act("lead", &wanting("al", &[])),
        "deny NoGroups",
        "the caller's own groups do not count"
    );
    assert_eq!(
        act("al", &wanting("bo", &["dev"])),
        "deny MayNotImpersonate { what: \"user bo\" }"
    );
    let uid = Impersonation {
        uid: Some("7".into()),
        ..wanting("al", &["dev"])
    };
    assert_eq!(act("lead", &uid), "deny MayNotImpersonate { what: \"uid 7\" }");
    let extra = BTreeMap::from([("k".to_owned(), vec!["v".to_owned()])]);
    let extra = Impersonation {
        extra: Arc::new(extra),
        ..wanting("al", &["dev"])
    };
    assert_eq!(act("lead", &extra), "deny MayNotImpersonate { what: \"extra k=v\" }");
    assert!(act("lead", &wanting("", &["dev"])).starts_with("deny MayNotImpersonate"));
}

#[test]
fn reserved_names_need_a_grant_of_that_very_name_and_masters_are_nobodys() {
    let world = World::new(&[
        json!({"effect": "allow", "subjects": {"people": ["lead"]}, "kubernetes":
        {"verbs": ["impersonate"], "resources": ["serviceaccounts"], "namespaces": ["a"], "names": ["bot"]}}),
    ]);
    let act = |wanted: &Impersonation| say(&world.decide_as("lead", &["staff"], "GET", POD, Some(wanted)));
    assert!(
        act(&wanting("al", &["dev", "system:auditors"])).starts_with("allow"),
        "named in resourceNames"
    );
    assert_eq!(
        act(&wanting("al", &["dev", "system:other"])),
        "deny MayNotImpersonate { what: \"group system:other\" }"
    );
    for (user, group) in [
        ("al", "system:masters"),
        ("al", "system:nodes"),
        ("system:node:n", "dev"),
    ] {
        assert!(
            act(&wanting(user, &[group])).starts_with("deny ReservedName"),
            "{user} {group}"
        );
    }
    assert_eq!(
        act(&wanting("system:serviceaccount:a:bot", &[])),
        "deny NoRule",
        "may be borrowed, but may not read"
    );
    assert!(act(&wanting("system:serviceaccount:a:ci", &[])).starts_with("deny MayNotImpersonate"));
}

#[test]
fn a_forbid_cannot_be_left_by_acting_as_somebody_else() {
    let world = World::new(&[forbid("lead", &json!({"verbs": ["get"], "resources": ["pods"]}))]);
    let wanted = wanting("al", &["dev"]);
    assert_eq!(
        say(&world.decide_as("lead", &["staff"], "GET", POD, Some(&wanted))),
        "deny Forbidden"
    );
    let list = "/api/v1/namespaces/a/pods";
    assert!(say(&world.decide_as("lead", &["staff"], "GET", list, Some(&wanted))).starts_with("allow"));
}

/// RBAC knows the name alone, so that who may act as a workload has its rights; then its forbids are theirs, too.
#[test]
fn a_forbid_for_a_workload_is_not_left_by_whoever_acts_as_it() {
    let scope = json!({"verbs": ["get"], "resources": ["pods"]});
    let world = World::new(&[
        json!({"effect": "forbid", "subjects": {"workloads": ["spiffe://example.org/ns/mesh/*"]}, "kubernetes": scope}),
    ]);
    let act = |user: &str| {
        let wanted = wanting(user, &["dev"]);
        say(&world.decide_as("lead", &["staff"], "GET", POD, Some(&wanted)))
    };
    assert_eq!(act("spiffe://example.org/ns/mesh/sa/web"), "deny Forbidden");
    assert!(
        act("spiffe://example.org/ns/other/sa/web").starts_with("allow"),
        "nobody else's"
    );
    assert!(
        act("spiffe://example.org/ns/mesh/").starts_with("allow"),
        "no workload is called so"
    );
}

#[test]
fn a_person_is_never_taken_for_a_workload_or_group_of_the_same_name() {
    let scope = json!({"verbs": ["*"], "resources": ["*"]});
    let world = World::new(&[
        json!({"effect": "forbid", "subjects": {"workloads": ["*"]}, "kubernetes": scope}),
        json!({"effect": "forbid", "subjects": {"groups": ["al"]}, "kubernetes": scope}),
        json!({"effect": "forbid", "subjects": {"people": ["dev"]}, "kubernetes": scope}),
    ]);
    assert!(say(&world.decide("al", &["dev"], "GET", POD)).starts_with("allow"));
}

#[test]
fn an_explanation_shows_each_rule_asked_and_the_nearest_role_that_may_be_seen() {
    let world = World::new(&[forbid("al", &json!({"verbs": ["delete"], "resources": ["pods"]}))]);
    let target = Target::parse(EXEC.as_bytes()).unwrap();
    let wire = Wire {
        method: "POST",
        wants_upgrade: false,
        impersonates: false,
    };
    let facts = RequestFacts::classify(&target, wire).unwrap();
    let situation = world.situation();
    let subject = person("al", &["dev"]);
    let explained = explain(&world.query(&facts, &subject, &situation, None));
    assert_eq!(
        explained.rules[0].reach,
        crate::rule::Reach::Misses(crate::rule::Miss::Verb)
    );
    assert_eq!(explained.nearest.unwrap().role.as_ref(), "ClusterRole/shell");
    let stranger = person("zo", &["none"]);
    assert_eq!(
        nearest(&world.query(&facts, &stranger, &situation, None)),
        None,
        "not hers to see"
    );
}

/// Generated rules over a small vocabulary.
fn any_rule() -> impl Strategy<Value = Value> {
    let people = prop_oneof![Just("al"), Just("bo"), Just("*")];
    let verbs = prop_oneof![Just("get"), Just("list"), Just("create"), Just("*")];
    let resources = prop_oneof![Just("pods"), Just("pods/exec"), Just("*"), Just("secrets")];
    let namespaces = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    let when = prop_oneof![
        Just(None),
        Just(Some("request.name == 'p'")),
        Just(Some("auth.acr == 'x'"))
    ];
    (any::<bool>(), any::<bool>(), people, verbs, resources, namespaces, when).prop_map(
        |(forbids, shadow, people, verb, resource, namespace, when)| {
            let mut spec = json!({
                "effect": if forbids { "forbid" } else { "allow" },
                "mode": if shadow { "shadow" } else { "enforce" },
                "subjects": {"people": [people]},
                "kubernetes": {"verbs": [verb], "resources": [resource]},
            });
            if let Some(namespace) = namespace {
                spec["kubernetes"]["namespaces"] = json!([namespace]);
            }
            if let Some(when) = when {
                spec["when"] = json!(when);
            }
            spec
        },
    )
}

fn any_call() -> impl Strategy<Value = (&'static str, &'static str, &'static str)> {
    let user = prop_oneof![Just("al"), Just("bo")];
    let method = prop_oneof![Just("GET"), Just("POST"), Just("DELETE")];
    let raw = prop_oneof![
        Just(POD),
        Just(EXEC),
        Just("/api/v1/pods"),
        Just("/api/v1/namespaces/b/secrets/p"),
        Just("/api/v1/nodes/n"),
        Just("/version"),
    ];
    (user, method, raw)
}

fn is_allow(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Allow(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_laws_of_policy_hold(rules in prop::collection::vec(any_rule(), 0..6), more in any_rule(), call in any_call()) {
        let (user, method, raw) = call;
        let said = |rules: &[Value]| World::new(rules).decide(user, &["dev"], method, raw);
        let before = said(&rules);
        prop_assert_eq!(say(&before), say(&said(&rules)), "pure");

        let mut turned = rules.clone();
        turned.reverse();
        prop_assert_eq!(is_allow(&before), is_allow(&said(&turned)), "order means nothing");

        let doubled: Vec<_> = rules.iter().chain(&rules).cloned().collect();
        prop_assert_eq!(is_allow(&before), is_allow(&said(&doubled)), "doubles mean nothing");

        let extended: Vec<_> = rules.iter().cloned().chain([more.clone()]).collect();
        let after = said(&extended);
        if more["mode"] == "shadow" {
            prop_assert_eq!(is_allow(&before), is_allow(&after), "a shadow changes nothing");
        } else if more["effect"] == "forbid" {
            prop_assert!(is_allow(&before) || !is_allow(&after), "a forbid never adds an allow");
        } else {
            prop_assert!(!is_allow(&before) || is_allow(&after), "an allow never takes one away");
        }
        for decision in [&before, &after] {
            if let Verdict::Allow(allowed) = &decision.verdict {
                prop_assert!(allowed.rules.iter().all(|rule| rule.effect != RuleEffect::Forbid), "any forbid forbids");
            }
        }
    }

    #[test]
    fn renaming_everybody_consistently_changes_nothing(rules in prop::collection::vec(any_rule(), 0..6), call in any_call()) {
        let (user, method, raw) = call;
        let renamed = |name: &str| format!("{name}-renamed");
        let rename = |mut rule: Value| {
            let person = rule["subjects"]["people"][0].as_str().unwrap().to_owned();
            if person != "*" {
                rule["subjects"]["people"][0] = json!(renamed(&person));
            }
            rule
        };
        let one = World::new(&rules).decide(user, &["dev"], method, raw);
        let other: Vec<_> = rules.into_iter().map(rename).collect();
        let other = World::new(&other).decide(&renamed(user), &["dev"], method, raw);
        prop_assert_eq!(say(&one), say(&other));
    }
}
