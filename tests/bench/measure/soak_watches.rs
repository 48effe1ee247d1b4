//! `soak watches`: many watches through the gateway beside direct ones on the same objects, while the objects change and so do
//! the cluster's role bindings. At the end every watch must have brought the same events as the direct one of its namespace, byte
//! by byte and in the same order; the time between the two is the latency that the gateway adds.
//!
//! Two watches of each namespace go straight. What lies between these two is the noise of the measurement: which of its
//! watchers the API server serves first, and when this program gets to read.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::http::Connection;
use tests::measure::events::{Event, Watch, compare, follow};
use tests::measure::real::{Real, Way};
use tests::measure::{cpu, load};
use tests::wait::{PATIENCE, try_until};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// 80 watches for ten seconds, to see that it works.
    #[arg(long)]
    quick: bool,
    /// How long the objects change.
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// How many watches go through the gateway, in multiples of eight.
    #[arg(long, default_value_t = 2_000)]
    count: usize,
    /// Changes of objects a second.
    #[arg(long, default_value_t = 50)]
    changes: u64,
}

/// Watches of each namespace through the gateway: half of them by HTTP/1.1 with a connection each, half by HTTP/2.
const EACH: usize = 8;
/// Watches that go straight, in each namespace.
const STRAIGHT: usize = 2;
/// Watches on one connection of HTTP/2, as a controller has.
const ON_ONE: usize = 8;
/// How often a role binding comes or goes, at which the gateway decides anew on every watch.
const BINDINGS_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (count, length) = match arguments.quick {
        true => (80, Duration::from_secs(10)),
        false => (arguments.count, Duration::from_secs(60 * arguments.minutes)),
    };
    ensure!(
        count > 0 && count.is_multiple_of(EACH),
        "--count is a multiple of {EACH}"
    );
    cpu::keep_around()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let real = Real::start(false)?;
    let places = Places::new(&real, count / EACH)?;
    let mut watching = watching(&runtime, &real, &places)?;
    println!(
        "{count} watches through the gateway and {} straight have begun",
        watching.straight.len()
    );
    real.settle()?;
    let (pid, began) = (real.pid()?, Instant::now());
    let before = cpu::used(pid)?;
    let changes = change(&real, &places, &watching, (arguments.changes, length))?;
    let cores = (cpu::used(pid)? - before) / 1e6 / began.elapsed().as_secs_f64();
    let resident = cpu::resident_kib(pid)? / 1024.0;
    watching.until_all_has_come(changes)?;
    if let Some(ended) = watching.ended(&runtime) {
        bail!("a watch has ended: {ended:?}");
    }
    let found = watching.compared()?;
    println!(
        "watches minutes={:.1} watches={count} straight={} changes={changes} {found} gateway_cores={cores:.3} gateway_mib={resident:.0}",
        length.as_secs_f64() / 60.0,
        watching.straight.len(),
    );
    Ok(())
}

/// The namespaces in which something changes.
struct Places {
    names: Vec<String>,
    /// From which version on everybody watches.
    version: String,
}

impl Places {
    fn new(real: &Real, count: usize) -> anyhow::Result<Self> {
        let mut connection = real.cluster.client().connect()?;
        let names: Vec<String> = (0..count).map(|number| format!("churn-{number:03}")).collect();
        for name in &names {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            send(&mut connection, "POST", "/api/v1/namespaces", &namespace)?;
        }
        let list = real.cluster.client().get("/api/v1/configmaps", &[])?.json()?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Ok(Self {
            names,
            version: version.context("a version")?.to_owned(),
        })
    }

    fn target(&self, name: &str) -> String {
        let version = &self.version;
        format!("/api/v1/namespaces/{name}/configmaps?watch=true&resourceVersion={version}&timeoutSeconds=86400")
    }
}

