//! What allow rules demand is owed wherever a forbid of the same words would forbid, though the rule grants nothing there.

use super::*;

/// An allow rule for everybody that demands all that can be demanded.
fn demanding(kubernetes: &Value) -> Value {
    json!({"effect": "allow", "subjects": {"groups": ["*"]}, "kubernetes": kubernetes,
           "obligations": {"record": true, "idle": "90s", "longest": "8h"}})
}

/// What is owed, and the rules of the trail.
fn owed(decision: &Decision) -> (Obligations, Vec<RuleRef>) {
    match &decision.verdict {
        Verdict::Allow(allowed) => (allowed.obligations.clone(), allowed.rules.clone()),
        Verdict::AskCluster { if_yes, .. } => (if_yes.obligations.clone(), if_yes.rules.clone()),
        Verdict::Deny(denied) => panic!("refused: {denied:?}"),
    }
}

/// All that [`demanding`] demands.
fn everything() -> Obligations {
    Obligations {
        record: true,
        idle_seconds: Some(90),
        longest_seconds: Some(28_800),
        ..Obligations::default()
    }
}

const NEW: &str = "/api/v1/namespaces/new/pods/p/exec";

#[test]
fn a_rule_whose_condition_fails_grants_nothing_and_its_demands_are_owed() {
    let mut rule = demanding(&json!({"actions": ["enter"]}));
    rule["when"] = json!("auth.acr == 'x'");
    let mut world = World::new(&[rule]);
    let (demanded, rules) = owed(&world.decide("al", &["shell"], "POST", EXEC));
    assert_eq!(demanded, everything());
    let why = rules.last().unwrap().why.as_deref().unwrap();
    assert!(
        why.starts_with("its condition failed") && why.ends_with("; it grants nothing, and what it demands is owed"),
        "{why}"
    );
    assert_eq!(
        say(&world.decide("al", &["none"], "POST", EXEC)),
        "deny NoRule",
        "it grants nothing"
    );
    world.acr = Some("y");
    let (demanded, rules) = owed(&world.decide("al", &["shell"], "POST", EXEC));
    assert_eq!(
        demanded,
        Obligations::default(),
        "a condition that is false demands nothing"
    );
    assert_eq!(rules.len(), 1, "{rules:?}");
}

#[test]
fn a_reason_that_a_failing_rule_demands_refuses_the_call() {
    let mut rule = demanding(&json!({"verbs": ["get"], "resources": ["pods"]}));
    rule["obligations"] = json!({"reason": true});
    rule["when"] = json!("source.ip == ip('10.0.0.1')");
    let mut world = World::new(&[rule]);
    assert_eq!(
        say(&world.decide("al", &["dev"], "GET", POD)),
        "deny Obligation(Reason)"
    );
    world.reason = true;
    assert!(say(&world.decide("al", &["dev"], "GET", POD)).starts_with("allow by ClusterRoleBinding view"));
}

#[test]
fn in_a_namespace_whose_labels_are_unknown_the_demands_are_owed() {
    let gold = json!({"actions": ["enter"], "namespaceSelector": {"matchLabels": {"tier": "gold"}}});
    let world = World::new(&[demanding(&gold)]);
    let (demanded, rules) = owed(&world.decide("al", &["shell"], "POST", NEW));
    assert_eq!(demanded, everything());
    let why = rules.last().unwrap().why.as_deref().unwrap();
    assert!(why.starts_with("the labels of its namespace are not known; "), "{why}");
    assert_eq!(say(&world.decide("al", &["none"], "POST", NEW)), "deny NoRule");
    let mut false_anyway = demanding(&gold);
    false_anyway["when"] = json!("request.name == 'q'");
    let (demanded, _) = owed(&World::new(&[false_anyway]).decide("al", &["shell"], "POST", NEW));
    assert_eq!(demanded, Obligations::default(), "its condition is asked all the same");
    let iron = json!({"actions": ["enter"], "namespaceSelector": {"matchLabels": {"tier": "iron"}}});
    let (demanded, _) = owed(&World::new(&[demanding(&iron)]).decide("al", &["shell"], "POST", EXEC));
    assert_eq!(demanded, Obligations::default(), "known labels that do not fit");
}

