//! The disk of recordings is full in the middle of a session: a small file system of one's own under `recording.dir`.
//!
//! Mounting one needs a mount namespace of one's own (`unshare -rm`: no rights on the machine are needed, where user namespaces are
//! permitted), so the story runs a second time in such.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use recording::{Anchor, Survey, Tail};
use serde_json::{Value, json};
use tests::channels::typed;
use tests::fake::Then;
use tests::left_out::{Lack, is_there};
use tests::metrics::Scrape;
use tests::process::{Folder, Process};
use tests::upgraded::Upgraded;
use tests::wait::{PATIENCE, try_until, wait_until};

use super::silence::{MOST_KIB, Pour};
use super::stage::{Stage, V5, exec_target};

/// Where the small file system is, for the second run.
const INSIDE: &str = "GATESCRIBE_TEST_SMALL_DISK";
const STORY: &str = "full_disk::a_disk_that_fills_up_ends_what_is_recorded_on_it_and_nothing_else";
/// Of the small file system.
const SIZE: u64 = 8 << 20;

/// The command where a file system of that size is mounted at a place, which nobody else sees.
fn on_small_disk(at: &Path, program: &str, words: &[&str]) -> Command {
    let mounts = format!("mount -t tmpfs -o size={SIZE} small \"$0\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", &mounts])
        .arg(at)
        .arg(program)
        .args(words);
    command
}

#[test]
fn a_disk_that_fills_up_ends_what_is_recorded_on_it_and_nothing_else() -> anyhow::Result<()> {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return inside(&PathBuf::from(disk));
    }
    let disk = tempfile::tempdir()?;
    let mut asked = on_small_disk(disk.path(), "true", &[]);
    if !is_there("a disk that fills up", Lack::FileSystem, &mut asked)? {
        return Ok(());
    }
    let folder = Folder::held("full-disk")?;
    let own = std::env::current_exe()?;
    let own = own.to_str().context("UTF-8")?;
    let mut command = on_small_disk(disk.path(), own, &["--exact", STORY, "--nocapture"]);
    command.env(INSIDE, disk.path());
    let mut story = Process::start("story", &command, &folder)?;
    let ended = wait_until("the story ends", PATIENCE * 4, || story.ended().transpose());
    let log = story.log();
    ensure!(ended.with_context(|| log.clone())??.success(), "{log}");
    // A filter that fits nothing would end well, too.
    ensure!(log.contains("1 passed") && log.contains("filled_at="), "{log}");
    Ok(())
}

fn inside(disk: &Path) -> anyhow::Result<()> {
    // Nothing is kept free, so that it is the system that refuses; and as the configuration has it usually.
    for keeps_free in ["0MiB", "2MiB"] {
        fills_up(&disk.join(keeps_free), keeps_free).with_context(|| keeps_free.to_owned())?;
    }
    Ok(())
}

