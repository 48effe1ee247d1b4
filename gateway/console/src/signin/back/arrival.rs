//! Which browser began: the hash of a cookie that it holds on the host of the service.
//!
//! The way from a service to the sign-in and back goes through addresses that others may see or make. Whoever hands a person the
//! address of their own arrival would sign them in as somebody else (login CSRF, security WEB-14), and whoever sees one would be signed
//! in with it. So the address is worth something only beside the cookie, as a code is beside its verifier (RFC 7636).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use state::Secret;

/// SHA-256 over the cookie's value, base64url: what stands in the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival(Box<str>);

impl Arrival {
    /// 43 characters of base64url.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok();
        fits.then(|| Self(text.into()))
    }

    /// Of a browser with this cookie.
    pub(crate) fn of(cookie: &Secret) -> Self {
        let hash = digest(&SHA256, cookie.reveal().as_bytes());
        Self(URL_SAFE_NO_PAD.encode(hash.as_ref()).into())
    }

    /// Whether a browser with this cookie began.
    pub(crate) fn is_of(&self, cookie: &Secret) -> bool {
        verify_slices_are_equal(Self::of(cookie).0.as_bytes(), self.0.as_bytes()).is_ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_cookie_stands_in_the_address_and_nothing_else_does() {
        let cookie = Secret::presented("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let arrival = Arrival::of(&cookie);
        // printf AAAA… | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(arrival.as_str(), "DwBzhbb51LfusnSGBa_hqYSgo7-j8BTQnip4TOnlzRo");
        assert_eq!(Arrival::read(arrival.as_str()), Some(arrival.clone()));
        assert!(arrival.is_of(&cookie));
        assert!(!arrival.is_of(&Secret::presented("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")));
        for text in [
            "",
            "A",
            &"A".repeat(42),
            &"A".repeat(44),
            &"=".repeat(43),
            &"ä".repeat(43),
            &"B".repeat(43),
        ] {
            assert_eq!(Arrival::read(text), None, "{text}");
        }
    }
}
