//! The checks of an HTTP/2 request that neither h2 nor hyper makes (RFC 9113 §8).
//!
//! h2 has already checked pseudo-headers, names, connection headers and body lengths. Not seen here: a `#` in `:path`,
//! which http::Uri cuts off before us; what is decided and what is forwarded is then equally without it. Invariant: a
//! request that passes names one host, and its cookie crumbs are one line.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use super::super::{
    guard::{
        lines::{check_alias, check_method, parse_length},
        target::{Scheme, check_bytes},
    },
    head::{Head, HeadLimits},
    host::Host,
    violation::Violation,
};

/// Checks a request and puts its cookie crumbs together (RFC 9113 §8.2.3). Without a `scheme` it may name any.
pub(crate) fn check<B>(request: &mut Request<B>, limits: &HeadLimits, scheme: Option<Scheme>) -> Head {
    let target = target_of(request);
    let (lines, bytes) = measure(request.headers());
    let host = check_host(request);
    let violation = check_all(request, limits, scheme, (lines, bytes))
        .err()
        .or(host.as_ref().err().copied());
    if violation.is_none() {
        join_cookies(request.headers_mut());
    }
    Head {
        target,
        host: host.ok(),
        violation,
        header_lines: lines,
        header_bytes: bytes,
        upgrade: None,
    }
}

/// The path and query without a copy of their bytes where `http` allows it.
fn target_of<B>(request: &Request<B>) -> Bytes {
    request
        .uri()
        .path_and_query()
        .map(|target| Bytes::copy_from_slice(target.as_str().as_bytes()))
        .unwrap_or_default()
}

fn measure(headers: &HeaderMap) -> (usize, usize) {
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    (headers.len(), bytes)
}

fn check_all<B>(
    request: &Request<B>,
    limits: &HeadLimits,
    scheme: Option<Scheme>,
    (lines, bytes): (usize, usize),
) -> Result<(), Violation> {
    check_method(request.method().as_str().as_bytes())?;
    check_target(request, limits, scheme)?;
    if lines > limits.header_lines {
        return Err(Violation::TooManyHeaders);
    }
    if bytes > limits.head_bytes {
        return Err(Violation::HeadTooLarge);
    }
    check_headers(request.headers(), limits)
}

fn check_target<B>(request: &Request<B>, limits: &HeadLimits, scheme: Option<Scheme>) -> Result<(), Violation> {
    if request.version() != Version::HTTP_2 {
        return Err(Violation::VersionUnsupported);
    }
    // Without `:authority`, http::Uri cannot hold the scheme; then `Host` decides alone.
    let written = request.uri().scheme_str();
    if written
        .zip(scheme)
        .is_some_and(|(written, scheme)| written != scheme.as_str())
    {
        return Err(Violation::TargetSchemeForbidden);
    }
    let target = request
        .uri()
        .path_and_query()
        .map(http::uri::PathAndQuery::as_str)
        .unwrap_or_default();
    if target.len() > limits.target_bytes {
        return Err(Violation::TargetTooLong);
    }
    if target == "*" && request.method() == http::Method::OPTIONS {
        return Ok(());
    }
    if !target.starts_with('/') {
        return Err(Violation::TargetFormUnknown);
    }
    check_bytes(target.as_bytes())
}

fn check_host<B>(request: &Request<B>) -> Result<Host, Violation> {
    let mut lines = request.headers().get_all(HOST).iter();
    let written = lines.next().map(|value| Host::parse(value.as_bytes())).transpose()?;
    if lines.next().is_some() {
        return Err(Violation::HostRepeated);
    }
    let authority = request
        .uri()
        .authority()
        .map(|authority| Host::parse(authority.as_str().as_bytes()))
        .transpose()?;
    match (authority, written) {
        (Some(authority), Some(host)) if authority != host => Err(Violation::TargetHostMismatch),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Violation::HostMissing),
    }
}

fn check_headers(headers: &HeaderMap, limits: &HeadLimits) -> Result<(), Violation> {
    for (name, value) in headers {
        if name.as_str().len() + value.len() > limits.header_line_bytes {
            return Err(Violation::HeaderLineTooLarge);
        }
        check_alias(name.as_str().as_bytes())?;
    }
    if CONNECTION_HEADERS.iter().any(|name| headers.contains_key(name)) {
        return Err(Violation::ConnectionHeaderOnHttp2);
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        return Err(Violation::ConnectionHeaderOnHttp2);
    }
    check_length(headers)?;
    check_expect(headers)
}

