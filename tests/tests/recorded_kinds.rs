//! Every kind of session that kubectl begins, recorded end to end: real kubectl, the real API server, a node whose pods are real
//! processes. For each the ledger says who, where, why allowed, how much passed and how it ended, the file is whole, and it holds
//! what it should and nothing else.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use recording::tap::Channel;
use recording::{Anchor, Frame, Recording, SessionKey, Tail};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Running, Way, run};
use tests::once::Once;
use tests::person::Person;
use tests::pods::{self, listens};
use tests::records::{Session, find};
use tests::rules::kept_is_recorded;
use tests::terminal::in_window;
use tests::tools::debian;
use tests::wait::{PATIENCE, try_until};

/// Typed where nothing echoes.
const TYPED_UNSEEN: &str = "correct-horse-battery";
/// What a file or a connection carries, and no recording has.
const CONTENT: &str = "content-canary-0815";

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    let web = pods::runs("kept", "web", "exec \"$NODE_BINARY\" http --listen 127.0.0.1:0");
    WORLD.get(|| Cluster::with_pods(&[pods::kept(), web].concat()))
}

/// A pod whose one container runs a script, and is not started again.
fn pod(name: &str, tty: bool, script: &str) -> anyhow::Result<()> {
    let cluster = world()?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "kept" },
        "spec": {
            "nodeName": "node-1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "none", "stdin": true, "stdinOnce": !tty, "tty": tty,
                "command": ["sh", "-c", script],
            }],
        },
    });
    cluster.admin()?.apply(&pod.to_string())?;
    cluster.pod_is_ready("kept", name)
}

fn gateway() -> anyhow::Result<Gateway> {
    Gateway::start(world()?, &Options::ruled(kept_is_recorded()))
}

/// kubectl with these words, in the namespace, over one of the two transports.
fn kubectl(person: &Person<'_>, way: Way, words: &[&str]) -> anyhow::Result<Command> {
    person.kubectl(way, &[&["-n", "kept"], words].concat())
}

/// The command in a terminal of 117 columns and 31 lines, which becomes one of 133 and 50 as soon as the file `grows` is there.
fn in_terminal(person: &Person<'_>, command: &Command, grows: &Path) -> anyhow::Result<Running> {
    let larger = Some((grows, (50, 133)));
    Running::start(in_window(command, person.folder(), (31, 117), larger)?)
}

/// What carol is told of alice's sessions that have ended.
fn listed(carol: &Person<'_>) -> anyhow::Result<Vec<Value>> {
    let mut listed = carol.sessions("user:alice ns:kept --limit 200")?;
    listed.retain(has_ended);
    Ok(listed)
}

/// The sessions that have ended and for which `is` holds, once there are so many.
fn ended(carol: &Person<'_>, count: usize, is: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<String>> {
    try_until("the sessions have ended", PATIENCE, || {
        let found = listed(carol)?.into_iter().filter(|session| is(session));
        let found: Vec<String> = found
            .filter_map(|session| Some(session["id"].as_str()?.to_owned()))
            .collect();
        ensure!(found.len() == count, "{} of {count}", found.len());
        Ok(found)
    })
}

/// Whether it has ended, and something of it was kept.
fn has_ended(session: &Value) -> bool {
    let goes_on = session["live"] == true || session["outcome"]["end"] == "inFlight";
    !goes_on && session["recording"]["chunks"].as_u64() > Some(0)
}

fn one(carol: &Person<'_>, is: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
    ended(carol, 1, is)?.pop().context("counted")
}

/// What is known of one session.
#[derive(Debug)]
struct Kept {
    /// The record of its end.
    close: Value,
    /// What its recording says of itself: the first and the last frame.
    head: Value,
    finish: Value,
    text: String,
    cast: Vec<Value>,
}

