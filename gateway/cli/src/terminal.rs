//! Where words go: data to stdout, everything else to stderr, colour only on a terminal.

use std::io::{IsTerminal as _, Write as _};

/// Writes data. A reader that has gone (`| head`) is no error.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes words for a person.
pub(crate) fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody can be told that stderr is closed.
    let _ = writeln!(err, "{text}").and_then(|()| err.flush());
}

/// Writes an error with its causes, once each, joined by ": ".
pub(crate) fn fail(error: &anyhow::Error) {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    say(&format!("✖ {}", chain.join(": ")));
}

/// Whether a person may be there who reads and answers.
pub(crate) fn is_attended() -> bool {
    std::io::stdin().is_terminal() || std::io::stderr().is_terminal()
}

/// Whether words for a person may be coloured.
pub(crate) fn color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}

/// How wide words for a person may be.
pub(crate) fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|columns| *columns >= 40)
        .unwrap_or(100)
}
