//! What rules would have said to calls, each class by itself: what cannot be known is never a refusal.

use access::rbac::Objects;
use access::rule::load_files;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::read_line;

const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-deletes }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { verbs: [delete], resources: [pods], namespaces: [payments] }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: not-in-production }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { verbs: [create], resources: [pods/exec], namespaceSelector: { matchLabels: { env: prod } } }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: fresh-sign-in }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get], resources: [secrets] }
  when: auth.age > 3600
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: with-a-reason }
spec:
  effect: allow
  subjects: { groups: [dev] }
  kubernetes: { verbs: [patch], resources: [deployments.apps] }
  obligations: { reason: true }
"#;

const RBAC: &str = r#"
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: edit }
rules:
- { verbs: ["*"], apiGroups: ["", apps], resources: ["*"] }
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: reader }
rules:
- { verbs: [get, list, watch], apiGroups: ["", apps], resources: ["*"] }
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: readers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
kind: RoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: editors, namespace: payments }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

fn rules(texts: &[&str]) -> Rules {
    let policy = load_files(texts.iter().map(|text| ("rules.yaml", *text))).unwrap();
    let has_rbac = policy.rbac != Objects::default();
    Rules {
        cluster: "prod".to_owned(),
        rules: RuleSet::new(policy.rules),
        rbac: has_rbac.then(|| Snapshot::new(&policy.rbac)),
        namespaces: NamespaceLabels::default(),
        balancers: Vec::new(),
    }
}

fn event(user: &str, verb: &str, uri: &str, code: u16) -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a", "stage": "ResponseComplete",
        "requestURI": uri, "verb": verb, "user": {"username": user, "groups": ["dev", "system:authenticated"]},
        "responseStatus": {"code": code}, "sourceIPs": ["10.0.0.9"],
        "requestReceivedTimestamp": "2026-11-20T10:00:00.000000Z", "stageTimestamp": "2026-11-20T10:00:01.000000Z"})
}

fn of_id(id: &str, mut event: Value) -> Value {
    event["auditID"] = id.into();
    event
}

fn said(given: Rules, events: &[Value]) -> Said {
    said_keeping(MOST_GROUPS, given, events)
}

fn said_keeping(most_groups: usize, given: Rules, events: &[Value]) -> Said {
    let mut replay = Replay::of(given);
    replay.most_groups = u64::try_from(most_groups).unwrap();
    for event in events {
        for event in read_line(event.to_string().as_bytes()).unwrap() {
            replay.push(&event);
        }
    }
    replay.said()
}

fn whys(groups: &[Group]) -> Vec<(&str, &str, &str, u64, &str)> {
    groups
        .iter()
        .map(|group| {
            (
                group.user.as_str(),
                group.verb.as_str(),
                group.resource.as_str(),
                group.calls,
                group.why.as_str(),
            )
        })
        .collect()
}

const PODS: &str = "/api/v1/namespaces/payments/pods/web-0";

#[test]
fn what_a_rule_forbids_is_said_with_the_rule_and_folded_by_person_and_object() {
    let deletes = [
        event("bob", "delete", PODS, 200),
        event("bob", "delete", "/api/v1/namespaces/payments/pods/web-1", 200),
        event("bob", "delete", "/api/v1/namespaces/other/pods/web-1", 200),
        event("bob", "get", PODS, 200),
        of_id("b", event("bob", "delete", PODS, 403)),
    ];
    let said = said(rules(&[RULES]), &deletes);
    assert_eq!(
        whys(&said.refused),
        [("bob", "delete", "pods", 2, "forbidden by AccessRule no-deletes")]
    );
    assert_eq!(
        (said.judged, said.same, said.refused[0].namespace.as_str()),
        (5, 3, "payments")
    );
    assert_eq!((said.allowed, said.unknown), (vec![], vec![]));
}

