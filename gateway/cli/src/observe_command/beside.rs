//! The files beside a followed log: what it was turned over or copied to, also packed with gzip. Which of them were read is known by
//! what they are and how they begin, not by their names, which change, nor by their times, which go back.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest;
use flate2::read::MultiGzDecoder;

use super::keep::Place;

/// By so many first bytes a file is known again.
pub(super) const HEAD: u64 = 1_024;
/// So many of them are not the same in two logs: they hold the `auditID` of the first event.
const CERTAIN: u64 = 256;
/// So many zeros are passed over at once.
const ZEROS: u64 = 1 << 16;
/// What we do not unpack.
const PACKED: [&str; 4] = [".zst", ".bz2", ".xz", ".lz4"];

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Gzip,
    /// Packed in a way that is not read.
    Unread,
}

/// Which file it is, whatever it is called: inodes are used again, and then the file is another one all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Itself {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) born: i64,
}

impl Itself {
    pub(super) fn of(about: &Metadata) -> Self {
        let born = about
            .created()
            .ok()
            .and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Self {
            device: about.dev(),
            inode: about.ino(),
            born: born.map_or(0, |born| i64::try_from(born.as_nanos()).unwrap_or(i64::MAX)),
        }
    }

    pub(super) fn is_at(self, place: &Place) -> bool {
        let may_be = self.born == place.born || self.born == 0 || place.born == 0;
        may_be && (self.device, self.inode) == (place.device, place.inode)
    }
}

/// How a file looks: another sign is another content, as far as that is to be seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sign(Itself, u64, i64);

/// One of them.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) itself: Itself,
    /// Unpacked; of a gzip file what its end says, without the part above 4 GiB.
    pub(super) length: u64,
    hole: u64,
    written: i64,
    first: Vec<u8>,
}

impl Beside {
    /// As a place at its end.
    pub(super) fn whole(&self) -> Place {
        self.read_to(self.length, 0)
    }

    /// As a place at this offset.
    pub(super) fn read_to(&self, offset: u64, rest: u64) -> Place {
        Place {
            device: self.itself.device,
            inode: self.itself.inode,
            born: self.itself.born,
            hole: self.hole,
            head: digest_of(&self.first),
            head_len: to_u64(self.first.len()),
            offset,
            rest,
            written: self.written,
        }
    }

    /// As a place at this offset, behind which a packed file has nothing that can be read.
    pub(super) fn packed_to(&self, offset: u64) -> Place {
        self.read_to(offset, self.length.wrapping_sub(offset) & u64::from(u32::MAX))
    }

    fn begins_as(&self, place: &Place) -> bool {
        let head = self.first.get(..to_usize(place.head_len));
        let begins = head.is_some_and(|head| digest_of(head) == place.head);
        begins && (place.head_len == 0 || self.hole == place.hole)
    }

    /// Whether it is the file of the place, by itself, or by its content where that is certain: a copy, or packed since.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        if self.form == Form::Unread {
            // Whoever packs a file leaves it its time; bzip2 whole seconds of it.
            let (second, rest) = (
                place.written.div_euclid(1_000_000_000),
                self.written.rem_euclid(1_000_000_000),
            );
            return self.written == place.written || (rest == 0 && self.written.div_euclid(1_000_000_000) == second);
        }
        (self.itself.is_at(place) || place.head_len >= CERTAIN) && self.begins_as(place)
    }

    /// Whether it has nothing behind the place.
    pub(super) fn ends_at(&self, place: &Place) -> bool {
        let end = place.offset.saturating_add(place.rest);
        match self.form {
            Form::Plain => self.length <= end,
            Form::Gzip => self.length == end & u64::from(u32::MAX),
            Form::Unread => true,
        }
    }
}

/// Reads a gzip file unpacked.
pub(super) fn unpacked(file: File) -> impl Read {
    MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, file))
}

