//! Promise 8, attacked: a stranger's flood and one signed-in person's flood, each while others work at a steady rate.
//!
//! Time goes in turns of quiet, stranger and person, so that whatever else the machine does falls on all three. The
//! attackers run as idle processes (`SCHED_IDLE`): they take what processor time is left, as if they were elsewhere.
//! At the end the gateway is stopped in order, and the ledger must account for every call of the attackers, as a record
//! or in a summary's count: `counted` equals `sent`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Client, Connection};

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
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: auditor }
"#;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const ATTACKER: &str = "alice";
const OTHERS: [&str; 2] = ["bob", "carol"];
/// Connections of each of the others, each with a call every `PACE`.
const CONNECTIONS: usize = 2;
const PACE: Duration = Duration::from_millis(40);
/// Connections of an attacker.
const ATTACKING: usize = 32;
/// A connection of an attacker is given up for a new one after so many calls: handshakes are part of a flood.
const CALLS_EACH: usize = 200;
/// How an attacking process is told what to do.
const ORDER: &str = "GATESCRIBE_FLOOD_ORDER";
/// What others may feel of it, as the ratio of their 99th percentiles.
const MOST: f64 = 1.5;

#[derive(clap::Parser)]
struct Arguments {
    /// How long each of the two floods lasts, in all turns together.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// One short turn, to see that it works.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Quiet,
    Stranger,
    Person,
}

fn main() -> anyhow::Result<()> {
    if let Ok(order) = std::env::var(ORDER) {
        return attack(&serde_json::from_str(&order)?);
    }
    let arguments = Arguments::parse();
    let turns = if arguments.quick { 1 } else { arguments.minutes };
    let length = Duration::from_secs(if arguments.quick { 15 } else { 60 });
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("enforce"),
        rules: Some(ROLES.to_owned()),
        // Below what the attackers reach on any machine, and well above what the others need.
        more: Some(json!({ "limits": { "recordsPerSecond": 200, "strangersPerSecond": 50 } })),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let mut sum = Sum::default();
    for turn in 0..turns {
        for (phase, length) in [
            (Phase::Quiet, length / 2),
            (Phase::Stranger, length),
            (Phase::Person, length),
        ] {
            sum.add(phase, run_phase(&gateway, phase, length)?);
        }
        println!("turn {}: {}", turn + 1, sum.in_words());
    }
    // Its last counts are written when it is told to end; then nothing moves any more.
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;
    report(&sum, &count(&gateway)?)
}

/// What one phase saw.
#[derive(Default)]
struct Seen {
    others: Vec<Duration>,
    refused_others: u64,
    answers: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Sum {
    others: BTreeMap<Phase, Vec<Duration>>,
    refused_others: u64,
    answers: BTreeMap<Phase, BTreeMap<String, u64>>,
}

impl Sum {
    fn add(&mut self, phase: Phase, seen: Seen) {
        self.others.entry(phase).or_default().extend(seen.others);
        self.refused_others += seen.refused_others;
        for (status, times) in seen.answers {
            *self.answers.entry(phase).or_default().entry(status).or_default() += times;
        }
    }

