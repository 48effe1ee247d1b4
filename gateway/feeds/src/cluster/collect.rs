//! Gathers the events of each kind into objects of our own types. One unreadable object never hides the rest: it is left
//! out and said (an unreadable role grants nothing, an unreadable binding binds nobody).

use std::collections::BTreeMap;
use std::sync::Arc;

use access::rbac::{Binding, Objects, Role};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use model::cluster::ClusterId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ClusterView;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
    Namespace,
    AccessRule,
    ClusterAccessRule,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Role,
        Self::ClusterRole,
        Self::RoleBinding,
        Self::ClusterRoleBinding,
        Self::Namespace,
        Self::AccessRule,
        Self::ClusterAccessRule,
    ];

    /// Whether a cluster may lack this kind: our own, whose definition not everybody installs.
    pub(crate) const fn is_optional(self) -> bool {
        matches!(self, Self::AccessRule | Self::ClusterAccessRule)
    }

    pub(crate) const fn name(self) -> &'static str {
        self.resource().2
    }

    /// Group, version, kind, plural.
    pub(super) const fn resource(self) -> (&'static str, &'static str, &'static str, &'static str) {
        const RBAC: &str = "rbac.authorization.k8s.io";
        const OURS: &str = "gatescribe.dev";
        match self {
            Self::Role => (RBAC, "v1", "Role", "roles"),
            Self::ClusterRole => (RBAC, "v1", "ClusterRole", "clusterroles"),
            Self::RoleBinding => (RBAC, "v1", "RoleBinding", "rolebindings"),
            Self::ClusterRoleBinding => (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::AccessRule => (OURS, "v1", "AccessRule", "accessrules"),
            Self::ClusterAccessRule => (OURS, "v1", "ClusterAccessRule", "clusteraccessrules"),
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
    /// What stands, as the last view got it; nothing after a change.
    shared: Option<Arc<[T]>>,
    /// How often in a row the cluster has said that it knows no such kind.
    absent: u32,
}

/// An answer "no such kind" counts at once where nothing stands, and else only when it was heard so often: an API server
/// that has just started must not lift a forbid for a moment.
const ABSENT_FOR_SURE: u32 = 3;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            standing: BTreeMap::new(),
            listing: None,
            listed: false,
            shared: None,
            absent: 0,
        }
    }
}

impl<T> Table<T> {
    /// The cluster says that it knows no such kind. Says whether what stands has changed.
    fn is_absent(&mut self) -> bool {
        self.absent = self.absent.saturating_add(1);
        if !self.standing.is_empty() && self.absent < ABSENT_FOR_SURE {
            return false;
        }
        let first = !std::mem::replace(&mut self.listed, true);
        let had = !std::mem::take(&mut self.standing).is_empty();
        self.shared = None;
        first || had
    }
}

impl<T: Clone> Table<T> {
    /// What stands: the very same as long as nothing has changed.
    fn shared(&mut self) -> Arc<[T]> {
        let standing = &self.standing;
        Arc::clone(self.shared.get_or_insert_with(|| standing.values().cloned().collect()))
    }

    fn values(&self) -> Vec<T> {
        self.standing.values().cloned().collect()
    }
}

impl<T: PartialEq + Clone> Table<T> {
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
        let changed = match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                if let (Some(listing), Some(value)) = (&mut self.listing, read(&object)) {
                    let key = key(&object);
                    // The very one that stands, where it is the same: whoever compiles the view sees that by the reference.
                    let standing = self.standing.get(&key).filter(|standing| **standing == value);
                    let value = standing.cloned().unwrap_or(value);
                    listing.insert(key, value);
                }
                false
            }
            Event::InitDone => {
                self.absent = 0;
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
        };
        if changed {
            self.shared = None;
        }
        changed
    }
}

