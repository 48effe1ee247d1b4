//! Judging what a service hands back, as strictly as any token.

use std::time::Duration;

use model::service::ServiceName;
use model::subject::SubjectId;
use model::time::Timestamp;

use super::{
    AUDIENCE_PREFIX, Actor, AssertionClaims, AssertionError, Chain, ChainFault, MAX_ASSERTION_BYTES, read,
    service_audience,
};
use crate::preparse::Kind;
use crate::verify::{check_signature, check_times, equal};
use crate::{Algorithm, KeySet, Unverified};

/// The service for which a token says that it is, before anything of it is verified: to find out whom to ask for a proof, and
/// for [`AssertionVerifier::verify`]. `None`: it names none.
#[must_use]
pub fn addressee(token: &str) -> Option<ServiceName> {
    let token = Unverified::parse(token).ok()?;
    let service = token.claims.text("aud").ok()??.strip_prefix(AUDIENCE_PREFIX)?;
    ServiceName::new(service).ok()
}

/// Verifies assertions.
#[derive(Debug)]
pub struct AssertionVerifier {
    issuer: String,
    keys: KeySet,
    leeway: Duration,
}

/// An assertion that holds: signed by the gateway, for the service that presents it, now. That this service's own proof came
/// with it, that the sign-in lives, and that a rule lets it act is for the caller to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    claims: AssertionClaims,
    issued_at: Timestamp,
    key: [u8; 32],
}

impl AssertionVerifier {
    /// For the gateway of this URL, with the public halves of its current and previous keys of assertions. As for the gateway's
    /// tokens there is no leeway for one replica; give the clock difference of several.
    #[must_use]
    pub fn new(issuer: &str, keys: KeySet, leeway: Duration) -> Self {
        Self {
            issuer: issuer.to_owned(),
            keys,
            leeway,
        }
    }

    /// Verifies an assertion that this service presents.
    ///
    /// # Errors
    /// See [`AssertionError`].
    pub fn verify(
        &self,
        token: &str,
        presented_by: &ServiceName,
        now: Timestamp,
    ) -> Result<VerifiedAssertion, AssertionError> {
        if token.len() > MAX_ASSERTION_BYTES {
            return Err(AssertionError::TooLarge);
        }
        let token = Unverified::parse(token)?;
        if token.header.kind != Kind::Assertion {
            return Err(AssertionError::Type);
        }
        let (_, key) = check_signature(&token, &self.keys, &[Algorithm::ES256])?;
        if token.claims.required_text("iss")? != self.issuer {
            return Err(AssertionError::Issuer);
        }
        let expected = service_audience(presented_by);
        if !token.claims.text("aud")?.is_some_and(|found| equal(found, &expected)) {
            return Err(AssertionError::Audience { expected });
        }
        check_times(&token.claims, now, self.leeway)?;
        let (claims, issued_at) = read(&token.claims)?;
        Ok(VerifiedAssertion {
            claims,
            issued_at,
            key: key.thumbprint,
        })
    }
}

impl VerifiedAssertion {
    /// What it says; the names are those of when it was made, the session has those of now.
    #[must_use]
    pub fn claims(&self) -> &AssertionClaims {
        &self.claims
    }

    /// `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// RFC 7638 thumbprint of the key that signed it.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Who acts when the service that presents it calls: that one, proved to be this workload, and through whom it was called.
    /// For the rule, for the record, and for a call that goes out without an assertion.
    ///
    /// # Errors
    /// Too deep, or a loop.
    pub fn acting(&self, workload: SubjectId, username: &str) -> Result<Chain, ChainFault> {
        let chain = self.claims.chain.with(Actor {
            workload,
            username: username.to_owned(),
            service: self.claims.audience.clone(),
        })?;
        chain.check_caller(&self.claims.identity.id)?;
        Ok(chain)
    }

    /// What the next service is told when the one that presents it calls, proved to be this workload. It ends with this one, so
    /// that nothing that a person began goes on by itself.
    ///
    /// # Errors
    /// Too deep, or a loop.
    pub fn onward(
        &self,
        workload: SubjectId,
        username: &str,
        to: ServiceName,
        token_id: String,
    ) -> Result<AssertionClaims, ChainFault> {
        let claims = AssertionClaims {
            audience: to,
            chain: self.acting(workload, username)?,
            token_id,
            ..self.claims.clone()
        };
        claims.check_chain()?;
        Ok(claims)
    }
}
