//! Policies as somebody writes them: what is read, what is refused with which words, which rule decides, and what the linter says.

use proptest::prelude::*;

use crate::*;

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

fn taken(rules: &str) -> Loaded {
    let text = format!("{HEAD}{rules}");
    load(&text).unwrap_or_else(|findings| panic!("{findings:#?} in\n{text}"))
}

/// Line and column, what, and what to do.
fn said(text: &str, findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let (line, column) = finding.line_and_column(text);
        let severity = finding.severity.as_str();
        format!("{line}:{column} {severity}: {}: {}", finding.what, finding.help)
    };
    findings.iter().map(line).collect()
}

fn asked<'a>(user: Option<User<'a>>, verb: &'a str, resource: &'a str, namespace: &'a str, name: &'a str) -> Asked<'a> {
    let (group, resource) = resource.rsplit_once(':').unwrap_or(("", resource));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Asked {
        user,
        verb,
        path: "",
        resource: Some(Resource {
            group,
            resource,
            subresource,
            namespace,
            name,
        }),
    }
}

const ALICE: User<'static> = User {
    name: "alice",
    groups: &["dev", "system:authenticated"],
};

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place_and_what_to_do() {
    let text = "apiVersion: audit.k8s.io/v1beta1
kind: Policy
omitStages: [Started]
metadata: {name: 3}
rules:
- levle: None
- level: metadata
  users: alice
  verbs: [get, no]
- level: None
  nonResourceURLs: [healthz, \"/a*b\"]
  namespaces: [a]
- level: None
  resources:
  - group: apps/v1
  - group: Apps
    resourceNames: [web]
  omitManagedFields: \"true\"
";
    let found = said(text, &load(text).unwrap_err());
    let wanted = [
        "1:13 refused: `apiVersion` is not `audit.k8s.io/v1`: write `apiVersion: audit.k8s.io/v1`; the API server knows no other one any more",
        "3:14 refused: there is no stage `Started`: there are RequestReceived, ResponseStarted, ResponseComplete, Panic",
        "4:18 refused: `name` is a number, or a word that YAML may read as something else than a text, not a text: write \"3\", with quotes",
        "6:3 refused: a rule has no member `levle`: is `level` meant?",
        "6:3 refused: a rule has no `level`: write one of None, Metadata, Request, RequestResponse",
        "7:10 refused: there is no level `metadata`: is `Metadata` meant?",
        "8:10 refused: `users` is a text, not a list: write a list: `- …`, or `[…]` in one line",
        "9:16 refused: `verbs` is a number, or a word that YAML may read as something else than a text, not a text: write \"no\", with quotes",
        "11:3 refused: a rule is about resources or about other paths, not about both: make two rules of it",
        "11:21 refused: the path `healthz` does not begin with a slash: write `/healthz`, or `*` for every path that is no resource's",
        "11:30 refused: `/a*b` has a star that is not its last character: a star stands at the end alone, and once",
        "15:12 refused: `apps/v1` is no API group: write `apps` without its version `v1`: a rule holds for all versions",
        "16:12 refused: `Apps` is no API group: a group is a lower-case DNS name such as `apps`; write \"\" for the core group",
        "17:5 refused: `resourceNames` stand without `resources`: name at least one resource whose names these are",
        "18:22 refused: `omitManagedFields` is a text, not true or false: write true or false",
    ];
    assert_eq!(found, wanted, "{found:#?}");
}

#[test]
fn no_policy_and_two_policies_are_refused_with_words() {
    for (text, what) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- level: None\n", "the policy is a list, not an object"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "there are no rules"),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n",
            "there are no rules",
        ),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n---\nkind: Policy\n",
            "a second document begins here",
        ),
        ("rules: [", "no valid YAML"),
    ] {
        let found = load(text).unwrap_err();
        assert!(
            found.iter().any(|finding| finding.what.starts_with(what)),
            "{text:?}: {found:?}"
        );
    }
    let long = format!("{HEAD}rules: [{{level: None}}]\n#{}", "x".repeat(MAX_BYTES));
    assert_eq!(load(&long).unwrap_err()[0].what, "the file is larger than 1 MiB");
}

