//! Request targets as clients send them, as attackers would, and everything between.

use super::random::Random;

/// A method and a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedTarget {
    /// The HTTP method.
    pub method: String,
    /// The target in origin form.
    pub target: String,
    /// Nothing in it is hazardous: a gateway that refuses it refuses a valid client.
    pub clean: bool,
}

const METHODS: [&str; 16] = [
    "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS", "get",
    "WATCH", "PROXY",
];
const GROUPS: [&str; 5] = ["apps", "batch", "rbac.authorization.k8s.io", "example.test", "watch"];
const VERSIONS: [&str; 4] = ["v1", "v1beta1", "v2", "watch"];
const RESOURCES: [&str; 14] = [
    "pods",
    "secrets",
    "services",
    "nodes",
    "namespaces",
    "deployments",
    "serviceaccounts",
    "widgets",
    "events",
    "proxy",
    "watch",
    "status",
    "clusterroles",
    "bindings",
];
const NAMES: [&str; 12] = [
    "x",
    "web-0",
    "kube-system",
    "status",
    "finalize",
    "system:admin",
    "http:svc:80",
    "proxy",
    "watch",
    "a.b.c",
    "namespaces",
    "exec",
];
const SUBRESOURCES: [&str; 12] = [
    "exec",
    "log",
    "status",
    "scale",
    "proxy",
    "attach",
    "portforward",
    "token",
    "finalize",
    "ephemeralcontainers",
    "eviction",
    "binding",
];
const OTHERS: [&str; 18] = [
    "",
    "/",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/version",
    "/openapi/v3",
    "/openapi/v3/apis/apps/v1",
    "/healthz",
    "/livez/etcd/x",
    "/debug/pprof/profile",
    "/debug/pprof",
    "/metrics",
    "/API/v1/secrets",
];
const TAILS: [&str; 8] = ["", "/", "/a/b", "//a", "/../x", "/%2e%2e/y", "/%2F%00", "/http://h/?x"];
const HAZARDS: [&str; 14] = [
    "//", "/./", "/../", "%2F", "%2f", "%5c", "%00", "%2e%2e", "%252e", "%zz", "%", "\\", "%ff", "%3b",
];

/// One target.
pub fn target(random: &mut Random) -> GeneratedTarget {
    let mut clean = true;
    let mut target = match random.below(20) {
        0..=12 => resource_path(random),
        13..=17 => any_segments(random),
        _ => random.pick(&OTHERS).to_owned(),
    };
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    if random.percent(8) && !target.ends_with('/') {
        target.push('/');
    }
    if random.percent(20) {
        target = escape_some(random, &target);
    }
    if random.percent(6) {
        clean = false;
        let at = random.below(target.len()) + 1;
        target.insert_str(at.min(target.len()), random.pick(&HAZARDS));
    }
    if random.percent(12) && target.contains("/proxy") {
        target.push_str(random.pick(&TAILS));
        clean = false;
    }
    if random.percent(60) {
        target.push('?');
        clean &= query(random, &mut target);
    }
    GeneratedTarget {
        method: random.pick(&METHODS).to_owned(),
        target,
        clean,
    }
}

fn resource_path(random: &mut Random) -> String {
    let mut path = if random.percent(60) {
        format!("/api/{}", random.pick(&VERSIONS))
    } else {
        format!("/apis/{}/{}", random.pick(&GROUPS), random.pick(&VERSIONS))
    };
    if random.percent(10) {
        path.push_str(random.pick(&["/watch", "/proxy"]));
    }
    if random.percent(50) {
        path.push_str("/namespaces/");
        path.push_str(random.pick(&NAMES));
    }
    let depth = random.below(6);
    for (at, from) in [&RESOURCES[..], &NAMES, &SUBRESOURCES, &NAMES, &SUBRESOURCES]
        .into_iter()
        .enumerate()
    {
        if at < depth {
            path.push('/');
            path.push_str(random.pick(from));
        }
    }
    path
}

fn any_segments(random: &mut Random) -> String {
    const ALL: [&str; 14] = [
        "api",
        "apis",
        "v1",
        "watch",
        "proxy",
        "namespaces",
        "pods",
        "x",
        "exec",
        "status",
        "finalize",
        "log",
        "Api",
        "a%20b",
    ];
    (0..=random.below(8))
        .map(|_| format!("/{}", random.pick(&ALL)))
        .collect()
}

