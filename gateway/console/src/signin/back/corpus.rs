//! Values that are to lead a browser away: our own, made of the pieces that the URL standard takes a URL apart into.
//!
//! A URL is scheme, slashes, user, host, rest (WHATWG URL §4.4, "basic URL parser"). The program below puts a piece of each kind
//! behind one another. Of each kind there is: nothing; what the standard says; what its parser forgives (a backslash for a
//! slash, one slash or three for two, tab and line feed that it drops, upper case); what stands for it in another writing
//! (percent escapes once and twice, full-width and other look-alikes); what other schemes do. What that grammar cannot say
//! stands in `BY_HAND`, with the reason.

/// The state machine of the parser is entered by one of these, or, without any, by what stands behind.
const SCHEMES: &[&str] = &[
    "",
    "https:",
    "http:",
    "HtTpS:",
    "h\tttps:",
    "https%3a",
    "https\u{ff1a}",
    "javascript:",
    "data:",
    "blob:https:",
    "view-source:https:",
    "ws:",
];

const SLASHES: &[&str] = &[
    "",
    "/",
    "//",
    "///",
    "////",
    "\\",
    "\\\\",
    "/\\",
    "\\/",
    "/\t/",
    "/\n/",
    "/\r/",
    "\t//",
    " //",
    "/%09/",
    "/%0a/",
    "/%0d%0a/",
    "/%5c",
    "/%2f",
    "/%252f",
    "%2f%2f",
    "/\u{ff0f}",
    "\u{ff0f}\u{ff0f}",
    "\u{2215}\u{2215}",
    "/.//",
    "/..//",
    "/%2e%2e//",
    "/%2e//",
    "/a/..//",
    "/;//",
    "/;/../",
    "//@/",
    "/\0/",
    "/%00/",
    "/\u{200b}/",
    "/\u{feff}/",
    "\u{feff}//",
];

const USERS: &[&str] = &[
    "",
    "gate.example.com@",
    "grafana.example.com:8443@",
    "gate.example.com%40",
    "gate.example.com\\@",
    "gate.example.com\u{ff20}",
];

const HOSTS: &[&str] = &[
    "evil.test",
    "EVIL.test",
    "evil.test.",
    "evil%2etest",
    "evil\u{3002}test",
    "\u{ff45}vil.test",
    "gate.example.com.evil.test",
    "grafana.example.com.evil.test",
    "grafana.example.com.",
    "Grafana.Example.com",
    "evil-grafana.example.com",
    "gr\u{430}fana.example.com",
    "xn--grfana-4ve.example.com",
    "grafana.example.com:8444",
    "grafana.example.com:",
    "127.0.0.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[fe80::1%25eth0]",
    "localhost",
    "",
];

const RESTS: &[&str] = &[
    "",
    "/",
    "/x",
    "?x",
    "#x",
    "/..",
    "/%2e%2e",
    "%00",
    "\0",
    "\r\nSet-Cookie: a=b",
    "\u{85}",
    " ",
    "\\",
    ":443/",
    "/#@evil.test",
];

