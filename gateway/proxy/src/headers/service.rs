//! What passes between a browser and a published service besides the usual: cookies that are ours stay ours, and an answer sets
//! nothing for another host (HDR-12, WEB-08).

use http::header::{ALT_SVC, CONNECTION, COOKIE, SET_COOKIE, STRICT_TRANSPORT_SECURITY, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::name::Reduced;
use super::{HOP_BY_HOP, ResponseKind, strip_response};

/// Takes the gateway's cookies out of a request, in whatever spelling a lenient server would take for theirs. All others stay byte
/// for byte.
pub fn strip_own_cookies(headers: &mut HeaderMap) {
    if !headers.get_all(COOKIE).iter().any(|line| pieces(line).any(is_ours)) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().filter_map(without_ours).collect();
    headers.remove(COOKIE);
    for line in lines {
        headers.append(COOKIE, line);
    }
}

/// Removes from a service's answer what [`strip_response`] does, and what would reach beyond the service's host: cookies of our
/// names, the `Domain` of cookies, so that they are the host's alone, and words that a browser takes for the whole site or for the
/// gateway's part of the connection. A service that stands on a path of its host gives its scripts no other path
/// (`Service-Worker-Allowed`).
pub fn confine_response(headers: &mut HeaderMap, has_path: bool) {
    strip_response(headers, ResponseKind::Service);
    for name in &BEYOND_THE_HOST {
        headers.remove(name);
    }
    if has_path {
        headers.remove(&SERVICE_WORKER_ALLOWED);
    }
    if headers.contains_key(SET_COOKIE) {
        let lines: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().filter_map(confined).collect();
        headers.remove(SET_COOKIE);
        for line in lines {
            headers.append(SET_COOKIE, line);
        }
    }
}

/// The same for a service's 101, which the sender has compared with what was asked: its switch stays.
pub fn confine_switch(headers: &mut HeaderMap, has_path: bool) {
    let upgrade = headers.get(UPGRADE).cloned();
    confine_response(headers, has_path);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

/// Removes from the trailers of a service's answer what is none (RFC 9110 §6.5.1): framing, routing, and whatever a browser would keep.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    for name in HOP_BY_HOP
        .iter()
        .chain(&BEYOND_THE_HOST)
        .chain(&[SET_COOKIE, SERVICE_WORKER_ALLOWED])
    {
        trailers.remove(name);
    }
    let framing: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| name.as_str().starts_with("content-") || name.as_str() == "location")
        .cloned()
        .collect();
    for name in framing {
        trailers.remove(name);
    }
}

const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

/// `Clear-Site-Data` clears the cookies of all hosts of the site (its §3.2); how the connection is secured and found again is the
/// gateway's to say.
static BEYOND_THE_HOST: [HeaderName; 5] = [
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("public-key-pins"),
    STRICT_TRANSPORT_SECURITY,
    ALT_SVC,
];

fn pieces(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b';')
}

/// Whether a `name=value` piece bears a name of ours. Whatever stands before the name (a space, a quote, `=` of a cookie without name)
/// some server skips.
fn is_ours(piece: &[u8]) -> bool {
    let reduced = Reduced::of(piece);
    OUR_NAMES
        .iter()
        .any(|ours| reduced.as_bytes().starts_with(ours.as_bytes()))
}

/// Beginnings of reduced names; `console::cookie` gives them out, with `__Host-` over https.
const OUR_NAMES: [&str; 4] = [
    "gatescribe-",
    "host-gatescribe-",
    "secure-gatescribe-",
    "loopback-gatescribe-",
];

/// `None`: nothing is left of it.
fn without_ours(line: &HeaderValue) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = pieces(line).filter(|piece| !is_ours(piece)).collect();
    let text = kept.join(&b';');
    let text = text.trim_ascii_start();
    let is_something = text.iter().any(|byte| !matches!(byte, b';' | b' ' | b'\t'));
    // Pieces of a header value are one.
    is_something.then(|| HeaderValue::from_bytes(text).ok()).flatten()
}

