//! The client's commands as real processes against a scripted gateway of this process, with a browser that counts.
//!
//! Nothing sleeps here: whatever has to wait, waits for a file, a request or the end of a process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its surroundings are not as they have to be"
)]

mod asking;
mod audit_policy;
mod command_line;
mod credential;
mod gateway;
mod machine;
mod signin;

use machine::BROWSER_FILE;

/// Not a test by itself: what `BROWSER` names. It notes that it was opened and follows the address and its redirects.
#[test]
fn acts_as_browser() {
    use std::io::Write as _;
    let Some(file) = std::env::var_os(BROWSER_FILE) else {
        return;
    };
    let mut opened = std::fs::File::options().create(true).append(true).open(file).unwrap();
    opened.write_all(b"opened\n").unwrap();
    let mut address = std::env::args().find(|argument| argument.starts_with("http://"));
    while let Some(next) = address {
        address = gateway::visit(&next);
    }
}
