//! Where an event of a watch ends, as far as that shows without reading the event.
//!
//! It changes nothing and keeps none of the bytes. A transport cuts an event wherever it likes; a watch that the gateway ends has
//! to end behind a whole one (G-10).
//!
//! | `Content-Type` | An event is | Source |
//! |---|---|---|
//! | `application/json` | a line: what JSON writes has no line feed in it | k8s.io/apimachinery `json.Serializer`, Go's `json.Encoder` |
//! | `application/vnd.kubernetes.protobuf` | four bytes of length, big endian, and so many bytes | k8s.io/apimachinery `framer.NewLengthDelimitedFrameWriter` |
//! | another, or compressed | nobody can say | |

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memchr;

/// How events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Nobody can say. A line feed is as good a place as any: logs have lines.
    Unknown,
    Lines,
    Lengths,
}

/// Follows the bytes of an answer, and knows whether an event has just ended.
#[derive(Clone, Debug)]
pub(super) struct Border {
    framing: Framing,
    /// Behind the last whole event something has begun.
    is_within: bool,
    /// Of a length: its bytes so far, and how many these are.
    length: u32,
    length_bytes: u8,
    /// Bytes of the event that are still to come.
    left: u32,
}

/// Of the bytes of a length (`uint32`).
const LENGTH_BYTES: u8 = 4;

impl Border {
    const fn new(framing: Framing) -> Self {
        Self {
            framing,
            is_within: false,
            length: 0,
            length_bytes: 0,
            left: 0,
        }
    }

    /// Of an answer that is no watch.
    pub(super) const fn unknown() -> Self {
        Self::new(Framing::Unknown)
    }

    /// Of a watch whose answer has these headers.
    pub(super) fn of_watch(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map_or(b"".as_slice(), |value| value.as_bytes());
        let kind = text(CONTENT_TYPE)
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let kind = kind.trim_ascii();
        Self::new(if !text(CONTENT_ENCODING).is_empty() {
            Framing::Unknown
        } else if kind.eq_ignore_ascii_case(b"application/json") {
            Framing::Lines
        } else if kind.eq_ignore_ascii_case(b"application/vnd.kubernetes.protobuf") {
            Framing::Lengths
        } else {
            Framing::Unknown
        })
    }

    /// Whether [`Border::is_here`] tells the ends of events.
    pub(super) fn is_known(&self) -> bool {
        self.framing != Framing::Unknown
    }

    /// Whether nothing has begun that has not ended.
    pub(super) const fn is_here(&self) -> bool {
        !self.is_within
    }

    /// All of `bytes` pass.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        match (self.framing, bytes.last()) {
            (_, None) => {}
            (Framing::Lines | Framing::Unknown, Some(last)) => self.is_within = *last != b'\n',
            (Framing::Lengths, Some(_)) => {
                while !bytes.is_empty() {
                    let passed = self.pass_to_next(bytes);
                    bytes = bytes.get(passed..).unwrap_or_default();
                }
            }
        }
    }

    /// Of `bytes` so many pass as reach the end of an event; all where none ends in them.
    pub(super) fn pass_to_next(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        match self.framing {
            Framing::Lines | Framing::Unknown => {
                let end = memchr(b'\n', bytes);
                self.is_within = end.is_none();
                end.map_or(bytes.len(), |end| end.saturating_add(1))
            }
            Framing::Lengths => self.pass_length_and_event(bytes),
        }
    }

    fn pass_length_and_event(&mut self, bytes: &[u8]) -> usize {
        self.is_within = true;
        let mut passed = 0_usize;
        while self.left == 0 {
            let Some(byte) = bytes.get(passed) else { return passed };
            passed = passed.saturating_add(1);
            self.length = self.length << 8 | u32::from(*byte);
            self.length_bytes = self.length_bytes.saturating_add(1);
            if self.length_bytes < LENGTH_BYTES {
                continue;
            }
            self.left = std::mem::take(&mut self.length);
            self.length_bytes = 0;
            if self.left == 0 {
                self.is_within = false;
                return passed;
            }
        }
        let here = bytes.len().saturating_sub(passed);
        let of_event = u32::try_from(here).unwrap_or(u32::MAX).min(self.left);
        self.left = self.left.saturating_sub(of_event);
        self.is_within = self.left > 0;
        passed.saturating_add(usize::try_from(of_event).unwrap_or(here))
    }
}

