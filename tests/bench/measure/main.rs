//! The benches and soaks that start programs: `cargo xtask bench NAME`, `cargo xtask soak NAME`. Each ends with one line
//! `NAME key=value …`.

mod added_latency;
mod bodies;
mod decision;
mod ends;
mod request_cost;
mod service_cost;
mod soak_open;
mod soak_watches;
mod stalled_readers;
mod start;
mod terminals;
mod tunnel;
mod watches;

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(rename_all = "snake_case")]
enum Bench {
    /// CPU per authenticated, authorised and durably audited GET, beside nginx and a pass-through program.
    RequestCost(request_cost::Arguments),
    /// CPU of calls of published services, beside nginx: cookies, tokens, verdicts, WebSockets, gRPC, many sessions.
    ServiceCost(service_cost::Arguments),
    /// What the gateway adds to the latency of reads and writes, beside one bare fdatasync.
    AddedLatency(Quick),
    /// The evaluator alone, with 10, 1,000 and 10,000 bindings.
    Decision(Quick),
    /// Memory of idle watches, one TLS connection each and ten on one.
    Watches(watches::Arguments),
    /// Resident memory of the gateway while many bodies of 3 MiB are on their way and their audit asks for all of them.
    Bodies(bodies::Arguments),
    /// From the start of `gatescribe serve` to ready.
    Start(Quick),
    /// CPU of exec, cp and port-forward for each byte, beside nginx as a TCP proxy with TLS on both sides.
    Tunnel(tunnel::Arguments),
    /// CPU, memory and added latency of many recorded terminals at once.
    Terminals(terminals::Arguments),
    /// From an act that takes a person's rights to the end of each of their streams.
    Ends(ends::Arguments),
    /// Latency of short calls alone, and beside readers who take nothing.
    StalledReaders(stalled_readers::Arguments),
    /// All that a person can have open, for an hour, while everything around it changes.
    SoakOpen(soak_open::Arguments),
    /// Many watches with churn for a long time: every event once, in order, beside direct watches.
    SoakWatches(soak_watches::Arguments),
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
        Bench::ServiceCost(arguments) => service_cost::run(&arguments),
        Bench::AddedLatency(arguments) => added_latency::run(arguments.quick),
        Bench::Decision(arguments) => decision::run(arguments.quick),
        Bench::Watches(arguments) => watches::run(&arguments),
        Bench::Bodies(arguments) => bodies::run(&arguments),
        Bench::Start(arguments) => start::run(arguments.quick),
        Bench::Tunnel(arguments) => tunnel::run(&arguments),
        Bench::Terminals(arguments) => terminals::run(&arguments),
        Bench::Ends(arguments) => ends::run(&arguments),
        Bench::StalledReaders(arguments) => stalled_readers::run(&arguments),
        Bench::SoakOpen(arguments) => soak_open::run(&arguments),
        Bench::SoakWatches(arguments) => soak_watches::run(&arguments),
    }
}
