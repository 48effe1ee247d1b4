//! What an API server can say besides small JSON, carried unchanged: compressed lists, protobuf, its own health and metrics,
//! and the answers of an API server behind it (aggregation), which learns the same person.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::once::Once;
use tests::pki::Ca;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: looks }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, list] }
- { apiGroups: [things.example], resources: [things], verbs: [get, list] }
- { nonResourceURLs: [/livez, /readyz, /metrics], verbs: [get] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: looks }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looks }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// An API server behind the API server, with one object; it shows for whom it was asked.
fn things() -> anyhow::Result<SocketAddr> {
    let identity = Ca::new("things")?.server(&["localhost"])?;
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            // A connection that breaks is the API server's business.
            std::thread::spawn(move || drop(serve(stream, config)));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let (mut lines, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        lines.push(std::mem::take(&mut line).trim().to_owned());
    }
    let target = lines
        .first()
        .and_then(|first| first.split(' ').nth(1))
        .context("a target")?;
    let seen = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-remote-user").then(|| value.to_owned())
    });
    let answer = match target.split('?').next().unwrap_or_default() {
        "/apis/things.example/v1" => Some(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "things.example/v1",
            "resources": [{ "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list"] }],
        })),
        "/apis/things.example/v1/namespaces/shop/things/one" => Some(json!({
            "kind": "Thing", "apiVersion": "things.example/v1",
            "metadata": { "name": "one", "namespace": "shop", "uid": "thing-1", "resourceVersion": "7" }, "seen": seen,
        })),
        _ => None,
    };
    let (status, body) = answer.map_or(("404 Not Found", "{}".to_owned()), |found| {
        ("200 OK", found.to_string())
    });
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let tls = reader.get_mut();
    tls.write_all(format!("{head}{body}").as_bytes())?;
    tls.conn.send_close_notify();
    Ok(tls.flush()?)
}

/// The objects that make it part of the cluster: a service that leads to this machine, and the registration.
fn registered(port: u16) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "things", "namespace": "shop" },
          "spec": { "type": "ExternalName", "externalName": "localhost" } },
        { "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.things.example" },
          "spec": { "group": "things.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
                    "insecureSkipTLSVerify": true, "service": { "name": "things", "namespace": "shop", "port": port } } },
    ]})
    .to_string()
}

/// The shared cluster with the world in it; two who apply the same objects at once meet "already exists".
fn prepared() -> anyhow::Result<&'static Cluster> {
    static PREPARED: Once<&Cluster> = Once::new();
    let prepare = || {
        let cluster = Cluster::shared()?;
        cluster.admin()?.apply(WORLD)?;
        Ok(cluster)
    };
    PREPARED.get(prepare).copied()
}

#[test]
fn l_06_an_aggregated_api_answers_the_same_person() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let admin = cluster.admin()?;
    admin.apply(&registered(things()?.port()))?;
    admin.ok(&[
        "wait",
        "--for=condition=Available",
        "apiservice/v1.things.example",
        "--timeout=170s",
    ])?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    try_until("kubectl knows the kind", PATIENCE, || {
        let seen = alice.ok(&["get", "thing", "one", "-n", "shop", "-o", "jsonpath={.seen}"])?;
        anyhow::ensure!(seen == "alice@example.com", "it was asked for {seen}");
        Ok(())
    })?;
    let bob = gateway.kubectl("bob", &gateway.sign_in("bob")?.token)?;
    let refused = bob.run(&["get", "--raw", "/apis/things.example/v1/namespaces/shop/things/one"])?;
    assert!(
        refused.code == 1 && refused.stderr.contains("may not get things.things.example"),
        "{refused}"
    );
    let closed = |records: &[serde_json::Value]| {
        let read = records
            .iter()
            .find(|record| record["kind"] == "access" && record["req"]["resource"] == "things");
        read.is_some_and(|read| {
            records
                .iter()
                .any(|record| record["kind"] == "close" && record["pair"] == read["seq"])
        })
    };
    gateway.records_with("the read and its end", closed).map(drop)
}

#[test]
fn j_06_compressed_lists_protobuf_health_and_metrics_come_as_the_server_says_them() -> anyhow::Result<()> {
    let cluster = prepared()?;
    // The API server compresses from 128 KiB on.
    let large = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "large", "namespace": "shop" },
        "data": { "text": "a line of text\n".repeat(20_000) } });
    let put = "/api/v1/namespaces/shop/configmaps";
    let made = cluster.client().send(
        "POST",
        put,
        &[("Content-Type", "application/json")],
        large.to_string().as_bytes(),
    )?;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let gateway = Gateway::start(cluster, &Options::default())?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    let large = "/api/v1/namespaces/shop/configmaps/large";
    for (name, value, starts, says) in [
        (
            "Accept-Encoding",
            "gzip",
            b"\x1f\x8b".as_slice(),
            "content-encoding: gzip",
        ),
        (
            "Accept",
            "application/vnd.kubernetes.protobuf",
            b"k8s\0",
            "content-type: application/vnd.kubernetes.protobuf",
        ),
    ] {
        let through = client.get(
            &format!("/clusters/bench{large}"),
            &[(name, value), ("Authorization", &bearer)],
        )?;
        let direct = cluster.client().get(large, &[(name, value)])?;
        assert_eq!(through.status, 200, "{value}");
        assert!(
            through.head.to_ascii_lowercase().contains(says),
            "{value}: {}",
            through.head
        );
        assert!(through.body.starts_with(starts), "{value}");
        assert!(
            through.body == direct.body,
            "{value}: {} and {} bytes",
            through.body.len(),
            direct.body.len()
        );
    }
    for (path, says) in [
        ("/livez?verbose", "[+]etcd ok"),
        ("/readyz?verbose", "[+]etcd ok"),
        ("/metrics", "apiserver_request_total"),
    ] {
        let answer = client.get(&format!("/clusters/bench{path}"), &[("Authorization", &bearer)])?;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status == 200 && text.contains(says),
            "{path}: {} {text:.200}",
            answer.status
        );
        assert!(!text.contains("gateway_"), "{path} is the API server's, not ours");
        let ours = client.get(path, &[("Authorization", &bearer)])?;
        assert_eq!(ours.status, 421, "our own health and metrics are not on this listener");
        let stranger = client.get(&format!("/clusters/bench{path}"), &[])?;
        assert_eq!(stranger.status, 401, "{path}");
    }
    Ok(())
}
