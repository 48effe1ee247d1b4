//! Which workloads act for somebody, one through the other (RFC 8693 §4.1): never more than three, never the same one twice.

use model::service::ServiceName;
use model::subject::SubjectId;

/// Most workloads between somebody and what is called.
pub const MAX_DEPTH: usize = 3;

/// A workload that acts for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The workload's own subject id, from its own proof.
    pub workload: SubjectId,
    /// Its user name.
    pub username: String,
    /// Which service it is: the audience of the assertion that it acts by.
    pub service: ServiceName,
}

/// Workloads that act for somebody, the one that calls first. Empty: somebody calls in person.
///
/// Invariant: at most [`MAX_DEPTH`], and no workload and no service stands in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Vec<Actor>);

/// Why there is no such chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// More than [`MAX_DEPTH`].
    #[error(
        "more than three workloads would act for one caller in a row; let a service that stands nearer to the caller make this call"
    )]
    TooDeep,
    /// A loop by who calls. Also where two services run as one workload, which nobody could tell from a loop.
    #[error(
        "the same workload would act twice for one caller; a call that comes round again is refused (services that call one another need an identity each)"
    )]
    WorkloadTwice,
    /// A loop by what is called.
    #[error("the call comes round to the service `{0}`, through which it has come already; such a call is refused")]
    ServiceTwice(ServiceName),
    /// A workload that would act for itself.
    #[error("a workload would act for itself through others; let it call as itself")]
    ForItself,
}

impl Chain {
    /// From the one that calls to the one that was called in person.
    ///
    /// # Errors
    /// Too deep, or a loop.
    pub fn new(actors: Vec<Actor>) -> Result<Self, ChainFault> {
        if actors.len() > MAX_DEPTH {
            return Err(ChainFault::TooDeep);
        }
        for (at, actor) in actors.iter().enumerate() {
            let before = actors.iter().take(at);
            for other in before {
                if other.workload == actor.workload {
                    return Err(ChainFault::WorkloadTwice);
                }
                if other.service == actor.service {
                    return Err(ChainFault::ServiceTwice(actor.service.clone()));
                }
            }
        }
        Ok(Self(actors))
    }

    /// The one that calls first.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        &self.0
    }

    /// With another one that calls.
    pub(super) fn with(&self, actor: Actor) -> Result<Self, ChainFault> {
        let mut actors = Vec::with_capacity(self.0.len() + 1);
        actors.push(actor);
        actors.extend_from_slice(&self.0);
        Self::new(actors)
    }

    /// Whether it may act for this caller.
    pub(super) fn check_caller(&self, caller: &SubjectId) -> Result<(), ChainFault> {
        if self.0.iter().any(|actor| actor.workload == *caller) {
            Err(ChainFault::ForItself)
        } else {
            Ok(())
        }
    }

    /// Whether it may come to this service.
    pub(super) fn check_audience(&self, service: &ServiceName) -> Result<(), ChainFault> {
        if self.0.iter().any(|actor| actor.service == *service) {
            Err(ChainFault::ServiceTwice(service.clone()))
        } else {
            Ok(())
        }
    }
}
