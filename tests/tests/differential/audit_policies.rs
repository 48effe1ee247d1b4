//! Audit policies and requests from a seed: vocabularies are small, so that rules and requests meet often.

use access::generate::Random;
use audit_policy::{Asked, Resource, User};
use serde::Serialize;
use serde_json::{Map, Value, json};

const USERS: &[&str] = &["alice", "bob", "system:serviceaccount:a:robot", "*", "Alice"];
const GROUPS: &[&str] = &["dev", "ops", "system:authenticated", "*"];
const VERBS: &[&str] = &["get", "list", "watch", "create", "delete", "post", "*", "GET", ""];
const API_GROUPS: &[&str] = &["", "apps", "batch", "*"];
const ENTRIES: &[&str] = &[
    "pods",
    "deployments",
    "secrets",
    "*",
    "*/*",
    "*/status",
    "*/log",
    "pods/*",
    "pods/log",
    "deployments/*",
    "deployments/status",
    "log",
    "*/",
    "/log",
    "pods/",
    "pods/log/x",
    "Pods",
    "",
];
const NAMES: &[&str] = &["web", "db", ""];
const NAMESPACES: &[&str] = &["", "a", "b", "*"];
const URLS: &[&str] = &[
    "*",
    "/",
    "/*",
    "/healthz",
    "/healthz*",
    "/healthz/*",
    "/metrics",
    "/api*",
    "/apis/apps",
    "/healthz/ping",
];
const STAGES: &[&str] = &["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];
const LEVELS: &[&str] = &["None", "Metadata", "Request", "RequestResponse"];

const ASKED_USERS: &[&str] = &["alice", "bob", "system:serviceaccount:a:robot", "carol"];
const ASKED_VERBS: &[&str] = &["get", "list", "watch", "create", "delete", "post", ""];
const ASKED_RESOURCES: &[&str] = &["pods", "deployments", "secrets", "jobs"];
const ASKED_BELOW: &[&str] = &["", "", "", "log", "status", "exec"];
const ASKED_PATHS: &[&str] = &[
    "/",
    "/healthz",
    "/healthz/",
    "/healthz/ping",
    "/healthzfoo",
    "/metrics",
    "/api",
    "/apis/apps",
    "/API",
    "",
];

/// One request, as it goes to the oracle.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    user: Option<&'static str>,
    groups: Vec<&'static str>,
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'static str,
    name: &'static str,
    path: &'static str,
    is_resource: bool,
}

impl Question {
    /// The same for us.
    pub fn asked(&self) -> Asked<'_> {
        let resource = Resource {
            group: self.group,
            resource: self.resource,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
        };
        Asked {
            user: self.user.map(|name| User {
                name,
                groups: &self.groups,
            }),
            verb: self.verb,
            path: self.path,
            resource: self.is_resource.then_some(resource),
        }
    }
}

/// What the API server makes of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It has the form of a policy; whether it is one depends on its values.
    Nothing,
    /// It has a member that there is not, or one twice: the API server logs that and takes the file; we do not.
    Unknown,
}

/// A policy file and questions about it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The file.
    pub policy: String,
    /// The questions.
    pub questions: Vec<Question>,
    /// What we refuse and the API server does not.
    #[serde(skip)]
    pub planted: Planted,
}

/// A case. About every sixth file has a mistake in it.
pub fn case(random: &mut Random, questions: usize) -> Case {
    let mut document = policy(random);
    let mut planted = Planted::Nothing;
    if random.percent(16) {
        planted = break_one(random, &mut document);
    }
    Case {
        policy: serde_json::to_string(&document).expect("a document is JSON"),
        questions: (0..questions).map(|_| question(random)).collect(),
        planted,
    }
}

