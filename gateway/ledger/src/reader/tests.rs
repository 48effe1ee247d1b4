//! Reading: beside a writer, across segments, from both ends, and what damage looks like.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use super::*;
use crate::sim::SimDisk;
use crate::{Ledger, Options, Part};

fn open(disk: &SimDisk) -> Ledger {
    let options = Options {
        segment_bytes: 64 << 10,
        max_open: 16,
        outcome_bytes: 512,
        ..Options::default()
    };
    Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone()))
        .unwrap()
        .0
}

fn reader(disk: &SimDisk) -> Reader {
    Reader::open_on(Arc::new(disk.clone())).unwrap()
}

fn append(ledger: &Ledger, count: usize) {
    for n in 0..count {
        let parts = if n % 5 == 0 {
            vec![Part {
                bytes: vec![u8::try_from(n).unwrap(); 100],
            }]
        } else {
            Vec::new()
        };
        let body = format!("{{\"id\":\"{n}\",\"note\":\"{}\"}}", "z".repeat(2000));
        ledger.append(RecordKind::Access, body.into_bytes(), parts).unwrap();
        ledger.drive();
    }
}

#[test]
fn a_walk_crosses_segments_and_goes_on_when_asked_again() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 100);
    let mut walk = reader(&disk).records_from(3);
    let seen: Vec<u64> = walk.by_ref().map(|record| record.unwrap().seq).collect();
    assert_eq!(seen, (3..100).collect::<Vec<_>>());
    append(&ledger, 100);
    let seen: Vec<u64> = walk.by_ref().map(|record| record.unwrap().seq).collect();
    assert_eq!(seen, (100..200).collect::<Vec<_>>());
    assert!(reader(&disk).segments().len() > 3);
}

#[test]
fn a_walk_begun_in_an_empty_ledger_finds_what_comes() {
    let disk = SimDisk::new(1);
    let mut walk = reader(&disk).records_from(0);
    assert!(walk.next().is_none());
    let ledger = open(&disk);
    append(&ledger, 2);
    assert_eq!(
        walk.by_ref().map(|record| record.unwrap().seq).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_walk_ends_at_the_bound_it_was_given() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 10);
    let mut walk = reader(&disk).records_from(0).until(4);
    assert_eq!(walk.by_ref().count(), 4);
    walk.set_until(ledger.durable().size);
    assert_eq!(
        walk.map(|record| record.unwrap().seq).collect::<Vec<_>>(),
        [4, 5, 6, 7, 8, 9]
    );
}

#[test]
fn segments_can_be_read_from_the_newest_and_records_found_again_by_place() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 90);
    let reader = reader(&disk);
    let mut ends = Vec::new();
    for segment in reader.segments().iter().rev() {
        let records: Vec<Record> = reader.records_in(*segment).map(Result::unwrap).collect();
        assert_eq!(records[0].seq, segment.first_seq);
        ends.push(records[records.len() - 1].seq);
        for record in records {
            assert_eq!(reader.record_at(record.segment, record.offset).unwrap(), record);
        }
    }
    assert!(ends.is_sorted_by(|a, b| a > b));
    assert_eq!(reader.record(55).unwrap().unwrap().parts, vec![vec![55; 100]]);
    assert_eq!(reader.record(90).unwrap(), None);
}

#[test]
fn a_segment_can_be_read_from_a_place_within_it() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 60);
    let reader = reader(&disk);
    let segment = reader.segments()[1];
    let all: Vec<Record> = reader.records_in(segment).map(Result::unwrap).collect();
    let (seq, offset) = (all[3].seq, all[3].offset);
    let rest: Vec<Record> = reader
        .records_in_from(segment, seq, offset)
        .map(Result::unwrap)
        .collect();
    assert_eq!(rest, all[3..]);
    let wrong = reader.records_in_from(segment, seq + 1, offset).next().unwrap();
    assert!(wrong.is_err(), "another record stands there");
}

#[test]
fn hashes_of_the_side_file_are_those_of_the_leaves() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 90);
    ledger.close();
    let reader = reader(&disk);
    let first = reader.segments()[0];
    let hashed: Vec<Hash> = reader
        .records_in(first)
        .map(|record| leaf_hash(&record.unwrap().leaf))
        .collect();
    assert_eq!(disk.bytes(&hashes_name(0)).unwrap(), hashed.concat());
    assert_eq!(reader.leaf_hashes(first).unwrap(), hashed);
    disk.put(&hashes_name(0), &[0; 31]);
    assert_eq!(
        reader.leaf_hashes(first).unwrap(),
        hashed,
        "a short side file was believed"
    );
}

#[test]
fn a_flipped_bit_is_reported_at_its_record_and_nothing_behind_it_is_returned() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 20);
    let victim = reader(&disk).record(7).unwrap().unwrap();
    let mut bytes = disk.bytes(&segment_name(0)).unwrap();
    bytes[usize::try_from(victim.offset).unwrap() + 900] ^= 1;
    disk.put(&segment_name(0), &bytes);
    let mut walk = reader(&disk).records_from(0);
    assert_eq!(walk.by_ref().take(7).filter(Result::is_ok).count(), 7);
    let error = walk.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`00000000000000000000.seg` is damaged at byte {}: the checksum does not hold, and later records follow it",
            victim.offset
        )
    );
    assert!(walk.next().is_none());
}

#[test]
fn a_missing_segment_is_reported() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    append(&ledger, 100);
    let second = reader(&disk).segments()[1].first_seq;
    disk.remove(&segment_name(second)).unwrap();
    let error = reader(&disk).records_from(0).find_map(Result::err).unwrap();
    assert!(
        error.to_string().contains(&format!("record {second} is missing")),
        "{error}"
    );
}

#[test]
fn a_part_that_the_record_commits_to_and_that_is_not_there_is_found_and_located() {
    let dir = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(dir.path()));
    let (ledger, _) = Ledger::open(dir.path(), Options::default(), disk()).unwrap();
    let part = || Part { bytes: vec![1; 40] };
    let write = |body: &str, parts| {
        let ticket = ledger
            .append(RecordKind::Access, body.as_bytes().to_vec(), parts)
            .unwrap();
        ticket.wait().unwrap()
    };
    write(r#"{"id":"a","parts":[{},{}]}"#, vec![part(), part()]);
    write(r#"{"id":"b","note":"\"parts\":[{}]"}"#, Vec::new());
    let reader = Reader::open(dir.path()).unwrap();
    let segment = reader.segments()[0];
    assert_eq!(reader.verify(segment).unwrap(), Verified { records: 2, parts: 2 });
    write(r#"{"id":"c","parts":[{},{}]}"#, vec![part()]);
    let error = reader.verify(segment).unwrap_err().to_string();
    assert!(error.contains("record 2: 1 of its parts are missing"), "{error}");
}
