//! What each stage runs.

use super::count::Count;
use crate::command::{cargo, lines, output, root, succeeds, tell};
use crate::counterparts as real;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

/// The crate of stories. Its test files named `in_process_…` need no counterpart; all others do.
const TESTS: &str = "gatescribe-tests";
const IN_PROCESS: &str = "in_process_";
/// Test files of this name in other crates run a real kubectl, so they wait until it is built.
const KUBECTL: &str = "kubectl";

const DENY_VERSION: &str = "0.20.2";

pub(super) fn format() -> anyhow::Result<Count> {
    Ok(Count::one(succeeds(&mut cargo(&["fmt", "--all", "--check"]))?))
}

pub(super) fn lint() -> anyhow::Result<Count> {
    let mut command = cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(Count::one(succeeds(&mut command)?))
}

pub(super) fn unit() -> anyhow::Result<Count> {
    tests(&mut cargo(&[
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--no-fail-fast",
    ]))
}

/// Integration tests of the other crates, and those of the stories that need nothing.
pub(super) fn in_process() -> anyhow::Result<Count> {
    let mut total = Count::default();
    for package in packages()? {
        let names = package.tests().filter(|name| {
            if package.name == TESTS {
                name.starts_with(IN_PROCESS)
            } else {
                *name != KUBECTL
            }
        });
        let names: Vec<String> = names.map(str::to_owned).collect();
        if !names.is_empty() {
            total += run_named(&package.name, &names)?;
        }
    }
    Ok(total)
}

pub(super) fn counterparts() -> anyhow::Result<Count> {
    real::build()?;
    // Stories drive the gateway as a program.
    if !succeeds(&mut cargo(&["build", "-p", "gatescribe-cli", "-p", TESTS, "--bins"]))? {
        bail!("the programs under test do not build");
    }
    let all = packages()?;
    let package = all
        .iter()
        .find(|package| package.name == TESTS)
        .context("no crate of stories")?;
    let names: Vec<String> = package
        .tests()
        .filter(|name| !name.starts_with(IN_PROCESS))
        .map(str::to_owned)
        .collect();
    let mut total = run_named(TESTS, &names)?;
    let others = all.iter().filter(|package| package.name != TESTS);
    for package in others.filter(|package| package.tests().any(|name| name == KUBECTL)) {
        total += run_named(&package.name, &[KUBECTL.to_owned()])?;
    }
    Ok(total)
}

/// cargo-deny, installed once below `target/tools`.
pub(super) fn supply() -> anyhow::Result<Count> {
    if !root().join("deny.toml").is_file() {
        bail!("there is no deny.toml");
    }
    let tools = root().join("target/tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.is_file() {
        tell("cargo-deny: building it into target/tools, once; this takes minutes …");
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--version", DENY_VERSION, "--root"]);
        if !succeeds(install.arg(&tools))? {
            bail!("cargo-deny does not build");
        }
    }
    Ok(Count::one(succeeds(
        Command::new(deny).arg("check").current_dir(root()),
    )?))
}

/// Runs test targets one after another, so that two clusters never start at once.
fn run_named(package: &str, names: &[String]) -> anyhow::Result<Count> {
    let mut command = cargo(&["test", "-p", package, "--no-fail-fast"]);
    for name in names {
        command.args(["--test", name]);
    }
    tests(&mut command)
}

/// Runs a `cargo test` and sums its result lines. One that fails without a failed test (it did not build, a test program
/// crashed) is a failure of its own.
pub(super) fn tests(command: &mut Command) -> anyhow::Result<Count> {
    let mut total = Count::default();
    let succeeded = lines(command, |line| {
        if let Some(count) = Count::from_line(line) {
            total += count;
        }
    })?;
    if !succeeded && total.failed == 0 {
        total.failed = 1;
    }
    Ok(total)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A package of this workspace.
#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default)]
    src_path: PathBuf,
}

impl Package {
    fn tests(&self) -> impl Iterator<Item = &str> {
        let of_kind = |target: &&Target| target.kind.iter().any(|kind| kind == "test") && target.src_path.is_file();
        self.targets.iter().filter(of_kind).map(|target| target.name.as_str())
    }
}

fn packages() -> anyhow::Result<Vec<Package>> {
    let text = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    Ok(serde_json::from_str::<Metadata>(&text)?.packages)
}