#[test]
fn with_rbac_objects_they_alone_count_and_the_closest_role_is_named() {
    let calls = [
        event("bob", "create", "/api/v1/namespaces/payments/pods", 201),
        event("bob", "create", "/api/v1/namespaces/other/pods", 201),
        event("bob", "list", "/apis/apps/v1/deployments?limit=500", 200),
        event("bob", "list", "/apis/apps/v1/deployments", 403),
        event("bob", "get", "/version", 200),
    ];
    let with = said(rules(&[RULES, RBAC]), &calls);
    assert_eq!(whys(&with.refused), [("bob", "create", "pods", 1, "nothing allows it")]);
    assert_eq!(with.refused[0].nearest.as_deref(), Some("ClusterRole/edit in other"));
    assert_eq!(
        whys(&with.allowed),
        [(
            "bob",
            "list",
            "deployments.apps",
            1,
            "ClusterRoleBinding readers → ClusterRole/reader"
        )]
    );
    assert_eq!(with.same, 3);
    // Without them the server's own word is RBAC's.
    let without = said(rules(&[RULES]), &calls);
    assert_eq!((without.same, without.refused, without.allowed), (5, vec![], vec![]));
}

#[test]
fn promise_3_what_the_log_does_not_say_is_neither_a_refusal_nor_a_yes() {
    let exec = "/api/v1/namespaces/payments/pods/web-0/exec?command=sh&stdin=true";
    let calls = [
        // Whether the namespace is production is not known.
        event("bob", "get", exec, 101),
        // How old the sign-in was.
        event("bob", "get", "/api/v1/namespaces/payments/secrets/s", 200),
        // Whether a reason was stated.
        event("bob", "patch", "/apis/apps/v1/namespaces/payments/deployments/d", 200),
    ];
    let unlabelled = said(rules(&[RULES, RBAC]), &calls);
    assert_eq!(
        (
            unlabelled.refused.len(),
            unlabelled.allowed.len(),
            unlabelled.unknown.len()
        ),
        (0, 0, 3),
        "{unlabelled:#?}"
    );
    for (group, words) in unlabelled
        .unknown
        .iter()
        .zip(["not-in-production", "fresh-sign-in", "with-a-reason"])
    {
        let found = unlabelled.unknown.iter().any(|group| group.why.contains(words));
        assert!(found, "{words}: {group:?}");
    }
    for (env, refused) in [("prod", 1), ("test", 0)] {
        let mut given = rules(&[RULES, RBAC]);
        given
            .namespaces
            .insert("payments".into(), [("env".to_owned(), env.to_owned())].into());
        let labelled = said(given, &calls);
        assert_eq!(
            (labelled.refused.len(), labelled.unknown.len()),
            (refused, 2),
            "{env}: {labelled:#?}"
        );
        assert!(
            labelled
                .refused
                .iter()
                .all(|group| (group.verb.as_str(), group.resource.as_str()) == ("create", "pods/exec"))
        );
    }
}

#[test]
fn nobody_components_and_masters_are_told_apart() {
    let mut master = event("admin", "get", PODS, 200);
    master["user"]["groups"] = json!(["system:masters", "system:authenticated"]);
    let mut anonymous = event("system:anonymous", "get", "/version", 200);
    anonymous["user"]["groups"] = json!(["system:unauthenticated"]);
    let calls = [
        event("system:kube-scheduler", "list", "/api/v1/pods", 200),
        master,
        anonymous,
        event("", "get", "/api/v1/pods", 401),
    ];
    let said = said(rules(&[RULES, RBAC]), &calls);
    assert_eq!(
        (said.components, said.judged, said.same, said.refused.len()),
        (1, 3, 1, 0),
        "{said:#?}"
    );
    let words: Vec<_> = said.unknown.iter().map(|group| group.why.as_str()).collect();
    assert!(
        words.iter().any(|why| why.starts_with("member of system:masters")),
        "{words:?}"
    );
    assert!(words.iter().any(|why| why.starts_with("nobody known")), "{words:?}");
}

