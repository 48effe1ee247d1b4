//! The benches that start programs: `cargo xtask bench NAME`. Each ends with one line `NAME key=value …`.

mod added_latency;
mod decision;
mod idle_watches;
mod request_cost;
mod start;

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(rename_all = "snake_case")]
enum Bench {
    /// CPU per authenticated, authorised and durably audited GET, beside nginx and a pass-through program.
    RequestCost(request_cost::Arguments),
    /// What the gateway adds to the latency of reads and writes, beside one bare fdatasync.
    AddedLatency(Quick),
    /// The evaluator alone, with 10, 1,000 and 10,000 bindings.
    Decision(Quick),
    /// Memory of idle watches, one TLS connection each.
    IdleWatches(Quick),
    /// From the start of `gatescribe serve` to ready.
    Start(Quick),
}

#[derive(clap::Args)]
struct Quick {
    /// A short run, to see that it works.
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::RequestCost(arguments) => request_cost::run(arguments),
        Bench::AddedLatency(arguments) => added_latency::run(arguments.quick),
        Bench::Decision(arguments) => decision::run(arguments.quick),
        Bench::IdleWatches(arguments) => idle_watches::run(arguments.quick),
        Bench::Start(arguments) => start::run(arguments.quick),
    }
}
