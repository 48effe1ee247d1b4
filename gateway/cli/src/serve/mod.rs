//! `gatescribe serve`: the composition root. Every part is made here, in the order in which the parts need one another, and
//! taken down in the reverse one.

mod account_issuers;
pub(crate) mod admin;
mod alarms;
mod api;
mod audit_file;
mod audit_roles;
pub(crate) mod books;
mod can_services;
mod check;
mod chores;
mod clock_steps;
mod cluster;
pub(crate) mod data;
pub(crate) mod erasing;
mod host;
mod identity;
mod ingresses;
mod listeners;
mod locks;
mod logging;
mod measures;
mod metrics;
mod names;
mod origins;
mod outline;
mod part_keys;
mod policy;
pub(crate) mod providers;
mod readiness;
mod recorded;
mod recorder;
mod reload;
mod room;
mod services;
mod sessions;
mod standing;
mod telemetry;
mod through;
mod token_keys;
mod trust_domains;
mod unrecorded;
pub(crate) mod unsigned;
mod witnesses;
mod witnessing;
mod workloads;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use console::{ClusterEntry, GatewayKeys, GatewayUrl, Lifetimes};
use model::ask::{CookieAnswer, CookieQuestion, KeyAnswer, KeyQuestion};
use model::cluster::ClusterId;
use model::time::Timestamp;
use prometheus_client::collector::Collector;
use proxy::ask::{Ask, Asked};
use proxy::audit::{self, Station};
use proxy::clock::Clock;
use proxy::identity::Station as IdentityStation;
use proxy::listener::Running;
use proxy::request::Gate;
use proxy::request::verdict::Verdicts;
use proxy::services::ServiceSide;
use proxy::session::Keeper;
use proxy::site::{Serves as SiteServes, Sites};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::books::Books;
use self::cluster::Joined;
use self::data::DataDir;
use self::measures::Measures;
use crate::config::{self, Config, Serves};
use crate::terminal::fail;
use crate::{Exit, config_command};

/// How long open calls may go on after the process was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// How long threads may take behind that which read or write files.
const THREADS_WITHIN: Duration = Duration::from_secs(5);
/// A verified token counts so long without another look at its session; revocation clears it at once.
const SIGN_IN_CHECK: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) fn command(file: &Path, check: bool) -> Exit {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(error) => return config_command::explain(error),
    };
    let levels = match logging::begin(&config.log) {
        Ok(levels) => levels,
        Err(error) => {
            fail(&error);
            return Exit::Fault;
        }
    };
    // As in `Gateway::start`: what is looked at may speak TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = runtime().and_then(|runtime| {
        let done = runtime.block_on(async {
            if check {
                return Ok(check::run(file, &config).await);
            }
            run(file, config, levels).await.map(|()| Exit::Done)
        });
        leave(runtime, THREADS_WITHIN);
        done
    });
    match done {
        Ok(exit) => exit,
        Err(error) => match error.downcast_ref::<account_issuers::Refused>() {
            Some(refused) => config_command::explain(config::account_issuer(file, refused.place, &refused.cluster)),
            None => {
                fail(&error);
                Exit::Fault
            }
        },
    }
}

/// The runtime of a server.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
}

/// Leaves behind whatever is still at work on a thread of its own: all that has to be kept is kept by now, and as long as the process
/// is there it holds the lock of its ledger against the one that comes after it.
fn leave(runtime: tokio::runtime::Runtime, within: Duration) {
    let began = std::time::Instant::now();
    runtime.shutdown_timeout(within);
    if began.elapsed() >= within {
        tracing::warn!(waited = ?within, "a thread was still at work and is left behind");
    }
}

/// Begins to write logs; once for a process.
pub(crate) fn begin_logs(log: &config::Log) -> anyhow::Result<()> {
    logging::begin(log).map(drop)
}

