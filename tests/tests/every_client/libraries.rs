//! Programs on client libraries: client-go over each protocol, and the official clients for Python and JavaScript. They are
//! asked in the same words; what one of them cannot do is no row of its.

use std::process::Command;

use tests::counterparts::{repository, target};
use tests::left_out::{Lack, left_out};

use super::kubectl::says_two;
use super::table::{Client, PAYLOAD, Row, Run, Says, same};
use super::talk::{Ended, Talk};
use super::world::{NAMESPACE, Side, World};

const CLIENT_GO: [Client; 3] = [client_go("ws"), client_go("spdy"), client_go("fallback")];

const PYTHON: Client = Client {
    name: "python",
    command: python,
    protocol: "v4",
};

const JAVASCRIPT: Client = Client {
    name: "javascript",
    command: javascript,
    protocol: "v5",
};

const fn client_go(protocol: &'static str) -> Client {
    Client {
        name: "client-go",
        command: program,
        protocol,
    }
}

fn program(side: &Side, client: &Client) -> anyhow::Result<Command> {
    let words = ["--protocol", client.protocol, "--namespace", NAMESPACE];
    side.kubectl.clone().program("clientgo").command(&words)
}

fn python(side: &Side, _: &Client) -> anyhow::Result<Command> {
    let interpreter = target().join("counterparts/python/bin/python");
    anyhow::ensure!(
        interpreter.exists(),
        "no packages in target/counterparts/python: run `cargo xtask counterparts`"
    );
    let like = side.kubectl.command(&[])?;
    let mut command = Command::new(interpreter);
    command.env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // No compiled files in the repository.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(repository().join("tests/counterparts/python/client.py"));
    command.args(["--namespace", NAMESPACE]);
    Ok(command)
}

fn javascript(side: &Side, _: &Client) -> anyhow::Result<Command> {
    let folder = repository().join("tests/counterparts/javascript");
    anyhow::ensure!(
        folder.join("node_modules").is_dir(),
        "no node_modules in tests/counterparts/javascript: run `cargo xtask counterparts`"
    );
    let like = side.kubectl.command(&[])?;
    let mut command = Command::new("node");
    command.env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg(folder.join("client.mjs")).args(["--namespace", NAMESPACE]);
    Ok(command)
}

/// What every library can do.
const ROWS: &[Row] = &[
    row("exec", exec, 3, Says::Exactly("got in\n")),
    row("exec-silent", exec_silent, 0, Says::Exactly("")),
    row("exec-nothing", exec_nothing, 127, Says::Exactly("")),
    row("exec-nowhere", exec_nowhere, 1, Says::Exactly("")),
    row("exec-terminal", exec_terminal, 9, Says::Exactly("seen\r\n")),
    row("exec-payload", exec_payload, 0, Says::Payload),
    row("attach", attach, 0, Says::Exactly("got first\n")),
    row("forward", forward, 0, Says::Part("GET /there HTTP/1.1\n")),
    row("logs", logs, 0, Says::Part("line 20\n")),
    row("logs-follow", logs_follow, 0, Says::Exactly("one\ntwo\n")),
    row("watch", watch, 0, Says::Part("ADDED fixed ")),
];

const PROXY: &[Row] = &[row("proxy", proxy, 0, Says::Part("GET /a/b HTTP/1.1\n"))];

/// Where pods have loopback addresses, to which the API server does not proxy.
const PROXY_REFUSED: &[Row] = &[row("proxy", proxy, 1, Says::Exactly(""))];

/// What wants to say that one direction has ended.
const HALF_CLOSES: &[Row] = &[
    row("exec-half-close", exec_half_close, 0, Says::Exactly("begun\na\nover\n")),
    row("attach-half-close", attach_half_close, 0, Says::Exactly("got first\n")),
    row(
        "forward-half-close",
        forward_half_close,
        0,
        Says::Part("4194304 bytes "),
    ),
];

/// A terminal whose window changes its size while somebody is in it, and in which somebody types.
const RESIZED: &[Row] = &[
    row(
        "exec-resized",
        exec_resized,
        9,
        Says::Exactly("small\r\nlarge\r\ngot typed\r\n"),
    ),
    row(
        "attach-resized",
        attach_resized,
        0,
        Says::Exactly("small\r\nlarge\r\ngot typed\r\n"),
    ),
];

const fn row(case: &'static str, act: fn(&Run<'_>) -> anyhow::Result<Ended>, code: i32, says: Says) -> Row {
    Row { case, act, code, says }
}

/// The libraries spell the path as they like: two of them with an encoded slash.
#[test]
fn h_24_what_a_pod_answers_through_its_proxy_is_the_same_with_every_library() -> anyhow::Result<()> {
    let world = World::shared()?;
    let clients = [CLIENT_GO[0], PYTHON, JAVASCRIPT];
    if world.places.proxied {
        return same(world, &clients, PROXY);
    }
    left_out("what a pod answers libraries through its proxy", Lack::Route, "")?;
    same(world, &clients, PROXY_REFUSED)
}