#[test]
fn a_list_of_all_namespaces_owes_what_one_of_them_demands() {
    let of_a = json!({"verbs": ["list", "watch"], "resources": ["pods"], "namespaces": ["a"]});
    let by_name = json!({"verbs": ["list", "watch"], "resources": ["pods"], "names": ["p"]});
    for scope in [of_a, by_name] {
        let world = World::new(&[demanding(&scope)]);
        assert_eq!(
            owed(&world.decide("al", &["dev"], "GET", "/api/v1/pods")).0,
            everything(),
            "{scope}"
        );
        assert_eq!(
            say(&world.decide("al", &["none"], "GET", "/api/v1/pods")),
            "deny NoRule",
            "{scope}"
        );
    }
    let nodes = json!({"verbs": ["list", "watch"], "resources": ["*"], "namespaces": ["a"], });
    let mut world = World::new(&[demanding(&nodes)]);
    world.authorization = Authorization::Observe;
    let (demanded, _) = owed(&world.decide("al", &["dev"], "GET", "/api/v1/nodes"));
    assert_eq!(demanded, Obligations::default(), "nodes lie in no namespace");
}

#[test]
fn a_rule_that_demands_nothing_leaves_no_trace_where_it_cannot_be_told() {
    let rule = json!({"effect": "allow", "subjects": {"groups": ["*"]},
        "kubernetes": {"verbs": ["list"], "resources": ["pods"], "namespaces": ["a"]}});
    let (_, rules) = owed(&World::new(&[rule]).decide("al", &["dev"], "GET", "/api/v1/pods"));
    assert_eq!(rules.len(), 1, "{rules:?}");
}

#[test]
fn a_shadow_and_a_rule_that_has_ended_demand_nothing() {
    let mut shadow = demanding(&json!({"actions": ["enter"]}));
    shadow["mode"] = json!("shadow");
    let mut ended = demanding(&json!({"actions": ["enter"]}));
    ended["until"] = json!("1970-01-02T00:00:00Z");
    for mut rule in [shadow, ended] {
        for when in ["true", "auth.acr == 'x'"] {
            rule["when"] = json!(when);
            let world = World::new(std::slice::from_ref(&rule));
            let (demanded, _) = owed(&world.decide("al", &["shell"], "POST", EXEC));
            assert_eq!(demanded, Obligations::default(), "{rule}");
        }
    }
}

#[test]
fn an_invalid_allow_of_the_cluster_demands_where_its_readable_part_reaches() {
    let mut rule = demanding(&json!({"actions": ["enter"], "namespaces": ["a"], "names": []}));
    rule["subjects"] = json!({"groups": ["shell"]});
    let (rules, problems) = load_objects([&object("broken", &rule)]);
    assert!(!problems.is_empty());
    let mut world = World::new(&[]);
    world.rules = RuleSet::new(rules);
    let (demanded, trail) = owed(&world.decide("al", &["shell"], "POST", EXEC));
    assert_eq!(demanded, everything());
    let why = trail.last().unwrap().why.as_deref().unwrap();
    assert!(
        why.starts_with("it cannot be read in full: spec.kubernetes.names"),
        "{why}"
    );
    for (groups, raw) in [(["shell"], "/api/v1/namespaces/b/pods/p/exec"), (["dev"], POD)] {
        let method = if raw == POD { "GET" } else { "POST" };
        let (demanded, _) = owed(&world.decide("al", &groups, method, raw));
        assert_eq!(demanded, Obligations::default(), "{raw}");
    }
    assert_eq!(
        say(&world.decide("al", &["x"], "POST", EXEC)),
        "deny NoRule",
        "it grants nothing"
    );
}

#[test]
fn a_tenants_allow_is_invalid_and_demands_in_its_own_namespace_only() {
    let mut rule = object("theirs", &demanding(&json!({"actions": ["enter"]})));
    rule["metadata"]["namespace"] = json!("a");
    let (rules, problems) = load_objects([&rule]);
    assert!(problems[0].what.contains("cannot loosen"), "{problems:?}");
    let mut world = World::new(&[]);
    world.rules = RuleSet::new(rules);
    world.authorization = Authorization::Observe;
    for (raw, expected) in [
        (EXEC, everything()),
        ("/api/v1/namespaces/b/pods/p/exec", Obligations::default()),
        ("/api/v1/nodes/n/proxy/exec/a/p/c", Obligations::default()),
    ] {
        assert_eq!(owed(&world.decide("al", &["shell"], "POST", raw)).0, expected, "{raw}");
    }
}

