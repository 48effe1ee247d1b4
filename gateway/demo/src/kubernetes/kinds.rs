//! The kinds of the demo, one row each. What is not here answers "not in the demo".

/// One kind of object.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) is_namespaced: bool,
    /// Belongs to `kubectl get all`.
    pub(super) is_in_all: bool,
    /// Has a `status` that is written through its own subresource.
    pub(super) has_status: bool,
    pub(super) has_scale: bool,
    /// Its message in `schema.txt`.
    pub(super) message: &'static str,
}

/// A kind, as its place in [`KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KindId(usize);

/// All groups have exactly this version.
pub(super) const VERSION: &str = "v1";

const CORE: Kind = Kind {
    group: "",
    plural: "",
    singular: "",
    kind: "",
    short: &[],
    is_namespaced: true,
    is_in_all: false,
    has_status: false,
    has_scale: false,
    message: "",
};
const APPS: Kind = Kind {
    group: "apps",
    is_in_all: true,
    has_status: true,
    has_scale: true,
    ..CORE
};
const RBAC: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    ..CORE
};

#[rustfmt::skip]
pub(super) static KINDS: [Kind; 17] = [
    Kind { plural: "namespaces", singular: "namespace", kind: "Namespace", short: &["ns"], is_namespaced: false, has_status: true, message: "core.Namespace", ..CORE },
    Kind { plural: "nodes", singular: "node", kind: "Node", short: &["no"], is_namespaced: false, has_status: true, message: "core.Node", ..CORE },
    Kind { plural: "pods", singular: "pod", kind: "Pod", short: &["po"], is_in_all: true, has_status: true, message: "core.Pod", ..CORE },
    Kind { plural: "services", singular: "service", kind: "Service", short: &["svc"], is_in_all: true, has_status: true, message: "core.Service", ..CORE },
    Kind { plural: "configmaps", singular: "configmap", kind: "ConfigMap", short: &["cm"], message: "core.ConfigMap", ..CORE },
    Kind { plural: "secrets", singular: "secret", kind: "Secret", message: "core.Secret", ..CORE },
    Kind { plural: "serviceaccounts", singular: "serviceaccount", kind: "ServiceAccount", short: &["sa"], message: "core.ServiceAccount", ..CORE },
    Kind { plural: "events", singular: "event", kind: "Event", short: &["ev"], message: "core.Event", ..CORE },
    Kind { plural: "deployments", singular: "deployment", kind: "Deployment", short: &["deploy"], message: "apps.Deployment", ..APPS },
    Kind { plural: "replicasets", singular: "replicaset", kind: "ReplicaSet", short: &["rs"], message: "apps.ReplicaSet", ..APPS },
    Kind { plural: "statefulsets", singular: "statefulset", kind: "StatefulSet", short: &["sts"], message: "apps.StatefulSet", ..APPS },
    Kind { group: "networking.k8s.io", plural: "networkpolicies", singular: "networkpolicy", kind: "NetworkPolicy", short: &["netpol"], message: "networking.NetworkPolicy", ..CORE },
    Kind { group: "discovery.k8s.io", plural: "endpointslices", singular: "endpointslice", kind: "EndpointSlice", message: "discovery.EndpointSlice", ..CORE },
    Kind { plural: "roles", singular: "role", kind: "Role", message: "rbac.Role", ..RBAC },
    Kind { plural: "rolebindings", singular: "rolebinding", kind: "RoleBinding", message: "rbac.RoleBinding", ..RBAC },
    Kind { plural: "clusterroles", singular: "clusterrole", kind: "ClusterRole", is_namespaced: false, message: "rbac.ClusterRole", ..RBAC },
    Kind { plural: "clusterrolebindings", singular: "clusterrolebinding", kind: "ClusterRoleBinding", is_namespaced: false, message: "rbac.ClusterRoleBinding", ..RBAC },
];

pub(super) const NAMESPACES: KindId = KindId(0);
pub(super) const PODS: KindId = KindId(2);
pub(super) const SERVICES: KindId = KindId(3);
pub(super) const EVENTS: KindId = KindId(7);
pub(super) const DEPLOYMENTS: KindId = KindId(8);
pub(super) const REPLICASETS: KindId = KindId(9);
pub(super) const STATEFULSETS: KindId = KindId(10);
pub(super) const ENDPOINTSLICES: KindId = KindId(12);
pub(super) const ROLES: KindId = KindId(13);
pub(super) const ROLEBINDINGS: KindId = KindId(14);
pub(super) const CLUSTERROLES: KindId = KindId(15);
pub(super) const CLUSTERROLEBINDINGS: KindId = KindId(16);

/// The groups in the order in which discovery shows them.
pub(super) const GROUPS: [&str; 4] = [
    "apps",
    "networking.k8s.io",
    "discovery.k8s.io",
    "rbac.authorization.k8s.io",
];
/// The groups that hold reviews only.
pub(super) const REVIEW_GROUPS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

impl KindId {
    pub(super) fn row(self) -> &'static Kind {
        // An id is made only from a place in the table.
        KINDS.get(self.0).unwrap_or(&CORE_ROW)
    }

    pub(super) fn all() -> impl Iterator<Item = KindId> {
        (0..KINDS.len()).map(KindId)
    }

    pub(super) fn by_plural(group: &str, plural: &str) -> Option<KindId> {
        Self::all().find(|id| id.row().group == group && id.row().plural == plural)
    }

    pub(super) fn by_kind(api_version: &str, kind: &str) -> Option<KindId> {
        Self::all().find(|id| id.row().kind == kind && id.row().api_version() == api_version)
    }
}

static CORE_ROW: Kind = CORE;

impl Kind {
    pub(super) fn api_version(&self) -> String {
        group_version(self.group)
    }

    /// `deployments.apps`, as the API server writes it into messages.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The subresources that really answer.
    pub(super) fn subresources(&self) -> Vec<&'static str> {
        let mut all = Vec::new();
        if self.has_status {
            all.push("status");
        }
        if self.has_scale {
            all.push("scale");
        }
        if self.kind == "Pod" {
            all.push("log");
        }
        all
    }
}

/// `v1` or `GROUP/v1`.
pub(super) fn group_version(group: &str) -> String {
    if group.is_empty() {
        VERSION.to_owned()
    } else {
        format!("{group}/{VERSION}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_ids_stand_for_their_kinds() {
        let named = [
            (NAMESPACES, "Namespace"),
            (PODS, "Pod"),
            (SERVICES, "Service"),
            (EVENTS, "Event"),
            (DEPLOYMENTS, "Deployment"),
            (REPLICASETS, "ReplicaSet"),
            (STATEFULSETS, "StatefulSet"),
            (ENDPOINTSLICES, "EndpointSlice"),
            (ROLES, "Role"),
            (ROLEBINDINGS, "RoleBinding"),
            (CLUSTERROLES, "ClusterRole"),
            (CLUSTERROLEBINDINGS, "ClusterRoleBinding"),
        ];
        for (id, kind) in named {
            assert_eq!(id.row().kind, kind);
        }
    }
}
