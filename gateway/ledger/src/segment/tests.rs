//! Headers and footers: round trips, and every bit counts.

use proptest::prelude::*;

use super::*;
use crate::tree::leaf_hash;

fn header(size: u64, open: u64, abandoned_at: Option<u64>) -> Header {
    let mut frontier = Frontier::default();
    for n in 0..size {
        frontier.push(leaf_hash(&n.to_le_bytes()));
    }
    let open = (0..open)
        .map(|n| {
            (
                n,
                OpenEntry {
                    is_stream: n % 2 == 1,
                    id: format!("request-{n}"),
                },
            )
        })
        .collect();
    Header {
        frontier,
        open,
        abandoned_at,
    }
}

proptest! {
    #[test]
    fn every_header_is_read_as_it_was_written(size in 0_u64..200, open in 0_u64..20, end in prop::option::of(any::<u64>())) {
        let header = header(size, open, end);
        let mut bytes = header.encode();
        let len = bytes.len();
        prop_assert!(len <= max_header_len(header.open.len()));
        bytes.extend_from_slice(&[7; 10]);
        prop_assert_eq!(Header::decode(&bytes), Some((header, len)));
    }

    #[test]
    fn every_footer_is_read_as_it_was_written(first_seq: u64, next_seq: u64, data_end: u64, root: [u8; 32]) {
        let footer = Footer { first_seq, next_seq, data_end, root };
        prop_assert_eq!(footer.encode().len(), FOOTER_LEN);
        prop_assert_eq!(Footer::decode(&footer.encode()), Some(footer));
    }
}

#[test]
fn every_single_bit_flip_in_header_and_footer_is_noticed() {
    let header = header(5, 2, Some(99)).encode();
    let footer = Footer {
        first_seq: 1,
        next_seq: 2,
        data_end: 3,
        root: [4; 32],
    }
    .encode();
    for bit in 0..header.len() * 8 {
        let mut data = header.clone();
        data[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::decode(&data), None, "bit {bit} of the header went unnoticed");
    }
    for bit in 0..footer.len() * 8 {
        let mut data = footer.clone();
        data[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Footer::decode(&data), None, "bit {bit} of the footer went unnoticed");
    }
}

#[test]
fn names_of_segments_lead_back_to_their_first_record() {
    assert_eq!(parse_segment_name(&segment_name(42)), Some(42));
    for foreign in [
        "42.seg",
        "00000000000000000042.hashes",
        "+0000000000000000042.seg",
        "99999999999999999999.seg",
    ] {
        assert_eq!(parse_segment_name(foreign), None);
    }
}

#[test]
fn a_long_id_is_cut_at_a_character() {
    assert_eq!(cut_id(&"ä".repeat(40)), "ä".repeat(32));
    assert_eq!(cut_id(&format!("x{}", "ä".repeat(40))).len(), 63);
}
