//! Starting the parts in order, each with the arguments it needs and nothing else.

use super::files::{Files, NODE};
use super::{Cluster, Options};
use crate::counterparts::{program, repository};
use crate::http;
use crate::ports::Port;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};
use anyhow::{Context, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

pub(super) fn start(options: &Options) -> anyhow::Result<Cluster> {
    let folder = Folder::new("bench")?;
    let files = Files::write(&folder, options)?;
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let [etcd_port, peer_port, port, second_port] = ports.each_ref().map(|port| port.address().port());
    let etcd = Process::start("etcd", &etcd(&folder, etcd_port, peer_port)?, &folder)?;
    let command = apiserver_command(&folder, &files, options, (etcd_port, port, "audit.log"))?;
    let apiserver = Process::start("kube-apiserver", &command, &folder)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = http::Client::new(address, files.ca.certificate(), Some(&files.admin))?;
    let mut parts = [etcd, apiserver];
    ready(&mut parts, &client)?;
    let second = if options.second_apiserver {
        let command = apiserver_command(&folder, &files, options, (etcd_port, second_port, "audit-2.log"))?;
        Some(second(&command, &folder, &files, second_port)?)
    } else {
        None
    };
    let components = components(&folder, &files, options, address)?;
    let [etcd, apiserver] = parts;
    let cluster = Cluster {
        parts: Mutex::new(components),
        apiserver,
        second,
        etcd,
        folder,
        address,
        ca: files.ca,
        admin: files.admin,
        client,
        _ports: ports,
    };
    if options.node {
        node_ready(&cluster, options)?;
    }
    Ok(cluster)
}

fn etcd(folder: &Folder, port: u16, peer_port: u16) -> anyhow::Result<Command> {
    let (client, peer) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peer_port}"),
    );
    let mut command = Command::new(program("etcd")?);
    command.arg("--data-dir").arg(folder.path().join("etcd"));
    command.args([
        "--unsafe-no-fsync".to_owned(), // nobody needs this data after a crash
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".to_owned(),
    ]);
    Ok(command)
}

/// Another API server, once it is ready.
fn second(command: &Command, folder: &Folder, files: &Files, port: u16) -> anyhow::Result<(Process, SocketAddr)> {
    let mut process = Process::start("kube-apiserver-2", command, folder)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = http::Client::new(address, files.ca.certificate(), Some(&files.admin))?;
    ready(std::slice::from_mut(&mut process), &client)?;
    Ok((process, address))
}

/// `ports`: of etcd, and the server's own; and the name of its audit log.
fn apiserver_command(
    folder: &Folder,
    files: &Files,
    options: &Options,
    (etcd_port, port, audit_log): (u16, u16, &str),
) -> anyhow::Result<Command> {
    let mut command = Command::new(program("kube-apiserver")?);
    command.arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"));
    command.args(["--bind-address=127.0.0.1".to_owned(), format!("--secure-port={port}")]);
    command.args([
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--endpoint-reconciler-type=none", // it would want a server that is not on loopback
        "--kubelet-preferred-address-types=InternalIP",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-allowed-names=front-proxy-client",
        "--allow-privileged=true",
        "--audit-log-format=json",
    ]);
    for (flag, path) in [
        ("--tls-cert-file", files.serving.0.as_path()),
        ("--tls-private-key-file", &files.serving.1),
        ("--client-ca-file", &files.ca_file),
        ("--service-account-key-file", &files.service_accounts.0),
        ("--service-account-signing-key-file", &files.service_accounts.1),
        ("--requestheader-client-ca-file", &files.front_proxy_ca),
        ("--proxy-client-cert-file", &files.front_proxy.0),
        ("--proxy-client-key-file", &files.front_proxy.1),
        ("--kubelet-certificate-authority", &files.ca_file),
        ("--kubelet-client-certificate", &files.kubelet_client.0),
        ("--kubelet-client-key", &files.kubelet_client.1),
        ("--audit-policy-file", &files.audit_policy),
        ("--audit-log-path", &folder.path().join(audit_log)),
    ] {
        command.arg(flagged(flag, path));
    }
    if !options.controller_manager {
        command.arg("--disable-admission-plugins=ServiceAccount");
    }
    if let Some(path) = &files.authentication_config {
        command.arg(flagged("--authentication-config", path));
    }
    command.args(&options.apiserver_arguments);
    Ok(command)
}

fn flagged(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(format!("{flag}="));
    argument.push(path);
    argument
}

