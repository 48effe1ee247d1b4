//! Tests inside the policy: examples with their expected decision, run at load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use condition::Budget;
use model::decision::Obligations;
use model::service::{HostName, ServiceName};
use model::spiffe::SpiffeId;
use model::subject::SubjectKind;
use model::time::Timestamp;

use super::call::{Call, NamespaceLabels, Situation, Who};
use super::compile::{self, Wrong};
use super::compiled::Reach;
use super::compiled::Rule;
use super::document::{
    AccessRuleDocument, Effect, Example, ExampleRequest, ExampleSubject, Expected, Mode, ObligationSpec,
};
use super::inquiry::{Inquiry, ServiceInquiry};
use super::pattern;
use super::service::ServiceCall;
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
        let said = match outcome(example, &set, shared.as_mut()) {
            Ok(said) => said,
            Err(what) => {
                fail("", what);
                continue;
            }
        };
        if said.decided != example.expect {
            let (want, got) = (word(example.expect), word(said.decided));
            let why = said.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            fail(".expect", format!("expected {want}, but the rules say {got}{why}"));
        }
        let owes = example.owes.as_ref();
        if let Some((member, what)) = owes.and_then(|owes| owed_otherwise(example, owes, &said)) {
            fail(&member, what);
        }
    }
    failures
}

/// In words how what is owed differs from what is expected, and which member of the example says so.
fn owed_otherwise(example: &Example, expected: &ObligationSpec, said: &Said) -> Option<(String, String)> {
    let at = |what: String| Some((".owes".to_owned(), what));
    if example.expect == Expected::Forbid {
        return at("owes: what is forbidden owes nothing; leave it out".to_owned());
    }
    let mut wrong = Wrong::default();
    let expected = compile::obligations(expected, &mut wrong);
    if let Some(point) = wrong.0.first() {
        // The member's name is that of a rule; here it stands below `owes`.
        let member = point.member.strip_prefix("spec.obligations.").unwrap_or(point.member);
        return Some((format!(".owes.{member}"), format!("owes.{member}: {}", point.what)));
    }
    // Nobody asks what a call owes that the rules forbid against what was expected.
    if said.decided == Expected::Forbid || is_same(&expected, &said.owed) {
        return None;
    }
    let by = match said.demanding.as_slice() {
        [] => String::new(),
        rules => format!(" (`{}`)", rules.join("`, `")),
    };
    at(format!(
        "expected it to owe `{}`, but the rules demand `{}`{by}",
        written(&expected),
        written(&said.owed)
    ))
}

/// Whether the same is owed; lists are sets.
fn is_same(one: &Obligations, other: &Obligations) -> bool {
    let sorted = |owed: &Obligations| {
        let mut owed = owed.clone();
        owed.acr.sort();
        owed.approval_from.sort();
        owed
    };
    sorted(one) == sorted(other)
}

/// What is owed as a rule writes it.
fn written(owed: &Obligations) -> String {
    let Obligations {
        record,
        reason,
        max_auth_age_seconds,
        acr,
        approval_from,
        idle_seconds,
        longest_seconds,
    } = owed;
    let list = |items: &[Arc<str>]| format!("[{}]", items.join(", "));
    let step_up = [
        max_auth_age_seconds.map(|age| format!("maxAge: {}", span(age))),
        match acr.as_slice() {
            [] => None,
            [acr] => Some(format!("acr: {acr}")),
            // No rule can write so, and no sign-in can meet it.
            several => Some(format!("acr: all of {}", list(several))),
        },
    ];
    let members = [
        record.then(|| "record: true".to_owned()),
        reason.then(|| "reason: true".to_owned()),
        braced(step_up.into_iter().flatten()).map(|step_up| format!("stepUp: {step_up}")),
        (!approval_from.is_empty()).then(|| format!("approval: {{ from: {} }}", list(approval_from))),
        idle_seconds.map(|idle| format!("idle: {}", span(idle))),
        longest_seconds.map(|longest| format!("longest: {}", span(longest))),
    ];
    braced(members.into_iter().flatten()).unwrap_or_else(|| "{}".to_owned())
}

fn braced(members: impl Iterator<Item = String>) -> Option<String> {
    let members = members.collect::<Vec<_>>().join(", ");
    (!members.is_empty()).then(|| format!("{{ {members} }}"))
}

