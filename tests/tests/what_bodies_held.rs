//! Bodies at the levels Request and RequestResponse, before a real kube-apiserver: what an auditor wants can be read, what could be
//! secret cannot, and what is not read is said with its reason.

mod sealed;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use proxy::audit::Class;
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, PROTOBUF, both};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::person::Person;
use tests::pods::{dev_does_all, namespace};

use self::sealed::opened;

const EVERYTHING: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n  omitManagedFields: true\n";

struct Stage {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(name: &str, policy: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::shared()?;
        cluster
            .admin()?
            .apply(&[namespace(name), dev_does_all(name)].concat())?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("audit.yaml");
        std::fs::write(&file, policy)?;
        let more = Some(json!({"audit": {"policyFile": file.display().to_string()}}));
        let gateway = Gateway::start(
            cluster,
            &Options {
                more,
                ..Options::default()
            },
        )?;
        Ok(Self {
            gateway,
            _folder: folder,
        })
    }
}

fn deployment(replicas: u32, password: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": "registry.example.com/shop/web:1.4.2",
                    "env": [{"name": "PASSWORD", "value": password}],
                }]},
            },
        },
    })
}

/// The record of what an answer held.
fn answer(gateway: &Gateway, id: &str) -> anyhow::Result<Value> {
    let is_it = |record: &&Value| record["id"] == id && record["kind"] == "answer";
    let records = gateway.records_with("what the answer held", |records| {
        records.iter().any(|record| is_it(&record))
    })?;
    records.iter().find(is_it).cloned().context("it")
}

