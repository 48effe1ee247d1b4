//! `gatescribe observe`: an existing cluster's audit log in, nothing in the path of its calls.
//!
//! - [`record`] makes a record of an event, [`intake`] sees to it that each stands once in the ledger, [`keep`] holds ledger and key, and [`unproved`] says what
//!   counts of a ledger to which somebody else may have written.
//! - Events come from whole files, from one that is followed ([`follow`]), or from the API server itself ([`hook`]).
//! - What rules would have said is [`insight::replay`]'s.
//!
//! Nothing that is written here is ever a record of the gateway: it has `source: ingested` and stands in a ledger of its own.

mod beside;
mod follow;
mod hook;
mod intake;
mod keep;
mod objects;
mod reading;
mod record;
mod show;
mod unproved;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use access::rbac::{Objects, Snapshot};
use access::rule::RuleSet;
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use insight::replay::{Replay, Rules, Said};
use insight::{Network, ServerEvent};
use model::cluster::ClusterId;
use proxy::listener::tls::{CertificateStore, ClientAuthorities, ClientCertificateRules};
use proxy::listener::{Listener, ListenerConfig, ListenerMetrics, Security};

use self::follow::{Follower, Step};
use self::hook::{Allowed, Hook};
use self::intake::{Intake, Memory};
use self::keep::{Kept, Places};
use self::objects::Given;
use crate::terminal::{data_and, fail, say};
use crate::{Exit, serve, server_log};

/// How often a followed file is looked at; nobody tells us when it grows.
const EVERY: Duration = Duration::from_millis(250);
/// How long requests may go on after the process was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// Connections at once, and of one address: each API server needs a few.
const CONNECTIONS: usize = 256;
const CONNECTIONS_PER_ADDRESS: usize = 64;

/// What is observed, and what is made of it.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("from").required(true).args(["log", "listen"]))]
pub(crate) struct Observe {
    /// The API server's audit log, oldest file first: `audit.k8s.io/v1` events or lists of them, one to a line; `-` for standard
    /// input.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    log: Vec<PathBuf>,
    /// Go on with what the API server writes to the last file, also when it turns to a new one; the ledger keeps where this was.
    #[arg(long, requires = "log", requires = "ledger")]
    follow: bool,
    /// Take events as the API server's webhook backend posts them, at this address.
    #[arg(long, value_name = "ADDRESS", requires_all = ["tls_cert", "tls_key", "ledger"])]
    listen: Option<SocketAddr>,
    /// Certificate chain for that, PEM.
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_key: Option<PathBuf>,
    /// Whoever holds a certificate of this authority may post events.
    #[arg(long, value_name = "FILE", requires = "listen")]
    client_ca: Option<PathBuf>,
    /// Whoever presents the token in this file may post events.
    #[arg(long, value_name = "FILE", requires = "listen")]
    token_file: Option<PathBuf>,
    /// The cluster, as rules name it.
    #[arg(long)]
    cluster: String,
    /// Keep it in a ledger in this folder, which is made when it is not there; its key is kept beside it, in `DIR.keys`. Without it
    /// nothing is written.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Say which calls these rules would have refused: files and folders of access rules and RBAC objects; again for more.
    #[arg(long, value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// RBAC objects and namespaces, as `kubectl get clusterroles,clusterrolebindings,roles,rolebindings,namespaces -A -o json` writes
    /// them; `-` for standard input; again for more. With them, they alone say what RBAC allows; without, the server's own decision does.
    #[arg(long, value_name = "FILE")]
    rbac: Vec<PathBuf>,
    /// Network of balancers before the API server: what they say of where a call came from is believed (`X-Forwarded-For`). Without it,
    /// rules are asked about whoever opened the connection; again for more.
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<Network>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// For whom a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A person.
    Text,
    /// A machine: one JSON object.
    Json,
}

