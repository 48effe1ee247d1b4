//! WebSockets that send every message back, and a load of them: one message on its way on each connection.

use super::crew::Crew;
use super::load::{self, Load, Outcome};
use anyhow::ensure;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a message.
const LENGTH: u8 = 64;
const MESSAGE: usize = LENGTH as usize;
/// What stands before a short message of a client: a binary one, its length, and a mask of zeros (RFC 6455 §5.2), so that
/// neither side has to mask.
const OF_CLIENT: [u8; 6] = [0x82, 0x80 | LENGTH, 0, 0, 0, 0];
const OF_SERVER: [u8; 2] = [0x82, LENGTH];
/// A client's message with all that stands before it.
const WHOLE: usize = OF_CLIENT.len() + MESSAGE;
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Begins to serve; it ends with its runtime.
///
/// # Errors
/// No port is free.
pub async fn serve() -> anyhow::Result<SocketAddr> {
    let listener = super::api::place().await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener));
    Ok(address)
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        // Whoever goes away goes away.
        tokio::spawn(async move { echo(stream).await });
    }
}

async fn echo(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut held = head(&mut stream).await?.1;
    stream.write_all(SWITCHED.as_bytes()).await?;
    let mut answers = Vec::new();
    loop {
        let whole = held.len() / WHOLE * WHOLE;
        answers.clear();
        for message in held.get(..whole).unwrap_or_default().chunks(WHOLE) {
            let (begin, content) = message.split_at(OF_CLIENT.len());
            ensure!(begin == OF_CLIENT, "no message of ours: {begin:?}");
            answers.extend(OF_SERVER);
            answers.extend(content);
        }
        stream.write_all(&answers).await?;
        held.drain(..whole);
        if stream.read_buf(&mut held).await? == 0 {
            return Ok(());
        }
    }
}

/// A head, and what has come behind it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<(String, Vec<u8>)> {
    let mut held = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&held, b"\r\n\r\n") {
            let rest = held.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&held).into_owned(), rest));
        }
        let read = stream.read_buf(&mut held).await?;
        ensure!(read > 0, "it ends in a head: {}", String::from_utf8_lossy(&held));
    }
}

/// Sends messages until the time is over, over TLS, or in clear text where `is_plain`. `cookie` gives the cookie of a connection.
///
/// # Errors
/// A connection is not switched, breaks, or another message comes back.
pub async fn run(
    load: Load,
    is_plain: bool,
    (host, cookie): (String, impl Fn(usize) -> String),
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Outcome> {
    let (connections, warm, measured) = (load.connections, load.warm, load.measured);
    let connect = move |number: usize| {
        let (load, asked) = (load.clone(), asked(&host, &cookie(number)));
        async move {
            let mut stream: Box<dyn Stream> = if is_plain {
                let stream = TcpStream::connect(load.address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            } else {
                Box::new(load::connect(load.address, &load.tls, None).await?)
            };
            stream.write_all(asked.as_bytes()).await?;
            stream.flush().await?;
            let (head, rest) = head(&mut stream).await?;
            ensure!(head.starts_with("HTTP/1.1 101 ") && rest.is_empty(), "{head}");
            Ok(stream)
        }
    };
    let crew = Crew::gather(connections, connect, move |number, mut stream, shared| async move {
        let (mut sent, mut latencies) = (OF_CLIENT.to_vec(), Vec::new());
        sent.resize(OF_CLIENT.len() + MESSAGE, u8::try_from(number % 256)?);
        let mut back = [0; OF_SERVER.len() + MESSAGE];
        while !shared.is_over() {
            let began = Instant::now();
            stream.write_all(&sent).await?;
            stream.flush().await?;
            stream.read_exact(&mut back).await?;
            ensure!(
                back.strip_prefix(&OF_SERVER) == sent.get(OF_CLIENT.len()..),
                "another message came back"
            );
            shared.count(began, &mut latencies);
        }
        Ok(latencies)
    });
    crew.for_a_while(warm, measured, cpu).await
}

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

fn asked(host: &str, cookie: &str) -> String {
    format!(
        "GET /socket HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nCookie: __Host-gatescribe-service={cookie}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
