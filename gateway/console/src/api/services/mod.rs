//! Published services: how they stand, and what a call of one would meet. For members of the audit groups alone, since it tells where
//! everything is and what each rule reaches.
//!
//! - `GET /api/v1/services` → `{services: […], unpublished: […], refused?}`
//! - `GET /api/v1/services/{name}` → one of them, or why it is not published
//! - `POST /api/v1/service-test {"host": …, "target": …, "method"?: "HEAD"|"GET", "as"?: …, "groups"?: […]}` → `{steps: […]}`
//!
//! Invariants:
//! - A test carries nobody's credential and no assertion. It is an effect like each call of a service (decision 0021): the record that
//!   somebody makes it is durable before anything goes out, and whoever asked for it stands in it.
//! - A test tells no more of the answer than its status and which HTTP it came by.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use model::request::Target;
use model::service::HostName;
use search::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Api;
use super::asker::Asker;
use super::read::AuditAct;
use super::records::count;
use crate::answer::Refused;
use crate::caller::Caller;

/// Groups that one question may name.
const MOST_GROUPS: usize = 64;

/// What the composition root knows of published services. Its values are for people and scripts, member by member.
pub trait Published: Send + Sync {
    /// All of them, and the annotated ones that are not published.
    fn list(&self) -> ServiceList;

    /// All that is known of the one of this name.
    fn show(&self, name: &str) -> Option<Map<String, Value>>;

    /// What of a target may stand in a record: no query, and no part of a path that may be a secret (promise 6).
    fn recordable(&self, target: &Target) -> String;

    /// Goes the way of a call, with nobody's credential, up to the head of the answer.
    fn test<'a>(&'a self, trial: &'a Trial) -> BoxFuture<'a, Vec<Step>>;
}

/// What is published.
#[derive(Clone, Debug, Default)]
pub struct ServiceList {
    /// Each service.
    pub services: Vec<Map<String, Value>>,
    /// Each annotated one that is not published, with the reason.
    pub unpublished: Vec<Map<String, Value>>,
    /// Why the files as they are now are not in force.
    pub refused: Option<String>,
}

/// A call that is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Under which host.
    pub host: HostName,
    /// Path and query.
    pub target: Target,
    /// `HEAD` or `GET`.
    pub method: Method,
    /// For whom it is said whether they may: user name and groups. None: the public.
    pub who: Option<(String, Vec<String>)>,
}

/// What one station of the way said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which: `published`, `access`, `address`, `connection`, `answer`.
    pub name: &'static str,
    /// Whether a call goes on from there.
    pub is_well: bool,
    /// What it said, as one sentence.
    pub what: String,
}

pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let ServiceList {
        services,
        unpublished,
        refused,
    } = api.parts.services.list();
    let shown = count(services.len().saturating_add(unpublished.len()));
    api.record(asker.reads(&api, AuditAct::ListedServices, "", shown))
        .await?;
    Ok(Json(json!({"services": services, "unpublished": unpublished, "refused": refused})).into_response())
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let name: String = name.chars().take(MOST_OF_A_NAME).collect();
    let found = api.parts.services.show(&name);
    let shown = u64::from(found.is_some());
    api.record(asker.reads(&api, AuditAct::ViewedService, &name, shown))
        .await?;
    let found = found.ok_or_else(|| {
        let what = "no service of this name is published, and no annotated one would be called so";
        Refused::new(StatusCode::NOT_FOUND, "not_found", what)
    })?;
    Ok(Json(Value::Object(found)).into_response())
}

/// Of a name that is asked for, so much stands in the record; none is longer.
const MOST_OF_A_NAME: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    host: String,
    target: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, rename = "as")]
    who: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

pub(super) async fn test(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let trial = trial(asked)?;
    let Trial {
        host, target, method, ..
    } = &trial;
    let what = format!("{method} {host}{}", api.parts.services.recordable(target));
    let what = what.chars().take(MOST_OF_A_TARGET).collect::<String>();
    // Before anything goes out.
    api.record(asker.reads(&api, AuditAct::TestedService, &what, 1)).await?;
    let steps = api.parts.services.test(&trial).await;
    let told = steps
        .iter()
        .map(|step| json!({"step": step.name, "ok": step.is_well, "what": step.what}));
    Ok(Json(json!({"steps": told.collect::<Vec<Value>>()})).into_response())
}

/// Of a target so much stands in the record.
const MOST_OF_A_TARGET: usize = 500;

fn trial(asked: Asked) -> Result<Trial, Refused> {
    let Asked {
        host,
        target,
        method,
        who,
        groups,
    } = asked;
    let host = HostName::new(&host).map_err(|error| Refused::request(format!("`host`: {error}")))?;
    let target =
        Target::of_service(target.as_bytes()).map_err(|error| Refused::request(format!("`target`: {error}")))?;
    let method = match method.as_deref() {
        None | Some("HEAD") => Method::HEAD,
        Some("GET") => Method::GET,
        Some(_) => {
            return Err(Refused::request(
                "`method` is `HEAD` or `GET`: a test changes nothing on purpose",
            ));
        }
    };
    if groups.len() > MOST_GROUPS || (who.is_none() && !groups.is_empty()) {
        return Err(Refused::request(format!(
            "`groups` are those of the user in `as`, {MOST_GROUPS} at most"
        )));
    }
    let who = who.map(|user| (user, groups));
    Ok(Trial {
        host,
        target,
        method,
        who,
    })
}

async fn auditor(api: &Api, caller: Caller) -> Result<Asker, Refused> {
    let asker = Asker::of(api, caller).await?;
    match asker.scope {
        Scope::All => Ok(asker),
        Scope::Own(_) | Scope::Roles(_) => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only members of the groups in `identity.auditGroups` see where services are, and test them",
        )),
    }
}

#[cfg(test)]
pub(super) mod tests;
