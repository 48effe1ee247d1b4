//! Two kubectls: the newest, over WebSockets and over SPDY, and the last that knows SPDY alone.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use tests::kubectl::Way;
use tests::left_out::{Lack, left_out};
use tests::terminal::in_window;
use tests::wait::PATIENCE;

use super::table::{Client, IN_NAMESPACE, PAYLOAD, Row, Run, Says, same};
use super::talk::{Ended, Talk};
use super::world::{NAMESPACE, Side, World, digests};

const CLIENTS: [Client; 3] = [of("kubectl", "websocket"), of("kubectl", "spdy"), of(OLDER, "spdy")];

const OLDER: &str = "kubectl-1.28";

const fn of(name: &'static str, protocol: &'static str) -> Client {
    Client {
        name,
        command,
        protocol,
    }
}

fn command(side: &Side, client: &Client) -> anyhow::Result<Command> {
    let mut command = side.kubectl.clone().program(client.name).command(&IN_NAMESPACE)?;
    let way = match client.protocol {
        "websocket" => Way::WebSocket,
        _ => Way::Spdy,
    };
    command.envs(way.variables());
    Ok(command)
}

const fn row(case: &'static str, act: fn(&Run<'_>) -> anyhow::Result<Ended>, code: i32, says: Says) -> Row {
    Row { case, act, code, says }
}

/// What streams: exec, attach, cp, port-forward, and what is made of them.
const STREAMS: &[Row] = &[
    row("exec", exec, 3, Says::Exactly("in\nout\n")),
    row("exec-nothing", exec_nothing, 127, Says::Exactly("")),
    row("exec-nowhere", exec_nowhere, 1, Says::Exactly("")),
    row("exec-terminal", exec_terminal, 9, Says::Part("seen\r\n")),
    row("exec-half-close", exec_half_close, 0, Says::Exactly("begun\na\nover\n")),
    row("exec-payload", exec_payload, 0, Says::Payload),
    row("exec-refused-input", exec_unread, 0, Says::Exactly("deaf\n")),
    row("attach", attach, 0, Says::Exactly("got first\n")),
    row("attach-terminal", attach_terminal, 0, Says::Part("small\r\nlarge\r\n")),
    row("cp", cp, 0, Says::Part("sub/payload.bin ")),
    row("forward", forward, 0, Says::Part("GET /there HTTP/1.1\n")),
    row("forward-half", forward_half_close, 0, Says::Part("4194304 bytes ")),
    row("forward-nobody", forward_nobody, 1, Says::Part("-> 1\n")),
    row("debug", debug, 0, Says::Exactly("got it\n")),
    row("run", run, 5, Says::Part("got it\n")),
    row("run-terminal", run_terminal, 5, Says::Part("got it\r\n")),
    row("proxy-exec", proxy_exec, 3, Says::Exactly("in\nout\n")),
];

/// What only answers, for long or for short.
const ANSWERS: &[Row] = &[
    row("logs", logs, 0, Says::Exactly("line 18\nline 19\nline 20\n")),
    row("logs-follow", logs_follow, 0, Says::Exactly("one\ntwo\n")),
    row("watch", watch, 0, Says::Part("\"type\":\"ADDED\"")),
    row("wait", wait, 0, Says::Part("condition met")),
    row("drain", drain, 0, Says::Part(" drained\n")),
    row("edit", edit, 0, Says::Part(" edited\nchanged")),
    // There is no metrics server here, and both sides say so.
    row("top", top, 1, Says::Exactly("")),
];

/// So much that a server that has said no at its limit has not been sent half of it.
const TOO_LONG: usize = 16 << 20;

/// Objects near what a server takes: of values it takes 1 MiB, of a body 3 MiB.
const LONG_BODIES: &[Row] = &[
    row("long", create_long::<1_000_000>, 0, Says::Part(" created\n")),
    row(
        "long-applied",
        apply_long::<1_000_000>,
        0,
        Says::Part(" serverside-applied\n"),
    ),
    row("longer", create_long::<3_000_000>, 1, Says::Exactly("")),
    row("longer-applied", apply_long::<3_000_000>, 1, Says::Exactly("")),
    row("too-long", create_long::<TOO_LONG>, 1, Says::Exactly("")),
    row("too-long-applied", apply_long::<TOO_LONG>, 1, Says::Exactly("")),
];

