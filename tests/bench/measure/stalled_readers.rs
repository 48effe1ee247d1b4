//! `bench stalled_readers`: short calls of one person alone, and beside a hundred readers who take nothing of what they asked for:
//! of watches, which share connections to the cluster with other watches, of followed logs, which have one each, and of lists, which
//! share theirs with the very calls that are measured. The cluster is a stand-in in TLS by HTTP/2 that says as much as is taken.
//!
//! A call is due at its time, whether or not the one before was answered: what it waited for that counts.

use anyhow::{Context as _, ensure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tests::fed::{Fed, Speaks};
use tests::frames::Http2;
use tests::gateway::{Gateway, Options};
use tests::measure::{median, percentile_ms};
use tests::wait::{PATIENCE, try_until};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ten readers, a second of calls, one round.
    #[arg(long)]
    quick: bool,
    /// How many readers take nothing.
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Between two calls.
const PACE: Duration = Duration::from_millis(5);
/// What a reader could have: 64 MiB in pieces of 16 KiB.
const PIECES: u64 = 4096;
const SHORT: &str = "/clusters/bench/api/v1/namespaces/default/configmaps/short";
/// A name, and what its readers ask for.
const CLASSES: [(&str, &str); 3] = [
    (
        "watches",
        "/clusters/bench/api/v1/namespaces/default/configmaps?watch=true",
    ),
    (
        "logs",
        "/clusters/bench/api/v1/namespaces/default/pods/talks/log?follow=true",
    ),
    ("lists", "/clusters/bench/api/v1/namespaces/default/configmaps"),
];

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reads }
rules:
- { apiGroups: [""], resources: [configmaps, pods/log], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reads }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// The counters of the long answers: how many pieces of each were taken.
type Taken = Arc<Mutex<Vec<Arc<AtomicU64>>>>;

struct Bench {
    gateway: Gateway,
    bearer: String,
    taken: Taken,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (count, seconds, rounds) = match arguments.quick {
        true => (10, 1, 1),
        false => (arguments.count, arguments.seconds, arguments.rounds),
    };
    ensure!(count > 0 && seconds > 0 && rounds > 0, "there is nothing to measure");
    let bench = Bench::new()?;
    let calls = |what: &str| -> anyhow::Result<[f64; 2]> {
        let mut latencies = bench.short_calls(Duration::from_secs(seconds))?;
        let found = [0.5, 0.99].map(|share| percentile_ms(&mut latencies, share));
        println!(
            "{what}: {} calls, p50 {:.3} ms, p99 {:.3} ms",
            latencies.len(),
            found[0],
            found[1]
        );
        Ok(found)
    };
    calls("to warm up")?;
    // Alone again before each class and each time: what two of these differ by is no doing of the readers.
    let (mut alone, mut beside) = (Vec::new(), [const { Vec::new() }; CLASSES.len()]);
    for _ in 0..rounds {
        for ((name, target), beside) in CLASSES.into_iter().zip(&mut beside) {
            alone.push(calls("alone")?);
            let stalled = bench.stalled(target, count)?;
            beside.push(calls(&format!("beside {count} stalled readers of {name}"))?);
            drop(stalled);
        }
    }
    let mut line = format!(
        "stalled_readers count={count} rounds={rounds}{}",
        middle("alone", &alone)
    );
    let p99s = || alone.iter().map(|[_, p99]| *p99);
    let (least, most) = (p99s().fold(f64::INFINITY, f64::min), p99s().fold(0.0, f64::max));
    line.push_str(&format!(" alone_p99_least_ms={least:.3} alone_p99_most_ms={most:.3}"));
    for ((name, _), beside) in CLASSES.iter().zip(&beside) {
        line.push_str(&middle(&format!("beside_{name}"), beside));
    }
    println!("{line}");
    Ok(())
}

/// The middle one of the rounds' medians and of their 99th percentiles.
fn middle(name: &str, rounds: &[[f64; 2]]) -> String {
    let [p50, p99] = [0, 1].map(|of| median(&rounds.iter().map(|round| round[of]).collect::<Vec<_>>()));
    format!(" {name}_p50_ms={p50:.3} {name}_p99_ms={p99:.3}")
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let fed = Fed::start(Speaks::Http2)?;
        let options = Options {
            authorization: Some("enforce"),
            ..Options::ruled(ROLES)
        };
        let gateway = Gateway::before(&fed.upstream(), &options)?;
        let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
        let taken = Taken::default();
        let kept = Arc::clone(&taken);
        // It ends with the program, or when nobody has called for long.
        std::thread::spawn(move || -> anyhow::Result<()> {
            loop {
                let call = fed.next()?;
                if call.target.ends_with("/short") {
                    // Whoever has left needs no answer.
                    let _ = call.answer(200, &[("content-type", "application/json")], "{}");
                } else if let Ok(counter) = call.answer_long(PIECES) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(counter);
                }
            }
        });
        Ok(Self { gateway, bearer, taken })
    }

    /// From the time at which each call was due to its whole answer, nanoseconds.
    fn short_calls(&self, length: Duration) -> anyhow::Result<Vec<u32>> {
        let mut connection = self.gateway.client()?.connect()?;
        let headers = [("Authorization", self.bearer.as_str())];
        let (mut due, end) = (Instant::now() + PACE, Instant::now() + length);
        let mut latencies = Vec::new();
        while due < end {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = connection.exchange("GET", SHORT, &headers, b"")?;
            ensure!(answer.status == 200 && answer.body == b"{}", "{}", answer.status);
            latencies.push(u32::try_from(due.elapsed().as_nanos()).unwrap_or(u32::MAX));
            due += PACE;
        }
        ensure!(!latencies.is_empty(), "no call was made");
        Ok(latencies)
    }

    /// Readers who have asked and take nothing, each on a connection of its own, once as much as can be is on the way to them.
    fn stalled(&self, target: &str, count: usize) -> anyhow::Result<Vec<Http2>> {
        let counters = || self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (before, authority) = (counters().len(), self.gateway.address.to_string());
        let mut readers = Vec::new();
        for _ in 0..count {
            let mut reader = Http2::begin_without_window(self.gateway.client()?.http2()?)?;
            reader.get(1, &authority, target, &[("authorization", &self.bearer)])?;
            readers.push(reader);
        }
        let mut last = 0;
        try_until("nothing more is taken for them", PATIENCE, || {
            let counters = counters();
            let of_these = counters.get(before..).context("its own")?;
            ensure!(of_these.len() == count, "{} of {count} have begun", of_these.len());
            let each: Vec<u64> = of_these.iter().map(|taken| taken.load(Ordering::Acquire)).collect();
            let now = each.iter().sum();
            let more = now - std::mem::replace(&mut last, now);
            ensure!(more == 0, "{more} pieces more than before");
            ensure!(
                each.iter().all(|taken| (1..PIECES).contains(taken)),
                "one was said nothing or all of it: {each:?}"
            );
            Ok(())
        })?;
        println!("{last} pieces of 16 KiB are on the way to {count} readers who take none");
        Ok(readers)
    }
}