fn fills_up(folder: &Path, keeps_free: &str) -> anyhow::Result<()> {
    std::fs::create_dir(folder)?;
    let stage = Stage::with(Some(json!({ "recording": { "dir": folder, "keepFree": keeps_free } })))?;
    // Bob's is not recorded, so no disk matters to it.
    let bob = stage.gateway.sign_in("bob")?;
    stage
        .fake
        .answer_upgrades_of(&super::stage::part("free/neighbour"), &V5.granted(), Then::Cat);
    let mut neighbour = Upgraded::ask(
        &stage.gateway,
        &bob.token,
        &exec_target("bench", "free/neighbour"),
        V5,
        b"",
    )?;
    let mut echoes = |line: &[u8]| -> anyhow::Result<()> {
        neighbour.write(&typed(false, 0, line))?;
        let back = neighbour.frame().context("the neighbour's session does not go on")?;
        ensure!(back.payload == [b"\x01", line].concat(), "{back:?}");
        Ok(())
    };
    echoes(b"before")?;
    let before = stage.peak_kib()?;
    let mut client = stage.exec("kept/fills", V5, b"", Then::Listen)?;
    let id = client.id()?;
    // What no compression makes smaller, three times as much as the disk has.
    let mut noise = 1_u64;
    let mut pieces = (0..3 * SIZE / (32 << 10)).map(|_| {
        let piece: Vec<u8> = (0..4 << 10)
            .flat_map(|_| {
                // Xorshift (Marsaglia 2003).
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise.to_le_bytes()
            })
            .collect();
        typed(false, 0, &piece)
    });
    let mut pour = Pour::default();
    let end = try_until("it ends", PATIENCE, || {
        pour.pours(&mut client.stream, Duration::from_millis(500), || pieces.next())?;
        let records = stage.gateway.records()?;
        let mut ends = records
            .into_iter()
            .filter(|record| record["kind"] == "close" && record["id"] == *id);
        ends.next().context("it goes on")
    })?;
    echoes(b"when it is full")?;
    let grown = stage.peak_kib()? - before;
    ensure!(grown < MOST_KIB, "{grown} KiB more");
    let kept = is_cut(&end)?;
    let file = folder.join(format!("{id}.rec"));
    let survey = Survey::of(&file, &[kept])?;
    ensure!(survey.tail == Tail::Open, "what was sealed is whole: {survey:?}");
    ensure!(
        Some(survey.root.bytes) == end["recording"]["bytes"].as_u64() && survey.root.bytes > SIZE / 2,
        "{survey:?}"
    );
    println!("filled_at={}", survey.root.bytes);
    let scrape = Scrape::of(stage.gateway.admin())?;
    let cut = scrape.sum("gateway_recording_sessions_cut_total", &[("cause", "diskFull")]);
    ensure!((cut - 1.0).abs() < f64::EPSILON, "{cut}");
    let log = stage.gateway.log();
    let line = log
        .lines()
        .find(|line| line.contains("a session can no longer be recorded and ends"));
    let line = line.context("a line in the log")?;
    ensure!(line.contains(&id) && line.contains("\"cause\":\"diskFull\""), "{line}");

    has_room_again(&stage, &file)?;
    echoes(b"when there is room")?;
    drop(neighbour);
    stage.each_session_has_one_end()?;
    Ok(())
}

/// The record of an end for want of room: its words, and what is kept.
fn is_cut(end: &Value) -> anyhow::Result<Anchor> {
    ensure!(
        end["outcome"]["end"] == "ended"
            && end["outcome"]["why"] == "ended by the gateway: the disk of recordings is full",
        "{end}"
    );
    let kept = &end["recording"];
    ensure!(kept["incomplete"] == true, "{end}");
    let hash = hex::decode(kept["hash"].as_str().context("a hash")?)?;
    let hash = hash.try_into().map_err(|_| anyhow::anyhow!("32 bytes"))?;
    Anchor::of_root(kept["chunks"].as_u64().context("chunks")?, hash).context("an anchor")
}

/// Nothing that has to be recorded begins until the file is away.
fn has_room_again(stage: &Stage, file: &Path) -> anyhow::Result<()> {
    let fills = file.with_extension("ballast");
    // What is left of the disk, if anything.
    let mut ballast = std::fs::File::create(&fills)?;
    while std::io::Write::write_all(&mut ballast, &[0; 4096]).is_ok() {}
    drop(ballast);
    let switch = V5;
    let target = exec_target("bench", "kept/later");
    stage
        .fake
        .answer_upgrades_of(&super::stage::part("kept/later"), &switch.granted(), Then::Cat);
    let asks = || Upgraded::ask(&stage.gateway, &stage.alice.token, &target, switch, b"");
    let refused = asks()?;
    ensure!(!refused.is_granted(), "{}", refused.head);
    std::fs::remove_file(&fills)?;
    std::fs::remove_file(file)?;
    let granted = asks()?;
    ensure!(granted.is_granted(), "{}", granted.head);
    let id = granted.id()?;
    drop(granted);
    let end = stage.end_of(&id)?;
    ensure!(end["recording"].get("incomplete").is_none(), "{end}");
    Ok(())
}
