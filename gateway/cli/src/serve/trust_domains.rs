//! The bundles of trust domains while the gateway runs: from files, compared every second, and from agents by the Workload API.
//!
//! Of both: whole or not at all, what was good stays while nothing better comes, and `/readyz` says why it may be old. None of it
//! makes the gateway not ready: who has no bundle shuts out its own workloads only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use feeds::workload_api::{self, Standing};
use model::spiffe::{SpiffePattern, TrustDomain};
use proxy::listener::tls::{TrustBundle, TrustedDomain, TrustedDomains};
use tokio::sync::watch;

use super::admin::Health;
use crate::config::{self, Config};

/// How often a file is compared with what was read.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// All trust domains of all listeners.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    listeners: BTreeMap<String, Arc<TrustedDomains>>,
    sources: Vec<Arc<Source>>,
}

/// One trust domain on one listener.
#[derive(Debug)]
pub(super) struct Source {
    listener: String,
    domain: TrustDomain,
    bundle: Arc<TrustBundle>,
    trouble: Mutex<Option<String>>,
}

impl Workloads {
    /// Reads the files and begins to listen to the agents. Within a tokio runtime.
    ///
    /// # Errors
    /// A file that cannot be used. An agent that is away ends no start.
    pub(super) fn begin(config: &Config) -> anyhow::Result<Self> {
        let (mut all, mut agents) = (Self::default(), Agents::default());
        for listener in &config.listeners {
            let mut domains = TrustedDomains::new();
            for written in &listener.workloads {
                let place = || format!("listener `{}`, workloads of `{}`", listener.name, written.trust_domain);
                let (source, accept) = source(&listener.name, written).with_context(place)?;
                begin_one(&source, written, &mut agents).with_context(place)?;
                let bundle = Arc::clone(&source.bundle);
                domains.insert(source.domain.clone(), TrustedDomain { bundle, accept });
                all.sources.push(source);
            }
            if !domains.is_empty() {
                all.listeners.insert(listener.name.clone(), Arc::new(domains));
            }
        }
        Ok(all)
    }

    /// Those of a listener.
    pub(super) fn of(&self, listener: &str) -> Option<Arc<TrustedDomains>> {
        self.listeners.get(listener).map(Arc::clone)
    }

    /// For `/readyz`.
    pub(super) fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }
}

