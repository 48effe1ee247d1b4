//! `ledger tiles`: the signed tree as files that any web server serves, so that a stranger verifies it with nothing of ours.

use std::path::Path;

use ledger::{ExportError, Tiles};

use super::{Refused, newest};
use crate::Exit;
use crate::terminal::data_and;

/// Brings the folder `out` to the newest checkpoint of the ledger in `dir`.
pub(super) fn write(dir: &Path, out: &Path) -> Result<Exit, Refused> {
    let note = newest(dir)?;
    is_elsewhere(dir, out)?;
    let exported = Tiles::open(dir).export_signed(out, &note);
    let exported = exported.map_err(|error| (exit(&error), error.into()))?;
    let text = format!(
        "{} records signed, {} files written, {} were there\n",
        exported.head.size, exported.written, exported.kept
    );
    Ok(data_and(&text, Exit::Done))
}

/// Nothing is written into the ledger's folder: what lies there is the gateway's.
fn is_elsewhere(dir: &Path, out: &Path) -> Result<(), Refused> {
    let fault = |error: std::io::Error| (Exit::Fault, error.into());
    let dir = dir.canonicalize().map_err(fault)?;
    let out = std::path::absolute(out).map_err(fault)?;
    let there = out.ancestors().find_map(|there| there.canonicalize().ok());
    if there.is_none_or(|there| there.starts_with(&dir)) {
        let what = format!(
            "`{}` lies in the ledger's folder, where nobody writes but the gateway: name another folder",
            out.display()
        );
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    Ok(())
}

fn exit(error: &ExportError) -> Exit {
    match error {
        ExportError::Strange { .. }
        | ExportError::AnotherLog { .. }
        | ExportError::NoCheckpoint { .. }
        | ExportError::InUse { .. } => Exit::Conflict,
        ExportError::NotGoingOn { .. } | ExportError::NotSigned { .. } | ExportError::Disagree { .. } => {
            Exit::Integrity
        }
        ExportError::Tiles(_) | ExportError::Io { .. } => Exit::Fault,
    }
}
