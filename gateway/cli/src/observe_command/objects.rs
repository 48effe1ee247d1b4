//! RBAC objects and namespaces as files: what `kubectl get -o json` or `-o yaml` writes of a cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use access::rbac::{Objects, Role, aggregate};
use access::rule::NamespaceLabels;
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) objects: Objects,
    pub(super) namespaces: NamespaceLabels,
    /// Objects of other kinds.
    pub(super) others: u64,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: NamespaceMeta,
}

#[derive(Deserialize)]
struct NamespaceMeta {
    name: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Given {
    /// # Errors
    /// A file cannot be read, or what it holds.
    pub(super) fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        let what = || format!("cannot read `{}`", file.display());
        let text = match file.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin().lock()),
            false => std::fs::read_to_string(file),
        };
        let text = text.with_context(what)?;
        for document in documents(&text).with_context(what)? {
            self.take(document).with_context(what)?;
        }
        Ok(())
    }

    fn take(&mut self, document: Value) -> anyhow::Result<()> {
        let kind = document
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if let Some(items) = document.get("items").and_then(Value::as_array) {
            // Items of a typed list do not say their kind.
            let of = kind.strip_suffix("List").unwrap_or_default();
            for item in items {
                let mut item = item.clone();
                if let Some(members) = item.as_object_mut().filter(|members| !members.contains_key("kind")) {
                    members.insert("kind".to_owned(), of.into());
                }
                self.take(item)?;
            }
            return Ok(());
        }
        let name = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let read = || format!("{kind} `{name}`");
        let objects = &mut self.objects;
        match kind.as_str() {
            "Role" => objects.roles.push(serde_json::from_value(document).with_context(read)?),
            "ClusterRole" => objects
                .cluster_roles
                .push(serde_json::from_value(document).with_context(read)?),
            "RoleBinding" => objects
                .role_bindings
                .push(serde_json::from_value(document).with_context(read)?),
            "ClusterRoleBinding" => objects
                .cluster_role_bindings
                .push(serde_json::from_value(document).with_context(read)?),
            "Namespace" => {
                let namespace: Namespace = serde_json::from_value(document).with_context(read)?;
                let labels = namespace.metadata.labels.unwrap_or_default();
                self.namespaces.insert(namespace.metadata.name.into(), labels);
            }
            _ => self.others += 1,
        }
        Ok(())
    }

    /// Whether there is any RBAC object.
    pub(super) const fn has_rbac(&self) -> bool {
        !self.objects.roles.is_empty()
            || !self.objects.cluster_roles.is_empty()
            || !self.objects.role_bindings.is_empty()
            || !self.objects.cluster_role_bindings.is_empty()
    }

    /// Fills aggregated roles that were written without their rules; those of a cluster have them, and not all that they were put
    /// together from may be here.
    pub(super) fn fill(&mut self) {
        let stored: Vec<Arc<Role>> = self.objects.cluster_roles.clone();
        aggregate(&mut self.objects.cluster_roles);
        for (role, stored) in self.objects.cluster_roles.iter_mut().zip(stored) {
            if !stored.rules.is_empty() {
                *role = stored;
            }
        }
    }
}

fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    if text.trim_start().starts_with('{') {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        return Ok(values.collect::<Result<_, _>>()?);
    }
    let values: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> anyhow::Result<Given> {
        let folder = tempfile::tempdir()?;
        let mut given = Given::default();
        for text in texts {
            let file = folder.path().join("objects");
            std::fs::write(&file, text)?;
            given.read(&file)?;
        }
        given.fill();
        Ok(given)
    }

    #[test]
    fn what_kubectl_writes_of_a_cluster_is_read_in_each_of_its_forms() {
        let list = r#"{"kind":"List","items":[{"kind":"ClusterRole","metadata":{"name":"view","uid":"1"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]},
            {"kind":"Secret","metadata":{"name":"s"}}]}"#;
        let typed = r#"{"kind":"RoleBindingList","items":[{"metadata":{"name":"b","namespace":"n"},"roleRef":{"kind":"ClusterRole","name":"view"},"subjects":[]}]}"#;
        let yaml = "kind: Namespace\nmetadata: {name: shop, labels: {env: prod}}\n---\nkind: Namespace\nmetadata: {name: other}\n";
        let given = read(&[list, typed, yaml]).unwrap();
        assert_eq!(
            (
                given.objects.cluster_roles.len(),
                given.objects.role_bindings.len(),
                given.others
            ),
            (1, 1, 1)
        );
        assert_eq!(given.namespaces["shop"]["env"], "prod");
        assert!(given.namespaces["other"].is_empty() && given.has_rbac());
        let error = read(&[r#"{"kind":"ClusterRole","metadata":7}"#]).unwrap_err();
        assert!(format!("{error:#}").contains("ClusterRole"), "{error:#}");
        assert!(read(&["{"]).is_err());
    }

    #[test]
    fn an_aggregated_role_keeps_the_rules_that_the_cluster_stored() {
        let stored = r#"{"kind":"ClusterRole","metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#;
        assert_eq!(read(&[stored]).unwrap().objects.cluster_roles[0].rules.len(), 1);
        let empty = r#"{"kind":"ClusterRole","metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}}
            {"kind":"ClusterRole","metadata":{"name":"one","labels":{"a":"b"}},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#;
        assert_eq!(read(&[empty]).unwrap().objects.cluster_roles[0].rules.len(), 1);
    }
}
