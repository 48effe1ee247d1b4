//! The nearest role that would do.

use std::sync::Arc;

use model::decision::{Nearest, RuleKind};

use super::attributes::Attributes;
use super::matching::VerbMask;
use super::snapshot::Snapshot;
use super::subject::SubjectView;
use crate::mutant::Bend;

/// A role that a refusal may want to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// `ClusterRole/<name>` or `Role/<name>`.
    pub role: &'a str,
    /// The namespace of a `Role`; `None` for a cluster role.
    pub namespace: Option<&'a str>,
}

impl Snapshot {
    /// The role that is bound in the namespace or cluster-wide, would allow the question, may be seen, and grants the
    /// least besides: fewest rules, then by name. Failing that, the first of Kubernetes' own `view`, `edit` and `admin`
    /// that would allow it in a namespace: everybody knows these names, so they are named to people who may read no role.
    /// Other roles that nobody holds there are never suggested.
    pub fn nearest(&self, asked: &Attributes<'_>, may_see: impl Fn(Candidate<'_>) -> bool) -> Option<Nearest> {
        let verb = VerbMask::of(asked.verb);
        let mut best: Option<(usize, Arc<str>)> = None;
        for (binding, role) in self.bindings_in(asked.namespace) {
            let breadth = breadth(role.rules.iter().map(super::matching::Rule::as_policy));
            if best
                .as_ref()
                .is_some_and(|(least, label)| (*least, label) <= (breadth, &role.label))
            {
                continue;
            }
            let local = role.label.starts_with("Role/");
            let candidate = Candidate {
                role: &role.label,
                namespace: binding.namespace.as_deref().filter(|_| local),
            };
            if role.rules.iter().any(|rule| rule.allows(asked, verb, Bend::default())) && may_see(candidate) {
                best = Some((breadth, role.label.clone()));
            }
        }
        let namespace: Option<Arc<str>> = (!asked.namespace.is_empty()).then(|| asked.namespace.into());
        let role = best.map(|(_, role)| role).or_else(|| {
            namespace.as_ref()?;
            let role = self
                .user_facing_roles()
                .find(|role| role.rules.iter().any(|rule| rule.allows(asked, verb, Bend::default())))?;
            Some(role.label.clone())
        })?;
        Some(Nearest { role, namespace })
    }

    /// Whether RBAC lets the subject read a role, and so hear of it.
    #[must_use]
    pub fn may_see(&self, subject: &SubjectView<'_>, candidate: Candidate<'_>) -> bool {
        let (resource, name) = match candidate.role.split_once('/') {
            Some(("ClusterRole", name)) => ("clusterroles", name),
            Some((_, name)) => ("roles", name),
            None => return false,
        };
        let asked = Attributes {
            verb: "get",
            group: "rbac.authorization.k8s.io",
            resource,
            subresource: "",
            namespace: candidate.namespace.unwrap_or_default(),
            name,
            path: "",
            is_resource: true,
        };
        self.decide(subject, &asked).allowed_by.is_some()
    }
}

/// How much a role grants, roughly: every entry counts, a star counts as very many.
fn breadth<'a>(rules: impl Iterator<Item = &'a super::objects::PolicyRule>) -> usize {
    let weigh = |list: &[Arc<str>]| -> usize {
        list.iter()
            .map(|entry| if entry.contains('*') { 1_000 } else { 1 })
            .sum()
    };
    rules
        .map(|rule| weigh(&rule.verbs) * (weigh(&rule.resources) + weigh(&rule.non_resource_urls)).max(1))
        .fold(0, usize::saturating_add)
}

/// Whether a rule's kind is one of RBAC's own.
#[must_use]
pub const fn is_binding(kind: RuleKind) -> bool {
    matches!(kind, RuleKind::ClusterRoleBinding | RuleKind::RoleBinding)
}
