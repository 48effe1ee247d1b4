//! Networks of balancers that stand before an API server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::ServerEvent;

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a network is written as 10.0.0.0/8, fd00::/8 or 10.0.0.7, without bits behind its prefix")]
pub struct NoNetwork;

/// An IPv4 address that is written as an IPv6 one is the IPv4 one.
fn bits(address: IpAddr) -> (u128, u8) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn cut(bits: u128, width: u8, prefix: u8) -> u128 {
    let behind = u32::from(width.saturating_sub(prefix));
    bits.checked_shr(behind).unwrap_or(0)
}

impl Network {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((own, width), (other, other_width)) = (bits(self.address), bits(address));
        width == other_width && cut(own, width, self.prefix) == cut(other, width, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let (own, width) = bits(address);
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NoNetwork)?
            }
            Some(_) => return Err(NoNetwork),
        };
        let behind = u32::from(width.saturating_sub(prefix));
        let is_clean = own
            .checked_shr(behind)
            .and_then(|bits| bits.checked_shl(behind))
            .unwrap_or(0)
            == own;
        if prefix > width || !is_clean {
            return Err(NoNetwork);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl ServerEvent {
    /// From where it came. The last of `sourceIPs` is whoever opened the connection; the others are the caller's word, since anybody
    /// can send `X-Forwarded-For`. So the last counts, unless it is a balancer of ours: then its word counts for the one before, and
    /// so on. `None` where the word of a balancer is no address.
    #[must_use]
    pub fn source(&self, balancers: &[Network]) -> Option<IpAddr> {
        let mut found = None;
        for text in self.peer.iter().chain(self.more.forwarded.iter().rev()) {
            let address: IpAddr = text.parse().ok()?;
            found = Some(address);
            if !balancers.iter().any(|network| network.contains(address)) {
                break;
            }
        }
        found
    }
}
