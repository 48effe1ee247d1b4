//! `bench request_cost`: CPU per authenticated, authorised and durably audited GET, beside nginx and beside a bare
//! pass-through program on the same crates, in turns within one run; per POST of 2.5 KB, at audit level Metadata and at level Request; and of
//! both with names sealed.

use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::measure::load::{Outcome, Plan};
use tests::measure::rivals::{Gateway, Keeps, Rival};
use tests::measure::stage::Stage;
use tests::measure::{median, world};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Some seconds, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Turns of all variants; the figures are medians over them.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only columns whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
}

/// One figure: who is measured, with which protocol, about what.
struct Column {
    name: &'static str,
    who: usize,
    http2: bool,
    plan: Plan,
    delay: Duration,
    /// Nothing changes meanwhile: no role, no token.
    still: bool,
}

const NGINX: usize = 0;
const PASS: usize = 1;
const GATE: usize = 2;
const NGINX_TLS: usize = 3;
const PASS_TLS: usize = 4;
const GATE_TLS: usize = 5;
const GATE_BODIES: usize = 6;
const GATE_SEALED: usize = 7;

/// Bodies of what may change something are kept.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: Request
    verbs: [create, update, patch, delete]
  - level: Metadata
";

const fn column(name: &'static str, who: usize, http2: bool, plan: Plan) -> Column {
    Column {
        name,
        who,
        http2,
        plan,
        delay: Duration::ZERO,
        still: false,
    }
}

const COLUMNS: [Column; 21] = [
    column("nginx_h1", NGINX, false, Plan::Turns),
    column("pass_h1", PASS, false, Plan::Turns),
    column("gate_h1", GATE, false, Plan::Turns),
    column("nginx_h2", NGINX, true, Plan::Turns),
    column("pass_h2", PASS, true, Plan::Turns),
    column("gate_h2", GATE, true, Plan::Turns),
    column("gate_h1_cold", GATE, false, Plan::Scattered),
    Column {
        still: true,
        ..column("gate_h1_still", GATE, false, Plan::Turns)
    },
    Column {
        delay: Duration::from_millis(5),
        ..column("gate_h1_confirm", GATE, false, Plan::Elsewhere)
    },
    Column {
        delay: Duration::from_millis(5),
        ..column("nginx_h1_delayed", NGINX, false, Plan::Turns)
    },
    column("nginx_tls_h1", NGINX_TLS, false, Plan::Turns),
    column("pass_tls_h1", PASS_TLS, false, Plan::Turns),
    column("gate_tls_h1", GATE_TLS, false, Plan::Turns),
    column("nginx_tls_h2", NGINX_TLS, true, Plan::Turns),
    column("pass_tls_h2", PASS_TLS, true, Plan::Turns),
    column("gate_tls_h2", GATE_TLS, true, Plan::Turns),
    column("nginx_write", NGINX, false, Plan::LongWrites),
    column("gate_write", GATE, false, Plan::LongWrites),
    column("gate_write_bodies", GATE_BODIES, false, Plan::LongWrites),
    column("gate_sealed_h1", GATE_SEALED, false, Plan::Turns),
    column("gate_sealed_write", GATE_SEALED, false, Plan::LongWrites),
];

struct Bench {
    arguments: Arguments,
    rivals: [Rival; 4],
    gateways: [Gateway; 4],
    stage: Stage,
    figures: BTreeMap<&'static str, Vec<f64>>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let stage = Stage::new(world::USUAL)?;
    let ([nginx, pass], [nginx_tls, pass_tls]) = (stage.others(false)?, stage.others(true)?);
    let mut bench = Bench {
        arguments,
        rivals: [nginx, pass, nginx_tls, pass_tls],
        gateways: [
            stage.gateway("gatescribe", false)?,
            stage.gateway("gatescribe-tls", true)?,
            stage.gateway_at("gatescribe-bodies", false, Keeps::AsPolicy(POLICY))?,
            stage.gateway_at("gatescribe-sealed", false, Keeps::NamesSealed)?,
        ],
        stage,
        figures: BTreeMap::new(),
    };
    let rounds = bench
        .arguments
        .rounds
        .unwrap_or(if bench.arguments.quick { 1 } else { 5 });
    for _ in 0..rounds {
        for column in &COLUMNS {
            if bench
                .arguments
                .only
                .as_ref()
                .is_none_or(|only| column.name.contains(only.as_str()))
            {
                bench.measure(column)?;
            }
        }
    }
    bench.tell();
    Ok(())
}