fn some(random: &mut Random, most: usize, from: &[&'static str]) -> Vec<&'static str> {
    let count = random.below(most).saturating_add(1);
    (0..count).map(|_| random.pick(from)).collect()
}

fn policy(random: &mut Random) -> Value {
    let count = random.below(6).saturating_add(1);
    let rules: Vec<Value> = (0..count).map(|_| rule(random)).collect();
    let mut policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
    if random.percent(30) {
        policy["omitStages"] = json!(some(random, 2, STAGES));
    }
    if random.percent(30) {
        policy["omitManagedFields"] = json!(random.percent(50));
    }
    if random.percent(20) {
        policy["metadata"] = json!({"name": "p", "labels": {"a": "b"}});
    }
    policy
}

fn rule(random: &mut Random) -> Value {
    let mut rule = Map::new();
    rule.insert("level".into(), json!(random.pick(LEVELS)));
    let mut maybe = |random: &mut Random, percent, name: &str, most, from: &[&'static str]| {
        if random.percent(percent) {
            rule.insert(name.into(), json!(some(random, most, from)));
        } else if random.percent(4) {
            rule.insert(name.into(), if random.percent(50) { json!([]) } else { Value::Null });
        }
    };
    maybe(random, 12, "users", 2, USERS);
    maybe(random, 15, "userGroups", 2, GROUPS);
    maybe(random, 28, "verbs", 3, VERBS);
    maybe(random, 25, "omitStages", 2, STAGES);
    match random.below(10) {
        0..=4 => {
            maybe(random, 40, "namespaces", 2, NAMESPACES);
            let count = random.below(2).saturating_add(1);
            let resources: Vec<Value> = (0..count).map(|_| resources(random)).collect();
            rule.insert("resources".into(), json!(resources));
        }
        5 => maybe(random, 100, "namespaces", 2, NAMESPACES),
        6..=8 => maybe(random, 100, "nonResourceURLs", 2, URLS),
        _ => {}
    }
    if random.percent(25) {
        rule.insert("omitManagedFields".into(), json!(random.percent(50)));
    }
    Value::Object(rule)
}

fn resources(random: &mut Random) -> Value {
    let mut one = Map::new();
    if random.percent(85) {
        one.insert("group".into(), json!(random.pick(API_GROUPS)));
    }
    if random.percent(85) {
        one.insert("resources".into(), json!(some(random, 3, ENTRIES)));
        if random.percent(25) {
            one.insert("resourceNames".into(), json!(some(random, 2, NAMES)));
        }
    }
    Value::Object(one)
}

/// Puts one mistake, or something that only looks like one, into a policy.
fn break_one(random: &mut Random, policy: &mut Value) -> Planted {
    let rules = policy["rules"].as_array().map_or(0, Vec::len);
    let at = random.below(rules);
    let values: &[(&str, Value)] = &[
        ("/level", json!("metadata")),
        ("/level", json!("")),
        ("/level", Value::Null),
        ("/level", json!(1)),
        ("/level", json!("All")),
        ("/users", json!("alice")),
        ("/users", json!([1])),
        ("/users", json!([null])),
        ("/users", json!([["alice"]])),
        ("/verbs", json!({"get": true})),
        ("/verbs", json!([true])),
        ("/nonResourceURLs", json!(["healthz"])),
        ("/nonResourceURLs", json!(["/a*b"])),
        ("/nonResourceURLs", json!(["/a**"])),
        ("/nonResourceURLs", json!([""])),
        ("/nonResourceURLs", json!(["**"])),
        ("/nonResourceURLs", json!(["/ü*", "/*"])),
        ("/nonResourceURLs", json!(["/a\u{fc}"])),
        ("/resources", json!([{"group": "Apps"}])),
        (
            "/resources",
            json!([{"group": "apps/v1", "resources": ["deployments"]}]),
        ),
        ("/resources", json!([{"group": "a-"}])),
        ("/resources", json!([{"group": ".a"}])),
        ("/resources", json!([{"group": "a..b"}])),
        ("/resources", json!([{"group": "a_b"}])),
        ("/resources", json!([{"group": "a".repeat(254)}])),
        ("/resources", json!([{"group": "a".repeat(253)}])),
        ("/resources", json!([{"group": "9.9"}])),
        ("/resources", json!([{"resourceNames": ["web"]}])),
        (
            "/resources",
            json!([{"group": "", "resources": [], "resourceNames": ["web"]}]),
        ),
        (
            "/resources",
            json!([{"group": "", "resources": null, "resourceNames": []}]),
        ),
        ("/resources", json!([{"group": null, "resources": ["pods"]}])),
        ("/resources", json!([{"group": 3}])),
        ("/resources", json!(["pods"])),
        ("/resources", json!({"group": ""})),
        ("/omitStages", json!(["requestReceived"])),
        ("/omitStages", json!([""])),
        ("/omitStages", json!("Panic")),
        ("/omitManagedFields", json!("true")),
        ("/omitManagedFields", json!(1)),
        ("/omitManagedFields", Value::Null),
        ("/namespaces", json!([3])),
    ];
    let whole: &[(&str, Value)] = &[
        ("/rules", json!([])),
        ("/rules", Value::Null),
        ("/rules", json!({})),
        ("/rules", json!("all")),
        ("/rules", json!([{}])),
        ("/rules", json!(["Metadata"])),
        ("/apiVersion", json!("audit.k8s.io/v1beta1")),
        ("/apiVersion", json!("v1")),
        ("/apiVersion", json!("")),
        ("/apiVersion", Value::Null),
        ("/kind", json!("policy")),
        ("/kind", json!("Event")),
        ("/kind", json!("PolicyList")),
        ("/kind", json!(1)),
        ("/omitStages", json!(["Start"])),
        ("/omitStages", Value::Null),
        ("/omitManagedFields", json!("no")),
        ("/metadata", json!("name")),
        ("/metadata", json!({"name": 1})),
        ("/metadata", json!({"labels": {"a": 1}})),
        ("/metadata", json!({"labels": ["a"]})),
        ("/metadata", Value::Null),
    ];
    match random.below(100) {
        0..=54 => {
            if let Some((place, value)) = random.choose(values) {
                set(policy, &format!("/rules/{at}"), place, value.clone());
            }
            Planted::Nothing
        }
        55..=79 => {
            if let Some((place, value)) = random.choose(whole) {
                set(policy, "", place, value.clone());
            }
            Planted::Nothing
        }
        80..=87 => {
            let both = json!({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["a"]});
            let either = json!({"level": "None", "nonResourceURLs": ["/a"], "namespaces": [], "resources": null});
            let added = if random.percent(50) { both } else { either };
            policy["rules"].as_array_mut().expect("rules are a list").push(added);
            Planted::Nothing
        }
        _ => {
            let (parent, name) = match random.below(3) {
                0 => (String::new(), "Rules"),
                1 => (format!("/rules/{at}"), "verb"),
                _ => ("/metadata".to_owned(), "named"),
            };
            if parent == "/metadata" {
                policy["metadata"] = json!({"name": "p"});
            }
            set(policy, &parent, &format!("/{name}"), json!("x"));
            Planted::Unknown
        }
    }
}

fn set(policy: &mut Value, parent: &str, place: &str, value: Value) {
    if let Some(Value::Object(members)) = policy.pointer_mut(parent) {
        members.insert(place.trim_start_matches('/').to_owned(), value);
    }
}

fn question(random: &mut Random) -> Question {
    let is_resource = random.percent(65);
    let nobody = random.percent(8);
    let mut groups: Vec<&'static str> = ["dev", "ops"].into_iter().filter(|_| random.percent(40)).collect();
    groups.push("system:authenticated");
    let none = Question {
        user: (!nobody).then(|| random.pick(ASKED_USERS)),
        groups: if nobody { Vec::new() } else { groups },
        verb: random.pick(ASKED_VERBS),
        group: "",
        resource: "",
        subresource: "",
        namespace: "",
        name: "",
        path: random.pick(ASKED_PATHS),
        is_resource,
    };
    if !is_resource {
        return none;
    }
    Question {
        group: random.pick(&["", "", "apps", "batch"]),
        resource: random.pick(ASKED_RESOURCES),
        subresource: random.pick(ASKED_BELOW),
        namespace: random.pick(&["", "a", "b", "c"]),
        name: random.pick(&["", "web", "db", "other"]),
        ..none
    }
}
