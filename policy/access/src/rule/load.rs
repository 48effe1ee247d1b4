//! Reading policy: files whole or not at all, cluster objects each alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::compile::{self, Compiled, Point};
use super::document::{AccessRuleDocument, Effect};
use super::examples;
use super::place;
use super::published::{Publication, PublicationDocument, Published, ServiceDocument, Services};
use super::remarks;
use super::salvage::{salvage, text};
use super::set::Rules;
use crate::rbac::{Binding, Objects, Role, aggregate};

/// What files hold.
#[derive(Clone, Debug, Default)]
pub struct FilePolicy {
    /// `AccessRule`s.
    pub rules: Rules,
    /// RBAC objects, aggregated roles filled.
    pub rbac: Objects,
    /// Published services.
    pub services: Services,
    /// Which namespaces may publish which hosts by annotations.
    pub publications: Vec<Publication>,
    /// What is to say about rules though they count.
    pub remarks: Vec<LoadProblem>,
}

/// Why a document was not taken as it stands, or may not do what it seems to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadProblem {
    /// The file, or the object's kind.
    pub source: String,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Column, from 1.
    pub column: Option<u64>,
    /// The rule's name, when it could be read.
    pub rule: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What this means for decisions.
    pub effect: Consequence,
}

/// What a problem means for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing of these files is loaded; what was in force stays so.
    NothingLoaded,
    /// The object grants nothing.
    GrantsNothing,
    /// The object grants nothing, and what can be read of its demands is owed where its readable part reaches.
    Demands,
    /// The object forbids all that its readable part reaches.
    Forbids,
    /// None: the rule counts as it is written.
    CountsAsWritten,
}

impl fmt::Display for LoadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}:{}", self.column.unwrap_or(1))?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ": rule `{rule}`")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Reads files of YAML documents: `AccessRule`s, `Service`s, `ServicePublication`s and RBAC objects.
///
/// # Errors
/// All that is wrong in any of them. Nothing is taken then: half a policy is another policy.
pub fn load_files<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Result<FilePolicy, Vec<LoadProblem>> {
    let mut policy = FilePolicy::default();
    let mut problems = Vec::new();
    let mut rules: Vec<FileRule<'_>> = Vec::new();
    let mut services = Vec::new();
    for (file, text) in files {
        for document in split_documents(text) {
            match read_document(&document, &mut policy) {
                Ok(Written::Rule(written)) => rules.push(FileRule {
                    file,
                    document,
                    written: *written,
                }),
                Ok(Written::Service) => services.push((file, document)),
                Ok(Written::Publication | Written::Rbac) => {}
                Err(wrong) => {
                    let mut wrong: Vec<_> = wrong.into_iter().map(|wrong| wrong.in_file(file, &document)).collect();
                    wrong.sort_by_key(|problem| (problem.line, problem.column));
                    problems.extend(wrong);
                }
            }
        }
    }
    problems.extend(doubles(&rules, &policy.rules));
    problems.extend(service_clashes(&services, &policy.services));
    if problems.is_empty() {
        for rule in &rules {
            let failures = examples::failures(&rule.written, &policy.rules);
            problems.extend(
                failures
                    .into_iter()
                    .map(|failure| rule.problem(failure.path, failure.what)),
            );
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    aggregate(&mut policy.rbac.cluster_roles);
    for (at, point) in remarks::among(&policy.rules, &policy.rules) {
        policy.remarks.extend(rules.get(at).map(|rule| rule.remark(&point)));
    }
    Ok(policy)
}

/// A rule as it stands in a file.
struct FileRule<'f> {
    file: &'f str,
    document: Document<'f>,
    written: AccessRuleDocument,
}

impl FileRule<'_> {
    /// What is wrong with a member of it.
    fn problem(&self, member: impl Into<String>, what: String) -> LoadProblem {
        let wrong = WrongDocument {
            at: At::Member(member.into()),
            rule: Some(self.written.metadata.name.clone()),
            what,
        };
        wrong.in_file(self.file, &self.document)
    }

    fn remark(&self, point: &Point) -> LoadProblem {
        LoadProblem {
            effect: Consequence::CountsAsWritten,
            ..self.problem(point.path(), point.to_string())
        }
    }
}

