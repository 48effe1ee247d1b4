//! Names of workloads in the words of SPIFFE: trust domains, IDs, and patterns of IDs (SPIFFE-ID §2).
//!
//! An ID has one spelling, and only that is read: what could be written in two ways (upper case, percent escapes, `.` and
//! `..`, empty segments, a port, a query) is refused, not normalised. So texts can be compared, and a beginning that ends in
//! a slash is a beginning by whole segments.

use std::fmt;
use std::sync::Arc;

/// The longest trust domain, in bytes (SPIFFE-ID §2.3).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;
/// The longest ID, in bytes (SPIFFE-ID §2.3).
pub const MAX_ID_BYTES: usize = 2_048;

const SCHEME: &str = "spiffe://";

/// Why a text is no name in SPIFFE's sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpiffeIdError {
    /// It does not begin with the scheme, in lower case.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    NotSpiffe,
    /// See [`MAX_ID_BYTES`].
    #[error("a SPIFFE ID has 2,048 bytes at most")]
    TooLong,
    /// No trust domain.
    #[error("the trust domain is empty")]
    NoTrustDomain,
    /// See [`MAX_TRUST_DOMAIN_BYTES`].
    #[error("a trust domain has 255 bytes at most")]
    TrustDomainTooLong,
    /// SPIFFE-ID §2.1.
    #[error(
        "a trust domain is made of lower-case letters, digits, dots, dashes and underscores, without user and port"
    )]
    TrustDomainCharacter,
    /// An ID of a workload has a path (X509-SVID §5.2).
    #[error("a workload's SPIFFE ID has a path behind the trust domain")]
    NoPath,
    /// Two slashes, or one at the end.
    #[error("the path of a SPIFFE ID has no empty segment and no slash at its end")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path of a SPIFFE ID has no segment `.` or `..`")]
    DotSegment,
    /// SPIFFE-ID §2.2.
    #[error("the path of a SPIFFE ID is made of letters, digits, dots, dashes and underscores, without escapes")]
    PathCharacter,
}

/// The name of a trust domain, such as `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads the name alone.
    ///
    /// # Errors
    /// See [`SpiffeIdError`].
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        match name {
            "" => Err(SpiffeIdError::NoTrustDomain),
            _ if name.len() > MAX_TRUST_DOMAIN_BYTES => Err(SpiffeIdError::TrustDomainTooLong),
            _ if !name.bytes().all(fits) => Err(SpiffeIdError::TrustDomainCharacter),
            _ => Ok(Self(name.into())),
        }
    }

    /// Reads the trust domain's own ID, which has no path: `spiffe://example.org`.
    ///
    /// # Errors
    /// See [`SpiffeIdError`].
    pub fn of_id(id: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(id.strip_prefix(SCHEME).ok_or(SpiffeIdError::NotSpiffe)?)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its own ID: `spiffe://` and the name.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// Whether this name is that of one of its workloads, or begins like one.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        let rest = name.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(&*self.0));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one workload: `spiffe://`, a trust domain, and a path of at least one segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Reads an ID of a workload.
    ///
    /// # Errors
    /// See [`SpiffeIdError`].
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::NotSpiffe)?;
        let (name, path) = rest
            .split_once('/')
            .map_or((rest, None), |(name, path)| (name, Some(path)));
        let trust_domain = TrustDomain::parse(name)?;
        for segment in path.ok_or(SpiffeIdError::NoPath)?.split('/') {
            check_segment(segment)?;
        }
        Ok(Self {
            text: text.into(),
            trust_domain,
        })
    }

    /// All of it, as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its trust domain, whose bundle alone can vouch for it.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match segment {
        "" => Err(SpiffeIdError::EmptySegment),
        "." | ".." => Err(SpiffeIdError::DotSegment),
        _ if !segment.bytes().all(fits) => Err(SpiffeIdError::PathCharacter),
        _ => Ok(()),
    }
}

/// One workload, or all below a trust domain or a path: `spiffe://example.org/ns/prod/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpiffePattern {
    /// This one.
    Exactly(SpiffeId),
    /// Those whose ID begins so; ends in a slash.
    Under(Arc<str>),
}

