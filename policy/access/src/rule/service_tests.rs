//! Rules about HTTP services: what loads, what is refused at load, and what examples say of them.

use serde_json::json;

use super::*;

fn problems(spec: &str) -> Vec<String> {
    let mut text = "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {name: r}\nspec:\n".to_owned();
    for line in spec.trim().lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    match load_files([("policy.yaml", text.as_str())]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

const DASHBOARDS: &str = r#"
effect: allow
subjects: {groups: [dev]}
services:
- {hosts: [grafana.example.com], methods: [GET], paths: ["/d/*", "/api/*/read"]}
- {hosts: ["*.lab.example.com"], methods: ["*"], paths: ["/*"]}
when: request.service == 'grafana' || cidr("10.0.0.0/8").containsIP(source.ip)
tests:
- name: a dashboard
  subject: {person: alice, groups: [dev]}
  request: {service: grafana, host: grafana.example.com, method: HEAD, path: /d/über}
  expect: allow
- name: no writing
  subject: {person: alice, groups: [dev]}
  request: {service: grafana, host: grafana.example.com, method: POST, path: /d/x}
  expect: silent
- name: only from the office
  subject: {person: alice, groups: [dev]}
  request: {service: notes, host: a.lab.example.com, method: DELETE, path: /x, from: 192.0.2.1}
  expect: silent
- name: who has not signed in is not everyone
  subject: {public: true}
  request: {service: grafana, host: grafana.example.com, method: GET, path: /d/x}
  expect: silent
"#;

#[test]
fn a_rule_about_services_is_read_and_its_examples_hold() {
    assert_eq!(problems(DASHBOARDS), Vec::<String>::new());
    let other = DASHBOARDS.replacen("expect: silent", "expect: allow", 1);
    assert_eq!(
        problems(&other),
        ["policy.yaml:19:13: rule `r`: example `no writing`: expected allow, but the rules say silent"]
    );
}

const INTERNAL: &str = r#"
effect: allow
subjects: {groups: [dev]}
services:
- hosts: ["*"]
  methods: [GET]
  paths: ["/*"]
  namespaces: [shop]
  selector: {matchLabels: {exposure: internal}, matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}
tests:
- name: an internal service of the shop
  subject: {person: alice, groups: [dev]}
  request: {host: a.example.com, method: GET, path: /, namespace: shop, serviceLabels: {exposure: internal}}
  expect: allow
- name: of another namespace
  subject: {person: alice, groups: [dev]}
  request: {host: a.example.com, method: GET, path: /, namespace: bank, serviceLabels: {exposure: internal}}
  expect: silent
- name: of a file, which stands in no namespace
  subject: {person: alice, groups: [dev]}
  request: {host: a.example.com, method: GET, path: /, serviceLabels: {exposure: internal}}
  expect: silent
- name: without the label
  subject: {person: alice, groups: [dev]}
  request: {host: a.example.com, method: GET, path: /, namespace: shop}
  expect: silent
- name: with the other one
  subject: {person: alice, groups: [dev]}
  request: {host: a.example.com, method: GET, path: /, namespace: shop, serviceLabels: {exposure: internal, tier: gold}}
  expect: silent
"#;

#[test]
fn a_rule_chooses_services_by_namespace_and_labels() {
    assert_eq!(problems(INTERNAL), Vec::<String>::new());
    let forbid = INTERNAL
        .replace("effect: allow", "effect: forbid")
        .replace("expect: allow", "expect: forbid");
    assert_eq!(problems(&forbid), Vec::<String>::new(), "a forbid reads the same");
    let all = INTERNAL.replace("  namespaces: [shop]\n", "");
    let told = problems(&all).join("\n");
    assert!(
        told.contains("of another namespace") && told.contains("of a file"),
        "{told}"
    );
    assert!(!told.contains("label"), "{told}");
}

#[test]
fn a_choice_of_services_that_chooses_nothing_is_refused() {
    for (from, to, what) in [
        (
            "[shop]",
            "[]",
            "namespaces: an empty list matches nothing; leave it out for all",
        ),
        ("[shop]", "['*']", "`*` is no namespace"),
        ("[shop]", "['']", "`` is no namespace"),
        ("values: [gold]", "values: []", "needs values"),
        (
            "{matchLabels: {exposure: internal}, matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}",
            "{}",
            "selector: it has no condition",
        ),
    ] {
        let told = problems(&INTERNAL.replace(from, to)).join("\n");
        assert!(told.contains(what), "{to}: {told}");
    }
}

const LOGO: &str = r#"
effect: allow
subjects: {public: true}
services:
- {hosts: [www.example.com], methods: [GET], paths: [/logo.png]}
tests:
- name: anybody
  subject: {public: true}
  request: {host: www.example.com, method: GET, path: /logo.png}
  expect: allow
- name: who has signed in, too
  subject: {person: alice}
  request: {host: www.example.com, method: GET, path: /logo.png}
  expect: allow
- name: and so a workload
  subject: {workload: shop/web}
  request: {host: www.example.com, method: GET, path: /logo.png}
  expect: allow
- name: nothing beside it
  subject: {public: true}
  request: {host: www.example.com, method: GET, path: /logo.png/x}
  expect: silent
"#;

#[test]
fn a_path_is_public_where_a_rule_says_so_in_words() {
    assert_eq!(problems(LOGO), Vec::<String>::new());
    let everyone = LOGO.replace("{public: true}\nservices", "{groups: ['*']}\nservices");
    assert_eq!(
        problems(&everyone),
        ["policy.yaml:13:13: rule `r`: example `anybody`: expected allow, but the rules say silent"],
        "everyone is everyone who has signed in"
    );
    let forbid = LOGO
        .replace("effect: allow", "effect: forbid")
        .replace("{public: true}\nservices", "{groups: ['*']}\nservices")
        .replace("expect: allow", "expect: forbid");
    assert_eq!(
        problems(&forbid),
        Vec::<String>::new(),
        "what is forbidden to everyone is forbidden to who has not signed in"
    );
}

#[test]
fn what_a_rule_about_services_cannot_say_is_refused_with_its_place() {
    let base = "effect: allow\nsubjects: {groups: [dev]}\nservices:\n- ";
    for (scope, said) in [
        (
            "{hosts: [], methods: [GET], paths: [/a]}",
            ":8:5: rule `r`: spec.services: hosts: an empty list matches nothing; write `[\"*\"]` for all",
        ),
        (
            "{hosts: [Grafana.example.com], methods: [GET], paths: [/a]}",
            "`Grafana.example.com` is no host name",
        ),
        (
            "{hosts: [a], methods: [get], paths: [/a]}",
            "methods: `get` is no method",
        ),
        (
            "{hosts: [a], methods: [GET], paths: [/a*]}",
            "paths: `/a*`: a star stands for a whole segment",
        ),
        ("{hosts: [a], methods: [GET], paths: [/a%2fb]}", "compared decoded"),
        ("{hosts: [a], methods: [GET]}", "missing field `paths`"),
        (
            "{hosts: [a], methods: [GET], paths: [/a], path: /b}",
            "unknown field `path`",
        ),
    ] {
        let told = problems(&format!("{base}{scope}"));
        assert!(told.iter().any(|line| line.contains(said)), "{scope}: {told:?}");
    }
    for (spec, said) in [
        (
            "effect: allow\nsubjects: {public: true}\nkubernetes: {verbs: [get], resources: [pods]}",
            "only `services` can be public",
        ),
        (
            "effect: allow\nsubjects: {public: true}\nobligations: {reason: true}\nservices:\n- {hosts: [a], methods: [GET], paths: [/]}",
            "who has not signed in can meet none",
        ),
        (
            "effect: allow\nsubjects: {groups: [dev]}\nwhen: request.verb == 'get'\nservices:\n- {hosts: [a], methods: [GET], paths: [/]}",
            "verb",
        ),
        (
            "effect: allow\nsubjects: {groups: [dev]}\nwhen: request.host == 'a'\nkubernetes: {verbs: [get], resources: [pods]}",
            "host",
        ),
        (
            "effect: forbid\nsubjects: {groups: [dev]}\nwhen: request.host == 'a'\nkubernetes: {verbs: [get], resources: [pods]}\nservices:\n- {hosts: [a], methods: [GET], paths: [/]}",
            "host",
        ),
    ] {
        let told = problems(spec);
        assert!(told.iter().any(|line| line.contains(said)), "{spec}: {told:?}");
    }
}

#[test]
fn an_example_of_a_service_is_as_strict() {
    for (request, said) in [
        ("{host: a, path: /}", "name `path` and `method` beside `host`"),
        ("{host: a, path: /, method: GET, cluster: prod}", "are of Kubernetes"),
        ("{host: a, path: x, method: GET}", "a path begins with `/`"),
        ("{host: A, path: /, method: GET}", "is no host name"),
        (
            "{cluster: prod, verb: get, resource: pods, method: GET}",
            "name its `host` too",
        ),
    ] {
        let spec = format!(
            "effect: forbid\nsubjects: {{groups: [dev]}}\nservices:\n- {{hosts: [a], methods: [GET], paths: [/]}}\n\
             tests:\n- name: t\n  subject: {{person: alice, groups: [dev]}}\n  request: {request}\n  expect: silent"
        );
        let told = problems(&spec);
        assert!(told.iter().any(|line| line.contains(said)), "{request}: {told:?}");
    }
    for subject in ["{public: true, person: a}", "{public: true, groups: [dev]}"] {
        let spec = format!(
            "effect: forbid\nsubjects: {{groups: [dev]}}\nservices:\n- {{hosts: [a], methods: [GET], paths: [/]}}\n\
             tests:\n- name: t\n  subject: {subject}\n  request: {{host: a, path: /, method: GET}}\n  expect: silent"
        );
        assert!(problems(&spec)[0].contains("has neither name nor groups"), "{subject}");
    }
}

/// An object of a cluster that cannot be read in full.
#[test]
fn promise_3_an_unreadable_forbid_of_services_forbids_what_can_be_read_of_it() {
    let broken = |services: serde_json::Value| {
        let object = json!({
            "apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "r"},
            "spec": {"effect": "forbid", "subjects": {"groups": ["*"]}, "services": services, "wehn": "true"},
        });
        let (rules, told) = load_objects([&object]);
        assert_eq!(told[0].effect, Consequence::Forbids);
        RuleSet::new(rules)
    };
    let told = |set: &RuleSet, host: &str| {
        let (service, host) = ("web".to_owned(), host.to_owned());
        let service = model::service::ServiceName::new(&service).unwrap();
        let host = model::service::HostName::new(&host).unwrap();
        let call = ServiceCall {
            service: &service,
            namespace: "",
            labels: &Default::default(),
            host: &host,
            method: "GET",
            path: "/x",
        };
        let labels = NamespaceLabels::new();
        let situation = Situation {
            now: model::time::Timestamp::EPOCH,
            source: None,
            signed_in: None,
            acr: None,
            namespaces: &labels,
            reason_stated: false,
            approved_by: &[],
        };
        let query = crate::decide::ServiceQuery {
            call: &call,
            subject: None,
            situation: &situation,
            rules: set,
        };
        crate::decide::decide_service(&query).verdict.unwrap_err().denial
    };
    use model::decision::Denial;
    let readable = broken(json!([{"hosts": ["a"], "methods": ["GET"], "paths": ["/*"]}]));
    assert_eq!(told(&readable, "a"), Denial::Forbidden);
    assert_eq!(told(&readable, "b"), Denial::NoRule);
    for unreadable in [
        json!([{"hosts": ["a"]}]),
        json!("a"),
        json!([]),
        json!([{"hosts": ["A"], "methods": ["GET"], "paths": ["/"]}]),
    ] {
        assert_eq!(
            told(&broken(unreadable.clone()), "b"),
            Denial::Forbidden,
            "{unreadable}"
        );
    }
}
