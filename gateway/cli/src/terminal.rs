//! Where words go: data to stdout, everything else to stderr, colour only on a terminal.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use model::reason::changes_direction;

use crate::Exit;

/// Standard output takes nothing more, though somebody may still want it: a disk that is full, a terminal that has gone.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub(crate) struct Unwritten(#[from] io::Error);

/// Whether what was written is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as one can tell.
    There,
    /// They wanted no more (`| head`), which is no error.
    Gone,
}

/// Writes all at once.
pub(crate) fn hand(out: &mut impl Write, bytes: &[u8]) -> Result<Reader, Unwritten> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error.into()),
    }
}

/// Writes data.
pub(crate) fn data(text: &str) -> Result<Reader, Unwritten> {
    hand(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes data at the end of a command, which ends so unless they cannot be written.
pub(crate) fn data_and(text: &str, exit: Exit) -> Exit {
    match data(text) {
        Ok(Reader::There | Reader::Gone) => exit,
        Err(error) => {
            fail(&error.into());
            Exit::Fault
        }
    }
}

/// Writes words for a person.
pub(crate) fn say(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody can be told that stderr is closed.
    let _ = writeln!(err, "{text}").and_then(|()| err.flush());
}

/// Writes an error with its causes, once each, joined by ": ", and what to do where a file cannot be opened.
pub(crate) fn fail(error: &anyhow::Error) {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    // What a foreign folder or server calls its files and its log is nothing that a terminal obeys.
    say(&format!("✖ {}", clean_lines(&chain.join(": "))));
    if let Some(remedy) = remedy(error) {
        say(&format!("  do this  {remedy}"));
    }
}

/// Of whatever a command opens by a name that somebody gave.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>())?;
    match cause.kind() {
        ErrorKind::NotFound => Some("name one that is there; `--help` of the command shows how"),
        ErrorKind::PermissionDenied => Some("run it as somebody who may, such as the gateway's own user"),
        _ => None,
    }
}

/// Whether a person may be there who reads and answers.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
}

/// Whether words for a person may be coloured.
pub(crate) fn color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stderr().is_terminal()
}

/// How wide words for a person may be: as `COLUMNS` says, which few shells hand on, else as the terminal is.
pub(crate) fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || Some(terminal_size::terminal_size()?.0.0.into());
    let wide = told.or_else(seen).filter(|columns| *columns >= 40);
    wide.unwrap_or(100)
}

/// Without control characters and without marks that change the direction of writing.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// As [`clean`], but for ends of lines and tabs.
pub(crate) fn clean_lines(text: &str) -> String {
    let keep = |character| match character {
        '\n' | '\t' => character,
        other => harmless(other),
    };
    text.chars().map(keep).collect()
}

fn harmless(character: char) -> char {
    if character.is_control() || changes_direction(character) {
        '\u{FFFD}'
    } else {
        character
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_move_the_cursor() {
        assert_eq!(
            clean("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}\u{61c}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}"
        );
        assert_eq!(
            clean_lines("a\tb\r\n\u{9b}c\u{202e}"),
            "a\tb\u{fffd}\n\u{fffd}c\u{fffd}"
        );
    }
}
