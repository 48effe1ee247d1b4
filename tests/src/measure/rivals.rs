//! What is compared, each as a process of its own on the measured core: the gateway, nginx, a bare pass-through program.

use super::api::Api;
use super::{cpu, world};
use crate::pki::{Ca, Identity};
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};
use crate::{browser::Browser, counterparts, tools};
use anyhow::ensure;
use ledger::Reader;
use model::event::RecordKind;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A port that was free a moment ago.
///
/// # Errors
/// None is.
pub fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A proxy under measurement.
#[derive(Debug)]
pub struct Rival {
    /// `nginx`, `gatescribe`, `passthrough`.
    pub name: &'static str,
    /// Where clients connect.
    pub address: SocketAddr,
    process: Process,
    main: i32,
    folder: PathBuf,
}

impl Rival {
    /// The processes whose CPU counts: its own and its workers'.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let main = self.main;
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(main).chain(workers).collect()
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log_end(30)
    }

    /// Starts it on the measured core and waits until it takes connections at `knock`.
    pub(super) fn begin(
        name: &'static str,
        address: SocketAddr,
        knock: SocketAddr,
        command: &Command,
        folder: &Folder,
    ) -> anyhow::Result<Self> {
        let mut process = Process::start(name, &cpu::on_measured(command), folder)?;
        let main = process.pid()?.as_raw();
        let began = Instant::now();
        while std::net::TcpStream::connect(knock).is_err() {
            ensure!(
                began.elapsed() < PATIENCE && process.ended()?.is_none(),
                "{name} does not listen:\n{}",
                process.log_end(30)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self {
            name,
            address,
            process,
            main,
            folder: folder.path().to_path_buf(),
        })
    }
}

/// nginx as the order sets it. Its limits of requests on one connection are lifted in its favour.
///
/// # Errors
/// It cannot be fetched or does not start.
pub fn nginx(folder: &Folder, identity: &Identity, upstream: SocketAddr, tls: bool) -> anyhow::Result<Rival> {
    let address = free()?;
    let root = folder.path().display();
    folder.write("nginx.crt", &identity.certificate)?;
    folder.write("nginx.key", &identity.key)?;
    let scheme = if tls { "https" } else { "http" };
    let text = format!(
        "worker_processes 1;\ndaemon off;\nuser root;\npid {root}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n access_log off;\n keepalive_requests 1000000000;\n\
         client_body_temp_path {root}/nginx-body;\n proxy_temp_path {root}/nginx-proxy;\n fastcgi_temp_path {root}/nginx-f;\n\
         uwsgi_temp_path {root}/nginx-u;\n scgi_temp_path {root}/nginx-s;\n\
         upstream up {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {address} ssl http2; ssl_certificate {root}/nginx.crt; ssl_certificate_key {root}/nginx.key;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{ proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n"
    );
    let configuration = folder.write(if tls { "nginx-tls.conf" } else { "nginx.conf" }, text)?;
    let debian = tools::debian(&["nginx"])?;
    let mut command = debian.command("nginx")?;
    command.arg("-p").arg(folder.path()).arg("-c").arg(configuration);
    Rival::begin(
        if tls { "nginx-tls" } else { "nginx" },
        address,
        address,
        &command,
        folder,
    )
}

/// nginx as a TCP proxy that ends TLS on one side and begins it anew on the other, as the gateway has to. Its buffers are as
/// large as the gateway's, in its favour.
///
/// # Errors
/// It cannot be fetched or does not start.
pub fn nginx_stream(folder: &Folder, identity: &Identity, upstream: SocketAddr) -> anyhow::Result<Rival> {
    let address = free()?;
    let root = folder.path().display();
    folder.write("stream.crt", &identity.certificate)?;
    folder.write("stream.key", &identity.key)?;
    // Debian has the stream module in a package of its own.
    let debian = tools::debian(&["libnginx-mod-stream", "nginx"])?;
    let module = debian.root().join("usr/lib/nginx/modules/ngx_stream_module.so");
    let text = format!(
        "load_module {};\nworker_processes 1;\ndaemon off;\nuser root;\npid {root}/stream.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nstream {{\n\
         server {{ listen {address} ssl; ssl_certificate {root}/stream.crt; ssl_certificate_key {root}/stream.key;\n\
         ssl_protocols TLSv1.2 TLSv1.3; proxy_buffer_size 64k;\n\
         proxy_pass {upstream}; proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.3; }}\n}}\n",
        module.display()
    );
    let configuration = folder.write("stream.conf", text)?;
    let mut command = debian.command("nginx")?;
    command.arg("-p").arg(folder.path()).arg("-c").arg(configuration);
    Rival::begin("nginx-stream", address, address, &command, folder)
}

