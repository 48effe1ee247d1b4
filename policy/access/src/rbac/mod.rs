//! Kubernetes RBAC as it stands: the semantics of k8s.io/kubernetes v1.36, plugin/pkg/auth/authorizer/rbac.
//!
//! Not a copy of its loop: the API server walks all bindings for every request; here an index leads from the subject
//! to its bindings. A differential test against the Go code holds the two together.

mod attributes;
mod compile;
mod matching;
mod nearest;
mod objects;
mod snapshot;
mod subject;
#[cfg(test)]
mod tests;

pub use self::attributes::{Attributes, CacheKey};
pub use self::nearest::{Candidate, LOOKED_AT, is_binding};
pub use self::objects::{AggregationRule, Binding, BoundSubject, Meta, Objects, PolicyRule, Role, RoleRef, aggregate};
pub use self::snapshot::{RbacVerdict, RoleError, RoleProblem, Snapshot};
pub use self::subject::{AUTHENTICATED, SubjectView, service_account};

use model::request::RequestFacts;

/// Decides one request; see [`Snapshot::decide`].
#[must_use]
pub fn decide(snapshot: &Snapshot, subject: &SubjectView<'_>, facts: &RequestFacts) -> RbacVerdict {
    snapshot.decide(subject, &Attributes::of(facts))
}
