//! Whether a rule's scope covers a call.
//!
//! Allow and forbid read the same words with opposite caution. Where the gateway cannot know what a call will touch
//! (a list over all namespaces, a creation whose name is in the body, a namespace that the snapshot has not seen, a
//! node through which every pod on it is reached), a forbid covers it, an allow does not, and what an allow demands
//! is owed as a forbid would forbid.

use model::request::Action;

use super::call::{Call, Situation};
use super::compiled::{Miss, Rule, Scope};
use super::labels::LabelSelector;
use super::pattern::ResourcePattern;

/// How far a scope covers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// It does.
    Surely,
    /// It cannot be known, by this part of the scope and for this reason.
    Perhaps(Miss, &'static str),
    /// This part of it is missed.
    Not(Miss),
}

impl Cover {
    /// Both parts, the first told first.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Not(miss), _) | (_, Self::Not(miss)) => Self::Not(miss),
            (Self::Surely, part) | (part, _) => part,
        }
    }
}

/// How far the scope covers the call; of what is missed, the first part.
pub(super) fn cover(scope: &Scope, rule: &Rule, call: &Call<'_>, situation: &Situation<'_>) -> Cover {
    let asked = &call.asked;
    if !is_listed(scope.clusters.as_ref(), call.cluster) {
        return Cover::Not(Miss::Cluster);
    }
    if let Err(miss) = act(scope, call) {
        return Cover::Not(miss);
    }
    if !asked.is_resource {
        // Paths have neither namespace nor name; a rule that is confined to some never reaches them.
        let confined = rule.namespace.is_some() || scope.namespaces.is_some() || scope.selector.is_some();
        return if confined || scope.names.is_some() {
            Cover::Not(Miss::Namespace)
        } else {
            Cover::Surely
        };
    }
    namespace(scope, rule, call, situation).and(name(scope, call))
}

fn is_listed(list: Option<&Vec<Box<str>>>, wanted: &str) -> bool {
    list.is_none_or(|list| {
        list.iter()
            .any(|item| matches!(item.as_ref(), "*") || item.as_ref() == wanted)
    })
}

/// Whether it names the verb.
pub(super) fn names_verb(scope: &Scope, verb: &str) -> bool {
    is_listed(scope.verbs.as_ref(), verb)
}

/// Whether it names what is done, wherever that is; else which part of that is missed.
pub(super) fn act(scope: &Scope, call: &Call<'_>) -> Result<(), Miss> {
    if !names_verb(scope, call.asked.verb) {
        return Err(Miss::Verb);
    }
    if !object(scope, call) {
        return Err(Miss::Object);
    }
    let is_another = |actions: &Vec<Action>| !actions.contains(&call.action);
    if scope.actions.as_ref().is_some_and(is_another) {
        return Err(Miss::Action);
    }
    Ok(())
}

fn object(scope: &Scope, call: &Call<'_>) -> bool {
    match (&scope.resources, &scope.paths, call.asked.is_resource) {
        (Some(resources), _, true) => resources.iter().any(|resource| resource.covers(&call.asked)),
        (_, Some(paths), false) => paths.iter().any(|path| path.covers(call.asked.path)),
        // Only acts were named: they are acts on resources.
        (None, None, is_resource) => is_resource,
        (Some(_), None, false) | (None, Some(_), true) => false,
    }
}

fn namespace(scope: &Scope, rule: &Rule, call: &Call<'_>, situation: &Situation<'_>) -> Cover {
    let asked = &call.asked;
    let own = rule.namespace.as_deref();
    if own.is_none() && scope.namespaces.is_none() && scope.selector.is_none() {
        return Cover::Surely;
    }
    if asked.namespace.is_empty() {
        // It may touch one that is meant; a namespaced rule reaches its own only, so that no tenant rules over nodes.
        return if own.is_none() && spans_namespaces(call) {
            Cover::Perhaps(Miss::Namespace, "the call may reach into every namespace")
        } else {
            Cover::Not(Miss::Namespace)
        };
    }
    let named = scope
        .namespaces
        .as_ref()
        .is_none_or(|list| list.iter().any(|item| item.as_ref() == asked.namespace));
    if !named || own.is_some_and(|own| own != asked.namespace) {
        return Cover::Not(Miss::Namespace);
    }
    let labelled = |selector: &LabelSelector| {
        situation
            .namespaces
            .get(asked.namespace)
            .map(|own| selector.matches(own))
    };
    match scope.selector.as_ref().map(labelled) {
        None | Some(Some(true)) => Cover::Surely,
        Some(Some(false)) => Cover::Not(Miss::Namespace),
        Some(None) => Cover::Perhaps(Miss::Namespace, "the labels of its namespace are not known"),
    }
}

