//! Is the head of an answer one that may be passed on? (UPS-09, UPS-10, HDR-11, H1-28)
//!
//! Redirects pass as they are; nothing is ever followed. Which headers reach the client is the header station's matter.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::StreamClass;
use super::error::BadAnswer;

/// Checks the status, and with 101 that it is the switch that was asked for.
pub(super) fn check_status(
    status: StatusCode,
    class: StreamClass,
    asked: &HeaderMap,
    answered: &HeaderMap,
) -> Result<(), BadAnswer> {
    match (status.as_u16(), class) {
        (101, StreamClass::Upgrade) => check_upgrade(asked, answered),
        (101, StreamClass::Short | StreamClass::Watch | StreamClass::FollowLog | StreamClass::Proxied) => {
            Err(BadAnswer::UnaskedUpgrade)
        }
        (200..=599, _) => Ok(()),
        (other, _) => Err(BadAnswer::Status(other)),
    }
}

/// HTTP/1.1 only: one way to read the length, or none at all (RFC 9112 §6.3).
pub(super) fn check_framing(headers: &HeaderMap) -> Result<(), BadAnswer> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let is_plain = coding.is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let is_clear = codings.next().is_none() && is_plain && lengths <= 1 && (coding.is_none() || lengths == 0);
    if is_clear { Ok(()) } else { Err(BadAnswer::Framing) }
}

/// Such schemes authenticate the connection instead of the request: it must serve nobody else (UPS-12).
pub(super) fn authenticates_connection(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

fn check_upgrade(asked: &HeaderMap, answered: &HeaderMap) -> Result<(), BadAnswer> {
    let same = match (asked.get(UPGRADE), only(answered, &UPGRADE)) {
        (Some(asked), Some(answered)) => asked.as_bytes().eq_ignore_ascii_case(answered.as_bytes()),
        (None, _) | (_, None) => false,
    };
    let right = same
        && accept_is_right(asked, answered)
        && is_among_asked(asked, answered, &SEC_WEBSOCKET_PROTOCOL)
        && is_among_asked(asked, answered, &SEC_WEBSOCKET_EXTENSIONS)
        && is_among_asked(asked, answered, &STREAM_PROTOCOL);
    if right { Ok(()) } else { Err(BadAnswer::WrongUpgrade) }
}

/// RFC 6455 §4.2.2: the key, the fixed text, SHA-1, base64.
fn accept_is_right(asked: &HeaderMap, answered: &HeaderMap) -> bool {
    match (asked.get(SEC_WEBSOCKET_KEY), only(answered, &SEC_WEBSOCKET_ACCEPT)) {
        (None, accept) => accept.is_none() && !answered.contains_key(SEC_WEBSOCKET_ACCEPT),
        (Some(_), None) => false,
        (Some(key), Some(accept)) => {
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), WEBSOCKET_TEXT].concat());
            STANDARD.encode(hash).as_bytes() == accept.as_bytes()
        }
    }
}

/// What the answer chose, its parameters aside, was offered. Choosing nothing is always allowed; an API server that was
/// offered no WebSocket protocol says so with an empty value (G-12).
fn is_among_asked(asked: &HeaderMap, answered: &HeaderMap, name: &HeaderName) -> bool {
    let offers = || asked.get_all(name).iter().flat_map(choices);
    answered
        .get_all(name)
        .iter()
        .flat_map(choices)
        .filter(|chosen| !chosen.is_empty())
        .all(|chosen| offers().any(|offer| offer == chosen))
}

fn choices(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(|one| one.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const WEBSOCKET_TEXT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// More interim answers than this to one request are a flood.
pub(super) const MOST_INTERIM: usize = 16;
