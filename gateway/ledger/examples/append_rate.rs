//! Prints durable records per second and CPU per record at 1, 16, 64 and 256 waiting callers:
//! `append_rate [FOLDER] [SECONDS] [BODY BYTES]`. A quick look; the measured bench is `ledger_append` in `tests/bench`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::future::Future as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use ledger::{Ledger, Options, RealDisk, Ticket};
use model::event::RecordKind;
use nix::sys::resource::{UsageWho, getrusage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "target/append_rate".to_owned());
    let seconds: u64 = arguments.next().unwrap_or_default().parse().unwrap_or(3);
    let bytes: usize = arguments.next().unwrap_or_default().parse().unwrap_or(700);
    let body = format!("{{\"id\":\"0193\",\"note\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    for waiting in [1, 16, 64, 256] {
        let dir = Path::new(&dir).join(waiting.to_string());
        let begin = Instant::now();
        let (ledger, recovery) = Ledger::open(&dir, Options::default(), Arc::new(RealDisk::new(&dir)))?;
        if let Some(last) = recovery.last_seq {
            println!(
                "append_rate recovered last_seq={last} in_ms={}",
                begin.elapsed().as_millis()
            );
        }
        let (rate, cpu) = measure(&ledger, &body, waiting, Duration::from_secs(seconds))?;
        println!(
            "append_rate waiting={waiting} body={} rps={rate:.0} cpu_us={cpu:.2}",
            body.len()
        );
        ledger.close();
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
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

fn cpu_seconds() -> Result<f64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)).as_secs_f64()
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