/// A `Set-Cookie` line for the service's own host; `None` where it is of our names (RFC 6265bis §5.6 for how it is taken apart).
fn confined(line: &HeaderValue) -> Option<HeaderValue> {
    let mut all = pieces(line);
    let cookie = all.next().unwrap_or_default();
    if is_ours(cookie) {
        return None;
    }
    let is_domain = |attribute: &[u8]| {
        let name = attribute.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    if !pieces(line).skip(1).any(is_domain) {
        return Some(line.clone());
    }
    let kept: Vec<&[u8]> = std::iter::once(cookie)
        .chain(all.filter(|attribute| !is_domain(attribute)))
        .collect();
    HeaderValue::from_bytes(&kept.join(&b';')).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cookies(lines: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        strip_own_cookies(&mut headers);
        let left = headers.get_all(COOKIE).iter();
        left.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn web_08_a_switch_of_a_service_says_no_more_beyond_its_host_than_any_other_answer() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Upgrade, x-mine"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("alt-svc", "h2=\"evil:443\""),
            ("clear-site-data", "\"*\""),
            ("strict-transport-security", "max-age=0"),
            ("set-cookie", "a=b; Domain=example.com"),
            ("x-mine", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        confine_switch(&mut headers, false);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("connection", "Upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("set-cookie", "a=b"),
                ("upgrade", "websocket"),
            ]
        );
    }

    #[test]
    fn hdr_12_a_service_never_sees_a_cookie_of_ours_and_all_others_as_they_came() {
        for (lines, left) in [
            (&["a=b; c=d"][..], &["a=b; c=d"][..]),
            (&["a=b; __Host-gatescribe-session=SECRET; c=d"], &["a=b; c=d"]),
            (&["__Host-gatescribe-session=SECRET; c=d"], &["c=d"]),
            (
                &["a=\"x y\" ;b==; __host-GATESCRIBE-browser=SECRET"],
                &["a=\"x y\" ;b=="],
            ),
            (&["__Host-gatescribe-session=SECRET"], &[]),
            (&["a=1", "loopback-gatescribe-session=SECRET", "b=2"], &["a=1", "b=2"]),
            (&["=__Host-gatescribe-session=SECRET; a=b"], &["a=b"]),
            (&["a=\"x;__Host-gatescribe-session=SECRET\"; c=d"], &["a=\"x; c=d"]),
            (&["\u{2000}__Host-gatescribe-session=SECRET; a=b"], &["a=b"]),
            (&["__Host_gatescribe.session=SECRET; a=b"], &["a=b"]),
            (&["__Secure-gatescribe-session=SECRET; a=b"], &["a=b"]),
            (&["gatescribe-session=SECRET;a=b;"], &["a=b;"]),
            (
                &["my-gatescribe-theme=dark; ungatescribe=1"],
                &["my-gatescribe-theme=dark; ungatescribe=1"],
            ),
            (&[";;"], &[";;"]),
        ] {
            assert_eq!(cookies(lines), left, "{lines:?}");
        }
    }

    fn answer(lines: &[(&str, &str)], has_path: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        confine_response(&mut headers, has_path);
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn web_08_an_answer_sets_nothing_beyond_its_host() {
        for (name, value) in [
            ("set-cookie", "__Host-gatescribe-session=x; Secure; Path=/"),
            ("set-cookie", " __host-gatescribe-browser=x"),
            ("set-cookie", "=__Host-gatescribe-session=x"),
            ("set-cookie2", "a=b"),
            ("clear-site-data", "\"*\""),
            ("strict-transport-security", "max-age=0"),
            ("alt-svc", "h2=\"other.example:443\""),
            ("public-key-pins", "max-age=1"),
            ("connection", "close"),
        ] {
            assert_eq!(answer(&[(name, value)], false), Vec::<String>::new(), "{name}: {value}");
        }
        for (line, left) in [
            ("a=b; Domain=example.com; Path=/x; HttpOnly", "a=b; Path=/x; HttpOnly"),
            ("a=b;\tdOmAiN =.example.com", "a=b"),
            ("a=b; Domain", "a=b"),
            ("a=b; Path=/; domain=one; Domain=two; Secure", "a=b; Path=/; Secure"),
            ("a=b; Domains=x; Path=/domain=y", "a=b; Domains=x; Path=/domain=y"),
            ("domain=b; Secure", "domain=b; Secure"),
        ] {
            assert_eq!(
                answer(&[("set-cookie", line)], false),
                [format!("set-cookie: {left}")],
                "{line}"
            );
        }
        let worker = [("service-worker-allowed", "/")];
        assert_eq!(answer(&worker, true), Vec::<String>::new());
        assert_eq!(answer(&worker, false).len(), 1, "a host of its own is its own");
        let own = [
            ("content-type", "text/html"),
            ("location", "/x"),
            ("etag", "1"),
            ("www-authenticate", "Basic"),
        ];
        assert_eq!(answer(&own, true).len(), own.len());
    }

    #[test]
    fn trailers_say_how_it_ended_and_set_nothing() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "grpc-message",
            "server-timing",
            "set-cookie",
            "content-length",
            "transfer-encoding",
            "location",
        ] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        strip_trailers(&mut trailers);
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["grpc-status", "grpc-message", "server-timing"]);
    }

    proptest! {
        /// Whatever stands around it, no name of ours is left, and what is no name of ours is left as it was.
        #[test]
        fn promise_6_no_spelling_of_a_cookie_brings_our_secret_to_a_service(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[ \t=\"'.]{0,2}((__|_|-)?([hH]ost|[sS]ecure|loopback)[-_.]{1,2})?[gG]atescribe[-_.](session|browser)=SECRET",
                    "[ab]{1,3}=[cd \"]{0,3}",
                ],
                0..6,
            ),
        ) {
            let line = pieces.join(";");
            let left = cookies(&[&line]).concat();
            prop_assert!(!left.contains("SECRET"), "{line} → {left}");
            let others: Vec<&str> = pieces.iter().map(String::as_str).filter(|piece| !piece.contains("SECRET")).collect();
            let same = |text: &str| text.split(';').map(str::trim_start).filter(|piece| !piece.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(same(&left), same(&others.join(";")));
        }
    }
}
