//! Where a request ends: lengths, codings, chunks, and what stands behind them.

use super::corpus::{Corpus, Expect, head, whole_hidden};

/// Adds them.
pub(super) fn add(corpus: &mut Corpus) {
    lengths(corpus);
    encodings(corpus);
    both_framings(corpus);
    chunks(corpus);
    broken_chunks(corpus);
    trailers(corpus);
}

#[rustfmt::skip]
const ODD_LENGTHS: &[&str] = &[
    "03", "+3", "-3", "3,3", "3, 3", "3,", ",3", "0x3", "3;", "3;q=1", "", " ", "1e0", "3.0", "3 3", "\"3\"", "NaN", "-0", "00", "3\u{b}", "\u{c}3",
    "3\u{a0}", "\u{ff13}", "99999999999999999999", "18446744073709551619", "4294967299e0", "3_0", "3'0", "۳", "3\u{0}", "3\u{7f}", "0b11", "0o3",
    "%33", "3#", "3/1", "(3)", "III", "three",
];

#[rustfmt::skip]
const ODD_LENGTH_FIELDS: &[&str] = &[
    "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 3\r\nContent-Length: 0\r\n", "Content-Length: 0\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\ncontent-length: 30\r\n", "CONTENT-LENGTH: 3\r\nX: y\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\nContent_Length: 30\r\n", "Content_Length: 3\r\n", "Content.Length: 3\r\n", "Content--Length: 3\r\n",
    "Content-Length-: 3\r\n", "-Content-Length: 3\r\n", "Content-Length : 3\r\n", "Content-Length\t: 3\r\n", " Content-Length: 3\r\n",
    "X: y\r\n Content-Length: 3\r\n", "Content-Length: 3\r\n 0\r\n", "Content-Length:\r\n 3\r\n", "Content-Length\r\n: 3\r\n",
    "Content-Length\u{0}: 3\r\n", "\u{0}Content-Length: 3\r\n", "Content-Length\u{a0}: 3\r\n", "\u{feff}Content-Length: 3\r\n",
    "Content-Length; 3\r\n", "Content-Length= 3\r\n",
];

fn lengths(corpus: &mut Corpus) {
    for value in ["3", "  3", "3 ", "\t3\t"] {
        let bytes = [
            head("POST /length HTTP/1.1", format!("Content-Length:{value}\r\n")),
            b"abc".to_vec(),
        ]
        .concat();
        corpus.passes(format!("length {value:?}"), bytes, ("POST", "/length"), b"abc");
    }
    for value in ODD_LENGTHS {
        let fields = format!("Content-Length: {value}\r\n");
        corpus.refused(
            format!("length {value:?}"),
            [head("POST /length HTTP/1.1", fields), b"abc".to_vec()].concat(),
        );
    }
    for fields in ODD_LENGTH_FIELDS {
        corpus.refused(
            format!("lengths {fields:?}"),
            [head("POST /length HTTP/1.1", fields), b"abc".to_vec()].concat(),
        );
    }
    corpus.push(
        "a body shorter than announced",
        [
            head("POST /length HTTP/1.1", "Content-Length: 999\r\n"),
            b"abc".to_vec(),
        ]
        .concat(),
        Expect::Broken,
    );
}

/// A body in chunks.
pub(super) const CHUNKED: &[u8] = b"3\r\nabc\r\n0\r\n\r\n";

#[rustfmt::skip]
const ODD_ENCODINGS: &[&str] = &[
    ": identity", ": chunked, chunked", ": identity, chunked", ": chunked, identity", ": gzip, chunked", ": chunked, gzip", ": gzip", ": xchunked",
    ": chunkedx", ": chunked;q=1", ": \"chunked\"", ": 'chunked'", ": chunked\u{0}", ": \u{b}chunked", ": chunked\u{b}", ": \u{c}chunked",
    ": x: chunked", ": chun ked", ":", ": ", ": ,chunked", ": chunked,", ": [chunked]", ": chunked chunked", ": trailers", ": ch\u{f6}nked",
    ":  chunked", ": chunked ", ":\tchunked", ": chunked\t", ": \u{a0}chunked", " : chunked", "\t: chunked", "\u{b}: chunked", "\u{0}: chunked",
    ":\r\n chunked", ": chunked\r\n ", ": chun\r\n\tked", ": chunked\r\nTransfer-Encoding: chunked", ": chunked\r\nTransfer-Encoding: identity",
    ": identity\r\nTransfer-Encoding: chunked", ": chunked\r\ntransfer-encoding: x", ": chunked\rX: y", "\r\n: chunked", "= chunked", "; chunked",
];

