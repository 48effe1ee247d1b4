//! What the gateway says to a service behind it about who calls: a signed assertion of its own type (RFC 8725 §3.11), signed
//! with a key of its own, for one service, for two minutes at most and never longer than the sign-in.
//!
//! One is made for a sign-in and a service and goes with all calls of the next minute ([`SignedAssertion::reuse_until`]), so
//! nothing of a single request stands in it: it would have to be signed for each. What joins it to the records is `sid` and
//! `jti`; the request has its own id beside it.
//!
//! A service that acts for the person hands it back with its own proof ([`AssertionVerifier::verify`]); what it then gets sent
//! on ([`VerifiedAssertion::onward`]) names it as the actor (RFC 8693 §4.1). Not here: whose credential is which service's, the
//! session behind `sid`, and the rule that lets somebody act; the caller asks for all three.
//!
//! Invariant: an assertion opens nothing by itself, signs nobody in, and no sign-in token passes for one.

mod chain;
mod claims;
mod error;
mod groups;
mod key;
mod mint;
mod verifier;

pub use chain::{Actor, Chain, ChainFault, MAX_DEPTH};
pub use claims::{AssertedIdentity, AssertionClaims};
pub use error::AssertionError;
pub use groups::AssertedGroups;
pub use key::AssertionKey;
pub use mint::{AssertionMint, AssertionMintError, SignedAssertion};
pub use verifier::{AssertionVerifier, VerifiedAssertion, addressee};

pub use crate::preparse::ASSERTION_TYPE;

pub(crate) use claims::{Payload, read};

use std::time::Duration;

use model::service::ServiceName;

/// Longest life of an assertion, and so of a chain: what is made from one ends with it.
pub const MAX_ASSERTION_LIFETIME: Duration = Duration::from_secs(120);
/// Longest assertion in bytes. It stands in a header of each call, and servers take 8 KiB of headers by default.
pub const MAX_ASSERTION_BYTES: usize = 4096;
/// What stands before a service's name in `aud`. Names of clusters are RFC 1123 labels and so is the audience of the gateway's
/// own API, so none of them has a colon.
pub(crate) const AUDIENCE_PREFIX: &str = "service:";

/// The audience of a service: `service:NAME`.
#[must_use]
pub fn service_audience(service: &ServiceName) -> String {
    format!("{AUDIENCE_PREFIX}{service}")
}
