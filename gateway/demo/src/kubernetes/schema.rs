//! What the fields of a Kubernetes object are: numbers for protobuf, names for validation, merge keys for patches.
//!
//! Read once from `schema.txt`, a table of the message fields that the demo's kinds can reach: the `json`, `protobuf`
//! and `patch*` tags of k8s.io/api and k8s.io/apimachinery v0.36.3, nothing else of them. kubectl's typed calls send
//! protobuf and do not fall back to JSON on 415, so a stand-in that wants to be reached by real kubectl has to read it.
//! Answers are always JSON, which every client accepts beside protobuf. Not a general protobuf library: decoding only, on the wire format
//! of `payload`, depth limited to [`DEPTH`], unknown fields skipped as protobuf demands.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::time::Timestamp;
use payload::wire::{Envelope, Fields, Malformed, Wire};
use serde_json::{Map, Value, json};

const DEPTH: usize = 32;

static SCHEMA: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| read(include_str!("schema.txt")));

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    number: u64,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// A pointer: absent and zero are different.
    is_optional: bool,
    /// Its fields stand in the parent (Go's embedded structs).
    is_inline: bool,
    pub(super) merge: Merge,
}

/// How a list behaves in a strategic merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// Replaced as a whole.
    Replace,
    /// Elements are objects, told apart by this field.
    ByKey(&'static str),
    /// Elements are plain values; the union is taken.
    Values,
}

/// The form of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bytes,
    Bool,
    Integer,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON bytes in a message.
    Json,
    /// A message that holds nothing but a list of texts.
    TextList,
    Message(&'static str),
    List(Box<Shape>),
    Map(Box<Shape>),
}

/// The body is not the protobuf it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the protobuf body is cut off, too deep, or not what its kind says")]
pub(super) struct WireError;

impl From<Malformed> for WireError {
    fn from(Malformed: Malformed) -> Self {
        Self
    }
}

fn read(text: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut messages: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => {
                current = line;
                messages.entry(line).or_default();
            }
            Some(field) => messages.entry(current).or_default().extend(Field::read(field)),
        }
    }
    messages
}

impl Field {
    fn read(line: &'static str) -> Option<Self> {
        let mut words = line.split(' ');
        let number = words.next()?.parse().ok()?;
        let (name, shape) = (words.next()?, Shape::read(words.next()?));
        let mut field = Self {
            number,
            name,
            shape,
            is_optional: false,
            is_inline: false,
            merge: Merge::Replace,
        };
        for flag in words {
            match flag.strip_prefix('~') {
                Some("") => field.merge = Merge::Values,
                Some(key) => field.merge = Merge::ByKey(key),
                None if flag == "?" => field.is_optional = true,
                None => field.is_inline = true,
            }
        }
        Some(field)
    }
}

impl Shape {
    fn read(word: &'static str) -> Self {
        if let Some(element) = word.strip_prefix("[]") {
            return Self::List(Box::new(Self::read(element)));
        }
        if let Some(element) = word.strip_prefix("map:") {
            return Self::Map(Box::new(Self::read(element)));
        }
        match word {
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int32" | "int64" => Self::Integer,
            "Quantity" => Self::Quantity,
            "IntOrString" => Self::IntOrString,
            "Time" => Self::Time,
            "MicroTime" => Self::MicroTime,
            "FieldsV1" | "Raw" => Self::Json,
            "StringList" => Self::TextList,
            message => Self::Message(message),
        }
    }

    /// The message of this value, or of each of its elements.
    pub(super) fn message(&self) -> Option<&'static str> {
        match self {
            Self::Message(name) => Some(name),
            Self::List(element) | Self::Map(element) => element.message(),
            _ => None,
        }
    }
}

/// The fields of a message, embedded ones in their parent's place.
pub(super) fn fields(message: &str) -> Vec<&'static Field> {
    let mut all = Vec::new();
    for field in SCHEMA.get(message).into_iter().flatten() {
        match (field.is_inline, &field.shape) {
            (true, Shape::Message(inner)) => all.extend(fields(inner)),
            _ => all.push(field),
        }
    }
    all
}

