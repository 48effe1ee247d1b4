//! The binary `gatescribe` as a library: configuration, the server's composition root and the client's commands.
//!
//! The only crate that knows all others, and the only one that reads the environment, prints, or ends the process.

pub mod config;
