//! The lock of one gateway's file: the operating system's, so that a holder that dies has let go.
//!
//! The holder writes its process id into the lock file; that is for words only and decides nothing.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::atomic::StoreError;

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// How long is waited, and what is said meanwhile.
pub(crate) struct Patience {
    /// After this time the person is told.
    pub(crate) quiet: Duration,
    /// After this time it is given up.
    pub(crate) most: Duration,
    /// Told once.
    pub(crate) tell: fn(Holder),
}

impl Patience {
    /// Says after a second who is waited for; long enough for a person to sign in.
    pub(crate) const fn for_a_sign_in(tell: fn(Holder)) -> Self {
        Self {
            quiet: Duration::from_secs(1),
            most: Duration::from_secs(6 * 60),
            tell,
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patience({:?}, {:?})", self.quiet, self.most)
    }
}

/// Who holds the lock, as far as it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
    }
}

impl Lock {
    pub(super) fn take(path: &Path, patience: &Patience) -> Result<Self, StoreError> {
        let unwritable = |cause| StoreError::Unwritable {
            path: path.to_owned(),
            cause,
        };
        let file = open(path).map_err(unwritable)?;
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(std::fs::TryLockError::WouldBlock) => wait(file, path, patience)?,
            Err(std::fs::TryLockError::Error(cause)) => return Err(unwritable(cause)),
        };
        sign(&file);
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file unlocks it, too; whatever this says.
        let _ = self.0.set_len(0);
        let _ = self.0.unlock();
    }
}

/// Blocks on a thread of its own: the operating system wakes it the moment the lock is free, and we can still give up.
/// A thread that is given up on ends with the process, which is what giving up leads to.
fn wait(file: File, path: &Path, patience: &Patience) -> Result<File, StoreError> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        // The receiver is gone when it was given up; the file closes then, and the lock with it.
        let _ = sender.send(locked);
    });
    let arrived = receiver.recv_timeout(patience.quiet).or_else(|_| {
        (patience.tell)(holder(path));
        receiver.recv_timeout(patience.most.saturating_sub(patience.quiet))
    });
    match arrived {
        Ok(locked) => locked.map_err(|cause| StoreError::Unwritable {
            path: path.to_owned(),
            cause,
        }),
        Err(_) => Err(StoreError::Busy {
            holder: holder(path),
            seconds: patience.most.as_secs(),
        }),
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

fn sign(mut file: &File) {
    // For words only: a lock without a name is a lock.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
}

fn holder(path: &Path) -> Holder {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
    Holder(read.ok().and_then(|_| text.trim().parse().ok()))
}
