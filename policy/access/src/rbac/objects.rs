//! `rbac.authorization.k8s.io/v1` as it is stored. Only what decides is read; unknown members are metadata of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The RBAC objects of one cluster. They are shared: a change of one of ten thousand copies references, and whoever
/// compiles them sees by the references which are the same as before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Objects {
    /// `Role`s.
    pub roles: Vec<Arc<Role>>,
    /// `ClusterRole`s, with their stored rules.
    pub cluster_roles: Vec<Arc<Role>>,
    /// `RoleBinding`s.
    pub role_bindings: Vec<Arc<Binding>>,
    /// `ClusterRoleBinding`s.
    pub cluster_role_bindings: Vec<Arc<Binding>>,
}

/// The part of `ObjectMeta` that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace; absent for cluster objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// Its labels, by which cluster roles are aggregated.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub labels: BTreeMap<String, String>,
}

/// A `Role` or `ClusterRole`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// See [`Meta`].
    pub metadata: Meta,
    /// What it grants.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rules: Vec<PolicyRule>,
    /// From which other cluster roles its rules are put together. The cluster's controller does that and stores the
    /// result; we do it for files alone (see [`aggregate`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation_rule: Option<AggregationRule>,
}

/// One rule of a role. All lists are alternatives; an empty list matches nothing, but for `resource_names`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs, or `*`.
    #[serde(deserialize_with = "null_is_default")]
    pub verbs: Vec<Arc<str>>,
    /// API groups, or `*`; the core group is empty.
    #[serde(
        rename = "apiGroups",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub api_groups: Vec<Arc<str>>,
    /// `resource`, `resource/subresource`, `*/subresource` or `*`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Arc<str>>,
    /// Names; empty means any.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<Arc<str>>,
    /// Paths, with a star at most at the end.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<Arc<str>>,
}

/// `ClusterRole.aggregationRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregationRule {
    /// Any of these must match.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cluster_role_selectors: Vec<crate::rule::LabelSelector>,
}

/// A `RoleBinding` or `ClusterRoleBinding`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// See [`Meta`].
    pub metadata: Meta,
    /// Who is bound.
    #[serde(default, deserialize_with = "null_is_default")]
    pub subjects: Vec<BoundSubject>,
    /// To which role.
    pub role_ref: RoleRef,
}

impl Binding {
    /// Its namespace; an empty one is none.
    #[must_use]
    pub fn namespace(&self) -> Option<&Arc<str>> {
        self.metadata
            .namespace
            .as_ref()
            .filter(|namespace| !namespace.is_empty())
    }
}

/// `rbac/v1.Subject`. Its `apiGroup` decides nothing in the API server's evaluator, nor here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundSubject {
    /// `User`, `Group` or `ServiceAccount`; others match nobody.
    pub kind: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// For service accounts; when absent, the binding's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
}

/// `rbac/v1.RoleRef`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`; others are an error of that binding.
    pub kind: Arc<str>,
    /// The role's name.
    pub name: Arc<str>,
}

/// Go writes empty lists as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Fills aggregated cluster roles as the cluster's controller would: the union of the rules of all roles that a
/// selector matches. For files alone; in a cluster the stored rules are what the API server obeys.
pub fn aggregate(cluster_roles: &mut [Arc<Role>]) {
    // An aggregated role may itself be selected; each pass carries rules one step further.
    for _ in 0..cluster_roles.len() {
        let before = cluster_roles.to_vec();
        let mut changed = false;
        for role in cluster_roles.iter_mut() {
            let Some(aggregation) = &role.aggregation_rule else {
                continue;
            };
            let mut rules: Vec<PolicyRule> = Vec::new();
            for other in before.iter().filter(|other| other.metadata.name != role.metadata.name) {
                let matches = |selector: &crate::rule::LabelSelector| selector.matches(&other.metadata.labels);
                if aggregation.cluster_role_selectors.iter().any(matches) {
                    for rule in &other.rules {
                        if !rules.contains(rule) {
                            rules.push(rule.clone());
                        }
                    }
                }
            }
            if rules != role.rules {
                changed = true;
                Arc::make_mut(role).rules = rules;
            }
        }
        if !changed {
            return;
        }
    }
}
