//! `ledger tiles`: the signed tree as files that any web server serves, so that a stranger verifies it with nothing of ours.
//!
//! What is written goes up to the newest checkpoint that witnesses have cosigned, where they do: the newest one of a log that grows would mostly have none.

use std::path::Path;

use ledger::note::{Note, Signature};
use ledger::{ExportError, Exported, Tiles, WITNESSED};

use super::Refused;
use super::checkpoint::{Signed, checkpoint_at, newest};
use crate::Exit;
use crate::terminal::data_and;

/// Brings the folder `out` to the newest checkpoint of the ledger in `dir`, of those that are witnessed where there are such and not `is_newest`.
pub(super) fn write(dir: &Path, out: &Path, is_newest: bool) -> Result<Exit, Refused> {
    let (newest, signed) = newest(dir)?;
    let of_witnesses = if is_newest { None } else { witnessed(dir, &newest)? };
    is_elsewhere(dir, out)?;
    let tiles = Tiles::open(dir);
    let exported = match &of_witnesses {
        Some(witnessed) => up_to(&tiles, out, witnessed),
        None => tiles.export_signed(out, &newest),
    };
    let exported = exported.map_err(|error| (exit(&error), error.into()))?;
    let size = exported.head.size;
    let is_witnessed = of_witnesses.is_some_and(|(_, witnessed)| witnessed.size == size);
    let how = if is_witnessed { "witnessed" } else { "signed" };
    let mut text = format!(
        "{size} records {how}, {} files written, {} were there\n",
        exported.written, exported.kept
    );
    let left = signed.size.saturating_sub(size);
    if left > 0 {
        text += &format!("{left} newer ones are signed and not witnessed yet: they are left out\n");
    }
    Ok(data_and(&text, Exit::Done))
}

/// The newest checkpoint that is witnessed; `None` where there is none yet, or none that the key of the newest signed: who has that key alone could not read it.
fn witnessed(dir: &Path, newest: &Note) -> Result<Option<Signed>, Refused> {
    let Some((note, stated)) = checkpoint_at(&dir.join(WITNESSED))? else {
        return Ok(None);
    };
    let origin = newest.text().lines().next().unwrap_or_default();
    let signers = |note: &Note| -> Vec<u32> {
        let own = note.signatures().iter().filter(|one| one.name().as_str() == origin);
        own.map(Signature::id).collect()
    };
    let today = signers(newest);
    let is_by_one = signers(&note).iter().any(|id| today.contains(id));
    Ok(is_by_one.then_some((note, stated)))
}

/// Exports up to this witnessed checkpoint. A folder that has more already, such as one that was written before there were witnesses, stays at what it has
/// until more is witnessed: who remembers that would think that the log was cut.
fn up_to(tiles: &Tiles, out: &Path, (note, witnessed): &Signed) -> Result<Exported, ExportError> {
    let exported = tiles.export_signed(out, note);
    let Err(ExportError::NotGoingOn { file, .. }) = &exported else {
        return exported;
    };
    let Some((there, stated)) = checkpoint_at(file).ok().flatten() else {
        return exported;
    };
    if stated.size <= witnessed.size {
        return exported;
    }
    match tiles.export_signed(out, &there) {
        same @ (Ok(_) | Err(ExportError::Io { .. } | ExportError::InUse { .. })) => same,
        // It is of another history.
        Err(_) => exported,
    }
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
