//! What a policy probably does not do though it seems to say so: rules that never decide, patterns that match nothing, little
//! kept of what matters, secrets asked for. Each finding gives the reason and what to write instead.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::finding::{Code, Finding, Severity};
use crate::known;
use crate::load::{Texts, nearest};
use crate::policy::{Level, Policy, ResourceRule, Rule, Scope, Stage};

/// Where everything stands.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) rules: Vec<WrittenRule>,
    pub(crate) rules_key: Range<usize>,
    pub(crate) omit_stages: Option<Range<usize>>,
    pub(crate) omit_managed_fields: Option<Range<usize>>,
}

/// Where a rule stands.
#[derive(Clone, Debug)]
pub(crate) struct WrittenRule {
    pub(crate) span: Range<usize>,
    pub(crate) level: Range<usize>,
    pub(crate) users: Texts,
    pub(crate) user_groups: Texts,
    pub(crate) verbs: Texts,
    pub(crate) namespaces: Texts,
    pub(crate) resources_key: Option<Range<usize>>,
    pub(crate) resources: Vec<WrittenResources>,
    pub(crate) urls: Texts,
    pub(crate) omit_stages: Texts,
    pub(crate) omit_managed_fields: Option<(bool, Range<usize>)>,
}

/// Where an entry of `resources` stands.
#[derive(Clone, Debug)]
pub(crate) struct WrittenResources {
    pub(crate) group: (Box<str>, Range<usize>),
    pub(crate) resources: Texts,
    pub(crate) names: Texts,
}

/// Among more rules than these nobody looks for rules that never decide: the search is quadratic.
const MOST_COMPARED: usize = 2_000;
/// Verbs of calls about resources.
const VERBS: [&str; 9] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
];
/// Verbs of calls about other paths: HTTP's methods in lower case.
const METHODS: [&str; 9] = [
    "get", "head", "post", "put", "patch", "delete", "options", "trace", "connect",
];
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
const READS: [&str; 3] = ["get", "list", "watch"];
/// An exec is a `create` over SPDY and a `get` over WebSocket.
const ENTERS: [&str; 2] = ["get", "create"];
/// What is written all day and changes nothing that runs: group and resource.
const HARMLESS: [(&str, &str); 9] = [
    ("", "events"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
];
/// What has secrets in its bodies: group and entry.
const SECRETS: [(&str, &str); 4] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "serviceaccounts/token"),
    ("authentication.k8s.io", "tokenreviews"),
];
/// By which a pod or a node is entered.
const SESSIONS: [(&str, &str); 4] = [
    ("", "pods/exec"),
    ("", "pods/attach"),
    ("", "pods/portforward"),
    ("", "nodes/proxy"),
];

pub(crate) fn findings(policy: &Policy, written: &Written) -> Vec<Finding> {
    let mut found = Found::default();
    for (at, (rule, places)) in policy.rules.iter().zip(&written.rules).enumerate() {
        found.rule = Some(at);
        let before = policy.rules.get(..at).unwrap_or_default();
        found.verbs(rule, places);
        found.patterns(places);
        found.empty_lists(places);
        let nobody = found.nobody(places);
        if found.shadowed(rule, before, places) || nobody {
            continue; // what never decides needs no further advice
        }
        found.little(rule, before, places);
        found.bodies(rule, before, places);
        found.names(places);
    }
    found.rule = None;
    found.whole(policy, written);
    found.list
}

#[derive(Default)]
struct Found {
    list: Vec<Finding>,
    rule: Option<usize>,
}

