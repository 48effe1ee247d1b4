//! Bodies as they come, one by one.

use serde_json::{Value, json};

use super::{about_of, document, read, read_by};
use crate::tests::generate::bytes as field;
use crate::{About, Body, DigestKey, Document, Domain, Limits, Masker, Node, Recorded, Side, Why, diff};

const JSON: &str = "application/json";
const YAML: &str = "application/apply-patch+yaml";

fn secrets() -> About<'static> {
    about_of("v1", "secrets")
}

fn value(document: &Document) -> Value {
    serde_json::from_str(document.json()).unwrap()
}

fn secret(members: Value) -> Document {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}});
    object
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    document(&object.to_string(), JSON, &secrets())
}

/// The digest alone.
fn digest(node: &Value) -> String {
    node["~"].as_str().unwrap().split_once('.').unwrap().1.to_owned()
}

#[test]
fn what_an_auditor_wants_is_seen_and_values_are_not() {
    let text = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"}, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"hunter2\"}"}},
        "spec": {"replicas": 3, "paused": false, "template": {"spec": {"serviceAccountName": "web", "hostNetwork": true, "containers": [{
            "name": "app", "image": "registry.example/web:v1@sha256:00", "command": ["sh", "-c", "psql -p hunter2"],
            "env": [{"name": "DB_PASSWORD", "value": "hunter2"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}}],
            "resources": {"limits": {"cpu": "500m"}}, "securityContext": {"privileged": true, "runAsUser": 0},
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "volumeMounts": [{"name": "v", "mountPath": "/var/run/docker.sock"}]}],
            "volumes": [{"name": "v", "hostPath": {"path": "/var/run/docker.sock"}}]}}},
    });
    let read = value(&document(&text.to_string(), JSON, &about_of("apps/v1", "deployments")));
    let mut expected = text;
    let masked = |node: &mut Value, seen: &Value, letter: &str| {
        let word = seen["~"].as_str().unwrap();
        assert!(word.starts_with(letter), "{word}");
        *node = seen.clone();
    };
    let last = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    masked(expected.pointer_mut(last).unwrap(), read.pointer(last).unwrap(), "a2.");
    for (place, letter) in [
        ("/env/0/value", "e1."),
        ("/command/0", "o1."),
        ("/command/1", "o1."),
        ("/command/2", "o1."),
        ("/env/1/valueFrom/secretKeyRef/key", "o1."),
    ] {
        let place = format!("/spec/template/spec/containers/0{place}");
        masked(
            expected.pointer_mut(&place).unwrap(),
            read.pointer(&place).unwrap(),
            letter,
        );
    }
    assert_eq!(read, expected);
    for text in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": "alice@example.com", "apiGroup": "rbac.authorization.k8s.io"},
                {"kind": "ServiceAccount", "name": "bot", "namespace": "ci"}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
            "rules": [{"verbs": ["get", "*"], "apiGroups": [""], "resources": ["pods/exec", "*"], "resourceNames": ["web-0"]},
                {"verbs": ["get"], "nonResourceURLs": ["/metrics/*"]}]}),
    ] {
        let resource = format!("{}s", text["kind"].as_str().unwrap().to_lowercase());
        let read = document(
            &text.to_string(),
            JSON,
            &about_of("rbac.authorization.k8s.io/v1", &resource),
        );
        assert_eq!(value(&read), text);
        assert_eq!(read.masked(), crate::Masked::default());
    }
}

