//! HTTP services behind the gateway, through the real process: who may ask, what arrives, and what is written down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, field, plainly};
use tests::open::replace;
use tests::wait::PATIENCE;

/// One service on a host, for developers; its pictures are for everybody.
fn documents(upstream: &str) -> String {
    format!(
        r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: web }}
spec:
  hosts: [web.localhost, shop.localhost]
  upstream: {{ url: '{upstream}' }}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: web-for-developers }}
spec:
  effect: allow
  subjects: {{ groups: [dev] }}
  services: [{{ hosts: ['*.localhost'], methods: ['*'], paths: ['/*'] }}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: pictures-for-everybody }}
spec:
  effect: allow
  subjects: {{ public: true }}
  services: [{{ hosts: [web.localhost], methods: [GET], paths: ['/pictures/*'] }}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: nobody-deletes }}
spec:
  effect: forbid
  subjects: {{ groups: ['*'] }}
  services: [{{ hosts: [web.localhost], methods: [DELETE], paths: ['/*'] }}]
"
    )
}

struct World {
    gateway: Gateway,
    web: FakeApiServer,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let (cluster, web) = (FakeApiServer::start()?, FakeApiServer::start()?);
        web.capture();
        let options = Options {
            identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
            ..Options::ruled(documents(&web.upstream().server))
        };
        let gateway = Gateway::before(&cluster.upstream(), &options)?;
        Ok(Self { gateway, web })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        let bare = self.gateway.url.strip_prefix("http://").context("plain http")?;
        Ok(bare.parse()?)
    }

    /// Asks the service as a program does.
    fn ask(&self, act: (&str, &str), headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let address = self.address()?;
        plainly(address, &format!("web.localhost:{}", address.port()), act, headers, b"")
    }

    /// The records of calls of the service, at least so many.
    fn recorded(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let of_service = |record: &Value| !record["service"].is_null();
        let records = self.gateway.records_with("records of the service", |records| {
            records.iter().filter(|record| of_service(record)).count() >= count
        })?;
        Ok(records.into_iter().filter(of_service).collect())
    }
}

#[test]
fn a_program_with_a_token_of_the_provider_reaches_a_service_by_rule_and_is_recorded() -> anyhow::Result<()> {
    let world = World::start()?;
    let token = format!("Bearer {}", world.gateway.provider.raw_token("alice")?);
    let bearer = ("Authorization", token.as_str());
    let good = world.ask(
        ("GET", "/deep/link?secret=1"),
        &[
            bearer,
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Remote-User", "root"),
            ("X-Gatescribe_Assertion", "forged"),
        ],
    )?;
    ensure!(good.status == 200, "{good:?}");
    let id = field(&good.head, "audit-id").context("an id")?.to_owned();
    let arrived = world.web.take_arrived();
    ensure!(arrived.len() == 1, "{arrived:?}");
    ensure!(arrived[0].first == ["GET /deep/link?secret=1 HTTP/1.1"], "{arrived:?}");
    let fields = arrived[0].fields.join("\n").to_ascii_lowercase();
    for gone in ["authorization", "6.6.6.6", "x-remote-user", "impersonate", "forged"] {
        ensure!(!fields.contains(gone), "{gone} in {fields}");
    }
    let port = world.address()?.port();
    ensure!(fields.contains(&format!("host: web.localhost:{port}")), "{fields}");

    let told = asserted(&arrived[0].fields)?;
    ensure!(
        told["aud"] == "service:web" && told["iss"] == world.gateway.url.as_str(),
        "{told}"
    );
    ensure!(
        told["sub"] != Value::Null && told["email"] == "alice@example.com",
        "{told}"
    );
    ensure!(told["groups"] == json!(["dev"]), "{told}");

    let replayed = world.ask(("GET", "/deep/link"), &[bearer, ("X-Gatescribe-Assertion", "x.y.z")])?;
    ensure!(
        replayed.status == 403 && replayed.json()?["code"] == "brokenChain",
        "{replayed:?}"
    );
    let forbidden = world.ask(("DELETE", "/deep/link"), &[bearer])?;
    ensure!(forbidden.status == 403, "{forbidden:?}");
    ensure!(forbidden.json()?["code"] == "forbidden", "{forbidden:?}");
    let nobody = world.ask(("GET", "/deep/link"), &[])?;
    ensure!(nobody.status == 401, "{nobody:?}");
    let public = world.ask(("GET", "/pictures/logo.png"), &[])?;
    ensure!(public.status == 200, "{public:?}");
    let arrived = world.web.take_arrived();
    ensure!(arrived.len() == 1, "only the picture was asked for: {arrived:?}");
    ensure!(asserted(&arrived[0].fields).is_err(), "nobody is asserted: {arrived:?}");

    let records = world.recorded(7)?;
    let of = |kind: &str, path: &str| -> Vec<&Value> {
        let is = |record: &&Value| record["kind"] == kind && record["req"]["path"] == path;
        records.iter().filter(is).collect()
    };
    let [intent] = of("intent", "/deep/link")[..] else {
        anyhow::bail!("{records:#?}")
    };
    ensure!(intent["id"] == id.as_str(), "{intent:#}");
    ensure!(
        intent["service"] == json!({"name": "web", "host": "web.localhost"}),
        "{intent:#}"
    );
    ensure!(
        intent["by"]["credential"] == "providerToken" && intent["cluster"].is_null(),
        "{intent:#}"
    );
    let [picture] = of("intent", "/pictures/logo.png")[..] else {
        anyhow::bail!("{records:#?}")
    };
    ensure!(
        picture["service"]["public"] == true && picture["by"]["kind"] == "public",
        "{picture:#}"
    );
    ensure!(of("refusal", "/deep/link").len() == 3, "{records:#?}");
    ensure!(
        records.iter().filter(|record| record["kind"] == "outcome").count() == 2,
        "{records:#?}"
    );
    Ok(())
}

