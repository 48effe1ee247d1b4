//! Benches and soaks: a name, the cargo example that does it, and the promise of its last line.

use crate::command::{cargo, lines, root, succeeds, target, tell};
use anyhow::bail;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which one; without a name, the list.
    name: Option<String>,
    /// A short run, to see that it works.
    #[arg(long)]
    quick: bool,
    /// How many rounds, in the process.
    #[arg(long)]
    rounds: Option<u64>,
    /// How many minutes.
    #[arg(long, conflicts_with = "rounds")]
    minutes: Option<u64>,
    /// How many watches, terminals, readers, kills.
    #[arg(long)]
    count: Option<u64>,
    /// Its own arguments, after `--`.
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bench,
    Soak,
}

/// One entry: add a line here and a cargo example in the package it belongs to, or a subcommand of `gatescribe-measure`
/// (`tests/bench/measure`) for a bench that starts programs (`soak_NAME` for a soak). It gets `--quick`, `--rounds N`,
/// `--minutes N` and `--count N` as they were given.
struct Entry {
    kind: Kind,
    name: &'static str,
    package: &'static str,
    example: &'static str,
    features: &'static str,
    /// Another entry of its kind that runs before. It takes `--rounds`, this one all else, and the last line is that of both.
    first: Option<&'static str>,
    what: &'static str,
}

/// The program of the benches that start programs. No example, because an example is built with all that the tests need,
/// which is the gateway a second time.
const MEASURE: &str = "gatescribe-measure";

const fn measure(name: &'static str, what: &'static str) -> Entry {
    Entry {
        kind: Kind::Bench,
        name,
        package: "gatescribe-tests",
        example: MEASURE,
        features: "",
        first: None,
        what,
    }
}

const REGISTRY: &[Entry] = &[
    Entry {
        kind: Kind::Soak,
        name: "crash",
        package: "gatescribe-tests",
        example: "crash",
        features: "",
        first: Some("crash_rounds"),
        what: "`crash_rounds` (`--rounds N`), then the gateway under load, killed with SIGKILL and started again (`--count N`)",
    },
    Entry {
        kind: Kind::Soak,
        name: "crash_rounds",
        package: "gatescribe-ledger",
        example: "crash_rounds",
        features: "sim",
        first: None,
        what: "crash rounds of the ledger alone, on a simulated disk that drops, tears and reorders",
    },
    Entry {
        kind: Kind::Soak,
        name: "tamper",
        package: "gatescribe-ledger",
        example: "tamper",
        features: "sim",
        first: None,
        what: "forged ledgers before the verifier: every forgery is found where it was made",
    },
    Entry {
        kind: Kind::Soak,
        name: "flood",
        package: "gatescribe-tests",
        example: "flood",
        features: "",
        first: None,
        what: "a stranger's flood and a signed-in person's, while others work: budgets hold, counts are exact",
    },
    Entry {
        kind: Kind::Soak,
        name: "fuzz",
        package: "gatescribe-tests",
        example: "fuzz",
        features: "",
        first: None,
        what: "every parser of foreign bytes against mutations of its corpus; `-- NAME …` for some of them",
    },
    Entry {
        kind: Kind::Bench,
        name: "long_calls",
        package: "gatescribe-proxy",
        example: "long_calls",
        features: "bench",
        first: None,
        what: "20,000 watches under way, one binding taken away: until those now refused have ended",
    },
    Entry {
        kind: Kind::Bench,
        name: "redact",
        package: "gatescribe-payload",
        example: "redact",
        features: "",
        first: None,
        what: "masking bodies in each format on one thread, beside serde_json on the same bytes and SHA-256",
    },
    Entry {
        kind: Kind::Bench,
        name: "token_cost",
        package: "gatescribe-oidc",
        example: "token_cost",
        features: "",
        first: None,
        what: "verifying tokens of providers and of the gateway, and making the latter, on one thread without a cache",
    },
    Entry {
        kind: Kind::Bench,
        name: "credential",
        package: "gatescribe-tests",
        example: "credential",
        features: "",
        first: None,
        what: "the credential plugin from start to exit, with a token in its cache",
    },
    measure(
        "request_cost",
        "CPU per audited GET, beside nginx and a bare pass-through program",
    ),
    measure(
        "service_cost",
        "CPU of calls of services, beside nginx: cookies, tokens, verdicts, WebSockets, gRPC; `--count N` sessions",
    ),
    measure(
        "added_latency",
        "what the gateway adds to reads and writes, beside one bare fdatasync",
    ),
    measure("decision", "the evaluator with 10, 1,000 and 10,000 bindings"),
    measure(
        "watches",
        "memory and wake-ups of idle watches; `--count N` for how many of them",
    ),
    measure(
        "bodies",
        "memory with bodies of 3 MiB on their way at level RequestResponse; `--count N` for how many",
    ),
    measure(
        "tunnel",
        "CPU of exec, cp and port-forward for each byte, beside nginx as a TCP proxy",
    ),
    measure(
        "terminals",
        "200 recorded terminals at once: CPU, memory, added latency; `--count N`",
    ),
    measure(
        "ends",
        "from a lock, a removed binding, key, sign-in or rule to the end of each stream; `--count N`",
    ),
    measure(
        "stalled_readers",
        "short calls alone, and beside readers of watches and logs who take nothing; `--count N`",
    ),
    Entry {
        kind: Kind::Soak,
        ..measure(
            "open",
            "all that a person can have open, for an hour, while everything around it changes; `--minutes N`",
        )
    },
    Entry {
        kind: Kind::Soak,
        ..measure(
            "watches",
            "2,000 watches with churn beside direct ones: every event once, in order; `--count N`",
        )
    },
    measure("start", "from the start of the process to ready"),
    Entry {
        kind: Kind::Bench,
        name: "ledger_append",
        package: "gatescribe-ledger",
        example: "ledger_append",
        features: "",
        first: None,
        what: "durable records a second and CPU each, at 1, 16, 64 and 256 waiting",
    },
    Entry {
        kind: Kind::Bench,
        name: "verify",
        package: "gatescribe-ledger",
        example: "verify",
        features: "",
        first: None,
        what: "a ledger verified on two threads, beside the machine's SHA-256 and its disk",
    },
    Entry {
        kind: Kind::Bench,
        name: "proof",
        package: "gatescribe-ledger",
        example: "proof",
        features: "",
        first: None,
        what: "inclusion and consistency proofs made and checked in a ledger of ten million records, beside bare reads and SHA-256",
    },
    Entry {
        kind: Kind::Bench,
        name: "recovery",
        package: "gatescribe-ledger",
        example: "recovery",
        features: "",
        first: None,
        what: "a start on a ledger of 10 GB that was killed, with none of it in memory; `-- FOLDER GB`",
    },
];

