//! Deliberate mistakes, so that the differential tests can show that they would be noticed.
//!
//! Without the feature `generate` a [`Bend`] holds nothing and every question about it is `false` at compile time.

/// A mistake of the evaluator. Each is either a clause left out or a plausible misreading of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(feature = "generate"),
    expect(dead_code, unreachable_pub, reason = "made by the generators alone")
)]
pub enum Mutant {
    /// Clause left out: a rule's verb equals the request's.
    NoVerbExact,
    /// Clause left out: verb `*`.
    NoVerbAll,
    /// Clause left out: a rule's group equals the request's.
    NoGroupExact,
    /// Clause left out: group `*`.
    NoGroupAll,
    /// Clause left out: resource `*`.
    NoResourceAll,
    /// Clause left out: a rule's resource equals the request's.
    NoResourceExact,
    /// Clause left out: `*/subresource`.
    NoAnySubresource,
    /// Clause left out: a listed resource name equals the request's.
    NoNameExact,
    /// Clause left out: no resource names mean any name.
    NoNameAny,
    /// Clause left out: URL `*`.
    NoUrlAll,
    /// Clause left out: a URL equals the request's.
    NoUrlExact,
    /// Clause left out: a URL with a trailing star.
    NoUrlPrefix,
    /// Clause left out: subjects of kind User.
    NoUser,
    /// Clause left out: subjects of kind Group.
    NoGroup,
    /// Clause left out: service accounts with a namespace.
    NoServiceAccount,
    /// Clause left out: service accounts without one, which lie in the binding's own.
    NoLocalServiceAccount,
    /// Clause left out: cluster role bindings.
    NoClusterRoleBinding,
    /// Clause left out: role bindings.
    NoRoleBinding,
    /// Mistake: a right on the resource covers its subresources.
    SubresourceIgnored,
    /// Mistake: `pods/*` means all subresources of pods.
    SubresourceStar,
    /// Mistake: resource names do not bind requests without a name (create, list).
    NamelessPasses,
    /// Mistake: a star anywhere at the end trims one star only.
    OneStarTrimmed,
    /// Mistake: a role binding reaches every namespace.
    RoleBindingEverywhere,
    /// Mistake: a role binding's `Role` is looked up cluster-wide when the namespace has none of that name.
    RoleFromAnywhere,
    /// Mistake: a cluster role binding resolves a `Role`.
    ClusterBindingOfRole,
    /// Mistake: a group named as a user counts as that user.
    GroupNamedAsUser,
    /// Mistake: verbs are compared without case.
    VerbCaseIgnored,
    /// Mistake: a URL rule without star covers everything below it.
    UrlCoversBelow,
    /// Mistake: a rule with resource names still lets the collection be listed.
    ListIgnoresNames,
    /// Mistake: an empty list of groups means every group.
    NoGroupsMeansAll,
}

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
