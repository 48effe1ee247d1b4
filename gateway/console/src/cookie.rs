//! Cookies of the gateway host.
//!
//! Over https their names carry the prefix `__Host-`, so that no sibling host and no plain-http answer can plant one
//! (RFC 6265bis §4.1.3.2). On plain http, which exists on loopback only, browsers refuse that prefix and `Secure`, so
//! the names are different there: a cookie set over http is never taken for one set over https.
//!
//! A name that comes twice counts as not there: the order of cookies is the browser's, and must not decide (SES-03).

use http::{HeaderMap, HeaderValue, header};
use state::Secret;

/// Binds sign-ins under way to their browser; the same for all tabs.
const BROWSER: &str = "gatescribe-browser";
/// The browser's session.
const SESSION: &str = "gatescribe-session";

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    Browser,
    Session,
}

impl Cookie {
    fn name(self, secure: bool) -> String {
        let bare = match self {
            Self::Browser => BROWSER,
            Self::Session => SESSION,
        };
        if secure {
            format!("__Host-{bare}")
        } else {
            format!("loopback-{bare}")
        }
    }
}

/// The cookies of one request, unread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies(Vec<(String, String)>);

/// All `name=value` pairs of all `Cookie` lines, as RFC 6265bis §5.8.3 writes them. Over HTTP/1.1 the cookies of all hosts stand in
/// one line, so a pair that is no text is left out alone: its neighbours count.
pub(crate) fn read(headers: &HeaderMap) -> Cookies {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Cookies(pairs)
}

impl Cookies {
    /// The value, when the name stands exactly once and the value has the form that we give out.
    pub(crate) fn find(&self, cookie: Cookie, secure: bool) -> Option<Secret> {
        let name = cookie.name(secure);
        let mut values = self
            .0
            .iter()
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let fits = value.len() == 43
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Secret::presented(value))
    }
}

/// A `Set-Cookie` line; an age of zero removes the cookie.
pub(crate) fn set(cookie: Cookie, value: &str, max_age_s: u64, secure: bool) -> HeaderValue {
    let name = cookie.name(secure);
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}");
    // Names are ours and values are base64url, so this always is a header value.
    HeaderValue::from_str(&line).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&str]) -> Cookies {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        read(&headers)
    }

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_cookie_of_ours_is_found_among_strangers() {
        let line = format!("a=b; __Host-gatescribe-session={VALUE}; c");
        let found = cookies(&[&line]).find(Cookie::Session, true).unwrap();
        assert_eq!(found.reveal(), VALUE);
    }

    #[test]
    fn two_of_one_name_or_another_spelling_count_as_none() {
        let name = "__Host-gatescribe-session";
        for lines in [
            vec![format!("{name}={VALUE}; {name}={VALUE}")],
            vec![
                format!("{name}={VALUE}"),
                format!("{name}=BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ],
            vec![format!("__host-gatescribe-session={VALUE}")],
            vec![format!("={name}={VALUE}")],
            vec![format!("{name}=\"{VALUE}\"")],
            vec![format!("{name}={VALUE}x")],
            vec![format!("loopback-gatescribe-session={VALUE}")],
            vec![format!("$Version=1; $Path=/; x{name}={VALUE}")],
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert!(cookies(&lines).find(Cookie::Session, true).is_none(), "{lines:?}");
        }
    }

    /// A sibling host sets what it likes for the whole domain (`Domain=`), before and behind ours, and may not shut anybody out.
    #[test]
    fn ses_03_cookies_of_other_hosts_hide_none_of_ours() {
        let ours = format!("__Host-gatescribe-session={VALUE}");
        let decoys = (0..200).map(|at| format!("decoy-{at}=x; ")).collect::<String>();
        for others in [
            "city=Z\u{fc}rich; ".as_bytes(),
            b"city=Z\xfcrich; ",
            b"\xff=\xfe; ",
            "\u{2000}__Host-gatescribe-session=planted; ".as_bytes(),
            "\u{a0}__Host-gatescribe-session=planted; ".as_bytes(),
            b"=__Host-gatescribe-session=planted; ",
            b"__HOST-gatescribe-session=planted; ",
            b"$Version=1; ",
            b"a=\"; ",
            b";;=;a; ",
            decoys.as_bytes(),
        ] {
            for line in [
                [others, ours.as_bytes()].concat(),
                [ours.as_bytes(), b"; ", others].concat(),
            ] {
                let mut headers = HeaderMap::new();
                headers.append(header::COOKIE, HeaderValue::from_bytes(&line).unwrap());
                let found = read(&headers).find(Cookie::Session, true);
                assert_eq!(found.unwrap().reveal(), VALUE, "{:?}", String::from_utf8_lossy(&line));
            }
        }
    }

    #[test]
    fn every_cookie_is_host_bound_and_out_of_reach_of_scripts() {
        let line = set(Cookie::Session, VALUE, 60, true);
        assert_eq!(
            line.to_str().unwrap(),
            format!("__Host-gatescribe-session={VALUE}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure")
        );
    }
}
