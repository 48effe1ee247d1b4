//! On the simulated disks of a ledger and of its key: somebody appends between two runs, and runs end in every way.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Options;
use crate::note::{Algorithm, KeyName, SigningKey};
use crate::sim::{Answered, Fault, Look, SimDisk};
use crate::verify::{self, Report, Trust, verify};

/// Where a run breaks off is not what is looked at.
type Attempt<T> = Result<T, Box<dyn std::error::Error>>;

/// A gateway's two folders and its key.
struct Place {
    disk: SimDisk,
    beside: SimDisk,
    keys: Vec<Arc<SigningKey>>,
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(KeyName::new("audit.example/one").unwrap(), Algorithm::Ed25519).unwrap())
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        clock: clock(),
        ..Options::default()
    }
}

fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000))
}

fn body() -> Vec<u8> {
    json!({"id": "x"}).to_string().into_bytes()
}

impl Place {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            beside: SimDisk::new(seed + 1),
            keys: vec![key()],
        }
    }

    /// One whose first run has ended in order.
    fn ended(seed: u64) -> Self {
        let place = Self::new(seed);
        place.run().unwrap();
        place
    }

    fn dyns(&self) -> [Arc<dyn Disk>; 2] {
        [Arc::new(self.disk.clone()), Arc::new(self.beside.clone())]
    }

    fn open(&self) -> Result<Arc<Ledger>, crate::OpenError> {
        let [disk, beside] = self.dyns();
        let options = Options {
            beside: Some(beside),
            ..options()
        };
        Ok(Arc::new(Ledger::open(Path::new("l"), options, disk)?.0))
    }

    fn start(&self, ledger: &Arc<Ledger>) -> Result<(Publisher, Tail), PublishError> {
        let [disk, beside] = self.dyns();
        let key = self.keys.last().unwrap();
        let tail = Publisher::say_unsigned(ledger, [&disk, &beside], &[key.key()], ("boot", clock()()))?;
        let signers: Vec<Arc<dyn Signer>> = vec![Arc::clone(key) as Arc<dyn Signer>];
        Publisher::start(ledger, disk, Some(beside), signers, clock()).map(|publisher| (publisher, tail))
    }

    /// A run from its start to its end, which may break off anywhere.
    fn run(&self) -> Attempt<Tail> {
        let ledger = self.open()?;
        let (publisher, tail) = self.start(&ledger)?;
        append(&ledger, 3)?;
        ledger.close();
        publisher.finish()?;
        Ok(tail)
    }

    /// A run that ends in order, as `serve` and `observe` do it, whatever fails once it signs; behind so many records, or before its first. Whether all of its
    /// end was done.
    fn ends(&self, records: usize) -> bool {
        let Ok(ledger) = self.open() else { return false };
        let Ok((publisher, _)) = self.start(&ledger) else {
            return false;
        };
        let appended = append(&ledger, records).is_ok();
        ledger.close_and(|| publisher.finish()).is_ok() && appended
    }

    /// A run that dies with records that are durable and not signed.
    fn dies(&self) {
        let ledger = self.open().unwrap();
        let (publisher, _) = self.start(&ledger).unwrap();
        publisher.stop();
        for _ in 0..2 {
            let ticket = ledger.append(RecordKind::Access, body(), Vec::new()).unwrap();
            ticket.wait().unwrap();
        }
        self.disk.fail_after(0, Fault::Crash);
        drop((publisher, ledger));
        self.back();
    }

    /// The power comes back.
    fn back(&self) {
        for disk in [&self.disk, &self.beside] {
            if disk.is_dead() {
                disk.power_cut();
            }
            disk.restart();
        }
    }

    /// Whoever can write the ledger's files puts records in behind its end.
    fn thief(&self, records: &[(RecordKind, Value)]) -> Range<u64> {
        let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options(), Arc::new(self.disk.clone())).unwrap();
        let from = ledger.found();
        for (kind, body) in records {
            drop(ledger.append(*kind, body.to_string().into_bytes(), Vec::new()).unwrap());
        }
        ledger.drive();
        let until = ledger.durable().size;
        ledger.kill();
        from..until
    }

    /// The same, and the last bytes of the record are missing.
    fn thief_breaks_off(&self) {
        let forged = self.thief(&deletes_secrets()[..1]);
        let name = segment_name(forged.start);
        let mut bytes = self.disk.bytes(&name).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last - 2..=last].fill(0);
        self.disk.put(&name, &bytes);
    }

    fn verified(&self) -> Report {
        let trust = Trust {
            keys: self.keys.iter().map(|key| key.key().clone()).collect(),
            remembered: Vec::new(),
        };
        let [disk, _] = self.dyns();
        verify(&disk, &trust, 1, &|_| {}).unwrap()
    }

    /// What the verifier says that the gateway did not write.
    fn accused(&self) -> Vec<Range<u64>> {
        let report = self.verified();
        let accuses = |finding: &verify::Finding| matches!(finding.fault, verify::Fault::AfterEnd { .. });
        assert!(report.findings.iter().all(accuses), "{:?}", report.findings);
        report.findings.into_iter().map(|finding| finding.records).collect()
    }

    fn records(&self, kind: RecordKind) -> Vec<Value> {
        let [disk, _] = self.dyns();
        let records = Reader::open_on(disk).unwrap().records_from(0).map(Result::unwrap);
        let of_kind = records.filter(|record| record.kind == kind);
        of_kind
            .map(|record| serde_json::from_slice(&record.leaf).unwrap())
            .collect()
    }
}

