//! How much a start reads: of a long ledger no more than of a short one, but for two small pieces of each sealed segment.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::disk::{Disk, DiskFile, DiskLock, LockError};
use crate::segment::{FOOTER_LEN, parse_segment_name};

/// What a header is looked for in.
const HEAD: u64 = 4096;

/// A disk that counts the bytes that are read.
#[derive(Clone, Debug)]
struct Counted {
    disk: SimDisk,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile {
    file: Box<dyn DiskFile>,
    read: Arc<AtomicU64>,
}

impl Counted {
    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let read = Arc::clone(&self.read);
        file.map(|file| Box::new(CountedFile { file, read }) as Box<dyn DiskFile>)
    }
}

impl Disk for Counted {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open(name))
    }
    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open_read(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
    fn display(&self, name: &str) -> String {
        self.disk.display(name)
    }
}

impl DiskFile for CountedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Bytes that a start reads of a killed ledger with so many records, and how many segments that has.
fn read_at_start(records: usize) -> (u64, u64) {
    let disk = SimDisk::new(1);
    let (ledger, _) = open(&disk);
    for n in 0..records {
        append(&ledger, big(&n.to_string()));
    }
    ledger.kill();
    let segments = disk.list().unwrap();
    let segments = segments
        .iter()
        .filter(|name| parse_segment_name(name).is_some())
        .count();
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        disk,
        read: Arc::clone(&read),
    };
    let (ledger, recovery) = Ledger::open_by_hand(Path::new("l"), options(), Arc::new(counted)).unwrap();
    assert_eq!(recovery.last_seq, Some(records as u64 - 1));
    let read = read.load(Ordering::Relaxed);
    ledger.kill();
    (read, segments as u64)
}

#[test]
fn a_start_reads_the_last_segment_and_two_ends_of_each_other_one() {
    let segment = options().segment_bytes;
    for records in [1, 40, 400, 4_000] {
        let (read, segments) = read_at_start(records);
        // The last one's header is read twice, and so is the head of the spare beside it.
        let most = segment + 3 * HEAD + (segments - 1) * (HEAD + FOOTER_LEN as u64);
        assert!(
            read <= most,
            "{records} records in {segments} segments: {read} bytes, not {most}"
        );
        assert!(
            read >= segment,
            "{records} records: the last segment was not read: {read}"
        );
    }
    assert!(
        read_at_start(4_000).1 > 200,
        "so many segments that a scan of all would be seen"
    );
}
