//! The servers that stand behind a gateway in other stories work by themselves, and what they tell of requests is true: asked
//! straight, with nothing of ours between.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::apps::{self, Jupyter};
use tests::backends::echo::{Echo, Kind};
use tests::backends::grpc::{Grpc, grpcurl};
use tests::backends::proxy;
use tests::backends::web::{self, Web, read_head};
use tests::backends::{body_of, connect};
use tests::channels::{BINARY, CLOSE, Frame, LAST, TEXT, of_client};
use tests::http::Client;
use tests::pki::Ca;
use tests::upgraded::{ACCEPT, KEY};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Two requests in one piece; the second one ends the connection.
const TWO: &[&[u8]] = &[
    b"POST /a%2fb?x=1&y HTTP/1.1\r\nHost: bench:80\r\n",
    b"X-One: \xff a|b%\r\nB: \xc3\xbc\r\nx-oNE: c\r\nX_Two: d\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /two HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n",
];

#[test]
fn every_echo_counts_two_pipelined_requests_as_two_and_tells_their_bytes() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        counts_and_tells(kind).with_context(|| kind.name())?;
    }
    Ok(())
}

fn counts_and_tells(kind: Kind) -> anyhow::Result<()> {
    let mut echo = Echo::start(kind)?;
    assert_eq!(echo.seen()?, [], "{kind:?}");
    let last = echo.ask(&TWO.concat())?;
    let seen = echo.seen_after(2)?;
    let [first, second] = seen.as_slice() else {
        anyhow::bail!("{seen:?}");
    };
    assert_eq!(last.target, b"/two", "{kind:?}");
    assert_eq!(
        (first.method.as_slice(), second.method.as_slice()),
        (&b"POST"[..], &b"GET"[..])
    );
    assert_eq!(
        (first.target.as_slice(), second.target.as_slice()),
        (&b"/a%2fb?x=1&y"[..], &b"/two"[..])
    );
    assert_eq!(
        (first.body.length, first.body.sha256.as_str(), first.body.complete),
        (3, ABC, true)
    );
    assert_eq!(
        (second.body.length, second.body.sha256.as_str(), second.body.complete),
        (0, NOTHING, true)
    );
    let keeps = kind.keeps();
    assert_eq!(first.values("host"), [b"bench:80"]);
    assert_eq!(first.values("b"), ["ü".as_bytes()]);
    match keeps.lines {
        true => assert_eq!(first.values("x-one"), [&b"\xff a|b%"[..], b"c"]),
        false => assert_eq!(first.values("x-one"), [b"\xff a|b%, c"]),
    }
    assert_eq!(first.values("x_two").len(), usize::from(keeps.underscores), "{first:?}");
    let names: Vec<&[u8]> = first.headers.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(
        names.contains(&&b"X-One"[..]) && names.contains(&&b"B"[..]),
        keeps.names || kind == Kind::Go,
        "{names:?}"
    );
    let at = |name: &[u8]| names.iter().position(|found| found.eq_ignore_ascii_case(name));
    assert_eq!(at(b"x-one") < at(b"b"), keeps.order, "{names:?}");
    // What an application goes by says the same.
    if !first.environment.is_empty() {
        let said = first.variable("HTTP_X_ONE").context("a variable")?;
        assert!(said.starts_with(b"\xff a|b%,"), "{said:?}");
        assert_eq!(first.variable("HTTP_X_TWO"), None);
    }
    Ok(())
}

#[test]
fn a_request_that_ends_early_or_is_none_is_no_whole_one_anywhere() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let mut echo = Echo::start(kind)?;
        let mut stream = echo.server.connect()?;
        stream.write_all(b"POST /cut HTTP/1.1\r\nHost: bench\r\nContent-Length: 9\r\n\r\nabc")?;
        drop(stream);
        let none = b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\nConnection: close\r\n\r\n";
        let refused = echo.server.exchange(none)?;
        let refused = String::from_utf8_lossy(&refused);
        assert!(refused.starts_with("HTTP/1.1 4"), "{kind:?}: {refused}");
        echo.ask(b"GET /whole HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        // nginx and HAProxy hand nothing on whose body has not come; they log it.
        let counts_cut = !matches!(kind, Kind::Nginx | Kind::Haproxy);
        let seen = echo.seen_after(1 + usize::from(counts_cut))?;
        let mut told: Vec<_> = seen
            .iter()
            .map(|seen| (seen.target.as_slice(), seen.body.complete))
            .collect();
        told.sort_unstable();
        let wanted = [(&b"/cut"[..], false), (b"/whole", true)];
        assert_eq!(told, wanted[usize::from(!counts_cut)..], "{kind:?}");
    }
    Ok(())
}