pub(crate) fn run(arguments: &Observe) -> Exit {
    match observe(arguments) {
        Ok((text, exit)) => data_and(&text, exit),
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}

fn observe(arguments: &Observe) -> anyhow::Result<(String, Exit)> {
    let cluster = ClusterId::new(&arguments.cluster)?;
    let follows_input = arguments.follow && arguments.log.last().is_some_and(|file| file.as_os_str() == "-");
    ensure!(
        !follows_input,
        "`--follow` is for files: standard input is read to its end as it is"
    );
    let inputs = arguments.log.iter().chain(&arguments.rbac);
    ensure!(
        inputs.filter(|file| file.as_os_str() == "-").count() <= 1,
        "standard input can be read once: give `-` to one of --log and --rbac"
    );
    let (rules, remarks) = rules(arguments)?;
    ensure!(
        rules.is_some() || arguments.trusted_proxy.is_empty(),
        "`--trusted-proxy` is for rules, and none are given: --policy or --rbac"
    );
    let replay = rules.map(Replay::of);
    let (kept, book, memory) = match &arguments.ledger {
        Some(folder) => {
            let (kept, book, memory) = Kept::open(folder, &cluster)?;
            (Some(kept), Some(book), memory)
        }
        None => (None, None, Memory::default()),
    };
    let places = kept.as_ref().map(|kept| kept.places.clone());
    let intake = Intake::new(cluster, book, memory, replay, Arc::new(serve::now));
    let intake = Arc::new(Mutex::new(intake));
    let read = read(arguments, &intake, places.as_ref());
    // What was read before a fault is kept and signed all the same.
    let closed = kept.map_or(Ok(()), Kept::close);
    read.and(closed)?;
    let intake = lock(&intake);
    let said = intake.replay.as_ref().map(Replay::said);
    let told = show::Told {
        cluster: intake.cluster.as_str(),
        counts: &intake.counts,
        said: said.as_ref(),
        places: places.as_ref(),
        remarks: &remarks,
    };
    // A log that is followed may say nothing for a while; one that is read whole and holds no event is the wrong file.
    let is_whole = !arguments.follow && arguments.listen.is_none();
    let is_empty = is_whole && intake.counts.covers.is_none();
    let unread = intake.counts.unreadable + intake.counts.gaps;
    let exit = exit_of(unread, is_empty, said.as_ref());
    let text = match arguments.output {
        Output::Text => show::in_words(&told),
        Output::Json => show::as_json(&told),
    };
    Ok((text, exit))
}

/// What was not read comes before what rules would have refused.
fn exit_of(unreadable: u64, nothing: bool, said: Option<&Said>) -> Exit {
    match () {
        () if unreadable > 0 || nothing => Exit::Partly,
        () if said.is_some_and(|said| said.calls.refused > 0) => Exit::No,
        () => Exit::Done,
    }
}

fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rules that are asked, and what is to say of them; nothing where none were given.
fn rules(arguments: &Observe) -> anyhow::Result<(Option<Rules>, Vec<String>)> {
    if arguments.policy.is_empty() && arguments.rbac.is_empty() {
        return Ok((None, Vec::new()));
    }
    let files = feeds::rules::read(&arguments.policy).context("the rules cannot be used")?;
    let mut given = Given::default();
    for file in &arguments.rbac {
        given.read(file)?;
    }
    given.fill();
    let mut remarks: Vec<String> = files.policy.remarks.iter().map(ToString::to_string).collect();
    if given.others > 0 {
        remarks.push(format!(
            "{} objects of --rbac are neither RBAC nor namespaces: not used",
            given.others
        ));
    }
    let Objects {
        roles,
        cluster_roles,
        role_bindings,
        cluster_role_bindings,
    } = files.policy.rbac;
    let has_own =
        !(roles.is_empty() && cluster_roles.is_empty() && role_bindings.is_empty() && cluster_role_bindings.is_empty());
    let has_rbac = has_own || given.has_rbac();
    given.objects.roles.extend(roles);
    given.objects.cluster_roles.extend(cluster_roles);
    given.objects.role_bindings.extend(role_bindings);
    given.objects.cluster_role_bindings.extend(cluster_role_bindings);
    let rules = Rules {
        cluster: arguments.cluster.clone(),
        rules: RuleSet::new(files.policy.rules),
        rbac: has_rbac.then(|| Snapshot::new(&given.objects)),
        namespaces: given.namespaces,
        balancers: arguments.trusted_proxy.clone(),
    };
    ensure!(
        !rules.is_empty(),
        "the files of --policy and --rbac hold no rule and no RBAC object"
    );
    if rules.in_shadow() > 0 {
        remarks.push(format!(
            "{} rules are in shadow mode and refuse nothing",
            rules.in_shadow()
        ));
    }
    Ok((Some(rules), remarks))
}

fn read(arguments: &Observe, intake: &Arc<Mutex<Intake>>, places: Option<&Places>) -> anyhow::Result<()> {
    if let Some(address) = arguments.listen {
        return listen(arguments, address, intake);
    }
    let (whole, followed) = match arguments.log.split_last() {
        Some((last, before)) if arguments.follow => (before, Some(last)),
        _ => (&*arguments.log, None),
    };
    // Opened before the others are read, which may take long: it may be turned over meanwhile.
    let follower = followed.map(|file| Follower::new(file, places.map(Places::state), Arc::clone(intake)));
    let follower = follower.transpose()?;
    for file in whole {
        read_whole(file, &mut lock(intake))?;
    }
    match follower {
        Some(follower) => follow(follower, whole.len(), intake),
        None => Ok(()),
    }
}

fn read_whole(file: &Path, intake: &mut Intake) -> anyhow::Result<()> {
    let mut events: Vec<ServerEvent> = Vec::new();
    server_log::each_line(file, &mut |at, line| {
        let place = |_| format!("{}:{}", file.display(), at.number);
        match line {
            Ok(line) => drop(intake.line(&mut events, at.byte, line, &place)?),
            Err(too_long) => intake.unreadable(&place(0), (at.byte, 0), &too_long.digest(), &too_long.to_string()),
        }
        Ok(())
    })?;
    intake.take(&events)
}

/// Says what rules would have refused, as soon as it is of a new kind.
fn tell_fresh(intake: &Mutex<Intake>) {
    let fresh = lock(intake).replay.as_mut().map(Replay::take_fresh);
    for group in fresh.unwrap_or_default() {
        say(&show::at_once(&group));
    }
}

/// `named` other files were read before it.
fn follow(mut follower: Follower, named: usize, intake: &Arc<Mutex<Intake>>) -> anyhow::Result<()> {
    let runtime = serve::runtime()?;
    let over = Arc::new(AtomicBool::new(false));
    let (told, intake) = (Arc::clone(&over), Arc::clone(intake));
    if follower.older > named {
        say(&format!(
            "! {} older files stand beside it, and {named} are named: what is in the others is not read. To have it, name them before it, \
             oldest first",
            follower.older
        ));
    }
    say(&format!(
        "follows `{}`; Ctrl-C ends it with a summary",
        follower.path().display()
    ));
    runtime.block_on(async move {
        let followed = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            while !told.load(Ordering::Acquire) {
                match follower.step()? {
                    Step::Read => tell_fresh(&intake),
                    Step::Nothing => std::thread::park_timeout(EVERY),
                }
            }
            // What is not read yet is read by the next run: an end does not wait for a log of any length.
            Ok(())
        });
        let mut followed = followed;
        tokio::select! {
            stopped = serve::stop_signal() => {
                over.store(true, Ordering::Release);
                stopped?;
                followed.await.context("the follower has failed")?
            }
            ended = &mut followed => ended.context("the follower has failed")?,
        }
    })
}

