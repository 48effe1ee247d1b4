//! The order of a request: what changes between two stations, before a real ledger, by a connection of a client.

use std::net::TcpListener as Cluster;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use ::recording::SessionKey;
use access::decide::Authorization;
use futures::future::BoxFuture;
use ledger::{Ledger, Options, Reader, RealDisk};
use model::ask::{AccessAnswer, CookieAnswer, KeyAnswer, SessionAnswer};
use model::lock::{Lock, Locks};
use model::service::HostName;
use model::subject::SubjectId;
use oidc::gateway::{GatewayClaims, GatewayVerifier, Mint, ProviderIdentity, SigningKey};
use reach::{Authorities, ClusterConnection, ClusterSource, CredentialSource, Explicit, Tuning};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::identity::{Acceptance, Questions};
use crate::listener::{Listener, ListenerConfig, ListenerMetrics, Running, Security};
use crate::session::bench::{BEGIN, CLUSTER, ISSUER, World, trust};
use crate::session::{KeyError, RecordingKeys, RecordingMetrics, SessionsToRecord, Writers};
use crate::site::{Serves, Told};

/// client-go writes `1m30s` for ninety seconds.
#[test]
fn g_04_a_time_that_the_client_gives_the_cluster_is_read_as_go_writes_it() {
    for (query, seconds) in [
        ("timeout=34s", Some(34)),
        ("timeout=1m30s", Some(90)),
        ("x=1&timeout=1h0m0s", Some(3_600)),
        ("timeout=9000h", Some(86_400)),
        ("timeout=-1s", None),
        ("timeout=60", None),
        ("timeout=5s;a", None),
    ] {
        let target = Target::parse(format!("/api/v1/pods?{query}").as_bytes()).unwrap();
        assert_eq!(timeout(&target), seconds.map(Duration::from_secs), "{query}");
    }
}

const OURS: &str = "https://gate";
const EXEC: &str = "/clusters/bench/api/v1/namespaces/shop/pods/web/exec?command=sh&stdout=true";

/// What happens while a key is made, and what became of the keys.
#[derive(Default)]
struct Keys {
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    made: AtomicU32,
    forgotten: AtomicU32,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl RecordingKeys for Keys {
    fn new_key(&self, _: &SubjectId, _: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens();
        }
        async { Ok(SessionKey::new([7; 32])) }.boxed()
    }

    fn forget(&self, _: &SubjectId, _: &str) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct NoHost;

impl GatewayHost for NoHost {
    fn serve<'a>(&'a self, _: &'a Trail, _: Request<Inbound>) -> BoxFuture<'a, Response<Outbound>> {
        async { plain(StatusCode::NOT_FOUND, Bytes::new()) }.boxed()
    }

    fn serve_at_service<'a>(
        &'a self,
        _: &'a Trail,
        _: &'a HostName,
        _: Request<Inbound>,
    ) -> BoxFuture<'a, Response<Outbound>> {
        async { plain(StatusCode::NOT_FOUND, Bytes::new()) }.boxed()
    }

    fn refusal_page(&self, told: &Told<'_>) -> Response<Bytes> {
        let mut page = Response::new(Bytes::from(told.why.to_owned()));
        *page.status_mut() = told.status;
        page
    }
}

/// A gateway before a cluster that notes whether anybody comes.
struct Stage {
    world: Arc<World>,
    keys: Arc<Keys>,
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    running: Running,
    bearer: String,
    cluster: Cluster,
}

