//! Files that are made so that the check stops, accuses what is innocent, or takes what a crash left for a forgery.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use model::event::RecordKind;

use super::tests::{check, frame_of, signed, signed_of};
use super::*;
use crate::disk::{DiskLock, LockError, RealDisk};
use crate::frame::read_frame;
use crate::options::to_u64;
use crate::segment::{Footer, Header, hashes_name};
use crate::sim::SimDisk;
use crate::{Ledger, Options, Reader};

/// Which segments there are, by their first records.
fn firsts(disk: &SimDisk) -> Vec<u64> {
    let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
    reader.segments().iter().map(|segment| segment.first_seq).collect()
}

fn said(report: &Report) -> Vec<(Fault, Range<u64>)> {
    let findings = report.findings.iter();
    findings
        .map(|finding| (finding.fault.clone(), finding.records.clone()))
        .collect()
}

/// Puts another state into a segment's header; as many peaks have the same length.
fn head(disk: &SimDisk, first: u64, frontier: Frontier, open: Option<OpenSet>) {
    let mut bytes = disk.bytes(&segment_name(first)).unwrap();
    let (mut header, len) = Header::decode(&bytes).unwrap();
    header.frontier = frontier;
    if let Some(open) = open {
        header.open = open;
    }
    bytes.splice(..len, header.encode());
    disk.put(&segment_name(first), &bytes);
}

/// Makes the hash beside record `seq` another one, and the headers of `segments` segments behind it so that they follow from that.
fn accuse(disk: &SimDisk, seq: u64, segments: usize) {
    let firsts = firsts(disk);
    let of = firsts.iter().rposition(|first| *first <= seq).unwrap();
    let mut frontier = Header::decode(&disk.bytes(&segment_name(firsts[of])).unwrap())
        .unwrap()
        .0
        .frontier;
    for (at, first) in firsts.iter().enumerate().skip(of).take(segments) {
        let name = hashes_name(*first);
        let mut hashes = disk.bytes(&name).unwrap();
        if at == of {
            let place = usize::try_from(seq - first).unwrap() * 32;
            hashes[place] ^= 1;
            disk.put(&name, &hashes);
        }
        hashes.as_chunks::<32>().0.iter().for_each(|hash| frontier.push(*hash));
        head(disk, firsts[at + 1], frontier.clone(), None);
    }
}

#[test]
fn promise_5_a_hash_and_the_next_header_made_up_together_accuse_no_record() {
    let (disk, trust) = signed_of(110);
    let firsts = firsts(&disk);
    let segments = firsts.len();
    assert!(segments > 3, "{firsts:?}");
    for count in 1..segments {
        let forged = disk.copy(2);
        accuse(&forged, 5, count);
        let report = check(&forged, &trust);
        // One header that follows from the made up one is made up, and so are those that follow from that.
        let expected: Vec<_> = firsts[1..=count]
            .iter()
            .map(|first| (Fault::Header, *first..*first))
            .collect();
        assert_eq!(said(&report), expected, "{count}");
        assert_eq!(report.proved, report.size, "every record is the one that was signed");
        // Where nothing is signed it is said that the two differ.
        let unsigned = check(&forged, &Trust::default());
        assert!(
            said(&unsigned).contains(&(Fault::Disputed, 5..6)),
            "{:?}",
            unsigned.findings
        );
        assert!(!unsigned.findings.iter().any(|finding| finding.fault == Fault::Altered));
    }
    // And a record that was altered is named, by the hash beside it and what is signed behind.
    let forged = disk.copy(2);
    let (at, mut bytes) = frame_of(&disk, 5);
    let len: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
    let end = at + 20 + usize::try_from(u32::from_le_bytes(len)).unwrap();
    bytes[end - 10] ^= 1;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&len), &bytes[at + 8..end]);
    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    forged.put(&segment_name(0), &bytes);
    assert_eq!(said(&check(&forged, &trust)), [(Fault::Altered, 5..6)]);
    assert_eq!(said(&check(&forged, &Trust::default())), [(Fault::Disputed, 5..6)]);
    // Both at once: the second is settled by what is signed, and of the first it is said that the two differ, as four histories are not followed.
    accuse(&forged, firsts[1] + 1, 1);
    let report = check(&forged, &trust);
    assert_eq!(
        said(&report),
        [(Fault::Disputed, 5..6), (Fault::Header, firsts[2]..firsts[2])]
    );
}

