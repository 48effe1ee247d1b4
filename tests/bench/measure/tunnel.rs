//! `bench tunnel`: one file through exec (standard input to standard output), `cp` both ways and port-forward, by a real kubectl
//! over WebSocket and over SPDY, to a real API server and node. By turns straight at the API server, through nginx as a TCP proxy
//! with TLS on both sides, through the gateway, and through the gateway with a recording. What arrives has to have the file's SHA-256.
//!
//! What is compared is the CPU of the proxy for the same bytes. How long it takes says little about the proxy: kubectl, API
//! server and node need several times its CPU, so each line says who was the busiest, and the turn without a proxy how fast they
//! are by themselves.

use anyhow::{Context as _, ensure};
use std::fs::File;
use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::kubectl::{Credential, Kubectl, kubeconfig};
use tests::measure::cpu;
use tests::measure::payload::{Content, copied, write};
use tests::measure::real::{KEPT, PLAIN, POD, Real, held};
use tests::measure::rivals::{self, Rival};
use tests::pki::Ca;
use tests::process::Folder;
use tests::wait::wait_until;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// 16 MiB, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Size of the file, in MiB.
    #[arg(long, default_value_t = 1_024)]
    mib: u64,
    /// Only forms whose name contains this: `exec_websocket`, `cp_in_spdy`, …
    #[arg(long)]
    only: Option<String>,
}

/// For one passage of the file.
const PATIENCE: Duration = Duration::from_secs(900);
/// Of a connection on which nothing moves.
const STALLED: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Exec,
    CpIn,
    CpOut,
    Forward,
}

/// Each with how often the file passes in each direction: to the pod, and back.
const FORMS: [(&str, Form, [u64; 2]); 4] = [
    ("exec", Form::Exec, [1, 1]),
    ("cp_in", Form::CpIn, [1, 0]),
    ("cp_out", Form::CpOut, [0, 1]),
    ("forward", Form::Forward, [1, 1]),
];
const PROTOCOLS: [(&str, &str); 2] = [("websocket", "true"), ("spdy", "false")];
const WAYS: [&str; 4] = ["direct", "nginx", "gateway", "recorded"];
const DIRECT: usize = 0;
const NGINX: usize = 1;
const GATEWAY: usize = 2;
const RECORDED: usize = 3;

/// One passage.
struct Passage {
    /// CPU of the proxy, µs.
    cpu: f64,
    seconds: f64,
    /// Who used most CPU, and how many cores of it.
    busiest: (&'static str, f64),
}

struct Bench {
    nginx: Rival,
    real: Real,
    ca: Ca,
    content: Content,
    echo: SocketAddr,
    folder: Folder,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mib = if arguments.quick { 16 } else { arguments.mib };
    let bench = Bench::new(mib << 20)?;
    let (mut line, mut sums) = (format!("tunnel mib={mib}"), [0.0; 4]);
    let (mut carried, mut by_the_clock) = (0, [0.0; 4]);
    for (protocol, websockets) in PROTOCOLS {
        for (name, form, passes) in FORMS {
            let full = format!("{name}_{protocol}");
            if arguments
                .only
                .as_ref()
                .is_some_and(|only| !full.contains(only.as_str()))
            {
                continue;
            }
            let bytes = passes.iter().sum::<u64>() * bench.content.bytes;
            carried += bytes;
            let mut found = [0.0; 4];
            for (way, cpu) in found.iter_mut().enumerate() {
                let passage = bench
                    .measure(form, passes, way, websockets)
                    .with_context(|| format!("{full}, {}", WAYS[way]))?;
                tell(&full, way, bytes, &passage);
                *cpu = passage.cpu;
                sums[way] += passage.cpu;
                by_the_clock[way] += passage.seconds;
            }
            line.push_str(&format!(
                " {full}={:.2} {full}_recorded={:.2}",
                found[NGINX] / found[GATEWAY],
                found[NGINX] / found[RECORDED]
            ));
        }
    }
    ensure!(
        carried > 0,
        "nothing was carried: `--mib {mib}`, `--only {:?}`",
        arguments.only
    );
    let measured = [NGINX, GATEWAY, RECORDED];
    ensure!(
        measured.iter().all(|way| sums[*way] > 0.0),
        "no CPU of a proxy was seen for {carried} bytes, a tick is 10 ms: more `--mib`"
    );
    for way in measured {
        let rate = per_core_second(carried, sums[way]);
        line.push_str(&format!(" {}_gb_per_core_second={rate:.2}", WAYS[way]));
    }
    for (way, seconds) in WAYS.iter().zip(by_the_clock) {
        line.push_str(&format!(" {way}_mb_per_second={:.0}", carried as f64 / 1e6 / seconds));
    }
    println!(
        "{line} ratio={:.2} ratio_recorded={:.2}",
        sums[NGINX] / sums[GATEWAY],
        sums[NGINX] / sums[RECORDED]
    );
    Ok(())
}

fn tell(form: &str, way: usize, bytes: u64, passage: &Passage) {
    let (who, cores) = passage.busiest;
    if way == DIRECT {
        let rate = bytes as f64 / 1e6 / passage.seconds;
        println!("{form:17} direct   {rate:5.0} MB/s by the clock, busiest is {who} with {cores:.2}");
        return;
    }
    println!(
        "{form:17} {:8} {:6.2} GB for each second of its CPU; {:5.0} MB/s by the clock, {:.2} cores of it, busiest is {who} with {cores:.2}",
        WAYS[way],
        per_core_second(bytes, passage.cpu),
        bytes as f64 / 1e6 / passage.seconds,
        passage.cpu / 1e6 / passage.seconds,
    );
}

/// GB for each second of CPU.
fn per_core_second(bytes: u64, micros: f64) -> f64 {
    bytes as f64 / 1e3 / micros.max(1.0)
}

impl Bench {
    fn new(bytes: u64) -> anyhow::Result<Self> {
        let real = Real::start(true)?;
        let folder = Folder::held("tunnel")?;
        let ca = Ca::new("nginx")?;
        let identity = ca.server(&["127.0.0.1", "localhost"])?;
        Ok(Self {
            nginx: rivals::nginx_stream(&folder, &identity, real.cluster.address())?,
            content: write(&folder.path().join("sent"), bytes)?,
            echo: echo()?,
            real,
            ca,
            folder,
        })
    }

