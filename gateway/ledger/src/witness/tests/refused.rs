//! What a refusal says, of whom, and what it leaves; and what a full disk has to do with a start.

use super::*;

/// A full disk takes nothing. A start that has nothing new to say does not write; one that has does not go on without.
#[test]
fn a_marker_that_says_all_is_not_written_again_and_one_that_cannot_be_raised_stops_the_start_by_its_name() {
    let (key_s, disk, ours) = (SimDisk::new(1), SimDisk::new(2), key("w", Algorithm::Cosignature));
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    begin(&beside(&key_s), ours.key()).unwrap();
    let open = |log: &Log| witness_beside(&disk, &key_s, &ours, &[log], WhenForgotten::Refuse);
    ask(&open(&log).unwrap(), &log.request(0)).unwrap();
    key_s.set_space(Some(key_s.used()));
    for _ in 0..3 {
        open(&log).unwrap();
    }
    let said = key_s.bytes(MARKER).unwrap();
    // The last run's rename may not have been synced: what was found is made durable.
    let before = key_s.operations();
    open(&log).unwrap();
    assert_eq!(key_s.operations(), before + 1, "its folder is synced");
    log.grow("a", 3);
    ask(&open(&log).unwrap(), &log.request(4)).unwrap();
    let refused = open(&log).unwrap_err();
    let NoWitness::Memory(MemoryError::Io { what, file, .. }) = &refused else {
        panic!("{refused}")
    };
    assert_eq!((*what, file.as_str()), ("write", MARKER));
    assert_eq!(key_s.bytes(MARKER), Some(said), "the old one stands");
    key_s.set_space(None);
    open(&log).unwrap();
    assert!(
        String::from_utf8(key_s.bytes(MARKER).unwrap())
            .unwrap()
            .contains("\n7 log.example/a\n")
    );
}

/// Who has an honest checkpoint that is newer than the witness's sends it with a wrong proof: that accuses nobody. What the log's key alone can
/// have caused does, and either can be held against the log.
#[test]
fn promise_5_a_stranger_with_a_wrong_proof_raises_no_contradiction_and_the_refused_checkpoint_is_kept_as_evidence() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let witness = witness(&[&log]);
    ask(&witness, &log.request(0)).unwrap();
    let mut forked = log.clone();
    log.grow("a", 5);
    let mut wrong = log.request(4);
    wrong.proof.iter_mut().for_each(|hash| *hash = [7; 32]);
    let refused = ask(&witness, &wrong).unwrap_err();
    assert_eq!((refused.status(), refused.is_contradiction()), (422, false));
    assert_eq!(refused.evidence(), Some(log.signed().note.to_string().as_str()));
    // Signatures of strangers are no evidence.
    wrong
        .note
        .add(Signature::new(KeyName::new("stranger").unwrap(), 9, vec![7; 64]));
    let refused = ask(&witness, &wrong).unwrap_err();
    assert_eq!(refused.evidence(), Some(log.signed().note.to_string().as_str()));
    // Of what is known already nothing is in doubt, whatever comes with it.
    let mut known = Consistency::unproved(4, vec![[7; 32]], log.signed_at(4).note).unwrap();
    let refused = ask(&witness, &known).unwrap_err();
    assert_eq!((refused.status(), refused.evidence()), (422, None));
    known.old = 0;
    let refused = ask(&new_witness(&log), &known).unwrap_err();
    assert_eq!((refused.status(), refused.evidence()), (422, None));
    forked.leaves.pop();
    forked.grow("b", 1);
    let refused = ask(&witness, &forked.request(4)).unwrap_err();
    assert_eq!((refused.status(), refused.is_contradiction()), (409, true));
    assert_eq!(refused.evidence(), Some(forked.signed().note.to_string().as_str()));
    ask(&witness, &log.request(4)).unwrap();
}

/// One that has cosigned nothing.
fn new_witness(log: &Log) -> Witness {
    witness(&[log])
}

#[test]
fn a_request_is_counted_under_the_log_that_it_names_where_that_one_is_known() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 300);
    let witness = witness(&[&log]);
    for old in [0, 3, 300] {
        let request = log.request(old).to_string();
        assert_eq!(witness.log_of(request.as_bytes()), Some("log.example/a"));
    }
    let other = Log::new("log.example/ab").request(0).to_string();
    for body in [
        other.as_bytes(),
        b"",
        b"\n\n",
        b"old 0\n\nlog.example/",
        b"\n\n\xff\n",
        b"old 0\nlog.example/a\n",
    ] {
        assert_eq!(witness.log_of(body), None);
    }
    assert_eq!(witness.log_of(b"\n\nlog.example/a"), Some("log.example/a"));
}
