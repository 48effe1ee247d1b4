//! The lock of one gateway's file: the operating system's, so that a holder that dies has let go.
//!
//! The holder writes its process id into the lock file, and whether a person signs in by it. That is for words, and for
//! those who cannot wait for a person; who holds the lock is decided by the operating system alone.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::atomic::StoreError;

/// What stands behind the process id while a person signs in.
const SIGNS_IN: &str = " signs in";

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
    /// Whether a sign-in is waited for.
    pub(crate) for_a_person: bool,
}

impl Patience {
    /// Says after a second who is waited for; long enough for a person to sign in.
    pub(crate) const fn for_a_sign_in(tell: fn(Holder)) -> Self {
        Self {
            quiet: Duration::from_secs(1),
            most: Duration::from_secs(6 * 60),
            tell,
            for_a_person: true,
        }
    }

    /// Where nobody is: as long as a renewal can take, and not behind a sign-in.
    pub(crate) const fn for_a_renewal(tell: fn(Holder)) -> Self {
        Self {
            most: Duration::from_secs(45),
            for_a_person: false,
            ..Self::for_a_sign_in(tell)
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patience({:?}, {:?})", self.quiet, self.most)
    }
}

/// Who holds the lock, as far as it said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: Option<u32>,
    /// Whether a person signs in by it.
    pub(crate) signs_in: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
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
            Err(std::fs::TryLockError::WouldBlock) => {
                let holder = holder(path);
                if holder.signs_in && !patience.for_a_person {
                    return Err(StoreError::SigningIn { holder });
                }
                wait(file, path, patience)?
            }
            Err(std::fs::TryLockError::Error(cause)) => return Err(unwritable(cause)),
        };
        sign(&file, "");
        Ok(Self(file))
    }

    /// Tells those who come that a person signs in.
    pub(crate) fn signs_in(&self) {
        sign(&self.0, SIGNS_IN);
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

fn sign(mut file: &File, doing: &str) {
    // A lock without a name is a lock.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}{doing}", std::process::id()));
}

fn holder(path: &Path) -> Holder {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(40).read_to_string(&mut text)) {
        Ok(_) => Holder {
            pid: text.trim_end_matches(SIGNS_IN).trim().parse().ok(),
            signs_in: text.ends_with(SIGNS_IN),
        },
        Err(_) => Holder::default(),
    }
}
