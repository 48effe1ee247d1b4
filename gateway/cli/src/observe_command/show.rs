//! What was observed, for a person and for a machine.

use insight::reconcile::CallerKind;
use insight::replay::{Group, Said};
use serde_json::json;

use super::intake::Counts;
use super::keep::Places;
use crate::client::trouble::clean;
use crate::server_log::second;

/// Of groups and callers so many are shown to a person; a machine gets all.
const SHOWN: usize = 20;
const CALLERS: usize = 5;

/// What there is to say at the end.
pub(super) struct Told<'a> {
    pub(super) cluster: &'a str,
    pub(super) counts: &'a Counts,
    pub(super) said: Option<&'a Said>,
    /// Where it is kept; `None`: nowhere.
    pub(super) places: Option<&'a Places>,
    pub(super) remarks: &'a [String],
}

pub(super) fn in_words(told: &Told<'_>) -> String {
    let mut lines = Vec::new();
    if let Some(said) = told.said {
        lines.extend(of_the_rules(said));
    }
    lines.extend(of_the_log(told));
    lines.extend(left_out(told));
    lines.extend(told.remarks.iter().map(|remark| format!("! {}", clean(remark))));
    lines.extend(next(told));
    lines.join("\n") + "\n"
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{} {many}", grouped(count))
    }
}

/// `1234567` as `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + 6);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn of_the_rules(said: &Said) -> Vec<String> {
    let mut lines = Vec::new();
    let calls = |count| plural(count, "call", "calls");
    let parts = [
        (
            "✖",
            &said.refused,
            (said.calls.refused, said.beyond.refused),
            "Your rules would have refused",
            "that the server answered",
        ),
        (
            "⚠",
            &said.allowed,
            (said.calls.allowed, said.beyond.allowed),
            "The server refused",
            "that your rules would have allowed",
        ),
        (
            "·",
            &said.unknown,
            (said.calls.unknown, said.beyond.unknown),
            "It cannot be said of",
            "what your rules would have done",
        ),
    ];
    for (mark, groups, (all, beyond), head, tail) in parts {
        if groups.is_empty() {
            continue;
        }
        lines.push(format!("{head} {} {tail}:", calls(all)));
        lines.extend(of_a_class(mark, groups, beyond));
        lines.push(String::new());
    }
    let mark = if said.refused.is_empty() && said.unknown.is_empty() {
        "✔"
    } else {
        "·"
    };
    lines.push(format!(
        "{mark} Of {} that were judged, your rules and the server agree on {}",
        calls(said.judged),
        grouped(said.same)
    ));
    if said.components > 0 {
        lines.push(format!(
            "  not judged: {} of the cluster's own parts, which do not come through the gate",
            calls(said.components)
        ));
    }
    if said.forwarded > 0 {
        lines.push(format!(
            "  of {} the log names further addresses, the caller's word: rules were asked about whoever connected. Is that a balancer of \
             yours? --trusted-proxy NETWORK",
            calls(said.forwarded)
        ));
    }
    lines
}

/// The first kinds of calls by name, and how many there are of the others.
fn of_a_class(mark: &str, groups: &[Group], beyond: u64) -> Vec<String> {
    let named = groups.iter().take(SHOWN).flat_map(|group| of_a_group(mark, group));
    let mut lines: Vec<String> = named.collect();
    if groups.len() > SHOWN {
        lines.push(format!(
            "  … and {} more of this kind: see -o json",
            groups.len() - SHOWN
        ));
    }
    if beyond > 0 {
        lines.push(format!(
            "  … and {} of further kinds, which are counted and not named: {} kinds are kept apart",
            plural(beyond, "call", "calls"),
            grouped(u64::try_from(groups.len()).unwrap_or(u64::MAX))
        ));
    }
    lines
}

fn of_a_group(mark: &str, group: &Group) -> Vec<String> {
    let user = if group.user.is_empty() { "(nobody)" } else { &group.user };
    let whom = group
        .effective
        .as_ref()
        .map_or_else(String::new, |user| format!(" as {}", clean(user)));
    let place = match group.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in {}", clean(namespace)),
    };
    let times = match group.calls {
        1 => "once".to_owned(),
        calls => format!("{} times", grouped(calls)),
    };
    let span = if group.first == group.last {
        second(group.first)
    } else {
        format!("{} to {}", second(group.first), second(group.last))
    };
    let nearest = group
        .nearest
        .as_ref()
        .map_or_else(String::new, |role| format!("; {} would do", clean(role)));
    vec![
        format!(
            "  {mark} {}{whom}: {} {}{place}, {times} ({span})",
            clean(user),
            clean(&group.verb),
            clean(&group.resource)
        ),
        format!("      {}{nearest}", clean(&group.why)),
    ]
}

