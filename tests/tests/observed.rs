//! What operators see of requests: metrics whose series nobody can make from outside, a line of log for each request with
//! its id, traces that carry no secret, and a collector that may be away without anybody's harm.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::collector::{Collector, Span, attribute};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::metrics::Scrape;
use tests::ports::Port;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: observed }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: observed }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps/x";

/// Requests of which each differs from all others in everything that a sender chooses.
fn hostile(number: usize) -> (&'static str, String, Vec<(&'static str, String)>) {
    let word = format!("hostile{number}");
    let method = ["GET", "POST", "DELETE", "PATCH", "PUT", "OPTIONS"][number % 6];
    let target = match number % 5 {
        0 => format!("/clusters/bench/apis/{word}/v1/{word}s"),
        1 => format!("/clusters/{word}/api/v1/pods"),
        2 => format!("/clusters/bench/api/v1/namespaces/{word}/{word}/{word}/{word}?{word}={word}"),
        3 => format!("/{word}"),
        _ => format!("/clusters/bench/{word}?pretty={word}"),
    };
    let mut headers = vec![
        ("User-Agent", word.clone()),
        ("Audit-ID", word.clone()),
        ("traceparent", format!("00-{:032x}-{:016x}-01", number + 1, number + 1)),
    ];
    match number % 4 {
        0 => headers.push(("Authorization", format!("Bearer {word}"))),
        1 => headers.push(("Authorization", format!("{word} {word}"))),
        2 => headers.push(("Host", format!("{word}.example.com"))),
        _ => headers.push(("Impersonate-User", word)),
    }
    (method, target, headers)
}

#[test]
fn no_request_makes_a_series_and_each_is_counted_once() -> anyhow::Result<()> {
    const SENT: usize = 120;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&FakeApiServer::start()?.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    let before = Scrape::of(gateway.admin())?;
    for number in 0..SENT {
        let (method, target, headers) = hostile(number);
        let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if number % 2 == 0 {
            headers.retain(|(name, _)| *name != "Authorization");
            headers.push(("Authorization", &bearer));
        }
        client.send(method, &target, &headers, b"")?;
    }
    assert_eq!(client.get(TARGET, &[("Authorization", &bearer)])?.status, 200);
    // The end of a call is counted when its answer has gone.
    let expected = before.sum("gateway_requests_total", &[]) + 121.0;
    let after = try_until("all are counted", PATIENCE, || {
        let now = Scrape::of(gateway.admin())?;
        let counted = now.sum("gateway_requests_total", &[]);
        anyhow::ensure!((counted - expected).abs() < 0.5, "{counted} of {expected}");
        Ok(now)
    })?;
    // An age is there as soon as all kinds of objects were heard of.
    let known = |scrape: &Scrape| -> BTreeSet<String> {
        let names = scrape.names().into_iter().map(str::to_owned);
        names
            .filter(|name| !name.starts_with("gateway_snapshot_age_seconds"))
            .collect()
    };
    assert_eq!(known(&before), known(&after));
    let text = after.names().into_iter().collect::<String>();
    assert!(!text.contains("hostile") && !text.contains("alice"), "{text}");
    let growth = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    let kinds = ["read", "effect", "long"].map(|kind| growth("gateway_request_seconds_count", &[("kind", kind)]));
    let answered = growth("gateway_upstream_first_byte_seconds_count", &[]);
    let waited = growth("gateway_audit_wait_seconds_count", &[]);
    let sent: f64 = kinds.iter().sum();
    assert!(
        (answered - sent).abs() < 0.5 && (waited - sent).abs() < 0.5,
        "{sent} sent, {answered} answered, {waited} waited"
    );
    let spent = |name: &str| growth(&format!("{name}_sum"), &[("cluster", "bench")]);
    let parts: f64 = ["identity", "decision", "audit_wait", "upstream_first_byte"]
        .map(|station| spent(&format!("gateway_{station}_seconds")))
        .iter()
        .sum();
    assert!(
        parts <= spent("gateway_request_seconds") + 1e-6,
        "the stations take no longer than the whole"
    );
    let grew = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) > before.sum(name, labels);
    assert!(grew(
        "gateway_requests_total",
        &[("cluster", "bench"), ("verb", "get"), ("status", "2xx")]
    ));
    assert!(grew("gateway_refusals_total", &[("reason", "badCredential")]));
    assert!(grew(
        "gateway_identities_proved_total",
        &[("credential", "gatewayToken")]
    ));
    assert!(grew(
        "gateway_request_seconds_count",
        &[("cluster", "bench"), ("kind", "read")]
    ));
    assert!(grew(
        "gateway_upstream_first_byte_seconds_count",
        &[("cluster", "bench")]
    ));
    assert!(grew("gateway_identity_cache_lookups_total", &[("result", "good")]));
    Ok(())
}

