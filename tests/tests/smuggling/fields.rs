//! Lines, names, values and hosts.

use super::corpus::{Corpus, FORGED, WHO, head};

/// Adds them.
pub(super) fn add(corpus: &mut Corpus) {
    line_ends(corpus);
    names(corpus);
    values(corpus);
    identities(corpus);
    claims(corpus);
    nominations(corpus);
    hosts(corpus);
}

fn line_ends(corpus: &mut Corpus) {
    let sound = format!("GET /lines HTTP/1.1\r\n{WHO}X: y\r\n\r\n");
    for (name, odd) in [
        ("LF behind the request line", sound.replacen("\r\n", "\n", 1)),
        ("LF behind a field", sound.replacen("X: y\r\n", "X: y\n", 1)),
        ("LF at the end", sound.replacen("X: y\r\n\r\n", "X: y\r\n\n", 1)),
        ("LF LF at the end", sound.replacen("X: y\r\n\r\n", "X: y\n\n", 1)),
        ("LF everywhere", sound.replace("\r\n", "\n")),
        ("CR behind the request line", sound.replacen("\r\n", "\r", 1)),
        ("CR within a value", sound.replacen("X: y", "X: y\rZ: z", 1)),
        ("CR CR LF", sound.replacen("X: y\r\n", "X: y\r\r\n", 1)),
        ("CR within a name", sound.replacen("X: y", "X\rZ: y", 1)),
        ("LF CR", sound.replacen("X: y\r\n", "X: y\n\r", 1)),
        ("CR at the beginning of a line", sound.replacen("X: y", "\rX: y", 1)),
        ("an empty line before", format!("\r\n{sound}")),
        ("two empty lines before", format!("\r\n\r\n{sound}")),
        ("LF before", format!("\n{sound}")),
        ("CR before", format!("\r{sound}")),
        ("a space before", format!(" {sound}")),
        ("a NUL before", format!("\0{sound}")),
        ("a byte order mark before", format!("\u{feff}{sound}")),
        ("a chunk's end before", format!("0\r\n\r\n{sound}")),
        ("VT as a space", sound.replacen("GET ", "GET\u{b}", 1)),
        (
            "a next line of Unicode",
            sound.replacen("GET /lines", "GET /lines\u{85}", 1),
        ),
        ("folding", sound.replacen("X: y\r\n", "X: y\r\n z\r\n", 1)),
        ("folding by a tab", sound.replacen("X: y\r\n", "X: y\r\n\tz\r\n", 1)),
        ("folding of nothing", sound.replacen("X: y\r\n", "X: y\r\n \r\n", 1)),
        (
            "a folded first field",
            sound.replacen("HTTP/1.1\r\n", "HTTP/1.1\r\n ", 1),
        ),
        ("a folded host", sound.replacen("Host: @HOST@", "Host:\r\n @HOST@", 1)),
        (
            "a folded credential",
            sound.replacen("Authorization: ", "Authorization:\r\n ", 1),
        ),
    ] {
        corpus.refused(name, odd.into_bytes());
    }
}

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "X-Plain", "x-plain", "X!#$%&'*+.^`|~9", "X", "Accept", "X-Scheme", "User-Agent",
];

#[rustfmt::skip]
const ODD_NAMES: &[&[u8]] = &[
    b"X : y", b"X\t: y", b"X\x0b: y", b"X\x00: y", b": y", b"X y: z", b"X", b"X(y): z", b"X/y: z", b"X@y: z", b"X=y: z", b"X,y: z", b"X;y: z",
    b"\"X\": y", b"X\xff: y", b"X\xc3\xa4: y", b"X[0]: y", b"{X}: y", b"X\\y: z", b"X\x7f: y", b"?: y", b"<X>: y", b"X-Remote-User : forged",
    b"X-Remote-User\t: forged", b"X-Remote-User\xa0: forged", b"Authorization : Bearer x",
];

