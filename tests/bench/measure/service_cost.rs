//! `bench service_cost`: what calls of published services cost, beside nginx as a bare reverse proxy in the same run: by a
//! browser's cookie and by a workload's token, behind an ingress that asks for verdicts, over WebSockets, by gRPC, and with many
//! people signed in. Every call is recorded durably before it is sent, by the default configuration.

use anyhow::ensure;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tests::measure::load::{self, Load, Outcome, Plan};
use tests::measure::services::{self, Behind, GRPC, HOSTS, INGRESS, Nginx, Published, SOCKET, WEB};
use tests::measure::signed_in::{Calls, Who};
use tests::measure::stage::Stage;
use tests::measure::world::Size;
use tests::measure::{cpu, median, sockets, unary};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One turn of a second, and a tenth of the sessions.
    #[arg(long)]
    quick: bool,
    /// Turns of all columns; the figures are medians over them.
    #[arg(long)]
    rounds: Option<usize>,
    /// Sessions that are held.
    #[arg(long)]
    count: Option<usize>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only columns whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// nginx as a bare reverse proxy.
    Nginx,
    /// The gateway.
    Gate,
    /// nginx that asks the gateway; both are measured.
    Asking,
    /// The same, on connections that are kept.
    AskingKept,
    /// Nobody: straight to the upstream.
    Direct,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Cookie,
    Bearer,
    Socket,
    Grpc,
}

struct Column {
    name: &'static str,
    at: At,
    what: What,
    http2: bool,
}

const fn column(name: &'static str, at: At, what: What, http2: bool) -> Column {
    Column { name, at, what, http2 }
}

const COLUMNS: [Column; 13] = [
    column("nginx_h1", At::Nginx, What::Cookie, false),
    column("cookie_h1", At::Gate, What::Cookie, false),
    column("bearer_h1", At::Gate, What::Bearer, false),
    column("nginx_h2", At::Nginx, What::Cookie, true),
    column("cookie_h2", At::Gate, What::Cookie, true),
    column("bearer_h2", At::Gate, What::Bearer, true),
    column("auth_request", At::Asking, What::Cookie, false),
    column("auth_request_kept", At::AskingKept, What::Cookie, false),
    column("nginx_grpc", At::Nginx, What::Grpc, true),
    column("grpc", At::Gate, What::Grpc, true),
    column("direct_ws", At::Direct, What::Socket, false),
    column("nginx_ws", At::Nginx, What::Socket, false),
    column("ws", At::Gate, What::Socket, false),
];

/// People who call in turns.
const CALLING: usize = 500;
/// What many sessions are compared with.
const FEW: usize = 1_000;
const CONNECTIONS: usize = 64;

struct Bench {
    seconds: f64,
    few: Published,
    nginx: Nginx,
    behind: Behind,
    stage: Stage,
    /// CPU of each request or message, µs.
    costs: BTreeMap<&'static str, Vec<f64>>,
    /// Requests or messages a second.
    rates: BTreeMap<&'static str, Vec<f64>>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let quick = arguments.quick;
    let stage = Stage::new(Size { people: 1, bindings: 1 })?;
    let behind = Behind::start(&stage)?;
    let few = services::publish("gatescribe-few", &stage, &behind, FEW)?;
    let nginx = services::nginx(&stage, &behind, few.verdicts)?;
    let mut bench = Bench {
        seconds: arguments.seconds.unwrap_or(if quick { 1.0 } else { 3.0 }),
        few,
        nginx,
        behind,
        stage,
        costs: BTreeMap::new(),
        rates: BTreeMap::new(),
    };
    let rounds = arguments.rounds.unwrap_or(if quick { 1 } else { 3 });
    let is_wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for _ in 0..rounds {
        for column in COLUMNS.iter().filter(|column| is_wanted(column.name)) {
            bench.measure(column)?;
        }
    }
    let count = arguments.count.unwrap_or(if quick { 10_000 } else { 100_000 });
    let held = is_wanted("sessions")
        .then(|| bench.sessions(count, rounds))
        .transpose()?;
    bench.tell(held);
    Ok(())
}

impl Bench {
    fn load(&self, column: &Column) -> anyhow::Result<Load> {
        let address = match column.at {
            At::Nginx => self.nginx.bare.address,
            At::Gate => self.few.gateway.rival.address,
            At::Asking => self.nginx.asking,
            At::AskingKept => self.nginx.asking_kept,
            At::Direct => self.behind.sockets,
        };
        let load = self.stage.load(address, column.http2, Plan::Turns, self.seconds)?;
        // Of tokens that it has not met the gateway asks the cluster about few from one address.
        let apart = matches!(column.what, What::Bearer | What::Grpc);
        Ok(Load { apart, ..load })
    }

