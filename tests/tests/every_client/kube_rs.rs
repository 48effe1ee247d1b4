//! A program on kube-rs, in this process: its own WebSockets, and port-forward over the fourth protocol version, which no
//! other client here uses for that.

use anyhow::{Context as _, bail};
use futures::{AsyncReadExt as _, SinkExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, LogParams, TerminalSize, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use tests::left_out::{Lack, left_out};
use tests::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::kubectl::says_two;
use super::table::{Client, PAYLOAD, Row, Run, Says, same};
use super::talk::Ended;
use super::world::{NAMESPACE, World};

const KUBE_RS: Client = Client {
    name: "kube-rs",
    command: |_, _| bail!("it is no program"),
    protocol: "websocket",
};

const ROWS: &[Row] = &[
    row("exec", exec, 3, Says::Exactly("got in\n")),
    row("exec-nothing", exec_nothing, 127, Says::Exactly("")),
    row("exec-nowhere", exec_nowhere, 1, Says::Exactly("")),
    row("exec-terminal", exec_terminal, 9, Says::Exactly("seen\r\n")),
    row("exec-payload", exec_payload, 0, Says::Payload),
    row("exec-half-close", exec_half_close, 0, Says::Exactly("begun\na\nover\n")),
    row("attach", attach, 0, Says::Exactly("got first\n")),
    row("forward", forward, 0, Says::Part("GET /there HTTP/1.1\n")),
    row("logs", logs, 0, Says::Part("line 20\n")),
    row("logs-follow", logs_follow, 0, Says::Exactly("one\ntwo\n")),
    row("watch", watch, 0, Says::Part("added fixed ")),
];

const PROXIES: &[Row] = &[row("proxy", proxy, 0, Says::Part("GET /a/b?c=d HTTP/1.1\n"))];

const fn row(case: &'static str, act: fn(&Run<'_>) -> anyhow::Result<Ended>, code: i32, says: Says) -> Row {
    Row { case, act, code, says }
}

#[test]
fn h_24_a_program_on_kube_rs_is_served_the_same() -> anyhow::Result<()> {
    let world = World::shared()?;
    same(world, &[KUBE_RS], ROWS)?;
    if world.places.proxied {
        return same(world, &[KUBE_RS], PROXIES);
    }
    left_out(
        "what pods answer a program on kube-rs through the API server",
        Lack::Route,
        "",
    )?;
    Ok(())
}

/// Runs what a program does, with a client of the run's side. A refusal is what it says and an exit code of 1.
fn as_program<F>(run: &Run<'_>, program: impl FnOnce(kube::Client) -> F) -> anyhow::Result<Ended>
where
    F: Future<Output = anyhow::Result<Ended>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(run.side.kubectl.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let work = program(kube::Client::try_from(config)?);
        match tokio::time::timeout(PATIENCE, work).await.context("it does not end")? {
            Ok(ended) => Ok(ended),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(refused) => Ok(Ended {
                    stderr: refused.to_string(),
                    code: 1,
                    ..Ended::default()
                }),
                None => Err(error),
            },
        }
    })
}

fn pods(client: kube::Client) -> Api<Pod> {
    Api::namespaced(client, NAMESPACE)
}

fn streams(container: &str) -> AttachParams {
    AttachParams::default()
        .container(container)
        .stdin(true)
        .stdout(true)
        .stderr(true)
}

fn in_the_shell(run: &Run<'_>, script: &str, input: &[u8]) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let process = pods(client)
            .exec("shell", ["sh", "-c", script], &streams("shell"))
            .await?;
        converse(process, input).await
    })
}

/// Gives the input and takes both outputs until the server says how the command ended. Standard input stays open.
async fn converse(mut process: AttachedProcess, input: &[u8]) -> anyhow::Result<Ended> {
    let status = process.take_status().context("no status")?;
    let mut stdin = process.stdin().context("no input")?;
    let mut stdout = process.stdout().context("no output")?;
    let mut stderr = process.stderr();
    let (mut said, mut wrong) = (Vec::new(), Vec::new());
    let errors = async {
        match &mut stderr {
            Some(stderr) => stderr.read_to_end(&mut wrong).await,
            None => Ok(0),
        }
    };
    let (written, read, failed, status) =
        tokio::join!(stdin.write_all(input), stdout.read_to_end(&mut said), errors, status);
    // A command that ends without reading its input leaves some of it unsent.
    drop(written);
    read?;
    failed?;
    Ok(ended(status, said, wrong))
}

fn ended(status: Option<Status>, stdout: Vec<u8>, stderr: Vec<u8>) -> Ended {
    let code = |status: &Status| {
        let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
        let mut causes = causes.into_iter().flatten();
        let code = causes.find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        code.message.as_ref()?.parse().ok()
    };
    let code = match &status {
        Some(status) if status.status.as_deref() == Some("Success") => 0,
        Some(status) => code(status).unwrap_or(1),
        None => -1,
    };
    let message = status.and_then(|status| status.message).unwrap_or_default();
    Ended {
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned() + &message,
        code,
    }
}

