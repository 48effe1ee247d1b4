//! Every resource and verb of the API server's own discovery, with a canary in every text of its body that the server's own schema knows: in JSON, YAML,
//! protobuf and each kind of patch, at the level that keeps most. The walk asks the server what there is, so that what a later one has is walked too.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy::audit::Class;
use serde_json::{Map, Value, json};
use tests::caller::{Caller, JSON, PROTOBUF};
use tests::cluster::Cluster;
use tests::collector::Collector;
use tests::gateway::{Gateway, Options};
use tests::pods::namespace;

use super::sealed::opened;
use super::{Canaries, files_under, in_yaml, read};

const RIGHTS: &str = "---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: walks-discovery }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
";
/// Subresources whose body is a backend's or a session's, and no object: they have stories of their own.
const NO_OBJECTS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];
/// A document is read up to 64 KiB; what would be longer is filled less deep.
const MOST: usize = 60 << 10;
/// Fields that hold free texts and secrets: their canary may have the form of a name and is hidden all the same.
const SECRET: [&str; 23] = [
    "annotations",
    "args",
    "binaryData",
    "caBundle",
    "certificate",
    "command",
    "data",
    "description",
    "evaluationError",
    "expression",
    "gmsaCredentialSpec",
    "lastAppliedConfiguration",
    "message",
    "messageExpression",
    "note",
    "options",
    "parameters",
    "stringData",
    "token",
    "value",
    "volumeAttributes",
    "volumeHandle",
    "webhookToken",
];

/// What one resource is, as discovery says it.
struct Resource {
    path: String,
    /// Name and subresource in the path.
    one: String,
    kind: (String, String),
    verbs: BTreeSet<String>,
    is_sub: bool,
}

/// The schemas of one API version, and what is put into them.
struct Filler<'a> {
    schemas: &'a Map<String, Value>,
    canary: &'a str,
    /// All fields, with a canary that is no name; or those of [`SECRET`] alone, with one that is.
    is_whole: bool,
}

impl Filler<'_> {
    fn object(&self, version: &str, kind: &str, depth: usize) -> Value {
        let (group, bare) = version.split_once('/').unwrap_or(("", version));
        let wanted = json!({"group": group, "version": bare, "kind": kind});
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| kinds.contains(&wanted))
        };
        let filled = self
            .schemas
            .values()
            .find(is_it)
            .and_then(|schema| self.value(schema, "", false, depth));
        let mut object = filled.unwrap_or_else(|| json!({}));
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!("walk");
        for member in [
            "namespace",
            "uid",
            "resourceVersion",
            "deletionTimestamp",
            "ownerReferences",
            "selfLink",
        ] {
            object["metadata"]
                .as_object_mut()
                .map(|metadata| metadata.remove(member));
        }
        object
    }

    fn value(&self, schema: &Value, name: &str, is_secret: bool, depth: usize) -> Option<Value> {
        let named = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        if let Some(reference) = named {
            let schema = self.schemas.get(reference.rsplit('/').next()?)?;
            return self.value(schema, name, is_secret, depth);
        }
        let is_secret = is_secret || SECRET.contains(&name);
        let is_wanted = self.is_whole || is_secret;
        match schema["type"].as_str() {
            Some("object") | None if schema["properties"].is_object() => {
                let depth = depth.checked_sub(1)?;
                let members = schema["properties"].as_object()?.iter();
                let members: Map<String, Value> = members
                    .filter_map(|(name, schema)| Some((name.clone(), self.value(schema, name, false, depth)?)))
                    .collect();
                (!members.is_empty()).then_some(Value::Object(members))
            }
            Some("object") if schema["additionalProperties"].is_object() => {
                let element = self.value(&schema["additionalProperties"], name, is_secret, depth)?;
                is_wanted.then(|| json!({ self.key(is_secret): element }))
            }
            Some("array") => Some(json!([self.value(&schema["items"], name, is_secret, depth)?])),
            Some("string") => is_wanted.then(|| self.text(schema, is_secret)),
            Some("integer" | "number") => self.is_whole.then(|| json!(1)),
            Some("boolean") => self.is_whole.then_some(json!(true)),
            // Of any form.
            Some("object") => is_wanted.then(|| json!({ self.key(is_secret): self.text(schema, is_secret) })),
            Some(_) | None => is_wanted.then(|| self.text(schema, is_secret)),
        }
    }

    fn key(&self, is_secret: bool) -> String {
        format!("{}{}", self.canary, if is_secret { "" } else { " x" })
    }

    fn text(&self, schema: &Value, is_secret: bool) -> Value {
        let canary = self.canary;
        match schema["format"].as_str() {
            Some("byte") => json!(STANDARD.encode(canary)),
            Some("date-time") => json!("2031-01-05T10:00:00Z"),
            // A quantity of another form is refused before anything else is looked at.
            _ if schema["description"]
                .as_str()
                .is_some_and(|said| said.starts_with("Quantity is")) =>
            {
                json!("1")
            }
            _ if is_secret => json!(canary),
            _ => json!(format!("{canary} x")),
        }
    }
}

