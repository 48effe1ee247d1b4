//! The query language: words and `key:value` terms, all of which must hold.
//!
//! `user:alice verb:delete,patch ns:shop status:>=400 -name:web-* "kubectl exec" since:7d`
//!
//! - `key:a,b` holds when one of the values does; `-` in front turns a term round; quotes keep spaces and commas.
//! - `*` in a value stands for any characters; upper and lower case are the same.
//! - words without a key are looked for anywhere in the act, the path, the agent and the sentences of a record.
//! - `since:` and `until:` take `5m`, `2h`, `7d` (ago), `today` or `yesterday` (its beginning, UTC), a day (`2026-11-01`, UTC) or a time in RFC 3339 form.
//!
//! What is typed wrongly is refused with its place and the nearest thing that exists; nothing is guessed or ignored.

mod error;
mod key;
pub(crate) mod matches;
mod parse;
mod pattern;
mod time;

pub use error::{QueryError, QueryWhy};
pub use key::Key;
use model::time::Timestamp;
pub(crate) use pattern::Pattern;
use pattern::{Address, Ending, StatusTest};
pub use time::{TimeBound, read_time};

/// A parsed query. The empty one finds everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
    since: Option<TimeBound>,
    until: Option<TimeBound>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Words(String),
    Field(Key, Vec<Pattern>),
    Status(Vec<StatusTest>),
    Ended(Vec<Ending>),
    From(Vec<Address>),
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::parse(text)
    }

    /// The same query, bounded in time from outside.
    ///
    /// # Errors
    /// The name of the bound (`since`, `until`) that the query gives as well.
    pub fn within(mut self, since: Option<TimeBound>, until: Option<TimeBound>) -> Result<Self, &'static str> {
        if since.is_some() && self.since.is_some() {
            return Err("since");
        }
        if until.is_some() && self.until.is_some() {
            return Err("until");
        }
        self.since = since.or(self.since);
        self.until = until.or(self.until);
        Ok(self)
    }

    /// The bounds in time: from, and to (exclusive).
    #[must_use]
    pub fn times(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let at = |bound: Option<TimeBound>| bound.map(|bound| bound.at(now));
        (at(self.since), at(self.until))
    }

    /// The values of this key that are asked for and not excluded.
    pub(crate) fn wanted(&self, key: Key) -> impl Iterator<Item = &Pattern> {
        let of_key = self.terms.iter().filter_map(move |term| match &term.what {
            What::Field(found, patterns) if *found == key && !term.negated => Some(patterns),
            _ => None,
        });
        of_key.flatten()
    }

    /// Whether how an act ended decides if it is found.
    pub(crate) fn asks_for_end(&self) -> bool {
        self.terms.iter().any(|term| match &term.what {
            What::Status(_) | What::Ended(_) | What::Field(Key::Reason, _) => true,
            What::Field(..) | What::Words(_) | What::From(_) => false,
        })
    }

    /// Whether the name of the object decides if an act is found.
    pub(crate) fn asks_for_name(&self) -> bool {
        self.terms
            .iter()
            .any(|term| matches!(term.what, What::Words(_) | What::Field(Key::Name, _)))
    }
}

/// Parses foreign bytes as a query and a time. Never panics, whatever they are.
pub fn fuzz_query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(query) = Query::parse(&text) {
        let _ = query.times(Timestamp::EPOCH);
        let _ = query.matches(&crate::row::Row::unreadable(0, model::event::RecordKind::Access, None));
    }
    let _ = read_time(&text);
}

#[cfg(test)]
mod tests;
