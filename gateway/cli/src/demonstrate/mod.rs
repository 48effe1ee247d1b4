//! `gatescribe demo`: the real gateway on a laptop, between embedded stand-ins for the world outside.
//!
//! Provider and Kubernetes API are stand-ins; policy, ledger, proxy and sign-in are the very ones that `serve` runs, on a
//! configuration that is written and checked like anybody's. Nothing is left behind but a folder named by `--keep`,
//! however the demo ends: Ctrl-C, SIGTERM, SIGHUP, a failed start, a panic.

mod borrowed;
mod browse;
mod place;
mod sample;
mod script;
mod signal;
mod words;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::Exit;
use crate::client::signin::Surroundings;
use crate::config;
use crate::serve::{Gateway, begin_logs, runtime};
use crate::terminal::{fail, say};
use borrowed::Borrowed;
use place::{Files, Folder, Ports};
use sample::Written;
use signal::Told;
use world::{Cluster, People};

/// How long open calls may go on, and what is still being written may take.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What the demo is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keep ledger, keys and kubeconfig in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where kubectl will reach the gateway; a free port is taken when this one is busy.
    #[arg(long, default_value_t = 7443)]
    port: u16,
    /// Perform the whole story by itself, print it, and stop.
    #[arg(long)]
    script: bool,
    /// Put the gateway in front of this real cluster: a context of your kubeconfig. Says first what it would create there.
    #[arg(long, value_name = "CONTEXT", conflicts_with = "script")]
    cluster: Option<String>,
    /// Create it without asking.
    #[arg(long, requires = "cluster")]
    yes: bool,
    #[command(subcommand)]
    helper: Option<Helper>,
}

/// What belongs to the demo and is not the demo.
#[derive(Debug, clap::Subcommand)]
enum Helper {
    /// Sign in to the demo without a browser: name it in BROWSER.
    #[command(
        hide = true,
        after_help = "Examples:\n  export BROWSER='gatescribe demo browse alice'\n  BROWSER='gatescribe demo browse bob' \
        gatescribe login http://127.0.0.1:7002\n\nExit codes: 0 signed in, 3 not signed in\nSee also: gatescribe login"
    )]
    Browse(browse::Arguments),
}

