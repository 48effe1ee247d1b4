//! `bench added_latency`: 16 concurrent callers, reads and writes, straight to the upstream (TLS) and through the gateway,
//! with one bare fdatasync of the same disk beside it.

use std::io::Write as _;
use std::time::{Duration, Instant};
use tests::measure::load::Plan;
use tests::measure::percentile_ms;
use tests::measure::stage::Stage;
use tests::measure::world;

pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let (rounds, seconds) = if quick { (1, 1.0) } else { (5, 3.0) };
    let stage = Stage::new(world::USUAL)?;
    let mut gateway = stage.gateway("gatescribe", true)?;
    let through = gateway.rival.address;
    let mut all = [const { Vec::<u32>::new() }; 5];
    for _ in 0..rounds {
        for (at, (address, plan)) in [
            (stage.api.tls, Plan::Turns),
            (through, Plan::Turns),
            (stage.api.tls, Plan::Writes),
            (through, Plan::Writes),
        ]
        .into_iter()
        .enumerate()
        {
            let mut load = stage.load(address, false, plan, seconds)?;
            load.connections = 16;
            let outcome = stage.send(load, Vec::new())?;
            if address == through {
                gateway.records(outcome.requests)?;
            }
            all[at].extend(outcome.latencies);
        }
        all[4].extend(syncs(gateway.folder(), Duration::from_secs_f64(seconds / 3.0))?);
    }
    let names = [
        "read_direct",
        "read_through",
        "write_direct",
        "write_through",
        "fdatasync",
    ];
    let mut line = "added_latency".to_owned();
    for (name, latencies) in names.iter().zip(&mut all) {
        let (p50, p99) = (percentile_ms(latencies, 0.5), percentile_ms(latencies, 0.99));
        println!("{name:14} p50 {p50:7.3} ms  p99 {p99:7.3} ms  of {}", latencies.len());
        line.push_str(&format!(" {name}_p50_ms={p50:.3} {name}_p99_ms={p99:.3}"));
    }
    println!("{line}");
    Ok(())
}

/// One thread that writes 4 KiB into a preallocated file and waits for the disk, again and again.
fn syncs(folder: &std::path::Path, how_long: Duration) -> anyhow::Result<Vec<u32>> {
    let path = folder.join("syncs");
    std::fs::write(&path, vec![0; 1 << 20])?;
    let mut file = std::fs::File::options().write(true).open(path)?;
    file.sync_all()?;
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < how_long {
        let start = Instant::now();
        if times.len() % 256 == 0 {
            std::io::Seek::rewind(&mut file)?;
        }
        file.write_all(&[1; 4_096])?;
        file.sync_data()?;
        times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(times)
}