    /// The processes whose CPU counts.
    fn pids(&self, at: At) -> Vec<i32> {
        match at {
            At::Nginx => self.nginx.bare.pids(),
            At::Gate => self.few.gateway.rival.pids(),
            At::Asking | At::AskingKept => [self.nginx.bare.pids(), self.few.gateway.rival.pids()].concat(),
            At::Direct => Vec::new(),
        }
    }

    fn measure(&mut self, column: &Column) -> anyhow::Result<()> {
        let (load, pids) = (self.load(column)?, self.pids(column.at));
        let used = move || cpu::used_by(&pids);
        // A host of services has the port of the gateway's URL, at an ingress, too.
        let port = self.few.gateway.rival.address.port();
        let place = match (column.what, column.at) {
            (What::Socket, _) => SOCKET,
            (What::Grpc, _) => GRPC,
            (_, At::Asking | At::AskingKept) => INGRESS,
            _ => WEB,
        };
        let host = format!("{}:{port}", HOSTS.get(place).unwrap_or(&""));
        let people = Arc::clone(&self.few.people);
        let who = match column.what {
            What::Bearer | What::Grpc => Who::Workloads(Arc::clone(&self.few.workloads)),
            What::Cookie | What::Socket => Who::Turns(Arc::clone(&people), place, CALLING),
        };
        let named = host.clone();
        let asks = move |number| Calls::new(number, who.clone(), named.clone());
        let before = (self.stage.api.hits(), self.stage.api.asserted());
        let sent = match column.what {
            What::Cookie | What::Bearer => self.in_runtime(load::run_as(load, asks, used)),
            What::Grpc => self.in_runtime(unary::run(load, asks, used)),
            What::Socket => {
                let cookie = move |number: usize| people.get(number).and_then(|cookies| cookies.get(place)).cloned();
                let cookie = move |number| cookie(number).unwrap_or_default();
                let is_plain = column.at == At::Direct;
                self.in_runtime(async move { sockets::run(load, is_plain, (host, cookie), used).await })
            }
        };
        let outcome = sent.map_err(|error| {
            let logs = format!("{}\n{}", self.few.gateway.rival.log(), self.nginx.bare.log());
            error.context(format!("{}:\n{logs}", column.name))
        })?;
        let came = (self.stage.api.hits() - before.0, self.stage.api.asserted() - before.1);
        self.is_true(column, &outcome, came)?;
        self.keep(column, &outcome);
        Ok(())
    }

    fn in_runtime<F>(&self, sending: F) -> anyhow::Result<Outcome>
    where
        F: Future<Output = anyhow::Result<Outcome>> + Send + 'static,
    {
        self.stage
            .runtime
            .block_on(async { self.stage.runtime.spawn(sending).await })?
    }

    /// A figure comes with the counts that make it true.
    fn is_true(&mut self, column: &Column, outcome: &Outcome, (hits, asserted): (u64, u64)) -> anyhow::Result<()> {
        let requests = outcome.requests;
        if matches!(column.what, What::Cookie | What::Bearer) {
            let is_said = column.at == At::Nginx || asserted == requests;
            ensure!(
                hits == requests && is_said,
                "{}: {requests} requests, {hits} reached the upstream, {asserted} with an assertion",
                column.name
            );
        }
        let calls = match (column.at, column.what) {
            (At::Nginx | At::Direct, _) => return Ok(()),
            (_, What::Socket) => CONNECTIONS as u64,
            _ => requests,
        };
        let records = self.few.gateway.records(calls)?;
        let (begun, ended) = match (column.at, column.what) {
            (At::Asking | At::AskingKept, _) => (records.verdict, records.verdict),
            (_, What::Socket) => (records.open, records.close),
            _ => (records.intent, records.outcome),
        };
        ensure!(
            begun == calls && ended == calls && records.refusal == 0,
            "{}: {calls} calls, {records:?}",
            column.name
        );
        Ok(())
    }

    fn keep(&mut self, column: &Column, outcome: &Outcome) {
        // A message goes, and a message comes back.
        let of_one = if column.what == What::Socket { 2.0 } else { 1.0 };
        let cost = outcome.cpu_each() / of_one;
        let rate = outcome.measured as f64 * of_one / outcome.seconds;
        println!("{:18} {cost:6.1} us each  {rate:7.0} a second", column.name);
        self.costs.entry(column.name).or_default().push(cost);
        self.rates.entry(column.name).or_default().push(rate);
    }
}

/// What holding many sessions costs.
struct Held {
    count: usize,
    /// The first call of each in a minute, µs: with few, and with many.
    first: (f64, f64),
    /// Calls of anybody of them, µs: with few, and with many.
    again: (f64, f64),
    kib_each: f64,
}

