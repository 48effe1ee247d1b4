//! A published HTTP service: its name, and the host names under which it is asked for.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The name of a published service: an RFC 1123 label, because it is also the audience of the assertions that the service
/// gets and a word of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ServiceName(Arc<str>);

/// The text is no RFC 1123 label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no service name: use lower-case letters, digits and inner `-`, at most 63 characters")]
pub struct ServiceNameError(String);

impl ServiceName {
    /// # Errors
    /// The name is no RFC 1123 label.
    pub fn new(name: &str) -> Result<Self, ServiceNameError> {
        if is_label(name) {
            Ok(Self(name.into()))
        } else {
            Err(ServiceNameError(name.chars().take(80).collect()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// A host name in the one spelling that names are compared in: lower-case labels of letters, digits and inner `-`, without
/// port and without a dot at the end; an international name stands in its ASCII form (RFC 5890 A-label). It is no address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

/// The text is no host name in that spelling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host name: write lower-case labels of letters, digits and inner `-`, such as `grafana.example.com`, without \
     scheme, port or final dot; an international name in its ASCII form (`xn--…`)"
)]
pub struct HostNameError(String);

impl HostName {
    /// # Errors
    /// The text is not in the one spelling, or is an address.
    pub fn new(name: &str) -> Result<Self, HostNameError> {
        // A browser takes every host whose last label is a number for an IPv4 address (WHATWG URL §3.5).
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) || text.starts_with("0x");
        if name.len() <= 253 && !is_number(last) && name.split('.').all(is_label) {
            Ok(Self(name.into()))
        } else {
            Err(HostNameError(name.chars().take(80).collect()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_label_names_a_service() {
        for good in ["grafana", "a", "team-a", "0"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Grafana", "a.b", "a/b", "a_b", "ä", &"a".repeat(64)] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_has_one_spelling() {
        for good in ["grafana.example.com", "localhost", "xn--bcher-kva.example", "a.1.b"] {
            assert!(HostName::new(good).is_ok(), "{good}");
        }
        let long = format!("{}.{0}.{0}.{0}.{0}", "a".repeat(60));
        for bad in [
            "",
            ".",
            "Grafana.example.com",
            "grafana.example.com.",
            "grafana.example.com:443",
            "https://grafana.example.com",
            "*.example.com",
            "a..b",
            "a_b.example",
            "bücher.example",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "a.0x7f",
            "[::1]",
            "-a.example",
            &long,
        ] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }
}
