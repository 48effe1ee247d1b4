//! Bodies that nobody reads, expectations, versions, pipelines, upgrades, targets and methods.

use super::corpus::{Answer, Corpus, Expect, FORGED, WAIT, WHO, call, head, hidden, whole_hidden};

use super::framing::CHUNKED;

/// Adds them.
pub(super) fn add(corpus: &mut Corpus) {
    unread_bodies(corpus);
    expectations(corpus);
    versions(corpus);
    pipelines(corpus);
    upgrades(corpus);
    targets(corpus);
    methods(corpus);
    long_ones(corpus);
}

/// What is no request to whoever reads a body, and is one to whoever does not.
fn unread_bodies(corpus: &mut Corpus) {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"] {
        for (at, body) in hidden().into_iter().enumerate() {
            let line = format!("{method} /unread HTTP/1.1");
            let length = head(&line, "Content-Length: @LEN@\r\n");
            corpus.passes(
                format!("{method} with a body {at}"),
                [length, body.clone()].concat(),
                (method, "/unread"),
                &body,
            );
            let coded = head(&line, "Transfer-Encoding: chunked\r\n");
            let bytes = [&coded[..], b"@HEX@\r\n", &body, b"\r\n0\r\n\r\n"].concat();
            corpus.passes(format!("{method} with chunks {at}"), bytes, (method, "/unread"), &body);
        }
        let empty = head(&format!("{method} /unread HTTP/1.1"), "Content-Length: 0\r\n");
        corpus.passes(format!("{method} with an empty body"), empty, (method, "/unread"), b"");
    }
}

fn expectations(corpus: &mut Corpus) {
    let body = whole_hidden();
    let length = "Content-Length: @LEN@\r\n";
    for expect in ["Expect: 100-continue", "expect: 100-Continue", "EXPECT:100-CONTINUE"] {
        for method in ["POST", "GET", "PUT"] {
            let head = head(&format!("{method} /expected HTTP/1.1"), format!("{expect}\r\n{length}"));
            corpus.passes(
                format!("{method} {expect}, at once"),
                [&head[..], &body].concat(),
                (method, "/expected"),
                &body,
            );
            corpus.passes(
                format!("{method} {expect}, awaited"),
                [&head[..], WAIT, &body].concat(),
                (method, "/expected"),
                &body,
            );
        }
    }
    corpus.passes(
        "an expectation of nothing",
        head("GET /expected HTTP/1.1", "Expect: 100-continue\r\n"),
        ("GET", "/expected"),
        b"",
    );
    for expect in [
        "Expect: 200-ok",
        "Expect: 100-continue, x",
        "Expect: 100-continue\r\nExpect: 100-continue",
        "Expect:",
        "Expect_: 100-continue",
        "Expect: y 100-continue",
    ] {
        let bytes = [
            head("POST /expected HTTP/1.1", format!("{expect}\r\n{length}")),
            body.clone(),
        ]
        .concat();
        corpus.answered(expect, bytes, &[Answer::Gate]);
    }
}

#[rustfmt::skip]
const ODD_VERSIONS: &[(&str, &str)] = &[
    ("POST /old HTTP/1.0", ""), ("GET /old HTTP/1.0", "Transfer-Encoding: chunked\r\n"), ("POST /old HTTP/1.0", "Transfer-Encoding: chunked\r\n"),
    ("GET /old HTTP/1.0", "Upgrade: websocket\r\nConnection: upgrade\r\n"), ("GET /old", ""), ("GET /old ", ""), ("GET /old HTTP/0.9", ""),
    ("GET /old HTTP/1.2", ""), ("GET /old HTTP/2.0", ""), ("GET /old HTTP/2", ""), ("GET /old HTTP/11", ""), ("GET /old HTTP/1.10", ""),
    ("GET /old HTTP/01.1", ""), ("GET /old http/1.1", ""), ("GET /old HTTP/1.1 ", ""), ("GET  /old HTTP/1.1", ""), ("GET /old  HTTP/1.1", ""),
    ("GET\t/old\tHTTP/1.1", ""), ("GET /old /x HTTP/1.1", ""), ("GET /old HTTP/1.1 HTTP/1.1", ""), ("GET /old HTTPS/1.1", ""),
    ("GET /old ICAP/1.0", ""), ("PRI * HTTP/2.0", ""), ("", ""),
];

fn versions(corpus: &mut Corpus) {
    corpus.passes("HTTP/1.0", head("GET /old HTTP/1.0", ""), ("GET", "/old"), b"");
    corpus.passes(
        "HTTP/1.0 kept",
        head("GET /old HTTP/1.0", "Connection: keep-alive\r\n"),
        ("GET", "/old"),
        b"",
    );
    let post = [head("POST /old HTTP/1.0", "Content-Length: 3\r\n"), b"abc".to_vec()].concat();
    corpus.passes("HTTP/1.0 with a body", post, ("POST", "/old"), b"abc");
    corpus.passes(
        "HTTP/1.0 GET with a body",
        [head("GET /old HTTP/1.0", "Content-Length: 3\r\n"), b"abc".to_vec()].concat(),
        ("GET", "/old"),
        b"abc",
    );
    let hidden = [head("GET /old HTTP/1.0", ""), whole_hidden()].concat();
    corpus.passes("HTTP/1.0 and something behind it", hidden, ("GET", "/old"), b"");
    for (line, fields) in ODD_VERSIONS {
        corpus.refused(format!("{line:?} {fields:?}"), head(line, fields));
    }
}

