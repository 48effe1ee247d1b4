//! Forgeries of a ledger, from a flipped bit to a careful hand that computes everything anew, so that tests and
//! `cargo xtask soak tamper` show which of them the verifier finds, and where.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use model::time::Timestamp;

use super::{Rng, SimDisk};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::frame::{Frame, FrameKind, read_frame, write_frame};
use crate::note::{Algorithm, KeyName, Note, Signer as _, SigningKey};
use crate::queue::Part;
use crate::segment::{Footer, Header, hashes_name, parse_segment_name, segment_name};
use crate::tree::{Frontier, leaf_hash};
use crate::verify::{Fault, Report, Trust, verify};
use crate::{Ledger, Options, Reader};

/// What is done to a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its name; `Tampering::words` says it")]
pub enum Tampering {
    Flip,
    FlipWithChecksum,
    Zero,
    Drop,
    DropRenumbered,
    Insert,
    InsertRenumbered,
    Swap,
    SwapRenumbered,
    FrameOfAnotherKind,
    DropPart,
    CutTail,
    DropSegment,
    ReplaySegment,
    Header,
    Footer,
    Checkpoint,
    Resign,
    Fork,
    RewriteAll,
    StaleCopy,
}

impl Tampering {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Flip,
        Self::FlipWithChecksum,
        Self::Zero,
        Self::Drop,
        Self::DropRenumbered,
        Self::Insert,
        Self::InsertRenumbered,
        Self::Swap,
        Self::SwapRenumbered,
        Self::FrameOfAnotherKind,
        Self::DropPart,
        Self::CutTail,
        Self::DropSegment,
        Self::ReplaySegment,
        Self::Header,
        Self::Footer,
        Self::Checkpoint,
        Self::Resign,
        Self::Fork,
        Self::RewriteAll,
        Self::StaleCopy,
    ];

    /// What it does, for a person.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Flip => "a bit of a record is flipped",
            Self::FlipWithChecksum => "a record is changed and its checksum made anew",
            Self::Zero => "a record is overwritten with zeros",
            Self::Drop => "a record is cut out",
            Self::DropRenumbered => "a record is cut out, numbers and hashes of all later ones made anew",
            Self::Insert => "a record is put in twice",
            Self::InsertRenumbered => "a record is put in, numbers and hashes of all later ones made anew",
            Self::Swap => "two records change places",
            Self::SwapRenumbered => "two records change places and numbers",
            Self::FrameOfAnotherKind => "a frame says another kind than its leaf",
            Self::DropPart => "a part is cut out",
            Self::CutTail => "the last records are cut off",
            Self::DropSegment => "a segment is taken away",
            Self::ReplaySegment => "an older state of the last segment is put back",
            Self::Header => "a segment's header is made up",
            Self::Footer => "a segment's footer is made up",
            Self::Checkpoint => "a checkpoint's root is changed",
            Self::Resign => "all is rewritten and signed by another key",
            Self::Fork => "the key signs a second root for one size",
            Self::RewriteAll => "a record is changed and everything but signatures computed anew",
            Self::StaleCopy => "the whole folder is put back to an older state",
        }
    }
}

/// A ledger with what its owner keeps elsewhere.
#[derive(Debug)]
pub struct Specimen {
    disk: SimDisk,
    older: SimDisk,
    key: SigningKey,
    /// The newest checkpoint, as a witness would have it.
    remembered: Note,
    sizes: Vec<u64>,
}

/// What a round showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Found where it was done.
    Located,
    /// Found, and said to be elsewhere.
    Misplaced(String),
    /// Not found.
    Missed,
}

/// How often each kind was tried, found where it was, found elsewhere and missed.
#[derive(Clone, Debug, Default)]
pub struct TamperReport {
    /// By kind: rounds, located, found elsewhere, missed.
    pub kinds: BTreeMap<Tampering, [u64; 4]>,
    /// The first round that was not located: its seed, its kind, and what the verifier said.
    pub first_failure: Option<(u64, Tampering, String)>,
    /// Ledgers that were not tampered with, and what was wrongly found in them.
    pub untouched: u64,
    /// Findings in ledgers that were left as they were.
    pub false_alarms: u64,
}

