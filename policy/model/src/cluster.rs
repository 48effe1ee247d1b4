//! Which cluster: part of every target, permit, pool key, cache key, snapshot and record.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The name of a cluster: an RFC 1123 label (`[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters), because it
/// becomes a host name (`<cluster>.<host>`) and a path segment (`/clusters/<name>`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClusterId(Arc<str>);

/// The text is no RFC 1123 label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cluster name: use lower-case letters, digits and inner `-`, at most 63 characters")]
pub struct ClusterIdError(String);

impl ClusterId {
    /// # Errors
    /// The name is no RFC 1123 label.
    pub fn new(name: &str) -> Result<Self, ClusterIdError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = !name.is_empty() && name.len() <= 63 && name.bytes().all(inner);
        if fits && !name.starts_with('-') && !name.ends_with('-') {
            Ok(Self(name.into()))
        } else {
            Err(ClusterIdError(name.chars().take(80).collect()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_that_fit_a_host_name_and_a_path_segment_are_names() {
        for good in ["prod", "a", "eu-west-1", "0"] {
            assert!(ClusterId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Prod", "a.b", "a/b", "ä", &"a".repeat(64)] {
            assert!(ClusterId::new(bad).is_err(), "{bad}");
        }
    }
}
