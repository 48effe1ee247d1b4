//! No secret that passes or knocks is written down anywhere: canaries are planted wherever one can stand, and looked for in
//! every form, in ledger, state, log, metrics and answers.

#[path = "no_secret_is_written/discovery.rs"]
mod discovery;
mod sealed;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proxy::audit::Class;
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, PROTOBUF, roles};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::pods::dev_does_all;
use tests::wait::{PATIENCE, try_until};

use self::sealed::{Opened, opened};

/// One secret that is planted, in all forms in which it could be written down.
struct Canary {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

struct Canaries(Vec<Canary>);

impl Canaries {
    /// Makes a canary: long and random, as secrets are.
    fn plant(&mut self, what: &'static str) -> String {
        let secret = format!("canary{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        self.watch(what, &secret);
        secret
    }

    /// Watches out for a secret that somebody else made.
    fn watch(&mut self, what: &'static str, secret: &str) {
        let bytes = secret.as_bytes();
        let mut forms = vec![bytes.to_vec(), secret.to_uppercase().into_bytes()];
        forms.push(hex::encode(bytes).into_bytes());
        // Base64 of a text inside another one: at each of three offsets, without the characters that its neighbours share.
        for before in 0..3 {
            let encoded = STANDARD.encode([vec![b'x'; before], bytes.to_vec()].concat());
            let inner = encoded.trim_end_matches('=');
            let inner = &inner[before + 1..inner.len().saturating_sub(3)];
            forms.push(inner.as_bytes().to_vec());
            forms.push(inner.replace('+', "-").replace('/', "_").into_bytes());
        }
        self.0.push(Canary { what, forms });
    }

    /// The canaries that stand in these bytes.
    fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let stands = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form);
        let found = self.0.iter().filter(|canary| canary.forms.iter().any(stands));
        found
            .map(|canary| format!("{} stands in {place}", canary.what))
            .collect()
    }
}

