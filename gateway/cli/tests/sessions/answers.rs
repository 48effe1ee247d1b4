//! What is said of answers, and how the command ends: what was not read or not compared, why a gateway goes no further, how a
//! recording stands.

use serde_json::{Value, json};

use crate::gateway::{Answer, Then};
use crate::machine::{ID, Machine};

fn recording(begin: &Value, lines: &[Value]) -> Machine {
    let machine = Machine::signed_in();
    let mut begin = begin.clone();
    begin["id"] = json!(ID);
    let lines = [&[json!({ "begin": begin })], lines].concat();
    let path = format!("/sessions/{ID}/recording");
    machine.gateway.answers(&path, Answer::Lines(lines, Then::End));
    machine
}

fn end(standing: &Value) -> Value {
    json!({ "end": standing })
}

#[test]
fn the_end_of_an_id_is_what_the_gateway_is_asked_for() {
    let machine = Machine::signed_in();
    let found = json!({"sessions": [{"id": ID}], "scope": "own", "live": 0, "stopped": "limit", "next": 4});
    machine.gateway.answers("/sessions", Answer::Json(200, found));
    let shown = json!({"session": {"id": ID, "t": "2026-11-21T05:00:00Z", "recorded": false}});
    machine
        .gateway
        .answers(&format!("/sessions/{ID}"), Answer::Json(200, shown));
    let said = machine.types("session show 0-0000000007F3");
    said.ends_with(0, &[]);
    assert!(said.out.contains(ID), "{said:?}");
    assert_eq!(
        machine.gateway.asked(),
        ["/sessions?id=0-0000000007F3".to_owned(), format!("/sessions/{ID}")]
    );
    // A whole one needs no question, and what is none is not asked as an end of one.
    machine.types("session show ID").ends_with(0, &[]);
    machine
        .types("session show web-0")
        .ends_with(5, &["there is no such session"]);
    assert_eq!(
        machine.gateway.asked()[2..],
        [format!("/sessions/{ID}"), "/sessions/web-0".to_owned()]
    );
    let none = json!({"sessions": [], "scope": "own", "live": 0, "stopped": "limit", "next": 4});
    machine.gateway.answers("/sessions", Answer::Json(200, none));
    for line in [
        "session show 07f3",
        "session export 07f3",
        "session watch 07f3",
        "session end 07f3 --reason over",
    ] {
        machine
            .types(line)
            .ends_with(5, &["no session's id ends in `07f3`", "there are older ones"]);
    }
}

#[test]
fn what_of_the_ledger_was_not_read_is_said_wherever_a_recording_is_read() {
    let note = "part of the ledger cannot be read: record 9 is damaged";
    let marked = format!("! {note}\n");
    let stands = json!({"standing": "unknown", "why": "not all was read"});
    let begin = json!({"live": false, "standing": "unknown", "why": "not all was read", "note": note});
    let machine = recording(&begin, &[end(&stands)]);
    let shown = json!({"session": {"id": ID}, "recording": stands, "note": note});
    machine
        .gateway
        .answers(&format!("/sessions/{ID}"), Answer::Json(200, shown));
    for line in [
        "session show ID",
        "session export ID",
        "session export ID -o web-0.cast",
        "session watch ID",
    ] {
        machine.types(line).ends_with(
            7,
            &[
                marked.as_str(),
                "how the recording stands cannot be told now",
                "not all was read",
            ],
        );
    }
}

#[test]
fn why_a_gateway_goes_no_further_decides_how_the_command_ends() {
    for (code, exit, remedy) in [
        (json!("invalid_token"), 3, "do this  gatescribe login"),
        (json!("scope_changed"), 4, "say what you may see by now"),
        (json!("temporarily_unavailable"), 7, "do this  begin again"),
        (json!("busy"), 7, "do this  begin again"),
        (Value::Null, 7, "do this  begin again"),
    ] {
        let begin = json!({"live": true, "standing": "goesOn"});
        let machine = recording(&begin, &[json!({"stopped": "it is so", "code": code})]);
        for line in [
            "session watch ID",
            "session export ID",
            "session export ID -o web-0.cast",
        ] {
            let said = machine.types(line);
            said.ends_with(exit, &["the gateway does not go on", "because  it is so", remedy]);
        }
        assert!(machine.files().is_empty(), "{code}: {:?}", machine.files());
    }
}

/// Another attempt would be refused, or would go on among other records than it began with.
#[test]
fn a_tail_is_not_taken_up_again_for_whoever_may_see_no_more() {
    for (code, exit) in [("invalid_token", 3), ("scope_changed", 4)] {
        let machine = Machine::signed_in();
        let lines = vec![
            json!({"begin": {"scope": "all"}}),
            json!({"end": "it is so", "code": code}),
        ];
        machine.gateway.answers("/audit/tail", Answer::Lines(lines, Then::End));
        machine
            .types("audit tail")
            .ends_with(exit, &["the stream ended", "because  it is so"]);
        assert_eq!(machine.gateway.asked(), ["/audit/tail"], "{code}");
    }
}

