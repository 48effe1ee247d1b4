//! What is said of rules that count as they are written: a part without effect (promise 9), and the way round a rule that its
//! words leave open.

use model::decision::Obligations;

use super::compile::{Compiled, Point};
use super::compiled::{Rule, Scope};
use super::condition::Condition;
use super::document::{Effect, Mode};
use super::lasting::{self, Lasting, STREAMS};
use super::set::Rules;

/// Of one rule alone.
pub(super) fn of_one(rule: &Rule) -> Vec<Point> {
    let mut remarks = Vec::new();
    let mut say = |member, what: &str| {
        remarks.push(Point {
            member,
            item: None,
            what: what.to_owned(),
        });
    };
    let only_others = Lasting {
        sessions: false,
        others: true,
    };
    if rule.scope.as_ref().map(lasting::of) == Some(only_others) {
        let Obligations {
            record, idle_seconds, ..
        } = rule.obligations();
        let what = "it is about sessions, and a watch or a log is one only where it comes over a WebSocket";
        if *record {
            say("spec.obligations.record", what);
        }
        if idle_seconds.is_some() {
            say("spec.obligations.idle", &format!("{what}; `longest` ends all of them"));
        }
    }
    remarks
}

/// Of some rules among `all`; the number is the rule's place among those.
pub(super) fn among(rules: &Rules, all: &Rules) -> Vec<(usize, Point)> {
    let keepers: Vec<_> = all.0.iter().filter(|other| keeps_nodes(other)).collect();
    let mut remarks = Vec::new();
    for (at, compiled) in rules.0.iter().enumerate() {
        remarks.extend(compiled.remarks.iter().map(|point| (at, point.clone())));
        if !keepers.iter().any(|keeper| does_as_much(keeper, compiled)) {
            remarks.extend(leaves_nodes(&compiled.rule).map(|point| (at, point)));
        }
    }
    remarks
}

/// Of rules of a cluster: what is published stands in files, and what is said of it, too.
pub(super) fn of_services(objects: &Rules) -> impl Iterator<Item = (usize, Point)> + '_ {
    let about_services = objects
        .0
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.rule.services.is_empty());
    about_services.map(|(at, _)| {
        let point = Point {
            member: "spec.services",
            item: None,
            what: "calls of services are decided by the rules of files alone, so this has no effect: write it there"
                .to_owned(),
        };
        (at, point)
    })
}

/// Verbs of `nodes/proxy` by which a kubelet runs something: a WebSocket is a GET, SPDY a POST.
const THROUGH_A_NODE: [&str; 2] = ["get", "create"];
const NODES: &str = "nodes";

fn covers_nodes(scope: &Scope, verb: &str) -> bool {
    lasting::covers(scope, verb, NODES, "proxy")
}

/// A rule about the streams into pods, and not about the same through a node's kubelet. One of a namespace never reaches a
/// node, whatever it says.
fn leaves_nodes(rule: &Rule) -> Option<Point> {
    let says_something = rule.effect == Effect::Forbid || rule.demands();
    let is_readable = !matches!(rule.condition, Condition::Unreadable(_));
    if !says_something || !is_readable || rule.namespace.is_some() {
        return None;
    }
    let scope = rule.scope.as_ref()?;
    if !STREAMS
        .iter()
        .any(|stream| lasting::covers(scope, "create", "pods", stream))
    {
        return None;
    }
    let left: Vec<_> = THROUGH_A_NODE
        .into_iter()
        .filter(|verb| !covers_nodes(scope, verb))
        .collect();
    let left = match left.as_slice() {
        [] => return None,
        [verb] => format!("{verb} {NODES}/proxy"),
        _ => format!("{NODES}/proxy"),
    };
    let enters = scope
        .actions
        .as_ref()
        .is_some_and(|actions| actions.contains(&model::request::Action::Proxy));
    let narrowing = [
        ("verbs", scope.verbs.is_some()),
        ("resources", scope.resources.is_some()),
    ];
    let narrowing: Vec<_> = narrowing
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(member, _)| format!("`{member}`"))
        .collect();
    let without = match narrowing.as_slice() {
        [] => String::new(),
        some => format!(" without {}", some.join(" and ")),
    };
    Some(Point {
        member: match (&scope.resources, enters) {
            (Some(_), _) => "spec.kubernetes.resources",
            (None, true) => "spec.kubernetes.verbs",
            (None, false) => "spec.kubernetes.actions",
        },
        item: None,
        what: format!(
            "`{left}` is not among these calls, and leads into every pod of a node: `actions: [enter]`{without} means both"
        ),
    })
}

/// A rule that always says something about `nodes/proxy`, whichever node it is.
fn keeps_nodes(other: &Compiled) -> bool {
    let Rule {
        namespace,
        until,
        scope: Some(scope),
        condition,
        ..
    } = &other.rule
    else {
        return false;
    };
    let Scope {
        clusters: None,
        names: None,
        namespaces: None,
        selector: None,
        ..
    } = scope
    else {
        return false;
    };
    namespace.is_none()
        && until.is_none()
        && matches!(condition, Condition::Always)
        && THROUGH_A_NODE.iter().all(|verb| covers_nodes(scope, verb))
}

/// Whether `keeper` says of nodes what `one` says of pods, or more, to whom that is about.
fn does_as_much(keeper: &Compiled, one: &Compiled) -> bool {
    // What is said of calls on somebody's behalf is said of no other.
    let is_about_those = keeper.rule.on_behalf_of.is_none() || keeper.rule.on_behalf_of == one.rule.on_behalf_of;
    let counts = keeper.rule.mode == Mode::Enforce || one.rule.mode == Mode::Shadow;
    let is_about_them = keeper.subjects.everyone || keeper.subjects == one.subjects;
    let demands_as_much = || {
        let mut both = keeper.rule.obligations().clone();
        both.join(one.rule.obligations());
        both == *keeper.rule.obligations()
    };
    let does = match (keeper.rule.effect, one.rule.effect) {
        (Effect::Forbid, _) => true,
        (Effect::Allow, Effect::Forbid) => false,
        (Effect::Allow, Effect::Allow) => demands_as_much(),
    };
    counts && is_about_those && is_about_them && does
}
