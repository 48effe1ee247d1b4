//! Seeded generators for the differential tests: the same seed always makes the same questions.
//!
//! Behind the feature `generate`; nothing that decides uses them. Vocabularies are small on purpose, so that rules and
//! questions meet often and every clause of the evaluator gets to decide.

mod random;
mod targets;
mod worlds;

pub use self::random::Random;
pub use self::targets::{GeneratedTarget, target};
pub use self::worlds::{Question, World, world};

use crate::mutant::Mutant;

/// Every mistake that the differential test must notice.
pub const MUTANTS: [Mutant; 30] = [
    Mutant::NoVerbExact,
    Mutant::NoVerbAll,
    Mutant::NoGroupExact,
    Mutant::NoGroupAll,
    Mutant::NoResourceAll,
    Mutant::NoResourceExact,
    Mutant::NoAnySubresource,
    Mutant::NoNameExact,
    Mutant::NoNameAny,
    Mutant::NoUrlAll,
    Mutant::NoUrlExact,
    Mutant::NoUrlPrefix,
    Mutant::NoUser,
    Mutant::NoGroup,
    Mutant::NoServiceAccount,
    Mutant::NoLocalServiceAccount,
    Mutant::NoClusterRoleBinding,
    Mutant::NoRoleBinding,
    Mutant::SubresourceIgnored,
    Mutant::SubresourceStar,
    Mutant::NamelessPasses,
    Mutant::OneStarTrimmed,
    Mutant::RoleBindingEverywhere,
    Mutant::RoleFromAnywhere,
    Mutant::ClusterBindingOfRole,
    Mutant::GroupNamedAsUser,
    Mutant::VerbCaseIgnored,
    Mutant::UrlCoversBelow,
    Mutant::ListIgnoresNames,
    Mutant::NoGroupsMeansAll,
];

/// Those of [`MUTANTS`] that leave out one clause; the others are plausible misreadings.
pub const CLAUSES: usize = 18;
