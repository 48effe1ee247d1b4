//! Which pod a call leads into, and which container of it, as the server reads that which is asked: the API server goes by its
//! path and, for exec and attach, by `container` of the query; a node's kubelet by the path behind `nodes/NAME/proxy/` alone.
//!
//! Invariant: no word stands here that the server which is asked does not go by. A caller may write any beside those, and a
//! record that took it would say that they were elsewhere.

use model::request::{Action, RequestFacts, Target};

use crate::audit::{is_label, is_subdomain};

/// The pod that a call leads into. All of it are names (RFC 1123).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// The pod's namespace.
    pub(crate) namespace: Box<str>,
    /// The pod.
    pub(crate) pod: Box<str>,
    /// The container, where the call names one; else the cluster chooses, and nobody is told which.
    pub(crate) container: Option<Box<str>>,
    /// `NAMESPACE/POD` where it goes through the node's kubelet: of such a request all else that is known names the node.
    pub(crate) by_kubelet: Option<Box<str>>,
}

impl Entered {
    /// What a request enters; none where that is no pod, or none that could be named.
    pub(crate) fn of(facts: &RequestFacts, target: &Target) -> Option<Self> {
        let of_core = facts.action().enters() && facts.api_group().is_empty();
        match facts.resource() {
            "pods" if of_core => Self::by_name(facts, target),
            "nodes" if of_core => Self::by_kubelet(facts, target),
            _ => None,
        }
    }

    fn by_name(facts: &RequestFacts, target: &Target) -> Option<Self> {
        // `PodExecOptions` and `PodAttachOptions` have one; to port-forward it is nothing, behind `proxy` the backend's own.
        let names_one = matches!(facts.action(), Action::Exec | Action::Attach);
        // The first counts, also one that is empty.
        let named = names_one.then(|| target.query().first("container")).flatten();
        let container = named.and_then(|name| String::from_utf8(name.into_owned()).ok());
        Some(Self {
            namespace: subdomain(facts.namespace())?,
            pod: subdomain(facts.name())?,
            container: container.as_deref().and_then(label),
            by_kubelet: None,
        })
    }

    /// The routes of k8s.io/kubernetes `pkg/kubelet/server` (`InstallDebuggingHandlers`, `InstallAuthRequiredHandlers`); some take
    /// the pod's UID before the container.
    fn by_kubelet(facts: &RequestFacts, target: &Target) -> Option<Self> {
        let words: Vec<&str> = words_to_kubelet(facts, target)?
            .into_iter()
            .map(std::str::from_utf8)
            .collect::<Result<_, _>>()
            .ok()?;
        let (namespace, pod, container) = match words.as_slice() {
            ["run" | "exec" | "attach", namespace, pod, container]
            | ["run" | "exec" | "attach", namespace, pod, _, container]
            | ["containerLogs" | "checkpoint", namespace, pod, container] => (namespace, pod, Some(container)),
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => (namespace, pod, None),
            _ => return None,
        };
        let container = match container {
            Some(container) => Some(label(container)?),
            None => None,
        };
        Some(Self {
            namespace: subdomain(namespace)?,
            pod: subdomain(pod)?,
            container,
            by_kubelet: Some(format!("{namespace}/{pod}").into()),
        })
    }
}

fn subdomain(name: &str) -> Option<Box<str>> {
    is_subdomain(name).then(|| name.into())
}

fn label(name: &str) -> Option<Box<str>> {
    is_label(name).then(|| name.into())
}

/// Whether this name of a node leads to its kubelet: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`, of which any port but the
/// kubelet's leads to whatever listens there (k8s.io/kubernetes `pkg/registry/core/node/strategy.go` `ResourceLocation`).
fn is_of_the_kubelet(name: &str) -> bool {
    let mut parts = name.split(':').skip(1);
    matches!(
        (parts.next(), parts.next(), parts.next()),
        (None | Some("" | KUBELET_PORT), None, None) | (Some(_), Some("" | KUBELET_PORT), None)
    )
}

/// Which a cluster may change; whoever names it there names another port, and no pod.
const KUBELET_PORT: &str = "10250";

