//! Frames: what is written is read, and what is not is refused with the right reason.

use model::event::RecordKind;
use proptest::prelude::*;

use super::*;

fn framed(kind: RecordKind, seq: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, FrameKind::Leaf(kind), true, seq, |out| {
        leaf::write(out, kind, seq, body)
    });
    out
}

proptest! {
    #[test]
    fn every_frame_is_read_as_it_was_written(
        kind in prop::sample::select(RecordKind::ALL.to_vec()),
        seq in any::<u64>(),
        note in "[ -!#-\\[\\]-~]{0,300}",
        tail in prop::collection::vec(any::<u8>(), 0..50),
        starts_batch in any::<bool>(),
    ) {
        let body = format!("{{\"note\":\"{note}\"}}");
        let mut out = Vec::new();
        let range = write_frame(&mut out, FrameKind::Leaf(kind), starts_batch, seq, |out| {
            leaf::write(out, kind, seq, body.as_bytes());
        });
        let len = out.len();
        let leaf = out[range].to_vec();
        out.extend_from_slice(&tail);
        let frame = read_frame(&out).unwrap();
        prop_assert_eq!((frame.kind, frame.seq, frame.starts_batch), (FrameKind::Leaf(kind), seq, starts_batch));
        prop_assert_eq!(frame.body, leaf.as_slice());
        prop_assert_eq!(frame.encoded_len(), len);
        prop_assert_eq!(frame.check_leaf(), Ok(()));
        let json: serde_json::Value = serde_json::from_slice(frame.body).unwrap();
        prop_assert_eq!(&json["kind"], kind.name());
        prop_assert_eq!(json["seq"].as_u64(), Some(seq));
    }

    #[test]
    fn parts_are_read_as_they_were_written(bytes in prop::collection::vec(any::<u8>(), 1..2000), seq in any::<u64>()) {
        let mut out = Vec::new();
        write_frame(&mut out, FrameKind::Part, false, seq, |out| out.extend_from_slice(&bytes));
        let frame = read_frame(&out).unwrap();
        prop_assert_eq!((frame.kind, frame.seq, frame.body), (FrameKind::Part, seq, bytes.as_slice()));
    }

    #[test]
    fn foreign_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzz_frame_reader(&data);
    }

    #[test]
    fn frames_with_foreign_bytes_inside_never_panic(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut data = framed(RecordKind::Intent, 0, b"{\"id\":\"a\"}");
        data.extend(framed(RecordKind::Outcome, 1, b"{\"pair\":0}"));
        let at = at.index(data.len());
        data.splice(at..at, bytes);
        crate::fuzz_frame_reader(&data);
    }
}

#[test]
fn every_single_bit_flip_in_a_frame_is_noticed() {
    let whole = framed(RecordKind::Access, 7, b"{\"id\":\"a\"}");
    for bit in 0..whole.len() * 8 {
        let mut data = whole.clone();
        data[bit / 8] ^= 1 << (bit % 8);
        assert!(read_frame(&data).is_err(), "bit {bit} went unnoticed");
    }
}

#[test]
fn each_fault_of_a_frame_has_its_own_reason() {
    let whole = framed(RecordKind::Access, 7, b"{}");
    let with = |at: usize, byte: u8| {
        let mut data = whole.clone();
        data[at] = byte;
        read_frame(&data).unwrap_err()
    };
    assert_eq!(read_frame(&[]), Err(FrameError::Empty));
    assert_eq!(read_frame(&[0; 64]), Err(FrameError::Empty));
    assert_eq!(
        read_frame(&whole[..10]),
        Err(FrameError::Short {
            need: FRAME_HEADER_LEN,
            have: 10
        })
    );
    assert_eq!(
        read_frame(&whole[..30]),
        Err(FrameError::Short {
            need: whole.len(),
            have: 30
        })
    );
    assert_eq!(with(2, 2), FrameError::Length(0x2_0000 + u32::from(whole[0])));
    assert_eq!(with(8, 99), FrameError::Kind(99));
    assert_eq!(with(9, 4), FrameError::Flags(4));
    assert_eq!(with(10, 2), FrameError::Version(2));
    assert_eq!(with(12, 8), FrameError::Checksum);
}

#[test]
fn a_leaf_that_names_another_kind_version_or_sequence_is_refused() {
    let bodies: [&[u8]; 5] = [
        b"{\"v\":1,\"kind\":\"access\",\"seq\":8}",
        b"{\"v\":1,\"kind\":\"intent\",\"seq\":7}",
        b"{\"v\":2,\"kind\":\"access\",\"seq\":7}",
        b"{\"v\":1,\"kind\":\"access\",\"seq\":70}",
        b"{\"kind\":\"access\",\"v\":1,\"seq\":7}",
    ];
    for body in bodies {
        let kind = FrameKind::Leaf(RecordKind::Access);
        let mut out = Vec::new();
        write_frame(&mut out, kind, true, 7, |out| out.extend_from_slice(body));
        assert_eq!(read_frame(&out).unwrap().check_leaf(), Err(LeafMismatch));
    }
}
