//! Sizes and limits of a ledger. All of them bound something; none turns a promise off.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::time::Timestamp;

use crate::disk::Disk;
use crate::frame::{FRAME_HEADER_LEN, MAX_LEAF_LEN};
use crate::leaf::PREFIX_MAX;
use crate::segment::{FOOTER_LEN, max_header_len};
use crate::tiles::Keeping;

/// How a ledger is written.
#[derive(Clone)]
pub struct Options {
    /// Size of a segment on the disk, in bytes: 64 KiB to 1 GiB. Two are preallocated from the start.
    pub segment_bytes: u64,
    /// Records and parts that wait in memory, in bytes; more are refused with `AppendError::Full`.
    pub queue_bytes: usize,
    /// Records that wait in memory.
    pub queue_records: usize,
    /// Intents and streams without their end; each holds a place in memory and on the disk.
    pub max_open: usize,
    /// The longest body of an outcome, in bytes: what is reserved for it.
    pub outcome_bytes: usize,
    /// Bytes that are written and synced at once, about.
    pub batch_bytes: usize,
    /// How often a full or failing disk is tried again.
    pub probe_every: Duration,
    /// Which run of the process; stands as `boot` in the records the ledger writes itself.
    pub boot: Arc<str>,
    /// The wall clock for those records.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The folder of the key that signs the ledger, where one does. Before the ledger appends records of its own at its start (of a torn end, of calls without an
    /// end), how much it found is written down there, as [`crate::Publisher::note_found`] does: behind the end of a run that had signed all of its records they would
    /// else pass for somebody else's, if this start dies before it signs.
    pub beside: Option<Arc<dyn Disk>>,
    /// Which promise to break, so that the tests show that they would notice.
    #[cfg(any(test, feature = "sim"))]
    pub mutant: Option<crate::sim::Mutant>,
    /// Levels of the tree that a tile spans; 8, except where the crash rounds want many levels of few records.
    #[cfg(any(test, feature = "sim"))]
    pub tile_height: u32,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            queue_records: 1 << 18,
            max_open: 1 << 16,
            outcome_bytes: 4096,
            batch_bytes: 4 << 20,
            probe_every: Duration::from_secs(1),
            boot: Arc::from(""),
            clock: Arc::new(wall_clock),
            beside: None,
            #[cfg(any(test, feature = "sim"))]
            mutant: None,
            #[cfg(any(test, feature = "sim"))]
            tile_height: crate::tiles::TILE_HEIGHT,
        }
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The largest record with its parts that a segment of any size takes, in bytes.
const GROUP_MAX: usize = 1 << 20;
/// Places on the disk kept for the ledger's own records (gap, checkpoint, recovery), beyond the reserved outcomes.
pub(crate) const OWN_SLOTS: u64 = 8;

impl Options {
    /// Bytes on the disk that one reserved outcome may need.
    pub(crate) fn slot_len(&self) -> u64 {
        to_u64(FRAME_HEADER_LEN + PREFIX_MAX + self.outcome_bytes)
    }

    /// Bytes on the disk that one record with its parts may need at most.
    pub(crate) fn group_max(&self) -> usize {
        usize::try_from(self.segment_bytes / 2)
            .unwrap_or(GROUP_MAX)
            .min(GROUP_MAX)
    }

    /// How the files of the tree's upper levels are kept.
    pub(crate) fn tiles(&self) -> Keeping {
        #[cfg(any(test, feature = "sim"))]
        let keeping = Keeping {
            height: self.tile_height.max(1),
            syncs: self.mutant != Some(crate::sim::Mutant::NoTileSync),
        };
        #[cfg(not(any(test, feature = "sim")))]
        let keeping = Keeping {
            height: crate::tiles::TILE_HEIGHT,
            syncs: true,
        };
        keeping
    }

    /// Says what does not fit together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !(1 << 16..=1 << 30).contains(&self.segment_bytes) {
            return Err("segment_bytes must lie between 64 KiB and 1 GiB");
        }
        if self.outcome_bytes < 256 || self.outcome_bytes + PREFIX_MAX > MAX_LEAF_LEN {
            return Err("outcome_bytes must lie between 256 and 65,000");
        }
        if self.max_open == 0 || self.queue_records == 0 || self.queue_bytes == 0 || self.batch_bytes == 0 {
            return Err("max_open, queue_records, queue_bytes and batch_bytes must not be zero");
        }
        let header = to_u64(max_header_len(self.max_open) + FOOTER_LEN);
        let own = self.slot_len().saturating_mul(OWN_SLOTS + 1);
        if header + own + to_u64(self.group_max()) > self.segment_bytes {
            return Err("segment_bytes is too small for max_open and outcome_bytes");
        }
        Ok(())
    }
}

pub(crate) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