impl Bench {
    /// Calls of anybody of few people, and of anybody of many, each at a gateway of its own, in turns.
    fn sessions(&mut self, count: usize, rounds: usize) -> anyhow::Result<Held> {
        let few = services::publish("gatescribe-first", &self.stage, &self.behind, FEW)?;
        let many = services::publish("gatescribe-many", &self.stage, &self.behind, count)?;
        let first_few = self.each_once(&few, FEW)?;
        // What connections need is no matter of sessions.
        self.anybody(&many, CONNECTIONS)?;
        let pid = many.gateway.rival.pids();
        let resident = || {
            pid.iter()
                .map(|pid| cpu::resident_kib(*pid))
                .sum::<anyhow::Result<f64>>()
        };
        let (began, before) = (Instant::now(), resident()?);
        let first_many = self.each_once(&many, count)?;
        let kib_each = (resident()? - before) / count as f64;
        self.each_once(&few, FEW)?;
        let (mut again_few, mut again_many) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            again_few.push(self.anybody(&few, FEW)?);
            again_many.push(self.anybody(&many, count)?);
        }
        // Each is looked up again once a minute: that is what the first calls cost, and no look-up of what is known.
        let within = began.elapsed();
        if within > Duration::from_secs(60) {
            println!("this took {} s: some were looked up a second time", within.as_secs());
        }
        let held = Held {
            count,
            first: (first_few, first_many),
            again: (median(&again_few), median(&again_many)),
            kib_each,
        };
        println!(
            "sessions           first call {first_few:.1} us with {FEW}, {first_many:.1} us with {count}; later ones {:.1} and {:.1} us; {kib_each:.2} KiB each",
            held.again.0, held.again.1
        );
        Ok(held)
    }

    fn each_once(&self, at: &Published, count: usize) -> anyhow::Result<f64> {
        let who = Who::Once(Arc::clone(&at.people), WEB, count, Arc::new(AtomicUsize::new(0)));
        let load = self.load_on(at)?;
        let outcome = self.in_runtime(load::run_out(load, calls_of(at, who), used_by(at)))?;
        ensure!(outcome.requests == count as u64, "{} of {count}", outcome.requests);
        Ok(outcome.cpu_each())
    }

    fn anybody(&self, at: &Published, count: usize) -> anyhow::Result<f64> {
        let who = Who::Scattered(Arc::clone(&at.people), WEB, count);
        let load = self.load_on(at)?;
        Ok(self
            .in_runtime(load::run_as(load, calls_of(at, who), used_by(at)))?
            .cpu_each())
    }

    fn load_on(&self, at: &Published) -> anyhow::Result<Load> {
        let address = at.gateway.rival.address;
        self.stage.load(address, false, Plan::Turns, self.seconds)
    }

    fn tell(&self, held: Option<Held>) {
        let of = |name: &str| median(self.costs.get(name).map_or(&[], Vec::as_slice));
        let rate = |name: &str| median(self.rates.get(name).map_or(&[], Vec::as_slice));
        let ratio = |ours: &str, theirs: &str| of(ours) / of(theirs);
        println!("\nmedians, us of CPU for each request or message, and how many a second:");
        for name in self.costs.keys() {
            println!("  {name:18} {:6.1} {:9.0}", of(name), rate(name));
        }
        let sessions = held.map_or(String::new(), |held| {
            format!(
                " sessions={} lookup_ratio={:.2} first_ratio={:.2} first_us={:.1} session_kib={:.2}",
                held.count,
                held.again.1 / held.again.0,
                held.first.1 / held.first.0,
                held.first.1,
                held.kib_each
            )
        });
        println!(
            "service_cost ratio={:.2} ratio_h2={:.2} ratio_bearer={:.2} ratio_bearer_h2={:.2} ratio_auth_request={:.2} ratio_auth_request_kept={:.2} ratio_grpc={:.2} ratio_ws={:.2} cookie_us={:.1} bearer_us={:.1} nginx_us={:.1} grpc_us={:.1} ws_us={:.1} ws_per_second={:.0} ws_of_direct={:.2} ws_of_nginx={:.2}{sessions}",
            ratio("cookie_h1", "nginx_h1"),
            ratio("cookie_h2", "nginx_h2"),
            ratio("bearer_h1", "nginx_h1"),
            ratio("bearer_h2", "nginx_h2"),
            ratio("auth_request", "nginx_h1"),
            ratio("auth_request_kept", "nginx_h1"),
            ratio("grpc", "nginx_grpc"),
            ratio("ws", "nginx_ws"),
            of("cookie_h1"),
            of("bearer_h1"),
            of("nginx_h1"),
            of("grpc"),
            of("ws"),
            rate("ws"),
            rate("ws") / rate("direct_ws"),
            rate("ws") / rate("nginx_ws"),
        );
    }
}

fn calls_of(at: &Published, who: Who) -> impl Fn(usize) -> Calls + Clone + Send + use<> {
    let host = format!("{}:{}", HOSTS[WEB], at.gateway.rival.address.port());
    move |number| Calls::new(number, who.clone(), host.clone())
}

fn used_by(at: &Published) -> impl Fn() -> anyhow::Result<f64> + Send + use<> {
    let pids = at.gateway.rival.pids();
    move || cpu::used_by(&pids)
}
