//! The look-alike over its router, without a socket: watches, pages, identities, bodies.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use model::time::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

struct Bench {
    cluster: Arc<Cluster>,
    router: Router,
}

/// A watch that is being read.
struct Events(axum::body::BodyDataStream);

impl Events {
    async fn next(&mut self) -> Option<Value> {
        let bytes = self.0.next().await?.unwrap();
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// The kind and name of the next event.
    async fn named(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

impl Bench {
    fn new() -> Self {
        let credentials = Credentials {
            impersonator: "one".to_owned(),
            observer: "two".to_owned(),
        };
        let mut options = Options::on("127.0.0.1:0".parse().unwrap(), credentials);
        options.clock = Arc::new(|| Timestamp::from_unix_seconds(1_795_000_000));
        let cluster = Cluster::new(options);
        Self {
            router: serve::router(Arc::clone(&cluster)),
            cluster,
        }
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> http::Response<Body> {
        self.router
            .clone()
            .oneshot(request.body(body.into()).unwrap())
            .await
            .unwrap()
    }

    /// A call as bob of group sre, who may do everything.
    async fn call(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = as_group(method, path, "sre").header("content-type", kind);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        read(self.send(request, body).await).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn config_map(&self, name: &str, labels: Value) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}});
        let (status, body) = self.call("POST", "/api/v1/namespaces/shop/configmaps", &object).await;
        assert_eq!(status, 201, "{body}");
    }

    async fn revision(&self) -> String {
        self.get("/api/v1/namespaces/shop/configmaps").await["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn watch(&self, query: &str) -> Events {
        let path = format!("/api/v1/namespaces/shop/configmaps?watch=true&{query}");
        let response = self.send(as_group("GET", &path, "sre"), "").await;
        assert_eq!(response.status(), 200);
        Events(response.into_body().into_data_stream())
    }
}

fn as_group(method: &str, path: &str, group: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Bearer one")
        .header("impersonate-user", "someone")
        .header("impersonate-group", group)
}

async fn read(response: http::Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_resumes_exactly_after_its_version() {
    let bench = Bench::new();
    bench.config_map("a", json!({})).await;
    let revision = bench.revision().await;
    bench.config_map("b", json!({})).await;
    bench
        .call("DELETE", "/api/v1/namespaces/shop/configmaps/a", &Value::Null)
        .await;
    let mut events = bench.watch(&format!("resourceVersion={revision}")).await;
    assert_eq!(events.named().await, event("ADDED", "b"));
    assert_eq!(events.named().await, event("DELETED", "a"));
    bench.config_map("c", json!({})).await;
    assert_eq!(events.named().await, event("ADDED", "c"));
}

#[tokio::test]
async fn a_selected_watch_sees_objects_come_into_view_and_leave_it() {
    let bench = Bench::new();
    let revision = bench.revision().await;
    let mut events = bench
        .watch(&format!("resourceVersion={revision}&labelSelector=app%3Dx"))
        .await;
    bench.config_map("a", json!({})).await;
    let label = |value: Value| json!({"metadata": {"labels": {"app": value}}});
    let path = "/api/v1/namespaces/shop/configmaps/a";
    bench.call("PATCH", path, &label(json!("x"))).await;
    assert_eq!(events.named().await, event("ADDED", "a"));
    bench.call("PATCH", path, &label(json!("y"))).await;
    assert_eq!(events.named().await, event("DELETED", "a"));
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_ends_with_410() {
    let bench = Bench::new();
    bench.config_map("a", json!({})).await;
    let first = bench.revision().await;
    let key = store::Key::new(kinds::KindId::by_plural("", "configmaps").unwrap(), "shop", "a");
    for number in 0..=store::CHANGES {
        let write = |world: &mut store::World| {
            world.put(
                key.clone(),
                json!({"metadata": {"name": "a"}, "data": {"n": number.to_string()}}),
            )
        };
        bench
            .cluster
            .store
            .write(store::Effect::Kept, Timestamp::EPOCH, write)
            .unwrap();
    }
    let old: u64 = first.parse::<u64>().unwrap() - 1;
    let mut events = bench.watch(&format!("resourceVersion={old}")).await;
    let error = events.next().await.unwrap();
    assert_eq!(
        (error["type"].as_str(), error["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let bench = Bench::new();
    let query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut events = bench.watch(query).await;
    assert_eq!(events.named().await, event("ADDED", "kube-root-ca.crt"));
    assert_eq!(events.named().await, event("ADDED", "web-settings"));
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(mark["object"]["kind"], "ConfigMap");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_the_timeout_ends_the_watch() {
    let bench = Bench::new();
    let revision = bench.revision().await;
    let query = format!("resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=150");
    let mut events = bench.watch(&query).await;
    let start = tokio::time::Instant::now();
    for minute in 1..=2 {
        let bookmark = events.next().await.unwrap();
        assert_eq!(
            (bookmark["type"].as_str(), start.elapsed()),
            (Some("BOOKMARK"), Duration::from_secs(60 * minute))
        );
        assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], revision);
    }
    assert!(events.next().await.is_none());
    assert_eq!(start.elapsed(), Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_has_new_lines_until_its_pod_is_gone() {
    let bench = Bench::new();
    let path = "/api/v1/namespaces/payments/pods/web-0/log?follow=true&tailLines=2";
    let mut lines = bench
        .send(as_group("GET", path, "sre"), "")
        .await
        .into_body()
        .into_data_stream();
    let past = lines.next().await.unwrap().unwrap();
    assert_eq!(past.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(
        lines
            .next()
            .await
            .unwrap()
            .unwrap()
            .starts_with(b"level=info component=web ")
    );
    bench
        .call("DELETE", "/api/v1/namespaces/payments/pods/web-0", &Value::Null)
        .await;
    // The stateful set makes it again under the same name, so the log goes on; without the set it ends.
    assert!(lines.next().await.is_some());
    bench
        .call(
            "DELETE",
            "/apis/apps/v1/namespaces/payments/statefulsets/web",
            &Value::Null,
        )
        .await;
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn pages_of_one_list_agree_although_the_world_moves_on() {
    let bench = Bench::new();
    let all = bench.get("/api/v1/pods").await;
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = bench.get(&format!("/api/v1/pods?limit=10&continue={next}")).await;
        assert_eq!(page["metadata"]["resourceVersion"], all["metadata"]["resourceVersion"]);
        seen.extend(page["items"].as_array().unwrap().clone());
        bench
            .call("DELETE", "/api/v1/namespaces/payments/pods/web-1", &Value::Null)
            .await;
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(Value::from(seen), all["items"]);
}

#[tokio::test]
async fn the_impersonator_can_do_nothing_by_itself_and_the_observer_sees_no_secrets() {
    let bench = Bench::new();
    let plain = |path: &str, token: &str| Request::get(path).header("authorization", format!("Bearer {token}"));
    let cases = [
        ("/api/v1/pods", "one", 403),
        ("/api/v1/pods", "two", 200),
        ("/api/v1/secrets", "two", 403),
        ("/api/v1/pods", "three", 401),
    ];
    for (path, token, expected) in cases {
        assert_eq!(
            bench.send(plain(path, token), "").await.status(),
            expected,
            "{path} {token}"
        );
    }
    let observer = plain("/api/v1/pods", "two")
        .header("impersonate-user", "bob")
        .header("impersonate-group", "sre");
    assert_eq!(bench.send(observer, "").await.status(), 403);
}

#[tokio::test]
async fn a_refusal_says_who_what_and_where_in_kubernetes_words() {
    let bench = Bench::new();
    let request = as_group("GET", "/api/v1/namespaces/payments/secrets/bank-credentials", "dev");
    let (status, body) = read(bench.send(request, "").await).await;
    assert_eq!(status, 403);
    assert_eq!(
        body["message"],
        "secrets \"bank-credentials\" is forbidden: User \"someone\" cannot get resource \"secrets\" in API group \"\" in the namespace \"payments\""
    );
}

#[tokio::test]
async fn the_audit_id_is_echoed_or_made() {
    let bench = Bench::new();
    let given = bench
        .send(as_group("GET", "/version", "dev").header("audit-id", "mine"), "")
        .await;
    assert_eq!(given.headers()["audit-id"], "mine");
    let made = bench.send(as_group("GET", "/version", "dev"), "").await;
    assert_eq!(made.headers()["audit-id"].len(), 36);
}

#[tokio::test]
async fn what_is_not_in_the_demo_says_so() {
    let bench = Bench::new();
    for (method, path, expected) in [
        ("GET", "/apis/batch/v1/jobs", 404),
        ("GET", "/nowhere", 404),
        ("POST", "/api/v1/namespaces/payments/pods/web-0/exec?command=id", 501),
        ("GET", "/api/v1/namespaces/payments/pods/web-0/portforward", 501),
        ("POST", "/api/v1/namespaces/payments/pods/web-0/eviction", 501),
        ("DELETE", "/version", 405),
        ("GET", "/openapi/v2", 501),
    ] {
        let (status, body) = bench.call(method, path, &Value::Null).await;
        assert_eq!(status.as_u16(), expected, "{path} {body}");
        assert!(body["message"].as_str().unwrap().contains("not in the demo"), "{body}");
    }
    let apply = as_group("PATCH", "/api/v1/namespaces/shop/configmaps/a", "sre")
        .header("content-type", "application/apply-patch+yaml");
    let (status, body) = read(bench.send(apply, "{}").await).await;
    assert_eq!(status, 415);
    assert_eq!(
        body["message"],
        "server-side apply is not in the demo; use `kubectl apply` without --server-side"
    );
}

#[tokio::test]
async fn a_body_over_three_mebibytes_is_refused() {
    let bench = Bench::new();
    let request = as_group("POST", "/api/v1/namespaces/shop/configmaps", "sre");
    let (status, _) = read(bench.send(request, vec![b' '; 3 * 1024 * 1024 + 1]).await).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let bench = Bench::new();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dry"}});
    let (status, made) = bench
        .call("POST", "/api/v1/namespaces/shop/configmaps?dryRun=All", &object)
        .await;
    assert_eq!((status.as_u16(), made["metadata"]["name"].as_str()), (201, Some("dry")));
    let (status, _) = bench
        .call("GET", "/api/v1/namespaces/shop/configmaps/dry", &Value::Null)
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_deletion_that_says_in_its_body_that_it_is_none_deletes_nothing() {
    let bench = Bench::new();
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]});
    let path = "/api/v1/namespaces/shop/configmaps/web-settings";
    let (status, _) = bench.call("DELETE", path, &options).await;
    assert_eq!(status, 200);
    let (status, _) = bench.call("GET", path, &Value::Null).await;
    assert_eq!(status, 200);
    let other = json!({"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["Some"]});
    assert_eq!(bench.call("DELETE", path, &other).await.0, 400);
}

#[tokio::test]
async fn more_watches_than_there_are_places_are_refused_and_ended_ones_give_theirs_back() {
    let bench = Bench::new();
    let mut held = Vec::new();
    for _ in 0..watch::WATCHERS {
        held.push(bench.watch("").await);
    }
    let (status, _) = bench.call("GET", "/api/v1/pods?watch=true", &Value::Null).await;
    assert_eq!(status, 429);
    held.pop();
    bench.watch("").await;
}

#[tokio::test]
async fn openapi_answers_not_modified_for_a_known_tag() {
    let bench = Bench::new();
    let first = bench.send(as_group("GET", "/openapi/v3/api/v1", "dev"), "").await;
    let tag = first.headers()["etag"].clone();
    let second = bench
        .send(
            as_group("GET", "/openapi/v3/api/v1", "dev").header("if-none-match", tag),
            "",
        )
        .await;
    assert_eq!(second.status(), 304);
}

#[tokio::test]
async fn partial_metadata_and_tables_are_negotiated_and_protobuf_alone_is_refused() {
    let bench = Bench::new();
    let ask = async |accept: &str| {
        read(
            bench
                .send(as_group("GET", "/api/v1/pods", "dev").header("accept", accept), "")
                .await,
        )
        .await
    };
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .await
        .1;
    assert_eq!(
        (table["kind"].as_str(), table["rows"].as_array().map(Vec::len)),
        (Some("Table"), Some(PODS))
    );
    let partial = ask("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        .await
        .1;
    assert_eq!(
        (partial["kind"].as_str(), partial["items"][0].get("spec")),
        (Some("PartialObjectMetadataList"), None)
    );
    let plain = ask("application/vnd.kubernetes.protobuf,application/json").await.1;
    assert_eq!(plain["kind"], "PodList");
    assert_eq!(ask("application/vnd.kubernetes.protobuf").await.0, 415);
}

#[tokio::test]
async fn reviews_answer_for_oneself_and_for_others() {
    let bench = Bench::new();
    let sar = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "alice", "groups": ["dev"], "resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "shop"}}});
    let request =
        || Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews").header("authorization", "Bearer two");
    let (status, answer) = read(bench.send(request(), sar.to_string()).await).await;
    assert_eq!(
        (status.as_u16(), answer["status"]["allowed"].as_bool()),
        (201, Some(true))
    );
    let mut elsewhere = sar;
    elsewhere["spec"]["resourceAttributes"]["namespace"] = json!("payments");
    assert_eq!(
        read(bench.send(request(), elsewhere.to_string()).await).await.1["status"]["allowed"],
        false
    );
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}});
    let request = Request::post("/apis/authentication.k8s.io/v1/tokenreviews").header("authorization", "Bearer two");
    assert_eq!(
        read(bench.send(request, token.to_string()).await).await.1["status"]["authenticated"],
        false
    );
}

#[tokio::test]
async fn the_observer_hears_that_there_are_no_access_rules_and_not_that_it_may_not_know() {
    let bench = Bench::new();
    for plural in ["accessrules", "clusteraccessrules"] {
        let path = format!("/apis/gatescribe.dev/v1/{plural}");
        let asked = |token: &str| Request::get(&path).header("authorization", format!("Bearer {token}"));
        assert_eq!(bench.send(asked("two"), "").await.status(), 404, "{plural}");
        assert_eq!(bench.send(asked("one"), "").await.status(), 403, "{plural}");
    }
}
