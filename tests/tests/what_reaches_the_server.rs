//! Promise 1, at the wire: whatever a client says about identity, in every spelling, the head that reaches the API server is
//! one list, compared line by line. HTTP/1.1 and HTTP/2 clients, HTTP/1.1 and HTTP/2 upstreams; both are stand-ins that keep
//! what arrives, because the real server's audit log shows only what it understood.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::captured::{Arrived, CapturingHttp2};
use tests::fake::FakeApiServer;
use tests::frames::Http2;
use tests::gateway::{Gateway, Options, Upstream};
use tests::http::field;
use tests::measure::load;

const PATH: &str = "/api/v1/namespaces/default/configmaps/a?x=%41&y";

type Fields = &'static [(&'static str, &'static [u8])];

/// Said by a client and stripped, all of it: the head that arrives is as if they were not there.
const STRIPPED: &[Fields] = &[
    &[],
    &[("X-Remote-User", b"root"), ("X-Remote-Group", b"system:masters")],
    &[("x-remote-uid", b"0"), ("X-REMOTE-EXTRA-SCOPES", b"all")],
    &[("X_Remote_User", b"root"), ("X-Remote_User", b"root")],
    &[("X.Remote.User", b"root"), ("X~Remote~Group", b"root")],
    &[("X'Remote'User", b"root"), ("X-Remote-User-", b"root")],
    &[("X--Remote--User", b"root"), ("Remote-User", b"root")],
    &[("X-Forwarded-User", b"root"), ("x-forwarded-groups", b"root")],
    &[("X-Forwarded-For", b"1.2.3.4"), ("X-Forwarded-For", b"5.6.7.8")],
    &[
        ("X-Forwarded-Host", b"a"),
        ("X-Forwarded-Proto", b"http"),
        ("X-Forwarded-Port", b"1"),
    ],
    &[
        ("X-Forwarded-Prefix", b"/a"),
        ("X-Forwarded-Uri", b"/a"),
        ("X-Forwarded-Method", b"PUT"),
    ],
    &[("X-Forwarded-Client-Cert", b"root"), ("X-Forwarded-Access-Token", b"t")],
    &[("X_Forwarded_For", b"1.2.3.4"), ("X.Forwarded.For", b"1.2.3.4")],
    &[("Forwarded", b"for=1.2.3.4"), ("forwarded", b"for=5.6.7.8")],
    &[("X-Real-IP", b"1.2.3.4"), ("True-Client-IP", b"1.2.3.4")],
    &[("X-Client-Ip", b"1.2.3.4"), ("CF-Connecting-IP", b"1.2.3.4")],
    &[("X-Gatescribe-User", b"root"), ("x-gatescribe-anything", b"root")],
    &[("X_Gatescribe_User", b"root"), ("X.Gatescribe.User", b"root")],
    &[("X-Auth-Request-User", b"root"), ("X-Auth-Request-Groups", b"root")],
    &[("X-WebAuth-User", b"root"), ("X-Ssl-Client-Cert", b"root")],
    &[("X-Envoy-Original-Path", b"/"), ("X-Original-Url", b"/")],
    &[("X-Http-Method-Override", b"DELETE"), ("X-Rewrite-Url", b"/")],
    &[("X-Forwarded-User", b"\xff\xfe"), ("X-Remote-User", b"\xc3\xa9")],
    &[("Audit-ID", b"11111111-2222-3333-4444-555555555555")],
    &[("audit-id", b"one"), ("AUDIT-ID", b"two"), ("Audit_Id", b"three")],
    &[("Proxy-Authorization", b"Bearer root")],
    // HDR-12, as crumbs (RFC 9113 section 8.2.3), with odd spacing and quoted.
    &[
        ("Cookie", b"session=stolen"),
        ("cookie", b"__Host-gatescribe=\"stolen\" ; a=b"),
    ],
    &[(
        "Sec-WebSocket-Protocol",
        b"base64url.bearer.authorization.k8s.io.c2VjcmV0",
    )],
];

