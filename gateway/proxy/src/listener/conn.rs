//! One connection as the stations behind the listener see it.
//!
//! Invariant: what a [`Conn`] says about its peer was seen by us on this very connection; a client certificate counts
//! only as long as the current trust bundle and the clock say so, also long after the handshake and after a resumption.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

use super::tls::{Claim, ClientCertificateProblem, ClientCertificateRules, Svid, SvidProblem, Verdict};

/// One accepted connection.
#[derive(Debug)]
pub struct Conn {
    id: u64,
    peer: SocketAddr,
    /// The peer's address as records write it: formatted once, not for each request.
    peer_ip: Arc<str>,
    local: SocketAddr,
    listener: Arc<str>,
    tls: Option<TlsFacts>,
    client: Option<ClientChain>,
    counters: Counters,
    draining: CancellationToken,
    /// Held by the one answer that is held back now.
    slow: Mutex<()>,
}

/// What TLS agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol version.
    pub version: TlsVersion,
    /// The IANA name of the cipher suite.
    pub cipher: &'static str,
    /// The server name that the client asked for, in lower case.
    pub sni: Option<Arc<str>>,
    /// The protocol chosen by ALPN; none means HTTP/1.1.
    pub alpn: Option<Alpn>,
    /// Whether the session was resumed, so that certificates come from an earlier handshake.
    pub is_resumed: bool,
}

/// TLS versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Protocols offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `h2`
    Http2,
    /// `http/1.1`
    Http11,
}

/// The standing of a client certificate at the moment of asking.
#[derive(Clone, Debug)]
pub enum ClientCertificate {
    /// None was asked for or presented.
    Absent,
    /// The chain (end entity first, DER) is trusted now.
    Verified(Arc<[CertificateDer<'static>]>),
    /// The chain is not trusted now; the handshake went on all the same, as other credentials may count.
    Rejected(Arc<[CertificateDer<'static>]>, ClientCertificateProblem),
    /// It is an X.509-SVID, and the bundle of its trust domain vouches for it now.
    Workload(Arc<Svid>),
    /// It names a SPIFFE ID and proves nobody.
    NoWorkload(SvidProblem),
}

impl ClientCertificate {
    /// Why it does not count now, in words.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Absent | Self::Verified(_) | Self::Workload(_) => None,
            Self::Rejected(_, problem) => Some(problem.to_string()),
            Self::NoWorkload(problem) => Some(problem.to_string()),
        }
    }
}

#[derive(Debug)]
struct ClientChain {
    chain: Arc<[CertificateDer<'static>]>,
    claim: Claim,
    verdict: Verdict,
}

impl ClientChain {
    /// Each claim is verified by its own authorities alone.
    fn at(&self, now: UnixTime) -> ClientCertificate {
        let rejected = |problem| ClientCertificate::Rejected(self.chain.clone(), problem);
        match &self.claim {
            Claim::Person(None) => rejected(ClientCertificateProblem::NoWorkload),
            Claim::Person(Some(authorities)) => match self.verdict.at(now, authorities, &self.chain) {
                Ok(()) => ClientCertificate::Verified(self.chain.clone()),
                Err(problem) => rejected(problem),
            },
            Claim::Workload {
                svid,
                bundle,
                is_accepted,
            } => match self.verdict.at(now, bundle.authorities(), &self.chain) {
                Ok(()) if *is_accepted => ClientCertificate::Workload(Arc::clone(svid)),
                Ok(()) => ClientCertificate::NoWorkload(SvidProblem::NotAccepted(svid.id().clone())),
                Err(problem) => ClientCertificate::NoWorkload(SvidProblem::of_chain(problem, svid)),
            },
            Claim::NoWorkload(problem) => ClientCertificate::NoWorkload(problem.clone()),
        }
    }
}

impl Conn {
    pub(crate) fn new(
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        listener: Arc<str>,
        draining: CancellationToken,
    ) -> Self {
        // A socket on `[::]` says `::ffff:192.0.2.1` of a peer on IPv4: rules and records mean `192.0.2.1`.
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (peer, local) = (canonical(peer), canonical(local));
        Self {
            id,
            peer,
            peer_ip: peer.ip().to_string().into(),
            local,
            listener,
            tls: None,
            client: None,
            counters: Counters::default(),
            draining,
            slow: Mutex::new(()),
        }
    }

    pub(crate) fn with_tls(
        mut self,
        facts: TlsFacts,
        chain: Option<Arc<[CertificateDer<'static>]>>,
        rules: Option<&ClientCertificateRules>,
    ) -> Self {
        self.tls = Some(facts);
        self.client = chain.zip(rules).map(|(chain, rules)| ClientChain {
            claim: Claim::of(chain.first(), rules),
            chain,
            verdict: Verdict::default(),
        });
        self
    }

    /// Unique within this process, ascending.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address of the socket's peer.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The peer's address without its port, as text.
    #[must_use]
    pub fn peer_ip(&self) -> &Arc<str> {
        &self.peer_ip
    }

    /// The address on which the connection was accepted.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The configured name of the listener.
    #[must_use]
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// What TLS agreed on; none on a plain listener and before the handshake is done.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// The standing of the client certificate now. Costs a comparison as long as the trust bundle is the same and the
    /// last check is less than a minute old, else one path validation.
    #[must_use]
    pub fn client_certificate(&self) -> ClientCertificate {
        self.client_certificate_at(UnixTime::now())
    }

    /// As [`Self::client_certificate`], at a given time.
    #[must_use]
    pub fn client_certificate_at(&self, now: UnixTime) -> ClientCertificate {
        let Some(client) = &self.client else {
            return ClientCertificate::Absent;
        };
        client.at(now)
    }

    /// Holds an answer back for `pause`, behind all of this connection that are held back already, however many streams it
    /// has. A listener that drains holds none back.
    pub(crate) async fn hold_back(&self, pause: Duration) {
        let in_turn = async {
            let _turn = self.slow.lock().await;
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            () = in_turn => {}
            () = self.draining.cancelled() => {}
        }
    }

    /// Counts of this connection.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Resolves when the listener begins to drain: long streams should then end cleanly before the drain deadline.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }
}

/// Counts of one connection.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

impl Counters {
    /// Requests so far, refused ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes read so far, inside TLS.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes written so far, inside TLS.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    pub(crate) fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.bytes_written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        result
    }
}

/// A byte stream under HTTP.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Takes note that the stream is a tunnel from now on, in which a reader may pause for as long as it likes.
    fn enter_tunnel(&self);

    /// Takes note that whoever reads is to be told by a reset that it breaks off, once it is closed.
    fn breaks_off(&self);
}

impl Wire for TcpStream {
    fn enter_tunnel(&self) {
        // A stopped terminal closes its window for hours; the timeout would take that for a lost peer.
        if let Err(error) = socket2::SockRef::from(self).set_tcp_user_timeout(None) {
            tracing::debug!(error = %error, "the user timeout of a tunnel could not be lifted");
        }
    }

    fn breaks_off(&self) {
        // Without time to linger what is closed is reset (RFC 9293 §3.10.5, ABORT).
        if let Err(error) = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(error = %error, "a connection whose answer broke off could not be reset");
        }
    }
}

impl Wire for tokio_rustls::server::TlsStream<TcpStream> {
    fn enter_tunnel(&self) {
        self.get_ref().0.enter_tunnel();
    }

