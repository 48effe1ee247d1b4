//! What was decided and why. A decision carries every rule that mattered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a rule did in one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleEffect {
    /// It allowed the call.
    Allow,
    /// It forbade the call, or could not be evaluated and therefore forbids.
    Forbid,
    /// It is in shadow mode: it would have allowed.
    WouldAllow,
    /// It is in shadow mode: it would have forbidden.
    WouldForbid,
}

/// What sort of rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleKind {
    /// A `ClusterRoleBinding` and the role it names.
    ClusterRoleBinding,
    /// A `RoleBinding` and the role it names.
    RoleBinding,
    /// An `AccessRule` of ours.
    AccessRule,
    /// A rule that is part of the gateway, such as discovery for whoever is signed in.
    BuiltIn,
    /// The cluster itself said yes (SubjectAccessReview, mode `confirm`).
    Cluster,
}

/// Names a rule that mattered, so that a person can find it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// See [`RuleKind`].
    pub kind: RuleKind,
    /// Its name.
    pub name: Arc<str>,
    /// The namespace of a namespaced rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// For bindings: `ClusterRole/<name>` or `Role/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Arc<str>>,
    /// What it did.
    pub effect: RuleEffect,
    /// Why it did so where that is not plain, such as an evaluation error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RuleKind::ClusterRoleBinding => "ClusterRoleBinding",
            RuleKind::RoleBinding => "RoleBinding",
            RuleKind::AccessRule => "AccessRule",
            RuleKind::BuiltIn => "built-in",
            RuleKind::Cluster => "cluster",
        };
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name)?,
            None => write!(f, "{kind} {}", self.name)?,
        }
        if let Some(role) = &self.role {
            write!(f, " → {role}")?;
        }
        Ok(())
    }
}

/// Who the call goes upstream as: the values of the impersonation headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamIdentity {
    /// `Impersonate-User`; never empty.
    pub user: Arc<str>,
    /// `Impersonate-Uid`.
    pub uid: Option<Arc<str>>,
    /// One `Impersonate-Group` line each.
    pub groups: Arc<[Arc<str>]>,
    /// `Impersonate-Extra-<key>` lines.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

/// What an allowed call still owes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// The session must be recorded, or it does not start.
    pub record: bool,
    /// A reason must have been stated.
    pub reason: bool,
    /// Sign-in must be at most this many seconds old.
    pub max_auth_age_seconds: Option<u64>,
    /// Sign-in must have had each of these authentication contexts (`acr`). It has one, so that two are never met.
    pub acr: Vec<Arc<str>>,
    /// Somebody of these groups must have approved.
    pub approval_from: Vec<Arc<str>>,
    /// A session in which nothing passes for so many seconds ends.
    pub idle_seconds: Option<u64>,
    /// A session ends after so many seconds, whatever passes.
    pub longest_seconds: Option<u64>,
}

impl Obligations {
    /// Takes on what is owed besides: the stricter of both in each part.
    pub fn join(&mut self, other: &Self) {
        let Self {
            record,
            reason,
            max_auth_age_seconds,
            acr,
            approval_from,
            idle_seconds,
            longest_seconds,
        } = other;
        self.record |= record;
        self.reason |= reason;
        self.max_auth_age_seconds = least(self.max_auth_age_seconds, *max_auth_age_seconds);
        self.idle_seconds = least(self.idle_seconds, *idle_seconds);
        self.longest_seconds = least(self.longest_seconds, *longest_seconds);
        for (own, others) in [(&mut self.acr, acr), (&mut self.approval_from, approval_from)] {
            for text in others {
                if !own.contains(text) {
                    own.push(text.clone());
                }
            }
        }
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Why policy refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A forbid rule matched, or could not be evaluated.
    Forbidden,
    /// Nothing allows it.
    NoRule,
    /// Nothing allows it and the subject has no group at all: most likely the mapping drops them.
    NoGroups,
    /// The request's verb is not known, so nobody can have allowed it (RequestInfo gives it an empty verb).
    UnknownVerb,
    /// The caller may not act as the user, group, uid or extra asked for.
    MayNotImpersonate {
        /// What was asked for, such as `group system:masters`.
        what: String,
    },
    /// No rule with `onBehalfOf` lets this workload do it for the person.
    NoOnBehalfOf {
        /// The workload's user name.
        workload: String,
    },
    /// The name is reserved: it may never come from outside.
    ReservedName {
        /// The name.
        name: String,
    },
    /// More groups than are sent upstream; they are never cut.
    TooManyGroups {
        /// How many there are.
        have: usize,
        /// The configured limit.
        limit: usize,
    },
    /// An obligation is not met.
    Obligation(Unmet),
    /// The cluster's objects have not been heard of for too long to decide on them.
    StaleSnapshot {
        /// Seconds since the last sign of life; `None` when they have never been listed as a whole.
        age_seconds: Option<u64>,
    },
    /// The cluster was asked and said no.
    ClusterSaysNo {
        /// Its reason, if it gave one.
        reason: Option<String>,
    },
    /// The cluster was asked and did not answer in time.
    ClusterSilent,
}

/// Which obligation is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A reason must be stated.
    Reason,
    /// The session must be recorded and cannot be.
    Recording,
    /// What enters must be recorded, and this is no session: a plain request through a `proxy` subresource.
    NoSession,
    /// Sign-in is too old or not strong enough.
    StepUp {
        /// The ways of proving who one is that are owed, all of them; empty when any does.
        acr: Vec<Arc<str>>,
    },
    /// Approval is needed from one of these groups.
    Approval {
        /// The groups.
        from: Vec<Arc<str>>,
    },
}

/// The nearest role that would have allowed the call, which the caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Such as `ClusterRole/edit`.
    pub role: Arc<str>,
    /// Where it would have to be bound; `None` means cluster-wide.
    pub namespace: Option<Arc<str>>,
}

/// A call that policy allows.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Who it goes out as.
    pub upstream: UpstreamIdentity,
    /// What is still owed.
    pub obligations: Obligations,
    /// Every rule that mattered, the deciding ones first.
    pub rules: Vec<RuleRef>,
    /// The decision holds no longer than this.
    pub not_after: Timestamp,
}

/// A call that policy refuses.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Why.
    pub denial: Denial,
    /// Every rule that mattered, the deciding ones first.
    pub rules: Vec<RuleRef>,
    /// A role that would do, if one may be named.
    pub nearest: Option<Nearest>,
}

/// The result of one evaluation.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Allowed.
    Allow(Allowed),
    /// Refused.
    Deny(Denied),
    /// RBAC as we know it is silent and no rule forbids: under `authorization: confirm` the cluster is asked once by
    /// SubjectAccessReview before refusing. The two results stand ready for its answer.
    AskCluster {
        /// What holds when the cluster says yes.
        if_yes: Allowed,
        /// What holds when it says no or does not answer.
        if_no: Denied,
    },
}
