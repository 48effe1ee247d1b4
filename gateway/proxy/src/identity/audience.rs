//! For whom a credential has to have been issued.

use std::borrow::Cow;

use model::cluster::ClusterId;
use model::service::{HostName, ServiceName};

/// What a request is for. A credential for one of them proves nobody at another.
#[derive(Clone, Copy, Debug)]
pub enum Audience<'a> {
    /// A cluster.
    Cluster(&'a ClusterId),
    /// A host of services.
    Service(AtService<'a>),
}

/// A place among the published services.
#[derive(Clone, Copy, Debug)]
pub struct AtService<'a> {
    /// Whose cookies a browser sends.
    pub host: &'a HostName,
    /// The service that the path leads to, if it leads to any.
    pub name: Option<&'a ServiceName>,
    /// The gateway's URL is https: its cookies have other names then.
    pub secure: bool,
}

impl<'a> Audience<'a> {
    /// The audience of the gateway's own tokens. No name of a cluster has a colon, and no token is issued for a service without a name.
    pub(super) fn text(&self) -> Cow<'a, str> {
        match self {
            Self::Cluster(cluster) => Cow::Borrowed(cluster.as_str()),
            Self::Service(AtService { name: Some(name), .. }) => Cow::Owned(format!("service:{name}")),
            Self::Service(AtService { name: None, .. }) => Cow::Borrowed("service:"),
        }
    }
}
