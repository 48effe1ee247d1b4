//! `gatescribe session ls | show | play | export | watch | end`: an auditor sees, plays and ends what somebody does in a pod, and
//! nobody else does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, Running, Way, run, run_with_open_input};
use tests::once::Once;
use tests::person::Person;
use tests::pods::{TICKS, kept, nowhere};
use tests::records::{close_of, find, opens};
use tests::rules::entering;
use tests::terminal::{in_window, terminal};
use tests::wait::{PATIENCE, try_until};

/// Of a shape that the recorder knows.
const SECRET: &str = "ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789";

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    WORLD.get(|| Cluster::with_pods(&[kept(), nowhere("kept")].concat()))
}

/// A gateway that records commands in the namespace.
fn gateway() -> anyhow::Result<Gateway> {
    let place = "namespaces: [kept], verbs: [create], resources: [pods/exec]";
    let rules = entering("kept-is-recorded", place, "record: true");
    Gateway::start(world()?, &Options::ruled(rules))
}

/// `kubectl exec` of a shell line in the pod.
fn exec(person: &Person<'_>, way: Way, line: &str) -> anyhow::Result<Command> {
    person.kubectl(way, &["exec", "shell", "-n", "kept", "--", "sh", "-c", line])
}

/// The one session that is listed so and for which `is` holds.
fn session(person: &Person<'_>, listed: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    try_until("the session is listed", PATIENCE, || {
        let mut found = person.sessions(listed)?;
        found.retain(&is);
        ensure!(found.len() == 1, "{found:?}");
        found.pop().context("counted")
    })
}

fn id(session: &Value) -> anyhow::Result<&str> {
    session["id"].as_str().context("an id")
}

/// A line in a terminal: what it draws there, and how it ends.
fn in_terminal(person: &Person<'_>, line: &str) -> anyhow::Result<Output> {
    run(terminal(&person.command("gatescribe")?, line), "", PATIENCE)
}

