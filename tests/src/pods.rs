//! Where stories of what people do in pods begin: a cluster with a node whose pods are real processes, namespaces in which
//! developers may do everything, and shells in them. What is a story's own (other rights, other pods, its rules) it says itself.

use anyhow::Context as _;

use crate::cluster::{Cluster, Options};
use crate::kubectl::Kubectl;
use crate::wait::{PATIENCE, try_until};

impl Cluster {
    /// A cluster with a node and all that `world` says (YAML), once each pod of it that is on the node is ready.
    ///
    /// # Errors
    /// A part does not start, or the server refuses a document.
    pub fn with_pods(world: &str) -> anyhow::Result<Self> {
        let options = Options {
            node: true,
            ..Options::default()
        };
        Self::with_pods_and(options, world)
    }

    /// As [`Cluster::with_pods`], with other options; a node has to be among them.
    ///
    /// # Errors
    /// As of [`Cluster::with_pods`].
    pub fn with_pods_and(options: Options, world: &str) -> anyhow::Result<Self> {
        let cluster = Self::start(options)?;
        let admin = cluster.admin()?;
        admin.apply(world)?;
        let on_the_node = ["pod", "--all", "-A", "--field-selector=spec.nodeName=node-1"];
        are_ready(&admin, &on_the_node)?;
        Ok(cluster)
    }

    /// Waits until a pod is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn pod_is_ready(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        are_ready(&self.admin()?, &[&format!("pod/{name}"), "-n", namespace])
    }
}

fn are_ready(admin: &Kubectl, which: &[&str]) -> anyhow::Result<()> {
    let wait = [&["wait", "--for=condition=Ready", "--timeout=170s"], which].concat();
    admin.ok(&wait).map(drop)
}

/// A namespace, as a YAML document.
#[must_use]
pub fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n")
}

/// The group `dev` may do everything in a namespace, as a YAML document.
#[must_use]
pub fn dev_does_all(namespace: &str) -> String {
    format!(
        r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: dev, namespace: {namespace} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }}
subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }}]
"#
    )
}

/// A pod on the node that only waits to be entered, as a YAML document.
#[must_use]
pub fn shell(namespace: &str, name: &str) -> String {
    on_the_node(namespace, name, &format!("{{ name: {name}, image: none }}"))
}

/// A pod on the node that runs a line of a shell, as a YAML document. The line has no single quotes in it.
#[must_use]
pub fn runs(namespace: &str, name: &str, line: &str) -> String {
    let container = format!("{{ name: {name}, image: none, command: [sh, -c, '{line}'] }}");
    on_the_node(namespace, name, &container)
}

/// The pod `nowhere`, on no node, as a YAML document: whoever wants to enter it is refused by the cluster, which kubectl asks.
#[must_use]
pub fn nowhere(namespace: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{ name: nowhere, namespace: {namespace} }}
spec:
  containers: [{{ name: shell, image: none }}]
"#
    )
}

fn on_the_node(namespace: &str, name: &str, container: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers: [{container}]
"#
    )
}

/// The namespace `kept`, in which developers may do everything, with the pod `shell`.
#[must_use]
pub fn kept() -> String {
    [namespace("kept"), dev_does_all("kept"), shell("kept", "shell")].concat()
}

/// Says that it has begun, and ticks without end.
pub const TICKS: &str = "echo begun; while :; do echo tick; sleep 0.1; done";

/// Says numbered lines without end.
pub const TALK: &str = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";

/// Where the sample service in a container listens, as its log says: address with port.
///
/// # Errors
/// It does not say.
pub fn listens(admin: &Kubectl, namespace: &str, pod: &str, container: &str) -> anyhow::Result<String> {
    try_until("the sample says where it listens", PATIENCE, || {
        let log = admin.ok(&["logs", pod, "-n", namespace, "-c", container])?;
        let found = log.lines().find_map(|line| line.strip_prefix("listening on "));
        Ok(found.context("not yet")?.to_owned())
    })
}

/// The port of an address.
///
/// # Errors
/// There is none in it.
pub fn port(address: &str) -> anyhow::Result<u16> {
    let (_, port) = address.rsplit_once(':').context("no port")?;
    Ok(port.parse()?)
}
