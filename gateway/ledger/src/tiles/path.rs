//! Names of tiles and entry bundles as C2SP tlog-tiles has them: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`. Pure:
//! whether there is such a tile is another question.
//!
//! Invariant: each tile has exactly one path, so what [`TilePath::parse`] takes is what [`std::fmt::Display`] writes.

use std::fmt;

use super::{TILE_HEIGHT, TILE_WIDTH};

/// The highest level that a path may name, as the specification has it; trees of 64-bit sizes end at level 7.
const LEVEL_MAX: u8 = 63;

/// One tile or entry bundle, whole or partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    what: TileKind,
    index: u64,
    width: u16,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of perfect subtrees of height 8 × `level`.
    Hashes {
        /// 0 to 63; on level 0 the hashes are those of leaves.
        level: u8,
    },
    /// The leaves themselves.
    Entries,
}

/// Why a path names no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// It is not `tile/<L>/<N>` or `tile/entries/<N>`.
    #[error("a tile's path is `tile/<level>/<index>` or `tile/entries/<index>`")]
    Shape,
    /// The level is no number from 0 to 63, or written in another way than that number is.
    #[error("a tile's level is a number from 0 to 63")]
    Level,
    /// The index is not in groups of three digits, all but the last with an `x`, none too many; or it is beyond 64 bits.
    #[error("a tile's index stands in groups of three digits, such as `x001/x234/067`")]
    Index,
    /// The width is no number from 1 to 255 (256 has no `.p`), or written in another way than that number is.
    #[error("a partial tile's width is a number from 1 to 255")]
    Width,
}

impl TilePath {
    /// The tile of `width` hashes (or entries) with this index on its level.
    ///
    /// # Errors
    /// The level is over 63, or the width is not 1 to 256.
    pub fn new(what: TileKind, index: u64, width: u16) -> Result<Self, TilePathError> {
        if matches!(what, TileKind::Hashes { level } if level > LEVEL_MAX) {
            return Err(TilePathError::Level);
        }
        if !(1..=TILE_WIDTH).contains(&width) {
            return Err(TilePathError::Width);
        }
        Ok(Self { what, index, width })
    }