/// What the assertion says that came; it is not verified here.
fn asserted(fields: &[String]) -> anyhow::Result<Value> {
    let mut lines = fields.iter().filter_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("x-gatescribe-assertion")
            .then_some(value.trim())
    });
    let token = lines.next().context("an assertion")?;
    ensure!(lines.next().is_none(), "two assertions");
    let payload = token.split('.').nth(1).context("a payload")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// A WebSocket through the gateway, whose bytes the service sends back.
struct Echoed(TcpStream);

impl Echoed {
    fn open(world: &World, headers: &[(&str, &str)]) -> anyhow::Result<Result<Self, String>> {
        world.web.answer_upgrades(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let address = world.address()?;
        let mut request = format!(
            "GET /socket HTTP/1.1\r\nHost: web.localhost:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            address.port()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(
                stream.read(&mut byte)? == 1,
                "it ends: {}",
                String::from_utf8_lossy(&head)
            );
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        Ok(if head.starts_with("HTTP/1.1 101") {
            Ok(Self(stream))
        } else {
            Err(head)
        })
    }

    fn exchange(&mut self, text: &[u8]) -> anyhow::Result<()> {
        self.0.write_all(text)?;
        let mut back = vec![0; text.len()];
        self.0.read_exact(&mut back)?;
        ensure!(back == text, "{back:?}");
        Ok(())
    }
}

#[test]
fn n_06_a_websocket_passes_and_ends_when_the_rule_that_allowed_it_goes() -> anyhow::Result<()> {
    let world = World::start()?;
    let token = format!("Bearer {}", world.gateway.provider.raw_token("alice")?);
    let refused = Echoed::open(&world, &[])?.err().context("nobody has signed in")?;
    ensure!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let opened = Echoed::open(&world, &[("Authorization", &token)])?;
    let mut socket = opened.map_err(|head| anyhow::anyhow!("{head}"))?;
    socket.exchange(b"\x81\x02hi")?;
    let without = documents(&world.web.upstream().server).replace("groups: [dev]", "groups: [nobody]");
    replace(&world.gateway, "rules.yaml", &without)?;
    let mut rest = Vec::new();
    // Until the gateway ends it; what it says last is a close frame of its own.
    socket.0.read_to_end(&mut rest)?;
    let records = world.recorded(3)?;
    let open = records
        .iter()
        .find(|record| record["kind"] == "open")
        .context("an open")?;
    ensure!(
        open["service"]["name"] == "web" && open["req"]["path"] == "/socket",
        "{open:#}"
    );
    let close = world.gateway.records_with("the close", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "close" && record["id"] == open["id"])
    })?;
    let close = close
        .iter()
        .rfind(|record| record["kind"] == "close")
        .context("a close")?;
    ensure!(close["outcome"]["end"] == "ended", "{close:#}");
    let why = close["outcome"]["why"].as_str().unwrap_or_default();
    ensure!(why.contains("no rule allows it"), "{close:#}");
    Ok(())
}

