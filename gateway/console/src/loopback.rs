//! Redirect addresses of the command line: loopback literals only (RFC 8252 §7.3, security OIDC-30).

/// A checked redirect address of our command line. `localhost` is none: it may resolve elsewhere (RFC 8252 §8.3).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LoopbackRedirect(String);

impl LoopbackRedirect {
    /// `http://127.0.0.1:PORT/path` or `http://[::1]:PORT/path`, nothing else, byte for byte.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text
            .strip_prefix("http://127.0.0.1:")
            .or_else(|| text.strip_prefix("http://[::1]:"))?;
        let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
        let digits = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
        let plain = path.len() <= 128
            && path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'));
        (digits && port.parse::<u16>().is_ok() && plain).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oidc_30_only_literal_loopback_addresses_with_a_port_are_accepted() {
        for text in [
            "http://127.0.0.1:1/",
            "http://127.0.0.1:65535/callback",
            "http://[::1]:8000",
            "http://127.0.0.1:80/a/b",
        ] {
            assert!(LoopbackRedirect::parse(text).is_some(), "{text}");
        }
        for text in [
            "http://localhost:8000/",
            "https://127.0.0.1:8000/",
            "http://127.0.0.1/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:65536/",
            "http://127.0.0.1:080/",
            "http://127.0.0.1:8000@evil.example/",
            "http://127.0.0.1:8000.evil.example/",
            "http://127.0.0.1:8000\\@evil.example/",
            "http://127.0.0.1.evil.example:8000/",
            "http://127.0.0.2:8000/",
            "http://[::1%25lo]:8000/",
            "http://[::ffff:127.0.0.1]:8000/",
            "http://127.1:8000/",
            "http://127.0.0.1:8000/?next=x",
            "http://127.0.0.1:8000/#x",
            "http://127.0.0.1:8000/\r\nx",
            " http://127.0.0.1:8000/",
            "HTTP://127.0.0.1:8000/",
            "",
        ] {
            assert!(LoopbackRedirect::parse(text).is_none(), "{text:?}");
        }
    }
}
