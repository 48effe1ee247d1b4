//! What every client asks of an API server before and beside its own work: discovery, reviews, patches, compressed answers.
//! The same through the gate as direct.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::caller::{JSON, roles};
use tests::cluster::Cluster;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, Client};
use tests::once::Once;
use tests::wait::{PATIENCE, try_until};

const REVIEWS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reviews }
rules:
- { apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create] }
- { apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reviews }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reviews }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<&Cluster> = Once::new();
    let start = || {
        let cluster = Cluster::shared()?;
        let admin = cluster.admin()?;
        admin.apply(&roles("surface", "dev"))?;
        admin.apply(REVIEWS)?;
        Ok(cluster)
    };
    WORLD.get(start).copied()
}

/// Two clients of one person.
struct Sides {
    gateway: Gateway,
    through: Client,
    bearer: String,
    direct: Client,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

impl Sides {
    fn new(person: &str, groups: &[&str], options: &Options) -> anyhow::Result<Self> {
        let cluster = world()?;
        let gateway = Gateway::start(cluster, options)?;
        let identity = cluster.ca().client(&format!("{person}@example.com"), groups)?;
        Ok(Self {
            through: gateway.client()?,
            bearer: format!("Bearer {}", gateway.sign_in(person)?.token),
            direct: Client::new(cluster.address(), cluster.ca().certificate(), Some(&identity))?,
            gateway,
        })
    }

    fn through(&self, method: &str, target: &str, fields: Fields<'_>, body: &[u8]) -> anyhow::Result<Answer> {
        let all = [&[("Authorization", self.bearer.as_str())], fields].concat();
        self.through
            .send(method, &format!("/clusters/bench{target}"), &all, body)
    }

    /// Both answers to one question, direct first.
    fn both(&self, target: &str, fields: Fields<'_>) -> anyhow::Result<[Answer; 2]> {
        Ok([
            self.direct.get(target, fields)?,
            self.through("GET", target, fields, b"")?,
        ])
    }
}

impl Sides {
    /// Both give the same answer and say the same of its body; what has a tag need not be sent again. Whether it had one.
    fn same(&self, target: &str, fields: Fields<'_>) -> anyhow::Result<bool> {
        let [direct, through] = self.both(target, fields)?;
        ensure!(
            (direct.status, through.status) == (200, 200),
            "{target}: {} {}",
            direct.status,
            through.status
        );
        ensure!(
            direct.body == through.body,
            "{target} {fields:?}: {} and {} bytes",
            direct.body.len(),
            through.body.len()
        );
        for name in [
            "Content-Type",
            "Content-Encoding",
            "Etag",
            "Cache-Control",
            "Vary",
            "Last-Modified",
        ] {
            let [expected, found] = [&direct, &through].map(|answer| field(answer, name));
            ensure!(expected == found, "{target}: {name}: {expected:?} {found:?}");
        }
        let Some(tag) = field(&direct, "Etag") else {
            return Ok(false);
        };
        let known = [fields, &[("If-None-Match", tag.as_str())]].concat();
        for answer in self.both(target, &known)? {
            ensure!(
                answer.status == 304 && answer.body.is_empty(),
                "{target}: {}",
                answer.status
            );
            ensure!(
                field(&answer, "Etag").as_deref() == Some(&*tag),
                "{target}: {}",
                answer.head
            );
        }
        Ok(true)
    }
}

fn field(answer: &Answer, name: &str) -> Option<String> {
    tests::http::field(&answer.head, name).map(str::to_owned)
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

#[test]
fn l_01_discovery_versions_and_schemas_are_the_same_bytes_with_their_tags() -> anyhow::Result<()> {
    let sides = Sides::new("alice", &["dev"], &Options::default())?;
    let paths = sides.direct.get("/openapi/v3", &[])?.json()?;
    let hashed = paths["paths"]["api/v1"]["serverRelativeURL"]
        .as_str()
        .context("a hashed path")?;
    ensure!(hashed.contains("?hash="), "{hashed}");
    let asked: [(&str, Fields<'_>); 11] = [
        ("/api", &[]),
        ("/apis", &[]),
        ("/api/v1", &[]),
        ("/apis/apps/v1", &[]),
        ("/api", &[("Accept", AGGREGATED)]),
        ("/apis", &[("Accept", AGGREGATED)]),
        ("/version", &[]),
        (
            "/openapi/v2",
            &[("Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")],
        ),
        ("/openapi/v2", &[("Accept-Encoding", "gzip")]),
        ("/openapi/v3", &[]),
        (hashed, &[]),
    ];
    let mut tagged = 0;
    for (target, fields) in asked {
        // A server that has just started still completes what it says of itself.
        let is_tagged = try_until("both say the same", PATIENCE, || sides.same(target, fields))?;
        tagged += u32::from(is_tagged);
    }
    assert!(tagged >= 4, "only {tagged} had a tag");
    let immutable = field(&sides.through("GET", hashed, &[], b"")?, "Cache-Control").unwrap_or_default();
    assert!(immutable.contains("immutable"), "{immutable}");
    Ok(())
}

const FORBID: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-schemas }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: [get], paths: ["/openapi/*"] }
"#;

#[test]
fn l_02_l_03_who_has_no_role_learns_what_there_is_and_who_they_are() -> anyhow::Result<()> {
    let options = Options {
        authorization: Some("enforce"),
        ..Options::default()
    };
    let sides = Sides::new("bob", &["sre"], &options)?;
    for target in [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/apps/v1",
        "/version",
        "/openapi/v2",
        "/openapi/v3",
    ] {
        let answer = sides.through("GET", target, &[], b"")?;
        ensure!(
            answer.status == 200,
            "{target}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" }).to_string();
    let target = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let direct = sides.direct.send("POST", target, &[JSON], review.as_bytes())?.json()?;
    let through = sides.through("POST", target, &[JSON], review.as_bytes())?.json()?;
    for told in [&direct, &through] {
        let user = &told["status"]["userInfo"];
        assert_eq!(user["username"], "bob@example.com", "{told}");
        assert_eq!(user["groups"], json!(["sre", "system:authenticated"]), "{told}");
    }
    let kubectl = sides
        .gateway
        .kubectl("bob", sides.bearer.trim_start_matches("Bearer "))?;
    let said = kubectl.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])?;
    assert_eq!(said, "bob@example.com");
    ensure!(kubectl.ok(&["api-resources", "-o", "name"])?.contains("configmaps\n"));
    let refused = kubectl.run(&["get", "configmaps", "-n", "surface"])?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("bob@example.com may not list configmaps"),
        "{refused}"
    );

    // It is a default and no more: a rule can say no.
    let options = Options {
        authorization: Some("enforce"),
        rules: Some(FORBID.to_owned()),
        ..Options::default()
    };
    let forbidden = Sides::new("bob", &["sre"], &options)?;
    for (target, status) in [("/openapi/v3", 403), ("/apis", 200)] {
        assert_eq!(forbidden.through("GET", target, &[], b"")?.status, status, "{target}");
    }
    Ok(())
}

