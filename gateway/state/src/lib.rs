//! Sessions, one-time codes, sign-in attempts and revocations: what the gateway must remember across a restart.
//!
//! The only crate with SQL. SQLite with a write-ahead log and `synchronous=FULL`: what a call returned as done is on
//! the disk. Synchronous on purpose: callers in async code use a blocking thread. Time is an argument.
//!
//! Invariants:
//! - Whatever opens a door (session secret, handle, code, state) is stored as its SHA-256 only. Provider tokens and
//!   whatever must be read again are sealed with AES-256-GCM, bound to their table and row, so that a row copied onto
//!   another opens nothing.
//! - A handle is good once. Presenting an older one ends the session, see [`Store::exchange`].
//! - Each table that strangers can write to is bounded, and at the bound the greediest source loses its own oldest row,
//!   never somebody else's.
//! - Every end of access raises one revision counter in the same transaction; see [`Store::revocations_since`].

mod attempt;
mod backup;
mod code;
mod device;
mod erasure;
mod error;
mod fair;
mod issued;
mod lock;
mod part_key;
mod pseudonym;
mod reseal;
mod revocation;
mod scrub;
mod seal;
mod secret;
mod seen;
mod service_cookie;
mod session;
mod store;
mod traces;
mod words;

pub use attempt::{NewAttempt, TakenAttempt};
pub use backup::{Backup, BackupError, Identity as BackupIdentity, Recipient, Restored, Unopened, fuzz_key_backup};
pub use code::{Arrived, NewCode, RedeemedCode};
pub use device::{Device, DevicePoll, NewDevice};
pub use erasure::PartKeyName;
pub use error::StateError;
pub use issued::IssuedCredential;
pub use lock::Locking;
pub use part_key::PartKeyBytes;
pub use reseal::Resealed;
pub use revocation::{IDENTITY_CHANGED, Revocation, Revoked};
pub use seal::{SealingKey, SealingKeys};
pub use secret::{Secret, SessionId, user_code_form};
pub use seen::Logout;
pub use service_cookie::fuzz_service_cookie;
pub use session::{
    ClientKind, EndReason, Exchange, Exchanged, Identity, NewSession, ProviderTokens, Session, SessionSecrets, Standing,
};
pub use store::{Limits, Store, SweepReport, inspect};
pub use traces::ActedThrough;