impl Bench {
    fn rival(&self, who: usize) -> &Rival {
        match who {
            NGINX => &self.rivals[0],
            PASS => &self.rivals[1],
            GATE => &self.gateways[0].rival,
            NGINX_TLS => &self.rivals[2],
            PASS_TLS => &self.rivals[3],
            GATE_BODIES => &self.gateways[2].rival,
            GATE_SEALED => &self.gateways[3].rival,
            _ => &self.gateways[1].rival,
        }
    }

    fn measure(&mut self, column: &Column) -> anyhow::Result<()> {
        let rival = self.rival(column.who);
        let is_gateway = matches!(column.who, GATE | GATE_TLS | GATE_BODIES | GATE_SEALED);
        let seconds = self
            .arguments
            .seconds
            .unwrap_or(if self.arguments.quick { 1.0 } else { 3.0 });
        let load = self.stage.load(rival.address, column.http2, column.plan, seconds)?;
        let (pids, api) = (rival.pids(), &self.stage.api);
        let before = api.hits();
        api.delay(column.delay);
        api.changing(is_gateway && !column.still);
        let sent = self.stage.send(load, pids);
        api.changing(false);
        api.delay(Duration::ZERO);
        let outcome = sent.map_err(|error| error.context(self.rival(column.who).log()))?;
        let hits = self.stage.api.hits() - before;
        ensure!(
            hits == outcome.requests,
            "{}: {} requests, {hits} reached the upstream",
            column.name,
            outcome.requests
        );
        if is_gateway {
            self.recorded(column, &outcome)?;
        }
        println!(
            "{:18} {:6.1} us/request  {:7.0} requests/s  {} requests = upstream hits{}",
            column.name,
            outcome.cpu_each(),
            outcome.measured as f64 / outcome.seconds,
            outcome.requests,
            if is_gateway { " = records" } else { "" }
        );
        self.figures.entry(column.name).or_default().push(outcome.cpu_each());
        Ok(())
    }

    fn recorded(&mut self, column: &Column, outcome: &Outcome) -> anyhow::Result<()> {
        let gateway = match column.who {
            GATE_BODIES => &mut self.gateways[2],
            GATE_SEALED => &mut self.gateways[3],
            GATE_TLS => &mut self.gateways[1],
            _ => &mut self.gateways[0],
        };
        let records = gateway.records(outcome.requests)?;
        let is_write = column.plan == Plan::LongWrites;
        let (begun, ended) = if is_write {
            (records.intent, records.outcome)
        } else {
            (records.access, records.close)
        };
        let all_where = |who| if column.who == who { outcome.requests } else { 0 };
        let is_kept = records.bodies == all_where(GATE_BODIES) && records.names == all_where(GATE_SEALED);
        ensure!(
            begun == outcome.requests && ended == outcome.requests && records.refusal == 0 && is_kept,
            "{}: {} requests, {records:?}",
            column.name,
            outcome.requests
        );
        Ok(())
    }

    fn tell(&self) {
        let of = |name: &str| median(self.figures.get(name).map_or(&[], Vec::as_slice));
        let ratio = |ours: &str, theirs: &str| of(ours) / of(theirs);
        println!("\nmedians, us of CPU for each request:");
        for (name, values) in &self.figures {
            println!("  {name:18} {:6.1}", median(values));
        }
        println!(
            "request_cost ratio_h1={:.2} ratio_h2={:.2} ratio_pass={:.2} ratio_pass_h2={:.2} ratio_tls_h1={:.2} ratio_tls_h2={:.2} ratio_cold={:.2} ratio_confirm={:.2} ratio_pass_tls={:.2} ratio_still={:.2} ratio_write={:.2} ratio_write_bodies={:.2} sealed_of_clear={:.2} sealed_of_clear_write={:.2} gate_us={:.1} nginx_us={:.1}",
            ratio("gate_h1", "nginx_h1"),
            ratio("gate_h2", "nginx_h2"),
            ratio("gate_h1", "pass_h1"),
            ratio("gate_h2", "pass_h2"),
            ratio("gate_tls_h1", "nginx_tls_h1"),
            ratio("gate_tls_h2", "nginx_tls_h2"),
            ratio("gate_h1_cold", "nginx_h1"),
            ratio("gate_h1_confirm", "nginx_h1_delayed"),
            ratio("gate_tls_h1", "pass_tls_h1"),
            ratio("gate_h1_still", "nginx_h1"),
            ratio("gate_write", "nginx_write"),
            ratio("gate_write_bodies", "nginx_write"),
            ratio("gate_sealed_h1", "gate_h1"),
            ratio("gate_sealed_write", "gate_write"),
            of("gate_h1"),
            of("nginx_h1"),
        );
    }
}
