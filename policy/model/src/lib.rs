//! The nouns of Gatescribe: who asks, what is asked, what was decided, what is written down.
//!
//! Values only. Nothing here reads a clock, a file or a socket, so that every decision can be made again from its
//! record (promise 5). All other crates may depend on this one; it depends on none of them.

pub mod ask;
pub mod chain;
pub mod cluster;
pub mod cookie;
pub mod decision;
pub mod erasure;
pub mod event;
pub mod go_duration;
pub mod header;
pub mod live;
pub mod lock;
pub mod origin;
pub mod reason;
pub mod request;
pub mod service;
pub mod spiffe;
pub mod status;
pub mod subject;
pub mod time;
