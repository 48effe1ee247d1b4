//! What RBAC is asked about.

use std::hash::{Hash, Hasher};

use model::request::RequestFacts;

/// The attributes of one question (`authorizer.Attributes`), borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attributes<'a> {
    /// See [`RequestFacts::authorization_verb`].
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource in plural.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, or empty.
    pub namespace: &'a str,
    /// The name, or empty.
    pub name: &'a str,
    /// For other paths.
    pub path: &'a str,
    /// Whether it is about a resource; else only verb and path count.
    pub is_resource: bool,
}

impl<'a> Attributes<'a> {
    /// What a request asks for.
    #[must_use]
    pub fn of(facts: &'a RequestFacts) -> Self {
        Self {
            verb: facts.authorization_verb(),
            group: facts.api_group(),
            resource: facts.resource(),
            subresource: facts.subresource(),
            namespace: facts.namespace(),
            name: facts.name(),
            path: facts.path(),
            is_resource: facts.is_resource_request(),
        }
    }
}

impl<'a> Attributes<'a> {
    /// Everything that a decision depends on. The path decides nothing for resources, and would only spread equal questions.
    fn decisive(&self) -> [&'a str; 7] {
        [
            self.verb,
            self.group,
            self.resource,
            self.subresource,
            self.namespace,
            self.name,
            if self.is_resource { "" } else { self.path },
        ]
    }

    /// Feeds a hasher as [`CacheKey`] does.
    pub fn hash_as_key<H: Hasher>(&self, state: &mut H) {
        for field in self.decisive() {
            field.hash(state);
        }
    }
}

/// A key for a cache of decisions: all attributes, exact, so that no two questions share an answer.
///
/// The caller's cache belongs to one snapshot and adds what stands for the subject (user name and groups). A look-up needs no
/// key: it hashes ([`Attributes::hash_as_key`]) and compares ([`CacheKey::is_of`]) the attributes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey(Box<str>);

impl CacheKey {
    /// One allocation; fields are separated by a byte that none of them can hold.
    #[must_use]
    pub fn of(asked: &Attributes<'_>) -> Self {
        let fields = asked.decisive();
        let mut key = String::with_capacity(fields.iter().map(|field| field.len() + 1).sum());
        for field in fields {
            key.push_str(field);
            key.push(SEPARATOR);
        }
        Self(key.into())
    }

    /// Whether it is the key of this question.
    #[must_use]
    pub fn is_of(&self, asked: &Attributes<'_>) -> bool {
        self.fields().eq(asked.decisive())
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(SEPARATOR)
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields().for_each(|field| field.hash(state));
    }
}

const SEPARATOR: char = '\0';
