//! The simulated disk: current contents, what of them is durable, and what lies between.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Rng;
use crate::disk::{Disk, DiskFile, DiskLock, LockError};

const SECTOR: usize = 512;

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: the operation is not durable, and nothing works from then on.
    Crash,
    /// The disk gets full in the middle: of a write, half of the bytes are there. Any other operation fails as with [`Fault::Io`]. Once.
    Torn,
    /// The operation fails once. A failed sync drops the dirty pages and leaves them readable, as Linux does.
    Io,
}

/// What an operation changes: where the power can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// Bytes are written.
    Write,
    /// A file is allocated, cut or extended.
    Resize,
    /// A file is synced.
    SyncFile,
    /// A file is created.
    Create,
    /// A file is renamed.
    Rename,
    /// A file is removed.
    Remove,
    /// The folder's names are synced.
    SyncFolder,
}

impl Point {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Write,
        Self::Resize,
        Self::SyncFile,
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
    ];

    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Resize => "resize",
            Self::SyncFile => "sync",
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncFolder => "sync_folder",
        }
    }
}

/// A folder in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    is_dead: bool,
    died_at: Option<Point>,
    is_locked: bool,
    /// Bytes that may be allocated in all.
    space: Option<u64>,
    syncs: u64,
}

#[derive(Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

impl SimDisk {
    /// An empty folder; `seed` decides what crashes keep.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            operations: 0,
            fault: None,
            is_dead: false,
            died_at: None,
            is_locked: false,
            space: None,
            syncs: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Lets the changing operation after `skip` others meet this fault.
    pub fn fail_after(&self, skip: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + skip, fault));
    }

    /// Takes back a fault that has not happened yet.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Limits the bytes that files may hold in all; `None` is no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Bytes that files hold now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Changing operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// File syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Whether the power has gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// At which operation the power has gone since the last start; none where the process was killed between two.
    #[must_use]
    pub fn died_at(&self) -> Option<Point> {
        self.state().died_at
    }

    /// The power goes and comes back: of what was not synced, anything may be lost, torn by sectors, or reordered.
    pub fn power_cut(&self) {
        self.state().power_cut();
    }

    /// The process is killed and started again: the kernel still has everything.
    pub fn restart(&self) {
        let mut state = self.state();
        state.is_dead = false;
        state.died_at = None;
        state.is_locked = false;
        state.fault = None;
    }

    /// The bytes of a file, for a test that damages them.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state
            .names
            .get(name)
            .and_then(|inode| state.inodes.get(*inode))
            .map(|inode| inode.current.clone())
    }

    /// Puts a file there as if it had always been.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            current: bytes.to_vec(),
            durable: bytes.to_vec(),
            pending: Vec::new(),
        });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// A durable copy of all that can be read now, with no fault set.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        let names: Vec<String> = self.state().names.keys().cloned().collect();
        for name in names {
            copy.put(&name, &self.bytes(&name).unwrap_or_default());
        }
        copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a changing operation and lets it meet its fault. A dying operation may still have happened in part: what it
    /// did is pending and `power_cut` decides.
    fn begin(&mut self, point: Point) -> io::Result<Option<Fault>> {
        if self.is_dead {
            return Err(io::Error::other("the power is off"));
        }
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at <= now => {
                self.fault = None;
                self.is_dead = fault == Fault::Crash;
                self.died_at = self.is_dead.then_some(point);
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    fn used(&self) -> u64 {
        let bytes: usize = self
            .names
            .values()
            .filter_map(|inode| self.inodes.get(*inode))
            .map(|inode| inode.current.len())
            .sum();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn has_space(&self, more: usize) -> io::Result<()> {
        let wanted = self.used().saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if more > 0 && self.space.is_some_and(|space| wanted > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&mut self, inode: usize, change: Change) -> io::Result<()> {
        let fault = self.begin(change.point())?;
        let change = if fault == Some(Fault::Torn) {
            change.half()
        } else {
            change
        };
        let len = self.inodes.get(inode).map_or(0, |inode| inode.current.len());
        self.has_space(change.len_after(len).saturating_sub(len))?;
        if let Some(inode) = self.inodes.get_mut(inode) {
            change.apply(&mut inode.current, &mut |_| true);
            inode.pending.push(change);
        }
        fail(fault)
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fault = self.begin(Point::SyncFile)?;
        self.syncs += 1;
        let Some(file) = self.inodes.get_mut(inode) else {
            return Ok(());
        };
        match fault {
            None => {
                file.durable.clone_from(&file.current);
                file.pending.clear();
            }
            // The pages are marked clean and never reach the disk; reading still finds them in the cache.
            Some(Fault::Io | Fault::Torn) => file.pending.clear(),
            Some(Fault::Crash) => {}
        }
        fail(fault)
    }

    fn rename(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.begin(change.point())?;
        if !matches!(fault, Some(Fault::Io | Fault::Torn)) {
            change.apply(&mut self.names);
            self.pending_names.push(change);
        }
        fail(fault)
    }

    fn power_cut(&mut self) {
        // Names: usually the oldest changes survive (a journal), sometimes any.
        let in_order = self.rng.one_in(2);
        let kept = self.rng.len(self.pending_names.len() + 1);
        for (index, change) in std::mem::take(&mut self.pending_names).into_iter().enumerate() {
            if if in_order { index < kept } else { self.rng.one_in(2) } {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            let mode = self.rng.below(4);
            for change in std::mem::take(&mut inode.pending) {
                let rng = &mut self.rng;
                match mode {
                    0 => {}
                    1 => change.apply(&mut inode.durable, &mut |_| true),
                    _ => change.apply(&mut inode.durable, &mut |_| rng.one_in(2)),
                }
            }
            inode.current.clone_from(&inode.durable);
        }
        self.is_dead = false;
        self.died_at = None;
        self.is_locked = false;
        self.fault = None;
    }
}

impl Change {
    const fn point(&self) -> Point {
        match self {
            Self::Write { .. } => Point::Write,
            Self::SetLen(_) => Point::Resize,
        }
    }

    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write { offset, bytes } => len.max(offset + bytes.len()),
            Self::SetLen(new) => *new,
        }
    }

    fn half(self) -> Self {
        match self {
            Self::Write { offset, mut bytes } => {
                bytes.truncate(bytes.len() / 2);
                Self::Write { offset, bytes }
            }
            Self::SetLen(len) => Self::SetLen(len),
        }
    }

    /// Applies it sector by sector, each only if `keep` says so.
    fn apply(&self, data: &mut Vec<u8>, keep: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::SetLen(len) => {
                if keep(0) {
                    data.resize(*len, 0);
                }
            }
            Self::Write { offset, bytes } => {
                let mut at = *offset;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if keep(at / SECTOR) {
                        data.resize(data.len().max(at + piece.len()), 0);
                        if let Some(place) = data.get_mut(at..at + piece.len()) {
                            place.copy_from_slice(piece);
                        }
                    }
                    at += piece.len();
                    rest = more;
                }
            }
        }
    }
}

