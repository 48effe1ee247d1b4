//! Reading: one object or a page of a list, in the form that the client accepts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::ACCEPT;
use model::time::Timestamp;
use serde_json::{Value, json};

use super::json::At as _;
use super::kinds::KindId;
use super::query::Query;
use super::selector::Selector;
use super::status::Refusal;
use super::store::{Key, Object, Scope, World};
use super::table::{self, Include};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Table(Include),
    /// `PartialObjectMetadata`, as garbage collectors and metadata informers want it.
    Metadata,
}

impl Form {
    /// The first form of `Accept` that is served. Protobuf alone is not: every Kubernetes client accepts JSON beside it.
    ///
    /// # Errors
    /// 415 when none is.
    pub(super) fn accepted(headers: &HeaderMap, query: &Query) -> Result<Self, Refusal> {
        let mut all = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .peekable();
        if all.peek().is_none() {
            return Ok(Self::Plain);
        }
        let include = match query.text("includeObject") {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        for entry in all {
            let mut parts = entry.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<&str> = parts.collect();
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            match parameters.iter().find_map(|parameter| parameter.strip_prefix("as=")) {
                None => return Ok(Self::Plain),
                Some(_) if !parameters.contains(&"v=v1") => {}
                Some("Table") => return Ok(Self::Table(include)),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                Some(_) => {}
            }
        }
        Err(Refusal::media(
            "only application/json (also as Table or PartialObjectMetadata) is in the demo",
        ))
    }
}

/// One object in a form.
pub(super) fn shown(form: Form, kind: KindId, object: &Value, metadata: &Value, now: Timestamp) -> Value {
    match form {
        Form::Plain => object.clone(),
        Form::Metadata => table::partial(object),
        Form::Table(include) => table::table(kind, &[object], metadata, include, now),
    }
}

/// A page of a list.
///
/// # Errors
/// 400 for a version or continue token that makes no sense, 410 for one that is too old.
pub(super) fn page(
    world: &World,
    scope: &Scope,
    selector: &Selector,
    form: Form,
    query: &Query,
    now: Timestamp,
) -> Result<Value, Refusal> {
    let (revision, after) = starting_point(world, query)?;
    let all = world.at(scope, revision)?;
    let mut selected = all
        .iter()
        .filter(|(key, object)| after.as_ref().is_none_or(|after| key > after) && selector.matches(object));
    let limit = query
        .number("limit")?
        .filter(|limit| *limit > 0)
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let found: Vec<&(Key, Object)> = selected.by_ref().take(limit).collect();
    let left = selected.count();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some((last, _)), true) = (found.last(), left > 0) {
        super::json::set(&mut metadata, &["continue"], json!(token(revision, last)));
        if *selector == Selector::default() {
            super::json::set(&mut metadata, &["remainingItemCount"], json!(left));
        }
    }
    let objects: Vec<&Value> = found.iter().map(|(_, object)| &**object).collect();
    let row = scope.kind.row();
    Ok(match form {
        Form::Plain => {
            json!({"kind": format!("{}List", row.kind), "apiVersion": row.api_version(), "metadata": metadata, "items": objects})
        }
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": objects.into_iter().map(table::partial).collect::<Vec<_>>(),
        }),
        Form::Table(include) => table::table(scope.kind, &objects, &metadata, include, now),
    })
}

fn starting_point(world: &World, query: &Query) -> Result<(u64, Option<Key>), Refusal> {
    let token = query.text("continue");
    if !token.is_empty() {
        let unreadable = || Refusal::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unreadable())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        let text = |name: &str| token.at(name).as_str().unwrap_or_default();
        let kind = KindId::by_plural(text("group"), text("plural")).ok_or_else(unreadable)?;
        let revision = token.at("rv").as_u64().ok_or_else(unreadable)?;
        return Ok((revision, Some(Key::new(kind, text("namespace"), text("name")))));
    }
    let asked = query.number("resourceVersion")?.unwrap_or(0);
    if query.text("resourceVersionMatch") == "Exact" {
        return Ok((asked, None));
    }
    if asked > world.revision() {
        return Err(Refusal::bad_request(format!(
            "Too large resource version: {asked}, current: {}",
            world.revision()
        )));
    }
    Ok((world.revision(), None))
}

fn token(revision: u64, last: &Key) -> String {
    let row = last.kind.row();
    let token = json!({"rv": revision, "group": row.group, "plural": row.plural, "namespace": last.namespace, "name": last.name});
    URL_SAFE_NO_PAD.encode(token.to_string())
}
