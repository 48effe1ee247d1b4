//! Who may ask, what is recorded before anything goes out, and what is no question.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::super::tests::{Notes, World, world};
use super::*;

/// One service, `web`, that answers each test with one step and notes whether the test was recorded before.
#[derive(Default)]
pub(in crate::api) struct OneService {
    pub(in crate::api) notes: std::sync::OnceLock<std::sync::Arc<Notes>>,
    asked: Mutex<Vec<String>>,
}

impl Published for OneService {
    fn list(&self) -> ServiceList {
        let web = json!({"name": "web"});
        ServiceList {
            services: web.as_object().cloned().into_iter().collect(),
            ..ServiceList::default()
        }
    }

    fn show(&self, name: &str) -> Option<Map<String, Value>> {
        (name == "web").then(|| json!({"name": "web"}).as_object().cloned().unwrap())
    }

    fn recordable(&self, target: &Target) -> String {
        target.path_raw().replace("b", "…")
    }

    fn test<'a>(&'a self, trial: &'a Trial) -> BoxFuture<'a, Vec<Step>> {
        let recorded = self.notes.get().map_or(0, |notes| notes.reads.lock().unwrap().len());
        let Trial {
            host,
            target,
            method,
            who,
        } = trial;
        let asked = format!("{method} {host}{} for {who:?} behind {recorded} records", target.raw());
        self.asked.lock().unwrap().push(asked);
        let step = Step {
            name: "published",
            is_well: true,
            what: "it is".to_owned(),
        };
        Box::pin(std::future::ready(vec![step]))
    }
}

async fn ask(world: &World, token: &str, body: Value) -> (StatusCode, Value) {
    let answer = world
        .ask(Method::POST, token, "/api/v1/service-test", body.to_string())
        .await;
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn members_of_an_audit_group_alone_see_where_services_are_and_it_is_recorded() {
    let world = world();
    let carol = world.bearer(&world.signed_in(3, "carol", &["auditors"]));
    let (_, listed) = world.get(&carol, "/api/v1/services").await;
    assert_eq!(
        listed,
        json!({"services": [{"name": "web"}], "unpublished": [], "refused": null})
    );
    let (_, shown) = world.get(&carol, "/api/v1/services/web").await;
    assert_eq!(shown, json!({"name": "web"}));
    let (status, _) = world.get(&carol, "/api/v1/services/other").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        world.read_sentences(),
        [
            "listed the published services: 1 shown",
            "viewed service `web`: 1 shown",
            "viewed service `other`: 0 shown"
        ]
    );
    for groups in [&[][..], &["shop-readers"], &["films-readers"]] {
        let token = world.bearer(&world.signed_in(4, "dan", groups));
        for target in ["/api/v1/services", "/api/v1/services/web"] {
            let (status, _) = world.get(&token, target).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{groups:?} {target}");
        }
        let (status, _) = ask(&world, &token, json!({"host": "web.example.com", "target": "/"})).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{groups:?}");
    }
    assert_eq!(world.services.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn promise_4_a_test_is_recorded_before_anything_goes_out_and_not_made_where_it_cannot_be() {
    let world = world();
    let carol = world.bearer(&world.signed_in(3, "carol", &["auditors"]));
    let question = json!({"host": "web.example.com", "target": "/a%20b?secret=1", "as": "alice", "groups": ["dev"]});
    let (status, told) = ask(&world, &carol, question.clone()).await;
    assert_eq!(
        (status, told),
        (
            StatusCode::OK,
            json!({"steps": [{"step": "published", "ok": true, "what": "it is"}]})
        )
    );
    assert_eq!(
        *world.services.asked.lock().unwrap(),
        ["HEAD web.example.com/a%20b?secret=1 for Some((\"alice\", [\"dev\"])) behind 1 records"]
    );
    assert_eq!(
        world.read_sentences(),
        ["tested a service by `HEAD web.example.com/a%20…`, with nobody's credential"]
    );
    world.notes.fails.store(true, Ordering::SeqCst);
    let (status, _) = ask(&world, &carol, question).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.services.asked.lock().unwrap().len(), 1, "nothing went out");
}

#[tokio::test]
async fn what_is_no_call_of_a_service_is_not_tested() {
    let world = world();
    let carol = world.bearer(&world.signed_in(3, "carol", &["auditors"]));
    for (wrong, what) in [
        (json!({"host": "WEB", "target": "/"}), "`host`"),
        (json!({"host": "web.example.com", "target": "x"}), "`target`"),
        (json!({"host": "web.example.com", "target": "/a/../b"}), "`target`"),
        (json!({"host": "web.example.com", "target": "/a%2Fb"}), "`target`"),
        (
            json!({"host": "web.example.com", "target": "/ HTTP/1.1\r\nX: y"}),
            "`target`",
        ),
        (
            json!({"host": "web.example.com", "target": "/", "method": "DELETE"}),
            "`method`",
        ),
        (
            json!({"host": "web.example.com", "target": "/", "groups": ["dev"]}),
            "`groups`",
        ),
        (
            json!({"host": "web.example.com", "target": "/", "url": "http://10.0.0.1"}),
            "url",
        ),
    ] {
        let (status, told) = ask(&world, &carol, wrong.clone()).await;
        assert_eq!(status.as_u16() / 100, 4, "{wrong}");
        assert!(told.to_string().contains(what), "{wrong}: {told}");
    }
    assert_eq!(world.services.asked.lock().unwrap().len(), 0);
    assert_eq!(world.read_sentences(), [""; 0]);
}
