//! What the commands print of foreign folders, and what they do not wait for.

use ledger::NEWEST_CHECKPOINT;

use super::checkpoint::newest;
use super::*;

#[test]
fn promise_5_a_name_in_a_foreign_folder_writes_nothing_on_the_screen_of_who_verifies_it() {
    let finding = Finding {
        fault: ledger::verify::Fault::Checkpoint("no note".to_owned()),
        records: 0..0,
        file: "\u{1b}[2J\n✔ every record is the one that was signed\u{9b}8m\u{202e}.checkpoints".to_owned(),
        offset: 0,
    };
    let report = Report {
        findings: vec![finding],
        ..Report::default()
    };
    let none = Asked::of(&[], None).unwrap();
    let text = in_words(&report, &none, false, None);
    let harmless = |text: &str| {
        !text
            .chars()
            .any(|character| (character.is_control() && character != '\n') || character == '\u{202e}')
    };
    assert!(harmless(&text), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with('✔')), "{text}");
    let json = line(&as_json(&report, &none, None));
    assert!(harmless(&json), "{json:?}");
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["findings"][0]["file"], report.findings[0].file);
}

#[test]
fn a_bar_is_never_beyond_its_end_also_where_all_is_read_a_second_time() {
    let bar = ProgressBar::hidden();
    bar.set_length(100);
    for step in 1..=8 {
        advance(&bar, 100, 25);
        let length = bar.length().unwrap();
        assert_eq!((bar.position(), length), (step * 25, if step <= 4 { 100 } else { 200 }));
    }
}

/// Whoever opened it as files are opened would wait here for ever.
#[test]
fn promise_5_a_fifo_in_place_of_the_checkpoint_is_said_and_waited_for_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(NEWEST_CHECKPOINT);
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (exit, error) = newest(folder.path()).unwrap_err();
    assert_eq!(exit, Exit::Fault);
    let said = format!("{error:#}");
    assert!(said.contains("it is a FIFO and no regular file"), "{said}");
}
