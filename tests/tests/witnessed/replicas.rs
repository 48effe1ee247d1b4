//! Two gateways that witness one another: each is the other's memory, and nothing else of it is there for anybody.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::fake::FakeApiServer;
use tests::gateway::Gateway;
use tests::metrics::Scrape;
use tests::ports::Port;
use tests::process::Folder;
use tests::wait::{PATIENCE, try_until};

use super::{
    UNPROVED, all_witnessed, configured, copy, is_alarmed, ledger, read, ready_page, start, text, witnesses_others,
};

/// One of two gateways that witness one another.
struct Replica {
    gateway: Gateway,
    /// The public key of its ledger.
    log: String,
    /// Where it witnesses, and with which public key.
    at: SocketAddr,
    key: String,
    _port: Port,
}

/// East and west, each of which has all of its records witnessed by the other.
fn replicas(upstream: &FakeApiServer) -> anyhow::Result<[Replica; 2]> {
    let (mut east, mut west) = (start(upstream)?, start(upstream)?);
    let logs = [east.public_key()?, west.public_key()?];
    let ports = [Port::reserve()?, Port::reserve()?];
    let [at_east, at_west] = ports.each_ref().map(Port::address);
    let of_east = witnesses_others(&mut east, &logs[1], at_east)?;
    let of_west = witnesses_others(&mut west, &logs[0], at_west)?;
    for (gateway, address, key) in [(&mut east, at_west, &of_west), (&mut west, at_east, &of_east)] {
        let sibling = json!({ "name": "sibling", "url": format!("http://{address}"), "publicKey": key });
        configured(gateway, |config| config["ledger"]["witnesses"] = json!([sibling]))?;
    }
    for gateway in [&east, &west] {
        read(gateway, 3)?;
        all_witnessed(gateway)?;
        try_until("all is well", PATIENCE, || {
            let page = ready_page(gateway)?;
            ensure!(page.contains("[+] witnesses ok\n"), "{page}");
            Ok(())
        })?;
    }
    let ([log_east, log_west], [port_east, port_west]) = (logs, ports);
    let replica = |gateway, log, at, key, port| Replica {
        gateway,
        log,
        at,
        key,
        _port: port,
    };
    Ok([
        replica(east, log_east, at_east, of_east, port_east),
        replica(west, log_west, at_west, of_west, port_west),
    ])
}

#[test]
fn promise_5_replicas_witness_one_another_and_the_fork_of_one_is_caught_by_the_other() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let [mut east, mut west] = replicas(&upstream)?;
    for (one, other) in [(&east, &west), (&west, &east)] {
        let dir = one.gateway.ledger();
        let witnessed = ledger(&["verify", text(&dir)?, "--key", &one.log, "--witness", &other.key])?;
        assert!([0, 10].contains(&witnessed.code), "{witnessed}");
        assert!(
            witnessed.stdout.contains("witnessed by 127.0.0.1/witness-"),
            "{witnessed}"
        );
    }
    is_a_witness_and_nothing_else(&east)?;

    let evidence = Folder::new("evidence")?;
    let by_stranger = stranger(&east.gateway, &west, &evidence)?;
    let honest = held(&east.gateway.ledger(), &east.log, &by_stranger)?;
    assert!(
        [0, 10].contains(&honest.code),
        "nothing is wrong with that log: {honest}"
    );

    let (older, size) = put_back(&mut east.gateway)?;
    is_alarmed(&east.gateway, "sibling")?;
    while east.gateway.records()?.len() < size + 120 {
        read(&east.gateway, 20)?;
    }
    try_until("the other one has seen it", PATIENCE, || {
        let said = unproved(&west.gateway)?;
        ensure!(said.len() >= 2, "{}", west.gateway.log());
        let forked = evidence.write("fork.checkpoint", said.last().context("the newest")?)?;
        let denied = held(&east.gateway.ledger(), &east.log, &forked);
        // What the fork itself has signed holds against it, and not against what was there before.
        let before = held(&older.path().join("whole"), &east.log, &forked)?;
        ensure!(before.code == 8 && denied?.code != 8, "{before}");
        Ok(())
    })?;
    // The honest one is witnessed all the same, also by the one that was put back.
    read(&west.gateway, 3)?;
    all_witnessed(&west.gateway)?;
    assert!(!west.gateway.log().contains("ALARM"), "{}", west.gateway.log());
    keeps_its_memory_and_says_what_it_leaves(&mut west.gateway)
}

/// A ledger held against a checkpoint that somebody kept.
fn held(dir: &Path, log: &str, kept: &Path) -> anyhow::Result<tests::kubectl::Output> {
    ledger(&["verify", text(dir)?, "--key", log, "--remembered", text(kept)?])
}

