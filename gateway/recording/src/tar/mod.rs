//! A reader of tar streams, for what `kubectl cp` carries: names, sizes, modes and digests; contents pass and are not kept.
//!
//! It takes pieces of any length and needs memory for one header and three extended ones (64 KiB each at most). What it cannot
//! read, or what two programs could read differently, ends it: it then hands back what it holds, so that the caller can
//! keep the rest as ordinary bytes. Those programs are GNU tar, busybox, bsdtar, Go's `archive/tar` (kubectl's) and Python's
//! `tarfile`: whoever sends an archive chooses it so that it suits the reader, and a list of other files than those that arrive is
//! worse than none. That busybox or Go gives up an archive that others read is no other reading.
//!
//! Invariant: every byte is accounted for. It is of a header that an entry has consumed, of an entry's content, a zero where only
//! zeros may be, or it is handed back; and what extended headers say that no entry tells is handed over with the entry.
//!
//! Sparse files and compressed archives are not read.

mod header;
mod pax;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{Context, SHA256};

use header::{BLOCK, BLOCK_BYTES, Block, Header};
use pax::Extended;

/// An extended header may have so many bytes.
const MAX_EXTENDED: u64 = 64 << 10;
/// Of eleven octal digits: a greater size does not stand in a header of POSIX.
const MAX_OCTAL: u64 = 0o777_7777_7777;
/// Of a name so many bytes are kept: PATH_MAX of Linux.
const MAX_NAME: usize = 4096;

/// One entry of an archive, when its content has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Bytes of content that came.
    pub(crate) seen: u64,
    /// Of the content that came; none of what has no content.
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// What its extended headers say besides: records of pax with other keys, what stands behind a name, the rest of a long one.
    pub(crate) unread: Vec<u8>,
}

/// The stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread<'a> {
    pub(crate) why: &'static str,
    /// Bytes of earlier pieces that were held and not understood.
    pub(crate) held: Vec<u8>,
    /// The rest of this piece.
    pub(crate) rest: &'a [u8],
}

/// Reads one archive.
pub(crate) struct TarReader {
    state: State,
    /// Extended headers whose entry has not come, as they came.
    pending: Vec<u8>,
    /// What they say.
    extended: Extended,
    entry: Option<(Entry, Option<Context>)>,
    /// Bytes that were read and are not handed back.
    understood: u64,
}

enum State {
    /// A header comes; so much of it is here. `is_after_zero`: the block before was all zeros.
    Header {
        block: Box<Block>,
        have: usize,
        is_after_zero: bool,
    },
    /// Content comes of which only pax says how long it is. busybox does not read that and takes its blocks for headers; as long as
    /// it may find any there, they are looked at. `is_after_unnamed`: the block before was one that it takes for zeros.
    Veiled {
        block: Box<Block>,
        have: usize,
        is_after_unnamed: bool,
    },
    /// An extended header comes, whose records stand from there on in what is pending.
    Extended { kind: u8, left: u64, from: usize },
    /// Content of the entry comes.
    Content { left: u64 },
    /// Zeros up to the next block, behind content or behind an extended header.
    Padding { left: u64, is_pending: bool },
    /// Two blocks of zeros ended it; only more zeros may come.
    Ended,
}

impl State {
    fn header(is_after_zero: bool) -> Self {
        Self::Header {
            block: Box::new([0; BLOCK]),
            have: 0,
            is_after_zero,
        }
    }
}

impl TarReader {
    pub(crate) fn new() -> Self {
        Self {
            state: State::header(false),
            pending: Vec::new(),
            extended: Extended::default(),
            entry: None,
            understood: 0,
        }
    }