/// Escapes some letters and digits, which changes nothing once decoded.
fn escape_some(random: &mut Random, path: &str) -> String {
    let mut escaped = String::new();
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        if c == '%' {
            // An escape stays as it is.
            escaped.push(c);
            escaped.extend(rest.by_ref().take(2));
        } else if c.is_ascii_alphanumeric() && random.percent(15) {
            let code = u32::from(c);
            let code = if random.percent(50) {
                format!("%{code:02X}")
            } else {
                format!("%{code:02x}")
            };
            escaped.push_str(&code);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Says whether all of it is text.
fn query(random: &mut Random, into: &mut String) -> bool {
    const KEYS: [&str; 12] = [
        "watch",
        "watch",
        "fieldSelector",
        "fieldSelector",
        "labelSelector",
        "limit",
        "timeoutSeconds",
        "Watch",
        "%77atch",
        "continue",
        "field%53elector",
        "command",
    ];
    let mut clean = true;
    for at in 0..random.below(5) {
        if at > 0 {
            into.push_str(if random.percent(95) {
                "&"
            } else {
                random.pick(&["&&", ";"])
            });
        }
        let key = random.pick(&KEYS);
        into.push_str(key);
        let value = value(random, key);
        if !value.is_empty() || random.percent(50) {
            into.push('=');
            into.push_str(&value);
        }
        if random.percent(1) {
            clean = false;
            into.push_str(random.pick(&["%ff", "%", "#", "\\", "%c5%bf"]));
        }
    }
    clean
}

fn value(random: &mut Random, key: &str) -> String {
    match key {
        "watch" | "%77atch" | "Watch" => random
            .pick(&[
                "",
                "1",
                "0",
                "true",
                "false",
                "FALSE",
                "False",
                "yes",
                "fal%73e",
                "fal%C5%BFe",
                "00",
                "0+",
            ])
            .to_owned(),
        "limit" | "timeoutSeconds" => random
            .pick(&[
                "5",
                "-1",
                "%2B7",
                "+7",
                "abc",
                "",
                "500",
                "9223372036854775808",
                "0x5",
                "1_0",
                "007",
            ])
            .to_owned(),
        "fieldSelector" | "field%53elector" => field_selector(random),
        "labelSelector" => label_selector(random),
        _ => random
            .pick(&["a", "a+b", "%00", "%2F", "", "x=y", "%E2%82%AC"])
            .to_owned(),
    }
}

fn field_selector(random: &mut Random) -> String {
    const TERMS: [&str; 20] = [
        "metadata.name=x",
        "metadata.name==x",
        "metadata.name!=x",
        "metadata.name%3Dweb-0",
        "metadata.name=y",
        "metadata.name=",
        "metadata.name",
        "status.phase=Running",
        "spec.nodeName!=n",
        "",
        "=",
        "==",
        "=x",
        "metadata.name=a%2Fb",
        "metadata.name=..",
        "metadata.name=a%5C%2Cb",
        "metadata.name=a%5Cq",
        "metadata.name=a%25",
        "metadata.name=%E2%82%AC",
        "metadata.name=a=b",
    ];
    let mut text = String::new();
    for at in 0..=random.below(3) {
        if at > 0 {
            text.push_str(random.pick(&[",", "%2C", ",", "%5C,", ",,"]));
        }
        text.push_str(random.pick(&TERMS));
    }
    text
}

fn label_selector(random: &mut Random) -> String {
    const PIECES: [&str; 34] = [
        "a=b",
        "a==b",
        "a!=b",
        "a",
        "!a",
        "a+in+(x,y)",
        "a+notin+(x)",
        "a+in+()",
        "a+in+(,)",
        "a+in+(x,,y)",
        "in",
        "notin",
        "in+in+(in)",
        "a>5",
        "a<x",
        "a>",
        "example.test/a=b",
        "/a=b",
        "a/b/c=d",
        "Example/a=b",
        "a=",
        "a=-b",
        "a=b-",
        "!",
        "!!a",
        "=",
        "(",
        ")",
        "a+b",
        "a=b,c=d",
        ",",
        "%00",
        "a%00=b",
        "a=%C3%A9",
    ];
    let mut text = String::new();
    for at in 0..=random.below(3) {
        if at > 0 {
            text.push_str(random.pick(&[",", ",", ",", "+", "", "%09", ",,"]));
        }
        text.push_str(random.pick(&PIECES));
    }
    if random.percent(3) {
        text.push_str(&"l".repeat(60 + random.below(8)));
    }
    text
}
