//! Nested impersonation (`kubectl --as`) as a client asks for it, read strictly before it is stripped.
//!
//! It grants nothing: whether the caller may act as that person is decided later. Invariant: a value of
//! [`RequestedImpersonation`] has one non-empty user and no name in two spellings; every `Impersonate-…` header of the
//! request is in it or made it fail.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use model::reason::Reason;
use model::subject::is_padded;
use percent_encoding::percent_decode_str;

use super::name::Reduced;

/// Whom a client asks to act as (`k8s.io/apiserver`, endpoints/filters/impersonation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedImpersonation {
    /// `Impersonate-User`.
    pub user: String,
    /// Each line of `Impersonate-Group`, never split at commas (protocol D-12).
    pub groups: Vec<String>,
    /// `Impersonate-Uid`.
    pub uid: Option<String>,
    /// `Impersonate-Extra-KEY`, by decoded key in lower case; each line one value.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Why, as the caller states it: the extra `gatescribe.dev/reason`, which is meant for the gateway and goes no further.
    pub reason: Option<String>,
}

/// Why a request for nested impersonation is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpersonationError {
    /// Group, uid or extra without a user (IMP-03).
    #[error(
        "`Impersonate-Group`, `-Uid` or `-Extra-` without `Impersonate-User`: there is nobody to act as; add `--as`"
    )]
    UserMissing,
    /// An empty user.
    #[error("`Impersonate-User` is empty: there is nobody to act as; give a name to `--as`")]
    UserEmpty,
    /// More than one user line (IMP-05).
    #[error("`Impersonate-User` is given more than once: readers choose different ones; send it once")]
    UserRepeated,
    /// More than one uid line.
    #[error("`Impersonate-Uid` is given more than once: readers choose different ones; send it once")]
    UidRepeated,
    /// A name that begins like an impersonation header and is none (IMP-04), or a look-alike of one.
    #[error("an `Impersonate-…` header is none of `-User`, `-Group`, `-Uid`, `-Extra-KEY` exactly; correct its name")]
    NameUnknown,
    /// An extra header without key (IMP-04).
    #[error("`Impersonate-Extra-` has no key; name the key behind the last dash")]
    ExtraKeyEmpty,
    /// A key whose percent-encoding is broken or not UTF-8 (IMP-07).
    #[error("the key of an `Impersonate-Extra-…` header is not valid percent-encoded UTF-8; encode it as kubectl does")]
    ExtraKeyInvalid,
    /// Two spellings of one key (IMP-07).
    #[error("two `Impersonate-Extra-…` headers decode to the same key; use one spelling")]
    ExtraKeyRepeated,
    /// A key that only the gateway may set (IMP-07, protocol F-05).
    #[error("the key of an `Impersonate-Extra-…` header is reserved for the gateway; leave it out")]
    ExtraKeyReserved,
    /// A reason that is none.
    #[error("`gatescribe.dev/reason` is given once, with 3 to 500 characters")]
    ReasonInvalid,
    /// A value that is not UTF-8 without control characters.
    #[error("an `Impersonate-…` value is not plain UTF-8 text; send it without control characters")]
    ValueInvalid,
    /// A value with a space at an end. HTTP/2 carries it and HTTP/1.1 does not (RFC 9110 §5.5), so that the name that was
    /// decided on would not be the one that the API server reads.
    #[error("an `Impersonate-…` value begins or ends with a space, which not every hop keeps; send it without")]
    ValuePadded,
    /// More groups or extra values than any person has.
    #[error("there are too many `Impersonate-…` lines; send at most 256")]
    TooMany,
}

impl RequestedImpersonation {
    /// Reads all impersonation headers of a request; none if there are none.
    ///
    /// # Errors
    /// See [`ImpersonationError`]; the request is to be refused with 400.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, ImpersonationError> {
        let mut reader = Reader::default();
        for name in headers.keys() {
            let name = name.as_str();
            // Cheap and exact: every look-alike begins with these letters once its leading punctuation is gone.
            let begins = name.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
            if begins.len() >= 11 && Reduced::of(begins.as_bytes()).as_bytes().starts_with(b"impersonate") {
                reader.header(name, headers.get_all(name).iter())?;
            }
        }
        reader.finish()
    }

    /// What is left for somebody called `own`: whoever only states a reason for acting as they are acts as nobody else.
    #[must_use]
    pub fn unless_only_reason(self, own: &str) -> Option<Self> {
        let acts_as_self = self.user == own && self.groups.is_empty() && self.uid.is_none() && self.extra.is_empty();
        (self.reason.is_none() || !acts_as_self).then_some(self)
    }
}

