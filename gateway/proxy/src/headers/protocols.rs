//! Credentials among the protocols that a WebSocket offers: a page can put nothing else into its head, so tokens travel there (Kubernetes'
//! `base64url.bearer.authorization.k8s.io.…`, and whatever a program makes up). None of ours reaches a service.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use model::cookie::Cookie;

/// What of a request's head proves somebody to the gateway, noted before it is stripped.
pub(crate) struct Shown {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(…)")
    }
}

impl Shown {
    /// The token of `Authorization` and our cookies, as they came.
    pub(crate) fn of(headers: &HeaderMap, secure: bool) -> Self {
        let token = headers.get(AUTHORIZATION).and_then(|line| line.to_str().ok());
        let token = token
            .and_then(|line| line.trim().split_once(' '))
            .map(|(_, token)| token.trim());
        let cookies = [Cookie::Service, Cookie::Session];
        let cookies = cookies.into_iter().filter_map(|cookie| {
            let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
            cookie.find(lines, secure)
        });
        let secrets = token
            .into_iter()
            .chain(cookies)
            .filter(|secret| secret.len() >= SHORTEST_SECRET);
        Self {
            secrets: secrets.map(str::to_owned).collect(),
        }
    }
}

/// Takes out of the protocols that are offered whatever carries a credential of ours, as it is or in base64: Kubernetes' entry for a token in any
/// letter case, what was shown to the gateway beside it, a token that `is_own_token` knows, and a handle. All others stay, in their order.
/// Where something is taken the rest is one line, and none where nothing is left.
pub(crate) fn strip_own_protocols(headers: &mut HeaderMap, shown: &Shown, is_own_token: &dyn Fn(&str) -> bool) {
    let offered: Vec<&[u8]> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let kept: Vec<&[u8]> = offered
        .iter()
        .copied()
        .filter(|entry| !carries_own(entry, shown, is_own_token))
        .collect();
    if kept.len() == offered.len() {
        return;
    }
    let kept: Vec<&[u8]> = kept.into_iter().filter(|entry| !entry.is_empty()).collect();
    // Pieces of header values are one.
    let line = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(line) = line.filter(|line| !line.is_empty()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, line);
    }
}

fn carries_own(entry: &[u8], shown: &Shown, is_own_token: &dyn Fn(&str) -> bool) -> bool {
    let begins_so = entry.get(..OF_KUBERNETES.len());
    if begins_so.is_some_and(|begin| begin.eq_ignore_ascii_case(OF_KUBERNETES)) {
        return true;
    }
    let text = String::from_utf8_lossy(entry);
    let is_ours = |text: &str| {
        shown.secrets.iter().any(|secret| text.contains(secret.as_str()))
            || text.contains(HANDLE)
            || tokens(text).any(|token| is_own_token(&token))
    };
    is_ours(&text) || text.split('.').filter_map(decoded).any(|inner| is_ours(&inner))
}

/// The text behind one piece of an entry, if it is base64 of one.
fn decoded(piece: &str) -> Option<String> {
    let bare = piece.trim_end_matches('=');
    // Programs make the alphabet that a protocol's name may have, or do not (RFC 9110 §5.6.2 has no `/`, and all of them send it).
    let bytes = URL_SAFE_NO_PAD
        .decode(bare)
        .or_else(|_| STANDARD_NO_PAD.decode(bare))
        .ok()?;
    String::from_utf8(bytes).ok()
}

/// What could be a JWS in its compact form (RFC 7515 §7.1) within a text; its head is JSON, and begins so in base64url.
fn tokens(text: &str) -> impl Iterator<Item = String> {
    text.match_indices("eyJ").take(MOST_TOKENS).filter_map(|(at, _)| {
        let mut segments = text.get(at..)?.splitn(4, '.');
        let [head, payload, signature] = [segments.next()?, segments.next()?, segments.next()?];
        let end = signature.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_');
        let signature = end.map_or(Some(signature), |end| signature.get(..end))?;
        Some(format!("{head}.{payload}.{signature}"))
    })
}