async fn run(file: &Path, config: Config, levels: logging::Levels) -> anyhow::Result<()> {
    let mut gateway = Gateway::start(&config).await?;
    if let Some(handles) = gateway.handles.take() {
        let reloader = reload::Reloader::new(file.to_owned(), &config, levels, handles);
        tokio::spawn(reloader.follow(gateway.stop.clone()));
    }
    tracing::info!(url = config.url, clusters = config.clusters.len(), "the gateway serves");
    stop_signal().await?;
    tracing::info!("told to stop: no new connections, open calls may end");
    gateway.stop(DRAIN_WITHIN).await
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// Signals cannot be listened for.
pub(crate) async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A running gateway.
pub(crate) struct Gateway {
    ending: books::Ending,
    audit: Arc<Station>,
    gate: Arc<Gate>,
    running: Vec<Running>,
    /// Said first, so that whoever sends requests here sends them elsewhere.
    told_to_stop: CancellationToken,
    stop: CancellationToken,
    traces: Option<tokio::task::JoinHandle<()>>,
    /// Whoever reloads takes them; until then they keep their channels open.
    handles: Option<reload::Handles>,
}

impl Gateway {
    /// Makes and joins every part, and begins to serve.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        // The process may have one only; another part of it may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut made = Made::make(config).await?;
        let gate = made.gate(config)?;
        made.serve(config, gate).await
    }

    /// Stops: no new connections, open calls get `within` to end, the last counts are written, the ledger is closed and
    /// its end signed.
    pub(crate) async fn stop(self, within: Duration) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + within;
        self.told_to_stop.cancel();
        let drains: Vec<_> = self
            .running
            .into_iter()
            .map(|running| tokio::spawn(running.drain(within)))
            .collect();
        for drain in drains {
            let report = drain.await.context("a listener broke while it drained")?;
            tracing::info!(finished = report.finished, cut = report.cut, "a listener has drained");
        }
        // Whoever still learns how a call ended has the rest of the time; what then has no end is "unknown" at the next start.
        let _ = tokio::time::timeout_at(until, self.gate.ended()).await;
        self.stop.cancel();
        telemetry::end(self.traces).await;
        self.audit.write_summaries();
        self.audit.write_gap().await;
        let ending = self.ending;
        let signed = tokio::task::spawn_blocking(move || ending.end());
        signed
            .await
            .context("the ledger's end broke")?
            .context("the ledger's end is not signed")
    }
}

/// Every part behind the gate. Nobody is served yet: a start that fails here has taken no connection.
struct Made {
    url: GatewayUrl,
    data: DataDir,
    stop: CancellationToken,
    clock: Clock,
    books: Books,
    witnessing: Option<witnessing::Witnessing>,
    measures: Measures,
    rule_paths: RulePaths,
    clusters: Vec<Joined>,
    tokens: token_keys::TokenKeys,
    keys: Arc<GatewayKeys>,
    issuers: identity::Believed,
    /// Up to where ends of access were known before anything of this run could be open.
    revision: u64,
    locks: Arc<locks::LockBook>,
    witnesses: Arc<witnesses::Witnesses>,
    identity: Arc<IdentityStation>,
    revisions: watch::Receiver<u64>,
    /// Until somebody answers them.
    cookies: Option<mpsc::Receiver<Asked<CookieQuestion, CookieAnswer>>>,
    sites: Arc<Sites>,
    services: ServiceSide,
    /// How the services stand.
    published: watch::Receiver<Arc<services::Standing>>,
}