fn listen(arguments: &Observe, address: SocketAddr, intake: &Arc<Mutex<Intake>>) -> anyhow::Result<()> {
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
    let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else {
        anyhow::bail!("`--tls-cert` and `--tls-key` are needed: events name people and what they do");
    };
    ensure!(
        arguments.client_ca.is_some() || arguments.token_file.is_some(),
        "`--client-ca` or `--token-file` is needed: whoever may post events can say anything of anybody"
    );
    // As in `Gateway::start`: listening may speak TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client_certificates = match &arguments.client_ca {
        Some(file) => Some(ClientCertificateRules {
            authorities: Some(Arc::new(ClientAuthorities::load(&read(file)?)?)),
            workloads: None,
            silent_names: Arc::default(),
        }),
        None => None,
    };
    let token = arguments.token_file.as_deref().map(read).transpose()?;
    let token = token.map(|token| token.trim_ascii().to_vec());
    ensure!(
        token.as_ref().is_none_or(|token| token.len() >= 16),
        "the token of `--token-file` is shorter than 16 bytes"
    );
    let allowed = Allowed {
        certificates: client_certificates.is_some(),
        token: token.as_deref().map(hook::digest),
    };
    let security = Security::Tls {
        certificates: Arc::new(CertificateStore::load(&read(certificate)?, &read(key)?)?),
        client_certificates,
    };
    let mut configured = ListenerConfig::new("observe", address, security);
    configured.limits.connections = CONNECTIONS;
    configured.limits.connections_per_address = CONNECTIONS_PER_ADDRESS;
    serve::runtime()?.block_on(async {
        let listener = Listener::bind(configured, Arc::new(ListenerMetrics::default()))?;
        let address = listener.address();
        let told = Arc::clone(intake);
        let running = listener.start(Arc::new(Hook::new(Arc::clone(intake), allowed, move || {
            tell_fresh(&told)
        })));
        say(&format!(
            "takes events at https://{address}; Ctrl-C ends it with a summary"
        ));
        serve::stop_signal().await?;
        let report = running.drain(DRAIN_WITHIN).await;
        if report.cut > 0 {
            say(&format!(
                "{} requests were cut; the API server sends them again",
                report.cut
            ));
        }
        Ok(())
    })
}
