//! Running rows on both sides, several at a time, and comparing them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::talk::{Ended, Talk, lossy};
use super::words::comparable;
use super::world::{NAMESPACE, Side, World};

/// Rows of one client that run at a time.
const AT_A_TIME: usize = 4;

/// What a client is asked to do.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) act: fn(&Run<'_>) -> anyhow::Result<Ended>,
    /// Two sides that fail alike by accident do not agree, so each row says how it ends and what it says.
    pub(crate) code: i32,
    pub(crate) says: Says,
}

/// What has to be in standard output.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Exactly(&'static str),
    Part(&'static str),
    Payload,
}

/// A program, and the protocol it starts with.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// The command that speaks with the cluster of a kubeconfig, in [`NAMESPACE`].
    pub(crate) command: fn(&Side, &Client) -> anyhow::Result<Command>,
    pub(crate) protocol: &'static str,
}

/// One row on one side.
pub(crate) struct Run<'w> {
    pub(crate) world: &'w World,
    pub(crate) side: &'w Side,
    pub(crate) client: Client,
    case: &'static str,
}

impl Run<'_> {
    /// A name for what is this run's own.
    pub(crate) fn tag(&self) -> String {
        format!(
            "{}-{}-{}-{}",
            self.case, self.client.name, self.client.protocol, self.side.name
        )
        .replace('.', "-")
    }

    pub(crate) fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = (self.client.command)(self.side, &self.client)?;
        command.args(words);
        Ok(command)
    }

    pub(crate) fn start(&self, words: &[&str]) -> anyhow::Result<Talk> {
        Talk::start(self.command(words)?)
    }

    pub(crate) fn run(&self, words: &[&str], input: &[u8]) -> anyhow::Result<Ended> {
        Talk::run(self.command(words)?, input)
    }

    /// A pod of this run's own; see [`World::pod`].
    pub(crate) fn pod(&self, script: &str) -> anyhow::Result<String> {
        let name = self.tag();
        self.world.pod(&name, script)?;
        Ok(name)
    }

    pub(crate) fn folder(&self) -> anyhow::Result<PathBuf> {
        self.world.folder(&self.tag())
    }
}

/// 4 MiB in which no two KiB are the same, with every byte value.
pub(crate) static PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..1_048_576_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
});

pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// Runs all rows for each client on both sides and fails with every difference there is, and with every session that is not
/// recorded as it should be.
pub(crate) fn same(world: &World, clients: &[Client], rows: &[Row]) -> anyhow::Result<()> {
    let before = world.gateway.records()?.len();
    let all = clients
        .iter()
        .flat_map(|client| rows.iter().map(move |row| (*client, row)));
    let waiting: Mutex<VecDeque<(Client, &Row)>> = Mutex::new(all.collect());
    let problems: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((client, row)) = next else { return };
                    if let Some(problem) = differs(world, client, row) {
                        problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        problems.is_empty(),
        "{} rows differ\n\n{}\n\nrecorded:\n{}",
        problems.len(),
        problems.join("\n\n"),
        world.recorded(before)
    );
    world.sessions_are_recorded()
}

fn differs(world: &World, client: Client, row: &Row) -> Option<String> {
    let title = format!("── {} ({}): {}", client.name, client.protocol, row.case);
    let [direct, gate] = world.sides.each_ref().map(|side| {
        let run = Run {
            world,
            side,
            client,
            case: row.case,
        };
        (row.act)(&run).map(|ended| (ended, run.tag()))
    });
    let ((direct, of_direct), (gate, of_gate)) = match (direct, gate) {
        (Ok(direct), Ok(gate)) => (direct, gate),
        (direct, gate) => {
            let said = [("direct", direct), ("gate", gate)]
                .map(|(side, ended)| ended.err().map(|error| format!("{side}: {error:#}")));
            return Some(format!(
                "{title}\n{}",
                said.into_iter().flatten().collect::<Vec<_>>().join("\n")
            ));
        }
    };
    let mut problem = judge(&direct, row.code, row.says).map_or_else(String::new, |why| format!("direct: {why}\n"));
    problem.push_str(&compared(&direct, &of_direct, &gate, &of_gate));
    (!problem.is_empty()).then(|| format!("{title}\n{problem}"))
}

/// What is wrong with one side alone.
fn judge(ended: &Ended, code: i32, says: Says) -> Option<String> {
    let as_expected = match says {
        Says::Exactly(text) => ended.stdout == text.as_bytes(),
        Says::Part(text) => lossy(&ended.stdout).contains(text),
        Says::Payload => ended.stdout == *PAYLOAD,
    };
    (!as_expected || ended.code != code).then(|| shown(ended))
}

/// Where two sides differ; empty where they do not.
pub(crate) fn compared(direct: &Ended, of_direct: &str, gate: &Ended, of_gate: &str) -> String {
    let mut problem = String::new();
    // Bytes that are no text have to be the same as they stand.
    let text = |ended: &Ended, tag: &str| {
        std::str::from_utf8(&ended.stdout)
            .ok()
            .map(|text| comparable(text, tag))
    };
    let alike = text(direct, of_direct).is_some_and(|direct| Some(direct) == text(gate, of_gate));
    let same_output = direct.stdout == gate.stdout || alike;
    let same_errors = comparable(&direct.stderr, of_direct) == comparable(&gate.stderr, of_gate);
    if !same_output || !same_errors || direct.code != gate.code {
        let _ = write!(problem, "direct: {}\ngate:   {}", shown(direct), shown(gate));
    }
    problem
}

fn shown(ended: &Ended) -> String {
    let mut text: String = lossy(&ended.stdout).chars().take(1500).collect();
    if ended.stdout.len() > 1500 {
        let _ = write!(
            text,
            "… ({} bytes, sha256 {})",
            ended.stdout.len(),
            digest(&ended.stdout)
        );
    }
    format!(
        "exit code {}\n  stdout: {text:?}\n  stderr: {:?}",
        ended.code, ended.stderr
    )
}

/// The namespace as arguments, where a client takes it as kubectl does.
pub(crate) const IN_NAMESPACE: [&str; 2] = ["-n", NAMESPACE];
