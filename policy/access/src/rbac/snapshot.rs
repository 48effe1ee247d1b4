//! RBAC objects compiled for decisions: from a user or group straight to the bindings that name it.
//!
//! Immutable: a change makes a new snapshot. Bindings are kept in the order of their names, so that the binding that
//! is reported for an allow does not depend on the order in which a cluster listed them.

use std::collections::HashMap;
use std::sync::Arc;

use model::decision::{RuleEffect, RuleKind, RuleRef};

use super::attributes::Attributes;
use super::matching::{Rule, VerbMask};
use super::objects::{Binding, BoundSubject, Objects, PolicyRule, Role};
use super::subject::{SERVICE_ACCOUNT_PREFIX, SubjectView};
use crate::mutant::{Bend, Mutant};

/// The compiled RBAC objects of one cluster.
#[derive(Debug, Default)]
pub struct Snapshot {
    roles: Vec<CompiledRole>,
    bindings: Vec<CompiledBinding>,
    cluster: SubjectIndex,
    namespaces: HashMap<Arc<str>, SubjectIndex>,
    /// Where Kubernetes' user-facing roles stand in `roles`, in the order of [`USER_FACING`].
    user_facing: [Option<usize>; USER_FACING.len()],
}

/// The cluster roles that every cluster has for people, the one that grants least first (Kubernetes documentation, "Using
/// RBAC Authorization", user-facing roles). `cluster-admin` is not among them: it is no answer to a refusal.
const USER_FACING: [&str; 3] = ["view", "edit", "admin"];

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

#[derive(Debug)]
pub(super) struct CompiledRole {
    pub(super) label: Arc<str>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug)]
pub(super) struct CompiledBinding {
    pub(super) kind: RuleKind,
    pub(super) name: Arc<str>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) role_label: Arc<str>,
    pub(super) role: Result<usize, RoleProblem>,
    /// What a mistaken evaluator would resolve instead; only the mutants look at it.
    mistaken: Option<(Mutant, usize)>,
}

/// From subjects to the bindings that name them, each list ascending.
#[derive(Debug, Default)]
struct SubjectIndex {
    users: HashMap<Box<str>, Vec<(usize, Clause)>>,
    groups: HashMap<Box<str>, Vec<usize>>,
}

/// By which clause a binding names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    User,
    ServiceAccount,
    LocalServiceAccount,
}

