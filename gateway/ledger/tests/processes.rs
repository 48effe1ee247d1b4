//! The ledger on a real disk, with real threads and a real second process.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the lint spares only `#[test]` functions"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ledger::{Ledger, OpenError, Options, Reader, RealDisk, Recovery};
use model::event::RecordKind;

const DIR: &str = "GATESCRIBE_TEST_LEDGER_DIR";

fn open(dir: &Path) -> Result<(Ledger, Recovery), OpenError> {
    let options = Options {
        segment_bytes: 1 << 20,
        max_open: 1000,
        ..Options::default()
    };
    Ledger::open(dir, options, Arc::new(RealDisk::new(dir)))
}

/// The other process: this very test, told by the environment to try to open the ledger.
#[test]
fn a_second_process_is_refused_and_a_later_one_is_not() {
    if let Some(dir) = std::env::var_os(DIR) {
        match open(Path::new(&dir)) {
            Ok(_) => println!("answer=opened"),
            Err(OpenError::InUse { .. }) => println!("answer=in use"),
            Err(error) => println!("answer={error}"),
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path()).unwrap();
    assert_eq!(other_process(dir.path()), "in use");
    ledger.close();
    assert_eq!(other_process(dir.path()), "opened");
}

fn other_process(dir: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_second_process_is_refused_and_a_later_one_is_not",
            "--nocapture",
        ])
        .env(DIR, dir)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, answer) = text.split_once("answer=").unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn many_threads_get_their_own_numbers_and_all_are_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path()).unwrap();
    let mut seqs: Vec<(u64, String)> = std::thread::scope(|scope| {
        let ledger = &ledger;
        let threads: Vec<_> = (0..8)
            .map(|thread| scope.spawn(move || (0..200).map(|n| call(ledger, thread, n)).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    ledger.close();
    seqs.sort();
    let mut reader = Reader::open(dir.path()).unwrap().records_from(0);
    for (seq, note) in seqs {
        let record = reader
            .by_ref()
            .map(Result::unwrap)
            .find(|record| record.seq == seq)
            .unwrap();
        assert!(
            String::from_utf8(record.leaf).unwrap().contains(&note),
            "record {seq} is another one"
        );
    }
    let (_ledger, recovery) = open(dir.path()).unwrap();
    assert!(recovery.was_closed && recovery.unfinished.is_empty());
}

/// An intent with its outcome.
fn call(ledger: &Ledger, thread: u32, n: u32) -> (u64, String) {
    let note = format!("\"note\":\"{thread}-{n}-{}\"", "p".repeat(500));
    let (ticket, slot) = ledger
        .append_intent(format!("{{\"id\":\"{thread}-{n}\",{note}}}").into_bytes(), Vec::new())
        .unwrap();
    let seq = ticket.wait().unwrap().seq;
    let end = format!("{{\"pair\":{seq}}}").into_bytes();
    slot.fill(RecordKind::Outcome, end).unwrap().wait().unwrap();
    (seq, note)
}

#[test]
fn a_reader_beside_the_writer_sees_each_durable_record_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        let ledger = &ledger;
        scope.spawn(move || {
            for n in 0..3000 {
                let body = format!("{{\"id\":\"{n}\",\"note\":\"{}\"}}", "q".repeat(700)).into_bytes();
                ledger.append_forget(RecordKind::Access, body, Vec::new()).unwrap();
            }
        });
        let mut walk = Reader::open(dir.path()).unwrap().records_from(0).until(0);
        let mut next = 0;
        while next < 3000 {
            walk.set_until(ledger.wait_beyond(next, std::time::Duration::from_secs(60)));
            for record in walk.by_ref() {
                assert_eq!(record.unwrap().seq, next);
                next += 1;
            }
        }
    });
}

#[test]
fn files_of_the_ledger_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("ledger");
    let (_ledger, _) = open(&inner).unwrap();
    assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&inner).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.file_name()
        );
    }
}