/// Builds it in release mode, runs it, and holds it to its last line.
///
/// # Errors
/// There is no such name, it fails, or its last line is not `NAME key=value …`.
pub(crate) fn run(kind: Kind, arguments: &Arguments) -> anyhow::Result<()> {
    let known = || REGISTRY.iter().filter(|entry| entry.kind == kind);
    let Some(name) = &arguments.name else {
        known().for_each(|entry| tell(&format!("{:16} {}", entry.name, entry.what)));
        return Ok(());
    };
    let Some(entry) = known().find(|entry| entry.name == name) else {
        let names: Vec<_> = known().map(|entry| entry.name).collect();
        bail!("no `{name}`; there are: {}", names.join(", "));
    };
    let Some(first) = entry.first else {
        return one(entry, passed_on(arguments)).map(drop);
    };
    let Some(first) = known().find(|entry| entry.name == first) else {
        bail!("no `{first}`, which {name} begins with");
    };
    let (of_first, of_second) = apart(arguments);
    let before = one(first, of_first)?;
    let after = one(entry, of_second)?;
    tell(&together(name, &before, &after));
    Ok(())
}

/// What the first and the second of two get.
fn apart(arguments: &Arguments) -> (Vec<String>, Vec<String>) {
    let all = passed_on(arguments);
    let is_rounds = |words: &[String]| words.first().is_some_and(|word| word == "--rounds");
    let mut of_first = Vec::new();
    let mut of_second = Vec::new();
    let mut left = all.as_slice();
    while let Some((word, rest)) = left.split_first() {
        if is_rounds(left) {
            let (pair, rest) = left.split_at(left.len().min(2));
            of_first.extend_from_slice(pair);
            left = rest;
            continue;
        }
        if word == "--quick" {
            of_first.push(word.clone());
        }
        of_second.push(word.clone());
        left = rest;
    }
    (of_first, of_second)
}

