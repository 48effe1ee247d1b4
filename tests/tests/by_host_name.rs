//! A cluster by its host name, `<cluster>.<host>`, which is the default wherever the gateway has a name: real kubectl through
//! a forward proxy that knows where the names lead, so that no hosts file is needed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Credential, Kubectl, Way, kubeconfig};
use tests::pods::{dev_does_all, namespace, shell};

/// What is looked at.
const MAP: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: here, namespace: shop }\n";

/// A namespace in which developers may do everything.
fn shop() -> String {
    [&namespace("shop"), &dev_does_all("shop"), MAP].concat()
}

/// A forward proxy (RFC 9110 §9.3.6, CONNECT) through which every name leads to one address. It remembers the names.
struct Names {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    fn lead_to(gateway: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, asked) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // A tunnel that breaks is its ends' business.
                std::thread::spawn(move || drop(tunnel(client, gateway, &seen)));
            }
        });
        Ok(Self { address, asked })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn tunnel(client: TcpStream, gateway: SocketAddr, seen: &Mutex<Vec<String>>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let name = line.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    while reader.read_line(&mut line)? > 2 {}
    let (mut client, mut upstream) = (client, TcpStream::connect(gateway)?);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back, mut forth) = (upstream.try_clone()?, client.try_clone()?);
    let answers = std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
    // The client speaks first in TLS only after our answer: nothing of it is in the reader's buffer.
    std::io::copy(&mut reader, &mut upstream)?;
    upstream.shutdown(std::net::Shutdown::Write)?;
    drop(answers.join());
    Ok(client.shutdown(std::net::Shutdown::Both)?)
}

/// kubectl for `server`, through the proxy.
fn kubectl(gateway: &Gateway, names: &Names, server: &str, token: &str) -> anyhow::Result<Kubectl> {
    let text = kubeconfig(server, gateway.ca(), &Credential::Token(token));
    let mut config: Value = serde_json::from_str(&text)?;
    config["clusters"][0]["cluster"]["proxy-url"] = json!(format!("http://{}", names.address));
    let name: String = server.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = gateway.file(&format!("{name}.kubeconfig"));
    std::fs::write(&path, config.to_string())?;
    let home = gateway.file(&format!("home-{name}"));
    std::fs::create_dir_all(&home)?;
    Ok(Kubectl::new(&path, &home))
}

/// A gateway with a name, and its clusters below that.
fn by_name() -> Options {
    let more = Some(json!({
        "url": "https://gate.example",
        "identity": { "providers": [{ "acceptAudiences": ["kubernetes"] }] },
        "listeners": [{}, { "serves": ["kubernetes", "gateway"] }],
    }));
    Options {
        more,
        ..Options::default()
    }
}

