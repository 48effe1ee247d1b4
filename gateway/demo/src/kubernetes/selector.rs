//! Label and field selectors: from the query's text to yes or no for one object. Values only.
//!
//! Labels in full (API reference, "Label selectors": `=`, `==`, `!=`, `in`, `notin`, exists, not exists, `>` and `<`).
//! Fields: `metadata.name`, `metadata.namespace`, `spec.nodeName`, `status.phase`, and what `kubectl describe` asks events
//! for; others are refused, as the API server does.

use serde_json::Value;

use super::json::At as _;
use super::status::Refusal;

/// A parsed pair of selectors. Empty selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<(String, Requirement)>,
    fields: Vec<(Vec<String>, bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

const FIELDS: [&str; 16] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.unschedulable",
    "status.phase",
    "status.podIP",
    "type",
    "reason",
    "reportingComponent",
    "source",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
];

impl Selector {
    /// From the values of `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 with the part that cannot be read.
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split_outside_brackets(labels)
            .into_iter()
            .map(label)
            .collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|part| !part.is_empty())
            .map(field)
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// The one name that a field selector asks for, as RequestInfo takes it for authorization.
    pub(super) fn only_name(&self) -> Option<&str> {
        let is_name = |path: &[String]| path.iter().map(String::as_str).eq(["metadata", "name"]);
        self.fields
            .iter()
            .find(|(path, is_equal, _)| *is_equal && is_name(path))
            .map(|(_, _, value)| value.as_str())
    }

    /// The same, and only this name.
    pub(super) fn and_name(mut self, name: &str) -> Self {
        self.fields
            .push((vec!["metadata".to_owned(), "name".to_owned()], true, name.to_owned()));
        self
    }

    /// Whether the object is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = object.at("metadata").at("labels");
        self.labels
            .iter()
            .all(|(key, requirement)| requirement.holds(labels.at(key.as_str()).as_str()))
            && self.fields.iter().all(|(path, is_equal, value)| {
                let found = path.iter().fold(object, |at, name| at.at(name.as_str()));
                let found = match found {
                    Value::String(text) => text.clone(),
                    Value::Bool(true) => "true".to_owned(),
                    Value::Null if path.last().is_some_and(|last| last == "unschedulable") => "false".to_owned(),
                    _ => String::new(),
                };
                (found == *value) == *is_equal
            })
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn label(part: &str) -> Result<(String, Requirement), Refusal> {
    let unreadable = || Refusal::bad_request(format!("unable to parse requirement: `{part}` is no label selector"));
    let number = |text: &str| text.trim().parse().map_err(|_| unreadable());
    let key = |text: &str| {
        let text = text.trim();
        let is_key = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if is_key { Ok(text.to_owned()) } else { Err(unreadable()) }
    };
    let one = |text: &str| vec![text.trim().to_owned()];
    if let Some((name, list)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        return match name.trim().rsplit_once(char::is_whitespace) {
            Some((name, "in")) => Ok((key(name)?, Requirement::In(values))),
            Some((name, "notin")) => Ok((key(name)?, Requirement::NotIn(values))),
            _ => Err(unreadable()),
        };
    }
    if let Some((name, value)) = part.split_once("!=") {
        Ok((key(name)?, Requirement::NotIn(one(value))))
    } else if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        Ok((key(name)?, Requirement::In(one(value))))
    } else if let Some((name, value)) = part.split_once('>') {
        Ok((key(name)?, Requirement::Above(number(value)?)))
    } else if let Some((name, value)) = part.split_once('<') {
        Ok((key(name)?, Requirement::Below(number(value)?)))
    } else if let Some(name) = part.strip_prefix('!') {
        Ok((key(name)?, Requirement::Absent))
    } else {
        Ok((key(part)?, Requirement::Exists))
    }
}

fn field(part: &str) -> Result<(Vec<String>, bool, String), Refusal> {
    let split = match part.split_once("!=") {
        Some((path, value)) => Some((path, false, value)),
        None => part
            .split_once("==")
            .or_else(|| part.split_once('='))
            .map(|(path, value)| (path, true, value)),
    };
    let (path, is_equal, value) =
        split.ok_or_else(|| Refusal::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'")))?;
    if !FIELDS.contains(&path) {
        return Err(Refusal::bad_request(format!("field label not supported: {path}")));
    }
    // In a stored event the source is an object; its selector names the component in it.
    let path = if path == "source" { "source.component" } else { path };
    Ok((path.split('.').map(str::to_owned).collect(), is_equal, value.to_owned()))
}

/// Whether a `metav1.LabelSelector` selects these labels.
pub(super) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector.at("matchLabels").as_object().into_iter().flatten();
    let expressions = selector.at("matchExpressions").as_array().into_iter().flatten();
    equal.clone().all(|(key, value)| labels.at(key.as_str()) == value)
        && expressions.clone().all(|expression| {
            let value = labels.at(expression["key"].as_str().unwrap_or_default());
            let is_listed = expression
                .at("values")
                .as_array()
                .is_some_and(|values| values.contains(value));
            match expression.at("operator").as_str() {
                Some("In") => is_listed,
                Some("NotIn") => !is_listed,
                Some("Exists") => !value.is_null(),
                Some("DoesNotExist") => value.is_null(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web", "tier": "front", "weight": "7"}},
            "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"},
        });
        Selector::parse(labels, fields).unwrap().matches(&pod)
    }

    #[test]
    fn every_form_of_label_selector_is_understood() {
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=api",
            "tier in (back, front)",
            "tier notin (back)",
            "app",
            "!gone",
            "gone!=x",
            "gone notin (x)",
            "weight>6",
            "weight<8",
            "app=web,tier in (front,back),!gone",
        ] {
            assert!(selects(yes, ""), "{yes}");
        }
        for no in [
            "app=api",
            "app!=web",
            "tier in (back)",
            "tier notin (front)",
            "gone",
            "!app",
            "weight>7",
            "app>1",
        ] {
            assert!(!selects(no, ""), "{no}");
        }
    }

    #[test]
    fn the_four_field_selectors_work_and_can_be_negated() {
        for yes in [
            "metadata.name=web-0",
            "metadata.namespace==shop,spec.nodeName=node-1",
            "status.phase!=Pending",
        ] {
            assert!(selects("", yes), "{yes}");
        }
        assert!(!selects("", "status.phase=Pending"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in ["a b", "app in web", "=x", "weight>many", "a in (b"] {
            assert!(Selector::parse(bad, "").is_err(), "{bad}");
        }
        assert_eq!(
            Selector::parse("", "spec.image=x"),
            Err(Refusal::bad_request("field label not supported: spec.image"))
        );
    }
}
