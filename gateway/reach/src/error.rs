//! Why a cluster cannot be reached, and by whose fault.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Peer;

/// Whose fault an error is, and thereby who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The configuration or a credential file: the operator of the gateway acts.
    Operator,
    /// The cluster or the network in between: wait, or look there.
    Upstream,
}

/// Everything that can go wrong between a configuration and an open connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReachError {
    /// A file named by the configuration cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// The kubeconfig is no YAML of the expected shape.
    #[error("`{path}` is no readable kubeconfig")]
    KubeconfigSyntax {
        path: PathBuf,
        #[source]
        cause: Arc<serde_saphyr::Error>,
    },
    /// A context, cluster or user named in the kubeconfig is not in it.
    #[error("`{path}` has no {kind} named `{name}`")]
    KubeconfigMissing {
        path: PathBuf,
        kind: &'static str,
        name: String,
    },
    /// The kubeconfig asks for something this gateway refuses or cannot do.
    #[error("`{path}`: `{field}` of `{name}` is not accepted: {remedy}")]
    KubeconfigRefused {
        path: PathBuf,
        name: String,
        field: &'static str,
        remedy: &'static str,
    },
    /// A server URL that is no URL, or one that would send credentials in the clear.
    #[error("server `{url}` is not usable: {reason}")]
    ServerUrl { url: String, reason: &'static str },
    /// No server at all.
    #[error("no server is configured: give at least one `https://host:port`")]
    NoServer,
    /// A PEM file or value without what was looked for.
    #[error("{what} in {place} is not usable: {reason}")]
    Material {
        what: &'static str,
        place: String,
        reason: &'static str,
    },
    /// rustls does not accept the material as a whole (a key of another certificate, for one).
    #[error("certificate and key in {place} do not work together")]
    Tls {
        place: String,
        #[source]
        cause: Arc<rustls::Error>,
    },
    /// The host's name could not be resolved and no earlier answer is known.
    #[error("cannot resolve `{host}`")]
    Resolve {
        host: String,
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// The name of a plain http server resolves to another machine.
    #[error("`{host}` is plain http and resolves to {address}, which is not this machine: use https")]
    ClearText { host: String, address: SocketAddr },
    /// A name leads to an address that no service may be behind.
    #[error("`{host}` leads to {address}, which is refused: {reason}")]
    AddressRefused {
        host: String,
        address: SocketAddr,
        reason: &'static str,
    },
    /// No address took the connection.
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// TCP came up, TLS did not: a wrong certificate authority, name or client certificate, or not a TLS server.
    #[error("no TLS connection to {address}")]
    Handshake {
        address: Peer,
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// No pod of a Service can take a connection.
    #[error("no pod of {service} takes a connection: {reason}")]
    NoEndpoint { service: String, reason: Arc<str> },
    /// A socket of this machine takes no connection.
    #[error("cannot connect to the socket `{path}`")]
    Socket {
        path: PathBuf,
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// Nothing answered in time.
    #[error("no connection within {within:?}")]
    TimedOut { within: Duration },
}

impl ReachError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreadable { .. }
            | Self::KubeconfigSyntax { .. }
            | Self::KubeconfigMissing { .. }
            | Self::KubeconfigRefused { .. }
            | Self::ServerUrl { .. }
            | Self::NoServer
            | Self::Material { .. }
            | Self::Tls { .. }
            | Self::ClearText { .. }
            | Self::AddressRefused { .. } => Fault::Operator,
            Self::Resolve { .. }
            | Self::NoEndpoint { .. }
            | Self::Socket { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::TimedOut { .. } => Fault::Upstream,
        }
    }
}
