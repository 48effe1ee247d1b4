//! Who may do what in the fixed world: groups `dev`, `sre`, `audit`, `oncall`, and the gateway's two accounts.

use serde_json::{Value, json};

use super::status::Refusal;
use super::store::World;
use super::world::make;

/// Makes the roles, bindings and accounts.
///
/// # Errors
/// 403 when the world is full.
pub(super) fn grant(world: &mut World) -> Result<(), Refusal> {
    for (name, rules) in cluster_roles() {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        make(world, "", role)?;
    }
    let group = |name: &str| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name});
    let account = |name: &str| json!({"kind": "ServiceAccount", "namespace": "platform", "name": name});
    let cluster = [
        ("dev-view", "view", group("dev")),
        ("sre-admin", "cluster-admin", group("sre")),
        ("audit-view", "view", group("audit")),
        ("audit-rbac", "rbac-reader", group("audit")),
        (
            "gatescribe-impersonator",
            "gatescribe-impersonator",
            account("gatescribe-impersonator"),
        ),
        (
            "gatescribe-observer",
            "gatescribe-observer",
            account("gatescribe-observer"),
        ),
        ("system:basic-user", "system:basic-user", group("system:authenticated")),
        ("system:discovery", "system:discovery", group("system:authenticated")),
    ];
    for (name, role, subject) in cluster {
        make(
            world,
            "",
            binding("ClusterRoleBinding", name, "ClusterRole", role, &subject),
        )?;
    }
    for name in ["gatescribe-impersonator", "gatescribe-observer"] {
        make(
            world,
            "platform",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
        )?;
    }
    make(
        world,
        "shop",
        binding("RoleBinding", "dev-edit", "ClusterRole", "edit", &group("dev")),
    )?;
    let rules = json!([{"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["create"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "debug"}, "rules": rules});
    make(world, "payments", role)?;
    make(
        world,
        "payments",
        binding("RoleBinding", "debug-oncall", "Role", "debug", &group("oncall")),
    )
}

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
