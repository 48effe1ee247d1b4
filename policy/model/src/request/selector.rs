//! Field selectors, as far as classification needs them (k8s.io/apimachinery/pkg/fields).

/// A selector that the API server cannot read, so that it drops all list options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The value that a field selector demands of `metadata.name`, if it demands one exactly.
///
/// Terms are sorted before the first match is taken, as the API server does: with two demands, the lesser text wins.
pub(super) fn exact_name(selector: &str) -> Result<Option<String>, Unreadable> {
    let mut terms = split_terms(selector);
    terms.sort_unstable();
    let mut name = None;
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (field, equal, value) = split_term(term).ok_or(Unreadable)?;
        // Every value is read, as an unreadable one makes the whole selector so.
        let value = unescape(value)?;
        if equal && field == "metadata.name" && name.is_none() {
            name = Some(value);
        }
    }
    Ok(name)
}

/// Splits at commas that no backslash protects.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    let is_separator = |c: char| match (escaped, c) {
        (true, _) => {
            escaped = false;
            false
        }
        (false, '\\') => {
            escaped = true;
            false
        }
        (false, c) => c == ',',
    };
    selector.split(is_separator).collect()
}

/// Splits at the first operator: field, whether it is equality, value as written.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in term.char_indices() {
        let (field, rest) = term.split_at_checked(at)?;
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((field, equal, value));
            }
        }
    }
    None
}

/// Resolves `\\`, `\,` and `\=`; any other escape, and a bare `,` or `=`, is unreadable.
fn unescape(value: &str) -> Result<String, Unreadable> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(_) | None => return Err(Unreadable),
            },
            ',' | '=' => return Err(Unreadable),
            other => plain.push(other),
        }
    }
    Ok(plain)
}
