//! Promise 4, attacked in bulk: the gateway, as a process and under load, is killed with SIGKILL and started again, many times.
//!
//! Acknowledged is an effect of which the head arrived upstream, and a read of which a byte of the answer arrived at its
//! client. After each kill the gateway recovers, and the ledger's reader must find the intent of every such effect and the
//! access record of every such read. `duplicates` counts effects that arrived twice and ids that stand on two records of a
//! kind; `unended` intents that never got an end, also not "unknown".
//!
//! A killed process loses what it had not yet handed to the kernel; what the kernel had not yet handed to the disk is lost
//! by a power cut only: that is the part of the rounds on a simulated disk, which `cargo xtask soak crash` runs before. At the end
//! `gatescribe ledger verify` finds nothing in what all the runs have written.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser as _;
use model::event::RecordKind;
use nix::sys::signal::Signal;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::run;
use tests::wait::PATIENCE;

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: makes-configmaps }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [create, get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: makes-configmaps }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: makes-configmaps }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const WRITERS: u64 = 4;
const READERS: u64 = 4;
/// A token lives ten minutes.
const RENEW_AFTER: Duration = Duration::from_secs(240);

#[derive(clap::Parser)]
struct Arguments {
    /// How many kills.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// A few kills, to see that it works.
    #[arg(long)]
    quick: bool,
    /// When the kills come, within a round.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What clients and upstream saw, to be found in the ledger.
#[derive(Default)]
struct Acknowledged {
    /// `Audit-ID`s that arrived upstream, and how often.
    effects: HashMap<String, u64>,
    /// Names of objects of whose reading an answer's byte arrived.
    reads: BTreeSet<String>,
    /// Readers or writers that were told something else than success: none should be.
    unexpected: u64,
}

/// What the ledger says, walked on after each kill.
#[derive(Default)]
struct Walked {
    next: u64,
    intents: HashMap<String, u64>,
    unended: HashSet<u64>,
    reads: HashSet<String>,
    twice: u64,
    starts: u64,
}

#[derive(Default)]
struct Sum {
    effects: u64,
    reads: u64,
    lost: u64,
    duplicates: u64,
    unexpected: u64,
    slowest_start: Duration,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let rounds = if arguments.quick { 20 } else { arguments.count };
    let mut dice = StdRng::seed_from_u64(arguments.seed);
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("enforce"),
        rules: Some(ROLES.to_owned()),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let mut signed_in = gateway.sign_in("alice")?;
    let mut renewed = Instant::now();
    let (mut walked, mut sum) = (Walked::default(), Sum::default());
    let begun = Instant::now();
    for round in 0..rounds {
        if renewed.elapsed() > RENEW_AFTER {
            (signed_in, renewed) = (gateway.renew(&signed_in.handle, "bench")?, Instant::now());
        }
        let alive = Duration::from_millis(dice.random_range(20..200));
        let mut acknowledged = load_until_killed(&gateway, &signed_in.token, round, alive)?;
        let starting = Instant::now();
        gateway.start_again()?;
        sum.slowest_start = sum.slowest_start.max(starting.elapsed());
        acknowledged.effects = upstream.take_effects();
        walked.walk(&gateway)?;
        compare(round, &acknowledged, &walked, &mut sum);
        if round % 100 == 99 {
            println!(
                "{} kills, {} effects and {} reads acknowledged, {} lost",
                round + 1,
                sum.effects,
                sum.reads,
                sum.lost
            );
        }
    }
    verified(&mut gateway)?;
    report(rounds, begun.elapsed(), &walked, &sum)
}

/// Stops the gateway in order and has its ledger verified by the public key that it named.
fn verified(gateway: &mut Gateway) -> anyhow::Result<()> {
    let key = gateway.public_key()?;
    gateway.stop()?;
    let mut verify = Command::new(own_binary("gatescribe")?);
    verify
        .args(["ledger", "verify"])
        .arg(gateway.ledger())
        .args(["--key", &key]);
    let found = run(verify, "", PATIENCE)?;
    anyhow::ensure!(found.code == 0, "the ledger does not verify: {found}");
    Ok(())
}

fn report(rounds: u64, took: Duration, walked: &Walked, sum: &Sum) -> anyhow::Result<()> {
    let (duplicates, unended) = (sum.duplicates + walked.twice, walked.unended.len());
    println!(
        "crash processes={rounds} effects={} reads={} lost={} duplicates={duplicates} unended={unended} unexpected={} starts={} records={} slowest_restart_ms={} round_ms={}",
        sum.effects,
        sum.reads,
        sum.lost,
        sum.unexpected,
        walked.starts,
        walked.next,
        sum.slowest_start.as_millis(),
        took.as_millis() / u128::from(rounds.max(1)),
    );
    anyhow::ensure!(sum.lost == 0, "{} acknowledged calls are not in the ledger", sum.lost);
    anyhow::ensure!(duplicates == 0, "{duplicates} calls are there twice");
    anyhow::ensure!(unended == 0, "{unended} intents never got an end");
    anyhow::ensure!(sum.unexpected == 0, "{} calls were not served", sum.unexpected);
    anyhow::ensure!(walked.starts == rounds + 1, "{} starts are recorded", walked.starts);
    // A soak in which nothing happened has shown nothing.
    anyhow::ensure!(sum.effects >= rounds && sum.reads >= rounds, "too little was under way");
    Ok(())
}

/// Puts readers and writers to work, kills the gateway after `alive` of it, and returns what they saw.
fn load_until_killed(gateway: &Gateway, token: &str, round: u64, alive: Duration) -> anyhow::Result<Acknowledged> {
    let bearer = format!("Bearer {token}");
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WRITERS + READERS)
            .map(|worker| {
                let (over, done, bearer) = (&over, &done, bearer.as_str());
                scope.spawn(move || work(gateway, bearer, (round, worker), over, done))
            })
            .collect();
        // The first calls are under way before the round's time begins: on a busy machine connecting takes longer than that.
        let first = tests::wait::wait_until("calls are answered", PATIENCE, || {
            (done.load(Ordering::Relaxed) >= WRITERS + READERS).then_some(())
        });
        std::thread::sleep(alive);
        gateway.process().signal(Signal::SIGKILL)?;
        over.store(true, Ordering::Relaxed);
        let mut all = Acknowledged::default();
        for worker in workers {
            let (reads, unexpected) = worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            all.reads.extend(reads);
            all.unexpected += unexpected;
        }
        first.map(|()| all)
    })
}