/// The lines of the log that are about one request each.
fn request_lines(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "request").collect()
}

/// The span of a whole request with its attributes, and the names of the spans below it.
fn trace(spans: &[Span], id: &str) -> Option<(Span, Vec<String>)> {
    let of_trace: Vec<&Span> = spans
        .iter()
        .filter(|span| hex::encode(&span.trace_id) == id.replace('-', ""))
        .collect();
    let root = of_trace.iter().find(|span| span.parent_span_id.is_empty())?;
    let below = of_trace.iter().filter(|span| span.parent_span_id == root.span_id);
    Some(((*root).clone(), below.map(|span| span.name.clone()).collect()))
}

#[test]
fn a_real_call_is_one_trace_one_line_and_one_record_under_the_same_id_and_no_secret() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(WORLD)?;
    let collector = Collector::start()?;
    let canary = || format!("canary{:032x}", rand::random::<u128>());
    let (header, content, query) = (canary(), canary(), canary());
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("header");
    std::fs::write(&secret, &header)?;
    let options = Options {
        more: Some(json!({
            "log": { "level": "debug" },
            "telemetry": { "otlp": {
                "endpoint": collector.endpoint(),
                "headers": [{ "name": "x-collector-key", "value": format!("${{file:{}}}", secret.display()) }],
            } },
        })),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let token = gateway.sign_in("alice")?.token;
    let literal = format!("--from-literal=password={content}");
    let kubectl = gateway.kubectl("alice", &token)?;
    kubectl.ok(&["create", "secret", "generic", "sealed", "-n", "observed", &literal])?;
    let theirs = "0af7651916cd43dd8448eb211c80319c";
    let asked = gateway.client()?.get(
        &format!("/clusters/bench/api/v1/namespaces/observed/secrets?labelSelector={query}"),
        &[
            ("Authorization", &format!("Bearer {token}")),
            ("traceparent", &format!("00-{theirs}-b7ad6b7169203331-00")),
        ],
    )?;
    assert_eq!(asked.status, 200);

    let records = gateway.records_with("both calls have begun and ended", |records| {
        let of = |kind: &str, verb: &str| find(records, kind, verb).is_some();
        of("intent", "create") && of("access", "list")
    })?;
    let (created, listed) = (find(&records, "intent", "create"), find(&records, "access", "list"));
    let id = |record: Option<&Value>| {
        record
            .and_then(|record| record["id"].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let (created, listed) = (id(created), id(listed));
    let spans = try_until("both traces have come", PATIENCE, || {
        let spans = collector.spans();
        for id in [&created, &listed] {
            let (_, below) = trace(&spans, id).ok_or_else(|| anyhow::anyhow!("no trace {id} yet"))?;
            anyhow::ensure!(below.len() == 5, "{below:?}");
        }
        Ok(spans)
    })?;
    for root in spans.iter().filter(|span| span.parent_span_id.is_empty()) {
        let of_trace = spans.iter().filter(|span| span.trace_id == root.trace_id);
        let mut below: Vec<&Span> = of_trace.filter(|span| !span.parent_span_id.is_empty()).collect();
        below.sort_by_key(|span| span.end_time_unix_nano);
        let mut until = root.start_time_unix_nano;
        for span in below {
            let begins = span.start_time_unix_nano;
            assert!(
                begins >= until && span.end_time_unix_nano >= begins,
                "after the station before: {span:?}"
            );
            until = span.end_time_unix_nano;
        }
        assert!(until <= root.end_time_unix_nano, "{root:?}");
    }
    let (create, below) = trace(&spans, &created).unwrap_or_default();
    assert_eq!(below, ["identity", "decision", "audit", "upstream", "answer"]);
    let says = |span: &Span, key: &str| attribute(span, key).unwrap_or_default();
    assert_eq!(says(&create, "gatescribe.cluster"), "bench");
    assert_eq!(says(&create, "gatescribe.resource"), "secrets");
    assert_eq!(says(&create, "http.response.status_code"), "201");
    assert_eq!(says(&create, "gatescribe.credential"), "gatewayToken");
    let (list, below) = trace(&spans, &listed).unwrap_or_default();
    assert_eq!(below, ["identity", "decision", "upstream", "audit", "answer"]);
    assert_eq!(
        list.links
            .iter()
            .map(|link| hex::encode(&link.trace_id))
            .collect::<Vec<_>>(),
        [theirs]
    );
    assert!(create.links.is_empty() && spans.iter().all(|span| hex::encode(&span.trace_id) != theirs));

    let heads = collector.heads();
    assert!(
        heads.iter().all(|head| head.contains(&header)),
        "the collector knows who sends"
    );
    let lines = request_lines(&gateway);
    for (id, verb) in [(&created, "create"), (&listed, "list")] {
        let of: Vec<&Value> = lines.iter().filter(|line| line["request.id"] == id.as_str()).collect();
        assert_eq!(of.len(), 1, "{lines:#?}");
        assert_eq!(
            (&of[0]["cluster"], &of[0]["verb"], &of[0]["resource"]),
            (&json!("bench"), &json!(verb), &json!("secrets"))
        );
        assert!(
            of[0]["status"].is_u64() && of[0]["millis"].is_u64() && of[0]["subject.id"].is_string(),
            "{}",
            of[0]
        );
    }
    let (log, bytes) = (gateway.log(), collector.bytes());
    let scrape = format!("{:?}", Scrape::of(gateway.admin())?);
    for (what, canary) in [
        ("a header", &header),
        ("a secret", &content),
        ("a query", &query),
        ("a token", &token),
    ] {
        assert!(!log.contains(canary.as_str()), "{what} is in the log");
        assert!(!scrape.contains(canary.as_str()), "{what} is in the metrics");
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{what} is in the traces");
    }
    Ok(())
}

/// The record of this kind about a secret in our namespace.
fn find<'r>(records: &'r [Value], kind: &str, verb: &str) -> Option<&'r Value> {
    records.iter().find(|record| {
        record["kind"] == kind
            && record["req"]["verb"] == verb
            && record["req"]["resource"] == "secrets"
            && record["req"]["namespace"] == "observed"
    })
}

#[test]
fn a_collector_that_is_away_harms_nobody_and_is_told_once() -> anyhow::Result<()> {
    // Bound and never listened on: whoever connects is refused at once.
    let nobody = Port::reserve()?;
    let options = Options {
        authorization: Some("observe"),
        more: Some(
            json!({ "telemetry": { "otlp": { "endpoint": format!("http://{}/v1/traces", nobody.address()) } } }),
        ),
        ..Options::default()
    };
    let gateway = Gateway::before(&FakeApiServer::start()?.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    let mut failed = 0.0;
    for _ in 0..2 {
        assert_eq!(client.get(TARGET, &[("Authorization", &bearer)])?.status, 200);
        failed = try_until("a batch failed", PATIENCE, || {
            let now = Scrape::of(gateway.admin())?.sum("gateway_traces_total", &[("result", "failed")]);
            anyhow::ensure!(now > failed, "{now} failed so far");
            Ok(now)
        })?;
    }
    let log = gateway.log();
    let told = log.lines().filter(|line| line.contains("does not take traces"));
    assert_eq!(told.count(), 1, "{log}");
    assert!(
        request_lines(&gateway).is_empty(),
        "no line for each request at the level `info`"
    );
    Ok(())
}
