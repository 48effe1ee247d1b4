//! How people type resources: singular forms, and which built-in kinds have no namespace.

/// Plural and singular of the built-in resources.
const SINGULARS: [(&str, &str); 40] = [
    ("bindings", "binding"),
    ("certificatesigningrequests", "certificatesigningrequest"),
    ("clusterrolebindings", "clusterrolebinding"),
    ("clusterroles", "clusterrole"),
    ("componentstatuses", "componentstatus"),
    ("configmaps", "configmap"),
    ("controllerrevisions", "controllerrevision"),
    ("cronjobs", "cronjob"),
    ("csidrivers", "csidriver"),
    ("csinodes", "csinode"),
    ("customresourcedefinitions", "crd"),
    ("daemonsets", "daemonset"),
    ("deployments", "deployment"),
    ("endpoints", "endpoints"),
    ("endpointslices", "endpointslice"),
    ("events", "event"),
    ("flowschemas", "flowschema"),
    ("horizontalpodautoscalers", "hpa"),
    ("ingressclasses", "ingressclass"),
    ("ingresses", "ingress"),
    ("jobs", "job"),
    ("leases", "lease"),
    ("limitranges", "limitrange"),
    ("namespaces", "namespace"),
    ("networkpolicies", "networkpolicy"),
    ("nodes", "node"),
    ("persistentvolumeclaims", "pvc"),
    ("persistentvolumes", "pv"),
    ("poddisruptionbudgets", "pdb"),
    ("pods", "pod"),
    ("priorityclasses", "priorityclass"),
    ("replicasets", "replicaset"),
    ("replicationcontrollers", "replicationcontroller"),
    ("resourcequotas", "resourcequota"),
    ("rolebindings", "rolebinding"),
    ("roles", "role"),
    ("secrets", "secret"),
    ("serviceaccounts", "serviceaccount"),
    ("services", "service"),
    ("statefulsets", "statefulset"),
];

/// Built-in resources without a namespace.
const CLUSTER_SCOPED: [&str; 24] = [
    "apiservices",
    "certificatesigningrequests",
    "clusterrolebindings",
    "clusterroles",
    "componentstatuses",
    "csidrivers",
    "csinodes",
    "customresourcedefinitions",
    "flowschemas",
    "ingressclasses",
    "ipaddresses",
    "mutatingwebhookconfigurations",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "priorityclasses",
    "prioritylevelconfigurations",
    "runtimeclasses",
    "servicecidrs",
    "storageclasses",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

/// A resource as one types it: built-in ones by their name alone, others with their group.
pub(super) fn typed(resource: &str, group: &str, singular: bool) -> String {
    let known = SINGULARS.iter().find(|(plural, _)| *plural == resource);
    match known {
        Some((_, one)) if singular && is_built_in(group) => (*one).to_owned(),
        _ if is_built_in(group) => resource.to_owned(),
        _ => format!("{resource}.{group}"),
    }
}

/// The singular of a built-in resource.
pub(crate) fn singular(resource: &str) -> Option<&'static str> {
    SINGULARS
        .iter()
        .find(|(plural, _)| *plural == resource)
        .map(|(_, one)| *one)
}

/// Groups of Kubernetes itself have one-word names or end in `k8s.io`; a resource name alone finds them.
fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// Whether a list over no namespace means all of them. Unknown kinds (custom ones) are not said to have any.
pub(super) fn is_namespaced(resource: &str) -> bool {
    SINGULARS.iter().any(|(plural, _)| *plural == resource) && !CLUSTER_SCOPED.contains(&resource)
}
