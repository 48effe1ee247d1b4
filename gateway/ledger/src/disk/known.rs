//! Whether a file that was read can be known again without being read: by which file it is and when it was changed, where nobody can change it and
//! leave that as it was.
//!
//! The question is asked of an open file, never of a name: what a name leads to may be another file a moment later. What a time of change is worth:
//! - Who writes by a call gives the file another time. Who writes to mapped memory does so only when he touches a page that is not yet to be written back, so
//!   the file is synced before its time is asked for: behind that, the first touch of each page gives another time again.
//! - Two changes within one tick of the file system's clock look like one, so a file has to have been left alone for [`SETTLED`].
//! - Other file systems may have times that say nothing: a server's, a program's (FUSE), and one in memory whose mapped pages leave no trace. So the three
//!   are named that are known to do as said.
//! - There are ways to exchange what a file holds and leave its times (`EXT4_IOC_MOVE_EXT`). They take the right to write, so nobody may have that but who asks.
//!
//! What remains: who has the disk below or sets the clock, the superuser, and a program that had the file open for writing before it was the asking user's alone.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, XFS_SUPER_MAGIC, fstatfs};

/// How long a file has to have been left alone.
const SETTLED: Duration = Duration::from_secs(2);
/// File systems of which each change of a file, also by mapped memory, has a time. ext2 and ext3 have the name of ext4, and its driver.
const TRACING: [FsType; 3] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC];

/// Why a file could not be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unknowable {
    /// Its file system is none of those whose times say every change.
    #[error("they lie on a file system whose times do not say every change (they do on ext4, XFS and Btrfs)")]
    FileSystem,
    /// Others than who asks may write to it.
    #[error("others than you may write to them, and could leave their times as they were")]
    Writable,
    /// It was changed just now, or, by its time, later than now.
    #[error("they were changed just now, or, by their time, later than by the clock of this machine")]
    Unsettled,
    /// The system does not say.
    #[error("the system does not say which files they are")]
    Untold,
}

/// Whether this file can be known again at all, whenever it was changed.
///
/// # Errors
/// Why not.
pub(super) fn can_be(file: &File) -> Result<Metadata, Unknowable> {
    let about = file.metadata().map_err(|_| Unknowable::Untold)?;
    let system = fstatfs(file).map_err(|_| Unknowable::Untold)?;
    if !about.is_file() || !TRACING.contains(&system.filesystem_type()) {
        return Err(Unknowable::FileSystem);
    }
    // Bits of an access list that let others write stand in those of the group.
    if about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & 0o022 != 0 {
        return Err(Unknowable::Writable);
    }
    Ok(about)
}

/// Which file this is, and in which state: other words for any other file, and for this one once it is changed.
///
/// # Errors
/// Why that cannot be said.
pub(super) fn identity(file: &File, now: SystemTime) -> Result<String, Unknowable> {
    can_be(file)?;
    file.sync_all().map_err(|_| Unknowable::Untold)?;
    // Asked for again: what was waiting to be written has its time now.
    let about = can_be(file)?;
    let seconds = u64::try_from(about.ctime()).map_err(|_| Unknowable::Unsettled)?;
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let age = changed.and_then(|changed| now.duration_since(changed).ok());
    // The seconds alone: a part of one more is on the safe side.
    if age.is_none_or(|age| age <= SETTLED + Duration::from_secs(1)) {
        return Err(Unknowable::Unsettled);
    }
    // A number that was free and was given to another file comes with another time of making.
    let made = about.created().ok();
    let made = made.and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    Ok(format!(
        "{}:{} {} {} {}.{:09} {}.{:09} {:o}",
        about.dev(),
        about.ino(),
        made.map_or(0, |made| made.as_nanos()),
        about.len(),
        about.mtime(),
        about.mtime_nsec(),
        about.ctime(),
        about.ctime_nsec(),
        about.mode()
    ))
}

#[cfg(test)]
#[path = "../../../../tests/src/left_out.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the file is that of the stories, which leave out more and offer it to one another"
)]
mod left_out;

#[cfg(test)]
mod tests {
    use std::fs::{FileTimes, OpenOptions, Permissions};
    use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

    use super::left_out::{Lack, left_out};
    use super::*;

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    /// A file where it can be known again; `None`, said aloud, where the folder for such files does not lie on such a file system.
    fn file() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
        // Beside this program: the folder for temporary files often lies in memory.
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("0.seg");
        std::fs::write(&path, "records").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let known = can_be(&File::open(&path).unwrap());
        if known.is_err() {
            left_out("a file that is known again", Lack::Times, &format!("{known:?}")).unwrap();
        }
        known.is_ok().then_some((folder, path))
    }

    #[test]
    fn a_file_is_another_one_once_it_was_written_to_replaced_or_made_to_look_old() {
        let Some((folder, path)) = file() else { return };
        let known = |path: &std::path::Path| identity(&File::open(path).unwrap(), later()).unwrap();
        let first = known(&path);
        assert_eq!(known(&path), first);
        let times = path.metadata().unwrap();
        let times = FileTimes::new()
            .set_accessed(times.accessed().unwrap())
            .set_modified(times.modified().unwrap());
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all_at(b"r", 0).unwrap();
        writer.set_times(times).unwrap();
        assert_ne!(known(&path), first, "the same bytes, and the old times put back");
        let second = known(&path);
        let copy = folder.path().join("copy");
        std::fs::write(&copy, "records").unwrap();
        std::fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap();
        File::open(&copy).unwrap().set_times(times).unwrap();
        std::fs::rename(&copy, &path).unwrap();
        assert_ne!(known(&path), second, "another file of the same name and times");
    }

    #[test]
    fn a_file_that_others_may_write_to_or_that_was_changed_just_now_cannot_be_known_again() {
        let Some((_folder, path)) = file() else { return };
        let open = || File::open(&path).unwrap();
        assert_eq!(identity(&open(), SystemTime::now()), Err(Unknowable::Unsettled));
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(
            identity(&open(), past),
            Err(Unknowable::Unsettled),
            "a clock that was put back"
        );
        for mode in [0o620, 0o602, 0o666] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(identity(&open(), later()), Err(Unknowable::Writable), "{mode:o}");
        }
    }

    #[test]
    fn a_file_in_memory_or_of_the_kernel_cannot_be_known_again() {
        let shared = tempfile::tempfile_in("/dev/shm").map(|file| identity(&file, later()));
        // Where there is no such folder, there is no such file.
        assert!(matches!(shared, Err(_) | Ok(Err(Unknowable::FileSystem))), "{shared:?}");
        let kernel = identity(&File::open("/proc/self/stat").unwrap(), later());
        assert_eq!(kernel, Err(Unknowable::FileSystem));
    }
}