#[rustfmt::skip]
const ENCODING_ALIASES: &[&str] = &[
    "Transfer_Encoding", "Transfer.Encoding", "Transfer--Encoding", "transfer-encoding-", "_Transfer-Encoding", "Transfer~Encoding",
    "Transfer'Encoding",
];

fn encodings(corpus: &mut Corpus) {
    for field in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding:chunked",
        "transfer-encoding: CHUNKED",
        "TRANSFER-ENCODING: Chunked",
    ] {
        let bytes = [&head("POST /coded HTTP/1.1", format!("{field}\r\n")), CHUNKED].concat();
        corpus.passes(field, bytes, ("POST", "/coded"), b"abc");
    }
    // KELVIN SIGN is a `k` to readers that fold Unicode.
    for value in ODD_ENCODINGS.iter().copied().chain([": chun\u{212a}ed"]) {
        for length in ["", "Content-Length: 3\r\n"] {
            for method in ["POST", "GET"] {
                let fields = format!("{length}Transfer-Encoding{value}\r\n");
                let bytes = [&head(&format!("{method} /coded HTTP/1.1"), fields), CHUNKED].concat();
                corpus.refused(format!("{method} {length:?} Transfer-Encoding{value:?}"), bytes);
            }
        }
    }
    for name in ENCODING_ALIASES {
        let bytes = [
            &head(
                "POST /coded HTTP/1.1",
                format!("Content-Length: 3\r\n{name}: chunked\r\n"),
            ),
            CHUNKED,
        ]
        .concat();
        corpus.refused(*name, bytes);
    }
}

fn both_framings(corpus: &mut Corpus) {
    let (length, coding) = ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n");
    for (at, fields) in [
        format!("{length}{coding}"),
        format!("{coding}{length}"),
        format!("{coding}Content-Length: 0\r\n"),
        format!("{length}X: y\r\ntransfer-encoding: chunked\r\n"),
        format!("Connection: Content-Length\r\n{length}{coding}"),
        format!("Connection: Transfer-Encoding\r\n{length}{coding}"),
    ]
    .into_iter()
    .enumerate()
    {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let bytes = [&head(&format!("{method} /both HTTP/1.1"), &fields), CHUNKED].concat();
            corpus.refused(format!("{method} with both framings {at}"), bytes);
        }
    }
}

fn chunked(body: impl AsRef<[u8]>) -> Vec<u8> {
    [
        &head("POST /chunks HTTP/1.1", "Transfer-Encoding: chunked\r\n"),
        body.as_ref(),
    ]
    .concat()
}

