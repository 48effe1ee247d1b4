//! Answers on a real ledger in a folder of its own: what is kept of them, in which order, and what is said where nothing is.

use std::cell::Cell;
use std::path::Path;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use ledger::{Ledger, Options, Reader, RealDisk};
use model::event::{Answer, Record, RecordKind};
use model::request::{RequestFacts, Target, Wire};
use model::subject::SubjectId;
use serde_json::{Value, json};

use super::*;
use crate::audit::{AuditPolicy, Class, End, Limits as Budgets, PartKey, PartKeys, Peer, open_part};
use crate::clock::Clock;
use crate::identity::{Credential, for_bench};

/// The keys of one generation after the other: those of generation 2 are named `k2` and opened by it alone. `None`: there are none to be had.
#[derive(Debug)]
struct Generations(Mutex<Option<u8>>);

impl Generations {
    fn now(&self) -> Option<u8> {
        *self.0.lock().unwrap()
    }
}

impl PartKeys for Generations {
    fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        let key = self.now().map(|number| Arc::new(key(number)));
        Box::pin(std::future::ready(key.ok_or_else(|| "the store is gone".to_owned())))
    }

    fn acts_through(&self, _: &SubjectId, _: &str, _: &str) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn key(generation: u8) -> PartKey {
    PartKey::new(&format!("k{generation}"), &[generation; 32]).unwrap()
}

struct World {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    station: Arc<Station>,
    keys: Arc<Generations>,
    /// Who calls.
    user: Cell<&'static str>,
}

/// A record, and its opened parts by their names.
type Told = (Value, HashMap<String, Value>);

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

impl World {
    fn new(level: &str) -> Self {
        Self::with(level, Options::default())
    }

    fn with(level: &str, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open_by_hand(folder.path(), options, disk).unwrap();
        let (ledger, (clock, _)) = (Arc::new(ledger), Clock::manual(1_790_000_000_000_000_000));
        let (limits, keys) = (Budgets::default(), Arc::new(Generations(Mutex::new(Some(1)))));
        let of_parts = Arc::clone(&keys) as Arc<dyn PartKeys>;
        let station = Station::keeping_parts(Arc::clone(&ledger), clock, "boot".into(), limits, of_parts);
        station.keeps_bodies(Bodies::new([9; 32]));
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{{level: {level}}}]\n");
        let policy = audit_policy::load(&text).unwrap().policy;
        station.set_policy(Some(Arc::new(AuditPolicy::new(policy, "d1".into()))));
        Self {
            folder,
            ledger,
            station,
            keys,
            user: Cell::new("al"),
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
        trail.identity = Some(Arc::new(for_bench(self.user.get(), &["dev"], Credential::GatewayToken)));
        Arc::new(trail)
    }

    /// What was counted of bodies.
    fn counted(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.station
            .bodies_counted()
            .filter(|(_, _, count)| *count > 0)
            .map(|(side, fate, count)| (side, fate.as_str(), count))
            .collect()
    }

    /// Takes the keys of parts out of use, as an erasure does, and says so in the ledger before they go.
    fn erases(&self, then: Option<u8>) {
        *self.keys.0.lock().unwrap() = then;
        let subject = for_bench(self.user.get(), &["dev"], Credential::GatewayToken);
        self.station.forget_what_passed_and(subject.subject().id(), || ());
        let erased = Record {
            id: "erased",
            boot: "boot",
            ..Record::default()
        };
        let body = erased.body().unwrap();
        self.ledger
            .append_forget(RecordKind::Erasure, body, Vec::new())
            .unwrap();
    }

