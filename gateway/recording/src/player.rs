//! Playing: what to show, and how long to wait before it.
//!
//! It reads no clock and writes no terminal; a command does both. Output is handed over byte for byte as it was recorded, so a terminal
//! of the same size shows at each moment what the person's showed. There are no stored screens: to begin in the middle, all output before is
//! handed over without waiting, which a terminal draws at once.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::frame::{Frame, Noted};
use crate::reader::{Frames, ReadError, Recording};
use crate::tap::Channel;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// How long to wait since the step before.
    pub delay: Duration,
    /// When it happened, in microseconds since the session began.
    pub at_micros: u64,
    /// What to show.
    pub shown: Shown<'a>,
}

/// What a player shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// What the process wrote, on either output.
    Output(&'a [u8]),
    /// The terminal has this size from here on.
    Resized {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// The process has ended; with this code, if it was said.
    Exited(Option<u32>),
    /// What a reader should know.
    Noted(Noted),
}

/// Walks through a recording at a pace.
#[derive(Debug)]
pub struct Player<'a> {
    frames: Frames<'a>,
    percent: NonZeroU32,
    longest_pause: Option<Duration>,
    from_micros: u64,
    last_micros: u64,
}

impl<'a> Player<'a> {
    /// Plays from the beginning. `percent` of the real speed: 100 is as it was, 200 twice as fast. Pauses are cut to
    /// `longest_pause` before that.
    #[must_use]
    pub fn new(recording: &'a Recording, percent: NonZeroU32, longest_pause: Option<Duration>) -> Self {
        Self {
            frames: recording.frames(),
            percent,
            longest_pause,
            from_micros: 0,
            last_micros: 0,
        }
    }

    /// Shows everything before this time without waiting.
    #[must_use]
    pub fn starting_at(mut self, micros: u64) -> Self {
        self.from_micros = micros;
        self
    }

    /// The next step; none at the end of what is recorded.
    ///
    /// # Errors
    /// The recording cannot be read on.
    pub fn next_step(&mut self) -> Result<Option<Step<'_>>, ReadError> {
        loop {
            // Asked again and not returned at once: the borrow checker ties a returned borrow to the whole loop.
            let is_shown = match self.frames.peek()? {
                None => return Ok(None),
                Some(stamped) => shown(stamped.frame).is_some(),
            };
            if is_shown {
                break;
            }
            self.frames.next()?;
        }
        let (from, last) = (self.from_micros, self.last_micros);
        let Some(stamped) = self.frames.next()? else {
            return Ok(None);
        };
        let at_micros = stamped.at_micros;
        let gap = at_micros.saturating_sub(last.max(from));
        self.last_micros = at_micros;
        let delay = pace(Duration::from_micros(gap), self.percent, self.longest_pause);
        Ok(shown(stamped.frame).map(|shown| Step {
            delay,
            at_micros,
            shown,
        }))
    }
}

fn shown(frame: Frame<'_>) -> Option<Shown<'_>> {
    match frame {
        Frame::Data {
            channel: Channel::Stdout | Channel::Stderr,
            bytes,
            ..
        } => Some(Shown::Output(bytes)),
        Frame::Resize { columns, rows } => Some(Shown::Resized { columns, rows }),
        Frame::Status { code, .. } => Some(Shown::Exited(code)),
        Frame::Note { noted, .. } => Some(Shown::Noted(noted)),
        _ => None,
    }
}

fn pace(gap: Duration, percent: NonZeroU32, longest_pause: Option<Duration>) -> Duration {
    let gap = longest_pause.map_or(gap, |longest| gap.min(longest));
    gap.saturating_mul(100)
        .checked_div(percent.get())
        .unwrap_or(Duration::ZERO)
}
