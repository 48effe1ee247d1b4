//! Packing: the plain bytes of a chunk as zstd frames (RFC 8878).
//!
//! What unpacks them is any zstd: frames follow each other, and the last may be one that is skipped. What looks like noise (archives,
//! pictures, what is encrypted already) is not given to the compressor, which would find nothing: it stands in a frame of its own as it is.

use std::io::{self, Cursor, Write as _};

/// Level 1: recording must keep up with a tunnel, and terminals are small.
const LEVEL: i32 = 1;
/// The compressor looks 64 KiB back and packs 64 KiB at once: half of what it does by itself, and a sixth cheaper.
const WINDOW: u32 = 16;
/// The magic number of a frame (RFC 8878 §3.1.1).
const FRAME: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// One segment, whose length stands in four bytes (§3.1.1.1.1).
const LENGTH_IN_FOUR: u8 = 0xa0;
/// No block is longer (§3.1.1.2.3).
const LONGEST_BLOCK: usize = 128 << 10;
/// The magic number of a frame that is skipped (§3.1.2), and behind it the length of what is skipped.
const SKIPPED: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();
const SKIPPED_HEADER: usize = 8;
/// What is looked at to tell noise from the rest.
const STEP: usize = 16 << 10;
/// Less noise at once is not worth a frame.
const LEAST_NOISE: usize = 2 * STEP;
/// Of so many bytes, so many are looked at.
const SAMPLED_EVERY: usize = 128;
const SAMPLE: usize = 8;
/// Pairs of equal bytes among those that are looked at. Of 1,024 even ones there are 2,046, give or take 45; of base64 four times as many.
const MOST_PAIRS: u32 = 2_300;
/// More than the headers of a frame and of its blocks need, for each step.
const HEADERS: usize = 64;

pub(super) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.window_log(WINDOW)?;
        Ok(Self { compressor })
    }

    /// No packed bytes are more.
    pub(super) fn bound(plain: usize) -> usize {
        let frames = (plain / STEP).saturating_add(1);
        zstd::zstd_safe::compress_bound(plain).saturating_add(frames.saturating_mul(HEADERS))
    }

    /// Packs `plain` into the beginning of `into`; how many bytes it has become. None where it cannot be.
    pub(super) fn pack(&mut self, mut plain: &[u8], into: &mut [u8]) -> Option<usize> {
        let mut length = 0_usize;
        while !plain.is_empty() {
            let (is_noise, bytes) = next_run(plain);
            let (run, rest) = plain.split_at_checked(bytes).unwrap_or((plain, &[]));
            let place = into.get_mut(length..)?;
            let packed = if is_noise {
                as_it_is(run, place)?
            } else {
                self.compressor.compress_to_buffer(run, place).ok()?
            };
            length = length.checked_add(packed)?;
            plain = rest;
        }
        Some(length)
    }
}

/// Whether `plain` begins with noise, and how much of it is the same.
fn next_run(plain: &[u8]) -> (bool, usize) {
    let (mut end, mut noise) = (0_usize, 0_usize);
    for step in plain.chunks(STEP) {
        if looks_like_noise(step) {
            noise = noise.saturating_add(step.len());
            if end > 0 && noise >= LEAST_NOISE {
                return (false, end);
            }
        } else if end == 0 && noise >= LEAST_NOISE {
            return (true, noise);
        } else {
            end = end.saturating_add(noise).saturating_add(step.len());
            noise = 0;
        }
    }
    if end == 0 && noise >= LEAST_NOISE {
        (true, noise)
    } else {
        (false, plain.len())
    }
}

/// Whether bytes here and there are spread as evenly as those of noise. A guess: it may cost room on the disk and nothing else.
fn looks_like_noise(step: &[u8]) -> bool {
    if step.len() < STEP {
        return false;
    }
    let (mut counts, mut pairs) = ([0_u16; 256], 0_u32);
    for sample in step.chunks(SAMPLED_EVERY) {
        // Not one of each: what has columns would be all alike.
        for byte in sample.iter().take(SAMPLE) {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                pairs = pairs.saturating_add(u32::from(*count));
                *count = count.saturating_add(1);
            }
        }
    }
    pairs < MOST_PAIRS
}

