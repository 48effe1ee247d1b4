//! What sort of act a request is, beyond its verb.

use serde::{Deserialize, Serialize};

use super::verb::Verb;

/// Acts that deserve a name of their own in rules, records and detections, whatever their HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing special.
    Plain,
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
    /// `nodes/proxy`, `pods/proxy`, `services/proxy`: `get nodes/proxy` runs commands in every pod of a node.
    Proxy,
    /// `pods/ephemeralcontainers`: a new container in a running pod.
    EphemeralContainers,
    /// `pods/log`.
    Log,
    /// `serviceaccounts/token`: a credential is issued.
    IssueToken,
    /// `certificatesigningrequests/approval` and `/status`: a certificate is approved or issued.
    IssueCertificate,
    /// A write on RBAC's own objects: rights change.
    ChangeRights,
    /// A question about rights: `authorization.k8s.io/*reviews`.
    ReviewAccess,
}

impl Action {
    /// Whether it belongs to the class *enter*: a foot inside a pod, node or service.
    #[must_use]
    pub const fn enters(self) -> bool {
        match self {
            Self::Exec | Self::Attach | Self::PortForward | Self::Proxy | Self::EphemeralContainers => true,
            Self::Plain
            | Self::Log
            | Self::IssueToken
            | Self::IssueCertificate
            | Self::ChangeRights
            | Self::ReviewAccess => false,
        }
    }

    /// Whether it is a stream for which `create` is asked whatever the HTTP method (KEP-4006; B-18).
    #[must_use]
    pub const fn streams(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward)
    }

    /// The name used in rules and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Log => "log",
            Self::IssueToken => "issuetoken",
            Self::IssueCertificate => "issuecertificate",
            Self::ChangeRights => "changerights",
            Self::ReviewAccess => "reviewaccess",
        }
    }

    /// The act that a resource, subresource and verb make.
    #[must_use]
    pub fn of_resource(group: &str, resource: &str, subresource: &str, verb: &Verb) -> Self {
        let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        match (group, resource, subresource) {
            _ if *verb == Verb::Proxy => Self::Proxy,
            ("", "pods", "exec") => Self::Exec,
            ("", "pods", "attach") => Self::Attach,
            ("", "pods", "portforward") => Self::PortForward,
            ("", "nodes" | "pods" | "services", "proxy") => Self::Proxy,
            ("", "pods", "ephemeralcontainers") => Self::EphemeralContainers,
            ("", "pods", "log") => Self::Log,
            ("", "serviceaccounts", "token") => Self::IssueToken,
            ("certificates.k8s.io", "certificatesigningrequests", "approval" | "status") if !reads => {
                Self::IssueCertificate
            }
            ("rbac.authorization.k8s.io", _, _) if !reads => Self::ChangeRights,
            ("authorization.k8s.io", _, _) => Self::ReviewAccess,
            _ => Self::Plain,
        }
    }
}

/// What must be durable before what (promise 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Get, list, watch or log, without upgrade, *enter* class or nested impersonation: recorded before the answer is
    /// released.
    PureRead,
    /// Everything else, and all that is unknown: recorded before the first byte goes upstream.
    Effect,
}