/// As a forbid, a rule reaches a call; as an allow, its demands are owed there.
fn any_scope() -> impl Strategy<Value = (Value, Option<&'static str>)> {
    let act = prop_oneof![
        Just(json!({"actions": ["enter"]})),
        Just(json!({"verbs": ["*"], "resources": ["*"]})),
        Just(json!({"verbs": ["get", "create"], "resources": ["pods", "pods/exec"]})),
        Just(json!({"verbs": ["*"], "resources": ["nodes", "nodes/proxy"]})),
    ];
    let place = prop_oneof![
        Just(None),
        Just(Some(("namespaces", json!(["a"])))),
        Just(Some(("namespaces", json!(["b"])))),
        Just(Some(("namespaceSelector", json!({"matchLabels": {"tier": "gold"}})))),
    ];
    let names = prop_oneof![
        Just(None),
        Just(Some("p")),
        Just(Some("n")),
        Just(Some("https:p:")),
        Just(Some("n:80"))
    ];
    let when = prop_oneof![
        Just(None),
        Just(Some("request.name == 'p'")),
        Just(Some("request.name == 'n:80'")),
        Just(Some("request.name != 'p'")),
        Just(Some("request.path.contains('/p/')")),
        Just(Some("!request.path.contains('/n/')")),
        Just(Some("auth.acr == 'x'"))
    ];
    (act, place, names, when).prop_map(|(mut scope, place, name, when)| {
        if let Some((member, value)) = place {
            scope[member] = value;
        }
        if let Some(name) = name {
            scope["names"] = json!([name]);
        }
        (scope, when)
    })
}

fn any_target() -> impl Strategy<Value = (&'static str, &'static str)> {
    let raw = prop_oneof![
        Just(POD),
        Just(EXEC),
        Just(NEW),
        Just("/api/v1/pods"),
        Just("/api/v1/namespaces/b/pods"),
        Just("/api/v1/nodes/n"),
        Just("/api/v1/nodes/n/proxy/exec/a/p/c"),
        Just("/api/v1/nodes/n:10250/proxy/exec/a/p/c"),
        Just("/api/v1/namespaces/a/pods/p:80/proxy/"),
        Just("/api/v1/namespaces/a/services/:p:/proxy/"),
        Just("/version"),
    ];
    (prop_oneof![Just("GET"), Just("POST")], raw)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_demand_is_owed_exactly_where_a_forbid_of_the_same_words_forbids(said in any_scope(), target in any_target()) {
        let ((scope, when), (method, raw)) = (said, target);
        let mut rule = demanding(&scope);
        if let Some(when) = when {
            rule["when"] = json!(when);
        }
        let mut forbid = rule.clone();
        forbid["effect"] = json!("forbid");
        forbid.as_object_mut().unwrap().remove("obligations");
        let decide = |rule: Value| {
            let mut world = World::new(&[rule]);
            // Everything is let through, so that nothing but the rule tells.
            world.authorization = Authorization::Observe;
            world.decide("al", &["dev"], method, raw)
        };
        let forbids = matches!(decide(forbid).verdict, Verdict::Deny(_));
        let expected = if forbids { everything() } else { Obligations::default() };
        prop_assert_eq!(owed(&decide(rule)).0, expected);
    }
}

/// All ways in which the API server reads `name` out of a segment of a path.
fn spellings(name: &str) -> [String; 8] {
    [
        format!("{name}:"),
        format!("{name}:8080"),
        format!("{name}:http"),
        format!(":{name}:"),
        format!("http:{name}:8080"),
        format!("https:{name}:"),
        format!("http:{name}:x"),
        format!("{name}%3A8080"),
    ]
}

/// Where the API server takes a name apart; `NAME` stands for it.
const PROXIED: [&str; 6] = [
    "/api/v1/namespaces/a/pods/NAME/proxy",
    "/api/v1/namespaces/a/pods/NAME/proxy/admin",
    "/api/v1/namespaces/a/services/NAME/proxy/admin",
    "/api/v1/nodes/NAME/proxy/exec/a/p/c",
    "/api/v1/nodes/NAME/proxy/run/kube-system/etcd/etcd?cmd=id",
    "/api/v1/nodes/NAME/proxy/metrics",
];

