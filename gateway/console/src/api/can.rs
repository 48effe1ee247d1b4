//! `can`: may I do this? Answered by the same evaluator that decides calls, behind [`Explain`].

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::StatusCode;
use model::decision::{Nearest, RuleRef};
use serde_json::{Value, json};
use state::SessionId;

use super::Api;
use super::asker::Asker;
use super::parameters::Parameters;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::record::{Peer, Who};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Under which sign-in.
    pub session: SessionId,
    /// Who.
    pub who: Who,
    /// From where, for conditions on the network.
    pub peer: Option<Peer>,
}

/// What is asked about: an API resource or a path of a cluster, or a request to a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanQuestion {
    /// Which cluster; may be left out where there is one.
    pub cluster: Option<String>,
    /// The Kubernetes verb, or the lower-case HTTP method of a path.
    pub verb: String,
    /// API group; empty for core.
    pub group: String,
    /// Resource, plural; empty when a path is asked about.
    pub resource: String,
    /// Subresource; empty for none.
    pub subresource: String,
    /// Namespace; empty for all, or for resources without one.
    pub namespace: String,
    /// Name; empty for any.
    pub name: String,
    /// The path; empty when a resource is asked about.
    pub path: String,
    /// The request to a service; all else is empty then.
    pub service: Option<AskedService>,
}

/// A request to a published HTTP service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedService {
    /// The host, as it was asked about.
    pub host: String,
    /// The HTTP method, as it would be sent.
    pub method: String,
    /// The path as it would be sent, percent-encoding kept; with or without a query.
    pub path: String,
    /// Whether it is asked about those who have not signed in, in place of the asker.
    pub public: bool,
}

/// What would be decided.
#[derive(Clone, Debug, Default)]
pub struct CanAnswer {
    /// Whether the call would be allowed.
    pub allowed: bool,
    /// Stable code of the reason, when not.
    pub reason: Option<String>,
    /// In words, one sentence each: why, and what would help.
    pub words: Vec<String>,
    /// The rules that mattered: those that reach the asker's own call, which nobody is locked out of knowing (promise 10).
    pub rules: Vec<RuleRef>,
    /// The nearest role that would do and that the asker may see.
    pub nearest: Option<Nearest>,
    /// Digest of the policy.
    pub policy: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotExplain {
    /// No such cluster.
    #[error("there is no cluster `{0}`")]
    NoSuchCluster(String),
    /// There are several, and none was named.
    #[error("say which cluster: {}", .0.join(", "))]
    WhichCluster(Vec<String>),
    /// The question makes no sense, in words.
    #[error("{0}")]
    Question(String),
    /// It cannot be decided now, in words.
    #[error("this cannot be decided right now: {0}")]
    Unavailable(String),
}

/// Decides without doing. The composition root joins it with `access`.
pub trait Explain: Send + Sync {
    /// What would be decided if `asking` did this now.
    fn can<'a>(
        &'a self,
        asking: &'a Asking,
        question: &'a CanQuestion,
    ) -> BoxFuture<'a, Result<CanAnswer, CannotExplain>>;

    /// The bindings that name whoever asks, cluster by cluster.
    ///
    /// # Errors
    /// [`CannotExplain::Question`]: the sign-in makes no subject.
    fn bindings(&self, asking: &Asking) -> Result<Vec<Bound>, CannotExplain>;
}

/// What binds somebody in one cluster.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The cluster's name.
    pub cluster: String,
    /// Whether everything is known of the cluster; else bindings may be missing.
    pub is_known: bool,
    /// Each binding, with the group by which it names them; `None`: by the user's own name.
    pub bindings: Vec<(RuleRef, Option<Arc<str>>)>,
}

/// Bindings of one cluster that one answer names; beyond it the count speaks.
const MOST_BINDINGS: usize = 200;

