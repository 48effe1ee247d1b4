//! The signed tree as files behind a web server that knows nothing of us, read by our verifier and by public libraries (promise 5).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::{Disk, Ledger, Options, Publisher, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;
use tests::counterparts::{own_binary, program};
use tests::kubectl::{Output, Running, run};
use tests::process::Folder;
use tests::wait::PATIENCE;

const NAME: &str = "gate.example/served";

/// Appends so many records to the ledger in this folder, and signs it.
fn grow(dir: &Path, key: &str, records: usize) -> anyhow::Result<()> {
    let signer: SigningKey = key.parse()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let ledger = Arc::new(Ledger::open(dir, Options::default(), Arc::clone(&disk))?.0);
    let clock = Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000));
    let publisher = Publisher::start(&ledger, disk, None, vec![Arc::new(signer)], clock)?;
    for number in 0..records {
        let body = format!("{{\"id\":\"{number}\"}}").into_bytes();
        ledger.append(RecordKind::Access, body, Vec::new())?;
    }
    ledger.close();
    publisher.finish()?;
    Ok(())
}

fn gatescribe(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(["ledger"]).args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

/// The program on Go's and transparency-dev's libraries: how many entries it has read.
fn public(key: &str, url: &str, checkpoint: &Path) -> anyhow::Result<u64> {
    let mut command = Command::new(program("tlog")?);
    command.args(["tree", key, url]).arg(checkpoint);
    let read = run(command, "", PATIENCE)?;
    ensure!(read.code == 0, "{read}");
    Ok(read.stdout.trim().parse()?)
}

/// Python's web server over a folder, on a port of its own choice.
fn served(folder: &Path) -> anyhow::Result<(Running, String)> {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
    command.arg(folder);
    let mut server = Running::start(command)?;
    let line = server.line("it listens", |line| line.starts_with("Serving HTTP on "))?;
    let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next());
    let url = format!("http://127.0.0.1:{}", port.context("a port")?);
    Ok((server, url))
}

fn files_in(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

#[test]
fn promise_5_a_ledger_as_files_behind_any_web_server_is_verified_by_strangers() -> anyhow::Result<()> {
    let folder = Folder::new("tiles")?;
    let (dir, out) = (folder.path().join("ledger"), folder.path().join("served"));
    let (ledger, site) = (dir.to_str().context("UTF-8")?, out.to_str().context("UTF-8")?);
    let signer = SigningKey::generate(KeyName::new(NAME)?, Algorithm::Ed25519)?;
    let (key, private) = (signer.key().to_string(), signer.to_private_text());
    grow(&dir, &private, 300)?;
    let made = gatescribe(&["tiles", ledger, site])?;
    assert!(
        made.code == 0 && made.stdout.ends_with(" files written, 0 were there\n"),
        "{made}"
    );
    let (mut server, url) = served(&out)?;
    let earlier = folder.write("earlier", fs::read(out.join("checkpoint"))?)?;
    let size = public(&key, &url, &earlier)?;
    ensure!(size >= 300, "{size}");
    let told = gatescribe(&["verify", &url, "--key", &key])?;
    assert!(
        told.code == 0 && told.stdout.contains("✔ every record is the one"),
        "{told}"
    );

    // It grows under the server, and goes on from what a client remembers.
    grow(&dir, &private, 700)?;
    let grown = gatescribe(&["tiles", ledger, site])?;
    assert!(grown.code == 0 && !grown.stdout.contains(", 0 were there"), "{grown}");
    assert!(public(&key, &url, &earlier)? >= size + 700);
    let told = gatescribe(&[
        "verify",
        &url,
        "--key",
        &key,
        "--since",
        earlier.to_str().context("UTF-8")?,
    ])?;
    assert!(
        told.code == 0 && told.stdout.contains("; 2 checkpoints compared"),
        "{told}"
    );
    let before = files_in(&out)?;
    let again = gatescribe(&["tiles", ledger, site])?;
    assert!(
        again.code == 0 && again.stdout.contains(" 0 files written, "),
        "{again}"
    );
    assert_eq!(files_in(&out)?, before);

    // Neither another log nor another's folder, nor the ledger's own.
    let other = folder.path().join("other");
    let stranger = SigningKey::generate(KeyName::new("gate.example/other")?, Algorithm::Ed25519)?;
    grow(&other, &stranger.to_private_text(), 5)?;
    let other = other.to_str().context("UTF-8")?;
    let inside = dir.join("served");
    let home = folder.path().to_str().context("UTF-8")?;
    for (arguments, code, words) in [
        ([other, site], 6, "is of the log `gate.example/served`"),
        ([ledger, home], 6, "holds other files, and no log"),
        (
            [ledger, inside.to_str().context("UTF-8")?],
            2,
            "lies in the ledger's folder",
        ),
    ] {
        let told = gatescribe(&["tiles", arguments[0], arguments[1]])?;
        assert!(told.code == code && told.stderr.contains(words), "{told}");
    }
    assert_eq!(files_in(&out)?, before);
    server.kill_hard()
}

/// Tessera's `fsck` over the whole log at this address: transparency-dev's log library asks for it by its own paths, and reads it with its own code.
fn fsck(key: &str, url: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program("tessera-fsck")?);
    command.args([key, url]);
    run(command, "", PATIENCE)
}

