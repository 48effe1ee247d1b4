//! The page of record kinds, with what the wide ones hold and the member that tells which.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{compare, head, variants};
use tests::counterparts::repository;

const KINDS: &str = "policy/model/src/event/kind.rs";
const SESSIONS: &str = "gateway/console/src/record.rs";

#[test]
fn the_page_of_record_kinds_lists_every_kind_and_what_the_wide_ones_hold() {
    let documented = variants(KINDS, "pub enum RecordKind");
    assert_eq!(documented.len(), model::event::RecordKind::ALL.len());
    let mut page = head("Record kinds", &format!("{KINDS}, {SESSIONS}"));
    page.push_str("The number stands in each frame, the name in each leaf. Both are part of [the format](../explanation/ledger-format.md) and never change their meaning.\n\n");
    page.push_str("| Number | Name | Says |\n|---|---|---|\n");
    for (kind, (_, says, number)) in model::event::RecordKind::ALL.into_iter().zip(&documented) {
        assert_eq!(
            u64::from(kind.code()),
            *number,
            "the order of ALL is that of the numbers"
        );
        let _ = writeln!(page, "| {number} | `{}` | {says} |", kind.name());
    }
    page.push_str("\nFour names are narrower than what they stand for, and cannot change any more.\n");
    page.push_str("\n## session\n\nNot a session in a pod: that begins with `open`. `person.what` is one of\n\n| `person.what` | Says |\n|---|---|\n");
    for (what, says) in session_events() {
        let _ = writeln!(page, "| `{what}` | {says} |");
    }
    page.push_str(MORE);
    compare("docs/reference/record-kinds.md", &page);
}

/// What has no closed list of its own in the code; the words are looked for there.
const MORE: &str = "| `partKeysRestored` | Keys of parts and recordings of a backup are put back (`gatescribe ledger keys restore`). |

## summary

| `sum.what` | Says |
|---|---|
| `limited requests of strangers` | Requests without an identity that were refused above the budget that all of these share: how many (`sum.count`), from when to when. |
| `limited requests of subject …` | The same of one subject above its own budget. |
| `limited requests of subjects for whom there was no room` | The same of those who are not told apart any more. |
| `unreadableEvents` | Of `gatescribe observe`: what could not be read of an API server's log, with digests of it in `sum.by`. |
| `logGap` | Of `gatescribe observe`: between `sum.from` and `sum.to` something of that log is, or may be, missing; why, in `note`. Nothing is counted. |

## damage

| Tells which | Says |
|---|---|
| `refused` | A start does not believe these records, by their numbers: nobody had signed them, and they would take something away. Nothing is done by them. Where a later start says that it found this record unsigned as well, it refuses nothing. |
| `unsigned` | The gateway did not write these records: they stood behind the end of a run that had signed all of its own. Nothing is taken away by them; a hold among them holds. |
| `note`: `the ledger is not the one that was signed: …` | A finding of the gateway's own check: which record, what, which byte. |
| `note`: `… not the gateway's: put in behind the end of a run …` | That check came to what an earlier start had recorded in `unsigned`: these records are still there. |
| `note`: `… more findings here are not told one by one: …` | Of so many records with `unsigned` that check tells the stretch of which the earlier ones speak. |
| `note`: `the check of the ledger broke in …` or `… has ended …` | That check could not be done, or is not done any more. |
| `note`: `alarm: the witness … has seen another history of this ledger` | Two histories are signed by this ledger's key, or this one was put back from an older copy. |
| `note`: `alarm: the witness … has forgotten what it cosigned of this ledger` | It is the witness that is damaged. |

What to do is said in [prove the ledger](../how-to/prove-the-ledger.md#check), and of witnesses [there](../how-to/prove-the-ledger.md#when-a-witness-has-seen-another-history).

## auditread

Every way of looking at records, at sessions and at what is said of them: `read.what` is one of [these](record-fields.md#readings).
";

#[test]
fn the_words_by_which_wide_kinds_are_told_apart_are_those_of_the_code() {
    let code: String = super::names::code()
        .into_iter()
        .filter(|(path, _)| path.starts_with("gateway/") && !path.contains("test"))
        .map(|(_, text)| text)
        .collect();
    let words = MORE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let mut looked_for = 0;
    for piece in words.flat_map(|cell| cell.split(['`', '…'])) {
        let piece = piece.trim_start_matches("note").trim();
        if piece.split(' ').count() > 2 || piece.chars().any(char::is_uppercase) {
            looked_for += 1;
            assert!(code.contains(piece), "the code has no `{piece}`");
        }
    }
    assert!(looked_for >= 9, "{looked_for}");
}

/// Names and words of what is recorded of sign-ins, in the order of the source.
fn session_events() -> Vec<(String, String)> {
    let source = std::fs::read_to_string(repository().join(SESSIONS)).unwrap();
    let (_, list) = source.split_once("pub enum What {").expect("the list is where it was");
    let (list, rest) = list.split_once("\n}").expect("the list ends");
    let arm = regex::Regex::new(r#"Self::(\w+) => "(\w+)""#).unwrap();
    let names: BTreeMap<&str, &str> = arm
        .captures_iter(rest)
        .filter_map(|found| Some((found.get(1)?.as_str(), found.get(2)?.as_str())))
        .collect();
    let (mut events, mut words) = (Vec::new(), Vec::new());
    for line in list.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            words.push(text);
        } else if let Some(name) = line.strip_suffix(',') {
            events.push((names[name].to_owned(), words.join(" ")));
            words.clear();
        }
    }
    assert!(events.len() > 15, "{events:?}");
    events
}
