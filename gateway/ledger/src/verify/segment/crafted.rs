//! Segments that are made so that looking at them takes for ever. What is counted is steps, not time.

use model::event::RecordKind;

use super::walk::Walk;
use crate::frame::{FrameKind, write_frame};
use crate::leaf;
use crate::options::to_u64;
use crate::segment::Header;
use crate::verify::{FINDINGS_MAX, Fault};

fn frame(out: &mut Vec<u8>, seq: u64, starts_batch: bool) {
    let kind = RecordKind::Access;
    write_frame(out, FrameKind::Leaf(kind), starts_batch, seq, |out| {
        leaf::write(out, kind, seq, b"{}")
    });
}

#[test]
fn promise_5_a_segment_of_nothing_but_damage_is_gone_through_once_and_what_is_too_much_is_counted() {
    let count = to_u64(FINDINGS_MAX) + 500;
    let mut bytes = Header::default().encode();
    for seq in 0..count {
        // Damage, and a record that begins no batch; only behind all of them stands one that does.
        bytes.extend([0xff; 24]);
        frame(&mut bytes, seq * 2 + 1, false);
    }
    bytes.extend([0xff; 24]);
    frame(&mut bytes, count * 2 + 1, true);
    // A young segment is longer than what is written in it.
    let len = bytes.len();
    bytes.resize(len * 2, 0);
    let mut walk = Walk::new(String::new(), &bytes, 0);
    walk.is_last = true;
    walk.run();
    let findings = &walk.examined.findings;
    assert_eq!(findings.len(), FINDINGS_MAX + 1);
    let last = findings.last().unwrap();
    assert_eq!(
        last.fault,
        Fault::More {
            count: count + 1 - to_u64(FINDINGS_MAX)
        }
    );
    assert_eq!(
        last.records,
        to_u64(FINDINGS_MAX) * 2..count * 2 + 1,
        "the stretch in which they are"
    );
    let steps = walk.evidence.steps;
    assert!(steps <= to_u64(len), "{steps} places were looked at of {len}");
    assert_eq!(walk.examined.records, count + 1);
}

#[test]
fn promise_5_bytes_in_which_a_long_frame_seems_to_begin_everywhere_are_not_hashed_again_and_again() {
    let mut bytes = Header::default().encode();
    frame(&mut bytes, 0, true);
    // Length 65,664, kind 128, version 1, and the same eight bytes later.
    bytes.extend([128, 1, 1, 0, 7, 7, 7, 7].repeat(64 << 10));
    let mut walk = Walk::new(String::new(), &bytes, 0);
    walk.is_last = true;
    walk.run();
    let [finding] = walk.examined.findings.as_slice() else {
        panic!("{:?}", walk.examined.findings)
    };
    assert!(
        matches!(finding.fault, Fault::Damaged(_)),
        "no crash leaves that: {finding}"
    );
    assert_eq!(walk.examined.records, 1);
}
