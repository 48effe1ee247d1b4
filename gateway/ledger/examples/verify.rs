//! `bench verify`: how fast a ledger is verified on two threads, out of memory and from the disk, beside what the machine does:
//! SHA-256 on two threads, in one piece and by pieces of a record's length, and reading the same files from the disk. `verify [--quick] [FOLDER] [BODY BYTES]`. The folder must not be there, and is removed afterwards.
//!
//! It is done a second time, out of memory, with records that have a sealed part each beside them (`gb_s_parts=`, of the bytes of both).
//!
//! Bytes are those of the frames: neither headers nor the zeros behind the end count. Beside rates, which others on the machine take
//! part of, stands the CPU time of a gigabyte.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod folder;
mod machine;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ledger::frame::FRAME_HEADER_LEN;
use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::verify::{Trust, verify};
use ledger::{Disk, Ledger, Options, Part, Publisher, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;

use machine::{cpu_seconds, hashing};

type Failure = Box<dyn std::error::Error>;

/// As many as the aim is for.
const THREADS: usize = 2;
/// About what the access record of `request_cost` has.
const RECORD_BYTES: usize = 1_000;
/// A sealed query with a selector in it is about as long.
const PART_BYTES: usize = 256;
/// Rounds of which the middle one counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    let (flags, rest): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--quick");
    let is_quick = !flags.is_empty();
    let dir = PathBuf::from(rest.first().map_or("target/verify", String::as_str));
    let bytes: usize = rest.get(1).and_then(|bytes| bytes.parse().ok()).unwrap_or(RECORD_BYTES);
    let wanted: usize = if is_quick { 256 << 20 } else { 2 << 30 };
    let line = folder::in_new(&dir, |dir| {
        let plain = folder::in_new(&dir.join("records"), |dir| {
            measure(&Specimen::write(dir, bytes, None, wanted)?, is_quick)
        })?;
        let parts = folder::in_new(&dir.join("parts"), |dir| {
            measure_parts(&Specimen::write(dir, bytes, Some(PART_BYTES), wanted)?)
        })?;
        Ok(format!("{plain} {parts}"))
    })?;
    println!("{line}");
    Ok(())
}

fn measure(specimen: &Specimen, is_quick: bool) -> Result<String, Failure> {
    let how_long = Duration::from_secs(if is_quick { 1 } else { 3 });
    let bytes = as_f64(specimen.bytes);
    let (cached, busy) = in_memory(specimen)?;
    let (mut cold, mut disk) = (Vec::new(), Vec::new());
    for round in 0..3 {
        specimen.forget()?;
        cold.push(specimen.verify()?);
        specimen.forget()?;
        disk.push(specimen.read()?);
        println!("cold round={round} seconds={:?} reading={:?}", cold.last(), disk.last());
    }
    let (cold, disk) = (middle(cold), middle(disk));
    let (sha256, _) = hashing(THREADS, &vec![7; 1 << 20], how_long)?;
    let (by_record, hash_cpu) = hashing(THREADS, &vec![7; specimen.leaf], how_long)?;
    let cpu = busy / bytes * 1e9;
    let rate = |took: f64| bytes / took / 1e9;
    Ok(format!(
        "verify gb_s={:.2} sha256_gb_s={sha256:.2} sha256_by_record_gb_s={by_record:.2} of_sha256={:.2} cpu_s_per_gb={cpu:.2} sha256_cpu_s_per_gb={hash_cpu:.2} cold_gb_s={:.2} disk_gb_s={:.2} of_disk={:.2} \
         records={} record_bytes={} threads={THREADS}",
        rate(cached),
        rate(cached) / sha256,
        rate(cold),
        as_f64(specimen.file_bytes) / disk / 1e9,
        disk / cold,
        specimen.records,
        specimen.leaf,
    ))
}

/// A part has a hash of its own, which its record binds: one more in each record, of a piece that is shorter.
fn measure_parts(specimen: &Specimen) -> Result<String, Failure> {
    let bytes = as_f64(specimen.bytes);
    let (took, busy) = in_memory(specimen)?;
    Ok(format!(
        "gb_s_parts={:.2} cpu_s_per_gb_parts={:.2} part_bytes={PART_BYTES}",
        bytes / took / 1e9,
        busy / bytes * 1e9
    ))
}

/// Seconds, and CPU seconds, of a verification out of memory.
fn in_memory(specimen: &Specimen) -> Result<(f64, f64), Failure> {
    let (mut cached, mut busy) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let before = cpu_seconds()?;
        let took = specimen.verify()?;
        let used = cpu_seconds()? - before;
        println!("cached round={round} gb_s={:.2}", as_f64(specimen.bytes) / took / 1e9);
        // The first one warms up.
        if round > 0 {
            cached.push(took);
            busy.push(used);
        }
    }
    Ok((middle(cached), middle(busy)))
}

