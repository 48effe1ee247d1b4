//! Rules about what workloads do for others: what loads, what is refused at load, and what examples say of them.

use model::subject::SubjectKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rbac::SubjectView;

fn loaded(spec: &str) -> Result<FilePolicy, Vec<String>> {
    let mut text = "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {name: r}\nspec:\n".to_owned();
    for line in spec.trim().lines() {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    load_files([("policy.yaml", text.as_str())]).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn problems(spec: &str) -> Vec<String> {
    loaded(spec).err().unwrap_or_default()
}

const CART: &str = r#"
effect: allow
subjects: {workloads: [shop/cart]}
onBehalfOf: {groups: [buyers]}
services:
- {hosts: [stock.example.com], methods: [GET], paths: ["/items/*"]}
kubernetes: {clusters: [prod], verbs: [get], resources: [configmaps], namespaces: [shop]}
when: onBehalfOf.username != 'mallory' && subject.username.endsWith(':cart')
obligations: {reason: true}
tests:
- name: for a buyer
  subject: {workload: shop/cart}
  onBehalfOf: {person: alice, groups: [buyers]}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: allow
  owes: {reason: true}
- name: of Kubernetes
  subject: {workload: shop/cart}
  onBehalfOf: {person: alice, groups: [buyers]}
  request: {cluster: prod, verb: get, resource: configmaps, namespace: shop, name: prices}
  expect: allow
- name: not as itself
  subject: {workload: shop/cart}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: silent
  owes: {}
- name: not the buyer in person
  subject: {person: alice, groups: [buyers]}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: silent
- name: not for others
  subject: {workload: shop/cart}
  onBehalfOf: {person: bob, groups: [guests]}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: silent
- name: not for whom the condition leaves out
  subject: {workload: shop/cart}
  onBehalfOf: {person: mallory, groups: [buyers]}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: silent
- name: not another workload
  subject: {workload: shop/till}
  onBehalfOf: {person: alice, groups: [buyers]}
  request: {host: stock.example.com, method: GET, path: /items/7}
  expect: silent
"#;

#[test]
fn a_rule_lets_a_workload_act_for_those_whom_it_names_and_grants_nobody_anything() {
    assert_eq!(problems(CART), Vec::<String>::new());
    let other = CART.replacen("expect: silent", "expect: allow", 1);
    assert_eq!(
        problems(&other),
        ["policy.yaml:28:13: rule `r`: example `not as itself`: expected allow, but the rules say silent"]
    );
}

/// By the same words without `onBehalfOf`: those of the person and of the workload count, and are no leave to act.
#[test]
fn an_example_on_somebodys_behalf_counts_what_is_forbidden_to_either_and_no_grant_in_person() {
    let with = |more: &str| {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{name: a}}\nspec:\n  {}\n---\n\
             apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{name: b}}\nspec: {more}\n",
            CART.trim().replace('\n', "\n  ")
        );
        match load_files([("policy.yaml", text.as_str())]) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }
    };
    let stock = "services: [{hosts: [stock.example.com], methods: ['*'], paths: ['/*']}]";
    assert_eq!(
        with(&format!("{{effect: forbid, subjects: {{people: [zoe]}}, {stock}}}")),
        Vec::<String>::new()
    );
    for who in ["people: [alice]", "workloads: [shop/cart]"] {
        let told = with(&format!("{{effect: forbid, subjects: {{{who}}}, {stock}}}"));
        assert!(
            told.first()
                .is_some_and(|told| told.contains("`for a buyer`: expected allow, but the rules say forbid")),
            "{who}: {told:?}"
        );
    }
    // Both may do it in person, so that only `not for others` could change, and does not.
    let told = with(&format!(
        "{{effect: allow, subjects: {{people: [bob], workloads: [shop/till]}}, {stock}}}"
    ));
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn what_a_rule_on_somebodys_behalf_cannot_say_is_refused() {
    let rule = |subjects: &str, whom: &str, more: &str| {
        format!("effect: allow\nsubjects: {subjects}\nonBehalfOf: {whom}\n{more}")
    };
    let (cart, all) = ("{workloads: [shop/cart]}", "{groups: ['*']}");
    let stock = "services: [{hosts: [stock.example.com], methods: ['*'], paths: ['/*']}]";
    let of_kubernetes = |scope: &str| format!("kubernetes: {{{scope}}}");
    for (spec, wanted) in [
        (
            rule("{groups: [dev]}", all, stock),
            "spec.subjects: only workloads act for others: name `workloads` here, and nobody else; for whom stands in `onBehalfOf`",
        ),
        (
            rule("{workloads: [shop/cart], people: [al]}", all, stock),
            "spec.subjects: only workloads act for others: name `workloads` here, and nobody else; for whom stands in `onBehalfOf`",
        ),
        (
            rule("{workloads: ['*']}", all, stock),
            "spec.subjects.workloads: `*` would let every workload act for others: name `<namespace>/<service account>`, `<namespace>/*` or `spiffe://…`",
        ),
        (
            rule(cart, "{}", stock),
            "spec.onBehalfOf: nobody is named; write `groups: [\"*\"]` if everyone who has signed in is meant",
        ),
        (
            rule(cart, "{groups: ['*'], public: true}", stock),
            "spec.onBehalfOf.public: who has not signed in has no rights that somebody could act with; leave it out",
        ),
        (
            rule(cart, cart, stock),
            "spec.onBehalfOf.workloads: `shop/cart` would act for itself, which no workload does; it would match nothing",
        ),
        (
            rule(cart, all, "services: [{hosts: ['*'], methods: ['*'], paths: ['/*']}]"),
            "spec.services: hosts: `*` would let it call every service for others: name the hosts",
        ),
        (
            rule(cart, all, &format!("as: {{groups: [dev]}}\n{stock}")),
            "spec.as: a rule with `onBehalfOf` grants nothing beyond what those may do themselves; write `as` where that is granted",
        ),
        (
            rule(cart, all, &of_kubernetes("verbs: ['*'], resources: [pods]")),
            "spec.kubernetes.verbs: `*`: the Kubernetes API is called for others only where a rule says so in words: list what is meant",
        ),
        (
            rule(cart, all, &of_kubernetes("verbs: [get], resources: ['*.apps']")),
            "spec.kubernetes.resources: `*.apps`: the Kubernetes API is called for others only where a rule says so in words: list what is meant",
        ),
        (
            rule(cart, all, &of_kubernetes("verbs: [get], paths: ['/*']")),
            "spec.kubernetes.paths: `/*`: the Kubernetes API is called for others only where a rule says so in words: list what is meant",
        ),
        (
            rule(cart, all, &format!("when: onBehalf.username == 'al'\n{stock}")),
            "spec.when: line 1, column 1: no variable is called `onBehalf`; there are `request`, `subject`, `source`, `now`, `auth`, `onBehalfOf`",
        ),
    ] {
        let told = problems(&spec);
        assert!(told.len() == 1 && told[0].contains(wanted), "{spec}\n{told:?}");
    }
    let in_person = format!("effect: forbid\nsubjects: {all}\nwhen: onBehalfOf.username == 'al'\n{stock}");
    assert!(
        problems(&in_person)[0].contains("`onBehalfOf`"),
        "{:?}",
        problems(&in_person)
    );
    // A forbid may say all of it with a star: no workload acts for the administrators.
    let forbid = "effect: forbid\nsubjects: {workloads: ['*']}\nonBehalfOf: {groups: [admins]}\n\
                  kubernetes: {verbs: ['*'], resources: ['*'], paths: ['*']}";
    assert_eq!(problems(forbid), Vec::<String>::new());
}

