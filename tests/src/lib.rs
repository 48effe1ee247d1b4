//! The test bench: real counterparts (etcd, kube-apiserver, kubectl, a node that runs pods) for stories, soaks and benches.
//!
//! It is not a fake of anything: what it starts are the pinned programs of `tests/counterparts`, built by
//! `cargo xtask counterparts` into `target/counterparts/bin`. It depends on no crate of the gateway but the ledger's
//! reader, so a story drives the gateway as its users do.
//!
//! ```no_run
//! use tests::cluster::{Cluster, Options};
//!
//! fn story() -> anyhow::Result<()> {
//!     let cluster = Cluster::start(Options::default())?; // etcd and kube-apiserver, 2.5 to 4 s
//!     let pods = cluster.kubectl(&["get", "pods", "-A"])?;
//!     assert_eq!(pods.code, 0, "{pods}");
//!     Ok(())
//! }
//! ```
//!
//! Invariant: everything started here ends with the test runner, also when that is killed with SIGKILL
//! ([`process`] says how), and has its own ports, data folder and process group.

pub mod backends;
pub mod browser;
pub mod caller;
pub mod captured;
pub mod channels;
pub mod chromium;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod counterparts;
pub mod demo;
pub mod fake;
pub mod fed;
pub mod frames;
pub mod gateway;
pub mod hostile;
pub mod http;
pub mod kubectl;
pub mod left_out;
pub mod measure;
pub mod metrics;
pub mod once;
pub mod open;
pub mod person;
pub mod pki;
pub mod pods;
pub mod ports;
pub mod process;
pub mod records;
pub mod relay;
pub mod rules;
pub mod spdy;
pub mod spiffe;
pub mod terminal;
pub mod tools;
pub mod upgraded;
pub mod wait;
pub mod webhook;
pub mod window;
pub mod witness;
