//! What a verification of a folder that was interrupted leaves for the next one, and where: in a file of who verifies, beside their sessions, that
//! nobody else may write. What stands in it is `ledger::verify::Resume`'s.
//!
//! The file's word counts for records that are not read again, so it is believed only where this person alone can have written it: not in the
//! folder that is verified, no link, theirs, and closed to others. The same is asked of each file of the ledger, by the ledger's disk
//! ([`DiskFile::identity`]): what somebody else may write to is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use ledger::disk::{DiskFile, Unknowable};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Refused;
use crate::Exit;
use crate::client::home::Home;
use crate::client::store::private_folder;
use crate::serve::now;
use crate::terminal::say;

/// The longest file that is read: some millions of segments.
const MAX_LEN: u64 = 1 << 30;

/// The file, which is this process's alone while it lives.
#[derive(Debug)]
pub(super) struct Left {
    file: PathBuf,
    head: Head,
    /// What an earlier verification wrote.
    lines: String,
    out: Mutex<File>,
    /// Which segments cannot be known again, and why.
    unknowable: Mutex<BTreeMap<Unknowable, BTreeSet<String>>>,
}

/// What a verification that is gone on with says of itself.
#[derive(Debug)]
pub(super) struct Earlier {
    /// When it was begun.
    pub(super) begun: Timestamp,
    /// Why segments are read each time, and how many.
    pub(super) unknowable: Vec<(Unknowable, usize)>,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// Which folder.
    ledger: String,
    /// When it was begun.
    begun: Timestamp,
}

impl Left {
    /// Opens what was left of this folder, or begins anew.
    pub(super) fn open(dir: &Path) -> Result<Self, Refused> {
        let dir = dir.canonicalize().map_err(|error| {
            let what = format!("cannot find `{}`", dir.display());
            (Exit::Fault, anyhow::Error::new(error).context(what))
        })?;
        let file = place(&dir)?;
        let cannot = |error: std::io::Error| {
            let what = format!("cannot keep `{}`", file.display());
            (Exit::Fault, anyhow::Error::new(error).context(what))
        };
        let mut out = only_ours(&file, &dir)?;
        let ledger = dir.display().to_string();
        let mut text = Vec::new();
        let read = (&mut out).take(MAX_LEN).read_to_end(&mut text);
        read.map_err(cannot)?;
        let text = String::from_utf8_lossy(&text);
        let (first, rest) = text.split_once('\n').unwrap_or_default();
        let known = serde_json::from_str::<Head>(first).ok();
        let (head, lines) = if let Some(head) = known.filter(|head| head.ledger == ledger) {
            // Its last line may be half a line: what comes begins behind it.
            out.write_all(b"\n").map_err(cannot)?;
            (head, rest.to_owned())
        } else {
            let head = Head { ledger, begun: now() };
            out.set_len(0).map_err(cannot)?;
            let line = serde_json::to_string(&head).unwrap_or_default();
            out.write_all(format!("{line}\n").as_bytes()).map_err(cannot)?;
            (head, String::new())
        };
        let out = Mutex::new(out);
        Ok(Self {
            file,
            head,
            lines,
            out,
            unknowable: Mutex::default(),
        })
    }

    /// What an earlier verification left.
    pub(super) fn lines(&self) -> &str {
        &self.lines
    }

    /// When the verification began that is gone on with, and what of it cannot be left.
    pub(super) fn told(&self) -> Earlier {
        let unknowable = self.unknowable.lock().unwrap_or_else(PoisonError::into_inner);
        Earlier {
            begun: self.head.begun,
            unknowable: unknowable.iter().map(|(why, names)| (*why, names.len())).collect(),
        }
    }

    /// Leaves a line. One that cannot be written is missing the next time, and its segment is read again.
    pub(super) fn keep(&self, line: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(format!("{line}\n").as_bytes());
    }

