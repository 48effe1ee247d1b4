//! Gathers the events of each kind into objects of our own types. One unreadable object never hides the rest: it is left
//! out and said (an unreadable role grants nothing, an unreadable binding binds nobody).

use std::collections::BTreeMap;
use std::sync::Arc;

use access::rbac::{Binding, Objects, Role};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use model::cluster::ClusterId;
use serde::de::DeserializeOwned;

use super::ClusterView;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
    Namespace,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Role,
        Self::ClusterRole,
        Self::RoleBinding,
        Self::ClusterRoleBinding,
        Self::Namespace,
    ];

    pub(super) const fn name(self) -> &'static str {
        self.resource().2
    }

    /// Group, version, kind, plural.
    pub(super) const fn resource(self) -> (&'static str, &'static str, &'static str, &'static str) {
        const RBAC: &str = "rbac.authorization.k8s.io";
        match self {
            Self::Role => (RBAC, "v1", "Role", "roles"),
            Self::ClusterRole => (RBAC, "v1", "ClusterRole", "clusterroles"),
            Self::RoleBinding => (RBAC, "v1", "RoleBinding", "rolebindings"),
            Self::ClusterRoleBinding => (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
        }
    }
}

/// A namespace as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

type Key = (String, String);

/// One kind: what stands, and what a listing under way has brought so far.
#[derive(Debug)]
struct Table<T> {
    standing: BTreeMap<Key, T>,
    listing: Option<BTreeMap<Key, T>>,
    listed: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            standing: BTreeMap::new(),
            listing: None,
            listed: false,
        }
    }
}

impl<T: PartialEq> Table<T> {
    /// Whether what stands has changed.
    fn apply(
        &mut self,
        kind: Kind,
        event: Event<DynamicObject>,
        read: impl Fn(&DynamicObject) -> Result<T, String>,
    ) -> bool {
        let read = |object: &DynamicObject| match read(object) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(kind = kind.name(), object = ?object.metadata.name, error, "an object cannot be read and counts as absent");
                None
            }
        };
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                if let (Some(listing), Some(value)) = (&mut self.listing, read(&object)) {
                    listing.insert(key(&object), value);
                }
                false
            }
            Event::InitDone => {
                let first = !std::mem::replace(&mut self.listed, true);
                let listing = self.listing.take().unwrap_or_default();
                let changed = listing != self.standing;
                self.standing = listing;
                changed || first
            }
            Event::Apply(object) => match read(&object) {
                Some(value) if self.standing.get(&key(&object)) == Some(&value) => false,
                Some(value) => {
                    self.standing.insert(key(&object), value);
                    true
                }
                None => self.standing.remove(&key(&object)).is_some(),
            },
            Event::Delete(object) => self.standing.remove(&key(&object)).is_some(),
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    (
        object.metadata.namespace.clone().unwrap_or_default(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}

fn typed<T: DeserializeOwned>(object: &DynamicObject) -> Result<T, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn namespace(object: &DynamicObject) -> Result<Namespace, String> {
    let name = object.metadata.name.as_deref().ok_or("it has no name")?;
    Ok(Namespace {
        name: name.into(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
    })
}

/// Everything that is known so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    roles: Table<Role>,
    cluster_roles: Table<Role>,
    role_bindings: Table<Binding>,
    cluster_role_bindings: Table<Binding>,
    namespaces: Table<Namespace>,
}

impl Collected {
    /// Takes an event in; says whether the view has changed by it.
    pub(super) fn apply(&mut self, kind: Kind, event: Event<DynamicObject>) -> bool {
        match kind {
            Kind::Role => self.roles.apply(kind, event, typed),
            Kind::ClusterRole => self.cluster_roles.apply(kind, event, typed),
            Kind::RoleBinding => self.role_bindings.apply(kind, event, typed),
            Kind::ClusterRoleBinding => self.cluster_role_bindings.apply(kind, event, typed),
            Kind::Namespace => self.namespaces.apply(kind, event, namespace),
        }
    }

    pub(super) fn view(&self, cluster: ClusterId, version: u64) -> ClusterView {
        let objects = Objects {
            roles: self.roles.standing.values().cloned().collect(),
            cluster_roles: self.cluster_roles.standing.values().cloned().collect(),
            role_bindings: self.role_bindings.standing.values().cloned().collect(),
            cluster_role_bindings: self.cluster_role_bindings.standing.values().cloned().collect(),
        };
        let listed = [
            self.roles.listed,
            self.cluster_roles.listed,
            self.role_bindings.listed,
            self.cluster_role_bindings.listed,
            self.namespaces.listed,
        ];
        ClusterView {
            cluster,
            objects: Arc::new(objects),
            namespaces: self.namespaces.standing.values().cloned().collect(),
            version,
            complete: listed.into_iter().all(|listed| listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, data: serde_json::Value) -> DynamicObject {
        let mut value = serde_json::json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name } });
        value.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn role(name: &str, verb: &str) -> DynamicObject {
        object(
            "ClusterRole",
            name,
            serde_json::json!({ "rules": [{ "verbs": [verb], "apiGroups": [""], "resources": ["pods"] }] }),
        )
    }

    fn names(collected: &Collected) -> Vec<String> {
        let view = collected.view(ClusterId::new("c").unwrap(), 1);
        view.objects
            .cluster_roles
            .iter()
            .map(|role| role.metadata.name.to_string())
            .collect()
    }

    #[test]
    fn a_listing_takes_effect_as_a_whole_and_forgets_what_is_gone() {
        let mut collected = Collected::default();
        for event in [
            Event::Init,
            Event::InitApply(role("a", "get")),
            Event::InitApply(role("b", "get")),
            Event::InitDone,
        ] {
            collected.apply(Kind::ClusterRole, event);
        }
        assert_eq!(names(&collected), ["a", "b"]);
        assert!(!collected.apply(Kind::ClusterRole, Event::Init));
        assert!(!collected.apply(Kind::ClusterRole, Event::InitApply(role("b", "get"))));
        assert_eq!(names(&collected), ["a", "b"], "an unfinished listing changes nothing");
        assert!(collected.apply(Kind::ClusterRole, Event::InitDone));
        assert_eq!(names(&collected), ["b"]);
    }

    #[test]
    fn an_object_that_becomes_unreadable_stops_granting() {
        let mut collected = Collected::default();
        assert!(collected.apply(Kind::ClusterRole, Event::Apply(role("a", "get"))));
        assert!(
            !collected.apply(Kind::ClusterRole, Event::Apply(role("a", "get"))),
            "the same again is no change"
        );
        let broken = object("ClusterRole", "a", serde_json::json!({ "rules": "all" }));
        assert!(collected.apply(Kind::ClusterRole, Event::Apply(broken)));
        assert_eq!(names(&collected), Vec::<String>::new());
    }

    #[test]
    fn a_view_is_complete_only_when_every_kind_was_listed() {
        let mut collected = Collected::default();
        for kind in Kind::ALL {
            assert!(!collected.view(ClusterId::new("c").unwrap(), 1).complete);
            collected.apply(kind, Event::Init);
            assert!(
                collected.apply(kind, Event::InitDone),
                "the first listing counts even when empty"
            );
        }
        assert!(collected.view(ClusterId::new("c").unwrap(), 1).complete);
    }
}
