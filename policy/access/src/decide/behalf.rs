//! A workload acts for somebody: allowed iff they may do it themselves, a rule with `onBehalfOf` lets the workload do it for
//! them, and nothing forbids it to them or to any workload through which the call comes.
//!
//! The rule is asked for who calls now. Those before were let call the next one by rules of their own, each at its own hop; to ask
//! them again would mean that whatever a service calls has to be granted to each service before it, which then could call it, too.
//! What is forbidden to them, or demanded of them, counts at every hop: nobody gets round a forbid through another service.
//!
//! Invariants, kept by properties in `behalf_tests`: never more than the person alone, never more than the rule, and a forbid adds nothing.

use model::decision::Denial;
use model::subject::{Subject, SubjectKind};

use super::rules::{Rulings, ruled_for, ruled_service};
use super::service::{decided, denial, nobody};
use super::{Decision, Outcome, Query, ServiceDecision, ServiceQuery, verdict};
use crate::rbac::{SubjectView, service_account};
use crate::rule::{Situation, Who};

/// Through which workloads a call comes.
#[derive(Clone, Copy, Debug)]
pub struct Acting<'a> {
    /// Who calls now, by its own proof.
    pub workload: &'a Subject,
    /// User names of the workloads through which that one was called.
    pub through: &'a [&'a str],
}

/// Why an allow rule about a workload grants nothing where it acts for somebody.
const IN_PERSON: &str = "it is about what the workload does as itself";

/// Decides one Kubernetes call on behalf of the query's subject. It goes upstream as the subject.
///
/// The situation is that of the call, so its address is the workload's: to conditions about the person it is unknown.
#[must_use]
pub fn decide_on_behalf(query: &Query<'_>, acting: &Acting<'_>) -> Decision {
    let person = Who::of(query.subject);
    let ask = |who: &Who<'_>, whom: Option<&Who<'_>>| ruled_for(query, who, whom, &query.call);
    let (mut found, refused) = let_act(ask, acting, &person);
    let mut errors = Vec::new();
    let situation = of_the_person(query.situation);
    let own = Query {
        situation: &situation,
        ..*query
    };
    let outcome = verdict(&own, &mut found, &mut errors);
    let refused = match query.impersonation {
        Some(_) => Some(Denial::MayNotImpersonate {
            what: "another one on somebody's behalf".to_owned(),
        }),
        None => refused,
    };
    let outcome = match (outcome, refused) {
        // What nobody may, and what nobody knows, is told first.
        (Outcome::Deny(told @ (Denial::Forbidden | Denial::UnknownVerb | Denial::StaleSnapshot { .. })), _) => {
            Outcome::Deny(told)
        }
        (_, Some(refused)) => Outcome::Deny(refused),
        (outcome, None) => outcome,
    };
    Decision {
        cacheable: !found.is_momentary(),
        verdict: outcome.into_verdict(&own, found),
        errors,
    }
}

/// Decides one call of a service on behalf of the query's subject; of nobody, where there is none, it refuses.
///
/// The situation is that of the call, so its address is the workload's: to conditions about the person it is unknown.
#[must_use]
pub fn decide_service_on_behalf(query: &ServiceQuery<'_>, acting: &Acting<'_>) -> ServiceDecision {
    let person = query.subject.map_or_else(nobody, Who::of);
    let ask = |who: &Who<'_>, whom: Option<&Who<'_>>| ruled_service(query, who, whom);
    let (said, refused) = let_act(ask, acting, &person);
    let situation = of_the_person(query.situation);
    let own = ServiceQuery {
        situation: &situation,
        ..*query
    };
    let mut found = ruled_service(&own, &person, None);
    found.take(said);
    let denial = match (denial(&own, &person, &found), refused) {
        (Some(Denial::Forbidden), _) => Some(Denial::Forbidden),
        (_, Some(refused)) => Some(refused),
        (denial, None) => denial,
    };
    decided(&own, found, denial)
}

/// What the rules say of the workloads, and why the one that calls may not act for the person.
fn let_act(
    ask: impl Fn(&Who<'_>, Option<&Who<'_>>) -> Rulings,
    acting: &Acting<'_>,
    person: &Who<'_>,
) -> (Rulings, Option<Denial>) {
    let caller = Who::of(acting.workload);
    let said = ask(&caller, Some(person));
    let is_let = said.is_allowed();
    let mut found = ask(&caller, None).of_a_caller(IN_PERSON);
    found.take(said);
    for name in acting.through {
        let before = by_name(name);
        found.take(ask(&before, None).of_a_caller(IN_PERSON));
        found.take(ask(&before, Some(person)).of_a_caller(IN_PERSON));
    }
    let refused = (!is_let).then(|| Denial::NoOnBehalfOf {
        workload: acting.workload.username().to_owned(),
    });
    (found, refused)
}

/// A workload of which an assertion tells the name.
fn by_name(username: &str) -> Who<'_> {
    Who {
        kind: match service_account(username) {
            Some(_) => SubjectKind::ServiceAccount,
            None => SubjectKind::Workload,
        },
        view: SubjectView::impersonated(username, &[]),
        uid: None,
        issuer: "",
        email: None,
    }
}

/// From where the person called at first nobody knows here: a condition that needs it fails closed.
fn of_the_person<'a>(situation: &Situation<'a>) -> Situation<'a> {
    Situation {
        source: None,
        ..situation.clone()
    }
}
