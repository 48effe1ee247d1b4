//! What a start finds: which segment goes on, what a crash tore off, which calls have no end. Reads the last segment whole
//! and of all others only header and footer.
//!
//! Invariants:
//! - Bytes are cut off only from the last batch, and only after a copy of them is durable in a file of its own.
//! - Whatever was readable but perhaps not synced (the last batch) is written again and synced before it counts.
//! - Anything else that does not hold is damage: the ledger does not open, and the error names file and byte.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_range};
use crate::error::{Damage, DamageKind, OpenError};
use crate::options::{Options, to_u64};
use crate::segment::{FOOTER_LEN, Footer, Header, Scan, hashes_name, parse_segment_name, scan, segment_name};
use crate::tiles::TileFiles;
use crate::tree::Frontier;
use crate::writer::{Active, Dropped, Side, Spare, Start, Unknown};

/// No segment file is longer, in bytes.
const SEGMENT_MAX: u64 = 1 << 30;

/// A call of an earlier run that has no end: it may or may not have had its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Sequence number of the intent, or of the stream's open record.
    pub seq: u64,
    /// The request id in it.
    pub id: String,
    /// Whether it is a stream.
    pub is_stream: bool,
}

/// What was found at the start. All of it is already recorded when the caller sees this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a torn end that were cut off.
    pub dropped_bytes: u64,
    /// The file in the ledger's folder that keeps them.
    pub kept_in: Option<String>,
    /// The last record that was found; `None` in a new ledger.
    pub last_seq: Option<u64>,
    /// Calls without an end; each now has an outcome (or close) that says "unknown".
    pub unfinished: Vec<Unfinished>,
    /// Whether the last segment was sealed, as closing the ledger does.
    pub was_closed: bool,
}

/// What the writer starts from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) start: Start,
    pub(crate) report: Recovery,
    pub(crate) dropped: Option<Dropped>,
    pub(crate) unknown: Vec<Unknown>,
}

/// Finds the state of a folder that the caller has locked.
pub(crate) fn recover(shared: &Arc<dyn Disk>, options: &Options) -> Result<Recovered, OpenError> {
    let disk = &**shared;
    let names = disk.list().map_err(|error| failed(disk, "list", ".", error))?;
    let spares = spares(disk, options, &names)?;
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    firsts.sort_unstable();
    let unborn = drop_unborn(disk, &mut firsts)?;
    let Some((&last, sealed)) = firsts.split_last() else {
        return match unborn {
            None | Some(0) => Ok(fresh(spares, TileFiles::new(Arc::clone(shared), options.tiles()))),
            Some(first) => Err(damaged(
                disk,
                &segment_name(first),
                0,
                DamageKind::Missing {
                    seq: first.saturating_sub(1),
                },
            )),
        };
    };
    check_neighbours(disk, sealed, last)?;
    let found = LastSegment::read(disk, last)?;
    if unborn.is_some_and(|first| first > found.scan.frontier.size()) {
        let seq = found.scan.frontier.size();
        let kind = DamageKind::Missing { seq };
        return Err(damaged(disk, &found.name, to_u64(found.scan.end), kind));
    }
    let tiles = found.tiles(shared, options)?;
    found.settle(disk, spares, tiles)
}

fn fresh(spares: VecDeque<Spare>, tiles: TileFiles) -> Recovered {
    let start = Start {
        active: None,
        spares,
        frontier: Frontier::default(),
        open: crate::segment::OpenSet::new(),
        side: Side::default(),
        tiles,
    };
    Recovered {
        start,
        report: Recovery::default(),
        dropped: None,
        unknown: Vec::new(),
    }
}