fn append(ledger: &Ledger, records: usize) -> Attempt<()> {
    for _ in 0..records {
        let ticket = ledger.append(RecordKind::Access, body(), Vec::new())?;
        ticket.wait().map_err(|lost| format!("{lost:?}"))?;
    }
    Ok(())
}

fn deletes_secrets() -> [(RecordKind, Value); 2] {
    let call = json!({"id": "forged", "by": {"user": "alice"}, "req": {"verb": "delete", "path": "/api/v1/secrets"}});
    [(RecordKind::Access, call.clone()), (RecordKind::Config, call)]
}

#[test]
fn promise_5_what_is_put_in_behind_a_run_that_had_ended_is_not_the_gateways_and_nothing_else_is_accused() {
    let place = Place::ended(1);
    let forged = place.thief(&deletes_secrets());
    assert_eq!(forged.end - forged.start, 2);
    let tail = place.run().unwrap();
    assert_eq!((&tail.foreign, tail.unproved.is_empty()), (&forged, true));
    let said = place.records(RecordKind::Damage);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["unsigned"], json!({"from": forged.start, "until": forged.end}));
    // Signed by now, and said for good.
    for _ in 0..2 {
        let report = place.verified();
        assert!(!report.is_proved() && report.proved == report.size);
        assert_eq!(place.accused(), std::slice::from_ref(&forged));
        let words = report.findings[0].to_string();
        let by = said[0]["seq"].as_u64().unwrap();
        let expected = format!(
            "records {} to {}: not the gateway's: it was put in behind the end of a run that had signed all of its records, as record {by} says (",
            forged.start,
            forged.end - 1
        );
        assert!(words.starts_with(&expected), "{words}");
        place.run().unwrap();
    }
}

#[test]
fn promise_5_of_what_was_not_signed_at_a_crash_it_is_said_that_nothing_proves_who_wrote_it() {
    let place = Place::ended(1);
    place.dies();
    let forged = place.thief(&deletes_secrets());
    let tail = place.run().unwrap();
    assert!(tail.foreign.is_empty());
    assert_eq!(tail.unproved, tail.signed.size..forged.end);
    assert!(tail.signed.size < forged.start);
    assert_eq!(place.accused(), []);
    let report = place.verified();
    assert!(report.is_proved());
    assert_eq!(report.unsigned.unproved, [tail.unproved]);
}

