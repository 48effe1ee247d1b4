//! How fast bodies are masked on this machine, one thread, in each format: the last line is `redact json_mb_s=… yaml_mb_s=… …`.
//!
//! One Deployment of three containers with twelve variables each, the same in JSON, YAML and protobuf, and a list of a hundred Secrets.
//! Beside it what the machine gives: the same JSON read by serde_json into a tree and written again, which is what masking cannot leave
//! out, and SHA-256 of memory.

#![expect(clippy::print_stdout, reason = "a program whose output is its result")]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and its arguments; nothing of the crate does"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use payload::{About, Body, DigestKey, Limits, Masker, Recorded, Side};

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let span = Duration::from_millis(if is_quick { 100 } else { 2_000 });
    let masker = Masker::new(DigestKey::new(&[7; 32], "bench"), Limits::default(), true);
    let masked = |bytes: &[u8], media, resource| {
        let about = About {
            group: if resource == "secrets" { "" } else { "apps" },
            version: "v1",
            resource,
            subresource: "",
            side: Side::Answer,
        };
        let body = Body {
            bytes,
            is_whole: true,
            content_type: Some(media),
            content_encoding: None,
        };
        let rate = rate(bytes.len(), span, || {
            let recorded = masker.mask(black_box(&body), &about);
            assert!(matches!(recorded, Recorded::Document(_)), "the body is read");
            black_box(recorded);
        });
        (bytes.len(), rate / 1e6)
    };
    let (json, secrets) = (deployment_in_json(), secrets());
    let (json_bytes, json_mb_s) = masked(json.as_bytes(), "application/json", "deployments");
    let (yaml_bytes, yaml_mb_s) = masked(deployment_in_yaml().as_bytes(), "application/yaml", "deployments");
    let protobuf = deployment_in_protobuf();
    let (protobuf_bytes, protobuf_mb_s) = masked(&protobuf, "application/vnd.kubernetes.protobuf", "deployments");
    let (secrets_bytes, secrets_mb_s) = masked(secrets.as_bytes(), "application/json", "secrets");
    let parsed = rate(json.len(), span, || {
        let tree: serde_json::Value = serde_json::from_str(black_box(&json)).unwrap_or_default();
        black_box(tree.to_string());
    }) / 1e6;
    let buffer = vec![0x5a_u8; 1 << 20];
    let digests = rate(buffer.len(), span, || {
        black_box(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            black_box(&buffer),
        ));
    });
    println!(
        "redact json_mb_s={json_mb_s:.1} yaml_mb_s={yaml_mb_s:.1} protobuf_mb_s={protobuf_mb_s:.1} secrets_mb_s={secrets_mb_s:.1} \
         serde_json_mb_s={parsed:.1} sha256_gb_s={:.2} json_bytes={json_bytes} yaml_bytes={yaml_bytes} protobuf_bytes={protobuf_bytes} \
         secrets_bytes={secrets_bytes} of_plain_parse={:.2}",
        digests / 1e9,
        json_mb_s / parsed
    );
}

/// Bytes in a second.
fn rate(length: usize, span: Duration, mut once: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut rounds = 0_u32;
    while begin.elapsed() < span {
        once();
        rounds = rounds.saturating_add(1);
    }
    let length = u32::try_from(length).map_or(0.0, f64::from);
    f64::from(rounds) * length / begin.elapsed().as_secs_f64()
}

const CONTAINERS: usize = 3;
const VARIABLES: usize = 12;

fn image(at: usize) -> String {
    format!("registry.example/team/app-{at}:v1.2.3")
}

fn value(at: usize, n: usize) -> String {
    format!("value number {n} of {at}")
}

fn deployment_in_json() -> String {
    let container = |at: usize| {
        let env: Vec<String> = (0..VARIABLES)
            .map(|n| format!(r#"{{"name":"SETTING_{n}","value":"{}"}}"#, value(at, n)))
            .collect();
        format!(
            r#"{{"name":"app-{at}","image":"{}","args":["--listen=:8080","--verbose"],"env":[{}]}}"#,
            image(at),
            env.join(",")
        )
    };
    let containers: Vec<String> = (0..CONTAINERS).map(container).collect();
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"shop","labels":{{"app":"web"}}}},"spec":{{"replicas":3,"selector":{{"matchLabels":{{"app":"web"}}}},"template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"serviceAccountName":"web","containers":[{}]}}}}}}}}"#,
        containers.join(",")
    )
}

fn deployment_in_yaml() -> String {
    let container = |at: usize| {
        let env: String = (0..VARIABLES)
            .map(|n| format!("        - name: SETTING_{n}\n          value: {}\n", value(at, n)))
            .collect();
        format!(
            "      - name: app-{at}\n        image: {}\n        args:\n        - --listen=:8080\n        - --verbose\n        env:\n{env}",
            image(at)
        )
    };
    let containers: String = (0..CONTAINERS).map(container).collect();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  labels:\n    app: web\nspec:\n  replicas: 3\n  \
         selector:\n    matchLabels:\n      app: web\n  template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      \
         serviceAccountName: web\n      containers:\n{containers}"
    )
}

/// Numbers of fields as in k8s.io/api, `generated.proto`.
fn deployment_in_protobuf() -> Vec<u8> {
    let labels = |field| of(field, &[of(1, b"app"), of(2, b"web")].concat());
    let container = |at: usize| {
        let env = (0..VARIABLES).map(|n| {
            of(
                7,
                &[of(1, format!("SETTING_{n}").as_bytes()), of(2, value(at, n).as_bytes())].concat(),
            )
        });
        let rest = [of(4, b"--listen=:8080"), of(4, b"--verbose")];
        let head = [of(1, format!("app-{at}").as_bytes()), of(2, image(at).as_bytes())];
        of(2, &head.into_iter().chain(rest).chain(env).collect::<Vec<_>>().concat())
    };
    let containers = (0..CONTAINERS).map(container);
    let pod = containers.chain([of(8, b"web")]).collect::<Vec<_>>().concat();
    let template = [of(1, &labels(11)), of(2, &pod)].concat();
    let spec = [vec![1 << 3, 3], of(2, &labels(1)), of(3, &template)].concat();
    let metadata = [of(1, b"web"), of(3, b"shop"), labels(11)].concat();
    let object = [of(1, &metadata), of(2, &spec)].concat();
    let kind = [of(1, b"apps/v1"), of(2, b"Deployment")].concat();
    [b"k8s\0".to_vec(), of(1, &kind), of(2, &object)].concat()
}

/// A field of bytes.
fn of(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
    out
}

fn secrets() -> String {
    let secret = |at: usize| {
        let data = "QUJD".repeat(256);
        format!(
            r#"{{"metadata":{{"name":"s-{at}","namespace":"shop"}},"type":"Opaque","data":{{"tls.key":"{data}","tls.crt":"{data}"}}}}"#
        )
    };
    let items: Vec<String> = (0..100).map(secret).collect();
    format!(
        r#"{{"apiVersion":"v1","kind":"SecretList","items":[{}]}}"#,
        items.join(",")
    )
}