#[test]
fn an_auditor_lists_plays_and_exports_what_somebody_did_and_nobody_else_does() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol, bob] = Person::all_signed_in(&gateway, ["alice", "carol", "bob"])?;
    let said = run(
        exec(
            &alice,
            Way::WebSocket,
            &format!("echo first-words; echo {SECRET}; exit 3"),
        )?,
        "",
        PATIENCE,
    )?;
    ensure!(
        said.code == 3 && said.stdout.contains(SECRET),
        "the person gets every byte: {said}"
    );
    let listed = session(&carol, "user:alice ns:kept", |session| {
        session["outcome"]["exit_code"] == 3
    })?;
    assert_eq!(
        (&listed["recorded"], &listed["live"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    let (whole, short) = (id(&listed)?, &id(&listed)?[28..]);

    let table = carol.ok("gatescribe session ls ns:kept")?;
    for words in ["TIME (UTC)", "kept/shell", "exec", "exit 3", short] {
        assert!(table.stdout.contains(words), "no `{words}`: {table}");
    }
    let shown = carol.ok(&format!("gatescribe session show {short}"))?;
    for words in [
        whole,
        "first-words",
        "exit 3",
        "whole, as the ledger says",
        "secrets masked",
    ] {
        assert!(shown.stdout.contains(words), "no `{words}`: {shown}");
    }
    // To look for it by the end of its id is no list of sessions.
    let looked = format!("looked for a session by `…{short}` among all sessions: 1 shown");
    gateway.records_with(&looked, |records| {
        let mut reads = records.iter().filter(|record| record["kind"] == "auditread");
        reads.any(|record| record["note"] == looked.as_str())
    })?;
    let searched = carol.ok("gatescribe audit search user:alice kind:open ns:kept")?;
    assert!(
        searched.stdout.contains("exit 3") && !searched.stdout.contains("101"),
        "{searched}"
    );

    // The words of the command stand in no record in the clear; who may see the record may see them, masked.
    let record = carol.ok(&format!("gatescribe audit show {whole} -o json"))?.json()?;
    let command = record["parts"]["command"].as_array().context("a command")?;
    assert_eq!((&command[0], &command[1]), (&Value::from("sh"), &Value::from("-c")));
    let script = command[2].as_str().context("a script")?;
    assert!(
        script.starts_with("echo first-words;") && !script.contains(SECRET),
        "{script}"
    );
    is_exported(&carol, whole)?;
    is_played(&carol, whole)?;
    is_nobody_elses(&bob, whole)?;
    assert!(
        alice
            .ok(&format!("gatescribe session show {whole}"))?
            .stdout
            .contains("whole")
    );
    let reads = gateway.records_with("each look is recorded", |records| {
        let said = |words: &str| {
            let notes = records.iter().filter(|record| record["kind"] == "auditread");
            let mut notes = notes.filter_map(|record| record["note"].as_str());
            notes.any(|note| note.starts_with(words) && note.contains(whole))
        };
        said("viewed session") && said("played the recording") && said("exported the recording")
    })?;
    assert!(!format!("{reads:?}").contains(SECRET));
    is_cut(&gateway, &carol, whole)?;
    has_lost_its_keys(&gateway, &carol, whole)
}

/// As text, and as a cast whose lines are all JSON; without the secret.
fn is_exported(carol: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let cast = carol.ok(&format!("gatescribe session export {id}"))?;
    let lines: Vec<Value> = cast
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| cast.to_string())?;
    assert_eq!(lines[0]["version"], 3, "{cast}");
    let output = lines
        .iter()
        .filter(|event| event[1] == "o")
        .filter_map(|event| event[2].as_str());
    let output: String = output.collect();
    assert!(
        output.contains("first-words") && !cast.stdout.contains(SECRET),
        "{cast}"
    );
    carol.ok(&format!("gatescribe session export {id} --format text -o copy.txt"))?;
    let text = std::fs::read_to_string(carol.folder().join("copy.txt"))?;
    assert!(text.contains("first-words\n") && !text.contains(SECRET), "{text}");
    let again = carol.types(&format!("gatescribe session export {id} --format text -o copy.txt"))?;
    assert_eq!(again.code, 6, "nothing is written over: {again}");
    Ok(())
}

fn is_played(carol: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let refused = carol.types(&format!("gatescribe session play {id}"))?;
    assert!(
        refused.code == 2 && refused.stderr.contains("session export"),
        "{refused}"
    );
    let played = in_terminal(carol, &format!("gatescribe session play {id} --speed 100 --idle 1s"))?;
    assert!(played.code == 0 && played.stdout.contains("first-words"), "{played}");
    assert!(!played.stdout.contains(SECRET), "{played}");
    Ok(())
}

/// What is somebody else's looks as if it were not there.
fn is_nobody_elses(bob: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let listed = bob.types("gatescribe session ls")?;
    assert!(listed.code == 1 && listed.stdout.is_empty(), "{listed}");
    let nowhere = bob.types("gatescribe session show 0192f0c1-7c3e-7d00-a000-0000000007f3")?;
    for line in [
        format!("gatescribe session show {id}"),
        format!("gatescribe session export {id}"),
        format!("gatescribe session watch {id}"),
        format!("gatescribe session end {id} --reason because"),
    ] {
        let refused = bob.types(&line)?;
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (nowhere.code, ""),
            "{line}: {refused}"
        );
        assert!(refused.stderr.contains("there is no such session"), "{line}: {refused}");
    }
    Ok(())
}

/// A byte that was changed is found and named, also where all of the rest is as it was.
fn is_cut(gateway: &Gateway, carol: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let path: PathBuf = gateway.file("data/recordings").join(format!("{id}.rec"));
    let whole = std::fs::read(&path)?;
    let (last, rest) = whole.split_last().context("an empty recording")?;
    std::fs::write(&path, rest)?;
    for line in [
        format!("gatescribe session show {id}"),
        format!("gatescribe session export {id}"),
    ] {
        let told = carol.types(&line)?;
        assert!(
            told.code == 8 && told.stderr.contains("the recording is damaged"),
            "{line}: {told}"
        );
        assert!(told.stderr.contains("but the ledger knows chunk"), "{line}: {told}");
    }
    std::fs::write(&path, [rest, &[!last]].concat())?;
    assert_eq!(carol.types(&format!("gatescribe session show {id}"))?.code, 8);
    std::fs::remove_file(&path)?;
    let told = carol.types(&format!("gatescribe session export {id}"))?;
    assert!(
        told.code == 8 && told.stderr.contains("its file is not there"),
        "{told}"
    );
    let shown = carol.types(&format!("gatescribe session show {id}"))?;
    assert!(
        shown.code == 8 && shown.stdout.contains("MISSING: its file is not there") && shown.stderr.contains("backup"),
        "{shown}"
    );
    std::fs::write(&path, &whole)?;
    assert_eq!(carol.types(&format!("gatescribe session show {id}"))?.code, 0);
    Ok(())
}

