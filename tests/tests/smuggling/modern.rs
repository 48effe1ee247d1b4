//! What is sent over HTTP/2, field by field: what HTTP/1.1 behind the gateway would read otherwise must not get there.

use super::corpus::{Call, FORGED, HIDDEN_PATH};

/// What comes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// The service sees this.
    Passes(Call),
    /// It sees nothing.
    Refused,
    /// Whatever is seen is recorded; RFC 9113 leaves room.
    Either,
}

/// A case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// What is odd about it.
    pub(super) name: String,
    /// Its fields. Placeholders as in the other corpus.
    pub(super) fields: Vec<(String, String)>,
    /// Its body, in pieces; none: there is none.
    pub(super) pieces: Vec<Vec<u8>>,
    /// Fields behind the body.
    pub(super) trailers: Vec<(String, String)>,
    /// What comes of it.
    pub(super) expect: Expect,
}

type Field<'a> = (&'a str, &'a str);

const WHO: Field<'_> = ("authorization", "Bearer @ALICE@");

fn fields(method: &str, more: &[Field<'_>]) -> Vec<(String, String)> {
    let pseudo = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "@HOST@"),
        (":path", "/modern"),
        WHO,
    ];
    owned(&[&pseudo[..], more].concat())
}

fn owned(fields: &[Field<'_>]) -> Vec<(String, String)> {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    fields.collect()
}

fn seen(method: &str, body: &[u8]) -> Expect {
    Expect::Passes(Call {
        method: method.to_owned(),
        target: "/modern".to_owned(),
        body: body.to_vec(),
    })
}

fn case(name: impl Into<String>, fields: Vec<(String, String)>, pieces: &[&[u8]], expect: Expect) -> Case {
    Case {
        name: format!("HTTP/2: {}", name.into()),
        fields,
        pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
        trailers: Vec::new(),
        expect,
    }
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let hidden = format!("GET {HIDDEN_PATH} HTTP/1.1\r\nHost: @HOST@\r\nAuthorization: Bearer @ALICE@\r\nX-Swallows: ");
    let mut all = sound(&hidden);
    all.extend(odd_fields(&hidden));
    all.extend(odd_pseudo_fields(&hidden));
    all.extend(odd_lengths(&hidden));
    all.extend(behind_bodies());
    all
}

fn sound(hidden: &str) -> Vec<Case> {
    let mut all = Vec::new();
    for more in [
        &[][..],
        &[("te", "trailers")],
        &[
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("cookie", "__Host-gatescribe-x=forged"),
        ],
        &[("host", "@HOST@")],
        &[
            ("x-remote-user", FORGED),
            ("x_remote_user", FORGED),
            ("x.remote.user", FORGED),
        ],
        &[
            ("x-gatescribe_assertion", FORGED),
            ("audit-id", FORGED),
            ("proxy-authorization", FORGED),
        ],
        &[("http2-settings", "AAMAAABkAAQAAP__"), ("trailer", "x-remote-user")],
        &[("x-value", "a\tb"), ("x-empty", "")],
    ] {
        all.push(case(format!("{more:?}"), fields("GET", more), &[], seen("GET", b"")));
    }
    for method in ["GET", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"] {
        let body = hidden.as_bytes();
        all.push(case(
            format!("{method} with a body"),
            fields(method, &[]),
            &[body],
            seen(method, body),
        ));
        let two = body.split_at(body.len() / 2);
        all.push(case(
            format!("{method} with a body in two pieces"),
            fields(method, &[]),
            &[two.0, two.1],
            seen(method, body),
        ));
        let length = fields(method, &[("content-length", "3")]);
        all.push(case(
            format!("{method} with a length"),
            length,
            &[b"abc"],
            seen(method, b"abc"),
        ));
        let length = fields(method, &[("expect", "100-continue")]);
        all.push(case(
            format!("{method} with an expectation"),
            length,
            &[body],
            seen(method, body),
        ));
    }
    let bare = owned(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/modern"),
        ("host", "@HOST@"),
        WHO,
    ]);
    all.push(case("a host instead of an authority", bare, &[], seen("GET", b"")));
    all
}

