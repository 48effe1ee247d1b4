//! The marker beside a witness's key: that, and how far, this key has cosigned. The memory itself is a folder that can be lost apart
//! from the key: a volume that is not mounted, a clean-up, an older copy. Without the marker an emptied folder would look like that
//! of a new witness, which cosigns a second history from nothing.
//!
//! ```text
//! gatescribe witness
//! <NAME+ID of the key>
//! <size> <origin>
//! newest <a key of a log>
//! ```
//!
//! What survives what: a lost or emptied folder, and a copy of it that is older than the last start, are noticed by the marker. A lost
//! marker is made anew from the folder, as long as that holds anything. Both lost, or both put back from one older copy with the key,
//! nobody here can notice: the log does, which knows what was cosigned ([`super::NotCosigned::Forgot`]).
//!
//! A `newest` line stands for each key that was the newest of its log, in that order, where a log has had more than one: the last of them
//! counts, also where the folder, or the list of keys, knows nothing of it any more.
//!
//! Sizes are raised at each start that finds them raised, and written first before the first cosignature of a log leaves, so that a checkpoint costs one
//! durable write and not two.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::memory::MemoryError;
use crate::checkpoint::decimal;
use crate::disk::{Disk, read_range};
use crate::note::{MAX_NOTE_LEN, VerifierKey};

const FIRST: &str = "gatescribe witness";
const NEWEST: &str = "newest ";
/// Keys of one log that are named; the oldest go.
const MOST_KEYS: usize = 64;

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
    said: Said,
}

/// What the marker says of the logs, by their origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    sizes: BTreeMap<String, u64>,
    /// The oldest first.
    keys: BTreeMap<String, Vec<VerifierKey>>,
}

impl Said {
    /// How many records of this log were cosigned, at least; `None` where none is known to have been.
    pub(super) fn size(&self, origin: &str) -> Option<u64> {
        self.sizes.get(origin).copied()
    }

    /// The keys that were the newest of this log, the oldest first; none where it never had another one.
    pub(super) fn keys(&self, origin: &str) -> &[VerifierKey] {
        self.keys.get(origin).map_or(&[], Vec::as_slice)
    }

    /// Says nothing of this log any more.
    pub(super) fn forget(&mut self, origin: &str) {
        self.sizes.remove(origin);
        self.keys.remove(origin);
    }

    pub(super) fn put_size(&mut self, origin: &str, size: Option<u64>) {
        match size {
            Some(size) => drop(self.sizes.insert(origin.to_owned(), size)),
            None => drop(self.sizes.remove(origin)),
        }
    }

    /// Takes these for the keys of the log, the newest last: those that are not said yet come behind the others. One that is the only one it
    /// ever had is not worth a line.
    pub(super) fn put_keys(&mut self, origin: &str, keys: &[VerifierKey]) {
        if keys.len() < 2 && self.keys(origin).is_empty() {
            return;
        }
        let said = self.keys.entry(origin.to_owned()).or_default();
        // Behind the newest one that is said: the oldest of a long list are said no more.
        let from = keys
            .iter()
            .position(|key| said.last() == Some(key))
            .map_or(0, |at| at + 1);
        let further = keys.iter().skip(from).filter(|key| !said.contains(key));
        let further: Vec<_> = further.cloned().collect();
        said.extend(further);
        said.drain(..said.len().saturating_sub(MOST_KEYS));
    }
}

impl Begun {
    /// For a key that has cosigned nothing. Nothing is written yet.
    pub(super) fn new(place: &Place, key: &VerifierKey) -> Self {
        Self {
            place: place.clone(),
            key: key.short(),
            said: Said::default(),
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
        let (of, said) = parse(&bytes).ok_or_else(marker)?;
        if of != key.short() {
            let key = key.short();
            return Err(MemoryError::MarkerKey { file, of, key });
        }
        Ok(Some(Self {
            said,
            ..Self::new(place, key)
        }))
    }

    /// What it says.
    pub(super) const fn said(&self) -> &Said {
        &self.said
    }

    /// What it says from now on, durably.
    pub(super) fn put(&mut self, said: Said) -> Result<(), MemoryError> {
        let before = std::mem::replace(&mut self.said, said);
        let written = self.write();
        if written.is_err() {
            self.said = before;
        }
        written
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

    /// Makes durable under which name it was found: a rename that was never synced could be undone by the next power cut.
    pub(super) fn settle(&self) -> Result<(), MemoryError> {
        let Place { disk, name } = &self.place;
        disk.sync_dir().map_err(|source| MemoryError::Io {
            what: "sync",
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
        for (origin, size) in &self.said.sizes {
            writeln!(formatter, "{size} {origin}")?;
        }
        let mut keys = self.said.keys.values().flatten();
        keys.try_for_each(|key| writeln!(formatter, "{NEWEST}{key}"))
    }
}

/// The key, and what is said.
fn parse(bytes: &[u8]) -> Option<(String, Said)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix(FIRST)?.strip_prefix('\n')?;
    let (key, rest) = text.split_once('\n')?;
    let mut said = Said::default();
    for line in rest.split_inclusive('\n') {
        let line = line.strip_suffix('\n')?;
        let is_new = if let Some(key) = line.strip_prefix(NEWEST) {
            let key: VerifierKey = key.parse().ok()?;
            let keys = said.keys.entry(key.name().as_str().to_owned()).or_default();
            let is_new = !keys.contains(&key);
            keys.push(key);
            is_new
        } else {
            let (size, origin) = line.split_once(' ')?;
            said.sizes.insert(origin.to_owned(), decimal(size)?).is_none()
        };
        is_new.then_some(())?;
    }
    Some((key.to_owned(), said))
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
    bytes.is_ok_and(|bytes| parse(&bytes).is_some_and(|(_, said)| said.sizes.is_empty()))
}
