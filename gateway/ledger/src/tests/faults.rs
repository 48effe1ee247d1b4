//! A full disk, a failing disk, a lying disk.

use super::*;
use crate::disk::Disk;
use crate::segment::{Header, hashes_name, parse_segment_name, segment_name};
use crate::sim::Fault;
use crate::{AppendError, Lost, leaf_hash};

/// Appends until the disk is full; returns how many were lost.
fn fill_up(disk: &SimDisk, ledger: &Ledger) -> u64 {
    disk.set_space(Some(disk.used()));
    for _ in 0..200 {
        let ticket = ledger.append(RecordKind::Access, big("fill"), Vec::new()).unwrap();
        ledger.drive();
        if let Err(lost) = ticket.result().unwrap() {
            assert_eq!(lost, Lost::DiskFull);
            return 1;
        }
    }
    panic!("the disk never got full");
}

#[test]
fn a_full_disk_refuses_and_comes_back_by_itself_with_a_gap_record_first() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let lost = fill_up(&disk, &ledger);
    for _ in 0..3 {
        assert_eq!(
            ledger.append(RecordKind::Access, body("x"), Vec::new()).unwrap_err(),
            AppendError::DiskFull
        );
    }
    assert_eq!(ledger.trouble(), Some(AppendError::DiskFull));
    ledger.probe();
    ledger.drive();
    assert_eq!(ledger.trouble(), Some(AppendError::DiskFull), "there is still no space");
    let size = ledger.durable().size;
    disk.set_space(None);
    ledger.probe();
    ledger.drive();
    assert_eq!(ledger.trouble(), None);
    assert_eq!(append(&ledger, body("after")), size + 1);
    let gap: serde_json::Value = serde_json::from_str(&leaves(&disk, RecordKind::Gap)[0]).unwrap();
    assert_eq!(gap["seq"], size);
    assert_eq!(gap["gap"]["why"], "diskFull");
    assert_eq!(
        (gap["gap"]["lost"].as_u64(), gap["gap"]["refused"].as_u64()),
        (Some(lost), Some(3))
    );
}

#[test]
fn outcomes_have_their_place_on_a_full_disk() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let slots: Vec<OutcomeSlot> = (0..30)
        .map(|n| ledger.append_intent(body(&n.to_string()), Vec::new()).unwrap().1)
        .collect();
    ledger.drive();
    fill_up(&disk, &ledger);
    for slot in slots {
        let mut body = outcome(&slot);
        body.pop();
        body.extend_from_slice(format!(",\"n\":\"{}\"}}", "o".repeat(440)).as_bytes());
        let ticket = slot.fill(RecordKind::Outcome, body).unwrap();
        ledger.drive();
        seq(&ticket);
    }
    assert_eq!(leaves(&disk, RecordKind::Outcome).len(), 30);
}

#[test]
fn a_full_disk_does_not_stop_a_clean_close_nor_the_next_start() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    ledger.drive();
    fill_up(&disk, &ledger);
    ledger.kill();
    drop(slot);
    let (ledger, recovery) = open(&disk);
    assert_eq!(recovery.unfinished.len(), 1);
    ledger.close();
    assert_eq!(leaves(&disk, RecordKind::Outcome).len(), 1);
    assert_eq!(leaves(&disk, RecordKind::Checkpoint).len(), 1);
}

#[test]
fn an_intent_that_finds_no_place_for_its_outcome_is_lost_and_keeps_none() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    disk.set_space(Some(disk.used()));
    for _ in 0..40 {
        ledger
            .append_forget(RecordKind::Access, big("fill"), Vec::new())
            .unwrap();
    }
    let (ticket, slot) = ledger.append_intent(big("a"), Vec::new()).unwrap();
    ledger.drive();
    assert_eq!(ticket.result(), Some(Err(Lost::DiskFull)));
    assert_eq!(ledger.in_flight(), 0);
    let error = slot.fill(RecordKind::Outcome, b"{\"pair\":0}".to_vec()).unwrap_err();
    assert_eq!(error.why, crate::FillWhy::IntentLost);
    drop(error);
    assert_eq!(ledger.in_flight(), 0);
}

#[test]
fn a_failed_sync_loses_the_waiting_abandons_the_segment_and_goes_on_in_a_new_one() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, body("kept"));
    let ticket = ledger.append(RecordKind::Access, body("lost"), Vec::new()).unwrap();
    disk.fail_after(1, Fault::Io);
    ledger.drive();
    assert_eq!(ticket.result(), Some(Err(Lost::DiskFailed)));
    assert_eq!(append(&ledger, body("next")), 2);
    let seen: Vec<(u64, RecordKind)> = records(&disk).iter().map(|record| (record.seq, record.kind)).collect();
    assert_eq!(
        seen,
        [(0, RecordKind::Access), (1, RecordKind::Gap), (2, RecordKind::Access)]
    );
    let (header, _) = Header::decode(&disk.bytes(&segment_name(1)).unwrap()).unwrap();
    assert!(header.abandoned_at.is_some());
    disk.power_cut();
    let (_, recovery) = open(&disk);
    assert_eq!(recovery.last_seq, Some(2));
    assert_eq!(recovery.dropped_bytes, 0);
}

#[test]
fn a_failed_write_in_the_first_batch_replaces_the_segment_under_its_own_name() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    disk.fail_after(0, Fault::Io);
    let ticket = ledger.append(RecordKind::Access, body("lost"), Vec::new()).unwrap();
    ledger.drive();
    assert_eq!(ticket.result(), Some(Err(Lost::DiskFailed)));
    append(&ledger, body("next"));
    assert_eq!(
        disk.list()
            .unwrap()
            .iter()
            .filter(|name| parse_segment_name(name).is_some())
            .count(),
        1
    );
    ledger.kill();
    assert_eq!(open(&disk).1.last_seq, Some(1));
}

