//! A log in memory as a server has it, and what a hostile one makes of it: for tests and the fuzz target.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Source, SourceError, verify_remote};
use crate::checkpoint::Checkpoint;
use crate::note::{Algorithm, KeyName, Note, Signer, SigningKey};
use crate::tiles::{TILE_HEIGHT, TileKind, TilePath, push_entry};
use crate::tree::{Frontier, Hash, leaf_hash};
use crate::verify::Trust;

/// What stands behind each path.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(pub(super) BTreeMap<String, Vec<u8>>);

impl Source for Served {
    fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.0.get(path).ok_or(SourceError::Missing)?;
        if bytes.len() > most {
            return Err(SourceError::TooLong { most });
        }
        Ok(bytes.clone())
    }
}

/// A leaf as a ledger has it.
pub(super) fn entry(seq: u64, says: u8) -> Vec<u8> {
    format!("{{\"v\":1,\"kind\":\"access\",\"seq\":{seq},\"note\":\"{says}\"}}").into_bytes()
}

/// What a start says of the records before it.
pub(super) fn said(seq: u64, kind: &str, records: Range<u64>) -> Vec<u8> {
    let Range { start, end } = records;
    format!("{{\"v\":1,\"kind\":\"{kind}\",\"seq\":{seq},\"unsigned\":{{\"from\":{start},\"until\":{end}}}}}")
        .into_bytes()
}

/// The tree over these entries, unsigned, and its root.
pub(super) fn tree(entries: &[Vec<u8>]) -> (Served, Hash) {
    let mut levels: BTreeMap<u8, Vec<Hash>> = BTreeMap::new();
    let mut frontier = Frontier::default();
    for entry in entries {
        let hash = leaf_hash(entry);
        levels.entry(0).or_default().push(hash);
        frontier.push_with(hash, |height, node| {
            if height.is_multiple_of(TILE_HEIGHT) {
                let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
                levels.entry(level).or_default().push(*node);
            }
        });
    }
    let mut files = BTreeMap::new();
    for tile in TilePath::of_tree(frontier.size()) {
        let from = usize::try_from(tile.index()).unwrap_or_default() * 256;
        let range = from..from + usize::from(tile.width());
        let mut bytes = Vec::new();
        match tile.what() {
            TileKind::Entries => {
                let of_tile = entries.get(range).unwrap_or_default();
                let _ = of_tile.iter().try_for_each(|entry| push_entry(&mut bytes, entry));
            }
            TileKind::Hashes { level } => {
                let hashes = levels.get(&level).and_then(|hashes| hashes.get(range));
                bytes.extend(hashes.unwrap_or_default().iter().flatten());
            }
        }
        files.insert(tile.to_string(), bytes);
    }
    (Served(files), frontier.root())
}

/// The checkpoint of a tree.
pub(super) fn signed(key: &SigningKey, size: usize, root: Hash) -> Option<Note> {
    let checkpoint = Checkpoint {
        origin: key.key().name().to_string(),
        size: u64::try_from(size).ok()?,
        root,
    };
    let mut note = Note::new(checkpoint.to_string()).ok()?;
    note.sign(key, 0).ok()?;
    Some(note)
}

/// A server that turns bits of what it serves: four foreign bytes say which piece, where in it (two), and which. Panics when a log is proved though an
/// entry is not the one that was signed, or when an honest server's is not.
pub fn fuzz_remote(data: &[u8]) {
    let name = KeyName::new("fuzz.example/log").ok();
    let Some(key) = name.and_then(|name| SigningKey::generate(name, Algorithm::Ed25519).ok()) else {
        return;
    };
    // One of them speaks of others.
    let entries = (0..300).map(|seq| {
        if seq == 20 {
            said(seq, "recovery", 7..9)
        } else {
            entry(seq, 0)
        }
    });
    let entries: Vec<_> = entries.collect();
    let (mut served, root) = tree(&entries);
    let Some(note) = signed(&key, entries.len(), root) else {
        return;
    };
    served.0.insert("checkpoint".to_owned(), note.to_string().into_bytes());
    let honest = served.clone();
    for turn in data.as_chunks::<4>().0 {
        let [which, high, low, bits] = *turn;
        let count = served.0.len();
        let Some(piece) = served.0.values_mut().nth(usize::from(which) % count) else {
            continue;
        };
        if bits == 0 {
            piece.pop();
            continue;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % piece.len().max(1);
        if let Some(byte) = piece.get_mut(at) {
            *byte ^= bits;
        }
    }
    let trust = Trust {
        keys: vec![key.key().clone()],
        remembered: Vec::new(),
    };
    let is_proved = verify_remote(&served, &trust, 2, &|_, _| {}).is_ok_and(|report| report.is_proved());
    // A signature that is written in another way in base64 is the same; everything else is in the tree.
    let is_same = served
        .0
        .iter()
        .all(|(path, bytes)| path == "checkpoint" || honest.0.get(path) == Some(bytes));
    assert!(!is_proved || is_same, "what was not signed is proved");
    let is_untouched = served.0 == honest.0;
    assert!(is_proved || !is_untouched, "an honest server's log is proved");
}