fn pipelines(corpus: &mut Corpus) {
    let get = head("GET /line HTTP/1.1", "");
    let post = [head("POST /line HTTP/1.1", "Content-Length: 3\r\n"), b"abc".to_vec()].concat();
    let coded = [&head("POST /line HTTP/1.1", "Transfer-Encoding: chunked\r\n"), CHUNKED].concat();
    let (seen, posted) = (call("GET", "/line", b""), call("POST", "/line", b"abc"));
    corpus.answered(
        "two",
        [get.clone(), get.clone()].concat(),
        &[seen.clone(), seen.clone()],
    );
    let ten: Vec<u8> = (0..10).flat_map(|_| get.clone()).collect();
    corpus.answered("ten", ten, &vec![seen.clone(); 10]);
    let mixed = [
        get.clone(),
        post.clone(),
        coded.clone(),
        get.clone(),
        coded.clone(),
        post.clone(),
    ]
    .concat();
    let answers = [
        seen.clone(),
        posted.clone(),
        posted.clone(),
        seen.clone(),
        posted.clone(),
        posted.clone(),
    ];
    corpus.answered("bodies of both kinds", mixed, &answers);
    let ill = head("GET /line HTTP/1.1", "X : y\r\n");
    corpus.answered(
        "an ill one behind",
        [get.clone(), ill.clone(), get.clone()].concat(),
        &[seen.clone(), Answer::Gate],
    );
    let nobody = b"GET /line HTTP/1.1\r\nHost: @HOST@\r\n\r\n".to_vec();
    corpus.answered(
        "one without a credential",
        [get.clone(), nobody.clone(), get.clone()].concat(),
        &[seen.clone(), Answer::Gate, seen.clone()],
    );
    let odd = head("GET /line;x HTTP/1.1", "");
    corpus.answered(
        "one with an odd path",
        [get.clone(), odd, get.clone()].concat(),
        &[seen.clone(), Answer::Gate, seen.clone()],
    );
    let refused_post = [
        b"POST /line HTTP/1.1\r\nHost: @HOST@\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        get.clone(),
    ]
    .concat();
    corpus.push("a refused one with a body", refused_post, Expect::Broken);
    let last = head("GET /line HTTP/1.1", "Connection: close\r\n");
    corpus.answered(
        "something behind the last one",
        [last, whole_hidden()].concat(),
        std::slice::from_ref(&seen),
    );
    let head_only = head("HEAD /line HTTP/1.1", "");
    corpus.answered(
        "HEAD between",
        [get.clone(), head_only, get].concat(),
        &[seen.clone(), call("HEAD", "/line", b""), seen],
    );
}

#[rustfmt::skip]
const ODD_UPGRADES: &[&str] = &[
    "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "Upgrade: websocket\r\n",
    "Connection: close\r\nUpgrade: websocket\r\n", "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n",
    "Connection: upgrade\r\nUpgrade:\r\n", "Connection: upgrade\r\nUpgrade_: websocket\r\n",
];

fn upgrades(corpus: &mut Corpus) {
    let socket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for fields in ODD_UPGRADES {
        corpus.refused(
            format!("{fields:?}"),
            head("GET /socket HTTP/1.1", format!("{socket}{fields}")),
        );
    }
    // None of the servers switches: each answers plainly, and what the client sent too early is nobody's.
    let fields = format!("{socket}Connection: upgrade\r\nUpgrade: websocket\r\n");
    let early = [head("GET /socket HTTP/1.1", &fields), whole_hidden()].concat();
    corpus.passes(
        "a request behind an upgrade that is refused",
        early,
        ("GET", "/socket"),
        b"",
    );
    corpus.passes(
        "an upgrade that is refused",
        head("GET /socket HTTP/1.1", &fields),
        ("GET", "/socket"),
        b"",
    );
}

#[rustfmt::skip]
const TARGETS: &[&str] = &[
    "/", "/a", "/a/", "/a/b/c", "/a%20b", "/%61", "/%C3%BC", "/a?b", "/a?", "/?", "/a?b=c&d=%2e%2e%2f", "/a?//..;x", "/a?x=/../", "/a?a?b", "/a?%00",
    "/...", "/.a", "/a..", "/~a", "/a:b", "/a@b", "/a,b=c", "/$a!'()*+&", "/a?x=%0d%0aX-Y:%20z", "/a?'", "/api/v1/x",
];

