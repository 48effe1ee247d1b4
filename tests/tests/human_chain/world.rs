//! Services that are small servers of the story itself, before a real gateway and a real API server, and the workloads that they are.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, Client, field, plainly};
use tests::pki::Ca;
use tests::process::Folder;

pub const CONFIGMAPS: &str = "/clusters/bench/api/v1/namespaces/chain/configmaps";
pub const ALICE: &str = "alice@example.com";
pub const FRONT: &str = "system:serviceaccount:chain:front";
pub const STOCK: &str = "spiffe://example.org/ns/chain/sa/stock";
pub const ASSERTION: &str = "X-Gatescribe-Assertion";

/// What the API server lets a group do to which a rule of the gateway admits people.
const RIGHTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: chain }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: chain }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reads, namespace: chain }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reads, namespace: chain }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: chain-readers }
"#;

/// Whoever is a service, and through which it may be called.
const SERVICES: [&str; 5] = ["front", "stock", "depot", "dock", "till"];

/// What people may do at the API server; without it there is nothing that anybody could do for them.
const PEOPLE_READ: &str = "
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: people-read }
spec:
  effect: allow
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get, list, watch], resources: [configmaps], namespaces: [chain] }
  as: { groups: [chain-readers] }
";

const RULES: &str = r#"
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: people-call }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: ["*.localhost"], methods: ["*"], paths: ["/*"] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: front-acts }
spec:
  effect: allow
  subjects: { workloads: [chain/front] }
  onBehalfOf: { groups: [dev] }
  services: [{ hosts: [stock.localhost], methods: ["*"], paths: ["/*"] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: stock-acts }
spec:
  effect: allow
  subjects: { workloads: [chain/stock, "spiffe://example.org/ns/chain/sa/stock"] }
  onBehalfOf: { groups: [dev] }
  services: [{ hosts: [depot.localhost, front.localhost], methods: ["*"], paths: ["/*"] }]
  kubernetes: { verbs: [get, list, watch], resources: [configmaps], namespaces: [chain] }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: depot-acts }
spec:
  effect: allow
  subjects: { workloads: [chain/depot] }
  onBehalfOf: { groups: [dev] }
  services: [{ hosts: [dock.localhost], methods: [GET], paths: ["/*"] }]
"#;

/// A request that came to a service.
#[derive(Clone, Debug)]
pub struct Came {
    path: String,
    fields: String,
}

impl Came {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }
}

/// A service of the story. Its threads end with the test.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

type Answering = fn(&Reach, &Came) -> anyhow::Result<String>;

impl Server {
    fn start(reach: &Arc<OnceLock<Reach>>, answer: Answering) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, came) = (listener.local_addr()?, Arc::<Mutex<Vec<Came>>>::default());
        let (reach, known) = (Arc::clone(reach), Arc::clone(&came));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (reach, known) = (Arc::clone(&reach), Arc::clone(&known));
                thread::spawn(move || serve(stream, &reach, &known, answer));
            }
        });
        Ok(Self { address, came })
    }

    pub fn last(&self) -> anyhow::Result<Came> {
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.last().cloned().context("nobody came")
    }

    /// What was asserted of the last one who called.
    pub fn assertion(&self) -> anyhow::Result<String> {
        let last = self.last()?;
        last.field(ASSERTION).map(str::to_owned).context("no assertion came")
    }
}

fn serve(mut stream: TcpStream, reach: &OnceLock<Reach>, came: &Mutex<Vec<Came>>, answer: Answering) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (first, fields) = head.split_once("\r\n")?;
    let one = Came {
        path: first.split(' ').nth(1)?.to_owned(),
        fields: fields.to_owned(),
    };
    came.lock().unwrap_or_else(PoisonError::into_inner).push(one.clone());
    if one.field("upgrade").is_some() {
        let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(switched.as_bytes()).ok()?;
        // Until the other end goes.
        while stream.read(&mut byte).ok()? == 1 {}
        return Some(());
    }
    let said = reach.get().context("too early").and_then(|reach| answer(reach, &one));
    let (status, said) = match said {
        Ok(said) => ("200 OK", said),
        Err(error) => ("500 Internal Server Error", format!("{error:#}")),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        said.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(said.as_bytes()).ok()
}

