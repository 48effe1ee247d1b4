//! Two policies: nothing in which they differ is missed, and nothing is told in which they do not.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::policy::ResourceRule;

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

fn policy(rules: &str) -> Policy {
    crate::load(&format!("{HEAD}{rules}")).unwrap().policy
}

fn compared(shared: &str, other: &str) -> Comparison {
    compare(&policy(shared), &policy(other))
}

#[test]
fn what_differs_is_told_with_who_does_what_and_both_rules() {
    let shared = "rules:
- {level: None, verbs: [get], nonResourceURLs: ['/healthz*']}
- {level: Request, verbs: [create, delete], resources: [{group: '', resources: [configmaps]}]}
- {level: Metadata}
";
    let other = "rules:
- {level: None, verbs: [get], nonResourceURLs: ['/healthz*', /version]}
- {level: None, users: [robot]}
- {level: Request, verbs: [create], resources: [{group: '', resources: [configmaps]}]}
- {level: Metadata}
";
    let said = compared(shared, other);
    assert!(said.whole && said.asked > 0);
    let told: Vec<_> = said
        .differences
        .iter()
        .map(|one| (one.shared.level, one.shared_rule, one.other.level, one.other_rule))
        .collect();
    use Level::{Metadata, None as Nothing, Request};
    assert_eq!(
        told,
        [
            (Metadata, Some(2), Nothing, Some(0)),
            (Metadata, Some(2), Nothing, Some(1)),
            (Request, Some(1), Nothing, Some(1)),
            (Request, Some(1), Metadata, Some(3)),
        ]
    );
    let calls = |at: usize| said.differences[at].calls.clone();
    let text = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        calls(0),
        [Calls {
            who: text(&["anybody"]),
            verbs: text(&["get"]),
            what: text(&["/version"])
        }]
    );
    assert_eq!(
        calls(3),
        [Calls {
            who: text(&["anybody else", "nobody who is known"]),
            verbs: text(&["delete"]),
            what: text(&["configmaps"])
        }]
    );
    assert!(calls(1).iter().all(|calls| calls.who == ["robot"]), "{:?}", calls(1));
    let changed: Vec<String> = said.lines.iter().map(|line| format!("{line:?}")).collect();
    assert_eq!(
        changed,
        [
            r#"Shared(0, "None; verbs: get; nonResourceURLs: /healthz*")"#,
            r#"Other(0, "None; verbs: get; nonResourceURLs: /healthz*, /version")"#,
            r#"Shared(1, "Request; verbs: create, delete; resources: core/configmaps")"#,
            r#"Other(1, "None; users: robot")"#,
            r#"Other(2, "Request; verbs: create; resources: core/configmaps")"#,
        ]
    );
}

#[test]
fn another_text_that_means_the_same_is_no_difference() {
    for (shared, other) in [
        // Split, shadowed, and None in other words.
        (
            "rules:\n- {level: Metadata, verbs: [get, list]}\n- {level: None}\n",
            "rules:\n- {level: Metadata, verbs: [get]}\n- {level: Metadata, verbs: [list]}\n- {level: Metadata, verbs: [get]}\n",
        ),
        (
            "rules:\n- {level: None}\n",
            "omitStages: [RequestReceived, ResponseStarted, ResponseComplete, Panic]\nrules:\n- {level: Request}\n",
        ),
        (
            "rules:\n- {level: Metadata, omitManagedFields: true}\n",
            "rules:\n- {level: Metadata}\n",
        ),
    ] {
        let said = compared(shared, other);
        assert_eq!(said.differences, [], "{other}");
        assert!(!said.lines.is_empty(), "{other}");
    }
    let preset = policy(crate::PRESET.split_once("kind: Policy\n").unwrap().1);
    let same = compare(&preset, &preset);
    assert_eq!((same.differences, same.lines, same.whole), (vec![], vec![], true));
}

#[test]
fn promise_8_of_a_policy_too_large_for_all_calls_some_are_asked_and_that_is_said() {
    let groups: String = (0..40)
        .map(|n| format!("- {{level: Metadata, userGroups: [g{n}], verbs: [v{n}], nonResourceURLs: [/u{n}]}}\n"))
        .collect();
    let said = compared(&format!("rules:\n{groups}"), "rules:\n- {level: None}\n");
    assert!(!said.whole && said.asked <= MOST_ASKED, "{}", said.asked);
    assert!(!said.differences.is_empty());
}