#[test]
fn equal_values_have_equal_digests_within_a_domain_and_a_cluster_and_nowhere_else() {
    let one = value(&secret(
        json!({"data": {"password": "aHVudGVyMg==", "user": "YWw="}, "stringData": {"token": "hunter2"}}),
    ));
    assert_eq!(one["data"]["password"], one["stringData"]["token"]);
    assert_ne!(one["data"]["password"], one["data"]["user"]);
    let config = document(
        r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"password":"hunter2"}}"#,
        JSON,
        &about_of("v1", "configmaps"),
    );
    let pod = r#"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"a","env":[{"name":"P","value":"hunter2"}],"args":["hunter2"]}]}}"#;
    let pod = value(&document(pod, JSON, &about_of("v1", "pods")));
    let container = &pod["spec"]["containers"][0];
    let mut digests = vec![
        digest(&one["data"]["password"]),
        digest(&value(&config)["data"]["password"]),
        digest(&container["env"][0]["value"]),
        digest(&container["args"][0]),
    ];
    let other = Masker::new(DigestKey::new(&[7; 32], "staging"), Limits::default(), false);
    let text = br#"{"apiVersion":"v1","kind":"Secret","stringData":{"password":"hunter2"}}"#;
    digests.push(digest(
        &value(&read_by(&other, text, JSON, &secrets()).unwrap())["stringData"]["password"],
    ));
    let other = Masker::new(DigestKey::new(&[8; 32], "prod"), Limits::default(), false);
    digests.push(digest(
        &value(&read_by(&other, text, JSON, &secrets()).unwrap())["stringData"]["password"],
    ));
    let all = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), all);
}

/// The construction is fixed, so that digests of one release are those of the next. Computed with Python's `hmac`.
#[test]
fn a_digest_is_what_it_was() {
    let read = value(&secret(json!({"stringData": {"password": "hunter2", "empty": ""}})));
    assert_eq!(read["stringData"]["password"]["~"], "s1.00wUShXewpfAyb9nEK-wWg");
}

#[test]
fn a_length_is_told_by_its_class_alone() {
    let class = |length: usize| {
        let read = secret(json!({"stringData": {"password": "x".repeat(length)}}));
        let mut class = None;
        read.root().masks(&mut |_, mask| class = Some(mask.class()));
        class.unwrap().most()
    };
    for (length, most) in [
        (0, Some(0)),
        (1, Some(16)),
        (16, Some(16)),
        (17, Some(64)),
        (65, Some(256)),
        (1 << 18, Some(1 << 18)),
        (300_000, None),
    ] {
        assert_eq!(class(length), most, "{length}");
    }
    let lengths: Vec<usize> = (1..=16)
        .map(|length| {
            secret(json!({"stringData": {"password": "x".repeat(length)}}))
                .json()
                .len()
        })
        .collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
}

#[test]
fn what_some_reader_takes_for_a_secret_s_data_is_masked_like_it_and_noted() {
    let text = r#"{"apiVersion":"v1","kind":"Secret","DATA":{"Password":"hunter2"},"\u017ftringData":{"a":"hunter2"},
        "data":{"x":"aHVudGVyMg=="},"hunter2":{"hunter3":7,"hunter4":true}}"#;
    let read = document(text, JSON, &secrets());
    assert!(!read.json().contains("hunter"), "{}", read.json());
    let notes = read.notes();
    assert_eq!((notes.other_case, notes.unknown), (2, 1));
    let last = value(&secret(json!({"data": {"x": "aHVudGVyMg=="}})));
    assert_eq!(value(&read)["data"], last["data"]);
    let masked = read.masked();
    assert_eq!(
        (
            masked.values(Domain::Secret),
            masked.values(Domain::Number),
            masked.keys
        ),
        (3, 1, 5)
    );
    assert_eq!(masked.paths[0], "DATA.Password");
}

