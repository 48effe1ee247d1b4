//! `gatescribe-bench run`: keeps a bench running for a person (`cargo xtask up`) or for a test until it is ended.
//!
//! It prints `folder PATH` and, when all is ready, `ready`; with `--state FILE` it also writes there what one needs to use
//! the bench, whole or not at all. It ends on SIGTERM, SIGINT or the death of its terminal; what it started ends with it
//! even after SIGKILL (see `process`).
//!
//! With the part `gateway` it stands as a whole: provider, gateway, and three people who are signed in.

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::browser::Browser;
use tests::cluster::{Cluster, Options};
use tests::gateway::{Gateway, Options as GatewayOptions};
use tests::kubectl::run;
use tests::wait::PATIENCE;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts the parts and keeps them running.
    Run {
        /// Which parts.
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "apiserver,controller-manager,scheduler,node,gateway"
        )]
        parts: Vec<Part>,
        /// Leads a session of its own, so that closing a terminal does not end it.
        #[arg(long)]
        session: bool,
        /// Where to write what a person needs to use it, as JSON.
        #[arg(long)]
        state: Option<PathBuf>,
    },
    /// Signs a person in, as a browser that is named in BROWSER.
    Browse {
        /// Who.
        person: String,
        /// Where the sign-in begins.
        url: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Apiserver,
    ControllerManager,
    Scheduler,
    Node,
    Kwok,
    Gateway,
}

/// Name, group at the provider, role in the cluster.
const PEOPLE: [(&str, &str, &str); 3] = [
    ("alice", "dev", "view"),
    ("bob", "sre", "edit"),
    ("carol", "auditor", "view"),
];

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Run { parts, session, state } => keep_running(&parts, session, state.as_deref()),
        Task::Browse { person, url } => {
            let page = Browser::default().open(&format!("{url}&login_hint={person}"), "-")?;
            anyhow::ensure!(
                page.status == 200,
                "{} answers {}: {}",
                page.url,
                page.status,
                page.body
            );
            Ok(())
        }
    }
}

fn keep_running(parts: &[Part], session: bool, state: Option<&Path>) -> anyhow::Result<()> {
    if session {
        nix::unistd::setsid().context("lead a session")?;
    }
    let has = |part| parts.contains(&part);
    let options = Options {
        controller_manager: has(Part::ControllerManager),
        scheduler: has(Part::Scheduler),
        node: has(Part::Node),
        kwok: has(Part::Kwok),
        ..Options::default()
    };
    let cluster = Cluster::start(options).context("start the cluster")?;
    let mut out = std::io::stdout();
    writeln!(out, "folder {}", cluster.folder().path().display())?;
    cluster.apply_gateway_rights().context("apply deploy/kubernetes")?;
    let mut described = describe(&cluster)?;
    // Held until the end: dropping it ends the gateway and its provider.
    let gateway = if has(Part::Gateway) {
        let gateway = Gateway::start(&cluster, &GatewayOptions::default()).context("start the gateway")?;
        described["people"] = people(&cluster, &gateway)?;
        described["gateway"] = gateway.url.clone().into();
        described["ledger"] = path(&gateway.ledger());
        Some(gateway)
    } else {
        None
    };
    if let Some(path) = state {
        write_whole(path, &described.to_string())?;
    }
    writeln!(out, "ready")?;
    out.flush()?;
    wait_for_the_end();
    drop(gateway);
    Ok(())
}

/// What `xtask up` shows.
fn describe(cluster: &Cluster) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::json!({
        "pid": std::process::id(),
        "folder": path(cluster.folder().path()),
        "server": cluster.url(),
        "auditLog": path(&cluster.audit_log()),
        "kubectl": path(&tests::counterparts::program("kubectl")?),
        "gatescribe": path(&tests::counterparts::own_binary("gatescribe")?),
        "admin": format!("KUBECONFIG={}", cluster.admin()?.kubeconfig().display()),
        "people": [],
        "try": [
            "kubectl auth whoami",
            "kubectl get pods -A",
            "kubectl create deployment hello --image=none -- sh -c 'while date; do sleep 5; done'",
            "kubectl logs -f deployment/hello",
            "kubectl get secrets -A",
            "gatescribe why",
            "gatescribe audit search --since 10m",
        ],
    }))
}

/// Binds each person's group to a role, signs them in as they would do it, and says what a shell needs to be that person.
fn people(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<serde_json::Value> {
    let (admin, program) = (cluster.admin()?, tests::counterparts::own_binary("gatescribe")?);
    let bench = std::env::current_exe().context("find this program")?;
    let mut people = Vec::new();
    for (person, group, role) in PEOPLE {
        let (binding, role_of, group_of) = (
            format!("bench-{group}"),
            format!("--clusterrole={role}"),
            format!("--group={group}"),
        );
        admin.ok(&["create", "clusterrolebinding", &binding, &role_of, &group_of])?;
        let home = cluster.folder().path().join(format!("person-{person}"));
        std::fs::create_dir(&home)?;
        let kubeconfig = home.join("kubeconfig");
        let mut login = Command::new(&program);
        login.args(["login", &gateway.url, "--kubeconfig"]).arg(&kubeconfig);
        login
            .env("GATESCRIBE_HOME", &home)
            .env("BROWSER", format!("{} browse {person}", bench.display()));
        let said = run(login, "", PATIENCE)?;
        anyhow::ensure!(said.code == 0, "{person} cannot sign in: {said}");
        let exports = format!(
            "KUBECONFIG={} GATESCRIBE_HOME={} KUBECACHEDIR={}",
            kubeconfig.display(),
            home.display(),
            home.join("cache").display()
        );
        people.push(serde_json::json!({ "who": format!("{person} (group {group}, role {role})"), "exports": exports }));
    }
    Ok(people.into())
}

fn path(path: &Path) -> serde_json::Value {
    path.to_string_lossy().into_owned().into()
}

fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(&draft, file)?)
}

/// A signal's default action ends us, and the lifelines do the rest; so there is nothing to handle, only to wait.
fn wait_for_the_end() {
    loop {
        std::thread::park();
    }
}
