//! Commands that need no gateway, as they are typed: `config`, `completion`, and where there is colour. And what every command says
//! where there is no gateway, no ledger, no configuration and nobody signed in.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::counterparts::{own_binary, repository};
use tests::kubectl::{Output, run};
use tests::wait::PATIENCE;

const SECRET: &str = "swordfish-swordfish-swordfish";
const MISTAKES: &str = "docs/examples/with-mistakes.yaml";

fn command(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(arguments).env_clear().current_dir(repository());
    command
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("CLIENT_SECRET", SECRET);
    Ok(command)
}

fn types(arguments: &[&str]) -> anyhow::Result<Output> {
    run(command(arguments)?, "", PATIENCE).with_context(|| arguments.join(" "))
}

/// A file with everything that could be resolved: two kinds of references, and files that are named.
fn good(folder: &Path) -> anyhow::Result<String> {
    let write = |name: &str| -> anyhow::Result<String> {
        let path = folder.join(name);
        std::fs::write(&path, SECRET)?;
        Ok(path.display().to_string())
    };
    let text = format!(
        r#"apiVersion: gatescribe.dev/v1
url: http://127.0.0.1:8080
dataDir: {data}
listeners:
  - {{ name: gateway, address: "127.0.0.1:8080", serves: [gateway] }}
  - {{ name: kubernetes, address: "127.0.0.1:8443", serves: [kubernetes], tls: {{ certFile: {one}, keyFile: {two} }} }}
identity:
  dangerSharedNames: ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
  providers:
    - {{ name: corp, issuer: "http://127.0.0.1:9000", clientId: gatescribe, clientSecret: "${{file:{file}}}", claims: {{ user: email, groups: groups }} }}
    - {{ name: other, issuer: "http://127.0.0.1:9001", clientId: gatescribe, clientSecret: "${{env:CLIENT_SECRET}}", claims: {{ user: email }} }}
clusters:
  - {{ name: bench, servers: ["https://127.0.0.1:6443"], impersonator: {{ tokenFile: {one} }}, observer: {{ tokenFile: {two} }} }}
"#,
        data = folder.join("data").display(),
        file = write("client-secret")?,
        one = write("impersonator")?,
        two = write("observer")?,
    );
    let path = folder.join("gatescribe.yaml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

#[test]
fn a_configuration_is_checked_shown_and_described_by_command() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = good(folder.path())?;
    let checked = types(&["config", "check", &file])?;
    ensure!(checked.code == 0 && checked.stderr.contains("no problem"), "{checked}");
    assert_eq!(checked.stdout, "");

    let shown = types(&["config", "show", "--effective", &file])?;
    ensure!(shown.code == 0 && shown.stdout.contains("segmentSize"), "{shown}");
    assert!(!format!("{shown}").contains(SECRET), "a secret was resolved: {shown}");
    for reference in ["${env:CLIENT_SECRET}", "${file:"] {
        assert!(shown.stdout.contains(reference), "{shown}");
    }
    // What is shown is a configuration itself, and the same one.
    let again = folder.path().join("again.yaml");
    std::fs::write(&again, &shown.stdout)?;
    let again = again.display().to_string();
    assert_eq!(types(&["config", "check", &again])?.code, 0, "{shown}");
    assert_eq!(types(&["config", "show", "--effective", &again])?.stdout, shown.stdout);
    assert_eq!(
        types(&["config", "show", &file])?.stdout,
        std::fs::read_to_string(&file)?
    );

    let schema = types(&["config", "schema"])?;
    let described: Value = serde_json::from_str(&schema.stdout).context("the schema")?;
    ensure!(
        schema.code == 0 && described["properties"]["clusters"].is_object(),
        "{described}"
    );
    Ok(())
}

#[test]
fn a_configuration_with_mistakes_is_refused_by_every_command_with_its_code() -> anyhow::Result<()> {
    for arguments in [
        &["config", "check", MISTAKES][..],
        &["config", "show", MISTAKES],
        &["config", "show", "--effective", MISTAKES],
        &["serve", "--config", MISTAKES],
    ] {
        let refused = types(arguments)?;
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (1, ""),
            "{arguments:?}: {refused}"
        );
        assert!(
            refused.stderr.contains("with-mistakes.yaml:"),
            "{arguments:?}: {refused}"
        );
    }
    let lines = types(&["config", "check", MISTAKES, "-o", "json"])?;
    assert_eq!(lines.code, 1);
    let problems: Vec<Value> = lines
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        problems.len() > 1 && problems.iter().all(|problem| problem["line"].is_u64()),
        "{lines}"
    );
    for arguments in [
        &["config", "check", "nowhere.yaml"][..],
        &["config", "show", "nowhere.yaml"],
    ] {
        assert_eq!(types(arguments)?.code, 9, "{arguments:?}");
    }
    assert_eq!(types(&["config", "check"])?.code, 2);
    Ok(())
}