    /// A call whose answer comes in two pieces and ends so; its records, the first apart.
    async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(HeaderName, &str)],
        answer: &[u8],
        as_it: Answer,
    ) -> (Value, Vec<Told>) {
        let (first, trail, end) = self.begun(method, target, headers).await;
        self.comes(&trail, end, answer, as_it).await;
        (first, self.told_of(&trail))
    }

    /// A call that was recorded, and the head of its answer.
    async fn begun(&self, method: Method, target: &str, headers: &[(HeaderName, &str)]) -> (Value, Arc<Trail>, End) {
        let trail = self.trail(&method, target);
        let opened = self.station.opening(&trail, |body, _| body).await;
        let first = opened.unwrap();
        let mut end = End::of_read(Arc::clone(&self.station), Arc::clone(&trail));
        end.pairs_with(7);
        end.digest("00".repeat(32));
        end.answered(200);
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        end.keeps_answer(StatusCode::OK, &HeaderMap::from_iter(headers));
        (serde_json::from_slice(&first).unwrap(), trail, end)
    }

    /// The body of the answer.
    async fn comes(&self, trail: &Trail, mut end: End, answer: &[u8], as_it: Answer) {
        let (one, other) = answer.split_at(answer.len() / 2);
        end.passed(one);
        end.passed(other);
        end.settle(as_it, None);
        self.station.ends_written().await;
        assert!(trail.has_an_end());
    }

    fn told_of(&self, trail: &Trail) -> Vec<Told> {
        self.ledger.drive();
        let told = told(self.folder.path());
        told.into_iter()
            .filter(|(record, _)| record["id"] == trail.id.as_str())
            .collect()
    }

    async fn json(&self, method: Method, target: &str, answer: &Value) -> Vec<Told> {
        let headers = [(CONTENT_TYPE, "application/json")];
        let answer = answer.to_string();
        self.call(method, target, &headers, answer.as_bytes(), Answer::Answered)
            .await
            .1
    }
}

fn told(folder: &Path) -> Vec<Told> {
    let records = Reader::open(folder).unwrap().records_from(0).map(Result::unwrap);
    records
        .map(|record| {
            let leaf: Value = serde_json::from_slice(&record.leaf).unwrap();
            let parts = leaf["parts"].as_array().cloned().unwrap_or_default();
            let opened = parts.iter().zip(&record.parts).map(|(part, sealed)| {
                let name = part["name"].as_str().unwrap();
                let class = Class::ALL.into_iter().find(|class| class.name() == name).unwrap();
                let commitment = part["commitment"].as_str().unwrap();
                let generation = part["key"].as_str().unwrap().strip_prefix('k').unwrap();
                let key = key(generation.parse().unwrap());
                let bytes = open_part(&key, leaf["id"].as_str().unwrap(), class, commitment, sealed).unwrap();
                (name.to_owned(), serde_json::from_slice(&bytes).unwrap())
            });
            let opened = opened.collect();
            (leaf, opened)
        })
        .collect()
}

fn web(version: &str, replicas: u32, uid: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": uid, "resourceVersion": version},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "c", "image": "registry.example.com/app:1", "env": [{"name": "TOKEN", "value": "hunter2-hunter2"}]},
        ]}}},
    })
}

const UID: &str = "3fe25f1a-7d4b-4f5c-9d3a-111111111111";
const OTHER: &str = "3fe25f1a-7d4b-4f5c-9d3a-222222222222";

