//! Who may do what in the fixed world: groups `dev`, `sre`, `audit`, `oncall`, and the gateway's two accounts.

use serde_json::{Value, json};

use super::status::Refusal;
use super::store::World;
use super::world::make;
use Subject::{Account, Group};

/// Makes the roles, bindings and accounts.
///
/// # Errors
/// 403 when the world is full.
pub(super) fn grant(world: &mut World) -> Result<(), Refusal> {
    for (name, rules) in cluster_roles() {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        make(world, "", role)?;
    }
    for (namespace, name) in ACCOUNTS {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        make(world, namespace, account)?;
    }
    let rules = json!([{"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["create"]}]);
    let debug = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "debug"}, "rules": rules});
    make(world, "payments", debug)?;
    for (namespace, name, role, subject) in BINDINGS {
        let kind = if namespace.is_empty() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        let role_kind = if role == "debug" { "Role" } else { "ClusterRole" };
        make(
            world,
            namespace,
            binding(kind, name, role_kind, role, &subject.object()),
        )?;
    }
    Ok(())
}

/// Whom a binding names.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Group(&'static str),
    /// Namespace and name.
    Account(&'static str, &'static str),
}

impl Subject {
    fn object(self) -> Value {
        match self {
            Group(name) => json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}),
            Account(namespace, name) => json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}),
        }
    }
}

const ACCOUNTS: [(&str, &str); 5] = [
    ("platform", "gatescribe-impersonator"),
    ("platform", "gatescribe-observer"),
    ("platform", "gitops"),
    ("monitoring", "kube-state-metrics"),
    ("default", "ci-runner"),
];

/// Namespace (empty: the whole cluster), name, role, subject.
#[rustfmt::skip]
const BINDINGS: [(&str, &str, &str, Subject); 15] = [
    ("", "dev-view", "view", Group("dev")),
    ("", "sre-admin", "cluster-admin", Group("sre")),
    ("", "audit-view", "view", Group("audit")),
    ("", "audit-rbac", "rbac-reader", Group("audit")),
    ("", "gatescribe-impersonator", "gatescribe-impersonator", Account("platform", "gatescribe-impersonator")),
    ("", "gatescribe-observer", "gatescribe-observer", Account("platform", "gatescribe-observer")),
    ("", "gitops", "view", Account("platform", "gitops")),
    ("", "kube-state-metrics", "view", Account("monitoring", "kube-state-metrics")),
    ("", "system:basic-user", "system:basic-user", Group("system:authenticated")),
    ("", "system:discovery", "system:discovery", Group("system:authenticated")),
    ("shop", "dev-edit", "edit", Group("dev")),
    ("shop", "gitops", "edit", Account("platform", "gitops")),
    ("shop", "ci-runner", "view", Account("default", "ci-runner")),
    ("payments", "gitops", "edit", Account("platform", "gitops")),
    ("payments", "debug-oncall", "debug", Group("oncall")),
];

fn binding(kind: &str, name: &str, role_kind: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
    })
}

#[rustfmt::skip]
fn cluster_roles() -> [(&'static str, Value); 8] {
    let read = ["get", "list", "watch"];
    let change = ["create", "delete", "deletecollection", "patch", "update"];
    let all = [read.as_slice(), change.as_slice()].concat();
    let core = ["pods", "pods/log", "pods/status", "services", "configmaps", "serviceaccounts", "events", "namespaces", "nodes"];
    let apps = ["deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets", "statefulsets/scale"];
    let view = json!([
        {"apiGroups": [""], "resources": core, "verbs": read},
        {"apiGroups": ["apps"], "resources": apps, "verbs": read},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]);
    let edit = json!([
        {"apiGroups": [""], "resources": ["pods", "services", "configmaps", "secrets", "serviceaccounts"], "verbs": all},
        {"apiGroups": [""], "resources": ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"], "verbs": ["get", "create"]},
        {"apiGroups": ["apps"], "resources": apps, "verbs": change},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": change},
    ]);
    let rbac = "rbac.authorization.k8s.io";
    let kinds = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
    [
        ("cluster-admin", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}])),
        ("view", view),
        ("edit", edit),
        ("rbac-reader", json!([{"apiGroups": [rbac], "resources": kinds, "verbs": read}])),
        ("gatescribe-impersonator", json!([
            {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
            // Every extra has its own subresource of `userextras`, and RBAC has no `userextras/*`.
            {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
        ])),
        ("gatescribe-observer", json!([
            {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods", "services", "serviceaccounts"], "verbs": read},
            {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets"], "verbs": read},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            {"apiGroups": [rbac], "resources": kinds, "verbs": read},
            // Not in this world; but "no such kind" and "you may not know" are different answers to whoever has to decide.
            {"apiGroups": ["gatescribe.dev"], "resources": ["accessrules", "clusteraccessrules"], "verbs": read},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ])),
        ("system:basic-user", json!([
            {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
        ])),
        ("system:discovery", json!([{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"], "verbs": ["get"]}])),
    ]
}
