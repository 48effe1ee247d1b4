//! The disk of the operating system. Files are made with mode 0600: records name people.
//!
//! Only regular files are opened. Who can write to the folder could put a FIFO under a name that is read, and whoever opens that waits for ever for
//! somebody to write to it; a device may never end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;

use super::known::{self, Unknowable};
use super::{Disk, DiskFile, DiskLock, LockError};

/// One folder of the operating system's file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// The folder at `dir`; nothing is touched yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Disk for RealDisk {
    fn lock(&self) -> Result<Box<dyn DiskLock>, LockError> {
        if !self.dir.is_dir() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.dir)?;
            if let Some(parent) = self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let file = open_regular(options().truncate(false).create(true), &self.path("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // Emptied when it is known to be a file: to cut off something else may do anything.
        let file = open_regular(options().create(true).truncate(false), &self.path(name))?;
        file.set_len(0)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(open_regular(&mut options(), &self.path(name))?)))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(open_read(&self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn display(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn open_read(path: &Path) -> io::Result<File> {
    open_regular(OpenOptions::new().read(true), path)
}

/// Opens a file and refuses whatever is none: asked of what is open, since what a name leads to may be another thing a moment later.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Nobody is waited for at the other end of a FIFO, and no line of a terminal becomes this process's. A regular file knows no such thing.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = options.custom_flags(flags.bits()).open(path);
    // Of a socket, and of a FIFO that nobody reads, the opening already fails; a directory may be opened for reading alone.
    let what = match &file {
        Ok(file) => file.metadata()?.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return file,
        Err(_) => match std::fs::metadata(path) {
            Ok(about) => about.file_type(),
            Err(_) => return file,
        },
    };
    if what.is_file() {
        return file;
    }
    let kind = match () {
        () if what.is_fifo() => "a FIFO",
        () if what.is_dir() => "a folder",
        () if what.is_socket() => "a socket",
        () => "a device",
    };
    let why = format!(
        "it is {kind} and no regular file, which nothing of the gateway's makes: move it away, and ask who put it there"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Reads a file of a ledger's folder as [`RealDisk`] reads: nothing but a regular file. Of one that is longer than `most` bytes one byte more is read, so that
/// whoever parses it says so.
///
/// # Errors
/// Whatever the disk says; [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    open_read(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Holds the `flock` of the lock file; the kernel releases it with the descriptor, also when the process is killed.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        loop {
            match nix::fcntl::posix_fallocate(&self.0, 0, len) {
                Err(nix::errno::Errno::EINTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|meta| meta.len())
    }

    fn identity(&self, now: SystemTime) -> Result<String, Unknowable> {
        known::identity(&self.0, now)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Whoever opened one of them as files are opened would wait here for ever.
    #[test]
    fn promise_5_what_is_no_regular_file_is_refused_and_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path());
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("device")).unwrap();
        for (name, kind) in [
            ("fifo", "a FIFO"),
            ("folder", "a folder"),
            ("socket", "a socket"),
            ("device", "a device"),
        ] {
            let tried = [
                disk.open_read(name).map(drop),
                disk.open(name).map(drop),
                disk.create(name).map(drop),
                read_file(&at(name), 9).map(drop),
            ];
            for tried in tried {
                let error = tried.unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!(
                        "it is {kind} and no regular file, which nothing of the gateway's makes: move it away, and ask who put it there"
                    )
                );
            }
        }
        std::fs::rename(at("fifo"), at("lock")).unwrap();
        assert!(matches!(disk.lock(), Err(LockError::Io(_))));
    }

    #[test]
    fn a_file_is_read_no_further_than_a_byte_beyond_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "123456").unwrap();
        assert_eq!(read_file(&path, 6).unwrap(), b"123456");
        assert_eq!(read_file(&path, 4).unwrap(), b"12345");
        let disk = RealDisk::new(folder.path());
        assert_eq!(disk.create("f").unwrap().len().unwrap(), 0, "an old one is emptied");
    }
}
