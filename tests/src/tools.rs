//! Debian's programs as counterparts and meters (nginx, wrk, h2load, chromium), without root: `apt-get download` and
//! `dpkg-deb -x` into `target/debian/`, kept.

use crate::counterparts;
use crate::kubectl::run;
use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

/// An unpacked set of Debian packages.
#[derive(Debug, Clone)]
pub struct Debian {
    root: PathBuf,
}

/// Fetches `packages` (the first one names the folder) and unpacks them over one another. Dependencies are not followed:
/// name those that the machine lacks, as `ldd` shows them.
///
/// # Errors
/// No Debian, no such package, or no network.
pub fn debian(packages: &[&str]) -> anyhow::Result<Debian> {
    let first = packages.first().context("name a package")?;
    let all = counterparts::target().join("debian");
    let root = all.join(first);
    let wanted = packages.join(" ");
    std::fs::create_dir_all(&all)?;
    // One at a time: who came second would take away what the first one runs already.
    let turn = File::create(all.join(".turn"))?;
    turn.lock()?;
    if std::fs::read_to_string(root.join(".packages")).is_ok_and(|have| have == wanted) {
        return Ok(Debian { root });
    }
    // Made aside and renamed, so that nobody sees half of it.
    let draft = tempfile::tempdir_in(&all)?;
    let mut download = Command::new("apt-get");
    download.arg("download").args(packages).current_dir(draft.path());
    let output = run(download, "", PATIENCE).context("run apt-get (is this Debian?)")?;
    ensure!(
        output.code == 0,
        "apt-get download {wanted}: {output}\nIs the package list there? `apt-get update`"
    );
    let unpacked = draft.path().join("root");
    for entry in std::fs::read_dir(draft.path())? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            unpack(&file, &unpacked)?;
        }
    }
    std::fs::write(unpacked.join(".packages"), &wanted)?;
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    std::fs::rename(&unpacked, &root)?;
    Ok(Debian { root })
}

fn unpack(file: &Path, into: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(file).arg(into);
    let output = run(command, "", PATIENCE)?;
    ensure!(output.code == 0, "unpack {}: {output}", file.display());
    Ok(())
}

impl Debian {
    /// Where it was unpacked.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A command that runs `program` of the set with the set's libraries.
    ///
    /// # Errors
    /// The set has no such program.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        let folders = ["usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/chromium"];
        let found = folders
            .iter()
            .map(|folder| self.root.join(folder).join(program))
            .find(|path| path.is_file());
        let Some(path) = found else {
            bail!("no `{program}` in {}", self.root.display())
        };
        let mut command = Command::new(path);
        let libraries = self
            .root
            .join("usr/lib")
            .join(format!("{}-linux-gnu", std::env::consts::ARCH));
        command.env("LD_LIBRARY_PATH", libraries);
        Ok(command)
    }
}