/// Runs the command.
pub(crate) fn command(arguments: &Arguments) -> Exit {
    if let Some(Helper::Browse(browse)) = &arguments.helper {
        return browse::command(browse);
    }
    match whole(arguments) {
        Ok(exit) => exit,
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}

/// The folder outlives the runtime and everything that runs in it, so that nobody writes into it while it goes.
fn whole(arguments: &Arguments) -> anyhow::Result<Exit> {
    // Warnings would be about the stand-ins coming and going.
    begin_logs(&config::Log {
        level: config::Level::Error,
        format: config::Format::Text,
    })?;
    let runtime = runtime()?;
    let mut told = {
        let _inside = runtime.enter();
        Told::listen()?
    };
    let folder = Folder::new(arguments.keep.as_deref())?;
    let outcome = runtime.block_on(run(arguments, &folder, &mut told));
    runtime.shutdown_timeout(STOP_WITHIN);
    folder.leave();
    outcome
}

async fn run(arguments: &Arguments, folder: &Folder, told: &mut Told) -> anyhow::Result<Exit> {
    let demo = tokio::select! {
        demo = Demo::start(arguments, folder) => demo?,
        () = told.stop() => return Ok(Exit::Done),
    };
    let Some(demo) = demo else {
        say("nothing was created");
        return Ok(Exit::No);
    };
    let exit = if arguments.script {
        tokio::select! {
            as_promised = demo.perform(folder) => if as_promised? { Exit::Done } else { Exit::No },
            () = told.stop() => Exit::No,
        }
    } else {
        demo.tell();
        told.stop().await;
        say("\nstopping");
        Exit::Done
    };
    demo.stop().await?;
    Ok(exit)
}

/// The cluster behind the gateway.
enum Behind {
    Embedded(Cluster),
    Real(Box<Borrowed>),
}

/// Everything that runs.
struct Demo {
    cluster: Behind,
    parts: Parts,
}

/// What stands around the cluster.
struct Parts {
    ports: Ports,
    files: Files,
    people: People,
    /// A page that is published behind the gateway.
    service: demo::Listening,
    gateway: Gateway,
    history: Option<Written>,
    took: Duration,
}

impl Demo {
    /// `None`: the person does not want what it would take.
    async fn start(arguments: &Arguments, folder: &Folder) -> anyhow::Result<Option<Self>> {
        let Some(cluster) = behind(arguments, folder).await? else {
            return Ok(None);
        };
        let began = Instant::now();
        let parts = match Parts::start(Ports::usual(arguments.port)?, folder, &cluster, began).await {
            // Between letting go of a port and listening there, another demo may have been faster.
            Err(error) if place::was_taken(&error) && folder.begin_again() => {
                Parts::start(Ports::any()?, folder, &cluster, began).await?
            }
            outcome => outcome?,
        };
        Ok(Some(Self { cluster, parts }))
    }

    fn tell(&self) {
        say(&words::ready(&words::Facts {
            took: self.parts.took,
            issuer: self.parts.people.issuer(),
            service: self.parts.service.address(),
            gateway: self.parts.ports.gateway,
            kubernetes: self.parts.ports.kubernetes,
            environment: &self.parts.files.environment,
            history: self.parts.history,
            kubectl: words::has_kubectl(),
            browser: Surroundings::look().has_browser(),
            playground: match &self.cluster {
                Behind::Embedded(_) => None,
                Behind::Real(borrowed) => Some(borrowed.playground()),
            },
        }));
    }

    async fn perform(&self, folder: &Folder) -> anyhow::Result<bool> {
        script::perform(&script::Stage {
            files: &self.parts.files,
            folder: folder.path(),
            gateway: &format!("http://{}", self.parts.ports.gateway),
            kubectl: words::has_kubectl(),
        })
        .await
    }

    /// The gateway first, so that no call is under way when its rights go.
    async fn stop(self) -> anyhow::Result<()> {
        self.parts.gateway.stop(STOP_WITHIN).await?;
        self.parts.service.stop().await;
        self.parts.people.stop().await;
        match self.cluster {
            Behind::Embedded(cluster) => cluster.stop().await,
            Behind::Real(borrowed) => drop(borrowed),
        }
        Ok(())
    }
}

impl Parts {
    async fn start(mut ports: Ports, folder: &Folder, cluster: &Behind, began: Instant) -> anyhow::Result<Self> {
        ports.give(ports.provider);
        let people = People::start(&ports).await?;
        let service = demo::service::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .context("the sample service does not start")?;
        let files = Files::write(folder.path(), &ports, "demo")?;
        let (history, configured, prefix) = match cluster {
            Behind::Embedded(cluster) => (
                history(folder, people.issuer()).await?,
                cluster.configured(folder.path())?,
                "",
            ),
            // The history is of the embedded world; beside a real one it would only confuse.
            Behind::Real(borrowed) => (None, borrowed.configured().clone(), borrowed::PREFIX),
        };
        let config = world::configuration(
            folder.path(),
            &ports,
            &people,
            &files,
            (&configured, prefix),
            service.address(),
        )?;
        for address in [ports.gateway, ports.kubernetes, ports.admin] {
            ports.give(address);
        }
        let gateway = Gateway::start(&config).await?;
        Ok(Self {
            ports,
            files,
            people,
            service,
            gateway,
            history,
            took: began.elapsed(),
        })
    }
}

async fn behind(arguments: &Arguments, folder: &Folder) -> anyhow::Result<Option<Behind>> {
    let Some(context) = arguments.cluster.clone() else {
        return Ok(Some(Behind::Embedded(Cluster::start().await?)));
    };
    let (path, yes) = (folder.path().to_owned(), arguments.yes);
    let proposal = tokio::task::spawn_blocking(move || borrowed::propose(&context, &path, yes))
        .await
        .context("looking at the cluster broke")??;
    if !proposal.is_agreed {
        return Ok(None);
    }
    // On this very thread, which does nothing else: a signal is heard after it, and finds what has to be removed.
    let borrowed = proposal.create(folder.path())?;
    Ok(Some(Behind::Real(Box::new(borrowed))))
}

async fn history(folder: &Folder, issuer: &str) -> anyhow::Result<Option<Written>> {
    let (dir, issuer) = (folder.path().join("data/ledger"), issuer.to_owned());
    let now = demo::system_clock()();
    tokio::task::spawn_blocking(move || sample::write(&dir, &issuer, now))
        .await
        .context("writing the sample history broke")?
}
