//! Why a rule does not match a call: the first of its members that does not, in the order in which the API server looks.

use crate::evaluate::Asked;
use crate::mutant::Bend;
use crate::policy::{Policy, Rule, Scope};

/// What of a rule does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// `users`.
    Users,
    /// `userGroups`.
    UserGroups,
    /// `verbs`.
    Verbs,
    /// It is about resources, and the call is not.
    AboutResources,
    /// It is about other paths, and the call is about a resource.
    AboutPaths,
    /// `namespaces`.
    Namespaces,
    /// `resources`.
    Resources,
    /// `nonResourceURLs`.
    Paths,
}

impl Miss {
    /// For a person, behind the rule's number.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Users => "is for other `users`",
            Self::UserGroups => "is for other `userGroups`",
            Self::Verbs => "is about other `verbs`",
            Self::AboutResources => "is about resources",
            Self::AboutPaths => "is about paths that are no resource's",
            Self::Namespaces => "is about other `namespaces`",
            Self::Resources => "is about other `resources`",
            Self::Paths => "is about other `nonResourceURLs`",
        }
    }
}

impl Policy {
    /// Why each rule before the one that decides does not match; of all rules where none does.
    #[must_use]
    pub fn misses(&self, asked: &Asked<'_>) -> Vec<Miss> {
        self.rules.iter().map_while(|rule| rule.misses(asked)).collect()
    }
}

impl Rule {
    fn misses(&self, asked: &Asked<'_>) -> Option<Miss> {
        let bend = Bend::default();
        if self.matches(asked, bend) {
            return None;
        }
        let without_groups = Self {
            user_groups: Vec::new(),
            ..self.clone()
        };
        Some(if !without_groups.user(asked.user.as_ref(), bend) {
            Miss::Users
        } else if !self.user(asked.user.as_ref(), bend) {
            Miss::UserGroups
        } else if !self.verb(asked.verb, bend) {
            Miss::Verbs
        } else {
            self.scope.misses(asked)
        })
    }
}

impl Scope {
    fn misses(&self, asked: &Asked<'_>) -> Miss {
        match (self, &asked.resource) {
            (Self::Resources { namespaces, .. }, Some(resource)) => {
                let is_there = namespaces.iter().any(|namespace| **namespace == *resource.namespace);
                if namespaces.is_empty() || is_there {
                    Miss::Resources
                } else {
                    Miss::Namespaces
                }
            }
            (Self::Resources { .. }, None) => Miss::AboutResources,
            (Self::Paths(_), Some(_)) => Miss::AboutPaths,
            (Self::Paths(_), None) => Miss::Paths,
            // A rule without a scope falls at its users or verbs.
            (Self::Any, _) => Miss::Verbs,
        }
    }
}
