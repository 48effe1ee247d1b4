//! From the text of a file to a [`Policy`]: everything that is wrong at once, each with its place and what to do.
//!
//! What is refused here and taken by the API server: a file without its `kind`, unknown members and keys that are written twice (it logs them and goes
//! on), further documents, anchors and tags, `metadata` beyond names, labels and annotations, files of more than 1 MiB.

use std::ops::Range;

use strsim::osa_distance;

use crate::document::{Kind, Member, Node, read};
use crate::finding::{Code, Finding, Severity};
use crate::lint::{self, Written, WrittenResources, WrittenRule};
use crate::policy::{Level, Names, Policy, ResourceRule, Rule, Scope, Stage, Stages};

/// Files larger than this are no policy.
pub const MAX_BYTES: usize = 1 << 20;

/// A policy, and what there is to say about it though it counts.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub policy: Policy,
    /// Warnings and notes, in the order of their places.
    pub findings: Vec<Finding>,
}

/// Reads a policy.
///
/// # Errors
/// Everything that is wrong with it, in the order of the places; nothing is taken then.
pub fn load(text: &str) -> Result<Loaded, Vec<Finding>> {
    let refused = |code, what: &str, help: &str| Finding {
        severity: Severity::Refused,
        code,
        rule: None,
        what: what.to_owned(),
        help: help.to_owned(),
        place: 0..0,
    };
    if text.len() > MAX_BYTES {
        let help = "name groups instead of people, and resources by `*`";
        return Err(vec![refused(Code::Syntax, "the file is larger than 1 MiB", help)]);
    }
    let root = read(text)?;
    let mut reader = Reader::default();
    let (policy, written) = reader.policy(&root);
    let mut findings = reader.findings;
    let is_taken = findings.is_empty();
    if is_taken {
        findings = lint::findings(&policy, &written);
    }
    findings.sort_by(|a, b| (a.place.start, a.code, &a.what).cmp(&(b.place.start, b.code, &b.what)));
    findings.dedup();
    if is_taken {
        Ok(Loaded { policy, findings })
    } else {
        Err(findings)
    }
}

/// Texts of a list, each with its place, and the place of the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    /// The key, where the list is written.
    pub(crate) key: Option<Range<usize>>,
    pub(crate) list: Vec<(Box<str>, Range<usize>)>,
}

impl Texts {
    fn names(&self) -> Names {
        self.list.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|(listed, _)| &**listed == name)
    }
}

#[derive(Default)]
struct Reader {
    findings: Vec<Finding>,
    /// The rule that is being read.
    rule: Option<usize>,
}

const STAGES: &str = "RequestReceived, ResponseStarted, ResponseComplete, Panic";
const LEVELS: &str = "None, Metadata, Request, RequestResponse";