impl Found {
    fn warn(&mut self, code: Code, place: &Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Warning, code, place, what, help);
    }

    fn note(&mut self, code: Code, place: &Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Note, code, place, what, help);
    }

    fn say(
        &mut self,
        severity: Severity,
        code: Code,
        place: &Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.list.push(Finding {
            severity,
            code,
            rule: self.rule,
            what: what.into(),
            help: help.into(),
            place: place.clone(),
        });
    }

    fn verbs(&mut self, rule: &Rule, places: &WrittenRule) {
        let (known, kind): (Vec<&str>, _) = match &rule.scope {
            Scope::Resources { .. } => (VERBS.to_vec(), "about a resource"),
            Scope::Paths(_) => (METHODS.to_vec(), "about a path that is no resource's"),
            Scope::Any => (VERBS.into_iter().chain(METHODS).collect(), ""),
        };
        let listed = places.verbs.list.iter();
        for (verb, place) in listed.filter(|(verb, _)| !verb.is_empty() && !known.contains(&&**verb)) {
            let help = match (&**verb, nearest(verb, known.iter().copied())) {
                ("*", _) => "leave `verbs` out: that means any verb".to_owned(),
                ("exec" | "attach" | "portforward", _) => {
                    "name the subresource (`pods/exec`); its verb is `create` or, over WebSocket, `get`".to_owned()
                }
                (_, Some(nearest)) => format!("is `{nearest}` meant?"),
                _ => format!("there are {}", known.join(", ")),
            };
            let what = format!("no call {kind} has the verb `{verb}`").replace("  ", " ");
            self.warn(Code::MatchesNothing, place, what, help);
        }
    }

    fn patterns(&mut self, places: &WrittenRule) {
        for one in &places.resources {
            let (group, place) = &one.group;
            if let Some((what, help)) = unlikely_group(group) {
                self.warn(Code::MatchesNothing, place, what, help);
                continue;
            }
            for (entry, place) in &one.resources.list {
                if let Some((what, help)) = unlikely_entry(group, entry) {
                    self.warn(Code::MatchesNothing, place, what, help);
                } else if let Some(resource) = entry.strip_suffix("/*") {
                    let what = format!("`{entry}` matches plain `{resource}`, too, and not the subresources alone");
                    let help = "list the subresources where these alone are meant";
                    self.note(Code::MatchesMore, place, what, help);
                }
            }
        }
        for (url, place) in &places.urls.list {
            if url.contains('?') {
                let what = format!("`{url}` has a query, which no path has");
                self.warn(Code::MatchesNothing, place, what, "write the path alone");
            } else if is_path_of_resource(url) {
                let what = format!("`{url}` is the path of a resource, which `nonResourceURLs` never match");
                self.warn(Code::MatchesNothing, place, what, "name it under `resources`");
            }
        }
    }

    /// A list that is written with nothing in it matches everything, which may be the reverse of what was meant.
    fn empty_lists(&mut self, places: &WrittenRule) {
        let lists = [
            ("users", &places.users),
            ("userGroups", &places.user_groups),
            ("verbs", &places.verbs),
            ("namespaces", &places.namespaces),
            ("nonResourceURLs", &places.urls),
        ];
        let of_resources = places.resources.iter();
        let of_resources = of_resources.flat_map(|one| [("resources", &one.resources), ("resourceNames", &one.names)]);
        for (name, texts) in lists.into_iter().chain(of_resources) {
            if let Some(place) = texts.key.as_ref().filter(|_| texts.list.is_empty()) {
                self.empty(name, place);
            }
        }
        if let Some(place) = places.resources_key.as_ref().filter(|_| places.resources.is_empty()) {
            self.empty("resources", place);
        }
    }

    fn empty(&mut self, name: &str, place: &Range<usize>) {
        let what = format!("`{name}` is empty, which means any and not none");
        self.warn(
            Code::EmptyList,
            place,
            what,
            "take the key away if any is meant, or the rule if none is",
        );
    }

    /// Whether nobody can come through the gateway for whom this rule is.
    fn nobody(&mut self, places: &WrittenRule) -> bool {
        let mut idle = false;
        for (names, is_own) in [
            (&places.users, is_foreign_user as fn(&str) -> bool),
            (&places.user_groups, is_foreign_group),
        ] {
            for (name, place) in names.list.iter().filter(|(name, _)| is_own(name)) {
                let what = format!("nobody comes through the gateway as `{name}`");
                let help = "it counts in the API server's own policy, for what does not pass the gateway";
                self.note(Code::Nobody, place, what, help);
            }
            idle |= !names.list.is_empty() && names.list.iter().all(|(name, _)| is_own(name));
        }
        idle
    }

    fn shadowed(&mut self, rule: &Rule, before: &[Rule], places: &WrittenRule) -> bool {
        let compared = before.get(..MOST_COMPARED.min(before.len())).unwrap_or_default();
        if before.len() > MOST_COMPARED {
            return false;
        }
        let Some(by) = compared.iter().position(|earlier| earlier.covers(rule)) else {
            return false;
        };
        let what = format!(
            "this rule never decides: rule {} matches all that it matches",
            by.saturating_add(1)
        );
        let help = "the first rule that matches decides: put the narrower rule first, or take it away";
        self.warn(Code::Shadowed, &places.span, what, help);
        true
    }

    fn little(&mut self, rule: &Rule, before: &[Rule], places: &WrittenRule) {
        if rule.level != Level::None {
            return;
        }
        let mut of = Vec::new();
        if has_any(rule, &WRITES) && changes_something(&rule.scope) {
            of.push("changes");
        }
        let probes = [
            ("sessions in pods and nodes", &SESSIONS[..], &ENTERS[..]),
            ("reading secrets", &SECRETS[..1], &READS),
        ];
        for (name, entries, verbs) in probes {
            if has_any(rule, verbs) && entries.iter().any(|entry| decides_on(rule, before, *entry)) {
                of.push(name);
            }
        }
        if !of.is_empty() {
            let what = format!(
                "level None for {}: of them the gateway's least record alone remains",
                of.join(", ")
            );
            let help = "write `level: Metadata`, or name the verbs, resources and users that nobody will ask about";
            self.warn(Code::LittleRecord, &places.level, what, help);
        }
    }

    fn bodies(&mut self, rule: &Rule, before: &[Rule], places: &WrittenRule) {
        if rule.level < Level::Request {
            return;
        }
        let secrets = SECRETS.into_iter().filter(|entry| decides_on(rule, before, *entry));
        let secrets: Vec<&str> = secrets.map(|(_, entry)| entry).collect();
        if !secrets.is_empty() {
            let what = format!(
                "level {} asks for bodies that hold secrets: {}",
                rule.level,
                secrets.join(", ")
            );
            let help = "put a rule with `level: Metadata` for them before this one";
            self.warn(Code::BodiesOfSecrets, &places.level, what, help);
        }
    }

    fn names(&mut self, places: &WrittenRule) {
        let creates = places.verbs.list.is_empty() || places.verbs.has("create");
        let named = places.resources.iter().filter_map(|one| {
            let key = one.names.key.as_ref();
            key.filter(|_| !one.names.list.is_empty())
        });
        for place in named.filter(|_| creates) {
            let only = places.verbs.list.len() == 1;
            let what = "a creation has no name in its path: `resourceNames` never match one";
            let help = "leave the names out where creations are meant, or name the other verbs";
            if only {
                self.warn(Code::MatchesNothing, place, what, help);
            } else {
                self.note(Code::NamesSkipCreations, place, what, help);
            }
        }
    }

    fn whole(&mut self, policy: &Policy, written: &Written) {
        let for_all = || policy.rules.iter().filter(|rule| rule.is_for_all());
        let all_resources = Scope::Resources {
            namespaces: Vec::new(),
            resources: Vec::new(),
        };
        let all_paths = Scope::Paths(vec!["*".into()]);
        let is_whole = [all_resources, all_paths]
            .iter()
            .all(|scope| for_all().any(|rule| rule.scope.covers(scope)));
        if !is_whole {
            let what = "calls that no rule matches have level None";
            let help = "end the list with `- level: Metadata`, which matches all that is left";
            self.warn(Code::NoCatchAll, &written.rules_key, what, help);
        }
        let rules = policy.rules.iter().zip(&written.rules);
        let bodies = rules.clone().filter(|(rule, _)| rule.level >= Level::Request);
        let has_bodies = bodies.clone().next().is_some();
        let mut omitted = bodies.filter(|(rule, _)| {
            let stages = policy.omit_stages.union(rule.omit_stages);
            stages.contains(Stage::ResponseComplete)
        });
        let has_omitted = omitted.clone().next().is_some();
        if let Some((rule, places)) = omitted.next() {
            let more = omitted.count();
            let more = if more == 0 {
                String::new()
            } else {
                format!(", here and in {more} more")
            };
            let what = format!(
                "level {} asks for bodies{more}, and `omitStages` leaves out ResponseComplete, the stage that has them: none are kept",
                rule.level
            );
            let help = "take ResponseComplete out of `omitStages`, or write `level: Metadata`";
            self.warn(Code::BodiesOmitted, &places.level, what, help);
        }
        let stages = rules.clone().filter_map(|(_, places)| places.omit_stages.key.as_ref());
        let stages = written.omit_stages.as_ref().into_iter().chain(stages).next();
        if let Some(place) = stages.filter(|_| !has_omitted) {
            let what = "`omitStages` changes nothing in the ledger: each call has its beginning and its end there";
            let help = "it counts where the file is the API server's, too";
            self.note(Code::NoEffectHere, place, what, help);
        }
        let fields = rules.filter_map(|(_, places)| places.omit_managed_fields.as_ref().map(|(_, place)| place));
        let fields = written.omit_managed_fields.as_ref().into_iter().chain(fields).next();
        if let Some(place) = fields.filter(|_| !has_bodies) {
            let what = "`omitManagedFields` changes nothing in the ledger: no rule asks for bodies";
            let help = "it counts where the file is the API server's, too";
            self.note(Code::NoEffectHere, place, what, help);
        }
    }
}