impl Made {
    /// Each part behind those that it needs.
    async fn make(config: &Config) -> anyhow::Result<Self> {
        let url = GatewayUrl::parse(&config.url)?;
        let data = DataDir::open(Path::new(&config.data_dir))?;
        let (stop, clock) = (CancellationToken::new(), Clock::system());
        // First, because it takes the ledger's lock: a second gateway on this folder ends here. And it records the start, so that all
        // that this process does stands behind that record.
        let books = Books::open(config, &data, &url, &clock, &stop).await?;
        // Behind the ledger, whose keys it has to know: a gateway is no witness of itself.
        let witnessing = witnessing::begin(config, &data, &url, &books.publisher.keys())
            .context("other ledgers cannot be witnessed")?;
        // Before whatever counts.
        let measures = Measures::begin(config, &stop)?;
        // Before the clusters, which decide by them: with rules that have mistakes nothing starts.
        let (rule_paths, files) = rule_files(&config.policy)?;
        let clusters = join_clusters(config, &files, &measures)?;
        record_policies(&books, &clusters);
        // Before the issuers, since the gateway's own tokens are believed beside theirs; and those behind the clusters, since the
        // accounts of a cluster are believed by its word.
        let (tokens, keys) = token_keys::TokenKeys::begin(config, &data, &url)?;
        let issuers = identity::Believed::begin(config, &url, keys.verifier(), &clusters).await?;
        // Before anybody can be let in: whose access ends from here on is told to what is open.
        let revision = books.store.revision();
        // Before identities are asked for: who is locked out is so from the first call on.
        let (locks, in_force) =
            locks::LockBook::open(&books.store, &measures.calls, &clock).context("who is locked out cannot be read")?;
        let witnesses = witnesses::begin(&config.ledger, &books, &stop).context("witnesses cannot be asked")?;
        let proving = identity::station(config, &url, &books.store, &issuers, &clusters, in_force)?;
        let sites = Arc::new(sites(config, &url, &clusters)?);
        let (services, published) = services::publish(services::Parts {
            url: &url,
            sites: Arc::clone(&sites),
            files,
            metrics: measures.upstream.clone(),
            audit: Arc::clone(&books.audit),
            keys: Arc::clone(&keys),
            only: only_accounts(&clusters),
            clusters: &clusters,
            stop: &stop,
        })
        .context("services cannot be published")?;
        Ok(Self {
            url,
            data,
            stop,
            clock,
            books,
            witnessing,
            measures,
            rule_paths,
            clusters,
            tokens,
            keys,
            issuers,
            revision,
            locks,
            witnesses,
            identity: proving.station,
            revisions: proving.revisions,
            cookies: Some(proving.cookies),
            sites,
            services,
            published,
        })
    }

    /// What every request passes. The keeper begins before it is made, so that each long call is kept from its beginning.
    fn gate(&mut self, config: &Config) -> anyhow::Result<Arc<Gate>> {
        self.keep_long_calls();
        let (console_host, renewals) = gateway_host(config, self)?;
        if let Some(asked) = self.cookies.take() {
            let store = Arc::clone(&self.books.store);
            tokio::spawn(sessions::cookies(store, renewals.clone(), asked));
        }
        let recheck = config.identity.session.recheck.duration();
        let calls = &self.measures.calls;
        tokio::spawn(chores::rechecks(
            renewals,
            Arc::clone(calls),
            recheck,
            self.stop.clone(),
        ));
        let gate = Gate::new(
            Arc::clone(&self.sites),
            Arc::clone(&self.identity),
            Arc::clone(&self.books.audit),
            self.clusters
                .iter()
                .map(|joined| (joined.id.clone(), Arc::clone(&joined.gate)))
                .collect(),
            Arc::clone(calls),
            Arc::new(console_host),
            format!("gatescribe login {}", self.url.as_str()).into(),
        );
        let gate = gate.recording_sessions(self.books.recordings.clone());
        let gate = gate.publishing(self.services.clone());
        Ok(Arc::new(gate.observed_by(Arc::clone(&self.measures.requests))))
    }

    fn keep_long_calls(&self) {
        let stations = self
            .clusters
            .iter()
            .map(|joined| (joined.id.clone(), Arc::clone(&joined.gate.decision)));
        Keeper::new(
            Arc::clone(&self.measures.calls),
            Arc::clone(&self.identity),
            stations.collect(),
            self.clock.clone(),
        )
        .with_services(Arc::clone(&self.services.station))
        .start(&self.stop);
    }

