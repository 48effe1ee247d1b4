//! `bench idle_watches`: resident memory of the gateway for each watch on which nothing happens, one TLS connection each.
//! 2,000 is what one address may have; the upstream is spoken to in TLS by HTTP/2, as clusters are.

use anyhow::ensure;
use std::time::Duration;
use tests::measure::cpu;
use tests::measure::load::{self, Plan};
use tests::measure::stage::Stage;
use tests::measure::world;

pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let watches = if quick { 200 } else { 1_990 };
    let stage = Stage::new(world::USUAL)?;
    let mut figures = Vec::new();
    for (name, http2) in [("watch-h1", false), ("watch-h2", true)] {
        let gateway = stage.gateway(name, true)?;
        // What the first requests allocate for everybody is no price of a watch.
        let address = gateway.rival.address;
        stage.send(stage.load(address, http2, Plan::Turns, 0.5)?, gateway.rival.pids())?;
        let resident = || {
            gateway
                .rival
                .pids()
                .iter()
                .map(|pid| cpu::resident_kib(*pid))
                .sum::<anyhow::Result<f64>>()
        };
        let (before, hits) = (resident()?, stage.api.hits());
        let mut load = stage.load(address, http2, Plan::Turns, 0.5)?;
        load.connections = watches;
        let world = std::sync::Arc::clone(&stage.world);
        let mut held = stage
            .runtime
            .block_on(async { stage.runtime.spawn(load::watches(load, world)).await })??;
        let after = resident()?;
        let ended = stage
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(1), held.join_next()).await });
        ensure!(ended.is_err(), "a watch has ended: {ended:?}");
        let begun = stage.api.hits() - hits;
        ensure!(
            begun == watches as u64,
            "{begun} of {watches} watches reached the upstream"
        );
        println!("{name}: {before:.0} KiB before, {after:.0} KiB with {watches} watches");
        figures.push((after - before) / watches as f64);
        stage.runtime.block_on(held.shutdown());
    }
    println!(
        "idle_watches watches={watches} kib_each_h1={:.1} kib_each_h2={:.1}",
        figures[0], figures[1]
    );
    Ok(())
}
