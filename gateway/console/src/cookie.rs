//! The gateway's cookies in requests and answers here; see [`model::cookie`].

use http::{HeaderMap, HeaderValue, header};
pub(crate) use model::cookie::Cookie;
use state::Secret;

/// The `Cookie` lines of one request, unread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies(Vec<HeaderValue>);

/// All `Cookie` lines.
pub(crate) fn read(headers: &HeaderMap) -> Cookies {
    Cookies(headers.get_all(header::COOKIE).iter().cloned().collect())
}

impl Cookies {
    /// The value, when the name stands exactly once and the value has the form that we give out.
    pub(crate) fn find(&self, cookie: Cookie, secure: bool) -> Option<Secret> {
        let lines = self.0.iter().map(HeaderValue::as_bytes);
        cookie.find(lines, secure).map(Secret::presented)
    }
}

/// A `Set-Cookie` line; an age of zero removes the cookie.
pub(crate) fn set(cookie: Cookie, value: &str, max_age_s: u64, secure: bool) -> HeaderValue {
    // Names are ours and values are base64url, so this always is a header value.
    HeaderValue::from_str(&cookie.set(value, max_age_s, secure)).unwrap_or_else(|_| HeaderValue::from_static(""))
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
}
