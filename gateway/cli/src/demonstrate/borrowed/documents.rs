//! What the demo creates in a real cluster: the accounts and rights that `deploy/kubernetes/` ships, under names of this
//! run, and a binding for each person of the demo.
//!
//! Names of its own, so that an installation in the same cluster is neither changed nor removed. The people carry a prefix
//! that no real person has, so that no binding that is there already reaches them.

use anyhow::Context as _;
use serde_json::{Value, json};

/// Put before every user name and group of the demo's people.
pub(crate) const PREFIX: &str = "gatescribe-demo:";
/// Every kind of which something is created, as kubectl takes it.
pub(super) const KINDS: &str = "namespaces,clusterroles,clusterrolebindings";

const NAMESPACE: &str = include_str!("../../../../../deploy/kubernetes/namespace.yaml");
const IMPERSONATOR: &str = include_str!("../../../../../deploy/kubernetes/impersonator.yaml");
const IMPERSONATOR_LEGACY: &str = include_str!("../../../../../deploy/kubernetes/impersonator-legacy.yaml");
const OBSERVER: &str = include_str!("../../../../../deploy/kubernetes/observer.yaml");

/// Names the run that an object belongs to.
const LABEL: &str = "gatescribe.dev/demo";

/// The objects of one run.
pub(super) struct Documents {
    run: String,
    all: Vec<Value>,
    namespace: String,
    playground: String,
}

impl Documents {
    /// # Errors
    /// The shipped files are not readable; a test shows that they are.
    pub(super) fn new(run: &str, is_constrained: bool) -> anyhow::Result<Self> {
        let (namespace, playground) = (format!("gatescribe-demo-{run}"), format!("gatescribe-demo-{run}-play"));
        let impersonator = if is_constrained {
            IMPERSONATOR
        } else {
            IMPERSONATOR_LEGACY
        };
        let mut all = Vec::new();
        for text in [NAMESPACE, impersonator, OBSERVER] {
            let shipped: Vec<Value> = serde_saphyr::from_multiple(text).context("a shipped file cannot be read")?;
            all.extend(shipped.into_iter().map(|document| renamed(document, &namespace)));
        }
        all.extend(for_people(&namespace, &playground));
        for document in &mut all {
            if let Some(labels) = document.pointer_mut("/metadata").and_then(|about| {
                about
                    .as_object_mut()?
                    .entry("labels")
                    .or_insert_with(|| json!({}))
                    .as_object_mut()
            }) {
                labels.insert(LABEL.to_owned(), json!(run));
            }
        }
        Ok(Self {
            run: run.to_owned(),
            all,
            namespace,
            playground,
        })
    }

    /// The selector that finds all of them.
    pub(super) fn label(&self) -> String {
        format!("{LABEL}={}", self.run)
    }

    /// Where the two accounts live.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where bob may change things. Not the accounts' namespace: whoever may edit there may take their tokens.
    pub(super) fn playground(&self) -> &str {
        &self.playground
    }

    /// One JSON document after the other, as kubectl reads them.
    pub(super) fn text(&self) -> String {
        let texts: Vec<String> = self.all.iter().map(ToString::to_string).collect();
        // JSON is YAML.
        texts.join("\n---\n")
    }

    /// Kind, name and what it is for.
    pub(super) fn listed(&self) -> Vec<(String, String, String)> {
        self.all
            .iter()
            .map(|document| (word(document, "/kind"), name(document), says(document)))
            .collect()
    }
}

/// `gatescribe` becomes the run's namespace, `gatescribe:observer` the run's own role.
fn renamed(mut document: Value, namespace: &str) -> Value {
    let rename = |value: Option<&mut Value>| {
        if let Some(Value::String(text)) = value {
            if text == "gatescribe" {
                namespace.clone_into(text);
            } else if let Some(rest) = text.strip_prefix("gatescribe:") {
                *text = format!("{namespace}:{rest}");
            }
        }
    };
    for place in [
        "/metadata/name",
        "/metadata/namespace",
        "/roleRef/name",
        "/subjects/0/namespace",
    ] {
        rename(document.pointer_mut(place));
    }
    document
}