#[test]
fn acting_as_somebody_else_needs_its_own_right() {
    let mut call = event("bob", "get", PODS, 200);
    call["impersonatedUser"] = json!({"username": "alice", "groups": ["dev", "system:authenticated"]});
    let alone = said(rules(&[RULES]), std::slice::from_ref(&call));
    assert_eq!((alone.unknown.len(), alone.refused.len()), (1, 0));
    let with = said(rules(&[RULES, RBAC]), std::slice::from_ref(&call));
    assert_eq!(
        whys(&with.refused),
        [("bob", "get", "pods", 1, "they may not act as user alice")]
    );
    assert_eq!(with.refused[0].effective.as_deref(), Some("alice"));
    let may = r#"
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: actor }
rules: [{ verbs: [impersonate], apiGroups: [""], resources: [users, groups] }]
---
kind: ClusterRoleBinding
apiVersion: rbac.authorization.k8s.io/v1
metadata: { name: actors }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: actor }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: bob }]
"#;
    assert_eq!(said(rules(&[RULES, RBAC, may]), &[call]).same, 1);
}

#[test]
fn a_long_call_is_judged_once_and_when_it_begins() {
    let uri = "/api/v1/namespaces/payments/pods?watch=true";
    let mut begun = event("bob", "watch", uri, 200);
    begun["stage"] = "ResponseStarted".into();
    let mut received = begun.clone();
    received["stage"] = "RequestReceived".into();
    let ended = event("bob", "watch", uri, 200);
    let forbid = RULES.replace("[delete]", "[watch]");
    let first = said(rules(&[&forbid]), &[received.clone(), begun.clone()]);
    assert_eq!((first.judged, first.refused.len()), (1, 1));
    let all = said(rules(&[&forbid]), &[received, begun, ended.clone()]);
    assert_eq!((all.judged, all.refused[0].calls), (1, 1));
    assert_eq!(said(rules(&[&forbid]), &[ended]).refused[0].calls, 1);
}

/// A webhook sends batches side by side, and again: nothing says in which order their events come.
#[test]
fn a_call_is_judged_once_in_whatever_order_its_events_come() {
    let uri = "/api/v1/namespaces/payments/pods?watch=true";
    let of = |stage: &str| {
        let mut event = event("bob", "watch", uri, 200);
        event["stage"] = stage.into();
        event
    };
    let forbid = RULES.replace("[delete]", "[watch]");
    let stages = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"].map(of);
    for first in 0..4 {
        for second in 0..4 {
            for third in 0..4 {
                let order = [first, second, third].map(|n| stages[n].clone());
                let said = said(rules(&[&forbid]), &order);
                let any = u64::from([first, second, third].iter().any(|n| *n > 0));
                let refused = said.refused.first().map_or(0, |group| group.calls);
                assert_eq!((said.judged, refused), (any, any), "{first} {second} {third}");
            }
        }
    }
}

#[test]
fn many_kinds_of_one_class_hide_none_of_another() {
    let unknown = |n: usize| of_id(&n.to_string(), event("system:anonymous", "get", &format!("/a{n}"), 200));
    let mut calls: Vec<Value> = (0..5).map(unknown).collect();
    calls.extend((5..8).map(|n| of_id(&n.to_string(), event("bob", "delete", PODS, 200))));
    let mut more = event("carol", "delete", PODS, 200);
    more["auditID"] = "more".into();
    calls.push(more);
    let said = said_keeping(1, rules(&[RULES]), &calls);
    assert_eq!((said.unknown.len(), said.calls.unknown, said.beyond.unknown), (1, 5, 4));
    assert_eq!(
        whys(&said.refused),
        [("bob", "delete", "pods", 3, "forbidden by AccessRule no-deletes")]
    );
    assert_eq!((said.calls.refused, said.beyond.refused), (4, 1), "{said:#?}");
}

#[test]
fn a_source_is_whoever_connected_unless_that_is_a_balancer_of_ours() {
    const OFFICE: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: office-only }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get], resources: [pods] }
  when: "!cidr('192.0.2.0/24').containsIP(source.ip)"
