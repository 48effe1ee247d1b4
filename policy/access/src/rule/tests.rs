//! Access rules: what loads, what is refused at load, and what matches.

use serde_json::json;

use super::*;

fn problems(text: &str) -> Vec<String> {
    match load_files([("policy.yaml", text)]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// A rule with these lines as its `spec`.
fn rule(spec: &str) -> String {
    let mut text = "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {name: r}\nspec:\n".to_owned();
    for line in spec.lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

const NIGHT: &str = r#"
effect: forbid
subjects: {groups: [dev], workloads: ["ci/*"]}
kubernetes:
  clusters: [prod]
  actions: [enter]
  namespaceSelector: {matchLabels: {tier: critical}}
when: now.getHours() < 6 || !cidr("10.0.0.0/8").containsIP(source.ip)
tests:
- name: at night nobody enters
  subject: {person: alice, groups: [dev]}
  request: {cluster: prod, verb: create, resource: pods/exec, namespace: pay, name: web-0,
            namespaceLabels: {tier: critical}, at: "2026-11-21T03:00:00Z", from: 10.1.2.3}
  expect: forbid
- name: by day from the office one may
  subject: {workload: ci/bot}
  request: {cluster: prod, verb: get, resource: services/proxy, namespace: pay, name: web,
            namespaceLabels: {tier: critical}, at: "2026-11-21T09:00:00Z", from: 10.1.2.3}
  expect: silent
- name: an unknown source fails and therefore forbids
  subject: {workload: ci/bot}
  request: {cluster: prod, verb: get, resource: services/proxy, namespace: pay, name: web,
            namespaceLabels: {tier: critical}, at: "2026-11-21T09:00:00Z"}
  expect: forbid
- name: other namespaces are not meant
  subject: {person: alice, groups: [dev]}
  request: {cluster: prod, verb: create, resource: pods/exec, namespace: lab, at: "2026-11-21T03:00:00Z"}
  expect: silent
- name: reading logs is no entering
  subject: {person: alice, groups: [dev]}
  request: {cluster: prod, verb: get, resource: pods/log, namespace: pay, name: web-0,
            namespaceLabels: {tier: critical}, at: "2026-11-21T03:00:00Z"}
  expect: silent
"#;

#[test]
fn a_rule_with_all_its_parts_is_read_and_its_examples_hold() {
    assert_eq!(problems(&rule(NIGHT)), Vec::<String>::new());
}

#[test]
fn an_example_that_does_not_hold_refuses_the_whole_file() {
    let text = rule(&NIGHT.replacen("expect: forbid", "expect: allow", 1));
    assert_eq!(
        problems(&text),
        ["policy.yaml:18:13: rule `r`: example `at night nobody enters`: expected allow, but the rules say forbid"]
    );
}

/// A rule that demands things of whoever enters `pay`, with one example.
fn demanding(example: &str) -> String {
    let text = format!(
        "effect: allow
subjects: {{groups: [dev]}}
kubernetes: {{actions: [enter], namespaces: [pay]}}
when: auth.acr != 'none'
obligations: {{record: true, idle: 90s, longest: 8h, stepUp: {{maxAge: 15m, acr: hw}}, approval: {{from: [sre, ops]}}}}
tests:
- name: it
  subject: {{person: al, groups: [dev]}}
  request: {{cluster: c, verb: create, resource: pods/exec, namespace: pay, name: web-0, acr: hw}}
  {example}"
    );
    rule(&text)
}

const OWED: &str =
    "{ record: true, stepUp: { maxAge: 15m, acr: hw }, approval: { from: [sre, ops] }, idle: 90s, longest: 8h }";

#[test]
fn an_example_says_what_a_call_owes() {
    for holds in [
        format!("expect: allow\n  owes: {OWED}"),
        format!(
            "expect: allow\n  owes: {}",
            OWED.replace("[sre, ops]", "[ops, sre]").replace("8h", "480m")
        ),
        "expect: allow".to_owned(),
    ] {
        assert_eq!(problems(&demanding(&holds)), Vec::<String>::new(), "{holds}");
    }
    // Lists are written as they stand in rules, lengths of time in the largest unit.
    for (owes, wanted) in [
        ("{}", "{}"),
        ("{record: true}", "{ record: true }"),
        (
            "{reason: true, idle: 3600s, longest: 2d}",
            "{ reason: true, idle: 1h, longest: 2d }",
        ),
        ("{stepUp: {acr: hw}}", "{ stepUp: { acr: hw } }"),
        (&OWED.replace("90s", "91s"), &OWED.replace("90s", "91s")),
        (&OWED.replace("record: true, ", ""), &OWED.replace("record: true, ", "")),
        (&OWED.replace("acr: hw", "acr: sw"), &OWED.replace("acr: hw", "acr: sw")),
        (
            &OWED.replace("maxAge: 15m", "maxAge: 16m"),
            &OWED.replace("maxAge: 15m", "maxAge: 16m"),
        ),
        (
            &OWED.replace("longest: 8h", "longest: 7h"),
            &OWED.replace("longest: 8h", "longest: 7h"),
        ),
        (
            &OWED.replace("[sre, ops]", "[sre]"),
            &OWED.replace("[sre, ops]", "[sre]"),
        ),
    ] {
        let told = problems(&demanding(&format!("expect: allow\n  owes: {owes}")));
        assert_eq!(
            told,
            [format!(
                "policy.yaml:15:5: rule `r`: example `it`: expected it to owe `{wanted}`, but the rules demand `{OWED}` (`r`)"
            )]
        );
    }
}

#[test]
fn what_is_written_and_empty_owes_nothing_and_is_not_what_is_absent() {
    let told = problems(&demanding("expect: allow\n  owes:"));
    assert!(
        told.len() == 1 && told[0].contains("expected it to owe `{}`, but"),
        "{told:?}"
    );
}

#[test]
fn what_is_owed_of_several_rules_and_where_none_can_be_told_is_what_an_example_is_held_to() {
    let silent = demanding(&format!("expect: silent\n  owes: {OWED}")).replace(", acr: hw}\n", "}\n");
    assert_eq!(
        problems(&silent),
        Vec::<String>::new(),
        "its condition cannot be told, and it demands all the same"
    );
    let shadow = |text: &str| text.replace("  effect: allow\n", "  effect: allow\n  mode: shadow\n");
    assert_eq!(
        problems(&shadow(&demanding("expect: silent\n  owes: {}"))),
        Vec::<String>::new()
    );
    let missed = demanding("expect: silent\n  owes: {}").replace("namespace: pay", "namespace: lab");
    assert_eq!(
        problems(&missed),
        Vec::<String>::new(),
        "another namespace owes nothing"
    );
    let other = rule(
        "effect: allow\nsubjects: {groups: ['*']}\nkubernetes: {actions: [enter]}\nobligations: {reason: true, idle: 1m, longest: 9h, stepUp: {acr: id}}",
    );
    let both = format!(
        "{}---\n{}",
        demanding("expect: allow\n  owes: {record: true}"),
        other.replace("name: r", "name: s")
    );
    let owed = OWED
        .replace("record: true", "record: true, reason: true")
        .replace("90s", "1m")
        .replace("acr: hw", "acr: all of [hw, id]");
    assert_eq!(
        problems(&both),
        [format!(
            "policy.yaml:15:5: rule `r`: example `it`: expected it to owe `{{ record: true }}`, but the rules demand `{owed}` (`r`, `s`)"
        )]
    );
}

#[test]
fn an_example_that_asks_what_cannot_be_answered_is_refused() {
    let told = |example: &str| problems(&demanding(example));
    assert_eq!(
        told("expect: forbid\n  owes: {}"),
        [
            "policy.yaml:14:13: rule `r`: example `it`: expected forbid, but the rules say allow",
            "policy.yaml:15:5: rule `r`: example `it`: owes: what is forbidden owes nothing; leave it out",
        ]
    );
    assert_eq!(
        told("expect: allow\n  owes: {idle: soon}"),
        [
            "policy.yaml:15:18: rule `r`: example `it`: owes.idle: `soon` is no length of time, such as `90s`, `15m`, `8h` or `7d`"
        ]
    );
    assert!(told("expect: allow\n  owes: {recrod: true}")[0].contains("unknown field `recrod`"));
    // Both are told, what is expected and what is owed; of a call that is forbidden against it only the first.
    let two = told("expect: silent\n  owes: {}");
    assert!(
        two.len() == 2 && two[0].contains("expected silent, but the rules say allow"),
        "{two:?}"
    );
    let forbid =
        rule("effect: forbid\nsubjects: {groups: ['*']}\nkubernetes: {actions: [enter]}").replace("name: r", "name: s");
    let one = problems(&format!("{}---\n{forbid}", demanding("expect: allow\n  owes: {}")));
    assert_eq!(
        one,
        ["policy.yaml:14:13: rule `r`: example `it`: expected allow, but the rules say forbid"]
    );
}

#[test]
fn an_object_is_held_to_what_its_examples_owe() {
    let spec = |owes: serde_json::Value| {
        json!({"effect": "allow", "subjects": {"groups": ["dev"]}, "kubernetes": {"actions": ["enter"]}, "obligations": {"record": true},
               "tests": [{"name": "it", "subject": {"person": "al", "groups": ["dev"]}, "expect": "allow", "owes": owes,
                          "request": {"cluster": "c", "verb": "create", "resource": "pods/exec", "namespace": "a", "name": "p"}}]})
    };
    assert_eq!(load_objects([&object(spec(json!({"record": true})))]).1, []);
    let (_, told) = load_objects([&object(spec(json!({"reason": true})))]);
    let told: Vec<_> = told
        .iter()
        .map(|problem| (problem.what.as_str(), problem.effect))
        .collect();
    let words = "example `it`: expected it to owe `{ reason: true }`, but the rules demand `{ record: true }` (`r`)";
    assert_eq!(told, [(words, Consequence::Demands)]);
}

#[test]
fn a_condition_on_what_nothing_fills_is_refused_at_load() {
    for when in ["\"hwk\" in auth.amr", "device.managed == \"yes\""] {
        let told = problems(&rule(&format!(
            "\neffect: allow\nsubjects: {{groups: [dev]}}\nkubernetes: {{verbs: [get], resources: [pods]}}\nwhen: '{when}'\n"
        )));
        assert!(
            told.iter().any(|line| line.contains("spec.when: line 1, column")),
            "{when}: {told:#?}"
        );
    }
}

#[test]
fn mistakes_are_told_all_at_once_with_their_place() {
    let text = rule(
        r#"
effect: allow
subjects: {people: [], workloads: [bot]}
until: tomorrow
kubernetes:
  verbs: [Get]
  resources: ["pods/*", "po*ds"]
  names: []
  actions: [escape]
when: request.vreb == "get"
obligations: {stepUp: {maxAge: 15}, approval: {from: []}}
as: {groups: ["system:masters"]}
"#,
    );
    let text = text.replace("maxAge: 15", "maxAge: soon");
    let told = problems(&text);
    let parts = [
        "7:38: rule `r`: spec.subjects.workloads: `bot` is neither",
        "8:10: rule `r`: spec.until: `tomorrow` is not a time",
        "10:13: rule `r`: spec.kubernetes.verbs: `Get` is no verb",
        "11:17: rule `r`: spec.kubernetes.resources: `pods/*`: a star may stand for the resource only",
        "11:27: rule `r`: spec.kubernetes.resources: `po*ds`: a star stands for a whole name",
        "12:5: rule `r`: spec.kubernetes.names: an empty list matches nothing",
        "13:15: rule `r`: spec.kubernetes.actions: `escape` is no class of act; known are enter, exec",
        "14:9: rule `r`: spec.when: line 1, column",
        "15:34: rule `r`: spec.obligations.stepUp.maxAge: `soon` is no length of time",
        "15:52: rule `r`: spec.obligations.approval.from: an empty list",
        "16:17: rule `r`: spec.as.groups: `system:masters` is reserved",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    for (told, part) in told.iter().zip(parts) {
        assert!(told.starts_with(&format!("policy.yaml:{part}")), "{part}: {told}");
    }
}

#[test]
fn what_is_demanded_of_sessions_is_refused_where_there_can_be_none() {
    let demands = "obligations:\n  reason: true\n  record: true\n  idle: 15m\n  longest: 8h";
    let told = |kubernetes: &str, more: &str| {
        problems(&rule(&format!(
            "effect: allow\nsubjects: {{groups: [dev]}}\n{kubernetes}\n{demands}{more}"
        )))
    };
    let no_session = "no call of this rule is a session; leave it out, or name some, as `actions: [enter]` does";
    let all = [
        format!("policy.yaml:10:13: rule `r`: spec.obligations.record: it has no effect: {no_session}"),
        format!("policy.yaml:11:11: rule `r`: spec.obligations.idle: it has no effect: {no_session}"),
        "policy.yaml:12:14: rule `r`: spec.obligations.longest: it has no effect: no call of this rule goes on once it is answered; leave it \
         out, or name some that do, such as `actions: [enter, log]`"
            .to_owned(),
    ];
    assert_eq!(told("kubernetes: {verbs: [get, patch], resources: [secrets]}", ""), all);
    assert_eq!(told("kubernetes: {actions: [changerights]}", ""), all);
    for has_some in [
        "kubernetes: {actions: [exec]}",
        "kubernetes: {verbs: ['*'], resources: ['*']}",
        "kubernetes: {verbs: [watch], resources: [secrets]}",
    ] {
        assert_eq!(told(has_some, ""), Vec::<String>::new(), "{has_some}");
    }
    let services = "\nservices: [{hosts: [a], methods: ['*'], paths: ['/*']}]";
    let secrets = "kubernetes: {verbs: [get], resources: [secrets]}";
    assert_eq!(
        told(secrets, services),
        Vec::<String>::new(),
        "a service may have sessions"
    );
    let unreadable = told("kubernetes: {verbs: [Create], resources: [pods/exec]}", "");
    assert_eq!(unreadable.len(), 1, "nobody knows what was meant: {unreadable:?}");
    let quiet = problems(&rule(
        "effect: allow\nsubjects: {groups: [dev]}\nkubernetes: {verbs: [get], resources: [secrets]}\nobligations: {record: false, reason: true}",
    ));
    assert_eq!(
        quiet,
        Vec::<String>::new(),
        "what is not demanded has no effect and is none"
    );
}

/// What is said of rules that are loaded.
fn remarks(text: &str) -> Vec<String> {
    let policy = load_files([("policy.yaml", text)]).unwrap();
    assert!(
        policy
            .remarks
            .iter()
            .all(|remark| remark.effect == Consequence::CountsAsWritten)
    );
    policy.remarks.iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_that_leaves_the_way_through_a_node_open_is_told_the_word_to_write() {
    let told = |effect: &str, kubernetes: &str| {
        let spec = format!("{effect}\nsubjects: {{groups: [dev]}}\nkubernetes: {kubernetes}");
        remarks(&rule(&spec))
    };
    let says = |place: &str, left: &str, without: &str| {
        vec![format!(
            "policy.yaml:7{place}: `{left}` is not among these calls, and leads into every pod of a node: `actions: [enter]`{without} \
             means both"
        )]
    };
    let actions = ":16: rule `r`: spec.kubernetes.actions";
    for (kubernetes, said) in [
        ("{actions: [exec]}", says(actions, "nodes/proxy", "")),
        ("{actions: [portforward, log]}", says(actions, "nodes/proxy", "")),
        (
            "{actions: [exec], verbs: [create]}",
            says(actions, "nodes/proxy", " without `verbs`"),
        ),
        (
            "{verbs: ['*'], resources: [pods/exec, nodes]}",
            says(
                ":30: rule `r`: spec.kubernetes.resources",
                "nodes/proxy",
                " without `verbs` and `resources`",
            ),
        ),
        (
            "{verbs: [create], actions: [enter]}",
            says(
                ":16: rule `r`: spec.kubernetes.verbs",
                "get nodes/proxy",
                " without `verbs`",
            ),
        ),
        ("{actions: [enter]}", vec![]),
        ("{actions: [exec, proxy]}", vec![]),
        ("{verbs: [get, create], resources: [pods/exec, nodes/proxy]}", vec![]),
        ("{verbs: ['*'], resources: ['*']}", vec![]),
        ("{actions: [proxy, log, ephemeralcontainers]}", vec![]),
        ("{verbs: [get], resources: [pods/exec]}", vec![]),
    ] {
        for effect in [
            "effect: forbid",
            "effect: allow, obligations: {reason: true}",
            "effect: allow, obligations: {record: true}, mode: shadow",
        ] {
            if effect.contains("record") && kubernetes.contains("[get]") {
                continue;
            }
            let effect = effect.replace(", ", "\n");
            // The scope stands one line below the subjects, whatever stands above them.
            let lines = effect.lines().count();
            let said: Vec<_> = said
                .iter()
                .map(|line| line.replace(":7:", &format!(":{}:", 6 + lines)))
                .collect();
            assert_eq!(told(&effect, kubernetes), said, "{effect} {kubernetes}");
        }
        assert_eq!(
            told("effect: allow", kubernetes),
            Vec::<String>::new(),
            "it takes nothing away: {kubernetes}"
        );
    }
}

#[test]
fn a_way_that_another_rule_closes_is_not_told() {
    let other = |effect: &str| {
        let one = rule(
            "effect: allow\nobligations: {record: true, idle: 15m}\nsubjects: {groups: [dev]}\nkubernetes: {actions: [exec]}",
        );
        let other = rule(effect).replace("name: r", "name: other");
        remarks(&format!("{one}---\n{other}")).len()
    };
    let nodes = "kubernetes: {verbs: ['*'], resources: [nodes/proxy]}";
    for (effect, subjects, more, left) in [
        ("forbid", "groups: ['*']", "", 0),
        ("forbid", "groups: [dev]", "", 0),
        ("forbid", "groups: [ops]", "", 1),
        ("forbid", "groups: ['*']", "mode: shadow", 1),
        ("forbid", "groups: ['*']", "when: now.getHours() < 6", 1),
        ("forbid", "groups: ['*']", "until: '2026-11-27T18:00:00Z'", 1),
        ("allow", "groups: ['*']", "", 1),
        ("allow", "groups: ['*']", "obligations: {record: true, idle: 20m}", 1),
        (
            "allow",
            "groups: ['*']",
            "obligations: {record: true, idle: 10m, reason: true}",
            0,
        ),
    ] {
        let spec = format!("effect: {effect}\nsubjects: {{{subjects}}}\n{nodes}\n{more}");
        assert_eq!(other(&spec), left, "{spec}");
    }
    for nodes in [
        "{verbs: ['*'], resources: [nodes/proxy], clusters: [prod]}",
        "{verbs: ['*'], resources: [nodes/proxy], names: [n1]}",
        "{verbs: [get], resources: [nodes/proxy]}",
    ] {
        let spec = format!("effect: forbid\nsubjects: {{groups: ['*']}}\nkubernetes: {nodes}");
        assert_eq!(other(&spec), 1, "{spec}");
    }
}

#[test]
fn a_part_without_effect_is_told_where_the_rule_counts_all_the_same() {
    let watched = rule(
        "effect: allow\nsubjects: {groups: [dev]}\nkubernetes: {verbs: [watch], resources: [secrets]}\nobligations: {record: true, idle: 15m, longest: 1h}",
    );
    let words = "it is about sessions, and a watch or a log is one only where it comes over a WebSocket";
    assert_eq!(
        remarks(&watched),
        [
            format!("policy.yaml:8:25: rule `r`: spec.obligations.record: {words}"),
            format!("policy.yaml:8:37: rule `r`: spec.obligations.idle: {words}; `longest` ends all of them"),
        ]
    );
}

#[test]
fn objects_are_told_the_same_where_no_rule_of_all_that_count_closes_the_way() {
    let cluster_wide = |spec: serde_json::Value| {
        let mut object = object(spec);
        object["kind"] = json!("ClusterAccessRule");
        load_objects([&object]).0
    };
    let everyone = json!({"groups": ["*"]});
    let shells = cluster_wide(json!({"effect": "forbid", "subjects": everyone, "kubernetes": {"actions": ["exec"]}}));
    let said = remarks_on_objects(&shells, &shells);
    let said: Vec<_> = said.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "ClusterAccessRule: rule `r`: spec.kubernetes.actions: `nodes/proxy` is not among these calls, and leads into every pod of a \
          node: `actions: [enter]` means both"
        ]
    );
    let nodes = json!({"verbs": ["*"], "resources": ["nodes/proxy"]});
    let mut all = shells.clone();
    all.extend(cluster_wide(
        json!({"effect": "forbid", "subjects": everyone, "kubernetes": nodes}),
    ));
    assert_eq!(remarks_on_objects(&shells, &all), []);
    let mut local = object(json!({"effect": "forbid", "subjects": everyone, "kubernetes": {"actions": ["exec"]}}));
    local["metadata"]["namespace"] = json!("a");
    let (local, told) = load_objects([&local]);
    assert_eq!(
        (told, remarks_on_objects(&local, &local)),
        (vec![], vec![]),
        "a tenant's rule never reaches a node"
    );
    let broken = cluster_wide(
        json!({"effect": "forbid", "subjects": everyone, "kubernetes": {"actions": ["exec"], "nmaes": []}}),
    );
    assert_eq!(
        remarks_on_objects(&broken, &broken),
        [],
        "of what is invalid something else is told"
    );
}

#[test]
fn an_unknown_key_is_refused_with_line_and_column() {
    let text = format!(
        "# head\n---\n{}",
        rule("effect: allow\nsubjcts: {}\nsubjects: {people: [a]}")
    );
    let told = problems(&text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("policy.yaml:8:3: "), "{told:?}");
    assert!(told[0].contains("subjcts"), "{told:?}");
}

#[test]
fn nothing_is_loaded_when_one_document_is_wrong() {
    let good = rule("effect: forbid\nsubjects: {groups: ['*']}\nkubernetes: {verbs: ['*'], resources: ['*']}");
    let two = format!("{good}---\n{good}");
    assert_eq!(
        problems(&two),
        [
            "policy.yaml:11:18: rule `r`: metadata.name: there are two rules of this name; the other one is in policy.yaml:1"
        ]
    );
    assert_eq!(problems(&good), Vec::<String>::new());
    assert_eq!(
        load_files([("a", "")]).unwrap().rules.len(),
        0,
        "an empty file is no rule"
    );
}

#[test]
fn a_rule_that_names_nobody_or_nothing_is_refused() {
    for (spec, part) in [
        (
            "effect: allow\nsubjects: {}\nkubernetes: {verbs: ['*'], resources: ['*']}",
            "nobody is named",
        ),
        ("effect: allow\nsubjects: {people: [a]}", "it would match nothing"),
        (
            "effect: allow\nsubjects: {people: [a]}\nkubernetes: {verbs: ['*']}",
            "name `verbs` with",
        ),
        (
            "effect: allow\nsubjects: {people: [a]}\nkubernetes: {resources: ['*']}",
            "name `verbs` with",
        ),
    ] {
        let told = problems(&rule(spec));
        assert!(told.iter().any(|line| line.contains(part)), "{spec}: {told:?}");
    }
}

#[test]
fn rbac_objects_of_files_are_read_as_strictly() {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r, namespace: a}\nrules:\n- \
                {verbs: [get], apiGroups: [''], resources: [pods], resourceName: [x]}\n";
    assert!(
        problems(role)[0].starts_with("policy.yaml:5:54: rules: unknown member `resourceName`"),
        "{:?}",
        problems(role)
    );
    let policy = load_files([("a", role.replace(", resourceName: [x]", "").as_str())]).unwrap();
    assert_eq!(policy.rbac.roles.len(), 1);
    assert!(problems("apiVersion: v1\nkind: Pod\n")[0].contains("`Pod` of `v1` is no policy"));
}

fn object(spec: serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "spec": spec,
           "metadata": {"name": "r", "uid": "1", "managedFields": []}})
}

