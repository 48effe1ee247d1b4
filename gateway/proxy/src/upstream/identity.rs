//! The last look at the identity headers, on the very map that is serialised (I5 of the threat model).
//!
//! The decision and header stations build them; this asserts them after everything else ran, for upgrades and resends too.
//! Without it a lost header would send the request with our own credential alone (F-02).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Expected;

/// The identity headers are not what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityBroken {
    #[error("`Impersonate-User` is missing")]
    Missing,
    #[error("`Impersonate-User` is there more than once")]
    Repeated,
    #[error("`Impersonate-User` is empty")]
    Empty,
    #[error("`Impersonate-User` names someone else")]
    Other,
    #[error("impersonation headers are there where none belong")]
    Unexpected,
    #[error("an `Authorization` header is there before ours")]
    ForeignCredential,
}

/// Asserts that `headers` carry exactly the identity that was decided.
///
/// # Errors
/// What is wrong; the request must not be sent then.
pub fn assert_identity(headers: &HeaderMap, expected: &Expected) -> Result<(), IdentityBroken> {
    let mut users = headers.get_all(IMPERSONATE_USER).iter();
    match (expected, users.next()) {
        (Expected::Nobody, _) if headers.keys().any(|name| name.as_str().starts_with("impersonate-")) => {
            Err(IdentityBroken::Unexpected)
        }
        (Expected::Nobody, _) => Ok(()),
        (Expected::User(_), None) => Err(IdentityBroken::Missing),
        (Expected::User(_), Some(_)) if users.next().is_some() => Err(IdentityBroken::Repeated),
        (Expected::User(_), Some(user)) if user.is_empty() => Err(IdentityBroken::Empty),
        (Expected::User(expected), Some(user)) if user != expected => Err(IdentityBroken::Other),
        (Expected::User(_), Some(_)) => Ok(()),
    }
}

/// Nobody but the pool puts a credential of the cluster on a request.
pub(super) fn assert_no_credential(headers: &HeaderMap) -> Result<(), IdentityBroken> {
    if headers.contains_key(AUTHORIZATION) {
        Err(IdentityBroken::ForeignCredential)
    } else {
        Ok(())
    }
}

const IMPERSONATE_USER: &str = "impersonate-user";