/// What the grammar has no place for.
const BY_HAND: &[&str] = &[
    // Told apart from an address of ours only by what stands in front of a dot, a port or a user.
    ".evil.test",
    ".evil.test/",
    "-evil.test",
    ":443@evil.test/",
    ":@evil.test",
    "@evil.test",
    "@evil.test/x",
    "%40evil.test",
    ":8443.evil.test",
    ":80",
    ":0",
    "%2eevil.test",
    "\u{3002}evil.test",
    "0",
    "0.evil.test",
    "%00.evil.test",
    // Relative references, which another page than the one we think of would resolve.
    "x",
    "x/y",
    "./x",
    "../x",
    "..//evil.test",
    "./\\evil.test",
    "?next=//evil.test",
    "#//evil.test",
    "",
    // Scripts and documents within the value, with what a browser drops within the scheme's name.
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\u{1}javascript:alert(1)",
    "javascript://gate.example.com/%0aalert(1)",
    "javascript://%0aalert(1)//gate.example.com",
    "javascript%3aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "vbscript:x",
    "file:///etc/passwd",
    "about:blank",
    "mailto:a@evil.test",
    "tel:1",
    "intent://evil.test#Intent;scheme=https;end",
    "jar:https://evil.test!/x",
    "filesystem:https://evil.test/x",
    "android-app://evil.test",
    "feed:https://evil.test",
    // A second answer in the header line (response splitting), in bytes and in escapes, also of wider characters that a
    // careless writer cuts to their last byte.
    "/\r\nLocation: https://evil.test",
    "/\nLocation: //evil.test",
    "/\rLocation: x",
    "/%0d%0aLocation:%20https://evil.test",
    "/%0aLocation:x",
    "/\u{560a}Location:x",
    "/\u{560d}\u{560a}Location:x",
    "/%e5%98%8a%e5%98%8dLocation:x",
    "/\u{2028}x",
    "/\u{2029}x",
    "/x\r\n\r\n<script>alert(1)</script>",
    "/\u{b}x",
    "/\u{c}x",
    "/\u{7f}x",
    "/\u{a0}x",
    "/\u{1f}//evil.test",
    // Slashes in other writings: overlong UTF-8, half of an escape, escapes in units of 16 bits, entities, other alphabets.
    "/%c0%afevil.test",
    "/%e0%80%afevil.test",
    "/%c0%ae%c0%ae/evil.test",
    "/%u002fevil.test",
    "/%",
    "/%2",
    "/%zz",
    "/&#47;evil.test",
    "/&sol;evil.test",
    "/\u{2044}evil.test",
    "/\u{29f8}evil.test",
    "/\u{29f5}evil.test",
    "/\u{ff3c}evil.test",
    "/\u{fe68}evil.test",
    "/%ef%bc%8fevil.test",
    "/%ef%bc%bcevil.test",
    "/%e2%81%84evil.test",
    "/%e2%88%95evil.test",
    // Dots that climb to an empty segment, after which what follows begins with two slashes.
    "/.",
    "/..",
    "/../",
    "/./",
    "/../evil.test",
    "/x/../..//evil.test",
    "/x/.././/evil.test",
    "/%2e%2e/%2e%2e//evil.test",
    "/.%2e//evil.test",
    "/%2e.//evil.test",
    "/%252e%252e//evil.test",
    "/x/%2e%2e%2fevil.test",
    "/..%5cevil.test",
    "/..\\evil.test",
    "/%2e%09%2e//evil.test",
    "/.\t.//evil.test",
    "/.\n/\n/evil.test",
    "/\u{ff0e}\u{ff0e}//evil.test",
    "/\u{2024}\u{2024}//evil.test",
    // Two values where one is meant, and addresses that name themselves good.
    "https://gate.example.com:8443/",
    "https://gate.example.com:8443/https://evil.test",
    "//gate.example.com:8443/x",
    "https://gate.example.com",
    "https://gate.example.com@evil.test",
    "https://gate.example.com\\.evil.test",
    "https:///evil.test",
    "https:evil.test",
    "https:/evil.test",
    "https:\\evil.test",
    "https:gate.example.com",
    "https://evil.test?gate.example.com",
    "https://evil.test#gate.example.com",
    "https://evil.test\\gate.example.com",
    "https://[gate.example.com]@evil.test/",
    "https://gate.example.com,evil.test/",
    "https://gate.example.com;evil.test/",
    "https://gate.example.com evil.test/",
    "https://gate.example.com\u{2100}.evil.test",
    "https://gate.example.com\u{fe6b}evil.test",
    "https://gate.example.com\u{fe6a}40evil.test",
    "https://gate.exampl\u{212e}.com",
    "https://gate.example.\u{2105}m",
    "https://gate\u{ad}.example.com",
    "https://gate.example.com\u{2024}evil.test",
    "null",
    "undefined",
    "*",
    "\"//evil.test\"",
    "'//evil.test'",
    "<//evil.test>",
    "`//evil.test`",
    "|//evil.test",
];

/// All of them, each once: every scheme with all slashes and hosts, and users and rests in turn, so that each stands with each
/// kind often.
pub(super) fn corpus() -> Vec<String> {
    let mut all: Vec<String> = BY_HAND.iter().map(|text| (*text).to_owned()).collect();
    let (mut users, mut rests) = (USERS.iter().cycle(), RESTS.iter().cycle());
    for scheme in SCHEMES {
        for slashes in SLASHES {
            for host in HOSTS {
                let (Some(user), Some(rest)) = (users.next(), rests.next()) else {
                    continue;
                };
                all.push(format!("{scheme}{slashes}{user}{host}{rest}"));
            }
            // 24 hosts are four rounds of the users: one step more, so that the next round pairs them otherwise.
            users.next();
        }
    }
    all.sort();
    all.dedup();
    all
}
