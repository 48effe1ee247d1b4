//! Answers on a real ledger in a folder of its own: what is kept of them, in which order, and what is said where nothing is.

use std::cell::Cell;
use std::path::Path;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use ledger::{Ledger, Options, Reader, RealDisk};
use model::event::Answer;
use model::request::{RequestFacts, Target, Wire};
use model::subject::SubjectId;
use serde_json::{Value, json};

use super::*;
use crate::audit::{AuditPolicy, Class, End, Limits as Budgets, PartKey, PartKeys, Peer, open_part};
use crate::clock::Clock;
use crate::identity::{Credential, for_bench};

#[derive(Debug)]
struct OneKey;

impl PartKeys for OneKey {
    fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        Box::pin(std::future::ready(
            key().map(Arc::new).ok_or_else(|| "no key".to_owned()),
        ))
    }
}

fn key() -> Option<PartKey> {
    PartKey::new("k", &[7; 32])
}

struct World {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    station: Arc<Station>,
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
        let (limits, keys) = (Budgets::default(), Arc::new(OneKey));
        let station = Station::keeping_parts(Arc::clone(&ledger), clock, "boot".into(), limits, keys);
        station.keeps_bodies(Bodies::new([9; 32]));
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{{level: {level}}}]\n");
        let policy = audit_policy::load(&text).unwrap().policy;
        station.set_policy(Some(Arc::new(AuditPolicy::new(policy, "d1".into()))));
        Self {
            folder,
            ledger,
            station,
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

    /// A call whose answer comes in two pieces and ends so; its records, the first apart.
    async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(HeaderName, &str)],
        answer: &[u8],
        as_it: Answer,
    ) -> (Value, Vec<Told>) {
        let trail = self.trail(&method, target);
        let (first, _) = self.station.opening(&trail).await.unwrap();
        let mut end = End::of_read(Arc::clone(&self.station), Arc::clone(&trail));
        end.pairs_with(7);
        end.digest("00".repeat(32));
        end.answered(200);
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        end.keeps_answer(StatusCode::OK, &HeaderMap::from_iter(headers));
        let (one, other) = answer.split_at(answer.len() / 2);
        end.passed(one);
        end.passed(other);
        end.settle(as_it, None);
        self.station.ends_written().await;
        self.ledger.drive();
        let told = told(self.folder.path());
        let of_it = told.into_iter().filter(|(record, _)| record["id"] == trail.id.as_str());
        (serde_json::from_slice(&first).unwrap(), of_it.collect())
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
    let key = key().unwrap();
    let records = Reader::open(folder).unwrap().records_from(0).map(Result::unwrap);
    records
        .map(|record| {
            let leaf: Value = serde_json::from_slice(&record.leaf).unwrap();
            let parts = leaf["parts"].as_array().cloned().unwrap_or_default();
            let opened = parts.iter().zip(&record.parts).map(|(part, sealed)| {
                let name = part["name"].as_str().unwrap();
                let class = Class::ALL.into_iter().find(|class| class.name() == name).unwrap();
                let commitment = part["commitment"].as_str().unwrap();
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
    let taken: Vec<Room> = std::iter::from_fn(|| bodies.budget.take(id, MOST)).collect();
    assert_eq!(taken.len(), OF_ONE / MOST);
    let told = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(
        (&told[0].0["body"]["kept"], &told[0].0["body"]["why"]),
        (&json!("none"), &json!("budget"))
    );
    assert!(bodies.budget.take("somebody else", MOST).is_some());
    drop(taken);
    let told = world.json(Method::GET, WEB, &web("7", 2, UID)).await;
    assert_eq!(told[0].0["kind"], "answer");
    assert!(bodies.budget.take("another", OF_ONE).is_some());
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
    let (record, parts) = world.station.opening(&trail).await.unwrap();
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
        .map_while(|n: u32| bodies.budget.take(&n.to_string(), OF_ONE))
        .collect();
    assert_eq!(everybody.len(), OF_ALL / OF_ONE);
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

#[tokio::test]
async fn a_plain_digest_stands_beside_no_body_that_is_kept() {
    let digests = async |level: &str| {
        let world = World::new(level);
        let told = world.json(Method::PATCH, WEB, &web("7", 2, UID)).await;
        let outcome = told.last().unwrap().0["outcome"].clone();
        (
            outcome.get("body_sha256").is_some(),
            outcome.get("body_hmac").is_some(),
            told.len(),
        )
    };
    assert_eq!(digests("None").await, (false, false, 1));
    assert_eq!(digests("Metadata").await, (true, false, 1));
    assert_eq!(digests("Request").await, (false, true, 1));
    assert_eq!(digests("RequestResponse").await, (false, true, 2));
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