#[rustfmt::skip]
const CHUNKS: &[(&str, &str)] = &[
    ("3\r\nabc\r\n0\r\n\r\n", "abc"), ("003\r\nabc\r\n000\r\n\r\n", "abc"), ("000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
    ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"), ("3;a=b\r\nabc\r\n0\r\n\r\n", "abc"),
    ("3;a=\"b;c\"\r\nabc\r\n0;last\r\n\r\n", "abc"), ("3; \t a = b\r\nabc\r\n0\r\n\r\n", "abc"), ("3;;;;\r\nabc\r\n0\r\n\r\n", "abc"),
    ("3;\r\nabc\r\n0\r\n\r\n", "abc"), ("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc"), ("7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE"),
    ("0\r\n\r\n", ""),
];

fn chunks(corpus: &mut Corpus) {
    for (body, read) in CHUNKS {
        corpus.passes(
            format!("chunks {body:?}"),
            chunked(body),
            ("POST", "/chunks"),
            read.as_bytes(),
        );
    }
    // Whoever reads an extension to its first LF, or none at all, sees other chunks.
    for extension in [
        "x".repeat(4_000),
        "a=\"".to_owned(),
        "a='0\\r\\n\\r\\nGET /smuggled'".to_owned(),
    ] {
        let body = format!("3;{extension}\r\nabc\r\n0\r\n\r\n");
        corpus.passes(
            format!("an extension of {} bytes", extension.len()),
            chunked(body),
            ("POST", "/chunks"),
            b"abc",
        );
    }
    let inside = whole_hidden();
    let body = [b"@HEX@\r\n", &inside[..], b"\r\n0\r\n\r\n"].concat();
    corpus.passes("a chunk that is a request", chunked(body), ("POST", "/chunks"), &inside);
    let ones: String = (0..500).map(|_| "1\r\na\r\n").collect();
    corpus.passes(
        "five hundred chunks",
        chunked(format!("{ones}0\r\n\r\n")),
        ("POST", "/chunks"),
        &[b'a'; 500],
    );
}

#[rustfmt::skip]
const BROKEN_CHUNKS: &[&[u8]] = &[
    b"3 \r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n", b"3\t\r\nabc\r\n0\r\n\r\n", b"3 ;a\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n", b"3h\r\nabc\r\n0\r\n\r\n", b"3.\r\nabc\r\n0\r\n\r\n", b"3,\r\nabc\r\n0\r\n\r\n",
    b"3_0\r\nabc\r\n0\r\n\r\n", b"g\r\nabc\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n", b";a\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n",
    b"3\rabc\r\n0\r\n\r\n", b"3\r\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabc\r0\r\n\r\n", b"3\r\nabc0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nab\r\n0\r\n\r\n", b"3\r\nabc\r\n\r\n0\r\n\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    b"3;\x00\r\nabc\r\n0\r\n\r\n", b"3;\x7f\r\nabc\r\n0\r\n\r\n", b"3;\xff\r\nabc\r\n0\r\n\r\n", b"3\x00\r\nabc\r\n0\r\n\r\n",
    b"10000000000000003\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", b"0000000000000003\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\n\r\n", b"3\r\nabc\r\n0\r\n\n", b"3\r\nabc\r\n0\r\n\r", b"3\r\nabc\r\n0 \r\n\r\n", b"3\r\nabc\r\n-0\r\n\r\n",
    b"3\r\nabc\r\n0x0\r\n\r\n", b"\xef\xbb\xbf3\r\nabc\r\n0\r\n\r\n", b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
];

fn broken_chunks(corpus: &mut Corpus) {
    for body in BROKEN_CHUNKS {
        corpus.broken(format!("chunks {:?}", String::from_utf8_lossy(body)), chunked(body));
    }
    corpus.broken(
        "an extension too long",
        chunked(format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(9_000))),
    );
    corpus.push("chunks without an end", chunked("3\r\nabc\r\n"), Expect::Broken);
    corpus.push("a chunk without its data", chunked("ffff\r\nabc"), Expect::Broken);
}

#[rustfmt::skip]
const TRAILERS: &[&str] = &[
    "X-Gatescribe-Assertion: forged", "x-gatescribe_assertion: forged", "X-Remote-User: forged", "X_Remote_User: forged", "Audit-Id: forged",
    "Authorization: forged", "Content-Length: 999", "Transfer-Encoding: chunked", "Host: forged.example", "X-Forwarded-For: forged",
    "Connection: close", "Cookie: a=forged", "X-Plain: one",
];

#[rustfmt::skip]
const BROKEN_TRAILERS: &[&str] = &[
    "X : y", " X: y", "X: y\r\n z", "X", ": y", "X: y\nZ: z", "X: y\rZ: z", "X\u{0}: y", "X: \u{0}", "GET /smuggled HTTP/1.1",
];

fn trailers(corpus: &mut Corpus) {
    for field in TRAILERS {
        for announced in [
            "",
            "Trailer: X-Remote-User, X-Plain\r\n",
            "TE: trailers\r\nConnection: TE\r\n",
        ] {
            let bytes = head(
                "POST /trailers HTTP/1.1",
                format!("{announced}Transfer-Encoding: chunked\r\n"),
            );
            let bytes = [&bytes, format!("3\r\nabc\r\n0\r\n{field}\r\n\r\n").as_bytes()].concat();
            corpus.passes(
                format!("trailer {field} {announced:?}"),
                bytes,
                ("POST", "/trailers"),
                b"abc",
            );
        }
    }
    for odd in BROKEN_TRAILERS {
        corpus.broken(
            format!("trailer {odd:?}"),
            chunked(format!("3\r\nabc\r\n0\r\n{odd}\r\n\r\n")),
        );
    }
    corpus.broken(
        "trailers too long",
        chunked(format!("0\r\nX: {}\r\n\r\n", "y".repeat(9_000))),
    );
}
