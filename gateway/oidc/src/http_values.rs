//! Requests to send and answers that came, as values.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A request for somebody else to send. Redirects must not be followed: a client secret must not travel on, and a key set
/// must come from where the issuer says (RFC 9700 §4.11).
pub type Outgoing = http::Request<Bytes>;

/// An answer as it came. The sender caps the body; what is longer than the reader's limit is refused anyway.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, decoded.
    pub body: &'a [u8],
}

/// Everything but the characters that RFC 3986 leaves unreserved.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a form or query value.
pub(crate) fn escape(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// `a=1&b=2`, encoded.
pub(crate) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    pairs
        .into_iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// A GET for JSON.
pub(crate) fn get_json(uri: &http::Uri) -> Outgoing {
    let mut request = http::Request::new(Bytes::new());
    *request.uri_mut() = uri.clone();
    request
        .headers_mut()
        .insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    request
}

/// A URL of an endpoint: https, or http on loopback; no user, no fragment; `None` otherwise.
pub(crate) fn endpoint(text: &str) -> Option<http::Uri> {
    if text.len() > 2048 || text.contains('#') || text.chars().any(|c| c.is_control() || c == ' ') {
        return None;
    }
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host();
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(host),
        _ => false,
    };
    (secure && !authority.as_str().contains('@') && !host.is_empty()).then_some(uri)
}

/// Whether a host can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