#[test]
fn of_what_is_damaged_or_missing_no_more_is_vouched_for_than_the_ledger_covers() {
    let text = json!({"text": "{\"version\":3}\n"});
    let covered = "the bytes of chunk 7 are damaged; up to chunk 4 it is as the ledger says";
    let gone = "its file is not there";
    for (stands, exit, says, never) in [
        (
            json!({"standing": "damaged", "why": covered, "upto": 4}),
            8,
            [covered, "keep the file as it is"],
            "backup",
        ),
        (
            json!({"standing": "damaged", "why": gone, "missing": true}),
            8,
            [gone, "restore it from a backup"],
            "keep the file",
        ),
        (
            json!({"standing": "incomplete", "why": "the gateway stopped; up to chunk 4 it is as the ledger says", "upto": 4}),
            10,
            ["the recording has no end", "up to chunk 4 it is"],
            "what is there is as the ledger says",
        ),
    ] {
        let mut begin = stands.clone();
        begin["live"] = json!(false);
        let lines = match stands["missing"].as_bool() {
            Some(true) => vec![end(&stands)],
            _ => vec![text.clone(), end(&stands)],
        };
        let machine = recording(&begin, &lines);
        for line in ["session export ID", "session watch ID"] {
            let said = machine.types(line);
            said.ends_with(exit, &says);
            assert!(!said.err.contains(never), "{line}: {said:?}");
            assert!(!said.err.contains("all that was shown"), "{line}: {said:?}");
        }
    }
}

#[test]
fn that_nobody_was_found_is_not_said_where_not_all_were_compared() {
    let machine = Machine::signed_in();
    let cut = json!({"sessions": [], "scope": "all", "live": 0, "live_unread": 2, "stopped": "budget"});
    machine.gateway.answers("/sessions", Answer::Json(200, cut));
    let said = machine.types("session ls --live user:mallory");
    said.ends_with(
        10,
        &[
            "no session was found among those that were looked at",
            "! 2 sessions go on that were not compared with the query",
        ],
    );
    assert_eq!(
        (said.out.as_str(), said.err.contains("no session goes on")),
        ("", false)
    );
    let said = machine.types("session ls --live user:mallory -o json");
    said.ends_with(10, &[]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&document["live_unread"], &document["kind"]),
        (&json!(2), &json!("SessionList"))
    );

    let some = json!({"sessions": [{"id": ID, "live": true}], "scope": "all", "live": 1, "live_unread": 1, "stopped": "budget"});
    machine.gateway.answers("/sessions", Answer::Json(200, some));
    let said = machine.types("session ls --live user:alice");
    said.ends_with(0, &["! 1 session goes on that was not compared with the query"]);
    assert!(
        said.out.contains("000007f3") && !said.err.contains("--since"),
        "{said:?}"
    );

    let none = json!({"sessions": [], "scope": "all", "live": 0, "stopped": "complete"});
    machine.gateway.answers("/sessions", Answer::Json(200, none));
    machine.types("session ls --live").ends_with(1, &["no session goes on"]);
}

#[test]
fn messages_are_no_output_and_it_is_said_where_they_are() {
    let begin = json!({"live": false, "standing": "whole", "head": {"kind": "proxy", "terminal": false}});
    let passed = json!({"at": 5, "words": "messages: 18 bytes sent, 12 received"});
    let machine = recording(&begin, &[passed, end(&json!({"standing": "whole"}))]);
    let said = machine.types("session watch ID");
    said.ends_with(
        0,
        &[
            &format!("gatescribe session export {ID} --format text"),
            "[messages: 18 bytes sent, 12 received]",
        ],
    );
    assert_eq!(said.out, "", "nothing was drawn");
    machine.types("session export ID").ends_with(
        0,
        &[
            "messages passed here",
            &format!("gatescribe session export {ID} --format text"),
        ],
    );
    let text = machine.types("session export ID --format text");
    assert!(!text.err.contains("messages passed here"), "{text:?}");
}

#[test]
fn what_was_sent_to_standard_input_is_not_shown_and_that_is_said_once() {
    let begin = json!({"live": false, "standing": "whole", "head": {"kind": "exec", "terminal": false}});
    let lines = [
        json!({"at": 1, "in": 7}),
        json!({"at": 2, "out": "b3V0Cg=="}),
        json!({"at": 3, "in": 1}),
        end(&json!({"standing": "whole"})),
    ];
    let said = recording(&begin, &lines).types("session watch ID");
    said.ends_with(0, &["gatescribe session export --format text has it"]);
    assert_eq!(said.err.matches("standard input").count(), 1, "{said:?}");
    assert_eq!(said.out, "out\n", "what it wrote is");
}
