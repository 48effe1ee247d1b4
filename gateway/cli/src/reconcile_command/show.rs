//! The report, for a person and for a machine.

use std::collections::BTreeMap;

use insight::coverage::{Coverage, Share};
use insight::reconcile::{Around, CallerKind, Finding, Gap, Problem, Report, Side};
use serde_json::json;

use super::Unread;
use crate::client::trouble::clean;
use crate::server_log::second;

/// Of what is wrong so many are shown to a person; a machine gets all.
const SHOWN: usize = 50;

pub(super) fn in_words(report: &Report, unread: &Unread, cluster: &str) -> String {
    let mut lines: Vec<String> = report.findings.iter().take(SHOWN).map(finding).collect();
    if report.findings.len() > SHOWN {
        lines.push(format!("✖ and {} more: see -o json", report.findings.len() - SHOWN));
    }
    for around in &report.around {
        lines.extend(one_around(around));
    }
    lines.push(match report.covers {
        Some((from, to)) => format!(
            "{} events of `{}`'s API server from {} to {} UTC; {} calls are in both logs, and both say the same; {} are \
             the gateway's own",
            report.events,
            clean(cluster),
            second(from),
            second(to),
            report.joined,
            report.own
        ),
        None => format!("✖ no event of `{}`'s API server was read", clean(cluster)),
    });
    lines.push(in_all(report));
    lines.extend(coverage(&report.coverage));
    lines.extend(report.gaps.iter().map(gap));
    lines.extend(
        not_compared(report, unread)
            .into_iter()
            .map(|line| format!("  not compared: {line}")),
    );
    lines.join("\n") + "\n"
}

fn in_all(report: &Report) -> String {
    let around = [
        CallerKind::Person,
        CallerKind::ServiceAccount,
        CallerKind::Component,
        CallerKind::Anonymous,
    ];
    let around: Vec<String> = around
        .into_iter()
        .map(|kind| format!("{} by {}", report.around(kind), kind_name(kind)))
        .collect();
    let mark = if report.findings.is_empty() { "✔" } else { "✖" };
    let found = match report.findings.len() {
        0 => "nothing differs".to_owned(),
        1 => "1 call is not as it should be".to_owned(),
        many => format!("{many} calls are not as they should be"),
    };
    format!("{mark} {found}; around the gate: {}", around.join(", "))
}

/// Of names that callers choose so many are shown, most calls first; a machine gets all.
const NAMES: usize = 8;

fn coverage(coverage: &Coverage) -> Vec<String> {
    let share = |share: &Share| {
        let (per_mille, unknown) = (share.per_mille(), share.unknown);
        let unknown = match unknown {
            0 => String::new(),
            many => format!(", {many} unknown"),
        };
        format!(
            "{} of {} ({}.{} %{unknown})",
            share.through,
            share.all(),
            per_mille / 10,
            per_mille % 10
        )
    };
    if coverage.all.all() == 0 {
        return Vec::new();
    }
    let named = |what: &str, mut shares: Vec<(String, Share)>| {
        shares.sort_by(|(a, of_a), (b, of_b)| (of_b.all(), a).cmp(&(of_a.all(), b)));
        let more = shares.len().saturating_sub(NAMES);
        let mut words: Vec<String> = shares
            .iter()
            .take(NAMES)
            .map(|(name, of)| format!("{} {}", clean(name), share(of)))
            .collect();
        if more > 0 {
            words.push(format!("{more} more: see -o json"));
        }
        format!("    by {what}: {}", words.join(", "))
    };
    let callers = coverage
        .callers
        .iter()
        .map(|(kind, share)| (kind_name(*kind).to_owned(), *share));
    let of = |shares: &BTreeMap<String, Share>| shares.iter().map(|(name, share)| (name.clone(), *share)).collect();
    vec![
        format!("  through the gate: {} of the calls", share(&coverage.all)),
        named("caller", callers.collect()),
        named("verb", of(&coverage.verbs)),
        named("resource", of(&coverage.resources)),
        named("day", of(&coverage.days)),
    ]
}

