//! What `play` and `watch` do with what comes: when it is shown, on which screen, and what is said besides.
//!
//! Output goes to the terminal byte for byte as it was recorded, at its time, in a window of the recorded size where the
//! terminal takes one: so the screen is at any time the one that the person had. There are no stored screens: to begin in the
//! middle, all output before is drawn without waiting.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::screen::{Passing, Screen, Terminal};
use super::stream::{Event, Standing};
use crate::terminal::{Reader, Unwritten, say};

/// Notes that are kept for the end, so that they do not stand in the middle of a screen. The last ones: how it exited is among
/// them.
const MOST_NOTES: usize = 100;
const INPUT: &str =
    "what was sent to its standard input is not shown here; gatescribe session export --format text has it";
/// As late as this is caught up with.
const LATE: Duration = Duration::from_millis(200);

/// One recording on its way to one terminal. Dropping it puts the terminal back.
#[derive(Debug)]
pub(super) struct Playback<T: Terminal> {
    screen: Screen<T>,
    /// Whether the recorded process had a terminal.
    had_terminal: bool,
    pace: Option<Pace>,
    last: Duration,
    due: Instant,
    notes: VecDeque<String>,
    /// That something was sent which is not shown has been said.
    has_told_input: bool,
    /// Notes that were kept and had to go.
    left_out: u64,
}

/// How it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next event.
    More,
    /// Nobody reads what is shown.
    Unread,
    /// That was all.
    Over(Standing),
}

impl<T: Terminal> Playback<T> {
    /// With a pace what was, without one what is.
    pub(super) fn new(terminal: T, had_terminal: bool, pace: Option<Pace>, passing: Passing) -> Self {
        Self {
            screen: Screen::new(terminal, had_terminal, passing),
            had_terminal,
            pace,
            last: Duration::ZERO,
            due: Instant::now(),
            notes: VecDeque::new(),
            has_told_input: false,
            left_out: 0,
        }
    }

    /// Waits until its time has come, and shows it.
    pub(super) async fn take(&mut self, event: Event) -> Result<Next, Unwritten> {
        match event {
            Event::Out(at, bytes) => {
                self.wait(at).await;
                if self.screen.show(&bytes)? == Reader::Gone {
                    return Ok(Next::Unread);
                }
            }
            Event::Size(at, columns, lines) => {
                self.wait(at).await;
                self.tell_size(columns, lines);
                self.screen.take_size(columns, lines).await;
            }
            Event::In if !std::mem::replace(&mut self.has_told_input, true) => self.tell(INPUT.to_owned()),
            Event::In => {}
            Event::Words(words) => self.tell(words),
            Event::End(standing) => return Ok(Next::Over(standing)),
            Event::Text(_) => {}
        }
        Ok(Next::More)
    }

    fn tell(&mut self, words: String) {
        if !self.had_terminal {
            return say(&format!("[{words}]"));
        }
        if self.notes.len() == MOST_NOTES {
            self.notes.pop_front();
            self.left_out += 1;
        }
        self.notes.push_back(words);
    }

    /// The time of the session up to which it was shown; of what was. What is has none of its own.
    pub(super) const fn reached(&self) -> Duration {
        self.last
    }

    /// Puts the terminal back; what is to be said then.
    pub(super) fn end(mut self) -> Vec<String> {
        let refused = self.screen.refused_size();
        let mut notes = Vec::new();
        if self.left_out > 0 {
            let is = if self.left_out == 1 { "note is" } else { "notes are" };
            notes.push(format!(
                "{} {is} left out here; gatescribe session export has them all",
                self.left_out
            ));
        }
        notes.extend(std::mem::take(&mut self.notes));
        let not_drawn = self.screen.not_drawn();
        if not_drawn > 0 {
            notes.push(format!(
                "{not_drawn} bytes of control strings were not drawn; gatescribe session watch --raw has them"
            ));
        }
        notes.extend(refused.map(|(columns, lines)| {
            format!(
                "this terminal does not take the size of the recorded one, {columns} columns and {lines} lines: what was shown \
                 may have stood elsewhere"
            )
        }));
        notes
    }

    /// Before the first thing is drawn; behind it there is no place for words.
    fn tell_size(&self, columns: u16, lines: u16) {
        let is_one = columns > 0 && lines > 0;
        if is_one && self.had_terminal && !self.screen.has_begun() && self.screen.size() != Some((columns, lines)) {
            say(&format!(
                "recorded in a terminal of {columns} columns and {lines} lines"
            ));
        }
    }

    /// Against a schedule and not one after the other: what drawing takes is not added to what was waited.
    async fn wait(&mut self, at: Duration) {
        let Some(pace) = &self.pace else { return };
        let pause = pace.between(self.last, at);
        self.last = self.last.max(at);
        // A gateway that is slow moves the schedule; nothing is hurried to catch up.
        self.due = self.due.max(Instant::now().checked_sub(LATE).unwrap_or(self.due)) + pause;
        sleep_until(self.due).await;
    }
}

#[cfg(test)]
mod tests;