impl TamperReport {
    /// The sum of a column of [`TamperReport::kinds`].
    fn sum(&self, column: usize) -> u64 {
        self.kinds.values().filter_map(|counts| counts.get(column)).sum()
    }

    /// Rounds in all.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.sum(0)
    }

    /// Forgeries that were not found.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.sum(3)
    }

    /// Forgeries that were found and said to be elsewhere.
    #[must_use]
    pub fn misplaced(&self) -> u64 {
        self.sum(2)
    }
}

/// Forges `rounds` times, each kind in turn, at places that follow from the seed.
#[must_use]
pub fn tamper_rounds(seed: u64, rounds: u64) -> TamperReport {
    let mut report = TamperReport::default();
    let kinds = u64::try_from(Tampering::ALL.len()).unwrap_or(1);
    let mut specimen = Specimen::new(seed);
    for round in 0..rounds {
        if round % (kinds * 8) == 0 {
            specimen = Specimen::new(seed.wrapping_add(round));
            report.untouched += 1;
            let found = specimen.check(&specimen.disk, &[]).findings.len();
            report.false_alarms += u64::try_from(found).unwrap_or(u64::MAX);
        }
        let kind = Tampering::ALL
            .iter()
            .cycle()
            .nth(usize::try_from(round % kinds).unwrap_or(0))
            .copied()
            .unwrap_or(Tampering::Flip);
        let of_round = seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (outcome, said) = specimen.round(kind, &mut Rng::new(of_round));
        let counts = report.kinds.entry(kind).or_default();
        let column = match outcome {
            Outcome::Located => 1,
            Outcome::Misplaced(_) => 2,
            Outcome::Missed => 3,
        };
        for at in [0, column] {
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        if column != 1 && report.first_failure.is_none() {
            report.first_failure = Some((of_round, kind, said));
        }
    }
    report
}

impl Specimen {
    /// Writes a ledger of several segments, with parts, restarts and checkpoints all along, by the ledger itself.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let name = KeyName::new("audit.example/specimen").unwrap_or_else(|_| unreachable_name());
        let key = SigningKey::generate(name, Algorithm::Ed25519).unwrap_or_else(|_| unreachable_name());
        let (mut sizes, mut notes) = (Vec::new(), String::new());
        let (mut older, mut newest) = (disk.copy(seed), None);
        for run in 0..3 {
            let options = options();
            let Ok((ledger, _)) = Ledger::open_by_hand(Path::new("specimen"), options, Arc::new(disk.clone())) else {
                break;
            };
            for record in 0..60 + rng.below(60) {
                append(&ledger, &mut rng);
                if record % 16 == 0 {
                    let note = signed(&ledger, &key);
                    sizes.push(ledger.durable().size);
                    notes.push_str(&note.to_string());
                }
            }
            ledger.close();
            if run == 1 {
                older = with_heads(&disk, &notes, seed);
            }
            let note = signed(&ledger, &key);
            sizes.push(ledger.durable().size);
            notes.push_str(&note.to_string());
            newest = Some(note);
        }
        Self {
            disk: with_heads(&disk, &notes, seed),
            older,
            key,
            remembered: newest.unwrap_or_else(unreachable_name),
            sizes,
        }
    }

    fn check(&self, disk: &SimDisk, remembered: &[Note]) -> Report {
        let trust = Trust {
            keys: vec![self.key.key().clone()],
            remembered: remembered.to_vec(),
        };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        verify(&disk, &trust, 1, &|_| {}).unwrap_or_default()
    }

    fn round(&self, kind: Tampering, rng: &mut Rng) -> (Outcome, String) {
        let forged = self.disk.copy(rng.next_u64());
        let hand = Hand::new(&forged);
        let Some(target) = hand.forge(kind, self, rng) else {
            return (Outcome::Missed, "the forgery could not be made".to_owned());
        };
        let forged = if kind == Tampering::StaleCopy {
            self.older.copy(1)
        } else {
            forged
        };
        // What a copy that was put back whole cannot show by itself, somebody else has to remember.
        let remembered: &[Note] = match kind {
            Tampering::StaleCopy => std::slice::from_ref(&self.remembered),
            _ => &[],
        };
        let report = self.check(&forged, remembered);
        let said = report
            .findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        (self.judge(kind, target, &report, &said), said)
    }

    /// Whether a finding names the place. Where everything was computed anew, the span between two signed sizes is all that
    /// can be known.
    fn judge(&self, kind: Tampering, target: u64, report: &Report, said: &str) -> Outcome {
        if report.findings.is_empty() {
            // A strange key's signature is no finding; that nothing is proved is.
            let is_seen = kind == Tampering::Resign && !report.is_proved();
            return if is_seen { Outcome::Located } else { Outcome::Missed };
        }
        let below = self
            .sizes
            .iter()
            .rev()
            .find(|&&size| size <= target)
            .copied()
            .unwrap_or(0);
        let above = self
            .sizes
            .iter()
            .find(|&&size| size > target)
            .copied()
            .unwrap_or(u64::MAX);
        let is_located = report.findings.iter().any(|finding| match (&finding.fault, kind) {
            (Fault::Root { .. }, Tampering::RewriteAll) => finding.records == (below..above),
            (Fault::Fork { size }, Tampering::Fork) => *size == target,
            (Fault::Signature(_), Tampering::Checkpoint | Tampering::Fork | Tampering::Resign) => true,
            (Fault::Cut { have, .. }, _) => *have == target,
            _ => finding.records.start <= target && target <= finding.records.end,
        });
        if is_located {
            Outcome::Located
        } else {
            Outcome::Misplaced(said.to_owned())
        }
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        clock: Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000)),
        boot: Arc::from("b1"),
        ..Options::default()
    }
}