fn got(alice: &Caller, path: &str) -> anyhow::Result<Value> {
    let (_, status, body) = alice.call("GET", path, &[("Accept", "application/json")], b"")?;
    anyhow::ensure!(status == 200, "{path}: {status}");
    Ok(serde_json::from_slice(&body)?)
}

/// All resources of one API version: `/api/v1`, `/apis/apps/v1`.
fn resources(alice: &Caller, base: &str, version: &str) -> anyhow::Result<Vec<Resource>> {
    let listed = got(alice, base)?;
    let mut found = Vec::new();
    for resource in listed["resources"].as_array().context("resources")? {
        let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        let (plural, sub) = name.split_once('/').unwrap_or((&name, ""));
        if NO_OBJECTS.contains(&sub) {
            continue;
        }
        let path = match resource["namespaced"] == true {
            true => format!("{base}/namespaces/walk/{plural}"),
            false => format!("{base}/{plural}"),
        };
        let of_kind = match (text("group"), text("version")) {
            (_, bare) if bare.is_empty() => version.to_owned(),
            (group, bare) if group.is_empty() => bare,
            (group, bare) => format!("{group}/{bare}"),
        };
        let verbs = resource["verbs"].as_array().into_iter().flatten();
        found.push(Resource {
            one: format!("{path}/walk{}{sub}", if sub.is_empty() { "" } else { "/" }),
            path,
            kind: (of_kind, text("kind")),
            verbs: verbs.filter_map(|verb| verb.as_str().map(str::to_owned)).collect(),
            is_sub: !sub.is_empty(),
        });
    }
    Ok(found)
}

/// What was sent and came of it.
#[derive(Default)]
struct Walked {
    calls: usize,
    bodies: BTreeMap<String, String>,
    taken: usize,
    protobuf: usize,
}

impl Walked {
    fn send(
        &mut self,
        alice: &Caller,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{sign}dryRun=All&fieldManager=walk");
        let (id, status, answer) = alice.call(method, &path, headers, body)?;
        anyhow::ensure!(status != 429, "{method} {path}: {}", String::from_utf8_lossy(&answer));
        self.calls += 1;
        self.taken += usize::from(status < 300 && !body.is_empty());
        if !body.is_empty() {
            self.bodies.insert(id, format!("{method} {path} {headers:?}"));
        }
        Ok((status < 300).then_some(answer))
    }

    fn resource(&mut self, alice: &Caller, resource: &Resource, object: &Value) -> anyhow::Result<()> {
        let (json, yaml) = (object.to_string(), in_yaml(object));
        let yaml_type = ("Content-Type", "application/yaml");
        let made = if resource.is_sub { &resource.one } else { &resource.path };
        for (verb, method, path) in [("create", "POST", made), ("update", "PUT", &resource.one)] {
            if !resource.verbs.contains(verb) {
                continue;
            }
            let answer = self.send(alice, method, path, &[JSON, PROTOBUF], json.as_bytes())?;
            self.send(alice, method, path, &[yaml_type], yaml.as_bytes())?;
            // What the server made of it, sent back.
            if let Some(answer) = answer.filter(|answer| answer.starts_with(b"k8s\0")) {
                self.protobuf += 1;
                let header = ("Content-Type", "application/vnd.kubernetes.protobuf");
                self.send(alice, method, path, &[header, PROTOBUF], &answer)?;
            }
        }
        if resource.verbs.contains("patch") {
            let members = object.as_object().context("an object")?.iter();
            let operations: Vec<Value> = members
                .map(|(name, value)| json!({"op": "add", "path": format!("/{name}"), "value": value}))
                .collect();
            let operations = json!(operations).to_string();
            for (media, patch) in [
                ("application/merge-patch+json", &json),
                ("application/strategic-merge-patch+json", &json),
                ("application/json-patch+json", &operations),
                ("application/apply-patch+yaml", &yaml),
            ] {
                let path = format!("{}?force=true", resource.one);
                let path = if media.ends_with("yaml") { &path } else { &resource.one };
                self.send(alice, "PATCH", path, &[("Content-Type", media)], patch.as_bytes())?;
            }
        }
        Ok(())
    }

