//! Taking a recording away: what lies in the folder afterwards, however it ended.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::gateway::Then;
use crate::machine::{ID, Machine, Said};
use crate::until;

fn text() -> Value {
    json!({"text": "{\"version\":3}\n"})
}

fn end(standing: &str) -> Value {
    json!({"end": {"standing": standing, "why": "because"}})
}

const LINE: &str = "session export ID -o web-0.cast";

#[test]
fn an_export_that_was_cut_off_leaves_nothing_in_the_way_of_the_next() {
    let machine = Machine::with_recording(&[text()], Then::BreakOff);
    for _ in 0..2 {
        machine.types(LINE).ends_with(7, &["the connection to", "broke"]);
        assert!(machine.files().is_empty(), "{:?}", machine.files());
    }
    machine.records(&[text(), end("whole")], Then::End);
    machine.types(LINE).ends_with(0, &["✔ web-0.cast holds the recording"]);
    assert_eq!(machine.files(), ["web-0.cast"]);
    let asked = machine.gateway.asked().len();
    machine.types(LINE).ends_with(6, &["`web-0.cast` is there already"]);
    assert_eq!(
        machine.gateway.asked().len(),
        asked,
        "nobody was asked for what has no place"
    );
    assert_eq!(
        std::fs::read_to_string(machine.file("web-0.cast")).unwrap(),
        "{\"version\":3}\n"
    );
}

/// What there is of a recording is kept where another attempt would bring no more.
#[test]
fn what_there_is_of_a_recording_is_kept_and_named_only_where_there_is_no_more() {
    for (standing, lines, code, kept) in [
        ("whole", vec![text()], 0, Some("✔ web-0.cast holds the recording")),
        ("goesOn", vec![text()], 0, Some("✔ web-0.cast holds the recording")),
        ("closed", vec![text()], 10, Some("! web-0.cast holds what there is")),
        ("incomplete", vec![text()], 10, Some("! web-0.cast holds what there is")),
        ("damaged", vec![text()], 8, Some("! web-0.cast holds what there is")),
        ("damaged", vec![], 8, None),
        ("nothing", vec![], 5, None),
        ("erased", vec![], 5, None),
        ("unknown", vec![text()], 7, None),
    ] {
        let machine = Machine::with_recording(&[lines, vec![end(standing)]].concat(), Then::End);
        let said = machine.types(LINE);
        said.ends_with(code, kept.as_slice());
        assert_eq!(said.err.contains("web-0.cast"), kept.is_some(), "{standing}: {said:?}");
        assert_eq!(
            machine.files().len(),
            usize::from(kept.is_some()),
            "{standing}: {said:?}"
        );
    }
}

#[test]
fn an_export_that_is_told_to_end_takes_its_half_away() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let machine = Machine::with_recording(&[text()], Then::HoldOn);
        let child = machine
            .command(&["session", "export", ID, "-o", "web-0.cast"])
            .spawn()
            .unwrap();
        until("a part is there", || !machine.files().is_empty());
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let said = Said::of(&child.wait_with_output().unwrap());
        said.ends_with(code, &[]);
        assert!(machine.files().is_empty(), "{signal}: {:?}", machine.files());
    }
}
