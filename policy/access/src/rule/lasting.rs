//! Which of the calls that a scope covers can go on once they are answered. An obligation about how long something lasts has no
//! effect on others, and is a mistake there (promise 9).
//!
//! It errs to one side: what nobody knows here (a subresource of another API, a path that is not the API server's own) may be
//! a session.

use super::call::Call;
use super::compiled::Scope;
use super::pattern::{PathPattern, ResourcePattern};
use super::scope;
use crate::rbac::Attributes;

/// What may be among the calls of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    /// A session: exec, attach, port-forward, what comes through a `proxy` subresource, or what may be one elsewhere.
    pub(super) sessions: bool,
    /// A watch or a log, which is a session only where it comes over a WebSocket, or what else the API server lets run.
    pub(super) others: bool,
}

/// Subresources of pods that the API server upgrades.
pub(super) const STREAMS: [&str; 3] = ["exec", "attach", "portforward"];
const PROXIED: [&str; 3] = ["nodes", "pods", "services"];
/// Verbs of calls on an object that has a name, as every object with a subresource has.
const ON_ONE: [&str; 5] = ["get", "create", "update", "patch", "delete"];
/// Paths of the API server itself that end when they are answered, with all below them.
const ANSWERED: [&str; 13] = [
    "/.well-known",
    "/api",
    "/apis",
    "/configz",
    "/flagz",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi",
    "/openid",
    "/readyz",
    "/statusz",
    "/version",
];
/// Below it the API server lets a call run, and upgrades none (kube-apiserver's `LongRunningFunc`).
const PROFILES: &str = "/debug/pprof/";

pub(super) fn of(scope: &Scope) -> Lasting {
    let is_proxied = |verb| PROXIED.iter().any(|resource| covers(scope, verb, resource, "proxy"));
    let is_streamed = |stream| covers(scope, "create", "pods", stream);
    // Of an act there is neither a path nor a watch, and none is of another API.
    let by_act = scope.actions.is_some();
    let paths = || scope.paths.iter().flatten().filter(|_| !by_act);
    let resources = || scope.resources.iter().flatten().filter(|_| !by_act);
    let on_one = ON_ONE.iter().any(|verb| scope::names_verb(scope, verb));
    let watches = scope::names_verb(scope, "watch");
    // Each call under a name that it lends owes what it demands.
    let lends = scope::names_verb(scope, "impersonate") && resources().any(is_lent);
    Lasting {
        sessions: lends
            || STREAMS.into_iter().any(is_streamed)
            || ON_ONE.into_iter().any(is_proxied)
            || (on_one && resources().any(ResourcePattern::may_be_a_subresource_of_another_api))
            || paths().any(may_be_upgraded),
        others: lends
            || covers(scope, "get", "pods", "log")
            || (watches && resources().any(ResourcePattern::covers_objects))
            || paths().any(|path| path.overlaps(PROFILES)),
    }
}

/// Whether it names this act on the core group, wherever that may be.
pub(super) fn covers(scope: &Scope, verb: &str, resource: &str, subresource: &str) -> bool {
    let asked = Attributes {
        verb,
        group: "",
        resource,
        subresource,
        namespace: "",
        name: "",
        path: "",
        is_resource: true,
    };
    scope::act(scope, &Call::asking("", asked)).is_ok()
}

/// What may be taken on by `--as` and its like.
fn is_lent(resource: &ResourcePattern) -> bool {
    const AUTHENTICATION: &str = "authentication.k8s.io";
    [
        ("", "users"),
        ("", "groups"),
        ("", "serviceaccounts"),
        (AUTHENTICATION, "uids"),
        (AUTHENTICATION, "userextras"),
    ]
    .into_iter()
    .any(|(group, name)| resource.covers_some_of(group, name))
}