#[test]
fn tokens_certificates_and_hooks_are_masked_where_they_stand() {
    for (version, resource, text, seen) in [
        (
            "authentication.k8s.io/v1",
            "tokenreviews",
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "hunter2", "audiences": ["api"]},
                "status": {"authenticated": true, "user": {"username": "al", "groups": ["dev"], "extra": {"hunter2": ["hunter2"]}}}}),
            vec!["api", "al", "dev", "{\"~\":\"t1."],
        ),
        (
            "authentication.k8s.io/v1",
            "tokenrequests",
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["api"], "expirationSeconds": 3600},
                "status": {"token": "hunter2", "expirationTimestamp": "2026-11-22T15:00:00Z"}}),
            vec!["3600", "2026-11-22T15:00:00Z", "{\"~\":\"t1."],
        ),
        (
            "certificates.k8s.io/v1",
            "certificatesigningrequests",
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"},
                "spec": {"request": "aHVudGVyMg==", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
                "status": {"certificate": "aHVudGVyMg=="}}),
            vec!["kubernetes.io/kube-apiserver-client"],
        ),
        (
            "admissionregistration.k8s.io/v1",
            "validatingwebhookconfigurations",
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"},
                "webhooks": [{"name": "a.example", "clientConfig": {"url": "https://hooks.example:8443/hunter2", "caBundle": "aHVudGVyMg=="}},
                    {"name": "b.example", "clientConfig": {"url": "https://al:hunter2@hooks.internal/"}}]}),
            vec!["\"origin\":\"https://hooks.example:8443\"", "a.example"],
        ),
    ] {
        let read = document(&text.to_string(), JSON, &about_of(version, resource));
        for hidden in ["hunter2", "aHVudGVyMg", "hooks.internal"] {
            assert!(!read.json().contains(hidden), "{hidden} in {}", read.json());
        }
        for seen in seen {
            assert!(read.json().contains(seen), "{seen} is not in {}", read.json());
        }
    }
}

#[test]
fn a_secret_in_the_place_of_a_name_is_masked_with_an_alarm() {
    let text = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}}"#;
    let read = document(text, JSON, &about_of("v1", "pods"));
    assert!(read.json().contains(r#"{"~":"!o2."#), "{}", read.json());
    assert_eq!(
        (read.masked().alarms, read.masked().paths),
        (1, vec!["metadata.name".to_owned()])
    );
}

#[test]
fn of_a_kind_without_a_table_the_metadata_the_technical_keys_and_truth_values_are_seen() {
    let text = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"a": "b"}},
        "spec": {"password": "hunter2", "enabled": true, "pin": 1234, "hunter2": null, "items": ["hunter2"]}});
    let read = document(&text.to_string(), JSON, &about_of("example.com/v1", "widgets"));
    assert!(
        !read.json().contains("hunter2") && !read.json().contains("1234"),
        "{}",
        read.json()
    );
    let value = value(&read);
    assert_eq!(value["metadata"], text["metadata"]);
    assert_eq!(value["spec"]["enabled"], true);
    assert!(value["spec"]["password"]["~"].as_str().unwrap().starts_with("o1."));
    assert!(value["spec"]["items"][0].get("~").is_some());
    assert_eq!(read.masked().keys, 2, "`pin` and `hunter2`: {}", read.json());
}

#[test]
fn a_body_of_another_kind_than_its_path_is_read_as_of_none() {
    let text = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"},"spec":{"finalizers":["hunter2"]}}"#;
    assert!(
        document(text, JSON, &about_of("v1", "namespaces"))
            .json()
            .contains("hunter2")
    );
    assert!(!document(text, JSON, &secrets()).json().contains("hunter2"));
    // What belongs to another kind does not become harmless by standing in a Secret.
    let text = r#"{"apiVersion":"v1","kind":"Secret","spec":{"nodeName":"hunter2"}}"#;
    assert!(!document(text, JSON, &secrets()).json().contains("hunter2"));
}

#[test]
fn managed_fields_are_left_out_where_that_is_asked_for_and_their_contents_always() {
    let text = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","managedFields":[{"manager":"kubectl","operation":"Apply",
        "fieldsV1":{"f:metadata":{"v:\"hunter2\"":{}}}}]}}"#;
    let about = about_of("v1", "pods");
    let all = read(text, JSON, &about).unwrap();
    assert!(
        all.json().contains("kubectl") && !all.json().contains("hunter2"),
        "{}",
        all.json()
    );
    let masker = Masker::new(DigestKey::new(&[7; 32], "prod"), Limits::default(), true);
    let less = read_by(&masker, text, JSON, &about).unwrap();
    assert_eq!(
        less.json(),
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}"#
    );
    assert_eq!(less.notes().managed_left_out, 1);
}

