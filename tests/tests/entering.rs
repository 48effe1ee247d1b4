//! Entering a pod through the gate: real kubectl, the real API server, a node whose pods are real processes; over WebSocket and
//! over SPDY. What a client sees is compared in `every_client`; here it is what the gate decides, records and ends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::browser::Browser;
use tests::caller::both;
use tests::channels::{BINARY, CLOSE, Frame, LAST, TEXT, of_client, of_server};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Kubectl, Way, run};
use tests::left_out::{Lack, left_out};
use tests::metrics::Scrape;
use tests::once::Once;
use tests::person::Person;
use tests::pods::{self, TALK, listens, namespace, shell};
use tests::records::Session;
use tests::rules::rule;
use tests::upgraded::{Switch, Upgraded};
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
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: enters-nodes }
rules:
- { apiGroups: [""], resources: [nodes/proxy], verbs: [get, create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: enters-nodes }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enters-nodes }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }]
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

/// kubectl asks by WebSocket, and when that is refused by SPDY: one act that was refused, as a person sees it. What the person asks
/// for by SPDY alone is another one.
#[test]
fn h_02_a_refused_session_is_one_act_though_kubectl_asks_twice() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let carol = Person::signed_in(&gateway, "carol")?;
    let streams = &COMMANDS[..3];
    for (line, _) in streams {
        for way in Way::BOTH {
            let said = run(carol.kubectl(way, &line.split(' ').collect::<Vec<_>>())?, "", PATIENCE)?;
            assert_eq!(said.code, 1, "{way} {line}: {said}");
        }
    }
    for (_, subresource) in streams {
        let refusals = |records: &[Value]| -> Vec<Value> {
            let of_it = |record: &&Value| record["kind"] == "refusal" && of(record, "carol@example.com", subresource);
            records.iter().filter(of_it).cloned().collect()
        };
        let records = gateway.records_with("the refusals", |records| refusals(records).len() == 3)?;
        let refusals = refusals(&records);
        let [first, second, alone] = refusals.as_slice() else {
            anyhow::bail!("{refusals:?}");
        };
        let methods = [first, second, alone].map(|one| &one["req"]["method"]);
        assert_eq!(methods, ["GET", "POST", "POST"], "{refusals:?}");
        let names = [first, second, alone].map(|one| one["req"].get("fallback_of"));
        assert_eq!(names, [None, Some(&first["id"]), None], "{refusals:?}");

        let said = carol.ok("gatescribe audit search user:carol -o json")?.json()?;
        let rows = said["records"].as_array().with_context(|| said.to_string())?;
        let told = rows.iter().filter(|row| row["action"] == *subresource);
        // The newest first; an act is told by its last call.
        assert_eq!(
            told.map(|row| &row["id"]).collect::<Vec<_>>(),
            [&alone["id"], &second["id"]],
            "{said}"
        );
    }
    let sessions = carol.sessions("user:carol")?;
    assert!(
        sessions.is_empty(),
        "what the gate refused has never been a session: {sessions:?}"
    );
    Ok(())
}

/// No client of today asks for SPDY by GET, and the API server takes it: whoever may only `get` these subresources does not come in
/// that way.
#[test]
fn h_02_k8s_01_spdy_that_is_asked_for_by_get_is_decided_as_by_post() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let [alice, carol] = ["alice", "carol"].map(|name| gateway.sign_in(name));
    let (alice, carol) = (alice?.token, carol?.token);
    let of_the_pod = "/clusters/bench/api/v1/namespaces/shop/pods/web";
    for (call, action, version) in [
        ("exec?command=true&stdout=true", "exec", "v4.channel.k8s.io"),
        ("portforward", "portforward", "portforward.k8s.io"),
    ] {
        let target = format!("{of_the_pod}/{call}");
        let ask =
            |token: &str| Upgraded::begin_by("GET", &gateway, token, &target, Switch::Spdy(version), b"")?.answer();
        let refused = ask(&carol)?;
        assert!(refused.head.starts_with("HTTP/1.1 403 "), "{action}: {}", refused.head);
        let client = ask(&alice)?;
        ensure!(client.is_granted(), "{action}: {}", client.head);
        let id = client.id()?;
        drop(client);
        let (open, close) = both(&gateway, &id)?;
        let asked = ["method", "action"].map(|name| &open["req"][name]);
        assert_eq!(asked, ["GET", action], "{open}");
        assert_eq!(
            (&open["kind"], &close["outcome"]["status"]),
            (&"open".into(), &101.into()),
            "{close}"
        );
    }
    Ok(())
}

