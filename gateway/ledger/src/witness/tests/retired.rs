//! The key of a log changes, and its witness lists both.

use super::*;

impl Log {
    /// Asks for a cosignature of the statement that this other key follows here.
    fn change(&self, next: &Log, old: u64) -> Consistency {
        let head = Head {
            size: self.size(),
            root: root(&self.leaves),
        };
        let change = KeyTurn::state(&head, &*self.key, &*next.key).unwrap();
        let proof = consistency_proof(self, old, self.size()).unwrap();
        Consistency::unproved(old, proof, change.note().clone()).unwrap()
    }

    /// The same records under another key of the log.
    fn rekeyed(&self) -> Self {
        Self {
            key: key(self.key.key().name().as_str(), Algorithm::Ed25519),
            leaves: self.leaves.clone(),
        }
    }
}

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
    old.grow("a", 1);
    ask(&open(&[&old]), &old.request(4)).unwrap();
    let both = open(&[&old, &new]);
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
    // Listed alone, in place of the old one, it goes on from there as well; the old one alone does not.
    new.grow("a", 1);
    ask(&open(&[&new]), &new.request(7)).unwrap();
    assert_eq!(open(&[&old, &new]).known()[0].1, 8);
    for listed in [&[&old][..], &[&new, &old]] {
        let refused = witness_on(&disk, &ours, listed).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "`w.key.begun` says that `{}` is the newest key of its log that this witness knew of, and `{}` would be it now: put the newest \
                 copy of the folder back, or name that key last with `--log`. Whoever holds a key that another followed could have other \
                 records cosigned",
                new.key.key().short(),
                old.key.key().short()
            )
        );
    }
}

/// The attack: the key was changed and the old one stolen, and the thief asks before the log does with its new key.
#[test]
fn promise_5_a_witness_that_knows_of_a_newer_key_cosigns_nothing_more_of_the_old_one() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    ask(&witness_on(&disk, &ours, &[&old]).unwrap(), &old.request(0)).unwrap();
    let mut new = old.rekeyed();
    let mut stolen = old.clone();
    stolen.grow("stolen", 3);
    let both = witness_on(&disk, &ours, &[&old, &new]).unwrap();
    for _ in 0..2 {
        let refused = ask(&both, &stolen.request(4)).unwrap_err();
        assert!(matches!(refused, Refused::NotNewest { .. }), "{refused}");
        assert_eq!((refused.status(), refused.is_contradiction()), (403, false));
    }
    // The change is no less welcome for that, and the list is remembered without it.
    drop(both);
    let refused = witness_on(&disk, &ours, &[&old]).unwrap_err();
    assert!(
        matches!(refused, NoWitness::Memory(MemoryError::OlderKey { .. })),
        "{refused}"
    );
    let both = witness_on(&disk, &ours, &[&old, &new]).unwrap();
    old.grow("a", 1);
    ask(&both, &old.change(&new, 4)).unwrap();
    assert!(matches!(ask(&both, &stolen.request(5)), Err(Refused::Retired { .. })));
    new.leaves.clone_from(&old.leaves);
    new.grow("a", 1);
    ask(&both, &new.request(5)).unwrap();
}

#[test]
fn promise_5_a_witness_that_was_shown_the_change_cosigns_nothing_more_of_the_old_key() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    let open = |logs: &[&Log]| witness_on(&disk, &ours, logs).unwrap();
    let witness = open(&[&old]);
    ask(&witness, &old.request(0)).unwrap();
    old.grow("a", 2);
    let (mut new, mut stolen) = (old.rekeyed(), old.clone());
    let shown = ask(&witness, &old.change(&new, 4)).unwrap();
    // It is a cosignature of the statement, as of any checkpoint.
    let mut note = old.change(&new, 4).note;
    note.add(shown);
    assert!(note.verify([ours.key()]).is_ok());
    let thief = old.rekeyed();
    let refuses = |witness: &Witness, stolen: &Log, is_beyond: bool| {
        for request in [stolen.request(6), stolen.change(&thief, 6)] {
            let refused = ask(witness, &request).unwrap_err();
            assert!(
                matches!(&refused, Refused::Retired { key, newer, is_beyond: beyond }
                    if *key == old.key.key().short() && *newer == new.key.key().short() && *beyond == is_beyond),
                "{refused}"
            );
        }
    };
    refuses(&witness, &stolen, false);
    stolen.grow("stolen", 3);
    refuses(&witness, &stolen, true);
    // Shown again it is a checkpoint like any other, and its key one that counts.
    ask(&witness, &old.change(&new, 6)).unwrap();
    assert_eq!(witness.newest_keys(), [new.key.key().clone()]);
    drop(witness);
    // After a restart as well, whatever the list leaves out.
    for listed in [&[&old][..], &[&old, &new], &[&new, &old], &[&old]] {
        refuses(&open(listed), &stolen, true);
    }
    new.grow("a", 2);
    ask(&open(&[&old]), &new.request(6)).unwrap();
    let after = open(&[&old]);
    assert_eq!(after.known()[0].1, 8);
    stolen = new.clone();
    stolen.key = Arc::clone(&old.key);
    stolen.grow("stolen", 1);
    assert!(matches!(
        ask(&after, &stolen.request(8)),
        Err(Refused::Retired { is_beyond: true, .. })
    ));
    // What it remembers is a checkpoint for whoever holds it against a ledger, and no pack of several.
    let name = memory_of(&disk);
    let held = cosigned_in(&disk.bytes(&name).unwrap()).unwrap();
    assert_eq!(held.text(), new.signed().note.text());
}

