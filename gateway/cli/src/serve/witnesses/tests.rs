//! What the configuration says of a witness.

use std::path::Path;

use ledger::{Disk, Ledger, RealDisk};

use super::*;
use crate::serve::alarms::tests::Full;

#[test]
fn requests_go_below_the_witness_s_url() {
    for (url, wanted) in [
        ("https://w.example", "https://w.example/add-checkpoint"),
        ("https://w.example/", "https://w.example/add-checkpoint"),
        ("http://127.0.0.1:1/a/b", "http://127.0.0.1:1/a/b/add-checkpoint"),
    ] {
        assert_eq!(target(url).unwrap().to_string(), wanted);
    }
}

/// A witness that is asked on behalf of a full ledger.
fn asking(full: &Full, dir: &Path) -> Asking {
    let (ledger, _) = Ledger::open(dir, ledger::Options::default(), Arc::new(RealDisk::new(dir))).unwrap();
    let ledger = Arc::new(ledger);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let publisher = Arc::new(Publisher::start(&ledger, disk, None, Vec::new(), Arc::new(crate::serve::now)).unwrap());
    let configured = config::Witness {
        name: "elsewhere".to_owned(),
        // Nobody listens there.
        url: "http://127.0.0.1:1".to_owned(),
        public_key: "witness.example+0080fed4+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned(),
        ca_file: None,
    };
    let contact = Contact::new(&configured).unwrap();
    let names = std::iter::once(Arc::from("elsewhere"));
    let witnesses = Witnesses::new(names, 1, Arc::clone(&publisher), crate::serve::now());
    Asking {
        asker: Asker::new(contact.key.clone(), &[]).unwrap(),
        contact: Arc::new(contact),
        desk: Arc::new(Desk {
            publisher,
            tiles: ledger.tiles(),
            audit: Arc::clone(&full.audit),
            rounds: Mutex::new(Rounds::new(Vec::new(), 1)),
        }),
        state: Arc::clone(&witnesses.all()[0]),
        changes: VecDeque::new(),
    }
}

#[tokio::test]
async fn each_alarm_of_a_witness_is_one_record_however_long_the_ledger_refuses_it() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (folder, full) = (tempfile::tempdir().unwrap(), Full::new());
    let mut asking = asking(&full, folder.path());
    let published = Arc::new(Published {
        note: Note::new("log.example/a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_owned()).unwrap(),
        checkpoint: Checkpoint {
            origin: "log.example/a".to_owned(),
            size: 0,
            root: ledger::empty_root(),
        },
        at: crate::serve::now(),
    });
    let forgot = Failure::Said(NotCosigned::Forgot { cosigned: 6, known: 0 });
    let forked = Failure::Said(NotCosigned::Forked { size: 6 });
    for failure in [&forgot, &forked, &forgot, &forked] {
        asking.fail(failure);
    }
    for _ in 0..2 {
        assert!(!asking.once_and_record(Arc::clone(&published)).await, "nobody answers");
    }
    assert_eq!(full.alarms(), Vec::<String>::new(), "the disk is full");
    full.give_room();
    while full.alarms().len() < 2 {
        asking.once_and_record(Arc::clone(&published)).await;
    }
    asking.once_and_record(published).await;
    let alarms = full.alarms();
    let begins = [
        "alarm: the witness `elsewhere` has forgotten what it cosigned of this ledger: it has cosigned 6 records of this ledger, and \
         knows of 0 now",
        "alarm: the witness `elsewhere` has seen another history of this ledger: it has cosigned other 6 records",
    ];
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    for (alarm, begin) in alarms.iter().zip(begins) {
        assert!(alarm.starts_with(begin), "{alarm}");
    }
}
