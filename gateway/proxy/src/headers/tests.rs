//! Identity headers in every spelling, on every path through the module.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn left(lines: &[(&str, &str)]) -> Vec<String> {
    let mut headers = map(lines);
    let _ = strip(&mut headers, &[]);
    let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
fn d_05_d_06_d_08_hdr_01_hdr_08_no_identity_or_forwarding_header_is_left() {
    for name in [
        "Impersonate-User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-x",
        "Impersonate-Foo",
        "Impersonate",
        "X-Remote-User",
        "X-Remote-Group",
        "X-Remote-Uid",
        "X-Remote-Extra-x",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "X-Real-Ip",
        "True-Client-Ip",
        "X-Original-Url",
        "X-Original-Forwarded-For",
        "X-Envoy-Internal",
        "X-Gatescribe-User",
        "Authorization",
        "Proxy-Authorization",
        "Audit-Id",
        "X-Rewrite-Url",
        "X-Http-Method-Override",
    ] {
        assert_eq!(left(&[(name, "x"), ("accept", "a")]), ["accept"], "{name}");
    }
}

/// What a client may not say, written down apart from the lists that forbid it.
const HOSTILE: &[&str] = &[
    "Impersonate-User",
    "X-Remote-User",
    "X-Forwarded-For",
    "X-Original-Url",
    "X-Envoy-Internal",
    "X-Gatescribe-User",
    "X-Auth-Request-User",
    "X-Ssl-Client-Cert",
    "Proxy-Anything",
    "Audit-Id",
    "Authorization",
    "Client-Cert",
    "Client-Cert-Chain",
    "Cf-Connecting-Ip",
    "Fastly-Client-Ip",
    "Forwarded",
    "Front-End-Https",
    "Remote-User",
    "Proxy",
    "Remote-Email",
    "Remote-Groups",
    "Remote-Name",
    "True-Client-Ip",
    "X-Client-Ip",
    "X-Cluster-Client-Ip",
    "X-Forwarded",
    "X-Http-Method-Override",
    "X-Http-Method",
    "X-Method-Override",
    "X-ProxyUser-Ip",
    "X-Real-Ip",
    "X-Rewrite-Url",
    "X-WebAuth-User",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
];

/// What an API server's answer may not say, likewise.
const HOSTILE_IN_ANSWERS: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "x-accel-redirect",
    "x-accel-buffering",
    "x-sendfile",
    "x-reproxy-url",
];

/// `list` without one of its entries, for each of them.
fn without_one<T: Clone>(list: &[T]) -> Vec<(T, Vec<T>)> {
    let without = |at: usize| list.iter().enumerate().filter(move |(i, _)| *i != at);
    (0..list.len())
        .map(|at| (list[at].clone(), without(at).map(|(_, entry)| entry.clone()).collect()))
        .collect()
}

#[test]
fn every_entry_of_what_is_stripped_is_needed_by_a_hostile_name() {
    let name = |row: &&str| HeaderName::from_bytes(row.as_bytes()).unwrap();
    let rows: Vec<HeaderName> = HOSTILE.iter().map(name).collect();
    for row in &rows {
        assert!(MANAGED.forbids(row, &[]), "{row} passes");
    }
    let lets_one_pass = |mutant: Managed<'_>| rows.iter().any(|row| !mutant.forbids(row, &[]));
    for (entry, prefixes) in without_one(&MANAGED_PREFIXES) {
        let mutant = Managed {
            prefixes: &prefixes,
            ..MANAGED
        };
        assert!(
            lets_one_pass(mutant),
            "nobody would notice that the prefix {entry} is gone"
        );
    }
    for (entry, names) in without_one(&MANAGED_NAMES) {
        let mutant = Managed {
            names: &names,
            ..MANAGED
        };
        assert!(lets_one_pass(mutant), "nobody would notice that {entry} is gone");
    }
    // The others begin with a managed prefix; they are needed for answers.
    let own = |(entry, _): &(HeaderName, _)| !entry.as_str().starts_with("proxy-");
    for (entry, hops) in without_one(&HOP_BY_HOP).into_iter().filter(own) {
        let mutant = Managed { hops: &hops, ..MANAGED };
        assert!(lets_one_pass(mutant), "nobody would notice that {entry} is gone");
    }
}

