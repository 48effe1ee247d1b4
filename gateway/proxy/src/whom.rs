//! Whom a call is for, in the words of answers, records and logs: somebody who called a service is told of the service.

use std::fmt;

/// One of the two kinds of upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A cluster's API.
    Cluster,
    /// A published service.
    Service,
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "the cluster",
            Self::Service => "the service",
        })
    }
}
