//! OpenAPI v3, made from the schema table: enough for kubectl to validate on the server, to build strategic merge patches
//! and to explain fields. Descriptions are not in the demo, and each field is exactly as wide as the table says.

use serde_json::{Map, Value, json};

use super::defaults::number;
use super::kinds::{GROUPS, Kind, KindId, VERSION};
use super::schema::{self, Field, Merge, Shape};

/// The document at an OpenAPI path.
pub(super) fn document(path: &str) -> Option<Value> {
    if path == "/openapi/v3" {
        return Some(root());
    }
    let group = match path.strip_prefix("/openapi/v3/")? {
        "api/v1" => "",
        rest => GROUPS
            .into_iter()
            .find(|group| rest.strip_prefix("apis/") == Some(&format!("{group}/{VERSION}")))?,
    };
    Some(of_group(group))
}

fn root() -> Value {
    let mut paths = Map::new();
    for group in [""].into_iter().chain(GROUPS) {
        let path = if group.is_empty() {
            "api/v1".to_owned()
        } else {
            format!("apis/{group}/{VERSION}")
        };
        let hash = format!("{:016x}", number(&of_group(group).to_string()));
        paths.insert(
            path.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}),
        );
    }
    json!({"paths": paths})
}

fn of_group(group: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for id in KindId::all().filter(|id| id.row().group == group) {
        let kind = id.row();
        let base = if group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{group}/{VERSION}")
        };
        let place = if kind.is_namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        paths.insert(format!("{base}{place}/{}/{{name}}", kind.plural), operations(kind));
        add(&mut schemas, kind.message);
        super::json::set(
            schemas.entry(kind.message).or_insert(Value::Null),
            &["x-kubernetes-group-version-kind"],
            json!([gvk(kind)]),
        );
        for (name, of) in [("apiVersion", "string"), ("kind", "string")] {
            let schema = schemas.entry(kind.message).or_insert(Value::Null);
            super::json::set(schema, &["properties", name], json!({"type": of}));
        }
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes (demo)", "version": "v1.36.0"},
        "paths": paths, "components": {"schemas": schemas},
    })
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": VERSION, "kind": kind.kind})
}

fn operations(kind: &Kind) -> Value {
    let schema = json!({"schema": reference(kind.message)});
    let query = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .into_iter()
        .map(query)
        .collect();
    let ok = json!({"200": {"description": "OK", "content": {"application/json": schema}}});
    let bodies = json!({
        "application/json-patch+json": schema, "application/merge-patch+json": schema,
        "application/strategic-merge-patch+json": schema,
    });
    json!({
        "get": {"responses": ok, "x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk(kind)},
        "put": {"parameters": parameters, "responses": ok, "x-kubernetes-action": "put", "x-kubernetes-group-version-kind": gvk(kind)},
        "patch": {
            "parameters": parameters, "requestBody": {"content": bodies}, "responses": ok,
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk(kind),
        },
    })
}

fn reference(message: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{message}")})
}

fn add(schemas: &mut Map<String, Value>, message: &str) {
    if schemas.contains_key(message) {
        return;
    }
    schemas.insert(message.to_owned(), Value::Null);
    let mut properties = Map::new();
    for field in schema::fields(message) {
        properties.insert(field.name.to_owned(), property(field));
        if let Some(inner) = field.shape.message() {
            add(schemas, inner);
        }
    }
    schemas.insert(message.to_owned(), json!({"type": "object", "properties": properties}));
}

fn property(field: &Field) -> Value {
    let mut property = shape(&field.shape);
    if let Some(members) = property.as_object_mut() {
        match field.merge {
            Merge::Replace => {}
            Merge::Values => {
                members.insert("x-kubernetes-patch-strategy".to_owned(), json!("merge"));
            }
            Merge::ByKey(key) => {
                members.insert("x-kubernetes-patch-strategy".to_owned(), json!("merge"));
                members.insert("x-kubernetes-patch-merge-key".to_owned(), json!(key));
            }
        }
    }
    property
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Quantity => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer => json!({"type": "integer", "format": "int64"}),
        Shape::IntOrString => json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}),
        Shape::Json => json!({"type": "object"}),
        Shape::TextList => json!({"type": "array", "items": {"type": "string"}}),
        // A reference may have no siblings in OpenAPI 3.0.
        Shape::Message(message) => json!({"allOf": [reference(message)], "default": {}}),
        Shape::List(element) => json!({"type": "array", "items": self::shape(element)}),
        Shape::Map(element) => json!({"type": "object", "additionalProperties": self::shape(element)}),
    }
}