    /// Takes connections, then says so at the administrator's address, then begins what goes on beside requests.
    async fn serve(self, config: &Config, gate: Arc<Gate>) -> anyhow::Result<Gateway> {
        let front = self.witnessing.as_ref().map(|witnessing| &witnessing.front);
        let workloads = trust_domains::Workloads::begin(config)?;
        let peers = ingresses::peers(&config.forward_auth, &self.stop)?;
        let verdicts = Arc::new(Verdicts::new(Arc::clone(&gate), peers));
        let beside = listeners::Beside {
            witness: front,
            verdicts: &verdicts,
        };
        let (running, tls) = listeners::listen(config, &gate, &beside, &self.measures.listeners, &workloads)?;
        let (note, told_to_stop) = (Arc::new(reload::Note::default()), CancellationToken::new());
        let checks = self.checks(config, &note, &told_to_stop, &workloads);
        let collectors = self.collectors();
        let mut registry = self.measures.registry;
        self.books.recordings.metrics.register(&mut registry);
        collectors
            .into_iter()
            .for_each(|collector| registry.register_collector(collector));
        // Behind the listeners: who reads `/readyz` sends people here.
        admin::serve(&config.admin.address, checks, registry, self.stop.clone()).await?;
        self.books.keep_in_order(config, &self.data, &self.clock, &self.stop);
        let ends = chores::Ends {
            store: Arc::clone(&self.books.store),
            calls: Arc::clone(&self.measures.calls),
            locks: self.locks,
            clock: self.clock,
        };
        tokio::spawn(ends.follow(self.revisions, self.revision, self.stop.clone()));
        let handles = reload::Handles {
            audit: Arc::clone(&self.books.audit),
            policy: audit_file::Follower::new(self.books.policy),
            calls: self.measures.calls,
            stations: self
                .clusters
                .iter()
                .map(|joined| Arc::clone(&joined.gate.decision))
                .collect(),
            rules: self.rule_paths,
            tls,
            metrics: self.measures.reload,
            keys: self.issuers.feed,
            tokens: self.tokens,
            note,
        };
        Ok(Gateway {
            ending: self.books.ending,
            audit: self.books.audit,
            gate,
            running,
            told_to_stop,
            stop: self.stop,
            traces: self.measures.traces,
            handles: Some(handles),
        })
    }

    /// What `/readyz` looks at.
    fn checks(
        &self,
        config: &Config,
        note: &Arc<reload::Note>,
        told_to_stop: &CancellationToken,
        workloads: &trust_domains::Workloads,
    ) -> Vec<admin::Part> {
        let books = &self.books;
        readiness::checks(readiness::Parts {
            told_to_stop: told_to_stop.clone(),
            weakened: unrecorded::warning(&config.ledger),
            note: Arc::clone(note),
            ledger: Arc::clone(&books.ledger),
            audit: Arc::clone(&books.audit),
            publisher: Arc::clone(&books.publisher),
            found: Arc::clone(&books.found),
            witnesses: Arc::clone(&self.witnesses),
            store: Arc::clone(&books.store),
            calls: Arc::clone(&self.measures.calls),
            room: books.room(),
            trust: self.issuers.trust.clone(),
            feed: Arc::clone(&self.issuers.feed),
            workloads: workloads.sources(),
            services: self.published.clone(),
            clusters: &self.clusters,
        })
    }

    /// What is counted where it is asked for, in the order in which it is shown.
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let books = &self.books;
        let mut all: Vec<Box<dyn Collector>> = Vec::new();
        if let Some(witnessing) = &self.witnessing {
            all.push(Box::new(Arc::clone(&witnessing.counts)));
        }
        all.push(Box::new(witnesses::WitnessMetrics {
            witnesses: Arc::clone(&self.witnesses),
            clock: now,
        }));
        all.push(Box::new(metrics::Parts {
            ledger: Arc::clone(&books.ledger),
            audit: Arc::clone(&books.audit),
            publisher: Arc::clone(&books.publisher),
            found: Arc::clone(&books.found),
            ledger_dir: books.dir.clone(),
            room: books.room(),
            identity: Arc::clone(&self.identity),
            keys: Arc::clone(&self.issuers.feed),
            clusters: self.clusters.iter().map(watched).collect(),
            clock: now,
        }));
        all
    }
}

