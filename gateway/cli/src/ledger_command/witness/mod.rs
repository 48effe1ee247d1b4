//! `gatescribe ledger witness`: a witness of other people's ledgers (C2SP tlog-witness), for another machine, another site or another
//! team. It keeps one small file per ledger and its key, and knows nothing of gateways. A gateway that is a witness of its replicas (`ledger.witnessFor`) answers the same way.

mod metrics;
mod server;
mod unproved;
mod waiting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use ledger::note::{Algorithm, KeyName, Signer as _, SigningKey};
use ledger::witness::{Place, WhenForgotten, Witness};
use ledger::{Disk, RealDisk};
use prometheus_client::registry::Registry;
use proxy::listener::tls::CertificateStore;
use proxy::listener::{Listener, ListenerConfig, ListenerMetrics, Security};
use tokio_util::sync::CancellationToken;

pub(crate) use self::metrics::Counts;
pub(crate) use self::server::Front;
use super::{Refused, key_of};
use crate::serve::{admin, data};
use crate::{Exit, config, serve};

/// How long requests may go on after the process was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// Connections at once, and of one address: logs are few, and each needs one.
pub(crate) const CONNECTIONS: usize = 512;
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 64;

/// Whom to witness, as whom, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// This witness's key; made at the first start, under `--name`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What a new key is called: an address without `https://`, such as `witness.example.com/w1`.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder of what was cosigned; the key's file name with `.cosigned` behind it when left out. It is what the witness is
    /// for: never put back an older copy of it.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Begin with what the folder holds, though this key has cosigned more: what is forgotten could then be cosigned a second time,
    /// with another history. Refused where nothing is forgotten, so that it cannot be left switched on.
    #[arg(long)]
    danger_begin_anew: bool,
    /// The public key of a log to witness, `NAME+ID+KEY`, or a file with one; again for more. One log may have several, the newest last: what that one
    /// signs is cosigned, or one that followed it as the log has shown, and nothing of the others.
    #[arg(long, required = true, value_name = "KEY|FILE")]
    log: Vec<String>,
    /// The address to listen on. Without a certificate only on loopback.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where `/livez`, `/readyz` and `/metrics` are; nowhere when left out.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// Runs until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Refused> {
    let logs: Vec<_> = arguments.log.iter().map(|log| key_of(log)).collect::<Result<_, _>>()?;
    let fault = |error: anyhow::Error| (Exit::Fault, error);
    serve::begin_logs(&config::Log::default()).map_err(fault)?;
    // As in `Gateway::start`: listening may speak TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let state = state_folder(arguments);
    let marker = marker(&arguments.key);
    let key = key(&arguments.key, arguments.name.as_deref(), &state, &marker).map_err(fault)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&state));
    let forgotten = if arguments.danger_begin_anew {
        tracing::warn!("DANGER: what this witness has forgotten could be cosigned a second time, with another history");
        WhenForgotten::DangerBeginAnew
    } else {
        WhenForgotten::Refuse
    };
    let opened = Witness::open(&disk, &marker, Arc::new(key), logs, Arc::new(serve::now), forgotten);
    let witness = opened.map_err(|error| fault(error.into()))?;
    let runtime = serve::runtime().map_err(fault)?;
    let served = runtime.block_on(listen(arguments, Arc::new(witness)));
    served.map(|()| Exit::Done).map_err(fault)
}