#[test]
fn l_05_reviews_of_others_need_a_right_of_their_own() -> anyhow::Result<()> {
    let access = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": { "user": "alice@example.com", "groups": ["dev"],
            "resourceAttributes": { "namespace": "surface", "verb": "get", "resource": "configmaps" } } });
    let token = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": "none" } });
    let (alice, bob) = (
        Sides::new("alice", &["dev"], &Options::default())?,
        Sides::new("bob", &["sre"], &Options::default())?,
    );
    for (target, body, told, answer) in [
        (
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            access,
            "allowed",
            json!(true),
        ),
        (
            "/apis/authentication.k8s.io/v1/tokenreviews",
            token,
            "authenticated",
            Value::Null,
        ),
    ] {
        let body = body.to_string();
        let refused = bob.through("POST", target, &[JSON], body.as_bytes())?;
        assert_eq!(refused.status, 403, "{target}");
        let served = alice.through("POST", target, &[JSON], body.as_bytes())?;
        assert_eq!(
            served.status,
            201,
            "{target}: {}",
            String::from_utf8_lossy(&served.body)
        );
        assert_eq!(served.json()?["status"][told], answer, "{target}");
    }
    Ok(())
}

/// Content types in which objects are changed, each with a body that sets `data.k`.
const CHANGES: [(&str, &str); 4] = [
    (
        "application/json-patch+json",
        r#"[{"op":"add","path":"/data/k","value":"1"}]"#,
    ),
    ("application/merge-patch+json", r#"{"data":{"k":"2"}}"#),
    ("application/strategic-merge-patch+json", r#"{"data":{"k":"3"}}"#),
    (
        "application/apply-patch+yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME}, data: {k: '4'}}",
    ),
];

#[test]
fn j_04_every_content_type_of_a_change_arrives_as_it_was_sent() -> anyhow::Result<()> {
    let sides = Sides::new("alice", &["dev"], &Options::default())?;
    let maps = "/api/v1/namespaces/surface/configmaps";
    let mut made = Vec::new();
    for name in ["by-hand", "by-gate"] {
        let object = json!({ "metadata": { "name": name }, "data": { "first": "x" } }).to_string();
        ensure!(sides.direct.send("POST", maps, &[JSON], object.as_bytes())?.status == 201);
        made.push(format!("{maps}/{name}"));
    }
    let [by_hand, by_gate] = made.as_slice() else {
        anyhow::bail!("two objects");
    };
    for (kind, body) in CHANGES {
        let query = if kind.contains("apply") {
            "?fieldManager=story&force=true"
        } else {
            "?fieldManager=story"
        };
        let change = |name: &str| body.replace("NAME", name);
        let headers = [("Content-Type", kind)];
        let direct = sides.direct.send(
            "PATCH",
            &format!("{by_hand}{query}"),
            &headers,
            change("by-hand").as_bytes(),
        )?;
        let through = sides.through(
            "PATCH",
            &format!("{by_gate}{query}"),
            &headers,
            change("by-gate").as_bytes(),
        )?;
        ensure!(
            direct.status == 200,
            "{kind}: {}",
            String::from_utf8_lossy(&direct.body)
        );
        ensure!(
            through.status == 200,
            "{kind}: {}",
            String::from_utf8_lossy(&through.body)
        );
        let (direct, through) = (direct.json()?, through.json()?);
        assert_eq!(direct["data"], through["data"], "{kind}");
        let managers = |object: &Value| {
            let fields = object["metadata"]["managedFields"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let named = fields
                .iter()
                .map(|one| (one["manager"].clone(), one["operation"].clone()));
            // The server has them in the order of their seconds.
            named
                .map(|(manager, operation)| json!([manager, operation]).to_string())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(managers(&direct), managers(&through), "{kind}");
    }

    // As kubectl's typed clients send: the object that one side gave out in protobuf is written back in protobuf.
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let read = sides.through("GET", by_gate, &[("Accept", PROTOBUF)], b"")?;
    let fields = [("Content-Type", PROTOBUF), ("Accept", PROTOBUF)];
    let written = sides.through("PUT", by_gate, &fields, &read.body)?;
    ensure!(
        written.status == 200 && written.body.starts_with(b"k8s\0"),
        "{}",
        written.status
    );
    assert_eq!(field(&written, "Content-Type").as_deref(), Some(PROTOBUF));
    // And what says that it is protobuf and is not is the server's to refuse, in its words.
    let (direct, through) = (
        sides.direct.send("PUT", by_hand, &fields, b"{}")?,
        sides.through("PUT", by_gate, &fields, b"{}")?,
    );
    assert_eq!((through.status, &through.body), (direct.status, &direct.body));
    assert!(through.status >= 400, "{}", through.status);
    Ok(())
}

#[test]
fn j_05_j_06_what_a_client_accepts_arrives_word_for_word() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&fake.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    fake.capture();
    for accept in [
        "application/vnd.kubernetes.protobuf,application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "application/cbor;q=0.9, */*",
        AGGREGATED,
    ] {
        for encoding in ["gzip", "gzip, identity;q=0.5", "identity"] {
            let fields = [
                ("Authorization", bearer.as_str()),
                ("Accept", accept),
                ("Accept-Encoding", encoding),
            ];
            let target = "/clusters/bench/api/v1/namespaces/default/configmaps";
            ensure!(gateway.client()?.get(target, &fields)?.status == 200);
            let arrived = fake.take_arrived();
            let [arrived] = arrived.as_slice() else {
                anyhow::bail!("{} calls arrived", arrived.len());
            };
            let of = |name: &str| {
                let lines = arrived.fields.iter().filter_map(|line| line.split_once(": "));
                let found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(
                (of("accept"), of("accept-encoding")),
                (vec![accept.to_owned()], vec![encoding.to_owned()])
            );
        }
    }
    Ok(())
}

/// Who is handed a certificate is written down, and what is not read leaves no trace of it. A table has names alone.
#[test]
fn an_answer_with_a_certificate_is_asked_for_in_a_form_that_is_read() -> anyhow::Result<()> {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&fake.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    fake.capture();
    for (query, accept, asked) in [
        ("", "application/cbor, application/json", "application/json"),
        (
            "",
            TABLE,
            "application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
        ),
        ("?includeObject=Object", TABLE, "application/json"),
    ] {
        let fields = [
            ("Authorization", bearer.as_str()),
            ("Accept", accept),
            ("Accept-Encoding", "gzip"),
        ];
        let target = format!("/clusters/bench/apis/certificates.k8s.io/v1/certificatesigningrequests/mine{query}");
        gateway.client()?.get(&target, &fields)?;
        let arrived = fake.take_arrived();
        let [arrived] = arrived.as_slice() else {
            anyhow::bail!("{} calls arrived", arrived.len());
        };
        let fields = arrived.fields.iter().map(|line| line.to_lowercase());
        let accepts: Vec<String> = fields.filter(|line| line.starts_with("accept")).collect();
        assert_eq!(
            accepts,
            [format!("accept: {}", asked.to_lowercase())],
            "{query} {accept}"
        );
    }
    Ok(())
}

/// The Kubernetes listener has no pages: a browser that is led there is told what kubectl is told.
#[test]
fn k_06_nobody_is_sent_to_a_sign_in_page_by_the_kubernetes_listener() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let gateway = Gateway::before(&fake.upstream(), &Options::default())?;
    let browser: Fields<'_> = &[
        ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("User-Agent", "Mozilla/5.0"),
    ];
    for target in [
        "/clusters/bench/",
        "/clusters/bench/api/v1/namespaces",
        "/clusters/bench/version",
    ] {
        for fields in [browser, &[]] {
            let answer = gateway.client()?.get(target, fields)?;
            assert_eq!(answer.status, 401, "{target}");
            assert_eq!(field(&answer, "Location"), None, "{target}");
            assert_eq!(field(&answer, "Content-Type").as_deref(), Some("application/json"));
            let told = answer.json()?;
            assert_eq!(
                (&told["kind"], &told["reason"]),
                (&json!("Status"), &json!("Unauthorized")),
                "{told}"
            );
            ensure!(
                told["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("gatescribe login")),
                "{told}"
            );
        }
    }
    Ok(())
}

/// Ours are JSON whatever is accepted: clients of Kubernetes read an answer by its type, and every one of them knows this one.
#[test]
fn k_01_who_takes_protobuf_alone_reads_a_refusal_in_json() -> anyhow::Result<()> {
    const PROTOBUF_ALONE: (&str, &str) = ("Accept", "application/vnd.kubernetes.protobuf");
    let sides = Sides::new("alice", &["dev"], &Options::default())?;
    let target = "/api/v1/namespaces/elsewhere/configmaps";
    for (status, answer) in [
        (403, sides.through("GET", target, &[PROTOBUF_ALONE], b"")?),
        (
            401,
            sides
                .through
                .get(&format!("/clusters/bench{target}"), &[PROTOBUF_ALONE])?,
        ),
    ] {
        assert_eq!(answer.status, status, "{}", answer.head);
        assert_eq!(field(&answer, "Content-Type").as_deref(), Some("application/json"));
        let told = answer.json()?;
        assert_eq!((&told["kind"], &told["code"]), (&json!("Status"), &json!(status)));
    }
    Ok(())
}

/// The whole gate, where the body is polled by the audit station and not by a handler: nobody is told to send what will not be read.
#[test]
fn j_02_whoever_is_refused_is_told_before_the_body_is_asked_for() -> anyhow::Result<()> {
    let sides = Sides::new("alice", &["dev"], &Options::default())?;
    let body = br#"{"metadata":{"name":"continued"}}"#;
    let bearer = format!("Authorization: {}\r\n", sides.bearer);
    for (namespace, credential, said) in [
        ("surface", "", "HTTP/1.1 401 "),
        ("elsewhere", bearer.as_str(), "HTTP/1.1 403 "),
        ("surface", bearer.as_str(), "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let mut stream = sides.through.open()?;
        write!(
            stream,
            "POST /clusters/bench/api/v1/namespaces/{namespace}/configmaps HTTP/1.1\r\nHost: {}\r\n{credential}\
             Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            sides.gateway.address,
            body.len()
        )?;
        let mut first = vec![0; said.len()];
        stream.read_exact(&mut first)?;
        assert_eq!(String::from_utf8_lossy(&first), said, "{namespace}");
        if said.contains("100") {
            stream.write_all(body)?;
            let mut last = [0; 13];
            stream.read_exact(&mut last)?;
            assert_eq!(&last, b"HTTP/1.1 201 ");
        }
    }
    Ok(())
}