/// Whoever deletes a key from the state file has erased nothing lawfully: nothing says so, and what it sealed is called damaged.
fn has_lost_its_keys(gateway: &Gateway, carol: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let data = gateway.file("data");
    let seal = <[u8; 32]>::try_from(std::fs::read(data.join("keys/seal"))?).map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let keys = state::SealingKeys::new(state::SealingKey::new(&seal).context("a key")?, Vec::new());
    let store = state::Store::open(&data.join("state.sqlite"), keys, state::Limits::default())?;
    let records = gateway.records()?;
    let subject = find(&records, "open", id)?["by"]["id"].as_str().context("a subject")?;
    assert!(store.drop_part_key(subject, &format!("recording:{id}"))?);
    assert!(store.drop_part_key(subject, "command")?);
    drop(store);
    let why = "its key is missing from the gateway's store, and no record says that it was erased";
    let shown = carol.types(&format!("gatescribe session show {id}"))?;
    assert!(
        shown.code == 8 && shown.stdout.contains("DAMAGED: its key is missing"),
        "{shown}"
    );
    for line in [
        format!("gatescribe session show {id}"),
        format!("gatescribe session export {id}"),
        format!("gatescribe session export {id} --format text"),
    ] {
        let told = carol.types(&line)?;
        assert!(told.code == 8 && told.stderr.contains(why), "{line}: {told}");
    }
    let record = carol.ok(&format!("gatescribe audit show {id} -o json"))?.json()?;
    assert_eq!(record["parts"]["command"]["unreadable"], why, "{record}");
    Ok(())
}

#[test]
fn a_session_that_goes_on_is_watched_and_ended_with_words_that_the_person_reads() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    for (round, way) in Way::BOTH.into_iter().enumerate() {
        // Nothing more is said before somebody watches.
        let later = gateway.file(&format!("later-{round}"));
        let command = exec(
            &alice,
            way,
            &format!(
                "echo begun-{round}; while [ ! -e {} ]; do sleep 0.05; done; echo later-{round}; exec sleep 1000",
                later.display()
            ),
        )?;
        let mut working = Running::start(command)?;
        working.line("it runs", |line| line == format!("begun-{round}"))?;
        let live = session(&carol, "--live user:alice", |_| true)?;
        assert_eq!(
            (&live["live"], &live["action"], &live["name"]),
            (&Value::Bool(true), &"exec".into(), &"shell".into())
        );
        let id = id(&live)?;
        let mut watching = Running::start(carol.command(&format!("gatescribe session watch {id}"))?)?;
        watching.line("what was before is shown", |line| line == format!("begun-{round}"))?;
        std::fs::write(&later, "")?;
        watching.line("what comes is shown", |line| line == format!("later-{round}"))?;
        let refused = carol.types(&format!("gatescribe session end {id}"))?;
        assert_eq!(refused.code, 2, "without a reason nothing ends: {refused}");
        let ended = carol.ok(&format!("gatescribe session end {id} --reason TICKET-4711"))?;
        assert!(ended.stderr.contains("alice@"), "{ended}");
        assert_ne!(working.end()?, 0, "{:?}", working.lines());
        let read = working.lines().join("\n");
        assert!(
            read.contains("ended by the gateway: ended by carol@") && read.contains(": TICKET-4711"),
            "{read}"
        );
        assert_eq!(watching.end()?, 0, "{:?}", watching.lines());
        let over = carol.types(&format!("gatescribe session end {id} --reason again"))?;
        assert!(
            over.code == 6 && over.stderr.contains("does not go on any more"),
            "{over}"
        );
        let close = gateway.end_of(id)?;
        let records = gateway.records()?;
        let is_cut = |record: &&Value| {
            record["person"]["what"] == "sessionCut" && record["note"].as_str().is_some_and(|note| note.contains(id))
        };
        let cut = records.iter().find(is_cut).context("the record of what carol did")?;
        assert_eq!(cut["kind"], "session", "{cut}");
        assert!(
            cut["note"].as_str().is_some_and(|note| note.ends_with("TICKET-4711")),
            "{cut}"
        );
        assert!(
            cut["by"]["user"]
                .as_str()
                .is_some_and(|user| user.starts_with("carol@")),
            "{cut}"
        );
        assert!(cut["seq"].as_u64() < close["seq"].as_u64(), "it is recorded first");
        let shown = carol.ok(&format!("gatescribe session show {id}"))?;
        assert!(
            shown.stdout.contains("ended by carol@") && shown.stdout.contains("whole"),
            "{shown}"
        );
    }
    Ok(())
}

