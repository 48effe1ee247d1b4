//! Who asks: a real person or a real workload, never a bare string.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An opaque, stable name for a subject: 32 lower-case hexadecimal digits, the first 16 bytes of
/// SHA-256(issuer, 0x00, subject). The same account of the same issuer always has the same one; it says nothing about
/// the person to somebody who has no further knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SubjectId(Arc<str>);

impl SubjectId {
    /// From the digest that the caller computed (this crate holds no cryptography).
    #[must_use]
    pub fn from_digest(digest: [u8; 16]) -> Self {
        Self(hex::encode(digest).into())
    }

    /// Reads the 32 digits; `None` when the text is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.into()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a subject id is 32 lower-case hexadecimal digits"))
    }
}

/// What kind of subject. Kinds are never compared across: a person named like a service account is a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectKind {
    /// A human who signed in at an OpenID provider, or holds a client certificate.
    Person,
    /// A Kubernetes ServiceAccount, proved by its own token.
    ServiceAccount,
    /// A workload proved by a SPIFFE identity.
    Workload,
    /// Nobody in particular: a path that is published as public.
    Public,
}

/// The parts a [`Subject`] is made from.
#[derive(Clone, Debug)]
pub struct SubjectParts {
    /// See [`SubjectId`].
    pub id: SubjectId,
    /// See [`SubjectKind`].
    pub kind: SubjectKind,
    /// Who vouches: the issuer URL, or `certificate:<CA name>`.
    pub issuer: String,
    /// The issuer's name for the subject (`sub`, RFC 7519 §4.1.2).
    pub subject: String,
    /// The Kubernetes user name after claim mapping.
    pub username: String,
    /// `user.Info.UID`, when the mapping gives one.
    pub uid: Option<String>,
    /// Kubernetes groups after claim mapping.
    pub groups: Vec<String>,
    /// `user.Info.Extra` after claim mapping.
    pub extra: BTreeMap<String, Vec<String>>,
    /// The verified e-mail address; for display and search, never an identifier.
    pub email: Option<String>,
}

/// An authenticated subject as policy sees it.
///
/// Invariant: the user name is not empty; names carry no control characters and no space at an end; a `system:` name is
/// held only by a service account and is then exactly its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    id: SubjectId,
    kind: SubjectKind,
    issuer: Arc<str>,
    subject: Arc<str>,
    username: Arc<str>,
    uid: Option<Arc<str>>,
    groups: Arc<[Arc<str>]>,
    extra: Arc<BTreeMap<String, Vec<String>>>,
    email: Option<Arc<str>>,
}

/// Why the parts make no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The mapping gave an empty user name.
    #[error("the user name is empty")]
    EmptyUsername,
    /// A control character could split a header or a line.
    #[error("the {what} contains a control character")]
    ControlCharacter {
        /// Which value.
        what: &'static str,
    },
    /// A space at an end does not survive as part of a header's value (RFC 9110 §5.5): the cluster would read another name.
    #[error("the {what} begins or ends with a space")]
    Padded {
        /// Which value.
        what: &'static str,
    },
    /// Reserved names come from the cluster alone.
    #[error("`{name}` is reserved: names that begin with `system:` belong to the cluster itself")]
    Reserved {
        /// The name that was asked for.
        name: String,
    },
}

impl Subject {
    /// # Errors
    /// See [`SubjectError`].
    pub fn new(parts: SubjectParts) -> Result<Self, SubjectError> {
        check_names(&parts)?;
        Ok(Self {
            id: parts.id,
            kind: parts.kind,
            issuer: parts.issuer.into(),
            subject: parts.subject.into(),
            username: parts.username.into(),
            uid: parts.uid.map(Into::into),
            groups: parts.groups.into_iter().map(Into::into).collect(),
            extra: Arc::new(parts.extra),
            email: parts.email.map(Into::into),
        })
    }

    /// Whether policy could see another in it: in name, UID, groups or extra values. The order of groups means nothing.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let sorted = |subject: &Self| {
            let mut groups = subject.groups.to_vec();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        let names = |subject: &Self| (subject.id.clone(), subject.username.clone(), subject.uid.clone());
        names(self) != names(other) || self.extra != other.extra || sorted(self) != sorted(other)
    }

    /// See [`SubjectId`].
    #[must_use]
    pub const fn id(&self) -> &SubjectId {
        &self.id
    }

    /// See [`SubjectKind`].
    #[must_use]
    pub const fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// Who vouches for the subject.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer's name for the subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The Kubernetes user name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The Kubernetes UID, if mapped.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The mapped groups; `system:authenticated` is not among them, the API server adds it.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        &self.groups
    }

    /// The mapped extra values.
    #[must_use]
    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }

    /// The verified e-mail address, for display and search.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }
}

