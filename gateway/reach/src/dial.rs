//! Opening one connection: addresses raced, then TLS, the next address when either fails.
//!
//! Cancel-safe: a dropped dial closes what it had begun. An attempt that did not end well, because it failed, was overtaken or
//! ran out of time, counts against its address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::address::{AddressBook, Candidate};
use crate::credential::Snapshot;
use crate::stream::{Established, Protocol, Security, Stream};
use crate::{ReachError, Scheme};

/// By which way connections are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// Straight to the address.
    Tcp,
}

/// The limits of one dial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) handshake: Duration,
    pub(crate) stagger: Duration,
}

/// Opens a connection to the first candidate that takes it.
pub(crate) async fn dial(
    way: Dial,
    book: &Arc<AddressBook>,
    snapshot: &Snapshot,
    security: Security,
    limits: Limits,
) -> Result<Established, ReachError> {
    let Dial::Tcp = way;
    let mut waiting = book.candidates().await?.into_iter();
    let mut racing = JoinSet::new();
    let mut failure = ReachError::NoServer;
    loop {
        let more = match waiting.next() {
            Some(candidate) => {
                racing.spawn(connect(Attempt {
                    book: Arc::clone(book),
                    candidate,
                    ended_well: false,
                }));
                true
            }
            None if racing.is_empty() => return Err(failure),
            None => false,
        };
        let finished = tokio::select! {
            finished = racing.join_next() => finished,
            () = tokio::time::sleep(limits.stagger), if more && waiting.len() > 0 => continue,
        };
        let Some(Ok(connected)) = finished else { continue };
        match connected {
            Ok((attempt, tcp)) => match secure(attempt, tcp, snapshot, security, limits.handshake).await {
                Ok(established) => return Ok(established),
                Err(error) => failure = error,
            },
            Err(error) => failure = error,
        }
    }
}

/// One address being tried; counts against it unless it ends well.
struct Attempt {
    book: Arc<AddressBook>,
    candidate: Candidate,
    ended_well: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.ended_well {
            self.book.works(self.candidate.address);
        } else {
            self.book.failed(self.candidate.address);
        }
    }
}

async fn connect(attempt: Attempt) -> Result<(Attempt, TcpStream), ReachError> {
    let address = attempt.candidate.address;
    let failed = |cause| ReachError::Connect {
        address,
        cause: Arc::new(cause),
    };
    let tcp = TcpStream::connect(address).await.map_err(failed)?;
    tune(&tcp).map_err(failed)?;
    Ok((attempt, tcp))
}

/// Small requests leave at once, and a peer that vanished is noticed on HTTP/1.1 too, where there is no ping:
/// after 15 s of silence three probes, 5 s apart; unacknowledged data gives up after 30 s (UPS-08: ≤ 45 s).
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    #[cfg(target_os = "linux")]
    let probes = probes.with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))?;
    Ok(())
}

async fn secure(
    mut attempt: Attempt,
    tcp: TcpStream,
    snapshot: &Snapshot,
    security: Security,
    within: Duration,
) -> Result<Established, ReachError> {
    let Candidate { server, address } = attempt.candidate.clone();
    let failed = |cause| ReachError::Handshake {
        address,
        cause: Arc::new(cause),
    };
    let local = tcp.local_addr().map_err(failed)?;
    let (stream, protocol) = match server.scheme() {
        Scheme::Http => (Stream::Plain(tcp), Protocol::Http1),
        Scheme::Https => {
            let settings = match security {
                Security::Either => &snapshot.tls().either,
                Security::Http1Only => &snapshot.tls().http1,
            };
            let handshake = TlsConnector::from(Arc::clone(settings)).connect(server.name().clone(), tcp);
            let tls = tokio::time::timeout(within, handshake)
                .await
                .map_err(|_| slow(within))?
                .map_err(failed)?;
            let protocol = match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            (Stream::Tls(Box::new(tls)), protocol)
        }
    };
    attempt.ended_well = true;
    Ok(Established {
        stream,
        protocol,
        server,
        peer: address,
        local,
        generation: snapshot.generation(),
    })
}

fn slow(within: Duration) -> ReachError {
    ReachError::TimedOut { within }
}

/// Feedback from whoever used the connection.
pub(crate) fn lost(book: &AddressBook, peer: SocketAddr) {
    book.failed(peer);
}
