//! `soak open`: all that one person can have open (watches, followed logs, commands, attached terminals, forwarded ports, over
//! each protocol, by real kubectl too) stays open for an hour on a real API server and node, past the expiry of its tokens,
//! while every few minutes the configuration, the certificate, the provider's key and the gateway's own credentials are other
//! ones. At the end the gateway stops, and everybody reads that.
//!
//! Every half minute each stream has to bring a word back; no line of what was said may be missing or come twice.

use anyhow::ensure;
use std::time::{Duration, Instant};
use tests::measure::cpu;
use tests::open::{Open, brief, issuers_key, own_credentials, reload};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One round of changes, to see that it works.
    #[arg(long)]
    quick: bool,
    /// How long all of it stays open.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// Between two words of a stream.
const WORDS_EVERY: Duration = Duration::from_secs(30);
/// Words between two rounds of changes: five minutes.
const WORDS_OF_A_ROUND: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.minutes > 0, "there is nothing to wait for");
    let length = match arguments.quick {
        true => Duration::ZERO,
        false => Duration::from_secs(60 * arguments.minutes),
    };
    let (cluster, mut gateway) = brief()?;
    let mut open = Open::begin(&cluster, &gateway)?;
    let (began, pid) = (Instant::now(), gateway.process().pid()?.as_raw());
    let resident = || anyhow::Ok(cpu::resident_kib(pid)? / 1024.0);
    open.tokens_have_expired(&gateway)?;
    let (mut rounds, mut first) = (0, None);
    for word in 0.. {
        if word % WORDS_OF_A_ROUND == 0 {
            let when = |what: &str| format!("round {rounds}, after {what}");
            reload(&gateway, rounds)?;
            open.all_live(&when("a reload"), &cluster, &gateway)?;
            issuers_key(&gateway)?;
            open.all_live(&when("a rotation of the provider's key"), &cluster, &gateway)?;
            own_credentials(&cluster, &gateway)?;
            rounds += 1;
        }
        open.all_live(&format!("word {word}, {rounds} rounds of changes"), &cluster, &gateway)?;
        let now = resident()?;
        first.get_or_insert(now);
        println!(
            "{:.1} minutes, {rounds} rounds of changes, {now:.1} MiB",
            began.elapsed().as_secs_f64() / 60.0
        );
        if began.elapsed() >= length {
            break;
        }
        let next = began + WORDS_EVERY.mul_f64((word + 1) as f64);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let (minutes, last) = (began.elapsed().as_secs_f64() / 60.0, resident()?);
    let stood = open.stop(&mut gateway)?;
    println!(
        "open minutes={minutes:.1} streams={} kubectls={} rounds={rounds} words={} lines={} missing=0 doubled=0 ended=0 mib_at_first={:.1} mib_at_last={last:.1}",
        stood.streams,
        stood.talks,
        stood.words,
        stood.lines,
        first.unwrap_or(last),
    );
    Ok(())
}