#[test]
fn an_example_says_for_whom_in_words_that_can_be() {
    for (written, wanted) in [
        (
            ("subject: {workload: shop/cart}", "subject: {person: cart}"),
            "a `workload` acts for somebody who has signed in, and nobody else does",
        ),
        (
            (
                "onBehalfOf: {person: alice, groups: [buyers]}",
                "onBehalfOf: {public: true}",
            ),
            "a `workload` acts for somebody who has signed in, and nobody else does",
        ),
        (
            (
                "onBehalfOf: {person: alice, groups: [buyers]}",
                "onBehalfOf: {groups: [buyers]}",
            ),
            "onBehalfOf: name either `person`, `workload` or `public`",
        ),
    ] {
        let told = problems(&CART.replacen(written.0, written.1, 1));
        assert!(told.len() == 1 && told[0].contains(wanted), "{written:?} {told:?}");
    }
}

/// Promise 3: a mistake opens nothing, and a forbid forbids what can be read of it.
#[test]
fn an_object_that_cannot_be_read_lets_nobody_act_and_forbids_only_acting() {
    let object = |effect: &str, whom: Value| {
        json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "r"},
               "spec": {"effect": effect, "subjects": {"workloads": ["shop/cart"]}, "onBehalfOf": whom,
                        "services": [{"hosts": ["a.example"], "methods": ["*"], "paths": ["/*"]}], "typo": 1}})
    };
    let (rules, problems) = load_objects(&[object("allow", json!({"groups": ["*"]}))]);
    assert_eq!((rules.len(), problems.len()), (0, 1));
    for (whom, about_bob) in [
        (json!({"people": ["alice"]}), false),
        (json!({"peple": ["alice"]}), true),
        (json!("everybody"), true),
        (json!({"people": ["a*"]}), true),
    ] {
        let (rules, problems) = load_objects(&[object("forbid", whom.clone())]);
        assert_eq!(problems[0].effect, Consequence::Forbids);
        let set = RuleSet::new(rules);
        let asked = |whom: Option<&str>| {
            let who = workload("system:serviceaccount:shop:cart");
            let (service, host) = (
                model::service::ServiceName::new("a").unwrap(),
                model::service::HostName::new("a.example").unwrap(),
            );
            let call = ServiceCall {
                service: &service,
                namespace: "",
                labels: &Default::default(),
                host: &host,
                method: "GET",
                path: "/",
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
            let whom = whom.map(person);
            let asked = ServiceInquiry::new(&who, &call, &situation);
            let asked = match &whom {
                Some(whom) => asked.on_behalf_of(whom),
                None => asked,
            };
            let said = set.ask_service(&asked);
            said.iter().any(|(_, reach)| !matches!(reach, Reach::Misses(_)))
        };
        assert!(!asked(None), "{whom}");
        assert!(asked(Some("alice")), "{whom}");
        assert_eq!(asked(Some("bob")), about_bob, "{whom}");
    }
}