impl Snapshot {
    /// Compiles the objects. Objects that make no sense are kept as errors of the bindings concerned.
    #[must_use]
    pub fn new(objects: Objects) -> Self {
        let mut snapshot = Self::default();
        let mut found = RoleTable::default();
        for (roles, kind) in [(objects.cluster_roles, "ClusterRole"), (objects.roles, "Role")] {
            for role in roles {
                snapshot.add_role(role, kind, &mut found);
            }
        }
        let mut cluster = objects.cluster_role_bindings;
        cluster.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for binding in cluster {
            snapshot.add_binding(binding, RuleKind::ClusterRoleBinding, &found);
        }
        let mut local = objects.role_bindings;
        local.sort_by(|a, b| (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name)));
        for binding in local {
            snapshot.add_binding(binding, RuleKind::RoleBinding, &found);
        }
        snapshot
    }

    fn add_role(&mut self, role: Role, kind: &str, found: &mut RoleTable) {
        let at = self.roles.len();
        let key = match (kind, role.metadata.namespace) {
            ("ClusterRole", _) => None,
            (_, Some(namespace)) if !namespace.is_empty() => Some(namespace),
            // A role of no namespace cannot be stored in a cluster, and must not pass for a cluster role.
            _ => return,
        };
        // The first of a name wins, as in a look-up through a list; a cluster never has two.
        if key.is_none()
            && let Some(place) = USER_FACING.iter().position(|name| **name == *role.metadata.name)
            && let Some(slot) = self.user_facing.get_mut(place)
        {
            slot.get_or_insert(at);
        }
        found.by_name.entry((key, role.metadata.name.clone())).or_insert(at);
        self.roles.push(CompiledRole {
            label: format!("{kind}/{}", role.metadata.name).into(),
            rules: role.rules.into_iter().map(Rule::new).collect(),
        });
    }

    fn add_binding(&mut self, binding: Binding, kind: RuleKind, found: &RoleTable) {
        let at = self.bindings.len();
        let namespace = binding.metadata.namespace.filter(|namespace| !namespace.is_empty());
        let namespace = match (kind, namespace) {
            (RuleKind::RoleBinding, Some(namespace)) => Some(namespace),
            // It would otherwise reach the whole cluster.
            (RuleKind::RoleBinding, None) => return,
            _ => None,
        };
        let index = match &namespace {
            None => &mut self.cluster,
            Some(namespace) => self.namespaces.entry(namespace.clone()).or_default(),
        };
        for subject in &binding.subjects {
            index.add(subject, namespace.as_deref(), at);
        }
        let role = found.resolve(&binding.role_ref.kind, &binding.role_ref.name, namespace.as_ref());
        self.bindings.push(CompiledBinding {
            kind,
            name: binding.metadata.name,
            role_label: format!("{}/{}", binding.role_ref.kind, binding.role_ref.name).into(),
            mistaken: found.mistaken(role, &binding.role_ref.name, namespace.is_some()),
            role,
            namespace,
        });
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

    /// Every rule that the subject holds in a namespace (empty: cluster-wide alone), with its binding.
    pub fn rules_of<'s>(
        &'s self,
        subject: &SubjectView<'_>,
        namespace: &str,
    ) -> impl Iterator<Item = (RuleRef, &'s PolicyRule)> {
        self.applying(subject, namespace, Bend::default())
            .into_iter()
            .flat_map(|binding| {
                let role = binding
                    .resolved(Bend::default())
                    .ok()
                    .and_then(|role| self.roles.get(role));
                let rules = role.map(|role| role.rules.as_slice()).unwrap_or_default();
                rules
                    .iter()
                    .map(|rule| (binding.as_ref(RuleEffect::Allow), rule.as_policy()))
            })
    }

    /// Whether any binding names the group; groups that none names change nothing upstream.
    #[must_use]
    pub fn binds_group(&self, group: &str) -> bool {
        std::iter::once(&self.cluster)
            .chain(self.namespaces.values())
            .any(|index| index.groups.contains_key(group))
    }

    pub(super) fn bindings_in(&self, namespace: &str) -> impl Iterator<Item = (&CompiledBinding, &CompiledRole)> {
        let here = move |binding: &&CompiledBinding| binding.namespace.as_deref().is_none_or(|own| own == namespace);
        self.bindings.iter().filter(here).filter_map(|binding| {
            let role = binding.role.ok().and_then(|role| self.roles.get(role))?;
            Some((binding, role))
        })
    }

    pub(super) fn user_facing_roles(&self) -> impl Iterator<Item = &CompiledRole> {
        let known = self.user_facing.iter().flatten();
        known.filter_map(|at| self.roles.get(*at))
    }

    /// The bindings of the subject that count in a namespace, in order and each once.
    fn applying(&self, subject: &SubjectView<'_>, namespace: &str, bend: Bend) -> Vec<&CompiledBinding> {
        let mut found = Vec::new();
        if !bend.is(Mutant::NoClusterRoleBinding) {
            self.cluster.collect(subject, bend, &mut found);
        }
        if !bend.is(Mutant::NoRoleBinding) {
            if bend.is(Mutant::RoleBindingEverywhere) {
                self.namespaces
                    .values()
                    .for_each(|index| index.collect(subject, bend, &mut found));
            } else if let Some(index) = self.namespaces.get(namespace) {
                index.collect(subject, bend, &mut found);
            }
        }
        // Cluster-wide bindings were numbered first, so this is the order of visits too.
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.bindings.get(at)).collect()
    }
}