fn odd_fields(hidden: &str) -> Vec<Case> {
    let inside = format!("y\r\n\r\n{hidden}");
    let inside = inside.as_str();
    let mut all = Vec::new();
    for field in [
        ("connection", "close"),
        ("connection", "x-gatescribe-assertion"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer_encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
        ("X-Upper", "y"),
        ("Transfer-Encoding", "chunked"),
        ("x y", "z"),
        ("x: y\r\nx-remote-user", FORGED),
        ("x-remote-user: forged\r\nx", "y"),
        ("transfer-encoding: chunked\r\nx", "y"),
        ("x\0", "y"),
        ("x\r", "y"),
        ("x:", "y"),
        ("", "y"),
        ("x-value", "a\0b"),
        ("x-value", "a\nb"),
        ("x-value", "a\r\nX-Remote-User: forged"),
        ("x-value", "a\rb"),
        ("x-value", inside),
        ("host", "@OTHER@"),
        ("host", ""),
        ("x-gatescribe-assertion", FORGED),
        ("authorization", "Bearer forged"),
        ("expect", "200-ok"),
        ("content_length", "3"),
        ("ho_st", "@HOST@"),
    ] {
        let expect = if field.0 == "ho_st" {
            seen("GET", b"")
        } else {
            Expect::Refused
        };
        all.push(case(format!("{field:?}"), fields("GET", &[field]), &[], expect));
    }
    for field in [
        ("x-value", " y"),
        ("x-value", "y "),
        ("x-value", "\u{7f}"),
        ("x-b\u{fc}", "y"),
        ("\u{212a}", "y"),
    ] {
        all.push(case(format!("{field:?}"), fields("GET", &[field]), &[], Expect::Either));
    }
    all.push(case(
        "a doubled host",
        fields("GET", &[("host", "@HOST@"), ("host", "@HOST@")]),
        &[],
        Expect::Refused,
    ));
    all
}

fn odd_pseudo_fields(hidden: &str) -> Vec<Case> {
    let line = format!("/modern HTTP/1.1\r\nHost: @HOST@\r\n\r\n{hidden}");
    let with = |method: &str, scheme: &str, authority: &str, path: &str| {
        owned(&[
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
            WHO,
        ])
    };
    let mut all = Vec::new();
    for (method, scheme, authority, path) in [
        ("GET /x HTTP/1.1\r\nX: y", "https", "@HOST@", "/modern"),
        ("GET ", "https", "@HOST@", "/modern"),
        ("get", "https", "@HOST@", "/modern"),
        ("", "https", "@HOST@", "/modern"),
        ("TRACE", "https", "@HOST@", "/modern"),
        ("CONNECT", "https", "@HOST@", "/modern"),
        ("GET", "http", "@HOST@", "/modern"),
        ("GET", "https://@HOST@/x", "@HOST@", "/modern"),
        ("GET", "", "@HOST@", "/modern"),
        ("GET", "https", "user@@HOST@", "/modern"),
        ("GET", "https", "@HOST@/x", "/modern"),
        ("GET", "https", "@HOST@, @OTHER@", "/modern"),
        ("GET", "https", "@HOST@\r\nX-Remote-User: forged", "/modern"),
        ("GET", "https", "", "/modern"),
        ("GET", "https", "@HOST@", ""),
        ("GET", "https", "@HOST@", "modern"),
        ("GET", "https", "@HOST@", "*"),
        ("GET", "https", "@HOST@", "https://@OTHER@/modern"),
        ("GET", "https", "@HOST@", "//@OTHER@/modern"),
        ("GET", "https", "@HOST@", "/modern HTTP/1.1"),
        ("GET", "https", "@HOST@", "/modern\r\nX-Remote-User: forged"),
        ("GET", "https", "@HOST@", &line),
        ("GET", "https", "@HOST@", "/a/../modern"),
        ("GET", "https", "@HOST@", "/a%2fmodern"),
        ("GET", "https", "@HOST@", "/modern;x"),
        ("GET", "https", "@HOST@", "/modern\\x"),
        ("GET", "https", "@HOST@", "/mod\tern"),
        ("GET", "https", "@HOST@", "/m\u{f6}dern"),
        ("GET", "https", "@HOST@", "/modern\0"),
    ] {
        let fields = with(method, scheme, authority, path);
        all.push(case(
            format!("{:?}", (method, scheme, authority, path)),
            fields,
            &[],
            Expect::Refused,
        ));
    }
    // What stands behind `#` is cut off before anybody looks: see `listener/http2/check.rs`.
    all.push(case(
        "a fragment",
        with("GET", "https", "@HOST@", "/modern#x"),
        &[],
        Expect::Either,
    ));
    for (name, order) in [
        (
            "two paths",
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                (":path", "/x"),
                WHO,
            ][..],
        ),
        (
            "two methods",
            &[
                (":method", "GET"),
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                WHO,
            ],
        ),
        (
            "two authorities",
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":authority", "@OTHER@"),
                (":path", "/modern"),
                WHO,
            ],
        ),
        (
            "a pseudo field behind",
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                WHO,
                (":path", "/modern"),
            ],
        ),
        (
            "an unknown pseudo field",
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                (":x", "y"),
                WHO,
            ],
        ),
        (
            "an answer's pseudo field",
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                (":status", "200"),
                WHO,
            ],
        ),
        (
            "no method",
            &[
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                WHO,
            ],
        ),
        (
            "no scheme",
            &[(":method", "GET"), (":authority", "@HOST@"), (":path", "/modern"), WHO],
        ),
        (
            "no path",
            &[(":method", "GET"), (":scheme", "https"), (":authority", "@HOST@"), WHO],
        ),
        (
            "no host at all",
            &[(":method", "GET"), (":scheme", "https"), (":path", "/modern"), WHO],
        ),
        (
            "a protocol",
            &[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", "@HOST@"),
                (":path", "/modern"),
                WHO,
            ],
        ),
        ("a tunnel", &[(":method", "CONNECT"), (":authority", "@OTHER@"), WHO]),
    ] {
        all.push(case(name, owned(order), &[], Expect::Refused));
    }
    all
}

