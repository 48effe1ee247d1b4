//! The configuration while running: read again at SIGHUP and when the file changes. Whole or not at all: everything that
//! the new file names is read and checked before anything of it counts. What cannot change without a restart is said by
//! name and keeps its old value; a file with mistakes leaves the old configuration in force and says so. SIGHUP has the
//! issuers' keys fetched, too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use proxy::audit::Station;
use proxy::decision;
use proxy::listener::tls::{CertificatePair, ClientAuthorities};
use proxy::session::Registry as LongCalls;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::admin::Health;
use super::logging::Levels;
use super::metrics::ReloadMetrics;
use super::{audit_file, recorder, token_keys};
use crate::config::{self, Config, ConfigError};

/// How often the file is compared with what was read; a projected volume swaps links, which watches of files miss.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// The files of one listener's certificates.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    pub(super) tls: config::Tls,
    pub(super) clients: Option<config::ClientCertificates>,
    /// The authorities of ingresses that ask for verdicts here.
    pub(super) ingresses: Option<String>,
}

/// What takes a new value while running.
pub(super) struct Handles {
    pub(super) audit: Arc<Station>,
    pub(super) policy: audit_file::Follower,
    pub(super) calls: Arc<LongCalls>,
    pub(super) stations: Vec<Arc<decision::Station>>,
    pub(super) rules: watch::Sender<Vec<PathBuf>>,
    pub(super) tls: BTreeMap<String, watch::Sender<TlsFiles>>,
    pub(super) metrics: ReloadMetrics,
    /// The issuers' keys, which a signal has fetched at once.
    pub(super) keys: Arc<feeds::issuers::IssuerFeed>,
    /// Of the gateway's own tokens.
    pub(super) tokens: token_keys::TokenKeys,
    /// What a person should know about the last reload.
    pub(super) note: Arc<Note>,
}

impl Handles {
    /// Records what takes effect only with a record, all of it at once, and then lets it count.
    ///
    /// # Errors
    /// The ledger cannot take the record: nothing counts.
    async fn put(
        &mut self,
        new: &Config,
        policy: Option<audit_file::Read>,
        tokens: token_keys::Next,
    ) -> anyhow::Result<()> {
        let (file, said) = (self.policy.change(policy.as_ref()), self.tokens.change(&tokens));
        if file.is_some() || said.is_some() {
            let config = said.as_deref().map(|said| (new, said));
            recorder::in_effect(&self.audit, file.as_ref(), config).await?;
        }
        self.policy.take(&self.audit, policy);
        self.tokens.take(&self.keys, tokens);
        Ok(())
    }
}

/// What `/readyz` says about the configuration.
#[derive(Debug, Default)]
pub(super) struct Note {
    file: Mutex<Option<String>>,
    audit_policy: Mutex<Option<String>>,
}