/// Only an HTTP/1.1 client can say these; HTTP/2 has no such fields (RFC 9113 section 8.2.2).
const STRIPPED_HTTP1: &[Fields] = &[
    &[(
        "Connection",
        b"close, Impersonate-User, Impersonate-Group, Authorization",
    )],
    &[("Connection", b""), ("Connection", b" close ,  impersonate-user ")],
    &[("Connection", b"audit-id, x-forwarded-for, Host, Content-Length, Cookie")],
    &[("Connection", b"X-Nominated"), ("X-Nominated", b"gone")],
    &[
        ("Connection", b"keep-alive"),
        ("Connection", b"x-second"),
        ("X-Second", b"gone"),
    ],
    &[("Keep-Alive", b"timeout=5"), ("Proxy-Connection", b"keep-alive")],
    &[("TE", b"trailers, x;q=0.5"), ("Proxy-Authenticate", b"Basic")],
];

/// None of ours: passed on byte for byte, several lines as several.
const PASSED: &[Fields] = &[
    &[("kubectl-command", b"kubectl get"), ("kubectl-session", b"one")],
    &[("x-custom", b"a, b"), ("x-custom", b"c"), ("x-8-bit", b"\xff")],
    &[("range", b"bytes=0-1,2-3"), ("accept-encoding", b"gzip;q=0.001, *;q=0")],
];

/// Read as one identity or as another: refused, and nothing arrives.
const REFUSED: &[Fields] = &[
    &[("Impersonate-User", b"root")],
    &[("Impersonate_User", b"root")],
    &[("Impersonate.User", b"root")],
    &[("Impersonate-Uid", b"0")],
    &[("Impersonate-Group", b"system:masters")],
    &[("Impersonate-Extra-Scopes", b"all")],
    &[("Authorization", b"Bearer second")],
    &[("Authorization", b"Basic cm9vdDo=")],
];

/// An HTTP/1.1 or HTTP/2 client of the gateway's.
enum Client<'a> {
    Http1(&'a Gateway),
    Http2(&'a Gateway, tokio::runtime::Runtime),
}

impl Client<'_> {
    /// Sends a call with `fields` and says the answer's status and `Audit-Id`. With a body: in one chunk, with a trailer.
    fn call(&self, bearer: &str, fields: Fields, has_body: bool) -> anyhow::Result<(u16, String)> {
        match self {
            Self::Http1(gateway) => http1(gateway, bearer, fields, has_body),
            Self::Http2(gateway, runtime) => runtime.block_on(http2(gateway, bearer, fields, has_body)),
        }
    }
}

