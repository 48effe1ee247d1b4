//! `bench ends`: a person's watches, commands in pods and forwarded ports, over each protocol, on real parts, and as many of
//! another person's. Then something is done that takes the first one's rights, as an operator does it, and what is measured is the
//! time from there to the moment at which each client knows that its stream has ended. The other's have to go on as if nothing
//! had happened: each says a word back, byte for byte, and each watch sees an object that is made then.
//!
//! The time begins before the operator's command, call or file, so that it has all that an operator waits for. Gateway, cluster,
//! pods and this program share the machine.

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::measure::live::{Ended, Kind, Live, Place, says_back};
use tests::measure::median;
use tests::person::Person;
use tests::pods::{namespace, shell};
use tests::wait::{PATIENCE, try_until};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ten streams of each person, one round.
    #[arg(long)]
    quick: bool,
    /// How many streams of each person.
    #[arg(long, default_value_t = 50)]
    count: usize,
    /// How often each cause comes.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What the order of the project allows, in milliseconds.
const LIMIT_MS: f64 = 2_000.0;

const RIGHTS: &str = r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: enters, namespace: shop }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, list, watch] }
# A WebSocket is a GET, and the API server asks both.
- { apiGroups: [""], resources: [pods/exec, pods/portforward], verbs: [get, create] }
"#;

/// A guest has no binding: the file of rules lets them in as a group that has one.
const GUESTS: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: guests-enter }
spec:
  effect: allow
  subjects: { groups: [guest] }
  kubernetes: { verbs: [watch, create], resources: [configmaps, pods/exec, pods/portforward], namespaces: [shop] }
  as: { groups: [sre] }
"#;

/// In its place: nobody is in that group.
const NO_GUESTS: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: others-enter }
spec:
  effect: allow
  subjects: { groups: [nobody-is-here] }
  kubernetes: { verbs: [get], resources: [configmaps], namespaces: [shop] }
"#;

const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings";

/// Milliseconds from the act to the end of each stream.
type Ends = Vec<(Kind, f64)>;

#[derive(Default)]
struct Taken {
    lock: Ends,
    binding: Ends,
    /// Until a watch straight at the API server has told of the binding that was removed.
    binding_told: Vec<f64>,
    key: Ends,
    session: Ends,
    supervisor: Ends,
    rule: Ends,
}

struct Bench<'g> {
    cluster: &'g Cluster,
    gateway: &'g Gateway,
    supervisor: Person<'g>,
    place: Place,
    count: usize,
    /// What goes on all the time.
    others: Vec<Live>,
    words: usize,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (count, rounds) = match arguments.quick {
        true => (10, 1),
        false => (arguments.count, arguments.rounds),
    };
    ensure!(
        count >= Kind::ALL.len() && rounds > 0,
        "there have to be {} streams, one of each kind",
        Kind::ALL.len()
    );
    let bindings = ["dev", "sre"].map(|group| binding(group).to_string()).join("\n---\n");
    let world = [
        &namespace("shop"),
        RIGHTS,
        "---\n",
        &bindings,
        "\n",
        &shell("shop", "web"),
    ]
    .concat();
    let cluster = Cluster::with_pods(&world)?;
    let gateway = gateway(&cluster)?;
    let mut bench = Bench {
        cluster: &cluster,
        gateway: &gateway,
        supervisor: Person::signed_in(&gateway, "carol")?,
        place: Place {
            namespace: "shop",
            pod: "web",
            port: says_back()?,
        },
        count,
        others: Vec::new(),
        words: 0,
    };
    let guest = json!({ "id": "dave", "claims": { "groups": ["guest"] } });
    gateway.provider.control("/people", &guest)?;
    bench.others = bench.streams(&gateway.sign_in("bob")?.token)?;
    bench.others_feel_nothing()?;
    let mut taken = Taken::default();
    for round in 1..=rounds {
        bench.round(&mut taken).with_context(|| format!("round {round}"))?;
    }
    taken.report(count, rounds)
}

fn gateway(cluster: &Cluster) -> anyhow::Result<Gateway> {
    // What budgets do is measured elsewhere.
    let limits =
        json!({ "recordsPerSecond": 1_000_000, "bytesPerDay": "1024GiB", "inFlight": 100_000, "streams": 100_000 });
    let more = json!({
        "limits": limits,
        "identity": { "providers": [{ "acceptAudiences": ["kubernetes"] }] },
    });
    Gateway::start(
        cluster,
        &Options {
            more: Some(more),
            ..Options::ruled(GUESTS)
        },
    )
}

/// As editors and projected volumes do: another file under the same name.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, file)?)
}

