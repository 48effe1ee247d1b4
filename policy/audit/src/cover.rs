//! Whether one rule matches every call that another one matches. Says yes only where that is certain; what several rules cover
//! together is not seen.

use crate::policy::{Names, ResourceRule, Rule, Scope};

impl Rule {
    /// Whether `other` cannot match a call that this one does not.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        names_cover(&self.users, &other.users)
            && names_cover(&self.user_groups, &other.user_groups)
            && names_cover(&self.verbs, &other.verbs)
            && self.scope.covers(&other.scope)
    }

    /// Whether it matches whoever calls, whatever they do with what it is about.
    pub(crate) fn is_for_all(&self) -> bool {
        self.users.is_empty() && self.user_groups.is_empty() && self.verbs.is_empty()
    }
}

impl Scope {
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (
                Self::Resources { namespaces, resources },
                Self::Resources {
                    namespaces: other_namespaces,
                    resources: others,
                },
            ) => names_cover(namespaces, other_namespaces) && resources_cover(resources, others),
            (Self::Paths(urls), Self::Paths(others)) => {
                others.iter().all(|other| urls.iter().any(|url| url_covers(url, other)))
            }
            _ => false,
        }
    }
}

/// An empty list means any.
fn names_cover(names: &Names, others: &Names) -> bool {
    names.is_empty() || (!others.is_empty() && others.iter().all(|other| names.contains(other)))
}

fn resources_cover(rules: &[ResourceRule], others: &[ResourceRule]) -> bool {
    if rules.is_empty() {
        return true;
    }
    let is_whole = |rule: &ResourceRule| {
        rule.resources.is_empty() || (rule.names.is_empty() && rule.resources.iter().any(|entry| &**entry == "*"))
    };
    if others.is_empty() {
        return rules.iter().any(|rule| &*rule.group == "*" && is_whole(rule));
    }
    others.iter().all(|other| {
        let of_group = || {
            rules
                .iter()
                .filter(|rule| &*rule.group == "*" || rule.group == other.group)
        };
        let whole = of_group().any(is_whole);
        let each = || {
            other.resources.iter().all(|entry| {
                of_group().any(|rule| {
                    names_cover(&rule.names, &other.names)
                        && rule.resources.iter().any(|covering| entry_covers(covering, entry))
                })
            })
        };
        whole || (!other.resources.is_empty() && each())
    })
}

fn entry_covers(entry: &str, other: &str) -> bool {
    if entry == "*" || entry == other {
        return true;
    }
    let (resource, below) = match other.split_once('/') {
        Some((resource, below)) => (resource, Some(below)),
        None => (other, None),
    };
    match entry.split_once('/') {
        // `*/log` covers `pods/log`, but neither `pods/*` nor `*`.
        Some(("*", subresource)) => below == Some(subresource) && subresource != "*",
        // `pods/*` covers `pods` and `pods/log`; `*` is more than `pods`.
        Some((theirs, "*")) => theirs == resource,
        _ => false,
    }
}

fn url_covers(url: &str, other: &str) -> bool {
    if url == "*" || url == other {
        return true;
    }
    let beginning = url.strip_suffix('*');
    beginning.is_some_and(|beginning| other != "*" && other.trim_end_matches('*').starts_with(beginning))
}
