//! What a start finds after a crash, and what it refuses.

use super::*;
use crate::disk::Disk;
use crate::segment::{Footer, parse_segment_name, segment_name};
use crate::sim::Fault;
use crate::{Part, Unfinished};

const FIRST: &str = "00000000000000000000.seg";

/// A ledger of one segment: each batch one record, with a part before the last but one, killed.
fn killed(count: usize) -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    for n in 0..count {
        let parts = if n + 2 == count {
            vec![Part { bytes: vec![9; 30] }]
        } else {
            Vec::new()
        };
        ledger
            .append_forget(RecordKind::Access, body(&n.to_string()), parts)
            .unwrap();
        ledger.drive();
    }
    ledger.kill();
    let offsets = records(&disk).iter().map(|record| record.offset).collect();
    (disk, offsets)
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn a_ledger_torn_at_any_byte_of_its_last_three_records_keeps_all_whole_ones() {
    let (disk, offsets) = killed(8);
    let whole = disk.bytes(FIRST).unwrap();
    let end = end_of(&whole);
    let from = usize::try_from(offsets[5]).unwrap();
    for cut in from..end {
        for (name, tail) in [("zeros", &[0_u8; 0][..]), ("garbage", b"\x07\x00garbage")] {
            let mut bytes = whole.clone();
            bytes[cut..].fill(0);
            bytes[cut..cut + tail.len()].copy_from_slice(tail);
            check_torn(&disk, &bytes, cut, &offsets, name);
        }
        check_torn(&disk, &whole[..cut], cut, &offsets, "truncated");
    }
}

fn check_torn(disk: &SimDisk, bytes: &[u8], cut: usize, offsets: &[u64], how: &str) {
    let disk = disk.copy(1);
    disk.put(FIRST, bytes);
    let whole = offsets[1..]
        .iter()
        .take_while(|offset| usize::try_from(**offset).unwrap() <= cut)
        .count();
    let (ledger, recovery) = open(&disk);
    assert_eq!(recovery.last_seq, Some(whole as u64 - 1), "{how} at {cut}");
    let start = usize::try_from(offsets[whole]).unwrap();
    let torn = bytes[start..]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    assert_eq!(recovery.dropped_bytes, torn as u64, "{how} at {cut}");
    assert_eq!(recovery.kept_in.is_some(), torn > 0);
    if let Some(kept) = &recovery.kept_in {
        assert_eq!(disk.bytes(kept).unwrap(), bytes[start..start + torn]);
    }
    assert_eq!(leaves(&disk, RecordKind::Recovery).len(), usize::from(torn > 0));
    append(&ledger, body("after"));
    drop(ledger);
    let (_, again) = open(&disk);
    assert_eq!((again.dropped_bytes, again.was_closed), (0, true), "{how} at {cut}");
}

#[test]
fn every_bit_flipped_before_the_last_batch_is_refused_at_its_record() {
    let (disk, offsets) = killed(5);
    let whole = disk.bytes(FIRST).unwrap();
    let last = usize::try_from(offsets[4]).unwrap();
    for bit in 0..last * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let disk = disk.copy(1);
        disk.put(FIRST, &bytes);
        let at = (bit / 8) as u64;
        let record = offsets.iter().rfind(|offset| **offset <= at).copied().unwrap_or(0);
        match try_open(&disk) {
            Err(OpenError::Damaged { file, offset, .. }) => {
                assert_eq!(file, FIRST);
                // A part and its record are two frames; either may be the one that is named.
                let is_there = offset == record || (record == offsets[3] && offset > record && offset <= at);
                assert!(is_there, "bit {bit} is in the record at {record}, not {offset}");
            }
            other => panic!("bit {bit}: {other:?}"),
        }
        assert_eq!(disk.bytes(FIRST).unwrap(), bytes, "a refused ledger is not changed");
    }
}

#[test]
fn the_refusal_names_file_byte_and_reason() {
    let (disk, offsets) = killed(5);
    let mut bytes = disk.bytes(FIRST).unwrap();
    bytes[usize::try_from(offsets[2]).unwrap() + 30] ^= 1;
    disk.put(FIRST, &bytes);
    assert_eq!(
        try_open(&disk).unwrap_err().to_string(),
        format!(
            "`{FIRST}` is damaged at byte {}: the checksum does not hold, and later records follow it",
            offsets[2]
        )
    );
}

