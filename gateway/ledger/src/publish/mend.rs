//! The torn end of a file of kept checkpoints: what a crash, or a full disk, in the middle of an append leaves. Left there, it
//! would be damage to every verification from then on, though nothing that anybody was told is lost.
//!
//! Only what an append that broke off can leave is cut: the beginning of a checkpoint, or one with sectors that were never written.
//! A checkpoint that was whole once, and is damaged now, stays for [`crate::verify`] to say so.

use std::ops::Range;

use super::{PublishError, io};
use crate::disk::{Disk, DiskFile, read_range};
use crate::note::{MAX_NOTE_LEN, Note};
use crate::verify::KEPT;

const SIGNATURE: &[u8] = "\u{2014} ".as_bytes();
/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;
/// A root in base64, in bytes.
const ROOT_LEN: usize = 44;
/// Read from the end of a file at first: many checkpoints with their cosignatures.
const TAIL: u64 = 16 * 1024;

/// A torn end that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file, as the disk calls it.
    pub file: String,
    /// From where on, in bytes.
    pub offset: u64,
    /// What stood there.
    pub bytes: Vec<u8>,
}

/// Cuts the torn ends off all files of kept checkpoints of this log.
pub(super) fn mend(disk: &dyn Disk, origin: &str) -> Result<Vec<Cut>, PublishError> {
    let names = disk.list().map_err(|source| io(disk, "list", ".", source))?;
    let mut cuts = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(KEPT)) {
        let mended = mend_one(disk, name, origin).map_err(|source| io(disk, "mend", name, source))?;
        cuts.extend(mended);
    }
    Ok(cuts)
}

fn mend_one(disk: &dyn Disk, name: &str, origin: &str) -> std::io::Result<Option<Cut>> {
    let read = disk.open_read(name)?;
    let len = read.len()?;
    let (from, tail) = last_note(&*read, len)?;
    let Some(at) = torn(&tail, from, origin) else {
        return Ok(None);
    };
    let bytes = tail.get(at..).unwrap_or_default().to_vec();
    let offset = from.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
    let file = disk.open(name)?;
    file.set_len(offset)?;
    file.sync_all()?;
    let file = disk.display(name);
    Ok(Some(Cut { file, offset, bytes }))
}

/// From where on a file of kept checkpoints of this log is the rest of an append that broke off: what a start cuts.
pub(crate) fn torn_end(bytes: &[u8], origin: &str) -> Option<usize> {
    let begin = last_begin(bytes).unwrap_or(0);
    let at = torn(bytes.get(begin..)?, u64::try_from(begin).ok()?, origin)?;
    Some(begin.saturating_add(at))
}

/// The last note of a file, or what stands where one would, and where it begins.
fn last_note(file: &dyn DiskFile, len: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let mut most = TAIL;
    loop {
        let from = len.saturating_sub(most);
        let bytes = read_range(file, from, usize::try_from(len - from).unwrap_or(usize::MAX))?;
        let begin = last_begin(&bytes);
        // Without a border between two notes in it, a tail that does not reach back to the beginning says nothing.
        if let Some(begin) = begin.or((from == 0).then_some(0)) {
            let from = from.saturating_add(u64::try_from(begin).unwrap_or(u64::MAX));
            return Ok((from, bytes.get(begin..).unwrap_or_default().to_vec()));
        }
        most = most.saturating_mul(4);
    }
}

/// Where the last note begins: behind the last signature that something else than a signature follows.
fn last_begin(bytes: &[u8]) -> Option<usize> {
    let (mut begin, mut at, mut is_signed) = (None, 0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_signature = line.starts_with(SIGNATURE);
        if is_signed && !is_signature && !is_begun(line, SIGNATURE) {
            begin = Some(at);
        }
        is_signed = is_signature;
        at += line.len();
    }
    begin
}

/// Whether these bytes are the beginning of that, and not all of it.
fn is_begun(bytes: &[u8], whole: &[u8]) -> bool {
    whole.starts_with(bytes) && bytes.len() < whole.len()
}

/// From where on the last note of a file, which begins at `offset` in it, is the rest of an append that broke off.
fn torn(note: &[u8], offset: u64, origin: &str) -> Option<usize> {
    if note.is_empty() || note.len() > MAX_NOTE_LEN || Note::parse(note).is_ok() {
        return None;
    }
    // The line feed at the very end became another byte: that was whole. One whose signature ends too early has no padding at its end.
    let (_, but_last) = note.split_last()?;
    if but_last.ends_with(b"=") && Note::parse(&[but_last, b"\n"].concat()).is_ok() {
        return None;
    }
    if let Some(hole) = first_hole(note) {
        return is_unwritten(note, &hole, offset).then_some(0);
    }
    let whole_lines = note.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, rest) = note.split_at_checked(whole_lines)?;
    // Whole as far as its signatures go, and one more was begun.
    if Note::parse(lines).is_ok() {
        return is_signature_begun(rest).then_some(lines.len());
    }
    is_head(lines, rest, origin).then_some(0)
}

fn is_signature_begun(rest: &[u8]) -> bool {
    rest.starts_with(SIGNATURE) || is_begun(rest, SIGNATURE)
}

