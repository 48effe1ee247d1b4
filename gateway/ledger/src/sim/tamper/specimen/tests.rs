//! Forgeries one by one.

use super::*;

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
