//! The pods behind a Service of a cluster, as whoever watches them says: what a [`crate::ServiceConnection`] dials.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::{ReachError, Server};

/// Where the pods of a Service are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Those that take calls.
    pub ready: Vec<SocketAddr>,
    /// Those that end and serve until then: tried while none is ready (KEP-1669).
    pub ending: Vec<SocketAddr>,
    /// Whether the cluster has said them once. Before, a dial waits for a moment.
    pub is_known: bool,
    /// Why there are none, or why these may be old, in words for the operator.
    pub trouble: Option<Arc<str>>,
}

/// No pod can be dialled.
pub(crate) fn none(server: &Server, trouble: Option<Arc<str>>) -> ReachError {
    ReachError::NoEndpoint {
        service: format!("`{}`", server.host()),
        reason: trouble.unwrap_or_else(|| "the cluster has not said yet where they are".into()),
    }
}
