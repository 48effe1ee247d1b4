//! The clock of one program: it is told another time by libfaketime (Debian's), which reads it from a file at each question. Nothing else of the
//! machine is told, and nothing of the program knows.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::process::Folder;
use crate::tools::debian;

/// The clock of one program.
#[derive(Debug)]
pub struct Hand {
    folder: Folder,
}

impl Hand {
    /// A clock that is right.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn new() -> anyhow::Result<Self> {
        let hand = Self {
            folder: Folder::new("clock")?,
        };
        hand.set("+0")?;
        Ok(hand)
    }

    /// As far from the true time as this says (`+0`, `+1d`, `-90s`), at once.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn set(&self, offset: &str) -> anyhow::Result<()> {
        let new = self.folder.write("offset.new", format!("{offset}\n"))?;
        Ok(fs::rename(new, self.file())?)
    }

    /// Where the hand lies; a story may put other things beside it.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// What runs a program by this clock.
    ///
    /// # Errors
    /// The library cannot be had.
    pub fn under(&self) -> anyhow::Result<Command> {
        let set = debian(&["libfaketime"])?;
        let libraries = set.root().join("usr/lib");
        let library = libraries
            .join(format!("{}-linux-gnu", std::env::consts::ARCH))
            .join("faketime/libfaketimeMT.so.1");
        ensure!(library.is_file(), "no library at {}", library.display());
        let mut command = Command::new("env");
        command.arg(format!("LD_PRELOAD={}", library.display()));
        command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()));
        // Read at each question; and time that only passes, and times of files, are the machine's.
        command.args([
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        ]);
        Ok(command)
    }
}