#[test]
fn neither_a_forbid_nor_a_demand_of_a_name_is_left_by_a_port_beside_it() {
    for scope in [
        json!({"actions": ["enter"], "names": ["ledger-0"]}),
        json!({"verbs": ["*"], "resources": ["pods/proxy", "services/proxy", "nodes/proxy"], "names": ["ledger-0"]}),
        json!({"verbs": ["*"], "resources": ["*"], "names": ["x", "ledger-0"]}),
    ] {
        let mut forbids = World::new(&[forbid("al", &scope)]);
        let mut demands = World::new(&[demanding(&scope)]);
        (forbids.authorization, demands.authorization) = (Authorization::Observe, Authorization::Observe);
        for (path, name) in PROXIED
            .iter()
            .flat_map(|path| spellings("ledger-0").map(|name| (path, name)))
        {
            let raw = path.replace("NAME", &name);
            assert_eq!(
                say(&forbids.decide("al", &["dev"], "POST", &raw)),
                "deny Forbidden",
                "{scope} {raw}"
            );
            assert_eq!(
                owed(&demands.decide("al", &["dev"], "GET", &raw)).0,
                everything(),
                "{scope} {raw}"
            );
        }
    }
}

#[test]
fn a_rule_for_one_node_means_no_other_whatever_the_port() {
    let scope = json!({"verbs": ["*"], "resources": ["nodes/proxy"], "names": ["cp-1"]});
    let mut world = World::new(&[forbid("al", &scope)]);
    world.authorization = Authorization::Observe;
    for name in spellings("cp-2")
        .into_iter()
        .chain(["cp-1:10250:x:y".into(), "x:y:cp-1".into()])
    {
        let raw = format!("/api/v1/nodes/{name}/proxy/run/kube-system/etcd/etcd");
        assert!(
            say(&world.decide("al", &["dev"], "POST", &raw)).starts_with("allow"),
            "{raw}"
        );
    }
    // What no proxy is of, has its name whole.
    for raw in [
        "/api/v1/nodes/cp-1:10250",
        "/apis/own.example/v1/nodes/cp-1:10250/proxy/run",
    ] {
        assert!(
            say(&world.decide("al", &["dev"], "POST", raw)).starts_with("allow"),
            "{raw}"
        );
    }
}

