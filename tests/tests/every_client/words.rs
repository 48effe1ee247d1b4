//! What two honest runs of one command may differ in, and why. Everything else has to be the same.

use std::sync::LazyLock;

use regex::Regex;

/// A pattern, and what stands in its place on both sides.
static MAY_DIFFER: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        // A port that the system gave to a listener of the client's own (port-forward, kubectl proxy), or the caller's own
        // port as the API server passes it on.
        (r"127\.0\.0\.1:\d+", "127.0.0.1:…"),
        (r"Handling connection for \d+", "Handling connection for …"),
        (r"forwarding \d+ -> ", "forwarding … -> "),
        // The moment and the process of a line in a client's own log.
        (r"(?m)^E\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ", "E… "),
        // kubectl numbers its runs, and a sample service shows what it was sent.
        (r"Kubectl-Session: [0-9a-f-]{36}", "Kubectl-Session: …"),
        // A backend behind the API server's proxy sees one more address on the way, and the id that the gate gave the call.
        (r"X-Forwarded-For: 127\.0\.0\.1(, 127\.0\.0\.1)?", "X-Forwarded-For: …"),
        (r"(?m)^Audit-Id: [0-9a-f-]{36}\r\n", ""),
        // The moment at which a sample service answered.
        (r"(?m)^Date: [^\r\n]*", "Date: …"),
        // Helm's own moments.
        (r"LAST DEPLOYED: .*", "LAST DEPLOYED: …"),
        (
            r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}",
            "(time)",
        ),
        (
            r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4} UTC|Z)?",
            "(time)",
        ),
    ];
    let compiled = patterns.map(|(pattern, instead)| (Regex::new(pattern).expect("a pattern"), instead));
    compiled.into()
});

/// The text as it is compared. `tag` is in the names that the row gave to what is its own: pods, files, containers.
pub(crate) fn comparable(text: &str, tag: &str) -> String {
    let mut text = text.replace(tag, "(own)");
    for (pattern, instead) in MAY_DIFFER.iter() {
        text = pattern.replace_all(&text, *instead).into_owned();
    }
    text
}

#[test]
fn ports_times_and_own_names_are_not_compared_and_the_rest_is() {
    for (one, other) in [
        (
            "Forwarding from 127.0.0.1:4711 -> 80",
            "Forwarding from 127.0.0.1:9 -> 80",
        ),
        (
            "E1122 12:34:56.123456   77 portforward.go:424] error forwarding port 1",
            "E1123 02:04:06.000000 4711 portforward.go:424] error forwarding port 1",
        ),
        (
            "web\tns\t1\t2031-01-05 10:00:00.123 +0000 UTC\tdeployed",
            "web\tns\t1\t2032-02-06 11:00:00.9 +0000 UTC\tdeployed",
        ),
    ] {
        assert_eq!(comparable(one, "a-b"), comparable(other, "a-b"));
    }
    for (one, other) in [
        ("-> 80", "-> 81"),
        ("127.0.0.1:1", "127.0.0.2:1"),
        (
            "an error occurred forwarding 9 -> 1",
            "an error occurred forwarding 9 -> 2",
        ),
        ("exit code 3", "exit code 4"),
    ] {
        assert_ne!(comparable(one, "a-b"), comparable(other, "a-b"));
    }
}
