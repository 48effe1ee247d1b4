//! The frames of a recording, one after the other, one chunk in memory at a time.

use super::{ReadError, Recording, Tail};
use crate::frame::{FrameError, FrameIter, Stamped};

/// Walks over frames. It lends each: it is no `Iterator`, so that a frame's bytes need not be copied.
pub struct Frames<'a> {
    recording: &'a Recording,
    /// The chunk that is read next.
    next: usize,
    plain: Vec<u8>,
    /// How many bytes of it were read.
    read: usize,
    number: u64,
    at_micros: u64,
    is_over: bool,
}

impl<'a> Frames<'a> {
    pub(super) fn new(recording: &'a Recording, next: usize) -> Self {
        Self {
            recording,
            next,
            plain: Vec::new(),
            read: 0,
            number: 0,
            at_micros: 0,
            is_over: false,
        }
    }

    /// The next frame; none at the end of what is whole, also when the end is torn or still open (see [`Recording::tail`]).
    ///
    /// # Errors
    /// A chunk is not what was sealed, or the file is damaged behind what was read. Nothing comes after an error.
    #[expect(clippy::should_implement_trait, reason = "it lends, which `Iterator` cannot")]
    pub fn next(&mut self) -> Result<Option<Stamped<'_>>, ReadError> {
        if !self.fill()? {
            return Ok(None);
        }
        let rest = self.plain.get(self.read..).unwrap_or_default();
        let mut iter = FrameIter::resume(rest, self.number, self.at_micros);
        let stamped = match iter.next().unwrap_or(Err(FrameError::EndsEarly)) {
            Ok(stamped) => stamped,
            Err(error) => {
                self.is_over = true;
                self.read = self.plain.len();
                return Err(ReadError::Frame(error));
            }
        };
        self.read = self.plain.len().saturating_sub(iter.left());
        self.number = iter.number();
        self.at_micros = stamped.at_micros;
        Ok(Some(stamped))
    }

    /// Has bytes of a chunk to read; false at the end.
    fn fill(&mut self) -> Result<bool, ReadError> {
        while self.read == self.plain.len() {
            if self.is_over || !self.load()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens the next chunk; false at the end.
    fn load(&mut self) -> Result<bool, ReadError> {
        let opened = match (self.recording.scan.places.get(self.next), self.recording.tail()) {
            (Some(place), _) => self.recording.open_chunk(place),
            (None, Tail::Damaged(damage)) => Err(ReadError::Damaged(damage)),
            (None, Tail::Closed | Tail::Open | Tail::Torn { .. }) => {
                self.is_over = true;
                return Ok(false);
            }
        };
        let begun = opened.and_then(|plain| {
            let iter = FrameIter::new(&plain).map_err(ReadError::Frame)?;
            let (number, at_micros, left) = (iter.number(), iter.at_micros(), iter.left());
            Ok((plain, number, at_micros, left))
        });
        self.is_over = begun.is_err();
        let (plain, number, at_micros, left) = begun?;
        self.read = plain.len().saturating_sub(left);
        (self.plain, self.number, self.at_micros) = (plain, number, at_micros);
        self.next = self.next.saturating_add(1);
        Ok(true)
    }
}

impl std::fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames")
            .field("number", &self.number)
            .field("at_micros", &self.at_micros)
            .finish_non_exhaustive()
    }
}