#[tokio::test]
async fn an_answer_stands_before_its_end_masked_and_says_what_it_changed() {
    let world = World::new("RequestResponse");
    let got = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(
        got.iter().map(|(record, _)| &record["kind"]).collect::<Vec<_>>(),
        ["answer", "close"]
    );
    let (held, parts) = &got[0];
    assert_eq!(
        (&held["body"]["kept"], &held["body"]["read"], &held["pair"]),
        (&json!("document"), &json!("json"), &json!(7))
    );
    assert!(held.get("diff").is_none() && got[1].0.get("body").is_none(), "{got:?}");
    let container = &parts["answer"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/app:1");
    assert!(container["env"][0]["value"]["~"].is_string() && !parts["answer"].to_string().contains("hunter2"));

    for (method, version, replicas, uid, diff) in [
        (Method::PATCH, "9", 3, UID, json!({"changes": 2, "since": "7"})),
        (Method::PUT, "9", 3, UID, json!({"changes": 0, "since": "9"})),
        (Method::PATCH, "12", 5, OTHER, json!({"why": "unknownBefore"})),
        (Method::PATCH, "13", 6, OTHER, json!({"changes": 2, "since": "12"})),
    ] {
        let told = world.json(method.clone(), WEB, &web(version, replicas, uid)).await;
        assert_eq!(told[0].0["diff"], diff, "{method} {version}");
        if replicas == 6 {
            let changes = json!([
                {"path": "metadata.resourceVersion", "before": "12", "after": "13"},
                {"path": "spec.replicas", "before": 5, "after": 6},
            ]);
            assert_eq!(told[0].1["diff"], changes);
        }
    }
    // What is not stored is compared and not remembered; what is deleted is forgotten.
    let dry = world
        .json(Method::PATCH, &format!("{WEB}?dryRun=All"), &web("13", 9, OTHER))
        .await;
    assert_eq!(dry[0].0["diff"]["changes"], 1);
    let again = world.json(Method::PATCH, WEB, &web("14", 6, OTHER)).await;
    assert_eq!(again[0].0["diff"], json!({"changes": 1, "since": "13"}));
    world.json(Method::DELETE, WEB, &web("15", 6, OTHER)).await;
    let gone = world.json(Method::PATCH, WEB, &web("16", 6, OTHER)).await;
    assert_eq!(gone[0].0["diff"], json!({"why": "unknownBefore"}));
}

/// promise_7: what one person was shown stands in nobody else's record.
#[tokio::test]
async fn promise_7_a_change_is_compared_with_what_the_same_person_was_shown() {
    let world = World::new("RequestResponse");
    world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    world.user.set("bo");
    let other = world.json(Method::PATCH, WEB, &web("8", 3, UID)).await;
    assert_eq!(other[0].0["diff"], json!({"why": "unknownBefore"}));
    world.user.set("al");
    let own = world.json(Method::PATCH, WEB, &web("9", 4, UID)).await;
    assert_eq!(own[0].0["diff"], json!({"changes": 2, "since": "7"}));
}

/// Nobody makes less of what they change by what they ask for before it.
#[tokio::test]
async fn neither_a_dry_run_of_any_group_nor_another_form_of_an_object_hides_what_a_change_changes() {
    const OWN: &str = "/apis/shop.example/v1/namespaces/shop/orders/web";
    let order = |version: &str, limit: u32| {
        json!({"apiVersion": "shop.example/v1", "kind": "Order", "spec": {"replicas": limit},
            "metadata": {"name": "web", "namespace": "shop", "uid": UID, "resourceVersion": version}})
    };
    let world = World::new("RequestResponse");
    world.json(Method::GET, OWN, &order("7", 2)).await;
    world
        .json(Method::PATCH, &format!("{OWN}?dryRun=All"), &order("7", 9))
        .await;
    let form =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": order("7", 2)["metadata"]});
    world.json(Method::GET, OWN, &form).await;
    world
        .json(Method::DELETE, &format!("{OWN}?dryRun=All"), &order("7", 2))
        .await;
    let changed = world.json(Method::PATCH, OWN, &order("8", 9)).await;
    assert_eq!(
        changed[0].0["diff"],
        json!({"changes": 2, "since": "7"}),
        "the version and the limit: {changed:?}"
    );
    let unseen = world.json(Method::PATCH, OWN, &form).await;
    assert_eq!(unseen[0].0["diff"], json!({"why": "noObject"}));
}

/// promise_8: calls wait, and what waits holds no document.
#[test]
fn promise_8_a_body_is_held_until_the_first_record_has_it_and_no_longer() {
    let world = World::new("Request");
    let trail = world.trail(&Method::PUT, WEB);
    let of = Of {
        facts: trail.facts.clone().unwrap(),
        cluster: ClusterId::new("bench").unwrap(),
        omit_managed: false,
    };
    let form = Form {
        media: Some("application/json".to_owned()),
        encoding: None,
    };
    let object = web("7", 2, UID).to_string();
    let kept = Bodies::new([1; 32]).mask(&of, &form, object.as_bytes(), Side::Request);
    let asked = Asked::of(kept);
    assert!(asked.take().is_some_and(|document| !document.is_empty()));
    assert_eq!(asked.take(), None);
}

#[tokio::test]
async fn of_an_answer_that_is_not_kept_the_end_says_why() {
    let world = World::new("RequestResponse");
    let object = web("7", 2, UID).to_string();
    let json = (CONTENT_TYPE, "application/json");
    let long = "x".repeat(MOST + 1);
    let declared = (MOST + 1).to_string();
    for (headers, answer, end, kept, why) in [
        (
            vec![json.clone(), (CONTENT_ENCODING, "gzip")],
            object.as_str(),
            Answer::Answered,
            "opaque",
            "compressed",
        ),
        (
            vec![(CONTENT_TYPE, "text/plain")],
            object.as_str(),
            Answer::Answered,
            "opaque",
            "otherType",
        ),
        (vec![json.clone()], long.as_str(), Answer::Answered, "opaque", "tooLong"),
        (
            vec![json.clone(), (CONTENT_LENGTH, declared.as_str())],
            object.as_str(),
            Answer::Answered,
            "opaque",
            "tooLong",
        ),
        (vec![json.clone()], "{\"half\"", Answer::Answered, "opaque", "malformed"),
        (
            vec![json.clone()],
            object.as_str(),
            Answer::UpstreamLost,
            "none",
            "brokeOff",
        ),
    ] {
        let (_, told) = world.call(Method::GET, WEB, &headers, answer.as_bytes(), end).await;
        let [(close, _)] = told.as_slice() else {
            panic!("{told:?}")
        };
        let body = &close["body"];
        assert_eq!(
            (&close["kind"], &body["kept"], &body["why"]),
            (&"close".into(), &kept.into(), &why.into())
        );
        assert_eq!(body["bytes"], answer.len(), "{why}");
        assert!(!close.to_string().contains("hunter2"));
    }
    let (_, told) = world.call(Method::GET, WEB, &[json], b"", Answer::Answered).await;
    assert!(told[0].0.get("body").is_none(), "there was none");
}

/// promise_8: one person's answers do not fill the memory, and what is not kept for that is said.
#[tokio::test]
async fn promise_8_an_answer_for_which_there_is_no_room_passes_and_the_record_says_so() {
    let world = World::new("RequestResponse");
    let bodies = world.station.bodies.get().unwrap();
    let subject = for_bench("al", &["dev"], Credential::GatewayToken);
    let id = subject.subject().id().as_str();
    let taken: Vec<Room> = std::iter::from_fn(|| bodies.budget.take(id, FIRST).ok()).collect();
    let told = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(
        (&told[0].0["body"]["kept"], &told[0].0["body"]["why"]),
        (&json!("none"), &json!("ownBudget"))
    );
    world.user.set("bo");
    let told = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(told[0].0["kind"], "answer", "somebody else's is kept: {told:?}");
    world.user.set("al");
    drop(taken);
    let told = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(told[0].0["kind"], "answer");
    assert_eq!(world.counted(), [("answer", "document", 2), ("answer", "ownBudget", 1)]);
}

fn piece(text: &str) -> Result<Frame<Bytes>, InboundError> {
    Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

/// What the record that opens a call says of its body, and what goes up of it where it ends.
async fn sent(world: &World, target: &str, pieces: &[&str], ends: bool) -> (Value, String) {
    let trail = world.trail(&Method::PUT, target);
    let there: Vec<_> = pieces.iter().map(|text| piece(text)).collect();
    let after = if ends {
        stream::empty().boxed()
    } else {
        stream::pending().boxed()
    };
    let body = StreamBody::new(stream::iter(there).chain(after).boxed());
    let request = Request::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap();
    let mut body = world.station.begins(&trail, request).await.into_body();
    let opened = world.station.opening(&trail, |body, parts| (body, parts)).await;
    let (record, parts) = opened.unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(parts.len(), record["parts"].as_array().map_or(0, Vec::len));
    let mut up = String::new();
    while up.len() < pieces.iter().map(|text| text.len()).sum() {
        let frame = body.frame().await.unwrap().unwrap();
        up.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    (record["body"].clone(), up)
}

/// promise_8: of a body for which there is no room, or that does not come, the record says so, and it goes up all the same.
#[tokio::test(start_paused = true)]
async fn promise_8_a_request_waits_for_no_room_and_not_for_ever() {
    let world = World::new("Request");
    let object = web("7", 2, UID).to_string();
    let (one, other) = object.split_at(100);
    let (body, up) = sent(&world, WEB, &[one, other], true).await;
    assert_eq!(
        (&body["kept"], &body["masked"], &up),
        (&json!("document"), &json!(1), &object)
    );
    let (body, up) = sent(&world, WEB, &[one], false).await;
    assert_eq!(
        (body, up.as_str()),
        (json!({"kept": "none", "type": "application/json", "why": "slow"}), one)
    );
    let long = "x".repeat(MOST + 1);
    let (body, up) = sent(&world, WEB, &[one, &long], false).await;
    assert_eq!(
        (&body["kept"], &body["why"], up.len()),
        (&json!("opaque"), &json!("tooLong"), long.len() + 100)
    );
    let (body, _) = sent(&world, "/version", &[one], true).await;
    assert_eq!(body["why"], "notAnObject");
    assert_eq!(sent(&world, WEB, &[], true).await.0, Value::Null, "there is no body");

    let bodies = world.station.bodies.get().unwrap();
    let everybody: Vec<Room> = (0..)
        .map_while(|n: u32| bodies.budget.take(&n.to_string(), FIRST).ok())
        .collect();
    assert_eq!(everybody.len(), OF_ALL / FIRST);
    let begun = tokio::time::Instant::now();
    let (body, up) = sent(&world, WEB, &[one, other], true).await;
    assert_eq!(
        (&body["kept"], &body["why"], &up),
        (&json!("none"), &json!("budget"), &object)
    );
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "nobody waited, by a clock that runs only then"
    );
    drop(everybody);
    assert!(
        world.counted().contains(&("request", "budget", 1)),
        "{:?}",
        world.counted()
    );
    assert_eq!(sent(&world, WEB, &[one, other], true).await.0["kept"], "document");
}

#[tokio::test]
async fn what_an_answer_held_and_the_ledger_has_no_room_for_is_said_in_its_end() {
    let options = Options {
        queue_bytes: 8 << 10,
        ..Options::default()
    };
    let world = World::with("RequestResponse", options);
    let labels: HashMap<String, &str> = (0..1_000).map(|n| (format!("app-{n}"), "web")).collect();
    let mut object = web("7", 2, UID);
    object["metadata"]["labels"] = json!(labels);
    assert!(object.to_string().len() > AT_ONCE, "long enough to be masked aside");
    let told = world.json(Method::GET, WEB, &object).await;
    let [(close, _)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (&close["body"]["kept"], &close["body"]["why"]),
        (&json!("none"), &json!("ledger")),
        "{close}"
    );
    assert_eq!(close["outcome"]["bytes_out"], object.to_string().len());
}

/// promise_6: a plain digest is a test of every guess at a short secret, so that it is in no record; a keyed one is in those of bodies that are not
/// secrets as a whole.
#[tokio::test]
async fn promise_6_a_plain_digest_of_a_body_is_in_no_record_and_none_of_what_is_secret() {
    let digest = async |world: &World, target: &str| {
        let told = world.json(Method::PATCH, target, &web("7", 2, UID)).await;
        let outcome = told.last().unwrap().0["outcome"].clone();
        assert!(outcome.get("body_sha256").is_none(), "{target}: {outcome}");
        outcome["body_hmac"].as_str().map(str::to_owned)
    };
    for level in ["None", "Metadata", "Request", "RequestResponse"] {
        let world = World::new(level);
        let of_web = digest(&world, WEB).await;
        assert_eq!(
            of_web.as_ref().map(String::len),
            (level != "None").then_some(64),
            "{level}"
        );
        assert_eq!(
            of_web,
            digest(&world, "/apis/apps/v1/namespaces/other/deployments/else").await
        );
        for secret in [
            "/api/v1/namespaces/shop/secrets/web",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            "/api/v1/namespaces/shop/serviceaccounts/web/token",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/web/status",
            "/apis/certificates.k8s.io/v1beta1/namespaces/shop/podcertificaterequests/web",
            "/apis/example.com/v1/namespaces/shop/secrets/web",
            "/api/v1/namespaces/shop/services/web/proxy/login",
            "/version",
            "/somewhere/else",
        ] {
            assert_eq!(digest(&world, secret).await, None, "{level} {secret}");
        }
    }
}

/// promise_6: what somebody may write into one resource tests no guess at what another one sent to another.
#[tokio::test]
async fn promise_6_digests_of_bodies_to_two_resources_do_not_compare() {
    let world = World::new("Metadata");
    let mut digests = Vec::new();
    for target in [
        WEB,
        "/apis/apps/v1/namespaces/shop/deployments/web/scale",
        "/apis/apps/v1/namespaces/shop/statefulsets/web",
        "/api/v1/namespaces/shop/configmaps/web",
        "/apis/example.com/v1/namespaces/shop/deployments/web",
    ] {
        let told = world.json(Method::PATCH, target, &web("7", 2, UID)).await;
        digests.push(
            told.last().unwrap().0["outcome"]["body_hmac"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let all = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all, "the same body has one digest in each");
}

/// promise_6: digests of two clusters, and of two keys, do not compare.
#[test]
fn promise_6_a_digest_is_of_its_cluster_and_its_key() {
    let target = Target::parse(WEB.as_bytes()).unwrap();
    let wire = Wire {
        method: "PUT",
        wants_upgrade: false,
        impersonates: false,
    };
    let of = |cluster: &str| Of {
        cluster: ClusterId::new(cluster).unwrap(),
        facts: RequestFacts::classify(&target, wire).unwrap(),
        omit_managed: false,
    };
    let form = Form {
        media: Some("application/json".to_owned()),
        encoding: None,
    };
    let object = web("7", 2, UID).to_string();
    let document = |bodies: &Bodies, cluster| {
        let kept = bodies.mask(&of(cluster), &form, object.as_bytes(), Side::Request);
        (kept.document.unwrap().json().to_owned(), kept.seen.key.unwrap())
    };
    let (bodies, others) = (Bodies::new([1; 32]), Bodies::new([2; 32]));
    let one = document(&bodies, "a");
    assert_eq!(one, document(&bodies, "a"));
    assert_ne!(one.0, document(&bodies, "b").0);
    assert_ne!(one.0, document(&others, "a").0);
    assert_ne!(one.1, document(&others, "a").1, "and the key's name says so");
    assert!(!one.1.contains(&hex::encode([1; 4])) && one.1.len() == 16);
}

fn keys_of(record: &Value) -> Vec<&str> {
    let parts = record["parts"].as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().map(|part| part["key"].as_str().unwrap()).collect()
}

/// What comes after an erasure is no part of it: it is sealed under a new key, and is there. Else it would be gone with the one that was erased,
/// and a record that was written before would say so.
#[tokio::test]
async fn an_answer_on_its_way_while_its_keys_are_erased_is_sealed_under_new_ones() {
    let json = [(CONTENT_TYPE, "application/json")];
    let labels: HashMap<String, &str> = (0..300).map(|n| (format!("app-{n}"), "web")).collect();
    for is_long in [false, true] {
        let world = World::new("RequestResponse");
        let object = |version: &str, replicas| {
            let mut object = web(version, replicas, UID);
            if is_long {
                object["metadata"]["labels"] = json!(labels);
            }
            object.to_string()
        };
        assert_eq!(object("7", 2).len() > AT_ONCE, is_long);
        let (_, seen, end) = world.begun(Method::GET, WEB, &json).await;
        world
            .comes(&seen, end, object("7", 2).as_bytes(), Answer::Answered)
            .await;
        let (_, trail, end) = world.begun(Method::PATCH, WEB, &json).await;
        world.erases(Some(2));
        world
            .comes(&trail, end, object("8", 3).as_bytes(), Answer::Answered)
            .await;
        let records = world.told_of(&trail);
        let (held, parts) = &records[0];
        assert_eq!(
            (&held["kind"], &held["diff"]),
            (&json!("answer"), &json!({"why": "unknownBefore"})),
            "what was shown before is erased, and is not told again as what was changed: {held}"
        );
        assert_eq!(
            keys_of(held),
            ["k2"],
            "what came before is gone, and this came behind it"
        );
        assert!(!parts.contains_key("diff"), "{parts:?}");
        assert_eq!(parts["answer"]["spec"]["replicas"], 3);
        assert!(
            records[1].0.get("body").is_none(),
            "the end has nothing to say of it: {records:?}"
        );
        assert_eq!(keys_of(&world.told_of(&seen)[0].0), ["k1"]);
        assert_eq!(world.counted(), [("answer", "document", 2)]);
    }
}

/// promise_5: the attack waits for the next change of an object, whose record says what it was before.
#[tokio::test]
async fn promise_5_what_was_erased_comes_back_by_no_later_change_wherever_it_falls() {
    let json = [(CONTENT_TYPE, "application/json")];
    for erased_at in ["before the call", "during the answer", "between comparison and record"] {
        let world = World::new("RequestResponse");
        for user in ["al", "bo"] {
            world.user.set(user);
            let (_, seen, end) = world.begun(Method::GET, WEB, &json).await;
            world
                .comes(&seen, end, web("7", 2, UID).to_string().as_bytes(), Answer::Answered)
                .await;
        }
        world.user.set("al");
        if erased_at == "before the call" {
            world.erases(Some(2));
        }
        let (_, trail, mut end) = world.begun(Method::PATCH, WEB, &json).await;
        if erased_at == "during the answer" {
            world.erases(Some(2));
        }
        end.passed(web("8", 3, UID).to_string().as_bytes());
        if erased_at == "between comparison and record" {
            end.settle_and(Answer::Answered, || world.erases(Some(2))).await;
        } else {
            end.settle(Answer::Answered, None);
        }
        world.station.ends_written().await;
        let records = world.told_of(&trail);
        let (held, parts) = &records[0];
        assert_eq!(
            held["diff"],
            json!({"why": "unknownBefore"}),
            "erased {erased_at}: {held}"
        );
        assert_eq!((keys_of(held), parts.get("diff")), (vec!["k2"], None), "{held}");
        // What passes from then on is compared, and so is what passed to others.
        let own = match erased_at {
            "between comparison and record" => Value::Null,
            _ => json!("8"),
        };
        for (user, since) in [("al", own), ("bo", json!("7"))] {
            world.user.set(user);
            let (_, trail, end) = world.begun(Method::PATCH, WEB, &json).await;
            world
                .comes(&trail, end, web("9", 4, UID).to_string().as_bytes(), Answer::Answered)
                .await;
            assert_eq!(
                world.told_of(&trail)[0].0["diff"]["since"],
                since,
                "{user}, erased {erased_at}"
            );
        }
    }
}

/// What cannot be sealed any more is not written, and that is said; under an erased key it would be called erased.
#[tokio::test]
async fn an_answer_for_which_there_are_no_new_keys_is_said_to_be_missing() {
    let world = World::new("RequestResponse");
    let (_, trail, end) = world
        .begun(Method::GET, WEB, &[(CONTENT_TYPE, "application/json")])
        .await;
    world.erases(None);
    let object = web("7", 2, UID).to_string();
    world.comes(&trail, end, object.as_bytes(), Answer::Answered).await;
    let told = world.told_of(&trail);
    let [(close, _)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        close["body"],
        json!({"kept": "none", "type": "application/json", "why": "noKey", "bytes": object.len()})
    );
    assert_eq!(close["outcome"]["end"], "answered");
    assert_eq!(world.counted(), [("answer", "noKey", 1)]);
}

/// Hands out its keys, and has an erasure come between the first and the second of them.
#[derive(Debug)]
struct Interrupted {
    keys: Generations,
    asked: AtomicU32,
    station: OnceLock<Weak<Station>>,
}

impl PartKeys for Interrupted {
    fn key(&self, subject: &SubjectId, class: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 1 {
            *self.keys.0.lock().unwrap() = Some(2);
            self.station.get().unwrap().upgrade().unwrap().forget_part_keys();
        }
        self.keys.key(subject, class)
    }

    fn acts_through(&self, _: &SubjectId, _: &str, _: &str) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn what_lies_beside_a_first_record_is_sealed_under_keys_that_were_in_use_when_it_was_written() {
    let mut world = World::new("RequestResponse");
    let keys = Arc::new(Interrupted {
        keys: Generations(Mutex::new(Some(1))),
        asked: AtomicU32::default(),
        station: OnceLock::new(),
    });
    let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
    let (of_parts, ledger) = (Arc::clone(&keys) as Arc<dyn PartKeys>, Arc::clone(&world.ledger));
    world.station = Station::keeping_parts(ledger, clock, "boot".into(), Budgets::default(), of_parts);
    keys.station.set(Arc::downgrade(&world.station)).unwrap();
    let like = world.trail(&Method::GET, &format!("{WEB}?labelSelector=app%3Dshop"));
    let headers = HeaderMap::from_iter([(
        http::header::USER_AGENT,
        HeaderValue::from_static("kubectl/v1.36.3 on behalf of: somebody@example.com"),
    )]);
    let now = world.station.clock().read();
    let mut trail = Trail::new(now, like.peer.clone(), "HTTP/1.1", Method::GET, &headers);
    trail.facts.clone_from(&like.facts);
    trail.target.clone_from(&like.target);
    trail.cluster.clone_from(&like.cluster);
    trail.identity.clone_from(&like.identity);
    let opened = world.station.opening(&trail, |body, parts| (body, parts)).await;
    let (record, parts) = opened.unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert!(parts.len() >= 2, "{record}");
    assert!(keys_of(&record).iter().all(|key| *key == "k2"), "{record}");
}

/// promise_8: whoever holds all the room that can be had, in bodies that do not end and answers that nobody takes, holds it alone. Nobody else waits,
/// and everybody else's calls are kept.
#[tokio::test(start_paused = true)]
async fn promise_8_bodies_of_a_few_people_leave_everybody_else_s_kept() {
    let world = World::new("RequestResponse");
    let bodies = Arc::clone(world.station.bodies.get().unwrap());
    let whole = web("7", 2, UID).to_string();
    let hogs = [
        "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11", "h12",
    ];
    let mut held = Vec::new();
    for hog in hogs {
        world.user.set(hog);
        // Answers: as much as is copied of one, and no end.
        for _ in 0..200 {
            let (_, trail, mut end) = world
                .begun(Method::GET, WEB, &[(CONTENT_TYPE, "application/json")])
                .await;
            end.passed(&vec![b'['; MOST]);
            held.push((trail, end));
        }
    }
    let of_hogs = bodies.budget.take("one more", FIRST);
    assert!(of_hogs.is_ok(), "somebody's first part is left");
    drop(of_hogs);
    for number in 0..40 {
        let user: &'static str = Box::leak(format!("user-{number}").into_boxed_str());
        world.user.set(user);
        let told = world.json(Method::PATCH, WEB, &web("9", 3, UID)).await;
        assert_eq!(told[0].0["kind"], "answer", "{user}: {told:?}");
        assert_eq!(sent(&world, WEB, &[&whole], true).await.0["kept"], "document", "{user}");
    }
    let refused = world
        .counted()
        .into_iter()
        .filter(|(_, fate, _)| fate.ends_with("udget"));
    assert_eq!(refused.clone().count(), 0, "those of the hogs have not ended");
    drop(held);
    let counted = world.counted();
    assert!(
        counted
            .iter()
            .any(|(side, fate, _)| (*side, *fate) == ("answer", "ownBudget")),
        "{counted:?}"
    );
    assert!(!counted.iter().any(|(_, fate, _)| *fate == "budget"), "{counted:?}");
}

/// promise_8: what a long body is taken apart to takes many times its room, so that only so many are at a time. The others wait, and are kept.
#[test]
fn promise_8_long_bodies_are_masked_a_few_at_a_time() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new("RequestResponse");
        let bodies = Arc::clone(world.station.bodies.get().unwrap());
        let all: Vec<Turn> = stream::iter(0..at_a_time())
            .then(|_| bodies.turn("others"))
            .collect()
            .await;
        let mut object = web("7", 2, UID);
        object["metadata"]["labels"] = (0..300).map(|n| (format!("app-{n}"), json!("web"))).collect();
        let object = object.to_string();
        let pieces = [object.as_str()];
        let mut asked = Box::pin(sent(&world, WEB, &pieces, true));
        let (_, trail, end) = world
            .begun(Method::GET, WEB, &[(CONTENT_TYPE, "application/json")])
            .await;
        let mut answered = Box::pin(world.comes(&trail, end, object.as_bytes(), Answer::Answered));
        for _ in 0..3 {
            assert!(futures::poll!(&mut asked).is_pending() && futures::poll!(&mut answered).is_pending());
            // On the only thread that masks: whatever had begun there is done when this is.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(all);
        assert_eq!(asked.await.0["kept"], "document");
        answered.await;
        assert_eq!(world.told_of(&trail)[0].0["kind"], "answer");
    });
}
