//! RBAC objects compiled for decisions: from a user or group straight to the bindings that name it.
//!
//! Immutable: a change makes a new snapshot, which shares with the one before it whatever has stayed the same, so that one
//! binding of ten thousand costs its own namespace's compilation. Bindings are kept in the order of their names, so that the
//! binding that is reported for an allow does not depend on the order in which a cluster listed them.

use std::collections::HashMap;
use std::sync::Arc;

use model::decision::{RuleEffect, RuleRef};

use super::attributes::Attributes;
use super::compile::{CompiledBinding, CompiledRole, Roles, Shard};
use super::matching::VerbMask;
use super::nearest::BoundRole;
use super::objects::{Binding, Objects};
use super::subject::SubjectView;
use crate::mutant::{Bend, Mutant};

/// The compiled RBAC objects of one cluster.
#[derive(Debug, Default)]
pub struct Snapshot {
    roles: Arc<Roles>,
    cluster: Arc<Shard>,
    namespaces: HashMap<Arc<str>, Arc<Shard>>,
}

/// What RBAC says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RbacVerdict {
    /// The binding that allows it; `None` is silence, which is no refusal by itself.
    pub allowed_by: Option<RuleRef>,
    /// Bindings of the subject whose role could not be resolved, in front of the one that allows.
    pub errors: Vec<RoleError>,
}

/// A binding that applies to the subject but grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{binding}: {role} {problem}")]
pub struct RoleError {
    /// The binding.
    pub binding: RuleRef,
    /// The role it names, such as `ClusterRole/view`.
    pub role: Arc<str>,
    /// What is wrong with that.
    pub problem: RoleProblem,
}

/// Why a role could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RoleProblem {
    /// There is no such role.
    #[error("does not exist")]
    Missing,
    /// A cluster role binding cannot name a role of a namespace.
    #[error("is a role of a namespace, which a cluster role binding cannot name")]
    NoNamespace,
    /// The kind is neither `Role` nor `ClusterRole`.
    #[error("is of a kind that cannot be bound")]
    UnknownKind,
}

impl Snapshot {
    /// Compiles the objects. Objects that make no sense are kept as errors of the bindings concerned.
    #[must_use]
    pub fn new(objects: &Objects) -> Self {
        Self::default().next(objects)
    }

    /// The same for the next state of the objects: what is shared with the state before (the very same references) is not
    /// compiled again. Exactly what [`Snapshot::new`] makes of them.
    #[must_use]
    pub fn next(&self, objects: &Objects) -> Self {
        let roles = Roles::next(&self.roles, objects);
        let before = |shard: Option<&Arc<Shard>>, of: &[&Arc<Binding>]| {
            let same = shard.filter(|shard| Arc::ptr_eq(&roles, &self.roles) && shard.is_of(of));
            same.map(Arc::clone)
        };
        let mut cluster: Vec<&Arc<Binding>> = objects.cluster_role_bindings.iter().collect();
        cluster.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let cluster =
            before(Some(&self.cluster), &cluster).unwrap_or_else(|| Arc::new(Shard::new(&cluster, None, &roles)));
        // A role binding without a namespace would reach the whole cluster.
        let mut local: Vec<(&Arc<str>, &Arc<Binding>)> = objects
            .role_bindings
            .iter()
            .filter_map(|binding| Some((binding.namespace()?, binding)))
            .collect();
        local.sort_by(|(a_in, a), (b_in, b)| (a_in, &a.metadata.name).cmp(&(b_in, &b.metadata.name)));
        let namespaces = local.chunk_by(|(a, _), (b, _)| a == b).filter_map(|chunk| {
            let (namespace, _) = chunk.first()?;
            let of: Vec<_> = chunk.iter().map(|(_, binding)| *binding).collect();
            let shard = before(self.namespaces.get(*namespace), &of)
                .unwrap_or_else(|| Arc::new(Shard::new(&of, Some(namespace), &roles)));
            Some((Arc::clone(namespace), shard))
        });
        let namespaces = namespaces.collect();
        Self {
            cluster,
            namespaces,
            roles,
        }
    }

    /// Decides one question: allowed by the first binding in the order of names, cluster-wide ones first.
    #[must_use]
    pub fn decide(&self, subject: &SubjectView<'_>, asked: &Attributes<'_>) -> RbacVerdict {
        self.decide_bent(subject, asked, Bend::default())
    }

    /// The same with one deliberate mistake.
    #[cfg(feature = "generate")]
    #[must_use]
    pub fn decide_mistaken(&self, subject: &SubjectView<'_>, asked: &Attributes<'_>, mutant: Mutant) -> RbacVerdict {
        self.decide_bent(subject, asked, Bend::by(mutant))
    }

