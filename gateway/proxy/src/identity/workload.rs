//! ServiceAccounts: of which cluster one is, and one proved by its token apart from any call, for whoever wants to act for somebody.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use model::cluster::ClusterId;
use model::lock::Lock;
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::Unverified;

use super::locked::Turned;
use super::{Audience, Credential, Identity, Station, Vouched, groups_hash, subject_id};
use crate::refusal::Refusal;

/// Who issues the tokens of the clusters' accounts.
pub trait AccountIssuers: fmt::Debug + Send + Sync {
    /// Whether tokens of this issuer (`iss`, byte for byte) are this cluster's.
    fn issues(&self, cluster: &ClusterId, issuer: &str) -> bool;
}

/// Why nobody can tell whose account a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccounts {
    /// No cluster's accounts are believed.
    #[error("ServiceAccount tokens are not accepted here")]
    None,
    /// It is no cluster's whose accounts are believed.
    #[error("its issuer is that of no cluster whose ServiceAccounts are accepted here")]
    Stranger,
    /// Two clusters or more say that it is theirs.
    #[error(
        "several clusters issue tokens under the same issuer, so that nobody can tell whose account it is; give each its own `--service-account-issuer`"
    )]
    Several,
}

impl Station {
    /// The clusters whose ServiceAccounts are believed.
    pub fn clusters_of_accounts(&self) -> impl Iterator<Item = &ClusterId> {
        self.questions.tokens.keys()
    }

    /// Whose account a token says that it is: of several clusters that whose issuer it names, if it is one cluster's alone. The cluster
    /// is asked whether that is so.
    ///
    /// # Errors
    /// It is no cluster's, or nobody can tell.
    pub fn whose_account(&self, token: &Unverified<'_>) -> Result<&ClusterId, NoAccounts> {
        let mut clusters = self.questions.tokens.keys();
        match (clusters.next(), clusters.next()) {
            (None, _) => return Err(NoAccounts::None),
            (Some(only), None) => return Ok(only),
            (Some(_), Some(_)) => {}
        }
        let issuer = token.issuer().map_err(|_| NoAccounts::Stranger)?;
        let issues = |cluster: &&ClusterId| {
            let issuers = self.questions.issuers.as_deref();
            issuers.is_some_and(|issuers| issuers.issues(cluster, issuer))
        };
        let mut theirs = self.questions.tokens.keys().filter(issues);
        match (theirs.next(), theirs.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(NoAccounts::Stranger),
            (Some(_), Some(_)) => Err(NoAccounts::Several),
        }
    }

    /// The cluster whose account may call there with this token; none where no account may.
    ///
    /// # Errors
    /// In words why nobody can tell.
    pub(super) fn account_at<'a>(
        &'a self,
        audience: Audience<'a>,
        token: &Unverified<'_>,
    ) -> Result<Option<&'a ClusterId>, String> {
        match audience {
            Audience::Cluster(cluster) => Ok(self.questions.tokens.get_key_value(cluster).map(|(known, _)| known)),
            Audience::Service(_) => match self.whose_account(token) {
                Ok(cluster) => Ok(Some(cluster)),
                Err(NoAccounts::None | NoAccounts::Stranger) => Ok(None),
                Err(error @ NoAccounts::Several) => Err(error.to_string()),
            },
        }
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

/// An account that its cluster has named.
pub(super) fn account(
    cluster: &ClusterId,
    username: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    expires_at: Timestamp,
) -> Result<Identity, Refusal> {
    let issuer = format!("cluster:{cluster}");
    let credential_id = extra
        .get("authentication.kubernetes.io/credential-id")
        .and_then(|ids| ids.first())
        .map(|id| id.as_str().into());
    let subject = Subject::new(SubjectParts {
        id: subject_id(&issuer, &username),
        kind: SubjectKind::ServiceAccount,
        issuer,
        subject: username.clone(),
        username,
        uid,
        groups,
        extra,
        email: None,
    });
    let subject = subject.map_err(|error| Refusal::BadCredential(error.to_string()))?;
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        sign_in: subject.id().as_str().into(),
        subject,
        credential: Credential::ServiceAccount,
        credential_id,
        auth_time: None,
        acr: None,
        stated_reason: None,
        sign_in_ends: None,
        expires_at,
        signed_by: None,
        vouched: Vouched::default(),
    }))
}
