//! Whose names an issuer can give. An issuer vouches for what stands in its tokens and for nothing else: when the names of
//! two begin alike, `alice` of the one is `alice` of the other, with all roles of hers.

use super::{Issuer, Source};

/// With what the names that an issuer gives begin; the empty text: with anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSpace {
    /// The beginning of user names.
    pub users: String,
    /// The beginning of groups; `None` when it gives none.
    pub groups: Option<String>,
}

/// What one issuer can name of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// People.
    Users,
    /// Groups.
    Groups,
    /// Both.
    UsersAndGroups,
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Users => "people",
            Self::Groups => "groups",
            Self::UsersAndGroups => "people and groups",
        })
    }
}

impl NameSpace {
    /// What of `other`'s this one can name: all whose beginning begins with its own. Two equal ones reach each other; one
    /// without prefixes reaches everybody, and is reached only by its like.
    #[must_use]
    pub fn reaches(&self, other: &Self) -> Option<Reach> {
        let users = other.users.starts_with(&self.users);
        let groups = match (&self.groups, &other.groups) {
            (Some(mine), Some(theirs)) => theirs.starts_with(mine.as_str()),
            _ => false,
        };
        match (users, groups) {
            (true, true) => Some(Reach::UsersAndGroups),
            (true, false) => Some(Reach::Users),
            (false, true) => Some(Reach::Groups),
            (false, false) => None,
        }
    }
}

impl Issuer {
    /// Whose names it can give, as far as its mappings bind it.
    #[must_use]
    pub fn name_space(&self) -> NameSpace {
        let beginning = |source: &Source| match source {
            Source::Claim { prefix, .. } => prefix.clone(),
            Source::Expression(program) => program.beginning(),
        };
        NameSpace {
            users: beginning(&self.mapping.username),
            groups: self.mapping.groups.as_ref().map(beginning),
        }
    }
}