/// A frame that holds `run` as it is; how long it is.
fn as_it_is(run: &[u8], into: &mut [u8]) -> Option<usize> {
    let mut out = Cursor::new(into);
    out.write_all(&FRAME).ok()?;
    out.write_all(&[LENGTH_IN_FOUR]).ok()?;
    out.write_all(&u32::try_from(run.len()).ok()?.to_le_bytes()).ok()?;
    let mut blocks = run.chunks(LONGEST_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        // The length, two bits of the kind (0: as it is), and one for the last (§3.1.1.2).
        let is_last = u32::from(blocks.peek().is_none());
        let [low, middle, high, _] = (u32::try_from(block.len()).ok()? << 3 | is_last).to_le_bytes();
        out.write_all(&[low, middle, high]).ok()?;
        out.write_all(block).ok()?;
    }
    usize::try_from(out.position()).ok()
}

/// So many bytes at least [`fill`] takes to reach the next multiple of `block` from `length`; none where it stands there already.
pub(super) fn gap(length: u64, block: usize) -> usize {
    let block = u64::try_from(block).unwrap_or(1).max(1);
    let short = length
        .checked_next_multiple_of(block)
        .unwrap_or(length)
        .saturating_sub(length);
    let short = usize::try_from(short).unwrap_or_default();
    if (1..SKIPPED_HEADER).contains(&short) {
        short.saturating_add(usize::try_from(block).unwrap_or_default())
    } else {
        short
    }
}

/// Makes all of `into` one frame that is skipped. Into less than a frame's header nothing fits, as [`gap`] knows.
pub(super) fn fill(into: &mut [u8]) -> Option<()> {
    if into.is_empty() {
        return Some(());
    }
    let (header, skipped) = into.split_first_chunk_mut::<SKIPPED_HEADER>()?;
    let (magic, length) = header.split_first_chunk_mut::<4>()?;
    *magic = SKIPPED;
    length.copy_from_slice(&u32::try_from(skipped.len()).ok()?.to_le_bytes());
    skipped.fill(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2) + 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let mut out: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
        out.truncate(length);
        out
    }

    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut room = vec![0xff; Packer::bound(plain.len())];
        let packed = Packer::new().unwrap().pack(plain, &mut room).unwrap();
        room.truncate(packed);
        room
    }

    #[test]
    fn noise_stands_as_it_is_and_lines_between_it_are_packed() {
        let line = b"GET /api/v1/namespaces/default/pods 200
"
        .repeat(2_000);
        let plain = [&line, &noise(300_000, 1), &line, &noise(20_000, 2), &line]
            .map(Vec::as_slice)
            .concat();
        let packed = pack(&plain);
        assert!((300_000..350_000).contains(&packed.len()), "{}", packed.len());
        assert_eq!(zstd::bulk::decompress(&packed, plain.len()).unwrap(), plain);
        let lengths: Vec<_> = [300_000, 20_000, 10]
            .into_iter()
            .map(|length| next_run(&noise(length, 3)))
            .collect();
        assert_eq!(lengths, [(true, 300_000 / STEP * STEP), (false, 20_000), (false, 10)]);
    }

    #[test]
    fn what_has_a_shape_is_no_noise() {
        let letters = |letters: &[u8]| -> Vec<u8> {
            let places = noise(STEP, 4).into_iter().map(usize::from);
            places.map(|place| letters[place % letters.len()]).collect()
        };
        let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let numbers: Vec<u8> = (0..4096_u32).flat_map(|number| (number * 77).to_be_bytes()).collect();
        for shaped in [letters(base64), letters(b"0123456789abcdef"), vec![0; STEP], numbers] {
            assert!(!looks_like_noise(&shaped));
        }
        for seed in 0..100 {
            assert!(looks_like_noise(&noise(STEP, seed)), "{seed}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_and_filled_up_is_unpacked(
            runs in prop::collection::vec((any::<bool>(), 0..80_000_usize, 0..1000_u64), 1..6),
            start in 0..10_000_u64,
        ) {
            let runs = runs.into_iter().map(|(is_noise, length, seed)| match is_noise {
                true => noise(length, seed),
                false => seed.to_string().into_bytes().into_iter().cycle().take(length).collect(),
            });
            let plain: Vec<u8> = runs.flatten().collect();
            let mut packed = pack(&plain);
            let gap = gap(start + packed.len() as u64, 4096);
            let at = packed.len();
            packed.resize(at + gap, 0xff);
            prop_assert_eq!((start + packed.len() as u64) % 4096, 0);
            fill(&mut packed[at..]).unwrap();
            prop_assert_eq!(zstd::bulk::decompress(&packed, plain.len()).unwrap(), plain);
        }
    }
}