"#;
    for (sources, balancers, refused, guessed) in [
        // Anybody can send the header: without a balancer the connection counts.
        (&["192.0.2.7", "10.0.0.9"][..], &[][..], 1, 1),
        (&["10.0.0.9", "192.0.2.7"], &[], 0, 1),
        (&["192.0.2.7"], &[], 0, 0),
        // Behind one, what it says counts, and nothing that a caller wrote before that.
        (&["192.0.2.7", "10.0.0.9"], &["10.0.0.0/8"], 0, 0),
        (&["192.0.2.7", "203.0.113.5", "10.0.0.9"], &["10.0.0.0/8"], 1, 0),
        (
            &["192.0.2.7", "10.1.0.1", "10.0.0.9"],
            &["10.0.0.9", "10.1.0.0/16"],
            0,
            0,
        ),
        (&["192.0.2.7", "10.0.0.9"], &["10.0.0.8"], 1, 1),
    ] {
        let mut call = event("bob", "get", PODS, 200);
        call["sourceIPs"] = json!(sources);
        let mut given = rules(&[OFFICE]);
        given.balancers = balancers.iter().map(|text| text.parse().unwrap()).collect();
        let said = said(given, &[call]);
        assert_eq!(
            (said.calls.refused, said.calls.unknown, said.forwarded),
            (refused, 0, guessed),
            "{sources:?} behind {balancers:?}"
        );
    }
    for text in [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "",
        "::/129",
        "a/8",
    ] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
    let mapped: Network = "10.0.0.0/8".parse().unwrap();
    assert!(mapped.contains("::ffff:10.2.3.4".parse().unwrap()) && !mapped.contains("::a02:304".parse().unwrap()));
    assert!(
        "0.0.0.0/0"
            .parse::<Network>()
            .unwrap()
            .contains("9.9.9.9".parse().unwrap())
    );
    assert!("::/0".parse::<Network>().unwrap().contains("fd00::1".parse().unwrap()));
}

#[test]
fn an_address_that_the_gate_would_not_read_is_refused_by_it() {
    let refused = said(
        rules(&[RULES]),
        &[event("bob", "get", "/api/v1/namespaces/n/pods/..%2fsecrets", 200)],
    );
    assert_eq!((refused.refused.len(), refused.same), (1, 0), "{refused:#?}");
    let odd = said(
        rules(&[RULES]),
        &[
            event("bob", "create", PODS, 200),
            event("bob", "get", "/api/v1/pods", 200),
        ],
    );
    assert_eq!(
        (odd.unknown.len(), odd.same),
        (1, 1),
        "a get of all is a list: {odd:#?}"
    );
}

proptest! {
    #[test]
    fn every_call_is_in_exactly_one_class(
        calls in prop::collection::vec((0..4_usize, 0..5_usize, 0..5_usize, prop::sample::select(vec![200_u16, 201, 403, 401])), 0..40),
        with_rbac in any::<bool>(), most_groups in 1..6_usize,
    ) {
        let users = ["bob", "alice", "system:serviceaccount:ci:bot", "system:node:n1"];
        let verbs = ["get", "list", "delete", "create", "patch"];
        let uris = [PODS, "/api/v1/pods", "/version", "/apis/apps/v1/namespaces/payments/deployments/d", "//x"];
        let call = |(n, (user, verb, uri, code)): (usize, &(usize, usize, usize, u16))| {
            of_id(&n.to_string(), event(users[*user], verbs[*verb], uris[*uri], *code))
        };
        let events: Vec<Value> = calls.iter().enumerate().map(call).collect();
        let given = if with_rbac { rules(&[RULES, RBAC]) } else { rules(&[RULES]) };
        // Few groups are kept: what is in none is counted all the same, and by its class.
        let said = said_keeping(most_groups, given, &events);
        for (groups, calls, beyond) in [
            (&said.refused, said.calls.refused, said.beyond.refused),
            (&said.allowed, said.calls.allowed, said.beyond.allowed),
            (&said.unknown, said.calls.unknown, said.beyond.unknown),
        ] {
            prop_assert_eq!(groups.iter().map(|group| group.calls).sum::<u64>() + beyond, calls);
            prop_assert!(groups.len() <= most_groups);
        }
        prop_assert_eq!(said.judged, said.same + said.calls.refused + said.calls.allowed + said.calls.unknown);
        prop_assert_eq!(said.judged + said.components, u64::try_from(events.len()).unwrap());
        // What the server refused is never what rules would have refused besides, nor the other way round.
        prop_assert!(calls.iter().any(|call| call.3 < 400) || said.refused.is_empty());
        prop_assert!(calls.iter().any(|call| call.3 >= 400) || said.allowed.is_empty());
    }
}