#[test]
fn trailers_stay_behind_the_head_everywhere_but_where_a_server_mixes_them_in() -> anyhow::Result<()> {
    let request =
        b"POST / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\n\
                    3\r\nabc\r\n0\r\nX-User: admin\r\n\r\n";
    for kind in Kind::ALL {
        let echo = Echo::start(kind)?;
        let seen = echo.ask(request)?;
        assert_eq!((seen.body.length, seen.body.sha256.as_str()), (3, ABC), "{kind:?}");
        // Whoever reads fields behind the body reads what the sender put there as if it stood in the head.
        let mixes = kind == Kind::UvicornHttptools;
        assert_eq!(seen.values("x-user").len(), usize::from(mixes), "{kind:?}: {seen:?}");
        assert_eq!(seen.variable("HTTP_X_USER"), None, "{kind:?}");
        let tells = matches!(kind, Kind::Go | Kind::Node | Kind::Gunicorn);
        assert_eq!(seen.trailers.len(), usize::from(tells), "{kind:?}: {seen:?}");
    }
    Ok(())
}

#[test]
fn nginx_and_haproxy_log_also_what_was_no_request_and_what_never_came_to_its_end() -> anyhow::Result<()> {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let echo = Echo::start(kind)?;
        echo.ask(b"GET /whole HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        echo.server
            .exchange(b"GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\nConnection: close\r\n\r\n")?;
        let mut cut = echo.server.connect()?;
        cut.write_all(b"POST /cut HTTP/1.1\r\nHost: bench\r\nContent-Length: 9\r\n\r\nabc")?;
        drop(cut);
        let logged = tests::wait::try_until("three lines", tests::wait::PATIENCE, || {
            let logged = echo.logged()?;
            ensure!(logged.len() == 3, "{logged:?}");
            Ok(logged)
        })?;
        assert_eq!(logged[0], (Some(200), "GET /whole HTTP/1.1".to_owned()), "{kind:?}");
        assert_eq!(logged[1].0, Some(400), "{kind:?}: {logged:?}");
        assert_eq!(logged[2].1, "POST /cut HTTP/1.1", "{kind:?}: {logged:?}");
        assert_ne!(logged[2].0, Some(200), "{kind:?}: {logged:?}");
        assert_eq!(echo.seen()?.len(), 1, "{kind:?}: the other two came to no application");
    }
    Ok(())
}

#[test]
fn each_proxy_takes_a_configuration_and_passes_a_request_on() -> anyhow::Result<()> {
    let behind = Echo::start(Kind::Go)?;
    let upstream = behind.server.address();
    for kind in proxy::Kind::ALL {
        let proxy = kind
            .start(|place| passes_to(kind, place, upstream))
            .with_context(|| kind.name())?;
        let answer = proxy.ask(&format!("GET /{}", kind.name()), "X-User: alice\r\n")?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{kind:?}: {answer}");
        let seen = behind.seen()?;
        let last = seen.last().context("a request")?;
        assert_eq!(String::from_utf8_lossy(&last.target), format!("/{}", kind.name()));
        assert_eq!(last.values("x-user"), [b"alice"]);
    }
    assert_eq!(behind.seen()?.len(), proxy::Kind::ALL.len());
    Ok(())
}

