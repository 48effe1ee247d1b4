//! Workloads that call, and for whom they may act. The composition root fills it: it knows the clusters, what is published, and the
//! rules.

use std::net::IpAddr;

use futures::future::BoxFuture;
use model::service::ServiceName;
use model::subject::Subject;
use model::time::Timestamp;
use oidc::gateway::assertion::Chain;

/// Proves workloads, and says for whom they may act.
pub trait Workloads: Send + Sync {
    /// Proves a workload by its own token, which was issued for the gateway; `from`: where it calls from.
    fn prove<'a>(&'a self, token: &'a str, from: Option<IpAddr>) -> BoxFuture<'a, Result<Subject, NotProved>>;

    /// Whether this workload is the service, so that it may act by what was asserted to it.
    fn is_service(&self, workload: &Subject, service: &ServiceName) -> bool;

    /// Whether a workload may have an assertion for another service: whether it may make every call of that for the person.
    ///
    /// # Errors
    /// It may not, and why.
    fn leave(&self, acts: &ActsFor<'_>) -> Result<Leave, NoLeave>;
}

/// A workload that wants to act for somebody.
#[derive(Clone, Copy, Debug)]
pub struct ActsFor<'a> {
    /// For whom, as the provider names them now.
    pub person: &'a Subject,
    /// Who wants to, by its own proof.
    pub workload: &'a Subject,
    /// That one first, then those through whom it was called.
    pub chain: &'a Chain,
    /// Which service is to be called.
    pub to: &'a ServiceName,
    /// From where the workload calls.
    pub from: Option<IpAddr>,
    /// When the person last proved who they are.
    pub signed_in: Option<Timestamp>,
    /// How.
    pub acr: Option<&'a str>,
    /// Whether they stated a reason that holds.
    pub reason_stated: bool,
    /// The time of the decision.
    pub now: Timestamp,
}

/// It may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// No longer than this.
    pub until: Timestamp,
    /// By which rules, for the record.
    pub rules: Vec<String>,
}

/// It may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLeave {
    /// There is no such service.
    #[error("no service of that name is published here (`audience`)")]
    NoService,
    /// Somebody of the chain, or the person, is locked out; in the words of the lock.
    #[error("{0}")]
    Locked(String),
    /// The rules say no; a stable word for it, and why.
    #[error("{1}")]
    Denied(&'static str, String),
}

/// The token proves no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProved {
    /// It is none that counts, and why.
    #[error("{0}")]
    Refused(String),
    /// That could not be found out; asking again may help.
    #[error("{0}")]
    Unknown(String),
}
