//! Records count as signed where they lead to what was signed, and by nothing less (promise 5).

use super::*;
use crate::frame::{FRAME_HEADER_LEN, FrameKind, read_frame};
use crate::reader::{Proved, Reader};
use crate::segment::{Header, segment_name};
use crate::tree::Head;

const KINDS: [RecordKind; 1] = [RecordKind::Erasure];

/// Three segments at least, with an erasure in each hundred records, and what was signed of them.
fn ledger() -> (SimDisk, Head) {
    let disk = SimDisk::new(1);
    let (ledger, _) = Ledger::open(Path::new("l"), options(), Arc::new(disk.clone())).unwrap();
    for number in 0..600 {
        let kind = if number % 100 == 50 {
            KINDS[0]
        } else {
            RecordKind::Access
        };
        let body = format!("{{\"id\":\"r\",\"number\":{number},\"note\":\"{}\"}}", "n".repeat(900));
        ledger
            .append(kind, body.into_bytes(), Vec::new())
            .unwrap()
            .wait()
            .unwrap();
    }
    let head = ledger.durable();
    ledger.close();
    (disk, head)
}

fn reader(disk: &SimDisk) -> Reader {
    Reader::open_on(Arc::new(disk.clone())).unwrap()
}

fn seqs(disk: &SimDisk, proved: &[Proved]) -> Vec<u64> {
    let reader = reader(disk);
    proved
        .iter()
        .map(|proved| reader.proved_record(proved).unwrap().seq)
        .collect()
}

/// Writes another record of the same length in the place of this one, checksum and all.
fn exchange(disk: &SimDisk, seq: u64) {
    let record = reader(disk).record(seq).unwrap().unwrap();
    let name = segment_name(record.segment);
    let mut bytes = disk.bytes(&name).unwrap();
    let at = usize::try_from(record.offset).unwrap();
    let frame = read_frame(&bytes[at..]).unwrap();
    assert!(matches!(frame.kind, FrameKind::Leaf(_)));
    let len = frame.encoded_len();
    let text = bytes[at..at + len].iter().rposition(|byte| *byte == b'n').unwrap();
    bytes[at + text] = b'm';
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 4]), &bytes[at + 8..at + len]);
    bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    assert!(FRAME_HEADER_LEN < len && read_frame(&bytes[at..]).is_ok());
    disk.put(&name, &bytes);
}

#[test]
fn records_that_lead_to_what_was_signed_are_proved_from_wherever_one_begins() {
    let (disk, head) = ledger();
    assert!(reader(&disk).segments().len() > 2);
    for (from, expected) in [
        (0, &[50, 150, 250, 350, 450, 550][..]),
        (51, &[150, 250, 350, 450, 550]),
        (550, &[550]),
        (551, &[]),
    ] {
        let proved = reader(&disk).proved(from, &head, &KINDS).unwrap().unwrap();
        assert_eq!(seqs(&disk, &proved), expected, "from {from}");
    }
    let none = Head { size: 0, ..head };
    assert_eq!(reader(&disk).proved(0, &none, &KINDS).unwrap(), Some(Vec::new()));
}

/// promise_5: whoever has the files, and not the key, exchanges one record for another; the checkpoint stays as it is.
#[test]
fn promise_5_a_record_that_was_exchanged_below_the_signed_size_proves_nothing() {
    for seq in [0, 50, 149, 150, 350, 598] {
        let (disk, head) = ledger();
        exchange(&disk, seq);
        assert_eq!(reader(&disk).proved(0, &head, &KINDS).unwrap(), None, "record {seq}");
    }
    // Also where the hashes beside the segment and the peaks in the next one's header are those of the exchanged record.
    let (disk, head) = ledger();
    exchange(&disk, 50);
    let first = reader(&disk).segments()[0];
    let mut frontier = reader(&disk).frontier(first).unwrap();
    for record in reader(&disk).records_in(first) {
        frontier.push(crate::leaf_hash(&record.unwrap().leaf));
    }
    let name = segment_name(first.next_seq.unwrap());
    let mut bytes = disk.bytes(&name).unwrap();
    let (header, len) = Header::decode(&bytes).unwrap();
    let forged = Header { frontier, ..header }.encode();
    assert_eq!(forged.len(), len);
    bytes[..len].copy_from_slice(&forged);
    disk.put(&name, &bytes);
    let second = first.next_seq.unwrap();
    for (from, is_proved) in [
        (0, false),
        (51, true),
        (second, false),
        (second + 1, false),
        (300, true),
    ] {
        let proved = reader(&disk).proved(from, &head, &KINDS).unwrap();
        assert_eq!(
            proved.is_some(),
            is_proved,
            "from {from}: what is before it is not what it is about"
        );
    }
}

/// promise_5: the record is exchanged between the proof and the reading.
#[test]
fn promise_5_what_was_proved_is_read_as_it_was_proved_or_not_at_all() {
    let (disk, head) = ledger();
    let proved = reader(&disk).proved(0, &head, &KINDS).unwrap().unwrap();
    exchange(&disk, 150);
    let read = |at: usize| reader(&disk).proved_record(&proved[at]);
    assert_eq!(read(0).unwrap().seq, 50);
    let error = read(1).unwrap_err().to_string();
    assert!(
        error.ends_with("record 150 is another one than a moment before"),
        "{error}"
    );
}