fn passes_to(kind: proxy::Kind, place: &proxy::Place<'_>, upstream: std::net::SocketAddr) -> anyhow::Result<String> {
    let listen = place.listen;
    Ok(match kind {
        proxy::Kind::Nginx => place.nginx(&format!(
            "server {{ listen {listen}; location / {{ proxy_pass http://{upstream}; }} }}"
        )),
        proxy::Kind::Haproxy => format!(
            "defaults\n mode http\n timeout client 75s\n timeout server 75s\n timeout connect 75s\n\
             listen bench\n bind {listen}\n server go {upstream}\n"
        ),
        proxy::Kind::Apache => place.apache(&["proxy", "proxy_http"], &format!("ProxyPass / http://{upstream}/\n"))?,
        proxy::Kind::Caddy => format!(
            "{{\n admin off\n auto_https off\n}}\nhttp://{listen} {{\n bind {}\n reverse_proxy {upstream}\n}}\n",
            listen.ip()
        ),
        proxy::Kind::Envoy => envoy(listen, upstream).to_string(),
    })
}

/// JSON is YAML.
fn envoy(listen: std::net::SocketAddr, upstream: std::net::SocketAddr) -> Value {
    let address = |address: std::net::SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let filters = "type.googleapis.com/envoy.extensions.filters";
    json!({"static_resources": {
        "listeners": [{"address": address(listen), "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "bench",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "go"}}]}]},
                "http_filters": [{"name": "envoy.filters.http.router",
                    "typed_config": {"@type": format!("{filters}.http.router.v3.Router")}}],
            },
        }]}]}],
        "clusters": [{"name": "go", "load_assignment": {"cluster_name": "go", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}],
    }})
}