/// A ledger with calls that begin in one segment and end in another, or never.
fn with_calls() -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    let mut slots = std::collections::VecDeque::new();
    for number in 0..90 {
        let body = format!("{{\"id\":\"c{number}\",\"note\":\"{}\"}}", "n".repeat(3_000)).into_bytes();
        if number % 3 == 0 {
            let begun = if number % 2 == 0 {
                ledger.append_intent(body, Vec::new())
            } else {
                ledger.append_open(body, Vec::new())
            };
            let (_, slot) = begun.unwrap();
            ledger.drive();
            slots.push_back((slot, number));
        } else {
            drop(ledger.append(RecordKind::Access, body, Vec::new()).unwrap());
            ledger.drive();
        }
        if slots.len() > 12 {
            let (slot, number) = slots.pop_front().unwrap();
            let kind = if number % 2 == 0 {
                RecordKind::Outcome
            } else {
                RecordKind::Close
            };
            let pair = slot.intent().unwrap();
            slot.fill(kind, format!("{{\"id\":\"c{number}\",\"pair\":{pair}}}").into_bytes())
                .unwrap();
            ledger.drive();
        }
    }
    ledger.kill();
    disk.restart();
    let firsts = firsts(&disk);
    (disk, firsts)
}

#[test]
fn promise_5_a_header_that_names_other_calls_without_an_end_than_the_records_leave_is_found_and_accuses_no_other() {
    let (disk, firsts) = with_calls();
    assert!(firsts.len() > 3, "{firsts:?}");
    assert_eq!(check(&disk, &Trust::default()).findings, []);
    for first in &firsts {
        let (header, _) = Header::decode(&disk.bytes(&segment_name(*first)).unwrap()).unwrap();
        let mut changed = Vec::new();
        if let Some((seq, entry)) = header.open.first_key_value() {
            let mut less = header.open.clone();
            less.remove(seq);
            let mut other = header.open.clone();
            other.insert(
                *seq,
                crate::segment::OpenEntry {
                    id: "other".to_owned(),
                    ..entry.clone()
                },
            );
            changed.extend([less, other]);
        }
        let mut more = header.open.clone();
        let id = "never".to_owned();
        more.insert(
            first.saturating_sub(2),
            crate::segment::OpenEntry { is_stream: false, id },
        );
        changed.push(more);
        for open in changed {
            let forged = disk.copy(2);
            head(&forged, *first, header.frontier.clone(), Some(open));
            let report = check(&forged, &Trust::default());
            // The footer says where it stands, and the header has another length.
            let told: Vec<_> = said(&report)
                .into_iter()
                .filter(|(fault, _)| *fault != Fault::Footer)
                .collect();
            assert_eq!(told, [(Fault::Calls, *first..*first)], "{:?}", report.findings);
        }
    }
}

/// Found by `soak tamper`: the record behind a cut was taken for one that was put in, and called missing itself.
#[test]
fn promise_5_a_footer_that_says_less_than_was_signed_accuses_no_record_that_is_there() {
    let (disk, trust) = signed();
    let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
    let segment = reader.segments().last().copied().unwrap();
    let records: Vec<_> = reader.records_in(segment).map(Result::unwrap).collect();
    let [.., victim, last] = records.as_slice() else {
        panic!("the last segment has too few records")
    };
    let name = segment_name(segment.first_seq);
    let mut bytes = disk.bytes(&name).unwrap();
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let frame = read_frame(&bytes[at(last.offset)..]).unwrap().encoded_len();
    bytes.truncate(at(last.offset) + frame);
    bytes.drain(at(victim.offset)..at(last.offset));
    let footer = Footer {
        first_seq: segment.first_seq,
        next_seq: victim.seq,
        data_end: to_u64(bytes.len()),
        root: [7; 32],
    };
    bytes.extend(footer.encode());
    let forged = disk.copy(2);
    forged.put(&name, &bytes);
    let expected = [
        (Fault::Missing, victim.seq..last.seq),
        (Fault::Footer, last.seq + 1..last.seq + 1),
    ];
    assert_eq!(said(&check(&forged, &trust)), expected);
}