/// The attack: the thief of the key states a change to a key of his own, so that the log is refused and no proof of it is looked at any more.
#[test]
fn promise_5_a_change_of_the_key_that_somebody_else_has_shown_is_an_alarm_of_the_log() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let witness = witness(&[&log]);
    let mut honest = asker(&witness);
    exchange(&mut honest, &witness, &log).unwrap();
    let mut thief = log.rekeyed();
    ask(&witness, &log.change(&thief, 4)).unwrap();
    thief.grow("stolen", 3);
    ask(&witness, &thief.request(4)).unwrap();
    log.grow("a", 5);
    let alarm = exchange(&mut honest, &witness, &log).unwrap_err();
    let newer = thief.key.key().short();
    assert_eq!(alarm, NotCosigned::Followed { newer });
    assert!(alarm.is_alarm() && alarm.is_other_history() && !alarm.is_refusal());
    // Of two changes that the log itself has shown the first comes again, after a restart without what was kept.
    let mut keys = vec![thief.key.key().clone()];
    let after = thief.rekeyed();
    ask(&witness, &thief.change(&after, 7)).unwrap();
    keys.push(after.key.key().clone());
    let first = Published {
        note: log.change(&thief, 0).note,
        ..log.signed()
    };
    let told = ask(&witness, &log.change(&thief, 0)).unwrap_err();
    let body = told.to_string();
    let answer = Answer {
        status: told.status(),
        content_type: "",
        body: body.as_bytes(),
    };
    let again = asker(&witness).of_log(&keys).take(&first, 7, &answer);
    assert_eq!(again, Err(NotCosigned::Unknown { status: 403 }));
    let stranger = asker(&witness).take(&first, 7, &answer);
    assert!(matches!(stranger, Err(NotCosigned::Followed { .. })), "{stranger:?}");
    // A key that is listed too early is none, nor is another program's 403.
    let (next, ours) = (log.rekeyed(), key("w", Algorithm::Cosignature));
    let early = witness_on(&SimDisk::new(2), &ours, &[&log, &next]).unwrap();
    let refused = exchange(&mut asker(&early), &early, &log).unwrap_err();
    assert_eq!(refused, NotCosigned::Unknown { status: 403 });
    assert!(refused.is_refusal());
}

fn memory_of(disk: &SimDisk) -> String {
    let names = disk.list().unwrap();
    names.into_iter().find(|name| name.ends_with(".cosigned")).unwrap()
}

/// Whoever takes a part of the memory away, or puts an older one in its place, does not roll the change back.
#[test]
fn promise_5_a_memory_from_which_the_change_was_taken_stops_the_start() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    let open = || witness_on(&disk, &ours, &[&old]);
    ask(&open().unwrap(), &old.request(0)).unwrap();
    let name = memory_of(&disk);
    let (before, marked) = (disk.bytes(&name).unwrap(), disk.bytes(MARKER).unwrap());
    let mut new = old.rekeyed();
    ask(&open().unwrap(), &old.change(&new, 4)).unwrap();
    let changed = disk.bytes(&name).unwrap();
    new.grow("a", 1);
    ask(&open().unwrap(), &new.request(4)).unwrap();
    let whole = disk.bytes(&name).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let (checkpoint, change) = text.split_once("gatescribe.dev/key-changes\n").unwrap();
    for less in [checkpoint.as_bytes(), &before] {
        disk.put(&name, less);
        let stopped = open().unwrap_err();
        let is_found = matches!(
            stopped,
            NoWitness::Memory(MemoryError::OlderKey { .. } | MemoryError::Forgotten { .. })
        );
        assert!(is_found, "{stopped}");
    }
    // A change that this witness never cosigned, or a part of one.
    let other = key("w", Algorithm::Cosignature);
    let mut strange = old.change(&old.rekeyed(), 4).note;
    strange.sign(&*other, TIME).unwrap();
    for behind in [strange.to_string(), change.chars().take(change.len() / 2).collect()] {
        disk.put(
            &name,
            format!("{checkpoint}gatescribe.dev/key-changes\n{behind}").as_bytes(),
        );
        let stopped = open().unwrap_err();
        let is_found = matches!(
            stopped,
            NoWitness::Memory(MemoryError::Change { .. } | MemoryError::Note { .. } | MemoryError::OtherKey { .. })
        );
        assert!(is_found, "{stopped}");
    }
    // The marker taken away, or put back from before: the memory has it.
    for marker in [None, Some(marked)] {
        disk.put(&name, &changed);
        match marker {
            Some(marker) => disk.put(MARKER, &marker),
            None => disk.remove(MARKER).unwrap(),
        }
        assert_eq!(open().unwrap().newest_keys(), [new.key.key().clone()]);
    }
    disk.put(&name, &before);
    assert!(matches!(open(), Err(NoWitness::Memory(MemoryError::OlderKey { .. }))));
    // Begun anew on purpose, it goes on with what it has.
    let anew = witness_beside(&disk, &disk, &ours, &[&old], WhenForgotten::DangerBeginAnew).unwrap();
    assert_eq!(anew.newest_keys(), [old.key.key().clone()]);
    drop(anew);
    open().unwrap();
}