impl Note {
    fn set(&self, text: Option<String>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn set_audit_policy(&self, text: Option<String>) {
        *self.audit_policy.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(super) fn health(&self) -> Health {
        let texts = [&self.file, &self.audit_policy]
            .into_iter()
            .filter_map(|text| text.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let texts: Vec<String> = texts.collect();
        if texts.is_empty() {
            return Health::Good;
        }
        Health::But(texts.join("; "))
    }
}

/// Follows one file.
pub(super) struct Reloader {
    file: PathBuf,
    /// The configuration of the start: what needs a restart stays as it was there.
    started: Value,
    read: Option<Vec<u8>>,
    levels: Levels,
    handles: Handles,
}

impl Reloader {
    pub(super) fn new(file: PathBuf, started: &Config, levels: Levels, handles: Handles) -> Self {
        handles.metrics.in_force(0);
        Self {
            read: std::fs::read(&file).ok(),
            file,
            started: serde_json::to_value(started).unwrap_or_default(),
            levels,
            handles,
        }
    }

    /// Reloads at SIGHUP and at changes of the file, until `stop`.
    pub(super) async fn follow(mut self, stop: CancellationToken) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(error = %error, "SIGHUP cannot be listened for; changes of the file are taken all the same");
                None
            }
        };
        let mut beat = tokio::time::interval(COMPARE_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = hung_up(&mut hangup) => true,
                _ = beat.tick() => false,
                () = stop.cancelled() => return,
            };
            if asked {
                // Whatever the file says: a key that leaked and was withdrawn must not count until the next look.
                self.handles.keys.fetch_now();
            }
            // A file that is being replaced is not there for a moment; a reload that was asked for says so.
            let found = std::fs::read(&self.file).ok();
            if asked || (found.is_some() && found != self.read) {
                self.read = found;
                self.reload().await;
            }
            let audit = Arc::clone(&self.handles.audit);
            self.handles.policy.look(&audit).await;
            self.handles.note.set_audit_policy(self.handles.policy.trouble());
        }
    }

    async fn reload(&mut self) {
        match self.take().await {
            Ok(waiting) if waiting.is_empty() => {
                self.handles.metrics.in_force(0);
                self.handles.note.set(None);
                tracing::info!(file = %self.file.display(), "the configuration was read again and is in force");
            }
            Ok(waiting) => {
                let names = waiting.join(", ");
                self.handles.metrics.in_force(waiting.len());
                tracing::warn!(file = %self.file.display(), keys = names, "the configuration was read again; these changes need a restart and do not count yet");
                self.handles
                    .note
                    .set(Some(format!("these changes need a restart: {names}")));
            }
            Err(why) => {
                let why = format!("{why:#}");
                self.handles.metrics.refused();
                tracing::error!(file = %self.file.display(), why, "the new configuration cannot be used; the old one stays in force");
                self.handles.note.set(Some(format!(
                    "the configuration file cannot be used, the old one stays in force: {why}"
                )));
            }
        }
    }

    /// Takes the file as it is now; answers which changes have to wait for a restart.
    async fn take(&mut self) -> anyhow::Result<Vec<String>> {
        let new = config::load(&self.file).map_err(in_one_line)?;
        let mut waiting = differences(&self.started, &serde_json::to_value(&new).unwrap_or_default());
        waiting.retain(|key| !is_live(key));
        let paths: Vec<PathBuf> = new.policy.rules.iter().map(PathBuf::from).collect();
        feeds::rules::read(&paths).context("the rule files have mistakes")?;
        let policy = audit_file::read(&new).context("the audit policy has mistakes")?;
        let tls = self.certificates(&new)?;
        let tokens = self
            .handles
            .tokens
            .read(&new)
            .context("the gateway's tokens cannot be signed")?;
        if self.levels.from_environment && new.log.level != self.levels.at_start {
            waiting.push("log.level (RUST_LOG is set and counts)".to_owned());
        }
        self.handles
            .put(&new, policy, tokens)
            .await
            .context("what would change cannot be recorded")?;
        // From here on nothing fails: it counts as a whole.
        self.levels.set(new.log.level);
        self.handles.audit.budgets().set_limits(super::limits(&new.limits));
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        self.handles.calls.set_most(number(new.limits.long_calls));
        for station in &self.handles.stations {
            station.set_max_groups(number(new.limits.groups));
        }
        self.handles.rules.send_replace(paths);
        for (listener, files) in tls {
            if let Some(sender) = self.handles.tls.get(&listener) {
                sender.send_replace(files);
            }
        }
        Ok(waiting)
    }

    /// The certificates of all listeners that take new ones, each pair read and checked.
    fn certificates(&self, new: &Config) -> anyhow::Result<Vec<(String, TlsFiles)>> {
        let read = |file: &str| std::fs::read(file).with_context(|| format!("cannot read `{file}`"));
        let mut all = Vec::new();
        for listener in &new.listeners {
            let (Some(tls), Some(sender)) = (&listener.tls, self.handles.tls.get(&listener.name)) else {
                continue;
            };
            let place = || format!("listener `{}`", listener.name);
            CertificatePair::from_pem(&read(&tls.cert_file)?, &read(&tls.key_file)?).with_context(place)?;
            // Whether client certificates are asked for was agreed on at the start.
            let clients = listener
                .client_certificates
                .clone()
                .filter(|_| sender.borrow().clients.is_some());
            if let Some(clients) = &clients {
                ClientAuthorities::load(&read(&clients.ca_file)?).with_context(place)?;
            }
            let of_listener = TlsFiles {
                tls: tls.clone(),
                clients,
                ingresses: sender.borrow().ingresses.clone(),
            };
            all.push((listener.name.clone(), of_listener));
        }
        Ok(all)
    }
}