#[test]
fn a_port_in_the_name_of_a_rule_grants_as_it_is_written_and_restricts_every_port() {
    let scope = json!({"actions": ["enter"], "names": ["web:8080"]});
    let at = |name: &str| format!("/api/v1/namespaces/a/services/{name}/proxy/");
    let granting = World::new(&[demanding(&scope)]);
    assert!(say(&granting.decide("al", &["x"], "GET", &at("web:8080"))).starts_with("allow"));
    for other in ["web", "web:http", "http:web:8080", ":web:", "web:9090"] {
        assert_eq!(
            say(&granting.decide("al", &["x"], "GET", &at(other))),
            "deny NoRule",
            "{other}"
        );
        let mut world = World::new(&[forbid("al", &scope)]);
        world.authorization = Authorization::Observe;
        assert_eq!(
            say(&world.decide("al", &["x"], "GET", &at(other))),
            "deny Forbidden",
            "{other}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_spelling_of_a_name_is_forbidden_and_owes_as_the_bare_one_and_is_granted_no_more(
        said in any_scope(),
        path in prop::sample::select(&PROXIED[..]),
        name in prop::sample::select(&["p", "n", "q"][..]),
        which in 0_usize..8,
        method in prop::sample::select(&["GET", "POST", "DELETE"][..]),
    ) {
        let (scope, when) = said;
        // A rule that names a port means that port where it grants.
        prop_assume!(!scope["names"].to_string().contains(':') && !when.is_some_and(|when| when.contains(':')));
        let mut demands = demanding(&scope);
        if let Some(when) = when {
            demands["when"] = json!(when);
        }
        let mut grants = demands.clone();
        grants.as_object_mut().unwrap().remove("obligations");
        let mut forbids = grants.clone();
        forbids["effect"] = json!("forbid");
        let decide = |rule: &Value, authorization, name: &str| {
            let mut world = World::new(std::slice::from_ref(rule));
            world.authorization = authorization;
            world.decide("al", &["dev"], method, &path.replace("NAME", name)).verdict
        };
        let spelt = &spellings(name)[which];
        let is_denied = |verdict: Verdict| matches!(verdict, Verdict::Deny(_));
        let forbidden = |name: &str| is_denied(decide(&forbids, Authorization::Observe, name));
        // What means all names but one means, as it is written, the one with a port, too: that restricts more, and never less.
        let is_of_others = when.is_some_and(|when| when.contains('!'));
        let (bare, written) = (forbidden(name), forbidden(spelt));
        prop_assert!(written == bare || is_of_others && written, "{} {}", forbids, spelt);
        let owes = |name: &str| match decide(&demands, Authorization::Observe, name) {
            Verdict::Allow(allowed) => allowed.obligations,
            other => panic!("{other:?}"),
        };
        let (bare, written) = (owes(name), owes(spelt));
        prop_assert!(written == bare || is_of_others && bare == Obligations::default(), "{} {}", demands, spelt);
        for rule in [&grants, &demands] {
            if is_denied(decide(rule, Authorization::Enforce, name)) {
                prop_assert!(is_denied(decide(rule, Authorization::Enforce, spelt)), "{} {}", rule, spelt);
            }
        }
    }
}

const KUBELET: &str = "/api/v1/nodes/n/proxy/exec/a/p/c";

#[test]
fn through_a_node_the_demands_of_every_namespace_are_owed_and_nothing_is_granted() {
    let of_a = demanding(&json!({"actions": ["enter"], "namespaces": ["a"]}));
    let gold = demanding(&json!({"actions": ["enter"], "namespaceSelector": {"matchLabels": {"tier": "gold"}}}));
    let one_pod = demanding(&json!({"actions": ["enter"], "namespaces": ["a"], "names": ["p"]}));
    for rule in [of_a, gold, one_pod] {
        let mut world = World::new(std::slice::from_ref(&rule));
        for (method, raw) in [
            ("POST", KUBELET),
            ("GET", "/api/v1/nodes/n/proxy/run/a/p/c?cmd=id"),
            ("POST", "/api/v1/nodes/n/proxy/attach/a/p/c"),
            ("POST", "/api/v1/nodes/n/proxy/portForward/a/p"),
            ("GET", "/api/v1/nodes/n/proxy/cri/exec/TOKEN"),
            ("GET", "/api/v1/nodes/n/proxy/containerLogs/a/p/c"),
        ] {
            world.authorization = Authorization::Observe;
            let (demanded, trail) = owed(&world.decide("al", &["dev"], method, raw));
            assert_eq!(demanded, everything(), "{rule} {raw}");
            let why = trail.last().unwrap().why.as_deref().unwrap();
            assert!(why.starts_with("the call may reach into every namespace; "), "{why}");
            world.authorization = Authorization::Enforce;
            assert_eq!(
                say(&world.decide("al", &["dev"], method, raw)),
                "deny NoRule",
                "it grants nothing"
            );
        }
        // A node itself is nobody's namespace.
        world.authorization = Authorization::Observe;
        let (demanded, _) = owed(&world.decide("al", &["dev"], "GET", "/api/v1/nodes/n"));
        assert_eq!(demanded, Obligations::default(), "{rule}");
    }
}

#[test]
fn a_forbid_of_entering_one_namespace_is_not_left_through_a_node() {
    for scope in [
        json!({"actions": ["enter"], "namespaces": ["a"]}),
        json!({"actions": ["enter"], "namespaceSelector": {"matchLabels": {"tier": "gold"}}}),
        json!({"verbs": ["*"], "resources": ["*"], "namespaces": ["a"]}),
        json!({"actions": ["enter"], "namespaces": ["a"], "names": ["p"]}),
        json!({"actions": ["enter"], "names": ["p"]}),
    ] {
        let mut world = World::new(&[forbid("al", &scope)]);
        world.authorization = Authorization::Observe;
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(
                say(&world.decide("al", &["dev"], method, KUBELET)),
                "deny Forbidden",
                "{scope} {method}"
            );
        }
        assert!(
            say(&world.decide("al", &["dev"], "GET", "/api/v1/nodes/n")).starts_with("allow"),
            "{scope}: reading a node enters nothing"
        );
    }
}

#[test]
fn a_rule_that_speaks_of_nodes_means_their_names() {
    let scope = json!({"actions": ["enter"], "resources": ["nodes/proxy"], "names": ["m"]});
    let mut world = World::new(&[forbid("al", &scope), demanding(&scope)]);
    world.authorization = Authorization::Observe;
    let (demanded, _) = owed(&world.decide("al", &["dev"], "POST", KUBELET));
    assert_eq!(demanded, Obligations::default());
    let other = KUBELET.replace("nodes/n/", "nodes/m/");
    assert_eq!(say(&world.decide("al", &["dev"], "POST", &other)), "deny Forbidden");
    // Without the kind a name may be a pod's: it is granted for the node of that name alone, and demanded through any.
    let world = World::new(&[demanding(&json!({"actions": ["enter"], "names": ["m"]}))]);
    assert_eq!(owed(&world.decide("al", &["x"], "POST", &other)).0, everything());
    assert_eq!(say(&world.decide("al", &["x"], "POST", KUBELET)), "deny NoRule");
}

