//! A masked document: what may be written down. Only [`crate::Masker`] makes one of a body, and only a document that was written
//! by this crate is read back.
//!
//! Compact JSON, the members of an object sorted by key, so that equal objects are equal bytes in whatever format they came.
//! A masked value is the object `{"~":"s2.DIGEST"}`, a masked key begins with `~`. No shown key does, so that nobody can write a value
//! that is taken for a mask.

use std::fmt::Write as _;

use crate::digest::Mask;
use crate::json;
use crate::value::{Room, Value};

/// A value of which all that could be secret is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, as it was written.
    Number(Box<str>),
    /// A text that is shown.
    Text(Box<str>),
    /// What stands in place of a value.
    Mask(Mask),
    /// A list.
    List(Vec<Node>),
    /// Members, sorted by key.
    Object(Vec<(Box<str>, Node)>),
}

/// The member that stands for a mask.
const MARK: &str = "~";
/// Where a URL leads to, beside [`MARK`].
const ORIGIN: &str = "origin";
/// A document of ours is never deeper than what it was made of, with its masks.
const MOST_DEPTH: usize = 256;
const MOST_VALUES: usize = 2_000_000;

impl Node {
    /// As compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => json::write_text(text, out),
            Self::Mask(mask) => write_mask(mask, out),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    json::write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Reads what [`Self::to_json`] wrote. `None`: it is no document of ours.
    #[must_use]
    pub fn of_json(text: &str) -> Option<Self> {
        let mut room = Room::new(MOST_VALUES, MOST_DEPTH);
        of_value(json::read(text.as_bytes(), &mut room).ok()?)
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| **key == *name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// All masks with their paths, in the document's order. A masked key has no mask of its own here; the path shows it.
    pub fn masks(&self, visit: &mut impl FnMut(&str, &Mask)) {
        self.walk(&mut String::new(), visit);
    }

    fn walk(&self, path: &mut String, visit: &mut impl FnMut(&str, &Mask)) {
        let length = path.len();
        match self {
            Self::Mask(mask) => visit(path, mask),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let _ = write!(path, "[{at}]");
                    item.walk(path, visit);
                    path.truncate(length);
                }
            }
            Self::Object(members) => {
                for (key, value) in members {
                    push_key(path, key);
                    value.walk(path, visit);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// How many keys are masked.
    #[must_use]
    pub fn masked_keys(&self) -> usize {
        match self {
            Self::List(items) => items.iter().map(Self::masked_keys).sum(),
            Self::Object(members) => {
                let of = |(key, value): &(Box<str>, Self)| {
                    usize::from(key.starts_with('~')).saturating_add(value.masked_keys())
                };
                members.iter().map(of).sum()
            }
            _ => 0,
        }
    }
}

/// Adds `.key`, or `["key"]` where the key has more than letters, digits, `-` and `_`.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let is_plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_plain {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        path.push('[');
        json::write_text(key, path);
        path.push(']');
    }
}

fn write_mask(mask: &Mask, out: &mut String) {
    out.push('{');
    if let Some(origin) = mask.origin() {
        json::write_text(ORIGIN, out);
        out.push(':');
        json::write_text(origin, out);
        out.push(',');
    }
    json::write_text(MARK, out);
    out.push(':');
    json::write_text(&mask.word(), out);
    out.push('}');
}

fn of_value(value: Value<'_>) -> Option<Node> {
    if let Some(word) = value.member(MARK) {
        let mask = Mask::of_word(word.text()?)?;
        let mask = match value.member(ORIGIN) {
            Some(origin) => mask.leading_to(origin.text()?),
            None => mask,
        };
        return Some(Node::Mask(mask));
    }
    Some(match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Number(number) => Node::Number(number.into()),
        Value::Text(text) => Node::Text(text.into()),
        Value::Bytes(_) | Value::TwoWays(_) => return None,
        Value::List(items) => Node::List(items.into_iter().map(of_value).collect::<Option<_>>()?),
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|member| Some((Box::from(&*member.key), of_value(member.value)?)));
            Node::Object(members.collect::<Option<_>>()?)
        }
    })
}