    /// Reads a path, without a slash in front.
    ///
    /// # Errors
    /// It is not exactly what the tile's path would be.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        let rest = path.strip_prefix("tile/").ok_or(TilePathError::Shape)?;
        let (what, rest) = rest.split_once('/').ok_or(TilePathError::Shape)?;
        let what = match what {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes {
                level: number(level, 2)
                    .and_then(|level| u8::try_from(level).ok())
                    .ok_or(TilePathError::Level)?,
            },
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = number(width, 3).filter(|width| *width < TILE_WIDTH);
                (index, width.ok_or(TilePathError::Width)?)
            }
        };
        Self::new(what, parse_index(index).ok_or(TilePathError::Index)?, width)
    }

    /// What it holds.
    #[must_use]
    pub fn what(&self) -> TileKind {
        self.what
    }

    /// Its place on its level, from the left.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it has: 256, or fewer when it is partial.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The size of the smallest tree that has this tile; `None` beyond 64 bits, where none has.
    #[must_use]
    pub fn tree_size(&self) -> Option<u64> {
        let level = match self.what {
            TileKind::Entries => 0,
            TileKind::Hashes { level } => level,
        };
        let hashes = self.index.checked_mul(u64::from(TILE_WIDTH))?;
        let hashes = hashes.checked_add(u64::from(self.width))?;
        let span = 1_u64.checked_shl(u32::from(level).checked_mul(TILE_HEIGHT)?)?;
        hashes.checked_mul(span)
    }

    /// All tiles and bundles of the tree of `size` leaves: level by level from the leaves, with the bundles before them, and
    /// from the left.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0_u8..)
            .map(move |level| (level, size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)))
            .take_while(|(_, hashes)| *hashes > 0)
            .map(|(level, hashes)| (TileKind::Hashes { level }, hashes));
        let entries = (size > 0).then_some((TileKind::Entries, size));
        entries.into_iter().chain(levels).flat_map(|(what, hashes)| {
            let (full, rest) = (hashes >> TILE_HEIGHT, hashes & (u64::from(TILE_WIDTH) - 1));
            let partial = u16::try_from(rest).ok().filter(|width| *width > 0);
            let full = (0..full).map(|index| (index, TILE_WIDTH));
            let partial = partial.map(|width| (hashes >> TILE_HEIGHT, width));
            full.chain(partial)
                .map(move |(index, width)| Self { what, index, width })
        })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let groups = 1 + self.index.checked_ilog(1000).unwrap_or(0);
        for group in (1..groups).rev() {
            write!(f, "x{:03}/", self.index / 1000_u64.pow(group) % 1000)?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// A decimal number of at most `digits` digits, written as such a number is: no sign, no leading zero.
fn number(text: &str, digits: usize) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with('0');
    (is_plain && text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// An index in groups of three digits. A group of nothing but zeros in front would be a second name for the same tile.
fn parse_index(text: &str) -> Option<u64> {
    let (before, last) = match text.rsplit_once('/') {
        None => (None, text),
        Some((before, last)) => (Some(before), last),
    };
    let mut index = 0_u64;
    for group in before.into_iter().flat_map(|before| before.split('/')) {
        index = append(index, group.strip_prefix('x')?)?;
        if index == 0 {
            return None;
        }
    }
    append(index, last)
}

fn append(index: u64, group: &str) -> Option<u64> {
    let is_group = group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = is_group.then(|| group.parse().ok())??;
    index.checked_mul(1000)?.checked_add(value)
}

/// Reads foreign bytes as a tile's path. Panics when what is taken is not written the same again.
pub fn fuzz_tile_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(tile) = TilePath::parse(text) {
        assert_eq!(tile.to_string(), text, "a tile has one path");
        assert_eq!(TilePath::new(tile.what, tile.index, tile.width), Ok(tile));
        let _ = tile.tree_size();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(level: u8, index: u64, width: u16) -> TilePath {
        TilePath::new(TileKind::Hashes { level }, index, width).unwrap()
    }

    fn entries(index: u64, width: u16) -> TilePath {
        TilePath::new(TileKind::Entries, index, width).unwrap()
    }

    #[test]
    fn the_paths_of_the_specification_come_out_and_are_read() {
        let known = [
            (hashes(0, 0, 256), "tile/0/000"),
            (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (hashes(0, 273, 112), "tile/0/273.p/112"),
            (hashes(1, 1, 17), "tile/1/001.p/17"),
            (hashes(2, 0, 1), "tile/2/000.p/1"),
            (hashes(63, 999, 255), "tile/63/999.p/255"),
            (entries(0, 256), "tile/entries/000"),
            (entries(1000, 1), "tile/entries/x001/000.p/1"),
            (entries(u64::MAX, 256), "tile/entries/x018/x446/x744/x073/x709/x551/615"),
        ];
        for (tile, path) in known {
            assert_eq!(tile.to_string(), path);
            assert_eq!(TilePath::parse(path), Ok(tile));
        }
    }

    #[test]
    fn whatever_is_not_exactly_a_tiles_path_is_refused_with_what_is_wrong() {
        use TilePathError::{Index, Level, Shape, Width};
        let refused = [
            ("", Shape),
            ("/tile/0/000", Shape),
            ("tile/0", Shape),
            ("tiles/0/000", Shape),
            ("tile//000", Level),
            ("tile/00/000", Level),
            ("tile/64/000", Level),
            ("tile/-1/000", Level),
            ("tile/+1/000", Level),
            ("tile/data/000", Level),
            ("tile/0/", Index),
            ("tile/0/0", Index),
            ("tile/0/0000", Index),
            ("tile/0/+00", Index),
            ("tile/0/x000", Index),
            ("tile/0/x000/001", Index),
            ("tile/0/001/001", Index),
            ("tile/0/X001/001", Index),
            ("tile/0/x001/x001", Index),
            ("tile/0/x001//001", Index),
            ("tile/0/000/", Index),
            ("tile/0/../000", Index),
            ("tile/0/٠٠٠", Index),
            ("tile/0/x018/x446/x744/x073/x709/x551/616", Index),
            ("tile/0/x001/x018/x446/x744/x073/x709/x551/615", Index),
            ("tile/0/000.p/", Width),
            ("tile/0/000.p/0", Width),
            ("tile/0/000.p/01", Width),
            ("tile/0/000.p/256", Width),
            ("tile/0/000.p/1000", Width),
            ("tile/0/000.p/1/", Width),
            ("tile/0/000.p/1.p/1", Width),
            ("tile/0/000.p", Index),
            ("tile/0/000 ", Index),
        ];
        for (path, why) in refused {
            assert_eq!(TilePath::parse(path), Err(why), "{path}");
        }
        assert_eq!(TilePath::new(TileKind::Hashes { level: 64 }, 0, 1), Err(Level));
        assert_eq!(TilePath::new(TileKind::Entries, 0, 0), Err(Width));
        assert_eq!(TilePath::new(TileKind::Entries, 0, 257), Err(Width));
    }

    /// The example of the specification, and its note on 256.
    #[test]
    fn a_tree_has_the_tiles_that_the_specification_counts() {
        let levels = |size| {
            let mut seen: Vec<String> = TilePath::of_tree(size).map(|tile| tile.to_string()).collect();
            seen.retain(|path| !path.starts_with("tile/entries/"));
            seen
        };
        let of_70_000 = levels(70_000);
        let level_0 = of_70_000.iter().filter(|path| path.starts_with("tile/0/"));
        assert_eq!(level_0.count(), 274);
        assert_eq!(
            of_70_000[272..],
            [
                "tile/0/272",
                "tile/0/273.p/112",
                "tile/1/000",
                "tile/1/001.p/17",
                "tile/2/000.p/1"
            ]
        );
        assert_eq!(levels(256), ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(levels(0), [""; 0]);
        let bundles = TilePath::of_tree(300).filter(|tile| tile.what() == TileKind::Entries);
        assert_eq!(bundles.collect::<Vec<_>>(), [entries(0, 256), entries(1, 44)]);
    }

    #[test]
    fn a_tile_needs_a_tree_that_is_large_enough() {
        assert_eq!(hashes(0, 0, 1).tree_size(), Some(1));
        assert_eq!(entries(2, 3).tree_size(), Some(515));
        assert_eq!(hashes(2, 1, 2).tree_size(), Some(258 << 16));
        assert_eq!(hashes(7, 0, 255).tree_size(), Some(255 << 56));
        assert_eq!(hashes(7, 0, 256).tree_size(), None);
        assert_eq!(hashes(8, 0, 1).tree_size(), None);
        assert_eq!(hashes(63, 0, 1).tree_size(), None);
        assert_eq!(entries(u64::MAX, 1).tree_size(), None);
    }

    proptest! {
        #[test]
        fn each_tile_is_read_back_from_its_path(level in 0_u8..64, index: u64, width in 1_u16..=256, bits in 0_u32..64) {
            let index = index >> bits;
            for tile in [hashes(level, index, width), entries(index, width)] {
                prop_assert_eq!(TilePath::parse(&tile.to_string()), Ok(tile));
            }
        }

        #[test]
        fn a_text_that_is_taken_is_the_tiles_one_path(
            text in prop_oneof![
                ".*",
                "tile/([0-9]{1,3}|entries)/(x?[0-9]{2,4}/){0,7}x?[0-9]{2,4}(\\.p/[0-9]{0,4})?",
            ]
        ) {
            fuzz_tile_path(text.as_bytes());
        }

        #[test]
        fn the_tiles_of_a_tree_are_all_that_it_has_room_for(size in 0_u64..200_000) {
            let tiles: Vec<TilePath> = TilePath::of_tree(size).collect();
            let held: u64 = tiles
                .iter()
                .filter(|tile| tile.what() == TileKind::Entries)
                .map(|tile| u64::from(tile.width()))
                .sum();
            prop_assert_eq!(held, size);
            for tile in tiles {
                prop_assert!(tile.tree_size().is_some_and(|needed| needed <= size));
            }
        }
    }
}
