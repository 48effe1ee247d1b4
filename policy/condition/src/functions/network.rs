//! IP addresses and networks, as the API server's libraries have them: no zones, no IPv4 mapped into IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Function, Outcome};
use crate::value::Cidr;
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value]) -> Outcome {
    use Function as F;
    let invalid = Fault::InvalidArgument(function.name());
    Some(match (function, arguments) {
        (F::ToIp, [Value::String(text)]) => address(text).map(Value::Ip).ok_or(invalid),
        (F::IsIp, [Value::String(text)]) => Ok(Value::Bool(address(text).is_some())),
        (F::ToCidr, [Value::String(text)]) => network(text).map(Value::Cidr).ok_or(invalid),
        (F::IsCidr, [Value::String(text)]) => Ok(Value::Bool(network(text).is_some())),
        (F::ContainsIp, [Value::Cidr(outer), Value::Ip(inner)]) => Ok(Value::Bool(outer.contains(*inner))),
        (F::ContainsIp, [Value::Cidr(outer), Value::String(inner)]) => address(inner)
            .map(|inner| Value::Bool(outer.contains(inner)))
            .ok_or(invalid),
        (F::ContainsCidr, [Value::Cidr(outer), Value::Cidr(inner)]) => Ok(Value::Bool(outer.covers(*inner))),
        (F::ContainsCidr, [Value::Cidr(outer), Value::String(inner)]) => network(inner)
            .map(|inner| Value::Bool(outer.covers(inner)))
            .ok_or(invalid),
        (F::PrefixLength, [Value::Cidr(network)]) => Ok(Value::Int(i64::from(network.prefix))),
        (F::Masked, [Value::Cidr(network)]) => Ok(Value::Cidr(network.masked())),
        (F::CidrIp, [Value::Cidr(network)]) => Ok(Value::Ip(network.address)),
        (_, [Value::Ip(ip)]) => return property(function, *ip).map(Ok),
        _ => return None,
    })
}

fn property(function: Function, ip: IpAddr) -> Option<Value> {
    use Function as F;
    Some(match function {
        F::Family => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        F::IsLoopback => Value::Bool(ip.is_loopback()),
        F::IsUnspecified => Value::Bool(ip.is_unspecified()),
        F::IsLinkLocalUnicast => Value::Bool(is_link_local(ip)),
        F::IsLinkLocalMulticast => Value::Bool(is_link_local_multicast(ip)),
        F::IsGlobalUnicast => Value::Bool(is_global_unicast(ip)),
        _ => return None,
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [224, 0, 0, _]),
        IpAddr::V6(ip) => ip.octets().first() == Some(&0xff) && ip.octets().get(1).is_some_and(|b| b & 0x0f == 2),
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip))
}

fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

fn network(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.rsplit_once('/')?;
    let canonical = prefix == "0" || (!prefix.starts_with('0') && prefix.bytes().all(|b| b.is_ascii_digit()));
    let address = self::address(address)?;
    let prefix: u8 = canonical.then(|| prefix.parse().ok())??;
    (prefix <= width(address)).then_some(Cidr { address, prefix })
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Cidr {
    /// Whether the address lies in this network. Families never mix.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        self.address.is_ipv4() == ip.is_ipv4() && mask(self.address, self.prefix) == mask(ip, self.prefix)
    }

    fn covers(self, inner: Self) -> bool {
        self.prefix <= inner.prefix && self.contains(inner.address)
    }

    fn masked(self) -> Self {
        Self {
            address: mask(self.address, self.prefix),
            prefix: self.prefix,
        }
    }
}

fn mask(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}
