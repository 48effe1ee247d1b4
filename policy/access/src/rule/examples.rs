//! Tests inside the policy: examples with their expected decision, run at load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use condition::Budget;
use model::subject::SubjectKind;
use model::time::Timestamp;

use super::call::{Call, NamespaceLabels, Situation, Who};
use super::compiled::Reach;
use super::document::{AccessRuleDocument, Effect, Example, ExampleRequest, Expected, Mode};
use super::inquiry::Inquiry;
use super::pattern;
use super::set::{RuleSet, Rules};
use crate::rbac::{Attributes, SubjectView};

/// What the examples of one tenant's rule may cost together, whenever rules are read: two and a half milliseconds. While
/// rules are read, no change of another one is in force.
const OF_A_TENANT: Budget = Budget {
    steps: 50_000,
    bytes: 1 << 20,
};

/// An example that does not come out as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The path of what is wrong with it within the document, such as `spec.tests.0.expect`.
    pub(super) path: String,
    pub(super) what: String,
}

/// The examples of a document that do not come out as written.
pub(super) fn failures(document: &AccessRuleDocument, rules: &Rules) -> Vec<Failure> {
    run(document, rules, None)
}

/// The same for an object that a tenant may have written: all its examples share one budget.
pub(super) fn failures_of_object(document: &AccessRuleDocument, rules: &Rules) -> Vec<Failure> {
    let is_local = document.metadata.namespace.is_some();
    run(document, rules, is_local.then_some(OF_A_TENANT))
}

fn run(document: &AccessRuleDocument, rules: &Rules, mut shared: Option<Budget>) -> Vec<Failure> {
    if document.spec.tests.is_empty() {
        return Vec::new();
    }
    let set = RuleSet::new(rules.clone());
    let mut failures = Vec::new();
    for (item, example) in document.spec.tests.iter().enumerate() {
        let mut fail = |member: &str, what: String| {
            failures.push(Failure {
                path: format!("spec.tests.{item}{member}"),
                what: format!("example `{}`: {what}", example.name),
            });
        };
        match outcome(example, &set, shared.as_mut()) {
            Ok((got, _)) if got == example.expect => {}
            Ok((got, why)) => {
                let (want, got) = (word(example.expect), word(got));
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                fail(".expect", format!("expected {want}, but the rules say {got}{why}"));
            }
            Err(what) => fail("", what),
        }
    }
    failures
}

const fn word(expected: Expected) -> &'static str {
    match expected {
        Expected::Allow => "allow",
        Expected::Forbid => "forbid",
        Expected::Silent => "silent",
    }
}

/// What the rules say, and why where one of them failed.
type Said = (Expected, Option<Arc<str>>);

fn outcome(example: &Example, set: &RuleSet, shared: Option<&mut Budget>) -> Result<Said, String> {
    let groups: Vec<Arc<str>> = example
        .subject
        .groups
        .iter()
        .map(|group| group.as_str().into())
        .collect();
    let (kind, username) = subject(example)?;
    let view = SubjectView::impersonated(&username, &groups);
    let who = Who {
        kind,
        view,
        uid: None,
        issuer: "",
        email: None,
    };
    let request = &example.request;
    let (group, resource, subresource) = match (&request.resource, &request.path) {
        (Some(resource), None) => pattern::exact_resource(resource)?,
        (None, Some(_)) => Default::default(),
        _ => return Err("name either `resource` or `path`".to_owned()),
    };
    let asked = Attributes {
        verb: &request.verb,
        group: &group,
        resource: &resource,
        subresource: &subresource,
        namespace: &request.namespace,
        name: &request.name,
        path: request.path.as_deref().unwrap_or_default(),
        is_resource: request.resource.is_some(),
    };
    let call = Call::asking(&request.cluster, asked);
    let labels: NamespaceLabels =
        HashMap::from([(request.namespace.as_str().into(), request.namespace_labels.clone())]);
    let situation = situation(request, &labels)?;
    let asked = Inquiry::new(&who, &call, &situation);
    let Some(left) = shared else {
        return Ok(fold(set, &asked));
    };
    let asked = asked.within(*left);
    let said = fold(set, &asked);
    *left = asked.left();
    Ok(said)
}

fn subject(example: &Example) -> Result<(SubjectKind, String), String> {
    match (&example.subject.person, &example.subject.workload) {
        (Some(person), None) => Ok((SubjectKind::Person, person.clone())),
        (None, Some(workload)) if workload.starts_with("spiffe://") => Ok((SubjectKind::Workload, workload.clone())),
        (None, Some(workload)) => match workload.split_once('/') {
            Some((namespace, name)) => Ok((
                SubjectKind::ServiceAccount,
                format!("system:serviceaccount:{namespace}:{name}"),
            )),
            None => Err(format!(
                "`{workload}` is neither `<namespace>/<service account>` nor `spiffe://…`"
            )),
        },
        _ => Err("name either `person` or `workload`".to_owned()),
    }
}

fn situation<'a>(request: &'a ExampleRequest, namespaces: &'a NamespaceLabels) -> Result<Situation<'a>, String> {
    let now = match &request.at {
        Some(at) => Timestamp::parse(at).map_err(|error| error.to_string())?,
        None => Timestamp::EPOCH,
    };
    let ago: Option<Duration> = request.signed_in_ago.as_deref().map(pattern::duration).transpose()?;
    Ok(Situation {
        now,
        source: request.from,
        signed_in: ago.map(|ago| now.minus(ago)),
        acr: request.acr.as_deref(),
        namespaces,
        reason_stated: false,
        approved_by: &[],
    })
}

fn fold(set: &RuleSet, asked: &Inquiry<'_>) -> Said {
    let mut decided = Expected::Silent;
    for (rule, reach) in set.ask(asked) {
        match (rule.mode(), rule.effect(), reach) {
            (Mode::Enforce, Effect::Forbid, Reach::Applies) => return (Expected::Forbid, None),
            (Mode::Enforce, Effect::Forbid, Reach::Fails(why)) => return (Expected::Forbid, Some(why)),
            (Mode::Enforce, Effect::Allow, Reach::Applies) => decided = Expected::Allow,
            _ => {}
        }
    }
    (decided, None)
}
