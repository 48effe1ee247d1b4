//! `gatescribe demo --script`: the demo's whole story, performed by the same commands that a person would type.
//!
//! Each step is a real process with its own expectations; the transcript shows what it really said. The demo's end-to-end
//! test and the picture in the README are this, so none of them can promise what another one does not keep.

mod story;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::place::Files;
use crate::terminal::{data, say};
use story::Step;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the story plays.
pub(super) struct Stage<'a> {
    pub(super) files: &'a Files,
    pub(super) folder: &'a Path,
    /// The gateway's address.
    pub(super) gateway: &'a str,
    /// Whether there is a kubectl to play with.
    pub(super) kubectl: bool,
}

/// What a step came to.
struct Played {
    said: String,
    code: Option<i32>,
}

/// Performs the story; `false` when a step was not as promised.
pub(super) async fn perform(stage: &Stage<'_>) -> anyhow::Result<bool> {
    let steps = story::steps(stage.gateway, stage.kubectl);
    let (all, mut last_refusal) = (steps.len(), String::new());
    for (number, step) in steps.into_iter().enumerate() {
        let step = step.resolved(&last_refusal);
        if let Some(remark) = step.remark {
            data(&format!("# {remark}\n"))?;
        }
        data(&format!("{}$ {}\n", step.who, step.typed()))?;
        let played = play(stage, &step).await?;
        data(&format!("{}\n\n", shown(&played.said)))?;
        if let Some(fault) = step.fault(&played.said, played.code) {
            say(&format!("✖ step {} of {all} is not as promised: {fault}", number + 1));
            return Ok(false);
        }
        if step.is_refused() {
            last_refusal = played.said;
        }
    }
    say(&format!("✔ all {all} steps were as promised"));
    Ok(true)
}

async fn play(stage: &Stage<'_>, step: &Step) -> anyhow::Result<Played> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = stage.folder.join("bin");
    let path = std::env::join_paths(std::iter::once(own.clone()).chain(std::env::split_paths(&path)))?;
    let program = match step.program() {
        "gatescribe" => own.join("gatescribe").into_os_string(),
        other => other.into(),
    };
    let mut command = Command::new(program);
    command
        .args(step.arguments())
        .env("PATH", path)
        .env("HOME", &stage.files.home)
        .env("KUBECONFIG", &stage.files.kubeconfig)
        .env("GATESCRIBE_HOME", &stage.files.home)
        .env("GATESCRIBE_GATEWAY", stage.gateway)
        .env(
            "BROWSER",
            format!("{}/gatescribe demo browse {}", own.display(), step.who),
        )
        .env_remove("GATESCRIBE_NO_BROWSER")
        .env_remove("KUBECACHEDIR")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("`{}` does not end", step.typed()))?
        .with_context(|| format!("`{}` cannot be run", step.program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Played {
        said: format!("{}{}", text(&output.stdout), text(&output.stderr)),
        code: output.status.code(),
    })
}

/// What was said, without the one-time query of the sign-in's address, which is long and says nothing.
fn shown(said: &str) -> String {
    let line = |line: &str| match line.split_once("/authorize?") {
        Some((before, _)) => format!("{before}/authorize?…"),
        None => line.to_owned(),
    };
    said.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}
