//! The open chunk, and full ones that wait.
//!
//! Invariant: a chunk has at most `chunk_bytes` and 4 KiB for counts and notes at its end; only a frame that is larger by
//! itself (a head, at most 64 KiB) stands in a chunk beyond that.

use std::collections::VecDeque;

use crate::chunk::{Chunk, VERSION};
use crate::frame::{Frame, Noted, encode, encode_data, put_varint};
use crate::head::{Masking, Rules};
use crate::mask::{Counts, Masker, mask_text};
use crate::tap::{Channel, Way};

/// More than a chunk's beginning and a frame's kind, time, length and channel need.
const OVERHEAD: usize = 64;
/// Below that a chunk would hold nothing but its beginning.
const SMALLEST: usize = 256;
/// Above that [`crate::MAX_PLAIN_BYTES`] would not leave room for notes.
const LARGEST: usize = 1 << 20;

/// A room is not used again for what would fit into it so many times.
const TOO_LARGE: usize = 4;

#[derive(Debug)]
pub(super) struct Writer {
    rules: Rules,
    /// How many bytes a chunk may have.
    limit: usize,
    bytes: Vec<u8>,
    frames: u32,
    /// Number of the next chunk.
    number: u64,
    first_frame: u64,
    from: u64,
    last: u64,
    /// When something first came that is not in a chunk yet.
    since: Option<u64>,
    /// Bytes typed since the last chunk.
    typed: u64,
    ready: VecDeque<Chunk>,
    /// Room of a chunk that is sealed.
    spare: Vec<u8>,
    stdin: Masker,
    stdout: Masker,
    stderr: Masker,
    /// Of messages of another meaning, to the pod and from it.
    messages: [Masker; 2],
    found: Counts,
    masked: u64,
}

impl Writer {
    pub(super) fn new(rules: Rules, found: Counts) -> Self {
        Self {
            rules,
            limit: rules.chunk_bytes.clamp(SMALLEST, LARGEST),
            bytes: Vec::new(),
            frames: 0,
            number: 0,
            first_frame: 0,
            from: 0,
            last: 0,
            since: None,
            typed: 0,
            ready: VecDeque::new(),
            spare: Vec::new(),
            stdin: Masker::default(),
            stdout: Masker::default(),
            stderr: Masker::default(),
            messages: Default::default(),
            found,
            masked: 0,
        }
    }

    /// Secrets that were masked in chunks that are closed or noted.
    pub(super) fn masked(&self) -> u64 {
        self.masked
    }

    /// Masks a text that goes into a frame by itself.
    pub(super) fn mask_text(&mut self, text: &mut [u8]) {
        if self.rules.masking == Masking::On {
            mask_text(text, &mut self.found);
        }
    }

    pub(super) fn is_due(&self, at: u64) -> bool {
        let is_old = |since| at.saturating_sub(since) >= self.rules.chunk_micros;
        !self.ready.is_empty() || self.room() == 0 || self.since.is_some_and(is_old)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.ready
            .iter()
            .fold(self.bytes.len(), |sum, chunk| sum.saturating_add(chunk.bytes.len()))
    }

    pub(super) fn take(&mut self, at: u64) -> Option<Chunk> {
        if self.ready.is_empty() {
            self.flush_notes(at);
            self.close(false);
        }
        self.ready.pop_front()
    }

    pub(super) fn finish(mut self) -> Vec<Chunk> {
        self.close(true);
        self.ready.into()
    }

    /// Something came that the next chunk will tell.
    pub(super) fn touch(&mut self, at: u64) {
        self.since.get_or_insert(at);
    }

    /// Whether [`Writer::take`] would close the open chunk.
    pub(super) fn is_next(&self) -> bool {
        self.ready.is_empty()
    }

    /// What was typed and is not kept.
    pub(super) fn input(&mut self, at: u64, length: u64) {
        self.touch(at);
        self.typed = self.typed.saturating_add(length);
    }

    /// Adds a frame that is no data; such are small, but for the head.
    pub(super) fn frame(&mut self, at: u64, frame: &Frame<'_>) {
        let mut encoded = Vec::new();
        encode(frame, self.after(at), &mut encoded);
        if self.frames > 0 && encoded.len() > self.room() {
            self.roll(at);
            encoded.clear();
            encode(frame, 0, &mut encoded);
        }
        self.begin(at);
        self.bytes.extend_from_slice(&encoded);
        self.count_frame();
    }

