//! Answers the request path's questions to the cluster: SubjectAccessReview, TokenReview and where a pod runs, as the observer.
//!
//! Invariant: anything but an explicit yes is no. `denied` wins over `allowed`, an evaluation error beside a no stays a no,
//! and a token is good only with one of our audiences (POL-12, OIDC-29). Of a pod nothing but its node comes here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::ask::{AccessAnswer, AccessAttributes, AccessQuestion, PodAnswer, PodQuestion, TokenAnswer, TokenQuestion};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// Questions that are on their way to one cluster at the same time; more wait in the channel.
const AT_ONCE: usize = 32;
/// Without the right to read pods, the cluster is asked again after so long: each refusal stands in its audit log.
const NOT_ASKED_FOR: Duration = Duration::from_mins(5);

/// Answers access questions until nobody asks any more.
pub async fn access(client: kube::Client, mut asked: mpsc::Receiver<(AccessQuestion, oneshot::Sender<AccessAnswer>)>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((question, answer)) = asked.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let client = client.clone();
        tokio::spawn(async move {
            // The asker may have gone: then nobody needs the answer.
            give(answer, review_access(&client, &question)).await;
            drop(place);
        });
    }
}

/// Answers token questions until nobody asks any more.
pub async fn tokens(client: kube::Client, mut asked: mpsc::Receiver<(TokenQuestion, oneshot::Sender<TokenAnswer>)>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((question, answer)) = asked.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let client = client.clone();
        tokio::spawn(async move {
            give(answer, review_token(&client, &question)).await;
            drop(place);
        });
    }
}

/// Answers where pods run until nobody asks any more. The right to read pods is the operator's to give
/// (`deploy/kubernetes/observer-pods.yaml`); without it every answer is unknown.
pub async fn pods(client: kube::Client, mut asked: mpsc::Receiver<(PodQuestion, oneshot::Sender<PodAnswer>)>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let right = Arc::new(Right::default());
    while let Some((question, answer)) = asked.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (client, right) = (client.clone(), Arc::clone(&right));
        tokio::spawn(async move {
            give(answer, node_of(&client, &question, &right)).await;
            drop(place);
        });
    }
}

/// Whether the observer may read pods, as far as the cluster has said so lately.
#[derive(Debug, Default)]
struct Right {
    refused: Mutex<Option<Instant>>,
}

impl Right {
    fn is_missing(&self) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|since| since.elapsed() < NOT_ASKED_FOR)
    }

    /// Whether that is news.
    fn was_refused(&self) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.replace(Instant::now()).is_none()
    }
}

async fn node_of(client: &kube::Client, question: &PodQuestion, right: &Right) -> PodAnswer {
    const NO_RIGHT: &str = "the observer may not read pods";
    if right.is_missing() {
        return PodAnswer::Unknown {
            why: NO_RIGHT.to_owned(),
        };
    }
    match pod_row(client, question).await {
        Ok(table) => read_node(&table),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            if right.was_refused() {
                tracing::info!(
                    cluster = %question.cluster,
                    "records of sessions name no node: {NO_RIGHT}; apply deploy/kubernetes/observer-pods.yaml where they should"
                );
            }
            PodAnswer::Unknown {
                why: NO_RIGHT.to_owned(),
            }
        }
        Err(error) => PodAnswer::Unknown { why: error.to_string() },
    }
}

/// As a table without its object: what a pod's environment holds does not leave the cluster for this (API concepts,
/// "Receiving resources as Tables").
async fn pod_row(client: &kube::Client, question: &PodQuestion) -> kube::Result<Value> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}?includeObject=None",
        question.namespace, question.name
    );
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request::<Value>(request).await
}