#[test]
fn the_first_rule_that_matches_decides_everything() {
    let policy = taken(
        "omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: [bob]}
- {level: Request, userGroups: [dev], verbs: [get], omitStages: [Panic], omitManagedFields: false}
- {level: Metadata, verbs: [get]}
",
    )
    .policy;
    let pods = asked(Some(ALICE), "get", "pods", "shop", "web");
    let verdict = policy.evaluate(&pods);
    assert_eq!(
        (verdict.level, verdict.rule, verdict.omit_managed_fields),
        (Level::Request, Some(1), false)
    );
    let stages: Vec<Stage> = verdict.omit_stages.iter().collect();
    assert_eq!(stages, [Stage::RequestReceived, Stage::Panic]);
    let nobody = policy.evaluate(&Asked { user: None, ..pods });
    assert_eq!(
        (nobody.level, nobody.rule, nobody.omit_managed_fields),
        (Level::Metadata, Some(2), true)
    );
    let unmatched = policy.evaluate(&Asked { verb: "list", ..pods });
    assert_eq!((unmatched.level, unmatched.rule), (Level::None, None));
    assert!(unmatched.omit_stages.contains(Stage::RequestReceived));
}

#[test]
fn what_is_seldom_known_of_the_rules_holds_here_too() {
    let says = |rule: &str, asked: &Asked<'_>| {
        taken(&format!("rules:\n- {{level: Metadata, {rule}}}\n"))
            .policy
            .evaluate(asked)
            .rule
            .is_some()
    };
    let on = |entry: &str, verb, resource| {
        says(
            &format!("resources: [{{resources: [\"{entry}\"]}}]"),
            &asked(Some(ALICE), verb, resource, "a", ""),
        )
    };
    assert!(on("pods/*", "get", "pods") && on("pods/*", "get", "pods/log"));
    assert!(!on("pods", "get", "pods/exec") && on("*/log", "get", "pods/log") && !on("*/log", "get", "pods"));
    assert!(!on("*/*", "get", "pods/log") && on("*", "get", "pods/log"));
    let create = asked(Some(ALICE), "create", "secrets", "a", "");
    assert!(!says(
        "resources: [{resources: [secrets], resourceNames: [db]}]",
        &create
    ));
    assert!(!says("verbs: [\"*\"]", &create) && says("namespaces: [a]", &create));
    let whole = asked(Some(ALICE), "list", "pods", "", "");
    assert!(says("namespaces: [\"\"]", &whole) && !says("namespaces: [\"*\"]", &whole));
    let path = Asked {
        resource: None,
        path: "/healthzfoo",
        ..whole
    };
    assert!(says("nonResourceURLs: [\"/healthz*\"]", &path) && !says("nonResourceURLs: [\"/healthz\"]", &path));
    assert!(!says("namespaces: [\"\"]", &path) && !says("nonResourceURLs: [\"*\"]", &whole));
}

