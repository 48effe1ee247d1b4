//! Who asks, as the API server's authorizer will see it.

use std::borrow::Cow;
use std::sync::Arc;

/// The group of all who are signed in; the API server adds it.
pub const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A user name and its groups.
#[derive(Clone, Debug)]
pub struct SubjectView<'a> {
    username: &'a str,
    groups: &'a [Arc<str>],
    added: [Option<Cow<'a, str>>; 3],
}

impl<'a> SubjectView<'a> {
    /// With these groups and no other.
    #[must_use]
    pub const fn exactly(username: &'a str, groups: &'a [Arc<str>]) -> Self {
        Self {
            username,
            groups,
            added: [None, None, None],
        }
    }

    /// As the API server sees it once it impersonates: it adds `system:authenticated` unless that or
    /// `system:unauthenticated` is among the groups, and gives a service account without groups its own
    /// (k8s.io/apiserver, pkg/endpoints/filters/impersonation).
    #[must_use]
    pub fn impersonated(username: &'a str, groups: &'a [Arc<str>]) -> Self {
        let account = service_account(username).filter(|_| groups.is_empty());
        let decided = |group: &Arc<str>| matches!(group.as_ref(), AUTHENTICATED | UNAUTHENTICATED);
        let added = [
            (!groups.iter().any(decided)).then_some(Cow::Borrowed(AUTHENTICATED)),
            account.map(|_| Cow::Borrowed(SERVICE_ACCOUNTS)),
            account.map(|(namespace, _)| Cow::Owned(format!("{SERVICE_ACCOUNTS}:{namespace}"))),
        ];
        Self {
            username,
            groups,
            added,
        }
    }

    /// Nobody: no name, and no group, not even one that the API server adds.
    #[must_use]
    pub const fn nobody() -> Self {
        Self {
            username: "",
            groups: &[],
            added: [None, None, None],
        }
    }

    /// The user name.
    #[must_use]
    pub const fn username(&self) -> &'a str {
        self.username
    }

    /// All groups, the added ones last.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups
            .iter()
            .map(AsRef::as_ref)
            .chain(self.added.iter().flatten().map(AsRef::as_ref))
    }

    /// Whether any group was given, apart from those that the API server adds.
    #[must_use]
    pub const fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }
}

/// Splits `system:serviceaccount:<namespace>:<name>`; `None` unless both parts are legal names.
#[must_use]
pub fn service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let label = |text: &str| {
        let bytes = text.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    let legal = namespace.len() <= 63 && label(namespace) && name.len() <= 253 && name.split('.').all(label);
    legal.then_some((namespace, name))
}
