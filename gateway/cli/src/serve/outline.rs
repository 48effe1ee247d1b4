//! What a compiled set of rules consists of, and what tells two of them apart.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Names that one `policy` record gives; beyond it the counts speak.
const MOST_NAMES: usize = 20;

/// What a compiled set of rules consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PolicySet {
    /// As decisions name it; empty before everything was heard of once.
    pub(super) digest: Arc<str>,
    /// Its objects. Two sets share the entries of objects that are the same.
    pub(super) objects: Vec<Arc<Entry>>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Kind and name.
    pub(super) name: String,
    /// The digest of its content.
    pub(super) content: String,
}

/// What came, what went and what is another now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) added: u64,
    pub(super) changed: u64,
    pub(super) removed: u64,
    /// The first few, each with its sign.
    pub(super) names: Vec<String>,
}

impl Difference {
    pub(super) fn between(before: &PolicySet, after: &PolicySet) -> Self {
        let mut old = not_in(before, after);
        let mut found = Self::default();
        for (name, content) in not_in(after, before) {
            match old.remove(name) {
                None => found.added = found.note('+', name, found.added),
                Some(other) if other != content => found.changed = found.note('~', name, found.changed),
                Some(_) => {}
            }
        }
        for name in old.into_keys() {
            found.removed = found.note('-', name, found.removed);
        }
        found
    }

    fn note(&mut self, sign: char, name: &str, count: u64) -> u64 {
        if self.names.len() < MOST_NAMES {
            self.names.push(format!("{sign}{name}"));
        }
        count.saturating_add(1)
    }
}

/// The entries of one set that the other does not share, by name.
fn not_in<'s>(set: &'s PolicySet, other: &PolicySet) -> BTreeMap<&'s str, &'s str> {
    let shared: HashSet<_> = other.objects.iter().map(Arc::as_ptr).collect();
    let own = set.objects.iter().filter(|entry| !shared.contains(&Arc::as_ptr(entry)));
    own.map(|entry| (entry.name.as_str(), entry.content.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(objects: &[(&str, &str)]) -> PolicySet {
        let entry = |(name, content): &(&str, &str)| Entry {
            name: (*name).to_owned(),
            content: (*content).to_owned(),
        };
        PolicySet {
            digest: "d".into(),
            objects: objects.iter().map(entry).map(Arc::new).collect(),
        }
    }

    #[test]
    fn a_change_of_rules_names_what_came_what_changed_and_what_went() {
        let before = set(&[("Role a/x", "1"), ("Role a/y", "1"), ("ClusterRole z", "1")]);
        let mut after = set(&[("Role a/x", "1"), ("Role a/y", "2"), ("RoleBinding a/b", "1")]);
        let expected = ["~Role a/y", "+RoleBinding a/b", "-ClusterRole z"];
        for shares in [false, true] {
            if shares {
                after.objects[0] = Arc::clone(&before.objects[0]);
            }
            let found = Difference::between(&before, &after);
            assert_eq!((found.added, found.changed, found.removed), (1, 1, 1));
            assert_eq!(found.names, expected);
        }
        assert_eq!(Difference::between(&after, &after), Difference::default());
    }

    #[test]
    fn of_a_large_change_the_counts_are_exact_and_the_names_are_the_first() {
        let names: Vec<String> = (0..1_000).map(|n| format!("Role a/{n:04}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let found = Difference::between(&set(&[]), &set(&many));
        assert_eq!((found.added, found.names.len()), (1_000, MOST_NAMES));
        assert_eq!(found.names.first().map(String::as_str), Some("+Role a/0000"));
    }
}
