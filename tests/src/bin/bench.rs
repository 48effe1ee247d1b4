//! `gatescribe-bench run`: keeps a bench running for a person (`cargo xtask up`) or for a test until it is ended.
//!
//! It prints `folder PATH` and, when all is ready, `ready`; with `--state FILE` it also writes there what one needs to use
//! the bench, whole or not at all. It ends on SIGTERM, SIGINT or the death of its terminal; what it started ends with it
//! even after SIGKILL (see `process`).

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};
use tests::cluster::{Cluster, Options};

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
            default_value = "apiserver,controller-manager,scheduler,node"
        )]
        parts: Vec<Part>,
        /// Leads a session of its own, so that closing a terminal does not end it.
        #[arg(long)]
        session: bool,
        /// Where to write what a person needs to use it, as JSON.
        #[arg(long)]
        state: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Apiserver,
    ControllerManager,
    Scheduler,
    Node,
    Kwok,
}

fn main() -> anyhow::Result<()> {
    let Task::Run { parts, session, state } = Arguments::parse().task;
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
    let described = describe(&cluster)?;
    if let Some(path) = state {
        write_whole(&path, &described.to_string())?;
    }
    writeln!(out, "ready")?;
    out.flush()?;
    wait_for_the_end();
    Ok(())
}

/// What `xtask up` shows. The provider and the gateway join here when they are part of the bench.
fn describe(cluster: &Cluster) -> anyhow::Result<serde_json::Value> {
    let people = [
        ("alice", "dev", "view"),
        ("bob", "ops", "edit"),
        ("carol", "admins", "cluster-admin"),
    ];
    let admin = cluster.admin()?;
    let mut kubeconfigs = serde_json::Map::new();
    for (person, group, role) in people {
        let binding = format!("bench-{group}");
        admin.ok(&[
            "create",
            "clusterrolebinding",
            &binding,
            "--clusterrole",
            role,
            "--group",
            group,
        ])?;
        let kubectl = cluster.as_person(person, &[group])?;
        kubeconfigs.insert(format!("{person} ({group}: {role})"), path(kubectl.kubeconfig()));
    }
    kubeconfigs.insert("admin (system:masters)".to_owned(), path(admin.kubeconfig()));
    Ok(serde_json::json!({
        "pid": std::process::id(),
        "folder": path(cluster.folder().path()),
        "server": cluster.url(),
        "auditLog": path(&cluster.audit_log()),
        "kubectl": path(&tests::counterparts::program("kubectl")?),
        "kubeconfigs": kubeconfigs,
        "try": [
            "kubectl auth whoami",
            "kubectl get pods -A",
            "kubectl create deployment hello --image=none -- sh -c 'while date; do sleep 5; done'",
            "kubectl logs -f deployment/hello",
            "kubectl exec -it deployment/hello -- sh",
        ],
    }))
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