fn http1(gateway: &Gateway, bearer: &str, fields: Fields, has_body: bool) -> anyhow::Result<(u16, String)> {
    let method = if has_body { "PUT" } else { "GET" };
    let mut request = format!(
        "{method} /clusters/bench{PATH} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Story/1 (a)\r\nAuthorization: {bearer}\r\n",
        gateway.address
    )
    .into_bytes();
    for (name, value) in fields {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend_from_slice(b"Accept: application/json\r\n");
    if has_body {
        request.extend_from_slice(b"Transfer-Encoding: chunked\r\nTrailer: X-Remote-User\r\n");
        request.extend_from_slice(b"\r\n2\r\n{}\r\n0\r\nX-Remote-User: root\r\nImpersonate-User: root\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let answer = gateway.client()?.connect()?.exchange_bytes(&request)?;
    let id = field(&answer.head, "audit-id").unwrap_or_default();
    Ok((answer.status, id.to_owned()))
}

async fn http2(gateway: &Gateway, bearer: &str, fields: Fields, has_body: bool) -> anyhow::Result<(u16, String)> {
    let stream = tokio::net::TcpStream::connect(gateway.address).await?;
    let tls = tokio_rustls::TlsConnector::from(load::client_config(gateway.ca(), true)?);
    let name = rustls::pki_types::ServerName::IpAddress(gateway.address.ip().into());
    let io = TokioIo::new(tls.connect(name, stream).await?);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let serving = tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(if has_body { "PUT" } else { "GET" })
        .uri(format!("https://{}/clusters/bench{PATH}", gateway.address))
        .header("user-agent", "Story/1 (a)")
        .header("authorization", bearer)
        .header("accept", "application/json");
    for (name, value) in fields {
        request = request.header(*name, http::HeaderValue::from_bytes(value)?);
    }
    let body = Full::new(bytes::Bytes::from_static(if has_body { b"{}" } else { b"" }));
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-remote-user", http::HeaderValue::from_static("root"));
    trailers.insert("impersonate-user", http::HeaderValue::from_static("root"));
    let body = if has_body {
        body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed()
    } else {
        body.boxed()
    };
    let answer = sender.send_request(request.body(body)?).await?;
    let id = answer.headers().get("audit-id").and_then(|id| id.to_str().ok());
    let seen = (answer.status().as_u16(), id.unwrap_or_default().to_owned());
    serving.abort();
    Ok(seen)
}

/// Where it arrives.
struct Server<'a> {
    upstream: Upstream,
    take: &'a dyn Fn() -> Vec<Arrived>,
    /// The line with the sign-in's name, as the first call without anything foreign brought it.
    session: std::cell::OnceCell<String>,
}

const SESSION: &str = "impersonate-extra-gatescribe.dev%2fsession: ";

impl Server<'_> {
    /// The one list. The order of different names means nothing (RFC 9110 section 5.3), that of equal ones does.
    fn expected(&self, method: &str, id: &str, passed: Fields) -> Arrived {
        let authority = self.upstream.server.split("//").nth(1).unwrap_or_default();
        let mut fields = vec![
            "accept: application/json".to_owned(),
            format!("audit-id: {id}"),
            "authorization: Bearer impersonator".to_owned(),
            "impersonate-group: dev".to_owned(),
            "impersonate-user: alice@example.com".to_owned(),
            "user-agent: Story/1 (a)".to_owned(),
            "x-forwarded-for: 127.0.0.1".to_owned(),
        ];
        let is_http2 = self.upstream.ca.is_some();
        let first = if is_http2 {
            vec![
                format!(":method: {method}"),
                ":scheme: https".to_owned(),
                format!(":authority: {authority}"),
                format!(":path: {PATH}"),
            ]
        } else {
            fields.push(format!("host: {authority}"));
            vec![format!("{method} {PATH} HTTP/1.1")]
        };
        fields.extend(self.session.get().cloned());
        let passed = passed
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
        fields.extend(passed);
        Arrived {
            first,
            fields: by_name(fields),
            trailers: Vec::new(),
        }
    }

    /// The same list for a body that came in chunks over HTTP/1.1, or with its length over HTTP/2; framing is made anew.
    fn expected_with_body(&self, client: &Client<'_>, id: &str) -> Arrived {
        let mut expected = self.expected("PUT", id, &[]);
        match client {
            Client::Http2(..) => expected.fields.push("content-length: 2".to_owned()),
            Client::Http1(_) if self.upstream.ca.is_none() => {
                expected.fields.push("transfer-encoding: chunked".to_owned());
            }
            Client::Http1(_) => {}
        }
        expected.fields = by_name(expected.fields);
        expected
    }

    /// Exactly this arrived.
    fn arrived(&self, what: &str, expected: &Arrived) -> anyhow::Result<()> {
        let mut arrived = (self.take)();
        for one in &mut arrived {
            one.fields = by_name(std::mem::take(&mut one.fields));
        }
        assert_eq!(arrived, std::slice::from_ref(expected), "{what}");
        Ok(())
    }
}

fn by_name(mut fields: Vec<String>) -> Vec<String> {
    let name = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    fields.sort_by_key(name);
    fields
}

fn story(server: &Server<'_>) -> anyhow::Result<()> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&server.upstream, &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    Client::Http1(&gateway).call(&bearer, &[], false)?;
    let first = (server.take)();
    let session = first
        .iter()
        .flat_map(|one| &one.fields)
        .find(|line| line.starts_with(SESSION));
    server.session.get_or_init(|| session.cloned().unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for client in [Client::Http1(&gateway), Client::Http2(&gateway, runtime)] {
        let (more, which) = match client {
            Client::Http1(_) => (STRIPPED_HTTP1, "HTTP/1.1"),
            Client::Http2(..) => (&[][..], "HTTP/2"),
        };
        let stripped = STRIPPED.iter().chain(more).map(|fields| (*fields, &[][..]));
        for (fields, passed) in stripped.chain(PASSED.iter().map(|fields| (*fields, *fields))) {
            let what = format!("{which}: {fields:?}");
            let (status, id) = client.call(&bearer, fields, false).with_context(|| what.clone())?;
            ensure!(status == 200 && !id.is_empty(), "{what}: {status}");
            server.arrived(&what, &server.expected("GET", &id, passed))?;
        }
        hdr_14(server, &client, &bearer)?;
        for fields in REFUSED {
            let (status, _) = client.call(&bearer, fields, false)?;
            ensure!((400..404).contains(&status), "{which}: {fields:?}: {status}");
            assert_eq!((server.take)(), [], "{which}: {fields:?}");
        }
        let what = format!("{which}: a body with trailers");
        let (status, id) = client.call(&bearer, &[], true)?;
        ensure!(status == 201, "{what}: {status}");
        server.arrived(&what, &server.expected_with_body(&client, &id))?;
    }
    Ok(())
}

/// HDR-14: a thousand ranges are nobody's business here but the server's: they arrive as they were said.
fn hdr_14(server: &Server<'_>, client: &Client<'_>, bearer: &str) -> anyhow::Result<()> {
    static RANGES: LazyLock<String> = LazyLock::new(|| {
        let sets: Vec<String> = (0..1_000).map(|at| format!("{at}-{at}")).collect();
        format!("bytes={}", sets.join(","))
    });
    static FIELDS: LazyLock<Vec<(&str, &[u8])>> = LazyLock::new(|| vec![("range", RANGES.as_bytes())]);
    let (status, id) = client.call(bearer, &FIELDS, false)?;
    ensure!(status == 200, "{status}");
    server.arrived("a thousand ranges", &server.expected("GET", &id, &FIELDS))
}

/// A gateway in front of a stand-in that keeps what arrives, and alice's token.
fn captured() -> anyhow::Result<(FakeApiServer, Gateway, String)> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        more: Some(serde_json::json!({ "limits": { "recordsPerSecond": 100_000 } })),
        ..Options::default()
    };
    let gateway = Gateway::before(&fake.upstream(), &options)?;
    let token = gateway.sign_in("alice")?.token;
    fake.capture();
    Ok((fake, gateway, token))
}

