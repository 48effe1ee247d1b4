//! A workload that calls for a person: it shows the assertion that it was called with beside its own proof (DESIGN "Chains", RFC 8693 §1.1).
//!
//! Neither is worth anything alone: the assertion says for whom and to which service it was said, the proof says that this workload is that
//! service, and a rule with `onBehalfOf` says that it may do this for them. Whatever of it does not fit is refused with words and recorded; nothing
//! falls back to what the workload may do as itself, or the person.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use model::service::ServiceName;
use model::subject::{Subject, SubjectError, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::gateway::assertion::{Actor, AssertionError, Chain, VerifiedAssertion, addressee};

use crate::identity::{Credential, Identity};
use crate::refusal::Refusal;

/// In which an assertion is handed back; also the one in which it comes where a document names no other.
pub static ASSERTION: HeaderName = HeaderName::from_static("x-gatescribe-assertion");

/// Through which workloads a call comes, and for whom.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// Who calls now, by its own proof.
    pub(crate) workload: Arc<Identity>,
    /// Those through whom it was called, the nearest first, as the assertion names them.
    pub(crate) before: Vec<Subject>,
    /// That one first, then those through whom it was called.
    pub(crate) chain: Chain,
    /// What it showed, from which the next one is made.
    pub(crate) shown: Arc<VerifiedAssertion>,
}

impl OnBehalf {
    /// User names of those through whom the workload that calls was called.
    pub(crate) fn through(&self) -> Vec<&str> {
        self.before.iter().map(Subject::username).collect()
    }

    /// Every workload between the person and what is called, the one that calls first.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(self.workload.subject()).chain(&self.before)
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
    let chain = chain.map_err(|fault| not(fault.to_string()))?;
    let before = shown
        .claims()
        .chain
        .actors()
        .iter()
        .map(named)
        .collect::<Result<_, _>>();
    Ok(OnBehalf {
        workload: Arc::clone(workload),
        before: before.map_err(|error| not(format!("the assertion names a workload that cannot be: {error}")))?,
        chain,
        shown: Arc::new(shown),
    })
}

/// A workload of which an assertion tells id and name. Locks on it are found by them, and forbids by its name.
///
/// # Errors
/// The name is none that a subject can have.
pub fn named(actor: &Actor) -> Result<Subject, SubjectError> {
    let is_account = actor.username.starts_with("system:serviceaccount:");
    Subject::new(SubjectParts {
        id: actor.workload.clone(),
        kind: if is_account {
            SubjectKind::ServiceAccount
        } else {
            SubjectKind::Workload
        },
        issuer: String::new(),
        subject: actor.username.clone(),
        username: actor.username.clone(),
        uid: None,
        groups: Vec::new(),
        extra: Default::default(),
        email: None,
    })
}

fn not(why: impl Into<String>) -> Refusal {
    Refusal::NotOnBehalf(why.into())
}

#[cfg(test)]
pub(crate) mod for_tests {
    use std::time::Duration;

    use model::subject::SubjectId;
    use oidc::gateway::SigningKey;
    use oidc::gateway::assertion::{
        AssertedGroups, AssertedIdentity, AssertionClaims, AssertionKey, AssertionMint, AssertionVerifier,
    };
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::identity::subject_id;

    /// Through which account `web` was called.
    pub(crate) const FRONT: &str = "system:serviceaccount:shop:front";

    pub(crate) fn front() -> SubjectId {
        subject_id("cluster:prod", FRONT)
    }

    struct Judge(AssertionVerifier);

    impl Assertive for Judge {
        fn verify(&self, token: &str, by: &ServiceName, now: Timestamp) -> Result<VerifiedAssertion, AssertionError> {
            self.0.verify(token, by, now)
        }

        fn is_service(&self, _: &Identity, _: &ServiceName) -> bool {
            true
        }
    }

    /// `workload` is the service `web`, which was called for `person` through [`FRONT`].
    pub(crate) fn acting(person: &Identity, workload: &Arc<Identity>, now: Timestamp) -> Result<OnBehalf, Refusal> {
        let key = AssertionKey::of(&SigningKey::generate().unwrap().0).unwrap();
        let keys = AssertionKey::key_set([&key]).unwrap();
        let subject = person.subject();
        let actor = Actor {
            workload: front(),
            username: FRONT.to_owned(),
            service: ServiceName::new("front").unwrap(),
        };
        let claims = AssertionClaims {
            audience: ServiceName::new("web").unwrap(),
            identity: AssertedIdentity {
                id: subject.id().clone(),
                kind: SubjectKind::Person,
                issuer: subject.issuer().to_owned(),
                subject: subject.subject().to_owned(),
                username: subject.username().to_owned(),
                email: None,
                groups: AssertedGroups::of(subject.groups()),
            },
            session: person.sign_in().to_owned(),
            token_id: "t".to_owned(),
            auth_time: None,
            acr: None,
            chain: Chain::new(vec![actor]).unwrap(),
            ends: Timestamp::MAX,
        };
        let signed = AssertionMint::new("https://gate", key).sign(&claims, now).unwrap();
        let judge = Judge(AssertionVerifier::new("https://gate", keys, Duration::ZERO));
        take(&judge, workload, signed.token.expose_secret(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::for_tests::{FRONT, acting, front};
    use super::*;
    use crate::identity::for_bench;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    #[test]
    fn an_assertion_counts_beside_the_proof_of_a_workload_alone_and_names_all_through_whom_it_came() {
        let al = for_bench("al", &["dev"], Credential::Cookie);
        let web = |credential| Arc::new(for_bench("web", &[], credential));
        for credential in Credential::ALL {
            let taken = acting(&al, &web(credential), NOW);
            let is_workload = matches!(credential, Credential::ServiceAccount | Credential::Svid);
            assert_eq!(taken.is_ok(), is_workload, "{credential:?}");
        }
        let taken = acting(&al, &web(Credential::Svid), NOW).unwrap();
        assert_eq!(taken.through(), [FRONT]);
        let ids: Vec<_> = taken.workloads().map(Subject::id).collect();
        assert_eq!(ids, [web(Credential::Svid).subject().id(), &front()]);
        let itself = acting(&al, &Arc::new(for_bench("al", &[], Credential::Svid)), NOW);
        assert!(
            matches!(&itself, Err(Refusal::NotOnBehalf(why)) if why.contains("for itself")),
            "{itself:?}"
        );
    }
}
