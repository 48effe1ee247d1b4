//! What people ask the cluster about their own rights (`kubectl auth can-i`), read beside the call, so that the gateway can say
//! where it would decide otherwise: the cluster answers by its own rules and knows nothing of ours (protocol.md L-04).
//!
//! Not a decision: the question itself was decided, and goes on untouched whatever is read here. What cannot be read is said to
//! be not compared, never taken for agreement.

use access::rbac::Attributes;
use http::HeaderValue;
use model::request::RequestFacts;
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
        let question = match body.strip_prefix(MAGIC) {
            Some(envelope) => protobuf(envelope)?,
            None => serde_json::from_slice::<Review>(body).ok()?.spec,
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

const MAGIC: &[u8] = b"k8s\0";

/// kubernetes/api `authorization/v1/generated.proto`; field numbers never change their meaning.
fn protobuf(envelope: &[u8]) -> Option<Question> {
    const RAW: u64 = 2;
    const SPEC: u64 = 2;
    let review = last(envelope, RAW)?;
    let spec = last(review, SPEC)?;
    let mut question = Question::default();
    for field in Fields(spec) {
        match field? {
            (1, Some(message)) => question.resource_attributes = Some(resource(message)?),
            (2, Some(message)) => question.non_resource_attributes = Some(non_resource(message)?),
            _ => {}
        }
    }
    Some(question)
}

fn resource(message: &[u8]) -> Option<Act> {
    let mut act = Act::default();
    for field in Fields(message) {
        let (number, Some(value)) = field? else { continue };
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
    for field in Fields(message) {
        let (number, Some(value)) = field? else { continue };
        let into = match number {
            1 => &mut act.path,
            2 => &mut act.verb,
            _ => continue,
        };
        *into = std::str::from_utf8(value).ok()?.to_owned();
    }
    Some(act)
}

/// A message among the fields. Twice the same one would have to be merged; nobody writes that, so it is not read.
fn last(message: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut found = None;
    for field in Fields(message) {
        match field? {
            (number, Some(value)) if number == wanted && found.is_none() => found = Some(value),
            (number, Some(_)) if number == wanted => return None,
            _ => {}
        }
    }
    found
}

/// The fields of a protobuf message: number, and the bytes of those that have a length. `None` ends what is no message.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Option<&'a [u8]>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => {
                self.number()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Some(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if shift == 63 && *byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
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