/// Takes over the spares of an earlier run; they hold the places of outcomes when the disk is full. Others are removed.
fn spares(disk: &dyn Disk, options: &Options, names: &[String]) -> Result<VecDeque<Spare>, OpenError> {
    let mut spares = VecDeque::new();
    for name in names.iter().filter(|name| Spare::is_name(name)) {
        let file = disk.open(name).map_err(|error| failed(disk, "open", name, error))?;
        let len = file.len().map_err(|error| failed(disk, "read", name, error))?;
        if len == options.segment_bytes && is_zero_head(&*file) && file.sync_all().is_ok() {
            spares.push_back(Spare {
                file,
                name: name.clone(),
                len,
            });
        } else {
            disk.remove(name).map_err(|error| failed(disk, "remove", name, error))?;
        }
    }
    Ok(spares)
}

fn is_zero_head(file: &dyn DiskFile) -> bool {
    read_range(file, 0, 4096).is_ok_and(|head| head.len() == 4096 && head.iter().all(|byte| *byte == 0))
}

/// Removes a last segment whose header was never synced: no record can stand in it. Returns its first sequence number.
fn drop_unborn(disk: &dyn Disk, firsts: &mut Vec<u64>) -> Result<Option<u64>, OpenError> {
    let Some(&last) = firsts.last() else { return Ok(None) };
    let name = segment_name(last);
    if read_header(disk, &name).is_ok() || !matches!(scan(&read_whole(disk, &name)?), Ok(None)) {
        return Ok(None);
    }
    disk.remove(&name)
        .map_err(|error| failed(disk, "remove", &name, error))?;
    disk.sync_dir().map_err(|error| failed(disk, "sync", ".", error))?;
    firsts.pop();
    Ok(Some(last))
}

/// Compares each segment's footer with its successor's header: names, sequence numbers, roots.
fn check_neighbours(disk: &dyn Disk, sealed: &[u64], last: u64) -> Result<(), OpenError> {
    let followers = sealed.iter().skip(1).chain(std::iter::once(&last));
    for (&first, &next) in sealed.iter().zip(followers) {
        let (name, next_name) = (segment_name(first), segment_name(next));
        let header = read_header(disk, &next_name)?;
        if header.first_seq() != next {
            return Err(damaged(disk, &next_name, 0, DamageKind::Neighbours));
        }
        if header.abandoned_at.is_some() {
            continue;
        }
        let footer = read_footer(disk, &name)?;
        if footer.first_seq != first || footer.next_seq != next || footer.root != header.frontier.root() {
            return Err(damaged(disk, &name, footer.data_end, DamageKind::Neighbours));
        }
    }
    Ok(())
}

/// Reads a segment's header.
pub(crate) fn read_header(disk: &dyn Disk, name: &str) -> Result<Header, OpenError> {
    let bad = || damaged(disk, name, 0, DamageKind::Header);
    let read = |len| {
        let file = disk.open_read(name)?;
        read_range(&*file, 0, len)
    };
    let head = read(4096).map_err(|error| failed(disk, "read", name, error))?;
    let len = Header::len_in(&head).ok_or_else(bad)?;
    let bytes = if len <= head.len() {
        head
    } else {
        read(len).map_err(|error| failed(disk, "read", name, error))?
    };
    Header::decode(&bytes).map(|(header, _)| header).ok_or_else(bad)
}

/// The footer at the very end of a segment's file, where the seal has cut it.
pub(crate) fn footer_at_end(disk: &dyn Disk, name: &str) -> io::Result<Option<Footer>> {
    let file = disk.open_read(name)?;
    let len = file.len()?;
    let tail = read_range(&*file, len.saturating_sub(to_u64(FOOTER_LEN)), FOOTER_LEN)?;
    let is_at_end = |footer: &Footer| footer.data_end.saturating_add(to_u64(FOOTER_LEN)) == len;
    Ok(Footer::decode(&tail).filter(is_at_end))
}

