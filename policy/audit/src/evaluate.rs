//! Which rule decides about one call: `EvaluatePolicyRule` of k8s.io/apiserver, `pkg/audit/policy/checker.go`.

use model::request::RequestFacts;

use crate::mutant::{Bend, Mutant};
use crate::policy::{Level, Names, Policy, ResourceRule, Rule, Scope, Stage, Stages};

/// Who calls: the name and groups under which they were authenticated, not whom they want to act as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// The Kubernetes user name.
    pub name: &'a str,
    /// All groups, `system:authenticated` among them.
    pub groups: &'a [&'a str],
}

/// The resource of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// In plural.
    pub resource: &'a str,
    /// Or empty.
    pub subresource: &'a str,
    /// Or empty.
    pub namespace: &'a str,
    /// As the path or the selector says it; empty for creations and collections.
    pub name: &'a str,
}

/// What a policy is asked about (`authorizer.Attributes`), borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Nobody, where nothing that was shown proved anybody.
    pub user: Option<User<'a>>,
    /// As the API server computes it ([`RequestFacts::verb`]): an exec over WebSocket is a `get`.
    pub verb: &'a str,
    /// The decoded path.
    pub path: &'a str,
    /// Absent where the path is no resource's.
    pub resource: Option<Resource<'a>>,
}

impl<'a> Asked<'a> {
    /// What a request asks for.
    #[must_use]
    pub fn of(facts: &'a RequestFacts, user: Option<User<'a>>) -> Self {
        let resource = Resource {
            group: facts.api_group(),
            resource: facts.resource(),
            subresource: facts.subresource(),
            namespace: facts.namespace(),
            name: facts.name(),
        };
        Self {
            user,
            verb: facts.verb().as_str(),
            path: facts.path(),
            resource: facts.is_resource_request().then_some(resource),
        }
    }
}

/// What a policy says about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How much is kept.
    pub level: Level,
    /// At which stages no event is written.
    pub omit_stages: Stages,
    /// Whether `managedFields` are taken out of bodies.
    pub omit_managed_fields: bool,
    /// Which rule decided, from 0; `None` where none matches.
    pub rule: Option<usize>,
}

impl Verdict {
    /// The level of which the ledger has all. The API server's event has its bodies at the stage ResponseComplete alone: where that
    /// one is omitted, there are none.
    #[must_use]
    pub fn kept(&self) -> Level {
        if self.omit_stages.contains(Stage::ResponseComplete) {
            self.level.min(Level::Metadata)
        } else {
            self.level
        }
    }
}

impl Policy {
    /// The verdict of the first rule that matches; [`Level::None`] where none does.
    #[must_use]
    pub fn evaluate(&self, asked: &Asked<'_>) -> Verdict {
        self.evaluate_bent(asked, Bend::default())
    }

    /// As [`Policy::evaluate`] with one mistake in it.
    #[cfg(feature = "generate")]
    #[must_use]
    pub fn evaluate_mistaken(&self, asked: &Asked<'_>, mutant: Mutant) -> Verdict {
        self.evaluate_bent(asked, Bend::by(mutant))
    }

    fn evaluate_bent(&self, asked: &Asked<'_>, bend: Bend) -> Verdict {
        let matching = || {
            let all = self.rules.iter().enumerate();
            all.filter(|(_, rule)| rule.matches(asked, bend))
        };
        let found = if bend.is(Mutant::LastWins) {
            matching().next_back()
        } else if bend.is(Mutant::HighestWins) {
            matching().max_by_key(|(_, rule)| rule.level)
        } else {
            matching().next()
        };
        match found {
            Some((at, rule)) => Verdict {
                level: rule.level,
                omit_stages: self.stages(rule, bend),
                omit_managed_fields: rule
                    .omit_managed_fields
                    .filter(|_| !bend.is(Mutant::NoRuleManagedFields))
                    .unwrap_or(self.omit_managed_fields),
                rule: Some(at),
            },
            None => Verdict {
                level: if bend.is(Mutant::MetadataByDefault) {
                    Level::Metadata
                } else {
                    Level::None
                },
                omit_stages: self.omit_stages,
                omit_managed_fields: self.omit_managed_fields,
                rule: None,
            },
        }
    }

    fn stages(&self, rule: &Rule, bend: Bend) -> Stages {
        let replaced = bend.is(Mutant::StagesReplaced) && !rule.omit_stages.is_empty();
        if bend.is(Mutant::NoPolicyStages) || replaced {
            rule.omit_stages
        } else if bend.is(Mutant::NoRuleStages) {
            self.omit_stages
        } else {
            self.omit_stages.union(rule.omit_stages)
        }
    }
}

impl Rule {
    pub(crate) fn matches(&self, asked: &Asked<'_>, bend: Bend) -> bool {
        self.user(asked.user.as_ref(), bend) && self.verb(asked.verb, bend) && self.scope_matches(asked, bend)
    }

