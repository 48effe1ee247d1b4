//! Whose backup of keys it is: the ledger's key signs what is in it. Anybody who knows a recipient can write a file that its identity opens, with keys and
//! traces of their own, and with a smaller number of records than the ledger had.
//!
//! What is signed is a note of four lines: what it is, the name of the log, how many of its records there were, and SHA-256 of the backup's lines before the
//! note, base64. No reader takes it for a checkpoint: its second line is no size, or its third, a number, no root.
//!
//! Only the key that signs the ledger now counts. One that another followed may be stolen, and nothing shows when it signed a backup.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::note::{Note, Signer as _, SigningKey, VerifierKey, VerifyError};
use state::Backup;

const KIND: &str = "gatescribe.dev/key-backup";

/// Why a backup is not known to be of this ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSigned {
    /// Version 1.
    #[error(
        "an earlier release wrote it, and nobody signed it: whoever knows its recipient can have written it, with keys of their own. If you know where it comes \
         from, say so with `--danger-unsigned WHY`"
    )]
    Nobody,
    /// Another key.
    #[error(
        "`{by}` signed it, and not `{key}`, the ledger's key: it is of another ledger, or of before a change of the key, and who has that one can have written \
         it. If you know where it comes from, say so with `--danger-unsigned WHY`"
    )]
    Another {
        /// `NAME+ID`.
        by: String,
        /// `NAME+ID`.
        key: String,
    },
    /// The ledger's key signed something else.
    #[error("it was changed: it is not what the ledger's key signed")]
    Changed,
}

/// Signs it.
///
/// # Errors
/// It cannot be written, or the key does not sign.
pub(super) fn sign(backup: Backup, key: &SigningKey) -> anyhow::Result<Backup> {
    let text = text(&backup, key.key());
    let text = text.ok_or_else(|| anyhow::anyhow!("the backup cannot be written"))?;
    let mut note = Note::new(text)?;
    note.sign(key, 0)?;
    Ok(backup.signed(note.to_string()))
}

/// Checks that this key of the ledger signed it; without a key nobody did.
///
/// # Errors
/// [`NotSigned`].
pub(super) fn is_signed(backup: &Backup, key: Option<&VerifierKey>) -> Result<(), NotSigned> {
    let signed = backup.note().ok_or(NotSigned::Nobody)?;
    let note = Note::parse(signed.as_bytes()).map_err(|_| NotSigned::Changed)?;
    match (note.verify(key), key) {
        (Ok(_), Some(key)) if text(backup, key).as_deref() == Some(note.text()) => Ok(()),
        (Err(VerifyError::Unknown { signed_by }), key) => Err(NotSigned::Another {
            by: signed_by.join(", "),
            key: key.map_or_else(|| "(none is here)".to_owned(), VerifierKey::short),
        }),
        _ => Err(NotSigned::Changed),
    }
}

fn text(backup: &Backup, key: &VerifierKey) -> Option<String> {
    let digest = STANDARD.encode(backup.digest()?);
    Some(format!("{KIND}\n{}\n{}\n{digest}\n", key.name(), backup.records))
}

#[cfg(test)]
mod tests {
    use ledger::Checkpoint;
    use ledger::note::{Algorithm, KeyName};
    use model::time::Timestamp;

    use super::super::keys::tests::{Place, told};
    use super::*;
    use crate::Exit;

    const UNSIGNED: &[u8] = include_bytes!("keys_version_1.age");

    fn key(name: &str) -> SigningKey {
        SigningKey::generate(KeyName::new(name).unwrap(), Algorithm::Ed25519).unwrap()
    }

    /// Two stores, of which each has keys of its own, at some number of records.
    fn backups() -> impl Fn(usize, u64) -> Backup {
        let places = [Place::new(), Place::new()];
        move |which, records| {
            let store = places[which].store();
            store.back_up_part_keys(records, Timestamp::EPOCH).unwrap()
        }
    }

