//! `gatescribe demo`: the real gateway on a laptop, between embedded stand-ins for the world outside.
//!
//! Provider and Kubernetes API are stand-ins; policy, ledger, proxy and sign-in are the very ones that `serve` runs, on a
//! configuration that is written and checked like anybody's. Nothing is left behind but a folder named by `--keep`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use demo::identity::{Client, Options as ProviderOptions, Provider};
use demo::kubernetes::{Credentials, Options as ClusterOptions, Server};
use serde_json::json;

use crate::Exit;
use crate::config;
use crate::serve::{Gateway, begin_logs, runtime};
use crate::terminal::{fail, say};

/// What the demo is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keep ledger, keys and kubeconfig in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where kubectl will reach the gateway; a free port is taken when this one is busy.
    #[arg(long, default_value_t = 7443)]
    port: u16,
}

/// Runs the command.
pub(crate) fn command(arguments: &Arguments) -> Exit {
    let outcome = runtime().and_then(|runtime| runtime.block_on(run(arguments)));
    match outcome {
        Ok(()) => Exit::Done,
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let began = Instant::now();
    begin_logs(&config::Log {
        level: config::Level::Warn,
        format: config::Format::Text,
    })?;
    let folder = Folder::new(arguments.keep.as_deref())?;
    let ports = Ports::take(arguments.port)?;
    let world = World::start(&ports).await?;
    let files = Files::write(folder.path(), &ports)?;
    let config = configuration(folder.path(), &ports, &world, &files)?;
    let gateway = Gateway::start(&config).await?;
    tell(&ports, &world, &files, began.elapsed());
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    say("\nstopping");
    gateway.stop(Duration::from_secs(2)).await?;
    world.stop().await;
    folder.leave();
    Ok(())
}

/// Where the demo keeps what it writes: a folder of its own that goes, or one that stays.
enum Folder {
    Passing(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        match keep {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
                let whole = folder
                    .canonicalize()
                    .with_context(|| format!("cannot find `{}`", folder.display()))?;
                Ok(Self::Kept(whole))
            }
            None => Ok(Self::Passing(
                tempfile::Builder::new()
                    .prefix("gatescribe-demo-")
                    .tempdir()
                    .context("cannot make a folder")?,
            )),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Passing(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    fn leave(self) {
        match self {
            Self::Passing(folder) => {
                let path = folder.path().display().to_string();
                if let Err(error) = folder.close() {
                    say(&format!("could not remove {path}: {error}"));
                }
            }
            Self::Kept(folder) => say(&format!("kept in {}", folder.display())),
        }
    }
}

/// The addresses of all parts, taken when free.
struct Ports {
    gateway: SocketAddr,
    kubernetes: SocketAddr,
    provider: SocketAddr,
    admin: SocketAddr,
}

impl Ports {
    fn take(wanted: u16) -> anyhow::Result<Self> {
        Ok(Self {
            gateway: free(7000)?,
            kubernetes: free(wanted)?,
            provider: free(7001)?,
            admin: free(7002)?,
        })
    }
}

/// The wanted port of 127.0.0.1, or any other when it is busy.
fn free(wanted: u16) -> anyhow::Result<SocketAddr> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    bind(wanted).or_else(|_| bind(0)).context("no free port on 127.0.0.1")
}

/// The stand-ins.
struct World {
    provider: Provider,
    cluster: Server,
    credentials: Credentials,
    secret: String,
}

impl World {
    async fn start(ports: &Ports) -> anyhow::Result<Self> {
        let (secret, impersonator, observer) = (random()?, random()?, random()?);
        let url = format!("http://{}", ports.gateway);
        let client = Client {
            id: "gatescribe".to_owned(),
            secret: Some(secret.clone()),
            redirect_uris: vec![format!("{url}/callback")],
            post_logout_redirect_uris: vec![format!("{url}/signed-out")],
        };
        let provider = Provider::start(ProviderOptions {
            clients: vec![client],
            ..ProviderOptions::on(ports.provider)
        })
        .await?;
        let credentials = Credentials { impersonator, observer };
        let cluster = Server::start(ClusterOptions::on(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            credentials.clone(),
        ))
        .await?;
        Ok(Self {
            provider,
            cluster,
            credentials,
            secret,
        })
    }

    async fn stop(self) {
        self.provider.stop().await;
        self.cluster.stop().await;
    }
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The gateway's own CA and certificate, and the kubeconfig.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    kubeconfig: PathBuf,
}

impl Files {
    fn write(folder: &Path, ports: &Ports) -> anyhow::Result<Self> {
        let at = |name: &str| folder.join(name);
        let files = Self {
            cert: at("tls.crt"),
            key: at("tls.key"),
            ca: at("ca.crt"),
            kubeconfig: at("kubeconfig"),
        };
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(rcgen::DnType::CommonName, "gatescribe demo");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::DigitalSignature,
        ];
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key))?;
        private(&files.key, key.serialize_pem().as_bytes())?;
        private(&files.cert, leaf.pem().as_bytes())?;
        private(&files.ca, ca_pem.as_bytes())?;
        private(&files.kubeconfig, kubeconfig(ports, &ca_pem)?.as_bytes())?;
        Ok(files)
    }
}