/// Holds what is the same for every kind: who, where and why stand at the beginning, how much and how at the end, the recording
/// is anchored in both, and its file is all of it.
fn kept(gateway: &Gateway, carol: &Person<'_>, id: &str, (action, pod): (&str, &str)) -> anyhow::Result<Kept> {
    let close = gateway.end_of(id)?;
    let records = gateway.records()?;
    let open = find(&records, "open", id)?;
    assert_eq!(open["by"]["user"], "alice@example.com", "{open}");
    assert_eq!(
        (&open["req"]["action"], &open["req"]["namespace"], &open["req"]["name"]),
        (&action.into(), &"kept".into(), &pod.into()),
        "{open}"
    );
    assert!(
        open["decision"]["rules"].to_string().contains("kept-is-recorded"),
        "{open}"
    );
    assert_eq!(
        open["recording"]["chunks"], 1,
        "who and where was on the disk before: {open}"
    );
    assert_eq!(close["pair"], open["seq"], "{close}");
    assert!(close["outcome"]["bytes_out"].as_u64() > Some(0), "{close}");
    assert_eq!(close["upstream"]["node"], "node-1", "{close}");
    let anchor = &close["recording"];
    assert!(
        anchor.get("incomplete").is_none() && anchor["hash"] != open["recording"]["hash"],
        "{close}"
    );
    let file = gateway.file("data/recordings").join(format!("{id}.rec"));
    assert_eq!(
        anchor["bytes"].as_u64(),
        Some(std::fs::metadata(file)?.len()),
        "{close}"
    );

    let shown = carol.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains("whole, as the ledger says"), "{shown}");
    assert!(shown.stdout.contains("node-1"), "{shown}");
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
    let shown = shown.json()?;
    let recording = &shown["recording"];
    assert_eq!(recording["standing"], "whole", "{shown}");
    let head = &recording["head"];
    assert_eq!(
        (&head["who"], &head["namespace"], &head["pod"]),
        (&"alice@example.com".into(), &"kept".into(), &pod.into()),
        "{shown}"
    );
    // A forwarded port enters the pod and no container of it.
    assert_eq!(open["req"].get("container"), head.get("container"), "{open} {shown}");
    assert_eq!(head.get("container").is_some(), action != "portforward", "{shown}");
    let text = carol
        .ok(&format!("gatescribe session export {id} --format text"))?
        .stdout;
    let cast = carol.ok(&format!("gatescribe session export {id} --format asciicast"))?;
    let cast: Vec<Value> = cast
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| cast.to_string())?;
    assert_eq!(cast[0]["version"], 3, "{cast:?}");
    Ok(Kept {
        close,
        head: head.clone(),
        finish: recording["finish"].clone(),
        text,
        cast,
    })
}

impl Kept {
    /// The sizes that the terminal had, the usual one left out that stands in a cast whose terminal was late to say its own.
    fn sizes(&self) -> Vec<String> {
        let term = &self.cast[0]["term"];
        let first = format!("{}x{}", term["cols"], term["rows"]);
        let later = self.events("r");
        let mut sizes: Vec<String> = std::iter::once(first).chain(later).collect();
        if sizes.len() > 1 && sizes[0] == "80x24" {
            sizes.remove(0);
        }
        sizes
    }

    /// The data of all events of this code in the cast.
    fn events(&self, code: &str) -> Vec<String> {
        let events = self.cast.iter().skip(1).filter(|event| event[1] == code);
        events
            .filter_map(|event| event[2].as_str().map(str::to_owned))
            .collect()
    }

    fn holds_nowhere(&self, canary: &str) {
        assert!(!self.text.contains(canary), "{}", self.text);
        assert!(
            !self.cast.iter().any(|line| line.to_string().contains(canary)),
            "{:?}",
            self.cast
        );
    }
}

