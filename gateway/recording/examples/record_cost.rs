//! What recording costs for each byte, stage by stage: `record_cost CONTENT tap_ns=… keep_ns=… …`, and in its last line the whole.
//!
//! One thread, pieces of 16 KiB as TLS brings them, 256 MiB of each content, in nanoseconds of processor time for each byte, so that
//! what else runs counts little. Contents: the file of `bench tunnel` (noise and lines of a log by turns of 64 KiB), each of the two
//! alone, and zeros. `cargo run --release -p gatescribe-recording --example record_cost`.
//!
//! | Stage | What it is | On whose thread |
//! |---|---|---|
//! | `tap` | frames of a WebSocket, masked ones of a client and plain ones of a server, half of the bytes each | the session's |
//! | `keep` | frames made of it, without masking | the session's |
//! | `mask` | the search for secrets | the session's |
//! | `zstd` `aead` `hash` `check` | what the sealer computes: zstd at level 1, which it gives less than all, AES-256-GCM, SHA-256, CRC-32C | one that may block |
//! | `seal` | what sealing takes with all of them, buffers, writing and syncing | one that may block |
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use model::time::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use recording::tap::{Channel, Event, Protocol, Tap, Version, Way};
use recording::{Chunk, Ended, Head, Kind, Masking, Recorder, Rules, SealError, Sealer, SessionKey};
use uuid::Uuid;

const PIECE: usize = 16 << 10;
const BLOCK: usize = 64 << 10;
/// What is measured consists of so many bytes again and again.
const CONTENT: usize = 16 << 20;
const TOTAL: usize = 256 << 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (text, noise) = (text(), noise());
    let blocks = noise.chunks(BLOCK).zip(text.chunks(BLOCK).skip(1)).step_by(2);
    let mixed: Vec<u8> = blocks.flat_map(|(noise, text)| [noise, text].concat()).collect();
    let wanted = std::env::args().nth(1);
    let mut whole = String::new();
    for (name, content) in [
        ("tunnel", &mixed),
        ("text", &text),
        ("noise", &noise),
        ("zeros", &vec![0; CONTENT]),
    ] {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            let (line, sum) = stages(content)?;
            println!("{name:6} {line}");
            whole.push_str(&format!(" {name}_ns={sum:.2}"));
        }
    }
    println!("record_cost{whole}");
    Ok(())
}

/// Nanoseconds for each byte, each stage and all.
fn stages(content: &[u8]) -> Result<(String, f64), Failure> {
    let tap = taps(content)?;
    let kept = record(content, Masking::DangerOff, drop_it)?;
    let masked = record(content, Masking::On, drop_it)?;
    let chunks = chunks(content)?;
    let plain: usize = chunks.iter().map(|chunk| chunk.bytes().len()).sum();
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    let mut packed: Vec<_> = chunks
        .iter()
        .map(|chunk| zstd.compress(chunk.bytes()))
        .collect::<Result<_, _>>()?;
    let mut room = vec![0; 2 << 20];
    let compressed = repeated(plain, || {
        for chunk in &chunks {
            zstd.compress_to_buffer(chunk.bytes(), room.as_mut_slice())?;
        }
        Ok(())
    })?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32])?);
    let encrypted = repeated(plain, || {
        for packed in &mut packed {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let _tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), packed)?;
        }
        Ok(())
    })?;
    let mut seen = 0;
    let hashed = repeated(plain, || {
        seen += packed
            .iter()
            .map(|packed| digest(&SHA256, packed).as_ref().len())
            .sum::<usize>();
        Ok(())
    })?;
    let checked = repeated(plain, || {
        seen = packed
            .iter()
            .fold(seen, |sum, packed| sum ^ crc32c::crc32c(packed) as usize);
        Ok(())
    })?;
    std::hint::black_box(seen);
    let folder = tempfile::tempdir()?;
    let mut sealer = Sealer::create(folder.path(), Uuid::from_u128(1), &SessionKey::new([1; 32]))?;
    let mut sealing = Duration::ZERO;
    record(content, Masking::On, |chunk| {
        let begun = processor_time();
        sealer.seal(&chunk)?;
        sealing += processor_time().saturating_sub(begun);
        Ok::<_, SealError>(())
    })?;
    let sealed = each(sealing, TOTAL);
    let sum = tap + masked + sealed;
    let line = format!(
        "tap_ns={tap:.2} keep_ns={kept:.2} mask_ns={:.2} zstd_ns={compressed:.2} aead_ns={encrypted:.2} hash_ns={hashed:.2} \
         check_ns={checked:.2} seal_ns={sealed:.2} all_ns={sum:.2} sealed={:.2}",
        masked - kept,
        ratio(sealer.root().bytes, TOTAL),
    );
    Ok((line, sum))
}