#[test]
fn promise_5_what_a_forger_says_of_honest_records_counts_nowhere() {
    let forged = |kind| {
        let said = json!({"id": "", "unsigned": {"from": 0, "until": 3}});
        [(kind, said.clone()), (RecordKind::Recovery, said)]
    };
    for kind in [RecordKind::Damage, RecordKind::Recovery] {
        let place = Place::ended(1);
        let ended = place.thief(&forged(kind));
        place.run().unwrap();
        assert_eq!(place.accused(), [ended]);
        assert_eq!(place.verified().unsigned.unproved, []);
        place.dies();
        let died = place.thief(&forged(kind));
        let tail = place.run().unwrap();
        assert_eq!(place.accused().len(), 1);
        assert_eq!(tail.unproved.end, died.end);
        assert_eq!(place.verified().unsigned.unproved, [tail.unproved]);
    }
}

/// Wherever power or disk fail in a run, of the ledger or of the key.
fn broken_runs(each: impl FnMut(&dyn Fn(&Place) -> bool, &str)) {
    broken(&|place| place.run().is_ok(), each);
}

fn broken(run: &dyn Fn(&Place) -> bool, mut each: impl FnMut(&dyn Fn(&Place) -> bool, &str)) {
    for fault in [Fault::Crash, Fault::Io, Fault::Torn] {
        for is_beside in [false, true] {
            let mut skip = 0;
            loop {
                let has_failed = std::cell::Cell::new(false);
                let breaks = |place: &Place| {
                    let disk = if is_beside { &place.beside } else { &place.disk };
                    disk.fail_after(skip, fault);
                    let before = disk.operations();
                    let ended = run(place);
                    has_failed.set(disk.operations() - before > skip);
                    disk.heal();
                    place.back();
                    ended
                };
                each(&breaks, &format!("{fault:?} at {skip}, beside: {is_beside}"));
                if !has_failed.get() {
                    break;
                }
                skip += 1;
            }
            assert!(skip > 2, "{skip}");
        }
    }
}

#[test]
fn promise_5_wherever_a_run_breaks_off_the_gateway_is_accused_of_nothing() {
    broken_runs(|breaks, how| {
        let place = Place::ended(how.len() as u64);
        breaks(&place);
        let tail = place.run().unwrap();
        assert!(tail.foreign.is_empty(), "{how}: {tail:?}");
        assert_eq!(place.accused(), [], "{how}");
        let report = place.verified();
        assert_eq!(report.proved, report.size, "{how}");
    });
}

#[test]
fn promise_5_wherever_the_start_breaks_off_that_finds_them_they_and_no_others_are_named() {
    broken_runs(|breaks, how| {
        let place = Place::ended(3);
        let forged = place.thief(&deletes_secrets());
        breaks(&place);
        place.run().unwrap();
        assert_eq!(place.accused(), [forged], "{how}");
    });
}

/// Such a start may be tried again and again; the end that it found was signed whole, and nobody else could append.
#[test]
fn promise_5_behind_a_start_that_ends_before_its_first_record_nothing_is_put_in_unseen() {
    for was_killed in [false, true] {
        let place = Place::ended(1);
        if was_killed {
            // When all was signed.
            place.beside.remove(CLOSED).unwrap();
        }
        let size = place.verified().size;
        for _ in 0..2 {
            assert!(place.ends(0));
            assert_eq!(place.verified().size, size, "nothing was to be said");
        }
        let forged = place.thief(&deletes_secrets());
        assert!(place.ends(0));
        assert_eq!(place.accused(), std::slice::from_ref(&forged));
        let tail = place.run().unwrap();
        assert!(tail.foreign.is_empty() && tail.unproved.is_empty(), "{tail:?}");
        assert_eq!(place.accused(), [forged]);
    }
}

/// The disk of the key is mostly that of the state file, which a start fills, too.
#[test]
fn promise_5_a_start_that_fails_for_a_full_disk_keeps_the_end_that_it_found() {
    let place = Place::ended(1);
    let ledger = place.open().unwrap();
    let (publisher, _) = place.start(&ledger).unwrap();
    place.beside.set_space(Some(place.beside.used()));
    ledger.close_and(|| publisher.finish()).unwrap();
    drop(ledger);
    place.beside.set_space(None);
    let forged = place.thief(&deletes_secrets());
    place.run().unwrap();
    assert_eq!(place.accused(), [forged]);
}