/// The cell below the column that the API server calls `Node`.
fn read_node(table: &Value) -> PodAnswer {
    let columns = table.get("columnDefinitions").and_then(Value::as_array);
    let at = columns.and_then(|columns| {
        let names = |column: &Value| column.get("name").and_then(Value::as_str) == Some("Node");
        columns.iter().position(names)
    });
    let cell = at.and_then(|at| table.pointer(&format!("/rows/0/cells/{at}"))?.as_str());
    match cell {
        Some(node) if !node.is_empty() && node != "<none>" => PodAnswer::Node(node.into()),
        Some(_) => PodAnswer::Unknown {
            why: "the pod is on no node yet".to_owned(),
        },
        None => PodAnswer::Unknown {
            why: "the answer names no node".to_owned(),
        },
    }
}

/// Nobody waits beyond the asker's deadline: a cluster that is silent would keep every place for ever.
async fn give<A>(mut to: oneshot::Sender<A>, review: impl Future<Output = A>) {
    tokio::select! {
        answer = review => {
            let _ = to.send(answer);
        }
        () = to.closed() => {}
    }
}

async fn post(client: &kube::Client, path: &str, body: &Value) -> Result<Value, String> {
    let bytes = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(bytes);
    let request = request.map_err(|error| error.to_string())?;
    client
        .request::<Value>(request)
        .await
        .map_err(|error| error.to_string())
}

async fn review_access(client: &kube::Client, question: &AccessQuestion) -> AccessAnswer {
    let body = access_review(question);
    match post(client, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &body).await {
        Ok(review) => read_access(&review),
        Err(why) => AccessAnswer::Unknown { why },
    }
}

fn access_review(question: &AccessQuestion) -> Value {
    let mut spec = json!({
        "user": &*question.user,
        "groups": question.groups.iter().map(|group| &**group).collect::<Vec<_>>(),
        "extra": &*question.extra,
    });
    if let (Some(uid), Some(spec)) = (&question.uid, spec.as_object_mut()) {
        spec.insert("uid".to_owned(), json!(&**uid));
    }
    let (key, attributes) = match &question.what {
        AccessAttributes::Resource {
            verb,
            group,
            version,
            resource,
            subresource,
            namespace,
            name,
        } => (
            "resourceAttributes",
            json!({ "verb": &**verb, "group": &**group, "version": &**version, "resource": &**resource,
                    "subresource": &**subresource, "namespace": &**namespace, "name": &**name }),
        ),
        AccessAttributes::NonResource { verb, path } => {
            ("nonResourceAttributes", json!({ "verb": &**verb, "path": &**path }))
        }
    };
    if let Some(spec) = spec.as_object_mut() {
        spec.insert(key.to_owned(), attributes);
    }
    json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec })
}

fn read_access(review: &Value) -> AccessAnswer {
    let status = review.get("status");
    let flag = |name: &str| status.and_then(|status| status.get(name)).and_then(Value::as_bool);
    let text = |name: &str| {
        status
            .and_then(|status| status.get(name))
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match (flag("allowed"), flag("denied")) {
        (Some(true), None | Some(false)) => AccessAnswer::Yes { reason: text("reason") },
        (Some(_), _) => AccessAnswer::No {
            reason: text("reason").or_else(|| text("evaluationError")),
        },
        (None, _) => AccessAnswer::Unknown {
            why: "the review has no `status.allowed`".to_owned(),
        },
    }
}

async fn review_token(client: &kube::Client, question: &TokenQuestion) -> TokenAnswer {
    let spec = json!({ "token": &*question.token, "audiences": question.audiences });
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec });
    match post(client, "/apis/authentication.k8s.io/v1/tokenreviews", &body).await {
        Ok(review) => read_token(&review, &question.audiences),
        Err(why) => TokenAnswer::Unknown { why },
    }
}