/// Runs a line in a terminal, as `script` gives one.
fn in_a_terminal(line: &str, environment: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = Command::new("script");
    command
        .args(["-qefc", line, "/dev/null"])
        .env_clear()
        .current_dir(repository());
    command
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh");
    command.envs(environment.iter().copied());
    run(command, "", PATIENCE).with_context(|| line.to_owned())
}

#[test]
fn colours_are_for_terminals_whose_owner_wants_them() -> anyhow::Result<()> {
    const COLOUR: char = '\u{1b}';
    let program = own_binary("gatescribe")?;
    let line = format!("{} config check {MISTAKES}", program.display());
    let coloured = in_a_terminal(&line, &[])?;
    ensure!(coloured.code == 1 && coloured.stdout.contains(COLOUR), "{coloured}");
    let plain = in_a_terminal(&line, &[("NO_COLOR", "1")])?;
    ensure!(
        plain.code == 1 && plain.stdout.contains("with-mistakes.yaml"),
        "{plain}"
    );
    assert!(!plain.stdout.contains(COLOUR), "{plain}");
    for arguments in [
        &["config", "check", MISTAKES][..],
        &["audit", "search", "--help"],
        &["no-such-command"],
    ] {
        let piped = types(arguments)?;
        assert!(!format!("{piped}").contains(COLOUR), "{arguments:?}: {piped}");
    }
    Ok(())
}

#[test]
fn every_shell_gets_completions_and_bash_completes_by_them() -> anyhow::Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let told = types(&["completion", shell])?;
        ensure!(told.code == 0 && told.stderr.is_empty(), "{shell}: {told}");
        for command in ["audit", "login", "whoami", "demo"] {
            assert!(told.stdout.contains(command), "{shell} knows no {command}");
        }
    }
    assert_eq!(types(&["completion", "tcsh"])?.code, 2);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("completion");
    std::fs::write(&file, types(&["completion", "bash"])?.stdout)?;
    let bash = |arguments: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile"]).args(arguments).arg(&file);
        run(bash, "", PATIENCE)
    };
    let read = bash(&["-n"])?;
    assert_eq!((read.code, read.stderr.as_str()), (0, ""), "{read}");
    // What the shell does at the key: the registered function is asked with the words so far.
    let at_the_key = r#"set -e; . "$0"; registered=$(complete -p gatescribe); function=${registered#*-F }; function=${function%% *}
COMP_WORDS=(gatescribe audit ""); COMP_CWORD=2; COMPREPLY=(); "$function" gatescribe "" audit; printf '%s\n' "${COMPREPLY[@]}""#;
    let told = bash(&["-c", at_the_key])?;
    let words: Vec<&str> = told.stdout.lines().collect();
    for word in ["search", "tail", "show"] {
        assert!(words.contains(&word), "no `{word}`: {told}");
    }
    Ok(())
}