#[test]
fn a_terminal_is_kept_with_its_sizes_and_without_what_is_typed_unseen() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for (round, way) in Way::BOTH.into_iter().enumerate() {
        let code = 6 + round;
        let script = format!(
            "stty -echo; echo ready; read secret; stty echo; echo asked; read word; echo got $word; \
             while [ \"$(stty size)\" != \"50 133\" ]; do sleep 0.05; done; echo resized; exit {code}"
        );
        let grows = alice.folder().join(format!("grows-{way}"));
        let words = ["exec", "-it", "shell", "-c", "shell", "--", "sh", "-c", &script];
        let command = kubectl(&alice, way, &words)?;
        let mut terminal = in_terminal(&alice, &command, &grows)?;
        terminal.line("nothing echoes", |line| line == "ready")?;
        terminal.write(&format!("{TYPED_UNSEEN}\n"))?;
        terminal.line("it echoes again", |line| line == "asked")?;
        terminal.write("typed-in-sight\n")?;
        terminal.line("what was typed", |line| line == "got typed-in-sight")?;
        std::fs::write(grows, "")?;
        assert_eq!(terminal.end()?, i32::try_from(code)?, "{way}: {:?}", terminal.lines());
        let seen = terminal.lines().join("\n");
        assert!(
            seen.contains("resized") && !seen.contains(TYPED_UNSEEN),
            "{way}: {seen}"
        );

        let id = one(&carol, |session| session["outcome"]["exit_code"] == code)?;
        let kept = kept(&gateway, &carol, &id, ("exec", "shell"))?;
        assert_eq!(
            (&kept.head["container"], &kept.head["terminal"], &kept.head["command"]),
            (&"shell".into(), &true.into(), &json!(["sh", "-c", script])),
            "{way}"
        );
        assert_eq!(kept.close["outcome"]["exit_code"], code, "{way}: {}", kept.close);
        assert!(
            kept.close["outcome"]["bytes_in"].as_u64() > Some(0),
            "{way}: {}",
            kept.close
        );
        // Lines and columns may be set one behind the other.
        let sizes = kept.sizes();
        let ends = (sizes.first().map(String::as_str), sizes.last().map(String::as_str));
        assert_eq!(ends, (Some("117x31"), Some("133x50")), "{way}: {:?}", kept.cast);
        assert_eq!(kept.events("x"), [code.to_string()], "{way}");
        let drawn = kept.events("o").concat();
        let in_order = [
            "ready\r\n",
            "asked\r\n",
            "typed-in-sight\r\n",
            "got typed-in-sight\r\n",
            "resized\r\n",
        ];
        let mut rest = drawn.as_str();
        for words in in_order {
            let place = rest
                .find(words)
                .with_context(|| format!("{way}: {words:?} in {drawn:?}"))?;
            rest = &rest[place + words.len()..];
        }
        assert!(
            kept.text.contains("got typed-in-sight\n") && kept.text.contains("[what is typed is not kept]"),
            "{way}: {}",
            kept.text
        );
        assert!(kept.events("i").is_empty(), "{way}: {:?}", kept.cast);
        kept.holds_nowhere(TYPED_UNSEEN);
    }
    Ok(())
}

#[test]
fn an_attached_process_is_kept_with_and_without_a_terminal() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for way in Way::BOTH {
        let plain = format!("attached-{way}");
        pod(&plain, false, "while read line; do echo got $line; done; exit 7")?;
        let command = kubectl(&alice, way, &["attach", "-i", &plain])?;
        let said = run(command, "typed-to-it\n", PATIENCE)?;
        assert!(
            said.code == 0 && said.stdout.contains("got typed-to-it\n"),
            "{way}: {said}"
        );
        let id = one(&carol, |session| session["name"] == plain.as_str())?;
        let found = kept(&gateway, &carol, &id, ("attach", &plain))?;
        assert_eq!(
            (&found.head["kind"], &found.head["terminal"]),
            (&"attach".into(), &false.into()),
            "{way}: {}",
            found.head
        );
        for line in ["> typed-to-it\n", "got typed-to-it\n"] {
            assert!(found.text.contains(line), "{way}: no {line:?} in {}", found.text);
        }
        assert_eq!(found.events("i").concat(), "typed-to-it\n", "{way}");
        assert_eq!(found.events("o").concat(), "got typed-to-it\r\n", "{way}");

        let terminal = format!("terminal-{way}");
        // What the pod says until somebody is there is said again and again.
        let script = "stty -echo; (while :; do echo ready; sleep 0.1; done) & read secret; kill $!; wait; stty echo; \
                      echo asked; read word; echo got $word";
        pod(&terminal, true, script)?;
        let command = kubectl(&alice, way, &["attach", "-it", &terminal])?;
        let mut running = in_terminal(&alice, &command, Path::new("/nowhere"))?;
        running.line("nothing echoes", |line| line == "ready")?;
        running.write(&format!("{TYPED_UNSEEN}\n"))?;
        running.line("it echoes again", |line| line == "asked")?;
        running.write("typed-in-sight\n")?;
        running.line("what was typed", |line| line == "got typed-in-sight")?;
        running.end()?;
        let id = one(&carol, |session| session["name"] == terminal.as_str())?;
        let found = kept(&gateway, &carol, &id, ("attach", &terminal))?;
        assert_eq!(found.head["terminal"], true, "{way}: {}", found.head);
        assert_eq!(
            found.sizes().last().map(String::as_str),
            Some("117x31"),
            "{way}: {:?}",
            found.cast
        );
        assert!(found.text.contains("got typed-in-sight\n"), "{way}: {}", found.text);
        found.holds_nowhere(TYPED_UNSEEN);
    }
    Ok(())
}

