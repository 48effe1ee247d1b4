//! What is most like a name that was not found: from what was seen, never from what the asker may not see.

use std::collections::BTreeSet;

use serde::Serialize;
use strsim::levenshtein;

use crate::query::{Key, Query, matches};
use crate::row::Row;

/// A value of a query that nothing has, and what is like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// The key.
    pub key: &'static str,
    /// The value that was asked for.
    pub value: String,
    /// Values that exist in what was read, most alike first; empty when none is like it.
    pub candidates: Vec<String>,
}

/// At most so many different values of one key are remembered; beyond, suggestions come from the first ones seen.
const MOST_NAMES: usize = 4_096;
const MOST_CANDIDATES: usize = 3;

/// The names that were seen while searching.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    names: [BTreeSet<String>; KEYS.len()],
    /// For each wanted user: whether anybody is meant by it.
    found_users: BTreeSet<String>,
}

const KEYS: [Key; 8] = [
    Key::User,
    Key::Resource,
    Key::Namespace,
    Key::Name,
    Key::Cluster,
    Key::Verb,
    Key::Service,
    Key::Host,
];

impl Vocabulary {
    pub(crate) fn learn(&mut self, row: &Row, query: &Query) {
        let (who, service) = (row.who.as_ref(), row.service.as_ref());
        let values = [
            who.map(|who| who.user.as_str()),
            row.resource.as_deref(),
            row.namespace.as_deref(),
            row.name.as_deref(),
            row.cluster.as_deref(),
            Some(row.verb.as_str()),
            service.and_then(|called| called.name.as_deref()),
            service.map(|called| called.host.as_str()),
        ];
        for (names, value) in self.names.iter_mut().zip(values) {
            if let Some(value) = value
                && !value.is_empty()
                && names.len() < MOST_NAMES
                && !names.contains(value)
            {
                names.insert(value.to_owned());
            }
        }
        if let Some(who) = who {
            for wanted in query.wanted(Key::User) {
                if !self.found_users.contains(wanted.text()) && matches::is_user(who, wanted) {
                    self.found_users.insert(wanted.text().to_owned());
                }
            }
        }
    }

    /// For each value of the query that nothing has: what is like it.
    pub(crate) fn nearest(&self, query: &Query) -> Vec<Nearest> {
        let mut answer = Vec::new();
        for (key, names) in KEYS.into_iter().zip(&self.names) {
            for wanted in query.wanted(key) {
                let base = wanted.text().split(['/', '.']).next().unwrap_or_default();
                let known = names.iter().any(|name| wanted.matches(name))
                    || (key == Key::Resource && names.iter().any(|name| is_resource(name, base)))
                    || (key == Key::User && self.found_users.contains(wanted.text()));
                if !known && wanted.exact().is_some() {
                    answer.push(Nearest {
                        key: key.name(),
                        value: wanted.text().to_owned(),
                        candidates: match key {
                            Key::User => nearest_by(
                                wanted.text(),
                                names.iter().flat_map(|name| as_typed(name)),
                                MOST_CANDIDATES,
                            ),
                            _ => nearest_of(wanted.text(), names.iter().map(String::as_str), MOST_CANDIDATES),
                        },
                    });
                }
            }
        }
        answer
    }
}

fn is_resource(name: &str, wanted: &str) -> bool {
    name == wanted || crate::act::names::singular(name) == Some(wanted)
}

/// What people type for this user name, each with the name: all of it, or what finds it as well (`matches::is_user`).
fn as_typed(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let local = name.split_once('@').map(|(local, _)| local);
    let behind_prefix = name.split_once(':').map(|(_, rest)| rest);
    let typed = [Some(name), local, behind_prefix].into_iter().flatten();
    typed.map(move |typed| (typed, name))
}

/// The names most like `wanted`, most alike first; none that is not like it at all.
pub(crate) fn nearest_of<'n>(wanted: &str, names: impl Iterator<Item = &'n str>, most: usize) -> Vec<String> {
    nearest_by(wanted, names.map(|name| (name, name)), most)
}

/// As [`nearest_of`], where a name is compared by another one that stands before it.
fn nearest_by<'n>(wanted: &str, names: impl Iterator<Item = (&'n str, &'n str)>, most: usize) -> Vec<String> {
    let wanted: String = wanted.to_lowercase().chars().take(64).collect();
    let letters = wanted.chars().count();
    // Two letters changed places are two edits, and the commonest slip of all.
    let allowed = if letters < 4 { 1 } else { (letters / 3).clamp(2, 4) };
    let mut scored: Vec<(usize, &str)> = names
        .filter_map(|(typed, name)| {
            let lower: String = typed.to_lowercase().chars().take(64).collect();
            let within = letters >= 3 && lower.contains(&wanted);
            let distance = levenshtein(&wanted, &lower);
            (within || distance <= allowed).then_some((if within { 1 } else { distance }, name))
        })
        .collect();
    scored.sort_unstable();
    let mut seen = BTreeSet::new();
    scored.retain(|(_, name)| seen.insert(*name));
    scored.into_iter().take(most).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_most_like_a_name_comes_first_and_what_is_not_like_it_never() {
        let names = ["alice", "alina", "bob", "malice"];
        assert_eq!(nearest_of("alcie", names.into_iter(), 3), ["alice"]);
        assert_eq!(nearest_of("alic", names.into_iter(), 3), ["alice", "malice", "alina"]);
        assert_eq!(nearest_of("zzzz", names.into_iter(), 3), Vec::<String>::new());
        assert_eq!(nearest_of("", names.into_iter(), 3), Vec::<String>::new());
    }

    #[test]
    fn a_user_is_like_what_is_typed_for_the_user() {
        let names = ["alice@a-long.example.com", "oidc:bob", "carol"];
        let nearest = |wanted| nearest_by(wanted, names.into_iter().flat_map(as_typed), 3);
        assert_eq!(nearest("alise"), ["alice@a-long.example.com"]);
        assert_eq!(nearest("bobb"), ["oidc:bob"]);
        assert_eq!(nearest("carl"), ["carol"]);
        assert_eq!(nearest("example"), ["alice@a-long.example.com"]);
    }
}
