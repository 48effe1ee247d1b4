//! Forgeries one by one, and what the standing check says of them.

use super::*;

#[test]
fn the_standing_check_finds_what_is_forged_in_sealed_segments_and_nothing_else() {
    // A segment that is not sealed is its writer's; and nothing is said where no signature by the own key is left.
    let outside = [Tampering::CutTail, Tampering::ReplaySegment, Tampering::Resign];
    for seed in 0..6 {
        let specimen = Specimen::new(seed);
        assert_eq!(specimen.standing(&specimen.disk), []);
        for kind in Tampering::ALL.into_iter().filter(|kind| !outside.contains(kind)) {
            let forged = specimen.disk.copy(seed);
            Hand::new(&forged)
                .forge(kind, &specimen, &mut Rng::new(seed * 31))
                .unwrap();
            let forged = if kind == Tampering::StaleCopy {
                specimen.older.copy(1)
            } else {
                forged
            };
            assert_ne!(specimen.standing(&forged), [], "{kind:?}, seed {seed}");
        }
    }
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
            let judged = specimen.judge(Tampering::DropRenumbered, target, &report, "");
            assert_eq!(judged, Outcome::Located);
            tried += 1;
        }
    }
    assert!(
        tried > 0,
        "no specimen has a segment that ends behind its last signed size but one"
    );
}
