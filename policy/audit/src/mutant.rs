//! Deliberate mistakes, so that the differential test can show that they would be noticed.
//!
//! Without the feature `generate` a [`Bend`] holds nothing and every question about it is `false` at compile time.

/// A mistake of the evaluator: a clause left out, or a plausible misreading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(feature = "generate"),
    expect(unreachable_pub, reason = "made by the differential test alone")
)]
pub enum Mutant {
    /// Clause left out: users.
    NoUsers,
    /// Clause left out: groups of users.
    NoUserGroups,
    /// Clause left out: verbs.
    NoVerbs,
    /// Clause left out: namespaces.
    NoNamespaces,
    /// Clause left out: API groups.
    NoGroup,
    /// Clause left out: group `*`.
    NoGroupAll,
    /// Clause left out: resource names.
    NoNames,
    /// Clause left out: resource `*`.
    NoResourceAll,
    /// Clause left out: a resource or `resource/subresource` by its name.
    NoResourceExact,
    /// Clause left out: `*/subresource`.
    NoAnySubresource,
    /// Clause left out: `resource/*`.
    NoSubresources,
    /// Clause left out: URL `*` and stars at the end.
    NoUrlPrefix,
    /// Clause left out: a URL by its name.
    NoUrlExact,
    /// Clause left out: stages that the whole policy omits.
    NoPolicyStages,
    /// Clause left out: stages that a rule omits.
    NoRuleStages,
    /// Clause left out: a rule's own word on managed fields.
    NoRuleManagedFields,
    /// Mistake: `pods/*` means the subresources alone, as its documentation says.
    SubresourcesAlone,
    /// Mistake: a resource covers its subresources.
    SubresourceIgnored,
    /// Mistake: verb `*` means any.
    VerbStar,
    /// Mistake: resource names do not bind calls without a name.
    NamelessPasses,
    /// Mistake: `*/*` means any subresource.
    StarOfStars,
    /// Mistake: a rule with nothing but URLs matches resources, too.
    PathsMatchResources,
    /// Mistake: a rule with namespaces alone matches what is no resource, too.
    NamespacesMatchPaths,
    /// Mistake: `*` among namespaces means any.
    NamespaceStar,
    /// Mistake: `/healthz*` ends at a slash.
    UrlStarIsSegment,
    /// Mistake: somebody without a user matches rules with users.
    NobodyMatches,
    /// Mistake: the last rule that matches decides.
    LastWins,
    /// Mistake: the highest level of all rules that match.
    HighestWins,
    /// Mistake: without a rule it is Metadata.
    MetadataByDefault,
    /// Mistake: a rule's stages replace those of the policy.
    StagesReplaced,
}

/// Every mistake that the differential test must notice.
#[cfg(feature = "generate")]
pub const MUTANTS: [Mutant; 30] = [
    Mutant::NoUsers,
    Mutant::NoUserGroups,
    Mutant::NoVerbs,
    Mutant::NoNamespaces,
    Mutant::NoGroup,
    Mutant::NoGroupAll,
    Mutant::NoNames,
    Mutant::NoResourceAll,
    Mutant::NoResourceExact,
    Mutant::NoAnySubresource,
    Mutant::NoSubresources,
    Mutant::NoUrlPrefix,
    Mutant::NoUrlExact,
    Mutant::NoPolicyStages,
    Mutant::NoRuleStages,
    Mutant::NoRuleManagedFields,
    Mutant::SubresourcesAlone,
    Mutant::SubresourceIgnored,
    Mutant::VerbStar,
    Mutant::NamelessPasses,
    Mutant::StarOfStars,
    Mutant::PathsMatchResources,
    Mutant::NamespacesMatchPaths,
    Mutant::NamespaceStar,
    Mutant::UrlStarIsSegment,
    Mutant::NobodyMatches,
    Mutant::LastWins,
    Mutant::HighestWins,
    Mutant::MetadataByDefault,
    Mutant::StagesReplaced,
];

/// The evaluator as it is, or bent by one mistake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bend {
    #[cfg(feature = "generate")]
    mutant: Option<Mutant>,
}

impl Bend {
    #[cfg(feature = "generate")]
    pub(crate) const fn by(mutant: Mutant) -> Self {
        Self { mutant: Some(mutant) }
    }

    #[cfg(feature = "generate")]
    #[inline]
    pub(crate) fn is(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "generate"))]
    #[inline]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn is(self, _: Mutant) -> bool {
        false
    }
}