#[test]
fn a_patch_shows_where_it_leads_and_masks_what_it_brings() {
    let text = json!([
        {"op": "replace", "path": "/spec/replicas", "value": 5},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "A", "value": "hunter2"}},
        {"op": "test", "path": "/spec/template/spec/containers/0/env/0/value", "value": "hunter2"},
        {"op": "add", "path": "/metadata/annotations/hunter2~1x", "value": "hunter2"},
        {"op": "add", "path": "/metadata/labels/team", "value": "shop"},
        {"op": "hunter2", "path": "no pointer hunter2"},
    ]);
    let read = value(&document(
        &text.to_string(),
        "application/json-patch+json",
        &about_of("apps/v1", "deployments"),
    ));
    assert!(!read.to_string().contains("hunter2"), "{read}");
    assert_eq!(read[0], text[0]);
    assert_eq!(read[1]["path"], text[1]["path"]);
    assert_eq!(read[1]["value"]["name"], "A");
    assert_eq!(read[1]["value"]["value"], read[2]["value"]);
    assert!(
        read[3]["path"]
            .as_str()
            .unwrap()
            .starts_with("/metadata/annotations/~0k1."),
        "{read}"
    );
    assert_eq!(read[4], text[4]);
    assert!(read[5]["path"].get("~").is_some());
    let secret = document(
        r#"[{"op":"add","path":"/data/tls.key","value":"aHVudGVyMg=="}]"#,
        "application/json-patch+json",
        &secrets(),
    );
    let direct = document(
        r#"{"data":{"tls.key":"aHVudGVyMg=="}}"#,
        "application/merge-patch+json",
        &secrets(),
    );
    assert_eq!(value(&secret)[0]["value"], value(&direct)["data"]["tls.key"]);
}

#[test]
fn directives_of_a_strategic_patch_are_read_like_the_fields_that_they_are_about() {
    let text = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "app"}],
        "containers": [{"name": "app", "$patch": "delete", "env": [{"name": "A", "value": "hunter2"}]}],
        "$retainKeys": ["containers", "hunter2"], "$deleteFromPrimitiveList/hunter2": ["hunter2"]}}}});
    let read = value(&document(
        &text.to_string(),
        "application/strategic-merge-patch+json",
        &about_of("apps/v1", "deployments"),
    ));
    let spec = &read["spec"]["template"]["spec"];
    assert!(!read.to_string().contains("hunter2"), "{read}");
    assert_eq!(spec["$setElementOrder/containers"], json!([{"name": "app"}]));
    assert_eq!(spec["containers"][0]["$patch"], "delete");
    assert_eq!(spec["$retainKeys"][0], "containers");
    // In any other body they are members that there are not.
    let plain = value(&document(
        &text.to_string(),
        "application/merge-patch+json",
        &about_of("apps/v1", "deployments"),
    ));
    assert!(!plain.to_string().contains('$'), "{plain}");
}

#[test]
fn yaml_says_what_json_says_and_what_readers_differ_on_is_masked_or_not_read() {
    let yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3\n  template:\n    spec:\n      \
                containers:\n      - name: app\n        image: 'web:v1'\n        args: [hunter2]\n";
    let json = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3,"template":{"spec":{
        "containers":[{"name":"app","image":"web:v1","args":["hunter2"]}]}}}}"#;
    let about = about_of("apps/v1", "deployments");
    assert_eq!(document(yaml, YAML, &about), document(json, JSON, &about));
    let words = document(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: yes, namespace: 012}\n",
        YAML,
        &about_of("v1", "pods"),
    );
    assert_eq!(words.notes().two_ways, 2);
    assert!(
        !words.json().contains("yes") && !words.json().contains("012"),
        "{}",
        words.json()
    );
    for (text, why) in [
        ("a: &x [1]\nb: *x\n", Why::ManyReadings),
        ("a: !!binary aHVudGVyMg==\n", Why::ManyReadings),
        ("a: 1\n---\na: 2\n", Why::ManyReadings),
        ("a: 1\na: 2\n", Why::ManyReadings),
        ("<<: {a: 1}\n", Why::ManyReadings),
        ("yes: 1\n", Why::ManyReadings),
        ("? [a]\n: 1\n", Why::ManyReadings),
        ("a: [1\n", Why::Malformed),
    ] {
        assert_eq!(read(text.as_bytes(), YAML, &about), Err(why), "{text}");
    }
}