/// alice may look everywhere, bob may change his playground, carol has the audit role and nothing in the cluster but that.
fn for_people(namespace: &str, playground: &str) -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io";
    let person = |who: &str| {
        let email = demo::identity::person(who).map_or(who, |person| person.email);
        json!([{ "apiGroup": rbac, "kind": "User", "name": format!("{PREFIX}{email}") }])
    };
    let role = |name: &str| json!({ "apiGroup": rbac, "kind": "ClusterRole", "name": name });
    let local = |who: &str, bound: &str| {
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "roleRef": role(bound), "subjects": person(who),
            "metadata": { "name": who, "namespace": playground } })
    };
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": playground } }),
        json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "roleRef": role("view"), "subjects": person("alice"),
            "metadata": { "name": format!("{namespace}:alice") } }),
        local("bob", "edit"),
        local("carol", "view"),
    ]
}

fn word(document: &Value, place: &str) -> String {
    document
        .pointer(place)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn name(document: &Value) -> String {
    match word(document, "/metadata/namespace") {
        none if none.is_empty() => word(document, "/metadata/name"),
        namespace => format!("{namespace}/{}", word(document, "/metadata/name")),
    }
}

fn says(document: &Value) -> String {
    match word(document, "/kind").as_str() {
        "RoleBinding" | "ClusterRoleBinding" => {
            let whom = document
                .pointer("/subjects/0")
                .map(|subject| word(subject, "/name"))
                .unwrap_or_default();
            format!(
                "{} {} → {whom}",
                word(document, "/roleRef/kind"),
                word(document, "/roleRef/name")
            )
        }
        "ClusterRole" => {
            let rules = document.pointer("/rules").and_then(Value::as_array).map_or(0, Vec::len);
            format!("{rules} rules, as in deploy/kubernetes")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(is_constrained: bool) -> Documents {
        Documents::new("abc123", is_constrained).unwrap()
    }

    #[test]
    fn every_object_carries_the_runs_label_and_the_runs_name() {
        for is_constrained in [true, false] {
            let documents = documents(is_constrained);
            assert!(documents.all.len() >= 11, "{}", documents.all.len());
            for document in &documents.all {
                assert_eq!(document["metadata"]["labels"][LABEL], "abc123");
                let (whole, kind) = (name(document), word(document, "/kind"));
                assert!(whole.starts_with("gatescribe-demo-abc123"), "{kind} {whole}");
            }
        }
    }

    #[test]
    fn bindings_lead_to_the_runs_own_roles_and_accounts_or_to_the_clusters_roles() {
        for document in documents(true).all.iter().filter(|one| one["roleRef"].is_object()) {
            let (role, subject) = (word(document, "/roleRef/name"), &document["subjects"][0]);
            match subject["kind"].as_str().unwrap() {
                "User" => assert!(
                    ["view", "edit"].contains(&role.as_str()) && subject["name"].as_str().unwrap().starts_with(PREFIX)
                ),
                _ => assert!(
                    role.starts_with("gatescribe-demo-abc123:") && subject["namespace"] == "gatescribe-demo-abc123"
                ),
            }
        }
    }

    #[test]
    fn nobody_may_change_things_where_the_accounts_live() {
        let documents = documents(true);
        assert_ne!(documents.namespace(), documents.playground());
        let editing = |one: &&Value| one["roleRef"]["name"] == "edit";
        assert!(
            documents
                .all
                .iter()
                .filter(editing)
                .all(|one| one["metadata"]["namespace"] == documents.playground())
        );
    }

    #[test]
    fn the_rights_are_those_that_are_shipped() {
        let shipped: Vec<Value> = serde_saphyr::from_multiple(OBSERVER).unwrap();
        let rules = |all: &[Value]| {
            all.iter()
                .find(|one| one["kind"] == "ClusterRole")
                .map(|one| one["rules"].clone())
        };
        let own: Vec<Value> = documents(true)
            .all
            .into_iter()
            .filter(|one| name(one).ends_with(":observer"))
            .collect();
        assert_eq!(rules(&own), rules(&shipped));
    }
}
