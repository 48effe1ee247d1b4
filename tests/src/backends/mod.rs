//! Real servers for the stories of services: what stands behind a gateway, and the proxies that people keep in front of one.
//!
//! - [`echo`]: eight parsers of HTTP that tell what they saw of each request, so that it can be counted and compared;
//! - [`web`]: streams, WebSockets, ranges, large bodies, odd answers;
//! - [`grpc`]: gRPC's own test service, and grpcurl;
//! - [`apps`]: Prometheus and JupyterLab;
//! - [`proxy`]: nginx, HAProxy, Apache, Caddy and Envoy with a configuration of one's own.
//!
//! Go programs and Python environments are built by `cargo xtask counterparts`; Debian's programs are fetched when somebody first
//! wants them ([`crate::tools::debian`]). All of them listen on loopback alone, end when their value is dropped, and say the end
//! of their log where they do not start; where a test fails they say it too.

pub mod apps;
pub mod echo;
pub mod grpc;
pub mod proxy;
pub mod seen;
pub mod web;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::counterparts::{repository, target};
use crate::pki::Identity;
use crate::ports::Port;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};

/// How long a server may say nothing within an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// How much of a log is said where something fails.
const LINES: usize = 40;

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: Port,
    // Dropped last: the process writes into it.
    folder: Folder,
}

impl Server {
    /// Starts what `command` makes of the folder and the address to listen on, and waits until somebody answers there.
    ///
    /// # Errors
    /// It cannot be had, ends, or never listens; the end of its log is in the error.
    pub fn start(
        name: &str,
        command: impl FnOnce(&Folder, SocketAddr) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(name)?;
        let port = Port::reserve()?;
        let process = Process::start(name, &command(&folder, port.address())?, &folder)?;
        let mut server = Self { process, port, folder };
        server.comes_to(&format!("{name} listens"), |server| {
            TcpStream::connect(server.address())?;
            Ok(())
        })?;
        Ok(server)
    }

    /// Waits for a condition for as long as the server runs.
    ///
    /// # Errors
    /// It does not come true, or the server has ended; the end of its log is in the error.
    pub fn comes_to<T>(&mut self, what: &str, mut check: impl FnMut(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        // Who has ended never comes to it: nobody waits minutes to read that.
        let came = try_until(what, PATIENCE, || match self.process.ended()? {
            Some(status) => Ok(Err(anyhow::anyhow!("{} has ended: {status}", self.process.name()))),
            None => check(self).map(Ok),
        });
        came.and_then(|came| came).with_context(|| self.log_end())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The same as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its data folder.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its process, for signals.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The end of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        self.process.log_end(LINES)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It takes none.
    pub fn connect(&self) -> anyhow::Result<TcpStream> {
        connect(self.address())
    }

    /// See [`exchange`].
    ///
    /// # Errors
    /// As [`exchange`].
    pub fn exchange(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        exchange(self.address(), request)
    }

    /// One answer to one request of a line and fields (each ended by CRLF), without a body.
    ///
    /// # Errors
    /// As [`exchange`].
    pub fn ask(&self, line: &str, fields: &str) -> anyhow::Result<String> {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\n{fields}Connection: close\r\n\r\n",
            self.address()
        );
        Ok(String::from_utf8_lossy(&self.exchange(request.as_bytes())?).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── {} said:\n{}", self.process.name(), self.log_end());
        }
    }
}

/// A connection whose other side may say nothing for a minute.
///
/// # Errors
/// Nobody listens there.
pub fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends these very bytes and reads until the server ends the connection: the last request has to ask for that.
///
/// # Errors
/// There is no connection, or the server says nothing for a minute.
pub fn exchange(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .with_context(|| format!("after {:?}", String::from_utf8_lossy(&answer)))?;
    Ok(answer)
}

/// Flags of the bench's own Go servers for TLS with this certificate.
fn tls(folder: &Folder, identity: &Identity) -> anyhow::Result<Vec<OsString>> {
    let cert = folder.write("tls.crt", &identity.certificate)?;
    let key = folder.write("tls.key", &identity.key)?;
    Ok(vec!["-cert".into(), cert.into(), "-key".into(), key.into()])
}

/// A file of the bench's own servers.
fn own(name: &str) -> PathBuf {
    repository().join("tests/counterparts/backends").join(name)
}

/// A program of one of the Python environments.
///
/// # Errors
/// It is not there; the error names what makes it.
fn python(environment: &str, program: &str) -> anyhow::Result<PathBuf> {
    let found = target()
        .join("counterparts")
        .join(environment)
        .join("bin")
        .join(program);
    ensure!(
        found.exists(),
        "no `{program}` in target/counterparts/{environment}: run `cargo xtask counterparts`"
    );
    Ok(found)
}

/// What stands behind the head of an answer.
///
/// # Errors
/// It has none.
pub fn body_of(answer: &[u8]) -> anyhow::Result<&[u8]> {
    match memchr::memmem::find(answer, b"\r\n\r\n").and_then(|end| answer.get(end + 4..)) {
        Some(body) => Ok(body),
        None => bail!("no HTTP: {:?}", String::from_utf8_lossy(answer)),
    }
}
