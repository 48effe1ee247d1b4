//! May this user do this: asked of an [`Authorizer`], by default the world's own RBAC objects.
//!
//! [`StoredRbac`] is deliberately not the gateway's evaluator: the look-alike stands for the cluster, which decides again
//! and by itself. Two independent readings of the same bindings show when one of them is wrong.

use std::sync::Arc;

use serde_json::Value;

use super::caller::User;
use super::json::At as _;

/// What is asked, in the API server's words.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a User,
    /// The verb, such as `get` or `impersonate`.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource in the plural; empty for a path.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty for the whole cluster.
    pub namespace: &'a str,
    /// The object's name, or empty.
    pub name: &'a str,
    /// The path, if this is no resource.
    pub path: Option<&'a str>,
}

impl Attributes<'_> {
    /// The API server's words for a refusal.
    pub(super) fn denial(&self) -> String {
        let user = &self.user.name;
        if let Some(path) = self.path {
            return format!("forbidden: User \"{user}\" cannot {} path \"{path}\"", self.verb);
        }
        let full = if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        };
        let name = if self.name.is_empty() {
            String::new()
        } else {
            format!(" \"{}\"", self.name)
        };
        let what = match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        let place = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let (verb, group) = (self.verb, self.group);
        format!(
            "{full}{name} is forbidden: User \"{user}\" cannot {verb} resource \"{what}\" in API group \"{group}\" {place}"
        )
    }
}

/// The stored RBAC objects, as `rbac.authorization.k8s.io/v1` JSON.
#[derive(Debug, Clone, Default)]
pub struct RbacObjects {
    /// `Role`s.
    pub roles: Vec<Arc<Value>>,
    /// `RoleBinding`s.
    pub role_bindings: Vec<Arc<Value>>,
    /// `ClusterRole`s.
    pub cluster_roles: Vec<Arc<Value>>,
    /// `ClusterRoleBinding`s.
    pub cluster_role_bindings: Vec<Arc<Value>>,
}

/// An answer with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may be done.
    pub is_allowed: bool,
    /// The binding that allows it, or why nothing does.
    pub reason: String,
}

/// Decides for the look-alike.
pub trait Authorizer: Send + Sync {
    /// Decides one question over the objects as they stand now.
    fn decide(&self, objects: &RbacObjects, attributes: &Attributes<'_>) -> Verdict;
}

/// RBAC over the stored objects, deny by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoredRbac;

impl Authorizer for StoredRbac {
    fn decide(&self, objects: &RbacObjects, attributes: &Attributes<'_>) -> Verdict {
        match objects.granting(attributes) {
            Some(binding) => Verdict {
                is_allowed: true,
                reason: format!("RBAC: allowed by {}", words(binding)),
            },
            None => Verdict {
                is_allowed: false,
                reason: String::new(),
            },
        }
    }
}

impl RbacObjects {
    /// The first binding that allows what is asked.
    pub(crate) fn granting<'a>(&'a self, attributes: &'a Attributes<'_>) -> Option<&'a Value> {
        self.rules_for(attributes.user, attributes.namespace)
            .find(|(_, rule)| covers(rule, attributes))
            .map(|(binding, _)| binding)
    }

    /// Every rule that reaches the user in a namespace (or, if empty, in the whole cluster), with its binding.
    pub(super) fn rules_for<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Value, &'a Value)> + 'a {
        let cluster = self.cluster_role_bindings.iter();
        let local = self
            .role_bindings
            .iter()
            .filter(move |binding| !namespace.is_empty() && binding.at("metadata").at("namespace") == namespace);
        cluster
            .chain(local)
            .filter(|binding| is_bound(binding, user))
            .flat_map(|binding| {
                let rules = self
                    .role(binding)
                    .and_then(|role| role.at("rules").as_array())
                    .into_iter()
                    .flatten();
                rules.map(move |rule| (binding.as_ref(), rule))
            })
    }

    fn role(&self, binding: &Value) -> Option<&Value> {
        let (reference, home) = (binding.at("roleRef"), binding.at("metadata").at("namespace"));
        let is_named = |role: &&Arc<Value>| role.at("metadata").at("name") == reference.at("name");
        match (reference.at("kind").as_str(), binding.at("kind").as_str()) {
            (Some("ClusterRole"), _) => self.cluster_roles.iter().find(is_named),
            (Some("Role"), Some("RoleBinding")) => self
                .roles
                .iter()
                .filter(|role| role.at("metadata").at("namespace") == home)
                .find(is_named),
            _ => None,
        }
        .map(Arc::as_ref)
    }
}