/// `GET /api/v1/bindings`: which bindings name the asker, one's own and nobody else's.
pub(super) async fn bindings(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let clusters = api
        .parts
        .explain
        .bindings(&asker.asking())
        .map_err(|error| Refused::request(error.to_string()))?;
    let cluster = |bound: &Bound| {
        let named = bound.bindings.iter().take(MOST_BINDINGS).map(|(rule, group)| {
            let mut value = told(rule);
            if let Some(members) = value.as_object_mut() {
                members.insert(
                    "by".to_owned(),
                    group
                        .as_deref()
                        .map_or_else(|| json!({"user": true}), |group| json!({"group": group})),
                );
            }
            value
        });
        json!({"cluster": bound.cluster, "isKnown": bound.is_known, "count": bound.bindings.len(), "bindings": named.collect::<Vec<_>>()})
    };
    Ok(Json(json!({"clusters": clusters.iter().map(cluster).collect::<Vec<Value>>()})).into_response())
}

const KNOWN: [&str; 11] = [
    "cluster",
    "verb",
    "group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "path",
    "host",
    "method",
    "public",
];

pub(super) async fn can(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let question = question(&Parameters::read(pairs, &KNOWN)?)?;
    let answer = api
        .parts
        .explain
        .can(&asker.asking(), &question)
        .await
        .map_err(|error| match error {
            CannotExplain::NoSuchCluster(_) => Refused::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            CannotExplain::WhichCluster(_) | CannotExplain::Question(_) => Refused::request(error.to_string()),
            CannotExplain::Unavailable(_) => Refused::unavailable(error.to_string()),
        })?;
    Ok(Json(json!({
        "allowed": answer.allowed,
        "reason": answer.reason,
        "words": answer.words,
        "rules": answer.rules.iter().map(told).collect::<Vec<Value>>(),
        "nearest": answer.nearest.map(|nearest| json!({"role": nearest.role, "namespace": nearest.namespace})),
        "policy": answer.policy,
    }))
    .into_response())
}

fn question(parameters: &Parameters) -> Result<CanQuestion, Refused> {
    if let Some(service) = at_service(parameters)? {
        return Ok(CanQuestion {
            service: Some(service),
            ..CanQuestion::default()
        });
    }
    let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
    let question = CanQuestion {
        cluster: parameters.text("cluster").map(str::to_owned),
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: text("path"),
        service: None,
    };
    if question.verb.is_empty() || question.resource.is_empty() == question.path.is_empty() {
        return Err(Refused::request("give `verb`, and either `resource` or `path`"));
    }
    if !question.path.is_empty() && (!question.path.starts_with('/') || has_object(&question)) {
        return Err(Refused::request(
            "`path` begins with `/` and stands without group, subresource, namespace and name",
        ));
    }
    Ok(question)
}

/// What is asked of a service; `None`: it is about a cluster.
fn at_service(parameters: &Parameters) -> Result<Option<AskedService>, Refused> {
    const OF_SERVICES: [&str; 3] = ["host", "method", "public"];
    if OF_SERVICES.iter().all(|name| parameters.text(name).is_none()) {
        return Ok(None);
    }
    let text = |name: &str| parameters.text(name).unwrap_or_default().to_owned();
    let asked = AskedService {
        host: text("host"),
        method: text("method"),
        path: text("path"),
        public: parameters.truth("public")?,
    };
    let others = KNOWN
        .iter()
        .filter(|name| !OF_SERVICES.contains(name) && **name != "path");
    let is_alone = others.into_iter().all(|name| parameters.text(name).is_none());
    if asked.host.is_empty() || asked.method.is_empty() || !asked.path.starts_with('/') || !is_alone {
        return Err(Refused::request(
            "of a service give `host`, `method` and a `path` that begins with `/`, and nothing but `public` beside them",
        ));
    }
    Ok(Some(asked))
}

fn has_object(question: &CanQuestion) -> bool {
    let of_object = [
        &question.group,
        &question.subresource,
        &question.namespace,
        &question.name,
    ];
    of_object.into_iter().any(|text| !text.is_empty())
}

/// A rule with its line for people.
fn told(rule: &RuleRef) -> Value {
    let mut value = serde_json::to_value(rule).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("text".to_owned(), rule.to_string().into());
    }
    value
}