#[test]
fn what_is_not_read_says_why() {
    let pods = about_of("v1", "pods");
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let wide = format!("[{}0]", "0,".repeat(200_000));
    for (bytes, media, why) in [
        (&b""[..], JSON, Why::Empty),
        (b"{", JSON, Why::Malformed),
        (b"{} {}", JSON, Why::Malformed),
        (b"{\"a\":012}", JSON, Why::Malformed),
        (b"{\"a\":NaN}", JSON, Why::Malformed),
        (b"{\"a\":1,}", JSON, Why::Malformed),
        (b"{\"a\":\"\n\"}", JSON, Why::Malformed),
        (b"{\"a\":\"\xff\"}", JSON, Why::NotUtf8),
        (b"{\"a\":\"\\ud800\"}", JSON, Why::NotUtf8),
        (b"{\"a\":\"\\ud800\\u0041\"}", JSON, Why::NotUtf8),
        (b"{\"a\":\"\\+12f\"}", JSON, Why::Malformed),
        (b"{\"a\":\"\\u+12f\"}", JSON, Why::Malformed),
        (deep.as_bytes(), JSON, Why::TooDeep),
        (wide.as_bytes(), JSON, Why::TooWide),
        (b"\xa1", "application/cbor", Why::OtherType),
        (b"a=b", "application/x-www-form-urlencoded", Why::OtherType),
        (b"k8s", "application/vnd.kubernetes.protobuf", Why::Malformed),
        (b"k8s\0", "application/vnd.kubernetes.protobuf", Why::Malformed),
        (
            b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04None\x12\0",
            "application/vnd.kubernetes.protobuf",
            Why::UnknownKind,
        ),
    ] {
        assert_eq!(
            read(bytes, media, &pods).map(|document| document.json().to_owned()),
            Err(why),
            "{media} {bytes:?}"
        );
    }
    let body = Body {
        bytes: b"{}",
        is_whole: true,
        content_type: None,
        content_encoding: None,
    };
    let masker = Masker::new(
        DigestKey::new(&[7; 32], "prod"),
        Limits {
            body: 1 << 10,
            ..Limits::default()
        },
        false,
    );
    let long = [b' '; 1025];
    for (body, why) in [
        (
            Body {
                is_whole: false,
                ..body
            },
            Why::Cut,
        ),
        (
            Body {
                content_encoding: Some("gzip"),
                ..body
            },
            Why::Compressed,
        ),
        (Body { bytes: &long, ..body }, Why::TooLong),
    ] {
        assert!(
            matches!(masker.mask(&body, &pods), Recorded::Opaque(opaque) if opaque.why == why),
            "{why:?}"
        );
    }
    assert!(matches!(masker.mask(&body, &pods), Recorded::Document(_)));
}

