//! What recording costs where the bytes are carried, and with their sealing: `record_cost mib_per_second=… …`.
//!
//! One thread, pieces of 32 KiB, 1 GiB each, per second of processor time, so that what else runs counts little: lines of a log, noise, the
//! same lines without masking, and the lines recorded, compressed, encrypted and synced. `cargo run --release -p gatescribe-recording --example
//! record_cost`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use model::time::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use recording::tap::{Channel, Event, Way};
use recording::{Chunk, Ended, Head, Kind, Masking, Recorder, Rules, Sealer, SessionKey};
use uuid::Uuid;

const PIECE: usize = 32 << 10;
const TOTAL: usize = 1 << 30;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = text();
    let noise = noise();
    let off = record(&text, Masking::DangerOff, drop_it)?;
    let masked = record(&text, Masking::On, drop_it)?;
    let binary = record(&noise, Masking::On, drop_it)?;
    let folder = tempfile::tempdir()?;
    let session = Uuid::from_u128(1);
    let mut sealer = Sealer::create(folder.path(), session, &SessionKey::new([1; 32]))?;
    let sealed = record(&text, Masking::On, |chunk| sealer.seal(&chunk).map(drop))?;
    println!(
        "record_cost mib_per_second={:.0} binary_mib_per_second={:.0} unmasked_mib_per_second={:.0} sealed_mib_per_second={:.0} sealed_mib={}",
        speed(masked),
        speed(binary),
        speed(off),
        speed(sealed),
        sealer.root().bytes >> 20,
    );
    Ok(())
}

/// Records `TOTAL` bytes that consist of `bytes` again and again; the processor time that it took.
fn record<E>(bytes: &[u8], masking: Masking, mut seal: impl FnMut(Chunk) -> Result<(), E>) -> Result<Duration, E> {
    let rules = Rules {
        masking,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(), rules);
    let begun = processor_time();
    let pieces = bytes.chunks(PIECE).cycle().take(TOTAL / PIECE);
    for (at, bytes) in (0..).zip(pieces) {
        let channel = Channel::Stdout;
        recorder.event(at, Way::Down, Event::Data { channel, bytes });
        while recorder.is_due(at) {
            let Some(chunk) = recorder.take(at) else { break };
            seal(chunk)?;
        }
    }
    let ended = Ended {
        how: "ended".into(),
        why: None,
    };
    for chunk in recorder.finish(u64::MAX, ended) {
        seal(chunk)?;
    }
    Ok(processor_time().saturating_sub(begun))
}

fn drop_it(_: Chunk) -> Result<(), recording::SealError> {
    Ok(())
}

/// What this process has used up.
fn processor_time() -> Duration {
    let used = |usage: nix::sys::resource::Usage| usage.user_time() + usage.system_time();
    let micros = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| used(usage).num_microseconds());
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

fn speed(took: Duration) -> f64 {
    1024.0 / took.as_secs_f64()
}

/// Lines as of a log, without secrets, some MiB.
fn text() -> Vec<u8> {
    let mut out = Vec::new();
    let mut number = 0_u64;
    while out.len() < 8 << 20 {
        let line = format!(
            "2026-11-21T14:03:{:02}.{:06}Z info request handled status=200 path=/api/v1/items/{} bytes={}\n",
            number % 60,
            number % 1_000_000,
            number.wrapping_mul(2_654_435_761) % 100_000,
            number % 4096
        );
        out.extend_from_slice(line.as_bytes());
        number += 1;
    }
    out.truncate(8 << 20);
    out
}

fn noise() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..1 << 20).flat_map(|_| next()).collect()
}

fn head() -> Head {
    Head {
        session: Uuid::from_u128(1),
        kind: Kind::Exec,
        cluster: "bench".into(),
        who: "bench".into(),
        namespace: "default".into(),
        pod: "pod".into(),
        container: None,
        command: Vec::new(),
        terminal: false,
        input_kept: false,
        reason: None,
        started: Timestamp::EPOCH,
    }
}
