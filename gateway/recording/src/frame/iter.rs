//! Reading the frames of a chunk's plain bytes.

use super::{Cursor, Stamped, body};
use crate::chunk::VERSION;

/// Why plain bytes are no frames. They were authenticated before, so this is our mistake or a later release's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A number or length points past the end.
    #[error("a frame ends before it is whole")]
    EndsEarly,
    /// A number has too many bits.
    #[error("a number in a frame is too large")]
    Number,
    /// A version that this release does not know.
    #[error("version {0} of the recording format is not known to this release")]
    Version(u8),
    /// A body says what its kind cannot say.
    #[error("a frame of kind {0} cannot be read")]
    Body(u8),
}

/// The frames of one chunk; ends at the first error.
#[derive(Clone, Debug)]
pub struct FrameIter<'a> {
    rest: Cursor<'a>,
    number: u64,
    at_micros: u64,
}

impl<'a> FrameIter<'a> {
    /// Reads a chunk's beginning.
    ///
    /// # Errors
    /// The version is unknown, or the bytes end too early.
    pub fn new(plain: &'a [u8]) -> Result<Self, FrameError> {
        let mut rest = Cursor(plain);
        match rest.byte()? {
            VERSION => {}
            other => return Err(FrameError::Version(other)),
        }
        Ok(Self {
            number: rest.varint()?,
            at_micros: rest.varint()?,
            rest,
        })
    }

    /// Goes on within a chunk.
    pub(crate) fn resume(rest: &'a [u8], number: u64, at_micros: u64) -> Self {
        Self {
            rest: Cursor(rest),
            number,
            at_micros,
        }
    }

    /// The time that the next frame's counts from.
    #[must_use]
    pub fn at_micros(&self) -> u64 {
        self.at_micros
    }

    /// Number of the frame that comes next.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.0.len()
    }

    fn read(&mut self) -> Result<Stamped<'a>, FrameError> {
        let kind = self.rest.byte()?;
        let after = self.rest.varint()?;
        let length = self.rest.number()?;
        let frame = body::decode(kind, self.rest.take(length)?)?;
        let at_micros = self.at_micros.checked_add(after).ok_or(FrameError::Number)?;
        let stamped = Stamped {
            number: self.number,
            at_micros,
            frame,
        };
        self.at_micros = at_micros;
        self.number = self.number.checked_add(1).ok_or(FrameError::Number)?;
        Ok(stamped)
    }
}

impl<'a> Iterator for FrameIter<'a> {
    type Item = Result<Stamped<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = Cursor(&[]);
        }
        Some(read)
    }
}