impl Stage {
    fn before(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(
            folder.path(),
            Options::default(),
            Arc::new(RealDisk::new(folder.path())),
        )
        .unwrap();
        let (ledger, keys) = (Arc::new(ledger), Arc::new(Keys::default()));
        let clock = Clock::Manual(Arc::clone(&world.hand));
        let audit = audit::Station::new(Arc::clone(&ledger), clock, "boot".into(), audit::Limits::default());
        let (identity, bearer) = identity();
        let cluster = Cluster::bind("127.0.0.1:0").unwrap();
        cluster.set_nonblocking(true).unwrap();
        let sites = Sites::new(
            "gate",
            [world.cluster.clone()],
            HashMap::from([(
                "test".into(),
                Serves {
                    gateway: false,
                    kubernetes: true,
                    services: false,
                },
            )]),
        );
        let gates = HashMap::from([(world.cluster.clone(), Arc::new(gate(&world, &cluster)))]);
        let recordings = Recordings {
            folder: folder.path().to_owned(),
            keys: Arc::<Keys>::clone(&keys),
            which: SessionsToRecord::All,
            keeps_free: 0,
            metrics: RecordingMetrics::default(),
            writers: Writers::default(),
        };
        let calls = Arc::clone(&world.registry);
        let gate = Gate::new(
            Arc::new(sites),
            identity,
            audit,
            gates,
            calls,
            Arc::new(NoHost),
            "sign in".into(),
        );
        let config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), Security::PlainLoopback);
        let listener = Listener::bind(config, Arc::new(ListenerMetrics::default())).unwrap();
        Self {
            world: Arc::new(world),
            keys,
            folder,
            ledger,
            running: listener.start(Arc::new(gate.recording_sessions(recordings))),
            bearer,
            cluster,
        }
    }

    /// Asks for an exec and reads what is answered until the connection ends.
    async fn exec(&self) -> String {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n";
        self.ask(&format!("GET {EXEC}"), upgrade).await
    }

    async fn ask(&self, what: &str, more: &str) -> String {
        let mut client = TcpStream::connect(self.running.address()).await.unwrap();
        let bearer = &self.bearer;
        let asked = format!("{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n{more}");
        client.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset behind the answer is an end as well.
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What stands in the ledger at its end, by kind and how it ended; nobody has come to the cluster.
    fn recorded(&self) -> Vec<(String, String)> {
        self.ledger.close();
        let nobody = self.cluster.accept().map(|_| "somebody came to the cluster");
        assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        let reader = Reader::open(self.folder.path()).unwrap();
        let records = reader
            .records_from(0)
            .map(|record| serde_json::from_slice::<Value>(&record.unwrap().leaf).unwrap());
        let told = records.filter(|record| record.get("req").is_some() || record.get("outcome").is_some());
        told.map(|record| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&record["kind"]), text(&record["outcome"]["end"]))
        })
        .collect()
    }
}

fn gate(world: &World, cluster: &Cluster) -> ClusterGate {
    let source = ClusterSource::Explicit(Explicit {
        servers: vec![format!("https://{}", cluster.local_addr().unwrap())],
        authorities: Authorities::System,
        tls_server_name: None,
        impersonator: CredentialSource::Token("impersonator".to_owned()),
        observer: CredentialSource::Token("observer".to_owned()),
    });
    let connection = ClusterConnection::new(world.cluster.clone(), source, Tuning::default()).unwrap();
    let (pods, _) = Ask::new(1, Duration::from_secs(1), |why| PodAnswer::Unknown { why });
    ClusterGate {
        pool: Pool::new(
            Arc::new(connection),
            upstream::Limits::default(),
            upstream::UpstreamMetrics::default(),
        ),
        decision: Arc::clone(&world.station),
        pods,
        series: Requests::new([CLUSTER]).of(&world.cluster),
    }
}

/// A station that believes our own tokens, and one of al's.
fn identity() -> (Arc<identity::Station>, String) {
    let (signing, pkcs8) = SigningKey::generate().unwrap();
    let mut trust = trust();
    let published = SigningKey::key_set([&signing]).unwrap();
    trust.gateway = Arc::new(GatewayVerifier::new(OURS, published, Duration::ZERO));
    let (_, trusted) = watch::channel(Arc::new(trust));
    let (_, locks) = watch::channel(Arc::default());
    let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(5), |why| SessionAnswer::Unknown { why });
    tokio::spawn(async move {
        while let Some((_, reply)) = asked.recv().await {
            let _ = reply.send(SessionAnswer::Live {
                ends_at: Timestamp::MAX,
                stated_reason: None,
                subject: None,
            });
        }
    });
    let questions = Questions {
        keys,
        sign_ins,
        cookies: Ask::new(1, Duration::from_secs(1), |why| CookieAnswer::Unknown { why }).0,
        tokens: std::collections::BTreeMap::new(),
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
    let claims = GatewayClaims {
        issuer: OURS.to_owned(),
        audience: CLUSTER.to_owned(),
        subject: al().subject().id().to_string(),
        session: "s".to_owned(),
        token_id: "t".to_owned(),
        issued_at: BEGIN,
        expires_at: BEGIN.plus(Duration::from_secs(600)),
        auth_time: BEGIN,
        acr: None,
        identity: ProviderIdentity {
            iss: ISSUER.to_owned(),
            sub: "al".to_owned(),
            username: "al".to_owned(),
            groups: vec!["dev".to_owned()],
            uid: None,
            email: None,
            extra: std::collections::BTreeMap::new(),
        },
    };
    let token = Mint::new(SigningKey::from_pkcs8(&pkcs8).unwrap()).sign(&claims);
    let station = identity::Station::new(trusted, locks, questions, acceptance).unwrap();
    (Arc::new(station), token.unwrap())
}

