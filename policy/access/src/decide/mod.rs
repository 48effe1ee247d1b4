//! The whole decision: a Kubernetes call is allowed iff no forbid matches and RBAC or an allow rule allows it.
//!
//! Order: unknown verb, nested impersonation, forbids, discovery, RBAC, allow rules, and for silence the cluster's
//! mode. Obligations of every allow rule that applies are owed, whoever else allows; so are those of an allow rule of
//! which it cannot be told whether it applies, though it grants nothing.
//!
//! Invariants (POL-02, kept by properties in `tests`): order and doubles of rules mean nothing; an allow without
//! obligations never takes an allow away; a forbid never adds one; any matching forbid forbids.

mod behalf;
#[cfg(test)]
mod behalf_tests;
mod explain;
mod impersonation;
mod rules;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::decision::{
    Allowed, Denial, Denied, Obligations, RuleEffect, RuleKind, RuleRef, Unmet, UpstreamIdentity, Verdict,
};
use model::spiffe::SpiffeId;
use model::subject::{Subject, SubjectKind};
use model::time::Timestamp;

pub use self::behalf::{Acting, decide_on_behalf, decide_service_on_behalf};
pub use self::explain::{Explanation, RuleTrace, explain, nearest};
pub use self::impersonation::Impersonation;
use self::rules::{Rulings, ruled};
pub use self::service::{ServiceAllowed, ServiceDecision, ServiceQuery, decide_service};
use crate::rbac::{RoleError, Snapshot, SubjectView};
use crate::rule::{Call, RuleSet, Situation, Who, upstream_groups};

/// Why an allow rule about the caller grants nothing to whom the caller acts as.
const OF_THE_CALLER: &str = "it is about who acts as another";

/// What RBAC silence means (`clusters[].authorization`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authorization {
    /// The cluster is asked once before refusing.
    #[default]
    Confirm,
    /// Refused: ours alone counts.
    Enforce,
    /// Let through for the cluster to decide; forbids still forbid.
    Observe,
}

/// How fresh the snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may be decided on.
    Fresh,
    /// The cluster has not been heard of for so long; what it grants is not believed.
    Stale {
        /// Seconds since the last sign of life; none while not all of it has been listed once. Then nothing is decided.
        age_seconds: Option<u64>,
    },
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What is asked.
    pub call: Call<'a>,
    /// Who asks.
    pub subject: &'a Subject,
    /// As whom the subject asks to act.
    pub impersonation: Option<&'a Impersonation>,
    /// The circumstances.
    pub situation: &'a Situation<'a>,
    /// The cluster's RBAC.
    pub snapshot: &'a Snapshot,
    /// Whether that may be believed.
    pub freshness: Freshness,
    /// The rules in force.
    pub rules: &'a RuleSet,
    /// What RBAC silence means.
    pub authorization: Authorization,
    /// The most groups that are sent upstream; above it the call is refused, never cut.
    pub max_groups: usize,
}

/// A verdict and what the caller may do with it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Allowed, refused, or up to the cluster.
    pub verdict: Verdict,
    /// The same question gets the same answer until subject, rules or snapshot change: no condition and no `until` was
    /// asked.
    pub cacheable: bool,
    /// Bindings of the subject whose role could not be resolved.
    pub errors: Vec<RoleError>,
}

impl<'a> Query<'a> {
    fn fresh_snapshot(&self) -> Option<&'a Snapshot> {
        (self.freshness == Freshness::Fresh).then_some(self.snapshot)
    }

    /// Who acts: the subject, or whom it asks to be.
    fn acting(&self) -> Who<'a> {
        match self.impersonation {
            None => Who::of(self.subject),
            Some(wanted) => Who {
                kind: kind_of(&wanted.user),
                view: wanted.view(),
                uid: wanted.uid.as_deref(),
                // Nobody vouches for a name that was taken on, nor for its mail.
                issuer: "",
                email: None,
            },
        }
    }

    fn upstream(&self, further: &[Arc<str>]) -> UpstreamIdentity {
        let (user, uid, groups, extra) = match self.impersonation {
            Some(wanted) => (
                wanted.user.clone(),
                wanted.uid.clone(),
                &wanted.groups[..],
                wanted.extra.clone(),
            ),
            None => (
                self.subject.username().into(),
                self.subject.uid().map(Into::into),
                upstream_groups(self.subject),
                Arc::new(self.subject.extra().clone()),
            ),
        };
        let mut all: Vec<Arc<str>> = groups.to_vec();
        all.extend(further.iter().filter(|group| !groups.contains(group)).cloned());
        UpstreamIdentity {
            user,
            uid,
            groups: all.into(),
            extra,
        }
    }
}