async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn in_one_line(error: ConfigError) -> anyhow::Error {
    match error {
        ConfigError::Wrong(problems) => {
            let each = problems.list().iter().map(|problem| {
                let (line, column) = problems.line_and_column(problem);
                format!("{line}:{column}: {}", problem.what)
            });
            anyhow::anyhow!("{}", each.collect::<Vec<_>>().join("; "))
        }
        error => anyhow::Error::new(error),
    }
}

/// Keys whose new value counts without a restart.
fn is_live(key: &str) -> bool {
    let limit = key.starts_with("limits.") && key != "limits.connections";
    let certificate = key.starts_with("listeners[")
        && [".tls.certFile", ".tls.keyFile", ".clientCertificates.caFile"]
            .iter()
            .any(|ending| key.ends_with(ending));
    let files = key == "policy.rules" || key == "audit.policyFile";
    let token_keys = key == "identity.tokenKeyFiles" || key.starts_with("identity.tokenKeyFiles[");
    limit || certificate || files || token_keys || key == "log.level" || key.starts_with("policy.rules[")
}

/// The keys that differ, as a person writes them: `listeners[0].address`.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(String::new(), old, new, &mut found);
    found
}

fn walk(place: String, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let at = if place.is_empty() {
                    name.clone()
                } else {
                    format!("{place}.{name}")
                };
                let member = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                walk(at, &member(old), &member(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (number, (old, new)) in old.iter().zip(new).enumerate() {
                walk(format!("{place}[{number}]"), old, new, found);
            }
        }
        (old, new) if old != new => found.push(place),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use console::GatewayUrl;
    use ledger::sim::{Fault, SimDisk};
    use ledger::{Disk, Ledger, Options, Reader};
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use proxy::session::LongCallMetrics;

    use super::super::data::DataDir;
    use super::*;

    /// What is in force, on a ledger of this disk.
    fn handles(disk: &SimDisk, config: &Config, folder: &Path) -> Handles {
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 32,
            outcome_bytes: 512,
            probe_every: Duration::MAX,
            ..Options::default()
        };
        let (ledger, _) = Ledger::open(Path::new("ledger"), options, Arc::new(disk.clone())).unwrap();
        let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
        let url = GatewayUrl::parse(&config.url).unwrap();
        let data = DataDir::open(&folder.join("data")).unwrap();
        let (tokens, signs) = token_keys::TokenKeys::begin(config, &data, &url).unwrap();
        let issuers = Arc::new(oidc::Issuers::new([]).unwrap());
        let (keys, _) = feeds::issuers::IssuerFeed::new(issuers, Vec::new(), signs.verifier());
        Handles {
            audit: Station::new(Arc::new(ledger), clock, "boot".into(), Limits::default()),
            policy: audit_file::Follower::default(),
            calls: LongCalls::new(8, LongCallMetrics::default()),
            stations: Vec::new(),
            rules: watch::channel(Vec::new()).0,
            tls: BTreeMap::new(),
            metrics: ReloadMetrics::default(),
            keys,
            tokens,
            note: Arc::default(),
        }
    }

    /// Wherever the ledger's disk dies: an audit policy and keys of tokens that come together count both or neither, and so say the
    /// records.
    #[tokio::test]
    async fn a_policy_and_keys_that_come_together_count_both_or_neither() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = super::super::check::tests::config(folder.path());
        let mut outcomes = [0, 0];
        for dies in 0..12 {
            let disk = SimDisk::new(dies);
            config.audit.policy_file = None;
            config.identity.token_key_files = Vec::new();
            let mut handles = handles(&disk, &config, folder.path());
            let key = folder.path().join("key.pem");
            std::fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
            let file = folder.path().join("audit.yaml");
            let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";
            std::fs::write(&file, policy).unwrap();
            config.audit.policy_file = Some(file.display().to_string());
            config.identity.token_key_files = vec![key.display().to_string()];
            let policy = || audit_file::read(&config).unwrap();
            let tokens = |handles: &Handles| handles.tokens.read(&config).unwrap();
            if dies < 10 {
                disk.fail_after(dies, Fault::Crash);
            }
            let next = tokens(&handles);
            let put = handles.put(&config, policy(), next).await.is_ok();
            let counts = [
                handles.policy.change(policy().as_ref()).is_none(),
                handles.tokens.change(&tokens(&handles)).is_none(),
            ];
            assert_eq!(counts, [put; 2], "{dies}");
            outcomes[usize::from(put)] += 1;
            let whole: Arc<dyn Disk> = Arc::new(disk.copy(0));
            let records = Reader::open_on(whole).unwrap().records_from(0).map_while(Result::ok);
            let records = records.map(|record| serde_json::from_slice::<Value>(&record.leaf).unwrap());
            let said: Vec<Value> = records
                .filter(|record| record.get("policy").is_some() || record.get("config").is_some())
                .collect();
            assert!(said.len() <= 1, "{said:?}");
            if put {
                assert_eq!(said[0]["kind"], "policy");
                assert!(said[0].get("policy").is_some() && said[0].get("config").is_some());
                let note = said[0]["note"].as_str().unwrap();
                let begins = "audit policy in effect; tokens are signed with key ";
                assert!(note.starts_with(begins), "{note}");
            }
        }
        assert!(outcomes.into_iter().all(|count| count > 0), "{outcomes:?}");
    }

    #[test]
    fn differences_are_named_as_they_are_written() {
        let old = serde_json::json!({"url": "a", "listeners": [{"address": "x", "tls": {"certFile": "1"}}], "log": {}});
        let new = serde_json::json!({"url": "b", "listeners": [{"address": "y", "tls": {"certFile": "2"}}], "log": {"level": "debug"},
                                     "clusters": [1]});
        let found = differences(&old, &new);
        assert_eq!(
            found,
            [
                "listeners[0].address",
                "listeners[0].tls.certFile",
                "log.level",
                "url",
                "clusters"
            ]
        );
        let waiting: Vec<_> = found.iter().filter(|key| !is_live(key)).collect();
        assert_eq!(waiting, ["listeners[0].address", "url", "clusters"]);
    }

    #[test]
    fn every_limit_but_that_of_connections_counts_at_once() {
        let limits = serde_json::to_value(config::Limits::default()).unwrap();
        let waiting: Vec<_> = limits
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !is_live(&format!("limits.{name}")))
            .collect();
        assert_eq!(waiting, ["connections"]);
    }

    #[test]
    fn a_limit_that_is_fixed_at_the_start_is_not_called_live() {
        assert!(
            is_live("limits.inFlight")
                && is_live("audit.policyFile")
                && is_live("policy.rules[1]")
                && is_live("identity.tokenKeyFiles")
                && is_live("identity.tokenKeyFiles[0]")
                && is_live("listeners[3].clientCertificates.caFile")
        );
        assert!(!is_live("identity.tokenKeyFilesToo") && !is_live("identity.session.token"));
        assert!(!is_live("limits.connections") && !is_live("listeners[0].tls.caFile") && !is_live("log.format"));
    }
}
