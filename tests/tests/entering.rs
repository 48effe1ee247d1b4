//! Entering a pod through the gate: real kubectl, the real API server, a node whose pods are real processes; over WebSocket and
//! over SPDY. What a client sees is compared in `every_client`; here it is what the gate decides, records and ends.

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::browser::Browser;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Kubectl, Way};
use tests::metrics::Scrape;
use tests::once::Once;
use tests::pods::{self, TALK, listens, namespace, shell};
use tests::records::Session;
use tests::wait::{PATIENCE, try_until};

const RIGHTS: &str = r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: enters, namespace: shop }
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy]
  verbs: [get, create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: looks, namespace: shop }
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
# `get` was enough for a WebSocket once; here the streams ask `create`.
- apiGroups: [""]
  resources: [pods/exec, pods/attach, pods/portforward]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: looks, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: looks }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: auditor }]
"#;

/// A group may enter, as a YAML document.
fn binding(name: &str, group: &str) -> String {
    format!(
        r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: {name}, namespace: shop }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: enters }}
subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: {group} }}]
"#
    )
}

/// Command and the subresource that it asks for.
const COMMANDS: [(&str, &str); 4] = [
    ("exec web -n shop -- true", "exec"),
    ("attach web -n shop", "attach"),
    ("port-forward web -n shop :80", "portforward"),
    ("get --raw /api/v1/namespaces/shop/services/web:80/proxy/", "proxy"),
];

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    let near = pods::runs("shop", "near", "exec \"$NODE_BINARY\" http --listen 127.0.0.1:0");
    let world = [
        &namespace("shop"),
        RIGHTS,
        &binding("dev-enters", "dev"),
        &shell("shop", "web"),
        &near,
    ]
    .concat();
    WORLD.get(|| Cluster::with_pods(&world))
}

/// The two protocols that kubectl speaks for streams.
fn ways(kubectl: &Kubectl) -> [(Way, Kubectl); 2] {
    Way::BOTH.map(|way| (way, kubectl.over(way)))
}

fn of(record: &Value, user: &str, subresource: &str) -> bool {
    record["by"]["user"] == user && record["req"]["subresource"] == subresource
}

#[test]
fn h_02_h_13_exec_is_one_session_with_its_bytes_and_exit_code_over_both_protocols() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    for (way, kubectl) in ways(&alice) {
        let script = "cat; echo trouble >&2; exit 3";
        let said = kubectl.run_with_input(&["exec", "-i", "web", "-n", "shop", "--", "sh", "-c", script], "in\n")?;
        assert_eq!((said.stdout.as_str(), said.code), ("in\n", 3), "{way}: {said}");
        assert_eq!(
            said.stderr, "trouble\ncommand terminated with exit code 3\n",
            "{way}: {said}"
        );
    }
    for Session { open, close } in gateway.sessions(2, |open| of(open, "alice@example.com", "exec"))? {
        assert_eq!(open["req"]["action"], "exec", "{open}");
        assert_eq!(close["outcome"]["end"], "answered", "{close}");
        assert_eq!(close["outcome"]["status"], 101, "{close}");
        let bytes = |name: &str| close["outcome"][name].as_u64().unwrap_or_default();
        assert!(bytes("bytes_in") > 3 && bytes("bytes_out") > 10, "{close}");
    }
    Ok(())
}

/// Asks what listens in the pod through a port that kubectl forwards.
fn asked(kubectl: &Kubectl, port: u16) -> anyhow::Result<String> {
    let mut forwarding = kubectl.start(&["port-forward", "near", "-n", "shop", &format!(":{port}")])?;
    let page = Browser::default().request("GET", &format!("http://{}/there", forwarding.forwards()?), "")?;
    forwarding.signal(Signal::SIGINT)?;
    forwarding.end()?;
    Ok(page.body)
}

#[test]
fn h_03_a_port_is_forwarded_over_spdy_and_through_a_tunnel_in_a_websocket() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let port = pods::port(&listens(&cluster.admin()?, "shop", "near", "near")?)?;
    for (way, kubectl) in ways(&alice) {
        let body = asked(&kubectl, port)?;
        assert!(body.starts_with("GET /there HTTP/1."), "{way}: {body}");
    }
    let sessions = gateway.sessions(2, |open| of(open, "alice@example.com", "portforward"))?;
    // A tunnel begins as WebSockets do; SPDY alone is asked for by POST.
    let methods: Vec<&Value> = sessions.iter().map(|session| &session.open["req"]["method"]).collect();
    assert_eq!(methods, ["GET", "POST"]);
    Ok(())
}