    fn breaks_off(&self) {
        self.get_ref().0.breaks_off();
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;

    fn conn(draining: &CancellationToken) -> Conn {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Conn::new(1, address, address, "kubernetes".into(), draining.clone())
    }

    /// Where a rule says `192.0.2.0/24` it may not matter how the socket that took the connection was bound.
    #[test]
    fn a_peer_on_ipv4_has_its_own_address_on_a_socket_for_both() {
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:1234".parse().unwrap();
        let conn = Conn::new(1, mapped, mapped, "kubernetes".into(), CancellationToken::new());
        let plain: SocketAddr = "192.0.2.7:1234".parse().unwrap();
        assert_eq!(
            (conn.peer(), conn.local(), &**conn.peer_ip()),
            (plain, plain, "192.0.2.7")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn promise_8_a_connection_has_its_held_back_answers_one_after_another_however_many_streams_it_has() {
        let (draining, pause) = (CancellationToken::new(), Duration::from_millis(50));
        let (hers, his) = (conn(&draining), conn(&draining));
        let began = Instant::now();
        let all = join_all((0..100).map(|_| hers.hold_back(pause)));
        let one = async {
            his.hold_back(pause).await;
            began.elapsed()
        };
        let (_, his) = tokio::join!(all, one);
        assert_eq!(his, pause, "another connection waits for itself alone");
        assert_eq!(began.elapsed(), 100 * pause, "twenty a second");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_held_back_waits_for_no_drain_and_whoever_left_holds_nobody_up() {
        let (draining, pause) = (CancellationToken::new(), Duration::from_millis(50));
        let conn = conn(&draining);
        let began = Instant::now();
        let left = tokio::time::timeout(pause / 2, conn.hold_back(pause)).await;
        assert!(left.is_err());
        conn.hold_back(pause).await;
        assert_eq!(began.elapsed(), pause + pause / 2);
        let stopping = async { draining.cancel() };
        tokio::join!(join_all((0..100).map(|_| conn.hold_back(pause))), stopping);
        assert_eq!(began.elapsed(), pause + pause / 2);
    }
}