/// Whether the rule has one of these verbs.
fn has_any(rule: &Rule, verbs: &[&str]) -> bool {
    rule.verbs.is_empty() || rule.verbs.iter().any(|verb| verbs.contains(&&**verb))
}

/// Whether it may be this rule that decides about an entry: it reaches it, and no earlier rule has taken all of it.
fn decides_on(rule: &Rule, before: &[Rule], (group, entry): (&str, &str)) -> bool {
    let Scope::Resources { namespaces, resources } = &rule.scope else {
        return rule.scope == Scope::Any && !taken(rule, before, Vec::new(), (group, entry));
    };
    let wanted = Scope::Resources {
        namespaces: Vec::new(),
        resources: vec![one(group, entry)],
    };
    let reaches = resources.is_empty()
        || resources.iter().any(|rule| {
            let scope = Scope::Resources {
                namespaces: Vec::new(),
                resources: vec![ResourceRule {
                    names: Vec::new(),
                    ..rule.clone()
                }],
            };
            scope.covers(&wanted)
        });
    reaches && !taken(rule, before, namespaces.clone(), (group, entry))
}

/// Whether one of the rules before takes all that this one could decide about the entry.
fn taken(rule: &Rule, before: &[Rule], namespaces: Vec<Box<str>>, (group, entry): (&str, &str)) -> bool {
    let narrowed = Rule {
        scope: Scope::Resources {
            namespaces,
            resources: vec![one(group, entry)],
        },
        ..rule.clone()
    };
    before
        .iter()
        .take(MOST_COMPARED)
        .any(|earlier| earlier.covers(&narrowed))
}

