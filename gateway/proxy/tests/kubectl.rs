//! What a person reads: every refusal of ours, printed by a real kubectl, against golden cases.
//!
//! The cases stand in `refusals/`, one file each; `UPDATE_CASES=1` writes them anew. A variant without a case does not
//! compile (`file`), a case without a variant fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use model::decision::{Denial, Denied, Nearest, RuleEffect, RuleKind, RuleRef, Unmet};
use model::request::{RequestFacts, Target, TargetError, Wire};
use proxy::listener::Violation;
use proxy::refusal::{Asked, Limit, Refusal, answer};

const ID: &str = "01234567-89ab-7def-8123-456789abcdef";
const TARGET: &str = "/api/v1/namespaces/payments/pods/web-0";

/// The file of a refusal's case.
fn file(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed(_) => "malformed",
        Refusal::Target(_) => "target",
        Refusal::Headers(_) => "headers",
        Refusal::UnknownHost => "unknown-host",
        Refusal::NotPublished => "not-published",
        Refusal::ForeignPage(_) => "foreign-page",
        Refusal::NotAsserted(_) => "not-asserted",
        Refusal::TooLarge(_) => "too-large",
        Refusal::NotOnBehalf(_) => "broken-chain",
        Refusal::NoCredential => "no-credential",
        Refusal::BadCredential(_) => "bad-credential",
        Refusal::CannotVerify(_) => "cannot-verify",
        Refusal::SignInEnded(_) => "session-ended",
        Refusal::Locked(_) => "locked",
        Refusal::Ended(_) => "ended",
        Refusal::EndedWithin(_) => "ended-within",
        Refusal::Denied(denied) => denial_file(denied),
        Refusal::Limit(limit) => match limit {
            Limit::InFlight(_) => "limit-in-flight",
            Limit::RecordsPerSecond(_) => "limit-records",
            Limit::BytesPerDay(_) => "limit-bytes",
            Limit::Strangers => "limit-strangers",
            Limit::Streams(_) => "limit-streams",
            Limit::LongCalls(_) => "limit-long-calls",
            Limit::Questions(_) => "limit-questions",
            Limit::Logs(_) => "limit-logs",
            Limit::Proxied(_) => "limit-proxied",
            Limit::Unbegun(_) => "limit-unbegun",
            Limit::Subjects => "limit-subjects",
            Limit::Public => "limit-public",
        },
        Refusal::LedgerRefuses(_) => "ledger",
        Refusal::UpstreamUnreachable(_) => "upstream-unreachable",
        Refusal::UpstreamLost(_) => "upstream-lost",
        Refusal::UpstreamSilent => "upstream-silent",
        Refusal::GatewayCredential => "gateway-credential",
        Refusal::Draining => "draining",
        Refusal::Internal => "internal",
    }
}

fn denial_file(denied: &Denied) -> &'static str {
    match &denied.denial {
        Denial::Forbidden => "forbidden",
        Denial::NoRule => "no-rule",
        Denial::NoGroups => "no-groups",
        Denial::UnknownVerb => "unknown-verb",
        Denial::MayNotImpersonate { .. } => "may-not-impersonate",
        Denial::NoOnBehalfOf { .. } => "no-on-behalf-of",
        Denial::ReservedName { .. } => "reserved-name",
        Denial::TooManyGroups { .. } => "too-many-groups",
        Denial::Obligation(Unmet::Reason) => "owes-reason",
        Denial::Obligation(Unmet::Recording) => "owes-recording",
        Denial::Obligation(Unmet::NoSession) => "owes-a-session",
        Denial::Obligation(Unmet::StepUp { acr }) if acr.is_empty() => "owes-step-up",
        Denial::Obligation(Unmet::StepUp { .. }) => "owes-step-up-of-a-kind",
        Denial::Obligation(Unmet::Approval { .. }) => "owes-approval",
        Denial::StaleSnapshot { .. } => "stale-snapshot",
        Denial::ClusterSaysNo { .. } => "cluster-says-no",
        Denial::ClusterSilent => "cluster-silent",
    }
}

fn denied(denial: Denial) -> Refusal {
    Refusal::Denied(Box::new(Denied {
        denial,
        rules: Vec::new(),
        nearest: None,
    }))
}

fn by_a_rule(denial: Denial) -> Refusal {
    let rule = RuleRef {
        kind: RuleKind::AccessRule,
        name: "no-payments-at-night".into(),
        namespace: Some("payments".into()),
        role: None,
        effect: RuleEffect::Forbid,
        why: None,
    };
    Refusal::Denied(Box::new(Denied {
        denial,
        rules: vec![rule],
        nearest: None,
    }))
}

fn near(denial: Denial) -> Refusal {
    let nearest = Nearest {
        role: "ClusterRole/view".into(),
        namespace: Some("payments".into()),
    };
    Refusal::Denied(Box::new(Denied {
        denial,
        rules: Vec::new(),
        nearest: Some(nearest),
    }))
}

