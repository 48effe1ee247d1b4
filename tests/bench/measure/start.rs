//! `bench start`: from the start of the process to the first `/readyz` that says yes. Listing 10,000 bindings is part of it.

use tests::measure::median;
use tests::measure::stage::Stage;
use tests::measure::world::{self, Size};

pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 2 } else { 9 };
    let mut figures = Vec::new();
    for size in [
        Size {
            people: 5,
            bindings: 10,
        },
        world::USUAL,
    ] {
        let stage = Stage::new(size)?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            let gateway = stage.gateway("gatescribe", false)?;
            times.push(gateway.ready_after.as_secs_f64() * 1e3);
            println!(
                "{} bindings: ready after {:.0} ms",
                size.bindings,
                gateway.ready_after.as_secs_f64() * 1e3
            );
        }
        figures.push(median(&times));
    }
    println!(
        "start ready_ms={:.0} ready_10000_bindings_ms={:.0} rounds={rounds}",
        figures[0], figures[1]
    );
    Ok(())
}
