//! The outside world as snapshots of model types, and answers to the questions that the request path asks.
//!
//! Whatever changes outside (cluster objects, rule files, issuer keys) arrives here, becomes our own types at the door and
//! goes on as an immutable snapshot in a `watch` channel. Feeds never speak for a person: they use the observer's
//! credential, which can do nothing but look.
//!
//! Invariant: a snapshot says when the world was last heard of; whoever decides on it refuses when that is too long ago.

pub mod account_issuer;
pub mod annotated;
pub mod answers;
pub mod cluster;
pub mod endpoints;
pub mod issuers;
pub mod observer;
pub mod rules;
pub mod workload_api;
