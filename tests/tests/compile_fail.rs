//! What must not compile does not: skipping the audit, forging a permit, opening an answer early, sending twice.
//!
//! Each case is held to the error that it names, and a control case compiles, so that none fails for another reason.
//! rustc is asked directly with the libraries that this test itself was linked with; nothing is built twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The newest library of that name beside this test.
fn library(deps: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let prefix = format!("lib{name}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(deps)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        if file.starts_with(&prefix) && file.ends_with(".rlib") {
            found.push((path.metadata()?.modified()?, path));
        }
    }
    found.sort();
    found
        .pop()
        .map(|(_, path)| path)
        .with_context(|| format!("no library `{name}` in {}", deps.display()))
}

/// The codes of the errors that rustc gives for one case.
fn errors(case: &Path, deps: &Path, scratch: &Path) -> anyhow::Result<Vec<String>> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args([
        "--edition",
        "2024",
        "--crate-type",
        "lib",
        "--emit",
        "metadata",
        "--error-format",
        "json",
    ]);
    rustc
        .arg("--out-dir")
        .arg(scratch)
        .arg("-L")
        .arg(format!("dependency={}", deps.display()));
    for name in ["proxy", "http"] {
        rustc
            .arg("--extern")
            .arg(format!("{name}={}", library(deps, name)?.display()));
    }
    let output = rustc.arg(case).output().context("start rustc")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut codes = Vec::new();
    for line in text.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if message["level"] == "error" && message["spans"].as_array().is_some_and(|spans| !spans.is_empty()) {
            codes.push(message["code"]["code"].as_str().unwrap_or("none").to_owned());
        }
    }
    ensure!(
        output.status.success() == codes.is_empty(),
        "{} ends otherwise than it says:\n{text}",
        case.display()
    );
    Ok(codes)
}

#[test]
fn evidence_cannot_be_skipped_forged_opened_early_or_used_twice() -> anyhow::Result<()> {
    let running = std::env::current_exe()?;
    let deps = running.parent().context("a folder")?;
    let scratch = tempfile::tempdir()?;
    let folder = tests::counterparts::repository().join("tests/compile_fail");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    cases.sort();
    ensure!(cases.len() >= 10, "cases are missing: {cases:?}");
    for case in cases {
        let text = std::fs::read_to_string(&case)?;
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("// expect: "))
            .context("the first line names the error")?;
        let found = errors(&case, deps, scratch.path())?;
        let wanted: &[&str] = if expected == "nothing" { &[] } else { &[expected] };
        assert_eq!(found, wanted, "{}", case.display());
    }
    Ok(())
}
