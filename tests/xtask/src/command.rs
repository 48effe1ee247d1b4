//! Running programs: what they are, what they said, and what to install when they are missing.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says a line to the person. Progress and results alike go to standard output, so that they keep their order in a log.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// The repository's root, wherever cargo was called.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The cargo that called us, at the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs it with its output shown; whether it succeeded.
///
/// # Errors
/// It cannot be started.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    Ok(command
        .status()
        .with_context(|| format!("run {}", command.get_program().display()))?
        .success())
}

/// Runs it and gives its standard output; its errors are shown.
///
/// # Errors
/// It cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_owned();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", name.display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", name.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder that cargo builds in.
///
/// # Errors
/// Cargo does not say.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(target.context("cargo names no target directory")?.into())
}

/// Runs it, shows each line of its standard output as it comes, and gives it to `each`; whether it succeeded.
///
/// # Errors
/// It cannot be started or read.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> anyhow::Result<bool> {
    let name = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", name.display()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        tell(&line);
        each(&line);
    }
    Ok(child.wait()?.success())
}

/// Fails with what to install when one of the programs is not in `PATH`.
///
/// # Errors
/// One is missing.
pub(crate) fn need(programs: &[&str]) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            let how = match *program {
                "go" => "Go 1.26 or newer from https://go.dev/dl/",
                "node" | "npm" => "Node 20.19 or newer from https://nodejs.org/",
                "python3" => "Python 3.11 or newer with venv (`apt-get install python3-venv`)",
                other => other,
            };
            bail!("`{program}` is not in PATH: install {how}, or run `cargo xtask check --without counterparts`");
        }
    }
    Ok(())
}
