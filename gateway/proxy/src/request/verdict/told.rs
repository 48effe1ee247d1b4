//! What an ingress tells of a call that came to it: the words of nginx (`X-Original-*`, as its configuration sets them) and those of Caddy and
//! Traefik (`X-Forwarded-*`), each read once and strictly.
//!
//! Everything else in the head of its question is the caller's own: cookies, `Authorization`, `Origin`, what a browser says of itself. What
//! stands twice where one is meant could be the caller's beside the ingress's, and is refused.
//!
//! Pure. Nothing here says that the ingress may be believed: that is [`super::peer`]'s.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::service::HostName;

use super::envoy;
use crate::listener::{Host, Upgrade};

/// In whose words it is told, and in which form it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// nginx `auth_request`: of an answer it understands yes, 401 and 403.
    Nginx,
    /// Caddy `forward_auth`, Traefik `ForwardAuth`: what is no yes goes to the caller as it is.
    Forward,
    /// Envoy `ext_authz` over gRPC: it is told by a message of its own.
    Envoy,
}

/// One call, as it is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) method: Method,
    pub(super) host: HostName,
    /// Path and query, as they came to the ingress.
    pub(super) target: Bytes,
    /// Where it came from.
    pub(super) from: IpAddr,
    pub(super) upgrade: Option<Upgrade>,
    /// The caller's own headers.
    pub(super) headers: HeaderMap,
}

/// Why nothing can be read of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("the ingress does not say `{0}`: set it as the configuration in the manual does")]
    Absent(HeaderName),
    #[error("the ingress says `{0}` twice: one of them may be the caller's")]
    Twice(HeaderName),
    #[error("what the ingress says in `{0}` is none")]
    Unreadable(HeaderName),
    #[error("the ingress sends no `CheckRequest`, in one frame of gRPC without compression")]
    NoQuestion,
    #[error(
        "the ingress tells headers as text, which is not to the byte what it forwards: set `encode_raw_headers: true` in its `ext_authz`"
    )]
    NotRaw,
    #[error("the ingress says no `{0}` that can be read, or two")]
    Missing(&'static str),
}

/// Names of what one ingress says.
struct Said {
    method: HeaderName,
    host: HeaderName,
    target: HeaderName,
    from: HeaderName,
}

static NGINX: Said = Said {
    method: HeaderName::from_static("x-original-method"),
    host: HeaderName::from_static("x-original-host"),
    target: HeaderName::from_static("x-original-url"),
    from: HeaderName::from_static("x-original-address"),
};

static FORWARD: Said = Said {
    method: HeaderName::from_static("x-forwarded-method"),
    host: HeaderName::from_static("x-forwarded-host"),
    target: HeaderName::from_static("x-forwarded-uri"),
    from: HeaderName::from_static("x-forwarded-for"),
};

impl Words {
    /// By the path at which it asks.
    pub(super) fn at(path: &[u8]) -> Option<Self> {
        match path {
            b"/auth/nginx" => Some(Self::Nginx),
            b"/auth/forward" => Some(Self::Forward),
            envoy::CHECK => Some(Self::Envoy),
            _ => None,
        }
    }

    /// The names in its headers; of Envoy none, which says it in a body.
    fn said(self) -> Option<&'static Said> {
        match self {
            Self::Nginx => Some(&NGINX),
            Self::Forward => Some(&FORWARD),
            Self::Envoy => None,
        }
    }

    /// Reads a question.
    ///
    /// # Errors
    /// See [`Untold`].
    pub(super) fn read(self, mut headers: HeaderMap, body: &[u8]) -> Result<Told, Untold> {
        let Some(said) = self.said() else {
            return envoy::read(body);
        };
        let method = Method::from_bytes(one(&headers, &said.method)?);
        let method = method.map_err(|_| Untold::Unreadable(said.method.clone()))?;
        let host = host(one(&headers, &said.host)?).ok_or_else(|| Untold::Unreadable(said.host.clone()))?;
        let target = Bytes::copy_from_slice(one(&headers, &said.target)?);
        let from = address(one(&headers, &said.from)?).ok_or_else(|| Untold::Unreadable(said.from.clone()))?;
        let upgrade = upgrade(&headers);
        for name in [&said.method, &said.host, &said.target, &said.from] {
            headers.remove(name);
        }
        Ok(Told {
            method,
            host,
            target,
            from,
            upgrade,
            headers: of_the_call(headers),
        })
    }
}

