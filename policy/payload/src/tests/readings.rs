//! What readers read differently, or not to its end, is no document.

use proptest::prelude::*;
use serde_json::json;

use super::canary::kinds;
use super::generate::{Filler, Manner, bytes, protobuf};
use super::{about_of, document, read};
use crate::{Side, Why};

const FORMATS: [&str; 5] = [
    "application/json",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/yaml",
];

/// The first of two equal keys counts for one reader and the last for another: what is shown of one of them is not what was read.
#[test]
fn a_key_that_stands_twice_makes_the_body_opaque_in_every_format() {
    let about = about_of("v1", "configmaps");
    for media in FORMATS {
        for twice in [
            r#"{"kind": "ConfigMap", "apiVersion": "v1", "kind": "ConfigMap"}"#,
            r#"{"metadata": {"name": "web", "labels": {"a": "b", "a": "b"}}}"#,
            r#"{"metadata": {"name": "web"}, "m\u0065tadata": {"name": "other"}}"#,
            r#"[{"op": "add", "path": "/data/a", "value": 1, "path": "/metadata/labels/a"}]"#,
            r#"{"binaryData": {"a": {"b": [{"c": {"d": 1, "d": 1}}]}}}"#,
        ] {
            assert_eq!(
                read(twice.as_bytes(), media, &about).err(),
                Some(Why::ManyReadings),
                "{media} {twice}"
            );
        }
    }
    // Another spelling is another key to the API server; what some take it for is masked.
    let other = document(
        r#"{"data": {"a": "x"}, "Data": {"a": "y"}}"#,
        "application/json",
        &about,
    );
    assert_eq!(other.notes().other_case, 1);
}

#[test]
fn a_map_of_protobuf_has_each_key_once() {
    let pair = |key: &[u8], value: &[u8]| bytes(2, &[bytes(1, key), bytes(2, value)].concat());
    let body = |pairs: &[u8]| {
        let types = [bytes(1, b"v1"), bytes(2, b"ConfigMap")].concat();
        [b"k8s\0".to_vec(), bytes(1, &types), bytes(2, pairs)].concat()
    };
    let media = "application/vnd.kubernetes.protobuf";
    let about = about_of("v1", "configmaps");
    let twice = [pair(b"a", b"x"), pair(b"b", b"y"), pair(b"a", b"z")].concat();
    assert_eq!(read(&body(&twice), media, &about).err(), Some(Why::ManyReadings));
    assert!(read(&body(&twice[..twice.len() - pair(b"a", b"z").len()]), media, &about).is_ok());
}

/// The API server takes the other half from the path; who reads the body alone does not.
#[test]
fn half_of_a_type_is_the_type_of_no_document() {
    let protobuf = |version: &str, kind: &str| {
        let types = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), bytes(1, &types), bytes(2, b"")].concat()
    };
    for side in [Side::Request, Side::Answer] {
        let about = crate::About {
            side,
            ..about_of("v1", "secrets")
        };
        for half in [
            json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}}),
            json!({"apiVersion": "v1", "data": {"a": "aHVudGVyMg=="}}),
            json!({"apiVersion": "v1", "kind": ""}),
            json!({"apiVersion": null, "kind": "Status"}),
            json!({"apiVersion": "v1", "kind": ["Secret"]}),
            json!({"apiVersion": 1, "kind": "Secret"}),
            json!({"kind": "Status", "message": "hunter2"}),
            json!({"kind": "List", "items": []}),
        ] {
            for media in ["application/json", "application/yaml", "application/apply-patch+yaml"] {
                let half = half.to_string();
                assert_eq!(
                    read(half.as_bytes(), media, &about).err(),
                    Some(Why::HalfType),
                    "{media} {half}"
                );
            }
        }
        for (version, kind) in [("v1", ""), ("", "Secret"), ("", "Status"), ("", "")] {
            let body = protobuf(version, kind);
            let read = read(&body, "application/vnd.kubernetes.protobuf", &about);
            assert_eq!(read.err(), Some(Why::HalfType), "{version} {kind}");
        }
        // A patch changes what it names, and need not name the type.
        assert!(read(br#"{"kind": "Secret"}"#, "application/merge-patch+json", &about).is_ok());
    }
    let about = about_of("v1", "secrets");
    assert!(
        read(br#"{"data": {}}"#, "application/json", &about).is_ok(),
        "of no type it is the path's"
    );
    // Within a list, too: of what says half of its type nothing is known.
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Status", "reason": "NotFound"}]}"#;
    assert!(!document(list, "application/json", &about).json().contains("NotFound"));
}

proptest! {
    /// A message that is cut anywhere is no document, though what is left may be a message to protobuf.
    #[test]
    fn a_protobuf_body_that_ends_before_its_end_is_no_document(
        seed in any::<u64>(), which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
    ) {
        let kinds = kinds();
        let (version, kind, known) = kinds[which.index(kinds.len())];
        let object = Filler::new("canary".to_owned(), Manner::Faithful, seed).object(version, kind, known.message);
        let whole = protobuf(&object, known.message);
        // Behind the object stand two empty fields, without which it is still whole.
        let cut = cut.index(whole.len() - 4);
        let about = about_of(version, known.plural);
        let media = "application/vnd.kubernetes.protobuf";
        prop_assert!(read(&whole, media, &about).is_ok());
        let why = read(&whole[..cut], media, &about).err();
        prop_assert!(matches!(why, Some(Why::Malformed | Why::Empty | Why::HalfType)), "{cut} of {}: {why:?}", whole.len());
    }
}
