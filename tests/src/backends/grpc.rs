//! gRPC's own test service (unary, streaming both ways, reflection, health, errors with details) and grpcurl.

use std::process::Command;

use anyhow::ensure;

use super::Server;
use super::seen::Seen;
use crate::counterparts::program;
use crate::kubectl::{Output, run};
use crate::pki::Identity;
use crate::wait::PATIENCE;

/// The service's name.
pub const SERVICE: &str = "grpc.testing.TestService";

/// A running service.
#[derive(Debug)]
pub struct Grpc {
    /// Its server.
    pub server: Server,
}

impl Grpc {
    /// Starts it without TLS.
    ///
    /// # Errors
    /// It is not built, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(None)
    }

    /// Over TLS with this certificate. [`Grpc::call`] does not reach it: [`grpcurl`] takes a `-cacert`.
    ///
    /// # Errors
    /// As [`Grpc::start`].
    pub fn over_tls(identity: &Identity) -> anyhow::Result<Self> {
        Self::with(Some(identity))
    }

    fn with(identity: Option<&Identity>) -> anyhow::Result<Self> {
        let server = Server::start("grpc-service", |folder, listen| {
            let mut command = Command::new(program("grpc-service")?);
            command.arg("-listen").arg(listen.to_string());
            command.arg("-journal").arg(folder.path().join("journal"));
            if let Some(identity) = identity {
                command.args(super::tls(folder, identity)?);
            }
            Ok(command)
        })?;
        Ok(Self { server })
    }

    /// The calls that arrived, each with its metadata, in their order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn seen(&self) -> anyhow::Result<Vec<Seen>> {
        let journal = std::fs::read(self.server.folder().path().join("journal"))?;
        let lines = journal.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(Seen::read).collect()
    }

    /// grpcurl straight to it: see [`grpcurl`].
    ///
    /// # Errors
    /// As [`grpcurl`].
    pub fn call(&self, options: &[&str], method: &str, requests: &str) -> anyhow::Result<Output> {
        let method = format!("{SERVICE}/{method}");
        let place = self.server.address().to_string();
        let words = [&["-plaintext", "-d", "@"], options, &[&place, &method]].concat();
        grpcurl(&words, requests)
    }
}

/// Runs grpcurl to its end, with JSON messages on standard input. A call that failed is no error here: see its code.
///
/// # Errors
/// It is not built, or does not end.
pub fn grpcurl(words: &[&str], input: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program("grpcurl")?);
    command.args(words);
    let output = run(command, input, PATIENCE)?;
    ensure!(output.code >= 0, "grpcurl was killed: {output}");
    Ok(output)
}