/// One line of two: figures that both have are added.
fn together(name: &str, before: &str, after: &str) -> String {
    let figures = |line: &str| -> Vec<(String, String)> {
        let pairs = line.split_whitespace().skip(1).filter_map(|word| word.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let mut all = figures(before);
    for (key, value) in figures(after) {
        let known = all.iter_mut().find(|(known, _)| *known == key);
        match known.map(|(_, sum)| (sum.parse::<u64>(), value.parse::<u64>(), sum)) {
            Some((Ok(one), Ok(other), sum)) => *sum = one.saturating_add(other).to_string(),
            _ => all.push((key, value)),
        }
    }
    // What it is about comes first.
    all.sort_by_key(|(key, _)| {
        ["rounds", "processes", "lost", "wrong"]
            .iter()
            .position(|first| first == key)
            .unwrap_or(4)
    });
    let pairs: Vec<String> = all.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{name} {}", pairs.join(" "))
}

/// Runs one and returns its last line.
fn one(entry: &Entry, words: Vec<String>) -> anyhow::Result<String> {
    let name = entry.name;
    if entry.package == "gatescribe-tests" {
        // The harness starts these as programs of the same profile.
        let mut programs = cargo(&[
            "build",
            "--release",
            "-p",
            "gatescribe-tests",
            "-p",
            "gatescribe-cli",
            "--bins",
        ]);
        if !succeeds(&mut programs)? {
            bail!("the programs that {name} starts do not build");
        }
    }
    let mut command = if entry.example == MEASURE {
        measuring(entry)?
    } else {
        example(entry)
    };
    command.args(words);
    let mut last = String::new();
    let succeeded = lines(&mut command, |line| {
        if !line.trim().is_empty() {
            line.clone_into(&mut last);
        }
    })?;
    if !succeeded {
        bail!("{name} failed");
    }
    if !is_result(name, &last) {
        bail!("the last line of {name} is not `{name} key=value …`: {last}");
    }
    Ok(last)
}

/// The program that the build before has made. `cargo run` of its package alone would choose other features for what it
/// shares with the gateway, and build all of that a second time.
fn measuring(entry: &Entry) -> anyhow::Result<Command> {
    let mut command = Command::new(target()?.join("release").join(entry.example));
    command.current_dir(root()).arg(match entry.kind {
        Kind::Bench => entry.name.to_owned(),
        Kind::Soak => format!("soak_{}", entry.name),
    });
    Ok(command)
}

fn example(entry: &Entry) -> Command {
    let mut command = cargo(&[
        "run",
        "--release",
        "--quiet",
        "-p",
        entry.package,
        "--example",
        entry.example,
    ]);
    if !entry.features.is_empty() {
        command.args(["--features", entry.features]);
    }
    command.arg("--");
    command
}

fn passed_on(arguments: &Arguments) -> Vec<String> {
    let mut all = Vec::new();
    if arguments.quick {
        all.push("--quick".to_owned());
    }
    if let Some(rounds) = arguments.rounds {
        all.extend(["--rounds".to_owned(), rounds.to_string()]);
    }
    if let Some(minutes) = arguments.minutes {
        all.extend(["--minutes".to_owned(), minutes.to_string()]);
    }
    if let Some(count) = arguments.count {
        all.extend(["--count".to_owned(), count.to_string()]);
    }
    all.extend(arguments.rest.iter().cloned());
    all
}

fn is_result(name: &str, line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(name) && words.next().is_some_and(|word| word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_has_the_name_and_figures() {
        assert!(is_result("start", "start ready_ms=80"));
        assert!(!is_result("start", "start"));
        assert!(!is_result("start", "started ready_ms=80"));
        assert!(!is_result("start", "done"));
    }

    #[test]
    fn the_line_of_two_has_the_figures_of_both_and_the_sums_of_what_both_have() {
        assert_eq!(
            together(
                "crash",
                "crash_rounds rounds=9 lost=1 seed=1",
                "crash processes=2 lost=3 ms=4"
            ),
            "crash rounds=9 processes=2 lost=4 seed=1 ms=4"
        );
    }

    #[test]
    fn rounds_are_for_the_first_of_two_and_all_else_for_the_second() {
        let arguments = Arguments {
            name: None,
            quick: true,
            rounds: Some(7),
            minutes: None,
            count: Some(3),
            rest: vec!["--seed".to_owned(), "5".to_owned()],
        };
        let (first, second) = apart(&arguments);
        assert_eq!(first, ["--quick", "--rounds", "7"]);
        assert_eq!(second, ["--quick", "--count", "3", "--seed", "5"]);
    }

    #[test]
    fn every_registered_example_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for entry in REGISTRY.iter().filter(|entry| entry.package != "gatescribe-tests") {
            let folder = entry.package.trim_start_matches("gatescribe-");
            let example = format!("{folder}/examples/{}.rs", entry.example);
            let is_in = |rooms: &str| root.join(rooms).join(&example).is_file();
            assert!(is_in("gateway") || is_in("policy"), "{}: no {example}", entry.name);
        }
    }

    #[test]
    fn no_name_is_registered_twice() {
        let mut seen = std::collections::HashSet::new();
        assert!(
            REGISTRY
                .iter()
                .all(|entry| seen.insert((entry.kind == Kind::Bench, entry.name)))
        );
    }
}
