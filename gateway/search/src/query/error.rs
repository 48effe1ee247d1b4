//! What is wrong with a query, and where.

use super::Key;
use crate::nearest::nearest_of;

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {}: {why}", .at + 1)]
pub struct QueryError {
    /// Where it begins: characters from the start.
    pub at: usize,
    /// How many characters are wrong; at least one.
    pub len: usize,
    /// What is wrong.
    pub why: QueryWhy,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryWhy {
    /// No such key.
    #[error("`{key}:` is no key{}; known are {}; to search for this text, put it in quotes", did_you_mean(.nearest.as_deref()), keys())]
    UnknownKey {
        /// As typed.
        key: String,
        /// The key that is most like it.
        nearest: Option<String>,
    },
    /// The key cannot have this value.
    #[error("`{value}` cannot stand after `{key}:`{}; {expected}", did_you_mean(.nearest.as_deref()))]
    BadValue {
        /// The key.
        key: &'static str,
        /// As typed.
        value: String,
        /// What can stand there.
        expected: String,
        /// The value that is most like it.
        nearest: Option<String>,
    },
    /// Nothing after the colon or comma.
    #[error("a value is missing after `{key}:`")]
    MissingValue {
        /// The key.
        key: &'static str,
    },
    /// A quote without its end.
    #[error("this quote has no end")]
    OpenQuote,
    /// Something directly after a closing quote.
    #[error("a space is missing after the closing quote")]
    AfterQuote,
    /// A lone `-`.
    #[error("nothing stands after `-`; to search for a dash, put it in quotes")]
    LoneDash,
    /// `since:` or `until:` twice, negated, or with several values.
    #[error("`{key}:` can stand once, with one value and without `-`")]
    OneTime {
        /// The key.
        key: &'static str,
    },
    /// Longer than anybody types.
    #[error("the query is longer than {most} {what}")]
    TooLong {
        /// The limit.
        most: usize,
        /// Of what.
        what: &'static str,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|nearest| format!(" (did you mean `{nearest}`?)"))
        .unwrap_or_default()
}

fn keys() -> String {
    let names: Vec<&str> = Key::ALL.into_iter().map(Key::name).collect();
    names.join(", ")
}

impl QueryWhy {
    pub(super) fn unknown_key(key: &str) -> Self {
        let names = Key::ALL.into_iter().map(Key::name);
        Self::UnknownKey {
            key: key.chars().take(64).collect(),
            nearest: nearest_of(key, names, 1).into_iter().next(),
        }
    }

    /// For keys whose values are a closed list.
    pub(super) fn not_among(key: Key, value: &str, known: &[&'static str]) -> Self {
        Self::BadValue {
            key: key.name(),
            value: value.chars().take(64).collect(),
            expected: format!("known are {}", known.join(", ")),
            nearest: nearest_of(value, known.iter().copied(), 1).into_iter().next(),
        }
    }

    pub(super) fn bad_value(key: Key, value: &str, expected: &str) -> Self {
        Self::BadValue {
            key: key.name(),
            value: value.chars().take(64).collect(),
            expected: expected.to_owned(),
            nearest: None,
        }
    }
}
