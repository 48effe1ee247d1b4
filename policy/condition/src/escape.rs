//! Kubernetes' escapes of names that CEL cannot have: `kubernetes.io` is written `kubernetes__dot__io`.

use std::borrow::Cow;

use crate::Value;
use crate::value::Map;

/// Names that a whole escaped name may stand for: `__namespace__`.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name that is meant; `None` when something escaped in it is not known.
pub(crate) fn plain(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        let (before, found) = rest.split_at_checked(at)?;
        match escaped(found) {
            Some((word, tail)) => {
                out.push_str(before);
                out.push_str(meaning(word, found.len() - tail.len() == name.len())?);
                rest = tail;
            }
            None => {
                // Not the start of an escape: one underscore further, another may start.
                let (skipped, tail) = rest.split_at_checked(at + 1)?;
                out.push_str(skipped);
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

/// What stands between two pairs of underscores, and what follows.
fn escaped(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("__")?;
    let (word, tail) = inner.split_once("__")?;
    (!word.is_empty() && !word.contains('_')).then_some((word, tail))
}

fn meaning(word: &str, alone: bool) -> Option<&str> {
    match word {
        "underscores" => Some("__"),
        "dot" => Some("."),
        "dash" => Some("-"),
        "slash" => Some("/"),
        _ => (alone && RESERVED.contains(&word)).then_some(word),
    }
}

/// The value under this name in a map, where names in maps that were given are escaped. `top`: the map is a declared
/// variable itself, in which a name with an unknown escape finds nothing; elsewhere it is the name as it stands.
pub(crate) fn look_up<'m>(map: &'m Map, name: &str, top: bool) -> Option<&'m Value> {
    match key(map, name, top)? {
        Cow::Borrowed(name) => map.field(name),
        Cow::Owned(name) => map.field(&name),
    }
}

/// The key that is looked for when this name is written.
pub(crate) fn key<'n>(map: &Map, name: &'n str, top: bool) -> Option<Cow<'n, str>> {
    if !map.is_given() || !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    match plain(name) {
        Some(plain) => Some(Cow::Owned(plain)),
        None if top => None,
        None => Some(Cow::Borrowed(name)),
    }
}