fn send(connection: &mut Connection, method: &str, target: &str, body: &Value) -> anyhow::Result<()> {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = connection.exchange(method, target, &[("Content-Type", kind)], body.as_bytes())?;
    ensure!(
        answer.status < 300,
        "{method} {target}: {} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(())
}

/// All watches, by namespace: those that go straight, and those through the gateway.
struct Watching {
    straight: Vec<Arc<Watch>>,
    through: Vec<Arc<Watch>>,
    tasks: JoinSet<anyhow::Result<()>>,
}

fn watching(runtime: &Runtime, real: &Real, places: &Places) -> anyhow::Result<Watching> {
    let targets: Vec<String> = places.names.iter().map(|name| places.target(name)).collect();
    let (straight, through) = (real.directly(), real.through()?);
    let beginning = async move {
        let mut tasks = JoinSet::new();
        let mut watching = [Vec::new(), Vec::new()];
        // In rounds over the namespaces, so that those of one are on different connections.
        for round in 0..STRAIGHT {
            watching[0].extend(round_of(&straight, round + 1, &targets, &mut tasks).await?);
        }
        for round in 0..EACH {
            watching[1].extend(round_of(&through, round, &targets, &mut tasks).await?);
        }
        let [straight, through] = watching;
        anyhow::Ok(Watching {
            straight,
            through,
            tasks,
        })
    };
    runtime.block_on(async { runtime.spawn(beginning).await })?
}

/// One watch of each namespace: by HTTP/1.1 in even rounds, by HTTP/2 in odd ones.
async fn round_of(
    way: &Way,
    round: usize,
    targets: &[String],
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Vec<Arc<Watch>>> {
    let is_http2 = round % 2 == 1;
    let mut watches = Vec::new();
    for (number, targets) in targets.chunks(if is_http2 { ON_ONE } else { 1 }).enumerate() {
        let source = load::source(round * 1_000 + number);
        watches.extend(follow(way, Some(source), is_http2, targets, tasks).await?);
    }
    Ok(watches)
}

/// Changes objects at a steady rate for some time and says each minute how it goes: how many changes there were.
fn change(real: &Real, places: &Places, watching: &Watching, (rate, length): (u64, Duration)) -> anyhow::Result<u64> {
    let (over, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut connection = real.cluster.client().connect()?;
    let mut bindings = real.cluster.client().connect()?;
    std::thread::scope(|scope| {
        let turning = scope.spawn(|| turn_bindings(&mut bindings, &over));
        let telling = scope.spawn(|| tell(watching, &over, &changes));
        let (began, mut number) = (Instant::now(), 0);
        let mut done = Ok(());
        while done.is_ok() && began.elapsed() < length {
            done = change_one(&mut connection, places, number);
            number += 1;
            changes.store(number, Ordering::Relaxed);
            let next = began + Duration::from_secs(1).mul_f64(number as f64 / rate.max(1) as f64);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        over.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("a thread panicked");
        turning.join().map_err(panicked)??;
        telling.join().map_err(panicked)?;
        done.map(|()| number)
    })
}

/// The life of an object is five changes; each namespace has its own, one after another.
fn change_one(connection: &mut Connection, places: &Places, number: u64) -> anyhow::Result<()> {
    let spaces = places.names.len() as u64;
    let (place, step) = (number % spaces, number / spaces);
    let namespace = places.names.get(usize::try_from(place)?).context("a namespace")?;
    let name = format!("object-{}", step / 5);
    let all = format!("/api/v1/namespaces/{namespace}/configmaps");
    let data = json!({ "data": { "step": step.to_string(), "text": "x".repeat(500) } });
    match step % 5 {
        0 => {
            let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
            object["data"] = data["data"].clone();
            send(connection, "POST", &all, &object)
        }
        4 => send(connection, "DELETE", &format!("{all}/{name}"), &Value::Null),
        _ => send(connection, "PATCH", &format!("{all}/{name}"), &data),
    }
}

/// A binding that gives nobody on a watch anything comes and goes.
fn turn_bindings(connection: &mut Connection, over: &AtomicBool) -> anyhow::Result<()> {
    let all = "/apis/rbac.authorization.k8s.io/v1/namespaces/plain/rolebindings";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "now-and-then" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "visitor@example.com" }],
    });
    while !over.load(Ordering::Relaxed) {
        send(connection, "POST", all, &binding)?;
        std::thread::sleep(BINDINGS_EVERY);
        send(connection, "DELETE", &format!("{all}/now-and-then"), &Value::Null)?;
        std::thread::sleep(BINDINGS_EVERY);
    }
    Ok(())
}