/// What a recording has of a session.
#[derive(Debug, Default)]
struct Streams {
    typed: Vec<u8>,
    written: Vec<u8>,
    /// What it says that it has not.
    left_out: Vec<String>,
}

/// What stands in a session's file, opened with its key as it lies in the gateway's store, by the reader of recordings alone.
fn streams(gateway: &Gateway, session: &Session) -> anyhow::Result<Streams> {
    let data = gateway.file("data");
    let seal = <[u8; 32]>::try_from(std::fs::read(data.join("keys/seal"))?).map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let keys = state::SealingKeys::new(state::SealingKey::new(&seal).context("a key")?, Vec::new());
    let store = state::Store::open(&data.join("state.sqlite"), keys, state::Limits::default())?;
    let Session { open, close } = session;
    let id = open["id"].as_str().context("an id")?;
    let subject = open["by"]["id"].as_str().context("a subject")?;
    let key = store.find_part_key(subject, &format!("recording:{id}"))?;
    let key = SessionKey::new(key.context("its key")?.bytes);
    let anchored = &close["recording"];
    let hash = hex::decode(anchored["hash"].as_str().context("a hash")?)?;
    let hash = hash.try_into().map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let anchor = Anchor::of_root(anchored["chunks"].as_u64().context("chunks")?, hash).context("an anchor")?;
    let recording = Recording::open(&data.join(format!("recordings/{id}.rec")), &key, &[anchor])?;
    ensure!(recording.tail() == Tail::Closed, "{:?}", recording.tail());
    let mut streams = Streams::default();
    let mut frames = recording.frames();
    while let Some(stamped) = frames.next()? {
        match stamped.frame {
            Frame::Data { channel, bytes, .. } => match channel {
                Channel::Stdin => streams.typed.extend_from_slice(bytes),
                Channel::Stdout => streams.written.extend_from_slice(bytes),
                other => anyhow::bail!("{other:?}: {}", String::from_utf8_lossy(bytes)),
            },
            frame @ (Frame::Counted { .. } | Frame::Note { .. }) => streams.left_out.push(format!("{frame:?}")),
            _ => {}
        }
    }
    Ok(streams)
}

