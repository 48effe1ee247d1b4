//! The gateway's own tokens: ES256, `typ: at+jwt` (RFC 9068), ten minutes at most, one audience. What it says to services is
//! another kind of token, in `assertion`.

pub mod assertion;

mod mint;
mod verifier;

pub use mint::{GatewayClaims, Mint, MintError, ProviderIdentity, SigningKey};
pub use verifier::{GatewayToken, GatewayVerifier};

use std::time::Duration;

/// Longest life of a gateway token. A lock or logout waits for no token longer than that, and for none where the session
/// is looked up.
pub const MAX_LIFETIME: Duration = Duration::from_secs(600);
