//! The whole tree as a folder that any web server can serve as a C2SP tlog-tiles log (all but its checkpoint): one file for
//! each tile and entry bundle.
//!
//! A file gets its name when its bytes are synced, so whatever has its name is whole, and an export that was interrupted, or
//! that goes on at a larger size, writes what is missing. What is written anew is checked on the way: entries against the
//! hashes of their leaves, each full tile against its hash in the level above, and so up to the root that is handed back.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::bundle::push_entry;
use super::path::{TileKind, TilePath};
use super::view::{Tiles, TilesError};
use super::{TILE_HEIGHT, TILE_WIDTH, perfect_root};
use crate::reader::Records;
use crate::tree::{Hash, Head, ProveError, leaf_hash, root_at};

/// What an export did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The tree whose tiles are in the folder now.
    pub head: Head,
    /// Files that were written.
    pub written: u64,
    /// Files that were there already.
    pub kept: u64,
}

/// Why an export ended early. What it has written by then is right, and the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger does not say what is to be written.
    #[error("a tile cannot be read")]
    Tiles(#[from] TilesError),
    /// The folder cannot be written to.
    #[error("cannot write `{}`", file.display())]
    Io {
        /// Which file or folder.
        file: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Another export writes to the folder.
    #[error("another export writes to `{}`", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The ledger's files contradict one another.
    #[error("the ledger's files disagree about `{tile}`")]
    Disagree {
        /// The first tile or bundle about which they do.
        tile: TilePath,
    },
    /// The ledger's files do not lead to the root in its checkpoint.
    #[error("the ledger's files are not what was signed at size {size}")]
    NotSigned {
        /// How many records were signed.
        size: u64,
    },
    /// The folder has other things in it, and no checkpoint.
    #[error("`{}` holds other files, and no log: name a new folder, or one that was written so before", dir.display())]
    Strange {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder is that of another log.
    #[error("`{}` is of the log `{found}`, and this ledger is `{origin}`: name another folder", file.display())]
    AnotherLog {
        /// The checkpoint that stands there.
        file: PathBuf,
        /// Its log.
        found: String,
        /// This one.
        origin: String,
    },
    /// The folder has more records than were signed here, or others.
    #[error("`{}` was signed of {size} records, and this ledger does not go on from them: it is an older copy, or has another history", file.display())]
    NotGoingOn {
        /// The checkpoint that stands there.
        file: PathBuf,
        /// Its size.
        size: u64,
    },
    /// A checkpoint that is none.
    #[error("`{}` is no checkpoint: {why}", file.display())]
    NoCheckpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Tiles {
    /// Writes all tiles and entry bundles of the tree of `size` records below `dir`, with the paths of C2SP tlog-tiles. The files
    /// hold the records themselves; who may read them is the umask's matter. Files of smaller trees stay.
    ///
    /// Blocks for as long as it takes to read the ledger and to sync each file.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn export(&self, dir: &Path, size: u64) -> Result<Exported, ExportError> {
        let mut export = Export::begin(self, dir, size)?;
        for tile in TilePath::of_tree(size) {
            export.tile(&tile)?;
        }
        export.sync_folders()?;
        let root = root(self, size)?;
        Ok(export.done(Head { size, root }))
    }
}

/// The root of the tree of so many records.
pub(super) fn root(tiles: &Tiles, size: u64) -> Result<Hash, TilesError> {
    root_at(tiles, size).map_err(|error| match error {
        ProveError::Nodes(error) => error,
        // Neither an index nor another size is asked about, and this source gives one hash for each node.
        ProveError::Outside { .. } | ProveError::Shrunk { .. } | ProveError::Count { .. } => TilesError::Nowhere,
    })
}

pub(super) struct Export<'a> {
    tiles: &'a Tiles,
    dir: &'a Path,
    size: u64,
    /// Held while it lives.
    _lock: File,
    records: Option<Records>,
    folders: BTreeSet<PathBuf>,
    written: u64,
    kept: u64,
}

impl<'a> Export<'a> {
    pub(super) fn begin(tiles: &'a Tiles, dir: &'a Path, size: u64) -> Result<Self, ExportError> {
        make_folder(dir)?;
        let name = dir.join(".lock");
        // A FIFO that somebody put there is not waited for, and what a link leads to is not emptied.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.custom_flags(OFlag::O_NONBLOCK.bits()).open(&name);
        let lock = lock.map_err(|source| failed(&name, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ExportError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(&name, source)),
        }
        Ok(Self {
            tiles,
            dir,
            size,
            _lock: lock,
            records: None,
            folders: BTreeSet::new(),
            written: 0,
            kept: 0,
        })
    }

    pub(super) fn tile(&mut self, tile: &TilePath) -> Result<(), ExportError> {
        let path = self.dir.join(tile.to_string());
        if is_there(&path, tile) {
            self.kept += 1;
            return Ok(());
        }
        let bytes = match tile.what() {
            TileKind::Entries => self.bundle(tile)?,
            TileKind::Hashes { level } => self.hashes(tile, level)?,
        };
        self.write(&path, &bytes)
    }

    fn hashes(&self, tile: &TilePath, level: u8) -> Result<Vec<u8>, ExportError> {
        let bytes = self.tiles.tile(level, tile.index(), tile.width())?;
        if tile.width() == TILE_WIDTH {
            let (index, place) = (tile.index() >> TILE_HEIGHT, tile.index() % u64::from(TILE_WIDTH));
            let width = u16::try_from(place + 1).unwrap_or(TILE_WIDTH);
            let above = self.tiles.tile(level + 1, index, width)?;
            if above.as_chunks().0.last() != Some(&perfect_root(bytes.as_chunks().0)) {
                return Err(ExportError::Disagree { tile: *tile });
            }
        }
        Ok(bytes)
    }

    fn bundle(&mut self, tile: &TilePath) -> Result<Vec<u8>, ExportError> {
        let from = tile.index() << TILE_HEIGHT;
        let walk = self.records.take().filter(|records| records.position() == from);
        let mut walk = match walk {
            Some(walk) => walk,
            None => self.tiles.records(from, self.size)?,
        };
        let (mut bundle, mut hashes) = (Vec::new(), Vec::new());
        for index in (from..).take(usize::from(tile.width())) {
            let record = walk.next().transpose().map_err(TilesError::from)?;
            let record = record.filter(|record| record.seq == index);
            let leaf = record.ok_or(TilesError::Missing { index })?.leaf;
            hashes.extend_from_slice(&leaf_hash(&leaf));
            push_entry(&mut bundle, &leaf).ok_or(TilesError::Nowhere)?;
        }
        self.records = Some(walk);
        if hashes != self.tiles.tile(0, tile.index(), tile.width())? {
            return Err(ExportError::Disagree { tile: *tile });
        }
        Ok(bundle)
    }

    /// Under another name, synced, renamed.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
        let folder = path.parent().unwrap_or(self.dir);
        if !self.folders.contains(folder) {
            make_folder(folder)?;
            let inside = folder.ancestors().take_while(|folder| folder.starts_with(self.dir));
            self.folders.extend(inside.map(Path::to_owned));
        }
        self.put(path, bytes)?;
        self.written += 1;
        Ok(())
    }

    /// A file gets its name when its bytes are synced.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
        let draft = self.dir.join(".draft");
        let write = || {
            // What an earlier export left; or a FIFO, which would be waited for, or a link, through which would be written.
            match std::fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::create_new(&draft)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&draft, path)
        };
        write().map_err(|source| failed(path, source))
    }

    pub(super) fn done(&self, head: Head) -> Exported {
        Exported {
            head,
            written: self.written,
            kept: self.kept,
        }
    }

    pub(super) fn sync_folders(&self) -> Result<(), ExportError> {
        self.folders.iter().try_for_each(|folder| self.sync_folder(folder))
    }

    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), ExportError> {
        let sync = File::open(folder).and_then(|folder| folder.sync_all());
        sync.map_err(|source| failed(folder, source))
    }
}

/// Whether the file is there and can be this tile. What has its name was written whole; the length only tells apart what is
/// none of ours.
fn is_there(path: &Path, tile: &TilePath) -> bool {
    let width = u64::from(tile.width());
    std::fs::metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && match tile.what() {
                TileKind::Hashes { .. } => meta.len() == width * 32,
                TileKind::Entries => meta.len() >= width * 2,
            }
    })
}

fn make_folder(dir: &Path) -> Result<(), ExportError> {
    let made = DirBuilder::new().recursive(true).create(dir);
    made.map_err(|source| failed(dir, source))
}

pub(super) fn failed(file: &Path, source: io::Error) -> ExportError {
    ExportError::Io {
        file: file.to_owned(),
        source,
    }
}
