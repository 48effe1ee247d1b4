//! Binding, accepting, limits of connections, and draining.
//!
//! Invariant: every open socket holds a [`Lease`], which counts it for its address, for the listener and for the drain,
//! until its last byte; also as a tunnel.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    Handler, Refused,
    config::{ListenerConfig, Security},
    conn::Conn,
    metrics::ListenerMetrics,
    serve::{Accepted, Serving},
    tls::Configurations,
};

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Plain HTTP would leave the machine.
    #[error(
        "listener `{name}`: plain http is for loopback only, but `{address}` is not; use 127.0.0.1 or [::1], or configure tls"
    )]
    PlainNotLoopback {
        /// The listener.
        name: Arc<str>,
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("listener `{name}`: cannot listen on `{address}`")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The TLS configuration cannot be built.
    #[error("listener `{name}`: tls cannot be configured")]
    Tls {
        /// The listener.
        name: Arc<str>,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    config: Arc<ListenerConfig>,
    tls: Option<Configurations>,
    metrics: Arc<ListenerMetrics>,
}

impl Listener {
    /// Binds the address; connections queue in the kernel until [`Self::start`].
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(config: ListenerConfig, metrics: Arc<ListenerMetrics>) -> Result<Self, ListenError> {
        let tls = match &config.security {
            Security::PlainLoopback if !config.address.ip().is_loopback() => {
                return Err(ListenError::PlainNotLoopback {
                    name: config.name,
                    address: config.address,
                });
            }
            Security::PlainLoopback => None,
            Security::Tls {
                certificates,
                client_certificates,
            } => {
                let configurations = Configurations::new(certificates, client_certificates.as_ref());
                Some(configurations.map_err(|source| ListenError::Tls {
                    name: config.name.clone(),
                    source,
                })?)
            }
        };
        let bound = bind(config.address, config.limits.backlog);
        let (socket, address) = bound.map_err(|source| ListenError::Bind {
            name: config.name.clone(),
            address: config.address,
            source,
        })?;
        Ok(Self {
            socket,
            address,
            config: Arc::new(config),
            tls,
            metrics,
        })
    }

    /// The address that was bound, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept on the current runtime.
    pub fn start<H: Handler>(self, handler: Arc<H>) -> Running {
        let (draining, cut, connections) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let serving = Arc::new(Serving {
            handler,
            deadlines: Arc::new(self.config.deadlines.clone()),
            config: self.config.clone(),
            tls: self.tls,
            metrics: self.metrics.clone(),
            draining: draining.clone(),
            cut: cut.clone(),
        });
        let doors = Doors {
            permits: Arc::new(Semaphore::new(self.config.limits.connections)),
            addresses: Arc::default(),
            per_address: self.config.limits.connections_per_address,
            connections: connections.clone(),
            metrics: self.metrics,
        };
        let accepting = tokio::spawn(accept_all(self.socket, doors, serving));
        Running {
            address: self.address,
            draining,
            cut,
            connections,
            accepting: Some(accepting),
        }
    }
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(backlog)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A listener that accepts. Dropped without a drain, it ends all its connections at once.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    draining: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    accepting: Option<JoinHandle<()>>,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections open when it began.
    pub open_at_start: usize,
    /// Of these, ended by themselves.
    pub finished: usize,
    /// Of these, cut at the deadline.
    pub cut: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl Running {
    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting at once, lets running requests and streams end (HTTP/2 GOAWAY, HTTP/1 `Connection: close`), and
    /// cuts what is left after `deadline`.
    pub async fn drain(mut self, deadline: Duration) -> DrainReport {
        let began = Instant::now();
        let open_at_start = self.connections.len();
        self.draining.cancel();
        if let Some(accepting) = self.accepting.take() {
            // A panic there has ended accepting as well.
            let _ = accepting.await;
        }
        self.connections.close();
        let is_empty = timeout(deadline, self.connections.wait()).await.is_ok();
        let cut = if is_empty { 0 } else { self.connections.len() };
        self.cut.cancel();
        // What does not end by itself now is a tunnel that nobody polls; its owner drops it.
        let _ = timeout(CUT_GRACE, self.connections.wait()).await;
        DrainReport {
            open_at_start,
            finished: open_at_start.saturating_sub(cut),
            cut,
            elapsed: began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.draining.cancel();
        self.cut.cancel();
    }
}

/// The count of one open socket.
#[derive(Debug)]
pub(crate) struct Lease {
    address: IpAddr,
    addresses: Arc<Addresses>,
    metrics: Arc<ListenerMetrics>,
    _permit: OwnedSemaphorePermit,
    _open: TaskTrackerToken,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.metrics.open.dec();
        self.addresses.leave(self.address);
    }
}

/// Open connections per address; never more entries than open connections.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn enter(&self, address: IpAddr, limit: usize) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

struct Doors {
    permits: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    per_address: usize,
    connections: TaskTracker,
    metrics: Arc<ListenerMetrics>,
}

impl Doors {
    /// A lease for a peer; none when its address has too many connections.
    fn admit(&self, peer: SocketAddr, permit: OwnedSemaphorePermit) -> Option<Lease> {
        let address = counted_as(peer.ip());
        if !self.addresses.enter(address, self.per_address) {
            self.metrics.over_address_limit.inc();
            return None;
        }
        self.metrics.open.inc();
        Some(Lease {
            address,
            addresses: self.addresses.clone(),
            metrics: self.metrics.clone(),
            _permit: permit,
            _open: self.connections.token(),
        })
    }
}

/// One subscriber has a whole IPv6 /64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

async fn accept_all<H: Handler>(socket: TcpListener, doors: Doors, serving: Arc<Serving<H>>) {
    let draining = serving.draining.clone();
    let mut ids = 1..;
    let mut pause = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            accepted = accept_one(&socket, &doors) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                pause = Backoff::default();
                let id = ids.next().unwrap_or_default();
                admit(&doors, &serving, id, stream, peer, permit);
            }
            Err(error) => {
                doors.metrics.accept_errors.inc();
                if let Some(length) = pause.after(&error) {
                    tracing::warn!(error = %error, pause.ms = length.as_millis(), "connections cannot be accepted");
                    tokio::select! {
                        () = draining.cancelled() => return,
                        () = sleep(length) => {}
                    }
                }
            }
        }
    }
}