#[test]
fn a_session_without_a_recording_says_what_a_rule_would_need() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let said = run(exec(&alice, Way::WebSocket, "true")?, "", PATIENCE)?;
    assert_eq!(said.code, 0, "{said}");
    let listed = session(&alice, "", |session| session["outcome"]["exit_code"] == 0)?;
    let id = id(&listed)?;
    let shown = alice.ok(&format!("gatescribe session show {id}"))?;
    assert!(
        shown
            .stdout
            .contains("none: no rule and no configuration asked for one"),
        "{shown}"
    );
    let refused = alice.types(&format!("gatescribe session export {id}"))?;
    assert_eq!(refused.code, 5, "{refused}");
    for words in [
        "this session was not recorded",
        "obligations: {record: true}",
        "recording.sessions: all",
    ] {
        assert!(refused.stderr.contains(words), "no `{words}`: {refused}");
    }
    Ok(())
}

/// What top drew on a screen of 100 columns and 30 lines: colours, letters beyond ASCII, cursor movements.
const TOP: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../gateway/recording/tests/captures/top.out"
);

/// The command in a terminal of 100 columns and 30 lines, which becomes one of 72 and 20 as soon as the file `shrinks` is there.
fn in_a_window(person: &Person<'_>, command: &Command, shrinks: &Path) -> anyhow::Result<Output> {
    let smaller = Some((shrinks, (20, 72)));
    let window = in_window(command, person.folder(), (30, 100), smaller)?;
    run_with_open_input(window, PATIENCE)
}

/// What top says of keys and not of the screen.
const KEYS: [&str; 4] = ["\x1b[?1h", "\x1b[?1l", "\x1b=", "\x1b>"];

/// What the person's terminal was sent, byte for byte but for how keys are told, in a window of the size that theirs had, also when
/// it changed.
#[test]
fn what_is_played_is_byte_for_byte_what_the_person_had() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let shrinks = alice.folder().join("shrinks");
    // Nothing is drawn before the terminal has its size: a size that comes behind it is another one.
    let line = format!(
        "while [ \"$(stty size)\" != \"30 100\" ]; do sleep 0.05; done; stty -opost; head -c 3000 {TOP}; touch {}; while [ \"$(stty size)\" != \"20 72\" ]; do sleep 0.05; done; tail -c +3001 {TOP}",
        shrinks.display()
    );
    let mut command = alice.command("kubectl exec -it shell -n kept -- sh -c")?;
    command.arg(line);
    let had = in_a_window(&alice, &command, &shrinks)?;
    assert_eq!(had.code, 0, "{had}");
    assert!(had.stdout.contains("load average"), "{had}");
    assert!(KEYS.iter().all(|keys| had.stdout.contains(keys)), "{had}");
    let had = KEYS.iter().fold(had.stdout, |had, keys| had.replace(keys, ""));
    let listed = session(&carol, "user:alice ns:kept", |session| {
        session["outcome"]["exit_code"] == 0 && session["outcome"]["end"] == "answered"
    })?;
    let id = id(&listed)?;
    for pace in ["--speed 100 --idle 0s", "--at 1h", "--at 100ms --speed 4 --idle 200ms"] {
        let played = in_terminal(&carol, &format!("gatescribe session play {id} {pace}"))?;
        assert_eq!(played.code, 0, "{pace}: {played}");
        let (_, drawn) = played
            .stdout
            .split_once("\x1b[8;30;100t")
            .with_context(|| format!("{pace}: {played}"))?;
        let (drawn, _) = drawn.split_once('\x18').with_context(|| format!("{pace}: {played}"))?;
        // Lines and columns may have been set one behind the other.
        assert!(drawn.contains("\x1b[8;20;72t"), "{pace}: {played}");
        let drawn = drawn.replace("\x1b[8;20;100t", "").replace("\x1b[8;30;72t", "");
        assert_eq!(drawn.replace("\x1b[8;20;72t", ""), had, "{pace}");
    }
    Ok(())
}