#[test]
fn an_invalid_object_harms_only_itself() {
    let good = json!({"effect": "forbid", "subjects": {"people": ["eve"]},
                      "kubernetes": {"verbs": ["*"], "resources": ["*"]}});
    let bad_allow = json!({"effect": "allow", "subjects": {"people": ["eve"]}, "kubernetes": {"verb": ["*"]}});
    let bad_forbid = json!({"effect": "forbid", "subjects": {"people": ["eve"]},
                            "kubernetes": {"verbs": ["delete"], "resources": ["po*"], "namespaces": ["a"]}});
    let unreadable = json!({"effect": "perhaps"});
    let objects: Vec<_> = [good, bad_allow, bad_forbid, unreadable].map(object).into();
    let (rules, told) = load_objects(&objects);
    assert_eq!(rules.len(), 2);
    let effects: Vec<_> = told.iter().map(|problem| problem.effect).collect();
    assert_eq!(
        effects,
        [
            Consequence::GrantsNothing,
            Consequence::Forbids,
            Consequence::GrantsNothing
        ]
    );
    assert!(told.iter().all(|problem| problem.rule.as_deref() == Some("r")));
}

#[test]
fn an_invalid_allow_demands_what_can_be_read_of_its_demands() {
    let allow = |demands: serde_json::Value| {
        let mut spec = json!({"effect": "allow", "subjects": {"people": ["eve"]}, "kubernetes": {"actions": ["enter"]},
                              "when": "request.vreb == 'get'"});
        for (member, value) in demands.as_object().unwrap() {
            spec[member] = value.clone();
        }
        object(spec)
    };
    let read = |demands: serde_json::Value| {
        let (rules, told) = load_objects([&allow(demands)]);
        let owed = rules.0.first().map(|compiled| {
            let owed = compiled.rule.obligations();
            (owed.record, owed.reason, owed.idle_seconds)
        });
        let effect = if owed.is_some() {
            Consequence::Demands
        } else {
            Consequence::GrantsNothing
        };
        assert!(told.iter().all(|problem| problem.effect == effect), "{told:?}");
        owed
    };
    for (demands, owed) in [
        (json!({}), None),
        (json!({"obligations": {"record": false}}), None),
        (json!({"mode": "shadow", "obligations": {"record": true}}), None),
        (json!({"obligations": {"record": true}}), Some((true, false, None))),
        (
            json!({"obligations": {"reason": true, "idle": "15m"}}),
            Some((false, true, Some(900))),
        ),
        (
            json!({"obligations": {"reason": "yes", "idle": "15m"}}),
            Some((false, true, Some(900))),
        ),
        (json!({"obligations": {"record": "yes"}}), Some((true, false, None))),
        (
            json!({"obligations": {"reason": true, "idle": "soon"}}),
            Some((true, true, None)),
        ),
        (json!({"obligations": {"recrod": true}}), Some((true, false, None))),
        (json!({"obligations": "record"}), Some((true, false, None))),
        (json!({"obligations": null}), Some((true, false, None))),
        (json!({"obligation": {"reason": true}}), Some((false, true, None))),
    ] {
        assert_eq!(read(demands.clone()), owed, "{demands}");
    }
}

