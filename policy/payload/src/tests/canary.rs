//! Promise 6 for bodies: a secret that is planted anywhere but where names are shown stands in no output, in no spelling.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{Filler, Manner, protobuf};
use super::{about_of, document, read};
use crate::table::{Kind, TABLE};
use crate::{About, Document, Side, diff};

pub(super) fn kinds() -> Vec<(&'static str, &'static str, Kind)> {
    let mut kinds: Vec<_> = TABLE.kinds().collect();
    kinds.sort_unstable_by_key(|(version, kind, _)| (*version, *kind));
    assert!(kinds.len() > 130, "the table has {} kinds", kinds.len());
    kinds
}

/// Every spelling in which it could be found: plain, hexadecimal, base64 at each of the three offsets, escaped.
fn spellings(canary: &str) -> Vec<String> {
    let mut all = vec![
        canary.to_owned(),
        canary.to_lowercase(),
        hex::encode(canary),
        hex::encode_upper(canary),
    ];
    for offset in 0..3 {
        let padded = [vec![b'x'; offset], canary.as_bytes().to_vec()].concat();
        // What the neighbours decide is left out at both ends.
        let cut = |text: String| {
            let from = if offset == 0 { 0 } else { 4 };
            text.get(from..text.len() - 2).unwrap().to_owned()
        };
        all.push(cut(STANDARD_NO_PAD.encode(&padded)));
        all.push(cut(URL_SAFE_NO_PAD.encode(&padded)));
    }
    all.push(
        canary
            .chars()
            .map(|character| format!("\\u{:04x}", u32::from(character)))
            .collect(),
    );
    all
}

pub(super) fn assert_hidden(document: &Document, canary: &str) {
    assert_not_in(&[document.json(), &document.json().to_lowercase()], canary);
}