/// Ctrl-C in the middle of a recording: the terminal's settings are those of before, and so is what it shows.
#[test]
fn playing_that_is_broken_off_leaves_the_terminal_as_it_was() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    // The other screen and no cursor, and then nothing for long.
    let line = "printf '\\033[?1049h\\033[?25lfirst\\r\\n'; sleep 5; printf '\\033[?1049l\\033[?25hlast\\r\\n'";
    let mut command = alice.command("kubectl exec -it shell -n kept -- sh -c")?;
    command.arg(line);
    let had = in_a_window(&alice, &command, Path::new("/nowhere"))?;
    assert!(had.code == 0 && had.stdout.contains("last"), "{had}");
    let listed = session(&carol, "user:alice ns:kept", |session| {
        session["outcome"]["exit_code"] == 0
    })?;
    let script = format!(
        "trap : INT\necho before $(stty -g)\ngatescribe session play {} --speed 0.25 --idle 1h\necho code $?\necho after $(stty -g)\n",
        id(&listed)?
    );
    std::fs::write(carol.folder().join("play.sh"), script)?;
    let mut playing = Running::start(terminal(&carol.command("gatescribe")?, "sh play.sh"))?;
    playing.line("it is played", |line| line.ends_with("first"))?;
    playing.write("\x03")?;
    playing.line("it is broken off", |line| line.ends_with("code 130"))?;
    playing.end()?;
    let lines = playing.lines();
    let settings = |when: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(when));
        found.with_context(|| format!("no `{when}` in {lines:?}"))
    };
    assert_eq!(settings("before ")?, settings("after ")?, "{lines:?}");
    let drawn = lines.join("\n");
    assert!(!drawn.contains("last"), "{drawn}");
    for back in ["\x1b[?1049l", "\x1b[?25h", "\x1b[0m"] {
        assert!(drawn.contains(back), "no {back:?} in {drawn:?}");
    }
    Ok(())
}

/// The gateway is killed in the middle: what was kept up to then is shown, and that the end is missing.
#[test]
fn a_recording_without_its_end_is_told_from_a_damaged_one() -> anyhow::Result<()> {
    let mut gateway = gateway()?;
    let id = {
        let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
        let mut working = Running::start(exec(&alice, Way::WebSocket, TICKS)?)?;
        working.line("it runs", |line| line == "begun")?;
        let live = session(&carol, "--live user:alice", |_| true)?;
        let id = id(&live)?.to_owned();
        let shown = carol.ok(&format!("gatescribe session show {id}"))?;
        assert!(
            shown.stdout.contains("goes on, as the ledger says up to now"),
            "{shown}"
        );
        // What is anchored is sealed: who and where, the first line, and at least one behind it.
        let is_anchor = |beat: &&Value| {
            beat["kind"] == "heartbeat" && beat["id"] == id.as_str() && beat["recording"]["frames"].as_u64() > Some(4)
        };
        let records = gateway.records_with("some of it is anchored", |records| {
            records.iter().any(|beat| is_anchor(&beat))
        })?;
        let beat = records.iter().find(is_anchor).context("waited for")?;
        assert_eq!(beat["upstream"]["node"], "node-1", "{beat}");
        gateway.process().signal(nix::sys::signal::Signal::SIGKILL)?;
        id
    };
    gateway.start_again()?;
    let carol = Person::signed_in(&gateway, "carol")?;
    session(&carol, "user:alice ns:kept", |session| {
        session["outcome"]["end"] == "unknown"
    })?;
    let shown = carol.types(&format!("gatescribe session show {id}"))?;
    assert_eq!(shown.code, 0, "{shown}");
    assert!(
        shown
            .stdout
            .contains("without its end: the gateway stopped before the session had ended; up to chunk "),
        "{shown}"
    );
    let text = carol.types(&format!("gatescribe session export {id} --format text"))?;
    assert_eq!(text.code, 10, "{text}");
    assert!(
        text.stdout.starts_with("begun\ntick\n") && text.stderr.contains("the recording has no end"),
        "{text}"
    );
    assert!(text.stdout.ends_with("[the recording has no end]\n"), "{text}");
    let played = in_terminal(&carol, &format!("gatescribe session play {id} --speed 100 --idle 0s"))?;
    assert!(played.code == 10 && played.stdout.contains("begun"), "{played}");

    Ok(())
}

