//! Calls whose caller's erasure is asked for while they go on, on a ledger that names people by pseudonyms.

use std::sync::atomic::{AtomicU8, Ordering};

use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ledger::{Names, NotSealed, Options, Reader, RealDisk};
use model::cluster::ClusterId;
use model::event::names::{Pseudonyms, split};
use model::request::{RequestFacts, Target, Wire};
use serde_json::{Value, json};

use super::*;
use crate::identity::{Credential, for_bench};

/// Keys and pseudonyms of one generation after the other: what stands under `p2` is sealed with `k2`.
#[derive(Debug)]
struct Generations {
    of_names: AtomicU8,
    of_keys: AtomicU8,
}

impl PartKeys for Generations {
    fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        let number = self.of_keys.load(Ordering::SeqCst);
        let key = PartKey::new(&format!("k{number}"), &[number; 32]).ok_or_else(String::new);
        Box::pin(std::future::ready(key.map(Arc::new)))
    }

    fn acts_through(&self, _: &SubjectId, _: &str, _: &str) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Now(String);

impl Pseudonyms for Now {
    type Error = NotSealed;

    fn pseudonym(&mut self, _: &SubjectId, _: bool) -> Result<String, NotSealed> {
        Ok(self.0.clone())
    }
}

impl Names for Generations {
    fn seal(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Option<Vec<ledger::Part>>,
    ) -> Result<(Vec<u8>, Vec<ledger::Part>), NotSealed> {
        let split = split(kind, &body, &mut Now(self.name()))?.ok_or(NotSealed)?;
        Ok((split.body(&[]), parts.unwrap_or_default()))
    }

    fn open(&self, leaf: Vec<u8>, _: &[Vec<u8>]) -> Vec<u8> {
        leaf
    }

    fn forget(&self) {}

    fn pseudonym(&self, _: &SubjectId) -> Option<String> {
        Some(self.name())
    }
}

impl Generations {
    fn name(&self) -> String {
        format!("p{}", self.of_names.load(Ordering::SeqCst))
    }
}

struct World {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    station: Arc<Station>,
    people: Arc<Generations>,
}

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const TOKEN: &str = "/api/v1/namespaces/shop/serviceaccounts/robot/token";

impl World {
    fn new(is_sealed: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open_by_hand(folder.path(), Options::default(), disk).unwrap();
        let (ledger, (clock, _)) = (Arc::new(ledger), Clock::manual(1_790_000_000_000_000_000));
        let people = Arc::new(Generations {
            of_names: AtomicU8::new(1),
            of_keys: AtomicU8::new(1),
        });
        if is_sealed {
            ledger.seal_names(Arc::clone(&people) as Arc<dyn Names>);
        }
        let keys = Arc::clone(&people) as Arc<dyn PartKeys>;
        let station = Station::keeping_parts(Arc::clone(&ledger), clock, "boot".into(), Limits::default(), keys);
        station.keeps_bodies(Bodies::new([9; 32]));
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";
        let policy = audit_policy::load(text).unwrap().policy;
        station.set_policy(Some(Arc::new(AuditPolicy::new(policy, "d1".into()))));
        Self {
            folder,
            ledger,
            station,
            people,
        }
    }

    fn trail(&self, method: &Method, target: &str) -> Arc<Trail> {
        let peer = Peer {
            ip: "127.0.0.1".into(),
            port: 1,
            listener: "test".into(),
        };
        let target = Target::parse(target.as_bytes()).unwrap();
        let wire = Wire {
            method: method.as_str(),
            wants_upgrade: false,
            impersonates: false,
        };
        let now = self.station.clock().read();
        let mut trail = Trail::new(now, peer, "HTTP/1.1", method.clone(), &HeaderMap::new());
        trail.facts = Some(RequestFacts::classify(&target, wire).unwrap());
        trail.target = Some(target);
        trail.cluster = Some(ClusterId::new("bench").unwrap());
        trail.identity = Some(Arc::new(for_bench("al", &["dev"], Credential::GatewayToken)));
        Arc::new(trail)
    }

    /// A call that is recorded, and the head of its answer.
    async fn begun(&self, method: Method, target: &str) -> (Arc<Trail>, End) {
        let trail = self.trail(&method, target);
        let append = |body, parts| self.ledger.append_intent(body, parts);
        let (ticket, slot) = self.station.opening(&trail, append).await.unwrap().unwrap();
        self.ledger.drive();
        let seq = ticket.await.unwrap().seq;
        let mut end = End::of_effect(Arc::clone(&self.station), Arc::clone(&trail), slot, RecordKind::Intent);
        end.pairs_with(seq);
        end.answered(201);
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(want) = trail.wants(StatusCode::CREATED) {
            end.scans(Scan::new(&json, want));
        }
        end.keeps_answer(StatusCode::OK, &json);
        (trail, end)
    }

