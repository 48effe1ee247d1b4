//! Promise 1, attacked: identity headers from outside in every spelling, against a real API server. What the server's own
//! audit log says of each call is compared: it always ran as alice, with her groups, by the impersonator, or not at all.

use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};

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
fn no_spelling_of_an_identity_header_changes_who_it_is() -> anyhow::Result<()> {
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
        let id = answer
            .head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("audit-id: ").map(str::to_owned))
            .expect("an Audit-Id");
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
    client.get(TARGET, &[("Authorization", &bearer)])?;
    let after = cluster
        .audit_event("one more call", |_| true)
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

/// Calls on configmaps that the impersonator brought.
fn arrived(cluster: &Cluster) -> anyhow::Result<usize> {
    let ours = |event: &tests::cluster::audit::Event| {
        event.user.username == "system:serviceaccount:gatescribe:impersonator"
            && event.request_uri.ends_with("/configmaps")
    };
    Ok(cluster.audit_events()?.iter().filter(|event| ours(event)).count())
}

#[test]
fn strangers_get_nothing_but_the_way_to_sign_in() -> anyhow::Result<()> {
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
