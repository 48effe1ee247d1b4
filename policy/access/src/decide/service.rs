//! A call of an HTTP service: allowed iff no forbid matches and an allow rule does. RBAC says nothing about services.

use model::decision::{Denial, Denied, Obligations, RuleRef};
use model::subject::{Subject, SubjectKind};
use model::time::Timestamp;

use super::rules::{Rulings, ruled_service};
use super::{not_after, unmet};
use crate::rbac::SubjectView;
use crate::rule::{RuleSet, ServiceCall, Situation, Who};

/// Everything that a decision about a call of a service depends on.
#[derive(Clone, Copy, Debug)]
pub struct ServiceQuery<'a> {
    /// What is asked.
    pub call: &'a ServiceCall<'a>,
    /// Who asks; none who has not signed in.
    pub subject: Option<&'a Subject>,
    /// The circumstances.
    pub situation: &'a Situation<'a>,
    /// The rules in force.
    pub rules: &'a RuleSet,
}

/// A call of a service that policy allows.
#[derive(Clone, Debug)]
pub struct ServiceAllowed {
    /// What is still owed.
    pub obligations: Obligations,
    /// Every rule that mattered, the deciding ones first.
    pub rules: Vec<RuleRef>,
    /// The decision holds no longer than this.
    pub not_after: Timestamp,
}

/// A verdict and what the caller may do with it.
#[derive(Clone, Debug)]
pub struct ServiceDecision {
    /// Allowed, or refused.
    pub verdict: Result<ServiceAllowed, Denied>,
    /// The same question gets the same answer until subject or rules change: no condition and no `until` was asked.
    pub cacheable: bool,
}

/// Decides one call of a service. Pure: the same query always gives the same decision.
#[must_use]
pub fn decide_service(query: &ServiceQuery<'_>) -> ServiceDecision {
    let who = query.subject.map_or_else(nobody, Who::of);
    let found = ruled_service(query, &who, None);
    let denial = denial(query, &who, &found);
    decided(query, found, denial)
}

/// The decision with its rules listed.
pub(super) fn decided(query: &ServiceQuery<'_>, found: Rulings, denial: Option<Denial>) -> ServiceDecision {
    let cacheable = !found.is_momentary();
    let verdict = match denial {
        Some(denial) => Err(Denied {
            denial,
            rules: found.into_rules(None),
            nearest: None,
        }),
        None => Ok(ServiceAllowed {
            obligations: found.obligations().clone(),
            not_after: not_after(query.situation, &found),
            rules: found.into_rules(None),
        }),
    };
    ServiceDecision { verdict, cacheable }
}

pub(super) fn denial(query: &ServiceQuery<'_>, who: &Who<'_>, found: &Rulings) -> Option<Denial> {
    if found.is_forbidden() {
        return Some(Denial::Forbidden);
    }
    if !found.is_allowed() {
        let has_groups = who.view.has_groups() || who.kind != SubjectKind::Person;
        return Some(if has_groups { Denial::NoRule } else { Denial::NoGroups });
    }
    unmet(query.situation, found.obligations()).map(Denial::Obligation)
}

/// Who has not signed in has no name, and no group either.
pub(super) fn nobody<'a>() -> Who<'a> {
    Who {
        kind: SubjectKind::Public,
        view: SubjectView::nobody(),
        uid: None,
        issuer: "",
        email: None,
    }
}

#[cfg(test)]
mod tests {
    use model::decision::Unmet;
    use model::service::{HostName, ServiceName};
    use model::subject::{SubjectId, SubjectParts};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::rule::{NamespaceLabels, load_objects};

