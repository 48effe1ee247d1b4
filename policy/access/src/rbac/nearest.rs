//! The nearest role that would do.

use std::collections::HashSet;
use std::sync::Arc;

use model::decision::{Nearest, RuleKind};

use super::attributes::Attributes;
use super::compile::CompiledRole;
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

/// Roles that one refusal looks at, the narrowest first. What many thousand roles would allow is nobody's next step.
pub const LOOKED_AT: usize = 1_000;

/// A role that some binding names.
#[derive(Debug)]
pub(super) struct BoundRole {
    breadth: usize,
    label: Arc<str>,
    role: usize,
}

impl BoundRole {
    fn order(&self) -> (usize, &str) {
        (self.breadth, &self.label)
    }

    /// The roles that bindings name, by their places: each once, in the order in which they are suggested.
    pub(super) fn gather<'a>(named: impl Iterator<Item = (usize, &'a CompiledRole)>) -> Vec<Self> {
        let mut seen = HashSet::new();
        let mut gathered: Vec<Self> = named
            .filter(|(at, _)| seen.insert(*at))
            .map(|(at, role)| Self {
                breadth: breadth(role.rules.iter().map(super::matching::Rule::as_policy)),
                label: role.label.clone(),
                role: at,
            })
            .collect();
        gathered.sort_by(|a, b| a.order().cmp(&b.order()));
        gathered
    }
}

/// Two lists in order as one.
fn merged([a, b]: [&[BoundRole]; 2]) -> impl Iterator<Item = &BoundRole> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(first), Some(second)) if first.order() <= second.order() => a.next(),
        (Some(_), None) => a.next(),
        _ => b.next(),
    })
}

impl Snapshot {
    /// The role that is bound in the namespace or cluster-wide, would allow the question, may be seen, and grants the
    /// least besides: fewest rules, then by name. Failing that, the first of Kubernetes' own `view`, `edit` and `admin`
    /// that would allow it in a namespace: everybody knows these names, so they are named to people who may read no role.
    /// Other roles that nobody holds there are never suggested.
    ///
    /// The bound roles are gathered at the first question. A question then looks at each role once, however
    /// many bindings name it, and at no more than [`LOOKED_AT`] of them.
    pub fn nearest(&self, asked: &Attributes<'_>, may_see: impl Fn(Candidate<'_>) -> bool) -> Option<Nearest> {
        let verb = VerbMask::of(asked.verb);
        let would_do = |role: &CompiledRole| role.rules.iter().any(|rule| rule.allows(asked, verb, Bend::default()));
        let bound = merged(self.bound_roles(asked.namespace)).take(LOOKED_AT);
        let best = bound.filter_map(|bound| self.role(bound.role)).find(|role| {
            let candidate = Candidate {
                role: &role.label,
                namespace: Some(asked.namespace).filter(|_| role.label.starts_with("Role/")),
            };
            would_do(role) && may_see(candidate)
        });
        let namespace: Option<Arc<str>> = (!asked.namespace.is_empty()).then(|| asked.namespace.into());
        let role = best.or_else(|| {
            namespace.as_ref()?;
            self.user_facing_roles().find(|role| would_do(role))
        })?;
        Some(Nearest {
            role: role.label.clone(),
            namespace,
        })
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