fn names(corpus: &mut Corpus) {
    for name in NAMES {
        corpus.passes(
            format!("name {name}"),
            head("GET /names HTTP/1.1", format!("{name}: one\r\n")),
            ("GET", "/names"),
            b"",
        );
    }
    for name in ODD_NAMES {
        let fields = [*name, b"\r\n"].concat();
        corpus.refused(
            format!("name {:?}", String::from_utf8_lossy(name)),
            head("GET /names HTTP/1.1", fields),
        );
    }
}

#[rustfmt::skip]
const VALUES: &[&[u8]] = &[
    b"", b" ", b"\t", b"a\tb", b"\xff\xfe", b"\xc3\xa4", b"a: b", b"\"", b"%0d%0aX-Y: z", b"a,b;c=d", b"=?utf-8?q?=0d=0aX?=",
];

fn values(corpus: &mut Corpus) {
    for value in VALUES {
        let fields = [b"X-Value: ", *value, b"\r\n"].concat();
        corpus.passes(
            format!("value {:?}", String::from_utf8_lossy(value)),
            head("GET /values HTTP/1.1", fields),
            ("GET", "/values"),
            b"",
        );
    }
    for byte in (0..0x20_u8)
        .filter(|byte| !matches!(byte, b'\t' | b'\n' | b'\r'))
        .chain([0x7f])
    {
        let fields = [b"X-Value: a", &[byte][..], b"b\r\n"].concat();
        corpus.refused(
            format!("a value with {byte:#04x}"),
            head("GET /values HTTP/1.1", fields),
        );
    }
}

#[rustfmt::skip]
const MANAGED: &[&str] = &[
    "Impersonate-User", "Impersonate-Group", "Impersonate-Extra-Scopes", "Impersonate", "X-Remote-User", "X-Remote-Groups", "X-Remote-Email",
    "X-Forwarded-User", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Email", "X-Original-Url",
    "X-Original-Method", "X-Envoy-Original-Path", "X-Envoy-External-Address", "X-Gatescribe-User", "X-Gatescribe-Ingress-Secret",
    "X-Auth-Request-User", "X-Auth-Request-Email", "X-Ssl-Client-Cert", "X-Ssl-Client-Verify", "Proxy-Authorization", "Proxy-Connection",
];

/// Each managed name in spellings that some server takes for it, all in one head, and the plain one by itself.
fn identities(corpus: &mut Corpus) {
    let prefixed = MANAGED.iter().copied();
    // What frames or authenticates has cases of its own.
    let named = model::header::MANAGED_NAMES
        .into_iter()
        .filter(|name| *name != "authorization");
    for name in prefixed.into_iter().map(str::to_owned).chain(named.map(str::to_owned)) {
        let plain = head("GET /who HTTP/1.1", format!("{name}: {FORGED}\r\n"));
        corpus.passes(format!("plain {name}"), plain, ("GET", "/who"), b"");
        let fields: String = spellings(&name)
            .iter()
            .map(|name| format!("{name}: {FORGED}\r\n"))
            .collect();
        corpus.passes(
            format!("spellings of {name}"),
            head("GET /who HTTP/1.1", fields),
            ("GET", "/who"),
            b"",
        );
        let twice = format!("{name}: {FORGED}\r\n{}: {FORGED}\r\n", name.to_ascii_uppercase());
        corpus.passes(
            format!("twice {name}"),
            head("POST /who HTTP/1.1", format!("{twice}Content-Length: 0\r\n")),
            ("POST", "/who"),
            b"",
        );
    }
}

