//! Workloads that act for somebody: never more than the person, never more than the rule, and a forbid adds nothing.

use model::request::{RequestFacts, Target, Wire};
use model::service::{HostName, ServiceName};
use model::subject::{SubjectId, SubjectKind, SubjectParts};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rbac::Objects;
use crate::rule::{NamespaceLabels, ServiceCall, load_objects};

const CART: &str = "system:serviceaccount:shop:cart";
const FRONT: &str = "system:serviceaccount:shop:front";

fn rules(specs: &[Value]) -> RuleSet {
    let object = |(at, spec): (usize, &Value)| {
        json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule",
               "metadata": {"name": format!("r{at}")}, "spec": spec})
    };
    let objects: Vec<_> = specs.iter().enumerate().map(object).collect();
    let (rules, problems) = load_objects(&objects);
    assert_eq!(problems, []);
    RuleSet::new(rules)
}

fn subject(kind: SubjectKind, username: &str, groups: &[&str]) -> Subject {
    let parts = SubjectParts {
        id: SubjectId::from_digest([u8::try_from(username.len()).unwrap(); 16]),
        kind,
        issuer: "https://issuer.example".to_owned(),
        subject: username.to_owned(),
        username: username.to_owned(),
        uid: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        extra: Default::default(),
        email: None,
    };
    Subject::new(parts).unwrap()
}

fn alice() -> Subject {
    subject(SubjectKind::Person, "alice", &["dev"])
}

fn cart() -> Subject {
    subject(SubjectKind::ServiceAccount, CART, &[])
}

fn situation(labels: &NamespaceLabels) -> Situation<'_> {
    Situation {
        now: Timestamp::from_unix_seconds(1_000),
        source: Some("10.0.0.9".parse().unwrap()),
        signed_in: Some(Timestamp::from_unix_seconds(900)),
        acr: None,
        namespaces: labels,
        reason_stated: false,
        approved_by: &[],
    }
}

