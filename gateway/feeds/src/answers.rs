//! Answers the request path's questions to the cluster: SubjectAccessReview and TokenReview, as the observer.
//!
//! Invariant: anything but an explicit yes is no. `denied` wins over `allowed`, an evaluation error beside a no stays a no,
//! and a token is good only with one of our audiences (POL-12, OIDC-29).

use std::sync::Arc;

use model::ask::{AccessAnswer, AccessAttributes, AccessQuestion, TokenAnswer, TokenQuestion};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that are on their way to one cluster at the same time; more wait in the channel.
const AT_ONCE: usize = 32;

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
