//! A small blocking HTTPS client for readiness and raw questions: one request per connection, HTTP/1.0, so that an answer
//! ends where the connection ends and needs no decoding; and, for load, HTTP/1.1 connections that are kept. Not for what
//! a story is about: those speak for themselves.

use crate::pki::Identity;
use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long somebody may say nothing. Longer than any limit at which the gateway itself gives up on a silent peer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Speaks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Head lines as received, without the status line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// The value of the first field of this name in the lines of a head.
#[must_use]
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

/// One request over plain HTTP/1.1 to a loopback address; `host` is what it names. The connection is closed behind it.
///
/// # Errors
/// No answer within a minute, or no HTTP.
pub fn plainly(
    address: SocketAddr,
    host: &str,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer, method == "HEAD")
}

impl Client {
    /// A client for `address` that trusts `ca` (PEM) and shows `identity`, if given.
    ///
    /// # Errors
    /// The PEM texts are no certificates or keys.
    pub fn new(address: SocketAddr, ca: &str, identity: Option<&Identity>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.map_err(|error| anyhow::anyhow!("read the CA: {error:?}"))?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| anyhow::anyhow!("read the client certificate: {error:?}"))?;
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
                    .map_err(|error| anyhow::anyhow!("read the client key: {error:?}"))?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Self {
            address,
            tls: Arc::new(tls),
        })
    }

    /// The certificate that the server shows to a new connection, DER.
    ///
    /// # Errors
    /// No connection, or no handshake.
    pub fn certificate(&self) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), name)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let chain = tls.peer_certificates().context("no certificate")?;
        Ok(chain.first().context("an empty chain")?.to_vec())
    }

    /// GET.
    ///
    /// # Errors
    /// No connection, no answer within a minute, or no HTTP.
    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.send("GET", target, headers, b"")
    }

    /// Any method.
    ///
    /// # Errors
    /// No connection, no answer within a minute, or no HTTP.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Answer> {
        let head = self.head("1.0", method, target, headers, body);
        let answer = self.exchange(&[head.as_bytes(), body].concat())?;
        parse(&answer, method == "HEAD")
    }

    /// Writes the bytes of an HTTP/1.0 request and reads to the end.
    ///
    /// # Errors
    /// No connection, or no answer within a minute.
    pub fn exchange(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut tls = self.stream()?;
        tls.write_all(request)?;
        let mut answer = Vec::new();
        match tls.read_to_end(&mut answer) {
            // Go closes HTTP/1.0 connections without the TLS goodbye at times; the head tells if all came.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            other => drop(other?),
        }
        Ok(answer)
    }

    /// A connection for many requests, one after another: what puts load on a gateway.
    ///
    /// # Errors
    /// No connection.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        Ok(Connection {
            tls: self.stream()?,
            client: self.clone(),
            received: Vec::new(),
        })
    }

    /// A connection on which a story writes and reads HTTP/2's own bytes.
    ///
    /// # Errors
    /// No connection.
    pub fn http2(&self) -> anyhow::Result<Stream> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        self.stream_with(Arc::new(tls))
    }

    /// A connection on which a story writes and reads its own bytes.
    ///
    /// # Errors
    /// No connection.
    pub fn open(&self) -> anyhow::Result<Stream> {
        self.stream()
    }

    fn stream(&self) -> anyhow::Result<Stream> {
        self.stream_with(Arc::clone(&self.tls))
    }

    fn stream_with(&self, tls: Arc<ClientConfig>) -> anyhow::Result<Stream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?; // head and body are two writes
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        Ok(StreamOwned::new(ClientConnection::new(tls, name)?, stream))
    }

    fn head(&self, version: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut head = format!("{method} {target} HTTP/{version}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        head
    }
}

/// A TLS connection.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// One HTTP/1.1 connection. After an error it is of no use.
#[derive(Debug)]
pub struct Connection {
    tls: Stream,
    client: Client,
    received: Vec<u8>,
}

impl Connection {
    /// One request without a body, whose answer nobody waits for.
    ///
    /// # Errors
    /// The connection ended.
    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> anyhow::Result<()> {
        self.received.clear();
        let request = self.client.head("1.1", method, target, headers, b"");
        self.tls.write_all(request.as_bytes())?;
        Ok(self.tls.flush()?)
    }

    /// One request and its answer. HEAD is not for here.
    ///
    /// # Errors
    /// The connection ended before the whole answer, or nothing came for a minute.
    pub fn exchange(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        self.received.clear();
        let mut request = self.client.head("1.1", method, target, headers, body).into_bytes();
        request.extend_from_slice(body);
        self.tls.write_all(&request)?;
        self.answer()
    }

    /// A request written by the caller byte by byte, and its answer.
    ///
    /// # Errors
    /// As of [`Connection::exchange`].
    pub fn exchange_bytes(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.received.clear();
        self.tls.write_all(request)?;
        self.answer()
    }

    /// The answer to what was asked with [`Connection::ask`].
    ///
    /// # Errors
    /// As of [`Connection::exchange`].
    pub fn answer(&mut self) -> anyhow::Result<Answer> {
        self.more_until(|bytes| bytes.windows(4).any(|four| four == b"\r\n\r\n"))?;
        let mut answer = parse(&self.received, true)?;
        if field(&answer.head, "transfer-encoding").is_some() {
            // What we ask here is answered in a few chunks, and nothing follows the last one.
            self.more_until(|bytes| bytes.ends_with(b"0\r\n\r\n"))?;
        } else {
            let length = field(&answer.head, "content-length").unwrap_or_default();
            let length: usize = length.parse().unwrap_or(0);
            let have = self.received.len() - answer.body.len();
            self.more_until(|bytes| bytes.len() >= have + length)?;
        }
        answer.body = parse(&self.received, true)?.body;
        Ok(answer)
    }

    /// Whether any byte of an answer to the last request came.
    #[must_use]
    pub fn heard(&self) -> bool {
        !self.received.is_empty()
    }

    fn more_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
        let mut piece = [0; 4096];
        while !enough(&self.received) {
            let read = self.tls.read(&mut piece)?;
            anyhow::ensure!(read > 0, "the connection ended");
            self.received.extend(piece.iter().take(read));
        }
        Ok(())
    }
}

fn parse(answer: &[u8], without_body: bool) -> anyhow::Result<Answer> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("no HTTP answer: {} bytes", answer.len());
    };
    let (head, rest) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    let (line, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status = line.split(' ').nth(1).context("no status")?.parse().context("status")?;
    let body = rest.get(4..).unwrap_or_default().to_vec();
    let declared = field(fields, "content-length").and_then(|length| length.parse::<usize>().ok());
    if !without_body && declared.is_some_and(|length| length > body.len()) {
        bail!("the answer was cut off");
    }
    Ok(Answer {
        status,
        head: fields.to_owned(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shorter_than_declared_is_no_answer() {
        let whole = parse(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false).unwrap();
        assert!(
            parse(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", true).is_ok(),
            "HEAD has no body"
        );
        assert_eq!((whole.status, whole.body.as_slice()), (200, b"ok".as_slice()));
        assert!(parse(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok", false).is_err());
        assert!(parse(b"HTTP/1.0 200 OK\r\n", false).is_err());
    }
}
