//! An issuer's public keys: how a set is read, and when one is fetched.

mod jwk;
mod set;
mod state;

pub use jwk::KeyAlarm;
pub use set::{KeySet, KeySetError};
pub use state::{Fetched, KeyState, UnknownKey};

pub(crate) use jwk::Key;
