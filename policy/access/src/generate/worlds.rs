//! Small worlds of RBAC objects, and questions that come close to what they allow.

use std::sync::Arc;

use serde::Serialize;

use super::random::Random;
use crate::rbac::{Attributes, Binding, BoundSubject, Meta, Objects, PolicyRule, Role, RoleRef};

/// Objects and questions, in the form that the oracle reads.
#[derive(Clone, Debug, Serialize)]
pub struct World {
    /// The RBAC objects.
    #[serde(flatten)]
    pub objects: Objects,
    /// What is asked about them.
    pub questions: Vec<Question>,
}

/// One question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The user name.
    pub user: Arc<str>,
    /// All groups.
    pub groups: Vec<Arc<str>>,
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The path, for what is no resource.
    pub path: String,
    /// Whether it is about a resource.
    pub is_resource: bool,
}

impl Question {
    /// As the evaluator takes it.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            verb: &self.verb,
            group: &self.group,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            path: &self.path,
            is_resource: self.is_resource,
        }
    }
}

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const ROLES: [&str; 4] = ["r1", "r2", "r3", "r4"];
const USERS: [&str; 5] = [
    "alice",
    "bob",
    "dev",
    "system:serviceaccount:a:bot",
    "system:serviceaccount:b:bot",
];
const GROUPS: [&str; 5] = [
    "dev",
    "ops",
    "alice",
    "system:authenticated",
    "system:serviceaccounts:a",
];
const ACCOUNTS: [&str; 3] = ["bot", "ci", "b:bot"];
const VERBS: [&str; 7] = ["get", "list", "create", "delete", "watch", "use", "GET"];
const API_GROUPS: [&str; 4] = ["", "apps", "example.test", "Apps"];
const RESOURCES: [&str; 4] = ["pods", "deployments", "nodes", "pod"];
const SUBRESOURCES: [&str; 4] = ["log", "exec", "scale", "lo"];
const NAMES: [&str; 4] = ["x", "y", "x-1", "*"];
const PATHS: [&str; 8] = [
    "/healthz",
    "/healthz/etcd",
    "/metrics",
    "/logs/a",
    "/logs",
    "/",
    "/api*",
    "/version",
];
const RULE_PATHS: [&str; 10] = [
    "/healthz",
    "/healthz*",
    "/healthz/*",
    "/logs/**",
    "*",
    "**",
    "/metrics",
    "/",
    "/v*n",
    "/logs",
];

/// A world with so many questions.
pub fn world(random: &mut Random, questions: usize) -> World {
    let mut objects = Objects::default();
    for _ in 0..=random.below(3) {
        let namespace = random.pick(&NAMESPACES);
        objects.roles.push(role(random, Some(namespace)).into());
    }
    for _ in 0..=random.below(3) {
        objects.cluster_roles.push(role(random, None).into());
    }
    keep_first_of_each_name(&mut objects.roles);
    keep_first_of_each_name(&mut objects.cluster_roles);
    for _ in 0..=random.below(3) {
        let namespace = random.pick(&NAMESPACES);
        let binding = binding(random, &objects, Some(namespace), objects.role_bindings.len());
        objects.role_bindings.push(binding.into());
    }
    for _ in 0..random.below(3) {
        let binding = binding(random, &objects, None, objects.cluster_role_bindings.len());
        objects.cluster_role_bindings.push(binding.into());
    }
    let questions = (0..questions).map(|_| question(random, &objects)).collect();
    World { objects, questions }
}

fn keep_first_of_each_name(roles: &mut Vec<Arc<Role>>) {
    let mut seen = std::collections::HashSet::new();
    roles.retain(|role| seen.insert((role.metadata.namespace.clone(), role.metadata.name.clone())));
}

fn meta(name: &str, namespace: Option<&str>) -> Meta {
    Meta {
        name: name.into(),
        namespace: namespace.map(Into::into),
        labels: Default::default(),
    }
}

fn role(random: &mut Random, namespace: Option<&str>) -> Role {
    let name = random.pick(&ROLES);
    let rules = (0..=random.below(2)).map(|_| rule(random)).collect();
    Role {
        metadata: meta(name, namespace),
        rules,
        aggregation_rule: None,
    }
}

fn rule(random: &mut Random) -> PolicyRule {
    let mut rule = PolicyRule {
        verbs: some(random, &VERBS, 20),
        ..PolicyRule::default()
    };
    if random.percent(25) {
        rule.non_resource_urls = (0..=random.below(2)).map(|_| random.pick(&RULE_PATHS).into()).collect();
    } else {
        rule.api_groups = if random.percent(8) {
            Vec::new()
        } else {
            some(random, &API_GROUPS, 20)
        };
        rule.resources = (0..=random.below(2)).map(|_| rule_resource(random)).collect();
        if random.percent(40) {
            rule.resource_names = some(random, &NAMES, 0);
        }
    }
    rule
}

fn some(random: &mut Random, from: &[&str], star_percent: usize) -> Vec<Arc<str>> {
    if random.percent(star_percent) {
        return vec!["*".into()];
    }
    (0..=random.below(2)).map(|_| random.pick(from).into()).collect()
}

fn rule_resource(random: &mut Random) -> Arc<str> {
    let resource = random.pick(&RESOURCES);
    let subresource = random.pick(&SUBRESOURCES);
    match random.below(10) {
        0 => "*".into(),
        1 | 2 => format!("*/{subresource}").into(),
        3 => format!("{resource}/*").into(),
        4 | 5 => format!("{resource}/{subresource}").into(),
        _ => resource.into(),
    }
}