/// A session that the cluster refused: the person reads the cluster's words, and there was nothing to keep.
#[test]
fn a_session_that_never_began_has_a_recording_of_nothing_and_not_a_damaged_one() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let missing = run(alice.command("kubectl exec nowhere -n kept -- true")?, "", PATIENCE)?;
    assert!(
        missing.code == 1 && missing.stderr.contains("does not have a host assigned"),
        "{missing}"
    );
    let is_exec = |record: &Value| record["req"]["action"] == "exec";
    let records = gateway.records_with("it has ended", |records| {
        opens(records, is_exec)
            .next()
            .is_some_and(|open| close_of(records, open).is_some())
    })?;
    let open = opens(&records, is_exec).next().context("waited for")?;
    let id = id(open)?;
    let shown = try_until("it is found", PATIENCE, || {
        let shown = carol.types(&format!("gatescribe session show {id}"))?;
        ensure!(shown.code != 5, "{shown}");
        Ok(shown)
    })?;
    let words = "nothing: the session ended before anything passed in it";
    assert!(shown.code == 0 && shown.stdout.contains(words), "{shown}");
    for line in [
        format!("gatescribe session export {id}"),
        format!("gatescribe session watch {id}"),
    ] {
        let told = carol.types(&line)?;
        assert!(
            told.code == 5 && told.stderr.contains("nothing was recorded"),
            "{line}: {told}"
        );
    }
    Ok(())
}

/// One's own sessions without any audit role: seen, played, taken away and ended.
#[test]
fn everybody_sees_plays_and_ends_their_own() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let mut working = Running::start(exec(&alice, Way::WebSocket, TICKS)?)?;
    working.line("it runs", |line| line == "begun")?;
    let live = session(&alice, "--live", |_| true)?;
    let id = id(&live)?;
    alice.ok(&format!("gatescribe session end {id} --reason done"))?;
    assert_ne!(working.end()?, 0);
    assert!(working.lines().join("\n").contains(": done"), "{:?}", working.lines());
    session(&alice, "ns:kept", |session| session["outcome"]["end"] == "ended")?;
    let played = in_terminal(&alice, &format!("gatescribe session play {id} --speed 100 --idle 0s"))?;
    assert!(played.code == 0 && played.stdout.contains("begun"), "{played}");
    let text = alice.ok(&format!("gatescribe session export {id} --format text"))?;
    assert!(text.stdout.starts_with("begun\n"), "{text}");
    for words in [
        "listed own sessions",
        "played the recording of session",
        "exported the recording of session",
    ] {
        gateway.records_with(words, |records| {
            let mut notes = records.iter().filter(|record| record["kind"] == "auditread");
            notes.any(|record| record["note"].as_str().is_some_and(|note| note.starts_with(words)))
        })?;
    }
    Ok(())
}

/// Who may see a session reads why it was allowed, what was run and what its recording is anchored by, and finds it by that there
/// is one.
#[test]
fn what_is_shown_of_a_session_names_its_rule_its_command_and_its_hash() -> anyhow::Result<()> {
    let recording = gateway()?;
    let plain = Gateway::start(world()?, &Options::default())?;
    for (gateway, is_recorded) in [(&recording, true), (&plain, false)] {
        let alice = Person::signed_in(gateway, "alice")?;
        let said = run(exec(&alice, Way::BOTH[0], "exit 5")?, "", PATIENCE)?;
        assert_eq!(said.code, 5, "{said}");
        let query = format!("recorded:{is_recorded} ns:kept");
        let listed = session(&alice, &query, |session| session["outcome"]["exit_code"] == 5)?;
        assert_eq!(listed["recorded"], Value::Bool(is_recorded), "{listed}");
        let shown = alice.ok(&format!("gatescribe session show {}", id(&listed)?))?;
        let line = |name: &str| shown.stdout.lines().find(|line| line.starts_with(name));
        for (name, words) in [("command", "sh -c exit 5"), ("allowed by", "RoleBinding kept/dev")] {
            let line = line(name).with_context(|| shown.to_string())?;
            assert!(line.contains(words), "{shown}");
        }
        assert_eq!(line("root hash").is_some(), is_recorded, "{shown}");
        let others = alice.types(&format!("gatescribe session ls recorded:{} ns:kept", !is_recorded))?;
        assert!(others.code == 1 && others.stdout.is_empty(), "{others}");
    }
    Ok(())
}