#[test]
fn a_namespaced_rule_cannot_loosen_and_reaches_its_namespace_only() {
    let mut allow = object(json!({"effect": "allow", "subjects": {"people": ["eve"]},
                                  "kubernetes": {"verbs": ["*"], "resources": ["*"]}}));
    allow["metadata"]["namespace"] = json!("a");
    let (rules, told) = load_objects([&allow]);
    assert!(rules.is_empty() && told[0].what.contains("cannot loosen"), "{told:?}");
    let mut other = object(json!({"effect": "forbid", "subjects": {"people": ["eve"]},
                                  "kubernetes": {"verbs": ["*"], "resources": ["*"], "namespaces": ["b"]}}));
    other["metadata"]["namespace"] = json!("a");
    assert!(load_objects([&other]).1[0].what.contains("reaches that namespace only"));
}

const MESH: &str = r#"
effect: allow
subjects: {workloads: ["spiffe://example.org/ns/prod/*", "spiffe://partner.example/billing"]}
kubernetes: {verbs: [get], resources: [configmaps]}
tests:
- name: a workload below the path
  subject: {workload: spiffe://example.org/ns/prod/sa/web}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: allow
- name: the one that is named
  subject: {workload: spiffe://partner.example/billing}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: allow
- name: nobody below the one that is named
  subject: {workload: spiffe://partner.example/billing/worker}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
- name: a path is meant by whole segments
  subject: {workload: spiffe://example.org/ns/production/sa/web}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
- name: not the path itself
  subject: {workload: spiffe://example.org/ns/prod}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
- name: the same path of another trust domain is somebody else
  subject: {workload: spiffe://example.organ/ns/prod/sa/web}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
- name: a person of the name is none of them
  subject: {person: spiffe://example.org/ns/prod/sa/web}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
- name: nor is an account of a cluster
  subject: {workload: prod/web}
  request: {cluster: c, verb: get, resource: configmaps}
  expect: silent
"#;

#[test]
fn workloads_are_named_by_their_spiffe_id_or_by_whole_segments_of_its_path() {
    assert_eq!(problems(&rule(MESH)), Vec::<String>::new());
    let all = MESH.replace("\"spiffe://example.org/ns/prod/*\"", "\"spiffe://*\"");
    let told = problems(&rule(&all));
    assert_eq!(
        told.len(),
        4,
        "of any trust domain, and nobody who is none of a trust domain: {told:#?}"
    );
}

#[test]
fn a_name_that_no_workload_can_have_is_refused_at_load() {
    for (name, why) in [
        ("spiffe://Example.org/a", "lower-case letters"),
        ("spiffe://example.org", "has a path behind the trust domain"),
        ("spiffe://example.org/a/", "no slash at its end"),
        ("spiffe://example.org/a/../b", "no segment `.` or `..`"),
        ("spiffe://example.org/a%2fb", "without escapes"),
        ("spiffe://example.org//*", "no empty segment"),
        (
            "spiffe://example.org/a*",
            "a star may stand for the rest behind a `/` only",
        ),
        ("spiffe://*/a", "a star may stand for the rest behind a `/` only"),
        (
            "spiffe://*.example.org/*",
            "a star may stand for the rest behind a `/` only",
        ),
        ("spiffe:///*", "the trust domain is empty"),
    ] {
        let told = problems(&rule(&format!(
            "effect: forbid\nsubjects: {{workloads: ['{name}']}}\nkubernetes: {{verbs: [get], resources: [pods]}}\n"
        )));
        assert!(
            told.len() == 1
                && told
                    .iter()
                    .all(|line| line.contains(&format!("`{name}`: ")) && line.contains(why)),
            "{name}: {told:#?}"
        );
    }
    let wrong = MESH.replace(
        "subject: {workload: spiffe://example.org/ns/prod}",
        "subject: {workload: spiffe://example.org}",
    );
    let told = problems(&rule(&wrong));
    assert!(
        told.iter()
            .any(|line| line.contains("`spiffe://example.org`: a workload's SPIFFE ID has a path")),
        "{told:#?}"
    );
}
