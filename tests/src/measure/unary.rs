//! gRPC's own test service, and a load of unary calls of it: one on its way on each connection of HTTP/2.

use super::crew::{Asks, Crew};
use super::load::{self, Load, Outcome};
use super::{cpu, rivals};
use crate::counterparts;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;
use tokio_rustls::client::TlsStream;

/// Where the calls go.
pub const METHOD: &str = "/grpc.testing.TestService/UnaryCall";
/// Bytes of the payload that is sent and comes back.
const PAYLOAD: u8 = 64;

/// A running service, on the core of load and upstream.
#[derive(Debug)]
pub struct Service {
    /// Where it listens, in clear text.
    pub address: SocketAddr,
    _process: Process,
    _folder: Folder,
}

/// Starts it. Its journal goes nowhere.
///
/// # Errors
/// It is not built, or does not listen.
pub fn serve() -> anyhow::Result<Service> {
    let (folder, address) = (Folder::new("unary")?, rivals::free()?);
    let mut command = Command::new(counterparts::program("grpc-service")?);
    command.arg("-listen").arg(address.to_string());
    command.arg("-journal").arg("/dev/null");
    let process = Process::start("grpc-service", &cpu::on_core(cpu::AROUND, &command), &folder)?;
    try_until("the gRPC service listens", PATIENCE, || {
        TcpStream::connect(address).with_context(|| process.log_end(10))
    })?;
    Ok(Service {
        address,
        _process: process,
        _folder: folder,
    })
}

/// Calls until the time is over. What `asks` says of methods and targets is not asked for.
///
/// # Errors
/// A connection breaks, or a call does not end well with the payload that it sent.
pub async fn run<A: Asks>(
    load: Load,
    asks: impl Fn(usize) -> A + Clone + Send + 'static,
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Outcome> {
    let (connections, warm, measured) = (load.connections, load.warm, load.measured);
    let connect = move |number| {
        let load = load.clone();
        let from = load.apart.then(|| load::pod(number));
        async move { load::connect(load.address, &load.tls, from).await }
    };
    let crew = Crew::gather(connections, connect, move |number, stream, shared| {
        let mut next = asks(number);
        async move {
            let (mut calls, driver) = begin(stream).await?;
            let (sent, mut latencies) = (message(3), Vec::new());
            while !shared.is_over() && next.advance() {
                let (name, begin, proof) = next.proof().field();
                let request = http::Request::post(format!("https://{}{METHOD}", next.host()))
                    .header("content-type", "application/grpc")
                    .header("user-agent", "grpc-go/1.79.0")
                    .header("te", "trailers")
                    .header(name, format!("{begin}{proof}"))
                    .body(())?;
                let began = Instant::now();
                calls = calls.ready().await?;
                let (answer, mut body) = calls.send_request(request, false)?;
                body.send_data(sent.clone(), true)?;
                ended_well(answer.await?).await?;
                shared.count(began, &mut latencies);
            }
            driver.abort();
            Ok(latencies)
        }
    });
    crew.for_a_while(warm, measured, cpu).await
}

type Calls = h2::client::SendRequest<Bytes>;

async fn begin(stream: TlsStream<tokio::net::TcpStream>) -> anyhow::Result<(Calls, tokio::task::AbortHandle)> {
    let (calls, connection) = h2::client::handshake(stream).await?;
    Ok((calls, tokio::spawn(connection).abort_handle()))
}

/// A message with a payload in this field, with gRPC's five bytes before it.
fn message(field: u8) -> Bytes {
    let mut message = vec![0, 0, 0, 0, PAYLOAD + 4, field << 3 | 2, PAYLOAD + 2, 0x12, PAYLOAD];
    message.extend(std::iter::repeat_n(b'x', PAYLOAD.into()));
    message.into()
}

async fn ended_well(answer: http::Response<h2::RecvStream>) -> anyhow::Result<()> {
    let (head, mut body) = answer.into_parts();
    let mut came = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        came.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    let trailers = body.trailers().await?;
    let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    ensure!(
        status.is_some_and(|status| status == "0") && came == message(1),
        "{head:?}, {} bytes, {trailers:?}",
        came.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_framed_and_its_payload_in_its_field() {
        let message = super::message(3);
        assert_eq!(message[..9], [0, 0, 0, 0, 68, 0x1a, 66, 0x12, 64]);
        assert_eq!(message.len(), 73);
    }
}
