//! A chunk: frames that are sealed together.
//!
//! Its plain bytes are `version u8 | first frame's number varint | time of the first frame varint | frames …`; the frames are
//! described in `frame/mod.rs`. A chunk is whole: it can be read without any other.

/// The version of chunk and frames that is written.
pub(crate) const VERSION: u8 = 1;
/// No chunk has more plain bytes; a reader refuses to unpack more.
pub const MAX_PLAIN_BYTES: usize = 2 << 20;

/// Frames that wait to be sealed. Made by [`crate::Recorder`] alone; already masked.
#[derive(PartialEq, Eq)]
pub struct Chunk {
    pub(crate) number: u64,
    pub(crate) first_frame: u64,
    pub(crate) frames: u32,
    pub(crate) from_micros: u64,
    pub(crate) until_micros: u64,
    pub(crate) is_last: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// Its place among the chunks of its session, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many frames it holds.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// When its first frame passed, in microseconds since the session began.
    #[must_use]
    pub fn from_micros(&self) -> u64 {
        self.from_micros
    }

    /// When its last frame passed.
    #[must_use]
    pub fn until_micros(&self) -> u64 {
        self.until_micros
    }

    /// Whether it ends the recording.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Its plain bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Chunk {
    /// Without the bytes: what a session carried belongs into no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk")
            .field("number", &self.number)
            .field("first_frame", &self.first_frame)
            .field("frames", &self.frames)
            .field("from_micros", &self.from_micros)
            .field("until_micros", &self.until_micros)
            .field("is_last", &self.is_last)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}
