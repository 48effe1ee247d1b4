//! SPIFFE by its own public library: an agent that serves the Workload API, and a workload that calls with what it gets from one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::counterparts::program;
use crate::gateway::Gateway;
use crate::kubectl::{Output, run};
use crate::pki::{Ca, Identity};
use crate::wait::PATIENCE;

/// An agent. Knows nobody until it is told.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    says: BufReader<ChildStdout>,
    socket: PathBuf,
}

impl Agent {
    /// Starts one at `socket`, where none may be any more.
    ///
    /// # Errors
    /// It is not built, or does not start.
    pub fn at(socket: &Path) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(socket);
        let mut child = Command::new(program("spiffe")?)
            .arg("agent")
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the agent")?;
        let says = BufReader::new(child.stdout.take().context("its output")?);
        let mut agent = Self {
            child,
            says,
            socket: socket.to_owned(),
        };
        agent.answers("ready")?;
        Ok(agent)
    }

    /// Knows these trust domains from now on, and whoever asks is this workload.
    ///
    /// # Errors
    /// It does not take it.
    pub fn knows(&mut self, domains: &[(&str, &Ca)], workload: &(&str, Identity)) -> anyhow::Result<()> {
        let mut bundles = BTreeMap::new();
        for (domain, ca) in domains {
            let der = CertificateDer::from_pem_slice(ca.certificate().as_bytes());
            let der = der.map_err(|error| anyhow::anyhow!("{error:?}"))?;
            bundles.insert(format!("spiffe://{domain}"), STANDARD.encode(der));
        }
        let (id, identity) = workload;
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
        let (Ok(chain), Ok(key)) = (chain, key) else {
            anyhow::bail!("no certificate or key");
        };
        let (chain, key) = (STANDARD.encode(chain), STANDARD.encode(key.secret_der()));
        self.tell(&json!({"bundles": bundles, "id": id, "chain": chain, "key": key}))
    }

    /// Has nothing for anybody from now on.
    ///
    /// # Errors
    /// It does not take it.
    pub fn denies(&mut self) -> anyhow::Result<()> {
        self.tell(&json!({"denied": true}))
    }

    fn tell(&mut self, what: &Value) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("its input")?;
        writeln!(stdin, "{what}")?;
        self.answers("said")
    }

    fn answers(&mut self, word: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        ensure!(line.trim() == word, "the agent says {line:?} instead of {word}");
        Ok(())
    }

    /// A program on go-spiffe gets its SVID here and calls the gateway with it. The first line is the status and the id.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn calls(&self, gateway: &Gateway, path: &str) -> anyhow::Result<Output> {
        let mut command = Command::new(program("spiffe")?);
        command.arg("call").arg(&self.socket).arg(gateway.file("ca.crt"));
        command.arg(format!("https://{}/clusters/bench{path}", gateway.address));
        run(command, "", PATIENCE)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