fn of_the_log(told: &Told<'_>) -> Vec<String> {
    let counts = told.counts;
    let Some((from, to)) = counts.covers else {
        return vec![format!("· No event of `{}`'s API server was read", clean(told.cluster))];
    };
    let kinds = [
        (CallerKind::Person, "people"),
        (CallerKind::ServiceAccount, "service accounts"),
        (CallerKind::Component, "the cluster's own parts"),
        (CallerKind::Anonymous, "nobody known"),
    ];
    let by = |kind| -> u64 {
        let callers = counts.callers.values().filter(|caller| caller.kind == kind);
        callers.map(|caller| caller.calls).sum()
    };
    let mut shares: Vec<String> = kinds
        .into_iter()
        .map(|(kind, name)| (by(kind), name))
        .filter(|(calls, _)| *calls > 0)
        .map(|(calls, name)| format!("{} by {name}", grouped(calls)))
        .collect();
    if counts.others > 0 {
        shares.push(format!("{} by others", grouped(counts.others)));
    }
    let refused = match counts.refused {
        0 => String::new(),
        refused => format!("; the server refused {}", grouped(refused)),
    };
    let mut lines = vec![format!(
        "✔ {} of `{}` from {} to {} UTC: {}{refused}",
        plural(counts.calls, "call", "calls"),
        clean(told.cluster),
        second(from),
        second(to),
        shares.join(", ")
    )];
    let mut people: Vec<_> = counts
        .callers
        .iter()
        .filter(|(_, caller)| caller.kind == CallerKind::Person)
        .collect();
    people.sort_by(|(a_name, a), (b_name, b)| b.calls.cmp(&a.calls).then(a_name.cmp(b_name)));
    if !people.is_empty() {
        let named = people
            .iter()
            .take(CALLERS)
            .map(|(name, caller)| format!("{} {}", clean(name), grouped(caller.calls)));
        let named: Vec<String> = named.collect();
        let more = match people.len().saturating_sub(CALLERS) {
            0 => String::new(),
            more => format!(", and {} more", more),
        };
        lines.push(format!("  people: {}{more}", named.join(", ")));
    }
    lines
}

fn left_out(told: &Told<'_>) -> Vec<String> {
    let counts = told.counts;
    let events = |count| plural(count, "event", "events");
    let mut lines = Vec::new();
    if let Some(places) = told.places {
        lines.push(format!(
            "  recorded: {} of {} read, in `{}`, each marked ingested",
            grouped(counts.written),
            events(counts.events),
            clean(&places.ledger.display().to_string())
        ));
    } else {
        lines.push(format!(
            "  read: {}; nothing was recorded: --ledger DIR keeps it",
            events(counts.events)
        ));
    }
    if counts.known > 0 {
        lines.push(format!("  left out: {} that were there already", events(counts.known)));
    }
    if counts.announced > 0 {
        lines.push(format!(
            "  left out: {} of the stage RequestReceived, whose end says all",
            events(counts.announced)
        ));
    }
    if counts.late > 0 {
        lines.push(format!(
            "  left out: {} that say only that a call began, of which more was there already",
            events(counts.late)
        ));
    }
    if counts.gaps > 0 {
        lines.push(format!(
            "✖ not all of the log was there: {}",
            plural(counts.gaps, "gap", "gaps")
        ));
        lines.extend(counts.named_gaps.iter().map(|named| format!("      {}", clean(named))));
    }
    if counts.unreadable > 0 {
        let unreadable = plural(
            counts.unreadable,
            "line or event that cannot be read",
            "lines or events that cannot be read",
        );
        lines.push(format!("✖ left out: {unreadable}"));
        lines.extend(counts.named.iter().map(|named| format!("      {}", clean(named))));
    }
    if counts.forgotten > 0 {
        lines.push(format!(
            "  {} are remembered no more: should they come again, they are written again",
            events(counts.forgotten)
        ));
    }
    lines
}

fn next(told: &Told<'_>) -> Vec<String> {
    let Some(places) = told.places else {
        return Vec::new();
    };
    let (ledger, key) = (places.ledger.display(), places.public());
    vec![
        String::new(),
        format!("gatescribe audit search --dir {ledger} --all     who did what"),
        format!(
            "gatescribe ledger verify {ledger} --key {}     that nothing of it was changed",
            key.display()
        ),
    ]
}

/// One line, as soon as rules would have refused something of a new kind.
pub(super) fn at_once(group: &Group) -> String {
    of_a_group("✖", group).join("\n")
}

pub(super) fn as_json(told: &Told<'_>) -> String {
    let whole = json!({
        "cluster": told.cluster,
        "log": told.counts,
        "rules": told.said,
        "ledger": told.places.map(|places| places.ledger.display().to_string()),
        "key": told.places.map(|places| places.public().display().to_string()),
        "remarks": told.remarks,
    });
    format!("{whole}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
