//! Reads a segment in which everything stands where it belongs, each byte once: its pieces are smaller than a core's own cache, and all that is asked of a
//! frame (checksum, number, leaf, parts, hash, tree) is asked while its bytes are there.
//!
//! At the first thing that is otherwise it gives up and does not say what that is; whoever asked then reads the whole segment (`segment`), which goes
//! on behind damage and says where it is. So this may be too strict, never too lenient: what it takes for whole has to be whole.

use model::event::RecordKind;

use super::FILE_MAX;
use super::heads::Head;
use super::segment::{Calls, Examined, Following};
use super::turns::Told;
use crate::disk::{DiskFile, read_range};
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameError, FrameKind, MAX_PART_LEN, read_frame};
use crate::options::to_u64;
use crate::parts;
use crate::queue::Part;
use crate::segment::{FOOTER_LEN, FOOTER_MAGIC, Footer, Header};
use crate::tree::{Hash, leaf_hash, leaf_hash_behind_zero};

/// Bytes that are read at once: a quarter of what a core's own cache has.
const PIECE: usize = 256 << 10;
/// Both ends of a copy out of the kernel's memory begin at a page: it takes longer where they do not.
const PAGE: usize = 4096;
/// What is left over of a piece is put before the next one, and is shorter than the longest frame.
const LEFT_OVER: usize = (FRAME_HEADER_LEN + MAX_PART_LEN).next_multiple_of(PAGE);
/// Parts of one record that are remembered until their leaf comes.
const PARTS_MAX: usize = 4096;

/// Where pieces are put, one segment's after the other's: a new buffer is a page fault for each page.
#[derive(Debug, Default)]
pub(super) struct Room {
    piece: Vec<u8>,
    /// A whole segment, where that is needed.
    pub(super) whole: Vec<u8>,
    /// The segment before was not as its writer left it. So the next one may not be either, and is not read twice to see.
    pub(super) is_doubtful: bool,
}

impl Room {
    /// The buffer, and where pieces begin in it.
    fn for_pieces(&mut self) -> (&mut [u8], usize) {
        self.piece.resize(LEFT_OVER + PIECE + PAGE, 0);
        let to_page = self.piece.as_ptr().align_offset(PAGE).min(PAGE);
        (&mut self.piece, LEFT_OVER + to_page)
    }
}

/// A segment that is as its writer left it: what it holds, and where its records lead to.
pub(super) struct Straight<'h> {
    pub(super) examined: Examined,
    pub(super) following: Following<'h>,
    /// The root that its footer says.
    pub(super) root: Hash,
    /// Digests of the parts that stand before the leaf to come.
    parts: Vec<String>,
}

/// How far the bytes at hand were taken.
enum Taken {
    /// So many of them: what follows is not all there yet.
    Up(usize),
    /// All, and a footer ends there.
    End,
    /// To something that does not belong there.
    Otherwise,
}

/// The header of this segment, and how long it is; `None` where there is none that holds.
pub(super) fn header(file: &dyn DiskFile) -> std::io::Result<Option<(Header, usize)>> {
    let mut bytes = read_range(file, 0, PAGE)?;
    match Header::len_in(&bytes) {
        None => return Ok(None),
        Some(len) if len > bytes.len() => bytes = read_range(file, 0, len)?,
        Some(_) => {}
    }
    Ok(Header::decode(&bytes))
}

/// Reads the sealed segment that begins with record `first`; `None` where anything in it is not as a writer leaves it. `name` is what to call the file;
/// `reached` is told up to which byte was read, piece by piece.
///
/// # Errors
/// The disk does not give it back.
pub(super) fn read<'h>(
    file: &dyn DiskFile,
    name: &str,
    first: u64,
    heads: &'h [Head],
    room: &mut Room,
    reached: &dyn Fn(u64),
) -> std::io::Result<Option<Straight<'h>>> {
    let Some((header, len)) = header(file)?.filter(|(header, _)| header.first_seq() == first) else {
        return Ok(None);
    };
    let mut straight = Straight::new(&header, heads);
    let (bytes, base) = room.for_pieces();
    // `at` is where the piece at `base` begins in the file, and `from` where in the buffer begins what was not taken yet.
    let mut at = len - len % PAGE;
    let mut from = base + len % PAGE;
    loop {
        let read = fill(file, bytes.get_mut(base..base + PIECE).unwrap_or_default(), at)?;
        reached(to_u64(at + read));
        let (until, is_last) = (base + read, read < PIECE);
        let there = bytes.get(from..until).unwrap_or_default();
        match straight.take(there, name, at + from - base) {
            Taken::End if is_last || fill(file, &mut [0], at + read)? == 0 => {
                straight.examined.bytes = to_u64(at + read);
                return Ok(Some(straight));
            }
            Taken::Up(used) if !is_last && to_u64(at + read) < FILE_MAX && there.len() - used <= LEFT_OVER => {
                let left = there.len() - used;
                bytes.copy_within(until - left..until, base - left);
                (at, from) = (at + read, base - left);
            }
            _ => return Ok(None),
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &dyn DiskFile, buffer: &mut [u8], at: usize) -> std::io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, to_u64(at + have))? {
            0 => break,
            read => have += read,
        }
    }
    Ok(have)
}