/// What the services have: their own proofs, and the gateway's two addresses.
pub struct Reach {
    gate: SocketAddr,
    stock: SocketAddr,
    /// Shows the X.509-SVID of the service `stock`.
    svid: Client,
    tokens: BTreeMap<&'static str, String>,
}

impl Reach {
    /// One call of a service, by its own token and with what it was told, as it has it to send.
    pub fn calls(&self, workload: &str, assertion: &str, to: &str, more: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let bearer = self.bearer(workload)?;
        let mut headers = vec![("Authorization", bearer.as_str()), (ASSERTION, assertion)];
        headers.extend_from_slice(more);
        self.sends(to, "/items", &headers)
    }

    pub fn sends(&self, service: &str, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let host = format!("{service}.localhost:{}", self.gate.port());
        plainly(self.gate, &host, ("GET", path), headers, b"")
    }

    /// What stands at a path of the Kubernetes listener, for whoever is told of, by the service's SVID.
    pub fn reads(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.svid.get(path, headers)
    }

    pub fn bearer(&self, workload: &str) -> anyhow::Result<String> {
        Ok(format!(
            "Bearer {}",
            self.tokens.get(workload).context("no such workload")?
        ))
    }

    pub const fn gate(&self) -> SocketAddr {
        self.gate
    }

    pub const fn svid(&self) -> &Client {
        &self.svid
    }

    /// RFC 8693.
    pub fn exchanges(&self, workload: &str, assertion: &str, audience: &str) -> anyhow::Result<Answer> {
        const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
        let token = self.tokens.get(workload).context("no such workload")?;
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&audience={audience}&subject_token={assertion}&subject_token_type={JWT}&actor_token={token}&actor_token_type={JWT}"
        );
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        plainly(
            self.gate,
            &self.gate.to_string(),
            ("POST", "/token"),
            &[kind],
            form.as_bytes(),
        )
    }
}

/// A trace goes on where it has begun.
fn trace(came: &Came) -> Vec<(&'static str, &str)> {
    came.field("traceparent")
        .map(|trace| ("traceparent", trace))
        .into_iter()
        .collect()
}