fn read_token(review: &Value, audiences: &[String]) -> TokenAnswer {
    let Some(status) = review.get("status") else {
        return TokenAnswer::Unknown {
            why: "the review has no `status`".to_owned(),
        };
    };
    let refused = |why: &str| TokenAnswer::Refused { why: why.to_owned() };
    if status.get("authenticated").and_then(Value::as_bool) != Some(true) {
        return refused(
            status
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("the cluster does not know this token"),
        );
    }
    let texts = |value: Option<&Value>| -> Vec<String> {
        value
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    if !texts(status.get("audiences"))
        .iter()
        .any(|audience| audiences.contains(audience))
    {
        return refused("the token was not issued for this gateway");
    }
    let user = status.get("user");
    let text = |name: &str| {
        user.and_then(|user| user.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let username = text("username");
    if username.is_empty() {
        return refused("the review names nobody");
    }
    let extra = user
        .and_then(|user| user.get("extra"))
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    TokenAnswer::Authenticated {
        username,
        uid: Some(text("uid")).filter(|uid| !uid.is_empty()),
        groups: texts(user.and_then(|user| user.get("groups"))),
        extra: extra.map(|(key, values)| (key.clone(), texts(Some(values)))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pol_12_denied_wins_and_only_an_explicit_yes_is_a_yes() {
        let read = |status: Value| read_access(&json!({ "status": status }));
        assert_eq!(
            read(json!({ "allowed": true, "reason": "r" })),
            AccessAnswer::Yes {
                reason: Some("r".into())
            }
        );
        assert_eq!(
            read(json!({ "allowed": true, "denied": true })),
            AccessAnswer::No { reason: None }
        );
        assert_eq!(
            read(json!({ "allowed": false, "evaluationError": "e" })),
            AccessAnswer::No {
                reason: Some("e".into())
            }
        );
        assert!(matches!(read(json!({})), AccessAnswer::Unknown { .. }));
        assert!(matches!(
            read(json!({ "allowed": "true" })),
            AccessAnswer::Unknown { .. }
        ));
    }

    #[test]
    fn the_node_of_a_pod_is_the_cell_below_the_column_of_that_name_and_nothing_else() {
        let table = |columns: &[&str], cells: Value| {
            let columns: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
            read_node(&json!({ "kind": "Table", "columnDefinitions": columns, "rows": [{ "cells": cells }] }))
        };
        assert_eq!(
            table(
                &["Name", "IP", "Node", "Nominated Node"],
                json!(["web-0", "10.0.0.1", "n-1", "n-2"])
            ),
            PodAnswer::Node("n-1".into())
        );
        for (columns, cells) in [
            (["Name", "Node"], json!(["web-0", "<none>"])),
            (["Name", "Node"], json!(["web-0", ""])),
            (["Name", "Node"], json!(["web-0"])),
            (["Name", "Node"], json!(["web-0", 7])),
            (["Name", "Nominated Node"], json!(["web-0", "n-2"])),
        ] {
            let answer = table(&columns, cells);
            assert!(matches!(answer, PodAnswer::Unknown { .. }), "{answer:?}");
        }
        assert!(matches!(
            read_node(&json!({ "kind": "Pod" })),
            PodAnswer::Unknown { .. }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_is_told_once_and_asked_for_again_after_a_while() {
        let right = Right::default();
        assert!(!right.is_missing());
        assert!(right.was_refused());
        assert!(right.is_missing());
        assert!(!right.was_refused());
        tokio::time::advance(NOT_ASKED_FOR).await;
        assert!(!right.is_missing());
    }

    #[test]
    fn oidc_29_a_token_counts_only_when_authenticated_for_our_audience() {
        let ours = vec!["https://gw".to_owned()];
        let read = |status: Value| read_token(&json!({ "status": status }), &ours);
        let user = json!({ "username": "system:serviceaccount:a:b", "groups": ["g"], "extra": { "k": ["v"] } });
        let good = read(json!({ "authenticated": true, "audiences": ["https://gw"], "user": user }));
        assert!(matches!(good, TokenAnswer::Authenticated { username, .. } if username == "system:serviceaccount:a:b"));
        for bad in [
            json!({ "authenticated": false, "audiences": ["https://gw"], "user": user }),
            json!({ "audiences": ["https://gw"], "user": user }),
            json!({ "authenticated": true, "audiences": ["other"], "user": user }),
            json!({ "authenticated": true, "user": user }),
            json!({ "authenticated": true, "audiences": ["https://gw"], "user": {} }),
        ] {
            assert!(matches!(read(bad.clone()), TokenAnswer::Refused { .. }), "{bad}");
        }
    }
}
