//! What somebody writes into the line of a request, or beside it, to reach what no rule gives them: every attempt goes through the real program
//! to a service that keeps each line it read, and what it read is compared with what was meant.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::wait::PATIENCE;

/// Developers may read what is open and the application, nobody the administration, everybody what is public.
const DOCUMENTS: &str = r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: { name: web }
spec:
  hosts: [web.localhost]
  upstream: { url: 'http://UPSTREAM' }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: open-for-developers }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: [web.localhost], methods: [GET], paths: ['/open/*', '/app'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: administration-for-nobody }
spec:
  effect: forbid
  subjects: { groups: ['*'] }
  services: [{ hosts: [web.localhost], methods: ['*'], paths: ['/open/admin/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: public-for-everybody }
spec:
  effect: allow
  subjects: { public: true }
  services: [{ hosts: [web.localhost], methods: [GET], paths: ['/pub/*'] }]
";

/// As many services more, each on a host of its own.
const MORE: usize = 150;

struct World {
    gateway: Gateway,
    /// The heads that the service read.
    read: Arc<Mutex<Vec<String>>>,
    alice: String,
    _cluster: FakeApiServer,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let upstream = listener.local_addr()?;
        let read: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&read);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || drop(serve(&stream, &kept)));
            }
        });
        let others = (0..MORE).map(|number| {
            format!(
                "---\napiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{ name: s{number} }}\n\
                 spec: {{ hosts: [s{number}.localhost], upstream: {{ url: 'http://{upstream}' }} }}\n"
            )
        });
        let documents = DOCUMENTS.replace("UPSTREAM", &upstream.to_string()) + &others.collect::<String>();
        let cluster = FakeApiServer::start()?;
        let options = Options {
            identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
            ..Options::ruled(documents)
        };
        let gateway = Gateway::before(&cluster.upstream(), &options)?;
        let alice = format!("Authorization: Bearer {}\r\n", gateway.provider.raw_token("alice")?);
        Ok(Self {
            gateway,
            read,
            alice,
            _cluster: cluster,
        })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        let bare = self.gateway.url.strip_prefix("http://").context("plain http")?;
        Ok(bare.parse()?)
    }

    /// The status of what is asked so, with these lines of a head (each ended by CRLF).
    fn status(&self, method: &str, target: impl AsRef<[u8]>, host: &str, fields: &str) -> anyhow::Result<u16> {
        let mut stream = TcpStream::connect(self.address()?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let rest = format!(" HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        let request = [method.as_bytes(), b" ", target.as_ref(), rest.as_bytes()].concat();
        stream.write_all(&request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).context("a status")?;
        Ok(status.parse()?)
    }

    /// As alice, who may read what is open.
    fn as_alice(&self, target: impl AsRef<[u8]>) -> anyhow::Result<u16> {
        self.status("GET", target, "web.localhost", &self.alice)
    }

    /// The heads that the service read since this was last asked.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lines of the requests among them.
    fn lines(&self) -> Vec<String> {
        let first = |head: String| head.lines().next().unwrap_or_default().to_owned();
        self.take().into_iter().map(first).collect()
    }

    /// Each target is refused so as alice's, and the service reads none of them; what she may read passes afterwards.
    fn refused(&self, status: u16, targets: &[&[u8]]) -> anyhow::Result<()> {
        for target in targets {
            let said = self.as_alice(target)?;
            ensure!(said == status, "{}: {said}", target.escape_ascii());
        }
        ensure!(self.as_alice("/open/a?b=/../c")? == 200, "what she may read");
        let lines = self.lines();
        ensure!(lines == ["GET /open/a?b=/../c HTTP/1.1"], "{lines:#?}");
        Ok(())
    }
}

/// Answers each request without a body, and keeps its head.
fn serve(stream: &TcpStream, kept: &Mutex<Vec<String>>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(reader.read_until(b'\n', &mut head)? > 0, "the connection ended");
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}

#[test]
fn path_01_path_02_path_03_path_04_path_08_what_two_servers_might_read_as_two_paths_reaches_none() -> anyhow::Result<()>
{
    let world = World::start()?;
    let dots: &[&[u8]] = &[
        b"/open/../secret",
        b"/..",
        b"/../open/a",
        b"/open/.",
        b"/open/./a",
        b"/open/a/..",
    ];
    let escaped_dots: &[&[u8]] = &[
        b"/open/%2e%2e/secret",
        b"/open/%2E%2e%2fsecret",
        b"/open/.%2e/secret",
        b"/open/%252e%252e/secret",
        b"/open/%25%32%65%25%32%65/secret",
    ];
    let separators: &[&[u8]] = &[
        b"/open%2f..%2fsecret",
        b"/open/%2fsecret",
        b"/open/%5c..%5csecret",
        b"/open/..\\secret",
        b"/open\\a",
        b"/open/a%00",
        b"/open/a%3bx",
        b"/open/a%23x",
        b"/open/a%3fx",
    ];
    let empty: &[&[u8]] = &[b"//open/a", b"/open//a", b"/open/a//", b"//", b"/open///"];
    let odd: &[&[u8]] = &[
        b"/open/%c0%af",
        b"/open/%c0%ae%c0%ae/secret",
        b"/open/%zz",
        b"/open/%2",
        b"/open/\xe9",
        b"/open/\xff\xfe",
        b"/open/%ef%bc%8f..",
        b"/open/%e2%88%95a",
        b"/open/%e2%80%a4%e2%80%a4/secret",
    ];
    for targets in [dots, escaped_dots, separators, empty, odd] {
        world.refused(400, targets)?;
    }
    Ok(())
}

#[test]
fn path_06_no_query_and_no_tail_makes_a_path_public() -> anyhow::Result<()> {
    let world = World::start()?;
    for target in [
        "/open/a?x=/pub/a",
        "/?/pub/a",
        "/secret?next=/pub/",
        "/secret?/../pub/a",
        "/pub?/a",
        "/pub",
        "/public/a",
        "/open/pub/a",
    ] {
        let status = world.status("GET", target, "web.localhost", "")?;
        ensure!(status == 401, "{target}: {status}");
    }
    for (target, status) in [
        ("/secret;/pub/a", 400),
        ("/secret#/pub/a", 400),
        ("/secret%3f/pub/a", 400),
    ] {
        let said = world.status("GET", target, "web.localhost", "")?;
        ensure!(said == status, "{target}: {said}");
    }
    ensure!(world.take().is_empty(), "nothing has reached the service");
    ensure!(
        world.status("GET", "/pub/a?x=/secret", "web.localhost", "")? == 200,
        "what is public"
    );
    let lines = world.lines();
    ensure!(lines == ["GET /pub/a?x=/secret HTTP/1.1"], "{lines:?}");
    Ok(())
}

#[test]
fn path_07_path_10_letters_and_ends_of_a_path_reach_no_more_than_the_path_and_pass_no_forbid() -> anyhow::Result<()> {
    let world = World::start()?;
    world.refused(
        403,
        &[
            b"/OPEN/a",
            b"/Open/a",
            b"/open/admin",
            b"/open/admin/",
            b"/open/ADMIN/x",
            b"/open/%61dmin/x",
            b"/open/%41%44%4d%49%4e/x",
            b"/open",
            b"/opened/a",
            b"/app/",
            b"/apple",
            b"/App",
            b"/app/x",
            b"/app.",
        ],
    )?;
    // Below the gateway's own path all is the gateway's.
    world.refused(404, &[b"/.gatescribe/../app", b"/.gatescribe/open/a"])?;
    world.refused(400, &[b"/app/..;/open/a", b"/open/;/../admin/x", b"/app/."])?;
    // A letter that is escaped is the letter: decided on as such, and sent as it came.
    ensure!(world.as_alice("/%6fpen/%61?x")? == 200, "an escaped letter");
    let lines = world.lines();
    ensure!(lines == ["GET /%6fpen/%61?x HTTP/1.1"], "{lines:?}");
    Ok(())
}

#[test]
fn path_11_one_service_answers_to_every_spelling_of_its_host_and_to_no_other_name() -> anyhow::Result<()> {
    let world = World::start()?;
    let port = world.address()?.port();
    let same = [
        "web.localhost".to_owned(),
        "WEB.LocalHost".to_owned(),
        format!("web.localhost:{port}"),
    ];
    for host in &same {
        let status = world.status("GET", "/open/a", host, &world.alice)?;
        ensure!(status == 200, "{host}: {status}");
    }
    ensure!(world.take().len() == same.len(), "all of them reach the service");
    for host in [
        "evilweb.localhost",
        "web.localhost.evil.example",
        "web.localhost@evil.example",
        "web.localhost, evil.example",
        "web_.localhost",
        "web..localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::1",
        "0x7f.1",
        "",
    ] {
        let status = world.status("GET", "/open/a", host, &world.alice)?;
        ensure!([400, 401, 404, 421].contains(&status), "{host}: {status}");
    }
    let dotted = world.status("GET", "/open/admin/x", "web.localhost.", &world.alice)?;
    ensure!([400, 403, 421].contains(&dotted), "a final dot: {dotted}");
    ensure!(world.take().is_empty(), "nothing has reached the service");
    // Among many, each is found: no rule allows them.
    for number in [0, 99, 100, 101, MORE - 1] {
        let status = world.status("GET", "/", &format!("s{number}.localhost"), &world.alice)?;
        ensure!(status == 403, "{number}: {status}");
    }
    let status = world.status("GET", "/", &format!("s{MORE}.localhost"), &world.alice)?;
    ensure!(status == 421, "{status}");
    Ok(())
}

#[test]
fn path_12_path_14_neither_a_probe_nor_a_preflight_is_let_in() -> anyhow::Result<()> {
    let world = World::start()?;
    for (target, fields) in [
        ("/open/a", "User-Agent: kube-probe/1.34\r\n"),
        ("/open/a", "User-Agent: GoogleHC/1.0\r\nX-Health: 1\r\n"),
        ("/open/a", "User-Agent: ELB-HealthChecker/2.0\r\n"),
        ("/healthz", "User-Agent: kube-probe/1.34\r\n"),
        ("/open/healthz", ""),
        ("/healthz/open/a", ""),
        ("/readyz", "X-Health: 1\r\n"),
        ("/ping", ""),
    ] {
        let status = world.status("GET", target, "web.localhost", fields)?;
        ensure!(status == 401, "{target} {fields}: {status}");
    }
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    for (target, more) in [
        ("/open/a", ""),
        ("/pub/a", ""),
        ("/open/admin/x", ""),
        ("/open/a", "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site\r\n"),
    ] {
        let status = world.status("OPTIONS", target, "web.localhost", &format!("{preflight}{more}"))?;
        ensure!(status == 401, "{target} {more}: {status}");
    }
    ensure!(world.take().is_empty(), "nothing has reached the service");
    Ok(())
}

#[test]
fn path_13_no_header_names_another_path_or_method() -> anyhow::Result<()> {
    const SAID: [&str; 7] = [
        "X-Forwarded-Uri",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Forwarded-Method",
        "X-Original-Uri",
        "X-Method-Override",
    ];
    let world = World::start()?;
    for name in SAID {
        for spelled in [name.to_owned(), name.to_uppercase(), name.replace('-', "_")] {
            let value = if name.contains("Method") {
                "DELETE"
            } else {
                "/open/admin/x"
            };
            let status = world.status("GET", "/pub/a", "web.localhost", &format!("{spelled}: {value}\r\n"))?;
            ensure!(status == 200, "{spelled}: {status}");
            let value = if name.contains("Method") { "GET" } else { "/pub/a" };
            let method = if name.contains("Method") { "DELETE" } else { "GET" };
            let path = if name.contains("Method") { "/pub/a" } else { "/secret" };
            let status = world.status(method, path, "web.localhost", &format!("{spelled}: {value}\r\n"))?;
            ensure!(status == 401, "{spelled}: {status}");
        }
    }
    let heads = world.take();
    ensure!(heads.len() == SAID.len() * 3, "{} heads", heads.len());
    for head in heads {
        ensure!(head.starts_with("GET /pub/a HTTP/1.1\r\n"), "{head}");
        let low = head.to_ascii_lowercase();
        let told = ["delete", "/open/admin/x"].iter().any(|value| low.contains(value));
        ensure!(!told, "{head}");
    }
    Ok(())
}

#[test]
fn path_16_no_length_of_a_path_or_a_query_costs_more_than_a_refusal_or_a_call() -> anyhow::Result<()> {
    let world = World::start()?;
    let keys = |count: u32| (0..count).map(|number| format!("&k{number}=v")).collect::<String>();
    for target in [
        format!("/open/{}", "a".repeat(70_000)),
        format!("/open{}", "/a".repeat(35_000)),
        format!("/open/a?{}", keys(10_000)),
    ] {
        let status = world.as_alice(&target)?;
        ensure!([414, 431].contains(&status), "{} bytes: {status}", target.len());
    }
    ensure!(world.take().is_empty(), "nothing has reached the service");
    // What is short enough is judged once, and passes whole.
    for target in [
        format!("/open/{}", "a".repeat(60_000)),
        format!("/open{}", "/a".repeat(10_000)),
        format!("/open/a?{}", keys(5_000)),
    ] {
        let status = world.as_alice(&target)?;
        ensure!(status == 200, "{} bytes: {status}", target.len());
        let lines = world.lines();
        ensure!(lines == [format!("GET {target} HTTP/1.1")], "{} bytes", target.len());
    }
    // One forbidden segment at the end of many is found.
    let forbidden = format!("/open/admin{}", "/a".repeat(10_000));
    ensure!(world.as_alice(&forbidden)? == 403, "forbidden");
    ensure!(world.take().is_empty(), "nothing has reached the service");
    Ok(())
}
