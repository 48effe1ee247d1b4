//! Query parameters as the API server reads them (Go's `net/url.ParseQuery`).
//!
//! A parameter that contains `;` is dropped, as Go drops it: a reader that kept `watch=1;x` would classify a list as a
//! watch. The query itself goes upstream unchanged (B-14).
//!
//! The one reader of queries: who classifies, who decides and who writes down see the same parameters.

use std::borrow::Cow;

/// The parameters of a query in order, decoded: `+` is a space, keys are decoded before they are compared.
///
/// Expects escapes to be valid, which [`super::Target`] sees to; one that is not stays as it is.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    raw: RawPairs<'a>,
}

impl<'a> Pairs<'a> {
    /// Of a query without its `?`.
    #[must_use]
    pub const fn new(query: &'a str) -> Self {
        Self {
            raw: RawPairs { rest: query },
        }
    }

    /// The same parameters with their values as they came: what is written down must be what was sent.
    #[must_use]
    pub fn raw(&self) -> RawPairs<'a> {
        self.raw.clone()
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
        let (key, value) = self.raw.next()?;
        Some((key, unescape(value.unwrap_or_default())))
    }
}

/// The parameters of a query in order: keys decoded, values as they came. `None` where a parameter has no `=`, which is the
/// empty value to the API server.
#[derive(Clone, Debug)]
pub struct RawPairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for RawPairs<'a> {
    type Item = (Cow<'a, [u8]>, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if pair.is_empty() || pair.contains(';') {
                continue;
            }
            let (key, value) = pair
                .split_once('=')
                .map_or((pair, None), |(key, value)| (key, Some(value)));
            return Some((unescape(key), value));
        }
        None
    }
}

/// A key or a value of a query as the API server reads it: `+` is a space, escapes are decoded (Go's `net/url.QueryUnescape`). An escape that is not valid stays as
/// it is.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    // `+` first: an escaped `%2B` must stay a plus.
    let spaced = text.replace('+', " ");
    Cow::Owned(super::target::decode(spaced.as_bytes()).into_owned())
}
