//! Runs crash rounds of the ledger on a simulated disk: `crash_rounds [--rounds N] [--seed N] [--quick]`. Needs the feature
//! `sim`. Fails when an acknowledged record is lost, or another promise is broken.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut rounds, mut seed) = (20_000, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--quick" {
            rounds = 500;
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
    let report = ledger::sim::crash_rounds(seed, rounds);
    if let Some((seed, how)) = &report.first_failure {
        println!("the first round that failed has seed {seed}: {how}");
    }
    println!(
        "crash_rounds seed={seed} rounds={} crashes={} acknowledged={} unknown={} lost={} wrong={}",
        report.rounds, report.crashes, report.acknowledged, report.unknown, report.lost, report.wrong
    );
    ExitCode::from(u8::from(report.lost > 0 || report.wrong > 0))
}