impl SubjectIndex {
    fn add(&mut self, subject: &BoundSubject, own_namespace: Option<&str>, at: usize) {
        let name = subject.name.as_ref();
        match subject.kind.as_ref() {
            "User" => self.users.entry(name.into()).or_default().push((at, Clause::User)),
            "Group" => self.groups.entry(name.into()).or_default().push(at),
            "ServiceAccount" => {
                let given = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty());
                let clause = if given.is_some() {
                    Clause::ServiceAccount
                } else {
                    Clause::LocalServiceAccount
                };
                // Without any namespace it matches nobody.
                let Some(namespace) = given.or(own_namespace) else {
                    return;
                };
                let username = format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}");
                self.users.entry(username.into()).or_default().push((at, clause));
            }
            _ => {}
        }
    }

    fn collect(&self, subject: &SubjectView<'_>, bend: Bend, found: &mut Vec<usize>) {
        let counts = |clause: &Clause| match clause {
            Clause::User => !bend.is(Mutant::NoUser),
            Clause::ServiceAccount => !bend.is(Mutant::NoServiceAccount),
            Clause::LocalServiceAccount => !bend.is(Mutant::NoLocalServiceAccount),
        };
        let users = self.users.get(subject.username()).into_iter().flatten();
        found.extend(users.filter(|(_, clause)| counts(clause)).map(|(at, _)| at));
        for group in subject.groups() {
            if !bend.is(Mutant::NoGroup) {
                found.extend(self.groups.get(group).into_iter().flatten());
            }
            if bend.is(Mutant::GroupNamedAsUser) {
                found.extend(self.users.get(group).into_iter().flatten().map(|(at, _)| at));
            }
        }
    }
}

impl CompiledBinding {
    fn resolved(&self, bend: Bend) -> Result<usize, RoleProblem> {
        match self.mistaken {
            Some((mutant, role)) if bend.is(mutant) => Ok(role),
            _ => self.role,
        }
    }

    pub(super) fn as_ref(&self, effect: RuleEffect) -> RuleRef {
        RuleRef {
            kind: self.kind,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            role: Some(self.role_label.clone()),
            effect,
            why: None,
        }
    }

    fn error(&self, problem: RoleProblem) -> RoleError {
        RoleError {
            binding: self.as_ref(RuleEffect::Allow),
            role: self.role_label.clone(),
            problem,
        }
    }
}

/// Roles by namespace and name while compiling; cluster roles have no namespace.
#[derive(Default)]
struct RoleTable {
    by_name: HashMap<(Option<Arc<str>>, Arc<str>), usize>,
}

impl RoleTable {
    fn resolve(&self, kind: &str, name: &Arc<str>, namespace: Option<&Arc<str>>) -> Result<usize, RoleProblem> {
        let key = match (kind, namespace) {
            ("ClusterRole", _) => None,
            ("Role", Some(namespace)) => Some(namespace.clone()),
            ("Role", None) => return Err(RoleProblem::NoNamespace),
            _ => return Err(RoleProblem::UnknownKind),
        };
        self.by_name
            .get(&(key, name.clone()))
            .copied()
            .ok_or(RoleProblem::Missing)
    }

    /// A role of that name in another namespace, which only a mistaken evaluator would take. Compiled out of what
    /// decides: without the feature no [`Bend`] ever asks for it.
    #[cfg(feature = "generate")]
    fn mistaken(&self, role: Result<usize, RoleProblem>, name: &Arc<str>, local: bool) -> Option<(Mutant, usize)> {
        let mutant = match (role, local) {
            (Err(RoleProblem::Missing), true) => Mutant::RoleFromAnywhere,
            (Err(RoleProblem::NoNamespace), false) => Mutant::ClusterBindingOfRole,
            _ => return None,
        };
        let mut others: Vec<_> = self.by_name.iter().filter(|((_, other), _)| other == name).collect();
        others.sort();
        others.first().map(|(_, at)| (mutant, **at))
    }

    #[cfg(not(feature = "generate"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    const fn mistaken(&self, _: Result<usize, RoleProblem>, _: &Arc<str>, _: bool) -> Option<(Mutant, usize)> {
        None
    }
}