#[test]
fn hdr_13_one_well_formed_credential_or_none() -> anyhow::Result<()> {
    let (fake, gateway, token) = captured()?;
    for (form, status) in [
        ("Bearer TOKEN", 200),
        ("bearer TOKEN", 200),
        ("BEARER TOKEN  ", 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer  TOKEN", 401),
        ("Bearer\tTOKEN", 401),
        ("BearerTOKEN", 401),
        ("\"Bearer\" TOKEN", 401),
        ("Bearer \"TOKEN\"", 401),
        ("Bearer TOKEN TOKEN", 401),
        ("Bearer TOKEN, Bearer TOKEN", 401),
        ("Bearer TOKEN,Basic cm9vdDo=", 401),
        ("Basic cm9vdDo=, Bearer TOKEN", 401),
        ("Basic cm9vdDo=", 401),
    ] {
        let (seen, _) = http1(&gateway, &form.replace("TOKEN", &token), &[], false)?;
        assert_eq!(seen, status, "{form:?}");
        let arrived = fake.take_arrived();
        assert_eq!(arrived.len(), usize::from(status == 200), "{form:?}: {arrived:?}");
        let ours = |line: &String| line == "authorization: Bearer impersonator";
        assert!(
            arrived.iter().all(|one| one.fields.iter().any(ours)),
            "{form:?}: {arrived:?}"
        );
    }
    Ok(())
}

/// HDR-02: nobody is trusted to say where a call comes from.
#[test]
fn hdr_02_hdr_09_a_thousand_calls_with_one_id_of_the_clients_have_a_thousand_of_ours() -> anyhow::Result<()> {
    const SAID: &str = "11111111-2222-3333-4444-555555555555";
    let (fake, gateway, token) = captured()?;
    let bearer = format!("Bearer {token}");
    let mut connection = gateway.client()?.connect()?;
    for _ in 0..1_000 {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Audit-ID", SAID),
            ("X-Request-Id", SAID),
            ("traceparent", "00-11111111222233334444555555555555-1111111111111111-01"),
            ("X-Forwarded-For", "1.2.3.4"),
        ];
        let answer = connection.exchange("GET", &format!("/clusters/bench{PATH}"), &headers, b"")?;
        ensure!(answer.status == 200, "{}", answer.status);
    }
    let arrived = fake.take_arrived();
    let lines = arrived.iter().flat_map(|one| &one.fields);
    let ids: BTreeSet<&str> = lines.filter_map(|line| line.strip_prefix("audit-id: ")).collect();
    assert_eq!((arrived.len(), ids.len()), (1_000, 1_000));
    assert!(!ids.contains(SAID));
    let records = gateway.records()?;
    let ours: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "access" && record["req"]["client_audit_id"] == SAID)
        .collect();
    let recorded: BTreeSet<&str> = ours.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(recorded, ids);
    assert!(
        ours.iter().all(|record| record["net"]["ip"] == "127.0.0.1"),
        "{:?}",
        ours.first()
    );
    Ok(())
}