impl Reader {
    fn wrong(&mut self, code: Code, place: &Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Refused,
            code,
            rule: self.rule,
            what: what.into(),
            help: help.into(),
            place: place.clone(),
        });
    }

    /// The members of an object, each of which is known.
    fn known<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> &'n [Member] {
        let Kind::Members(members) = &node.kind else {
            let help = format!("write its members: {}", known.join(", "));
            self.wrong(
                Code::Form,
                &node.span,
                format!("{what} is {}, not an object", node.described()),
                help,
            );
            return &[];
        };
        for member in members {
            if !known.contains(&member.key.as_str()) {
                let nearest = nearest(&member.key, known.iter().copied());
                let help = match nearest {
                    Some(nearest) => format!("is `{nearest}` meant?"),
                    None => format!("there are {}", known.join(", ")),
                };
                self.wrong(
                    Code::Form,
                    &member.key_span,
                    format!("{what} has no member `{}`", member.key),
                    help,
                );
            }
        }
        members
    }

    fn policy(&mut self, root: &Node) -> (Policy, Written) {
        const KNOWN: &[&str] = &[
            "apiVersion",
            "kind",
            "metadata",
            "omitManagedFields",
            "omitStages",
            "rules",
        ];
        self.known(root, "the policy", KNOWN);
        self.is(root, "apiVersion", "audit.k8s.io/v1");
        self.is(root, "kind", "Policy");
        if let Some(metadata) = root.member("metadata") {
            self.metadata(&metadata.value);
        }
        let stages = self.stages(root);
        let managed_fields = self.truth(root, "omitManagedFields");
        let listed = root.member("rules");
        let place = listed.map_or(root.span.start..root.span.start, |rules| rules.key_span.clone());
        let rules = listed.map_or(&[][..], |rules| self.list(rules));
        if rules.is_empty() && listed.is_none_or(|rules| matches!(rules.value.kind, Kind::List(_) | Kind::Null)) {
            let help = "write at least `- level: Metadata`; the API server refuses a policy without rules, too";
            self.wrong(Code::Value, &place, "there are no rules", help);
        }
        let (mut read, mut written) = (Vec::new(), Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            self.rule = Some(at);
            let (rule, places) = self.rule(rule);
            read.push(rule);
            written.push(places);
        }
        self.rule = None;
        let policy = Policy {
            rules: read,
            omit_stages: stages_of(&stages),
            omit_managed_fields: managed_fields.as_ref().is_some_and(|(is_omitted, _)| *is_omitted),
        };
        let written = Written {
            rules: written,
            rules_key: place,
            omit_stages: stages.key,
            omit_managed_fields: managed_fields.map(|(_, place)| place),
        };
        (policy, written)
    }

    fn is(&mut self, root: &Node, key: &str, wanted: &str) {
        let Some(member) = root.member(key) else {
            let place = root.span.start..root.span.start;
            self.wrong(
                Code::Form,
                &place,
                format!("`{key}` is missing"),
                format!("write `{key}: {wanted}`"),
            );
            return;
        };
        if !matches!(&member.value.kind, Kind::Text(text) if text == wanted) {
            self.wrong(
                Code::Value,
                &member.value.span,
                format!("`{key}` is not `{wanted}`"),
                format!("write `{key}: {wanted}`; the API server knows no other one any more"),
            );
        }
    }

    fn metadata(&mut self, node: &Node) {
        if matches!(node.kind, Kind::Null) {
            return;
        }
        let known = ["name", "namespace", "labels", "annotations", "creationTimestamp"];
        for member in self.known(node, "`metadata`", &known) {
            match member.key.as_str() {
                "labels" | "annotations" => self.map_of_texts(member),
                "creationTimestamp" if !matches!(member.value.kind, Kind::Null) => {
                    let what = "`creationTimestamp` is the cluster's to write";
                    self.wrong(Code::Form, &member.value.span, what, "take it away; a policy is a file");
                }
                "name" | "namespace" => {
                    self.text(&member.value, &member.key);
                }
                _ => {}
            }
        }
    }

    fn map_of_texts(&mut self, member: &Member) {
        match &member.value.kind {
            Kind::Null => {}
            Kind::Members(pairs) => {
                for pair in pairs {
                    self.text(&pair.value, &pair.key);
                }
            }
            _ => {
                let what = format!("`{}` is {}, not an object", member.key, member.value.described());
                self.wrong(Code::Form, &member.value.span, what, "write pairs of key and text");
            }
        }
    }

    /// A text; what is null is empty, as to the API server.
    fn text(&mut self, node: &Node, name: &str) -> Option<Box<str>> {
        match &node.kind {
            Kind::Text(text) => Some(text.as_str().into()),
            Kind::Null => Some("".into()),
            _ => {
                let help = match &node.kind {
                    Kind::Other(word) => format!("write \"{word}\", with quotes"),
                    Kind::Bool(truth) => format!("write \"{truth}\", with quotes"),
                    _ => "write one text".to_owned(),
                };
                self.wrong(
                    Code::Form,
                    &node.span,
                    format!("`{name}` is {}, not a text", node.described()),
                    help,
                );
                None
            }
        }
    }

    fn truth(&mut self, node: &Node, key: &str) -> Option<(bool, Range<usize>)> {
        let member = node.member(key)?;
        match &member.value.kind {
            Kind::Bool(truth) => Some((*truth, member.key_span.clone())),
            Kind::Null => None,
            _ => {
                let what = format!("`{key}` is {}, not true or false", member.value.described());
                self.wrong(Code::Form, &member.value.span, what, "write true or false");
                None
            }
        }
    }

    fn list<'n>(&mut self, member: &'n Member) -> &'n [Node] {
        match &member.value.kind {
            Kind::List(items) => items,
            Kind::Null => &[],
            _ => {
                let what = format!("`{}` is {}, not a list", member.key, member.value.described());
                self.wrong(
                    Code::Form,
                    &member.value.span,
                    what,
                    "write a list: `- …`, or `[…]` in one line",
                );
                &[]
            }
        }
    }

    fn texts(&mut self, node: &Node, key: &str) -> Texts {
        let Some(member) = node.member(key) else {
            return Texts::default();
        };
        let items = self.list(member);
        let list = items
            .iter()
            .filter_map(|item| Some((self.text(item, key)?, item.span.clone())));
        Texts {
            list: list.collect(),
            key: Some(member.key_span.clone()),
        }
    }

    fn stages(&mut self, node: &Node) -> Texts {
        let stages = self.texts(node, "omitStages");
        for (stage, place) in &stages.list {
            if Stage::from_name(stage).is_none() {
                let nearest = nearest(stage, Stage::ALL.iter().map(|stage| stage.as_str()));
                let help = nearest.map_or(format!("there are {STAGES}"), |nearest| {
                    format!("is `{nearest}` meant?")
                });
                self.wrong(Code::Value, place, format!("there is no stage `{stage}`"), help);
            }
        }
        stages
    }

    fn rule(&mut self, node: &Node) -> (Rule, WrittenRule) {
        const KNOWN: &[&str] = &[
            "level",
            "namespaces",
            "nonResourceURLs",
            "omitManagedFields",
            "omitStages",
            "resources",
            "userGroups",
            "users",
            "verbs",
        ];
        // A rule that is null is an empty one to the API server, which then misses its level; here it is said as it stands.
        self.known(node, "a rule", KNOWN);
        let (level, level_place) = self.level(node);
        let written = WrittenRule {
            span: node.span.clone(),
            level: level_place,
            users: self.texts(node, "users"),
            user_groups: self.texts(node, "userGroups"),
            verbs: self.texts(node, "verbs"),
            namespaces: self.texts(node, "namespaces"),
            resources_key: node.member("resources").map(|member| member.key_span.clone()),
            resources: self.resources(node),
            urls: self.texts(node, "nonResourceURLs"),
            omit_stages: self.stages(node),
            omit_managed_fields: self.truth(node, "omitManagedFields"),
        };
        self.urls(&written);
        let rule = Rule {
            level,
            users: written.users.names(),
            user_groups: written.user_groups.names(),
            verbs: written.verbs.names(),
            scope: scope(&written),
            omit_stages: stages_of(&written.omit_stages),
            omit_managed_fields: written.omit_managed_fields.as_ref().map(|(is_omitted, _)| *is_omitted),
        };
        (rule, written)
    }

    fn level(&mut self, node: &Node) -> (Level, Range<usize>) {
        let member = node.member("level");
        let place = member.map_or(node.span.start..node.span.start, |member| member.value.span.clone());
        let named = match member {
            Some(member) => self.text(&member.value, "level"),
            None => Some("".into()),
        };
        let level = named.as_deref().and_then(Level::from_name);
        match named.as_deref() {
            Some("") => self.wrong(
                Code::Value,
                &place,
                "a rule has no `level`",
                format!("write one of {LEVELS}"),
            ),
            Some(name) if level.is_none() => {
                let nearest = nearest(name, Level::ALL.iter().map(|level| level.as_str()));
                let help = nearest.map_or(format!("there are {LEVELS}"), |nearest| {
                    format!("is `{nearest}` meant?")
                });
                self.wrong(Code::Value, &place, format!("there is no level `{name}`"), help);
            }
            _ => {}
        }
        (level.unwrap_or(Level::None), place)
    }

    fn urls(&mut self, written: &WrittenRule) {
        for (url, place) in &written.urls.list {
            if &**url == "*" {
                continue;
            }
            if !url.starts_with('/') {
                let help = format!("write `/{url}`, or `*` for every path that is no resource's");
                self.wrong(
                    Code::Value,
                    place,
                    format!("the path `{url}` does not begin with a slash"),
                    help,
                );
            }
            let without_last = url.as_bytes().split_last().map_or(&[][..], |(_, rest)| rest);
            if without_last.contains(&b'*') {
                let what = format!("`{url}` has a star that is not its last character");
                self.wrong(Code::Value, place, what, "a star stands at the end alone, and once");
            }
        }
        let is_both = written.resources.iter().len() > 0 || !written.namespaces.list.is_empty();
        if !written.urls.list.is_empty() && is_both {
            let place = written.urls.key.clone().unwrap_or_else(|| written.span.clone());
            let what = "a rule is about resources or about other paths, not about both";
            self.wrong(Code::Value, &place, what, "make two rules of it");
        }
    }

    fn resources(&mut self, node: &Node) -> Vec<WrittenResources> {
        const KNOWN: &[&str] = &["group", "resources", "resourceNames"];
        let items = node.member("resources").map_or(&[][..], |member| self.list(member));
        let mut all = Vec::new();
        for item in items {
            // Null is the core group with everything in it, which nobody means who writes nothing.
            self.known(item, "an entry of `resources`", KNOWN);
            let group = item.member("group");
            let place = group.map_or(item.span.clone(), |group| group.value.span.clone());
            let name = group
                .and_then(|group| self.text(&group.value, "group"))
                .unwrap_or_default();
            self.group(&name, &place);
            let one = WrittenResources {
                group: (name, place),
                resources: self.texts(item, "resources"),
                names: self.texts(item, "resourceNames"),
            };
            if !one.names.list.is_empty() && one.resources.list.is_empty() {
                let place = one.names.key.clone().unwrap_or_else(|| item.span.clone());
                let what = "`resourceNames` stand without `resources`";
                self.wrong(
                    Code::Value,
                    &place,
                    what,
                    "name at least one resource whose names these are",
                );
            }
            all.push(one);
        }
        all
    }

    fn group(&mut self, group: &str, place: &Range<usize>) {
        if group.is_empty() || group == "*" || is_subdomain(group) {
            return;
        }
        let help = match group.split_once('/') {
            Some(("", _)) | None => {
                "a group is a lower-case DNS name such as `apps`; write \"\" for the core group".to_owned()
            }
            Some((name, version)) => {
                format!("write `{name}` without its version `{version}`: a rule holds for all versions")
            }
        };
        self.wrong(Code::Value, place, format!("`{group}` is no API group"), help);
    }
}