/// Calls `stock` for whoever calls: through the gateway, or past it by what an exchange gives.
fn front(reach: &Reach, came: &Came) -> anyhow::Result<String> {
    let told = came.field(ASSERTION).context("nobody is asserted")?;
    let answer = match came.path.as_str() {
        "/items" => reach.calls("front", told, "stock", &trace(came))?,
        "/directly" => {
            let given = reach.exchanges("front", told, "service:stock")?.json()?;
            let token = given["access_token"].as_str().with_context(|| given.to_string())?;
            plainly(reach.stock, "stock", ("GET", "/items"), &[(ASSERTION, token)], b"")?
        }
        _ => return Ok("front".to_owned()),
    };
    Ok(format!(
        "stock {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    ))
}

/// Lists objects of the cluster for whoever calls.
fn stock(reach: &Reach, came: &Came) -> anyhow::Result<String> {
    let told = came.field(ASSERTION).context("nobody is asserted")?;
    let mut headers = vec![(ASSERTION, told)];
    headers.extend(trace(came));
    let answer = reach.reads(CONFIGMAPS, &headers)?;
    Ok(format!(
        "cluster {}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    ))
}

fn silent(_: &Reach, _: &Came) -> anyhow::Result<String> {
    Ok("here".to_owned())
}

pub struct World {
    pub cluster: &'static Cluster,
    pub gateway: Gateway,
    reach: Arc<OnceLock<Reach>>,
    servers: BTreeMap<&'static str, Server>,
    _folder: Folder,
}

impl World {
    pub fn start(telemetry: Option<Value>, under: Option<Command>) -> anyhow::Result<Self> {
        let cluster = Cluster::shared()?;
        let accounts = SERVICES.map(|name| {
            format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {name}, namespace: chain }}\n")
        });
        cluster.admin()?.apply(&format!("{RIGHTS}{}", accounts.concat()))?;
        let reach = Arc::<OnceLock<Reach>>::default();
        let servers = SERVICES.map(|name| {
            let answering: Answering = match name {
                "front" => front,
                "stock" => stock,
                _ => silent,
            };
            Ok((name, Server::start(&reach, answering)?))
        });
        let servers = servers.into_iter().collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        let (mesh, folder) = (Ca::new("mesh")?, Folder::new("mesh")?);
        let bundle = folder.write("mesh.pem", mesh.certificate())?;
        let mut more = json!({
            "listeners": [{}, { "workloads": [{ "trustDomain": "example.org", "bundleFile": bundle }] }],
        });
        if let Some(telemetry) = telemetry {
            more["telemetry"] = telemetry;
        }
        let options = Options {
            identity: Some(json!({ "serviceAccounts": { "accept": true } })),
            more: Some(more),
            under,
            ..Options::ruled(rules(&servers, true))
        };
        let gateway = Gateway::start(cluster, &options)?;
        let tokens = SERVICES.map(|name| {
            let arguments = ["create", "token", name, "-n", "chain", "--audience", &gateway.url];
            let token = cluster.admin()?.ok(&arguments)?;
            Ok((name, token.trim().to_owned()))
        });
        let svid = mesh.workload(STOCK)?;
        let known = Reach {
            gate: gateway.url.strip_prefix("http://").context("plain http")?.parse()?,
            stock: servers.get("stock").context("stock")?.address,
            svid: Client::new(gateway.address, gateway.ca(), Some(&svid))?,
            tokens: tokens.into_iter().collect::<anyhow::Result<_>>()?,
        };
        ensure!(reach.set(known).is_ok(), "set once");
        Ok(Self {
            cluster,
            gateway,
            reach,
            servers,
            _folder: folder,
        })
    }

    pub fn reach(&self) -> anyhow::Result<&Reach> {
        self.reach.get().context("set at the start")
    }

    pub fn server(&self, name: &str) -> anyhow::Result<&Server> {
        self.servers.get(name).context("no such service")
    }

    /// The rules with or without the one by which people may read.
    pub fn rules(&self, people_read: bool) -> String {
        rules(&self.servers, people_read)
    }

    /// A browser of hers that has signed in at the service `front`.
    pub fn alice(&self) -> anyhow::Result<Alice<'_>> {
        let mut browser = self.gateway.browser();
        self.gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
        let url = format!("http://front.localhost:{}/", self.reach()?.gate.port());
        let page = browser.open(&url, "stop:")?;
        self.gateway.provider.control("/auto", &json!({ "login": null }))?;
        ensure!(page.status == 200 && page.body == "front", "{page:?}");
        Ok(Alice { world: self, browser })
    }

    /// The record of a call that has this id, of the kinds that begin one or refuse it.
    pub fn record(&self, id: &str) -> anyhow::Result<Value> {
        let is_it = |record: &&Value| record["id"] == id && record["pair"].is_null();
        let records = self
            .gateway
            .records_with("the record", |records| records.iter().any(|record| is_it(&record)))?;
        records.iter().find(is_it).cloned().context("a record")
    }
}

pub struct Alice<'w> {
    world: &'w World,
    browser: Browser,
}

impl Alice<'_> {
    pub fn asks(&self, path: &str, more: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let reach = self.world.reach()?;
        let cookies = self.browser.cookies(&format!("front.localhost:{}", reach.gate.port()));
        let mut headers = vec![("Cookie", cookies.as_str())];
        headers.extend_from_slice(more);
        reach.sends("front", path, &headers)
    }

    /// What `front` and `stock` are told of her, as they are told it now.
    pub fn assertions(&self) -> anyhow::Result<[String; 2]> {
        let answer = self.asks("/items", &[])?;
        ensure!(answer.status == 200, "{answer:?}");
        let told = |name| self.world.server(name)?.assertion();
        Ok([told("front")?, told("stock")?])
    }
}

fn rules(servers: &BTreeMap<&'static str, Server>, people_read: bool) -> String {
    let services = servers.iter().map(|(name, server)| {
        let svid = if *name == "stock" { format!(", '{STOCK}'") } else { String::new() };
        format!(
            "---\napiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ hosts: [{name}.localhost], upstream: {{ url: 'http://{}' }}, workloads: [chain/{name}{svid}] }}\n",
            server.address
        )
    });
    let services: String = services.collect();
    format!("{services}{RULES}{}", if people_read { PEOPLE_READ } else { "" })
}