/// Files that are named after the log, last written first to last: `audit-2026-….log` (the API server's own way), `audit.log.1`
/// (logrotate's), with `.gz` behind. One that is being packed stands there twice, and its packed form is not whole yet.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn all(log: &Path) -> io::Result<Vec<Beside>> {
    let mut found: Vec<Beside> = named(log)?
        .iter()
        .filter_map(|path| there(look(path)).transpose())
        .collect::<io::Result<_>>()?;
    found.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(found)
}

/// How all of them look from outside. The folder itself says nothing of a copy that grows.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn signs(log: &Path) -> io::Result<Vec<(PathBuf, Sign)>> {
    let mut signs = Vec::new();
    for path in named(log)? {
        if let Some(about) = there(fs::metadata(&path).map(Some))? {
            signs.push((path, Sign(Itself::of(&about), about.len(), written(&about))));
        }
    }
    signs.sort();
    Ok(signs)
}

/// All of them keep the log's ending somewhere; an `audit-policy.yaml` is no log.
fn named(log: &Path) -> io::Result<Vec<PathBuf>> {
    let stem = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = log
        .extension()
        .map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(log))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&stem).unwrap_or_default();
        if rest.starts_with(['-', '.', '_'])
            && rest.contains(&ending)
            && Some(entry.file_name().as_os_str()) != log.file_name()
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// What went meanwhile, under its name, is not there: under another one it is met again.
pub(super) fn there<T>(looked: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked,
    }
}

/// The folder of the log.
fn folder(log: &Path) -> &Path {
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

fn look(path: &Path) -> io::Result<Option<Beside>> {
    let name = path.to_string_lossy();
    let form = match name.strip_suffix(".gz") {
        Some(plain) if Path::new(plain).exists() => return Ok(None),
        Some(_) => Form::Gzip,
        None if PACKED.iter().any(|end| name.ends_with(end)) => Form::Unread,
        None => Form::Plain,
    };
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(None);
    }
    let (mut hole, mut first, mut length) = (0, Vec::new(), about.len());
    match form {
        Form::Plain => (hole, first) = begins(&file)?,
        Form::Gzip => {
            let mut end = [0; 4];
            if length >= 4 && file.read_exact_at(&mut end, length - 4).is_ok() {
                length = u64::from(u32::from_le_bytes(end));
            }
            // One that cannot be unpacked begins like no other.
            (hole, first) = begins(unpacked(file)).unwrap_or_default();
        }
        Form::Unread => {}
    }
    Ok(Some(Beside {
        path: path.to_owned(),
        form,
        itself: Itself::of(&about),
        length,
        hole,
        written: written(&about),
        first,
    }))
}

/// How many zeros stand at the beginning, and the first bytes behind them.
fn begins(mut from: impl Read) -> io::Result<(u64, Vec<u8>)> {
    let mut hole: u64 = 0;
    let mut first = Vec::new();
    loop {
        let much = if hole > 0 && first.is_empty() { ZEROS } else { HEAD };
        let missing = much.saturating_sub(to_u64(first.len()));
        let read = (&mut from).take(missing).read_to_end(&mut first)?;
        let zeros = first.iter().take_while(|byte| **byte == 0).count();
        hole = hole.saturating_add(to_u64(zeros));
        first.drain(..zeros);
        if zeros == 0 || read == 0 {
            first.truncate(to_usize(HEAD));
            return Ok((hole, first));
        }
    }
}

/// When a file was last written: unix nanoseconds.
pub(super) fn written(about: &Metadata) -> i64 {
    let nanos = about.mtime().saturating_mul(1_000_000_000);
    nanos.saturating_add(about.mtime_nsec())
}

/// The first bytes behind the hole of the place, if it is the file of the place and still has what was read of it.
pub(super) fn head_at(file: &File, place: &Place) -> io::Result<Option<Vec<u8>>> {
    let about = file.metadata()?;
    if !Itself::of(&about).is_at(place) || about.len() < place.offset {
        return Ok(None);
    }
    let mut head = vec![0; to_usize(place.head_len.min(HEAD))];
    let is_whole = read_whole_at(file, &mut head, place.hole)?;
    Ok((is_whole && digest_of(&head) == place.head).then_some(head))
}

/// Whether the file has so many bytes there.
pub(super) fn read_whole_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