/// The pass-through program of `tests/bench/passthrough.rs`.
///
/// # Errors
/// It was not built.
pub fn passthrough(
    folder: &Folder,
    identity: &Identity,
    ca: &Ca,
    upstream: SocketAddr,
    tls: bool,
) -> anyhow::Result<Rival> {
    let address = free()?;
    let mut command = Command::new(counterparts::own_binary("gatescribe-passthrough")?);
    command.arg(address.to_string()).arg(upstream.to_string());
    command.arg(folder.write("pass.crt", &identity.certificate)?);
    command.arg(folder.write("pass.key", &identity.key)?);
    if tls {
        command.arg(folder.write("pass-ca.crt", ca.certificate())?);
    }
    Rival::begin(
        if tls { "passthrough-tls" } else { "passthrough" },
        address,
        address,
        &command,
        folder,
    )
}

/// What a gateway that is measured keeps.
#[derive(Clone, Copy, Debug)]
pub enum Keeps<'p> {
    /// What one keeps of whom nothing else is said.
    Usual,
    /// What this audit policy says.
    AsPolicy(&'p str),
    /// The same as usual, with names sealed beside each record.
    NamesSealed,
}

/// `gatescribe serve`.
///
/// # Errors
/// It does not become ready.
pub fn gateway(
    name: &'static str,
    folder: &Folder,
    (identity, ca): (&Identity, &Ca),
    api: &Api,
    tls: bool,
    keeps: Keeps<'_>,
) -> anyhow::Result<Gateway> {
    let (host, address, admin) = (free()?, free()?, free()?);
    let write = |file: &str, text: &str| folder.write(file, text).map(|path| path.display().to_string());
    let data = folder.path().join(format!("data-{name}"));
    let server = if tls {
        format!("https://{}", api.tls)
    } else {
        format!("http://{}", api.plain)
    };
    let mut configuration = json!({
        "apiVersion": "gatescribe.dev/v1",
        "url": format!("http://{host}"),
        "dataDir": data,
        "listeners": [
            { "name": "gateway", "address": host.to_string(), "serves": ["gateway"] },
            { "name": "kubernetes", "address": address.to_string(), "serves": ["kubernetes"], "tls": {
                "certFile": write("tls.crt", &identity.certificate)?, "keyFile": write("tls.key", &identity.key)?,
            } },
        ],
        "admin": { "address": admin.to_string() },
        "identity": { "providers": [{ "name": "bench", "issuer": api.issuer(), "clientId": world::CLIENT }] },
        "limits": { "recordsPerSecond": 1_000_000, "bytesPerDay": "1024GiB", "inFlight": 100_000, "streams": 100_000 },
        "clusters": [{
            "name": "bench", "servers": [server], "caFile": write("cluster-ca.crt", ca.certificate())?,
            "impersonator": { "tokenFile": write("impersonator", &"i".repeat(900))? },
            "observer": { "tokenFile": write("observer", &"o".repeat(900))? },
        }],
    });
    match keeps {
        Keeps::Usual => {}
        Keeps::AsPolicy(policy) => {
            configuration["audit"] = json!({ "policyFile": write("audit.yaml", policy)? });
        }
        Keeps::NamesSealed => configuration["ledger"] = json!({ "names": "sealed" }),
    }
    serve(name, folder, (address, admin), data, &configuration)
}