/// What a node's kubelet is asked for: the first word of the path behind its `proxy`. None where something else of that node is
/// asked: behind another port may stand whatever the caller put there, and no word of theirs says how it is read (promise 3).
pub(crate) fn of_kubelet<'t>(facts: &RequestFacts, target: &'t Target) -> Option<&'t str> {
    let is_proxied = facts.action() == Action::Proxy;
    let words = is_proxied.then(|| words_to_kubelet(facts, target)).flatten();
    std::str::from_utf8(words?.first()?).ok()
}

/// The same word, whoever listens where it goes: for what refuses only. A cluster may have its kubelets on another port.
pub(crate) fn of_perhaps_a_kubelet(target: &Target) -> Option<&str> {
    std::str::from_utf8(words_to_node(target)?.first()?).ok()
}

/// The words that a node's kubelet goes by, if it is asked.
fn words_to_kubelet<'t>(facts: &RequestFacts, target: &'t Target) -> Option<Vec<&'t [u8]>> {
    Some(target)
        .filter(|_| is_of_the_kubelet(facts.name()))
        .and_then(words_to_node)
}

/// The words of the path behind a node's `proxy`, cleaned as the API server cleans it on the way (`path.Join`).
fn words_to_node(target: &Target) -> Option<Vec<&[u8]>> {
    let mut words = target
        .path()
        .strip_prefix(b"/api/v1/nodes/")?
        .split(|byte| *byte == b'/')
        .skip(1);
    if words.next() != Some(b"proxy") {
        return None;
    }
    let mut clean: Vec<&[u8]> = Vec::new();
    for word in words {
        match word {
            b"" | b"." => {}
            b".." => drop(clean.pop()),
            word => clean.push(word),
        }
    }
    Some(clean)
}

/// For the fuzzer: what stands in a record are names, whatever was asked, and the words of the path that lead to a kubelet.
///
/// # Panics
/// They are not.
pub fn fuzz_entered(data: &[u8]) {
    let Ok(target) = Target::parse(data) else { return };
    let wire = model::request::Wire {
        method: "GET",
        wants_upgrade: true,
        impersonates: false,
    };
    let Ok(facts) = RequestFacts::classify(&target, wire) else {
        return;
    };
    let Some(entered) = Entered::of(&facts, &target) else {
        return;
    };
    let names = [Some(&entered.namespace), Some(&entered.pod), entered.container.as_ref()];
    for name in names.into_iter().flatten() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        assert!(!name.is_empty() && name.bytes().all(is_plain), "{name:?}");
        let query_may_name = entered.by_kubelet.is_none() && entered.container.as_ref() == Some(name);
        let mut of_path = target.path().split(|byte| *byte == b'/');
        assert!(
            query_may_name || of_path.any(|word| word == name.as_bytes()),
            "{name:?} is no word of the path"
        );
    }
}

#[cfg(test)]
mod tests {
    use model::request::Wire;
    use proptest::prelude::*;

    use super::*;

    fn entered(raw: &str) -> Option<Entered> {
        let target = Target::parse(raw.as_bytes()).unwrap();
        let wire = Wire {
            method: "GET",
            wants_upgrade: true,
            impersonates: false,
        };
        Entered::of(&RequestFacts::classify(&target, wire).unwrap(), &target)
    }

    /// `NAMESPACE/POD`, `NAMESPACE/POD/CONTAINER`, or nothing.
    fn place(raw: &str) -> String {
        let Some(entered) = entered(raw) else {
            return String::new();
        };
        let of_node = raw.starts_with("/api/v1/nodes/");
        assert_eq!(entered.by_kubelet.is_some(), of_node, "{raw}");
        let words = [Some(entered.namespace), Some(entered.pod), entered.container];
        words.into_iter().flatten().collect::<Vec<_>>().join("/")
    }

