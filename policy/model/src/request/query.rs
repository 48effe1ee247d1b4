//! Query parameters as the API server reads them (Go's `net/url.ParseQuery`).
//!
//! A parameter that contains `;` is dropped, as Go drops it: a reader that kept `watch=1;x` would classify a list as a
//! watch. The query itself goes upstream unchanged (B-14).

use std::borrow::Cow;

/// The parameters of a query in order, decoded: `+` is a space, keys are decoded before they are compared.
///
/// Expects escapes to be valid, which [`super::Target`] sees to.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    pub(super) const fn new(query: &'a str) -> Self {
        Self { rest: query }
    }

    /// The first value of a parameter; the API server reads no other.
    #[must_use]
    pub fn first(&self, key: &str) -> Option<Cow<'a, [u8]>> {
        self.clone()
            .find(|(name, _)| name.as_ref() == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// Whether there is no parameter at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, [u8]>, Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if pair.is_empty() || pair.contains(';') {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            return Some((unescape(key), unescape(value)));
        }
        None
    }
}

fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    // `+` first: an escaped `%2B` must stay a plus.
    let spaced = text.replace('+', " ");
    Cow::Owned(super::target::decode(spaced.as_bytes()).into_owned())
}
