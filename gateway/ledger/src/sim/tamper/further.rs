//! The same forger at numbers, lengths, holes and whole files.

use super::hand::{Anew, Hand};
use super::judge::Place;
use super::specimen::{Specimen, kept_in, sign};
use super::{Harmless, Tampering};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk as _;
use crate::leaf;
use crate::note::{Algorithm, KeyName, Note, Signer as _, SigningKey};
use crate::segment::{FOOTER_LEN, Footer, hashes_name, segment_name};
use crate::sim::Rng;
use crate::tree::Frontier;
use crate::verify::NEWEST_CHECKPOINT;

/// A number that is false for this record: near it, far away, or the largest.
fn false_number(seq: u64, rng: &mut Rng) -> u64 {
    let near = 1 + rng.below(9);
    match rng.below(5) {
        0 => seq.saturating_add(near),
        1 => seq.checked_sub(near).unwrap_or(seq + near),
        2 => seq.saturating_add(1 << rng.below(63)),
        3 => u64::MAX - rng.below(2),
        _ => rng.next_u64() | 1 << 40,
    }
}

impl Hand<'_> {
    pub(super) fn forge_further(
        mut self,
        kind: Tampering,
        (at, frame, seq): (usize, usize, u64),
        specimen: &Specimen,
        rng: &mut Rng,
    ) -> Option<Place> {
        match kind {
            Tampering::FalseNumber | Tampering::HugeNumber | Tampering::FalseNumbers => {
                let number = if kind == Tampering::HugeNumber {
                    u64::MAX
                } else {
                    false_number(seq, rng)
                };
                let is_both = kind == Tampering::FalseNumbers || kind == Tampering::HugeNumber && rng.one_in(2);
                let piece = self.segments.get_mut(at)?.frames.get_mut(frame)?;
                piece.seq = number;
                if is_both {
                    piece.body = renumbered(&piece.body, seq, number);
                }
                self.write(Anew::Frames);
                Some(Place::record(seq))
            }
            Tampering::ReplayRecord | Tampering::InsertForeign => self.bring(kind, (at, frame, seq), specimen, rng),
            Tampering::FrameLength | Tampering::FlipPart => self.at_bytes(kind, (at, frame, seq), rng),
            Tampering::DropSeveral => self.drop_several(rng),
            Tampering::Holes => self.punch(rng),
            Tampering::ZeroTail => self.zero_tail(specimen, rng),
            Tampering::BehindFooter | Tampering::HeaderNumber | Tampering::FooterNumber => self.own_words(kind, rng),
            Tampering::DoubleSegment | Tampering::RenameSegment | Tampering::SwapSegments => self.names(kind, rng),
            Tampering::Cosignature => self.cosign(specimen, rng),
            _ => None,
        }
    }

    /// A record of another ledger, with the number that belongs here, or its own.
    fn bring(
        mut self,
        kind: Tampering,
        (at, frame, seq): (usize, usize, u64),
        specimen: &Specimen,
        rng: &mut Rng,
    ) -> Option<Place> {
        let (foreign, body) = specimen.foreign.get(rng.len(specimen.foreign.len()))?.clone();
        let own = leaf::seq_in(&body)?;
        // With the next number it would be in place of the next record, and that one put in.
        let is_own = kind == Tampering::InsertForeign && own != seq + 1 && rng.one_in(2);
        let number = if is_own { own } else { seq };
        let frames = &mut self.segments.get_mut(at)?.frames;
        let mut piece = frames.get(frame)?.clone();
        (piece.kind, piece.seq, piece.body) = (foreign, number, renumbered(&body, own, number));
        let place = if kind == Tampering::ReplayRecord {
            *frames.get_mut(frame)? = piece;
            Place::record(seq)
        } else {
            frames.insert(frame + 1, piece);
            Place::before(seq + 1)
        };
        self.write(Anew::Frames);
        Some(place)
    }

    /// A frame's length, or a bit of a part, where they stand in the file.
    fn at_bytes(self, kind: Tampering, (at, frame, seq): (usize, usize, u64), rng: &mut Rng) -> Option<Place> {
        let (at, frame, seq) = if kind == Tampering::FlipPart {
            let parts = self.parts(false);
            *parts.get(rng.len(parts.len()))?
        } else {
            (at, frame, seq)
        };
        let segment = self.segments.get(at)?;
        let (from, len) = segment.span(frame)?;
        let name = segment_name(segment.header.first_seq());
        let mut bytes = self.disk.bytes(&name)?;
        if kind == Tampering::FlipPart {
            *bytes.get_mut(from + 4 + rng.len(len - 4))? ^= 1 << rng.below(8);
        } else {
            let said = u32::try_from(len - crate::frame::FRAME_HEADER_LEN).ok()?;
            let other = match rng.below(5) {
                0 => 0,
                1 => u32::MAX,
                2 => said + 1 + u32::try_from(rng.below(300)).ok()?,
                3 => said.checked_sub(1 + u32::try_from(rng.below(20)).ok()?)?,
                _ => u32::try_from(rng.next_u64() & 0xffff)
                    .ok()
                    .filter(|other| *other != said)?,
            };
            bytes.get_mut(from..from + 4)?.copy_from_slice(&other.to_le_bytes());
            // Sometimes the checksum is made anew over what is then the frame.
            let end = from + crate::frame::FRAME_HEADER_LEN + usize::try_from(other).ok()?;
            if let (true, Some(covered)) = (rng.one_in(2), bytes.get(from + 8..end)) {
                let sum = crc32c::crc32c_append(crc32c::crc32c(&other.to_le_bytes()), covered);
                bytes.get_mut(from + 4..from + 8)?.copy_from_slice(&sum.to_le_bytes());
            }
        }
        self.disk.put(&name, &bytes);
        Some(Place::record(seq))
    }

    /// Two to five records, wherever they stand.
    fn drop_several(mut self, rng: &mut Rng) -> Option<Place> {
        let leaves = self.leaves();
        let last = leaves.len().checked_sub(1)?;
        let mut chosen: Vec<usize> = (0..2 + rng.len(4)).map(|_| rng.len(last)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        for &leaf in chosen.iter().rev() {
            let &(at, frame) = leaves.get(leaf)?;
            self.segments.get_mut(at)?.drop_record(frame);
        }
        self.write(Anew::Frames);
        Some(Place::each(
            chosen.into_iter().filter_map(|leaf| u64::try_from(leaf).ok()),
        ))
    }

    /// Zeros of up to 600 bytes at one to three places among the records of one segment.
    fn punch(self, rng: &mut Rng) -> Option<Place> {
        let segment = self.segments.get(rng.len(self.segments.len()))?;
        let name = segment_name(segment.header.first_seq());
        let mut bytes = self.disk.bytes(&name)?;
        let whole = bytes.clone();
        let begin = segment.header.encode().len();
        let end = begin + segment.frames.iter().map(super::pieces::Piece::len).sum::<usize>();
        for _ in 0..1 + rng.below(3) {
            let from = begin + rng.len(end - begin);
            bytes.get_mut(from..(from + 1 + rng.len(600)).min(end))?.fill(0);
        }
        let mut hurt = Vec::new();
        for (frame, piece) in segment.frames.iter().enumerate() {
            let (from, len) = segment.span(frame)?;
            if bytes.get(from..from + len) != whole.get(from..from + len) {
                hurt.push(piece.seq);
            }
        }
        // Zeros over zeros are none.
        if hurt.is_empty() {
            return self.punch(rng);
        }
        hurt.dedup();
        self.disk.put(&name, &bytes);
        Some(Place::each(hurt))
    }

    fn zero_tail(self, specimen: &Specimen, rng: &mut Rng) -> Option<Place> {
        let segment = self.segments.last()?;
        let name = segment_name(segment.header.first_seq());
        let mut bytes = self.disk.bytes(&name)?;
        let begin = segment.header.encode().len();
        let end = begin + segment.frames.iter().map(super::pieces::Piece::len).sum::<usize>();
        let from = begin + rng.len(end - begin);
        let place = (0..segment.frames.len()).find(|frame| {
            let span = segment.span(*frame);
            span.is_some_and(|(at, len)| from < at + len)
        });
        let seq = segment.frames.get(place?)?.seq;
        let whole = bytes.clone();
        bytes.get_mut(from..)?.fill(0);
        if bytes == whole {
            return None;
        }
        self.disk.put(&name, &bytes);
        let place = Place::records(seq..*specimen.sizes.last()?);
        if rng.one_in(2) {
            return Some(place);
        }
        // What stands beside it goes, too.
        self.disk.remove(&hashes_name(segment.header.first_seq())).ok()?;
        Some(place.or_cut(&specimen.sizes))
    }

    /// What a segment says of itself.
    fn own_words(self, kind: Tampering, rng: &mut Rng) -> Option<Place> {
        let segment = self.segments.get(rng.len(self.segments.len()))?;
        let first = segment.header.first_seq();
        let name = segment_name(first);
        let mut bytes = self.disk.bytes(&name)?;
        let end = segment.header.encode().len() + segment.frames.iter().map(super::pieces::Piece::len).sum::<usize>();
        let footer = Footer::decode(bytes.get(end..)?)?;
        let place = match kind {
            Tampering::BehindFooter => {
                bytes.truncate(end + FOOTER_LEN);
                bytes.resize(bytes.len() + rng.len(40), 0);
                bytes.push(1 + rng.next_u64().to_le_bytes()[0] % 255);
                Place::before(footer.next_seq)
            }
            Tampering::FooterNumber => {
                let mut forged = footer.clone();
                match rng.below(4) {
                    0 => forged.first_seq = false_number(footer.first_seq, rng),
                    1 => forged.next_seq = false_number(footer.next_seq, rng),
                    2 => forged.data_end = false_number(footer.data_end, rng),
                    _ => (forged.first_seq, forged.next_seq, forged.data_end) = (u64::MAX, u64::MAX, u64::MAX),
                }
                bytes.get_mut(end..end + FOOTER_LEN)?.copy_from_slice(&forged.encode());
                Place::before(footer.next_seq)
            }
            _ => {
                let number = false_number(first, rng);
                let peaks = (0..number.count_ones())
                    .map(|_| [rng.next_u64().to_le_bytes()[0]; 32])
                    .collect();
                let mut header = segment.header.clone();
                header.frontier = Frontier::from_parts(number, peaks)?;
                let old = segment.header.encode().len();
                bytes.splice(..old, header.encode());
                Place::before(first)
            }
        };
        self.disk.put(&name, &bytes);
        Some(place)
    }

    /// Segments under other names than theirs.
    fn names(self, kind: Tampering, rng: &mut Rng) -> Option<Place> {
        let firsts: Vec<u64> = self.segments.iter().map(|segment| segment.header.first_seq()).collect();
        let at = rng.len(firsts.len());
        let first = *firsts.get(at)?;
        let bytes = self.disk.bytes(&segment_name(first))?;
        if kind == Tampering::SwapSegments {
            let other = *firsts
                .iter()
                .filter(|other| **other != first)
                .nth(rng.len(firsts.len() - 1))?;
            let others = self.disk.bytes(&segment_name(other))?;
            self.disk.put(&segment_name(first), &others);
            self.disk.put(&segment_name(other), &bytes);
            let (one, two) = (first.min(other), first.max(other));
            return Some(Place::before(one).and_before(two));
        }
        let name = (0..9)
            .map(|_| false_number(first, rng))
            .find(|name| !firsts.contains(name))?;
        self.disk.put(&segment_name(name), &bytes);
        if kind == Tampering::RenameSegment {
            self.disk.remove(&segment_name(first)).ok()?;
            return Some(Place::before(first));
        }
        // Which of the two is the surplus one nobody can say: it stands where the segment does, or behind it.
        let next = firsts.get(at + 1).copied();
        let end = next.or_else(|| self.segments.get(at)?.frames.last().map(|last| last.seq + 1))?;
        Some(Place::before(first).and_before(end))
    }

    /// A witness's signature of another text.
    fn cosign(self, specimen: &Specimen, rng: &mut Rng) -> Option<Place> {
        let size = *specimen.sizes.get(rng.len(specimen.sizes.len()))?;
        let name = kept_in(self.disk, size);
        let text = String::from_utf8(self.disk.bytes(&name)?).ok()?;
        let mut other = Note::new(format!("audit.example/specimen\n{size}\nAAAA\n")).ok()?;
        other.sign(&specimen.witness, 1).ok()?;
        let forged = other.signatures().first()?;
        // Behind the signature of the checkpoint of this size.
        let begin = text.find(&format!("\n{size}\n"))?;
        let signature = begin + text.get(begin..)?.find("\u{2014} ")?;
        let at = signature + text.get(signature..)?.find('\n')? + 1;
        let forged = format!("{}{forged}\n{}", text.get(..at)?, text.get(at..)?);
        self.disk.put(&name, forged.as_bytes());
        Some(Place::file(&name))
    }

    /// The record that says that the key changes.
    pub(super) fn change_of_key(mut self, record: u64, sizes: &[u64], rng: &mut Rng) -> Option<Place> {
        let &(at, frame) = self.leaves().get(usize::try_from(record).ok()?)?;
        if rng.one_in(4) {
            self.segments.get_mut(at)?.drop_record(frame);
            self.write(Anew::Frames);
            return Some(Place::record(record));
        }
        let body = &mut self.segments.get_mut(at)?.frames.get_mut(frame)?.body;
        let from = body.windows(7).position(|window| window == b"\"key\":{")?;
        let place = from + rng.len(body.len() - from - 2);
        let byte = body.get_mut(place)?;
        *byte = if *byte == b'x' { b'y' } else { b'x' };
        if rng.one_in(2) {
            self.write(Anew::Frames);
            return Some(Place::record(record));
        }
        self.write(Anew::Everything);
        Some(Place::record(record).or_span(sizes))
    }

    /// What touches nothing that was signed.
    pub(super) fn harmless(mut self, what: Harmless, specimen: &Specimen, rng: &mut Rng) -> Option<()> {
        let size = *specimen.sizes.get(rng.len(specimen.sizes.len() - 1))?;
        match what {
            Harmless::Hashes => {
                let first = self.segments.get(rng.len(self.segments.len()))?.header.first_seq();
                let name = hashes_name(first);
                let mut bytes = self.disk.bytes(&name)?;
                match rng.below(3) {
                    0 => {
                        let at = rng.len(bytes.len());
                        *bytes.get_mut(at)? ^= 1;
                    }
                    1 => {
                        let len = rng.len(bytes.len());
                        bytes.truncate(len);
                    }
                    _ => bytes.extend_from_slice(&[7; 64]),
                }
                self.disk.put(&name, &bytes);
            }
            Harmless::Rest => {
                self.segments.last_mut()?.is_sealed = false;
                self.write(Anew::Frames);
                let name = segment_name(self.segments.last()?.header.first_seq());
                let mut bytes = self.disk.bytes(&name)?;
                bytes.resize(bytes.len() + 1 + rng.len(4_000), 0);
                bytes.push(1 << rng.below(8));
                self.disk.put(&name, &bytes);
            }
            Harmless::OlderCheckpoint => {
                let checkpoint = self.note_of(size)?;
                self.disk.put(NEWEST_CHECKPOINT, checkpoint.as_bytes());
            }
            Harmless::OtherLog => {
                let name = KeyName::new("audit.example/other").ok()?;
                let key = SigningKey::generate(name, Algorithm::Ed25519).ok()?;
                let checkpoint = Checkpoint {
                    origin: key.key().name().as_str().to_owned(),
                    size,
                    root: [9; 32],
                };
                let note = sign(&checkpoint, &key).to_string();
                self.disk.put(NEWEST_CHECKPOINT, note.as_bytes());
            }
            Harmless::FewerCheckpoints => {
                let name = kept_in(self.disk, size);
                let text = String::from_utf8(self.disk.bytes(&name)?).ok()?;
                let left = text.replacen(&self.note_of(size)?, "", 1);
                self.disk.put(&name, left.as_bytes());
            }
        }
        Some(())
    }

    /// The checkpoint of this size, as it is kept.
    fn note_of(&self, size: u64) -> Option<String> {
        let text = String::from_utf8(self.disk.bytes(&kept_in(self.disk, size))?).ok()?;
        let middle = text.find(&format!("\n{size}\n"))?;
        let begin = text.get(..middle)?.rfind('\n').map_or(0, |at| at + 1);
        let signature = middle + text.get(middle..)?.find("\u{2014} ")?;
        let end = signature + text.get(signature..)?.find('\n')? + 1;
        text.get(begin..end).map(str::to_owned)
    }
}

/// The leaf with another number.
fn renumbered(body: &[u8], old: u64, new: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    text.replacen(&format!("\"seq\":{old}"), &format!("\"seq\":{new}"), 1)
        .into_bytes()
}
