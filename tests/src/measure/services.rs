//! Services behind a gateway and behind nginx: the same small upstreams, asked with the same requests.

use super::rivals::{self, Gateway, Rival};
use super::signed_in::{GROUP, NAMESPACE, sign_in, workloads};
use super::stage::Stage;
use super::{sockets, unary, world};
use crate::process::Folder;
use crate::tools;
use crate::wait::{PATIENCE, try_until};
use anyhow::ensure;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// Hosts of the services, in the order in which each person's cookies are.
pub const HOSTS: [&str; 4] = [
    "web.localhost",
    "socket.localhost",
    "grpc.localhost",
    "ingress.localhost",
];
/// The place of the service of plain calls among the hosts.
pub const WEB: usize = 0;
/// Of WebSockets.
pub const SOCKET: usize = 1;
/// Of gRPC.
pub const GRPC: usize = 2;
/// Of the service whose calls an ingress forwards.
pub const INGRESS: usize = 3;
/// What the ingress proves itself by.
const SECRET: &str = "b3ZlciB0aGUgaGlsbHMgYW5kIGZhciBhd2F5";

/// What stands behind all of them, besides the small API server.
#[derive(Debug)]
pub struct Behind {
    /// WebSockets that send back what comes.
    pub sockets: SocketAddr,
    /// gRPC's test service.
    pub grpc: unary::Service,
}

impl Behind {
    /// Starts them.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(stage: &Stage) -> anyhow::Result<Self> {
        Ok(Self {
            sockets: stage.runtime.block_on(sockets::serve())?,
            grpc: unary::serve()?,
        })
    }
}

/// A gateway that publishes the services, with people who have signed in.
#[derive(Debug)]
pub struct Published {
    /// Its process and its ledger.
    pub gateway: Gateway,
    /// Where ingresses ask.
    pub verdicts: SocketAddr,
    /// The cookies of each person, by host.
    pub people: Arc<[Arc<[String]>]>,
    /// Tokens of workloads.
    pub workloads: Arc<[String]>,
    // Dropped last: the process writes into it.
    _folder: Folder,
}

/// Starts a gateway in front of the services, with so many people signed in. Its audit is as where nothing is said of it: every call
/// is durable before it is sent, and its end is recorded.
///
/// # Errors
/// It does not become ready.
pub fn publish(name: &'static str, stage: &Stage, behind: &Behind, people: usize) -> anyhow::Result<Published> {
    // Held, so that its log can be read where it does not start.
    let folder = Folder::held(name)?;
    let (address, verdicts, kubernetes, admin) = (rivals::free()?, rivals::free()?, rivals::free()?, rivals::free()?);
    let data = folder.path().join("data");
    let people = sign_in(&data, people, stage.api.issuer(), &HOSTS)?;
    let write = |file: &str, text: &str| folder.write(file, text).map(|path| path.display().to_string());
    let tls = json!({
        "certFile": write("tls.crt", &stage.identity.certificate)?, "keyFile": write("tls.key", &stage.identity.key)?,
    });
    let url = format!("https://{address}");
    let configuration = json!({
        "apiVersion": "gatescribe.dev/v1",
        "url": url,
        "dataDir": data,
        "listeners": [
            { "name": "gateway", "address": address.to_string(), "serves": ["gateway", "services"], "tls": tls },
            { "name": "kubernetes", "address": kubernetes.to_string(), "serves": ["kubernetes"], "tls": tls },
            { "name": "verdict", "address": verdicts.to_string(), "serves": ["verdict"], "tls": tls },
        ],
        "forwardAuth": { "peers": [{ "name": "edge", "secretFiles": [write("edge.secret", SECRET)?] }] },
        "admin": { "address": admin.to_string() },
        "identity": {
            "providers": [{ "name": "bench", "issuer": stage.api.issuer(), "clientId": world::CLIENT }],
            // Nobody has a refresh token to ask the provider with.
            "session": { "recheck": "1d" },
            "serviceAccounts": { "accept": true },
        },
        "policy": { "rules": [write("rules.yaml", &documents(stage.api.plain, behind))?] },
        "limits": { "recordsPerSecond": 1_000_000, "bytesPerDay": "1024GiB", "inFlight": 100_000, "streams": 100_000 },
        "clusters": [{
            "name": "bench", "servers": [format!("http://{}", stage.api.plain)],
            "impersonator": { "tokenFile": write("impersonator", &"i".repeat(900))? },
            "observer": { "tokenFile": write("observer", &"o".repeat(900))? },
        }],
    });
    let gateway = rivals::serve(name, &folder, (address, admin), data, &configuration)?;
    Ok(Published {
        gateway,
        verdicts,
        people: people.into(),
        workloads: workloads(&url).into(),
        _folder: folder,
    })
}

fn documents(web: SocketAddr, behind: &Behind) -> String {
    let Behind { sockets, grpc } = behind;
    let upstreams = [
        format!("{{ url: 'http://{web}' }}"),
        format!("{{ url: 'http://{sockets}' }}"),
        format!("{{ url: 'http://{}', protocol: h2c }}", grpc.address),
        "{ ingress: true }".to_owned(),
    ];
    let services = HOSTS.iter().zip(upstreams).map(|(host, upstream)| {
        let name = host.split('.').next().unwrap_or_default();
        format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  hosts: [{host}]\n  upstream: {upstream}\n---\n"
        )
    });
    let rule = |name: &str, subjects: &str| {
        format!(
            "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{ name: {name} }}\nspec:\n  effect: allow\n  subjects: {subjects}\n  \
             services: [{{ hosts: ['*.localhost'], methods: ['*'], paths: ['/*'] }}]\n"
        )
    };
    let people = rule("people", &format!("{{ groups: [{GROUP}] }}"));
    let workloads = rule("workloads", &format!("{{ workloads: ['{NAMESPACE}/*'] }}"));
    format!("{}{people}---\n{workloads}", services.collect::<String>())
}

