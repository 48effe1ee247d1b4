//! May this subject do this, now?
//!
//! Values in, verdicts out: RBAC objects and access rules become an immutable snapshot, a decision is a function of
//! that snapshot, a subject, the facts of a request and a point in time. Nothing here reads a clock, a file or a
//! socket, so the same evaluator answers requests, `can`, `why`, tests inside a policy and replay.
//!
//! - [`rbac`]: `rbac.authorization.k8s.io/v1` with the API server's exact semantics.
//! - [`rule`]: `AccessRule` documents of ours, for what RBAC cannot say.
//! - [`decide`]: the two together, forbid before all else.
//!
//! Invariant: deny by default. An empty list grants nothing, an unreadable or erroring allow grants nothing and demands
//! what it demands, an unreadable or erroring forbid forbids (promise 3).

pub mod decide;
#[cfg(feature = "generate")]
pub mod generate;
mod mutant;
pub mod rbac;
pub mod rule;

#[cfg(feature = "generate")]
pub use mutant::Mutant;
