//! OpenID Connect and tokens as values: this crate says which request to send and judges what came back. It never sends.
//!
//! No runtime, no clock, no socket, no file: requests are [`http::Request`] values, answers are handed in as [`Answer`],
//! and time is an argument. So every rule about tokens can be tested by itself, and the request path never waits here.
//!
//! The way of a token:
//!
//! ```text
//! text ─► Unverified::parse ─► Issuers::select ─► Issuer::verify(keys, now, purpose) ─► VerifiedToken
//!         shape only,          by `iss`, only      signature, times, audience, mapping,
//!         nothing believed     to pick a verifier  rules; every refusal is a TokenError
//! ```
//!
//! - `issuer`: what is trusted, read from Kubernetes' `AuthenticationConfiguration` or our own `Provider`, one compiled form.
//! - `keys`: key sets and the state machine that says when to fetch one.
//! - `login`: authorization code with PKCE, exchange, renewal, revocation, logout in both directions.
//! - `gateway`: the tokens the gateway itself issues, and what it asserts to services.
//!
//! Signatures are checked and made by jsonwebtoken over aws-lc-rs, in `crypto` and `gateway` alone; the messages of a
//! sign-in are openidconnect's, in `login::library` alone. Around both stands what they leave open: one reading for each
//! text, limits, keys that are found good before they are used, time as an argument (docs/decisions/0004).
//!
//! Invariant: no error of this crate contains a token or a part of one.

pub mod gateway;
pub mod issuer;
pub mod keys;
pub mod login;
pub mod verify;

mod algorithm;
mod claims;
mod crypto;
mod discovery;
mod encoding;
pub mod error;
mod fuzz;
mod http_values;
mod preparse;
mod trust;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use discovery::{Discovery, DiscoveryError};
pub use error::TokenError;
pub use fuzz::{fuzz_assertion, fuzz_jwt_preparse};
pub use http_values::{Answer, Outgoing};
pub use issuer::{Issuer, Issuers};
pub use keys::{KeySet, KeyState};
pub use preparse::{MAX_TOKEN_BYTES, Unverified};
pub use trust::Trust;
pub use verify::{Purpose, VerifiedToken};