#[test]
fn the_rules_about_headers_know_the_same_hops() {
    assert_eq!(HOP_BY_HOP.each_ref().map(HeaderName::as_str), model::header::HOP_BY_HOP);
}

#[test]
fn every_entry_of_what_an_answer_loses_is_a_hostile_name() {
    for name in HOSTILE_IN_ANSWERS {
        let mut answer = map(&[(name, "x"), ("etag", "e")]);
        strip_response(&mut answer, ResponseKind::Kubernetes);
        assert_eq!(answer.keys().collect::<Vec<_>>(), ["etag"], "{name}");
    }
    for entry in HOP_BY_HOP.iter().chain(&response::ORDERS_TO_PROXIES) {
        assert!(
            HOSTILE_IN_ANSWERS.contains(&entry.as_str()),
            "nobody would notice that {entry} is gone"
        );
    }
}

#[test]
fn d_07_hdr_03_hdr_04_look_alikes_of_managed_names_are_dropped() {
    for name in [
        "Impersonate_User",
        "X_Forwarded_User",
        "X-Remote_User",
        "X.Remote.User",
        "X~Remote~User",
        "X'Remote'User",
        "X--Remote--User",
        "X-Remote-User-",
        "-X-Remote-User",
        "!x-remote-user",
        "Authorization.",
        "authorization_",
        "Impersonate.User",
        "Audit.Id",
        "Connection.",
        "transfer_encoding",
        "x_anything",
    ] {
        assert_eq!(left(&[(name, "x"), ("accept", "a")]), ["accept"], "{name}");
    }
}

#[test]
fn d_06_configured_names_are_dropped_in_every_spelling() {
    let configured = [HeaderName::from_static("x-company-user")];
    let mut headers = map(&[
        ("X-Company-User", "a"),
        ("X.Company.User", "b"),
        ("X-Company-Users", "c"),
    ]);
    let _ = strip(&mut headers, &configured);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-company-users"]);
}

#[test]
fn d_03_hdr_05_hdr_06_every_connection_line_is_read() {
    let mut headers = map(&[
        ("connection", ""),
        ("connection", "Upgrade ,X-One"),
        ("connection", "close,\tx-two"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
    ]);
    let stripped = strip(&mut headers, &[]);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-three"]);
    assert_eq!(stripped.nominated, ["upgrade", "x-one", "x-two"]);
}

#[test]
fn hdr_07_a_nomination_takes_away_nothing_that_the_gateway_relies_on() {
    let lines = [
        ("connection", "Host, Content-Length, Content-Type, Cookie, :authority"),
        ("host", "a"),
        ("content-length", "1"),
        ("content-type", "t"),
        ("cookie", "c"),
    ];
    assert_eq!(left(&lines), ["content-length", "content-type", "cookie", "host"]);
}

#[test]
fn d_04_hop_by_hop_headers_are_removed() {
    let mut headers = map(&[
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "x"),
        ("accept", "a"),
    ]);
    drop(strip(&mut headers, &[]));
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
}

#[test]
fn d_10_the_client_s_audit_id_is_kept_aside() {
    let mut headers = map(&[("audit-id", "mine")]);
    let stripped = strip(&mut headers, &[]);
    assert!(headers.is_empty());
    assert_eq!(stripped.client_audit_id.unwrap(), "mine");
}

#[test]
fn d_12_d_13_unknown_headers_and_repeated_lines_pass_unchanged() {
    let lines = [
        ("kubectl-command", "kubectl get"),
        ("kubectl-session", "1"),
        ("x-stream-protocol-version", "v5"),
        ("x-stream-protocol-version", "v4"),
        ("user-agent", "kubectl/1"),
        ("traceparent", "00-x"),
        ("cookie", "a=b"),
    ];
    let mut headers = map(&lines);
    let _ = strip(&mut headers, &[]);
    assert_eq!(headers, map(&lines));
}