/// What says who calls, spelt otherwise, and said by the client itself.
fn claims(corpus: &mut Corpus) {
    let odd: String = spellings("X-Gatescribe-Assertion")
        .iter()
        .filter(|name| !name.eq_ignore_ascii_case("x-gatescribe-assertion"))
        .map(|name| format!("{name}: {FORGED}\r\n"))
        .collect();
    corpus.passes(
        "spellings of the assertion",
        head("GET /who HTTP/1.1", odd),
        ("GET", "/who"),
        b"",
    );
    let odd: String = spellings("Authorization")
        .iter()
        .filter(|name| !name.eq_ignore_ascii_case("authorization"))
        .map(|name| format!("{name}: {FORGED}\r\n"))
        .collect();
    corpus.passes(
        "spellings of the credential",
        head("GET /who HTTP/1.1", odd),
        ("GET", "/who"),
        b"",
    );
    for name in [
        "X-Gatescribe-Assertion",
        "x-gatescribe-assertion",
        "X-GATESCRIBE-ASSERTION",
    ] {
        corpus.declined(
            format!("an assertion of the client's, {name}"),
            head("GET /who HTTP/1.1", format!("{name}: {FORGED}\r\n")),
        );
    }
    for second in [
        "Authorization: Bearer @ALICE@",
        "authorization: Bearer forged",
        "Authorization: Basic Zm9yZ2VkOmZvcmdlZA==",
        "Authorization:",
    ] {
        corpus.declined(
            format!("a second credential, {second}"),
            head("GET /who HTTP/1.1", format!("{second}\r\n")),
        );
    }
    let cookies = "Cookie: a=b; __Host-gatescribe-session=forged; c=d\r\nCookie: __Secure-gatescribe-x=forged\r\n";
    corpus.passes(
        "cookies of our names",
        head("GET /who HTTP/1.1", cookies),
        ("GET", "/who"),
        b"",
    );
}

/// As it is, in other cases, and with whatever some server takes for a dash.
fn spellings(name: &str) -> Vec<String> {
    let odd = |dash: &str| name.replace('-', dash);
    let every_second = name.chars().enumerate().map(|(at, letter)| match at % 2 {
        0 => letter.to_ascii_lowercase(),
        _ => letter.to_ascii_uppercase(),
    });
    let mut all = vec![
        name.to_ascii_lowercase(),
        name.to_ascii_uppercase(),
        every_second.collect(),
        format!("{name}-"),
        format!("{name}_"),
        format!("_{name}"),
        format!("-{name}"),
        format!("{name}."),
        format!("HTTP_{}", odd("_")),
    ];
    if name.contains('-') {
        let dashes = ["_", ".", "--", "-_", "__", "~", "+", "!", "'"];
        all.extend(dashes.map(odd));
        all.push(name.replacen('-', "_", 1));
    }
    // `HTTP_X_Y` is a name of its own to all but who counts its environment among the fields; it goes with every `_`.
    all
}

#[rustfmt::skip]
const NOMINATIONS: &[&str] = &[
    "X-Gatescribe-Assertion", "x-gatescribe-assertion, X-Remote-User", "Audit-Id", "X-Remote-User, X-Remote-Groups", "Host", "Content-Length",
    "Content-Type", "Transfer-Encoding", "Authorization", "Cookie", "close, X-Gatescribe-Assertion", "keep-alive, Audit-Id", "X-Forwarded-For",
    "Forwarded", "TE", "Upgrade", ",,,", "", "X-Gatescribe-Assertion;", "\"X-Gatescribe-Assertion\"", "x gatescribe", "*",
];

fn nominations(corpus: &mut Corpus) {
    let many: Vec<String> = (0..80).map(|number| format!("x-n{number}")).collect();
    for value in NOMINATIONS
        .iter()
        .copied()
        .map(str::to_owned)
        .chain([format!("{}, X-Gatescribe-Assertion, Audit-Id", many.join(","))])
    {
        let bytes = [
            head(
                "POST /nominated HTTP/1.1",
                format!("Connection: {value}\r\nContent-Length: 3\r\n"),
            ),
            b"abc".to_vec(),
        ]
        .concat();
        let name: String = value.chars().take(60).collect();
        corpus.passes(format!("Connection: {name}"), bytes, ("POST", "/nominated"), b"abc");
    }
    let lines =
        "Connection: X-Gatescribe-Assertion\r\nConnection: keep-alive\r\nConnection: X-Remote-User, Audit-Id\r\n";
    corpus.passes(
        "three lines Connection",
        head("GET /nominated HTTP/1.1", lines),
        ("GET", "/nominated"),
        b"",
    );
    for name in ["Connection_", "Connection-", "_Connection", "Connection."] {
        corpus.refused(
            name,
            head("GET /nominated HTTP/1.1", format!("{name}: X-Gatescribe-Assertion\r\n")),
        );
    }
}

