//! Compiling RBAC objects: the table of roles, and the bindings of one namespace (or of the cluster) by whom they name.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use model::decision::{RuleEffect, RuleKind, RuleRef};

use super::matching::Rule;
use super::nearest::BoundRole;
use super::objects::{Binding, BoundSubject, Objects, Role};
use super::snapshot::{RoleError, RoleProblem};
use super::subject::{SERVICE_ACCOUNT_PREFIX, SubjectView};
use crate::mutant::{Bend, Mutant};

/// All roles of a cluster, and where to find them.
#[derive(Debug, Default)]
pub(super) struct Roles {
    of: [Vec<Arc<Role>>; 2],
    compiled: Vec<CompiledRole>,
    /// By namespace and name; cluster roles have no namespace.
    by_name: HashMap<(Option<Arc<str>>, Arc<str>), usize>,
    /// Where Kubernetes' user-facing roles stand, in the order of [`USER_FACING`].
    user_facing: [Option<usize>; USER_FACING.len()],
}

/// The cluster roles that every cluster has for people, the one that grants least first (Kubernetes documentation, "Using
/// RBAC Authorization", user-facing roles). `cluster-admin` is not among them: it is no answer to a refusal.
const USER_FACING: [&str; 3] = ["view", "edit", "admin"];

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

/// The bindings of one namespace, or those of the whole cluster.
#[derive(Debug, Default)]
pub(super) struct Shard {
    of: Vec<Arc<Binding>>,
    bindings: Vec<CompiledBinding>,
    index: SubjectIndex,
    /// Made at the first refusal that wants to name a role.
    bound_roles: OnceLock<Vec<BoundRole>>,
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

impl Roles {
    /// The roles of `objects`: these very ones where nothing has changed.
    pub(super) fn next(self: &Arc<Self>, objects: &Objects) -> Arc<Self> {
        let [cluster, local] = &self.of;
        if is_same(cluster, &objects.cluster_roles) && is_same(local, &objects.roles) {
            return Arc::clone(self);
        }
        let mut roles = Self {
            of: [objects.cluster_roles.clone(), objects.roles.clone()],
            ..Self::default()
        };
        for (all, kind) in [(&objects.cluster_roles, "ClusterRole"), (&objects.roles, "Role")] {
            for role in all {
                roles.add(role, kind);
            }
        }
        Arc::new(roles)
    }

    fn add(&mut self, role: &Role, kind: &str) {
        let at = self.compiled.len();
        let key = match (kind, &role.metadata.namespace) {
            ("ClusterRole", _) => None,
            (_, Some(namespace)) if !namespace.is_empty() => Some(Arc::clone(namespace)),
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
        self.by_name.entry((key, role.metadata.name.clone())).or_insert(at);
        self.compiled.push(CompiledRole {
            label: format!("{kind}/{}", role.metadata.name).into(),
            rules: role.rules.iter().cloned().map(Rule::new).collect(),
        });
    }

    pub(super) fn get(&self, at: usize) -> Option<&CompiledRole> {
        self.compiled.get(at)
    }

    pub(super) fn user_facing(&self) -> impl Iterator<Item = &CompiledRole> {
        let known = self.user_facing.iter().flatten();
        known.filter_map(|at| self.compiled.get(*at))
    }

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

impl Shard {
    /// Compiles bindings that are in the order of their names; `namespace` of role bindings.
    pub(super) fn new(of: &[&Arc<Binding>], namespace: Option<&Arc<str>>, roles: &Roles) -> Self {
        let mut index = SubjectIndex::default();
        let kind = match namespace {
            Some(_) => RuleKind::RoleBinding,
            None => RuleKind::ClusterRoleBinding,
        };
        let compile = |(at, binding): (usize, &&Arc<Binding>)| {
            for subject in &binding.subjects {
                index.add(subject, namespace.map(AsRef::as_ref), at);
            }
            let role_ref = &binding.role_ref;
            let role = roles.resolve(&role_ref.kind, &role_ref.name, namespace);
            CompiledBinding {
                kind,
                name: Arc::clone(&binding.metadata.name),
                role_label: format!("{}/{}", role_ref.kind, role_ref.name).into(),
                mistaken: roles.mistaken(role, &role_ref.name, namespace.is_some()),
                role,
                namespace: namespace.cloned(),
            }
        };
        let bindings = of.iter().enumerate().map(compile).collect();
        Self {
            of: of.iter().map(|binding| Arc::clone(binding)).collect(),
            bindings,
            index,
            bound_roles: OnceLock::new(),
        }
    }

    /// Whether it was compiled from these very bindings.
    pub(super) fn is_of(&self, bindings: &[&Arc<Binding>]) -> bool {
        self.of.len() == bindings.len() && self.of.iter().zip(bindings).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub(super) fn bound_roles(&self, roles: &Roles) -> &[BoundRole] {
        self.bound_roles.get_or_init(|| {
            let named = self.bindings.iter().filter_map(|binding| {
                let at = binding.role.ok()?;
                Some((at, roles.get(at)?))
            });
            BoundRole::gather(named)
        })
    }

    pub(super) fn has_suggested(&self) -> bool {
        self.bound_roles.get().is_some()
    }

    /// The bindings that name the subject, in order and each once, with the group by which they do; by the user's own name first.
    pub(super) fn naming<'s>(
        &'s self,
        subject: &SubjectView<'_>,
    ) -> impl Iterator<Item = (&'s CompiledBinding, Option<Arc<str>>)> {
        let mut places: BTreeMap<usize, Option<Arc<str>>> = BTreeMap::new();
        let users = self.index.users.get(subject.username()).into_iter().flatten();
        places.extend(users.map(|(at, _)| (*at, None)));
        for group in subject.groups() {
            for at in self.index.groups.get(group).into_iter().flatten() {
                places.entry(*at).or_insert_with(|| Some(group.into()));
            }
        }
        places
            .into_iter()
            .filter_map(|(at, by)| Some((self.bindings.get(at)?, by)))
    }

    /// Adds the subject's bindings, in order and each once.
    pub(super) fn applying<'s>(&'s self, subject: &SubjectView<'_>, bend: Bend, found: &mut Vec<&'s CompiledBinding>) {
        let mut places = Vec::new();
        self.index.collect(subject, bend, &mut places);
        places.sort_unstable();
        places.dedup();
        found.extend(places.into_iter().filter_map(|at| self.bindings.get(at)));
    }
}

fn is_same<T>(before: &[Arc<T>], now: &[Arc<T>]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| Arc::ptr_eq(a, b))
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
    pub(super) fn resolved(&self, bend: Bend) -> Result<usize, RoleProblem> {
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

    pub(super) fn error(&self, problem: RoleProblem) -> RoleError {
        RoleError {
            binding: self.as_ref(RuleEffect::Allow),
            role: self.role_label.clone(),
            problem,
        }
    }
}
