//! What there is to ask for: legacy and aggregated discovery (KEP-3352), and the version.

use http::HeaderValue;
use serde_json::{Value, json};

use super::kinds::{GROUPS, Kind, KindId, REVIEW_GROUPS, VERSION, group_version};
use super::reviews::REVIEWS;

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The content type of aggregated discovery.
pub(super) const AGGREGATED: HeaderValue =
    HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");

fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().chain(REVIEW_GROUPS)
}

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+gatescribe.demo", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "demo/embedded",
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    })
}

/// The document at a discovery path.
pub(super) fn legacy(path: &str) -> Option<Value> {
    match path {
        "/api" => Some(json!({"kind": "APIVersions", "versions": [VERSION], "serverAddressByClientCIDRs": []})),
        "/apis" => {
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups().map(group).collect::<Vec<_>>()}))
        }
        "/api/v1" => Some(resources("")),
        _ => {
            let mut parts = path.strip_prefix("/apis/")?.splitn(2, '/');
            let name = groups().find(|name| parts.clone().next() == Some(name))?;
            parts.next();
            match parts.next() {
                None => {
                    let mut document = group(name);
                    super::json::set(&mut document, &["kind"], json!("APIGroup"));
                    super::json::set(&mut document, &["apiVersion"], json!("v1"));
                    Some(document)
                }
                Some(VERSION) => Some(resources(name)),
                Some(_) => None,
            }
        }
    }
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": group_version(name), "version": VERSION});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str) -> Value {
    let mut all = Vec::new();
    for id in KindId::all().filter(|id| id.row().group == group) {
        let kind = id.row();
        all.push(json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.is_namespaced, "kind": kind.kind,
            "verbs": VERBS, "shortNames": kind.short, "categories": categories(kind),
        }));
        for subresource in kind.subresources() {
            all.push(json!({
                "name": format!("{}/{subresource}", kind.plural), "singularName": "", "namespaced": kind.is_namespaced,
                "kind": subresource_kind(kind, subresource), "verbs": subresource_verbs(subresource),
                "group": subresource_group(kind, subresource), "version": VERSION,
            }));
        }
    }
    for (_, plural, kind, is_namespaced) in REVIEWS.into_iter().filter(|review| review.0 == group) {
        all.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": is_namespaced, "kind": kind, "verbs": ["create"]}));
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group), "resources": all})
}

fn categories(kind: &Kind) -> &'static [&'static str] {
    if kind.is_in_all { &["all"] } else { &[] }
}

fn subresource_kind(kind: &Kind, subresource: &str) -> &'static str {
    match (subresource, kind.kind) {
        ("scale", _) => "Scale",
        (_, _) => KindId::by_kind(&kind.api_version(), kind.kind).map_or("", |id| id.row().kind),
    }
}

fn subresource_group<'a>(kind: &'a Kind, subresource: &str) -> &'a str {
    if subresource == "scale" {
        "autoscaling"
    } else {
        kind.group
    }
}

fn subresource_verbs(subresource: &str) -> &'static [&'static str] {
    if subresource == "log" {
        &["get"]
    } else {
        &["get", "patch", "update"]
    }
}

/// Aggregated discovery: at `/api` the core group, at `/apis` all others.
pub(super) fn aggregated(path: &str) -> Option<Value> {
    let names: Vec<&str> = match path {
        "/api" => vec![""],
        "/apis" => groups().collect(),
        _ => return None,
    };
    let item = |name: &&str| {
        let metadata = if name.is_empty() {
            json!({})
        } else {
            json!({"name": name})
        };
        json!({"metadata": metadata, "versions": [{"version": VERSION, "resources": discovered(name), "freshness": "Current"}]})
    };
    Some(json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": names.iter().map(item).collect::<Vec<_>>(),
    }))
}

fn discovered(group: &str) -> Vec<Value> {
    let mut all: Vec<Value> = KindId::all()
        .filter(|id| id.row().group == group)
        .map(|id| discovered_kind(id.row()))
        .collect();
    for (_, plural, kind, is_namespaced) in REVIEWS.into_iter().filter(|review| review.0 == group) {
        all.push(json!({
            "resource": plural, "responseKind": {"group": group, "version": VERSION, "kind": kind},
            "scope": scope(is_namespaced), "singularResource": kind.to_lowercase(), "verbs": ["create"],
        }));
    }
    all
}

fn discovered_kind(kind: &Kind) -> Value {
    let part = |subresource: &&str| {
        json!({
            "subresource": subresource, "verbs": subresource_verbs(subresource),
            "responseKind": {"group": subresource_group(kind, subresource), "version": VERSION, "kind": subresource_kind(kind, subresource)},
        })
    };
    json!({
        "resource": kind.plural, "responseKind": {"group": kind.group, "version": VERSION, "kind": kind.kind},
        "scope": scope(kind.is_namespaced), "singularResource": kind.singular, "verbs": VERBS,
        "shortNames": kind.short, "categories": categories(kind),
        "subresources": kind.subresources().iter().map(part).collect::<Vec<_>>(),
    })
}

fn scope(is_namespaced: bool) -> &'static str {
    if is_namespaced { "Namespaced" } else { "Cluster" }
}