#[test]
fn records_removed_doubled_or_swapped_are_refused() {
    let (disk, offsets) = killed(6);
    let whole = disk.bytes(FIRST).unwrap();
    let at = |n: usize| usize::try_from(offsets[n]).unwrap();
    let (one, two) = (whole[at(1)..at(2)].to_vec(), whole[at(2)..at(3)].to_vec());
    let spliced = [
        ("removed", [&whole[..at(1)], &whole[at(2)..]].concat()),
        ("doubled", [&whole[..at(2)], &one, &whole[at(2)..]].concat()),
        ("swapped", [&whole[..at(1)], &two, &one, &whole[at(3)..]].concat()),
    ];
    for (how, bytes) in spliced {
        let disk = disk.copy(1);
        disk.put(FIRST, &bytes);
        let error = try_open(&disk).unwrap_err().to_string();
        assert!(error.contains("stands where record"), "{how}: {error}");
    }
}

#[test]
fn a_batch_written_in_any_order_is_torn_and_not_damaged() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, body("first"));
    for n in 0..3 {
        ledger
            .append_forget(RecordKind::Access, body(&n.to_string()), Vec::new())
            .unwrap();
    }
    ledger.drive();
    ledger.kill();
    let offset = usize::try_from(records(&disk)[1].offset).unwrap();
    let mut bytes = disk.bytes(FIRST).unwrap();
    bytes[offset..offset + 25].fill(0);
    disk.put(FIRST, &bytes);
    let (_, recovery) = open(&disk);
    assert_eq!(recovery.last_seq, Some(0));
    assert!(recovery.dropped_bytes > 0);
}

