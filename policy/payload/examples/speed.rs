//! How fast bodies are masked on this machine, beside how fast it digests: `redact mb_s=… sha256_gb_s=…`.
//!
//! A Deployment of about 3 KiB and a list of a hundred Secrets, in JSON, for a second each; the digest is what masking cannot beat.

#![expect(clippy::print_stdout, reason = "a program whose output is its result")]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock; nothing of the crate does"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use payload::{About, Body, DigestKey, Limits, Masker, Recorded, Side};

const FOR: Duration = Duration::from_secs(1);

fn main() {
    let masker = Masker::new(DigestKey::new(&[7; 32], "bench"), Limits::default(), true);
    let (deployment, secrets) = (deployment(), secrets());
    let of_deployment = megabytes(&masker, &deployment, "apps", "deployments");
    let of_secrets = megabytes(&masker, &secrets, "", "secrets");
    let buffer = vec![0x5a_u8; 1 << 20];
    let digests = rate(buffer.len(), || {
        black_box(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            black_box(&buffer),
        ));
    });
    println!(
        "redact mb_s={of_deployment:.1} secrets_mb_s={of_secrets:.1} body_bytes={} sha256_gb_s={:.2}",
        deployment.len(),
        digests / 1e9
    );
}

fn megabytes(masker: &Masker, text: &str, group: &str, resource: &str) -> f64 {
    let about = About {
        group,
        version: "v1",
        resource,
        subresource: "",
        side: Side::Answer,
    };
    let body = Body {
        bytes: text.as_bytes(),
        is_whole: true,
        content_type: Some("application/json"),
        content_encoding: None,
    };
    rate(text.len(), || {
        let recorded = masker.mask(black_box(&body), &about);
        assert!(matches!(recorded, Recorded::Document(_)), "the body is read");
        black_box(recorded);
    }) / 1e6
}

/// Bytes in a second.
fn rate(length: usize, mut once: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut rounds = 0_u32;
    while begin.elapsed() < FOR {
        once();
        rounds = rounds.saturating_add(1);
    }
    let length = u32::try_from(length).map_or(0.0, f64::from);
    f64::from(rounds) * length / begin.elapsed().as_secs_f64()
}

fn deployment() -> String {
    let container = |at: usize| {
        let env: Vec<String> = (0..12)
            .map(|n| format!(r#"{{"name":"SETTING_{n}","value":"value number {n} of {at}"}}"#))
            .collect();
        format!(
            r#"{{"name":"app-{at}","image":"registry.example/team/app-{at}:v1.2.3","args":["--listen=:8080","--verbose"],"env":[{}],
            "resources":{{"limits":{{"cpu":"500m","memory":"512Mi"}}}},"ports":[{{"containerPort":8080,"protocol":"TCP"}}]}}"#,
            env.join(",")
        )
    };
    let containers: Vec<String> = (0..3).map(container).collect();
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"shop","labels":{{"app":"web"}}}},
        "spec":{{"replicas":3,"selector":{{"matchLabels":{{"app":"web"}}}},"template":{{"metadata":{{"labels":{{"app":"web"}}}},
        "spec":{{"serviceAccountName":"web","containers":[{}]}}}}}}}}"#,
        containers.join(",")
    )
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
