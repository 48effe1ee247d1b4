//! What folds over records and events find. Pure: values in, findings out.
//!
//! [`reconcile`] joins the gateway's ledger with the audit log that the API server itself writes, by `Audit-ID`: which calls never
//! passed the gate, which of the gateway's own credential are in no record, which of ours never arrived.
//!
//! [`replay`] asks rules about the calls of that log: which of them they would have refused.

mod asked;
mod calls;
pub mod coverage;
mod go_path;
mod network;
mod observed;
mod recent;
pub mod reconcile;
pub mod replay;
mod server_log;

#[cfg(test)]
mod tests;

pub use asked::{Unclear, facts_of, method_of};
pub use calls::{Call, Calls, Kept, LedgerGap, Sent};
pub use network::{Network, NoNetwork};
pub use observed::{Observed, ObservedError, ObservedLog, fuzz_observed_records};
pub use server_log::{
    More, ObjectRef, Person, ServerEvent, ServerLogError, Stage, TakeEvent, for_each, fuzz_server_log, read_each,
    read_line,
};
