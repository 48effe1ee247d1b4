//! Forgeries one by one, and what the standing check says of them.

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::disk::DiskFile;
use crate::sim::Rng;
use crate::verify::{Fault, Resume, verify_resumed};

type Identity<'i> = &'i (dyn Fn(&str, &dyn DiskFile) -> Option<String> + Sync);

impl Specimen {
    /// Checks a folder going on from `left`; also gives what is left then, a line for each segment.
    fn resumed(&self, disk: &SimDisk, left: &str, identity: Identity<'_>) -> (Report, Vec<String>) {
        let trust = self.trust(&[]);
        let (disk, kept): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Mutex::new(Vec::new()));
        let keep = |line: &str| kept.lock().unwrap().push(line.to_owned());
        let resume = Resume::new(left, identity, &keep);
        let report = verify_resumed(&disk, &trust, 1, &|_| {}, &resume).unwrap();
        (report, kept.into_inner().unwrap())
    }

    /// The folder after somebody's work, where that could be done.
    fn forged(&self, kind: Tampering, round: u64) -> Option<SimDisk> {
        let forged = self.disk.copy(round);
        Hand::new(&forged).forge(kind, self, &mut Rng::new(round))?;
        Some(if kind == Tampering::StaleCopy {
            self.older.copy(1)
        } else {
            forged
        })
    }
}

/// Tells a file by all that stands in it, as a time of change does.
fn by_content(disk: &SimDisk) -> impl Fn(&str, &dyn DiskFile) -> Option<String> + Sync {
    let disk = disk.clone();
    move |name, _| Some(Part::digest(&disk.bytes(name)?))
}

/// As if all had been read now.
fn read_now(mut report: Report) -> Report {
    let recalled = std::mem::take(&mut report.recalled);
    report.segments += recalled.segments;
    report.records += recalled.records;
    report.parts += recalled.parts;
    report.bytes += recalled.bytes;
    report
}