impl<'h> Straight<'h> {
    fn new(header: &Header, heads: &'h [Head]) -> Self {
        let first = header.first_seq();
        Self {
            examined: Examined {
                named: first,
                first,
                next: first,
                start: Some(header.frontier.clone()),
                open: Some(header.open.clone()),
                calls: Some(Calls::default()),
                ..Examined::default()
            },
            following: Following::from(header.frontier.clone(), heads),
            root: Hash::default(),
            parts: Vec::new(),
        }
    }

    /// Takes frame by frame; `place` is where these bytes stand in the file.
    fn take(&mut self, bytes: &[u8], name: &str, place: usize) -> Taken {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if rest.starts_with(FOOTER_MAGIC) {
                return match rest.len() {
                    ..FOOTER_LEN => Taken::Up(used),
                    FOOTER_LEN if self.footer(rest, place + used).is_some() => Taken::End,
                    _ => Taken::Otherwise,
                };
            }
            match read_frame(rest) {
                Ok(frame) if self.frame(&frame, rest, name, place + used).is_some() => used += frame.encoded_len(),
                Err(FrameError::Short { .. }) => return Taken::Up(used),
                Err(FrameError::Empty) if rest.len() < FRAME_HEADER_LEN => return Taken::Up(used),
                Ok(_) | Err(_) => return Taken::Otherwise,
            }
        }
    }

    /// `None` where it says other things than the records, or parts stand before it.
    fn footer(&mut self, bytes: &[u8], place: usize) -> Option<()> {
        let footer = Footer::decode(bytes)?;
        let said = (footer.first_seq, footer.next_seq, footer.data_end);
        let is_so = said == (self.examined.first, self.examined.next, to_u64(place)) && self.parts.is_empty();
        self.root = footer.root;
        is_so.then_some(())
    }

    /// `bytes` begin with the frame.
    fn frame(&mut self, frame: &Frame<'_>, bytes: &[u8], name: &str, place: usize) -> Option<()> {
        if frame.seq != self.examined.next || frame.check_leaf().is_err() {
            return None;
        }
        let FrameKind::Leaf(kind) = frame.kind else {
            self.parts.push(Part::digest(frame.body));
            return (self.parts.len() <= PARTS_MAX).then_some(());
        };
        if parts::may_declare(frame.body) || !self.parts.is_empty() {
            self.compare_parts(frame.body)?;
        }
        let examined = &mut self.examined;
        match kind {
            RecordKind::Key => {
                let told = Told::read(frame.body, frame.seq, name, to_u64(place));
                examined.told.push(told);
            }
            RecordKind::Erasure | RecordKind::Damage | RecordKind::Recovery => {
                examined.erasures.read_of_others(kind, frame.body, frame.seq);
            }
            RecordKind::Gap => examined.gaps += 1,
            _ => {}
        }
        examined.follow_call(kind, frame.seq, frame.body);
        examined.records += 1;
        examined.next = frame.seq.checked_add(1)?;
        // The last byte of a frame's header is the highest of the number, which is zero below 2^56 records.
        let behind_zero = bytes.get(FRAME_HEADER_LEN - 1..frame.encoded_len())?;
        let hash = leaf_hash_behind_zero(behind_zero);
        self.following.push(hash.unwrap_or_else(|| leaf_hash(frame.body)));
        Some(())
    }

    /// Those before a leaf have to be those that it declares.
    fn compare_parts(&mut self, leaf: &[u8]) -> Option<()> {
        let declared = parts::declared(leaf);
        let bound = parts::compare_digests(&declared, &self.parts).ok()?;
        self.examined.erasures.count(&declared);
        self.examined.unbound += to_u64(self.parts.len().saturating_sub(bound));
        self.examined.parts += to_u64(self.parts.len());
        self.parts.clear();
        Some(())
    }
}