#[test]
fn n_03_a_browser_that_is_not_signed_in_is_led_to_the_sign_in_and_a_program_is_told() -> anyhow::Result<()> {
    let world = World::start()?;
    let navigation = [
        ("Accept", "text/html"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    let led = world.ask(("GET", "/deep/link?x=1"), &navigation)?;
    ensure!(led.status == 303, "{led:?}");
    let location = field(&led.head, "location").context("a location")?;
    let port = world.address()?.port();
    let expected =
        format!("http://127.0.0.1:{port}/signin?return_host=web.localhost&return_to=%2Fdeep%2Flink%3Fx%3D1&arrival=");
    ensure!(location.starts_with(&expected), "{location}");
    let cookie = field(&led.head, "set-cookie").context("a cookie")?;
    ensure!(cookie.starts_with("loopback-gatescribe-arrival="), "{cookie}");
    for (headers, kind) in [
        (
            &[("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")][..],
            "application/problem+json",
        ),
        (&[("Accept", "*/*")][..], "application/problem+json"),
    ] {
        let told = world.ask(("GET", "/api"), headers)?;
        ensure!(
            told.status == 401 && field(&told.head, "content-type") == Some(kind),
            "{told:?}"
        );
    }
    let grpc = world.ask(("POST", "/pkg.Service/Do"), &[("Content-Type", "application/grpc")])?;
    ensure!(
        grpc.status == 200 && field(&grpc.head, "grpc-status") == Some("16"),
        "{grpc:?}"
    );
    ensure!(world.web.take_arrived().is_empty(), "nothing was asked of the service");
    Ok(())
}

/// The story of a person with a browser: the deep link is kept, one sign-in serves two services, and one sign-out ends both.
#[test]
fn n_04_a_browser_signs_in_once_for_all_services_and_comes_back_to_its_deep_link() -> anyhow::Result<()> {
    let world = World::start()?;
    let port = world.address()?.port();
    world.gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
    let mut browser = world.gateway.browser();
    let page = browser.open(&format!("http://web.localhost:{port}/deep/link?x=1"), "stop:")?;
    ensure!(page.status == 200, "{page:?}");
    ensure!(
        page.url == format!("http://web.localhost:{port}/deep/link?x=1"),
        "{page:?}"
    );
    let arrived = world.web.take_arrived();
    ensure!(arrived.len() == 1, "{arrived:?}");
    let told = asserted(&arrived[0].fields)?;
    ensure!(told["email"] == "alice@example.com", "{told}");
    let fields = arrived[0].fields.join("\n");
    ensure!(
        !fields.contains("gatescribe-service") && !fields.contains("gatescribe-arrival"),
        "{fields}"
    );
    let records = world.recorded(3)?;
    let intent = records
        .iter()
        .find(|record| record["kind"] == "intent")
        .context("an intent")?;
    ensure!(
        intent["by"]["credential"] == "cookie" && intent["by"]["email"] == "alice@example.com",
        "{intent:#}"
    );
    // The other host: no second round at the provider.
    let mut steps = Vec::new();
    let mut url = format!("http://shop.localhost:{port}/");
    for _ in 0..8 {
        let page = browser.request("GET", &url, "")?;
        steps.push(url.clone());
        let Some(next) = page.location else { break };
        url = next;
    }
    ensure!(
        steps
            .iter()
            .all(|step| !step.starts_with(&world.gateway.provider.issuer)),
        "{steps:#?}"
    );
    ensure!(steps.len() == 4, "service, sign-in, arrival, service: {steps:#?}");
    Ok(())
}

/// What a document says of headers, addresses and sizes holds on the wire.
#[test]
fn n_07_what_a_document_says_of_headers_addresses_and_sizes_holds() -> anyhow::Result<()> {
    let (cluster, web) = (FakeApiServer::start()?, FakeApiServer::start()?);
    web.capture();
    let upstream = web.upstream().server;
    let rules = documents(&upstream).replacen(
        &format!("  upstream: {{ url: '{upstream}' }}"),
        &format!(
            "  path: /app
  upstream: {{ url: '{upstream}' }}
  rewrite: {{ stripPath: true }}
  host: upstream
  limits: {{ body: 1KiB }}
  identityHeaders: {{ user: X-Remote-User, groups: X-Remote-Groups }}
  headers: {{ request: {{ set: {{ X-Tenant: shop }}, remove: [X-Debug] }} }}"
        ),
        1,
    );
    let options = Options {
        identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
        ..Options::ruled(rules)
    };
    let gateway = Gateway::before(&cluster.upstream(), &options)?;
    let world = World { gateway, web };
    let token = format!("Bearer {}", world.gateway.provider.raw_token("alice")?);
    let bearer = ("Authorization", token.as_str());
    let forged = [
        bearer,
        ("X_Tenant", "evil"),
        ("x-debug", "1"),
        ("X-Remote-User", "root"),
        ("X-Remote.Groups", "admin"),
    ];
    let good = world.ask(("GET", "/app/deep%20link?x=1"), &forged)?;
    ensure!(good.status == 200, "{good:?}");
    let arrived = world.web.take_arrived();
    ensure!(
        arrived.len() == 1 && arrived[0].first == ["GET /deep%20link?x=1 HTTP/1.1"],
        "{arrived:?}"
    );
    let value = |name: &str| -> Vec<&str> {
        let fields = arrived[0].fields.iter().filter_map(|field| field.split_once(':'));
        fields
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    };
    let port = world.address()?.port();
    ensure!(
        value("x-tenant") == ["shop"] && value("x-debug").is_empty(),
        "{arrived:?}"
    );
    ensure!(
        value("x-remote-user") == ["alice@example.com"] && value("x-remote-groups") == ["dev"],
        "{arrived:?}"
    );
    ensure!(
        value("x-forwarded-host") == [format!("web.localhost:{port}").as_str()],
        "{arrived:?}"
    );
    ensure!(value("host") == [upstream.trim_start_matches("http://")], "{arrived:?}");
    let text = arrived[0].fields.join("\n");
    ensure!(
        !text.contains("evil") && !text.contains("admin") && !text.contains("root"),
        "{text}"
    );
    let records = world.recorded(2)?;
    let intent = records
        .iter()
        .find(|record| record["kind"] == "intent")
        .context("an intent")?;
    ensure!(
        intent["req"]["path"] == "/app/deep%20link",
        "what was decided, as it came: {intent:#}"
    );

    let nothing_here = world.ask(("GET", "/other"), &[bearer])?;
    ensure!(nothing_here.status == 404, "{nothing_here:?}");
    let address = world.address()?;
    let host = format!("web.localhost:{port}");
    let origin = format!("http://{host}");
    let large = plainly(
        address,
        &host,
        ("POST", "/app/"),
        &[bearer, ("Origin", &origin)],
        &[b'x'; 2048],
    )?;
    ensure!(large.status == 413, "{large:?}");
    let fits = plainly(address, &host, ("POST", "/app/"), &[bearer], &[b'x'; 1024])?;
    ensure!(fits.status == 201, "{fits:?}");
    let mut chunked = TcpStream::connect(address)?;
    chunked.set_read_timeout(Some(PATIENCE))?;
    write!(
        chunked,
        "POST /app/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n800\r\n"
    )?;
    chunked.write_all(&[b'x'; 2048])?;
    chunked.write_all(b"\r\n0\r\n\r\n")?;
    let mut answer = Vec::new();
    chunked.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}
