//! The host that a request names, parsed once and strictly.
//!
//! Not a resolver and not a router. Invariant: a [`Host`] has one spelling, so that equal hosts are equal values
//! (lower case, no trailing dot, canonical IP literal), and nothing but `name[:port]` can become one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::violation::Violation;

/// A host of a request (`Host`, `:authority` or the authority of an absolute target), in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: Box<str>,
    port: Option<u16>,
}

impl Host {
    /// Parses `name`, `name:port`, `a.b.c.d[:port]` or `[v6][:port]` (RFC 9112 §3.2, RFC 3986 §3.2.2).
    ///
    /// Names are limited to letters, digits, `-`, `_` and `.`: no percent-encoding, user information, list or path.
    ///
    /// # Errors
    /// [`Violation::HostInvalid`] for everything else.
    pub fn parse(text: &[u8]) -> Result<Self, Violation> {
        if text.first() == Some(&b'[') {
            return Self::parse_v6(text);
        }
        let (name, port) = match memchr::memchr(b':', text) {
            Some(colon) => (text.get(..colon), Some(text.get(colon + 1..).unwrap_or_default())),
            None => (Some(text), None),
        };
        let name = plain_name(name.unwrap_or_default())?;
        Ok(Self {
            name,
            port: port.map(parse_port).transpose()?,
        })
    }

    fn parse_v6(text: &[u8]) -> Result<Self, Violation> {
        let text = std::str::from_utf8(text).map_err(|_| Violation::HostInvalid)?;
        let (address, rest) = text
            .strip_prefix('[')
            .and_then(|inside| inside.split_once(']'))
            .ok_or(Violation::HostInvalid)?;
        let address: Ipv6Addr = address.parse().map_err(|_| Violation::HostInvalid)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port.as_bytes())?),
            None if rest.is_empty() => None,
            None => return Err(Violation::HostInvalid),
        };
        Ok(Self {
            name: address.to_string().into_boxed_str(),
            port,
        })
    }

    /// The name in lower case without trailing dot, or the canonical text of an IP address (IPv6 without brackets).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, if the host is an IP literal.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }

    /// Whether both name the same host and port, where a missing port is `default_port`.
    #[must_use]
    pub fn equals(&self, other: &Self, default_port: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(formatter, "[{}]", self.name)?;
        } else {
            formatter.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

fn plain_name(name: &[u8]) -> Result<Box<str>, Violation> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.iter().all(legal) {
        return Err(Violation::HostInvalid);
    }
    if name.starts_with(b".") || name.ends_with(b".") || memchr::memmem::find(name, b"..").is_some() {
        return Err(Violation::HostInvalid);
    }
    let text = std::str::from_utf8(name).map_err(|_| Violation::HostInvalid)?;
    // A last label of digits alone is an IPv4 address or nothing (WHATWG URL, host parser): `127.1` and `0177.0.0.1`
    // reach different places in different readers.
    let last_label = text.rsplit('.').next().unwrap_or_default();
    if last_label.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<Ipv4Addr>().is_err() {
        return Err(Violation::HostInvalid);
    }
    Ok(text.to_ascii_lowercase().into_boxed_str())
}

fn parse_port(port: &[u8]) -> Result<u16, Violation> {
    let plain =
        !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit) && port.first() != Some(&b'0');
    let text = std::str::from_utf8(port).map_err(|_| Violation::HostInvalid)?;
    if plain {
        text.parse().map_err(|_| Violation::HostInvalid)
    } else {
        Err(Violation::HostInvalid)
    }
}

/// RFC 1035 §2.3.4.
const MAX_NAME_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_spellings_of_a_host_are_one_value() {
        for (a, b) in [
            ("A.example", "a.EXAMPLE."),
            ("[::1]:443", "[0:0:0:0:0:0:0:1]:443"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(Host::parse(a.as_bytes()), Host::parse(b.as_bytes()), "{a} and {b}");
        }
    }

    #[test]
    fn hosts_that_readers_understand_differently_are_refused() {
        let bad: [&[u8]; 20] = [
            b"",
            b"a, b",
            b"a/b",
            b"u@a",
            b"a:99999",
            b"a:",
            b"a:0",
            b"a:080",
            b"a:+80",
            b"\xc3\xa4",
            b"a b",
            b"[::1",
            b"[::1]x",
            b"[fe80::1%25eth0]",
            b"a%2eb",
            b".",
            b"a..b",
            b".a",
            b"127.1",
            b"a:1:2",
        ];
        for host in bad {
            assert_eq!(Host::parse(host), Err(Violation::HostInvalid), "{host:?}");
        }
    }

    #[test]
    fn the_default_port_equals_a_missing_one() {
        let written = Host::parse(b"a:443").unwrap();
        let missing = Host::parse(b"a").unwrap();
        assert!(written.equals(&missing, 443));
        assert!(!written.equals(&missing, 80));
    }
}
