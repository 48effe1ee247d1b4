//! A call that passes here and one that an ingress asks about, by the same stations.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use access::decide::Authorization;
use access::rule::{RuleSet, load_files};
use http::HeaderValue;
use ledger::{Ledger, Options, RealDisk};
use model::ask::{CookieAnswer, KeyAnswer, SessionAnswer, SignedIn};
use model::origin::{Front, Scheme};
use proptest::prelude::*;
use reach::{Authorities, ServiceConnection, ServicePlace, ServiceProtocol, ServiceSource, Tuning};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ask::Ask;
use crate::audit;
use crate::clock::Clock;
use crate::decision::{ServiceRules, ServiceStation};
use crate::identity::{self, Acceptance, Credential, Questions, for_bench};
use crate::request::tests::NoHost;
use crate::services::{ServiceSide, ServiceTable};
use crate::session::bench::{BEGIN, World, trust};
use crate::site::Sites;
use crate::upstream;

/// Two services under the same rules: one is reached from here, the other by an ingress.
const POLICY: &str = "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {name: here}
spec: {hosts: [here.example], upstream: {url: 'http://127.0.0.1:9'}, identityHeaders: {user: x-user, email: x-email}}
---
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {name: there}
spec: {hosts: [there.example], upstream: {ingress: true}, identityHeaders: {user: x-user, email: x-email}}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: people}
spec:
  effect: allow
  subjects: {groups: [dev]}
  services: [{hosts: [here.example, there.example], methods: ['*'], paths: ['/*']}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: public}
spec:
  effect: allow
  subjects: {public: true}
  services: [{hosts: [here.example, there.example], methods: [GET], paths: ['/public/*']}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: shut}
spec:
  effect: forbid
  subjects: {groups: ['*']}
  services: [{hosts: [here.example, there.example], methods: ['*'], paths: ['/shut/*']}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: reason}
spec:
  effect: allow
  subjects: {groups: [dev]}
  obligations: {reason: true}
  services: [{hosts: [here.example, there.example], methods: ['*'], paths: ['/reason/*']}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: idle}
spec:
  effect: allow
  subjects: {groups: [dev]}
  obligations: {idle: 5m}
  services: [{hosts: [here.example, there.example], methods: ['*'], paths: ['/idle/*']}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: recent}
spec:
  effect: allow
  subjects: {groups: [dev]}
  obligations: {stepUp: {maxAge: 1h}}
  services: [{hosts: [here.example, there.example], methods: ['*'], paths: ['/recent/*']}]
";

fn cookie(value: &str) -> CookieAnswer {
    match value {
        "good" | "ops" => CookieAnswer::Live(Box::new(SignedIn {
            session: "s".into(),
            subject: for_bench("al", &[if value == "ops" { "ops" } else { "dev" }], Credential::Cookie)
                .subject()
                .clone(),
            ends_at: BEGIN.plus(Duration::from_secs(600)),
            auth_time: Some(BEGIN),
            acr: None,
            stated_reason: None,
        })),
        "unknown" => CookieAnswer::Unknown {
            why: "nobody answers".to_owned(),
        },
        _ => CookieAnswer::Foreign,
    }
}

fn stations() -> Arc<identity::Station> {
    let (_, trusted) = watch::channel(Arc::new(trust()));
    let (_, locks) = watch::channel(Arc::default());
    let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
    let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    let (cookies, mut asked) = Ask::new(16, Duration::from_secs(5), |why| CookieAnswer::Unknown { why });
    tokio::spawn(async move {
        while let Some((question, reply)) = asked.recv().await {
            let question: model::ask::CookieQuestion = question;
            let _ = reply.send(cookie(&question.value));
        }
    });
    let questions = Questions {
        keys,
        sign_ins,
        cookies,
        tokens: BTreeMap::new(),
        issuers: None,
    };
    let acceptance = Acceptance {
        service_account_audience: String::new(),
        cache_entries: 16,
        sign_in_check: Duration::from_secs(60),
        longest_sign_in: Duration::from_secs(86_400),
        certificates: HashMap::new(),
        workloads: Vec::new(),
    };
    Arc::new(identity::Station::new(trusted, locks, questions, acceptance).unwrap())
}