#[test]
fn h_24_a_program_on_client_go_is_served_the_same_over_every_protocol() -> anyhow::Result<()> {
    let world = World::shared()?;
    same(world, &CLIENT_GO, ROWS)?;
    same(world, &CLIENT_GO, HALF_CLOSES)?;
    same(world, &CLIENT_GO, RESIZED)
}

#[test]
fn h_24_h_13_the_python_client_is_served_the_same_over_the_fourth_version() -> anyhow::Result<()> {
    same(World::shared()?, &[PYTHON], ROWS)
}

#[test]
fn h_24_the_javascript_client_is_served_the_same() -> anyhow::Result<()> {
    same(World::shared()?, &[JAVASCRIPT], ROWS)
}

/// The rows of streams for a cluster that is not the shared one.
pub(crate) fn streams_that_fall_back(world: &World) -> anyhow::Result<()> {
    let streams =
        |row: &&Row| row.case.starts_with("exec") || row.case.starts_with("attach") || row.case.starts_with("forward");
    let rows: Vec<Row> = ROWS
        .iter()
        .chain(HALF_CLOSES)
        .chain(RESIZED)
        .filter(streams)
        .copied()
        .collect();
    assert!(rows.len() >= 10, "rows are gone");
    same(world, &CLIENT_GO[2..], &rows)
}

fn sh<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["exec"], flags, &["shell", "shell", "--", "sh", "-c", script]].concat()
}

fn exec(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(
        &sh(&["--stdin"], "read line; echo got $line; echo trouble >&2; exit 3"),
        b"in\n",
    )
}

fn exec_silent(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&sh(&[], "true"), b"")
}

fn exec_nothing(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["exec", "shell", "shell", "--", "no-such-program"], b"")
}

fn exec_nowhere(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["exec", "shell", "nobody", "--", "true"], b"")
}

fn exec_terminal(run: &Run<'_>) -> anyhow::Result<Ended> {
    let script = "while [ \"$(stty size)\" != \"31 117\" ]; do sleep 0.05; done; echo seen; exit 9";
    run.run(&sh(&["--tty", "117x31"], script), b"")
}

/// The two sizes of the window, as the client is told them: the second one once the pod has said that it has seen the first.
const SIZES: &str = "117x31,99x41";

/// Sees both sizes and reads what is typed, which nothing echoes by then. Each look reads the size once.
fn sees_both_sizes(code: u8) -> String {
    let becomes = |size: &str| format!("while [ \"$(stty size)\" != \"{size}\" ]; do sleep 0.05; done");
    format!(
        "stty -echo; {}; echo small; {}; echo large; read line; echo got $line; exit {code}",
        becomes("31 117"),
        becomes("41 99")
    )
}

fn typed_when_large(mut talk: Talk) -> anyhow::Result<Ended> {
    talk.says("large\r\n")?;
    talk.write(b"typed\n")?;
    talk.end()
}

fn exec_resized(run: &Run<'_>) -> anyhow::Result<Ended> {
    let script = sees_both_sizes(9);
    typed_when_large(run.start(&sh(&["--stdin", "--tty", SIZES], &script))?)
}

/// Before somebody is there the window has no size, so nothing is said that nobody hears.
fn attach_resized(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.tag();
    run.world.pod_with_terminal(&pod, &sees_both_sizes(7))?;
    typed_when_large(run.start(&["attach", "--stdin", "--tty", SIZES, &pod, "main"])?)
}

/// The command knows by itself when all has come, as not every protocol can say so.
fn exec_payload(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&sh(&["--stdin"], "head -c 4194304"), &PAYLOAD)
}

fn exec_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    let mut talk = run.start(&sh(&["--stdin"], "echo begun; cat; echo over"))?;
    talk.says("begun\n")?;
    talk.write(b"a\n")?;
    talk.says("a\n")?;
    talk.close();
    talk.end()
}

fn attach(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.pod("read line; echo got $line; exit 7")?;
    run.run(&["attach", "--stdin", &pod, "main"], b"first\n")
}

fn attach_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = run.pod("while read line; do echo got $line; done; exit 7")?;
    run.run(&["attach", "--stdin", &pod, "main"], b"first\n")
}

fn forward(run: &Run<'_>) -> anyhow::Result<Ended> {
    let port = run.world.places.local.to_string();
    let question = b"GET /there HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n";
    run.run(&["portforward", "web", &port], question)
}

fn forward_half_close(run: &Run<'_>) -> anyhow::Result<Ended> {
    let port = run.world.places.sink.to_string();
    run.run(&["portforward", "--half-close", "web", &port], &PAYLOAD)
}

fn logs(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["logs", "shell", "talker"], b"")
}

fn logs_follow(run: &Run<'_>) -> anyhow::Result<Ended> {
    let go = run.folder()?.join("go");
    let pod = run.pod(&says_two(&go))?;
    let mut talk = run.start(&["logs", "--follow", &pod, "main"])?;
    talk.says("one\n")?;
    std::fs::write(go, "")?;
    talk.end()
}

fn watch(run: &Run<'_>) -> anyhow::Result<Ended> {
    run.run(&["watch", "fixed"], b"")
}

fn proxy(run: &Run<'_>) -> anyhow::Result<Ended> {
    let pod = format!("web:{}", run.world.places.web);
    run.run(&["proxy", &pod, "a/b"], b"")
}
