//! Search over real ledgers in temporary folders.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lint spares only `#[test]` functions"
)]

mod damaged;
mod following;
mod frozen;
mod roles;
mod searching;
mod services;
mod showing;
mod surveying;
mod world;
