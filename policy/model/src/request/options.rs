//! The list options that change what a GET without a name is.

use std::borrow::Cow;

use super::classify::ClassifyError;
use super::query::Pairs;
use super::{labels, selector};

/// What the query says of a GET on a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListOptions {
    /// The client wants a stream of changes.
    pub(super) watch: bool,
    /// The name that the field selector demands, where it is a legal path segment.
    pub(super) name: Option<Box<str>>,
}

/// Both selectors as written, first value only. They are attributes of the decision for some verbs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selectors {
    pub(super) field: Option<Box<str>>,
    pub(super) label: Option<Box<str>>,
}

impl ListOptions {
    /// Reads the options as `metainternalversionscheme.ParameterCodec` does. When any of them cannot be read, all are
    /// dropped but `watch`, which is read again by itself.
    pub(super) fn read(query: &Pairs<'_>) -> Result<Self, ClassifyError> {
        let raw = Raw::collect(query);
        if let Ok(options) = raw.decode()? {
            return Ok(options);
        }
        let off = |value: &[u8]| value == b"0" || value.eq_ignore_ascii_case(b"false");
        Ok(Self {
            watch: raw.watch.is_some_and(|value| !off(&value)),
            name: None,
        })
    }
}

impl Selectors {
    pub(super) fn read(query: &Pairs<'_>) -> Result<Self, ClassifyError> {
        let text = |key| query.first(key).map(into_text).transpose();
        Ok(Self {
            field: text("fieldSelector")?,
            label: text("labelSelector")?,
        })
    }
}

/// The first values of the parameters that can fail or matter, gathered in one pass.
#[derive(Default)]
struct Raw<'a> {
    watch: Option<Cow<'a, [u8]>>,
    limit: Option<Cow<'a, [u8]>>,
    timeout: Option<Cow<'a, [u8]>>,
    field: Option<Cow<'a, [u8]>>,
    label: Option<Cow<'a, [u8]>>,
}

impl<'a> Raw<'a> {
    fn collect(query: &Pairs<'a>) -> Self {
        let mut raw = Self::default();
        for (key, value) in query.clone() {
            let slot = match key.as_ref() {
                b"watch" => &mut raw.watch,
                b"limit" => &mut raw.limit,
                b"timeoutSeconds" => &mut raw.timeout,
                b"fieldSelector" => &mut raw.field,
                b"labelSelector" => &mut raw.label,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        raw
    }

    fn decode(&self) -> Result<Result<ListOptions, selector::Unreadable>, ClassifyError> {
        let field = self.field.as_deref().map(as_text).transpose()?.unwrap_or_default();
        let whole = |value: &Option<Cow<'_, [u8]>>| value.as_deref().is_none_or(is_int64);
        if !whole(&self.limit) || !whole(&self.timeout) {
            return Ok(Err(selector::Unreadable));
        }
        if let Err(unreadable) = labels::check(self.label.as_deref().unwrap_or_default()) {
            return Ok(Err(unreadable));
        }
        let legal = |name: &String| name != "." && name != ".." && !name.contains(['/', '%']);
        Ok(selector::exact_name(field).map(|name| ListOptions {
            watch: self.watch.as_deref().is_some_and(|value| !means_off(value)),
            name: name.filter(legal).map(Into::into),
        }))
    }
}

/// Go's `strconv.ParseInt(text, 10, 64)`; Rust's parser accepts the same texts.
fn is_int64(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok())
}

/// `0`, or `false` under Unicode case folding, by which the long s `ſ` is an `s`.
fn means_off(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    text == "0" || text.replace('ſ', "s").eq_ignore_ascii_case("false")
}

fn as_text(value: &[u8]) -> Result<&str, ClassifyError> {
    std::str::from_utf8(value).map_err(|_| ClassifyError::SelectorNotText)
}

fn into_text(value: Cow<'_, [u8]>) -> Result<Box<str>, ClassifyError> {
    as_text(&value).map(Into::into)
}