#[test]
fn who_scaled_what_from_where_to_where_can_be_read_and_a_password_cannot() -> anyhow::Result<()> {
    let stage = Stage::new("bodies", EVERYTHING)?;
    let gateway = &stage.gateway;
    let [alice, carol] = Person::all_signed_in(gateway, ["alice", "carol"])?;
    let caller = Caller::new(gateway, &gateway.sign_in("alice")?.token)?;
    let path = "/apis/apps/v1/namespaces/bodies/deployments";
    let body = deployment(2, "hunter2-hunter2").to_string();
    let (made, status, _) = caller.call("POST", path, &[JSON], body.as_bytes())?;
    assert_eq!(status, 201);
    let (intent, outcome) = both(gateway, &made)?;
    assert_eq!(intent["audit"]["level"], "RequestResponse");
    let seen = &intent["body"];
    assert_eq!(
        (&seen["kept"], &seen["read"]),
        (&json!("document"), &json!("json")),
        "{intent}"
    );
    assert_eq!(
        (&seen["bytes"], &seen["masked"]),
        (&json!(body.len()), &json!(1)),
        "{intent}"
    );
    assert_eq!(seen["key"].as_str().map(str::len), Some(16), "{intent}");
    let digests = ["body_sha256", "body_hmac"].map(|name| outcome["outcome"][name].as_str().map(str::len));
    assert_eq!(
        digests,
        [None, Some(64)],
        "a plain digest would tell the password to whoever tries: {outcome}"
    );

    let patch = ("Content-Type", "application/merge-patch+json");
    let one = format!("{path}/web");
    let (scaled, status, _) = caller.call("PATCH", &one, &[patch], br#"{"spec":{"replicas":3}}"#)?;
    assert_eq!(status, 200);
    assert_eq!(both(gateway, &scaled)?.0["body"]["read"], "mergePatch");
    let held = answer(gateway, &scaled)?;
    assert!(
        held["diff"]["changes"].as_u64() > Some(0) && held["diff"]["since"].is_string(),
        "{held}"
    );
    assert_eq!(held["pair"], both(gateway, &scaled)?.0["seq"]);

    // Who may see the record may see it; who may not, may not.
    let told = carol.ok(&format!("gatescribe audit view {scaled}"))?.stdout;
    for words in [
        "spec.replicas  2 → 3\n",
        "registry.example.com/shop/web:1.4.2",
        "request: mergePatch",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(
        alice
            .ok(&format!("gatescribe audit view {scaled}"))?
            .stdout
            .contains("2 → 3")
    );
    let told = carol.ok(&format!("gatescribe audit view {made} -o json"))?.json()?;
    let container = |side: &str| {
        told[side]["document"]
            .pointer("/spec/template/spec/containers/0")
            .cloned()
    };
    let (sent, stored) = (
        container("request").context("sent")?,
        container("answer").context("stored")?,
    );
    assert_eq!(sent["image"], "registry.example.com/shop/web:1.4.2");
    assert_eq!(
        (&sent["env"][0]["name"], &sent["env"][0]["value"]),
        (&json!("PASSWORD"), &stored["env"][0]["value"])
    );
    assert!(
        sent["env"][0]["value"]["~"]
            .as_str()
            .is_some_and(|word| word.starts_with('e')),
        "{sent}"
    );
    assert!(
        told["answer"]["document"]["metadata"].get("managedFields").is_none(),
        "{told}"
    );

    let looked = |records: &[Value]| {
        let views = records.iter().filter(|record| record["kind"] == "auditread");
        views.filter(|record| record.to_string().contains(&scaled)).count()
    };
    gateway.records_with("each look is a record", |records| looked(records) == 2)?;

    // The same password elsewhere is the same word, another one another; an object that nobody has seen has no before.
    let env = |password: &str| -> anyhow::Result<Value> {
        let body = deployment(2, password).to_string();
        let id = caller.call("PUT", &one, &[JSON], body.as_bytes())?.0;
        let told = carol.ok(&format!("gatescribe audit view {id} -o json"))?.json()?;
        let value = told["request"]["document"].pointer("/spec/template/spec/containers/0/env/0/value");
        Ok(value.context("the value")?.clone())
    };
    assert_eq!(env("hunter2-hunter2")?, sent["env"][0]["value"]);
    assert_ne!(env("hunter3-hunter3")?, sent["env"][0]["value"]);
    let cluster = Cluster::shared()?;
    cluster
        .admin()?
        .ok(&["create", "configmap", "unseen", "-n", "bodies"])?;
    let map = "/api/v1/namespaces/bodies/configmaps/unseen";
    let id = caller
        .call("PATCH", map, &[patch], br#"{"metadata":{"labels":{"a":"b"}}}"#)?
        .0;
    assert_eq!(answer(gateway, &id)?["diff"], json!({"why": "unknownBefore"}));
    Ok(())
}

#[test]
fn a_body_that_is_not_read_passes_unchanged_and_its_record_says_why() -> anyhow::Result<()> {
    let stage = Stage::new("unread", EVERYTHING)?;
    let gateway = &stage.gateway;
    let token = gateway.sign_in("alice")?.token;
    let caller = Caller::new(gateway, &token)?;
    let maps = "/api/v1/namespaces/unread/configmaps";
    let map =
        |name: &str, length: usize| json!({"metadata": {"name": name}, "data": {"a": "x".repeat(length)}}).to_string();
    let deep = format!(
        r#"{{"metadata":{{"name":"deep"}},"x":{}{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let twice = r#"{"metadata":{"name":"twice"},"data":{"a":"first-of-two"},"data":{"a":"last-of-two"}}"#;
    let yaml = ("Content-Type", "application/yaml");
    for (header, body, status, kept, why) in [
        (JSON, map("just", (64 << 10) - 60), 201, "document", None),
        (JSON, map("over", 65 << 10), 201, "opaque", Some("tooLong")),
        (
            JSON,
            r#"{"metadata":{"name":"half"}"#.to_owned(),
            400,
            "opaque",
            Some("malformed"),
        ),
        (JSON, deep, 201, "opaque", Some("tooDeep")),
        (JSON, twice.to_owned(), 201, "opaque", Some("manyReadings")),
        (
            JSON,
            r#"{"kind":"ConfigMap","metadata":{"name":"half"}}"#.to_owned(),
            201,
            "opaque",
            Some("halfType"),
        ),
        (
            yaml,
            "a: &a [1]\nmetadata: {name: anchored}\nb: *a\n".to_owned(),
            0,
            "opaque",
            Some("manyReadings"),
        ),
        (
            ("Content-Type", "application/cbor"),
            "\u{1}".to_owned(),
            0,
            "opaque",
            Some("otherType"),
        ),
        (
            ("Content-Encoding", "gzip"),
            map("packed", 3),
            0,
            "opaque",
            Some("compressed"),
        ),
    ] {
        let said = format!("{header:?} {}", &body[..60.min(body.len())]);
        let (id, answered, _) = caller.call("POST", maps, &[header], body.as_bytes())?;
        assert!(status == 0 || answered == status, "{said}: {answered}");
        let (intent, outcome) = both(gateway, &id)?;
        let seen = &intent["body"];
        assert_eq!(
            (&seen["kept"], seen.get("why").and_then(Value::as_str)),
            (&json!(kept), why),
            "{said}: {intent}"
        );
        assert_eq!(
            outcome["outcome"]["bytes_in"],
            body.len(),
            "{said}: what was not read has passed"
        );
        assert!(outcome["outcome"]["body_hmac"].is_string(), "{said}");
        let has_part = intent["parts"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|part| part["name"] == "body");
        assert_eq!(has_part, kept == "document", "{said}");
    }
    let (_, status, stored) = caller.call("GET", &format!("{maps}/over"), &[], b"")?;
    let stored: Value = serde_json::from_slice(&stored)?;
    assert_eq!(
        (status, stored["data"]["a"].as_str().map(str::len)),
        (200, Some(65 << 10))
    );

    // Who sends slowly is waited for so long; the call goes on with what comes later.
    let body = map("slow", 100);
    let (first, rest) = body.split_at(20);
    let mut stream = gateway.client()?.open()?;
    let host = gateway.address;
    write!(
        stream,
        "POST /clusters/bench{maps} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&head));
    write!(stream, "{first}")?;
    stream.flush()?;
    let is_slow = |record: &&Value| record["kind"] == "intent" && record["body"]["why"] == "slow";
    let records = gateway.records_with("the slow one is not waited for", |all| {
        all.iter().any(|record| is_slow(&record))
    })?;
    let slow = records.iter().find(is_slow).context("it")?["id"].clone();
    write!(stream, "{rest}")?;
    stream.flush()?;
    let mut answer = Vec::new();
    // As for every connection that is closed: its end may come without the goodbye of TLS.
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 201 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let (_, outcome) = both(gateway, slow.as_str().context("an id")?)?;
    assert_eq!(outcome["outcome"]["bytes_in"], body.len());
    Ok(())
}

#[test]
fn bodies_are_kept_where_the_policy_says_so_and_nowhere_else() -> anyhow::Result<()> {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitManagedFields: false\nrules:\n\
        - {level: Request, verbs: [update], resources: [{resources: [configmaps]}]}\n\
        - {level: Metadata, verbs: [delete]}\n\
        - {level: Request, verbs: [patch], omitStages: [ResponseComplete]}\n\
        - {level: RequestResponse, resources: [{resources: [configmaps]}]}\n\
        - {level: RequestResponse, resources: [{resources: [\"services/proxy\", pods]}]}\n\
        - level: None\n";
    let stage = Stage::new("levels-of-bodies", policy)?;
    let gateway = &stage.gateway;
    let caller = Caller::new(gateway, &gateway.sign_in("alice")?.token)?;
    let maps = "/api/v1/namespaces/levels-of-bodies/configmaps";
    let one = format!("{maps}/a");
    let map = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"b"}}"#;
    let patch = ("Content-Type", "application/merge-patch+json");
    for (method, path, header, body, level, request, answered) in [
        ("POST", maps, JSON, &map[..], "RequestResponse", true, true),
        ("GET", &one, JSON, b"", "RequestResponse", false, true),
        ("PUT", &one, JSON, map, "Request", true, false),
        ("PATCH", &one, patch, br#"{"data":{"a":"c"}}"#, "Metadata", false, false),
        (
            "DELETE",
            &one,
            JSON,
            br#"{"kind":"DeleteOptions","apiVersion":"v1"}"#,
            "Metadata",
            false,
            false,
        ),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            JSON,
            b"{}",
            "None",
            false,
            false,
        ),
    ] {
        let (id, _, _) = caller.call(method, path, &[header], body)?;
        let (first, end) = both(gateway, &id)?;
        assert_eq!(first["audit"]["level"], level, "{method}: {first}");
        assert_eq!(first.get("body").is_some(), request, "{method}: {first}");
        let held = gateway
            .records()?
            .into_iter()
            .filter(|record| record["id"] == *id && record["kind"] == "answer");
        assert_eq!(held.count(), usize::from(answered), "{method}: {end}");
        // A keyed digest of what was sent is kept at every level but None.
        let says = end["outcome"].get("body_hmac").is_some();
        assert_eq!(says, !body.is_empty() && level != "None", "{method}: {end}");
    }
    // What belongs to a backend is no object, whatever the level.
    let proxied = "/api/v1/namespaces/levels-of-bodies/services/none/proxy/act";
    let (id, _, _) = caller.call("POST", proxied, &[JSON], br#"{"a":"b"}"#)?;
    let (first, _) = both(gateway, &id)?;
    assert_eq!(
        (&first["body"]["kept"], &first["body"]["why"]),
        (&json!("none"), &json!("notAnObject")),
        "{first}"
    );
    // A watch is a stream, and a list of protobuf an answer like others.
    let (id, _, _) = caller.call("GET", &format!("{maps}?watch=1&timeoutSeconds=1"), &[], b"")?;
    assert!(both(gateway, &id)?.1.get("body").is_none());
    let (id, _, _) = caller.call("GET", maps, &[PROTOBUF], b"")?;
    let held = answer(gateway, &id)?;
    assert_eq!(held["body"]["read"], "protobuf", "{held}");
    let parts = opened(gateway, &[Class::Body, Class::Answer, Class::Diff])?;
    ensure!(
        parts
            .iter()
            .any(|part| part.class == Class::Answer && part.leaf["id"] == *id && part.bytes.starts_with(b"{")),
        "it is sealed"
    );
    Ok(())
}