fn check_names(parts: &SubjectParts) -> Result<(), SubjectError> {
    if parts.username.is_empty() {
        return Err(SubjectError::EmptyUsername);
    }
    check_text("user name", &parts.username)?;
    check_text("uid", parts.uid.as_deref().unwrap_or_default())?;
    for group in &parts.groups {
        check_text("group name", group)?;
    }
    for (key, values) in &parts.extra {
        check_text("extra key", key)?;
        for value in values {
            check_text("extra value", value)?;
        }
    }
    if parts.kind == SubjectKind::ServiceAccount {
        return check_service_account(parts);
    }
    let names = std::iter::once(&parts.username).chain(&parts.groups);
    match names.into_iter().find(|name| name.starts_with("system:")) {
        Some(name) => Err(SubjectError::Reserved { name: name.clone() }),
        None => Ok(()),
    }
}

/// Whether a text is not the same once the spaces at its ends are gone.
#[must_use]
pub fn is_padded(text: &str) -> bool {
    text.trim().len() != text.len()
}

fn check_text(what: &'static str, text: &str) -> Result<(), SubjectError> {
    if text.chars().any(char::is_control) {
        Err(SubjectError::ControlCharacter { what })
    } else if is_padded(text) {
        Err(SubjectError::Padded { what })
    } else {
        Ok(())
    }
}

/// A service account is exactly `system:serviceaccount:<namespace>:<name>` with the two groups the API server gives it.
fn check_service_account(parts: &SubjectParts) -> Result<(), SubjectError> {
    let reserved = |name: &str| Err(SubjectError::Reserved { name: name.to_owned() });
    let mut pieces = parts
        .username
        .strip_prefix("system:serviceaccount:")
        .unwrap_or_default()
        .split(':');
    let (Some(namespace), Some(name), None) = (pieces.next(), pieces.next(), pieces.next()) else {
        return reserved(&parts.username);
    };
    if namespace.is_empty() || name.is_empty() {
        return reserved(&parts.username);
    }
    let own = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ];
    let allowed =
        |group: &String| !group.starts_with("system:") || own.contains(group) || group == "system:authenticated";
    match parts.groups.iter().find(|group| !allowed(group)) {
        Some(group) => reserved(group),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(username: &str, groups: &[&str]) -> Result<Subject, SubjectError> {
        Subject::new(SubjectParts {
            id: SubjectId::from_digest([7; 16]),
            kind: SubjectKind::Person,
            issuer: "https://idp.example".into(),
            subject: "1".into(),
            username: username.into(),
            uid: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: BTreeMap::new(),
            email: None,
        })
    }

    #[test]
    fn imp_09_reserved_names_never_come_from_a_person_in_any_position() {
        assert!(person("alice", &["dev"]).is_ok());
        for (user, groups) in [("system:admin", &[][..]), ("alice", &["dev", "system:masters"][..])] {
            assert!(
                matches!(person(user, groups), Err(SubjectError::Reserved { .. })),
                "{user} {groups:?}"
            );
        }
    }

    #[test]
    fn imp_08_a_name_that_could_split_a_header_is_refused() {
        assert_eq!(
            person("a\r\nImpersonate-User: b", &[]).unwrap_err(),
            SubjectError::ControlCharacter { what: "user name" }
        );
        assert_eq!(
            person("a", &["x\ny"]).unwrap_err(),
            SubjectError::ControlCharacter { what: "group name" }
        );
        assert_eq!(person("", &[]).unwrap_err(), SubjectError::EmptyUsername);
    }

    #[test]
    fn a_name_that_a_header_would_carry_as_another_one_is_refused() {
        for padded in ["alice ", " alice", "\u{a0}alice"] {
            assert_eq!(
                person(padded, &[]).unwrap_err(),
                SubjectError::Padded { what: "user name" },
                "{padded:?}"
            );
        }
        for padded in [" system:masters", "dev ", " "] {
            assert_eq!(
                person("alice", &["dev", padded]).unwrap_err(),
                SubjectError::Padded { what: "group name" },
                "{padded:?}"
            );
        }
        assert!(
            person("Alice de la Cruz", &["team a"]).is_ok(),
            "a space inside a name is its own"
        );
    }

    #[test]
    fn a_service_account_holds_its_own_names_and_no_other_reserved_ones() {
        let account = |username: &str, groups: &[&str]| {
            Subject::new(SubjectParts {
                id: SubjectId::from_digest([1; 16]),
                kind: SubjectKind::ServiceAccount,
                issuer: "https://kubernetes.default.svc".into(),
                subject: username.into(),
                username: username.into(),
                uid: None,
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                extra: BTreeMap::new(),
                email: None,
            })
        };
        assert!(
            account(
                "system:serviceaccount:a:b",
                &["system:serviceaccounts", "system:serviceaccounts:a"]
            )
            .is_ok()
        );
        assert!(account("system:serviceaccount:a:b", &["system:masters"]).is_err());
        assert!(account("system:serviceaccount:a:b", &["system:serviceaccounts:c"]).is_err());
        assert!(account("system:serviceaccount:a", &[]).is_err());
        assert!(account("alice", &[]).is_err());
    }
}