fn al() -> identity::Identity {
    identity::for_bench("al", &["dev"], identity::Credential::GatewayToken)
}

fn lock_al(world: &World) {
    let al = al();
    let lock = Lock {
        subject: al.subject().id().clone(),
        kind: al.subject().kind(),
        user: "al".to_owned(),
        email: None,
        until: Timestamp::MAX,
        why: "TICKET-7".to_owned(),
        by: "carol".to_owned(),
        at: BEGIN,
    };
    world.registry.lock_out(Arc::new(Locks::new([lock])), BEGIN);
}

fn sign_al_out(world: &World) {
    world
        .registry
        .end_sign_in("s", "the sign-in has ended: you signed out", BEGIN);
}

fn forbid(world: &World) {
    let forbid = json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": "shut"},
        "spec": {"effect": "forbid", "subjects": {"groups": ["dev"]}, "kubernetes": {"actions": ["enter"]}}});
    world.rules(&["dev"], &[forbid]);
}

/// The cluster is asked whether they may, which takes as long as it takes; by the time that it says yes they may not.
#[tokio::test]
async fn promise_3_what_is_lost_between_the_decision_and_the_table_is_not_sent() {
    type Change = fn(&World);
    let changes: [(Change, &str, &str); 3] = [
        (lock_al, "HTTP/1.1 403", "al is locked by carol: TICKET-7"),
        (sign_al_out, "HTTP/1.1 401", "you signed out"),
        (forbid, "HTTP/1.1 403", "a rule forbids it"),
    ];
    for (change, status, words) in changes {
        let mut world = World::new(8, Authorization::Confirm);
        world.rules(&["dev"], &[]);
        let (_, none) = tokio::sync::mpsc::channel(1);
        let mut reviews = std::mem::replace(&mut world.reviews, none);
        let stage = Stage::before(world);
        let meanwhile = async {
            let (_, reply) = reviews.recv().await.unwrap();
            change(&stage.world);
            reply.send(AccessAnswer::Yes { reason: None }).unwrap();
        };
        let (said, ()) = tokio::join!(stage.exec(), meanwhile);
        assert!(said.starts_with(status) && said.contains(words), "{words}: {said}");
        assert!(stage.world.registry.is_empty(), "{words}");
        assert_eq!(stage.keys.made.load(Ordering::Relaxed), 0, "{words}");
        assert_eq!(
            stage.recorded(),
            [("refusal".to_owned(), "refused".to_owned())],
            "{words}"
        );
    }
}

/// Rules that let everybody enter, recorded.
fn recorded_world() -> World {
    entered_by(&json!({"record": true}))
}

/// Rules that let everybody enter who meets these duties.
fn entered_by(duties: &Value) -> World {
    let world = World::new(8, Authorization::Enforce);
    let rule = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "entering"},
        "spec": {"effect": "allow", "subjects": {"groups": ["*"]}, "obligations": duties,
                 "kubernetes": {"actions": ["enter"]}}});
    world.rules(&["dev"], &[rule]);
    world
}