/// Whose names come from nobody else.
pub(super) fn trust_domains(config: &Config) -> Vec<TrustDomain> {
    let written = config.listeners.iter().flat_map(|listener| &listener.workloads);
    let mut all: Vec<_> = written
        .filter_map(|one| TrustDomain::parse(&one.trust_domain).ok())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Looks once, for a check before the start: a file that can be used, an agent that takes a connection.
///
/// # Errors
/// What would be in the way of a start, or would leave a trust domain without workloads.
pub(super) fn look(listener: &config::Listener) -> anyhow::Result<()> {
    for written in &listener.workloads {
        let (source, _) = source(&listener.name, written)?;
        if let Some(file) = &written.bundle_file {
            source.load(&read(file)?).with_context(|| format!("`{file}`"))?;
        }
        if let Some(socket) = written.workload_api.as_deref().and_then(config::socket) {
            std::os::unix::net::UnixStream::connect(socket)
                .with_context(|| format!("nobody answers at `{}`", socket.display()))?;
        }
    }
    Ok(())
}

fn source(listener: &str, written: &config::Workloads) -> anyhow::Result<(Arc<Source>, Option<Vec<SpiffePattern>>)> {
    let accept = written
        .accept
        .as_ref()
        .map(|list| list.iter().map(|text| SpiffePattern::parse(text)).collect());
    let source = Source {
        listener: listener.to_owned(),
        domain: TrustDomain::parse(&written.trust_domain)?,
        bundle: Arc::default(),
        trouble: Mutex::default(),
    };
    Ok((Arc::new(source), accept.transpose()?))
}

/// One feed for each socket, however many trust domains it knows.
type Agents = BTreeMap<PathBuf, watch::Receiver<Standing>>;

fn begin_one(source: &Arc<Source>, written: &config::Workloads, agents: &mut Agents) -> anyhow::Result<()> {
    if let Some(file) = &written.bundle_file {
        let bytes = read(file)?;
        source.load(&bytes).with_context(|| format!("`{file}`"))?;
        tokio::spawn(follow_file(Arc::clone(source), file.clone(), bytes));
    }
    if let Some(socket) = written.workload_api.as_deref().and_then(config::socket) {
        let standing = agents.entry(socket.to_owned()).or_insert_with(|| listened(socket));
        tokio::spawn(follow_agent(Arc::clone(source), standing.clone()));
    }
    Ok(())
}

fn listened(socket: &Path) -> watch::Receiver<Standing> {
    let (sender, standing) = watch::channel(Standing::default());
    tokio::spawn(workload_api::follow(socket.to_owned(), sender));
    standing
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{file}`"))
}

async fn follow_file(source: Arc<Source>, file: String, mut known: Vec<u8>) {
    let mut beat = tokio::time::interval(COMPARE_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut refused = None;
    loop {
        beat.tick().await;
        let trouble = match read(&file) {
            Err(error) => Some(format!("{error:#}")),
            Ok(found) if found == known => refused.clone(),
            Ok(found) => {
                let loaded = source.load(&found).with_context(|| format!("`{file}`"));
                refused = loaded.err().map(|error| format!("{error:#}"));
                known = found;
                refused.clone()
            }
        };
        source.is_troubled(trouble);
    }
}

async fn follow_agent(source: Arc<Source>, mut standing: watch::Receiver<Standing>) {
    let mut known = None;
    loop {
        let now = standing.borrow_and_update().clone();
        let bundle = now
            .bundles
            .as_ref()
            .map(|bundles| bundles.get(&source.domain).cloned().unwrap_or_default());
        let trouble = match &bundle {
            None => {
                source.bundle.unload();
                None
            }
            Some(der) if der.is_empty() => {
                source.bundle.unload();
                Some(format!(
                    "the agent has no authority of the trust domain `{}`",
                    source.domain
                ))
            }
            Some(der) if known.as_ref() == Some(der) => None,
            Some(der) => match source.bundle.reload_der(der) {
                Ok(authorities) => {
                    source.tell(authorities);
                    None
                }
                Err(error) => Some(format!("{:#}", anyhow::Error::new(error))),
            },
        };
        source.is_troubled(trouble.clone().or(now.trouble));
        known = bundle.filter(|_| trouble.is_none());
        if standing.changed().await.is_err() {
            return;
        }
    }
}

impl Source {
    fn load(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let authorities = self.bundle.reload_file(bytes)?;
        self.tell(authorities);
        Ok(())
    }

    fn tell(&self, authorities: usize) {
        tracing::info!(
            listener = self.listener,
            trust_domain = self.domain.as_str(),
            authorities,
            "new bundle of a trust domain in effect"
        );
    }

    /// Each trouble is told once, as long as it stays the same.
    fn is_troubled(&self, trouble: Option<String>) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = trouble.as_ref().filter(|why| known.as_ref() != Some(*why)) {
            let domain = self.domain.as_str();
            tracing::error!(
                listener = self.listener,
                trust_domain = domain,
                why,
                "the bundle of a trust domain may be old"
            );
        }
        *known = trouble;
    }

    pub(super) fn name(&self) -> String {
        format!("workloads of {} on {}", self.domain, self.listener)
    }

    pub(super) fn health(&self) -> Health {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (self.bundle.is_loaded(), trouble) {
            (true, None) => Health::Good,
            (true, Some(why)) => Health::But(format!("their bundle may be old, the last good one counts: {why}")),
            (false, why) => Health::But(format!(
                "none is accepted, their bundle is not known: {}",
                why.as_deref().unwrap_or("nothing was heard yet")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authority, as PEM and DER.
    fn authority() -> (String, Vec<u8>) {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        (certificate.pem(), certificate.der().to_vec())
    }

    fn of(domain: &str) -> Arc<Source> {
        let written = config::Workloads {
            trust_domain: domain.to_owned(),
            bundle_file: None,
            workload_api: None,
            accept: None,
        };
        source("k8s", &written).unwrap().0
    }

    fn says(source: &Source, words: &str) -> bool {
        matches!(source.health(), Health::But(why) if why.contains(words))
    }

    /// In the test's own time.
    async fn a_beat() {
        tokio::time::sleep(COMPARE_EVERY * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_breaks_or_goes_leaves_the_bundle_before_it_and_says_so_until_it_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.pem");
        let (pem, _) = authority();
        std::fs::write(&path, &pem).unwrap();
        let source = of("example.org");
        source.load(pem.as_bytes()).unwrap();
        let file = path.display().to_string();
        let follower = tokio::spawn(follow_file(Arc::clone(&source), file.clone(), pem.clone().into_bytes()));
        a_beat().await;
        assert_eq!(source.health(), Health::Good);
        std::fs::write(&path, "{").unwrap();
        a_beat().await;
        assert!(
            says(&source, "their bundle may be old, the last good one counts: `"),
            "{:?}",
            source.health()
        );
        a_beat().await;
        assert!(says(&source, "is no SPIFFE bundle in JSON"), "as long as it is so");
        std::fs::remove_file(&path).unwrap();
        a_beat().await;
        assert!(says(&source, &format!("cannot read `{file}`")), "{:?}", source.health());
        assert!(source.bundle.is_loaded());
        std::fs::write(&path, "{").unwrap();
        a_beat().await;
        assert!(says(&source, "is no SPIFFE bundle in JSON"), "it came back as it was");
        std::fs::write(&path, authority().0).unwrap();
        a_beat().await;
        assert_eq!(source.health(), Health::Good);
        follower.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_agent_says_counts_for_its_own_trust_domain_and_what_it_says_no_more_is_gone() {
        let (ours, theirs) = (of("example.org"), of("partner.example"));
        let (sender, standing) = watch::channel(Standing::default());
        for source in [&ours, &theirs] {
            tokio::spawn(follow_agent(Arc::clone(source), standing.clone()));
        }
        a_beat().await;
        assert!(says(
            &ours,
            "none is accepted, their bundle is not known: nothing was heard yet"
        ));
        let say = |bundles: &[(&str, Vec<u8>)], trouble: Option<&str>| {
            let named = |(name, der): &(&str, Vec<u8>)| (TrustDomain::parse(name).unwrap(), der.clone().into());
            sender.send_replace(Standing {
                bundles: Some(Arc::new(bundles.iter().map(named).collect())),
                trouble: trouble.map(str::to_owned),
            });
        };
        let der = authority().1;
        say(&[("example.org", der.clone())], None);
        a_beat().await;
        assert_eq!(ours.health(), Health::Good);
        assert!(says(
            &theirs,
            "the agent has no authority of the trust domain `partner.example`"
        ));
        say(
            &[("example.org", b"nonsense".to_vec()), ("partner.example", der.clone())],
            None,
        );
        a_beat().await;
        assert!(says(
            &ours,
            "the last good one counts: an entry of the bundle is not exactly one X.509 certificate"
        ));
        assert_eq!(theirs.health(), Health::Good);
        say(&[("example.org", der.clone())], Some("the agent is away"));
        a_beat().await;
        assert!(
            says(&ours, "the last good one counts: the agent is away"),
            "{:?}",
            ours.health()
        );
        assert!(!theirs.bundle.is_loaded(), "taken back");
        say(&[("example.org", Vec::new())], None);
        a_beat().await;
        assert!(!ours.bundle.is_loaded(), "a trust domain may have no authority");
        say(&[("example.org", der)], None);
        a_beat().await;
        assert_eq!(ours.health(), Health::Good);
        sender.send_replace(Standing {
            bundles: None,
            trouble: Some("denied".to_owned()),
        });
        a_beat().await;
        assert!(says(&ours, "none is accepted, their bundle is not known: denied"));
        assert!(!ours.bundle.is_loaded());
    }
}