    /// Which file is open under this name; nothing where it could be changed without that being seen, and then it is read. Why is said at the
    /// first one: who interrupts the verification sees no report.
    pub(super) fn identity(&self, name: &str, file: &dyn DiskFile) -> Option<String> {
        let why = match file.identity(SystemTime::now()) {
            Ok(identity) => return Some(identity),
            Err(why) => why,
        };
        let mut unknowable = self.unknowable.lock().unwrap_or_else(PoisonError::into_inner);
        let names = unknowable.entry(why).or_default();
        if names.is_empty() && why != Unknowable::Unsettled {
            say(&format!(
                "! `--resume` saves nothing of some segments, which are read each time: {why}"
            ));
        }
        names.insert(name.to_owned());
        None
    }

    /// The verification came to its end: the next one reads all again.
    pub(super) fn done(self) {
        // One that stays is believed no further than now.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Where what is left of a verification of this folder lies.
fn place(dir: &Path) -> Result<PathBuf, Refused> {
    let fault = |what: String| (Exit::Fault, anyhow::anyhow!(what));
    let home = Home::find().map_err(|trouble| fault(trouble.text().trim_start_matches("✖ ").to_owned()))?;
    let folder = std::path::absolute(home.verifications()).map_err(|error| (Exit::Fault, error.into()))?;
    // Before it is made: nothing is changed in what is verified.
    let is_inside = folder
        .ancestors()
        .find_map(|there| there.canonicalize().ok())
        .is_none_or(|there| there.starts_with(dir));
    if is_inside {
        let what = format!(
            "`{}` lies in the folder that is verified: whoever writes there could say that it holds; set GATESCRIBE_HOME to another folder",
            folder.display()
        );
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    private_folder(&folder).map_err(|error| (Exit::Fault, error.into()))?;
    let hash = digest(&SHA256, dir.display().to_string().as_bytes());
    let name = hex::encode(hash.as_ref().get(..16).unwrap_or_default());
    Ok(folder.join(format!("{name}.verification")))
}

/// Opens the file, which nobody else can have written, for this process alone.
fn only_ours(file: &Path, dir: &Path) -> Result<File, Refused> {
    let cannot = |error: std::io::Error| {
        let what = format!("cannot keep `{}`", file.display());
        (Exit::Fault, anyhow::Error::new(error).context(what))
    };
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    // A link is not followed: what it leads to may be somebody else's to write.
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    let out = options.open(file).map_err(cannot)?;
    match out.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let what = format!(
                "another verification of `{}` goes on from the same place: wait for it, or leave `--resume` out",
                dir.display()
            );
            return Err((Exit::Conflict, anyhow::anyhow!(what)));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    for about in [out.metadata(), folder.metadata()] {
        own(&about.map_err(cannot)?).map_err(|why| {
            let what = format!("`{}` is {why}: nothing in it is believed; remove it", file.display());
            (Exit::Integrity, anyhow::anyhow!(what))
        })?;
    }
    Ok(out)
}

/// Refuses what somebody else could have written.
fn own(about: &Metadata) -> Result<(), &'static str> {
    if about.uid() != nix::unistd::geteuid().as_raw() {
        Err("somebody else's")
    } else if about.mode() & 0o022 != 0 {
        Err("open for others to write")
    } else if about.is_file() && about.nlink() != 1 {
        Err("linked from elsewhere, too")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn about(file: &Path, mode: u32) -> Metadata {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        file.metadata().unwrap()
    }

    #[test]
    fn what_others_could_have_written_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("left");
        std::fs::write(&file, "").unwrap();
        assert_eq!(own(&about(&file, 0o600)), Ok(()));
        assert_eq!(own(&about(&file, 0o644)), Ok(()));
        for mode in [0o620, 0o602, 0o666] {
            assert_eq!(own(&about(&file, mode)), Err("open for others to write"), "{mode:o}");
        }
        let _ = about(&file, 0o600);
        std::fs::hard_link(&file, folder.path().join("other")).unwrap();
        assert_eq!(own(&file.metadata().unwrap()), Err("linked from elsewhere, too"));
    }
}
