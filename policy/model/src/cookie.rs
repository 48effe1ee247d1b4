//! The gateway's cookies: their names, how they are found among others, and how they are set.
//!
//! Over https the names carry the prefix `__Host-`, so that no sibling host and no plain-http answer can plant one (RFC 6265bis
//! §4.1.3.2). On plain http, which exists on loopback only, browsers refuse that prefix and `Secure`, so the names are different
//! there: a cookie set over http is never taken for one set over https.
//!
//! A name that comes twice counts as not there: the order of cookies is the browser's, and must not decide (SES-03).

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Binds sign-ins under way to their browser, on the gateway host; the same for all tabs.
    Browser,
    /// The browser's session, on the gateway host.
    Session,
    /// The same sign-in on the host of a service.
    Service,
    /// Binds what leads a browser from a service to the sign-in and back, on the host of that service.
    Arrival,
}

impl Cookie {
    /// Its name. `secure`: the gateway's URL is https.
    #[must_use]
    pub const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Browser, true) => "__Host-gatescribe-browser",
            (Self::Browser, false) => "loopback-gatescribe-browser",
            (Self::Session, true) => "__Host-gatescribe-session",
            (Self::Session, false) => "loopback-gatescribe-session",
            (Self::Service, true) => "__Host-gatescribe-service",
            (Self::Service, false) => "loopback-gatescribe-service",
            (Self::Arrival, true) => "__Host-gatescribe-arrival",
            (Self::Arrival, false) => "loopback-gatescribe-arrival",
        }
    }

    /// Its value among all `name=value` pairs of all `Cookie` lines, as RFC 6265bis §5.8.3 writes them, when the name stands exactly once
    /// and the value has the form that we give out. Over HTTP/1.1 the cookies of all hosts stand in one line, so a pair that is no text is
    /// left out alone: its neighbours count.
    pub fn find<'a>(self, lines: impl IntoIterator<Item = &'a [u8]>, secure: bool) -> Option<&'a str> {
        let name = self.name(secure);
        let pairs = lines.into_iter().flat_map(|line| line.split(|byte| *byte == b';'));
        let texts = pairs.filter_map(|pair| std::str::from_utf8(pair).ok());
        let mut values = texts
            .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
            .filter_map(|(found, value)| (found == name).then_some(value));
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value).filter(|value| self.fits(value)),
            _ => None,
        }
    }

    /// A `Set-Cookie` line; an age of zero seconds removes the cookie. `value` is base64url, so that the line is one.
    #[must_use]
    pub fn set(self, value: &str, max_age_s: u64, secure: bool) -> String {
        let name = self.name(secure);
        let secure = if secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}")
    }

    fn fits(self, value: &str) -> bool {
        let has_length = match self {
            // 32 random bytes.
            Self::Browser | Self::Session | Self::Arrival => value.len() == 43,
            // A sealed name of the session.
            Self::Service => (1..=LONGEST_SEALED).contains(&value.len()),
        };
        has_length
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    }
}

/// More than any value that we seal has.
const LONGEST_SEALED: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_name_of_ours_and_no_other_is_found_and_once_only() {
        let find = |line: &str| Cookie::Arrival.find([line.as_bytes()], true).map(str::to_owned);
        let name = Cookie::Arrival.name(true);
        assert_eq!(find(&format!("a=b; {name}={VALUE}; c")).as_deref(), Some(VALUE));
        for line in [
            format!("{name}={VALUE}; {name}={VALUE}"),
            format!("loopback-gatescribe-arrival={VALUE}"),
            format!("__Host-gatescribe-service={VALUE}"),
            format!("{name}={VALUE}A"),
            format!("{name}=\"{VALUE}\""),
            format!("x{name}={VALUE}"),
        ] {
            assert_eq!(find(&line), None, "{line}");
        }
    }

    #[test]
    fn a_sealed_value_has_any_length_up_to_a_bound() {
        let find = |value: &str| {
            let line = format!("{}={value}", Cookie::Service.name(false));
            Cookie::Service.find([line.as_bytes()], false).is_some()
        };
        assert!(find("A") && find(&"A".repeat(LONGEST_SEALED)));
        assert!(!find("") && !find(&"A".repeat(LONGEST_SEALED + 1)) && !find("A=") && !find("A.B"));
    }

    #[test]
    fn n_05_ses_04_every_cookie_is_host_bound_and_out_of_reach_of_scripts() {
        for cookie in [Cookie::Browser, Cookie::Session, Cookie::Service, Cookie::Arrival] {
            let line = cookie.set(VALUE, 60, true);
            let rest = line.strip_prefix(cookie.name(true)).unwrap();
            assert_eq!(
                rest,
                format!("={VALUE}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure")
            );
            assert!(line.starts_with("__Host-"), "{line}");
        }
    }
}
