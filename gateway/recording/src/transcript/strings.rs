//! Control strings and sequences, found before the parser has to keep them.

/// Titles, paths and colours are shorter.
const LONGEST_STRING: u64 = 4096;

/// Where the stream stands in sequences and control strings, as the parser does (ECMA 48 §5.4 and §5.6), and how much of one came that
/// nobody sees.
///
/// No line shows what stands in an operating system command (OSC, §8.3.89): a title, a clipboard. The parser would keep it until its end,
/// which need not come, so it is not given any of it.
#[derive(Debug, Default)]
pub(super) struct Strings {
    at: At,
    /// Letters of the one that it stands in.
    came: u64,
    /// How many of them were not told.
    untold: u64,
    /// A long one ends here: what was not told of it.
    pub(super) ended: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum At {
    #[default]
    Outside,
    /// Behind ESC, which begins a sequence anywhere.
    Begun,
    /// Behind ESC and what stands between it and the end of its sequence.
    Between,
    /// In a control sequence.
    Control,
    /// In an operating system command.
    Command,
    /// Where a device control string begins.
    Device,
    /// In its parameters.
    DeviceParameters,
    /// In what follows these.
    DeviceBetween,
    /// In its content.
    DeviceData,
    /// In one whose head is none, or in a string of another kind (SOS, PM, APC).
    Other,
}

impl At {
    /// Behind this byte.
    pub(super) fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, 0x1b) => Self::Begun,
            (Self::Outside, _) | (Self::Command, 0x07) | (_, 0x18 | 0x1a) => Self::Outside,
            (_, 0x1b) => Self::Begun,
            // As the parser does: other controls end nothing, nor does what is no letter of ASCII.
            (Self::DeviceData, 0x9c) => Self::Outside,
            (Self::Command | Self::DeviceData | Self::Other, _) | (_, 0x00..=0x1f | 0x7f..) => self,
            (Self::Begun, b'[') => Self::Control,
            (Self::Begun, b']') => Self::Command,
            (Self::Begun, b'P') => Self::Device,
            (Self::Begun, b'X' | b'^' | b'_') => Self::Other,
            (Self::Begun | Self::Between, 0x20..=0x2f) => Self::Between,
            (Self::Control, 0x20..=0x3f) => self,
            (Self::Begun | Self::Between | Self::Control, _) => Self::Outside,
            (Self::Device | Self::DeviceParameters | Self::DeviceBetween, 0x20..=0x2f) => Self::DeviceBetween,
            (Self::Device, 0x30..=0x3f) | (Self::DeviceParameters, 0x30..=0x3b) => Self::DeviceParameters,
            (Self::DeviceParameters | Self::DeviceBetween, 0x30..=0x3f) => Self::Other,
            (Self::Device | Self::DeviceParameters | Self::DeviceBetween, _) => Self::DeviceData,
        }
    }
}

impl Strings {
    /// The next bytes that the parser is given, and those behind them. Between the two a long one may have `ended`.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let skipped = match self.at {
            At::Command => bytes.iter().position(ends_string).unwrap_or(bytes.len()),
            _ => 0,
        };
        let (skipped, bytes) = bytes.split_at_checked(skipped).unwrap_or((bytes, &[]));
        skipped.iter().for_each(|byte| self.count(*byte));
        for (at, byte) in bytes.iter().enumerate() {
            let next = self.at.next(*byte);
            let ends = next == At::Outside || *byte == 0x1b;
            if ends && self.is_long() {
                self.ended = Some(self.tell());
                self.came = 0;
                return bytes.split_at_checked(at).unwrap_or((bytes, &[]));
            }
            if ends {
                (self.came, self.untold) = (0, 0);
            } else if self.at != At::Outside {
                self.count(*byte);
            }
            self.at = next;
            if next == At::Command {
                return bytes.split_at_checked(at.saturating_add(1)).unwrap_or((bytes, &[]));
            }
        }
        (bytes, &[])
    }

    /// Controls within a sequence are obeyed; in a string they are as nothing. The first byte of a letter counts.
    fn count(&mut self, byte: u8) {
        if byte >= 0x20 && !(0x80..0xc0).contains(&byte) {
            self.came = self.came.saturating_add(1);
            self.untold = self.untold.saturating_add(1);
        }
    }

    pub(super) fn is_long(&self) -> bool {
        self.came > LONGEST_STRING
    }

    pub(super) fn tell(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }
}

/// BEL, CAN, SUB, and ESC of the string terminator.
fn ends_string(byte: &u8) -> bool {
    matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b)
}