fn binding(group: &str) -> serde_json::Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": group, "namespace": "shop" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "enters" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group }],
    })
}

impl Bench<'_> {
    fn round(&mut self, taken: &mut Taken) -> anyhow::Result<()> {
        taken.lock.extend(self.lock().context("a lock")?);
        taken
            .binding
            .extend(self.binding(&mut taken.binding_told).context("a binding")?);
        taken.key.extend(self.key().context("an issuer's key")?);
        taken.session.extend(self.session().context("a sign-out")?);
        taken.supervisor.extend(self.supervisor().context("a supervisor")?);
        taken.rule.extend(self.rule().context("a rule")?);
        Ok(())
    }

    /// Streams of every kind, each of which lives.
    fn streams(&mut self, token: &str) -> anyhow::Result<Vec<Live>> {
        let mut streams = Vec::new();
        for kind in Kind::ALL.into_iter().cycle().take(self.count) {
            streams.push(self.stream(token, kind)?);
        }
        self.live(&mut streams)?;
        Ok(streams)
    }

    /// One, as soon as the rights for it are known.
    fn stream(&self, token: &str, kind: Kind) -> anyhow::Result<Live> {
        try_until("a stream begins", PATIENCE, || {
            Live::open(self.gateway, token, kind, &self.place)
        })
    }

    /// Each of them says a new word back, or sees a new object of that name.
    fn live(&mut self, streams: &mut [Live]) -> anyhow::Result<()> {
        self.words += 1;
        let word = format!("word-{}", self.words);
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": word } }).to_string();
        let made = self.cluster.client().send(
            "POST",
            "/api/v1/namespaces/shop/configmaps",
            &[("Content-Type", "application/json")],
            object.as_bytes(),
        )?;
        ensure!(made.status == 201, "{}", made.status);
        streams.iter_mut().try_for_each(|stream| stream.lives(&word))
    }

    fn others_feel_nothing(&mut self) -> anyhow::Result<()> {
        let mut others = std::mem::take(&mut self.others);
        let felt = self.live(&mut others).context("another person's stream");
        self.others = others;
        felt
    }

    /// Milliseconds from the act to the end of each stream, whose person has read `words` where there is a place for them.
    fn ends(
        &mut self,
        streams: Vec<Live>,
        words: &str,
        act: impl FnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ends> {
        let kinds: Vec<Kind> = streams.iter().map(|stream| stream.kind).collect();
        let waiting: Vec<_> = streams
            .into_iter()
            .map(|stream| std::thread::spawn(move || stream.ended()))
            .collect();
        let begun = Instant::now();
        act(self)?;
        let mut taken = Vec::new();
        for (kind, waiting) in kinds.into_iter().zip(waiting) {
            let Ended { at, said } = waiting.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
            ensure!(at > begun, "{kind:?} had ended before");
            ensure!(
                !kind.is_told() || memchr::memmem::find(&said, words.as_bytes()).is_some(),
                "{kind:?} was told {}",
                String::from_utf8_lossy(&said)
            );
            taken.push((kind, milliseconds(begun, at)));
        }
        self.others_feel_nothing()?;
        Ok(taken)
    }

    fn lock(&mut self) -> anyhow::Result<Ends> {
        let streams = self.streams(&self.gateway.sign_in("alice")?.token)?;
        let taken = self.ends(streams, "alice@example.com is locked by carol@example.com", |bench| {
            let line = "gatescribe user lock alice@example.com --reason TICKET-4711";
            bench.supervisor.ok(line).map(drop)
        })?;
        self.supervisor
            .ok("gatescribe user unlock alice@example.com --reason over")?;
        Ok(taken)
    }

    /// Beside it, how long the API server's own watch takes to tell of it.
    fn binding(&mut self, told: &mut Vec<f64>) -> anyhow::Result<Ends> {
        let streams = self.streams(&self.gateway.sign_in("alice")?.token)?;
        let mut watch = self.cluster.client().open()?;
        let head = format!(
            "GET {BINDINGS}?watch=true HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.cluster.address()
        );
        watch.write_all(head.as_bytes())?;
        let mut received = Vec::new();
        read_until(&mut watch, &mut received, "\"ADDED\"")?;
        let telling = std::thread::spawn(move || -> anyhow::Result<Instant> {
            read_until(&mut watch, &mut received, "\"DELETED\"")?;
            Ok(Instant::now())
        });
        let mut begun = Instant::now();
        let taken = self.ends(streams, "ended by the gateway: no role", |bench| {
            begun = Instant::now();
            let gone = bench
                .cluster
                .client()
                .send("DELETE", &format!("{BINDINGS}/dev"), &[], b"")?;
            ensure!(gone.status == 200, "{}", gone.status);
            Ok(())
        })?;
        let at = telling.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
        told.push(milliseconds(begun, at));
        self.cluster.admin()?.apply(&binding("dev").to_string())?;
        Ok(taken)
    }

    /// The provider publishes it no longer, and then the gateway is told to look. Until the signal it knows nothing of that, and
    /// how long a provider takes for a new key is no time of the gateway's.
    fn key(&mut self) -> anyhow::Result<Ends> {
        let streams = self.streams(&self.gateway.provider.raw_token("alice")?)?;
        let order = json!({ "withdraw": true });
        self.gateway.provider.control("/rotate", &order)?;
        let words = "the key that signed the token is published by its issuer no longer";
        self.ends(streams, words, |bench| bench.gateway.process().signal(Signal::SIGHUP))
    }

    fn session(&mut self) -> anyhow::Result<Ends> {
        let leaving = self.gateway.sign_in("alice")?;
        let streams = self.streams(&leaving.token)?;
        self.ends(streams, "the sign-in has ended: you signed out", |bench| {
            bench.gateway.revoke(&leaving.handle)
        })
    }

    /// One session after the other, as a supervisor ends them; a watch is none.
    fn supervisor(&mut self) -> anyhow::Result<Ends> {
        let token = self.gateway.sign_in("alice")?.token;
        let mut taken = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Watch) {
            let stream = self.stream(&token, kind)?;
            let line = format!("gatescribe session end {} --reason TICKET-4712", stream.id);
            let words = "ended by carol@example.com: TICKET-4712";
            taken.extend(self.ends(vec![stream], words, |bench| bench.supervisor.ok(&line).map(drop))?);
        }
        Ok(taken)
    }

    fn rule(&mut self) -> anyhow::Result<Ends> {
        let file = self.gateway.file("rules.yaml");
        let streams = self.streams(&self.gateway.sign_in("dave")?.token)?;
        let taken = self.ends(streams, "ended by the gateway: no role", |_| replace(&file, NO_GUESTS))?;
        replace(&file, GUESTS)?;
        Ok(taken)
    }
}