/// nginx in front of the same services, three times.
#[derive(Debug)]
pub struct Nginx {
    /// The process, listening as a bare reverse proxy.
    pub bare: Rival,
    /// Where it asks the gateway about each call, by the configuration of the manual: a connection for each question.
    pub asking: SocketAddr,
    /// The same, on connections that are kept.
    pub asking_kept: SocketAddr,
}

/// Starts it. Its limits of requests on one connection are lifted in its favour.
///
/// # Errors
/// It cannot be fetched or does not start.
pub fn nginx(stage: &Stage, behind: &Behind, verdicts: SocketAddr) -> anyhow::Result<Nginx> {
    let folder = Folder::new("nginx")?;
    let (bare, asking, asking_kept) = (rivals::free()?, rivals::free()?, rivals::free()?);
    let root = folder.path().display();
    folder.write("nginx.crt", &stage.identity.certificate)?;
    folder.write("nginx.key", &stage.identity.key)?;
    folder.write("ca.crt", stage.ca.certificate())?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!(" {what}_temp_path {root}/{what};\n"))
        .collect();
    let kept = |name: &str, address: &dyn std::fmt::Display| {
        format!(" upstream {name} {{ server {address}; keepalive 64; keepalive_requests 1000000000; }}\n")
    };
    let server = |address: SocketAddr, locations: &str| {
        format!(
            " server {{\n  listen {address} ssl http2;\n  ssl_certificate {root}/nginx.crt;\n  ssl_certificate_key {root}/nginx.key;\n  \
             ssl_protocols TLSv1.2 TLSv1.3;\n{locations} }}\n"
        )
    };
    let text = format!(
        "worker_processes 1;\ndaemon off;\nuser root;\npid {root}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n access_log off;\n keepalive_requests 1000000000;\n{temporary}\
         {}{}{} map $http_upgrade $gatescribe_connection {{ default upgrade; \"\" close; }}\n{}{}{}}}\n",
        kept("up", &stage.api.plain),
        kept("grpc", &behind.grpc.address),
        kept("verdicts", &verdicts),
        server(bare, &plain(behind.sockets)),
        server(asking, &asks(&format!("https://{verdicts}"), "", &root.to_string())),
        server(
            asking_kept,
            &asks(
                "https://verdicts",
                "proxy_http_version 1.1; proxy_set_header Connection \"\";",
                &root.to_string()
            )
        ),
    );
    let configuration = folder.write("nginx.conf", text)?;
    let mut command = tools::debian(&["nginx"])?.command("nginx")?;
    command.arg("-p").arg(folder.path()).arg("-c").arg(configuration);
    let bare = Rival::begin("nginx", bare, bare, &command, &folder)?;
    // It listens before its worker is there, whose CPU is what counts.
    try_until("nginx has its worker", PATIENCE, || {
        ensure!(bare.pids().len() > 1, "it has none:\n{}", bare.log());
        Ok(())
    })?;
    Ok(Nginx {
        bare,
        asking,
        asking_kept,
    })
}

/// The locations of a bare reverse proxy.
fn plain(sockets: SocketAddr) -> String {
    format!(
        "  location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n  \
         location = /socket {{ proxy_pass http://{sockets}; proxy_http_version 1.1; proxy_read_timeout 1h; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $gatescribe_connection; proxy_set_header Host $http_host; }}\n  \
         location /grpc.testing.TestService/ {{ grpc_pass grpc://grpc; }}\n"
    )
}

/// The locations of an ingress that asks, as `docs/how-to/keep-your-ingress.md` has them.
fn asks(verdicts: &str, kept: &str, root: &str) -> String {
    format!(
        "  location = /_gatescribe_verdict {{\n   internal;\n   proxy_pass {verdicts}/auth/nginx;\n   {kept}\n   proxy_ssl_verify on;\n   \
         proxy_ssl_trusted_certificate {root}/ca.crt;\n   proxy_ssl_name localhost;\n   proxy_set_header Host localhost;\n   \
         proxy_set_header X-Gatescribe-Ingress-Secret \"{SECRET}\";\n   proxy_set_header X-Original-Method $request_method;\n   \
         proxy_set_header X-Original-Host $host;\n   proxy_set_header X-Original-URL $request_uri;\n   \
         proxy_set_header X-Original-Address $remote_addr;\n   proxy_set_header X-Original-Upgrade $http_upgrade;\n   \
         proxy_pass_request_body off;\n   proxy_set_header Content-Length \"\";\n  }}\n  \
         location / {{\n   auth_request /_gatescribe_verdict;\n   \
         auth_request_set $gatescribe_assertion $upstream_http_x_gatescribe_assertion;\n   \
         auth_request_set $gatescribe_id $upstream_http_audit_id;\n   \
         auth_request_set $gatescribe_cookie $upstream_http_x_gatescribe_cookie;\n   \
         proxy_pass http://up;\n   proxy_http_version 1.1;\n   proxy_set_header Host $host;\n   \
         proxy_set_header X-Gatescribe-Assertion $gatescribe_assertion;\n   proxy_set_header Audit-ID $gatescribe_id;\n   \
         proxy_set_header Cookie $gatescribe_cookie;\n   proxy_set_header Authorization \"\";\n   \
         proxy_set_header Connection \"\";\n  }}\n"
    )
}
