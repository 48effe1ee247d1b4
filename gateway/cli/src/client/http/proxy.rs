//! Proxies as the environment names them: `HTTPS_PROXY` and `NO_PROXY`, in capitals or not, with the meaning that curl
//! and Go programs such as kubectl give them. The machine itself is never asked for through a proxy.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{HttpError, is_loopback};

const MAX_HEAD: usize = 8 * 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    https: Option<(String, &'static str)>,
    except: Vec<Exception>,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    Through(Proxy),
}

/// A proxy that is asked to connect.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    authorization: Option<String>,
    variable: &'static str,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Host {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        bits: u32,
    },
}

impl Proxies {
    pub(super) fn of_environment() -> Self {
        let named = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                std::env::var(name)
                    .ok()
                    .filter(|value| !value.trim().is_empty())
                    .map(|value| (value, name))
            })
        };
        let https = named(["HTTPS_PROXY", "https_proxy"]);
        let except = named(["NO_PROXY", "no_proxy"])
            .map(|(value, _)| value)
            .unwrap_or_default();
        Self::new(https, &except)
    }

    pub(super) fn new(https: Option<(String, &'static str)>, except: &str) -> Self {
        Self {
            https,
            except: except.split(',').filter_map(Exception::parse).collect(),
        }
    }

    pub(super) fn way(&self, secure: bool, host: &str, port: u16) -> Result<Way, HttpError> {
        let Some((text, variable)) = &self.https else {
            return Ok(Way::Straight);
        };
        if !secure || is_loopback(host) || self.except.iter().any(|exception| exception.covers(host, port)) {
            return Ok(Way::Straight);
        }
        Proxy::parse(text.trim(), variable).map(Way::Through)
    }
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Some(Self::Network {
                address: address.parse().ok()?,
                bits: bits.parse().ok()?,
            });
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network { address, bits: 128 });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        let host = host.strip_prefix('*').unwrap_or(host);
        let suffix = host.trim_start_matches('.').to_owned();
        Some(Self::Host {
            itself: !host.starts_with('.'),
            suffix,
            port,
        })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Host {
                suffix,
                itself,
                port: only,
            } => {
                let host = host.to_ascii_lowercase();
                let below = host
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                only.is_none_or(|only| only == port) && (below || (*itself && host == *suffix))
            }
            Self::Network { address, bits } => host
                .parse::<IpAddr>()
                .is_ok_and(|host| is_within(host, *address, *bits)),
        }
    }
}

fn is_within(host: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (host, network, width) = match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => (u128::from(host.to_bits()), u128::from(network.to_bits()), 32),
        (IpAddr::V6(host), IpAddr::V6(network)) => (host.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let free = width - bits.min(width);
    host.checked_shr(free).unwrap_or(0) == network.checked_shr(free).unwrap_or(0)
}

impl Proxy {
    fn parse(text: &str, variable: &'static str) -> Result<Self, HttpError> {
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let wrong = |why: &str| HttpError::Proxy {
            proxy: without_password(&whole),
            variable,
            why: why.to_owned(),
        };
        let uri: Uri = whole.parse().map_err(|_| wrong("it is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// proxies are supported (they carry https inside)"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let authorization = authority
            .as_str()
            .rsplit_once('@')
            .map(|(user, _)| STANDARD.encode(unescaped(user)));
        Ok(Self {
            host: authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authorization,
            variable,
        })
    }

    /// Connects to the proxy and asks it to connect on (RFC 9110 §9.3.6).
    pub(super) async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, HttpError> {
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.ask(host, port)).await;
        asked.unwrap_or_else(|_| Err(self.refused("it does not answer".to_owned())))
    }

    async fn ask(&self, host: &str, port: u16) -> Result<TcpStream, HttpError> {
        let failed = |error: std::io::Error| self.refused(error.to_string());
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(failed)?;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let authorization = self.authorization.as_ref();
        let authorization = authorization
            .map(|text| format!("Proxy-Authorization: Basic {text}\r\n"))
            .unwrap_or_default();
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        stream.write_all(head.as_bytes()).await.map_err(failed)?;
        let answer = read_head(&mut stream).await.map_err(failed)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        match status {
            code if code.starts_with('2') && code.len() == 3 => Ok(stream),
            "407" => {
                Err(self.refused("it wants a user name and a password (http://user:password@host:port)".to_owned()))
            }
            code => Err(self.refused(format!("it answered {code} when asked for {host}:{port}"))),
        }
    }

    fn refused(&self, why: String) -> HttpError {
        HttpError::Proxy {
            proxy: format!("{}:{}", self.host, self.port),
            variable: self.variable,
            why,
        }
    }
}

/// Byte by byte: what follows the head belongs to the server behind, and is not ours to read.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(std::io::Error::other("its answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => text.to_owned(),
    }
}

/// `%40` and its like in a user name or password.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        let pair = match byte {
            b'%' => bytes.clone().next().zip(bytes.clone().nth(1)),
            _ => None,
        };
        let digits = pair.and_then(|(high, low)| {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(digit(high)? << 4 | digit(low)?)
        });
        match digits {
            Some(escaped) => {
                plain.push(escaped);
                bytes.nth(1);
            }
            None => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(except: &str) -> Proxies {
        Proxies::new(Some(("http://proxy.corp:3128".to_owned(), "HTTPS_PROXY")), except)
    }

    fn is_straight(except: &str, host: &str) -> bool {
        proxies(except).way(true, host, 443).unwrap() == Way::Straight
    }

    #[test]
    fn no_proxy_means_what_kubectl_takes_it_for() {
        for (except, host) in [
            ("*", "gate.example"),
            ("gate.example", "gate.example"),
            ("example", "gate.example"),
            (".example", "gate.example"),
            ("*.example", "gate.example"),
            ("a, GATE.example:443 ,b", "gate.example"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "fd12::1"),
            ("", "127.0.0.1"),
            ("", "::1"),
            ("", "localhost"),
        ] {
            assert!(is_straight(except, host), "{except} {host}");
        }
        for (except, host) in [
            ("", "gate.example"),
            (".gate.example", "gate.example"),
            ("ample", "gate.example"),
            ("gate.example:8443", "gate.example"),
            ("10.0.0.0/8", "11.1.2.3"),
            ("0.0.0.0/0", "fd12::1"),
        ] {
            assert!(!is_straight(except, host), "{except} {host}");
        }
    }

    #[test]
    fn a_proxy_that_is_no_http_proxy_is_said_and_not_ignored() {
        let socks = Proxies::new(Some(("socks5://u:geheim@p:1".to_owned(), "https_proxy")), "");
        let error = socks.way(true, "gate.example", 443).unwrap_err().to_string();
        assert_eq!(
            error,
            "the proxy socks5://p:1 (from https_proxy) does not help: only http:// proxies are supported (they carry https \
             inside)"
        );
    }

    #[test]
    fn a_user_of_the_proxy_is_unescaped() {
        let Way::Through(proxy) = Proxies::new(Some(("http://a:p%40ss%@p:3128".to_owned(), "HTTPS_PROXY")), "")
            .way(true, "gate.example", 443)
            .unwrap()
        else {
            panic!("a proxy");
        };
        assert_eq!(proxy.authorization, Some(STANDARD.encode("a:p@ss%")));
        assert_eq!(format!("{proxy:?}"), "Proxy(p:3128)");
    }
}
