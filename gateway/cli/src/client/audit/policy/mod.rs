//! `gatescribe audit policy`: what an audit policy says, before anybody lives under it. Reads files alone; no gateway is asked.

mod diff;
mod explain;

use std::path::{Path, PathBuf};

use audit_policy::{Finding, Loaded, PRESET, Severity, load};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::Exit;
use crate::client::Output;
use crate::client::document::document;
use crate::client::trouble::{Trouble, clean};
use crate::terminal::{data, say};

/// Check, explain, compare, begin.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say what is wrong with a policy, and what in it probably does not do what it seems to say.
    #[command(
        after_help = "Examples:\n  gatescribe audit policy check audit.yaml\n  gatescribe audit policy check audit.yaml --strict -o json\n\nA policy that the API \
        server refuses is refused. So is what the API server would only log: members that there are not, keys that stand twice.\n\nExit \
        codes: 0 it can be used, 1 it cannot, or --strict and there are warnings, 9 the file cannot be read\nSee also: gatescribe audit \
        policy explain, gatescribe config check"
    )]
    Check {
        /// The policy file (`audit.k8s.io/v1`, kind `Policy`).
        file: PathBuf,
        /// Warnings count as mistakes; notes do not.
        #[arg(long)]
        strict: bool,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Say how much of one call a policy keeps, which rule decides, and why the rules before it do not.
    #[command(
        after_help = "Examples:\n  gatescribe audit policy explain audit.yaml delete pods/web-0 -n shop --as alice --as-group dev\n  gatescribe audit \
        policy explain audit.yaml get pods --subresource exec --as alice\n  gatescribe audit policy explain audit.yaml get /metrics -o json\n\nThe verb is the \
        API server's: an exec is `create` over SPDY and `get` over WebSocket.\n\nExit codes: 0 told, 1 the policy cannot be used, 2 the \
        call is not understood, 9 the file cannot be read\nSee also: gatescribe audit policy check, gatescribe can"
    )]
    Explain(explain::Arguments),
    /// Say where the policies of clusters differ from a shared one: in which calls, and in which rules.
    ///
    /// Both are asked about every kind of call that either names and one that neither does, so that two texts that mean the same are
    /// the same. The API server shows its policy to nobody: take the file of `--audit-policy-file` from each cluster.
    #[command(
        after_help = "Examples:\n  gatescribe audit policy diff audit.yaml prod=prod-audit.yaml staging=staging-audit.yaml\n  gatescribe audit policy diff \
        audit.yaml clusters/*.yaml\n  gatescribe audit policy diff audit.yaml prod=prod-audit.yaml -o json\n\nExit codes: 0 all say the same, 1 one says something \
        else of a call, 9 a file cannot be read, 10 a policy cannot be used\nSee also: gatescribe audit policy check, gatescribe audit policy explain"
    )]
    Diff(diff::Arguments),
    /// Print a policy to begin with.
    #[command(
        after_help = "Examples:\n  gatescribe audit policy preset > audit.yaml\n  gatescribe audit policy preset | less\n\nIt loads in \
        the API server as it is.\n\nExit codes: 0 printed\nSee also: gatescribe audit policy check"
    )]
    Preset,
}

pub(super) fn run(command: &PolicyCommand) -> Result<Exit, Trouble> {
    match command {
        PolicyCommand::Check { file, strict, output } => check(file, *strict, *output),
        PolicyCommand::Explain(arguments) => explain::run(arguments),
        PolicyCommand::Diff(arguments) => diff::run(arguments),
        PolicyCommand::Preset => {
            data(PRESET)?;
            Ok(Exit::Done)
        }
    }
}

fn read(file: &Path) -> Result<String, Trouble> {
    std::fs::read_to_string(file).map_err(|error| {
        Trouble::new(Exit::Fault, format!("cannot read the policy `{}`", file.display()))
            .because(error.to_string())
            .remedy("name a file that is there and that you may read")
    })
}

fn check(file: &Path, strict: bool, output: Output) -> Result<Exit, Trouble> {
    let text = read(file)?;
    let (is_taken, findings) = match load(&text) {
        Ok(Loaded { findings, .. }) => (true, findings),
        Err(findings) => (false, findings),
    };
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (warnings, notes) = (count(Severity::Warning), count(Severity::Note));
    let name = file.display().to_string();
    data(&match output {
        Output::Json => document("AuditPolicyCheck", &as_json(&name, &text, is_taken, &findings)),
        Output::Table => findings.iter().map(|finding| line(&name, &text, finding)).collect(),
    })?;
    if output == Output::Table {
        let name = clean(&name);
        say(&match (is_taken, warnings, notes) {
            (true, 0, 0) => format!("✔ {name}: nothing to say"),
            (true, ..) => format!(
                "✔ {name} can be used: {}, {}",
                counted(warnings, "warning"),
                counted(notes, "note")
            ),
            (false, ..) => format!("✖ {name} cannot be used: {}", counted(findings.len(), "mistake")),
        });
    }
    Ok(if is_taken && !(strict && warnings > 0) {
        Exit::Done
    } else {
        Exit::No
    })
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

const fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "✖",
        Severity::Warning => "!",
        Severity::Note => "·",
    }
}

/// `! audit.yaml:7:10 rule 2: what`, and below it what to do.
fn line(name: &str, text: &str, finding: &Finding) -> String {
    let (line, column) = finding.line_and_column(text);
    let rule = finding.rule.map(|rule| format!(" rule {}", rule.saturating_add(1)));
    let rule = rule.unwrap_or_default();
    let what = clean(&format!("{name}:{line}:{column}{rule}: {}", finding.what));
    format!("{} {what}\n    {}\n", mark(finding.severity), clean(&finding.help))
}

fn as_json(name: &str, text: &str, is_taken: bool, findings: &[Finding]) -> Map<String, Value> {
    let findings = findings.iter().map(|finding| {
        let (line, column) = finding.line_and_column(text);
        let mut members = json!({
            "severity": finding.severity.as_str(), "code": finding.code.as_str(), "line": line, "column": column,
            "problem": finding.what, "help": finding.help,
        });
        if let (Some(rule), Value::Object(members)) = (finding.rule, &mut members) {
            members.insert("rule".to_owned(), json!(rule.saturating_add(1)));
        }
        members
    });
    let findings: Vec<Value> = findings.collect();
    let mut all = Map::new();
    all.insert("file".to_owned(), json!(name));
    all.insert("usable".to_owned(), json!(is_taken));
    all.insert("findings".to_owned(), json!(findings));
    all
}