/// Asks about `GET /` of a service; `through`: none where the person calls in person.
fn service(rules: &RuleSet, who: Option<&Subject>, acting: Option<(&Subject, &[&str])>) -> ServiceDecision {
    let (service, host) = (
        ServiceName::new("stock").unwrap(),
        HostName::new("stock.example").unwrap(),
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
    let query = ServiceQuery {
        call: &call,
        subject: who,
        situation: &situation(&labels),
        rules,
    };
    match acting {
        None => decide_service(&query),
        Some((workload, through)) => decide_service_on_behalf(&query, &Acting { workload, through }),
    }
}

/// What `cart`, called directly, gets for `alice`.
fn for_alice(specs: &[Value]) -> Result<(), Denial> {
    let decision = service(&rules(specs), Some(&alice()), Some((&cart(), &[])));
    decision.verdict.map(drop).map_err(|denied| denied.denial)
}

fn stock(effect: &str, subjects: Value) -> Value {
    json!({"effect": effect, "subjects": subjects,
           "services": [{"hosts": ["stock.example"], "methods": ["*"], "paths": ["/*"]}]})
}

fn acts(effect: &str, workload: &str, whom: Value) -> Value {
    let mut rule = stock(effect, json!({"workloads": [workload]}));
    rule["onBehalfOf"] = whom;
    rule
}

fn no_rule<T>() -> Result<T, Denial> {
    Err(Denial::NoOnBehalfOf {
        workload: CART.to_owned(),
    })
}

#[test]
fn a_workload_acts_for_somebody_where_both_may() {
    let own = stock("allow", json!({"people": ["alice"]}));
    let act = acts("allow", "shop/cart", json!({"groups": ["*"]}));
    assert_eq!(for_alice(&[own.clone(), act.clone()]), Ok(()));
    assert_eq!(for_alice(std::slice::from_ref(&own)), no_rule());
    assert_eq!(for_alice(std::slice::from_ref(&act)), Err(Denial::NoRule));
    // Neither what the workload may do as itself nor what all may is leave to act.
    let as_itself = stock("allow", json!({"workloads": ["shop/cart"], "groups": ["*"]}));
    assert_eq!(for_alice(&[own.clone(), as_itself]), no_rule());
    // The rule is of another workload, or for others.
    assert_eq!(
        for_alice(&[own.clone(), acts("allow", "shop/front", json!({"groups": ["*"]}))]),
        no_rule()
    );
    assert_eq!(
        for_alice(&[own, acts("allow", "shop/cart", json!({"groups": ["ops"]}))]),
        no_rule()
    );
}

#[test]
fn a_rule_with_on_behalf_of_grants_nothing_to_the_workload_nor_to_the_person() {
    let set = rules(&[acts("allow", "shop/cart", json!({"groups": ["*"]}))]);
    for who in [alice(), cart()] {
        assert!(service(&set, Some(&who), None).verdict.is_err(), "{who:?}");
    }
    assert!(service(&set, None, None).verdict.is_err());
}

#[test]
fn nobody_acts_for_who_has_not_signed_in() {
    let set = rules(&[
        stock("allow", json!({"public": true})),
        acts("allow", "shop/cart", json!({"groups": ["*"]})),
    ]);
    assert!(service(&set, None, None).verdict.is_ok());
    let denied = service(&set, None, Some((&cart(), &[]))).verdict.unwrap_err();
    assert_eq!(Some(denied.denial), no_rule::<()>().err());
}

#[test]
fn what_is_forbidden_to_any_workload_of_the_chain_or_to_the_person_is_forbidden() {
    let both = [
        stock("allow", json!({"people": ["alice"]})),
        acts("allow", "shop/cart", json!({"groups": ["*"]})),
    ];
    let through = |forbid: Value| {
        let mut specs = both.to_vec();
        specs.push(forbid);
        let decision = service(&rules(&specs), Some(&alice()), Some((&cart(), &[FRONT])));
        let told = decision.verdict.map(drop);
        told.map_err(|denied| (denied.denial, denied.rules.iter().any(|rule| &*rule.name == "r2")))
    };
    let forbidden = Err((Denial::Forbidden, true));
    assert_eq!(through(stock("forbid", json!({"people": ["bob"]}))), Ok(()));
    for subjects in [
        json!({"people": ["alice"]}),
        json!({"workloads": ["shop/cart"]}),
        json!({"workloads": ["shop/front"]}),
        json!({"groups": ["system:serviceaccounts:shop"]}),
        json!({"groups": ["*"]}),
    ] {
        assert_eq!(through(stock("forbid", subjects.clone())), forbidden, "{subjects}");
    }
    // Only where they act, and for whom.
    assert_eq!(through(acts("forbid", "*", json!({"people": ["alice"]}))), forbidden);
    assert_eq!(
        through(acts("forbid", "shop/front", json!({"groups": ["dev"]}))),
        forbidden
    );
    assert_eq!(through(acts("forbid", "*", json!({"people": ["bob"]}))), Ok(()));
    let in_person = rules(&[both[0].clone(), acts("forbid", "*", json!({"people": ["alice"]}))]);
    assert!(service(&in_person, Some(&alice()), None).verdict.is_ok());
}

/// Only who calls now needs the rule: those before had theirs at their own hop.
#[test]
fn the_rule_is_asked_for_who_calls_now() {
    let own = stock("allow", json!({"people": ["alice"]}));
    let of = |workload: &str| rules(&[own.clone(), acts("allow", workload, json!({"groups": ["*"]}))]);
    let through: &[&str] = &[FRONT];
    assert!(
        service(&of("shop/cart"), Some(&alice()), Some((&cart(), through)))
            .verdict
            .is_ok()
    );
    let denied = service(&of("shop/front"), Some(&alice()), Some((&cart(), through))).verdict;
    assert_eq!(denied.map(drop).map_err(|denied| denied.denial), no_rule());
    let mut of_the_first = acts("allow", "shop/front", json!({"groups": ["*"]}));
    of_the_first["until"] = json!("1970-01-01T00:50:00Z");
    let set = rules(&[
        own.clone(),
        acts("allow", "shop/cart", json!({"groups": ["*"]})),
        of_the_first,
    ]);
    let allowed = service(&set, Some(&alice()), Some((&cart(), through))).verdict.unwrap();
    assert_eq!((allowed.not_after, allowed.rules.len()), (Timestamp::MAX, 2));
}

#[test]
fn all_that_is_demanded_of_person_and_workloads_is_owed_and_the_first_end_counts() {
    let mut own = stock("allow", json!({"people": ["alice"]}));
    own["until"] = json!("1970-01-01T01:00:00Z");
    own["obligations"] = json!({"stepUp": {"maxAge": "1h"}});
    let mut act = acts("allow", "shop/cart", json!({"groups": ["*"]}));
    act["until"] = json!("1970-01-01T00:50:00Z");
    act["obligations"] = json!({"record": true});
    let mut demands = stock("allow", json!({"workloads": ["shop/front"]}));
    demands["obligations"] = json!({"longest": "10m"});
    let set = rules(&[own.clone(), act.clone(), demands]);
    let allowed = service(&set, Some(&alice()), Some((&cart(), &[FRONT])))
        .verdict
        .unwrap();
    let owed = &allowed.obligations;
    assert_eq!(
        (owed.max_auth_age_seconds, owed.record, owed.longest_seconds),
        (Some(3_600), true, Some(600))
    );
    assert_eq!(allowed.not_after, Timestamp::from_unix_seconds(3_000));
    assert_eq!(allowed.rules.len(), 3, "{:?}", allowed.rules);
    act["until"] = json!("1970-01-01T00:10:00Z");
    assert_eq!(for_alice(&[own.clone(), act.clone()]), no_rule());
    act["until"] = json!("1970-01-01T00:50:00Z");
    act["obligations"] = json!({"reason": true});
    assert_eq!(for_alice(&[own, act]), Err(Denial::Obligation(Unmet::Reason)));
}

/// The address of the call is the workload's: taken for the person's, a service inside would open what is closed outside.
#[test]
fn the_address_of_a_workload_is_never_taken_for_the_persons() {
    let mut own = stock("allow", json!({"people": ["alice"]}));
    own["when"] = json!("cidr('10.0.0.0/8').containsIP(source.ip)");
    let act = acts("allow", "shop/cart", json!({"groups": ["*"]}));
    let set = rules(std::slice::from_ref(&own));
    assert!(
        service(&set, Some(&alice()), None).verdict.is_ok(),
        "from inside, in person"
    );
    assert_eq!(for_alice(&[own, act.clone()]), Err(Denial::NoRule));
    // In the rule itself it is the workload's.
    let mut act = act;
    act["when"] = json!("cidr('10.0.0.0/8').containsIP(source.ip) && 'dev' in onBehalfOf.groups");
    assert_eq!(
        for_alice(&[stock("allow", json!({"people": ["alice"]})), act.clone()]),
        Ok(())
    );
    act["when"] = json!("!cidr('10.0.0.0/8').containsIP(source.ip)");
    assert_eq!(
        for_alice(&[stock("allow", json!({"people": ["alice"]})), act]),
        no_rule()
    );
}

/// All calls of the stock at once, below `/items`.
fn all_for_alice(specs: &[Value]) -> Result<Obligations, Denial> {
    let (service, host) = (
        ServiceName::new("stock").unwrap(),
        HostName::new("stock.example").unwrap(),
    );
    let call = ServiceCall {
        service: &service,
        namespace: "",
        labels: &Default::default(),
        host: &host,
        method: "GET",
        path: "/items",
    };
    let labels = NamespaceLabels::new();
    let query = ServiceQuery {
        call: &call.any(),
        subject: Some(&alice()),
        situation: &situation(&labels),
        rules: &rules(specs),
    };
    let acting = Acting {
        workload: &cart(),
        through: &[],
    };
    let decision = decide_service_on_behalf(&query, &acting);
    decision
        .verdict
        .map(|allowed| allowed.obligations)
        .map_err(|denied| denied.denial)
}

#[test]
fn all_calls_at_once_are_allowed_where_each_of_them_is() {
    let with = |rule: Value, methods: &str, path: &str| {
        let mut rule = rule;
        rule["services"] = json!([{"hosts": ["*.example"], "methods": [methods], "paths": [path]}]);
        rule
    };
    let own = stock("allow", json!({"people": ["alice"]}));
    let act = |methods: &str, path: &str| with(acts("allow", "shop/cart", json!({"groups": ["*"]})), methods, path);
    for path in ["/items/*", "/*", "/*/*"] {
        let act = {
            let mut act = act("*", path);
            act["services"][0]["hosts"] = json!(["stock.example"]);
            act
        };
        assert_eq!(all_for_alice(&[own.clone(), act]), Ok(Obligations::default()), "{path}");
    }
    // Not all of them, by method or by path; nor by the person's own right.
    for (methods, path) in [("GET", "/*"), ("*", "/items/new/*"), ("*", "/items"), ("*", "/Items/*")] {
        assert_eq!(
            all_for_alice(&[own.clone(), act(methods, path)]),
            no_rule(),
            "{methods} {path}"
        );
        let own = with(own.clone(), methods, path);
        assert_eq!(
            all_for_alice(&[own, act("*", "/*")]),
            Err(Denial::NoRule),
            "{methods} {path}"
        );
    }
    // One forbidden call is enough, in whatever spelling; those beside the service are not meant.
    for (path, is_meant) in [
        ("/ITEMS/secret", true),
        ("/items", true),
        ("/*", true),
        ("/admin/*", false),
        ("/", false),
    ] {
        let forbid = with(stock("forbid", json!({"people": ["alice"]})), "DELETE", path);
        let told = all_for_alice(&[own.clone(), act("*", "/*"), forbid]);
        assert_eq!(told == Err(Denial::Forbidden), is_meant, "{path}");
    }
    // What is demanded of some is owed, and a condition on which call it is cannot be told.
    let mut demands = with(own.clone(), "POST", "/items/new");
    demands["obligations"] = json!({"stepUp": {"maxAge": "1h"}});
    let owed = all_for_alice(&[own.clone(), act("*", "/*"), demands]).unwrap();
    assert_eq!(owed.max_auth_age_seconds, Some(3_600));
    let mut untold = with(own.clone(), "GET", "/items/new");
    untold["obligations"] = json!({"record": true});
    untold["when"] = json!("request.path != '/items/secret'");
    let owed = all_for_alice(&[own.clone(), act("*", "/*"), untold]).unwrap();
    assert!(owed.record, "a demand that cannot be told is owed");
    let mut when = act("*", "/*");
    when["when"] = json!("request.path != '/items/secret'");
    assert_eq!(all_for_alice(&[own.clone(), when.clone()]), no_rule());
    when["effect"] = json!("forbid");
    assert_eq!(all_for_alice(&[own, act("*", "/*"), when]), Err(Denial::Forbidden));
}

/// Asks about a Kubernetes call of somebody in group `dev`, who may read pods by RBAC.
fn kubernetes(
    specs: &[Value],
    (method, raw): (&str, &str),
    acting: Option<&Subject>,
    authorization: Authorization,
    wanted: Option<&Impersonation>,
) -> Verdict {
    let objects: Objects = serde_json::from_value(json!({
        "clusterRoles": [{"metadata": {"name": "view"}, "rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}]}],
        "clusterRoleBindings": [{"metadata": {"name": "view"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
                                 "subjects": [{"kind": "Group", "name": "dev"}]}],
    }))
    .unwrap();
    let target = Target::parse(raw.as_bytes()).unwrap();
    let wire = Wire {
        method,
        wants_upgrade: false,
        impersonates: wanted.is_some(),
    };
    let facts = RequestFacts::classify(&target, wire).unwrap();
    let (rules, labels) = (rules(specs), NamespaceLabels::new());
    let query = Query {
        call: Call::of("prod", &facts),
        subject: &alice(),
        impersonation: wanted,
        situation: &situation(&labels),
        snapshot: &Snapshot::new(&objects),
        freshness: Freshness::Fresh,
        rules: &rules,
        authorization,
        max_groups: 4,
    };
    match acting {
        None => decide(&query).verdict,
        Some(workload) => decide_on_behalf(&query, &Acting { workload, through: &[] }).verdict,
    }
}

fn pods(verb: &str) -> Value {
    json!({"effect": "allow", "subjects": {"workloads": ["shop/cart"]}, "onBehalfOf": {"groups": ["*"]},
           "kubernetes": {"verbs": [verb], "resources": ["pods"]}})
}

const PODS: (&str, &str) = ("GET", "/api/v1/namespaces/shop/pods/web-0");

fn denial(verdict: Verdict) -> Option<Denial> {
    match verdict {
        Verdict::Deny(denied) => Some(denied.denial),
        _ => None,
    }
}

#[test]
fn the_kubernetes_api_is_called_for_a_person_where_a_rule_says_so_and_as_that_person() {
    let ask = |specs: &[Value], call| kubernetes(specs, call, Some(&cart()), Authorization::Enforce, None);
    let Verdict::Allow(allowed) = ask(&[pods("get")], PODS) else {
        panic!("the person may by RBAC, the workload by the rule");
    };
    assert_eq!((&*allowed.upstream.user, allowed.upstream.groups.len()), ("alice", 1));
    let told: Vec<String> = allowed.rules.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["ClusterRoleBinding view → ClusterRole/view", "AccessRule r0"]);
    assert_eq!(denial(ask(&[], PODS)), no_rule::<()>().err());
    assert_eq!(denial(ask(&[pods("list")], PODS)), no_rule::<()>().err());
    let secrets = ("GET", "/api/v1/namespaces/shop/secrets/db");
    let any = json!({"effect": "allow", "subjects": {"workloads": ["shop/cart"]}, "onBehalfOf": {"groups": ["*"]},
                     "kubernetes": {"verbs": ["get"], "resources": ["secrets"]}});
    assert_eq!(
        denial(ask(&[any], secrets)),
        Some(Denial::NoRule),
        "not beyond the person"
    );
    let mut forbid = pods("get");
    forbid["effect"] = json!("forbid");
    assert_eq!(denial(ask(&[pods("get"), forbid], PODS)), Some(Denial::Forbidden));
}

/// The cluster knows nothing of workloads that act: its yes about the person must not stand in for the rule.
#[test]
fn neither_the_clusters_yes_nor_observing_stands_in_for_the_rule() {
    let secrets = ("GET", "/api/v1/namespaces/shop/secrets/db");
    for authorization in [Authorization::Confirm, Authorization::Observe] {
        let ask = |specs: &[Value]| kubernetes(specs, secrets, Some(&cart()), authorization, None);
        assert_eq!(denial(ask(&[])), no_rule::<()>().err(), "{authorization:?}");
        let any = json!({"effect": "allow", "subjects": {"workloads": ["shop/cart"]}, "onBehalfOf": {"groups": ["*"]},
                         "kubernetes": {"verbs": ["get"], "resources": ["secrets"]}});
        assert_eq!(denial(ask(&[any])), None, "{authorization:?}");
    }
    let discovery = ("GET", "/apis");
    let ask = |acting| kubernetes(&[], discovery, acting, Authorization::Enforce, None);
    assert_eq!(denial(ask(None)), None);
    assert_eq!(
        denial(ask(Some(&cart()))),
        no_rule::<()>().err(),
        "discovery, too, is named in words"
    );
}

#[test]
fn a_workload_takes_on_no_further_name() {
    let wanted = Impersonation {
        user: "bob".into(),
        ..Impersonation::default()
    };
    let ask = |acting| kubernetes(&[pods("get")], PODS, acting, Authorization::Observe, Some(&wanted));
    assert_eq!(denial(ask(None)), None);
    assert_eq!(
        denial(ask(Some(&cart()))),
        Some(Denial::MayNotImpersonate {
            what: "another one on somebody's behalf".to_owned()
        })
    );
}

fn some_rule() -> impl Strategy<Value = Value> {
    let somebody = prop_oneof![
        Just(json!({"groups": ["*"]})),
        Just(json!({"groups": ["dev"]})),
        Just(json!({"people": ["alice"]})),
        Just(json!({"workloads": ["shop/*"]})),
        Just(json!({"people": ["bob"]})),
    ];
    let workload = prop_oneof![Just("shop/cart"), Just("shop/front"), Just("shop/*")];
    let when = prop_oneof![
        Just(None),
        Just(Some("true")),
        Just(Some("false")),
        Just(Some("source.ip.family() == 4")),
        Just(Some("auth.acr == 'x'")),
    ];
    let effect = prop_oneof![Just("allow"), Just("forbid")];
    (effect, somebody, proptest::option::of(workload), when).prop_map(|(effect, somebody, workload, when)| {
        let mut rule = match workload {
            Some(workload) => acts(effect, workload, somebody),
            None => stock(effect, somebody),
        };
        if let Some(when) = when {
            rule["when"] = json!(when);
        }
        rule
    })
}

proptest! {
    /// POL-02 for chains: never more than the person in person, never without a rule, a forbid adds nothing, an allow takes nothing
    /// away, order and doubles mean nothing, and each further workload only narrows.
    #[test]
    fn promise_3_who_acts_for_a_person_has_never_more_than_the_person_and_never_more_than_the_rule(
        mut specs in proptest::collection::vec(some_rule(), 0..6),
        more in some_rule(),
        is_chained: bool,
    ) {
        let through: &[&str] = if is_chained { &[FRONT] } else { &[] };
        let ask = |specs: &[Value], through: &[&str]| {
            service(&rules(specs), Some(&alice()), Some((&cart(), through))).verdict.is_ok()
        };
        let before = ask(&specs, through);
        let in_person = service(&rules(&specs), Some(&alice()), None).verdict.is_ok();
        prop_assert!(!before || in_person, "more than the person: {specs:?}");
        let is_act = |spec: &Value| spec["effect"] == "allow" && !spec["onBehalfOf"].is_null();
        let without: Vec<_> = specs.iter().filter(|spec| !is_act(spec)).cloned().collect();
        prop_assert!(!ask(&without, through), "without a rule: {specs:?}");
        let acting: Vec<_> = specs.iter().filter(|spec| is_act(spec)).cloned().collect();
        prop_assert!(!ask(&acting, through), "by the rule alone: {specs:?}");
        prop_assert!(!before || ask(&specs, &[]), "more workloads, more rights: {specs:?}");
        let mut doubled: Vec<_> = specs.iter().rev().cloned().collect();
        doubled.extend(specs.clone());
        prop_assert_eq!(ask(&doubled, through), before);
        let allows = more["effect"] == "allow";
        specs.push(more);
        let after = ask(&specs, through);
        prop_assert!(if allows { after || !before } else { before || !after }, "{specs:?}");
    }
}