/// Half of the bytes as a client sends them, half as a server does.
fn taps(content: &[u8]) -> Result<f64, Failure> {
    let half = content.get(..content.len() / 2).unwrap_or_default();
    let (up, down) = (framed(half, 0, true), framed(half, 1, false));
    let (version, base64) = (Version::V5, false);
    let mut tap = Tap::new(Protocol::WebSocketCommand { base64, version }, Vec::new());
    let mut seen = 0;
    let took = repeated(up.len() + down.len(), || {
        for (up, down) in up.chunks(PIECE).zip(down.chunks(PIECE)) {
            for (way, piece) in [(Way::Up, up), (Way::Down, down)] {
                tap.feed(way, piece, &mut |_, event| {
                    if let Event::Data { bytes, .. } = event {
                        seen += bytes.len();
                    }
                })?;
            }
        }
        Ok(())
    });
    std::hint::black_box(seen);
    took
}

/// Messages of 32 KiB as kubectl sends them; the last piece of it ends with a whole one.
fn framed(bytes: &[u8], channel: u8, is_masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for message in bytes.chunks(32 << 10) {
        let length = u64::try_from(message.len() + 1).unwrap_or(u64::MAX);
        out.extend_from_slice(&[0x82, if is_masked { 0xff } else { 0x7f }]);
        out.extend_from_slice(&length.to_be_bytes());
        let key = if is_masked { [1, 2, 3, 4] } else { [0; 4] };
        if is_masked {
            out.extend_from_slice(&key);
        }
        let payload = std::iter::once(&channel).chain(message);
        out.extend(payload.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    out
}

/// What recording `content` once leaves to seal.
fn chunks(content: &[u8]) -> Result<Vec<Chunk>, Failure> {
    let mut chunks = Vec::new();
    pieces(content, content.len(), Masking::On, |chunk| {
        chunks.push(chunk);
        Ok::<_, SealError>(())
    })?;
    Ok(chunks)
}

/// Records `TOTAL` bytes; what was taken for each byte, without `seal`'s own work only where it has none.
fn record<E>(content: &[u8], masking: Masking, seal: impl FnMut(Chunk) -> Result<(), E>) -> Result<f64, E> {
    let begun = processor_time();
    pieces(content, TOTAL, masking, seal)?;
    Ok(each(processor_time().saturating_sub(begun), TOTAL))
}

fn pieces<E>(
    content: &[u8],
    total: usize,
    masking: Masking,
    mut seal: impl FnMut(Chunk) -> Result<(), E>,
) -> Result<(), E> {
    let rules = Rules {
        masking,
        ..Rules::default()
    };
    let mut recorder = Recorder::new(head(), rules);
    let pieces = content.chunks(PIECE).cycle().take(total / PIECE);
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
    recorder.finish(u64::MAX, ended).into_iter().try_for_each(seal)
}

fn drop_it(_: Chunk) -> Result<(), SealError> {
    Ok(())
}

/// Does something with `bytes` until `TOTAL` have passed; processor time for each of them.
fn repeated(bytes: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let times = TOTAL.div_ceil(bytes);
    let begun = processor_time();
    for _ in 0..times {
        work()?;
    }
    Ok(each(processor_time().saturating_sub(begun), times * bytes))
}

/// What this process has used up.
fn processor_time() -> Duration {
    let used = |usage: nix::sys::resource::Usage| usage.user_time() + usage.system_time();
    let micros = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| used(usage).num_microseconds());
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

fn each(took: Duration, bytes: usize) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(u32::try_from(bytes).unwrap_or(u32::MAX))
}

fn ratio(bytes: u64, of: usize) -> f64 {
    let number = |bytes: u64| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    number(bytes) / number(u64::try_from(of).unwrap_or(u64::MAX))
}

/// Lines as of a log, without secrets.
fn text() -> Vec<u8> {
    let (mut out, mut random) = (Vec::with_capacity(CONTENT + 128), random());
    while out.len() < CONTENT {
        let (id, took) = (random() >> 40, random() % 1_000);
        let line = format!(
            "2026-11-21T08:00:00Z level=info msg=\"request served\" path=/api/v1/items/{id} status=200 took={took}ms\n"
        );
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(CONTENT);
    out
}

fn noise() -> Vec<u8> {
    let mut random = random();
    (0..CONTENT / 8).flat_map(|_| random().to_le_bytes()).collect()
}

fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
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
