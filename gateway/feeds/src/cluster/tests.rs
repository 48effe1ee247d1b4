//! The watches against an API server in memory: what counts as a sign of life of which kind.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use model::time::Timestamp;

use super::*;

/// Answers every list with nothing and every watch with its end, or with the status that was set for the resource.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    status: BTreeMap<String, StatusCode>,
    asked: BTreeMap<String, u32>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Server {
    fn says(&self, plural: &str, status: StatusCode) {
        self.0.lock().unwrap().status.insert(plural.to_owned(), status);
    }

    fn answer(&self, request: &Request<Body>) -> Answer {
        let mut answers = self.0.lock().unwrap();
        let plural = request.uri().path().rsplit('/').next().unwrap().to_owned();
        *answers.asked.entry(plural.clone()).or_default() += 1;
        let status = answers.status.get(&plural).copied().unwrap_or(StatusCode::OK);
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let body = match status {
            StatusCode::OK if watches => Empty::new().boxed_unsync(),
            StatusCode::OK => full(
                serde_json::json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [] }),
            ),
            _ => full(
                serde_json::json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": "no", "reason": "no", "code": status.as_u16() }),
            ),
        };
        Response::builder().status(status).body(body).unwrap()
    }

    fn client(&self, pulse: Pulse) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(
            move |request: Request<Body>| -> BoxFuture<'static, Result<Answer, Infallible>> {
                let server = server.clone();
                Box::pin(async move {
                    // A round trip: without one, watches that end at once would leave no time to anybody.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(server.answer(&request))
                })
            },
        );
        observer::listening(service, pulse)
    }

    async fn is_asked_again(&self, plural: &str) {
        let count = || self.0.lock().unwrap().asked.get(plural).copied().unwrap_or_default();
        let before = count();
        while count() < before + 2 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn full(value: Value) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(value.to_string())).boxed_unsync()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_refused_makes_the_cluster_old_although_the_others_speak() {
    let server = Server::default();
    let now = Arc::new(Mutex::new(seconds(1_000)));
    let clock = Arc::clone(&now);
    let heard = Heard::new(Arc::new(move || *clock.lock().unwrap()));
    let (views, mut view) = channel(ClusterId::new("c").unwrap());
    // A cluster without our own kinds has spoken of them by saying so.
    server.says("accessrules", StatusCode::NOT_FOUND);
    server.says("clusteraccessrules", StatusCode::NOT_FOUND);
    let client = {
        let server = server.clone();
        move |pulse| server.client(pulse)
    };
    tokio::spawn(observe_with(client, heard.clone(), views));
    view.wait_for(|view| view.complete).await.unwrap();
    assert_eq!(heard.last(), seconds(1_000));

    for refused in [
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::NOT_FOUND,
    ] {
        server.says("roles", refused);
        server.is_asked_again("roles").await;
        let before = *now.lock().unwrap();
        *now.lock().unwrap() = before.plus(Duration::from_secs(91));
        for plural in ["roles", "clusterrolebindings", "namespaces", "accessrules"] {
            server.is_asked_again(plural).await;
        }
        assert_eq!(heard.last(), before, "{refused}");
        server.says("roles", StatusCode::OK);
        server.is_asked_again("roles").await;
        assert_eq!(
            heard.last(),
            before.plus(Duration::from_secs(91)),
            "heard again after {refused}"
        );
    }
}
