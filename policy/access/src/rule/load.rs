//! Reading policy: files whole or not at all, cluster objects each alone.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::compile;
use super::document::{AccessRuleDocument, Effect};
use super::examples;
use super::salvage::{salvage, text};
use super::set::{Rules, doubles};
use crate::rbac::{Binding, Objects, Role, aggregate};

/// What files hold.
#[derive(Clone, Debug, Default)]
pub struct FilePolicy {
    /// `AccessRule`s.
    pub rules: Rules,
    /// RBAC objects, aggregated roles filled.
    pub rbac: Objects,
}

/// Why a document was not taken as it stands.
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

/// Reads files of YAML documents: `AccessRule`s and RBAC objects.
///
/// # Errors
/// All that is wrong in any of them. Nothing is taken then: half a policy is another policy.
pub fn load_files<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Result<FilePolicy, Vec<LoadProblem>> {
    let mut policy = FilePolicy::default();
    let mut problems = Vec::new();
    let mut examples = Vec::new();
    for (name, text) in files {
        for document in split_documents(text) {
            match read_document(&document, &mut policy) {
                Ok(found) => examples.extend(found.into_iter().map(|found| (name, document.first_line, found))),
                Err(wrong) => problems.extend(wrong.into_iter().map(|wrong| wrong.in_file(name, &document))),
            }
        }
    }
    let nowhere = |what| LoadProblem {
        source: "policy".to_owned(),
        line: None,
        column: None,
        rule: None,
        what,
        effect: Consequence::NothingLoaded,
    };
    problems.extend(doubles(&policy.rules.0).into_iter().map(nowhere));
    if problems.is_empty() {
        for (file, line, document) in examples {
            let failures = examples::failures(&document, &policy.rules);
            problems.extend(failures.into_iter().map(|what| LoadProblem {
                source: file.to_owned(),
                line: Some(line),
                column: None,
                rule: Some(document.metadata.name.clone()),
                what,
                effect: Consequence::NothingLoaded,
            }));
        }
    }
    aggregate(&mut policy.rbac.cluster_roles);
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
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
    line: Option<u64>,
    column: Option<u64>,
    rule: Option<String>,
    what: String,
}

impl WrongDocument {
    fn in_file(self, file: &str, document: &Document<'_>) -> LoadProblem {
        let line = self
            .line
            .map_or(document.first_line, |line| document.first_line + line.saturating_sub(1));
        LoadProblem {
            source: file.to_owned(),
            line: Some(line),
            column: self.column,
            rule: self.rule,
            what: self.what,
            effect: Consequence::NothingLoaded,
        }
    }
}

fn read_document(
    document: &Document<'_>,
    policy: &mut FilePolicy,
) -> Result<Option<AccessRuleDocument>, Vec<WrongDocument>> {
    let head: Head = parse(document.text)?;
    match (head.api_version.as_str(), head.kind.as_str()) {
        (super::API_VERSION, "AccessRule" | "ClusterAccessRule") => {
            let written: AccessRuleDocument = parse(document.text)?;
            let rule = Some(written.metadata.name.clone());
            let compiled = compile::compile(&written).map_err(|wrong| {
                let say = |what| WrongDocument {
                    line: None,
                    column: None,
                    rule: rule.clone(),
                    what,
                };
                wrong.into_iter().map(say).collect::<Vec<_>>()
            })?;
            policy.rules.0.push(compiled);
            Ok(Some(written))
        }
        ("rbac.authorization.k8s.io/v1", kind) => {
            check_rbac_keys(&parse(document.text)?).map_err(one)?;
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
                other => return Err(one(format!("kind: `{other}` is no RBAC object"))),
            }
            Ok(None)
        }
        (version, kind) => Err(one(format!("`{kind}` of `{version}` is no policy"))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

fn one(what: String) -> Vec<WrongDocument> {
    vec![WrongDocument {
        line: None,
        column: None,
        rule: None,
        what,
    }]
}

fn namespaced(role: Role) -> Result<Role, Vec<WrongDocument>> {
    if role.metadata.namespace.as_deref().is_none_or(str::is_empty) {
        return Err(one("metadata.namespace: a `Role` lies in a namespace".to_owned()));
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
            line: at.map(|at| at.line()),
            column: at.map(|at| at.column()),
            rule: None,
            what,
        }]
    })
}

/// RBAC objects of files are as strict as ours: a misspelt `resourceNames` would widen a right without a word.
fn check_rbac_keys(document: &Value) -> Result<(), String> {
    let known = |place: &str, value: &Value, keys: &[&str]| match value.as_object() {
        Some(object) => match object.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(format!(
                "{place}: unknown member `{key}`; known are {}",
                keys.join(", ")
            )),
            None => Ok(()),
        },
        None => Err(format!("{place}: it is no object")),
    };
    let items = |member: &str| document.get(member).and_then(Value::as_array).into_iter().flatten();
    known(
        "document",
        document,
        &[
            "apiVersion",
            "kind",
            "metadata",
            "rules",
            "aggregationRule",
            "subjects",
            "roleRef",
        ],
    )?;
    for rule in items("rules") {
        known(
            "rules",
            rule,
            &["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"],
        )?;
    }
    for subject in items("subjects") {
        known("subjects", subject, &["kind", "apiGroup", "name", "namespace"])?;
    }
    document
        .get("roleRef")
        .map_or(Ok(()), |role| known("roleRef", role, &["apiGroup", "kind", "name"]))
}

/// Reads the `AccessRule` objects of a cluster, each alone: a mistake of one tenant must not freeze revocation for all.
///
/// An invalid allow grants nothing, and what it demands is owed as far as it can be read; an invalid forbid forbids what
/// its readable part reaches.
pub fn load_objects<'o>(objects: impl IntoIterator<Item = &'o Value>) -> (Rules, Vec<LoadProblem>) {
    let mut rules = Rules::default();
    let mut problems = Vec::new();
    for object in objects {
        let read = match AccessRuleDocument::deserialize(object) {
            Err(error) => Err(vec![error.to_string()]),
            Ok(document) => compile::compile(&document).and_then(|compiled| {
                let failures = examples::failures_of_object(&document, &Rules(vec![compiled.clone()]));
                if failures.is_empty() {
                    Ok(compiled)
                } else {
                    Err(failures)
                }
            }),
        };
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