#[test]
fn what_passes_without_a_terminal_is_kept_to_the_byte_both_ways() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    // Four MiB; each byte value stands in it next to many others.
    let bytes: Vec<u8> = (0..1_u32 << 20)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b1).to_le_bytes())
        .collect();
    let values: BTreeSet<u8> = bytes.iter().copied().collect();
    assert_eq!(values.len(), 256);
    let (there, back) = (alice.folder().join("there.bin"), alice.folder().join("back.bin"));
    std::fs::write(&there, &bytes)?;
    for way in Way::BOTH {
        let kubectl = kubectl(&alice, way, &["exec", "-i", "shell", "-c", "shell", "--", "cat"])?;
        let mut command = Command::new("/bin/sh");
        let redirected = "there=$1 back=$2; shift 2; exec \"$@\" <\"$there\" >\"$back\"";
        command.args(["-c", redirected, "sh"]).args([&there, &back]);
        command.arg(kubectl.get_program()).args(kubectl.get_args()).env_clear();
        command.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = run(command, "", PATIENCE)?;
        assert_eq!(said.code, 0, "{way}: {said}");
        assert!(std::fs::read(&back)? == bytes, "{way}: it came back changed");
    }
    for session in gateway.sessions(2, |_| true)? {
        let close = &session.close;
        assert!(close["recording"].get("incomplete").is_none(), "{close}");
        let Streams {
            typed,
            written,
            left_out,
        } = streams(&gateway, &session)?;
        assert!(left_out.is_empty(), "{left_out:?}: {close}");
        for (which, kept) in [("typed", typed), ("written", written)] {
            // Without the four MiB in the words of the failure.
            assert_eq!(kept.len(), bytes.len(), "{which}: {close}");
            assert!(kept == bytes, "what was {which} was kept changed: {close}");
        }
    }
    Ok(())
}

/// What asciinema itself plays of a cast without its pauses. It wants a terminal, also where it writes into a file.
fn played_by_asciinema(person: &Person<'_>, cast: &Path) -> anyhow::Result<Vec<u8>> {
    let debian = debian(&["asciinema"])?;
    let played = cast.with_extension("played");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec python3 -m asciinema cat \"$0\" >\"$1\""]);
    command.arg(cast).arg(&played);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("PYTHONPATH", debian.root().join("usr/lib/python3/dist-packages"));
    command.env("LC_ALL", "C.UTF-8");
    command.env("HOME", person.folder());
    let mut playing = Running::start(in_window(&command, person.folder(), (31, 117), None)?)?;
    let code = playing.end()?;
    ensure!(code == 0, "{code}: {:?}", playing.lines());
    Ok(std::fs::read(played)?)
}

/// Casts of version 2 are read by asciinema 2, which Debian has. Those of version 3 are what the specification says
/// (`asciicast-v3.md`); no reader of theirs is at hand here.
#[test]
fn asciinema_plays_an_exported_terminal_as_it_was_recorded() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    // Another screen, colours, places, a bar that is drawn over itself, signs of one to four bytes, quotes and backslashes.
    let script = "printf '\\033[?1049h\\033[2J\\033[1;31mred\\033[0m\\033[5;9Hthere'; \
                  for part in 10 50 100; do printf '\\r%s%%' $part; done; \
                  echo; echo 'é 漢字 🦀 \"quoted\" C:\\path'; printf '\\033[?1049l\\a\\b\\t'; echo drawn";
    for way in Way::BOTH {
        let words = ["exec", "-it", "shell", "-c", "shell", "--", "sh", "-c", script];
        let command = kubectl(&alice, way, &words)?;
        let mut terminal = in_terminal(&alice, &command, Path::new("/nowhere"))?;
        assert_eq!(terminal.end()?, 0, "{way}: {:?}", terminal.lines());
    }
    for session in gateway.sessions(2, |_| true)? {
        let id = session.open["id"].as_str().context("an id")?;
        let recorded = streams(&gateway, &session)?.written;
        let drawn = String::from_utf8_lossy(&recorded);
        for words in ["\u{1b}[5;9Hthere", "\r50%\r100%", "é 漢字 🦀 \"quoted\" C:\\path\r\n"] {
            assert!(drawn.contains(words), "no {words:?} in {drawn:?}");
        }
        carol.ok(&format!(
            "gatescribe session export {id} --format asciicast-v2 -o {id}.cast"
        ))?;
        let played = played_by_asciinema(&carol, &carol.folder().join(format!("{id}.cast")))?;
        assert_eq!(String::from_utf8_lossy(&played), drawn);
    }
    Ok(())
}

/// Regular files as name, length and SHA-256.
type Files = BTreeSet<(String, u64, String)>;