/// Without what is of the question itself, or of the connection that the call came on.
pub(super) fn of_the_call(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        HOST,
        CONNECTION,
        UPGRADE,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        ORIGINAL_UPGRADE,
    ] {
        headers.remove(name);
    }
    headers
}

const ORIGINAL_UPGRADE: HeaderName = HeaderName::from_static("x-original-upgrade");

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], Untold> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if !line.is_empty() => Ok(line.as_bytes()),
        (None, _) | (Some(_), None) => Err(Untold::Absent(name.clone())),
        (Some(_), Some(_)) => Err(Untold::Twice(name.clone())),
    }
}

/// With or without a port, as a `Host` may be written.
pub(super) fn host(text: &[u8]) -> Option<HostName> {
    HostName::new(Host::parse(text).ok()?.name()).ok()
}

/// One address, in its canonical form. A list is none: whoever trusts what stands before its own word has to say which counts.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Ingresses leave `Upgrade` out of their question. No page can leave out or forge `Sec-WebSocket-…` (Fetch "forbidden request-header").
pub(super) fn upgrade(headers: &HeaderMap) -> Option<Upgrade> {
    let names = |name: &HeaderName| name.as_str().starts_with("sec-websocket-") || *name == UPGRADE;
    let is_said = headers.get_all(ORIGINAL_UPGRADE).iter().any(|line| !line.is_empty());
    // What is switched to is the service's to know; by the strictest of the rules it is a WebSocket.
    (is_said || headers.keys().any(names)).then_some(Upgrade::WebSocket)
}