impl NameChange {
    const fn point(&self) -> Point {
        match self {
            Self::Link(..) => Point::Create,
            Self::Rename(..) => Point::Rename,
            Self::Remove(_) => Point::Remove,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

fn fail(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Io) => Err(io::Error::from_raw_os_error(5)),
        Some(Fault::Torn) => Err(io::ErrorKind::StorageFull.into()),
        Some(Fault::Crash) => Err(io::Error::other("the power went")),
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(LockError::Held);
        }
        Ok(Box::new(SimLock { disk: self.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        // An old file of that name is truncated in place by a real disk; here a new one takes its name, which is harsher.
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(NameChange::Link(name.to_owned(), inode))?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.state().names.get(name).copied().ok_or_else(not_found)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(not_found());
        }
        state.rename(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(not_found());
        }
        state.rename(NameChange::Remove(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.begin(Point::SyncFolder)?;
        if fault.is_none() {
            state.durable_names = state.names.clone();
            state.pending_names.clear();
        }
        fail(fault)
    }

    fn display(&self, name: &str) -> String {
        name.to_owned()
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().is_locked = false;
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    fn set_current_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.disk.state().change(self.inode, Change::SetLen(len))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.disk.state().change(
            self.inode,
            Change::Write {
                offset,
                bytes: bytes.to_vec(),
            },
        )
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let file = state.inodes.get(self.inode).ok_or_else(not_found)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = file.current.get(from..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_current_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_current_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        let file = state.inodes.get(self.inode).ok_or_else(not_found)?;
        Ok(u64::try_from(file.current.len()).unwrap_or(u64::MAX))
    }
}
