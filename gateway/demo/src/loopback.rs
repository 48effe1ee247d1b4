//! Serving on loopback, and nowhere else: bind, accept, TLS, hand to a router, stop.
//!
//! Invariant: no stand-in ever listens on an address that another machine can reach. They trust whoever asks.
//! Bounded: [`CONNECTIONS`] at once; further ones wait in the kernel's backlog until one ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Open connections per stand-in.
const CONNECTIONS: usize = 1024;
/// How long a client may take for the TLS handshake, and for each head.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a stand-in did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It asks for no password, so it must not be reachable from another machine.
    #[error("`{address}` is not a loopback address; the demo's stand-ins listen on 127.0.0.1 or [::1] only")]
    NotLoopback {
        /// The refused address.
        address: SocketAddr,
    },
    /// The operating system refused the address.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The refused address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// No signing key could be made.
    #[error("cannot make a signing key")]
    Key,
}

/// A stand-in that is being served. Dropping it ends the listener and every connection.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Listening {
    /// Where it really listens, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the listener and every connection, and waits until they are gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A panic inside was already reported by the runtime; there is nothing left to stop.
            let _ended = task.await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Takes a loopback address; port 0 takes any free one.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::NotLoopback { address });
    }
    let failed = |source| StartError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    Ok((listener, taken))
}

/// Serves `router` on `listener`, over TLS if `tls` is given, HTTP/1.1 and HTTP/2.
pub(crate) fn serve(
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
) -> Listening {
    let stop = CancellationToken::new();
    let task = tokio::spawn(accept(
        listener,
        tls.map(tokio_rustls::TlsAcceptor::from),
        router,
        stop.clone(),
    ));
    Listening {
        address,
        stop,
        task: Some(task),
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, tls.clone(), router.clone(), place));
                }
                // Out of file descriptors, usually: let some connections end before trying again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<tokio_rustls::TlsAcceptor>,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    // Watches are many small writes; waiting to fill a segment would delay each event.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => speak(stream, router).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                speak(stream, router).await;
            }
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service =
        TowerToHyperService::new(router.map_request(|request: Request<_>| request.map(axum::body::Body::new)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(250);
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(error = error.as_ref(), "demo connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_others_can_reach_is_refused() {
        let address: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let error = bind(address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`0.0.0.0:0` is not a loopback address; the demo's stand-ins listen on 127.0.0.1 or [::1] only"
        );
    }

    #[tokio::test]
    async fn a_stopped_stand_in_no_longer_answers() {
        let (listener, address) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let listening = serve(listener, address, None, Router::new());
        TcpStream::connect(address).await.unwrap();
        listening.stop().await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