#[test]
fn an_outcome_in_a_failed_batch_is_written_to_the_new_segment() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    ledger.drive();
    let body = outcome(&slot);
    let ticket = slot.fill(RecordKind::Outcome, body).unwrap();
    disk.fail_after(1, Fault::Io);
    ledger.drive();
    assert!(ticket.result().unwrap().is_ok());
    assert_eq!((leaves(&disk, RecordKind::Outcome).len(), ledger.in_flight()), (1, 0));
}

#[test]
fn a_disk_that_fails_again_and_again_is_left_alone_until_the_next_probe() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, body("kept"));
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    ledger.drive();
    let held = outcome(&slot);
    let held = slot.fill(RecordKind::Outcome, held).unwrap();
    // The batch's write fails, the spare has vanished, and there is no space for another.
    disk.set_space(Some(0));
    let spares: Vec<String> = disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.starts_with("spare"))
        .collect();
    for spare in spares {
        disk.remove(&spare).unwrap();
    }
    disk.fail_after(0, Fault::Io);
    ledger.drive();
    assert!(ledger.trouble().is_some());
    assert_eq!(held.result(), None, "a reserved outcome waits for the disk");
    let operations = disk.operations();
    ledger.drive();
    assert_eq!(disk.operations(), operations, "a failing disk is not tried in a loop");
    disk.set_space(None);
    ledger.probe();
    ledger.drive();
    assert!(held.result().unwrap().is_ok());
    assert_eq!(ledger.trouble(), None);
    assert_eq!(leaves(&disk, RecordKind::Gap).len(), 1);
}

/// Readers have the hashes of each segment from a file of its own where that is as long as the whole. A start that cannot write it anew
/// must not leave the one there that a crash has torn: the next record may seal the segment as it is.
#[test]
fn a_file_of_hashes_that_a_crash_has_torn_and_a_start_cannot_replace_is_not_trusted() {
    let fill = |most: usize| {
        let disk = SimDisk::new(1);
        let (ledger, _) = open(&disk);
        let mut count = 0;
        while count < most && segments(&disk) < 2 {
            append(&ledger, big("fill"));
            count += 1;
        }
        ledger.kill();
        (disk, count)
    };
    // The last of these did not fit into the first segment.
    let fitting = fill(usize::MAX).1 - 1;
    let mut opened = 0;
    for step in 0..30 {
        let (disk, _) = fill(fitting);
        assert_eq!(segments(&disk), 1);
        disk.put(&hashes_name(0), &vec![0; fitting * 32]);
        disk.fail_after(step, Fault::Io);
        let Ok((ledger, _)) = try_open(&disk) else { continue };
        opened += 1;
        for _ in 0..3 {
            let _ = ledger.append(RecordKind::Access, big("next"), Vec::new());
            ledger.drive();
            ledger.probe();
            ledger.drive();
        }
        ledger.kill();
        disk.power_cut();
        let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
        let said = reader.leaf_hashes(reader.segments()[0]).unwrap();
        let is = records(&disk).into_iter().map(|record| leaf_hash(&record.leaf));
        let is: Vec<_> = is.take(said.len()).collect();
        assert!(
            segments(&disk) > 1 && said == is,
            "a fault at step {step}: the file of hashes lies"
        );
    }
    assert!(opened > 3, "{opened}");
}

fn segments(disk: &SimDisk) -> usize {
    let names = disk.list().unwrap();
    names.iter().filter(|name| parse_segment_name(name).is_some()).count()
}

#[test]
fn a_writer_thread_tries_a_full_disk_again_without_being_asked() {
    let disk = SimDisk::new(1);
    let options = Options {
        probe_every: std::time::Duration::from_millis(1),
        ..options()
    };
    let (ledger, _) = Ledger::open(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    disk.set_space(Some(disk.used()));
    let append = || {
        ledger
            .append(RecordKind::Access, big("fill"), Vec::new())
            .map(Ticket::wait)
    };
    while !matches!(append(), Ok(Err(Lost::DiskFull)) | Err(AppendError::DiskFull)) {}
    let size = ledger.durable().size;
    disk.set_space(None);
    while ledger.wait_beyond(size, std::time::Duration::from_secs(1)) == size {}
    while ledger.trouble().is_some() {
        std::thread::yield_now();
    }
    append().unwrap().unwrap();
    assert_eq!(leaves(&disk, RecordKind::Gap).len(), 1);
}

#[test]
fn a_disk_that_lost_what_it_had_synced_is_never_written_again() {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    append(&ledger, body("kept"));
    let mut bytes = disk.bytes(&segment_name(0)).unwrap();
    let at = bytes.windows(4).position(|window| window == b"kept").unwrap();
    bytes[at] = b'K';
    disk.put(&segment_name(0), &bytes);
    let (_, slot) = ledger.append_intent(body("a"), Vec::new()).unwrap();
    disk.fail_after(1, Fault::Io);
    ledger.drive();
    assert_eq!(
        ledger.append(RecordKind::Access, body("x"), Vec::new()).unwrap_err(),
        AppendError::Corrupt
    );
    ledger.probe();
    ledger.drive();
    assert_eq!(ledger.trouble(), Some(AppendError::Corrupt));
    drop(slot);
    ledger.close();
    let segments = disk
        .list()
        .unwrap()
        .into_iter()
        .filter_map(|name| parse_segment_name(&name))
        .collect::<Vec<_>>();
    assert_eq!(segments, [0], "nothing was written after it");
}