/// Reads a sealed segment's footer: at the end of the file, or, where the cut behind it was lost in a crash, by a scan.
pub(crate) fn read_footer(disk: &dyn Disk, name: &str) -> Result<Footer, OpenError> {
    if let Some(footer) = footer_at_end(disk, name).map_err(|error| failed(disk, "read", name, error))? {
        return Ok(footer);
    }
    match scan(&read_whole(disk, name)?) {
        Ok(Some(Scan {
            footer: Some(footer), ..
        })) => Ok(footer),
        Ok(found) => {
            let at = found.map_or(0, |found| to_u64(found.end));
            Err(damaged(disk, name, at, DamageKind::Footer))
        }
        Err(broken) => Err(damaged(disk, name, to_u64(broken.offset), broken.why.into())),
    }
}

fn read_whole(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, OpenError> {
    let io = |error| failed(disk, "read", name, error);
    let file = disk.open_read(name).map_err(io)?;
    let len = file.len().map_err(io)?;
    let Some(bytes) = usize::try_from(len).ok().filter(|_| len <= SEGMENT_MAX) else {
        return Err(damaged(disk, name, SEGMENT_MAX, DamageKind::Size { len }));
    };
    read_range(&*file, 0, bytes).map_err(io)
}

struct LastSegment {
    name: String,
    first: u64,
    bytes: Vec<u8>,
    scan: Scan,
}

impl LastSegment {
    fn read(disk: &dyn Disk, first: u64) -> Result<Self, OpenError> {
        let name = segment_name(first);
        let bytes = read_whole(disk, &name)?;
        let scan = match scan(&bytes) {
            Ok(Some(scan)) => scan,
            // Only a last segment may be unborn, and that one was removed before.
            Ok(None) => return Err(damaged(disk, &name, 0, DamageKind::Header)),
            Err(broken) => return Err(damaged(disk, &name, to_u64(broken.offset), broken.why.into())),
        };
        let leaves = to_u64(scan.hashes.len());
        if scan.frontier.size().checked_sub(leaves) != Some(first) {
            return Err(damaged(disk, &name, 0, DamageKind::Neighbours));
        }
        Ok(Self {
            name,
            first,
            bytes,
            scan,
        })
    }

    /// The files of the tree's upper levels, brought to this segment.
    fn tiles(&self, disk: &Arc<dyn Disk>, options: &Options) -> Result<TileFiles, OpenError> {
        let bad = || damaged(&**disk, &self.name, 0, DamageKind::Header);
        let (header, _) = Header::decode(&self.bytes).ok_or_else(bad)?;
        let is_sealed = self.scan.footer.is_some();
        Ok(TileFiles::open(
            Arc::clone(disk),
            options.tiles(),
            &header.frontier,
            &self.scan.hashes,
            is_sealed,
        ))
    }

    fn settle(self, disk: &dyn Disk, spares: VecDeque<Spare>, tiles: TileFiles) -> Result<Recovered, OpenError> {
        let was_closed = self.scan.footer.is_some();
        let file = disk
            .open(&self.name)
            .map_err(|error| failed(disk, "open", &self.name, error))?;
        let dropped = self.cut_torn(disk, &*file)?;
        self.write_again(&*file)
            .map_err(|error| failed(disk, "sync", &self.name, error))?;
        // A kill between a rename and its sync leaves a name that only the kernel's memory knows.
        disk.sync_dir().map_err(|error| failed(disk, "sync", ".", error))?;
        let side = self
            .side(disk)
            .map_err(|error| failed(disk, "write", &hashes_name(self.first), error))?;
        let limit = to_u64(self.bytes.len()).saturating_sub(to_u64(FOOTER_LEN));
        let Scan {
            frontier,
            open,
            end,
            abandoned_at,
            ..
        } = self.scan;
        let unknown: Vec<Unknown> = open
            .iter()
            .map(|(seq, entry)| Unknown {
                intent: *seq,
                id: entry.id.clone(),
                is_stream: entry.is_stream,
            })
            .collect();
        let report = Recovery {
            dropped_bytes: dropped.as_ref().map_or(0, |dropped| dropped.bytes),
            kept_in: dropped.as_ref().map(|dropped| dropped.kept_in.clone()),
            last_seq: frontier.size().checked_sub(1),
            unfinished: unknown.iter().map(Unfinished::from).collect(),
            was_closed,
        };
        let active = (!was_closed).then_some(Active {
            file,
            first_seq: self.first,
            pos: to_u64(end),
            limit,
            abandoned_at,
        });
        Ok(Recovered {
            start: Start {
                active,
                spares,
                frontier,
                open,
                side,
                tiles,
            },
            report,
            dropped,
            unknown,
        })
    }

    /// Keeps a torn end in a file of its own, then writes zeros over it.
    fn cut_torn(&self, disk: &dyn Disk, file: &dyn DiskFile) -> Result<Option<Dropped>, OpenError> {
        let torn = self.bytes.get(self.scan.torn.clone()).unwrap_or_default();
        if torn.is_empty() {
            return Ok(None);
        }
        let name = free_name(disk, self.scan.frontier.size())?;
        let keep = || -> io::Result<()> {
            let kept = disk.create(&name)?;
            kept.write_at(torn, 0)?;
            kept.sync_all()?;
            disk.sync_dir()
        };
        keep().map_err(|error| failed(disk, "keep the torn end in", &name, error))?;
        file.write_at(&vec![0; torn.len()], to_u64(self.scan.end))
            .and_then(|()| file.sync_data())
            .map_err(|error| failed(disk, "clear the torn end of", &self.name, error))?;
        Ok(Some(Dropped {
            bytes: to_u64(torn.len()),
            kept_in: name,
        }))
    }

    /// What was written last (a batch, a footer, the header of a segment without records) may be in the kernel's memory only:
    /// killed before the sync, or in pages whose sync has already failed and which a new sync would pass over. Written again, they
    /// are dirty again.
    fn write_again(&self, file: &dyn DiskFile) -> io::Result<()> {
        let from = if self.scan.hashes.is_empty() {
            0
        } else {
            self.scan.last_batch
        };
        let to = self.scan.end + self.scan.footer.as_ref().map_or(0, |_| FOOTER_LEN);
        file.write_at(self.bytes.get(from..to).unwrap_or_default(), to_u64(from))?;
        file.sync_data()
    }

    /// The side file, written anew from the scan. That of a sealed segment has to be on the disk for good before a successor
    /// begins; as it has been since the seal, it is mostly left alone.
    fn side(&self, disk: &dyn Disk) -> io::Result<Side> {
        let name = hashes_name(self.first);
        let bytes = self.scan.hashes.as_flattened();
        let offset = to_u64(bytes.len());
        let is_there = |file: &dyn DiskFile| {
            file.len().is_ok_and(|len| len == offset)
                && read_range(file, 0, bytes.len()).is_ok_and(|found| found == bytes)
        };
        let is_sealed = self.scan.footer.is_some();
        if is_sealed && disk.open_read(&name).is_ok_and(|file| is_there(&*file)) {
            return Ok(Side::default());
        }
        let mut side = Side::begin(disk, self.first, bytes);
        if is_sealed {
            side.settle(disk)?;
        }
        Ok(side)
    }
}

impl From<&Unknown> for Unfinished {
    fn from(call: &Unknown) -> Self {
        Self {
            seq: call.intent,
            id: call.id.clone(),
            is_stream: call.is_stream,
        }
    }
}

fn free_name(disk: &dyn Disk, seq: u64) -> Result<String, OpenError> {
    let names = disk.list().map_err(|error| failed(disk, "list", ".", error))?;
    let free = (0_u64..)
        .map(|n| format!("dropped-{seq}-{n}.bin"))
        .find(|name| !names.contains(name));
    Ok(free.unwrap_or_default())
}

fn failed(disk: &dyn Disk, what: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        what,
        file: disk.display(name),
        source,
    }
}

fn damaged(disk: &dyn Disk, name: &str, offset: u64, kind: DamageKind) -> OpenError {
    OpenError::Damaged {
        file: disk.display(name),
        offset,
        why: Damage(kind),
    }
}
