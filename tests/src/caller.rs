//! Single calls through the gateway, for stories that look at the record of each: a namespace with rights in it, and a
//! caller who learns each call's id.

use anyhow::Context as _;
use serde_json::Value;

use crate::gateway::Gateway;
use crate::http::{Client, field};

/// A header for JSON bodies.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");
/// A header that asks for protobuf.
pub const PROTOBUF: (&str, &str) = ("Accept", "application/vnd.kubernetes.protobuf");

/// A namespace in which a group and the ServiceAccount `robot` may do everything with a few kinds.
#[must_use]
pub fn roles(namespace: &str, group: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{ name: {namespace} }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: robot, namespace: {namespace} }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: works, namespace: {namespace} }}
rules:
- apiGroups: [""]
  resources: [configmaps, secrets, serviceaccounts, serviceaccounts/token, services, services/proxy]
  verbs: ["*"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: works, namespace: {namespace} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: works }}
subjects:
- {{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: {group} }}
- {{ kind: ServiceAccount, name: robot, namespace: {namespace} }}
"#
    )
}

/// One caller with a bearer token.
#[derive(Debug)]
pub struct Caller {
    /// Speaks to the Kubernetes listener.
    pub client: Client,
    /// The value of `Authorization`.
    pub bearer: String,
}

impl Caller {
    /// A caller who holds `token`.
    ///
    /// # Errors
    /// The gateway's authority is unusable.
    pub fn new(gateway: &Gateway, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: gateway.client()?,
            bearer: format!("Bearer {token}"),
        })
    }

    /// Sends a call and returns its id, its status and its body.
    ///
    /// # Errors
    /// No answer, or one without an id.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<(String, u16, Vec<u8>)> {
        let mut headers = vec![("Authorization", self.bearer.as_str())];
        headers.extend_from_slice(more);
        let answer = self
            .client
            .send(method, &format!("/clusters/bench{path}"), &headers, body)?;
        let id = field(&answer.head, "audit-id").map(str::to_owned);
        Ok((
            id.with_context(|| format!("an Audit-Id in {}", answer.head))?,
            answer.status,
            answer.body,
        ))
    }
}

/// The first and the last record of a call, once both are there.
///
/// # Errors
/// They do not come, or are no pair.
pub fn both(gateway: &Gateway, id: &str) -> anyhow::Result<(Value, Value)> {
    let ends = |record: &&Value| record["id"] == id && (record["kind"] == "outcome" || record["kind"] == "close");
    let records = gateway.records_with("the end of the call", |records| {
        records.iter().any(|record| ends(&record))
    })?;
    let first = records
        .iter()
        .find(|record| record["id"] == id)
        .context("its first record")?;
    let last = records.iter().find(ends).context("its end")?;
    anyhow::ensure!(last["pair"] == first["seq"], "{first} and {last} are no pair");
    Ok((first.clone(), last.clone()))
}
