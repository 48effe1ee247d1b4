//! The scanners against whole parses of the same bytes, in any pieces, and against foreign ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scan_in_pieces(mut scan: Scan, bytes: &[u8], piece: usize) -> Result<Seen, Unread> {
    for chunk in bytes.chunks(piece.max(1)) {
        scan.feed(chunk);
    }
    scan.finish()
}

fn json_seen(value: &Value) -> Seen {
    scan_in_pieces(Scan::json(Want::Names), value.to_string().as_bytes(), 7).unwrap()
}

fn text(value: &Value) -> Option<Box<str>> {
    value.as_str().filter(|text| !text.is_empty()).map(Into::into)
}

fn named(metadata: &Value) -> Named {
    Named {
        name: text(&metadata["name"]),
        namespace: text(&metadata["namespace"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
    }
}

/// What a whole parse says; the scan must say the same.
fn oracle(value: &Value) -> Seen {
    let rows = |member: &str, inner: fn(&Value) -> &Value| {
        let items = value[member].as_array().cloned().unwrap_or_default();
        let objects = items.iter().filter(|item| item.is_object());
        objects.map(|item| named(&inner(item)["metadata"])).collect::<Vec<_>>()
    };
    let mut items = rows("items", |item| item);
    items.extend(rows("rows", |row| &row["object"]));
    let about = Named {
        name: text(&value["details"]["name"]),
        uid: text(&value["details"]["uid"]),
        ..Named::default()
    };
    Seen {
        kind: text(&value["kind"]).unwrap_or_default(),
        top: named(&value["metadata"]),
        about,
        reason: text(&value["reason"]),
        count: items.len().try_into().unwrap(),
        first: items.first().and_then(|item| item.name.clone()),
        last: items.last().cloned().unwrap_or_default(),
        issued: None,
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{0,12}",
        Just("kind".to_owned()),
        Just("metadata".to_owned()),
        Just("name".to_owned()),
        Just("items".to_owned()),
        Just("}]\",{".to_owned()),
        any::<String>(),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("name".to_owned()),
        Just("uid".to_owned()),
        Just("metadata".to_owned()),
        Just("object".to_owned()),
        "[a-z]{0,20}",
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn metadata() -> impl Strategy<Value = Value> {
    (any_text(), any_text(), any_text(), any_json(), any_text()).prop_map(|(name, namespace, uid, labels, version)| {
        json!({"labels": labels, "name": name, "namespace": namespace, "ownerReferences": [{"name": "other", "uid": "u"}],
            "resourceVersion": version, "uid": uid})
    })
}

fn answer() -> impl Strategy<Value = Value> {
    let item = (metadata(), any_json()).prop_map(|(metadata, spec)| json!({"metadata": metadata, "spec": spec}));
    let row = (metadata(), any_json())
        .prop_map(|(metadata, cells)| json!({"cells": [cells], "object": {"metadata": metadata}}));
    let kind = prop::sample::select(vec!["Pod", "PodList", "Table", "Status", "List"]);
    let lists = (prop::collection::vec(item, 0..4), prop::collection::vec(row, 0..4));
    (kind, metadata(), lists, any_json(), any_text()).prop_map(|(kind, metadata, (items, rows), status, reason)| {
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "items": items, "rows": rows, "status": status,
            "reason": reason, "details": {"name": "a", "causes": [{"reason": "x"}], "uid": "d"}})
    })
}

proptest! {
    #[test]
    fn json_in_any_pieces_is_read_as_a_whole_parse_reads_it(value in answer(), piece in 1..50_usize, pretty: bool) {
        let bytes = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let seen = scan_in_pieces(Scan::json(Want::Names), &bytes, piece);
        prop_assert_eq!(seen, Ok(oracle(&value)));
    }

    #[test]
    fn json_that_breaks_off_anywhere_is_unread(value in answer(), at in any::<prop::sample::Index>()) {
        let bytes = serde_json::to_vec(&value).unwrap();
        let cut = at.index(bytes.len());
        let seen = scan_in_pieces(Scan::json(Want::Names), &bytes[..cut], 11);
        prop_assert_eq!(seen, Err(Unread::NotWhole));
    }

    #[test]
    fn protobuf_in_any_pieces_says_what_the_same_object_says_in_json(value in answer(), piece in 1..50_usize) {
        prop_assume!(value["kind"] != "Table");
        let seen = scan_in_pieces(Scan::protobuf(Want::Names), &protobuf_of(&value), piece);
        let mut wanted = oracle(&value);
        let (is_list, is_status) = (wanted.is_list(), value["kind"] == "Status");
        // A protobuf message has the fields of its kind only.
        if is_list || is_status {
            wanted.top = Named { resource_version: wanted.top.resource_version, ..Named::default() };
        } else {
            wanted.top = named(&value["metadata"]);
        }
        if is_status {
            wanted.top = Named::default();
        } else {
            wanted.reason = None;
            wanted.about = Named::default();
        }
        let items: Vec<Named> = value["items"].as_array().unwrap().iter().map(|item| named(&item["metadata"])).collect();
        let items = if is_list { items } else { Vec::new() };
        wanted.count = items.len().try_into().unwrap();
        wanted.first = items.first().and_then(|item| item.name.clone());
        wanted.last = items.last().cloned().unwrap_or_default();
        prop_assert_eq!(seen, Ok(wanted));
    }

    #[test]
    fn protobuf_that_breaks_off_anywhere_but_at_its_very_end_is_unread(value in answer(), at in any::<prop::sample::Index>()) {
        let bytes = protobuf_of(&value);
        // Behind the object stand two empty fields of two bytes each, without which the message is still whole.
        let cut = at.index(bytes.len() - 4);
        let seen = scan_in_pieces(Scan::protobuf(Want::Names), &bytes[..cut], 11);
        prop_assert_eq!(seen, Err(Unread::NotWhole));
    }

    #[test]
    fn foreign_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&data);
    }
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(value.try_into().unwrap());
    out
}

fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn number(field: usize, value: usize) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn string(number: usize, value: &Value) -> Vec<u8> {
    field(number, value.as_str().unwrap_or_default().as_bytes())
}

fn object_meta(metadata: &Value) -> Vec<u8> {
    [
        string(1, &metadata["name"]),
        field(2, b"generate-"),
        string(3, &metadata["namespace"]),
        string(5, &metadata["uid"]),
        string(6, &metadata["resourceVersion"]),
        number(7, 3),
        field(11, &[field(1, b"name"), field(2, b"value")].concat()),
        field(13, &[field(3, b"other"), field(4, b"u")].concat()),
    ]
    .concat()
}

/// The same object as the API server's protobuf serialiser frames it.
fn protobuf_of(value: &Value) -> Vec<u8> {
    let kind = value["kind"].as_str().unwrap();
    let raw = if kind == "Status" {
        let details = [
            string(1, &value["details"]["name"]),
            field(4, &field(1, b"x")),
            number(5, 3),
            string(6, &value["details"]["uid"]),
        ]
        .concat();
        [
            field(1, &[]),
            field(2, b"Failure"),
            field(3, b"words"),
            string(4, &value["reason"]),
            field(5, &details),
            number(6, 404),
        ]
        .concat()
    } else if kind.ends_with("List") {
        let list_meta = [
            field(1, b""),
            string(2, &value["metadata"]["resourceVersion"]),
            field(3, b"next"),
        ]
        .concat();
        let items = value["items"].as_array().unwrap().iter();
        let items = items.map(|item| {
            field(
                2,
                &[field(1, &object_meta(&item["metadata"])), field(2, &[0xff; 9])].concat(),
            )
        });
        [field(1, &list_meta), items.collect::<Vec<_>>().concat()].concat()
    } else {
        [
            field(1, &object_meta(&value["metadata"])),
            field(2, &[0x80; 300]),
            field(3, &field(1, b"never-a-token")),
        ]
        .concat()
    };
    let type_meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
    [
        protobuf::MAGIC.to_vec(),
        field(1, &type_meta),
        field(2, &raw),
        field(3, b""),
        field(4, b""),
    ]
    .concat()
}

