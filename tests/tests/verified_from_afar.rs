//! Promise 5 from afar: `gatescribe ledger verify URL` reads the signed tree of a real gateway as its auditor, and the same tree from servers that
//! belong to somebody else: an honest one, one that changes what it serves, and some that only mean harm.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ledger::note::Note;
use ledger::{Checkpoint, TilePath, Tiles};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::person::Person;
use tests::records::put_in;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

fn work(gateway: &Gateway, calls: usize) -> anyhow::Result<()> {
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    for _ in 0..calls {
        ensure!(gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?.status == 200);
    }
    Ok(())
}

fn verify(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(["ledger", "verify"]).args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

#[test]
fn promise_5_an_auditor_verifies_the_ledger_of_a_running_gateway_from_afar() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let [carol, alice] = Person::all_signed_in(&gateway, ["carol", "alice"])?;
    let earlier = carol.folder().join("earlier.checkpoint");
    try_until("something is signed", PATIENCE, || {
        Ok(fs::copy(gateway.ledger().join("checkpoint"), &earlier).map(drop)?)
    })?;
    // More than one tile of leaves.
    work(&gateway, 140)?;
    let line = format!(
        "gatescribe ledger verify {} --key {key} --since earlier.checkpoint -o json",
        gateway.url
    );
    let report = try_until("so many records are signed", PATIENCE, || {
        let told = carol.ok(&line)?;
        let report = told.json()?;
        ensure!(report["provedUpTo"].as_u64() > Some(280), "{report}");
        Ok(report)
    })?;
    assert_eq!(report["findings"], serde_json::json!([]));
    assert_eq!(
        (&report["checkpoints"], &report["foreignEntries"]),
        (&2.into(), &0.into())
    );
    let told = carol.ok(&format!("gatescribe ledger verify {} --key {key}", gateway.url))?;
    for line in [
        "✔ every record is the one that was signed",
        "not shown: what stands around the records",
    ] {
        assert!(told.stdout.contains(line), "{told}");
    }
    gateway.records_with("each reading of records is a record", |records| {
        let notes = records.iter().filter_map(|record| record["note"].as_str());
        notes.filter(|note| note.contains("tile/entries/")).count() >= 4
    })?;

    let told = alice.types(&format!("gatescribe ledger verify {} --key {key}", gateway.url))?;
    assert!(told.code == 7 && told.stderr.contains("403"), "{told}");
    let nobody = verify(&[&format!("{}/api/v1/ledger", gateway.url), "--key", &key])?;
    assert!(nobody.code == 7 && nobody.stderr.contains("401"), "{nobody:?}");
    let other = key.replacen("/audit", "/other", 1);
    let told = carol.types(&format!("gatescribe ledger verify {} --key {other}", gateway.url))?;
    assert_eq!(told.code, 2, "a key whose id is not its own: {told}");

    // TLS: whom to believe is what was given, or the system's.
    let server = gateway.server();
    let untrusted = verify(&[&server, "--key", &key, "--patience", "20"])?;
    assert!(
        untrusted.code == 7 && untrusted.stderr.contains("not trusted"),
        "{untrusted:?}"
    );
    let ca = gateway.file("ca.crt");
    let ca = ca.to_str().context("a path in UTF-8")?;
    let trusted = verify(&[&server, "--key", &key, "--ca", ca])?;
    assert!(trusted.stderr.contains("401"), "{trusted:?}");
    Ok(())
}

type Answer = dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server on loopback that answers each GET by the path behind the log's address. It ends with the test's process.
fn serve(answer: Arc<Answer>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/log", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || converse(stream, &*answer));
        }
    });
    Ok(url)
}

fn converse(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut path, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line)? > 2 {
            if path.is_empty() {
                line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
            }
            line.clear();
        }
        if path.is_empty() {
            return Ok(());
        }
        answer(path.trim_start_matches("/log/"), &mut stream)?;
    }
}

fn say(stream: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)
}

fn static_server(files: BTreeMap<String, Vec<u8>>) -> anyhow::Result<String> {
    serve(Arc::new(move |path, stream| match files.get(path) {
        Some(body) => say(stream, "200 OK", body),
        None => say(stream, "404 Not Found", b""),
    }))
}

/// What a static server of this ledger has.
fn published(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let checkpoint = fs::read(dir.join("checkpoint"))?;
    let size = Checkpoint::parse(Note::parse(&checkpoint)?.text())?.size;
    let tiles = Tiles::open(dir);
    let mut files = BTreeMap::from([("checkpoint".to_owned(), checkpoint)]);
    for tile in TilePath::of_tree(size) {
        files.insert(tile.to_string(), tiles.read(&tile)?);
    }
    Ok(files)
}