fn append(ledger: &Ledger, rng: &mut Rng) {
    let id = rng.next_u64();
    let (mut parts, mut commits) = (Vec::new(), String::new());
    if rng.one_in(3) {
        let bytes = (0..1 + rng.len(200)).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        parts.push(Part { bytes });
        commits = ",\"parts\":[{\"name\":\"query\"}]".to_owned();
    }
    let body = format!(
        "{{\"id\":\"{id:016x}\",\"note\":\"{}\"{commits}}}",
        "n".repeat(rng.len(900))
    );
    let taken = ledger.append(RecordKind::Access, body.into_bytes(), parts);
    ledger.drive();
    drop(taken);
}

fn signed(ledger: &Ledger, key: &SigningKey) -> Note {
    let head = ledger.durable();
    let checkpoint = Checkpoint {
        origin: key.key().name().as_str().to_owned(),
        size: head.size,
        root: head.root,
    };
    sign(&checkpoint, key)
}

fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> Note {
    let mut note = Note::new(checkpoint.to_string()).unwrap_or_else(|_| unreachable_name());
    // The key is in memory and signs whatever it is given.
    let _ = note.sign(key, 0);
    note
}

fn with_heads(disk: &SimDisk, notes: &str, seed: u64) -> SimDisk {
    let copy = disk.copy(seed);
    copy.put(&format!("{:020}.checkpoints", 0), notes.as_bytes());
    copy
}

/// The names and texts above are constants that a test reads once.
#[expect(
    clippy::panic,
    reason = "a specimen that cannot be made is a broken test, and no part of a release"
)]
fn unreachable_name<T>() -> T {
    panic!("the specimen's own constants are wrong")
}

/// A segment taken apart.
#[derive(Clone, Debug)]
struct Pieces {
    header: Header,
    frames: Vec<Piece>,
    is_sealed: bool,
}

#[derive(Clone, Debug)]
struct Piece {
    kind: FrameKind,
    starts_batch: bool,
    seq: u64,
    body: Vec<u8>,
}

/// Whoever can write all files.
struct Hand<'a> {
    disk: &'a SimDisk,
    segments: Vec<Pieces>,
}