/// Rules of the same name in the same namespace, which nobody could tell apart in a refusal. `rules` and `compiled` have the
/// same order.
fn doubles(rules: &[FileRule<'_>], compiled: &Rules) -> Vec<LoadProblem> {
    let mut first: HashMap<_, &FileRule<'_>> = HashMap::new();
    let mut problems = Vec::new();
    for (rule, Compiled { rule: read, .. }) in rules.iter().zip(&compiled.0) {
        match first.entry((read.namespace(), read.name())) {
            Entry::Vacant(place) => drop(place.insert(rule)),
            Entry::Occupied(other) => {
                let (file, line) = (other.get().file, other.get().document.first_line);
                let what =
                    format!("metadata.name: there are two rules of this name; the other one is in {file}:{line}");
                problems.push(rule.problem("metadata.name", what));
            }
        }
    }
    problems
}

/// Services that cannot both be published. `documents` and `services` have the same order.
fn service_clashes(documents: &[(&str, Document<'_>)], services: &Services) -> Vec<LoadProblem> {
    let told = services.clashes().into_iter().filter_map(|(at, other, point)| {
        let (file, document) = documents.get(at)?;
        let (other_file, other) = documents.get(other)?;
        let wrong = WrongDocument {
            at: At::Member(point.path()),
            rule: None,
            what: format!("{point}; the other one is in {other_file}:{}", other.first_line),
        };
        Some(wrong.in_file(file, document))
    });
    told.collect()
}

/// One document of a file and where it begins.
struct Document<'f> {
    text: &'f str,
    first_line: u64,
}

/// Splits at lines that begin with `---`, which no YAML scalar can hold at the left edge.
fn split_documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push(Document {
                text: text.get(start..at).unwrap_or_default(),
                first_line,
            });
            (start, first_line) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    documents.push(Document {
        text: text.get(start..).unwrap_or_default(),
        first_line,
    });
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    documents.retain(|document| !document.text.lines().all(blank));
    documents
}

struct WrongDocument {
    at: At,
    rule: Option<String>,
    what: String,
}

/// What of a document is wrong.
enum At {
    /// Line and column within it, as the parser says.
    Place(u64, u64),
    /// A member, by its path.
    Member(String),
}

impl WrongDocument {
    fn in_file(self, file: &str, document: &Document<'_>) -> LoadProblem {
        let place = match &self.at {
            At::Place(line, column) => Some((*line, *column)),
            At::Member(member) => place::of(document.text, member),
        };
        let (line, column) = place.unwrap_or((1, 1));
        LoadProblem {
            source: file.to_owned(),
            line: Some(document.first_line.saturating_add(line.saturating_sub(1))),
            column: Some(column),
            rule: self.rule,
            what: self.what,
            effect: Consequence::NothingLoaded,
        }
    }
}

/// What sort of document it was; it stands in the policy then.
enum Written {
    Rule(Box<AccessRuleDocument>),
    Service,
    Publication,
    Rbac,
}

fn read_document(document: &Document<'_>, policy: &mut FilePolicy) -> Result<Written, Vec<WrongDocument>> {
    let head: Head = parse(document.text)?;
    match (head.api_version.as_str(), head.kind.as_str()) {
        (super::API_VERSION, "AccessRule" | "ClusterAccessRule") => {
            let written: AccessRuleDocument = parse(document.text)?;
            let rule = Some(written.metadata.name.clone());
            let compiled = compile::compile(&written).map_err(|wrong| {
                let say = |point: Point| WrongDocument {
                    at: At::Member(point.path()),
                    rule: rule.clone(),
                    what: point.to_string(),
                };
                wrong.into_iter().map(say).collect::<Vec<_>>()
            })?;
            policy.rules.0.push(compiled);
            Ok(Written::Rule(Box::new(written)))
        }
        (super::API_VERSION, "Service") => {
            let written: ServiceDocument = parse(document.text)?;
            let published = Published::read(&written).map_err(|wrong| {
                let say = |point: Point| WrongDocument {
                    at: At::Member(point.path()),
                    rule: None,
                    what: format!("service `{}`: {point}", written.metadata.name),
                };
                wrong.into_iter().map(say).collect::<Vec<_>>()
            })?;
            policy.services.push(published);
            Ok(Written::Service)
        }
        (super::API_VERSION, "ServicePublication") => {
            let written: PublicationDocument = parse(document.text)?;
            let publication = Publication::read(&written).map_err(|wrong| {
                let say = |point: Point| WrongDocument {
                    at: At::Member(point.path()),
                    rule: None,
                    what: format!("service publication `{}`: {point}", written.metadata.name),
                };
                wrong.into_iter().map(say).collect::<Vec<_>>()
            })?;
            policy.publications.push(publication);
            Ok(Written::Publication)
        }
        ("rbac.authorization.k8s.io/v1", kind) => {
            check_rbac_keys(&parse(document.text)?)?;
            match kind {
                "Role" => policy
                    .rbac
                    .roles
                    .push(namespaced(parse::<Role>(document.text)?)?.into()),
                "ClusterRole" => policy.rbac.cluster_roles.push(parse::<Role>(document.text)?.into()),
                "RoleBinding" => policy.rbac.role_bindings.push(parse::<Binding>(document.text)?.into()),
                "ClusterRoleBinding" => policy
                    .rbac
                    .cluster_role_bindings
                    .push(parse::<Binding>(document.text)?.into()),
                other => return Err(one("kind", format!("kind: `{other}` is no RBAC object"))),
            }
            Ok(Written::Rbac)
        }
        (version, kind) => Err(one("kind", format!("`{kind}` of `{version}` is no policy"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

fn one(member: impl Into<String>, what: String) -> Vec<WrongDocument> {
    vec![WrongDocument {
        at: At::Member(member.into()),
        rule: None,
        what,
    }]
}

fn namespaced(role: Role) -> Result<Role, Vec<WrongDocument>> {
    if role.metadata.namespace.as_deref().is_none_or(str::is_empty) {
        let what = "metadata.namespace: a `Role` lies in a namespace";
        return Err(one("metadata.namespace", what.to_owned()));
    }
    Ok(role)
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Vec<WrongDocument>> {
    serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location();
        // The first line is the message; what follows draws the place, which the caller does for all sources alike.
        let what = error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        vec![WrongDocument {
            at: at.map_or(At::Place(1, 1), |at| At::Place(at.line(), at.column())),
            rule: None,
            what,
        }]
    })
}

/// RBAC objects of files are as strict as ours: a misspelt `resourceNames` would widen a right without a word.
fn check_rbac_keys(document: &Value) -> Result<(), Vec<WrongDocument>> {
    const OBJECT: &[&str] = &[
        "apiVersion",
        "kind",
        "metadata",
        "rules",
        "aggregationRule",
        "subjects",
        "roleRef",
    ];
    const RULE: &[&str] = &["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
    const SUBJECT: &[&str] = &["kind", "apiGroup", "name", "namespace"];
    known("document", "", document, OBJECT)?;
    for (list, keys) in [("rules", RULE), ("subjects", SUBJECT)] {
        let items = document.get(list).and_then(Value::as_array).into_iter().flatten();
        for (item, value) in items.enumerate() {
            known(list, &format!("{list}.{item}."), value, keys)?;
        }
    }
    let role = document.get("roleRef");
    role.map_or(Ok(()), |role| {
        known("roleRef", "roleRef.", role, &["apiGroup", "kind", "name"])
    })
}

/// `path` leads to the members of `value`.
fn known(place: &str, path: &str, value: &Value, keys: &[&str]) -> Result<(), Vec<WrongDocument>> {
    let Some(object) = value.as_object() else {
        return Err(one(path, format!("{place}: it is no object")));
    };
    match object.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => {
            let what = format!("{place}: unknown member `{key}`; known are {}", keys.join(", "));
            Err(one(format!("{path}{key}"), what))
        }
        None => Ok(()),
    }
}

/// Reads the `AccessRule` objects of a cluster, each alone: a mistake of one tenant must not freeze revocation for all.
///
/// An invalid allow grants nothing, and what it demands is owed as far as it can be read; an invalid forbid forbids what
/// its readable part reaches.
pub fn load_objects<'o>(objects: impl IntoIterator<Item = &'o Value>) -> (Rules, Vec<LoadProblem>) {
    let mut rules = Rules::default();
    let mut problems = Vec::new();
    for object in objects {
        let read = read_object(object);
        match read {
            Ok(compiled) => rules.0.push(compiled),
            Err(wrong) => {
                let broken = salvage(object, &wrong.join("; "));
                let effect = match broken.as_ref().map(|broken| broken.rule.effect) {
                    Some(Effect::Forbid) => Consequence::Forbids,
                    Some(Effect::Allow) => Consequence::Demands,
                    None => Consequence::GrantsNothing,
                };
                rules.0.extend(broken);
                problems.extend(wrong.into_iter().map(|what| LoadProblem {
                    source: text(object, "/kind").unwrap_or("object").to_owned(),
                    line: None,
                    column: None,
                    rule: text(object, "/metadata/name").map(ToOwned::to_owned),
                    what,
                    effect,
                }));
            }
        }
    }
    (rules, problems)
}

/// What is to say about rules of a cluster though they count, `all` rules that are in force being known.
#[must_use]
pub fn remarks_on_objects(objects: &Rules, all: &Rules) -> Vec<LoadProblem> {
    let said = remarks::among(objects, all)
        .into_iter()
        .chain(remarks::of_services(objects));
    let said = said.filter_map(|(at, point)| {
        let rule = &objects.0.get(at)?.rule;
        let is_local = rule.namespace().is_some();
        Some(LoadProblem {
            source: if is_local { "AccessRule" } else { "ClusterAccessRule" }.to_owned(),
            line: None,
            column: None,
            rule: Some(rule.name().to_owned()),
            what: point.to_string(),
            effect: Consequence::CountsAsWritten,
        })
    });
    said.collect()
}

fn read_object(object: &Value) -> Result<Compiled, Vec<String>> {
    let document = AccessRuleDocument::deserialize(object).map_err(|error| vec![error.to_string()])?;
    let told = |points: Vec<Point>| points.iter().map(ToString::to_string).collect::<Vec<_>>();
    let compiled = compile::compile(&document).map_err(told)?;
    let failures = examples::failures_of_object(&document, &Rules(vec![compiled.clone()]));
    if failures.is_empty() {
        Ok(compiled)
    } else {
        Err(failures.into_iter().map(|failure| failure.what).collect())
    }
}