fn workload(name: &str) -> Who<'_> {
    somebody(SubjectKind::ServiceAccount, name, &[])
}

fn person(name: &str) -> Who<'_> {
    somebody(SubjectKind::Person, name, &[])
}

fn somebody<'a>(kind: SubjectKind, name: &'a str, groups: &'a [std::sync::Arc<str>]) -> Who<'a> {
    Who {
        kind,
        view: SubjectView::impersonated(name, groups),
        uid: None,
        issuer: "",
        email: None,
    }
}

/// A guard that stands over several would not speak for those that act for others.
#[test]
fn a_rule_about_acting_keeps_no_other_rule_from_being_remarked_on() {
    let shells = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "shells"},
        "spec": {"effect": "forbid", "subjects": {"workloads": ["shop/cart"]}, "kubernetes": {"verbs": ["create"], "resources": ["pods/exec"]}}});
    let mut keeper = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "keeper"},
        "spec": {"effect": "forbid", "subjects": {"workloads": ["shop/cart"]}, "kubernetes": {"actions": ["enter"]}}});
    let remarks = |keeper: &Value| {
        let (rules, problems) = load_objects([&shells, keeper]);
        assert_eq!(problems, []);
        remarks_on_objects(&rules, &rules).len()
    };
    assert_eq!(remarks(&keeper), 0);
    keeper["spec"]["onBehalfOf"] = json!({"groups": ["*"]});
    assert_eq!(remarks(&keeper), 1);
}

#[test]
fn a_service_names_the_workloads_that_it_is() {
    let load = |workloads: &str| {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\n\
             spec: {{hosts: [shop.example], upstream: {{url: 'http://web.shop.svc:8080'}}, workloads: {workloads}}}\n"
        );
        let told = load_files([("services.yaml", text.as_str())]);
        told.map(|policy| policy.services)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let services = load("[shop/web]").unwrap();
    let account = |name: &str| {
        let username = format!("system:serviceaccount:shop:{name}");
        model::subject::Subject::new(model::subject::SubjectParts {
            id: model::subject::SubjectId::from_digest([1; 16]),
            kind: SubjectKind::ServiceAccount,
            issuer: "cluster:prod".to_owned(),
            subject: username.clone(),
            username,
            uid: None,
            groups: Vec::new(),
            extra: Default::default(),
            email: None,
        })
        .unwrap()
    };
    let web = services.named("web").unwrap();
    assert!(web.runs_as(&account("web"), Some("prod")));
    assert!(!web.runs_as(&account("db"), Some("prod")));
    let told = load("[shop/web, 'shop/*']");
    assert_eq!(
        told.unwrap_err(),
        [
            "services.yaml:4:98: service `web`: spec.workloads: `shop/*`: whoever is the service can hand on what it was told: name each, without a star"
        ]
    );
}

proptest! {
    /// For whom a rule is, is found as its subjects are.
    #[test]
    fn whom_a_rule_is_for_is_read_as_its_subjects_are(
        people in proptest::collection::vec(prop_oneof![Just("al"), Just("bo"), Just("*")], 0..2),
        groups in proptest::collection::vec(prop_oneof![Just("dev"), Just("*"), Just("system:serviceaccounts:a")], 0..2),
        workloads in proptest::collection::vec(prop_oneof![Just("a/b"), Just("a/*"), Just("*"), Just("spiffe://x/y")], 0..2),
        kind in prop_oneof![Just(SubjectKind::Person), Just(SubjectKind::ServiceAccount), Just(SubjectKind::Workload)],
        name in prop_oneof![Just("al"), Just("*"), Just("system:serviceaccount:a:b"), Just("spiffe://x/y")],
        own in proptest::collection::vec(prop_oneof![Just("dev"), Just("ops")], 0..2),
    ) {
        let own: Vec<std::sync::Arc<str>> = own.into_iter().map(Into::into).collect();
        let who = somebody(kind, name, &own);
        let named = json!({"people": people, "groups": groups, "workloads": workloads});
        let object = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "r"},
            "spec": {"effect": "allow", "subjects": named, "kubernetes": {"verbs": ["get"], "resources": ["pods"]}}});
        let (rules, problems) = load_objects([&object]);
        prop_assume!(problems.is_empty());
        let whom = rules.0[0].subjects.clone();
        prop_assert_eq!(whom.cover(&who), !RuleSet::new(rules).about(&who, "").is_empty());
    }
}
