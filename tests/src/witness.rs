//! Witnesses of ledgers as processes: ours, and one on Go's and transparency-dev's libraries.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::counterparts::{own_binary, program};
use crate::kubectl::{Output, run};
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

    /// Sends it something from this address of the own machine, and gives the status.
    ///
    /// # Errors
    /// It cannot be reached from there, or does not answer. Plain HTTP only.
    pub fn post_from(&self, ip: IpAddr, body: &str) -> anyhow::Result<u16> {
        let mut stream = self.begin_from(ip, body.len())?;
        stream.write_all(body.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("a status line")?;
        status.parse().with_context(|| line.clone())
    }

    /// Sends it the head of a request from this address, and nothing of its body of so many bytes.
    ///
    /// # Errors
    /// It cannot be reached from there.
    pub fn begin_from(&self, ip: IpAddr, len: usize) -> anyhow::Result<TcpStream> {
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((ip, 0).into())?;
            socket.connect(self.address).await?.into_std()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut stream = runtime.block_on(connect)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: {}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    /// Stops it and empties its folder, as a volume does that is not there any more.
    ///
    /// # Errors
    /// It does not end in order, or remembers nothing.
    pub fn forget(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        Ok(std::fs::remove_file(self.memory()?)?)
    }

    /// Runs it with these arguments besides, until it ends by itself.
    ///
    /// # Errors
    /// It does not end.
    pub fn ends(&self, more: &[&str]) -> anyhow::Result<Output> {
        run(self.with(more), "", PATIENCE)
    }

    /// Starts it, which was stopped, with these arguments besides.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(&mut self, more: &[&str]) -> anyhow::Result<()> {
        let times = self.process.log().matches("the witness listens").count();
        self.process = Process::start("witness", &self.with(more), &self.folder)?;
        self.listens(times + 1)
    }

    fn with(&self, more: &[&str]) -> Command {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).args(more);
        command
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