    /// Adds bytes of a stream, cut where a chunk is full.
    pub(super) fn data(&mut self, at: u64, way: Way, channel: Channel, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.room() == 0 {
                self.roll(at);
            }
            let after = self.after(at);
            self.begin(at);
            let (piece, behind) = rest.split_at_checked(self.room()).unwrap_or((rest, &[]));
            let start = encode_data(way, channel, piece, after, &mut self.bytes);
            self.mask(way, channel, start);
            self.count_frame();
            rest = behind;
        }
    }

    /// Writes down what was counted and masked since the last time.
    pub(super) fn flush_notes(&mut self, at: u64) {
        let [up, down] = &mut self.messages;
        for masker in [&mut self.stdin, &mut self.stdout, &mut self.stderr, up, down] {
            masker.cut(&mut self.found);
        }
        if self.typed > 0 {
            let counted = Frame::Counted {
                way: Way::Up,
                channel: Channel::Stdin,
                bytes: std::mem::take(&mut self.typed),
            };
            self.append(at, &counted);
        }
        for (secret, count) in self.found.drain() {
            self.masked = self.masked.saturating_add(count);
            let noted = Frame::Note {
                noted: Noted::Masked(secret),
                count,
                text: b"",
            };
            self.append(at, &noted);
        }
    }

    fn append(&mut self, at: u64, frame: &Frame<'_>) {
        let after = self.after(at);
        self.begin(at);
        encode(frame, after, &mut self.bytes);
        self.count_frame();
    }

    fn mask(&mut self, way: Way, channel: Channel, start: usize) {
        let [up, down] = &mut self.messages;
        let masker = match (channel, way) {
            (Channel::Stdin, _) => &mut self.stdin,
            (Channel::Stdout, _) => &mut self.stdout,
            (Channel::Stderr, _) => &mut self.stderr,
            (Channel::Message { .. }, Way::Up) => up,
            (Channel::Message { .. }, Way::Down) => down,
            _ => return,
        };
        if self.rules.masking == Masking::On {
            masker.pass(&mut self.bytes, start, &mut self.found);
        }
    }

    /// Bytes of data that the open chunk may still take.
    fn room(&self) -> usize {
        self.limit
            .saturating_sub(self.bytes.len().max(1).saturating_add(OVERHEAD))
    }

    /// Microseconds since the frame before; none in front of the first of a chunk.
    fn after(&self, at: u64) -> u64 {
        if self.frames == 0 {
            0
        } else {
            at.saturating_sub(self.last)
        }
    }

    /// Writes the chunk's beginning where nothing is in it yet. Time never goes back.
    fn begin(&mut self, at: u64) {
        self.last = at.max(self.last);
        if self.frames > 0 {
            return;
        }
        self.from = self.last;
        self.since.get_or_insert(self.from);
        self.bytes.push(VERSION);
        put_varint(&mut self.bytes, self.first_frame);
        put_varint(&mut self.bytes, self.from);
    }

    fn count_frame(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    fn roll(&mut self, at: u64) {
        self.flush_notes(at);
        self.close(false);
    }

    /// Uses the room of a chunk that is sealed again; see [`Recorder::give_back`](super::Recorder::give_back).
    pub(super) fn give_back(&mut self, mut room: Vec<u8>) {
        room.clear();
        if room.capacity() > self.spare.capacity() {
            self.spare = room;
        }
    }

    /// For as much as the chunk had that is closed. No room that is far larger is kept: a terminal may have been busy once.
    fn next_room(&mut self) -> Vec<u8> {
        let wanted = self.bytes.len().min(self.limit);
        let spare = std::mem::take(&mut self.spare);
        if (wanted..=wanted.saturating_mul(TOO_LARGE)).contains(&spare.capacity()) {
            spare
        } else {
            Vec::with_capacity(wanted)
        }
    }

    fn close(&mut self, is_last: bool) {
        self.since = None;
        if self.frames == 0 {
            return;
        }
        let next = self.next_room();
        let chunk = Chunk {
            number: self.number,
            first_frame: self.first_frame,
            frames: self.frames,
            from_micros: self.from,
            until_micros: self.last,
            is_last,
            bytes: std::mem::replace(&mut self.bytes, next),
        };
        self.number = self.number.saturating_add(1);
        self.first_frame = self.first_frame.saturating_add(self.frames.into());
        self.frames = 0;
        self.ready.push_back(chunk);
    }
}