/// Starts a gateway that is configured so and keeps its data there.
///
/// # Errors
/// It does not become ready.
pub(super) fn serve(
    name: &'static str,
    folder: &Folder,
    (address, admin): (SocketAddr, SocketAddr),
    data: PathBuf,
    configuration: &Value,
) -> anyhow::Result<Gateway> {
    let file = folder.write(&format!("{name}.json"), configuration.to_string())?;
    let mut command = Command::new(gatescribe()?);
    command.arg("serve").arg("--config").arg(file);
    if let Some(library) = std::env::var_os("GATESCRIBE_BENCH_PRELOAD") {
        // Another allocator in front of the system's, to compare them on one build.
        command.env("LD_PRELOAD", library);
    }
    let began = Instant::now();
    // A connection without a request would be a record: the admin listener is asked, which begins last.
    let rival = Rival::begin(name, address, admin, &command, folder)?;
    let page = format!("http://{admin}/readyz");
    // Looked at more closely than stories do: this is a figure.
    while !Browser::default()
        .request("GET", &page, "")
        .is_ok_and(|page| page.status == 200)
    {
        ensure!(began.elapsed() < PATIENCE, "the gateway is not ready:\n{}", rival.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Gateway {
        rival,
        ready_after: began.elapsed(),
        ledger: data.join("ledger"),
        seen: 0,
    })
}

/// `GATESCRIBE_BENCH_BINARY`, for comparing two builds of it; else the one beside this program.
fn gatescribe() -> anyhow::Result<PathBuf> {
    match std::env::var_os("GATESCRIBE_BENCH_BINARY") {
        Some(path) => Ok(path.into()),
        None => counterparts::own_binary("gatescribe"),
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub rival: Rival,
    /// From its start until it said that it is ready.
    pub ready_after: Duration,
    ledger: PathBuf,
    seen: u64,
}

/// Records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Reads.
    pub access: u64,
    /// Their ends.
    pub close: u64,
    /// Effects.
    pub intent: u64,
    /// Their ends.
    pub outcome: u64,
    /// Refusals.
    pub refusal: u64,
    /// Streams.
    pub open: u64,
    /// Answers to an ingress.
    pub verdict: u64,
    /// Of effects, those that say what became of their body.
    pub bodies: u64,
    /// Of reads and effects, those with a sealed name beside them.
    pub names: u64,
}

/// Stands in a record with a sealed name.
const NAME: &[u8] = b"\"class\":\"name\"";
/// Stands in a record whose call's body was kept.
const BODY: &[u8] = b",\"body\":{";

impl Gateway {
    /// Counts the records since the last call, once as many calls as `calls` have begun and ended in them.
    ///
    /// # Errors
    /// They do not; the counts are in the error.
    pub fn records(&mut self, calls: u64) -> anyhow::Result<Records> {
        let (mut counts, mut from) = (Records::default(), self.seen);
        let look = || {
            for record in Reader::open(&self.ledger)?.records_from(from) {
                let record = record?;
                from = record.seq + 1;
                match record.kind {
                    RecordKind::Access => {
                        counts.access += 1;
                        counts.names += u64::from(record.leaf.windows(NAME.len()).any(|window| window == NAME));
                    }
                    RecordKind::Close => counts.close += 1,
                    RecordKind::Intent => {
                        counts.intent += 1;
                        counts.names += u64::from(record.leaf.windows(NAME.len()).any(|window| window == NAME));
                        counts.bodies += u64::from(record.leaf.windows(BODY.len()).any(|window| window == BODY));
                    }
                    RecordKind::Outcome => counts.outcome += 1,
                    RecordKind::Refusal => counts.refusal += 1,
                    RecordKind::Open => counts.open += 1,
                    RecordKind::Verdict => counts.verdict += 1,
                    _ => {}
                }
            }
            // A verdict is both: what becomes of the call, the gateway does not see.
            let begun = counts.access + counts.intent + counts.open + counts.verdict;
            let ended = counts.close + counts.outcome + counts.verdict;
            ensure!(begun >= calls && ended >= calls, "{calls} calls, but {counts:?}");
            Ok(())
        };
        try_until("every call is in the ledger with its end", PATIENCE, look)?;
        self.seen = from;
        Ok(counts)
    }

    /// The ledger's folder.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.ledger.clone()
    }

    /// Where configuration and data are.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.rival.folder
    }
}