#[test]
fn promise_5_wherever_a_run_fails_that_ends_in_order_it_is_accused_of_nothing_and_hides_nothing_behind_its_end() {
    for records in [0, 3] {
        broken(&|place| place.ends(records), |breaks, how| {
            let how = &format!("{records} records, {how}");
            let place = Place::ended(how.len() as u64);
            breaks(&place);
            let tail = place.run().unwrap();
            assert!(tail.foreign.is_empty(), "{how}: {tail:?}");
            assert_eq!(place.accused(), [], "{how}");

            let place = Place::ended(how.len() as u64);
            let has_ended = breaks(&place);
            let is_closed = place.beside.bytes(CLOSED).is_some();
            // Where it has written, the disk may have failed under the footer, and then nothing is known of the end.
            assert!(is_closed || !has_ended || records > 0, "{how}");
            let forged = place.thief(&deletes_secrets());
            place.run().unwrap();
            assert_eq!(place.accused(), Vec::from_iter(is_closed.then_some(forged)), "{how}");
        });
    }
}

/// It says that it cut them off, before anything else of it can say what it found.
#[test]
fn promise_5_what_a_start_says_of_torn_bytes_behind_an_end_is_its_own_wherever_it_breaks_off() {
    let place = Place::ended(1);
    place.thief_breaks_off();
    drop(place.open().unwrap());
    assert_eq!(place.records(RecordKind::Recovery).len(), 1);
    let tail = place.run().unwrap();
    assert!(tail.foreign.is_empty() && !tail.unproved.is_empty(), "{tail:?}");
    assert_eq!(place.accused(), []);
    broken_runs(|breaks, how| {
        let place = Place::ended(5);
        place.thief_breaks_off();
        breaks(&place);
        place.run().unwrap();
        assert_eq!(place.accused(), [], "{how}");
    });
}

/// A call without an end that somebody put in is ended by the start, too.
#[test]
fn promise_5_the_end_that_a_start_gives_to_a_call_that_was_put_in_is_its_own_wherever_it_breaks_off() {
    let puts_in = |place: &Place| {
        let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options(), Arc::new(place.disk.clone())).unwrap();
        let slot = ledger.append_intent(body(), Vec::new()).unwrap();
        ledger.drive();
        let forged = ledger.found()..ledger.durable().size;
        ledger.kill();
        drop(slot);
        forged
    };
    let place = Place::ended(1);
    let forged = puts_in(&place);
    drop(place.open().unwrap());
    assert_eq!(place.run().unwrap().foreign, forged);
    assert_eq!(place.accused(), [forged]);
    broken_runs(|breaks, how| {
        let place = Place::ended(5);
        let forged = puts_in(&place);
        breaks(&place);
        place.run().unwrap();
        assert_eq!(place.accused(), [forged], "{how}");
    });
}

#[test]
fn a_start_that_cannot_write_down_what_it_found_appends_nothing_and_says_why() {
    let place = Place::ended(1);
    place.thief_breaks_off();
    let size = place.verified().size;
    place.beside.put(CLOSED, b"an end\n");
    let error = place.open().err().unwrap();
    let file = place.beside.display(CLOSED);
    assert_eq!(
        chain(&error),
        format!(
            "how many records stood there before this start cannot be written down beside the ledger's key: `{file}` does not say where the last run \
             ended: take it away; the start then records that nothing proves who wrote what was not signed: {}",
            CheckpointError::Lines
        )
    );
    assert_eq!(place.verified().size, size);
}