#[rustfmt::skip]
const ODD_HOSTS: &[(&str, &str)] = &[
    ("GET /host HTTP/1.1", ""), ("GET /host HTTP/1.1", "Host:\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@\r\nHost: @HOST@\r\n"),
    ("GET /host HTTP/1.1", "Host: @HOST@\r\nHost: @OTHER@\r\n"), ("GET /host HTTP/1.1", "Host: @OTHER@\r\nhost: @HOST@\r\n"),
    ("GET /host HTTP/1.1", "Host: @HOST@, @OTHER@\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@ @OTHER@\r\n"),
    ("GET /host HTTP/1.1", "Host: user@@HOST@\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@/x\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@?x\r\n"),
    ("GET /host HTTP/1.1", "Host: @HOST@#@OTHER@\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@:1\r\n"),
    ("GET /host HTTP/1.1", "Host: @HOST@\\@OTHER@\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@\u{a0}\r\n"),
    ("GET /host HTTP/1.1", "Host: https://@HOST@\r\n"), ("GET /host HTTP/1.1", "Host: [::1]x\r\n"), ("GET /host HTTP/1.1", "Host: %40HOST\r\n"),
    ("GET /host HTTP/1.1", "Host : @HOST@\r\n"), ("GET /host HTTP/1.1", "Host: @HOST@\r\nHost_: @OTHER@\r\n"),
    ("GET /host HTTP/1.1", "Host: @HOST@\r\n_host: @OTHER@\r\n"), ("GET /host HTTP/1.1", "H\u{f6}st: @HOST@\r\n"),
    ("GET https://@OTHER@/host HTTP/1.1", "Host: @HOST@\r\n"), ("GET https://@HOST@/host HTTP/1.1", "Host: @OTHER@\r\n"),
    ("GET https://@HOST@/host HTTP/1.1", ""), ("GET http://@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"),
    ("GET https://@HOST@ HTTP/1.1", "Host: @HOST@\r\n"), ("GET https://@HOST@?x HTTP/1.1", "Host: @HOST@\r\n"),
    ("GET https://user@@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"), ("GET https:///host HTTP/1.1", "Host: @HOST@\r\n"),
    ("GET https:/@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"), ("GET @HOST@/host HTTP/1.1", "Host: @HOST@\r\n"),
    ("GET host HTTP/1.1", "Host: @HOST@\r\n"), ("GET ?host HTTP/1.1", "Host: @HOST@\r\n"), ("GET * HTTP/1.1", "Host: @HOST@\r\n"),
    ("CONNECT @OTHER@ HTTP/1.1", "Host: @OTHER@\r\n"), ("CONNECT /host HTTP/1.1", "Host: @HOST@\r\n"), ("GET unix:/x HTTP/1.1", "Host: @HOST@\r\n"),
    ("GET ftp://@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"),
];

fn hosts(corpus: &mut Corpus) {
    let with = |line: &str, host: &str| format!("{line}\r\n{host}Authorization: Bearer @ALICE@\r\n\r\n").into_bytes();
    for (line, host) in [
        ("GET /host HTTP/1.1", "HOST: @HOST@\r\n"),
        ("GET https://@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"),
        ("GET HTTPS://@HOST@/host HTTP/1.1", "Host: @HOST@\r\n"),
    ] {
        corpus.passes(format!("{line} {host:?}"), with(line, host), ("GET", "/host"), b"");
    }
    for (line, host) in ODD_HOSTS {
        corpus.refused(format!("{line} {host:?}"), with(line, host));
    }
    for field in [
        "X-Forwarded-Host: forged.example",
        "X-Host: other.example",
        "Forwarded: host=forged",
        "X-Original-Host: forged",
        "X-Http-Host-Override: other",
    ] {
        corpus.passes(
            field,
            head("GET /host HTTP/1.1", format!("{field}\r\n")),
            ("GET", "/host"),
            b"",
        );
    }
}