    /// What reads, and what deletes with a body.
    fn others(&mut self, alice: &Caller, resource: &Resource, canary: &str) -> anyhow::Result<()> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": format!("{canary} x"),
            "preconditions": {"uid": format!("{canary} x")}, "dryRun": ["All"]});
        let selector = format!("{}?labelSelector=walk%3D{canary}", resource.path);
        for (verb, method, path) in [
            ("delete", "DELETE", &resource.one),
            ("deletecollection", "DELETE", &selector),
        ] {
            if resource.verbs.contains(verb) {
                self.send(alice, method, path, &[JSON], options.to_string().as_bytes())?;
            }
        }
        for (verb, path) in [("get", &resource.one), ("list", &selector)] {
            if resource.verbs.contains(verb) {
                self.send(alice, "GET", path, &[PROTOBUF], b"")?;
            }
        }
        Ok(())
    }
}

fn walk(alice: &Caller, canary: &str) -> anyhow::Result<Walked> {
    let mut versions = vec![("/api/v1".to_owned(), "v1".to_owned())];
    for group in got(alice, "/apis")?["groups"].as_array().context("groups")? {
        for version in group["versions"].as_array().context("versions")? {
            let version = version["groupVersion"].as_str().context("a version")?;
            versions.push((format!("/apis/{version}"), version.to_owned()));
        }
    }
    let mut walked = Walked::default();
    for (base, version) in versions {
        let document = got(alice, &format!("/openapi/v3{base}"))?;
        let none = Map::new();
        let schemas = document["components"]["schemas"].as_object().unwrap_or(&none);
        for resource in resources(alice, &base, &version)? {
            for is_whole in [true, false] {
                let filler = Filler {
                    schemas,
                    canary,
                    is_whole,
                };
                let (version, kind) = &resource.kind;
                let objects = (2..=8).rev().map(|depth| filler.object(version, kind, depth));
                let object = objects
                    .into_iter()
                    .find(|object| in_yaml(object).len() < MOST)
                    .context("one that fits")?;
                walked.resource(alice, &resource, &object)?;
            }
            walked.others(alice, &resource, canary)?;
        }
    }
    Ok(walked)
}

#[test]
fn promise_6_a_canary_in_every_text_of_every_resource_and_verb_is_written_nowhere() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&[&namespace("walk"), RIGHTS].concat())?;
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("audit.yaml");
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n",
    )?;
    let collector = Collector::start()?;
    let options = Options {
        more: Some(json!({
            "audit": {"policyFile": policy.display().to_string()},
            "limits": {"recordsPerSecond": 100_000},
            "log": {"level": "debug"},
            "telemetry": {"otlp": {"endpoint": collector.endpoint()}},
        })),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let mut canaries = Canaries(Vec::new());
    let canary = canaries.plant("a text of a body");
    let walked = walk(&alice, &canary)?;

    let last = walked.bodies.keys().next_back().context("a call")?.clone();
    let records = gateway.records_with("the last call has ended", |records| {
        records
            .iter()
            .any(|record| record["id"] == *last && record.get("outcome").is_some())
    })?;
    let mut found = canaries.found_in("the log", gateway.log().as_bytes());
    found.extend(canaries.found_in("the traces", &collector.bytes()));
    let metrics =
        tests::browser::Browser::default().request("GET", &format!("http://{}/metrics", gateway.admin()), "")?;
    found.extend(canaries.found_in("the metrics", metrics.body.as_bytes()));
    for file in files_under(&gateway.folder().join("data"))? {
        found.extend(canaries.found_in(&file.display().to_string(), &read(&file)?));
    }
    let parts = opened(&gateway, &[Class::Body, Class::Answer, Class::Diff])?;
    for part in &parts {
        let id = part.leaf["id"].as_str().unwrap_or_default();
        let call = walked.bodies.get(id).map_or("", String::as_str);
        found.extend(canaries.found_in(&format!("the {} of {call}", part.class.name()), &part.bytes));
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{found:#?}");

    // And it was there to be found: nearly all bodies were read, and many were taken.
    let of_bodies = records
        .iter()
        .filter(|record| record["id"].as_str().is_some_and(|id| walked.bodies.contains_key(id)));
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    for record in of_bodies.filter(|record| record["kind"] == "intent") {
        let said = |name: &str| record["body"][name].as_str().unwrap_or("-");
        *fates.entry(format!("{} {}", said("kept"), said("why"))).or_default() += 1;
    }
    let documents = fates.get("document -").copied().unwrap_or_default();
    println!(
        "walked calls={} bodies={} documents={documents} taken={} protobuf={} parts={} {fates:?}",
        walked.calls,
        walked.bodies.len(),
        walked.taken,
        walked.protobuf,
        parts.len()
    );
    assert!(
        walked.bodies.len() > 500 && walked.taken > 50 && walked.protobuf > 10,
        "the walk reaches what there is"
    );
    assert!(documents * 10 > walked.bodies.len() * 9, "{fates:?}");
    Ok(())
}
