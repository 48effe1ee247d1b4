//! Entering a pod through the gate: real kubectl, the real API server, a node whose pods are real processes; over WebSocket and
//! over SPDY. What a client sees is compared in `every_client`; here it is what the gate decides, records and ends.

use std::sync::OnceLock;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::browser::Browser;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;
use tests::metrics::Scrape;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
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
kind: RoleBinding
metadata: { name: dev-enters, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: enters }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
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
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" http --listen "$POD_IP:0"']
      env: [{ name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }]
---
apiVersion: v1
kind: Pod
metadata: { name: near, namespace: shop }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers: [{ name: near, image: none, command: [sh, -c, 'exec "$NODE_BINARY" http --listen 127.0.0.1:0'] }]
"#;

/// Command and the subresource that it asks for.
const COMMANDS: [(&str, &str); 4] = [
    ("exec web -n shop -- true", "exec"),
    ("attach web -n shop", "attach"),
    ("port-forward web -n shop :80", "portforward"),
    ("get --raw /api/v1/namespaces/shop/services/web:80/proxy/", "proxy"),
];

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD_OF_ALL: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let begin = || {
        let cluster = Cluster::start(ClusterOptions {
            node: true,
            ..ClusterOptions::default()
        })?;
        let admin = cluster.admin()?;
        admin.apply(WORLD)?;
        admin.ok(&[
            "wait",
            "--for=condition=Ready",
            "pod/web",
            "pod/near",
            "-n",
            "shop",
            "--timeout=50s",
        ])?;
        anyhow::Ok(cluster)
    };
    WORLD_OF_ALL
        .get_or_init(|| begin().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// The two protocols that kubectl speaks for streams.
fn ways(kubectl: &Kubectl) -> [(&'static str, Kubectl); 2] {
    let over = |websockets: &str| {
        let all = kubectl.clone().with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        all.with("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
    };
    [("WebSocket", over("true")), ("SPDY", over("false"))]
}

fn of(record: &Value, user: &str, subresource: &str) -> bool {
    record["by"]["user"] == user && record["req"]["subresource"] == subresource
}

/// The record that ended the one with this id.
fn close_of<'r>(records: &'r [Value], open: &Value) -> Option<&'r Value> {
    records
        .iter()
        .find(|record| record["kind"] == "close" && record["id"] == open["id"])
}

#[test]
fn h_02_h_13_exec_is_one_session_with_its_bytes_and_exit_code_over_both_protocols() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    for (way, kubectl) in ways(&alice) {
        let script = "cat; echo trouble >&2; exit 3";
        let said = kubectl.run_with_input(&["exec", "-i", "web", "-n", "shop", "--", "sh", "-c", script], "in\n")?;
        assert_eq!((said.stdout.as_str(), said.code), ("in\n", 3), "{way}: {said}");
        assert_eq!(
            said.stderr, "trouble\ncommand terminated with exit code 3\n",
            "{way}: {said}"
        );
    }
    let opened = |record: &&Value| record["kind"] == "open" && of(record, "alice@example.com", "exec");
    let records = gateway.records_with("both sessions are closed", |records| {
        let mut all = records.iter().filter(opened).peekable();
        all.peek().is_some() && all.filter(|open| close_of(records, open).is_some()).count() == 2
    })?;
    for open in records.iter().filter(opened) {
        assert_eq!(open["req"]["action"], "exec", "{open}");
        let close = close_of(&records, open).expect("waited for");
        assert_eq!(close["pair"], open["seq"], "{close}");
        assert_eq!(close["outcome"]["end"], "answered", "{close}");
        assert_eq!(close["outcome"]["status"], 101, "{close}");
        let bytes = |name: &str| close["outcome"][name].as_u64().unwrap_or_default();
        assert!(bytes("bytes_in") > 3 && bytes("bytes_out") > 10, "{close}");
    }
    Ok(())
}

/// Asks what listens in the pod through a port that kubectl forwards.
fn asked(kubectl: &Kubectl, port: &str) -> anyhow::Result<String> {
    let mut forwarding = kubectl.start(&["port-forward", "near", "-n", "shop", &format!(":{port}")])?;
    let said = forwarding.line("it forwards", |line| line.starts_with("Forwarding from 127.0.0.1:"))?;
    let local = said.trim_start_matches("Forwarding from ").split(' ').next();
    let page = Browser::default().request("GET", &format!("http://{}/there", local.unwrap_or_default()), "")?;
    forwarding.signal(Signal::SIGINT)?;
    forwarding.end()?;
    Ok(page.body)
}

#[test]
fn h_03_a_port_is_forwarded_over_spdy_and_through_a_tunnel_in_a_websocket() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let admin = cluster.admin()?;
    let port = try_until("it says where it listens", PATIENCE, || {
        let log = admin.ok(&["logs", "near", "-n", "shop"])?;
        let port = log
            .lines()
            .find_map(|line| line.strip_prefix("listening on 127.0.0.1:"));
        Ok(port.context("not yet")?.to_owned())
    })?;
    for (way, kubectl) in ways(&alice) {
        let body = asked(&kubectl, &port)?;
        assert!(body.starts_with("GET /there HTTP/1."), "{way}: {body}");
    }
    let opened = |record: &&Value| record["kind"] == "open" && of(record, "alice@example.com", "portforward");
    let records = gateway.records_with("both are closed", |records| {
        let mut all = records.iter().filter(opened).peekable();
        all.peek().is_some() && all.filter(|open| close_of(records, open).is_some()).count() == 2
    })?;
    // A tunnel begins as WebSockets do; SPDY alone is asked for by POST.
    let methods: Vec<&str> = records
        .iter()
        .filter(opened)
        .filter_map(|open| open["req"]["method"].as_str())
        .collect();
    assert_eq!(methods, ["GET", "POST"]);
    Ok(())
}

/// The API server offers HTTP/2, on which no stream of this kind can be carried.
#[test]
fn h_09_each_upgrade_has_a_connection_of_its_own_over_http1() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
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
    let carol = gateway.kubectl("carol", &gateway.sign_in("carol")?.token)?;
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
    let binding = WORLD
        .split("---")
        .find(|document| document.contains("dev-enters"))
        .expect("it is there")
        .replace("dev-enters", "for-a-while")
        .replace("name: dev }", "name: sre }");
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let bob = gateway.kubectl("bob", &gateway.sign_in("bob")?.token)?;
    let talk = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";
    let exec = ["exec", "web", "-n", "shop", "--", "sh", "-c", talk];
    for ((way, hers), (_, his)) in ways(&alice).into_iter().zip(ways(&bob)) {
        admin.apply(&binding)?;
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
        let seen = hers.lines().len();
        try_until("alice's goes on", PATIENCE, || {
            anyhow::ensure!(hers.lines().len() > seen + 3, "nothing new");
            Ok(())
        })?;
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