#[test]
fn promise_5_after_a_crash_at_any_write_a_change_that_was_cosigned_is_not_forgotten() {
    let ours = key("w", Algorithm::Cosignature);
    let mut old = Log::new("log.example/a");
    old.grow("a", 4);
    let new = old.rekeyed();
    let shown = |disk: &SimDisk| {
        let witness = witness_on(disk, &ours, &[&old]).ok()?;
        ask(&witness, &old.request(0)).ok()?;
        ask(&witness, &old.change(&new, 4)).ok()
    };
    let writes = {
        let disk = SimDisk::new(0);
        shown(&disk).unwrap();
        disk.operations()
    };
    let mut stolen = old.clone();
    stolen.grow("stolen", 2);
    for (fault, at, seed) in [Fault::Crash, Fault::Io]
        .into_iter()
        .flat_map(|fault| (0..writes).flat_map(move |at| (0..6).map(move |seed| (fault, at, seed))))
    {
        let disk = SimDisk::new(seed);
        disk.fail_after(at, fault);
        let is_shown = shown(&disk).is_some();
        disk.power_cut();
        disk.restart();
        let again = witness_on(&disk, &ours, &[&old]).unwrap();
        let known = again.known()[0].1;
        if is_shown {
            assert!(
                matches!(ask(&again, &stolen.request(known)), Err(Refused::Retired { .. })),
                "{fault:?} at {at}"
            );
        }
        let mut after = new.clone();
        if again.newest_keys() != [new.key.key().clone()] {
            ask(&again, &old.change(&new, known)).unwrap();
        }
        after.grow("a", 1);
        ask(&again, &after.request(again.known()[0].1)).unwrap();
    }
}

/// The log's key writes what it likes into a checkpoint; nothing of that stops the witness's next start.
#[test]
fn a_checkpoint_that_looks_like_a_memory_is_remembered_as_what_it_is() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let text = format!(
        "{}\u{2014} a b\ngatescribe.dev/key-changes\nnothing of the kind\n",
        log.signed().note.text()
    );
    let mut note = Note::new(text).unwrap();
    note.sign(&*log.key, TIME).unwrap();
    let request = Consistency::unproved(0, Vec::new(), note).unwrap();
    ask(&witness_on(&disk, &ours, &[&log]).unwrap(), &request).unwrap();
    assert_eq!(witness_on(&disk, &ours, &[&log]).unwrap().known()[0].1, 4);
}

#[test]
fn a_key_that_changes_without_end_is_followed_so_far_and_no_further() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut first = Log::new("log.example/a");
    first.grow("a", 3);
    let witness = witness_on(&disk, &ours, &[&first]).unwrap();
    ask(&witness, &first.request(0)).unwrap();
    let mut log = first.clone();
    for _ in 0..64 {
        let next = log.rekeyed();
        ask(&witness, &log.change(&next, 3)).unwrap();
        log = next;
    }
    let next = log.rekeyed();
    let refused = ask(&witness, &log.change(&next, 3)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the key of this log changed 64 times since the one that is listed here: its newest key has to be listed"
    );
    assert_eq!(refused.status(), 403);
    drop(witness);
    assert_eq!(
        witness_on(&disk, &ours, &[&first]).unwrap().newest_keys(),
        [log.key.key().clone()]
    );
    let witness = witness_on(&disk, &ours, &[&log]).unwrap();
    ask(&witness, &log.change(&next, 3)).unwrap();
    drop(witness);
    assert_eq!(
        witness_on(&disk, &ours, &[&log]).unwrap().newest_keys(),
        [next.key.key().clone()]
    );
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
            "the checkpoint is signed by `{}`, and not by the newest key of its log that is known here, `{}`: what that one signs is cosigned, \
             and the change to it, once the log shows it",
            old.key.key().short(),
            new.key.key().short()
        )
    );
    assert_eq!((refused.status(), refused.is_contradiction()), (403, false));
    assert_eq!(witness.known()[0].1, 0);
    ask(&witness, &new.request(0)).unwrap();
    assert_eq!(witness.known()[0].1, 5);
}