#[test]
fn promise_5_a_change_of_the_key_that_breaks_off_accuses_nobody_and_hides_nothing() {
    for skip in 0..60 {
        for is_forged in [false, true] {
            let mut place = Place::ended(skip);
            let forged = is_forged.then(|| place.thief(&deletes_secrets()));
            let [old, next] = [Arc::clone(&place.keys[0]), key()];
            let turn = |place: &Place| -> Attempt<Tail> {
                let ledger = place.open()?;
                let [disk, beside] = place.dyns();
                let keys = [old.key(), next.key()];
                let tail = Publisher::say_unsigned(&ledger, [&disk, &beside], &keys, ("boot", clock()()))?;
                let signers: [Arc<dyn Signer>; 2] = [Arc::clone(&old) as _, Arc::clone(&next) as _];
                Publisher::turn(&ledger, disk, Some(beside), [&signers[0], &signers[1]], clock(), "boot")?;
                Ok(tail)
            };
            place.disk.fail_after(skip, Fault::Crash);
            let _ = turn(&place);
            place.disk.heal();
            place.back();
            turn(&place).unwrap();
            place.keys.push(Arc::clone(&next));
            place.run().unwrap();
            assert_eq!(place.accused(), Vec::from_iter(forged), "{skip}");
        }
    }
}

#[test]
fn a_start_that_breaks_off_and_a_command_that_appends_accuse_nobody_and_hide_nothing() {
    let place = Place::ended(1);
    let size = place.verified().size;
    for _ in 0..2 {
        place.open().unwrap().close();
    }
    assert_eq!(place.verified().size, size, "nothing was to be said");
    let forged = place.thief(&deletes_secrets());
    // As `keys restore` does.
    let ledger = place.open().unwrap();
    Publisher::note_found(&ledger, &place.beside).unwrap();
    ledger
        .append(RecordKind::Session, body(), Vec::new())
        .unwrap()
        .wait()
        .unwrap();
    ledger.close();
    drop(ledger);
    let tail = place.run().unwrap();
    assert_eq!(tail.foreign, forged);
    assert_eq!(tail.unproved, forged.end..forged.end + 2);
    assert_eq!(place.accused(), [forged]);
}

#[test]
fn where_a_call_has_no_end_the_next_start_says_so_and_is_not_accused() {
    let place = Place::ended(1);
    let ledger = place.open().unwrap();
    let (publisher, _) = place.start(&ledger).unwrap();
    let (ticket, slot) = ledger.append_intent(body(), Vec::new()).unwrap();
    ticket.wait().unwrap();
    ledger.close();
    publisher.finish().unwrap();
    drop((slot, ledger));
    // It dies behind its first records.
    drop(place.open().unwrap());
    let tail = place.run().unwrap();
    assert!(tail.foreign.is_empty() && !tail.unproved.is_empty());
    assert_eq!(place.records(RecordKind::Outcome).len(), 1);
    assert_eq!(place.accused(), []);
}

/// Either folder may be an older one: nobody is accused by what it says of another end.
#[test]
fn what_an_older_folder_of_the_key_says_accuses_nobody() {
    let place = Place::ended(1);
    let older = place.beside.copy(7);
    place.run().unwrap();
    place.dies();
    let place = Place { beside: older, ..place };
    let tail = place.run().unwrap();
    assert!(tail.foreign.is_empty() && !tail.unproved.is_empty(), "{tail:?}");
    assert_eq!(place.accused(), []);
}

#[test]
fn a_file_that_says_nothing_of_an_end_stops_the_start_which_says_what_to_do_and_that_helps() {
    let place = Place::ended(1);
    let forged = place.thief(&deletes_secrets());
    place.beside.put(CLOSED, b"an end\n");
    let error = place.run().unwrap_err();
    let file = place.beside.display(CLOSED);
    assert_eq!(
        chain(&*error),
        format!(
            "`{file}` does not say where the last run ended: take it away; the start then records that nothing proves who wrote what was not \
             signed: {}",
            CheckpointError::Lines
        )
    );
    assert_eq!(place.records(RecordKind::Damage).len(), 0, "nothing is said on the way");
    place.beside.remove(CLOSED).unwrap();
    let tail = place.run().unwrap();
    assert!(tail.foreign.is_empty());
    assert_eq!((tail.unproved.start, tail.signed.size), (forged.start, forged.start));
    assert!(tail.unproved.end >= forged.end);
    assert_eq!(place.verified().unsigned.unproved, [tail.unproved]);
}