    fn measure(&self, form: Form, passes: [u64; 2], way: usize, websockets: &str) -> anyhow::Result<Passage> {
        let kubectl = self.kubectl(way)?.with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let kubectl = kubectl.with("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let namespace = if way == RECORDED { KEPT } else { PLAIN };
        let proxy = match way {
            DIRECT => Vec::new(),
            NGINX => self.nginx.pids(),
            _ => vec![self.real.pid()?],
        };
        let newest = self.real.newest()?;
        let (before, began) = (self.used(&proxy)?, Instant::now());
        self.carry(form, &kubectl, namespace)?;
        let seconds = began.elapsed().as_secs_f64();
        if way >= GATEWAY {
            self.in_ledger(newest, passes, way == RECORDED)?;
        }
        let mut used = self.used(&proxy)?;
        for (now, before) in used.iter_mut().zip(before) {
            now.1 -= before.1;
        }
        let busiest = used.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        let (name, most) = busiest.context("nobody")?;
        Ok(Passage {
            cpu: used[0].1,
            seconds,
            busiest: (name, most / 1e6 / seconds),
        })
    }

    /// CPU that everybody on the way has used so far, µs; the proxy is the first.
    fn used(&self, proxy: &[i32]) -> anyhow::Result<[(&'static str, f64); 5]> {
        let of = |part| cpu::used(self.real.cluster.pid_of(part)?.as_raw());
        Ok([
            ("the proxy", cpu::used_by(proxy)?),
            ("kube-apiserver", of("kube-apiserver")?),
            ("the node", of("node")?),
            ("kubectl", cpu::used_by_children()?),
            ("this program", cpu::used(std::process::id().cast_signed())?),
        ])
    }

    /// The ledger knows sessions that carried as much, recorded or not as they had to be.
    fn in_ledger(&self, newest: u64, passes: [u64; 2], recorded: bool) -> anyhow::Result<()> {
        let bytes = passes.map(|times| times * self.content.bytes);
        held(&self.real.sessions(newest, 1)?, recorded, bytes)?;
        // They are as large as what passed, and nobody needs them any more.
        for entry in std::fs::read_dir(self.real.gateway.file("data/recordings"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    fn kubectl(&self, way: usize) -> anyhow::Result<Kubectl> {
        if way >= GATEWAY {
            // Tokens of the gateway last ten minutes.
            return self.real.gateway.kubectl("alice", &self.real.through()?.token);
        }
        let straight = self.real.directly();
        let (address, ca) = match way {
            DIRECT => (straight.address, straight.ca.as_str()),
            _ => (self.nginx.address, self.ca.certificate()),
        };
        let server = format!("https://{address}");
        let text = kubeconfig(&server, ca, &Credential::Token(&self.real.straight));
        let home = self.folder.path().join("home");
        std::fs::create_dir_all(&home)?;
        Ok(Kubectl::new(&self.folder.write("straight.kubeconfig", text)?, &home))
    }

    /// Carries the file once and looks at what arrived.
    fn carry(&self, form: Form, kubectl: &Kubectl, namespace: &str) -> anyhow::Result<()> {
        let (sent, back) = (self.folder.path().join("sent"), self.folder.path().join("back"));
        let pod = format!("{namespace}/{POD}:blob");
        let text = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
        match form {
            Form::Exec => self.exec(kubectl, namespace),
            Form::Forward => self.forward(kubectl, namespace),
            Form::CpIn => {
                finish(kubectl.command(&["cp", &text(&sent)?, &pod, "-c", POD])?, None)?;
                self.is_whole(File::open(self.inside(namespace)?.join("blob"))?)
            }
            // What `cp_in` has brought there.
            Form::CpOut => {
                finish(kubectl.command(&["cp", &pod, &text(&back)?, "-c", POD])?, None)?;
                self.is_whole(File::open(&back)?)?;
                Ok(std::fs::remove_file(back)?)
            }
        }
    }

    fn is_whole(&self, what: impl Read) -> anyhow::Result<()> {
        self.content.is(&copied(what, &mut std::io::sink())?)
    }

    /// The folder of the pod's container.
    fn inside(&self, namespace: &str) -> anyhow::Result<PathBuf> {
        let wanted = format!("{namespace}_{POD}_");
        for entry in std::fs::read_dir(self.real.cluster.folder().path().join("pods"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&wanted) {
                return Ok(entry.path().join(POD));
            }
        }
        anyhow::bail!("no folder of a pod in {namespace}")
    }

    fn exec(&self, kubectl: &Kubectl, namespace: &str) -> anyhow::Result<()> {
        let command = kubectl.command(&["exec", "-i", POD, "-n", namespace, "-c", POD, "--", "cat"])?;
        self.content
            .is(&finish(command, Some(File::open(self.folder.path().join("sent"))?))?)
    }

    fn forward(&self, kubectl: &Kubectl, namespace: &str) -> anyhow::Result<()> {
        let port = self.echo.port();
        let pod = format!("pod/{POD}");
        let ports = format!(":{port}");
        let mut forwarding =
            kubectl.start(&["port-forward", &pod, "-n", namespace, "--address", "127.0.0.1", &ports])?;
        let said = forwarding.line("it forwards", |line| line.starts_with("Forwarding from "))?;
        let local = said.split(' ').nth(2).context("no address")?;
        let mut stream = TcpStream::connect(local)?;
        stream.set_read_timeout(Some(STALLED))?;
        stream.set_write_timeout(Some(STALLED))?;
        let (mut file, mut sending) = (File::open(self.folder.path().join("sent"))?, stream.try_clone()?);
        let sent = std::thread::spawn(move || std::io::copy(&mut file, &mut sending));
        let got = copied((&mut stream).take(self.content.bytes), &mut std::io::sink())?;
        joined(sent)??;
        self.content.is(&got)?;
        stream.shutdown(Shutdown::Both)?;
        forwarding.signal(nix::sys::signal::Signal::SIGINT)?;
        forwarding.end().map(drop)
    }
}

/// Sends back what comes, on any number of connections, until the program ends.
fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let (mut from, mut to) = (stream.try_clone()?, stream);
                let mut room = vec![0; 256 << 10];
                loop {
                    match from.read(&mut room)? {
                        0 => return to.shutdown(Shutdown::Write),
                        count => to.write_all(room.get(..count).unwrap_or_default())?,
                    }
                }
            });
        }
    });
    Ok(address)
}

/// A kubectl that is killed if it is left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs kubectl to its end: what stands for its standard output.
fn finish(mut command: Command, input: Option<File>) -> anyhow::Result<Content> {
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn()?);
    let stdout = running.0.stdout.take().context("standard output")?;
    let mut stderr = running.0.stderr.take().context("standard error")?;
    let stdout = std::thread::spawn(move || copied(stdout, &mut std::io::sink()));
    let stderr = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let ended = wait_until("kubectl ends", PATIENCE, || running.0.try_wait().transpose())??;
    let (content, said) = (joined(stdout)??, joined(stderr)??);
    ensure!(ended.success(), "kubectl: {ended}: {said}");
    Ok(content)
}

fn joined<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
}