/// However the same bytes are cut, events end at the same places, and those are the places where a reader of the whole finds
/// them. The first byte says which framing, the second where it is cut.
pub(super) fn fuzz(data: &[u8]) {
    let Some(([framing, cut], bytes)) = data.split_first_chunk() else {
        return;
    };
    let framing = match framing % 3 {
        0 => Framing::Unknown,
        1 => Framing::Lines,
        _ => Framing::Lengths,
    };
    let ends = ends(framing, bytes);
    let mut found = Vec::new();
    for pieces in [usize::from(*cut).max(1), bytes.len().max(1)] {
        let (mut next, mut whole) = (Border::new(framing), Border::new(framing));
        let mut at = 0_usize;
        found.clear();
        for piece in bytes.chunks(pieces) {
            whole.pass(piece);
            let mut rest = piece;
            while !rest.is_empty() {
                let passed = next.pass_to_next(rest);
                assert!((1..=rest.len()).contains(&passed), "{passed} of {}", rest.len());
                at = at.saturating_add(passed);
                rest = rest.get(passed..).unwrap_or_default();
                if next.is_here() {
                    found.push(at);
                }
            }
            assert_eq!(whole.is_here(), next.is_here(), "behind {at}");
        }
        assert_eq!(found, ends);
    }
}

/// By reading the whole.
fn ends(framing: Framing, bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    if framing != Framing::Lengths {
        let feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        ends.extend(feeds.map(|(at, _)| at.saturating_add(1)));
        return ends;
    }
    let (mut at, mut rest) = (0_usize, bytes);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((_, next)) = behind.split_at_checked(length) else {
            break;
        };
        at = at.saturating_add(4).saturating_add(length);
        rest = next;
        ends.push(at);
    }
    ends
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(kind: &'static str, encoding: Option<&'static str>) -> Framing {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding))));
        Border::of_watch(&headers).framing
    }

    #[test]
    fn the_framing_is_what_the_content_type_says_unless_it_is_compressed() {
        for (kind, framing) in [
            ("application/json", Framing::Lines),
            ("application/json;stream=watch", Framing::Lines),
            ("Application/JSON ; charset=utf-8", Framing::Lines),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Framing::Lines,
            ),
            ("application/vnd.kubernetes.protobuf;stream=watch", Framing::Lengths),
            ("application/cbor-seq", Framing::Unknown),
            ("text/plain", Framing::Unknown),
            ("", Framing::Unknown),
        ] {
            assert_eq!(of(kind, None), framing, "{kind}");
            assert_eq!(of(kind, Some("gzip")), Framing::Unknown, "{kind}");
        }
    }

    #[test]
    fn an_event_ends_behind_its_length_and_not_at_a_line_feed_in_it() {
        let mut border = Border::new(Framing::Lengths);
        assert!(border.is_here(), "nothing has begun");
        for (piece, passed, is_here) in [
            (b"\0\0".as_slice(), 2, false),
            (b"\0\x03a\n", 4, false),
            (b"b\0\0\0\x01xtra", 1, true),
            (b"\0\0\0\0", 4, true),
            (b"\0\0\0\x02\n", 5, false),
            (b"\n", 1, true),
        ] {
            assert_eq!(border.pass_to_next(piece), passed, "{piece:?}");
            assert_eq!(border.is_here(), is_here, "{piece:?}");
        }
    }

    proptest! {
        #[test]
        fn events_end_where_they_end_however_they_are_cut(
            framing in 0_u8..3,
            cut in any::<u8>(),
            events in prop::collection::vec(prop::collection::vec(prop::sample::select(b"\n\0\x01x".to_vec()), 0..40), 0..20),
            lost in 0_usize..8,
        ) {
            let mut bytes = vec![framing, cut];
            for event in events {
                if framing == 2 {
                    bytes.extend(u32::try_from(event.len()).unwrap().to_be_bytes());
                }
                bytes.extend(event);
                bytes.push(b'\n');
                if framing == 2 {
                    bytes.pop();
                }
            }
            bytes.truncate(bytes.len().saturating_sub(lost).max(2));
            fuzz(&bytes);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&bytes);
        }
    }
}