const PROXIES: &[Row] = &[
    row("pods-proxy", pods_proxy, 0, Says::Part("GET /a/b?c=d HTTP/1.1\n")),
    row(
        "services-proxy",
        services_proxy,
        0,
        Says::Part("GET /a/b?c=d HTTP/1.1\n"),
    ),
    row("services-post", services_post, 0, Says::Part("POST /a HTTP/1.1\n")),
];

/// The same where pods have loopback addresses, to which the API server does not proxy: it says so, and the gate passes that on.
const PROXIES_REFUSED: &[Row] = &[
    row("pods-proxy", pods_proxy, 1, Says::Exactly("")),
    row("services-proxy", services_proxy, 1, Says::Exactly("")),
    row("services-post", services_post, 1, Says::Exactly("")),
];

const NODES: &[Row] = &[row("nodes-proxy", nodes_proxy, 1, Says::Exactly(""))];

#[test]
fn h_24_the_newest_kubectl_streams_the_same_over_websockets() -> anyhow::Result<()> {
    same(World::shared()?, &CLIENTS[..1], STREAMS)
}

#[test]
fn h_24_the_newest_kubectl_streams_the_same_over_spdy() -> anyhow::Result<()> {
    same(World::shared()?, &CLIENTS[1..2], STREAMS)
}

#[test]
fn h_24_an_older_kubectl_streams_the_same() -> anyhow::Result<()> {
    same(World::shared()?, &CLIENTS[2..], STREAMS)
}

#[test]
fn l_07_both_kubectls_are_answered_the_same() -> anyhow::Result<()> {
    let world = World::shared()?;
    let clients = [CLIENTS[0], CLIENTS[2]];
    same(world, &clients, ANSWERS)?;
    same(world, &clients, NODES)?;
    if world.places.proxied {
        return same(world, &clients, PROXIES);
    }
    left_out("what pods and services answer through the API server", Lack::Route, "")?;
    same(world, &clients, PROXIES_REFUSED)
}

#[test]
fn j_01_j_03_a_body_of_three_mebibytes_is_taken_or_refused_as_it_is_direct() -> anyhow::Result<()> {
    let world = World::shared()?;
    let clients = [CLIENTS[0], CLIENTS[2]];
    same(world, &clients, LONG_BODIES)?;
    // kubectl speaks HTTP/2 to the gate, and the gate to the server: the early answer ended both uploads.
    let is_early = |record: &&serde_json::Value| record["outcome"]["reason"] == "RequestEntityTooLarge";
    let records = world.gateway.records_with("the ends of the early answers", |records| {
        records.iter().filter(is_early).count() >= 2 * clients.len()
    })?;
    let early: Vec<_> = records.iter().filter(is_early).collect();
    assert_eq!(early.len(), 2 * clients.len(), "{early:?}");
    for end in early {
        let taken = end["outcome"]["bytes_in"].as_u64();
        assert!(taken < Some(TOO_LONG as u64 / 2), "{end}");
    }
    Ok(())
}

/// Rows for a cluster that refuses WebSockets for streams.
pub(crate) fn streams_that_fall_back(world: &World) -> anyhow::Result<()> {
    let wanted = [
        "exec",
        "exec-half-close",
        "exec-payload",
        "attach",
        "cp",
        "forward",
        "forward-half",
    ];
    let rows: Vec<Row> = STREAMS
        .iter()
        .filter(|row| wanted.contains(&row.case))
        .copied()
        .collect();
    assert_eq!(rows.len(), wanted.len(), "a row is gone");
    same(world, &CLIENTS[..1], &rows)
}

const SHELL: [&str; 3] = ["shell", "-c", "shell"];

/// `exec FLAGS shell -c shell -- sh -c SCRIPT`.
fn in_the_shell<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["exec"], flags, &SHELL, &["--", "sh", "-c", script]].concat()
}

fn exec(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&in_the_shell(&["-i"], "cat; echo out; echo err >&2; exit 3"), b"in\n")
}

fn exec_nothing(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["exec", "shell", "-c", "shell", "--", "no-such-program"], b"")
}

fn exec_nowhere(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["exec", "shell", "-c", "nobody", "--", "true"], b"")
}

/// Input that nobody reads is no reason to lose what is said. It has come before the end: else kubectl may find its way closed,
/// and complains of that on some runs and not on others.
fn exec_unread(run: &Run<'_>) -> anyhow::Result<Ended> {
    let script = "bash -c 'until read -t 0; do sleep 0.05; done'; echo deaf";
    run.run(&in_the_shell(&["-i"], script), b"to nobody\n")
}

fn exec_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    let mut talk = run.start(&in_the_shell(&["-i"], "echo begun; cat; echo over"))?;
    talk.says("begun\n")?;
    talk.write(b"a\n")?;
    talk.says("a\n")?;
    talk.close();
    talk.end()
}

