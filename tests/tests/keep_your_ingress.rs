//! Ingresses that people keep: nginx, Caddy and Envoy ask for verdicts, each by the configuration that stands in the manual.

#[path = "ingress/attacks.rs"]
mod attacks;

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::Server;
use tests::backends::proxy::{Kind, Place};
use tests::captured::{Arrived, CapturingHttp2};
use tests::counterparts::repository;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, field, plainly};
use tests::pki::Ca;
use tests::ports::Port;
use tests::process::Folder;

const SECRET: &str = "b3ZlciB0aGUgaGlsbHMgYW5kIGZhciBhd2F5";
const RULES: &str = r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: { name: web }
spec:
  hosts: [web.localhost]
  upstream: { ingress: true }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: web-for-developers }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: [web.localhost], methods: ['*'], paths: ['/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: pictures-for-everybody }
spec:
  effect: allow
  subjects: { public: true }
  services: [{ hosts: [web.localhost], methods: [GET], paths: ['/pictures/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: nobody-deletes }
spec:
  effect: forbid
  subjects: { groups: ['*'] }
  services: [{ hosts: [web.localhost], methods: [DELETE], paths: ['/*'] }]
";

/// A gateway whose address is the ingress's, and a service behind that.
struct World {
    ingress: Server,
    web: FakeApiServer,
    gateway: Gateway,
    /// Where the ingress listens for browsers.
    front: SocketAddr,
    verdicts: SocketAddr,
    ca: Ca,
    _files: Folder,
    _ports: [Port; 2],
}

/// What stands in the place of the addresses of the manual.
struct Places<'w> {
    front: SocketAddr,
    host: SocketAddr,
    verdicts: SocketAddr,
    web: SocketAddr,
    files: &'w Folder,
    place: &'w Place<'w>,
}

impl World {
    fn start(kind: Kind, configure: impl FnOnce(&Places<'_>) -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let (cluster, web) = (FakeApiServer::start()?, FakeApiServer::start()?);
        web.capture();
        let files = Folder::new("ingress")?;
        let ports = [Port::reserve()?, Port::reserve()?];
        let [host, verdicts] = ports.each_ref().map(Port::address);
        let (ca, of_ingresses) = (Ca::new("verdicts")?, Ca::new("ingresses")?);
        let own = ca.server(&["127.0.0.1", "localhost"])?;
        let client = of_ingresses.sign(rcgen::CertificateParams::new(vec!["envoy.ingress.svc".to_owned()])?)?;
        let write = |name: &str, text: &str| files.write(name, text).map(|path| path.display().to_string());
        write("gatescribe-ca.crt", ca.certificate())?;
        write(
            "gatescribe-secret.conf",
            &format!("proxy_set_header X-Gatescribe-Ingress-Secret \"{SECRET}\";\n"),
        )?;
        write("envoy.crt", &client.certificate)?;
        write("envoy.key", &client.key)?;
        let more = json!({
            "listeners": [{ "address": host.to_string() }, {}, {
                "name": "verdict", "address": verdicts.to_string(), "serves": ["verdict"],
                "tls": { "certFile": write("verdict.crt", &own.certificate)?, "keyFile": write("verdict.key", &own.key)? },
            }],
            "forwardAuth": {
                "caFile": write("ingresses.crt", of_ingresses.certificate())?,
                "peers": [
                    { "name": "edge", "secretFiles": [write("edge.secret", SECRET)?] },
                    { "name": "mesh", "certificateNames": ["envoy.ingress.svc"] },
                ],
            },
        });
        let options = Options {
            identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
            more: Some(more),
            ..Options::ruled(RULES)
        };
        let gateway = Gateway::before(&cluster.upstream(), &options)?;
        let front = address(&gateway.url)?;
        let behind = address(&web.upstream().server)?;
        let configure = |place: &Place<'_>| {
            configure(&Places {
                front,
                host,
                verdicts,
                web: behind,
                files: &files,
                place,
            })
        };
        let ingress = kind.start_with(configure, |command, _| {
            command.env("GATESCRIBE_INGRESS_SECRET", SECRET);
            Ok(())
        })?;
        Ok(Self {
            ingress,
            web,
            gateway,
            front,
            verdicts,
            ca,
            _files: files,
            _ports: ports,
        })
    }

    /// Asks the ingress for the service as a program does.
    fn ask(&self, act: (&str, &str), headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        plainly(
            self.front,
            &format!("web.localhost:{}", self.front.port()),
            act,
            headers,
            b"",
        )
    }

    /// Asks for a verdict, as whoever does.
    fn question(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        tests::http::Client::new(self.verdicts, self.ca.certificate(), None)?.get(path, headers)
    }

    fn bearer(&self, person: &str) -> anyhow::Result<String> {
        Ok(format!("Bearer {}", self.gateway.provider.raw_token(person)?))
    }

    /// The records of verdicts, at least so many.
    fn recorded(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let is_told = |record: &Value| record["source"] == "verdict";
        let records = self.gateway.records_with("records of verdicts", |records| {
            records.iter().filter(|record| is_told(record)).count() >= count
        })?;
        Ok(records.into_iter().filter(is_told).collect())
    }
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.strip_prefix("http://").context("plain http")?.parse()?)
}

/// The configuration of the manual, with our addresses; `first` is replaced before them.
fn manual(ingress: &str, places: &Places<'_>, first: &[(&str, String)]) -> anyhow::Result<String> {
    let page = std::fs::read_to_string(repository().join("docs/how-to/keep-your-ingress.md"))?;
    let (_, section) = page.split_once(&format!("\n## {ingress}\n")).context("a section")?;
    let (_, block) = section.split_once("\n```").context("a configuration")?;
    let (_, block) = block.split_once('\n').context("its language")?;
    let (block, _) = block.split_once("\n```").context("an end")?;
    let mut text = format!("{block}\n");
    for (from, to) in first {
        ensure!(text.contains(from), "the page does not say {from}");
        text = text.replace(from, to);
    }
    let files = places.files.path().display().to_string();
    for (from, to) in [
        (
            "https://gatescribe.gatescribe.svc:8443",
            format!("http://{}", places.host),
        ),
        (
            "https://gatescribe.gatescribe.svc:9443",
            format!("https://{}", places.verdicts),
        ),
        ("gatescribe.gatescribe.svc", "localhost".to_owned()),
        ("grafana.monitoring.svc:3000", places.web.to_string()),
        ("/etc/nginx", files.clone()),
        ("/etc/caddy", files.clone()),
        ("/etc/envoy", files),
    ] {
        text = text.replace(from, &to);
    }
    Ok(text)
}

fn nginx(places: &Places<'_>) -> anyhow::Result<String> {
    let Places { front, host, place, .. } = places;
    let text = manual("nginx", places, &[])?
        .lines()
        .filter(|line| !line.trim_start().starts_with("ssl_certificate"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .replace("listen 443 ssl;", &format!("listen {front}; listen {};", place.listen))
        .replace("grafana.example.com", "web.localhost");
    // The gateway's own host, as it is behind any ingress.
    let gateway = format!(
        "server {{ listen {front} default_server; server_name 127.0.0.1;\n location / {{ proxy_pass http://{host}; proxy_set_header Host $http_host; }} }}\n"
    );
    Ok(place.nginx(&format!("{text}{gateway}")))
}

fn caddy(places: &Places<'_>) -> anyhow::Result<String> {
    let Places { front, host, place, .. } = places;
    let port = front.port();
    let first = [
        (
            "grafana.example.com {\n",
            format!("http://web.localhost:{port} {{\n\tbind 127.0.0.1\n"),
        ),
        (
            "https://gatescribe.gatescribe.svc:8443 {\n\t\t\timport gatescribe_tls\n\t\t}",
            format!("http://{host}"),
        ),
    ];
    let text = manual("Caddy", places, &first)?;
    let gateway = format!("http://127.0.0.1:{port} {{\n bind 127.0.0.1\n reverse_proxy http://{host}\n}}\n");
    let own = format!("http://{} {{\n bind 127.0.0.1\n respond 404\n}}\n", place.listen);
    Ok(format!("{{\n admin off\n auto_https off\n}}\n{text}{gateway}{own}"))
}

fn envoy(places: &Places<'_>) -> anyhow::Result<String> {
    let at = |address: &SocketAddr| format!("address: {}, port_value: {}", address.ip(), address.port());
    let hosts = "                  virtual_hosts:\n";
    let gateway = "{ name: gateway, domains: [127.0.0.1], routes: [{ match: { prefix: / }, route: { cluster: gatescribe_services }, typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } } }] }";
    let listens = "{ socket_address: { address: 0.0.0.0, port_value: 443 } }";
    let first = [
        (
            listens,
            format!(
                "{{ socket_address: {{ {} }} }}\n      additional_addresses: [{{ address: {{ socket_address: {{ {} }} }} }}]",
                at(&places.front),
                at(&places.place.listen)
            ),
        ),
        (
            "        - transport_socket: {",
            "        - name: without-tls\n          transport_socket: {".to_owned(),
        ),
        (
            "stat_prefix: services\n",
            // The browser of the stories speaks it.
            "stat_prefix: services\n                http_protocol_options: { accept_http_10: true }\n".to_owned(),
        ),
        (hosts, format!("{hosts}                    - {gateway}\n")),
        ("address: grafana.monitoring.svc, port_value: 3000", at(&places.web)),
        ("address: gatescribe.gatescribe.svc, port_value: 8443", at(&places.host)),
        (
            "address: gatescribe.gatescribe.svc, port_value: 9443",
            at(&places.verdicts),
        ),
        ("[grafana.example.com]", "[web.localhost]".to_owned()),
    ];
    let text = manual("Envoy", places, &first)?;
    // Browsers and the gateway speak plain HTTP here.
    let is_kept = |line: &&str| !line.contains("transport_socket: {");
    Ok(text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect())
}

/// The values of a field, as the service saw them.
fn values<'a>(arrived: &'a Arrived, name: &str) -> Vec<&'a str> {
    let fields = arrived.fields.iter().filter_map(|field| field.split_once(':'));
    fields
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// The whole story of one ingress: who has not signed in, who has, who may not, and what is written down.
fn story(world: &World) -> anyhow::Result<()> {
    let port = world.front.port();
    let told = world.ask(("GET", "/api"), &[("Accept", "*/*")])?;
    ensure!(
        told.status == 401,
        "a program is told: {told:?}\n{}",
        world.ingress.log_end()
    );
    ensure!(world.web.take_arrived().is_empty(), "nothing was asked of the service");

    world.gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
    let mut browser = world.gateway.browser();
    let deep = format!("http://web.localhost:{port}/deep/link?x=1");
    let page = browser.open(&deep, "stop:")?;
    ensure!(
        page.status == 200 && page.url == deep,
        "{page:?}\n{}",
        world.ingress.log_end()
    );
    let arrived = world.web.take_arrived();
    let [one] = &arrived[..] else {
        anyhow::bail!("one request comes to the service: {arrived:#?}")
    };
    ensure!(one.first[0].starts_with("GET /deep/link?x=1 "), "{one:?}");
    ensure!(values(one, "x-gatescribe-assertion").len() == 1, "{one:?}");
    let fields = one.fields.join("\n");
    ensure!(
        !fields.contains("gatescribe-service") && !fields.contains("gatescribe-arrival"),
        "{fields}"
    );

    let bearer = world.bearer("alice")?;
    let forged = [
        ("Authorization", bearer.as_str()),
        ("Cookie", "theme=dark"),
        ("X-Gatescribe_Assertion", "forged"),
        ("X-Original-Url", "/pictures/x"),
        ("X-Original-Method", "GET"),
        ("X-Forwarded-Uri", "/pictures/x"),
        ("X-Forwarded-Method", "GET"),
        ("X-Gatescribe-Ingress-Secret", "forged"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Original-Address", "6.6.6.6"),
    ];
    let good = world.ask(("GET", "/other"), &forged)?;
    ensure!(good.status == 200, "{good:?}\n{}", world.ingress.log_end());
    // What is said is for the service alone.
    ensure!(!good.head.to_lowercase().contains("gatescribe-"), "{good:?}");
    let arrived = world.web.take_arrived();
    let fields = arrived
        .iter()
        .flat_map(|one| one.fields.clone())
        .collect::<Vec<_>>()
        .join("\n");
    ensure!(arrived.len() == 1 && !fields.contains(&bearer), "{fields}");
    ensure!(values(&arrived[0], "cookie") == ["theme=dark"], "{fields}");
    let assertions = values(&arrived[0], "x-gatescribe-assertion");
    ensure!(assertions.len() == 1 && assertions[0].contains('.'), "{fields}");

    let forbidden = world.ask(("DELETE", "/other"), &forged)?;
    ensure!(forbidden.status == 403, "{forbidden:?}");
    let nobody = [
        ("X-Gatescribe_Assertion", "forged"),
        ("X-Original-URL", "/pictures/x"),
        ("X-Forwarded-Uri", "/pictures/x"),
        ("X-Original-Method", "GET"),
        ("Accept", "*/*"),
    ];
    ensure!(
        world.ask(("GET", "/other"), &nobody)?.status == 401,
        "what it says itself is not what it asks for"
    );
    let public = world.ask(("GET", "/pictures/logo.png"), &nobody)?;
    ensure!(public.status == 200, "{public:?}");
    let arrived = world.web.take_arrived();
    ensure!(
        arrived.len() == 1 && !format!("{arrived:?}").contains("forged"),
        "{arrived:?}"
    );
    written_down(world)
}

/// One record each; no coverage; no secret.
fn written_down(world: &World) -> anyhow::Result<()> {
    let records = world.recorded(7)?;
    let of = |kind: &str, method: &str, path: &str| -> Vec<&Value> {
        let is = |record: &&Value| {
            record["kind"] == kind && record["req"]["path"] == path && record["req"]["method"] == method
        };
        records.iter().filter(is).collect()
    };
    let [deep] = of("verdict", "GET", "/deep/link")[..] else {
        anyhow::bail!("{records:#?}")
    };
    ensure!(
        deep["by"]["credential"] == "cookie" && deep["by"]["email"] == "alice@example.com",
        "{deep:#}"
    );
    ensure!(
        deep["service"] == json!({"name": "web", "host": "web.localhost"}),
        "{deep:#}"
    );
    ensure!(
        deep["net"]["ip"] == "127.0.0.1" && deep["net"]["listener"] == "verdict",
        "{deep:#}"
    );
    let note = deep["note"].as_str().unwrap_or_default();
    ensure!(note.starts_with("asked by the ingress "), "{deep:#}");
    ensure!(deep["decision"]["allowed"] == true, "{deep:#}");
    ensure!(of("verdict", "GET", "/other").len() == 1, "{records:#?}");
    let [public] = of("verdict", "GET", "/pictures/logo.png")[..] else {
        anyhow::bail!("{records:#?}")
    };
    ensure!(public["service"]["public"] == true, "{public:#}");
    ensure!(of("refusal", "DELETE", "/other").len() == 1, "{records:#?}");
    ensure!(of("verdict", "DELETE", "/other").is_empty(), "{records:#?}");
    let of_service = |record: &&Value| record["service"]["name"] == "web" && record["source"] != "verdict";
    let all = world.gateway.records()?;
    let effects: Vec<_> = all
        .iter()
        .filter(of_service)
        .filter(|record| record["kind"] == "intent")
        .collect();
    ensure!(effects.is_empty(), "nothing passed here: {effects:#?}");
    for text in [serde_json::to_string(&all)?, world.gateway.log()] {
        ensure!(!text.contains(SECRET) && !text.contains("forged"), "promise 6");
    }
    Ok(())
}

fn all_of(world: &World) -> anyhow::Result<()> {
    story(world)?;
    attacks::differential(world).context("what is forwarded against what was judged")?;
    attacks::header_tricks(world).context("headers")?;
    attacks::other_upgrades(world).context("switches to other protocols")?;
    attacks::websockets(world).context("WebSockets")?;
    let everything = serde_json::to_string(&world.gateway.records()?)? + &world.gateway.log();
    ensure!(
        !everything.contains(SECRET) && !everything.contains("forged"),
        "promise 6"
    );
    Ok(())
}

#[test]
fn n_15_nginx_asks_about_each_call_by_the_configuration_of_the_manual() -> anyhow::Result<()> {
    all_of(&World::start(Kind::Nginx, nginx)?)
}

#[test]
fn n_15_caddy_asks_about_each_call_by_the_configuration_of_the_manual() -> anyhow::Result<()> {
    all_of(&World::start(Kind::Caddy, caddy)?)
}

#[test]
fn n_15_envoy_asks_about_each_call_by_the_configuration_of_the_manual() -> anyhow::Result<()> {
    let world = World::start(Kind::Envoy, envoy)?;
    all_of(&world)?;
    attacks::bytes_over_http2(&world)
}

/// What a workload has shown to act for somebody, and our cookies, are for the gateway alone: also behind a yes that says nothing in their place.
#[test]
fn n_01_what_was_shown_to_the_gateway_goes_no_further() -> anyhow::Result<()> {
    for (kind, configure) in [(Kind::Nginx, nginx as fn(&Places<'_>) -> _), (Kind::Caddy, caddy)] {
        let (says_yes, web) = (CapturingHttp2::start()?, FakeApiServer::start()?);
        web.capture();
        let (files, port) = (Folder::new("ingress")?, Port::reserve()?);
        let yes = says_yes.upstream();
        files.write("gatescribe-ca.crt", yes.ca.context("an authority")?)?;
        files.write(
            "gatescribe-secret.conf",
            "proxy_set_header X-Gatescribe-Ingress-Secret x;\n",
        )?;
        let verdicts = yes.server.strip_prefix("https://").context("TLS")?.parse()?;
        let configure = |place: &Place<'_>| {
            configure(&Places {
                front: port.address(),
                host: port.address(),
                verdicts,
                web: address(&web.upstream().server)?,
                files: &files,
                place,
            })
        };
        let ingress = kind.start_with(configure, |command, _| {
            command.env("GATESCRIBE_INGRESS_SECRET", SECRET);
            Ok(())
        })?;
        let shown = [
            ("X-Gatescribe-Assertion", "shown"),
            ("X-Gatescribe-Cookie", "shown=1"),
            ("Cookie", "loopback-gatescribe-service=shown"),
            ("Authorization", "Bearer shown"),
            // Said back by what says yes; without it the service would keep nothing.
            ("Audit-ID", "said-back"),
        ];
        let host = format!("web.localhost:{}", port.address().port());
        let answer = plainly(port.address(), &host, ("GET", "/a"), &shown, b"")?;
        ensure!(answer.status == 200, "{answer:?}\n{}", ingress.log_end());
        let asked = says_yes.take_arrived();
        ensure!(
            asked.len() == 1 && values(&asked[0], "x-gatescribe-assertion") == ["shown"],
            "{asked:#?}"
        );
        let arrived = web.take_arrived();
        ensure!(
            arrived.len() == 1 && !format!("{arrived:?}").contains("shown"),
            "{arrived:#?}"
        );
    }
    Ok(())
}

/// Whoever is no ingress of ours is told nothing, also with words that would be a yes.
#[test]
fn promise_3_only_a_named_ingress_is_answered() -> anyhow::Result<()> {
    let world = World::start(Kind::Nginx, nginx)?;
    let bearer = world.bearer("alice")?;
    let told = [
        ("Authorization", bearer.as_str()),
        ("X-Original-Method", "GET"),
        ("X-Original-Host", "web.localhost"),
        ("X-Original-URL", "/"),
        ("X-Original-Address", "192.0.2.7"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&told[..], more].concat();
    let good = world.question("/auth/nginx", &with(&[("X-Gatescribe-Ingress-Secret", SECRET)]))?;
    ensure!(
        good.status == 200 && field(&good.head, "x-gatescribe-assertion").is_some(),
        "{good:?}"
    );
    for more in [
        &[][..],
        &[("X-Gatescribe-Ingress-Secret", "x")],
        &[("X-Gatescribe-Ingress-Secret", "b3ZlciB0aGUgaGlsbHMgYW5kIGZhciBhd2F")],
        &[
            ("X-Gatescribe-Ingress-Secret", SECRET),
            ("X-Gatescribe-Ingress-Secret", SECRET),
        ],
        &[("X-Gatescribe_Ingress_Secret", SECRET)],
    ] {
        let refused = world.question("/auth/nginx", &with(more))?;
        ensure!(refused.status == 401 || refused.status == 400, "{more:?}: {refused:?}");
        ensure!(field(&refused.head, "x-gatescribe-assertion").is_none(), "{refused:?}");
    }
    // Nothing else is there, and it is nowhere else.
    let by_secret = with(&[("X-Gatescribe-Ingress-Secret", SECRET)]);
    for path in [
        "/",
        "/signin",
        "/auth/nginx/",
        "/auth/nginx?x",
        "/.gatescribe/arrive",
        "/clusters/bench/api",
    ] {
        let refused = world.question(path, &by_secret)?;
        ensure!(refused.status == 421, "{path}: {refused:?}");
    }
    for (host, path) in [("web.localhost", "/auth/nginx"), ("127.0.0.1", "/auth/nginx")] {
        let elsewhere = plainly(
            world.front,
            &format!("{host}:{}", world.front.port()),
            ("GET", path),
            &by_secret,
            b"",
        )?;
        ensure!(
            field(&elsewhere.head, "x-gatescribe-cookie").is_none(),
            "{host}: {elsewhere:?}"
        );
    }
    // gRPC says no in a 200; an ingress would take that for a yes.
    let mut grpc = with(&[
        ("X-Gatescribe-Ingress-Secret", SECRET),
        ("Content-Type", "application/grpc"),
    ]);
    grpc.retain(|(name, _)| *name != "Authorization");
    let refused = world.question("/auth/nginx", &grpc)?;
    ensure!(refused.status == 403 || refused.status == 401, "{refused:?}");
    // What is no method, host or path is no call.
    for (name, value, status) in [
        ("X-Original-URL", "/a//b", 403),
        ("X-Original-URL", "/a/..%2fb", 403),
        ("X-Original-URL", "web.localhost", 403),
        ("X-Original-Host", "web.localhost,other.localhost", 400),
        ("X-Original-Host", "other.localhost", 403),
        ("X-Original-Method", "GET /", 400),
    ] {
        let told: Vec<_> = by_secret
            .iter()
            .map(|(known, was)| (*known, if *known == name { value } else { *was }))
            .collect();
        let refused = world.question("/auth/nginx", &told)?;
        ensure!(refused.status == status, "{name}: {value}: {refused:?}");
    }
    Ok(())
}