#[test]
fn a_cluster_is_reached_by_its_host_name_and_by_no_other() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(&shop())?;
    let gateway = Gateway::start(&cluster, &by_name())?;
    let token = gateway.provider.raw_token("alice")?;
    let names = Names::lead_to(gateway.address)?;

    // The address that `gatescribe login` would write into the kubeconfig.
    let client = gateway.client()?;
    let document = client
        .get("/.well-known/gatescribe", &[("Host", "gate.example")])?
        .json()?;
    let server = document["clusters"][0]["server"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(server, "https://bench.gate.example", "{document}");

    let alice = kubectl(&gateway, &names, &server, &token)?;
    let mut watch = alice.start(&["get", "configmaps", "-n", "shop", "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    alice.ok(&["create", "configmap", "by-name", "-n", "shop"])?;
    watch.line("the watch goes on", |line| line == "configmap/by-name")?;
    assert!(
        names.asked().iter().all(|name| name == "bench.gate.example:443"),
        "{:?}",
        names.asked()
    );
    let event = cluster.audit_event("the create", |event| {
        event.verb == "create" && event.person() == "alice@example.com"
    })?;
    assert!(
        event.request_uri.starts_with("/api/v1/namespaces/shop/configmaps"),
        "{}",
        event.request_uri
    );
    let records = gateway.records_with("the create's record", |records| {
        records.iter().any(|one| one["id"] == event.audit_id.as_str())
    })?;
    let record = records
        .iter()
        .find(|one| one["id"] == event.audit_id.as_str())
        .expect("the record");
    assert_eq!(record["cluster"], "bench", "{record}");

    // By path on the same listener, where the host is the gateway's own.
    let by_path = kubectl(&gateway, &names, "https://gate.example/clusters/bench", &token)?;
    by_path.ok(&["get", "configmap", "by-name", "-n", "shop"])?;
    let unknown = kubectl(&gateway, &names, "https://other.gate.example", &token)?;
    let refused = unknown.run(&["get", "configmaps", "-n", "shop"])?;
    // kubectl asks for the API groups first, and of their refusal it shows the number alone.
    assert!(refused.code == 1 && refused.stderr.contains("421"), "{refused}");
    by_host_header(&gateway, &token)
}

/// What the `Host` line alone decides, whoever resolved what.
fn by_host_header(gateway: &Gateway, token: &str) -> anyhow::Result<()> {
    let (client, bearer) = (gateway.client()?, format!("Bearer {token}"));
    let target = "/api/v1/namespaces/shop/configmaps/here";
    for (host, target, status) in [
        ("bench.gate.example", target, 200),
        ("BENCH.Gate.Example:443", target, 200),
        ("bench.gate.example.evil.example", target, 421),
        ("a.bench.gate.example", target, 421),
        ("benchgate.example", target, 421),
        ("evil.example", target, 421),
        // On a cluster's own host a prefix is no prefix: the API server has no such path, and nobody may ask for it.
        (
            "bench.gate.example",
            "/clusters/bench/api/v1/namespaces/shop/configmaps/here",
            403,
        ),
    ] {
        let answer = client.get(target, &[("Host", host), ("Authorization", &bearer)])?;
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{host}{target}: {said}");
        let unknown = said.contains("no site answers to this host name");
        assert_eq!(unknown, status == 421, "{host}: {said}");
    }
    Ok(())
}

/// Behind a company's proxy, which only the environment names: the streams go through it as the calls do.
#[test]
fn h_24_streams_go_through_the_proxy_that_the_environment_names() -> anyhow::Result<()> {
    let cluster = Cluster::with_pods(&[shop(), shell("shop", "shell")].concat())?;
    let gateway = Gateway::start(&cluster, &by_name())?;
    let names = Names::lead_to(gateway.address)?;
    let text = kubeconfig(
        "https://bench.gate.example",
        gateway.ca(),
        &Credential::Token(&gateway.provider.raw_token("alice")?),
    );
    let (path, home) = (gateway.file("proxied.kubeconfig"), gateway.file("home-proxied"));
    std::fs::write(&path, text)?;
    std::fs::create_dir_all(&home)?;
    let proxied = Kubectl::new(&path, &home).with("HTTPS_PROXY", &format!("http://{}", names.address));
    let kinds = [
        (Way::WebSocket, "kubectl"),
        (Way::Spdy, "kubectl"),
        (Way::Spdy, "kubectl-1.28"),
    ];
    for (way, program) in kinds {
        let before = names.asked().len();
        let kubectl = proxied.over(way).program(program);
        let said = kubectl.run_with_input(
            &["exec", "-i", "shell", "-n", "shop", "--", "sh", "-c", "cat; exit 3"],
            "through\n",
        )?;
        assert_eq!(
            (said.stdout.as_str(), said.code),
            ("through\n", 3),
            "{program} {way}: {said}"
        );
        let asked = names.asked();
        assert!(asked.len() > before, "{program} {way}: it went around the proxy");
        assert!(asked.iter().all(|name| name == "bench.gate.example:443"), "{asked:?}");
    }
    Ok(())
}
