//! `gatescribe serve --check` beside a gateway on the same configuration: it says that all is well, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use tests::counterparts;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, try_until};

/// Every file below a folder and its bytes.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.clone(), std::fs::read(path)?);
            }
        }
    }
    Ok(all)
}

/// Waits until each thread is stopped: the signal only asks for it, and a write that has begun goes on.
fn stands_still(gateway: &Gateway) -> anyhow::Result<()> {
    let threads = format!("/proc/{}/task", gateway.process().pid()?);
    try_until("the gateway stands still", PATIENCE, || {
        for thread in std::fs::read_dir(&threads)? {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            ensure!(stat.contains(") T "), "{stat}");
        }
        Ok(())
    })
}

#[test]
fn a_check_beside_a_running_gateway_finds_all_well_and_changes_no_byte() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let mut gateway = Gateway::before(&fake.upstream(), &Options::default())?;
    let data = gateway.ledger().parent().context("no data folder")?.to_owned();
    // It holds its ports and its lock, and cannot write meanwhile: whatever changes is the check's doing.
    gateway.process().signal(Signal::SIGSTOP)?;
    stands_still(&gateway)?;
    let before = files(&data)?;
    ensure!(before.len() > 3, "{:?}", before.keys());
    let checked = Command::new(counterparts::own_binary("gatescribe")?)
        .arg("serve")
        .arg("--check")
        .arg("--config")
        .arg(gateway.config())
        .output();
    let after = files(&data);
    gateway.process().signal(Signal::SIGCONT)?;
    let (checked, after) = (checked?, after?);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    ensure!(checked.status.code() == Some(0), "{:?}: {said}", checked.status);
    ensure!(
        said.contains("✔ the configuration and every file that it names can be used"),
        "{said}"
    );
    ensure!(!said.contains("! "), "{said}");
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    ensure!(changed.is_empty(), "{changed:?}");
    // The gateway has felt nothing.
    gateway.ready()
}

#[test]
fn a_gateway_that_ends_before_it_is_ready_is_told_with_its_last_words() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    // A mistake: the file is not there.
    let options = Options {
        more: Some(serde_json::json!({ "policy": { "rules": ["/nowhere/rules.yaml"] } })),
        ..Options::default()
    };
    let error = Gateway::before(&fake.upstream(), &options).expect_err("it has started");
    let error = format!("{error:#}");
    ensure!(error.starts_with("the gateway ended (exit status: "), "{error}");
    ensure!(error.contains("/nowhere/rules.yaml"), "{error}");
    Ok(())
}
