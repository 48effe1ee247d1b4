//! The real kubectl, as a person runs it: own kubeconfig, own home, nothing of the surrounding shell.

use crate::counterparts;
use crate::pki::Identity;
use crate::wait::{PATIENCE, try_until, wait_until};
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 if it was killed.
    pub code: i32,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {}\nstdout: {}\nstderr: {}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// Standard output as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| self.to_string())
    }
}

/// How kubectl begins its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over a WebSocket, as newer ones do.
    WebSocket,
    /// Over SPDY alone.
    Spdy,
}

impl Way {
    /// One after the other.
    pub const BOTH: [Self; 2] = [Self::WebSocket, Self::Spdy];

    /// The variables that make kubectl do so.
    #[must_use]
    pub const fn variables(self) -> [(&'static str, &'static str); 2] {
        let websockets = match self {
            Self::WebSocket => "true",
            Self::Spdy => "false",
        };
        [
            ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets),
            ("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets),
        ]
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::Spdy => "spdy",
        })
    }
}

/// kubectl with one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: &'static str,
    kubeconfig: PathBuf,
    home: PathBuf,
    environment: Vec<(String, String)>,
}

impl Kubectl {
    /// `home` holds kubectl's caches.
    #[must_use]
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Self {
            program: "kubectl",
            kubeconfig: kubeconfig.to_path_buf(),
            home: home.to_path_buf(),
            environment: Vec::new(),
        }
    }

    /// The same with all its streams this way.
    #[must_use]
    pub fn over(&self, way: Way) -> Self {
        let variables = way.variables().into_iter();
        variables.fold(self.clone(), |kubectl, (name, value)| kubectl.with(name, value))
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another program of the bench that reads kubeconfigs, in the same place: an older kubectl, Helm.
    #[must_use]
    pub const fn program(mut self, name: &'static str) -> Self {
        self.program = name;
        self
    }

    /// The kubeconfig it uses.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The command, for those who want to start it in their own way (a terminal, say).
    ///
    /// # Errors
    /// There is no such program in the bench.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(counterparts::program(self.program)?);
        command.args(arguments).current_dir(&self.home).env_clear();
        // An exec plugin of the kubeconfig is found by PATH.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("LC_ALL", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// kubectl is missing or did not end. An exit code other than 0 is no error.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.run_with_input(arguments, "")
    }

    /// Runs to the end with `input` on standard input.
    ///
    /// # Errors
    /// kubectl is missing or did not end.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        run(self.command(arguments)?, input, PATIENCE).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs to the end and gives its standard output.
    ///
    /// # Errors
    /// It failed; the error has what it said.
    pub fn ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        anyhow::ensure!(output.code == 0, "kubectl {}: {output}", arguments.join(" "));
        Ok(output.stdout)
    }

    /// Applies a YAML text, after those that are being applied: kubectl asks before it creates, so that of two that apply
    /// the same new object at the same time one is told `AlreadyExists`.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        static ONE_AFTER_ANOTHER: Mutex<()> = Mutex::new(());
        let _turn = ONE_AFTER_ANOTHER.lock().unwrap_or_else(PoisonError::into_inner);
        let output = self.run_with_input(&["apply", "-f", "-"], yaml)?;
        anyhow::ensure!(output.code == 0, "kubectl apply: {output}");
        Ok(())
    }

    /// Starts something that goes on (watch, port-forward, logs -f); it is killed when the result is dropped.
    ///
    /// # Errors
    /// kubectl is missing.
    pub fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        Running::start(self.command(arguments)?)
    }
}

/// Runs any command to its end, or kills it after `patience`.
///
/// # Errors
/// It cannot be started, or had to be killed.
pub fn run(command: Command, input: &str, patience: Duration) -> anyhow::Result<Output> {
    run_to_its_end(command, input, true, patience)
}

/// As [`run`] without input, whose end does not come before that of the command: a terminal passes it on as what was typed.
///
/// # Errors
/// As of [`run`].
pub fn run_with_open_input(command: Command, patience: Duration) -> anyhow::Result<Output> {
    run_to_its_end(command, "", false, patience)
}

