//! What a service answers to somebody who is not signed in: the way to a sign-in, in a form that whoever asks can use
//! (protocol N-03, security WEB-11).
//!
//! A redirect is an answer for a browser that shows what it gets, and for nothing else: a script would read the sign-in page as
//! its data, a program would say that JSON is broken, and a form that was sent would be lost on the way. So the request's head is
//! read for who asks. What that says proves nothing and needs not to: whoever pretends to be a browser is sent to a page that is
//! open to everybody.
//!
//! Pure: the head goes in, an answer comes out; nothing is looked up.

mod accept;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use model::origin::LONGEST_RETURN_BYTES;
use model::request::Target;
use model::service::HostName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::listener::Upgrade;

/// Who asks, by the request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A browser that shows what it gets: in its window, or in a frame of a page of the same site.
    Navigation,
    /// What a page asks for: fetch, XHR, an image, a style sheet, events; a page that is fetched before somebody wants it; and a
    /// frame in a page of another site, which is sent no cookie and in which nobody can sign in.
    Subresource,
    /// The handshake of a WebSocket (RFC 6455 §4.1).
    WebSocket,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, from a script.
    GrpcWeb,
    /// A program: curl, kubectl, a client of an API.
    Program,
}

/// In which form the answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// 303 to the sign-in, from which it comes back.
    Redirect,
    /// 401 in words: to a person whose browser sent something, which no redirect can send again.
    Words,
    /// 401 as problem details (RFC 9457).
    Problem,
    /// Status 16 of gRPC in an answer that has no body ("Trailers-Only", gRPC over HTTP/2).
    Grpc,
    /// The same as gRPC-Web writes it.
    GrpcWeb,
}

impl Asker {
    /// Reads who asks. `upgrade` is what the listener made of the request; the rest is in its head.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, upgrade: Option<Upgrade>) -> Self {
        match upgrade {
            Some(Upgrade::WebSocket) => return Self::WebSocket,
            Some(Upgrade::Spdy31) => return Self::Program,
            None => {}
        }
        if let Some(grpc) = of_content_type(headers) {
            return grpc;
        }
        if METADATA.iter().any(|name| headers.contains_key(name)) {
            of_metadata(headers)
        } else {
            of_habits(method, headers)
        }
    }

    /// What suits this asker. Only GET and HEAD are asked again behind a sign-in as they were (RFC 9110 §15.4.4).
    #[must_use]
    pub fn form(self, method: &Method) -> Form {
        match self {
            Self::Navigation if matches!(*method, Method::GET | Method::HEAD) => Form::Redirect,
            Self::Navigation => Form::Words,
            Self::Subresource | Self::WebSocket | Self::Program => Form::Problem,
            Self::Grpc => Form::Grpc,
            Self::GrpcWeb => Form::GrpcWeb,
        }
    }
}

/// What a browser says of a request by itself and no script can (Fetch Metadata §2): if any of it is there, it alone counts.
const METADATA: [HeaderName; 4] = [
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-user"),
];

fn of_metadata(headers: &HeaderMap) -> Asker {
    // Fetched before anybody wants it: a sign-in would begin that nobody asked for.
    let is_early = ["sec-purpose", "purpose", "x-moz"]
        .iter()
        .any(|name| headers.contains_key(*name));
    let is_navigation = only(headers, "sec-fetch-mode") == Some("navigate");
    let is_shown = match only(headers, "sec-fetch-dest") {
        Some("document") => true,
        Some("iframe" | "frame") => matches!(only(headers, "sec-fetch-site"), Some("same-origin" | "same-site")),
        _ => false,
    };
    if is_navigation && is_shown && !is_early {
        Asker::Navigation
    } else {
        Asker::Subresource
    }
}

/// Older browsers say nothing of the request, nor does any over plain http to another machine.
fn of_habits(method: &Method, headers: &HeaderMap) -> Asker {
    let is_script = headers.contains_key("x-requested-with") || headers.contains_key(header::ORIGIN);
    let reads = matches!(*method, Method::GET | Method::HEAD);
    // Somebody who presents a credential of their own is no browser that could follow to a page.
    let presents = headers.contains_key(header::AUTHORIZATION);
    if is_script {
        Asker::Subresource
    } else if reads && !presents && accept::prefers_html(headers) {
        Asker::Navigation
    } else {
        Asker::Program
    }
}

/// Whether it is a call of gRPC over HTTP/2.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    of_content_type(headers) == Some(Asker::Grpc)
}

/// "PROTOCOL-HTTP2" and "PROTOCOL-WEB" of gRPC: the media type, then `+` and a message format.
fn of_content_type(headers: &HeaderMap) -> Option<Asker> {
    let value = only(headers, header::CONTENT_TYPE.as_str())?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    match essence.split('+').next()? {
        "application/grpc" => Some(Asker::Grpc),
        "application/grpc-web" | "application/grpc-web-text" => Some(Asker::GrpcWeb),
        _ => None,
    }
}

/// One value or none: two could be read in two ways.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What the answer may say: to strangers, so nothing of rules or of people.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Why nobody is signed in, in a clause without a credential in it.
    pub why: &'a str,
    /// Where to sign in.
    pub sign_in: &'a str,
    /// Where to sign in and come back to this request: see [`sign_in_and_back`].
    pub sign_in_and_back: &'a str,
    /// The request's `Audit-ID`.
    pub id: &'a str,
}