const fn kind_name(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Person => "people",
        CallerKind::ServiceAccount => "service accounts",
        CallerKind::Component => "the cluster's own parts",
        CallerKind::Anonymous => "nobody known",
    }
}

fn gap(gap: &Gap) -> String {
    let (from, to) = (second(gap.from), second(gap.to));
    match (gap.side, gap.calls) {
        (Side::Ledger, calls) => format!(
            "⚠ a gap of the ledger from {from} to {to}: {} calls went on without a record",
            calls.unwrap_or_default()
        ),
        (Side::Server, _) => format!("⚠ a gap of the audit log from {from} to {to}: what is not in it then is unknown"),
    }
}

fn not_compared(report: &Report, unread: &Unread) -> Vec<String> {
    let mut lines = Vec::new();
    if report.outside > 0 {
        lines.push(format!(
            "{} calls of the ledger, which were not sent, or when the audit log had not begun or had ended",
            report.outside
        ));
    }
    if report.sealed > 0 {
        lines.push(format!(
            "whose call it was, in {} events: names are sealed in this ledger",
            report.sealed
        ));
    }
    lines.extend(undecided(report));
    if report.unknown.without_record > 0 {
        lines.push(format!(
            "{} calls with the gateway's credential, which came when calls went on without a record, or of whose time the ledger has none: \
             whether they passed the gate is unknown",
            report.unknown.without_record
        ));
    }
    lines.extend(before_the_ledger(report));
    if report.unknown.without_event > 0 {
        lines.push(format!(
            "{} calls of the ledger at a time at which the audit log has a gap: whether they arrived is unknown",
            report.unknown.without_event
        ));
    }
    lines.extend(left_out(unread));
    lines
}

/// Of the files themselves: what is no record and no event, and what may be somebody else's.
fn left_out(unread: &Unread) -> Vec<String> {
    let mut lines = Vec::new();
    if unread.lines > 0 {
        lines.push(format!("{} lines of the audit log, which are no events", unread.lines));
        lines.extend(unread.named.iter().map(|line| format!("  {}", clean(line))));
    }
    if unread.records > 0 {
        lines.push(format!(
            "{} records of the ledger, which cannot be read",
            unread.records
        ));
    }
    if unread.gaps > 0 {
        lines.push(format!(
            "{} gaps of the ledger, whose records were not signed when a run ended: whether the gateway wrote them is not proved, and they excuse no call (see gatescribe ledger verify)",
            unread.gaps
        ));
    }
    if unread.foreign > 0 {
        lines.push(format!(
            "{} records of the ledger that somebody put in while no gateway ran (see gatescribe ledger verify)",
            unread.foreign
        ));
    }
    if unread.claimed > 0 {
        lines.push(format!(
            "whether somebody put {} records in, as records say that no checkpoint is over: an older one may stand in the place of the newest; they are compared like all \
             others (see gatescribe ledger verify)",
            unread.claimed
        ));
    }
    if unread.behind.records > 0 {
        lines.push(format!(
            "who wrote {} records that no checkpoint is over, {} of them gaps; they are compared like all others. What runs signs them within a second; what was killed \
             says at its next start which they were",
            unread.behind.records, unread.behind.gaps
        ));
    }
    if unread.unproved > 0 {
        lines.push(format!(
            "whether the gateway wrote {} records that were not signed when a run ended; they are compared like all others",
            unread.unproved
        ));
    }
    if let Some(why) = &unread.ledger {
        lines.push(format!(
            "the rest of the ledger: {} (see gatescribe ledger verify)",
            clean(why)
        ));
    }
    lines
}

/// A first time that is somebody's invention, or a wrong clock's, hides no more than is said here.
fn before_the_ledger(report: &Report) -> Option<String> {
    let begins = report.begins.filter(|_| report.unknown.before_ledger > 0)?;
    Some(format!(
        "{} calls with the gateway's credential from before the ledger begins ({} UTC): they are not looked at; give the ledger of that \
         time as well (`--ledger DIR`)",
        report.unknown.before_ledger,
        second(begins)
    ))
}

