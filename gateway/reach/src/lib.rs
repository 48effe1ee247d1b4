//! How a cluster is reached: addresses, TLS, the two credentials, health.
//!
//! A [`ClusterConnection`] is built once per cluster from a kubeconfig, from the service account of the pod we run in, or
//! from explicit settings, and then answers two questions: *which credential goes out now* ([`Identity::current`]) and
//! *give me a connection* ([`ClusterConnection::dial`]). It speaks no HTTP: that is the work of whoever dials.
//!
//! Three properties hold whatever the configuration says:
//! - **The server's name is always verified.** There is no switch for it; a kubeconfig that asks for
//!   `insecure-skip-tls-verify` is refused with the remedy in the message (I-11).
//! - **Plain http is for loopback only** (tests, demo, benches). The host must be `localhost` or a loopback address, and the
//!   resolved address is checked again at each dial, so that no DNS answer moves a clear-text credential off the machine.
//! - **A reload never makes things worse.** Files are read as a whole, parsed as a whole, and only a complete new snapshot
//!   replaces the old one; a half-written file keeps what works and says so (UPS-05).
//!
//! The impersonator and the observer are two [`Identity`] values so that a caller must name which of the two it means.

mod address;
mod connection;
mod credential;
mod destination;
mod dial;
mod endpoints;
mod error;
mod guard;
mod identity;
mod kubeconfig;
mod server;
mod source;
mod stream;
mod tls;

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;

pub use address::{Resolve, SystemResolver};
pub use connection::{ClusterConnection, Refreshed, Tuning};
pub use credential::Snapshot;
pub use destination::{Destination, ServiceConnection, ServicePlace, ServiceProtocol, ServiceSource};
pub use endpoints::Endpoints;
pub use error::{Fault, ReachError};
pub use identity::{Identity, Trouble};
pub use server::{Scheme, Server};
pub use source::{Authorities, ClusterSource, CredentialSource, Explicit, InCluster};
pub use stream::{Established, Patience, Peer, Protocol, Security, Stream, Wire};