/// Whether a checkpoint of this log begins with these lines and the line that was begun behind them, and not more than that stands
/// there: origin, size, root, an empty line, the beginning of a signature.
fn is_head(lines: &[u8], rest: &[u8], origin: &str) -> bool {
    let is_size = |line: &[u8]| line.iter().all(u8::is_ascii_digit);
    let is_root = |line: &[u8]| {
        line.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
    };
    let mut lines = lines
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    match (lines.next(), lines.next(), lines.next(), lines.next(), lines.next()) {
        (None, ..) => is_begun(rest, format!("{origin}\n").as_bytes()),
        (Some(first), ..) if first != origin.as_bytes() => false,
        (_, None, ..) => is_size(rest),
        (_, Some(size), ..) if size.is_empty() || !is_size(size) => false,
        (_, _, None, ..) => is_root(rest) && rest.len() <= ROOT_LEN,
        (_, _, Some(root), ..) if root.len() != ROOT_LEN || !is_root(root) => false,
        (_, _, _, None, _) => rest.is_empty(),
        (_, _, _, Some(empty), None) => empty.is_empty() && (rest.is_empty() || is_signature_begun(rest)),
        (.., Some(_)) => false,
    }
}

/// The first run of zero bytes.
fn first_hole(bytes: &[u8]) -> Option<Range<usize>> {
    let begin = bytes.iter().position(|byte| *byte == 0)?;
    let rest = bytes.get(begin..).unwrap_or_default();
    let len = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
    Some(begin..begin + len)
}

/// Whether a hole is of sectors that were never written: it begins with the append or with a sector, and ends with a sector or with
/// the file.
fn is_unwritten(note: &[u8], hole: &Range<usize>, offset: u64) -> bool {
    let is_border = |at: usize| {
        let at = offset.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
        at.is_multiple_of(SECTOR)
    };
    (hole.start == 0 || is_border(hole.start)) && (hole.end == note.len() || is_border(hole.end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sim::SimDisk;

    const NAME: &str = "00000000000000000000.checkpoints";

    /// A checkpoint of this size, with so many signatures.
    fn note(size: u64, signatures: usize) -> String {
        let signature = format!("\u{2014} log.example/a {}\n", "QUJD".repeat(22) + "QUI=");
        format!(
            "log.example/a\n{size}\n{}=\n\n{}",
            "A".repeat(43),
            signature.repeat(signatures)
        )
    }

    fn mended(bytes: &[u8]) -> (Vec<u8>, Vec<Cut>) {
        let disk = SimDisk::new(1);
        disk.put(NAME, bytes);
        let cuts = mend(&disk, "log.example/a").unwrap();
        disk.power_cut();
        (disk.bytes(NAME).unwrap(), cuts)
    }

    fn whole(notes: usize) -> Vec<u8> {
        (0..notes)
            .map(|number| note(number as u64, 1 + number % 3))
            .collect::<String>()
            .into_bytes()
    }

    #[test]
    fn what_an_append_that_broke_off_left_is_cut_at_every_byte_and_nothing_else() {
        for before in [0, 1, 2, 7, 90] {
            let (good, next) = (whole(before), note(999, 3).into_bytes());
            for len in 0..next.len() {
                let written = &next[..len];
                let (left, cuts) = mended(&[&good[..], written].concat());
                // With a signature or two it is a checkpoint.
                let kept = (1..=len)
                    .rev()
                    .find(|&len| Note::parse(&next[..len]).is_ok())
                    .unwrap_or(0);
                assert_eq!(left, [&good[..], &next[..kept]].concat(), "{before}, {len}");
                assert_eq!(cuts.iter().map(|cut| cut.bytes.len()).sum::<usize>(), len - kept);
            }
        }
    }

    #[test]
    fn sectors_that_were_never_written_are_cut_with_their_note() {
        let next = note(999, 9).into_bytes();
        for before in 0..40 {
            let good = whole(before);
            let all = [&good[..], &next].concat();
            let borders: Vec<usize> = (0..all.len()).step_by(512).chain([all.len()]).collect();
            for pair in borders.windows(2).filter(|pair| pair[1] > good.len()) {
                let mut torn = all.clone();
                let hole = pair[0].max(good.len())..pair[1];
                torn[hole.clone()].fill(0);
                let (left, cuts) = mended(&torn);
                // Of a line feed alone it cannot be told whether it was there.
                if hole == (all.len() - 1..all.len()) {
                    assert_eq!(cuts, []);
                    continue;
                }
                let kept = left.strip_prefix(&good[..]).unwrap();
                assert!(kept.is_empty() || Note::parse(kept).is_ok(), "{before}, {pair:?}");
                assert!(good.len() + kept.len() <= hole.start, "{before}, {pair:?}");
            }
        }
    }

    #[test]
    fn no_byte_changed_in_what_was_whole_gets_it_cut() {
        for notes in [1, 3] {
            let good = whole(notes);
            for at in 0..good.len() {
                for to in [0, b'\n', good[at] ^ 1, good[at] ^ 0x80] {
                    let mut changed = good.clone();
                    changed[at] = to;
                    assert_eq!(mended(&changed), (changed.clone(), vec![]), "byte {at} is {to}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_only_an_end_is_cut_that_holds_no_checkpoint(bytes in "[a\n\u{2014} =0]{0,200}", notes in 0..4_usize) {
            let bytes = [whole(notes), bytes.into_bytes()].concat();
            let (left, cuts) = mended(&bytes);
            prop_assert!(bytes.starts_with(&left) && left.len() >= whole(notes).len());
            prop_assert_eq!(left.len() < bytes.len(), !cuts.is_empty());
        }
    }
}
