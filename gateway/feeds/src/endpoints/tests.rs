//! The watches against an API server in memory: what is asked for, and when they end.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use kube::client::Body;
use serde_json::json;

use super::*;

/// Answers lists with what was set, and a watch with its end a second later.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pods: Vec<&'static str>,
    status: Option<StatusCode>,
    asked: Vec<String>,
    /// Watches end by themselves, and nothing is listed anew.
    is_quiet: bool,
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> Response<Full<bytes::Bytes>> {
        let mut state = self.0.lock().unwrap();
        let uri = request.uri().to_string();
        let is_watch = uri.contains("watch=true");
        let is_slices = uri.contains("endpointslices");
        state.asked.push(uri);
        if let Some(status) = state.status {
            let body = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "no", "reason": "no",
                "code": status.as_u16() });
            return Response::builder()
                .status(status)
                .body(body.to_string().into())
                .unwrap();
        }
        let items = if is_slices {
            json!([{ "metadata": { "name": "a", "namespace": "shop" }, "addressType": "IPv4", "ports": [{ "name": "http", "port": 8080 }],
                "endpoints": state.pods.iter().map(|pod| json!({ "addresses": [pod] })).collect::<Vec<_>>() }])
        } else {
            json!([{ "metadata": { "name": "web", "namespace": "shop" }, "spec": { "ports": [{ "name": "http", "port": 80 }] } }])
        };
        let list =
            json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items });
        // 410 has what was watched listed anew.
        let gone = json!({ "type": "ERROR", "object": { "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": "too old", "reason": "Expired", "code": 410 } });
        if is_watch && state.is_quiet {
            return Response::new(Full::default());
        }
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

fn web() -> KubernetesService {
    let text = "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {name: web}\nspec: {hosts: [a.example], upstream: {kubernetes: \
                {cluster: c, namespace: shop, name: web, port: 80}}}\n";
    let policy = access::rule::load_files([("a.yaml", text)]).unwrap();
    match policy.services.named("web").unwrap().upstream().place() {
        access::rule::UpstreamPlace::Kubernetes(service) => service.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_and_its_slices_are_watched_and_no_others_until_nobody_listens() {
    let server = Server::default();
    server.0.lock().unwrap().pods = vec!["10.0.0.1"];
    let (says, mut heard) = channel();
    let watching = {
        let server = server.clone();
        tokio::spawn(observe_with(move |pulse| server.client(pulse), web(), says))
    };
    let known = heard.wait_for(|endpoints| endpoints.is_known).await.unwrap().clone();
    assert_eq!(known.ready, ["10.0.0.1:8080".parse().unwrap()]);
    assert_eq!(known.trouble, None);
    server.0.lock().unwrap().pods = vec!["10.0.0.1", "10.0.0.2"];
    heard.wait_for(|endpoints| endpoints.ready.len() == 2).await.unwrap();
    for asked in &server.0.lock().unwrap().asked {
        let (path, query) = asked.split_once('?').unwrap();
        let selector = match path {
            "/api/v1/namespaces/shop/services" => "fieldSelector=metadata.name%3Dweb",
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" => {
                "labelSelector=kubernetes.io%2Fservice-name%3Dweb"
            }
            other => panic!("{other}"),
        };
        assert!(query.contains(selector), "{asked}");
    }
    // Silence keeps what is known and says so; the next word ends it.
    server.0.lock().unwrap().status = Some(StatusCode::SERVICE_UNAVAILABLE);
    let silent = heard
        .wait_for(|endpoints| endpoints.trouble.is_some())
        .await
        .unwrap()
        .clone();
    assert_eq!(silent.ready.len(), 2);
    assert!(
        silent
            .trouble
            .unwrap()
            .ends_with("; the addresses that were last known count")
    );
    server.0.lock().unwrap().status = None;
    heard.wait_for(|endpoints| endpoints.trouble.is_none()).await.unwrap();
    // The same where the watch is taken up again without a word about any object.
    server.0.lock().unwrap().is_quiet = true;
    let asked = || {
        server
            .0
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|uri| uri.contains("watch=true"))
            .count()
    };
    let before = asked();
    while asked() < before + 8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.0.lock().unwrap().status = Some(StatusCode::SERVICE_UNAVAILABLE);
    heard.wait_for(|endpoints| endpoints.trouble.is_some()).await.unwrap();
    server.0.lock().unwrap().status = None;
    let listed = server
        .0
        .lock()
        .unwrap()
        .asked
        .iter()
        .filter(|uri| !uri.contains("watch=true"))
        .count();
    heard.wait_for(|endpoints| endpoints.trouble.is_none()).await.unwrap();
    assert_eq!(
        server
            .0
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|uri| !uri.contains("watch=true"))
            .count(),
        listed
    );
    drop(heard);
    watching.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_observer_without_the_right_is_said_with_the_file_that_gives_it() {
    let server = Server::default();
    server.0.lock().unwrap().status = Some(StatusCode::FORBIDDEN);
    let (says, mut heard) = channel();
    tokio::spawn(observe_with(move |pulse| server.client(pulse), web(), says));
    let said = heard.wait_for(|endpoints| endpoints.trouble.is_some()).await.unwrap();
    assert!(!said.is_known);
    assert!(
        said.trouble
            .as_ref()
            .unwrap()
            .ends_with("apply deploy/kubernetes/observer-services.yaml")
    );
}
