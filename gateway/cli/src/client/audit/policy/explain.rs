//! How much of one call a policy keeps, and why.

use std::path::PathBuf;

use audit_policy::{Asked, Level, Loaded, Resource, User, Verdict, group_of, load};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{line, read};
use crate::Exit;
use crate::client::Output;
use crate::client::document::document;
use crate::client::trouble::{Trouble, clean};
use crate::terminal::{data, say};

/// The call that is asked about.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The policy file.
    file: PathBuf,
    /// The verb as the API server computes it: get, list, create, delete, …; of a path, the HTTP method in lower case.
    verb: String,
    /// A resource in plural (pods, deployments, widgets.example.com), with the name of an object behind a slash if it is about
    /// one; or a path that is no resource's, such as /metrics.
    #[arg(value_name = "RESOURCE[/NAME]")]
    resource: String,
    /// The user who calls; somebody who is not signed in when left out.
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// A group of theirs, as often as there are; `system:authenticated` is added.
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,
    /// The namespace; without it, the call is about the whole cluster.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The subresource, for example log or exec.
    #[arg(long)]
    subresource: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Trouble> {
    let text = read(&arguments.file)?;
    let name = arguments.file.display().to_string();
    let resource = resource(arguments)?;
    let Loaded { policy, .. } = match load(&text) {
        Ok(loaded) => loaded,
        Err(findings) => {
            let lines: String = findings.iter().map(|finding| line(&name, &text, finding)).collect();
            say(lines.trim_end());
            return Ok(Exit::No);
        }
    };
    let groups = arguments.groups.iter().map(String::as_str);
    let groups: Vec<&str> = groups.chain(["system:authenticated"]).collect();
    let asked = Asked {
        user: arguments.user.as_deref().map(|name| User { name, groups: &groups }),
        verb: &arguments.verb,
        path: &arguments.resource,
        resource,
    };
    let verdict = policy.evaluate(&asked);
    let misses: Vec<&str> = policy
        .misses(&asked)
        .into_iter()
        .map(audit_policy::Miss::in_words)
        .collect();
    data(&match arguments.output {
        Output::Json => document("AuditPolicyVerdict", &as_json(verdict, &misses)),
        Output::Table => in_words(verdict, &misses),
    })?;
    Ok(Exit::Done)
}

/// The resource that is asked about; `None` for a path.
fn resource(arguments: &Arguments) -> Result<Option<Resource<'_>>, Trouble> {
    let asked = arguments.resource.as_str();
    if asked.starts_with('/') {
        if arguments.namespace.is_some() || arguments.subresource.is_some() {
            return Err(
                Trouble::new(Exit::Usage, "a path has neither a namespace nor a subresource")
                    .remedy("name the resource, or leave --namespace and --subresource out"),
            );
        }
        return Ok(None);
    }
    let (kind, name) = asked.split_once('/').unwrap_or((asked, ""));
    let (resource, group) = match kind.split_once('.') {
        Some((resource, group)) => (resource, group),
        None => (kind, group_of(kind).ok_or_else(|| unknown(kind))?),
    };
    Ok(Some(Resource {
        group,
        resource,
        subresource: arguments.subresource.as_deref().unwrap_or_default(),
        namespace: arguments.namespace.as_deref().unwrap_or_default(),
        name,
    }))
}

fn unknown(resource: &str) -> Trouble {
    Trouble::new(Exit::Usage, format!("`{resource}` is no built-in resource in plural"))
        .because("no cluster is asked here, so that short names and other groups are not known")
        .remedy("write its plural (`pods`, `deployments`), or with its group: `widgets.example.com`")
}

fn in_words(verdict: Verdict, misses: &[&str]) -> String {
    let mut lines = vec![verdict.level.to_string()];
    lines.push(match verdict.rule {
        Some(rule) => format!(
            "  rule {} decides: it is the first that matches",
            rule.saturating_add(1)
        ),
        None => "  no rule matches, which is level None".to_owned(),
    });
    let misses = misses.iter().enumerate();
    lines.extend(misses.map(|(at, miss)| format!("  rule {} {miss}", at.saturating_add(1))));
    if verdict.kept() != verdict.level {
        lines.push(format!(
            "  the stage ResponseComplete, which has the bodies, is omitted: kept as {}",
            verdict.kept()
        ));
    }
    if verdict.level == Level::None {
        lines.push("  the gateway's own least record remains".to_owned());
    }
    let stages: Vec<&str> = verdict.omit_stages.iter().map(|stage| stage.as_str()).collect();
    if !stages.is_empty() {
        lines.push(format!("  the API server would omit the stages {}", stages.join(", ")));
    }
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}

fn as_json(verdict: Verdict, misses: &[&str]) -> Map<String, Value> {
    let stages: Vec<&str> = verdict.omit_stages.iter().map(|stage| stage.as_str()).collect();
    let pairs = [
        ("level", json!(verdict.level.as_str())),
        ("kept", json!(verdict.kept().as_str())),
        ("rule", json!(verdict.rule.map(|rule| rule.saturating_add(1)))),
        ("omitStages", json!(stages)),
        ("omitManagedFields", json!(verdict.omit_managed_fields)),
        ("passedOver", json!(misses)),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