/// Entry for the fuzzer: lines `NAME: VALUE` as the head of a question, in the words of each ingress that asks by headers.
pub fn fuzz_ingress_told(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    for words in [Words::Nginx, Words::Forward] {
        let Ok(told) = words.read(headers.clone(), b"") else {
            continue;
        };
        let says = words
            .said()
            .map(|said| [&said.method, &said.host, &said.target, &said.from]);
        for name in says.into_iter().flatten() {
            assert_eq!(headers.get_all(name).iter().count(), 1, "{name} is said once");
            assert!(!told.headers.contains_key(name), "{name} is no header of the call");
        }
        assert!(told.from == told.from.to_canonical(), "an address has one form");
        let is_handshake = headers.keys().any(|name| name.as_str().starts_with("sec-websocket-"));
        assert!(told.upgrade.is_some() || !is_handshake, "a WebSocket is one");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("x-original-method", "PATCH"),
        ("x-original-host", "web.example:8443"),
        ("x-original-url", "/a/b?x=1"),
        ("x-original-address", "192.0.2.7"),
    ];

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        lines.iter().map(line).collect()
    }

    fn untold(words: Words, lines: &[(&str, &str)]) -> String {
        words.read(map(lines), b"").unwrap_err().to_string()
    }

    #[test]
    fn what_an_ingress_tells_is_read_and_all_else_is_the_callers() {
        let lines = [
            &GOOD[..],
            &[("cookie", "a=b"), ("host", "gate"), ("connection", "close")],
        ]
        .concat();
        let told = Words::Nginx.read(map(&lines), b"").unwrap();
        assert_eq!((told.method.as_str(), told.host.as_str()), ("PATCH", "web.example"));
        assert_eq!(&told.target[..], b"/a/b?x=1");
        assert_eq!((told.from.to_string().as_str(), told.upgrade), ("192.0.2.7", None));
        assert_eq!(told.headers, map(&[("cookie", "a=b")]));
        let forwarded = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "WEB.example."),
            ("x-forwarded-uri", "/"),
            ("x-forwarded-for", "::ffff:192.0.2.7"),
            ("origin", "null"),
        ];
        let told = Words::Forward.read(map(&forwarded), b"").unwrap();
        assert_eq!(
            (told.host.as_str(), told.from.to_string().as_str()),
            ("web.example", "192.0.2.7")
        );
        assert_eq!(told.headers, map(&[("origin", "null")]));
    }

    #[test]
    fn what_is_told_twice_not_at_all_or_in_another_ingresss_words_is_no_call() {
        for (at, (name, value)) in GOOD.iter().enumerate() {
            let twice = [&GOOD[..], &[(*name, *value)]].concat();
            assert_eq!(
                untold(Words::Nginx, &twice),
                format!("the ingress says `{name}` twice: one of them may be the caller's")
            );
            let absent = format!("the ingress does not say `{name}`: set it as the configuration in the manual does");
            let without: Vec<_> = GOOD
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, line)| *line)
                .collect();
            assert_eq!(untold(Words::Nginx, &without), absent);
            assert_eq!(untold(Words::Nginx, &[&without[..], &[(*name, "")]].concat()), absent);
        }
        assert!(untold(Words::Forward, &GOOD).contains("does not say `x-forwarded-method`"));
    }

    #[test]
    fn what_is_no_method_host_or_address_is_no_call() {
        for (name, bad) in [
            ("x-original-method", "GET /"),
            ("x-original-method", "GET, POST"),
            ("x-original-host", "web.example/x"),
            ("x-original-host", "web.example, other.example"),
            ("x-original-host", "web.example@other.example"),
            ("x-original-host", "127.0.0.1"),
            ("x-original-host", "w\u{e4}b.example"),
            ("x-original-address", "192.0.2.7, 192.0.2.8"),
            ("x-original-address", "192.0.2.7:80"),
            ("x-original-address", "unknown"),
        ] {
            let lines = GOOD.map(|(told, value)| (told, if told == name { bad } else { value }));
            assert_eq!(
                untold(Words::Nginx, &lines),
                format!("what the ingress says in `{name}` is none"),
                "{bad}"
            );
        }
    }

    #[test]
    fn n_08_no_handshake_of_a_websocket_passes_for_a_plain_call() {
        for line in [
            ("sec-websocket-key", "x"),
            ("sec-websocket-version", "13"),
            ("upgrade", "h2c"),
            ("x-original-upgrade", "websocket"),
            ("x-original-upgrade", "WebSocket, foo"),
        ] {
            let told = Words::Nginx.read(map(&[&GOOD[..], &[line]].concat()), b"").unwrap();
            assert_eq!(told.upgrade, Some(Upgrade::WebSocket), "{line:?}");
        }
        let told = Words::Nginx
            .read(map(&[&GOOD[..], &[("x-original-upgrade", "")]].concat()), b"")
            .unwrap();
        assert_eq!(told.upgrade, None, "nginx sets what it has");
    }

    #[test]
    fn only_the_two_paths_are_asked_at() {
        for path in [
            "/",
            "/auth",
            "/auth/nginx/",
            "/auth/nginx/x",
            "/AUTH/nginx",
            "/auth//nginx",
            "/signin",
        ] {
            assert_eq!(Words::at(path.as_bytes()), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_question_says_it_is_read_once_or_not_at_all(lines in prop::collection::vec((
            prop::sample::select(vec![
                "x-original-method", "x-original-host", "x-original-url", "x-original-address", "x-original-upgrade", "X-Original-URL",
                "x-forwarded-method", "x-forwarded-host", "x-forwarded-uri", "x-forwarded-for", "sec-websocket-key", "x_original_url",
            ]),
            prop_oneof![Just("GET".to_owned()), Just("web.example".to_owned()), Just("/a".to_owned()), Just("192.0.2.7".to_owned()), ".{0,6}"],
        ), 0..12)) {
            let text: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            fuzz_ingress_told(text.join("\n").as_bytes());
        }
    }
}