/// Whether a call enters what lies in namespaces without saying which: through a node, whose kubelet runs commands in
/// every pod on it.
fn enters_through_a_node(call: &Call<'_>) -> bool {
    call.action.enters() && call.asked.namespace.is_empty()
}

/// Whether a call without namespace may reach into namespaces: it enters through a node, or it is on a collection, and
/// not on one of those kinds that the API server itself keeps cluster-wide. Kinds that are not known here may be
/// namespaced.
fn spans_namespaces(call: &Call<'_>) -> bool {
    let collection = matches!(call.asked.verb, "list" | "watch" | "deletecollection" | "create");
    let known_cluster_wide = matches!(
        (call.asked.group, call.asked.resource),
        ("", "nodes" | "namespaces" | "persistentvolumes" | "componentstatuses")
            | ("rbac.authorization.k8s.io", "clusterroles" | "clusterrolebindings")
            | (
                "storage.k8s.io",
                "storageclasses" | "volumeattachments" | "csidrivers" | "csinodes"
            )
            | ("apiextensions.k8s.io", "customresourcedefinitions")
            | ("apiregistration.k8s.io", "apiservices")
            | ("admissionregistration.k8s.io", _)
            | (
                "certificates.k8s.io",
                "certificatesigningrequests" | "clustertrustbundles"
            )
            | ("scheduling.k8s.io", "priorityclasses")
            | ("node.k8s.io", "runtimeclasses")
            | ("networking.k8s.io", "ingressclasses" | "ipaddresses" | "servicecidrs")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews")
            | (
                "authorization.k8s.io",
                "subjectaccessreviews" | "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
            )
    );
    enters_through_a_node(call) || (collection && !known_cluster_wide)
}

/// The object that a call is about, where its name is written with a scheme or a port.
pub(super) fn behind<'a>(call: &Call<'a>) -> Option<&'a str> {
    let object = reached(call.asked.name);
    (is_proxied(call) && object != call.asked.name).then_some(object)
}

/// Whether the API server takes the name apart: for it `db`, `db:`, `db:80`, `:db:` and `https:db:` are one object
/// (k8s.io/apimachinery `pkg/util/net/port_split.go` `SplitSchemeNamePort`).
fn is_proxied(call: &Call<'_>) -> bool {
    call.action == Action::Proxy && call.asked.group.is_empty()
}

/// The object behind a name that may have a scheme and a port: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. With more parts
/// it is no name, and the API server finds nothing by it.
fn reached(name: &str) -> &str {
    let mut parts = name.split(':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), _, None, _) | (_, Some(name), Some(_), None) => name,
        _ => name,
    }
}

fn name(scope: &Scope, call: &Call<'_>) -> Cover {
    let asked = &call.asked;
    let Some(names) = &scope.names else {
        return Cover::Surely;
    };
    if names.iter().any(|name| name.as_ref() == asked.name) {
        return Cover::Surely;
    }
    if asked.name.is_empty() {
        return Cover::Perhaps(Miss::Name, "the name is not known before the call");
    }
    if is_proxied(call) && names.iter().any(|name| reached(name) == reached(asked.name)) {
        // Grants are compared as they are written, like those of roles.
        return Cover::Perhaps(Miss::Name, "the name with another port or scheme is one that it lists");
    }
    // The name of the node; those of the rule may be of pods on it, unless the rule speaks of nodes itself.
    let is_named = |resource: &ResourcePattern| resource.is_one() && resource.covers(asked);
    if enters_through_a_node(call) && !scope.resources.iter().flatten().any(is_named) {
        return Cover::Perhaps(Miss::Name, "the call may reach every pod of the node");
    }
    Cover::Not(Miss::Name)
}
