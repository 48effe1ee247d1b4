//! The ingresses that may ask for verdicts. Their secrets are read again when their files change.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use proxy::request::verdict::{Peers, Secrets};
use tokio_util::sync::CancellationToken;

use crate::config::{ForwardAuth, IngressPeer};

/// Between two readings of the files.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of a file. No secret is longer.
const MOST: usize = 4_096;

/// Who may ask, kept as its files are until `stop`. Within a tokio runtime.
///
/// # Errors
/// A file cannot be read, or holds no secret.
pub(super) fn peers(config: &ForwardAuth, stop: &CancellationToken) -> anyhow::Result<Arc<Peers>> {
    let secrets = secrets(&config.peers).context("the secrets of `forwardAuth.peers`")?;
    let by_certificate = config.peers.iter().filter(|peer| !peer.certificate_names.is_empty());
    let certificates = by_certificate.map(|peer| {
        let names = peer.certificate_names.iter().map(|name| name.as_str().into());
        (Arc::from(peer.name.as_str()), names.collect())
    });
    let peers = Arc::new(Peers::new(certificates.collect(), secrets.clone()));
    if config.peers.iter().any(|peer| !peer.secret_files.is_empty()) {
        tokio::spawn(follow(config.peers.clone(), secrets, Arc::clone(&peers), stop.clone()));
    }
    Ok(peers)
}

/// What cannot be used keeps the old ones, and is told once.
async fn follow(config: Vec<IngressPeer>, mut known: Secrets, peers: Arc<Peers>, stop: CancellationToken) {
    let mut beat = tokio::time::interval(EVERY);
    let mut is_told = false;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        match secrets(&config) {
            Ok(found) => {
                if found != known {
                    tracing::info!("new secrets of ingresses in effect");
                    peers.replace(found.clone());
                    known = found;
                }
                is_told = false;
            }
            Err(error) if !is_told => {
                let error = format!("{error:#}");
                tracing::error!(error, "the new secrets of ingresses cannot be used; the old ones stay");
                is_told = true;
            }
            Err(_) => {}
        }
    }
}

fn secrets(peers: &[IngressPeer]) -> anyhow::Result<Secrets> {
    let mut held = Vec::new();
    for peer in peers {
        for file in &peer.secret_files {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
            anyhow::ensure!(bytes.len() <= MOST, "`{file}` is longer than any secret");
            held.push((Arc::from(peer.name.as_str()), bytes));
        }
    }
    Ok(Secrets::new(
        held.iter().map(|(peer, bytes)| (Arc::clone(peer), bytes.as_slice())),
    )?)
}
