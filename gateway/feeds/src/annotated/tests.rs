//! What is gathered, and the watch against an API server in memory.

use std::convert::Infallible;
use std::sync::Mutex;

use access::rule::ANNOTATIONS;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use kube::client::Body;
use model::cluster::ClusterId;
use model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn object(name: &str, annotations: &Value, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service", "spec": spec,
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "2026-11-01T10:00:00Z", "annotations": annotations,
                     "labels": {"exposure": "internal"}},
    }))
    .unwrap()
}

fn web() -> Value {
    json!({"ports": [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}, {"port": 9100, "protocol": "TCP"}]})
}

fn collected() -> Collected {
    Collected::new(ClusterId::new("prod").unwrap(), "shop".to_owned())
}

fn listed(objects: Vec<DynamicObject>) -> Collected {
    let mut collected = collected();
    collected.apply(Event::Init);
    objects
        .into_iter()
        .for_each(|object| collected.apply(Event::InitApply(object)));
    collected.apply(Event::InitDone);
    collected
}

fn names(known: &Annotated) -> Vec<&str> {
    known.services.iter().map(|service| service.name.as_str()).collect()
}

#[test]
fn a_service_is_known_by_its_annotations_its_age_and_its_tcp_ports() {
    let annotations =
        json!({"gatescribe.dev/host": "web.example.com", "other.dev/host": "x", "prometheus.io/port": "1"});
    let known = listed(vec![object("web", &annotations, &web())]).news().unwrap();
    let expected = AnnotatedService {
        cluster: ClusterId::new("prod").unwrap(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        created: Timestamp::parse("2026-11-01T10:00:00Z").unwrap(),
        labels: [("exposure".to_owned(), "internal".to_owned())].into(),
        annotations: [("host".to_owned(), "web.example.com".to_owned())].into(),
        ports: vec![(80, Some("http".to_owned())), (9100, None)],
    };
    assert_eq!(&*known.services, [expected]);
    assert!(known.is_known && known.trouble.is_none());
}

#[test]
fn who_bears_no_annotation_of_ours_is_no_news_and_who_loses_it_is_gone() {
    let host = json!({"gatescribe.dev/host": "web.example.com"});
    let mut collected = listed(vec![
        object("web", &host, &web()),
        object("db", &json!({"a": "b"}), &web()),
    ]);
    assert_eq!(names(&collected.news().unwrap()), ["web"]);
    collected.apply(Event::Apply(object("db", &json!(null), &web())));
    collected.apply(Event::Delete(object("db", &json!(null), &web())));
    assert_eq!(collected.news(), None);
    collected.apply(Event::Apply(object("web", &json!({"a": "b"}), &web())));
    assert_eq!(names(&collected.news().unwrap()), [""; 0]);
    collected.apply(Event::Apply(object("web", &host, &web())));
    collected.apply(Event::Delete(object("web", &host, &web())));
    assert_eq!(names(&collected.news().unwrap()), [""; 0]);
}

#[test]
fn what_was_known_counts_while_the_cluster_is_silent_and_a_listing_under_way_hides_nothing() {
    let host = json!({"gatescribe.dev/host": "web.example.com"});
    let mut collected = listed(vec![object("web", &host, &web())]);
    collected.failed(false, "connection refused");
    let silent = collected.news().unwrap();
    assert_eq!(names(&silent), ["web"]);
    assert_eq!(
        silent.trouble.as_deref(),
        Some("the cluster does not say its `services`: connection refused; what was last known counts")
    );
    collected.apply(Event::Init);
    assert_eq!(collected.news(), None, "that a listing begins is no sign of life");
    collected.apply(Event::InitApply(object("other", &host, &web())));
    let listing = collected.news().unwrap();
    assert_eq!((names(&listing), listing.trouble.as_deref()), (vec!["web"], None));
    collected.apply(Event::InitDone);
    assert_eq!(names(&collected.news().unwrap()), ["other"]);
}

#[test]
fn what_is_kept_of_a_tenant_is_bounded_and_a_text_that_is_too_long_is_taken_for_no_other() {
    let long = format!("/{}", "a".repeat(100_000));
    let mut many = serde_json::Map::new();
    for number in 0..100 {
        many.insert(format!("gatescribe.dev/x{number}"), json!(long));
    }
    let ports: Vec<_> = (1..1_000).map(|port| json!({"port": port})).collect();
    let known = listed(vec![object("web", &json!(many), &json!({"ports": ports}))])
        .news()
        .unwrap();
    let service = &known.services[0];
    assert_eq!((service.annotations.len(), service.ports.len()), (8, 64));
    for value in service.annotations.values() {
        assert!(value.chars().count() == 513 && value.ends_with('…'), "{value}");
    }
    let host = json!({"gatescribe.dev/host": "web.example.com"});
    let crowd = (0..1_030).map(|number| object(&format!("s{number:04}"), &host, &web()));
    let mut crowd = listed(crowd.collect());
    let known = crowd.news().unwrap();
    assert_eq!(known.services.len(), 1_024);
    assert_eq!(
        known.trouble.as_deref(),
        Some("more than 1024 Services of namespace `shop` are annotated, and not all of them are looked at")
    );
    crowd.apply(Event::Apply(object(
        "s0001",
        &json!({"gatescribe.dev/host": "other"}),
        &web(),
    )));
    let known = crowd.news().unwrap();
    assert_eq!(
        known.services[1].annotations["host"], "other",
        "one that is kept can change"
    );
}

proptest! {
    /// Whatever an API server says of a Service, it is read without harm, and within the bounds.
    #[test]
    fn a_service_of_any_shape_is_read_within_the_bounds(
        annotations in prop::collection::btree_map("(gatescribe\\.dev/)?[a-z]{0,4}", ".{0,600}", 0..12),
        ports in prop::collection::vec((any::<i64>(), "(TCP|UDP|)"), 0..70),
        odd in prop::option::of(prop::sample::select(vec![json!(1), json!("x"), json!([]), json!({"ports": {}}), json!(null)])),
    ) {
        let ports: Vec<_> = ports.iter().map(|(port, protocol)| json!({"port": port, "protocol": protocol})).collect();
        let spec = odd.unwrap_or_else(|| json!({"ports": ports}));
        let known = listed(vec![object("web", &json!(annotations), &spec)]).news().unwrap();
        let ours = annotations.keys().any(|key| key.starts_with(ANNOTATIONS));
        prop_assert_eq!(known.services.len(), usize::from(ours));
        for service in known.services.iter() {
            prop_assert!(service.annotations.len() <= 8 && service.ports.len() <= 64);
            prop_assert!(service.annotations.values().all(|value| value.chars().count() <= 513));
        }
    }
}

/// Answers lists with what was set, and a watch with its end a second later.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hosts: Vec<&'static str>,
    status: Option<StatusCode>,
    asked: Vec<String>,
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> Response<Full<bytes::Bytes>> {
        let mut state = self.0.lock().unwrap();
        let uri = request.uri().to_string();
        let is_watch = uri.contains("watch=true");
        state.asked.push(uri);
        if let Some(status) = state.status {
            let body = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "no", "reason": "no",
                "code": status.as_u16()});
            return Response::builder()
                .status(status)
                .body(body.to_string().into())
                .unwrap();
        }
        let items = state.hosts.iter().enumerate().map(|(at, host)| {
            json!({"metadata": {"name": format!("web-{at}"), "namespace": "shop", "annotations": {"gatescribe.dev/host": host}},
                "spec": {"ports": [{"port": 80}]}})
        });
        let items: Vec<Value> = items.collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
        // 410 has what was watched listed anew.
        let gone = json!({"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": "too old", "reason": "Expired", "code": 410}});
        Response::new(if is_watch { gone } else { list }.to_string().into())
    }

    fn client(&self, pulse: Pulse) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(server.answer(&request))
            }
        });
        observer::listening(service, pulse)
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_watched_and_no_other_until_nobody_listens() {
    let server = Server::default();
    server.0.lock().unwrap().hosts = vec!["a.example"];
    let (says, mut heard) = channel();
    let watching = {
        let server = server.clone();
        tokio::spawn(observe_with(move |pulse| server.client(pulse), collected(), says))
    };
    heard.wait_for(|known| known.services.len() == 1).await.unwrap();
    server.0.lock().unwrap().hosts = vec!["a.example", "b.example"];
    heard.wait_for(|known| known.services.len() == 2).await.unwrap();
    // Silence keeps what is known and says so; the next word ends it.
    server.0.lock().unwrap().status = Some(StatusCode::SERVICE_UNAVAILABLE);
    let silent = heard.wait_for(|known| known.trouble.is_some()).await.unwrap().clone();
    assert_eq!(silent.services.len(), 2);
    server.0.lock().unwrap().status = None;
    heard.wait_for(|known| known.trouble.is_none()).await.unwrap();
    server.0.lock().unwrap().status = Some(StatusCode::FORBIDDEN);
    let told = heard.wait_for(|known| known.trouble.is_some()).await.unwrap().clone();
    assert_eq!(
        told.trouble.as_deref(),
        Some(
            "the observer may not list `services` there: apply deploy/kubernetes/observer-services.yaml; what was last known counts"
        )
    );
    for asked in &server.0.lock().unwrap().asked {
        assert!(asked.starts_with("/api/v1/namespaces/shop/services?"), "{asked}");
    }
    drop(heard);
    watching.await.unwrap();
}
