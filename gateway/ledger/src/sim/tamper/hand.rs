//! The forger: whoever can write every file, and has no key.

use std::sync::Arc;

use model::event::RecordKind;

use super::Tampering;
use super::judge::Place;
use super::pieces::{Piece, Pieces};
use super::specimen::{Specimen, keep_heads, kept_in, sign};
use crate::Reader;
use crate::checkpoint::Checkpoint;
use crate::disk::Disk as _;
use crate::frame::FrameKind;
use crate::note::{Algorithm, Signer as _, SigningKey};
use crate::parts;
use crate::segment::{Footer, hashes_name, parse_segment_name, segment_name};
use crate::sim::{Rng, SimDisk};
use crate::tree::{Frontier, leaf_hash};
use crate::verify::KEPT;

/// Whoever can write all files.
pub(super) struct Hand<'a> {
    pub(super) disk: &'a SimDisk,
    pub(super) segments: Vec<Pieces>,
}

impl<'a> Hand<'a> {
    pub(super) fn new(disk: &'a SimDisk) -> Self {
        let mut firsts: Vec<u64> = disk
            .list()
            .unwrap_or_default()
            .iter()
            .filter_map(|name| parse_segment_name(name))
            .collect();
        firsts.sort_unstable();
        let segments = firsts
            .iter()
            .filter_map(|&first| Pieces::read(&disk.bytes(&segment_name(first))?))
            .collect();
        Self { disk, segments }
    }