fn read_until(from: &mut tests::http::Stream, received: &mut Vec<u8>, what: &str) -> anyhow::Result<()> {
    let mut piece = [0; 16 * 1024];
    while memchr::memmem::find(received, what.as_bytes()).is_none() {
        let read = from.read(&mut piece)?;
        ensure!(read > 0, "the watch ended");
        received.extend(piece.iter().take(read));
    }
    Ok(())
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1e3
}

impl Taken {
    /// # Errors
    /// A stream has outlived the limit.
    fn report(&self, count: usize, rounds: usize) -> anyhow::Result<()> {
        let mut line = format!("ends count={count} rounds={rounds}");
        let mut over = 0;
        for (name, taken) in [
            ("lock", &self.lock),
            ("binding", &self.binding),
            ("key", &self.key),
            ("session", &self.session),
            ("supervisor", &self.supervisor),
            ("rule", &self.rule),
        ] {
            let of = |wanted: Option<Kind>| -> Vec<f64> {
                let chosen = taken
                    .iter()
                    .filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == *kind));
                chosen.map(|(_, taken)| *taken).collect()
            };
            let (all, last) = (of(None), |taken: &[f64]| taken.iter().copied().fold(0.0, f64::max));
            let (slowest, middle) = (last(&all), median(&all));
            over += all.iter().filter(|taken| **taken > LIMIT_MS).count();
            println!(
                "{name}: {} streams ended, p50 {middle:.0} ms, the last {slowest:.0} ms",
                all.len()
            );
            for kind in Kind::ALL {
                let of_kind = of(Some(kind));
                if of_kind.is_empty() {
                    continue; // a supervisor ends sessions, and a watch is none
                }
                println!(
                    "  {kind:?}: p50 {:.0} ms, the last {:.0} ms",
                    median(&of_kind),
                    last(&of_kind)
                );
            }
            line.push_str(&format!(" {name}_ms={slowest:.0} {name}_p50_ms={middle:.0}"));
        }
        // Whoever of the others had ended would have ended this.
        println!(
            "{line} binding_told_ms={:.0} others={count} others_ended=0 limit_ms={LIMIT_MS:.0} over_limit={over}",
            self.binding_told.iter().copied().fold(0.0, f64::max)
        );
        ensure!(
            over == 0,
            "{over} streams ended later than {LIMIT_MS:.0} ms behind the act"
        );
        Ok(())
    }
}
