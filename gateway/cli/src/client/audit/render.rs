//! Records for a person.

use std::io::IsTerminal as _;

use serde_json::{Map, Value};

use crate::client::session::in_seconds;
use crate::client::sessions::session_result;
use crate::client::table::{facts, table};
use crate::client::trouble::clean;
use crate::client::whoami::plain;
use crate::terminal::say;

const HEADS: [&str; 5] = ["TIME (UTC)", "WHO", "ACT", "CLUSTER", "RESULT"];
/// Below this many columns a table says less, so that its acts stay readable.
const NARROW: usize = 110;
/// The widths of a followed line, whose neighbours are not known yet.
const TAIL_WIDTHS: [usize; 5] = [20, 24, 0, 12, 24];

/// How wide a table may be: a terminal's width, and unlimited where the reader is a program.
pub(in crate::client) fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(crate::terminal::width)
}

/// A table of rows.
pub(super) fn rows(records: &[Value], width: Option<usize>) -> String {
    if records.is_empty() {
        return String::new();
    }
    let cells: Vec<Vec<String>> = records.iter().map(cells).collect();
    match width {
        Some(narrow) if narrow < NARROW => narrowed(records, &cells, narrow),
        _ => table(&HEADS, &cells, width),
    }
}

/// For a small terminal the year, the reason's name and a cluster that is the same everywhere give way to the acts.
fn narrowed(records: &[Value], cells: &[Vec<String>], width: usize) -> String {
    let same = cells
        .iter()
        .all(|row| row.get(3) == cells.first().and_then(|first| first.get(3)));
    let pick = |row: &[String], record: Option<&Value>| -> Vec<String> {
        row.iter()
            .enumerate()
            .filter(|(place, _)| *place != 3 || !same)
            .map(|(place, cell)| match (place, record) {
                (0, Some(_)) => cell.chars().skip(5).collect(),
                (4, Some(record)) => {
                    let reason = record.pointer("/outcome/reason").map_or_else(String::new, plain);
                    let without = cell.replacen(&reason, "", usize::from(!reason.is_empty()));
                    without.split_whitespace().collect::<Vec<_>>().join(" ")
                }
                _ => cell.clone(),
            })
            .collect()
    };
    let heads = pick(&HEADS.map(str::to_owned), None);
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = cells
        .iter()
        .zip(records)
        .map(|(row, record)| pick(row, Some(record)))
        .collect();
    table(&heads, &rows, Some(width))
}

/// One line of a stream, under heads the first time.
pub(super) fn line(record: &Value, heads: bool, width: Option<usize>) -> String {
    let pad = |cells: Vec<String>| {
        let act = width.map_or(60, |width| {
            width.saturating_sub(TAIL_WIDTHS.iter().sum::<usize>() + 8).max(20)
        });
        let mut line = String::new();
        for (cell, fits) in cells.iter().zip(TAIL_WIDTHS) {
            let fits = if fits == 0 { act } else { fits };
            line.push_str(&format!("{:fits$}  ", clean(cell)));
        }
        format!("{}\n", line.trim_end())
    };
    let head = if heads {
        pad(HEADS.map(str::to_owned).to_vec())
    } else {
        String::new()
    };
    format!("{head}{}", pad(cells(record)))
}

fn cells(record: &Value) -> Vec<String> {
    let word = |name: &str| record.get(name).map_or_else(String::new, plain);
    vec![
        word("t").trim_end_matches('Z').replace('T', " "),
        who(record),
        act(record),
        word("cluster"),
        result(record),
    ]
}

fn who(record: &Value) -> String {
    let who = record.get("who");
    let part = |name: &str| {
        who.and_then(|who| who.get(name))
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    // Somebody may be called that by their provider.
    let name = if is_public(record) {
        Some("(public)")
    } else {
        part("user")
    };
    let name = name.or(part("email")).or(part("id")).unwrap_or("-");
    format!("{name}{}", via(record))
}

/// Which workloads did it for the person, the one that asked last: ` via shop/front, shop/stock`.
pub(in crate::client) fn via(record: &Value) -> String {
    let users = record.get("via").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = users.filter_map(|acting| acting.get("user")).map(short).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" via {}", names.join(", "))
}

