//! The way of one request: who, what, may they, then the verb. Every refusal is a `v1 Status`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, WARNING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::body::{parse, read, without_directives};
use super::caller::{self, User};
use super::json::At as _;
use super::kinds::{CLUSTERROLEBINDINGS, CLUSTERROLES, KindId, NAMESPACES, PODS, ROLEBINDINGS, ROLES};
use super::list::{self, Form};
use super::operations::{self, Deleted, Deletion, Part, PatchFormat};
use super::query::Query;
use super::rbac::{Attributes, RbacObjects};
use super::selector::Selector;
use super::status::{self, Refusal, json_response};
use super::store::{Effect, Key, Object, Scope, World};
use super::target::{self, Resource, Target};
use super::watch::{self, Asked};
use super::{Cluster, defaults, discovery, logs, openapi, reviews};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

pub(super) fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().fallback(answer).with_state(cluster)
}

async fn answer(State(cluster): State<Arc<Cluster>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let given = parts
        .headers
        .get(AUDIT_ID)
        .filter(|id| !id.is_empty() && id.len() <= 64)
        .cloned();
    let mut response = match handle(&cluster, &parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    };
    let made = || HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok();
    if let Some(id) = given.or_else(made) {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

async fn handle(cluster: &Arc<Cluster>, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let rbac = cluster.store.read(rbac);
    let authenticated = caller::authenticate(&cluster.credentials, &parts.headers)?;
    let user = caller::impersonate(authenticated, &parts.headers, |asked| {
        cluster.authorizer.decide(&rbac, asked).is_allowed
    })?;
    let target = Target::parse(parts.uri.path()).ok_or_else(|| Refusal::bad_request("the path cannot be read"))?;
    let call = Call {
        cluster: Arc::clone(cluster),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        parts,
        user,
        rbac,
    };
    match target {
        Target::Path(path) => call.path(&path),
        Target::Resource(resource) => call.resource(&resource, body).await,
    }
}

/// The RBAC objects as they stand.
pub(super) fn rbac(world: &World) -> RbacObjects {
    let all = |kind| {
        world
            .scope(&Scope { kind, namespace: None })
            .map(|(_, object)| Arc::clone(object))
            .collect()
    };
    RbacObjects {
        roles: all(ROLES),
        role_bindings: all(ROLEBINDINGS),
        cluster_roles: all(CLUSTERROLES),
        cluster_role_bindings: all(CLUSTERROLEBINDINGS),
    }
}

/// One authenticated request.
pub(super) struct Call<'a> {
    cluster: Arc<Cluster>,
    parts: &'a Parts,
    pub(super) query: Query,
    user: User,
    rbac: RbacObjects,
}

impl Call<'_> {
    pub(super) fn header(&self, name: HeaderName) -> &str {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn permit(&self, attributes: &Attributes<'_>) -> Result<(), Refusal> {
        if self.cluster.authorizer.decide(&self.rbac, attributes).is_allowed {
            Ok(())
        } else {
            Err(Refusal::forbidden(attributes.denial()))
        }
    }

    fn path(&self, path: &str) -> Result<Response, Refusal> {
        let verb = self.parts.method.as_str().to_lowercase();
        self.permit(&Attributes {
            user: &self.user,
            verb: &verb,
            group: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: Some(path),
        })?;
        if !matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Err(Refusal::method());
        }
        let accept = self.header(http::header::ACCEPT);
        if accept.contains("as=APIGroupDiscoveryList")
            && accept.contains("v=v2;") | accept.contains("v=v2,") | accept.ends_with("v=v2")
            && let Some(document) = discovery::aggregated(path)
        {
            let mut response = json_response(StatusCode::OK, &document);
            response.headers_mut().insert(CONTENT_TYPE, discovery::AGGREGATED);
            return Ok(response);
        }
        match path {
            "/version" => Ok(json_response(StatusCode::OK, &discovery::version())),
            "/healthz" | "/livez" | "/readyz" => Ok(Response::new(Body::from("ok"))),
            "/openapi/v2" => Err(Refusal::not_in_demo("OpenAPI v2")),
            _ => match discovery::legacy(path) {
                Some(document) => Ok(json_response(StatusCode::OK, &document)),
                None => self.openapi(path),
            },
        }
    }

    fn openapi(&self, path: &str) -> Result<Response, Refusal> {
        let document = openapi::document(path).ok_or_else(Refusal::not_served)?;
        let tag = format!("\"{:016X}\"", defaults::number(&document.to_string()));
        let mut response = if self.header(IF_NONE_MATCH) == tag {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            json_response(StatusCode::OK, &document)
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        Ok(response)
    }

    async fn resource(&self, resource: &Resource, body: Body) -> Result<Response, Refusal> {
        let selector = Selector::parse(self.query.text("labelSelector"), self.query.text("fieldSelector"))?;
        let is_watch = self.query.is_true("watch");
        let verb = target::verb(&self.parts.method, resource.name.is_some(), is_watch).ok_or_else(Refusal::method)?;
        let upgrade = ["exec", "attach", "portforward"];
        let subresource = resource.subresource.as_deref().unwrap_or_default();
        // Kubernetes asks `create` for the streaming ones, whatever the method.
        let verb = if upgrade.contains(&subresource) { "create" } else { verb };
        let selected = selector
            .only_name()
            .filter(|_| matches!(verb, "list" | "watch" | "deletecollection"));
        let name = resource.name.as_deref().or(selected).unwrap_or_default();
        self.permit(&Attributes {
            user: &self.user,
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource,
            namespace: resource.namespace.as_deref().unwrap_or_default(),
            name,
            path: None,
        })?;
        if reviews::is_review(&resource.group, &resource.plural) {
            return self.review(resource, verb, body).await;
        }
        let kind = KindId::by_plural(&resource.group, &resource.plural).ok_or_else(Refusal::not_served)?;
        match (subresource, resource.name.as_deref()) {
            ("", None) => self.collection(kind, resource, verb, selector, body).await,
            ("", Some(name)) if verb == "watch" => self.watch(kind, resource, selector.and_name(name)),
            (_, name) => self.named(kind, resource, name.unwrap_or_default(), verb, body).await,
        }
    }

    /// A call about one object by its name, or about a subresource of it.
    async fn named(
        &self,
        kind: KindId,
        resource: &Resource,
        name: &str,
        verb: &str,
        body: Body,
    ) -> Result<Response, Refusal> {
        let row = kind.row();
        if row.is_namespaced && resource.namespace.is_none() {
            return Err(Refusal::bad_request(
                "an empty namespace may not be set when a resource name is provided",
            ));
        }
        let home = if kind == NAMESPACES {
            ""
        } else {
            resource.namespace.as_deref().unwrap_or_default()
        };
        let key = Key::new(kind, home, name);
        match resource.subresource.as_deref().unwrap_or_default() {
            "" => self.one(&key, verb, Part::Whole, body).await,
            "status" if row.has_status => self.one(&key, verb, Part::Status, body).await,
            "scale" if row.has_scale => self.one(&key, verb, Part::Scale, body).await,
            "log" if kind == PODS && verb == "get" => logs::answer(&self.cluster, &key, &self.query, || self.place()),
            other => Err(Refusal::not_in_demo(&format!("`{}/{other}`", resource.plural))),
        }
    }

    fn scope(&self, kind: KindId, resource: &Resource) -> Scope {
        let namespace = resource.namespace.clone().filter(|_| kind.row().is_namespaced);
        Scope { kind, namespace }
    }

    async fn review(&self, resource: &Resource, verb: &str, body: Body) -> Result<Response, Refusal> {
        if verb != "create" || resource.name.is_some() {
            return Err(Refusal::method());
        }
        let review = self
            .object(body)
            .await?
            .ok_or_else(|| Refusal::bad_request("the body is empty"))?;
        let (plural, namespace) = (&resource.plural, resource.namespace.as_deref());
        let (code, answer) = reviews::answer(
            plural,
            namespace,
            review,
            &self.user,
            &self.rbac,
            &*self.cluster.authorizer,
        )?;
        Ok(json_response(code, &answer))
    }

    async fn collection(
        &self,
        kind: KindId,
        resource: &Resource,
        verb: &str,
        selector: Selector,
        body: Body,
    ) -> Result<Response, Refusal> {
        match verb {
            "list" => {
                let (scope, form) = (
                    self.scope(kind, resource),
                    Form::accepted(&self.parts.headers, &self.query)?,
                );
                let now = self.cluster.now();
                let page = self
                    .cluster
                    .store
                    .read(|world| list::page(world, &scope, &selector, form, &self.query, now))?;
                Ok(json_response(StatusCode::OK, &page))
            }
            "watch" => self.watch(kind, resource, selector),
            "create" => {
                let object = self
                    .object(body)
                    .await?
                    .ok_or_else(|| Refusal::bad_request("the body is empty"))?;
                let warning = self.validate(kind, &object)?;
                let namespace = resource.namespace.clone().unwrap_or_default();
                if kind.row().is_namespaced && namespace.is_empty() {
                    return Err(Refusal::method());
                }
                let made = self.write(|world| operations::create(world, kind, &namespace, object))?;
                self.shown(StatusCode::CREATED, kind, &made, warning.as_deref())
            }
            "deletecollection" => {
                let deletion = self.deletion(body).await?;
                let scope = self.scope(kind, resource);
                let gone = self.remove(&deletion, |world| delete_all(world, &scope, &selector, &deletion))?;
                let row = kind.row();
                let list = json!({"kind": format!("{}List", row.kind), "apiVersion": row.api_version(), "metadata": {}, "items": gone});
                Ok(json_response(StatusCode::OK, &list))
            }
            _ => Err(Refusal::method()),
        }
    }

    async fn one(&self, key: &Key, verb: &str, part: Part, body: Body) -> Result<Response, Refusal> {
        match (verb, part) {
            ("get", _) => {
                let found = self.cluster.store.read(|world| world.object(key).cloned());
                let found = found.ok_or_else(|| Refusal::not_found(key.kind.row(), &key.name))?;
                self.part(key.kind, &found, part, None)
            }
            ("update", _) => {
                let object = self
                    .object(body)
                    .await?
                    .ok_or_else(|| Refusal::bad_request("the body is empty"))?;
                let warning = if part == Part::Whole {
                    self.validate(key.kind, &object)?
                } else {
                    None
                };
                let written = self.write(|world| operations::replace(world, key, object, part))?;
                self.part(key.kind, &written, part, warning.as_deref())
            }
            ("patch", _) => {
                let format = self.patch_format()?;
                let change = parse(&read(body).await?)?;
                let warning = if format != PatchFormat::Json && part == Part::Whole {
                    self.validate(key.kind, &without_directives(&change))?
                } else {
                    None
                };
                let written = self.write(|world| operations::patch(world, key, format, &change, part))?;
                self.part(key.kind, &written, part, warning.as_deref())
            }
            ("delete", Part::Whole) => {
                let deletion = self.deletion(body).await?;
                let row = key.kind.row();
                match self.remove(&deletion, |world| operations::delete(world, key, &deletion))? {
                    Deleted::Gone(object) => Ok(json_response(StatusCode::OK, &status::deleted(row, &object))),
                    Deleted::Ending(object) => self.shown(StatusCode::OK, key.kind, &object, None),
                }
            }
            _ => Err(Refusal::method()),
        }
    }

    fn part(&self, kind: KindId, object: &Object, part: Part, warning: Option<&str>) -> Result<Response, Refusal> {
        match part {
            Part::Whole | Part::Status => self.shown(StatusCode::OK, kind, object, warning),
            Part::Scale => Ok(json_response(StatusCode::OK, &operations::scale(object))),
        }
    }

    fn shown(
        &self,
        code: StatusCode,
        kind: KindId,
        object: &Object,
        warning: Option<&str>,
    ) -> Result<Response, Refusal> {
        let form = Form::accepted(&self.parts.headers, &self.query)?;
        let metadata = json!({"resourceVersion": object.at("metadata").at("resourceVersion")});
        let mut response = json_response(code, &list::shown(form, kind, object, &metadata, self.cluster.now()));
        if let Some(warning) = warning.and_then(|text| HeaderValue::from_str(&format!("299 - \"{text}\"")).ok()) {
            response.headers_mut().append(WARNING, warning);
        }
        Ok(response)
    }

    fn watch(&self, kind: KindId, resource: &Resource, selector: Selector) -> Result<Response, Refusal> {
        let since = self.query.number("resourceVersion")?.filter(|revision| *revision > 0);
        let marks_initial = self.query.is_true("sendInitialEvents");
        let asked = Asked {
            scope: self.scope(kind, resource),
            selector,
            form: Form::accepted(&self.parts.headers, &self.query)?,
            since: since.filter(|_| !marks_initial),
            wants_bookmarks: self.query.is_true("allowWatchBookmarks"),
            marks_initial,
            timeout: self
                .query
                .number("timeoutSeconds")?
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        };
        let mut response = Response::new(watch::body(&self.cluster, asked, self.place()?));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = |_| {
            Refusal::too_many(format!(
                "the demo holds at most {} watches and followed logs",
                watch::WATCHERS
            ))
        };
        Arc::clone(&self.cluster.places).try_acquire_owned().map_err(full)
    }

    fn write<T>(&self, act: impl FnOnce(&mut World) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let effect = self.effect()?;
        self.cluster.store.write(effect, self.cluster.now(), act)
    }

    /// A deletion may say in its body alone that it is none, as kubectl does.
    fn remove<T>(&self, deletion: &Deletion, act: impl FnOnce(&mut World) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let asked = self.effect()?;
        let effect = if deletion.is_dry_run { Effect::DryRun } else { asked };
        self.cluster.store.write(effect, self.cluster.now(), act)
    }

    fn effect(&self) -> Result<Effect, Refusal> {
        match self.query.text("dryRun") {
            "" => Ok(Effect::Kept),
            "All" => Ok(Effect::DryRun),
            other => Err(Refusal::bad_request(format!(
                "dryRun: unsupported value \"{other}\": supported is \"All\""
            ))),
        }
    }
}

fn delete_all(
    world: &mut World,
    scope: &Scope,
    selector: &Selector,
    deletion: &Deletion,
) -> Result<Vec<Value>, Refusal> {
    let selected = world.scope(scope).filter(|(_, object)| selector.matches(object));
    let keys: Vec<Key> = selected.map(|(key, _)| key.clone()).collect();
    let mut gone = Vec::new();
    for key in keys {
        // One deletion may have taken later ones along.
        if world.object(&key).is_some() {
            let (Deleted::Gone(object) | Deleted::Ending(object)) = operations::delete(world, &key, deletion)?;
            gone.push(Value::clone(&object));
        }
    }
    Ok(gone)
}
