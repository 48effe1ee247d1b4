//! Holds a tree against the JSON Schema of the configuration and finds everything that does not fit, in one pass.
//!
//! Understands the part of JSON Schema (draft 2020-12) that the schema generator makes of our types, and refuses to pass
//! over anything else: an unknown keyword is a fault of ours, not a hole in the check.

use std::ops::Range;

use serde_json::Value;
use strsim::levenshtein;

use super::problem::Problem;
use super::tree::{Member, Node, NodeKind};
use super::value::{Secret, Size, Span};

/// Everything in `root` that `schema` does not allow.
pub(super) fn problems(schema: &Value, root: &Node) -> Vec<Problem> {
    let mut check = Check {
        root: schema,
        found: Vec::new(),
    };
    check.node(schema, root, &root.span, "the configuration");
    check.found
}

struct Check<'a> {
    root: &'a Value,
    found: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn node(&mut self, schema: &'a Value, node: &Node, place: &Range<usize>, name: &str) {
        let schema = self.resolve(schema);
        if let Some(allowed) = allowed_texts(schema) {
            return self.one_of(&allowed, node, place, name);
        }
        if let Some(any) = schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array)
        {
            return self.any(any, node, place, name);
        }
        if !self.has_type(schema, node, place, name) {
            return;
        }
        match &node.kind {
            NodeKind::Mapping(members) => self.mapping(schema, members, place, name),
            NodeKind::Sequence(items) => {
                if let Some(of) = schema.get("items") {
                    for item in items {
                        self.node(of, item, &item.span, name);
                    }
                }
            }
            NodeKind::Scalar(value) => self.scalar(schema, value, place, name),
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            return schema;
        };
        reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(schema)
    }

    /// The alternative that fits, or the problems of the one that comes nearest.
    fn any(&mut self, alternatives: &'a [Value], node: &Node, place: &Range<usize>, name: &str) {
        let mut nearest: Option<Vec<Problem>> = None;
        for alternative in alternatives {
            if matches!(node.kind, NodeKind::Scalar(Value::Null)) != is_null(self.resolve(alternative)) {
                continue;
            }
            let mut check = Check {
                root: self.root,
                found: Vec::new(),
            };
            check.node(alternative, node, place, name);
            if check.found.is_empty() {
                return;
            }
            if nearest.as_ref().is_none_or(|found| check.found.len() < found.len()) {
                nearest = Some(check.found);
            }
        }
        let missing = || {
            vec![Problem::new(
                format!("`{name}` has no value"),
                "nothing is set here",
                place.clone(),
                "set a value, or remove the key",
            )]
        };
        self.found.extend(nearest.unwrap_or_else(missing));
    }

    fn one_of(&mut self, allowed: &[&str], node: &Node, place: &Range<usize>, name: &str) {
        let text = match &node.kind {
            NodeKind::Scalar(Value::String(text)) => text.as_str(),
            _ => "",
        };
        if allowed.contains(&text) {
            return;
        }
        let help = nearest(text, allowed.iter().copied()).map_or_else(
            || format!("use one of: {}", allowed.join(", ")),
            |word| format!("did you mean `{word}`? It may be: {}", allowed.join(", ")),
        );
        self.found.push(Problem::new(
            format!("`{name}` cannot be `{text}`"),
            "not one of the values",
            place.clone(),
            help,
        ));
    }

    fn has_type(&mut self, schema: &Value, node: &Node, place: &Range<usize>, name: &str) -> bool {
        let wanted: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let is = match &node.kind {
            NodeKind::Mapping(_) => "object",
            NodeKind::Sequence(_) => "array",
            NodeKind::Scalar(Value::Bool(_)) => "boolean",
            NodeKind::Scalar(Value::Number(_)) => "integer",
            NodeKind::Scalar(Value::Null) => "null",
            NodeKind::Scalar(_) => "string",
        };
        if wanted.contains(&is) {
            return true;
        }
        let words = |kind: &str| match kind {
            "object" => "a group of keys",
            "array" => "a list (`- …`)",
            "boolean" => "`true` or `false`",
            "integer" => "a whole number",
            "null" => "nothing",
            _ => "a text",
        };
        let wish = wanted
            .iter()
            .filter(|kind| **kind != "null")
            .map(|kind| words(kind))
            .collect::<Vec<_>>()
            .join(" or ");
        let what = if is == "null" {
            format!("`{name}` has no value")
        } else {
            format!("`{name}` must be {wish}")
        };
        self.found.push(Problem::new(
            what,
            format!("this is {}", words(is)),
            place.clone(),
            format!("write {wish}"),
        ));
        false
    }

    fn mapping(&mut self, schema: &'a Value, members: &[Member], place: &Range<usize>, name: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let known = || properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
        for member in members {
            let at = if matches!(member.value.kind, NodeKind::Scalar(ref value) if !value.is_null()) {
                &member.value.span
            } else {
                &member.key_span
            };
            if let Some(of) = properties.and_then(|map| map.get(&member.key)) {
                self.node(of, &member.value, at, &member.key);
            } else if let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object()) {
                self.node(of, &member.value, at, &member.key);
            } else {
                let help = nearest(&member.key, known()).map_or_else(
                    || format!("these are known here: {}", known().collect::<Vec<_>>().join(", ")),
                    |word| format!("did you mean `{word}`?"),
                );
                self.found.push(Problem::new(
                    format!("unknown key `{}`", member.key),
                    "not a setting here",
                    member.key_span.clone(),
                    help,
                ));
            }
        }
        for required in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !members.iter().any(|member| member.key == required) {
                let says = properties
                    .and_then(|map| map.get(required))
                    .and_then(|of| of.get("description"))
                    .and_then(Value::as_str);
                let help = says.map_or_else(
                    || format!("add `{required}: …`"),
                    |says| format!("add `{required}: …` ({})", says.lines().next().unwrap_or_default()),
                );
                let at = place.start..place.end.min(place.start.saturating_add(name.len().max(1)));
                self.found.push(Problem::new(
                    format!("`{required}` is missing"),
                    "it belongs to this",
                    at,
                    help,
                ));
            }
        }
    }

    fn scalar(&mut self, schema: &Value, value: &Value, place: &Range<usize>, name: &str) {
        if let (Some(format), Some(text)) = (schema.get("format").and_then(Value::as_str), value.as_str()) {
            return self.format(format, text, place, name);
        }
        let Some(number) = value.as_i64() else { return };
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        #[expect(clippy::cast_precision_loss, reason = "bounds in the schema are small whole numbers")]
        let number_as_float = number as f64;
        let low = bound("minimum").filter(|least| number_as_float < *least);
        let high = bound("maximum").filter(|most| number_as_float > *most);
        if let Some(limit) = low.or(high) {
            let side = if low.is_some() { "at least" } else { "at most" };
            self.found.push(Problem::new(
                format!("`{name}` must be {side} {limit}"),
                "out of range",
                place.clone(),
                format!("write a number of {side} {limit}"),
            ));
        }
    }
}