fn exec(run: &Run<'_>) -> anyhow::Result<Ended> {
    in_the_shell(run, "read line; echo got $line; echo trouble >&2; exit 3", b"in\n")
}

fn exec_nothing(run: &Run<'_>) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let process = pods(client)
            .exec("shell", ["no-such-program"], &streams("shell"))
            .await?;
        converse(process, b"").await
    })
}

fn exec_nowhere(run: &Run<'_>) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let process = pods(client).exec("shell", ["true"], &streams("nobody")).await?;
        converse(process, b"").await
    })
}

fn exec_terminal(run: &Run<'_>) -> anyhow::Result<Ended> {
    let script = "while [ \"$(stty size)\" != \"31 117\" ]; do sleep 0.05; done; echo seen; exit 9";
    as_program(run, async |client| {
        let terminal = streams("shell").stderr(false).tty(true);
        let mut process = pods(client).exec("shell", ["sh", "-c", script], &terminal).await?;
        let mut sizes = process.terminal_size().context("no sizes")?;
        let size = TerminalSize { width: 117, height: 31 };
        sizes.send(size).await?;
        converse(process, b"").await
    })
}

fn exec_payload(run: &Run<'_>) -> anyhow::Result<Ended> {
    in_the_shell(run, "head -c 4194304", &PAYLOAD)
}

fn exec_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let script = "echo begun; cat; echo over";
        let mut process = pods(client)
            .exec("shell", ["sh", "-c", script], &streams("shell"))
            .await?;
        let status = process.take_status().context("no status")?;
        let mut stdin = process.stdin().context("no input")?;
        let mut stdout = process.stdout().context("no output")?;
        let mut said = vec![0; "begun\n".len()];
        stdout.read_exact(&mut said).await?;
        stdin.write_all(b"a\n").await?;
        let mut echoed = [0; 2];
        stdout.read_exact(&mut echoed).await?;
        said.extend(echoed);
        stdin.shutdown().await?;
        stdout.read_to_end(&mut said).await?;
        Ok(ended(status.await, said, Vec::new()))
    })
}

fn attach(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.pod("read line; echo got $line; exit 7")?;
    as_program(run, async |client| {
        let process = pods(client).attach(&pod, &streams("main")).await?;
        converse(process, b"first\n").await
    })
}

fn forward(run: &Run<'_>) -> anyhow::Result<Ended> {
    let port = run.world.places.local;
    as_program(run, async |client| {
        let mut forwarder = pods(client).portforward("web", &[port]).await?;
        let mut stream = forwarder.take_stream(port).context("no stream")?;
        let question = b"GET /there HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n";
        stream.write_all(question).await?;
        let mut stdout = Vec::new();
        stream.read_to_end(&mut stdout).await?;
        Ok(Ended {
            stdout,
            ..Ended::default()
        })
    })
}

fn proxy(run: &Run<'_>) -> anyhow::Result<Ended> {
    let port = run.world.places.web;
    as_program(run, async |client| {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/web:{port}/proxy/a/b?c=d");
        let stdout = client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        Ok(Ended {
            stdout: stdout.into_bytes(),
            ..Ended::default()
        })
    })
}

fn logs(run: &Run<'_>) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let of = LogParams {
            container: Some("talker".to_owned()),
            ..LogParams::default()
        };
        let stdout = pods(client).logs("shell", &of).await?.into_bytes();
        Ok(Ended {
            stdout,
            ..Ended::default()
        })
    })
}

fn logs_follow(run: &Run<'_>) -> anyhow::Result<Ended> {
    let go = run.folder()?.join("go");
    let pod = run.pod(&says_two(&go))?;
    as_program(run, async |client| {
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let mut log = std::pin::pin!(pods(client).log_stream(&pod, &follow).await?);
        let mut stdout = vec![0; "one\n".len()];
        log.read_exact(&mut stdout).await?;
        std::fs::write(go, "")?;
        log.read_to_end(&mut stdout).await?;
        Ok(Ended {
            stdout,
            ..Ended::default()
        })
    })
}

fn watch(run: &Run<'_>) -> anyhow::Result<Ended> {
    as_program(run, async |client| {
        let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let of = WatchParams::default().fields("metadata.name=fixed").timeout(5);
        let mut events = std::pin::pin!(maps.watch(&of, "0").await?);
        let mut stdout = String::new();
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Added(found) = event else {
                // Marks of the revision come by the clock.
                continue;
            };
            let meta = found.metadata;
            let version = meta.resource_version.unwrap_or_default();
            stdout += &format!("added {} {version}\n", meta.name.unwrap_or_default());
        }
        Ok(Ended {
            stdout: stdout.into_bytes(),
            ..Ended::default()
        })
    })
}