    /// Where the leaves stand: segment and frame.
    pub(super) fn leaves(&self) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let frames = segment.frames.iter().enumerate();
            places.extend(
                frames
                    .filter(|(_, frame)| frame.kind != FrameKind::Part)
                    .map(|(frame, _)| (at, frame)),
            );
        }
        places
    }

    /// Does it; says where.
    pub(super) fn forge(mut self, kind: Tampering, specimen: &Specimen, rng: &mut Rng) -> Option<Place> {
        let leaves = self.leaves();
        let last = leaves.len().checked_sub(2)?;
        // Not the last one: two neighbours are needed, and cutting the end is a kind of its own.
        let chosen = rng.len(last);
        let (&(at, frame), &(next_at, next)) = (leaves.get(chosen)?, leaves.get(chosen + 1)?);
        let seq = u64::try_from(chosen).ok()?;
        let sizes = &specimen.sizes;
        let rest = seq..*sizes.last()?;
        match kind {
            Tampering::Flip | Tampering::Zero => self.overwrite(at, frame, kind, rng)?,
            Tampering::FlipWithChecksum | Tampering::RewriteAll | Tampering::Resign => {
                self.change(at, frame, rng)?;
                if kind == Tampering::FlipWithChecksum {
                    self.write(Anew::Frames);
                } else {
                    self.write(Anew::Everything);
                }
                if kind == Tampering::Resign {
                    self.resign(specimen);
                }
                if kind != Tampering::FlipWithChecksum {
                    return Some(Place::record(seq).or_span(sizes));
                }
            }
            Tampering::Drop | Tampering::DropRenumbered => {
                self.segments.get_mut(at)?.drop_record(frame);
                self.write(anew(kind == Tampering::DropRenumbered));
                if kind == Tampering::DropRenumbered {
                    return Some(Place::records(rest).or_span(sizes));
                }
            }
            Tampering::Insert | Tampering::InsertRenumbered => {
                let copy = self.segments.get(at)?.frames.get(frame)?.clone();
                self.segments.get_mut(at)?.frames.insert(frame + 1, copy);
                self.write(anew(kind == Tampering::InsertRenumbered));
                return Some(match kind {
                    Tampering::Insert => Place::before(seq + 1),
                    _ => Place::records(seq + 1..rest.end.checked_add(1)?).or_span(sizes),
                });
            }
            Tampering::Swap | Tampering::SwapRenumbered => {
                let (one, other) = (self.body(at, frame)?, self.body(next_at, next)?);
                if one.2 == other.2 {
                    return self.forge(kind, specimen, rng);
                }
                self.place(at, frame, other)?;
                self.place(next_at, next, one)?;
                self.write(anew(kind == Tampering::SwapRenumbered));
                let both = Place::record(seq).and(seq + 1);
                return Some(match kind {
                    Tampering::Swap => both,
                    _ => Place::records(seq..seq + 2).or_span(sizes),
                });
            }
            Tampering::FrameOfAnotherKind => {
                let frame = self.segments.get_mut(at)?.frames.get_mut(frame)?;
                let other = RecordKind::ALL.get(rng.len(RecordKind::ALL.len()))?;
                if frame.kind == FrameKind::Leaf(*other) {
                    return self.forge(kind, specimen, rng);
                }
                frame.kind = FrameKind::Leaf(*other);
                self.write(Anew::Frames);
            }
            Tampering::DropPart => return self.drop_part(rng),
            Tampering::ExchangePart | Tampering::SwapParts | Tampering::InsertPart => {
                return self.change_parts(kind, rng);
            }
            Tampering::CutTail => return Some(Place::records(self.cut_tail(rng)?..rest.end).or_cut(sizes)),
            Tampering::DropSegment | Tampering::ReplaySegment => return self.drop_segment(kind, sizes, rng),
            Tampering::Header | Tampering::Footer => return self.make_up(kind, rng),
            Tampering::Checkpoint | Tampering::Fork => return self.second_root(kind, specimen, rng),
            Tampering::StaleCopy => {
                let reader = Reader::open_on(Arc::new(specimen.older.clone())).ok()?;
                let signed = specimen.older_signed..*sizes.last()?;
                return Some(Place::before(size(&reader)).or_within(signed));
            }
            _ => return self.forge_further(kind, (at, frame, seq), specimen, rng),
        }
        Some(Place::record(seq))
    }

    /// Cuts one record out, and gives all later ones their new numbers.
    #[cfg(test)]
    pub(super) fn drop_renumbered(mut self, seq: usize) -> Option<()> {
        let &(at, frame) = self.leaves().get(seq)?;
        self.segments.get_mut(at)?.drop_record(frame);
        self.write(Anew::Numbers);
        Some(())
    }

    /// The first record of the last segment.
    #[cfg(test)]
    pub(super) fn last_first(&self) -> Option<u64> {
        Some(self.segments.last()?.header.first_seq())
    }

    fn overwrite(&self, at: usize, frame: usize, kind: Tampering, rng: &mut Rng) -> Option<()> {
        let segment = self.segments.get(at)?;
        let (from, len) = segment.span(frame)?;
        let name = segment_name(segment.header.first_seq());
        let mut bytes = self.disk.bytes(&name)?;
        if kind == Tampering::Zero {
            bytes.get_mut(from..from + len)?.fill(0);
        } else {
            // The length is left alone half the time: a frame whose end is lost is the harder case.
            let skip = if rng.one_in(2) { 0 } else { 4 };
            *bytes.get_mut(from + skip + rng.len(len - skip))? ^= 1 << rng.below(8);
        }
        self.disk.put(&name, &bytes);
        Some(())
    }

    fn change(&mut self, at: usize, frame: usize, rng: &mut Rng) -> Option<()> {
        let body = &mut self.segments.get_mut(at)?.frames.get_mut(frame)?.body;
        // Behind version, kind and number, which the frame repeats.
        let from = body.windows(6).position(|window| window == b"\"seq\":")? + 6;
        let digits = body.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let at = from + digits;
        let place = at + rng.len(body.len().checked_sub(at)?.checked_sub(2)?) + 1;
        let byte = body.get_mut(place)?;
        *byte = if *byte == b'x' { b'y' } else { b'x' };
        Some(())
    }

    fn body(&self, at: usize, frame: usize) -> Option<(FrameKind, u64, Vec<u8>)> {
        let piece = self.segments.get(at)?.frames.get(frame)?;
        Some((piece.kind, piece.seq, piece.body.clone()))
    }

    fn place(&mut self, at: usize, frame: usize, (kind, seq, body): (FrameKind, u64, Vec<u8>)) -> Option<()> {
        let piece = self.segments.get_mut(at)?.frames.get_mut(frame)?;
        (piece.kind, piece.seq, piece.body) = (kind, seq, body);
        Some(())
    }

    /// Where the parts stand, with the number of their record: all, or those that their leaves bind.
    pub(super) fn parts(&self, only_bound: bool) -> Vec<(usize, usize, u64)> {
        let mut places = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            for (frame, piece) in segment.frames.iter().enumerate() {
                let mut behind = segment.frames.iter().skip(frame);
                let leaf = behind.find(|piece| piece.kind != FrameKind::Part);
                let said = leaf.map_or_else(Vec::new, |leaf| parts::declared(&leaf.body));
                let is_bound = said.iter().any(|part| part.sealed.is_some());
                if piece.kind == FrameKind::Part && (is_bound || !only_bound) {
                    places.push((at, frame, piece.seq));
                }
            }
        }
        places
    }

    fn drop_part(mut self, rng: &mut Rng) -> Option<Place> {
        let parts = self.parts(false);
        let &(at, frame, seq) = parts.get(rng.len(parts.len()))?;
        self.segments.get_mut(at)?.frames.remove(frame);
        self.write(Anew::Everything);
        Some(Place::record(seq))
    }

    /// No leaf changes, so every hash and signature stays as it was.
    fn change_parts(mut self, kind: Tampering, rng: &mut Rng) -> Option<Place> {
        let mut both = None;
        let parts = self.parts(true);
        let &(at, frame, seq) = parts.get(rng.len(parts.len()))?;
        let body = self.segments.get(at)?.frames.get(frame)?.body.clone();
        match kind {
            Tampering::SwapParts => {
                let mut others = parts.iter().filter(|(_, _, other)| *other != seq).cycle();
                let &(other_at, other, other_seq) = others.nth(rng.len(parts.len()))?;
                both = Some(other_seq);
                let others = self.segments.get(other_at)?.frames.get(other)?.body.clone();
                if others == body {
                    return self.change_parts(kind, rng);
                }
                self.segments.get_mut(other_at)?.frames.get_mut(other)?.body = body;
                self.segments.get_mut(at)?.frames.get_mut(frame)?.body = others;
            }
            Tampering::InsertPart => {
                let piece = self.segments.get(at)?.frames.get(frame)?.clone();
                self.segments
                    .get_mut(at)?
                    .frames
                    .insert(frame + usize::from(rng.one_in(2)), piece);
            }
            _ => {
                let changed = &mut self.segments.get_mut(at)?.frames.get_mut(frame)?.body;
                // As long as it was, or not: the frame's checksum is made anew either way.
                match rng.below(3) {
                    0 => changed.push(0),
                    1 if changed.len() > 1 => drop(changed.pop()),
                    _ => *changed.get_mut(rng.len(body.len()))? ^= 1 << rng.below(8),
                }
            }
        }
        self.write(Anew::Everything);
        let place = Place::each([seq].into_iter().chain(both));
        Some(place)
    }

    fn cut_tail(mut self, rng: &mut Rng) -> Option<u64> {
        let segment = self.segments.last_mut()?;
        let leaves = segment
            .frames
            .iter()
            .filter(|piece| piece.kind != FrameKind::Part)
            .count();
        let keep = rng.len(leaves);
        while segment
            .frames
            .iter()
            .filter(|piece| piece.kind != FrameKind::Part)
            .count()
            > keep
        {
            segment.frames.pop();
        }
        while segment.frames.last().is_some_and(|piece| piece.kind == FrameKind::Part) {
            segment.frames.pop();
        }
        segment.is_sealed = rng.one_in(2);
        self.write(Anew::Everything);
        let hand = Hand::new(self.disk);
        u64::try_from(hand.leaves().len()).ok()
    }

    fn drop_segment(self, kind: Tampering, sizes: &[u64], rng: &mut Rng) -> Option<Place> {
        let end = *sizes.last()?;
        if kind == Tampering::ReplaySegment {
            // The last segment as it was after half of its records, not sealed then.
            let segment = self.segments.last()?;
            let name = segment_name(segment.header.first_seq());
            let mut bytes = self.disk.bytes(&name)?;
            let half = segment.frames.iter().position(|piece| piece.kind != FrameKind::Part)?;
            let half = half + (segment.frames.len() - half) / 2;
            let (from, _) = segment.span(half)?;
            let seq = segment.frames.get(half)?.seq;
            bytes.get_mut(from..)?.fill(0);
            self.disk.put(&name, &bytes);
            return Some(Place::records(seq..end).or_cut(sizes));
        }
        let at = rng.len(self.segments.len());
        let first = self.segments.get(at)?.header.first_seq();
        let next = self.segments.get(at + 1).map(|next| next.header.first_seq());
        self.disk.remove(&segment_name(first)).ok()?;
        let place = Place::records(first..next.unwrap_or(end));
        Some(if next.is_none() { place.or_cut(sizes) } else { place })
    }

    fn make_up(mut self, kind: Tampering, rng: &mut Rng) -> Option<Place> {
        let at = 1 + rng.len(self.segments.len().checked_sub(1)?);
        if kind == Tampering::Header {
            let segment = self.segments.get_mut(at)?;
            let mut peaks = segment.header.frontier.peaks().to_vec();
            let chosen = rng.len(peaks.len());
            *peaks.get_mut(chosen)?.first_mut()? ^= 1;
            let first = segment.header.first_seq();
            segment.header.frontier = Frontier::from_parts(first, peaks)?;
            self.write(Anew::Frames);
            return Some(Place::before(first));
        }
        let segment = self.segments.get(at - 1)?;
        let name = segment_name(segment.header.first_seq());
        let mut bytes = self.disk.bytes(&name)?;
        let end = segment.header.encode().len() + segment.frames.iter().map(Piece::len).sum::<usize>();
        let mut footer = Footer::decode(bytes.get(end..)?)?;
        *footer.root.first_mut()? ^= 1;
        let made = footer.encode();
        bytes.get_mut(end..end + made.len())?.copy_from_slice(&made);
        self.disk.put(&name, &bytes);
        Some(Place::before(footer.next_seq))
    }

    fn second_root(&self, kind: Tampering, specimen: &Specimen, rng: &mut Rng) -> Option<Place> {
        let size = *specimen.sizes.get(rng.len(specimen.sizes.len()))?;
        let name = kept_in(self.disk, size);
        let text = String::from_utf8(self.disk.bytes(&name)?).ok()?;
        let made_up = Checkpoint {
            origin: specimen.key.key().name().as_str().to_owned(),
            size,
            root: [u8::try_from(rng.below(256)).ok()?; 32],
        };
        let forged = if kind == Tampering::Fork {
            text + &sign(&made_up, &specimen.key).to_string()
        } else {
            // The root is replaced under the old signature.
            let at = text.find(&format!("\n{size}\n"))? + 2 + size.to_string().len();
            let root = made_up.to_string().lines().nth(2)?.to_owned();
            format!("{}{root}{}", text.get(..at)?, text.get(at + root.len()..)?)
        };
        self.disk.put(&name, forged.as_bytes());
        Some(Place::file(&name))
    }

    fn resign(&self, specimen: &Specimen) {
        let name = specimen.key.key().name().clone();
        let Ok(other) = SigningKey::generate(name, Algorithm::Ed25519) else {
            return;
        };
        let (mut frontier, mut notes) = (Frontier::default(), Vec::new());
        for segment in &self.segments {
            for piece in segment.frames.iter().filter(|piece| piece.kind != FrameKind::Part) {
                frontier.push(leaf_hash(&piece.body));
                if specimen.sizes.contains(&frontier.size()) {
                    let checkpoint = Checkpoint {
                        origin: other.key().name().as_str().to_owned(),
                        size: frontier.size(),
                        root: frontier.root(),
                    };
                    notes.push((frontier.size(), sign(&checkpoint, &other)));
                }
            }
        }
        for name in self.disk.list().unwrap_or_default() {
            if name.ends_with(KEPT) {
                let _ = self.disk.remove(&name);
            }
        }
        keep_heads(self.disk, &notes);
    }

    /// Writes the segments back.
    pub(super) fn write(&mut self, anew: Anew) {
        let mut frontier = Frontier::default();
        for segment in &mut self.segments {
            let old = segment.header.first_seq();
            if anew != Anew::Frames {
                segment.header.frontier = frontier.clone();
                segment.renumber();
            }
            let (bytes, hashes) = segment.encode(&mut frontier);
            let first = segment.header.first_seq();
            let kept = self.disk.bytes(&hashes_name(old));
            if first != old {
                let _ = (
                    self.disk.remove(&segment_name(old)),
                    self.disk.remove(&hashes_name(old)),
                );
            }
            self.disk.put(&segment_name(first), &bytes);
            if anew == Anew::Everything {
                self.disk.put(&hashes_name(first), &hashes);
            } else if let Some(kept) = kept {
                self.disk.put(&hashes_name(first), &kept);
            }
        }
    }
}

/// How much a forger computes anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anew {
    /// Frames and their checksums.
    Frames,
    /// Also numbers, headers and footers.
    Numbers,
    /// Also the hashes beside the segments: all but signatures.
    Everything,
}

fn anew(is_renumbered: bool) -> Anew {
    if is_renumbered { Anew::Numbers } else { Anew::Frames }
}

fn size(reader: &Reader) -> u64 {
    let records = reader.records_from(0).filter_map(Result::ok);
    records.last().map_or(0, |record| record.seq + 1)
}
