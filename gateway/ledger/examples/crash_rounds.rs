//! Runs crash rounds: `crash_rounds [ROUNDS] [SEED]`. Needs the feature `sim`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<u64>().unwrap_or(0));
    let (rounds, seed) = (arguments.next().unwrap_or(20_000), arguments.next().unwrap_or(1));
    let report = ledger::sim::crash_rounds(seed, rounds);
    println!(
        "crash_rounds seed={seed} rounds={} crashes={} acknowledged={} lost={} wrong={} {:?}",
        report.rounds, report.crashes, report.acknowledged, report.lost, report.wrong, report.first_failure
    );
}
