//! `gatescribe audit view`: what a call said and what it changed, as far as the audit policy had it kept. All of it was masked
//! before it was written; nothing is masked or opened here.

use serde_json::{Map, Value, json};

use super::{remote, render};
use crate::Exit;
use crate::client::document::document;
use crate::client::trouble::{Trouble, clean};
use crate::client::{GatewayArgument, Output};
use crate::terminal::{data, say};

pub(super) fn view(id: &str, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let found = remote::show(id, gateway)?;
    let viewed = Viewed::of(&found);
    data(&match output {
        Output::Json => document("RecordBodies", &viewed.members()),
        Output::Table => viewed.in_words(),
    })?;
    if viewed.is_empty() {
        say(&viewed.why_nothing());
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// One body: what its record says of it, and the document.
#[derive(Default)]
struct Kept<'a> {
    seen: Option<&'a Value>,
    document: Option<&'a Value>,
}

struct Viewed<'a> {
    record: &'a Value,
    audit: Option<&'a Value>,
    request: Kept<'a>,
    answer: Kept<'a>,
    diff: Kept<'a>,
}

impl<'a> Viewed<'a> {
    fn of(found: &'a Map<String, Value>) -> Self {
        let records = found
            .get("records")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let part = |name: &str| found.get("parts").and_then(|parts| parts.get(name));
        let (first, later) = match records.split_first() {
            Some((first, later)) => (Some(first), later),
            None => (None, &[][..]),
        };
        Self {
            record: found.get("record").unwrap_or(&Value::Null),
            audit: first.and_then(|first| first.get("audit")),
            request: Kept {
                seen: first.and_then(|first| first.get("body")),
                document: part("body"),
            },
            answer: Kept {
                seen: later.iter().find_map(|record| record.get("body")),
                document: part("answer"),
            },
            diff: Kept {
                seen: later.iter().find_map(|record| record.get("diff")),
                document: part("diff"),
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.request.seen.is_none() && self.answer.seen.is_none()
    }

    fn why_nothing(&self) -> String {
        let text = |name: &str| self.audit.and_then(|audit| audit.get(name)).and_then(Value::as_str);
        if self.record.get("service").is_some() {
            return "no body is kept of calls of services".to_owned();
        }
        match text("level") {
            None => "no body is kept: there is no audit policy".to_owned(),
            Some(level @ ("None" | "Metadata")) => {
                format!("no body is kept: the audit policy gives level {level} to this call")
            }
            Some(level) => format!("there was no body that level {level} keeps"),
        }
    }

    fn members(&self) -> Map<String, Value> {
        let kept = |kept: &Kept<'_>| {
            let seen = kept.seen.cloned().unwrap_or_else(|| json!({}));
            json!({"seen": seen, "document": kept.document})
        };
        let mut members = Map::new();
        members.insert("record".to_owned(), self.record.clone());
        for (name, of) in [
            ("request", &self.request),
            ("answer", &self.answer),
            ("diff", &self.diff),
        ] {
            if of.seen.is_some() {
                members.insert(name.to_owned(), kept(of));
            }
        }
        members
    }

    fn in_words(&self) -> String {
        let mut text = render::rows(std::slice::from_ref(self.record), None);
        for (name, kept) in [("request", &self.request), ("answer", &self.answer)] {
            if let Some(seen) = kept.seen {
                text.push_str(&format!("\n{name}: {}\n", clean(&how(seen))));
                text.extend(kept.document.map(indented));
            }
        }
        if let Some(seen) = self.diff.seen {
            text.push_str(&format!("\nchanged: {}\n", clean(&since(seen))));
            let changes = self.diff.document.and_then(Value::as_array);
            text.extend(changes.into_iter().flatten().map(change));
        }
        text
    }
}

/// `json, 512 bytes, 2 values masked`, or why there is no document.
fn how(seen: &Value) -> String {
    let text = |name: &str| seen.get(name).and_then(Value::as_str);
    let count = |name: &str| seen.get(name).and_then(Value::as_u64);
    let mut words = vec![match (text("kept"), text("read"), text("why")) {
        (_, Some(read), _) => read.to_owned(),
        (Some(kept), _, why) => format!("not read ({kept}: {})", why.unwrap_or("no reason")),
        _ => "not read".to_owned(),
    }];
    words.extend(text("type").filter(|_| text("read").is_none()).map(str::to_owned));
    words.extend(count("bytes").map(|bytes| format!("{bytes} bytes")));
    words.extend(count("masked").map(|masked| format!("{masked} masked")));
    words.extend(count("alarms").map(|alarms| format!("{alarms} where no secret belongs")));
    words.extend(count("duplicates").map(|twice| format!("{twice} keys stand twice, the last one counts")));
    words.extend(count("cut_at").map(|depth| format!("too long: digests below depth {depth}")));
    words.join(", ")
}

fn since(seen: &Value) -> String {
    let text = |name: &str| seen.get(name).and_then(Value::as_str);
    let changes = seen.get("changes").and_then(Value::as_u64);
    match (changes, text("since"), text("why")) {
        (_, _, Some("unknownBefore")) => "unknown before: nothing of the object that passed is remembered".to_owned(),
        (_, _, Some(why)) => format!("not known ({why})"),
        (Some(0), Some(since), _) => format!("nothing since version {since}, as it last passed"),
        (Some(changes), Some(since), _) => format!("{changes} places since version {since}, as it last passed"),
        _ => "not known".to_owned(),
    }
}

/// `  spec.replicas  2 → 3`.
fn change(change: &Value) -> String {
    let path = change.get("path").and_then(Value::as_str).unwrap_or_default();
    let side = |name: &str| {
        change
            .get(name)
            .map_or_else(|| "(none)".to_owned(), |value| short(value).to_string())
    };
    format!(
        "  {}  {} → {}\n",
        clean(path),
        clean(&side("before")),
        clean(&side("after"))
    )
}

/// A document in lines; a mask is one word.
fn indented(document: &Value) -> String {
    let text = format!("{:#}", short(document));
    text.lines().map(|line| format!("  {}\n", clean(line))).collect()
}

/// With `~WORD` in place of `{"~": "WORD"}`. No text that is shown begins with `~` by itself that could be taken for one: it has
/// another form.
fn short(value: &Value) -> Value {
    match value {
        Value::Object(members) => match (members.get("~").and_then(Value::as_str), members.get("origin")) {
            (Some(word), None) => json!(format!("~{word}")),
            (Some(word), Some(origin)) => json!(format!("{} ~{word}", origin.as_str().unwrap_or_default())),
            (None, _) => members
                .iter()
                .map(|(key, value)| (key.clone(), short(value)))
                .collect::<Map<_, _>>()
                .into(),
        },
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Map<String, Value> {
        let found = json!({
            "record": {"id": "0192", "t": "2026-11-21T05:00:00Z", "who": {"user": "al"}, "act": "patch", "outcome": {"end": "answered", "status": 200}},
            "records": [
                {"kind": "intent", "audit": {"level": "RequestResponse"}, "body": {"kept": "document", "read": "mergePatch", "bytes": 40, "masked": 1}},
                {"kind": "answer", "body": {"kept": "document", "read": "json", "bytes": 900}, "diff": {"changes": 2, "since": "7"}},
                {"kind": "outcome"},
            ],
            "parts": {
                "body": {"spec": {"replicas": 3, "x": {"~": "o1.abc"}}},
                "answer": {"url": {"origin": "https://a", "~": "o1.x"}},
                "diff": [{"path": "spec.replicas", "before": 2, "after": 3}, {"path": "spec.x", "after": {"~": "o1.abc"}}],
            },
        });
        found.as_object().unwrap().clone()
    }

    #[test]
    fn bodies_and_changes_are_told_as_they_were_kept() {
        let found = found();
        let text = Viewed::of(&found).in_words();
        for line in [
            "request: mergePatch, 40 bytes, 1 masked\n",
            "    \"replicas\": 3,\n",
            "    \"x\": \"~o1.abc\"\n",
            "answer: json, 900 bytes\n",
            "  \"url\": \"https://a ~o1.x\"\n",
            "changed: 2 places since version 7, as it last passed\n",
            "  spec.replicas  2 → 3\n",
            "  spec.x  (none) → \"~o1.abc\"\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let members = Viewed::of(&found).members();
        assert_eq!(members["diff"]["document"][0]["after"], 3);
        assert_eq!(members["request"]["seen"]["masked"], 1);
    }

    #[test]
    fn what_is_not_there_is_said_with_its_reason() {
        let of = |records: Value| {
            let found = json!({"record": {}, "records": records, "parts": {}});
            let found = found.as_object().unwrap().clone();
            let viewed = Viewed::of(&found);
            (viewed.is_empty(), viewed.why_nothing(), viewed.in_words())
        };
        let (is_empty, why, _) = of(json!([{"audit": {"level": "Metadata", "asked": "Request"}}]));
        assert!(is_empty && why.ends_with("gives level Metadata to this call"), "{why}");
        assert_eq!(of(json!([{}])).1, "no body is kept: there is no audit policy");
        let found = json!({"record": {"service": {"host": "a"}}, "records": [{}], "parts": {}});
        let why = Viewed::of(found.as_object().unwrap()).why_nothing();
        assert_eq!(why, "no body is kept of calls of services");
        let opaque = json!({"kept": "opaque", "why": "tooLong", "type": "application/json", "bytes": 70_000});
        let unknown = json!({"why": "unknownBefore"});
        let (is_empty, _, words) =
            of(json!([{"body": opaque}, {"body": {"kept": "none", "why": "budget"}, "diff": unknown}]));
        assert!(!is_empty);
        for line in [
            "request: not read (opaque: tooLong), application/json, 70000 bytes\n",
            "answer: not read (none: budget)\n",
            "changed: unknown before: nothing of the object that passed is remembered\n",
        ] {
            assert!(words.contains(line), "{line}\n{words}");
        }
    }
}