#[test]
fn protobuf_of_a_strange_kind_names_it_and_a_strange_field_is_masked() {
    let about = about_of("v1", "secrets");
    let body = |kind: &[u8], raw: &[u8]| {
        let types = [field(1, b"v1"), field(2, kind)].concat();
        [b"k8s\0".to_vec(), field(1, &types), field(2, raw)].concat()
    };
    let masker = super::masker();
    let widgets = about_of("v1", "widgets");
    let opaque_of = |bytes: &[u8], about: &About<'_>| {
        let body = Body {
            bytes,
            is_whole: true,
            content_type: Some("application/vnd.kubernetes.protobuf"),
            content_encoding: None,
        };
        match masker.mask(&body, about) {
            Recorded::Opaque(opaque) => opaque,
            Recorded::Document(document) => panic!("{document:?}"),
        }
    };
    let opaque = |bytes: &[u8]| opaque_of(bytes, &about);
    let strange = opaque_of(&body(b"Widget", b""), &widgets);
    assert_eq!(
        (strange.why, strange.kind),
        (Why::UnknownKind, Some(("v1".into(), "Widget".into())))
    );
    for kind in [&b"hunter 2"[..], b"hunter2", b"Widget", b"CorrectHorseBatteryStaple"] {
        assert_eq!(opaque(&body(kind, b"")).kind, None, "the path says nothing of it");
    }
    let metadata = field(1, &field(1, b"s"));
    // `type` twice would have to be merged.
    let twice = [metadata.clone(), field(3, b"Opaque"), field(3, b"other")].concat();
    assert_eq!(opaque(&body(b"Secret", &twice)).why, Why::Malformed);
    let more = [
        metadata,
        field(77, b"hunter2"),
        field(77, b"hunter3"),
        field(3, b"Opaque"),
    ]
    .concat();
    let read = read(&body(b"Secret", &more), "application/vnd.kubernetes.protobuf", &about).unwrap();
    assert!(!read.json().contains("hunter"), "{}", read.json());
    assert_eq!(
        (
            read.notes().unknown,
            read.masked().values(Domain::Secret),
            value(&read)["type"].as_str()
        ),
        (1, 2, Some("Opaque"))
    );
}

#[test]
fn a_document_that_would_be_too_long_is_cut_to_digests_of_its_parts() {
    let limits = Limits {
        document: 2 << 10,
        ..Limits::default()
    };
    let masker = Masker::new(DigestKey::new(&[7; 32], "prod"), limits, false);
    let text = |changed: &str| {
        let data: serde_json::Map<String, Value> = (0..500).map(|at| (format!("k{at}"), json!(changed))).collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": data}).to_string()
    };
    let cut = |changed| read_by(&masker, text(changed).as_bytes(), JSON, &about_of("v1", "configmaps")).unwrap();
    let (one, same, other) = (cut("a"), cut("a"), cut("b"));
    assert!(one.json().len() <= 2 << 10 && one.cut_at() == Some(1), "{one:?}");
    assert!(one.json().contains("\"data\":{\"~\":\"x"), "{}", one.json());
    assert_eq!(one, same);
    let changes = diff(one.root(), other.root()).changes;
    assert_eq!(
        changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(),
        ["data"]
    );
}

#[test]
fn numbers_are_kept_as_they_were_written() {
    let text = r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":12345678901234567890123,"minReadySeconds":1.0e2}}"#;
    let read = document(text, JSON, &about_of("apps/v1", "deployments"));
    assert!(
        read.json().contains("12345678901234567890123") && read.json().contains("1.0e2"),
        "{}",
        read.json()
    );
    let long = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","spec":{{"replicas":{}}}}}"#,
        "1".repeat(41)
    );
    assert!(
        !document(&long, JSON, &about_of("apps/v1", "deployments"))
            .json()
            .contains("1111")
    );
}

