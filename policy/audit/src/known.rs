//! The built-in resources, so that a rule about one that is not there can be told.

/// API group, resource, and its subresources: what kube-apiserver 1.36 serves with everything switched on
/// (kubernetes/kubernetes, `api/discovery`). What is not built in may be anything.
const KNOWN: &[(&str, &str, &str)] = &[
    ("", "bindings", ""),
    ("", "componentstatuses", ""),
    ("", "configmaps", ""),
    ("", "endpoints", ""),
    ("", "events", ""),
    ("", "limitranges", ""),
    ("", "namespaces", "finalize status"),
    ("", "nodes", "proxy status"),
    ("", "persistentvolumeclaims", "status"),
    ("", "persistentvolumes", "status"),
    (
        "",
        "pods",
        "attach binding ephemeralcontainers eviction exec log portforward proxy resize status",
    ),
    ("", "podtemplates", ""),
    ("", "replicationcontrollers", "scale status"),
    ("", "resourcequotas", "status"),
    ("", "secrets", ""),
    ("", "serviceaccounts", "token"),
    ("", "services", "proxy status"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", ""),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", ""),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "status"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", ""),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", "status"),
    ("apiregistration.k8s.io", "apiservices", "status"),
    ("apps", "controllerrevisions", ""),
    ("apps", "daemonsets", "status"),
    ("apps", "deployments", "scale status"),
    ("apps", "replicasets", "scale status"),
    ("apps", "statefulsets", "scale status"),
    ("authentication.k8s.io", "selfsubjectreviews", ""),
    ("authentication.k8s.io", "tokenreviews", ""),
    ("authorization.k8s.io", "localsubjectaccessreviews", ""),
    ("authorization.k8s.io", "selfsubjectaccessreviews", ""),
    ("authorization.k8s.io", "selfsubjectrulesreviews", ""),
    ("authorization.k8s.io", "subjectaccessreviews", ""),
    ("autoscaling", "horizontalpodautoscalers", "status"),
    ("batch", "cronjobs", "status"),
    ("batch", "jobs", "status"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval status"),
    ("certificates.k8s.io", "clustertrustbundles", ""),
    ("certificates.k8s.io", "podcertificaterequests", "status"),
    ("coordination.k8s.io", "leasecandidates", ""),
    ("coordination.k8s.io", "leases", ""),
    ("discovery.k8s.io", "endpointslices", ""),
    ("events.k8s.io", "events", ""),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "status"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "status"),
    ("internal.apiserver.k8s.io", "storageversions", "status"),
    ("networking.k8s.io", "ingressclasses", ""),
    ("networking.k8s.io", "ingresses", "status"),
    ("networking.k8s.io", "ipaddresses", ""),
    ("networking.k8s.io", "networkpolicies", ""),
    ("networking.k8s.io", "servicecidrs", "status"),
    ("node.k8s.io", "runtimeclasses", ""),
    ("policy", "poddisruptionbudgets", "status"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("rbac.authorization.k8s.io", "roles", ""),
    ("resource.k8s.io", "deviceclasses", ""),
    ("resource.k8s.io", "devicetaintrules", "status"),
    ("resource.k8s.io", "resourceclaims", "status"),
    ("resource.k8s.io", "resourceclaimtemplates", ""),
    ("resource.k8s.io", "resourcepoolstatusrequests", "status"),
    ("resource.k8s.io", "resourceslices", ""),
    ("scheduling.k8s.io", "podgroups", "status"),
    ("scheduling.k8s.io", "priorityclasses", ""),
    ("scheduling.k8s.io", "workloads", ""),
    ("storage.k8s.io", "csidrivers", ""),
    ("storage.k8s.io", "csinodes", ""),
    ("storage.k8s.io", "csistoragecapacities", ""),
    ("storage.k8s.io", "storageclasses", ""),
    ("storage.k8s.io", "volumeattachments", "status"),
    ("storage.k8s.io", "volumeattributesclasses", ""),
    ("storagemigration.k8s.io", "storageversionmigrations", "status"),
];

/// Whether the group is built in, so that all its resources are known.
pub(crate) fn is_known_group(group: &str) -> bool {
    KNOWN.iter().any(|(known, ..)| *known == group)
}

/// The resources of a group.
pub(crate) fn resources(group: &str) -> impl Iterator<Item = &'static str> {
    KNOWN
        .iter()
        .filter(move |(known, ..)| *known == group)
        .map(|(_, resource, _)| *resource)
}

/// The subresources of a resource; none where there is no such resource.
pub(crate) fn subresources(group: &str, resource: &str) -> impl Iterator<Item = &'static str> {
    let found = KNOWN
        .iter()
        .find(move |(known, name, _)| (*known, *name) == (group, resource));
    found
        .into_iter()
        .flat_map(|(_, _, below)| below.split_ascii_whitespace())
}

/// The groups that have a resource of this name.
pub(crate) fn groups_of(resource: &str) -> impl Iterator<Item = &'static str> {
    KNOWN
        .iter()
        .filter(move |(_, name, _)| *name == resource)
        .map(|(group, ..)| *group)
}

/// The API group of a built-in resource in plural, the core group first; `None` where none is built in.
#[must_use]
pub fn group_of(resource: &str) -> Option<&'static str> {
    groups_of(resource).next()
}