impl SpiffePattern {
    /// Reads an ID, or one with `/*` behind it.
    ///
    /// # Errors
    /// See [`SpiffeIdError`]; a star anywhere else is a character that no ID has.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let Some(base) = text.strip_suffix("/*") else {
            return SpiffeId::parse(text).map(Self::Exactly);
        };
        match SpiffeId::parse(base) {
            Err(SpiffeIdError::NoPath) | Ok(_) => Ok(Self::Under(format!("{base}/").into())),
            Err(error) => Err(error),
        }
    }

    /// Whether it means this workload.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        match self {
            Self::Exactly(one) => one.as_str() == id,
            Self::Under(beginning) => id.starts_with(&**beginning),
        }
    }

    /// Whether all that it means is of this trust domain.
    #[must_use]
    pub fn is_of(&self, trust_domain: &TrustDomain) -> bool {
        match self {
            Self::Exactly(one) => one.trust_domain() == trust_domain,
            Self::Under(beginning) => trust_domain.holds(beginning),
        }
    }
}

/// Entry for the fuzzer: any bytes are an ID or a refusal, never a panic; what is accepted has one spelling, which everything
/// that is made from it keeps.
pub fn fuzz_spiffe_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text, "an accepted ID is kept byte for byte");
        assert!(text.len() <= MAX_ID_BYTES && text.is_ascii(), "short and plain");
        let path = text.strip_prefix(&id.trust_domain().id());
        assert!(path.is_some_and(|path| path.starts_with('/') && !path.ends_with('/')));
        let has_dots = path.is_some_and(|path| path.split('/').any(|segment| segment == "." || segment == ".."));
        assert!(!has_dots && !text.contains(['%', '?', '#', '@', ' ', '\\', '*']));
        assert!(id.trust_domain().holds(text), "it is of its trust domain");
        assert_eq!(SpiffePattern::parse(text), Ok(SpiffePattern::Exactly(id)));
    }
    if let Ok(pattern) = SpiffePattern::parse(text) {
        assert!(
            text.contains('*') || pattern.covers(text),
            "without a star it means itself"
        );
        assert!(
            text.strip_suffix("/*").is_none_or(|base| !pattern.covers(base)),
            "what stands above is not below"
        );
    }
    if let Ok(domain) = TrustDomain::of_id(text) {
        assert_eq!(
            domain.id(),
            text,
            "an accepted ID of a trust domain is kept byte for byte"
        );
        assert_eq!(SpiffeId::parse(text), Err(SpiffeIdError::NoPath), "and is nobody's");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_read_in_its_one_spelling() {
        for good in [
            "spiffe://example.org/ns/prod/sa/web",
            "spiffe://a/b",
            "spiffe://1.2.3.4/x",
            "spiffe://under_score-dash.example/A.B_c-9",
            "spiffe://example.org/...",
            "spiffe://example.org/.well-known/x..y",
        ] {
            let id = SpiffeId::parse(good).unwrap();
            assert_eq!((id.as_str(), id.to_string().as_str()), (good, good));
        }
        let id = SpiffeId::parse("spiffe://example.org/ns/prod/sa/web").unwrap();
        assert_eq!(id.trust_domain().as_str(), "example.org");
        assert_eq!(id.trust_domain().id(), "spiffe://example.org");
    }

    #[test]
    fn what_could_be_read_as_another_name_is_no_id() {
        use SpiffeIdError as E;
        let long = format!("spiffe://example.org/{}", "a".repeat(2_048 - 21));
        assert!(SpiffeId::parse(&long).is_ok(), "{} bytes", long.len());
        let longest = format!("spiffe://{}/a", "d".repeat(255));
        assert!(SpiffeId::parse(&longest).is_ok());
        for (bad, why) in [
            ("", E::NotSpiffe),
            ("example.org/a", E::NotSpiffe),
            ("https://example.org/a", E::NotSpiffe),
            ("SPIFFE://example.org/a", E::NotSpiffe),
            ("spiffe:/example.org/a", E::NotSpiffe),
            (" spiffe://example.org/a", E::NotSpiffe),
            ("spiffe://", E::NoTrustDomain),
            ("spiffe:///a", E::NoTrustDomain),
            ("spiffe://Example.org/a", E::TrustDomainCharacter),
            ("spiffe://example.org:8443/a", E::TrustDomainCharacter),
            ("spiffe://user@example.org/a", E::TrustDomainCharacter),
            ("spiffe://example%2eorg/a", E::TrustDomainCharacter),
            ("spiffe://ex\u{e4}mple.org/a", E::TrustDomainCharacter),
            ("spiffe://example.org?q", E::TrustDomainCharacter),
            ("spiffe://example.org", E::NoPath),
            ("spiffe://example.org/", E::EmptySegment),
            ("spiffe://example.org/a/", E::EmptySegment),
            ("spiffe://example.org//a", E::EmptySegment),
            ("spiffe://example.org/a//b", E::EmptySegment),
            ("spiffe://example.org/./a", E::DotSegment),
            ("spiffe://example.org/a/..", E::DotSegment),
            ("spiffe://example.org/a/../b", E::DotSegment),
            ("spiffe://example.org/%2e%2e/b", E::PathCharacter),
            ("spiffe://example.org/a b", E::PathCharacter),
            ("spiffe://example.org/a?x=1", E::PathCharacter),
            ("spiffe://example.org/a#x", E::PathCharacter),
            ("spiffe://example.org/a\0", E::PathCharacter),
            ("spiffe://example.org/a\r\nImpersonate-User: root", E::PathCharacter),
            ("spiffe://example.org/\u{430}", E::PathCharacter),
            ("spiffe://example.org/*", E::PathCharacter),
        ] {
            assert_eq!(SpiffeId::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(SpiffeId::parse(&format!("{long}a")), Err(E::TooLong));
        let domain = format!("spiffe://{}/a", "d".repeat(256));
        assert_eq!(SpiffeId::parse(&domain), Err(E::TrustDomainTooLong));
    }

    #[test]
    fn a_pattern_means_one_or_what_lies_below_by_whole_segments() {
        let below = SpiffePattern::parse("spiffe://example.org/ns/prod/*").unwrap();
        assert!(below.covers("spiffe://example.org/ns/prod/web"));
        assert!(below.covers("spiffe://example.org/ns/prod/sa/web"));
        for other in [
            "spiffe://example.org/ns/prod",
            "spiffe://example.org/ns/production/web",
            "spiffe://example.org/ns/staging/web",
            "spiffe://example.org.evil/ns/prod/web",
        ] {
            assert!(!below.covers(other), "{other}");
        }
        let all = SpiffePattern::parse("spiffe://example.org/*").unwrap();
        assert!(all.covers("spiffe://example.org/a") && !all.covers("spiffe://example.org.evil/a"));
        let (ours, other) = (
            TrustDomain::parse("example.org").unwrap(),
            TrustDomain::parse("example.or").unwrap(),
        );
        assert!(all.is_of(&ours) && !all.is_of(&other));
        for bad in [
            "spiffe://*",
            "spiffe://*/a",
            "spiffe://example.org/*/a",
            "spiffe://example.org/a*",
            "*",
        ] {
            assert!(SpiffePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_look_like_those_of_a_trust_domain_are_told_from_others() {
        let domain = TrustDomain::of_id("spiffe://example.org").unwrap();
        for (name, is_its) in [
            ("spiffe://example.org/ns/a", true),
            ("spiffe://example.org", true),
            ("spiffe://example.org/", true),
            ("spiffe://example.organ/a", false),
            ("spiffe://other.org/a", false),
            ("example.org/a", false),
            ("alice", false),
        ] {
            assert_eq!(domain.holds(name), is_its, "{name}");
        }
        assert_eq!(
            TrustDomain::of_id("spiffe://example.org/a"),
            Err(SpiffeIdError::TrustDomainCharacter)
        );
        assert_eq!(TrustDomain::of_id("example.org"), Err(SpiffeIdError::NotSpiffe));
    }

    fn segment() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9._-]{1,12}".prop_filter("dots", |segment| segment != "." && segment != "..")
    }

    proptest! {
        #[test]
        fn what_is_made_of_good_parts_is_read_back_as_these_parts(
            domain in "[a-z0-9._-]{1,40}", path in prop::collection::vec(segment(), 1..8)
        ) {
            let text = format!("spiffe://{domain}/{}", path.join("/"));
            let id = SpiffeId::parse(&text).unwrap();
            prop_assert_eq!(id.trust_domain().as_str(), domain.as_str());
            for depth in 0..=path.len() {
                let above = std::iter::once(format!("spiffe://{domain}")).chain(path.iter().take(depth).cloned());
                let above: Vec<String> = above.collect();
                let pattern = SpiffePattern::parse(&format!("{}/*", above.join("/"))).unwrap();
                prop_assert_eq!(pattern.covers(&text), depth < path.len());
            }
        }

        #[test]
        fn any_bytes_are_an_id_or_a_refusal(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_spiffe_id(&data);
        }

        #[test]
        fn any_text_that_begins_like_an_id_is_one_or_a_refusal(
            rest in "[a-zA-Z.%/*: _\u{0}\u{e4}-]{0,40}", scheme in "spiffe:/{1,3}|SPIFFE://|"
        ) {
            fuzz_spiffe_id(format!("{scheme}{rest}").as_bytes());
        }
    }
}
