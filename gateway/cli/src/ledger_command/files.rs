//! `ledger verify FILE`: which kind of file that is, who checks it, and what to say of one that nobody can check by itself.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use ledger::note::{KeyChain, Note, VerifierKey};
use ledger::segment::HEADER_MAGIC;
use ledger::verify::Trust;
use ledger::{Checkpoint, Consistency, Receipt};

use super::witnessed::Asked;
use super::{Held, Kept, Output, Refused, Verify, consistency, is_key_change, receipt};
use crate::Exit;
use crate::client::evidence::{Form, MAX_FILE_LEN, VerifyArguments, is_pack, verify_pack};

/// What every receipt begins with, of whichever version.
const RECEIPT: &[u8] = b"c2sp.org/tlog-proof@";

/// Checks a consistency proof, a receipt or a pack of evidence.
pub(super) fn check(
    arguments: &Verify,
    trust: &Trust,
    remembered: Vec<Kept>,
    witnesses: &Asked,
) -> Result<Exit, Refused> {
    if arguments.threads.is_some() {
        let what = "`--threads` is for a ledger's folder and for a log behind an address: a receipt, a proof or a pack of evidence is read in one go";
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    let file = &arguments.dir;
    let bytes = read(file)?;
    if is_meant_as_pack(&bytes) {
        return Ok(verify_pack(&as_pack(arguments)));
    }
    let (notes, proofs) = Kept::parted(remembered);
    let mut keys = KeyChain::follow(&trust.keys, &notes);
    proofs.iter().for_each(|proof| proof.bind(&mut keys));
    let held = Held {
        file,
        bytes: &bytes,
        keys: &keys,
        output: arguments.output,
    };
    if Consistency::is_meant(&bytes) {
        return consistency::check(&held, &notes, witnesses);
    }
    if !bytes.starts_with(RECEIPT) && Receipt::parse(&bytes).is_err() {
        let what = format!("`{}` cannot be checked: {}", file.display(), kind(&bytes));
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    if !notes.iter().all(is_key_change) {
        let what = "a receipt is checked by itself: of `--remembered` only changes of the log's key, and proofs of `ledger checkpoint --since`, count \
                    for it, and other checkpoints for a ledger's folder and for a consistency proof";
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    receipt::check(&held, witnesses)
}

/// A segment of the usual length is longer than any evidence, which would be said of it in place of what it is.
fn is_meant_as_pack(bytes: &[u8]) -> bool {
    !bytes.starts_with(HEADER_MAGIC) && is_pack(bytes)
}

/// The longest of them is a pack.
fn read(file: &Path) -> Result<Vec<u8>, Refused> {
    let most = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(most).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read `{}`", file.display()))
        .map_err(|error| (Exit::Fault, error))?;
    if bytes.len() > MAX_FILE_LEN && !bytes.starts_with(HEADER_MAGIC) {
        let what = format!(
            "`{}` cannot be checked: it is longer than {MAX_FILE_LEN} bytes, as no receipt, proof or pack of evidence is",
            file.display()
        );
        return Err((Exit::Usage, anyhow::anyhow!(what)));
    }
    Ok(bytes)
}

fn as_pack(arguments: &Verify) -> VerifyArguments {
    VerifyArguments {
        file: arguments.dir.clone(),
        key: arguments.key.clone(),
        since: arguments.remembered.clone(),
        witness: arguments.witness.clone(),
        quorum: arguments.quorum,
        output: match arguments.output {
            Output::Text => Form::Text,
            Output::Json => Form::Json,
        },
    }
}

/// What a file is that cannot be checked by itself, and what to do with it.
fn kind(bytes: &[u8]) -> &'static str {
    const ARCHIVES: [&[u8]; 5] = [b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"];
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(HEADER_MAGIC) {
        "it is one segment of a ledger, which is checked with those around it; give the folder that has them all"
    } else if is_tar || ARCHIVES.iter().any(|start| bytes.starts_with(start)) {
        "it is an archive; unpack it, and give the ledger's folder that is in it"
    } else if text.starts_with("PRIVATE+KEY+") {
        "it is a private key, which nobody but its owner should have; `gatescribe ledger key FILE` prints the public half, for `--key`"
    } else if text.parse::<VerifierKey>().is_ok() {
        "it is a public key; give it with `--key`, and name what is to be checked"
    } else if let Ok(note) = Note::parse(bytes) {
        if is_key_change(&note) {
            "it is a change of a log's key; give it with `--remembered`, and name what is to be checked"
        } else if Checkpoint::parse(note.text()).is_ok() {
            "it is a checkpoint, which has no records in it; give it with `--remembered`, and name the ledger's folder or address"
        } else {
            "it is a signed note, and no checkpoint"
        }
    } else {
        "it is neither a ledger's folder, nor a receipt, nor a consistency proof, nor a pack of evidence"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_any_length_is_no_pack() {
        let mut segment = HEADER_MAGIC.to_vec();
        for length in [HEADER_MAGIC.len(), MAX_FILE_LEN, MAX_FILE_LEN + 1] {
            segment.resize(length, 0);
            assert!(!is_meant_as_pack(&segment), "{length} bytes");
        }
        assert!(is_meant_as_pack(b"gatescribe.dev/evidence@v1\n"));
    }

    #[test]
    fn each_kind_of_file_is_told_what_it_is_and_what_to_do_with_it() {
        let note =
            "a.example/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} a.example/log AAAAAAAA\n";
        let other = note.replace("\n1\n", "\nmany\n");
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n";
        let mut tar = vec![b'x'; 512];
        tar.splice(257..262, *b"ustar");
        let cases: [(&[u8], &str); 9] = [
            (b"", "it is empty"),
            (b"GSLEDGER\x01", "it is one segment of a ledger"),
            (b"\x1f\x8b\x08", "it is an archive"),
            (&tar, "it is an archive"),
            (b"PRIVATE+KEY+a+b+c\n", "it is a private key"),
            (key.as_bytes(), "it is a public key"),
            (note.as_bytes(), "it is a checkpoint"),
            (other.as_bytes(), "it is a signed note"),
            (b"\xff\xfe", "it is neither a ledger's folder"),
        ];
        for (bytes, words) in cases {
            let said = kind(bytes);
            assert!(said.starts_with(words), "{}: {said}", String::from_utf8_lossy(bytes));
        }
    }
}