const FOR_ONE: Asked<'static> = Asked {
    is_for_one: true,
    name: "",
    is_success: true,
};

/// promise_6: an admission webhook hands on a `Status` of its own making. None of its words stands in a record but those that are known.
#[test]
fn promise_6_what_a_webhook_says_in_its_no_is_in_no_record() {
    let no = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "hunter2", "code": 403, "message": "hunter2",
        "metadata": {"resourceVersion": "hunter2"},
        "details": {"name": "hunter2", "uid": "hunter2", "kind": "hunter2", "causes": [{"reason": "hunter2", "field": "hunter2"}]}});
    let refused = Asked {
        is_for_one: true,
        name: "web",
        is_success: false,
    };
    for seen in [
        json_seen(&no),
        scan_in_pieces(Scan::protobuf(Want::Names), &protobuf_of(&no), 5).unwrap(),
    ] {
        assert_eq!(seen.reason(), Some("other"));
        assert!(seen.object(refused).is_none(), "and no name that the path does not say");
        assert!(seen.items().is_none());
        let named = Asked {
            name: "hunter2",
            ..refused
        };
        let object = seen.object(named).unwrap();
        assert_eq!(
            (object.name, object.uid),
            (Some("hunter2"), None),
            "the path says it anyway"
        );
        // A yes is the API server's own: it says what was deleted.
        let yes = Asked {
            is_success: true,
            ..refused
        };
        assert_eq!(seen.object(yes).unwrap().uid, Some("hunter2"));
    }
    let known = json!({"kind": "Status", "reason": "AlreadyExists"});
    assert_eq!(json_seen(&known).reason(), Some("AlreadyExists"));
}

#[test]
fn a_table_with_one_row_is_the_object_that_was_asked_for() {
    let table = json!({"kind": "Table", "metadata": {"resourceVersion": "9"}, "columnDefinitions": [{"name": "Name"}],
        "rows": [{"cells": ["a", 1], "object": {"kind": "PartialObjectMetadata", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}}}]});
    let seen = json_seen(&table);
    let object = seen.object(FOR_ONE).unwrap();
    assert_eq!(
        (object.name, object.uid, object.resource_version),
        (Some("a"), Some("u"), Some("7"))
    );
    assert_eq!(seen.object(Asked::default()).unwrap().resource_version, Some("9"));
    assert_eq!(seen.items().unwrap().count, 1);
}

#[test]
fn what_cannot_be_read_is_unread_with_the_reason() {
    let headers = |pairs: &[(&'static str, &'static str)]| {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect()
    };
    let why =
        |headers: HeaderMap, body: &[u8]| scan_in_pieces(Scan::new(&headers, Want::Names), body, 4096).unwrap_err();
    let json = ("content-type", "application/json; charset=utf-8");
    assert_eq!(
        why(headers(&[json, ("content-encoding", "gzip")]), b"{}"),
        Unread::Compressed
    );
    assert_eq!(
        why(headers(&[("content-type", "text/plain")]), b"{}"),
        Unread::OtherType
    );
    assert_eq!(why(headers(&[]), b"{}"), Unread::OtherType);
    assert_eq!(why(headers(&[json]), &[b' '; MOST_JSON + 1]), Unread::TooLong);
    assert_eq!(why(headers(&[json]), b"[]"), Unread::NotWhole);
    assert!(scan_in_pieces(Scan::new(&headers(&[json]), Want::Names), b"{}", 1).is_ok());
}

