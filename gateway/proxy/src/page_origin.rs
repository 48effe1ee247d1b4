//! Which page opens a WebSocket (protocol N-08; RFC 6455 §10.2).
//!
//! A browser lets any page open a WebSocket to any host, sends that host's cookies with it, and asks no preflight. What it says
//! is the page's origin, which no script can change. So where a cookie is what proves somebody, a handshake counts from pages of
//! the service itself and from no other: else a page that somebody looks at would work in their name.
//!
//! Pure. Whoever presents a token of their own is no browser's page and needs no origin: this is for cookies.

use http::{HeaderMap, header};
use model::origin::Origin;

/// Why a handshake counts as one of another page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignPage {
    /// No browser leaves it out.
    #[error(
        "the WebSocket does not say which page opens it (`Origin`), as every browser does: send a token instead of a cookie"
    )]
    Absent,
    /// Two could be read in two ways.
    #[error("the WebSocket says twice which page opens it (`Origin`)")]
    Twice,
    /// A sandboxed frame, a local file, a redirect across origins (HTML "opaque origin").
    #[error(
        "the page that opens the WebSocket has no origin of its own (`Origin: null`): open it from a page of the service"
    )]
    Opaque,
    /// Another scheme, host or port, or another spelling than a browser's.
    #[error(
        "the page that opens the WebSocket is none of the service's own (`Origin`): open it from a page of the service"
    )]
    Other,
}

/// Whether a page of this very origin opens the WebSocket: scheme, host and port, byte for byte as browsers write them.
///
/// # Errors
/// See [`ForeignPage`].
pub fn is_of_own_page(headers: &HeaderMap, own: &Origin) -> Result<(), ForeignPage> {
    let mut lines = headers.get_all(header::ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Err(ForeignPage::Absent),
        (Some(_), Some(_)) => Err(ForeignPage::Twice),
        (Some(origin), None) if origin.as_bytes() == own.as_str().as_bytes() => Ok(()),
        (Some(origin), None) if origin.as_bytes() == b"null" => Err(ForeignPage::Opaque),
        (Some(_), None) => Err(ForeignPage::Other),
    }
}

/// Whether what changes something is asked for by a page of this very origin, or by no page: a browser says which (`Origin` with each POST of
/// today, `Sec-Fetch-Site` with everything), and who says neither is none that a page could make do this.
///
/// A sibling host is of the same site, so that `SameSite` cookies go along from there; it is another service all the same (WEB-03).
///
/// # Errors
/// See [`ForeignPage`].
pub fn changes_from_own_page(headers: &HeaderMap, own: &Origin) -> Result<(), ForeignPage> {
    if headers.contains_key(header::ORIGIN) {
        return is_of_own_page(headers, own);
    }
    let mut lines = headers.get_all("sec-fetch-site").iter();
    match (lines.next().map(http::HeaderValue::as_bytes), lines.next()) {
        (None | Some(b"same-origin" | b"none"), None) => Ok(()),
        (_, Some(_)) => Err(ForeignPage::Twice),
        (_, None) => Err(ForeignPage::Other),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use model::origin::{Front, Scheme};
    use model::service::HostName;
    use proptest::prelude::*;

    use super::*;

    fn own(port: Option<u16>) -> Origin {
        let host = HostName::new("grafana.example.com").unwrap();
        Front::new(Scheme::Https, port).origin_of(&host).unwrap()
    }

    fn says(origins: &[&[u8]]) -> HeaderMap {
        let line = |origin: &&[u8]| (header::ORIGIN, HeaderValue::from_bytes(origin).unwrap());
        origins.iter().map(line).collect()
    }

    #[test]
    fn n_08_a_websocket_counts_from_a_page_of_the_service_itself() {
        for (port, origin) in [
            (None, "https://grafana.example.com"),
            (Some(443), "https://grafana.example.com"),
            (Some(8443), "https://grafana.example.com:8443"),
        ] {
            assert_eq!(
                is_of_own_page(&says(&[origin.as_bytes()]), &own(port)),
                Ok(()),
                "{origin}"
            );
        }
    }

    #[test]
    fn n_08_web_04_a_websocket_from_any_other_page_is_refused() {
        let good: &[u8] = b"https://grafana.example.com";
        assert_eq!(is_of_own_page(&says(&[]), &own(None)), Err(ForeignPage::Absent));
        assert_eq!(is_of_own_page(&says(&[b"null"]), &own(None)), Err(ForeignPage::Opaque));
        assert_eq!(
            is_of_own_page(&says(&[good, good]), &own(None)),
            Err(ForeignPage::Twice)
        );
        assert_eq!(
            is_of_own_page(&says(&[good, b"https://evil.test"]), &own(None)),
            Err(ForeignPage::Twice)
        );
        for other in [
            // Another scheme, host or port.
            "http://grafana.example.com",
            "wss://grafana.example.com",
            "https://gate.example.com",
            "https://example.com",
            "https://shop.example.com",
            "https://grafana.example.com:8443",
            "https://grafana.example.com:80",
            // Look-alikes.
            "https://grafana.example.com.evil.test",
            "https://evil.test/https://grafana.example.com",
            "https://grafana.example.com@evil.test",
            "https://evilgrafana.example.com",
            "https://grafana.example.com.",
            "https://grafana-example.com",
            "https://xn--grfana-4ve.example.com",
            // Spellings that no browser writes.
            "https://grafana.example.com:443",
            "https://grafana.example.com/",
            "HTTPS://grafana.example.com",
            "https://Grafana.example.com",
            "https://grafana.example.com, https://evil.test",
            "https://grafana.example.com https://evil.test",
            " https://grafana.example.com",
            "Null",
            "",
            "*",
        ] {
            let found = is_of_own_page(&says(&[other.as_bytes()]), &own(None));
            assert_eq!(found, Err(ForeignPage::Other), "{other:?}");
        }
        let plain = is_of_own_page(&says(&[good]), &own(Some(8443)));
        assert_eq!(
            plain,
            Err(ForeignPage::Other),
            "the scheme's own port, where the service has another"
        );
        assert_eq!(
            ForeignPage::Other.to_string(),
            "the page that opens the WebSocket is none of the service's own (`Origin`): open it from a page of the service"
        );
    }

    proptest! {
        #[test]
        fn n_08_no_other_bytes_are_taken_for_the_services_own_origin(
            origin in prop_oneof![
                prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..40),
                // One byte of the right one changed, put in or taken out.
                (0usize..=27, prop::option::of(0x20u8..0x7f), any::<bool>()).prop_map(|(at, byte, takes)| {
                    let mut text = b"https://grafana.example.com".to_vec();
                    text.splice(at..(at + usize::from(takes)).min(text.len()), byte);
                    text
                }),
            ]
        ) {
            let is_own = origin == b"https://grafana.example.com";
            prop_assert_eq!(is_of_own_page(&says(&[&origin]), &own(None)).is_ok(), is_own);
        }
    }
}
