//! A person of whom an assertion tells: who they are by now, if their sign-in stands.

use std::sync::Arc;

use model::ask::SessionAnswer;
use model::subject::SubjectKind;
use model::time::Timestamp;
use oidc::gateway::assertion::AssertionClaims;

use super::{Credential, Identity, Station, Vouched, groups_hash};
use crate::refusal::Refusal;

impl Station {
    /// The person whom these claims name, as the provider names them now. What the claims say of names is of when they were made.
    ///
    /// # Errors
    /// Their sign-in has ended or cannot be looked up, or they are locked out.
    pub(crate) async fn of_assertion(
        &self,
        claims: &AssertionClaims,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refusal> {
        if claims.identity.kind != SubjectKind::Person {
            let why = "the assertion is a workload's own, and nobody acts for a workload: only behind a person is there a sign-in that can end";
            return Err(Refusal::NotOnBehalf(why.to_owned()));
        }
        let sign_in: Arc<str> = claims.session.as_str().into();
        let (ends_at, stated_reason, subject) = match self.questions.sign_ins.ask(self.about_sign_in(&sign_in)).await {
            SessionAnswer::Live {
                ends_at,
                stated_reason,
                subject: Some(subject),
            } => (ends_at, stated_reason, *subject),
            SessionAnswer::Live { subject: None, .. } => {
                let why = "the person of the assertion has no sign-in at this gateway";
                return Err(Refusal::CannotVerify(why.to_owned()));
            }
            SessionAnswer::Ended { why } => {
                return Err(Refusal::NotOnBehalf(format!("the person's sign-in has ended: {why}")));
            }
            SessionAnswer::Unknown { why } => {
                return Err(Refusal::CannotVerify(format!(
                    "the person's sign-in cannot be looked up: {why}"
                )));
            }
        };
        if *subject.id() != claims.identity.id {
            return Err(Refusal::NotOnBehalf(
                "the assertion names somebody else than its sign-in".to_owned(),
            ));
        }
        if let Some(lock) = self.lock_on(&subject, now) {
            return Err(Refusal::Locked(lock.in_words()));
        }
        Ok(Arc::new(Identity::of(Identity {
            groups_hash: groups_hash(subject.groups()),
            subject,
            sign_in,
            credential: Credential::Assertion,
            credential_id: Some(format!("JTI={}", claims.token_id).into()),
            auth_time: claims.auth_time,
            acr: claims.acr.as_deref().map(Into::into),
            stated_reason: stated_reason.map(|(reason, until)| (reason.into(), until)),
            sign_in_ends: Some(ends_at),
            expires_at: claims.ends,
            signed_by: None,
            vouched: Vouched::default(),
        })))
    }
}