/// A ServiceAccount as `via:` takes it: `NAMESPACE/NAME`.
fn short(user: &Value) -> String {
    let user = plain(user);
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'));
    account.map_or_else(|| user.clone(), |(namespace, name)| format!("{namespace}/{name}"))
}

/// Whether nobody had signed in, and a rule lets the public do it.
pub(in crate::client) fn is_public(record: &Value) -> bool {
    record.pointer("/service/public").and_then(Value::as_bool) == Some(true)
}

fn act(record: &Value) -> String {
    let word = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let act = match word("act") {
        act if act.is_empty() => format!("{} {}", word("verb"), word("resource")).trim().to_owned(),
        act => act,
    };
    match record.get("count").and_then(Value::as_u64) {
        Some(count) if count > 1 => format!("{act} (×{count})"),
        _ => act,
    }
}

/// A word first, so that nothing is said by colour alone.
fn result(record: &Value) -> String {
    let outcome = record.get("outcome");
    let text = |name: &str| {
        outcome
            .and_then(|outcome| outcome.get(name))
            .map_or_else(String::new, plain)
    };
    let (end, status, reason) = (text("end"), text("status"), text("reason"));
    let source = source(record);
    // A service may answer what asks for another protocol as it answers anything.
    let is_session = record.get("service").is_none() || status == "101" || end != "answered";
    if record.get("kind").and_then(Value::as_str) == Some("open") && is_session {
        let refused = record.get("refused").and_then(Value::as_bool) == Some(true);
        return format!("{}{source}", session_result(outcome, refused));
    }
    let refused = record
        .get("refused")
        .and_then(Value::as_bool)
        .unwrap_or(end == "refused");
    let mark = match end.as_str() {
        _ if refused => "✖ refused",
        "" if record.get("kind").and_then(Value::as_str) == Some("verdict") => "✔ allowed",
        "" => "",
        "answered" | "allowed" | "ok" => "✔",
        "inFlight" => "… runs",
        other => other,
    };
    let whole = format!("{mark} {status} {reason}");
    format!("{}{source}", whole.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What stands behind the result of what this gateway did not see happen: such a row must not pass for evidence of it.
pub(in crate::client) fn source(record: &Value) -> &'static str {
    match record.get("source").and_then(Value::as_str) {
        Some("sample") => " (sample)",
        Some("ingested") => " (ingested)",
        Some("verdict") => " (verdict)",
        _ => "",
    }
}

/// What was searched, how far behind it is, what is folded away: to stderr, as it is no data.
pub(super) fn say_around(found: &Map<String, Value>, nothing: bool) {
    let word = |name: &str| found.get(name).map_or_else(String::new, plain);
    if nothing {
        say(&nothing_found(found));
    }
    if let Some(folded) = found.get("folded").and_then(folded).filter(|_| !nothing) {
        say(&folded);
    }
    // A gateway's note says it already.
    let is_told = |trouble: &str| trouble.is_empty() || word("note").contains(trouble);
    for (name, before) in [("note", ""), ("trouble", "! ")] {
        if !word(name).is_empty() && (name == "note" || !is_told(&word(name))) {
            say(&format!("{before}{}", clean(&word(name))));
        }
    }
    match (word("stopped").as_str(), word("next").is_empty()) {
        ("budget", _) => {
            say("! not all was searched in the time there is; narrow it with --since, user: or namespace:")
        }
        (_, false) => say("there is more; narrow the query or raise --limit"),
        _ => {}
    }
}

fn nothing_found(found: &Map<String, Value>) -> String {
    let range = found.get("range");
    let bound = |name: &str| range.and_then(|range| range.get(name)).map_or_else(String::new, plain);
    let (from, to) = (bound("from"), bound("to"));
    let lag = found.get("lag_seconds").and_then(Value::as_u64);
    let lag = lag.map_or_else(
        || "there is no record yet".to_owned(),
        |lag| format!("the newest record is {lag} s old"),
    );
    let mut said = format!(
        "nothing found from {} to {}; {lag}",
        or(&from, "the beginning"),
        or(&to, "now")
    );
    for nearest in found.get("nearest").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| nearest.get(name).map_or_else(String::new, plain);
        let line = match word("candidates") {
            none if none.is_empty() => format!("nothing is like {}:{}", word("key"), word("value")),
            candidates => format!("nearest to {}:{} are {candidates}", word("key"), word("value")),
        };
        said.push_str(&format!("\n  {}", clean(&line)));
    }
    said
}