fn words(binding: &Value) -> String {
    let (kind, name) = (
        binding.at("kind").as_str().unwrap_or_default(),
        binding.at("metadata").at("name").as_str().unwrap_or_default(),
    );
    let namespace = binding.at("metadata").at("namespace").as_str();
    let name = namespace.map_or(name.to_owned(), |namespace| format!("{name}/{namespace}"));
    let reference = binding.at("roleRef");
    format!(
        "{kind} \"{name}\" of {} \"{}\"",
        reference.at("kind").as_str().unwrap_or_default(),
        reference.at("name").as_str().unwrap_or_default()
    )
}

fn is_bound(binding: &Value, user: &User) -> bool {
    let home = binding.at("metadata").at("namespace").as_str();
    binding.at("subjects").as_array().into_iter().flatten().any(|subject| {
        let name = subject.at("name").as_str().unwrap_or_default();
        match subject.at("kind").as_str() {
            Some("User") => user.name == name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject.at("namespace").as_str().or(home).unwrap_or_default();
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn covers(rule: &Value, asked: &Attributes<'_>) -> bool {
    let lists = |name: &str, wanted: &str| {
        rule.at(name)
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == "*" || one == wanted))
    };
    if !lists("verbs", asked.verb) {
        return false;
    }
    if let Some(path) = asked.path {
        return rule
            .at("nonResourceURLs")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|pattern| {
                pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
            });
    }
    let names = rule.at("resourceNames").as_array().map_or(&[][..], Vec::as_slice);
    lists("apiGroups", asked.group)
        && covers_resource(rule, asked)
        && (names.is_empty() || names.iter().any(|name| name == asked.name))
}

fn covers_resource(rule: &Value, asked: &Attributes<'_>) -> bool {
    let full = match asked.subresource {
        "" => asked.resource.to_owned(),
        subresource => format!("{}/{subresource}", asked.resource),
    };
    rule.at("resources")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|resource| {
            let any_with_subresource = resource.strip_prefix("*/");
            resource == "*"
                || resource == full
                || any_with_subresource.is_some_and(|sub| sub == asked.subresource && !sub.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> RbacObjects {
        let binding = |kind: &str, namespace: Value, role: &str, role_kind: &str, group: &str| {
            Arc::new(
                json!({"kind": kind, "metadata": {"name": group, "namespace": namespace},
                "roleRef": {"kind": role_kind, "name": role}, "subjects": [{"kind": "Group", "name": group}]}),
            )
        };
        RbacObjects {
            cluster_roles: vec![Arc::new(json!({"metadata": {"name": "view"}, "rules": [
                    {"apiGroups": [""], "resources": ["pods", "*/log"], "verbs": ["get"]},
                    {"nonResourceURLs": ["/apis/*"], "verbs": ["get"]}]}))],
            roles: vec![Arc::new(
                json!({"metadata": {"name": "one", "namespace": "shop"}, "rules": [
                {"apiGroups": ["*"], "resources": ["configmaps"], "verbs": ["*"], "resourceNames": ["a"]}]}),
            )],
            cluster_role_bindings: vec![binding("ClusterRoleBinding", Value::Null, "view", "ClusterRole", "dev")],
            role_bindings: vec![binding("RoleBinding", json!("shop"), "one", "Role", "ops")],
        }
    }

    fn allowed(group: &str, verb: &str, resource: &str, subresource: &str, namespace: &str, name: &str) -> bool {
        let user = User {
            name: "x".to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        let asked = Attributes {
            user: &user,
            verb,
            group: "",
            resource,
            subresource,
            namespace,
            name,
            path: None,
        };
        StoredRbac.decide(&objects(), &asked).is_allowed
    }

    #[test]
    fn rules_cover_exactly_what_they_name() {
        assert!(allowed("dev", "get", "pods", "", "shop", "p"));
        assert!(allowed("dev", "get", "pods", "log", "shop", "p"));
        assert!(!allowed("dev", "get", "pods", "exec", "shop", "p"));
        assert!(!allowed("dev", "list", "pods", "", "shop", ""));
        assert!(!allowed("ops", "get", "pods", "", "shop", "p"));
        assert!(allowed("ops", "delete", "configmaps", "", "shop", "a"));
        assert!(!allowed("ops", "delete", "configmaps", "", "shop", "b"));
        assert!(!allowed("ops", "delete", "configmaps", "", "payments", "a"));
    }

    #[test]
    fn paths_match_by_prefix_only_where_a_star_stands() {
        let user = User {
            groups: vec!["dev".to_owned()],
            ..User::default()
        };
        let ask = |path| {
            let asked = Attributes {
                user: &user,
                verb: "get",
                group: "",
                resource: "",
                subresource: "",
                namespace: "",
                name: "",
                path: Some(path),
            };
            StoredRbac.decide(&objects(), &asked).is_allowed
        };
        assert!(ask("/apis/apps"));
        assert!(!ask("/api"));
    }
}
