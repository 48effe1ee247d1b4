//! Ports of one's own: reserved for as long as the reservation lives, also while nobody listens on them.
//!
//! A port that was free a moment ago can be given to any outgoing connection of the machine before the program that
//! wants it binds it, and again each time that program is started anew. A socket that is bound and never listens keeps it:
//! the kernel hands bound ports to nobody, while a server that sets `SO_REUSEADDR`, as servers do, may still listen there.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

/// A loopback port that is ours.
#[derive(Debug)]
pub struct Port {
    _bound: Socket,
    address: SocketAddr,
}

impl Port {
    /// Reserves one.
    ///
    /// # Errors
    /// The system has none.
    pub fn reserve() -> anyhow::Result<Self> {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bound.set_reuse_address(true)?;
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = bound.local_addr()?.as_socket().context("no IP address")?;
        Ok(Self { _bound: bound, address })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_reserved_port_can_be_listened_on_again_and_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            let listener = TcpListener::bind(port.address()).unwrap();
            let _client = TcpStream::connect(port.address()).unwrap();
            listener.accept().unwrap();
        }
        assert_ne!(Port::reserve().unwrap().address(), port.address());
    }
}