    fn decide_bent(&self, subject: &SubjectView<'_>, asked: &Attributes<'_>, bend: Bend) -> RbacVerdict {
        let verb = VerbMask::of(asked.verb);
        let mut errors = Vec::new();
        for binding in self.applying(subject, asked.namespace, bend) {
            match binding.resolved(bend) {
                Ok(role) => {
                    let rules = self
                        .roles
                        .get(role)
                        .map(|role| role.rules.as_slice())
                        .unwrap_or_default();
                    if rules.iter().any(|rule| rule.allows(asked, verb, bend)) {
                        return RbacVerdict {
                            allowed_by: Some(binding.as_ref(RuleEffect::Allow)),
                            errors,
                        };
                    }
                }
                Err(problem) => errors.push(binding.error(problem)),
            }
        }
        RbacVerdict {
            allowed_by: None,
            errors,
        }
    }

    /// Whether a rule that names the object in `resourceNames` allows it: for reserved names a general right is not
    /// enough.
    #[must_use]
    pub fn decide_by_exact_name(&self, subject: &SubjectView<'_>, asked: &Attributes<'_>) -> Option<RuleRef> {
        let verb = VerbMask::of(asked.verb);
        let bend = Bend::default();
        let grants = |binding: &&CompiledBinding| {
            let role = binding.resolved(bend).ok().and_then(|role| self.roles.get(role));
            role.is_some_and(|role| {
                role.rules
                    .iter()
                    .any(|rule| rule.names(asked.name) && rule.allows(asked, verb, bend))
            })
        };
        let mut applying = self.applying(subject, asked.namespace, bend).into_iter();
        applying.find(grants).map(|binding| binding.as_ref(RuleEffect::Allow))
    }

    /// Every binding that allows it, for explanations.
    #[must_use]
    pub fn all_that_allow(&self, subject: &SubjectView<'_>, asked: &Attributes<'_>) -> Vec<RuleRef> {
        let verb = VerbMask::of(asked.verb);
        let bend = Bend::default();
        let covers = |role: usize| {
            self.roles
                .get(role)
                .is_some_and(|role| role.rules.iter().any(|rule| rule.allows(asked, verb, bend)))
        };
        let applying = self.applying(subject, asked.namespace, bend).into_iter();
        applying
            .filter(|binding| binding.resolved(bend).is_ok_and(covers))
            .map(|binding| binding.as_ref(RuleEffect::Allow))
            .collect()
    }

    /// Every binding that names the subject, cluster-wide ones first, then by namespace; with the group by which it does
    /// (`None`: by the user's own name). Also those whose role does not exist.
    #[must_use]
    pub fn bindings_of(&self, subject: &SubjectView<'_>) -> Vec<(RuleRef, Option<Arc<str>>)> {
        let mut namespaces: Vec<_> = self.namespaces.iter().collect();
        namespaces.sort_by_key(|(namespace, _)| *namespace);
        std::iter::once(&self.cluster)
            .chain(namespaces.into_iter().map(|(_, shard)| shard))
            .flat_map(|shard| shard.naming(subject))
            .map(|(binding, by)| (binding.as_ref(RuleEffect::Allow), by))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn shares(&self, namespace: &str, other: &Self) -> bool {
        let of = |snapshot: &Self| snapshot.namespaces.get(namespace).map(Arc::as_ptr);
        of(self).is_some() && of(self) == of(other)
    }

    pub(super) fn role(&self, at: usize) -> Option<&CompiledRole> {
        self.roles.get(at)
    }

    /// The bound roles of the whole cluster and those of a namespace, each list in the order of suggestion.
    pub(super) fn bound_roles(&self, namespace: &str) -> [&[BoundRole]; 2] {
        let here = self.namespaces.get(namespace);
        [
            self.cluster.bound_roles(&self.roles),
            here.map_or(&[], |shard| shard.bound_roles(&self.roles)),
        ]
    }

    /// Whether anybody has asked for the nearest role yet: it is to be asked for final refusals alone.
    #[must_use]
    pub fn has_suggested(&self) -> bool {
        self.cluster.has_suggested()
    }

    pub(super) fn user_facing_roles(&self) -> impl Iterator<Item = &CompiledRole> {
        self.roles.user_facing()
    }

    /// The bindings of the subject that count in a namespace, in order and each once; cluster-wide ones first.
    fn applying(&self, subject: &SubjectView<'_>, namespace: &str, bend: Bend) -> Vec<&CompiledBinding> {
        let mut found = Vec::new();
        if !bend.is(Mutant::NoClusterRoleBinding) {
            self.cluster.applying(subject, bend, &mut found);
        }
        if !bend.is(Mutant::NoRoleBinding) {
            if bend.is(Mutant::RoleBindingEverywhere) {
                let mut everywhere: Vec<_> = self.namespaces.iter().collect();
                everywhere.sort_by_key(|(namespace, _)| *namespace);
                everywhere
                    .into_iter()
                    .for_each(|(_, shard)| shard.applying(subject, bend, &mut found));
            } else if let Some(shard) = self.namespaces.get(namespace) {
                shard.applying(subject, bend, &mut found);
            }
        }
        found
    }
}