/// A length of time in the largest unit in which it is a whole number.
fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let whole = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((1, 's'));
    format!("{}{name}", seconds.checked_div(unit).unwrap_or_default())
}

const fn word(expected: Expected) -> &'static str {
    match expected {
        Expected::Allow => "allow",
        Expected::Forbid => "forbid",
        Expected::Silent => "silent",
    }
}

/// What the rules say.
struct Said {
    decided: Expected,
    /// Why, where one of them failed.
    why: Option<Arc<str>>,
    owed: Obligations,
    /// The rules that demand it.
    demanding: Vec<Arc<str>>,
}

/// Somebody of an example.
struct Somebody {
    kind: SubjectKind,
    username: String,
    groups: Vec<Arc<str>>,
}

impl Somebody {
    fn read(written: &ExampleSubject) -> Result<Self, String> {
        let (kind, username) = subject(written)?;
        let groups = written.groups.iter().map(|group| group.as_str().into()).collect();
        Ok(Self { kind, username, groups })
    }

    fn who(&self) -> Who<'_> {
        Who {
            kind: self.kind,
            view: match self.kind {
                SubjectKind::Public => SubjectView::nobody(),
                _ => SubjectView::impersonated(&self.username, &self.groups),
            },
            uid: None,
            issuer: "",
            email: None,
        }
    }
}

/// For whom the workload of an example acts.
fn somebody_else(example: &Example, acting: &Somebody) -> Result<Option<Somebody>, String> {
    let Some(whom) = &example.on_behalf_of else {
        return Ok(None);
    };
    let whom = Somebody::read(whom).map_err(|what| format!("onBehalfOf: {what}"))?;
    let is_workload = matches!(acting.kind, SubjectKind::ServiceAccount | SubjectKind::Workload);
    if !is_workload || whom.kind == SubjectKind::Public {
        return Err("a `workload` acts for somebody who has signed in, and nobody else does".to_owned());
    }
    Ok(Some(whom))
}

/// Who asks in an example, and for whom.
struct Asking<'a> {
    who: &'a Who<'a>,
    whom: Option<&'a Who<'a>>,
}

fn outcome(example: &Example, set: &RuleSet, shared: Option<&mut Budget>) -> Result<Said, String> {
    let acting = Somebody::read(&example.subject)?;
    let whom = somebody_else(example, &acting)?;
    let (who, whom) = (acting.who(), whom.as_ref().map(Somebody::who));
    let asking = Asking {
        who: &who,
        whom: whom.as_ref(),
    };
    let request = &example.request;
    if let Some(host) = &request.host {
        return outcome_of_service(host, request, &asking, set, shared);
    }
    if acting.kind == SubjectKind::Public {
        return Err("who has not signed in calls services only: name a `host`".to_owned());
    }
    if request.service.is_some() || request.method.is_some() {
        return Err("`service` and `method` are of a call of a service: name its `host` too".to_owned());
    }
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
    Ok(replies(&asking, shared, |who, whom, left| {
        let mut asked = Inquiry::new(who, &call, &situation);
        asked = match whom {
            Some(whom) => asked.on_behalf_of(whom),
            None => asked,
        };
        let Some(left) = left else {
            return set.ask(&asked);
        };
        let asked = asked.within(*left);
        let said = set.ask(&asked);
        *left = asked.left();
        said
    }))
}

/// What the rules say. On somebody's behalf it is what they say of the acting: an allow is one with `onBehalfOf`, and whatever is
/// forbidden to either, or demanded of the workload, counts.
fn replies<'s>(
    asking: &Asking<'_>,
    mut shared: Option<&mut Budget>,
    mut ask: impl FnMut(&Who<'_>, Option<&Who<'_>>, Option<&mut Budget>) -> Vec<(&'s Rule, Reach)>,
) -> Said {
    let Some(whom) = asking.whom else {
        return fold(ask(asking.who, None, shared));
    };
    let mut reaches = ask(asking.who, Some(whom), shared.as_deref_mut());
    for who in [asking.who, whom] {
        let said = ask(who, None, shared.as_deref_mut()).into_iter();
        reaches.extend(said.map(|(rule, reach)| match (rule.effect(), reach) {
            // What is allowed in person is no leave to act.
            (Effect::Allow, Reach::Applies) => {
                (rule, Reach::Fails("it is not about calls on somebody's behalf".into()))
            }
            (_, reach) => (rule, reach),
        }));
    }
    fold(reaches)
}