fn binding(random: &mut Random, objects: &Objects, namespace: Option<&str>, number: usize) -> Binding {
    let (kind, from) = if random.percent(50) {
        ("Role", &objects.roles)
    } else {
        ("ClusterRole", &objects.cluster_roles)
    };
    let near: Vec<_> = from
        .iter()
        .filter(|role| role.metadata.namespace.as_deref() == namespace)
        .collect();
    let existing = if near.is_empty() || random.percent(20) {
        random.choose(from)
    } else {
        random.choose(&near).copied()
    };
    let existing = existing.map(|role| role.metadata.name.clone());
    // Sometimes a role that is missing, or one of a kind that cannot be bound there.
    let name = if random.percent(85) {
        existing.unwrap_or_else(|| "r9".into())
    } else {
        random.pick(&ROLES).into()
    };
    let kind = if random.percent(97) { kind } else { "Group" };
    Binding {
        metadata: meta(&format!("b{number}"), namespace),
        subjects: (0..=random.below(2)).map(|_| subject(random)).collect(),
        role_ref: RoleRef {
            kind: kind.into(),
            name,
        },
    }
}

fn subject(random: &mut Random) -> BoundSubject {
    let namespace = random.percent(50).then(|| random.pick(&["a", "b", ""]).into());
    match random.below(9) {
        0..=2 => BoundSubject {
            kind: "User".into(),
            name: random.pick(&USERS).into(),
            namespace,
        },
        3 | 4 => BoundSubject {
            kind: "Group".into(),
            name: random.pick(&GROUPS).into(),
            namespace,
        },
        5..=7 => BoundSubject {
            kind: "ServiceAccount".into(),
            name: random.pick(&ACCOUNTS).into(),
            namespace,
        },
        _ => BoundSubject {
            kind: random.pick(&["user", "Node", ""]).into(),
            name: "alice".into(),
            namespace,
        },
    }
}

/// Most questions are made to hit a binding and a rule, and some of those then miss by one attribute.
fn question(random: &mut Random, objects: &Objects) -> Question {
    let mut question = anything(random);
    if random.percent(95) {
        aim(random, objects, &mut question);
        if random.percent(30) {
            let other = anything(random);
            match random.below(7) {
                0 => question.verb = other.verb,
                1 => question.group = other.group,
                2 => question.resource = other.resource,
                3 => question.subresource = other.subresource,
                4 => question.namespace = other.namespace,
                5 => question.name = other.name,
                _ => question.path = other.path,
            }
        }
    }
    question
}

fn anything(random: &mut Random) -> Question {
    Question {
        user: random.pick(&USERS).into(),
        groups: (0..random.below(3)).map(|_| random.pick(&GROUPS).into()).collect(),
        verb: random.pick(&VERBS).into(),
        group: random.pick(&API_GROUPS).into(),
        resource: random.pick(&RESOURCES).into(),
        subresource: if random.percent(40) {
            random.pick(&SUBRESOURCES).into()
        } else {
            String::new()
        },
        namespace: if random.percent(70) {
            random.pick(&NAMESPACES).into()
        } else {
            String::new()
        },
        name: if random.percent(50) {
            random.pick(&NAMES).into()
        } else {
            String::new()
        },
        path: random.pick(&PATHS).into(),
        is_resource: random.percent(75),
    }
}

fn aim(random: &mut Random, objects: &Objects, question: &mut Question) {
    let local = random.percent(60);
    let from = if local {
        &objects.role_bindings
    } else {
        &objects.cluster_role_bindings
    };
    let Some(binding) = random.choose(from).cloned() else {
        return;
    };
    if let Some(namespace) = &binding.metadata.namespace {
        question.namespace = namespace.as_ref().into();
    }
    if let Some(subject) = random.choose(&binding.subjects).cloned() {
        let own = binding.metadata.namespace.as_deref().unwrap_or("a");
        let namespace = subject
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or(own);
        match subject.kind.as_ref() {
            "Group" => question.groups.push(subject.name),
            "ServiceAccount" => {
                question.user = format!("system:serviceaccount:{namespace}:{}", subject.name).into();
            }
            _ => question.user = subject.name,
        }
    }
    let roles = if binding.role_ref.kind.as_ref() == "Role" {
        &objects.roles
    } else {
        &objects.cluster_roles
    };
    let named: Vec<_> = roles
        .iter()
        .filter(|role| role.metadata.name == binding.role_ref.name)
        .collect();
    if let Some(rule) = random
        .choose(&named)
        .and_then(|role| random.choose(&role.rules))
        .cloned()
    {
        aim_at_rule(random, &rule, question);
    }
}

fn aim_at_rule(random: &mut Random, rule: &PolicyRule, question: &mut Question) {
    let entry = |random: &mut Random, list: &[Arc<str>]| {
        random
            .choose(list)
            .filter(|entry| !entry.contains('*'))
            .map(|entry| entry.as_ref().to_owned())
    };
    if let Some(verb) = entry(random, &rule.verbs) {
        question.verb = verb;
    }
    question.is_resource = rule.non_resource_urls.is_empty();
    if let Some(path) = random
        .choose(&rule.non_resource_urls)
        .filter(|path| path.as_ref() != "*")
    {
        let tail = if path.ends_with('*') {
            random.pick(&["", "x", "/etcd"])
        } else {
            ""
        };
        question.path = format!("{}{tail}", path.trim_end_matches('*'));
    }
    if let Some(group) = entry(random, &rule.api_groups) {
        question.group = group;
    }
    if let Some(resource) = random.choose(&rule.resources) {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        if resource != "*" {
            question.resource = resource.into();
        }
        if resource != "*" || !subresource.is_empty() {
            question.subresource = subresource.into();
        }
    }
    if let Some(name) = random.choose(&rule.resource_names) {
        question.name = name.as_ref().into();
    }
}