#[test]
fn each_rule_before_the_one_that_decides_says_why_it_does_not_match() {
    let policy = taken(
        "rules:
- {level: None, users: [bob], verbs: [list]}
- {level: None, userGroups: [ops]}
- {level: None, users: [alice], verbs: [list]}
- {level: None, nonResourceURLs: [\"*\"]}
- {level: None, namespaces: [a]}
- {level: None, namespaces: [shop], resources: [{resources: [secrets]}]}
- {level: Request, verbs: [get]}
- {level: None}
",
    )
    .policy;
    let pods = asked(Some(ALICE), "get", "pods", "shop", "web");
    let misses = [
        Miss::Users,
        Miss::UserGroups,
        Miss::Verbs,
        Miss::AboutPaths,
        Miss::Namespaces,
        Miss::Resources,
    ];
    assert_eq!(policy.misses(&pods), misses);
    assert_eq!(policy.evaluate(&pods).rule, Some(6));
    let paths = taken("rules:\n- {level: None, namespaces: [a]}\n- {level: None, nonResourceURLs: [/a]}\n").policy;
    let path = Asked {
        resource: None,
        path: "/b",
        ..pods
    };
    assert_eq!(paths.misses(&path), [Miss::AboutResources, Miss::Paths]);
}

#[test]
fn what_a_policy_probably_does_not_do_is_said_with_the_reason() {
    let text = format!(
        "{HEAD}rules:
- level: None
  users: [\"system:kube-proxy\"]
- level: RequestResponse
  verbs: [\"*\", Get, list]
  resources:
  - group: apps
    resources: [deployment, deployments/scales, pods, \"replicasets/*\"]
  - group: core
- level: Metadata
  resources:
  - resources: [pods/exce, \"*/*\", \"pod*\", deployments.apps, \"*/logs\"]
- level: None
  namespaces: [dev]
- level: Request
  namespaces: [dev]
  verbs: [get]
- level: RequestResponse
  verbs: []
  resources:
  - resources: [secrets, serviceaccounts/token]
    resourceNames: [db]
- level: None
  nonResourceURLs: [/api/v1/pods, /metrics?x=1]
  omitStages: [Panic]
  omitManagedFields: true
"
    );
    let found = said(&text, &load(&text).unwrap().findings);
    let wanted = [
        "3:1 warning: calls that no rule matches have level None: end the list with `- level: Metadata`, which matches all that is left",
        "5:11 note: nobody comes through the gateway as `system:kube-proxy`: it counts in the API server's own policy, for what does not pass the gateway",
        "7:11 warning: no call about a resource has the verb `*`: leave `verbs` out: that means any verb",
        "7:16 warning: no call about a resource has the verb `Get`: is `get` meant?",
        "10:17 warning: group `apps` has no resource `deployment`: is `deployments` meant?",
        "10:29 warning: `deployments` has no subresource `scales`: is `scale` meant?",
        "10:49 warning: group `apps` has no resource `pods`: write `group: \"\"`: it is there",
        "10:55 note: `replicasets/*` matches plain `replicasets`, too, and not the subresources alone: list the subresources where these alone are meant",
        "11:12 warning: Kubernetes has no API group `core`: write \"\" for the core group",
        "14:17 warning: `pods` has no subresource `exce`: is `exec` meant?",
        "14:28 warning: `*/*` matches nothing: write `*`: that is everything, with subresources",
        "14:35 warning: `pod*` matches nothing: a star stands for a whole name, never for a part of one",
        "14:43 warning: `deployments.apps` matches nothing: write `group: apps` and `resources: [deployments]`",
        "14:61 warning: the core group has no subresource `logs`: is `log` meant?",
        "15:10 warning: level None for changes, sessions in pods and nodes, reading secrets: of them the gateway's least record alone remains: write `level: Metadata`, or name the verbs, resources and users that nobody will ask about",
        "17:3 warning: this rule never decides: rule 4 matches all that it matches: the first rule that matches decides: put the narrower rule first, or take it away",
        "20:10 warning: level RequestResponse asks for bodies that hold secrets: secrets, serviceaccounts/token: put a rule with `level: Metadata` for them before this one",
        "21:3 warning: `verbs` is empty, which means any and not none: take the key away if any is meant, or the rule if none is",
        "24:5 note: a creation has no name in its path: `resourceNames` never match one: leave the names out where creations are meant, or name the other verbs",
        "26:21 warning: `/api/v1/pods` is the path of a resource, which `nonResourceURLs` never match: name it under `resources`",
        "26:35 warning: `/metrics?x=1` has a query, which no path has: write the path alone",
        "27:3 note: `omitStages` changes nothing in the ledger: each call has its beginning and its end there: it counts where the file is the API server's, too",
    ];
    assert_eq!(found, wanted, "{found:#?}");
}

#[test]
fn bodies_whose_stage_is_omitted_are_not_kept_and_it_is_said() {
    let of = |rules: &str| {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}\n");
        let loaded = load(&text).unwrap();
        let kept = loaded
            .policy
            .evaluate(&asked(Some(ALICE), "create", "pods", "a", ""))
            .kept();
        let codes = [Code::BodiesOmitted, Code::NoEffectHere];
        let found = codes.map(|code| loaded.findings.iter().filter(|finding| finding.code == code).count());
        (kept, found)
    };
    for (rules, kept, found) in [
        ("rules: [{level: RequestResponse}]", Level::RequestResponse, [0, 0]),
        (
            "rules: [{level: Request, omitManagedFields: true}]",
            Level::Request,
            [0, 0],
        ),
        (
            "rules: [{level: Metadata, omitManagedFields: true}]",
            Level::Metadata,
            [0, 1],
        ),
        (
            "rules: [{level: Request, omitStages: [RequestReceived]}]",
            Level::Request,
            [0, 1],
        ),
        (
            "rules: [{level: Request, omitStages: [ResponseComplete]}]",
            Level::Metadata,
            [1, 0],
        ),
        (
            "omitStages: [ResponseComplete]\nrules: [{level: Request}]",
            Level::Metadata,
            [1, 0],
        ),
        (
            "omitStages: [ResponseComplete]\nrules: [{level: None}]",
            Level::None,
            [0, 1],
        ),
    ] {
        assert_eq!(of(rules), (kept, found), "{rules}");
    }
}

#[test]
fn nothing_is_said_of_what_an_earlier_rule_has_taken() {
    let of = |rules: &str, code: Code| {
        let found = taken(&format!("rules:\n{rules}")).findings;
        found.into_iter().filter(|finding| finding.code == code).count()
    };
    let secrets = "- level: Metadata\n  resources:\n  - resources: [secrets, configmaps, serviceaccounts/token]\n  - {group: authentication.k8s.io, resources: [tokenreviews]}\n";
    let rest = "- level: RequestResponse\n";
    assert_eq!(of(&format!("{secrets}{rest}"), Code::BodiesOfSecrets), 0);
    assert_eq!(of(rest, Code::BodiesOfSecrets), 1);
    let of_one = secrets.replacen("level: Metadata", "level: Metadata\n  users: [bob]", 1);
    assert_eq!(
        of(&format!("{of_one}{rest}"), Code::BodiesOfSecrets),
        1,
        "others' secrets are left"
    );
    for (harmless, findings) in [
        ("resources: [{resources: [events]}]", 0),
        ("verbs: [watch, list]\n  resources: [{resources: [pods]}]", 0),
        ("verbs: [get]\n  resources: [{resources: [\"pods/*\"]}]", 1),
        ("verbs: [get]\n  resources: [{group: apps}]", 0),
        ("verbs: [delete]\n  resources: [{group: example.com}]", 1),
        ("verbs: [list]\n  resources: [{resources: [secrets]}]", 1),
        ("nonResourceURLs: [\"*\"]", 0),
        ("users: [\"system:apiserver\"]", 0),
    ] {
        assert_eq!(
            of(&format!("- level: None\n  {harmless}\n"), Code::LittleRecord),
            findings,
            "{harmless}"
        );
    }
    assert_eq!(of("- level: Metadata\n", Code::NoCatchAll), 0);
    let halves = "- {level: Metadata, nonResourceURLs: [\"*\"]}\n- {level: Metadata, resources: [{group: \"*\"}]}\n";
    assert_eq!(of(halves, Code::NoCatchAll), 0);
    assert_eq!(of(&halves.replace("group: \"*\"", "group: apps"), Code::NoCatchAll), 1);
}

#[test]
fn the_preset_is_taken_without_a_word_and_keeps_what_matters() {
    let preset = load(PRESET).unwrap();
    assert_eq!(preset.findings, []);
    let level = |verb, resource| {
        preset
            .policy
            .evaluate(&asked(Some(ALICE), verb, resource, "a", ""))
            .level
    };
    for (verb, resource) in [
        ("delete", "pods"),
        ("get", "secrets"),
        ("get", "pods/exec"),
        ("create", "authentication.k8s.io:tokenreviews"),
        ("update", "coordination.k8s.io:leases"),
        ("create", "authorization.k8s.io:subjectaccessreviews"),
    ] {
        assert_eq!(level(verb, resource), Level::Metadata, "{verb} {resource}");
    }
    assert_eq!(
        level("create", "authorization.k8s.io:selfsubjectaccessreviews"),
        Level::None
    );
    let robot = User {
        name: "system:serviceaccount:a:b",
        groups: &["system:serviceaccounts"],
    };
    let lease = asked(Some(robot), "update", "coordination.k8s.io:leases", "a", "x");
    assert_eq!(preset.policy.evaluate(&lease).level, Level::None);
    let at = |path, verb| {
        let asked = Asked {
            path,
            verb,
            resource: None,
            ..lease
        };
        preset.policy.evaluate(&asked).level
    };
    assert_eq!(
        (at("/apis/apps", "get"), at("/healthz", "get")),
        (Level::None, Level::None)
    );
    assert_eq!(
        (at("/metrics", "get"), at("/version", "post")),
        (Level::Metadata, Level::Metadata)
    );
}

#[test]
fn names_of_findings_are_different() {
    let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

fn texts(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(from), 0..=most)
}

const ENTRIES: &[&str] = &["pods", "pods/log", "pods/*", "*/log", "*", "secrets", "*/*"];
const URLS: &[&str] = &["*", "/a", "/a*", "/a/b", "/*"];

prop_compose! {
    fn rule()(
        level in prop::sample::select(&["None", "Metadata", "Request"][..]),
        users in texts(&["alice", "bob"], 2),
        groups in texts(&["dev", "ops"], 2),
        verbs in texts(&["get", "list", "create"], 2),
        namespaces in texts(&["", "a", "b"], 2),
        resources in prop::collection::vec((prop::sample::select(&["", "apps", "*"][..]), texts(ENTRIES, 2), texts(&["x", "y"], 1)), 0..=2),
        urls in texts(URLS, 2),
        is_about_paths: bool,
    ) -> String {
        let scope = if is_about_paths {
            format!("nonResourceURLs: {urls:?}")
        } else {
            let resources: Vec<String> = resources
                .iter()
                .map(|(group, entries, names)| {
                    let names = if entries.is_empty() { &[][..] } else { names };
                    format!("{{group: {group:?}, resources: {entries:?}, resourceNames: {names:?}}}")
                })
                .collect();
            format!("namespaces: {namespaces:?}, resources: [{}]", resources.join(", "))
        };
        format!("- {{level: {level}, users: {users:?}, userGroups: {groups:?}, verbs: {verbs:?}, {scope}}}\n")
    }
}

/// Every call of a small world.
fn all_calls(mut judge: impl FnMut(&Asked<'_>)) {
    let users = [
        None,
        Some(ALICE),
        Some(User {
            name: "bob",
            groups: &["ops", "dev"],
        }),
        Some(User {
            name: "eve",
            groups: &[],
        }),
    ];
    for user in users {
        for verb in ["get", "list", "create", "delete"] {
            for resource in [
                "pods",
                "pods/log",
                "secrets",
                "apps:pods",
                "apps:secrets/log",
                "apps:x/y",
            ] {
                for namespace in ["", "a", "c"] {
                    for name in ["", "x", "z"] {
                        judge(&asked(user, verb, resource, namespace, name));
                    }
                }
            }
            for path in ["/", "/a", "/ab", "/a/b", "/b"] {
                let resource = None;
                judge(&Asked {
                    user,
                    verb,
                    path,
                    resource,
                });
            }
        }
    }
}

proptest! {
    #[test]
    fn a_rule_that_is_said_never_to_decide_never_does(rules in prop::collection::vec(rule(), 1..6)) {
        let loaded = taken(&format!("rules:\n{}", rules.concat()));
        let shadowed: Vec<_> = loaded.findings.iter().filter(|found| found.code == Code::Shadowed).map(|found| found.rule).collect();
        let no_catch_all = loaded.findings.iter().any(|found| found.code == Code::NoCatchAll);
        all_calls(|asked| {
            let rule = loaded.policy.evaluate(asked).rule;
            let before = rule.unwrap_or(loaded.policy.rules().len());
            assert_eq!(loaded.policy.misses(asked).len(), before, "{asked:?}: each rule before has its reason");
            assert!(!shadowed.contains(&rule) || rule.is_none(), "{asked:?} is decided by {rule:?}");
            assert!(rule.is_some() || no_catch_all, "{asked:?} is decided by none");
        });
    }

    #[test]
    fn any_bytes_are_a_policy_or_reasons_why_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_audit_policy(&bytes);
    }

    #[test]
    fn a_policy_with_a_change_anywhere_is_a_policy_or_reasons_why_not(at: prop::sample::Index, with in "[\\x00-\\x7f*&!{}\\[\\]:\n\\- ]{0,3}") {
        let mut text = PRESET.to_owned();
        let mut place = at.index(text.len());
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        text.insert_str(place, &with);
        fuzz_audit_policy(text.as_bytes());
    }
}
