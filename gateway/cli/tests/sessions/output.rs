//! Output that cannot be written, and output that nobody wants.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::gateway::{Answer, Then};
use crate::machine::{ID, Machine, Said};

fn machine() -> Machine {
    let lines = [
        json!({"text": "{\"version\":3}\n"}),
        json!({"at": 0, "out": "b25lCg=="}),
        json!({"end": {"standing": "whole"}}),
    ];
    let machine = Machine::with_recording(&lines, Then::End);
    let record = json!({"seq": 7, "id": ID, "t": "2026-11-21T05:00:00Z", "act": "kubectl get pods", "cluster": "prod"});
    let found = json!({"records": [record.clone()], "sessions": [{"id": ID, "t": "2026-11-21T05:00:00Z"}], "locks": [{"user": "bob"}]});
    for path in ["/audit/records", "/sessions", "/users/locks"] {
        machine.gateway.answers(path, Answer::Json(200, found.clone()));
    }
    machine
        .gateway
        .answers("/can", Answer::Json(200, json!({"allowed": true})));
    let tail = vec![json!({"record": record, "position": 7})];
    machine
        .gateway
        .answers("/audit/tail", Answer::Lines(tail, Then::HoldOn));
    machine
}

const LINES: [&str; 11] = [
    "session export ID",
    "session watch ID",
    "session watch ID --raw",
    "session ls",
    "session ls -o json",
    "audit search",
    "audit search -o jsonl",
    "audit tail",
    "user locks",
    "can get /metrics",
    "version",
];

fn into(machine: &Machine, line: &str, out: Stdio) -> Said {
    let words: Vec<String> = line.split(' ').map(|word| word.replace("ID", ID)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Said::of(&machine.command(&words).stdout(out).output().unwrap())
}

#[test]
fn a_disk_that_is_full_is_a_fault_and_not_a_reader_that_has_gone() {
    let machine = machine();
    for line in LINES {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = into(&machine, line, full.into());
        assert_eq!(said.code, Some(9), "{line}: {said:?}");
        for words in ["standard output cannot be written", "No space left on device"] {
            assert!(said.err.contains(words), "{line}: {said:?}");
        }
    }
}

#[test]
fn a_reader_that_has_gone_wanted_no_more() {
    let machine = machine();
    for line in LINES {
        let (reads, writes) = std::io::pipe().unwrap();
        drop(reads);
        let said = into(&machine, line, writes.into());
        assert_eq!(said.code, Some(0), "{line}: {said:?}");
        assert!(!said.err.contains('✖'), "{line}: {said:?}");
    }
}