#[test]
fn d_14_hdr_11_answers_lose_hops_orders_and_cookies_and_keep_the_rest() {
    let kept = [
        ("warning", "299 - \"x\""),
        ("audit-id", "1"),
        ("retry-after", "1"),
        ("etag", "e"),
        ("cache-control", "c"),
        ("strict-transport-security", "s"),
        ("x-kubernetes-pf-flowschema-uid", "u"),
        ("content-length", "3"),
    ];
    let dropped = [
        ("connection", "x-secret, content-length, audit-id"),
        ("x-secret", "s"),
        ("keep-alive", "1"),
        ("transfer-encoding", "chunked"),
        ("x-accel-redirect", "/x"),
        ("set-cookie", "a=b"),
    ];
    let mut headers = map(&[&kept[..], &dropped[..]].concat());
    strip_response(&mut headers, ResponseKind::Kubernetes);
    assert_eq!(headers, map(&kept));
    let mut service = map(&[("set-cookie", "a=b"), ("set-cookie", "c=d")]);
    strip_response(&mut service, ResponseKind::Service);
    assert_eq!(service.get_all("set-cookie").iter().count(), 2);
}

#[test]
fn f_06_a_whole_request_to_act_as_someone_is_read() {
    let headers = map(&[
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "a, b"),
        ("Impersonate-Group", "c"),
        ("Impersonate-Uid", "u"),
        ("Impersonate-Extra-Scopes", "x"),
        ("Impersonate-Extra-Scopes", "y"),
        ("Impersonate-Extra-acme.com%2Fteam", "t"),
    ]);
    let read = RequestedImpersonation::read(&headers).unwrap().unwrap();
    assert_eq!(
        (read.user.as_str(), read.groups, read.uid.as_deref()),
        ("bob", vec!["a, b".to_owned(), "c".to_owned()], Some("u"))
    );
    assert_eq!(
        read.extra,
        BTreeMap::from([
            ("scopes".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
            ("acme.com/team".to_owned(), vec!["t".to_owned()])
        ])
    );
    assert_eq!(RequestedImpersonation::read(&map(&[("accept", "a")])), Ok(None));
}

#[test]
fn a_reason_for_acting_as_oneself_is_no_impersonation_and_lends_nothing() {
    let why = ("Impersonate-Extra-gatescribe.dev%2freason", "TICKET-4711");
    let read = |more: &[(&str, &str)]| {
        let lines = [&[("Impersonate-User", "ann"), why], more].concat();
        RequestedImpersonation::read(&map(&lines)).unwrap().unwrap()
    };
    let alone = read(&[]);
    assert_eq!(alone.reason.as_deref(), Some("TICKET-4711"));
    assert!(alone.extra.is_empty(), "it goes no further");
    assert_eq!(alone.clone().unless_only_reason("ann"), None);
    // Whoever asks for anything else asks for an impersonation: another name, a group, an extra of their own.
    assert_eq!(alone.clone().unless_only_reason("bob"), Some(alone.clone()));
    assert_eq!(alone.clone().unless_only_reason("ann "), Some(alone));
    for more in [
        ("Impersonate-Group", "g"),
        ("Impersonate-Uid", "u"),
        ("Impersonate-Extra-k", "v"),
    ] {
        let asked = read(&[more]);
        assert_eq!(asked.clone().unless_only_reason("ann"), Some(asked));
    }
    let without = RequestedImpersonation::read(&map(&[("Impersonate-User", "ann")]))
        .unwrap()
        .unwrap();
    assert_eq!(without.clone().unless_only_reason("ann"), Some(without), "as before");
}

