//! What people use on a cluster, direct and through the gate: two versions of kubectl, a program on client-go, the Python
//! client, kube-rs and Helm do the same to the same pods, and what comes back is the same, byte for byte, with the same
//! exit code, whichever protocol the client starts with.
//!
//! One row is one case of one client over one protocol. What the words of two honest runs may differ in is in `words.rs`
//! and nowhere else.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

#[path = "every_client/behind_a_proxy.rs"]
mod behind_a_proxy;
#[path = "every_client/fallback.rs"]
mod fallback;
#[path = "every_client/helm.rs"]
mod helm;
#[path = "every_client/kube_rs.rs"]
mod kube_rs;
#[path = "every_client/kubectl.rs"]
mod kubectl;
#[path = "every_client/libraries.rs"]
mod libraries;
#[path = "every_client/table.rs"]
mod table;
#[path = "every_client/talk.rs"]
mod talk;
#[path = "every_client/words.rs"]
mod words;
#[path = "every_client/world.rs"]
mod world;
