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
    /// How many rounds.
    #[arg(long)]
    rounds: Option<u64>,
    /// How many minutes.
    #[arg(long, conflicts_with = "rounds")]
    minutes: Option<u64>,
    /// How many watches, terminals, readers.
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
        what: "the gateway under load, killed with SIGKILL and started again; what was acknowledged is in the ledger",
    },
    Entry {
        kind: Kind::Soak,
        name: "crash_rounds",
        package: "gatescribe-ledger",
        example: "crash_rounds",
        features: "sim",
        what: "crash rounds of the ledger alone, on a simulated disk that drops, tears and reorders",
    },
    Entry {
        kind: Kind::Soak,
        name: "tamper",
        package: "gatescribe-ledger",
        example: "tamper",
        features: "sim",
        what: "forged ledgers before the verifier: every forgery is found where it was made",
    },
    Entry {
        kind: Kind::Soak,
        name: "flood",
        package: "gatescribe-tests",
        example: "flood",
        features: "",
        what: "a stranger's flood and a signed-in person's, while others work: budgets hold, counts are exact",
    },
    Entry {
        kind: Kind::Soak,
        name: "fuzz",
        package: "gatescribe-tests",
        example: "fuzz",
        features: "",
        what: "every parser of foreign bytes against mutations of its corpus; `-- NAME …` for some of them",
    },
    Entry {
        kind: Kind::Bench,
        name: "long_calls",
        package: "gatescribe-proxy",
        example: "long_calls",
        features: "bench",
        what: "20,000 watches under way, one binding taken away: until those now refused have ended",
    },
    Entry {
        kind: Kind::Bench,
        name: "token_cost",
        package: "gatescribe-oidc",
        example: "token_cost",
        features: "",
        what: "verifying tokens of providers and of the gateway, and making the latter, on one thread without a cache",
    },
    Entry {
        kind: Kind::Bench,
        name: "credential",
        package: "gatescribe-tests",
        example: "credential",
        features: "",
        what: "the credential plugin from start to exit, with a token in its cache",
    },
    measure(
        "request_cost",
        "CPU per audited GET, beside nginx and a bare pass-through program",
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
        what: "durable records a second and CPU each, at 1, 16, 64 and 256 waiting",
    },
    Entry {
        kind: Kind::Bench,
        name: "verify",
        package: "gatescribe-ledger",
        example: "verify",
        features: "",
        what: "a ledger verified on two threads, beside the machine's SHA-256 and its disk",
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
    command.args(passed_on(arguments));
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
    Ok(())
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
    fn every_registered_example_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for entry in REGISTRY.iter().filter(|entry| entry.package != "gatescribe-tests") {
            let folder = entry.package.trim_start_matches("gatescribe-");
            let file = root.join(format!("gateway/{folder}/examples/{}.rs", entry.example));
            assert!(file.is_file(), "{}: no {}", entry.name, file.display());
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