#[test]
fn of_a_token_only_its_id_and_its_end_are_kept() {
    // {"jti":"0195-a","exp":1790000000,"sub":"system:serviceaccount:a:b"}
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIwMTk1LWEiLCJleHAiOjE3OTAwMDAwMDAsInN1YiI6InN5c3RlbTpzZXJ2aWNlYWNjb3VudDphOmIifQ.c2ln";
    let answer = json!({"kind": "TokenRequest", "metadata": {"name": "b"}, "status": {"token": token}}).to_string();
    let issued = scan_in_pieces(Scan::json(Want::Token), answer.as_bytes(), 5)
        .unwrap()
        .issued
        .unwrap();
    assert_eq!((&*issued.id, issued.expires), ("JTI=0195-a", Some(1_790_000_000)));
    let unasked = scan_in_pieces(Scan::json(Want::Names), answer.as_bytes(), 5).unwrap();
    assert!(unasked.issued.is_none() && !format!("{unasked:?}").contains("eyJ"));
    let raw = [
        field(1, &object_meta(&json!({"name": "b"}))),
        field(3, &field(1, token.as_bytes())),
    ]
    .concat();
    let type_meta = field(2, b"TokenRequest");
    let answer = [protobuf::MAGIC.to_vec(), field(1, &type_meta), field(2, &raw)].concat();
    let issued = scan_in_pieces(Scan::protobuf(Want::Token), &answer, 3)
        .unwrap()
        .issued
        .unwrap();
    assert_eq!(&*issued.id, "JTI=0195-a");
}

#[test]
fn a_token_that_has_passed_is_known_though_its_holder_left_before_the_end() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIwMTk1LWEiLCJleHAiOjE3OTAwMDAwMDAsInN1YiI6InN5c3RlbTpzZXJ2aWNlYWNjb3VudDphOmIifQ.c2ln";
    let note = "n".repeat(MOST_JSON);
    let answer = format!(
        r#"{{"kind":"TokenRequest","metadata":{{"annotations":{{"a":"{note}"}}}},"status":{{"token":"{token}"}}}}"#
    );
    let behind = answer.find(token).unwrap() + token.len();
    for (end, issued) in [(answer.len(), true), (behind + 1, true), (behind, false)] {
        let mut scan = Scan::json(Want::Token);
        answer.as_bytes()[..end]
            .chunks(4_096)
            .for_each(|piece| scan.feed(piece));
        let id = scan.issued_so_far().map(|issued| issued.id);
        assert_eq!(id.as_deref(), issued.then_some("JTI=0195-a"), "{end}");
    }
    let mut longest = Scan::json(Want::Token);
    let claims = URL_SAFE_NO_PAD.encode(json!({"jti": "0195-a", "aud": "a".repeat(40_000)}).to_string());
    longest.feed(
        json!({"status": {"token": format!("a.{claims}.b")}})
            .to_string()
            .as_bytes(),
    );
    assert!(
        longest.finish().unwrap().issued.is_some(),
        "as long as a header's line may be"
    );
}

#[test]
fn of_a_certificate_only_fingerprint_serial_and_end_are_kept() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let pem = certificate.pem();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pem);
    let answer = json!({"kind": "CertificateSigningRequest", "status": {"certificate": encoded}}).to_string();
    let issued = scan_in_pieces(Scan::json(Want::Certificate), answer.as_bytes(), 64)
        .unwrap()
        .issued
        .unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
    let hex = hex::encode(digest);
    assert_eq!(*issued.id, format!("X509SHA256={hex}"));
    assert!(issued.serial.is_some() && issued.expires.is_some());
    // Whoever asks for a certificate chooses what stands in front of it.
    let padded = format!("{}{answer}", " ".repeat(MOST_JSON));
    let mut scan = Scan::json(Want::Certificate);
    padded.as_bytes().chunks(16_384).for_each(|piece| scan.feed(piece));
    assert_eq!(scan.finish().unwrap().issued, Some(issued));
}

#[test]
fn a_hostile_token_leaves_nothing() {
    for token in ["", "a.b.c", "..", "e30.e30.e30", "e30.eyJqdGkiOiJcbiJ9.e30"] {
        let answer = json!({"status": {"token": token}}).to_string();
        assert!(
            scan_in_pieces(Scan::json(Want::Token), answer.as_bytes(), 5)
                .unwrap()
                .issued
                .is_none(),
            "{token}"
        );
    }
}
