//! `bench recovery`: how long a start takes on a ledger of 10 GB that was killed with its last segment almost full:
//! `recovery [--quick] [FOLDER] [GB]`. It is measured at a tenth, at half and at the whole of the size, with none of the files in
//! memory and once more with them there, beside how fast the disk itself is read. The folder must not be there, and is removed afterwards.
//!
//! Each life of the ledger is a process of its own: this program with a word in front, which writes and is then aborted, or
//! opens the ledger and says how long that took.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod folder;

use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Ledger, Options, RealDisk};
use model::event::RecordKind;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// About what the access record of `request_cost` has.
const RECORD_BYTES: usize = 1_000;
/// Records that are waited for together.
const AT_ONCE: usize = 4_096;
const GB: u64 = 1_000_000_000;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", dir, bytes] => write(Path::new(dir), bytes.parse()?),
        ["open", dir] => open(Path::new(dir)),
        _ => measure(&words),
    }
}

fn measure(words: &[&str]) -> Done<()> {
    let (flags, rest): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|word| *word == "--quick");
    let dir = rest.first().copied().unwrap_or("target/recovery");
    let most: u64 = match rest.get(1) {
        Some(gb) => gb.parse()?,
        None if flags.is_empty() => 10,
        None => 1,
    };
    let line = folder::in_new(Path::new(dir), |_| sizes(dir, most))?;
    println!("{line}");
    Ok(())
}

/// The last line: what was seen at the whole of the size.
fn sizes(dir: &str, most: u64) -> Done<String> {
    let mut line = String::new();
    for tenths in [1, 5, 10] {
        let bytes = most * GB / 10 * tenths;
        // It ends by an abort: that is no failure.
        own("write", dir, Some(bytes))?;
        let segments = segments(Path::new(dir))?;
        let held: u64 = segments.iter().map(|(_, len)| len).sum();
        forget(Path::new(dir))?;
        let cold = own("open", dir, None)?;
        // It was killed again, and what it has read is in memory.
        let warm = own("open", dir, None)?;
        let warm = warm
            .split_whitespace()
            .find_map(|word| word.strip_prefix("recovery_ms="));
        let (cold, warm) = (cold.trim(), warm.ok_or("no time")?);
        line = format!("bytes={held} segments={} {cold} in_memory_ms={warm}", segments.len());
        println!("{line}");
    }
    forget(Path::new(dir))?;
    let disk = disk(Path::new(dir))?;
    Ok(format!("recovery {line} disk_read_gb_s={disk:.2}"))
}

/// Another life.
fn own(word: &str, dir: &str, bytes: Option<u64>) -> Done<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([word, dir]).args(bytes.map(|bytes| bytes.to_string()));
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    if said.trim().is_empty() {
        return Err(format!("{word}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(said)
}

/// Writes until the folder holds so much and the last segment is almost full, and is gone like somebody killed.
fn write(dir: &Path, bytes: u64) -> Done<()> {
    let options = Options::default();
    let almost = options.segment_bytes / 10 * 9;
    let (ledger, _) = Ledger::open(dir, options, Arc::new(RealDisk::new(dir)))?;
    let body = format!("{{\"id\":\"0193\",\"note\":\"{}\"}}", "x".repeat(RECORD_BYTES)).into_bytes();
    let (mut known, mut begun) = (0, 0);
    loop {
        for _ in 1..AT_ONCE {
            ledger.append_forget(RecordKind::Access, body.clone(), Vec::new())?;
        }
        ledger.append(RecordKind::Access, body.clone(), Vec::new())?.wait()?;
        let (segments, written) = (segments(dir)?, ledger.counts().bytes);
        if segments.len() != known {
            (known, begun) = (segments.len(), written);
        }
        let held: u64 = segments.iter().map(|(_, len)| len).sum();
        if held >= bytes && written - begun >= almost {
            break;
        }
    }
    println!("written");
    std::process::abort()
}

/// Opens it and says how long that took, and how much was read for it.
fn open(dir: &Path) -> Done<()> {
    let before = read_so_far()?;
    let begin = Instant::now();
    let (ledger, recovery) = Ledger::open(dir, Options::default(), Arc::new(RealDisk::new(dir)))?;
    let took = begin.elapsed();
    let read = read_so_far()? - before;
    if recovery.was_closed {
        return Err("it was closed in order, so there was nothing to recover".into());
    }
    let records = ledger.durable().size;
    println!("records={records} recovery_ms={} read_bytes={read}", took.as_millis());
    // The next life goes on where this one was killed.
    std::process::abort()
}

/// Bytes that this process has read, by whatever call.
fn read_so_far() -> Done<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    Ok(line.ok_or("no rchar")?.parse()?)
}

fn segments(dir: &Path) -> Done<Vec<(PathBuf, u64)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "seg") {
            let len = path.metadata()?.len();
            all.push((path, len));
        }
    }
    all.sort();
    Ok(all)
}

/// Has the system forget what it holds of the files in memory.
fn forget(dir: &Path) -> Done<()> {
    for entry in fs::read_dir(dir)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

/// How fast the files of the ledger are read one after another, for a few seconds.
fn disk(dir: &Path) -> Done<f64> {
    let (begin, mut read) = (Instant::now(), 0_u64);
    let mut buffer = vec![0; 1 << 20];
    for (path, _) in segments(dir)? {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                some => read += u64::try_from(some)?,
            }
        }
        if begin.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate with two digits")]
    Ok(read as f64 / 1e9 / begin.elapsed().as_secs_f64())
}