    /// Reads the next piece and tells the entries that end in it.
    pub(crate) fn read<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Entry)) -> Result<(), Unread<'a>> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.step(rest, tell) {
                Ok(rest) => rest,
                Err((why, rest)) => {
                    let held = self.held();
                    if let Some(entry) = self.finish_entry() {
                        tell(entry);
                    }
                    return Err(Unread { why, held, rest });
                }
            };
        }
        Ok(())
    }

    /// The stream has ended: the entry that broke off, and bytes that were held.
    pub(crate) fn finish(mut self) -> (Option<Entry>, Vec<u8>) {
        self.end()
    }

    fn end(&mut self) -> (Option<Entry>, Vec<u8>) {
        if matches!(self.state, State::Veiled { .. }) {
            let content = self.held();
            self.content(&content);
            return (self.finish_entry(), Vec::new());
        }
        let held = self.held();
        (self.finish_entry(), held)
    }

    fn step<'a>(
        &mut self,
        bytes: &'a [u8],
        tell: &mut impl FnMut(Entry),
    ) -> Result<&'a [u8], (&'static str, &'a [u8])> {
        match &mut self.state {
            State::Header { block, have, .. } | State::Veiled { block, have, .. } => {
                let (rest, is_full) = fill(block, have, bytes);
                if is_full {
                    self.block_is_full(tell).map_err(|why| (why, rest))?;
                }
                Ok(rest)
            }
            State::Extended { left, .. } => {
                let (taken, rest) = split(bytes, *left);
                self.pending.extend_from_slice(taken);
                *left = left.saturating_sub(length(taken));
                if *left == 0 {
                    self.extended_is_full().map_err(|why| (why, rest))?;
                }
                Ok(rest)
            }
            State::Content { left } => {
                let (taken, rest) = split(bytes, *left);
                *left = left.saturating_sub(length(taken));
                let is_whole = *left == 0;
                self.content(taken);
                if is_whole {
                    self.end_entry(tell);
                }
                Ok(rest)
            }
            State::Padding { left, is_pending } => {
                let (taken, rest) = split(bytes, *left);
                let zeros = taken.iter().take_while(|byte| **byte == 0).count();
                let read = taken.get(..zeros).unwrap_or_default();
                if *is_pending {
                    self.pending.extend_from_slice(read);
                } else {
                    self.understood = self.understood.saturating_add(length(read));
                }
                if zeros < taken.len() {
                    let behind = bytes.get(zeros..).unwrap_or_default();
                    return Err(("bytes between a file and the next header", behind));
                }
                *left = left.saturating_sub(length(taken));
                if *left == 0 {
                    self.state = State::header(false);
                }
                Ok(rest)
            }
            State::Ended => {
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                let (read, rest) = bytes.split_at_checked(zeros).unwrap_or((bytes, &[]));
                self.understood = self.understood.saturating_add(length(read));
                if rest.is_empty() {
                    Ok(rest)
                } else {
                    Err(("bytes behind the end of the archive", rest))
                }
            }
        }
    }

    fn block_is_full(&mut self, tell: &mut impl FnMut(Entry)) -> Result<(), &'static str> {
        match &self.state {
            State::Header {
                block, is_after_zero, ..
            } => {
                if header::is_zero(block) {
                    if !self.pending.is_empty() {
                        return Err("an extended header without an entry");
                    }
                    self.understood = self.understood.saturating_add(BLOCK_BYTES);
                    self.state = if *is_after_zero {
                        State::Ended
                    } else {
                        State::header(true)
                    };
                    return Ok(());
                }
                if *is_after_zero {
                    return Err("one block of zeros between headers");
                }
                let header = header::parse(block)?;
                let is_first = self.understood == 0 && self.pending.is_empty();
                if is_first && header::begins_something_else(block) {
                    return Err("an archive that begins as something else does, too");
                }
                self.begin(header, tell)
            }
            State::Veiled {
                block,
                is_after_unnamed,
                ..
            } => {
                let (is_unnamed, was_unnamed) = (header::is_unnamed(block), *is_after_unnamed);
                if !is_unnamed && header::busybox_reads(block) {
                    return Err("a header in content whose size only pax says");
                }
                let content = self.held();
                self.content(&content);
                // Behind two of them an archive has ended.
                if is_unnamed && !was_unnamed {
                    self.state = veiled(true);
                } else {
                    self.begin_content(tell);
                }
                Ok(())
            }
            State::Extended { .. } | State::Content { .. } | State::Padding { .. } | State::Ended => Ok(()),
        }
    }

    fn begin(&mut self, header: Header, tell: &mut impl FnMut(Entry)) -> Result<(), &'static str> {
        match header.kind {
            b'x' | b'g' | b'L' | b'K' => return self.begin_extended(header.kind, header.size),
            0 | b'0'..=b'7' => {}
            // Volumes, dumps, sparse files, attributes of Solaris, what nobody knows: a file for one program, nothing for another,
            // and for busybox an extended header (D, M, N, S, V).
            _ => return Err("a type of entry that not all programs know"),
        }
        let said = self.extended.size.unwrap_or(header.size);
        let is_of_pax_alone = said != header.size;
        // Who does not read sizes of pax, as busybox, would take content for headers, or headers for content.
        if is_of_pax_alone && (said <= MAX_OCTAL || header.size != 0) {
            return Err("a pax size that is not its header's, which could say it");
        }
        let (kind, size) = self.kind(&header, said)?;
        let (name, link) = (header.name, header.link);
        let headers = length(&self.pending).saturating_add(BLOCK_BYTES);
        self.understood = self.understood.saturating_add(headers);
        self.pending = Vec::new();
        let extended = std::mem::take(&mut self.extended);
        let has_no_content = matches!(kind, b'1'..=b'6');
        let (name, link, mut unread) = extended.over(name, link);
        let entry = Entry {
            kind,
            mode: header.mode,
            size,
            seen: 0,
            sha256: None,
            name: cut(name, &mut unread),
            link: cut(link, &mut unread),
            unread,
        };
        self.entry = Some((entry, (!has_no_content).then(|| Context::new(&SHA256))));
        if is_of_pax_alone {
            self.state = veiled(false);
        } else {
            self.begin_content(tell);
        }
        Ok(())
    }

    /// The type and size of an entry, where all programs read the same.
    fn kind(&self, header: &Header, size: u64) -> Result<(u8, u64), &'static str> {
        let is_file = matches!(header.kind, 0 | b'0' | b'7');
        // bsdtar reads content behind a link of pax, others behind none.
        if !is_file && size != 0 {
            return Err("a size where no content belongs");
        }
        let is_link = matches!(header.kind, b'1' | b'2');
        // busybox makes a hard link of an empty file that says where it points.
        if !is_link && (self.extended.link.is_some() || !header.link.is_empty()) {
            return Err("a link's target in what is no link");
        }
        // Where GNU tar cut a long name nobody reads the header's own; of a name of pax some do not know.
        let own = Some(&header.name).filter(|_| !self.extended.has_long_name());
        let names = [own, self.extended.name.as_ref()];
        let is_named_as_folder = names.into_iter().flatten().any(|name| name.ends_with(b"/"));
        match header.kind {
            // Of old, folders were told only so.
            0 if is_named_as_folder && size == 0 && self.extended.name.is_none() => Ok((b'5', 0)),
            // A folder for GNU tar and bsdtar; for busybox one without content, behind a long name a file; a file for Go and Python.
            _ if is_file && is_named_as_folder => Err("a file whose name ends as a folder's does"),
            kind => Ok((kind.max(b'0'), size)),
        }
    }

    fn begin_extended(&mut self, kind: u8, size: u64) -> Result<(), &'static str> {
        if size > MAX_EXTENDED {
            return Err("an extended header of more than 64 KiB");
        }
        self.extended.joins(kind)?;
        if let State::Header { block, .. } = &self.state {
            self.pending.extend_from_slice(block.as_slice());
        }
        self.state = State::Extended {
            kind,
            left: size,
            from: self.pending.len(),
        };
        if size == 0 { self.extended_is_full() } else { Ok(()) }
    }

    fn extended_is_full(&mut self) -> Result<(), &'static str> {
        let State::Extended { kind, from, .. } = self.state else {
            return Ok(());
        };
        let said = self.pending.get(from..).unwrap_or_default();
        match kind {
            b'x' => self.extended.read(said)?,
            b'L' => self.extended.long_name(said)?,
            b'K' => self.extended.long_link(said)?,
            _ => self.extended.read_global(said)?,
        }
        self.state = padding(length(said), true);
        Ok(())
    }

    fn begin_content(&mut self, tell: &mut impl FnMut(Entry)) {
        let left = |entry: &Entry| entry.size.saturating_sub(entry.seen);
        let left = self.entry.as_ref().map_or(0, |(entry, _)| left(entry));
        self.state = State::Content { left };
        if left == 0 {
            self.end_entry(tell);
        }
    }

    fn content(&mut self, bytes: &[u8]) {
        self.understood = self.understood.saturating_add(length(bytes));
        if let Some((entry, digest)) = &mut self.entry {
            entry.seen = entry.seen.saturating_add(length(bytes));
            if let Some(digest) = digest {
                digest.update(bytes);
            }
        }
    }

    fn end_entry(&mut self, tell: &mut impl FnMut(Entry)) {
        let size = self.entry.as_ref().map_or(0, |(entry, _)| entry.size);
        self.state = padding(size, false);
        if let Some(entry) = self.finish_entry() {
            tell(entry);
        }
    }

    fn finish_entry(&mut self) -> Option<Entry> {
        let (mut entry, digest) = self.entry.take()?;
        entry.sha256 = digest.and_then(|digest| digest.finish().as_ref().try_into().ok());
        Some(entry)
    }

    /// What came and belongs to no entry yet.
    fn held(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.pending);
        if let State::Header { block, have, .. } | State::Veiled { block, have, .. } = &self.state {
            held.extend_from_slice(block.get(..*have).unwrap_or_default());
        }
        held
    }
}