impl<'a> Hand<'a> {
    fn new(disk: &'a SimDisk) -> Self {
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
    fn leaves(&self) -> Vec<(usize, usize)> {
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

    /// Does it; returns the record (or size) that it was done to.
    fn forge(mut self, kind: Tampering, specimen: &Specimen, rng: &mut Rng) -> Option<u64> {
        let leaves = self.leaves();
        let last = leaves.len().checked_sub(2)?;
        // Not the last one: two neighbours are needed, and cutting the end is a kind of its own.
        let chosen = rng.len(last);
        let (&(at, frame), &(next_at, next)) = (leaves.get(chosen)?, leaves.get(chosen + 1)?);
        let seq = u64::try_from(chosen).ok()?;
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
            }
            Tampering::Drop | Tampering::DropRenumbered => {
                self.segments.get_mut(at)?.drop_record(frame);
                self.write(if kind == Tampering::Drop {
                    Anew::Frames
                } else {
                    Anew::Numbers
                });
            }
            Tampering::Insert | Tampering::InsertRenumbered => {
                let copy = self.segments.get(at)?.frames.get(frame)?.clone();
                self.segments.get_mut(at)?.frames.insert(frame + 1, copy);
                self.write(if kind == Tampering::Insert {
                    Anew::Frames
                } else {
                    Anew::Numbers
                });
                return Some(seq + u64::from(kind == Tampering::InsertRenumbered));
            }
            Tampering::Swap | Tampering::SwapRenumbered => {
                let (one, other) = (self.body(at, frame)?, self.body(next_at, next)?);
                if one.2 == other.2 {
                    return self.forge(kind, specimen, rng);
                }
                self.place(at, frame, other)?;
                self.place(next_at, next, one)?;
                self.write(if kind == Tampering::Swap {
                    Anew::Frames
                } else {
                    Anew::Numbers
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
            Tampering::CutTail => return self.cut_tail(rng),
            Tampering::DropSegment | Tampering::ReplaySegment => return self.drop_segment(kind, rng),
            Tampering::Header | Tampering::Footer => return self.make_up(kind, rng),
            Tampering::Checkpoint | Tampering::Fork => return self.second_root(kind, specimen, rng),
            Tampering::StaleCopy => {
                return Reader::open_on(Arc::new(specimen.older.clone()))
                    .ok()
                    .map(|reader| size(&reader));
            }
        }
        Some(seq)
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

    fn drop_part(mut self, rng: &mut Rng) -> Option<u64> {
        let mut parts = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let frames = segment.frames.iter().enumerate();
            parts.extend(
                frames
                    .filter(|(_, piece)| piece.kind == FrameKind::Part)
                    .map(|(frame, piece)| (at, frame, piece.seq)),
            );
        }
        let &(at, frame, seq) = parts.get(rng.len(parts.len()))?;
        self.segments.get_mut(at)?.frames.remove(frame);
        self.write(Anew::Everything);
        Some(seq)
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

    fn drop_segment(self, kind: Tampering, rng: &mut Rng) -> Option<u64> {
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
            return Some(seq);
        }
        let at = rng.len(self.segments.len());
        let first = self.segments.get(at)?.header.first_seq();
        self.disk.remove(&segment_name(first)).ok()?;
        Some(first)
    }

    fn make_up(mut self, kind: Tampering, rng: &mut Rng) -> Option<u64> {
        let at = 1 + rng.len(self.segments.len().checked_sub(1)?);
        if kind == Tampering::Header {
            let segment = self.segments.get_mut(at)?;
            let mut peaks = segment.header.frontier.peaks().to_vec();
            let chosen = rng.len(peaks.len());
            *peaks.get_mut(chosen)?.first_mut()? ^= 1;
            let first = segment.header.first_seq();
            segment.header.frontier = Frontier::from_parts(first, peaks)?;
            self.write(Anew::Frames);
            return Some(first);
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
        Some(footer.next_seq)
    }

    fn second_root(&self, kind: Tampering, specimen: &Specimen, rng: &mut Rng) -> Option<u64> {
        let name = format!("{:020}.checkpoints", 0);
        let text = String::from_utf8(self.disk.bytes(&name)?).ok()?;
        let size = *specimen.sizes.get(rng.len(specimen.sizes.len()))?;
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
        Some(size)
    }

    fn resign(&self, specimen: &Specimen) {
        let name = specimen.key.key().name().clone();
        let Ok(other) = SigningKey::generate(name, Algorithm::Ed25519) else {
            return;
        };
        let (mut frontier, mut notes) = (Frontier::default(), String::new());
        for segment in &self.segments {
            for piece in segment.frames.iter().filter(|piece| piece.kind != FrameKind::Part) {
                frontier.push(leaf_hash(&piece.body));
                if specimen.sizes.contains(&frontier.size()) {
                    let checkpoint = Checkpoint {
                        origin: other.key().name().as_str().to_owned(),
                        size: frontier.size(),
                        root: frontier.root(),
                    };
                    notes.push_str(&sign(&checkpoint, &other).to_string());
                }
            }
        }
        self.disk.put(&format!("{:020}.checkpoints", 0), notes.as_bytes());
    }

    /// Writes the segments back.
    fn write(&mut self, anew: Anew) {
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
enum Anew {
    /// Frames and their checksums.
    Frames,
    /// Also numbers, headers and footers.
    Numbers,
    /// Also the hashes beside the segments: all but signatures.
    Everything,
}

impl Piece {
    fn len(&self) -> usize {
        crate::frame::FRAME_HEADER_LEN + self.body.len()
    }
}

impl Pieces {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, mut at) = Header::decode(bytes)?;
        let mut frames = Vec::new();
        while let Ok(Frame {
            kind,
            starts_batch,
            seq,
            body,
        }) = read_frame(bytes.get(at..)?)
        {
            let piece = Piece {
                kind,
                starts_batch,
                seq,
                body: body.to_vec(),
            };
            at += piece.len();
            frames.push(piece);
        }
        let is_sealed = Footer::decode(bytes.get(at..)?).is_some();
        Some(Self {
            header,
            frames,
            is_sealed,
        })
    }

    /// Where a frame begins and how long it is.
    fn span(&self, frame: usize) -> Option<(usize, usize)> {
        let before: usize = self.frames.iter().take(frame).map(Piece::len).sum();
        Some((self.header.encode().len() + before, self.frames.get(frame)?.len()))
    }

    /// Cuts a leaf out, with its parts.
    fn drop_record(&mut self, frame: usize) {
        let mut from = frame;
        while from > 0
            && self
                .frames
                .get(from - 1)
                .is_some_and(|piece| piece.kind == FrameKind::Part)
        {
            from -= 1;
        }
        self.frames.drain(from..=frame);
    }

    fn renumber(&mut self) {
        let mut seq = self.header.first_seq();
        for piece in &mut self.frames {
            let old = format!("\"seq\":{}", piece.seq);
            piece.seq = seq;
            if let FrameKind::Leaf(_) = piece.kind {
                let leaf = String::from_utf8_lossy(&piece.body).replacen(&old, &format!("\"seq\":{seq}"), 1);
                piece.body = leaf.into_bytes();
                seq += 1;
            }
        }
    }

    /// The file and the hashes beside it; the tree goes on from `frontier`.
    fn encode(&self, frontier: &mut Frontier) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut hashes) = (self.header.encode(), Vec::new());
        for piece in &self.frames {
            write_frame(&mut out, piece.kind, piece.starts_batch, piece.seq, |out| {
                out.extend_from_slice(&piece.body);
            });
            if let FrameKind::Leaf(_) = piece.kind {
                let hash = leaf_hash(&piece.body);
                frontier.push(hash);
                hashes.extend_from_slice(&hash);
            }
        }
        if self.is_sealed {
            let footer = Footer {
                first_seq: self.header.first_seq(),
                next_seq: frontier.size(),
                data_end: u64::try_from(out.len()).unwrap_or(u64::MAX),
                root: frontier.root(),
            };
            out.extend_from_slice(&footer.encode());
        }
        (out, hashes)
    }
}

fn size(reader: &Reader) -> u64 {
    let records = reader.records_from(0).filter_map(Result::ok);
    records.last().map_or(0, |record| record.seq + 1)
}