/// Decides one call. Pure: the same query always gives the same decision.
#[must_use]
pub fn decide(query: &Query<'_>) -> Decision {
    let mut found = Rulings::default();
    let mut errors = Vec::new();
    let verdict = verdict(query, &mut found, &mut errors);
    Decision {
        cacheable: !found.is_momentary(),
        verdict: verdict.into_verdict(query, found),
        errors,
    }
}

/// The result before its rules are listed.
enum Outcome {
    Deny(Denial),
    Allow {
        decisive: Option<RuleRef>,
        act_as: Arc<[Arc<str>]>,
    },
    AskCluster(Denial),
}

fn verdict(query: &Query<'_>, found: &mut Rulings, errors: &mut Vec<RoleError>) -> Outcome {
    if query.call.asked.is_resource && query.call.asked.verb.is_empty() {
        return Outcome::Deny(Denial::UnknownVerb);
    }
    // Forbids are among what is not known yet, so that nobody's yes would do: no rule's, and not the cluster's own.
    if let Freshness::Stale { age_seconds: None } = query.freshness {
        return Outcome::Deny(Denial::StaleSnapshot { age_seconds: None });
    }
    let caller = Who::of(query.subject);
    let who = query.acting();
    // Whoever borrows a name keeps what is forbidden to them and demanded of them: neither can be left by `--as`.
    if let Some(wanted) = query.impersonation {
        let mut own = ruled(query, &caller, &query.call).of_a_caller(OF_THE_CALLER);
        let refused = impersonation::check(query, &caller, wanted, &mut own);
        found.take(own);
        if found.is_forbidden() {
            return Outcome::Deny(Denial::Forbidden);
        }
        if let Err(denial) = refused {
            return Outcome::Deny(denial);
        }
    }
    let said = ruled(query, &who, &query.call);
    let previous = std::mem::replace(found, said);
    found.take(previous);
    if found.is_forbidden() {
        return Outcome::Deny(Denial::Forbidden);
    }
    let outcome = allowed(query, &who, found, errors);
    match (&outcome, unmet(query.situation, found.obligations())) {
        (Outcome::Allow { .. } | Outcome::AskCluster(_), Some(unmet)) => Outcome::Deny(Denial::Obligation(unmet)),
        _ => outcome,
    }
}

fn allowed(query: &Query<'_>, who: &Who<'_>, found: &Rulings, errors: &mut Vec<RoleError>) -> Outcome {
    let by = |rule| Outcome::Allow {
        decisive: Some(rule),
        act_as: Arc::default(),
    };
    if is_discovery(&query.call) {
        return by(built_in("discovery"));
    }
    if let Some(snapshot) = query.fresh_snapshot() {
        let rbac = snapshot.decide(&who.view, &query.call.asked);
        errors.extend(rbac.errors);
        if let Some(rule) = rbac.allowed_by {
            return by(rule);
        }
    }
    if found.is_allowed() {
        return Outcome::Allow {
            decisive: None,
            act_as: act_as(query, who, found),
        };
    }
    let denial = match query.freshness {
        Freshness::Stale { age_seconds } => Denial::StaleSnapshot { age_seconds },
        Freshness::Fresh if who.view.has_groups() || who.kind != SubjectKind::Person => Denial::NoRule,
        Freshness::Fresh => Denial::NoGroups,
    };
    match query.authorization {
        Authorization::Confirm => Outcome::AskCluster(denial),
        Authorization::Enforce => Outcome::Deny(denial),
        Authorization::Observe => by(built_in("observe")),
    }
}

/// The groups that a call beyond RBAC takes on: those of the first rule with which the cluster would allow it, as far
/// as we know its RBAC, else those of the first rule that names any. Never more than one rule's.
fn act_as(query: &Query<'_>, who: &Who<'_>, found: &Rulings) -> Arc<[Arc<str>]> {
    let suffices = |groups: &&Arc<[Arc<str>]>| {
        let upstream = query.upstream(groups);
        let view = SubjectView::impersonated(who.view.username(), &upstream.groups);
        query.snapshot.decide(&view, &query.call.asked).allowed_by.is_some()
    };
    found
        .act_as()
        .iter()
        .find(suffices)
        .or_else(|| found.act_as().first())
        .cloned()
        .unwrap_or_default()
}