fn key(object: &DynamicObject) -> Key {
    (
        object.metadata.namespace.clone().unwrap_or_default(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}

fn typed<T: DeserializeOwned>(object: &DynamicObject) -> Result<Arc<T>, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

fn namespace(object: &DynamicObject) -> Result<Namespace, String> {
    let name = object.metadata.name.as_deref().ok_or("it has no name")?;
    Ok(Namespace {
        name: name.into(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
    })
}

/// The part of an access rule that its reader sees; what the API server adds is left out, so that its own bookkeeping is no
/// change of policy. It is read later, with all others, as each alone may be invalid.
fn access_rule(object: &DynamicObject) -> Value {
    let mut metadata = serde_json::json!({ "name": object.metadata.name });
    if let (Some(namespace), Some(members)) = (&object.metadata.namespace, metadata.as_object_mut()) {
        members.insert("namespace".to_owned(), namespace.as_str().into());
    }
    let (kind, version) = object
        .types
        .as_ref()
        .map_or(("AccessRule", "gatescribe.dev/v1"), |types| {
            (&types.kind, &types.api_version)
        });
    let mut rule = serde_json::json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
    if let (Value::Object(data), Some(members)) = (&object.data, rule.as_object_mut()) {
        members.extend(
            data.iter()
                .filter(|(member, _)| *member != "status")
                .map(|(k, v)| (k.clone(), v.clone())),
        );
    }
    rule
}

/// Everything that is known so far.
#[derive(Debug, Default)]
pub(super) struct Collected {
    roles: Table<Arc<Role>>,
    cluster_roles: Table<Arc<Role>>,
    role_bindings: Table<Arc<Binding>>,
    cluster_role_bindings: Table<Arc<Binding>>,
    namespaces: Table<Namespace>,
    access_rules: Table<Value>,
    cluster_access_rules: Table<Value>,
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
            Kind::AccessRule => self.access_rules.apply(kind, event, |object| Ok(access_rule(object))),
            Kind::ClusterAccessRule => self
                .cluster_access_rules
                .apply(kind, event, |object| Ok(access_rule(object))),
        }
    }

    /// The cluster knows no such kind. Only for kinds that it may lack; says whether the view has changed by it.
    pub(super) fn is_absent(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::AccessRule => self.access_rules.is_absent(),
            Kind::ClusterAccessRule => self.cluster_access_rules.is_absent(),
            Kind::Role | Kind::ClusterRole | Kind::RoleBinding | Kind::ClusterRoleBinding | Kind::Namespace => false,
        }
    }

    fn listed(&self) -> [(Kind, bool); 7] {
        [
            (Kind::Role, self.roles.listed),
            (Kind::ClusterRole, self.cluster_roles.listed),
            (Kind::RoleBinding, self.role_bindings.listed),
            (Kind::ClusterRoleBinding, self.cluster_role_bindings.listed),
            (Kind::Namespace, self.namespaces.listed),
            (Kind::AccessRule, self.access_rules.listed),
            (Kind::ClusterAccessRule, self.cluster_access_rules.listed),
        ]
    }

    /// Whether every kind has been listed at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.listed().iter().all(|(_, listed)| *listed)
    }

    pub(super) fn view(&mut self, cluster: ClusterId, version: u64) -> ClusterView {
        let objects = Objects {
            roles: self.roles.values(),
            cluster_roles: self.cluster_roles.values(),
            role_bindings: self.role_bindings.values(),
            cluster_role_bindings: self.cluster_role_bindings.values(),
        };
        let missing: Vec<&'static str> = self
            .listed()
            .into_iter()
            .filter_map(|(kind, listed)| (!listed).then_some(kind.name()))
            .collect();
        ClusterView {
            cluster,
            objects: Arc::new(objects),
            namespaces: self.namespaces.shared(),
            version,
            access_rules: self.access_rules.shared(),
            cluster_access_rules: self.cluster_access_rules.shared(),
            complete: missing.is_empty(),
            missing: missing.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, data: Value) -> DynamicObject {
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

    fn names(collected: &mut Collected) -> Vec<String> {
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
        assert_eq!(names(&mut collected), ["a", "b"]);
        assert!(!collected.apply(Kind::ClusterRole, Event::Init));
        assert!(!collected.apply(Kind::ClusterRole, Event::InitApply(role("b", "get"))));
        assert_eq!(
            names(&mut collected),
            ["a", "b"],
            "an unfinished listing changes nothing"
        );
        assert!(collected.apply(Kind::ClusterRole, Event::InitDone));
        assert_eq!(names(&mut collected), ["b"]);
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
        assert_eq!(names(&mut collected), Vec::<String>::new());
    }

    fn rule(name: &str, effect: &str) -> DynamicObject {
        let value = serde_json::json!({ "apiVersion": "gatescribe.dev/v1", "kind": "AccessRule",
            "metadata": { "name": name, "namespace": "shop", "resourceVersion": "7", "managedFields": [] },
            "spec": { "effect": effect }, "status": { "seen": true } });
        serde_json::from_value(value).unwrap()
    }

    fn rules(collected: &mut Collected) -> Vec<Value> {
        collected.view(ClusterId::new("c").unwrap(), 1).access_rules.to_vec()
    }

    #[test]
    fn an_access_rule_goes_on_as_it_was_written_and_bookkeeping_is_no_change() {
        let mut collected = Collected::default();
        assert!(collected.apply(Kind::AccessRule, Event::Apply(rule("a", "forbid"))));
        let mut again = rule("a", "forbid");
        again.metadata.resource_version = Some("8".to_owned());
        again.data["status"] = serde_json::json!({ "seen": false });
        assert!(!collected.apply(Kind::AccessRule, Event::Apply(again)));
        let written = serde_json::json!({ "apiVersion": "gatescribe.dev/v1", "kind": "AccessRule",
            "metadata": { "name": "a", "namespace": "shop" }, "spec": { "effect": "forbid" } });
        assert_eq!(rules(&mut collected), [written]);
    }

    #[test]
    fn a_cluster_without_our_kinds_is_complete_and_a_passing_no_lifts_no_forbid() {
        let mut collected = Collected::default();
        assert!(collected.is_absent(Kind::AccessRule), "the first answer counts");
        assert!(!collected.is_absent(Kind::AccessRule), "and the second is no change");
        collected.apply(Kind::AccessRule, Event::Init);
        collected.apply(Kind::AccessRule, Event::InitApply(rule("a", "forbid")));
        assert!(collected.apply(Kind::AccessRule, Event::InitDone));
        assert!(!collected.is_absent(Kind::AccessRule) && !collected.is_absent(Kind::AccessRule));
        assert_eq!(rules(&mut collected).len(), 1);
        assert!(collected.is_absent(Kind::AccessRule), "the third time it is believed");
        assert_eq!(rules(&mut collected).len(), 0);
        assert!(!collected.is_absent(Kind::Role), "RBAC is never optional");
    }

    #[test]
    fn a_view_is_complete_only_when_every_kind_was_listed() {
        let mut collected = Collected::default();
        for kind in Kind::ALL {
            let view = collected.view(ClusterId::new("c").unwrap(), 1);
            assert!(!view.complete && view.missing.contains(&kind.name()));
            collected.apply(kind, Event::Init);
            assert!(
                collected.apply(kind, Event::InitDone),
                "the first listing counts even when empty"
            );
        }
        assert!(collected.view(ClusterId::new("c").unwrap(), 1).complete);
    }
}