#[rustfmt::skip]
const ODD_TARGETS: &[&[u8]] = &[
    b"//", b"//a", b"//@OTHER@/host", b"/a//b", b"/a//", b"/.", b"/..", b"/a/../b", b"/a/./b", b"/a/..", b"/%2e", b"/%2e%2e/a", b"/a/%2E%2e/b",
    b"/.%2e/", b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a\\b", b"/..\\a", b"/a;b", b"/a;/b", b"/..;/a", b"/a%3bb", b"/a%00", b"/a%0a", b"/a%0d%0aX-Y:z",
    b"/a%7f", b"/a%25", b"/a%252e", b"/a%23b", b"/a%3fb", b"/a#b", b"/a?b#c", b"/%", b"/%2", b"/%zz", b"/%c0%ae", b"/%ff", b"/%u002e", b"/\xc3\xbc",
    b"/\xff", b"/a\x00b", b"/a\tb", b"/a\x7fb", b"/a\"b", b"/a<b>", b"/%ef%bc%8f", b"/%e2%80%ae", b"/a?\xff", b"/a?\x00", b"/a?b\\c",
    b"/%2f%2fother", b"/%2e%2e%2f", b"/a/%2e%2e%2fb",
];

fn targets(corpus: &mut Corpus) {
    for target in TARGETS {
        corpus.passes(
            *target,
            head(&format!("GET {target} HTTP/1.1"), ""),
            ("GET", target),
            b"",
        );
    }
    for target in ODD_TARGETS {
        let line = [b"GET ", *target, b" HTTP/1.1\r\n", WHO.as_bytes(), b"\r\n"].concat();
        corpus.declined(format!("target {:?}", String::from_utf8_lossy(target)), line);
    }
}

#[rustfmt::skip]
const ODD_METHODS: &[&str] = &[
    "get", "Get", "GETX", "CONNECT", "TRACE", "TRACK", "PROPFIND", "QUERY", "M-SEARCH", "PRI", "GE\u{0}T", "\u{b}GET", "GET\u{a0}", "G\u{cb}T",
    "(GET)", "GET,POST",
];

fn methods(corpus: &mut Corpus) {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let length = if matches!(method, "POST" | "PUT" | "PATCH") {
            "Content-Length: 0\r\n"
        } else {
            ""
        };
        corpus.passes(
            method,
            head(&format!("{method} /how HTTP/1.1"), length),
            (method, "/how"),
            b"",
        );
    }
    for method in ODD_METHODS {
        corpus.refused(
            format!("method {method:?}"),
            head(&format!("{method} /how HTTP/1.1"), ""),
        );
    }
    for name in [
        "X-Http-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "x_http_method_override",
    ] {
        let bytes = [
            head(
                "POST /how HTTP/1.1",
                format!("{name}: {FORGED}\r\nContent-Length: 3\r\n"),
            ),
            b"abc".to_vec(),
        ]
        .concat();
        corpus.passes(name, bytes, ("POST", "/how"), b"abc");
    }
}

fn long_ones(corpus: &mut Corpus) {
    let target = format!("/long?{}", "x".repeat(6_000));
    corpus.passes(
        "a target of 6,000 bytes",
        head(&format!("GET {target} HTTP/1.1"), ""),
        ("GET", &target),
        b"",
    );
    let target = format!("/long?{}", "x".repeat(60_000));
    corpus.passes(
        "a target of 60,000 bytes",
        head(&format!("GET {target} HTTP/1.1"), ""),
        ("GET", &target),
        b"",
    );
    corpus.refused(
        "a target too long",
        head(&format!("GET /{} HTTP/1.1", "x".repeat(66_000)), ""),
    );
    corpus.passes(
        "a value of 6,000 bytes",
        head("GET /long HTTP/1.1", format!("X-Long: {}\r\n", "y".repeat(6_000))),
        ("GET", "/long"),
        b"",
    );
    corpus.passes(
        "a value of 60,000 bytes",
        head("GET /long HTTP/1.1", format!("X-Long: {}\r\n", "y".repeat(60_000))),
        ("GET", "/long"),
        b"",
    );
    corpus.refused(
        "a value too long",
        head("GET /long HTTP/1.1", format!("X-Long: {}\r\n", "y".repeat(70_000))),
    );
    let fields = |count: usize| -> String { (0..count).map(|number| format!("X-N{number}: {number}\r\n")).collect() };
    corpus.passes(
        "ninety fields",
        head("GET /long HTTP/1.1", fields(80)),
        ("GET", "/long"),
        b"",
    );
    corpus.passes(
        "398 fields",
        head("GET /long HTTP/1.1", fields(398)),
        ("GET", "/long"),
        b"",
    );
    corpus.refused("500 fields", head("GET /long HTTP/1.1", fields(500)));
    let body = [b"0\r\n\r\n".to_vec(), whole_hidden().repeat(60)].concat();
    let bytes = [head("POST /long HTTP/1.1", "Content-Length: @LEN@\r\n"), body.clone()].concat();
    corpus.passes("a body of many requests", bytes, ("POST", "/long"), &body);
}