/// Nothing else of a gateway is there, to nobody; and what is asked wrongly is refused.
fn is_a_witness_and_nothing_else(replica: &Replica) -> anyhow::Result<()> {
    let at = replica.at;
    for path in [
        "/",
        "/metrics",
        "/.well-known/gatescribe",
        "/api/v1/audit/records",
        "/clusters/bench/api",
        "/add-checkpoint/",
    ] {
        let page = Browser::default().request("GET", &format!("http://{at}{path}"), "")?;
        ensure!(
            (page.status, page.body.as_str()) == (404, "the only thing here is /add-checkpoint\n"),
            "{path}: {} {}",
            page.status,
            page.body
        );
        let page = Browser::default().request("POST", &format!("http://{at}{path}"), "{}")?;
        ensure!(page.status == 404, "{path}: {}", page.status);
    }
    let page = Browser::default().request("GET", &format!("http://{at}/add-checkpoint"), "")?;
    ensure!(page.status == 405, "{}", page.status);
    let own = fs::read_to_string(replica.gateway.ledger().join("checkpoint"))?;
    for (body, status) in [
        ("something else".to_owned(), 400),
        (format!("old 0\n{}", "A".repeat(140_000)), 413),
        // It does not witness itself.
        (format!("old 0\n\n{own}"), 404),
    ] {
        let page = Browser::default().request("POST", &format!("http://{at}/add-checkpoint"), &body)?;
        ensure!(page.status == status, "{} and not {status}: {}", page.status, page.body);
    }
    Ok(())
}

/// The disk of a gateway is put back from an older copy, with all that would betray it, and it goes on. Gives a folder with what was there before (`whole`), and
/// how many records the older copy has.
fn put_back(gateway: &mut Gateway) -> anyhow::Result<(Folder, usize)> {
    gateway.stop()?;
    let older = Folder::new("older")?;
    copy(&gateway.ledger(), &older.path().join("ledger"))?;
    for name in ["checkpoint", "witnessed"] {
        fs::copy(gateway.file("data/keys").join(name), older.path().join(name))?;
    }
    let size = gateway.records()?.len();
    gateway.start_again()?;
    read(gateway, 12)?;
    all_witnessed(gateway)?;
    gateway.stop()?;
    copy(&gateway.ledger(), &older.path().join("whole"))?;
    fs::remove_dir_all(gateway.ledger())?;
    copy(&older.path().join("ledger"), &gateway.ledger())?;
    for name in ["checkpoint", "witnessed"] {
        fs::copy(older.path().join(name), gateway.file("data/keys").join(name))?;
    }
    gateway.start_again()?;
    Ok((older, size))
}

/// Without what it has cosigned a gateway does not start, and would not with another key in silence. Told to witness nobody any more, it says that others still
/// count on it.
fn keeps_its_memory_and_says_what_it_leaves(gateway: &mut Gateway) -> anyhow::Result<()> {
    gateway.stop()?;
    let memory = gateway.file("data/witness");
    fs::rename(&memory, gateway.file("elsewhere"))?;
    let refused = gateway.start_again().err().context("it does not start")?;
    ensure!(format!("{refused:#}").contains("put the folder back"), "{refused:#}");
    fs::rename(gateway.file("elsewhere"), &memory)?;
    gateway.start_again()?;
    configured(gateway, |config| {
        config["ledger"]["witnessFor"] = json!([]);
        config["listeners"]
            .as_array_mut()
            .into_iter()
            .for_each(|all| all.retain(|one| one["name"] != "witness"));
    })?;
    let said =
        "`ledger.witnessFor` names nobody, and the key with which this gateway witnessed other ledgers is still here";
    ensure!(gateway.log().contains(said), "{}", gateway.log());
    Ok(())
}

/// The checkpoints of which a gateway has said that they came without a proof, as they were signed.
fn unproved(witness: &Gateway) -> anyhow::Result<Vec<String>> {
    let log = witness.log();
    let lines = log.lines().filter(|line| line.contains(UNPROVED));
    let checkpoint = |line: &str| -> anyhow::Result<String> {
        let line: Value = serde_json::from_str(line)?;
        let checkpoint = line["checkpoint"].as_str().context("the checkpoint")?;
        Ok(checkpoint.to_owned())
    };
    lines.map(checkpoint).collect()
}

/// Somebody who has a newer checkpoint of a log than its witness sends it with a wrong proof. It is refused, and accuses nobody; where it lies then.
fn stranger(log: &Gateway, sibling: &Replica, folder: &Folder) -> anyhow::Result<PathBuf> {
    let (witness, at) = (&sibling.gateway, sibling.at);
    let origin = log.public_key()?.split('+').next().context("a name")?.to_owned();
    let of_log = [("log", origin.as_str())];
    try_until("a stranger is faster than the log", PATIENCE, || {
        read(log, 1)?;
        let known = Scrape::of(witness.admin())?.sum("gateway_witness_known_records", &of_log);
        let newest = fs::read_to_string(log.ledger().join("checkpoint"))?;
        let wrong = format!("old {known:.0}\n{}=\n\n{newest}", "A".repeat(43));
        let page = Browser::default().request("POST", &format!("http://{at}/add-checkpoint"), &wrong)?;
        // Of what the witness knows by now nothing is in doubt.
        let is_said = page.status == 422 && !unproved(witness)?.is_empty();
        ensure!(is_said, "{}: {}", page.status, page.body);
        Ok(())
    })?;
    let scrape = Scrape::of(witness.admin())?;
    let ended = |outcome: &str| scrape.sum("gateway_witness_requests_total", &[of_log[0], ("outcome", outcome)]);
    assert!(ended("unproved") >= 1.0 && ended("cosigned") >= 1.0);
    assert!(ended("contradiction") < 0.5, "nobody without the log's key raises that");
    let said = unproved(witness)?;
    folder.write("stranger.checkpoint", said.first().context("it is said")?)
}
