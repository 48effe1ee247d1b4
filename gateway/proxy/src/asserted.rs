//! Who calls, as a service is told it: one signed assertion for a sign-in and a service, which goes with all calls of a minute (decision
//! 0021).
//!
//! Kept under everything that a right or a header can depend on, so that nobody's word goes with another one's call; bounded; never longer
//! than half of an assertion's life, so that whoever gets it has the other half to act by it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use model::service::ServiceName;
use model::time::Timestamp;
use oidc::gateway::assertion::{
    AssertedGroups, AssertedIdentity, AssertionClaims, AssertionMintError, Chain, SignedAssertion,
};
use quick_cache::sync::Cache;
use secrecy::ExposeSecret as _;

use crate::chain::OnBehalf;
use crate::identity::{Identity, Vouched};
use crate::refusal::Refusal;

/// What signs, with the keys that are in force.
pub trait Asserts: Send + Sync {
    /// Signs an assertion that begins now.
    ///
    /// # Errors
    /// As `AssertionMint::sign`.
    fn assert(&self, claims: &AssertionClaims, now: Timestamp) -> Result<SignedAssertion, AssertionMintError>;
}

/// Assertions made and kept.
pub struct Assertions {
    signer: Arc<dyn Asserts>,
    kept: Cache<(Vouched, ServiceName), Kept>,
}

#[derive(Clone)]
struct Kept {
    value: HeaderValue,
    reuse_until: Timestamp,
    ends: Timestamp,
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions")
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

/// Of so many sign-ins and services one is kept.
const MOST_KEPT: usize = 100_000;

impl Assertions {
    /// Assertions that `signer` signs.
    #[must_use]
    pub fn new(signer: Arc<dyn Asserts>) -> Self {
        Self {
            signer,
            kept: Cache::new(MOST_KEPT),
        }
    }

    /// The assertion of who calls, for one service. `ends`: it counts no longer than this.
    ///
    /// # Errors
    /// Nothing can be asserted of them; the words say what is too long.
    pub(crate) fn of(
        &self,
        who: &Identity,
        service: &ServiceName,
        ends: Timestamp,
        now: Timestamp,
    ) -> Result<HeaderValue, Refusal> {
        let key = (*who.vouched(), service.clone());
        let kept = self.kept.get(&key);
        // A sign-in that is used lasts longer, and one that ends sooner than it did is another answer.
        if let Some(kept) = kept.filter(|kept| now < kept.reuse_until && kept.ends <= ends) {
            return Ok(kept.value);
        }
        let claims = claims(who, service, ends)?;
        let (value, signed) = self.signed(&claims, now)?;
        let kept = Kept {
            value: value.clone(),
            reuse_until: signed.reuse_until,
            ends: signed.expires_at,
        };
        self.kept.insert(key, kept);
        Ok(value)
    }

    /// The assertion of a person for whom a workload calls, to the next service. It is made for this call, and ends with the one that was
    /// shown.
    ///
    /// # Errors
    /// Too deep, a loop, or as [`Assertions::of`].
    pub(crate) fn onward(
        &self,
        on_behalf: &OnBehalf,
        person: &Identity,
        service: &ServiceName,
        now: Timestamp,
    ) -> Result<HeaderValue, Refusal> {
        let workload = on_behalf.workload.subject();
        let onward = on_behalf
            .shown
            .onward(workload.id().clone(), workload.username(), service.clone(), id()?);
        let claims = AssertionClaims {
            // As the provider names them now.
            identity: identity(person),
            ..onward.map_err(|fault| Refusal::NotOnBehalf(fault.to_string()))?
        };
        self.signed(&claims, now).map(|(value, _)| value)
    }

    fn signed(&self, claims: &AssertionClaims, now: Timestamp) -> Result<(HeaderValue, SignedAssertion), Refusal> {
        let signed = self.signer.assert(claims, now).map_err(|error| match error {
            AssertionMintError::Ended => Refusal::SignInEnded(error.to_string()),
            error => Refusal::NotAsserted(error.to_string()),
        })?;
        let mut value = HeaderValue::from_str(signed.token.expose_secret()).map_err(|_| Refusal::Internal)?;
        value.set_sensitive(true);
        Ok((value, signed))
    }
}

/// 16 random bytes, as base64url.
fn id() -> Result<String, Refusal> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| Refusal::Internal)?;
    Ok(URL_SAFE_NO_PAD.encode(id))
}

fn identity(who: &Identity) -> AssertedIdentity {
    let subject = who.subject();
    AssertedIdentity {
        id: subject.id().clone(),
        kind: subject.kind(),
        issuer: subject.issuer().to_owned(),
        subject: subject.subject().to_owned(),
        username: subject.username().to_owned(),
        email: subject.email().map(str::to_owned),
        groups: AssertedGroups::of(subject.groups()),
    }
}

fn claims(who: &Identity, service: &ServiceName, ends: Timestamp) -> Result<AssertionClaims, Refusal> {
    Ok(AssertionClaims {
        audience: service.clone(),
        identity: identity(who),
        session: who.sign_in().to_owned(),
        token_id: id()?,
        auth_time: who.auth_time(),
        acr: who.acr().map(str::to_owned),
        chain: Chain::default(),
        ends,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::identity::{Credential, for_bench};

    const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    /// Signs nothing: says what it was asked to, and counts.
    #[derive(Default)]
    struct Says(AtomicU64);

    impl Asserts for Says {
        fn assert(&self, claims: &AssertionClaims, now: Timestamp) -> Result<SignedAssertion, AssertionMintError> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let expires_at = now.plus(Duration::from_secs(120)).min(claims.ends);
            if expires_at <= now {
                return Err(AssertionMintError::Ended);
            }
            let token = format!("{number}.{}.{}", claims.identity.username, claims.audience);
            Ok(SignedAssertion {
                token: token.into(),
                expires_at,
                reuse_until: now.plus(Duration::from_secs(60)).min(expires_at),
            })
        }
    }

    #[test]
    fn n_01_one_assertion_goes_with_the_calls_of_a_minute_and_is_of_one_sign_in_and_service_alone() {
        let assertions = Assertions::new(Arc::new(Says::default()));
        let (al, bo) = (
            for_bench("al", &["dev"], Credential::Cookie),
            for_bench("bo", &["dev"], Credential::Cookie),
        );
        let al_of_other_groups = for_bench("al", &["ops"], Credential::Cookie);
        let of = |who: &Identity, service: &str, ends, after| {
            let service = ServiceName::new(service).unwrap();
            let value = assertions.of(who, &service, ends, BEGIN.plus(Duration::from_secs(after)));
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let far = BEGIN.plus(Duration::from_secs(10_000));
        assert_eq!(of(&al, "web", far, 0).unwrap(), "0.al.web");
        assert_eq!(of(&al, "web", far, 59).unwrap(), "0.al.web");
        assert_eq!(of(&al, "web", far, 60).unwrap(), "1.al.web");
        assert_eq!(of(&al, "api", far, 60).unwrap(), "2.al.api");
        assert_eq!(of(&bo, "web", far, 60).unwrap(), "3.bo.web");
        assert_eq!(of(&al_of_other_groups, "web", far, 60).unwrap(), "4.al.web");
        let soon = BEGIN.plus(Duration::from_secs(100));
        assert_eq!(
            of(&al, "web", soon, 61).unwrap(),
            "5.al.web",
            "it may not outlive the sign-in"
        );
        let ended = of(&al, "web", BEGIN, 62).unwrap_err();
        assert!(matches!(ended, Refusal::SignInEnded(_)), "{ended:?}");
    }
}