/// How many there are and the first few by their ids; how to see the rest is said with their count.
fn undecided(report: &Report) -> Vec<String> {
    if report.undecided == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "{} calls of which the ledger does not know whether they were sent; the audit log has none of them",
        report.undecided
    )];
    lines.extend(report.undecided_calls.iter().map(|call| {
        format!(
            "  {} {}, record {}: {} {} {}",
            second(call.at),
            clean(&call.id),
            call.seq,
            whose(&call.user),
            clean(&call.verb),
            clean(&call.path)
        )
    }));
    let named = u64::try_from(report.undecided_calls.len()).unwrap_or(u64::MAX);
    match report.undecided.saturating_sub(named) {
        0 => {}
        more => lines.push(format!("  and {more} more: `--examples N` names more of them")),
    }
    lines
}

/// Who made a call of the ledger. In the clear everybody there has a name.
fn whose(user: &str) -> String {
    match user {
        "" => "(sealed name)".to_owned(),
        user => clean(user),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn finding(finding: &Finding) -> String {
    let what = match &finding.problem {
        Problem::NotInLedger => {
            "no record has it: the gateway's credential was used elsewhere, or a record is lost".to_owned()
        }
        Problem::SaidNotSent => "the ledger says that it was not sent, and it arrived".to_owned(),
        Problem::Differs { what, ledger, server } => {
            format!(
                "{what}: `{}` in the ledger, `{}` at the API server",
                clean(ledger),
                clean(server)
            )
        }
        Problem::Repeated { sent, arrived } => {
            format!(
                "it was sent {} and arrived {}: somebody sent it again",
                times(*sent),
                times(*arrived)
            )
        }
        Problem::NeverArrived => {
            "the ledger says that it was answered, and the API server's log does not have it: its audit \
             policy may leave it out, or an event was lost, or it never arrived"
                .to_owned()
        }
    };
    let seq = finding.seq.map_or_else(String::new, |seq| format!(", record {seq}"));
    let seen = match finding.times {
        0 | 1 => String::new(),
        count => format!(", {count} times"),
    };
    let peer = finding
        .peer
        .as_ref()
        .map_or_else(String::new, |peer| format!(" from {}", clean(peer)));
    format!(
        "✖ {} {}{seq}: {} {} {}{peer}{seen}\n    {what}",
        second(finding.at),
        clean(&finding.id),
        whose(&finding.user),
        clean(&finding.verb),
        clean(&finding.path),
    )
}

/// People one by one with examples, everybody else in a line.
fn one_around(around: &Around) -> Vec<String> {
    let kind = match around.kind {
        CallerKind::Person | CallerKind::Anonymous => "⚠",
        CallerKind::ServiceAccount | CallerKind::Component => "·",
    };
    let user = if around.user.is_empty() {
        "(nobody)"
    } else {
        &around.user
    };
    let mut lines = vec![format!(
        "{kind} {}: {} calls around the gate, {} to {}",
        clean(user),
        around.calls,
        second(around.first),
        second(around.last)
    )];
    if matches!(around.kind, CallerKind::Person | CallerKind::Anonymous) {
        lines.extend(around.examples.iter().map(|example| {
            let status = example.status.map_or_else(String::new, |status| format!(" {status}"));
            let from = example
                .peer
                .as_ref()
                .map_or_else(String::new, |peer| format!(" from {}", clean(peer)));
            let with = example
                .agent
                .as_ref()
                .map_or_else(String::new, |agent| format!(", {}", clean(agent)));
            format!(
                "    {} {} {}{status}{from}{with}",
                second(example.at),
                clean(&example.verb),
                clean(&example.uri)
            )
        }));
    }
    lines
}

pub(super) fn as_json(report: &Report, unread: &Unread) -> String {
    let whole = json!({
        "report": report,
        "unread": {
            "auditLogLines": unread.lines,
            "named": unread.named,
            "records": unread.records,
            "unsignedGaps": unread.gaps,
            "notTheGateways": unread.foreign,
            "unsigned": unread.unproved,
            "underNoCheckpoint": unread.behind.records,
            "gapsUnderNoCheckpoint": unread.behind.gaps,
            "saidToBePutIn": unread.claimed,
            "ledger": unread.ledger,
        },
    });
    format!("{whole}\n")
}
