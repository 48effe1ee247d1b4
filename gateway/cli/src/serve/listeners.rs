//! The listeners and their certificates, which are read again when their files change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use proxy::listener::tls::{CertificateStore, ClientAuthorities, ClientCertificateRules, TrustedDomains};
use proxy::listener::{Listener, ListenerConfig, ListenerMetrics, Running, Security};
use proxy::request::Gate;
use proxy::request::verdict::Verdicts;
use tokio::sync::watch;

use super::reload::TlsFiles;
use super::trust_domains::Workloads;
use crate::config::{self, Config, Serves};
use crate::ledger_command::witness::{CONNECTIONS, CONNECTIONS_PER_ADDRESS, Front};

/// Where each listener is told of other certificate files, by its name.
pub(super) type TlsSenders = BTreeMap<String, watch::Sender<TlsFiles>>;

/// What answers at listeners that do not serve the gate.
pub(super) struct Beside<'a> {
    /// `serves: [witness]`.
    pub(super) witness: Option<&'a Arc<Front>>,
    /// `serves: [verdict]`.
    pub(super) verdicts: &'a Arc<Verdicts>,
}

/// Who answers at a listener.
enum Answers<'a> {
    Gate,
    Witness(&'a Arc<Front>),
    Verdicts,
}

/// Binds all listeners, then starts them: those that serve `witness` or `verdict` with what answers there, all others with the gate.
///
/// # Errors
/// An address that cannot be had, or a certificate that cannot be used.
pub(super) fn listen(
    config: &Config,
    gate: &Arc<Gate>,
    beside: &Beside<'_>,
    metrics: &Arc<ListenerMetrics>,
    workloads: &Workloads,
) -> anyhow::Result<(Vec<Running>, TlsSenders)> {
    let (mut bound, mut senders) = (Vec::new(), TlsSenders::new());
    for listener in &config.listeners {
        let address: SocketAddr = listener
            .address
            .parse()
            .with_context(|| format!("listener `{}`", listener.name))?;
        let workloads = workloads.of(&listener.name);
        let security = security(listener, &config.forward_auth, workloads, &mut senders)
            .with_context(|| format!("listener `{}`", listener.name))?;
        let mut configured = ListenerConfig::new(&listener.name, address, security);
        configured.limits.connections = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
        let answers = match beside.witness {
            Some(witness) if listener.serves.contains(&Serves::Witness) => Answers::Witness(witness),
            _ if listener.serves.contains(&Serves::Verdict) => Answers::Verdicts,
            _ => Answers::Gate,
        };
        if matches!(answers, Answers::Witness(_)) {
            configured.limits.connections = configured.limits.connections.min(CONNECTIONS);
            configured.limits.connections_per_address = CONNECTIONS_PER_ADDRESS;
        }
        bound.push((Listener::bind(configured, Arc::clone(metrics))?, answers));
    }
    // All are bound before any accepts: a start that fails has served nobody.
    let running = bound.into_iter().map(|(listener, answers)| match answers {
        Answers::Witness(witness) => listener.start(Arc::clone(witness)),
        Answers::Verdicts => listener.start(Arc::clone(beside.verdicts)),
        Answers::Gate => listener.start(Arc::clone(gate)),
    });
    Ok((running.collect(), senders))
}

fn security(
    listener: &config::Listener,
    forward_auth: &config::ForwardAuth,
    workloads: Option<Arc<TrustedDomains>>,
    senders: &mut TlsSenders,
) -> anyhow::Result<Security> {
    let Some(tls) = &listener.tls else {
        return Ok(Security::PlainLoopback);
    };
    let read = |file: &str| std::fs::read(file).with_context(|| format!("cannot read `{file}`"));
    let certificates = Arc::new(CertificateStore::load(&read(&tls.cert_file)?, &read(&tls.key_file)?)?);
    let of_ingresses = forward_auth
        .ca_file
        .as_ref()
        .filter(|_| listener.serves.contains(&Serves::Verdict));
    let of_people = listener.client_certificates.as_ref().map(|clients| &clients.ca_file);
    let authorities = of_ingresses
        .or(of_people)
        .map(|ca_file| anyhow::Ok(Arc::new(ClientAuthorities::load(&read(ca_file)?)?)))
        .transpose()?;
    let asks = authorities.is_some() || workloads.is_some();
    let client_certificates = asks.then(|| ClientCertificateRules {
        authorities: authorities.clone(),
        workloads,
        silent_names: Arc::default(),
    });
    let (sender, files) = watch::channel(TlsFiles {
        tls: tls.clone(),
        clients: listener.client_certificates.clone(),
        ingresses: of_ingresses.cloned(),
    });
    tokio::spawn(reload_certificates(files, Arc::clone(&certificates), authorities));
    senders.insert(listener.name.clone(), sender);
    Ok(Security::Tls {
        certificates,
        client_certificates,
    })
}

/// Compares the files every second; what does not fit keeps the old one and is told once.
async fn reload_certificates(
    files: watch::Receiver<TlsFiles>,
    certificates: Arc<CertificateStore>,
    authorities: Option<Arc<ClientAuthorities>>,
) {
    let pair = |tls: &config::Tls| Some((std::fs::read(&tls.cert_file).ok()?, std::fs::read(&tls.key_file).ok()?));
    let bundle = |files: &TlsFiles| {
        let people = files.clients.as_ref().map(|clients| &clients.ca_file);
        std::fs::read(files.ingresses.as_ref().or(people)?).ok()
    };
    let first = files.borrow().clone();
    let (mut known_pair, mut known_bundle) = (pair(&first.tls), bundle(&first));
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
        let named = files.borrow().clone();
        let (found, found_bundle) = (pair(&named.tls), bundle(&named));
        if let Some((chain, key)) = found.as_ref().filter(|_| found != known_pair) {
            match certificates.reload(chain, key) {
                Ok(()) => tracing::info!(file = named.tls.cert_file, "new serving certificate in effect"),
                Err(error) => {
                    tracing::error!(file = named.tls.cert_file, error = %error, "the new serving certificate cannot be used; the old one stays")
                }
            }
            known_pair = found;
        }
        if let (Some(authorities), Some(pem)) = (
            &authorities,
            found_bundle.as_ref().filter(|_| found_bundle != known_bundle),
        ) {
            match authorities.reload(pem) {
                Ok(()) => tracing::info!("new authorities of client certificates in effect"),
                Err(error) => {
                    tracing::error!(error = %error, "the new authorities of client certificates cannot be used; the old ones stay")
                }
            }
            known_bundle = found_bundle;
        }
    }
}
