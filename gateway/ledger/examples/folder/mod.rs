//! The folder that a bench writes to: one that it makes, so that what it takes away at the end is its own.

use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

/// Makes the folder, works in it, and takes it away with all that is in it, whatever the work came to.
///
/// # Errors
/// Something is there already, which may be somebody's ledger: it stays as it is. The disk refuses. The work fails.
pub(crate) fn in_new<T>(
    folder: &Path,
    work: impl FnOnce(&Path) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    // It is the making that says whether it is there: between a look and the making somebody else might make it.
    std::fs::create_dir(folder).map_err(|error| {
        let shown = folder.display();
        match error.kind() {
            ErrorKind::AlreadyExists => format!("`{shown}` is there; name a folder that is not, or take it away"),
            _ => format!("cannot make `{shown}`: {error}"),
        }
    })?;
    let done = work(folder);
    let gone = std::fs::remove_dir_all(folder);
    let done = done?;
    gone?;
    Ok(done)
}
