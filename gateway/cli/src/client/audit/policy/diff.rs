//! One audit policy for many clusters, and where the clusters' own differ from it.

use std::path::{Path, PathBuf};

use audit_policy::{Calls, Comparison, Difference, Effect, Line, Loaded, MOST_ASKED, Policy, compare, load};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{counted, line, read};
use crate::Exit;
use crate::client::Output;
use crate::client::document::document;
use crate::client::trouble::{Trouble, clean};
use crate::terminal::{data, say};

/// Of kinds of calls, and of callers or objects among them, so many are shown to a person.
const SHOWN: usize = 8;

/// What is compared.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The shared policy.
    shared: PathBuf,
    /// The policy of each cluster's API server; the file's name stands for the cluster where no name does.
    #[arg(required = true, value_name = "[CLUSTER=]FILE")]
    clusters: Vec<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// One cluster, compared, or why not.
struct Compared {
    cluster: String,
    file: String,
    comparison: Result<Comparison, String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Trouble> {
    let shared = match policy(&arguments.shared)? {
        Ok(policy) => policy,
        Err(why) => {
            say(why.trim_end());
            return Ok(Exit::Partly);
        }
    };
    let mut all = Vec::new();
    for word in &arguments.clusters {
        let (cluster, file) = named(word);
        all.push(Compared {
            cluster,
            comparison: policy(&file)?.map(|own| compare(&shared, &own)),
            file: file.display().to_string(),
        });
    }
    data(&match arguments.output {
        Output::Json => document("AuditPolicyDiff", &as_json(&arguments.shared, &all)),
        Output::Table => all.iter().map(in_words).collect(),
    })?;
    let unread = all.iter().filter(|one| one.comparison.is_err()).count();
    let differs = |one: &&Compared| one.comparison.as_ref().is_ok_and(|one| !one.differences.is_empty());
    let differing = all.iter().filter(differs).count();
    if arguments.output == Output::Table {
        let same = all.len().saturating_sub(unread).saturating_sub(differing);
        let mut words = format!("{} the same, {differing} differ", counted(same, "cluster"));
        if unread > 0 {
            words.push_str(&format!(", {unread} cannot be used"));
        }
        say(&words);
    }
    Ok(match (unread, differing) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::No,
        _ => Exit::Partly,
    })
}

/// The policy of a file, or what is wrong with it, line by line.
fn policy(file: &Path) -> Result<Result<Policy, String>, Trouble> {
    let text = read(file)?;
    let name = file.display().to_string();
    Ok(match load(&text) {
        Ok(Loaded { policy, .. }) => Ok(policy),
        Err(findings) => Err(findings.iter().map(|finding| line(&name, &text, finding)).collect()),
    })
}

/// `prod=audit/prod.yaml`, or a file that is called like its cluster.
fn named(word: &str) -> (String, PathBuf) {
    match word.split_once('=') {
        Some((cluster, file)) if !cluster.is_empty() && !cluster.contains('/') => (cluster.to_owned(), file.into()),
        _ => {
            let file = PathBuf::from(word);
            let stem = file.file_stem().unwrap_or(file.as_os_str());
            (stem.to_string_lossy().into_owned(), file)
        }
    }
}

fn in_words(one: &Compared) -> String {
    let cluster = clean(&one.cluster);
    let comparison = match &one.comparison {
        Ok(comparison) => comparison,
        Err(why) => return format!("✖ {cluster}: its policy cannot be used\n{why}"),
    };
    let mut text = match (comparison.differences.len(), comparison.lines.is_empty()) {
        (0, true) => format!("✔ {cluster}: the same\n"),
        (0, false) => format!("✔ {cluster}: says the same in other words\n"),
        (some, _) => format!("✖ {cluster}: {}\n", counted(some, "difference")),
    };
    for difference in &comparison.differences {
        text.push_str(&of(difference));
    }
    if !comparison.lines.is_empty() {
        text.push_str("  rules (- shared, + here):\n");
        for line in &comparison.lines {
            let (mark, at, rule) = match line {
                Line::Shared(at, rule) => ('-', at, rule),
                Line::Other(at, rule) => ('+', at, rule),
            };
            text.push_str(&format!("    {mark} {:>3}  {}\n", at.saturating_add(1), clean(rule)));
        }
    }
    if !comparison.whole {
        text.push_str(&format!(
            "  ! the two name too much for all that could differ: {} kinds of calls were asked about, of {MOST_ASKED} at most\n",
            comparison.asked
        ));
    }
    text
}