#[derive(Default)]
struct Reader {
    user: Option<String>,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
    reason: Option<String>,
    lines: usize,
}

impl Reader {
    fn header<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = &'a HeaderValue>,
    ) -> Result<(), ImpersonationError> {
        let values = values.map(text).collect::<Result<Vec<_>, _>>()?;
        self.lines += values.len();
        if self.lines > MAX_LINES {
            return Err(ImpersonationError::TooMany);
        }
        match name {
            "impersonate-user" => self.user = Some(one(values, ImpersonationError::UserRepeated)?),
            "impersonate-uid" => self.uid = Some(one(values, ImpersonationError::UidRepeated)?),
            "impersonate-group" => self.groups = values,
            _ => {
                let key = extra_key(
                    name.strip_prefix("impersonate-extra-")
                        .ok_or(ImpersonationError::NameUnknown)?,
                )?;
                if key == REASON {
                    let text = one(values, ImpersonationError::ReasonInvalid)?;
                    let reason = Reason::parse(&text).map_err(|_| ImpersonationError::ReasonInvalid)?;
                    if self.reason.replace(reason.into()).is_some() {
                        return Err(ImpersonationError::ReasonInvalid);
                    }
                } else if self.extra.insert(key, values).is_some() {
                    return Err(ImpersonationError::ExtraKeyRepeated);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<RequestedImpersonation>, ImpersonationError> {
        let has_more = !self.extra.is_empty() || self.reason.is_some();
        let is_empty = self.groups.is_empty() && self.uid.is_none() && !has_more;
        match self.user {
            None if is_empty => Ok(None),
            None => Err(ImpersonationError::UserMissing),
            Some(user) if user.is_empty() => Err(ImpersonationError::UserEmpty),
            Some(user) => Ok(Some(RequestedImpersonation {
                user,
                groups: self.groups,
                uid: self.uid,
                extra: self.extra,
                reason: self.reason,
            })),
        }
    }
}

fn one(values: Vec<String>, repeated: ImpersonationError) -> Result<String, ImpersonationError> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(repeated),
    }
}

/// Go takes the bytes of a value as UTF-8, so that is what they must be.
fn text(value: &HeaderValue) -> Result<String, ImpersonationError> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ImpersonationError::ValueInvalid)?;
    if text.chars().any(char::is_control) {
        Err(ImpersonationError::ValueInvalid)
    } else if is_padded(text) {
        Err(ImpersonationError::ValuePadded)
    } else {
        Ok(text.to_owned())
    }
}

/// Decodes a key as the API server does (`unescapeExtraKey`), in lower case, but refuses what it leaves as it is.
fn extra_key(written: &str) -> Result<String, ImpersonationError> {
    if written.is_empty() {
        return Err(ImpersonationError::ExtraKeyEmpty);
    }
    let encoded = written.bytes().filter(|byte| *byte == b'%').count();
    let valid = memchr::memchr_iter(b'%', written.as_bytes())
        .filter(|at| {
            written
                .as_bytes()
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
        .count();
    let decoded = percent_decode_str(written)
        .decode_utf8()
        .map_err(|_| ImpersonationError::ExtraKeyInvalid)?;
    if encoded != valid || decoded.chars().any(char::is_control) {
        return Err(ImpersonationError::ExtraKeyInvalid);
    }
    let key = decoded.to_lowercase();
    let reserved = RESERVED_KEY_DOMAINS
        .iter()
        .any(|domain| key.split('/').next().is_some_and(|host| is_within(host, domain)));
    if reserved && key != REASON {
        Err(ImpersonationError::ExtraKeyReserved)
    } else {
        Ok(key)
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Keys under these domains carry the gateway's own word.
const RESERVED_KEY_DOMAINS: [&str; 1] = ["gatescribe.dev"];
/// The key under which a caller states a reason.
const REASON: &str = "gatescribe.dev/reason";
const MAX_LINES: usize = 256;