async fn listen(arguments: &Arguments, witness: Arc<Witness>) -> anyhow::Result<()> {
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
    let security = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Security::Tls {
            certificates: Arc::new(CertificateStore::load(&read(certificate)?, &read(key)?)?),
            client_certificates: None,
        },
        _ => Security::PlainLoopback,
    };
    let mut configured = ListenerConfig::new("witness", arguments.listen, security);
    configured.limits.connections = CONNECTIONS;
    configured.limits.connections_per_address = CONNECTIONS_PER_ADDRESS;
    let (mut registry, metrics) = (Registry::default(), Arc::new(ListenerMetrics::default()));
    metrics.register(&mut registry);
    let listener = Listener::bind(configured, metrics)?;
    let address = listener.address();
    tracing::info!(key = %witness.key(), "this witness cosigns: gateways and verifiers need this public key");
    for ((origin, known), key) in witness.known().into_iter().zip(witness.newest_keys()) {
        tracing::info!(
            log = origin,
            known,
            key = %key,
            "this log is witnessed; so many of its records were cosigned"
        );
    }
    let counts = Arc::new(Counts::new(Arc::clone(&witness), serve::now));
    registry.register_collector(Box::new(Arc::clone(&counts)));
    let stop = CancellationToken::new();
    if let Some(admin) = arguments.admin {
        admin::serve(&admin.to_string(), Vec::new(), registry, stop.clone()).await?;
    }
    let running = listener.start(Arc::new(Front::new(witness, counts, serve::now)));
    tracing::info!(%address, "the witness listens");
    serve::stop_signal().await?;
    tracing::info!("told to stop: no new connections, requests may end");
    let report = running.drain(DRAIN_WITHIN).await;
    stop.cancel();
    tracing::info!(finished = report.finished, cut = report.cut, "the witness has drained");
    Ok(())
}

fn state_folder(arguments: &Arguments) -> PathBuf {
    arguments.state.clone().unwrap_or_else(|| {
        let mut name = arguments.key.clone().into_os_string();
        name.push(".cosigned");
        name.into()
    })
}

/// The file beside the key that says how far it has cosigned: the key's name with `.begun` behind it.
pub(crate) fn marker(key: &Path) -> Place {
    let folder = key.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut name = key.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.push_str(".begun");
    Place {
        disk: Arc::new(RealDisk::new(folder.unwrap_or_else(|| Path::new(".")))),
        name,
    }
}

/// The witness's key: made where there is neither key nor folder, and only then. A key without what it has cosigned could cosign a
/// second story; a folder without its key is another witness's.
pub(crate) fn key(file: &Path, name: Option<&str>, state: &Path, marker: &Place) -> anyhow::Result<SigningKey> {
    let known = data::read_key(file)?;
    if let Some(bytes) = known {
        let text = std::str::from_utf8(&bytes).ok();
        let key = text.and_then(|text| text.trim_end().parse::<SigningKey>().ok());
        let key = key.with_context(|| format!("`{}` holds no key of a witness", file.display()))?;
        if let Some(name) = name.filter(|name| *name != key.key().name().as_str()) {
            bail!(
                "the key `{}` is called `{}` and not `{name}`: leave `--name` out, or name another file",
                file.display(),
                key.key().name()
            );
        }
        if !state.is_dir() {
            bail!(
                "the key `{}` is there, and `{}`, what it has cosigned, is not: put the folder back, or begin with a new key \
                 under a new name. Without its memory a witness would cosign another history",
                file.display(),
                state.display()
            );
        }
        return Ok(key);
    }
    let mut files = std::fs::read_dir(state).into_iter().flatten().filter_map(Result::ok);
    if files.any(|file| file.path().extension().is_some_and(|end| end == "cosigned")) {
        bail!(
            "`{}` holds what another key has cosigned, and there is no key `{}`: put the key back, or name an empty folder",
            state.display(),
            file.display()
        );
    }
    let name = name.with_context(|| {
        format!(
            "there is no key `{}` yet: give the new one a name with `--name`",
            file.display()
        )
    })?;
    let name = KeyName::new(name).with_context(|| format!("`{name}` is no name of a key"))?;
    let key = SigningKey::generate(name, Algorithm::Cosignature).context("cannot make the witness's key")?;
    // Folder and marker first: a key without them is refused.
    std::fs::create_dir_all(state).with_context(|| format!("cannot make the folder `{}`", state.display()))?;
    ledger::witness::begin(marker, key.key())?;
    data::write_key(file, format!("{}\n", key.to_private_text().as_str()).as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests;
