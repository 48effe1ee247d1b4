//! Forgeries one by one, and what the standing check says of them.

use super::*;
use crate::verify::Fault;

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