#[test]
fn grpcurl_calls_each_kind_of_method_and_reads_the_details_of_an_error() -> anyhow::Result<()> {
    let grpc = Grpc::start()?;
    let place = grpc.server.address().to_string();
    let listed = grpcurl(&["-plaintext", &place, "list"], "")?;
    assert!(listed.stdout.contains("grpc.testing.TestService\n"), "{listed}");
    let unary = grpc.call(
        &["-v", "-H", "X-User: alice"],
        "UnaryCall",
        r#"{"payload": {"body": "YWJj"}}"#,
    )?;
    assert!(unary.stdout.contains(r#""body": "YWJj""#), "{unary}");
    assert!(unary.stdout.contains("x-bench-calls: "), "a trailer: {unary}");
    let many = r#"{"responseParameters": [{"size": 1}, {"size": 2}, {"size": 3}]}"#;
    let down = grpc.call(&[], "StreamingOutputCall", many)?;
    assert_eq!(down.stdout.matches("\"payload\"").count(), 3, "{down}");
    let three = r#"{"payload": {"body": "YWJj"}}"#.repeat(3);
    let up = grpc.call(&[], "StreamingInputCall", &three)?;
    assert!(up.stdout.contains("\"aggregatedPayloadSize\": 9"), "{up}");
    let both = grpc.call(&[], "FullDuplexCall", &three)?;
    assert_eq!(both.stdout.matches("YWJj").count(), 3, "{both}");
    let failed = grpc.call(
        &[],
        "UnaryCall",
        r#"{"responseStatus": {"code": 7, "message": "no way"}}"#,
    )?;
    assert_ne!(failed.code, 0);
    for words in ["PermissionDenied", "no way", "ASKED_FOR"] {
        assert!(failed.stderr.contains(words), "{failed}");
    }
    let seen = grpc.seen()?;
    let methods: Vec<String> = seen
        .iter()
        .map(|seen| String::from_utf8_lossy(&seen.target).into_owned())
        .filter(|target| target.starts_with("/grpc.testing."))
        .collect();
    let called = ["Unary", "StreamingOutput", "StreamingInput", "FullDuplex", "Unary"];
    assert_eq!(
        methods,
        called.map(|method| format!("/grpc.testing.TestService/{method}Call"))
    );
    let alice = seen.iter().filter(|seen| seen.values("x-user") == [b"alice"]);
    assert!(alice.count() >= 1, "{seen:?}");
    Ok(())
}

#[test]
fn prometheus_serves_its_pages_and_answers_queries() -> anyhow::Result<()> {
    for (external, prefix) in [(None, ""), (Some("https://prometheus.example/metrics/"), "/metrics")] {
        let server = apps::prometheus(external)?;
        let page = server.ask(&format!("GET {prefix}/classic/graph"), "")?;
        assert!(
            page.starts_with("HTTP/1.1 200 ") && page.contains("Prometheus"),
            "{page}"
        );
        let script = server.ask(&format!("GET {prefix}/classic/static/jquery/jquery.min.js"), "")?;
        assert!(script.starts_with("HTTP/1.1 200 "), "{script}");
        let answer = server.ask(&format!("GET {prefix}/api/v1/query?query=6*7"), "")?;
        assert!(answer.contains(r#""42""#), "{answer}");
    }
    Ok(())
}

#[test]
fn a_kernel_of_jupyterlab_computes_over_its_websocket() -> anyhow::Result<()> {
    let jupyter = Jupyter::start("/lab/", Some("secret"), None)?;
    let page = jupyter.server.ask("GET /lab/lab", &jupyter.proof())?;
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("JupyterLab"),
        "{page}"
    );
    let stranger = jupyter.server.ask("GET /lab/api/kernels", "")?;
    assert!(stranger.starts_with("HTTP/1.1 403 "), "{stranger}");
    let kernel = jupyter.kernel()?;
    assert_eq!(jupyter.run(&kernel, "6*7")?, "42");
    let error = jupyter.run(&kernel, "1/0").unwrap_err().to_string();
    assert!(error.contains("ZeroDivisionError"), "{error}");
    Ok(())
}

#[test]
fn events_and_websockets_go_on_until_the_client_leaves() -> anyhow::Result<()> {
    let web = Web::start()?;
    let mut events = BufReader::new(web.server.connect()?);
    let head = format!(
        "GET /events?stream=e HTTP/1.1\r\nHost: {}\r\n\r\n",
        web.server.address()
    );
    events.get_mut().write_all(head.as_bytes())?;
    web.has("open", "e", 1)?;
    for words in ["one", "two"] {
        assert_eq!(web.say("e", words)?, 1);
        let mut line = String::new();
        while line.trim() != format!("data: {words}") {
            line.clear();
            ensure!(events.read_line(&mut line)? > 0, "the stream has ended before {words}");
        }
    }
    drop(events);
    web.has("ended", "e", 1)?;

    let mut socket = web.server.connect()?;
    let head = format!(
        "GET /socket?stream=s HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
        web.server.address()
    );
    socket.write_all(head.as_bytes())?;
    let head = read_head(&mut socket)?;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    for (kind, payload) in [(TEXT, "hä".as_bytes().to_vec()), (BINARY, vec![0xff; 70_000])] {
        socket.write_all(&of_client(LAST | kind, &payload))?;
        let back = Frame::read(&mut socket)?;
        assert_eq!((back.first, back.payload == payload), (LAST | kind, true));
    }
    assert_eq!(web.say("s", "pushed")?, 1);
    assert_eq!(Frame::read(&mut socket)?.payload, b"pushed");
    socket.write_all(&of_client(LAST | CLOSE, &1000_u16.to_be_bytes()))?;
    assert_eq!(Frame::read(&mut socket)?.kind(), CLOSE);
    web.has("ended", "s", 1)
}

#[test]
fn ranges_and_bodies_of_any_size_are_made_and_digested_and_never_stored() -> anyhow::Result<()> {
    const SIZE: u64 = web::GIBIBYTE + 3;
    let web = Web::start()?;
    let address = web.server.address();
    let mut down = connect(address)?;
    let get = |fields: &str| format!("GET /bytes?size={SIZE} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    down.write_all(get("").as_bytes())?;
    assert!(read_head(&mut down)?.contains(&format!("Content-Length: {SIZE}\r\n")));
    let whole = web::digest_of(SIZE);
    assert_eq!(web::digest_read(&mut down)?, (SIZE, whole.clone()));
    let mut content = Vec::new();
    web::generated(64, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    let part = web.server.exchange(get("Range: bytes=5-20\r\n").as_bytes())?;
    assert!(part.starts_with(b"HTTP/1.1 206 "));
    assert_eq!(body_of(&part)?, &content[5..21]);
    let two = web.server.exchange(get("Range: bytes=0-1,30-31\r\n").as_bytes())?;
    assert!(String::from_utf8_lossy(&two).contains("multipart/byteranges"));
    let other = get("Range: bytes=5-20\r\nIf-Range: \"1\"\r\n").replace(&SIZE.to_string(), "64");
    let other = web.server.exchange(other.as_bytes())?;
    assert!(other.starts_with(b"HTTP/1.1 200 ") && body_of(&other)? == content);

    let mut up = connect(address)?;
    let head = format!("POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
    up.write_all(head.as_bytes())?;
    web::send_generated(&mut up, SIZE)?;
    let mut answer = Vec::new();
    up.read_to_end(&mut answer)?;
    let told: Value = serde_json::from_slice(body_of(&answer)?)?;
    assert_eq!(told, json!({"length": SIZE, "sha256": whole}));
    Ok(())
}

#[test]
fn the_same_is_served_over_tls_and_on_a_unix_socket() -> anyhow::Result<()> {
    let ca = Ca::new("backends")?;
    let identity = ca.server(&["127.0.0.1"])?;
    let web = Web::over_tls(&identity)?;
    let client = Client::new(web.server.address(), ca.certificate(), None)?;
    assert_eq!(client.get("/answer?status=418", &[])?.status, 418);
    let mut socket = UnixStream::connect(web.socket())?;
    socket.write_all(b"GET /answer?status=418 HTTP/1.0\r\n\r\n")?;
    assert!(read_head(&mut socket)?.starts_with("HTTP/1.0 418 "));

    let grpc = Grpc::over_tls(&identity)?;
    let authority = grpc.server.folder().write("ca.crt", ca.certificate())?;
    let (authority, place) = (authority.display().to_string(), grpc.server.address().to_string());
    let called = grpcurl(
        &["-cacert", &authority, &place, "grpc.testing.TestService/EmptyCall"],
        "",
    )?;
    assert_eq!(called.code, 0, "{called}");
    Ok(())
}

#[test]
fn odd_answers_come_as_they_are_asked_for() -> anyhow::Result<()> {
    let web = Web::start()?;
    let server = &web.server;
    let old = server.ask("GET /old?size=9", "")?;
    assert!(
        old.starts_with("HTTP/1.0 200 OK\r\n") && !old.contains("Content-Length"),
        "{old}"
    );
    let early = server.ask("GET /early", "")?;
    assert!(
        early.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </style.css>"),
        "{early}"
    );
    assert!(
        early.contains("HTTP/1.1 200 OK\r\n") && early.contains("late"),
        "{early}"
    );
    let trailers = server.ask("GET /trailers", "TE: trailers\r\n")?;
    assert!(
        trailers.ends_with("0\r\nX-Announced: one\r\nX-Unannounced: two\r\n\r\n"),
        "{trailers}"
    );
    let asked = server.ask(
        "GET /answer?status=302&field=Location:%20/x&field=Set-Cookie:%20a=b",
        "",
    )?;
    assert!(
        asked.starts_with("HTTP/1.1 302 ") && asked.contains("Location: /x\r\n"),
        "{asked}"
    );

    let expects = |target: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
        let mut stream = server.connect()?;
        stream.write_all(head.as_bytes())?;
        anyhow::Ok((read_head(&mut stream)?, stream))
    };
    let (refused, _) = expects("/refuse")?;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    let (goes_on, mut stream) = expects("/digest")?;
    assert_eq!(goes_on, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc")?;
    assert!(read_head(&mut stream)?.starts_with("HTTP/1.1 200 "));

    let mut held = server.connect()?;
    held.write_all(b"GET /held?gate=g&at=body HTTP/1.0\r\n\r\n")?;
    read_head(&mut held)?;
    web.has("waiting", "g", 1)?;
    web.release("g")?;
    let mut rest = String::new();
    held.read_to_string(&mut rest)?;
    assert_eq!(rest, "begun\ndone\n");
    Ok(())
}
