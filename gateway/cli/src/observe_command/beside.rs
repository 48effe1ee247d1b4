//! The files beside a followed log: what it was turned over or copied to, also packed with gzip. Which of them were read is known by
//! what they are and how they begin, not by their names, which change, nor by their times, which go back.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use flate2::read::MultiGzDecoder;

use super::keep::Place;

/// By so many first bytes a file is known again.
pub(super) const HEAD: u64 = 1_024;
/// So many of them are not the same in two logs: they hold the `auditID` of the first event.
const CERTAIN: u64 = 256;
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

/// One of them.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) path: PathBuf,
    pub(super) form: Form,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Unpacked; of a gzip file what its end says, without the part above 4 GiB.
    length: u64,
    written: i64,
    first: Vec<u8>,
}

impl Beside {
    /// As a place at its end.
    pub(super) fn whole(&self) -> Place {
        let head_len = to_u64(self.first.len()).min(HEAD).min(self.length);
        Place {
            device: self.device,
            inode: self.inode,
            head: digest_of(self.first.get(..to_usize(head_len)).unwrap_or_default()),
            head_len,
            offset: self.length,
            written: self.written,
        }
    }

    fn begins_as(&self, place: &Place) -> bool {
        let head = self.first.get(..to_usize(place.head_len));
        head.is_some_and(|head| digest_of(head) == place.head)
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
        let is_itself = (self.device, self.inode) == (place.device, place.inode);
        (is_itself || place.head_len >= CERTAIN) && self.begins_as(place)
    }

    /// Whether it has nothing behind the place.
    pub(super) fn ends_at(&self, place: &Place) -> bool {
        match self.form {
            Form::Plain => self.length <= place.offset,
            Form::Gzip => self.length == place.offset & u64::from(u32::MAX),
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
    let folder = folder(log);
    let stem = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // All of them keep its ending somewhere; an `audit-policy.yaml` is no log.
    let ending = log
        .extension()
        .map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&stem).unwrap_or_default();
        if !rest.starts_with(['-', '.', '_']) || !rest.contains(&ending) || Some(name.as_ref()) == log.file_name() {
            continue;
        }
        match look(&entry.path()) {
            Ok(Some(beside)) => found.push(beside),
            // It went meanwhile, under this name.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(found)
}

/// The folder of the log.
pub(super) fn folder(log: &Path) -> &Path {
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
    let (mut first, mut length) = (Vec::new(), about.len());
    match form {
        Form::Plain => {
            first.resize(to_usize(HEAD.min(length)), 0);
            file.read_exact_at(&mut first, 0)?;
        }
        Form::Gzip => {
            let mut end = [0; 4];
            if length >= 4 && file.read_exact_at(&mut end, length - 4).is_ok() {
                length = u64::from(u32::from_le_bytes(end));
            }
            // One that cannot be unpacked begins like no other.
            if unpacked(file).take(HEAD).read_to_end(&mut first).is_err() {
                first.clear();
            }
        }
        Form::Unread => {}
    }
    Ok(Some(Beside {
        path: path.to_owned(),
        form,
        device: about.dev(),
        inode: about.ino(),
        length,
        written: written(&about),
        first,
    }))
}

/// When a file was last written: unix nanoseconds.
pub(super) fn written(about: &fs::Metadata) -> i64 {
    let nanos = about.mtime().saturating_mul(1_000_000_000);
    nanos.saturating_add(about.mtime_nsec())
}

/// The digest of a file's first bytes; empty where it has fewer.
pub(super) fn head(file: &File, length: u64) -> io::Result<String> {
    let mut bytes = vec![0; to_usize(length.min(HEAD))];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(digest_of(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Whether it is the file of the place, and still has what was read of it.
pub(super) fn is_at(file: &File, place: &Place) -> io::Result<bool> {
    let about = file.metadata()?;
    let is_it = (about.dev(), about.ino()) == (place.device, place.inode) && about.len() >= place.offset;
    Ok(is_it && head(file, place.head_len)? == place.head)
}

fn digest_of(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