#[test]
fn imp_03_imp_04_imp_05_imp_06_imp_07_what_can_be_read_in_two_ways_is_refused() {
    use ImpersonationError as E;
    let user = ("Impersonate-User", "bob");
    let why = "Impersonate-Extra-gatescribe.dev%2freason";
    let cases: [(&[(&str, &str)], E); 26] = [
        (&[user, (why, "one"), (why, "another")], E::ReasonInvalid),
        (
            &[
                user,
                (why, "one"),
                ("Impersonate-Extra-Gatescribe.dev%2Freason", "another"),
            ],
            E::ReasonInvalid,
        ),
        (&[user, (why, "x")], E::ReasonInvalid),
        (&[(why, "a reason")], E::UserMissing),
        (&[("Impersonate-Group", "g")], E::UserMissing),
        (&[("Impersonate-Uid", "u")], E::UserMissing),
        (&[("Impersonate-Extra-k", "v")], E::UserMissing),
        (&[("Impersonate-User", "")], E::UserEmpty),
        (&[("Impersonate-User", "  ")], E::ValuePadded),
        (&[user, user], E::UserRepeated),
        (
            &[user, ("Impersonate-Uid", "1"), ("Impersonate-Uid", "2")],
            E::UidRepeated,
        ),
        (&[user, ("Impersonate-Foo", "x")], E::NameUnknown),
        (&[user, ("Impersonate", "x")], E::NameUnknown),
        (&[("Impersonate_User", "bob")], E::NameUnknown),
        (&[("-Impersonate-User", "bob")], E::NameUnknown),
        (&[user, ("Impersonate-Extra-", "x")], E::ExtraKeyEmpty),
        (&[user, ("Impersonate-Extra-a%zz", "x")], E::ExtraKeyInvalid),
        (&[user, ("Impersonate-Extra-a%ff", "x")], E::ExtraKeyInvalid),
        (
            &[user, ("Impersonate-Extra-ab", "x"), ("Impersonate-Extra-%61b", "y")],
            E::ExtraKeyRepeated,
        ),
        (
            &[user, ("Impersonate-Extra-%41b", "x"), ("Impersonate-Extra-ab", "y")],
            E::ExtraKeyRepeated,
        ),
        (
            &[user, ("Impersonate-Extra-session.gatescribe.dev%2fid", "x")],
            E::ExtraKeyReserved,
        ),
        (&[user, ("Impersonate-Group", "a\tb")], E::ValueInvalid),
        (&[("Impersonate-User", "boss ")], E::ValuePadded),
        (&[user, ("Impersonate-Group", " system:masters")], E::ValuePadded),
        (&[user, ("Impersonate-Uid", "7 ")], E::ValuePadded),
        (&[user, ("Impersonate-Extra-a", " x")], E::ValuePadded),
    ];
    for (lines, expected) in cases {
        assert_eq!(RequestedImpersonation::read(&map(lines)), Err(expected), "{lines:?}");
    }
}

proptest! {
    /// Promise 1: whatever a client sends, the identity headers that go upstream are ours, once, and first.
    #[test]
    fn d_01_no_client_header_removes_duplicates_or_precedes_an_identity_header_of_ours(
        lines in proptest::collection::vec((spelling(), "[ -~]{0,24}"), 0..20),
        connection in proptest::collection::vec(spelling(), 0..6),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("connection", connection.join(" , ").as_str())]) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        let _ = strip(&mut headers, &[]);
        let ours = [("impersonate-user", "alice"), ("impersonate-group", "g1"), ("impersonate-group", "g2"), ("authorization", "Bearer ours"), ("audit-id", "ours"), ("x-forwarded-for", "10.0.0.1")];
        for (name, value) in ours {
            headers.append(name, HeaderValue::from_static(value));
        }
        for name in headers.keys() {
            let reduced = Reduced::of(name.as_str().as_bytes());
            if MANAGED.covers(reduced.as_bytes()) || HOP_BY_HOP.contains(name) {
                let expected: Vec<_> = ours.iter().filter(|(ours, _)| name == ours).map(|(_, value)| *value).collect();
                prop_assert!(!expected.is_empty(), "{} is left of the client", name);
                prop_assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn no_data_makes_the_strippers_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_header_strip(&data);
    }
}

/// Names near the managed ones, in the spellings that servers confuse.
fn spelling() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("impersonate-user"),
        Just("impersonate-group"),
        Just("impersonate-uid"),
        Just("impersonate-extra-a"),
        Just("authorization"),
        Just("x-remote-user"),
        Just("x-forwarded-for"),
        Just("audit-id"),
        Just("connection"),
        Just("upgrade"),
        Just("te"),
        Just("x-other"),
        Just("accept"),
    ];
    (names, "[-_.~']{0,2}", "[-_.~']{1,2}", "[-_.~']{0,2}", any::<u64>()).prop_map(
        |(name, before, between, after, cases)| {
            let spelt: String = name
                .chars()
                .enumerate()
                .map(|(at, letter)| {
                    if cases >> (at % 64) & 1 == 1 {
                        letter.to_ascii_uppercase()
                    } else {
                        letter
                    }
                })
                .collect();
            let dash = if cases % 3 == 0 { "-" } else { between.as_str() };
            if cases % 5 == 0 {
                spelt
            } else {
                format!("{before}{}{after}", spelt.replace('-', dash))
            }
        },
    )
}