#[test]
fn a_difference_names_the_element_and_shows_masks_for_what_is_masked() {
    let text = |image: &str, password: &str, more: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{{"containers":[{more}
            {{"name":"app","image":"{image}","env":[{{"name":"P","value":"{password}"}}]}}]}}}}"#
        )
    };
    let about = about_of("v1", "pods");
    let before = document(&text("web:v1", "hunter1", ""), JSON, &about);
    let after = document(
        &text("web:v2", "hunter2", r#"{"name":"side","image":"x"},"#),
        JSON,
        &about,
    );
    let found = diff(before.root(), after.root());
    let paths: Vec<&str> = found.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.containers[name=side]",
            "spec.containers[name=app].env[name=P].value",
            "spec.containers[name=app].image",
        ]
    );
    assert_eq!(found.changes[2].before, Some(Node::Text("web:v1".into())));
    assert_eq!(found.changes[2].after, Some(Node::Text("web:v2".into())));
    assert!(found.changes[0].before.is_none());
    let masks = (&found.changes[1].before, &found.changes[1].after);
    assert!(matches!(masks, (Some(Node::Mask(one)), Some(Node::Mask(other))) if one != other));
    let gone = diff(after.root(), before.root());
    assert!(gone.changes[0].after.is_none() && gone.changes.len() == 3);
}

#[test]
fn an_answer_that_is_a_list_or_a_refusal_is_read_as_what_it_is() {
    let about = About {
        side: Side::Answer,
        ..secrets()
    };
    let list =
        r#"{"apiVersion":"v1","kind":"SecretList","items":[{"metadata":{"name":"a"},"data":{"k":"aHVudGVyMg=="}}]}"#;
    let read = value(&document(list, JSON, &about));
    assert_eq!(read["items"][0]["metadata"]["name"], "a");
    assert_eq!(
        digest(
            &read["items"][0]["data"]
                .as_object()
                .unwrap()
                .values()
                .next()
                .unwrap()
                .clone()
        )
        .len(),
        22
    );
    let status = r#"{"apiVersion":"v1","kind":"Status","status":"Failure","code":422,"reason":"Invalid",
        "message":"Secret \"x\" is invalid: data[hunter2]","details":{"name":"x","kind":"secrets","causes":[{"field":"data[hunter2]","message":"hunter2"}]}}"#;
    let read = document(status, JSON, &about);
    assert!(
        !read.json().contains("hunter2") && read.json().contains("Invalid"),
        "{}",
        read.json()
    );
    let details = &value(&read)["details"];
    assert_eq!(details["kind"], "secrets");
    let unknown = r#"{"apiVersion":"example.com/v1","kind":"WidgetList","items":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"k":"aHVudGVyMg=="}}]}"#;
    let read = document(unknown, JSON, &about);
    assert!(
        read.json().contains("\"name\":\"a\"") && read.json().contains("{\"~\":\"s1."),
        "{}",
        read.json()
    );
}

/// promise_6: an admission webhook may put any word into the `Status` with which it refuses, and so may an extension API server.
#[test]
fn promise_6_no_word_of_a_webhook_s_status_is_shown() {
    let about = About {
        side: Side::Answer,
        ..about_of("v1", "configmaps")
    };
    let no = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {"resourceVersion": "hunter2", "remainingItemCount": 4711},
        "status": "hunter2", "message": "hunter2", "reason": "hunter2", "code": 4711,
        "details": {
            "name": "hunter2", "group": "hunter2", "kind": "hunter2", "uid": "hunter2", "retryAfterSeconds": 4711,
            "causes": [{"reason": "hunter2", "message": "hunter2", "field": "hunter2"}],
        },
    });
    let shown = document(&no.to_string(), JSON, &about);
    assert!(
        !shown.json().contains("hunter2") && !shown.json().contains("4711"),
        "{}",
        shown.json()
    );
    let listed = |name: &str, text: &str| {
        let mut status = no.clone();
        *status.pointer_mut(name).unwrap() = json!(text);
        let shown = value(&document(&status.to_string(), JSON, &about));
        shown.pointer(name) == Some(&json!(text))
    };
    for (name, text, is_shown) in [
        ("/status", "Failure", true),
        ("/status", "Forbidden", false),
        ("/reason", "Forbidden", true),
        ("/reason", "Forbiddenhunter2", false),
        ("/reason", "FieldValueInvalid", false),
        ("/details/causes/0/reason", "FieldValueInvalid", true),
        ("/details/causes/0/reason", "Hunter2", false),
        ("/details/kind", "pods", true),
        ("/details/kind", "configmaps", true),
        ("/details/group", "apps", true),
        ("/details/group", "hunter2.example.com", false),
        ("/details/name", "web", false),
    ] {
        assert_eq!(listed(name, text), is_shown, "{name} {text}");
    }
    // Of who may do what the reason is an authorizer's own word.
    let review = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{},"status":{"allowed":true,"reason":"hunter2"}}"#;
    let about = About {
        side: Side::Answer,
        ..about_of("authorization.k8s.io/v1", "subjectaccessreviews")
    };
    assert!(!document(review, JSON, &about).json().contains("hunter2"));
}