    fn percentile(&self, phase: Phase, share: f64) -> Duration {
        let mut all = self.others.get(&phase).cloned().unwrap_or_default();
        all.sort_unstable();
        let at = (all.len() as f64 * share) as usize;
        all.get(at.min(all.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    fn ratio(&self, phase: Phase) -> f64 {
        self.percentile(phase, 0.99).as_secs_f64() / self.percentile(Phase::Quiet, 0.99).as_secs_f64()
    }

    fn sent(&self, phase: Phase) -> u64 {
        self.answers.get(&phase).map_or(0, |answers| answers.values().sum())
    }

    fn in_words(&self) -> String {
        let phase = |phase| {
            let p = |share| self.percentile(phase, share).as_micros();
            let answers = self.answers.get(&phase);
            format!(
                "{phase:?} p50={}us p99={}us max={}us {:?}",
                p(0.5),
                p(0.99),
                p(1.0),
                answers.unwrap_or(&BTreeMap::new())
            )
        };
        format!(
            "{}; {}; {}",
            phase(Phase::Quiet),
            phase(Phase::Stranger),
            phase(Phase::Person)
        )
    }
}

fn report(sum: &Sum, counted: &Counted) -> anyhow::Result<()> {
    let (stranger, person) = (sum.sent(Phase::Stranger), sum.sent(Phase::Person));
    let ratio = sum.ratio(Phase::Stranger).max(sum.ratio(Phase::Person));
    println!(
        "flood refused_others={} p99_ratio={ratio:.2} counted={} sent={} stranger_counted={} stranger_sent={stranger} stranger_recorded={} stranger_p99_ratio={:.2} person_counted={} person_sent={person} person_recorded={} person_p99_ratio={:.2} quiet_p99_us={} others={}",
        sum.refused_others,
        counted.stranger() + counted.person(),
        stranger + person,
        counted.stranger(),
        counted.stranger_records,
        sum.ratio(Phase::Stranger),
        counted.person(),
        counted.person_records,
        sum.ratio(Phase::Person),
        sum.percentile(Phase::Quiet, 0.99).as_micros(),
        sum.others.values().map(Vec::len).sum::<usize>(),
    );
    anyhow::ensure!(
        sum.refused_others == 0,
        "{} calls of others were refused",
        sum.refused_others
    );
    anyhow::ensure!(
        counted.stranger() == stranger,
        "the ledger knows {} calls of the stranger",
        counted.stranger()
    );
    anyhow::ensure!(
        counted.person() == person,
        "the ledger knows {} calls of the person",
        counted.person()
    );
    anyhow::ensure!(
        counted.stranger_summed > 0,
        "the stranger's flood did not fill its budget"
    );
    anyhow::ensure!(counted.person_summed > 0, "the person's flood did not fill its budget");
    anyhow::ensure!(ratio <= MOST, "others waited {ratio:.2} times as long");
    Ok(())
}

/// Others at work, and an attacker if the phase has one.
fn run_phase(gateway: &Gateway, phase: Phase, length: Duration) -> anyhow::Result<Seen> {
    let others = OTHERS.map(|person| gateway.sign_in(person));
    let attacker = match phase {
        Phase::Quiet => None,
        Phase::Stranger => Some(start_attack(gateway, None, length)?),
        Phase::Person => Some(start_attack(gateway, Some(gateway.sign_in(ATTACKER)?.token), length)?),
    };
    let over = AtomicBool::new(false);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for person in others {
            let token = person?.token;
            for number in 0..CONNECTIONS {
                let (token, over) = (token.clone(), &over);
                let client = gateway.client()?;
                workers.push(scope.spawn(move || work(&client, &token, number, over)));
            }
        }
        match attacker {
            None => std::thread::sleep(length),
            Some(attacker) => seen.answers = attacked(attacker)?,
        }
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            let (took, refused) = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
            seen.others.extend(took);
            seen.refused_others += refused;
        }
        Ok(seen)
    })
}

/// One of the others: a call each `PACE`, every fifth a write. How long each took from when it was due, and how many were
/// not answered as they should have been.
fn work(client: &Client, token: &str, number: usize, over: &AtomicBool) -> (Vec<Duration>, u64) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let (mut took, mut refused) = (Vec::new(), 0);
    let Ok(mut connection) = client.connect() else {
        return (took, 1);
    };
    let mut due = Instant::now() + PACE * u32::try_from(number).unwrap_or(0) / 2;
    for call in 0_u64.. {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Ordering::Relaxed) {
            break;
        }
        match one(&mut connection, &headers, call % 5 == 0) {
            Ok(status) if status == 200 || status == 201 => took.push(due.elapsed()),
            Ok(_) => refused += 1,
            Err(_) => {
                refused += 1;
                let Ok(again) = client.connect() else { break };
                connection = again;
            }
        }
        due += PACE;
    }
    (took, refused)
}

fn one(connection: &mut Connection, headers: &[(&str, &str)], write: bool) -> anyhow::Result<u16> {
    let answer = if write {
        let object = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"x"}}"#;
        connection.exchange("POST", TARGET, headers, object)
    } else {
        connection.exchange("GET", &format!("{TARGET}/x"), headers, b"")
    };
    Ok(answer?.status)
}

fn start_attack(gateway: &Gateway, token: Option<String>, length: Duration) -> anyhow::Result<Child> {
    let order = json!({
        "address": gateway.address.to_string(),
        "ca": gateway.ca(),
        "token": token,
        "seconds": length.as_secs(),
    });
    Command::new("chrt")
        .args(["--idle", "0"])
        .arg(std::env::current_exe()?)
        .env(ORDER, order.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start an attacker")
}

fn attacked(attacker: Child) -> anyhow::Result<BTreeMap<String, u64>> {
    let output = attacker.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "the attacker failed");
    serde_json::from_slice(&output.stdout).context("what the attacker says")
}