    #[test]
    fn promise_3_a_kubelet_goes_by_its_path_so_the_record_does() {
        for (asked, found) in [
            ("n/proxy/exec/shop/web/main?container=false", "shop/web/main"),
            ("n/proxy/run/shop/web/main?cmd=id&container=false", "shop/web/main"),
            ("n/proxy/attach/shop/web/main?container=false", "shop/web/main"),
            ("n/proxy/exec/shop/web/3f1c/main?container=false", "shop/web/main"),
            ("n/proxy/portForward/shop/web?container=false", "shop/web"),
            ("n/proxy/portForward/shop/web/3f1c?container=false", "shop/web"),
            ("n/proxy/containerLogs/shop/web/main?container=false", "shop/web/main"),
            ("n/proxy/checkpoint/shop/web/main", "shop/web/main"),
            // However it is spelled.
            (
                "n/proxy/%65xec/shop//w%65b/./x/../main?container=false",
                "shop/web/main",
            ),
            ("n/proxy/exec/bank/../shop/web/main", "shop/web/main"),
            ("n/proxy/exec/shop%2Fweb/main/", "shop/web/main"),
            ("https:n:10250/proxy/exec/shop/web/main", "shop/web/main"),
            ("n:10250/proxy/exec/shop/web/main", "shop/web/main"),
            // Not the kubelet, but what listens there.
            ("n:8080/proxy/exec/shop/web/main?container=false", ""),
            ("http:n:8080/proxy/exec/shop/web/main?container=false", ""),
            // No route of a kubelet's.
            ("n/proxy/exec/shop/web?container=false", ""),
            ("n/proxy/exec/shop/web/a/b/c?container=false", ""),
            ("n/proxy/portForward/shop?container=false", ""),
            ("n/proxy/cri/exec/TOKEN?container=false", ""),
            ("n/proxy/metrics?container=false", ""),
            // No names.
            ("n/proxy/exec/shop/web/Password1?container=false", ""),
            ("n/proxy/exec/sh%0Aop/web/main", ""),
            ("n/proxy/exec/shop/%FF/main", ""),
        ] {
            assert_eq!(place(&format!("/api/v1/nodes/{asked}")), found, "{asked}");
        }
    }

    #[test]
    fn promise_3_only_what_runs_in_a_container_has_one_and_the_first_word_counts() {
        for (asked, found) in [
            ("web/exec?container=main", "shop/web/main"),
            ("web/attach?container=main&container=false", "shop/web/main"),
            ("web/exec?container=m%61in", "shop/web/main"),
            ("web/exec?%63ontainer=main", "shop/web/main"),
            ("web/exec", "shop/web"),
            // The first, which is empty: the cluster chooses.
            ("web/exec?container&container=false", "shop/web"),
            ("web/exec?container=&container=false", "shop/web"),
            ("web/exec?container=a;b&container=main", "shop/web/main"),
            ("web/exec?container=pass%20word", "shop/web"),
            // Nobody there goes by it.
            ("web/portforward?container=false", "shop/web"),
            ("web/proxy/x?container=false", "shop/web"),
            ("web?container=false", ""),
            ("web/log?container=main", ""),
        ] {
            assert_eq!(
                place(&format!("/api/v1/namespaces/shop/pods/{asked}")),
                found,
                "{asked}"
            );
        }
        assert_eq!(
            place("/api/v1/namespaces/shop/services/web/proxy/x?container=false"),
            ""
        );
    }

    proptest! {
        /// What a path is cleaned of and how its letters are escaped changes nothing.
        #[test]
        fn a_path_to_a_kubelet_names_the_same_pod_however_it_is_spelled(
            words in prop::array::uniform3("[a-z]([a-z0-9-]{0,8}[a-z0-9])?"),
            verb in prop::sample::select(vec!["exec", "attach", "run", "containerLogs"]),
            noise in prop::collection::vec(prop::sample::select(vec!["/", "/./", "/x/../", "//", "/%2E/", "%2F"]), 4),
            escaped in any::<u64>(),
            said in "[a-z]{1,8}",
        ) {
            let spelled = std::iter::once(verb).chain(words.iter().map(String::as_str)).zip(&noise);
            let mut tail = String::new();
            for (number, (word, noise)) in spelled.enumerate() {
                // The first separator belongs to the request, and is no one's to spell.
                tail.push_str(if number == 0 { "/" } else { noise });
                for (place, byte) in word.bytes().enumerate() {
                    match escaped.rotate_left(u32::try_from(number * 10 + place).unwrap()) & 1 {
                        0 => tail.push(char::from(byte)),
                        _ => tail.push_str(&format!("%{byte:02X}")),
                    }
                }
            }
            prop_assert_eq!(place(&format!("/api/v1/nodes/n/proxy{tail}?container={said}")), words.join("/"));
        }

        #[test]
        fn whatever_is_asked_only_names_of_it_are_kept(data in prop::collection::vec(any::<u8>(), 0..80)) {
            fuzz_entered(&data);
            fuzz_entered(&[b"/api/v1/nodes/n/proxy/exec/".as_slice(), &data].concat());
        }
    }
}
