//! Every parser of foreign bytes against mutations of its stored corpus: `fuzz [--minutes N] [--seed N] [NAME …]`.
//!
//! No coverage guides it (docs/decisions/0006 says what was tried), so the corpora carry the structure: inputs are changed,
//! cut, joined with one another and with words taken from all of them. The same seed gives each target the same inputs in the
//! same order. What panics, or takes more than a second of
//! processor time, is a finding: it is written below `target/fuzz/` and, once
//! mended, belongs into the corpus, where each check replays it.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use targets::{TARGETS, Target};

/// Longer inputs are seldom different, and all parsers have limits.
const LONGEST: usize = 8192;
const SLOW: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 2;
/// After so many findings of one target there is nothing to learn from more.
const ENOUGH: usize = 20;
/// Bytes that mean something to one parser or another.
const SPECIAL: &[u8] = b"\0\t\n\r \"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\x7f\x80\xc3\xff0aZ";

#[derive(clap::Parser)]
struct Arguments {
    /// Minutes for each target.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Ten seconds for each, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Which inputs come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which targets; all when none is named.
    names: Vec<String>,
}

/// What a run of one target came to.
struct Run {
    name: &'static str,
    executions: u64,
    findings: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let length = Duration::from_secs(if arguments.quick { 10 } else { arguments.minutes * 60 });
    let known = |name: &String| TARGETS.iter().any(|(target, _)| target == name);
    if let Some(unknown) = arguments.names.iter().find(|name| !known(name)) {
        anyhow::bail!("no fuzz target `{unknown}`");
    }
    let wanted = TARGETS
        .iter()
        .filter(|(name, _)| arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name));
    let (waiting, done) = (Mutex::new(wanted), Mutex::new(Vec::new()));
    std::panic::set_hook(Box::new(|_| {})); // findings are told by their files
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, target)) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
                    let run = fuzz(name, *target, arguments.seed, length);
                    if let Ok(mut done) = done.lock() {
                        done.push(run);
                    }
                }
            });
        }
    });
    let runs = done
        .into_inner()
        .unwrap_or_default()
        .into_iter()
        .collect::<anyhow::Result<Vec<Run>>>()?;
    report(&runs, &arguments, length)
}

fn report(runs: &[Run], arguments: &Arguments, length: Duration) -> anyhow::Result<()> {
    let executions: u64 = runs.iter().map(|run| run.executions).sum();
    let findings: usize = runs.iter().map(|run| run.findings.len()).sum();
    let each: Vec<String> = runs
        .iter()
        .map(|run| format!("{}={}", run.name, run.executions))
        .collect();
    println!(
        "fuzz seed={} targets={} seconds_each={} executions={executions} findings={findings} {}",
        arguments.seed,
        runs.len(),
        length.as_secs(),
        each.join(" ")
    );
    ensure!(findings == 0, "{findings} inputs break what holds for every input");
    ensure!(runs.iter().all(|run| run.executions > 0), "a target was not run");
    Ok(())
}

fn fuzz(name: &'static str, target: Target, seed: u64, length: Duration) -> anyhow::Result<Run> {
    let corpus = corpus(name)?;
    let words = words(&corpus);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut run = Run {
        name,
        executions: 0,
        findings: Vec::new(),
    };
    let begun = Instant::now();
    while begun.elapsed() < length && run.findings.len() < ENOUGH {
        let input = mutated(&mut dice, &corpus, &words);
        let before = own_time()?;
        let held = catch_unwind(|| target(&input)).is_ok();
        if !held || own_time()?.saturating_sub(before) > SLOW {
            run.findings.push(keep(name, &input)?);
        }
        run.executions += 1;
    }
    println!(
        "{name}: {} executions from {} inputs and {} words",
        run.executions,
        corpus.len(),
        words.len()
    );
    for file in &run.findings {
        println!("{name}: found {}", file.display());
    }
    Ok(run)
}

/// Processor time of this thread: on a busy machine the clock on the wall says nothing of an input.
fn own_time() -> anyhow::Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_THREAD)?;
    let both = used.user_time() + used.system_time();
    Ok(Duration::from_micros(both.num_microseconds().try_into()?))
}

fn corpus(name: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = tests::counterparts::repository().join("tests/fuzz/corpora").join(name);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("the corpus {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort(); // the same seed is the same run on every machine
    files.iter().map(|file| Ok(std::fs::read(file)?)).collect()
}

/// The words of a corpus: what stands between bytes that are neither letters nor digits.
fn words(corpus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let words: BTreeSet<Vec<u8>> = corpus
        .iter()
        .flat_map(|input| input.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-'))
        .filter(|word| (2..=40).contains(&word.len()))
        .map(<[u8]>::to_vec)
        .collect();
    words.into_iter().collect()
}

fn pick<'a>(dice: &mut StdRng, from: &'a [Vec<u8>]) -> &'a [u8] {
    if from.is_empty() {
        return b"";
    }
    let at = dice.random_range(0..from.len());
    from.get(at).map(Vec::as_slice).unwrap_or_default()
}

fn mutated(dice: &mut StdRng, corpus: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = pick(dice, corpus).to_vec();
    for _ in 0..=dice.random_range(0..6) {
        change(dice, &mut input, corpus, words);
        input.truncate(LONGEST);
    }
    input
}

/// One change somewhere.
fn change(dice: &mut StdRng, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[Vec<u8>]) {
    let at = dice.random_range(0..=input.len());
    let end = (at + dice.random_range(0..=16)).min(input.len());
    let special = SPECIAL[dice.random_range(0..SPECIAL.len())];
    match dice.random_range(0..9) {
        0 => {
            let bit = 1 << dice.random_range(0..8);
            input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
        }
        1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = special),
        2 => input.insert(at, special),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..end, pick(dice, words).iter().copied())),
        5 => {
            // Once, often, or very often: limits are reached by repetition.
            let times = [1, 3, 70, 600][dice.random_range(0..4)];
            let piece = input[at..end].repeat(times);
            drop(input.splice(at..at, piece));
        }
        6 => {
            let other = pick(dice, corpus);
            let from = dice.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        7 => {
            let other = pick(dice, corpus);
            let from = dice.random_range(0..=other.len());
            let to = (from + dice.random_range(0..=64)).min(other.len());
            drop(input.splice(at..at, other[from..to].iter().copied()));
        }
        _ => {
            let number: u64 = [0, 1, 255, 256, 65_535, 1 << 31, u64::MAX][dice.random_range(0..7)];
            if dice.random() {
                drop(input.splice(at..end, number.to_string().into_bytes()));
            } else {
                drop(input.splice(at..(at + 4).min(input.len()), number.to_le_bytes().into_iter().take(4)));
            }
        }
    }
}

fn keep(name: &str, input: &[u8]) -> anyhow::Result<PathBuf> {
    let folder: &Path = &tests::counterparts::target().join("fuzz");
    std::fs::create_dir_all(folder)?;
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    let file = folder.join(format!("{name}-{:016x}", hash.finish()));
    std::fs::write(&file, input)?;
    Ok(file)
}