/// Has a record written whenever the rules of a cluster change.
fn record_policies(books: &Books, clusters: &[Joined]) {
    for joined in clusters {
        let (audit, id) = (Arc::clone(&books.audit), joined.id.clone());
        tokio::spawn(recorder::policies(audit, Some(id), joined.policies.clone()));
    }
}

fn watched(joined: &Joined) -> metrics::Watched {
    metrics::Watched {
        name: joined.id.as_str().into(),
        gate: Arc::clone(&joined.gate),
        heard: joined.heard.clone(),
    }
}

/// What answers at the gateway's own host: sign-in, discovery, the API.
fn gateway_host(config: &Config, made: &Made) -> anyhow::Result<(host::ConsoleHost, console::Renewals)> {
    let Made {
        url,
        books,
        clusters,
        issuers,
        keys,
        stop,
        ..
    } = made;
    let entries: Arc<[ClusterEntry]> = clusters
        .iter()
        .map(|joined| entry(config, url, joined))
        .collect::<anyhow::Result<_>>()?;
    let document = console::gatescribe_document(url, &entries);
    let (_entries, entries) = keep(entries, stop);
    let api = audit_api(config, made)?;
    let parts = console::Parts {
        lifetimes: lifetimes(&config.identity.session),
        store: Arc::clone(&books.store),
        issuers: Arc::clone(&issuers.ready) as Arc<dyn console::Issuers>,
        clusters: entries,
        recorder: Arc::new(recorder::LedgerRecorder::new(Arc::clone(&books.audit))),
        keys: Arc::clone(keys),
        is_published: services::published(&made.services),
        workloads: Arc::new(workloads::ServiceWorkloads::new(
            &made.identity,
            made.services.station.rules(),
            &made.clock,
        )),
        clock: Arc::new(now),
        url: url.clone(),
    };
    let hosts = console::hosts(parts, api);
    let console_host = host::ConsoleHost::new(hosts.gateway, hosts.services, &document, url.is_secure());
    Ok((console_host, hosts.renewals))
}

fn audit_api(config: &Config, made: &Made) -> anyhow::Result<axum::Router> {
    let Made {
        books,
        clusters,
        measures: Measures { calls, .. },
        locks,
        witnesses,
        keys,
        services,
        ..
    } = made;
    let (grown, durable) = watch::channel(books.ledger.durable().size);
    // Called by the ledger's writer: it only sets a number.
    books.ledger.on_durable(move |size| {
        grown.send_replace(size);
    });
    let size = durable.clone();
    let clusters = clusters
        .iter()
        .map(|joined| (joined.id.clone(), Arc::clone(&joined.gate)))
        .collect();
    let roles = config.identity.audit_roles.iter().map(audit_roles::of);
    Ok(console::api::router(console::api::ApiParts {
        keys: Arc::clone(keys),
        store: Arc::clone(&books.store),
        archive: Arc::new(search::Archive::live(&books.dir, move || *size.borrow()).naming(books.names.clone())),
        durable,
        recorder: Arc::new(api::Readings {
            audit: Arc::clone(&books.audit),
        }),
        explain: Arc::new(api::Evaluators {
            clusters,
            services: services.station.rules(),
        }),
        events: Arc::new(recorder::LedgerRecorder::new(Arc::clone(&books.audit))),
        sessions: Arc::new(recorded::RecordedSessions {
            calls: Arc::clone(calls),
            folder: books.recordings.folder.clone(),
            keys: part_keys::StoredKeys {
                store: Arc::clone(&books.store),
            },
        }),
        services: Arc::new(services::Told {
            standing: made.published.clone(),
            side: made.services.clone(),
        }),
        opener: Arc::new(part_keys::StoredKeys {
            store: Arc::clone(&books.store),
        }),
        proves: Arc::new(api::Proofs::new(books, witnesses)),
        locks: Arc::clone(locks) as Arc<dyn console::api::LocksInForce>,
        erases: Arc::new(erasing::Erasures {
            audit: Arc::clone(&books.audit),
            ledger: Arc::clone(&books.ledger),
            store: Arc::clone(&books.store),
        }),
        audit_groups: config.identity.audit_groups.clone(),
        audit_roles: roles.collect::<anyhow::Result<_>>()?,
        clock: Arc::new(now),
    }))
}

