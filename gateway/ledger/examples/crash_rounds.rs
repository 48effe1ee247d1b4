//! Runs crash rounds of the ledger on a simulated disk: `crash_rounds [--rounds N] [--seed N] [--quick]`. Needs the feature
//! `sim`. Fails when an acknowledged record is lost, or another promise is broken, and names the seed of the first such round:
//! `crash_rounds --again SEED` does that one again.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut rounds, mut seed, mut again) = (10_000, 1, false);
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
            ("--again", Some(number)) => (rounds, seed, again) = (1, number, true),
            // A mistyped argument must not become a run of nothing that succeeds.
            _ => {
                println!("`{word}`? --rounds N, --seed N, --again SEED or --quick");
                return ExitCode::from(2);
            }
        }
    }
    let report = if again {
        ledger::sim::crash_round(seed)
    } else {
        ledger::sim::crash_rounds(seed, rounds)
    };
    if let Some((seed, how)) = &report.first_failure {
        println!("the first round that failed has seed {seed}: {how}");
    }
    let points = ledger::sim::Point::ALL.iter().zip(report.points);
    let points: Vec<String> = points
        .map(|(point, crashes)| format!("at_{}={crashes}", point.name()))
        .collect();
    println!(
        "crash_rounds rounds={} lost={} wrong={} seed={seed} crashes={} {} acknowledged={} unknown={} gaps={} missing={} counted={}",
        report.rounds,
        report.lost,
        report.wrong,
        report.crashes,
        points.join(" "),
        report.acknowledged,
        report.unknown,
        report.gaps,
        report.missing,
        report.counted,
    );
    // Rounds in which the power never went at some kind of operation have shown nothing about it.
    let is_short = rounds >= 500 && report.points.contains(&0);
    ExitCode::from(u8::from(report.lost > 0 || report.wrong > 0 || is_short))
}
