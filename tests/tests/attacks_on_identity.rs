//! Promise 1, attacked: identity headers from outside in every spelling, against a real API server. What the server's own
//! audit log says of each call is compared: it always ran as alice, with her groups, by the impersonator, or not at all.

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::measure::load;

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reads-configmaps }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reads-configmaps }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-configmaps }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

/// Spellings that must have no effect: the call runs as alice.
const WITHOUT_EFFECT: &[&[(&str, &str)]] = &[
    &[("X-Remote-User", "root")],
    &[("x-remote-user", "root"), ("X-Remote-Group", "system:masters")],
    &[("X-Remote-Extra-Scopes", "all")],
    &[("X-Remote-Uid", "0")],
    &[("X_Remote_User", "root")],
    &[("X.Remote.User", "root")],
    &[("X-Remote-User-", "root")],
    &[("X--Remote--User", "root")],
    &[("X-Forwarded-User", "root"), ("X-Forwarded-For", "1.2.3.4")],
    &[("X-Forwarded-Access-Token", "secret")],
    &[("X-Gatescribe-User", "root")],
    &[("X-Auth-Request-User", "root")],
    &[("X-Real-Ip", "1.2.3.4"), ("Forwarded", "for=1.2.3.4")],
    &[(
        "Connection",
        "close, Impersonate-User, Impersonate-Group, Authorization",
    )],
    &[("Connection", ""), ("Connection", "close, Impersonate-User")],
    &[("Connection", "close"), ("Connection", "impersonate-group")],
    &[("Connection", "close, Host, Content-Length, X-Forwarded-For")],
    &[("Audit-ID", "11111111-2222-3333-4444-555555555555")],
    &[("Cookie", "session=stolen")],
    &[
        ("X-Http-Method-Override", "DELETE"),
        ("X-Original-Url", "/api/v1/secrets"),
    ],
    &[("Proxy-Authorization", "Bearer root")],
];

/// Spellings that ask for another identity, or could be read as one in two ways: refused, nothing is sent.
const REFUSED: &[(&[(&str, &str)], u16)] = &[
    (&[("Impersonate-User", "bob@example.com")], 403),
    (&[("impersonate-user", "system:admin")], 403),
    (
        &[
            ("Impersonate-User", "alice@example.com"),
            ("Impersonate-Group", "system:masters"),
        ],
        403,
    ),
    (
        &[("Impersonate-User", "system:serviceaccount:kube-system:default")],
        403,
    ),
    (&[("Impersonate-User", "system:node:node-1")], 403),
    (&[("Impersonate-Group", "system:masters")], 400),
    (&[("Impersonate-Uid", "0")], 400),
    (&[("Impersonate-Extra-Scopes", "all")], 400),
    (&[("Impersonate-User", "a"), ("Impersonate-User", "b")], 400),
    (&[("Impersonate-User", "")], 400),
    (&[("Impersonate-Foo", "x")], 400),
    (&[("Impersonate", "x")], 400),
    (&[("Impersonate-Extra-", "x"), ("Impersonate-User", "a")], 400),
    (&[("Impersonate_User", "root")], 400),
    (&[("Impersonate.User", "root")], 400),
    (&[("Impersonate--User", "root")], 400),
    (&[("Authorization", "Bearer other")], 400),
];

#[test]
fn imp_01_imp_04_imp_05_imp_06_no_spelling_of_an_identity_header_changes_who_it_is() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(ROLES)?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    let before = arrived(&cluster)?;

    for headers in WITHOUT_EFFECT {
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let answer = client.get(TARGET, &all)?;
        assert_eq!(
            answer.status,
            200,
            "{headers:?}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let id = audit_id(&answer.head).expect("an Audit-Id");
        let event = cluster.audit_event("the call in the server's log", |event| event.audit_id == id)?;
        assert_eq!(
            event.user.username, "system:serviceaccount:gatescribe:impersonator",
            "{headers:?}"
        );
        let person = event.impersonated_user.expect("it was impersonated");
        assert_eq!(person.username, "alice@example.com", "{headers:?}");
        assert_eq!(person.groups, ["dev", "system:authenticated"], "{headers:?}");
        // D-09: ours and the gateway's own, never what the caller says of itself.
        let addresses = event.rest.get("sourceIPs");
        assert_eq!(addresses, Some(&json!(["127.0.0.1"])), "{headers:?}");
    }
    for (headers, status) in REFUSED {
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let answer = client.get(TARGET, &all)?;
        assert_eq!(
            answer.status,
            *status,
            "{headers:?}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    // One allowed call behind them, so that whatever was wrongly sent before it would be in the log by now.
    let answer = client.get(TARGET, &[("Authorization", &bearer)])?;
    let id = audit_id(&answer.head).expect("an Audit-Id");
    let after = cluster
        .audit_event("one more call", |event| event.audit_id == id)
        .and_then(|_| arrived(&cluster))?;
    assert_eq!(
        after - before,
        WITHOUT_EFFECT.len() + 1,
        "refused calls left nothing at the server"
    );
    let refusals = |records: &[Value]| records.iter().filter(|record| record["kind"] == "refusal").count();
    gateway.records_with("each refusal is a record", |records| refusals(records) >= REFUSED.len())?;
    Ok(())
}

/// The id that an answer names.
fn audit_id(head: &str) -> Option<String> {
    head.lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("audit-id: ").map(str::to_owned))
}

/// Calls on configmaps that the impersonator brought.
fn arrived(cluster: &Cluster) -> anyhow::Result<usize> {
    let ours = |event: &tests::cluster::audit::Event| {
        event.user.username == "system:serviceaccount:gatescribe:impersonator"
            && event.request_uri.ends_with("/configmaps")
    };
    Ok(cluster.audit_events()?.iter().filter(|event| ours(event)).count())
}

#[test]
fn imp_13_strangers_get_nothing_but_the_way_to_sign_in() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let client = gateway.client()?;
    let shows = |headers: &[(&str, &str)]| -> anyhow::Result<(u16, String)> {
        let answer = client.get(TARGET, headers)?;
        Ok((
            answer.status,
            answer.json()?["message"].as_str().unwrap_or_default().to_owned(),
        ))
    };
    for headers in [
        &[][..],
        &[("Authorization", "Basic YTpi")],
        &[("Authorization", "Bearer a.b.c")],
        &[("Authorization", "Bearer ")],
    ] {
        let (status, message) = shows(headers)?;
        assert_eq!(status, 401, "{headers:?}");
        assert!(message.contains("gatescribe login"), "{message}");
    }
    let unknown = client.get("/clusters/other/api", &[])?;
    assert_eq!(unknown.status, 421);
    let known = client.get("/.well-known/gatescribe", &[])?;
    assert_eq!(known.status, 200, "the one path without identity");
    let is_visit = |record: &&Value| record["kind"] == "access" && record["req"]["path"] == "/.well-known/gatescribe";
    let is_refusal = |record: &&Value| record["kind"] == "refusal" && record["outcome"]["status"] == 401;
    let records = gateway.records_with("each is a record without a subject", |records| {
        records.iter().filter(is_visit).count() == 1 && records.iter().filter(is_refusal).count() == 4
    })?;
    let text = serde_json::to_string(&records)?;
    assert!(
        !text.contains("YTpi") && !text.contains("a.b.c"),
        "what was presented is not repeated"
    );
    Ok(())
}

