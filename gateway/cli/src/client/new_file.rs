//! A file that somebody asked for by name: it takes nothing's place, and is whole or not there.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::trouble::Trouble;
use crate::Exit;

/// Refuses a name that is taken, before anything is done for the file: a gateway records that somebody took it away.
///
/// # Errors
/// Something stands there.
pub(super) fn must_be_new(path: &Path, what: &str) -> Result<(), Trouble> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(
        Trouble::new(Exit::Conflict, format!("`{}` is there already", path.display()))
            .remedy(format!("name another file: {what} takes nothing's place")),
    )
}

/// Writes the file, durably; half of it proves nothing and would stand in the way of the next, so that is taken away.
///
/// # Errors
/// It is there already, or cannot be written.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Trouble> {
    let unwritten = |error: std::io::Error| {
        Trouble::new(Exit::Fault, format!("`{}` cannot be written", path.display()))
            .because(error.to_string())
            .remedy("name a file where there is room and you may write")
    };
    let mut file = File::create_new(path).map_err(unwritten)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        unwritten(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_takes_nothing_s_place_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.html");
        must_be_new(&path, "evidence").unwrap();
        write_new(&path, "first").unwrap();
        let taken = must_be_new(&path, "evidence").unwrap_err();
        assert_eq!(taken.exit, Exit::Conflict);
        assert!(
            taken.text().contains("evidence takes nothing's place"),
            "{}",
            taken.text()
        );
        assert_eq!(write_new(&path, "second").unwrap_err().exit, Exit::Fault);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        let dangling = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
        assert!(
            must_be_new(&dangling, "a receipt").is_err(),
            "a link to nothing is something"
        );
        assert!(write_new(&folder.path().join("no folder/pack.html"), "x").is_err());
    }
}
