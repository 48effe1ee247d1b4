//! Forgeries, each found where it was made; and what is no forgery is left in peace.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use super::*;
use crate::disk::Disk;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
use crate::sim::{Answered, Failure, Look, Outcome, SimDisk, Tampering, tamper_round, tamper_rounds};
use crate::{Ledger, Options};

#[test]
fn every_kind_of_forgery_is_found_where_it_was_made() {
    let kinds = u64::try_from(Tampering::ALL.len()).unwrap();
    let report = tamper_rounds(7, kinds * 4);
    assert_eq!(report.failures.values().collect::<Vec<_>>(), [] as [&Failure; 0]);
    assert_eq!(report.false_alarms, 0);
    assert!(report.kinds.values().all(|[rounds, ..]| *rounds == 4));
}

#[test]
fn a_ledger_without_a_trusted_key_is_not_proved() {
    let disk = SimDisk::new(1);
    let options = Options {
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    let ticket = ledger
        .append(RecordKind::Access, b"{\"id\":\"x\"}".to_vec(), Vec::new())
        .unwrap();
    ledger.drive();
    assert!(ticket.result().is_some());
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let report = verify(&disk, &Trust::default(), 2, &|_| {}).unwrap();
    assert_eq!(
        (report.findings.len(), report.records, report.is_proved()),
        (0, 1, false)
    );
}

/// A ledger of three segments or so, signed at its end, and its key.
pub(super) fn signed() -> (SimDisk, Trust) {
    signed_of(60)
}

/// The same with so many records, of which some twenty have room in a segment.
pub(super) fn signed_of(records: u64) -> (SimDisk, Trust) {
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    for number in 0..records {
        let body = format!("{{\"id\":\"{number}\",\"note\":\"{}\"}}", "n".repeat(3_000));
        let ticket = ledger
            .append(RecordKind::Access, body.into_bytes(), Vec::new())
            .unwrap();
        ledger.drive();
        assert!(ticket.result().is_some());
    }
    ledger.close();
    let key = SigningKey::generate(KeyName::new("audit.example/l").unwrap(), Algorithm::Ed25519).unwrap();
    let head = ledger.durable();
    let checkpoint = crate::Checkpoint {
        origin: key.key().name().to_string(),
        size: head.size,
        root: head.root,
    };
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    note.sign(&key, 0).unwrap();
    disk.put(NEWEST_CHECKPOINT, note.to_string().as_bytes());
    let trust = Trust {
        keys: vec![key.key().clone()],
        remembered: Vec::new(),
    };
    (disk, trust)
}

pub(super) fn check(disk: &SimDisk, trust: &Trust) -> Report {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify(&disk, trust, 2, &|_| {}).unwrap()
}

/// Where the frame of this record begins in the first segment, and the bytes of that file.
pub(super) fn frame_of(disk: &SimDisk, seq: u64) -> (usize, Vec<u8>) {
    let reader = crate::Reader::open_on(Arc::new(disk.clone())).unwrap();
    let record = reader.record(seq).unwrap().unwrap();
    assert_eq!(record.segment, 0);
    (
        usize::try_from(record.offset).unwrap(),
        disk.bytes(&segment_name(0)).unwrap(),
    )
}

/// Puts another number into a frame, and its checksum.
fn number(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at + 12..at + 20].copy_from_slice(&number.to_le_bytes());
    let len: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
    let end = at + 20 + usize::try_from(u32::from_le_bytes(len)).unwrap();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&len), &bytes[at + 8..end]);
    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn promise_5_a_false_number_in_a_frame_is_said_of_its_own_record_and_accuses_no_other() {
    let (disk, trust) = signed();
    assert!(check(&disk, &trust).is_proved());
    for false_one in [0, 4, 6, 7, 30, 1 << 20, 1 << 40, u64::MAX - 1, u64::MAX] {
        let (at, mut bytes) = frame_of(&disk, 5);
        number(&mut bytes, at, false_one);
        let forged = disk.copy(2);
        forged.put(&segment_name(0), &bytes);
        let report = check(&forged, &trust);
        let said: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        let expected =
            format!("record 5: frame and leaf differ in kind, version or number (00000000000000000000.seg, byte {at})");
        assert_eq!(said, [expected], "{false_one}");
        assert_eq!(report.proved, report.size, "its leaf is the one that was signed");
    }
}

/// Seen in 18 of 46,000 rounds: it was taken for the record that the next segment begins with.
#[test]
fn a_record_put_in_at_the_end_of_a_segment_is_found_there_also_where_the_footer_is_made_anew() {
    for (specimen, round, kind) in [
        (1843, 15681395224991369726, Tampering::Insert),
        (6994, 7208317238187752545, Tampering::Insert),
        (3, 15305450054213529035, Tampering::InsertForeign),
        (8098, 2787984804811814146, Tampering::InsertForeign),
    ] {
        let (outcome, said) = tamper_round(specimen, round, kind);
        assert_eq!(outcome, Outcome::Located, "{kind:?}: {said}");
    }
}

