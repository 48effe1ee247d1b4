//! What keeps a chunk from the disk, as a closed list: for counting, and for words that anybody may read.
//!
//! [`SealError`] itself has paths and what the system says; those are for whoever runs the gateway.

use std::io::{Error, ErrorKind};

use super::SealError;

/// What keeps a recording from the disk, by what somebody has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The folder is not there, is none, or may not be written to.
    Place,
    /// The disk is full, or has no more room than is left alone.
    Full,
    /// The disk, or what stands between it and us, failed.
    Disk,
    /// Nothing outside: a fault of this program.
    Fault,
}

impl SealError {
    /// What keeps the recording from the disk.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Create { source, .. } if source.kind() == ErrorKind::AlreadyExists => Trouble::Fault,
            Self::Create { source, .. } if has_no_place(source) => Trouble::Place,
            Self::Create { source, .. } => of_disk(source),
            Self::Write(source) | Self::Unclear(source) | Self::Sync(source) => of_disk(source),
            Self::Room { .. } => Trouble::Full,
            Self::GivenUp => Trouble::Disk,
            Self::OutOfOrder { .. } | Self::Unsealable => Trouble::Fault,
        }
    }
}

fn has_no_place(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidFilename
    )
}

fn of_disk(error: &Error) -> Trouble {
    match error.kind() {
        // A limit on the size of files (`EFBIG`) is room that is not there, too.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Trouble::Full,
        _ => Trouble::Disk,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn whatever_the_system_says_is_one_of_four_troubles() {
        let of = |errno: Errno| Error::from_raw_os_error(errno as i32);
        let create = |errno| SealError::Create {
            path: PathBuf::from("/secret/place"),
            source: of(errno),
        };
        for (error, trouble) in [
            (create(Errno::ENOENT), Trouble::Place),
            (create(Errno::ENOTDIR), Trouble::Place),
            (create(Errno::EACCES), Trouble::Place),
            (create(Errno::EPERM), Trouble::Place),
            (create(Errno::EROFS), Trouble::Place),
            (create(Errno::ENAMETOOLONG), Trouble::Place),
            (create(Errno::ENOSPC), Trouble::Full),
            (create(Errno::EDQUOT), Trouble::Full),
            (create(Errno::EMFILE), Trouble::Disk),
            (create(Errno::EIO), Trouble::Disk),
            (create(Errno::EEXIST), Trouble::Fault),
            (SealError::Write(of(Errno::ENOSPC)), Trouble::Full),
            (SealError::Write(of(Errno::EDQUOT)), Trouble::Full),
            (SealError::Write(of(Errno::EFBIG)), Trouble::Full),
            (SealError::Write(of(Errno::EIO)), Trouble::Disk),
            // A file that was open already: no longer a matter of its place.
            (SealError::Write(of(Errno::EROFS)), Trouble::Disk),
            (SealError::Unclear(of(Errno::ENOSPC)), Trouble::Full),
            (SealError::Sync(of(Errno::EIO)), Trouble::Disk),
            (SealError::Room { free: 1, keeps: 2 }, Trouble::Full),
            (SealError::GivenUp, Trouble::Disk),
            (SealError::Unsealable, Trouble::Fault),
            (SealError::OutOfOrder { expected: 1, found: 2 }, Trouble::Fault),
        ] {
            assert_eq!(error.trouble(), trouble, "{error:?}");
        }
    }
}