/// Counts of what the default view leaves out.
pub(super) fn folded(folded: &Value) -> Option<String> {
    let count = |name: &str| folded.get(name).and_then(Value::as_u64).unwrap_or(0);
    let programs = match count("machines_refused") {
        0 => "of programs".to_owned(),
        refused => format!("of programs ({refused} refused)"),
    };
    let parts: Vec<String> = [
        (count("discovery"), "of discovery".to_owned()),
        (count("machines"), programs),
        (count("audit_reads"), "of reading the audit".to_owned()),
        (count("checkpoints"), "checkpoints".to_owned()),
        (count("public"), "of the public".to_owned()),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    (!parts.is_empty()).then(|| format!("folded away: {}; --all shows them", parts.join(", ")))
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// Every member that says something on a line of its own, nested ones by their path: nothing of a record is left out.
pub(super) fn whole(record: &Map<String, Value>) -> String {
    let mut lines = Vec::new();
    flatten("", &Value::Object(record.clone()), &mut lines);
    lines.retain(|(_, value)| !value.is_empty());
    let lines: Vec<(&str, String)> = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    facts(&lines)
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| flatten(&below(name), value, lines)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items
                .iter()
                .enumerate()
                .for_each(|(place, item)| flatten(&below(&place.to_string()), item, lines));
        }
        Value::String(text) => {
            let shown = model::time::Timestamp::parse(text).map_or_else(|_| text.clone(), in_seconds);
            lines.push((clean(path), shown));
        }
        other => lines.push((clean(path), plain(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Value {
        json!({
            "id": "0192", "t": "2026-11-21T05:00:00.123456Z", "who": {"user": "alice@example.test", "id": "s1"},
            "act": "kubectl delete pod web-0 -n payments", "cluster": "prod", "count": 1, "source": "gateway",
            "outcome": {"end": "answered", "status": 200}, "calls": [{"id": "a", "seq": 7}], "groups": ["a", "b"],
        })
    }

    #[test]
    fn a_row_says_when_who_what_where_and_how_it_ended() {
        assert_eq!(
            rows(&[record()], None),
            "TIME (UTC)           WHO                 ACT                                   CLUSTER  RESULT\n\
             2026-11-21 05:00:00  alice@example.test  kubectl delete pod web-0 -n payments  prod     ✔ 200\n"
        );
    }

    #[test]
    fn what_is_refused_folded_or_a_sample_says_so_in_words() {
        let mut folded = record();
        folded["count"] = json!(14);
        folded["source"] = json!("sample");
        folded["outcome"] = json!({"end": "refused", "status": 403, "reason": "Forbidden"});
        let cells = cells(&folded);
        assert_eq!(cells[2], "kubectl delete pod web-0 -n payments (×14)");
        assert_eq!(cells[4], "✖ refused 403 Forbidden (sample)");
        folded["kind"] = json!("open");
        folded["outcome"] = json!({"end": "answered", "status": 101});
        assert_eq!(super::cells(&folded)[4], "✔ (sample)");
    }

    fn of_service() -> Value {
        json!({
            "id": "0193", "t": "2026-11-21T05:00:01Z", "who": {"user": "alice@example.test"}, "kind": "intent", "refused": false,
            "act": "GET grafana.example.com/d/7", "service": {"name": "grafana", "host": "grafana.example.com"}, "count": 1,
            "source": "gateway", "outcome": {"end": "answered", "status": 200},
        })
    }

    #[test]
    fn what_a_workload_did_for_somebody_is_told_as_theirs_and_as_its_own() {
        let mut record = of_service();
        record["via"] = json!([
            {"id": "s8", "user": "system:serviceaccount:shop:front"},
            {"id": "s9", "user": "spiffe://example.org/stock"}
        ]);
        assert_eq!(
            cells(&record)[1],
            "alice@example.test via shop/front, spiffe://example.org/stock"
        );
        record["via"] = json!([]);
        assert_eq!(cells(&record)[1], "alice@example.test");
    }

    #[test]
    fn a_call_of_a_service_is_a_row_among_those_to_clusters() {
        let mut public = of_service();
        public["service"]["public"] = json!(true);
        public["who"] = json!({"kind": "public", "user": "public", "id": "s9"});
        assert_eq!(
            rows(&[record(), of_service(), public], None),
            "TIME (UTC)           WHO                 ACT                                   CLUSTER  RESULT\n\
             2026-11-21 05:00:00  alice@example.test  kubectl delete pod web-0 -n payments  prod     ✔ 200\n\
             2026-11-21 05:00:01  alice@example.test  GET grafana.example.com/d/7                    ✔ 200\n\
             2026-11-21 05:00:01  (public)            GET grafana.example.com/d/7                    ✔ 200\n"
        );
    }

    #[test]
    fn what_asked_a_service_for_another_protocol_and_was_answered_is_no_session_that_failed() {
        let mut socket = of_service();
        socket["kind"] = json!("open");
        assert_eq!(cells(&socket)[4], "✔ 200");
        socket["outcome"] = json!({"end": "answered", "status": 101});
        assert_eq!(cells(&socket)[4], "✔");
        socket["outcome"] = json!({"end": "inFlight"});
        assert_eq!(cells(&socket)[4], "… runs");
        socket["outcome"] = json!({"end": "ended", "why": "ended by the gateway: ended by bob: enough"});
        assert_eq!(cells(&socket)[4], "ended by bob: enough");
        // The gateway does not see what came of a question of another proxy's.
        let mut verdict = of_service();
        (verdict["kind"], verdict["source"]) = (json!("verdict"), json!("verdict"));
        verdict.as_object_mut().unwrap().remove("outcome");
        assert_eq!(cells(&verdict)[4], "✔ allowed (verdict)");
        (verdict["refused"], verdict["outcome"]) = (json!(true), json!({"end": "refused", "status": 403}));
        assert_eq!(cells(&verdict)[4], "✖ refused 403 (verdict)");
    }

    #[test]
    fn what_the_public_did_is_told_with_what_is_folded() {
        let told = folded(&json!({"discovery": 0, "machines": 2, "public": 41}));
        assert_eq!(
            told.unwrap(),
            "folded away: 2 of programs, 41 of the public; --all shows them"
        );
    }

    #[test]
    fn in_a_small_terminal_the_act_stays_readable() {
        let mut refused = record();
        refused["outcome"] = json!({"end": "refused", "status": 403, "reason": "Forbidden"});
        assert_eq!(
            rows(&[record(), refused], Some(90)),
            "TIME (UTC)      WHO                 ACT                                   RESULT\n\
             11-21 05:00:00  alice@example.test  kubectl delete pod web-0 -n payments  ✔ 200\n\
             11-21 05:00:00  alice@example.test  kubectl delete pod web-0 -n payments  ✖ refused 403\n"
        );
    }

    #[test]
    fn nothing_of_a_record_is_left_out() {
        let text = whole(record().as_object().unwrap());
        for line in [
            "calls.0.id      a",
            "calls.0.seq     7",
            "groups          a, b",
            "outcome.status  200",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
