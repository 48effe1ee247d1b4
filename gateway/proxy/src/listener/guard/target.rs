//! The request target: which bytes it may have at all, and where its path begins.
//!
//! It does not normalise, decode or classify: dot segments, encoded slashes and empty segments are judged by the route,
//! as the tail behind `/proxy/` belongs to the backend. Invariant: the bytes it lets pass are the bytes that go upstream.

use super::super::{host::Host, violation::Violation};

/// A target that may be read: origin form and, for the absolute form, the host it names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The path and query, or `*`.
    pub(crate) origin: &'a [u8],
    /// The authority of an absolute target.
    pub(crate) authority: Option<Host>,
}

/// The scheme of a listener, and so of all its absolute targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP (loopback only).
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The port that a missing one stands for.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme as it stands in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Checks a request target (RFC 9112 §3.2).
///
/// # Errors
/// The violation of the form, the scheme, the authority, the bytes or the percent-encoding.
pub(crate) fn check<'a>(target: &'a [u8], is_options: bool, scheme: Scheme) -> Result<Target<'a>, Violation> {
    if target.first() == Some(&b'/') {
        check_bytes(target)?;
        return Ok(Target {
            origin: target,
            authority: None,
        });
    }
    if target == b"*" && is_options {
        return Ok(Target {
            origin: target,
            authority: None,
        });
    }
    let separator = memchr::memmem::find(target, b"://").ok_or(Violation::TargetFormUnknown)?;
    let (written_scheme, rest) = (
        target.get(..separator).unwrap_or_default(),
        target.get(separator + 3..).unwrap_or_default(),
    );
    if !written_scheme.eq_ignore_ascii_case(scheme.as_str().as_bytes()) {
        return Err(Violation::TargetSchemeForbidden);
    }
    let slash = memchr::memchr(b'/', rest).ok_or(Violation::TargetFormUnknown)?;
    let (authority, origin) = (
        rest.get(..slash).unwrap_or_default(),
        rest.get(slash..).unwrap_or_default(),
    );
    check_bytes(origin)?;
    Ok(Target {
        origin,
        authority: Some(Host::parse(authority)?),
    })
}

/// Checks each byte of path and query (RFC 3986 §3.3, §3.4, and what browsers send raw).
pub(crate) fn check_bytes(origin: &[u8]) -> Result<(), Violation> {
    let mut allowed = PATH;
    for byte in origin {
        match class(*byte) {
            class if class & allowed != 0 => {}
            QUESTION => allowed = QUERY,
            _ => return Err(Violation::TargetByteForbidden),
        }
    }
    check_percent(origin)
}

fn check_percent(origin: &[u8]) -> Result<(), Violation> {
    for at in memchr::memchr_iter(b'%', origin) {
        let digits = origin.get(at + 1..at + 3).ok_or(Violation::TargetPercentInvalid)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Violation::TargetPercentInvalid);
        }
    }
    Ok(())
}

/// Where a byte may stand: `\`, `#`, `"`, `<`, `>`, space, control and 8-bit bytes nowhere.
fn class(byte: u8) -> u8 {
    match byte {
        b'?' => QUESTION,
        b'`' | b'{' | b'}' => QUERY,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => PATH | QUERY,
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' => PATH | QUERY,
        b';' | b'=' | b':' | b'@' | b'%' | b'/' | b'[' | b']' | b'|' | b'^' => PATH | QUERY,
        _ => 0,
    }
}

const PATH: u8 = 1;
const QUERY: u8 = 2;
const QUESTION: u8 = 4 | QUERY;

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(target: &str) -> Option<Violation> {
        check(target.as_bytes(), false, Scheme::Https).err()
    }

    #[test]
    fn targets_that_go_upstream_byte_for_byte_are_accepted() {
        for target in [
            "/",
            "/a/../b",
            "/a//b",
            "/%2e%2e/",
            "/a%2Fb;c=1",
            "/x?a=b&c={d}|`^[1]?",
            "/?watch=1;x",
            "/a[0]",
        ] {
            assert_eq!(
                check(target.as_bytes(), false, Scheme::Https).unwrap().origin,
                target.as_bytes()
            );
        }
    }

    #[test]
    fn every_forbidden_byte_is_refused_in_path_and_in_query() {
        for byte in (0..=0x20)
            .chain([b'"', b'#', b'<', b'>', b'\\', 0x7f])
            .chain(0x80..=0xff)
        {
            for mut target in [b"/a".to_vec(), b"/a?q=".to_vec()] {
                target.push(byte);
                assert_eq!(
                    check(&target, false, Scheme::Https),
                    Err(Violation::TargetByteForbidden),
                    "{byte:#x}"
                );
            }
        }
    }

    #[test]
    fn broken_percent_sequences_are_refused() {
        for target in ["/%zz", "/%", "/a%2", "/?q=100%"] {
            assert_eq!(violation(target), Some(Violation::TargetPercentInvalid), "{target}");
        }
    }

    #[test]
    fn only_the_scheme_of_the_listener_may_stand_in_an_absolute_target() {
        assert_eq!(violation("ftp://a/"), Some(Violation::TargetSchemeForbidden));
        assert_eq!(violation("http://a/"), Some(Violation::TargetSchemeForbidden));
        assert_eq!(check(b"HTTPS://A:443/x", false, Scheme::Https).unwrap().origin, b"/x");
        assert_eq!(violation("https://u@a/"), Some(Violation::HostInvalid));
        assert_eq!(violation("https://a"), Some(Violation::TargetFormUnknown));
    }

    #[test]
    fn the_asterisk_belongs_to_options_alone() {
        assert_eq!(violation("*"), Some(Violation::TargetFormUnknown));
        assert_eq!(check(b"*", true, Scheme::Https).unwrap().origin, b"*");
    }
}