fn outcome_of_service(
    host: &str,
    request: &ExampleRequest,
    asking: &Asking<'_>,
    set: &RuleSet,
    shared: Option<&mut Budget>,
) -> Result<Said, String> {
    let ExampleRequest {
        cluster,
        verb,
        resource,
        name,
        ..
    } = request;
    if resource.is_some() || [cluster, verb, name].into_iter().any(|text| !text.is_empty()) {
        return Err(
            "`cluster`, `verb`, `resource` and `name` are of Kubernetes: leave them out beside `host`".to_owned(),
        );
    }
    let (Some(path), Some(method)) = (&request.path, &request.method) else {
        return Err("name `path` and `method` beside `host`".to_owned());
    };
    if !path.starts_with('/') {
        return Err(format!("`{path}`: a path begins with `/`"));
    }
    let host = HostName::new(host).map_err(|error| error.to_string())?;
    let service =
        ServiceName::new(request.service.as_deref().unwrap_or("unnamed")).map_err(|error| error.to_string())?;
    let labels = NamespaceLabels::new();
    let situation = situation(request, &labels)?;
    let call = ServiceCall {
        service: &service,
        namespace: &request.namespace,
        labels: &request.service_labels,
        host: &host,
        method,
        path,
    };
    Ok(replies(asking, shared, |who, whom, left| {
        let mut asked = ServiceInquiry::new(who, &call, &situation);
        asked = match whom {
            Some(whom) => asked.on_behalf_of(whom),
            None => asked,
        };
        let Some(left) = left else {
            return set.ask_service(&asked);
        };
        let asked = asked.within(*left);
        let said = set.ask_service(&asked);
        *left = asked.left();
        said
    }))
}

fn subject(written: &ExampleSubject) -> Result<(SubjectKind, String), String> {
    let ExampleSubject {
        person,
        workload,
        public,
        groups,
    } = written;
    match (person, workload) {
        (None, None) if *public && groups.is_empty() => Ok((SubjectKind::Public, String::new())),
        _ if *public => Err("who is `public` has neither name nor groups".to_owned()),
        (Some(person), None) => Ok((SubjectKind::Person, person.clone())),
        (None, Some(workload)) if workload.starts_with("spiffe://") => match SpiffeId::parse(workload) {
            Ok(id) => Ok((SubjectKind::Workload, id.as_str().to_owned())),
            Err(error) => Err(format!("`{workload}`: {error}")),
        },
        (None, Some(workload)) => match workload.split_once('/') {
            Some((namespace, name)) => Ok((
                SubjectKind::ServiceAccount,
                format!("system:serviceaccount:{namespace}:{name}"),
            )),
            None => Err(format!(
                "`{workload}` is neither `<namespace>/<service account>` nor `spiffe://…`"
            )),
        },
        _ => Err("name either `person`, `workload` or `public`".to_owned()),
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

fn fold(reaches: Vec<(&Rule, Reach)>) -> Said {
    let mut said = Said {
        decided: Expected::Silent,
        why: None,
        owed: Obligations::default(),
        demanding: Vec::new(),
    };
    for (rule, reach) in reaches {
        match (rule.mode(), rule.effect(), reach) {
            (Mode::Shadow, _, _) | (_, _, Reach::Misses(_)) => {}
            (Mode::Enforce, Effect::Forbid, reach) => {
                said.decided = Expected::Forbid;
                said.why = match reach {
                    Reach::Fails(why) => Some(why),
                    Reach::Applies | Reach::Misses(_) => None,
                };
                return said;
            }
            (Mode::Enforce, Effect::Allow, reach) => {
                if reach == Reach::Applies {
                    said.decided = Expected::Allow;
                }
                // Also of one that cannot be told, as in every decision.
                if rule.demands() {
                    said.owed.join(rule.obligations());
                    said.demanding.push(rule.name().into());
                }
            }
        }
    }
    said
}
