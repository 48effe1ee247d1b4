//! The room that recordings have on their disk, for whoever looks at metrics and readiness: what ends it refuses sessions.

use std::path::PathBuf;

use super::admin::Health;

/// The disk of recordings.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// The folder of recordings.
    pub(super) folder: PathBuf,
    /// `recording.keepFree`, in bytes.
    pub(super) keeps_free: u64,
}

impl Room {
    /// Bytes of the disk that the gateway may use, what recordings leave alone included.
    pub(super) fn free(&self) -> nix::Result<u64> {
        let disk = nix::sys::statvfs::statvfs(&self.folder)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    /// Sessions that owe no recording go on without room, and so does all else.
    pub(super) fn health(&self) -> Health {
        match self.free() {
            Ok(free) if free >= self.keeps_free => Health::Good,
            Ok(free) => Health::But(format!(
                "the disk has {free} bytes left, less than `recording.keepFree` ({}): no session that has to be recorded begins, and \
                 those under way end",
                self.keeps_free
            )),
            Err(error) => Health::But(format!(
                "the folder of recordings cannot be looked at, so no session that has to be recorded begins: {error}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_without_room_or_folder_are_said_and_do_not_take_the_gateway_out_of_service() {
        let folder = tempfile::tempdir().unwrap();
        let health = |folder: PathBuf, keeps_free| Room { folder, keeps_free }.health();
        assert_eq!(health(folder.path().to_owned(), 0), Health::Good);
        let told = health(folder.path().to_owned(), u64::MAX);
        assert!(
            matches!(&told, Health::But(why) if why.contains("recording.keepFree")),
            "{told:?}"
        );
        let told = health(folder.path().join("nowhere"), 0);
        assert!(
            matches!(&told, Health::But(why) if why.contains("cannot be looked at")),
            "{told:?}"
        );
    }
}