/// Ways in which the API server reads the name of what a `proxy` subresource leads to; the first is the bare one.
fn spellings(name: &str, port: &str) -> [String; 6] {
    [
        name.to_owned(),
        format!("{name}:"),
        format!(":{name}:"),
        format!("{name}:{port}"),
        format!("https:{name}:{port}"),
        format!("{name}%3A{port}"),
    ]
}

/// A rule about everybody, and a word of what it refuses.
fn named(effect: &str, name: &str, scope: &str) -> (String, String) {
    let (more, word) = match effect {
        "allow" => ("  obligations: { record: true }\n", "has to be recorded".to_owned()),
        _ => ("", format!("AccessRule not-{name}")),
    };
    let rule = format!(
        r#"---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: not-{name} }}
spec:
  effect: {effect}
  subjects: {{ groups: ["*"] }}
  kubernetes: {{ {scope}, names: [{name}] }}
{more}"#
    );
    (rule, word)
}

/// What a rule says of an object holds for every way in which the API server reads its name, and is no rule about others.
#[test]
fn a_rule_about_a_name_is_not_left_by_a_port_or_scheme_beside_it() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let path = "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}";
    let kubelet = admin.ok(&["get", "node", "node-1", "-o", path])?;
    let port = pods::port(&listens(&admin, "shop", "near", "near")?)?.to_string();
    let direct = cluster.as_person("bob@example.com", &["sre"])?;
    for (person, name, scope, before, port) in [
        (
            "bob",
            "node-1",
            r#"verbs: ["*"], resources: [nodes/proxy]"#,
            "nodes/",
            kubelet.trim(),
        ),
        ("alice", "near", "actions: [enter]", "namespaces/shop/pods/", &port),
    ] {
        let target = |name: &str| format!("/api/v1/{before}{name}/proxy/healthz");
        let targets = spellings(name, port).map(|name| target(&name));
        if name == "node-1" {
            for target in &targets {
                assert_eq!(direct.ok(&["get", "--raw", target])?, "ok", "{target} is the kubelet");
            }
        }
        for effect in ["forbid", "allow"] {
            let (rule, word) = named(effect, name, scope);
            let gateway = Gateway::start(cluster, &Options::ruled(rule))?;
            let person = gateway.kubectl_of(person)?;
            for target in &targets {
                let refused = person.run(&["get", "--raw", target])?;
                assert!(
                    refused.code == 1 && refused.stderr.contains(&word),
                    "{word} {target}: {refused}"
                );
            }
            let other = person.run(&["get", "--raw", &target("another:1")])?;
            assert!(!other.stderr.contains(&word), "{other}");
        }
    }
    Ok(())
}