    #[test]
    fn promise_5_what_the_ledgers_key_signed_of_a_backup_is_all_of_it_and_no_checkpoint() {
        let (own, other) = (key("7"), key("log.example/b"));
        let backup = backups();
        let signed = sign(backup(0, 4), &own).unwrap();
        assert_eq!(is_signed(&signed, Some(own.key())), Ok(()));
        let note = Note::parse(signed.note().unwrap().as_bytes()).unwrap();
        assert!(
            Checkpoint::parse(note.text()).is_err(),
            "also where the log's name is a number"
        );
        // Other keys, and fewer records, under the same note.
        for (which, records) in [(0, 3), (1, 4)] {
            let swapped = backup(which, records).signed(note.to_string());
            assert_eq!(is_signed(&swapped, Some(own.key())), Err(NotSigned::Changed));
        }
        // Another log's name under the same key.
        let text = text(&signed, other.key()).unwrap();
        let mut renamed = Note::new(text).unwrap();
        renamed.sign(&own, 0).unwrap();
        let renamed = backup(0, 4).signed(renamed.to_string());
        assert_eq!(is_signed(&renamed, Some(own.key())), Err(NotSigned::Changed));
        for broken in ["", "no note", &note.to_string().replace("key-backup", "key-backup2")] {
            let broken = backup(0, 4).signed(broken.to_owned());
            assert_eq!(is_signed(&broken, Some(own.key())), Err(NotSigned::Changed));
        }
        let by_other = is_signed(&signed, Some(other.key())).unwrap_err();
        assert_eq!(
            by_other.to_string(),
            format!(
                "`{}` signed it, and not `{}`, the ledger's key: it is of another ledger, or of before a change of the key, and who has that one can have \
                 written it. If you know where it comes from, say so with `--danger-unsigned WHY`",
                own.key().short(),
                other.key().short()
            )
        );
    }

    /// The attack: whoever knows the recipient, which is no secret, writes a backup with keys of their own.
    #[test]
    fn promise_5_a_backup_that_the_ledgers_key_did_not_sign_is_put_back_only_where_somebody_says_why() {
        let place = Place::new();
        std::fs::write(place.at("old.age"), UNSIGNED).unwrap();
        let (exit, why) = told(place.restores_with("old.age", None));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(why.contains("nobody signed it"), "{why}");
        assert_eq!(
            told(place.restores_with("old.age", Some(" "))).0,
            Exit::Integrity,
            "no reason is none"
        );
        assert!(place.notes().is_empty() && place.ids() == place.keys);
        let done = place.restores_with("old.age", Some("it was in the safe")).unwrap();
        assert_eq!(done.restored, 1);
        let notes = place.notes();
        assert!(
            notes.len() == 1
                && notes[0].ends_with("The ledger's key did not sign it, and it is taken because: it was in the safe"),
            "{notes:?}"
        );
    }

    #[test]
    fn promise_5_a_backup_from_before_a_change_of_the_key_is_put_back_only_where_somebody_says_why() {
        let place = Place::new();
        place.backs_up("keys.age").unwrap();
        place.loses_the_store();
        place.signs_with("gate.example/audit-2");
        let (exit, why) = told(place.restores_with("keys.age", None));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(why.contains("of before a change of the key"), "{why}");
        assert!(place.ids().is_empty());
        assert_eq!(
            place
                .restores_with("keys.age", Some("made the day before"))
                .unwrap()
                .restored,
            3
        );
        place.backs_up("after.age").unwrap();
        place.loses_the_store();
        let (exit, why) = told(place.restores_with("after.age", Some("to be sure")));
        assert_eq!(exit, Exit::Usage, "no option is taken and without effect");
        assert!(why.contains("leave `--danger-unsigned` out"), "{why}");
        assert_eq!(place.restores_with("after.age", None).unwrap().restored, 3);
        // Without a key of the ledger nothing is signed.
        std::fs::remove_file(place.at("data/keys/ledger.key")).unwrap();
        let (exit, why) = told(place.backs_up("none.age"));
        assert_eq!(exit, Exit::NotFound, "{why}");
        assert!(!place.at("none.age").exists());
    }
}