impl std::fmt::Debug for TarReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TarReader")
    }
}

fn veiled(is_after_unnamed: bool) -> State {
    State::Veiled {
        block: Box::new([0; BLOCK]),
        have: 0,
        is_after_unnamed,
    }
}

/// The zeros behind `size` bytes.
fn padding(size: u64, is_pending: bool) -> State {
    match size % BLOCK_BYTES {
        0 => State::header(false),
        over => State::Padding {
            left: BLOCK_BYTES.saturating_sub(over),
            is_pending,
        },
    }
}

/// Fills a block; what is left of the bytes, and whether the block is full.
fn fill<'a>(block: &mut Block, have: &mut usize, bytes: &'a [u8]) -> (&'a [u8], bool) {
    let free = block.get_mut(*have..).unwrap_or_default();
    let count = free.len().min(bytes.len());
    let (taken, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
    if let Some(free) = free.get_mut(..count) {
        free.copy_from_slice(taken);
    }
    *have = have.saturating_add(count);
    (rest, *have == BLOCK)
}

fn split(bytes: &[u8], at_most: u64) -> (&[u8], &[u8]) {
    let count = usize::try_from(at_most).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at_checked(count).unwrap_or((bytes, &[]))
}

fn cut(mut name: Vec<u8>, unread: &mut Vec<u8>) -> Vec<u8> {
    unread.extend_from_slice(name.get(MAX_NAME..).unwrap_or_default());
    name.truncate(MAX_NAME);
    name
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Fuzz entry: any bytes, whole and cut in two, are read alike, never panic, and every byte is accounted for.
pub fn fuzz_tar_reader(data: &[u8]) {
    let (entries, kept, understood) = read_counted(&[data]);
    let at = data
        .first()
        .map_or(0, |cut| usize::from(*cut).saturating_mul(data.len()).wrapping_div(256));
    let (head, tail) = data.split_at_checked(at).unwrap_or((data, &[]));
    let whole = (entries, kept, understood);
    assert_eq!(whole, read_counted(&[head, tail]), "cuts make no difference");
    let (entries, kept, understood) = whole;
    assert!(data.ends_with(&kept), "what is handed back are the last bytes");
    assert_eq!(
        understood.checked_add(length(&kept)),
        Some(length(data)),
        "every byte is understood or handed back"
    );
    let contents = entries.iter().map(|entry| entry.seen).sum::<u64>();
    assert!(contents <= understood, "no content came that was not there");
    for entry in &entries {
        assert!(
            entry.seen <= entry.size && entry.name.len() <= MAX_NAME,
            "what an entry says is bounded"
        );
    }
}

/// All entries, the bytes that were not understood, and how many were.
fn read_counted(pieces: &[&[u8]]) -> (Vec<Entry>, Vec<u8>, u64) {
    let (mut entries, mut kept) = (Vec::new(), Vec::new());
    let mut tar = TarReader::new();
    let mut is_over = false;
    for piece in pieces {
        if is_over {
            kept.extend_from_slice(piece);
        } else if let Err(unread) = tar.read(piece, &mut |entry| entries.push(entry)) {
            kept.extend_from_slice(&unread.held);
            kept.extend_from_slice(unread.rest);
            is_over = true;
        }
    }
    if !is_over {
        let (entry, held) = tar.end();
        entries.extend(entry);
        kept.extend(held);
    }
    (entries, kept, tar.understood)
}
