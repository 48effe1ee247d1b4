//! Segments of foreign bytes and numbers before the verifier's walk, for the fuzzer.

use model::event::RecordKind;

use super::Followed;
use super::walk::Walk;
use crate::frame::{FrameKind, write_frame};
use crate::leaf;
use crate::segment::{Footer, Header};
use crate::tree::{Frontier, leaf_hash};

/// Reads foreign bytes as a segment, as the verifier does. The first eight say what its file is called, the ninth what is known from elsewhere; the
/// rest is a segment as it stands, and behind a header that holds, and then in pieces of 18 bytes the numbers of frames that hold: what a fuzzer
/// does not guess are checksums. Never panics, whatever the numbers are, and never says of a record what cannot be one.
pub(crate) fn fuzz_walk(data: &[u8]) {
    let Some((named, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    let Some((&known, rest)) = rest.split_first() else {
        return;
    };
    let named = u64::from_le_bytes(*named);
    let peaks = vec![[0; 32]; usize::try_from(named.count_ones()).unwrap_or_default()];
    let frontier = Frontier::from_parts(named, peaks).unwrap_or_default();
    let begin = Header {
        frontier,
        ..Header::default()
    };
    let behind = [begin.encode(), rest.to_vec()].concat();
    for segment in [rest.to_vec(), behind, made_of(&begin, rest)] {
        walk(&segment, named, known);
    }
}

fn walk(segment: &[u8], named: u64, known: u8) {
    let mut walk = Walk::new(String::new(), segment, named);
    let further = |bit: u8, by: u64| if known & bit == 0 { 0 } else { named.saturating_add(by) };
    walk.is_last = known & 1 == 1;
    walk.follower = (known & 2 == 2).then_some(named.saturating_add(u64::from(known >> 4)));
    (walk.signed, walk.beside) = (further(4, 3), further(8, 5));
    walk.run();
    let (examined, leaves) = walk.end(None);
    let row = leaves.row(examined.first, examined.next);
    let _ = Followed::along(examined.start.clone().unwrap_or_default(), row, &[]);
    let (told, open) = leaves.altered(&[[7; 32]; 4], &examined, named.saturating_add(2));
    for finding in examined.findings.iter().chain(&told).chain(&open) {
        assert!(finding.records.start <= finding.records.end, "{finding}");
    }
}

/// A segment of frames that hold, with foreign numbers: what stands where, the number in the frame, the number in the leaf.
fn made_of(begin: &Header, pieces: &[u8]) -> Vec<u8> {
    let mut out = begin.encode();
    let mut frontier = begin.frontier.clone();
    for piece in pieces.as_chunks::<18>().0 {
        let (Some((&[what, kind], rest)), number) = (piece.split_first_chunk::<2>(), |bytes: &[u8]| {
            bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
        }) else {
            continue;
        };
        let (frame, own) = (number(rest), rest.get(8..).map_or(0, number));
        let kind = RecordKind::from_code(kind).unwrap_or(RecordKind::Access);
        match what % 4 {
            0 => drop(write_frame(&mut out, FrameKind::Part, what & 4 == 4, frame, |out| {
                out.push(what)
            })),
            1 => out.extend_from_slice(
                &Footer {
                    first_seq: begin.first_seq(),
                    next_seq: frame,
                    data_end: own,
                    root: frontier.root(),
                }
                .encode(),
            ),
            _ => {
                let mut body = Vec::new();
                leaf::write(&mut body, kind, own, b"{\"id\":\"f\"}");
                frontier.push(leaf_hash(&body));
                write_frame(&mut out, FrameKind::Leaf(kind), what & 4 == 4, frame, |out| {
                    out.extend_from_slice(&body);
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_a_segment_that_is_said_to_be_none(data in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz_walk(&data);
        }

        #[test]
        fn promise_5_no_number_of_a_stranger_ends_the_check(
            named in prop_oneof![Just(0_u64), Just(5), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()], known: u8,
            pieces in prop::collection::vec((any::<u8>(), 0_u8..30, numbers(), numbers()), 0..12),
        ) {
            let mut data = named.to_le_bytes().to_vec();
            data.push(known);
            for (what, kind, frame, own) in pieces {
                let (frame, own) = (frame(named), own(named));
                data.extend([what, kind]);
                data.extend(frame.to_le_bytes());
                data.extend(own.to_le_bytes());
            }
            crate::fuzz_frame_reader(&data);
        }
    }

    /// Near what is expected, or as far away as a number can be.
    fn numbers() -> impl Strategy<Value = fn(u64) -> u64> {
        let near: [fn(u64) -> u64; 8] = [
            |named| named,
            |named| named.saturating_add(1),
            |named| named.saturating_add(2),
            |named| named.saturating_add(3),
            |named| named.saturating_sub(1),
            |_| 0,
            |_| u64::MAX,
            |_| u64::MAX - 1,
        ];
        prop::sample::select(near.to_vec())
    }
}
