//! Opening one connection: addresses raced, then TLS, the next address when either fails.
//!
//! Cancel-safe: a dropped dial closes what it had begun. An attempt that did not end well, because it failed, was overtaken or
//! ran out of time, counts against its address.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::address::{AddressBook, Candidate};
use crate::credential::Snapshot;
use crate::destination::ServiceProtocol;
use crate::stream::{Established, Peer, Protocol, Security, Stream, Wire};
use crate::{ReachError, Scheme, Server};

/// By which way connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial<'a> {
    /// To one of several addresses in a network.
    Tcp(&'a Arc<AddressBook>),
    /// To a socket of this machine. The path is the policy's; nothing of a request is in it.
    Unix { path: &'a Path, server: &'a Arc<Server> },
}

/// What is spoken on a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speak<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) security: Security,
    pub(crate) protocol: ServiceProtocol,
}

/// The limits of one dial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) handshake: Duration,
    pub(crate) stagger: Duration,
}

/// Opens a connection.
pub(crate) async fn dial(way: Dial<'_>, speak: Speak<'_>, limits: Limits) -> Result<Established, ReachError> {
    match way {
        Dial::Tcp(book) => race(book, speak, limits).await,
        Dial::Unix { path, server } => {
            let failed = |cause| ReachError::Socket {
                path: path.to_owned(),
                cause: Arc::new(cause),
            };
            let wire = Wire::Unix(UnixStream::connect(path).await.map_err(failed)?);
            secure(wire, (Peer::Unix, Peer::Unix), server, speak, limits.handshake).await
        }
    }
}

/// Opens a connection to the first candidate that takes it.
async fn race(book: &Arc<AddressBook>, speak: Speak<'_>, limits: Limits) -> Result<Established, ReachError> {
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
            Ok((mut attempt, tcp)) => match attempt.secure(tcp, speak, limits.handshake).await {
                Ok(established) => {
                    attempt.ended_well = true;
                    return Ok(established);
                }
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

impl Attempt {
    async fn secure(&self, tcp: TcpStream, speak: Speak<'_>, within: Duration) -> Result<Established, ReachError> {
        let Candidate { server, address } = &self.candidate;
        let failed = |cause| ReachError::Handshake {
            address: Peer::Tcp(*address),
            cause: Arc::new(cause),
        };
        let local = tcp.local_addr().map_err(failed)?;
        secure(
            Wire::Tcp(tcp),
            (Peer::Tcp(*address), Peer::Tcp(local)),
            server,
            speak,
            within,
        )
        .await
    }
}

/// Speaks TLS where the server wants it, and says which HTTP follows. `ends`: theirs and ours.
async fn secure(
    wire: Wire,
    (peer, local): (Peer, Peer),
    server: &Arc<Server>,
    speak: Speak<'_>,
    within: Duration,
) -> Result<Established, ReachError> {
    let Speak {
        snapshot,
        security,
        protocol,
    } = speak;
    let failed = |cause| ReachError::Handshake {
        address: peer,
        cause: Arc::new(cause),
    };
    // A connection that is to be switched speaks HTTP/1.1, whatever the service is known for.
    let wants_http1 = security == Security::Http1Only;
    let (stream, protocol) = match server.scheme() {
        Scheme::Http => match protocol {
            ServiceProtocol::H2c if !wants_http1 => (Stream::Plain(wire), Protocol::Http2),
            _ => (Stream::Plain(wire), Protocol::Http1),
        },
        Scheme::Https => {
            let settings = match protocol {
                _ if wants_http1 => &snapshot.tls().http1,
                ServiceProtocol::Http1 => &snapshot.tls().http1,
                ServiceProtocol::H2 => &snapshot.tls().http2,
                ServiceProtocol::Auto | ServiceProtocol::H2c => &snapshot.tls().either,
            };
            let handshake = TlsConnector::from(Arc::clone(settings)).connect(server.name().clone(), wire);
            let tls = tokio::time::timeout(within, handshake)
                .await
                .map_err(|_| slow(within))?
                .map_err(failed)?;
            let agreed = match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            if protocol == ServiceProtocol::H2 && !wants_http1 && agreed != Protocol::Http2 {
                return Err(failed(io::Error::other(NO_HTTP2)));
            }
            (Stream::Tls(Box::new(tls)), agreed)
        }
    };
    Ok(Established {
        stream,
        protocol,
        server: Arc::clone(server),
        peer,
        local,
        generation: snapshot.generation(),
    })
}

/// A server that does no ALPN goes on in HTTP/1.1 without a word.
const NO_HTTP2: &str =
    "it did not choose HTTP/2 (ALPN `h2`), and the service says `protocol: h2`: write `auto` where HTTP/1.1 will do";

fn slow(within: Duration) -> ReachError {
    ReachError::TimedOut { within }
}