/// Waits for room first, so that a full listener leaves new connections to the kernel's bounded queue.
async fn accept_one(socket: &TcpListener, doors: &Doors) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = doors.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    Ok((stream, peer, permit))
}

fn admit<H: Handler>(
    doors: &Doors,
    serving: &Arc<Serving<H>>,
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    doors.metrics.accepted.inc();
    let local = stream.local_addr().unwrap_or(serving.config.address);
    let Some(lease) = doors.admit(peer, permit) else {
        let conn = Conn::new(id, peer, local, serving.config.name.clone(), serving.draining.clone());
        serving.handler.connection_refused(&conn, Refused::AddressLimit);
        return;
    };
    if let Err(error) = prepare(&stream, serving.deadlines.write_progress) {
        tracing::debug!(error = %error, "socket options could not be set");
    }
    tokio::spawn(serving.clone().connection(Accepted {
        id,
        stream,
        peer,
        local,
        lease,
    }));
}

/// Finds peers that vanished: keep-alive while nothing is under way, the user timeout while something is (protocol A-08).
fn prepare(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(KEEP_ALIVE_IDLE)
        .with_interval(KEEP_ALIVE_INTERVAL)
        .with_retries(KEEP_ALIVE_RETRIES);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(user_timeout))
}

/// The pause behind a failed accept: none for a fault of that one connection, else longer each time.
#[derive(Debug)]
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return None;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 3;
const CUT_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_system_is_asked_less_and_less_often() {
        let exhausted = io::Error::from_raw_os_error(24);
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10)
            .map(|_| backoff.after(&exhausted).unwrap().as_millis())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(backoff.after(&io::ErrorKind::ConnectionAborted.into()), None);
    }

    /// What the system does with these is its own to show: no loopback loses packets.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_08_a_peer_that_vanished_is_looked_for_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (_client, (stream, _)) = (client.unwrap(), accepted.unwrap());
        prepare(&stream, Duration::from_secs(60)).unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        let probes = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(socket.tcp_keepalive_time().unwrap() + probes, Duration::from_secs(45));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        super::super::conn::Wire::enter_tunnel(&stream);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            None,
            "a stopped terminal is no lost peer"
        );
        assert!(socket.keepalive().unwrap());
    }

    #[test]
    fn one_ipv6_subscriber_is_one_address_and_a_mapped_ipv4_address_is_itself() {
        let count = |text: &str| counted_as(text.parse().unwrap()).to_string();
        assert_eq!(count("2001:db8:1:2:aaaa::1"), count("2001:db8:1:2:bbbb::2"));
        assert_ne!(count("2001:db8:1:2::1"), count("2001:db8:1:3::1"));
        assert_eq!(count("::ffff:10.0.0.1"), "10.0.0.1");
    }
}
