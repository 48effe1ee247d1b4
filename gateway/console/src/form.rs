//! Parameters of a query or a form: each at most once (RFC 6749 §3.1), each of a bounded length.

use std::collections::BTreeMap;

/// Longer than any parameter of ours or of a provider's answer.
const MOST_BYTES: usize = 8 * 1024;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

/// Why the parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldsError {
    #[error("a parameter stands twice; send each once")]
    Twice,
    #[error("a parameter is longer than {MOST_BYTES} bytes")]
    TooLong,
}

impl Fields {
    /// Reads `application/x-www-form-urlencoded` text; an empty value counts as absent (RFC 6749 §3.1).
    pub(crate) fn read(pairs: Vec<(String, String)>) -> Result<Self, FieldsError> {
        let mut fields = BTreeMap::new();
        for (name, value) in pairs {
            if name.len() > MOST_BYTES || value.len() > MOST_BYTES {
                return Err(FieldsError::TooLong);
            }
            if fields.insert(name, value).is_some() {
                return Err(FieldsError::Twice);
            }
        }
        fields.retain(|_, value| !value.is_empty());
        Ok(Self(fields))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            encoded
        })
}

/// A URL with parameters behind it.
pub(crate) fn with_query(base: &str, pairs: &[(&str, &str)]) -> String {
    let query: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    let joint = if base.contains('?') { '&' } else { '?' };
    format!("{base}{joint}{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            Fields::read(vec![pair("a", "1"), pair("a", "2")]).unwrap_err(),
            FieldsError::Twice
        );
        let fields = Fields::read(vec![pair("a", ""), pair("b", "2")]).unwrap();
        assert_eq!((fields.find("a"), fields.find("b")), (None, Some("2")));
    }

    #[test]
    fn what_is_put_into_a_url_cannot_leave_its_place() {
        assert_eq!(
            with_query("http://h/p", &[("a", "1&b=2\r\n#é")]),
            "http://h/p?a=1%26b%3D2%0D%0A%23%C3%A9"
        );
    }
}
