//! What folds over records and events find. Pure: values in, findings out.
//!
//! [`reconcile`] joins the gateway's ledger with the audit log that the API server itself writes, by `Audit-ID`: which calls never
//! passed the gate, which of the gateway's own credential are in no record, which of ours never arrived.

mod calls;
pub mod reconcile;
mod server_log;

#[cfg(test)]
mod tests;

pub use calls::{Call, Calls, Sent};
pub use server_log::{ServerEvent, ServerLogError, Stage, fuzz_server_log, read_line};