#[test]
fn promise_5_a_fifo_in_place_of_a_segment_or_a_checkpoint_holds_nobody_up() {
    for name in [
        segment_name(0),
        NEWEST_CHECKPOINT.to_owned(),
        "00000000000000000000.checkpoints".to_owned(),
    ] {
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join(&name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
        let error = verify(&disk, &Trust::default(), 1, &|_| {}).unwrap_err();
        let ReadError::Io { file, source } = error else {
            panic!("{error}")
        };
        assert!(file.ends_with(&name), "{file}");
        assert!(
            source.to_string().starts_with("it is a FIFO and no regular file"),
            "{source}"
        );
    }
}

#[test]
fn a_checkpoint_whose_writing_broke_off_at_whichever_byte_is_no_forgery() {
    let (disk, trust) = signed();
    let note = disk.bytes(NEWEST_CHECKPOINT).unwrap();
    let kept = "00000000000000000000.checkpoints";
    for before in [0, 1, 3] {
        for len in 0..=note.len() {
            let copy = disk.copy(2);
            let whole = note.repeat(before);
            copy.put(kept, &[&whole, &note[..len]].concat());
            let report = check(&copy, &trust);
            assert_eq!(report.findings, [], "{before}, {len}");
            let torn = if len == note.len() { 0 } else { len };
            assert_eq!(report.torn_checkpoints, to_u64(torn), "{before}, {len}");
        }
    }
    // What was whole, and is changed now, is none that broke off; nor does one break off in the middle of a file.
    let mut changed = note.clone();
    changed[30] ^= 1;
    for bytes in [changed, [&note[..40], &note].concat()] {
        disk.put(kept, &bytes);
        let report = check(&disk, &trust);
        assert_eq!((report.findings.len(), report.torn_checkpoints), (1, 0));
    }
}

#[test]
fn what_a_crash_tore_before_a_segment_that_was_never_born_is_no_forgery() {
    let (disk, trust) = signed();
    let firsts = firsts(&disk);
    let last = *firsts.last().unwrap();
    let next = check(&disk, &trust).size;
    let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
    let offset = usize::try_from(reader.record(next - 1).unwrap().unwrap().offset).unwrap();
    // The disk failed in the middle of the last record, which nobody was told of, and the power went before the next segment had its header.
    let mut bytes = disk.bytes(&segment_name(last)).unwrap();
    bytes.truncate(offset + 100);
    for begun in [Vec::new(), vec![0; 4096], b"GSLEDGER".to_vec()] {
        let image = disk.copy(2);
        image.put(&segment_name(last), &bytes);
        image.put(&segment_name(next - 1), &begun);
        image.remove(&hashes_name(last)).unwrap();
        let report = check(&image, &Trust::default());
        assert_eq!((said(&report), report.size), (vec![], next - 1));
        // What was signed was durable, whatever file stands behind it.
        assert!(!check(&image, &trust).findings.is_empty());
    }
}

/// A disk to which somebody writes: after so many looks at its files it is another one. Counts the bytes that are read.
#[derive(Clone, Debug)]
struct Watched {
    before: SimDisk,
    after: SimDisk,
    turn: usize,
    looks: Arc<AtomicUsize>,
    bytes: Arc<AtomicU64>,
}

impl Watched {
    fn new(before: &SimDisk, after: &SimDisk, turn: usize) -> Self {
        Self {
            before: before.clone(),
            after: after.clone(),
            turn,
            looks: Arc::default(),
            bytes: Arc::default(),
        }
    }

    fn now(&self) -> &SimDisk {
        if self.looks.load(Ordering::SeqCst) < self.turn {
            &self.before
        } else {
            &self.after
        }
    }
}

/// A check writes nothing.
fn read_only<T>() -> std::io::Result<T> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[derive(Debug)]
struct WatchedFile {
    disk: Watched,
    name: String,
}

impl DiskFile for WatchedFile {
    fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
        read_only()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let read = self.disk.now().open_read(&self.name)?.read_at(buffer, offset)?;
        self.disk.looks.fetch_add(1, Ordering::SeqCst);
        self.disk.bytes.fetch_add(to_u64(read), Ordering::SeqCst);
        Ok(read)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        read_only()
    }
    fn sync_all(&self) -> std::io::Result<()> {
        read_only()
    }
    fn allocate(&self, _: u64) -> std::io::Result<()> {
        read_only()
    }
    fn set_len(&self, _: u64) -> std::io::Result<()> {
        read_only()
    }
    fn len(&self) -> std::io::Result<u64> {
        self.disk.now().open_read(&self.name)?.len()
    }
}