const GROUPS: [&str; 2] = ["dev", "ops"];

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<Box<str>>> {
    subsequence(of, 0..=of.len().min(2)).prop_map(|some| some.into_iter().map(Into::into).collect())
}

fn scope() -> impl Strategy<Value = Scope> {
    let entries = names(&["pods", "pods/*", "pods/log", "*/status", "*", "deployments", "*/exec"]);
    let resource =
        (select(vec!["", "apps", "*"]), entries, names(&["web", "db"])).prop_map(|(group, resources, names)| {
            ResourceRule {
                names: if resources.is_empty() { Vec::new() } else { names },
                group: group.into(),
                resources,
            }
        });
    let resources = (names(&["", "a", "b"]), prop::collection::vec(resource, 0..3));
    prop_oneof![
        Just(Scope::Any),
        resources
            .prop_filter("some", |(n, r)| !n.is_empty() || !r.is_empty())
            .prop_map(|(namespaces, resources)| Scope::Resources { namespaces, resources }),
        names(&["*", "/", "/h*", "/h/*", "/h", "/metrics", "/h/i"])
            .prop_filter("some", |urls| !urls.is_empty())
            .prop_map(Scope::Paths),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let stages = subsequence(Stage::ALL.to_vec(), 0..=4).prop_map(|some| {
        let mut stages = Stages::default();
        some.into_iter().for_each(|stage| stages.insert(stage));
        stages
    });
    (
        select(Level::ALL.to_vec()),
        names(&["alice", "system:anonymous"]),
        names(&["dev", "ops", "system:authenticated"]),
        names(&["get", "create", "post"]),
        scope(),
        stages,
        any::<Option<bool>>(),
    )
        .prop_map(
            |(level, users, user_groups, verbs, scope, omit_stages, omit_managed_fields)| Rule {
                level,
                users,
                user_groups,
                verbs,
                scope,
                omit_stages,
                omit_managed_fields,
            },
        )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(rule(), 1..5).prop_map(|rules| Policy {
        rules,
        omit_stages: Stages::default(),
        omit_managed_fields: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Calls that were not made from the policies: where the two differ in one of them, that is told, with both rules.
    #[test]
    fn no_call_in_which_two_policies_differ_is_missed(shared in any_policy(), other in any_policy(), seed in any::<u64>()) {
        let said = compare(&shared, &other);
        prop_assert!(said.whole);
        let mut state = seed;
        let mut pick = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % most
        };
        let mut seen = BTreeSet::new();
        for _ in 0..300 {
            let name = [Some("alice"), Some("carol"), Some("system:anonymous"), None][pick(4)];
            let mut groups: Vec<&str> = GROUPS.into_iter().filter(|_| pick(2) == 0).collect();
            groups.push(if name == Some("system:anonymous") { "system:unauthenticated" } else { "system:authenticated" });
            let user = name.map(|name| User { name, groups: &groups });
            let (group, resource, below) = [
                ("", "pods", ""), ("", "pods", "log"), ("", "pods", "exec"), ("", "pods", "status"), ("", "pods", "attach"),
                ("apps", "deployments", ""), ("apps", "deployments", "status"), ("apps", "daemonsets", ""), ("", "secrets", ""),
                ("example.com", "widgets", ""), ("example.com", "widgets", "status"), ("example.com", "widgets", "other"),
            ][pick(12)];
            let resource = Resource { group, resource, subresource: below, namespace: ["", "a", "b", "c"][pick(4)], name: ["", "web", "db", "x"][pick(4)] };
            let asked = if pick(2) == 0 {
                Asked { user, verb: ["get", "create", "patch"][pick(3)], path: "", resource: Some(resource) }
            } else {
                let path = ["/", "/h", "/hi", "/h/", "/h/i", "/h/ij", "/metrics", "/metrics2", "/zzz"][pick(9)];
                Asked { user, verb: ["get", "post", "patch"][pick(3)], path, resource: None }
            };
            let (here, there) = (shared.evaluate(&asked), other.evaluate(&asked));
            if Effect::of(here) != Effect::of(there) {
                let told = said.differences.iter().any(|one| {
                    (one.shared, one.shared_rule, one.other, one.other_rule) == (Effect::of(here), here.rule, Effect::of(there), there.rule)
                });
                prop_assert!(told, "{asked:?}: {here:?} {there:?}");
                seen.insert((here.rule, there.rule));
            }
        }
        prop_assert!(seen.is_empty() || !said.differences.is_empty());
    }
}