type RulePaths = watch::Sender<Vec<PathBuf>>;

fn rule_files(policy: &config::Policy) -> anyhow::Result<(RulePaths, watch::Receiver<Arc<feeds::rules::RuleFiles>>)> {
    let paths: Vec<PathBuf> = policy.rules.iter().map(PathBuf::from).collect();
    let first = feeds::rules::read(&paths).context("the rule files have mistakes")?;
    first.tell_remarks(&feeds::rules::RuleFiles::default());
    let (publish, files) = watch::channel(Arc::new(first));
    let (rule_paths, paths) = watch::channel(paths);
    tokio::spawn(feeds::rules::keep_fresh(paths, publish));
    Ok((rule_paths, files))
}

fn join_clusters(
    config: &Config,
    files: &watch::Receiver<Arc<feeds::rules::RuleFiles>>,
    measures: &Measures,
) -> anyhow::Result<Vec<Joined>> {
    let (metrics, policy, requests) = (&measures.upstream, &measures.policy, &measures.requests);
    let accounts = config.identity.service_accounts.accept;
    config
        .clusters
        .iter()
        .map(|cluster| cluster::join(cluster, &config.limits, accounts, files, metrics, policy, requests))
        .collect()
}

/// The asking end for newer keys, and where its questions arrive.
fn key_asks() -> (
    Ask<KeyQuestion, KeyAnswer>,
    mpsc::Receiver<Asked<KeyQuestion, KeyAnswer>>,
) {
    Ask::new(256, Duration::from_secs(8), |_| KeyAnswer::Unknown)
}

/// The one cluster whose ServiceAccounts are accepted, if it is one alone.
fn only_accounts(clusters: &[Joined]) -> Option<ClusterId> {
    let mut accepted = clusters.iter().filter(|joined| joined.tokens.is_some());
    match (accepted.next(), accepted.next()) {
        (Some(one), None) => Some(one.id.clone()),
        _ => None,
    }
}

fn sites(config: &Config, url: &GatewayUrl, clusters: &[Joined]) -> anyhow::Result<Sites> {
    let uri: http::Uri = url.as_str().parse().context("`url` is no URL")?;
    let serves = |listener: &config::Listener| SiteServes {
        gateway: listener.serves.contains(&Serves::Gateway),
        kubernetes: listener.serves.contains(&Serves::Kubernetes),
        services: listener.serves.contains(&Serves::Services),
    };
    let listeners: HashMap<Arc<str>, SiteServes> = config
        .listeners
        .iter()
        .map(|listener| (listener.name.as_str().into(), serves(listener)))
        .collect();
    Ok(Sites::new(
        uri.host().unwrap_or_default(),
        clusters.iter().map(|joined| joined.id.clone()),
        listeners,
    ))
}

