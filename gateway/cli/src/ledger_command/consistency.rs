//! Consistency proofs: checking one that somebody holds, and making one from a ledger's files.

use std::path::Path;

use anyhow::Context as _;
use ledger::note::Note;
use ledger::{Checkpoint, Consistency, Inconsistent, NoConsistency, Tiles};
use serde_json::json;

use super::checkpoint::newest;
use super::receipt::{vouched, vouched_as_json};
use super::witnessed::Asked;
use super::{Held, Output, Refused, followed, followed_as_json, is_key_change, note_of};
use crate::Exit;
use crate::client::document::line;
use crate::terminal::data_and;

/// Prints the proof that the newest checkpoint of this folder goes on from the one in `since`.
pub(super) fn make(dir: &Path, since: &Path) -> Result<Exit, Refused> {
    let earlier = note_of(since)?;
    let earlier = Checkpoint::parse(earlier.text())
        .with_context(|| format!("`{}` is no checkpoint", since.display()))
        .map_err(|error| (Exit::Usage, error))?;
    let (newest, _) = newest(dir)?;
    let proof = Consistency::make(&Tiles::open(dir), &earlier, newest);
    let proof = proof.map_err(|error| (exit(&error), error.into()))?;
    Ok(data_and(&proof.to_string(), Exit::Done))
}

fn exit(error: &NoConsistency) -> Exit {
    match error {
        NoConsistency::Origin { .. } => Exit::Usage,
        NoConsistency::Checkpoint(_) | NoConsistency::Shrunk { .. } | NoConsistency::Differs(_) => Exit::Integrity,
        NoConsistency::Tiles(_) => Exit::Fault,
    }
}

/// Checks the proof against the checkpoint that was remembered, and says what it shows.
pub(super) fn check(held: &Held<'_>, remembered: &[Note], witnesses: &Asked) -> Result<Exit, Refused> {
    let proof = Consistency::parse(held.bytes)
        .with_context(|| format!("`{}` is no consistency proof", held.file.display()))
        .map_err(|error| (Exit::Usage, error))?;
    let Some(earlier) = earlier(&proof, remembered) else {
        let what =
            "a consistency proof is checked against the one checkpoint that it goes on from: give it with --remembered";
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    };
    let by = proof.verify_along(held.keys, earlier).map_err(|error| {
        let exit = match error {
            // Another checkpoint than the one that it is about: nothing is wrong with either.
            Inconsistent::Size { .. } | Inconsistent::Checkpoint(_) => Exit::Usage,
            Inconsistent::Signature { .. }
            | Inconsistent::Origin { .. }
            | Inconsistent::Proof(_)
            | Inconsistent::Chain { .. } => Exit::Integrity,
        };
        let what = format!("`{}` shows nothing", held.file.display());
        (exit, anyhow::Error::new(error).context(what))
    })?;
    witnesses.demand(&by, held.file)?;
    let (old, later) = (proof.old(), proof.checkpoint());
    let text = match held.output {
        Output::Text => {
            let shown = format!(
                "✔ the {} records of {} go on from the {old} that were remembered: none of these was changed",
                later.size, later.origin
            );
            let lines = std::iter::once(shown).chain(by.iter().map(vouched));
            let lines = lines.chain(followed(held.keys));
            lines.collect::<Vec<_>>().join("\n") + "\n"
        }
        Output::Json => line(&json!({
            "proved": true,
            "origin": later.origin,
            "from": old,
            "size": later.size,
            "vouched": by.iter().map(vouched_as_json).collect::<Vec<_>>(),
            "keyChanges": followed_as_json(held.keys),
        })),
    };
    Ok(data_and(&text, Exit::Done))
}

/// What it goes on from: the one checkpoint that is no change of the key, or the change that has its size.
fn earlier<'n>(proof: &Consistency, remembered: &'n [Note]) -> Option<&'n Note> {
    let mut others = remembered.iter().filter(|note| !is_key_change(note));
    match (others.next(), others.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => remembered
            .iter()
            .find(|note| Checkpoint::parse(note.text()).is_ok_and(|stated| stated.size == proof.old())),
    }
}