/// HTTP/1.1 shows us the target as it was written, and one with a fragment is refused (RFC 9112 §3.2). HTTP/2's library cuts
/// the fragment off first; then the very path that is left is decided, recorded and sent.
#[test]
fn path_05_a_fragment_is_refused_or_gone_before_anything_is_decided() -> anyhow::Result<()> {
    const LIST: &str = "/api/v1/namespaces/default/configmaps";
    let (fake, gateway, token) = captured()?;
    let bearer = format!("Bearer {token}");
    let tails = [
        ("/a#b", "/a"),
        ("/a?x=1#b", "/a?x=1"),
        ("/a#/../../secrets/b?y", "/a"),
        ("#", ""),
    ];
    for (written, _) in tails {
        let target = format!("/clusters/bench{LIST}{written}");
        let answer = gateway
            .client()?
            .send("GET", &target, &[("Authorization", &bearer)], b"")?;
        assert_eq!(answer.status, 400, "{written}");
        assert_eq!(fake.take_arrived(), [], "{written}");
    }
    let mut modern = Http2::begin(gateway.client()?.http2()?)?;
    let authority = gateway.address.to_string();
    for (stream, (written, left)) in (1..).step_by(2).zip(tails) {
        let target = format!("/clusters/bench{LIST}{written}");
        modern.get(stream, &authority, &target, &[("authorization", &bearer)])?;
        modern.body(stream)?;
        let arrived = fake.take_arrived();
        let first: Vec<&str> = arrived.iter().flat_map(|one| &one.first).map(String::as_str).collect();
        assert_eq!(first, [format!("GET {LIST}{left} HTTP/1.1")], "{written}");
        let path = left.split('?').next().unwrap_or_default();
        let id = arrived[0]
            .fields
            .iter()
            .find_map(|line| line.strip_prefix("audit-id: "));
        let records = gateway.records()?;
        let access = records
            .iter()
            .find(|record| record["kind"] == "access" && record["id"] == id.unwrap_or_default());
        let access = access.with_context(|| format!("{written}: no access record of {id:?}"))?;
        assert_eq!(access["req"]["path"], format!("{LIST}{path}"), "{written}");
    }
    Ok(())
}

#[test]
fn d_11_hdr_14_over_http1_the_server_gets_one_head_whatever_the_client_said() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    fake.capture();
    story(&Server {
        upstream: fake.upstream(),
        take: &|| fake.take_arrived(),
        session: std::cell::OnceCell::new(),
    })
}

#[test]
fn d_11_hdr_14_over_http2_the_server_gets_one_head_whatever_the_client_said() -> anyhow::Result<()> {
    let server = CapturingHttp2::start()?;
    story(&Server {
        upstream: server.upstream(),
        take: &|| server.take_arrived(),
        session: std::cell::OnceCell::new(),
    })
}
