//! Which addresses a name may lead to, looked at behind every resolution (protocol N-10): no answer of a name server moves a
//! clear-text credential off the machine, nor a published service to what stands beside the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{ReachError, Scheme, Server};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A cluster: plain http leads to this machine only.
    Cluster,
    /// A service: nothing leads to link-local addresses, where clouds keep the credentials of machines, and a name leads to this
    /// machine only where it says so itself.
    Service,
}

impl Guard {
    /// # Errors
    /// The address is refused, and why.
    pub(crate) fn check(self, server: &Server, address: SocketAddr) -> Result<(), ReachError> {
        match self {
            Self::Cluster if server.scheme() == Scheme::Http && !address.ip().is_loopback() => {
                Err(ReachError::ClearText {
                    host: server.host().to_owned(),
                    address,
                })
            }
            Self::Cluster => Ok(()),
            Self::Service => match refused(address.ip(), server.names_this_machine()) {
                Some(reason) => Err(ReachError::AddressRefused {
                    host: server.host().to_owned(),
                    address,
                    reason,
                }),
                None => Ok(()),
            },
        }
    }
}

fn refused(address: IpAddr, named_this_machine: bool) -> Option<&'static str> {
    match embedded(address) {
        IpAddr::V4(v4) if v4.is_link_local() => Some("it is link-local, where clouds keep the credentials of machines"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("it is link-local"),
        // The metadata and credential services of AWS and GCP on IPv6.
        IpAddr::V6(v6) if matches!(v6.segments(), [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..]) => Some(METADATA),
        IpAddr::V4(v4) if OF_CLOUDS.contains(&v4) => Some(METADATA),
        ip if ip.is_unspecified() => Some("it is no address of anything"),
        ip if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Some("it is not the address of one machine")
        }
        ip if ip.is_loopback() && !named_this_machine => Some(
            "it is this machine, and the name does not say so: write `localhost` or the address itself where that is meant",
        ),
        _ => None,
    }
}

/// Of Alibaba, of Oracle, and the host of each machine of Azure: outside the link-local range.
const OF_CLOUDS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA: &str = "a cloud keeps the credentials of machines there";

/// The IPv4 address within an IPv6 one that is translated on the way: mapped (RFC 4291 §2.5.5.2), compatible, translated (RFC 2765
/// §2.1), NAT64 (RFC 6052, and of a network's own RFC 8215) and 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0 | 1, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => [high, low],
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => [high, low],
        _ => return address,
    };
    let [[a, b], [c, d]] = v4.map(u16::to_be_bytes);
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(guard: Guard, url: &str, address: &str) -> bool {
        let server = match guard {
            Guard::Cluster => Server::parse(url, None).unwrap(),
            Guard::Service => Server::of_service(url, None).unwrap(),
        };
        guard
            .check(&server, SocketAddr::new(address.parse().unwrap(), 80))
            .is_ok()
    }

    #[test]
    fn n_10_no_name_leads_a_service_to_what_stands_beside_the_gateway() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "168.63.129.16",
            "64:ff9b:1::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(
                !verdict(Guard::Service, "http://web.shop.svc:8080", address),
                "{address}"
            );
        }
        for address in ["10.96.0.10", "192.168.1.4", "fd12::1", "203.0.113.7", "2001:db8::1"] {
            assert!(
                verdict(Guard::Service, "http://web.shop.svc:8080", address),
                "{address}"
            );
        }
    }

    #[test]
    fn this_machine_is_reached_where_the_url_says_so() {
        for url in [
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "https://LOCALHOST",
        ] {
            assert!(verdict(Guard::Service, url, "127.0.0.1"), "{url}");
            assert!(!verdict(Guard::Service, url, "169.254.169.254"), "{url}");
        }
    }

    #[test]
    fn plain_http_to_a_cluster_stays_on_this_machine() {
        assert!(verdict(Guard::Cluster, "http://localhost:8080", "127.0.0.1"));
        assert!(!verdict(Guard::Cluster, "http://localhost:8080", "10.0.0.1"));
        assert!(verdict(Guard::Cluster, "https://api.example", "10.0.0.1"));
    }
}
