//! The tree as C2SP tlog-tiles: names of tiles, their bytes, and the files that keep the hashes above the leaves.
//!
//! No tile is a file. The hashes of leaves lie in the segments' `.hashes` files, those of each level above in one file
//! (`tiles-1`: subtrees of 256 leaves, `tiles-2`: of 65,536, …), 32 bytes each, so that tile *n* of a level is the slice
//! `[n × 8192, + 32 × width)`. All of it is derived from the records: what is missing is computed again, and a file that lies
//! yields proofs that do not hold.
//!
//! Invariant: where a segment has a successor or a footer, what the files say of its records is synced, or cut off and missing.
//! What they say of later records nobody reads: a power cut may have torn it.

mod bundle;
mod export;
mod files;
mod mend;
mod path;
mod served;
mod tail;
mod view;

pub(crate) use bundle::push_entry;
pub use bundle::{BundleError, bundle_entries, fuzz_entry_bundle};
pub use export::{ExportError, Exported};
pub(crate) use files::{Keeping, TileFiles};
pub(crate) use mend::Mending;
pub use path::{TileKind, TilePath, TilePathError, fuzz_tile_path};
pub use view::{NodesWhile, Tiles, TilesError};

use crate::tree::{Hash, node_hash};

/// Hashes in a full tile.
pub(crate) const TILE_WIDTH: u16 = 256;
/// Levels of the tree that a tile spans.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// The file of the hashes of this level, from 1.
pub(crate) fn tiles_name(level: u32) -> String {
    format!("tiles-{level}")
}

/// A level's file while it is being made anew.
fn draft_name(level: u32) -> String {
    format!("tiles-{level}.new")
}

/// The level in a file's name.
fn parse_tiles_name(name: &str) -> Option<u32> {
    let level = name.strip_prefix("tiles-")?.parse().ok()?;
    (tiles_name(level) == name).then_some(level)
}

/// How many hashes the level has in a tree of `size` leaves, where a level is `height` levels of the tree.
pub(crate) fn count_at(size: u64, height: u32, level: u32) -> u64 {
    let bits = height.checked_mul(level);
    bits.and_then(|bits| size.checked_shr(bits)).unwrap_or(0)
}

/// Adds the hash of a subtree of this height with its level, if there is a level of such, where a level is `span` levels of the
/// tree.
pub(crate) fn note(nodes: &mut Vec<(u32, Hash)>, span: u32, height: u32, node: &Hash) {
    if height.checked_rem(span) == Some(0) {
        nodes.push((height / span, *node));
    }
}

/// The root over a power of two of hashes.
fn perfect_root(row: &[Hash]) -> Hash {
    let mut row = row.to_vec();
    while row.len() > 1 {
        let (pairs, _) = row.as_chunks::<2>();
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
