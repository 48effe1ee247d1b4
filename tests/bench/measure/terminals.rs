//! `bench terminals`: many terminals at once in pods of a real node, by turns straight at the API server, through the gateway,
//! and through the gateway with a recording. In each a line is typed twice a second and a screenful of 1,000 bytes answers.
//!
//! The gateway has a core; API server, node, shells and this program share the other. A figure stands for something only
//! beside that of the terminals that go straight: most of the way is theirs.

use anyhow::{Context as _, ensure};
use std::time::Duration;
use tests::measure::cpu;
use tests::measure::real::{KEPT, PLAIN, POD, Real, Session, Way, held};
use tests::measure::terminal::Terminal;
use tests::measure::{median, percentile_ms};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Twenty terminals, one turn of five seconds.
    #[arg(long)]
    quick: bool,
    /// How many terminals at once.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Turns of the three ways.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Between two lines of one terminal.
const PACE: Duration = Duration::from_millis(500);
/// Handshakes at the same time.
const OPENED_AT_ONCE: usize = 8;

/// The ways, and whether their sessions are recorded.
const NAMES: [&str; 3] = ["direct", "plain", "recorded"];
const DIRECT: usize = 0;
const RECORDED: usize = 2;

/// What the turns of one way came to.
#[derive(Default)]
struct Sum {
    latencies: Vec<u32>,
    /// Microseconds of the gateway's CPU for each line and its screenful.
    cpu: Vec<f64>,
    /// KiB of the gateway for each terminal, above what it had before there were any.
    kib: Vec<f64>,
}

/// One turn of one way.
struct Turn {
    /// From the moment at which a line was to be typed to its whole screenful, nanoseconds.
    latencies: Vec<u32>,
    /// CPU of the gateway while lines were typed, microseconds.
    cpu: f64,
    /// Its memory at the end of that, KiB.
    resident: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (count, rounds, seconds) = match arguments.quick {
        true => (20, 1, 5),
        false => (arguments.count, arguments.rounds, arguments.seconds),
    };
    cpu::keep_around()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let real = Real::start(true)?;
    // What the first sessions allocate for everybody is no price of a terminal.
    for at in 0..NAMES.len() {
        turn(&runtime, &real, at, OPENED_AT_ONCE, PACE)?;
    }
    real.settle()?;
    let base = cpu::resident_kib(real.pid()?)?;
    let mut sums: [Sum; 3] = Default::default();
    for round in 1..=rounds {
        for (at, sum) in sums.iter_mut().enumerate() {
            let mut turn = turn(&runtime, &real, at, count, Duration::from_secs(seconds))
                .with_context(|| format!("{}, turn {round}", NAMES[at]))?;
            let p99 = percentile_ms(&mut turn.latencies, 0.99);
            let (cpu, kib) = (
                turn.cpu / turn.latencies.len().max(1) as f64,
                (turn.resident - base) / count as f64,
            );
            println!(
                "turn {round} {:8} {} lines, p99 {p99:.3} ms, {cpu:.1} µs of the gateway's CPU each; it has {kib:.1} KiB more for each terminal",
                NAMES[at],
                turn.latencies.len(),
            );
            sum.latencies.extend(turn.latencies);
            sum.cpu.push(cpu);
            sum.kib.push(kib);
        }
    }
    report(&mut sums, count);
    Ok(())
}

fn report(sums: &mut [Sum; 3], count: usize) {
    let mut line = format!("terminals count={count} lines={}", sums[RECORDED].latencies.len());
    let mut straight = [0.0; 2];
    for (at, (name, sum)) in NAMES.iter().zip(sums).enumerate() {
        let found = [0.5, 0.99].map(|share| percentile_ms(&mut sum.latencies, share));
        line.push_str(&format!(" {name}_p50_ms={:.3} {name}_p99_ms={:.3}", found[0], found[1]));
        if at == DIRECT {
            straight = found;
            continue;
        }
        // Memory of the first turn: in later ones it holds on to what the turns before needed.
        let (cpu, kib) = (median(&sum.cpu), sum.kib.first().copied().unwrap_or_default());
        // Each terminal has a line in each PACE.
        let cores = cpu / 1e6 * count as f64 / PACE.as_secs_f64();
        line.push_str(&format!(
            " {name}_added_p50_ms={:.3} {name}_added_p99_ms={:.3} {name}_cpu_us_each={cpu:.1} {name}_cores={cores:.3} {name}_kib_each={kib:.1}",
            found[0] - straight[0],
            found[1] - straight[1]
        ));
    }
    println!("{line}");
}