/// What each command answers where there is nothing: its line, its exit code, what it says. `kubectl` and a browser are not there either.
const ALONE: &[(&str, i32, &str)] = &[
    (
        "serve --config nowhere.yaml",
        9,
        "cannot read the configuration `nowhere.yaml`",
    ),
    (
        "config check nowhere.yaml",
        9,
        "cannot read the configuration `nowhere.yaml`",
    ),
    (
        "config show nowhere.yaml",
        9,
        "cannot read the configuration `nowhere.yaml`",
    ),
    ("config schema", 0, ""),
    (
        "ledger verify nowhere --key nowhere.pub",
        2,
        "is neither a key `NAME+ID+KEY` nor a file",
    ),
    ("ledger key nowhere.key", 9, "cannot read `nowhere.key`"),
    ("ledger rotate-key nowhere.key", 9, "`nowhere.key`"),
    ("ledger tiles nowhere out", 5, "there is no folder `nowhere`"),
    (
        "ledger keys rotate-seal --config nowhere.yaml",
        9,
        "cannot read the configuration `nowhere.yaml`",
    ),
    ("ledger checkpoint nowhere", 5, "there is no folder `nowhere`"),
    ("ledger status nowhere", 5, "cannot read `nowhere"),
    ("ledger proof nowhere 1", 5, "`nowhere/checkpoint` cannot be read"),
    (
        "ledger witness --key nowhere.key --log nowhere.pub --listen 127.0.0.1:0",
        2,
        "is neither a key `NAME+ID+KEY` nor a file",
    ),
    ("ledger erase --list", 3, SIGNED_OUT),
    ("ledger rotate-part-keys --reason x", 3, SIGNED_OUT),
    (
        "ledger keys backup keys.age --recipient nowhere.age --config nowhere.yaml",
        9,
        "nowhere",
    ),
    (
        "ledger keys restore nowhere.age --identity nowhere.key --config nowhere.yaml",
        9,
        "nowhere",
    ),
    (
        "reconcile nowhere nowhere.log --cluster prod --account gateway",
        9,
        "nowhere",
    ),
    ("observe --log nowhere.log --cluster prod", 9, "nowhere.log"),
    ("login http://127.0.0.1:9", 7, "the gateway cannot be reached"),
    ("logout", 3, SIGNED_OUT),
    ("whoami", 3, SIGNED_OUT),
    ("idp test", 3, SIGNED_OUT),
    ("can get pods", 3, SIGNED_OUT),
    ("why", 3, SIGNED_OUT),
    ("api GET /version", 3, SIGNED_OUT),
    ("reason ticket", 3, SIGNED_OUT),
    ("exec --reason ticket pod -- ls", 3, SIGNED_OUT),
    ("audit search", 3, SIGNED_OUT),
    ("audit tail", 3, SIGNED_OUT),
    ("audit show x", 3, SIGNED_OUT),
    ("audit view x", 3, SIGNED_OUT),
    ("audit receipt x", 3, SIGNED_OUT),
    ("audit can", 3, SIGNED_OUT),
    (
        "audit policy check nowhere.yaml",
        9,
        "cannot read the policy `nowhere.yaml`",
    ),
    (
        "audit policy explain nowhere.yaml get pods",
        9,
        "cannot read the policy `nowhere.yaml`",
    ),
    (
        "audit policy diff nowhere.yaml prod=nowhere.yaml",
        9,
        "cannot read the policy `nowhere.yaml`",
    ),
    ("audit policy preset", 0, ""),
    ("evidence pack verb:get -o nowhere.html", 3, SIGNED_OUT),
    (
        "evidence verify nowhere.html --key nowhere.pub",
        2,
        "is neither a key `NAME+ID+KEY` nor a file",
    ),
    ("session ls", 3, SIGNED_OUT),
    ("session show 0123abcd", 3, SIGNED_OUT),
    (
        "session play 0123abcd",
        2,
        "a recording is played in a terminal, and this is none",
    ),
    ("session export 0123abcd", 3, SIGNED_OUT),
    ("session watch 0123abcd", 3, SIGNED_OUT),
    ("session end 0123abcd --reason x", 3, SIGNED_OUT),
    ("svc ls", 3, SIGNED_OUT),
    ("svc show x", 3, SIGNED_OUT),
    ("svc test x.example.com", 3, SIGNED_OUT),
    ("user lock x --reason y", 3, SIGNED_OUT),
    ("user unlock x", 3, SIGNED_OUT),
    ("user locks", 3, SIGNED_OUT),
    ("hold create --subject x --reason y", 3, SIGNED_OUT),
    ("hold ls", 3, SIGNED_OUT),
    ("hold release x --reason y", 3, SIGNED_OUT),
    ("completion bash", 0, ""),
    ("version", 0, ""),
];
const SIGNED_OUT: &str = "you are not signed in anywhere";
/// They stand for themselves: one needs nothing and stays, the other is called by kubectl alone.
const LEFT_OUT: [&str; 2] = ["demo", "kube"];

