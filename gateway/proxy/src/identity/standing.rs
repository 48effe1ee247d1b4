//! Whether whoever was proved would be proved still: asked for calls that go on, which no longer carry their credential.
//!
//! Each kind of credential ends in its own way, and no way is silence: a session is looked up, a signing key must still be
//! published, a certificate is verified anew. That a token expires ends nothing that it began: it says how long it may be
//! presented, not how long a call may take. Whoever has no sign-in here may go on as long as a sign-in lasts at most.

use std::time::Duration;

use model::ask::SessionAnswer;
use model::subject::Subject;
use model::time::Timestamp;

use super::{Credential, Identity, Station};
use crate::listener::{ClientCertificate, Conn};
use crate::refusal::Refusal;

/// Whoever has no sign-in here is looked at again after this; a withdrawn key is told at once.
const LOOKED_AT_AFTER: Duration = Duration::from_secs(600);

impl Station {
    /// Whether `identity`, proved at `since`, would be proved now, and until when that is known to hold. None where only a
    /// [look-up](Station::sign_in_stands) can tell: nothing here waits for anybody.
    pub(crate) fn still(
        &self,
        identity: &Identity,
        conn: Option<&Conn>,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Result<Timestamp, Refusal>> {
        Some(match identity.credential {
            Credential::GatewayToken | Credential::Cookie | Credential::Assertion => return None,
            Credential::ProviderToken => {
                let vouches = self.provider_vouches(identity);
                vouches.and_then(|()| self.without_sign_in(since, now))
            }
            // Nobody was proved: what the rules let the public do is judged by them alone.
            Credential::Public => Ok(Timestamp::MAX),
            // Its token is not kept, so that it cannot be reviewed again; its rights are looked at as everybody's.
            Credential::ServiceAccount => self.without_sign_in(since, now),
            Credential::Certificate | Credential::Svid => match conn.map(Conn::client_certificate) {
                Some(ClientCertificate::Verified(_) | ClientCertificate::Workload(_)) => {
                    before(identity.expires_at, now, "the client certificate has expired")
                }
                Some(ClientCertificate::Rejected(_, problem)) => Err(Refusal::BadCredential(problem.to_string())),
                Some(ClientCertificate::NoWorkload(problem)) => Err(Refusal::BadCredential(problem.to_string())),
                Some(ClientCertificate::Absent) | None => Err(Refusal::NoCredential),
            },
        })
    }

    /// When a call ends that `identity` began at `since`, as far as its proof tells now: a sign-in that is used lasts longer.
    #[must_use]
    pub fn known_end(&self, identity: &Identity, since: Timestamp) -> Timestamp {
        match identity.credential {
            Credential::GatewayToken | Credential::Cookie | Credential::Assertion => {
                identity.sign_in_ends.unwrap_or(Timestamp::MAX)
            }
            Credential::Public => Timestamp::MAX,
            Credential::ProviderToken | Credential::ServiceAccount => since.plus(self.acceptance.longest_sign_in),
            Credential::Certificate | Credential::Svid => identity.expires_at,
        }
    }

    /// Whether the sign-in of `identity` stands, until when that is known to hold, and who its person is by now. An answer comes
    /// within the deadline of such questions.
    ///
    /// # Errors
    /// [`Refusal::CannotVerify`] when nobody can tell; any other says that it does not.
    pub(crate) async fn sign_in_stands(
        &self,
        identity: &Identity,
    ) -> Result<(Timestamp, Option<Box<Subject>>), Refusal> {
        let question = self.about_sign_in(&identity.sign_in);
        match self.questions.sign_ins.ask(question).await {
            SessionAnswer::Live { ends_at, subject, .. } => Ok((ends_at, subject)),
            SessionAnswer::Ended { why } => Err(Refusal::SignInEnded(format!("the sign-in has ended: {why}"))),
            SessionAnswer::Unknown { why } => {
                Err(Refusal::CannotVerify(format!("the sign-in cannot be looked up: {why}")))
            }
        }
    }

    fn without_sign_in(&self, since: Timestamp, now: Timestamp) -> Result<Timestamp, Refusal> {
        let why = "without a sign-in at the gateway a call goes on no longer than a sign-in lasts";
        before(since.plus(self.acceptance.longest_sign_in), now, why)
    }

    /// The key that signed the token is still published by an issuer that is still accepted.
    fn provider_vouches(&self, identity: &Identity) -> Result<(), Refusal> {
        let trust = self.trust.borrow();
        let issuer = identity.subject.issuer();
        if trust.issuers.find(issuer).is_none() {
            return Err(Refusal::BadCredential(
                "the token's issuer is accepted no longer".to_owned(),
            ));
        }
        let published = trust
            .keys
            .get(issuer)
            .zip(identity.signed_by)
            .is_some_and(|(keys, key)| keys.holds(&key));
        if !published {
            return Err(Refusal::BadCredential(
                "the key that signed the token is published by its issuer no longer".to_owned(),
            ));
        }
        Ok(())
    }

    /// The keys and issuers as they change, for whoever looks after calls that go on.
    #[must_use]
    pub fn trust(&self) -> tokio::sync::watch::Receiver<std::sync::Arc<oidc::Trust>> {
        self.trust.clone()
    }
}

/// For how long a call of this identity goes on before anybody has to be asked.
pub(crate) fn holds_at_first(identity: &Identity, since: Timestamp) -> Timestamp {
    match identity.credential {
        // Looked up every minute, and told of each end at once.
        Credential::GatewayToken | Credential::Cookie | Credential::Assertion => Timestamp::MAX,
        Credential::Public => Timestamp::MAX,
        Credential::ServiceAccount => since.plus(LOOKED_AT_AFTER),
        // Its key may have been withdrawn since it was proved, when this call stood in no table yet: the next beat looks.
        Credential::ProviderToken => since,
        Credential::Certificate | Credential::Svid => identity.expires_at,
    }
}

fn before(end: Timestamp, now: Timestamp, why: &str) -> Result<Timestamp, Refusal> {
    if now < end {
        Ok(end)
    } else {
        Err(Refusal::BadCredential(why.to_owned()))
    }
}

/// An identity that nobody proved, for the bench of long calls and its tests.
#[cfg(any(test, feature = "bench"))]
#[expect(clippy::expect_used, reason = "a bench and tests, not the product")]
pub(crate) fn for_bench(user: &str, groups: &[&str], credential: Credential) -> Identity {
    use crate::session::bench::{ISSUER, SIGNED_BY};
    use model::subject::{SubjectKind, SubjectParts};
    let subject = Subject::new(SubjectParts {
        id: super::subject_id(ISSUER, user),
        kind: SubjectKind::Person,
        issuer: ISSUER.to_owned(),
        subject: user.to_owned(),
        username: user.to_owned(),
        uid: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        extra: std::collections::BTreeMap::new(),
        email: None,
    })
    .expect("a plain name");
    Identity::of(Identity {
        groups_hash: super::groups_hash(subject.groups()),
        sign_in: format!("session-of-{user}").into(),
        subject,
        credential,
        credential_id: None,
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at: Timestamp::MAX,
        signed_by: Some(SIGNED_BY),
        vouched: super::Vouched::default(),
    })
}

/// The same person by another token of the same sign-in.
#[cfg(test)]
pub(crate) fn by_another_token(one: &Identity, acr: Option<&str>, extra: &[(&str, &str)]) -> Identity {
    use model::subject::SubjectParts;
    let subject = &one.subject;
    let subject = Subject::new(SubjectParts {
        id: subject.id().clone(),
        kind: subject.kind(),
        issuer: subject.issuer().to_owned(),
        subject: subject.subject().to_owned(),
        username: subject.username().to_owned(),
        uid: None,
        groups: subject.groups().iter().map(ToString::to_string).collect(),
        extra: extra
            .iter()
            .map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        email: None,
    });
    Identity::of(Identity {
        subject: subject.expect("plain names"),
        acr: acr.map(Into::into),
        ..one.clone()
    })
}

/// The same person by a credential that ends then.
#[cfg(test)]
pub(crate) fn expiring(one: &Identity, expires_at: Timestamp) -> Identity {
    Identity {
        expires_at,
        ..one.clone()
    }
}

/// Proof that nobody gave.
#[cfg(test)]
pub(crate) fn proved(identity: &Identity) -> super::Authenticated {
    super::Authenticated {
        identity: std::sync::Arc::new(identity.clone()),
    }
}