impl Disk for Watched {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        Ok(read_only()?)
    }
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.now().list()
    }
    fn create(&self, _: &str) -> std::io::Result<Box<dyn DiskFile>> {
        read_only()
    }
    fn open(&self, _: &str) -> std::io::Result<Box<dyn DiskFile>> {
        read_only()
    }
    fn open_read(&self, name: &str) -> std::io::Result<Box<dyn DiskFile>> {
        self.now().open_read(name)?;
        let (disk, name) = (self.clone(), name.to_owned());
        Ok(Box::new(WatchedFile { disk, name }))
    }
    fn rename(&self, _: &str, _: &str) -> std::io::Result<()> {
        read_only()
    }
    fn remove(&self, _: &str) -> std::io::Result<()> {
        read_only()
    }
    fn sync_dir(&self) -> std::io::Result<()> {
        read_only()
    }
    fn display(&self, name: &str) -> String {
        name.to_owned()
    }
}

#[test]
fn beside_a_writer_no_hole_is_seen_in_what_he_writes() {
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 2 << 20,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    let write = |count: usize| {
        for number in 0..count {
            let body = format!("{{\"id\":\"{number}\",\"note\":\"{}\"}}", "n".repeat(30_000));
            drop(
                ledger
                    .append(RecordKind::Access, body.into_bytes(), Vec::new())
                    .unwrap(),
            );
            ledger.drive();
        }
    };
    write(5);
    let before = disk.copy(1);
    write(30);
    let after = disk.copy(1);
    for turn in 0..40 {
        let watched: Arc<dyn Disk> = Arc::new(Watched::new(&before, &after, turn));
        let report = verify(&watched, &Trust::default(), 1, &|_| {}).unwrap();
        assert_eq!(report.findings, [], "{turn}");
        assert!(report.size >= 5, "{turn}");
    }
}

#[test]
fn of_many_segments_that_are_not_as_their_writer_left_them_each_is_read_once() {
    let (disk, trust) = signed();
    let firsts = firsts(&disk);
    for first in &firsts {
        let mut bytes = disk.bytes(&segment_name(*first)).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        disk.put(&segment_name(*first), &bytes);
    }
    let watched = Watched::new(&disk, &disk, 0);
    let shared: Arc<dyn Disk> = Arc::new(watched.clone());
    let report = verify(&shared, &trust, 1, &|_| {}).unwrap();
    assert_eq!(report.findings.len(), firsts.len());
    let (read, longest) = (watched.bytes.load(Ordering::SeqCst), 64 << 10);
    let headers = 4096 * 2 * to_u64(firsts.len()) + (64 << 10);
    assert!(read <= report.bytes + longest + headers, "{read} of {}", report.bytes);
}

#[test]
fn more_findings_than_anybody_reads_are_counted_and_their_stretch_is_said() {
    let one = |seq: u64| Finding {
        fault: Fault::Altered,
        records: seq..seq + 1,
        file: "s".to_owned(),
        offset: seq,
    };
    let mut findings = Vec::new();
    (0..25).for_each(|seq| add(&mut findings, one(seq), 10));
    assert_eq!(findings.len(), 11);
    assert_eq!(
        (&findings[10].fault, findings[10].records.clone()),
        (&Fault::More { count: 15 }, 10..25)
    );
    let more = Finding {
        fault: Fault::More { count: 7 },
        ..one(40)
    };
    add(&mut findings, more, 10);
    assert_eq!(
        (&findings[10].fault, findings[10].records.clone()),
        (&Fault::More { count: 22 }, 10..41)
    );
}
