//! A session under way: an exec, attach or port-forward, or another call that became something else than HTTP.

use serde::Serialize;

use crate::subject::SubjectId;
use crate::time::Timestamp;

/// Who is where since when, and what has passed up to now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveSession {
    /// The id of its request, which is the session's name everywhere.
    pub id: String,
    /// Whose it is.
    pub subject: SubjectId,
    /// Their Kubernetes user name.
    pub user: String,
    /// For display.
    pub email: Option<String>,
    /// Which cluster; empty for a service.
    pub cluster: String,
    /// Which HTTP service, for what asked one for another protocol.
    pub service: Option<LiveService>,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// `pods`, `services`, `nodes`.
    pub resource: String,
    /// The object's name.
    pub name: String,
    /// The container, where the request names one.
    pub container: Option<String>,
    /// `NAMESPACE/NAME` of the pod, where a node's kubelet is asked.
    pub pod: Option<String>,
    /// The pod's node, where the cluster has said it.
    pub node: Option<String>,
    /// `exec`, `attach`, `portforward`, `proxy`; empty for a service.
    pub action: String,
    /// Why, where the person has stated it.
    pub stated_reason: Option<String>,
    /// When its request came.
    pub since: Timestamp,
    /// Bytes from the person up to now, framing included.
    pub bytes_in: u64,
    /// Bytes to the person up to now, framing included.
    pub bytes_out: u64,
    /// It is being recorded.
    pub is_recorded: bool,
}

/// Where at a service a session is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveService {
    /// The service's name.
    pub name: Option<String>,
    /// The host under which it was asked for.
    pub host: String,
    /// What the record has of the path.
    pub path: String,
    /// Whoever asked had not signed in, and a rule lets the public do it.
    pub is_public: bool,
}