/// promise_6: a word in the place of a type is one that the path says or that is built in. That it looks like a type is no reason to show it.
#[test]
fn promise_6_a_word_in_the_place_of_a_type_is_the_path_s_or_a_built_in_one() {
    let widgets = About {
        side: Side::Answer,
        ..about_of("example.com/v1", "widgets")
    };
    let configs = about_of("v1", "configmaps");
    for (about, api_version, kind, is_shown) in [
        (configs, "v1", "ConfigMap", (true, true)),
        (configs, "apps/v1", "Deployment", (true, true)),
        (configs, "meta.k8s.io/v1", "PartialObjectMetadata", (true, true)),
        (widgets, "example.com/v1", "Widget", (true, true)),
        (widgets, "example.com/v1", "WidgetList", (true, true)),
        (widgets, "meta.k8s.io/v1", "Table", (true, true)),
        // Of the form of a type, each of them.
        (widgets, "example.com/v1beta2", "EC2Instance", (false, false)),
        (configs, "example.com/v1", "Widget", (false, false)),
        (
            configs,
            "correct-horse.battery/v1",
            "CorrectHorseBatteryStaple",
            (false, false),
        ),
        (widgets, "correct-horse.battery/v1", "List", (false, true)),
        (configs, "hunter2", "hunter2", (false, false)),
        (configs, "example.com/hunter2", "Canary0a1b2c3d", (false, false)),
        (configs, "Hunter2/v1", "pass-word", (false, false)),
        (configs, "v1/hunter2", "canaryabcdef", (false, false)),
    ] {
        let shown = |document: &Document| {
            let is_text = |name| matches!(document.root().member(name), Some(Node::Text(_)));
            (is_text("apiVersion"), is_text("kind"))
        };
        let text = json!({"apiVersion": api_version, "kind": kind}).to_string();
        let yaml = format!("apiVersion: '{api_version}'\nkind: '{kind}'\n");
        for (text, media) in [
            (&text, JSON),
            (&text, "application/merge-patch+json"),
            (&text, "application/strategic-merge-patch+json"),
            (&yaml, "application/yaml"),
            (&yaml, YAML),
        ] {
            let document = document(text, media, &about);
            assert_eq!(shown(&document), is_shown, "{media} {api_version} {kind}");
        }
        let patch = json!([{"op": "replace", "path": "/kind", "value": kind}, {"op": "test", "path": "/apiVersion", "value": api_version}]);
        let patch = document(&patch.to_string(), "application/json-patch+json", &about);
        assert_eq!(patch.masked().paths, ["[0].value", "[1].value"], "{}", patch.json());
        let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        let body = [b"k8s\0".to_vec(), field(1, &types), field(2, b"")].concat();
        let protobuf = Body {
            bytes: &body,
            is_whole: true,
            content_type: Some("application/vnd.kubernetes.protobuf"),
            content_encoding: None,
        };
        match super::masker().mask(&protobuf, &about) {
            Recorded::Document(document) => assert_eq!(shown(&document), is_shown, "{api_version} {kind}"),
            Recorded::Opaque(opaque) => assert_eq!(opaque.kind.is_some(), is_shown == (true, true), "{opaque:?}"),
        }
    }
}