fn check_length(headers: &HeaderMap) -> Result<(), Violation> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lines.next() else { return Ok(()) };
    parse_length(length.as_bytes())?;
    if lines.next().is_some() {
        Err(Violation::ContentLengthRepeated)
    } else {
        Ok(())
    }
}

fn check_expect(headers: &HeaderMap) -> Result<(), Violation> {
    let mut lines = headers.get_all(EXPECT).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Violation::ExpectationUnknown),
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Valid pieces with `; ` between them are a valid value, so this cannot fail; if it did, no cookie is the safe answer.
    match HeaderValue::from_bytes(&joined) {
        Ok(mut value) => {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        Err(_) => {
            headers.remove(COOKIE);
        }
    }
}

static CONNECTION_HEADERS: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn head(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> (Head, Request<()>) {
        let builder = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://a.example/x?y=1");
        let mut request = build(builder).body(()).unwrap();
        (
            check(&mut request, &HeadLimits::default(), Some(Scheme::Https)),
            request,
        )
    }

    #[test]
    fn another_scheme_is_refused_but_where_any_may_stand() {
        let asked = |scheme| {
            let mut request = Request::builder()
                .version(Version::HTTP_2)
                .uri("http://a.example/x")
                .body(())
                .unwrap();
            check(&mut request, &HeadLimits::default(), scheme).violation
        };
        assert_eq!(asked(Some(Scheme::Https)), Some(Violation::TargetSchemeForbidden));
        assert_eq!((asked(Some(Scheme::Http)), asked(None)), (None, None));
    }

    #[test]
    fn h2_10_an_authority_and_a_host_that_differ_are_refused() {
        assert_eq!(
            head(|request| request.header("host", "b.example")).0.violation,
            Some(Violation::TargetHostMismatch)
        );
        assert_eq!(
            head(|request| request.header("host", "a.example").header("host", "a.example"))
                .0
                .violation,
            Some(Violation::HostRepeated)
        );
        assert_eq!(
            head(|request| request.uri("https://u@a.example/")).0.violation,
            Some(Violation::HostInvalid)
        );
        assert_eq!(
            head(|request| request.uri("/x")).0.violation,
            Some(Violation::HostMissing)
        );
        assert_eq!(head(|request| request.header("host", "A.example.")).0.violation, None);
    }

    #[test]
    fn h2_18_cookie_crumbs_become_one_line_exactly_once() {
        let (_, request) = head(|request| {
            request
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("cookie", "c=3")
        });
        let cookies: Vec<_> = request.headers().get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn framing_fields_of_an_h2_request_are_as_strict_as_on_http1() {
        for (name, value, violation) in [
            ("content-length", "0001", Violation::ContentLengthInvalid),
            ("content-length", "+1", Violation::ContentLengthInvalid),
            ("te", "gzip", Violation::ConnectionHeaderOnHttp2),
            ("connection", "close", Violation::ConnectionHeaderOnHttp2),
            ("expect", "200-ok", Violation::ExpectationUnknown),
            ("transfer_encoding", "chunked", Violation::FramingHeaderAlias),
        ] {
            assert_eq!(
                head(|request| request.header(name, value)).0.violation,
                Some(violation),
                "{name}: {value}"
            );
        }
        assert_eq!(head(|request| request.header("te", "trailers")).0.violation, None);
        assert_eq!(
            head(|request| request.method("TRACE")).0.violation,
            Some(Violation::MethodForbidden)
        );
    }

    #[test]
    fn more_fields_than_the_limit_are_refused_crumbs_included() {
        let many = |name: &'static str| {
            head(|mut request| {
                for _ in 0..401 {
                    request = request.header(name, "a=1");
                }
                request
            })
        };
        assert_eq!(many("cookie").0.violation, Some(Violation::TooManyHeaders));
        assert_eq!(many("x-a").0.violation, Some(Violation::TooManyHeaders));
    }
}