fn one(group: &str, entry: &str) -> ResourceRule {
    ResourceRule {
        group: group.into(),
        resources: vec![entry.into()],
        names: Vec::new(),
    }
}

/// Whether a change of anything but what is [`HARMLESS`] is in the scope.
fn changes_something(scope: &Scope) -> bool {
    let Scope::Resources { resources, .. } = scope else {
        return *scope == Scope::Any;
    };
    let is_harmless = |group: &str, entry: &str| HARMLESS.contains(&(group, entry));
    let reaches = |rule: &ResourceRule| {
        if rule.resources.is_empty() {
            return !HARMLESS
                .iter()
                .any(|(group, _)| !group.is_empty() && *group == &*rule.group);
        }
        !rule.resources.iter().all(|entry| is_harmless(&rule.group, entry))
    };
    resources.is_empty() || resources.iter().any(reaches)
}

/// The cluster's own components, which the gateway lets nobody be.
fn is_foreign_user(name: &str) -> bool {
    name.starts_with("system:") && !name.starts_with("system:serviceaccount:")
}

fn is_foreign_group(name: &str) -> bool {
    let is_account = name == "system:serviceaccounts" || name.starts_with("system:serviceaccounts:");
    name.starts_with("system:") && name != "system:authenticated" && !is_account
}

