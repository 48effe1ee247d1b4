//! What each stage runs.

use super::count::Count;
use super::left_out::LeftOut;
use crate::command::{cargo, lines, output, root, succeeds, tell};
use crate::counterparts as real;
use anyhow::bail;
use serde::Deserialize;
use std::collections::BTreeSet;
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

pub(super) fn unit(left_out: &LeftOut) -> anyhow::Result<Count> {
    let mut command = cargo(&["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
    tests(&mut command, left_out)
}

/// Integration tests of the other crates, and those of the stories that need nothing.
pub(super) fn in_process(left_out: &LeftOut) -> anyhow::Result<Count> {
    run_named(&named(&packages()?, Needs::Nothing)?, left_out)
}

pub(super) fn counterparts(left_out: &LeftOut) -> anyhow::Result<Count> {
    real::build()?;
    // Stories drive the gateway as a program, with the features that it is shipped with.
    if !succeeds(&mut cargo(&["build", "-p", "gatescribe-cli", "-p", TESTS, "--bins"]))? {
        bail!("the programs under test do not build");
    }
    run_named(&named(&packages()?, Needs::Counterparts)?, left_out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Counterparts,
}

/// The names of the test files of one stage.
fn named(all: &[Package], wanted: Needs) -> anyhow::Result<BTreeSet<&str>> {
    let (mut names, mut others) = (BTreeSet::new(), BTreeSet::new());
    for package in all {
        for name in package.tests() {
            let here = if package.needs(name) == wanted {
                &mut names
            } else {
                &mut others
            };
            here.insert(name);
        }
    }
    // Cargo picks by name alone among all packages.
    if let Some(name) = names.intersection(&others).next() {
        bail!("the test file `{name}` of one package needs counterparts and that of another does not: rename one");
    }
    Ok(names)
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

/// Runs test targets one after another, so that two clusters never start at once. Among all packages: a package alone has
/// other features of what it shares with the rest, and each such choice is another build of half the libraries.
fn run_named(names: &BTreeSet<&str>, left_out: &LeftOut) -> anyhow::Result<Count> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    for name in names {
        command.args(["--test", name]);
    }
    tests(&mut command, left_out)
}

/// Runs a `cargo test` and sums its result lines. One that fails without a failed test (it did not build, a test program
/// crashed) is a failure of its own.
pub(super) fn tests(command: &mut Command, left_out: &LeftOut) -> anyhow::Result<Count> {
    left_out.told_to(command);
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
    fn needs(&self, test: &str) -> Needs {
        let nothing = if self.name == TESTS {
            test.starts_with(IN_PROCESS)
        } else {
            test != KUBECTL
        };
        if nothing { Needs::Nothing } else { Needs::Counterparts }
    }

    fn tests(&self) -> impl Iterator<Item = &str> {
        let of_kind = |target: &&Target| target.kind.iter().any(|kind| kind == "test") && target.src_path.is_file();
        self.targets.iter().filter(of_kind).map(|target| target.name.as_str())
    }
}

fn packages() -> anyhow::Result<Vec<Package>> {
    let text = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    Ok(serde_json::from_str::<Metadata>(&text)?.packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, tests: &[&str]) -> Package {
        let target = |test: &&str| Target {
            name: (*test).to_owned(),
            kind: vec!["test".to_owned()],
            src_path: root().join("tests/xtask/src/check/stages.rs"),
        };
        Package {
            name: name.to_owned(),
            targets: tests.iter().map(target).collect(),
        }
    }

    #[test]
    fn each_test_file_is_of_one_stage() {
        let all = [
            package(TESTS, &["watches", "in_process_corpora"]),
            package("gatescribe-proxy", &["kubectl", "listener_tls"]),
        ];
        let nothing = named(&all, Needs::Nothing).unwrap();
        assert_eq!(Vec::from_iter(nothing), ["in_process_corpora", "listener_tls"]);
        let counterparts = named(&all, Needs::Counterparts).unwrap();
        assert_eq!(Vec::from_iter(counterparts), ["kubectl", "watches"]);
    }

    #[test]
    fn a_name_of_both_stages_is_refused() {
        let all = [package(TESTS, &["watches"]), package("gatescribe-proxy", &["watches"])];
        assert!(named(&all, Needs::Nothing).is_err());
    }
}
