//! What one cluster of ours looks like in a kubeconfig, and how ours is told from others'.

use std::path::Path;

use console::GatewayUrl;

use super::tree::Value;
use crate::client::gateway::Cluster;

/// Printed by kubectl when the program is missing.
const INSTALL_HINT: &str = "gatescribe is needed to sign in to this cluster. Install it, then run: gatescribe login";

/// A cluster, its user and its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name of the context: what a person types.
    pub(crate) context: String,
    /// The name of cluster and user: says which gateway, so that two gateways with a cluster of the same name, or another
    /// tool's cluster, do not meet.
    pub(super) name: String,
    server: String,
    ca_data: Option<String>,
    command: String,
    args: Vec<String>,
}

impl Entry {
    /// For a cluster of a gateway; `program` is the absolute path of this binary.
    pub(crate) fn new(gateway: &GatewayUrl, cluster: &Cluster, prefix: &str, program: &Path) -> Self {
        let host = gateway.as_str().split("//").nth(1).unwrap_or_default();
        let args = [
            "kube",
            "credential",
            "--gateway",
            gateway.as_str(),
            "--cluster",
            &cluster.name,
        ];
        Self {
            context: format!("{prefix}{}", cluster.name),
            name: format!("{}@{host}", cluster.name),
            server: cluster.server.clone(),
            ca_data: cluster.ca_data.clone(),
            command: program.display().to_string(),
            args: args.map(str::to_owned).to_vec(),
        }
    }

    pub(super) fn cluster(&self) -> Value {
        let mut members = vec![("server".to_owned(), Value::text(&self.server))];
        if let Some(data) = &self.ca_data {
            members.push(("certificate-authority-data".to_owned(), Value::text(data)));
        }
        Value::map(members)
    }

    pub(super) fn user(&self) -> Value {
        let args = self.args.iter().map(|argument| Value::text(argument)).collect();
        let exec = vec![
            ("apiVersion".to_owned(), Value::text("client.authentication.k8s.io/v1")),
            ("command".to_owned(), Value::text(&self.command)),
            ("args".to_owned(), Value::List(args)),
            ("installHint".to_owned(), Value::text(INSTALL_HINT)),
            ("interactiveMode".to_owned(), Value::text("IfAvailable")),
            ("provideClusterInfo".to_owned(), Value::plain("true")),
        ];
        Value::map(vec![("exec".to_owned(), Value::map(exec))])
    }

    pub(super) fn context(&self) -> Value {
        Value::map(vec![
            ("cluster".to_owned(), Value::text(&self.name)),
            ("user".to_owned(), Value::text(&self.name)),
        ])
    }

    /// Whether a user item is one that this program wrote for the same gateway and cluster.
    pub(super) fn owns_user(&self, item: &Value) -> bool {
        let exec = item.member("user").and_then(|user| user.member("exec"));
        let Some(Value::List(args)) = exec.and_then(|exec| exec.member("args")) else {
            return false;
        };
        args.len() == self.args.len()
            && args
                .iter()
                .zip(&self.args)
                .all(|(found, own)| found.as_text() == Some(own))
    }

    /// Whether a context item leads to ours. Its namespace and extensions belong to the person.
    pub(super) fn owns_context(&self, item: &Value) -> bool {
        let context = item.member("context");
        let names = |key| context.and_then(|context| context.member(key)).and_then(Value::as_text);
        names("cluster") == Some(&self.name) && names("user") == Some(&self.name)
    }
}