/// The names of all commands below this one that do something, each with the words that lead to it.
fn leaves(before: &str, command: &clap::Command, found: &mut Vec<String>) {
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    let inner: Vec<&clap::Command> = inner.collect();
    if inner.is_empty() {
        found.push(before.trim().to_owned());
    }
    for command in inner {
        leaves(&format!("{before} {}", command.get_name()), command, found);
    }
}

#[test]
fn every_command_alone_says_what_is_wrong_and_what_to_do_with_its_documented_code() -> anyhow::Result<()> {
    let mut whole = cli::command_line();
    whole.build();
    let mut names = Vec::new();
    leaves("", &whole, &mut names);
    names.retain(|name| {
        !LEFT_OUT
            .iter()
            .any(|out| name == out || name.starts_with(&format!("{out} ")))
    });
    for name in &names {
        let of = |line: &str| line == name || line.starts_with(&format!("{name} "));
        let lines = ALONE.iter().filter(|(line, _, _)| of(line)).count();
        ensure!(
            lines == 1,
            "`gatescribe {name}` has {lines} lines in this story: say what it answers alone"
        );
    }
    assert_eq!(names.len(), ALONE.len(), "a line of this story is for no command");
    let codes = std::fs::read_to_string(repository().join("docs/reference/exit-codes.md"))?;
    let folder = tempfile::tempdir()?;
    for (line, code, says) in ALONE {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = command(&words)?;
        command
            .env("HOME", folder.path())
            .env("GATESCRIBE_NO_BROWSER", "1")
            .current_dir(folder.path());
        let told = run(command, "", PATIENCE).with_context(|| (*line).to_owned())?;
        assert_eq!(told.code, *code, "{line}: {told}");
        assert!(
            codes.contains(&format!("| {code} | ")),
            "{line}: {code} is not documented"
        );
        if *code == 0 {
            ensure!(!told.stdout.is_empty() && told.stderr.is_empty(), "{line}: {told}");
            continue;
        }
        let first = told.stderr.lines().next().unwrap_or_default();
        ensure!(first.starts_with("✖ ") && first.contains(says), "{line}: {told}");
        ensure!(
            told.stderr.contains("\n  do this  "),
            "{line} says nothing to do: {told}"
        );
        assert_eq!(told.stdout, "", "{line}");
        ensure!(!told.stderr.contains("panicked"), "{line}: {told}");
    }
    let left = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name()));
    let left: Vec<_> = left.collect::<std::io::Result<_>>()?;
    assert!(left.iter().all(|name| name == ".config"), "files are left: {left:?}");
    Ok(())
}

/// A ledger that is there, and the key that signs it.
const FROZEN: &str = "gateway/ledger/tests/frozen/v1-proofs";
const FROZEN_KEY: &str = "audit.example/frozen+dbec05fc+AYE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

#[test]
fn promise_9_of_one_file_that_is_verified_what_is_said_of_a_folder_or_a_server_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let taken = types(&["ledger", "proof", &format!("{FROZEN}/ledger"), "1"])?;
    assert_eq!(taken.code, 0, "{taken}");
    let receipt = file("1.tlog-proof");
    std::fs::write(&receipt, &taken.stdout)?;
    let proved = types(&["ledger", "verify", &receipt, "--key", FROZEN_KEY])?;
    assert_eq!(proved.code, 0, "{proved}");
    let server = "`--ca`, `--token-file` and `--patience` are for a log behind an address, `https://…`";
    let at_once = "`--threads` is for a ledger's folder and for a log behind an address: a receipt, a proof or a pack of evidence is read in one go";
    for file in [receipt, format!("{FROZEN}/evidence.txt")] {
        for (option, why) in [
            (&["--threads", "2"][..], at_once),
            (&["--threads", "16"], at_once),
            (&["--patience", "60"], server),
            (&["--ca", "ca.pem"], server),
            (&["--token-file", "token"], server),
            (&["--resume"], "`--resume` is for a ledger's folder"),
        ] {
            let arguments = [&["ledger", "verify", &file, "--key", FROZEN_KEY], option].concat();
            let refused = types(&arguments)?;
            assert_eq!(
                (refused.code, refused.stdout.as_str(), refused.stderr.trim_end()),
                (2, "", format!("✖ {why}").as_str()),
                "{arguments:?}"
            );
        }
    }
    Ok(())
}