fn entry(config: &Config, url: &GatewayUrl, joined: &Joined) -> anyhow::Result<ClusterEntry> {
    let name = joined.id.as_str();
    let listener = config
        .listeners
        .iter()
        .find(|listener| listener.serves.contains(&Serves::Kubernetes))
        .context("no listener serves kubernetes")?;
    let uri: http::Uri = url.as_str().parse().context("`url` is no URL")?;
    let host = uri.host().unwrap_or_default();
    let is_address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>()
        .is_ok()
        || host == "localhost";
    let own_listener = !listener.serves.contains(&Serves::Gateway);
    let address: SocketAddr = listener.address.parse().context("a listener's address")?;
    let server = match (is_address || own_listener, own_listener) {
        (true, true) => format!("https://{host}:{}/clusters/{name}", address.port()),
        (true, false) => format!("{}/clusters/{name}", url.as_str()),
        (false, _) => format!(
            "https://{name}.{}",
            uri.authority().map_or(host, http::uri::Authority::as_str)
        ),
    };
    // Clients meet the gateway's certificate, not the cluster's.
    let ca = listener.tls.as_ref().and_then(|tls| tls.ca_file.as_ref());
    let ca_data = ca
        .map(|file| std::fs::read(file).with_context(|| format!("cannot read `{file}`")))
        .transpose()?;
    Ok(ClusterEntry {
        name: name.to_owned(),
        server,
        ca_data: ca_data.map(|pem| base64::engine::general_purpose::STANDARD.encode(pem)),
    })
}

/// A snapshot that stays as it is until the process ends.
fn keep<T: Send + Sync + 'static>(value: T, stop: &CancellationToken) -> (CancellationToken, watch::Receiver<T>) {
    let (sender, receiver) = watch::channel(value);
    let ended = stop.clone();
    tokio::spawn(async move {
        ended.cancelled().await;
        drop(sender);
    });
    (stop.clone(), receiver)
}

fn limits(limits: &config::Limits) -> audit::Limits {
    audit::Limits {
        in_flight: limits.in_flight,
        streams: limits.streams,
        records_per_second: limits.records_per_second,
        bytes_per_day: limits.bytes_per_day.bytes(),
        strangers_per_second: limits.strangers_per_second,
        strangers_bytes_per_second: limits.strangers_bytes_per_second,
        public: audit::PublicLimits {
            in_flight: limits.public_in_flight,
            streams: limits.public_streams,
            records_per_second: limits.public_records_per_second,
            bytes_per_day: limits.public_bytes_per_day.bytes(),
        },
        ..audit::Limits::default()
    }
}

fn lifetimes(session: &config::Session) -> Lifetimes {
    Lifetimes {
        access_token: session.token.duration(),
        idle: session.idle.duration(),
        absolute: session.max.duration(),
        recheck: session.recheck.duration(),
        ..Lifetimes::default()
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_8_no_thread_that_is_at_work_keeps_the_process() {
        let runtime = runtime().unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (ended, has_ended) = std::sync::mpsc::channel();
        runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            let _ = released.recv();
            ended.send(()).unwrap();
        });
        has_begun.recv().unwrap();
        leave(runtime, Duration::from_millis(1));
        assert!(has_ended.try_recv().is_err(), "it is at work still");
        drop(release);
        has_ended.recv().unwrap();
    }

    /// Its rules cannot be read, when its start is recorded.
    #[tokio::test]
    async fn a_start_that_fails_ends_its_ledger_in_order_and_the_next_one_accuses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let config = check::tests::config(folder.path());
        for _ in 0..3 {
            let error = Gateway::start(&config).await.err().unwrap();
            assert!(format!("{error:#}").contains("rules.yaml"), "{error:#}");
            assert!(folder.path().join("data/keys/closed").exists(), "the run has ended");
        }
        let reader = ledger::Reader::open(&folder.path().join("data/ledger")).unwrap();
        let leaves = reader.records_from(0).map(|record| record.unwrap().leaf);
        let leaves: Vec<_> = leaves.map(|leaf| String::from_utf8(leaf).unwrap()).collect();
        assert!(leaves.len() > 6, "{leaves:#?}");
        assert!(!leaves.iter().any(|leaf| leaf.contains("\"unsigned\"")), "{leaves:#?}");
    }
}
