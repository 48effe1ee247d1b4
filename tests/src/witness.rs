//! Witnesses of ledgers as processes: ours, and one on Go's and transparency-dev's libraries.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::counterparts::{own_binary, program};
use crate::metrics::Scrape;
use crate::pki::Ca;
use crate::ports::Port;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};

/// `gatescribe ledger witness`. Its folder outlives the process, so that it can be started again.
#[derive(Debug)]
pub struct Witness {
    process: Process,
    command: Command,
    /// Its public key.
    pub key: String,
    address: SocketAddr,
    admin: SocketAddr,
    /// Who vouches for its certificate; none for plain HTTP.
    ca: Option<Ca>,
    // Dropped last: the process writes into it.
    folder: Folder,
    _ports: [Port; 2],
}

impl Witness {
    /// Starts it for the logs of these public keys.
    ///
    /// # Errors
    /// It does not start; its log's end is in the error.
    pub fn of(logs: &[&str]) -> anyhow::Result<Self> {
        Self::start(logs, None)
    }

    /// The same, over TLS with a certificate of an authority of its own.
    ///
    /// # Errors
    /// As [`Witness::of`].
    pub fn over_tls(logs: &[&str]) -> anyhow::Result<Self> {
        Self::start(logs, Some(Ca::new("witness")?))
    }

    fn start(logs: &[&str], ca: Option<Ca>) -> anyhow::Result<Self> {
        let folder = Folder::held("witness")?;
        let ports = [Port::reserve()?, Port::reserve()?];
        let [address, admin] = ports.each_ref().map(Port::address);
        let mut command = Command::new(own_binary("gatescribe")?);
        command.args(["ledger", "witness", "--name", "witness.example/w1", "--key"]);
        command.arg(folder.path().join("w1.key"));
        command.args(["--listen", &address.to_string(), "--admin", &admin.to_string()]);
        for log in logs {
            command.args(["--log", log]);
        }
        if let Some(ca) = &ca {
            let certificate = ca.server(&["127.0.0.1"])?;
            folder.write("ca.crt", ca.certificate())?;
            command
                .arg("--tls-cert")
                .arg(folder.write("tls.crt", certificate.certificate)?);
            command.arg("--tls-key").arg(folder.write("tls.key", certificate.key)?);
        }
        let process = Process::start("witness", &command, &folder)?;
        let mut witness = Self {
            process,
            command,
            key: String::new(),
            address,
            admin,
            ca,
            folder,
            _ports: ports,
        };
        witness.listens(1)?;
        witness.key = witness
            .said("this witness cosigns")
            .and_then(|line| line["key"].as_str().map(str::to_owned))
            .context("it says its key")?;
        Ok(witness)
    }

    /// Waits until it listens for the so-manieth time.
    fn listens(&mut self, times: usize) -> anyhow::Result<()> {
        let listening = try_until("the witness listens", PATIENCE, || {
            let ended = self.process.ended()?;
            ensure!(ended.is_none(), "it has ended: {ended:?}");
            let count = self.process.log().matches("the witness listens").count();
            ensure!(count >= times, "it does not listen yet");
            Ok(())
        });
        listening.with_context(|| self.process.log_end(30))
    }

    /// A line of its log.
    #[must_use]
    pub fn said(&self, what: &str) -> Option<Value> {
        let log = self.process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .into_iter()
            .find(|line| line["message"].as_str().is_some_and(|message| message.contains(what)))
    }

    /// Stops it in order and starts it again on what it remembers.
    ///
    /// # Errors
    /// It does not end, or does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let times = self.process.log().matches("the witness listens").count();
        self.stop()?;
        self.process = Process::start("witness", &self.command, &self.folder)?;
        self.listens(times + 1)
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It does not end, or not in order.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "{status}: {}", self.process.log_end(30));
        Ok(())
    }

    /// Where it is asked, without `/add-checkpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Sends it something.
    ///
    /// # Errors
    /// It does not answer.
    pub fn post(&self, body: &str) -> anyhow::Result<Page> {
        let mut client = self
            .ca
            .as_ref()
            .map_or_else(Browser::default, |ca| Browser::trusting(ca.certificate()));
        client.request("POST", &format!("{}/add-checkpoint", self.url()), body)
    }

    /// What it counts.
    ///
    /// # Errors
    /// It does not say.
    pub fn scrape(&self) -> anyhow::Result<Scrape> {
        Scrape::of(self.admin)
    }

    /// The file by which it remembers its only log.
    ///
    /// # Errors
    /// It remembers none.
    pub fn memory(&self) -> anyhow::Result<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("w1.key.cosigned"))?;
        let mut files = files.filter_map(|file| file.ok().map(|file| file.path()));
        let found = files.find(|file| file.extension().is_some_and(|end| end == "cosigned"));
        found.context("it has cosigned nothing")
    }

    /// As the gateway's configuration has it.
    #[must_use]
    pub fn configured(&self, name: &str) -> Value {
        let mut configured = json!({ "name": name, "url": self.url(), "publicKey": self.key });
        if self.ca.is_some() {
            configured["caFile"] = json!(self.folder.path().join("ca.crt"));
        }
        configured
    }
}

/// A witness on public libraries alone, in memory (`tests/counterparts/witness`). It ends with this value.
#[derive(Debug)]
pub struct PublicWitness {
    child: Child,
    /// Its public key.
    pub key: String,
    url: String,
}

impl PublicWitness {
    /// Starts it for the logs of these public keys.
    ///
    /// # Errors
    /// It is not built, or does not start.
    pub fn of(logs: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program("publicwitness")?);
        let mut child = command
            .arg("public.example/w")
            .args(logs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start the public witness")?;
        let mut said = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut line = || {
            said.next()
                .context("it says its key and its URL")?
                .context("its output")
        };
        let (key, url) = (line()?, line()?);
        Ok(Self { child, key, url })
    }

    /// As the gateway's configuration has it.
    #[must_use]
    pub fn configured(&self, name: &str) -> Value {
        json!({ "name": name, "url": self.url, "publicKey": self.key })
    }

    /// Ends it, as an outage does.
    ///
    /// # Errors
    /// It had ended already.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for PublicWitness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