#[test]
fn promise_5_every_one_of_several_cuts_is_named() {
    let (disk, trust) = signed();
    let bytes = disk.bytes(&segment_name(0)).unwrap();
    let cuts: [(u64, u64); 3] = [(3, 4), (7, 9), (12, 13)];
    let mut cut = bytes;
    for (from, until) in cuts.into_iter().rev() {
        let ((begin, _), (end, _)) = (frame_of(&disk, from), frame_of(&disk, until));
        cut.drain(begin..end);
    }
    let forged = disk.copy(2);
    forged.put(&segment_name(0), &cut);
    // A segment behind them, too.
    let reader = crate::Reader::open_on(Arc::new(disk.clone())).unwrap();
    let gone = reader.segments()[1];
    forged.remove(&segment_name(gone.first_seq)).unwrap();
    let report = check(&forged, &trust);
    let missing: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.fault == Fault::Missing)
        .map(|finding| (finding.records.start, finding.records.end))
        .collect();
    let all: Vec<_> = cuts
        .into_iter()
        .chain([(gone.first_seq, gone.next_seq.unwrap())])
        .collect();
    assert_eq!(missing, all);
}

#[test]
fn promise_5_a_cut_below_a_signed_size_is_not_taken_for_one_that_is_being_written() {
    let (disk, trust) = signed();
    let reader = crate::Reader::open_on(Arc::new(disk.clone())).unwrap();
    let last = reader.segments().last().copied().unwrap();
    let records: Vec<_> = reader.records_in(last).map(Result::unwrap).collect();
    let victim = &records[records.len() / 2];
    let forged = disk.copy(2);
    let mut bytes = disk.bytes(&segment_name(last.first_seq)).unwrap();
    // In the middle of a record, and nothing behind it; the hashes beside the segment go, too.
    bytes.truncate(usize::try_from(victim.offset).unwrap() + 100);
    forged.put(&segment_name(last.first_seq), &bytes);
    forged.remove(&crate::segment::hashes_name(last.first_seq)).unwrap();
    let report = check(&forged, &trust);
    assert_eq!(report.torn, 0, "it was signed, so it was durable");
    let named = |finding: &Finding| {
        matches!(finding.fault, Fault::Damaged(_)) && finding.records == (victim.seq..victim.seq + 1)
    };
    assert!(report.findings.iter().any(named), "{:?}", report.findings);

    // Behind the last signed size nobody was told that it is durable.
    let unsigned = Trust {
        keys: Vec::new(),
        ..trust
    };
    let report = check(&forged, &unsigned);
    assert_eq!((report.findings, report.torn), (Vec::new(), 100));
}

#[test]
fn what_is_read_is_told_piece_by_piece() {
    let (disk, trust) = signed();
    let name = segment_name(0);
    let mut bytes = disk.bytes(&name).unwrap();
    let whole = bytes.len();
    // As where the cut behind the footer was lost in a crash.
    bytes.resize(1 << 20, 0);
    disk.put(&name, &bytes);
    let told = std::sync::Mutex::new(Vec::new());
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let report = verify(&shared, &trust, 1, &|bytes| told.lock().unwrap().push(bytes)).unwrap();
    assert!(report.is_proved() && whole < 1 << 20);
    let told = told.into_inner().unwrap();
    assert_eq!(told.iter().sum::<u64>(), report.bytes);
    assert!(told.iter().all(|bytes| *bytes <= 256 << 10), "{told:?}");
}

/// promise_5: a file that is put in beside a segment, and says of itself to be that one, takes nothing away from it.
#[test]
fn promise_5_a_segment_is_not_displaced_by_a_file_that_says_it_is_it() {
    let (disk, trust) = signed();
    let second = crate::Reader::open_on(Arc::new(disk.clone())).unwrap().segments()[1].first_seq;
    let mut bytes = disk.bytes(&segment_name(second)).unwrap();
    let note = bytes.windows(4).rposition(|window| window == b"nnnn").unwrap();
    let honest = disk.copy(2);
    for is_altered in [false, true] {
        if is_altered {
            bytes[note] = b'm';
        }
        honest.put(&segment_name(second - 3), &bytes);
        let report = check(&honest, &trust);
        let misplaced = Fault::Misplaced {
            expected: report.findings[0].records.end,
            found: second,
        };
        let said: Vec<_> = report.findings.iter().map(|finding| &finding.fault).collect();
        assert_eq!(said, [&misplaced], "{:?}", report.findings);
        assert_eq!(report.proved, report.size);
    }
}

#[test]
fn a_segment_that_a_living_gateway_begins_and_signs_meanwhile_is_not_called_cut_off() {
    let (then, trust) = signed();
    let last = crate::Reader::open_on(Arc::new(then.clone()))
        .unwrap()
        .segments()
        .last()
        .copied()
        .unwrap()
        .first_seq;
    let now = then.copy(2);
    now.remove(&segment_name(last)).unwrap();
    now.remove(&crate::segment::hashes_name(last)).unwrap();
    let [now, then]: [Arc<dyn Disk>; 2] = [Arc::new(now), Arc::new(then)];
    let is_asked = std::sync::atomic::AtomicBool::new(false);
    // Its writer begins a segment and signs it, as soon as somebody reads the newest checkpoint.
    let disk: Arc<dyn Disk> = Arc::new(Answered::new(move |look: Look<'_>| {
        is_asked.fetch_or(look == Look::File(NEWEST_CHECKPOINT), Ordering::SeqCst);
        let is_then = is_asked.load(Ordering::SeqCst);
        Ok(Arc::clone(if is_then { &then } else { &now }))
    }));
    let report = verify(&disk, &trust, 2, &|_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_proved());
}