/// A ledger to verify.
struct Specimen {
    dir: PathBuf,
    trust: Trust,
    records: usize,
    /// Sealed beside the records.
    parts: usize,
    /// Bytes of a leaf.
    leaf: usize,
    /// Of all frames.
    bytes: usize,
    file_bytes: usize,
}

impl Specimen {
    /// Records with a body of so many bytes, each with a part of so many beside it where there are parts, until they are as long as wanted.
    fn write(dir: &Path, body: usize, part: Option<usize>, wanted: usize) -> Result<Self, Failure> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
        let key = SigningKey::generate(KeyName::new("bench.example/verify")?, Algorithm::Ed25519)?;
        let trust = Trust {
            keys: vec![key.key().clone()],
            remembered: Vec::new(),
        };
        let (ledger, _) = Ledger::open(dir, Options::default(), Arc::clone(&disk))?;
        let ledger = Arc::new(ledger);
        let clock = Arc::new(|| Timestamp::from_unix_seconds(0));
        let publisher = Publisher::start(&ledger, disk, None, vec![Arc::new(key)], clock)?;
        let part = part.map(|bytes| Part {
            bytes: vec![0x5a; bytes],
        });
        let bound = part.as_ref().map_or_else(String::new, |part| {
            let sealed = Part::digest(&part.bytes);
            format!(",\"parts\":[{{\"name\":\"query\",\"class\":\"query\",\"sealed\":\"{sealed}\"}}]")
        });
        let body = format!("{{\"id\":\"0193\",\"note\":\"{}\"{bound}}}", "x".repeat(body)).into_bytes();
        // The frame's header and the leaf's first members, of a number with six digits.
        let leaf = body.len() + 35;
        let each = leaf + FRAME_HEADER_LEN + part.as_ref().map_or(0, |part| part.bytes.len() + FRAME_HEADER_LEN);
        let records = wanted / each;
        let mut waiting = std::collections::VecDeque::new();
        for _ in 0..records {
            waiting.push_back(ledger.append(RecordKind::Access, body.clone(), part.clone().into_iter().collect())?);
            if waiting.len() >= 4_096
                && let Some(ticket) = waiting.pop_front()
            {
                ticket.wait()?;
            }
        }
        ledger.close();
        publisher.finish()?;
        let mut specimen = Self {
            dir: dir.to_path_buf(),
            trust,
            records,
            parts: part.map_or(0, |_| records),
            leaf,
            bytes: records * each,
            file_bytes: 0,
        };
        for (file, len) in specimen.segments()? {
            file.sync_all()?;
            specimen.file_bytes += len;
        }
        Ok(specimen)
    }

    /// Seconds; the ledger has to be proved.
    fn verify(&self) -> Result<f64, Failure> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&self.dir));
        let begin = Instant::now();
        let report = verify(&disk, &self.trust, THREADS, &|_| {})?;
        let took = begin.elapsed().as_secs_f64();
        if !report.is_proved() || report.proved < report.size || usize::try_from(report.size)? < self.records {
            return Err(format!("the ledger is not proved: {report:?}").into());
        }
        // A part that its record does not bind would cost less.
        if usize::try_from(report.parts)? != self.parts || report.unbound > 0 {
            return Err(format!("{} parts are not bound by their records: {report:?}", self.parts).into());
        }
        Ok(took)
    }

    /// Seconds to read all segments, on as many threads.
    fn read(&self) -> Result<f64, Failure> {
        let (segments, next) = (self.segments()?, AtomicUsize::new(0));
        let begin = Instant::now();
        let read = || -> std::io::Result<()> {
            let mut buffer = vec![0; 1 << 20];
            while let Some((file, _)) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut at = 0;
                loop {
                    match file.read_at(&mut buffer, at)? {
                        0 => break,
                        read => at += u64::try_from(read).unwrap_or_default(),
                    }
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(read)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())))
        })?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Has the kernel drop the files' pages from memory.
    fn forget(&self) -> Result<(), Failure> {
        for (file, _) in self.segments()? {
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, advice)?;
        }
        Ok(())
    }

    fn segments(&self) -> std::io::Result<Vec<(File, usize)>> {
        let files = std::fs::read_dir(&self.dir)?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "seg"));
        files
            .map(|path| {
                let file = File::open(path)?;
                let len = usize::try_from(file.metadata()?.len()).unwrap_or_default();
                Ok((file, len))
            })
            .collect()
    }
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print, far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
