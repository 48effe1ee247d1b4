//! A workload that calls for a person: it shows the assertion that it was called with beside its own proof (DESIGN "Chains", RFC 8693 §1.1).
//!
//! Neither is worth anything alone: the assertion says for whom and to which service it was said, the proof says that this workload is that
//! service, and a rule with `onBehalfOf` says that it may do this for them. Whatever of it does not fit is refused with words and recorded; nothing
//! falls back to what the workload may do as itself, or the person.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use model::service::ServiceName;
use model::time::Timestamp;
use oidc::gateway::assertion::{AssertionError, Chain, VerifiedAssertion, addressee};

use crate::identity::{Credential, Identity};
use crate::refusal::Refusal;

/// In which an assertion is handed back; also the one in which it comes where a document names no other.
pub static ASSERTION: HeaderName = HeaderName::from_static("x-gatescribe-assertion");

/// Through which workloads a call comes, and for whom.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// Who calls now, by its own proof.
    pub(crate) workload: Arc<Identity>,
    /// That one first, then those through whom it was called.
    pub(crate) chain: Chain,
    /// What it showed, from which the next one is made.
    pub(crate) shown: Arc<VerifiedAssertion>,
}

impl OnBehalf {
    /// User names of those through whom the workload that calls was called.
    pub(crate) fn through(&self) -> Vec<&str> {
        self.chain
            .actors()
            .iter()
            .skip(1)
            .map(|actor| actor.username.as_str())
            .collect()
    }

    /// It counts no longer than this: nothing that a person began goes on by itself.
    pub(crate) fn ends(&self) -> Timestamp {
        self.shown.claims().ends
    }
}

/// What is to be known for it besides proofs.
pub trait Assertive: Send + Sync {
    /// Verifies an assertion, by the keys that are in force.
    ///
    /// # Errors
    /// See [`AssertionError`].
    fn verify(
        &self,
        token: &str,
        presented_by: &ServiceName,
        now: Timestamp,
    ) -> Result<VerifiedAssertion, AssertionError>;

    /// Whether this workload is the service.
    fn is_service(&self, workload: &Identity, service: &ServiceName) -> bool;
}

/// The assertion that a request shows, if any.
///
/// # Errors
/// There are two of them, or it is no text.
pub(crate) fn shown(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut lines = headers.get_all(&ASSERTION).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| not("the assertion is no text")),
        (Some(_), Some(_)) => Err(not("two assertions are shown; send one")),
    }
}

/// Takes the assertion that `workload` shows.
///
/// # Errors
/// It is no workload, not the one that the assertion is for, or the assertion does not hold; too deep, or a loop.
pub(crate) fn take(
    judge: &dyn Assertive,
    workload: &Arc<Identity>,
    token: &str,
    now: Timestamp,
) -> Result<OnBehalf, Refusal> {
    if !matches!(workload.credential(), Credential::ServiceAccount | Credential::Svid) {
        return Err(not(
            "an assertion counts only beside the proof of the workload that it was made for: a ServiceAccount's token for this gateway, or an X.509-SVID",
        ));
    }
    let service = addressee(token).ok_or_else(|| not("what is shown is no assertion for a service"))?;
    if !judge.is_service(workload, &service) {
        let user = workload.subject().username();
        return Err(not(format!(
            "`{user}` is no workload of the service `{service}`, for which the assertion was made; its document names them in `workloads`"
        )));
    }
    let shown = judge
        .verify(token, &service, now)
        .map_err(|error| not(error.to_string()))?;
    let subject = workload.subject();
    let chain = shown.acting(subject.id().clone(), subject.username());
    Ok(OnBehalf {
        workload: Arc::clone(workload),
        chain: chain.map_err(|fault| not(fault.to_string()))?,
        shown: Arc::new(shown),
    })
}

fn not(why: impl Into<String>) -> Refusal {
    Refusal::NotOnBehalf(why.into())
}