/// The regular files below a folder, their names as an archive of the folder `name` has them.
fn files(folder: &Path, name: &str) -> anyhow::Result<Files> {
    let mut found = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let own = path.file_name().and_then(|own| own.to_str()).context("UTF-8")?;
        let name = format!("{name}/{own}");
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, &name)?);
            continue;
        }
        let bytes = std::fs::read(&path)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        found.insert((name, u64::try_from(bytes.len())?, hex::encode(digest)));
    }
    Ok(found)
}

/// The files that a transcript names: `[into the pod: NAME, 7 bytes, sha256 …]`.
fn named(text: &str, way: &str) -> anyhow::Result<Files> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    let of_it = lines.filter_map(|line| line.strip_prefix(way)?.strip_prefix(": "));
    let regular = of_it.filter_map(|line| line.rsplit_once(", sha256 "));
    regular
        .map(|(file, digest)| {
            let (name, length) = file.rsplit_once(", ").context("a length")?;
            let length = length.strip_suffix(" bytes").context("bytes")?.parse()?;
            Ok((name.to_owned(), length, digest.to_owned()))
        })
        .collect()
}

#[test]
fn a_copy_is_kept_as_names_sizes_and_digests_both_ways() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for way in Way::BOTH {
        let (here, back) = (
            alice.folder().join(format!("here-{way}")),
            alice.folder().join(format!("back-{way}")),
        );
        std::fs::create_dir_all(here.join("sub/deeper"))?;
        std::fs::write(here.join("plain.txt"), format!("{CONTENT}\n"))?;
        let payload = CONTENT.repeat(60_000);
        std::fs::write(here.join("sub/payload.bin"), &payload[..1_000_003])?;
        std::fs::write(here.join("sub/deeper/empty"), "")?;
        std::os::unix::fs::symlink("../plain.txt", here.join("sub/link"))?;
        let there = format!("copied-{way}");
        let at = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
        let pod = format!("shell:{there}");
        for words in [[&at(&here)?, &pod], [&pod, &at(&back)?]] {
            let command = kubectl(&alice, way, &["cp", words[0], words[1]])?;
            let said = run(command, "", PATIENCE)?;
            assert_eq!(said.code, 0, "{way}: {said}");
        }
        let real = files(&here, &there)?;
        assert_eq!(real.len(), 3);
        assert_eq!(files(&back, &there)?, real, "{way}: it came back as it was");

        // kubectl asks first whether the place is a folder, in a session of its own.
        let copies = try_until("both copies are listed", PATIENCE, || {
            let mut found = Vec::new();
            // It leaves with the last byte of an archive and does not wait for the exit code.
            for session in listed(&carol)? {
                let id = session["id"].as_str().context("an id")?;
                let text = carol.types(&format!("gatescribe session export {id} --format text"))?;
                if text.stdout.contains(&format!(" the pod: {there}/")) {
                    found.push(id.to_owned());
                }
            }
            ensure!(found.len() == 2, "{} of 2", found.len());
            Ok(found)
        })?;
        let mut ways = BTreeSet::new();
        for id in copies {
            let kept = kept(&gateway, &carol, &id, ("exec", "shell"))?;
            let (up, down) = (named(&kept.text, "into the pod")?, named(&kept.text, "out of the pod")?);
            let (which, told) = if up.is_empty() { ("down", down) } else { ("up", up) };
            assert_eq!(told, real, "{way} {which}: {}", kept.text);
            let link = format!(" the pod: symlink {there}/sub/link -> ../plain.txt]");
            assert!(kept.text.contains(&link), "{way} {which}: {}", kept.text);
            assert!(kept.finish["files"].as_u64() >= Some(3), "{way}: {}", kept.finish);
            let passed = if which == "up" { "bytes_in" } else { "bytes_out" };
            assert!(
                kept.close["outcome"][passed].as_u64() > Some(1_000_003),
                "{way} {which}: {}",
                kept.close
            );
            for (name, _, digest) in &real {
                let notes = kept.events("m");
                assert!(
                    notes.iter().any(|note| note.contains(name) && note.contains(digest)),
                    "{way} {which}: {notes:?}"
                );
            }
            kept.holds_nowhere(CONTENT);
            ways.insert(which);
        }
        assert_eq!(ways.len(), 2, "{way}: one each way");
    }
    Ok(())
}