fn denials() -> Vec<Refusal> {
    let owes = |unmet| by_a_rule(Denial::Obligation(unmet));
    vec![
        by_a_rule(Denial::Forbidden),
        near(Denial::NoRule),
        denied(Denial::NoGroups),
        denied(Denial::UnknownVerb),
        denied(Denial::MayNotImpersonate {
            what: "group ops".to_owned(),
        }),
        denied(Denial::NoOnBehalfOf {
            workload: "system:serviceaccount:shop:cart".to_owned(),
        }),
        denied(Denial::ReservedName {
            name: "system:masters".to_owned(),
        }),
        denied(Denial::TooManyGroups { have: 300, limit: 200 }),
        owes(Unmet::Reason),
        owes(Unmet::Recording),
        owes(Unmet::NoSession),
        owes(Unmet::StepUp { acr: Vec::new() }),
        owes(Unmet::StepUp {
            acr: vec!["phr".into(), "urn:example it's".into()],
        }),
        owes(Unmet::Approval {
            from: vec!["leads".into(), "sre".into()],
        }),
        denied(Denial::StaleSnapshot { age_seconds: Some(95) }),
        near(Denial::ClusterSaysNo {
            reason: Some("no RBAC policy matched".to_owned()),
        }),
        denied(Denial::ClusterSilent),
    ]
}

fn all() -> Vec<Refusal> {
    let words = |text: &str| text.to_owned();
    let mut all = vec![
        Refusal::Malformed(Violation::BareLineFeed),
        Refusal::Target(TargetError::Fragment { at: 7 }),
        Refusal::Headers(words("two `Authorization` lines")),
        Refusal::UnknownHost,
        Refusal::NotPublished,
        Refusal::ForeignPage(proxy::page_origin::ForeignPage::Other),
        Refusal::NotOnBehalf("two assertions are shown; send one".to_owned()),
        Refusal::TooLarge(1_048_576),
        Refusal::NotAsserted("the assertion would be 5000 bytes long".to_owned()),
        Refusal::NoCredential,
        Refusal::BadCredential(words("the token expired 5 m ago")),
        Refusal::CannotVerify(words("the issuer's keys cannot be had")),
        Refusal::SignInEnded(words("you signed out at 10:00")),
        Refusal::Locked(words(
            "ann@corp.example is locked by lee@corp.example until 2026-11-22T10:00:00Z: TICKET-4711",
        )),
        Refusal::Ended(words("a rule forbids it (AccessRule payments/no-payments-at-night)")),
        Refusal::EndedWithin(words(
            "ended by the gateway: a rule forbids it (AccessRule payments/no-payments-at-night)",
        )),
        Refusal::Limit(Limit::InFlight(256)),
        Refusal::Limit(Limit::RecordsPerSecond(500)),
        Refusal::Limit(Limit::BytesPerDay(1_073_741_824)),
        Refusal::Limit(Limit::Strangers),
        Refusal::Limit(Limit::Streams(64)),
        Refusal::Limit(Limit::LongCalls(20_000)),
        Refusal::Limit(Limit::Questions(50)),
        Refusal::Limit(Limit::Logs(128)),
        Refusal::Limit(Limit::Proxied(128)),
        Refusal::Limit(Limit::Unbegun(256)),
        Refusal::Limit(Limit::Subjects),
        Refusal::Limit(Limit::Public),
        Refusal::LedgerRefuses(words("no space left on device")),
        Refusal::UpstreamUnreachable(words("connection refused")),
        Refusal::UpstreamLost(words("the connection broke")),
        Refusal::UpstreamSilent,
        Refusal::GatewayCredential,
        Refusal::Draining,
        Refusal::Internal,
    ];
    all.extend(denials());
    all
}

fn refused(refusal: &Refusal, signed_in: bool) -> (u16, String, Vec<u8>) {
    let target = Target::parse(TARGET.as_bytes()).unwrap();
    let wire = Wire {
        method: "GET",
        wants_upgrade: false,
        impersonates: false,
    };
    let facts = RequestFacts::classify(&target, wire).unwrap();
    let groups: Vec<Arc<str>> = vec!["dev".into(), "oncall".into()];
    let known = matches!(
        refusal,
        Refusal::Denied(_) | Refusal::Ended(_) | Refusal::EndedWithin(_) | Refusal::Limit(_) | Refusal::Locked(_)
    );
    let asked = Asked {
        id: ID,
        user: known.then_some("ann@corp.example"),
        groups: if known { &groups } else { &[] },
        facts: Some(&facts),
        signed_in: signed_in && known,
        recorded: is_recorded(refusal),
        sign_in: "gatescribe login https://gw.example.com",
    };
    let response = answer(refusal, &asked);
    let mut headers = String::new();
    for (name, value) in response.headers() {
        headers.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    (response.status().as_u16(), headers, response.body().to_vec())
}

/// What the API server says about itself, as far as `get pod` asks.
const DISCOVERY: [(&str, &str); 3] = [
    ("/api", r#"{"kind":"APIVersions","versions":["v1"]}"#),
    ("/apis", r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#),
    (
        "/api/v1",
        r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"]}]}"#,
    ),
];

/// Answers with this refusal for as long as the process lives. Kinds are told to everybody, as kubectl mostly has them in
/// its cache: where discovery itself is refused it prints its own words instead of ours.
fn serve(refusal: &Refusal) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (code, headers, body) = refused(refusal, true);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let asked = path(&connection);
            let about = DISCOVERY.iter().find(|(path, _)| *path == asked);
            let _ = match about {
                Some((_, text)) => reply(
                    &mut connection,
                    200,
                    "content-type: application/json\r\n",
                    text.as_bytes(),
                ),
                None => reply(&mut connection, code, &headers, &body),
            };
        }
    });
    address
}

