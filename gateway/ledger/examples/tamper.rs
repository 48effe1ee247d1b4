//! Forges ledgers and has them checked: `tamper [--rounds N] [--seed N] [--quick]`. Needs the feature `sim`. Fails when a forgery is
//! not found, or is said to be elsewhere, or a ledger that nobody touched is called forged.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut rounds, mut seed) = (4_200, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--quick" {
            rounds = 420;
            continue;
        }
        let number = words.next().and_then(|number| number.parse().ok());
        match (word.as_str(), number) {
            ("--rounds", Some(number)) => rounds = number,
            ("--seed", Some(number)) => seed = number,
            // A mistyped argument must not become a run of nothing that succeeds.
            _ => {
                println!("`{word}`? --rounds N, --seed N or --quick");
                return ExitCode::from(2);
            }
        }
    }
    let report = ledger::sim::tamper_rounds(seed, rounds);
    for (kind, [tried, located, elsewhere, missed]) in &report.kinds {
        println!(
            "{tried:6} tried, {located:6} located, {elsewhere} elsewhere, {missed} missed: {}",
            kind.words()
        );
    }
    if let Some((seed, kind, said)) = &report.first_failure {
        println!("the first round that failed has seed {seed}, {kind:?}: {said}");
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
