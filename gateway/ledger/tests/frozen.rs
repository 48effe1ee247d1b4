//! Format v1, byte for byte: what this release writes for fixed records, and what any later one must still read.
//!
//! The files in `frozen/` never change. A new format version gets files of its own beside them.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the lint spares only `#[test]` functions"
)]

use std::path::Path;
use std::sync::Arc;

use ledger::{Ledger, Options, Part, Reader, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;

const SEGMENT: &str = "00000000000000000000.seg";
const HASHES: &str = "00000000000000000000.hashes";

fn write(dir: &Path) {
    let options = Options {
        clock: Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000)),
        boot: Arc::from("01996f3a-0000-7000-8000-000000000001"),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir, options, Arc::new(RealDisk::new(dir))).unwrap();
    // Each waits for the one before, so that each is a batch of its own.
    let access = br#"{"id":"01996f3a-0000-7000-8000-000000000002","t":"2026-09-21T14:13:20.000000Z"}"#.to_vec();
    ledger
        .append(RecordKind::Access, access, Vec::new())
        .unwrap()
        .wait()
        .unwrap();
    let parts = vec![
        Part {
            bytes: b"sealed query".to_vec(),
        },
        Part { bytes: vec![0xff; 40] },
    ];
    let intent = br#"{"id":"01996f3a-0000-7000-8000-000000000003","note":"\u00fc"}"#.to_vec();
    let (ticket, slot) = ledger.append_intent(intent, parts).unwrap();
    assert_eq!(ticket.wait().unwrap().seq, 1);
    let open = br#"{"id":"01996f3a-0000-7000-8000-000000000004"}"#.to_vec();
    let (ticket, stream) = ledger.append_open(open, Vec::new()).unwrap();
    ticket.wait().unwrap();
    slot.fill(
        RecordKind::Outcome,
        br#"{"pair":1,"outcome":{"end":"answered","status":201}}"#.to_vec(),
    )
    .unwrap()
    .wait()
    .unwrap();
    stream
        .fill(RecordKind::Close, br#"{"pair":2}"#.to_vec())
        .unwrap()
        .wait()
        .unwrap();
    ledger.close();
}

fn frozen(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/v1").join(name)
}

#[test]
fn format_v1_is_written_byte_for_byte_as_it_was_frozen() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    for name in [SEGMENT, HASHES] {
        let now = std::fs::read(dir.path().join(name)).unwrap();
        let then = std::fs::read(frozen(name)).unwrap_or_default();
        if now != then {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&kept, &now).unwrap();
            panic!(
                "{name} differs from the frozen one; what is written now is in {}",
                kept.display()
            );
        }
    }
}

#[test]
fn format_v1_is_read_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    for name in [SEGMENT, HASHES] {
        std::fs::copy(frozen(name), dir.path().join(name)).unwrap();
    }
    let records: Vec<_> = Reader::open(dir.path())
        .unwrap()
        .records_from(0)
        .map(Result::unwrap)
        .collect();
    let kinds: Vec<RecordKind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(
        kinds,
        [
            RecordKind::Access,
            RecordKind::Intent,
            RecordKind::Open,
            RecordKind::Outcome,
            RecordKind::Close,
            RecordKind::Checkpoint
        ]
    );
    assert_eq!(records[1].parts, [b"sealed query".to_vec(), vec![0xff; 40]]);
    let (ledger, recovery) = Ledger::open(dir.path(), Options::default(), Arc::new(RealDisk::new(dir.path()))).unwrap();
    assert_eq!((recovery.last_seq, recovery.was_closed), (Some(5), true));
    assert_eq!(
        ledger
            .append(RecordKind::Access, b"{}".to_vec(), Vec::new())
            .unwrap()
            .wait()
            .unwrap()
            .seq,
        6
    );
}