const ACTS_AS_ANYBODY: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: acts-as-anybody }
rules:
- { apiGroups: [""], resources: [users, groups], verbs: [impersonate] }
- { apiGroups: [authentication.k8s.io], resources: [uids, userextras/gatescribe-test], verbs: [impersonate] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: acts-as-anybody }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: acts-as-anybody }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// HTTP/2 carries a space at either end of a value, HTTP/1.1 cannot: a name with one is decided as one name and read by the
/// server as another. Logs always go upstream by HTTP/1.1.
const LOG: &str = "/clusters/bench/api/v1/namespaces/default/pods/none/log";

#[test]
fn a_name_with_a_space_at_its_end_is_no_other_persons_name() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(ACTS_AS_ANYBODY)?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::start(&cluster, &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let runtime = tokio::runtime::Runtime::new()?;
    let ask = |lines: &[(&'static str, &'static str)]| runtime.block_on(by_http2(&gateway, &bearer, lines));
    let of_logs = || -> anyhow::Result<Vec<_>> {
        let events = cluster.audit_events()?;
        Ok(events
            .into_iter()
            .filter(|event| event.request_uri.ends_with("/log"))
            .collect())
    };

    for (lines, what) in [
        (&[("impersonate-user", "boss ")][..], "a user"),
        (&[("impersonate-user", " boss")], "a user"),
        (
            &[("impersonate-user", "bob"), ("impersonate-group", " system:monitoring")],
            "a group",
        ),
        (&[("impersonate-user", "bob"), ("impersonate-group", "ops ")], "a group"),
        (&[("impersonate-user", "bob"), ("impersonate-uid", "7 ")], "a uid"),
        (
            &[("impersonate-user", "bob"), ("impersonate-extra-gatescribe-test", " a")],
            "an extra",
        ),
    ] {
        let (status, text) = ask(lines)?;
        assert_eq!(status, 400, "{what} {lines:?}: {text} {:?}", of_logs()?);
        assert!(text.contains("Impersonate-"), "{text}");
    }
    let (_, text) = ask(&[("impersonate-user", "bob"), ("impersonate-group", "ops")])?;
    assert!(text.contains("bob") || text.contains("not found"), "{text}");
    let event = cluster.audit_event("a sound name arrives", |event| event.person() == "bob")?;
    assert_eq!(
        event.impersonated_user.expect("impersonated").groups,
        ["ops", "system:authenticated"]
    );
    assert!(
        of_logs()?.iter().all(|event| event.person() == "bob"),
        "and nobody else"
    );
    Ok(())
}

async fn by_http2(gateway: &Gateway, bearer: &str, lines: &[(&'static str, &str)]) -> anyhow::Result<(u16, String)> {
    let stream = tokio::net::TcpStream::connect(gateway.address).await?;
    let tls = tokio_rustls::TlsConnector::from(load::client_config(gateway.ca(), true)?);
    let name = rustls::pki_types::ServerName::IpAddress(gateway.address.ip().into());
    let io = TokioIo::new(tls.connect(name, stream).await?);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let serving = tokio::spawn(connection);
    let mut request = http::Request::builder()
        .uri(format!("https://{}{LOG}", gateway.address))
        .header("authorization", bearer);
    for (name, value) in lines {
        request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes())?);
    }
    let answer = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    serving.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
