//! Folders of a simulated disk, whole and with holes.

use std::path::Path;

use model::event::RecordKind;

use super::*;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
use crate::sim::SimDisk;
use crate::{Ledger, Options};

fn append(ledger: &Ledger, records: usize) {
    for _ in 0..records {
        let body = format!("{{\"id\":\"x\",\"note\":\"{}\"}}", "n".repeat(900));
        drop(ledger.append(RecordKind::Access, body.into_bytes(), Vec::new()));
        ledger.drive();
    }
}

fn sign(ledger: &Ledger, disk: &SimDisk) {
    let key = SigningKey::generate(KeyName::new("gate.example/audit").unwrap(), Algorithm::Ed25519).unwrap();
    let head = ledger.durable();
    let checkpoint = Checkpoint {
        origin: key.key().name().to_string(),
        size: head.size,
        root: head.root,
    };
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    note.sign(&key, 0).unwrap();
    disk.put(NEWEST_CHECKPOINT, note.to_string().as_bytes());
}

#[test]
fn a_folder_says_what_it_has_what_is_signed_and_what_is_gone() {
    let sim = SimDisk::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let nothing = Status::of(&disk).unwrap();
    assert_eq!(
        (nothing.size, nothing.segments.len(), nothing.uncovered()),
        (0, 0, 0..0)
    );

    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(sim.clone())).unwrap();
    append(&ledger, 150);
    let unsigned = Status::of(&disk).unwrap();
    assert!(unsigned.checkpoint.is_none());
    assert_eq!((unsigned.size, unsigned.uncovered()), (150, 0..150));
    sign(&ledger, &sim);
    append(&ledger, 5);
    let status = Status::of(&disk).unwrap();
    assert_eq!((status.first, status.size, status.uncovered()), (0, 155, 150..155));
    assert_eq!((status.missing.as_slice(), status.cut_off()), ([].as_slice(), 0));
    let [first, second, .., last] = status.segments.as_slice() else {
        panic!("several segments, not {:?}", status.segments);
    };
    assert_eq!((first.is_sealed, last.is_sealed, last.next), (true, false, 155));
    assert_eq!(first.next, second.first);

    sim.remove(&segment_name(second.first)).unwrap();
    let holed = Status::of(&disk).unwrap();
    assert_eq!(holed.missing.first(), Some(&(second.first..second.next)));
    assert_eq!(holed.missing.len(), 1);
    sim.remove(&segment_name(last.first)).unwrap();
    let cut = Status::of(&disk).unwrap();
    assert_eq!(cut.cut_off(), 150 - first.next, "the one between was taken away before");
    sim.put(NEWEST_CHECKPOINT, b"no note");
    let error = Status::of(&disk).unwrap_err();
    assert!(matches!(error, StatusError::Note { .. }), "{error}");
}