fn odd_lengths(hidden: &str) -> Vec<Case> {
    let mut all = Vec::new();
    for length in [
        "2",
        "4",
        "0",
        "03",
        "+3",
        "3,3",
        "0x3",
        "",
        "99999999999999999999",
        "3\r\nTransfer-Encoding: chunked",
    ] {
        for method in ["POST", "GET"] {
            let fields = fields(method, &[("content-length", length)]);
            // A wrong length shows at the end, when the request may have begun at the service.
            all.push(case(
                format!("{method} with the length {length:?}"),
                fields,
                &[b"abc"],
                Expect::Either,
            ));
        }
    }
    let twice = fields("POST", &[("content-length", "3"), ("content-length", "3")]);
    all.push(case("two lengths", twice, &[b"abc"], Expect::Refused));
    let none = fields("POST", &[("content-length", "0")]);
    all.push(case(
        "a body behind the length 0",
        none,
        &[hidden.as_bytes()],
        Expect::Either,
    ));
    all
}

fn behind_bodies() -> Vec<Case> {
    let mut all = Vec::new();
    for (field, expect) in [
        (("x-remote-user", FORGED), seen("POST", b"abc")),
        (("x-gatescribe-assertion", FORGED), seen("POST", b"abc")),
        (("x_remote_user", FORGED), seen("POST", b"abc")),
        (("audit-id", FORGED), seen("POST", b"abc")),
        (("content-length", "999"), Expect::Either),
        (("host", "forged.example"), Expect::Either),
        ((":path", "/smuggled"), Expect::Either),
        (("transfer-encoding", "chunked"), Expect::Either),
        (("X-Upper", "y"), Expect::Either),
        (("x-value", "y\r\nX-Remote-User: forged"), Expect::Either),
    ] {
        let mut with = case(format!("a trailer {field:?}"), fields("POST", &[]), &[b"abc"], expect);
        with.trailers = owned(&[field]);
        all.push(with);
    }
    all
}