    pub(crate) fn user(&self, asked: Option<&User<'_>>, bend: Bend) -> bool {
        let Some(user) = asked else {
            return (self.users.is_empty() && self.user_groups.is_empty()) || bend.is(Mutant::NobodyMatches);
        };
        let by_name = self.users.is_empty() || has(&self.users, user.name) || bend.is(Mutant::NoUsers);
        let in_group = || user.groups.iter().any(|group| has(&self.user_groups, group));
        by_name && (self.user_groups.is_empty() || in_group() || bend.is(Mutant::NoUserGroups))
    }

    pub(crate) fn verb(&self, asked: &str, bend: Bend) -> bool {
        let mistaken = bend.is(Mutant::NoVerbs) || (bend.is(Mutant::VerbStar) && has(&self.verbs, "*"));
        self.verbs.is_empty() || has(&self.verbs, asked) || mistaken
    }

    pub(crate) fn scope_matches(&self, asked: &Asked<'_>, bend: Bend) -> bool {
        match (&self.scope, &asked.resource) {
            (Scope::Any, _) => true,
            (Scope::Resources { namespaces, resources }, Some(resource)) => {
                let star = bend.is(Mutant::NamespaceStar) && has(namespaces, "*");
                let in_namespace = namespaces.is_empty() || has(namespaces, resource.namespace) || star;
                (in_namespace || bend.is(Mutant::NoNamespaces))
                    && (resources.is_empty() || resources.iter().any(|rule| rule.matches(resource, bend)))
            }
            (Scope::Paths(urls), None) => urls.iter().any(|url| path_matches(asked.path, url, bend)),
            (Scope::Resources { resources, .. }, None) => bend.is(Mutant::NamespacesMatchPaths) && resources.is_empty(),
            (Scope::Paths(urls), Some(_)) => {
                bend.is(Mutant::PathsMatchResources) && urls.iter().any(|url| path_matches(asked.path, url, bend))
            }
        }
    }
}

impl ResourceRule {
    fn matches(&self, asked: &Resource<'_>, bend: Bend) -> bool {
        let all = &*self.group == "*" && !bend.is(Mutant::NoGroupAll);
        if !(all || &*self.group == asked.group || bend.is(Mutant::NoGroup)) {
            return false;
        }
        // Names need resources (checked at load), so that a list without either is the whole group.
        self.resources.is_empty()
            || (self.name(asked.name, bend) && self.resources.iter().any(|entry| entry_matches(entry, asked, bend)))
    }

    fn name(&self, asked: &str, bend: Bend) -> bool {
        let nameless = bend.is(Mutant::NamelessPasses) && asked.is_empty();
        self.names.is_empty() || has(&self.names, asked) || bend.is(Mutant::NoNames) || nameless
    }
}

/// One entry of `resources`. `pods/*` compares the resource alone and so matches plain `pods`, too, whatever its
/// documentation says; `*/*` matches nothing.
fn entry_matches(entry: &str, asked: &Resource<'_>, bend: Bend) -> bool {
    let (resource, subresource) = (asked.resource, asked.subresource);
    let exact = match subresource {
        "" => entry == resource,
        _ => entry.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/')) == Some(subresource),
    };
    let of_any = !subresource.is_empty() && entry.strip_prefix("*/") == Some(subresource);
    let below =
        entry.strip_suffix("/*") == Some(resource) && !(bend.is(Mutant::SubresourcesAlone) && subresource.is_empty());
    let mistaken = (bend.is(Mutant::SubresourceIgnored) && entry == resource)
        || (bend.is(Mutant::StarOfStars) && entry == "*/*" && !subresource.is_empty());
    (exact && !bend.is(Mutant::NoResourceExact))
        || (entry == "*" && !bend.is(Mutant::NoResourceAll))
        || (of_any && !bend.is(Mutant::NoAnySubresource))
        || (below && !bend.is(Mutant::NoSubresources))
        || mistaken
}

fn path_matches(path: &str, url: &str, bend: Bend) -> bool {
    let beginning = url.ends_with('*').then(|| url.trim_end_matches('*'));
    let starred = beginning.is_some_and(|beginning| {
        let rest = path.strip_prefix(beginning);
        let whole_segments = |rest: &str| rest.is_empty() || rest.starts_with('/') || beginning.ends_with('/');
        rest.is_some_and(|rest| !bend.is(Mutant::UrlStarIsSegment) || url == "*" || whole_segments(rest))
    });
    (url == path && !bend.is(Mutant::NoUrlExact)) || (starred && !bend.is(Mutant::NoUrlPrefix))
}

fn has(names: &Names, name: &str) -> bool {
    names.iter().any(|listed| &**listed == name)
}
