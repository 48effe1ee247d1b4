//! What people ask the cluster about their own rights (`kubectl auth can-i`), read beside the call, so that the gateway can say
//! where it would decide otherwise: the cluster answers by its own rules and knows nothing of ours (protocol.md L-04).
//!
//! Not a decision: the question itself was decided, and goes on untouched whatever is read here. What cannot be read is said to
//! be not compared, never taken for agreement.

use access::rbac::Attributes;
use http::HeaderValue;
use model::request::RequestFacts;
use payload::wire::{Envelope, Fields, MAGIC, Wire, once};
use serde::Deserialize;

/// Longer questions are not compared; kubectl's have about 200 bytes.
pub(crate) const MOST_QUESTION: usize = 16 << 10;
/// Much longer warnings would be cut by clients.
const MOST_WARNING: usize = 512;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// One act: `SelfSubjectAccessReview`.
    Act,
    /// All rules of a namespace: `SelfSubjectRulesReview`.
    Rules,
}

impl About {
    /// Whether a call asks about the caller's own rights.
    pub(crate) fn of(facts: &RequestFacts) -> Option<Self> {
        if facts.api_group() != "authorization.k8s.io" || facts.verb().as_str() != "create" {
            return None;
        }
        match (facts.resource(), facts.subresource()) {
            ("selfsubjectaccessreviews", "") => Some(Self::Act),
            ("selfsubjectrulesreviews", "") => Some(Self::Rules),
            _ => None,
        }
    }
}

/// `spec` of a `SelfSubjectAccessReview`. Fields that no rule looks at are left out (`version`, selectors).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    resource_attributes: Option<Act>,
    non_resource_attributes: Option<Act>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Act {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
    path: String,
}

#[derive(Deserialize)]
struct Review {
    spec: Question,
}

impl Question {
    /// Reads the body of the call, JSON or Kubernetes' protobuf; `None`: it is neither, or asks about nothing.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let question = if body.starts_with(MAGIC) {
            protobuf(body)?
        } else {
            serde_json::from_slice::<Review>(body).ok()?.spec
        };
        let asks_once = question.resource_attributes.is_some() != question.non_resource_attributes.is_some();
        asks_once.then_some(question)
    }

    /// The act, as rules are asked about it.
    pub(crate) fn asked(&self) -> Option<Attributes<'_>> {
        let is_resource = self.resource_attributes.is_some();
        let act = self
            .resource_attributes
            .as_ref()
            .or(self.non_resource_attributes.as_ref())?;
        Some(Attributes {
            verb: &act.verb,
            group: &act.group,
            resource: &act.resource,
            subresource: &act.subresource,
            namespace: &act.namespace,
            name: &act.name,
            path: &act.path,
            is_resource,
        })
    }
}

/// kubernetes/api `authorization/v1/generated.proto`; field numbers never change their meaning. Twice the same message would have to be
/// merged; nobody writes that, so it is not read.
fn protobuf(body: &[u8]) -> Option<Question> {
    let envelope = Envelope::open(body).ok().filter(Envelope::is_plain)?;
    let [_, spec] = once(envelope.object).ok()?;
    let [resource_attributes, non_resource_attributes] = once(spec?).ok()?;
    let mut question = Question::default();
    if let Some(message) = resource_attributes {
        question.resource_attributes = Some(resource(message)?);
    }
    if let Some(message) = non_resource_attributes {
        question.non_resource_attributes = Some(non_resource(message)?);
    }
    Some(question)
}

fn resource(message: &[u8]) -> Option<Act> {
    let mut act = Act::default();
    for field in Fields::of(message) {
        let (number, Wire::Bytes(value)) = field.ok()? else {
            continue;
        };
        let into = match number {
            1 => &mut act.namespace,
            2 => &mut act.verb,
            3 => &mut act.group,
            5 => &mut act.resource,
            6 => &mut act.subresource,
            7 => &mut act.name,
            _ => continue,
        };
        *into = std::str::from_utf8(value).ok()?.to_owned();
    }
    Some(act)
}

fn non_resource(message: &[u8]) -> Option<Act> {
    let mut act = Act::default();
    for field in Fields::of(message) {
        let (number, Wire::Bytes(value)) = field.ok()? else {
            continue;
        };
        let into = match number {
            1 => &mut act.path,
            2 => &mut act.verb,
            _ => continue,
        };
        *into = std::str::from_utf8(value).ok()?.to_owned();
    }
    Some(act)
}

/// A `Warning` (code 299, RFC 7234 §5.5), which kubectl prints to its standard error as `Warning: TEXT`. What is no plain
/// ASCII text, such as a name of a rule may hold, becomes `?`: what a client makes of other bytes is not known.
pub(crate) fn warning(text: &str) -> Option<HeaderValue> {
    let mut value = String::with_capacity(text.len() + 20);
    value.push_str("299 gatescribe \"");
    for character in text.chars().take(MOST_WARNING) {
        match character {
            '"' | '\\' => value.extend(['\\', character]),
            ' '..='~' => value.push(character),
            _ => value.push('?'),
        }
    }
    value.push('"');
    HeaderValue::from_str(&value).ok()
}

