//! A workload proved by its own token apart from any call, for whoever wants to act for somebody.

use std::net::IpAddr;
use std::sync::Arc;

use model::cluster::ClusterId;
use model::lock::Lock;
use model::subject::Subject;
use model::time::Timestamp;

use super::locked::Turned;
use super::{Audience, Credential, Identity, Station};
use crate::refusal::Refusal;

impl Station {
    /// The clusters whose ServiceAccounts are believed.
    pub fn clusters_of_accounts(&self) -> impl Iterator<Item = &ClusterId> {
        self.questions.tokens.keys()
    }

    /// Proves a ServiceAccount of this cluster by its token, as at a call of the cluster.
    ///
    /// # Errors
    /// It proves nobody, proves somebody who is no ServiceAccount or is locked out, or that cannot be found out now.
    pub async fn account(
        &self,
        cluster: &ClusterId,
        token: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Refusal> {
        let proved = self.token(Audience::Cluster(cluster), token, from, now).await;
        let identity = proved.map_err(|turned| match turned {
            Turned::Refused(refusal) => refusal,
            Turned::Locked(out) => Refusal::Locked(out.why()),
        })?;
        if identity.credential() != Credential::ServiceAccount {
            let why = "the token is a person's, and no ServiceAccount's";
            return Err(Refusal::BadCredential(why.to_owned()));
        }
        match self.lock_over(identity.subject(), now) {
            Some(lock) => Err(Refusal::Locked(lock.in_words())),
            None => Ok(identity),
        }
    }

    /// The lock that is on somebody now.
    #[must_use]
    pub fn lock_over(&self, subject: &Subject, now: Timestamp) -> Option<Arc<Lock>> {
        self.lock_on(subject, now)
    }
}