/// What a node itself answers, to whoever may enter it: the same as direct, and each call an entering of the node.
#[test]
fn h_21_a_node_is_entered_by_whoever_may_and_each_call_is_recorded_as_that() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let direct = cluster.as_person("bob@example.com", &["sre"])?;
    let (bob, alice) = (gateway.kubectl_of("bob")?, gateway.kubectl_of("alice")?);
    let of_the_node = |path: &str| format!("/api/v1/nodes/node-1/proxy/{path}");
    for (path, part) in [("healthz", "ok"), ("containerLogs/shop/near/near", "listening on ")] {
        let target = of_the_node(path);
        let said = bob.ok(&["get", "--raw", &target])?;
        // A log only grows: another test may ask the service meanwhile, which writes down who came.
        let later = direct.ok(&["get", "--raw", &target])?;
        assert!(said.contains(part) && later.starts_with(&said), "{said}\n{later}");
        let refused = alice.run(&["get", "--raw", &target])?;
        assert!(refused.code == 1 && refused.stderr.contains("may not "), "{refused}");
    }
    let is_of_a_node = |record: &Value| record["req"]["resource"] == "nodes" && record["req"]["action"] == "proxy";
    let count = |records: &[Value], kind: &str| {
        let found = records
            .iter()
            .filter(|record| record["kind"] == kind && is_of_a_node(record));
        found.count()
    };
    // No read, whatever the method: what a kubelet is asked to do is its own business.
    let records = gateway.records_with("both", |records| {
        count(records, "intent") == 2 && count(records, "refusal") == 2
    })?;
    assert_eq!(count(&records, "access"), 0);

    // A switch is a session. The API server drops the query of one that it passes to a node, and this one needs none.
    let token = gateway.sign_in("bob")?.token;
    let target = format!("/clusters/bench{}", of_the_node("portForward/shop/near"));
    let client = Upgraded::ask(&gateway, &token, &target, Switch::Spdy("portforward.k8s.io"), b"")?;
    ensure!(client.is_granted(), "{}", client.head);
    let id = client.id()?;
    drop(client);
    let (open, close) = both(&gateway, &id)?;
    assert!(open["kind"] == "open" && is_of_a_node(&open), "{open}");
    assert_eq!(
        (&close["kind"], &close["outcome"]["status"]),
        (&"close".into(), &101.into()),
        "{close}"
    );
    Ok(())
}

/// A kubelet goes by its path alone, so a word of the query that names another container changes no record.
#[test]
fn promise_3_who_enters_through_a_node_cannot_have_another_pod_or_container_recorded() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let bob = gateway.sign_in("bob")?.token;
    let kubectl = gateway.kubectl("bob", &bob)?;
    let of_the_node = |path: &str| format!("/api/v1/nodes/node-1/proxy/{path}");
    let entered = |record: &Value| {
        let word = |name: &str| record["req"][name].as_str().unwrap_or("-").to_owned();
        [word("name"), word("pod"), word("container")].join(" ")
    };
    // Plain requests, whose query the API server passes on; what the kubelet says of them is its own business.
    for path in [
        "exec/shop/near/near?command=id&container=false",
        "attach/shop/near/near?container=false",
        "run/shop/near/near?cmd=id&container=false",
        "containerLogs/shop/near/near?container=false",
        "x/../exec//shop/./near/%6eear?container=false",
    ] {
        drop(kubectl.run(&["get", "--raw", &of_the_node(path)])?);
    }
    let is_plain = |record: &&Value| record["kind"] == "intent" && record["req"]["resource"] == "nodes";
    let records = gateway.records_with("all five", |records| records.iter().filter(is_plain).count() == 5)?;
    for record in records.iter().filter(is_plain) {
        assert_eq!(entered(record), "node-1 shop/near near", "{record}");
    }
    // A session, under way and over.
    let target = of_the_node("portForward/shop/near?container=false");
    let target = format!("/clusters/bench{target}");
    let client = Upgraded::ask(&gateway, &bob, &target, Switch::Spdy("portforward.k8s.io"), b"")?;
    ensure!(client.is_granted(), "{}", client.head);
    let id = client.id()?;
    let carol = Person::signed_in(&gateway, "carol")?;
    let live = carol.sessions("--live")?;
    let shown = live.iter().find(|session| session["id"] == *id).context("it is live")?;
    assert_eq!(
        (&shown["pod"], shown.get("container")),
        (&"shop/near".into(), None),
        "{shown}"
    );
    let listed = carol.ok("gatescribe session ls --live")?;
    assert!(listed.stdout.contains(" node:node-1/shop/near "), "{listed}");
    drop(client);
    let (open, close) = both(&gateway, &id)?;
    assert_eq!(entered(&open), "node-1 shop/near -", "{open}");
    // Asked for as for any pod.
    assert_eq!(close["upstream"]["node"], "node-1", "{close}");
    let listed = try_until("it is found", PATIENCE, || {
        let listed = carol.sessions("user:bob")?;
        listed
            .into_iter()
            .find(|session| session["id"] == *id)
            .context("not yet")
    })?;
    assert_eq!(listed["pod"], "shop/near", "{listed}");
    Ok(())
}