#[test]
fn a_tenants_forbid_reaches_no_node() {
    let mut rule = object("theirs", &forbid("al", &json!({"actions": ["enter"]})));
    rule["metadata"]["namespace"] = json!("a");
    let (rules, problems) = load_objects([&rule]);
    assert!(problems.is_empty(), "{problems:?}");
    let mut world = World::new(&[]);
    world.rules = RuleSet::new(rules);
    world.authorization = Authorization::Observe;
    assert!(say(&world.decide("al", &["dev"], "POST", KUBELET)).starts_with("allow"));
    assert_eq!(say(&world.decide("al", &["dev"], "POST", EXEC)), "deny Forbidden");
}

fn of_people(people: &str, scope: &Value, demands: Value) -> Value {
    let mut rule = demanding(scope);
    rule["subjects"] = json!({"people": [people]});
    rule["obligations"] = demands;
    rule
}

#[test]
fn what_is_demanded_of_somebody_is_not_left_by_acting_as_somebody_else() {
    let enter = json!({"actions": ["enter"]});
    let own = of_people("lead", &enter, json!({"record": true, "idle": "15m", "longest": "1h"}));
    let theirs = of_people("al", &enter, json!({"idle": "90s", "longest": "8h"}));
    let wanted = wanting("al", &["shell"]);
    let act = |rules: &[Value]| World::new(rules).decide_as("lead", &["staff"], "POST", EXEC, Some(&wanted));
    let (demanded, trail) = owed(&act(&[own.clone(), theirs]));
    let expected = Obligations {
        record: true,
        idle_seconds: Some(90),
        longest_seconds: Some(3_600),
        ..Obligations::default()
    };
    assert_eq!(demanded, expected, "of both, the strictest");
    let told = |name: &str| {
        let rule = trail.iter().find(|rule| &*rule.name == name).unwrap();
        rule.why.as_deref().unwrap_or_default().to_owned()
    };
    assert_eq!(
        told("r0"),
        "it is about who acts as another; it grants nothing, and what it demands is owed"
    );
    assert_eq!(told("r1"), "");

    let (demanded, _) = owed(&act(&[of_people("lead", &enter, json!({"record": true}))]));
    assert!(demanded.record);
    let mut failing = of_people("lead", &enter, json!({"record": true}));
    failing["when"] = json!("auth.acr == 'x'");
    assert!(
        owed(&act(&[failing])).0.record,
        "a condition that fails does not open this way either"
    );
    let reason = of_people("lead", &enter, json!({"reason": true}));
    assert_eq!(say(&act(&[reason])), "deny Obligation(Reason)");
    let everybody = demanding(&enter);
    let (demanded, trail) = owed(&act(&[everybody]));
    assert_eq!(demanded, everything());
    let named = trail.iter().filter(|rule| &*rule.name == "r0").count();
    assert_eq!(named, 1, "a rule about both is told once: {trail:?}");
}

#[test]
fn a_callers_own_rules_demand_and_grant_nothing_under_a_borrowed_name() {
    let own = of_people("lead", &json!({"actions": ["enter"]}), json!({"record": true}));
    let world = World::new(&[own]);
    let said = say(&world.decide_as("lead", &["staff"], "POST", EXEC, Some(&wanting("al", &["dev"]))));
    assert_eq!(said, "deny NoRule");
}

#[test]
fn a_rule_that_lends_a_name_may_demand_something_for_it() {
    let lend = json!({"verbs": ["impersonate"], "resources": ["users", "groups"]});
    let rules = [of_people("bo", &lend, json!({"reason": true, "record": true}))];
    let mut world = World::new(&rules);
    let act = |world: &World| world.decide_as("bo", &["staff"], "POST", EXEC, Some(&wanting("al", &["shell"])));
    assert_eq!(say(&act(&world)), "deny Obligation(Reason)");
    world.reason = true;
    assert!(owed(&act(&world)).0.record);
}