/// It stands in the table and its recording is made ready when its caller is locked out: its record has an end, and no more.
#[tokio::test]
async fn promise_3_what_is_lost_between_the_table_and_the_sending_is_not_sent() {
    for (change, status, words) in [
        (lock_al as fn(&World), "HTTP/1.1 403", "al is locked by carol: TICKET-7"),
        (sign_al_out, "HTTP/1.1 401", "you signed out"),
    ] {
        let stage = Stage::before(recorded_world());
        let world = Arc::clone(&stage.world);
        *stage.keys.meanwhile.lock().unwrap() = Some(Box::new(move || change(&world)));
        let said = stage.exec().await;
        assert!(said.starts_with(status) && said.contains(words), "{words}: {said}");
        assert!(stage.world.registry.is_empty(), "{words}");
        assert_eq!(stage.keys.forgotten.load(Ordering::Relaxed), 1, "{words}");
        let ends = [("open", ""), ("close", "notSent")].map(|(kind, end)| (kind.to_owned(), end.to_owned()));
        assert_eq!(stage.recorded(), ends, "{words}");
    }
}

/// Somebody is locked out each time while their recording is made ready: it has cost a file and a key, and no session begins.
#[tokio::test]
async fn promise_8_recordings_in_vain_are_so_many_and_then_refused_before_they_cost_anything() {
    let stage = Stage::before(recorded_world());
    let mut refused = 0_u32;
    for number in 0..260_u32 {
        let (world, keys) = (Arc::clone(&stage.world), Arc::clone(&stage.keys));
        world.registry.lock_out(Arc::default(), BEGIN);
        *keys.meanwhile.lock().unwrap() = Some(Box::new(move || lock_al(&world)));
        let said = stage.exec().await;
        if said.starts_with("HTTP/1.1 429") {
            refused += 1;
            assert!(said.contains("no session has begun"), "{number}: {said}");
        }
    }
    assert_eq!((refused, stage.keys.made.load(Ordering::Relaxed)), (4, 256));
}

/// A container that is added to a running pod may bring a command: who adds one enters, and owes the reason of those who do.
#[tokio::test]
async fn b_18_a_container_that_is_added_to_a_pod_is_an_entry_and_owes_a_reason() {
    for method in ["PATCH", "PUT", "POST"] {
        let stage = Stage::before(entered_by(&json!({"reason": true})));
        let what = format!("{method} /clusters/bench/api/v1/namespaces/shop/pods/web/ephemeralcontainers");
        let body =
            "Content-Type: application/strategic-merge-patch+json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let said = stage.ask(&what, body).await;
        assert!(
            said.starts_with("HTTP/1.1 403") && said.contains("this needs a stated reason"),
            "{method}: {said}"
        );
        assert_eq!(stage.recorded(), [("refusal".to_owned(), "refused".to_owned())]);
    }
}

/// A console that another API brings, as KubeVirt does.
const CONSOLE: &str =
    "/clusters/bench/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/vm/console";

/// Who may do everything, where all sessions are recorded and no rule demands it.
fn unruled_world() -> World {
    let world = World::new(8, Authorization::Enforce);
    let rule = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "all"},
        "spec": {"effect": "allow", "subjects": {"groups": ["*"]}, "kubernetes": {"verbs": ["*"], "resources": ["*"]}}});
    world.rules(&["dev"], &[rule]);
    world
}

#[tokio::test]
async fn promise_3_all_sessions_are_those_of_other_apis_too() {
    let stage = Stage::before(unruled_world());
    let world = Arc::clone(&stage.world);
    // So that nothing is asked of the cluster: the recording stands ready by then.
    *stage.keys.meanwhile.lock().unwrap() = Some(Box::new(move || lock_al(&world)));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: plain.kubevirt.io\r\n\r\n";
    let said = stage.ask(&format!("GET {CONSOLE}"), upgrade).await;
    assert!(said.starts_with("HTTP/1.1 403") && said.contains("is locked"), "{said}");
    assert_eq!(stage.keys.made.load(Ordering::Relaxed), 1, "it was made ready");

    // SPDY of a meaning that nobody knows is read by nobody.
    let stage = Stage::before(unruled_world());
    let said = stage
        .ask(
            &format!("POST {CONSOLE}"),
            "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n",
        )
        .await;
    assert!(said.starts_with("HTTP/1.1 403") && said.contains("record"), "{said}");
    assert_eq!(stage.keys.made.load(Ordering::Relaxed), 0);
    assert_eq!(stage.recorded(), [("refusal".to_owned(), "refused".to_owned())]);
}