fn may_be_upgraded(path: &PathPattern) -> bool {
    let mut known = ANSWERED.iter().chain(&["/debug/pprof"]);
    !known.any(|root| path.is_below(root))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::rule::KubernetesScope;
    use crate::rule::compile::{self, Wrong};

    fn lasting(scope: &Value) -> (bool, bool) {
        let mut wrong = Wrong::default();
        let scope = compile::scope(&KubernetesScope::deserialize(scope).unwrap(), &mut wrong);
        assert!(wrong.0.is_empty(), "{:?}", wrong.0);
        let Lasting { sessions, others } = of(&scope);
        (sessions, others)
    }

    #[test]
    fn what_goes_on_is_known_by_the_words_of_a_scope() {
        let calls = |verbs: &[&str], resources: &[&str]| json!({"verbs": verbs, "resources": resources});
        let acts = |actions: &[&str]| json!({"actions": actions});
        let paths = |paths: &[&str]| json!({"verbs": ["*"], "paths": paths});
        for (scope, sessions, others) in [
            (acts(&["enter"]), true, false),
            (acts(&["portforward"]), true, false),
            (acts(&["proxy"]), true, false),
            (acts(&["log"]), false, true),
            (acts(&["log", "exec"]), true, true),
            (acts(&["ephemeralcontainers"]), false, false),
            (acts(&["changerights", "issuetoken", "reviewaccess"]), false, false),
            (json!({"actions": ["exec"], "verbs": ["get"]}), false, false),
            (json!({"actions": ["enter"], "verbs": ["get"]}), true, false),
            (
                json!({"actions": ["exec"], "resources": ["secrets"], "verbs": ["*"]}),
                false,
                false,
            ),
            (
                json!({"actions": ["log"], "resources": ["*"], "verbs": ["watch"]}),
                false,
                false,
            ),
            (calls(&["*"], &["*"]), true, true),
            (calls(&["get"], &["*"]), true, true),
            (calls(&["watch"], &["*"]), false, true),
            (calls(&["list", "deletecollection"], &["*"]), false, false),
            (calls(&["*"], &["pods"]), false, true),
            (
                calls(&["get", "list"], &["pods", "secrets", "deployments.apps"]),
                false,
                false,
            ),
            (calls(&["create"], &["pods/exec"]), true, false),
            (calls(&["get"], &["pods/exec"]), false, false),
            (calls(&["patch"], &["nodes/proxy"]), true, false),
            (calls(&["get"], &["pods/log"]), false, true),
            (calls(&["watch"], &["pods/log", "deployments.apps/scale"]), false, false),
            (calls(&["patch"], &["deployments.apps/scale", "*/status"]), false, false),
            (
                calls(&["create"], &["pods/eviction", "leases.coordination.k8s.io/x"]),
                false,
                false,
            ),
            (
                calls(&["get"], &["virtualmachineinstances.subresources.kubevirt.io/vnc"]),
                true,
                false,
            ),
            (calls(&["get"], &["*.subresources.kubevirt.io"]), true, false),
            (calls(&["list"], &["*.subresources.kubevirt.io"]), false, false),
            (calls(&["get"], &["*/console"]), true, false),
            (calls(&["get"], &["virtualmachines.kubevirt.io"]), false, false),
            (calls(&["impersonate"], &["users"]), true, true),
            (calls(&["*"], &["userextras.authentication.k8s.io/scopes"]), true, true),
            (calls(&["impersonate"], &["secrets"]), false, false),
            (calls(&["get"], &["serviceaccounts"]), false, false),
            (
                paths(&["/metrics", "/healthz", "/healthz/*", "/openapi/v3*"]),
                false,
                false,
            ),
            (paths(&["/debug/pprof/*"]), false, true),
            (paths(&["/*"]), true, true),
            (paths(&["/metrics*"]), true, false),
            (paths(&["/console"]), true, false),
            (
                json!({"actions": ["log"], "verbs": ["*"], "paths": ["/*"]}),
                false,
                false,
            ),
        ] {
            assert_eq!(lasting(&scope), (sessions, others), "{scope}");
        }
    }
}
