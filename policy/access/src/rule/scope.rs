//! Whether a rule's scope covers a call.
//!
//! Allow and forbid read the same words with opposite caution. Where the gateway cannot know what a call will touch
//! (a list over all namespaces, a creation whose name is in the body, a namespace that the snapshot has not seen), an
//! allow does not cover it and a forbid does.

use super::call::{Call, Situation};
use super::compiled::{Miss, Rule, Scope};
use super::document::Effect;

/// The first part of the scope that the call misses.
pub(super) fn miss(scope: &Scope, rule: &Rule, call: &Call<'_>, situation: &Situation<'_>) -> Option<Miss> {
    let asked = &call.asked;
    let listed = |list: &Option<Vec<Box<str>>>, wanted: &str| {
        list.as_ref().is_none_or(|list| {
            list.iter()
                .any(|item| matches!(item.as_ref(), "*") || item.as_ref() == wanted)
        })
    };
    if !listed(&scope.clusters, call.cluster) {
        return Some(Miss::Cluster);
    }
    if !listed(&scope.verbs, asked.verb) {
        return Some(Miss::Verb);
    }
    if !object(scope, call) {
        return Some(Miss::Object);
    }
    if scope
        .actions
        .as_ref()
        .is_some_and(|actions| !actions.contains(&call.action))
    {
        return Some(Miss::Action);
    }
    if !asked.is_resource {
        // Paths have neither namespace nor name; a rule that is confined to some never reaches them.
        let confined = rule.namespace.is_some() || scope.namespaces.is_some() || scope.selector.is_some();
        return (confined || scope.names.is_some()).then_some(Miss::Namespace);
    }
    if !namespace(scope, rule, call, situation) {
        return Some(Miss::Namespace);
    }
    if !name(scope, rule, call) {
        return Some(Miss::Name);
    }
    None
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

fn namespace(scope: &Scope, rule: &Rule, call: &Call<'_>, situation: &Situation<'_>) -> bool {
    let asked = &call.asked;
    let own = rule.namespace.as_deref();
    if own.is_none() && scope.namespaces.is_none() && scope.selector.is_none() {
        return true;
    }
    if asked.namespace.is_empty() {
        // Over all namespaces it may touch one that is forbidden; a namespaced rule reaches its own only.
        return rule.effect == Effect::Forbid && own.is_none() && spans_namespaces(call);
    }
    let named = scope
        .namespaces
        .as_ref()
        .is_none_or(|list| list.iter().any(|item| item.as_ref() == asked.namespace));
    let labelled = scope.selector.as_ref().is_none_or(|selector| {
        let labels = situation.namespaces.get(asked.namespace);
        labels.map_or(rule.effect == Effect::Forbid, |labels| selector.matches(labels))
    });
    own.is_none_or(|own| own == asked.namespace) && named && labelled
}

/// Whether a call without namespace may reach into namespaces: it is on a collection, and not on one of those kinds
/// that the API server itself keeps cluster-wide. Kinds that are not known here may be namespaced.
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
    collection && !known_cluster_wide
}

fn name(scope: &Scope, rule: &Rule, call: &Call<'_>) -> bool {
    let Some(names) = &scope.names else { return true };
    if call.asked.name.is_empty() {
        return rule.effect == Effect::Forbid;
    }
    names.iter().any(|name| name.as_ref() == call.asked.name)
}