type Advice = (String, String);

fn unlikely_group(group: &str) -> Option<Advice> {
    // Groups with a dot may be anybody's; without one they are Kubernetes' own.
    if group.is_empty() || group == "*" || group.contains('.') || known::is_known_group(group) {
        return None;
    }
    let help = match group {
        "core" | "v1" | "api" => "write \"\" for the core group".to_owned(),
        "rbac" => "write `rbac.authorization.k8s.io`".to_owned(),
        "extensions" => "its resources are in `apps` and `networking.k8s.io` now".to_owned(),
        _ => match nearest(group, ["apps", "autoscaling", "batch", "policy"].into_iter()) {
            Some(nearest) => format!("is `{nearest}` meant?"),
            None => "groups without a dot are apps, autoscaling, batch and policy; \"\" is the core group".to_owned(),
        },
    };
    Some((format!("Kubernetes has no API group `{group}`"), help))
}

fn unlikely_entry(group: &str, entry: &str) -> Option<Advice> {
    let nothing = |help: &str| Some((format!("`{entry}` matches nothing"), help.to_owned()));
    if entry == "*" || entry.is_empty() {
        return None;
    }
    let (resource, below) = match entry.split_once('/') {
        Some((resource, below)) => (resource, Some(below)),
        None => (entry, None),
    };
    let has_inner_star = |part: &str| part != "*" && part.contains('*');
    if entry == "*/*" {
        return nothing("write `*`: that is everything, with subresources");
    }
    if resource.is_empty() || below.is_some_and(|below| below.is_empty() || below.contains('/')) {
        return nothing("write `resource`, `resource/subresource`, `*/subresource`, `resource/*` or `*`");
    }
    if has_inner_star(resource) || below.is_some_and(has_inner_star) {
        return nothing("a star stands for a whole name, never for a part of one");
    }
    if let Some((plural, of)) = resource.split_once('.').filter(|_| below.is_none()) {
        return nothing(&format!("write `group: {of}` and `resources: [{plural}]`"));
    }
    if group == "*" || !known::is_known_group(group) {
        return None;
    }
    unknown_entry(group, resource, below)
}

/// What is to say about an entry of a group all of whose resources are known.
fn unknown_entry(group: &str, resource: &str, below: Option<&str>) -> Option<Advice> {
    let place = if group.is_empty() {
        "the core group".to_owned()
    } else {
        format!("group `{group}`")
    };
    if resource != "*" && !known::resources(group).any(|known| known == resource) {
        let elsewhere: Vec<&str> = known::groups_of(resource).collect();
        let help = if let Some(elsewhere) = elsewhere.first() {
            format!("write `group: \"{elsewhere}\"`: it is there")
        } else if let Some(nearest) = nearest(resource, known::resources(group)) {
            format!("is `{nearest}` meant?")
        } else {
            let known: Vec<&str> = known::resources(group).collect();
            format!("there are {}", known.join(", "))
        };
        return Some((format!("{place} has no resource `{resource}`"), help));
    }
    let below = below.filter(|below| *below != "*")?;
    let known: BTreeSet<&str> = if resource == "*" {
        known::resources(group)
            .flat_map(|resource| known::subresources(group, resource))
            .collect()
    } else {
        known::subresources(group, resource).collect()
    };
    if known.contains(below) {
        return None;
    }
    let help = match nearest(below, known.iter().copied()) {
        Some(nearest) => format!("is `{nearest}` meant?"),
        None if known.is_empty() => "it has no subresources".to_owned(),
        None => format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let of = if resource == "*" {
        place
    } else {
        format!("`{resource}`")
    };
    Some((format!("{of} has no subresource `{below}`"), help))
}

/// `/api/v1/pods`, `/apis/apps/v1/deployments` and all below, as the API server's `RequestInfo` cuts a path.
fn is_path_of_resource(url: &str) -> bool {
    if url.ends_with('*') {
        return false;
    }
    let segments: Vec<&str> = url.trim_matches('/').split('/').collect();
    match segments.first() {
        Some(&"api") => segments.len() > 2,
        Some(&"apis") => segments.len() > 3,
        _ => false,
    }
}