struct Stage {
    gate: Gate,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = Ledger::open(
            folder.path(),
            Options::default(),
            Arc::new(RealDisk::new(folder.path())),
        );
        let (ledger, _) = opened.unwrap();
        let (clock, _) = Clock::manual(BEGIN.unix_nanos());
        let limits = audit::Limits::default();
        let audit = audit::Station::new(Arc::new(ledger), clock, "boot".into(), limits);
        let loaded = load_files([("policy.yaml", POLICY)]).unwrap();
        let front = Front::new(Scheme::Https, None);
        let here = loaded.services.named("here").unwrap().clone();
        let source = ServiceSource {
            place: ServicePlace::Servers(vec!["http://127.0.0.1:9".to_owned()]),
            protocol: ServiceProtocol::Auto,
            authorities: Authorities::None,
            tls_server_name: None,
            certificate: None,
        };
        let connection = ServiceConnection::new(here.name().clone(), source, Tuning::default()).unwrap();
        let pool = upstream::Pool::new(
            Arc::new(connection),
            upstream::Limits::default(),
            upstream::UpstreamMetrics::default(),
        );
        let gates = [Arc::new(ServiceGate::new(here, pool, front).unwrap())];
        let rules = ServiceRules {
            rules: Arc::new(RuleSet::new(loaded.rules)),
            services: Arc::new(loaded.services.clone()),
            digest: "digest".into(),
            version: 1,
        };
        let (_, rules) = watch::channel(Arc::new(rules));
        let (_, table) = watch::channel(Arc::new(ServiceTable::new(loaded.services, gates)));
        let side = ServiceSide {
            table,
            station: Arc::new(ServiceStation::new(rules)),
            front,
            gateway: "https://gate".into(),
            ..ServiceSide::none()
        };
        let sites = Sites::new("gate", [], HashMap::new());
        let calls = Arc::clone(&World::new(8, Authorization::Enforce).registry);
        let gate = Gate::new(
            Arc::new(sites),
            stations(),
            audit,
            HashMap::new(),
            calls,
            Arc::new(NoHost),
            "sign in".into(),
        );
        Self {
            gate: gate.publishing(side),
            _folder: folder,
        }
    }

    /// What is said of a call, and what of it would stand in a record.
    async fn said(&self, is_here: bool, call: &Call) -> Said {
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let conn = Conn::new(1, address, address, "test".into(), CancellationToken::new());
        let mut headers: HeaderMap = call
            .headers
            .iter()
            .map(|(name, value)| {
                let own = if is_here { "here.example" } else { "there.example" };
                let value = value.replace("OWN", own);
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_str(&value).unwrap(),
                )
            })
            .collect();
        let method = Method::from_bytes(call.method.as_bytes()).unwrap();
        let peer = audit::Peer {
            ip: "10.0.0.1".into(),
            port: 0,
            listener: "test".into(),
        };
        let now = self.gate.audit.clock().read();
        let mut trail = Arc::new(Trail::new(now, peer, "", method.clone(), &headers));
        let upgrade = call.upgrades.then_some(Upgrade::WebSocket);
        Arc::get_mut(&mut trail).unwrap().upgrade = upgrade;
        let asked = Asked {
            host: HostName::new(if is_here { "here.example" } else { "there.example" }).unwrap(),
            method,
            target: call.target.as_bytes(),
            upgrade,
            came: match is_here {
                true => Came::Here(&conn),
                false => Came::ToIngress(&conn, address.ip()),
            },
        };
        let passed = self.gate.passed(asked, &mut headers, &mut trail).await;
        let called = trail.service.as_ref();
        Said {
            refused: passed.err().map(|stop| {
                let (kind, refusal) = match stop {
                    Stop::Refused(refusal) => ("refused", refusal),
                    Stop::Ended(refusal) => ("ended", refusal),
                    Stop::Counted(refusal) => ("counted", refusal),
                };
                (kind, refusal.code(), refusal.in_words())
            }),
            who: trail.identity.as_ref().map(|who| who.subject().username().to_owned()),
            presented: trail.presented.as_ref().map(|(what, _)| *what),
            is_found: called.is_some_and(|called| called.name.is_some()),
            is_public: called.is_some_and(|called| called.is_public),
            rules: trail.decision.as_ref().map(|decision| decision.rules.len()),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Said {
    refused: Option<(&'static str, &'static str, String)>,
    who: Option<String>,
    presented: Option<&'static str>,
    is_found: bool,
    is_public: bool,
    rules: Option<usize>,
}

impl Said {
    fn code(&self) -> &str {
        self.refused.as_ref().map_or("yes", |(_, code, _)| code)
    }
}

#[derive(Clone, Debug, Default)]
struct Call {
    method: &'static str,
    target: &'static str,
    upgrades: bool,
    headers: Vec<(&'static str, &'static str)>,
}

const GOOD: (&str, &str) = ("cookie", "__Host-gatescribe-service=good");

fn calls() -> impl Strategy<Value = Call> {
    let lines = prop::sample::subsequence(
        vec![
            GOOD,
            ("cookie", "__Host-gatescribe-service=ops"),
            ("cookie", "__Host-gatescribe-service=old"),
            ("cookie", "__Host-gatescribe-service=unknown"),
            ("authorization", "Bearer x.y.z"),
            ("authorization", "Bearer "),
            ("authorization", "Basic eA=="),
            ("authorization", "Bearer a"),
            ("origin", "https://OWN"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
            ("x-gatescribe-assertion", "x.y.z"),
        ],
        0..4,
    );
    let methods = prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE", "OPTIONS"]);
    let targets = prop::sample::select(vec![
        "/",
        "/x?y=1",
        "/public/a",
        "/shut/a",
        "/SHUT/a/",
        "/reason/a",
        "/a//b",
        "/%2e%2e/x",
        "/a;b",
        "/%2egatescribe/x",
        "/.GATESCRIBE/x",
        "/recent/a",
        "/idle/a",
    ]);
    (lines, methods, targets, any::<bool>()).prop_map(|(headers, method, target, upgrades)| Call {
        method,
        target,
        // What an ingress could not end is refused there alone: see the test of that.
        upgrades: upgrades && !["/recent/a", "/idle/a"].contains(&target),
        headers,
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The same order of stations: the same refusal where several would refuse, and the same known of the call by then.
#[test]
fn promise_3_what_is_refused_here_is_refused_at_an_ingress_in_the_same_order_and_so_recorded() {
    let runtime = runtime();
    let mut runner = proptest::test_runner::TestRunner::default();
    let stage = runtime.block_on(async { Stage::new() });
    let met = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let tried = runner.run(&calls(), |call| {
        let (here, there) = runtime.block_on(async { (stage.said(true, &call).await, stage.said(false, &call).await) });
        // Whose budget is used up differs by who came first; nothing else may.
        prop_assume!(here.code() != "limit" && there.code() != "limit");
        *met.borrow_mut().entry(here.code().to_owned()).or_default() += 1;
        prop_assert_eq!(here, there);
        Ok(())
    });
    tried.unwrap();
    let met = met.into_inner();
    for code in [
        "yes",
        "target",
        "noCredential",
        "badCredential",
        "foreignPage",
        "headers",
    ] {
        assert!(met.contains_key(code), "the situations never led to {code}: {met:?}");
    }
}

fn get(target: &'static str) -> Call {
    Call {
        method: "GET",
        target,
        upgrades: false,
        headers: vec![GOOD],
    }
}

fn websocket(target: &'static str) -> Call {
    let mut call = get(target);
    call.upgrades = true;
    call.headers.push(("origin", "https://OWN"));
    call
}

#[tokio::test]
async fn promise_2_no_spelling_of_our_own_paths_is_a_services() {
    let stage = Stage::new();
    for target in [
        "/.gatescribe/signed-in",
        "/.gatescribe/",
        "/.gatescribe",
        "/.Gatescribe/x",
        "/%2egatescribe/x",
        "/.gatescrib%65/x?y",
    ] {
        for is_here in [true, false] {
            let said = stage.said(is_here, &get(target)).await;
            assert_eq!(said.code(), "notPublished", "{target} {is_here}");
            assert_eq!(said.who.as_deref(), Some("al"), "its record names who asked");
        }
    }
    for other in ["/.gatescribes/x", "/x/.gatescribe/", "/gatescribe/"] {
        assert_eq!(stage.said(false, &get(other)).await.code(), "yes", "{other}");
    }
}

#[tokio::test]
async fn promise_2_a_method_that_a_server_might_read_otherwise_gets_no_yes() {
    let stage = Stage::new();
    for method in ["get", "Get", "PROPFIND", "post", "TRACE", "CONNECT", "FOO"] {
        let said = stage.said(false, &Call { method, ..get("/") }).await;
        assert_eq!(said.code(), "malformed", "{method}");
    }
}

#[tokio::test]
async fn promise_3_no_end_is_promised_of_what_an_ingress_lets_go_on() {
    let stage = Stage::new();
    let events = |target| {
        let mut call = get(target);
        call.headers.push(("accept", "text/html, Text/Event-Stream;q=0.9"));
        call
    };
    for target in ["/idle/a", "/recent/a"] {
        assert_eq!(
            stage.said(true, &websocket(target)).await.code(),
            "yes",
            "{target}: here it is ended"
        );
        for call in [websocket(target), events(target)] {
            let said = stage.said(false, &call).await;
            assert_eq!(said.code(), "ended", "{call:?}");
            assert!(
                said.refused
                    .unwrap()
                    .2
                    .contains("behind this ingress nobody would end it")
            );
        }
        assert_eq!(
            stage.said(false, &get(target)).await.code(),
            "yes",
            "{target}: it is over at once"
        );
    }
    assert_eq!(stage.said(false, &websocket("/")).await.code(), "yes");
}
