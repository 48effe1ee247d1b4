//! Where a service's WebSocket stands on its way to the client: its frames are followed as far as their ends (RFC 6455 §5.2), so that a close
//! frame of ours stands between two of them and never inside one.
//!
//! What it is not: a reader of messages. What is compressed passes as it is, and nothing is judged that is the client's to judge. Invariants:
//! any way of cutting the same bytes says the same; memory is a few bytes whatever a service sends; behind the service's own close frame, and
//! where the ends of frames are in doubt, nothing is said.

/// The frames of a server, followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFrames {
    stands: Stands,
    /// The server has sent a close frame: it may send nothing more (§5.5.1).
    has_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Between,
    /// Behind the first byte of a frame, which is this one.
    Begun(u8),
    /// In a length of several bytes.
    Length {
        opcode: u8,
        /// Bytes of it that are still to come.
        missing: u8,
        so_far: u64,
        /// Less than this would have been written in fewer bytes.
        least: u64,
    },
    Payload {
        opcode: u8,
        left: u64,
    },
    /// The client has to give this connection up, or may read on elsewhere than we do: nobody knows where a frame ends.
    InDoubt,
}

/// Why the gateway ends a WebSocket (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// The gateway itself stops: who comes again is served.
    GoingAway,
    /// The call may go on no longer.
    Policy,
}

impl CloseCode {
    const fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Policy => 1008,
        }
    }
}

impl ServerFrames {
    /// Before the first frame.
    pub(crate) const fn new() -> Self {
        Self {
            stands: Stands::Between,
            has_closed: false,
        }
    }

    /// Takes all of these bytes, which come next.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.frame(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Takes what of these bytes is still of the frame that is open, and says how much that is; the rest is never followed.
    pub(super) fn finish_frame(&mut self, bytes: &[u8]) -> usize {
        match self.stands {
            Stands::Between => 0,
            _ => self.frame(bytes),
        }
    }

    /// Whether words of ours may still find a place.
    pub(super) fn can_speak(&self) -> bool {
        !self.has_closed && self.stands != Stands::InDoubt
    }

    /// The close frame that says why we end it; none within a frame, and where nothing may be said any more.
    pub(super) fn farewell(&self, code: CloseCode, why: &str) -> Option<Vec<u8>> {
        let may = self.stands == Stands::Between && self.can_speak();
        may.then(|| close_frame(code, why))
    }

    /// Takes bytes as far as the frame that is open, or begins with them, ends.
    fn frame(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.stands {
                Stands::InDoubt => return bytes.len(),
                Stands::Payload { opcode, left } => {
                    let step = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    taken = taken.saturating_add(step);
                    self.payload(opcode, left.saturating_sub(u64::try_from(step).unwrap_or(left)));
                }
                Stands::Between | Stands::Begun(_) | Stands::Length { .. } => {
                    self.header(rest.first().copied().unwrap_or_default());
                    taken = taken.saturating_add(1);
                }
            }
            if self.stands == Stands::Between {
                break;
            }
        }
        taken
    }

    fn header(&mut self, byte: u8) {
        match self.stands {
            Stands::Between => self.stands = Stands::Begun(byte),
            Stands::Begun(first) => self.length_begins(first, byte),
            Stands::Length {
                opcode,
                missing,
                so_far,
                least,
            } => {
                let so_far = (so_far << 8) | u64::from(byte);
                match missing.saturating_sub(1) {
                    // Longer than need be, or of 2^63 bytes or more: readers differ on both (§5.2).
                    0 if so_far < least || so_far >> 63 != 0 => self.stands = Stands::InDoubt,
                    0 => self.payload(opcode, so_far),
                    missing => {
                        self.stands = Stands::Length {
                            opcode,
                            missing,
                            so_far,
                            least,
                        };
                    }
                }
            }
            Stands::Payload { .. } | Stands::InDoubt => {}
        }
    }

    fn length_begins(&mut self, first: u8, second: u8) {
        let opcode = first & OPCODE;
        let length = second & LENGTH;
        // A server masks nothing (§5.1); a control frame is whole and short (§5.5).
        let is_control = opcode >= CLOSE;
        if second & MASKED != 0 || (is_control && (first & LAST == 0 || length > LONGEST_CONTROL)) {
            self.stands = Stands::InDoubt;
            return;
        }
        let long = |missing, least| Stands::Length {
            opcode,
            missing,
            so_far: 0,
            least,
        };
        match length {
            LENGTH_16 => self.stands = long(2, 126),
            LENGTH_64 => self.stands = long(8, 1 << 16),
            short => self.payload(opcode, u64::from(short)),
        }
    }

    fn payload(&mut self, opcode: u8, left: u64) {
        if left > 0 {
            self.stands = Stands::Payload { opcode, left };
            return;
        }
        self.has_closed |= opcode == CLOSE;
        self.stands = Stands::Between;
    }
}