/// Reads or writes until the gateway is gone. Returns the names of which an answer's byte came, and what was refused.
fn work(
    gateway: &Gateway,
    bearer: &str,
    (round, worker): (u64, u64),
    over: &AtomicBool,
    done: &AtomicU64,
) -> anyhow::Result<(Vec<String>, u64)> {
    let mut connection = gateway.client()?.connect()?;
    let headers = [("Authorization", bearer), ("Content-Type", "application/json")];
    let (mut reads, mut unexpected) = (Vec::new(), 0);
    for number in 0_u64.. {
        let name = format!("r{round}-{worker}-{number}");
        let (method, target, body, wanted) = if worker < WRITERS {
            let object = format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#);
            ("POST", TARGET.to_owned(), object, 201)
        } else {
            ("GET", format!("{TARGET}/{name}"), String::new(), 200)
        };
        let answer = connection.exchange(method, &target, &headers, body.as_bytes());
        if method == "GET" && connection.heard() {
            reads.push(name);
        }
        match answer {
            Ok(answer) if answer.status == wanted => done.fetch_add(1, Ordering::Relaxed),
            Ok(answer) => {
                println!(
                    "{method} {target}: {} {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body)
                );
                unexpected += 1;
                break;
            }
            // After the kill there is no answer; that is the point. Before it there has to be one.
            Err(error) if gateway.process().pid().is_ok_and(alive) && !over.load(Ordering::Relaxed) => {
                return Err(error);
            }
            Err(_) => break,
        };
    }
    Ok((reads, unexpected))
}

/// Whether the process still runs; a killed one that is not yet waited for does not.
fn alive(pid: nix::unistd::Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

impl Walked {
    /// Reads on to the end of the ledger.
    fn walk(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let reader = ledger::Reader::open(&gateway.ledger())?;
        for record in reader.records_from(self.next) {
            let record = record?;
            anyhow::ensure!(record.seq == self.next, "record {} follows {}", record.seq, self.next);
            self.next += 1;
            let leaf: Value = serde_json::from_slice(&record.leaf)?;
            self.note(&record, &leaf);
        }
        Ok(())
    }

    fn note(&mut self, record: &ledger::Record, leaf: &Value) {
        match record.kind {
            RecordKind::Intent => {
                let id = leaf["id"].as_str().unwrap_or_default().to_owned();
                self.twice += u64::from(self.intents.insert(id, record.seq).is_some());
                self.unended.insert(record.seq);
            }
            RecordKind::Outcome => {
                let pair = leaf["pair"].as_u64().unwrap_or(u64::MAX);
                self.twice += u64::from(!self.unended.remove(&pair));
            }
            RecordKind::Access => {
                let name = leaf["req"]["name"].as_str().unwrap_or_default();
                self.twice += u64::from(!name.is_empty() && !self.reads.insert(name.to_owned()));
            }
            RecordKind::Start => self.starts += 1,
            _ => {}
        }
    }
}

fn compare(round: u64, acknowledged: &Acknowledged, walked: &Walked, sum: &mut Sum) {
    for (id, times) in &acknowledged.effects {
        sum.effects += 1;
        sum.duplicates += times - 1;
        if !walked.intents.contains_key(id) {
            println!("round {round}: the effect {id:?} arrived upstream and has no intent");
            sum.lost += 1;
        }
    }
    for name in &acknowledged.reads {
        sum.reads += 1;
        if !walked.reads.contains(name) {
            println!("round {round}: of {name} an answer was seen, and there is no access record");
            sum.lost += 1;
        }
    }
    sum.unexpected += acknowledged.unexpected;
}