fn of(difference: &Difference) -> String {
    let rule =
        |rule: Option<usize>| rule.map_or("no rule".to_owned(), |rule| format!("rule {}", rule.saturating_add(1)));
    let mut text = format!(
        "  {} here ({}), {} in the shared policy ({}):\n",
        effect(difference.other),
        rule(difference.other_rule),
        effect(difference.shared),
        rule(difference.shared_rule),
    );
    for calls in difference.calls.iter().take(SHOWN) {
        text.push_str(&format!(
            "      {} {}: {}\n",
            few(&calls.verbs),
            few(&calls.what),
            few(&calls.who)
        ));
    }
    if difference.calls.len() > SHOWN {
        text.push_str(&format!(
            "      … and {} more: see -o json\n",
            difference.calls.len() - SHOWN
        ));
    }
    text
}

fn few(words: &[String]) -> String {
    let mut text = words
        .iter()
        .take(SHOWN)
        .map(|word| clean(word))
        .collect::<Vec<_>>()
        .join(", ");
    if words.len() > SHOWN {
        text.push_str(&format!(" and {} more", words.len() - SHOWN));
    }
    text
}

fn effect(effect: Effect) -> String {
    let mut text = effect.level.to_string();
    let stages: Vec<&str> = effect.omit_stages.iter().map(|stage| stage.as_str()).collect();
    if !stages.is_empty() {
        text.push_str(&format!(" without {}", stages.join(", ")));
    }
    if effect.omit_managed_fields {
        text.push_str(" without managedFields");
    }
    text
}

fn as_json(shared: &Path, all: &[Compared]) -> Map<String, Value> {
    let side = |effect: Effect, rule: Option<usize>| {
        let stages: Vec<&str> = effect.omit_stages.iter().map(|stage| stage.as_str()).collect();
        json!({"level": effect.level.as_str(), "omitStages": stages, "omitManagedFields": effect.omit_managed_fields,
            "rule": rule.map(|rule| rule.saturating_add(1))})
    };
    let calls = |calls: &Calls| json!({"who": calls.who, "verbs": calls.verbs, "what": calls.what});
    let difference = |one: &Difference| {
        json!({"shared": side(one.shared, one.shared_rule), "here": side(one.other, one.other_rule),
            "calls": one.calls.iter().map(calls).collect::<Vec<_>>()})
    };
    let rule = |line: &Line| match line {
        Line::Shared(at, rule) => json!({"of": "shared", "rule": at.saturating_add(1), "text": rule}),
        Line::Other(at, rule) => json!({"of": "here", "rule": at.saturating_add(1), "text": rule}),
    };
    let clusters = all.iter().map(|one| match &one.comparison {
        Ok(comparison) => json!({"cluster": one.cluster, "file": one.file, "usable": true, "same": comparison.differences.is_empty(),
            "differences": comparison.differences.iter().map(difference).collect::<Vec<_>>(),
            "rules": comparison.lines.iter().map(rule).collect::<Vec<_>>(), "asked": comparison.asked, "whole": comparison.whole}),
        Err(why) => json!({"cluster": one.cluster, "file": one.file, "usable": false, "problem": why.trim_end()}),
    });
    let clusters: Vec<Value> = clusters.collect();
    let mut members = Map::new();
    members.insert("shared".to_owned(), json!(shared.display().to_string()));
    members.insert("clusters".to_owned(), json!(clusters));
    members
}