#[test]
fn promise_5_a_public_log_library_reads_a_ledger_as_files_whole_and_finds_each_file_that_was_changed()
-> anyhow::Result<()> {
    let folder = Folder::new("fsck")?;
    let (dir, out) = (folder.path().join("ledger"), folder.path().join("served"));
    let signer = SigningKey::generate(KeyName::new(NAME)?, Algorithm::Ed25519)?;
    let key = signer.key().to_string();
    grow(&dir, &signer.to_private_text(), 700)?;
    let made = gatescribe(&["tiles", dir.to_str().context("UTF-8")?, out.to_str().context("UTF-8")?])?;
    assert_eq!(made.code, 0, "{made}");
    let (mut server, url) = served(&out)?;
    let whole = fsck(&key, &url)?;
    assert_eq!(whole.code, 0, "{whole}");
    let size: u64 = whole.stdout.trim().parse()?;
    assert!(
        size >= 700 && made.stdout.starts_with(&format!("{size} records signed, ")),
        "{made}"
    );

    let files = files_in(&out)?;
    let of_log = files.iter().filter(|(path, _)| !path.ends_with(".lock"));
    let mut kinds = BTreeMap::new();
    for (path, bytes) in of_log {
        let name = path.strip_prefix(&out)?.to_str().context("UTF-8")?;
        let mut changed = bytes.clone();
        *changed.get_mut(bytes.len() / 2).context("no empty file")? ^= 1;
        fs::write(path, changed)?;
        let told = fsck(&key, &url)?;
        assert!(told.code == 1 && told.stderr.contains("fsck: "), "{name}: {told}");
        let is_hashes = name.starts_with("tile/") && !name.starts_with("tile/entries/");
        if is_hashes {
            assert!(told.stderr.contains(&format!("{name}: log has:")), "{name}: {told}");
        }
        fs::remove_file(path)?;
        let told = fsck(&key, &url)?;
        assert!(told.code == 1 && told.stderr.contains("fsck: "), "{name}: {told}");
        fs::write(path, bytes)?;
        *kinds
            .entry(name.split('/').nth(1).unwrap_or(name).to_owned())
            .or_insert(0) += 1;
    }
    let wanted = [("0", 3), ("1", 1), ("checkpoint", 1), ("entries", 3)];
    assert_eq!(kinds, wanted.map(|(kind, count)| (kind.to_owned(), count)).into());
    let other = SigningKey::generate(KeyName::new(NAME)?, Algorithm::Ed25519)?;
    assert_eq!(fsck(&other.key().to_string(), &url)?.code, 1, "another key");
    assert_eq!(fsck(&key, &url)?.code, 0, "as it was");
    server.kill_hard()
}
