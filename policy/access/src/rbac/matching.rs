//! Whether one rule covers one question: k8s.io/kubernetes, pkg/apis/rbac/v1/evaluation_helpers.go.

use std::sync::Arc;

use super::attributes::Attributes;
use super::objects::PolicyRule;
use crate::mutant::{Bend, Mutant};

/// The clauses of `RuleAllows`, with nothing precomputed but which verbs can match at all.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    verbs: VerbMask,
    inner: PolicyRule,
}

impl Rule {
    pub(super) fn new(inner: PolicyRule) -> Self {
        Self {
            verbs: VerbMask::of_rule(&inner.verbs),
            inner,
        }
    }

    pub(super) fn as_policy(&self) -> &PolicyRule {
        &self.inner
    }

    pub(super) fn allows(&self, asked: &Attributes<'_>, verb: VerbMask, bend: Bend) -> bool {
        // Most rules fall at the mask: one `and` instead of string comparisons.
        if !self.verbs.meets(verb) && !bend.is(Mutant::VerbCaseIgnored) {
            return false;
        }
        if !self.verb(asked.verb, bend) {
            return false;
        }
        if asked.is_resource {
            self.group(asked.group, bend) && self.resource(asked, bend) && self.name(asked, bend)
        } else {
            self.url(asked.path, bend)
        }
    }

    /// Whether it covers the question and names its object in so many words.
    pub(super) fn names(&self, name: &str) -> bool {
        has(&self.inner.resource_names, name)
    }

    fn verb(&self, asked: &str, bend: Bend) -> bool {
        let exact = has(&self.inner.verbs, asked) && !bend.is(Mutant::NoVerbExact);
        let all = has(&self.inner.verbs, "*") && !bend.is(Mutant::NoVerbAll);
        let folded =
            bend.is(Mutant::VerbCaseIgnored) && self.inner.verbs.iter().any(|verb| verb.eq_ignore_ascii_case(asked));
        exact || all || folded
    }

    fn group(&self, asked: &str, bend: Bend) -> bool {
        let groups = &self.inner.api_groups;
        (has(groups, asked) && !bend.is(Mutant::NoGroupExact))
            || (has(groups, "*") && !bend.is(Mutant::NoGroupAll))
            || (groups.is_empty() && bend.is(Mutant::NoGroupsMeansAll))
    }

    fn resource(&self, asked: &Attributes<'_>, bend: Bend) -> bool {
        let exact = |rule: &str| match asked.subresource {
            "" => rule == asked.resource,
            subresource => {
                let rest = rule
                    .strip_prefix(asked.resource)
                    .and_then(|rest| rest.strip_prefix('/'));
                rest == Some(subresource)
            }
        };
        // `*/` alone names no subresource, and an empty one is none.
        let any = |rule: &str| !asked.subresource.is_empty() && rule.strip_prefix("*/") == Some(asked.subresource);
        let mistaken = |rule: &str| {
            (bend.is(Mutant::SubresourceIgnored) && rule == asked.resource)
                || (bend.is(Mutant::SubresourceStar) && rule.strip_suffix("/*") == Some(asked.resource))
        };
        self.inner.resources.iter().map(AsRef::as_ref).any(|rule: &str| {
            (rule == "*" && !bend.is(Mutant::NoResourceAll))
                || (exact(rule) && !bend.is(Mutant::NoResourceExact))
                || (any(rule) && !bend.is(Mutant::NoAnySubresource))
                || mistaken(rule)
        })
    }

    fn name(&self, asked: &Attributes<'_>, bend: Bend) -> bool {
        let names = &self.inner.resource_names;
        (names.is_empty() && !bend.is(Mutant::NoNameAny))
            || (has(names, asked.name) && !bend.is(Mutant::NoNameExact))
            || (asked.name.is_empty() && bend.is(Mutant::NamelessPasses))
            || (asked.verb == "list" && bend.is(Mutant::ListIgnoresNames))
    }

    fn url(&self, asked: &str, bend: Bend) -> bool {
        self.inner
            .non_resource_urls
            .iter()
            .map(AsRef::as_ref)
            .any(|rule: &str| {
                (rule == "*" && !bend.is(Mutant::NoUrlAll))
                    || (rule == asked && !bend.is(Mutant::NoUrlExact))
                    || (starred(rule, asked, bend) && !bend.is(Mutant::NoUrlPrefix))
                    || (bend.is(Mutant::UrlCoversBelow) && asked.strip_prefix(rule).is_some_and(|r| r.starts_with('/')))
            })
    }
}

/// A trailing star is a prefix match; all trailing stars are trimmed, as the API server does.
fn starred(rule: &str, asked: &str, bend: Bend) -> bool {
    let Some(one) = rule.strip_suffix('*') else {
        return false;
    };
    // `*` alone has its own clause.
    if rule == "*" {
        return false;
    }
    let prefix = if bend.is(Mutant::OneStarTrimmed) {
        one
    } else {
        one.trim_end_matches('*')
    };
    asked.starts_with(prefix)
}

fn has(list: &[Arc<str>], wanted: &str) -> bool {
    list.iter().any(|item| item.as_ref() == wanted)
}

/// Which verbs a rule may match: one bit for each usual verb and one for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VerbMask(u16);

impl VerbMask {
    const USUAL: [&'static str; 9] = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
    ];
    const OTHER: u16 = 1 << 15;

    pub(super) fn of(verb: &str) -> Self {
        let usual = Self::USUAL.iter().position(|usual| *usual == verb);
        Self(usual.map_or(Self::OTHER, |at| 1 << at))
    }

    fn of_rule(verbs: &[Arc<str>]) -> Self {
        let bits = |verb: &Arc<str>| {
            if verb.as_ref() == "*" {
                u16::MAX
            } else {
                Self::of(verb).0
            }
        };
        Self(verbs.iter().map(bits).fold(0, |all, bit| all | bit))
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