/// kubernetes/apiserver `pkg/authentication/request/websocket`.
const OF_KUBERNETES: &[u8] = b"base64url.bearer.authorization.k8s.io.";
/// What a command line renews its sign-in with begins so (`state::session::handle`).
const HANDLE: &str = "gsh1.";
/// Nothing of ours that proves anybody is as short; a short word of a Basic login stands in too many names.
const SHORTEST_SECRET: usize = 16;
/// A head has room for few.
const MOST_TOKENS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE_VALUE: &str = "0123456789abcdef0123456789abcdef";
    /// A token that says it is of `https://gw`, as ours do, and one of somebody else's.
    const OURS: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2d3In0.c2ln";
    const THEIRS: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FwcCJ9.c2ln";

    fn left(lines: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_static("Bearer opaque-token-of-a-provider"),
        );
        let cookie = format!("a=b; __Host-gatescribe-service={COOKIE_VALUE}");
        headers.insert(COOKIE, HeaderValue::from_str(&cookie).unwrap());
        for line in lines {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_bytes(line).unwrap());
        }
        let shown = Shown::of(&headers, true);
        strip_own_protocols(&mut headers, &shown, &|token| token == OURS);
        let left = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        left.map(|line| line.as_bytes().to_vec()).collect()
    }

    fn text(lines: &[&str]) -> Vec<String> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        left(&lines)
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn no_credential_of_ours_is_among_the_protocols_that_a_service_is_offered() {
        let encoded = |secret: &str| URL_SAFE_NO_PAD.encode(secret);
        let ours = [
            format!("base64url.bearer.authorization.k8s.io.{}", encoded("whatever")),
            "Base64URL.Bearer.Authorization.K8s.IO.x".to_owned(),
            "base64url.bearer.authorization.k8s.io.".to_owned(),
            OURS.to_owned(),
            format!("bearer.{OURS}"),
            format!("token-{OURS}"),
            format!("access_token.{}", encoded(OURS)),
            format!("v1.{}.x", STANDARD_NO_PAD.encode(OURS)),
            "opaque-token-of-a-provider".to_owned(),
            format!("auth.{}", encoded("opaque-token-of-a-provider")),
            COOKIE_VALUE.to_owned(),
            format!("sid-{COOKIE_VALUE}"),
            "gsh1.a.1.b.c".to_owned(),
        ];
        for one in &ours {
            assert_eq!(
                text(&[&format!("graphql-ws, {one},mqtt")]),
                ["graphql-ws, mqtt"],
                "{one}"
            );
            assert_eq!(text(&["graphql-ws", one, "mqtt"]), ["graphql-ws, mqtt"], "{one}");
            assert!(text(&[one]).is_empty(), "{one}");
        }
    }

    #[test]
    fn what_is_not_ours_stays_as_it_was_written() {
        for lines in [
            &["graphql-ws,mqtt ,  soap"][..],
            &["v1.kernel.websocket.jupyter.org"],
            &["graphql-ws", "mqtt"],
            &[THEIRS],
            &["base64url.bearer.example.org.eA"],
            &["Bearer"],
            &[""],
            &[],
        ] {
            assert_eq!(text(lines), lines, "{lines:?}");
        }
        assert_eq!(text(&[&format!("{THEIRS}, {OURS}")]), [THEIRS]);
        assert_eq!(left(&[b"\xff\xfe, x"]), [b"\xff\xfe, x"]);
    }

    proptest! {
        /// Among any protocols: ours goes, wherever it stands, and the others keep their order.
        #[test]
        fn others_keep_their_order_and_ours_goes(
            before in prop::collection::vec("[!-+\\--~]{1,40}", 0..5),
            after in prop::collection::vec("[!-+\\--~]{1,40}", 0..5),
        ) {
            let others: Vec<&str> = before.iter().chain(&after).map(String::as_str).collect();
            let all: Vec<&str> = before.iter().map(String::as_str).chain([OURS]).chain(after.iter().map(String::as_str)).collect();
            prop_assert_eq!(text(&[&all.join(",")]).concat(), others.join(", "));
        }

        #[test]
        fn any_bytes_are_read(line in prop::collection::vec(0x20_u8..0xff, 0..200)) {
            let line: Vec<u8> = line.into_iter().filter(|byte| *byte != 0x7f).collect();
            let left = left(&[&line]).concat();
            prop_assert!(left.len() <= line.len());
        }
    }
}