/// The attacking process: as many calls as it can, from many connections. Prints how many came to which answer.
fn attack(order: &Value) -> anyhow::Result<()> {
    let text = |name: &str| order[name].as_str().with_context(|| format!("`{name}`"));
    let client = Client::new(text("address")?.parse()?, text("ca")?, None)?;
    let token = order["token"].as_str();
    let until = Instant::now() + Duration::from_secs(order["seconds"].as_u64().context("`seconds`")?);
    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKING)
            .map(|number| {
                let client = &client;
                scope.spawn(move || attack_from(client, token, number, until))
            })
            .collect();
        for attacker in attackers {
            for (status, times) in attacker.join().unwrap_or_default() {
                *sum.entry(status).or_default() += times;
            }
        }
    });
    println!("{}", json!(sum));
    Ok(())
}

/// What each connection sends, in turn: what a stranger and what a person can make a gateway refuse.
const STRANGE: [(&str, &[(&str, &str)]); 4] = [
    (TARGET, &[]),
    (TARGET, &[("Authorization", "Bearer not.a.token")]),
    ("/clusters/bench/api/v1/../v1/pods", &[]),
    ("/clusters/nowhere/api", &[]),
];
const OWN: [(&str, &[(&str, &str)]); 4] = [
    (TARGET, &[]),
    ("/clusters/bench/api/v1/namespaces/default/configmaps/x", &[]),
    ("/clusters/bench/api/v1/namespaces/default/secrets/x", &[]),
    (TARGET, &[("Impersonate-Nobody", "x")]),
];

fn attack_from(client: &Client, token: Option<&str>, number: usize, until: Instant) -> BTreeMap<String, u64> {
    let mut answers: BTreeMap<String, u64> = BTreeMap::new();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let menu = if token.is_some() { OWN } else { STRANGE };
    while Instant::now() < until {
        let Ok(mut connection) = client.connect() else { continue };
        for (target, headers) in menu.iter().cycle().skip(number).take(CALLS_EACH) {
            let mut headers = headers.to_vec();
            headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
            // A call that got no answer may not have been read by the gateway; a flood that loses some cannot be counted.
            let Ok(answer) = connection.exchange("GET", target, &headers, b"") else {
                *answers.entry("none".to_owned()).or_default() += 1;
                break;
            };
            *answers.entry(answer.status.to_string()).or_default() += 1;
            let closes = answer.head.to_ascii_lowercase().contains("connection: close");
            if closes || Instant::now() >= until {
                break;
            }
        }
    }
    answers
}

/// What the ledger knows of the attackers.
#[derive(Default)]
struct Counted {
    stranger_records: u64,
    stranger_summed: u64,
    person_records: u64,
    person_summed: u64,
}

impl Counted {
    const fn stranger(&self) -> u64 {
        self.stranger_records + self.stranger_summed
    }

    const fn person(&self) -> u64 {
        self.person_records + self.person_summed
    }
}

fn count(gateway: &Gateway) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    let mut summed: BTreeMap<String, u64> = BTreeMap::new();
    let mut attacker = None;
    for record in ledger::Reader::open(&gateway.ledger())?.records_from(0) {
        let leaf: Value = serde_json::from_slice(&record?.leaf)?;
        let by = &leaf["by"];
        match leaf["kind"].as_str() {
            // The first record of each call; ends pair with these. Sign-ins stand on no target of a cluster.
            Some("access" | "intent" | "refusal") if leaf["cluster"].is_string() || leaf["kind"] == "refusal" => {
                match by["user"].as_str() {
                    None => counted.stranger_records += 1,
                    Some(user) if user.starts_with(ATTACKER) => {
                        attacker = by["id"].as_str().map(str::to_owned);
                        counted.person_records += 1;
                    }
                    Some(_) => {}
                }
            }
            Some("summary") => {
                let what = leaf["sum"]["what"].as_str().unwrap_or_default().to_owned();
                *summed.entry(what).or_default() += leaf["sum"]["count"].as_u64().unwrap_or(0);
            }
            _ => {}
        }
    }
    for (what, times) in summed {
        if what.ends_with("strangers") {
            counted.stranger_summed += times;
        } else if attacker.as_ref().is_some_and(|id| what.ends_with(id.as_str())) {
            counted.person_summed += times;
        }
    }
    Ok(counted)
}
