//! What was signed of a ledger before this run, and whether the records are still those.
//!
//! The newest checkpoint says it, here and beside the key. Whoever can write these folders can take both away, or put older ones back that were honestly
//! signed; then what is kept along the ledger, and what witnesses cosigned, still contradicts other records. Nothing is passed over because it
//! contradicts them: that is what it is kept for.

use std::cmp::Reverse;

use super::*;
use crate::tree::{Frontier, Hash};
use crate::verify::{WITNESSED, notes, read_whole};

/// The largest tree that one of these keys signed, as far as anything says it; the records are those.
pub(super) fn signed(
    ledger: &Ledger,
    disk: &Arc<dyn Disk>,
    beside: Option<&Arc<dyn Disk>>,
    keys: &[&VerifierKey],
) -> Result<Head, PublishError> {
    let mut signed = Head {
        size: 0,
        root: Frontier::default().root(),
    };
    let mut others = Vec::from_iter(kept(&**disk, keys)?);
    for place in std::iter::once(disk).chain(beside) {
        if let Some(head) = newest(ledger, disk, &**place, keys)?
            && head.size > signed.size
        {
            signed = head;
        }
        others.extend(largest(&**place, WITNESSED, keys)?);
    }
    for head in others {
        // In an honest ledger none is: the newest one is written first.
        if head.size > signed.size {
            is_of_these_records(ledger, disk, &head)?;
            signed = head;
        }
    }
    Ok(signed)
}

/// The largest tree among the checkpoints that are kept along the ledger. Only the file of the newest ones that has one of these keys is
/// looked through: each begins with a segment, so it has the largest.
fn kept(disk: &dyn Disk, keys: &[&VerifierKey]) -> Result<Option<Head>, PublishError> {
    let mut names = disk.list().map_err(|source| io(disk, "list", ".", source))?;
    names.retain(|name| name.ends_with(KEPT));
    names.sort_unstable_by(|one, other| other.cmp(one));
    for name in names {
        if let Some(head) = largest(disk, &name, keys)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The largest tree that a file of checkpoints has by one of these keys. What is no checkpoint, or by another key, is passed over: [`super::mend`]
/// and [`crate::verify`] say so.
fn largest(disk: &dyn Disk, name: &str, keys: &[&VerifierKey]) -> Result<Option<Head>, PublishError> {
    let file = match disk.open_read(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|source| io(disk, "read", name, source))?,
    };
    let bytes = read_whole(&*file).map_err(|source| io(disk, "read", name, source))?;
    let mut stated: Vec<_> = notes(&bytes)
        .into_iter()
        .filter_map(|(_, bytes)| {
            let note = Note::parse(bytes).ok()?;
            let checkpoint = Checkpoint::parse(note.text()).ok()?;
            Some((note, checkpoint))
        })
        .collect();
    // Reading is cheap and checking a signature is not: the largest first, and mostly that is all.
    stated.sort_by_key(|(_, checkpoint)| Reverse(checkpoint.size));
    let is_signed = |(note, stated): &(Note, Checkpoint)| {
        let own = keys.iter().copied().filter(|key| key.is_of_log(&stated.origin));
        note.verify(own).is_ok()
    };
    let found = stated.into_iter().find(is_signed);
    Ok(found.map(|(_, Checkpoint { size, root, .. })| Head { size, root }))
}

/// What the newest checkpoint in `place` says, which may be another folder than that of the records, on `disk`.
fn newest(
    ledger: &Ledger,
    disk: &Arc<dyn Disk>,
    place: &dyn Disk,
    keys: &[&VerifierKey],
) -> Result<Option<Head>, PublishError> {
    let Some(bytes) = read(place, NEWEST)? else {
        return Ok(None);
    };
    let file = place.display(NEWEST);
    let note = Note::parse(&bytes).map_err(|source| PublishError::Note {
        file: file.clone(),
        source,
    })?;
    note.verify(keys.iter().copied())
        .map_err(|source| PublishError::OtherKey {
            file: file.clone(),
            key: keys.first().map(|key| key.short()).unwrap_or_default(),
            source,
        })?;
    let signed = Checkpoint::parse(note.text()).map_err(|source| PublishError::Checkpoint { file, source })?;
    let signed = Head {
        size: signed.size,
        root: signed.root,
    };
    is_of_these_records(ledger, disk, &signed)?;
    Ok(Some(signed))
}

/// Whether the records are those of this tree, which was signed.
fn is_of_these_records(ledger: &Ledger, disk: &Arc<dyn Disk>, signed: &Head) -> Result<(), PublishError> {
    let (size, have) = (signed.size, ledger.durable().size);
    if size > have {
        return Err(PublishError::Behind { signed: size, have });
    }
    if root_at(disk, size)? != Some(signed.root) {
        return Err(PublishError::Differs { size });
    }
    Ok(())
}

/// The root at an earlier size, from the segment that reaches it.
pub(super) fn root_at(disk: &Arc<dyn Disk>, size: u64) -> Result<Option<Hash>, PublishError> {
    let reader = Reader::open_on(Arc::clone(disk))?;
    let Some(segment) = reader
        .segments()
        .iter()
        .rfind(|segment| segment.first_seq <= size)
        .copied()
    else {
        return Ok((size == 0).then(|| Frontier::default().root()));
    };
    let mut frontier = reader.frontier(segment)?;
    let wanted = usize::try_from(size.saturating_sub(segment.first_seq)).unwrap_or(usize::MAX);
    for hash in reader.leaf_hashes(segment)?.into_iter().take(wanted) {
        frontier.push(hash);
    }
    Ok((frontier.size() == size).then(|| frontier.root()))
}