/// A WebSocket server on the pods' own address that says everything back, and its port.
fn says_back(address: &str) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((address, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever leaves within a frame has left.
            std::thread::spawn(move || drop(echo(stream)));
        }
    });
    Ok(port)
}

fn echo(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(&Switch::WebSocket("echo").granted())?;
    loop {
        let frame = Frame::read(&mut stream)?;
        stream.write_all(&of_server(frame.first, &frame.payload))?;
        if frame.kind() == CLOSE {
            return Ok(());
        }
    }
}

/// A service that leads to a port of the pod `near`. Nobody finds out endpoints here, so they are written by hand.
fn service(name: &str, address: &SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec: {{ ports: [{{ port: 80, targetPort: {port} }}] }}
---
apiVersion: v1
kind: Endpoints
metadata: {{ name: {name}, namespace: shop }}
subsets:
- addresses: [{{ ip: {ip}, targetRef: {{ kind: Pod, name: near, namespace: shop }} }}]
  ports: [{{ port: {port} }}]
"#
    )
}

#[test]
fn h_21_a_websocket_of_a_real_pod_and_a_real_service_is_entered_recorded_and_unchanged() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let address = admin.ok(&["get", "pod", "near", "-n", "shop", "-o", "jsonpath={.status.podIP}"])?;
    if address.starts_with("127.") {
        left_out("WebSockets behind pods and services", Lack::Route, "")?;
        return Ok(());
    }
    let port = says_back(&address)?;
    admin.apply(&service("echo", &SocketAddr::new(address.parse()?, port)))?;
    let enters = "actions: [enter], namespaces: [shop]";
    let recorded = rule("dev", "shop-is-recorded", enters, "record: true");
    let gateway = Gateway::start(cluster, &Options::ruled(recorded))?;
    let [alice, carol] = ["alice", "carol"].map(|name| gateway.sign_in(name));
    let (alice, carol) = (alice?.token, carol?.token);
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(70_000).collect();
    for place in [format!("pods/near:{port}"), "services/echo:80".to_owned()] {
        let target = format!("/clusters/bench/api/v1/namespaces/shop/{place}/proxy/socket?a=b");
        let switch = Switch::WebSocket("echo");
        let refused = Upgraded::ask(&gateway, &carol, &target, switch, b"")?;
        assert!(refused.head.starts_with("HTTP/1.1 403 "), "{place}: {}", refused.head);
        // The server learns of a service's endpoints a moment after they are written.
        let mut client = try_until("the cluster leads there", PATIENCE, || {
            let client = Upgraded::ask(&gateway, &alice, &target, switch, b"")?;
            ensure!(client.is_granted(), "{place}: {}", client.head);
            Ok(client)
        })?;
        for (first, payload) in [
            (LAST | TEXT, b"hello".as_slice()),
            (LAST | BINARY, &bytes),
            (LAST | CLOSE, b"\x0f\xa0own code"),
        ] {
            client.write(&of_client(first, payload))?;
            let back = client.frame().with_context(|| place.clone())?;
            assert!(
                back.first == first && back.payload == payload,
                "{place}: {:x}",
                back.first
            );
        }
        let id = client.id()?;
        drop(client);
        let (open, close) = both(&gateway, &id)?;
        assert_eq!(
            (&open["kind"], &open["req"]["action"]),
            (&"open".into(), &"proxy".into()),
            "{open}"
        );
        assert!(close["outcome"]["bytes_out"].as_u64() > Some(70_000), "{close}");
        let kept = &close["recording"];
        assert!(
            kept["frames"].as_u64() >= Some(6) && kept.get("incomplete").is_none(),
            "{close}"
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
