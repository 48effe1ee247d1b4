//! Runs an oracle: questions in on its standard input, answers out on its standard output, one line each.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many pairs to compare where nobody says.
pub fn pairs_or(default: usize) -> usize {
    number("GATESCRIBE_DIFFERENTIAL_PAIRS", default)
}

/// The seed of the generators; the same one always asks the same questions.
pub fn seed() -> u64 {
    number("GATESCRIBE_DIFFERENTIAL_SEED", 20_261_121)
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

/// Asks all questions and hands each answer on with its number.
///
/// The questions are written by a thread of their own, as the oracle answers while it reads.
pub fn ask(name: &str, questions: Vec<String>, mut answer: impl FnMut(usize, &str)) {
    let binary = binary(name);
    let mut oracle = Command::new(&binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let mut input = BufWriter::new(oracle.stdin.take().expect("standard input is piped"));
    let output = BufReader::new(oracle.stdout.take().expect("standard output is piped"));
    let writer = std::thread::spawn(move || {
        for question in questions {
            writeln!(input, "{question}").expect("the oracle reads");
        }
        input.flush().expect("the oracle reads");
    });
    for (at, line) in output.lines().enumerate() {
        answer(at, &line.expect("the oracle writes text"));
    }
    writer.join().expect("the writer does not panic");
    assert!(oracle.wait().expect("the oracle ends").success(), "{name} failed");
}

fn binary(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let binary = root.join("target/counterparts/bin").join(name);
    assert!(
        binary.is_file(),
        "{name} is not built; run `cargo xtask check counterparts`, or in tests/counterparts/oracle \
         `go build -o ../../../target/counterparts/bin/ ./...`"
    );
    binary
}