/// A whole close frame of a server: unmasked, with a reason of at most 123 bytes, which is cut where it is longer (§5.5, §5.5.1).
fn close_frame(code: CloseCode, why: &str) -> Vec<u8> {
    let mut reason = why.to_owned();
    if reason.len() > LONGEST_REASON {
        reason.truncate(why.floor_char_boundary(LONGEST_REASON - CUT.len()));
        reason.push_str(CUT);
    }
    // At most 125.
    let length = u8::try_from(2 + reason.len()).unwrap_or(2);
    [
        &[LAST | CLOSE, length],
        &code.number().to_be_bytes()[..],
        reason.as_bytes(),
    ]
    .concat()
}

const LAST: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 8;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const LONGEST_CONTROL: u8 = 125;
const LONGEST_REASON: usize = 123;
const CUT: &str = "…";

/// Follows any bytes of a service, cut anywhere: the same place each time, and where words may be said they are one whole close frame.
///
/// # Panics
/// One of these does not hold.
pub fn fuzz_service_frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let (mut whole, mut pieces, mut by_frame) = (ServerFrames::new(), ServerFrames::new(), ServerFrames::new());
    whole.follow(bytes);
    for piece in bytes.chunks(usize::from(*cut).max(1)) {
        pieces.follow(piece);
    }
    assert_eq!(whole, pieces, "how it is cut says something");
    let mut left = bytes;
    while !left.is_empty() {
        let taken = by_frame.frame(left);
        assert!(taken > 0 && taken <= left.len(), "it stands still");
        left = left.get(taken..).unwrap_or_default();
        assert!(
            left.is_empty() || by_frame.stands == Stands::Between,
            "a frame ends within the bytes and is not over"
        );
    }
    assert_eq!(whole, by_frame);
    let reason = String::from_utf8_lossy(bytes);
    if let Some(said) = whole.farewell(CloseCode::Policy, &reason) {
        assert!(said.len() <= 127 && whole.can_speak());
        let mut after = whole.clone();
        after.follow(&said);
        assert!(
            after.has_closed && after.stands == Stands::Between,
            "no whole close frame"
        );
        assert!(after.farewell(CloseCode::Policy, "").is_none(), "it is said twice");
        let reason = said.get(4..).unwrap_or_default();
        assert!(std::str::from_utf8(reason).is_ok(), "no text");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let mut header = vec![first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => header.push(short),
            (_, Ok(middle)) => header.extend([&[126], &middle.to_be_bytes()[..]].concat()),
            _ => header.extend([&[127], &u64::try_from(length).unwrap().to_be_bytes()[..]].concat()),
        }
        [header, payload.to_vec()].concat()
    }

    fn at(bytes: &[u8]) -> ServerFrames {
        let mut frames = ServerFrames::new();
        frames.follow(bytes);
        frames
    }

    #[test]
    fn a_close_frame_says_code_and_reason_and_a_long_one_is_cut_between_letters() {
        let frames = ServerFrames::new();
        assert_eq!(
            frames.farewell(CloseCode::Policy, "signed out").unwrap(),
            b"\x88\x0c\x03\xf0signed out"
        );
        assert_eq!(frames.farewell(CloseCode::GoingAway, "").unwrap(), b"\x88\x02\x03\xe9");
        for (long, length) in [("ä".repeat(100), 125), ("x".repeat(124), 125), ("x".repeat(123), 125)] {
            let said = frames.farewell(CloseCode::Policy, &long).unwrap();
            assert_eq!(usize::from(said[1]), said.len() - 2);
            assert!(said.len() - 2 <= length, "{}", said.len());
            let reason = std::str::from_utf8(&said[4..]).unwrap();
            assert_eq!(reason.ends_with('…'), long.len() > 123, "{reason}");
        }
    }

    #[test]
    fn nothing_is_said_within_a_frame_behind_a_close_and_where_frames_are_in_doubt() {
        let close = frame(0x88, b"\x03\xe8");
        for (bytes, may, can) in [
            (&b""[..], true, true),
            (b"\x81", false, true),
            (b"\x82\x7e\x00", false, true),
            (b"\x81\x02h", false, true),
            (b"\x81\x02hi", true, true),
            // Between two frames of one message a control frame may stand (§5.4).
            (b"\x01\x02hi", true, true),
            // Compressed (RFC 7692): frames are frames.
            (b"\xc1\x02hi", true, true),
            (b"\x89\x00", true, true),
            (&close, false, false),
            (&close[..3], false, true),
            // Masked by a server; a control frame in pieces, or a long one; lengths that readers take apart.
            (b"\x81\x82\0\0\0\0hi", false, false),
            (b"\x09\x00", false, false),
            (b"\x89\x7e\x00\x7e", false, false),
            (b"\x82\x7e\x00\x02hi", false, false),
            (b"\x82\x7f\x80\0\0\0\0\0\0\0", false, false),
            (b"\x82\x7f\0\0\0\0\0\0\xff\xff", false, false),
        ] {
            let frames = at(bytes);
            let said = frames.farewell(CloseCode::Policy, "why");
            assert_eq!((said.is_some(), frames.can_speak()), (may, can), "{bytes:x?}");
        }
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0_usize..130, 65_530_usize..65_540];
        let data = (0_u8..3, any::<bool>(), any::<bool>(), length).prop_map(|(kind, last, reserved, length)| {
            let bits = if last { 0x80 } else { 0 } | if reserved { 0x40 } else { 0 };
            frame(bits | kind, &vec![b'x'; length])
        });
        let control = (9_u8..11, 0_usize..126).prop_map(|(kind, length)| frame(0x80 | kind, &vec![b'c'; length]));
        prop_oneof![3 => data, 1 => control]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// At each place of any frames: whether words may stand there, and how far the frame goes on.
        #[test]
        fn words_stand_between_frames_and_nowhere_else(
            frames in prop::collection::vec(any_frame(), 1..6),
            place in any::<prop::sample::Index>(),
        ) {
            let bytes = frames.concat();
            let place = place.index(bytes.len() + 1);
            let ends: Vec<usize> = frames
                .iter()
                .scan(0, |end, frame| { *end += frame.len(); Some(*end) })
                .collect();
            let mut followed = at(&bytes[..place]);
            let is_end = place == 0 || ends.contains(&place);
            prop_assert_eq!(followed.farewell(CloseCode::Policy, "x").is_some(), is_end);
            let left = if is_end { 0 } else { ends.iter().find(|end| **end > place).unwrap() - place };
            prop_assert_eq!(followed.finish_frame(&bytes[place..]), left);
            prop_assert!(followed.farewell(CloseCode::Policy, "x").is_some());
        }

        #[test]
        fn whatever_a_service_sends_is_followed_however_it_is_cut(data in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz_service_frames(&data);
        }
    }
}