/// The field of a message by its JSON name.
pub(super) fn field(message: &str, name: &str) -> Option<&'static Field> {
    fields(message).into_iter().find(|field| field.name == name)
}

/// The dotted paths of fields that the kind does not have, for `fieldValidation`.
pub(super) fn unknown_fields(object: &Value, message: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some(members) = object.as_object() else {
        return found;
    };
    let top = members
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind"));
    for (name, value) in top {
        look(name, value, message, name, &mut found);
    }
    found
}

fn look(name: &str, value: &Value, message: &str, path: &str, found: &mut Vec<String>) {
    let Some(field) = field(message, name) else {
        found.push(path.to_owned());
        return;
    };
    match (&field.shape, value) {
        (Shape::Message(inner), Value::Object(members)) => {
            for (name, value) in members {
                look(name, value, inner, &format!("{path}.{name}"), found);
            }
        }
        (Shape::List(element), Value::Array(elements)) => {
            let Some(inner) = element.message() else { return };
            for (index, element) in elements.iter().enumerate() {
                for (name, value) in element.as_object().into_iter().flatten() {
                    look(name, value, inner, &format!("{path}[{index}].{name}"), found);
                }
            }
        }
        _ => {}
    }
}

/// Reads a whole protobuf body: envelope, kind and object. `message_of` says which message a kind is.
///
/// # Errors
/// The envelope or the object is not readable, or the kind is not in the demo.
pub(super) fn decode(body: &[u8], message_of: impl Fn(&str, &str) -> Option<&'static str>) -> Result<Value, WireError> {
    let envelope = Envelope::open(body)?;
    if !envelope.is_plain() {
        return Err(WireError);
    }
    let (api_version, kind) = (utf8(envelope.api_version)?, utf8(envelope.kind)?);
    let message = message_of(&api_version, &kind).ok_or(WireError)?;
    let mut object = decode_message(envelope.object, message, DEPTH)?;
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(object))
}

fn decode_message(bytes: &[u8], message: &str, depth: usize) -> Result<Map<String, Value>, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError)?;
    let known = SCHEMA.get(message).ok_or(WireError)?;
    let mut object = Map::new();
    for entry in Fields::of(bytes) {
        let (number, wire) = entry?;
        let Some(field) = known.iter().find(|field| field.number == number) else {
            continue;
        };
        match (&field.shape, wire) {
            (Shape::Message(inner), Wire::Bytes(bytes)) if field.is_inline => {
                object.extend(decode_message(bytes, inner, depth)?);
            }
            (Shape::List(element), wire) => {
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                let value = decode_value(element, wire, depth)?;
                list.as_array_mut().ok_or(WireError)?.push(value);
            }
            (Shape::Map(element), Wire::Bytes(bytes)) => {
                let (key, value) = decode_pair(bytes, element, depth)?;
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                map.as_object_mut().ok_or(WireError)?.insert(key, value);
            }
            (shape, wire) => {
                let value = decode_value(shape, wire, depth)?;
                if field.is_optional || !is_zero(&value) {
                    object.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(object)
}

fn decode_pair(bytes: &[u8], element: &Shape, depth: usize) -> Result<(String, Value), WireError> {
    // An empty value may be left out on the wire.
    let mut pair = (
        String::new(),
        decode_value(element, Wire::Bytes(&[]), depth).unwrap_or(Value::Null),
    );
    for entry in Fields::of(bytes) {
        match entry? {
            (1, Wire::Bytes(key)) => pair.0 = utf8(key)?,
            (2, wire) => pair.1 = decode_value(element, wire, depth)?,
            _ => {}
        }
    }
    Ok(pair)
}

fn decode_value(shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, WireError> {
    Ok(match (shape, wire) {
        (Shape::Text, Wire::Bytes(bytes)) => Value::String(utf8(bytes)?),
        (Shape::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Shape::Bool, Wire::Number(number)) => Value::Bool(number != 0),
        (Shape::Integer, Wire::Number(number)) => json!(number.cast_signed()),
        (Shape::Quantity, Wire::Bytes(bytes)) => Value::String(text_at(bytes, 1)?),
        (Shape::Json, Wire::Bytes(bytes)) => serde_json::from_str(&text_at(bytes, 1)?).unwrap_or(Value::Null),
        (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Shape::Time | Shape::MicroTime, Wire::Bytes(bytes)) => time(bytes, *shape == Shape::MicroTime)?,
        (Shape::TextList, Wire::Bytes(bytes)) => {
            let texts = Fields::of(bytes).map(|entry| match entry? {
                (1, Wire::Bytes(text)) => utf8(text).map(Value::String),
                _ => Err(WireError),
            });
            Value::Array(texts.collect::<Result<_, _>>()?)
        }
        (Shape::Message(inner), Wire::Bytes(bytes)) => Value::Object(decode_message(bytes, inner, depth)?),
        _ => return Err(WireError),
    })
}

/// Go writes fields that are no pointers also when they are empty; JSON leaves them out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Array(_) => false,
    }
}

fn utf8(bytes: &[u8]) -> Result<String, WireError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| WireError)
}