    /// Somebody asks for the erasure of all that is sealed of whoever calls.
    fn is_asked_for(&self, names: u8, keys: u8) {
        let subject = for_bench("al", &["dev"], Credential::GatewayToken);
        self.station.forget_what_passed_and(subject.subject().id(), || {
            self.people.of_names.store(names, Ordering::SeqCst);
            self.people.of_keys.store(keys, Ordering::SeqCst);
        });
    }

    async fn comes(&self, mut end: End, answer: &Value) {
        end.passed(answer.to_string().as_bytes());
        end.settle(Answer::Answered, None);
        self.station.ends_written().await;
    }

    fn told_of(&self, trail: &Trail) -> Vec<Value> {
        self.ledger.drive();
        let records = Reader::open(self.folder.path()).unwrap().records_from(0);
        let leaves = records.map(|record| serde_json::from_slice::<Value>(&record.unwrap().leaf).unwrap());
        leaves.filter(|leaf| leaf["id"] == trail.id.as_str()).collect()
    }
}

fn of<'r>(records: &'r [Value], kind: &str) -> Option<&'r Value> {
    records.iter().find(|record| record["kind"] == kind)
}

/// Pseudonyms, and the generations of keys, that stand in records of one call.
fn stand_in(records: &[Value]) -> Vec<String> {
    let names = records.iter().filter_map(|record| record["by"]["id"].as_str());
    let parts = records.iter().filter_map(|record| record["parts"].as_array()).flatten();
    let keys = parts.filter_map(|part| part["key"].as_str());
    let mut all: Vec<String> = names.chain(keys).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn promise_6_an_answer_on_its_way_is_not_sealed_under_keys_that_came_behind_its_calls_pseudonym() {
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
    // Which people and keys it is then, what is kept of the answer, and what stands in the records.
    let cases = [
        (true, 2, 2, None, vec!["p1"]),
        // Keys of somebody else went: hers are the same.
        (true, 1, 1, Some("k1"), vec!["k1", "p1"]),
        // Hers were changed by age.
        (true, 1, 2, None, vec!["p1"]),
    ];
    for (is_sealed, names, keys, kept, stand) in cases {
        let world = World::new(is_sealed);
        let (trail, end) = world.begun(Method::PATCH, WEB).await;
        world.is_asked_for(names, keys);
        world.comes(end, &web).await;
        let records = world.told_of(&trail);
        let key = of(&records, "answer").map(|answer| answer["parts"][0]["key"].as_str().unwrap());
        assert_eq!(key, kept, "{records:?}");
        assert_eq!(stand_in(&records), stand, "{records:?}");
        let said = &of(&records, "outcome").unwrap()["body"];
        match kept {
            Some(_) => assert!(said.is_null(), "{said}"),
            None => assert_eq!((&said["kept"], &said["why"]), (&json!("none"), &json!("noKey"))),
        }
    }
    // With names in the clear nothing is to be joined.
    let world = World::new(false);
    let (trail, end) = world.begun(Method::PATCH, WEB).await;
    world.is_asked_for(2, 2);
    world.comes(end, &web).await;
    assert_eq!(of(&world.told_of(&trail), "answer").unwrap()["parts"][0]["key"], "k2");
}

#[tokio::test]
async fn promise_6_a_credential_handed_out_while_its_holders_erasure_is_asked_for_is_recorded_without_them() {
    let token = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"name": "robot", "namespace": "shop"},
        "status": {"token": format!("{}.{}.c2ln", base64_of(&json!({"alg": "none"})), base64_of(&json!({"jti": "0b1c", "exp": 1_890_000_000_i64}))),
            "expirationTimestamp": "2029-11-22T10:00:00Z"}});
    for (names, is_named) in [(1, true), (2, false)] {
        let world = World::new(true);
        let (trail, end) = world.begun(Method::POST, TOKEN).await;
        world.is_asked_for(names, names);
        world.comes(end, &token).await;
        let records = world.told_of(&trail);
        let issued = of(&records, "issued").unwrap();
        assert_eq!(issued["issued"]["what"], "token", "that there was one stays: {issued}");
        assert_eq!(issued["by"].is_object(), is_named, "{issued}");
        assert!(!stand_in(&records).contains(&"p2".to_owned()), "{records:?}");
        let holds = world.station.origins().of("JTI=0b1c");
        assert_eq!(holds.as_deref(), Some("al"), "who holds it is known all the same");
    }
}

fn base64_of(value: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A line of the log and a trace say who sent a request by an id that is made of the issuer and the name.
#[test]
fn promise_6_where_names_are_sealed_neither_log_nor_trace_says_who_sent_a_request() {
    let world = World::new(true);
    assert!(world.station.seals_names() && !World::new(false).station.seals_names());
    let mut trail = world.trail(&Method::GET, WEB);
    let trail = Arc::get_mut(&mut trail).unwrap();
    let id = for_bench("al", &["dev"], Credential::GatewayToken)
        .subject()
        .id()
        .to_string();
    assert_eq!(trail.told_subject(), Some(id.as_str()));
    trail.names_nobody();
    assert_eq!(trail.told_subject(), None);
}
