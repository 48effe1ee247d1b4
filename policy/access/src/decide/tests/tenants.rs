//! Rules that tenants write into their own namespaces: they reach nobody else, and cost nobody else anything.

use super::*;

/// A condition of some 5,000 steps that is false.
const HEAVY: &str = "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29].exists(a, \
                     [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29].exists(b, a + b < 0))";

fn heavy(namespace: Option<&str>, name: &str) -> Value {
    let spec = json!({"effect": "forbid", "subjects": {"groups": ["*"]},
        "kubernetes": {"verbs": ["*"], "resources": ["*"]}, "when": HEAVY});
    let mut rule = object(name, &spec);
    if let Some(namespace) = namespace {
        rule["metadata"]["namespace"] = json!(namespace);
    }
    rule
}

fn world(rules: &[Value]) -> World {
    let (rules, problems) = load_objects(rules);
    assert!(problems.is_empty(), "{problems:?}");
    World {
        rules: RuleSet::new(rules),
        ..World::new(&[])
    }
}

const OTHER: &str = "/api/v1/namespaces/b/pods/p";

#[test]
fn a_rule_of_one_namespace_is_not_asked_about_calls_to_another() {
    let ended = json!({"effect": "forbid", "subjects": {"groups": ["*"]}, "until": "1970-01-02T00:00:00Z",
        "kubernetes": {"verbs": ["*"], "resources": ["*"]}});
    let mut ended = object("ended", &ended);
    ended["metadata"]["namespace"] = json!("a");
    let world = world(&[heavy(Some("a"), "heavy"), ended]);
    for raw in [OTHER, "/api/v1/pods", "/api", "/healthz"] {
        assert!(world.decide("al", &["dev"], "GET", raw).cacheable, "{raw}");
    }
    assert!(!world.decide("al", &["dev"], "GET", POD).cacheable);
    let who = person("al", &["dev"]);
    assert!(world.rules.about(&Who::of(&who), "b").is_empty());
}

#[test]
fn a_condition_makes_only_those_decisions_momentary_that_it_can_change() {
    let mut nodes = heavy(None, "nodes");
    nodes["spec"]["kubernetes"]["resources"] = json!(["nodes"]);
    let world = world(&[nodes]);
    assert!(world.decide("al", &["dev"], "GET", POD).cacheable);
    assert!(!world.decide("al", &["dev"], "GET", "/api/v1/nodes/n").cacheable);
}

#[test]
fn the_rules_of_a_namespace_share_what_their_conditions_may_cost() {
    let ten = |namespace| -> Vec<Value> { (0..10).map(|at| heavy(namespace, &format!("r{at}"))).collect() };
    let tenant = world(&ten(Some("a")));
    let decision = tenant.decide("al", &["dev"], "GET", POD);
    assert_eq!(say(&decision), "deny Forbidden", "what cannot be told forbids, there");
    let Verdict::Deny(denied) = decision.verdict else {
        panic!("it was refused")
    };
    let why = denied.rules[0].why.as_deref().unwrap_or_default();
    assert!(why.contains("steps"), "{why}");
    assert!(
        say(&tenant.decide("al", &["dev"], "GET", OTHER)).starts_with("allow"),
        "and nowhere else"
    );

    let one = world(&[heavy(Some("a"), "one")]);
    assert!(
        say(&one.decide("al", &["dev"], "GET", POD)).starts_with("allow"),
        "one has room enough"
    );
    let operators = world(&ten(None));
    assert!(
        say(&operators.decide("al", &["dev"], "GET", POD)).starts_with("allow"),
        "who writes rules for the whole cluster answers for their cost"
    );
}

#[test]
fn the_examples_of_a_tenants_rule_hold_up_no_change_of_rules() {
    let example = |number: usize| {
        json!({"name": format!("e{number}"), "subject": {"person": "al"}, "expect": "silent",
            "request": {"verb": "get", "resource": "pods", "namespace": "a", "name": "p"}})
    };
    let with = |namespace: Option<&str>, examples: usize| {
        let mut rule = heavy(namespace, "r");
        rule["spec"]["tests"] = (0..examples).map(example).collect();
        load_objects([&rule])
    };
    assert!(with(Some("a"), 4).1.is_empty(), "a few are run");
    let (rules, problems) = with(Some("a"), 64);
    assert!(problems[0].what.contains("steps"), "{problems:?}");
    assert_eq!(rules.len(), 1, "it forbids as an invalid one does");
    assert!(with(None, 64).1.is_empty(), "operators may test as they like");
}
