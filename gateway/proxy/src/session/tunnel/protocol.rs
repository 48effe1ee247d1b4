//! Which tap reads a tunnel, from what was asked and what the cluster's 101 chose.

use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName};
use model::request::{Action, Target};
use recording::tap::{self, Act, Protocol, Tap};

use crate::audit::Trail;
use crate::entered::{of_kubelet, of_perhaps_a_kubelet};
use crate::listener::Upgrade;

/// The tap for a call whose answer has these headers. None: nobody can read what follows.
pub(crate) fn tap_for(trail: &Trail, answered: &HeaderMap) -> Option<Tap> {
    let text = |name: &HeaderName| answered.get(name).and_then(|value| value.to_str().ok());
    let act = act(trail)?;
    let protocol = Protocol::of(&tap::Upgrade {
        act,
        upgrade: text(&UPGRADE)?,
        subprotocol: text(&SEC_WEBSOCKET_PROTOCOL),
        stream_version: text(&STREAM_PROTOCOL),
    })?;
    let ports = match protocol {
        Protocol::WebSocketForward { .. } => ports(trail)?,
        _ => Vec::new(),
    };
    Some(Tap::new(protocol, ports))
}

/// The ports of a port-forward over WebSocket channels, by the name that the server goes by which is asked: the API server
/// (`PodPortForwardOptions`), or a node's kubelet (`PortHeader` of k8s.io/kubernetes/pkg/apis/core), which looks at no other.
fn ports(trail: &Trail) -> Option<Vec<u16>> {
    let target = trail.target.as_ref()?;
    let wanted: &[u8] = match trail.facts.as_ref()?.action() {
        Action::PortForward => b"ports",
        _ => b"port",
    };
    let values = target.query().filter(|(name, _)| name.as_ref() == wanted);
    tap::ports(values.map(|(_, value)| value))
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Whether there is a tap for what this upgrade may become; told before the cluster is asked.
pub(crate) fn may_be_read(trail: &Trail, upgrade: Upgrade) -> bool {
    // SPDY of an unknown meaning; any WebSocket is read as messages at least.
    act(trail).is_some_and(|act| act != Act::Other || upgrade == Upgrade::WebSocket)
}

/// Whether a node's kubelet is asked to run something in a pod, or to let the caller into one.
pub(crate) fn runs_a_command(target: &Target) -> bool {
    matches!(
        of_perhaps_a_kubelet(target),
        Some("run" | "exec" | "attach" | "portForward")
    )
}

fn act(trail: &Trail) -> Option<Act> {
    let facts = trail.facts.as_ref()?;
    Some(match facts.action() {
        Action::Exec | Action::Attach => Act::Command,
        Action::PortForward => Act::Forward,
        Action::Proxy => match of_kubelet(facts, trail.target.as_ref()?) {
            Some("exec" | "attach") => Act::Command,
            Some("portForward") => Act::Forward,
            _ => Act::Other,
        },
        _ => Act::Other,
    })
}

/// Whether it runs a command and answers without ever switching protocols.
pub(crate) fn never_switches(target: &Target) -> bool {
    of_perhaps_a_kubelet(target) == Some("run")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use access::decide::Authorization;
    use http::HeaderValue;
    use model::request::{RequestFacts, Wire};
    use recording::tap::{Channel, Event, Way};

    use super::*;
    use crate::identity::{Credential, for_bench};
    use crate::session::bench::World;

    #[test]
    fn the_ports_of_a_forward_are_those_that_the_server_that_is_asked_goes_by() {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let told = |path: &str| {
            let mut answered = HeaderMap::new();
            answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
            answered.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io"));
            let mut tap = tap_for(&world.call(Arc::clone(&person), path, true), &answered)?;
            let mut told = Vec::new();
            // A message of a client on the channel 0: `hi`.
            tap.feed(Way::Up, b"\x82\x83\0\0\0\0\0hi", &mut |_, event| {
                if let Event::Data {
                    channel: Channel::Forward { port, .. },
                    bytes,
                } = event
                {
                    told.push((port, bytes.to_vec()));
                }
            })
            .unwrap();
            Some(told)
        };
        let of_node = "/api/v1/nodes/n/proxy/portForward/shop/web";
        let of_pod = "/api/v1/namespaces/shop/pods/web/portforward";
        let read = Some(vec![(80, b"hi".to_vec())]);
        for path in [
            format!("{of_node}?port=80"),
            format!("{of_node}?ports=443&port=80"),
            format!("{of_node}/uid?%70ort=80,443"),
            format!("{of_pod}?ports=80"),
            format!("{of_pod}?port=443&ports=80&ports=443"),
        ] {
            assert_eq!(told(&path), read, "{path}");
        }
        // Neither server begins one without its ports; if one did, nobody could say what passes.
        for path in [
            of_node.to_owned(),
            format!("{of_node}?ports=80"),
            format!("{of_node}?port="),
            format!("{of_node}?port=0"),
            of_pod.to_owned(),
            format!("{of_pod}?port=80"),
        ] {
            assert_eq!(told(&path), None, "{path}");
        }
    }

    #[test]
    fn a_nodes_kubelet_is_asked_what_the_path_behind_proxy_says_however_it_is_spelled() {
        for (path, word) in [
            ("/api/v1/nodes/n/proxy/exec/shop/web/main?tty=1", Some("exec")),
            ("/api/v1/nodes/https:n:10250/proxy/%65xec/shop/web/main", Some("exec")),
            ("/api/v1/nodes/n/proxy/portForward/shop/web", Some("portForward")),
            ("/api/v1/nodes/n/proxy//run/shop/web/main", Some("run")),
            ("/api/v1/nodes/n/proxy/./run/shop/web/main", Some("run")),
            ("/api/v1/nodes/n/proxy/x/../run/shop/web/main", Some("run")),
            ("/api/v1/nodes/n/proxy/%FF/../../run/shop/web/main", Some("run")),
            ("/api/v1/nodes/n/proxy", None),
            ("/api/v1/namespaces/nodes/pods/web/proxy/exec/a/b/c", None),
        ] {
            let target = Target::parse(path.as_bytes()).unwrap();
            assert_eq!(of_perhaps_a_kubelet(&target), word, "{path}");
        }
        let wire = Wire {
            method: "GET",
            wants_upgrade: true,
            impersonates: false,
        };
        for (name, word) in [
            ("n", Some("exec")),
            ("n:", Some("exec")),
            ("n:10250", Some("exec")),
            ("https:n:", Some("exec")),
            ("https:n:10250", Some("exec")),
            // Whatever listens there, which may be the caller's own.
            ("n:31234", None),
            ("https:n:31234", None),
            ("n:010250", None),
        ] {
            let path = format!("/api/v1/nodes/{name}/proxy/exec/a/b/c");
            let target = Target::parse(path.as_bytes()).unwrap();
            let facts = RequestFacts::classify(&target, wire).unwrap();
            assert_eq!(of_kubelet(&facts, &target), word, "{path}");
        }
        let asks = |path: &str| runs_a_command(&Target::parse(path.as_bytes()).unwrap());
        assert!(asks("/api/v1/nodes/n/proxy/run/shop/web/main?cmd=id"));
        assert!(!asks("/api/v1/nodes/n/proxy/metrics"));
        // It refuses only, and a kubelet may listen elsewhere.
        assert!(asks("/api/v1/nodes/n:31234/proxy/run/shop/web/main?cmd=id"));
    }

    #[test]
    fn promise_3_what_listens_on_a_port_of_a_node_says_not_how_it_is_read() {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        for (path, of_kubelet) in [
            ("exec/a/b/c?tty=1&output=1&command=top", true),
            ("attach/a/b/c?tty=1&output=1", true),
            ("portForward/a/b?port=80", true),
            ("metrics", false),
        ] {
            for (name, is_the_kubelets) in [
                ("n", true),
                ("n:10250", true),
                ("n:31234", false),
                ("https:n:31234", false),
            ] {
                let trail = world.call(Arc::clone(&person), &format!("/api/v1/nodes/{name}/proxy/{path}"), true);
                let mut answered = HeaderMap::new();
                answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
                answered.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io"));
                let tap = tap_for(&trail, &answered).unwrap();
                let is_read_as_messages = tap.protocol() == Protocol::WebSocketPlain;
                assert_eq!(is_read_as_messages, !(of_kubelet && is_the_kubelets), "{name} {path}");
                // Of another meaning, SPDY is read by nobody.
                assert_eq!(
                    may_be_read(&trail, Upgrade::Spdy31),
                    !is_read_as_messages,
                    "{name} {path}"
                );
                assert!(may_be_read(&trail, Upgrade::WebSocket));
            }
        }
    }
}
