//! The keys of parts and those of names are forgotten in one moment.

use std::sync::{Mutex, Weak};

use futures::future::BoxFuture;
use ledger::{NotSealed, Options, RealDisk};

use super::*;

/// Sees whether anything could be sealed while its keys are forgotten.
#[derive(Debug, Default)]
struct Seen {
    station: OnceLock<Weak<Station>>,
    alone: Mutex<Vec<bool>>,
}

impl ledger::Names for Seen {
    fn seal(
        &self,
        _: RecordKind,
        body: Vec<u8>,
        parts: Option<Vec<ledger::Part>>,
    ) -> Result<(Vec<u8>, Vec<ledger::Part>), NotSealed> {
        Ok((body, parts.unwrap_or_default()))
    }

    fn open(&self, leaf: Vec<u8>, _: &[Vec<u8>]) -> Vec<u8> {
        leaf
    }

    fn pseudonym(&self, _: &SubjectId) -> Option<String> {
        None
    }

    fn forget(&self) {
        let station = self.station.get().and_then(Weak::upgrade);
        let sealer = station.as_ref().and_then(|station| station.sealer.as_ref());
        let is_alone = sealer.is_none_or(part::Sealer::is_forgetting);
        self.alone.lock().unwrap().push(is_alone);
    }
}

#[derive(Debug)]
struct NoKeys;

impl PartKeys for NoKeys {
    fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        Box::pin(std::future::ready(Err("none".to_owned())))
    }

    fn acts_through(&self, _: &SubjectId, _: &str, _: &str) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Between the two a record would have parts under new keys and the name under an old one, and so join what an erasure is to part.
#[test]
fn nothing_is_sealed_between_the_forgetting_of_the_keys_of_parts_and_of_those_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, names) = (ledger_in(folder.path()), Arc::new(Seen::default()));
    ledger.seal_names(Arc::clone(&names) as Arc<dyn ledger::Names>);
    let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
    let with = |keys: bool| {
        let (ledger, clock) = (Arc::clone(&ledger), clock.clone());
        if keys {
            Station::keeping_parts(ledger, clock, "boot".into(), Limits::default(), Arc::new(NoKeys))
        } else {
            Station::new(ledger, clock, "boot".into(), Limits::default())
        }
    };
    let station = with(true);
    names.station.set(Arc::downgrade(&station)).unwrap();
    station.forget_part_keys();
    station.forget_what_passed_and(&SubjectId::from_digest([1; 16]), || ());
    assert_eq!(*names.alone.lock().unwrap(), [true, true]);
    // Where no parts are kept, names are sealed all the same.
    let station = with(false);
    station.forget_part_keys();
    station.forget_what_passed_and(&SubjectId::from_digest([1; 16]), || ());
    assert_eq!(names.alone.lock().unwrap().len(), 4);
}

fn ledger_in(folder: &std::path::Path) -> Arc<Ledger> {
    let disk = Arc::new(RealDisk::new(folder));
    Arc::new(Ledger::open_by_hand(folder, Options::default(), disk).unwrap().0)
}

/// Between the commit of the one and the forgetting of the other a record would have a key of before beside the pseudonym of since.
#[test]
fn promise_6_where_names_are_sealed_nothing_is_sealed_while_keys_and_pseudonym_are_taken_out_of_use() {
    for is_sealed in [true, false] {
        let (folder, names) = (tempfile::tempdir().unwrap(), Arc::new(Seen::default()));
        let ledger = ledger_in(folder.path());
        if is_sealed {
            ledger.seal_names(Arc::clone(&names) as Arc<dyn ledger::Names>);
        }
        let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
        let station = Station::keeping_parts(ledger, clock, "boot".into(), Limits::default(), Arc::new(NoKeys));
        names.station.set(Arc::downgrade(&station)).unwrap();
        let sealer = station.sealer.as_ref().unwrap();
        let mut was_alone = None;
        station.forget_what_passed_and(&SubjectId::from_digest([1; 16]), || {
            assert!(names.alone.lock().unwrap().is_empty(), "forgotten behind it");
            was_alone = Some(sealer.is_forgetting());
        });
        assert_eq!(
            was_alone,
            Some(is_sealed),
            "with names in the clear nobody waits for it"
        );
        assert_eq!(names.alone.lock().unwrap().len(), usize::from(is_sealed));
    }
}
