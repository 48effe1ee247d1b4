//! `bench ledger_append`: durable records per second and CPU per record at 1, 16, 64 and 256 waiting callers, each without and
//! with the thread that signs the log's end (as a gateway has it), beside what the disk itself does
//! and what SHA-256 does on one thread: `ledger_append [--quick] [FOLDER] [BODY BYTES]`. The folder must not be there, and is removed afterwards. The leaves are hashed and the tree's tiles are written in both.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod folder;
mod machine;

use std::future::Future as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use ledger::note::{Algorithm, KeyName, SigningKey};
use ledger::{Ledger, Options, Publisher, RealDisk, Ticket};
use model::event::RecordKind;
use model::time::Timestamp;

use machine::{cpu_seconds, hashing};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, rest): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--quick");
    let dir = rest.first().map_or("target/ledger_append", String::as_str);
    let how_long = Duration::from_secs(if flags.is_empty() { 5 } else { 1 });
    let bytes: usize = rest.get(1).and_then(|bytes| bytes.parse().ok()).unwrap_or(RECORD_BYTES);
    let body = format!("{{\"id\":\"0193\",\"note\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    let line = folder::in_new(Path::new(dir), |dir| measure_all(dir, &body, how_long))?;
    println!("{line}");
    Ok(())
}

fn measure_all(dir: &Path, body: &[u8], how_long: Duration) -> Result<String, Box<dyn std::error::Error>> {
    let mut line = format!("ledger_append body={}", body.len());
    for waiting in [1, 16, 64, 256] {
        for is_signed in [false, true] {
            let dir = dir.join(waiting.to_string());
            let (rate, cpu) = folder::in_new(&dir, |dir| turn(dir, body, waiting, how_long, is_signed))?;
            println!("waiting={waiting} signed={is_signed} rps={rate:.0} cpu_us={cpu:.2}");
            let with = if is_signed { "signed_" } else { "" };
            line.push_str(&format!(
                " {with}rps_{waiting}={rate:.0} {with}cpu_us_{waiting}={cpu:.2}"
            ));
        }
    }
    let (syncs, bytes) = disk(dir, how_long)?;
    // The ledger's own thread hashes: one, by pieces of a record's length.
    let (sha256, _) = hashing(1, &vec![7; 1 << 20], how_long)?;
    let (by_record, _) = hashing(1, body, how_long)?;
    Ok(format!(
        "{line} disk_syncs_per_s={syncs:.0} disk_mb_per_s={bytes:.0} sha256_gb_s={sha256:.2} sha256_by_record_gb_s={by_record:.2}"
    ))
}

/// One ledger of its own, from its first record to its end; what was signed in the end has to be all of it.
fn turn(
    dir: &Path,
    body: &[u8],
    waiting: usize,
    how_long: Duration,
    is_signed: bool,
) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let disk = Arc::new(RealDisk::new(dir));
    let (ledger, _) = Ledger::open(dir, Options::default(), disk.clone())?;
    let ledger = Arc::new(ledger);
    let publisher = if is_signed {
        let key = SigningKey::generate(KeyName::new("bench.example")?, Algorithm::Ed25519)?;
        let signers: Vec<Arc<dyn ledger::note::Signer>> = vec![Arc::new(key)];
        Some(Publisher::start(
            &ledger,
            disk,
            None,
            signers,
            Arc::new(|| Timestamp::from_unix_seconds(0)),
        )?)
    } else {
        None
    };
    let measured = measure(&ledger, body, waiting, how_long)?;
    ledger.close();
    if let Some(publisher) = publisher {
        publisher.finish()?;
        let signed = publisher.newest().map_or(0, |newest| newest.checkpoint.size);
        if signed == 0 || signed != ledger.durable().size {
            return Err(format!("{signed} records are signed, {} are there", ledger.durable().size).into());
        }
    }
    Ok(measured)
}

/// About what the access record of `request_cost` has.
const RECORD_BYTES: usize = 1_000;

/// What the disk does by itself: 4 KiB and fdatasync, then 1 MiB and fdatasync, each again and again in place.
fn disk(dir: &Path, how_long: Duration) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let path = dir.join("disk");
    let mut rates = Vec::new();
    for bytes in [4_096, 1 << 20] {
        std::fs::write(&path, vec![0; 1 << 20])?;
        let mut file = std::fs::File::options().write(true).open(&path)?;
        file.sync_all()?;
        let (piece, begin, mut done) = (vec![1; bytes], Instant::now(), 0_u32);
        while begin.elapsed() < how_long {
            std::io::Seek::rewind(&mut file)?;
            std::io::Write::write_all(&mut file, &piece)?;
            file.sync_data()?;
            done += 1;
        }
        rates.push(f64::from(done) / begin.elapsed().as_secs_f64());
    }
    std::fs::remove_file(&path)?;
    let mut rates = rates.into_iter();
    Ok((
        rates.next().unwrap_or_default(),
        rates.next().unwrap_or_default() * 1.048_576,
    ))
}

/// One thread keeps `waiting` records in flight, as that many tasks of one runtime thread would.
fn measure(
    ledger: &Ledger,
    body: &[u8],
    waiting: usize,
    how_long: Duration,
) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let signal = Arc::new(Signal {
        thread: std::thread::current(),
        is_set: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let append = || ledger.append(RecordKind::Access, body.to_vec(), Vec::new());
    let mut tickets: Vec<Ticket> = (0..waiting).map(|_| append()).collect::<Result<_, _>>()?;
    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    let mut done = 0_u32;
    while begin.elapsed() < how_long {
        signal.is_set.store(false, Ordering::SeqCst);
        let mut is_idle = true;
        for ticket in &mut tickets {
            if let Poll::Ready(result) = Pin::new(&mut *ticket).poll(&mut context) {
                result?;
                done += 1;
                is_idle = false;
                *ticket = append()?;
            }
        }
        while is_idle && !signal.is_set.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
    let (elapsed, used) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    Ok((f64::from(done) / elapsed, used * 1e6 / f64::from(done)))
}

struct Signal {
    thread: Thread,
    is_set: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        if !self.is_set.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}
