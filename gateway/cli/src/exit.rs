//! Exit codes: stable, the same for every command, and each on the page `docs/reference/exit-codes.md`, which is made from here.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, yes, found; a check found nothing wrong.
    Done = 0,
    /// The answer is no; a check found something wrong; a search or list (`audit search`, `session ls`, `user locks`) found
    /// nothing.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Not signed in, expired, or impossible without a person.
    SignIn = 3,
    /// Signed in but not permitted.
    NotPermitted = 4,
    /// Not found.
    NotFound = 5,
    /// A conflict or an unmet precondition.
    Conflict = 6,
    /// The server cannot be reached.
    Unreachable = 7,
    /// Integrity failure: a signature, a chain, a gap.
    Integrity = 8,
    /// A fault of the server or of this program.
    Fault = 9,
    /// Partly done.
    Partly = 10,
    /// Its terminal has gone: what the shell says of a program that SIGHUP ended (128 + 1).
    HungUp = 129,
    /// Interrupted by Ctrl-C: what the shell says of a program that SIGINT ended (128 + 2).
    Interrupted = 130,
    /// Ended by Ctrl-\: what the shell says of a program that SIGQUIT ended (128 + 3).
    Quit = 131,
    /// Told to end: what the shell says of a program that SIGTERM ended (128 + 15).
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        #[expect(clippy::as_conversions, reason = "the discriminants above are the documented codes")]
        Self::from(exit as u8)
    }
}