pub(super) fn assert_not_in(texts: &[&str], canary: &str) {
    for text in texts {
        for spelling in spellings(canary) {
            if let Some(at) = text.find(&spelling) {
                let around = text.get(at.saturating_sub(150)..(at + 80).min(text.len()));
                panic!("{spelling} is seen: {}", around.unwrap_or(text));
            }
        }
    }
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn promise_6_a_canary_in_any_place_of_any_kind_is_in_no_document(
        canary in "[A-Z][a-z]{2}[0-9][A-Za-z0-9]{9,16}", at in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let kinds = kinds();
        let (version, kind, known) = kinds[at.index(kinds.len())];
        let object = Filler::new(canary.clone(), Manner::Hostile, seed).object(version, kind, known.message);
        let text = object.to_string();
        let about = about_of(version, known.plural);
        for media in [JSON, "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"] {
            for about in [about, About { resource: "widgets", ..about }, About { side: Side::Answer, ..about }] {
                match read(text.as_bytes(), media, &about) {
                    Ok(document) => assert_hidden(&document, &canary),
                    // A key may begin with `<<` or be too long for YAML; nothing else is opaque here.
                    Err(why) => prop_assert_eq!(media, "application/apply-patch+yaml", "{:?}", why),
                }
            }
        }
    }

    #[test]
    fn promise_6_a_canary_in_any_operation_of_a_patch_is_in_no_document(
        canary in "[A-Z][a-z]{2}[0-9][A-Za-z0-9]{9,16}", at in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let kinds = kinds();
        let (version, kind, known) = kinds[at.index(kinds.len())];
        let object = Filler::new(canary.clone(), Manner::Hostile, seed).object(version, kind, known.message);
        let mut operations = Vec::new();
        leaves(&object, String::new(), &mut operations);
        operations.push(json!({"op": canary, "path": format!("x{canary}"), canary.as_str(): canary, "value": canary}));
        operations.push(json!({"op": "move", "from": format!("/data/{canary}"), "path": format!("/spec/{canary}~1~2")}));
        let document = document(&Value::Array(operations).to_string(), "application/json-patch+json", &about_of(version, known.plural));
        assert_hidden(&document, &canary);
    }

    #[test]
    fn one_object_in_json_yaml_and_protobuf_is_one_document_and_names_are_seen(
        canary in "[A-Z][a-z]{2}[0-9][A-Za-z0-9]{9,16}", at in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let kinds = kinds();
        let (version, kind, known) = kinds[at.index(kinds.len())];
        let mut filler = Filler::new(canary.clone(), Manner::Faithful, seed);
        let object = filler.object(version, kind, known.message);
        let about = About { side: Side::Answer, ..about_of(version, known.plural) };
        let by_json = document(&object.to_string(), JSON, &about);
        assert_hidden(&by_json, &canary);
        for name in &filler.seen {
            prop_assert!(by_json.json().contains(name.as_str()), "{} is not in {}", name, by_json.json());
        }
        let by_protobuf = read(&protobuf(&object, known.message), PROTOBUF, &about).unwrap();
        prop_assert_eq!(by_protobuf.json(), by_json.json());
        prop_assert_eq!(by_protobuf.root(), by_json.root());
        let read_back = crate::Node::of_json(by_json.json());
        prop_assert_eq!(read_back.as_ref(), Some(by_json.root()));
    }

    #[test]
    fn a_difference_shows_nothing_that_the_documents_do_not(
        canary in "[A-Z][a-z]{2}[0-9][A-Za-z0-9]{9,16}", at in any::<prop::sample::Index>(), seeds in any::<(u64, u64)>(),
    ) {
        let kinds = kinds();
        let (version, kind, known) = kinds[at.index(kinds.len())];
        let about = about_of(version, known.plural);
        let [before, after] = [seeds.0, seeds.1].map(|seed| {
            let object = Filler::new(canary.clone(), Manner::Hostile, seed).object(version, kind, known.message);
            document(&object.to_string(), JSON, &about)
        });
        let shown = format!("{:?}", diff(before.root(), after.root()));
        assert_not_in(&[&shown], &canary);
        prop_assert!(diff(before.root(), before.root()).changes.is_empty());
        prop_assert_eq!(diff(before.root(), after.root()).changes.is_empty(), before.root() == after.root());
    }

    #[test]
    fn any_bytes_are_a_document_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz_payload(&bytes);
        for (place, _) in crate::FORMATS.iter().enumerate() {
            crate::fuzz_payload(&[&[u8::try_from(place).unwrap()], b"k8s\0".as_slice(), &bytes].concat());
            crate::fuzz_payload(&[&[u8::try_from(place).unwrap()], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn what_breaks_off_is_no_document(at in any::<prop::sample::Index>(), seed in any::<u64>(), cut in any::<prop::sample::Index>()) {
        let kinds = kinds();
        let (version, kind, known) = kinds[at.index(kinds.len())];
        let object = Filler::new("Can4ryCan4ry".to_owned(), Manner::Faithful, seed).object(version, kind, known.message);
        let about = about_of(version, known.plural);
        let text = object.to_string();
        prop_assert!(read(&text.as_bytes()[..cut.index(text.len())], JSON, &about).is_err());
    }
}

#[test]
fn promise_6_no_built_in_kind_shows_a_canary() {
    for (version, kind, known) in kinds() {
        for seed in 0..12 {
            let canary = "Can4ryCan4ry".to_owned();
            let object = Filler::new(canary.clone(), Manner::Hostile, seed).object(version, kind, known.message);
            assert_hidden(
                &document(&object.to_string(), JSON, &about_of(version, known.plural)),
                &canary,
            );
        }
    }
}

/// An operation for each leaf, as far as paths go.
fn leaves(value: &Value, path: String, into: &mut Vec<Value>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                leaves(value, format!("{path}/{}", escaped(key)), into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            into.push(json!({"op": "add", "path": format!("{path}/-"), "value": items[0]}));
            for (at, item) in items.iter().enumerate() {
                leaves(item, format!("{path}/{at}"), into);
            }
        }
        leaf => into.push(json!({"op": "replace", "path": path, "value": leaf})),
    }
}
