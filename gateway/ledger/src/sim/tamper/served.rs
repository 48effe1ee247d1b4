//! The same log as a server gives it, and a server that gives something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Outcome, Tampering};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::note::Note;
use crate::sim::{Rng, SimDisk};
use crate::tiles::{TILE_WIDTH, TileKind, TilePath, Tiles, bundle_entries};
use crate::verify::{Fault, RemoteError, Source, SourceError, Trust, verify_remote};

/// What a server gives, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(BTreeMap<String, Vec<u8>>);

impl Source for Served {
    fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.0.get(path).ok_or(SourceError::Missing)?;
        if bytes.len() > most {
            return Err(SourceError::TooLong { most });
        }
        Ok(bytes.clone())
    }
}

/// What was done to it: the path, and the records that it is about where these can be known.
struct Done {
    path: String,
    records: Option<std::ops::Range<u64>>,
}

impl Served {
    /// The log of this folder.
    pub(super) fn of(disk: &SimDisk, newest: &Note) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let tiles = Tiles::open_on(disk);
        let size = Checkpoint::parse(newest.text()).map_or(0, |newest| newest.size);
        let read = |tile: TilePath| Some((tile.to_string(), tiles.read(&tile).ok()?));
        let mut files: BTreeMap<_, _> = TilePath::of_tree(size).filter_map(read).collect();
        files.insert("checkpoint".to_owned(), newest.to_string().into_bytes());
        Self(files)
    }

    /// What is wrongly found in it.
    pub(super) fn false_alarms(&self, trust: &Trust) -> u64 {
        let holds = verify_remote(self, trust, 1, &|_, _| {}).is_ok_and(|report| report.is_proved());
        u64::from(!holds)
    }

    pub(super) fn round(&self, kind: Tampering, trust: &Trust, rng: &mut Rng) -> (Outcome, String) {
        let mut forged = self.clone();
        let Some(done) = forged.forge(kind, rng) else {
            return (Outcome::Missed, "the forgery could not be made".to_owned());
        };
        match verify_remote(&forged, trust, 1, &|_, _| {}) {
            // What cannot be had is named by its path.
            Err(RemoteError::Fetch { path, source, .. }) if path == done.path => (Outcome::Located, source.to_string()),
            Err(error) => (Outcome::Misplaced(error.to_string()), error.to_string()),
            Ok(report) => {
                let words: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
                let said = words.join("; ");
                let names = |finding: &crate::verify::Finding| {
                    let is_of_it = matches!(finding.fault, Fault::Altered | Fault::Tile | Fault::Unreadable(_));
                    is_of_it && done.records.as_ref() == Some(&finding.records)
                };
                let outcome = match report.findings.as_slice() {
                    [] => Outcome::Missed,
                    [only] if names(only) => Outcome::Located,
                    _ => Outcome::Misplaced(said.clone()),
                };
                (outcome, said)
            }
        }
    }

    fn forge(&mut self, kind: Tampering, rng: &mut Rng) -> Option<Done> {
        let is_chosen = |path: &str| match kind {
            Tampering::ServedEntry => path.starts_with("tile/entries/"),
            Tampering::ServedTile => path.starts_with("tile/") && !path.starts_with("tile/entries/"),
            _ => path.starts_with("tile/"),
        };
        let paths: Vec<String> = self.0.keys().filter(|path| is_chosen(path)).cloned().collect();
        let path = paths.get(rng.len(paths.len()))?.clone();
        let tile = TilePath::parse(&path).ok()?;
        let wide = u64::from(TILE_WIDTH);
        let first = tile.index().checked_mul(wide)?;
        let bytes = self.0.get_mut(&path)?;
        let records = match (kind, tile.what()) {
            (Tampering::ServedEntry, _) => {
                let lens: Vec<usize> = bundle_entries(bytes, tile.width())
                    .ok()?
                    .iter()
                    .map(|one| one.len())
                    .collect();
                let chosen = rng.len(lens.len());
                let before: usize = lens.iter().take(chosen).map(|len| len + 2).sum();
                let at = before + 2 + rng.len(*lens.get(chosen)?);
                *bytes.get_mut(at)? ^= 1 << rng.below(8);
                one(first.checked_add(u64::try_from(chosen).ok()?)?)
            }
            (Tampering::ServedTile, TileKind::Hashes { level }) => {
                let at = rng.len(bytes.len());
                *bytes.get_mut(at)? ^= 1 << rng.below(8);
                let hash = first.checked_add(u64::try_from(at / 32).ok()?)?;
                let leaves = wide.checked_pow(u32::from(level))?;
                Some(hash.checked_mul(leaves)?..hash.checked_add(1)?.checked_mul(leaves)?)
            }
            (Tampering::ServedSize, what) => {
                if rng.one_in(2) {
                    bytes.push(0);
                } else {
                    bytes.pop();
                }
                // An entry bundle has to be read to its end before that is seen.
                (what == TileKind::Entries).then_some(first..first.checked_add(u64::from(tile.width()))?)
            }
            _ => {
                self.0.remove(&path)?;
                None
            }
        };
        Some(Done { path, records })
    }
}

fn one(seq: u64) -> Option<std::ops::Range<u64>> {
    Some(seq..seq.checked_add(1)?)
}