#[test]
fn promise_5_what_a_server_of_somebody_else_changes_is_found_and_located() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    work(&gateway, 20)?;
    gateway.stop()?;
    let older = published(&gateway.ledger())?;
    gateway.start_again()?;
    work(&gateway, 140)?;
    gateway.stop()?;
    let files = published(&gateway.ledger())?;

    let honest = verify(&[&static_server(files.clone())?, "--key", &key, "--threads", "4"])?;
    assert_eq!(honest.code, 0, "{honest:?}");

    let mut changed = files.clone();
    let bundle = changed.get_mut("tile/entries/000").context("a bundle")?;
    let at = bundle
        .windows(9)
        .position(|bytes| bytes == b"\"seq\":20,")
        .context("record 20")?;
    bundle[at + 20] ^= 1;
    let told = verify(&[&static_server(changed)?, "--key", &key])?;
    let line = "✖ record 20: not the record that was signed";
    assert!(told.code == 8 && told.stdout.contains(line), "{told:?}");

    // An earlier state of the log, honestly signed: only who remembers the later one sees it.
    let remembered = gateway.file("newest.checkpoint");
    fs::write(&remembered, &files["checkpoint"])?;
    let remembered = remembered.to_str().context("a path in UTF-8")?;
    let server = static_server(older)?;
    assert_eq!(verify(&[&server, "--key", &key])?.code, 0);
    let told = verify(&[&server, "--key", &key, "--since", remembered])?;
    assert!(told.code == 8 && told.stdout.contains("cut off: "), "{told:?}");
    Ok(())
}

/// What a verification says of records and what it found, as a machine reads it.
fn told(of: &str, key: &str) -> anyhow::Result<(i32, [Value; 2])> {
    let told = verify(&[of, "--key", key, "-o", "json"])?;
    let report: Value = serde_json::from_str(&told.stdout).with_context(|| format!("{told:?}"))?;
    let findings = report["findings"].as_array().into_iter().flatten();
    // The file is another one.
    let findings = findings.map(|found| json!([found["fault"], found["records"]]));
    Ok((told.code, [findings.collect(), report["unsignedAtAnEnd"].clone()]))
}

#[test]
fn promise_5_records_put_in_between_two_runs_are_the_same_finding_from_afar_and_what_a_kill_left_is_none()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let (key, dir) = (gateway.public_key()?, gateway.ledger());
    let folder = dir.to_str().context("a path in UTF-8")?.to_owned();
    work(&gateway, 20)?;
    gateway.process().signal(Signal::SIGKILL)?;
    gateway.start_again()?;
    work(&gateway, 20)?;
    gateway.stop()?;
    // What nobody had signed is said as of the folder, and accuses nobody.
    let of_folder = told(&folder, &key)?;
    assert_eq!(told(&static_server(published(&dir)?)?, &key)?, of_folder);
    assert_eq!((of_folder.0, &of_folder.1[0]), (0, &json!([])), "{of_folder:?}");

    let forged = put_in(&dir)?;
    gateway.start_again()?;
    work(&gateway, 20)?;
    gateway.stop()?;
    let served = static_server(published(&dir)?)?;
    let of_folder = told(&folder, &key)?;
    assert_eq!(told(&served, &key)?, of_folder);
    let span = json!({"from": forged.start, "until": forged.end});
    let [findings, _] = &of_folder.1;
    assert_eq!(
        (of_folder.0, findings.as_array().map(Vec::len)),
        (8, Some(1)),
        "{findings}"
    );
    assert_eq!(findings[0][1], span);
    let words = verify(&[&served, "--key", &key])?;
    let found = format!(
        "✖ records {} to {}: not the gateway's: it was put in behind the end of a run that had signed all of its records, as record ",
        forged.start,
        forged.end - 1
    );
    ensure!(words.code == 8 && words.stdout.starts_with(&found), "{words:?}");
    Ok(())
}

/// A key of nobody: these servers are not believed that far.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn servers_that_only_mean_harm_are_left_with_a_word_each() -> anyhow::Result<()> {
    let endless = |_: &str, stream: &mut TcpStream| -> std::io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        // Until the other side has had enough.
        loop {
            stream.write_all(&[b'x'; 1 << 16])?;
        }
    };
    let huge = |_: &str, stream: &mut TcpStream| -> std::io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")?;
        loop {
            stream.write_all(&[b'x'; 1 << 16])?;
        }
    };
    // Takes the question and never answers; the read ends when the other side hangs up.
    let silent = |_: &str, stream: &mut TcpStream| std::io::copy(stream, &mut std::io::sink()).map(drop);
    let elsewhere = |_: &str, stream: &mut TcpStream| {
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    };
    let failing = |_: &str, stream: &mut TcpStream| say(stream, "500 Internal Server Error", b"");
    let rambling = |_: &str, stream: &mut TcpStream| say(stream, "200 OK", b"<html>\x1b[2J");
    let missing = |_: &str, stream: &mut TcpStream| say(stream, "404 Not Found", b"");
    let servers: [(Arc<Answer>, i32, &str); 7] = [
        (Arc::new(endless), 8, "longer than 131072 bytes"),
        (Arc::new(huge), 8, "longer than 131072 bytes"),
        (Arc::new(silent), 7, "did not answer within 1 s; asked 5 times"),
        (Arc::new(elsewhere), 7, "it answers 302"),
        (
            Arc::new(failing),
            7,
            "it answers 500 Internal Server Error; asked 5 times",
        ),
        (Arc::new(rambling), 8, "no signed note"),
        (Arc::new(missing), 5, "it is not there"),
    ];
    for (server, code, word) in servers {
        let url = serve(server)?;
        // Only of the silent one it is waited for in vain.
        let patience = if word.contains("within 1 s") { "1" } else { "60" };
        let told = verify(&[&url, "--key", KEY, "--patience", patience])?;
        assert!(told.code == code && told.stderr.contains(word), "{word}: {told:?}");
        assert!(
            !told.stderr.contains('\u{1b}'),
            "nothing of it reaches the terminal: {told:?}"
        );
    }
    Ok(())
}
