//! Why an assertion that somebody presents does not count. One closed list; each text says what, why, and what to do, and holds
//! nothing of the assertion but names of services.

use std::sync::Arc;

use super::ChainFault;
use crate::TokenError;

/// Why an assertion is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Longer than [`super::MAX_ASSERTION_BYTES`].
    #[error("the assertion is longer than 4096 bytes, and the gateway makes none so long; forward it as it came")]
    TooLarge,
    /// Not three parts, not canonical base64url, not JSON of one meaning, or a header that must stop any reader.
    #[error("the assertion is no signed token that could be read in one way; forward it byte for byte as it came")]
    Unreadable,
    /// Another `typ`: a sign-in token for one.
    #[error(
        "the token is no assertion of the gateway (`typ` is not `gatescribe-assertion+jwt`); forward the one that came with the call, and no token that signs in"
    )]
    Type,
    /// Another `alg`.
    #[error("the assertion is not signed with ES256, with which alone the gateway signs; forward it as it came")]
    Algorithm,
    /// `kid` names no key of assertions.
    #[error(
        "the assertion is signed with a key that is none of the gateway's for assertions, or is none any more; use the one of a call of now"
    )]
    UnknownKey,
    /// The signature is wrong.
    #[error(
        "the assertion's signature is wrong: it was changed on its way, or forged; forward it byte for byte as it came"
    )]
    Signature,
    /// Another `iss`.
    #[error("the assertion is another gateway's (`iss`), and counts only there")]
    Issuer,
    /// Another `aud` than the one that presents it.
    #[error(
        "the assertion is not for `{expected}`, which presents it; a service forwards only what it was sent itself"
    )]
    Audience {
        /// `service:NAME` of the one that presents it.
        expected: String,
    },
    /// `exp` is past.
    #[error("the assertion has expired: it counts for two minutes at most; use the one of a call of now")]
    Expired,
    /// `iat` lies ahead.
    #[error("the assertion was issued in the future (`iat`); compare the clocks of the gateway's replicas")]
    IssuedInFuture,
    /// `exp` lies more than two minutes behind `iat`, or not behind it.
    #[error("the assertion does not live as long as the gateway makes them live; use the one of a call of now")]
    Lifetime,
    /// A claim is missing, or is not what the gateway writes.
    #[error("the assertion's claim `{0}` is missing or is not as the gateway writes it; forward it as it came")]
    Claim(Arc<str>),
    /// Too deep, or a loop.
    #[error(transparent)]
    Chain(#[from] ChainFault),
}

impl AssertionError {
    /// A stable short name for records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "assertion_too_large",
            Self::Unreadable => "assertion_unreadable",
            Self::Type => "assertion_type",
            Self::Algorithm => "assertion_algorithm",
            Self::UnknownKey => "assertion_unknown_key",
            Self::Signature => "assertion_signature",
            Self::Issuer => "assertion_issuer",
            Self::Audience { .. } => "assertion_audience",
            Self::Expired => "assertion_expired",
            Self::IssuedInFuture => "assertion_issued_in_future",
            Self::Lifetime => "assertion_lifetime",
            Self::Claim(_) => "assertion_claim",
            Self::Chain(ChainFault::TooDeep) => "assertion_too_deep",
            Self::Chain(ChainFault::WorkloadTwice | ChainFault::ServiceTwice(_) | ChainFault::ForItself) => {
                "assertion_loop"
            }
        }
    }

    pub(super) fn claim(name: &str) -> Self {
        Self::Claim(name.into())
    }
}

/// What the reading of any token found, in the words of an assertion: who presents one cannot sign in again.
impl From<TokenError> for AssertionError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Algorithm { .. } => Self::Algorithm,
            TokenError::UnknownKey { .. } | TokenError::KeyNotNamed | TokenError::KeyMismatch => Self::UnknownKey,
            TokenError::Signature => Self::Signature,
            TokenError::Expired => Self::Expired,
            TokenError::IssuedInFuture => Self::IssuedInFuture,
            TokenError::NotYetValid => Self::claim("nbf"),
            TokenError::MissingClaim(claim) | TokenError::WrongType { claim, .. } => Self::Claim(claim),
            _ => Self::Unreadable,
        }
    }
}