/// Segments that an interrupted check has read, drawn by the bits of a number.
fn drawn(lines: &[String], bits: u64) -> String {
    let lines = lines.iter().enumerate();
    let drawn = lines.filter(|(at, _)| bits >> (at % 64) & 1 == 1);
    drawn.map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn promise_5_a_check_that_is_gone_on_with_says_what_a_whole_one_says_whatever_is_forged_in_between() {
    let specimens: Vec<_> = (0..4).map(Specimen::new).collect();
    let left: Vec<_> = specimens
        .iter()
        .map(|specimen| specimen.resumed(&specimen.disk, "", &by_content(&specimen.disk)).1)
        .collect();
    assert!(left.iter().all(|lines| lines.len() > 1), "{left:?}");
    let cases = (
        0..specimens.len(),
        prop::sample::select(Tampering::ALL.to_vec()),
        any::<u64>(),
        any::<u64>(),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let done = runner.run(&cases, |(at, kind, round, bits)| {
        let (specimen, left) = (&specimens[at], drawn(&left[at], bits));
        let Some(forged) = specimen.forged(kind, round) else {
            return Ok(());
        };
        let whole = specimen.check(&forged, &[]);
        let (resumed, _) = specimen.resumed(&forged, &left, &by_content(&forged));
        prop_assert_eq!(resumed.is_proved(), whole.is_proved());
        prop_assert_eq!(read_now(resumed), whole, "{:?}", kind);
        Ok(())
    });
    done.unwrap();
}

/// Somebody who leaves no trace on the files: whatever a whole check finds and this one does not is about records that it names as not read again.
#[test]
fn promise_5_what_was_forged_without_a_trace_and_is_not_found_is_named_as_not_read_again() {
    let by_name = |name: &str, _: &dyn DiskFile| Some(name.to_owned());
    let specimens: Vec<_> = (0..4).map(Specimen::new).collect();
    let left: Vec<_> = specimens
        .iter()
        .map(|specimen| specimen.resumed(&specimen.disk, "", &by_name).1)
        .collect();
    let cases = (
        0..specimens.len(),
        prop::sample::select(Tampering::ALL.to_vec()),
        any::<u64>(),
        any::<u64>(),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let done = runner.run(&cases, |(at, kind, round, bits)| {
        let (specimen, left) = (&specimens[at], drawn(&left[at], bits));
        let Some(forged) = specimen.forged(kind, round) else {
            return Ok(());
        };
        let whole = specimen.check(&forged, &[]);
        let (resumed, _) = specimen.resumed(&forged, &left, &by_name);
        let spans = &resumed.recalled.spans;
        for found in whole.findings.iter().filter(|found| !resumed.findings.contains(found)) {
            let named = |seq: u64| spans.iter().any(|span| span.contains(&seq));
            let is_named = found.records.is_empty() || named(found.records.start) || !resumed.findings.is_empty();
            prop_assert!(is_named, "{:?}: {} is not found, of {:?}", kind, found, spans);
        }
        // It says no more than a whole check but of what leads to signatures.
        prop_assert!(
            whole.findings.is_empty() <= resumed.findings.is_empty(),
            "{:?}: {:?}",
            kind,
            resumed.findings
        );
        Ok(())
    });
    done.unwrap();
}

#[test]
fn the_standing_check_finds_what_is_forged_under_a_running_gateway_and_nothing_else() {
    for seed in 0..6 {
        let specimen = Specimen::new(seed);
        assert_eq!(specimen.standing(&specimen.disk), []);
        for kind in Tampering::ALL
            .into_iter()
            .filter(|kind| is_for_the_standing_check(*kind))
        {
            let forged = specimen.disk.copy(seed);
            specimen.forge(&forged, kind, &mut Rng::new(seed * 31)).unwrap();
            let forged = if kind == Tampering::StaleCopy {
                specimen.older.copy(1)
            } else {
                forged
            };
            assert_ne!(specimen.standing(&forged), [], "{kind:?}, seed {seed}");
        }
    }
}

/// What a server gives is not its matter, nor who else signed, nor bytes that no reader comes to; and it goes on after a change of the key as it is told at
/// the start.
fn is_for_the_standing_check(kind: Tampering) -> bool {
    let others = [
        Tampering::KeyChange,
        Tampering::Cosignature,
        Tampering::BehindFooter,
        Tampering::FooterNumber,
    ];
    !kind.is_served() && !others.contains(&kind)
}

/// Every record of a span computed anew with all that follows from it, headers and footers too, and every checkpoint taken away: the
/// files agree, and the tree in memory does not.
#[test]
fn promise_5_the_standing_check_finds_a_consistent_rewrite_without_any_checkpoint_in_its_next_round() {
    let is_checkpoint =
        |name: &str| name.ends_with(KEPT) || [crate::NEWEST_CHECKPOINT, crate::WITNESSED].contains(&name);
    for seed in 0..3 {
        let specimen = Specimen::new(seed);
        let forge = |disk: &SimDisk, place| {
            let target = Hand::new(disk).forge(Tampering::RewriteAll, &specimen, &mut Rng::new(place));
            for name in disk.list().unwrap().into_iter().filter(|name| is_checkpoint(name)) {
                disk.remove(&name).unwrap();
            }
            target.unwrap().first()
        };
        // A record whose parts it commits to would be found by them.
        let agrees = |place: &u64| {
            let disk = specimen.disk.copy(seed);
            forge(&disk, *place);
            let by_files = specimen.check(&disk, &[]);
            (by_files.findings, by_files.proved) == (vec![], 0)
        };
        let place = (0..100).find(agrees).unwrap();
        let forged = specimen.disk.copy(seed);
        // It has gone round while the ledger grew.
        let mut older = specimen.check_of(&forged);
        let mut trees = Vec::new();
        for name in specimen
            .disk
            .list()
            .unwrap()
            .into_iter()
            .filter(|name| name.ends_with(KEPT))
        {
            let text = String::from_utf8(specimen.disk.bytes(&name).unwrap()).unwrap();
            trees.extend(heads_in(&text));
        }
        for tree in &trees {
            assert_eq!(round_of(&mut older, *tree), [], "seed {seed}");
        }
        let target = forge(&forged, place);
        let found = specimen.standing(&forged);
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert!(matches!(only.fault, Fault::Root { .. }), "{only}");
        assert_eq!(only.records, 0..specimen.head().size, "nothing older is remembered");
        // Whoever remembers trees says where.
        let found = round_of(&mut older, specimen.head());
        let below = trees
            .iter()
            .map(|tree| tree.size)
            .filter(|size| *size <= target)
            .max()
            .unwrap_or(0);
        let above = trees
            .iter()
            .map(|tree| tree.size)
            .filter(|size| *size > target)
            .min()
            .unwrap();
        assert_eq!(found[0].records, below..above, "seed {seed}: {found:?}");
    }
}

/// The trees of checkpoints that stand one behind the other.
fn heads_in(text: &str) -> Vec<crate::tree::Head> {
    let parts: Vec<&str> = text.split("\n\n").collect();
    let bodies = parts.iter().take(parts.len() - 1).map(|part| {
        // Behind the first one, the signatures of the one before stand in front.
        part.lines()
            .filter(|line| !line.starts_with('\u{2014}'))
            .fold(String::new(), |text, line| text + line + "\n")
    });
    let heads = bodies.map(|body| {
        let Checkpoint { size, root, .. } = Checkpoint::parse(&body).unwrap();
        crate::tree::Head { size, root }
    });
    heads.collect()
}

/// Seen once in 2,381 rounds: the record stood behind the last size that was signed before the end, in a segment that had a
/// successor. Header, footer and numbers behind it agree again, and only the signed end is not reached.
#[test]
fn a_record_cut_out_where_no_later_size_is_reached_is_located_between_two_signed_sizes() {
    let mut tried = 0;
    for seed in 0..24 {
        let specimen = Specimen::new(seed);
        let &[.., below, above] = specimen.sizes.as_slice() else {
            panic!("a specimen has many signed sizes");
        };
        let last = Hand::new(&specimen.disk).last_first().unwrap();
        for target in below..last {
            let forged = specimen.disk.copy(seed);
            let hand = Hand::new(&forged);
            hand.drop_renumbered(usize::try_from(target).unwrap()).unwrap();
            let report = specimen.check(&forged, &[]);
            let [finding] = report.findings.as_slice() else {
                panic!("one finding, not {:?}", report.findings);
            };
            let cut = Fault::Cut {
                signed: above,
                have: above - 1,
                held: below,
            };
            assert_eq!((&finding.fault, finding.records.clone()), (&cut, below..above));
            let judged = Place::records(target..above)
                .or_span(&specimen.sizes)
                .judge(&report, "");
            assert_eq!(judged, Outcome::Located);
            tried += 1;
        }
    }
    assert!(
        tried > 0,
        "no specimen has a segment that ends behind its last signed size but one"
    );
}

#[test]
fn nothing_is_found_in_what_was_left_as_it_was_or_changed_where_nothing_is_signed() {
    for seed in 0..4 {
        let specimen = Specimen::new(seed);
        assert_eq!(specimen.false_alarms(), 0, "seed {seed}");
        for what in Harmless::ALL {
            for place in 0..6 {
                let alarms = specimen.harmless(what, &mut Rng::new(seed * 100 + place));
                assert_eq!(alarms, 0, "{what:?}, seed {seed}, {place}");
            }
        }
    }
}