impl Check<'_> {
    fn format(&mut self, format: &str, text: &str, place: &Range<usize>, name: &str) {
        let wrong = match format {
            "duration" => text.parse::<Span>().err(),
            "size" => text.parse::<Size>().err(),
            "secretReference" => text.parse::<Secret>().err(),
            other => Some(format!(
                "the schema asks for a form `{other}` that nothing checks: a fault of this program"
            )),
        };
        if let Some(wrong) = wrong {
            self.found.push(Problem::new(
                format!("`{name}` cannot be read"),
                "this value",
                place.clone(),
                wrong,
            ));
        }
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The words an `enum`, a `const`, or a list of them allows.
fn allowed_texts(schema: &Value) -> Option<Vec<&str>> {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return Some(list.iter().filter_map(Value::as_str).collect());
    }
    let constant = |schema: &'_ Value| schema.get("const").is_some();
    if let Some(list) = schema
        .get("oneOf")
        .and_then(Value::as_array)
        .filter(|list| list.iter().all(constant))
    {
        return Some(
            list.iter()
                .filter_map(|one| one.get("const").and_then(Value::as_str))
                .collect(),
        );
    }
    schema.get("const").and_then(Value::as_str).map(|word| vec![word])
}

/// The known word that is nearest to what was written, if it is near at all.
pub(super) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (written.chars().count() / 3).clamp(1, 3);
    known
        .map(|word| (levenshtein(&written.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(far, _)| *far <= most)
        .min_by_key(|(far, _)| *far)
        .map(|(_, word)| word)
}