/// The API server offers HTTP/2, on which no stream of this kind can be carried.
#[test]
fn h_09_each_upgrade_has_a_connection_of_its_own_over_http1() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    for (_, kubectl) in ways(&alice) {
        for _ in 0..2 {
            kubectl.ok(&["exec", "near", "-n", "shop", "--", "true"])?;
        }
    }
    let scrape = Scrape::of(gateway.admin())?;
    let opened = |class: &str, protocol: &str| {
        let series = format!("gateway_upstream_connections_total{{class=\"{class}\",protocol=\"{protocol}\"}}");
        scrape.series.get(&series).copied()
    };
    assert_eq!(opened("Upgrade", "Http1"), Some(4.0));
    assert_eq!(opened("Upgrade", "Http2"), Some(0.0));
    assert!(opened("Short", "Http2") >= Some(1.0), "kubectl's other calls");
    Ok(())
}

#[test]
fn k8s_01_looking_at_a_stream_is_not_entering_whatever_the_protocol() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let carol = gateway.kubectl_of("carol")?;
    for (way, kubectl) in ways(&carol) {
        for (line, subresource) in COMMANDS {
            let said = kubectl.run(&line.split(' ').collect::<Vec<_>>())?;
            assert!(
                said.code == 1 && said.stderr.contains("carol@example.com may not "),
                "{way} {subresource}: {said}"
            );
        }
    }
    let refused = |records: &[Value], subresource: &str| {
        let of_it = |record: &&Value| {
            record["kind"] == "refusal"
                && of(record, "carol@example.com", subresource)
                && record["outcome"]["status"] == 403
        };
        records.iter().filter(of_it).count()
    };
    gateway.records_with("carol's refusals", |records| {
        COMMANDS
            .iter()
            .all(|(_, subresource)| refused(records, subresource) >= 2)
    })?;
    // A plain call behind them, so that whatever was wrongly sent before it would be in the server's log by now.
    carol.ok(&["get", "pod", "web", "-n", "shop"])?;
    for event in cluster.audit_events()? {
        let entered = event
            .object_ref
            .as_ref()
            .is_some_and(|object| ["exec", "attach", "portforward", "proxy"].contains(&object.subresource.as_str()));
        let hers = event
            .impersonated_user
            .as_ref()
            .is_some_and(|user| user.username == "carol@example.com");
        assert!(
            !(entered && hers),
            "it reached the cluster: {} {}",
            event.verb,
            event.request_uri
        );
    }
    Ok(())
}

#[test]
fn h_22_a_removed_binding_ends_sessions_with_words_and_leaves_those_of_others() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let bob = gateway.kubectl_of("bob")?;
    let exec = ["exec", "web", "-n", "shop", "--", "sh", "-c", TALK];
    for ((way, hers), (_, his)) in ways(&alice).into_iter().zip(ways(&bob)) {
        admin.apply(&binding("for-a-while", "sre"))?;
        try_until("bob may enter", PATIENCE, || {
            bob.ok(&["exec", "web", "-n", "shop", "--", "true"]).map(drop)
        })?;
        let (mut hers, mut his) = (hers.start(&exec)?, his.start(&exec)?);
        for running in [&mut hers, &mut his] {
            running.line("the command talks", |line| line == "line 2")?;
        }
        admin.ok(&["delete", "rolebinding", "for-a-while", "-n", "shop"])?;
        let words = his.line("bob is told why", |line| line.contains("ended by the gateway: no role"))?;
        assert_ne!(his.end()?, 0, "{way}: {words}");
        hers.goes_on()?;
    }
    let ended = |records: &[Value]| {
        records
            .iter()
            .filter(|record| record["kind"] == "close" && record["outcome"]["end"] == "ended")
            .count()
    };
    gateway.records_with("two ended", |records| ended(records) == 2)?;
    Ok(())
}
