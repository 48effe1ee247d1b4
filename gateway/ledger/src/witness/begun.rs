//! The marker beside a witness's key: that, and how far, this key has cosigned. The memory itself is a folder that can be lost apart
//! from the key: a volume that is not mounted, a clean-up, an older copy. Without the marker an emptied folder would look like that
//! of a new witness, which cosigns a second history from nothing.
//!
//! ```text
//! gatescribe witness
//! <NAME+ID of the key>
//! <size> <origin>
//! ```
//!
//! What survives what: a lost or emptied folder, and a copy of it that is older than the last start, are noticed by the marker. A lost
//! marker is made anew from the folder, as long as that holds anything. Both lost, or both put back from one older copy with the key,
//! nobody here can notice: the log does, which knows what was cosigned ([`super::NotCosigned::Forgot`]).
//!
//! Sizes are raised at each start and written first before the first cosignature of a log leaves, so that a checkpoint costs one
//! durable write and not two.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::memory::MemoryError;
use crate::checkpoint::decimal;
use crate::disk::{Disk, read_range};
use crate::note::{MAX_NOTE_LEN, VerifierKey};

const FIRST: &str = "gatescribe witness";

/// Where a marker lies: a folder, and its name there.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder, such as that of the key.
    pub disk: Arc<dyn Disk>,
    /// The file.
    pub name: String,
}

/// How far this key has cosigned each log, at least.
#[derive(Debug)]
pub(super) struct Begun {
    place: Place,
    key: String,
    sizes: BTreeMap<String, u64>,
}

impl Begun {
    /// For a key that has cosigned nothing. Nothing is written yet.
    pub(super) fn new(place: &Place, key: &VerifierKey) -> Self {
        Self {
            place: place.clone(),
            key: key.short(),
            sizes: BTreeMap::new(),
        }
    }

    /// Reads the marker; `None` where there is none.
    pub(super) fn read(place: &Place, key: &VerifierKey) -> Result<Option<Self>, MemoryError> {
        let Place { disk, name } = place;
        let bytes = match disk.open_read(name) {
            Ok(file) => read_range(&*file, 0, MAX_NOTE_LEN),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let file = disk.display(name);
        let bytes = bytes.map_err(|source| MemoryError::Io {
            what: "read",
            file: file.clone(),
            source,
        })?;
        let marker = || MemoryError::Marker { file: file.clone() };
        let (of, sizes) = parse(&bytes).ok_or_else(marker)?;
        if of != key.short() {
            let key = key.short();
            return Err(MemoryError::MarkerKey { file, of, key });
        }
        Ok(Some(Self {
            sizes,
            ..Self::new(place, key)
        }))
    }

    /// How many records of this log were cosigned, at least; `None` where none is known to have been.
    pub(super) fn size(&self, origin: &str) -> Option<u64> {
        self.sizes.get(origin).copied()
    }

    /// What it says from now on, durably.
    pub(super) fn put(&mut self, sizes: BTreeMap<String, u64>) -> Result<(), MemoryError> {
        let before = std::mem::replace(&mut self.sizes, sizes);
        let written = self.write();
        if written.is_err() {
            self.sizes = before;
        }
        written
    }

    /// One log more, durably.
    pub(super) fn add(&mut self, origin: &str, size: u64) -> Result<(), MemoryError> {
        let mut sizes = self.sizes.clone();
        sizes.insert(origin.to_owned(), size);
        self.put(sizes)
    }

    /// All of them.
    pub(super) const fn sizes(&self) -> &BTreeMap<String, u64> {
        &self.sizes
    }

    pub(super) fn write(&self) -> Result<(), MemoryError> {
        let Place { disk, name } = &self.place;
        let new = format!("{name}.new");
        let write = || -> std::io::Result<()> {
            let file = disk.create(&new)?;
            file.write_at(self.to_string().as_bytes(), 0)?;
            file.sync_all()?;
            disk.rename(&new, name)?;
            disk.sync_dir()
        };
        write().map_err(|source| MemoryError::Io {
            what: "write",
            file: disk.display(name),
            source,
        })
    }

    /// As errors call it.
    pub(super) fn file(&self) -> String {
        self.place.disk.display(&self.place.name)
    }
}

impl fmt::Display for Begun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{FIRST}\n{}", self.key)?;
        let mut sizes = self.sizes.iter();
        sizes.try_for_each(|(origin, size)| writeln!(formatter, "{size} {origin}"))
    }
}

/// The key and the sizes.
fn parse(bytes: &[u8]) -> Option<(String, BTreeMap<String, u64>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix(FIRST)?.strip_prefix('\n')?;
    let (key, rest) = text.split_once('\n')?;
    let mut sizes = BTreeMap::new();
    for line in rest.split_inclusive('\n') {
        let (size, origin) = line.strip_suffix('\n')?.split_once(' ')?;
        let is_new = sizes.insert(origin.to_owned(), decimal(size)?).is_none();
        is_new.then_some(())?;
    }
    Some((key.to_owned(), sizes))
}

/// Leaves the marker of a new key, which has cosigned nothing yet. Before the key itself is kept: a key without it is refused.
///
/// # Errors
/// [`MemoryError`]; also where another key's marker lies there that has cosigned something.
pub fn begin(place: &Place, key: &VerifierKey) -> Result<(), MemoryError> {
    match Begun::read(place, key) {
        // Of a key that was never kept.
        Err(MemoryError::MarkerKey { .. }) if has_cosigned_nothing(place) => {}
        read => drop(read?),
    }
    Begun::new(place, key).write()
}

fn has_cosigned_nothing(place: &Place) -> bool {
    let bytes = place
        .disk
        .open_read(&place.name)
        .and_then(|file| read_range(&*file, 0, MAX_NOTE_LEN));
    bytes.is_ok_and(|bytes| parse(&bytes).is_some_and(|(_, sizes)| sizes.is_empty()))
}
