//! The specifications' own examples, and attacks on both.

use proptest::prelude::*;

use super::*;

/// From C2SP signed-note and `golang.org/x/mod/sumdb/note`.
const EXAMPLE_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const EXAMPLE_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
                            then you don't know what your problem is.\n\
                            \n\
                            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn log_key() -> SigningKey {
    SigningKey::generate(KeyName::new("audit.example/one").unwrap(), Algorithm::Ed25519).unwrap()
}

fn witness_key() -> SigningKey {
    SigningKey::generate(KeyName::new("witness.example/w1").unwrap(), Algorithm::Cosignature).unwrap()
}

/// What stands behind name and id; base64 has a `+` of its own.
fn encoded(key: &str) -> &str {
    let key = key.strip_prefix("PRIVATE+KEY+").unwrap_or(key);
    key.splitn(3, '+').nth(2).unwrap()
}

fn signed(text: &str, signers: &[&SigningKey]) -> Note {
    let mut note = Note::new(text.to_owned()).unwrap();
    for signer in signers {
        note.sign(*signer, 1_679_315_147).unwrap();
    }
    note
}

#[test]
fn the_note_of_the_public_library_s_documentation_verifies() {
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    let note = Note::parse(EXAMPLE_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify([&key]).unwrap(), [Vouched { key: &key, time: None }]);
    assert_eq!(note.to_string(), EXAMPLE_NOTE);
    assert_eq!(key.to_string(), EXAMPLE_KEY);
}

#[test]
fn keys_are_read_as_they_are_written() {
    for key in [log_key(), witness_key()] {
        let again: SigningKey = key.to_private_text().parse().unwrap();
        assert_eq!(again.key(), key.key());
        assert_eq!(key.key().to_string().parse::<VerifierKey>().as_ref(), Ok(key.key()));
        assert!(!format!("{key:?}").contains(encoded(&key.to_private_text())));
    }
}

#[test]
fn a_key_with_any_part_exchanged_is_refused() {
    let (one, other) = (log_key().key().to_string(), log_key().key().to_string());
    let split = |text: &str| text.splitn(3, '+').map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (split(&one), split(&other));
    let mixed = [&one[0], &one[1], &other[2]].map(String::as_str).join("+");
    assert_eq!(mixed.parse::<VerifierKey>(), Err(KeyError::Id));
    let renamed = ["audit.example/two", &one[1], &one[2]].join("+");
    assert_eq!(renamed.parse::<VerifierKey>(), Err(KeyError::Id));
    let short = [&one[0], one[1].split_at(1).1, &one[2]].join("+");
    assert_eq!(short.parse::<VerifierKey>(), Err(KeyError::Form));
    for name in ["", "a b", "a\u{a0}b", "a+b", "a\nb"] {
        assert_eq!(KeyName::new(name), Err(KeyError::Name), "{name:?}");
    }
    assert_eq!(
        "a+00000000+AgAA".parse::<VerifierKey>(),
        Err(KeyError::Algorithm(2)),
        "the kind of key that is not read here is named"
    );
}

#[test]
fn a_cosignature_vouches_with_its_time() {
    let (log, witness) = (log_key(), witness_key());
    let note = signed("a\n1\nroot\n", &[&log, &witness]);
    let keys = [log.key().clone(), witness.key().clone()];
    let times: Vec<_> = note.verify(&keys).unwrap().iter().map(|vouched| vouched.time).collect();
    assert_eq!(times, [None, Some(1_679_315_147)]);
}

#[test]
fn a_cosignature_with_another_time_is_invalid() {
    let witness = witness_key();
    let note = signed("a\n1\nroot\n", &[&witness]);
    let mut moved = note.signatures()[0].clone();
    moved.bytes[7] ^= 1;
    let mut forged = note.clone();
    forged.add(moved);
    assert!(matches!(
        forged.verify([witness.key()]),
        Err(VerifyError::Invalid { .. })
    ));
}

#[test]
fn the_same_key_pair_in_another_role_is_another_key() {
    let log = log_key();
    let as_witness: SigningKey = {
        let mut bytes = STANDARD.decode(encoded(&log.to_private_text())).unwrap();
        bytes[0] = 0x04;
        let public = STANDARD.decode(encoded(&log.key().to_string())).unwrap();
        let public: [u8; 32] = public[1..].try_into().unwrap();
        let id = VerifierKey::new(log.key().name().clone(), Algorithm::Cosignature, public).id();
        format!("PRIVATE+KEY+{}+{id:08x}+{}", log.key().name(), STANDARD.encode(bytes))
            .parse()
            .unwrap()
    };
    let note = signed("text\n", &[&log]);
    assert!(matches!(
        note.verify([as_witness.key()]),
        Err(VerifyError::Unknown { .. })
    ));
}