/// Asks through a forwarded port; how many bytes went each way.
struct Asking {
    stream: TcpStream,
    question: String,
}

impl Asking {
    /// All of the question but its last byte: the connection is open, and stays it.
    fn begin(address: &str, path: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let question = format!("GET {path} HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes().split_last().context("a question")?.1)?;
        Ok(Self { stream, question })
    }

    /// The rest of it, and the answer: how much went each way.
    fn end(mut self) -> anyhow::Result<(usize, usize)> {
        self.stream.write_all(b"\n")?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(CONTENT), "{answer}");
        Ok((self.question.len(), answer.len()))
    }
}

#[test]
fn a_forwarded_port_is_kept_as_connections_and_counts() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let port = pods::port(&listens(&world()?.admin()?, "kept", "web", "web")?)?;
    for (round, way) in Way::BOTH.into_iter().enumerate() {
        let ports = format!(":{port}");
        let words = ["port-forward", "pod/web", "--address", "127.0.0.1", &ports];
        let mut forward = Running::start(kubectl(&alice, way, &words)?)?;
        let local = forward.forwards()?;
        // One ends while the other is open, on both sides of its own time.
        let begun = Asking::begin(&local, &format!("/{CONTENT}"))?;
        let within = Asking::begin(&local, &format!("/a-longer-path/{CONTENT}"))?.end()?;
        let passed = BTreeSet::from([within, begun.end()?]);
        forward.signal(Signal::SIGINT)?;
        forward.end()?;

        let is_forward = |session: &Value| session["action"] == "portforward";
        let ids = ended(&carol, round + 1, is_forward)?;
        // The newest first.
        let kept = kept(&gateway, &carol, &ids[0], ("portforward", "web"))?;
        assert_eq!(kept.head["kind"], "portForward", "{way}: {}", kept.head);
        assert_eq!(kept.finish["connections"], 2, "{way}: {}", kept.finish);
        assert!(
            kept.close["outcome"].get("exit_code").is_none(),
            "{way}: {}",
            kept.close
        );
        let told: BTreeSet<(usize, usize)> = kept
            .text
            .lines()
            .map(|line| connection(line, port).with_context(|| format!("{way}: {line}")))
            .collect::<anyhow::Result<_>>()?;
        assert_eq!(told, passed, "{way}: {}", kept.text);
        kept.holds_nowhere(CONTENT);
    }
    Ok(())
}

/// The cluster says on the connection's error stream why it could not be, and the person reads it in kubectl's words.
#[test]
fn of_a_port_on_which_nobody_listens_the_cluster_s_words_are_kept() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for (round, way) in Way::BOTH.into_iter().enumerate() {
        let words = ["port-forward", "pod/web", "--address", "127.0.0.1", ":1"];
        let mut forward = Running::start(kubectl(&alice, way, &words)?)?;
        let _held = TcpStream::connect(forward.forwards()?)?;
        forward.line("it is told why", |line| line.contains("connection refused"))?;
        assert_eq!(forward.end()?, 1, "{way}: {:?}", forward.lines());
        let ids = ended(&carol, round + 1, |session| session["action"] == "portforward")?;
        let kept = kept(&gateway, &carol, &ids[0], ("portforward", "web"))?;
        assert_eq!(kept.finish["connections"], 1, "{way}: {}", kept.finish);
        let begins = "[connection 0 to port 1: 0 bytes to the pod, 0 from it";
        let line = kept.text.lines().find(|line| line.starts_with(begins));
        let line = line.with_context(|| format!("{way}: {}", kept.text))?;
        assert!(line.contains("connection refused"), "{way}: {line}");
    }
    Ok(())
}

/// `[connection 0 to port 80: 3 bytes to the pod, 4 from it]` as its counts.
fn connection(line: &str, port: u16) -> anyhow::Result<(usize, usize)> {
    let (name, counts) = line.split_once(&format!(" to port {port}: ")).context("a port")?;
    ensure!(name.starts_with("[connection "), "no connection");
    let (up, down) = counts.split_once(" bytes to the pod, ").context("up")?;
    let (down, _) = down.split_once(" from it").context("down")?;
    Ok((up.parse()?, down.parse()?))
}