fn exec_payload(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&in_the_shell(&["-i"], "cat"), &PAYLOAD)
}

fn exec_terminal(run: &Run<'_>) -> anyhow::Result<Ended> {
    let script = "while [ \"$(stty size)\" != \"31 117\" ]; do sleep 0.05; done; echo seen; exit 9";
    on_a_terminal(run, &in_the_shell(&["-it"], script))?.end()
}

/// The command on a terminal of 31 lines and 117 columns.
fn on_a_terminal(run: &Run<'_>, words: &[&str]) -> anyhow::Result<Talk> {
    Talk::start(in_window(&run.command(words)?, &run.folder()?, (31, 117), None)?)
}

fn attach(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.pod("while read line; do echo got $line; done; exit 7")?;
    run.run(&["attach", "-i", &pod, "-c", "main"], b"first\n")
}

/// The window becomes a larger one when it is known that the pod has seen the small one.
fn attach_terminal(run: &Run<'_>) -> anyhow::Result<Ended> {
    let becomes = |size: &str| format!("while [ \"$(stty size)\" != \"{size}\" ]; do sleep 0.05; done");
    let script = format!(
        "{}; echo small; {}; echo large; exit 7",
        becomes("31 117"),
        becomes("50 133")
    );
    let (name, folder) = (run.tag(), run.folder()?);
    run.world.pod_with_terminal(&name, &script)?;
    let grows = folder.join("grows");
    let command = run.command(&["attach", "-it", &name, "-c", "main"])?;
    let larger = Some((grows.as_path(), (50, 133)));
    let mut talk = Talk::start(in_window(&command, &folder, (31, 117), larger)?)?;
    talk.says("small\r\n")?;
    std::fs::write(grows, "")?;
    talk.end()
}

fn cp(run: &Run<'_>) -> anyhow::Result<Ended> {
    let folder = run.folder()?;
    let (there, back) = (folder.join("there"), folder.join("back"));
    std::fs::create_dir_all(there.join("sub/deeper"))?;
    std::fs::write(there.join("plain.txt"), "a line\n")?;
    std::fs::write(there.join("sub/payload.bin"), &PAYLOAD[..1_000_003])?;
    std::fs::write(there.join("sub/deeper/empty"), "")?;
    std::fs::write(there.join("runs.sh"), "exit 0\n")?;
    std::fs::set_permissions(there.join("runs.sh"), PermissionsExt::from_mode(0o755))?;
    let pod = format!("shell:{}", run.tag());
    let path = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
    let mut first = run.run(&["cp", &path(&there)?, &pod, "-c", "shell"], b"")?;
    let second = run.run(&["cp", &pod, &path(&back)?, "-c", "shell"], b"")?;
    let (sent, came) = (digests(&there)?, digests(&back)?);
    anyhow::ensure!(sent == came, "sent:\n{sent}\ncame back:\n{came}\n{first:?}\n{second:?}");
    let mode = std::fs::metadata(back.join("runs.sh"))?.permissions().mode();
    first.stdout.extend(second.stdout);
    first.stdout.extend(format!("{came}\n{mode:o}\n").bytes());
    first.stderr.push_str(&second.stderr);
    first.code += second.code;
    Ok(first)
}

/// Starts a port-forward to a port of `web`; its local address.
fn forwarding(run: &Run<'_>, port: u16) -> anyhow::Result<(Talk, String)> {
    let mut talk = run.start(&["port-forward", "pod/web", "--address", "127.0.0.1", &format!(":{port}")])?;
    let said = talk.says(&format!("-> {port}\n"))?;
    let local = said.trim_start_matches("Forwarding from ").split(' ').next();
    Ok((talk, local.context("no address")?.to_owned()))
}

fn forwarded(mut talk: Talk, answer: &[u8]) -> anyhow::Result<Ended> {
    talk.interrupt()?;
    let mut ended = talk.end()?;
    ended.stdout.extend_from_slice(answer);
    Ok(ended)
}

fn forward(run: &Run<'_>) -> anyhow::Result<Ended> {
    let (talk, local) = forwarding(run, run.world.places.local)?;
    let answer = asked(
        &local,
        b"GET /there HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n",
        false,
    )?;
    forwarded(talk, &answer)
}

fn forward_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    let (talk, local) = forwarding(run, run.world.places.sink)?;
    let answer = asked(&local, &PAYLOAD, true)?;
    forwarded(talk, &answer)
}

