//! The key of a log changes, and its witness lists both.

use super::*;

/// The log's key was changed and the old one stolen, while the witness still lists both.
#[test]
fn promise_5_after_a_newer_key_nothing_of_an_older_one_is_cosigned() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    let mut new = Log {
        key: key("log.example/a", Algorithm::Ed25519),
        leaves: old.leaves.clone(),
    };
    let open = |logs: &[&Log]| witness_on(&disk, &ours, logs).unwrap();
    ask(&open(&[&old]), &old.request(0)).unwrap();
    let both = open(&[&old, &new]);
    old.grow("a", 1);
    ask(&both, &old.request(4)).unwrap();
    let stale = old.request(5);
    // At the size that the old key reached, too: what is kept then is the new key's.
    new.leaves.clone_from(&old.leaves);
    ask(&both, &new.request(5)).unwrap();
    let replayed = ask(&both, &stale).unwrap_err();
    assert!(
        matches!(&replayed, Refused::Retired { key, newer, is_beyond: false }
            if *key == old.key.key().short() && *newer == new.key.key().short()),
        "{replayed}"
    );
    assert_eq!((replayed.status(), replayed.is_contradiction()), (403, false));
    // A thief goes on with the old key, before and after a restart.
    old.grow("stolen", 3);
    let refuses_the_thief = |witness: Witness| {
        let stolen = ask(&witness, &old.request(5)).unwrap_err();
        assert!(matches!(stolen, Refused::Retired { is_beyond: true, .. }), "{stolen}");
        assert_eq!((stolen.status(), stolen.is_contradiction()), (403, true));
    };
    refuses_the_thief(both);
    refuses_the_thief(open(&[&old, &new]));
    new.grow("a", 2);
    let signed_by_both = {
        let mut request = new.request(5);
        request.note.sign(&*old.key, TIME).unwrap();
        request
    };
    ask(&open(&[&old, &new]), &signed_by_both).unwrap();
    // Listed alone, in place of the old one, it goes on from there as well.
    new.grow("a", 1);
    ask(&open(&[&new]), &new.request(7)).unwrap();
    assert_eq!(open(&[&old, &new]).known()[0].1, 8);
}

/// The old key is taken off the list in the same step as the new one is put there.
#[test]
fn a_new_key_in_place_of_the_old_one_goes_on_from_what_the_old_one_signed() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    ask(&witness_on(&disk, &ours, &[&old]).unwrap(), &old.request(0)).unwrap();
    let mut new = Log {
        key: key("log.example/a", Algorithm::Ed25519),
        leaves: old.leaves.clone(),
    };
    new.grow("a", 1);
    ask(&witness_on(&disk, &ours, &[&new]).unwrap(), &new.request(4)).unwrap();
}

/// A witness that remembers nothing of the log, and knows its old key and its new one: the thief of the old one asks first.
#[test]
fn promise_5_a_witness_without_a_memory_begins_with_nothing_that_an_older_key_signed() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    let mut new = Log {
        key: key("log.example/a", Algorithm::Ed25519),
        leaves: Vec::new(),
    };
    old.grow("forged", 3);
    new.grow("a", 5);
    let witness = witness_on(&disk, &ours, &[&old, &new]).unwrap();
    let refused = ask(&witness, &old.request(0)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "nothing of this log was cosigned yet, and the checkpoint is signed by `{}`, not by its newest key that is known here, `{}`: a \
             witness begins with that one, or with a log of which one key alone is known",
            old.key.key().short(),
            new.key.key().short()
        )
    );
    assert_eq!((refused.status(), refused.is_contradiction()), (403, false));
    assert_eq!(witness.known()[0].1, 0);
    ask(&witness, &new.request(0)).unwrap();
    assert_eq!(witness.known()[0].1, 5);
}