/// What whoever signed in may read: kubectl shows a refusal there as "Forbidden: unknown" and nothing else works.
fn is_discovery(call: &Call<'_>) -> bool {
    let below = |root: &str| {
        let rest = call.asked.path.strip_prefix(root);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !call.asked.is_resource
        && matches!(call.asked.verb, "get" | "head")
        && ["/api", "/apis", "/openapi", "/version"].into_iter().any(below)
}

/// Who goes by a name that was taken on: to RBAC it is all that there is of them.
fn kind_of(user: &str) -> SubjectKind {
    if crate::rbac::service_account(user).is_some() {
        SubjectKind::ServiceAccount
    } else if SpiffeId::parse(user).is_ok() {
        SubjectKind::Workload
    } else {
        SubjectKind::Person
    }
}

fn built_in(name: &'static str) -> RuleRef {
    rule_ref(RuleKind::BuiltIn, name)
}

fn rule_ref(kind: RuleKind, name: &'static str) -> RuleRef {
    RuleRef {
        kind,
        name: name.into(),
        namespace: None,
        role: None,
        effect: RuleEffect::Allow,
        why: None,
    }
}

/// The first obligation that is not met here. Recording is promised by the session, which knows whether it can.
fn unmet(situation: &Situation<'_>, owed: &Obligations) -> Option<Unmet> {
    let too_old = owed.max_auth_age_seconds.is_some_and(|limit| {
        situation
            .signed_in
            .is_none_or(|at| situation.now.since(at).as_secs() >= limit)
    });
    let too_weak = owed.acr.iter().any(|acr| situation.acr != Some(acr));
    if too_old || too_weak {
        return Some(Unmet::StepUp { acr: owed.acr.clone() });
    }
    if owed.reason && !situation.reason_stated {
        return Some(Unmet::Reason);
    }
    let approved = owed
        .approval_from
        .iter()
        .any(|group| situation.approved_by.contains(group));
    if !owed.approval_from.is_empty() && !approved {
        return Some(Unmet::Approval {
            from: owed.approval_from.clone(),
        });
    }
    None
}

impl Outcome {
    fn into_verdict(self, query: &Query<'_>, found: Rulings) -> Verdict {
        let obligations = found.obligations().clone();
        let not_after = not_after(query.situation, &found);
        let allow = |act_as: &[Arc<str>], rules| {
            let upstream = query.upstream(act_as);
            Allowed {
                upstream,
                obligations,
                rules,
                not_after,
            }
        };
        let deny = |denial, rules| Denied {
            denial,
            rules,
            nearest: None,
        };
        match self {
            Self::Deny(denial) => Verdict::Deny(deny(denial, found.into_rules(None))),
            Self::Allow { decisive, act_as } => limited(query, allow(&act_as, found.into_rules(decisive))),
            Self::AskCluster(denial) => {
                let rules = found.into_rules(None);
                let mut with_cluster = vec![rule_ref(RuleKind::Cluster, "subjectaccessreview")];
                with_cluster.extend(rules.iter().cloned());
                match limited(query, allow(&[], with_cluster)) {
                    Verdict::Allow(if_yes) => Verdict::AskCluster {
                        if_yes,
                        if_no: deny(denial, rules),
                    },
                    other => other,
                }
            }
        }
    }
}

/// Refuses what would have to be cut: fewer groups upstream are other rights.
fn limited(query: &Query<'_>, allowed: Allowed) -> Verdict {
    let have = allowed.upstream.groups.len();
    if have <= query.max_groups {
        return Verdict::Allow(allowed);
    }
    let denial = Denial::TooManyGroups {
        have,
        limit: query.max_groups,
    };
    Verdict::Deny(Denied {
        denial,
        rules: allowed.rules,
        nearest: None,
    })
}

/// An allow ends with the first allow rule that it stands on, and with the age of sign-in that one of them demands.
fn not_after(situation: &Situation<'_>, found: &Rulings) -> Timestamp {
    let limit = found
        .obligations()
        .max_auth_age_seconds
        .map(std::time::Duration::from_secs);
    let by_age = limit.and_then(|limit| situation.signed_in.map(|at| at.plus(limit)));
    [found.until(), by_age]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Timestamp::MAX)
}