fn run_to_its_end(mut command: Command, input: &str, closes: bool, patience: Duration) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || {
        if let Some(stdin) = &mut stdin {
            let _ = stdin.write_all(input.as_bytes()); // it may end without reading
        }
        // What is given back is closed by whoever joins.
        stdin.filter(|_| !closes)
    });
    let reading = [collect(child.stdout.take()), collect(child.stderr.take())];
    let ended = wait_until("the command ends", patience, || child.try_wait().transpose());
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    drop(writing.join());
    let [stdout, stderr] = reading.map(|thread| thread.join().unwrap_or_default());
    let code = ended
        .with_context(|| format!("stdout: {stdout}\nstderr: {stderr}"))??
        .code()
        .unwrap_or(-1);
    Ok(Output { stdout, stderr, code })
}

fn collect(source: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            let _ = source.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A command that goes on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: [std::thread::JoinHandle<()>; 2],
}

impl Running {
    /// Starts it and collects its lines, standard output and error alike.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = Arc::default();
        let reading = [follow(child.stdout.take(), &lines), follow(child.stderr.take(), &lines)];
        Ok(Self { child, lines, reading })
    }

    /// Waits for the first line for which `wanted` holds.
    ///
    /// # Errors
    /// None came, or the command ended without it; the error has the lines that did.
    pub fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let found = wait_until(what, PATIENCE, || {
            let ended = self.child.try_wait().ok().flatten().is_some() && self.read_to_end();
            let line = self.lines().into_iter().find(|line| wanted(line));
            line.map(Some).or(ended.then_some(None))
        })?;
        found.with_context(|| format!("{what}: the command ended without it:\n{}", self.lines().join("\n")))
    }

    /// Waits until it has said three lines more.
    ///
    /// # Errors
    /// It says no more.
    pub fn goes_on(&self) -> anyhow::Result<()> {
        let seen = self.lines().len();
        try_until("it goes on", PATIENCE, || {
            let now = self.lines().len();
            anyhow::ensure!(now > seen + 2, "{now} lines, {seen} before");
            Ok(())
        })
    }

    /// Waits until a port-forward has said at which local address it listens.
    ///
    /// # Errors
    /// It says none.
    pub fn forwards(&mut self) -> anyhow::Result<String> {
        const BEGINS: &str = "Forwarding from ";
        let said = self.line("a local port", |line| line.starts_with("Forwarding from 127.0.0.1:"))?;
        let address = said.trim_start_matches(BEGINS).split(' ').next();
        Ok(address.context("an address")?.to_owned())
    }

    /// Whether both outputs were read to their ends.
    fn read_to_end(&self) -> bool {
        self.reading.iter().all(std::thread::JoinHandle::is_finished)
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// It has closed it.
    pub fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends it with SIGKILL, as the kernel or a CI system would.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill_hard(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end, and until all that it wrote is among the lines; -1 if it was killed.
    ///
    /// # Errors
    /// It did not end, or somebody whom it started still holds its outputs.
    pub fn end(&mut self) -> anyhow::Result<i32> {
        let status = wait_until("the command ends", PATIENCE, || self.child.try_wait().transpose())??;
        wait_until("its outputs end", PATIENCE, || self.read_to_end().then_some(()))?;
        Ok(status.code().unwrap_or(-1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(source: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) -> std::thread::JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        let Some(source) = source else { return };
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

/// How a kubeconfig proves who one is.
#[derive(Debug, Clone)]
pub enum Credential<'a> {
    /// A client certificate.
    Certificate(&'a Identity),
    /// A bearer token.
    Token(&'a str),
}

/// The text of a kubeconfig with one cluster, one user and one context, all named `bench`.
#[must_use]
pub fn kubeconfig(server: &str, ca: &str, credential: &Credential<'_>) -> String {
    let user = match credential {
        Credential::Certificate(identity) => serde_json::json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }),
        Credential::Token(token) => serde_json::json!({ "token": token }),
    };
    // JSON is YAML.
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(ca) }}],
        "users": [{"name": "bench", "user": user}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    })
    .to_string()
}
