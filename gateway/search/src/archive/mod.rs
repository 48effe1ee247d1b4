//! A ledger's folder, with or without the process that writes it.

mod catalog;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ledger::{ReadError, Reader};
use model::time::Timestamp;

use catalog::Catalog;
pub(crate) use catalog::{Block, Indexed, Leaf, Unread, read_block};

/// Among so many records stands the one that says what a ledger is for.
const FIRST_RECORDS: u64 = 16;

/// Why a search could not begin. What goes wrong on the way stands in its page.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The folder or a record cannot be read.
    #[error("the ledger in `{dir}` cannot be read")]
    Unreadable {
        /// Which folder.
        dir: String,
        /// Why.
        source: ReadError,
    },
    /// Files of the folder are gone, or end too early.
    #[error("the ledger in `{dir}` lacks records from {first} on: their file is gone or ends before them")]
    Missing {
        /// Which folder.
        dir: String,
        /// The first record that is missing.
        first: u64,
    },
}

/// A ledger to search in. Keeps where blocks of records begin, so that the next search is quicker; that is derived.
pub struct Archive {
    dir: PathBuf,
    durable: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    catalog: Mutex<Catalog>,
    names: Option<Arc<dyn ledger::Names>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Archive {
    /// Files alone: nobody is known to write them. A call without an end is then "unknown".
    #[must_use]
    pub fn of_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            durable: None,
            catalog: Mutex::default(),
            names: None,
        }
    }

    /// The ledger of this process. `durable` gives the number of durable records; nothing beyond is read.
    #[must_use]
    pub fn live(dir: &Path, durable: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            durable: Some(Arc::new(durable)),
            ..Self::of_dir(dir)
        }
    }

    /// Where names are sealed in this ledger: what opens them for whoever searches here. Without it their places say that they are sealed.
    #[must_use]
    pub fn naming(self, names: Option<Arc<dyn ledger::Names>>) -> Self {
        Self { names, ..self }
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.durable.is_some()
    }

    /// The records that may be read now end before this one.
    pub(crate) fn end(&self) -> u64 {
        self.durable.as_ref().map_or(u64::MAX, |durable| durable())
    }

    pub(crate) fn reader(&self) -> Result<Reader, SearchError> {
        let reader = Reader::open(&self.dir).map_err(|source| self.unreadable(source))?;
        Ok(reader.naming(self.names.clone()))
    }

    pub(crate) fn unreadable(&self, source: ReadError) -> SearchError {
        SearchError::Unreadable {
            dir: self.dir.display().to_string(),
            source,
        }
    }

    /// The blocks of a segment that end before `end`, as far as `go_on` allows to look.
    pub(crate) fn blocks(
        &self,
        reader: &Reader,
        segment: ledger::SegmentInfo,
        end: u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Indexed {
        // Reading happens without the lock, so that one search in a new segment does not hold up the others.
        let known = self.catalog().known(segment.first_seq);
        let mut indexed = catalog::extend(known, reader, segment, end, go_on);
        if segment.next_seq.is_none() && indexed.unread.as_ref().is_some_and(|unread| unread.why.is_none()) {
            // It ends early where a next one has begun since this reader looked at the folder.
            indexed.unread.take_if(|_| self.has_more_than(reader));
        }
        // What lies beyond `end` for this caller may lie within it for the next; only what is durable is kept.
        self.catalog().keep(segment.first_seq, Arc::clone(&indexed.index));
        indexed
    }

    /// Whether the folder has more segments now than this reader knows.
    pub(crate) fn has_more_than(&self, reader: &Reader) -> bool {
        self.reader()
            .is_ok_and(|now| now.segments().len() > reader.segments().len())
    }

    pub(crate) fn lacks(&self, unread: Unread) -> SearchError {
        match unread.why {
            Some(error) => self.unreadable(error),
            None => SearchError::Missing {
                dir: self.dir.display().to_string(),
                first: unread.first,
            },
        }
    }

    /// When the first record of a segment was written; `None` while it has none.
    pub(crate) fn begin_of(&self, reader: &Reader, segment: ledger::SegmentInfo, end: u64) -> Option<Timestamp> {
        if segment.first_seq >= end {
            return None;
        }
        if let Some(known) = self.catalog().begin_of(segment.first_seq) {
            return Some(known);
        }
        let record = reader.records_in(segment).until(end).next()?.ok()?;
        let time = crate::leaf::time_of(&record.leaf)?;
        self.catalog().keep_begin(segment.first_seq, time);
        Some(time)
    }

    /// Whether times say in which order records were written: not so in a ledger of what was read from other logs, whose times are
    /// theirs and whose files were read in any order.
    pub(crate) fn is_in_order(&self, reader: &Reader) -> bool {
        let first = reader.segments().first().copied();
        let mut records = first
            .into_iter()
            .flat_map(|segment| reader.records_in(segment).until(FIRST_RECORDS));
        !records.any(|record| record.is_ok_and(|record| crate::leaf::begins_a_copy(&record.leaf)))
    }

    fn catalog(&self) -> std::sync::MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