fn text_at(bytes: &[u8], wanted: u64) -> Result<String, WireError> {
    for entry in Fields::of(bytes) {
        if let (number, Wire::Bytes(text)) = entry?
            && number == wanted
        {
            return utf8(text);
        }
    }
    Ok(String::new())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for entry in Fields::of(bytes) {
        match entry? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text) } else { json!(number) })
}

fn time(bytes: &[u8], is_micro: bool) -> Result<Value, WireError> {
    let (mut seconds, mut nanos, mut is_set) = (0_i64, 0_i64, false);
    for entry in Fields::of(bytes) {
        is_set = true;
        match entry? {
            (1, Wire::Number(value)) => seconds = value.cast_signed(),
            (2, Wire::Number(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let at = Timestamp::from_unix_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
    Ok(match (is_set, is_micro) {
        (false, _) => Value::Null,
        (true, true) => Value::String(at.to_string()),
        (true, false) => Value::String(super::rfc3339(at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_kubectl_is_read() {
        // Captured from kubectl v1.36 `create configmap a --from-literal=a=b`.
        let body = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01a\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x06\n\x01a\x12\x01b\x1a\0\"\0";
        let object = decode(body, |_, _| Some("core.ConfigMap")).unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_or_the_whole_object_without_its_trailer() {
        let body = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x1b\n\x11\n\x01a\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\x06\n\x01a\x12\x01b\x1a\0\"\0";
        for end in 0..body.len() {
            let cut = decode(&body[..end], |_, kind| {
                (kind == "ConfigMap").then_some("core.ConfigMap")
            });
            let is_whole = |object: &Value| object["data"]["a"] == "b" || object.get("metadata").is_none();
            assert!(cut.as_ref().is_ok_and(is_whole) || cut.is_err(), "{end}: {cut:?}");
        }
    }

    #[test]
    fn every_message_that_is_named_exists() {
        for message in SCHEMA.keys() {
            for field in fields(message) {
                if let Some(inner) = field.shape.message() {
                    assert!(SCHEMA.contains_key(inner), "{message}.{} names {inner}", field.name);
                }
            }
        }
    }

    #[test]
    fn a_misspelt_field_is_found_by_its_path() {
        let pod = json!({"kind": "Pod", "metadata": {"labels": {"any": "thing"}},
            "spec": {"containers": [{"name": "a", "imagee": "b"}], "volumes": [{"name": "v", "configMap": {"name": "c"}}]}});
        assert_eq!(unknown_fields(&pod, "core.Pod"), ["spec.containers[0].imagee"]);
    }
}
