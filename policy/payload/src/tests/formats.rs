//! Promise 6 for every format and every kind of patch: a canary that is planted in each place that a format has for a text, and that no
//! name may hold, is in nothing that is handed out.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::canary::{assert_hidden, assert_not_in, kinds};
use super::generate::{Filler, Manner, bytes, varint};
use super::{about_of, masker};
use crate::{About, Body, FORMATS, Recorded, Side, diff};

/// Makes bodies full of one canary, which never has the form of a name: a name is shown where names are.
struct Planter {
    filler: Filler,
}

impl Planter {
    fn new(canary: &str, seed: u64) -> Self {
        Self {
            filler: Filler::new(canary.to_owned(), Manner::Hostile, seed),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.filler.below(bound)
    }

    fn text(&mut self) -> String {
        let canary = self.filler.canary.clone();
        match self.below(4) {
            0 => format!("{canary}: #{canary}"),
            1 => format!("'{canary}\"\\\n{canary}"),
            2 => format!("é {canary}"),
            _ => self.filler.spaced(),
        }
    }

    /// A member's key: one that is known everywhere, somewhere, in another case, or nowhere.
    fn key(&mut self) -> String {
        let known = [
            "metadata",
            "spec",
            "data",
            "stringData",
            "items",
            "status",
            "labels",
            "annotations",
            "name",
            "type",
            "kind",
            "apiVersion",
            "ownerReferences",
            "Data",
            "managedFields",
            "finalizers",
            "template",
            "rules",
            "env",
            "value",
            "password",
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$deleteFromPrimitiveList/finalizers",
            "$",
            "~",
            "<<",
        ];
        match self.below(4) {
            0 => self.text(),
            1 => format!("$setElementOrder/{}", self.text()),
            _ => known[usize::try_from(self.below(known.len() as u64)).unwrap()].to_owned(),
        }
    }

    fn tree(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 3 } else { 6 }) {
            0 | 1 => json!(self.text()),
            2 => json!(self.below(2) == 0),
            3 => Value::Array((0..self.below(4)).map(|_| self.tree(depth - 1)).collect()),
            _ => Value::Object(self.members(depth - 1)),
        }
    }

    fn members(&mut self, depth: u32) -> Map<String, Value> {
        (0..self.below(6)).map(|_| (self.key(), self.tree(depth))).collect()
    }

    /// An object of a kind that the path says, that is built in, or that is none: half of them filled by the table.
    fn object(&mut self) -> Value {
        let mut object = if self.below(2) == 0 {
            let kinds = kinds();
            let (version, kind, known) = kinds[usize::try_from(self.below(kinds.len() as u64)).unwrap()];
            let object = self.filler.object(version, kind, known.message);
            object.as_object().unwrap().clone()
        } else {
            let mut object = self.members(5);
            object.insert("apiVersion".to_owned(), json!("example.com/v1"));
            object.insert("kind".to_owned(), json!("Widget"));
            object
        };
        for name in ["apiVersion", "kind"] {
            if self.below(3) == 0 {
                let word = self.type_word(name);
                object.insert(name.to_owned(), json!(word));
            }
        }
        Value::Object(object)
    }

    /// Of the form of a type, which a password may have.
    fn type_word(&mut self, name: &str) -> String {
        let letters: String = self.filler.canary.chars().filter(char::is_ascii_alphabetic).collect();
        match name {
            "apiVersion" => format!("{}/v1", self.filler.canary.to_lowercase()),
            _ if self.below(2) == 0 => letters,
            _ => self.filler.canary.clone(),
        }
    }

    /// Operations, with whatever an operation may have, and what it may not.
    fn patch(&mut self) -> Value {
        let operations = (0..1 + self.below(5)).map(|_| {
            let mut operation = self.members(2);
            let (path, from) = (self.pointer(), self.pointer());
            operation.insert(
                "op".to_owned(),
                [json!("add"), json!(self.text())][usize::from(self.below(4) == 0)].clone(),
            );
            operation.insert("path".to_owned(), json!(path));
            operation.insert("from".to_owned(), json!(from));
            operation.insert("value".to_owned(), self.tree(3));
            Value::Object(operation)
        });
        Value::Array(operations.collect())
    }

    fn pointer(&mut self) -> String {
        let mut pointer = String::new();
        for _ in 0..self.below(5) {
            let key = match self.below(4) {
                0 => "0".to_owned(),
                _ => self.key(),
            };
            pointer.push('/');
            pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }

    /// A message with fields of every kind, in no order that a schema knows.
    fn message(&mut self, depth: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(8) {
            let number = 1 + self.below(14);
            out.extend(match self.below(5) {
                0 => varint(number, self.below(1 << 20)),
                1 | 2 if depth > 0 => bytes(number, &self.message(depth - 1)),
                _ => bytes(number, self.text().as_bytes()),
            });
        }
        out
    }

    fn protobuf(&mut self) -> Vec<u8> {
        let kinds = kinds();
        let (version, kind, _) = kinds[usize::try_from(self.below(kinds.len() as u64)).unwrap()];
        let (mut version, mut kind) = (version.to_owned(), kind.to_owned());
        match self.below(6) {
            0 => version = self.type_word("apiVersion"),
            1 => kind = self.type_word("kind"),
            2 => kind = self.text(),
            _ => {}
        }
        let types = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        let mut body = [b"k8s\0".to_vec(), bytes(1, &types), bytes(2, &self.message(4))].concat();
        if self.below(5) == 0 {
            body.extend(bytes(3 + self.below(9), self.text().as_bytes()));
        }
        body
    }

    /// The same value in YAML, in whatever style a value may have; some of it in a way on which readers differ.
    fn yaml(&mut self, value: &Value) -> String {
        let canary = self.filler.canary.clone();
        let mut out = String::new();
        match self.below(8) {
            0 => out.push_str(&format!("# {canary}\n---\n")),
            1 => out.push_str(&format!("%TAG !{canary}! tag:{canary},2026:\n---\n")),
            2 => out.push_str("---\n"),
            _ => {}
        }
        self.node(value, 0, &mut out);
        match self.below(8) {
            0 => out.push_str(&format!("---\nkind: Secret\nstringData: {{a: {canary}}}\n")),
            1 => out.push_str(&format!("...\n# {canary}\n")),
            _ => {}
        }
        out
    }

    fn node(&mut self, value: &Value, indent: usize, out: &mut String) {
        let canary = self.filler.canary.clone();
        match self.below(60) {
            0 => out.push_str(&format!(" &{canary}")),
            1 => out.push_str(&format!(" !{canary}")),
            _ => {}
        }
        let space = " ".repeat(indent);
        match value {
            Value::Object(members) if !members.is_empty() => {
                out.push('\n');
                for (key, value) in members {
                    out.push_str(&format!("{space}{}:", self.scalar(key, true, indent)));
                    self.node(value, indent + 2, out);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                for item in items {
                    out.push_str(&format!("{space}-"));
                    self.node(item, indent + 2, out);
                }
            }
            Value::String(text) => {
                let scalar = self.scalar(text, false, indent);
                out.push_str(&format!(" {scalar}\n"));
            }
            // JSON is YAML.
            other => out.push_str(&format!(" {other}\n")),
        }
    }

    fn scalar(&mut self, text: &str, is_key: bool, indent: usize) -> String {
        let is_plain = !text.contains(['\n', ':', '#', '\'', '"', '\\', '$', '~', '<']);
        match self.below(4) {
            0 if is_plain => text.to_owned(),
            1 if !text.contains('\n') => format!("'{}'", text.replace('\'', "''")),
            2 if !is_key => format!(
                "|-\n{0}{1}",
                " ".repeat(indent + 1),
                text.replace('\n', &format!("\n{}", " ".repeat(indent + 1)))
            ),
            _ => json!(text).to_string(),
        }
    }

    fn body(&mut self, media: &str) -> Vec<u8> {
        match media {
            "application/vnd.kubernetes.protobuf" => self.protobuf(),
            "application/json-patch+json" => self.patch().to_string().into_bytes(),
            "application/yaml" | "application/apply-patch+yaml" => {
                let object = self.object();
                self.yaml(&object).into_bytes()
            }
            _ => self.object().to_string().into_bytes(),
        }
    }
}

const PATHS: [(&str, &str, &str); 7] = [
    ("v1", "secrets", ""),
    ("v1", "configmaps", ""),
    ("v1", "pods", "status"),
    ("apps/v1", "deployments", ""),
    ("apps/v1", "deployments", "scale"),
    ("example.com/v1", "widgets", ""),
    ("v1", "serviceaccounts", "token"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn promise_6_a_canary_in_any_format_and_any_patch_is_in_nothing_that_is_handed_out(
        canary in "[A-Z][a-z]{2}[0-9][A-Za-z0-9]{9,16}", seed in any::<u64>(), is_answer in any::<bool>(),
    ) {
        let mut planter = Planter::new(&canary, seed);
        for media in FORMATS {
            let (version, resource, subresource) = PATHS[usize::try_from(planter.below(7)).unwrap()];
            let about = About {
                subresource,
                side: if is_answer { Side::Answer } else { Side::Request },
                ..about_of(version, resource)
            };
            let mut read = Vec::new();
            for _ in 0..2 {
                let bytes = planter.body(media);
                let body = Body { bytes: &bytes, is_whole: true, content_type: Some(media), content_encoding: None };
                match masker().mask(&body, &about) {
                    Recorded::Document(document) => {
                        assert_hidden(&document, &canary);
                        assert_not_in(&[&format!("{:?}", document.masked())], &canary);
                        read.push(document);
                    }
                    Recorded::Opaque(opaque) => assert_not_in(&[&format!("{opaque:?}")], &canary),
                }
            }
            if let [before, after] = read.as_slice() {
                assert_not_in(&[&format!("{:?}", diff(before.root(), after.root()))], &canary);
            }
        }
    }
}

/// What is planted is read often enough in every format that the test above says something.
#[test]
fn most_planted_bodies_are_read() {
    for media in FORMATS.into_iter().filter(|media| *media != "application/cbor") {
        let about = about_of("example.com/v1", "widgets");
        let is_read = |seed: &u64| {
            let bytes = Planter::new("Can4ryCan4ry", *seed).body(media);
            let body = Body {
                bytes: &bytes,
                is_whole: true,
                content_type: Some(media),
                content_encoding: None,
            };
            matches!(masker().mask(&body, &about), Recorded::Document(_))
        };
        let read = (0..400).filter(is_read).count();
        assert!(read > 60, "{media}: {read} of 400");
    }
}