/// The address of the gateway's sign-in from which a browser comes back to what it asked a service for. `gateway` is the origin
/// of the gateway's URL, and `arrival` the hash of what binds the way back to this browser. What is too long to be kept loses its query,
/// then its path: the sign-in would leave it away whole.
#[must_use]
pub fn sign_in_and_back(gateway: &str, host: &HostName, target: &Target, arrival: &str) -> String {
    let fits = |text: &&str| text.len() <= LONGEST_RETURN_BYTES;
    let kept = [target.raw(), target.path_raw()].into_iter().find(fits);
    let target = utf8_percent_encode(kept.unwrap_or("/"), NON_ALPHANUMERIC);
    format!("{gateway}/signin?return_host={host}&return_to={target}&arrival={arrival}")
}

/// Problem details (RFC 9457).
#[derive(Serialize)]
pub(crate) struct Problem<'a> {
    pub(crate) r#type: &'static str,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    #[serde(rename = "signIn", skip_serializing_if = "Option::is_none")]
    pub(crate) sign_in: Option<&'a str>,
    #[serde(rename = "auditId", skip_serializing_if = "Option::is_none")]
    pub(crate) audit_id: Option<&'a str>,
    /// The name of the refusal, as in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
}

/// Names the problem without leading anywhere (RFC 9457 §3.1.1, RFC 4151).
const PROBLEM: &str = "tag:gatescribe.dev,2026:sign-in-first";

/// The answer to somebody who is not signed in.
#[must_use]
pub fn answer(form: Form, said: &Said<'_>) -> Response<Bytes> {
    let mut response = match (form, HeaderValue::from_str(said.sign_in_and_back)) {
        (Form::Redirect, Ok(location)) => redirect(location),
        // Without an address that can stand in a header there is nowhere to send anybody.
        (Form::Redirect | Form::Words, _) => unauthorized("text/plain; charset=utf-8", words(said)),
        (Form::Problem, _) => challenging(problem(&sign_in_problem(said))),
        (Form::Grpc, _) => trailers_only("application/grpc", UNAUTHENTICATED, &message(said)),
        (Form::GrpcWeb, _) => trailers_only("application/grpc-web+proto", UNAUTHENTICATED, &message(said)),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(said.id) {
        headers.insert("audit-id", id);
    }
    response
}

fn redirect(location: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn unauthorized(kind: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    challenging(response)
}

/// `Bearer` opens no window in any browser, as `Basic` would.
fn challenging(mut response: Response<Bytes>) -> Response<Bytes> {
    let challenge = HeaderValue::from_static("Bearer realm=\"gatescribe\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn words(said: &Said<'_>) -> Vec<u8> {
    let Said { why, sign_in, .. } = said;
    format!(
        "Sign in first: {why}.\n\nNothing was sent to the service. Sign in at {sign_in} , then go back and send it again.\n"
    )
    .into_bytes()
}

fn sign_in_problem<'a>(said: &Said<'a>) -> Problem<'a> {
    Problem {
        r#type: PROBLEM,
        title: "Sign in first",
        status: StatusCode::UNAUTHORIZED.as_u16(),
        detail: format!("{}; nothing was sent to the service", said.why),
        sign_in: Some(said.sign_in),
        audit_id: Some(said.id),
        code: None,
    }
}

/// The answer that says it.
pub(crate) fn problem(problem: &Problem<'_>) -> Response<Bytes> {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

const UNAUTHENTICATED: u16 = 16;

fn message(said: &Said<'_>) -> String {
    format!("sign in first: {}; sign in at {}", said.why, said.sign_in)
}

/// The status of HTTP is 200: clients of gRPC take any other for a fault of what stands between, and lose the words.
pub(crate) fn trailers_only(kind: &'static str, status: u16, message: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("grpc-status", HeaderValue::from(status));
    if let Ok(message) = HeaderValue::from_str(&grpc_message(message)) {
        headers.insert("grpc-message", message);
    }
    response
}

/// "Percent-Encoded" of gRPC over HTTP/2: everything but visible ASCII and space, and `%`.
fn grpc_message(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if matches!(byte, b' '..=b'~') && byte != b'%' {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
            encoded
        })
}

/// Whatever a head says: a redirect is answered to GET and HEAD only, never to what a page of another site embeds, and all else
/// is refused in so many words. Takes a method, then lines of a head, each with its line feed.
///
/// # Panics
/// An answer is not of that kind.
pub fn fuzz_sign_in_first(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(method) = lines.next().and_then(|line| Method::from_bytes(line).ok()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    holds(&method, &headers);
}

/// What holds for every head.
fn holds(method: &Method, headers: &HeaderMap) {
    let said = Said {
        why: "no credential was presented",
        sign_in: "https://gate.example.com/signin",
        sign_in_and_back: "https://gate.example.com/signin?return_to=%2F",
        id: "0",
    };
    let form = Asker::of(method, headers, None).form(method);
    let response = answer(form, &said);
    match response.status() {
        StatusCode::SEE_OTHER => {
            assert!(matches!(*method, Method::GET | Method::HEAD), "{method} is redirected");
            let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
            let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
            let embeds = site == Some(b"cross-site") && destination != Some(b"document");
            assert!(!embeds, "a part of a page of another site is redirected");
            let mode = headers.get("sec-fetch-mode").map(HeaderValue::as_bytes);
            assert!(mode.is_none_or(|mode| mode == b"navigate"), "a script is redirected");
        }
        StatusCode::UNAUTHORIZED => assert!(response.headers().contains_key(header::WWW_AUTHENTICATE)),
        StatusCode::OK => assert_eq!(response.headers().get("grpc-status"), Some(&HeaderValue::from(16))),
        other => assert!(other.is_client_error(), "{other} is no refusal"),
    }
}