fn turn(
    runtime: &tokio::runtime::Runtime,
    real: &Real,
    at: usize,
    count: usize,
    length: Duration,
) -> anyhow::Result<Turn> {
    let way = if at == DIRECT { real.directly() } else { real.through()? };
    let namespace = if at == RECORDED { KEPT } else { PLAIN };
    let newest = real.newest()?;
    let measuring = measure(way, namespace, count, length, real.pid()?);
    let turn = runtime.block_on(async { runtime.spawn(measuring).await })??;
    if at != DIRECT {
        in_ledger(&real.sessions(newest, count)?, count, at == RECORDED)?;
    }
    Ok(turn)
}

/// Every terminal is one session that ended as its program did, recorded or not as it had to be.
fn in_ledger(sessions: &[Session], count: usize, recorded: bool) -> anyhow::Result<()> {
    ensure!(
        sessions.len() == count,
        "{} sessions of {count} terminals",
        sessions.len()
    );
    ensure!(sessions.iter().all(|session| session.end == "answered"), "{sessions:?}");
    held(sessions, recorded, [1, 1])
}

/// Opens all, types in all, closes all. `pid` is the gateway's.
async fn measure(way: Way, namespace: &'static str, count: usize, length: Duration, pid: i32) -> anyhow::Result<Turn> {
    let terminals = open(&way, namespace, count).await?;
    let begin = Instant::now() + PACE;
    let (mut typing, mut closing) = (JoinSet::new(), JoinSet::new());
    for (number, terminal) in terminals.into_iter().enumerate() {
        // Not all at the same moment.
        let share = number as f64 / count as f64;
        let first = begin + PACE.mul_f64(share);
        typing.spawn(work(terminal, first, begin + length));
    }
    tokio::time::sleep_until(begin).await;
    let before = cpu::used(pid)?;
    let (mut latencies, mut open) = (Vec::new(), Vec::new());
    while let Some(ended) = typing.join_next().await {
        let (terminal, found) = ended??;
        latencies.extend(found);
        open.push(terminal);
    }
    let turn = Turn {
        latencies,
        cpu: cpu::used(pid)? - before,
        resident: cpu::resident_kib(pid)?,
    };
    for terminal in open {
        closing.spawn(terminal.close());
    }
    while let Some(ended) = closing.join_next().await {
        ended??;
    }
    Ok(turn)
}

async fn open(way: &Way, namespace: &'static str, count: usize) -> anyhow::Result<Vec<Terminal>> {
    let mut terminals = Vec::new();
    while terminals.len() < count {
        let mut opening = JoinSet::new();
        for _ in terminals.len()..count.min(terminals.len() + OPENED_AT_ONCE) {
            let way = way.clone();
            opening.spawn(async move { Terminal::open(&way, namespace, POD).await });
        }
        while let Some(opened) = opening.join_next().await {
            terminals.push(opened??);
        }
    }
    Ok(terminals)
}

async fn work(mut terminal: Terminal, first: Instant, until: Instant) -> anyhow::Result<(Terminal, Vec<u32>)> {
    let (mut next, mut latencies) = (first, Vec::new());
    while next < until {
        tokio::time::sleep_until(next).await;
        terminal.line().await?;
        // From the moment for which the line was planned: one that had to wait for the answer before it has waited.
        latencies.push(u32::try_from(next.elapsed().as_nanos()).unwrap_or(u32::MAX));
        next += PACE;
    }
    Ok((terminal, latencies))
}