fn stages_of(texts: &Texts) -> Stages {
    let mut stages = Stages::default();
    let named = texts.list.iter().filter_map(|(name, _)| Stage::from_name(name));
    named.for_each(|stage| stages.insert(stage));
    stages
}

fn scope(written: &WrittenRule) -> Scope {
    if !written.namespaces.list.is_empty() || !written.resources.is_empty() {
        let resources = written.resources.iter().map(|one| ResourceRule {
            group: one.group.0.clone(),
            resources: one.resources.names(),
            names: one.names.names(),
        });
        return Scope::Resources {
            namespaces: written.namespaces.names(),
            resources: resources.collect(),
        };
    }
    if written.urls.list.is_empty() {
        Scope::Any
    } else {
        Scope::Paths(written.urls.names())
    }
}

/// RFC 1123 subdomain, as `IsDNS1123Subdomain` of k8s.io/apimachinery has it.
fn is_subdomain(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The word that differs in at most two letters, whatever their case; two neighbours that changed places differ in one. A long
/// word is no slip of a known one.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = Some(word.to_lowercase()).filter(|word| word.len() <= 128)?;
    let far = known.map(|name| (osa_distance(&word, &name.to_lowercase()), name));
    let most = if word.chars().count() < 5 { 1 } else { 2 };
    far.filter(|(far, _)| *far <= most)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}
