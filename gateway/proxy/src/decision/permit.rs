//! What a yes looks like: a value that only the decision station can make, moved and never cloned.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use model::decision::{Obligations, UpstreamIdentity};
use model::subject::is_padded;
use model::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The class of calls whose answer waits for its record: get, list, watch, log.
#[derive(Debug)]
pub enum PureRead {}

/// The class of calls whose sending waits for its record: everything else.
#[derive(Debug)]
pub enum Effect {}

/// A yes to one call of class `K`.
#[derive(Debug)]
pub struct Permit<K> {
    outgoing: Arc<Outgoing>,
    obligations: Obligations,
    not_after: Timestamp,
    class: PhantomData<fn(K)>,
}

impl<K> Permit<K> {
    pub(super) fn new(outgoing: Arc<Outgoing>, obligations: Obligations, not_after: Timestamp) -> Self {
        Self {
            outgoing,
            obligations,
            not_after,
            class: PhantomData,
        }
    }

    /// A yes without a decision.
    #[cfg(test)]
    pub(crate) fn for_tests(obligations: Obligations) -> Self {
        let identity = UpstreamIdentity {
            user: "al".into(),
            uid: None,
            groups: Arc::default(),
            extra: Arc::default(),
        };
        let outgoing = Outgoing::new(&identity).unwrap();
        Self::new(Arc::new(outgoing), obligations, Timestamp::MAX)
    }

    /// Whom the call goes out as.
    #[must_use]
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// What is still owed.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// It holds no longer than this.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// A yes, by the class that the classifier gave the call.
#[derive(Debug)]
pub enum Permitted {
    /// A pure read.
    Read(Permit<PureRead>),
    /// Anything else.
    Effect(Permit<Effect>),
}

impl Permitted {
    /// What is still owed.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        match self {
            Self::Read(permit) => permit.obligations(),
            Self::Effect(permit) => permit.obligations(),
        }
    }
}

/// The identity headers of a call, ready to be added; made once per identity and policy, shared by its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Of a call to a cluster.
    user: Option<HeaderValue>,
    lines: Vec<(HeaderName, HeaderValue)>,
}

/// A name cannot be written as a header value. The call fails; it is never sent without the name (F-02).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} cannot be sent to a cluster: it is no plain text of one line without spaces at its ends")]
pub struct NotAHeader {
    /// Which name.
    pub what: &'static str,
}

/// Characters of an extra key that stay as they are in a header name (client-go `headerKeyEscape` keeps tokens of
/// RFC 7230; upper case is escaped because header names have none).
const EXTRA_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'~');

impl Outgoing {
    /// # Errors
    /// A name that would not survive as one header line.
    pub fn new(identity: &UpstreamIdentity) -> Result<Self, NotAHeader> {
        // The API server reads header bytes as UTF-8, so a name beyond ASCII goes out as its UTF-8 bytes.
        let value = |what, text: &str| {
            let clean = !text.is_empty() && !text.chars().any(char::is_control) && !is_padded(text);
            let value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| clean);
            value.ok_or(NotAHeader { what })
        };
        let user = value("user name", &identity.user)?;
        let mut lines = vec![(HeaderName::from_static("impersonate-user"), user.clone())];
        if let Some(uid) = &identity.uid {
            lines.push((HeaderName::from_static("impersonate-uid"), value("uid", uid)?));
        }
        for group in identity.groups.iter() {
            lines.push((
                HeaderName::from_static("impersonate-group"),
                value("group name", group)?,
            ));
        }
        extra_lines(&identity.extra, &mut lines, value)?;
        Ok(Self {
            user: Some(user),
            lines,
        })
    }

    /// What a service is told: nobody is impersonated there.
    #[must_use]
    pub const fn to_service(lines: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { user: None, lines }
    }

    /// `Impersonate-User`, which the sender compares at the last moment; none goes to a service.
    #[must_use]
    pub const fn user(&self) -> Option<&HeaderValue> {
        self.user.as_ref()
    }

    /// Adds the lines. What the client sent under these names must be gone already: strip first, add last (D-01).
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.lines {
            headers.append(name.clone(), value.clone());
        }
    }
}

fn extra_lines(
    extra: &BTreeMap<String, Vec<String>>,
    lines: &mut Vec<(HeaderName, HeaderValue)>,
    value: impl Fn(&'static str, &str) -> Result<HeaderValue, NotAHeader>,
) -> Result<(), NotAHeader> {
    for (key, values) in extra {
        let name = format!(
            "impersonate-extra-{}",
            utf8_percent_encode(&key.to_lowercase(), EXTRA_KEY)
        );
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| NotAHeader { what: "extra key" })?;
        for text in values {
            lines.push((name.clone(), value("extra value", text)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, groups: &[&str]) -> UpstreamIdentity {
        let extra = BTreeMap::from([("gatescribe.dev/session".to_owned(), vec!["s1".to_owned()])]);
        UpstreamIdentity {
            user: user.into(),
            uid: None,
            groups: groups.iter().map(|group| (*group).into()).collect(),
            extra: Arc::new(extra),
        }
    }

    #[test]
    fn f_01_imp_08_one_user_and_one_line_for_each_group_and_extra_value() {
        let mut headers = HeaderMap::new();
        Outgoing::new(&identity("alice", &["dev", "a, b"]))
            .unwrap()
            .add_to(&mut headers);
        let groups: Vec<_> = headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["dev", "a, b"], "D-12: a comma does not split a group");
        assert_eq!(headers.get("impersonate-extra-gatescribe.dev%2fsession").unwrap(), "s1");
        assert_eq!(headers.get_all("impersonate-user").iter().count(), 1);
    }

    #[test]
    fn d_15_a_name_that_would_split_a_line_or_vanish_makes_no_identity() {
        for bad in ["", "a\r\nb", "a\0", "boss ", " boss"] {
            assert_eq!(
                Outgoing::new(&identity(bad, &[])),
                Err(NotAHeader { what: "user name" }),
                "{bad:?}"
            );
        }
        for bad in ["x\ny", " system:masters", "dev "] {
            assert_eq!(
                Outgoing::new(&identity("alice", &[bad])),
                Err(NotAHeader { what: "group name" }),
                "{bad:?}"
            );
        }
        assert!(
            Outgoing::new(&identity("jürgen", &[])).is_ok(),
            "UTF-8 is sent as it is"
        );
    }
}
