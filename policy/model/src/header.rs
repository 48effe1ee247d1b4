//! Names of HTTP header fields: reduced to what a lenient reader may take them for, and the list of those whose word is the gateway's.
//!
//! CGI, WSGI and several application servers map `-`, `_` and `.` onto one character, so `X_Remote.User` arrives there
//! as `X-Remote-User`. Invariant: two names that any such reader confuses have the same [`Reduced`] form.

/// A header name in lower case, every run of bytes that are no letters or digits as one `-`, none at the ends.
///
/// Held on the stack; names longer than any managed name are cut, which keeps every prefix test exact.
#[derive(Clone, Copy, Debug)]
pub struct Reduced {
    bytes: [u8; MAX_REDUCED_BYTES],
    len: usize,
}

impl Reduced {
    /// Reduces one name.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let mut reduced = Self {
            bytes: [0; MAX_REDUCED_BYTES],
            len: 0,
        };
        let mut pending_dash = false;
        for byte in name {
            if byte.is_ascii_alphanumeric() {
                if pending_dash && reduced.len > 0 {
                    reduced.push(b'-');
                }
                pending_dash = false;
                reduced.push(byte.to_ascii_lowercase());
            } else {
                pending_dash = true;
            }
        }
        reduced
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// The reduced name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether `name` is already its own reduced form but for letter case; then only exact names can be meant.
#[must_use]
pub fn is_plain(name: &[u8]) -> bool {
    let mut previous_dash = true;
    for byte in name {
        match byte {
            b'-' if previous_dash => return false,
            b'-' => previous_dash = true,
            byte if byte.is_ascii_alphanumeric() => previous_dash = false,
            _ => return false,
        }
    }
    !previous_dash
}

/// Beginnings of reduced names that never pass from a client. `impersonate` without dash catches `Impersonate` and `Impersonate-` as well.
pub const MANAGED_PREFIXES: [&str; 9] = [
    "impersonate",
    "x-remote-",
    "x-forwarded-",
    "x-original-",
    "x-envoy-",
    "x-gatescribe-",
    "x-auth-request-",
    "x-ssl-client-",
    "proxy-",
];

/// Reduced names that never pass from a client.
pub const MANAGED_NAMES: [&str; 24] = [
    "audit-id",
    "authorization",
    "client-cert",
    "client-cert-chain",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-rewrite-url",
    "x-webauth-user",
];

/// What is about one connection (RFC 9110 §7.6.1), and what RFC 9113 §8.2.2 adds.
pub const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Whether a reduced name is one whose word only the gateway may give.
#[must_use]
pub fn is_managed(reduced: &[u8]) -> bool {
    let begins = |prefix: &&str| reduced.starts_with(prefix.as_bytes());
    MANAGED_PREFIXES.iter().any(begins) || MANAGED_NAMES.iter().any(|name| name.as_bytes() == reduced)
}

/// Longer than every managed name and prefix; what lies behind it cannot make a difference.
const MAX_REDUCED_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_has_one_reduced_form() {
        for name in [
            "X-Remote-User",
            "x_remote_user",
            "X.Remote.User",
            "X--Remote-User",
            "X-Remote-User-",
            "'x~remote^user",
        ] {
            assert_eq!(Reduced::of(name.as_bytes()).as_bytes(), b"x-remote-user", "{name}");
        }
    }

    #[test]
    fn a_plain_name_is_its_own_reduced_form() {
        for (name, plain) in [
            ("accept", true),
            ("X-Remote-User", true),
            ("a_b", false),
            ("a--b", false),
            ("-a", false),
            ("a-", false),
            ("a.b", false),
        ] {
            assert_eq!(is_plain(name.as_bytes()), plain, "{name}");
        }
    }
}