/// A port on which nobody listens: the words on the connection's error stream are the cluster's, and kubectl gives up. How the
/// local connection ends is kubectl's own business. Over SPDY kubectl opens the stream for data behind that for errors, and where
/// the server is quicker it reads of a reset, gives up that connection alone and says nothing of the cluster's words: then another one
/// is begun.
fn forward_nobody(run: &Run<'_>) -> anyhow::Result<Ended> {
    const REFUSED: &str = "connection refused";
    for _ in 0..50 {
        let (mut talk, local) = forwarding(run, 1)?;
        let _held = TcpStream::connect(&local)?;
        let said = talk.complains([REFUSED, "Stream reset"])?;
        if !said.contains(REFUSED) && said.contains("Stream reset") {
            talk.interrupt()?;
            talk.end()?;
            continue;
        }
        let ended = talk.end()?;
        anyhow::ensure!(ended.stderr.contains(REFUSED), "{ended:?}");
        return Ok(ended);
    }
    anyhow::bail!("fifty times kubectl was told of a reset before the words")
}

/// Sends and reads until the other side ends.
fn asked(address: &str, question: &[u8], half_close: bool) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question)?;
    if half_close {
        stream.shutdown(Shutdown::Write)?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn debug(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.pod("exec sleep 1000")?;
    let script = "read line; echo got $line";
    let words = [
        "debug",
        &pod,
        "-i",
        "--image=none",
        "-c",
        "looks",
        "--profile=general",
        "--",
        "sh",
        "-c",
        script,
    ];
    run.run(&words, b"it\n")
}

fn run(run: &Run<'_>) -> anyhow::Result<Ended> {
    let name = run.tag();
    let script = "read line; echo got $line; exit 5";
    let words = [RUN, &["-i", &name, "--", "sh", "-c", script]].concat();
    run.run(&words, b"it\n")
}

const RUN: &[&str] = &["run", "--rm", "--restart=Never", "--image=none", "--command"];

/// Nothing is typed before the terminal is raw on both ends, which its first output shows; before that kubectl's own
/// terminal would echo it. What the pod says until somebody is there is said again and again, and not compared.
fn run_terminal(run: &Run<'_>) -> anyhow::Result<Ended> {
    let name = run.tag();
    let script =
        "stty -echo; (while :; do echo ready; sleep 0.1; done) & read line; kill $!; wait; echo got $line; exit 5";
    let mut talk = on_a_terminal(run, &[RUN, &["-it", &name, "--", "sh", "-c", script]].concat())?;
    talk.says("ready\r\n")?;
    talk.write(b"it\n")?;
    let mut ended = talk.end()?;
    let said = String::from_utf8(std::mem::take(&mut ended.stdout))?;
    let kept = said.split_inclusive('\n').filter(|line| line.trim() != "ready");
    ended.stdout = kept.collect::<String>().into_bytes();
    Ok(ended)
}

/// `kubectl proxy`, and behind it another kubectl that knows nothing but its address.
fn proxy_exec(run: &Run<'_>) -> anyhow::Result<Ended> {
    let mut proxy = run.start(&[
        "proxy",
        "--port=0",
        "--disable-filter=true",
        "--append-server-path=true",
    ])?;
    let said = proxy.says("\n")?;
    let address = said.trim().rsplit(' ').next().context("no address")?;
    let file = run.folder()?.join("kubeconfig");
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{address}") } }],
        "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "" } }],
    });
    std::fs::write(&file, kubeconfig.to_string())?;
    let mut words = in_the_shell(&["-i"], "cat; echo out; echo err >&2; exit 3");
    let kubeconfig = format!("--kubeconfig={}", file.display());
    words.insert(1, &kubeconfig);
    run.run(&words, b"in\n")
}

/// A target as `--raw` wants it: an older kubectl takes no notice of a path in the server's address, so whoever has one
/// types it.
fn typed(run: &Run<'_>, target: &str) -> String {
    let prefix = if run.client.name == OLDER && run.side.name == "gate" {
        "/clusters/bench"
    } else {
        ""
    };
    format!("{prefix}{target}")
}

fn pods_proxy(run: &Run<'_>) -> anyhow::Result<Ended> {
    let port = run.world.places.web;
    raw(
        run,
        &format!("/api/v1/namespaces/{NAMESPACE}/pods/web:{port}/proxy/a/b?c=d"),
    )
}

fn services_proxy(run: &Run<'_>) -> anyhow::Result<Ended> {
    raw(
        run,
        &format!("/api/v1/namespaces/{NAMESPACE}/services/web:80/proxy/a/b?c=d"),
    )
}

