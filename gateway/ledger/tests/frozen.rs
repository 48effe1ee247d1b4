//! Format v1, byte for byte: what this release writes for fixed records, and what any later one must still read.
//!
//! The files in `frozen/` never change. A new format version gets files of its own beside them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint spares only `#[test]` functions"
)]

use std::path::Path;
use std::sync::Arc;

use ledger::verify::{Fault, Trust, verify};
use ledger::{Disk, Ledger, Options, Part, PartsFault, Reader, RealDisk};
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

/// One record with two parts that it binds by their bytes, and one with a part as releases wrote it before `parts[].sealed`.
fn write_sealed_parts(dir: &Path) {
    let options = Options {
        clock: Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000)),
        boot: Arc::from("01996f3a-0000-7000-8000-000000000001"),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir, options, Arc::new(RealDisk::new(dir))).unwrap();
    let parts = [b"sealed query".to_vec(), vec![0xff; 40]].map(|bytes| Part { bytes });
    let entry = |part: &Part| format!("{{\"name\":\"query\",\"sealed\":\"{}\"}}", Part::digest(&part.bytes));
    let entries = parts.iter().map(entry).collect::<Vec<_>>().join(",");
    let bound = format!("{{\"id\":\"01996f3a-0000-7000-8000-000000000002\",\"parts\":[{entries}]}}");
    let older = br#"{"id":"01996f3a-0000-7000-8000-000000000003","parts":[{"name":"query"}]}"#.to_vec();
    let [first, _] = parts.clone();
    for (body, parts) in [(bound.into_bytes(), parts.to_vec()), (older, vec![first])] {
        let ticket = ledger.append(RecordKind::Access, body, parts).unwrap();
        ticket.wait().unwrap();
    }
    ledger.close();
}

fn frozen_in(folder: &str, name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frozen")
        .join(folder)
        .join(name)
}

fn is_written_as_frozen(folder: &str, write: fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    for name in [SEGMENT, HASHES] {
        let now = std::fs::read(dir.path().join(name)).unwrap();
        let then = std::fs::read(frozen_in(folder, name)).unwrap_or_default();
        if now != then {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{folder}-{name}"));
            std::fs::write(&kept, &now).unwrap();
            panic!(
                "{name} differs from the frozen one; what is written now is in {}",
                kept.display()
            );
        }
    }
}

fn frozen(name: &str) -> std::path::PathBuf {
    frozen_in("v1", name)
}

#[test]
fn format_v1_is_written_byte_for_byte_as_it_was_frozen() {
    is_written_as_frozen("v1", write);
}

#[test]
fn parts_that_their_record_binds_are_written_byte_for_byte_as_they_were_frozen() {
    is_written_as_frozen("v1-sealed-parts", write_sealed_parts);
}

/// What any later release must still say of both: whole, and which parts nothing binds.
#[test]
fn frozen_ledgers_are_verified_with_their_parts_bound_or_not() {
    for (folder, records, parts, unbound) in [("v1", 6, 2, 2), ("v1-sealed-parts", 3, 3, 1)] {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(frozen_in(folder, "").as_path()));
        let report = verify(&disk, &Trust::default(), 1, &|_| {}).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(
            (report.records, report.parts, report.unbound),
            (records, parts, unbound),
            "{folder}"
        );
    }
}

#[test]
fn a_part_whose_bytes_were_exchanged_is_named_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(frozen_in("v1-sealed-parts", SEGMENT)).unwrap();
    // The frame of a part: 20 bytes before it, its checksum at 4 over the length and everything from 8 on.
    let at = bytes.windows(12).position(|window| window == b"sealed query").unwrap();
    bytes[at] ^= 1;
    let frame = at - 20;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[frame..frame + 4]), &bytes[frame + 8..at + 12]);
    bytes[frame + 4..frame + 8].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.path().join(SEGMENT), &bytes).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir.path()));
    let report = verify(&disk, &Trust::default(), 1, &|_| {}).unwrap();
    let [finding] = report.findings.as_slice() else {
        panic!("one finding, not {:?}", report.findings);
    };
    assert_eq!(finding.fault, Fault::Parts(PartsFault::Altered { part: 1, of: 2 }));
    assert_eq!(finding.records, 0..1);
    let reader = Reader::open(dir.path()).unwrap();
    let error = reader.verify(reader.segments()[0]).unwrap_err().to_string();
    assert!(
        error.contains("record 0: part 1 of 2 beside it is not the one"),
        "{error}"
    );
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
