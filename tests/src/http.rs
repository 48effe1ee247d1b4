//! A small blocking HTTPS client for readiness and raw questions: one request per connection, HTTP/1.0, so that an answer
//! ends where the connection ends and needs no decoding. Not for what a story is about: those speak for themselves.

use crate::pki::Identity;
use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

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

    /// GET.
    ///
    /// # Errors
    /// No connection, no answer within 20 s, or no HTTP.
    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.send("GET", target, headers, b"")
    }

    /// Any method.
    ///
    /// # Errors
    /// No connection, no answer within 20 s, or no HTTP.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?; // head and body are two writes
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name)?, stream);
        let mut head = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        tls.write_all(head.as_bytes())?;
        tls.write_all(body)?;
        let mut answer = Vec::new();
        match tls.read_to_end(&mut answer) {
            // Go closes HTTP/1.0 connections without the TLS goodbye at times; the head tells if all came.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            other => drop(other?),
        }
        parse(&answer, method == "HEAD")
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
    let declared = fields.lines().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
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
