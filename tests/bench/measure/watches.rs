//! `bench watches`: resident memory of the gateway for each watch on which nothing happens: one TLS connection each by
//! HTTP/1.1 and by HTTP/2, and ten on one connection of HTTP/2, as a controller's informers have. The upstream is spoken to in
//! TLS by HTTP/2, as clusters are. And how often the gateway wakes up for them: the times that its threads gave up the processor
//! by themselves while nothing happens, beside the same without any watch.

use anyhow::ensure;
use std::time::Duration;
use tests::measure::cpu;
use tests::measure::load::{self, Plan};
use tests::measure::stage::Stage;
use tests::measure::world;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// 200 watches, to see that it works.
    #[arg(long)]
    quick: bool,
    /// How many watches, in multiples of ten.
    #[arg(long, default_value_t = 1_990)]
    count: usize,
}

/// A name, the protocol, and how many watches one connection has.
const FORMS: [(&str, bool, usize); 3] = [("h1", false, 1), ("h2", true, 1), ("h2_of_ten", true, 10)];
/// Files that gateway and bench have open besides the watches' connections.
const OTHER_FILES: u64 = 500;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let watches = if arguments.quick { 200 } else { arguments.count };
    ensure!(
        watches > 0 && watches.is_multiple_of(10),
        "--count is a multiple of ten"
    );
    let stage = Stage::new(world::USUAL)?;
    let most_files = open_files()?;
    let mut line = format!("watches count={watches}");
    let mut worst = 0.0_f64;
    let idle = Duration::from_secs(if arguments.quick { 2 } else { 20 });
    for (name, http2, each) in FORMS {
        let connections = watches / each;
        if connections as u64 + OTHER_FILES > most_files {
            println!("{name}: left out, a process may have {most_files} files open here");
            continue;
        }
        let price = price(&stage, name, http2, (connections, each), idle)?;
        line.push_str(&format!(
            " kib_each_{name}={:.1} wakeups_per_second_{name}={:.1} wakeups_per_second_{name}_without={:.1}",
            price.kib, price.wakeups, price.wakeups_without
        ));
        worst = worst.max(price.kib);
    }
    ensure!(
        worst > 0.0,
        "nothing was measured: a process may have {most_files} files open here"
    );
    println!("{line} kib_each={worst:.1}");
    Ok(())
}

/// What watches cost.
struct Price {
    /// Memory for each.
    kib: f64,
    /// Wake-ups of the gateway in a second while all are open, and before there was any.
    wakeups: f64,
    wakeups_without: f64,
}

/// The price of so many connections with so many watches, on which nothing happens for so long.
fn price(
    stage: &Stage,
    name: &'static str,
    http2: bool,
    (connections, each): (usize, usize),
    idle: Duration,
) -> anyhow::Result<Price> {
    let gateway = stage.gateway(name, true)?;
    // What the first requests allocate for everybody is no price of a watch.
    let address = gateway.rival.address;
    stage.send(stage.load(address, http2, Plan::Turns, 0.5)?, gateway.rival.pids())?;
    let resident = || {
        gateway
            .rival
            .pids()
            .into_iter()
            .map(cpu::resident_kib)
            .sum::<anyhow::Result<f64>>()
    };
    let wakeups = || -> anyhow::Result<f64> {
        let count = || {
            gateway
                .rival
                .pids()
                .into_iter()
                .map(cpu::waits)
                .sum::<anyhow::Result<u64>>()
        };
        let before = count()?;
        // The upstream lives in this runtime and goes on meanwhile.
        stage.runtime.block_on(async { tokio::time::sleep(idle).await });
        Ok((count()? - before) as f64 / idle.as_secs_f64())
    };
    let wakeups_without = wakeups()?;
    let (before, hits) = (resident()?, stage.api.hits());
    let mut load = stage.load(address, http2, Plan::Turns, 0.5)?;
    load.connections = connections;
    let world = std::sync::Arc::clone(&stage.world);
    let began = std::time::Instant::now();
    let mut held = stage
        .runtime
        .block_on(async { stage.runtime.spawn(load::watches(load, each, world)).await })??;
    let (after, took) = (resident()?, began.elapsed().as_secs_f64());
    let ended = stage
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(1), held.join_next()).await });
    ensure!(ended.is_err(), "a watch has ended: {ended:?}");
    let (watches, begun) = (connections * each, stage.api.hits() - hits);
    ensure!(
        begun == watches as u64,
        "{begun} of {watches} watches reached the upstream"
    );
    let wakeups = wakeups()?;
    stage.runtime.block_on(held.shutdown());
    println!(
        "{name}: {before:.0} KiB before, {after:.0} KiB with {watches} watches on {connections} connections, begun in {took:.1} s; \
         {wakeups:.1} wake-ups a second, {wakeups_without:.1} before"
    );
    Ok(Price {
        kib: (after - before) / watches as f64,
        wakeups,
        wakeups_without,
    })
}

/// How many files a process may have open. The gateway, started from here, may as many.
fn open_files() -> anyhow::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}