/// The path of a request, whose head is read to its end.
fn path(connection: &TcpStream) -> String {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let target = first.split(' ').nth(1).unwrap_or_default();
    target.split('?').next().unwrap_or_default().to_owned()
}

fn reply(connection: &mut TcpStream, code: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {code} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)
}

fn kubectl() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/counterparts/bin/kubectl");
    assert!(path.exists(), "kubectl is missing: run `cargo xtask counterparts`");
    path
}

fn printed(refusal: &Refusal, home: &Path) -> String {
    let output = Command::new(kubectl())
        .env_clear()
        .env("HOME", home)
        .env("KUBECONFIG", "/dev/null")
        .args(["--server", &format!("http://{}", serve(refusal))])
        .args(["--token", "none", "get", "pod", "web-0", "-n", "payments"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A ServiceAccount, a certificate, a token of a provider: our API answers none of them.
#[test]
fn whoever_has_no_session_here_is_told_no_command_that_needs_one() {
    for refusal in denials() {
        let (_, _, body) = refused(&refusal, false);
        let body = String::from_utf8(body).unwrap();
        assert!(
            !body.contains("gatescribe why") && !body.contains("gatescribe whoami"),
            "{body}"
        );
        assert!(!body.contains("gatescribe login"), "{body}");
    }
}

#[test]
fn k_01_k_02_k_03_every_refusal_reads_well_in_plain_kubectl() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let home = tempfile::tempdir().unwrap();
    let write = std::env::var_os("UPDATE_CASES").is_some();
    let mut cases = BTreeSet::new();
    for refusal in all() {
        let case = file(&refusal);
        assert!(cases.insert(format!("{case}.txt")), "{case} stands twice in the list");
        let printed = printed(&refusal, home.path());
        let path = folder.join(format!("{case}.txt"));
        if write {
            std::fs::write(&path, &printed).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(printed, golden, "{case}: `UPDATE_CASES=1` writes the new words");
        let is_recorded = is_recorded(&refusal);
        assert_eq!(
            printed.contains(ID),
            is_recorded,
            "{case}: a decision is named where there is one:\n{printed}"
        );
    }
    let files: BTreeSet<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, cases, "one file for each refusal");
}

/// kubectl makes sense of a Status alone: of a page it would show the markup, of plain words the code.
#[test]
fn k_01_k_02_every_refusal_is_a_status_in_json_that_agrees_with_its_code() {
    for refusal in all() {
        let (code, headers, body) = refused(&refusal, true);
        let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let told = ["kind", "apiVersion", "status"].map(|name| status[name].as_str().unwrap());
        assert_eq!(told, ["Status", "v1", "Failure"], "{status}");
        assert_eq!(status["code"], code, "{status}");
        assert_eq!(status["reason"], refusal.reason(), "{status}");
        assert!(!status["message"].as_str().unwrap().is_empty(), "{status}");
        assert!(headers.contains("content-type: application/json\r\n"), "{headers}");
        // client-go repeats whatever carries it ten times (K-04).
        assert!(!headers.contains("retry-after"), "{headers}");
        let asks = headers.contains("www-authenticate: ");
        assert_eq!(asks, code == 401, "{headers}");
    }
}

#[test]
fn k_09_each_way_in_which_the_cluster_or_the_gateway_fails_has_its_status_and_its_reason() {
    let words = || "why".to_owned();
    let failures = [
        (Refusal::UpstreamUnreachable(words()), 502),
        (Refusal::UpstreamLost(words()), 502),
        (Refusal::UpstreamSilent, 504),
        (Refusal::GatewayCredential, 502),
        (Refusal::LedgerRefuses(words()), 503),
        (Refusal::Draining, 503),
        (Refusal::Limit(Limit::LongCalls(7)), 429),
        (Refusal::Internal, 500),
    ];
    let codes: BTreeSet<&str> = failures.iter().map(|(failure, _)| failure.code()).collect();
    assert_eq!(codes.len(), failures.len(), "each counts for itself: {codes:?}");
    for (failure, status) in failures {
        assert_eq!(failure.status().as_u16(), status, "{failure:?}");
    }
}

/// What is above a subject's or the strangers' limit is only counted.
fn is_recorded(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::Limit(limit) if !matches!(limit, Limit::LongCalls(_) | Limit::Questions(_)))
}