fn files_under(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_under(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A file without the zeros that a preallocated segment ends with.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = match std::fs::read(file) {
        // Beside a running gateway a spare becomes a segment, a journal goes.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes?,
    };
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}

#[test]
fn the_search_for_canaries_finds_one_in_every_form() {
    let mut canaries = Canaries(Vec::new());
    let secret = canaries.plant("the secret");
    let hex = hex::encode(&secret);
    for text in [secret.clone(), secret.to_uppercase(), hex] {
        assert_eq!(
            canaries.found_in("x", format!("a{text}b").as_bytes()).len(),
            1,
            "{text}"
        );
    }
    for before in ["", "a", "ab", "abc"] {
        let text = STANDARD.encode(format!("{before}{secret} and more"));
        assert_eq!(canaries.found_in("x", text.as_bytes()).len(), 1, "{text}");
    }
    assert!(canaries.found_in("x", b"canary").is_empty());
}

#[test]
fn j_07_no_secret_that_passes_or_knocks_is_written_down_anywhere() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster
        .admin()?
        .apply(&[&roles("canaries", "dev"), &dev_does_all("canaries"), KINDS].concat())?;
    // All bodies are kept that a policy can ask for.
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("audit.yaml");
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n",
    )?;
    let mut trace = Command::new("env");
    trace.arg("RUST_LOG=trace");
    let options = Options {
        under: Some(trace),
        more: Some(json!({"audit": {"policyFile": policy.display().to_string()}})),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let signed_in = gateway.sign_in("alice")?;
    let mut canaries = Canaries(Vec::new());
    canaries.watch("the gateway's client secret", &gateway.provider.secret);
    canaries.watch("a gateway token", &signed_in.token);
    canaries.watch("a handle", &signed_in.handle);
    let next = gateway.renew(&signed_in.handle, "bench")?;
    canaries.watch("the next handle", &next.handle);
    canaries.watch(
        "the next token's signature",
        next.token.rsplit('.').next().unwrap_or_default(),
    );
    for account in ["impersonator", "observer"] {
        let token = std::fs::read_to_string(gateway.folder().join(account))?;
        canaries.watch(
            "a credential for the cluster",
            token.rsplit('.').next().unwrap_or_default(),
        );
    }
    let mut shown = Vec::new();
    strangers(&gateway, &mut canaries, &mut shown)?;
    let api = gateway.renew(&next.handle, "gatescribe-api")?;
    canaries.watch("the handle after it", &api.handle);
    on_the_gateway_host(&gateway, &api.token, &mut canaries)?;
    secrets(&gateway, &next.token, &mut canaries)?;
    words(&gateway, &next.token, &mut canaries, &mut shown)?;
    let bodies = bodies(&gateway, &next.token, &mut canaries)?;

    let metrics =
        tests::browser::Browser::default().request("GET", &format!("http://{}/metrics", gateway.admin()), "")?;
    assert_eq!(metrics.status, 200);
    let mut found = canaries.found_in("the metrics", metrics.body.as_bytes());
    found.extend(canaries.found_in("what strangers and callers were told", &shown));
    // The ends of the last calls are not waited for by the calls themselves.
    gateway.records_with("the last call has ended", |records| {
        let ended = |id: &Value| {
            records
                .iter()
                .any(|record| record["id"] == *id && record.get("outcome").is_some())
        };
        records
            .iter()
            .filter(|record| record["kind"] == "access" || record["kind"] == "intent")
            .all(|record| ended(&record["id"]))
    })?;
    let log = gateway.log();
    found.extend(canaries.found_in("the log", log.as_bytes()));
    let files = files_under(&gateway.folder().join("data"))?;
    for file in &files {
        found.extend(canaries.found_in(&file.display().to_string(), &read(file)?));
    }
    // What is sealed may be opened by whoever may see the record: of bodies it is what was masked before.
    let parts = opened(&gateway, &[Class::Body, Class::Answer, Class::Diff])?;
    for part in &parts {
        let place = format!("the {} of {}", part.class.name(), part.leaf["id"]);
        found.extend(canaries.found_in(&place, &part.bytes));
    }
    for (id, class) in &bodies {
        let is_kept = |part: &Opened| part.leaf["id"] == **id && part.class == *class;
        assert!(parts.iter().any(is_kept), "the {} of {id} was kept", class.name());
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{found:#?}");
    assert!(files.iter().any(|file| file.ends_with("state.sqlite")), "{files:?}");
    assert!(
        log.contains("TRACE"),
        "the log was written at its lowest level:\n{}",
        log.get(..2_000).unwrap_or(&log)
    );
    Ok(())
}

/// What somebody presents who is nobody.
fn strangers(gateway: &Gateway, canaries: &mut Canaries, shown: &mut Vec<u8>) -> anyhow::Result<()> {
    let client = gateway.client()?;
    let target = "/clusters/bench/api/v1/namespaces/default/pods";
    let header = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signature = canaries.plant("the signature of a bad token");
    let claim = canaries.plant("a claim of a bad token");
    let forged = format!(
        "{}.{}.{signature}",
        header(json!({"alg": "ES256", "kid": claim})),
        header(json!({"iss": gateway.url, "sub": claim, "aud": claim, "exp": 4_000_000_000_u64}))
    );
    let foreign = format!(
        "{}.{}.{signature}",
        header(json!({"alg": "none", "kid": "a"})),
        header(json!({"iss": format!("https://{claim}")}))
    );
    let opaque = canaries.plant("an opaque token");
    let basic = canaries.plant("basic auth");
    let cookie = canaries.plant("a cookie");
    let scheme = canaries.plant("another scheme");
    let protocol = canaries.plant("a token among the WebSocket protocols");
    for (name, value) in [
        ("Authorization", format!("Bearer {forged}")),
        ("Authorization", format!("Bearer {foreign}")),
        ("Authorization", format!("Bearer {opaque}")),
        (
            "Authorization",
            format!("Basic {}", STANDARD.encode(format!("alice:{basic}"))),
        ),
        ("Authorization", format!("{scheme} {scheme}")),
        ("Cookie", format!("session={cookie}; gatescribe={cookie}")),
        ("Proxy-Authorization", format!("Bearer {opaque}")),
        ("X-Forwarded-Access-Token", opaque.clone()),
        ("X-Gatescribe-User", opaque.clone()),
        ("Impersonate-User", opaque.clone()),
        (
            "Sec-WebSocket-Protocol",
            format!(
                "base64url.bearer.authorization.k8s.io.{}, v4.channel.k8s.io",
                URL_SAFE_NO_PAD.encode(&protocol)
            ),
        ),
    ] {
        let answer = client.get(
            target,
            &[(name, &value), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
        )?;
        assert!(answer.status >= 400, "{name}");
        shown.extend(answer.body);
        shown.extend(answer.head.bytes());
    }
    let query = canaries.plant("a query value");
    let path = canaries.plant("a path that is no resource's");
    let tail = canaries.plant("a path behind /proxy/");
    for target in [
        format!("{target}?token={query}&access_token={query}&{query}"),
        format!("/clusters/bench/{path}"),
        format!("/clusters/bench/api/v1/namespaces/a/services/b/proxy/{tail}"),
        format!("/{path}"),
        format!("/clusters/bench/%zz{path}"),
        format!("/clusters/{path}/api"),
    ] {
        let _ = client.get(&target, &[])?;
    }
    for (path, form) in [
        (
            "token",
            format!("grant_type=refresh_token&client_id=gatescribe-cli&refresh_token={opaque}&audience=bench"),
        ),
        (
            "token",
            format!(
                "grant_type=authorization_code&client_id=gatescribe-cli&code={opaque}&code_verifier={opaque}&redirect_uri=http://127.0.0.1:9/x"
            ),
        ),
        (
            "token",
            format!(
                "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=gatescribe-cli&device_code={opaque}"
            ),
        ),
        ("revoke", format!("token={opaque}&client_id=gatescribe-cli")),
        ("backchannel-logout", format!("logout_token={forged}")),
        ("callback", format!("code={opaque}&state={opaque}")),
    ] {
        tests::browser::Browser::default().request("POST", &format!("{}/{path}", gateway.url), &form)?;
    }
    for path in [
        format!("callback?code={opaque}&state={opaque}"),
        format!("callback?error={opaque}&state={opaque}"),
        format!("authorize?token={query}"),
        path.clone(),
    ] {
        tests::browser::Browser::default().request("GET", &format!("{}/{path}", gateway.url), "")?;
    }
    Ok(())
}

/// What a client says about itself where people sign in and records are read.
fn on_the_gateway_host(gateway: &Gateway, token: &str, canaries: &mut Canaries) -> anyhow::Result<()> {
    let word = canaries.plant("a word of a client about itself on the gateway host");
    let host = gateway.url.trim_start_matches("http://");
    let tell = |request: &str, more: &str, form: &str| -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(host)?;
        let head = format!(
            "{request} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: Bearer {word}\r\n{more}Content-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let wrong = tell(
        "POST /token",
        form,
        "grant_type=refresh_token&client_id=gatescribe-cli&refresh_token=x&audience=bench",
    )?;
    assert!(wrong.contains("invalid_grant"), "{wrong}");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let read = tell("GET /api/v1/audit/records?limit=1", &bearer, "")?;
    assert!(read.contains(" 200 "), "{read}");
    Ok(())
}

/// Secrets of the cluster that pass, in each direction and form.
fn secrets(gateway: &Gateway, token: &str, canaries: &mut Canaries) -> anyhow::Result<()> {
    let alice = Caller::new(gateway, token)?;
    let path = "/api/v1/namespaces/canaries/secrets";
    let data = canaries.plant("data of a Secret");
    let text = canaries.plant("stringData of a Secret");
    let value = STANDARD.encode(&data);
    let secret = json!({"metadata": {"name": "s"}, "data": {"a": value}, "stringData": {"b": text}}).to_string();
    assert_eq!(alice.call("POST", path, &[JSON], secret.as_bytes())?.1, 201);
    let shows = |body: &[u8]| {
        let stands = |what: &str| body.windows(what.len()).any(|window| window == what.as_bytes());
        stands(&value) || stands(&data)
    };
    let is_there = |answer: (String, u16, Vec<u8>)| {
        assert_eq!(answer.1, 200, "{}", String::from_utf8_lossy(&answer.2));
        assert!(shows(&answer.2), "the call itself shows the secret");
    };
    for accept in [("Accept", "application/json"), PROTOBUF] {
        is_there(alice.call("GET", &format!("{path}/s"), &[accept], b"")?);
        is_there(alice.call("GET", path, &[accept], b"")?);
        // A busy server may end a watch of a second before it has told what there is.
        try_until("a watch shows the secret", PATIENCE, || {
            let watched = alice.call("GET", &format!("{path}?watch=1&timeoutSeconds=1"), &[accept], b"")?;
            anyhow::ensure!(watched.1 == 200 && shows(&watched.2), "{}", watched.1);
            Ok(())
        })?;
        let merge = ("Content-Type", "application/merge-patch+json");
        is_there(alice.call(
            "PATCH",
            &format!("{path}/s"),
            &[accept, merge],
            json!({"stringData": {"c": data}}).to_string().as_bytes(),
        )?);
    }
    let apply = ("Content-Type", "application/apply-patch+yaml");
    let applied = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \"s\"}}, \"data\": {{\"d\": \"{value}\"}}}}"
    );
    alice.call(
        "PATCH",
        &format!("{path}/s?fieldManager=me&force=true"),
        &[apply],
        applied.as_bytes(),
    )?;
    for wrong in [
        format!("{{\"metadata\": {{\"name\": \"s\"}}, \"data\": \"{data}\"}}"),
        format!("{{{data}"),
        format!("{{\"kind\": \"{data}\"}}"),
    ] {
        assert!(alice.call("POST", path, &[JSON], wrong.as_bytes())?.1 >= 400);
    }
    let kubectl = gateway.kubectl("canaries", token)?;
    kubectl.ok(&[
        "create",
        "secret",
        "generic",
        "k",
        "-n",
        "canaries",
        &format!("--from-literal=a={data}"),
    ])?;
    kubectl.ok(&["get", "secret", "k", "-n", "canaries", "-o", "yaml"])?;
    for accept in [("Accept", "application/json"), PROTOBUF] {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}).to_string();
        let token = alice.call(
            "POST",
            "/api/v1/namespaces/canaries/serviceaccounts/robot/token",
            &[JSON, accept],
            request.as_bytes(),
        )?;
        assert_eq!(token.1, 201);
        let text = String::from_utf8_lossy(&token.2).into_owned();
        let start = text.find("eyJ").context("a token in the answer")?;
        let token: String = text[start..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
            .collect();
        canaries.watch(
            "an issued token's signature",
            token
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .get(..80)
                .context("a signature")?,
        );
        canaries.watch(
            "an issued token's claims",
            token
                .split('.')
                .nth(1)
                .unwrap_or_default()
                .get(40..)
                .context("claims")?,
        );
    }
    Ok(())
}

/// What a signed-in person's client says about itself, and where secrets are put by mistake.
fn words(gateway: &Gateway, token: &str, canaries: &mut Canaries, shown: &mut Vec<u8>) -> anyhow::Result<()> {
    let alice = Caller::new(gateway, token)?;
    let maps = "/api/v1/namespaces/canaries/configmaps";
    let word = canaries.plant("a word of a client about itself");
    let query = canaries.plant("a query value of a person");
    let tail = canaries.plant("a tail behind /proxy/ of a person");
    for (name, value) in [
        ("User-Agent", format!("kubectl/v1.36.3 (linux/amd64) {word}")),
        ("User-Agent", format!("Bearer {word}")),
        ("Cookie", format!("session={word}")),
        ("Kubectl-Command", format!("kubectl --token={word}")),
        ("Kubectl-Session", word.clone()),
        ("Content-Type", format!("application/json; token={word}")),
        ("X-Api-Key", word.clone()),
        ("Referer", format!("https://example.com/?token={word}")),
        ("Traceparent", word.clone()),
    ] {
        shown.extend(alice.call("GET", maps, &[(name, &value)], b"")?.2);
    }
    for target in [
        format!("{maps}?token={query}"),
        format!("{maps}?labelSelector=a%3D{query}"),
        format!("{maps}?{query}=1"),
        format!("/api/v1/namespaces/canaries/services/s:80/proxy/reset/{tail}?token={tail}"),
        format!("/api/v1/namespaces/canaries/pods/p/exec?command=mysql&command=-p{query}"),
        format!("/reset/{tail}"),
    ] {
        alice.call("GET", &target, &[], b"")?;
    }
    Ok(())
}

const KINDS: &str = r#"---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: vaults.canaries.example.com }
spec:
  group: canaries.example.com
  names: { kind: Vault, plural: vaults, singular: vault, listKind: VaultList }
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: canaries-of-certificates }
rules: [{ apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: ["*"] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: canaries-of-certificates }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: canaries-of-certificates }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// Where secrets stand in bodies that are kept, in each kind of body and each way of writing one. Gives the calls of which a body
/// has to be kept: where nothing is kept, nothing can be found.
fn bodies(gateway: &Gateway, token: &str, canaries: &mut Canaries) -> anyhow::Result<Vec<(String, Class)>> {
    let alice = Caller::new(gateway, token)?;
    let mut kept = Vec::new();
    let maps = "/api/v1/namespaces/canaries/configmaps";
    let deployments = "/apis/apps/v1/namespaces/canaries/deployments";
    let vaults = "/apis/canaries.example.com/v1/namespaces/canaries/vaults";
    let mut plant = |what: &'static str| canaries.plant(what);
    let note = plant("an annotation");
    let (value, argument) = (plant("an environment variable"), plant("an argument"));
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "bodies", "annotations": {"example.com/note": note}},
        "data": {"application.properties": format!("password={}", plant("data of a ConfigMap")), plant("a key of a ConfigMap"): "x"},
        "binaryData": {"b": STANDARD.encode(plant("binaryData of a ConfigMap"))},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "bodies", "annotations": {"example.com/note": note}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "bodies"}},
            "template": {
                "metadata": {"labels": {"app": "bodies"}, "annotations": {"example.com/note": note}},
                "spec": {"containers": [{
                    "name": "c", "image": "registry.example.com/app:1", "args": [format!("--token={argument}")],
                    "env": [{"name": "TOKEN", "value": value}],
                    "livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "Authorization", "value": plant("a header of a probe")}]}},
                }]},
            },
        },
    });
    let vault = json!({
        "apiVersion": "canaries.example.com/v1", "kind": "Vault", "metadata": {"name": "bodies"},
        "spec": {"password": plant("a custom resource"), "nested": [{"deep": {"token": value}}], plant("a key of a custom resource"): 1},
    });
    for (path, object) in [(maps, &map), (deployments, &deployment), (vaults, &vault)] {
        let (id, status, answer) = alice.call("POST", path, &[JSON], object.to_string().as_bytes())?;
        assert_eq!(status, 201, "{path}: {}", String::from_utf8_lossy(&answer));
        kept.extend([(id.clone(), Class::Body), (id, Class::Answer)]);
        let one = format!("{path}/bodies");
        for target in [path, &one] {
            let (id, status, _) = alice.call("GET", target, &[("Accept", "application/json")], b"")?;
            assert_eq!(status, 200, "{target}");
            kept.push((id, Class::Answer));
        }
        // As YAML, whole and applied.
        let mut again = object.clone();
        again["metadata"]["annotations"] = json!({"example.com/again": plant("an annotation in YAML")});
        let (id, status, answer) = alice.call(
            "PUT",
            &one,
            &[("Content-Type", "application/yaml")],
            in_yaml(&again).as_bytes(),
        )?;
        // A custom resource is not replaced without the version that is there.
        assert!(
            status == 200 || path == vaults,
            "{path}: {}",
            String::from_utf8_lossy(&answer)
        );
        kept.push((id, Class::Body));
        let apply = ("Content-Type", "application/apply-patch+yaml");
        let (id, status, answer) = alice.call(
            "PATCH",
            &format!("{one}?fieldManager=me&force=true"),
            &[apply],
            in_yaml(&again).as_bytes(),
        )?;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
        kept.extend([(id.clone(), Class::Body), (id, Class::Answer)]);
        // In each kind of patch.
        let planted = plant("an annotation in a patch");
        let merge = json!({"metadata": {"annotations": {"example.com/merged": planted}}});
        let operations = json!([
            {"op": "add", "path": "/metadata/annotations/example.com~1added", "value": planted},
            {"op": "test", "path": "/metadata/annotations/example.com~1added", "value": planted},
            {"op": "add", "path": "/metadata/annotations", "value": {"example.com/all": planted}},
        ]);
        for (media, patch) in [
            ("application/merge-patch+json", &merge),
            ("application/strategic-merge-patch+json", &merge),
            ("application/json-patch+json", &operations),
        ] {
            let header = ("Content-Type", media);
            let (id, status, answer) = alice.call("PATCH", &one, &[header], patch.to_string().as_bytes())?;
            let is_taken = status == 200 || (path == vaults && status == 415);
            assert!(is_taken, "{path} {media}: {}", String::from_utf8_lossy(&answer));
            kept.push((id, Class::Body));
        }
    }
    // In protobuf: what the server itself writes, sent back.
    let protobuf = ("Content-Type", "application/vnd.kubernetes.protobuf");
    for one in [format!("{maps}/bodies"), format!("{deployments}/bodies")] {
        let (id, status, object) = alice.call("GET", &one, &[PROTOBUF], b"")?;
        assert!(status == 200 && object.starts_with(b"k8s\0"), "{one}");
        kept.push((id, Class::Answer));
        let (id, status, answer) = alice.call("PUT", &one, &[protobuf, PROTOBUF], &object)?;
        assert_eq!(status, 200, "{one}: {}", String::from_utf8_lossy(&answer));
        kept.extend([(id.clone(), Class::Body), (id, Class::Answer)]);
    }
    let secret = "/api/v1/namespaces/canaries/secrets/s";
    let (_, status, object) = alice.call("GET", secret, &[PROTOBUF], b"")?;
    assert_eq!(status, 200);
    let (id, status, _) = alice.call("PUT", secret, &[protobuf], &object)?;
    assert_eq!(status, 200);
    kept.extend([(id.clone(), Class::Body), (id, Class::Answer)]);
    // A request for a certificate, which the server refuses with words of its own about it.
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "bodies", "annotations": {"example.com/note": note}},
        "spec": {"signerName": "example.com/none", "usages": ["client auth"], "request": STANDARD.encode(plant("a request for a certificate"))},
    });
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (id, status, _) = alice.call("POST", path, &[JSON], request.to_string().as_bytes())?;
    assert!(status >= 400);
    kept.push((id, Class::Body));
    // Where no reader may be sure, and where the type lies.
    for (media, body) in [
        (
            "application/json",
            format!(
                r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{0}"}},"data":{{"a":"{0}"}}}}"#,
                plant("equal keys")
            ),
        ),
        (
            "application/json",
            format!(
                r#"{{"metadata":{{"name":"y"}},"DATA":{{"a":"{0}"}},"d\u0061ta":{{"a":"{0}"}}}}"#,
                plant("other spellings")
            ),
        ),
        (
            "application/json",
            format!("[\"{}\"]", plant("a list in place of an object")),
        ),
        (
            "application/yaml",
            format!("metadata: {{name: z}}\ndata: &a {{a: {}}}\nx: *a\n", plant("an anchor")),
        ),
        ("application/vnd.kubernetes.protobuf", plant("no protobuf")),
        ("text/plain", plant("a text")),
    ] {
        alice.call("POST", maps, &[("Content-Type", media)], body.as_bytes())?;
    }
    Ok(kept)
}

/// YAML of the sort that people write: one member a line, without quotes where none are needed.
fn in_yaml(value: &Value) -> String {
    fn lines(value: &Value, indent: usize, out: &mut String) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (key, value) in members {
                    out.push_str(&format!("\n{}{key}:", " ".repeat(indent)));
                    lines(value, indent + 2, out);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    out.push_str(&format!("\n{}-", " ".repeat(indent)));
                    lines(item, indent + 2, out);
                }
            }
            other => out.push_str(&format!(" {other}")),
        }
    }
    let mut out = String::new();
    lines(value, 0, &mut out);
    format!("{}\n", out.trim_start())
}