fn private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn kubeconfig(ports: &Ports, ca_pem: &str) -> anyhow::Result<String> {
    let command = std::env::current_exe().context("cannot find this program")?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "demo",
        "clusters": [{ "name": "demo", "cluster": {
            "server": format!("https://{}/clusters/demo", ports.kubernetes), "certificate-authority-data": STANDARD.encode(ca_pem) } }],
        "contexts": [{ "name": "demo", "context": { "cluster": "demo", "user": "demo", "namespace": "shop" } }],
        "users": [{ "name": "demo", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "IfAvailable", "provideClusterInfo": true,
            "args": ["kube", "credential", "--gateway", format!("http://{}", ports.gateway), "--cluster", "demo"] } } }],
    });
    // JSON is YAML.
    Ok(format!("{config:#}\n"))
}

fn configuration(folder: &Path, ports: &Ports, world: &World, files: &Files) -> anyhow::Result<config::Config> {
    let written = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        private(&path, text.as_bytes())?;
        Ok(path)
    };
    let text = json!({
        "apiVersion": "gatescribe.dev/v1",
        "url": format!("http://{}", ports.gateway),
        "dataDir": folder.join("data"),
        "listeners": [
            { "name": "gateway", "address": ports.gateway.to_string(), "serves": ["gateway"] },
            { "name": "kubernetes", "address": ports.kubernetes.to_string(), "serves": ["kubernetes"],
              "tls": { "certFile": files.cert, "keyFile": files.key, "caFile": files.ca } },
        ],
        "admin": { "address": ports.admin.to_string() },
        "identity": { "auditGroups": ["audit"], "providers": [{
            "name": "demo", "issuer": world.provider.issuer(), "clientId": "gatescribe",
            "clientSecret": format!("${{file:{}}}", written("client-secret", &world.secret)?.display()),
        }] },
        "clusters": [{
            "name": "demo", "servers": [world.cluster.url()],
            "impersonator": { "tokenFile": written("impersonator", &world.credentials.impersonator)? },
            "observer": { "tokenFile": written("observer", &world.credentials.observer)? },
        }],
    });
    config::parse("the demo's configuration", &text.to_string())
        .map_err(|problems| anyhow::anyhow!("{}", problems.for_a_person(false, 100)))
}

fn tell(ports: &Ports, world: &World, files: &Files, took: Duration) {
    let program = std::env::args().next().unwrap_or_else(|| "gatescribe".to_owned());
    say(&format!(
        "gatescribe {} demo, ready after {:.1} s\n\n\
         \u{20} ✔ identity provider   {}   people: alice (dev) bob (sre) carol (auditor), no passwords\n\
         \u{20} ✔ kubernetes api      embedded look-alike, {} namespaces, {} pods\n\
         \u{20} ✔ gateway             https://{}   own CA, already in the kubeconfig below\n\
         \u{20} ✔ ledger              durable records in this run's own folder\n\n\
         \u{20} kubectl     export KUBECONFIG={}\n\
         \u{20} then try    kubectl get pods -n shop            asks you to sign in once; choose alice\n\
         \u{20}             kubectl get secrets -n payments     refused, and the refusal says why\n\
         \u{20} no kubectl? {program} login http://{}\n\
         \u{20}             {program} api GET /api/v1/namespaces/shop/pods --cluster demo\n\n\
         \u{20} Everything listens on this machine alone. Nothing here is safe for real use. Ctrl-C stops and removes it.",
        env!("CARGO_PKG_VERSION"),
        took.as_secs_f64(),
        world.provider.issuer(),
        demo::kubernetes::NAMESPACES,
        demo::kubernetes::PODS,
        ports.kubernetes,
        files.kubeconfig.display(),
        ports.gateway,
    ));
}