fn services_post(run: &Run<'_>) -> anyhow::Result<Ended> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/web:80/proxy/a");
    run.run(
        &["create", "--raw", &typed(run, &path), "-f", "-"],
        b"{\"sent\": true}\n",
    )
}

/// Nobody here may enter a node; both sides say so, the gate in words of its own.
fn nodes_proxy(run: &Run<'_>) -> anyhow::Result<Ended> {
    let mut ended = raw(run, "/api/v1/nodes/node-1/proxy/healthz")?;
    anyhow::ensure!(
        ended.stderr.contains("orbidden") || ended.stderr.contains("may not"),
        "{ended:?}"
    );
    ended.stderr.clear();
    Ok(ended)
}

fn raw(run: &Run<'_>, path: &str) -> anyhow::Result<Ended> {
    run.run(&["get", "--raw", &typed(run, path)], b"")
}

fn logs(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["logs", "shell", "-c", "talker", "--tail=3"], b"")
}

/// A script that says one thing, and another one once the file is there.
pub(crate) fn says_two(go: &Path) -> String {
    format!(
        "echo one; while [ ! -e {} ]; do sleep 0.05; done; echo two",
        go.display()
    )
}

fn logs_follow(run: &Run<'_>) -> anyhow::Result<Ended> {
    let go = run.folder()?.join("go");
    let pod = run.pod(&says_two(&go))?;
    let mut talk = run.start(&["logs", "-f", &pod])?;
    talk.says("one\n")?;
    std::fs::write(go, "")?;
    talk.end()
}

fn watch(run: &Run<'_>) -> anyhow::Result<Ended> {
    let query = "watch=true&timeoutSeconds=5&fieldSelector=metadata.name%3Dfixed";
    raw(run, &format!("/api/v1/namespaces/{NAMESPACE}/configmaps?{query}"))
}

/// kubectl watches until what it waits for is so, and nothing is until it watches.
fn wait(run: &Run<'_>) -> anyhow::Result<Ended> {
    let go = run.folder()?.join("go");
    let pod = run.pod(&says_two(&go))?;
    let name = format!("pod/{pod}");
    let mut talk = run.start(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        &name,
        "--timeout=100s",
    ])?;
    let target = format!("metadata.name%3D{pod}");
    run.world.cluster.audit_event("kubectl watches the pod", |event| {
        event.verb == "watch" && event.request_uri.contains(&target)
    })?;
    std::fs::write(go, "")?;
    talk.end()
}

/// A node of one's own with a pod on it, which is evicted. Nobody runs either.
fn drain(run: &Run<'_>) -> anyhow::Result<Ended> {
    let name = run.tag();
    run.world.empty_node(&name)?;
    run.run(&["drain", &name, "--force", "--timeout=100s"], b"")
}

/// The editor is a program that changes one value.
fn edit(run: &Run<'_>) -> anyhow::Result<Ended> {
    let (name, editor) = (run.tag(), run.folder()?.join("editor"));
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/k: v/k: changed/' \"$1\"\n")?;
    std::fs::set_permissions(&editor, PermissionsExt::from_mode(0o755))?;
    let made = run.run(&["create", "configmap", &name, "--from-literal=k=v"], b"")?;
    anyhow::ensure!(made.code == 0, "{made:?}");
    let mut command = run.command(&["edit", "configmap", &name])?;
    command.env("KUBE_EDITOR", &editor);
    let mut ended = Talk::run(command, b"")?;
    let now = run.run(&["get", "configmap", &name, "-o", "jsonpath={.data.k}"], b"")?;
    ended.stdout.extend(now.stdout);
    Ok(ended)
}

fn top(run: &Run<'_>) -> anyhow::Result<Ended> {
    let ended = run.run(&["top", "pods"], b"")?;
    anyhow::ensure!(ended.stderr.contains("Metrics API not available"), "{ended:?}");
    Ok(ended)
}

/// A map with a value of so many bytes.
fn long(name: &str, bytes: usize) -> String {
    let data = serde_json::json!({ "k": "x".repeat(bytes) });
    serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
        .to_string()
}

fn create_long<const BYTES: usize>(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["create", "-f", "-"], long(&run.tag(), BYTES).as_bytes())
}

fn apply_long<const BYTES: usize>(run: &Run<'_>) -> anyhow::Result<Ended> {
    let words = ["apply", "--server-side", "-f", "-"];
    run.run(&words, long(&run.tag(), BYTES).as_bytes())
}
