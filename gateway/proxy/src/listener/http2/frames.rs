//! The inbound frames of one HTTP/2 connection, seen from outside: nine bytes of each (RFC 9113 §4.1).
//!
//! It decodes no header and owns no stream; h2 does. It sees what h2 does not limit: unfinished prefaces, frames and
//! header blocks, and floods of frames without use. Invariant: its position is always that of h2's own reader.

use std::time::Duration;

use tokio::time::Instant;

/// Follows the frames of a connection from its preface on.
#[derive(Debug)]
pub(crate) struct Frames {
    preface_left: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_len: usize,
    payload_left: usize,
    kind: u8,
    open_block: bool,
    unfinished_since: Option<Instant>,
    settings: Settings,
    streams_opened: u64,
    idle_frames: Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settings {
    None,
    Received,
    Acknowledged,
}

/// Too many frames without use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flood;

impl Frames {
    pub(crate) fn new(idle_frames: u32) -> Self {
        Self {
            preface_left: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_len: 0,
            payload_left: 0,
            kind: 0,
            open_block: false,
            unfinished_since: None,
            settings: Settings::None,
            streams_opened: 0,
            idle_frames: Budget::new(idle_frames),
        }
    }

    /// Follows `bytes` that have just arrived.
    ///
    /// # Errors
    /// [`Flood`] once the budget of frames without use is spent.
    pub(crate) fn advance(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let skipped = self.preface_left.min(bytes.len());
        self.preface_left -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            if self.header_byte(*first) {
                self.frame(now)?;
            }
        }
        self.note_unfinished(now);
        Ok(())
    }

    /// Whether the client has sent its preface and SETTINGS and acknowledged ours.
    pub(crate) fn is_open(&self) -> bool {
        self.preface_left == 0 && self.settings == Settings::Acknowledged
    }

    pub(crate) fn streams_opened(&self) -> u64 {
        self.streams_opened
    }

    /// Since when a frame (other than DATA) or a header block is unfinished.
    pub(crate) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    fn header_byte(&mut self, byte: u8) -> bool {
        if let Some(place) = self.header.get_mut(self.header_len) {
            *place = byte;
        }
        self.header_len = (self.header_len + 1) % FRAME_HEADER_BYTES;
        self.header_len == 0
    }

    fn frame(&mut self, now: Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.kind = kind;
        match kind {
            HEADERS => {
                self.streams_opened += 1;
                self.open_block = flags & END_HEADERS == 0;
            }
            CONTINUATION => self.open_block = flags & END_HEADERS == 0,
            SETTINGS if flags & ACK != 0 => self.settings = Settings::Acknowledged,
            SETTINGS if self.settings == Settings::None => self.settings = Settings::Received,
            DATA if self.payload_left > 0 || flags & END_STREAM != 0 => {}
            // RST_STREAM and WINDOW_UPDATE are needed and are limited by h2 itself.
            RST_STREAM | WINDOW_UPDATE | GO_AWAY => {}
            PING if flags & ACK != 0 => {}
            _ => return self.idle_frames.spend(now),
        }
        Ok(())
    }

    fn note_unfinished(&mut self, now: Instant) {
        let partial_frame = self.header_len > 0 || (self.payload_left > 0 && self.kind != DATA);
        if self.preface_left == 0 && (self.open_block || partial_frame) {
            self.unfinished_since.get_or_insert(now);
        } else {
            self.unfinished_since = None;
        }
    }
}

/// A token bucket: one burst, then a tenth of it per second.
#[derive(Debug)]
struct Budget {
    burst: u32,
    left: u32,
    refilled: Option<Instant>,
}

impl Budget {
    fn new(burst: u32) -> Self {
        Self {
            burst,
            left: burst,
            refilled: None,
        }
    }

    fn spend(&mut self, now: Instant) -> Result<(), Flood> {
        let seconds = now.saturating_duration_since(*self.refilled.get_or_insert(now));
        if seconds >= Duration::from_secs(1) {
            let earned = (u64::from(self.burst) / 10).saturating_mul(seconds.as_secs());
            self.left = self
                .left
                .saturating_add(u32::try_from(earned).unwrap_or(u32::MAX))
                .min(self.burst);
            self.refilled = Some(now);
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }
}

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn opening() -> Vec<u8> {
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, &[]),
            frame(SETTINGS, ACK, &[]),
        ]
        .concat()
    }

    #[tokio::test(start_paused = true)]
    async fn the_position_does_not_depend_on_how_the_bytes_are_split() {
        let bytes = [
            opening(),
            frame(HEADERS, 0, b"abc"),
            frame(CONTINUATION, END_HEADERS, b"de"),
            frame(DATA, 0, b"xyz"),
        ]
        .concat();
        for size in 1..bytes.len() {
            let mut frames = Frames::new(10);
            for piece in bytes.chunks(size) {
                frames.advance(piece, Instant::now()).unwrap();
            }
            assert!(
                frames.is_open() && frames.unfinished_since().is_none() && frames.streams_opened() == 1,
                "{size}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_header_block_and_a_partial_frame_are_unfinished() {
        for bytes in [
            frame(HEADERS, 0, b"abc"),
            vec![0, 0, 5],
            frame(PING, 0, b"12345678")[..12].to_vec(),
        ] {
            let mut frames = Frames::new(10);
            frames.advance(&[opening(), bytes].concat(), Instant::now()).unwrap();
            assert!(frames.unfinished_since().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_use_spend_a_budget_that_refills() {
        let mut frames = Frames::new(20);
        let now = Instant::now();
        frames.advance(&opening(), now).unwrap();
        let pings = frame(PING, 0, b"12345678").repeat(19);
        assert_eq!(frames.advance(&pings, now), Ok(()));
        assert_eq!(frames.advance(&frame(PING, 0, b"12345678").repeat(2), now), Err(Flood));
        assert_eq!(
            frames.advance(&frame(PING, 0, b"12345678").repeat(2), now + Duration::from_secs(1)),
            Ok(())
        );
    }
}