#[test]
fn a_damaged_footer_or_header_of_a_sealed_segment_is_refused() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    for n in 0..60 {
        append(&ledger, big(&n.to_string()));
    }
    ledger.close();
    let names = disk.list().unwrap();
    let firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    assert!(firsts.len() > 2);
    for first in &firsts[..firsts.len() - 1] {
        let name = segment_name(*first);
        let whole = disk.bytes(&name).unwrap();
        let footer = Footer::decode(&whole[whole.len() - 72..]).unwrap();
        assert_eq!(footer.data_end, whole.len() as u64 - 72);
        for at in [whole.len() - 20, whole.len() - 70] {
            let disk = disk.copy(1);
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            disk.put(&name, &bytes);
            let error = try_open(&disk).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{name}` is damaged at byte {}", footer.data_end)),
                "{error}"
            );
        }
    }
    let middle = segment_name(firsts[1]);
    let mut bytes = disk.bytes(&middle).unwrap();
    bytes[40] ^= 1;
    disk.put(&middle, &bytes);
    let error = try_open(&disk).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("`{middle}` is damaged at byte 0: its header does not hold")
    );
}

#[test]
fn a_segment_taken_away_or_brought_from_another_ledger_is_refused() {
    let make = |prefix: &str| {
        let disk = SimDisk::new(1);
        let (ledger, _) = open(&disk);
        for n in 0..60 {
            append(&ledger, big(&format!("{prefix}{n:02}")));
        }
        ledger.close();
        disk
    };
    let (ours, theirs) = (make("a"), make("b"));
    let firsts: Vec<u64> = ours
        .list()
        .unwrap()
        .iter()
        .filter_map(|name| parse_segment_name(name))
        .collect();
    let foreign = ours.copy(1);
    foreign.put(
        &segment_name(firsts[1]),
        &theirs.bytes(&segment_name(firsts[1])).unwrap(),
    );
    assert!(try_open(&foreign).unwrap_err().to_string().contains("do not agree"));
    ours.remove(&segment_name(firsts[1])).unwrap();
    assert!(try_open(&ours).unwrap_err().to_string().contains("do not agree"));
}

#[test]
fn a_kill_at_any_step_of_a_turn_to_the_next_segment_loses_nothing() {
    let turns = |disk: &SimDisk| -> (Ledger, u64) {
        let (ledger, _) = open(disk);
        let before = disk.operations();
        for n in 0..20 {
            append(&ledger, big(&n.to_string()));
        }
        (ledger, disk.operations() - before)
    };
    let (_ledger, operations) = turns(&SimDisk::new(1));
    assert!(operations > 45, "no turn happened");
    for step in 0..operations {
        for cut in [false, true] {
            let disk = SimDisk::new(step);
            let (ledger, _) = open(&disk);
            disk.fail_after(step, Fault::Crash);
            let tickets: Vec<Ticket> = (0..20)
                .map_while(|n| {
                    let ticket = ledger.append(RecordKind::Access, big(&n.to_string()), Vec::new()).ok();
                    ledger.drive();
                    ticket
                })
                .collect();
            ledger.kill();
            if cut {
                disk.power_cut()
            } else {
                disk.restart()
            }
            let (_, recovery) = open(&disk);
            let acknowledged = tickets
                .iter()
                .filter_map(|ticket| ticket.result().unwrap().ok())
                .map(|done| done.seq)
                .max();
            assert!(
                recovery.last_seq >= acknowledged,
                "step {step}: {recovery:?}, acknowledged {acknowledged:?}"
            );
        }
    }
}

#[test]
fn calls_without_an_end_are_found_across_sealed_segments_and_end_as_unknown() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let (_, intent) = ledger.append_intent(body("call"), Vec::new()).unwrap();
    let (_, stream) = ledger.append_open(body("stream"), Vec::new()).unwrap();
    let (_, ended) = ledger.append_intent(body("ended"), Vec::new()).unwrap();
    ledger.drive();
    let end = outcome(&ended);
    ended.fill(RecordKind::Outcome, end).unwrap();
    for n in 0..60 {
        append(&ledger, big(&n.to_string()));
    }
    ledger.kill();
    drop((intent, stream));
    disk.power_cut();
    let (ledger, recovery) = open(&disk);
    let unfinished = |seq, id: &str, is_stream| Unfinished {
        seq,
        id: id.to_owned(),
        is_stream,
    };
    assert_eq!(
        recovery.unfinished,
        [unfinished(0, "call", false), unfinished(1, "stream", true)]
    );
    assert!(!recovery.was_closed);
    let size = ledger.durable().size;
    assert_eq!(
        leaves(&disk, RecordKind::Outcome)[1],
        format!(
            "{{\"v\":1,\"kind\":\"outcome\",\"seq\":{},\"id\":\"call\",\"pair\":0,\"t\":\"2026-09-21T14:13:20.000000Z\",\
             \"boot\":\"b1\",\"outcome\":{{\"end\":\"unknown\",\"why\":\"the gateway stopped before the end was recorded\"}}}}",
            size - 2
        )
    );
    assert_eq!(leaves(&disk, RecordKind::Close).len(), 1);
    drop(ledger);
    assert_eq!(open(&disk).1.unfinished, []);
}

#[test]
fn a_call_whose_slot_was_dropped_is_unknown_after_a_clean_close_too() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    drop(ledger.append_intent(body("a"), Vec::new()).unwrap());
    ledger.close();
    let (_, recovery) = open(&disk);
    assert!(recovery.was_closed);
    assert_eq!(recovery.unfinished.len(), 1);
}

#[test]
fn a_new_ledger_recovers_nothing() {
    let disk = SimDisk::new(1);
    let (ledger, recovery) = open(&disk);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(ledger.durable().last_seq(), None);
    ledger.kill();
    assert_eq!(open(&disk).1, Recovery::default());
}

#[test]
fn a_segment_of_another_size_is_taken_over() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, body("a"));
    ledger.kill();
    let options = Options {
        segment_bytes: 128 << 10,
        ..options()
    };
    let (ledger, recovery) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    assert_eq!(recovery.last_seq, Some(0));
    for n in 0..60 {
        append(&ledger, big(&n.to_string()));
    }
    assert_eq!(records(&disk).len(), 61);
}

#[test]
fn a_second_writer_is_refused() {
    let disk = SimDisk::new(1);
    let (_ledger, _) = open(&disk);
    assert_eq!(
        try_open(&disk).unwrap_err().to_string(),
        "`ledger` is in use: another process writes to this ledger; stop that one first, or give this one a folder of its own"
    );
}