#[test]
fn debugging_leaves_the_new_container_and_what_was_done_in_it() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for way in Way::BOTH {
        let name = format!("debugged-{way}");
        pod(&name, false, "exec sleep 1000")?;
        let script = "read line; echo got $line";
        let begins = ["debug", &name, "-i", "--image=none", "-c", "looks", "--profile=general"];
        let words = [&begins[..], &["--", "sh", "-c", script]].concat();
        let command = kubectl(&alice, way, &words)?;
        let said = run(command, "typed-to-it\n", PATIENCE)?;
        assert!(
            said.code == 0 && said.stdout.contains("got typed-to-it\n"),
            "{way}: {said}"
        );

        let id = one(&carol, |session| session["name"] == name.as_str())?;
        let kept = kept(&gateway, &carol, &id, ("attach", &name))?;
        assert_eq!(kept.head["container"], "looks", "{way}: {}", kept.head);
        let outcome = &kept.close["outcome"];
        assert_eq!(
            (&outcome["exit_code"], &outcome["end"], &kept.finish["up"]),
            (&0.into(), &"answered".into(), &"typed-to-it\n".len().into()),
            "{way}: {} {}",
            kept.close,
            kept.finish
        );
        // With what the transport needs.
        assert!(
            outcome["bytes_in"].as_u64() > kept.finish["up"].as_u64(),
            "{way}: {}",
            kept.close
        );
        let place = format!("kept/{name}/looks");
        let rows = carol.ok("gatescribe session ls user:alice ns:kept --limit 200")?;
        let row = rows.stdout.lines().find(|line| line.contains(&place));
        assert!(
            row.is_some_and(|row| row.contains(" attach ") && row.ends_with(&id[id.len() - 8..])),
            "{way}: {rows}"
        );
        let shown = carol.ok(&format!("gatescribe session show {id}"))?;
        let fact = |name: &str| {
            let line = shown
                .stdout
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(name));
            line.map(str::trim)
                .with_context(|| format!("{way}: no {name:?} in {shown}"))
        };
        let hash = kept.close["recording"]["hash"].as_str().context("a hash")?;
        for (name, says) in [
            ("who", "alice@example.com"),
            ("where", place.as_str()),
            ("node", "node-1"),
            ("what", "attach"),
            ("allowed by", "kept-is-recorded"),
            ("bytes", "↑"),
            ("result", "exit 0"),
            ("recording", "whole, as the ledger says"),
            ("root hash", hash),
        ] {
            assert!(fact(name)?.contains(says), "{way}: {name}: {shown}");
        }
        assert!(
            kept.text.contains("> typed-to-it\n") && kept.text.contains("got typed-to-it\n"),
            "{way}: {}",
            kept.text
        );
        let of_it = |record: &Value| {
            record["req"]["subresource"] == "ephemeralcontainers" && record["req"]["name"] == name.as_str()
        };
        let made = |record: &&Value| record["kind"] == "intent" && of_it(record);
        let outcome = |records: &[Value]| {
            let intent = records.iter().find(made)?.clone();
            let outcome = find(records, "outcome", intent["id"].as_str()?).ok()?.clone();
            Some((intent, outcome))
        };
        let records = gateway.records_with("the container's end", |records| outcome(records).is_some())?;
        let (intent, outcome) = outcome(&records).context("waited for")?;
        assert_eq!(
            (&intent["by"]["user"], &intent["req"]["verb"]),
            (&"alice@example.com".into(), &"patch".into()),
            "{way}: {intent}"
        );
        assert!(
            intent["decision"]["rules"].to_string().contains("kept-is-recorded"),
            "a new container is a way in: {intent}"
        );
        assert_eq!(outcome["outcome"]["status"], 200, "{way}: {outcome}");
        let open = find(&records, "open", &id)?;
        assert!(
            open["seq"].as_u64() > intent["seq"].as_u64(),
            "{way}: first the container, then what is done in it"
        );
    }
    Ok(())
}
