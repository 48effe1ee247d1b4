//! Forges ledgers and has them checked: `tamper [--rounds N] [--seed N] [--quick]`. Needs the feature `sim`. Fails when a forgery is
//! not found, or is said to be elsewhere, or a ledger that nobody touched is called forged. What it says of a round that failed is
//! how to do that one again: `tamper --again SPECIMEN ROUND KIND`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

use ledger::sim::{Outcome, Tampering, tamper_round, tamper_rounds};

fn main() -> ExitCode {
    let (mut rounds, mut seed) = (46_000, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--again" {
            return again(words);
        }
        if word == "--quick" {
            rounds = 920;
            continue;
        }
        let number = words.next().and_then(|number| number.parse().ok());
        match (word.as_str(), number) {
            ("--rounds", Some(number)) => rounds = number,
            ("--seed", Some(number)) => seed = number,
            // A mistyped argument must not become a run of nothing that succeeds.
            _ => {
                println!("`{word}`? --rounds N, --seed N, --quick or --again SPECIMEN ROUND KIND");
                return ExitCode::from(2);
            }
        }
    }
    let report = tamper_rounds(seed, rounds);
    for (kind, [tried, located, elsewhere, missed]) in &report.kinds {
        println!(
            "{tried:6} tried, {located:6} located, {elsewhere} elsewhere, {missed} missed: {}",
            kind.words()
        );
    }
    for failure in report.failures.values() {
        let (specimen, round, kind) = (failure.specimen, failure.round, failure.kind);
        println!(
            "the first round of its kind that failed, `--again {specimen} {round} {kind:?}`: {}",
            failure.said
        );
    }
    println!(
        "tamper seed={seed} kinds={} rounds={} missed={} misplaced={} untouched={} false_alarms={}",
        report.kinds.len(),
        report.rounds(),
        report.missed(),
        report.misplaced(),
        report.untouched,
        report.false_alarms
    );
    ExitCode::from(u8::from(
        report.missed() + report.misplaced() + report.false_alarms > 0 || report.rounds() == 0,
    ))
}

/// One round, as it was.
fn again(mut words: impl Iterator<Item = String>) -> ExitCode {
    let mut number = || words.next().and_then(|number| number.parse().ok());
    let seeds = (number(), number());
    let kind = words.next();
    let kind = Tampering::ALL
        .into_iter()
        .find(|known| Some(format!("{known:?}")) == kind);
    let ((Some(specimen), Some(round)), Some(kind)) = (seeds, kind) else {
        println!(
            "--again wants the seed of the specimen, the seed of the round and the kind, such as `--again 1 7 Flip`"
        );
        return ExitCode::from(2);
    };
    let (outcome, said) = tamper_round(specimen, round, kind);
    println!("{}: {outcome:?}\n{said}", kind.words());
    ExitCode::from(u8::from(outcome != Outcome::Located))
}
