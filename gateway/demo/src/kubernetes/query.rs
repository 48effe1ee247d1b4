//! The query string, read once.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::status::Refusal;

/// Query parameters; of a repeated one, all values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(HashMap<String, Vec<String>>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decode(name)).or_default().push(decode(value));
        }
        Self(all)
    }

    /// The first value, or empty.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(|values| values.first())
            .map_or("", String::as_str)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1" | "True" | "TRUE" | "t")
    }

    /// A non-negative number; None if absent or empty.
    ///
    /// # Errors
    /// 400 when it is no number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.text(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Refusal::bad_request(format!("invalid value for `{name}`: \"{text}\""))),
        }
    }
}