#[test]
fn where_it_cannot_be_recorded_what_nobody_had_signed_that_is_said_and_nothing_is_signed() {
    let place = Place::ended(1);
    place.dies();
    let signed = place.verified().proved;
    let ledger = place.open().unwrap();
    ledger.close();
    let error = place.start(&ledger).unwrap_err();
    let words = "what has to be recorded before anything is signed cannot be recorded: the ledger is closed";
    assert_eq!(chain(&error), words);
    assert_eq!(place.verified().proved, signed);
}

/// These files never change; what this release writes, and what any later one must still read.
#[test]
fn what_says_an_end_is_written_and_read_byte_for_byte_as_it_was_frozen() {
    let ended = include_bytes!("../../../tests/frozen/v1-closed/ended");
    let found = include_bytes!("../../../tests/frozen/v1-closed/found");
    let place = Place::ended(1);
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
    assert_eq!(text(place.beside.bytes(CLOSED)), text(Some(ended.to_vec())));
    let forged = place.thief(&deletes_secrets());
    let ledger = place.open().unwrap();
    // Also by whoever comes second.
    for _ in 0..2 {
        Publisher::note_found(&ledger, &place.beside).unwrap();
        assert_eq!(text(place.beside.bytes(CLOSED)), text(Some(found.to_vec())));
    }
    let [ended, found] = [&ended[..], found].map(|bytes| Closed::parse(bytes).unwrap());
    assert_eq!((ended.stated.size, ended.found), (forged.start, None));
    assert_eq!((found.stated, found.found), (ended.stated, Some(forged.end)));
}

#[test]
fn a_folder_that_cannot_be_listed_any_more_changes_nothing_of_where_a_record_stands() {
    let place = Place::ended(1);
    let forged = place.thief(&deletes_secrets());
    place.run().unwrap();
    let trust = Trust {
        keys: vec![place.keys[0].key().clone()],
        remembered: Vec::new(),
    };
    let mut told = 0;
    for lists in 0..9 {
        let (below, left): (Arc<dyn Disk>, _) = (Arc::new(place.disk.copy(1)), AtomicUsize::new(lists));
        let disk: Arc<dyn Disk> = Arc::new(Answered::new(move |look: Look<'_>| {
            let one = |left: usize| left.checked_sub(usize::from(look == Look::Folder));
            let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one);
            left.map_err(|_| std::io::Error::other("no more"))
                .map(|_| Arc::clone(&below))
        }));
        let Ok(report) = verify(&disk, &trust, 1, &|_| {}) else {
            continue;
        };
        assert_eq!(report.findings.len(), 1, "{lists}: {:?}", report.findings);
        let finding = &report.findings[0];
        let file = disk.display(&segment_name(forged.start));
        assert_eq!((&finding.records, &finding.file), (&forged, &file), "{lists}");
        told += 1;
    }
    assert!((1..9).contains(&told), "{told}");
}

proptest! {
    #[test]
    fn what_says_an_end_is_read_as_it_was_written(size in 0..=i64::MAX as u64, root: Hash, found in prop::option::of(0..=i64::MAX as u64), cut in 0_usize..200) {
        let stated = Checkpoint { origin: "a/b".to_owned(), size, root };
        let text = format!("{stated}{}", found.map(|found| format!("{found}\n")).unwrap_or_default());
        let closed = Closed { stated, found };
        prop_assert_eq!(closed.text(), text.clone());
        prop_assert_eq!(Closed::parse(text.as_bytes()), Ok(closed));
        // Of a file with a fourth line the first three are one, too; nothing else of it is.
        let cut = cut.min(text.len() - 1);
        let third = text.match_indices('\n').nth(2).unwrap().0 + 1;
        for cut in [cut, third.min(text.len() - 1)] {
            prop_assert_eq!(Closed::parse(&text.as_bytes()[..cut]).is_ok(), cut == third);
        }
    }
}
