//! The checkpoint of a pack and what is signed below it, altered and forged.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::note::{Algorithm, KeyName, Note, SigningKey};

use super::{Case, File, case, flipped};

/// The checkpoint, and the signature of the log of this name.
pub(super) fn checkpoint_altered(file: &File, log: &str) -> anyhow::Result<Vec<Case>> {
    let size = file.note()?.lines().nth(1).context("a size")?.to_owned();
    let root = file.note()?.lines().nth(2).context("a root")?.to_owned();
    Ok(vec![
        case(
            "the size in the checkpoint",
            file.saying("checkpoint", &format!("\n{size}\n"), &format!("\n{size}0\n"))?,
            "checkpoint: ",
            "checkpoint: ",
        ),
        case(
            "the root in the checkpoint",
            file.saying("checkpoint", &root, &flipped(&root)?)?,
            "checkpoint: ",
            "checkpoint: ",
        ),
        case(
            "a bit of the log's signature",
            file.resigned(log, |bytes| bytes[40] ^= 1)?,
            "checkpoint: ",
            "checkpoint: ",
        ),
        case(
            "no signature of the log",
            file.signed(|line| Ok((!line.starts_with(&format!("— {log} "))).then(|| line.to_owned())))?,
            "checkpoint: ",
            "checkpoint: ",
        ),
        case(
            "a signature with a word behind it",
            file.signed(|line| Ok(Some(format!("{line} x"))))?,
            "data: ",
            "evidence: ",
        ),
    ])
}

/// The cosignature of this witness, taken out, altered or made by somebody else. `other` is a pack under another checkpoint that the witness has cosigned.
pub(super) fn forged(file: &File, other: &File, witness: &str) -> anyhow::Result<Vec<Case>> {
    let name = witness.split('+').next().context("a name")?;
    let begin = format!("— {name} ");
    let thief = SigningKey::generate(KeyName::new(name)?, Algorithm::Cosignature)?;
    let mut note = Note::parse(file.note()?.as_bytes())?;
    note.sign(&thief, 1_790_000_000)?;
    let signature_in = |note: &str| -> anyhow::Result<Vec<u8>> {
        let line = note
            .lines()
            .rfind(|line| line.starts_with(&begin))
            .context("a cosignature")?;
        Ok(STANDARD.decode(&line[begin.len()..])?)
    };
    let (forged, theirs) = (signature_in(&note.to_string())?, signature_in(&other.note()?)?);
    let without = |line: &str| Ok((!line.starts_with(&begin)).then(|| line.to_owned()));
    let all = [
        ("a bit of the cosignature", file.resigned(name, |bytes| bytes[40] ^= 1)?),
        (
            "the time of the cosignature",
            file.resigned(name, |bytes| bytes[11] ^= 1)?,
        ),
        (
            "a cosignature cut short",
            file.resigned(name, |bytes| bytes.truncate(9))?,
        ),
        ("no cosignature", file.signed(without)?),
        (
            "a cosignature of another checkpoint",
            file.resigned(name, |bytes| bytes.clone_from(&theirs))?,
        ),
        (
            "a cosignature by another key under this one's id",
            file.resigned(name, |bytes| bytes[4..].copy_from_slice(&forged[4..]))?,
        ),
        (
            "a cosignature by another key of this name",
            file.resigned(name, |bytes| bytes.clone_from(&forged))?,
        ),
    ];
    let cases = all.map(|(what, file)| case(what, file, "checkpoint: ", "checkpoint: "));
    Ok(cases.into())
}