/// Any bytes are a question or none, a question asks about something, and any text makes a warning that is a header.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_own_rights(data: &[u8]) {
    if let Some(question) = Question::read(data) {
        assert!(question.asked().is_some(), "{question:?}");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let value = warning(text);
        assert!(value.is_some_and(|value| value.to_str().is_ok()), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A field with a length.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(number << 3) | 2];
        let mut length = value.len();
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(value);
        bytes
    }

    /// As client-go writes it: an envelope with the kind and the object, whose `metadata` and `status` are there and empty.
    fn in_protobuf(spec: &[u8]) -> Vec<u8> {
        let object = [field(1, &[]), field(2, spec), field(3, &[8, 0])].concat();
        let kind = [
            field(1, b"authorization.k8s.io/v1"),
            field(2, b"SelfSubjectAccessReview"),
        ]
        .concat();
        let envelope = [field(1, &kind), field(2, &object), field(3, &[]), field(4, &[])].concat();
        [MAGIC, &envelope].concat()
    }

    fn act(words: &[String; 6]) -> Vec<u8> {
        let [namespace, verb, group, resource, subresource, name] = words.each_ref().map(String::as_bytes);
        [
            field(1, namespace),
            field(2, verb),
            field(3, group),
            field(4, b"v1"),
            field(5, resource),
            field(6, subresource),
            field(7, name),
        ]
        .concat()
    }

    proptest! {
        #[test]
        fn json_and_protobuf_ask_the_same(words in proptest::array::uniform6("[a-z*./]{0,200}")) {
            let [namespace, verb, group, resource, subresource, name] = &words;
            let text = json!({ "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "version": "v1", "resource": resource,
                "subresource": subresource, "name": name,
            } }, "status": { "allowed": false } });
            let by_json = Question::read(text.to_string().as_bytes()).unwrap();
            prop_assert_eq!(&by_json, &Question::read(&in_protobuf(&field(1, &act(&words)))).unwrap());
            let asked = by_json.asked().unwrap();
            prop_assert_eq!((asked.verb, asked.resource, asked.name), (&**verb, &**resource, &**name));
            prop_assert!(asked.is_resource);
        }

        #[test]
        fn any_bytes_are_a_question_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            fuzz_own_rights(&bytes);
            fuzz_own_rights(&[if magic { MAGIC } else { b"" }, &bytes].concat());
        }

        #[test]
        fn what_breaks_off_is_no_question(words in proptest::array::uniform6("[a-z]{1,9}"), left in 5_usize..60) {
            let whole = in_protobuf(&field(1, &act(&words)));
            prop_assert_eq!(Question::read(&whole[..left.min(whole.len() - 5)]), None);
        }
    }

    #[test]
    fn a_path_is_asked_about_without_a_resource() {
        let spec = [field(1, b"/metrics"), field(2, b"get")].concat();
        let text = br#"{"spec":{"nonResourceAttributes":{"path":"/metrics","verb":"get"}}}"#;
        for body in [in_protobuf(&field(2, &spec)), text.to_vec()] {
            let question = Question::read(&body).unwrap();
            let asked = question.asked().unwrap();
            assert_eq!((asked.verb, asked.path, asked.is_resource), ("get", "/metrics", false));
        }
    }

    #[test]
    fn what_asks_about_nothing_or_twice_is_no_question() {
        for text in [
            "",
            "{}",
            r#"{"spec":{}}"#,
            r#"{"spec":{"resourceAttributes":{},"nonResourceAttributes":{}}}"#,
            r#"{"spec":{"resourceAttributes":{"verb":"get","verb":"delete"}}}"#,
            r#"{"spec":{"resourceAttributes":{"verb":7}}}"#,
            "spec: { resourceAttributes: { verb: get } }",
        ] {
            assert_eq!(Question::read(text.as_bytes()), None, "{text}");
        }
        let twice = in_protobuf(&field(1, &act(&Default::default())));
        let twice = [&twice, &field(2, &field(2, &[]))[..]].concat();
        assert_eq!(Question::read(&twice), None);
    }

    #[test]
    fn a_warning_is_one_quoted_line_of_ascii() {
        assert_eq!(
            warning("no \"x\" \\ \r\nImpersonate-User: é").unwrap(),
            "299 gatescribe \"no \\\"x\\\" \\\\ ??Impersonate-User: ?\""
        );
        assert_eq!(warning(&"x".repeat(10_000)).unwrap().len(), MOST_WARNING + 17);
    }
}