#[test]
fn unknown_keys_are_passed_over_and_a_false_signature_of_a_known_one_is_not() {
    let (log, other) = (log_key(), log_key());
    let note = signed("text\n", &[&log, &other]);
    assert_eq!(note.verify([log.key()]).unwrap().len(), 1);

    let mut forged = Note::new("text\n".to_owned()).unwrap();
    forged.sign(&other, 0).unwrap();
    let theirs = forged.signatures()[0].clone();
    forged.add(Signature::new(log.key().name().clone(), log.key().id(), theirs.bytes));
    assert_eq!(
        forged.verify([other.key(), log.key()]),
        Err(VerifyError::Invalid { key: log.key().short() }),
        "one good signature does not carry a false one"
    );
}

#[test]
fn a_note_with_the_signatures_of_some_keys_is_the_same_text_with_those_alone() {
    let (log, witness) = (log_key(), witness_key());
    let note = signed("log.example\n1\nAAAA\n", &[&witness, &log]);
    let by_log = note.with_signatures_of(&[log.key().clone()]);
    assert_eq!((by_log.text(), by_log.signatures().len()), (note.text(), 1));
    by_log.verify([log.key()]).unwrap();
    assert!(by_log.verify([witness.key()]).is_err());
    // In the order of the keys, and read again as it is written.
    let both = note.with_signatures_of(&[log.key().clone(), witness.key().clone()]);
    assert_eq!(both, signed(note.text(), &[&log, &witness]));
    assert_eq!(Note::parse(both.to_string().as_bytes()).unwrap(), both);
    assert!(note.with_signatures_of(&[]).signatures().is_empty());
}

#[test]
fn what_is_not_exactly_a_note_is_refused() {
    let line = signed("t\n", &[&log_key()]).signatures()[0].to_string();
    let cases: [(String, NoteError); 12] = [
        (String::new(), NoteError::NoSignatures),
        ("text\n".to_owned(), NoteError::NoSignatures),
        ("text\n\n".to_owned(), NoteError::NoSignatures),
        (format!("text\n\n{line}"), NoteError::NoSignatures),
        (format!("text\n\n{line}\n{line}"), NoteError::NoSignatures),
        (format!("text\r\n\n{line}\n"), NoteError::NotText),
        (format!("te\u{1}xt\n\n{line}\n"), NoteError::NotText),
        (
            format!("text\n\n{}\n", line.replace('\u{2014}', "-")),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            format!("text\n\n{line}\n{line} \n"),
            NoteError::SignatureLine { line: 2 },
        ),
        (
            "text\n\n\u{2014} name AAAAAA==\n".to_owned(),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            format!("text\n\n{}", format!("{line}\n").repeat(65)),
            NoteError::TooManySignatures,
        ),
        (format!("{}\n\n{line}\n", "x".repeat(MAX_NOTE_LEN)), NoteError::TooLong),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::NotText));
    assert!(Note::parse(format!("text\n\n{}", format!("{line}\n").repeat(64)).as_bytes()).is_ok());
}

#[test]
fn the_last_empty_line_parts_text_and_signatures() {
    let log = log_key();
    let note = signed("one\n\ntwo\n", &[&log]);
    let again = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(again.text(), "one\n\ntwo\n");
    assert!(again.verify([log.key()]).is_ok());
}

proptest! {
    #[test]
    fn every_flipped_bit_is_refused_or_not_this_key_s(at in 0_usize..10_000, bit in 0_u8..8) {
        let log = log_key();
        let text = "audit.example/one\n7\nroot\n";
        let mut bytes = signed(text, &[&log]).to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let vouched = Note::parse(&bytes).is_ok_and(|note| note.verify([log.key()]).is_ok());
        prop_assert!(!vouched, "byte {at}");
    }

    #[test]
    fn whatever_is_read_is_written_byte_for_byte(bytes in "([a-z\n\u{2014} +=]{0,60}\n\n)?(\u{2014} [a-z]{1,5} [A-Za-z0-9+/]{8}\n){0,3}") {
        if let Ok(note) = Note::parse(bytes.as_bytes()) {
            prop_assert_eq!(note.to_string(), bytes);
        }
    }
}