    fn rules<'v>(specs: impl IntoIterator<Item = (&'v str, &'v Value)>) -> RuleSet {
        let object = |(at, (namespace, spec)): (usize, (&str, &Value))| {
            let kind = if namespace.is_empty() {
                "ClusterAccessRule"
            } else {
                "AccessRule"
            };
            let mut object = json!({"apiVersion": "gatescribe.dev/v1", "kind": kind,
                                    "metadata": {"name": format!("r{at}")}, "spec": spec});
            if !namespace.is_empty() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            object
        };
        let objects: Vec<_> = specs.into_iter().enumerate().map(object).collect();
        let (rules, problems) = load_objects(&objects);
        assert_eq!(problems, []);
        RuleSet::new(rules)
    }

    fn person(groups: &[&str]) -> Subject {
        let parts = SubjectParts {
            id: SubjectId::from_digest([7; 16]),
            kind: SubjectKind::Person,
            issuer: "https://idp.example".to_owned(),
            subject: "1".to_owned(),
            username: "alice".to_owned(),
            uid: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: Default::default(),
            email: None,
        };
        Subject::new(parts).unwrap()
    }

    fn decided(rules: &RuleSet, subject: Option<&Subject>, namespace: &str, path: &str) -> ServiceDecision {
        let (service, host) = (ServiceName::new("web").unwrap(), HostName::new("web.example").unwrap());
        let call = ServiceCall {
            service: &service,
            namespace,
            labels: &Default::default(),
            host: &host,
            method: "GET",
            path,
        };
        let labels = NamespaceLabels::new();
        let situation = Situation {
            now: Timestamp::from_unix_seconds(1_000),
            source: None,
            signed_in: Some(Timestamp::from_unix_seconds(900)),
            acr: None,
            namespaces: &labels,
            reason_stated: false,
            approved_by: &[],
        };
        decide_service(&ServiceQuery {
            call: &call,
            subject,
            situation: &situation,
            rules,
        })
    }

    fn denial(decision: &ServiceDecision) -> Option<&Denial> {
        decision.verdict.as_ref().err().map(|denied| &denied.denial)
    }

    fn about(effect: &str, subjects: Value, path: &str) -> Value {
        json!({"effect": effect, "subjects": subjects,
               "services": [{"hosts": ["web.example"], "methods": ["*"], "paths": [path]}]})
    }

    #[test]
    fn silence_forbids_and_says_whether_there_was_any_group() {
        let none = rules([]);
        assert_eq!(
            denial(&decided(&none, Some(&person(&[])), "", "/")),
            Some(&Denial::NoGroups)
        );
        assert_eq!(
            denial(&decided(&none, Some(&person(&["dev"])), "", "/")),
            Some(&Denial::NoRule)
        );
        assert_eq!(denial(&decided(&none, None, "", "/")), Some(&Denial::NoRule));
    }

    #[test]
    fn what_a_rule_demands_is_owed_and_ends_the_permit_with_the_age_of_the_sign_in() {
        let mut recent = about("allow", json!({"groups": ["dev"]}), "/*");
        recent["obligations"] = json!({"stepUp": {"maxAge": "5m"}});
        let allowed = decided(&rules([("", &recent)]), Some(&person(&["dev"])), "", "/")
            .verdict
            .unwrap();
        assert_eq!(allowed.not_after, Timestamp::from_unix_seconds(1_200));
        recent["obligations"] = json!({"stepUp": {"maxAge": "90s"}});
        let refused = decided(&rules([("", &recent)]), Some(&person(&["dev"])), "", "/");
        assert_eq!(
            denial(&refused),
            Some(&Denial::Obligation(Unmet::StepUp { acr: Vec::new() }))
        );
    }

    #[test]
    fn a_rule_of_a_namespace_reaches_the_services_in_it_only() {
        let (allow, forbid) = (
            about("allow", json!({"groups": ["*"]}), "/*"),
            about("forbid", json!({"groups": ["*"]}), "/*"),
        );
        let set = rules([("", &allow), ("shop", &forbid)]);
        let alice = person(&["dev"]);
        assert_eq!(
            denial(&decided(&set, Some(&alice), "shop", "/")),
            Some(&Denial::Forbidden)
        );
        for elsewhere in ["", "pay"] {
            assert_eq!(
                denial(&decided(&set, Some(&alice), elsewhere, "/")),
                None,
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn a_rule_about_kubernetes_says_nothing_of_services() {
        let everything = json!({"effect": "allow", "subjects": {"groups": ["*"]},
                                "kubernetes": {"verbs": ["*"], "resources": ["*"], "paths": ["*"]}});
        let set = rules([("", &everything)]);
        assert_eq!(
            denial(&decided(&set, Some(&person(&["dev"])), "", "/")),
            Some(&Denial::NoRule)
        );
    }

    fn some_rule() -> impl Strategy<Value = Value> {
        let subjects = prop_oneof![
            Just(json!({"groups": ["*"]})),
            Just(json!({"groups": ["dev"]})),
            Just(json!({"people": ["alice"]})),
            Just(json!({"people": ["bob"]})),
            Just(json!({"public": true})),
        ];
        let path = prop_oneof![Just("/*"), Just("/a"), Just("/a/*"), Just("/b")];
        let when = prop_oneof![
            Just(None),
            Just(Some("true")),
            Just(Some("false")),
            Just(Some("source.ip.family() == 4"))
        ];
        (prop_oneof![Just("allow"), Just("forbid")], subjects, path, when).prop_map(|(effect, subjects, path, when)| {
            let mut rule = about(effect, subjects, path);
            if let Some(when) = when {
                rule["when"] = json!(when);
            }
            rule
        })
    }

    proptest! {
        /// POL-02: their order and doubles mean nothing, a forbid never adds a right, an allow never takes one away, and a forbid
        /// that matches or fails forbids.
        #[test]
        fn promise_3_forbid_wins_and_nothing_but_an_allow_allows(
            mut specs in proptest::collection::vec(some_rule(), 0..5),
            more in some_rule(),
            groups in proptest::collection::vec(prop_oneof![Just("dev"), Just("ops")], 0..2),
            signed_in: bool,
            path in prop_oneof![Just("/"), Just("/a"), Just("/a/"), Just("/a/x"), Just("/B")],
        ) {
            let alice = person(&groups);
            let who = signed_in.then_some(&alice);
            let ask = |specs: &[Value]| decided(&rules(specs.iter().map(|spec| ("", spec))), who, "", path).verdict.is_ok();
            let before = ask(&specs);
            let mut doubled: Vec<_> = specs.iter().rev().cloned().collect();
            doubled.extend(specs.clone());
            prop_assert_eq!(ask(&doubled), before);
            prop_assert!(!before || specs.iter().any(|spec| spec["effect"] == "allow"));
            let allows = more["effect"] == "allow";
            specs.push(more);
            let after = ask(&specs);
            prop_assert!(if allows { after || !before } else { before || !after }, "{specs:?}");
        }
    }
}