fn tell(watching: &Watching, over: &AtomicBool, changes: &AtomicU64) {
    let mut told = Instant::now();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if told.elapsed() >= Duration::from_secs(60) {
            told = Instant::now();
            let events: usize = watching.through.iter().map(|watch| watch.events().len()).sum();
            println!(
                "{} changes, {events} events through the gateway",
                changes.load(Ordering::Relaxed)
            );
        }
    }
}

impl Watching {
    /// How many namespaces there are.
    fn places(&self) -> usize {
        self.straight.len() / STRAIGHT
    }

    /// Every change is one event of its namespace. Waits for the last one of each watch; one that never comes is found by the
    /// comparison.
    fn until_all_has_come(&self, changes: u64) -> anyhow::Result<()> {
        let of = |watches: &[Arc<Watch>]| watches.iter().map(|watch| watch.events().len() as u64).sum::<u64>();
        try_until("every change has come straight", PATIENCE, || {
            let (found, wanted) = (of(&self.straight), changes * STRAIGHT as u64);
            ensure!(found == wanted, "{found} events of {wanted}");
            Ok(())
        })?;
        // What is late is no loss; what has not come by then is.
        let _ = try_until("every change has come through", PATIENCE / 6, || {
            let (found, wanted) = (of(&self.through), changes * EACH as u64);
            ensure!(found >= wanted, "{found} events of {wanted}");
            Ok(())
        });
        Ok(())
    }

    fn ended(&mut self, runtime: &Runtime) -> Option<Result<anyhow::Result<()>, tokio::task::JoinError>> {
        // What would come twice has a moment to come.
        let moment = Duration::from_secs(1);
        let joining = async { tokio::time::timeout(moment, self.tasks.join_next()).await };
        runtime.block_on(joining).ok().flatten()
    }

    /// Holds every watch against the first direct one of its namespace.
    fn compared(&self) -> anyhow::Result<Found> {
        let (mut found, mut events) = (Found::default(), 0);
        for (place, direct) in self.straight.iter().take(self.places()).enumerate() {
            let direct = direct.events().clone();
            let of_place = |watches: &[Arc<Watch>]| -> Vec<Vec<Event>> {
                let own = watches.iter().skip(place).step_by(self.places());
                own.map(|watch| watch.events().clone()).collect()
            };
            for through in of_place(&self.through) {
                same(&direct, &through).with_context(|| format!("a watch of namespace {place}"))?;
                later(&direct, &through, &mut found.added);
                events += through.len();
            }
            for other in of_place(&self.straight).into_iter().skip(1) {
                same(&direct, &other).with_context(|| format!("a direct watch of namespace {place}"))?;
                later(&direct, &other, &mut found.noise);
            }
        }
        found.events = events;
        Ok(found)
    }
}

fn same(direct: &[Event], other: &[Event]) -> anyhow::Result<()> {
    let digests = |events: &[Event]| events.iter().map(|event| event.digest).collect::<Vec<_>>();
    compare(&digests(direct), &digests(other)).map_err(|difference| {
        anyhow::anyhow!(
            "{difference:?}: {} events straight, {} of the other",
            direct.len(),
            other.len()
        )
    })
}

/// How much later the other brought each event, µs; below zero where it was the first.
fn later(direct: &[Event], other: &[Event], into: &mut Vec<f64>) {
    into.extend(direct.iter().zip(other).map(|(direct, other)| {
        let behind = other.at.saturating_duration_since(direct.at).as_secs_f64();
        let before = direct.at.saturating_duration_since(other.at).as_secs_f64();
        (behind - before) * 1e6
    }));
}

/// What the comparison found: no difference, or there would be none of these.
#[derive(Default)]
struct Found {
    events: usize,
    /// Between a direct watch and one through the gateway.
    added: Vec<f64>,
    /// Between two direct watches.
    noise: Vec<f64>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "events={} lost=0 doubled=0 out_of_order=0 changed=0", self.events)?;
        for (name, values) in [("added", &self.added), ("between_two_direct", &self.noise)] {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for (share, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999")] {
                let at = (sorted.len() as f64 * share) as usize;
                let value = sorted.get(at).or(sorted.last()).copied().unwrap_or_default();
                write!(f, " {name}_{label}_ms={:.3}", value / 1e3)?;
            }
        }
        Ok(())
    }
}