/// Waits for `/readyz`, or for the end of a process, whichever comes first.
fn ready(parts: &mut [Process], client: &http::Client) -> anyhow::Result<()> {
    let mut ended = None;
    let asked = try_until("kube-apiserver is ready", PATIENCE, || {
        for part in parts.iter_mut() {
            if let Some(status) = part.ended()? {
                ended = Some(format!("{} ended ({status}):\n{}", part.name(), part.log_end(20)));
                return Ok(());
            }
        }
        match client.get("/readyz?verbose", &[])? {
            answer if answer.status == 200 => Ok(()),
            answer => bail!("{}", String::from_utf8_lossy(&answer.body)),
        }
    });
    if let Some(story) = ended {
        bail!("{story}");
    }
    let log = || parts.last().map(|apiserver| apiserver.log_end(20)).unwrap_or_default();
    asked.with_context(log)
}

fn components(folder: &Folder, files: &Files, options: &Options, server: SocketAddr) -> anyhow::Result<Vec<Process>> {
    let mut started = Vec::new();
    if options.controller_manager {
        let who = (
            "kube-controller-manager",
            "system:kube-controller-manager",
            [].as_slice(),
        );
        let mut command = component(&files.component(folder, server, who)?, who.0)?;
        command.arg("--secure-port=0");
        command.arg(flagged("--service-account-private-key-file", &files.service_accounts.1));
        command.arg(flagged("--root-ca-file", &files.ca_file));
        command.arg("--use-service-account-credentials=true");
        started.push(Process::start(who.0, &command, folder)?);
    }
    if options.scheduler {
        let who = ("kube-scheduler", "system:kube-scheduler", [].as_slice());
        let mut command = component(&files.component(folder, server, who)?, who.0)?;
        command.arg("--secure-port=0");
        started.push(Process::start(who.0, &command, folder)?);
    }
    if options.node {
        started.push(node(folder, files, server)?);
    }
    if options.kwok {
        let who = ("kwok", "kwok", ["system:masters"].as_slice());
        let mut command = Command::new(program("kwok")?);
        command.arg("--kubeconfig").arg(files.component(folder, server, who)?);
        command.env("HOME", folder.path()); // no settings of the person's own
        command
            .arg("--config")
            .arg(repository().join("tests/counterparts/kwok/stages.yaml"));
        command.args([
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        ]);
        command.args(["--server-address=127.0.0.1:0", "--node-lease-duration-seconds=40"]);
        started.push(Process::start("kwok", &command, folder)?);
    }
    Ok(started)
}

/// What controller manager and scheduler have in common: alone, so without leader election.
fn component(kubeconfig: &Path, name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(program(name)?);
    command.arg("--leader-elect=false");
    for flag in [
        "--kubeconfig",
        "--authentication-kubeconfig",
        "--authorization-kubeconfig",
    ] {
        command.arg(flagged(flag, kubeconfig));
    }
    Ok(command)
}

fn node(folder: &Folder, files: &Files, server: SocketAddr) -> anyhow::Result<Process> {
    let user = format!("system:node:{NODE}");
    let kubeconfig = files.component(folder, server, ("node", &user, &["system:nodes"]))?;
    let pods = folder.path().join("pods");
    std::fs::create_dir_all(&pods)?;
    let mut command = Command::new(program("gatescribe-node")?);
    command.arg("--kubeconfig").arg(kubeconfig).arg("--folder").arg(pods);
    command.args(["--name", NODE, "--address", &files.node_address.to_string()]);
    command.arg("--tls-cert-file").arg(&files.kubelet_serving.0);
    command.arg("--tls-private-key-file").arg(&files.kubelet_serving.1);
    command.arg("--client-ca-file").arg(&files.kubelet_client_ca);
    Process::start("node", &command, folder)
}

/// A node that is ready and may be scheduled to: the API server taints new nodes, and the controller manager takes that
/// away; without one we do.
fn node_ready(cluster: &Cluster, options: &Options) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/{NODE}");
    try_until("the node is ready", PATIENCE, || {
        let node = cluster.client.get(&path, &[])?.json()?;
        let conditions = node.pointer("/status/conditions").and_then(|all| all.as_array());
        let ready = conditions.into_iter().flatten().any(|one| {
            one.get("type").is_some_and(|kind| kind == "Ready")
                && one.get("status").is_some_and(|status| status == "True")
        });
        anyhow::ensure!(ready, "{node}");
        if node.pointer("/spec/taints").is_some() {
            anyhow::ensure!(!options.controller_manager, "the node is still tainted: {node}");
            let untaint = br#"{"spec":{"taints":null}}"#;
            cluster.client.send(
                "PATCH",
                &path,
                &[("Content-Type", "application/merge-patch+json")],
                untaint,
            )?;
        }
        Ok(())
    })
}
